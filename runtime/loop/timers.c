/* SPDX-License-Identifier: MIT */
/* The heap of timers, and the histogram of their lateness. */
#include "timers.h"

#include <assert.h>
#include <stdlib.h>

static bool before(const moon__timer *a, const moon__timer *b) {
    return a->due_us != b->due_us ? a->due_us < b->due_us : a->order < b->order;
}

static void place(moon__timers *timers, size_t at, moon__timer *timer) {
    timers->heap[at - 1] = timer;
    timer->at = at;
}

static void sift_up(moon__timers *timers, moon__timer *timer) {
    size_t at = timer->at;
    for (; at > 1 && before(timer, timers->heap[at / 2 - 1]); at /= 2) place(timers, at, timers->heap[at / 2 - 1]);
    place(timers, at, timer);
}

static void sift_down(moon__timers *timers, moon__timer *timer) {
    size_t at = timer->at;
    for (size_t child; (child = at * 2) <= timers->n; at = child) {
        if (child < timers->n && before(timers->heap[child], timers->heap[child - 1])) child++;
        if (!before(timers->heap[child - 1], timer)) break;
        place(timers, at, timers->heap[child - 1]);
    }
    place(timers, at, timer);
}

moon_status moon__timers_put(moon__timers *timers, moon__timer *timer, int64_t due_us) {
    if (!timer->at && timers->n == timers->cap) {
        size_t cap = timers->cap ? timers->cap * 2 : 16;
        moon__timer **heap = realloc(timers->heap, cap * sizeof(moon__timer *));
        if (!heap) return MOON_ENOMEM;
        timers->heap = heap;
        timers->cap = cap;
    }
    timer->due_us = due_us;
    timer->order = ++timers->order;
    if (!timer->at) place(timers, ++timers->n, timer);
    sift_up(timers, timer);
    sift_down(timers, timer);
    return MOON_OK;
}

void moon__timers_drop(moon__timers *timers, moon__timer *timer) {
    if (!timer->at) return;
    assert(timer->at <= timers->n && timers->heap[timer->at - 1] == timer);
    moon__timer *last = timers->heap[--timers->n];
    if (last != timer) {
        place(timers, timer->at, last);
        sift_up(timers, last);
        sift_down(timers, last);
    }
    timer->at = 0;
}

/* Buckets 0-7 are exact; from then on bucket 4 * (e + 1) + m begins at (4 + m) << e. */
static unsigned bucket_of(uint64_t us) {
    if (us < 8) return (unsigned)us;
    unsigned e = 61 - (unsigned)__builtin_clzll(us);
    return 4 * (e + 1) + (unsigned)(us >> e & 3);
}

static int64_t bucket_top(unsigned bucket) {
    if (bucket < 8) return bucket;
    unsigned e = bucket / 4 - 1;
    return (int64_t)(((uint64_t)(5 + bucket % 4) << e) - 1);
}

void moon__late_add(moon__late *late, int64_t us) {
    late->counts[bucket_of(us > 0 ? (uint64_t)us : 0)]++;
    late->total++;
}

int64_t moon__late_p99(const moon__late *late) {
    uint64_t beyond = late->total / 100;
    for (unsigned i = sizeof late->counts / sizeof *late->counts; i-- > 0;) {
        if (late->counts[i] > beyond) return bucket_top(i);
        beyond -= late->counts[i];
    }
    return 0;
}
