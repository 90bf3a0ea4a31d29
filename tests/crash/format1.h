/* SPDX-License-Identifier: MIT */
#ifndef MOON_TEST_FORMAT1_H
#define MOON_TEST_FORMAT1_H
/* Makes a journal of format 1, where a record is a row, of one of format 2 that nobody has open. */
#include "rows.h"

static inline void format1_make(const char *place) {
    static const char sql[] =
        "BEGIN; DROP TABLE main.records; CREATE TABLE main.records(id INTEGER PRIMARY KEY, run INTEGER NOT NULL, seq "
        "INTEGER NOT NULL, type INTEGER NOT NULL, time_us INTEGER NOT NULL, path TEXT NOT NULL, key TEXT NOT NULL, "
        "hash BLOB NOT NULL, body TEXT, blob BLOB); CREATE UNIQUE INDEX main.records_seq ON records(run, seq); INSERT "
        "INTO main.records SELECT NULL, run, seq, type, time_us, path, key, hash, body, blob FROM temp.one ORDER BY "
        "row, seq; PRAGMA user_version = 1; COMMIT";
    sqlite3 *db;
    if (sqlite3_open(place, &db) != SQLITE_OK) rows_fail(db, place);
    sqlite3_busy_timeout(db, 5000);
    rows_open(db, "main", "one");
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK) rows_fail(db, sql);
    if (sqlite3_close(db) != SQLITE_OK) rows_fail(db, "close");
}
#endif
