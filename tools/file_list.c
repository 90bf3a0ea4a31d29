/* SPDX-License-Identifier: MIT */
/* file.list: the files of the workspace in the order of their paths, page by page, or summed up by directory and kind.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "builtin.h"
#include "file.h"
#include "glob.h"
#include "walk.h"

enum { PAGE_BYTES = 2 << 20, KIND_SLOTS = 1024, KINDS_MAX = 512, EXT_MAX = 16, NAME_COST = 48 };

typedef struct totals {
    int64_t files, bytes;
} totals;

typedef struct directory {
    char *path;
    totals sum;
} directory;

typedef struct kind {
    char ext[EXT_MAX + 1];
    bool used;
    totals sum;
} kind;

typedef struct listing {
    moon_call *call;
    moon__glob *glob;
    int64_t limit, offset;
    int64_t total, listed;
    size_t page_bytes;
    bool page_full, failed;
    /* summary */
    bool summary;
    unsigned depth;
    totals all;
    directory *dirs; /* in the order of the walk, which is that of "path/" */
    size_t n_dirs, room;
    size_t stack[MOON__WALK_DEPTH_MAX + 1]; /* of each depth, the directory that files below it count under */
    kind *kinds;                            /* open addressing; the last slot is for what found no room */
    size_t n_kinds;
} listing;

/* ---- a page of files ---- */

static void put_raw_name(moon_call *call, const char *path, size_t n) {
    static const char digits[] = "0123456789abcdef";
    char *hex = moon_call_alloc(call, 2 * n + 1);
    if (!hex) return;
    for (size_t i = 0; i < n; i++) {
        hex[2 * i] = digits[(unsigned char)path[i] >> 4];
        hex[2 * i + 1] = digits[(unsigned char)path[i] & 15];
    }
    moon_put_str(call, "raw_hex", hex, 2 * n);
}

static bool list_file(listing *l, const moon__walk_entry *entry) {
    int64_t index = l->total++;
    if (index < l->offset || l->page_full) return true;
    if (l->listed == l->limit || l->page_bytes > PAGE_BYTES) {
        l->page_full = true;
        return true;
    }
    struct stat st = {0};
    if (fstatat(entry->dir, entry->path + entry->name, &st, AT_SYMLINK_NOFOLLOW)) st.st_size = 0;
    moon_put_object(l->call, NULL);
    moon_put_str(l->call, "path", entry->path, entry->length);
    moon_put_int(l->call, "size", st.st_size);
    if (entry->kind == MOON__WALK_LINK) moon_put_bool(l->call, "link", true);
    if (moon__text_invalid(entry->path, entry->length)) put_raw_name(l->call, entry->path, entry->length);
    moon_put_end(l->call);
    l->listed++;
    l->page_bytes += entry->length + NAME_COST;
    return true;
}

/* ---- the summary ---- */

/* A new directory to count under. Its path is the entry's; "" is the start. */
static bool add_dir(listing *l, const char *path, size_t n, unsigned depth) {
    if (l->n_dirs == l->room) {
        size_t room = l->room ? l->room * 2 : 64;
        directory *dirs = realloc(l->dirs, room * sizeof *dirs);
        if (!dirs) return false;
        l->dirs = dirs;
        l->room = room;
    }
    char *copy = strndup(path, n);
    if (!copy) return false;
    l->dirs[l->n_dirs] = (directory){.path = copy};
    l->stack[depth] = l->n_dirs++;
    return true;
}

static void ext_of(const char *name, size_t n, char out[EXT_MAX + 1]) {
    const char *dot = memrchr(name, '.', n);
    size_t length = dot && dot > name ? n - (size_t)(dot + 1 - name) : 0;
    out[0] = 0;
    if (length > EXT_MAX || (length && moon__text_invalid(dot + 1, length))) return;
    for (size_t i = 0; i < length; i++) {
        char c = dot[1 + i];
        out[i] = c >= 'A' && c <= 'Z' ? (char)(c | 32) : c;
    }
    out[length] = 0;
}

static kind *find_kind(listing *l, const char *ext) {
    size_t slot = (size_t)moon_hash(ext, strlen(ext)) % KIND_SLOTS;
    while (l->kinds[slot].used && strcmp(l->kinds[slot].ext, ext)) slot = (slot + 1) % KIND_SLOTS;
    kind *k = &l->kinds[slot];
    if (k->used) return k;
    if (l->n_kinds == KINDS_MAX) {
        memcpy(l->kinds[KIND_SLOTS].ext, "(others)", sizeof "(others)");
        return &l->kinds[KIND_SLOTS];
    }
    l->n_kinds++;
    k->used = true;
    snprintf(k->ext, sizeof k->ext, "%s", ext);
    return k;
}

static void count(totals *t, int64_t bytes) {
    t->files++;
    t->bytes += bytes;
}

static void sum_file(listing *l, const moon__walk_entry *entry) {
    struct stat st = {0};
    char ext[EXT_MAX + 1];
    if (fstatat(entry->dir, entry->path + entry->name, &st, AT_SYMLINK_NOFOLLOW)) st.st_size = 0;
    unsigned level = entry->depth - 1 < l->depth ? entry->depth - 1 : l->depth;
    ext_of(entry->path + entry->name, entry->length - entry->name, ext);
    count(&l->dirs[l->stack[level]].sum, st.st_size);
    count(&find_kind(l, ext)->sum, st.st_size);
    count(&l->all, st.st_size);
}

static int by_files(const void *a, const void *b) {
    const kind *x = a, *y = b;
    if (x->sum.files != y->sum.files) return x->sum.files < y->sum.files ? 1 : -1;
    return strcmp(x->ext, y->ext);
}

static void put_totals(moon_call *call, const char *name, const char *text, const totals *t) {
    size_t n = strlen(text);
    moon_put_object(call, NULL);
    moon_put_str(call, name, text, n);
    if (moon__text_invalid(text, n)) put_raw_name(call, text, n);
    moon_put_int(call, "files", t->files);
    moon_put_int(call, "bytes", t->bytes);
    moon_put_end(call);
}

static void put_summary(listing *l) {
    int64_t shown = 0, skipped = 0, more = 0;
    moon_put_array(l->call, "dirs");
    for (size_t i = 0; i < l->n_dirs; i++) {
        if (!l->dirs[i].sum.files) continue;
        if (skipped < l->offset)
            skipped++;
        else if (shown < l->limit) {
            put_totals(l->call, "path", *l->dirs[i].path ? l->dirs[i].path : ".", &l->dirs[i].sum);
            shown++;
        } else
            more++;
    }
    moon_put_end(l->call);
    qsort(l->kinds, KIND_SLOTS + 1, sizeof *l->kinds, by_files);
    moon_put_array(l->call, "kinds");
    for (size_t i = 0; i <= KIND_SLOTS && l->kinds[i].sum.files; i++)
        put_totals(l->call, "ext", l->kinds[i].ext, &l->kinds[i].sum);
    moon_put_end(l->call);
    moon_put_int(l->call, "total", l->all.files);
    moon_put_int(l->call, "bytes", l->all.bytes);
    moon_put_bool(l->call, "more", more > 0);
}

/* ---- the call ---- */

static bool visit(void *ctx, const moon__walk_entry *entry) {
    listing *l = ctx;
    if (entry->kind == MOON__WALK_DIR) {
        if (l->summary && entry->depth <= l->depth && !add_dir(l, entry->path, entry->length, entry->depth))
            l->failed = true;
        return !l->failed;
    }
    if (l->glob && !moon__glob_covers(l->glob, entry->path, entry->length, entry->base)) return true;
    if (!l->summary) return list_file(l, entry);
    sum_file(l, entry);
    return true;
}

static void finish(listing *l, const moon__walk *walk) {
    if (l->summary)
        put_summary(l);
    else {
        moon_put_end(l->call);
        moon_put_int(l->call, "total", l->total);
        moon_put_bool(l->call, "more", l->page_full);
    }
    if (walk->unreadable) moon_put_int(l->call, "unreadable_directories", (int64_t)walk->unreadable);
    if (walk->cut) moon_put_bool(l->call, "incomplete", true);
    moon_put_end(l->call);
    moon_call_done(l->call);
}

static void list(listing *l, moon__walk *walk, const char *path, int fd) {
    const char *start = moon__walk_path(l->call, path);
    l->kinds = l->summary ? calloc(KIND_SLOTS + 1, sizeof *l->kinds) : NULL;
    l->failed = !start || (l->summary && (!l->kinds || !add_dir(l, start, strlen(start), 0)));
    moon_put_object(l->call, NULL);
    if (!l->summary) moon_put_array(l->call, "files");
    if (!l->failed) moon__walk_run(walk, path, fd);
    if (walk->cancelled)
        moon_call_fail(l->call, "cancelled");
    else if (l->failed || walk->no_memory)
        moon_call_fail(l->call, "no memory to list %.300s", path);
    else
        finish(l, walk);
}

static void start(void *self, moon_call *call, const moon_json *args) {
    (void)self;
    size_t glob_length;
    const char *path = moon__arg_str(args, "path", NULL), *glob = moon__arg_str(args, "glob", &glob_length);
    if (!*path) path = ".";
    listing l = {.call = call,
                 .limit = moon__arg_int(args, "limit", 1000),
                 .offset = moon__arg_int(args, "offset", 0),
                 .summary = moon__arg_bool(args, "summary", false)};
    unsigned depth = (unsigned)moon__arg_int(args, "depth", l.summary ? 1 : 0);
    l.depth = depth;
    moon__walk walk = {.call = call,
                       .hidden = moon__arg_bool(args, "hidden", false),
                       .depth = l.summary ? 0 : depth,
                       .visit = visit,
                       .ctx = &l};
    int fd = moon__file_open_dir(call, path);
    if (fd < 0) return;
    if (glob_length && !(l.glob = moon__glob_new(glob, glob_length)))
        moon_call_fail(call, "the glob is too long or has too many alternatives");
    else
        list(&l, &walk, path, fd);
    for (size_t i = 0; i < l.n_dirs; i++) free(l.dirs[i].path);
    free(l.dirs);
    free(l.kinds);
    moon__glob_free(l.glob);
    close(fd);
}

const moon_tool moon__tool_file_list = {
    .abi = MOON_TOOL_ABI,
    .effects = MOON_READ_ONLY | MOON_IDEMPOTENT,
    .flags = MOON_TOOL_BLOCKING,
    .result_max = 8 << 20,
    .name = "file.list",
    .description =
        "Lists the files below a directory as JSON: {\"files\":[{\"path\",\"size\"}],\"total\",\"more\"}, sorted by "
        "path; if "
        "more is true, go on with offset. Files that .gitignore names, .git and (unless hidden=true) names with a dot "
        "in "
        "front are left out; symbolic links are listed with \"link\":true and not followed. With summary=true it gives "
        "{\"dirs\":[{\"path\",\"files\",\"bytes\"}],\"kinds\":[{\"ext\",\"files\",\"bytes\"}],\"total\",\"bytes\"} "
        "instead: begin "
        "with that to see how a large tree is laid out. Each file counts in one directory, at most depth levels down; "
        "those "
        "directly at the top count under \".\". A name that is not UTF-8 shows U+FFFD and has its bytes in "
        "\"raw_hex\". To find "
        "text in files use search.",
    .params =
        "{\"type\":\"object\",\"properties\":{"
        "\"path\":{\"type\":\"string\",\"default\":\".\",\"description\":\"The directory, relative to the "
        "workspace.\"},"
        "\"glob\":{\"type\":\"string\",\"maxLength\":4096,\"description\":\"Only files that match: *.c, "
        "src/**/*.{c,h}; "
        "without a slash it is the name that must match; a leading ! turns it round.\"},"
        "\"depth\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":256,\"description\":\"How many levels down; 1: only "
        "what is "
        "directly in path. Default: all (summary: 1).\"},"
        "\"limit\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":20000,\"default\":1000},"
        "\"offset\":{\"type\":\"integer\",\"minimum\":0,\"maximum\":1000000000,\"default\":0,\"description\":\"How "
        "many files to skip.\"},"
        "\"summary\":{\"type\":\"boolean\",\"default\":false},"
        "\"hidden\":{\"type\":\"boolean\",\"default\":false,\"description\":\"Also names that begin with a dot.\"}},"
        "\"additionalProperties\":false}",
    .start = start,
};
