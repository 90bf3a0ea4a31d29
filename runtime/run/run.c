/* SPDX-License-Identifier: MIT */
/*
 * The life of a run: start → (runnable works) → moon__run_finish → children gone → run.finished → done callback, freed.
 *
 * References: the caller's, the runtime's (from start until after the end was told), and one a child holds on its
 * parent. A run that is asked to stop ends with the reason of the stop, whatever its runnable says then.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime.h"
#include "text.h"

/* ---- events ---- */

bool moon__run_wants(const moon_run *run, moon_event_type type) {
    return moon__journal_wants(&run->tree->journal, type);
}

void moon__run_event(moon_run *run, moon_event_type type, const moon__buf *body) {
    if (body && body->status) body = NULL; /* out of memory for the details: the event itself still stands */
    moon__journal_append(&run->tree->journal, type, run->path, body);
}

static void to_host(void *ctx, const moon_event *event) {
    moon_run *root = ctx;
    root->tree->on_event(root->tree->ctx, root, event);
}

void moon__usage_write(moon__jw *w, const char *name, const moon_usage *usage) {
    moon__jw_object(w, name);
    moon__jw_int(w, "input_tokens", usage->input_tokens);
    moon__jw_int(w, "cached_tokens", usage->cached_tokens);
    moon__jw_int(w, "output_tokens", usage->output_tokens);
    moon__jw_int(w, "reasoning_tokens", usage->reasoning_tokens);
    if (usage->usd >= 0) moon__jw_num(w, "usd", usage->usd);
    if (usage->steps) moon__jw_int(w, "steps", usage->steps);
    if (usage->tool_calls) moon__jw_int(w, "tool_calls", usage->tool_calls);
    moon__jw_end(w);
}

static void tell_created(moon_run *run) {
    if (!moon__run_wants(run, MOON_EVENT_RUN_CREATED)) {
        moon__run_event(run, MOON_EVENT_RUN_CREATED, NULL);
        return;
    }
    moon__buf body;
    moon__jw w;
    moon__buf_init(&body, 64 << 20);
    moon__jw_init(&w, &body);
    moon__jw_object(&w, NULL);
    moon__jw_str(&w, "run", run->tree->journal.id, SIZE_MAX);
    moon__jw_str(&w, "name", run->runnable->name, SIZE_MAX);
    moon__jw_str(&w, "input", run->input, run->input_length);
    moon__jw_str(&w, "workspace", moon__space_path(run->runtime->space), SIZE_MAX);
    moon__jw_str(&w, "moonlet", moon_version(), SIZE_MAX);
    moon__jw_end(&w);
    moon__run_event(run, MOON_EVENT_RUN_CREATED, &body);
    moon__buf_fini(&body);
}

static void tell_finished(moon_run *run) {
    moon__buf body;
    moon__jw w;
    moon__buf_init(&body, 64 << 20);
    moon__jw_init(&w, &body);
    moon__jw_object(&w, NULL);
    moon__jw_str(&w, "stop_reason", moon_stop_text(run->result.stop), SIZE_MAX);
    moon__jw_int(&w, "exit_code", moon_stop_exit_code(run->result.stop));
    moon__jw_str(&w, "text", run->result.text, run->result.text_length);
    if (run->result.error) moon__jw_str(&w, "error", run->result.error, SIZE_MAX);
    moon__usage_write(&w, "usage", &run->usage);
    moon__jw_int(&w, "wall_ms", run->result.wall_ms);
    moon__jw_end(&w);
    moon__run_event(run, MOON_EVENT_RUN_FINISHED, &body);
    moon__buf_fini(&body);
}

void moon__run_log(moon_run *run, moon__log_level level, const char *text, size_t length) {
    static const char *const names[] = {"debug", "info", "warn", "error"};
    moon__buf body;
    moon__jw w;
    moon__buf_init(&body, 4 << 20);
    moon__jw_init(&w, &body);
    moon__jw_object(&w, NULL);
    moon__jw_str(&w, "level", names[level], SIZE_MAX);
    moon__jw_str(&w, "text", text, length);
    moon__jw_end(&w);
    moon__run_event(run, MOON_EVENT_LOG, &body);
    moon__buf_fini(&body);
}

/* ---- life ---- */

static void link_run(moon_run *run) {
    run->next = run->runtime->runs;
    run->link = &run->runtime->runs;
    if (run->next) run->next->link = &run->next;
    run->runtime->runs = run;
}

static void unlink_run(moon_run *run) {
    *run->link = run->next;
    if (run->next) run->next->link = run->link;
}

static void free_tree(moon__tree *tree) {
    if (!tree) return;
    moon__scratch_free(tree->scratch);
    free(tree);
}

moon_run *moon_run_ref(moon_run *run) {
    run->refs++;
    return run;
}

void moon_run_unref(moon_run *run) {
    if (!run || --run->refs) return;
    moon_run *parent = run->parent;
    moon_runnable_unref(run->runnable);
    free(run->input);
    free(run->model);
    free(run->stop_text);
    free((char *)run->result.text);
    free((char *)run->result.error);
    if (!parent) free_tree(run->tree);
    free(run);
    moon_run_unref(parent);
}

static void on_deadline(void *ctx) {
    moon__run_stop(ctx, MOON_STOP_SECONDS, "the time limit is reached");
}

static void complete(moon_run *run) {
    run->finished = true;
    run->result.usage = run->usage;
    run->result.wall_ms = (moon__loop_now(run->runtime->loop) - run->started_us) / 1000;
    tell_finished(run);
    unlink_run(run);
    moon__defer_call(run->runtime->loop, &run->after);
}

static void after(void *ctx) {
    moon_run *run = ctx, *parent = run->parent;
    if (run->on_done) run->on_done(run->on_done_ctx, run);
    if (parent && --parent->children == 0 && parent->ended) complete(parent);
    moon_run_unref(run);
}

static void stop_children(moon_run *run, moon_stop why) {
    if (!run->children) return;
    for (moon_run *r = run->runtime->runs, *next; r; r = next) {
        next = r->next;
        if (r->parent == run) moon__run_stop(r, why, NULL);
    }
}

void moon__run_finish(moon_run *run, moon_stop stop, const char *text, size_t length, const char *error) {
    assert(!run->ended && "a run was finished twice");
    if (run->ended) return;
    run->ended = true;
    moon__timer_stop(run->runtime->loop, &run->deadline);
    if (run->stopping) {
        stop = run->stop_why;
        error = run->stop_text ? run->stop_text : error;
    }
    if (stop != MOON_STOP_DONE && !error) error = moon_stop_text(stop);
    run->result.stop = stop;
    run->result.text = moon__strndup(text ? text : "", text ? length : 0);
    run->result.text_length = run->result.text ? text ? length : 0 : 0;
    run->result.error = stop == MOON_STOP_DONE ? NULL : moon__strdup(error);
    if (!run->result.text) { /* the answer is lost for want of memory: that is a failure, not an empty answer */
        run->result.stop = MOON_STOP_FAILED;
        run->result.text = moon__strdup("");
    }
    stop_children(run, stop == MOON_STOP_DONE ? MOON_STOP_INTERRUPTED : stop);
    if (!run->children) complete(run);
}

void moon__run_stop(moon_run *run, moon_stop why, const char *text) {
    if (run->stopping || run->ended) return;
    run->stopping = true;
    run->stop_why = why;
    run->stop_text = moon__strdup(text);
    stop_children(run, why);
    run->runnable->ops->cancel(run->runnable, run);
}

void moon_run_cancel(moon_run *run) {
    moon__run_stop(run, MOON_STOP_INTERRUPTED, "interrupted");
}

static moon_run *new_run(moon_runtime *runtime, moon_runnable *runnable, const char *input, size_t length) {
    moon_run *run = calloc(1, sizeof *run);
    if (!run) return NULL;
    run->refs = 2; /* the caller's and the runtime's */
    run->runtime = runtime;
    run->runnable = moon_runnable_ref(runnable);
    run->limits = runtime->limits;
    run->deadline = (moon__timer){.fn = on_deadline, .ctx = run};
    run->after = (moon__defer){.fn = after, .ctx = run};
    run->started_us = moon__loop_now(runtime->loop);
    run->input_length = !input ? 0 : !length || length == SIZE_MAX ? strlen(input) : length;
    run->input = moon__strndup(input ? input : "", run->input_length);
    return run;
}

/* Takes a run back that did not start. */
static moon_status discard(moon_run *run, moon_status status) {
    moon__timer_stop(run->runtime->loop, &run->deadline);
    run->refs = 1;
    moon_run_unref(run);
    return status;
}

/* With its tree in place: deadline, runnable, first event. */
static moon_status begin(moon_run *run, moon_error *error) {
    if (!run->input) return discard(run, moon_error_set(error, MOON_ENOMEM, "no memory for a run"));
    moon_status status = run->runnable->ops->start(run->runnable, run, error);
    if (status) return discard(run, status);
    link_run(run);
    if (run->parent) run->parent->children++;
    if (run->limits.seconds > 0 &&
        moon__timer_start(run->runtime->loop, &run->deadline, run->limits.seconds * INT64_C(1000000)))
        moon__run_stop(run, MOON_STOP_FAILED, "no memory for the time limit");
    tell_created(run);
    return MOON_OK;
}

static moon_status new_tree(moon_run *run, const moon_run_options *options, moon_error *error) {
    run->tree = calloc(1, sizeof *run->tree);
    if (!run->tree) return moon_error_set(error, MOON_ENOMEM, "no memory for a run");
    moon__tree *tree = run->tree;
    moon__journal_init(&tree->journal, &run->runtime->clock, &run->runtime->random);
    tree->allow_all = options->allow_all;
    tree->can_ask = options->can_ask;
    tree->on_event = options->on_event;
    tree->ctx = options->ctx;
    tree->journal.live = options->deltas;
    tree->journal.sink = options->on_event ? to_host : NULL;
    tree->journal.ctx = run;
    return moon__scratch_new(&tree->scratch, run->runtime->space, error);
}

moon_status moon_run_start(moon_run **out, moon_runtime *runtime, moon_runnable *runnable,
                           const moon_run_options *options, moon_error *error) {
    static const moon_run_options defaults = {.size = sizeof defaults};
    if (!options) options = &defaults;
    if (options->size != sizeof *options) return moon_error_set(error, MOON_EINVAL, "moon_run_options.size is not set");
    moon_run *run = new_run(runtime, runnable, options->input, options->input_length);
    if (!run) return moon_error_set(error, MOON_ENOMEM, "no memory for a run");
    moon_status status = new_tree(run, options, error);
    if (!status && options->model && !(run->model = moon__strdup(options->model)))
        status = moon_error_set(error, MOON_ENOMEM, "no memory for a run");
    if (status) return discard(run, status);
    if (options->limits) moon__limits_tighten(&run->limits, options->limits);
    status = begin(run, error);
    if (!status) *out = run;
    return status;
}

moon_status moon__run_child(moon_run **out, moon_run *parent, moon_runnable *runnable, const char *input, size_t length,
                            void (*done)(void *ctx, moon_run *child), void *ctx, moon_error *error) {
    if (parent->stopping || parent->ended) return moon_error_set(error, MOON_ECANCELLED, "the run is ending");
    moon_run *run = new_run(parent->runtime, runnable, input, length ? length : SIZE_MAX);
    if (!run) return moon_error_set(error, MOON_ENOMEM, "no memory for a run");
    run->parent = moon_run_ref(parent);
    run->tree = parent->tree;
    run->on_done = done;
    run->on_done_ctx = ctx;
    int n =
        snprintf(run->path, sizeof run->path, "%s%s%u", parent->path, *parent->path ? "." : "", ++parent->next_child);
    if (n >= (int)sizeof run->path)
        return discard(run, moon_error_set(error, MOON_ELIMIT, "runs are nested too deeply at %.40s", parent->path));
    const moon_run *root = parent;
    while (root->parent) root = root->parent;
    if (root->model && !(run->model = moon__strdup(root->model)))
        return discard(run, moon_error_set(error, MOON_ENOMEM, "no memory for a run"));
    moon_status status = begin(run, error);
    if (!status) *out = run;
    return status;
}

bool moon_run_finished(const moon_run *run) {
    return run->finished;
}

const moon_result *moon_run_result(const moon_run *run) {
    return run->finished ? &run->result : NULL;
}

const char *moon_run_id(const moon_run *run) {
    return run->tree->journal.id;
}

const char *moon__run_input(const moon_run *run, size_t *length) {
    if (length) *length = run->input_length;
    return run->input;
}

moon_runtime *moon__run_runtime(const moon_run *run) {
    return run->runtime;
}

void *moon__run_state(const moon_run *run) {
    return run->state;
}

void moon__run_set_state(moon_run *run, void *state) {
    run->state = state;
}

moon_status moon_run_decide(moon_run *run, const char *call, bool allow, const char *why, moon_error *error) {
    for (moon_run *r = run->runtime->runs; r; r = r->next) {
        if (r->tree != run->tree) continue;
        moon__calls *calls = moon__react_calls(r);
        if (!calls) calls = moon__single_calls(r);
        if (calls && moon__calls_decide(calls, call, allow, why, NULL) == MOON_OK) return MOON_OK;
    }
    return moon_error_set(error, MOON_ENOTFOUND, "no call %s of this run waits for an answer", call);
}

/* ---- runnables ---- */

moon_status moon__runnable_init(moon_runnable *runnable, const moon__runnable_ops *ops, moon_runtime *runtime,
                                const char *name) {
    *runnable = (moon_runnable){.ops = ops, .runtime = runtime, .name = moon__strdup(name), .refs = 1};
    return runnable->name ? MOON_OK : MOON_ENOMEM;
}

moon_runnable *moon_runnable_ref(moon_runnable *runnable) {
    runnable->refs++;
    return runnable;
}

void moon_runnable_unref(moon_runnable *runnable) {
    if (!runnable || --runnable->refs) return;
    free(runnable->name);
    runnable->ops->free(runnable);
}

const char *moon_runnable_name(const moon_runnable *runnable) {
    return runnable->name;
}
