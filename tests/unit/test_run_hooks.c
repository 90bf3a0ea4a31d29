/* SPDX-License-Identifier: MIT */
/* Hooks as C code gives them: a record of callbacks, decisions as JSON. */
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include "fake_model.h"
#include "run.h"

typedef struct fixture {
    int64_t now;
    moon__clock clock;
    moon_runtime *rt;
    moon_runnable *agent;
    fake_model *model;
    moon_run *run;
    moon__asked *held;        /* one that the test decides */
    const char *decisions[4]; /* by moon__hook; NULL: held; "!…": it fails so */
    moon__buf asked;          /* "place hook question\n" of each */
    unsigned seen, cancelled;
    bool blind; /* on_event says no */
} fixture;

static int64_t fake_now(void *ctx) {
    return ((fixture *)ctx)->now;
}
static void fake_advance(void *ctx, int64_t us) {
    ((fixture *)ctx)->now += us;
}

static void echo(void *self, moon_call *call, const moon_json *args) {
    (void)self;
    moon_call_printf(call, "%s", moon_json_str(moon_json_get(args, "text"), NULL));
    moon_call_done(call);
}

static const moon_tool echo_tool = {
    .abi = MOON_TOOL_ABI,
    .name = "echo",
    .description = "e",
    .params = "{\"type\":\"object\",\"properties\":{\"text\":{\"type\":\"string\"}},\"required\":[\"text\"]}",
    .effects = MOON_READ_ONLY,
    .start = echo};

static void decide(fixture *f, moon__asked *asked, const char *decision) {
    (void)f;
    if (decision[0] == '!')
        moon__asked_fail(asked, decision + 1);
    else
        moon__asked_decide(asked, decision, strlen(decision));
}

static void ask(void *self, moon__asked *asked) {
    fixture *f = self;
    size_t n;
    const char *question = moon__asked_question(asked, &n), *decision = f->decisions[moon__asked_hook(asked)];
    moon__buf_printf(&f->asked, "%s %s %.*s\n", moon__asked_place(asked), moon__hook_name(moon__asked_hook(asked)),
                     (int)n, question);
    assert_ptr_equal(moon__asked_run(asked), f->run ? f->run : moon__asked_run(asked));
    if (decision)
        decide(f, asked, decision);
    else
        f->held = asked;
}

static void cancel(void *self, moon__asked *asked) {
    fixture *f = self;
    assert_ptr_equal(f->held, asked);
    f->held = NULL;
    f->cancelled++;
    moon__asked_fail(asked, "cancelled");
}

static bool on_event(void *self, moon_run *run, const moon_event *event, moon_error *error) {
    fixture *f = self;
    (void)run;
    assert_true(event->seq > 0);
    f->seen++;
    if (f->blind && event->type == MOON_EVENT_MODEL_RESPONSE) {
        moon_error_set(error, MOON_EINVAL, "too bright");
        return false;
    }
    return true;
}

/* All hooks pass, unless the test says otherwise. */
static void begin(fixture *f, const fake_answer *answers, size_t n) {
    moon_error error = {0};
    moon_runtime_options options = {.size = sizeof options, .seed = 1};
    f->now = 1000000;
    f->clock = (moon__clock){.monotonic_us = fake_now, .wall_us = fake_now, .advance = fake_advance, .ctx = f};
    assert_int_equal(moon__runtime_new_clock(&f->rt, &options, &f->clock, &error), MOON_OK);
    assert_int_equal(moon_runtime_add_tool(f->rt, &echo_tool, &error), MOON_OK);
    for (int i = 0; i < 4; i++) f->decisions[i] = "{}";
    moon__buf_init(&f->asked, 1 << 20);
    f->model = fake_new(moon__runtime_loop(f->rt), answers, n);
    moon__hooks hooks = {.has = 15,
                         .timeout_ms = 7000,
                         .where = {"host.c:1", NULL, NULL, NULL},
                         .ask = ask,
                         .cancel = cancel,
                         .on_event = on_event,
                         .self = f};
    moon__agent_extra extra = {.model = &f->model->base, .hooks = &hooks};
    moon_json *json;
    static const char spec[] = "{\"name\":\"t\",\"instructions\":\"be brief\",\"tools\":[\"echo\"]}";
    assert_int_equal(moon__json_parse(&json, spec, sizeof spec - 1, 0, &error), MOON_OK);
    if (moon__agent_new(&f->agent, f->rt, json, &extra, &error)) fail_msg("%s", error.text);
    moon__json_free(json);
}

static void start(fixture *f) {
    moon_error error = {0};
    moon_run_options options = {.size = sizeof options, .input = "go"};
    if (moon_run_start(&f->run, f->rt, f->agent, &options, &error)) fail_msg("%s", error.text);
}

static const moon_result *finish(fixture *f) {
    for (int i = 0; i < 10000 && !moon_run_finished(f->run); i++)
        assert_int_equal(moon_runtime_step(f->rt, 1000, NULL), 0);
    assert_true(moon_run_finished(f->run));
    return moon_run_result(f->run);
}

static void end(fixture *f) {
    moon_run_unref(f->run);
    moon_runnable_unref(f->agent);
    moon__model_unref(&f->model->base);
    moon_runtime_free(f->rt);
    moon__buf_fini(&f->asked);
}

static const fake_answer calling[] = {
    {.calls = {FAKE_CALL("a", "echo", "{\"text\":\"x\"}")}, .n_calls = 1, .text = "t"}, {.text = "end"}};

static void test_run_hooks__each_is_asked_in_its_place(void **state) {
    (void)state;
    fixture f = {0};
    begin(&f, calling, 2);
    start(&f);
    assert_int_equal(finish(&f)->stop, MOON_STOP_DONE);
    static const char *const lines[] = {
        "b1 before_model {\"agent\":\"t\",\"step\":1,\"model\":\"fake\",\"instructions\":\"be brief\",\"messages\":[{"
        "\"role\":\"user\",\"content\":\"go\"}],\"tools\":[\"echo\"]}\n",
        "a1 after_model {\"agent\":\"t\",\"step\":1,\"text\":\"t\",\"tool_calls\":[{\"id\":\"a\",\"name\":\"echo\",",
        "bc1 before_tool {\"id\":\"c1\",\"tool\":\"echo\",\"arguments\":{\"text\":\"x\"},\"agent\":\"t\"}\n",
        "ac1 after_tool {\"call\":{\"id\":\"c1\",\"tool\":\"echo\",\"arguments\":{\"text\":\"x\"},\"agent\":\"t\"},"
        "\"result\":{\"ok\":true,\"text\":\"x\"}}\n",
        "b2 before_model ",
        "a2 after_model ",
    };
    const char *at = f.asked.p;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        at = strstr(at, lines[i]);
        if (!at) fail_msg("\"%s\" is not in \"%s\"", lines[i], f.asked.p);
    }
    assert_string_equal(f.model->log.p, "system:be brief|user:go|assistant:t echo({\"text\":\"x\"})|tool=a:x|");
    assert_int_equal(f.seen,
                     1 + 2 * 4 + 4 + 1); /* created, finished; of each step 2, and of each hook 1; intent, result */
    end(&f);
}

static void test_run_hooks__decisions_that_make_no_sense_end_the_run(void **state) {
    static const struct {
        moon__hook hook;
        const char *decision, *error;
    } rows[] = {
        {MOON__BEFORE_MODEL, "{", "hook before_model (host.c:1) of agent t: "},
        {MOON__BEFORE_MODEL, "[]", "its decision is no object"},
        {MOON__AFTER_MODEL, "{\"stop\":1}", "hook after_model of agent t: its decision is not one of"},
        {MOON__BEFORE_TOOL, "{\"answer\":\"x\",\"change\":{}}", "its decision is not one of"},
        {MOON__BEFORE_TOOL, "{\"answer\":{}}", "neither a text nor a value"},
        {MOON__BEFORE_TOOL, "{\"refuse\":1}", "it does not say why"},
        {MOON__AFTER_TOOL, "{\"answer\":\"x\"}", "it is too late for an answer"},
        {MOON__AFTER_MODEL, "{\"answer\":\"x\"}", "it is too late for an answer"},
        {MOON__AFTER_TOOL, "{\"change\":\"x\"}", "what it changes is no object"},
        {MOON__AFTER_TOOL, "!no time", "hook after_tool of agent t: no time"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        fixture f = {0};
        begin(&f, calling, 2);
        f.decisions[rows[i].hook] = rows[i].decision;
        start(&f);
        const moon_result *r = finish(&f);
        if (r->stop != MOON_STOP_FAILED || !strstr(r->error, rows[i].error))
            fail_msg("%s: %s \"%s\"", rows[i].decision, moon_stop_text(r->stop), r->error);
        end(&f);
    }
}

static void test_run_hooks__time_runs_out(void **state) {
    (void)state;
    for (int hook = 0; hook < 4; hook++) {
        fixture f = {0};
        begin(&f, calling, 2);
        f.decisions[hook] = NULL;
        start(&f);
        const moon_result *r = finish(&f);
        assert_int_equal(r->stop, MOON_STOP_FAILED);
        assert_non_null(strstr(r->error, "it did not decide within 7 seconds"));
        assert_int_equal(r->wall_ms, 7000);
        assert_int_equal(f.cancelled, 1);
        end(&f);
    }
}

static void test_run_hooks__a_decision_that_comes_later(void **state) {
    (void)state;
    for (int hook = 0; hook < 4; hook++) {
        fixture f = {0};
        begin(&f, calling, 2);
        f.decisions[hook] = NULL;
        start(&f);
        while (!moon_run_finished(f.run)) {
            while (!f.held && !moon_run_finished(f.run)) assert_int_equal(moon_runtime_step(f.rt, 1000, NULL), 0);
            moon__asked *held = f.held;
            f.held = NULL;
            if (held) decide(&f, held, "{}");
        }
        assert_string_equal(moon_run_result(f.run)->text, "end");
        assert_string_equal(f.model->log.p, "system:be brief|user:go|assistant:t echo({\"text\":\"x\"})|tool=a:x|");
        end(&f);
    }
}

static void test_run_hooks__cancelled(void **state) {
    (void)state;
    for (int hook = 0; hook < 4; hook++) {
        fixture f = {0};
        begin(&f, calling, 2);
        f.decisions[hook] = NULL;
        start(&f);
        while (!f.held) assert_int_equal(moon_runtime_step(f.rt, 0, NULL), 0);
        moon_run_cancel(f.run);
        assert_int_equal(finish(&f)->stop, MOON_STOP_INTERRUPTED);
        assert_int_equal(f.cancelled, 1);
        end(&f);
    }
}

static void test_run_hooks__an_observer_can_end_the_run(void **state) {
    (void)state;
    fixture f = {0};
    begin(&f, calling, 2);
    f.blind = true;
    start(&f);
    const moon_result *r = finish(&f);
    assert_int_equal(r->stop, MOON_STOP_FAILED);
    assert_non_null(strstr(r->error, "hook on_event of agent t: too bright"));
    end(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_run_hooks__each_is_asked_in_its_place),
        cmocka_unit_test(test_run_hooks__decisions_that_make_no_sense_end_the_run),
        cmocka_unit_test(test_run_hooks__time_runs_out),
        cmocka_unit_test(test_run_hooks__a_decision_that_comes_later),
        cmocka_unit_test(test_run_hooks__cancelled),
        cmocka_unit_test(test_run_hooks__an_observer_can_end_the_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
