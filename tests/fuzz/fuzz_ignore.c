/* SPDX-License-Identifier: MIT */
/*
 * Rules of a .gitignore and a path, with a NUL between. Held to: a last rule "*" ignores all, a last rule "!*" nothing;
 * what matches as a file matches as a directory unless a rule asks for one. The path is also tried as a glob.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../tools/glob.h"
#include "../../tools/ignore.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool ignored(const char *rules, size_t n, const char *path, size_t path_length) {
    moon__ignore *ignore = moon__ignore_new(rules, n, NULL, 0);
    if (!ignore) abort();
    bool answer = moon__ignore_matches(ignore, path, path_length, false);
    (void)moon__ignore_matches(ignore, path, path_length, true);
    moon__ignore_free(ignore);
    return answer;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const uint8_t *nul = size && size < 4096 ? memchr(data, 0, size) : NULL;
    if (!nul) return 0;
    size_t n = (size_t)(nul - data), path_length = size - n - 1;
    const char *path = (const char *)nul + 1;
    char *rules = malloc(n + 8);
    if (!rules) abort();
    memcpy(rules, data, n);
    (void)ignored(rules, n, path, path_length);
    memcpy(rules + n, "\n*\n", 3);
    if (!ignored(rules, n + 3, path, path_length)) abort();
    memcpy(rules + n, "\n!*\n", 4);
    if (ignored(rules, n + 4, path, path_length)) abort();
    moon__glob *glob = moon__glob_new(rules, n);
    if (glob) {
        bool covers = moon__glob_covers(glob, path, path_length, 0);
        (void)covers;
        moon__glob_free(glob);
    }
    free(rules);
    return 0;
}
