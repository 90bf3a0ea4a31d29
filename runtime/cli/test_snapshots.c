/* SPDX-License-Identifier: MIT */
/* Snapshots that no test of a file looks at any more: counted, and removed where that is wanted. */
#include "test.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { PATH_ROOM = 4096 };

/* Whether a test of the suite has looked at it; all tests of its file have to have ended for that to be known. */
static bool is_used(const moon__test_suite *suite, const char *path) {
    for (size_t i = 0; i < suite->n; i++) {
        const moon_json *used = moon_json_get(suite->cases[i].outcome.json, "snapshots");
        for (const moon_json *u = moon_json_first(used); u; u = moon_json_next(u))
            if (strcmp(moon_json_str(u, NULL), path) == 0) return true;
    }
    return false;
}

/* A test that failed or was skipped may not have come to its snapshots. */
static bool all_passed(const moon__test_suite *suite, const char *file) {
    size_t n = 0;
    for (size_t i = 0; i < suite->n; i++) {
        if (strcmp(suite->cases[i].file, file) != 0) continue;
        if (suite->cases[i].status != MOON__TEST_PASSED) return false;
        n++;
    }
    return n > 0;
}

/* "tests/x_test.lua" → "tests/snapshots/x_test" */
static bool folder_of(char folder[PATH_ROOM], const char *file) {
    const char *slash = strrchr(file, '/'), *name = slash ? slash + 1 : file, *dot = strrchr(name, '.');
    int stem = (int)(dot && dot > name ? (size_t)(dot - name) : strlen(name));
    return snprintf(folder, PATH_ROOM, "%.*ssnapshots/%.*s", (int)(name - file), file, stem, name) < PATH_ROOM;
}

static void look_at(moon__test_suite *suite, const char *folder, bool remove_them) {
    char path[PATH_ROOM];
    DIR *dir = opendir(folder);
    if (!dir) return;
    for (const struct dirent *e; (e = readdir(dir));) {
        size_t n = strlen(e->d_name);
        if (n < 5 || strcmp(e->d_name + n - 4, ".txt") != 0) continue;
        if (snprintf(path, sizeof path, "%s/%s", folder, e->d_name) >= PATH_ROOM || is_used(suite, path)) continue;
        if (!remove_them || unlink(path) != 0) suite->unused++;
    }
    closedir(dir);
    if (remove_them) (void)rmdir(folder); /* if it is empty now */
}

void moon__test_snapshots(moon__test_suite *suite, const moon__test_files *files, bool remove_them, bool filtered) {
    char folder[PATH_ROOM];
    for (size_t i = 0; !filtered && i < files->n; i++)
        if (all_passed(suite, files->paths[i]) && folder_of(folder, files->paths[i]))
            look_at(suite, folder, remove_them);
}
