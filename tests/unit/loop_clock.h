/* SPDX-License-Identifier: MIT */
#ifndef MOON_TEST_LOOP_CLOCK_H
#define MOON_TEST_LOOP_CLOCK_H
/* A clock that stands still until the loop moves it. */
#include "clock.h"

typedef struct fake_clock {
    moon__clock clock;
    int64_t now_us;
} fake_clock;

static int64_t fake_now(void *ctx) {
    return ((fake_clock *)ctx)->now_us;
}
static void fake_advance(void *ctx, int64_t us) {
    ((fake_clock *)ctx)->now_us += us;
}
static inline void fake_clock_init(fake_clock *fake) {
    fake->now_us = 1000000;
    fake->clock = (moon__clock){.monotonic_us = fake_now, .wall_us = fake_now, .advance = fake_advance, .ctx = fake};
}
#endif
