/* SPDX-License-Identifier: MIT */
/* What the file tools share. */
#include "file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { NEAREST_ENTRIES = 20000, NAME_ROOM = 64 };

const char *moon__arg_str(const moon_json *args, const char *name, size_t *n) {
    size_t length = 0;
    const char *text = moon_json_str(moon_json_get(args, name), &length);
    if (n) *n = text ? length : 0;
    return text ? text : "";
}

int64_t moon__arg_int(const moon_json *args, const char *name, int64_t absent) {
    moon_json_int(moon_json_get(args, name), &absent);
    return absent;
}

bool moon__arg_bool(const moon_json *args, const char *name, bool absent) {
    moon_json_bool(moon_json_get(args, name), &absent);
    return absent;
}

const char *moon__file_kind(mode_t mode) {
    return S_ISDIR(mode)    ? "a directory"
           : S_ISLNK(mode)  ? "a symbolic link"
           : S_ISFIFO(mode) ? "a named pipe"
           : S_ISSOCK(mode) ? "a socket"
           : S_ISCHR(mode)  ? "a character device"
           : S_ISBLK(mode)  ? "a block device"
           : S_ISREG(mode)  ? "a regular file"
                            : "something else";
}

/* ---- the nearest name ---- */

/* Levenshtein distance without regard to ASCII case; long names count as far. */
static unsigned distance(const char *a, const char *b) {
    size_t an = strlen(a), bn = strlen(b);
    unsigned row[NAME_ROOM + 1];
    if (an > NAME_ROOM || bn > NAME_ROOM) return NAME_ROOM;
    for (size_t j = 0; j <= bn; j++) row[j] = (unsigned)j;
    for (size_t i = 1; i <= an; i++) {
        unsigned diagonal = row[0];
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= bn; j++) {
            unsigned char x = (unsigned char)a[i - 1], y = (unsigned char)b[j - 1];
            if (x >= 'A' && x <= 'Z') x |= 32;
            if (y >= 'A' && y <= 'Z') y |= 32;
            unsigned best = diagonal + (x != y);
            diagonal = row[j];
            if (row[j] + 1 < best) best = row[j] + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[bn];
}

/* The name in the directory fd (taken over) that is nearest to `name`; "" if none is near. Equal distances: the first
 * by bytes. */
static void nearest_name(int fd, const char *name, char out[NAME_ROOM + 1]) {
    DIR *stream = fdopendir(fd);
    unsigned best = (unsigned)strlen(name) / 3 + 2;
    const struct dirent *d;
    out[0] = 0;
    if (!stream) {
        close(fd);
        return;
    }
    for (int i = 0; i < NEAREST_ENTRIES && (d = readdir(stream)); i++) {
        size_t n = strlen(d->d_name);
        if (!strcmp(d->d_name, ".") || !strcmp(d->d_name, "..") || n > NAME_ROOM) continue;
        if (moon__text_invalid(d->d_name, n)) continue;
        unsigned far = distance(name, d->d_name);
        if (far < best || (far == best && out[0] && strcmp(d->d_name, out) < 0)) {
            best = far;
            memcpy(out, d->d_name, n + 1);
        }
    }
    closedir(stream);
}

void moon__file_missing(moon_call *call, const char *path) {
    size_t n = strlen(path);
    char *have = moon_call_alloc(call, n + 1), near[NAME_ROOM + 1] = "";
    size_t at = 0; /* path up to here exists */
    int fd = -1;
    if (!have || moon_call_open(call, ".", O_RDONLY | O_DIRECTORY, 0, &fd, NULL)) {
        moon_call_fail(call, "%.300s does not exist", path);
        return;
    }
    for (;;) { /* go down as far as there are directories */
        while (path[at] == '/') at++;
        size_t end = at + strcspn(path + at, "/");
        memcpy(have, path, end);
        have[end] = 0;
        int next;
        if (!path[end] || moon_call_open(call, have, O_RDONLY | O_DIRECTORY, 0, &next, NULL)) break;
        close(fd);
        fd = next;
        at = end;
    }
    nearest_name(fd, have + at, near);
    if (near[0])
        moon_call_fail(call, "%.300s does not exist; did you mean %.*s%s%s?", path, at < 300 ? (int)at : 300, path,
                       near, path + at + strlen(have + at));
    else
        moon_call_fail(call,
                       "%.300s does not exist, and nothing in %.*s has a name like it; file.list shows what is there",
                       path, at && at < 300 ? (int)at : 1, at && at < 300 ? path : ".");
}

/* ---- opening and reading ---- */

int moon__file_open(moon_call *call, const char *path, struct stat *st) {
    moon_error error = {0};
    int fd = -1;
    moon_status status = moon_call_open(call, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0, &fd, &error);
    if (status == MOON_ENOTFOUND && strncmp(path, "@spill/", 7))
        moon__file_missing(call, path);
    else if (status && error.cause == ENXIO)
        moon_call_fail(call, "%.300s is a socket or a device, not a regular file", path);
    else if (status)
        moon_call_fail_error(call, &error);
    else if (fstat(fd, st))
        moon_call_fail(call, "cannot look at %.300s: %s", path, strerror(errno));
    else if (S_ISDIR(st->st_mode))
        moon_call_fail(call, "%.300s is a directory; file.list shows what is in it", path);
    else if (!S_ISREG(st->st_mode))
        moon_call_fail(call, "%.300s is %s, not a regular file", path, moon__file_kind(st->st_mode));
    else
        return fd;
    if (fd >= 0) close(fd);
    return -1;
}

int moon__file_open_dir(moon_call *call, const char *path) {
    moon_error error = {0};
    struct stat st;
    int fd = -1;
    moon_status status = moon_call_open(call, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0, &fd, &error);
    if (status == MOON_ENOTFOUND)
        moon__file_missing(call, path);
    else if (status)
        moon_call_fail_error(call, &error);
    else if (fstat(fd, &st) || !S_ISDIR(st.st_mode))
        moon_call_fail(call, "%.300s is no directory", path);
    else
        return fd;
    if (fd >= 0) close(fd);
    return -1;
}

bool moon__file_slurp(moon_call *call, const char *path, int fd, size_t hint, char **data, size_t *n) {
    moon__bytes b;
    moon__bytes_init(&b, MOON__FILE_WHOLE_MAX + 1);
    size_t want = hint < MOON__FILE_WHOLE_MAX ? hint + 1 : MOON__FILE_WHOLE_MAX + 1;
    while (b.len <= MOON__FILE_WHOLE_MAX && moon__bytes_reserve(&b, want)) {
        ssize_t k = read(fd, b.p + b.len, b.cap - b.len);
        if (k < 0 && errno == EINTR) continue;
        if (k < 0) {
            moon_call_fail(call, "cannot read %.300s: %s", path, strerror(errno));
            moon__bytes_fini(&b);
            return false;
        }
        if (!k) break;
        b.len += (size_t)k;
        want = b.len < b.max ? 1 : 0;
    }
    if (b.failed) {
        moon_call_fail(call, "no memory to read %.300s", path);
        moon__bytes_fini(&b);
        return false;
    }
    *data = b.p;
    *n = b.len;
    return true;
}

bool moon__file_changed(moon_call *call, const char *path, const char *data, size_t n) {
    uint64_t seen;
    return moon_call_recall(call, path, &seen) && seen != moon_hash(data, n);
}

void moon__file_remember(moon_call *call, const char *path, const char *data, size_t n) {
    moon_call_remember(call, path, moon_hash(data, n));
}

void moon__file_line(moon__bytes *out, size_t number, const char *line, size_t n, size_t whole) {
    size_t keep = n > MOON__LINE_MAX ? moon__text_floor(line, MOON__LINE_MAX) : n;
    moon__bytes_printf(out, "%6zu\t", number);
    if (keep == whole && keep && line[keep - 1] == '\r') keep = --whole;
    moon__bytes_text(out, line, keep);
    if (keep < whole) moon__bytes_printf(out, " [… %zu bytes more]", whole - keep);
    moon__bytes_str(out, "\n");
}
