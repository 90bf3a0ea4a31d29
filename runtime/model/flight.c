/* SPDX-License-Identifier: MIT */
/*
 * One ask, from its first attempt to its answer.
 *
 *     start → send → bytes … → land → whole: done
 *               ↑                   → failed, may pass: retry callback → timer ─┐
 *               └───────────────────────────────────────────────────────────────┘
 *                                   → failed: done
 *
 * 1. A flight belongs to its talk (talk->flight) until it is delivered or dropped. done() comes after that and from the
 * loop, so it may append, ask again or close the chat; the answer stays in the flight until done() has returned.
 * 2. A delta callback may cancel or close the chat. It stands on libcurl's stack (bytes) or on ours (land), where the
 * flight cannot go: it is marked dropped and ends as soon as that stack has unwound. The request's body must stay until
 * then, so a closed chat leaves its buffer to the flight.
 * 3. A server that has ended its answer but not its response is left after a second.
 */
#include <stdlib.h>
#include <string.h>

#include "chat_http.h"

enum {
    RETRIES = 4,
    LINGER_US = 1000000,
    HEADER_LINES = 16,
    HEADER_BYTES = 8192,
};

struct moon__flight {
    moon__talk *talk; /* NULL: closed (rule 2) */
    moon__remote *model;
    moon__loop *loop;
    moon__ask ask;
    moon__gather gather;
    moon__reply reply;
    moon__http_request *request; /* NULL while waiting for the next attempt */
    moon__timer timer;           /* of that wait; with a request: rule 3 */
    moon_error error;            /* of the last attempt */
    int attempt;                 /* from 0 */
    bool busy, dropped;          /* rule 2 */
    moon__buf body;              /* of a chat that was closed */
};

static void flight_free(moon__flight *f) {
    if (f->talk) f->talk->flight = NULL;
    moon__timer_stop(f->loop, &f->timer);
    moon__reply_fini(&f->reply);
    moon__gather_fini(&f->gather);
    moon__buf_fini(&f->body);
    moon__model_unref(&f->model->base);
    free(f);
}

/* Ends a flight that has no request. */
static void deliver(moon__flight *f, moon_status status, const moon__answer *answer) {
    f->talk->flight = NULL;
    f->talk = NULL;
    f->ask.done(f->ask.ctx, status, answer, &f->error);
    flight_free(f);
}

/* ---- attempts ---- */

static bool on_data(void *ctx, int http, const char *bytes, size_t n) {
    moon__flight *f = ctx;
    if (f->dropped) return false;
    f->busy = true;
    bool more = moon__reply_data(&f->reply, http, bytes, n);
    f->busy = false;
    if (f->dropped) return false;
    /* No memory for the timer: then nothing bounds the wait, and the answer is here already. */
    if (more && f->gather.ended && !f->timer.at) more = moon__timer_start(f->loop, &f->timer, LINGER_US) == MOON_OK;
    return more;
}

static void on_header(void *ctx, const char *name, const char *value) {
    moon__flight *f = ctx;
    if (!f->dropped) moon__reply_header(&f->reply, name, value, moon__loop_wall(f->loop));
}

static void on_done(void *ctx, const moon__http_response *response);

static moon_status send_request(moon__flight *f, moon_error *error) {
    const moon__remote *m = f->model;
    const moon__talk *talk = f->talk;
    moon__http *http = moon__models_http(m->models);
    if (!http) return moon_error_set(error, MOON_ENOMEM, "HTTP cannot be started");
    char scratch[HEADER_BYTES];
    const char *lines[HEADER_LINES];
    size_t n = m->provider->headers(m->key, scratch, sizeof scratch, lines, HEADER_LINES - 1);
    if (n == 0 || n > HEADER_LINES - 1) return moon_error_set(error, MOON_EINVAL, "the key is too long for a header");
    lines[n++] = "User-Agent: moonlet/" MOON_VERSION;
    moon__http_options options = {.url = m->url,
                                  .headers = lines,
                                  .n_headers = n,
                                  .body = talk->body.p,
                                  .body_length = talk->body.len,
                                  .lane = f->ask.lane,
                                  .first_ms = talk->settings->first_ms,
                                  .stall_ms = talk->settings->stall_ms,
                                  .on_header = on_header,
                                  .on_data = on_data,
                                  .on_done = on_done,
                                  .ctx = f};
    moon_status status = moon__http_start(&f->request, http, &options, error);
    explicit_bzero(scratch, sizeof scratch);
    return status;
}

/* The last attempt has failed for good; says how often it was tried, or why not again. */
static void give_up(moon__flight *f, int64_t wait_ms) {
    moon_error why = f->error;
    if (wait_ms > MOON__WAIT_MAX_MS)
        moon_error_set(&f->error, why.code, "%.320s (the server asks to wait %lld s)", why.text,
                       (long long)((wait_ms + 999) / 1000));
    else if (f->attempt > 0)
        moon_error_set(&f->error, why.code, "%.320s (tried %d times)", why.text, f->attempt + 1);
    f->error.cause = why.cause;
    deliver(f, f->error.code, NULL);
}

static void fly_again(moon__flight *f) {
    int max = f->talk->settings->max_retries;
    int64_t wait = moon__hints_wait_ms(&f->reply.hints);
    if (f->attempt >= (max < 0 ? RETRIES : max) || wait > MOON__WAIT_MAX_MS) {
        give_up(f, wait);
        return;
    }
    if (wait < 0) wait = moon__backoff_ms(f->attempt, moon__models_random(f->model->models));
    f->attempt++;
    moon__gather_reset(&f->gather);
    moon__reply_fini(&f->reply);
    moon__reply_init(&f->reply, f->model->provider, &f->gather);
    if (moon__timer_start(f->loop, &f->timer, wait * 1000)) {
        deliver(f, moon_error_set(&f->error, MOON_ENOMEM, "out of memory"), NULL);
        return;
    }
    if (f->ask.retry) f->ask.retry(f->ask.ctx, f->attempt, wait, &f->error); /* may have dropped the flight */
}

/* The response has ended, or is wanted no longer. */
static void land(moon__flight *f, const moon__http_response *response) {
    const moon__remote *m = f->model;
    moon__asked asked = {.url = m->shown, .model = m->wire_model, .key = m->key, .key_name = m->key_name};
    bool again = false;
    moon__timer_stop(f->loop, &f->timer);
    f->busy = true; /* an answer that was not streamed is decoded now, with deltas */
    moon_status status = moon__reply_judge(&f->reply, response, &asked, &f->error, &again);
    f->busy = false;
    if (f->dropped) {
        flight_free(f);
        return;
    }
    if (status && again) {
        fly_again(f);
        return;
    }
    moon__answer answer;
    if (!status) status = moon__gather_finish(&f->gather, &m->base.price, &f->talk->next_id, &answer, &f->error);
    if (!status) answer.model = m->base.name;
    deliver(f, status, status ? NULL : &answer);
}

static void on_done(void *ctx, const moon__http_response *response) {
    moon__flight *f = ctx;
    f->request = NULL;
    if (f->dropped)
        flight_free(f);
    else
        land(f, response);
}

/* Of the wait between attempts, or of a response that goes on after the answer. */
static void on_timer(void *ctx) {
    moon__flight *f = ctx;
    if (!f->request) {
        moon_status status = send_request(f, &f->error);
        if (status) deliver(f, status, NULL);
        return;
    }
    moon__http_cancel(f->request);
    f->request = NULL;
    land(f, &(moon__http_response){.status = MOON_OK, .http = f->reply.http});
}

/* ---- from outside ---- */

moon_status moon__flight_start(moon__talk *talk, const moon__ask *ask, moon_error *error) {
    if (talk->flight) return moon_error_set(error, MOON_EINVAL, "an answer is in progress");
    moon_status status = moon__talk_seal(talk, error);
    if (status) return status;
    moon__flight *f = calloc(1, sizeof *f);
    if (!f) return moon_error_set(error, MOON_ENOMEM, "out of memory");
    f->talk = talk;
    f->model = (moon__remote *)moon__model_ref(talk->base.model);
    f->loop = moon__models_loop(f->model->models);
    f->ask = *ask;
    f->timer = (moon__timer){.fn = on_timer, .ctx = f};
    moon__gather_init(&f->gather, &talk->names);
    f->gather.delta = ask->deltas ? ask->delta : NULL;
    f->gather.ctx = ask->ctx;
    moon__reply_init(&f->reply, f->model->provider, &f->gather);
    moon__buf_init(&f->body, MOON__BODY_MAX);
    talk->flight = f;
    status = send_request(f, error);
    if (status) flight_free(f);
    return status;
}

void moon__flight_drop(moon__flight *f) {
    if (f->busy || f->dropped) {
        f->dropped = true;
        f->gather.delta = NULL;
        moon__timer_stop(f->loop, &f->timer);
        return;
    }
    if (f->request) moon__http_cancel(f->request);
    flight_free(f);
}

void moon__flight_orphan(moon__flight *f) {
    moon__buf_fini(&f->body);
    f->body = f->talk->body;
    moon__buf_init(&f->talk->body, MOON__BODY_MAX);
    f->talk = NULL;
    f->gather.names = NULL;
}
