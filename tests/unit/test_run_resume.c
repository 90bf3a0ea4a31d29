/* SPDX-License-Identifier: MIT */
/* Runs of scripts that are kept in a journal and taken up by another runtime, with a fake clock: what counts against
 * limits. */
#include <stdarg.h>
#include <stddef.h>

#include "lua_host.h"

#include "runtime.h"

/* One process after another on the same journal. */
typedef struct fixture {
    lua_host host;
    int64_t now;
    moon__clock clock;
    char script[160], id[32];
    moon_result result; /* of the last; its text is gone */
    char text[400], error[400];
} fixture;

static int64_t fake_now(void *ctx) {
    return ((fixture *)ctx)->now;
}
static void fake_advance(void *ctx, int64_t us) {
    ((fixture *)ctx)->now += us;
}

static void open_runtime(fixture *f) {
    char journal[160];
    moon_error error = {0};
    moon_runtime_options options = {.size = sizeof options, .workspace = f->host.dir, .config = "", .seed = 7};
    lua_path(&f->host, "journal.db", journal);
    if (moon__runtime_new_clock(&f->host.runtime, &options, &f->clock, &error) ||
        moon__runtime_set_journal(f->host.runtime, NULL, journal, &error) ||
        moon__scripts_attach(f->host.runtime, &error))
        fail_msg("%s", error.text);
}

static void begin(fixture *f, const char *text) {
    f->now = INT64_C(1700000000000000);
    f->clock = (moon__clock){.monotonic_us = fake_now, .wall_us = fake_now, .advance = fake_advance, .ctx = f};
    snprintf(f->host.dir, sizeof f->host.dir, "/tmp/moonlet-resume-XXXXXX");
    assert_non_null(mkdtemp(f->host.dir));
    lua_file(&f->host, "s.lua", text);
    lua_path(&f->host, "s.lua", f->script);
}

static void end(fixture *f) {
    lua_remove_dir(f->host.dir);
}

static moon_run_options with(const moon_limits *limits) {
    return (moon_run_options){.size = sizeof(moon_run_options), .input = "go", .limits = limits, .allow_all = true};
}

/* Drives the run to its end, and ends the process. */
static const moon_result *drive(fixture *f, moon_run *run) {
    for (int i = 0; i < 100000 && !moon_run_finished(run); i++)
        assert_int_equal(moon_runtime_step(f->host.runtime, 1000, NULL), MOON_OK);
    assert_true(moon_run_finished(run));
    f->result = *moon_run_result(run);
    snprintf(f->text, sizeof f->text, "%s", f->result.text);
    snprintf(f->error, sizeof f->error, "%s", f->result.error ? f->result.error : "");
    snprintf(f->id, sizeof f->id, "%s", moon_run_id(run));
    moon_run_unref(run);
    moon_runtime_free(f->host.runtime);
    return &f->result;
}

static const moon_result *start(fixture *f, const moon_limits *limits) {
    moon_runnable *runnable = NULL;
    moon_run *run = NULL;
    moon_error error = {0};
    moon_run_options options = with(limits);
    open_runtime(f);
    if (moon_script_load(&runnable, f->host.runtime, f->script, &error) ||
        moon_run_start(&run, f->host.runtime, runnable, &options, &error))
        fail_msg("%s: %s", error.where, error.text);
    moon_runnable_unref(runnable);
    return drive(f, run);
}

static const moon_result *resume(fixture *f, const moon_limits *limits) {
    moon_run *run = NULL;
    moon_error error = {0};
    moon_run_options options = with(limits);
    open_runtime(f);
    if (moon_run_resume(&run, f->host.runtime, f->id, &options, &error)) fail_msg("%s", error.text);
    return drive(f, run);
}

static const moon_result *fork_at(fixture *f, uint64_t at, const moon_limits *limits) {
    moon_run *run = NULL;
    moon_error error = {0};
    moon_run_options options = with(limits);
    options.input = NULL;
    f->now += 1000000; /* ids come from the time */
    open_runtime(f);
    if (moon_run_fork(&run, f->host.runtime, f->id, at, &options, &error)) fail_msg("%s", error.text);
    return drive(f, run);
}

static moon_limits steps(int64_t n, int64_t tokens) {
    moon_limits l = MOON_LIMITS_NONE;
    l.steps = n;
    l.tokens = tokens;
    return l;
}

/* An agent `kid` that naps as often as its model says, below a function. */
#define NAPS(seconds)                                                                                                  \
    "local moon = require 'moonlet' "                                                                                  \
    "local nap = moon.tool { name = 'nap', description = 'n', effects = { read_only = true }, "                        \
    "  call = function() moon.sleep(6) return 'rested' end } "                                                         \
    "local kid = moon.agent { name = 'kid', limits = { seconds = " #seconds " }, tools = { nap }, "                    \
    "  model = moon.model.script(function(r) local n = 0 "                                                             \
    "    for _, m in ipairs(r.messages) do if m.role == 'tool' then n = n + 1 end end "                                \
    "    if n < 3 then return { tool_calls = { { name = 'nap', arguments = {} } } } end "                              \
    "    return 'slept ' .. n end) } "                                                                                 \
    "return function(input) return assert(kid:run(input)) end"

static void test_run_resume__seconds_of_a_child_are_those_it_was_driven(void **state) {
    (void)state;
    static const struct {
        const char *script;
        moon_stop stop;
        int64_t ms;
    } rows[] = {{NAPS(15), MOON_STOP_SECONDS, 15000}, {NAPS(19), MOON_STOP_DONE, 18000}};
    for (size_t i = 0; i < 2; i++) {
        fixture f = {0};
        moon_limits one = steps(1, -1), two = steps(2, -1), many = steps(9, -1);
        begin(&f, rows[i].script);
        assert_int_equal(start(&f, &one)->stop, MOON_STOP_STEPS);
        f.now += INT64_C(1000000000); /* nobody drives it */
        if (resume(&f, &two)->stop != MOON_STOP_STEPS) fail_msg("%s", f.error);
        f.now += INT64_C(1000000000);
        const moon_result *r = resume(&f, &many);
        if (r->stop != rows[i].stop) fail_msg("row %zu: %s: %s", i, moon_stop_text(r->stop), f.error);
        assert_int_equal(r->wall_ms, rows[i].ms);
        end(&f);
    }
}

/* An agent whose model calls a tool that runs another agent, five times; each answer uses 10 tokens. */
static const char below_tools[] =
    "local moon = require 'moonlet' "
    "local usage = { input_tokens = 7, output_tokens = 3 } "
    "local kid = moon.agent { name = 'kid', tools = {}, model = moon.model.script(function(r) "
    "  return { text = r.messages[1].content, usage = usage } end) } "
    "local t = moon.tool { name = 't', description = 't', params = { n = 'integer' }, effects = { read_only = true }, "
    "  call = function(args) return kid:run('kid ' .. args.n) end } "
    "return moon.agent { name = 'a', tools = { t }, model = moon.model.script(function(r) local n = 0 "
    "  for _, m in ipairs(r.messages) do if m.role == 'tool' then n = n + 1 end end "
    "  if n < 5 then return { usage = usage, tool_calls = { { name = 't', arguments = { n = n } } } } end "
    "  return { text = 'end', usage = usage } end) }";

static void test_run_resume__what_was_used_below_finished_calls_counts(void **state) {
    (void)state;
    fixture f = {0};
    begin(&f, below_tools);
    moon_limits five = steps(5, -1), tokens = steps(100, 75), all = steps(100, 1000);
    const moon_result *r = start(&f, &five); /* three of its own, two below */
    assert_int_equal(r->stop, MOON_STOP_STEPS);
    assert_int_equal(r->usage.input_tokens, 35);
    r = resume(&f, &tokens);
    assert_int_equal(r->stop, MOON_STOP_TOKENS);
    assert_int_equal(r->usage.input_tokens + r->usage.output_tokens, 80);
    assert_int_equal(r->usage.steps, 8);
    r = resume(&f, &all);
    if (r->stop != MOON_STOP_DONE) fail_msg("%s", f.error);
    assert_int_equal(r->usage.input_tokens + r->usage.output_tokens, 90);
    assert_int_equal(r->usage.steps, 9); /* two below were refused, and are not begun again */
    assert_int_equal(r->usage.tool_calls, 5);
    end(&f);
}

static void test_run_resume__a_fork_does_not_pay_for_what_is_shared(void **state) {
    (void)state;
    fixture f = {0};
    begin(&f, below_tools);
    moon_limits five = steps(5, -1), two = steps(2, -1), three = steps(3, -1), all = steps(100, 1000);
    assert_int_equal(start(&f, &five)->stop, MOON_STOP_STEPS);
    const moon_result *r = fork_at(&f, 0, &two);
    assert_int_equal(r->stop, MOON_STOP_STEPS);
    assert_int_equal(r->usage.steps, 2);
    r = resume(&f, &three); /* now it is the fork */
    assert_int_equal(r->stop, MOON_STOP_STEPS);
    assert_int_equal(r->usage.steps, 3);
    r = resume(&f, &all);
    assert_int_equal(r->stop, MOON_STOP_DONE);
    assert_int_equal(r->usage.steps, 4);
    assert_int_equal(r->usage.input_tokens + r->usage.output_tokens, 40);
    end(&f);
}

static void test_run_resume__calls_that_a_limit_refused_are_refused_again(void **state) {
    (void)state;
    fixture f = {0};
    begin(&f,
          "local moon = require 'moonlet' "
          "local t = moon.tool { name = 't', description = 't', params = { n = 'integer' }, "
          "  effects = { read_only = true }, call = function(args) return 'ran ' .. args.n end } "
          "return moon.agent { name = 'a', tools = { t }, model = moon.model.script(function(r) "
          "  if #r.messages > 1 then return r.messages[#r.messages].content end "
          "  return { tool_calls = { { name = 't', arguments = { n = 1 } }, { name = 't', arguments = { n = 2 } } } } "
          "  end) }");
    moon_limits one = MOON_LIMITS_NONE, two = MOON_LIMITS_NONE;
    one.tool_calls = 1;
    two.tool_calls = 2;
    assert_int_equal(start(&f, &one)->stop, MOON_STOP_TOOL_CALLS);
    const moon_result *r = resume(&f, &one);
    assert_int_equal(r->stop, MOON_STOP_TOOL_CALLS);
    assert_int_equal(r->usage.tool_calls, 0);
    r = resume(&f, &two);
    assert_int_equal(r->stop, MOON_STOP_DONE);
    assert_string_equal(f.text, "ran 2");
    assert_int_equal(r->usage.tool_calls, 2);
    end(&f);
}

/* Tools that a script calls by itself are runs of one call. */
static void test_run_resume__calls_of_a_script_count_once(void **state) {
    (void)state;
    fixture f = {0};
    begin(&f,
          "local moon = require 'moonlet' "
          "local t = moon.tool { name = 't', description = 't', params = { n = 'integer' }, "
          "  effects = { read_only = true }, call = function(args) return 'ran ' .. args.n end } "
          "local kid = moon.agent { name = 'kid', tools = {}, model = moon.model.script(function() return 'k' end) } "
          "return function() for i = 1, 3 do assert(t:run { n = i }) end "
          "  assert(kid:run 'one') assert(kid:run 'two') return assert(t:run { n = 4 }) end");
    moon_limits one = steps(1, -1), few = steps(9, -1), enough = steps(9, -1);
    few.tool_calls = 3;
    enough.tool_calls = 4;
    const moon_result *r = start(&f, &one);
    assert_int_equal(r->stop, MOON_STOP_STEPS);
    assert_int_equal(r->usage.tool_calls, 3);
    r = resume(&f, &few);
    if (r->stop != MOON_STOP_TOOL_CALLS) fail_msg("%s: %s", moon_stop_text(r->stop), f.error);
    assert_int_equal(r->usage.tool_calls, 3);
    r = resume(&f, &enough);
    if (r->stop != MOON_STOP_DONE) fail_msg("%s: %s", moon_stop_text(r->stop), f.error);
    assert_int_equal(r->usage.tool_calls, 4);
    assert_int_equal(r->usage.steps, 2);
    end(&f);
}

/* A tool that sleeps records that it did. Once its result stands in the journal it is not begun again, and what it
 * recorded is not missed. */
static void test_run_resume__values_of_a_finished_call_are_not_asked_for(void **state) {
    (void)state;
    fixture f = {0};
    moon_limits two = steps(2, -1), three = steps(3, -1), many = steps(9, -1);
    begin(&f, NAPS(100));
    assert_int_equal(start(&f, &two)->stop, MOON_STOP_STEPS);
    assert_int_equal(resume(&f, &three)->stop, MOON_STOP_STEPS);
    if (resume(&f, &many)->stop != MOON_STOP_DONE) fail_msg("%s", f.error);
    assert_string_equal(f.text, "slept 3");
    end(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_run_resume__seconds_of_a_child_are_those_it_was_driven),
        cmocka_unit_test(test_run_resume__what_was_used_below_finished_calls_counts),
        cmocka_unit_test(test_run_resume__a_fork_does_not_pay_for_what_is_shared),
        cmocka_unit_test(test_run_resume__values_of_a_finished_call_are_not_asked_for),
        cmocka_unit_test(test_run_resume__calls_of_a_script_count_once),
        cmocka_unit_test(test_run_resume__calls_that_a_limit_refused_are_refused_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
