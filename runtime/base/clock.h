/* SPDX-License-Identifier: MIT */
#ifndef MOON_BASE_CLOCK_H
#define MOON_BASE_CLOCK_H
/* Time comes through one record, so that a test can drive it. Both in microseconds. */
#include <stdint.h>

typedef struct moon__clock {
    int64_t (*monotonic_us)(void *ctx);
    int64_t (*wall_us)(void *ctx);
    /* NULL for real time. A fake clock is told how far to jump when the loop would sleep until its next timer. */
    void (*advance)(void *ctx, int64_t us);
    void *ctx;
} moon__clock;

extern const moon__clock moon__clock_real;
#endif
