/* SPDX-License-Identifier: MIT */
/* The SQLite store: what every store has to hold (store_suite.h), its files, and what becomes of damage. */
#include <errno.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/wait.h>

#include "../crash/rows.h"
#include "../crash/shim.h"
#include "lockfile.h"
#include "sqlite.h"
#include "store_suite.h"

static int set_up(void **state) {
    *state = kit_new(&moon_store_sqlite);
    return 0;
}

static int tear_down(void **state) {
    kit_free(*state);
    return 0;
}

/* ---- another program, which uses the file with SQLite alone ---- */

static int64_t ask(sqlite3 *db, const char *sql) {
    sqlite3_stmt *s = NULL;
    int64_t number = -1;
    const char *rest = sql;
    while (*rest) {
        if (sqlite3_prepare_v2(db, rest, -1, &s, &rest) != SQLITE_OK) fail_msg("%s: %s", sql, sqlite3_errmsg(db));
        int code = sqlite3_step(s);
        if (code == SQLITE_ROW) number = sqlite3_column_int64(s, 0);
        if (code != SQLITE_ROW && code != SQLITE_DONE && s) fail_msg("%s: %s", sql, sqlite3_errmsg(db));
        sqlite3_finalize(s);
    }
    return number;
}

static sqlite3 *open_raw(const char *path) {
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    sqlite3_busy_timeout(db, 5000);
    return db;
}

static int64_t raw(const char *path, const char *sql) {
    sqlite3 *db = open_raw(path);
    int64_t number = ask(db, sql);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    return number;
}

/* The same, where the table `records` has a row for each record (rows.h). */
static int64_t raw_records(const char *path, const char *sql, bool save) {
    sqlite3 *db = open_raw(path);
    rows_open(db, "main", "records");
    int64_t number = ask(db, sql);
    if (save) rows_save(db, "main", "records");
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    return number;
}

/* A process that was forked before this one opened anything, as SQLite wants it. It does one thing at a time:
 * 'q' asks something of the database and closes it, 'l' holds the write lock until 'u', 'e' ends. */
static struct {
    pid_t pid;
    int in, out;
} helper;

static void help(int in, int out) {
    moon__lockfile file = {.fd = -1, .probe = -1};
    char order[160];
    while (read(in, order, sizeof order) == (ssize_t)sizeof order && *order != 'e') {
        char answer = 'n';
        if (*order == 'q' && raw(order + 1, "SELECT count(*) FROM runs") >= 0) answer = 'y';
        if (*order == 'l' && !moon__lockfile_open(&file, order + 1, NULL) && !moon__lockfile_lock(&file, 0, 0))
            answer = 'y';
        if (*order == 'u') {
            moon__lockfile_close(&file);
            answer = 'y';
        }
        if (write(out, &answer, 1) != 1) break;
    }
    _exit(0);
}

static void start_helper(void) {
    int to[2], from[2];
    assert_int_equal(pipe(to) | pipe(from), 0);
    helper.pid = fork();
    assert_true(helper.pid >= 0);
    if (helper.pid == 0) {
        close(to[1]);
        close(from[0]);
        help(to[0], from[1]);
    }
    close(to[0]);
    close(from[1]);
    helper.in = from[0];
    helper.out = to[1];
}

static void order(char what, const char *path) {
    char text[160] = {0}, answer = 0;
    snprintf(text, sizeof text, "%c%s", what, path);
    assert_int_equal(write(helper.out, text, sizeof text), sizeof text);
    assert_int_equal(read(helper.in, &answer, 1), 1);
    assert_int_equal(answer, 'y');
}

static void end_helper(int signal) {
    if (!helper.pid) return;
    if (signal)
        kill(helper.pid, signal);
    else
        close(helper.out);
    waitpid(helper.pid, NULL, 0);
    helper.pid = 0;
}

static char *slurp(const char *path, size_t *n) {
    FILE *f = fopen(path, "rb");
    struct stat st;
    assert_non_null(f);
    assert_int_equal(fstat(fileno(f), &st), 0);
    char *bytes = malloc((size_t)st.st_size + 1);
    assert_non_null(bytes);
    *n = fread(bytes, 1, (size_t)st.st_size, f);
    fclose(f);
    return bytes;
}

static void spew(const char *path, const char *bytes, size_t n) {
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

/* ---- what is stored ---- */

static void test_journal_sqlite__equal_large_bodies_are_stored_once(void **state) {
    store_kit *k = *state;
    char large[5000];
    memset(large, 'x', sizeof large);
    writer one = kit_create(k->a, "r1"), two = kit_create(k->a, "r2");
    draft d[2] = {draft_of(&one), draft_of(&two)};
    for (int i = 0; i < 2; i++) {
        draft_add_bytes(&d[i], "large", large, sizeof large);
        draft_add_bytes(&d[i], "again", large, sizeof large);
        draft_add_bytes(&d[i], "small", large, 4096);
        draft_add_bytes(&d[i], "other", large, 4097);
    }
    assert_int_equal(kit_send(k->a, d, 2), MOON_OK);
    assert_int_equal(raw(k->place, "SELECT count(*) FROM blobs"), 2);
    assert_int_equal(raw_records(k->place, "SELECT count(*) FROM records WHERE body IS NULL", false), 6);
    assert_int_equal(raw(k->place, "SELECT count(*) FROM records"), 4); /* a row for each append */
    kit_expect(k->a, "r2", 2, 0, "2:large:5000 3:again:5000 4:small:4096 5:other:4097 ");
    k->ops->release(k->a, "r1");
    k->ops->release(k->a, "r2");
    assert_int_equal(k->ops->purge(k->a, "r1", NULL), MOON_OK);
    assert_int_equal(raw(k->place, "SELECT count(*) FROM blobs"), 2);
    kit_expect(k->a, "r2", 2, 0, "2:large:5000 3:again:5000 4:small:4096 5:other:4097 ");
    assert_int_equal(k->ops->purge(k->a, "r2", NULL), MOON_OK);
    assert_int_equal(raw(k->place, "SELECT count(*) FROM blobs"), 0);
    assert_int_equal(raw(k->place, "SELECT (SELECT count(*) FROM records) + (SELECT count(*) FROM uses) + (SELECT "
                                   "count(*) FROM heads) + (SELECT count(*) FROM runs)"),
                     0);
}

static void test_journal_sqlite__what_is_too_large_is_refused_alone(void **state) {
    store_kit *k = *state;
    writer w = kit_create(k->a, "r1"), other = kit_create(k->a, "r2");
    static const unsigned char hash[MOON_HASH_SIZE];
    for (int i = 0; i < 2; i++) {
        /* Only the lengths are looked at. */
        const moon_record records[2] = {
            {.seq = w.seq + 1, .path = "", .key = "", .body = "{}", .body_length = 2},
            {.seq = w.seq + 2, .path = "", .key = "", .body = "{}", .body_length = i ? 2 : MOON__SQLITE_BODY_MAX + 1}};
        const moon_side side = {
            .kind = MOON_SIDE_BLOB, .hash = hash, .bytes = "", .length = i ? MOON__SQLITE_BODY_MAX + 1 : 0};
        draft d = draft_of(&other);
        draft_add(&d, "k", "{}");
        moon__record_seal(&d.records[0], other.hash);
        moon_append appends[2] = {
            {.run = "r1", .expected = w.seq, .records = records, .n_records = 2, .sides = &side, .n_sides = 1},
            {.run = "r2", .expected = other.seq, .records = d.records, .n_records = 1}};
        assert_int_equal(k->ops->append(k->a, appends, 2, NULL), MOON_OK);
        assert_int_equal(appends[0].status, MOON_ELIMIT);
        assert_int_equal(appends[1].status, MOON_OK);
        memcpy(other.hash, d.records[0].hash, MOON_HASH_SIZE);
        other.seq++;
    }
    assert_int_equal(k->ops->post(k->a, "r1", "o", "1", MOON__SQLITE_BODY_MAX + 1, NULL), MOON_ELIMIT);
    kit_expect(k->a, "r1", 1, 0, "1::{} ");
    kit_expect(k->a, "r2", 1, 0, "1::{} 2:k:{} 3:k:{} ");
    kit_expect_sound(k->a);
}

static void test_journal_sqlite__the_log_is_copied_back_and_begun_again(void **state) {
    store_kit *k = *state;
    struct stat log, file;
    char body[1000];
    memset(body, 'x', sizeof body);
    writer w = kit_create(k->a, "r1");
    k->a->checkpoint_pages = 40;
    for (int i = 0; i < 300; i++) {
        draft d = draft_of(&w);
        draft_add_bytes(&d, "k", body, sizeof body);
        assert_int_equal(kit_send_one(k->a, &d), MOON_OK);
    }
    assert_int_equal(stat(kit_path(k, "journal-wal"), &log), 0);
    assert_int_equal(stat(k->place, &file), 0);
    assert_in_range(log.st_size, 40 * 8192, 60 * 8192);
    assert_in_range(file.st_size, 30 * 8192, 100 * 8192);
}

static void test_journal_sqlite__a_number_is_given_once(void **state) {
    store_kit *k = *state;
    kit_create(k->a, "r1");
    int64_t first = raw(k->place, "SELECT max(id) FROM runs");
    k->ops->release(k->a, "r1");
    assert_int_equal(k->ops->purge(k->a, "r1", NULL), MOON_OK);
    kit_create(k->a, "r2");
    assert_int_not_equal(raw(k->place, "SELECT max(id) FROM runs"), first);
}

static void test_journal_sqlite__a_creation_that_cannot_be_claimed_leaves_nothing(void **state) {
    store_kit *k = *state;
    writer first = kit_create(k->a, "r1"), w = {.run = "r2"};
    int64_t next = raw(k->place, "SELECT max(id) FROM runs") + 1;
    assert_int_equal(moon__lockfile_lock(&kit_b(k)->locks, moon__sqlite_claim_byte(next), 0), MOON_OK);
    draft d[2] = {draft_of(&w), draft_of(&first)};
    draft_create(&d[0]);
    draft_add(&d[1], "k", "{}");
    assert_int_equal(kit_send(k->a, d, 2), MOON_OK);
    assert_int_equal(d[0].append.status, MOON_EBUSY);
    assert_int_equal(d[1].append.status, MOON_OK);
    kit_expect_list(k->a, (moon_query){.state = -1}, "r1 ");
    assert_int_equal(raw(k->place, "SELECT count(*) FROM heads"), 1);
    kit_create(k->a, "r2"); /* by the next number */
    kit_expect(k->a, "r2", 1, 0, "1::{} ");
    kit_expect(k->a, "r1", 1, 0, "1::{} 2:k:{} ");
    kit_expect_sound(k->a);
}

/* ---- damage ---- */

/* r1 of five records, the fourth large; r2 the same; fork, of r1 at 3. */
static void fill(store_kit *k) {
    char large[6000];
    memset(large, 'x', sizeof large);
    writer w[2] = {kit_create(k->a, "r1"), kit_create(k->a, "r2")}, fork = {.run = "fork"};
    for (int i = 0; i < 2; i++) {
        large[0] = i ? 'b' : 'a';
        draft d = draft_of(&w[i]);
        draft_add(&d, i ? "b2" : "a2", "{\"n\":\"second\"}");
        draft_add(&d, i ? "b3" : "a3", "{\"n\":\"third\"}");
        d.records[1].path = "1";
        draft_add_bytes(&d, "4", large, sizeof large);
        draft_add(&d, "5", "{\"n\":\"fifth\"}");
        draft_blob(&d, i ? "side bytes b" : "side bytes a", 12);
        draft_timer(&d, "t", 5);
        assert_int_equal(kit_send_one(k->a, &d), MOON_OK);
        assert_int_equal(k->ops->post(k->a, w[i].run, "o", "\"item\"", 6, NULL), MOON_OK);
        if (i == 0) memcpy(fork.hash, d.records[1].hash, MOON_HASH_SIZE);
    }
    draft d = draft_of(&fork);
    draft_fork(&d, &w[0], 3);
    assert_int_equal(kit_send_one(k->a, &d), MOON_OK);
    kit_expect_sound(k->a);
}

typedef struct damage {
    const char *label, *run, *sql, *text; /* run: the one whose reading has to fail, with this text */
} damage;

/* To single records (raw_records), or to other tables. */
static const damage damages[] = {
    {"body", "r1", "UPDATE records SET body = replace(body, 'second', 'secont') WHERE run = 1",
     "record 2 does not fit"},
    {"body of the first", "r1", "UPDATE records SET body = '{ }' WHERE run = 1 AND seq = 1", "record 1 does not fit"},
    {"empty body", "r1", "UPDATE records SET body = '' WHERE run = 1 AND seq = 2", "record 2 does not fit"},
    {"large body", "r1", "UPDATE blobs SET bytes = zeroblob(6000) WHERE length(bytes) = 6000", "record 4 does not fit"},
    {"large body gone", "r1", "DELETE FROM blobs", "record 4 has lost its body"},
    {"large body of another", "r1",
     "UPDATE records SET blob = (SELECT blob FROM records WHERE run = 2 AND seq = 4) WHERE run = 1 AND seq = 4",
     "record 4 does not fit"},
    {"path", "r1", "UPDATE records SET path = '2' WHERE run = 1 AND seq = 3", "record 3 does not fit"},
    {"key", "r1", "UPDATE records SET key = 'a4' WHERE run = 1 AND seq = 3", "record 3 does not fit"},
    {"time", "r1", "UPDATE records SET time_us = time_us + 1 WHERE run = 1 AND seq = 3", "record 3 does not fit"},
    {"type", "r1", "UPDATE records SET type = 2 WHERE run = 1 AND seq = 3", "record 3 does not fit"},
    {"hash", "r1", "UPDATE records SET hash = zeroblob(32) WHERE run = 1 AND seq = 5", "record 5 does not fit"},
    {"short large body", "r1", "UPDATE blobs SET bytes = substr(bytes, 2) WHERE length(bytes) = 6000",
     "record 4 does not fit"},
    {"first gone", "r1", "DELETE FROM records WHERE run = 1 AND seq = 1", "record 1 is missing"},
    {"one gone", "r1", "DELETE FROM records WHERE run = 1 AND seq = 4", "record 4 is missing"},
    {"last gone", "r1", "DELETE FROM records WHERE run = 1 AND seq = 5", "record 5 is missing"},
    {"all gone", "r1", "DELETE FROM records WHERE run = 1", "record 1 is missing"},
    {"two swapped", "r1",
     "UPDATE records SET seq = 9 WHERE run = 1 AND seq = 2; UPDATE records SET seq = 2 WHERE run = 1 AND seq = 3;"
     "UPDATE records SET seq = 3 WHERE run = 1 AND seq = 9",
     "record 2 does not fit"},
    {"swapped with another run's", "r1",
     "UPDATE records SET run = 99 WHERE run = 1 AND seq = 3; UPDATE records SET run = 1 WHERE run = 2 AND seq = 3;"
     "UPDATE records SET run = 2 WHERE run = 99",
     "record 3 does not fit"},
    {"one too many", "r1",
     "INSERT INTO records(run, seq, type, time_us, path, key, hash, body) SELECT run, 6, type, time_us, path, key, "
     "hash, "
     "body FROM records WHERE run = 1 AND seq = 5",
     "record 6 does not fit"},
    {"head too low", "r1", "UPDATE heads SET seq = 4 WHERE run = 1", "record 4 is not the last"},
    {"head too high", "r1", "UPDATE heads SET seq = 7 WHERE run = 1", "record 6 is missing"},
    {"no head", "r1", "DELETE FROM heads WHERE run = 1", "is not the last"},
    {"record of the base", "fork", "UPDATE records SET key = 'c' WHERE run = 1 AND seq = 2", "record 2 does not fit"},
    {"record of the base gone", "fork", "DELETE FROM records WHERE run = 1 AND seq = 3", "record 3 is missing"},
    {"another base", "fork", "UPDATE runs SET base = 2 WHERE run = 'fork'", "record 4 does not fit"},
    {"no base", "fork", "UPDATE runs SET base = 77 WHERE run = 'fork'", "record 1 is missing"},
    {"forgotten base", "fork", "UPDATE runs SET base = NULL, base_at = 0 WHERE run = 'fork'", "record 1 is missing"},
    {"base elsewhere", "fork", "UPDATE runs SET base_at = 2 WHERE run = 'fork'", "record 3 is missing"},
    {"a base of itself", "fork", "UPDATE runs SET base = id WHERE run = 'fork'", "circle"},
    /* These are of no run that can be read, and only check() sees them. */
    {"row of a run", NULL, "DELETE FROM runs WHERE run = 'r2'", "records of no run"},
    {"side bytes", NULL, "UPDATE blobs SET bytes = 'side bytes c' WHERE length(bytes) = 12", "do not fit their hash"},
    {"side bytes gone", NULL, "DELETE FROM blobs WHERE length(bytes) = 12", "bytes that it needs are missing"},
    {"item", NULL, "UPDATE inbox SET run = 77 WHERE run = 1", "posted to no run"},
    {"timer", NULL, "UPDATE timers SET run = 77 WHERE run = 1", "timer of no run"},
    {"use", NULL, "UPDATE uses SET run = 77 WHERE run = 1", "kept for no run"},
    {"record before the fork", NULL,
     "INSERT INTO records(run, seq, type, time_us, path, key, hash, body) SELECT 3, 2, type, time_us, path, key, hash, "
     "body FROM records WHERE run = 1 AND seq = 2",
     "where the run has none"},
};

/* To the store's rows as they are. */
static const damage row_damages[] = {
    {"row gone", "r1", "DELETE FROM records WHERE run = 1 AND first = 2", "record 2 is missing"},
    {"row cut", "r1", "UPDATE records SET data = substr(data, 1, length(data) - 1) WHERE run = 1 AND first = 2",
     "record 5 cannot be made out"},
    {"row cut in a hash", "r1", "UPDATE records SET data = substr(data, 1, 30) WHERE run = 1 AND first = 2",
     "record 2 cannot be made out"},
    {"row emptied", "r1", "UPDATE records SET data = x'' WHERE run = 1 AND first = 2", "record 2 cannot be made out"},
    {"row of zeroes", "r1", "UPDATE records SET data = zeroblob(length(data)) WHERE run = 1 AND first = 2",
     "record 2 does not fit"},
    {"row of ones", "r1",
     "UPDATE records SET data = CAST(replace(hex(zeroblob(200)), '00', x'FF') AS BLOB) WHERE run = 1 AND first = 2",
     "record 2 cannot be made out"},
    {"row with more", "r1", "UPDATE records SET data = CAST(data || x'00' AS BLOB) WHERE run = 1 AND first = 2",
     "record 5 is followed by"},
    {"row that ends later", "r1", "UPDATE records SET last = 6 WHERE run = 1 AND first = 2",
     "record 6 cannot be made out"},
    {"row that ends earlier", "r1", "UPDATE records SET last = 4 WHERE run = 1 AND first = 2",
     "record 4 is followed by"},
    {"row that ends before it begins", "r1", "UPDATE records SET last = 1 WHERE run = 1 AND first = 2",
     "record 1 is followed by"},
    {"row that begins later", "r1", "UPDATE records SET first = 3 WHERE run = 1 AND first = 2", "record 2 is missing"},
    {"row that begins earlier", "r1",
     "DELETE FROM records WHERE run = 1 AND first = 1; UPDATE records SET first = 1, last = 4 WHERE run = 1",
     "record 1 does not fit"},
    {"row within another", "r1",
     "INSERT INTO records(run, first, last, data) SELECT 1, 3, last, data FROM records WHERE run = 1 AND first = 2",
     "record 3 is there twice"},
    {"row of another run", "r1",
     "UPDATE records SET last = 2, data = (SELECT data FROM records WHERE run = 3) WHERE run = 1 AND first = 2",
     "record 2 does not fit"},
    {"index", NULL,
     "PRAGMA writable_schema = ON; UPDATE sqlite_master SET sql = 'CREATE INDEX runs_updated ON runs(steps)' "
     "WHERE "
     "name = 'runs_updated'; PRAGMA writable_schema = OFF",
     NULL},
};

static void expect_told(const damage *d, bool rows) {
    store_kit *k = kit_new(&moon_store_sqlite);
    fill(k);
    if (rows)
        raw(k->place, d->sql);
    else
        raw_records(k->place, d->sql, true);
    kit_close(k);
    k->a = kit_open(k);
    if (d->run) {
        if (kit_read(k->a, d->run) != MOON_ECORRUPT) fail_msg("%s: is read", d->label);
        if (!strstr(k->error.text, d->text)) fail_msg("%s: \"%s\" has no \"%s\"", d->label, k->error.text, d->text);
    }
    kit_faults faults = kit_check(k->a);
    if (!faults.n) fail_msg("%s: check finds nothing", d->label);
    if (d->text && !strstr(faults.text, d->text)) fail_msg("%s: \"%s\" has no \"%s\"", d->label, faults.text, d->text);
    kit_free(k);
}

static void test_journal_sqlite__damage_is_told(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof damages / sizeof *damages; i++) expect_told(&damages[i], false);
    for (size_t i = 0; i < sizeof row_damages / sizeof *row_damages; i++) expect_told(&row_damages[i], true);
}

static void test_journal_sqlite__damage_is_told_by_who_reads_from_it_on(void **state) {
    store_kit *k = *state;
    fill(k);
    raw_records(k->place, "UPDATE records SET key = 'x' WHERE run = 1 AND seq = 3", true);
    static const struct {
        uint64_t from, to;
        moon_status want;
    } rows[] = {{3, 0, MOON_ECORRUPT}, {3, 3, MOON_ECORRUPT}, {2, 0, MOON_ECORRUPT},
                {1, 2, MOON_OK},       {5, 0, MOON_OK},       {2, 2, MOON_OK}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(k->ops->read(k->a, "r1", rows[i].from, rows[i].to, NULL, NULL, NULL), rows[i].want);
    raw_records(k->place, "DELETE FROM records WHERE run = 2 AND seq = 5", true);
    assert_int_equal(k->ops->read(k->a, "r2", 5, 0, NULL, NULL, NULL), MOON_ECORRUPT);
    assert_int_equal(k->ops->read(k->a, "r2", 2, 4, NULL, NULL, NULL), MOON_OK);
}

static void test_journal_sqlite__nothing_is_appended_over_records(void **state) {
    store_kit *k = *state;
    writer w = kit_create(k->a, "r1"), before = w;
    assert_int_equal(kit_write(k->a, &w, "k", "{}"), MOON_OK);
    raw(k->place, "UPDATE heads SET seq = 1 WHERE run = 1");
    assert_int_equal(kit_write(k->a, &before, "other", "{}"), MOON_ECORRUPT);
    assert_int_equal(raw(k->place, "SELECT count(*) FROM records"), 2);
    assert_int_equal(raw(k->place, "SELECT seq FROM heads"), 1);
}

/* Nor where the row that holds them begins before them. */
static void test_journal_sqlite__nothing_is_appended_over_a_part_of_a_row(void **state) {
    store_kit *k = *state;
    writer w = kit_create(k->a, "r1"), before;
    draft d = draft_of(&w);
    for (int i = 0; i < 4; i++) draft_add(&d, "k", "{}");
    assert_int_equal(kit_send_one(k->a, &d), MOON_OK);
    before = (writer){.run = "r1", .seq = 3};
    memcpy(before.hash, d.records[1].hash, MOON_HASH_SIZE);
    raw(k->place, "UPDATE heads SET seq = 3 WHERE run = 1");
    assert_int_equal(kit_write(kit_b(k), &before, "other", "{}"), MOON_ECORRUPT);
    assert_non_null(strstr(k->error.text, "past its last"));
    assert_int_equal(raw(k->place, "SELECT seq FROM heads"), 3);
    assert_int_equal(raw_records(k->place, "SELECT count(*) FROM records", false), 5);
}

/* Rows are cut where they are long, and read from any place. */
static void test_journal_sqlite__a_long_append_is_read_from_any_record(void **state) {
    store_kit *k = *state;
    enum { N = 300 };
    static moon_record records[N];
    static char bodies[N][1000];
    writer w = kit_create(k->a, "r1");
    const unsigned char *before = w.hash;
    for (int i = 0; i < N; i++) {
        memset(bodies[i], 'a' + i % 26, sizeof bodies[i]);
        records[i] = (moon_record){
            .seq = 2 + (uint64_t)i, .path = "", .key = "", .body = bodies[i], .body_length = sizeof bodies[i]};
        moon__record_seal(&records[i], before);
        before = records[i].hash;
    }
    moon_append a = {.run = "r1", .expected = 1, .records = records, .n_records = N};
    assert_int_equal(k->ops->append(k->a, &a, 1, NULL), MOON_OK);
    assert_int_equal(a.status, MOON_OK);
    assert_in_range(raw(k->place, "SELECT count(*) FROM records"), 5, 8);
    for (uint64_t seq = 2; seq < N + 2; seq += 7)
        assert_int_equal(k->ops->read(k->a, "r1", seq, seq, store_on_record, &records[seq - 2], NULL), MOON_OK);
    kit_expect_sound(k->a);
}

/* All that can be read, in one text; an error ends a run's part. */
static bool print_all(void *ctx, const moon_record *r) {
    char hash[MOON__HASH_TEXT];
    moon__hash_text(hash, r->hash);
    moon__buf_printf(ctx, "%d:%lld:%s:%s", (int)r->type, (long long)r->time_us, r->path, hash);
    return kit_print(ctx, r);
}

static uint64_t next_random(uint64_t *seed) {
    *seed = *seed * UINT64_C(6364136223846793005) + 1442695040888963407;
    return *seed >> 33;
}

static void test_journal_sqlite__a_flipped_bit_is_never_read_as_something_else(void **state) {
    store_kit *k = *state;
    static const char *const runs[] = {"r1", "r2", "fork"};
    moon__buf want[3], got;
    size_t n;
    uint64_t seed = 7;
    unsigned told = 0;
    fill(k);
    moon__buf_init(&got, 1 << 20);
    for (int i = 0; i < 3; i++) {
        moon__buf_init(&want[i], 1 << 20);
        assert_int_equal(k->ops->read(k->a, runs[i], 1, 0, print_all, &want[i], NULL), MOON_OK);
    }
    kit_close(k);
    raw(k->place, "PRAGMA wal_checkpoint(TRUNCATE)");
    char *bytes = slurp(k->place, &n);
    for (int round = 0; round < 400; round++) {
        moon_store *store = NULL;
        size_t at = next_random(&seed) % n;
        unlink(kit_path(k, "journal-wal"));
        unlink(kit_path(k, "journal-shm"));
        bytes[at] ^= (char)(1 << round % 8);
        spew(k->place, bytes, n);
        bytes[at] ^= (char)(1 << round % 8);
        if (k->ops->open(&store, k->place, NULL)) {
            told++;
            continue;
        }
        for (int i = 0; i < 3; i++) {
            moon__buf_reset(&got);
            if (k->ops->read(store, runs[i], 1, 0, print_all, &got, NULL))
                told++;
            else if (got.len != want[i].len || memcmp(got.p, want[i].p, got.len) != 0)
                fail_msg("byte %zu: %s is read as %.*s", at, runs[i], (int)got.len, got.p);
        }
        kit_faults faults = {0};
        (void)k->ops->check(store, kit_on_fault, &faults, NULL);
        k->ops->close(store);
    }
    assert_in_range(told, 20, 1200); /* most hit what is not used */
    for (int i = 0; i < 3; i++) moon__buf_fini(&want[i]);
    moon__buf_fini(&got);
    free(bytes);
}

static void test_journal_sqlite__a_cut_log_holds_what_was_before_the_cut(void **state) {
    store_kit *k = *state;
    size_t n_file, n_log, most = 0;
    writer w = kit_create(k->a, "r1");
    for (int i = 0; i < 6; i++) assert_int_equal(kit_write(k->a, &w, "k", "{}"), MOON_OK);
    char *file = slurp(k->place, &n_file), *log = slurp(kit_path(k, "journal-wal"), &n_log);
    kit_close(k);
    for (size_t cut = 0; cut <= n_log; cut += cut + 997 < n_log ? 997 : n_log - cut ? n_log - cut : 1) {
        moon__buf got;
        moon__buf_init(&got, 1 << 20);
        unlink(kit_path(k, "journal-shm"));
        spew(k->place, file, n_file);
        spew(kit_path(k, "journal-wal"), log, cut);
        moon_store *store = kit_open(k);
        moon_status status = k->ops->read(store, "r1", 1, 0, kit_print, &got, NULL);
        assert_true(status == MOON_OK || (status == MOON_ENOTFOUND && most == 0));
        assert_true(got.len >= most &&
                    strncmp("1::{} 2:k:{} 3:k:{} 4:k:{} 5:k:{} 6:k:{} 7:k:{} ", got.len ? got.p : "", got.len) == 0);
        most = got.len;
        kit_expect_sound(store);
        k->ops->close(store);
        moon__buf_fini(&got);
    }
    assert_int_equal(most, strlen("1::{} 2:k:{} 3:k:{} 4:k:{} 5:k:{} 6:k:{} 7:k:{} "));
    free(file);
    free(log);
}

/* ---- files that are not a journal of ours ---- */

static moon_status try_open(store_kit *k, const char *path) {
    moon_store *store = NULL;
    moon_status status = k->ops->open(&store, path, &k->error);
    if (!status) k->ops->close(store);
    return status;
}

static void test_journal_sqlite__another_format_is_refused(void **state) {
    store_kit *k = *state;
    kit_create(k->a, "r1");
    kit_close(k);
    raw(k->place, "PRAGMA user_version = 3");
    assert_int_equal(try_open(k, k->place), MOON_EUNSUPPORTED);
    assert_non_null(strstr(k->error.text, "format 3"));
    assert_non_null(strstr(k->error.text, "newer"));
    raw(k->place, "PRAGMA user_version = 0"); /* tables, and no format */
    assert_int_equal(try_open(k, k->place), MOON_EUNSUPPORTED);
    raw(k->place, "PRAGMA user_version = 2");
    assert_int_equal(try_open(k, k->place), MOON_OK);
}

static void test_journal_sqlite__other_files_are_refused_and_left_as_they_are(void **state) {
    store_kit *k = *state;
    static const char text[] = "once upon a time there was a file that was no database at all, and it was long enough "
                               "to hold the header of one, a hundred bytes";
    const char *path = kit_path(k, "other");
    static const struct {
        const char *label, *sql; /* NULL: text */
        size_t length;           /* 0: all of it */
        moon_status want;
    } rows[] = {
        {"another program's", "CREATE TABLE notes(text)", 0, MOON_EINVAL},
        {"another program's, of WAL mode", "PRAGMA journal_mode = WAL; CREATE TABLE notes(text)", 0, MOON_EINVAL},
        {"another program's, empty", "PRAGMA application_id = 5", 0, MOON_EINVAL},
        {"another program's, versioned", "PRAGMA user_version = 5", 0, MOON_EINVAL},
        {"another program's, cut", "CREATE TABLE notes(text); CREATE TABLE more(text)", 5000, MOON_ECORRUPT},
        {"text", NULL, 0, MOON_ECORRUPT},
        {"a few bytes", NULL, 10, MOON_ECORRUPT},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        size_t n, again;
        if (rows[i].sql)
            raw(path, rows[i].sql);
        else
            spew(path, text, sizeof text);
        char *before = slurp(path, &n);
        if (rows[i].length) {
            n = rows[i].length;
            spew(path, before, n);
        }
        moon_status status = try_open(k, path);
        if (status != rows[i].want) fail_msg("%s: %d, %s", rows[i].label, status, k->error.text);
        char *after = slurp(path, &again);
        assert_int_equal(n, again);
        assert_memory_equal(before, after, n);
        free(before);
        free(after);
        unlink(path);
        unlink(kit_path(k, "other-wal"));
        unlink(kit_path(k, "other-shm"));
    }
}

static void test_journal_sqlite__an_empty_file_becomes_a_journal(void **state) {
    store_kit *k = *state;
    spew(kit_path(k, "other"), "", 0);
    assert_int_equal(try_open(k, kit_path(k, "other")), MOON_OK);
    assert_int_equal(try_open(k, kit_path(k, "other")), MOON_OK);
}

static void test_journal_sqlite__places_that_are_no_files_are_refused(void **state) {
    store_kit *k = *state;
    assert_int_equal(try_open(k, kit_path(k, "no/such/folder")), MOON_EIO);
    assert_non_null(strstr(k->error.text, "No such file"));
    assert_int_equal(k->error.cause, ENOENT);
    assert_int_equal(try_open(k, k->dir), MOON_EIO);
    unlink(strcat(strcpy((char[128]){0}, k->dir), "-lock"));
    assert_int_equal(symlink("gone", kit_path(k, "dangling")), 0);
    assert_int_equal(try_open(k, kit_path(k, "dangling")), MOON_EIO);
    assert_int_equal(access(kit_path(k, "gone"), F_OK), -1);
}

/* Whoever may not write is told so. Root may everywhere, so that somebody else tries. */
static void test_journal_sqlite__a_folder_that_is_read_only(void **state) {
    store_kit *k = *state;
    kit_create(k->a, "r1");
    kit_close(k);
    assert_int_equal(chmod(k->dir, 0555) | chmod(k->place, 0444) | chmod(kit_path(k, "journal-lock"), 0444), 0);
    pid_t child = fork();
    if (child == 0) {
        if (geteuid() == 0 && setresuid(65534, 65534, 65534) != 0) _exit(9);
        bool told = try_open(k, k->place) == MOON_EIO && strstr(k->error.text, "denied") != NULL;
        told = told && try_open(k, kit_path(k, "new")) == MOON_EIO && strstr(k->error.text, "denied") != NULL;
        _exit(told ? 0 : 1);
    }
    int how = 0;
    assert_int_equal(waitpid(child, &how, 0), child);
    assert_int_equal(how, 0);
    assert_int_equal(chmod(k->dir, 0700), 0);
}

/* ---- files ---- */

static void test_journal_sqlite__files_are_their_owner_s(void **state) {
    (void)state;
    mode_t mask = umask(0);
    store_kit *k = kit_new(&moon_store_sqlite);
    kit_create(k->a, "r1");
    static const char *const names[] = {"journal", "journal-wal", "journal-shm", "journal-lock"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct stat st;
        assert_int_equal(stat(kit_path(k, names[i]), &st), 0);
        if ((st.st_mode & 07777) != 0600) fail_msg("%s has mode %o", names[i], st.st_mode & 07777);
    }
    umask(mask);
    kit_free(k);
}

static void test_journal_sqlite__all_names_of_a_file_have_one_lock(void **state) {
    store_kit *k = *state;
    kit_create(k->a, "r1");
    assert_int_equal(symlink("journal", kit_path(k, "link")), 0);
    moon_store *store = NULL;
    assert_int_equal(k->ops->open(&store, kit_path(k, "link"), NULL), MOON_OK);
    assert_int_equal(k->ops->claim(store, "r1", NULL), MOON_EBUSY);
    assert_int_equal(access(kit_path(k, "link-lock"), F_OK), -1);
    k->ops->close(store);
}

static void test_journal_sqlite__opening_it_again_gives_up_no_lock(void **state) {
    store_kit *k = *state;
    writer w = kit_create(k->a, "r1");
    kit_b(k);
    k->ops->close(k->b);
    k->b = NULL;
    order('q', k->place); /* SQLite removes the log when it takes itself for the last one */
    assert_int_equal(access(kit_path(k, "journal-wal"), F_OK), 0);
    assert_int_equal(kit_write(k->a, &w, "k", "{}"), MOON_OK);
    order('q', k->place);
    kit_expect(kit_b(k), "r1", 1, 0, "1::{} 2:k:{} ");
}

static void test_journal_sqlite__who_waits_for_a_lock_in_vain_is_told(void **state) {
    store_kit *k = *state;
    moon_error error = {0};
    writer w = kit_create(k->a, "r1");
    order('l', kit_path(k, "journal-lock"));
    k->a->lock_wait_ms = 50;
    assert_int_equal(kit_write(k->a, &w, "k", "{}"), MOON_EBUSY);
    assert_non_null(strstr(k->error.text, "locked by another process"));
    assert_int_equal(k->ops->post(k->a, "r1", "o", "1", 1, &error), MOON_EBUSY);
    k->ops->release(k->a, "r1");
    assert_int_equal(k->ops->purge(k->a, "r1", &error), MOON_EBUSY);
    assert_non_null(strstr(error.text, "locked by another process"));
    kit_expect(k->a, "r1", 1, 0, "1::{} "); /* reading waits for nobody */
    order('u', "");
    assert_int_equal(kit_write(k->a, &w, "k", "{}"), MOON_OK);
    kit_expect(k->a, "r1", 1, 0, "1::{} 2:k:{} ");
}

/* The last one that needs the helper. */
static void test_journal_sqlite__the_dead_hold_no_locks(void **state) {
    store_kit *k = *state;
    writer w = kit_create(k->a, "r1");
    order('l', kit_path(k, "journal-lock"));
    end_helper(SIGKILL);
    k->a->lock_wait_ms = 50;
    assert_int_equal(kit_write(k->a, &w, "k", "{}"), MOON_OK);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(test_journal_sqlite__##name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        STORE_SUITE(set_up, tear_down),
        T(equal_large_bodies_are_stored_once),
        T(what_is_too_large_is_refused_alone),
        T(the_log_is_copied_back_and_begun_again),
        T(a_number_is_given_once),
        T(a_creation_that_cannot_be_claimed_leaves_nothing),
        cmocka_unit_test(test_journal_sqlite__damage_is_told),
        T(damage_is_told_by_who_reads_from_it_on),
        T(nothing_is_appended_over_records),
        T(nothing_is_appended_over_a_part_of_a_row),
        T(a_long_append_is_read_from_any_record),
        T(a_flipped_bit_is_never_read_as_something_else),
        T(a_cut_log_holds_what_was_before_the_cut),
        T(another_format_is_refused),
        T(other_files_are_refused_and_left_as_they_are),
        T(an_empty_file_becomes_a_journal),
        T(places_that_are_no_files_are_refused),
        T(a_folder_that_is_read_only),
        cmocka_unit_test(test_journal_sqlite__files_are_their_owner_s),
        T(all_names_of_a_file_have_one_lock),
        T(opening_it_again_gives_up_no_lock),
        T(who_waits_for_a_lock_in_vain_is_told),
        T(the_dead_hold_no_locks),
    };
    start_helper();
    shim_install();
    shim_hook(shim_without_syncs, NULL);
    int failed = cmocka_run_group_tests_name("sqlite", tests, NULL, NULL);
    end_helper(0);
    return failed;
}
