/* SPDX-License-Identifier: MIT */
/*
 * Acknowledged events per second: N journals, each with one event of 1 KB on its way; the next one is appended when it
 * is durable.
 *
 *   bench_store bare|keeper FILE JOURNALS SECONDS
 *
 * "bare" is a plain C loop over SQLite with the same batches: one row of 1 KB for each journal in a transaction, WAL,
 * synchronous=FULL. Prints a line that begins with "BENCH".
 */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "keeper.h"

enum { BODY = 1024 };

static int64_t now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static int report(size_t events, int64_t took_us) {
    printf("BENCH events=%zu ms=%.1f per_s=%.0f\n", events, (double)took_us / 1e3,
           (double)events * 1e6 / (double)took_us);
    return 0;
}

/* ---- bare ---- */

static int check(sqlite3 *db, int code) {
    if (code == SQLITE_OK || code == SQLITE_DONE || code == SQLITE_ROW) return 0;
    fprintf(stderr, "bench_store: %s\n", sqlite3_errmsg(db));
    exit(1);
}

static int bare(const char *file, size_t journals, double seconds) {
    static const char setup[] = "PRAGMA page_size=8192; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
                                "CREATE TABLE e(id INTEGER PRIMARY KEY, run INTEGER, seq INTEGER, body TEXT);"
                                "CREATE UNIQUE INDEX e_seq ON e(run, seq);";
    char body[BODY];
    sqlite3 *db;
    sqlite3_stmt *insert;
    memset(body, 'x', sizeof body);
    check(NULL, sqlite3_open(file, &db));
    check(db, sqlite3_exec(db, setup, NULL, NULL, NULL));
    check(db, sqlite3_prepare_v2(db, "INSERT INTO e(run, seq, body) VALUES(?1, ?2, ?3)", -1, &insert, NULL));
    size_t events = 0;
    int64_t start = now_us(), end = start + (int64_t)(seconds * 1e6);
    for (sqlite3_int64 seq = 1; now_us() < end; seq++) {
        check(db, sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL));
        for (size_t i = 0; i < journals; i++, events++) {
            sqlite3_bind_int64(insert, 1, (sqlite3_int64)i);
            sqlite3_bind_int64(insert, 2, seq);
            sqlite3_bind_text(insert, 3, body, BODY, SQLITE_STATIC);
            check(db, sqlite3_step(insert));
            sqlite3_reset(insert);
        }
        check(db, sqlite3_exec(db, "COMMIT", NULL, NULL, NULL));
    }
    int64_t took = now_us() - start;
    sqlite3_finalize(insert);
    sqlite3_close(db);
    return report(events, took);
}

/* ---- the keeper ---- */

typedef struct writer {
    moon__journal journal;
    moon__durable durable;
    const moon__buf *body;
    size_t *events;
    const int64_t *end;
    bool failed;
} writer;

static void append(writer *w);

static void on_durable(void *ctx, moon_status status) {
    writer *w = ctx;
    if (status) w->failed = true;
    if (status || now_us() >= *w->end) return;
    ++*w->events;
    append(w);
}

static void append(writer *w) {
    moon__journal_append(&w->journal, MOON_EVENT_LOG, "", "1", w->body);
    w->durable = (moon__durable){.fn = on_durable, .ctx = w};
    if (moon__journal_wait(&w->journal, &w->durable)) on_durable(w, MOON_OK);
}

static void on_lost(void *ctx, moon_status status) {
    fprintf(stderr, "bench_store: a journal was lost: %s\n", moon_status_text(status));
    (void)ctx;
}

static int kept(const char *file, size_t journals, double seconds) {
    moon_error error = {0};
    moon__loop *loop;
    moon__keeper *keeper;
    const moon__store_place place = {.ops = &moon_store_sqlite, .place = file};
    moon__random random;
    moon__buf body;
    writer *writers = calloc(journals, sizeof *writers);
    if (!writers || moon__loop_new(&loop, &moon__clock_real, &error) ||
        moon__keeper_new(&keeper, loop, &place, &error) || moon__keeper_ready(keeper, &error)) {
        fprintf(stderr, "bench_store: %s\n", error.text);
        return 1;
    }
    moon__buf_init(&body, 1 << 20);
    moon__buf_str(&body, "{\"text\":\"");
    while (body.len < BODY - 2) moon__buf_char(&body, 'x');
    moon__buf_str(&body, "\"}");
    moon__random_init(&random, 1);
    size_t events = 0;
    int64_t start = now_us(), end = start + (int64_t)(seconds * 1e6);
    for (size_t i = 0; i < journals; i++) {
        writer *w = &writers[i];
        *w = (writer){.body = &body, .events = &events, .end = &end};
        moon__journal_init(&w->journal, &moon__clock_real, &random);
        w->journal.ctx = w;
        moon__keeper_keep(keeper, &w->journal, on_lost);
        moon_run_info info = {
            .run = w->journal.id, .name = "b", .script = "", .workspace = "", .input = "", .stop = "", .fork_of = ""};
        moon__journal_side(&w->journal, &(moon_side){.kind = MOON_SIDE_CREATE, .info = &info});
        append(w);
    }
    while (now_us() < end) moon__loop_step(loop, 10);
    int64_t took = now_us() - start;
    moon__keeper_free(keeper);
    moon__loop_free(loop);
    bool failed = false;
    for (size_t i = 0; i < journals; i++) failed = failed || writers[i].failed;
    return report(events, took) || failed;
}

int main(int argc, char **argv) {
    if (argc != 5) {
        fprintf(stderr, "usage: bench_store bare|keeper FILE JOURNALS SECONDS\n");
        return 2;
    }
    size_t journals = strtoul(argv[3], NULL, 10);
    double seconds = strtod(argv[4], NULL);
    return strcmp(argv[1], "bare") == 0 ? bare(argv[2], journals, seconds) : kept(argv[2], journals, seconds);
}
