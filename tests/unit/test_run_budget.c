/* SPDX-License-Identifier: MIT */
/* A tree of runs and one budget: a run that starts many agents side by side, whose model answers when the test says so.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime.h"
#include "text.h"

enum { KIDS_MAX = 64 };

typedef struct fixture fixture;

typedef struct asked {
    moon__chat base;
    moon__ask ask;
    fixture *f;
    bool busy;
} asked;

typedef struct fan {
    moon_runnable base;
    moon_runnable *child;
    unsigned n;
    int64_t tokens; /* a limit of its own; below 0: none */
} fan;

struct fixture {
    int64_t now;
    moon__clock clock;
    moon_runtime *rt;
    moon__model model;
    moon_runnable *agent;
    fan fan, inner;
    moon_run *root, *kids[KIDS_MAX];
    asked *asked[KIDS_MAX * 4]; /* those that were asked, in order; NULL once answered or dropped */
    size_t n_asked, under_way, most, n_kids;
    unsigned ended, done, requests; /* requests: how many the runtime makes at once; 0: all */
    int64_t billed;
};

/* ---- a model that answers when it is told to ---- */

static moon_status chat_open(moon__model *model, const moon__chat_settings *settings, moon__chat **out,
                             moon_error *error) {
    (void)settings, (void)error;
    asked *a = calloc(1, sizeof *a);
    assert_non_null(a);
    a->base.model = moon__model_ref(model);
    a->f = (fixture *)((char *)model - offsetof(fixture, model));
    *out = &a->base;
    return MOON_OK;
}
static moon_status chat_append(moon__chat *chat, const moon_message *message, moon_error *error) {
    (void)chat, (void)message, (void)error;
    return MOON_OK;
}
static moon_status chat_ask(moon__chat *chat, const moon__ask *ask, moon_error *error) {
    asked *a = (asked *)chat;
    fixture *f = a->f;
    (void)error;
    a->ask = *ask;
    a->busy = true;
    f->asked[f->n_asked++] = a;
    if (++f->under_way > f->most) f->most = f->under_way;
    return MOON_OK;
}
static void chat_cancel(moon__chat *chat) {
    asked *a = (asked *)chat;
    if (!a->busy) return;
    a->busy = false;
    a->f->under_way--;
    for (size_t i = 0; i < a->f->n_asked; i++)
        if (a->f->asked[i] == a) a->f->asked[i] = NULL;
}
static void chat_close(moon__chat *chat) {
    chat_cancel(chat);
    moon__model_unref(chat->model);
    free(chat);
}
static void model_free(moon__model *model) {
    free(model->name);
}
static const moon__model_ops model_ops = {.open = chat_open,
                                          .append = chat_append,
                                          .ask = chat_ask,
                                          .cancel = chat_cancel,
                                          .close = chat_close,
                                          .free = model_free};

/* The oldest request gets its answer, or fails. False: there is none. */
static bool settle(fixture *f, int64_t tokens, double usd, moon_status status) {
    size_t i = 0;
    while (i < f->n_asked && !f->asked[i]) i++;
    if (i == f->n_asked) return false;
    asked *a = f->asked[i];
    moon_error error = {0};
    f->asked[i] = NULL;
    a->busy = false;
    f->under_way--;
    if (!status) f->billed += tokens;
    moon__answer answer = {.text = "x",
                           .text_length = 1,
                           .reasoning = "",
                           .finish = "stop",
                           .usage = {.input_tokens = tokens, .usd = usd},
                           .model = "told"};
    a->ask.done(a->ask.ctx, status, status ? NULL : &answer, &error);
    return true;
}

/* ---- a run that starts n others side by side ---- */

static void kid_done(void *ctx, moon_run *kid) {
    moon_run *run = ctx;
    fan *self = (fan *)moon__run_state(run);
    fixture *f = moon__runtime_scripts(self->base.runtime);
    const moon_result *r = moon_run_result(kid);
    if (kid->runnable == f->agent) {
        f->ended++;
        f->done += r->stop == MOON_STOP_DONE;
    }
    if (--self->n == 0) {
        moon__run_set_state(run, NULL);
        moon__run_finish(run, MOON_STOP_DONE, "all", 3, NULL);
    }
}

static moon_status fan_start(moon_runnable *runnable, moon_run *run, moon_error *error) {
    (void)error;
    run->limits.tokens = ((fan *)runnable)->tokens;
    moon__run_set_state(run, runnable);
    return MOON_OK;
}
static void fan_cancel(moon_runnable *runnable, moon_run *run) {
    (void)runnable, (void)run; /* its children end, and then it does */
}
static void fan_free(moon_runnable *runnable) {
    (void)runnable;
}
static const moon__runnable_ops fan_ops = {.start = fan_start, .cancel = fan_cancel, .free = fan_free};

static moon_run *start_kid(fixture *f, moon_run *parent, moon_runnable *what, unsigned place) {
    char name[16];
    moon_run *kid = NULL;
    moon_error error = {0};
    snprintf(name, sizeof name, "%u", place);
    moon__child spec = {.place = name, .runnable = what, .input = "abcd", .length = 4, .done = kid_done, .ctx = parent};
    if (moon__run_child(&kid, parent, &spec, &error)) fail_msg("%s", error.text);
    (void)f;
    return kid;
}

static void step(fixture *f) {
    assert_int_equal(moon_runtime_step(f->rt, 0, NULL), MOON_OK);
}

/* The runtime only carries the fixture. */
static void keep(void *ctx) {
    (void)ctx;
}

static int64_t fake_now(void *ctx) {
    return ((fixture *)ctx)->now;
}
static void fake_advance(void *ctx, int64_t us) {
    ((fixture *)ctx)->now += us;
}

/* A root with n agents below it whose requests are guessed at 100 tokens: one of input, 99 of output. */
static void begin(fixture *f, unsigned n, const moon_limits *limits, const char *fields) {
    moon_error error = {0};
    moon_json *json;
    char spec[256];
    moon_runtime_options options = {.size = sizeof options, .seed = 1, .requests = f->requests};
    f->now = 1000000;
    f->clock = (moon__clock){.monotonic_us = fake_now, .wall_us = fake_now, .advance = fake_advance, .ctx = f};
    assert_int_equal(moon__runtime_new_clock(&f->rt, &options, &f->clock, &error), MOON_OK);
    moon__runtime_set_scripts(f->rt, f, keep);
    f->model.ops = &model_ops;
    f->model.refs = 1;
    f->model.name = moon__strdup("told");
    snprintf(spec, sizeof spec, "{\"name\":\"kid\",\"tools\":[],\"max_output_tokens\":99%s%s}", *fields ? "," : "",
             fields);
    assert_int_equal(moon__json_parse(&json, spec, strlen(spec), 0, &error), MOON_OK);
    if (moon__agent_new(&f->agent, f->rt, json, &(moon__agent_extra){.model = &f->model}, &error))
        fail_msg("%s", error.text);
    moon__json_free(json);
    fan *fans[] = {&f->fan, &f->inner};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(moon__runnable_init(&fans[i]->base, &fan_ops, f->rt, "fan"), MOON_OK);
        fans[i]->tokens = -1;
    }
    f->fan.n = n;
    f->fan.tokens = limits ? limits->tokens : -1;
    moon_run_options run = {.size = sizeof run, .input = "go", .limits = limits};
    if (moon_run_start(&f->root, f->rt, &f->fan.base, &run, &error)) fail_msg("%s", error.text);
    for (unsigned i = 0; i < n; i++) f->kids[i] = start_kid(f, f->root, f->agent, i + 1);
    f->n_kids = n;
    for (int i = 0; i < 4; i++) step(f);
}

/* Answers one request after another until the tree has ended. */
static void answer_all(fixture *f, int64_t tokens, double usd) {
    for (int i = 0; i < 10000 && !moon_run_finished(f->root); i++) {
        settle(f, tokens, usd, MOON_OK);
        step(f);
    }
    assert_true(moon_run_finished(f->root));
}

static void end(fixture *f) {
    assert_int_equal(f->root->held.calls + f->root->held.waiting, 0);
    assert_int_equal(f->root->held.tokens, 0);
    for (size_t i = 0; i < f->n_kids; i++) moon_run_unref(f->kids[i]);
    moon_run_unref(f->root);
    moon_runnable_unref(f->agent);
    moon_runnable_unref(&f->fan.base);
    moon_runnable_unref(&f->inner.base);
    moon_runtime_free(f->rt);
    moon__model_unref(&f->model);
}

static moon_limits tokens(int64_t n) {
    moon_limits l = MOON_LIMITS_NONE;
    l.tokens = n;
    return l;
}

static void test_run_budget__fifty_side_by_side_spend_what_there_is(void **state) {
    (void)state;
    static const struct {
        int64_t each, billed;
        unsigned done;
    } rows[] = {{100, 1000, 10}, {50, 1000, 20}, {20, 1000, 50}, {300, 3000, 10}, {7, 350, 50}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        fixture f = {0};
        moon_limits limits = tokens(1000);
        begin(&f, 50, &limits, "");
        assert_int_equal(f.under_way, 10); /* the others wait */
        answer_all(&f, rows[i].each, 0);
        assert_int_equal(f.ended, 50);
        if (f.done != rows[i].done || f.billed != rows[i].billed)
            fail_msg("%d tokens each: %u done, %d billed", (int)rows[i].each, f.done, (int)f.billed);
        assert_int_equal(f.root->usage.input_tokens, f.billed);
        assert_int_equal(f.root->usage.steps, f.done); /* one that waited in vain was no step */
        assert_int_equal(f.most, 10);
        end(&f);
    }
}

static void test_run_budget__who_waited_longest_is_next(void **state) {
    (void)state;
    fixture f = {0};
    moon_limits limits = tokens(1000);
    begin(&f, 20, &limits, "");
    for (unsigned i = 0; i < 10; i++) {
        assert_int_equal(f.kids[10 + i]->usage.steps, 0);
        assert_true(settle(&f, 0, 0, MOON_OK));
        step(&f);
        assert_int_equal(f.kids[10 + i]->usage.steps, 1);
    }
    answer_all(&f, 10, 0);
    assert_int_equal(f.done, 20);
    end(&f);
}

static void test_run_budget__a_guess_alone_ends_no_run(void **state) {
    (void)state;
    fixture f = {0};
    moon_limits limits = tokens(30);
    begin(&f, 3, &limits, "");
    assert_int_equal(f.under_way, 1);
    answer_all(&f, 10, 0);
    assert_int_equal(f.done, 3);
    assert_int_equal(f.most, 1);
    end(&f);
}

static void test_run_budget__a_failure_makes_room_and_costs_nothing(void **state) {
    (void)state;
    fixture f = {0};
    moon_limits limits = tokens(200);
    begin(&f, 4, &limits, "");
    assert_int_equal(f.under_way, 2);
    assert_true(settle(&f, 0, 0, MOON_ENET));
    step(&f);
    assert_int_equal(f.under_way, 2);
    answer_all(&f, 10, 0);
    assert_int_equal(f.done, 3);
    end(&f);
}

static void test_run_budget__cost_is_held_by_the_price(void **state) {
    (void)state;
    fixture f = {0};
    moon_limits limits = MOON_LIMITS_NONE;
    limits.usd = 1;
    f.model.price = (moon__price){.input = 0, .cached = 0, .output = 2500}; /* 99 tokens: 0.2475 */
    begin(&f, 20, &limits, "");
    assert_int_equal(f.under_way, 4);
    answer_all(&f, 10, 0.25);
    assert_int_equal(f.done, 4);
    assert_float_equal(f.root->usage.usd, 1.0, 1e-9);
    end(&f);
}

static void test_run_budget__a_cost_that_nobody_knows_is_tried_alone(void **state) {
    (void)state;
    fixture f = {0};
    moon_limits limits = MOON_LIMITS_NONE;
    limits.usd = 1;
    f.model.price = (moon__price){-1, -1, -1};
    begin(&f, 20, &limits, "");
    assert_int_equal(f.under_way, 1);
    assert_true(settle(&f, 10, 0.125, MOON_OK));
    step(&f);
    assert_int_equal(f.under_way, 7); /* as much as the first did cost is held for each */
    answer_all(&f, 10, 0.125);
    assert_int_equal(f.done, 8);
    assert_float_equal(f.root->usage.usd, 1.0, 1e-9);
    end(&f);
}

static void test_run_budget__without_a_limit_nobody_waits(void **state) {
    (void)state;
    fixture f = {0};
    f.model.price = (moon__price){-1, -1, -1};
    begin(&f, 50, NULL, "");
    assert_int_equal(f.under_way, 50);
    answer_all(&f, 1000000, -1);
    assert_int_equal(f.done, 50);
    end(&f);
}

static void test_run_budget__cancel_reaches_those_who_wait(void **state) {
    (void)state;
    fixture f = {0};
    moon_limits limits = tokens(220);
    begin(&f, 6, &limits, "");
    assert_int_equal(f.under_way, 2);
    moon_run_cancel(f.kids[2]); /* the first in the line */
    step(&f);
    assert_int_equal(moon_run_result(f.kids[2])->stop, MOON_STOP_INTERRUPTED);
    assert_int_equal(f.under_way, 2);
    assert_true(settle(&f, 10, 0, MOON_OK));
    step(&f);
    assert_int_equal(f.kids[3]->usage.steps, 1);
    moon_run_cancel(f.kids[1]); /* one that is under way */
    step(&f);
    assert_int_equal(f.kids[4]->usage.steps, 1);
    moon_run_cancel(f.root);
    for (int i = 0; i < 5; i++) step(&f);
    assert_true(moon_run_finished(f.root));
    assert_int_equal(moon_run_result(f.kids[5])->stop, MOON_STOP_INTERRUPTED);
    assert_int_equal(f.root->usage.input_tokens, 10);
    end(&f);
}

static void test_run_budget__a_deadline_ends_a_wait(void **state) {
    (void)state;
    fixture f = {0};
    moon_limits limits = tokens(100);
    begin(&f, 2, &limits, "\"limits\":{\"seconds\":30}");
    assert_int_equal(f.under_way, 1);
    for (int i = 0; i < 10 && !moon_run_finished(f.kids[1]); i++)
        assert_int_equal(moon_runtime_step(f.rt, 60000, NULL), MOON_OK);
    assert_int_equal(moon_run_result(f.kids[1])->stop, MOON_STOP_SECONDS);
    answer_all(&f, 1, 0);
    end(&f);
}

/* Below the root stands another run with a limit of its own, and its agents wait for each other; the root's do not. */
static void test_run_budget__limits_hold_up_only_those_below_them(void **state) {
    (void)state;
    fixture f = {0};
    moon_limits limits = tokens(1000);
    begin(&f, 0, &limits, "");
    f.fan.n = 3;
    f.inner.n = 3;
    f.inner.tokens = 100;
    moon_run *inner = start_kid(&f, f.root, &f.inner.base, 1);
    for (unsigned i = 0; i < 3; i++) f.kids[i] = start_kid(&f, inner, f.agent, i + 1);
    for (int i = 0; i < 3; i++) step(&f);
    assert_int_equal(f.under_way, 1);
    for (unsigned i = 3; i < 5; i++) f.kids[i] = start_kid(&f, f.root, f.agent, i + 1);
    f.n_kids = 5;
    for (int i = 0; i < 3; i++) step(&f);
    assert_int_equal(f.under_way, 3); /* they came later, and pass those whom they do not concern */
    answer_all(&f, 60, 0);
    assert_int_equal(f.done, 4); /* 60 + 60 within the inner limit of 100, the third finds nothing left */
    assert_int_equal(inner->usage.input_tokens, 120);
    moon_run_unref(inner);
    end(&f);
}

static void test_run_budget__a_small_one_does_not_pass(void **state) {
    (void)state;
    fixture f = {0};
    moon_limits limits = tokens(250);
    begin(&f, 3, &limits, ""); /* two under way, 50 left */
    moon__hold small = {.run = f.root, .tokens = 10, .usd = 0};
    moon_stop why;
    moon__buf text;
    moon__buf_init(&text, 256);
    assert_int_equal(moon__hold_begin(&small, &why, &text), MOON__BUDGET_WAITS);
    moon__hold_end(&small);
    moon_run_cancel(f.kids[2]); /* who was before it */
    step(&f);
    assert_int_equal(moon__hold_begin(&small, &why, &text), MOON__BUDGET_HELD);
    moon__hold_end(&small);
    moon__buf_fini(&text);
    answer_all(&f, 10, 0);
    end(&f);
}

/* ---- how many at once ---- */

static void test_run_gate__at_most_so_many_at_once(void **state) {
    (void)state;
    for (unsigned room = 1; room <= 25; room += 8) {
        fixture f = {.requests = room};
        begin(&f, 20, NULL, "");
        assert_int_equal(f.under_way, room < 20 ? room : 20);
        answer_all(&f, 10, 0);
        assert_int_equal(f.done, 20);
        assert_int_equal(f.most, room < 20 ? room : 20);
        assert_int_equal(f.rt->gate.under_way, 0);
        end(&f);
    }
}

static void test_run_gate__runs_take_turns(void **state) {
    (void)state;
    fixture f = {.requests = 1};
    moon_error error = {0};
    moon_run *other;
    moon_run_options options = {.size = sizeof options, .input = "go"};
    begin(&f, 10, NULL, "");
    assert_int_equal(moon_run_start(&other, f.rt, f.agent, &options, &error), MOON_OK);
    for (int i = 0; i < 4; i++) step(&f);
    assert_int_equal(f.n_asked, 1);
    for (int i = 0; i < 2; i++) {
        assert_true(settle(&f, 0, 0, MOON_OK));
        step(&f);
    }
    assert_int_equal(f.n_asked, 3); /* one more of the ten, and then the other's, before the eight that came earlier */
    assert_string_equal(f.asked[2]->ask.path, "");
    answer_all(&f, 0, 0);
    assert_true(moon_run_finished(other));
    moon_run_unref(other);
    end(&f);
}

static void test_run_gate__who_is_cancelled_leaves_the_line(void **state) {
    (void)state;
    fixture f = {.requests = 2};
    begin(&f, 10, NULL, "");
    moon_run_cancel(f.kids[1]); /* under way */
    moon_run_cancel(f.kids[5]); /* waits */
    for (int i = 0; i < 4; i++) step(&f);
    assert_int_equal(f.under_way, 2);
    moon_run_cancel(f.root);
    for (int i = 0; i < 8; i++) step(&f);
    assert_true(moon_run_finished(f.root));
    assert_int_equal(f.rt->gate.under_way, 0);
    assert_null(f.rt->gate.first);
    end(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_run_gate__at_most_so_many_at_once),
        cmocka_unit_test(test_run_gate__runs_take_turns),
        cmocka_unit_test(test_run_gate__who_is_cancelled_leaves_the_line),
        cmocka_unit_test(test_run_budget__fifty_side_by_side_spend_what_there_is),
        cmocka_unit_test(test_run_budget__who_waited_longest_is_next),
        cmocka_unit_test(test_run_budget__a_guess_alone_ends_no_run),
        cmocka_unit_test(test_run_budget__a_failure_makes_room_and_costs_nothing),
        cmocka_unit_test(test_run_budget__cost_is_held_by_the_price),
        cmocka_unit_test(test_run_budget__a_cost_that_nobody_knows_is_tried_alone),
        cmocka_unit_test(test_run_budget__without_a_limit_nobody_waits),
        cmocka_unit_test(test_run_budget__cancel_reaches_those_who_wait),
        cmocka_unit_test(test_run_budget__a_deadline_ends_a_wait),
        cmocka_unit_test(test_run_budget__limits_hold_up_only_those_below_them),
        cmocka_unit_test(test_run_budget__a_small_one_does_not_pass),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
