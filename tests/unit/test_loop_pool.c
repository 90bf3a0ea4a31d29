/* SPDX-License-Identifier: MIT */
/* Worker threads. */
#include "loop_clock.h"
#include "pool.h"

#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static moon__loop *loop;

static int set_up(void **state) {
    (void)state;
    return moon__loop_new(&loop, NULL, NULL);
}

static int tear_down(void **state) {
    (void)state;
    moon__loop_free(loop);
    return 0;
}

static moon__pool *pool_of(unsigned threads) {
    moon__pool *pool;
    assert_int_equal(moon__pool_new(&pool, loop, threads, NULL), MOON_OK);
    return pool;
}

/* A gate that jobs wait at until the test opens it. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool gate_open;
static int at_gate, order;

typedef struct job {
    moon__job job;
    pthread_t thread;
    int started, done;
    bool signals_blocked;
} job;

static void work(void *ctx) {
    job *j = ctx;
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    j->signals_blocked = sigismember(&mask, SIGINT) && sigismember(&mask, SIGCHLD) && sigismember(&mask, SIGTERM);
    j->thread = pthread_self();
    pthread_mutex_lock(&lock);
    j->started = ++order;
    pthread_mutex_unlock(&lock);
}

static void work_at_gate(void *ctx) {
    work(ctx);
    pthread_mutex_lock(&lock);
    at_gate++;
    pthread_cond_broadcast(&changed);
    while (!gate_open) pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
}

static void await_at_gate(int n) {
    pthread_mutex_lock(&lock);
    while (at_gate < n) pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
}

static void set_gate(bool open) {
    pthread_mutex_lock(&lock);
    gate_open = open;
    if (!open) at_gate = order = 0;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static int n_done;
static void done(void *ctx) {
    ((job *)ctx)->done = ++n_done;
}

static void submit(moon__pool *pool, job *j, void (*fn)(void *)) {
    *j = (job){.job = {.work = fn, .done = done, .ctx = j}};
    assert_int_equal(moon__pool_submit(pool, &j->job, NULL), MOON_OK);
}

static void test_pool__work_runs_elsewhere_and_done_here(void **state) {
    moon__pool *pool = pool_of(4);
    job jobs[100];
    (void)state;
    n_done = 0;
    for (int i = 0; i < 100; i++) submit(pool, &jobs[i], work);
    while (n_done < 100) moon__loop_step(loop, -1);
    for (int i = 0; i < 100; i++) {
        assert_true(jobs[i].done);
        assert_true(jobs[i].signals_blocked);
        assert_false(pthread_equal(jobs[i].thread, pthread_self()));
    }
    moon__pool_free(pool);
}

static void test_pool__one_thread_keeps_the_order(void **state) {
    moon__pool *pool = pool_of(1);
    job jobs[50];
    (void)state;
    n_done = 0;
    set_gate(false);
    for (int i = 0; i < 50; i++) submit(pool, &jobs[i], work);
    while (n_done < 50) moon__loop_step(loop, -1);
    for (int i = 0; i < 50; i++) {
        assert_int_equal(jobs[i].started, i + 1);
        assert_int_equal(jobs[i].done, i + 1);
    }
    moon__pool_free(pool);
}

static void test_pool__as_many_threads_as_it_may_have(void **state) {
    moon__pool *pool = pool_of(3);
    job jobs[5];
    (void)state;
    n_done = 0;
    set_gate(false);
    for (int i = 0; i < 5; i++) submit(pool, &jobs[i], work_at_gate);
    await_at_gate(3); /* or the test hangs */
    moon__loop_step(loop, 0);
    assert_int_equal(n_done, 0);
    set_gate(true);
    while (n_done < 5) moon__loop_step(loop, -1);
    moon__pool_free(pool);
}

static void test_pool__free_waits_for_what_runs_and_drops_the_rest(void **state) {
    moon__pool *pool = pool_of(1);
    job jobs[3];
    (void)state;
    n_done = 0;
    set_gate(false);
    for (int i = 0; i < 3; i++) submit(pool, &jobs[i], work_at_gate);
    await_at_gate(1);
    set_gate(true);
    moon__pool_free(pool);
    assert_true(jobs[0].done);
    assert_true(!jobs[2].started == !jobs[2].done);
    moon__loop_step(loop, 0);
}

static void test_pool__free_delivers_what_has_finished(void **state) {
    moon__pool *pool = pool_of(2);
    job jobs[2];
    (void)state;
    n_done = 0;
    set_gate(false);
    for (int i = 0; i < 2; i++) submit(pool, &jobs[i], work_at_gate);
    await_at_gate(2);
    set_gate(true);
    moon__pool_free(pool);
    assert_int_equal(n_done, 2);
    moon__loop_step(loop, 0); /* nothing of it is left in the loop */
    assert_int_equal(n_done, 2);
}

static void test_pool__what_is_left_gives_its_place_to_others(void **state) {
    moon__pool *pool = pool_of(1);
    job stuck, next;
    (void)state;
    n_done = 0;
    set_gate(false);
    submit(pool, &stuck, work_at_gate);
    await_at_gate(1);
    submit(pool, &next, work);
    assert_int_equal(moon__pool_leave(pool, &stuck.job), MOON__JOB_RUNNING);
    while (!n_done) moon__loop_step(loop, -1);
    assert_int_equal(next.done, 1);
    assert_false(moon__pool_free(pool));
    assert_int_equal(n_done, 1);
    set_gate(true);
    while (n_done < 2) moon__loop_step(loop, -1);
    assert_true(moon__pool_free(pool));
}

static void test_pool__what_is_left_may_end_before_the_pool(void **state) {
    moon__pool *pool = pool_of(2);
    job stuck[2];
    (void)state;
    n_done = 0;
    set_gate(false);
    for (int i = 0; i < 2; i++) submit(pool, &stuck[i], work_at_gate);
    await_at_gate(2);
    for (int i = 0; i < 2; i++) assert_int_equal(moon__pool_leave(pool, &stuck[i].job), MOON__JOB_RUNNING);
    set_gate(true);
    while (n_done < 1) moon__loop_step(loop, -1);
    while (!moon__pool_free(pool)) moon__loop_step(loop, 1);
    assert_int_equal(n_done, 2);
}

static void test_pool__what_is_left_before_it_began_never_runs(void **state) {
    moon__pool *pool = pool_of(1);
    job jobs[4];
    (void)state;
    n_done = 0;
    set_gate(false);
    for (int i = 0; i < 4; i++) submit(pool, &jobs[i], work_at_gate);
    await_at_gate(1);
    assert_int_equal(moon__pool_leave(pool, &jobs[3].job), MOON__JOB_WAITING);
    assert_int_equal(moon__pool_leave(pool, &jobs[1].job), MOON__JOB_WAITING);
    set_gate(true);
    while (n_done < 2) moon__loop_step(loop, -1);
    assert_true(moon__pool_free(pool));
    assert_true(jobs[0].done && jobs[2].done && !jobs[1].started && !jobs[3].started);
}

static void test_pool__what_has_ended_cannot_be_left(void **state) {
    moon__pool *pool = pool_of(1);
    struct pollfd posted = {.fd = moon__loop_fd(loop), .events = POLLIN};
    job j;
    (void)state;
    n_done = 0;
    moon__loop_step(loop, 0);
    submit(pool, &j, work);
    assert_int_equal(poll(&posted, 1, 60000), 1);
    assert_int_equal(moon__pool_leave(pool, &j.job), MOON__JOB_ENDED);
    while (!n_done) moon__loop_step(loop, -1);
    assert_true(moon__pool_free(pool));
}

static moon__pool *chain_pool;
static void submit_next(void *ctx) {
    job *j = ctx;
    done(j);
    if (n_done < 10) assert_int_equal(moon__pool_submit(chain_pool, &j->job, NULL), MOON_OK);
}

static void test_pool__done_may_submit_the_same_job_again(void **state) {
    job j = {.job = {.work = work, .done = submit_next, .ctx = &j}};
    (void)state;
    n_done = 0;
    chain_pool = pool_of(2);
    assert_int_equal(moon__pool_submit(chain_pool, &j.job, NULL), MOON_OK);
    while (n_done < 10) moon__loop_step(loop, -1);
    moon__pool_free(chain_pool);
}

static void test_pool__a_fake_clock_waits_for_jobs(void **state) {
    fake_clock fake;
    moon__loop *real = loop;
    (void)state;
    fake_clock_init(&fake);
    assert_int_equal(moon__loop_new(&loop, &fake.clock, NULL), MOON_OK);
    moon__pool *pool = pool_of(1);
    job j, unused;
    moon__timer timer = {.fn = work, .ctx = &unused};
    n_done = 0;
    submit(pool, &j, work);
    assert_int_equal(moon__timer_start(loop, &timer, 1), MOON_OK);
    while (!n_done) {
        assert_true(timer.at != 0);
        moon__loop_step(loop, -1);
    }
    moon__timer_stop(loop, &timer);
    moon__pool_free(pool);
    moon__loop_free(loop);
    loop = real;
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_pool__work_runs_elsewhere_and_done_here),
        TEST(test_pool__one_thread_keeps_the_order),
        TEST(test_pool__as_many_threads_as_it_may_have),
        TEST(test_pool__free_waits_for_what_runs_and_drops_the_rest),
        TEST(test_pool__free_delivers_what_has_finished),
        TEST(test_pool__what_is_left_gives_its_place_to_others),
        TEST(test_pool__what_is_left_may_end_before_the_pool),
        TEST(test_pool__what_is_left_before_it_began_never_runs),
        TEST(test_pool__what_has_ended_cannot_be_left),
        TEST(test_pool__done_may_submit_the_same_job_again),
        TEST(test_pool__a_fake_clock_waits_for_jobs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
