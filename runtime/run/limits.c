/* SPDX-License-Identifier: MIT */
/*
 * Limits. Each run has its own, and uses up those of every run above it; a limit is checked before what it limits is
 * begun (of a request to a model in budget.c), and "nothing left" always means stop: a run that may make no tool call
 * makes no request either, but one that has made all it may can still answer. -1 stands for "not given", so that a 0
 * that somebody computed stays a 0.
 */
#include <math.h>
#include <string.h>

#include "runtime.h"
#include "text.h"

static void smaller(int64_t *a, int64_t b) {
    if (b >= 0 && (*a < 0 || b < *a)) *a = b;
}

void moon__limits_tighten(moon_limits *limits, const moon_limits *other) {
    smaller(&limits->steps, other->steps);
    smaller(&limits->tool_calls, other->tool_calls);
    smaller(&limits->seconds, other->seconds);
    smaller(&limits->tokens, other->tokens);
    smaller(&limits->handoffs, other->handoffs);
    if (other->usd >= 0 && (limits->usd < 0 || other->usd < limits->usd)) limits->usd = other->usd;
}

void moon__limits_replace(moon_limits *limits, const moon_limits *other) {
    if (other->steps >= 0) limits->steps = other->steps;
    if (other->tool_calls >= 0) limits->tool_calls = other->tool_calls;
    if (other->seconds >= 0) limits->seconds = other->seconds;
    if (other->tokens >= 0) limits->tokens = other->tokens;
    if (other->usd >= 0) limits->usd = other->usd;
    if (other->handoffs >= 0) limits->handoffs = other->handoffs;
}

moon_status moon__limits_read(moon_limits *limits, const moon_json *json, moon_error *error) {
    enum { USD = 5 };
    static const char *const names[] = {"steps", "tool_calls", "seconds", "tokens", "handoffs", "usd", NULL};
    *limits = MOON_LIMITS_NONE;
    int64_t *const places[] = {&limits->steps, &limits->tool_calls, &limits->seconds, &limits->tokens,
                               &limits->handoffs};
    if (moon_json_type(json) != MOON_JSON_OBJECT)
        return moon_error_set(error, MOON_EINVAL, "limits must be a table such as { steps = 20, seconds = 300 }");
    for (const moon_json *m = moon_json_first(json); m; m = moon_json_next(m)) {
        const char *name = moon_json_name(m);
        size_t i = 0;
        double number = 0;
        while (names[i] && strcmp(names[i], name)) i++;
        if (!names[i]) {
            const char *near = moon__nearest(name, names);
            return moon_error_set(error, MOON_EINVAL,
                                  "there is no limit \"%s\"%s%s%s; limits are steps, tool_calls, seconds, tokens, usd, "
                                  "handoffs",
                                  name, near ? " (did you mean \"" : "", near ? near : "", near ? "\"?)" : "");
        }
        if (!moon_json_num(m, &number) || number < 0 || !isfinite(number))
            return moon_error_set(error, MOON_EINVAL, "limit %s must be a number from 0 up", name);
        if (i == USD)
            limits->usd = number;
        else if (!moon_json_int(m, places[i]))
            return moon_error_set(error, MOON_EINVAL, "limit %s must be a whole number", name);
    }
    return MOON_OK;
}

void moon__limits_write(moon__jw *w, const char *name, const moon_limits *l) {
    moon__jw_object(w, name);
    if (l->steps >= 0) moon__jw_int(w, "steps", l->steps);
    if (l->tool_calls >= 0) moon__jw_int(w, "tool_calls", l->tool_calls);
    if (l->seconds >= 0) moon__jw_int(w, "seconds", l->seconds);
    if (l->tokens >= 0) moon__jw_int(w, "tokens", l->tokens);
    if (l->usd >= 0) moon__jw_num(w, "usd", l->usd);
    if (l->handoffs >= 0) moon__jw_int(w, "handoffs", l->handoffs);
    moon__jw_end(w);
}

void moon__limits_refuse(const moon_run *run, const moon_run *holder, moon_stop stop, moon__buf *text, const char *unit,
                         double limit) {
    bool many = limit != 1 && stop != MOON_STOP_USD;
    moon__buf_printf(text, "the limit of %.6g %s%s%s%s is reached", limit, unit, many ? "s" : "",
                     holder == run ? "" : " of ", holder == run ? "" : holder->runnable->name);
}

bool moon__limits_usd(const moon_run *run) {
    while (run && run->limits.usd < 0) run = run->parent;
    return run != NULL;
}

static int64_t later(int64_t limit, int64_t used) {
    return limit < 0 || limit > INT64_MAX - used ? -1 : limit + used;
}

void moon__limits_hand(moon_run *run, const moon_limits *before, const moon_limits *agent, int64_t seconds,
                       int64_t handoffs) {
    const moon_usage *u = &run->usage;
    moon_limits shifted = {.steps = later(agent->steps, u->steps),
                           .tool_calls = later(agent->tool_calls, u->tool_calls),
                           .seconds = later(agent->seconds, seconds),
                           .tokens = later(agent->tokens, u->input_tokens + u->output_tokens),
                           .usd = agent->usd < 0 ? -1 : agent->usd + fmax(u->usd, 0),
                           .handoffs = later(agent->handoffs, handoffs)};
    run->limits = *before;
    moon__limits_tighten(&run->limits, &shifted);
}

void moon__limits_count(moon_run *run, int64_t steps, int64_t calls) {
    for (moon_run *r = run; r; r = r->parent) {
        r->usage.steps += steps;
        r->usage.tool_calls += calls;
    }
}

bool moon__limits_calls(moon_run *run, int64_t n, moon_stop *why, moon__buf *text) {
    for (const moon_run *r = run; r; r = r->parent)
        if (r->limits.tool_calls >= 0 && n > r->limits.tool_calls - r->usage.tool_calls) {
            *why = MOON_STOP_TOOL_CALLS;
            moon__limits_refuse(run, r, *why, text, "tool call", (double)r->limits.tool_calls);
            return false;
        }
    moon__limits_count(run, 0, n);
    return true;
}

void moon__limits_use(moon_run *run, const moon_usage *usage) {
    for (moon_run *r = run; r; r = r->parent) {
        r->usage.input_tokens += usage->input_tokens;
        r->usage.cached_tokens += usage->cached_tokens;
        r->usage.output_tokens += usage->output_tokens;
        r->usage.reasoning_tokens += usage->reasoning_tokens;
        if (usage->usd >= 0) r->usage.usd = fmax(r->usage.usd, 0) + usage->usd;
    }
}
