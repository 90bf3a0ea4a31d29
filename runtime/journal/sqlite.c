/* SPDX-License-Identifier: MIT */
/*
 * The SQLite store: a file, its write-ahead log, and a lock file (FILE-lock).
 *
 * Locks, as bytes of the lock file: 0 is held over every transaction that writes, every checkpoint, opening and
 * closing; CLAIM_FIRST + a run's row is held by whoever drives the run. Reading needs none. A row's number is given
 * only once, so that a claim is never one on another run; only a number whose row was rolled back is given again.
 *
 * The log is synchronised at every commit (synchronous=FULL), so that what was committed survives a power cut. It is
 * copied back into the file by the writer itself when it has grown to CHECKPOINT_PAGES.
 *
 * A commit that fails leaves a doubt: its pages may stand in the log, whole or in part, and on the disk or in the
 * system's memory only (after a failed fsync Linux holds them for written, and never writes them). Connections that
 * are open go on from the commit before, and so write over them, which ends the doubt; bury() does so at once. When
 * that fails too, a mark is left in the lock file. One who opens the store then takes those pages for commits, and what
 * he appends would hang on pages that the disk may not have: who finds the mark writes the log again, as it is read.
 */
#include "migrate.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define APPLICATION "0x4d4f4f4e" /* "MOON" */
enum { LOCK_WAIT_MS = 15000, CHECKPOINT_PAGES = 1024, LOG_LEFT_PAGES = 64 };
enum { WAYS = 4 }; /* places for runs of one hash */
enum { WRITE_BYTE = 0, TURN_BYTE = 1, CLAIM_FIRST = 1024 };

int64_t moon__sqlite_claim_byte(int64_t run_id) {
    return CLAIM_FIRST + run_id;
}

/* ---- statements ---- */

moon_status moon__sql_fail(moon_store *store, const char *what, moon_error *error) {
    int code = sqlite3_extended_errcode(store->db);
    moon_status status = MOON_EIO;
    switch (code & 0xFF) {
    case SQLITE_NOMEM: status = MOON_ENOMEM; break;
    case SQLITE_FULL: status = MOON_EFULL; break;
    case SQLITE_BUSY:
    case SQLITE_LOCKED: status = MOON_EBUSY; break;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB: status = MOON_ECORRUPT; break;
    case SQLITE_CONSTRAINT: status = MOON_ECONFLICT; break;
    case SQLITE_TOOBIG: status = MOON_ELIMIT; break;
    default: break;
    }
    return moon_error_set(error, status, "journal %.200s: %s: %.120s", store->place, what, sqlite3_errmsg(store->db));
}

sqlite3_stmt *moon__sql_get(moon_store *store, moon__sql which) {
    static const char *const texts[] = {
#define X(name, text) (text),
        MOON__SQL(X)
#undef X
    };
    sqlite3_stmt **statement = &store->statements[which];
    if (*statement) {
        sqlite3_reset(*statement);
        sqlite3_clear_bindings(*statement);
        return *statement;
    }
    sqlite3_prepare_v3(store->db, texts[which], -1, SQLITE_PREPARE_PERSISTENT, statement, NULL);
    return *statement;
}

void moon__sql_text(sqlite3_stmt *statement, int at, const char *text) {
    sqlite3_bind_text(statement, at, text, -1, SQLITE_STATIC);
}

moon_status moon__sql_run(moon_store *store, sqlite3_stmt *statement, const char *what, moon_error *error) {
    if (!statement) return moon__sql_fail(store, what, error);
    int code = sqlite3_step(statement);
    moon_status status = code == SQLITE_DONE || code == SQLITE_ROW ? MOON_OK : moon__sql_fail(store, what, error);
    sqlite3_reset(statement);
    return status;
}

moon_status moon__sql_do(moon_store *store, moon__sql which, const char *what, moon_error *error) {
    return moon__sql_run(store, moon__sql_get(store, which), what, error);
}

moon_status moon__sqlite_no_run(const moon_store *store, const char *run, moon_error *error) {
    return moon_error_set(error, MOON_ENOTFOUND, "there is no run %.40s in journal %.200s", run, store->place);
}

moon_status moon__sqlite_run(moon_store *store, const char *run, moon__row *row, moon_error *error) {
    sqlite3_stmt *s = moon__sql_get(store, MOON__SQL_RUN);
    if (!s) return moon__sql_fail(store, "cannot be used", error);
    moon__sql_text(s, 1, run);
    int code = sqlite3_step(s);
    moon_status status = MOON_OK;
    if (code == SQLITE_ROW)
        *row = (moon__row){.id = sqlite3_column_int64(s, 0),
                           .head = (uint64_t)sqlite3_column_int64(s, 1),
                           .base = sqlite3_column_int64(s, 2),
                           .base_at = (uint64_t)sqlite3_column_int64(s, 3)};
    else if (code == SQLITE_DONE)
        status = moon__sqlite_no_run(store, run, error);
    else
        status = moon__sql_fail(store, "cannot be read", error);
    sqlite3_reset(s);
    return status;
}

/* The places that a run may stand in; NULL: it can stand in none. */
static moon__known *places_of(const moon_store *store, const char *run) {
    size_t n = strlen(run);
    if (!store->known || n >= sizeof store->known->run) return NULL;
    return &store->known[moon_hash(run, n) % (MOON__SQLITE_KNOWN / WAYS) * WAYS];
}

static moon__known *place_of(const moon_store *store, const char *run) {
    moon__known *places = places_of(store, run);
    for (int i = 0; places && i < WAYS; i++)
        if (!strcmp(places[i].run, run)) return &places[i];
    return NULL;
}

int64_t moon__sqlite_known(const moon_store *store, const char *run) {
    const moon__known *known = place_of(store, run);
    return known ? known->id : 0;
}

void moon__sqlite_know(moon_store *store, const char *run, int64_t id) {
    moon__known *known = place_of(store, run), *places = places_of(store, run);
    if (!known && places) { /* it comes first, and who was last is forgotten */
        memmove(places + 1, places, (WAYS - 1) * sizeof *places);
        known = places;
        snprintf(known->run, sizeof known->run, "%s", run);
    }
    if (known) known->id = id;
}

/* ---- transactions ---- */

static moon_status lock(moon_store *store, moon_error *error) {
    /* Through a turnstile: who is in it is next, so that one who writes all the time cannot keep the others out. */
    moon_status status = moon__lockfile_lock(&store->locks, TURN_BYTE, store->lock_wait_ms);
    if (!status) {
        status = moon__lockfile_lock(&store->locks, WRITE_BYTE, store->lock_wait_ms);
        moon__lockfile_unlock(&store->locks, TURN_BYTE);
    }
    if (status == MOON_EBUSY)
        return moon_error_set(error, status, "journal %.200s is locked by another process, for over %g s", store->place,
                              store->lock_wait_ms / 1000.0);
    if (status) return moon_error_set(error, status, "journal %.200s cannot be locked", store->place);
    return MOON_OK;
}

static void unlock(moon_store *store) {
    moon__lockfile_unlock(&store->locks, WRITE_BYTE);
}

/* What is read of the log gets to the disk, even where the system believes that it did. */
static moon_status write_log_again(moon_store *store, moon_error *error) {
    char bytes[8192];
    sqlite3_file *log = NULL;
    sqlite3_int64 size = 0;
    int code = sqlite3_file_control(store->db, NULL, SQLITE_FCNTL_JOURNAL_POINTER, &log);
    bool there = code == SQLITE_OK && log && log->pMethods;
    if (there) code = log->pMethods->xFileSize(log, &size);
    for (sqlite3_int64 at = 0; code == SQLITE_OK && at < size; at += (sqlite3_int64)sizeof bytes) {
        int n = size - at < (sqlite3_int64)sizeof bytes ? (int)(size - at) : (int)sizeof bytes;
        code = log->pMethods->xRead(log, bytes, n, at);
        if (code == SQLITE_OK) code = log->pMethods->xWrite(log, bytes, n, at);
    }
    if (there && code == SQLITE_OK) code = log->pMethods->xSync(log, SQLITE_SYNC_NORMAL);
    if (code == SQLITE_OK) {
        moon__lockfile_mark(&store->locks, false);
        return MOON_OK;
    }
    return moon_error_set(error, MOON_EIO, "journal %.200s: what failed to be written still cannot be: %s",
                          store->place, sqlite3_errstr(code));
}

moon_status moon__sqlite_begin(moon_store *store, moon_error *error) {
    moon_status status = lock(store, error);
    if (status) return status;
    store->torn = false;
    if (moon__lockfile_marked(&store->locks)) status = write_log_again(store, error);
    /* What takes it back is there before it is begun, even when memory is out by then. */
    if (!status && !moon__sql_get(store, MOON__SQL_ROLLBACK)) status = moon__sql_fail(store, "cannot be used", error);
    if (!status) status = moon__sql_do(store, MOON__SQL_BEGIN, "cannot be written", error);
    if (status) unlock(store);
    return status;
}

static void checkpoint(moon_store *store) {
    if (store->wal_pages < store->checkpoint_pages) return;
    /* A failure loses nothing: the log is the truth until it was copied. */
    (void)sqlite3_wal_checkpoint_v2(store->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
}

void moon__sqlite_unclaim(moon_store *store) {
    sqlite3_stmt *s = moon__sql_get(store, MOON__SQL_RUN_LAST);
    if (!s) return;
    if (sqlite3_step(s) == SQLITE_ROW)
        moon__lockfile_unlock_from(&store->locks, moon__sqlite_claim_byte(sqlite3_column_int64(s, 0) + 1));
    sqlite3_reset(s);
}

static void take_back(moon_store *store) {
    if (!sqlite3_get_autocommit(store->db)) {
        sqlite3_step(moon__sql_get(store, MOON__SQL_ROLLBACK));
        moon__sql_get(store, MOON__SQL_ROLLBACK); /* reset */
    }
    if (store->known) memset(store->known, 0, MOON__SQLITE_KNOWN * sizeof *store->known);
    moon__sqlite_unclaim(store);
}

/* Commits something that changes nothing, over what a commit that failed has left in the log. */
static void bury(moon_store *store) {
    take_back(store);
    moon__lockfile_mark(&store->locks, true);
    store->torn = sqlite3_exec(store->db, "PRAGMA application_id=" APPLICATION, NULL, NULL, NULL) != SQLITE_OK;
    if (!store->torn) moon__lockfile_mark(&store->locks, false);
}

moon_status moon__sqlite_commit(moon_store *store, moon_error *error) {
    moon_status status = moon__sql_do(store, MOON__SQL_COMMIT, "cannot be written", error);
    if (status)
        bury(store);
    else
        checkpoint(store);
    unlock(store);
    return status;
}

void moon__sqlite_rollback(moon_store *store) {
    take_back(store);
    unlock(store);
}

static int on_commit(void *ctx, sqlite3 *db, const char *name, int pages) {
    (void)db, (void)name;
    ((moon_store *)ctx)->wal_pages = pages;
    return SQLITE_OK;
}

/* ---- opening ---- */

/* Of the present format. What leads to it from the ones before is in migrate.c. */
static const char schema[] =
    "CREATE TABLE runs(id INTEGER PRIMARY KEY AUTOINCREMENT, run TEXT NOT NULL UNIQUE, name TEXT NOT NULL, script TEXT "
    "NOT NULL, "
    "workspace TEXT NOT NULL, input TEXT NOT NULL, stop TEXT NOT NULL, state INTEGER NOT NULL, resumable INTEGER NOT "
    "NULL, created_us INTEGER NOT NULL, updated_us INTEGER NOT NULL, steps INTEGER NOT NULL, tool_calls INTEGER NOT "
    "NULL, tokens INTEGER NOT NULL, usd REAL NOT NULL, base INTEGER, base_at INTEGER NOT NULL);"
    "CREATE TABLE heads(run INTEGER PRIMARY KEY, seq INTEGER NOT NULL);"
    "CREATE INDEX runs_updated ON runs(updated_us);"
    "CREATE INDEX runs_base ON runs(base) WHERE base IS NOT NULL;" MOON__SQLITE_RECORDS
    "CREATE TABLE blobs(id INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE, bytes BLOB NOT NULL);"
    "CREATE TABLE uses(run INTEGER NOT NULL, hash BLOB NOT NULL, PRIMARY KEY(run, hash)) WITHOUT ROWID;"
    "CREATE TABLE inbox(id INTEGER PRIMARY KEY, run INTEGER NOT NULL, once TEXT NOT NULL, body TEXT NOT NULL, "
    "taken INTEGER NOT NULL DEFAULT 0, UNIQUE(run, once));"
    "CREATE TABLE timers(run INTEGER NOT NULL, key TEXT NOT NULL, due_us INTEGER NOT NULL, PRIMARY KEY(run, key)) "
    "WITHOUT ROWID;"
    "CREATE INDEX timers_due ON timers(due_us);";

int64_t moon__sqlite_number(moon_store *store, const char *sql) {
    sqlite3_stmt *s = NULL;
    int64_t value = -1;
    if (sqlite3_prepare_v2(store->db, sql, -1, &s, NULL) == SQLITE_OK && sqlite3_step(s) == SQLITE_ROW)
        value = sqlite3_column_int64(s, 0);
    sqlite3_finalize(s);
    return value;
}

static moon_status execute(moon_store *store, const char *sql, moon_error *error) {
    return sqlite3_exec(store->db, sql, NULL, NULL, NULL) == SQLITE_OK
               ? MOON_OK
               : moon__sql_fail(store, "cannot be opened", error);
}

static moon_status create(moon_store *store, moon_error *error) {
    char versions[100];
    snprintf(versions, sizeof versions, "PRAGMA application_id=" APPLICATION "; PRAGMA user_version=%d;",
             MOON__SQLITE_FORMAT);
    moon_status status = execute(store, "BEGIN IMMEDIATE", error);
    if (!status) status = execute(store, schema, error);
    if (!status) status = execute(store, versions, error);
    if (!status) status = execute(store, "COMMIT", error);
    if (status) bury(store);
    return status;
}

/* Whose file is it, and of which version? An empty one becomes ours, an older one is migrated. */
static moon_status judge(moon_store *store, bool *fresh, moon_error *error) {
    int64_t tables = moon__sqlite_number(store, "SELECT count(*) FROM sqlite_master");
    if (tables < 0) return moon__sql_fail(store, "cannot be opened", error);
    int64_t application = moon__sqlite_number(store, "PRAGMA application_id");
    int64_t format = moon__sqlite_number(store, "PRAGMA user_version");
    bool own = application == strtol(APPLICATION, NULL, 16);
    *fresh = tables == 0 && format == 0 && (own || application == 0);
    if (!*fresh && !own)
        return moon_error_set(error, MOON_EINVAL, "%.300s is no journal: it is another program's database",
                              store->place);
    if (format > MOON__SQLITE_FORMAT)
        return moon_error_set(error, MOON_EUNSUPPORTED,
                              "journal %.200s has format %lld, and this moonlet knows up to %d: use a newer one",
                              store->place, (long long)format, MOON__SQLITE_FORMAT);
    if (!*fresh && format < 1)
        return moon_error_set(error, MOON_EUNSUPPORTED, "journal %.200s has format %lld, which there never was",
                              store->place, (long long)format);
    return MOON_OK;
}

/* Nothing is written before it is known whose the file is. */
static moon_status connect(moon_store *store, moon_error *error) {
    static const char settings[] =
        "PRAGMA page_size=8192; PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=0; PRAGMA "
        "journal_size_limit=16777216; PRAGMA trusted_schema=OFF; PRAGMA cell_size_check=ON; PRAGMA temp_store=MEMORY; "
        "PRAGMA cache_size=-8192";
    int persist = 1;
    bool fresh = false;
    int code = sqlite3_open_v2(store->place, &store->db,
                               SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, NULL);
    if (!store->db) return moon_error_set(error, MOON_ENOMEM, "no memory for the journal");
    if (code != SQLITE_OK) return moon__sql_fail(store, "cannot be opened", error);
    sqlite3_busy_timeout(store->db, store->lock_wait_ms);
    sqlite3_limit(store->db, SQLITE_LIMIT_LENGTH, MOON__SQLITE_BODY_MAX + 65536); /* a row is longer than its blob */
    sqlite3_db_config(store->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    sqlite3_db_config(store->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    moon_status status = execute(store, settings, error);
    sqlite3_wal_hook(store->db, on_commit, store); /* after the settings: wal_autocheckpoint takes the hook away */
    if (!status) sqlite3_file_control(store->db, NULL, SQLITE_FCNTL_PERSIST_WAL, &persist);
    if (!status) status = judge(store, &fresh, error);
    if (!status) status = execute(store, "PRAGMA journal_mode=WAL", error);
    return !status && fresh ? create(store, error) : status;
}

static moon_status cannot_open(const char *path, int why, moon_error *error) {
    moon_error_set(error, MOON_EIO, "cannot open %.300s: %s", path, strerror(why));
    if (error) error->cause = why;
    return MOON_EIO;
}

/* The file, or the one beside it, is there, and may not be written. */
static moon_status cannot_write(const char *path, int why, moon_error *error) {
    moon_error_set(error, MOON_EIO,
                   "cannot open %.300s: %s. A journal is read by who may write to it, and to its folder: copy it, and "
                   "its -wal file if there is one, to a folder of yours, and name the copy (--journal FILE)",
                   path, strerror(why));
    if (error) error->cause = why;
    return MOON_EIO;
}

/* Sets store->place to the file's own name, so that by whatever name it is opened, the lock file is the same. What runs
 * read and wrote is nobody else's; SQLite gives its other files the same mode. The file is made without opening it: to
 * close one that SQLite has open in this process would give up its locks. */
static moon_status make_file(moon_store *store, const char *place, moon_error *error) {
    int failed = mknod(place, S_IFREG | 0600, 0) == 0 || errno == EEXIST ? 0 : errno;
    store->place = realpath(place, NULL);
    if (!store->place) return cannot_open(place, failed ? failed : errno, error);
    return faccessat(AT_FDCWD, store->place, W_OK, AT_EACCESS) == 0 ? MOON_OK : cannot_write(place, errno, error);
}

/* Whoever opens it next has to read the whole log. It is left as it is when others read it, or when it is in doubt. */
static void shorten_log(moon_store *store) {
    if (store->wal_pages <= LOG_LEFT_PAGES || moon__lockfile_marked(&store->locks)) return;
    sqlite3_busy_timeout(store->db, 0);
    (void)sqlite3_wal_checkpoint_v2(store->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
}

static void close_store(moon_store *store) {
    if (!store) return;
    bool locked = store->db && lock(store, NULL) == MOON_OK;
    for (int i = 0; i < MOON__SQL_COUNT; i++) sqlite3_finalize(store->statements[i]);
    if (locked) shorten_log(store);
    sqlite3_close_v2(store->db);
    if (locked) unlock(store);
    moon__lockfile_close(&store->locks);
    moon__buf_fini(&store->packed);
    free(store->known);
    free(store->place);
    free(store);
}

static moon_status open_locks(moon_store *store, const char *path, moon_error *error) {
    moon_error why = {0};
    moon_status status = moon__lockfile_open(&store->locks, path, &why);
    if (why.cause == EACCES || why.cause == EROFS) return cannot_write(path, why.cause, error);
    if (status && error) *error = why;
    return status;
}

static moon_status open_files(moon_store *store, const char *place, moon_error *error) {
    char *lock_path = NULL;
    moon_status status = make_file(store, place, error);
    if (!status && asprintf(&lock_path, "%s-lock", store->place) < 0)
        status = moon_error_set(error, MOON_ENOMEM, "no memory for the journal");
    if (!status) status = open_locks(store, lock_path, error);
    free(lock_path);
    if (!status) status = lock(store, error);
    if (status) return status;
    status = connect(store, error);
    unlock(store);
    return status ? status : moon__sqlite_migrate(store, error);
}

static moon_status open_telling(moon_store **out, const char *place, void (*tell)(void *ctx, const char *text),
                                void *ctx, moon_error *error) {
    moon_store *store = calloc(1, sizeof *store);
    if (!store) return moon_error_set(error, MOON_ENOMEM, "no memory for the journal");
    store->locks = (moon__lockfile){.fd = -1, .probe = -1};
    store->lock_wait_ms = LOCK_WAIT_MS;
    store->checkpoint_pages = CHECKPOINT_PAGES;
    moon__buf_init(&store->packed, MOON__SQLITE_BODY_MAX);
    store->known = calloc(MOON__SQLITE_KNOWN, sizeof *store->known);
    store->tell = tell;
    store->tell_ctx = ctx;
    moon_status status = open_files(store, place, error);
    if (status)
        close_store(store);
    else
        *out = store;
    return status;
}

static moon_status open_store(moon_store **out, const char *place, moon_error *error) {
    return open_telling(out, place, NULL, NULL, error);
}

/* ---- the small operations ---- */

static moon_status claim(moon_store *store, const char *run, moon_error *error) {
    moon__row row = {0};
    moon_status status = moon__sqlite_run(store, run, &row, error);
    if (status) return status;
    /* A lock that this store has already would be given again. */
    bool held = moon__lockfile_locked(&store->locks, moon__sqlite_claim_byte(row.id));
    status = held ? MOON_EBUSY : moon__lockfile_lock(&store->locks, moon__sqlite_claim_byte(row.id), 0);
    if (status == MOON_EBUSY) moon_error_set(error, status, "run %.40s is being driven by another process", run);
    if (status == MOON_EIO) moon_error_set(error, status, "run %.40s cannot be locked", run);
    if (!status) moon__sqlite_know(store, run, row.id); /* another one of this name may have been known */
    return status;
}

static void release(moon_store *store, const char *run) {
    moon__row row = {.id = moon__sqlite_known(store, run)};
    if (row.id || moon__sqlite_run(store, run, &row, NULL) == MOON_OK)
        moon__lockfile_unlock(&store->locks, moon__sqlite_claim_byte(row.id));
}

static moon_status add_item(moon_store *store, const char *run, const char *once, const char *body, size_t length,
                            moon_error *error) {
    moon__row row = {0};
    moon_status status = moon__sqlite_run(store, run, &row, error);
    if (status) return status;
    sqlite3_stmt *s = moon__sql_get(store, MOON__SQL_INBOX_ADD);
    if (!s) return moon__sql_fail(store, "cannot be used", error);
    sqlite3_bind_int64(s, 1, row.id);
    moon__sql_text(s, 2, once);
    sqlite3_bind_text(s, 3, body, (int)length, SQLITE_STATIC);
    return moon__sql_run(store, s, "cannot be written", error);
}

static moon_status post(moon_store *store, const char *run, const char *once, const char *body, size_t length,
                        moon_error *error) {
    if (length > MOON__SQLITE_BODY_MAX) return moon_error_set(error, MOON_ELIMIT, "what is posted is too large");
    moon_status status = moon__sqlite_begin(store, error);
    if (status) return status;
    status = add_item(store, run, once, body, length, error);
    if (!status) return moon__sqlite_commit(store, error);
    moon__sqlite_rollback(store);
    return status;
}

static uint64_t version(moon_store *store) {
    sqlite3_stmt *s = moon__sql_get(store, MOON__SQL_VERSION);
    uint64_t value = s && sqlite3_step(s) == SQLITE_ROW ? (uint64_t)sqlite3_column_int64(s, 0) : 0;
    if (s) sqlite3_reset(s);
    return value;
}

static moon_status check_unneeded(moon_store *store, const char *run, int64_t id, moon_error *error) {
    sqlite3_stmt *s = moon__sql_get(store, MOON__SQL_RUN_NEEDED);
    if (!s) return moon__sql_fail(store, "cannot be used", error);
    sqlite3_bind_int64(s, 1, id);
    int code = sqlite3_step(s);
    moon_status status = MOON_OK;
    if (code == SQLITE_ROW)
        status = moon_error_set(error, MOON_EBUSY, "run %.40s has forks: remove them first", run);
    else if (code != SQLITE_DONE)
        status = moon__sql_fail(store, "cannot be read", error);
    sqlite3_reset(s);
    return status;
}

static moon_status drop(moon_store *store, moon__sql which, int64_t id, moon_error *error) {
    sqlite3_stmt *s = moon__sql_get(store, which);
    if (!s) return moon__sql_fail(store, "cannot be used", error);
    if (sqlite3_bind_parameter_count(s)) sqlite3_bind_int64(s, 1, id);
    return moon__sql_run(store, s, "cannot be written", error);
}

static moon_status purge_claimed(moon_store *store, const char *run, int64_t id, moon_error *error) {
    static const moon__sql parts[] = {MOON__SQL_RECORD_DROP, MOON__SQL_BLOB_UNUSE, MOON__SQL_INBOX_DROP,
                                      MOON__SQL_TIMER_DROP,  MOON__SQL_HEAD_DROP,  MOON__SQL_RUN_DROP,
                                      MOON__SQL_BLOB_SWEEP};
    moon_status status = moon__sqlite_begin(store, error);
    if (status) return status;
    status = check_unneeded(store, run, id, error);
    for (size_t i = 0; !status && i < sizeof parts / sizeof *parts; i++) status = drop(store, parts[i], id, error);
    if (!status) return moon__sqlite_commit(store, error);
    moon__sqlite_rollback(store);
    return status;
}

static moon_status purge(moon_store *store, const char *run, moon_error *error) {
    moon__row row = {0};
    moon_status status = claim(store, run, error);
    if (!status) status = moon__sqlite_run(store, run, &row, error);
    if (status) return status;
    status = purge_claimed(store, run, row.id, error);
    moon__lockfile_unlock(&store->locks, moon__sqlite_claim_byte(row.id));
    return status;
}

const moon_store_ops moon_store_sqlite = {
    .abi = MOON_STORE_ABI,
    .name = "sqlite",
    .open = open_store,
    .close = close_store,
    .append = moon__sqlite_append,
    .read = moon__sqlite_read,
    .list = moon__sqlite_list,
    .claim = claim,
    .release = release,
    .post = post,
    .inbox = moon__sqlite_inbox,
    .due = moon__sqlite_due,
    .blob = moon__sqlite_blob,
    .version = version,
    .purge = purge,
    .check = moon__sqlite_check,
    .open_telling = open_telling,
};
