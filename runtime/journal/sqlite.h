/* SPDX-License-Identifier: MIT */
#ifndef MOON_JOURNAL_SQLITE_H
#define MOON_JOURNAL_SQLITE_H
/* What the files of the SQLite store share: one connection, its statements, the lock file beside it. */
#include "buf.h"
#include "lockfile.h"
#include <moonlet/extend.h>
#include <sqlite3.h>

/* A row of records holds those of one append, or some of them (pack.h): what a row costs is paid once for all that came
 * together. */
#define MOON__SQLITE_RECORDS                                                                                           \
    "CREATE TABLE records(id INTEGER PRIMARY KEY, run INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT "     \
    "NULL, data BLOB NOT NULL);"                                                                                       \
    "CREATE UNIQUE INDEX records_first ON records(run, first);"

#define MOON__LIST                                                                                                     \
    "SELECT r.run, r.name, r.script, r.workspace, r.input, r.stop, r.state, r.resumable, r.created_us, r.updated_us, " \
    "r.steps, r.tool_calls, r.tokens, r.usd, coalesce(b.run, ''), r.base_at, r.id FROM runs r LEFT JOIN runs b ON "    \
    "b.id = r.base WHERE "
#define MOON__LISTED                                                                                                   \
    " AND (?2 IS NULL OR r.workspace = ?2) AND (?3 < 0 OR r.state = ?3) AND r.updated_us >= ?4 ORDER BY r.updated_us " \
    "DESC, r.id DESC LIMIT ?5"

#define MOON__SQL(X)                                                                                                   \
    X(RUN, "SELECT r.id, h.seq, r.base, r.base_at FROM runs r LEFT JOIN heads h ON h.run = r.id WHERE r.run = ?1")     \
    X(RUN_LAST, "SELECT coalesce(max(id), 0) FROM runs")                                                               \
    X(RUN_CREATE, "INSERT INTO runs(run, name, script, workspace, input, stop, state, resumable, created_us, "         \
                  "updated_us, steps, tool_calls, tokens, usd, base, base_at) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, " \
                  "?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)")                                                            \
    X(RUN_UPDATE, "UPDATE runs SET name = coalesce(?2, name), script = coalesce(?3, script), workspace = "             \
                  "coalesce(?4, workspace), input = coalesce(?5, input), stop = coalesce(?6, stop), state = ?7, "      \
                  "resumable = ?8, updated_us = ?10, steps = ?11, tool_calls = ?12, tokens = ?13, usd = ?14 "          \
                  "WHERE run = ?1")                                                                                    \
    X(RUN_BASE, "SELECT base, base_at FROM runs WHERE id = ?1")                                                        \
    X(RUN_NEEDED, "SELECT 1 FROM runs WHERE base = ?1")                                                                \
    X(RUN_DROP, "DELETE FROM runs WHERE id = ?1")                                                                      \
    X(HEAD_ADD, "INSERT INTO heads(run, seq) VALUES(?1, ?2)")                                                          \
    X(HEAD_MOVE, "UPDATE heads SET seq = ?3 WHERE run = ?1 AND seq = ?2")                                              \
    X(HEAD_DROP, "DELETE FROM heads WHERE run = ?1")                                                                   \
    X(RECORD_ADD, "INSERT INTO records(run, first, last, data) VALUES(?1, ?2, ?3, ?4)")                                \
    X(RECORD_LAST, "SELECT last FROM records WHERE run = ?1 ORDER BY first DESC LIMIT 1")                              \
    X(RECORD_DROP, "DELETE FROM records WHERE run = ?1")                                                               \
    X(BLOB_ADD, "INSERT INTO blobs(hash, bytes) VALUES(?1, ?2) ON CONFLICT DO NOTHING")                                \
    X(BLOB_USE, "INSERT INTO uses(run, hash) VALUES(?1, ?2) ON CONFLICT DO NOTHING")                                   \
    X(BLOB_GET, "SELECT bytes FROM blobs WHERE hash = ?1")                                                             \
    X(BLOB_UNUSE, "DELETE FROM uses WHERE run = ?1")                                                                   \
    X(BLOB_SWEEP, "DELETE FROM blobs WHERE hash NOT IN (SELECT hash FROM uses)")                                       \
    X(INBOX_ADD, "INSERT INTO inbox(run, once, body) VALUES(?1, ?2, ?3) ON CONFLICT DO NOTHING")                       \
    X(INBOX_LIST, "SELECT once, id, taken FROM inbox WHERE run = ?1 ORDER BY once")                                    \
    X(INBOX_READ, "SELECT body FROM inbox WHERE id = ?1")                                                              \
    X(INBOX_TAKE, "UPDATE inbox SET taken = 1 WHERE id = ?1 AND run = ?2 AND NOT taken")                               \
    X(INBOX_DROP, "DELETE FROM inbox WHERE run = ?1")                                                                  \
    X(TIMER_SET, "INSERT INTO timers(run, key, due_us) VALUES(?1, ?2, ?3) ON CONFLICT DO UPDATE SET due_us = ?3")      \
    X(TIMER_CLEAR, "DELETE FROM timers WHERE run = ?1 AND key = ?2")                                                   \
    X(TIMER_DUE, "SELECT r.run, t.key, t.due_us, t.run FROM timers t LEFT JOIN runs r ON r.id = t.run WHERE t.due_us " \
                 "<= ?1 ORDER BY t.due_us, t.run, t.key LIMIT ?2")                                                     \
    X(TIMER_DROP, "DELETE FROM timers WHERE run = ?1")                                                                 \
    X(LIST, MOON__LIST "?1 IS NULL" MOON__LISTED)                                                                      \
    X(LIST_ONE, MOON__LIST "r.run = ?1" MOON__LISTED)                                                                  \
    X(VERSION, "PRAGMA data_version")                                                                                  \
    X(BEGIN, "BEGIN IMMEDIATE")                                                                                        \
    X(COMMIT, "COMMIT")                                                                                                \
    X(ROLLBACK, "ROLLBACK")                                                                                            \
    X(SAVE, "SAVEPOINT one")                                                                                           \
    X(UNSAVE, "ROLLBACK TO one")                                                                                       \
    X(RELEASE, "RELEASE one")

typedef enum moon__sql {
#define X(name, text) MOON__SQL_##name,
    MOON__SQL(X)
#undef X
        MOON__SQL_COUNT
} moon__sql;

/* Rows of runs that were written lately, so that they are not looked up for each append. One that is gone by now is
 * found out: its number is nobody else's. */
enum { MOON__SQLITE_KNOWN = 4096 };
typedef struct moon__known {
    char run[24];
    int64_t id;
} moon__known;

struct moon_store {
    sqlite3 *db;
    char *place; /* without symbolic links */
    moon__lockfile locks;
    sqlite3_stmt *statements[MOON__SQL_COUNT];
    int wal_pages;      /* at the last commit */
    bool torn;          /* the last commit failed, and may yet be found in the log */
    moon__known *known; /* MOON__SQLITE_KNOWN places, by hash; NULL: no memory for it */
    moon__buf packed;   /* a row of records; kept for its memory */

    int lock_wait_ms, checkpoint_pages; /* set on opening; tests set others */
    void (*tell)(void *ctx, const char *text);
    void *tell_ctx; /* of what takes long; NULL: nobody is told */
};

/* Of a run's row. */
typedef struct moon__row {
    int64_t id;
    uint64_t head; /* seq of its last record */
    int64_t base;  /* the row it was forked from; 0: none */
    uint64_t base_at;
} moon__row;

/* The statement, reset and without bindings; NULL: moon__sql_fail tells why. */
sqlite3_stmt *moon__sql_get(moon_store *store, moon__sql which);
void moon__sql_text(sqlite3_stmt *statement, int at, const char *text); /* borrowed until it is reset; NULL is fine */
/* Fills *error from the connection's last error; returns the status. what begins the text. */
moon_status moon__sql_fail(moon_store *store, const char *what, moon_error *error);
/* Steps a statement (NULL: fails) that gives no row, and resets it. */
MOON_MUST_USE moon_status moon__sql_run(moon_store *store, sqlite3_stmt *statement, const char *what,
                                        moon_error *error);
MOON_MUST_USE moon_status moon__sql_do(moon_store *store, moon__sql which, const char *what, moon_error *error);
/* The number of a run's row, if it is known without looking, else 0; and what is to be known from now on (0: nothing).
 */
int64_t moon__sqlite_known(const moon_store *store, const char *run);
void moon__sqlite_know(moon_store *store, const char *run, int64_t id);
moon_status moon__sqlite_no_run(const moon_store *store, const char *run, moon_error *error); /* MOON_ENOTFOUND */
/* The row of a run; MOON_ENOTFOUND. */
MOON_MUST_USE moon_status moon__sqlite_run(moon_store *store, const char *run, moon__row *row, moon_error *error);

/* The store's writes are made one at a time over all processes, under a lock that is ours. Checkpoints are made within
 * it too: SQLite before 3.51.3 can damage a database when a checkpoint resets the log while another connection
 * commits. */
MOON_MUST_USE moon_status moon__sqlite_begin(moon_store *store, moon_error *error);
/* A commit that has failed is rolled back; unless store->torn, nothing of it is kept. */
MOON_MUST_USE moon_status moon__sqlite_commit(moon_store *store, moon_error *error);
void moon__sqlite_rollback(moon_store *store);

enum { MOON__SQLITE_FORMAT = 2 };           /* of the file, which has it as its user_version */
enum { MOON__SQLITE_BODY_MAX = 200 << 20 }; /* bytes of a body, blob or item */
int64_t moon__sqlite_claim_byte(int64_t run_id);
/* The number that one statement gives; -1: it failed. */
int64_t moon__sqlite_number(moon_store *store, const char *sql);

/* A row of records in the making is store->packed. When it holds ROW_BYTES, another one is begun: one that is read is
 * read whole. */
enum { MOON__SQLITE_ROW_BYTES = 64 << 10 };
MOON_MUST_USE moon_status moon__sqlite_pack(moon_store *store, const moon_record *record, moon_error *error);
/* Stores it, as n records from `first` on. */
MOON_MUST_USE moon_status moon__sqlite_add_row(moon_store *store, int64_t id, uint64_t first, size_t n,
                                               moon_error *error);

/* Gives up our claims on rows that are not there: made, and then taken back. Within a transaction, or before its lock
 * is let go: another one will get these rows' numbers. */
void moon__sqlite_unclaim(moon_store *store);

moon_status moon__sqlite_append(moon_store *store, moon_append *appends, size_t n, moon_error *error);
moon_status moon__sqlite_read(moon_store *store, const char *run, uint64_t from, uint64_t to,
                              bool (*row)(void *ctx, const moon_record *record), void *ctx, moon_error *error);
moon_status moon__sqlite_list(moon_store *store, const moon_query *query,
                              bool (*row)(void *ctx, const moon_run_info *info), void *ctx, moon_error *error);
moon_status moon__sqlite_inbox(moon_store *store, const char *run,
                               bool (*row)(void *ctx, int64_t item, const char *body, size_t length), void *ctx,
                               moon_error *error);
moon_status moon__sqlite_due(moon_store *store, int64_t now_us, size_t limit,
                             bool (*row)(void *ctx, const char *run, const char *key, int64_t due_us), void *ctx,
                             moon_error *error);
moon_status moon__sqlite_blob(moon_store *store, const unsigned char *hash,
                              bool (*bytes)(void *ctx, const void *bytes, size_t length), void *ctx, moon_error *error);
moon_status moon__sqlite_check(moon_store *store, void (*fault)(void *ctx, const char *run, const char *text),
                               void *ctx, moon_error *error);
#endif
