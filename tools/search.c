/* SPDX-License-Identifier: MIT */
/*
 * search: lines that match, over a tree, on several threads, with the same answer each time.
 *
 * The calling thread walks the tree and cuts the files, in the order of their paths, into batches. Helpers (and the
 * caller, when it has got far ahead and at the end) take one batch after the other from the front. So the batches that
 * have been taken are at all times the beginning of the order, and all that are taken get finished. As soon as they
 * hold more matches than wanted, no more are taken: whatever the threads did meanwhile, the first `limit` matches are
 * among them, and the rest is cut off when they are put together.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "builtin.h"
#include "file.h"
#include "finder.h"
#include "glob.h"
#include "search_scan.h"
#include "walk.h"

enum {
    BATCH_FILES = 16,
    AHEAD_MAX = 256, /* batches that wait */
    HELPERS_MAX = 3,
    TEXT_MAX = 1000000,
    TEXT_ROOM = BATCH_FILES * (TEXT_MAX + (256 << 10)),
    PATHS_ROOM = BATCH_FILES * (128 << 10),
};

typedef struct hit_file {
    size_t path, path_length; /* in the batch's paths */
    size_t text, text_length; /* in its text */
    int64_t matches;
} hit_file;

typedef struct batch {
    struct batch *next;
    moon__bytes paths; /* NUL-terminated, relative to the workspace */
    moon__bytes text;
    size_t n_files, n_hits;
    size_t offset[BATCH_FILES], name[BATCH_FILES], length[BATCH_FILES];
    hit_file hits[BATCH_FILES];
    bool taken;
} batch;

typedef struct search {
    moon_call *call;
    moon__finder *finder;
    moon__glob *glob;
    moon__scan_limits limits;
    int root;             /* descriptor of the start directory */
    size_t base;          /* of its path prefix */
    pthread_mutex_t lock; /* guards what is below, up to the atomics */
    pthread_cond_t more;
    batch *first, *last, *waiting; /* all; the first that is not taken */
    size_t n_waiting;
    bool closed;
    int64_t matches; /* in finished batches */
    size_t text;
    int64_t files, binary, unreadable;
    char costly[200]; /* a file in which the pattern ran away */
    atomic_bool stop, no_memory;
    /* the caller's own */
    batch *filling;
    pthread_t helpers[HELPERS_MAX];
    unsigned n_helpers, helpers_wanted;
} search;

/* What one thread keeps from batch to batch. */
typedef struct worker {
    search *s;
    moon__scan *scan;
    int dir; /* descriptor of the directory of the last file; -1: none */
    moon__bytes dir_path;
    int64_t files, binary, unreadable;
} worker;

/* ---- one file ---- */

/* Opens a directory given relative to the start, without passing a link. */
static int open_dir(const search *s, const char *path) {
    struct open_how how = {.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC,
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS};
    long fd;
    int tries = 0;
    do fd = syscall(SYS_openat2, s->root, *path ? path : ".", &how, sizeof how);
    while (fd < 0 && (errno == EAGAIN || errno == EINTR) && ++tries < 16);
    return (int)fd;
}

/* The directory in which file i of the batch is; kept open for the files that follow it. */
static bool enter_dir(worker *w, const batch *b, size_t i) {
    const char *path = b->paths.p + b->offset[i] + w->s->base;
    size_t n = b->name[i] - w->s->base;
    if (w->dir >= 0 && w->dir_path.len == n + 1 && !memcmp(w->dir_path.p, path, n)) return true;
    if (w->dir >= 0) close(w->dir);
    w->dir_path.len = 0;
    moon__bytes_add(&w->dir_path, path, n);
    moon__bytes_add(&w->dir_path, "", 1);
    w->dir = w->dir_path.failed ? -1 : open_dir(w->s, w->dir_path.p);
    return w->dir >= 0;
}

static void note_costly(search *s, const char *path, size_t n) {
    pthread_mutex_lock(&s->lock);
    if (!s->costly[0]) {
        n = moon__text_floor(path, n < sizeof s->costly ? n : sizeof s->costly - 1);
        memcpy(s->costly, path, n);
        s->costly[n] = 0;
    }
    pthread_mutex_unlock(&s->lock);
    atomic_store(&s->stop, true);
}

/* Searches an open file that is number i of the batch. */
static void search_file(worker *w, batch *b, size_t i, int fd) {
    size_t before = b->text.len;
    int64_t matches = 0;
    w->files++;
    switch (moon__scan_file(w->scan, fd, &b->text, &matches)) {
    case MOON__SCANNED: break;
    case MOON__SCAN_BINARY:
        w->files--;
        w->binary++;
        return;
    case MOON__SCAN_UNREADABLE:
        w->files--;
        w->unreadable++;
        return;
    case MOON__SCAN_COSTLY: note_costly(w->s, b->paths.p + b->offset[i], b->length[i]); return;
    case MOON__SCAN_NO_MEMORY: atomic_store(&w->s->no_memory, true); return;
    }
    if (matches)
        b->hits[b->n_hits++] = (hit_file){.path = b->offset[i],
                                          .path_length = b->length[i],
                                          .text = before,
                                          .text_length = b->text.len - before,
                                          .matches = matches};
}

/* ---- batches ---- */

static batch *new_batch(void) {
    batch *b = calloc(1, sizeof *b);
    if (!b) return NULL;
    moon__bytes_init(&b->paths, PATHS_ROOM);
    moon__bytes_init(&b->text, TEXT_ROOM);
    return b;
}

static void free_batch(batch *b) {
    if (!b) return;
    moon__bytes_fini(&b->paths);
    moon__bytes_fini(&b->text);
    free(b);
}

/* Everything the batch's order needs is decided here, so that how far it is searched does not depend on other threads.
 */
static int64_t search_batch(worker *w, batch *b) {
    int64_t matches = 0;
    for (size_t i = 0; i < b->n_files && matches <= w->s->limits.matches && b->text.len <= TEXT_MAX; i++) {
        if (moon_call_cancelled(w->s->call)) break;
        int fd = -1;
        if (enter_dir(w, b, i))
            fd = openat(w->dir, b->paths.p + b->offset[i] + b->name[i],
                        O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
        if (fd < 0) {
            w->unreadable++;
            continue;
        }
        size_t hits = b->n_hits;
        search_file(w, b, i, fd);
        if (b->n_hits > hits) matches += b->hits[hits].matches;
        close(fd);
    }
    return matches;
}

/* Takes the first waiting batch and searches it. False: there is none (now; if `wait`, nor will there be one). */
static bool work_once(worker *w, bool wait) {
    search *s = w->s;
    pthread_mutex_lock(&s->lock);
    while (wait && !s->waiting && !s->closed && !atomic_load(&s->stop)) pthread_cond_wait(&s->more, &s->lock);
    batch *b = atomic_load(&s->stop) ? NULL : s->waiting;
    if (b) {
        s->waiting = b->next;
        s->n_waiting--;
        b->taken = true;
    }
    pthread_mutex_unlock(&s->lock);
    if (!b) return false;
    int64_t matches = search_batch(w, b);
    if (!b->n_hits) moon__bytes_fini(&b->paths); /* 50,000 names are not kept for nothing */
    if (!matches) return true;
    pthread_mutex_lock(&s->lock);
    s->matches += matches;
    s->text += b->text.len;
    if (s->matches > s->limits.matches || s->text > TEXT_MAX) {
        atomic_store(&s->stop, true);
        pthread_cond_broadcast(&s->more);
    }
    pthread_mutex_unlock(&s->lock);
    return true;
}

static bool worker_init(worker *w, search *s) {
    *w = (worker){.s = s, .dir = -1, .scan = moon__scan_new(s->call, s->finder, &s->limits)};
    moon__bytes_init(&w->dir_path, 128 << 10);
    if (!w->scan) atomic_store(&s->no_memory, true);
    return w->scan;
}

static void worker_fini(worker *w) {
    search *s = w->s;
    if (w->dir >= 0) close(w->dir);
    moon__bytes_fini(&w->dir_path);
    moon__scan_free(w->scan);
    pthread_mutex_lock(&s->lock);
    s->files += w->files;
    s->binary += w->binary;
    s->unreadable += w->unreadable;
    pthread_mutex_unlock(&s->lock);
}

static void *help(void *arg) {
    worker w;
    if (worker_init(&w, arg))
        while (!moon_call_cancelled(w.s->call) && work_once(&w, true)) {
        }
    worker_fini(&w);
    return NULL;
}

/* ---- the walk ---- */

/* Hands the batch that is being filled to the workers. A helper is started only when there is work for it. */
static void push_batch(search *s) {
    batch *b = s->filling;
    s->filling = NULL;
    if (!b) return;
    pthread_mutex_lock(&s->lock);
    *(s->last ? &s->last->next : &s->first) = b;
    s->last = b;
    if (!s->waiting) s->waiting = b;
    s->n_waiting++;
    bool busy = s->n_waiting > 1;
    pthread_cond_signal(&s->more);
    pthread_mutex_unlock(&s->lock);
    if (busy && s->n_helpers < s->helpers_wanted) {
        if (pthread_create(&s->helpers[s->n_helpers], NULL, help, s))
            s->helpers_wanted = s->n_helpers;
        else
            s->n_helpers++;
    }
}

static bool add_file(search *s, const char *path, size_t n, size_t name) {
    if (!s->filling) s->filling = new_batch();
    batch *b = s->filling;
    if (b) {
        b->offset[b->n_files] = b->paths.len;
        b->name[b->n_files] = name;
        b->length[b->n_files] = n;
        moon__bytes_add(&b->paths, path, n);
        moon__bytes_add(&b->paths, "", 1);
    }
    if (!b || b->paths.failed) {
        atomic_store(&s->no_memory, true);
        return false;
    }
    if (++b->n_files == BATCH_FILES) push_batch(s);
    return true;
}

static bool visit(void *ctx, const moon__walk_entry *entry) {
    worker *w = ctx;
    search *s = w->s;
    if (entry->kind != MOON__WALK_FILE) return !atomic_load(&s->stop);
    if (s->glob && !moon__glob_covers(s->glob, entry->path, entry->length, entry->base)) return true;
    s->base = entry->base;
    if (!add_file(s, entry->path, entry->length, entry->name)) return false;
    while (s->n_waiting > AHEAD_MAX && work_once(w, false)) {
    }
    return !atomic_load(&s->stop);
}

static void search_tree(search *s, moon__walk *walk, const char *path, int fd) {
    worker w;
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    s->root = fd;
    s->helpers_wanted = cores > HELPERS_MAX ? HELPERS_MAX : cores > 1 ? (unsigned)cores - 1 : 0;
    bool ready = worker_init(&w, s);
    walk->ctx = &w;
    if (ready) moon__walk_run(walk, path, fd);
    push_batch(s);
    pthread_mutex_lock(&s->lock);
    s->closed = true;
    pthread_cond_broadcast(&s->more);
    pthread_mutex_unlock(&s->lock);
    while (ready && !moon_call_cancelled(s->call) && work_once(&w, false)) {
    }
    for (unsigned i = 0; i < s->n_helpers; i++) pthread_join(s->helpers[i], NULL);
    worker_fini(&w);
    walk->ctx = NULL;
    if (walk->no_memory) atomic_store(&s->no_memory, true);
    s->unreadable += (int64_t)walk->unreadable;
}

/* A path that is a file: the only one of a batch. */
static void search_one(search *s, const char *path, int fd) {
    worker w;
    const char *shown = moon__walk_path(s->call, path);
    if (worker_init(&w, s) && shown && add_file(s, shown, strlen(shown), 0)) {
        batch *b = s->filling;
        push_batch(s);
        b->taken = true;
        search_file(&w, b, 0, fd);
        s->matches = b->n_hits ? b->hits[0].matches : 0;
    }
    worker_fini(&w);
    if (!shown) atomic_store(&s->no_memory, true);
}

/* ---- the answer ---- */

static void add_hit(moon__bytes *out, const search *s, const batch *b, const hit_file *h, int64_t room) {
    if (!s->limits.first_only) moon__bytes_str(out, "\n");
    moon__bytes_path(out, b->paths.p + h->path, h->path_length);
    moon__bytes_str(out, "\n");
    size_t n = h->text_length;
    if (h->matches > room) n = moon__scan_cut(b->text.p + h->text, n, room);
    if (n) moon__bytes_add(out, b->text.p + h->text, n);
}

/* Puts the batches together up to the limit. */
static void put_hits(search *s, moon__bytes *out, int64_t *matches, int64_t *files, bool *more) {
    for (const batch *b = s->first; b && b->taken && !*more; b = b->next)
        for (size_t i = 0; i < b->n_hits && !*more; i++) {
            int64_t room = s->limits.matches - *matches;
            *more = !room || out->len > TEXT_MAX;
            if (*more) break;
            add_hit(out, s, b, &b->hits[i], room);
            *more = b->hits[i].matches > room;
            *matches += *more ? room : b->hits[i].matches;
            ++*files;
        }
}

static const char *s_of(int64_t n) {
    return n == 1 ? "" : "s";
}

static void report_none(const search *s) {
    moon_call *call = s->call;
    moon_call_printf(call, "no matches in %lld file%s searched", (long long)s->files, s_of(s->files));
    if (s->binary) moon_call_printf(call, "; %lld binary file%s left out", (long long)s->binary, s_of(s->binary));
    if (s->unreadable)
        moon_call_printf(call, "; %lld path%s cannot be read", (long long)s->unreadable, s_of(s->unreadable));
    moon_call_write(call, "\n", 1);
}

static void report(search *s) {
    moon_call *call = s->call;
    moon__bytes out;
    int64_t matches = 0, files = 0;
    bool more = false;
    moon__bytes_init(&out, (size_t)TEXT_ROOM + PATHS_ROOM);
    if (moon_call_cancelled(call))
        moon_call_fail(call, "cancelled");
    else if (s->costly[0])
        moon_call_fail(call,
                       "the pattern takes too many steps (in %.200s): avoid nested repetitions such as (a+)+, or use "
                       "literal=true",
                       s->costly);
    else {
        put_hits(s, &out, &matches, &files, &more);
        if (out.failed || atomic_load(&s->no_memory))
            moon_call_fail(call, "no memory for the search");
        else {
            const char *plus = more ? "+" : "", *note = more ? ": limit reached, narrow the search" : "";
            if (!matches)
                report_none(s);
            else if (s->limits.first_only)
                moon_call_printf(call, "%lld%s file%s%s\n\n", (long long)files, plus,
                                 files == 1 ? " matches" : "s match", note);
            else
                moon_call_printf(call, "%lld%s match%s in %lld file%s%s\n", (long long)matches, plus,
                                 matches == 1 ? "" : "es", (long long)files, s_of(files), note);
            if (out.len) moon_call_write(call, out.p, out.len);
            moon_call_done(call);
        }
    }
    moon__bytes_fini(&out);
}

static void run(search *s, const char *path, int fd) {
    moon__walk walk = {.call = s->call, .hidden = true, .visit = visit};
    struct stat st;
    if (fstat(fd, &st) || !(S_ISDIR(st.st_mode) || S_ISREG(st.st_mode))) {
        moon_call_fail(s->call, "%.300s is %s: there is nothing to search", path, moon__file_kind(st.st_mode));
        return;
    }
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->more, NULL);
    if (S_ISDIR(st.st_mode))
        search_tree(s, &walk, path, fd);
    else
        search_one(s, path, fd);
    report(s);
    for (batch *b = s->first, *next; b; b = next) {
        next = b->next;
        free_batch(b);
    }
    free_batch(s->filling);
    pthread_cond_destroy(&s->more);
    pthread_mutex_destroy(&s->lock);
}

static void start(void *self, moon_call *call, const moon_json *args) {
    (void)self;
    size_t n, glob_length;
    const char *path = moon__arg_str(args, "path", NULL), *glob = moon__arg_str(args, "glob", &glob_length);
    const char *pattern = moon__arg_str(args, "pattern", &n);
    bool literal = moon__arg_bool(args, "literal", false);
    moon_error error = {0};
    search s = {.call = call,
                .limits = {.matches = moon__arg_int(args, "limit", 200),
                           .text = TEXT_MAX,
                           .context = (unsigned)moon__arg_int(args, "context", 0),
                           .first_only = moon__arg_bool(args, "files_only", false)}};
    int fd = -1;
    if (!*path) path = ".";
    moon_status status =
        moon__finder_new(&s.finder, pattern, n, literal, moon__arg_bool(args, "ignore_case", false), &error);
    if (status)
        moon_call_fail(call, "%s%s", error.text,
                       status == MOON_EINVAL && !literal ? ". For the text as it is, set literal=true" : "");
    else if (glob_length && !(s.glob = moon__glob_new(glob, glob_length)))
        moon_call_fail(call, "the glob is too long or has too many alternatives");
    else if ((status = moon_call_open(call, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0, &fd, &error)) == MOON_ENOTFOUND)
        moon__file_missing(call, path);
    else if (status)
        moon_call_fail_error(call, &error);
    else
        run(&s, path, fd);
    if (fd >= 0) close(fd);
    moon__glob_free(s.glob);
    moon__finder_free(s.finder);
}

const moon_tool moon__tool_search = {
    .abi = MOON_TOOL_ABI,
    .effects = MOON_READ_ONLY | MOON_IDEMPOTENT,
    .flags = MOON_TOOL_BLOCKING,
    .result_max = 2 << 20,
    .name = "search",
    .description = "Searches the lines of files below a directory (or of one file) for a regular expression (PCRE2 "
                   "syntax) or literal text. The first line "
                   "of the result is \"N matches in M files\" (N counts lines; \"N+\": the limit was reached), then "
                   "for each file, in the order "
                   "of the paths: an empty line, the path, \"LINE: text\" for each match and \"LINE- text\" for "
                   "context. Long lines are cut "
                   "around the match. Files that .gitignore names, .git and binary files are left out; files with a "
                   "dot in front are "
                   "searched. A match never spans lines. Use it to find where something is, then file.read to see it; "
                   "files_only=true for "
                   "a first overview.",
    .params = "{\"type\":\"object\",\"properties\":{"
              "\"pattern\":{\"type\":\"string\",\"minLength\":1,\"description\":\"The regular expression, or the text "
              "if literal.\"},"
              "\"path\":{\"type\":\"string\",\"default\":\".\",\"description\":\"A directory or file, relative to the "
              "workspace.\"},"
              "\"glob\":{\"type\":\"string\",\"maxLength\":4096,\"description\":\"Only files that match: *.c, "
              "src/**/*.{c,h}; "
              "without a slash it is the name that must match; a leading ! turns it round.\"},"
              "\"literal\":{\"type\":\"boolean\",\"default\":false},"
              "\"ignore_case\":{\"type\":\"boolean\",\"default\":false},"
              "\"context\":{\"type\":\"integer\",\"minimum\":0,\"maximum\":20,\"default\":0,\"description\":\"Lines "
              "shown before and after each match.\"},"
              "\"limit\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":2000,\"default\":200,\"description\":"
              "\"Matching lines (files, with files_only) at most.\"},"
              "\"files_only\":{\"type\":\"boolean\",\"default\":false,\"description\":\"Only the paths of files that "
              "match.\"}},"
              "\"required\":[\"pattern\"],\"additionalProperties\":false}",
    .start = start,
};
