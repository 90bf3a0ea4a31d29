/* SPDX-License-Identifier: MIT */
/* A runtime with a cassette, as an embedding program makes it. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "fake_model.h"
#include "loop_clock.h"
#include "run.h"

static char dir[64];

static int make_dir(void **state) {
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/moonlet-tape-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state) {
    char path[512];
    (void)state;
    DIR *files = opendir(dir);
    for (struct dirent *e; files && (e = readdir(files));) {
        snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        if (e->d_name[0] != '.') unlink(path);
    }
    if (files) closedir(files);
    return rmdir(dir);
}

/* Runs an agent in a runtime of its own; its stop reason, its text or error to text. */
static moon_stop run_once(const char *cassette, const char *record, const char *input, const fake_answer *answers,
                          size_t n, char text[512], moon_usage *usage) {
    fake_clock clock;
    moon_error error = {0};
    moon_runtime *rt;
    moon_runnable *agent;
    moon_run *run;
    moon_json *spec;
    static const char fields[] = "{\"name\":\"t\",\"tools\":[],\"limits\":{\"usd\":1}}";
    moon_runtime_options options = {.size = sizeof options, .seed = 1, .cassette = cassette, .record = record};
    fake_clock_init(&clock);
    if (moon__runtime_new_clock(&rt, &options, &clock.clock, &error)) fail_msg("%s", error.text);
    assert_int_equal(moon__json_parse(&spec, fields, sizeof fields - 1, 0, &error), MOON_OK);
    fake_model *model = fake_new(moon__runtime_loop(rt), answers, n);
    moon__agent_extra extra = {.model = &model->base};
    if (moon__agent_new(&agent, rt, spec, &extra, &error)) fail_msg("%s", error.text);
    moon__json_free(spec);
    moon__model_unref(&model->base);
    moon_run_options start = {.size = sizeof start, .input = input};
    if (moon_run_start(&run, rt, agent, &start, &error)) fail_msg("%s", error.text);
    while (!moon_run_finished(run)) assert_int_equal(moon_runtime_step(rt, 1000, &error), MOON_OK);
    const moon_result *result = moon_run_result(run);
    snprintf(text, 512, "%s", result->error ? result->error : result->text);
    *usage = result->usage;
    moon_stop stop = result->stop;
    moon_run_unref(run);
    moon_runnable_unref(agent);
    moon_runtime_free(rt);
    return stop;
}

static void test_run_cassette__recorded_and_played(void **state) {
    static const fake_answer answers[] = {{.text = "yes", .usage = {.input_tokens = 5, .usd = 0.5}}};
    char text[512];
    moon_usage usage;
    (void)state;
    assert_int_equal(run_once(NULL, dir, "go", answers, 1, text, &usage), MOON_STOP_DONE);
    assert_string_equal(text, "yes");
    assert_int_equal(run_once(dir, "", "go", NULL, 0, text, &usage), MOON_STOP_DONE);
    assert_string_equal(text, "yes");
    assert_int_equal(usage.input_tokens, 5);
    assert_true(usage.usd == 0.5);
    assert_int_equal(run_once(dir, NULL, "stop", NULL, 0, text, &usage), MOON_STOP_CASSETTE);
    assert_non_null(strstr(text, "recorded \"go\", now \"stop\""));
}

static void test_run_cassette__one_or_the_other(void **state) {
    moon_runtime *rt = NULL;
    moon_error error = {0};
    moon_runtime_options options = {.size = sizeof options, .cassette = dir, .record = dir};
    fake_clock clock;
    (void)state;
    fake_clock_init(&clock);
    assert_int_equal(moon__runtime_new_clock(&rt, &options, &clock.clock, &error), MOON_EINVAL);
    assert_null(rt);
    options.record = NULL;
    options.cassette = "/tmp/moonlet-no-such-folder";
    assert_int_equal(moon__runtime_new_clock(&rt, &options, &clock.clock, &error), MOON_ENOTFOUND);
    assert_null(rt);
}

static void test_run_cassette__a_miss_can_be_resumed(void **state) {
    (void)state;
    assert_true(moon_stop_resumable(MOON_STOP_CASSETTE));
    assert_int_equal(moon_stop_exit_code(MOON_STOP_CASSETTE), 2);
    assert_string_equal(moon_stop_text(MOON_STOP_CASSETTE), "cassette_miss");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_run_cassette__recorded_and_played, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(test_run_cassette__one_or_the_other, make_dir, remove_dir),
        cmocka_unit_test(test_run_cassette__a_miss_can_be_resumed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
