/* SPDX-License-Identifier: MIT */
#ifndef MOON_BASE_IDS_H
#define MOON_BASE_IDS_H
/* Ids, random numbers and hashes. A moon__random belongs to a runtime and one thread; a fixed seed gives the same ids.
 */
#include "buf.h"

typedef struct moon__random {
    uint64_t s[2];
} moon__random;
void moon__random_init(moon__random *random, uint64_t seed); /* 0: from the kernel */
uint64_t moon__random_u64(moon__random *random);
double moon__random_unit(moon__random *random); /* [0, 1) */

enum { MOON__ID_SIZE = 24 };
/* A run id that sorts by time and can be typed: 20 characters of [0-9a-z] without look-alikes. */
void moon__id_new(char id[MOON__ID_SIZE], moon__random *random, int64_t wall_us);
#endif
