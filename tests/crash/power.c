/* SPDX-License-Identifier: MIT */
/*
 * Power cuts: does the SQLite store keep what it said it keeps?
 *
 *     crash_power [--images N] [--seed S] [--control normal|nosync] [--verbose]
 *
 * A seeded workload (runs, batches, large bodies, posts, purges, checkpoints, two handles that take turns, and in every
 * third round disks that fail) goes through the store, on a disk that is watched (disk.h). Then images are made of what
 * that disk may hold after a power cut at some moment, and each is opened as a store, read and checked:
 *
 * - an append that was acknowledged by then is there, in its place, with its hashes;
 * - one that was refused is not, and one that was on its way is there whole or not at all, with all that belongs to it;
 * - what was posted and not taken is in the inbox, once;
 * - check() finds nothing.
 *
 * Prints "images N lost L corrupt C …" and succeeds if L and C are 0. A control must fail, to show that the images are
 * worth something: `normal` runs with synchronous=NORMAL, `nosync` on a disk that ignores syncs; it succeeds if
 * something was lost (and, with `normal`, nothing damaged).
 */
#include <ftw.h>
#include <inttypes.h>
#include <stdarg.h>
#include <sys/stat.h>

#include "disk.h"
#include "record.h"
#include "sqlite.h"

enum { RUNS = 24, LIVE = 6, STEPS = 90, LONGEST = 4, ATTEMPTS = STEPS + 4, ITEMS = 64, IMAGES_PER_ROUND = 100 };

/* An append, or something posted, or a purge: what was on its way from `begun` to `ended`, and what came of it. */
typedef struct span {
    size_t begun, ended;
    bool kept, unknown;
} span;

typedef struct attempt {
    span when;
    uint64_t first; /* its records' seqs begin here */
    size_t n;
    unsigned char hashes[LONGEST][MOON_HASH_SIZE];
    int takes; /* the item; -1: none */
} attempt;

typedef struct track {
    char run[24];
    uint64_t seq; /* as its owner knows it */
    unsigned char hash[MOON_HASH_SIZE];
    attempt attempts[ATTEMPTS];
    size_t n;
    bool over; /* nothing is written to it any more */
    bool purging;
    span purge;
} track;

typedef struct item {
    int run;
    char body[32];
    span when;
    int taken; /* the attempt of its run that took it, as far as its owner knows; -1: none did */
} item;

typedef struct world {
    uint64_t seed;
    const moon_store_ops *ops;
    moon_store *stores[2];
    disk disk;
    char folder[64], place[96], image[96], image_place[128];
    track runs[RUNS];
    int n_runs;
    item items[ITEMS];
    int n_items;
    bool failing; /* the disk fails now and then */
    const char *control;
    bool verbose;
    char *large;
    size_t images, lost, corrupt;
    size_t acknowledged, refused, unknown, checkpoints; /* appends; pages that checkpoints wrote */
} world;

static unsigned pick(world *w, unsigned n) {
    return (unsigned)((disk_random(&w->seed) >> 20) % n);
}

static void die(const char *format, ...) {
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(2);
}

/* ---- the workload ---- */

static int on_fault(void *ctx, const shim_op *op) {
    world *w = ctx;
    w->checkpoints += op->kind == SHIM_WRITE && shim_is(op, "/journal");
    if (!w->failing) return SQLITE_OK;
    if (op->kind == SHIM_SYNC && pick(w, 12) == 0) return SQLITE_IOERR_FSYNC;
    if (op->kind == SHIM_WRITE && pick(w, 60) == 0) return pick(w, 2) ? SQLITE_FULL : SQLITE_IOERR_WRITE;
    return SQLITE_OK;
}

static void open_stores(world *w) {
    bool failing = w->failing;
    w->failing = false; /* a store that cannot be opened tells nothing */
    for (int i = 0; i < 2; i++) {
        moon_error error = {0};
        if (w->ops->open(&w->stores[i], w->place, &error)) die("open: %s", error.text);
        w->stores[i]->checkpoint_pages = pick(w, 4) ? 6 + (int)pick(w, 60) : 1000;
        if (pick(w, 3) == 0) /* pages go to the log before their commit */
            sqlite3_exec(w->stores[i]->db, "PRAGMA cache_size=3", NULL, NULL, NULL);
        if (w->control && !strcmp(w->control, "normal"))
            sqlite3_exec(w->stores[i]->db, "PRAGMA synchronous=NORMAL", NULL, NULL, NULL);
    }
    w->failing = failing;
}

static void close_stores(world *w) {
    for (int i = 0; i < 2; i++) w->ops->close(w->stores[i]);
}

/* What one append of a batch is made of; pointers go from the one to the other. */
typedef struct draft {
    moon_record records[LONGEST];
    moon_side sides[5];
    moon_run_info info;
    char small[LONGEST][400], blob[64];
    unsigned char blob_hash[MOON_HASH_SIZE];
    track *track;
    attempt *attempt;
} draft;

/* What every append keeps beside its records, so that it can be seen whether it is whole. */
static size_t blob_of(const track *t, uint64_t seq, char text[64], unsigned char hash[MOON_HASH_SIZE]) {
    size_t n = (size_t)snprintf(text, 64, "%s at %" PRIu64, t->run, seq);
    moon__sha256(hash, &(moon__bytes){text, n}, 1);
    return n;
}

static void write_body(world *w, draft *d, moon_record *r, char small[400]) {
    (void)d;
    if (pick(w, 10) == 0) { /* equal ones now and then, too */
        r->body = w->large + pick(w, 16);
        r->body_length = 5000 + 1000 * pick(w, pick(w, 4) ? 8 : 120);
        return;
    }
    int n = snprintf(small, 400, "{\"n\":%" PRIu64 ",\"text\":\"", disk_random(&w->seed));
    memset(small + n, 'x', pick(w, 340));
    r->body = small;
    r->body_length = strlen(small);
}

static int oldest_item(const world *w, int run) {
    for (int i = 0; i < w->n_items; i++)
        if (w->items[i].run == run && w->items[i].when.kept && w->items[i].taken < 0) return i;
    return -1;
}

static void write_draft(world *w, track *t, draft *d, moon_append *a) {
    memset(d, 0, sizeof *d);
    d->track = t;
    d->attempt = &t->attempts[t->n++];
    *d->attempt = (attempt){.first = t->seq + 1, .n = 1 + pick(w, LONGEST), .takes = -1};
    unsigned char before[MOON_HASH_SIZE];
    memcpy(before, t->hash, sizeof before);
    for (size_t i = 0; i < d->attempt->n; i++) {
        moon_record *r = &d->records[i];
        *r = (moon_record){.seq = t->seq + 1 + i, .type = MOON_EVENT_LOG, .time_us = (int64_t)w->disk.n, .path = "1.2"};
        r->key = i % 2 ? "c1" : "";
        write_body(w, d, r, d->small[i]);
        moon__record_seal(r, before);
        memcpy(before, r->hash, sizeof before);
        memcpy(d->attempt->hashes[i], r->hash, sizeof before);
    }
    uint64_t last = t->seq + d->attempt->n;
    size_t n = 0, length = blob_of(t, last, d->blob, d->blob_hash);
    d->info = (moon_run_info){.run = t->run,
                              .name = "agent",
                              .script = "",
                              .workspace = "/w",
                              .input = "",
                              .stop = "",
                              .created_us = 1,
                              .updated_us = (int64_t)last,
                              .steps = (int64_t)last};
    d->sides[n++] = (moon_side){.kind = t->seq ? MOON_SIDE_UPDATE : MOON_SIDE_CREATE, .info = &d->info};
    d->sides[n++] = (moon_side){.kind = MOON_SIDE_TIMER, .key = "t", .due_us = (int64_t)last};
    d->sides[n++] = (moon_side){.kind = MOON_SIDE_BLOB, .hash = d->blob_hash, .bytes = d->blob, .length = length};
    int taken = pick(w, 2) ? oldest_item(w, (int)(t - w->runs)) : -1;
    if (taken >= 0) {
        char *end = strrchr(w->items[taken].body, ' ');
        d->sides[n++] = (moon_side){.kind = MOON_SIDE_TAKE, .item = strtoll(end, NULL, 10)};
        d->attempt->takes = taken;
    }
    *a = (moon_append){.run = t->run,
                       .expected = t->seq,
                       .records = d->records,
                       .n_records = d->attempt->n,
                       .sides = d->sides,
                       .n_sides = n};
}

/* A run that can be written to; now and then a new one. */
static track *some_run(world *w) {
    int live = 0, at[RUNS];
    for (int i = 0; i < w->n_runs; i++)
        if (!w->runs[i].over && w->runs[i].n < ATTEMPTS) at[live++] = i;
    if (w->n_runs < RUNS && (live == 0 || (live < LIVE && pick(w, 4) == 0))) {
        track *t = &w->runs[w->n_runs++];
        memset(t, 0, sizeof *t);
        snprintf(t->run, sizeof t->run, "run%02d", w->n_runs);
        return t;
    }
    return live ? &w->runs[at[pick(w, (unsigned)live)]] : NULL;
}

static void settle(world *w, const draft *d, moon_status told, bool unknown) {
    attempt *a = d->attempt;
    track *t = d->track;
    a->when.ended = w->disk.n;
    a->when.kept = !unknown && told == MOON_OK;
    a->when.unknown = unknown;
    *(unknown ? &w->unknown : told ? &w->refused : &w->acknowledged) += 1;
    t->over |= unknown;
    if (unknown && a->takes >= 0) w->items[a->takes].taken = (int)(a - t->attempts);
    if (!a->when.kept) {
        if (t->seq == 0) t->over = true; /* its creation failed */
        return;
    }
    t->seq += a->n;
    memcpy(t->hash, a->hashes[a->n - 1], MOON_HASH_SIZE);
    if (a->takes >= 0) w->items[a->takes].taken = (int)(a - t->attempts);
}

static void do_append(world *w, moon_store *store) {
    static draft drafts[LIVE];
    moon_append appends[LIVE + 1];
    size_t n = 0, wanted = 1 + pick(w, LIVE);
    for (size_t i = 0; i < wanted; i++) {
        track *t = some_run(w);
        bool chosen = t == NULL;
        for (size_t j = 0; j < n; j++) chosen |= drafts[j].track == t;
        if (chosen) continue;
        write_draft(w, t, &drafts[n], &appends[n]);
        n++;
    }
    size_t all = n;
    if (n && pick(w, 8) == 0) { /* somebody who believes that the run stands elsewhere */
        appends[all] = appends[0];
        appends[all++].expected += 7;
    }
    if (!n) return;
    for (size_t i = 0; i < n; i++) drafts[i].attempt->when.begun = w->disk.n;
    moon_error error = {0};
    moon_status status = w->ops->append(store, appends, all, &error);
    if (status && !w->failing) die("append: %s", error.text);
    for (size_t i = 0; i < n; i++) {
        settle(w, &drafts[i], appends[i].status, status != MOON_OK);
        if (!status && appends[i].status && !w->failing) die("append of %s: %s", drafts[i].track->run, error.text);
    }
}

static bool on_last_item(void *ctx, int64_t id, const char *body, size_t length) {
    (void)body, (void)length;
    *(int64_t *)ctx = id;
    return true;
}

static void do_post(world *w, moon_store *store) {
    track *t = some_run(w);
    if (!t || !t->seq || w->n_items == ITEMS) return;
    item *it = &w->items[w->n_items];
    moon_error error = {0};
    int64_t id = 0;
    *it = (item){.run = (int)(t - w->runs), .taken = -1};
    snprintf(it->body, sizeof it->body, "\"item %d\"", w->n_items);
    it->when.begun = w->disk.n;
    moon_status status = w->ops->post(store, t->run, it->body, it->body, strlen(it->body), &error);
    it->when.ended = w->disk.n;
    it->when.kept = status == MOON_OK;
    it->when.unknown = status != MOON_OK;
    w->n_items++;
    if (status && !w->failing) die("post: %s", error.text);
    if (status) return;
    if (w->ops->inbox(store, t->run, on_last_item, &id, &error)) die("inbox: %s", error.text);
    size_t n = strlen(it->body);
    snprintf(it->body + n, sizeof it->body - n, " %" PRId64, id);
}

static void do_purge(world *w, moon_store *store) {
    track *t = some_run(w);
    if (!t || t->seq < 12) return;
    moon_error error = {0};
    t->over = t->purging = true;
    for (int i = 0; i < 2; i++) w->ops->release(w->stores[i], t->run);
    t->purge.begun = w->disk.n;
    moon_status status = w->ops->purge(store, t->run, &error);
    if (status && !w->failing) die("purge: %s", error.text);
    t->purge.ended = w->disk.n;
    t->purge.kept = status == MOON_OK;
    t->purge.unknown = status != MOON_OK;
}

static void work(world *w) {
    open_stores(w);
    for (int i = 0; i < STEPS; i++) {
        moon_store *store = w->stores[pick(w, 2)];
        unsigned what = pick(w, 40);
        if (what == 0) {
            close_stores(w);
            open_stores(w);
        } else if (what == 1)
            do_purge(w, store);
        else if (what < 8)
            do_post(w, store);
        else
            do_append(w, store);
    }
    w->failing = false;
    close_stores(w);
}

/* ---- what an image holds ---- */

typedef struct reading {
    size_t n, room;
    unsigned char (*hashes)[MOON_HASH_SIZE];
} reading;

static bool on_record(void *ctx, const moon_record *record) {
    reading *r = ctx;
    if (r->n == r->room) {
        r->room = r->room ? r->room * 2 : 64;
        r->hashes = realloc(r->hashes, r->room * sizeof *r->hashes);
        if (!r->hashes) abort();
    }
    memcpy(r->hashes[r->n++], record->hash, MOON_HASH_SIZE);
    return true;
}

typedef struct image {
    world *world;
    size_t moment;
    moon_store *store;
    bool lost, corrupt;
    int64_t number; /* what a look-up gave */
    const char *run;
    bool items[ITEMS]; /* found in an inbox */
} image;

static void say(image *im, bool *which, const char *format, ...) {
    va_list args;
    *which = true;
    if (im->world->control && !im->world->verbose) return;
    va_start(args, format);
    fprintf(stderr, "image %zu at %zu: ", im->world->images, im->moment);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}

/* The attempts that a run consists of in this image; the last one is told. False: it is not what it has to be. */
static bool match(image *im, const track *t, const reading *r, const attempt **last, bool present[ATTEMPTS]) {
    size_t at = 0;
    *last = NULL;
    for (size_t i = 0; i < t->n; i++) {
        const attempt *a = &t->attempts[i];
        if (a->when.begun >= im->moment) break;
        bool over = a->when.ended <= im->moment;
        present[i] =
            a->first == at + 1 && r->n >= at + a->n && !memcmp(r->hashes[at], a->hashes, a->n * sizeof *a->hashes);
        if (over && a->when.kept && !present[i]) {
            say(im, &im->lost, "%s has lost %" PRIu64 "-%" PRIu64 " (holds %zu)", t->run, a->first, a->first + a->n - 1,
                r->n);
            return false;
        }
        if (over && !a->when.kept && !a->when.unknown && present[i]) {
            say(im, &im->corrupt, "%s has %" PRIu64 ", which was refused", t->run, a->first);
            return false;
        }
        if (!present[i]) continue;
        at += a->n;
        *last = a;
    }
    if (at != r->n) say(im, &im->corrupt, "%s holds %zu records, of which %zu are known", t->run, r->n, at);
    return at == r->n;
}

static bool on_info(void *ctx, const moon_run_info *info) {
    ((image *)ctx)->number = info->steps;
    return true;
}

static bool on_timer(void *ctx, const char *run, const char *key, int64_t due_us) {
    image *im = ctx;
    (void)key;
    if (!strcmp(run, im->run)) im->number = due_us;
    return true;
}

static bool on_bytes(void *ctx, const void *bytes, size_t length) {
    (void)ctx, (void)bytes, (void)length;
    return true;
}

static bool on_item(void *ctx, int64_t id, const char *body, size_t length) {
    image *im = ctx;
    (void)id;
    for (int i = 0; i < im->world->n_items; i++) {
        const char *own = im->world->items[i].body;
        if (strncmp(own, body, length) != 0 || (own[length] && own[length] != ' ')) continue;
        if (im->items[i]) say(im, &im->corrupt, "item %d is there twice", i);
        im->items[i] = true;
    }
    return true;
}

/* An append has brought all that belongs to it, and only the last one counts. */
static void see_sides(image *im, const track *t, const attempt *last) {
    const moon_store_ops *ops = im->world->ops;
    int64_t head = (int64_t)(last->first + last->n - 1);
    char text[64];
    unsigned char hash[MOON_HASH_SIZE];
    moon_error error = {0};
    im->run = t->run;
    im->number = -1;
    if (ops->list(im->store, &(moon_query){.run = t->run, .state = -1}, on_info, im, &error) || im->number != head)
        say(im, &im->corrupt, "%s is told to be at %" PRId64 ", and is at %" PRId64, t->run, im->number, head);
    im->number = -1;
    if (ops->due(im->store, INT64_MAX, 0, on_timer, im, &error) || im->number != head)
        say(im, &im->corrupt, "%s has a timer of %" PRId64 ", and is at %" PRId64, t->run, im->number, head);
    (void)blob_of(t, (uint64_t)head, text, hash);
    if (ops->blob(im->store, hash, on_bytes, NULL, &error)) say(im, &im->corrupt, "%s: %s", t->run, error.text);
}

static void see_inbox(image *im, const track *t, const bool present[ATTEMPTS]) {
    moon_error error = {0};
    memset(im->items, 0, sizeof im->items);
    if (im->world->ops->inbox(im->store, t->run, on_item, im, &error)) say(im, &im->corrupt, "%s", error.text);
    for (int i = 0; i < im->world->n_items; i++) {
        const item *it = &im->world->items[i];
        if (it->run != (int)(t - im->world->runs)) continue;
        bool taken = false; /* also by an append that failed in the end, but had not yet at this moment */
        for (size_t k = 0; k < t->n; k++) taken |= present[k] && t->attempts[k].takes == i;
        bool over = it->when.ended <= im->moment;
        if (taken && im->items[i]) say(im, &im->corrupt, "item %d of %s was taken, and is there", i, t->run);
        if (!taken && over && it->when.kept && !im->items[i]) say(im, &im->lost, "item %d of %s is gone", i, t->run);
        if (it->when.begun >= im->moment && im->items[i]) say(im, &im->corrupt, "item %d is there early", i);
    }
}

static void see_run(image *im, const track *t) {
    reading r = {0};
    moon_error error = {0};
    bool present[ATTEMPTS] = {0};
    const attempt *last;
    moon_status status = im->world->ops->read(im->store, t->run, 1, 0, on_record, &r, &error);
    bool purged = t->purging && t->purge.begun < im->moment;
    if (status && status != MOON_ENOTFOUND) {
        say(im, &im->corrupt, "%s", error.text);
    } else if (purged && t->purge.ended <= im->moment && t->purge.kept) {
        if (!status) say(im, &im->lost, "%s was purged, and is there", t->run);
    } else if (purged && status == MOON_ENOTFOUND) {
        /* on its way, and done */
    } else if (match(im, t, &r, &last, present) && last) {
        see_sides(im, t, last);
        see_inbox(im, t, present);
    }
    free(r.hashes);
}

/* The store goes on from what it found. */
static void go_on(image *im) {
    moon_error error = {0};
    unsigned char none[MOON_HASH_SIZE] = {0};
    moon_run_info info = {.run = "new", .name = "", .script = "", .workspace = "", .input = "", .stop = ""};
    moon_record record = {.seq = 1, .path = "", .key = "", .body = "{}", .body_length = 2};
    moon_side side = {.kind = MOON_SIDE_CREATE, .info = &info};
    moon_append a = {.run = "new", .records = &record, .n_records = 1, .sides = &side, .n_sides = 1};
    reading r = {0};
    moon__record_seal(&record, none);
    if (im->world->ops->append(im->store, &a, 1, &error) || a.status ||
        im->world->ops->read(im->store, "new", 1, 0, on_record, &r, &error) || r.n != 1)
        say(im, &im->corrupt, "does not go on: %s", error.text);
    free(r.hashes);
}

static void on_wrong(void *ctx, const char *run, const char *text) {
    image *im = ctx;
    say(im, &im->corrupt, "check: %s: %s", run, text);
}

static void see_image(world *w) {
    image im = {.world = w, .moment = disk_random(&w->seed) % (w->disk.n + 1)};
    moon_error error = {0};
    unsigned fate = pick(w, 10);
    char path[160];
    disk_image(&w->disk, im.moment, fate == 0 ? DISK_DROP : fate == 1 ? DISK_KEEP : DISK_MIX, &w->seed, w->image);
    snprintf(path, sizeof path, "%s-shm", w->image_place);
    unlink(path);
    if (w->ops->open(&im.store, w->image_place, &error))
        say(&im, &im.corrupt, "%s", error.text);
    else {
        for (int i = 0; i < w->n_runs; i++) see_run(&im, &w->runs[i]);
        (void)w->ops->check(im.store, on_wrong, &im, &error);
        if (pick(w, 8) == 0) go_on(&im);
        w->ops->close(im.store);
    }
    w->images++;
    w->lost += im.lost;
    w->corrupt += im.corrupt;
}

/* ---- rounds ---- */

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw) {
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static void round_of(world *w, size_t images, bool failing) {
    strcpy(w->folder, access("/dev/shm", W_OK) == 0 ? "/dev/shm/moonlet-power-XXXXXX" : "/tmp/moonlet-power-XXXXXX");
    if (!mkdtemp(w->folder)) die("cannot make a folder");
    snprintf(w->place, sizeof w->place, "%s/journal", w->folder);
    snprintf(w->image, sizeof w->image, "%s/image", w->folder);
    snprintf(w->image_place, sizeof w->image_place, "%s/journal", w->image);
    mkdir(w->image, 0700);
    w->n_runs = w->n_items = 0;
    w->failing = failing;
    w->disk.fault = on_fault;
    w->disk.ctx = w;
    w->disk.liar = w->control && !strcmp(w->control, "nosync");
    shim_hook(disk_hook, &w->disk);
    work(w);
    shim_hook(shim_without_syncs, NULL);
    for (size_t i = 0; i < images; i++) see_image(w);
    disk_free(&w->disk);
    nftw(w->folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

int main(int argc, char **argv) {
    static world w = {.seed = 1, .ops = &moon_store_sqlite};
    size_t images = 300;
    for (int i = 1; i < argc; i++) {
        bool more = i + 1 < argc;
        if (!strcmp(argv[i], "--images") && more)
            images = strtoul(argv[++i], NULL, 10);
        else if (!strcmp(argv[i], "--seed") && more)
            w.seed = strtoull(argv[++i], NULL, 10) * 2 + 1;
        else if (!strcmp(argv[i], "--control") && more)
            w.control = argv[++i];
        else if (!strcmp(argv[i], "--verbose"))
            w.verbose = true;
        else
            die("usage: crash_power [--images N] [--seed S] [--control normal|nosync] [--verbose]");
    }
    enum { LARGE = 1 << 20 };
    w.large = malloc(LARGE);
    if (!w.large) abort();
    for (size_t i = 0; i < LARGE; i++) w.large[i] = (char)('a' + i % 23);
    shim_install();
    for (size_t round = 0; w.images < images; round++) {
        size_t left = images - w.images;
        round_of(&w, left < IMAGES_PER_ROUND ? left : IMAGES_PER_ROUND, !w.control && round % 3 == 2);
    }
    free(w.large);
    printf("images %zu lost %zu corrupt %zu (appends: %zu acknowledged, %zu refused, %zu unknown; %zu pages "
           "checkpointed)\n",
           w.images, w.lost, w.corrupt, w.acknowledged, w.refused, w.unknown, w.checkpoints);
    bool harm = w.lost || w.corrupt;
    if (w.control && !strcmp(w.control, "normal")) return !w.lost || w.corrupt; /* so much SQLite promises */
    return w.control ? !harm : harm;
}
