/* SPDX-License-Identifier: MIT */
#ifndef MOON_BASE_HASH_H
#define MOON_BASE_HASH_H
/* SHA-256, and hashes as text. (moon_hash() of <moonlet/tool.h> is for tables, not for what must not be forged.) */
#include <moonlet/tool.h>

enum { MOON__HASH_SIZE = 32, MOON__HASH_TEXT = 65 };

typedef struct moon__bytes {
    const void *p;
    size_t n;
} moon__bytes;

/* Of the parts one after the other. */
void moon__sha256(unsigned char out[MOON__HASH_SIZE], const moon__bytes *parts, size_t n);
/* Lower-case hexadecimal, NUL-terminated. */
void moon__hash_text(char out[MOON__HASH_TEXT], const unsigned char hash[MOON__HASH_SIZE]);
bool moon__hash_read(unsigned char hash[MOON__HASH_SIZE], const char *text); /* false unless text is 64 hex digits */
#endif
