/* SPDX-License-Identifier: MIT */
/* The agent's loop, driven by a fake model, fake tools and a fake clock: order, errors, limits, policy, plan,
 * cancelling. */
#include <dirent.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <unistd.h>

#include "fake_model.h"
#include "run.h"

typedef struct fixture {
    int64_t now;
    moon__clock clock;
    moon_runtime *rt;
    moon_runnable *agent;
    fake_model *model;
    moon_run *run;
    moon__buf events; /* "type " per event; with the call's id for tool events */
    moon_call *held[8];
    size_t n_held, most_running, running;
    unsigned writes;
    char asked[16];
    int cancel_at; /* a moon_event_type; 0 (run.created): never */
    moon_run_options options;
} fixture;

static int64_t fake_now(void *ctx) {
    return ((fixture *)ctx)->now;
}
static void fake_advance(void *ctx, int64_t us) {
    ((fixture *)ctx)->now += us;
}

/* ---- tools: echo gives its text; hold ends when the test says so; write counts ---- */

static void echo(void *self, moon_call *call, const moon_json *args) {
    (void)self;
    moon_call_printf(call, "%s", moon_json_str(moon_json_get(args, "text"), NULL));
    moon_call_done(call);
}
static void hold(void *self, moon_call *call, const moon_json *args) {
    fixture *f = self;
    (void)args;
    f->held[f->n_held++] = call;
    if (++f->running > f->most_running) f->most_running = f->running;
}
static void hold_cancel(void *self, moon_call *call) {
    fixture *f = self;
    for (size_t i = 0; i < f->n_held; i++)
        if (f->held[i] == call) f->held[i] = NULL;
    f->running--;
    moon_call_fail(call, "cancelled");
}
static void write_tool(void *self, moon_call *call, const moon_json *args) {
    fixture *f = self;
    (void)args;
    f->writes++;
    assert_int_equal(f->running, 0); /* nothing beside a call that changes things */
    moon_call_printf(call, "written %u", f->writes);
    moon_call_done(call);
}

/* Does not stop until the test says so, whoever asks. */
static atomic_bool deaf_go;
static void be_deaf(void *self, moon_call *call, const moon_json *args) {
    (void)self, (void)args;
    while (!atomic_load(&deaf_go)) usleep(1000);
    moon_call_done(call);
}

static const char text_params[] = "{\"type\":\"object\",\"properties\":{\"text\":{\"type\":\"string\"}},\"required\":["
                                  "\"text\"],\"additionalProperties\":false}";
static const char any_params[] = "{\"type\":\"object\"}";

static void on_event(void *ctx, moon_run *run, const moon_event *event) {
    fixture *f = ctx;
    if (f->cancel_at && (int)event->type == f->cancel_at) moon_run_cancel(run);
    moon__buf_printf(&f->events, "%s", moon_event_type_text(event->type));
    const char *call = strstr(event->body, "\"call\":\"");
    if (call) moon__buf_printf(&f->events, "(%.*s)", (int)strcspn(call + 8, "\""), call + 8);
    if (event->type == MOON_EVENT_APPROVAL_ASKED) {
        assert_non_null(call);
        snprintf(f->asked, sizeof f->asked, "%.*s", (int)strcspn(call + 8, "\""), call + 8);
    }
    moon__buf_char(&f->events, ' ');
}

static moon_tool tools[4];

/* more: NULL, or one more tool of the group disk. */
static void begin_with(fixture *f, const char *fields, const fake_answer *answers, size_t n, const moon_tool *more) {
    moon_error error = {0};
    moon_runtime_options options = {.size = sizeof options, .seed = 1};
    f->now = 1000000;
    f->clock = (moon__clock){.monotonic_us = fake_now, .wall_us = fake_now, .advance = fake_advance, .ctx = f};
    assert_int_equal(moon__runtime_new_clock(&f->rt, &options, &f->clock, &error), MOON_OK);
    tools[0] = (moon_tool){.abi = MOON_TOOL_ABI,
                           .name = "echo",
                           .description = "e",
                           .params = text_params,
                           .effects = MOON_READ_ONLY,
                           .start = echo};
    tools[1] = (moon_tool){.abi = MOON_TOOL_ABI,
                           .name = "hold",
                           .description = "h",
                           .params = any_params,
                           .effects = MOON_READ_ONLY,
                           .self = f,
                           .start = hold,
                           .cancel = hold_cancel};
    tools[2] = (moon_tool){.abi = MOON_TOOL_ABI,
                           .name = "disk.write",
                           .description = "w",
                           .params = any_params,
                           .self = f,
                           .start = write_tool};
    for (int i = 0; i < 3; i++) assert_int_equal(moon_runtime_add_tool(f->rt, &tools[i], &error), MOON_OK);
    if (more) assert_int_equal(moon_runtime_add_tool(f->rt, more, &error), MOON_OK);
    char spec[1024];
    snprintf(spec, sizeof spec, "{\"name\":\"t\",\"tools\":[\"echo\",\"hold\",\"disk\"]%s%s}", *fields ? "," : "",
             fields);
    moon_json *json;
    assert_int_equal(moon__json_parse(&json, spec, strlen(spec), 0, &error), MOON_OK);
    f->model = fake_new(moon__runtime_loop(f->rt), answers, n);
    moon__agent_extra extra = {.model = &f->model->base};
    if (moon__agent_new(&f->agent, f->rt, json, &extra, &error)) fail_msg("%s", error.text);
    moon__json_free(json);
    moon__buf_init(&f->events, 1 << 20);
    f->options = (moon_run_options){.size = sizeof f->options, .input = "go", .on_event = on_event, .ctx = f};
}

static void begin(fixture *f, const char *fields, const fake_answer *answers, size_t n) {
    begin_with(f, fields, answers, n, NULL);
}

static void start(fixture *f) {
    moon_error error = {0};
    if (moon_run_start(&f->run, f->rt, f->agent, &f->options, &error)) fail_msg("%s", error.text);
}

static void step(fixture *f) {
    moon_error error = {0};
    assert_int_equal(moon_runtime_step(f->rt, 1000, &error), MOON_OK);
}

static const moon_result *finish(fixture *f) {
    for (int i = 0; i < 10000 && !moon_run_finished(f->run); i++) step(f);
    assert_true(moon_run_finished(f->run));
    return moon_run_result(f->run);
}

static const moon_result *run(fixture *f) {
    start(f);
    return finish(f);
}

static void end(fixture *f) {
    moon_run_unref(f->run);
    moon_runnable_unref(f->agent);
    moon__model_unref(&f->model->base);
    moon_runtime_free(f->rt);
    moon__buf_fini(&f->events);
}

static void let_go(fixture *f, size_t i, const char *text) {
    moon_call *call = f->held[i];
    f->running--;
    moon_call_printf(call, "%s", text);
    moon_call_done(call);
}

#define ANSWER(...) ((fake_answer){__VA_ARGS__})

static void test_run_loop__answer_without_calls_is_the_result(void **state) {
    (void)state;
    fixture f = {0};
    const fake_answer answers[] = {{.text = "hello", .usage = {.input_tokens = 5, .output_tokens = 2}}};
    begin(&f, "\"instructions\":\"be brief\"", answers, 1);
    const moon_result *r = run(&f);
    assert_int_equal(r->stop, MOON_STOP_DONE);
    assert_string_equal(r->text, "hello");
    assert_null(r->error);
    assert_int_equal(r->usage.input_tokens, 5);
    assert_int_equal(r->usage.steps, 1);
    assert_string_equal(f.model->log.p, "system:be brief|user:go|");
    assert_string_equal(f.events.p, "run.created model.request model.response run.finished ");
    end(&f);
}

static void test_run_loop__results_keep_call_order_though_ends_do_not(void **state) {
    (void)state;
    fixture f = {0};
    const fake_answer answers[] = {
        {.calls = {FAKE_CALL("a", "hold", "{}"), FAKE_CALL("b", "hold", "{\"x\":1}")}, .n_calls = 2}, {.text = "end"}};
    begin(&f, "", answers, 2);
    start(&f);
    while (f.n_held < 2) step(&f);
    assert_int_equal(f.most_running, 2);
    let_go(&f, 1, "second");
    step(&f);
    let_go(&f, 0, "first");
    assert_int_equal(finish(&f)->stop, MOON_STOP_DONE);
    assert_non_null(strstr(f.model->log.p, "tool=a:first|tool=b:second|"));
    assert_non_null(strstr(f.events.p, "tool.intent(c1) tool.intent(c2) tool.result(c2) tool.result(c1)"));
    end(&f);
}

static void test_run_loop__reads_run_side_by_side_up_to_the_cap(void **state) {
    (void)state;
    fixture f = {0};
    const fake_answer answers[] = {{.calls = {FAKE_CALL("a", "hold", "{\"n\":1}"), FAKE_CALL("b", "hold", "{\"n\":2}"),
                                              FAKE_CALL("c", "hold", "{\"n\":3}")},
                                    .n_calls = 3},
                                   {.text = "end"}};
    begin(&f, "\"parallel\":2", answers, 2);
    start(&f);
    while (f.n_held < 2) step(&f);
    step(&f);
    assert_int_equal(f.n_held, 2);
    let_go(&f, 0, "1");
    while (f.n_held < 3) step(&f);
    let_go(&f, 1, "2");
    let_go(&f, 2, "3");
    finish(&f);
    assert_int_equal(f.most_running, 2);
    end(&f);
}

static void test_run_loop__what_changes_things_runs_alone_and_in_order(void **state) {
    (void)state;
    fixture f = {0};
    const fake_answer answers[] = {{.calls = {FAKE_CALL("a", "hold", "{}"), FAKE_CALL("b", "disk.write", "{}"),
                                              FAKE_CALL("c", "hold", "{\"z\":1}")},
                                    .n_calls = 3},
                                   {.text = "end"}};
    begin(&f, "", answers, 2);
    f.options.allow_all = true;
    start(&f);
    while (f.n_held < 1) step(&f);
    step(&f);
    assert_int_equal(f.writes, 0);
    let_go(&f, 0, "1");
    while (f.n_held < 2) step(&f);
    assert_int_equal(f.writes, 1);
    let_go(&f, 1, "3");
    finish(&f);
    assert_non_null(strstr(f.model->log.p, "tool=a:1|tool=b:written 1|tool=c:3|"));
    end(&f);
}

static void test_run_loop__mistaken_calls_go_back_to_the_model(void **state) {
    (void)state;
    static const struct {
        const char *label;
        moon_tool_use use;
        const char *told;
    } rows[] = {
        {"not JSON", FAKE_CALL("a", "echo", "{\"text\":"), "not valid JSON"},
        {"schema", FAKE_CALL("a", "echo", "{\"text\":1}"), "expected string"},
        {"missing", FAKE_CALL("a", "echo", "{}"), "text"},
        {"misspelt", FAKE_CALL("a", "echo", "{\"txt\":\"x\"}"), "text"},
        {"unknown tool", FAKE_CALL("a", "ecko", "{}"), "Did you mean echo"},
        {"empty means {}", FAKE_CALL("a", "echo", ""), "text"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        fixture f = {0};
        fake_answer answers[] = {{.calls = {{0}}, .n_calls = 1}, {.text = "end"}};
        answers[0].calls[0] = rows[i].use;
        begin(&f, "", answers, 2);
        const moon_result *r = run(&f);
        if (r->stop != MOON_STOP_DONE) fail_msg("%s: %s", rows[i].label, r->error);
        const char *told = strstr(f.model->log.p, "tool=a!:");
        if (!told || !strstr(told, rows[i].told)) fail_msg("%s: %s", rows[i].label, f.model->log.p);
        end(&f);
    }
}

static void test_run_loop__too_many_malformed_calls_in_a_row_end_the_run(void **state) {
    (void)state;
    fixture f = {0};
    fake_answer answers[8];
    for (int i = 0; i < 8; i++) answers[i] = ANSWER(.calls = {FAKE_CALL("a", "nothing", "{}")}, .n_calls = 1);
    static const char *const args[] = {"{\"n\":0}", "{\"n\":1}", "{\"n\":2}", "{\"n\":3}",
                                       "{\"n\":4}", "{\"n\":5}", "{\"n\":6}", "{\"n\":7}"};
    for (int i = 0; i < 8; i++)
        answers[i].calls[0].arguments = args[i], answers[i].calls[0].arguments_length = strlen(args[i]);
    begin(&f, "", answers, 8);
    assert_int_equal(run(&f)->stop, MOON_STOP_MALFORMED);
    assert_int_equal(f.model->asked, 8);
    end(&f);
}

static void test_run_loop__same_call_is_told_at_three_and_ends_at_four(void **state) {
    (void)state;
    fixture f = {0};
    fake_answer answers[4];
    for (int i = 0; i < 4; i++)
        answers[i] = ANSWER(.calls = {FAKE_CALL("a", "echo", "{\"text\":\"x\"}")}, .n_calls = 1);
    /* The same arguments in other words are the same call. */
    answers[1].calls[0] = (moon_tool_use)FAKE_CALL("a", "echo", " { \"text\" : \"x\" } ");
    begin(&f, "", answers, 4);
    const moon_result *r = run(&f);
    assert_int_equal(r->stop, MOON_STOP_REPEATED);
    assert_non_null(strstr(r->error, "echo"));
    assert_int_equal(f.model->asked, 4);
    assert_non_null(strstr(f.model->log.p, "third time"));
    end(&f);
}

static void test_run_loop__another_result_is_not_a_repetition(void **state) {
    (void)state;
    fixture f = {0};
    fake_answer answers[6];
    for (int i = 0; i < 5; i++) answers[i] = ANSWER(.calls = {FAKE_CALL("a", "disk.write", "{}")}, .n_calls = 1);
    answers[5] = ANSWER(.text = "end");
    begin(&f, "", answers, 6);
    f.options.allow_all = true;
    assert_int_equal(run(&f)->stop, MOON_STOP_DONE);
    assert_int_equal(f.writes, 5);
    end(&f);
}

static void test_run_loop__content_wins_over_the_finish_reason(void **state) {
    (void)state;
    static const char *const reasons[] = {"stop", "other", "", "length"};
    for (size_t i = 0; i < 4; i++) {
        fixture f = {0};
        const fake_answer answers[] = {
            {.calls = {FAKE_CALL("a", "echo", "{\"text\":\"x\"}")}, .n_calls = 1, .finish = reasons[i]},
            {.text = "end", .finish = "tool_calls"}};
        begin(&f, "", answers, 2);
        assert_int_equal(run(&f)->stop, MOON_STOP_DONE);
        end(&f);
    }
}

static void test_run_loop__cut_answers_are_no_answers(void **state) {
    (void)state;
    static const struct {
        fake_answer answer;
        const char *says;
    } rows[] = {{{.text = "half", .finish = "length"}, "cut"},
                {{.text = "x", .finish = "content_filter"}, "filter"},
                {{.text = ""}, "empty"}};
    for (size_t i = 0; i < 3; i++) {
        fixture f = {0};
        begin(&f, "", &rows[i].answer, 1);
        const moon_result *r = run(&f);
        assert_int_equal(r->stop, MOON_STOP_FAILED);
        assert_non_null(strstr(r->error, rows[i].says));
        end(&f);
    }
}

static void test_run_loop__limits_stop_before_the_request(void **state) {
    (void)state;
    static const struct {
        const char *limits;
        moon_stop stop;
        size_t asked;
    } rows[] = {
        {"{\"steps\":0}", MOON_STOP_STEPS, 0},
        {"{\"steps\":2}", MOON_STOP_STEPS, 2},
        {"{\"tokens\":0}", MOON_STOP_TOKENS, 0},
        {"{\"tokens\":15}", MOON_STOP_TOKENS, 2},
        {"{\"usd\":0}", MOON_STOP_USD, 0},
        {"{\"usd\":0.5}", MOON_STOP_USD, 2},
        {"{\"seconds\":0}", MOON_STOP_SECONDS, 0},
        {"{\"tool_calls\":0}", MOON_STOP_TOOL_CALLS, 0},
        {"{\"tool_calls\":1}", MOON_STOP_TOOL_CALLS, 2},
        {"{\"tool_calls\":2}", MOON_STOP_TOOL_CALLS, 3},
    };
    static const char *const args[] = {"{\"text\":\"1\"}", "{\"text\":\"2\"}", "{\"text\":\"3\"}", "{\"text\":\"4\"}"};
    fake_answer answers[4];
    for (int i = 0; i < 4; i++) {
        answers[i] = ANSWER(.calls = {FAKE_CALL("a", "echo", "")}, .n_calls = 1,
                            .usage = {.input_tokens = 5, .output_tokens = 5, .usd = 0.3});
        answers[i].calls[0].arguments = args[i];
        answers[i].calls[0].arguments_length = strlen(args[i]);
    }
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        fixture f = {0};
        char field[64];
        snprintf(field, sizeof field, "\"limits\":%s", rows[i].limits);
        begin(&f, field, answers, 4);
        const moon_result *r = run(&f);
        if (r->stop != rows[i].stop) fail_msg("%s: stopped with %s", rows[i].limits, moon_stop_text(r->stop));
        if (f.model->asked != rows[i].asked) fail_msg("%s: %zu requests", rows[i].limits, f.model->asked);
        end(&f);
    }
}

static void test_run_loop__cost_is_as_far_as_it_is_known(void **state) {
    (void)state;
    static const struct {
        double first, second, total;
    } rows[] = {{-1, -1, -1}, {-1, 0.5, 0.5}, {0.5, -1, 0.5}, {0.25, 0.5, 0.75}, {0, -1, 0}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        fixture f = {0};
        const fake_answer answers[] = {
            {.calls = {FAKE_CALL("a", "echo", "{\"text\":\"x\"}")}, .n_calls = 1, .usage = {.usd = rows[i].first}},
            {.text = "end", .usage = {.usd = rows[i].second}}};
        begin(&f, "", answers, 2);
        const moon_result *r = run(&f);
        if (r->usage.usd != rows[i].total) fail_msg("row %zu: %g", i, r->usage.usd);
        end(&f);
    }
}

static void test_run_loop__unknown_cost_cannot_keep_a_limit(void **state) {
    (void)state;
    fixture f = {0};
    const fake_answer answers[] = {{.text = "x", .usage = {.usd = -1}}};
    begin(&f, "\"limits\":{\"usd\":1}", answers, 1);
    const moon_result *r = run(&f);
    assert_int_equal(r->stop, MOON_STOP_USD);
    assert_non_null(strstr(r->error, "price"));
    end(&f);
}

static void test_run_loop__a_limit_that_cannot_be_kept_is_refused(void **state) {
    (void)state;
    fixture f = {0};
    const fake_answer answers[] = {{.text = "x", .usage = {.usd = -1}}};
    moon_error error = {0};
    moon_limits limits = MOON_LIMITS_NONE;
    limits.usd = 1;
    begin(&f, "", answers, 1);
    f.model->base.hides_cost = true;
    f.options.limits = &limits;
    assert_int_equal(moon_run_start(&f.run, f.rt, f.agent, &f.options, &error), MOON_EINVAL);
    assert_non_null(strstr(error.text, "price"));
    f.options.limits = NULL;
    assert_int_equal(run(&f)->stop, MOON_STOP_DONE);
    end(&f);
}

static void test_run_loop__the_tighter_limit_holds(void **state) {
    (void)state;
    fixture f = {0};
    const fake_answer answers[] = {{.text = "x"}};
    moon_limits limits = MOON_LIMITS_NONE;
    limits.steps = 0;
    begin(&f, "\"limits\":{\"steps\":9}", answers, 1);
    f.options.limits = &limits;
    assert_int_equal(run(&f)->stop, MOON_STOP_STEPS);
    end(&f);
}

static void test_run_loop__deadline_ends_a_silent_model(void **state) {
    (void)state;
    fixture f = {0};
    const fake_answer answers[] = {{.never = true}};
    begin(&f, "\"limits\":{\"seconds\":30}", answers, 1);
    const moon_result *r = run(&f);
    assert_int_equal(r->stop, MOON_STOP_SECONDS);
    assert_int_equal(r->wall_ms, 30000);
    end(&f);
}

static void test_run_loop__cancel_ends_the_model_and_the_tools(void **state) {
    (void)state;
    for (int tool = 0; tool < 2; tool++) {
        fixture f = {0};
        const fake_answer asking[] = {{.never = true}},
                          calling[] = {{.calls = {FAKE_CALL("a", "hold", "{}"), FAKE_CALL("b", "disk.write", "{}")},
                                        .n_calls = 2}};
        begin(&f, "", tool ? calling : asking, 1);
        f.options.allow_all = true;
        start(&f);
        while (tool ? !f.n_held : !f.model->asked) step(&f);
        moon_run_cancel(f.run);
        assert_false(moon_run_finished(f.run));
        moon_run_cancel(f.run);
        const moon_result *r = finish(&f);
        assert_int_equal(r->stop, MOON_STOP_INTERRUPTED);
        assert_int_equal(f.writes, 0);
        assert_int_equal(f.running, 0);
        end(&f);
    }
}

static int count_threads(void) {
    int n = 0;
    DIR *tasks = opendir("/proc/self/task");
    assert_non_null(tasks);
    for (const struct dirent *task; (task = readdir(tasks));) n += task->d_name[0] != '.';
    closedir(tasks);
    return n;
}

static void test_run_loop__goes_on_without_a_tool_that_does_not_stop(void **state) {
    (void)state;
    fixture f = {0};
    const fake_answer answers[] = {{.calls = {FAKE_CALL("a", "disk.deaf", "{}")}, .n_calls = 1}, {.text = "end"}};
    const moon_tool deaf = {.abi = MOON_TOOL_ABI,
                            .name = "disk.deaf",
                            .description = "d",
                            .params = any_params,
                            .flags = MOON_TOOL_BLOCKING,
                            .timeout_ms = 50,
                            .start = be_deaf};
    int threads = count_threads();
    atomic_store(&deaf_go, false);
    begin_with(&f, "\"policy\":{\"*\":\"allow\"}", answers, 2, &deaf);
    assert_int_equal(run(&f)->stop, MOON_STOP_DONE);
    assert_non_null(strstr(f.model->log.p, "tool=a!:disk.deaf does not stop, 5 s after its time limit"));
    f.model->asked = 0;
    moon_run_unref(f.run);
    start(&f); /* a second time, and then it is cancelled */
    while (f.model->asked < 1) step(&f);
    step(&f);
    moon_run_cancel(f.run);
    assert_int_equal(finish(&f)->stop, MOON_STOP_INTERRUPTED);
    atomic_store(&deaf_go, true);
    while (count_threads() > threads) usleep(1000);
    end(&f);
}

/* Whoever reads the events may cancel from within: nothing more is asked or called. */
static void test_run_loop__cancel_from_an_event(void **state) {
    (void)state;
    static const struct {
        moon_event_type at;
        size_t asked;
        unsigned writes;
    } rows[] = {{MOON_EVENT_MODEL_REQUEST, 0, 0},
                {MOON_EVENT_MODEL_RESPONSE, 1, 0},
                {MOON_EVENT_TOOL_INTENT, 1, 0},
                {MOON_EVENT_TOOL_RESULT, 1, 1}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        fixture f = {.cancel_at = rows[i].at};
        const fake_answer answers[] = {
            {.calls = {FAKE_CALL("a", "disk.write", "{}"), FAKE_CALL("b", "echo", "{\"text\":\"x\"}")}, .n_calls = 2}};
        begin(&f, "", answers, 1);
        f.options.allow_all = true;
        const moon_result *r = run(&f);
        const char *label = moon_event_type_text(rows[i].at);
        if (r->stop != MOON_STOP_INTERRUPTED) fail_msg("%s: stopped with %s", label, moon_stop_text(r->stop));
        if (f.model->asked != rows[i].asked) fail_msg("%s: %zu requests", label, f.model->asked);
        if (f.writes != rows[i].writes) fail_msg("%s: %u writes", label, f.writes);
        end(&f);
    }
}

static void test_run_loop__runtime_free_ends_what_runs(void **state) {
    (void)state;
    fixture f = {0};
    const fake_answer answers[] = {{.calls = {FAKE_CALL("a", "hold", "{}")}, .n_calls = 1}};
    begin(&f, "", answers, 1);
    start(&f);
    while (!f.n_held) step(&f);
    moon_run_unref(f.run);
    f.run = NULL;
    moon_runnable_unref(f.agent);
    f.agent = NULL;
    moon_runtime_free(f.rt);
    assert_non_null(strstr(f.events.p, "run.finished"));
    moon__model_unref(&f.model->base);
    moon__buf_fini(&f.events);
}

static void test_run_loop__without_leave_a_writing_tool_ends_the_run(void **state) {
    (void)state;
    fixture f = {0};
    const fake_answer answers[] = {{.calls = {FAKE_CALL("a", "disk.write", "{}")}, .n_calls = 1}};
    begin(&f, "", answers, 1);
    assert_int_equal(run(&f)->stop, MOON_STOP_APPROVAL);
    assert_int_equal(f.writes, 0);
    end(&f);
}

static void test_run_loop__policy_of_the_agent(void **state) {
    (void)state;
    static const struct {
        const char *policy;
        bool yes;
        unsigned writes;
        moon_stop stop;
    } rows[] = {
        {"{\"disk.write\":\"allow\"}", false, 1, MOON_STOP_DONE},
        {"{\"disk\":\"allow\"}", false, 1, MOON_STOP_DONE},
        {"{\"*\":\"allow\"}", false, 1, MOON_STOP_DONE},
        {"{\"disk.write\":\"deny\"}", true, 0, MOON_STOP_DONE},
        {"{\"disk\":\"allow\",\"disk.write\":\"deny\"}", true, 0, MOON_STOP_DONE},
        {"{\"disk.write\":\"ask\"}", true, 1, MOON_STOP_DONE},
        {"{\"disk.write\":\"ask\"}", false, 0, MOON_STOP_APPROVAL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        fixture f = {0};
        char field[128];
        const fake_answer answers[] = {{.calls = {FAKE_CALL("a", "disk.write", "{}")}, .n_calls = 1}, {.text = "end"}};
        snprintf(field, sizeof field, "\"policy\":%s", rows[i].policy);
        begin(&f, field, answers, 2);
        f.options.allow_all = rows[i].yes;
        moon_stop stop = run(&f)->stop;
        if (stop != rows[i].stop || f.writes != rows[i].writes)
            fail_msg("%s: %s, %u writes", rows[i].policy, moon_stop_text(stop), f.writes);
        end(&f);
    }
}

static void test_run_loop__a_reading_tool_can_be_denied(void **state) {
    (void)state;
    fixture f = {0};
    const fake_answer answers[] = {{.calls = {FAKE_CALL("a", "echo", "{\"text\":\"x\"}")}, .n_calls = 1},
                                   {.text = "end"}};
    begin(&f, "\"policy\":{\"echo\":\"deny\"}", answers, 2);
    assert_int_equal(run(&f)->stop, MOON_STOP_DONE);
    assert_non_null(strstr(f.model->log.p, "tool=a!:echo was refused by policy"));
    end(&f);
}

static void test_run_loop__approval_is_asked_and_answered(void **state) {
    (void)state;
    for (int allow = 0; allow < 2; allow++) {
        fixture f = {0};
        moon_error error = {0};
        const fake_answer answers[] = {{.calls = {FAKE_CALL("a", "disk.write", "{}")}, .n_calls = 1}, {.text = "end"}};
        begin(&f, "", answers, 2);
        f.options.can_ask = true;
        start(&f);
        while (!*f.asked) step(&f);
        assert_int_equal(moon_run_decide(f.run, "c9", true, NULL, &error), MOON_ENOTFOUND);
        assert_int_equal(moon_run_decide(f.run, f.asked, allow, "not today", &error), MOON_OK);
        assert_int_equal(moon_run_decide(f.run, f.asked, allow, NULL, &error), MOON_ENOTFOUND);
        assert_int_equal(finish(&f)->stop, MOON_STOP_DONE);
        assert_int_equal(f.writes, allow);
        assert_non_null(strstr(f.model->log.p, allow ? "tool=a:written 1" : "not today"));
        end(&f);
    }
}

static void test_run_loop__a_plan_comes_before_other_tools(void **state) {
    (void)state;
    fixture f = {0};
    const fake_answer answers[] = {
        {.calls = {FAKE_CALL("a", "echo", "{\"text\":\"early\"}")}, .n_calls = 1},
        {.calls = {FAKE_CALL("b", "plan", "{\"items\":[{\"text\":\"look\",\"state\":\"doing\"}]}"),
                   FAKE_CALL("c", "echo", "{\"text\":\"now\"}")},
         .n_calls = 2},
        {.text = "end"}};
    begin(&f, "\"plan\":true", answers, 3);
    assert_int_equal(run(&f)->stop, MOON_STOP_DONE);
    assert_non_null(strstr(f.model->log.p, "tool=a!:write your plan first"));
    assert_non_null(strstr(f.model->log.p, "tool=b:plan of 1 steps noted, 1 open|tool=c:now|"));
    assert_non_null(strstr(f.events.p, "plan.updated"));
    end(&f);
}

static void test_run_loop__output_is_checked_and_asked_again(void **state) {
    (void)state;
    static const struct {
        fake_answer answers[3];
        moon_stop stop;
        const char *text;
    } rows[] = {
        {{{.text = "```json\n{\"n\": 1}\n```"}}, MOON_STOP_DONE, "{\"n\":1}"},
        {{{.text = "well, {\"n\":1}"}, {.text = "{\"n\":\"1\"}"}, {.text = " {\"n\":2} "}},
         MOON_STOP_DONE,
         "{\"n\":2}"},
        {{{.text = "no"}, {.text = "no"}, {.text = "no"}}, MOON_STOP_SCHEMA, "no"},
    };
    for (size_t i = 0; i < 3; i++) {
        fixture f = {0};
        begin(&f, "\"output\":{\"type\":\"object\",\"properties\":{\"n\":{\"type\":\"integer\"}},\"required\":[\"n\"]}",
              rows[i].answers, 3);
        const moon_result *r = run(&f);
        assert_int_equal(r->stop, rows[i].stop);
        assert_string_equal(r->text, rows[i].text);
        end(&f);
    }
}

static void test_run_loop__failures_of_a_model_tell_whose_they_are(void **state) {
    (void)state;
    static const struct {
        moon_status status;
        int cause;
        moon_stop stop;
    } rows[] = {
        {MOON_ENET, 0, MOON_STOP_PROVIDER},        {MOON_ENET, 200, MOON_STOP_PROVIDER},
        {MOON_EPROVIDER, 0, MOON_STOP_PROVIDER},   {MOON_EPROVIDER, 400, MOON_STOP_PROVIDER},
        {MOON_EPROVIDER, 429, MOON_STOP_PROVIDER}, {MOON_EPROVIDER, 503, MOON_STOP_PROVIDER},
        {MOON_EPROVIDER, 401, MOON_STOP_CONFIG},   {MOON_EPROVIDER, 403, MOON_STOP_CONFIG},
        {MOON_EPROVIDER, 404, MOON_STOP_CONFIG},   {MOON_EPROVIDER, 200, MOON_STOP_CONFIG},
        {MOON_EPROVIDER, 302, MOON_STOP_CONFIG},   {MOON_ENOMEM, 0, MOON_STOP_FAILED},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        fixture f = {0};
        const fake_answer answers[] = {{.status = rows[i].status, .cause = rows[i].cause, .text = "no answer"}};
        begin(&f, "", answers, 1);
        const moon_result *r = run(&f);
        if (r->stop != rows[i].stop) fail_msg("row %zu: %s", i, moon_stop_text(r->stop));
        assert_string_equal(r->error, "no answer");
        end(&f);
    }
    assert_true(moon_stop_resumable(MOON_STOP_CONFIG));
    assert_int_equal(moon_stop_exit_code(MOON_STOP_CONFIG), 2);
}

/* Whatever bytes a program gives, what it is asked is text. */
static void test_run_loop__input_is_made_text(void **state) {
    (void)state;
    static const struct {
        const char *input;
        size_t length;
        const char *text;
    } rows[] = {
        {"caf\xe9", 0, "caf\xef\xbf\xbd"},
        {"a\0b", 3, "a\xef\xbf\xbd\x62"},
        {"\xff", 1, "\xef\xbf\xbd"},
        {"whole", 3, "who"},
        {NULL, 5, ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        fixture f = {0};
        char log[64];
        const fake_answer answers[] = {{.text = "end"}};
        begin(&f, "", answers, 1);
        f.options.input = rows[i].input;
        f.options.input_length = rows[i].length;
        run(&f);
        snprintf(log, sizeof log, "user:%s|", rows[i].text);
        assert_string_equal(f.model->log.p, log);
        end(&f);
    }
}

static void test_run_loop__agent_fields_are_checked(void **state) {
    (void)state;
    static const struct {
        const char *spec, *says;
    } rows[] = {
        {"{\"instuctions\":\"x\"}", "instructions"},
        {"{\"tools\":[\"ecko\"]}", "echo"},
        {"{\"limits\":{\"step\":1}}", "steps"},
        {"{\"limits\":{\"steps\":-1}}", "from 0 up"},
        {"{\"limits\":{\"steps\":1.5}}", "whole"},
        {"{\"policy\":{\"x\":\"maybe\"}}", "allow"},
        {"{\"policy\":{\"disk.writ\":\"deny\"}}", "\"disk.writ\"; did you mean \"disk.write\"?"},
        {"{\"policy\":{\"ecko\":\"deny\"}}", "did you mean \"echo\"?"},
        {"{\"policy\":{\"*\":\"ask\",\"nothing\":\"deny\"}}", "no tool or group \"nothing\""},
        {"{\"policy\":{\"plan\":\"deny\"}}", "no tool or group \"plan\""},
        {"{\"policy\":{\"dis\":\"deny\"}}", "no tool or group \"dis\""},
        {"{\"policy\":{\"disk.\":\"deny\"}}", "no tool or group \"disk.\""},
        {"{\"plan\":1}", "true or false"},
        {"{\"temperature\":\"hot\"}", "number"},
        {"{\"parallel\":0}", "parallel"},
        {"{\"output\":{\"type\":\"nonsense\"}}", ""},
        {"[]", "table"},
        {"{\"tools\":\"echo\"}", "list"},
    };
    fixture f = {0};
    const fake_answer answers[] = {{.text = "x"}};
    begin(&f, "", answers, 1);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        moon_runnable *agent;
        moon_error error = {0};
        if (!moon_agent_new(&agent, f.rt, rows[i].spec, SIZE_MAX, &error)) fail_msg("%s was taken", rows[i].spec);
        if (!strstr(error.text, rows[i].says)) fail_msg("%s: %s", rows[i].spec, error.text);
    }
    end(&f);
}

static void test_run_loop__two_runtimes_do_not_meet(void **state) {
    (void)state;
    fixture a = {0}, b = {0};
    const fake_answer one[] = {{.text = "one"}}, two[] = {{.text = "two"}};
    begin(&a, "", one, 1);
    begin(&b, "", two, 1);
    start(&a);
    start(&b);
    assert_string_equal(finish(&b)->text, "two");
    assert_false(moon_run_finished(a.run));
    assert_string_equal(finish(&a)->text, "one");
    end(&a);
    end(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_run_loop__answer_without_calls_is_the_result),
        cmocka_unit_test(test_run_loop__results_keep_call_order_though_ends_do_not),
        cmocka_unit_test(test_run_loop__reads_run_side_by_side_up_to_the_cap),
        cmocka_unit_test(test_run_loop__what_changes_things_runs_alone_and_in_order),
        cmocka_unit_test(test_run_loop__mistaken_calls_go_back_to_the_model),
        cmocka_unit_test(test_run_loop__too_many_malformed_calls_in_a_row_end_the_run),
        cmocka_unit_test(test_run_loop__same_call_is_told_at_three_and_ends_at_four),
        cmocka_unit_test(test_run_loop__another_result_is_not_a_repetition),
        cmocka_unit_test(test_run_loop__content_wins_over_the_finish_reason),
        cmocka_unit_test(test_run_loop__cut_answers_are_no_answers),
        cmocka_unit_test(test_run_loop__limits_stop_before_the_request),
        cmocka_unit_test(test_run_loop__cost_is_as_far_as_it_is_known),
        cmocka_unit_test(test_run_loop__unknown_cost_cannot_keep_a_limit),
        cmocka_unit_test(test_run_loop__a_limit_that_cannot_be_kept_is_refused),
        cmocka_unit_test(test_run_loop__the_tighter_limit_holds),
        cmocka_unit_test(test_run_loop__deadline_ends_a_silent_model),
        cmocka_unit_test(test_run_loop__cancel_ends_the_model_and_the_tools),
        cmocka_unit_test(test_run_loop__goes_on_without_a_tool_that_does_not_stop),
        cmocka_unit_test(test_run_loop__cancel_from_an_event),
        cmocka_unit_test(test_run_loop__runtime_free_ends_what_runs),
        cmocka_unit_test(test_run_loop__without_leave_a_writing_tool_ends_the_run),
        cmocka_unit_test(test_run_loop__policy_of_the_agent),
        cmocka_unit_test(test_run_loop__a_reading_tool_can_be_denied),
        cmocka_unit_test(test_run_loop__approval_is_asked_and_answered),
        cmocka_unit_test(test_run_loop__a_plan_comes_before_other_tools),
        cmocka_unit_test(test_run_loop__output_is_checked_and_asked_again),
        cmocka_unit_test(test_run_loop__failures_of_a_model_tell_whose_they_are),
        cmocka_unit_test(test_run_loop__input_is_made_text),
        cmocka_unit_test(test_run_loop__agent_fields_are_checked),
        cmocka_unit_test(test_run_loop__two_runtimes_do_not_meet),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
