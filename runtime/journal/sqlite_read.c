/* SPDX-License-Identifier: MIT */
/* Reading the SQLite store. A row's text and bytes live until the statement is stepped again. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pack.h"
#include "sqlite.h"

static const char *text_at(sqlite3_stmt *s, int column) {
    const char *text = (const char *)sqlite3_column_text(s, column);
    return text ? text : "";
}

static bool hash_at(sqlite3_stmt *s, int column, unsigned char hash[MOON_HASH_SIZE]) {
    if (sqlite3_column_bytes(s, column) != MOON_HASH_SIZE) return false;
    memcpy(hash, sqlite3_column_blob(s, column), MOON_HASH_SIZE);
    return true;
}

static moon_status damaged(moon_store *store, const char *run, uint64_t seq, const char *what, moon_error *error) {
    if (sqlite3_errcode(store->db) == SQLITE_NOMEM) /* a text that could not be had is no damage */
        return moon__sql_fail(store, "cannot be read", error);
    return moon_error_set(error, MOON_ECORRUPT,
                          "journal %.200s is damaged: run %.40s, record %" PRIu64
                          " %s; `moonlet runs --check` tells more",
                          store->place, run, seq, what);
}

/* Where a walk over a run's records stands; the chain is checked on the way. A walk that does not begin at the run's
 * first record begins with the one before, whose hash it takes as it is. */
typedef struct walk {
    moon_store *store;
    const char *run;
    sqlite3_stmt *blob; /* looks bytes up: its own, because the reader may read too */
    uint64_t next;      /* the seq that has to come */
    bool chained;       /* before is known */
    unsigned char before[MOON_HASH_SIZE];
    bool (*row)(void *ctx, const moon_record *record);
    void *ctx;
    bool ended; /* the reader has enough */
} walk;

/* Sets the body of a record that is kept apart. */
static moon_status fetch(walk *w, moon_record *record, moon_error *error) {
    static const char sql[] = "SELECT bytes FROM blobs WHERE hash = ?1";
    if (!w->blob && sqlite3_prepare_v2(w->store->db, sql, -1, &w->blob, NULL) != SQLITE_OK)
        return moon__sql_fail(w->store, "cannot be read", error);
    sqlite3_reset(w->blob);
    sqlite3_bind_blob(w->blob, 1, record->body_hash, MOON_HASH_SIZE, SQLITE_TRANSIENT);
    int code = sqlite3_step(w->blob);
    if (code == SQLITE_DONE) return damaged(w->store, w->run, record->seq, "has lost its body", error);
    if (code != SQLITE_ROW) return moon__sql_fail(w->store, "cannot be read", error);
    record->body = sqlite3_column_blob(w->blob, 0);
    if (!record->body || (size_t)sqlite3_column_bytes(w->blob, 0) != record->body_length)
        return damaged(w->store, w->run, record->seq, "does not fit its hash", error);
    return MOON_OK;
}

static moon_status one_record(walk *w, moon_record *record, moon_error *error) {
    moon_status status = record->body ? MOON_OK : fetch(w, record, error);
    if (status) return status;
    if (w->chained && !moon__record_sound(record, w->before))
        return damaged(w->store, w->run, record->seq, "does not fit its hash", error);
    memcpy(w->before, record->hash, MOON_HASH_SIZE);
    w->next++;
    w->ended = w->chained && w->row && !w->row(w->ctx, record);
    w->chained = true;
    return MOON_OK;
}

/* The records of a row, up to `to`. The first row that is read may begin before what is asked for. */
static moon_status one_row(walk *w, sqlite3_stmt *s, bool first, uint64_t to, moon_error *error) {
    uint64_t seq = (uint64_t)sqlite3_column_int64(s, 0), last = (uint64_t)sqlite3_column_int64(s, 1);
    const unsigned char *bytes = sqlite3_column_blob(s, 2);
    moon__packed data = {bytes, bytes ? bytes + sqlite3_column_bytes(s, 2) : bytes};
    moon_status status = MOON_OK;
    moon_record record;
    if (seq > w->next) return damaged(w->store, w->run, w->next, "is missing", error);
    if (seq < w->next && !first) return damaged(w->store, w->run, seq, "is there twice", error);
    for (; !status && !w->ended && seq <= last && seq <= to; seq++) {
        if (!moon__unpack(&data, &record)) return damaged(w->store, w->run, seq, "cannot be made out", error);
        record.seq = seq;
        if (seq == w->next) status = one_record(w, &record, error);
    }
    if (!status && seq > last && data.p != data.end)
        status = damaged(w->store, w->run, last, "is followed by what is no record", error);
    return status;
}

/* Records from..to that stand under this row of runs, not under the one it was forked from. */
static moon_status own_rows(walk *w, int64_t id, uint64_t to, moon_error *error) {
    sqlite3_stmt *s = NULL;
    /* A statement of its own: the callback may read too. */
    static const char sql[] = "SELECT first, last, data FROM records WHERE run = ?1 AND first >= coalesce((SELECT "
                              "max(first) FROM records WHERE run = ?1 AND first <= ?2), 0) AND first <= ?3 "
                              "ORDER BY first";
    if (sqlite3_prepare_v2(w->store->db, sql, -1, &s, NULL) != SQLITE_OK)
        return moon__sql_fail(w->store, "cannot be read", error);
    sqlite3_bind_int64(s, 1, id);
    sqlite3_bind_int64(s, 2, (int64_t)w->next);
    sqlite3_bind_int64(s, 3, (int64_t)to);
    moon_status status = MOON_OK;
    int code = SQLITE_DONE;
    for (bool first = true; !status && !w->ended && (code = sqlite3_step(s)) == SQLITE_ROW; first = false)
        status = one_row(w, s, first, to, error);
    if (!status && !w->ended && code != SQLITE_DONE) status = moon__sql_fail(w->store, "cannot be read", error);
    sqlite3_finalize(s);
    return status;
}

static moon_status base_of(moon_store *store, int64_t id, int64_t *base, uint64_t *at, moon_error *error) {
    sqlite3_stmt *s = moon__sql_get(store, MOON__SQL_RUN_BASE);
    *base = 0;
    *at = 0;
    if (!s) return moon__sql_fail(store, "cannot be used", error);
    sqlite3_bind_int64(s, 1, id);
    int code = sqlite3_step(s);
    if (code == SQLITE_ROW) {
        *base = sqlite3_column_int64(s, 0);
        *at = (uint64_t)sqlite3_column_int64(s, 1);
    }
    moon_status status =
        code == SQLITE_ROW || code == SQLITE_DONE ? MOON_OK : moon__sql_fail(store, "cannot be read", error);
    sqlite3_reset(s);
    return status;
}

/* Those before a fork first. A fork of a fork of … is as deep as people fork. */
static moon_status rows(walk *w, int64_t id, uint64_t to, int depth, moon_error *error) {
    int64_t base = 0;
    uint64_t at = 0;
    moon_status status = base_of(w->store, id, &base, &at, error);
    if (!status && base && depth > 1000) return damaged(w->store, w->run, w->next, "is forked in a circle", error);
    if (!status && base && w->next <= at) status = rows(w, base, at < to ? at : to, depth + 1, error);
    if (!status && base && !w->ended && w->next <= at && w->next <= to)
        status = damaged(w->store, w->run, w->next, "is missing before the fork", error);
    return status || w->ended || w->next > to ? status : own_rows(w, id, to, error);
}

static moon_status walk_to(walk *w, const moon__row *row, uint64_t to, moon_error *error) {
    uint64_t last = to && to < row->head ? to : row->head;
    if (to && w->next > to) return MOON_OK;
    if (w->next == 1)
        w->chained = true;
    else
        w->next--;
    uint64_t first = w->next;
    moon_status status = rows(w, row->id, to ? to : INT64_MAX, 0, error);
    if (!status && !w->ended && w->next <= last) status = damaged(w->store, w->run, w->next, "is missing", error);
    if (!status && w->next > first && w->next > row->head + 1)
        status = damaged(w->store, w->run, row->head, "is not the last", error);
    return status;
}

moon_status moon__sqlite_read(moon_store *store, const char *run, uint64_t from, uint64_t to,
                              bool (*row)(void *ctx, const moon_record *record), void *ctx, moon_error *error) {
    walk w = {.store = store, .run = run, .next = from ? from : 1, .row = row, .ctx = ctx};
    moon__row found = {0};
    sqlite3_stmt *moment = NULL; /* while it stands on its row, all that is read is of one moment */
    if (sqlite3_prepare_v2(store->db, "SELECT 1 FROM runs", -1, &moment, NULL) != SQLITE_OK)
        return moon__sql_fail(store, "cannot be read", error);
    int code = sqlite3_step(moment);
    moon_status status = code == SQLITE_ROW || code == SQLITE_DONE ? moon__sqlite_run(store, run, &found, error)
                                                                   : moon__sql_fail(store, "cannot be read", error);
    if (!status) status = walk_to(&w, &found, to, error);
    sqlite3_finalize(w.blob);
    sqlite3_finalize(moment);
    return status;
}

moon_status moon__sqlite_list(moon_store *store, const moon_query *query,
                              bool (*row)(void *ctx, const moon_run_info *info), void *ctx, moon_error *error) {
    sqlite3_stmt *s = moon__sql_get(store, query->run ? MOON__SQL_LIST_ONE : MOON__SQL_LIST);
    if (!s) return moon__sql_fail(store, "cannot be used", error);
    moon__sql_text(s, 1, query->run);
    moon__sql_text(s, 2, query->workspace);
    sqlite3_bind_int(s, 3, query->state);
    sqlite3_bind_int64(s, 4, query->since_us);
    sqlite3_bind_int64(s, 5, query->limit ? (int64_t)query->limit : -1);
    int64_t updated_us = INT64_MAX, id = INT64_MAX; /* of the row before */
    moon_status status = MOON_OK;
    int code;
    while ((code = sqlite3_step(s)) == SQLITE_ROW) {
        moon_run_info info = {.run = text_at(s, 0),
                              .name = text_at(s, 1),
                              .script = text_at(s, 2),
                              .workspace = text_at(s, 3),
                              .input = text_at(s, 4),
                              .stop = text_at(s, 5),
                              .state = (moon_run_state)sqlite3_column_int(s, 6),
                              .resumable = sqlite3_column_int(s, 7) != 0,
                              .created_us = sqlite3_column_int64(s, 8),
                              .updated_us = sqlite3_column_int64(s, 9),
                              .steps = sqlite3_column_int64(s, 10),
                              .tool_calls = sqlite3_column_int64(s, 11),
                              .tokens = sqlite3_column_int64(s, 12),
                              .usd = sqlite3_column_double(s, 13),
                              .fork_of = text_at(s, 14),
                              .fork_at = (uint64_t)sqlite3_column_int64(s, 15)};
        bool follows =
            info.updated_us < updated_us || (info.updated_us == updated_us && sqlite3_column_int64(s, 16) < id);
        updated_us = info.updated_us;
        id = sqlite3_column_int64(s, 16);
        if (!follows) /* a walk over damaged pages may come to the same rows for ever */
            status = moon_error_set(error, MOON_ECORRUPT, "journal %.200s is damaged: its runs are not in their order",
                                    store->place);
        info.claimed = moon__lockfile_locked(&store->locks, moon__sqlite_claim_byte(id));
        if (status || !row(ctx, &info)) break;
    }
    if (code != SQLITE_ROW && code != SQLITE_DONE) status = moon__sql_fail(store, "cannot be read", error);
    sqlite3_reset(s);
    return status;
}

/* ---- walks along an index ---- */

/* A walk over damaged pages may come to the same rows for ever, so each row has to be behind the one before it; and no
 * row is passed over by SQLite itself, which would walk on without us. */
typedef struct place {
    bool begun;
    int64_t first, second;
    char *text;
} place;

static moon_status go_on_to(moon_store *store, place *at, int64_t first, int64_t second, const char *text,
                            moon_error *error) {
    bool later = first > at->first || (first == at->first && second > at->second) ||
                 (first == at->first && second == at->second && at->text && strcmp(text, at->text) > 0);
    if (at->begun && !later)
        return moon_error_set(error, MOON_ECORRUPT, "journal %.200s is damaged: rows are not in their order",
                              store->place);
    char *copy = strdup(text);
    if (!copy) return moon_error_set(error, MOON_ENOMEM, "no memory to read the journal");
    free(at->text);
    *at = (place){.begun = true, .first = first, .second = second, .text = copy};
    return MOON_OK;
}

typedef struct numbers {
    int64_t *p;
    size_t n, room;
} numbers;

static moon_status add_number(numbers *list, int64_t number, moon_error *error) {
    if (list->n == list->room) {
        size_t room = list->room ? list->room * 2 : 64;
        int64_t *more = realloc(list->p, room * sizeof *more);
        if (!more) return moon_error_set(error, MOON_ENOMEM, "no memory for the inbox");
        list->p = more;
        list->room = room;
    }
    list->p[list->n++] = number;
    return MOON_OK;
}

static int compare_numbers(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* The numbers of what was not taken, in the order in which it came. */
static moon_status list_items(moon_store *store, int64_t run, numbers *items, moon_error *error) {
    sqlite3_stmt *s = moon__sql_get(store, MOON__SQL_INBOX_LIST);
    if (!s) return moon__sql_fail(store, "cannot be used", error);
    sqlite3_bind_int64(s, 1, run);
    place at = {0};
    moon_status status = MOON_OK;
    int code = SQLITE_DONE;
    while (!status && (code = sqlite3_step(s)) == SQLITE_ROW) {
        status = go_on_to(store, &at, 0, 0, text_at(s, 0), error);
        if (!status && !sqlite3_column_int(s, 2)) status = add_number(items, sqlite3_column_int64(s, 1), error);
    }
    if (!status && code != SQLITE_DONE) status = moon__sql_fail(store, "cannot be read", error);
    free(at.text);
    sqlite3_reset(s);
    if (items->n) qsort(items->p, items->n, sizeof *items->p, compare_numbers);
    return status;
}

static moon_status one_item(moon_store *store, int64_t item,
                            bool (*row)(void *ctx, int64_t item, const char *body, size_t length), void *ctx,
                            bool *enough, moon_error *error) {
    sqlite3_stmt *s = moon__sql_get(store, MOON__SQL_INBOX_READ);
    if (!s) return moon__sql_fail(store, "cannot be used", error);
    sqlite3_bind_int64(s, 1, item);
    int code = sqlite3_step(s);
    if (code == SQLITE_ROW) {
        const char *body = text_at(s, 0);
        *enough = !row(ctx, item, body, (size_t)sqlite3_column_bytes(s, 0));
    }
    moon_status status =
        code == SQLITE_ROW || code == SQLITE_DONE ? MOON_OK : moon__sql_fail(store, "cannot be read", error);
    sqlite3_reset(s);
    return status;
}

moon_status moon__sqlite_inbox(moon_store *store, const char *run,
                               bool (*row)(void *ctx, int64_t item, const char *body, size_t length), void *ctx,
                               moon_error *error) {
    moon__row row_of = {0};
    numbers items = {0};
    bool enough = false;
    moon_status status = moon__sqlite_run(store, run, &row_of, error);
    if (!status) status = list_items(store, row_of.id, &items, error);
    for (size_t i = 0; !status && !enough && i < items.n; i++)
        status = one_item(store, items.p[i], row, ctx, &enough, error);
    free(items.p);
    return status;
}

moon_status moon__sqlite_due(moon_store *store, int64_t now_us, size_t limit,
                             bool (*row)(void *ctx, const char *run, const char *key, int64_t due_us), void *ctx,
                             moon_error *error) {
    sqlite3_stmt *s = moon__sql_get(store, MOON__SQL_TIMER_DUE);
    if (!s) return moon__sql_fail(store, "cannot be used", error);
    sqlite3_bind_int64(s, 1, now_us);
    sqlite3_bind_int64(s, 2, limit ? (int64_t)limit : -1);
    place at = {0};
    moon_status status = MOON_OK;
    int code = SQLITE_DONE;
    bool enough = false;
    while (!status && !enough && (code = sqlite3_step(s)) == SQLITE_ROW) {
        int64_t due_us = sqlite3_column_int64(s, 2);
        status = go_on_to(store, &at, due_us, sqlite3_column_int64(s, 3), text_at(s, 1), error);
        if (!status && sqlite3_column_type(s, 0) != SQLITE_NULL) /* else it is a timer of no run */
            enough = !row(ctx, text_at(s, 0), text_at(s, 1), due_us);
    }
    if (!status && !enough && code != SQLITE_DONE) status = moon__sql_fail(store, "cannot be read", error);
    free(at.text);
    sqlite3_reset(s);
    return status;
}

moon_status moon__sqlite_blob(moon_store *store, const unsigned char *hash,
                              bool (*bytes)(void *ctx, const void *bytes, size_t length), void *ctx,
                              moon_error *error) {
    sqlite3_stmt *s = moon__sql_get(store, MOON__SQL_BLOB_GET);
    if (!s) return moon__sql_fail(store, "cannot be used", error);
    sqlite3_bind_blob(s, 1, hash, MOON_HASH_SIZE, SQLITE_STATIC);
    int code = sqlite3_step(s);
    moon_status status = MOON_OK;
    if (code == SQLITE_ROW) {
        unsigned char real[MOON_HASH_SIZE];
        const void *p = sqlite3_column_blob(s, 0);
        size_t n = (size_t)sqlite3_column_bytes(s, 0);
        moon__sha256(real, &(moon__bytes){p, n}, 1);
        if (memcmp(real, hash, MOON_HASH_SIZE) != 0)
            status = moon_error_set(error, MOON_ECORRUPT, "journal %.200s is damaged: bytes do not fit their hash",
                                    store->place);
        else
            (void)bytes(ctx, n ? p : "", n);
    } else if (code == SQLITE_DONE)
        status = moon_error_set(error, MOON_ENOTFOUND, "journal %.200s does not hold these bytes", store->place);
    else
        status = moon__sql_fail(store, "cannot be read", error);
    sqlite3_reset(s);
    return status;
}

/* ---- checking all ---- */

/* What holds between tables, each a question that gives a row (the run it is about, if there is one) for each fault. */
static const struct {
    const char *sql, *text;
} questions[] = {
    {"SELECT DISTINCT '' FROM records WHERE run NOT IN (SELECT id FROM runs)", "there are records of no run"},
    {"SELECT DISTINCT '' FROM uses WHERE run NOT IN (SELECT id FROM runs)", "bytes are kept for no run"},
    {"SELECT DISTINCT '' FROM inbox WHERE run NOT IN (SELECT id FROM runs)", "something was posted to no run"},
    {"SELECT DISTINCT '' FROM timers WHERE run NOT IN (SELECT id FROM runs)", "there is a timer of no run"},
    {"SELECT r.run FROM runs r JOIN records c ON c.run = r.id WHERE c.first <= r.base_at GROUP BY r.id",
     "there are records where the run has none"},
    {"SELECT DISTINCT r.run FROM uses u JOIN runs r ON r.id = u.run WHERE u.hash NOT IN (SELECT hash FROM blobs)",
     "bytes that it needs are missing"},
};

typedef struct inspection {
    moon_store *store;
    void (*fault)(void *ctx, const char *run, const char *text);
    void *ctx;
    moon_error *error;
    moon_status status;
    int64_t last; /* id of the last row, where they have one */
} inspection;

static void found(inspection *in, const char *run, const char *text) {
    in->fault(in->ctx, run, text);
    in->status = moon_error_set(in->error, MOON_ECORRUPT, "journal %.200s is damaged", in->store->place);
}

/* Calls row for each row of the statement, until it returns false. What cannot be read is a fault too. */
static void inspect(inspection *in, const char *sql, bool (*row)(inspection *in, sqlite3_stmt *s, const char *text),
                    const char *text) {
    sqlite3_stmt *s = NULL;
    int code = sqlite3_prepare_v2(in->store->db, sql, -1, &s, NULL);
    in->last = INT64_MIN;
    while (code == SQLITE_OK || code == SQLITE_ROW)
        if ((code = sqlite3_step(s)) == SQLITE_ROW && !row(in, s, text)) code = SQLITE_DONE;
    if (code != SQLITE_DONE) {
        moon_error failed = {0};
        in->status = moon__sql_fail(in->store, "cannot be checked", &failed);
        in->fault(in->ctx, "", failed.text);
        if (in->error) *in->error = failed;
    }
    sqlite3_finalize(s);
}

/* A walk over damaged pages may come to the same rows for ever. */
static bool goes_on(inspection *in, sqlite3_stmt *s) {
    int64_t id = sqlite3_column_int64(s, 0);
    bool on = id > in->last;
    if (!on) found(in, "", "rows are not in their order");
    in->last = id;
    return on;
}

static bool on_integrity(inspection *in, sqlite3_stmt *s, const char *text) {
    (void)text;
    if (strcmp(text_at(s, 0), "ok") != 0) found(in, "", text_at(s, 0));
    return true;
}

static bool on_run(inspection *in, sqlite3_stmt *s, const char *text) {
    moon_error failed = {0};
    (void)text;
    if (moon__sqlite_read(in->store, text_at(s, 1), 1, 0, NULL, NULL, &failed)) found(in, text_at(s, 1), failed.text);
    return goes_on(in, s);
}

static bool on_blob(inspection *in, sqlite3_stmt *s, const char *text) {
    unsigned char hash[MOON_HASH_SIZE], real[MOON_HASH_SIZE];
    moon__sha256(real, &(moon__bytes){sqlite3_column_blob(s, 2), (size_t)sqlite3_column_bytes(s, 2)}, 1);
    if (!hash_at(s, 1, hash) || memcmp(hash, real, MOON_HASH_SIZE) != 0) found(in, "", text);
    return goes_on(in, s);
}

static bool on_answer(inspection *in, sqlite3_stmt *s, const char *text) {
    found(in, text_at(s, 0), text);
    return true;
}

moon_status moon__sqlite_check(moon_store *store, void (*fault)(void *ctx, const char *run, const char *text),
                               void *ctx, moon_error *error) {
    inspection in = {.store = store, .fault = fault, .ctx = ctx, .error = error};
    inspect(&in, "PRAGMA integrity_check", on_integrity, NULL);
    bool whole = in.status == MOON_OK;
    inspect(&in, "SELECT id, run FROM runs ORDER BY id", on_run, NULL);
    inspect(&in, "SELECT id, hash, bytes FROM blobs ORDER BY id", on_blob, "bytes do not fit their hash");
    for (size_t i = 0; whole && i < sizeof questions / sizeof *questions; i++)
        inspect(&in, questions[i].sql, on_answer, questions[i].text);
    return in.status;
}
