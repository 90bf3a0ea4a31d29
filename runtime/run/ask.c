/* SPDX-License-Identifier: MIT */
/* What a host asks of a runtime's journal, and leaves in it for runs: lists, records, decisions, signals, an end. */
#include <stdio.h>
#include <string.h>

#include "runtime.h"

typedef struct question {
    const moon_query *query;
    bool (*info)(void *ctx, const moon_run_info *info);
    const char *run, *call, *why;
    uint64_t from, to;
    bool (*record)(void *ctx, const moon_record *record);
    void (*fault)(void *ctx, const char *run, const char *text);
    bool allow;
    const char *once, *body;
    size_t length;
    void *ctx;
} question;

static moon_status ask(moon_runtime *rt, moon__keeper_work work, question *q, moon_error *error) {
    if (!rt->keeper) return moon_error_set(error, MOON_EUNSUPPORTED, "this runtime keeps no runs: it has no journal");
    return moon__keeper_do(rt->keeper, work, q, error);
}

static moon_status list(void *ctx, const moon_store_ops *ops, moon_store *store, moon_error *error) {
    const question *q = ctx;
    return ops->list(store, q->query, q->info, q->ctx, error);
}

moon_status moon_runtime_runs(moon_runtime *rt, const moon_query *query,
                              bool (*row)(void *ctx, const moon_run_info *info), void *ctx, moon_error *error) {
    return ask(rt, list, &(question){.query = query, .info = row, .ctx = ctx}, error);
}

static moon_status read(void *ctx, const moon_store_ops *ops, moon_store *store, moon_error *error) {
    const question *q = ctx;
    return ops->read(store, q->run, q->from, q->to, q->record, q->ctx, error);
}

moon_status moon_runtime_records(moon_runtime *rt, const char *run, uint64_t from, uint64_t to,
                                 bool (*row)(void *ctx, const moon_record *record), void *ctx, moon_error *error) {
    return ask(rt, read, &(question){.run = run, .from = from, .to = to, .record = row, .ctx = ctx}, error);
}

typedef struct due {
    int64_t now_us;
    bool (*row)(void *ctx, const char *run, int64_t due_us);
    void *ctx;
} due;

static bool on_due(void *ctx, const char *run, const char *key, int64_t due_us) {
    const due *d = ctx;
    (void)key;
    return d->row(d->ctx, run, due_us);
}

static moon_status find_due(void *ctx, const moon_store_ops *ops, moon_store *store, moon_error *error) {
    due *d = ctx;
    return ops->due(store, d->now_us, 0, on_due, d, error);
}

moon_status moon_runtime_due(moon_runtime *rt, int64_t now_us, bool (*row)(void *ctx, const char *run, int64_t due_us),
                             void *ctx, moon_error *error) {
    if (!rt->keeper) return moon_error_set(error, MOON_EUNSUPPORTED, "this runtime keeps no runs: it has no journal");
    return moon__keeper_do(rt->keeper, find_due, &(due){.now_us = now_us, .row = row, .ctx = ctx}, error);
}

static moon_status purge(void *ctx, const moon_store_ops *ops, moon_store *store, moon_error *error) {
    const question *q = ctx;
    return ops->purge(store, q->run, error);
}

moon_status moon__store_purge(moon_runtime *rt, const char *run, moon_error *error) {
    return ask(rt, purge, &(question){.run = run}, error);
}

static moon_status check(void *ctx, const moon_store_ops *ops, moon_store *store, moon_error *error) {
    const question *q = ctx;
    return ops->check(store, q->fault, q->ctx, error);
}

moon_status moon_runtime_check(moon_runtime *rt, void (*fault)(void *ctx, const char *run, const char *text), void *ctx,
                               moon_error *error) {
    return ask(rt, check, &(question){.fault = fault, .ctx = ctx}, error);
}

static moon_status post(void *ctx, const moon_store_ops *ops, moon_store *store, moon_error *error) {
    const question *q = ctx;
    return ops->post(store, q->run, q->once, q->body, q->length, error);
}

static moon_status leave(moon_runtime *rt, const char *run, moon__buf *body, moon_error *error) {
    char once[MOON__ID_SIZE];
    moon__id_new(once, &rt->random, rt->clock.wall_us(rt->clock.ctx));
    moon_status status = body->status ? moon_error_set(error, body->status, "it is too long") : MOON_OK;
    if (!status)
        status = ask(rt, post, &(question){.run = run, .once = once, .body = body->p, .length = body->len}, error);
    moon__buf_fini(body);
    return status;
}

/* ---- cancelling ---- */

typedef struct ending {
    const char *run;
    moon_run_info info;
    uint64_t seq;
    unsigned char hash[MOON_HASH_SIZE];
    bool found, claimed, over;
    int64_t now_us;
} ending;

static bool on_info(void *ctx, const moon_run_info *info) {
    ending *e = ctx;
    e->found = true;
    e->claimed = info->claimed;
    e->over = info->state == MOON_RUN_FINISHED;
    e->info = (moon_run_info){.created_us = info->created_us,
                              .steps = info->steps,
                              .tool_calls = info->tool_calls,
                              .tokens = info->tokens,
                              .usd = info->usd};
    return false;
}

static bool on_last(void *ctx, const moon_record *record) {
    ending *e = ctx;
    e->seq = record->seq;
    memcpy(e->hash, record->hash, MOON_HASH_SIZE);
    return true;
}

/* The end of a run that nobody drives. */
static moon_status end(ending *e, const moon_store_ops *ops, moon_store *store, moon_error *error) {
    static const char body[] =
        "{\"stop_reason\":\"interrupted\",\"exit_code\":130,\"text\":\"\",\"error\":\"cancelled\"}";
    moon_status status = ops->claim(store, e->run, error);
    if (status) return status;
    status = ops->read(store, e->run, 1, 0, on_last, e, error);
    moon_record record = {.seq = e->seq + 1,
                          .type = MOON_EVENT_RUN_FINISHED,
                          .time_us = e->now_us,
                          .path = "",
                          .key = "",
                          .body = body,
                          .body_length = sizeof body - 1};
    moon__record_seal(&record, e->hash);
    e->info.updated_us = e->now_us;
    e->info.stop = moon_stop_text(MOON_STOP_INTERRUPTED);
    e->info.state = MOON_RUN_FINISHED;
    e->info.resumable = true;
    moon_side update = {.kind = MOON_SIDE_UPDATE, .info = &e->info};
    moon_append append = {
        .run = e->run, .expected = e->seq, .records = &record, .n_records = 1, .sides = &update, .n_sides = 1};
    if (!status) status = ops->append(store, &append, 1, error);
    if (!status) status = append.status;
    ops->release(store, e->run);
    return status;
}

static moon_status cancel(void *ctx, const moon_store_ops *ops, moon_store *store, moon_error *error) {
    static const char note[] = "{\"kind\":\"cancel\"}";
    ending *e = ctx;
    char once[32];
    moon_status status = ops->list(store, &(moon_query){.run = e->run, .state = -1, .limit = 1}, on_info, e, error);
    if (!status && !e->found) status = moon_error_set(error, MOON_ENOTFOUND, "there is no run %.40s", e->run);
    if (!status && e->over && !e->claimed)
        status = moon_error_set(error, MOON_EEXIST, "run %.40s has ended already", e->run);
    if (status) return status;
    snprintf(once, sizeof once, "cancel-%lld", (long long)e->now_us);
    return e->claimed ? ops->post(store, e->run, once, note, sizeof note - 1, error) : end(e, ops, store, error);
}

moon_status moon_runtime_cancel(moon_runtime *rt, const char *run, moon_error *error) {
    if (!rt->keeper) return moon_error_set(error, MOON_EUNSUPPORTED, "this runtime keeps no runs: it has no journal");
    ending e = {.run = run, .now_us = rt->clock.wall_us(rt->clock.ctx)};
    return moon__keeper_do(rt->keeper, cancel, &e, error);
}

moon_status moon_runtime_signal(moon_runtime *rt, const char *run, const char *name, const char *json, size_t length,
                                moon_error *error) {
    moon__buf body;
    moon__jw w;
    if (length == SIZE_MAX) length = strlen(json);
    moon_status status = moon__json_check(json, length, error);
    if (status) return status;
    moon__buf_init(&body, 64 << 20);
    moon__jw_init(&w, &body);
    moon__jw_object(&w, NULL);
    moon__jw_str(&w, "kind", "signal", SIZE_MAX);
    moon__jw_str(&w, "name", name, SIZE_MAX);
    moon__jw_raw(&w, "value", json, length);
    moon__jw_end(&w);
    return leave(rt, run, &body, error);
}

moon_status moon_runtime_decide(moon_runtime *rt, const char *run, const char *call, bool allow, const char *why,
                                moon_error *error) {
    moon__buf body;
    moon__jw w;
    moon__buf_init(&body, 1 << 20);
    moon__jw_init(&w, &body);
    moon__jw_object(&w, NULL);
    moon__jw_str(&w, "kind", "decision", SIZE_MAX);
    if (call) moon__jw_str(&w, "call", call, SIZE_MAX);
    moon__jw_bool(&w, "allow", allow);
    if (why) moon__jw_str(&w, "why", why, SIZE_MAX);
    moon__jw_end(&w);
    return leave(rt, run, &body, error);
}
