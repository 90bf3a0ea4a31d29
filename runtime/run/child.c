/* SPDX-License-Identifier: MIT */
/*
 * Runs that are started from within others: begun, or, when their parent is resumed, taken from the journal. One that
 * had ended gives its result again without anything of it being done; one that had not, or had been cut off, begins and
 * finds its own records.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime.h"
#include "text.h"

char *moon__run_path(const moon_run *run, const char *place) {
    moon__buf path;
    moon__buf_init(&path, 64 << 10);
    moon__buf_printf(&path, "%s%s%s", run->path, *run->path ? "." : "", place);
    char *text = moon__buf_take(&path);
    moon__buf_fini(&path);
    return text;
}

/* Is the child that was recorded at this place the one that is started now? */
static bool same_child(moon_run *run, const moon__recorded *was) {
    char then[200], now[200];
    size_t length;
    moon_json *body = moon__run_recorded_body(run, was);
    if (!body) return false;
    const char *name = moon_json_str(moon_json_get(body, "name"), NULL);
    const char *input = moon_json_str(moon_json_get(body, "input"), &length);
    bool same = name && input && !strcmp(name, run->runnable->name) && length == run->input_length &&
                !memcmp(input, run->input, length);
    if (!same) {
        snprintf(then, sizeof then, "a run of %.40s on \"%.80s\"", name ? name : "?", input ? input : "?");
        snprintf(now, sizeof now, "one of %.40s on \"%.80s\"", run->runnable->name, run->input);
        moon__run_diverged(run, was->seq, then, now);
    }
    moon__json_free(body);
    return same;
}

static bool take_json(char **out, const moon_json *value) {
    if (!value) return true;
    moon__buf json;
    moon__buf_init(&json, 64 << 20);
    moon__json_print(&json, value);
    *out = moon__buf_take(&json);
    moon__buf_fini(&json);
    return *out != NULL;
}

/* The child ended before: its result is given again, and nothing of it is done. */
static moon_status end_as_recorded(moon_run *run, const moon_json *body, bool shared, moon_error *error) {
    size_t length = 0;
    const char *text = moon_json_str(moon_json_get(body, "text"), &length);
    const char *why = moon_json_str(moon_json_get(body, "error"), NULL);
    run->result.stop = moon__stop_named(moon_json_str(moon_json_get(body, "stop_reason"), NULL));
    run->result.text = moon__strndup(text ? text : "", length);
    run->result.text_length = length;
    run->result.error = moon__strdup(why);
    const char *answerer = moon_json_str(moon_json_get(body, "agent"), NULL);
    run->answerer = moon__strdup(answerer);
    run->result.agent = run->answerer ? run->answerer : run->runnable->name;
    moon_json_bool(moon_json_get(body, "json"), &run->result.json);
    if (!run->result.text || (why && !run->result.error) || (answerer && !run->answerer) ||
        !take_json(&run->writes, moon_json_get(body, "state")) ||
        !take_json(&run->conflicts, moon_json_get(body, "conflicts")))
        return moon__run_discard(run, moon_error_set(error, MOON_ENOMEM, "no memory for a run"));
    if (!shared) moon__usage_read(&run->usage, moon_json_get(body, "usage")); /* those above have it already */
    run->result.usage = run->usage;
    moon_json_int(moon_json_get(body, "wall_ms"), &run->result.wall_ms);
    run->ended = run->stopping = true; /* nothing of it is to be stopped any more */
    moon__run_link(run);
    run->parent->children++;
    moon__run_busy(run, 1);
    moon__run_over(run);
    return MOON_OK;
}

/* Did whoever started the child do something after it had ended? Then its end was taken for what it was. Else one that
 * can go on (a limit, a provider that was away, the whole tree stopped) does. */
static bool went_on(const moon_run *run, const moon__recorded *ended) {
    const char *dot = strrchr(run->path, '.');
    return moon__replay_last(run->tree->replay, run->path, dot ? (size_t)(dot - run->path) : 0) > ended->seq;
}

/* Begins a child, or takes it from the journal. */
static moon_status begin_child(moon_run *run, moon_error *error) {
    const moon__recorded *created = moon__run_recorded(run, MOON_EVENT_RUN_CREATED, ""),
                         *ended = moon__run_recorded(run, MOON_EVENT_RUN_FINISHED, "");
    if (created && !same_child(run, created))
        return moon__run_discard(run, moon_error_set(error, MOON_ECANCELLED, "the script has changed"));
    if (created) {
        run->usage = moon__replay_spent(run->tree->replay, run->path);
        if (!run->tree->rehearsal) run->started_us -= moon__replay_driven(run->tree->replay, run->path);
    }
    if (!created || !ended || run->tree->rehearsal == MOON__REHEARSE_TOOLS) return moon__run_begin(run, error);
    moon_json *body = moon__run_recorded_body(run, ended);
    if (!body) return moon__run_discard(run, moon_error_set(error, MOON_ECANCELLED, "the journal cannot be read"));
    moon_stop stop = moon__stop_named(moon_json_str(moon_json_get(body, "stop_reason"), NULL));
    bool taken = !moon_stop_resumable(stop) || went_on(run, ended);
    moon_status status =
        taken ? end_as_recorded(run, body, ended->seq <= run->tree->shared, error) : moon__run_begin(run, error);
    moon__json_free(body);
    return status;
}

moon_status moon__run_child(moon_run **out, moon_run *parent, const moon__child *spec, moon_error *error) {
    if (parent->stopping || parent->ended) return moon_error_set(error, MOON_ECANCELLED, "the run is ending");
    moon_run *run =
        moon__run_alloc(parent->runtime, spec->runnable, spec->input, spec->length ? spec->length : SIZE_MAX);
    if (!run) return moon_error_set(error, MOON_ENOMEM, "no memory for a run");
    const moon_run *root = parent->tree->root;
    run->parent = moon_run_ref(parent);
    run->tree = parent->tree;
    run->path = moon__run_path(parent, spec->place);
    run->input_json = spec->json;
    run->on_done = spec->done;
    run->on_done_ctx = spec->ctx;
    if (spec->limits) moon__limits_tighten(&run->limits, spec->limits);
    if (!run->path || !run->input || (root->model && !(run->model = moon__strdup(root->model))))
        return moon__run_discard(run, moon_error_set(error, MOON_ENOMEM, "no memory for a run"));
    moon_status status = begin_child(run, error);
    if (!status) *out = run;
    return status;
}
