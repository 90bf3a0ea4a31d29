/* SPDX-License-Identifier: MIT */
/* A runnable around another one whose answer has to fit a schema: see shape.h. */
#include "shape.h"

#include "output.h"
#include "run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ATTEMPTS_MAX = 3, INPUT_MAX = 80 << 20, WHY_MAX = 16 << 10 };

typedef struct shape {
    moon_runnable base;
    moon_runnable *inner;
    moon__schema *schema;
} shape;

typedef struct shape_run {
    moon_run *run;
    shape *shape;
    unsigned attempts;
    bool child; /* one is under way */
    moon__defer next;
} shape_run;

static void finish(shape_run *s, moon_stop stop, const char *text, size_t length, const char *error) {
    moon_run *run = s->run;
    moon__defer_cancel(moon__runtime_loop(moon__run_runtime(run)), &s->next);
    moon__run_set_state(run, NULL);
    free(s);
    moon__run_finish(run, stop, text, length, error);
}

static void on_child(void *ctx, moon_run *child);

/* previous and why: the answer that did not fit, and what is wrong with it; NULL at first. */
static void attempt(shape_run *s, const char *previous, size_t previous_length, const char *why) {
    moon__buf input;
    moon_run *child;
    moon_error error = {0};
    size_t length;
    const char *task = moon__run_input(s->run, &length);
    moon__buf_init(&input, INPUT_MAX);
    moon__buf_add(&input, task, length);
    moon__buf_printf(
        &input, "%sAnswer with one JSON value alone, without any text around it. It has to fit this JSON Schema:\n%s\n",
        length > 0 ? "\n\n" : "", moon__schema_text(s->shape->schema));
    if (why) {
        moon__buf_str(&input, "\nYour answer before was:\n");
        moon__buf_add(&input, previous, previous_length);
        moon__buf_printf(&input, "\nIt does not fit:\n%s\n", why);
    }
    char place[16];
    snprintf(place, sizeof place, "%u", s->attempts + 1);
    moon_status status = input.status;
    if (status != MOON_OK) moon_error_set(&error, status, "the input is too long");
    if (status == MOON_OK)
        status = moon__run_child(&child, s->run,
                                 &(moon__child){.place = place,
                                                .runnable = s->shape->inner,
                                                .input = input.p,
                                                .length = input.len,
                                                .done = on_child,
                                                .ctx = s},
                                 &error);
    moon__buf_fini(&input);
    s->attempts++;
    s->child = status == MOON_OK;
    if (s->child) moon__run_busy(s->run, -1);
    if (status == MOON_OK) {
        moon_run_unref(child);
    } else {
        finish(s, MOON_STOP_FAILED, NULL, 0, error.text);
    }
}

static void on_child(void *ctx, moon_run *child) {
    shape_run *s = ctx;
    const moon_result *result = moon_run_result(child);
    s->child = false;
    moon__run_busy(s->run, 1);
    if (result->stop != MOON_STOP_DONE) {
        finish(s, result->stop, result->text, result->text_length, result->error);
        return;
    }
    moon__buf json, why;
    moon__buf_init(&json, INPUT_MAX);
    moon__buf_init(&why, WHY_MAX);
    if (moon__output_check(s->shape->schema, result->text, result->text_length, &json, &why) == MOON_OK) {
        moon__run_set_json(s->run);
        finish(s, MOON_STOP_DONE, json.p, json.len, NULL);
    } else if (s->attempts < ATTEMPTS_MAX) {
        attempt(s, result->text, result->text_length, why.p ? why.p : "");
    } else {
        moon__buf text;
        moon__buf_init(&text, WHY_MAX + 256);
        moon__buf_printf(&text, "the answer does not fit the output schema: %s", why.p ? why.p : "");
        finish(s, MOON_STOP_SCHEMA, result->text, result->text_length, text.p);
        moon__buf_fini(&text);
    }
    moon__buf_fini(&json);
    moon__buf_fini(&why);
}

static void begin(void *ctx) {
    attempt(ctx, NULL, 0, NULL);
}

static void end(void *ctx) {
    finish(ctx, MOON_STOP_INTERRUPTED, NULL, 0, NULL);
}

static moon_status start(moon_runnable *runnable, moon_run *run, moon_error *error) {
    shape_run *s = calloc(1, sizeof *s);
    if (!s) return moon_error_set(error, MOON_ENOMEM, "no memory for a run");
    *s = (shape_run){.run = run, .shape = (shape *)runnable, .next = {.fn = begin, .ctx = s}};
    moon__run_set_state(run, s);
    moon__defer_call(moon__runtime_loop(moon__run_runtime(run)), &s->next);
    return MOON_OK;
}

/* A child that runs is cancelled already, and on_child comes. */
static void cancel(moon_runnable *runnable, moon_run *run) {
    (void)runnable;
    shape_run *s = moon__run_state(run);
    if (!s || s->child) return;
    s->next.fn = end;
    moon__defer_call(moon__runtime_loop(moon__run_runtime(run)), &s->next);
}

static void free_shape(moon_runnable *runnable) {
    shape *s = (shape *)runnable;
    moon_runnable_unref(s->inner);
    moon__schema_free(s->schema);
    free(s);
}

static const moon__runnable_ops shape_ops = {.start = start, .cancel = cancel, .free = free_shape};

moon_status moon__shape(moon_runnable **runnable, moon_runtime *runtime, const char *schema, size_t length,
                        moon_error *error) {
    shape *s = calloc(1, sizeof *s);
    moon_status status =
        s ? moon__runnable_init(&s->base, &shape_ops, runtime, moon_runnable_name(*runnable)) : MOON_ENOMEM;
    if (status != MOON_OK) {
        free(s);
        moon_runnable_unref(*runnable);
        *runnable = NULL;
        return moon_error_set(error, MOON_ENOMEM, "no memory for a run");
    }
    s->inner = s->base.inner = *runnable;
    *runnable = &s->base;
    status = moon__schema_new(&s->schema, schema, length, error);
    if (status == MOON_OK) {
        s->base.output_schema = moon__schema_text(s->schema);
        return MOON_OK;
    }
    moon_runnable_unref(*runnable);
    *runnable = NULL;
    return status;
}
