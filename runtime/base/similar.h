/* SPDX-License-Identifier: MIT */
#ifndef MOON_BASE_SIMILAR_H
#define MOON_BASE_SIMILAR_H
/* How alike two texts are, by their letters alone: no model, no state, the same on every machine. */
#include <stddef.h>

/* From 0 (nothing in common) to 1: the cosine of the counts of all pieces of three bytes, which are hashed into signed
 * buckets. ASCII letters count in either case, any white space as one space, and both ends as white space. Bytes are
 * not decoded, so text without spaces between its words (Thai) compares as well as English. Time is linear in the
 * texts. */
double moon__similar(const char *a, size_t n, const char *b, size_t m);
#endif
