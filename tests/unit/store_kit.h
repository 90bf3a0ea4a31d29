/* SPDX-License-Identifier: MIT */
#ifndef MOON_TEST_STORE_KIT_H
#define MOON_TEST_STORE_KIT_H
/*
 * Stores in a folder of the test, and appends that are put together a piece at a time:
 *
 *     store_kit *k = *state;                        two handles of one store: k->a, and kit_b(k)
 *     writer w = kit_create(k, k->a, "r1");         one record, run.created
 *     draft d = draft_of(&w);
 *     draft_add(&d, "k", "{\"n\":1}");
 *     assert_int_equal(kit_send(k->a, &d, 1), MOON_OK);
 *     kit_expect(k->a, "r1", 1, 0, "1::{} 2:k:{\"n\":1} ");
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ftw.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "buf.h"
#include "record.h"

typedef struct store_kit {
    const moon_store_ops *ops;
    char dir[64], place[96];
    moon_store *a, *b;
    moon_error error;
} store_kit;

/* What a run's owner knows of it. */
typedef struct writer {
    char run[24];
    uint64_t seq;
    unsigned char hash[MOON_HASH_SIZE];
} writer;

typedef struct draft {
    writer *writer;
    moon_append append;
    moon_record records[8];
    moon_side sides[8];
    moon_run_info info; /* of CREATE and UPDATE */
    unsigned char blob[MOON_HASH_SIZE];
} draft;

/* ---- opening ---- */

static store_kit *kit_now; /* whose ops the functions below take */

static inline moon_store *kit_open(store_kit *k) {
    moon_store *store = NULL;
    if (k->ops->open(&store, k->place, &k->error)) fail_msg("%s", k->error.text);
    return store;
}

static inline store_kit *kit_new(const moon_store_ops *ops) {
    store_kit *k = calloc(1, sizeof *k);
    assert_non_null(k);
    k->ops = ops;
    strcpy(k->dir, "/tmp/moonlet-test-XXXXXX");
    assert_non_null(mkdtemp(k->dir));
    snprintf(k->place, sizeof k->place, "%s/journal", k->dir);
    kit_now = k;
    k->a = kit_open(k);
    return k;
}

static inline moon_store *kit_b(store_kit *k) {
    if (!k->b) k->b = kit_open(k);
    return k->b;
}

static inline void kit_close(store_kit *k) {
    if (k->a) k->ops->close(k->a);
    if (k->b) k->ops->close(k->b);
    k->a = k->b = NULL;
}

static inline int kit_remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw) {
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static inline void kit_free(store_kit *k) {
    kit_close(k);
    nftw(k->dir, kit_remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(k);
}

/* The path of a name beside the store; good until the fourth call from here. */
static inline const char *kit_path(const store_kit *k, const char *name) {
    static char paths[4][128];
    static unsigned at;
    char *path = paths[at++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", k->dir, name);
    return path;
}

/* ---- writing ---- */

static inline moon_run_info kit_info(const char *run) {
    return (moon_run_info){.run = run,
                           .name = "agent",
                           .script = "a.lua",
                           .workspace = "/w",
                           .input = "do it",
                           .stop = "",
                           .created_us = 1000,
                           .updated_us = 1000};
}

static inline draft draft_of(writer *w) {
    draft d = {.writer = w};
    d.append.run = w->run;
    d.append.expected = w->seq;
    return d;
}

static inline void draft_add_bytes(draft *d, const char *key, const char *body, size_t length) {
    size_t at = d->append.n_records++;
    assert_true(at < sizeof d->records / sizeof *d->records);
    d->records[at] = (moon_record){.seq = d->append.expected + 1 + at,
                                   .type = MOON_EVENT_VALUE_RECORDED,
                                   .time_us = 1000 + (int64_t)at,
                                   .path = "",
                                   .key = key,
                                   .body = body,
                                   .body_length = length};
}

static inline void draft_add(draft *d, const char *key, const char *body) {
    draft_add_bytes(d, key, body, strlen(body));
}

static inline moon_side *draft_side(draft *d, moon_side_kind kind) {
    size_t at = d->append.n_sides++;
    assert_true(at < sizeof d->sides / sizeof *d->sides);
    d->sides[at] = (moon_side){.kind = kind};
    return &d->sides[at];
}

static inline void draft_create(draft *d) {
    d->info = kit_info(d->writer->run);
    draft_side(d, MOON_SIDE_CREATE);
    draft_add(d, "", "{}");
    d->records[0].type = MOON_EVENT_RUN_CREATED;
}

static inline void draft_fork(draft *d, const writer *base, uint64_t at) {
    draft_create(d);
    d->info.fork_of = base->run;
    d->info.fork_at = d->append.expected = d->writer->seq = at;
    d->records[0].seq = at + 1;
}

static inline void draft_blob(draft *d, const void *bytes, size_t n) {
    moon__sha256(d->blob, &(moon__bytes){bytes, n}, 1);
    moon_side *side = draft_side(d, MOON_SIDE_BLOB);
    side->bytes = bytes;
    side->length = n;
}

static inline void draft_timer(draft *d, const char *key, int64_t due_us) {
    moon_side *side = draft_side(d, MOON_SIDE_TIMER);
    side->key = key;
    side->due_us = due_us;
}

/* Chains the records and appends the drafts in one batch. The status of the whole; each has its own in append.status.
 * The writers of those that were kept are led on. */
static inline moon_status kit_send(moon_store *store, draft *drafts, size_t n) {
    moon_append appends[16];
    moon_error error = {0};
    assert_true(n <= 16);
    for (size_t i = 0; i < n; i++) {
        draft *d = &drafts[i];
        const unsigned char *before = d->writer->hash;
        for (size_t r = 0; r < d->append.n_records; r++) {
            moon__record_seal(&d->records[r], before);
            before = d->records[r].hash;
        }
        for (size_t s = 0; s < d->append.n_sides; s++) {
            if (d->sides[s].kind == MOON_SIDE_CREATE || d->sides[s].kind == MOON_SIDE_UPDATE)
                d->sides[s].info = &d->info;
            if (d->sides[s].kind == MOON_SIDE_BLOB) d->sides[s].hash = d->blob;
        }
        d->append.records = d->records;
        d->append.sides = d->sides;
        appends[i] = d->append;
    }
    moon_status status = kit_now->ops->append(store, appends, n, &error);
    for (size_t i = 0; i < n; i++) {
        draft *d = &drafts[i];
        d->append.status = status ? status : appends[i].status;
        if (d->append.status || !d->append.n_records) continue;
        d->writer->seq = d->records[d->append.n_records - 1].seq;
        memcpy(d->writer->hash, d->records[d->append.n_records - 1].hash, MOON_HASH_SIZE);
    }
    kit_now->error = error;
    return status;
}

/* One draft; its own status. */
static inline moon_status kit_send_one(moon_store *store, draft *d) {
    (void)kit_send(store, d, 1);
    return d->append.status;
}

static inline writer kit_create(moon_store *store, const char *run) {
    writer w = {0};
    snprintf(w.run, sizeof w.run, "%s", run);
    draft d = draft_of(&w);
    draft_create(&d);
    if (kit_send_one(store, &d)) fail_msg("%s: %s", run, kit_now->error.text);
    return w;
}

static inline moon_status kit_write(moon_store *store, writer *w, const char *key, const char *body) {
    draft d = draft_of(w);
    draft_add(&d, key, body);
    return kit_send_one(store, &d);
}

/* ---- reading ---- */

/* "seq:key:body " of each record; of a large body its length. */
static inline bool kit_print(void *ctx, const moon_record *r) {
    moon__buf_printf(ctx, "%" PRIu64 ":%s:", r->seq, r->key);
    if (r->body_length > 200)
        moon__buf_printf(ctx, "%zu ", r->body_length);
    else
        moon__buf_printf(ctx, "%.*s ", (int)r->body_length, r->body);
    return true;
}

static inline void kit_expect(moon_store *store, const char *run, uint64_t from, uint64_t to, const char *want) {
    moon__buf got;
    moon_error error = {0};
    moon__buf_init(&got, 1 << 20);
    moon__buf_str(&got, "");
    moon_status status = kit_now->ops->read(store, run, from, to, kit_print, &got, &error);
    if (status) fail_msg("%s: %s", run, error.text);
    assert_string_equal(got.len ? got.p : "", want);
    moon__buf_fini(&got);
}

static inline moon_status kit_read(moon_store *store, const char *run) {
    return kit_now->ops->read(store, run, 1, 0, NULL, NULL, &kit_now->error);
}

typedef struct kit_items {
    size_t n;
    int64_t ids[16];
    char text[400]; /* bodies, each with a space after it */
} kit_items;

static inline bool kit_on_item(void *ctx, int64_t item, const char *body, size_t length) {
    kit_items *items = ctx;
    size_t at = strlen(items->text);
    assert_true(items->n < 16);
    items->ids[items->n++] = item;
    snprintf(items->text + at, sizeof items->text - at, "%.*s ", (int)length, body);
    return true;
}

static inline kit_items kit_inbox(moon_store *store, const char *run) {
    kit_items items = {0};
    moon_error error = {0};
    if (kit_now->ops->inbox(store, run, kit_on_item, &items, &error)) fail_msg("%s", error.text);
    return items;
}

static inline bool kit_on_due(void *ctx, const char *run, const char *key, int64_t due_us) {
    moon__buf_printf(ctx, "%s:%s:%" PRId64 " ", run, key, due_us);
    return true;
}

static inline void kit_expect_due(moon_store *store, int64_t now_us, size_t limit, const char *want) {
    moon__buf got;
    moon__buf_init(&got, 1 << 20);
    moon__buf_str(&got, "");
    assert_int_equal(kit_now->ops->due(store, now_us, limit, kit_on_due, &got, NULL), MOON_OK);
    assert_string_equal(got.len ? got.p : "", want);
    moon__buf_fini(&got);
}

static inline bool kit_on_run(void *ctx, const moon_run_info *info) {
    moon__buf_printf(ctx, "%s ", info->run);
    return true;
}

static inline void kit_expect_list(moon_store *store, moon_query query, const char *want) {
    moon__buf got;
    moon__buf_init(&got, 1 << 20);
    moon__buf_str(&got, "");
    assert_int_equal(kit_now->ops->list(store, &query, kit_on_run, &got, NULL), MOON_OK);
    assert_string_equal(got.len ? got.p : "", want);
    moon__buf_fini(&got);
}

static inline bool kit_on_claimed(void *ctx, const moon_run_info *info) {
    *(bool *)ctx = info->claimed;
    return true;
}

static inline bool kit_claimed(moon_store *store, const char *run) {
    bool claimed = false;
    assert_int_equal(kit_now->ops->list(store, &(moon_query){.run = run, .state = -1}, kit_on_claimed, &claimed, NULL),
                     MOON_OK);
    return claimed;
}

static inline bool kit_on_blob(void *ctx, const void *bytes, size_t length) {
    moon__buf_add(ctx, bytes, length);
    return true;
}

static inline moon_status kit_blob(moon_store *store, const void *bytes, size_t n) {
    unsigned char hash[MOON_HASH_SIZE];
    moon__buf got;
    moon__sha256(hash, &(moon__bytes){bytes, n}, 1);
    moon__buf_init(&got, 8 << 20);
    moon_status status = kit_now->ops->blob(store, hash, kit_on_blob, &got, NULL);
    if (!status) {
        assert_int_equal(got.len, n);
        if (n) assert_memory_equal(got.p, bytes, n);
    }
    moon__buf_fini(&got);
    return status;
}

/* ---- check ---- */

typedef struct kit_faults {
    size_t n;
    char text[2000];
} kit_faults;

static inline void kit_on_fault(void *ctx, const char *run, const char *text) {
    kit_faults *faults = ctx;
    size_t at = strlen(faults->text);
    faults->n++;
    snprintf(faults->text + at, sizeof faults->text - at, "%s: %s\n", run, text);
}

static inline kit_faults kit_check(moon_store *store) {
    kit_faults faults = {0};
    moon_error error = {0};
    moon_status status = kit_now->ops->check(store, kit_on_fault, &faults, &error);
    assert_int_equal(status != MOON_OK, faults.n > 0);
    return faults;
}

static inline void kit_expect_sound(moon_store *store) {
    kit_faults faults = kit_check(store);
    if (faults.n) fail_msg("%s", faults.text);
}
#endif
