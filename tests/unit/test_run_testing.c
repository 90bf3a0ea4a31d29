/* SPDX-License-Identifier: MIT */
/* A runtime of a test: its clock, and what stands in for models, tools, leave and the environment. */
#include <dirent.h>
#include <stdio.h>
#include <unistd.h>

#include "fake_model.h"
#include "testing.h"

typedef struct fixture {
    moon__testing testing;
    moon_runtime *rt;
    fake_model *model;
    moon__tool_entry fake; /* stands in for shell */
    moon_tool record;
    const moon_run *root; /* that was asked for last */
    unsigned asked, called;
    moon_error error;
    char dir[40];
} fixture;

static moon_status give_model(void *ctx, const moon_run *root, const char *agent, moon__model *own, const char *spec,
                              moon__model **out, moon_error *error) {
    fixture *f = ctx;
    f->asked++;
    f->root = root;
    assert_string_equal(agent, "a");
    assert_null(own);
    if (spec) return moon_error_set(error, MOON_EDENIED, "no %s here", spec);
    *out = moon__model_ref(&f->model->base);
    return MOON_OK;
}

static void fake_start(void *self, moon_call *call, const moon_json *args) {
    fixture *f = self;
    f->called++;
    moon_call_printf(call, "fake %s", moon_json_str(moon_json_get(args, "command"), NULL));
    moon_call_done(call);
}

static const moon__tool_entry *give_tool(void *ctx, const moon_run *root, const moon__tool_entry *entry) {
    fixture *f = ctx;
    f->root = root;
    if (strcmp(entry->tool->name, "shell") != 0) return entry;
    f->record = *entry->tool;
    f->record.flags = 0;
    f->record.self = f;
    f->record.start = fake_start;
    f->fake = (moon__tool_entry){.tool = &f->record, .schema = entry->schema};
    return &f->fake;
}

static moon_verdict allow_shell(void *ctx, const moon_run *root, const moon_tool *tool, moon_verdict verdict) {
    (void)ctx, (void)root;
    return strcmp(tool->name, "shell") == 0 ? MOON_ALLOW : verdict;
}

static const char *give_env(void *ctx, const moon_run *root, const char *name) {
    (void)ctx, (void)root;
    return strcmp(name, "HOME") == 0 ? "/nowhere" : NULL;
}

static int setup(void **state) {
    fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    strcpy(f->dir, "/tmp/moonlet-testing-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    moon__testing_init(&f->testing, "x_test.lua", false);
    f->testing.standins =
        (moon__standins){.ctx = f, .model = give_model, .tool = give_tool, .policy = allow_shell, .env = give_env};
    moon_runtime_options options = {.size = sizeof options, .workspace = f->dir, .config = "", .seed = 1};
    if (moon__runtime_new_testing(&f->rt, &options, &f->testing, &f->error)) fail_msg("%s", f->error.text);
    f->model = fake_new(moon__runtime_loop(f->rt), NULL, 0);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    fixture *f = *state;
    moon_runtime_free(f->rt);
    moon__model_unref(&f->model->base);
    rmdir(f->dir);
    free(f);
    return 0;
}

static moon_run *run_agent(fixture *f, const char *spec) {
    moon_runnable *agent;
    moon_run *run = NULL;
    if (moon_agent_new(&agent, f->rt, spec, strlen(spec), &f->error)) fail_msg("%s", f->error.text);
    moon_run_options options = {.size = sizeof options, .input = "go"};
    if (moon_run_start(&run, f->rt, agent, &options, &f->error)) run = NULL;
    moon_runnable_unref(agent);
    for (int turns = 0; run && !moon_run_finished(run) && turns < 1000; turns++) moon__runtime_jump(f->rt);
    return run;
}

static void test_testing__stand_ins_are_used(void **state) {
    fixture *f = *state;
    static const fake_answer answers[] = {
        {.calls = {FAKE_CALL("1", "shell", "{\"command\":\"ls\"}"), FAKE_CALL("2", "shell", "{\"cmd\":\"ls\"}")},
         .n_calls = 2},
        {.text = "done"}};
    f->model->answers = answers;
    f->model->n = 2;
    moon_run *run = run_agent(f, "{\"name\":\"a\",\"tools\":[\"shell\"]}");
    assert_non_null(run);
    assert_true(moon_run_finished(run));
    assert_string_equal(moon_run_result(run)->text, "done");
    assert_int_equal(f->called, 1); /* the other call does not fit the schema of the real tool */
    assert_ptr_equal(f->root, run);
    assert_string_equal(moon__standin_env(run, "HOME"), "/nowhere");
    assert_null(moon__standin_env(run, "PATH"));
    moon_run_unref(run);
}

static void test_testing__a_refused_model_is_the_run_s_error(void **state) {
    fixture *f = *state;
    assert_null(run_agent(f, "{\"name\":\"a\",\"model\":\"openai/x\"}"));
    assert_int_equal(f->error.code, MOON_EDENIED);
    assert_string_equal(f->error.text, "no openai/x here");
    assert_int_equal(f->asked, 1);
}

static void on_time(void *ctx) {
    ++*(int *)ctx;
}

static void test_testing__time_jumps_to_what_is_next(void **state) {
    fixture *f = *state;
    int n = 0;
    moon__timer day = {.fn = on_time, .ctx = &n}, week = {.fn = on_time, .ctx = &n};
    moon__loop *loop = moon__runtime_loop(f->rt);
    int64_t began = f->testing.now_us, day_us = INT64_C(86400000000);
    assert_int_equal(began, INT64_C(1748779200000000));
    assert_int_equal(moon__timer_start(loop, &day, day_us), MOON_OK);
    assert_int_equal(moon__timer_start(loop, &week, 7 * day_us), MOON_OK);
    while (n == 0) assert_true(moon__runtime_jump(f->rt));
    assert_int_equal(f->testing.now_us - began, day_us);
    while (n == 1) assert_true(moon__runtime_jump(f->rt));
    assert_int_equal(f->testing.now_us - began, 7 * day_us);
    assert_false(moon__runtime_jump(f->rt));
}

static void test_testing__time_stands_still_while_something_goes_on_outside(void **state) {
    fixture *f = *state;
    int n = 0;
    moon__timer soon = {.fn = on_time, .ctx = &n};
    moon__loop *loop = moon__runtime_loop(f->rt);
    assert_int_equal(moon__timer_start(loop, &soon, 1000), MOON_OK);
    moon__loop_hold(loop);
    assert_true(moon__runtime_outside(f->rt));
    for (int i = 0; i < 100; i++) assert_true(moon__runtime_jump(f->rt));
    assert_int_equal(n, 0);
    moon__loop_release(loop);
    while (n == 0) assert_true(moon__runtime_jump(f->rt));
}

static void test_testing__others_know_nothing_of_it(void **state) {
    fixture *f = *state;
    moon_runtime *rt;
    moon_runtime_options options = {.size = sizeof options, .workspace = f->dir, .config = ""};
    assert_int_equal(moon_runtime_new(&rt, &options, &f->error), MOON_OK);
    assert_null(moon__runtime_testing(rt));
    assert_null(moon_runtime_tool(rt, "test.repository"));
    assert_non_null(moon_runtime_tool(f->rt, "test.repository"));
    moon_runtime_free(rt);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_testing__stand_ins_are_used, setup, teardown),
        cmocka_unit_test_setup_teardown(test_testing__a_refused_model_is_the_run_s_error, setup, teardown),
        cmocka_unit_test_setup_teardown(test_testing__time_jumps_to_what_is_next, setup, teardown),
        cmocka_unit_test_setup_teardown(test_testing__time_stands_still_while_something_goes_on_outside, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_testing__others_know_nothing_of_it, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
