/* SPDX-License-Identifier: MIT */
/*
 * Appending a batch: one transaction, one commit.
 *
 * An append that does not fit (another one has written, the run is gone) is undone alone, and the others go on. When
 * the commit fails with an input/output error, what is on the disk is not known: the connection is given up, another
 * one is opened, and each append is looked for by the hash of its last record. What is found was kept.
 */
#include <stdio.h>
#include <string.h>

#include "record.h"
#include "sqlite.h"

static void bind_info(sqlite3_stmt *s, const char *run, const moon_run_info *info) {
    const char *const texts[] = {run, info->name, info->script, info->workspace, info->input, info->stop};
    for (int i = 0; i < 6; i++) moon__sql_text(s, i + 1, texts[i]);
    const int64_t numbers[] = {info->state, info->resumable,  info->created_us, info->updated_us,
                               info->steps, info->tool_calls, info->tokens};
    for (int i = 0; i < 7; i++) sqlite3_bind_int64(s, i + 7, numbers[i]);
    sqlite3_bind_double(s, 14, info->usd);
}

/* The run's row, made and claimed. */
static moon_status create(moon_store *store, const moon_append *a, const moon_run_info *info, int64_t *id,
                          moon_error *error) {
    sqlite3_stmt *s = moon__sql_get(store, MOON__SQL_RUN_CREATE, error);
    int64_t base = 0;
    if (!s) return MOON_EIO;
    moon_status status =
        info->fork_of && *info->fork_of ? moon__sqlite_run(store, info->fork_of, &base, error) : MOON_OK;
    if (status) return status;
    bind_info(s, a->run, info);
    if (base) sqlite3_bind_int64(s, 15, base);
    sqlite3_bind_int64(s, 16, (int64_t)info->fork_at);
    status = moon__sql_run(store, s, "cannot be written", error);
    *id = sqlite3_last_insert_rowid(store->db);
    if (!status) status = moon__lockfile_lock(&store->locks, moon__sqlite_claim_byte(*id), 0);
    return status;
}

static moon_status add_blob(moon_store *store, int64_t id, const unsigned char *hash, const void *bytes, size_t n,
                            moon_error *error) {
    sqlite3_stmt *s = moon__sql_get(store, MOON__SQL_BLOB_ADD, error);
    if (!s) return MOON_EIO;
    sqlite3_bind_blob(s, 1, hash, MOON_HASH_SIZE, SQLITE_STATIC);
    sqlite3_bind_blob64(s, 2, n ? bytes : "", n, SQLITE_STATIC);
    moon_status status = moon__sql_run(store, s, "cannot be written", error);
    s = status ? NULL : moon__sql_get(store, MOON__SQL_BLOB_USE, error);
    if (!s) return status ? status : MOON_EIO;
    sqlite3_bind_int64(s, 1, id);
    sqlite3_bind_blob(s, 2, hash, MOON_HASH_SIZE, SQLITE_STATIC);
    return moon__sql_run(store, s, "cannot be written", error);
}

static moon_status add_record(moon_store *store, int64_t id, const moon_record *record, moon_error *error) {
    bool large = record->body_length > MOON__RECORD_INLINE;
    sqlite3_stmt *s = moon__sql_get(store, MOON__SQL_RECORD_ADD, error);
    if (!s) return MOON_EIO;
    sqlite3_bind_int64(s, 1, id);
    sqlite3_bind_int64(s, 2, (int64_t)record->seq);
    sqlite3_bind_int(s, 3, (int)record->type);
    sqlite3_bind_int64(s, 4, record->time_us);
    moon__sql_text(s, 5, record->path);
    moon__sql_text(s, 6, record->key);
    sqlite3_bind_blob(s, 7, record->hash, MOON_HASH_SIZE, SQLITE_STATIC);
    if (large)
        sqlite3_bind_blob(s, 9, record->body_hash, MOON_HASH_SIZE, SQLITE_STATIC);
    else
        sqlite3_bind_text(s, 8, record->body, (int)record->body_length, SQLITE_STATIC);
    moon_status status = moon__sql_run(store, s, "cannot be written", error);
    if (!status && large) status = add_blob(store, id, record->body_hash, record->body, record->body_length, error);
    return status;
}

static moon_status take_item(moon_store *store, int64_t id, int64_t item, moon_error *error) {
    sqlite3_stmt *s = moon__sql_get(store, MOON__SQL_INBOX_TAKE, error);
    if (!s) return MOON_EIO;
    sqlite3_bind_int64(s, 1, item);
    sqlite3_bind_int64(s, 2, id);
    moon_status status = moon__sql_run(store, s, "cannot be written", error);
    return status ? status : sqlite3_changes(store->db) == 1 ? MOON_OK : MOON_ECONFLICT;
}

static moon_status set_timer(moon_store *store, int64_t id, const moon_side *side, moon_error *error) {
    sqlite3_stmt *s = moon__sql_get(store, side->due_us ? MOON__SQL_TIMER_SET : MOON__SQL_TIMER_CLEAR, error);
    if (!s) return MOON_EIO;
    sqlite3_bind_int64(s, 1, id);
    moon__sql_text(s, 2, side->key);
    if (side->due_us) sqlite3_bind_int64(s, 3, side->due_us);
    return moon__sql_run(store, s, "cannot be written", error);
}

static moon_status do_side(moon_store *store, const moon_append *a, int64_t id, const moon_side *side,
                           moon_error *error) {
    switch (side->kind) {
    case MOON_SIDE_CREATE: return MOON_OK; /* made before the records */
    case MOON_SIDE_UPDATE: {
        sqlite3_stmt *s = moon__sql_get(store, MOON__SQL_RUN_UPDATE, error);
        if (!s) return MOON_EIO;
        bind_info(s, a->run, side->info);
        return moon__sql_run(store, s, "cannot be written", error);
    }
    case MOON_SIDE_BLOB: return add_blob(store, id, side->hash, side->bytes, side->length, error);
    case MOON_SIDE_TIMER: return set_timer(store, id, side, error);
    case MOON_SIDE_TAKE: return take_item(store, id, side->item, error);
    }
    return MOON_EINVAL;
}

static const moon_side *creation(const moon_append *a) {
    for (size_t i = 0; i < a->n_sides; i++)
        if (a->sides[i].kind == MOON_SIDE_CREATE) return &a->sides[i];
    return NULL;
}

/* The last record that stands there must be the one that the writer knows. */
static moon_status check_head(moon_store *store, int64_t id, const moon_append *a, moon_error *error) {
    sqlite3_stmt *s = moon__sql_get(store, MOON__SQL_RECORD_LAST, error);
    if (!s) return MOON_EIO;
    sqlite3_bind_int64(s, 1, id);
    int code = sqlite3_step(s);
    bool fork = code == SQLITE_ROW && sqlite3_column_type(s, 0) == SQLITE_NULL; /* none of its own yet */
    uint64_t head = code == SQLITE_ROW ? (uint64_t)sqlite3_column_int64(s, 0) : 0;
    sqlite3_reset(s);
    if (code != SQLITE_ROW) return moon__sql_fail(store, "cannot be read", error);
    if (fork) {
        s = moon__sql_get(store, MOON__SQL_RUN_BASE, error);
        if (!s) return MOON_EIO;
        sqlite3_bind_int64(s, 1, id);
        if (sqlite3_step(s) == SQLITE_ROW) head = (uint64_t)sqlite3_column_int64(s, 1);
        sqlite3_reset(s);
    }
    return head == a->expected ? MOON_OK : MOON_ECONFLICT;
}

static moon__known *known_of(moon_store *store, const char *run) {
    size_t n = strlen(run);
    return store->known && n < sizeof store->known->run ? &store->known[moon_hash(run, n) % MOON__SQLITE_KNOWN] : NULL;
}

static void forget(moon_store *store, const char *run) {
    moon__known *known = known_of(store, run);
    if (known) known->run[0] = 0;
}

/* The row of the run, whose last record is a->expected. */
static moon_status find(moon_store *store, const moon_append *a, int64_t *id, moon_error *error) {
    const moon__known *known = known_of(store, a->run);
    if (known && !strcmp(known->run, a->run) && known->head == a->expected && a->n_records) {
        *id = known->id;
        return MOON_OK;
    }
    moon_status status = moon__sqlite_run(store, a->run, id, error);
    return status ? status : check_head(store, *id, a, error);
}

static moon_status do_sides(moon_store *store, const moon_append *a, int64_t id, bool takes, moon_error *error) {
    moon_status status = MOON_OK;
    for (size_t i = 0; !status && i < a->n_sides; i++)
        if ((a->sides[i].kind == MOON_SIDE_TAKE) == takes) status = do_side(store, a, id, &a->sides[i], error);
    return status;
}

static bool too_big(const moon_append *a) {
    for (size_t i = 0; i < a->n_records; i++)
        if (a->records[i].body_length > MOON__SQLITE_BODY_MAX) return true;
    return false;
}

/* Everything that can refuse an append comes before its first write, or is the first write: the unique key of the run,
 * of the first record, or the item of the inbox that was not taken. So there is nothing to be undone. */
static moon_status write_one(moon_store *store, const moon_append *a, moon_error *error) {
    const moon_side *made = creation(a);
    int64_t id = 0;
    if (too_big(a)) return moon_error_set(error, MOON_ELIMIT, "a record of run %.40s is too large", a->run);
    moon_status status = made ? create(store, a, made->info, &id, error) : find(store, a, &id, error);
    if (!status && made) status = check_head(store, id, a, error);
    if (!status) status = do_sides(store, a, id, true, error);
    for (size_t i = 0; !status && i < a->n_records; i++) status = add_record(store, id, &a->records[i], error);
    if (!status) status = do_sides(store, a, id, false, error);
    moon__known *known = known_of(store, a->run);
    if (known && !status && a->n_records) {
        snprintf(known->run, sizeof known->run, "%s", a->run);
        known->id = id;
        known->head = a->expected + a->n_records;
    } else
        forget(store, a->run);
    return status;
}

/* MOON_OK with the append's own status; else the whole transaction has failed. */
static moon_status append_one(moon_store *store, moon_append *a, moon_error *error) {
    a->status = write_one(store, a, error);
    bool refused = a->status == MOON_ECONFLICT || a->status == MOON_ENOTFOUND || a->status == MOON_ELIMIT;
    return refused ? MOON_OK : a->status;
}

/* Does the journal end with what this append wrote? */
static bool was_kept(moon_store *store, const moon_append *a) {
    int64_t id;
    bool kept = false;
    if (!a->n_records || moon__sqlite_run(store, a->run, &id, NULL)) return false;
    const moon_record *last = &a->records[a->n_records - 1];
    sqlite3_stmt *s = moon__sql_get(store, MOON__SQL_RECORD_HASH, NULL);
    if (!s) return false;
    sqlite3_bind_int64(s, 1, id);
    sqlite3_bind_int64(s, 2, (int64_t)last->seq);
    if (sqlite3_step(s) == SQLITE_ROW && sqlite3_column_bytes(s, 0) == MOON_HASH_SIZE)
        kept = memcmp(sqlite3_column_blob(s, 0), last->hash, MOON_HASH_SIZE) == 0;
    sqlite3_reset(s);
    return kept;
}

static void forget_all(moon_store *store, const moon_append *appends, size_t n) {
    for (size_t i = 0; i < n; i++) forget(store, appends[i].run);
}

static moon_status settle(moon_store *store, moon_append *appends, size_t n, moon_status failed, moon_error *error) {
    moon_error again = {0};
    if (moon__sqlite_reopen(store, &again)) {
        if (error) *error = again;
        return again.code;
    }
    for (size_t i = 0; i < n; i++)
        if (!appends[i].status) appends[i].status = was_kept(store, &appends[i]) ? MOON_OK : failed;
    return MOON_OK;
}

moon_status moon__sqlite_append(moon_store *store, moon_append *appends, size_t n, moon_error *error) {
    moon_status status = moon__sqlite_begin(store, error);
    if (status) return status;
    for (size_t i = 0; i < n; i++) appends[i].status = MOON_OK;
    for (size_t i = 0; !status && i < n; i++) status = append_one(store, &appends[i], error);
    if (status) {
        moon__sqlite_rollback(store);
        forget_all(store, appends, n);
        return status;
    }
    status = moon__sqlite_commit(store, error);
    if (status) forget_all(store, appends, n);
    return status == MOON_EIO ? settle(store, appends, n, status, error) : status;
}
