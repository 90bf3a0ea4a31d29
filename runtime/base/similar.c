/* SPDX-License-Identifier: MIT */
#include "similar.h"

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { BUCKETS_LOG2 = 11, BUCKETS = 1 << BUCKETS_LOG2 };

typedef struct counts {
    int32_t at[BUCKETS];
    uint32_t last; /* the last bytes, 8 bits each */
    unsigned have;
} counts;

static void take(counts *c, unsigned char byte) {
    c->last = (c->last << 8 | byte) & 0xFFFFFF;
    if (++c->have < 3) return;
    uint32_t hash = (c->last + 1) * 0x9E3779B1U;
    hash ^= hash >> 15;
    hash *= 0x85EBCA77U;
    c->at[hash >> (32 - BUCKETS_LOG2)] += hash & 1024 ? 1 : -1; /* collisions cancel out as often as they add up */
}

static void count(counts *c, const char *text, size_t n) {
    bool space = true;
    memset(c, 0, sizeof *c);
    take(c, ' ');
    for (size_t i = 0; i < n; i++) {
        unsigned char byte = (unsigned char)text[i];
        bool is_space = byte == ' ' || (byte >= '\t' && byte <= '\r');
        if (!is_space)
            take(c, byte >= 'A' && byte <= 'Z' ? byte + ('a' - 'A') : byte);
        else if (!space)
            take(c, ' ');
        space = is_space;
    }
    if (!space) take(c, ' ');
}

static double product(const counts *a, const counts *b) {
    int64_t sum = 0;
    for (size_t i = 0; i < BUCKETS; i++) sum += (int64_t)a->at[i] * b->at[i];
    return (double)sum;
}

double moon__similar(const char *a, size_t n, const char *b, size_t m) {
    counts of_a, of_b;
    count(&of_a, a, n);
    count(&of_b, b, m);
    double norm = sqrt(product(&of_a, &of_a)) * sqrt(product(&of_b, &of_b)), dot = product(&of_a, &of_b);
    if (norm <= 0 || dot <= 0) return 0;
    return dot >= norm ? 1 : dot / norm;
}
