/* SPDX-License-Identifier: MIT */
/*
 * The life of a run: start → (runnable works) → moon__run_finish → children gone → run.finished → done callback, freed.
 *
 * References: the caller's, the runtime's (from start until after the end was told), and one a child holds on its
 * parent. A run that is asked to stop ends with the reason of the stop, whatever its runnable says then.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hooks.h"
#include "text.h"

/* ---- events ---- */

/* Marks of the moment: each time a run is driven it has its own. */
static bool each_time(moon_event_type type) {
    return type == MOON_EVENT_RUN_FINISHED || type == MOON_EVENT_MODEL_DELTA || type == MOON_EVENT_MODEL_RETRY ||
           type == MOON_EVENT_TOOL_PROGRESS;
}

const moon__recorded *moon__run_recorded(const moon_run *run, moon_event_type type, const char *key) {
    return run->tree->replay ? moon__replay_find(run->tree->replay, type, run->path, key) : NULL;
}

moon_json *moon__run_recorded_body(moon_run *run, const moon__recorded *recorded) {
    moon_json *body = NULL;
    moon_error error = {0};
    if (moon__json_parse(&body, recorded->body, recorded->body_length, 0, &error)) {
        moon__run_stop(run->tree->root, MOON_STOP_JOURNAL, error.text);
        return NULL;
    }
    moon__replay_use(run->tree->replay, recorded);
    return body;
}

static bool recorded(moon_run *run, moon_event_type type, const char *key) {
    const moon__recorded *r = each_time(type) ? NULL : moon__run_recorded(run, type, key);
    if (r) moon__replay_use(run->tree->replay, r);
    return r && !run->tree->rehearsal; /* a rehearsal shows all of it */
}

bool moon__run_tells(moon_run *run, moon_event_type type, const char *key) {
    if (recorded(run, type, key)) return false;
    if (moon__journal_wants(&run->tree->journal, type) || moon__hook_observes(run, type)) return true;
    moon__journal_append(&run->tree->journal, type, run->path, key, NULL);
    return false;
}

void moon__run_event(moon_run *run, moon_event_type type, const char *key, const moon__buf *body) {
    if (recorded(run, type, key)) return;
    if (run->tree->kept && body && body->status) /* it loses the journal */
        moon__run_stop(run->tree->root, MOON_STOP_JOURNAL,
                       body->status == MOON_ELIMIT ? "an event is too large to be kept" : "no memory for an event");
    moon__journal_append(&run->tree->journal, type, run->path, key, body);
    if (run->observer) moon__hook_observe(run, type, body);
}

void moon__run_show(moon_run *run, const moon__recorded *was) {
    moon__journal *journal = &run->tree->journal;
    moon_event event = {.type = was->type,
                        .seq = was->seq,
                        .time_us = was->time_us,
                        .run = journal->id,
                        .path = was->path,
                        .body = was->body,
                        .body_length = was->body_length};
    if (journal->sink) journal->sink(journal->ctx, &event);
}

static void explain_divergence(char text[1400], moon_run *run, uint64_t seq, const char *was, const char *now) {
    run->tree->root->result.diverged_at = seq - 1;
    snprintf(text, 1400,
             "the script has changed: at %s%s the journal has %.400s (event %" PRIu64
             "), and now it is %.400s; mend the "
             "script, go on with the recorded one (--recorded-script), or fork there (--accept-script)",
             *run->path ? "path " : "the top", run->path, was, seq, now);
}

void moon__run_diverged(moon_run *run, uint64_t seq, const char *was, const char *now) {
    char text[1400];
    explain_divergence(text, run, seq, was, now);
    moon__run_stop(run->tree->root, MOON_STOP_CHANGED, text);
}

static void tell_created(moon_run *run) {
    if (!moon__run_tells(run, MOON_EVENT_RUN_CREATED, "")) return;
    moon__buf body;
    moon__jw w;
    moon__buf_init(&body, 64 << 20);
    moon__jw_init(&w, &body);
    moon__jw_object(&w, NULL);
    moon__jw_str(&w, "run", run->tree->journal.id, SIZE_MAX);
    moon__jw_str(&w, "name", run->runnable->name, SIZE_MAX);
    moon__jw_str(&w, "input", run->input, run->input_length);
    moon__jw_str(&w, "workspace", moon__space_path(moon__scratch_space(moon__run_scratch(run))), SIZE_MAX);
    moon__jw_str(&w, "moonlet", moon_version(), SIZE_MAX);
    if (!run->parent) moon__kept_write(&w, run);
    moon__jw_end(&w);
    moon__run_event(run, MOON_EVENT_RUN_CREATED, "", &body);
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
    if (run->result.json) moon__jw_bool(&w, "json", true);
    if (run->writes) moon__jw_raw(&w, "state", run->writes, SIZE_MAX);
    if (run->result.error) moon__jw_str(&w, "error", run->result.error, SIZE_MAX);
    if (run->answerer) moon__jw_str(&w, "agent", run->answerer, SIZE_MAX);
    if (run->conflicts) moon__jw_raw(&w, "conflicts", run->conflicts, SIZE_MAX);
    moon__usage_write(&w, "usage", &run->usage);
    moon__jw_int(&w, "wall_ms", run->result.wall_ms);
    moon__jw_end(&w);
    moon__run_event(run, MOON_EVENT_RUN_FINISHED, "", &body);
    moon__buf_fini(&body);
}

void moon__run_log(moon_run *run, moon__log_level level, const char *text, size_t length) {
    char key[16];
    snprintf(key, sizeof key, "%u", ++run->n_logs);
    moon__run_log_as(run, key, level, text, length);
}

void moon__run_log_as(moon_run *run, const char *key, moon__log_level level, const char *text, size_t length) {
    static const char *const names[] = {"debug", "info", "warn", "error"};
    moon__buf body;
    moon__jw w;
    if (!moon__run_tells(run, MOON_EVENT_LOG, key)) return;
    moon__buf_init(&body, 4 << 20);
    moon__jw_init(&w, &body);
    moon__jw_object(&w, NULL);
    moon__jw_str(&w, "level", names[level], SIZE_MAX);
    moon__jw_str(&w, "text", text, length);
    moon__jw_end(&w);
    moon__run_event(run, MOON_EVENT_LOG, key, &body);
    moon__buf_fini(&body);
}

/* ---- life ---- */

void moon__run_link(moon_run *run) {
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
    moon__journal_fini(&tree->journal);
    moon__replay_free(tree->replay);
    free(tree->preview);
    moon__annexes_free(tree->annexes);
    moon__scratch_free(tree->scratch);
    moon__snapshots_fini(&tree->snapshots);
    free(tree);
}

moon_run *moon_run_ref(moon_run *run) {
    run->refs++;
    return run;
}

/* What a result says when there is no memory for more. */
static const char no_text[] = "", no_memory[] = "out of memory";

static const char *copy_or(const char *text, size_t n, const char *instead) {
    const char *copy = moon__strndup(text, n);
    return copy ? copy : instead;
}

static void free_copy(const char *text) {
    if (text != no_text && text != no_memory) free((char *)text);
}

void moon_run_unref(moon_run *run) {
    if (!run || --run->refs) return;
    moon_run *parent = run->parent;
    moon_runnable_unref(run->runnable);
    free(run->path);
    free(run->input);
    free(run->model);
    moon__run_prompts_free(run);
    free(run->stop_text);
    free(run->writes);
    free(run->answerer);
    moon__relay_free(run->relay);
    free(run->conflicts);
    moon__worktree_free(run->worktree);
    free_copy(run->result.text);
    free_copy(run->result.error);
    if (!parent) free_tree(run->tree);
    free(run);
    moon_run_unref(parent);
}

static void on_deadline(void *ctx) {
    moon__run_stop(ctx, MOON_STOP_SECONDS, "the time limit is reached");
}

void moon__run_over(moon_run *run) {
    run->finished = true;
    unlink_run(run);
    moon__defer_call(run->runtime->loop, &run->after);
}

/* The end is on the disk; or it is not, and then the run ended otherwise than it said. */
static void on_told(void *ctx, moon_status status) {
    moon_run *run = ctx;
    if (status && run->result.stop != MOON_STOP_JOURNAL) {
        const char *why = moon__keeper_error(run->runtime->keeper);
        if (!*why) why = moon_status_text(status);
        free_copy(run->result.error);
        run->result.error = copy_or(why, strlen(why), no_memory);
        run->result.stop = MOON_STOP_JOURNAL;
    }
    run->result.resumable = moon_stop_resumable(run->result.stop) && run->tree->journal.durable > 0;
    moon__kept_release(run);
    moon__run_over(run);
}

/* It ended, and so have its children. */
static void complete(moon_run *run) {
    moon__tree *tree = run->tree;
    run->result.usage = run->usage;
    run->result.wall_ms = (moon__loop_now(run->runtime->loop) - run->started_us) / 1000;
    tell_finished(run);
    if (run->parent || !tree->kept) {
        moon__run_over(run);
        return;
    }
    moon__kept_finished(run);
    tree->told = (moon__durable){.fn = on_told, .ctx = run};
    if (moon__journal_wait(&tree->journal, &tree->told)) on_told(run, MOON_OK);
}

static void after(void *ctx) {
    moon_run *run = ctx, *parent = run->parent;
    if (run->on_done) run->on_done(run->on_done_ctx, run);
    moon__run_busy(run, -1);
    if (parent && --parent->children == 0 && parent->ended && !parent->leaving) complete(parent);
    if (!parent) {
        moon__waiting_end(run);
        moon__line_end(run->tree);
    }
    moon_run_unref(run);
}

static void stop_children(moon_run *run, moon_stop why) {
    if (!run->children) return;
    for (moon_run *r = run->runtime->runs, *next; r; r = next) {
        next = r->next;
        if (r->parent == run) moon__run_stop(r, why, NULL);
    }
}

/* A run that is resumed and ends by itself must have been where it was before. */
static void check_all_used(moon_run *run, moon_stop *stop, const char **error) {
    const moon__recorded *left = run->tree->replay ? moon__replay_left(run->tree->replay, run->path) : NULL;
    if (!left || run->tree->rehearsal == MOON__REHEARSE_TOOLS) return;
    char was[200], text[1400];
    snprintf(was, sizeof was, "%s %s of path \"%.80s\"", moon_event_type_text(left->type), left->key, left->path);
    explain_divergence(text, run, left->seq, was, "the end of the run");
    free(run->stop_text);
    *stop = MOON_STOP_CHANGED;
    *error = run->stop_text = moon__strdup(text);
    moon__run_stop(run->tree->root, MOON_STOP_CHANGED, text); /* if this is a child */
}

void moon__run_finish(moon_run *run, moon_stop stop, const char *text, size_t length, const char *error) {
    assert(!run->ended && "a run was finished twice");
    if (run->ended) return;
    run->ended = true;
    moon__timer_stop(run->runtime->loop, &run->deadline);
    if (run->stopping) {
        stop = run->stop_why;
        error = run->stop_text ? run->stop_text : error;
    } else {
        check_all_used(run, &stop, &error);
    }
    if (stop != MOON_STOP_DONE && !error) error = moon_stop_text(stop);
    run->result.stop = stop;
    run->result.agent = run->answerer ? run->answerer : run->runnable->name;
    if (!text) text = "", length = 0;
    run->result.text = copy_or(text, length, no_text);
    run->result.text_length = run->result.text == no_text ? 0 : length;
    run->result.error = stop == MOON_STOP_DONE ? NULL : copy_or(error, strlen(error), no_memory);
    if (run->result.text == no_text && stop == MOON_STOP_DONE) { /* an answer that is lost is no empty answer */
        run->result.stop = MOON_STOP_FAILED;
        run->result.error = no_memory;
    }
    run->leaving = run->worktree && run->result.stop == MOON_STOP_DONE;
    stop_children(run, stop == MOON_STOP_DONE ? MOON_STOP_INTERRUPTED : stop);
    if (run->leaving)
        moon__worktree_leave(run);
    else if (!run->children)
        complete(run);
}

void moon__run_unmerged(moon_run *run, const char *error) {
    run->result.stop = MOON_STOP_UNMERGED;
    run->result.error = copy_or(error, strlen(error), no_memory);
}

void moon__run_left(moon_run *run) {
    run->leaving = false;
    if (!run->children) complete(run);
}

moon__scratch *moon__run_scratch(const moon_run *run) {
    const moon__tree *tree = run->tree;
    for (; run; run = run->parent)
        if (run->worktree && moon__worktree_scratch(run->worktree)) return moon__worktree_scratch(run->worktree);
    return tree->scratch;
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

/* As text, whatever bytes it is given in: journals, models and scripts take no others. */
static void take_input(moon_run *run, const char *input, size_t n) {
    moon__buf clean;
    run->input_length = n;
    if (moon__text_sound(input, n)) {
        run->input = moon__strndup(input, n);
        return;
    }
    moon__buf_init(&clean, n * strlen(MOON__REPLACEMENT));
    moon__text_repair(&clean, input, n);
    run->input_length = clean.len;
    run->input = moon__buf_take(&clean);
    moon__buf_fini(&clean);
}

moon_run *moon__run_alloc(moon_runtime *runtime, moon_runnable *runnable, const char *input, size_t length) {
    moon_run *run = calloc(1, sizeof *run);
    if (!run) return NULL;
    run->refs = 2; /* the caller's and the runtime's */
    run->runtime = runtime;
    run->runnable = moon_runnable_ref(runnable);
    run->limits = runtime->limits;
    run->usage.usd = -1;
    run->deadline = (moon__timer){.fn = on_deadline, .ctx = run};
    run->after = (moon__defer){.fn = after, .ctx = run};
    run->started_us = moon__loop_now(runtime->loop);
    if (!input) input = "", length = 0;
    take_input(run, input, !length || length == SIZE_MAX ? strlen(input) : length);
    return run;
}

moon_status moon__run_discard(moon_run *run, moon_status status) {
    moon__timer_stop(run->runtime->loop, &run->deadline);
    run->refs = 1;
    moon_run_unref(run);
    return status;
}

moon_status moon__run_deadline(moon_run *run) {
    moon__timer_stop(run->runtime->loop, &run->deadline);
    if (run->limits.seconds <= 0) return MOON_OK;
    int64_t spent = moon__loop_now(run->runtime->loop) - run->started_us; /* before it was resumed */
    return moon__timer_start(run->runtime->loop, &run->deadline, run->limits.seconds * INT64_C(1000000) - spent);
}

/* With its tree in place: runnable, deadline, first event. */
moon_status moon__run_begin(moon_run *run, moon_error *error) {
    if (!run->input || !run->path)
        return moon__run_discard(run, moon_error_set(error, MOON_ENOMEM, "no memory for a run"));
    moon_status status = run->runnable->ops->start(run->runnable, run, error);
    if (status) return moon__run_discard(run, status);
    moon__run_link(run);
    if (run->parent) run->parent->children++;
    moon__run_busy(run, 1);
    if (moon__run_deadline(run)) moon__run_stop(run, MOON_STOP_FAILED, "no memory for the time limit");
    if (!run->parent) moon__kept_created(run);
    tell_created(run);
    return MOON_OK;
}

moon_status moon__run_tree(moon_run *run, const moon_run_options *options, moon_error *error) {
    run->path = moon__strdup("");
    run->tree = calloc(1, sizeof *run->tree);
    if (!run->tree) return moon_error_set(error, MOON_ENOMEM, "no memory for a run");
    moon__tree *tree = run->tree;
    tree->root = run;
    moon__waiting_init(run);
    moon__line_init(tree);
    moon__snapshots_init(&tree->snapshots, run);
    tree->snapshots.all = options->snapshots;
    moon__journal_init(&tree->journal, &run->runtime->clock, &run->runtime->random);
    tree->created_us = run->runtime->clock.wall_us(run->runtime->clock.ctx);
    tree->seed = moon__random_u64(&run->runtime->random) >> 11; /* as much as JSON can hold */
    tree->kept = run->runtime->keeper && !options->forget;
    tree->unknown = options->unknown;
    tree->allow_all = options->allow_all;
    tree->can_ask = options->can_ask;
    tree->park = options->park;
    tree->on_event = options->on_event;
    tree->ctx = options->ctx;
    tree->deltas = options->deltas;
    moon__run_attend(tree);
    if (options->model && !(run->model = moon__strdup(options->model)))
        return moon_error_set(error, MOON_ENOMEM, "no memory for a run");
    return moon__scratch_new(&tree->scratch, run->runtime->space, error);
}

moon_status moon_run_start(moon_run **out, moon_runtime *runtime, moon_runnable *runnable,
                           const moon_run_options *options, moon_error *error) {
    static const moon_run_options defaults = {.size = sizeof defaults};
    if (!options) options = &defaults;
    if (options->size != sizeof *options) return moon_error_set(error, MOON_EINVAL, "moon_run_options.size is not set");
    moon_status status = runtime->keeper && !options->forget ? moon__keeper_ready(runtime->keeper, error) : MOON_OK;
    if (status) return status;
    moon_run *run = moon__run_alloc(runtime, runnable, options->input, options->input_length);
    if (!run) return moon_error_set(error, MOON_ENOMEM, "no memory for a run");
    status = moon__run_tree(run, options, error);
    if (status) return moon__run_discard(run, status);
    run->given = options->limits ? *options->limits : MOON_LIMITS_NONE;
    moon__limits_tighten(&run->limits, &run->given);
    status = moon__run_begin(run, error);
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

const char *moon__run_path_of(const moon_run *run) {
    return run->path;
}

void moon__run_set_json(moon_run *run) {
    run->result.json = true;
}

bool moon__run_input_json(const moon_run *run) {
    return run->input_json;
}

void moon__run_set_writes(moon_run *run, char *json) {
    free(run->writes);
    run->writes = json;
}

const char *moon__run_writes(const moon_run *run) {
    return run->writes;
}

const char *moon__run_conflicts(const moon_run *run) {
    return run->conflicts;
}

void *moon__run_state(const moon_run *run) {
    return run->state;
}

void moon__run_set_state(moon_run *run, void *state) {
    run->state = state;
}

uint64_t moon__run_seed(const moon_run *run, const char *place) {
    uint64_t seed = run->tree->seed ^ moon_hash(run->path, strlen(run->path)) ^ (moon_hash(place, strlen(place)) << 1);
    return seed ? seed : 1;
}

static moon_status decide_one(moon_run *run, const char *call, bool allow, const char *why) {
    for (moon_run *r = run->runtime->runs; r; r = r->next) {
        if (r->tree != run->tree) continue;
        moon__calls *calls = moon__react_calls(r);
        if (!calls) calls = moon__single_calls(r);
        if (calls && moon__calls_decide(calls, call, allow, why, NULL) == MOON_OK) return MOON_OK;
    }
    return MOON_ENOTFOUND;
}

moon_status moon__run_decide_all(moon_run *root, bool allow, const char *why) {
    moon_status status = MOON_OK;
    for (unsigned left = root->tree->asked; left && !status; left--) status = decide_one(root, NULL, allow, why);
    return MOON_OK;
}

moon_status moon_run_decide(moon_run *run, const char *call, bool allow, const char *why, moon_error *error) {
    if (call && decide_one(run, call, allow, why) == MOON_OK) return MOON_OK;
    return moon_error_set(error, MOON_ENOTFOUND, "no call %s of this run waits for an answer", call ? call : "");
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

bool moon__source_copy(moon__source *source, const char *path, const char *text, size_t n) {
    *source = (moon__source){.path = moon__strdup(path), .text = moon__strndup(text, n), .length = n};
    moon__sha256(source->hash, &(moon__bytes){text, n}, 1);
    if (source->path && source->text) return true;
    free(source->path);
    free(source->text);
    return false;
}

void moon__sources_free(moon__source *sources, size_t n) {
    for (size_t i = 0; i < n; i++) {
        free(sources[i].path);
        free(sources[i].text);
    }
    free(sources);
}

static void free_origin(moon__origin *origin) {
    free(origin->script);
    free(origin->agent);
    moon__sources_free(origin->sources, origin->n_sources);
}

void moon_runnable_unref(moon_runnable *runnable) {
    if (!runnable || --runnable->refs) return;
    free(runnable->name);
    free_origin(&runnable->origin);
    runnable->ops->free(runnable);
}

const char *moon_runnable_name(const moon_runnable *runnable) {
    return runnable->name;
}
