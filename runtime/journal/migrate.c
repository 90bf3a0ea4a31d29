/* SPDX-License-Identifier: MIT */
/*
 * From format 1 to 2. In format 1 a record was a row of its own:
 *
 *     records(id, run, seq, type, time_us, path, key, hash, body, blob), and an index records_seq on (run, seq)
 *
 * where blob is the hash of a body that stands in blobs. All other tables were what they are. Which records were of one
 * append is not known any more: those that follow on each other are packed into rows of ROW_BYTES.
 *
 * Each record is held against its hash. Hashes are carried over as they stand, and so is a record that does not fit its
 * own: whoever reads that run is refused as before, and all others can be used. That nothing is read of the pages is
 * another matter: then nothing is changed.
 */
#include "migrate.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "record.h"

enum { PATIENCE_MS = 1000 }; /* what takes longer is told */

static const char begin_sql[] = "ALTER TABLE records RENAME TO records_1; " MOON__SQLITE_RECORDS;
/* Emptied first: what drops a table that is full holds all of it in memory, to be able to take it back alone. */
static const char end_sql[] = "DELETE FROM records_1; DROP TABLE records_1; PRAGMA user_version=2";
/* By the index, not sorted: that would take memory for all of it. */
static const char scan_sql[] = "SELECT run, seq, type, time_us, path, key, hash, body, blob FROM records_1 INDEXED BY "
                               "records_seq ORDER BY run, seq";
static const char body_sql[] = "SELECT bytes FROM blobs WHERE hash = ?1";
/* The hash of record ?2 of run ?1, which may be one of a run that it was forked from. */
static const char hash_sql[] =
    "WITH RECURSIVE line(id, depth) AS (SELECT ?1, 0 UNION ALL SELECT r.base, depth + 1 FROM line JOIN runs r ON r.id "
    "= line.id WHERE r.base IS NOT NULL AND r.base_at >= ?2 AND depth < 1000) SELECT c.hash FROM line JOIN records_1 c "
    "ON c.run = line.id AND c.seq = ?2 ORDER BY depth LIMIT 1";

typedef struct migration {
    moon_store *store;
    moon_error *error;
    sqlite3_stmt *scan, *body, *hash;
    int64_t runs, done; /* how many; done with the one that is being packed */
    int64_t records, damaged;
    int64_t run; /* that is being packed: its number, and the row in the making */
    uint64_t first, n;
    bool whole; /* its records fit so far */
    unsigned char before[MOON_HASH_SIZE];
    int64_t began_ms, tell_ms; /* tell_ms: when to tell next how far it is */
} migration;

static moon_status fail(migration *m, const char *what) {
    return moon__sql_fail(m->store, what, m->error);
}

static moon_status execute(migration *m, const char *sql) {
    return sqlite3_exec(m->store->db, sql, NULL, NULL, NULL) == SQLITE_OK ? MOON_OK
                                                                          : fail(m, "cannot be brought to format 2");
}

/* ---- telling ---- */

static int64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* After a second, and then ever more rarely. */
static void tell_progress(migration *m) {
    char text[200];
    int64_t now = now_ms();
    if (!m->store->tell || now < m->tell_ms) return;
    m->tell_ms = now + (now - m->began_ms);
    snprintf(text, sizeof text, "the journal is being brought to format 2: %" PRId64 " of %" PRId64 " runs", m->done,
             m->runs);
    m->store->tell(m->store->tell_ctx, text);
}

static void tell_end(const migration *m) {
    char text[200];
    if (!m->store->tell) return;
    if (m->tell_ms > m->began_ms + PATIENCE_MS)
        m->store->tell(m->store->tell_ctx, "the journal is brought to format 2");
    if (!m->damaged) return;
    snprintf(text, sizeof text,
             "the journal was damaged before it was brought to format 2: %" PRId64
             " of its runs; `moonlet runs --check` tells more",
             m->damaged);
    m->store->tell(m->store->tell_ctx, text);
}

/* ---- a record ---- */

static const char *text_at(sqlite3_stmt *s, int column) {
    const char *text = (const char *)sqlite3_column_text(s, column);
    return text ? text : "";
}

static bool hash_at(sqlite3_stmt *s, int column, unsigned char hash[MOON_HASH_SIZE]) {
    bool fits = sqlite3_column_bytes(s, column) == MOON_HASH_SIZE;
    if (fits) memcpy(hash, sqlite3_column_blob(s, column), MOON_HASH_SIZE);
    return fits;
}

/* A body that is kept apart; of one that is lost, none, and a length that says where it should be. */
static moon_status find_body(migration *m, moon_record *record) {
    record->body_length = MOON__RECORD_INLINE + 1;
    sqlite3_reset(m->body);
    sqlite3_bind_blob(m->body, 1, record->body_hash, MOON_HASH_SIZE, SQLITE_TRANSIENT);
    int code = sqlite3_step(m->body);
    if (code == SQLITE_DONE) return MOON_OK;
    if (code != SQLITE_ROW) return fail(m, "cannot be read");
    size_t n = (size_t)sqlite3_column_bytes(m->body, 0);
    const char *bytes = sqlite3_column_blob(m->body, 0);
    if (n && !bytes) return fail(m, "cannot be read");
    if (n <= MOON__RECORD_INLINE) return MOON_OK; /* it is not the one */
    record->body = bytes;
    record->body_length = n;
    return MOON_OK;
}

/* The record that the scan stands on. What its row cannot say is left empty, and fits no hash. */
static moon_status take_record(migration *m, moon_record *record) {
    sqlite3_stmt *s = m->scan;
    *record = (moon_record){.seq = (uint64_t)sqlite3_column_int64(s, 1),
                            .type = (moon_event_type)sqlite3_column_int(s, 2),
                            .time_us = sqlite3_column_int64(s, 3),
                            .path = text_at(s, 4),
                            .key = text_at(s, 5),
                            .body = text_at(s, 7),
                            .body_length = (size_t)sqlite3_column_bytes(s, 7)};
    bool kept = hash_at(s, 6, record->hash), apart = sqlite3_column_type(s, 8) != SQLITE_NULL;
    if (apart) {
        record->body = NULL;
        kept = hash_at(s, 8, record->body_hash) && kept;
    }
    if (sqlite3_errcode(m->store->db) == SQLITE_NOMEM) return fail(m, "cannot be read");
    moon_status status = apart ? find_body(m, record) : MOON_OK;
    kept = kept && record->body && apart == (record->body_length > MOON__RECORD_INLINE);
    if (!status && m->whole) m->whole = kept && moon__record_sound(record, m->before);
    memcpy(m->before, record->hash, MOON_HASH_SIZE);
    return status;
}

/* ---- a run ---- */

static moon_status end_row(migration *m) {
    moon_status status = m->n ? moon__sqlite_add_row(m->store, m->run, m->first, m->n, m->error) : MOON_OK;
    moon__buf_reset(&m->store->packed);
    m->n = 0;
    tell_progress(m);
    return status;
}

static moon_status end_run(migration *m) {
    moon_status status = end_row(m);
    if (!m->run) return status;
    m->done++;
    if (!m->whole) m->damaged++;
    return status;
}

/* Its first record has this seq: the hash before it is the one of the run that it was forked from. */
static moon_status begin_run(migration *m, int64_t run, uint64_t seq) {
    m->run = run;
    m->whole = true;
    memset(m->before, 0, MOON_HASH_SIZE);
    if (seq == 1) return MOON_OK;
    sqlite3_reset(m->hash);
    sqlite3_bind_int64(m->hash, 1, run);
    sqlite3_bind_int64(m->hash, 2, (int64_t)seq - 1);
    int code = sqlite3_step(m->hash);
    m->whole = code == SQLITE_ROW && hash_at(m->hash, 0, m->before);
    return code == SQLITE_ROW || code == SQLITE_DONE ? MOON_OK : fail(m, "cannot be read");
}

static moon_status out_of_order(migration *m) {
    return moon_error_set(m->error, MOON_ECORRUPT,
                          "journal %.200s is damaged: its records are not in their order; it is left in format 1",
                          m->store->place);
}

/* Puts the record that the scan stands on where it belongs. A walk over damaged pages may come to the same rows for
 * ever. */
static moon_status one_record(migration *m) {
    moon_status status = MOON_OK;
    moon_record record;
    int64_t run = sqlite3_column_int64(m->scan, 0);
    uint64_t seq = (uint64_t)sqlite3_column_int64(m->scan, 1), next = m->first + m->n;
    bool same = m->records++ && run == m->run;
    if (m->records > 1 && (run < m->run || (same && (int64_t)seq < (int64_t)next))) return out_of_order(m);
    if (same && seq != next) m->whole = false; /* one is missing */
    if (!same || seq != next || m->store->packed.len >= MOON__SQLITE_ROW_BYTES) {
        status = same ? end_row(m) : end_run(m);
        m->first = seq;
    }
    if (!status && !same) status = begin_run(m, run, seq);
    if (!status) status = take_record(m, &record);
    if (!status) status = moon__sqlite_pack(m->store, &record, m->error);
    m->n++;
    return status;
}

/* ---- all of it ---- */

static moon_status prepare(migration *m) {
    const struct {
        sqlite3_stmt **s;
        const char *sql;
    } rows[] = {{&m->scan, scan_sql}, {&m->body, body_sql}, {&m->hash, hash_sql}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (sqlite3_prepare_v2(m->store->db, rows[i].sql, -1, rows[i].s, NULL) != SQLITE_OK)
            return fail(m, "cannot be brought to format 2");
    m->runs = moon__sqlite_number(m->store, "SELECT count(*) FROM runs");
    return m->runs < 0 ? fail(m, "cannot be read") : MOON_OK;
}

/* What the index does not lead to is not lost. */
static moon_status check_count(migration *m) {
    int64_t there = moon__sqlite_number(m->store, "SELECT count(*) FROM records_1 NOT INDEXED");
    if (there < 0) return fail(m, "cannot be read");
    return there == m->records ? MOON_OK : out_of_order(m);
}

static moon_status pack_all(migration *m) {
    moon_status status = prepare(m);
    int code = SQLITE_DONE;
    moon__buf_reset(&m->store->packed);
    while (!status && (code = sqlite3_step(m->scan)) == SQLITE_ROW) status = one_record(m);
    if (!status && code != SQLITE_DONE) status = fail(m, "cannot be read");
    if (!status) status = end_run(m);
    sqlite3_finalize(m->scan);
    sqlite3_finalize(m->body);
    sqlite3_finalize(m->hash);
    return status ? status : check_count(m);
}

/* Nobody drives a run: its program would find another file than it knows, in the midst of it. Nor begins to. */
static moon_status keep_others_out(migration *m) {
    int64_t first = moon__sqlite_claim_byte(0), byte = first;
    char run[64] = "", sql[80];
    moon_status status = moon__lockfile_lock_from(&m->store->locks, &byte);
    if (!status) return MOON_OK;
    if (status != MOON_EBUSY)
        return moon_error_set(m->error, status, "journal %.200s cannot be locked", m->store->place);
    sqlite3_stmt *s = NULL;
    snprintf(sql, sizeof sql, "SELECT run FROM runs WHERE id = %" PRId64, byte - first);
    if (sqlite3_prepare_v2(m->store->db, sql, -1, &s, NULL) == SQLITE_OK && sqlite3_step(s) == SQLITE_ROW)
        snprintf(run, sizeof run, "%s ", text_at(s, 0));
    sqlite3_finalize(s);
    return moon_error_set(m->error, status,
                          "journal %.200s has format 1 and is brought to format 2 when nobody drives a run of it: wait "
                          "until the process that drives run %sends, or end it",
                          m->store->place, run);
}

static moon_status migrate(migration *m) {
    moon_status status = keep_others_out(m);
    if (status) return status;
    status = execute(m, begin_sql);
    if (!status) status = pack_all(m);
    if (!status) status = execute(m, end_sql);
    return status;
}

static moon_status ask_format(moon_store *store, int64_t *format, moon_error *error) {
    *format = moon__sqlite_number(store, "PRAGMA user_version");
    return *format < 0 ? moon__sql_fail(store, "cannot be opened", error) : MOON_OK;
}

moon_status moon__sqlite_migrate(moon_store *store, moon_error *error) {
    migration m = {.store = store, .error = error, .began_ms = now_ms()};
    int64_t format = 0;
    m.tell_ms = m.began_ms + PATIENCE_MS;
    moon_status status = ask_format(store, &format, error);
    if (status || format != 1) return status;
    status = moon__sqlite_begin(store, error);
    if (status) return status;
    status = ask_format(store, &format, error); /* or has somebody else done it meanwhile? */
    if (!status && format == 1) status = migrate(&m);
    if (status)
        moon__sqlite_rollback(store);
    else
        status = moon__sqlite_commit(store, error);
    moon__lockfile_unlock_from(&store->locks, moon__sqlite_claim_byte(0));
    if (!status && format == 1) tell_end(&m);
    return status;
}
