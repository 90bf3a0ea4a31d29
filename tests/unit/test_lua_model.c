/* SPDX-License-Identifier: MIT */
/* moon.model.script: what it is asked, what it may answer, and scripted models from files. */
#include "lua_host.h"

/* Runs an agent with a tool `t` that returns its arguments, on a model given as Lua. */
static lua_result run_model(lua_host *host, const char *model) {
    char text[4096];
    snprintf(text, sizeof text,
             "local moon = require 'moonlet' "
             "local t = moon.tool { name = 'g.t', description = 'd', params = { ['a?'] = 'any' }, effects = { "
             "read_only = true }, call = function(args) return args end } "
             "return moon.agent { name = 'tester', instructions = 'be brief', tools = { t }, model = "
             "moon.model.script(%s) }",
             model);
    return lua_run(host, text, "go");
}

static void test_model__answers(void **state) {
    static const struct {
        const char *label, *model, *text, *error;
    } rows[] = {
        {"string", "function() return 'hello' end", "hello", NULL},
        {"table", "function() return { text = 'hello' } end", "hello", NULL},
        {"list", "{ 'first' }", "first", NULL},
        {"list in order",
         "{ { tool_calls = { { name = 'g.t' } } }, { tool_calls = { { name = 'g.t', arguments = { a = 1 } } } }, "
         "'third' }",
         "third", NULL},
        {"list that runs out", "{ { tool_calls = { { name = 'g.t' } } } }", NULL,
         "the scripted model has 1 answers, and this is request 2"},
        {"calls win over finish",
         "function(r) if r.step == 1 then return { tool_calls = { { name = 'g.t' } }, finish = 'stop' } end return "
         "r.messages[#r.messages].content end",
         "{}", NULL},
        {"arguments as text",
         "function(r) if r.step == 1 then return { tool_calls = { { name = 'g.t', arguments = '{\"a\": [ ]}' } } } end "
         "return r.messages[#r.messages].content end",
         "{\"a\":[]}", NULL},
        {"zero bytes", "function() return 'a\\0b' end",
         "a\xEF\xBF\xBD"
         "b",
         NULL},
        {"nil and why", "function() return nil, 'overloaded' end", NULL, "overloaded"},
        {"nothing", "function() end", NULL, "must return a string, a table or nil and an error, not nothing"},
        {"nil", "function() return nil end", NULL, "not nil"},
        {"number", "function() return 5 end", NULL, "not number"},
        {"error", "function() error('broken') end", NULL, ".lua:1: broken\nstack traceback"},
        {"misspelt", "function() return { tool_call = {} } end", NULL,
         "the model's answer: unknown field \"tool_call\" (did you mean \"tool_calls\"?)"},
        {"misspelt in a call", "function() return { tool_calls = { { nam = 't' } } } end", NULL,
         "a tool call: unknown field \"nam\" (did you mean \"name\"?)"},
        {"call that is none", "function() return { tool_calls = { 't' } } end", NULL, "tool_calls[1] must be a table"},
        {"calls that are none", "function() return { tool_calls = 't' } end", NULL, "tool_calls must be a list"},
        {"text that is none", "function() return { text = {} } end", NULL, "text must be a string, not a table"},
        {"arguments without JSON",
         "function() return { tool_calls = { { name = 't', arguments = { f = print } } } } end", NULL,
         "arguments: f: a function has no JSON form"},
        {"usage", "function() return { text = 'x', usage = { input_tokens = -1 } } end", NULL,
         "usage.input_tokens is out of range"},
        {"misspelt usage", "function() return { text = 'x', usage = { input = 1 } } end", NULL,
         "unknown field \"input\""},
        {"too many calls",
         "function() local c = {} for i = 1, 200 do c[i] = { name = 'g.t' } end return { tool_calls = c } end", NULL,
         "more than 128 tool calls"},
        {"loop", "function() while true do pcall(error) end end", NULL, "instruction budget"},
        {"runs an agent", "function() return moon.agent { tools = {} }:run('x') end", NULL,
         "a model's function answers at once"},
    };
    lua_host *host = *state;
    moon__scripts_limit(host->runtime, 0, 3000000);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        lua_result r = run_model(host, rows[i].model);
        if (rows[i].error ? r.stop == MOON_STOP_DONE || !strstr(r.error, rows[i].error)
                          : strcmp(r.text, rows[i].text) != 0)
            fail_msg("%s: \"%s\" \"%s\"", rows[i].label, r.text, r.error);
    }
}

static void test_model__stop_reasons(void **state) {
    assert_int_equal(run_model(*state, "function() return nil, 'overloaded' end").stop, MOON_STOP_PROVIDER);
    assert_int_equal(run_model(*state, "function() error('x') end").stop, MOON_STOP_FAILED);
}

static void test_model__bad_scripts(void **state) {
    static const struct {
        const char *model, *error;
    } rows[] = {
        {"", "function or list of answers expected"},
        {"5", "function or list of answers expected"},
        {"{}", "a list of at least one answer"},
        {"{ 'a', 5 }", "answer 2 is a number"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[200];
        snprintf(text, sizeof text, "moon.model.script(%s)", rows[i].model);
        assert_contains(lua_eval(*state, text).error, rows[i].error);
    }
}

static void test_model__request(void **state) {
    lua_result r = run_model(
        *state, "function(r) if r.step < 3 then return { text = 'thinking', tool_calls = { { name = 'g.t', arguments = "
                "{ a = r.step } }, { name = 'nothing', arguments = '{' } } } end "
                "local said = { r.agent, r.step, r.tools[1].name, r.tools[1].description, r.tools[1].params.type, "
                "tostring(r.output) } "
                "for _, m in ipairs(r.messages) do said[#said + 1] = m.role .. '=' .. m.content "
                "  for _, c in ipairs(m.tool_calls or {}) do said[#said + 1] = c.id .. ':' .. c.name .. ':' .. "
                "type(c.arguments) end "
                "  if m.tool_call_id then said[#said + 1] = '@' .. m.tool_call_id .. tostring(m.is_error) end end "
                "return table.concat(said, '|') end");
    assert_contains(
        r.text,
        "tester|3|g.t|d|object|nil|system=be "
        "brief|user=go|assistant=thinking|call_1:g.t:table|call_2:nothing:string|tool={\"a\":1}|@call_1nil|tool=");
    assert_contains(
        r.text, "|@call_2true|assistant=thinking|call_3:g.t:table|call_4:nothing:string|tool={\"a\":2}|@call_3nil|");
}

static void test_model__request_knows_the_output(void **state) {
    lua_result r = lua_eval(
        *state,
        "return moon.agent { tools = {}, output = { verdict = { enum = { 'ok', 'redo' } } }, model = "
        "moon.model.script(function(r) "
        "return { text = moon.json.encode { verdict = r.output.properties.verdict.enum[2] } } end) }:run('x').verdict");
    assert_string_equal(r.text, "redo");
}

static void test_model__messages_are_one_table(void **state) {
    lua_result r =
        lua_run(*state,
                "local moon = require 'moonlet' local seen, request "
                "local t = moon.tool { name = 't', description = 'd', effects = { read_only = true }, params = { n = "
                "'integer' }, call = function(a) return a.n end } "
                "return moon.agent { tools = { t }, model = moon.model.script(function(r) "
                "  assert(r == (request or r) and r.messages == (seen or r.messages)) seen, request = r.messages, r "
                "  if r.step > 5 then return tostring(#r.messages) end return { tool_calls = { { name = 't', arguments "
                "= { n = r.step } } } } end) }",
                "go");
    assert_string_equal(r.text, "11");
}

static void test_model__ids_are_unique(void **state) {
    lua_result r =
        run_model(*state, "function(r) if r.step < 3 then return { tool_calls = { { name = 'g.t', id = 'same', "
                          "arguments = { a = r.step } }, { name = 'g.t', id = 'same', arguments = { a = 10 + r.step } "
                          "}, { name = 'g.t', id = 'call_1', arguments = { a = 20 + r.step } } } } end "
                          "local ids = {} for _, m in ipairs(r.messages) do for _, c in ipairs(m.tool_calls or {}) do "
                          "ids[#ids + 1] = c.id end end return table.concat(ids, ' ') end");
    assert_string_equal(r.text, "same call_1 call_2 call_3 call_4 call_5");
}

static void test_model__usage_is_counted(void **state) {
    lua_result r = run_model(*state, "{ { tool_calls = { { name = 'g.t' } }, usage = { input_tokens = 10, "
                                     "output_tokens = 5, cached_tokens = 4, reasoning_tokens = 2, usd = 0.25 } }, "
                                     "{ text = 'x', usage = { input_tokens = 1, usd = 0.5 } } }");
    assert_int_equal(r.usage.input_tokens, 11);
    assert_int_equal(r.usage.output_tokens, 5);
    assert_int_equal(r.usage.cached_tokens, 4);
    assert_int_equal(r.usage.reasoning_tokens, 2);
    assert_int_equal((int)(r.usage.usd * 100 + 0.5), 75);
}

static void test_model__deltas(void **state) {
    lua_result r =
        run_model(*state, "{ { text = 'one', reasoning = 'hm', tool_calls = { { name = 'g.t' } } }, 'two' }");
    assert_contains(r.deltas, "hm\none\n");
    assert_contains(r.deltas, "two\n");
}

static void cancel_at_delta(lua_host *host, moon_run *run, const moon_event *event) {
    (void)host;
    if (event->type == MOON_EVENT_MODEL_DELTA) moon_run_cancel(run);
}

static void test_model__cancelled_in_its_own_delta(void **state) {
    lua_host *host = *state;
    host->on_event = cancel_at_delta;
    lua_result r = run_model(host, "{ { text = 'one', reasoning = 'hm' } }");
    assert_int_equal(r.stop, MOON_STOP_INTERRUPTED);
    assert_string_equal(r.deltas, "hm\n");
}

static void test_model__failures_leave_the_state_usable(void **state) {
    lua_host *host = *state;
    moon_runnable *runnable;
    moon__scripts_limit(host->runtime, 0, 2000000);
    assert_int_equal(
        lua_load(host,
                 "local moon = require 'moonlet' return moon.agent { tools = {}, model = moon.model.script(function(r) "
                 "local text = r.messages[1].content if text == 'loop' then while true do end end "
                 "if text == 'eat' then local t = {} for i = 1, 1e7 do t[i] = { i } end end return text end) }",
                 &runnable),
        MOON_OK);
    static const char *const inputs[] = {"loop", "a", "eat", "b"};
    for (size_t i = 0; i < sizeof inputs / sizeof inputs[0]; i++) {
        lua_start(host, runnable, inputs[i]);
        lua_result r = lua_finish(host);
        if (inputs[i][1])
            assert_int_equal(r.stop, MOON_STOP_FAILED);
        else
            assert_string_equal(r.text, inputs[i]);
    }
    moon_runnable_unref(runnable);
}

/* ---- models from files ---- */

static void test_model_file__is_loaded_once(void **state) {
    lua_host *host = *state;
    char path[160], text[400];
    moon_runnable *runnable;
    moon_model_info info;
    lua_file(host, "m.lua",
             "local moon = require 'moonlet' n = 0 local function answer(r) return r.agent .. ' says ' .. "
             "r.messages[1].content end return moon.model.script(answer)");
    lua_path(host, "m.lua", path);
    snprintf(text, sizeof text, "return require('moonlet').agent { name = 'x', tools = {}, model = '%s' }", path);
    assert_int_equal(lua_load(host, text, &runnable), MOON_OK);
    for (int i = 0; i < 3; i++) {
        lua_start(host, runnable, "hi");
        lua_result r = lua_finish(host);
        assert_string_equal(r.error, "");
        assert_string_equal(r.text, "x says hi");
    }
    moon_runnable_unref(runnable);
    if (moon_runtime_model(host->runtime, path, &info, &host->error)) fail_msg("%s", host->error.text);
    assert_string_equal(info.name, path);
    assert_true(info.scripted);
}

static void test_model_file__errors(void **state) {
    lua_host *host = *state;
    char path[160];
    moon_model_info info;
    lua_path(host, "missing.lua", path);
    assert_int_equal(moon_runtime_model(host->runtime, path, &info, &host->error), MOON_ENOTFOUND);
    lua_file(host, "f.lua", "return function() end");
    lua_path(host, "f.lua", path);
    assert_int_equal(moon_runtime_model(host->runtime, path, &info, &host->error), MOON_EINVAL);
    assert_contains(host->error.text, "is no model");
    lua_file(host, "s.lua", "\n\nreturn (");
    lua_path(host, "s.lua", path);
    assert_int_equal(moon_runtime_model(host->runtime, path, &info, &host->error), MOON_ESCRIPT);
    assert_contains(host->error.where, "s.lua:3");
}

static void test_model_file__offline_is_built_in(void **state) {
    lua_host *host = *state;
    moon_runnable *runnable;
    assert_int_equal(
        lua_load(host, "return require('moonlet').agent { name = 'x', tools = {}, model = 'offline' }", &runnable),
        MOON_OK);
    lua_start(host, runnable, "hi");
    lua_result r = lua_finish(host);
    assert_string_equal(r.error, "");
    assert_true(strlen(r.text) > 0);
    moon_runnable_unref(runnable);
}

/* A run may outlive everything that made its agent, but not the runtime. */
static void test_model__outlives_its_handles(void **state) {
    lua_host *host = *state;
    lua_result r = lua_eval(
        host, "local function make() return moon.agent { tools = {}, model = moon.model.script { 'kept' } } end "
              "local a = make() for i = 1, 20000 do local t = { i } end local r = a:run('x') a = nil for i = 1, 20000 "
              "do local t = { i } end return r");
    assert_string_equal(r.text, "kept");
}

static int setup(void **state) {
    *state = lua_new();
    return 0;
}

static int teardown(void **state) {
    lua_free(*state);
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_model__answers),
        TEST(test_model__stop_reasons),
        TEST(test_model__bad_scripts),
        TEST(test_model__request),
        TEST(test_model__request_knows_the_output),
        TEST(test_model__messages_are_one_table),
        TEST(test_model__ids_are_unique),
        TEST(test_model__usage_is_counted),
        TEST(test_model__deltas),
        TEST(test_model__cancelled_in_its_own_delta),
        TEST(test_model__failures_leave_the_state_usable),
        TEST(test_model_file__is_loaded_once),
        TEST(test_model_file__errors),
        TEST(test_model_file__offline_is_built_in),
        TEST(test_model__outlives_its_handles),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
