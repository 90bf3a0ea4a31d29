/* SPDX-License-Identifier: MIT */
/* Finding test files, and noticing that something has changed. Symbolic links are not followed. */
#include "test.h"

#include "cli.h"
#include "text.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { PATH_ROOM = 4096, DEPTH = 32, FILES_MAX = 10000 };

static bool ends_with(const char *name, const char *end) {
    size_t n = strlen(name), m = strlen(end);
    return n > m && strcmp(name + n - m, end) == 0;
}

static bool is_passed_over(const char *name) {
    return name[0] == '.' || strcmp(name, "node_modules") == 0;
}

/* Calls seen for each file beneath a folder. */
static bool walk(const char *folder, unsigned depth, bool (*seen)(void *ctx, const char *path, const struct stat *st),
                 void *ctx) {
    DIR *dir = depth < DEPTH ? opendir(folder) : NULL;
    if (!dir) return true;
    bool on = true;
    char path[PATH_ROOM];
    for (const struct dirent *e; on && (e = readdir(dir));) {
        struct stat st;
        if (is_passed_over(e->d_name)) continue;
        int n = strcmp(folder, ".") == 0 ? snprintf(path, sizeof path, "%s", e->d_name)
                                         : snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        if (n < 0 || n >= PATH_ROOM || lstat(path, &st) != 0) continue;
        if (S_ISDIR(st.st_mode))
            on = walk(path, depth + 1, seen, ctx);
        else if (S_ISREG(st.st_mode))
            on = seen(ctx, path, &st);
    }
    closedir(dir);
    return on;
}

static bool add(moon__test_files *files, const char *path) {
    char **grown = files->n < FILES_MAX ? realloc(files->paths, (files->n + 1) * sizeof *grown) : NULL;
    if (!grown) return false;
    files->paths = grown;
    grown[files->n] = moon__strdup(path);
    return grown[files->n] && ++files->n;
}

static bool add_test(void *ctx, const char *path, const struct stat *st) {
    (void)st;
    return !ends_with(path, "_test.lua") || add(ctx, path);
}

int moon__test_find(moon__test_files *files, const char *place) {
    struct stat st;
    char folder[PATH_ROOM];
    if (stat(place, &st) != 0) {
        moon__cli_error("test: %s: %s", place, strerror(errno));
        return MOON__EXIT_USAGE;
    }
    size_t n = (size_t)snprintf(folder, sizeof folder, "%s", place);
    while (n > 1 && n < PATH_ROOM && folder[n - 1] == '/') folder[--n] = 0;
    if (n >= PATH_ROOM || !(S_ISDIR(st.st_mode) ? walk(folder, 0, add_test, files) : add(files, place))) {
        moon__cli_error("test: %s: there are too many files, or memory is out", place);
        return MOON__EXIT_FAILED;
    }
    return MOON__EXIT_OK;
}

static int by_path(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void moon__test_files_sort(moon__test_files *files) {
    size_t kept = 0;
    if (files->n) qsort(files->paths, files->n, sizeof *files->paths, by_path);
    for (size_t i = 0; i < files->n; i++) {
        if (kept && strcmp(files->paths[kept - 1], files->paths[i]) == 0)
            free(files->paths[i]);
        else
            files->paths[kept++] = files->paths[i];
    }
    files->n = kept;
}

void moon__test_files_free(moon__test_files *files) {
    for (size_t i = 0; i < files->n; i++) free(files->paths[i]);
    free(files->paths);
    *files = (moon__test_files){0};
}

/* ---- changes ---- */

static bool stamp_file(void *ctx, const char *path, const struct stat *st) {
    uint64_t *stamp = ctx;
    if (!ends_with(path, ".lua") && !strstr(path, "snapshots/")) return true;
    uint64_t parts[] = {moon_hash(path, strlen(path)), (uint64_t)st->st_mtim.tv_sec, (uint64_t)st->st_mtim.tv_nsec,
                        (uint64_t)st->st_size, (uint64_t)st->st_ino};
    *stamp += moon_hash(parts, sizeof parts); /* a sum: the order in which a folder is read does not matter */
    return true;
}

uint64_t moon__test_stamp(const char *const *places, size_t n) {
    uint64_t stamp = 0;
    for (size_t i = 0; i < n; i++) {
        struct stat st;
        if (stat(places[i], &st) != 0) continue;
        if (S_ISDIR(st.st_mode))
            walk(places[i], 0, stamp_file, &stamp);
        else
            stamp_file(&stamp, places[i], &st);
    }
    return stamp;
}
