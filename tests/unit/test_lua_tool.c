/* SPDX-License-Identifier: MIT */
/* moon.tool: its record, the short form of schemas, and what a call gives back. */
#include "lua_host.h"

/* An agent whose model calls the tool `t` once, with arguments, and answers with what came back ("E:" before an error).
 */
static lua_result call_tool(lua_host *host, const char *fields, const char *arguments) {
    char text[4096];
    snprintf(text, sizeof text,
             "local moon = require 'moonlet' "
             "local echo = moon.agent { name = 'echo', tools = {}, model = moon.model.script(function(r) return 'echo "
             "' .. r.messages[2 - 1].content end) } "
             "local t = moon.tool { name = 't', description = 'd', %s } "
             "return moon.agent { name = 'a', tools = { t }, model = moon.model.script(function(request) "
             "local last = request.messages[#request.messages] "
             "if last.role == 'tool' then return (last.is_error and 'E:' or '') .. last.content .. '.' end "
             "return { tool_calls = { { name = 't', arguments = %s } } } end) }",
             fields, arguments);
    return lua_run(host, text, "go");
}

static void test_tool_call__results(void **state) {
    static const struct {
        const char *label, *call, *text;
    } rows[] = {
        {"string", "return 'text'", "text."},
        {"integer", "return 3", "3."},
        {"float", "return 2.5", "2.5."},
        {"boolean", "return true", "true."},
        {"false alone", "return false", "false."},
        {"table", "return { n = 1, list = { 'a' } }", "{\"list\":[\"a\"],\"n\":1}."},
        {"empty array", "return moon.json.array {}", "[]."},
        {"nothing", "", "."},
        {"nil and why", "return nil, 'no such word'", "E:no such word."},
        {"false and why", "return false, 'no such word'", "E:no such word."},
        {"nil and an error table", "return nil, { message = 'm' }", "E:m."},
        {"error", "error('broken')", ".lua:1: broken."},
        {"runtime error", "local x = nil; return x.y", ".lua:1: attempt to index a nil value (local 'x')."},
        {"no JSON", "return { f = print }", "f: a function has no JSON form."},
        {"zero bytes", "return 'a\\0b'",
         "a\xEF\xBF\xBD"
         "b."},
        {"not UTF-8", "return 'a\\xffb'",
         "a\xEF\xBF\xBD"
         "b."},
        {"loop", "while true do pcall(error) end", "instruction budget"},
        {"memory", "local s = 'x' while true do s = s .. s end", "not enough memory"},
        {"runs an agent", "return echo:run('inner')", "echo inner."},
        {"runs two", "return echo:run('1') .. echo:run('2')", "echo 1echo 2."},
        {"runs one in a coroutine", "return coroutine.wrap(function() return echo:run('3') end)()", "echo 3."},
        {"ctx", "return #ctx.run > 10 and not ctx.cancelled()", "true."},
        {"no other ctx", "return tostring(ctx.nothing)", "nil."},
    };
    lua_host *host = *state;
    moon__scripts_limit(host->runtime, 0, 12000000);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char fields[600];
        snprintf(fields, sizeof fields, "call = function(args, ctx) %s end", rows[i].call);
        lua_result r = call_tool(host, fields, "{}");
        bool error = strncmp(r.text, "E:", 2) == 0,
             fits = error ? strstr(r.text, rows[i].text) != NULL : strcmp(r.text, rows[i].text) == 0;
        if (r.stop != MOON_STOP_DONE || !fits) fail_msg("%s: \"%s\" \"%s\"", rows[i].label, r.text, r.error);
    }
}

static void test_tool_call__arguments(void **state) {
    static const struct {
        const char *label, *params, *arguments, *text;
    } rows[] = {
        {"as given", "{ s = 'string', n = 'integer' }", "{ s = 'x', n = 4 }", "{\"n\":4,\"s\":\"x\"}."},
        {"empty list", "{ l = { 'string' } }", "{ l = moon.json.array {} }", "{\"l\":[]}."},
        {"null is left out", "{ x = { type = { 'string', 'null' }, description = 'd' } }", "{ x = moon.json.null }",
         "{}."},
        {"left out", "{ x = 'string?' }", "{}", "{}."},
        {"missing", "{ x = 'string' }", "{}", "x"},
        {"wrong type", "{ x = 'string' }", "{ x = 1 }", "expected string"},
        {"one too many", "{ size = 'string?' }", "{ sise = 'a' }", "sise"},
        {"malformed", "{ x = 'string' }", "'{\"x\":'", "E:"},
        {"text", "{ x = 'string' }", "'{\"x\":\"y\"}'", "{\"x\":\"y\"}."},
        {"none", "{}", "nil", "{}."},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char fields[600];
        snprintf(fields, sizeof fields, "params = %s, call = function(args) return args end", rows[i].params);
        lua_result r = call_tool(*state, fields, rows[i].arguments);
        if (!strstr(r.text, rows[i].text)) fail_msg("%s: \"%s\" \"%s\"", rows[i].label, r.text, r.error);
    }
}

static void test_tool_call__progress_and_traceback(void **state) {
    lua_result r = call_tool(
        *state, "call = function(args, ctx) ctx:progress('half of it') local function f() error('deep') end f() end",
        "{}");
    assert_contains(r.deltas, "half of it\n");
    assert_contains(r.log, "warn:stack traceback:\n");
    assert_contains(r.log, "in local 'f'");
}

static void test_tool_call__ctx_is_dead_afterwards(void **state) {
    lua_result r =
        lua_run(*state,
                "local moon = require 'moonlet' local kept "
                "local t = moon.tool { name = 't', description = 'd', call = function(_, ctx) "
                "  if not kept then kept = ctx return '1' end "
                "  return tostring(kept.cancelled == nil) .. select(2, pcall(function() return kept.run end)) end } "
                "return moon.agent { tools = { t }, model = moon.model.script(function(r) "
                "  local n = #r.messages if n > 5 then return r.messages[n].content end return { tool_calls = { { name "
                "= 't', arguments = { } } } } end) }",
                "go");
    assert_contains(r.text, "ctx is used after its call has ended");
}

/* ---- the record ---- */

static void test_tool__record(void **state) {
    static const struct {
        const char *label, *fields, *error;
    } rows[] = {
        {"no name", "description = 'd', call = print", "moon.tool: name must be a string"},
        {"no description", "name = 'x', call = print", "moon.tool: description must be a string"},
        {"no call", "name = 'x', description = 'd'", "moon.tool: call must be a function"},
        {"misspelt", "name = 'x', desciption = 'd', call = print",
         "unknown field \"desciption\" (did you mean \"description\"?)"},
        {"a list", "'x'", "a field without a name"},
        {"bad name", "name = 'X y', description = 'd', call = print", "moon.tool: "},
        {"bad effect", "name = 'x', description = 'd', call = print, effects = { readonly = true }",
         "did you mean \"read_only\"?"},
        {"effect of another type", "name = 'x', description = 'd', call = print, effects = { read_only = 1 }",
         "effects.read_only must be true or false"},
        {"effects that are none", "name = 'x', description = 'd', call = print, effects = 'read_only'",
         "effects must be a table"},
        {"timeout", "name = 'x', description = 'd', call = print, timeout = 0", "timeout must be seconds"},
        {"timeout NaN", "name = 'x', description = 'd', call = print, timeout = 0/0", "timeout must be seconds"},
        {"unsound schema",
         "name = 'x', description = 'd', call = print, params = { type = 'object', properties = { a = { type = "
         "'nothing' } } }",
         "moon.tool: "},
        {"function in the schema",
         "name = 'x', description = 'd', call = print, params = { type = 'object', properties = { a = print } }",
         "properties.a: a function has no JSON form"},
        {"unknown type", "name = 'x', description = 'd', call = print, params = { a = 'text' }",
         "params.a: unknown type \"text\""},
        {"params that are none", "name = 'x', description = 'd', call = print, params = 'string'",
         "must be a table of the arguments' types"},
    };
    char text[512];
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        snprintf(text, sizeof text, "\nreturn tostring(moon.tool { %s })", rows[i].fields);
        lua_result r = lua_eval(*state, text);
        if (!strstr(r.error, rows[i].error) || !strstr(r.error, ".lua:2: "))
            fail_msg("%s: \"%s\" \"%s\"", rows[i].label, r.text, r.error);
    }
    lua_result r = lua_eval(
        *state,
        "local t = moon.tool { name = 'g.x', description = 'd', call = print, timeout = 1.5, "
        "effects = { read_only = true, idempotent = true } } return t.name .. tostring(t) .. tostring(t.other)");
    assert_string_equal(r.text, "g.xtool g.xnil");
}

static void test_tool__effects_decide_who_is_asked(void **state) {
    lua_host *host = *state;
    static const struct {
        const char *effects;
        moon_stop stop;
    } rows[] = {{"{ read_only = true }", MOON_STOP_DONE},
                {"{ idempotent = true }", MOON_STOP_APPROVAL},
                {"nil", MOON_STOP_APPROVAL}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[512];
        moon_runnable *runnable;
        snprintf(text, sizeof text,
                 "local moon = require 'moonlet' return moon.agent { tools = { moon.tool { name = 't', description = "
                 "'d', effects = %s, call = function() end } }, "
                 "model = moon.model.script { { tool_calls = { { name = 't' } } }, 'done' } }",
                 rows[i].effects);
        assert_int_equal(lua_load(host, text, &runnable), MOON_OK);
        moon_run *run;
        moon_run_options options = {.size = sizeof options, .input = "x"};
        assert_int_equal(moon_run_start(&run, host->runtime, runnable, &options, &host->error), MOON_OK);
        while (!moon_run_finished(run)) assert_int_equal(moon_runtime_step(host->runtime, 1000, NULL), MOON_OK);
        if (moon_run_result(run)->stop != rows[i].stop)
            fail_msg("%s: %s", rows[i].effects, moon_stop_text(moon_run_result(run)->stop));
        moon_run_unref(run);
        moon_runnable_unref(runnable);
    }
}

/* ---- the short form ---- */

static void test_schema__short_form(void **state) {
    static const struct {
        const char *params, *json; /* what the model is told, or part of the error */
    } rows[] = {
#define OBJECT(properties, required)                                                                                   \
    "{\"additionalProperties\":false,\"properties\":{" properties "}" required ",\"type\":\"object\"}"
        {"{}", OBJECT("", "")},
        {"{ a = 'string' }", OBJECT("\"a\":{\"type\":\"string\"}", ",\"required\":[\"a\"]")},
        {"{ a = 'string?' }", OBJECT("\"a\":{\"type\":\"string\"}", "")},
        {"{ a = 'integer', b = 'number', c = 'boolean', d = 'object', e = 'array', f = 'any' }",
         OBJECT("\"a\":{\"type\":\"integer\"},\"b\":{\"type\":\"number\"},\"c\":{\"type\":\"boolean\"},\"d\":{\"type\":"
                "\"object\"},\"e\":{\"type\":\"array\"},\"f\":{}",
                ",\"required\":[\"a\",\"b\",\"c\",\"d\",\"e\",\"f\"]")},
        {"{ l = { 'string' } }",
         OBJECT("\"l\":{\"items\":{\"type\":\"string\"},\"type\":\"array\"}", ",\"required\":[\"l\"]")},
        {"{ ['l?'] = { 'string' } }", OBJECT("\"l\":{\"items\":{\"type\":\"string\"},\"type\":\"array\"}", "")},
        {"{ l = { { x = 'integer' } } }",
         OBJECT(
             "\"l\":{\"items\":" OBJECT("\"x\":{\"type\":\"integer\"}", ",\"required\":[\"x\"]") ",\"type\":\"array\"}",
             ",\"required\":[\"l\"]")},
        {"{ e = { enum = { 'a', 'b' } } }",
         OBJECT("\"e\":{\"enum\":[\"a\",\"b\"],\"type\":\"string\"}", ",\"required\":[\"e\"]")},
        {"{ e = { enum = { 1, 'b' }, description = 'x' } }",
         OBJECT("\"e\":{\"description\":\"x\",\"enum\":[1,\"b\"]}", ",\"required\":[\"e\"]")},
        {"{ o = { p = { q = 'string?' } } }",
         OBJECT("\"o\":" OBJECT("\"p\":" OBJECT("\"q\":{\"type\":\"string\"}", ""), ",\"required\":[\"p\"]"),
                ",\"required\":[\"o\"]")},
        /* the long form, whole and in part */
        {"{ type = 'object', properties = { a = { type = 'string' } } }",
         "{\"properties\":{\"a\":{\"type\":\"string\"}},\"type\":\"object\"}"},
        {"{ type = 'object' }", "{\"type\":\"object\"}"},
        {"{ a = { type = 'string', description = 'what' } }",
         OBJECT("\"a\":{\"description\":\"what\",\"type\":\"string\"}", ",\"required\":[\"a\"]")},
        {"{ a = { type = 'string' } }", OBJECT("\"a\":{\"type\":\"string\"}", ",\"required\":[\"a\"]")},
        {"{ a = { type = { 'string', 'null' } } }",
         OBJECT("\"a\":{\"type\":[\"string\",\"null\"]}", ",\"required\":[\"a\"]")},
        {"{ a = { type = 'integer', minimum = 1 } }",
         OBJECT("\"a\":{\"minimum\":1,\"type\":\"integer\"}", ",\"required\":[\"a\"]")},
        {"{ a = { anyOf = { { type = 'string' }, { type = 'integer' } } } }",
         OBJECT("\"a\":{\"anyOf\":[{\"type\":\"string\"},{\"type\":\"integer\"}]}", ",\"required\":[\"a\"]")},
        /* a field that is called "type" */
        {"{ type = 'string' }", OBJECT("\"type\":{\"type\":\"string\"}", ",\"required\":[\"type\"]")},
        {"{ type = 'string', title = 'string' }",
         OBJECT("\"title\":{\"type\":\"string\"},\"type\":{\"type\":\"string\"}",
                ",\"required\":[\"title\",\"type\"]")},
        {"{ o = { type = 'string', name = 'string' } }",
         OBJECT("\"o\":" OBJECT("\"name\":{\"type\":\"string\"},\"type\":{\"type\":\"string\"}",
                                ",\"required\":[\"name\",\"type\"]"),
                ",\"required\":[\"o\"]")},
        {"{ o = { type = 'string', title = 'string' } }",
         OBJECT("\"o\":" OBJECT("\"title\":{\"type\":\"string\"},\"type\":{\"type\":\"string\"}",
                                ",\"required\":[\"title\",\"type\"]"),
                ",\"required\":[\"o\"]")},
        /* what is none */
        {"{ a = 'strin' }", "moon.tool: params.a: unknown type \"strin\""},
        {"{ a = 5 }", "params.a: a type is a name or a table, not a number"},
        {"{ a = { 'string', 'integer' } }", "params.a: a list type has exactly one element"},
        {"{ a = { 'string', x = 'integer' } }", "params.a: a list type has exactly one element"},
        {"{ a = { enum = {} } }", "params.a: enum must be a list of values"},
        {"{ a = { b = { 'strin' } } }", "params.a.b[]: unknown type \"strin\""},
        {"{ 'string' }", "params: a field without a name"},
        {"{ a = { [true] = 'string' } }", "params.a: a field without a name"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[1024];
        snprintf(text, sizeof text,
                 "local t = moon.tool { name = 't', description = 'd', params = %s, call = print } "
                 "return moon.agent { tools = { t }, model = moon.model.script(function(r) return "
                 "moon.json.encode(r.tools[1].params) end) }:run('x')",
                 rows[i].params);
        lua_result r = lua_eval(*state, text);
        if (rows[i].json[0] == '{' ? strcmp(r.text, rows[i].json) != 0 : !strstr(r.error, rows[i].json))
            fail_msg("%s\n%s\n%s %s", rows[i].params, rows[i].json, r.text, r.error);
    }
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
        TEST(test_tool_call__results),
        TEST(test_tool_call__arguments),
        TEST(test_tool_call__progress_and_traceback),
        TEST(test_tool_call__ctx_is_dead_afterwards),
        TEST(test_tool__record),
        TEST(test_tool__effects_decide_who_is_asked),
        TEST(test_schema__short_form),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
