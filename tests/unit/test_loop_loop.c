/* SPDX-License-Identifier: MIT */
/* The loop: timers on a fake clock, deferred callbacks, descriptors, posts, a host that polls itself. */
#include "loop.h"
#include "loop_clock.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static fake_clock fake;
static moon__loop *loop;
static char seen[256];

static int set_up_fake(void **state) {
    (void)state;
    *seen = 0;
    fake_clock_init(&fake);
    return moon__loop_new(&loop, &fake.clock, NULL);
}

static int set_up_real(void **state) {
    (void)state;
    *seen = 0;
    return moon__loop_new(&loop, NULL, NULL);
}

static int tear_down(void **state) {
    (void)state;
    moon__loop_free(loop);
    return 0;
}

static void see(void *ctx) {
    strcat(seen, ctx);
}

static void start(moon__timer *timer, int64_t after_us) {
    assert_int_equal(moon__timer_start(loop, timer, after_us), MOON_OK);
}

/* ---- timers ---- */

static void test_loop__timers_fire_in_order_of_time_then_of_start(void **state) {
    moon__timer a = {.fn = see, .ctx = "a"}, b = {.fn = see, .ctx = "b"}, c = {.fn = see, .ctx = "c"};
    moon__timer d = {.fn = see, .ctx = "d"};
    (void)state;
    start(&a, 3000);
    start(&b, 1000);
    start(&c, 3000);
    start(&d, 5000);
    moon__loop_step(loop, -1);
    assert_string_equal(seen, "b");
    assert_int_equal(fake.now_us, 1001000);
    moon__loop_step(loop, -1);
    assert_string_equal(seen, "bac");
    moon__timer_stop(loop, &d);
    assert_int_equal(moon__loop_timeout(loop), -1);
}

static void test_loop__starting_a_running_timer_moves_it(void **state) {
    moon__timer a = {.fn = see, .ctx = "a"}, b = {.fn = see, .ctx = "b"};
    (void)state;
    start(&a, 1000);
    start(&b, 2000);
    start(&a, 3000);
    moon__loop_step(loop, -1);
    assert_string_equal(seen, "b");
    start(&a, 10);
    moon__loop_step(loop, -1);
    assert_string_equal(seen, "ba");
    assert_int_equal(fake.now_us, 1002010);
}

static void test_loop__many_timers_come_out_sorted(void **state) {
    enum { N = 1000 };
    static moon__timer timers[N];
    unsigned random = 1;
    int64_t last = 0;
    (void)state;
    for (int i = 0; i < N; i++) {
        random = random * 1664525 + 1013904223;
        timers[i] = (moon__timer){.fn = see, .ctx = ""};
        start(&timers[i], random >> 12);
    }
    for (int i = 0; i < N; i += 3) moon__timer_stop(loop, &timers[i]);
    for (int i = 0; i < N; i += 3) start(&timers[i], timers[i].due_us % 7777);
    while (moon__loop_timeout(loop) >= 0) {
        moon__loop_step(loop, -1);
        assert_true(fake.now_us >= last);
        last = fake.now_us;
        for (int i = 0; i < N; i++) assert_true(!timers[i].at || timers[i].due_us > fake.now_us);
    }
    for (int i = 0; i < N; i++) assert_int_equal(timers[i].at, 0);
}

static moon__timer again;
static void restart(void *ctx) {
    see(ctx);
    start(&again, 0);
}

static void test_loop__a_timer_restarted_with_zero_fires_once_a_turn(void **state) {
    (void)state;
    again = (moon__timer){.fn = restart, .ctx = "x"};
    start(&again, 0);
    for (int i = 0; i < 3; i++) moon__loop_step(loop, -1);
    moon__timer_stop(loop, &again);
    assert_string_equal(seen, "xxx");
}

static void test_loop__a_step_moves_a_fake_clock_no_further_than_its_timeout(void **state) {
    moon__timer a = {.fn = see, .ctx = "a"};
    (void)state;
    start(&a, 50000);
    moon__loop_step(loop, 20);
    assert_string_equal(seen, "");
    assert_int_equal(fake.now_us, 1020000);
    moon__loop_step(loop, 0);
    assert_int_equal(fake.now_us, 1020000);
    assert_int_equal(moon__loop_timeout(loop), 30);
    moon__loop_step(loop, 1000);
    assert_string_equal(seen, "a");
    assert_int_equal(fake.now_us, 1050000);
}

static void test_loop__lateness_is_recorded(void **state) {
    moon__timer timers[200];
    (void)state;
    for (int i = 0; i < 200; i++) {
        timers[i] = (moon__timer){.fn = see, .ctx = ""};
        start(&timers[i], i < 195 ? 1000 : 500);
    }
    fake.now_us += 1100; /* 100 µs late, and 5 of 200 are 600 µs late */
    moon__loop_step(loop, 0);
    moon__lag lag = moon__loop_lag(loop);
    assert_in_range(lag.p99_us, 600, 767);
    assert_int_equal(lag.turns, 1);
}

/* ---- deferred callbacks ---- */

static moon__defer first, second;
static void defer_second(void *ctx) {
    see(ctx);
    moon__defer_call(loop, &second);
}

static void test_loop__deferred_callbacks_run_at_the_end_of_the_turn(void **state) {
    moon__timer a = {.fn = see, .ctx = "t"};
    (void)state;
    first = (moon__defer){.fn = defer_second, .ctx = "1"};
    second = (moon__defer){.fn = see, .ctx = "2"};
    moon__defer_call(loop, &first);
    moon__defer_call(loop, &first);
    assert_int_equal(moon__loop_timeout(loop), 0);
    start(&a, 0);
    moon__loop_step(loop, -1);
    assert_string_equal(seen, "t12");
}

static void test_loop__a_cancelled_deferred_callback_does_not_run(void **state) {
    moon__defer defers[3] = {{.fn = see, .ctx = "a"}, {.fn = see, .ctx = "b"}, {.fn = see, .ctx = "c"}};
    (void)state;
    for (int i = 0; i < 3; i++) moon__defer_call(loop, &defers[i]);
    moon__defer_cancel(loop, &defers[2]);
    moon__defer_cancel(loop, &defers[0]);
    moon__defer_cancel(loop, &defers[0]);
    moon__defer_call(loop, &defers[2]);
    moon__loop_step(loop, 0);
    assert_string_equal(seen, "bc");
}

static void defer_again(void *ctx) {
    ++*(int *)ctx;
    moon__defer_call(loop, &first);
}

static void test_loop__endless_deferring_does_not_hold_up_the_turn(void **state) {
    int n = 0;
    (void)state;
    first = (moon__defer){.fn = defer_again, .ctx = &n};
    moon__defer_call(loop, &first);
    moon__loop_step(loop, -1);
    assert_in_range(n, 100, 100000);
    assert_int_equal(moon__loop_timeout(loop), 0);
    moon__defer_cancel(loop, &first);
}

/* ---- descriptors ---- */

typedef struct end {
    int fds[2];
    moon__watch *watch;
    int events, calls;
    bool free_in_callback;
} end;

static void on_ready(void *ctx, int events) {
    end *e = ctx;
    e->events |= events;
    e->calls++;
    if (e->free_in_callback) {
        moon__watch_free(e->watch);
        e->watch = NULL;
    }
}

static void open_pipe(end *e, int which, int events) {
    assert_int_equal(pipe2(e->fds, O_CLOEXEC | O_NONBLOCK), 0);
    assert_int_equal(moon__watch_new(&e->watch, loop, e->fds[which], events, on_ready, e, NULL), MOON_OK);
}

static void close_pipe(end *e) {
    moon__watch_free(e->watch);
    for (int i = 0; i < 2; i++)
        if (e->fds[i] >= 0) close(e->fds[i]);
}

static void test_loop__a_watch_is_level_triggered(void **state) {
    end e = {0};
    (void)state;
    open_pipe(&e, 0, MOON__READ);
    moon__loop_step(loop, 0);
    assert_int_equal(e.calls, 0);
    assert_int_equal(write(e.fds[1], "x", 1), 1);
    moon__loop_step(loop, -1);
    moon__loop_step(loop, -1);
    assert_int_equal(e.calls, 2);
    assert_int_equal(e.events, MOON__READ);
    assert_int_equal(moon__watch_set(e.watch, 0), MOON_OK);
    moon__loop_step(loop, 0);
    assert_int_equal(e.calls, 2);
    close_pipe(&e);
}

static void test_loop__a_watch_can_be_freed_in_its_callback(void **state) {
    end e = {.free_in_callback = true};
    (void)state;
    open_pipe(&e, 1, MOON__WRITE);
    moon__loop_step(loop, -1);
    moon__loop_step(loop, 0);
    assert_int_equal(e.calls, 1);
    close_pipe(&e);
}

static void test_loop__a_pipe_without_reader_is_ready_for_writing(void **state) {
    end e = {0};
    (void)state;
    open_pipe(&e, 1, MOON__WRITE);
    close(e.fds[0]);
    e.fds[0] = -1;
    moon__loop_step(loop, -1);
    moon__loop_step(loop, -1);
    assert_int_equal(e.calls, 2);
    assert_int_equal(e.events, MOON__WRITE);
    close_pipe(&e);
}

static void test_loop__an_event_comes_before_the_fake_clock_moves(void **state) {
    moon__timer a = {.fn = see, .ctx = "a"};
    end e = {0};
    (void)state;
    open_pipe(&e, 0, MOON__READ);
    assert_int_equal(write(e.fds[1], "x", 1), 1);
    start(&a, 1);
    moon__loop_step(loop, -1);
    assert_int_equal(e.calls, 1);
    assert_string_equal(seen, "");
    close_pipe(&e);
    moon__timer_stop(loop, &a);
}

/* ---- other threads ---- */

enum { THREADS = 4, POSTS = 500 };
typedef struct poster {
    moon__post posts[POSTS];
    int next;
} poster;
static int posted;

static void count_post(void *ctx) {
    poster *p = ctx;
    p->next++;
    posted++;
}

static void *post_all(void *arg) {
    poster *p = arg;
    for (int i = 0; i < POSTS; i++) {
        p->posts[i] = (moon__post){.fn = count_post, .ctx = p};
        moon__loop_post(loop, &p->posts[i]);
    }
    return NULL;
}

static void test_loop__posts_of_other_threads_all_come(void **state) {
    static poster posters[THREADS];
    pthread_t threads[THREADS];
    (void)state;
    posted = 0;
    for (int i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, post_all, &posters[i]);
    while (posted < THREADS * POSTS) moon__loop_step(loop, -1);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(posters[i].next, POSTS);
    }
}

static void test_loop__posts_come_in_order_and_can_be_taken_back(void **state) {
    moon__post posts[4] = {
        {.fn = see, .ctx = "a"}, {.fn = see, .ctx = "b"}, {.fn = see, .ctx = "c"}, {.fn = see, .ctx = "d"}};
    (void)state;
    for (int i = 0; i < 3; i++) moon__loop_post(loop, &posts[i]);
    moon__loop_unpost(loop, &posts[2]);
    moon__loop_unpost(loop, &posts[0]);
    moon__loop_unpost(loop, &posts[0]);
    moon__loop_post(loop, &posts[3]);
    moon__loop_step(loop, 0);
    assert_string_equal(seen, "bd");
}

static void release_hold(void *ctx) {
    see(ctx);
    moon__loop_release(loop);
}

static void *post_late(void *arg) {
    struct pollfd none = {.fd = -1};
    poll(&none, 1, 50); /* long enough for a loop that does not wait to have gone on */
    moon__loop_post(loop, arg);
    return NULL;
}

static void test_loop__a_held_fake_clock_waits_for_the_work_outside(void **state) {
    moon__timer a = {.fn = see, .ctx = "timer "};
    moon__post post = {.fn = release_hold, .ctx = "post "};
    pthread_t thread;
    (void)state;
    moon__loop_hold(loop);
    start(&a, 1);
    pthread_create(&thread, NULL, post_late, &post);
    while (a.at) moon__loop_step(loop, -1);
    pthread_join(thread, NULL);
    assert_string_equal(seen, "post timer ");
}

/* ---- a host with a poll of its own ---- */

static void test_loop__a_host_can_poll_the_descriptor(void **state) {
    end e = {0};
    (void)state;
    open_pipe(&e, 0, MOON__READ);
    assert_int_equal(moon__loop_timeout(loop), 0); /* the kernel has not been told yet */
    moon__loop_step(loop, 0);
    assert_int_equal(moon__loop_timeout(loop), -1);
    struct pollfd host = {.fd = moon__loop_fd(loop), .events = POLLIN};
    assert_int_equal(poll(&host, 1, 0), 0);
    assert_int_equal(write(e.fds[1], "x", 1), 1);
    assert_int_equal(poll(&host, 1, -1), 1);
    moon__loop_step(loop, 0);
    assert_int_equal(e.calls, 1);
    moon__post post = {.fn = see, .ctx = "p"};
    assert_int_equal(moon__watch_set(e.watch, 0), MOON_OK);
    moon__loop_step(loop, 0);
    moon__loop_post(loop, &post);
    assert_int_equal(poll(&host, 1, -1), 1);
    moon__loop_step(loop, 0);
    assert_string_equal(seen, "p");
    close_pipe(&e);
}

static void test_loop__real_time_wakes_for_a_timer(void **state) {
    moon__timer a = {.fn = see, .ctx = "a"};
    (void)state;
    int64_t began = moon__loop_now(loop);
    start(&a, 3000);
    assert_in_range(moon__loop_timeout(loop), 1, 3);
    while (a.at) moon__loop_step(loop, -1);
    assert_true(moon__loop_now(loop) - began >= 3000);
}

static void test_loop__two_loops_are_independent(void **state) {
    moon__loop *other;
    moon__timer a = {.fn = see, .ctx = "a"}, b = {.fn = see, .ctx = "b"};
    (void)state;
    assert_int_equal(moon__loop_new(&other, &fake.clock, NULL), MOON_OK);
    start(&a, 10);
    assert_int_equal(moon__timer_start(other, &b, 10), MOON_OK);
    moon__loop_step(other, -1);
    assert_string_equal(seen, "b");
    moon__loop_step(loop, -1);
    assert_string_equal(seen, "ba");
    moon__loop_free(other);
}

#define FAKE(test) cmocka_unit_test_setup_teardown(test, set_up_fake, tear_down)
#define REAL(test) cmocka_unit_test_setup_teardown(test, set_up_real, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        FAKE(test_loop__timers_fire_in_order_of_time_then_of_start),
        FAKE(test_loop__starting_a_running_timer_moves_it),
        FAKE(test_loop__many_timers_come_out_sorted),
        FAKE(test_loop__a_timer_restarted_with_zero_fires_once_a_turn),
        FAKE(test_loop__a_step_moves_a_fake_clock_no_further_than_its_timeout),
        FAKE(test_loop__lateness_is_recorded),
        FAKE(test_loop__deferred_callbacks_run_at_the_end_of_the_turn),
        FAKE(test_loop__a_cancelled_deferred_callback_does_not_run),
        FAKE(test_loop__endless_deferring_does_not_hold_up_the_turn),
        REAL(test_loop__a_watch_is_level_triggered),
        REAL(test_loop__a_watch_can_be_freed_in_its_callback),
        REAL(test_loop__a_pipe_without_reader_is_ready_for_writing),
        FAKE(test_loop__an_event_comes_before_the_fake_clock_moves),
        REAL(test_loop__posts_of_other_threads_all_come),
        REAL(test_loop__posts_come_in_order_and_can_be_taken_back),
        FAKE(test_loop__a_held_fake_clock_waits_for_the_work_outside),
        REAL(test_loop__a_host_can_poll_the_descriptor),
        REAL(test_loop__real_time_wakes_for_a_timer),
        FAKE(test_loop__two_loops_are_independent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
