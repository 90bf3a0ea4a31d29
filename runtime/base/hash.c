/* SPDX-License-Identifier: MIT */
#include "hash.h"

#include <nettle/sha2.h>
#include <string.h>

void moon__sha256(unsigned char out[MOON__HASH_SIZE], const moon__bytes *parts, size_t n) {
    struct sha256_ctx ctx;
    sha256_init(&ctx);
    for (size_t i = 0; i < n; i++)
        if (parts[i].n) sha256_update(&ctx, parts[i].n, parts[i].p);
    sha256_digest(&ctx, MOON__HASH_SIZE, out);
}

void moon__hash_text(char out[MOON__HASH_TEXT], const unsigned char hash[MOON__HASH_SIZE]) {
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < MOON__HASH_SIZE; i++) {
        out[2 * i] = digits[hash[i] >> 4];
        out[2 * i + 1] = digits[hash[i] & 15];
    }
    out[2 * MOON__HASH_SIZE] = 0;
}

static int digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool moon__hash_read(unsigned char hash[MOON__HASH_SIZE], const char *text) {
    if (strnlen(text, MOON__HASH_TEXT) != MOON__HASH_TEXT - 1) return false;
    for (size_t i = 0; i < MOON__HASH_SIZE; i++) {
        int high = digit(text[2 * i]), low = digit(text[2 * i + 1]);
        if (high < 0 || low < 0) return false;
        hash[i] = (unsigned char)(high << 4 | low);
    }
    return true;
}
