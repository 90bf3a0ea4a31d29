/* SPDX-License-Identifier: MIT */
#ifndef MOON_LOOP_LOOP_H
#define MOON_LOOP_LOOP_H
/*
 * The event loop: descriptors, timers, callbacks posted from other threads, and callbacks put off to the end of the
 * turn. One thread runs it (moon__loop_step); all functions but moon__loop_post belong to that thread. libuv is inside
 * (and nowhere else); timers are a heap of ours, so that a fake clock can drive them.
 *
 * A turn: due timers → posted callbacks and ready descriptors → deferred callbacks until there are none (or very many:
 * then the rest comes in the next turn, which does not wait). A turn that found no timer due before it waited looks
 * again after it. Nothing here calls back inline: every callback comes from within moon__loop_step.
 *
 * A fake clock (clock->advance) is moved to the next timer instead of sleeping. What goes on outside, in other threads,
 * processes and servers, does take real time: whoever waits for such work holds the loop (moon__loop_hold), and while
 * it is held, time stands still for up to two real seconds of silence. Where descriptors are watched without a hold, 20
 * ms.
 */
#include "buf.h"
#include "clock.h"

typedef struct moon__loop moon__loop;

MOON_MUST_USE moon_status moon__loop_new(moon__loop **out, const moon__clock *clock, moon_error *error);
void moon__loop_free(moon__loop *loop); /* watches and timers must be gone; NULL is fine */
/* For a host that polls itself: readable when there is something to do, ... */
int moon__loop_fd(const moon__loop *loop);
/* ... or when that many ms have passed (-1: never). 0 also when the last turn left something to be told to the kernel.
 */
int moon__loop_timeout(moon__loop *loop);
/* One turn, waiting at most timeout_ms for something to do (-1: no limit). */
void moon__loop_step(moon__loop *loop, int timeout_ms);
int64_t moon__loop_now(const moon__loop *loop); /* monotonic µs, fixed during a turn's callbacks of one kind; cheap */
int64_t moon__loop_wall(const moon__loop *loop);

/* Longest time a turn has spent in callbacks, and the 99th percentile of a timer's lateness so far, µs (for the bench).
 */
typedef struct moon__lag {
    int64_t max_us, p99_us;
    uint64_t turns;
} moon__lag;
moon__lag moon__loop_lag(const moon__loop *loop);

/* A timer is embedded in its owner; zeroed is idle. start on a running one moves it. */
typedef struct moon__timer {
    void (*fn)(void *ctx);
    void *ctx;
    int64_t due_us;
    size_t at;      /* 1-based place in the heap; 0: idle */
    uint64_t order; /* of starts: timers due at the same time fire in it */
} moon__timer;
/* Fails only when memory is out, never for a running one. A timer with after_us <= 0 fires in the next turn. */
MOON_MUST_USE moon_status moon__timer_start(moon__loop *loop, moon__timer *timer, int64_t after_us);
void moon__timer_stop(moon__loop *loop, moon__timer *timer);

/* A deferred callback, embedded in its owner; runs once at the end of this turn (or the next, if called outside one).
 */
typedef struct moon__defer {
    void (*fn)(void *ctx);
    void *ctx;
    struct moon__defer *next;
    bool queued;
} moon__defer;
void moon__defer_call(moon__loop *loop, moon__defer *defer);
void moon__defer_cancel(moon__loop *loop, moon__defer *defer);

/* From any thread: fn(ctx) is called on the loop thread. The node is embedded in its owner and must stay until then. */
typedef struct moon__post {
    void (*fn)(void *ctx);
    void *ctx;
    struct moon__post *next;
} moon__post;
void moon__loop_post(moon__loop *loop, moon__post *post);
/* Takes back a post that has not been called yet; loop thread. Nothing happens if it is not posted. */
void moon__loop_unpost(moon__loop *loop, moon__post *post);

/* Work is going on outside whose end will come as a post or on a descriptor; see above. Counted. */
void moon__loop_hold(moon__loop *loop);
void moon__loop_release(moon__loop *loop);
bool moon__loop_held(const moon__loop *loop);

/* A watched descriptor (level-triggered). The descriptor stays the caller's and must outlive the watch. */
typedef struct moon__watch moon__watch;
enum { MOON__READ = 1, MOON__WRITE = 2 };
MOON_MUST_USE moon_status moon__watch_new(moon__watch **out, moon__loop *loop, int fd, int events,
                                          void (*fn)(void *ctx, int events), void *ctx, moon_error *error);
MOON_MUST_USE moon_status moon__watch_set(moon__watch *watch, int events);
void moon__watch_free(moon__watch *watch); /* no callback comes after it; NULL is fine */
#endif
