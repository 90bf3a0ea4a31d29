/* SPDX-License-Identifier: MIT */
/*
 * Processes that share a store, and are killed: is what they were told the truth?
 *
 *     crash_contend [--seconds N] [--seed S]
 *
 * Four processes, each with two threads that have a handle of their own (as two runtimes have), create runs, append to
 * them in batches, post to others' runs, take what was posted, take over runs whose process died, purge, read, and
 * close and open the store; checkpoints are frequent. One of the four is killed every now and then, and another
 * started. What a thread was told it notes in a file of its own before it goes on. At the end:
 *
 * - every event that was acknowledged is there, with its hash; so is what was posted, once, and taken at most once;
 * - the database is sound, by SQLite's check and by ours;
 * - nobody was told that the store is busy, but where somebody else drives the run;
 * - whoever wrote to the log or, in a checkpoint, to the database held the store's lock.
 *
 * Prints a line of numbers and succeeds if nothing was lost. As a control some events are removed then, which both our
 * check and the notes have to tell.
 */
#include <ftw.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "disk.h"
#include "record.h"
#include "rows.h"
#include "sqlite.h"

enum { WORKERS = 4, THREADS = 2, OWN = 4, BATCH = 3, RECORDS = 3 };

/* Beside the store, mapped by all. */
typedef struct board {
    atomic_bool stop;
    atomic_ullong appends, events, posts, takes, takeovers, purges, writes, checkpoints;
    atomic_ullong busy, unguarded, failed;
    atomic_llong longest_us; /* an append */
} board;

static board *shared;
static char large_body[20000];

static int64_t now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void die(const char *format, ...) {
    va_list args;
    va_start(args, format);
    fputs("crash_contend: ", stderr);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(2);
}

static board *map_board(const char *folder) {
    char path[128];
    snprintf(path, sizeof path, "%s/board", folder);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, sizeof(board)) != 0) die("no board");
    void *p = mmap(NULL, sizeof(board), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (p == MAP_FAILED) die("no board");
    return p;
}

/* ---- a thread of a worker ---- */

typedef struct own {
    char run[24];
    uint64_t seq;
    unsigned char hash[MOON_HASH_SIZE];
} own;

typedef struct actor {
    const char *place;
    char name[12], notes_path[128];
    uint64_t seed;
    moon_store *store;
    int notes;
    own runs[OWN];
    unsigned n_runs, made, posted;
} actor;

static const moon_store_ops *const ops = &moon_store_sqlite;
static _Thread_local moon_store *mine; /* NULL while it is opened */

/* Held by this store, and by nobody else? */
static bool is_held(const moon_store *store) {
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1};
    bool others = fcntl(store->locks.fd, F_OFD_GETLK, &lock) != 0 || lock.l_type != F_UNLCK;
    return !others && moon__lockfile_locked(&store->locks, 0);
}

static int on_operation(void *ctx, const shim_op *op) {
    (void)ctx;
    if (op->kind != SHIM_WRITE && op->kind != SHIM_TRUNCATE) return SQLITE_OK;
    if (shim_is(op, "-wal"))
        shared->writes++;
    else if (mine)
        shared->checkpoints++;
    if (mine && !is_held(mine)) shared->unguarded++;
    return SQLITE_OK;
}

static unsigned pick(actor *a, unsigned n) {
    return (unsigned)((disk_random(&a->seed) >> 20) % n);
}

/* What was told, written down before anything else is done. A kill leaves at most the last line in part. */
static void note(actor *a, const char *format, ...) {
    char line[200];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (write(a->notes, line, (size_t)n) != n) die("cannot note");
}

static bool told(moon_status status, const char *what, const moon_error *error) {
    if (status == MOON_OK) return true;
    if (status == MOON_EBUSY) shared->busy++;
    shared->failed++;
    fprintf(stderr, "%s: %s: %s\n", what, moon_status_text(status), error->text);
    return false;
}

static void open_store(actor *a) {
    moon_error error = {0};
    mine = NULL;
    if (!told(ops->open(&a->store, a->place, &error), "open", &error)) exit(1);
    a->store->checkpoint_pages = pick(a, 3) ? 8 + (int)pick(a, 60) : 200;
    mine = a->store;
}

/* ---- what a thread does ---- */

typedef struct draft {
    own *own;
    moon_record records[RECORDS];
    moon_side sides[3];
    moon_run_info info;
    char body[RECORDS][300], key[40];
    int64_t taken;
} draft;

static void write_draft(actor *a, draft *d, moon_append *append, own *to, int64_t item) {
    memset(d, 0, sizeof *d);
    d->own = to;
    d->taken = item;
    const unsigned char *before = to->hash;
    size_t n = 1 + pick(a, RECORDS), n_sides = 0;
    snprintf(d->key, sizeof d->key, "take %" PRId64, item);
    for (size_t i = 0; i < n; i++) {
        moon_record *r = &d->records[i];
        *r = (moon_record){.seq = to->seq + 1 + i, .type = MOON_EVENT_LOG, .time_us = now_us(), .path = "", .key = ""};
        if (i == 0 && item) r->key = d->key;
        snprintf(d->body[i], sizeof d->body[i], "{\"by\":\"%s\",\"n\":%" PRIu64 "}", a->name, disk_random(&a->seed));
        r->body = d->body[i];
        r->body_length = strlen(d->body[i]);
        if (pick(a, 30) == 0) {
            r->body = large_body;
            r->body_length = 4097 + pick(a, 15000);
        }
        moon__record_seal(r, before);
        before = r->hash;
    }
    d->info = (moon_run_info){
        .run = to->run, .name = "c", .script = "", .workspace = "", .input = "", .stop = "", .updated_us = now_us()};
    if (to->seq == 0) d->sides[n_sides++] = (moon_side){.kind = MOON_SIDE_CREATE, .info = &d->info};
    if (item) d->sides[n_sides++] = (moon_side){.kind = MOON_SIDE_TAKE, .item = item};
    d->sides[n_sides++] = (moon_side){.kind = MOON_SIDE_TIMER, .key = "t", .due_us = (int64_t)(to->seq + n)};
    *append = (moon_append){.run = to->run,
                            .expected = to->seq,
                            .records = d->records,
                            .n_records = n,
                            .sides = d->sides,
                            .n_sides = n_sides};
}

static bool settle(actor *a, draft *d, const moon_append *append) {
    char hash[MOON__HASH_TEXT];
    moon_error none = {0};
    if (!told(append->status, d->own->run, &none)) return false;
    for (size_t i = 0; i < append->n_records; i++) {
        moon__hash_text(hash, append->records[i].hash);
        note(a, "A %s %" PRIu64 " %s\n", d->own->run, append->records[i].seq, hash);
    }
    if (d->taken) note(a, "T %s %" PRId64 "\n", d->own->run, d->taken);
    d->own->seq += append->n_records;
    memcpy(d->own->hash, append->records[append->n_records - 1].hash, MOON_HASH_SIZE);
    shared->events += append->n_records;
    return true;
}

static bool on_item(void *ctx, int64_t item, const char *body, size_t length) {
    (void)body, (void)length;
    *(int64_t *)ctx = item;
    return false;
}

static bool send_batch(actor *a, own *const *runs, size_t n) {
    draft drafts[BATCH];
    moon_append appends[BATCH];
    moon_error error = {0};
    for (size_t i = 0; i < n; i++) {
        int64_t item = 0;
        if (runs[i]->seq && pick(a, 3) == 0 &&
            !told(ops->inbox(a->store, runs[i]->run, on_item, &item, &error), "inbox", &error))
            return false;
        write_draft(a, &drafts[i], &appends[i], runs[i], item);
        shared->takes += item != 0;
    }
    int64_t start = now_us();
    moon_status status = ops->append(a->store, appends, n, &error);
    long long took = now_us() - start, longest = shared->longest_us;
    while (took > longest && !atomic_compare_exchange_weak(&shared->longest_us, &longest, took)) continue;
    if (!told(status, "append", &error)) return false;
    shared->appends += n;
    for (size_t i = 0; i < n; i++)
        if (!settle(a, &drafts[i], &appends[i])) return false;
    return true;
}

static bool do_append(actor *a) {
    own *runs[BATCH];
    size_t n = 0;
    if (a->n_runs < OWN && pick(a, 8) == 0) {
        own *o = &a->runs[a->n_runs++];
        memset(o, 0, sizeof *o);
        snprintf(o->run, sizeof o->run, "%sn%u", a->name, a->made++);
        runs[n++] = o;
    }
    for (unsigned i = 0; i < a->n_runs && n < BATCH; i++)
        if (a->runs[i].seq && pick(a, 2)) runs[n++] = &a->runs[i];
    return n == 0 || send_batch(a, runs, n);
}

typedef struct found {
    actor *actor;
    unsigned left;
    bool unclaimed; /* wanted */
    char run[24];
} found;

static bool on_run(void *ctx, const moon_run_info *info) {
    found *f = ctx;
    if (f->unclaimed && info->claimed) return true;
    snprintf(f->run, sizeof f->run, "%s", info->run);
    return f->left-- > 0;
}

/* One of the runs that there are; "": none. */
static bool find_run(actor *a, found *f) {
    moon_error error = {0};
    f->actor = a;
    f->left = pick(a, 12);
    return told(ops->list(a->store, &(moon_query){.state = -1, .limit = 40}, on_run, f, &error), "list", &error);
}

static bool do_post(actor *a) {
    found f = {0};
    char once[40];
    moon_error error = {0};
    if (!find_run(a, &f)) return false;
    if (!*f.run) return true;
    snprintf(once, sizeof once, "%s-%u", a->name, a->posted++);
    moon_status status = ops->post(a->store, f.run, once, "\"note\"", 6, &error);
    if (status == MOON_ENOTFOUND) return true; /* purged meanwhile */
    if (!told(status, "post", &error)) return false;
    note(a, "O %s %s\n", f.run, once);
    shared->posts++;
    return true;
}

static bool on_record(void *ctx, const moon_record *record) {
    own *o = ctx;
    o->seq = record->seq;
    memcpy(o->hash, record->hash, MOON_HASH_SIZE);
    return true;
}

static void forget(actor *a, unsigned at) {
    a->runs[at] = a->runs[--a->n_runs];
}

/* A run whose process died is gone on with, or removed. */
static bool do_takeover(actor *a) {
    found f = {.unclaimed = true};
    moon_error error = {0};
    if (!find_run(a, &f)) return false;
    if (!*f.run || a->n_runs == OWN) return true;
    moon_status status = ops->claim(a->store, f.run, &error);
    if (status == MOON_EBUSY || status == MOON_ENOTFOUND) return true; /* somebody else was quicker */
    if (!told(status, "claim", &error)) return false;
    own *o = &a->runs[a->n_runs++];
    memset(o, 0, sizeof *o);
    snprintf(o->run, sizeof o->run, "%s", f.run);
    status = ops->read(a->store, o->run, 1, 0, on_record, o, &error);
    if (status == MOON_ENOTFOUND) { /* purged before it was claimed */
        forget(a, a->n_runs - 1);
        return true;
    }
    if (!told(status, "read", &error)) return false;
    shared->takeovers++;
    return send_batch(a, &o, 1);
}

static bool do_leave(actor *a) {
    if (a->n_runs == 0) return true;
    unsigned at = pick(a, a->n_runs);
    own o = a->runs[at];
    moon_error error = {0};
    if (o.seq == 0) return true;
    forget(a, at);
    ops->release(a->store, o.run);
    if (pick(a, 4)) return true;
    note(a, "p %s\n", o.run);
    moon_status status = ops->purge(a->store, o.run, &error);
    if (status == MOON_EBUSY && strstr(error.text, "driven")) return true; /* taken over */
    if (status == MOON_ENOTFOUND) return true;                             /* and removed */
    if (!told(status, "purge", &error)) return false;
    note(a, "P %s\n", o.run);
    shared->purges++;
    return true;
}

static bool do_reopen(actor *a) {
    ops->close(a->store);
    a->n_runs = 0; /* its claims are given up */
    open_store(a);
    return true;
}

static bool act(actor *a) {
    unsigned what = pick(a, 100);
    moon_error error = {0};
    if (what < 60) return do_append(a);
    if (what < 80) return do_post(a);
    if (what < 90) return do_takeover(a);
    if (what < 96) return do_leave(a);
    if (what < 98) return do_reopen(a);
    int64_t n = 0;
    (void)ops->version(a->store);
    for (unsigned i = 0; i < a->n_runs; i++) {
        own again = {0};
        if (a->runs[i].seq == 0) continue;
        if (!told(ops->read(a->store, a->runs[i].run, 1, 0, on_record, &again, &error), "read", &error)) return false;
        n += again.seq != a->runs[i].seq;
    }
    if (n) shared->failed++;
    return n == 0;
}

static void *run_actor(void *ctx) {
    actor *a = ctx;
    a->notes = open(a->notes_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (a->notes < 0) die("no notes");
    open_store(a);
    while (!shared->stop && act(a)) continue;
    ops->close(a->store);
    close(a->notes);
    return NULL;
}

/* contend worker FOLDER WORKER GENERATION SEED */
static int work(char **argv) {
    static actor actors[THREADS];
    pthread_t threads[THREADS];
    char place[128];
    shared = map_board(argv[2]);
    memset(large_body, 'x', sizeof large_body);
    shim_install();
    shim_hook(on_operation, NULL);
    snprintf(place, sizeof place, "%s/journal", argv[2]);
    for (int i = 0; i < THREADS; i++) {
        actor *a = &actors[i];
        a->place = place;
        a->seed = (strtoull(argv[5], NULL, 10) + (unsigned)i * 77) * 2 + 1;
        snprintf(a->name, sizeof a->name, "w%.1sg%.4s%c", argv[3], argv[4], 'a' + i);
        snprintf(a->notes_path, sizeof a->notes_path, "%s/notes-%.1s-%.4s-%d", argv[2], argv[3], argv[4], i);
        if (pthread_create(&threads[i], NULL, run_actor, a)) die("no thread");
    }
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    return shared->failed != 0;
}

/* ---- the parent ---- */

static pid_t start(const char *folder, int worker, int generation, uint64_t seed) {
    char numbers[3][24];
    snprintf(numbers[0], sizeof numbers[0], "%d", worker);
    snprintf(numbers[1], sizeof numbers[1], "%d", generation);
    snprintf(numbers[2], sizeof numbers[2], "%" PRIu64, seed % 1000000007);
    pid_t pid = fork();
    if (pid < 0) die("no process");
    if (pid == 0) {
        execl("/proc/self/exe", "crash_contend", "worker", folder, numbers[0], numbers[1], numbers[2], (char *)NULL);
        _exit(127);
    }
    return pid;
}

static unsigned contend(const char *folder, double seconds, uint64_t *seed) {
    pid_t pids[WORKERS];
    unsigned kills = 0;
    int generation = 0;
    for (int i = 0; i < WORKERS; i++) pids[i] = start(folder, i, generation, disk_random(seed));
    int64_t end = now_us() + (int64_t)(seconds * 1e6);
    while (now_us() < end && !shared->failed) {
        struct timespec nap = {.tv_nsec = (long)(50 + disk_random(seed) % 200) * 1000000};
        nanosleep(&nap, NULL);
        int at = (int)(disk_random(seed) % WORKERS);
        kill(pids[at], SIGKILL);
        waitpid(pids[at], NULL, 0);
        kills++;
        pids[at] = start(folder, at, ++generation, disk_random(seed));
    }
    shared->stop = true;
    for (int i = 0; i < WORKERS; i++) {
        int how = 0;
        waitpid(pids[i], &how, 0);
        if (how != 0) fprintf(stderr, "worker %d ended with %x\n", i, how);
        shared->failed += how != 0;
    }
    return kills;
}

/* ---- what is left ---- */

/* The notes go into a database of their own, to be held against the journal. */
static bool quiet; /* during the control */

static void run_sql(sqlite3 *db, const char *sql) {
    char *text = NULL;
    if (sqlite3_exec(db, sql, NULL, NULL, &text) != SQLITE_OK) die("%s: %s", sql, text);
}

static int64_t count(sqlite3 *db, const char *what, const char *sql) {
    sqlite3_stmt *s = NULL;
    if (sqlite3_prepare_v2(db, sql, -1, &s, NULL) != SQLITE_OK) die("%s: %s", what, sqlite3_errmsg(db));
    int64_t n = sqlite3_step(s) == SQLITE_ROW ? sqlite3_column_int64(s, 0) : -1;
    if (n != 0 && !quiet) fprintf(stderr, "%s: %" PRId64 "\n", what, n);
    sqlite3_finalize(s);
    return n != 0;
}

static sqlite3 *notes_db;

static int read_notes(const char *path, const struct stat *st, int type, struct FTW *ftw) {
    char line[200], kind, run[24], rest[100];
    (void)st, (void)type, (void)ftw;
    if (!strstr(path, "/notes-")) return 0;
    FILE *file = fopen(path, "r");
    if (!file) die("%s", path);
    sqlite3_stmt *s = NULL;
    sqlite3_prepare_v2(notes_db, "INSERT INTO notes VALUES(?1, ?2, ?3, ?4)", -1, &s, NULL);
    while (fgets(line, sizeof line, file)) {
        uint64_t seq = 0;
        *rest = 0;
        if (!strchr(line, '\n') || sscanf(line, "%c %23s %99[^\n]", &kind, run, rest) < 2) continue;
        char *hash = rest;
        if (kind == 'A') seq = strtoull(rest, &hash, 10);
        sqlite3_bind_text(s, 1, &kind, 1, SQLITE_TRANSIENT);
        sqlite3_bind_text(s, 2, run, -1, SQLITE_TRANSIENT);
        sqlite3_bind_int64(s, 3, (int64_t)seq);
        sqlite3_bind_text(s, 4, hash + (*hash == ' '), -1, SQLITE_TRANSIENT);
        if (sqlite3_step(s) != SQLITE_DONE) die("%s", sqlite3_errmsg(notes_db));
        sqlite3_reset(s);
    }
    sqlite3_finalize(s);
    fclose(file);
    return 0;
}

static void on_fault(void *ctx, const char *run, const char *text) {
    if (!quiet) fprintf(stderr, "check: %s: %s\n", run, text);
    ++*(int64_t *)ctx;
}

/* faults: what our check finds; returns what else is wrong. */
static int64_t look(const char *folder, int64_t *faults) {
    char sql[200], place[128];
    int64_t wrong = 0;
    moon_store *store;
    moon_error error = {0};
    snprintf(place, sizeof place, "%s/journal", folder);
    if (ops->open(&store, place, &error)) die("%s", error.text);
    (void)ops->check(store, on_fault, faults, &error);
    ops->close(store);
    if (sqlite3_open(":memory:", &notes_db) != SQLITE_OK) die("no memory");
    snprintf(sql, sizeof sql, "ATTACH '%s' AS j; CREATE TABLE notes(kind, run, seq INTEGER, what); BEGIN", place);
    run_sql(notes_db, sql);
    rows_open(notes_db, "j", "events");
    nftw(folder, read_notes, 16, FTW_PHYS);
    run_sql(notes_db, "COMMIT; CREATE INDEX of ON notes(kind, run);"
                      "CREATE TEMP VIEW kept AS SELECT n.* FROM notes n WHERE NOT EXISTS (SELECT 1 FROM notes p WHERE "
                      "p.kind = 'p' AND p.run = n.run)");
    wrong += count(notes_db, "integrity_check finds",
                   "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check <> 'ok'");
    wrong += count(notes_db, "events lost",
                   "SELECT count(*) FROM kept n WHERE kind = 'A' AND NOT EXISTS (SELECT 1 FROM j.runs r JOIN events c "
                   "ON c.run = r.id WHERE r.run = n.run AND c.seq = n.seq AND lower(hex(c.hash)) = n.what)");
    wrong += count(notes_db, "events acknowledged twice",
                   "SELECT count(*) FROM (SELECT 1 FROM kept WHERE kind = 'A' GROUP BY run, seq HAVING count(*) > 1)");
    wrong +=
        count(notes_db, "posts lost",
              "SELECT count(*) FROM kept n WHERE kind = 'O' AND 1 <> (SELECT count(*) FROM j.inbox i JOIN j.runs r "
              "ON r.id = i.run WHERE r.run = n.run AND i.once = n.what)");
    wrong += count(notes_db, "items taken twice",
                   "SELECT count(*) FROM (SELECT 1 FROM kept WHERE kind = 'T' GROUP BY run, what HAVING count(*) > 1)");
    wrong += count(notes_db, "items taken without a record, or the other way round",
                   "SELECT count(*) FROM j.inbox i WHERE taken <> (SELECT count(*) FROM events c WHERE c.run = i.run "
                   "AND c.key = 'take ' || i.id)");
    wrong += count(notes_db, "timers that are not of their run's last append",
                   "SELECT count(*) FROM j.heads h LEFT JOIN j.timers t ON t.run = h.run WHERE t.due_us IS NOT h.seq");
    wrong += count(notes_db, "runs that were purged and are there",
                   "SELECT count(*) FROM notes n JOIN j.runs r ON r.run = n.run WHERE n.kind = 'P'");
    sqlite3_close(notes_db);
    return wrong;
}

static bool remove_events(const char *folder) {
    char place[128];
    sqlite3 *db;
    snprintf(place, sizeof place, "%s/journal", folder);
    if (sqlite3_open(place, &db) != SQLITE_OK) die("%s", place);
    run_sql(db, "DELETE FROM records WHERE id IN (SELECT id FROM records ORDER BY id LIMIT 20)");
    bool removed = sqlite3_changes(db) > 0;
    sqlite3_close(db);
    return removed;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw) {
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

int main(int argc, char **argv) {
    double seconds = 3;
    uint64_t seed = 1;
    if (argc == 6 && !strcmp(argv[1], "worker")) return work(argv);
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--seconds") && i + 1 < argc)
            seconds = strtod(argv[++i], NULL);
        else if (!strcmp(argv[i], "--seed") && i + 1 < argc)
            seed = strtoull(argv[++i], NULL, 10) * 2 + 1;
        else
            die("usage: crash_contend [--seconds N] [--seed S]");
    }
    char folder[] = "/tmp/moonlet-contend-XXXXXX";
    if (!mkdtemp(folder)) die("no folder");
    shared = map_board(folder);
    unsigned kills = contend(folder, seconds, &seed);
    int64_t faults = 0, wrong = look(folder, &faults);
    printf(
        "seconds %.0f kills %u appends %llu events %llu posts %llu takes %llu takeovers %llu purges %llu pages written "
        "%llu checkpointed %llu longest append %.1f ms; busy %llu unguarded %llu failed %llu wrong %lld\n",
        seconds, kills, shared->appends, shared->events, shared->posts, shared->takes, shared->takeovers,
        shared->purges, shared->writes / 2, shared->checkpoints, (double)shared->longest_us / 1e3, shared->busy,
        shared->unguarded, shared->failed, (long long)(wrong + faults));
    quiet = true;
    wrong += faults;
    bool fine = wrong || (remove_events(folder) && look(folder, &faults) && faults);
    if (!fine) fprintf(stderr, "events were removed, and that was not noticed\n");
    fine = fine && !wrong && !shared->busy && !shared->unguarded && !shared->failed && shared->events &&
           shared->checkpoints;
    if (fine) nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return !fine;
}
