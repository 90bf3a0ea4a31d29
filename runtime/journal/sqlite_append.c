/* SPDX-License-Identifier: MIT */
/*
 * Appending a batch: one transaction, one commit.
 *
 * An append that does not fit (another one has written, the run is gone) is undone alone, and the others go on. When
 * the disk fails, none is kept.
 */
#include <stdio.h>
#include <string.h>

#include "pack.h"
#include "sqlite.h"

static void bind_info(sqlite3_stmt *s, const char *run, const moon_run_info *info) {
    const char *const texts[] = {run, info->name, info->script, info->workspace, info->input, info->stop};
    for (int i = 0; i < 6; i++) moon__sql_text(s, i + 1, texts[i]);
    const int64_t numbers[] = {info->state, info->resumable,  info->created_us, info->updated_us,
                               info->steps, info->tool_calls, info->tokens};
    for (int i = 0; i < 7; i++) sqlite3_bind_int64(s, i + 7, numbers[i]);
    sqlite3_bind_double(s, 14, info->usd);
}

static moon_status add_run(moon_store *store, const moon_append *a, const moon_run_info *info, int64_t base,
                           moon_error *error) {
    sqlite3_stmt *s = moon__sql_get(store, MOON__SQL_RUN_CREATE);
    if (!s) return moon__sql_fail(store, "cannot be used", error);
    bind_info(s, a->run, info);
    if (base) sqlite3_bind_int64(s, 15, base);
    sqlite3_bind_int64(s, 16, (int64_t)info->fork_at);
    return moon__sql_run(store, s, "cannot be written", error);
}

static moon_status add_head(moon_store *store, int64_t id, uint64_t seq, moon_error *error) {
    sqlite3_stmt *s = moon__sql_get(store, MOON__SQL_HEAD_ADD);
    if (!s) return moon__sql_fail(store, "cannot be used", error);
    sqlite3_bind_int64(s, 1, id);
    sqlite3_bind_int64(s, 2, (int64_t)seq);
    moon_status status = moon__sql_run(store, s, "cannot be written", error);
    if (status == MOON_ECONFLICT)
        status =
            moon_error_set(error, MOON_ECORRUPT, "journal %.200s is damaged: there is a head of no run", store->place);
    return status;
}

static moon_status drop(moon_store *store, moon__sql which, int64_t id, moon_error *error) {
    sqlite3_stmt *s = moon__sql_get(store, which);
    if (!s) return moon__sql_fail(store, "cannot be used", error);
    sqlite3_bind_int64(s, 1, id);
    return moon__sql_run(store, s, "cannot be written", error);
}

/* The run's row, made and claimed; its head stands where the append leads. What may refuse it comes before its first
 * write, but for the claim, after which the rows are taken away again: a savepoint would copy each page. */
static moon_status create(moon_store *store, const moon_append *a, const moon_run_info *info, int64_t *id,
                          moon_error *error) {
    bool fork = info->fork_of && *info->fork_of;
    moon__row base = {0};
    moon_status status = fork ? moon__sqlite_run(store, info->fork_of, &base, error) : MOON_OK;
    if (!status && info->fork_at > base.head)
        status = moon_error_set(error, MOON_ENOTFOUND, "run %.40s has no record to fork at", fork ? info->fork_of : "");
    if (!status && a->expected != info->fork_at) status = MOON_ECONFLICT;
    if (!status) status = add_run(store, a, info, base.id, error);
    if (status) return status;
    *id = sqlite3_last_insert_rowid(store->db);
    status = add_head(store, *id, a->expected + a->n_records, error);
    if (status) return status;
    moon_status claim = moon__lockfile_lock(&store->locks, moon__sqlite_claim_byte(*id), 0);
    if (claim) status = drop(store, MOON__SQL_HEAD_DROP, *id, error);
    if (claim && !status) status = drop(store, MOON__SQL_RUN_DROP, *id, error);
    if (!claim) moon__sqlite_know(store, a->run, *id);
    return status ? status : claim;
}

static moon_status add_blob(moon_store *store, int64_t id, const unsigned char *hash, const void *bytes, size_t n,
                            moon_error *error) {
    sqlite3_stmt *s = moon__sql_get(store, MOON__SQL_BLOB_ADD);
    if (!s) return moon__sql_fail(store, "cannot be used", error);
    sqlite3_bind_blob(s, 1, hash, MOON_HASH_SIZE, SQLITE_STATIC);
    sqlite3_bind_blob64(s, 2, n ? bytes : "", n, SQLITE_STATIC);
    moon_status status = moon__sql_run(store, s, "cannot be written", error);
    s = status ? NULL : moon__sql_get(store, MOON__SQL_BLOB_USE);
    if (!s) return status ? status : moon__sql_fail(store, "cannot be used", error);
    sqlite3_bind_int64(s, 1, id);
    sqlite3_bind_blob(s, 2, hash, MOON_HASH_SIZE, SQLITE_STATIC);
    return moon__sql_run(store, s, "cannot be written", error);
}

moon_status moon__sqlite_pack(moon_store *store, const moon_record *record, moon_error *error) {
    moon__buf *row = &store->packed;
    if (moon__buf_reserve(row, moon__pack_room(record)))
        return moon_error_set(error, row->status, "no memory for the journal");
    unsigned char *at = (unsigned char *)row->p + row->len;
    row->len += (size_t)(moon__pack(at, record) - at);
    return MOON_OK;
}

moon_status moon__sqlite_add_row(moon_store *store, int64_t id, uint64_t first, size_t n, moon_error *error) {
    sqlite3_stmt *s = moon__sql_get(store, MOON__SQL_RECORD_ADD);
    if (!s) return moon__sql_fail(store, "cannot be used", error);
    sqlite3_bind_int64(s, 1, id);
    sqlite3_bind_int64(s, 2, (int64_t)first);
    sqlite3_bind_int64(s, 3, (int64_t)(first + n - 1));
    sqlite3_bind_blob64(s, 4, store->packed.p, store->packed.len, SQLITE_STATIC);
    return moon__sql_run(store, s, "cannot be written", error);
}

static moon_status add_records(moon_store *store, int64_t id, const moon_append *a, moon_error *error) {
    moon_status status = MOON_OK;
    for (size_t done = 0, n; !status && done < a->n_records; done += n) {
        moon__buf_reset(&store->packed);
        for (n = 0; !status && done + n < a->n_records && store->packed.len < MOON__SQLITE_ROW_BYTES; n++)
            status = moon__sqlite_pack(store, &a->records[done + n], error);
        if (!status) status = moon__sqlite_add_row(store, id, a->records[done].seq, n, error);
    }
    for (size_t i = 0; !status && i < a->n_records; i++) {
        const moon_record *r = &a->records[i];
        if (r->body_length > MOON__RECORD_INLINE)
            status = add_blob(store, id, r->body_hash, r->body, r->body_length, error);
    }
    return status;
}

static moon_status take_item(moon_store *store, int64_t id, int64_t item, moon_error *error) {
    sqlite3_stmt *s = moon__sql_get(store, MOON__SQL_INBOX_TAKE);
    if (!s) return moon__sql_fail(store, "cannot be used", error);
    sqlite3_bind_int64(s, 1, item);
    sqlite3_bind_int64(s, 2, id);
    moon_status status = moon__sql_run(store, s, "cannot be written", error);
    return status ? status : sqlite3_changes(store->db) == 1 ? MOON_OK : MOON_ECONFLICT;
}

static moon_status set_timer(moon_store *store, int64_t id, const moon_side *side, moon_error *error) {
    sqlite3_stmt *s = moon__sql_get(store, side->due_us ? MOON__SQL_TIMER_SET : MOON__SQL_TIMER_CLEAR);
    if (!s) return moon__sql_fail(store, "cannot be used", error);
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
        sqlite3_stmt *s = moon__sql_get(store, MOON__SQL_RUN_UPDATE);
        if (!s) return moon__sql_fail(store, "cannot be used", error);
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

/* ---- one append ---- */

static bool is_whole(const moon_side *side) {
    switch (side->kind) {
    case MOON_SIDE_CREATE:
    case MOON_SIDE_UPDATE: return side->info != NULL;
    case MOON_SIDE_BLOB: return side->hash && (side->bytes || !side->length);
    case MOON_SIDE_TIMER: return side->key != NULL;
    case MOON_SIDE_TAKE: return true;
    }
    return false;
}

/* Nothing was written yet: misuse is refused here, and not halfway. */
static moon_status check_form(const moon_append *a, moon_error *error) {
    bool large = false, formless = false;
    for (size_t i = 0; i < a->n_records; i++) {
        large |= a->records[i].body_length > MOON__SQLITE_BODY_MAX;
        if (a->records[i].seq != a->expected + i + 1)
            return moon_error_set(error, MOON_EINVAL, "records of run %.40s are not the next ones", a->run);
    }
    for (size_t i = 0; i < a->n_sides; i++) {
        large |= a->sides[i].kind == MOON_SIDE_BLOB && a->sides[i].length > MOON__SQLITE_BODY_MAX;
        formless |= !is_whole(&a->sides[i]);
    }
    if (formless) return moon_error_set(error, MOON_EINVAL, "a side operation of run %.40s is not whole", a->run);
    return large ? moon_error_set(error, MOON_ELIMIT, "a record of run %.40s is too large", a->run) : MOON_OK;
}

static moon_status past_last(moon_store *store, const char *run, moon_error *error) {
    return moon_error_set(error, MOON_ECORRUPT, "journal %.200s is damaged: run %.40s has records past its last",
                          store->place, run);
}

/* Is the run's last record where its head says? */
static moon_status check_end(moon_store *store, const char *run, const moon__row *row, moon_error *error) {
    sqlite3_stmt *s = moon__sql_get(store, MOON__SQL_RECORD_LAST);
    if (!s) return moon__sql_fail(store, "cannot be used", error);
    sqlite3_bind_int64(s, 1, row->id);
    int code = sqlite3_step(s);
    moon_status status = MOON_OK;
    if (code == SQLITE_ROW && (uint64_t)sqlite3_column_int64(s, 0) > row->head) status = past_last(store, run, error);
    if (code != SQLITE_ROW && code != SQLITE_DONE) status = moon__sql_fail(store, "cannot be read", error);
    sqlite3_reset(s);
    return status;
}

static moon_status find(moon_store *store, const char *run, int64_t *id, moon_error *error) {
    moon__row row = {0};
    if ((*id = moon__sqlite_known(store, run))) return MOON_OK;
    moon_status status = moon__sqlite_run(store, run, &row, error);
    if (!status) status = check_end(store, run, &row, error);
    if (status) return status;
    moon__sqlite_know(store, run, *id = row.id);
    return MOON_OK;
}

/* The run must stand where the writer believes it to. */
static moon_status move_head(moon_store *store, int64_t id, const moon_append *a, moon_error *error) {
    sqlite3_stmt *s = moon__sql_get(store, MOON__SQL_HEAD_MOVE);
    if (!s) return moon__sql_fail(store, "cannot be used", error);
    sqlite3_bind_int64(s, 1, id);
    sqlite3_bind_int64(s, 2, (int64_t)a->expected);
    sqlite3_bind_int64(s, 3, (int64_t)(a->expected + a->n_records));
    moon_status status = moon__sql_run(store, s, "cannot be written", error);
    if (status || sqlite3_changes(store->db) == 1) return status;
    moon__row row = {0};
    status = moon__sqlite_run(store, a->run, &row, error); /* or is it gone? */
    return status ? status : MOON_ECONFLICT;
}

static moon_status write_one(moon_store *store, const moon_append *a, moon_error *error) {
    const moon_side *made = creation(a);
    int64_t id = 0;
    moon_status status = made ? create(store, a, made->info, &id, error) : find(store, a->run, &id, error);
    if (!status && !made) status = move_head(store, id, a, error);
    if (status) return status;
    status = add_records(store, id, a, error);
    if (status == MOON_ECONFLICT) return past_last(store, a->run, error);
    for (size_t i = 0; !status && i < a->n_sides; i++) status = do_side(store, a, id, &a->sides[i], error);
    return status;
}

/* Can it be refused when something of it was written already? Only for want of an item that it takes. */
static bool needs_undo(const moon_append *a) {
    for (size_t i = 0; i < a->n_sides; i++)
        if (a->sides[i].kind == MOON_SIDE_TAKE) return true;
    return false;
}

/* Failures of the disk or of memory concern all. */
static bool concerns_all(moon_status status) {
    return status == MOON_EIO || status == MOON_EFULL || status == MOON_ENOMEM || status == MOON_ECORRUPT;
}

/* MOON_OK with the append's own status; else the whole transaction has failed. */
static moon_status append_one(moon_store *store, moon_append *a, moon_error *error) {
    a->status = check_form(a, error);
    if (a->status) return MOON_OK;
    bool undo = needs_undo(a);
    moon_status status = undo ? moon__sql_do(store, MOON__SQL_SAVE, "cannot be written", error) : MOON_OK;
    if (status) return status;
    a->status = write_one(store, a, error);
    if (concerns_all(a->status)) return a->status;
    if (a->status && undo) status = moon__sql_do(store, MOON__SQL_UNSAVE, "cannot be written", error);
    if (a->status && creation(a)) { /* of a row that is no longer there */
        moon__sqlite_know(store, a->run, 0);
        moon__sqlite_unclaim(store);
    }
    return status || !undo ? status : moon__sql_do(store, MOON__SQL_RELEASE, "cannot be written", error);
}

/* ---- a batch ---- */

moon_status moon__sqlite_append(moon_store *store, moon_append *appends, size_t n, moon_error *error) {
    moon_status status = moon__sqlite_begin(store, error);
    if (status) return status;
    for (size_t i = 0; i < n; i++) appends[i].status = MOON_OK;
    for (size_t i = 0; !status && i < n; i++) status = append_one(store, &appends[i], error);
    if (status)
        moon__sqlite_rollback(store);
    else
        status = moon__sqlite_commit(store, error);
    if (!status || store->torn) return status;
    for (size_t i = 0; i < n; i++)
        if (!appends[i].status) appends[i].status = status;
    return MOON_OK;
}
