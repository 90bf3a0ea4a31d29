/* SPDX-License-Identifier: MIT */
#ifndef MOON_LOOP_POOL_H
#define MOON_LOOP_POOL_H
/* A bounded pool of worker threads for work that blocks. Threads start when there is work; they have all signals
 * blocked. A job is embedded in its owner and must stay until done() has been called. Jobs start in the order they were
 * given. A thread cannot be ended from outside: one whose job does not end can only be left to itself. */
#include <pthread.h>

#include "loop.h"

typedef struct moon__pool moon__pool;
typedef struct moon__job {
    void (*work)(void *ctx); /* on a worker */
    void (*done)(void *ctx); /* then on the loop thread */
    void *ctx;
    /* the pool's: */
    struct moon__job *next;
    enum { MOON__JOB_IDLE, MOON__JOB_WAITING, MOON__JOB_RUNNING, MOON__JOB_ENDED } state;
    bool left;        /* its thread was given up */
    pthread_t thread; /* that runs it */
} moon__job;

MOON_MUST_USE moon_status moon__pool_new(moon__pool **out, moon__loop *loop, unsigned threads, moon_error *error);
/* Waits for the jobs that run and calls their done(), here and now; those that have not begun are dropped without it.
 * NULL is fine. Not from done(). False: a job that was left still runs, on a thread that nobody waits for; the pool and
 * the loop must stay, and this may be called again. */
bool moon__pool_free(moon__pool *pool);
/* Loop thread. Fails when no thread can be started, and while the pool is being freed. */
MOON_MUST_USE moon_status moon__pool_submit(moon__pool *pool, moon__job *job, moon_error *error);
/* Loop thread. Waits for a job no longer; says how it stood. Waiting: it is dropped, without done(). Running: another
 * thread takes the place of its own, and done() comes if it ever ends. Ended: done() is about to come. */
int moon__pool_leave(moon__pool *pool, moon__job *job);
#endif
