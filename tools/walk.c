/* SPDX-License-Identifier: MIT */
/*
 * The walk. Each level reads its directory whole, closes the stream's buffer early, sorts, and visits; what is kept
 * open is one descriptor per level, at most MOON__WALK_DEPTH_MAX. A directory sorts as if its name ended in a slash:
 * then depth first *is* the order of whole paths.
 */
#include "walk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bytes.h"
#include "ignore.h"

enum { PATH_ROOM = 128 << 10, NAMES_ROOM = 256 << 20, RULES_DEPTH = 2 };

typedef struct item {
    uint32_t name; /* offset */
    uint16_t length;
    uint8_t kind;
} item;

/* A directory being visited. */
typedef struct level {
    int fd;
    unsigned depth;
    moon__bytes names;
    item *items;
    size_t count, room;
    bool has_rules, has_git;
    const moon__ignore *rules;      /* that hold here */
    moon__ignore *own[RULES_DEPTH]; /* info/exclude, .gitignore */
} level;

typedef struct walker {
    moon__walk *w;
    moon__bytes path;
    size_t base;
} walker;

/* ---- rules ---- */

/* Opens a path of at most a few components below dir, no component of which may be a link. */
static int open_plain(int dir, const char *const *names, int flags) {
    int fd = dir;
    for (; *names; names++) {
        int next = openat(fd, *names, (names[1] ? O_RDONLY | O_DIRECTORY : flags) | O_NOFOLLOW | O_CLOEXEC);
        if (fd != dir) close(fd);
        if (next < 0) return -1;
        fd = next;
    }
    return fd;
}

/* The rules of one file, on top of parent; parent itself if there are none. */
static const moon__ignore *read_rules(moon__walk *w, int dir, const char *const *names, const moon__ignore *parent,
                                      size_t base, moon__ignore **own) {
    struct stat st;
    int fd = open_plain(dir, names, O_RDONLY | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) return parent;
    if (fstat(fd, &st) || !S_ISREG(st.st_mode) || !st.st_size) {
        close(fd);
        return parent;
    }
    size_t room = st.st_size < MOON__IGNORE_FILE_MAX ? (size_t)st.st_size : MOON__IGNORE_FILE_MAX, n = 0;
    char *text = malloc(room);
    for (ssize_t k = 1; text && n < room && k > 0; n += k > 0 ? (size_t)k : 0) k = read(fd, text + n, room - n);
    close(fd);
    *own = text ? moon__ignore_new(text, n, parent, base) : NULL;
    free(text);
    if (!*own) w->no_memory = true;
    return *own ? *own : parent;
}

/* Adds what the directory fd, whose path prefix is base bytes long, says. */
static const moon__ignore *enter_rules(moon__walk *w, int fd, bool has_git, bool has_rules, size_t base,
                                       const moon__ignore *rules, moon__ignore *own[RULES_DEPTH]) {
    if (has_git) rules = read_rules(w, fd, (const char *const[]){".git", "info", "exclude", NULL}, NULL, base, &own[0]);
    if (has_rules) rules = read_rules(w, fd, (const char *const[]){".gitignore", NULL}, rules, base, &own[1]);
    return rules;
}

/* The rules of the directories above the start. They are kept in *list, to be freed from its end. */
static const moon__ignore *outer_rules(moon__walk *w, const char *path, moon__ignore ***list, size_t *count) {
    const moon__ignore *rules = NULL;
    size_t room = RULES_DEPTH;
    for (const char *p = path; *p; p++) room += *p == '/' ? RULES_DEPTH : 0;
    *list = calloc(room, sizeof **list);
    char *prefix = malloc(strlen(path) + 1);
    if (!*list || !prefix) w->no_memory = true;
    for (size_t at = 0; !w->no_memory && path[at];) {
        memcpy(prefix, path, at);
        prefix[at] = 0;
        int fd;
        if (moon_call_open(w->call, at ? prefix : ".", O_RDONLY | O_DIRECTORY, 0, &fd, NULL)) break;
        bool has_git = !faccessat(fd, ".git", F_OK, AT_SYMLINK_NOFOLLOW);
        rules = enter_rules(w, fd, has_git, true, at, rules, *list + *count);
        close(fd);
        *count += RULES_DEPTH;
        at += strcspn(path + at, "/");
        at += path[at] == '/';
    }
    free(prefix);
    return rules;
}

/* ---- one directory ---- */

static int kind_of(int dir, const struct dirent *d) {
    switch (d->d_type) {
    case DT_REG: return MOON__WALK_FILE;
    case DT_DIR: return MOON__WALK_DIR;
    case DT_LNK: return MOON__WALK_LINK;
    case DT_UNKNOWN: break;
    default: return -1;
    }
    struct stat st;
    if (fstatat(dir, d->d_name, &st, AT_SYMLINK_NOFOLLOW)) return -1;
    if (S_ISREG(st.st_mode)) return MOON__WALK_FILE;
    if (S_ISDIR(st.st_mode)) return MOON__WALK_DIR;
    return S_ISLNK(st.st_mode) ? MOON__WALK_LINK : -1;
}

static bool add_item(level *l, const char *name, size_t n, int kind) {
    if (l->count == l->room) {
        size_t room = l->room ? l->room * 2 : 32;
        item *items = realloc(l->items, room * sizeof *items);
        if (!items) return false;
        l->items = items;
        l->room = room;
    }
    l->items[l->count++] = (item){.name = (uint32_t)l->names.len, .length = (uint16_t)n, .kind = (uint8_t)kind};
    moon__bytes_add(&l->names, name, n + 1);
    return !l->names.failed;
}

static bool take(moon__walk *w, level *l, const struct dirent *d) {
    const char *name = d->d_name;
    if (name[0] == '.') {
        if (!name[1] || (name[1] == '.' && !name[2])) return true;
        if (!strcmp(name, ".git")) {
            l->has_git = true;
            return true;
        }
        l->has_rules |= !strcmp(name, ".gitignore");
        if (!w->hidden) return true;
    }
    if (w->entries >= MOON__WALK_ENTRIES_MAX) {
        w->cut = true;
        return false;
    }
    int kind = kind_of(l->fd, d);
    if (kind < 0) return true;
    w->entries++;
    if (add_item(l, name, strlen(name), kind)) return true;
    w->no_memory = true;
    return false;
}

static void read_level(moon__walk *w, level *l) {
    int copy = fcntl(l->fd, F_DUPFD_CLOEXEC, 0);
    DIR *stream = copy >= 0 ? fdopendir(copy) : NULL;
    if (!stream) {
        if (copy >= 0) close(copy);
        w->unreadable++;
        return;
    }
    const struct dirent *d;
    while ((d = readdir(stream)) && take(w, l, d)) {
    }
    closedir(stream);
}

static int by_path(const void *a, const void *b, void *names) {
    const item *x = a, *y = b;
    const char *s = names, *xs = s + x->name, *ys = s + y->name;
    size_t n = x->length < y->length ? x->length : y->length;
    int order = memcmp(xs, ys, n);
    if (order) return order;
    unsigned char xc = x->length > n ? (unsigned char)xs[n] : x->kind == MOON__WALK_DIR ? '/' : 0;
    unsigned char yc = y->length > n ? (unsigned char)ys[n] : y->kind == MOON__WALK_DIR ? '/' : 0;
    return (xc > yc) - (xc < yc);
}

/* ---- the walk ---- */

static bool walk_level(walker *k, int fd, unsigned depth, const moon__ignore *rules);

static bool visit_item(walker *k, level *l, const item *it) {
    moon__walk *w = k->w;
    size_t name = k->path.len;
    moon__bytes_add(&k->path, l->names.p + it->name, it->length + 1u);
    if (k->path.failed) {
        w->cut = true; /* only a path beyond all limits gets here */
        return false;
    }
    size_t length = --k->path.len;
    bool is_dir = it->kind == MOON__WALK_DIR, on = true;
    if (!moon__ignore_matches(l->rules, k->path.p, length, is_dir)) {
        on = w->visit(w->ctx, &(moon__walk_entry){.kind = (moon__walk_kind)it->kind,
                                                  .dir = l->fd,
                                                  .path = k->path.p,
                                                  .length = length,
                                                  .name = name,
                                                  .base = k->base,
                                                  .depth = l->depth});
        if (on && is_dir && (!w->depth || l->depth < w->depth)) {
            int fd = openat(l->fd, k->path.p + name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
            if (fd >= 0) {
                moon__bytes_str(&k->path, "/");
                on = walk_level(k, fd, l->depth + 1, l->rules);
                close(fd);
            } else if (errno != ENOENT)
                w->unreadable++;
        }
    }
    k->path.len = name;
    return on;
}

static bool walk_level(walker *k, int fd, unsigned depth, const moon__ignore *rules) {
    moon__walk *w = k->w;
    if (depth > MOON__WALK_DEPTH_MAX) {
        w->cut = true;
        return true;
    }
    level l = {.fd = fd, .depth = depth};
    moon__bytes_init(&l.names, NAMES_ROOM);
    read_level(w, &l);
    l.rules = enter_rules(w, fd, l.has_git, l.has_rules, k->path.len, rules, l.own);
    if (l.count) qsort_r(l.items, l.count, sizeof *l.items, by_path, l.names.p);
    if (moon_call_cancelled(w->call)) w->cancelled = true;
    bool on = !w->cancelled && !w->no_memory;
    for (size_t i = 0; on && i < l.count; i++) on = visit_item(k, &l, &l.items[i]);
    for (size_t i = RULES_DEPTH; i-- > 0;) moon__ignore_free(l.own[i]);
    moon__bytes_fini(&l.names);
    free(l.items);
    return on;
}

bool moon__walk_run(moon__walk *walk, const char *path, int fd) {
    walker k = {.w = walk};
    moon__bytes_init(&k.path, PATH_ROOM);
    moon__ignore **outer = NULL;
    size_t outer_count = 0;
    const char *start = moon__walk_path(walk->call, path);
    bool plain = start && strncmp(start, "..", 2) && !strstr(start, "/..");
    const moon__ignore *rules = plain ? outer_rules(walk, start, &outer, &outer_count) : NULL;
    if (start && *start) {
        moon__bytes_str(&k.path, start);
        moon__bytes_str(&k.path, "/");
    }
    k.base = k.path.len;
    if (!start || k.path.failed) walk->no_memory = true;
    bool whole = !walk->no_memory && walk_level(&k, fd, 1, rules);
    while (outer_count) moon__ignore_free(outer[--outer_count]);
    free(outer);
    moon__bytes_fini(&k.path);
    return whole && !walk->no_memory && !walk->cancelled;
}

char *moon__walk_path(moon_call *call, const char *path) {
    const char *root = moon_call_root(call);
    size_t root_length = strlen(root), n = 0;
    if (root_length > 1 && !strncmp(path, root, root_length) && (path[root_length] == '/' || !path[root_length]))
        path += root_length;
    char *out = moon_call_alloc(call, strlen(path) + 2);
    if (!out) return NULL;
    while (*path) {
        size_t segment = strcspn(path, "/");
        if (segment && !(segment == 1 && *path == '.')) {
            if (n) out[n++] = '/';
            memcpy(out + n, path, segment);
            n += segment;
        }
        path += segment + (path[segment] == '/');
    }
    out[n] = 0;
    return out;
}
