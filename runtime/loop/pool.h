/* SPDX-License-Identifier: MIT */
#ifndef MOON_LOOP_POOL_H
#define MOON_LOOP_POOL_H
/* A bounded pool of worker threads for work that blocks. Threads start when there is work; they have all signals
 * blocked. A job is embedded in its owner and must stay until done() has been called. Jobs start in the order they were
 * given. */
#include "loop.h"

typedef struct moon__pool moon__pool;
typedef struct moon__job {
    void (*work)(void *ctx); /* on a worker */
    void (*done)(void *ctx); /* then on the loop thread */
    void *ctx;
    struct moon__job *next;
} moon__job;

MOON_MUST_USE moon_status moon__pool_new(moon__pool **out, moon__loop *loop, unsigned threads, moon_error *error);
/* Waits for the jobs that run and calls their done(), here and now; those that have not begun are dropped without it.
 * NULL is fine. Not from done(). */
void moon__pool_free(moon__pool *pool);
/* Loop thread. Fails when no thread can be started, and while the pool is being freed. */
MOON_MUST_USE moon_status moon__pool_submit(moon__pool *pool, moon__job *job, moon_error *error);
#endif
