/* SPDX-License-Identifier: MIT */
#include "hooks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"

enum { TIMEOUT_MS = 120000 };

static const char *const names[] = {"before_model", "after_model", "before_tool", "after_tool"};

const char *moon__hook_name(moon__hook hook) {
    return names[hook];
}

/* ---- a question ---- */

static void clear(moon__asked *q) {
    moon__buf_fini(&q->question);
    moon__json_free(q->decision);
    free(q->failure);
    q->decision = NULL;
    q->failure = NULL;
}

static void on_done(void *ctx) {
    moon__asked *q = ctx;
    q->done(q->ctx);
}

static void on_late(void *ctx) {
    moon__asked *q = ctx;
    q->late = true;
    moon__asked_cancel(q);
}

moon_status moon__asked_begin(moon__asked **asked, moon_run *run, const moon__agent *agent, moon__hook hook,
                              const char *key, const char *call) {
    static const char letters[] = "baba"; /* before, after */
    moon__asked *q = *asked;
    if (q)
        clear(q);
    else if (!(q = *asked = malloc(sizeof *q)))
        return MOON_ENOMEM;
    *q = (moon__asked){.run = run, .agent = agent, .hook = hook, .call = call};
    q->timer = (moon__timer){.fn = on_late, .ctx = q};
    q->defer = (moon__defer){.fn = on_done, .ctx = q};
    snprintf(q->place, sizeof q->place, "%c%s", letters[hook], key);
    moon__buf_init(&q->question, 600 << 20);
    return MOON_OK;
}

void moon__asked_free(moon__asked *q) {
    if (!q) return;
    clear(q);
    free(q);
}

moon__hook moon__asked_hook(const moon__asked *q) {
    return q->hook;
}

const char *moon__asked_question(const moon__asked *q, size_t *length) {
    *length = q->question.len;
    return q->question.p;
}

moon_run *moon__asked_run(const moon__asked *q) {
    return q->run;
}

const char *moon__asked_place(const moon__asked *q) {
    return q->place;
}

/* ---- its decision ---- */

static const moon_json *member(const moon__asked *q, const char *name) {
    return q->decision ? moon_json_get(q->decision, name) : NULL;
}

const char *moon__asked_refusal(const moon__asked *q) {
    return moon_json_str(member(q, "refuse"), NULL);
}

const moon_json *moon__asked_answer(const moon__asked *q) {
    return member(q, "answer");
}

const moon_json *moon__asked_change(const moon__asked *q) {
    return member(q, "change");
}

void moon__asked_wrong(moon__asked *q, const char *what) {
    moon__buf text;
    moon__buf_init(&text, 16 << 10);
    const char *where = q->agent->hooks.where[q->hook];
    moon__buf_printf(&text, "hook %s%s%s%s of agent %s: %.12000s", names[q->hook], where ? " (" : "",
                     where ? where : "", where ? ")" : "", q->agent->base.name, what);
    free(q->failure);
    q->failure = moon__buf_take(&text);
    if (!q->failure) q->failure = moon__strdup("a hook failed");
    moon__buf_fini(&text);
    moon__json_free(q->decision);
    q->decision = NULL;
}

bool moon__asked_recorded(moon__asked *q) {
    const moon__recorded *was = moon__run_recorded(q->run, MOON_EVENT_HOOK_DECIDED, q->place);
    if (!was) return q->run->tree->rehearsal == MOON__REHEARSE;
    moon_json *body = moon__run_recorded_body(q->run, was);
    const moon_json *decision = moon_json_get(body, "decision");
    moon__buf text;
    moon__buf_init(&text, 128 << 20);
    if (decision) moon__json_print(&text, decision);
    if (text.status || (decision && moon__json_parse(&q->decision, text.p, text.len, 0, NULL)))
        moon__asked_wrong(q, "its recorded decision cannot be read");
    moon__buf_fini(&text);
    moon__json_free(body);
    return true;
}

/* Exactly one of the ways, or none, and one that the hook has. */
static const char *mistake(const moon__asked *q, const char **outcome) {
    const moon_json *d = q->decision, *refuse = moon_json_get(d, "refuse"), *answer = moon_json_get(d, "answer"),
                    *change = moon_json_get(d, "change");
    *outcome = refuse ? "refuse" : answer ? "answer" : change ? "change" : "none";
    if (moon_json_type(d) != MOON_JSON_OBJECT) return "its decision is no object";
    if (moon_json_size(d) > 1 || (moon_json_size(d) && !refuse && !answer && !change))
        return "its decision is not one of refuse, answer and change";
    if (refuse && !moon_json_str(refuse, NULL)) return "it does not say why it refuses";
    if (answer && q->hook != MOON__BEFORE_MODEL && q->hook != MOON__BEFORE_TOOL) return "it is too late for an answer";
    if (change && moon_json_type(change) != MOON_JSON_OBJECT) return "what it changes is no object";
    return NULL;
}

static void tell(moon__asked *q, const char *outcome) {
    moon__buf body, decision;
    moon__jw w;
    if (!moon__run_tells(q->run, MOON_EVENT_HOOK_DECIDED, q->place)) return;
    moon__buf_init(&body, 200 << 20);
    moon__buf_init(&decision, 128 << 20);
    moon__jw_init(&w, &body);
    moon__jw_object(&w, NULL);
    moon__jw_str(&w, "hook", names[q->hook], SIZE_MAX);
    if (q->call) moon__jw_str(&w, "call", q->call, SIZE_MAX);
    moon__jw_str(&w, "outcome", outcome, SIZE_MAX);
    if (moon_json_size(q->decision)) {
        moon__json_print(&decision, q->decision);
        if (decision.status) body.status = decision.status;
        moon__jw_raw(&w, "decision", decision.p, decision.len);
    }
    moon__jw_end(&w);
    moon__run_event(q->run, MOON_EVENT_HOOK_DECIDED, q->place, &body);
    moon__buf_fini(&body);
    moon__buf_fini(&decision);
}

static void settle(moon__asked *q) {
    q->waiting = false;
    moon__timer_stop(q->run->runtime->loop, &q->timer);
    moon__defer_call(q->run->runtime->loop, &q->defer);
}

void moon__asked_decide(moon__asked *q, const char *json, size_t length) {
    moon_error error = {0};
    const char *wrong, *outcome;
    if (q->late) {
        moon__asked_fail(q, "");
        return;
    }
    q->deciding = true; /* telling it may stop the run */
    if (moon__json_parse(&q->decision, json, length, MOON__JSON_REPAIR, &error))
        moon__asked_wrong(q, error.text);
    else if ((wrong = mistake(q, &outcome)))
        moon__asked_wrong(q, wrong);
    else if (!q->run->stopping)
        tell(q, outcome);
    settle(q);
}

void moon__asked_fail(moon__asked *q, const char *why) {
    char late[80];
    uint32_t ms = q->agent->hooks.timeout_ms;
    snprintf(late, sizeof late, "it did not decide within %g seconds", (ms ? ms : TIMEOUT_MS) / 1000.0);
    moon__asked_wrong(q, q->late ? late : why);
    settle(q);
}

void moon__asked_ask(moon__asked *q, void (*done)(void *ctx), void *ctx) {
    const moon__hooks *hooks = &q->agent->hooks;
    uint32_t ms = hooks->timeout_ms ? hooks->timeout_ms : TIMEOUT_MS;
    q->done = done;
    q->ctx = ctx;
    q->waiting = true;
    if (q->question.status)
        moon__asked_fail(q, "what it is asked about is too long");
    else if (moon__timer_start(q->run->runtime->loop, &q->timer, ms * INT64_C(1000)))
        moon__asked_fail(q, "no memory for its time limit");
    else
        hooks->ask(hooks->self, q);
}

void moon__asked_cancel(moon__asked *q) {
    if (q->waiting && !q->deciding) q->agent->hooks.cancel(q->agent->hooks.self, q);
}

/* ---- events ---- */

bool moon__hook_observes(const moon_run *run, moon_event_type type) {
    return run->observer && !run->observing && type != MOON_EVENT_MODEL_DELTA && type != MOON_EVENT_TOOL_PROGRESS;
}

void moon__hook_observe(moon_run *run, moon_event_type type, const moon__buf *body) {
    const moon__agent *agent = run->observer;
    moon__journal *journal = &run->tree->journal;
    moon_event event = {.type = type,
                        .seq = journal->seq,
                        .time_us = journal->clock->wall_us(journal->clock->ctx),
                        .run = journal->id,
                        .path = run->path,
                        .body = body && body->len ? body->p : "{}",
                        .body_length = body && body->len ? body->len : 2};
    moon_error error = {0};
    if (!moon__hook_observes(run, type) || (body && body->status)) return;
    run->observing = true; /* what the hook logs is not shown to itself */
    if (!agent->hooks.on_event(agent->hooks.self, run, &event, &error)) {
        char text[sizeof error.text + sizeof error.where + 100];
        snprintf(text, sizeof text, "hook on_event of agent %.60s: %s%s%s", agent->base.name, error.where,
                 *error.where ? ": " : "", error.text);
        moon__run_stop(run, MOON_STOP_FAILED, text);
    }
    run->observing = false;
}
