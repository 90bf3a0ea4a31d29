/* SPDX-License-Identifier: MIT */
/* Files of format 1: they are brought to format 2 when they are opened, whole or not at all. */
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#include "../crash/disk.h"
#include "../crash/format1.h"
#include "sqlite.h"
#include "store_kit.h"

/* ---- a journal of each kind of thing ---- */

enum { LONG = 700 }; /* records of the run "long": more than a row holds */

static void add_long(moon_store *store, size_t records, size_t length) {
    writer w = kit_create(store, "long");
    char *body = malloc(length + 1);
    assert_non_null(body);
    memset(body, 'x', length);
    body[length] = 0;
    for (size_t i = 1; i < records;) {
        draft d = draft_of(&w);
        for (size_t n = 0; n < 7 && i < records; n++, i++) draft_add_bytes(&d, "k", body, length);
        assert_int_equal(kit_send_one(store, &d), MOON_OK);
    }
    free(body);
}

static void add_sides(moon_store *store, writer *w, size_t i) {
    static char large[6000];
    memset(large, 'a' + (int)i, sizeof large);
    draft d = draft_of(w);
    draft_add(&d, "a", "{\"n\":\"second\"}");
    draft_add(&d, "b", "");
    d.records[1].path = "c1.3";
    draft_add_bytes(&d, "large", large, sizeof large);
    draft_blob(&d, i ? "side bytes b" : "side bytes a", 12);
    draft_timer(&d, "t", 5 + (int64_t)i);
    assert_int_equal(kit_send_one(store, &d), MOON_OK);
    assert_int_equal(kit_now->ops->post(store, w->run, "o", "\"taken\"", 7, NULL), MOON_OK);
    assert_int_equal(kit_now->ops->post(store, w->run, "p", "\"left\"", 6, NULL), MOON_OK);
    d = draft_of(w);
    draft_add(&d, "c", "{}");
    draft_side(&d, MOON_SIDE_TAKE)->item = kit_inbox(store, w->run).ids[0];
    assert_int_equal(kit_send_one(store, &d), MOON_OK);
}

static writer add_fork(moon_store *store, const writer *base, uint64_t at, const char *run,
                       const unsigned char hash[MOON_HASH_SIZE]) {
    writer w = {0};
    snprintf(w.run, sizeof w.run, "%s", run);
    memcpy(w.hash, hash, MOON_HASH_SIZE);
    draft d = draft_of(&w);
    draft_fork(&d, base, at);
    draft_add(&d, "f", "{}");
    assert_int_equal(kit_send_one(store, &d), MOON_OK);
    return w;
}

/* r1 and r2 have five records each; f1 is forked from r1 at its last, f2 from f1 at its first, f3 from f1 at a record
 * that is r1's. */
static void fill(moon_store *store) {
    writer r1 = kit_create(store, "r1"), r2 = kit_create(store, "r2");
    add_sides(store, &r1, 0);
    unsigned char fifth[MOON_HASH_SIZE];
    memcpy(fifth, r1.hash, MOON_HASH_SIZE);
    add_sides(store, &r2, 1);
    writer f1 = add_fork(store, &r1, 5, "f1", fifth);
    add_fork(store, &f1, 7, "f2", f1.hash);
    add_fork(store, &f1, 5, "f3", fifth);
}

/* ---- all that a store tells ---- */

static bool dump_record(void *ctx, const moon_record *r) {
    moon__buf_printf(ctx, "%" PRIu64 " %d %" PRId64 " %s:%s ", r->seq, (int)r->type, r->time_us, r->path, r->key);
    moon__buf_add(ctx, (const char *)r->hash, MOON_HASH_SIZE);
    moon__buf_add(ctx, r->body, r->body_length);
    return true;
}

static bool dump_run(void *ctx, const moon_run_info *i) {
    moon__buf_printf(ctx, "%s %s %s %s %s %s %d %d %d %" PRId64 " %" PRId64 " %" PRId64 " %s %" PRIu64 "\n", i->run,
                     i->name, i->script, i->workspace, i->input, i->stop, i->state, i->resumable, i->claimed,
                     i->created_us, i->updated_us, i->steps, i->fork_of, i->fork_at);
    return true;
}

static bool dump_item(void *ctx, int64_t item, const char *body, size_t length) {
    moon__buf_printf(ctx, "%" PRId64 " %.*s ", item, (int)length, body);
    return true;
}

static moon__buf dump(moon_store *store) {
    static const char *const runs[] = {"r1", "r2", "f1", "f2", "f3", "long"};
    moon__buf all;
    moon__buf_init(&all, 64 << 20);
    assert_int_equal(kit_now->ops->list(store, &(moon_query){.state = -1}, dump_run, &all, NULL), MOON_OK);
    assert_int_equal(kit_now->ops->due(store, 100, 0, kit_on_due, &all, NULL), MOON_OK);
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
        moon_error error = {0};
        moon_status status = kit_now->ops->read(store, runs[i], 1, 0, dump_record, &all, &error);
        if (status == MOON_ENOTFOUND) continue;
        if (status) fail_msg("%s: %s", runs[i], error.text);
        assert_int_equal(kit_now->ops->inbox(store, runs[i], dump_item, &all, NULL), MOON_OK);
    }
    assert_int_equal(kit_blob(store, "side bytes a", 12) | kit_blob(store, "side bytes b", 12), MOON_OK);
    assert_int_equal(all.status, MOON_OK);
    return all;
}

static void expect_dump(moon_store *store, const moon__buf *want) {
    moon__buf got = dump(store);
    assert_int_equal(got.len, want->len);
    assert_memory_equal(got.p, want->p, want->len);
    moon__buf_fini(&got);
    kit_expect_sound(store);
}

/* ---- the file, with SQLite alone ---- */

static sqlite3 *open_raw(const char *path) {
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    sqlite3_busy_timeout(db, 5000);
    return db;
}

static void raw(const char *path, const char *sql) {
    sqlite3 *db = open_raw(path);
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK) fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static int64_t number(const char *path, const char *sql) {
    sqlite3 *db = open_raw(path);
    sqlite3_stmt *s;
    if (sqlite3_prepare_v2(db, sql, -1, &s, NULL) != SQLITE_OK) fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    assert_int_equal(sqlite3_step(s), SQLITE_ROW);
    int64_t n = sqlite3_column_int64(s, 0);
    sqlite3_finalize(s);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    return n;
}

static int64_t format_of(const char *path) {
    return number(path, "PRAGMA user_version");
}

/* It is the one or the other, tables and all. */
static void expect_one_format(const char *path) {
    int64_t old = number(path, "SELECT count(*) FROM pragma_table_info('records') WHERE name = 'seq'");
    assert_int_equal(format_of(path), old ? 1 : 2);
    assert_int_equal(number(path, "SELECT count(*) FROM sqlite_master WHERE name LIKE 'records%'"), 2);
}

/* ---- set-up ---- */

typedef struct told {
    size_t n;
    char text[2000];
} told;

static void on_told(void *ctx, const char *text) {
    told *t = ctx;
    size_t at = strlen(t->text);
    t->n++;
    snprintf(t->text + at, sizeof t->text - at, "%s\n", text);
}

static moon_status try_open(store_kit *k, told *t) {
    return k->ops->open_telling(&k->a, k->place, t ? on_told : NULL, t, &k->error);
}

/* A filled store, closed, and in format 1; what it tells, before. */
static moon__buf make_old(store_kit *k, size_t records, size_t length) {
    if (!k->a) k->a = kit_open(k);
    fill(k->a);
    if (records) add_long(k->a, records, length);
    kit_close(k);
    k->a = kit_open(k);
    moon__buf before = dump(k->a);
    kit_close(k);
    format1_make(k->place);
    return before;
}

static int set_up(void **state) {
    shim_hook(shim_without_syncs, NULL);
    *state = kit_new(&moon_store_sqlite);
    return 0;
}

static int tear_down(void **state) {
    kit_free(*state);
    return 0;
}

/* ---- what is kept ---- */

static void test_journal_migrate__all_is_as_before(void **state) {
    store_kit *k = *state;
    told t = {0};
    moon__buf before = make_old(k, LONG, 300);
    assert_int_equal(format_of(k->place), 1);
    if (try_open(k, &t)) fail_msg("%s", k->error.text);
    assert_int_equal(t.n, 0); /* it was quick, and nothing was damaged */
    expect_dump(k->a, &before);
    kit_close(k);
    expect_one_format(k->place);
    assert_int_equal(format_of(k->place), 2);
    assert_int_equal(number(k->place, "SELECT count(*) FROM records WHERE run = 6"), LONG * 345 / (64 << 10) + 1);
    assert_in_range(number(k->place, "SELECT max(length(data)) FROM records"), 60 << 10, 66 << 10);
    k->a = kit_open(k);
    expect_dump(k->a, &before);
    moon__buf_fini(&before);
}

/* Of a new file and one that was migrated, SQLite says the same. */
static void test_journal_migrate__the_tables_are_those_of_a_new_file(void **state) {
    store_kit *k = *state;
    char sql[400];
    moon__buf before = make_old(k, 0, 0);
    assert_int_equal(try_open(k, NULL), MOON_OK);
    kit_close(k);
    store_kit *fresh = kit_new(&moon_store_sqlite);
    kit_close(fresh);
    snprintf(sql, sizeof sql,
             "ATTACH '%s' AS fresh; CREATE TEMP TABLE same(n CHECK(n = 0)); INSERT INTO same SELECT count(*) FROM "
             "(SELECT type, name, tbl_name, sql FROM main.sqlite_master EXCEPT SELECT type, name, tbl_name, sql FROM "
             "fresh.sqlite_master)",
             fresh->place);
    raw(k->place, sql);
    kit_free(fresh);
    moon__buf_fini(&before);
}

static void test_journal_migrate__runs_go_on_and_are_forked(void **state) {
    store_kit *k = *state;
    moon__buf before = make_old(k, 0, 0);
    k->a = kit_open(k);
    writer w = {.run = "r1", .seq = 5};
    assert_int_equal(k->ops->read(k->a, "r1", 5, 5, dump_record, &before, NULL), MOON_OK);
    memcpy(w.hash, before.p + before.len - 2 - MOON_HASH_SIZE, MOON_HASH_SIZE);
    assert_int_equal(k->ops->claim(k->a, "r1", NULL), MOON_OK);
    writer fork = add_fork(k->a, &w, 5, "f4", w.hash);
    assert_int_equal(kit_write(k->a, &w, "next", "{}"), MOON_OK);
    kit_expect(k->a, "r1", 6, 0, "6:next:{} ");
    kit_expect(k->a, "f4", 5, 0, "5:c:{} 6::{} 7:f:{} ");
    assert_int_equal(fork.seq, 7);
    kit_expect_sound(k->a);
    assert_int_equal(k->ops->purge(k->a, "r2", NULL), MOON_OK);
    kit_expect_sound(k->a);
    moon__buf_fini(&before);
}

static void test_journal_migrate__an_empty_journal(void **state) {
    store_kit *k = *state;
    kit_close(k);
    format1_make(k->place);
    k->a = kit_open(k);
    kit_create(k->a, "r1");
    kit_expect_sound(k->a);
}

/* ---- damage ---- */

static const struct {
    const char *label, *run, *sql, *text;
} damages[] = {
    {"body", "r1", "UPDATE records SET body = '{\"n\":\"secont\"}' WHERE run = 1 AND seq = 2", "record 2 does not fit"},
    {"no body", "r1", "UPDATE records SET body = NULL WHERE run = 1 AND seq = 2", "record 2 does not fit"},
    {"long body", "r1", "UPDATE records SET body = hex(zeroblob(3000)) WHERE run = 1 AND seq = 2",
     "record 2 has lost its body"},
    {"large body", "r1", "UPDATE blobs SET bytes = zeroblob(6000) WHERE length(bytes) = 6000", "record 4 does not fit"},
    {"short large body", "r1", "UPDATE blobs SET bytes = zeroblob(60) WHERE length(bytes) = 6000",
     "record 4 does not fit"},
    {"large body gone", "r1", "DELETE FROM blobs", "record 4 has lost its body"},
    {"hash of a large body", "r1", "UPDATE records SET blob = x'01' WHERE run = 1 AND seq = 4",
     "record 4 has lost its body"},
    {"path", "r1", "UPDATE records SET path = '2' WHERE run = 1 AND seq = 3", "record 3 does not fit"},
    {"key", "r1", "UPDATE records SET key = CAST(x'6200' AS TEXT) || 'b' WHERE run = 1 AND seq = 2",
     "record 2 does not fit"},
    {"type", "r1", "UPDATE records SET type = -3 WHERE run = 1 AND seq = 3", "record 3 cannot be made out"},
    {"time", "r1", "UPDATE records SET time_us = -time_us WHERE run = 1 AND seq = 3", "record 3 does not fit"},
    {"hash", "r1", "UPDATE records SET hash = zeroblob(32) WHERE run = 1 AND seq = 5", "record 5 does not fit"},
    {"short hash", "r1", "UPDATE records SET hash = x'00' WHERE run = 1 AND seq = 5", "record 5 does not fit"},
    {"first gone", "r1", "DELETE FROM records WHERE run = 1 AND seq = 1", "record 1 is missing"},
    {"one gone", "r1", "DELETE FROM records WHERE run = 1 AND seq = 4", "record 4 is missing"},
    {"base of a fork gone", "f3", "DELETE FROM records WHERE run = 1 AND seq = 5", "record 5 is missing"},
    {"first of a fork gone", "f1", "DELETE FROM records WHERE run = 3 AND seq = 6", "record 6 is missing"},
};

/* A run that was damaged is refused as before, and the others are not. */
static void test_journal_migrate__a_damaged_run_is_carried_over_as_it_stands(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof damages / sizeof *damages; i++) {
        store_kit *k = kit_new(&moon_store_sqlite);
        told t = {0};
        moon__buf before = make_old(k, 0, 0);
        moon__buf_fini(&before);
        raw(k->place, damages[i].sql);
        if (try_open(k, &t)) fail_msg("%s: %s", damages[i].label, k->error.text);
        if (!strstr(t.text, "was damaged before")) fail_msg("%s: nothing is told", damages[i].label);
        if (kit_read(k->a, damages[i].run) != MOON_ECORRUPT) fail_msg("%s: is read", damages[i].label);
        if (!strstr(k->error.text, damages[i].text))
            fail_msg("%s: \"%s\" has no \"%s\"", damages[i].label, k->error.text, damages[i].text);
        if (!kit_check(k->a).n) fail_msg("%s: check finds nothing", damages[i].label);
        if (!strstr(damages[i].sql, "blobs")) assert_int_equal(kit_read(k->a, "r2"), MOON_OK);
        assert_int_equal(k->ops->purge(k->a, "f2", NULL), MOON_OK);
        kit_free(k);
    }
}

/* Where the records cannot even be walked, the file is left. */
static void test_journal_migrate__a_file_that_cannot_be_read_is_left_as_it_is(void **state) {
    store_kit *k = *state;
    static const char *const rows[] = {
        "DROP INDEX records_seq",
        "DROP INDEX records_seq; CREATE UNIQUE INDEX records_seq ON records(run, seq) WHERE seq <> 2; PRAGMA "
        "writable_schema = ON; UPDATE sqlite_master SET sql = 'CREATE UNIQUE INDEX records_seq ON records(run, seq)' "
        "WHERE name = 'records_seq'",
        "DROP INDEX records_seq; CREATE INDEX records_seq ON records(run, seq); PRAGMA writable_schema = ON; UPDATE "
        "sqlite_master SET sql = 'CREATE UNIQUE INDEX records_seq ON records(run, seq)' WHERE name = 'records_seq'; "
        "INSERT INTO records SELECT NULL, run, seq, type, time_us, path, key, hash, body, blob FROM records WHERE run "
        "= 2 AND seq = 3"};
    static const char mend[] = "DROP INDEX IF EXISTS records_seq; DELETE FROM records WHERE id > 16; CREATE UNIQUE "
                               "INDEX records_seq ON records(run, seq)";
    moon__buf before = make_old(k, 0, 0);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        raw(k->place, rows[i]);
        assert_int_not_equal(try_open(k, NULL), MOON_OK);
        assert_null(k->a);
        assert_non_null(strstr(k->error.text, k->place));
        assert_int_equal(format_of(k->place), 1);
        raw(k->place, mend);
        expect_one_format(k->place);
    }
    k->a = kit_open(k);
    expect_dump(k->a, &before);
    moon__buf_fini(&before);
}

/* ---- others ---- */

static void test_journal_migrate__who_drives_a_run_is_waited_for(void **state) {
    store_kit *k = *state;
    moon__lockfile other = {.fd = -1, .probe = -1};
    moon__buf before = make_old(k, 0, 0);
    assert_int_equal(moon__lockfile_open(&other, kit_path(k, "journal-lock"), NULL), MOON_OK);
    assert_int_equal(moon__lockfile_lock(&other, moon__sqlite_claim_byte(2), 0), MOON_OK);
    assert_int_equal(try_open(k, NULL), MOON_EBUSY);
    assert_non_null(strstr(k->error.text, "the process that drives run r2 ends"));
    expect_one_format(k->place);
    assert_int_equal(format_of(k->place), 1);
    assert_int_equal(moon__lockfile_lock(&other, moon__sqlite_claim_byte(1), 0), MOON_OK); /* nothing is left locked */
    moon__lockfile_close(&other);
    k->a = kit_open(k);
    assert_false(kit_claimed(k->a, "r1") || kit_claimed(k->a, "f3"));
    expect_dump(k->a, &before);
    moon__buf_fini(&before);
}

typedef struct visit {
    const char *lock_place;
    unsigned writes;
} visit;

/* While it is written, others can claim nothing. */
static int on_visit(void *ctx, const shim_op *op) {
    visit *v = ctx;
    moon__lockfile other = {.fd = -1, .probe = -1};
    if (op->kind != SHIM_WRITE || !shim_is(op, "-wal")) return shim_without_syncs(NULL, op);
    v->writes++;
    assert_int_equal(moon__lockfile_open(&other, v->lock_place, NULL), MOON_OK);
    assert_int_equal(moon__lockfile_lock(&other, moon__sqlite_claim_byte(1), 0), MOON_EBUSY);
    assert_int_equal(moon__lockfile_lock(&other, 0, 0), MOON_EBUSY);
    moon__lockfile_close(&other);
    return SQLITE_OK;
}

static void test_journal_migrate__nobody_begins_to_drive_a_run_meanwhile(void **state) {
    store_kit *k = *state;
    moon__buf before = make_old(k, 0, 0);
    visit v = {.lock_place = kit_path(k, "journal-lock")};
    shim_hook(on_visit, &v);
    assert_int_equal(try_open(k, NULL), MOON_OK);
    shim_hook(shim_without_syncs, NULL);
    assert_true(v.writes > 2);
    expect_dump(k->a, &before);
    moon__buf_fini(&before);
}

/* A program that knows format 1, and had the file open: it can write nothing. */
static void test_journal_migrate__an_old_program_writes_nothing_after(void **state) {
    store_kit *k = *state;
    moon__buf before = make_old(k, 0, 0);
    sqlite3 *db = open_raw(k->place);
    sqlite3_stmt *s;
    static const char sql[] = "INSERT INTO records(run, seq, type, time_us, path, key, hash, body, blob) VALUES(1, 6, "
                              "4, 5, '', '', zeroblob(32), '{}', NULL)";
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &s, NULL), SQLITE_OK);
    assert_int_equal(try_open(k, NULL), MOON_OK);
    assert_int_equal(sqlite3_step(s), SQLITE_ERROR);
    sqlite3_finalize(s);
    sqlite3_close(db);
    expect_dump(k->a, &before);
    moon__buf_fini(&before);
}

static pid_t start(const store_kit *k, int kill_at);

static void test_journal_migrate__several_open_it_at_once(void **state) {
    store_kit *k = *state;
    pid_t pids[5];
    moon__buf before = make_old(k, LONG, 300);
    for (size_t i = 0; i < 5; i++) pids[i] = start(k, 0);
    for (size_t i = 0; i < 5; i++) {
        int how = 0;
        assert_int_equal(waitpid(pids[i], &how, 0), pids[i]);
        assert_int_equal(how, 0);
    }
    k->a = kit_open(k);
    expect_dump(k->a, &before);
    moon__buf_fini(&before);
}

/* ---- who may only read ---- */

static void test_journal_migrate__who_may_only_read_is_told_what_to_do(void **state) {
    store_kit *k = *state;
    moon__buf before = make_old(k, 0, 0);
    moon__buf_fini(&before);
    assert_int_equal(chmod(k->dir, 0755) | chmod(k->place, 0444) | chmod(kit_path(k, "journal-lock"), 0666), 0);
    for (int folder = 0; folder < 2; folder++) {
        pid_t child = fork();
        if (child == 0) {
            if (geteuid() == 0 && setresuid(65534, 65534, 65534) != 0) _exit(9);
            bool ok = try_open(k, NULL) == MOON_EIO && strstr(k->error.text, "copy it, and its -wal file");
            if (!ok) fprintf(stderr, "folder %d: %s\n", folder, k->error.text);
            _exit(ok ? 0 : 1);
        }
        int how = 0;
        assert_int_equal(waitpid(child, &how, 0), child);
        assert_int_equal(how, 0);
        assert_int_equal(chmod(k->dir, 0555) | chmod(kit_path(k, "journal-lock"), 0444), 0);
    }
    assert_int_equal(chmod(k->dir, 0700), 0);
}

/* ---- what is told ---- */

static int on_slow(void *ctx, const shim_op *op) {
    bool *slept = ctx;
    if (*slept || op->kind != SHIM_WRITE || !shim_is(op, "-wal")) return shim_without_syncs(NULL, op);
    *slept = true;
    nanosleep(&(struct timespec){.tv_sec = 1, .tv_nsec = 100000000}, NULL);
    return SQLITE_OK;
}

static void test_journal_migrate__what_takes_long_is_told(void **state) {
    store_kit *k = *state;
    bool slept = false;
    told t = {0};
    moon__buf before = make_old(k, 4000, 3500); /* more than SQLite holds in memory: it writes before the end */
    shim_hook(on_slow, &slept);
    assert_int_equal(try_open(k, &t), MOON_OK);
    shim_hook(shim_without_syncs, NULL);
    assert_non_null(strstr(t.text, "the journal is being brought to format 2: 5 of 6 runs\n"));
    assert_non_null(strstr(t.text, "the journal is brought to format 2\n"));
    expect_dump(k->a, &before);
    moon__buf_fini(&before);
}

/* ---- in the midst of it ---- */

/* The n-th write or sync of the log: fails with code, or kills the process (code 0). */
typedef struct ending {
    shim_kind kind;
    int code, countdown;
    unsigned hits;
} ending;

static int on_ending(void *ctx, const shim_op *op) {
    ending *e = ctx;
    if (op->kind != e->kind || e->countdown == 0 || --e->countdown > 0) return shim_without_syncs(NULL, op);
    e->hits++;
    if (!e->code) kill(getpid(), SIGKILL);
    return e->code;
}

/* A process that opens the store, and is killed at its kill_at-th write (0: not). */
static pid_t start(const store_kit *k, int kill_at) {
    pid_t child = fork();
    if (child) return child;
    ending e = {.kind = SHIM_WRITE, .countdown = kill_at};
    moon_store *store = NULL;
    shim_hook(on_ending, &e);
    if (k->ops->open(&store, k->place, NULL)) _exit(1);
    k->ops->close(store);
    _exit(0);
}

static void test_journal_migrate__a_process_that_is_killed_leaves_one_or_the_other(void **state) {
    (void)state;
    bool killed = true;
    shim_hook(shim_without_syncs, NULL);
    int formats[3] = {0};
    for (int n = 1; killed; n += n < 12 ? 1 : n) {
        store_kit *k = kit_new(&moon_store_sqlite);
        moon__buf before = make_old(k, LONG, 300);
        int how = 0;
        pid_t child = start(k, n);
        assert_int_equal(waitpid(child, &how, 0), child);
        killed = WIFSIGNALED(how) && WTERMSIG(how) == SIGKILL;
        if (!killed) assert_int_equal(how, 0);
        expect_one_format(k->place);
        formats[format_of(k->place)]++;
        k->a = kit_open(k);
        expect_dump(k->a, &before);
        moon__buf_fini(&before);
        kit_free(k);
    }
    assert_true(formats[1] > 5 && formats[2] > 1);
}

static void test_journal_migrate__a_disk_that_fails_leaves_one_or_the_other(void **state) {
    (void)state;
    shim_hook(shim_without_syncs, NULL);
    static const struct {
        shim_kind kind;
        int code;
        moon_status want;
    } rows[] = {{SHIM_WRITE, SQLITE_FULL, MOON_EFULL},
                {SHIM_WRITE, SQLITE_IOERR_WRITE, MOON_EIO},
                {SHIM_SYNC, SQLITE_IOERR_FSYNC, MOON_EIO}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        unsigned refused = 0;
        ending e = {.hits = 1};
        for (int n = 1; e.hits; n += n < 6 ? 1 : n) {
            store_kit *k = kit_new(&moon_store_sqlite);
            moon__buf before = make_old(k, LONG, 300);
            e = (ending){.kind = rows[i].kind, .code = rows[i].code, .countdown = n};
            shim_hook(on_ending, &e);
            moon_status status = try_open(k, NULL);
            shim_hook(shim_without_syncs, NULL);
            assert_true(status == MOON_OK || (e.hits && status == rows[i].want));
            refused += status != MOON_OK;
            if (!k->a) k->a = kit_open(k);
            expect_dump(k->a, &before);
            kit_close(k);
            expect_one_format(k->place);
            moon__buf_fini(&before);
            kit_free(k);
        }
        assert_true(refused > 0);
    }
}

static void test_journal_migrate__a_power_cut_leaves_one_or_the_other(void **state) {
    store_kit *k = *state;
    static const disk_fate fates[] = {DISK_DROP, DISK_KEEP, DISK_MIX, DISK_MIX};
    static disk d;
    store_kit image = {.ops = k->ops};
    uint64_t seed = 7;
    int formats[3] = {0};
    kit_close(k);
    unlink(k->place);
    unlink(kit_path(k, "journal-wal"));
    unlink(kit_path(k, "journal-shm"));
    shim_hook(disk_hook, &d);
    moon__buf before = make_old(k, 3000, 3500);
    size_t from = d.n;
    assert_int_equal(try_open(k, NULL), MOON_OK);
    kit_close(k);
    shim_hook(shim_without_syncs, NULL);
    strcat(strcpy(image.dir, k->dir), "/i");
    strcat(strcpy(image.place, image.dir), "/journal");
    assert_int_equal(mkdir(image.dir, 0700), 0);
    for (size_t i = 0; i <= 16; i++) {
        size_t moment = from + (d.n - from) * i / 16;
        uint64_t same = seed;
        disk_image(&d, moment, fates[i % 4], &same, image.dir);
        unlink(kit_path(&image, "journal-shm"));
        expect_one_format(image.place);
        formats[format_of(image.place)]++;
        disk_image(&d, moment, fates[i % 4], &seed, image.dir);
        unlink(kit_path(&image, "journal-shm"));
        image.a = kit_open(&image);
        expect_dump(image.a, &before);
        kit_close(&image);
    }
    disk_free(&d);
    moon__buf_fini(&before);
    assert_true(formats[1] > 5 && formats[2] > 2);
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

static void test_journal_migrate__memory_that_is_out_is_told(void **state) {
    store_kit *k = *state;
    moon_status status = MOON_ENOMEM;
    moon__buf before = make_old(k, 0, 0);
    for (int n = 0; status; n += n < 40 ? 7 : 3) {
        allocations_left = n;
        status = try_open(k, NULL);
        allocations_left = -1;
        if (status) assert_int_equal(format_of(k->place), 1);
    }
    expect_dump(k->a, &before);
    moon__buf_fini(&before);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(test_journal_migrate__##name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(all_is_as_before),
        T(the_tables_are_those_of_a_new_file),
        T(runs_go_on_and_are_forked),
        T(an_empty_journal),
        cmocka_unit_test(test_journal_migrate__a_damaged_run_is_carried_over_as_it_stands),
        T(a_file_that_cannot_be_read_is_left_as_it_is),
        T(who_drives_a_run_is_waited_for),
        T(nobody_begins_to_drive_a_run_meanwhile),
        T(an_old_program_writes_nothing_after),
        T(several_open_it_at_once),
        T(who_may_only_read_is_told_what_to_do),
        T(what_takes_long_is_told),
        cmocka_unit_test(test_journal_migrate__a_process_that_is_killed_leaves_one_or_the_other),
        cmocka_unit_test(test_journal_migrate__a_disk_that_fails_leaves_one_or_the_other),
        T(a_power_cut_leaves_one_or_the_other),
        T(memory_that_is_out_is_told),
    };
    sqlite3_config(SQLITE_CONFIG_GETMALLOC, &memory);
    sqlite3_mem_methods scarce = memory;
    scarce.xMalloc = scarce_malloc;
    scarce.xRealloc = scarce_realloc;
    sqlite3_config(SQLITE_CONFIG_MALLOC, &scarce);
    shim_install();
    return cmocka_run_group_tests_name("migrate", tests, NULL, NULL);
}
