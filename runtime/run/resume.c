/* SPDX-License-Identifier: MIT */
/*
 * Taking up a run that was kept.
 *
 * In one visit to the store: the run is claimed, its whole journal read (the chain of hashes is checked on the way),
 * and run.claimed appended after the last record. Whoever comes second finds another last record and is refused there,
 * so that what follows is done by one process. Then the run begins as it did the first time, and finds at each place
 * what was recorded.
 *
 * A fork reads another run's journal up to a point and appends the beginning of its own after it. A replay reads, and
 * keeps nothing.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "remains.h"
#include "runtime.h"
#include "shape.h"
#include "text.h"

typedef enum purpose { RESUME, FORK, REPLAY } purpose;

typedef struct visit {
    purpose purpose;
    const char *from;       /* the run whose journal is read */
    char id[MOON__ID_SIZE]; /* the run that it becomes */
    uint64_t at;            /* of a fork: the last record that is shared; 0: all but the end */
    const char *input;      /* of a fork: a message more; NULL: none */
    size_t input_length;
    moon__replay *replay;
    moon__remains remains;
    bool found, finished;
    char *name, *script, *workspace, *preview;
    int64_t created_us;
    uint64_t seq;
    unsigned char hash[MOON_HASH_SIZE], before[MOON_HASH_SIZE]; /* of the last record, and of the one before it */
    bool ended;                                                 /* the last record is the root's end */
    unsigned steps;                                             /* answers that the root has had */
    uint64_t shared;                                            /* of a fork: records up to here are not its own */
    moon_snapshot snapshot;                                     /* the last one of its own */
    int64_t now_us;
    moon_status status;
} visit;

static bool on_info(void *ctx, const moon_run_info *info) {
    visit *v = ctx;
    v->found = true;
    v->finished = info->state == MOON_RUN_FINISHED && !info->resumable;
    if (v->purpose == RESUME) v->shared = info->fork_at;
    v->created_us = info->created_us;
    v->name = moon__strdup(info->name);
    v->script = moon__strdup(info->script);
    v->workspace = moon__strdup(info->workspace);
    v->preview = moon__strdup(info->input);
    if (!v->name || !v->script || !v->workspace || !v->preview) v->status = MOON_ENOMEM;
    return false;
}

/* What a recorded answer has cost counts from the beginning of the run that goes on, wherever it is found again. */
static moon_status spend(visit *v, const moon_record *record) {
    moon_json *body = NULL;
    moon_usage usage;
    if (moon__json_parse(&body, record->body, record->body_length, 0, NULL))
        return MOON_OK; /* found where it is used */
    moon__usage_read(&usage, moon_json_get(body, "usage"));
    usage.steps = 1;
    usage.tool_calls = (int64_t)moon_json_size(moon_json_get(body, "tool_calls"));
    moon__json_free(body);
    return moon__replay_spend(v->replay, record->path, &usage);
}

/* The call of a run that is one call, and asks no model: nothing else tells that it was made. */
static moon_status spend_call(visit *v, const moon_record *record) {
    static const moon_event_type signs[] = {MOON_EVENT_TOOL_INTENT, MOON_EVENT_TOOL_RESULT, MOON_EVENT_APPROVAL_ASKED};
    const moon_usage one = {.tool_calls = 1, .usd = -1};
    bool sign = false, known = strcmp(record->key, "c1") != 0;
    for (size_t i = 0; !known && i < sizeof signs / sizeof *signs; i++) {
        sign = sign || record->type == signs[i];
        known = moon__replay_find(v->replay, signs[i], record->path, "c1") != NULL;
    }
    if (known || !sign || moon__replay_find(v->replay, MOON_EVENT_MODEL_RESPONSE, record->path, "1")) return MOON_OK;
    return moon__replay_spend(v->replay, record->path, &one);
}

static void take_snapshot(visit *v, const moon_record *record) {
    moon_json *body = NULL;
    moon_snapshot snapshot;
    if (!moon__json_parse(&body, record->body, record->body_length, 0, NULL) && moon__snapshot_read(&snapshot, body))
        v->snapshot = snapshot;
    moon__json_free(body);
}

static bool on_record(void *ctx, const moon_record *record) {
    visit *v = ctx;
    v->seq = record->seq;
    v->ended = record->type == MOON_EVENT_RUN_FINISHED && !*record->path;
    v->steps += record->type == MOON_EVENT_MODEL_RESPONSE && !*record->path;
    memcpy(v->before, v->hash, MOON_HASH_SIZE);
    memcpy(v->hash, record->hash, MOON_HASH_SIZE);
    if (record->type == MOON_EVENT_SNAPSHOT_TAKEN && record->seq > v->shared) take_snapshot(v, record);
    v->status = record->seq > v->shared ? spend_call(v, record) : MOON_OK;
    if (!v->status) v->status = moon__replay_add(v->replay, record);
    if (!v->status && record->type == MOON_EVENT_MODEL_RESPONSE && record->seq > v->shared)
        v->status = spend(v, record);
    if (!v->status) v->status = moon__remains_add(&v->remains, record);
    return v->status == MOON_OK;
}

static void seal(visit *v, moon_record *record, moon_event_type type, const char *key, const moon__buf *body) {
    *record = (moon_record){.seq = ++v->seq,
                            .type = type,
                            .time_us = v->now_us,
                            .path = "",
                            .key = key,
                            .body = body->p,
                            .body_length = body->len};
    moon__record_seal(record, v->hash);
    memcpy(v->hash, record->hash, MOON_HASH_SIZE);
}

/* run.claimed, and what a fork begins with. */
static moon_status take(visit *v, const moon_store_ops *ops, moon_store *store, moon_error *error) {
    moon_record records[2];
    char key[24];
    moon__buf claimed, input;
    moon_append append = {.run = v->id, .expected = v->seq, .records = records, .n_records = 1};
    moon_run_info info = {.run = v->id,
                          .name = v->name,
                          .script = v->script,
                          .workspace = v->workspace,
                          .input = v->preview,
                          .stop = "",
                          .state = MOON_RUN_RUNNING,
                          .resumable = true,
                          .created_us = v->now_us,
                          .updated_us = v->now_us,
                          .fork_of = v->from,
                          .fork_at = v->seq};
    moon_side create = {.kind = MOON_SIDE_CREATE, .info = &info};
    moon__buf_init(&claimed, 1024);
    moon__buf_init(&input, 80 << 20);
    moon__buf_printf(&claimed, "{\"moonlet\":\"%s\"", moon_version());
    if (v->purpose == FORK)
        moon__buf_printf(&claimed, ",\"fork_of\":\"%s\",\"at\":%llu", v->from, (unsigned long long)v->seq);
    moon__buf_char(&claimed, '}');
    moon__buf_str(&input, "{\"text\":");
    moon__buf_quoted(&input, v->input, v->input ? v->input_length : 0);
    moon__buf_char(&input, '}');
    snprintf(key, sizeof key, "%u", v->steps + 1);
    moon_status status = claimed.status ? claimed.status : input.status;
    if (!status) seal(v, &records[0], MOON_EVENT_RUN_CLAIMED, "", &claimed);
    if (!status && v->input) {
        seal(v, &records[append.n_records++], MOON_EVENT_INPUT_RECEIVED, key, &input);
        status = moon__replay_add(v->replay, &records[1]);
    }
    if (status) moon_error_set(error, status, "no memory for the journal");
    if (v->purpose == FORK) {
        append.sides = &create;
        append.n_sides = 1;
    }
    if (!status) status = ops->append(store, &append, 1, error);
    if (!status) status = append.status;
    if (status == MOON_ECONFLICT)
        moon_error_set(error, status = MOON_EBUSY, "run %.40s was taken up by another process just now", v->id);
    moon__buf_fini(&claimed);
    moon__buf_fini(&input);
    return status;
}

static moon_status find(visit *v, const moon_store_ops *ops, moon_store *store, moon_error *error) {
    moon_status status = ops->list(store, &(moon_query){.run = v->from, .state = -1, .limit = 1}, on_info, v, error);
    if (!status && v->status) return moon_error_set(error, v->status, "no memory for the journal");
    if (!status && !v->found) return moon_error_set(error, MOON_ENOTFOUND, "there is no run %.40s", v->from);
    if (!status && v->finished && v->purpose == RESUME)
        return moon_error_set(
            error, MOON_EEXIST,
            "run %.40s is finished; `moonlet show` tells its result, and `moonlet fork` goes on from any "
            "of its events",
            v->from);
    return status;
}

static moon_status pay(void *ctx, const moon_store_ops *ops, moon_store *store, moon_error *error) {
    visit *v = ctx;
    moon_status status = find(v, ops, store, error);
    if (!status && v->purpose == RESUME) status = ops->claim(store, v->from, error);
    if (status) return status;
    moon__replay_share(v->replay, v->shared);
    status = ops->read(store, v->from, 1, v->at, on_record, v, error);
    if (!status && v->status) status = moon_error_set(error, v->status, "no memory for the journal");
    if (!status && v->at > v->seq)
        status = moon_error_set(error, MOON_EINVAL, "run %.40s has %llu events, and no event %llu", v->from,
                                (unsigned long long)v->seq, (unsigned long long)v->at);
    if (v->purpose == FORK && !v->at && v->ended) { /* its end is not shared */
        v->seq--;
        memcpy(v->hash, v->before, MOON_HASH_SIZE);
    }
    v->at = v->seq;
    if (!status) status = moon__remains_fetch(&v->remains, ops, store, error);
    if (!status && v->purpose != REPLAY) status = take(v, ops, store, error);
    if (status && v->purpose == RESUME) ops->release(store, v->from);
    return status;
}

static void free_visit(visit *v) {
    moon__replay_free(v->replay);
    moon__remains_fini(&v->remains);
    free(v->name);
    free(v->script);
    free(v->workspace);
    free(v->preview);
}

/* ---- the run made again ---- */

/* The texts of the script, from the store. */
typedef struct texts {
    const moon_json *list; /* of run.created */
    moon__source *sources;
    size_t n;
    const char *path;
    bool failed;
} texts;

static bool on_bytes(void *ctx, const void *bytes, size_t length) {
    texts *t = ctx;
    t->failed = !moon__source_copy(&t->sources[t->n], t->path, bytes, length);
    t->n += !t->failed;
    return false;
}

static moon_status read_texts(void *ctx, const moon_store_ops *ops, moon_store *store, moon_error *error) {
    texts *t = ctx;
    size_t n = moon_json_size(t->list);
    unsigned char hash[MOON_HASH_SIZE];
    t->sources = calloc(n + 1, sizeof *t->sources);
    if (!t->sources) return moon_error_set(error, MOON_ENOMEM, "no memory for the script");
    for (const moon_json *s = moon_json_first(t->list); s; s = moon_json_next(s)) {
        const char *text = moon_json_str(moon_json_get(s, "sha256"), NULL);
        t->path = moon_json_str(moon_json_get(s, "path"), NULL);
        if (!text || !t->path || !moon__hash_read(hash, text))
            return moon_error_set(error, MOON_ECORRUPT, "the journal does not say what its script was");
        moon_status status = ops->blob(store, hash, on_bytes, t, error);
        if (status) return status;
        if (t->failed) return moon_error_set(error, MOON_ENOMEM, "no memory for the script");
    }
    return t->n ? MOON_OK : moon_error_set(error, MOON_ENOTFOUND, "the journal holds no text of its script");
}

static moon_status load_recorded(moon_runtime *rt, const char *script, const moon_json *created, moon_runnable **out,
                                 moon_error *error) {
    texts t = {.list = moon_json_get(created, "sources")};
    moon_status status = moon__keeper_do(rt->keeper, read_texts, &t, error);
    if (!status) status = rt->load(out, rt, script, t.sources, t.n, error);
    moon__sources_free(t.sources, t.n);
    return status;
}

static moon_status make_runnable(moon_runtime *rt, const moon_json *created, bool recorded, moon_runnable **out,
                                 moon_error *error) {
    const char *script = moon_json_str(moon_json_get(created, "script"), NULL);
    const moon_json *agent = moon_json_get(created, "agent");
    if (script && rt->load) {
        moon_status status = recorded ? MOON_ENOTFOUND : rt->load(out, rt, script, NULL, 0, error);
        return status == MOON_ENOTFOUND ? load_recorded(rt, script, created, out, error) : status;
    }
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
static moon_status set_up(moon_run *run, visit *v, const moon_json *created, const moon_run_options *options,
                          moon_error *error) {
    moon_run_options with = *options;
    if (!with.model) with.model = moon_json_str(moon_json_get(created, "model"), NULL);
    bool snapshots = false;
    with.snapshots |= moon_json_bool(moon_json_get(created, "snapshots"), &snapshots) && snapshots;
    moon_status status = moon__run_tree(run, &with, error);
    if (status) return status;
    moon__tree *tree = run->tree;
    moon__journal *journal = &tree->journal;
    int64_t seed = 0;
    tree->kept = v->purpose != REPLAY;
    tree->created_us = v->purpose == FORK ? v->now_us : v->created_us;
    tree->shared = v->purpose == FORK ? v->at : v->shared;
    if (moon_json_int(moon_json_get(created, "seed"), &seed)) tree->seed = (uint64_t)seed;
    /* A fork's workspace is another's: it begins anew. */
    if (v->purpose == RESUME && *v->snapshot.commit && !moon__snapshots_set_last(&tree->snapshots, &v->snapshot))
        return moon_error_set(error, MOON_ENOMEM, "no memory for the journal");
    tree->snapshots.from = v->at;
    memcpy(journal->id, v->id, sizeof journal->id);
    journal->seq = journal->taken = journal->durable = v->seq;
    memcpy(journal->hash, v->hash, MOON_HASH_SIZE);
    if (v->remains.scratch) {
        moon__scratch_free(tree->scratch);
        tree->scratch = v->remains.scratch;
        v->remains.scratch = NULL;
        tree->annexes = v->remains.annexes;
        v->remains.annexes = NULL;
    }
    if (v->purpose == RESUME) run->started_us -= moon__replay_driven(v->replay, "");
    run->usage = moon__replay_spent(v->replay, "");
    status = moon__limits_read(&run->given, moon_json_get(created, "limits"), error);
    if (status) return status;
    if (options->limits) moon__limits_replace(&run->given, options->limits);
    moon__limits_tighten(&run->limits, &run->given);
    return MOON_OK;
}

static moon_status begin(moon_run **out, moon_runtime *rt, visit *v, int rehearsal, const moon_run_options *options,
                         moon_error *error) {
    const moon__recorded *first = moon__replay_find(v->replay, MOON_EVENT_RUN_CREATED, "", "");
    moon_json *created = NULL;
    moon_runnable *runnable = NULL;
    moon_status status = first ? moon__json_parse(&created, first->body, first->body_length, 0, error)
                               : moon_error_set(error, MOON_ECORRUPT, "the journal has no beginning");
    if (!status) status = make_runnable(rt, created, options->recorded_script, &runnable, error);
    size_t n = 0;
    const char *schema = moon_json_str(moon_json_get(created, "output_schema"), &n);
    if (!status && schema) status = moon__shape(&runnable, rt, schema, n, error);
    moon_run *run = NULL;
    if (!status) {
        size_t length = 0;
        const char *input = moon_json_str(moon_json_get(created, "input"), &length);
        run = moon__run_alloc(rt, runnable, input, length);
        if (!run) status = moon_error_set(error, MOON_ENOMEM, "no memory for a run");
    }
    moon_runnable_unref(runnable);
    if (run && v->input && run->runnable->ops != &moon__agent_ops)
        status =
            moon__run_discard(run, moon_error_set(error, MOON_EINVAL, "an input goes to an agent, and %.60s is none",
                                                  run->runnable->name));
    else if (run) {
        status = set_up(run, v, created, options, error);
        if (!status) {
            run->tree->replay = v->replay;
            run->tree->rehearsal = rehearsal;
            v->replay = NULL;
            status = moon__run_begin(run, error);
        } else
            status = moon__run_discard(run, status);
    }
    moon__json_free(created);
    if (!status) *out = run;
    return status;
}

static moon_status go(moon_run **out, moon_runtime *rt, visit *v, int rehearsal, const moon_run_options *options,
                      moon_error *error) {
    static const moon_run_options defaults = {.size = sizeof defaults};
    if (!options) options = &defaults;
    if (options->size != sizeof *options) return moon_error_set(error, MOON_EINVAL, "moon_run_options.size is not set");
    if (!rt->keeper) return moon_error_set(error, MOON_EUNSUPPORTED, "this runtime keeps no runs: it has no journal");
    if (!v->from || strlen(v->from) >= MOON__ID_SIZE)
        return moon_error_set(error, MOON_ENOTFOUND, "there is no such run");
    v->now_us = rt->clock.wall_us(rt->clock.ctx);
    if (v->purpose == FORK) {
        v->shared = UINT64_MAX;
        moon__id_new(v->id, &rt->random, v->now_us);
        v->input = options->input;
        v->input_length = !v->input ? 0 : options->input_length ? options->input_length : SIZE_MAX;
    } else
        snprintf(v->id, sizeof v->id, "%s", v->from);
    v->replay = moon__replay_new();
    if (!v->replay) return moon_error_set(error, MOON_ENOMEM, "no memory for the journal");
    moon_status status = v->purpose == REPLAY ? MOON_OK : moon__scratch_new(&v->remains.scratch, rt->space, error);
    if (!status) status = moon__keeper_do(rt->keeper, pay, v, error);
    bool claimed = status == MOON_OK && v->purpose != REPLAY;
    if (!status) status = begin(out, rt, v, rehearsal, options, error);
    if (status && claimed) moon__keeper_release(rt->keeper, v->id);
    free_visit(v);
    return status;
}

moon_status moon_run_resume(moon_run **out, moon_runtime *rt, const char *id, const moon_run_options *options,
                            moon_error *error) {
    return go(out, rt, &(visit){.purpose = RESUME, .from = id}, MOON__GO_ON, options, error);
}

moon_status moon_run_fork(moon_run **out, moon_runtime *rt, const char *id, uint64_t at,
                          const moon_run_options *options, moon_error *error) {
    return go(out, rt, &(visit){.purpose = FORK, .from = id, .at = at}, MOON__GO_ON, options, error);
}

moon_status moon_run_replay(moon_run **out, moon_runtime *rt, const char *id, bool live_tools,
                            const moon_run_options *options, moon_error *error) {
    return go(out, rt, &(visit){.purpose = REPLAY, .from = id}, live_tools ? MOON__REHEARSE_TOOLS : MOON__REHEARSE,
              options, error);
}
