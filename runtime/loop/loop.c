/* SPDX-License-Identifier: MIT */
/*
 * The event loop, on libuv's poll, async and one timer that bounds the wait.
 *
 * Time. now_us is read when a turn begins, when the wait ends (by the first callback after it, if there is one) and
 * before deferred callbacks; outside a turn every look reads the clock. A timer that is started with 0 while timers
 * fire is due one microsecond later, so that a phase of timers always ends.
 *
 * Waiting on a fake clock. A turn first looks at the descriptors without waiting. If nothing came, it waits in real
 * time as long as work outside may still answer (patience), and only then moves the clock. Silence is counted over
 * turns (quiet_ms) and forgotten when something comes, so that a peer that hangs costs the patience once and not once a
 * timer.
 *
 * Life of a watch. moon__watch_free stops it at once; its memory goes when libuv has closed the handle, at the end of
 * the next poll.
 */
#include "timers.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>
#include <uv.h>

enum {
    DEFERRED_MAX = 4096, /* deferred callbacks in a turn */
    HELD_PATIENCE_MS = 2000,
    WATCH_PATIENCE_MS = 20,
};

struct moon__loop {
    uv_loop_t uv;
    uv_async_t async;
    uv_timer_t bound;
    const moon__clock *clock;
    int64_t now_us;
    bool turning;   /* within moon__loop_step */
    bool stale;     /* the wait may have taken time since now_us was read */
    bool unflushed; /* watches have changed since the kernel was told */
    bool woken;     /* a post or a descriptor came */
    moon__timers timers;
    moon__defer *deferred, **deferred_end;
    size_t watches, holds;
    int quiet_ms;
    moon__post *batch; /* taken from posted, being called */
    pthread_mutex_t lock;
    moon__post *posted, **posted_end; /* under lock */
    /* for the bench */
    moon__late late;
    int64_t busy_max_us;
    uint64_t turns;
};

struct moon__watch {
    uv_poll_t uv;
    moon__loop *loop;
    int events;
    void (*fn)(void *ctx, int events);
    void *ctx;
};

static int64_t clock_us(const moon__loop *loop) {
    return loop->clock->monotonic_us(loop->clock->ctx);
}

int64_t moon__loop_now(const moon__loop *loop) {
    return loop->turning ? loop->now_us : clock_us(loop);
}

int64_t moon__loop_wall(const moon__loop *loop) {
    return loop->clock->wall_us(loop->clock->ctx);
}

static void freshen(moon__loop *loop) {
    loop->now_us = clock_us(loop);
    loop->stale = false;
}

/* Something from outside: called first by every callback that libuv makes. */
static void woken(moon__loop *loop) {
    if (loop->stale) freshen(loop);
    loop->woken = true;
}

/* ---- posts ---- */

static void on_async(uv_async_t *async) {
    moon__loop *loop = async->data;
    woken(loop);
    pthread_mutex_lock(&loop->lock);
    loop->batch = loop->posted;
    loop->posted = NULL;
    loop->posted_end = &loop->posted;
    pthread_mutex_unlock(&loop->lock);
    for (moon__post *post; (post = loop->batch);) {
        loop->batch = post->next;
        post->fn(post->ctx);
    }
}

void moon__loop_post(moon__loop *loop, moon__post *post) {
    post->next = NULL;
    pthread_mutex_lock(&loop->lock);
    *loop->posted_end = post;
    loop->posted_end = &post->next;
    /* Under the lock: the loop may be freed as soon as its thread has seen the post. */
    uv_async_send(&loop->async);
    pthread_mutex_unlock(&loop->lock);
}

static bool unlink_post(moon__post **list, const moon__post *post) {
    while (*list && *list != post) list = &(*list)->next;
    if (!*list) return false;
    *list = post->next;
    return true;
}

void moon__loop_unpost(moon__loop *loop, moon__post *post) {
    if (unlink_post(&loop->batch, post)) return;
    pthread_mutex_lock(&loop->lock);
    if (unlink_post(&loop->posted, post)) {
        loop->posted_end = &loop->posted;
        while (*loop->posted_end) loop->posted_end = &(*loop->posted_end)->next;
    }
    pthread_mutex_unlock(&loop->lock);
}

/* ---- deferred callbacks ---- */

void moon__defer_call(moon__loop *loop, moon__defer *defer) {
    if (defer->queued) return;
    defer->queued = true;
    defer->next = NULL;
    *loop->deferred_end = defer;
    loop->deferred_end = &defer->next;
}

void moon__defer_cancel(moon__loop *loop, moon__defer *defer) {
    if (!defer->queued) return;
    moon__defer **at = &loop->deferred;
    while (*at != defer) at = &(*at)->next;
    if (!(*at = defer->next)) loop->deferred_end = at;
    defer->queued = false;
}

static void run_deferred(moon__loop *loop) {
    if (!loop->deferred) return;
    freshen(loop);
    moon__defer *defer;
    for (int n = 0; n < DEFERRED_MAX && (defer = loop->deferred); n++) {
        if (!(loop->deferred = defer->next)) loop->deferred_end = &loop->deferred;
        defer->queued = false;
        defer->fn(defer->ctx);
    }
}

/* ---- timers ---- */

moon_status moon__timer_start(moon__loop *loop, moon__timer *timer, int64_t after_us) {
    int64_t now = moon__loop_now(loop);
    if (after_us < 1) after_us = loop->turning;
    return moon__timers_put(&loop->timers, timer, after_us > INT64_MAX - now ? INT64_MAX : now + after_us);
}

void moon__timer_stop(moon__loop *loop, moon__timer *timer) {
    moon__timers_drop(&loop->timers, timer);
}

static bool run_due(moon__loop *loop) {
    bool any = false;
    moon__timer *timer;
    while ((timer = moon__timers_top(&loop->timers)) && timer->due_us <= loop->now_us) {
        moon__late_add(&loop->late, loop->now_us - timer->due_us);
        moon__timers_drop(&loop->timers, timer);
        timer->fn(timer->ctx);
        any = true;
    }
    return any;
}

/* ---- watched descriptors ---- */

static void on_ready(uv_poll_t *uv, int status, int events);

static moon_status start_watch(moon__watch *watch) {
    int events = (watch->events & MOON__READ ? UV_READABLE : 0) | (watch->events & MOON__WRITE ? UV_WRITABLE : 0);
    watch->loop->unflushed = true;
    return uv_poll_start(&watch->uv, events, on_ready) ? MOON_EIO : MOON_OK;
}

static void on_ready(uv_poll_t *uv, int status, int events) {
    moon__watch *watch = (moon__watch *)uv;
    woken(watch->loop);
    int ready = (events & UV_READABLE ? MOON__READ : 0) | (events & UV_WRITABLE ? MOON__WRITE : 0);
    /* An error, such as a pipe without a reader: the owner learns it from its next read or write. libuv has stopped. */
    if (status < 0) ready = watch->events;
    if (ready) watch->fn(watch->ctx, ready);
    if (status < 0 && !uv_is_closing((uv_handle_t *)uv) && !uv_is_active((uv_handle_t *)uv)) start_watch(watch);
}

static void forget_watch(uv_handle_t *handle) {
    free(handle);
}

moon_status moon__watch_new(moon__watch **out, moon__loop *loop, int fd, int events, void (*fn)(void *ctx, int events),
                            void *ctx, moon_error *error) {
    moon__watch *watch = calloc(1, sizeof *watch);
    *out = NULL;
    if (!watch) return moon_error_set(error, MOON_ENOMEM, "out of memory");
    *watch = (moon__watch){.loop = loop, .events = events, .fn = fn, .ctx = ctx};
    int rc = uv_poll_init(&loop->uv, &watch->uv, fd);
    if (rc) {
        free(watch);
        return moon_error_set(error, MOON_EIO, "cannot watch descriptor %d: %s", fd, uv_strerror(rc));
    }
    loop->watches++;
    moon_status status = start_watch(watch);
    if (status) {
        moon__watch_free(watch);
        return moon_error_set(error, status, "cannot watch descriptor %d", fd);
    }
    *out = watch;
    return MOON_OK;
}

moon_status moon__watch_set(moon__watch *watch, int events) {
    watch->events = events;
    return start_watch(watch);
}

void moon__watch_free(moon__watch *watch) {
    if (!watch) return;
    watch->loop->watches--;
    uv_poll_stop(&watch->uv);
    uv_close((uv_handle_t *)&watch->uv, forget_watch);
}

/* ---- a turn ---- */

void moon__loop_hold(moon__loop *loop) {
    loop->holds++;
    loop->quiet_ms = 0;
}

void moon__loop_release(moon__loop *loop) {
    assert(loop->holds);
    loop->holds--;
}

bool moon__loop_held(const moon__loop *loop) {
    return loop->holds > 0;
}

/* Milliseconds until the next timer, rounded up; -1 without one. */
static int until_timer(const moon__loop *loop, int64_t now) {
    const moon__timer *timer = moon__timers_top(&loop->timers);
    if (!timer) return -1;
    if (timer->due_us <= now) return 0;
    int64_t ms = (timer->due_us - now + 999) / 1000;
    return ms > INT32_MAX ? INT32_MAX : (int)ms;
}

static int sooner(int a_ms, int b_ms) {
    return a_ms < 0 || (b_ms >= 0 && b_ms < a_ms) ? b_ms : a_ms;
}

static void on_bound(uv_timer_t *timer) {
    (void)timer; /* that the wait ends is all it is for */
}

/* Waits in real time for descriptors and posts, at most ms (-1: without end), and calls back. False: nothing came. */
static bool wait_real(moon__loop *loop, int ms) {
    loop->woken = false;
    loop->stale = true;
    loop->unflushed = false;
    if (ms > 0) {
        uv_update_time(&loop->uv);
        uv_timer_start(&loop->bound, on_bound, (uint64_t)ms, 0);
    }
    uv_run(&loop->uv, ms ? UV_RUN_ONCE : UV_RUN_NOWAIT);
    if (ms > 0) uv_timer_stop(&loop->bound);
    if (loop->stale) freshen(loop);
    if (loop->woken) loop->quiet_ms = 0;
    return loop->woken;
}

static int elapsed_ms(const struct timespec *since) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int)((now.tv_sec - since->tv_sec) * 1000 + (now.tv_nsec - since->tv_nsec) / 1000000);
}

/* As wait_real on a fake clock: ms and the timers are on it. */
static void wait_fake(moon__loop *loop, int ms) {
    if (wait_real(loop, 0) || !ms) return;
    if (ms < 0 && !moon__timers_top(&loop->timers)) {
        wait_real(loop, -1);
        return;
    }
    int patience = loop->holds ? HELD_PATIENCE_MS : loop->watches ? WATCH_PATIENCE_MS : 0;
    if (loop->quiet_ms < patience) {
        struct timespec began;
        clock_gettime(CLOCK_MONOTONIC, &began);
        if (wait_real(loop, patience - loop->quiet_ms)) return;
        loop->quiet_ms += elapsed_ms(&began) + 1;
        if (loop->quiet_ms < patience) return; /* interrupted */
    }
    const moon__timer *timer = moon__timers_top(&loop->timers);
    int64_t jump = ms < 0 ? INT64_MAX : (int64_t)ms * 1000;
    if (timer && timer->due_us - loop->now_us < jump) jump = timer->due_us - loop->now_us;
    if (jump > 0) loop->clock->advance(loop->clock->ctx, jump);
    freshen(loop);
}

void moon__loop_step(moon__loop *loop, int timeout_ms) {
    assert(!loop->turning);
    freshen(loop);
    loop->turning = true;
    int64_t began = loop->now_us;
    bool fired = run_due(loop);
    int64_t busy = fired ? clock_us(loop) - began : 0;

    int ms = fired || loop->deferred ? 0 : timeout_ms;
    if (loop->clock->advance)
        wait_fake(loop, ms);
    else
        wait_real(loop, sooner(ms, until_timer(loop, loop->now_us)));

    began = loop->now_us;
    if (!fired) run_due(loop);
    run_deferred(loop);
    busy += clock_us(loop) - began;
    if (busy > loop->busy_max_us) loop->busy_max_us = busy;
    loop->turns++;
    loop->turning = false;
}

int moon__loop_timeout(moon__loop *loop) {
    if (loop->deferred || loop->unflushed) return 0;
    return until_timer(loop, clock_us(loop));
}

int moon__loop_fd(const moon__loop *loop) {
    return uv_backend_fd(&loop->uv);
}

moon__lag moon__loop_lag(const moon__loop *loop) {
    return (moon__lag){loop->busy_max_us, moon__late_p99(&loop->late), loop->turns};
}

/* ---- life ---- */

moon_status moon__loop_new(moon__loop **out, const moon__clock *clock, moon_error *error) {
    moon__loop *loop = calloc(1, sizeof *loop);
    *out = NULL;
    if (!loop) return moon_error_set(error, MOON_ENOMEM, "out of memory");
    int rc = uv_loop_init(&loop->uv);
    if (rc) {
        free(loop);
        return moon_error_set(error, MOON_EIO, "cannot make an event loop: %s", uv_strerror(rc));
    }
    loop->clock = clock ? clock : &moon__clock_real;
    loop->deferred_end = &loop->deferred;
    loop->posted_end = &loop->posted;
    pthread_mutex_init(&loop->lock, NULL);
    uv_timer_init(&loop->uv, &loop->bound);
    if ((rc = uv_async_init(&loop->uv, &loop->async, on_async))) {
        uv_close((uv_handle_t *)&loop->bound, NULL);
        uv_run(&loop->uv, UV_RUN_NOWAIT);
        uv_loop_close(&loop->uv);
        pthread_mutex_destroy(&loop->lock);
        free(loop);
        return moon_error_set(error, MOON_EIO, "cannot make an event loop: %s", uv_strerror(rc));
    }
    loop->async.data = loop;
    *out = loop;
    return MOON_OK;
}

void moon__loop_free(moon__loop *loop) {
    if (!loop) return;
    assert(!loop->turning && !loop->watches && !loop->timers.n);
    uv_close((uv_handle_t *)&loop->bound, NULL);
    uv_close((uv_handle_t *)&loop->async, NULL);
    while (uv_run(&loop->uv, UV_RUN_DEFAULT)) continue;
    int rc = uv_loop_close(&loop->uv);
    assert(!rc);
    (void)rc;
    pthread_mutex_destroy(&loop->lock);
    free(loop->timers.heap);
    free(loop);
}
