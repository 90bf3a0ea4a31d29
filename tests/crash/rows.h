/* SPDX-License-Identifier: MIT */
#ifndef MOON_TEST_ROWS_H
#define MOON_TEST_ROWS_H
/*
 * The records of a journal as a table with a row for each, for tests that ask SQL about them or do damage with it. It
 * knows the store's rows from pack.h alone, and reads what is there, sound or not.
 *
 *     rows_open(db, "main", "records");      TEMP TABLE records(run, seq, type, time_us, path, key, hash, body, blob,
 * …) … SQL on it … rows_save(db, "main", "records");      the store's rows are made from it again
 */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pack.h"

static inline void rows_fail(sqlite3 *db, const char *what) {
    fprintf(stderr, "rows: %s: %s\n", what, sqlite3_errmsg(db));
    abort();
}

static inline sqlite3_stmt *rows_prepare(sqlite3 *db, const char *format, const char *name) {
    char sql[400];
    sqlite3_stmt *s;
    snprintf(sql, sizeof sql, format, name);
    if (sqlite3_prepare_v2(db, sql, -1, &s, NULL) != SQLITE_OK) rows_fail(db, sql);
    return s;
}

static inline void rows_step(sqlite3 *db, sqlite3_stmt *s) {
    if (sqlite3_step(s) != SQLITE_DONE) rows_fail(db, "step");
    sqlite3_reset(s);
    sqlite3_clear_bindings(s);
}

static inline void rows_run(sqlite3 *db, const char *format, const char *name) {
    sqlite3_stmt *s = rows_prepare(db, format, name);
    rows_step(db, s);
    sqlite3_finalize(s);
}

static inline void rows_add(sqlite3 *db, sqlite3_stmt *add, const moon_record *r) {
    sqlite3_bind_int64(add, 3, (sqlite3_int64)r->seq);
    sqlite3_bind_int(add, 4, (int)r->type);
    sqlite3_bind_int64(add, 5, r->time_us);
    sqlite3_bind_text(add, 6, r->path, -1, SQLITE_STATIC);
    sqlite3_bind_text(add, 7, r->key, -1, SQLITE_STATIC);
    sqlite3_bind_blob(add, 8, r->hash, MOON_HASH_SIZE, SQLITE_STATIC);
    if (r->body)
        sqlite3_bind_text(add, 9, r->body, (int)r->body_length, SQLITE_STATIC);
    else
        sqlite3_bind_blob(add, 10, r->body_hash, MOON_HASH_SIZE, SQLITE_STATIC);
    sqlite3_bind_int64(add, 11, (sqlite3_int64)r->body_length);
    rows_step(db, add);
}

/* row: which of the store's rows it stood in; length: of the body, wherever it is. */
static inline void rows_open(sqlite3 *db, const char *schema, const char *table) {
    rows_run(db, "CREATE TEMP TABLE %s(row, run, seq, type, time_us, path, key, hash, body, blob, length)", table);
    sqlite3_stmt *rows = rows_prepare(db, "SELECT id, run, first, last, data FROM %s.records ORDER BY id", schema);
    sqlite3_stmt *add =
        rows_prepare(db, "INSERT INTO temp.%s VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)", table);
    while (sqlite3_step(rows) == SQLITE_ROW) {
        const unsigned char *data = sqlite3_column_blob(rows, 4);
        moon__packed bytes = {data, data ? data + sqlite3_column_bytes(rows, 4) : data};
        moon_record r;
        for (sqlite3_int64 seq = sqlite3_column_int64(rows, 2); moon__unpack(&bytes, &r); seq++) {
            sqlite3_bind_value(add, 1, sqlite3_column_value(rows, 0));
            sqlite3_bind_value(add, 2, sqlite3_column_value(rows, 1));
            r.seq = (uint64_t)seq;
            rows_add(db, add, &r);
        }
    }
    sqlite3_finalize(rows);
    sqlite3_finalize(add);
}

static inline moon_record rows_record(sqlite3_stmt *s) {
    moon_record r = {.seq = (uint64_t)sqlite3_column_int64(s, 2),
                     .type = (moon_event_type)sqlite3_column_int(s, 3),
                     .time_us = sqlite3_column_int64(s, 4),
                     .path = (const char *)sqlite3_column_text(s, 5),
                     .key = (const char *)sqlite3_column_text(s, 6)};
    if (sqlite3_column_bytes(s, 7) == MOON_HASH_SIZE) memcpy(r.hash, sqlite3_column_blob(s, 7), MOON_HASH_SIZE);
    bool apart = sqlite3_column_type(s, 9) != SQLITE_NULL;
    if (apart) memcpy(r.body_hash, sqlite3_column_blob(s, 9), MOON_HASH_SIZE);
    r.body_length = (size_t)(apart ? sqlite3_column_int64(s, 10) : sqlite3_column_bytes(s, 8));
    r.body = apart ? NULL : (const char *)sqlite3_column_text(s, 8);
    return r;
}

/* Records that stood in one row and still follow on each other stand in one again. */
static inline void rows_save(sqlite3 *db, const char *schema, const char *table) {
    rows_run(db, "DELETE FROM %s.records", schema);
    sqlite3_stmt *all = rows_prepare(db, "SELECT * FROM temp.%s ORDER BY run, seq", table);
    sqlite3_stmt *add =
        rows_prepare(db, "INSERT INTO %s.records(run, first, last, data) VALUES(?1, ?2, ?3, ?4)", schema);
    sqlite3_int64 row = -1, run = -1, first = 0, last = 0;
    unsigned char *data = NULL;
    size_t n = 0;
    for (bool more = true; more;) {
        more = sqlite3_step(all) == SQLITE_ROW;
        moon_record r = {0};
        if (more) r = rows_record(all);
        bool follows = more && n && sqlite3_column_int64(all, 0) == row && sqlite3_column_int64(all, 1) == run &&
                       (sqlite3_int64)r.seq == last + 1;
        if (n && !follows) {
            sqlite3_bind_int64(add, 1, run);
            sqlite3_bind_int64(add, 2, first);
            sqlite3_bind_int64(add, 3, last);
            sqlite3_bind_blob(add, 4, data, (int)n, SQLITE_TRANSIENT);
            rows_step(db, add);
            n = 0;
        }
        if (!more) break;
        if (!n) first = (sqlite3_int64)r.seq;
        row = sqlite3_column_int64(all, 0);
        run = sqlite3_column_int64(all, 1);
        last = (sqlite3_int64)r.seq;
        unsigned char *grown = realloc(data, n + moon__pack_room(&r));
        if (!grown) abort();
        data = grown;
        n = (size_t)(moon__pack(data + n, &r) - data);
    }
    free(data);
    sqlite3_finalize(all);
    sqlite3_finalize(add);
}
#endif
