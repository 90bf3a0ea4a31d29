/* SPDX-License-Identifier: MIT */
#ifndef MOON_TOOLS_BYTES_H
#define MOON_TOOLS_BYTES_H
/* A growing buffer with a ceiling, and UTF-8, for the built-in tools. What does not fit sets `failed`, which sticks, so
 * that a chain of additions is checked once. The bytes are not NUL-terminated. */
#include <moonlet/tool.h>

typedef struct moon__bytes {
    char *p;
    size_t len, cap, max;
    bool failed; /* memory is out, or the ceiling is reached */
} moon__bytes;

void moon__bytes_init(moon__bytes *b, size_t max);
void moon__bytes_fini(moon__bytes *b);
bool moon__bytes_reserve(moon__bytes *b, size_t n); /* room for n more bytes at p + len */
void moon__bytes_add(moon__bytes *b, const void *bytes, size_t n);
void moon__bytes_str(moon__bytes *b, const char *text);
void moon__bytes_printf(moon__bytes *b, const char *format, ...) MOON_PRINTF(2, 3); /* at most 500 bytes at a time */
/* Text of any origin; each byte that is not part of valid UTF-8 becomes U+FFFD. */
void moon__bytes_text(moon__bytes *b, const char *text, size_t n);
/* A file name for reading: as it is, or in C quotes if it holds control characters, quotes or bytes that are not UTF-8.
 */
void moon__bytes_path(moon__bytes *b, const char *path, size_t n);

/* The length of the valid UTF-8 sequence at text (n > 0 bytes are there); 0 if there is none. */
size_t moon__text_step(const char *text, size_t n);
/* The largest cut <= n that does not split a character; the bytes before it must be there. */
size_t moon__text_floor(const char *text, size_t n);
/* How many bytes are not part of valid UTF-8. */
size_t moon__text_invalid(const char *text, size_t n);
/* Does this look like something else than text? Judged by the first 8 KiB: a NUL. */
bool moon__text_is_binary(const char *data, size_t n);
size_t moon__text_count_lines(const char *data, size_t n); /* newlines, and an unfinished last line */
#endif
