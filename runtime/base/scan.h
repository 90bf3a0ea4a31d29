/* SPDX-License-Identifier: MIT */
#ifndef MOON_BASE_SCAN_H
#define MOON_BASE_SCAN_H
/* The inner loops that JSON reading, JSON writing and UTF-8 checks share: eight bytes at a time over what needs no
 * care. */
#include <endian.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define MOON__ONES  UINT64_C(0x0101010101010101)
#define MOON__HIGHS UINT64_C(0x8080808080808080)

static inline uint64_t moon__load64(const char *p) {
    uint64_t word;
    memcpy(&word, p, sizeof word);
    return le64toh(word);
}

/* How many bytes of [p, end) come before the first that is not ASCII. */
static inline size_t moon__ascii_span(const char *p, const char *end) {
    const char *start = p;
    for (; end - p >= 8; p += 8) {
        uint64_t high = moon__load64(p) & MOON__HIGHS;
        if (high) return (size_t)(p - start) + (size_t)__builtin_ctzll(high) / 8;
    }
    while (p < end && (signed char)*p >= 0) p++;
    return (size_t)(p - start);
}

/* How many bytes come before the first that a JSON string treats specially: quote, backslash, control, not ASCII.
 * The subtractions borrow only into bytes above a true hit, so the lowest bit that is set is always true. */
static inline size_t moon__plain_span(const char *p, const char *end) {
    const char *start = p;
    for (; end - p >= 8; p += 8) {
        uint64_t word = moon__load64(p), quote = word ^ (MOON__ONES * '"'), slash = word ^ (MOON__ONES * '\\');
        uint64_t hit = ((word - MOON__ONES * 0x20) & ~word) | ((quote - MOON__ONES) & ~quote) |
                       ((slash - MOON__ONES) & ~slash) | word;
        hit &= MOON__HIGHS;
        if (hit) return (size_t)(p - start) + (size_t)__builtin_ctzll(hit) / 8;
    }
    while (p < end && (unsigned char)*p >= 0x20 && (signed char)*p >= 0 && *p != '"' && *p != '\\') p++;
    return (size_t)(p - start);
}
#endif
