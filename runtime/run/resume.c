/* SPDX-License-Identifier: MIT */
/*
 * Taking up a run that was kept.
 *
 * In one visit to the store: the run is claimed, its whole journal read (the chain of hashes is checked on the way),
 * and run.claimed appended after the last record. Whoever comes second finds another last record and is refused there,
 * so that what follows is done by one process. Then the run begins as it did the first time, and finds at each place
 * what was recorded.
 */
#include <stdlib.h>
#include <string.h>

#include "runtime.h"
#include "text.h"

typedef struct visit {
    const char *id;
    moon__replay *replay;
    bool found, finished;
    int64_t created_us;
    uint64_t seq;
    unsigned char hash[MOON_HASH_SIZE];
    int64_t last_us, spent_us; /* spent: while it was driven */
    int64_t now_us;
    moon_status status;
} visit;

static bool on_info(void *ctx, const moon_run_info *info) {
    visit *v = ctx;
    v->found = true;
    v->finished = info->state == MOON_RUN_FINISHED && !info->resumable;
    v->created_us = info->created_us;
    return false;
}

static bool on_record(void *ctx, const moon_record *record) {
    visit *v = ctx;
    if (v->seq && record->type != MOON_EVENT_RUN_CLAIMED && record->time_us > v->last_us)
        v->spent_us += record->time_us - v->last_us;
    v->last_us = record->time_us;
    v->seq = record->seq;
    memcpy(v->hash, record->hash, MOON_HASH_SIZE);
    v->status = moon__replay_add(v->replay, record);
    return v->status == MOON_OK;
}

static moon_status claim(visit *v, const moon_store_ops *ops, moon_store *store, moon_error *error) {
    static const char body[] = "{\"moonlet\":\"" MOON_VERSION "\"}";
    moon_record record = {.seq = v->seq + 1,
                          .type = MOON_EVENT_RUN_CLAIMED,
                          .time_us = v->now_us,
                          .path = "",
                          .key = "",
                          .body = body,
                          .body_length = sizeof body - 1};
    moon__record_seal(&record, v->hash);
    moon_append append = {.run = v->id, .expected = v->seq, .records = &record, .n_records = 1};
    moon_status status = ops->append(store, &append, 1, error);
    if (!status) status = append.status;
    if (status == MOON_ECONFLICT)
        return moon_error_set(error, MOON_EBUSY, "run %.40s was taken up by another process just now", v->id);
    v->seq++;
    memcpy(v->hash, record.hash, MOON_HASH_SIZE);
    return status;
}

static moon_status pay(void *ctx, const moon_store_ops *ops, moon_store *store, moon_error *error) {
    visit *v = ctx;
    moon_status status = ops->list(store, &(moon_query){.run = v->id, .state = -1, .limit = 1}, on_info, v, error);
    if (!status && !v->found) status = moon_error_set(error, MOON_ENOTFOUND, "there is no run %.40s", v->id);
    if (!status && v->finished)
        status = moon_error_set(error, MOON_EEXIST,
                                "run %.40s is finished; `moonlet show` tells its result, and a fork "
                                "goes on from any of its events",
                                v->id);
    if (status) return status;
    status = ops->claim(store, v->id, error);
    if (status) return status;
    status = ops->read(store, v->id, 1, 0, on_record, v, error);
    if (!status && v->status) status = moon_error_set(error, v->status, "no memory for the journal");
    if (!status) status = claim(v, ops, store, error);
    if (status) ops->release(store, v->id);
    return status;
}

/* ---- the run made again ---- */

static moon_status make_runnable(moon_runtime *rt, const moon_json *created, moon_runnable **out, moon_error *error) {
    const char *script = moon_json_str(moon_json_get(created, "script"), NULL);
    const moon_json *agent = moon_json_get(created, "agent");
    if (script && rt->load) return rt->load(out, rt, script, error);
    if (!agent)
        return moon_error_set(error, MOON_EUNSUPPORTED, "the run was not started from a script: it cannot be resumed");
    moon__buf text;
    moon__buf_init(&text, 16 << 20);
    moon__json_print(&text, agent);
    moon_status status = text.status ? moon_error_set(error, text.status, "no memory for an agent")
                                     : moon_agent_new(out, rt, text.p, text.len, error);
    moon__buf_fini(&text);
    return status;
}

/* What it was started with holds unless something else is said now. */
static moon_status set_up(moon_run *run, const visit *v, const moon_json *created, const moon_run_options *options,
                          moon_error *error) {
    moon_run_options with = *options;
    if (!with.model) with.model = moon_json_str(moon_json_get(created, "model"), NULL);
    moon_status status = moon__run_tree(run, &with, error);
    if (status) return status;
    moon__tree *tree = run->tree;
    moon__journal *journal = &tree->journal;
    int64_t seed = 0;
    tree->kept = true;
    tree->created_us = v->created_us;
    if (moon_json_int(moon_json_get(created, "seed"), &seed)) tree->seed = (uint64_t)seed;
    memcpy(journal->id, v->id, strlen(v->id) + 1);
    journal->seq = journal->taken = journal->durable = v->seq;
    memcpy(journal->hash, v->hash, MOON_HASH_SIZE);
    run->started_us -= v->spent_us;
    status = moon__limits_read(&run->given, moon_json_get(created, "limits"), error);
    if (status) return status;
    if (options->limits) moon__limits_replace(&run->given, options->limits);
    moon__limits_tighten(&run->limits, &run->given);
    return MOON_OK;
}

static moon_status begin(moon_run **out, moon_runtime *rt, visit *v, const moon_run_options *options,
                         moon_error *error) {
    const moon__recorded *first = moon__replay_find(v->replay, MOON_EVENT_RUN_CREATED, "", "");
    moon_json *created = NULL;
    moon_runnable *runnable = NULL;
    moon_status status = first ? moon__json_parse(&created, first->body, first->body_length, 0, error)
                               : moon_error_set(error, MOON_ECORRUPT, "the journal has no beginning");
    if (!status) status = make_runnable(rt, created, &runnable, error);
    moon_run *run = NULL;
    if (!status) {
        size_t length = 0;
        const char *input = moon_json_str(moon_json_get(created, "input"), &length);
        run = moon__run_alloc(rt, runnable, input, length);
        if (!run) status = moon_error_set(error, MOON_ENOMEM, "no memory for a run");
    }
    moon_runnable_unref(runnable);
    if (run) {
        status = set_up(run, v, created, options, error);
        if (!status) {
            run->tree->replay = v->replay;
            v->replay = NULL;
            status = moon__run_begin(run, error);
        } else
            status = moon__run_discard(run, status);
    }
    moon__json_free(created);
    if (!status) *out = run;
    return status;
}

moon_status moon_run_resume(moon_run **out, moon_runtime *rt, const char *id, const moon_run_options *options,
                            moon_error *error) {
    static const moon_run_options defaults = {.size = sizeof defaults};
    if (!options) options = &defaults;
    if (options->size != sizeof *options) return moon_error_set(error, MOON_EINVAL, "moon_run_options.size is not set");
    if (!rt->keeper) return moon_error_set(error, MOON_EUNSUPPORTED, "this runtime keeps no runs: it has no journal");
    if (!id || strlen(id) >= MOON__ID_SIZE) return moon_error_set(error, MOON_ENOTFOUND, "there is no such run");
    visit v = {.id = id, .now_us = rt->clock.wall_us(rt->clock.ctx), .replay = moon__replay_new()};
    if (!v.replay) return moon_error_set(error, MOON_ENOMEM, "no memory for the journal");
    moon_status status = moon__keeper_do(rt->keeper, pay, &v, error);
    bool claimed = status == MOON_OK;
    if (!status) status = begin(out, rt, &v, options, error);
    if (status && claimed) moon__keeper_release(rt->keeper, id);
    moon__replay_free(v.replay);
    return status;
}
