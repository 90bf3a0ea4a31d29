/* SPDX-License-Identifier: MIT */
#ifndef MOON_BASE_TEXT_H
#define MOON_BASE_TEXT_H
/* Small functions on bytes and UTF-8 text. None keeps state. */
#include "buf.h"

/* Length of the longest valid UTF-8 prefix (n if all of it is valid). Surrogates and overlong forms are invalid. */
size_t moon__utf8_valid(const char *text, size_t n);
/* Length of the code point that text (of n bytes) begins with, 1 to 4; 0 if it begins with none. */
size_t moon__utf8_length(const char *text, size_t n);
/* U+FFFD, what stands for a byte that is no text. */
#define MOON__REPLACEMENT "\xEF\xBF\xBD"
/* Appends text; each invalid byte becomes U+FFFD. */
void moon__utf8_repair(moon__buf *buf, const char *text, size_t n);
/* Is it valid UTF-8 without NUL? JSON can say \u0000, but many readers refuse it and C strings end there, so that text
 * from outside is taken in without. */
bool moon__text_sound(const char *text, size_t n);
/* Appends text; each invalid byte and each NUL becomes U+FFFD. */
void moon__text_repair(moon__buf *buf, const char *text, size_t n);
/* The largest cut <= n that does not split a code point of text. */
size_t moon__utf8_floor(const char *text, size_t n);
/* Appends text made safe for a terminal: printable UTF-8, \n and \t stay; every control character (C0, DEL, C1),
 * invalid byte, bidi control, zero-width and tag character is shown as <U+001B> or <0x9B>. A lone CR becomes \n, CRLF
 * becomes \n. */
void moon__term_safe(moon__buf *buf, const char *text, size_t n);
/* Appends JSON text, which then means the same: such characters stand in it as \u009b. Of control characters it may
 * have those alone that JSON allows, or that are our own (colours): below U+007F all stays. */
void moon__term_safe_json(moon__buf *buf, const char *json, size_t n);
/* Damerau-Levenshtein distance, capped at 32 bytes of either; for "did you mean". */
unsigned moon__edit_distance(const char *a, const char *b);
/* The nearest of names (NULL-terminated) to word, or NULL if none is near (distance over a third of the length, min 1).
 */
const char *moon__nearest(const char *word, const char *const *names);
/* A malloc'd copy, NUL-terminated; NULL when out of memory or text is NULL. */
char *moon__strdup(const char *text);
/* Of n bytes, all of which are there: a NUL among them is copied like any other. */
char *moon__strndup(const char *text, size_t n);
/* Does the glob match the path? `*` and `?` stay within a segment, `**` crosses (and `**` + `/` matches no segment
 * too), [a-z] and [!a-z], {a,b} alternatives, `\` quotes. A pattern without "/" matches the last segment. A pattern of
 * over 1,023 bytes, or one that takes over a million steps, matches nothing. */
bool moon__glob_match(const char *glob, const char *path);
#endif
