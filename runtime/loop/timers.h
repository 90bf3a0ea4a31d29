/* SPDX-License-Identifier: MIT */
#ifndef MOON_LOOP_TIMERS_H
#define MOON_LOOP_TIMERS_H
/* The loop's timers: a binary heap of pointers by due time, then by order of starting. Inside loop/ only. */
#include "loop.h"

typedef struct moon__timers {
    moon__timer **heap; /* heap[0] is place 1 */
    size_t n, cap;
    uint64_t order;
} moon__timers;

MOON_MUST_USE moon_status moon__timers_put(moon__timers *timers, moon__timer *timer, int64_t due_us);
void moon__timers_drop(moon__timers *timers, moon__timer *timer);
/* The next one, or NULL. */
static inline moon__timer *moon__timers_top(const moon__timers *timers) {
    return timers->n ? timers->heap[0] : NULL;
}

/* How late timers fire: counts by magnitude, four steps to the octave. */
typedef struct moon__late {
    uint64_t counts[256];
    uint64_t total;
} moon__late;
void moon__late_add(moon__late *late, int64_t us);
int64_t moon__late_p99(const moon__late *late);
#endif
