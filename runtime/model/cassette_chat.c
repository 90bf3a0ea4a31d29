/* SPDX-License-Identifier: MIT */
/*
 * The wrapper around a model: its conversations take their answers from a cassette, or record them there.
 *
 * A recorded answer comes from the loop, as any other does. While one is asked for, the callbacks of the model inside
 * are passed on; each may close the chat, so nothing of it is touched after one. What done() gets is out of the chat by
 * then, and freed when it has returned.
 */
#include "cassette.h"

#include <stdlib.h>
#include <string.h>

#include "text.h"

typedef struct taped {
    moon__model base; /* first */
    moon__cassette *cassette;
    moon__model *inner;
} taped;

typedef struct chat {
    moon__chat base;   /* first */
    moon__chat *inner; /* NULL: playing */
    const char *agent;
    moon__request request;
    moon__ask ask;
    bool asking;
    bool *gone; /* set when the chat is closed from within one of its callbacks */
    moon__defer defer;
    moon__played played; /* what is given then; or why nothing is: */
    moon_status status;
    moon_error error;
} chat;

static taped *model_of(const chat *c) {
    return (taped *)c->base.model;
}

/* ---- conversations ---- */

static void deliver(void *ctx);

static void chat_cancel(moon__chat *base) {
    chat *c = (chat *)base;
    c->asking = false;
    if (c->inner) c->inner->model->ops->cancel(c->inner);
    moon__defer_cancel(moon__cassette_loop(model_of(c)->cassette), &c->defer);
    moon__played_fini(&c->played);
}

static void chat_close(moon__chat *base) {
    chat *c = (chat *)base;
    chat_cancel(base);
    if (c->gone) *c->gone = true;
    if (c->inner) c->inner->model->ops->close(c->inner);
    moon__request_fini(&c->request);
    moon__model_unref(base->model);
    free(c);
}

static moon_status chat_open(moon__model *base, const moon__chat_settings *settings, moon__chat **out,
                             moon_error *error) {
    taped *model = (taped *)base;
    chat *c = calloc(1, sizeof *c);
    if (!c) return moon_error_set(error, MOON_ENOMEM, "out of memory");
    c->base.model = moon__model_ref(base);
    c->agent = settings->agent;
    c->defer = (moon__defer){.fn = deliver, .ctx = c};
    moon_status status = moon__request_init(&c->request, moon__cassette_veil(model->cassette), base, settings, error);
    if (!status && moon__cassette_records(model->cassette))
        status = model->inner->ops->open(model->inner, settings, &c->inner, error);
    if (status)
        chat_close(&c->base);
    else
        *out = &c->base;
    return status;
}

static moon_status chat_append(moon__chat *base, const moon_message *message, moon_error *error) {
    chat *c = (chat *)base;
    if (c->asking) return moon_error_set(error, MOON_EINVAL, "an answer is in progress");
    moon_status status = moon__request_add(&c->request, message, error);
    if (!status && c->inner) status = c->inner->model->ops->append(c->inner, message, error);
    return status;
}

/* ---- an answer that was recorded, or none ---- */

static bool tell_deltas(chat *c, const moon__answer *answer) {
    bool gone = false;
    const moon__ask *ask = &c->ask;
    c->gone = &gone;
    if (answer->reasoning_length)
        ask->delta(ask->ctx, MOON__DELTA_REASONING, answer->reasoning, answer->reasoning_length);
    if (!gone && c->asking && answer->text_length)
        ask->delta(ask->ctx, MOON__DELTA_TEXT, answer->text, answer->text_length);
    for (size_t i = 0; !gone && c->asking && i < answer->n_calls; i++)
        ask->delta(ask->ctx, MOON__DELTA_CALL, answer->calls[i].name, strlen(answer->calls[i].name));
    if (gone) return false;
    c->gone = NULL;
    return c->asking;
}

static void deliver(void *ctx) {
    chat *c = ctx;
    moon__played played = c->played;
    moon_status status = c->status;
    moon_error error = c->error;
    c->played = (moon__played){0};
    if (status || !c->ask.deltas || !c->ask.delta || tell_deltas(c, &played.answer)) {
        c->asking = false;
        c->ask.done(c->ask.ctx, status, status ? NULL : &played.answer, status ? &error : NULL);
    }
    moon__played_fini(&played);
}

static void play(chat *c, const char *name) {
    moon__cassette *cassette = model_of(c)->cassette;
    moon__recording recording;
    c->status = moon__cassette_read(cassette, name, &recording, &c->error);
    if (c->status) return;
    c->status = moon__played_init(&c->played, &recording, moon__cassette_veil(cassette), &c->error);
    moon__recording_fini(&recording);
}

/* ---- an answer that is asked for ---- */

static void on_delta(void *ctx, moon__delta kind, const char *text, size_t n) {
    chat *c = ctx;
    c->ask.delta(c->ask.ctx, kind, text, n);
}

static void on_retry(void *ctx, int attempt, int64_t wait_ms, const moon_error *why) {
    chat *c = ctx;
    c->ask.retry(c->ask.ctx, attempt, wait_ms, why);
}

static void on_done(void *ctx, moon_status status, const moon__answer *answer, const moon_error *error) {
    chat *c = ctx;
    moon_error lost = {0};
    c->asking = false;
    if (status == MOON_OK) {
        status = moon__cassette_add(model_of(c)->cassette, c->ask.path, c->agent, &c->request, answer, &lost);
        if (status) error = &lost;
    }
    c->ask.done(c->ask.ctx, status, status ? NULL : answer, error);
}

static moon_status ask_inside(chat *c, moon_error *error) {
    moon__ask ask = c->ask;
    ask.ctx = c;
    ask.delta = c->ask.delta ? on_delta : NULL;
    ask.retry = c->ask.retry ? on_retry : NULL;
    ask.done = on_done;
    c->asking = true;
    moon_status status = c->inner->model->ops->ask(c->inner, &ask, error);
    c->asking = status == MOON_OK;
    return status;
}

/* No answer now. */
static void say_why(chat *c, const moon__take *take) {
    moon__cassette *cassette = model_of(c)->cassette;
    c->status = MOON_ENOTFOUND;
    if (!take || !take->late) {
        moon__cassette_miss(cassette, c->ask.path, &c->request, &c->error);
        return;
    }
    moon_error_set(&c->error, MOON_ENOTFOUND, "the recording %.100s in %.150s has no answer: none came in time",
                   take->late, moon__cassette_dir(cassette));
    c->error.cause = MOON__CASSETTE_LATE;
}

static moon_status chat_ask(moon__chat *base, const moon__ask *ask, moon_error *error) {
    chat *c = (chat *)base;
    moon__cassette *cassette = model_of(c)->cassette;
    if (c->asking) return moon_error_set(error, MOON_EINVAL, "an answer is in progress");
    c->ask = *ask;
    if (!c->ask.path) c->ask.path = "";
    moon__take *take = moon__cassette_find(cassette, c->ask.path, moon__request_key(&c->request));
    const char *name = take ? moon__cassette_turn(cassette, take) : NULL;
    if (!name && c->inner) return ask_inside(c, error);
    c->error = (moon_error){0};
    if (name)
        play(c, name);
    else
        say_why(c, take);
    c->asking = true;
    moon__defer_call(moon__cassette_loop(cassette), &c->defer);
    return MOON_OK;
}

moon_status moon__cassette_late(moon__chat *base, moon_error *error) {
    chat *c = (chat *)base;
    if (base->model->ops->ask != chat_ask || !c->inner || !c->asking) return MOON_OK;
    moon__cassette *cassette = model_of(c)->cassette;
    if (moon__cassette_find(cassette, c->ask.path, moon__request_key(&c->request))) return MOON_OK;
    return moon__cassette_add(cassette, c->ask.path, c->agent, &c->request, NULL, error);
}

/* ---- the model ---- */

static void model_free(moon__model *base) {
    taped *model = (taped *)base;
    moon__model_unref(model->inner);
    free(base->name);
    free(base->source);
    free(model);
}

static const moon__model_ops taped_ops = {.open = chat_open,
                                          .append = chat_append,
                                          .ask = chat_ask,
                                          .cancel = chat_cancel,
                                          .close = chat_close,
                                          .free = model_free};

moon_status moon__cassette_wrap(moon__cassette *cassette, moon__model **model, moon_error *error) {
    moon__model *inner = *model;
    taped *outer = calloc(1, sizeof *outer);
    *model = NULL;
    if (!outer) {
        moon__model_unref(inner);
        return moon_error_set(error, MOON_ENOMEM, "out of memory");
    }
    bool records = moon__cassette_records(cassette);
    outer->base = *inner; /* what is borrowed from it stays: it is held below */
    outer->base.ops = &taped_ops;
    outer->base.refs = 1;
    outer->base.name = moon__strdup(inner->name);
    outer->base.source = moon__strdup(inner->source);
    outer->base.hides_cost = records && inner->hides_cost; /* a recorded answer says what it did cost */
    outer->cassette = cassette;
    outer->inner = inner;
    moon_status status = outer->base.name && outer->base.source ? MOON_OK : MOON_ENOMEM;
    if (!status && inner->key_name) status = moon__cassette_hide(cassette, getenv(inner->key_name));
    if (status) {
        model_free(&outer->base);
        return moon_error_set(error, status, "the model cannot be recorded: %s", moon_status_text(status));
    }
    *model = &outer->base;
    return MOON_OK;
}
