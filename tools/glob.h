/* SPDX-License-Identifier: MIT */
#ifndef MOON_TOOLS_GLOB_H
#define MOON_TOOLS_GLOB_H
/* Matching of paths against wildcard patterns, with git's rules: `*` and `?` stay within a segment, `**` as a whole
 * segment crosses any number of them, [a-z] [!a-z] [[:alpha:]], `\` quotes. Byte-wise. A pattern that is not sound (an
 * open bracket, a trailing backslash) matches nothing. Time is bounded by the product of the lengths, per `**`. */
#include <stdbool.h>
#include <stddef.h>

bool moon__wild_match(const char *pattern, size_t pattern_length, const char *text, size_t text_length);

/* The `glob` argument of a tool: as above, and {a,b} alternatives. Without "/" it is matched against the last segment,
 * else against the path; a leading "!" turns it round. */
typedef struct moon__glob moon__glob;
/* NULL if memory is out or the glob expands to more than 64 patterns. */
moon__glob *moon__glob_new(const char *text, size_t n);
void moon__glob_free(moon__glob *glob);
/* base: where the part that is relative to the tool's start directory begins. The glob may be meant from there or from
 * the workspace. */
bool moon__glob_covers(const moon__glob *glob, const char *path, size_t n, size_t base);
#endif
