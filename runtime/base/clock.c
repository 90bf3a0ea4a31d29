/* SPDX-License-Identifier: MIT */
/* The kernel's clocks. */
#include "clock.h"

#include <stddef.h>
#include <time.h>

static int64_t read_clock(clockid_t id) {
    struct timespec now = {0};
    clock_gettime(id, &now); /* cannot fail for these two on Linux */
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static int64_t monotonic_us(void *ctx) {
    (void)ctx;
    return read_clock(CLOCK_MONOTONIC);
}

static int64_t wall_us(void *ctx) {
    (void)ctx;
    return read_clock(CLOCK_REALTIME);
}

const moon__clock moon__clock_real = {.monotonic_us = monotonic_us, .wall_us = wall_us};
