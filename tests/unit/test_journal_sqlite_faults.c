/* SPDX-License-Identifier: MIT */
/*
 * The SQLite store on a disk that fails, through a VFS that fails when it is told to (crash/shim.h), and on one that is
 * cut off (crash/disk.h): what an append was told is the truth.
 */
#include "../crash/disk.h"
#include "sqlite.h"
#include "store_kit.h"

/* ---- operations that fail ---- */

/* Of the operations of this kind on files that end so, the n-th fails with the code, and those after it too if it
 * lasts. */
typedef struct fault {
    shim_kind kind;
    const char *ending;
    int code;
    bool lasts;
    int countdown; /* 0: off */
    unsigned hits;
} fault;

static int on_fault(void *ctx, const shim_op *op) {
    fault *f = ctx;
    if (op->kind != f->kind || !shim_is(op, f->ending) || f->countdown == 0) return SQLITE_OK;
    if (f->countdown > 1) {
        f->countdown--;
        return SQLITE_OK;
    }
    if (!f->lasts) f->countdown = 0;
    f->hits++;
    return f->code;
}

/* ---- memory that is out ---- */

static sqlite3_mem_methods memory;
static int allocations_left = -1; /* -1: no end */

static void *scarce_malloc(int n) {
    if (allocations_left == 0) return NULL;
    if (allocations_left > 0) allocations_left--;
    return memory.xMalloc(n);
}

static void *scarce_realloc(void *p, int n) {
    if (allocations_left == 0) return NULL;
    if (allocations_left > 0) allocations_left--;
    return memory.xRealloc(p, n);
}

static int set_up(void **state) {
    *state = kit_new(&moon_store_sqlite);
    return 0;
}

static int tear_down(void **state) {
    shim_hook(NULL, NULL);
    kit_free(*state);
    return 0;
}

/* Two runs in a batch, one with a large body and an item of the inbox. allocations: as many succeed. */
static moon_status send_scarce(moon_store *store, writer *one, writer *two, draft d[2], int allocations) {
    static char large[30000];
    memset(large, 'x', sizeof large);
    snprintf(large, 20, "%llu", (unsigned long long)one->seq); /* another one each time */
    kit_items items = kit_inbox(store, one->run);
    d[0] = draft_of(one);
    d[1] = draft_of(two);
    draft_add(&d[0], "k", "{}");
    draft_add_bytes(&d[0], "large", large, sizeof large);
    draft_timer(&d[0], "t", (int64_t)one->seq + 3);
    draft_add(&d[1], "k", "{}");
    if (items.n) draft_side(&d[0], MOON_SIDE_TAKE)->item = items.ids[0];
    allocations_left = allocations;
    moon_status status = kit_send(store, d, 2);
    allocations_left = -1;
    return status;
}

static moon_status send_two(moon_store *store, writer *one, writer *two, draft d[2]) {
    return send_scarce(store, one, two, d, -1);
}

static void expect_state(moon_store *store, const writer *w, size_t items) {
    moon__buf got;
    char last[40];
    moon_error error = {0};
    moon__buf_init(&got, 1 << 20);
    if (kit_now->ops->read(store, w->run, w->seq, 0, kit_print, &got, &error)) fail_msg("%s", error.text);
    snprintf(last, sizeof last, "%llu:", (unsigned long long)w->seq);
    if (!got.p || strncmp(got.p, last, strlen(last)) != 0 || strchr(got.p, ' ') != got.p + got.len - 1)
        fail_msg("after %llu stands %s", (unsigned long long)w->seq, got.p ? got.p : "nothing");
    if (items != SIZE_MAX) assert_int_equal(kit_inbox(store, w->run).n, items);
    moon__buf_fini(&got);
}

static void test_journal_sqlite__a_write_that_fails_keeps_nothing(void **state) {
    (void)state;
    static const struct {
        const char *label;
        shim_kind kind;
        int code;
        bool lasts;
        moon_status want;
    } rows[] = {
        {"the disk is full", SHIM_WRITE, SQLITE_FULL, true, MOON_EFULL},
        {"the disk is full for a moment", SHIM_WRITE, SQLITE_FULL, false, MOON_EFULL},
        {"a write fails", SHIM_WRITE, SQLITE_IOERR_WRITE, false, MOON_EIO},
        {"writes fail", SHIM_WRITE, SQLITE_IOERR_WRITE, true, MOON_EIO},
        {"a sync fails", SHIM_SYNC, SQLITE_IOERR_FSYNC, false, MOON_EIO},
        {"syncs fail", SHIM_SYNC, SQLITE_IOERR_FSYNC, true, MOON_EIO},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        store_kit *k = kit_new(&moon_store_sqlite);
        writer one = kit_create(k->a, "r1"), two = kit_create(k->a, "r2");
        kit_b(k);
        fault f = {.kind = rows[i].kind, .ending = "-wal", .code = rows[i].code, .lasts = rows[i].lasts};
        shim_hook(on_fault, &f);
        int n = 1;
        for (bool failed = true; failed; n++) { /* the n-th, until there is none */
            draft d[2];
            char once[16];
            snprintf(once, sizeof once, "%d", n);
            assert_int_equal(k->ops->post(k->a, "r1", once, "\"item\"", 6, NULL), MOON_OK);
            f.countdown = n;
            f.hits = 0;
            moon_status status = send_two(k->a, &one, &two, d);
            failed = f.hits > 0;
            f.countdown = 0;
            if (failed && (d[0].append.status != rows[i].want || d[1].append.status != rows[i].want))
                fail_msg("%s, %d: %d, %d", rows[i].label, n, d[0].append.status, d[1].append.status);
            if (!failed) assert_int_equal(status | d[0].append.status | d[1].append.status, MOON_OK);
            assert_true(!failed || *k->error.text);
            for (int h = 0; h < 2; h++) { /* one handle sees what the other one does */
                expect_state(h ? k->b : k->a, &one, failed ? 1 : 0);
                expect_state(h ? k->b : k->a, &two, SIZE_MAX);
            }
            assert_int_equal(send_two(n % 2 ? k->a : k->b, &one, &two, d), MOON_OK); /* it goes on */
            expect_state(k->a, &one, 0);
            expect_state(k->b, &two, SIZE_MAX);
        }
        if (n < (rows[i].kind == SHIM_WRITE ? 6 : 3)) fail_msg("%s: only %d", rows[i].label, n);
        kit_expect_sound(k->a);
        shim_hook(NULL, NULL);
        kit_free(k);
    }
}

static void test_journal_sqlite__posting_and_purging_that_fail_are_told(void **state) {
    store_kit *k = *state;
    fault f = {.kind = SHIM_SYNC, .ending = "-wal", .code = SQLITE_IOERR_FSYNC};
    kit_create(k->a, "r1");
    kit_create(k->a, "r2");
    k->ops->release(k->a, "r2");
    shim_hook(on_fault, &f);
    for (int i = 0; i < 3; i++) {
        f.countdown = 1;
        assert_int_equal(k->ops->post(k->a, "r1", "once", "\"item\"", 6, NULL), MOON_EIO);
        f.countdown = 1;
        assert_int_equal(k->ops->purge(k->a, "r2", NULL), MOON_EIO);
        assert_int_equal(kit_inbox(kit_b(k), "r1").n, 0);
        kit_expect(k->b, "r2", 1, 0, "1::{} ");
        assert_false(kit_claimed(k->b, "r2"));
    }
    assert_int_equal(k->ops->post(k->a, "r1", "once", "\"item\"", 6, NULL), MOON_OK);
    assert_int_equal(k->ops->purge(k->a, "r2", NULL), MOON_OK);
    assert_int_equal(kit_inbox(k->b, "r1").n, 1);
    assert_int_equal(kit_read(k->b, "r2"), MOON_ENOTFOUND);
    kit_expect_sound(k->b);
}

static void test_journal_sqlite__a_creation_that_fails_claims_nothing(void **state) {
    store_kit *k = *state;
    fault f = {.kind = SHIM_SYNC, .ending = "-wal", .code = SQLITE_IOERR_FSYNC, .countdown = 1};
    writer w = {.run = "r1"};
    draft d = draft_of(&w);
    draft_create(&d);
    shim_hook(on_fault, &f);
    assert_int_equal(kit_send_one(k->a, &d), MOON_EIO);
    kit_expect_list(k->a, (moon_query){.state = -1}, "");
    kit_create(kit_b(k), "r2"); /* gets the same number */
    assert_int_equal(kit_send_one(k->a, &d), MOON_OK);
    assert_true(kit_claimed(k->b, "r1") && kit_claimed(k->a, "r2"));
}

/* The log stays the truth until it was copied. */
static void test_journal_sqlite__a_checkpoint_that_fails_loses_nothing(void **state) {
    store_kit *k = *state;
    static const struct {
        shim_kind kind;
        int code;
    } rows[] = {{SHIM_WRITE, SQLITE_FULL},
                {SHIM_WRITE, SQLITE_IOERR_WRITE},
                {SHIM_SYNC, SQLITE_IOERR_FSYNC},
                {SHIM_TRUNCATE, SQLITE_IOERR_TRUNCATE}};
    writer w = kit_create(k->a, "r1");
    k->a->checkpoint_pages = 8;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        fault f = {.kind = rows[i].kind, .ending = "/journal", .code = rows[i].code, .lasts = true, .countdown = 1};
        shim_hook(on_fault, &f);
        for (int n = 0; n < 20; n++) assert_int_equal(kit_write(k->a, &w, "k", "{}"), MOON_OK);
        assert_true(f.hits > 0 || rows[i].kind == SHIM_TRUNCATE);
        shim_hook(NULL, NULL);
        expect_state(kit_b(k), &w, 0);
        for (int n = 0; n < 20; n++) assert_int_equal(kit_write(k->a, &w, "k", "{}"), MOON_OK);
        kit_expect_sound(k->b);
    }
    kit_close(k);
    k->a = kit_open(k);
    expect_state(k->a, &w, 0);
}

static void test_journal_sqlite__a_store_that_cannot_be_made_is_made_later(void **state) {
    (void)state;
    static const struct {
        shim_kind kind;
        int code;
    } rows[] = {{SHIM_WRITE, SQLITE_FULL},
                {SHIM_WRITE, SQLITE_IOERR_WRITE},
                {SHIM_SYNC, SQLITE_IOERR_FSYNC},
                {SHIM_OPEN, SQLITE_CANTOPEN}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        bool failed = true;
        for (int n = 1; failed; n++) {
            store_kit *k = calloc(1, sizeof *k);
            assert_non_null(k);
            k->ops = &moon_store_sqlite;
            strcpy(k->dir, "/tmp/moonlet-test-XXXXXX");
            assert_non_null(mkdtemp(k->dir));
            snprintf(k->place, sizeof k->place, "%s/journal", k->dir);
            kit_now = k;
            fault f = {.kind = rows[i].kind, .ending = "", .code = rows[i].code, .countdown = n};
            shim_hook(on_fault, &f);
            moon_status status = k->ops->open(&k->a, k->place, &k->error);
            shim_hook(NULL, NULL);
            failed = f.hits > 0;
            if (!failed) assert_int_equal(status, MOON_OK);
            if (!k->a) k->a = kit_open(k);
            writer w = kit_create(k->a, "r1");
            expect_state(kit_b(k), &w, 0);
            kit_expect_sound(k->a);
            kit_free(k);
        }
    }
}

static void test_journal_sqlite__memory_that_is_out_is_told(void **state) {
    store_kit *k = *state;
    writer one = kit_create(k->a, "r1"), two = kit_create(k->a, "r2");
    unsigned failed = 0, kept = 0;
    for (int n = 0; n < 2000; n += n < 60 ? 1 : 31) {
        draft d[2];
        if (n % 3 == 0) { /* with statements that are not prepared yet */
            k->ops->close(k->a);
            k->a = kit_open(k);
        }
        char once[16];
        snprintf(once, sizeof once, "%d", n);
        if (kit_inbox(k->a, "r1").n == 0) assert_int_equal(k->ops->post(k->a, "r1", once, "1", 1, NULL), MOON_OK);
        (void)send_scarce(k->a, &one, &two, d, n);
        *(d[0].append.status ? &failed : &kept) += 1;
        if (d[0].append.status) assert_int_equal(d[0].append.status, MOON_ENOMEM);
        assert_int_equal(d[1].append.status, d[0].append.status);
        expect_state(k->a, &one, SIZE_MAX);
        expect_state(kit_b(k), &two, SIZE_MAX);
        moon_status read = MOON_OK;
        allocations_left = n;
        read = kit_read(k->a, "r1");
        allocations_left = -1;
        assert_true(read == MOON_OK || read == MOON_ENOMEM);
    }
    assert_true(failed > 30 && kept > 10);
    kit_expect_sound(k->a);
}

/* ---- what the disk holds ---- */

/* The store is put on a disk that is watched. */
typedef struct cut {
    store_kit *kit;
    disk disk;
    fault fault;
    uint64_t seed;
} cut;

static void cut_start(cut *c, void **state) {
    memset(c, 0, sizeof *c);
    kit_free(*state);
    *state = c->kit = calloc(1, sizeof *c->kit);
    assert_non_null(c->kit);
    c->seed = 1;
    c->disk.fault = on_fault;
    c->disk.ctx = &c->fault;
    c->fault = (fault){.kind = SHIM_SYNC, .ending = "-wal", .code = SQLITE_IOERR_FSYNC};
    store_kit *k = c->kit;
    k->ops = &moon_store_sqlite;
    strcpy(k->dir, "/tmp/moonlet-test-XXXXXX");
    assert_non_null(mkdtemp(k->dir));
    snprintf(k->place, sizeof k->place, "%s/journal", k->dir);
    kit_now = k;
    shim_hook(disk_hook, &c->disk);
    k->a = kit_open(k);
}

/* After a power cut now, whatever became of what was not synced, the run reads so. */
static void cut_expect(cut *c, const char *run, const char *want) {
    static const disk_fate fates[] = {DISK_DROP, DISK_KEEP, DISK_MIX, DISK_MIX, DISK_MIX, DISK_MIX};
    char folder[96], place[128];
    snprintf(folder, sizeof folder, "%s/image", c->kit->dir);
    (void)mkdir(folder, 0700);
    snprintf(place, sizeof place, "%s/journal", folder);
    shim_hook(NULL, NULL);
    for (size_t i = 0; i < sizeof fates / sizeof *fates; i++) {
        moon_store *image;
        moon_error error = {0};
        unlink(strcat(strcpy((char[160]){0}, place), "-shm"));
        disk_image(&c->disk, c->disk.n, fates[i], &c->seed, folder);
        if (c->kit->ops->open(&image, place, &error)) fail_msg("%s", error.text);
        kit_expect(image, run, 1, 0, want);
        kit_expect_sound(image);
        c->kit->ops->close(image);
    }
    shim_hook(disk_hook, &c->disk);
}

static void cut_end(cut *c) {
    kit_close(c->kit);
    shim_hook(NULL, NULL);
    disk_free(&c->disk);
}

/* The commit's pages may stand on the disk, whole, or not at all: it was told that it was not kept, and so it is. */
static void test_journal_sqlite__a_commit_that_failed_is_not_found_later(void **state) {
    cut c;
    cut_start(&c, state);
    moon_store *a = c.kit->a;
    writer w = kit_create(a, "r1");
    c.fault.countdown = 1;
    assert_int_equal(kit_write(a, &w, "refused", "{}"), MOON_EIO);
    assert_int_equal(c.fault.hits, 1);
    cut_expect(&c, "r1", "1::{} ");
    assert_int_equal(kit_write(a, &w, "kept", "{}"), MOON_OK);
    cut_expect(&c, "r1", "1::{} 2:kept:{} ");
    c.kit->ops->close(a);
    c.kit->a = kit_open(c.kit);
    assert_int_equal(kit_write(c.kit->a, &w, "kept", "{}"), MOON_OK);
    cut_expect(&c, "r1", "1::{} 2:kept:{} 3:kept:{} ");
    cut_end(&c);
}

/* When the disk refuses everything, what was kept is not known, and append says so. Whatever turns out to be there when
 * the store is opened again stays there from then on. */
static void test_journal_sqlite__after_a_doubt_the_log_can_be_relied_on(void **state) {
    for (int variant = 0; variant < 3; variant++) {
        cut c;
        cut_start(&c, state);
        moon_store *a = c.kit->a;
        writer w = kit_create(a, "r1"), other = kit_create(a, "r2");
        c.fault.countdown = 1;
        c.fault.lasts = true;
        draft d = draft_of(&w);
        draft_add(&d, "doubtful", "{}");
        assert_int_equal(kit_send(a, &d, 1), MOON_EIO); /* of the whole: not known */
        if (variant == 1) assert_int_equal(kit_write(a, &other, "k", "{}"), MOON_EIO);
        c.fault.countdown = 0;
        if (variant < 2) { /* nobody has the store open: its log is read as the system has it */
            c.kit->ops->close(a);
            a = c.kit->a = kit_open(c.kit);
        }
        assert_int_equal(kit_write(a, &other, "kept", "{}"), MOON_OK);
        cut_expect(&c, "r2", "1::{} 2:kept:{} ");
        moon__buf now;
        moon__buf_init(&now, 1 << 16);
        assert_int_equal(c.kit->ops->read(a, "r1", 1, 0, kit_print, &now, NULL), MOON_OK);
        cut_expect(&c, "r1", now.p);
        moon__buf_fini(&now);
        cut_end(&c);
        if (variant == 2) break;
        kit_free(c.kit);
        *state = kit_new(&moon_store_sqlite);
    }
}

static void test_journal_sqlite__what_was_kept_survives_a_power_cut(void **state) {
    cut c;
    moon__buf want;
    cut_start(&c, state);
    moon__buf_init(&want, 1 << 20);
    moon__buf_str(&want, "1::{} ");
    writer w = kit_create(c.kit->a, "r1");
    c.kit->a->checkpoint_pages = 10;
    for (int i = 0; i < 30; i++) {
        assert_int_equal(kit_write(c.kit->a, &w, "k", "{}"), MOON_OK);
        moon__buf_printf(&want, "%llu:k:{} ", (unsigned long long)w.seq);
        if (i % 5 == 0) cut_expect(&c, "r1", want.p);
    }
    moon__buf_fini(&want);
    cut_end(&c);
}

/* ---- who writes holds the lock ---- */

typedef struct guard {
    const moon__lockfile *locks[2]; /* of the handles that may write */
    unsigned writes, checkpoints, unguarded;
} guard;

static int on_guarded(void *ctx, const shim_op *op) {
    guard *g = ctx;
    bool log = shim_is(op, "-wal"), change = op->kind == SHIM_WRITE || op->kind == SHIM_TRUNCATE;
    if (!change || shim_is(op, "-journal")) return SQLITE_OK;
    g->writes += log;
    g->checkpoints += !log;
    g->unguarded += !moon__lockfile_locked(g->locks[0], 0);
    return SQLITE_OK;
}

/* SQLite before 3.51.3 may damage a database when a checkpoint and a commit of two connections meet. */
static void test_journal_sqlite__logs_and_checkpoints_are_written_under_the_lock(void **state) {
    store_kit *k = *state;
    kit_b(k);
    guard g = {.locks = {&k->a->locks, &k->b->locks}};
    shim_hook(on_guarded, &g);
    writer w = kit_create(k->a, "r1");
    k->a->checkpoint_pages = k->b->checkpoint_pages = 8;
    for (int i = 0; i < 60; i++) {
        moon_store *store = i % 3 ? k->a : k->b;
        char once[16];
        snprintf(once, sizeof once, "%d", i);
        assert_int_equal(kit_write(store, &w, "k", "{}"), MOON_OK);
        assert_int_equal(k->ops->post(store, "r1", once, "1", 1, NULL), MOON_OK);
        kit_expect_list(store, (moon_query){.state = -1}, "r1 ");
        if (i % 20 == 10) {
            k->ops->close(k->b);
            k->b = kit_open(k);
            k->b->checkpoint_pages = 8;
        }
    }
    k->ops->release(k->a, "r1");
    assert_int_equal(k->ops->purge(k->a, "r1", NULL), MOON_OK);
    kit_expect_sound(k->b);
    assert_in_range(g.writes, 240, 100000);
    assert_in_range(g.checkpoints, 20, 100000);
    assert_int_equal(g.unguarded, 0);
    /* The control: one who does not take the lock is noticed. */
    sqlite3 *db;
    assert_int_equal(sqlite3_open(k->place, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "DELETE FROM timers", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "INSERT INTO heads VALUES(77, 1)", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    assert_true(g.unguarded > 0);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(test_journal_sqlite__##name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_journal_sqlite__a_write_that_fails_keeps_nothing),
        T(posting_and_purging_that_fail_are_told),
        T(a_creation_that_fails_claims_nothing),
        T(a_checkpoint_that_fails_loses_nothing),
        cmocka_unit_test(test_journal_sqlite__a_store_that_cannot_be_made_is_made_later),
        T(memory_that_is_out_is_told),
        T(a_commit_that_failed_is_not_found_later),
        T(after_a_doubt_the_log_can_be_relied_on),
        T(what_was_kept_survives_a_power_cut),
        T(logs_and_checkpoints_are_written_under_the_lock),
    };
    sqlite3_config(SQLITE_CONFIG_GETMALLOC, &memory);
    sqlite3_mem_methods scarce = memory;
    scarce.xMalloc = scarce_malloc;
    scarce.xRealloc = scarce_realloc;
    sqlite3_config(SQLITE_CONFIG_MALLOC, &scarce);
    shim_install();
    return cmocka_run_group_tests_name("sqlite faults", tests, NULL, NULL);
}
