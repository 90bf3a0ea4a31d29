/* SPDX-License-Identifier: MIT */
/* moon.code: scripts that a model writes. */
#include "lua_host.h"

/* An agent whose model writes the script once and then answers with what came of it. */
#define CODER                                                                                                          \
    "local moon = require 'moonlet'\n"                                                                                 \
    "local twice = moon.tool { name = 'math.twice', description = 'd', params = { n = 'integer' }, effects = { "       \
    "read_only = true }, call = function(a) return { n = a.n * 2 } end }\n"                                            \
    "local rm = moon.tool { name = 'rm', description = 'd', call = function() return 'removed' end }\n"                \
    "local helper = moon.agent { name = 'helper', tools = {}, model = moon.model.script(function(r) return 'h' end) "  \
    "}:as_tool { name = 'helper' }\n"                                                                                  \
    "return moon.agent { tools = { 'lua', twice, rm, helper }, policy = { rm = 'deny' }, model = "                     \
    "moon.model.script(function(r)\n"                                                                                  \
    "local last = r.messages[#r.messages] if last.role == 'tool' then return last.content end\n"                       \
    "return { tool_calls = { { name = 'lua', arguments = { script = last.content } } } } end) }"

static void test_code__scripts(void **state) {
    static const struct {
        const char *label, *script, *part;
    } rows[] = {
        {"calls a tool", "local r = math.twice { n = 4 } return r.n + 1", "9"},
        {"calls many", "local s = 0 for i = 1, 200 do s = s + math.twice { n = i }.n end return s", "40200"},
        {"runs an agent", "return helper { input = 'x' } .. '!'", "h!"},
        {"a mistake in arguments", "local r, err = math.twice { m = 1 } return tostring(r) .. err.message", "nil"},
        {"policy", "local r, err = rm() return tostring(r) .. ': ' .. err.message", "nil: "},
        {"a table", "return { a = { 1, 2 } }", "{\"a\":[1,2]}"},
        {"json", "return json.decode('[7]')[1]", "7"},
        {"a syntax error", "local = 1", "script:1: <name> expected"},
        {"an error", "\n\nerror 'boom'", "script:3: boom"},
        {"a loop", "while true do pcall(error) end", "instruction budget"},
        {"a loop in a coroutine", "while true do coroutine.wrap(function() while true do end end)() end",
         "instruction budget"},
        {"memory", "local s = 'x' while true do s = s .. s end", "not enough memory"},
        {"no modules", "return tostring(require) .. tostring(io) .. tostring(os) .. tostring(moon) .. tostring(debug)",
         "nilnilnilnilnil"},
        {"no bytecode", "return tostring(load(string.dump and string.dump(function() end) or '\\27Lua'))", "nil"},
    };
    lua_host *host = *state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        lua_result r = lua_run(host, CODER, rows[i].script);
        if (r.stop != MOON_STOP_DONE || !strstr(r.text, rows[i].part))
            fail_msg("%s: \"%s\" \"%s\"", rows[i].label, r.text, r.error);
    }
}

static void test_code__a_script_leaves_nothing_behind(void **state) {
    lua_result r = lua_run(*state, CODER, "left = 1 math.twice = nil return 'a'");
    assert_string_equal(r.text, "a");
    r = lua_run(*state, CODER, "return tostring(left) .. math.twice { n = 1 }.n");
    assert_string_equal(r.text, "nil2");
}

static void test_code__its_calls_are_counted(void **state) {
    char script[2048];
    lua_host *host = *state;
    snprintf(script, sizeof script, "%s", CODER);
    moon_runnable *runnable = NULL;
    assert_int_equal(lua_load(host, script, &runnable), MOON_OK);
    lua_start(host, runnable, "for i = 1, 5 do math.twice { n = i } end return 'x'");
    lua_result r = lua_finish(host);
    moon_runnable_unref(runnable);
    assert_string_equal(r.text, "x");
    assert_int_equal(r.usage.tool_calls, 6);
}

static void test_code__cancel(void **state) {
    lua_host *host = *state;
    static const char slow[] =
        "local moon = require 'moonlet'\n"
        "local wait = moon.tool { name = 'wait', description = 'd', effects = { read_only = true }, call = function() "
        "moon.sleep(1000) end }\n"
        "return moon.agent { tools = { 'lua', wait }, model = moon.model.script { { tool_calls = { { name = 'lua', "
        "arguments "
        "= { script = 'wait()' } } } } } }";
    moon_runnable *runnable = NULL;
    assert_int_equal(lua_load(host, slow, &runnable), MOON_OK);
    lua_start(host, runnable, "");
    for (int i = 0; i < 20; i++) assert_int_equal(moon_runtime_step(host->runtime, 1, NULL), MOON_OK);
    moon_run_cancel(host->run);
    lua_result r = lua_finish(host);
    moon_runnable_unref(runnable);
    assert_int_equal(r.stop, MOON_STOP_INTERRUPTED);
}

static void test_code__what_is_refused(void **state) {
    static const struct {
        const char *label, *body, *error;
    } rows[] = {
        {"no tools", "moon.code {}", "moon.code needs tools"},
        {"an empty list", "moon.code { tools = {} }", "moon.code needs tools"},
        {"no such tool", "moon.code { tools = { 'file.raed' } }", "there is no tool or group \"file.raed\""},
        {"no tool", "moon.code { tools = { 1 } }", "tools[1]: a number is no tool"},
        {"misspelt", "moon.code { tolos = {} }", "unknown field \"tolos\""},
        {"alone", "moon.agent { tools = { 'lua' } }", "moon.code needs tools"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        lua_result r = lua_eval(*state, rows[i].body);
        if (!strstr(r.error, rows[i].error)) fail_msg("%s: \"%s\"", rows[i].label, r.error);
    }
}

static int set_up(void **state) {
    lua_host *host = *state = lua_new();
    moon__scripts_limit(host->runtime, 0, 0);
    return 0;
}

static int tear_down(void **state) {
    lua_free(*state);
    return 0;
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_code__scripts),
        TEST(test_code__a_script_leaves_nothing_behind),
        TEST(test_code__its_calls_are_counted),
        TEST(test_code__cancel),
        TEST(test_code__what_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
