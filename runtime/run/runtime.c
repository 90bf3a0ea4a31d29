/* SPDX-License-Identifier: MIT */
/* The runtime: its parts put together, its loop, and its end (runs first, then what they stand on). */
#include "runtime.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "text.h"

enum { WORKERS = 4, END_STEP_MS = 100 };

static void free_options(moon_runtime_options *options) {
    free((char *)options->workspace);
    free((char *)options->model);
    free((char *)options->config);
    free((char *)options->agents);
    free((char *)options->journal);
    free((char *)options->cassette);
    free((char *)options->record);
}

static moon_status copy_options(moon_runtime_options *to, const moon_runtime_options *from, moon_error *error) {
    *to = *from;
    to->workspace = moon__strdup(from->workspace);
    to->model = moon__strdup(from->model);
    to->config = moon__strdup(from->config);
    to->agents = moon__strdup(from->agents);
    to->journal = moon__strdup(from->journal);
    to->cassette = moon__strdup(from->cassette);
    to->record = moon__strdup(from->record);
    bool ok = !from->workspace == !to->workspace && !from->model == !to->model && !from->config == !to->config &&
              !from->agents == !to->agents && !from->journal == !to->journal && !from->cassette == !to->cassette &&
              !from->record == !to->record;
    return ok ? MOON_OK : moon_error_set(error, MOON_ENOMEM, "no memory for the runtime");
}

/* The folder that models' answers come from, or go to. */
static moon_status use_cassette(moon_runtime *rt, moon_error *error) {
    const char *play = rt->options.cassette, *record = rt->options.record;
    bool plays = play && *play, records = record && *record;
    moon__cassette_options options = {
        .dir = plays ? play : record, .record = records, .workspace = moon__space_path(rt->space)};
    if (!plays && !records) return MOON_OK;
    if (plays && records)
        return moon_error_set(error, MOON_EINVAL, "answers are either recorded or taken from a cassette, not both");
    moon_status status = moon__cassette_open(&rt->cassette, rt->loop, &options, error);
    if (status || records) return status;
    return moon__models_play(rt->models, moon__cassette_model(rt->cassette), error);
}

moon_status moon__runtime_new_clock(moon_runtime **out, const moon_runtime_options *options, const moon__clock *clock,
                                    moon_error *error) {
    static const moon_runtime_options defaults = {.size = sizeof defaults};
    if (!options) options = &defaults;
    if (options->size != sizeof *options)
        return moon_error_set(error, MOON_EINVAL, "moon_runtime_options.size is not set");
    moon_runtime *rt = calloc(1, sizeof *rt);
    if (!rt) return moon_error_set(error, MOON_ENOMEM, "no memory for the runtime");
    rt->clock = *clock;
    rt->limits = MOON_LIMITS_NONE;
    moon__random_init(&rt->random, options->seed);
    moon_status status = copy_options(&rt->options, options, error);
    if (!status) status = moon__space_new(&rt->space, options->workspace ? options->workspace : ".", error);
    if (!status) status = moon__loop_new(&rt->loop, &rt->clock, error);
    if (!status) moon__gate_init(&rt->gate, rt->loop, options->requests);
    if (!status) status = moon__pool_new(&rt->pool, rt->loop, options->workers ? options->workers : WORKERS, error);
    if (!status) status = moon__tools_new(&rt->tools, error);
    if (!status) status = moon__models_new(&rt->models, rt->loop, &rt->random, error);
    if (!status && options->model) status = moon__models_set_default(rt->models, options->model, "--model", error);
    if (!status) status = use_cassette(rt, error);
    if (!status && options->journal && *options->journal)
        status = moon__runtime_set_journal(rt, options->store, options->journal, error);
    if (status) {
        moon_runtime_free(rt);
        return status;
    }
    *out = rt;
    return MOON_OK;
}

void moon_runtime_free(moon_runtime *rt) {
    if (!rt) return;
    while (rt->runs) {
        for (moon_run *run = rt->runs, *next; run; run = next) {
            next = run->next;
            if (!run->stopping && !run->ended) {
                moon_run_cancel(run);
                next = rt->runs; /* cancelling may have ended others: begin again */
            }
        }
        moon__loop_step(rt->loop, END_STEP_MS);
    }
    if (rt->loop) moon__loop_step(rt->loop, 0); /* the last ends are told */
    moon__keeper_free(rt->keeper);
    moon__model_unref(rt->info_model);
    if (rt->scripts) rt->free_scripts(rt->scripts);
    moon__models_free(rt->models);
    moon__cassette_free(rt->cassette);
    if (!moon__pool_free(rt->pool)) return; /* a tool does not stop: what it may touch hangs from the loop, and stays */
    if (rt->loop) moon__loop_step(rt->loop, 0); /* what late tools have posted */
    moon__tools_free(rt->tools);
    moon__space_free(rt->space);
    moon__gate_fini(&rt->gate);
    moon__loop_free(rt->loop);
    moon__json_free(rt->policy);
    free_options(&rt->options);
    free(rt);
}

int moon_runtime_fd(const moon_runtime *rt) {
    return moon__loop_fd(rt->loop);
}

int moon_runtime_timeout(moon_runtime *rt) {
    return moon__loop_timeout(rt->loop);
}

moon_status moon_runtime_step(moon_runtime *rt, int timeout_ms, moon_error *error) {
    if (rt->stepping) return moon_error_set(error, MOON_EINVAL, "moon_runtime_step was called from a callback");
    rt->stepping = true;
    moon__loop_step(rt->loop, timeout_ms);
    rt->stepping = false;
    return MOON_OK;
}

moon_status moon_runtime_add_tool(moon_runtime *rt, const moon_tool *tool, moon_error *error) {
    return moon__tools_add(rt->tools, tool, error);
}

moon_status moon_runtime_add_plugin(moon_runtime *rt, const char *path, moon_error *error) {
    return moon__tools_add_plugin(rt->tools, path, error);
}

const moon_tool *moon_runtime_tool_at(const moon_runtime *rt, size_t index) {
    const moon__tool_entry *entry = moon__tools_at(rt->tools, index);
    return entry ? entry->tool : NULL;
}

const moon_tool *moon_runtime_tool(const moon_runtime *rt, const char *name) {
    const moon__tool_entry *entry = moon__tools_find(rt->tools, name);
    return entry ? entry->tool : NULL;
}

moon_status moon_runtime_add_provider(moon_runtime *rt, const moon_provider *provider, moon_error *error) {
    return moon__models_add_provider(rt->models, provider, error);
}

moon_status moon_runtime_model(moon_runtime *rt, const char *spec, moon_model_info *info, moon_error *error) {
    moon__model *model;
    moon_status status = moon__models_get(rt->models, spec, &model, error);
    if (status) return status;
    moon__model_unref(rt->info_model);
    rt->info_model = model; /* keeps what is lent below alive */
    *info = (moon_model_info){.name = model->name,
                              .source = model->source,
                              .base_url = model->base_url,
                              .key_name = model->key_name,
                              .scripted = model->scripted};
    return MOON_OK;
}

moon__loop *moon__runtime_loop(moon_runtime *rt) {
    return rt->loop;
}

moon__models *moon__runtime_models(moon_runtime *rt) {
    return rt->models;
}

moon__tools *moon__runtime_tools(moon_runtime *rt) {
    return rt->tools;
}

const moon_runtime_options *moon__runtime_options(const moon_runtime *rt) {
    return &rt->options;
}

moon__random *moon__runtime_random(moon_runtime *rt) {
    return &rt->random;
}

void moon__runtime_set_scripts(moon_runtime *rt, void *scripts, void (*free_scripts)(void *scripts)) {
    rt->scripts = scripts;
    rt->free_scripts = free_scripts;
}

void moon__runtime_set_loader(moon_runtime *rt, moon__loader load) {
    rt->load = load;
}

void *moon__runtime_scripts(const moon_runtime *rt) {
    return rt->scripts;
}

void moon__runtime_set_limits(moon_runtime *rt, const moon_limits *limits) {
    moon__limits_tighten(&rt->limits, limits);
}

void moon__runtime_set_requests(moon_runtime *rt, unsigned requests) {
    if (requests && (!rt->gate.room || requests < rt->gate.room)) rt->gate.room = requests;
}

/* Rules of several places: for a name that two give, the stricter one stays. */
moon_status moon__runtime_add_policy(moon_runtime *rt, const moon_json *policy, moon_error *error) {
    moon__buf text;
    moon__jw w;
    moon_status status = moon__policy_check(policy, error);
    if (status) return status;
    moon__buf_init(&text, 1 << 20);
    moon__jw_init(&w, &text);
    moon__jw_object(&w, NULL);
    for (const moon_json *m = moon_json_first(rt->policy); m; m = moon_json_next(m))
        if (!moon_json_get(policy, moon_json_name(m)))
            moon__jw_str(&w, moon_json_name(m), moon_json_str(m, NULL), SIZE_MAX);
    for (const moon_json *m = moon_json_first(policy); m; m = moon_json_next(m)) {
        const char *old = moon_json_str(moon_json_get(rt->policy, moon_json_name(m)), NULL),
                   *new = moon_json_str(m, NULL);
        bool keep = old && (!strcmp(old, "deny") || (!strcmp(old, "ask") && strcmp(new, "deny") != 0));
        moon__jw_str(&w, moon_json_name(m), keep ? old : new, SIZE_MAX);
    }
    moon__jw_end(&w);
    moon_json *merged = NULL;
    status = text.status ? text.status : moon__json_parse(&merged, text.p, text.len, 0, error);
    moon__buf_fini(&text);
    if (status) return status;
    moon__json_free(rt->policy);
    rt->policy = merged;
    return MOON_OK;
}
