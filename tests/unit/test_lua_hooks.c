/* SPDX-License-Identifier: MIT */
/* Hooks of moon.agent: what each can see, change, refuse and answer, and how they fail. */
#include "lua_host.h"

/* An agent with these hooks: its model calls w(n = 1) and w(n = 2) in one message, and then tells all messages in one
 * line. w gives "W" and its n, and is allowed to be called with n up to 50. */
static lua_result play(lua_host *host, const char *hooks, const char *fields) {
    static const char form[] =
        "local moon = require 'moonlet' "
        "local helper = moon.agent { name = 'helper', tools = {}, model = moon.model.script(function(r) return 'helped "
        "' .. "
        "r.messages[1].content end) } "
        "local w = moon.tool { name = 'w', description = 'd', params = { n = { type = 'integer', maximum = 50 } }, "
        "effects "
        "= { read_only = true }, call = function(a) if a.n == 13 then return nil, 'unlucky' end return 'W' .. a.n end "
        "} "
        "local x = moon.tool { name = 'x', description = 'd', call = function() return 'X' end } "
        "return moon.agent { name = 'a', instructions = 'base', tools = { w, x }, hooks = { %s }, %s "
        "model = moon.model.script(function(r) if r.step == 1 then return { text = 'look', tool_calls = { { name = "
        "'w', "
        "arguments = { n = 1 } }, { name = 'w', arguments = { n = 2 } } } } end "
        "local out = { #r.tools .. ' tools' } for _, m in ipairs(r.messages) do out[#out + 1] = m.role:sub(1, 1) .. "
        "(m.is_error and '!' or '') .. ':' .. m.content end return table.concat(out, '|') end) }";
    size_t n = sizeof form + strlen(hooks) + strlen(fields);
    char *text = malloc(n);
    assert_non_null(text);
    snprintf(text, n, form, hooks, fields);
    lua_result r = lua_run(host, text, "go");
    free(text);
    return r;
}

#define PLAIN "2 tools|s:base|u:go|a:look|t:W1|t:W2"

static void test_lua_hooks__what_they_decide(void **state) {
    static const struct {
        const char *label, *hooks, *text;
    } rows[] = {
        {"none", "", PLAIN},
        {"pass",
         "before_model = function() end, after_model = function() return nil end, before_tool = function() return "
         "{} end, after_tool = function() return nil, nil end",
         PLAIN},
        /* before_model */
        {"instructions", "before_model = function(r) return { instructions = r.instructions .. r.step } end",
         "2 tools|s:base2|u:go|a:look|t:W1|t:W2"},
        {"instructions for one step",
         "before_model = function(r) if r.step == 1 then return { instructions = 'x' } end end", PLAIN},
        {"messages stay",
         "before_model = function(r) if r.step == 1 then return { messages = { { role = 'user', content = "
         "'and ' .. #r.messages } } } end end",
         "2 tools|s:base|u:go|u:and 1|a:look|t:W1|t:W2"},
        {"tools", "before_model = function(r) return { tools = { 'w' } } end", "1 tools|s:base|u:go|a:look|t:W1|t:W2"},
        {"no tools",
         "before_model = function(r) return { tools = {}, temperature = 0.5, top_p = 1, seed = 3, "
         "max_output_tokens = 9, reasoning_effort = 'low' } end",
         "0 tools|s:base|u:go|a:look|t!:there is no tool named \"w\". The tools are:|t!:there is no tool named \"w\". "
         "The "
         "tools are:"},
        {"answer", "before_model = function(r) return 'mine ' .. r.agent .. r.model .. #r.tools end",
         "mine ascripted2"},
        {"answer with calls",
         "before_model = function(r) if r.step == 1 then return { text = 'hm', tool_calls = { { name = 'w', arguments "
         "= { n "
         "= 7 } } } } end if r.step == 2 then return r.messages[3].content .. r.messages[2].tool_calls[1].id end end",
         "W7hook_1_1"},
        {"waits", "before_model = function(r) if r.step == 2 then return helper:run('me') end end", "helped me"},
        /* after_model */
        {"text", "after_model = function(a) if a.step == 2 then return a.text:sub(1, 7) .. a.finish .. a.model end end",
         "2 toolsstopscripted"},
        {"text and calls",
         "after_model = function(a) if a.step == 1 then return { text = 'less', tool_calls = { "
         "a.tool_calls[2] } } end end",
         "2 tools|s:base|u:go|a:less|t:W2"},
        {"other calls",
         "after_model = function(a) if a.step == 1 then return { tool_calls = { { name = 'w', arguments = "
         "'{\"n\": 5}' } } } end end",
         "2 tools|s:base|u:go|a:look|t:W5"},
        {"no calls", "after_model = function(a) return { tool_calls = {} } end", "look"},
        {"text alone keeps the calls", "after_model = function(a) if a.step == 1 then return 'hm' end end",
         "2 tools|s:base|u:go|a:hm|t:W1|t:W2"},
        /* before_tool */
        {"arguments", "before_tool = function(c) return { arguments = { n = c.arguments.n + 10 } } end",
         "2 tools|s:base|u:go|a:look|t:W11|t:W12"},
        {"refuse",
         "before_tool = function(c) if c.arguments.n == 1 then return nil, 'no ' .. c.tool .. c.id .. c.agent end end",
         "2 tools|s:base|u:go|a:look|t!:w was refused: no wc1a. Do not try it again; go on without it.|t:W2"},
        {"result",
         "before_tool = function(c) if c.arguments.n == 1 then return 'cached' end return { result = { n = 2 } } end",
         "2 tools|s:base|u:go|a:look|t:cached|t:{\"n\":2}"},
        {"result that is false", "before_tool = function(c) return { result = false } end",
         "2 tools|s:base|u:go|a:look|t:false|t:false"},
        {"waits in a tool hook",
         "before_tool = function(c) moon.sleep(0.001) return helper:run('c' .. c.arguments.n) end",
         "2 tools|s:base|u:go|a:look|t:helped c1|t:helped c2"},
        /* after_tool */
        {"result text", "after_tool = function(c, r) return r.text .. c.arguments.n .. tostring(r.ok) end",
         "2 tools|s:base|u:go|a:look|t:W11true|t:W22true"},
        {"withheld", "after_tool = function(c, r) if c.arguments.n == 2 then return nil, 'secret' end end",
         "2 tools|s:base|u:go|a:look|t:W1|t!:the result was withheld: secret"},
        {"not ok", "after_tool = function(c, r) return { text = 'bad', ok = false } end",
         "2 tools|s:base|u:go|a:look|t!:bad|t!:bad"},
        {"an error made good",
         "before_tool = function(c) return { arguments = { n = 13 } } end, after_tool = function(c, r) "
         "return { text = r.text .. c.arguments.n, ok = true } end",
         "2 tools|s:base|u:go|a:look|t:unlucky13|t:unlucky13"},
        {"not what was not made",
         "before_tool = function() return 'cached' end, after_tool = function() return 'seen' end",
         "2 tools|s:base|u:go|a:look|t:cached|t:cached"},
        {"changed arguments are seen after",
         "before_tool = function() return { arguments = { n = 9 } } end, after_tool = "
         "function(c) return 'n' .. c.arguments.n end",
         "2 tools|s:base|u:go|a:look|t:n9|t:n9"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        lua_result r = play(*state, rows[i].hooks, "");
        if (r.stop != MOON_STOP_DONE || strcmp(r.text, rows[i].text) != 0)
            fail_msg("%s: \"%s\" \"%s\"", rows[i].label, r.text, r.error);
    }
}

static void test_lua_hooks__what_ends_the_run(void **state) {
    static const struct {
        const char *label, *hooks;
        moon_stop stop;
        const char *error;
    } rows[] = {
        {"before_model refuses", "before_model = function() return nil, 'not today' end", MOON_STOP_REFUSED,
         "before_model of agent a refused: not today"},
        {"after_model refuses", "after_model = function() return false, { message = 'rude' } end", MOON_STOP_REFUSED,
         "after_model of agent a refused: rude"},
        {"raises", "before_model = function() error('boom') end", MOON_STOP_FAILED, "lua:1: boom"},
        {"its name", "before_model = function() error('boom') end", MOON_STOP_FAILED, "hook before_model ("},
        {"its agent", "after_tool = function() error('boom') end", MOON_STOP_FAILED, "lua:1) of agent a: "},
        {"a tool hook raises", "before_tool = function() local x = nil; return x.y end", MOON_STOP_FAILED,
         "attempt to index a nil value"},
        {"a number", "before_tool = function() return 5 end", MOON_STOP_FAILED, "must return nothing, a text, a table"},
        {"true", "after_model = function() return true end", MOON_STOP_FAILED, "must return nothing, a text, a table"},
        {"a list", "after_model = function() return { 'x' } end", MOON_STOP_FAILED,
         "must return nothing, a text, a table"},
        {"no JSON", "after_model = function() return { text = print } end", MOON_STOP_FAILED, "no JSON form"},
        {"a field", "before_model = function() return { instrutions = 'x' } end", MOON_STOP_FAILED,
         "did you mean \"instructions\""},
        {"answer and change", "before_model = function() return { text = 'x', tools = {} } end", MOON_STOP_FAILED,
         "an answer has no field \"tools\""},
        {"a tool that is not there", "before_model = function() return { tools = { 'y' } } end", MOON_STOP_FAILED,
         "the agent has no tool \"y\""},
        {"a role", "before_model = function() return { messages = { { role = 'assistant', content = 'x' } } } end",
         MOON_STOP_FAILED, "only messages of role \"user\""},
        {"a temperature", "before_model = function() return { temperature = 'hot' } end", MOON_STOP_FAILED,
         "temperature must be a number"},
        {"a call without a name", "after_model = function() return { tool_calls = { {} } } end", MOON_STOP_FAILED,
         "a tool call is a table"},
        {"an empty answer", "before_model = function() return '' end", MOON_STOP_FAILED, "empty answer"},
        {"arguments that do not fit", "before_tool = function() return { arguments = { n = 51 } } end",
         MOON_STOP_FAILED, "the arguments of w do not fit"},
        {"arguments and more", "before_tool = function() return { arguments = { n = 5 }, tool = 'x' } end",
         MOON_STOP_FAILED, "the arguments and nothing else"},
        {"a result and more", "after_tool = function() return { text = 'x', json = true } end", MOON_STOP_FAILED,
         "and nothing else"},
        {"a loop", "before_tool = function() while true do end end", MOON_STOP_FAILED, "instruction budget"},
        {"too long", "before_tool = function() moon.sleep(3600) end, timeout = 0.02", MOON_STOP_FAILED,
         "did not decide within 0.02 seconds"},
        {"too long, and swallows it",
         "before_model = function() pcall(moon.sleep, 3600) return 'x' end, timeout = 0.02", MOON_STOP_FAILED,
         "did not decide within 0.02 seconds"},
        {"on_event", "on_event = function(e) if e.type == 'tool.result' then error('seen') end end", MOON_STOP_FAILED,
         "hook on_event of agent a: "},
        {"on_event waits", "on_event = function(e) moon.sleep(1) end", MOON_STOP_FAILED, "on_event only observes"},
    };
    lua_host *host = *state;
    moon__scripts_limit(host->runtime, 0, 12000000);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        lua_result r = play(host, rows[i].hooks, "");
        if (r.stop != rows[i].stop || !strstr(r.error, rows[i].error))
            fail_msg("%s: %s \"%s\" \"%s\"", rows[i].label, moon_stop_text(r.stop), r.text, r.error);
    }
}

static void test_lua_hooks__policy_sees_what_will_be_done(void **state) {
    lua_result r =
        play(*state, "before_tool = function(c) return { arguments = { n = 3 } } end", "policy = { w = 'deny' },");
    assert_contains(r.text, "t!:w was refused by policy");
    /* What a hook answers is not done, and needs no leave. */
    r = play(*state, "before_tool = function(c) return 'cached' end", "policy = { w = 'deny' },");
    assert_contains(r.text, "t:cached|t:cached");
}

static void test_lua_hooks__events_are_seen_once(void **state) {
    lua_host *host = *state;
    lua_result r = play(host,
                        "before_tool = function(c) end, on_event = function(e, ctx) print(e.type, e.seq, e.body.call, "
                        "#ctx.run > 9, e.path) end",
                        "");
    assert_string_equal(r.text, PLAIN);
    assert_contains(r.log, "info:run.created\t1\tnil\ttrue\t\n");
    assert_contains(r.log, "info:hook.decided\t");
    assert_contains(r.log, "info:tool.result\t");
    assert_contains(r.log, "info:run.finished\t");
    assert_null(strstr(r.log, "info:log"));
    assert_null(strstr(r.log, "delta"));
}

static void test_lua_hooks__use_counts(void **state) {
    lua_result r = play(*state, "before_tool = function(c) helper:run 'x' end", "");
    assert_int_equal(r.usage.steps, 4);
    r = play(*state, "before_model = function(c) helper:run 'x' end", "limits = { steps = 2 },");
    assert_int_equal(r.stop, MOON_STOP_STEPS);
    /* A step that a hook answers is one too: a hook that never lets the model speak comes to an end. */
    r = play(*state,
             "before_model = function(c) return { tool_calls = { { name = 'w', arguments = { n = c.step } } } } end",
             "limits = { steps = 30 },");
    assert_int_equal(r.stop, MOON_STOP_STEPS);
}

static void test_lua_hooks__cancelled_while_a_hook_waits(void **state) {
    static const char *const hooks[] = {
        "before_model = function() moon.log.info('waiting') moon.sleep(3600) end",
        "after_model = function() moon.log.info('waiting') moon.sleep(3600) end",
        "before_tool = function() moon.log.info('waiting') moon.sleep(3600) end",
        "after_tool = function() moon.log.info('waiting') moon.sleep(3600) end",
        "before_tool = function() moon.log.info('waiting') helper:run 'x' moon.wait 'never' end",
    };
    lua_host *host = *state;
    for (size_t i = 0; i < sizeof hooks / sizeof hooks[0]; i++) {
        char text[1024];
        moon_runnable *runnable = NULL;
        snprintf(
            text, sizeof text,
            "local moon = require 'moonlet' local helper = moon.agent { tools = {}, model = moon.model.script { 'h' } "
            "} "
            "local w = moon.tool { name = 'w', description = 'd', call = function() return 'W' end } "
            "return moon.agent { tools = { w }, hooks = { %s }, model = moon.model.script { { tool_calls = { { name = "
            "'w' } } } } }",
            hooks[i]);
        assert_int_equal(lua_load(host, text, &runnable), MOON_OK);
        lua_start(host, runnable, "go");
        while (!host->log.p || !strstr(host->log.p, "waiting"))
            assert_int_equal(moon_runtime_step(host->runtime, 1000, NULL), 0);
        assert_int_equal(moon_runtime_step(host->runtime, 0, NULL), MOON_OK);
        moon_run_cancel(host->run);
        assert_int_equal(lua_finish(host).stop, MOON_STOP_INTERRUPTED);
        moon_runnable_unref(runnable);
    }
}

static void test_lua_hooks__the_runtime_ends_while_a_hook_waits(void **state) {
    (void)state;
    lua_host *host = lua_new();
    moon_runnable *runnable = NULL;
    assert_int_equal(lua_load(host,
                              "local moon = require 'moonlet' return moon.agent { tools = {}, hooks = { before_model = "
                              "function() moon.log.info('waiting') moon.sleep(3600) end } }",
                              &runnable),
                     MOON_OK);
    lua_start(host, runnable, "go");
    while (!host->log.p || !strstr(host->log.p, "waiting"))
        assert_int_equal(moon_runtime_step(host->runtime, 1000, NULL), 0);
    assert_int_equal(moon_runtime_step(host->runtime, 0, NULL), MOON_OK);
    moon_runnable_unref(runnable);
    lua_free(host);
}

static void test_lua_hooks__follow_the_conversation(void **state) {
    lua_result r =
        lua_run(*state,
                "local moon = require 'moonlet' local function hooks(name) return { before_tool = function(c) "
                "if c.tool == 'w' then return 'by ' .. name .. ' of ' .. c.agent end end, on_event = function(e) "
                "if e.type == 'model.response' then print(name, 'saw', e.type) end end } end "
                "local w = moon.tool { name = 'w', description = 'd', call = function() return 'W' end } "
                "local b = moon.agent { name = 'b', tools = { w }, hooks = hooks 'B', model = "
                "moon.model.script(function(r) if r.step == 1 then return { tool_calls = { { name = 'w' } } } end "
                "return r.messages[3].content .. ', ' .. r.messages[#r.messages].content end) } "
                "return moon.agent { name = 'a', tools = { w }, hooks = hooks 'A', handoffs = { b }, model = "
                "moon.model.script { { tool_calls = { { name = 'w' }, { name = 'transfer_to_b' } } } } }",
                "go");
    assert_string_equal(r.error, "");
    assert_string_equal(r.text, "by A of a, by B of b");
    assert_string_equal(r.log,
                        "info:A\tsaw\tmodel.response\ninfo:B\tsaw\tmodel.response\ninfo:B\tsaw\tmodel.response\n");
}

static void test_lua_hooks__see_calls_that_are_made_for_the_agent(void **state) {
    static const char hooks[] =
        "before_tool = function(c) if c.tool == 'w' then return nil, 'no ' .. c.tool .. ' for ' .. c.agent end end";
    static const struct {
        const char *label, *tools, *call;
    } rows[] = {
        {"code mode", "'lua', w",
         "{ name = 'lua', arguments = { script = \"local r, err = w {} return 'got ' .. "
         "tostring(r) .. tostring(err)\" } }"},
        {"a tool's tool",
         "moon.tool { name = 'v', description = 'd', call = function() local r, err = w:run {} return 'got ' .. "
         "tostring(r) .. tostring(err) end }",
         "{ name = 'v' }"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[1500];
        snprintf(
            text, sizeof text,
            "local moon = require 'moonlet' local w = moon.tool { name = 'w', description = 'd', call = function() "
            "return 'W' end } return moon.agent { name = 'a', tools = { %s }, hooks = { %s }, model = "
            "moon.model.script(function(r) if r.step == 1 then return { tool_calls = { %s } } end return "
            "r.messages[#r.messages].content end) }",
            rows[i].tools, hooks, rows[i].call);
        lua_result r = lua_run(*state, text, "go");
        if (!strstr(r.text, "got nil") || !strstr(r.text, "w was refused: no w for a"))
            fail_msg("%s: \"%s\" \"%s\"", rows[i].label, r.text, r.error);
    }
}

static void test_lua_hooks__mistakes_are_told_at_once(void **state) {
    static const struct {
        const char *field, *error;
    } rows[] = {
        {"function() end", "hooks must be a table"},
        {"{ before_modle = print }", "did you mean \"before_model\""},
        {"{ before_tool = 'x' }", "before_tool must be a function"},
        {"{ on_event = 1 }", "on_event must be a function"},
        {"{ timeout = 0 }", "timeout must be seconds"},
        {"{ timeout = '5' }", "timeout must be seconds"},
    };
    lua_host *host = *state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        moon_runnable *runnable = NULL;
        char text[256];
        snprintf(text, sizeof text, "return require 'moonlet'.agent { hooks = %s }", rows[i].field);
        assert_int_not_equal(lua_load(host, text, &runnable), MOON_OK);
        if (!strstr(host->error.text, rows[i].error)) fail_msg("%s: \"%s\"", rows[i].field, host->error.text);
    }
}

static int set_up(void **state) {
    *state = lua_new();
    return 0;
}
static int tear_down(void **state) {
    lua_free(*state);
    return 0;
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_lua_hooks__what_they_decide),
        TEST(test_lua_hooks__what_ends_the_run),
        TEST(test_lua_hooks__policy_sees_what_will_be_done),
        TEST(test_lua_hooks__events_are_seen_once),
        TEST(test_lua_hooks__use_counts),
        TEST(test_lua_hooks__cancelled_while_a_hook_waits),
        cmocka_unit_test(test_lua_hooks__the_runtime_ends_while_a_hook_waits),
        TEST(test_lua_hooks__follow_the_conversation),
        TEST(test_lua_hooks__see_calls_that_are_made_for_the_agent),
        TEST(test_lua_hooks__mistakes_are_told_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
