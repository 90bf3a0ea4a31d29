/* SPDX-License-Identifier: MIT */
/*
 * One tool call as a run of its own: the same checks, policy, events and result as within an agent, without a model.
 * The arguments are given beforehand (`moonlet call`), or are the run's input (a tool as a runnable).
 */
#include <stdlib.h>
#include <string.h>

#include "runtime.h"
#include "text.h"

typedef struct single {
    moon_runnable base;
    char *args; /* NULL: the run's input */
    size_t args_length;
    moon__tool_entry own; /* of a tool that is not registered */
    moon_json *policy;    /* of this use; NULL: none */
    void (*release)(void *owner);
    void *owner;
} single;

typedef struct single_run {
    moon_run *run;
    moon__calls *calls;
    moon__defer end;
} single_run;

static void finish(single_run *s, moon_stop stop, const char *text, size_t length, const char *error) {
    moon_run *run = s->run;
    run->state = NULL;
    moon__run_finish(run, stop, text, length, error);
    moon__defer_cancel(run->runtime->loop, &s->end);
    moon__calls_free(s->calls);
    free(s);
}

static void on_result(void *ctx) {
    single_run *s = ctx;
    if (s->run->stopping || !moon__calls_count(s->calls)) {
        finish(s, s->run->stop_why, NULL, 0, NULL);
        return;
    }
    moon__outcome o = moon__calls_outcome(s->calls, 0);
    if (o.ok && o.json) moon__run_set_json(s->run);
    if (o.ok)
        finish(s, MOON_STOP_DONE, o.text, o.length, NULL);
    else
        finish(s, o.denied ? MOON_STOP_REFUSED : MOON_STOP_FAILED, NULL, 0, o.text);
}

static void begin(void *ctx) {
    single_run *s = ctx;
    const single *runnable = (const single *)s->run->runnable;
    moon_tool_use use = {.id = "call",
                         .name = runnable->base.name,
                         .arguments = runnable->args ? runnable->args : s->run->input,
                         .arguments_length = runnable->args ? runnable->args_length : s->run->input_length};
    moon_error error = {0};
    moon_stop why;
    moon__buf text;
    moon__buf_init(&text, 1024);
    if (s->run->stopping)
        finish(s, s->run->stop_why, NULL, 0, NULL);
    else if (!moon__calls_begun(s->run) && !moon__limits_calls(s->run, 1, &why, &text)) /* else it counts already */
        finish(s, why, NULL, 0, text.p);
    else if (moon__calls_begin(s->calls, &use, 1, &error))
        finish(s, MOON_STOP_FAILED, NULL, 0, error.text);
    moon__buf_fini(&text);
}

/* The agent that it is called for, whose policy and hooks hold; NULL: none. */
static const moon__agent *caller_of(const moon_run *run) {
    while (run && !moon__run_agent(run)) run = run->parent;
    return run ? moon__run_agent(run) : NULL;
}

static moon_status start(moon_runnable *runnable, moon_run *run, moon_error *error) {
    const single *tool = (const single *)runnable;
    single_run *s = calloc(1, sizeof *s);
    if (!s) return moon_error_set(error, MOON_ENOMEM, "no memory for a call");
    *s = (single_run){.run = run, .end = {.fn = begin, .ctx = s}};
    const moon__agent *caller = caller_of(run);
    moon__calls_options options = {
        .run = run,
        .only = tool->own.tool ? &tool->own : NULL,
        .policy = moon__policy_stricter(caller ? caller->policy : NULL, tool->policy, tool->base.name),
        .hooks = caller,
        .parallel = 1,
        .done = on_result,
        .ctx = s};
    moon_status status = moon__calls_new(&s->calls, &options, error);
    if (status) {
        free(s);
        return status;
    }
    run->state = s;
    moon__defer_call(run->runtime->loop, &s->end);
    return MOON_OK;
}

static void cancel(moon_runnable *runnable, moon_run *run) {
    (void)runnable;
    single_run *s = run->state;
    moon__defer_cancel(run->runtime->loop, &s->end);
    moon__calls_cancel(s->calls); /* on_result finishes */
}

static void free_single(moon_runnable *runnable) {
    single *s = (single *)runnable;
    if (s->own.tool) moon__tool_entry_fini(&s->own);
    moon__json_free(s->policy);
    if (s->release) s->release(s->owner);
    free(s->args);
    free(s);
}

static const moon__runnable_ops single_ops = {.start = start, .cancel = cancel, .free = free_single};

moon__calls *moon__single_calls(const moon_run *run) {
    return run->runnable->ops == &single_ops && run->state ? ((single_run *)run->state)->calls : NULL;
}

static moon_status no_tool(const moon_runtime *runtime, const char *tool, moon_error *error) {
    const char *near = moon__tools_nearest(runtime->tools, tool);
    return moon_error_set(error, MOON_ENOTFOUND, "there is no tool \"%.60s\"%s%s%s; `moonlet tools` lists them", tool,
                          near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
}

moon_status moon__tool_runnable(moon_runnable **out, moon_runtime *runtime, const moon__tool_use *use,
                                moon_error *error) {
    const char *name = use->own ? use->own->name : use->name;
    single *s = calloc(1, sizeof *s);
    if (!s) return moon_error_set(error, MOON_ENOMEM, "no memory for a tool");
    moon_status status = moon__runnable_init(&s->base, &single_ops, runtime, name);
    if (status)
        moon_error_set(error, status, "no memory for a tool");
    else if (use->own)
        status = moon__tool_entry_init(&s->own, use->own, error);
    else if (!moon__tools_find(runtime->tools, name))
        status = no_tool(runtime, name, error);
    if (!status && use->policy) status = moon__json_parse(&s->policy, use->policy, strlen(use->policy), 0, error);
    if (!status && use->policy) status = moon__policy_check(s->policy, error);
    if (status) {
        moon_runnable_unref(&s->base);
        return status;
    }
    s->release = use->release;
    s->owner = use->owner;
    *out = &s->base;
    return MOON_OK;
}

/* The first mistake of the arguments, as an error of the caller. */
static moon_status check(moon_runtime *runtime, const char *tool, const char *args, size_t n, moon_error *error) {
    const moon__tool_entry *entry = moon__tools_find(runtime->tools, tool);
    if (!entry) return no_tool(runtime, tool, error);
    moon__buf why;
    moon_json *json;
    moon__buf_init(&why, 64 << 10);
    moon_status status = moon__tool_check(entry, args, n, &json, &why);
    if (status)
        moon_error_set(error, status, "%.399s", why.p ? why.p : moon_status_text(status));
    else
        moon__json_free(json);
    moon__buf_fini(&why);
    return status;
}

moon_status moon_run_tool(moon_run **run, moon_runtime *runtime, const char *tool, const char *args, size_t length,
                          const moon_run_options *options, moon_error *error) {
    if (!args) args = "", length = 0;
    if (length == SIZE_MAX) length = strlen(args);
    moon_status status = check(runtime, tool, args, length, error);
    if (status) return status;
    single *s = calloc(1, sizeof *s);
    if (!s) return moon_error_set(error, MOON_ENOMEM, "no memory for a call");
    status = moon__runnable_init(&s->base, &single_ops, runtime, tool);
    s->args = moon__strndup(args, length);
    s->args_length = length;
    if (!status && !s->args) status = MOON_ENOMEM;
    if (status)
        moon_error_set(error, status, "no memory for a call");
    else
        status = moon_run_start(run, runtime, &s->base, options, error);
    moon_runnable_unref(&s->base);
    return status;
}
