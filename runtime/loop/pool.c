/* SPDX-License-Identifier: MIT */
/*
 * Worker threads. A job goes from `waiting` (loop thread) to a worker to `finished`; the worker that finds `finished`
 * empty posts the pool to the loop, which then takes the whole list. A thread is started when a job finds no idle one,
 * up to the bound, and stays until the pool is freed; or until the end of a job that was left, since another one has
 * its place.
 */
#include "pool.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

typedef struct queue {
    moon__job *head, **end;
} queue;

struct moon__pool {
    moon__loop *loop;
    moon__post post;
    unsigned max, n_threads; /* loop thread only */
    pthread_mutex_t lock;
    pthread_cond_t work;
    /* under lock */
    queue waiting, finished;
    unsigned idle, n_waiting, n_left; /* n_left: jobs that were left and still run */
    bool closing;
    pthread_t threads[];
};

static void put(queue *q, moon__job *job) {
    job->next = NULL;
    *q->end = job;
    q->end = &job->next;
}

static moon__job *take(queue *q) {
    moon__job *job = q->head;
    if (job && !(q->head = job->next)) q->end = &q->head;
    return job;
}

static void clear(queue *q) {
    q->head = NULL;
    q->end = &q->head;
}

static void *worker(void *arg) {
    moon__pool *pool = arg;
    pthread_mutex_lock(&pool->lock);
    bool left = false;
    while (!left) {
        pool->idle++;
        while (!pool->waiting.head && !pool->closing) pthread_cond_wait(&pool->work, &pool->lock);
        pool->idle--;
        if (pool->closing) break;
        moon__job *job = take(&pool->waiting);
        pool->n_waiting--;
        job->state = MOON__JOB_RUNNING;
        job->thread = pthread_self();
        pthread_mutex_unlock(&pool->lock);
        job->work(job->ctx);
        pthread_mutex_lock(&pool->lock);
        job->state = MOON__JOB_ENDED;
        left = job->left;
        pool->n_left -= left;
        bool first = !pool->finished.head;
        put(&pool->finished, job);
        /* Within the lock, so that a pool that is being freed has every post. */
        if (first) moon__loop_post(pool->loop, &pool->post);
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

/* Calls done() of what has finished. Each may free its job or submit others. */
static void deliver(void *ctx) {
    moon__pool *pool = ctx;
    pthread_mutex_lock(&pool->lock);
    moon__job *job = pool->finished.head;
    clear(&pool->finished);
    pthread_mutex_unlock(&pool->lock);
    while (job) {
        moon__job *next = job->next;
        if (!job->left) moon__loop_release(pool->loop);
        job->done(job->ctx);
        job = next;
    }
}

moon_status moon__pool_new(moon__pool **out, moon__loop *loop, unsigned threads, moon_error *error) {
    if (!threads) threads = 1;
    moon__pool *pool = calloc(1, sizeof *pool + threads * sizeof *pool->threads);
    *out = pool;
    if (!pool) return moon_error_set(error, MOON_ENOMEM, "out of memory");
    pool->loop = loop;
    pool->max = threads;
    pool->post = (moon__post){.fn = deliver, .ctx = pool};
    clear(&pool->waiting);
    clear(&pool->finished);
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->work, NULL);
    return MOON_OK;
}

/* Signals are the host's: no handler of its may run on a worker. */
static int start_thread(moon__pool *pool) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&pool->threads[pool->n_threads], NULL, worker, pool);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc) return rc;
    pthread_setname_np(pool->threads[pool->n_threads++], "moon-worker");
    return 0;
}

moon_status moon__pool_submit(moon__pool *pool, moon__job *job, moon_error *error) {
    pthread_mutex_lock(&pool->lock);
    bool closing = pool->closing, short_of_threads = pool->n_waiting >= pool->idle;
    pthread_mutex_unlock(&pool->lock);
    if (closing) return moon_error_set(error, MOON_ECANCELLED, "the worker threads are being stopped");
    if (short_of_threads && pool->n_threads < pool->max) {
        int rc = start_thread(pool);
        if (rc && !pool->n_threads)
            return moon_error_set(error, MOON_EIO, "cannot start a worker thread: %s", strerror(rc));
    }
    moon__loop_hold(pool->loop);
    pthread_mutex_lock(&pool->lock);
    job->state = MOON__JOB_WAITING;
    job->left = false;
    put(&pool->waiting, job);
    pool->n_waiting++;
    pthread_cond_signal(&pool->work);
    pthread_mutex_unlock(&pool->lock);
    return MOON_OK;
}

static void drop(queue *q, const moon__job *job) {
    moon__job **at = &q->head;
    while (*at != job) at = &(*at)->next;
    if (!(*at = job->next)) q->end = at;
}

static void forget_thread(moon__pool *pool, pthread_t thread) {
    unsigned i = 0;
    while (!pthread_equal(pool->threads[i], thread)) i++;
    pool->threads[i] = pool->threads[--pool->n_threads];
    pthread_detach(thread);
}

int moon__pool_leave(moon__pool *pool, moon__job *job) {
    pthread_mutex_lock(&pool->lock);
    int state = job->state;
    if (state == MOON__JOB_WAITING) {
        drop(&pool->waiting, job);
        pool->n_waiting--;
    } else if (state == MOON__JOB_RUNNING) {
        job->left = true;
        pool->n_left++;
    }
    bool short_of_threads = pool->n_waiting > pool->idle;
    pthread_mutex_unlock(&pool->lock);
    if (state != MOON__JOB_ENDED) moon__loop_release(pool->loop);
    if (state != MOON__JOB_RUNNING) return state;
    forget_thread(pool, job->thread);
    if (short_of_threads) (void)start_thread(pool); /* or the next job starts one */
    return state;
}

bool moon__pool_free(moon__pool *pool) {
    if (!pool) return true;
    pthread_mutex_lock(&pool->lock);
    pool->closing = true;
    for (; pool->n_waiting; pool->n_waiting--) moon__loop_release(pool->loop);
    clear(&pool->waiting);
    pthread_cond_broadcast(&pool->work);
    pthread_mutex_unlock(&pool->lock);
    for (unsigned i = 0; i < pool->n_threads; i++) pthread_join(pool->threads[i], NULL);
    pool->n_threads = 0;
    pthread_mutex_lock(&pool->lock);
    bool all = !pool->n_left; /* then they are in the list, as it says under the same lock */
    pthread_mutex_unlock(&pool->lock);
    moon__loop_unpost(pool->loop, &pool->post);
    deliver(pool);
    if (!all) return false;
    pthread_cond_destroy(&pool->work);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
    return true;
}
