/* SPDX-License-Identifier: MIT */
#ifndef MOON_TOOLS_IGNORE_H
#define MOON_TOOLS_IGNORE_H
/*
 * The rules of .gitignore files, with git's meaning (gitignore(5)). One moon__ignore is the rules of one file; it
 * points to the rules that hold further up, and is asked first: the last rule that matches in the nearest file decides.
 * A path below an ignored directory is ignored whatever the rules say of it, so who walks does not enter that
 * directory.
 */
#include <stdbool.h>
#include <stddef.h>

typedef struct moon__ignore moon__ignore;

enum { MOON__IGNORE_FILE_MAX = 1 << 20 }; /* what is beyond in a rules file is not read */

/* base: the length of the path prefix ("" or "a/b/") of the directory that the rules are in. parent is borrowed, may be
 * NULL. NULL: out of memory. */
moon__ignore *moon__ignore_new(const char *text, size_t n, const moon__ignore *parent, size_t base);
void moon__ignore_free(moon__ignore *ignore); /* this one, not its parents */
/* The path must begin with the prefixes that the bases speak of. ignore may be NULL. */
bool moon__ignore_matches(const moon__ignore *ignore, const char *path, size_t n, bool is_directory);
#endif
