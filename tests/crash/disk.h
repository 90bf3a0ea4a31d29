/* SPDX-License-Identifier: MIT */
#ifndef MOON_TEST_DISK_H
#define MOON_TEST_DISK_H
/*
 * What a disk may hold after a power cut. A log is kept of all that SQLite does to files (through the shim), and from
 * it images are made: for a moment in the log, what was synced by then is there, and each other operation is there, or
 * not, or in part by sectors of 512 bytes, and in another order.
 *
 * A sync that fails leaves what it was for in doubt for ever: the system holds those pages for written, and no later
 * sync writes them. So they are there or not, whatever is synced after them.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "shim.h"

enum { DISK_SECTOR = 512, DISK_FILES = 64 };
#define DISK_NEVER SIZE_MAX

/* Moments are counts of operations, opening and syncing included. */
typedef struct disk_op {
    shim_kind kind;
    int file;      /* of a write or truncation */
    bool doubtful; /* a sync failed */
    size_t synced; /* the moment from which it is there for certain */
    char *bytes;
    size_t n;
    int64_t at;
} disk_op;

/* A file from its making to its removal. Its name is certain once the folder was synced. */
typedef struct disk_file {
    char name[96]; /* without the folder */
    size_t made, made_synced, removed, removed_synced;
} disk_file;

typedef struct disk {
    disk_op *ops;
    size_t n, room;
    disk_file files[DISK_FILES];
    int n_files;
    bool liar;                                         /* syncs do nothing, and say that they did */
    int (*fault)(void *ctx, const struct shim_op *op); /* may be NULL; asked first, as a shim's hook */
    void *ctx;
} disk;

static inline uint64_t disk_random(uint64_t *seed) { /* xorshift64* */
    *seed ^= *seed >> 12;
    *seed ^= *seed << 25;
    *seed ^= *seed >> 27;
    return *seed * UINT64_C(2685821657736338717);
}

static inline bool disk_chance(uint64_t *seed, unsigned percent) {
    return (disk_random(seed) >> 33) % 100 < percent;
}

static inline const char *disk_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static inline void disk_log(disk *d, const shim_op *op, int file) {
    if (d->n == d->room) {
        d->room = d->room ? d->room * 2 : 1024;
        d->ops = realloc(d->ops, d->room * sizeof *d->ops);
    }
    char *bytes = malloc(op->n + 1);
    if (!d->ops || !bytes) abort();
    if (op->n) memcpy(bytes, op->bytes, op->n);
    d->ops[d->n++] =
        (disk_op){.kind = op->kind, .file = file, .synced = DISK_NEVER, .bytes = bytes, .n = op->n, .at = op->at};
}

/* The file that has this name now; -1: none. */
static inline int disk_find(const disk *d, const char *name) {
    for (int i = d->n_files - 1; i >= 0; i--)
        if (!strcmp(d->files[i].name, name)) return d->files[i].removed == DISK_NEVER ? i : -1;
    return -1;
}

static inline void disk_sync_folder(disk *d) {
    for (int i = 0; i < d->n_files; i++) {
        disk_file *f = &d->files[i];
        if (f->made_synced == DISK_NEVER) f->made_synced = d->n;
        if (f->removed != DISK_NEVER && f->removed_synced == DISK_NEVER) f->removed_synced = d->n;
    }
}

static inline void disk_make(disk *d, const char *name) {
    if (disk_find(d, name) >= 0) return;
    if (d->n_files == DISK_FILES) abort();
    disk_file *f = &d->files[d->n_files++];
    *f = (disk_file){.made = d->n, .made_synced = DISK_NEVER, .removed = DISK_NEVER, .removed_synced = DISK_NEVER};
    snprintf(f->name, sizeof f->name, "%s", name);
}

/* As SQLite does it: the first sync of a log or a rollback journal is one of the folder too. */
static inline void disk_sync(disk *d, int file, bool failed) {
    for (size_t i = 0; i < d->n; i++) {
        disk_op *op = &d->ops[i];
        if (op->file != file || op->synced != DISK_NEVER || op->doubtful) continue;
        if (failed)
            op->doubtful = true;
        else
            op->synced = d->n;
    }
    const disk_file *f = &d->files[file];
    if (!failed && strchr(f->name, '-') && f->made_synced == DISK_NEVER) disk_sync_folder(d);
}

static inline int disk_hook(void *ctx, const shim_op *op) {
    disk *d = ctx;
    int file = disk_find(d, disk_name(op->path)), code = d->fault ? d->fault(d->ctx, op) : SQLITE_OK;
    bool change = op->kind == SHIM_WRITE || op->kind == SHIM_TRUNCATE;
    if (change && code != SQLITE_OK) return code;
    disk_log(d, op, change ? file : -1);
    switch (op->kind) {
    case SHIM_OPEN: disk_make(d, disk_name(op->path)); break;
    case SHIM_REMOVE:
        if (file >= 0) d->files[file].removed = d->n;
        break;
    case SHIM_SYNC:
        if (d->liar)
            disk_sync_folder(d);
        else
            disk_sync(d, file, code != SQLITE_OK);
        return code == SQLITE_OK ? SHIM_SKIP : code; /* the real disk is not needed for this */
    default: break;
    }
    return code;
}

static inline void disk_free(disk *d) {
    for (size_t i = 0; i < d->n; i++) free(d->ops[i].bytes);
    free(d->ops);
    *d = (disk){0};
}

/* ---- images ---- */

/* What becomes of that which was not synced. */
typedef enum disk_fate { DISK_DROP, DISK_KEEP, DISK_MIX } disk_fate;

typedef struct disk_bytes {
    char *p;
    size_t n, room;
} disk_bytes;

static inline void disk_resize(disk_bytes *b, size_t n) {
    if (n > b->room) {
        b->room = n * 2;
        b->p = realloc(b->p, b->room);
        if (!b->p) abort();
    }
    if (n > b->n) memset(b->p + b->n, 0, n - b->n);
    b->n = n;
}

/* With `seed`, sectors of a write get lost by the toss of a coin. */
static inline void disk_apply(disk_bytes *b, const disk_op *op, uint64_t *seed) {
    if (op->kind == SHIM_TRUNCATE) {
        disk_resize(b, (size_t)op->at);
        return;
    }
    for (size_t from = 0, to; from < op->n; from = to) {
        size_t at = (size_t)op->at + from;
        to = from + (seed ? DISK_SECTOR - at % DISK_SECTOR : op->n);
        if (to > op->n) to = op->n;
        if (seed && disk_chance(seed, 50)) continue;
        if (at + (to - from) > b->n) disk_resize(b, at + (to - from));
        memcpy(b->p + at, op->bytes + from, to - from);
    }
}

static inline bool disk_toss(disk_fate fate, uint64_t *seed, unsigned percent) {
    return fate == DISK_KEEP || (fate == DISK_MIX && disk_chance(seed, percent));
}

/* The content of a file at a moment. What waited for a sync that never came may be in any order. */
static inline void disk_content(const disk *d, int file, size_t moment, disk_fate fate, uint64_t *seed, disk_bytes *b) {
    static size_t loose[1 << 16];
    size_t n = 0;
    unsigned kept = (unsigned)(disk_random(seed) % 101), torn = disk_chance(seed, 50) ? 30 : 0;
    b->n = 0;
    for (size_t i = 0; i < moment; i++) {
        const disk_op *op = &d->ops[i];
        if (op->file != file) continue;
        if (op->synced <= moment)
            disk_apply(b, op, NULL);
        else if (!op->doubtful && n < sizeof loose / sizeof *loose)
            loose[n++] = i;
        else if (disk_toss(fate, seed, kept))
            disk_apply(b, op, fate == DISK_MIX && disk_chance(seed, torn) ? seed : NULL);
    }
    if (fate == DISK_MIX && disk_chance(seed, 50))
        for (size_t i = n; i > 1; i--) {
            size_t j = disk_random(seed) % i, swapped = loose[i - 1];
            loose[i - 1] = loose[j];
            loose[j] = swapped;
        }
    for (size_t i = 0; i < n; i++)
        if (disk_toss(fate, seed, kept))
            disk_apply(b, &d->ops[loose[i]], fate == DISK_MIX && disk_chance(seed, torn) ? seed : NULL);
}

/* Makes the files as they may be after a power cut at this moment, in a folder that holds nothing else. */
static inline void disk_image(const disk *d, size_t moment, disk_fate fate, uint64_t *seed, const char *folder) {
    static disk_bytes bytes;
    char path[256];
    for (int i = 0; i < d->n_files; i++) { /* of one name the last that was made */
        const disk_file *f = &d->files[i];
        bool there = f->made <= moment && (f->made_synced <= moment || disk_toss(fate, seed, 50));
        if (there && f->removed <= moment) there = f->removed_synced > moment && !disk_toss(fate, seed, 50);
        snprintf(path, sizeof path, "%s/%s", folder, f->name);
        unlink(path);
        if (!there) continue;
        disk_content(d, i, moment, fate, seed, &bytes);
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        if (fd < 0 || write(fd, bytes.p, bytes.n) != (ssize_t)bytes.n) abort();
        close(fd);
    }
}
#endif
