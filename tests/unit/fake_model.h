/* SPDX-License-Identifier: MIT */
#ifndef MOON_TEST_FAKE_MODEL_H
#define MOON_TEST_FAKE_MODEL_H
/*
 * A model whose answers a test gives, for runs without Lua or network: a list of answers in order, and a record of
 * every message it was sent. Answers come from the loop. An answer of NULL text and no calls never comes (for
 * cancelling).
 */
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model.h"
#include "text.h"

typedef struct fake_answer {
    const char *text;
    moon_tool_use calls[12];
    size_t n_calls;
    const char *finish;
    moon_usage usage;
    moon_status status; /* not OK: the ask fails with this, text and cause */
    int cause;
    bool never;
} fake_answer;

typedef struct fake_model {
    moon__model base;
    moon__loop *loop;
    const fake_answer *answers;
    size_t n, asked;
    moon__buf log; /* every message: "role:text|" with calls as name(arguments) and results as =id: */
} fake_model;

typedef struct fake_chat {
    moon__chat base;
    moon__ask ask;
    moon__defer defer;
    bool busy;
} fake_chat;

#define FAKE_CALL(id_, name_, args_)                                                                                   \
    { .id = (id_), .name = (name_), .arguments = (args_), .arguments_length = sizeof(args_) - 1 }

static inline fake_model *fake_of(moon__chat *chat) {
    return (fake_model *)chat->model;
}

static inline void fake_deliver(void *ctx) {
    fake_chat *chat = ctx;
    fake_model *model = fake_of(&chat->base);
    const fake_answer *a = &model->answers[model->asked - 1];
    moon__ask ask = chat->ask;
    chat->busy = false;
    if (a->status) {
        moon_error error = {0};
        moon_error_set(&error, a->status, "%s", a->text ? a->text : "failed");
        error.cause = a->cause;
        ask.done(ask.ctx, a->status, NULL, &error);
        return;
    }
    moon__answer answer = {.text = a->text ? a->text : "",
                           .text_length = a->text ? strlen(a->text) : 0,
                           .reasoning = "",
                           .calls = a->calls,
                           .n_calls = a->n_calls,
                           .finish = a->finish ? a->finish : "stop",
                           .usage = a->usage,
                           .model = "fake"};
    ask.done(ask.ctx, MOON_OK, &answer, NULL);
}

static inline moon_status fake_open(moon__model *model, const moon__chat_settings *settings, moon__chat **out,
                                    moon_error *error) {
    (void)settings, (void)error;
    fake_chat *chat = calloc(1, sizeof *chat);
    assert_non_null(chat);
    chat->base.model = moon__model_ref(model);
    chat->defer = (moon__defer){.fn = fake_deliver, .ctx = chat};
    *out = &chat->base;
    return MOON_OK;
}

static inline moon_status fake_append(moon__chat *chat, const moon_message *m, moon_error *error) {
    static const char *const roles[] = {"system", "user", "assistant", "tool"};
    moon__buf *log = &fake_of(chat)->log;
    (void)error;
    moon__buf_printf(log, "%s", roles[m->role]);
    if (m->call_id) moon__buf_printf(log, "=%s%s", m->call_id, m->is_error ? "!" : "");
    moon__buf_char(log, ':');
    moon__buf_add(log, m->text ? m->text : "", m->text_length);
    for (size_t i = 0; i < m->n_calls; i++) moon__buf_printf(log, " %s(%s)", m->calls[i].name, m->calls[i].arguments);
    moon__buf_char(log, '|');
    return MOON_OK;
}

static inline moon_status fake_ask(moon__chat *base, const moon__ask *ask, moon_error *error) {
    fake_chat *chat = (fake_chat *)base;
    fake_model *model = fake_of(base);
    (void)error;
    if (model->asked >= model->n) fail_msg("request %zu was not expected", model->asked + 1);
    chat->ask = *ask;
    chat->busy = true;
    if (!model->answers[model->asked++].never) moon__defer_call(model->loop, &chat->defer);
    return MOON_OK;
}

static inline void fake_cancel(moon__chat *base) {
    fake_chat *chat = (fake_chat *)base;
    moon__defer_cancel(fake_of(base)->loop, &chat->defer);
    chat->busy = false;
}

static inline void fake_close(moon__chat *base) {
    fake_cancel(base);
    moon__model_unref(base->model);
    free(base);
}

static inline void fake_free(moon__model *base) {
    fake_model *model = (fake_model *)base;
    moon__buf_fini(&model->log);
    free(model->base.name);
    free(model->base.source);
    free(model);
}

static const moon__model_ops fake_ops = {.open = fake_open,
                                         .append = fake_append,
                                         .ask = fake_ask,
                                         .cancel = fake_cancel,
                                         .close = fake_close,
                                         .free = fake_free};

static inline fake_model *fake_new(moon__loop *loop, const fake_answer *answers, size_t n) {
    fake_model *model = calloc(1, sizeof *model);
    assert_non_null(model);
    model->base = (moon__model){
        .ops = &fake_ops, .refs = 1, .name = moon__strdup("fake"), .source = moon__strdup("test"), .scripted = true};
    model->loop = loop;
    model->answers = answers;
    model->n = n;
    moon__buf_init(&model->log, 1 << 20);
    return model;
}
#endif
