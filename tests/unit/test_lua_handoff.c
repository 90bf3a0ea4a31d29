/* SPDX-License-Identifier: MIT */
/* Handoffs of moon.agent: who answers, what they are told, which rules hold, and where it ends. */
#include "lua_host.h"

/* say(name, …) is a model that gives these answers in order; to(name, message) a call that hands over. told(r) is a
 * request's messages in one line. */
static const char PRELUDE[] =
    "local moon = require 'moonlet' "
    "local function to(name, message) return { name = 'transfer_to_' .. name, arguments = { message = message } } end "
    "local function say(...) return moon.model.script { ... } end "
    "local function told(r) local out = {} for i, m in ipairs(r.messages) do out[i] = m.role .. ':' .. m.content end "
    "return table.concat(out, '|') end "
    "local function tell() return moon.model.script(told) end ";

static lua_result play(lua_host *host, const char *body) {
    size_t n = sizeof PRELUDE + strlen(body);
    char *text = malloc(n);
    assert_non_null(text);
    snprintf(text, n, "%s%s", PRELUDE, body);
    lua_result r = lua_run(host, text, "go");
    free(text);
    return r;
}

static void seen(lua_host *host, moon_run *run, const moon_event *event) {
    (void)run;
    if (event->type == MOON_EVENT_HANDOFF || event->type == MOON_EVENT_TOOL_RESULT)
        moon__buf_printf(&host->log, "%s %s\n", moon_event_type_text(event->type), event->body);
}

static void test_lua_handoff__the_conversation_goes_on(void **state) {
    lua_host *host = *state;
    host->on_event = seen;
    lua_result r =
        play(host, "local writer = moon.agent { name = 'writer', description = 'Writes well.', instructions = 'W', "
                   "tools = {}, model = tell() } "
                   "return moon.agent { name = 'triage', instructions = 'T', tools = {}, handoffs = { writer }, "
                   "model = moon.model.script(function(r) return { text = r.tools[1].description, tool_calls = { "
                   "to('writer', 'short') } } end) }");
    assert_int_equal(r.stop, MOON_STOP_DONE);
    assert_string_equal(r.text, "system:W|user:go|assistant:Hands this conversation over to writer, who goes on with "
                                "it in your place. writer: Writes well.|tool:The conversation goes on with writer.");
    assert_contains(r.log, "tool.result {\"call\":\"c1\",\"tool\":\"transfer_to_writer\",\"ok\":true");
    assert_contains(r.log, "handoff {\"from\":\"triage\",\"to\":\"writer\"");
    assert_string_equal(moon_run_result(host->run)->agent, "writer");
    assert_int_equal(r.usage.steps, 2);
    host->on_event = NULL;
}

static void test_lua_handoff__filters(void **state) {
    static const struct {
        const char *label, *filter, *told;
    } rows[] = {
        {"all", "'all'",
         "user:go|assistant:I look|tool:found|assistant:over to you|tool:The conversation goes on with b."},
        {"texts", "'texts'",
         "user:go|assistant:I look|assistant:over to you|user:[a has handed this conversation over to you: be kind]"},
        {"last", "'last'", "user:go\n\n[a has handed this conversation over to you: be kind]"},
        {"none", "'none'", "user:[a has handed this conversation over to you: be kind]"},
        {"function",
         "function(m) return { m[1], { role = 'user', content = #m .. m[2].tool_calls[1].arguments.at } } end",
         "user:go|user:5here"},
        {"function that keeps all", "function(m) return m end",
         "user:go|assistant:I look|tool:found|assistant:over to you|tool:The conversation goes on with b."},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char body[2048];
        snprintf(
            body, sizeof body,
            "local b = moon.agent { name = 'b', tools = {}, model = tell() } "
            "local look = moon.tool { name = 'look', description = 'd', params = { at = 'string' }, effects = { "
            "read_only = true }, call = function() return 'found' end } "
            "return moon.agent { name = 'a', instructions = 'A', tools = { look }, handoffs = { { agent = b, filter "
            "= %s } }, model = say({ text = 'I look', tool_calls = { { name = 'look', arguments = { at = 'here' } } "
            "} }, { text = 'over to you', tool_calls = { to('b', 'be kind') } }) }",
            rows[i].filter);
        lua_result r = play(*state, body);
        if (strcmp(r.text, rows[i].told) != 0) fail_msg("%s: \"%s\" \"%s\"", rows[i].label, r.text, r.error);
    }
}

static void test_lua_handoff__filters_that_fail_end_the_run(void **state) {
    static const struct {
        const char *label, *filter, *error;
    } rows[] = {
        {"nothing", "function() end", "must return a list of messages, not nothing"},
        {"empty", "function() return {} end", "it leaves no message"},
        {"raises", "function() error('no way') end", "no way"},
        {"its line", "function() error('no way') end", ".lua:1"},
        {"waits", "function() moon.sleep(1) end", "a filter answers at once"},
        {"a role", "function() return { { role = 'system', content = 'x' } } end", "role must be"},
        {"no table", "function() return { 'x' } end", "messages[1]"},
        {"an answer to nothing", "function(m) return { m[1], m[3] } end", "answers no tool call"},
        {"a call without answer", "function(m) return { m[1], m[2] } end", "not all been answered"},
        {"a call without answer in between", "function(m) return { m[2], m[1] } end", "not all been answered"},
        {"content", "function(m) return { { role = 'user', content = {} } } end", "are strings"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char body[1024];
        snprintf(body, sizeof body,
                 "local b = moon.agent { name = 'b', tools = {}, model = tell() } "
                 "return moon.agent { name = 'a', tools = {}, handoffs = { { agent = b, filter = %s } }, "
                 "model = say({ tool_calls = { to('b') } }) }",
                 rows[i].filter);
        lua_result r = play(*state, body);
        if (r.stop != MOON_STOP_FAILED || !strstr(r.error, rows[i].error) || !strstr(r.error, "the handoff to b"))
            fail_msg("%s: \"%s\" \"%s\"", rows[i].label, r.text, r.error);
    }
}

static void test_lua_handoff__every_call_has_one_answer(void **state) {
    lua_result r =
        play(*state, "local b, c = moon.agent { name = 'b', tools = {}, model = tell() }, moon.agent { name = 'c', "
                     "tools = {}, model = tell() } "
                     "local t = moon.tool { name = 't', description = 'd', effects = { read_only = true }, call = "
                     "function() return 'T' end } "
                     "return moon.agent { name = 'a', tools = { t }, handoffs = { b, c }, model = say({ tool_calls = { "
                     "to('c'), { name = 't' }, to('b'), { name = 'none' } } }) }");
    assert_string_equal(r.error, "");
    assert_contains(r.text, "user:go|assistant:|tool:The conversation goes on with c.|tool:T|tool:the conversation was "
                            "handed over by transfer_to_c already|tool:there is no tool named \"none\"");
    assert_string_equal(moon_run_result(((lua_host *)*state)->run)->agent, "c");
}

/* Two agents that list each other, with the limits of each. */
static const char CIRCLE[] =
    "local b local a = moon.agent { name = 'a', tools = {}, handoffs = { function() return b end }, limits = { %s }, "
    "model = moon.model.script(function(r) return { tool_calls = { to('b', 'a' .. r.step) } } end) } "
    "b = moon.agent { name = 'b', tools = {}, handoffs = { a }, limits = { %s }, "
    "model = moon.model.script(function(r) if r.step == %d then return 'b' .. r.step end "
    "return { tool_calls = { to('a', 'b' .. r.step) } } end) } return a";

static void test_lua_handoff__circles_end(void **state) {
    static const struct {
        const char *label, *a, *b;
        int ends;
        moon_stop stop;
        const char *text, *error;
    } rows[] = {
        {"in time", "", "", 5, MOON_STOP_DONE, "b5", ""},
        {"never", "", "", 0, MOON_STOP_HANDOFFS, "",
         "the limit of 10 handoffs is reached: b \xe2\x86\x92 a \xe2\x86\x92 b"},
        {"a limit", "handoffs = 3", "", 0, MOON_STOP_HANDOFFS, "",
         "the limit of 3 handoffs is reached: a \xe2\x86\x92 b "
         "\xe2\x86\x92 a"},
        {"none", "handoffs = 0", "", 0, MOON_STOP_HANDOFFS, "", "the limit of 0 handoffs is reached: a \xe2\x86\x92 b"},
        {"the other's counts from where it takes over", "", "handoffs = 0", 0, MOON_STOP_HANDOFFS, "",
         "the limit of 1 handoff is reached: a \xe2\x86\x92 b \xe2\x86\x92 a"},
        {"steps of the other", "", "steps = 1", 2, MOON_STOP_DONE, "b2", ""},
        {"steps of both", "steps = 3", "", 3, MOON_STOP_STEPS, "", "the limit of 3 steps is reached"},
        {"steps of the other, used up", "", "steps = 0", 1, MOON_STOP_STEPS, "", "the limit of 1 step is reached"},
        {"tool calls", "", "tool_calls = 1", 3, MOON_STOP_DONE, "b3", ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char body[1024];
        snprintf(body, sizeof body, CIRCLE, rows[i].a, rows[i].b, rows[i].ends);
        lua_result r = play(*state, body);
        if (r.stop != rows[i].stop || strcmp(r.text, rows[i].text) != 0 || !strstr(r.error, rows[i].error))
            fail_msg("%s: %s \"%s\" \"%s\"", rows[i].label, moon_stop_text(r.stop), r.text, r.error);
    }
}

static void test_lua_handoff__answers_in_order_are_each_agents_own(void **state) {
    lua_result r =
        play(*state, "local b local a = moon.agent { name = 'a', tools = {}, handoffs = { function() return b end }, "
                     "model = say({ tool_calls = { to('b') } }, { tool_calls = { to('b') } }) } "
                     "b = moon.agent { name = 'b', tools = {}, handoffs = { { agent = a, filter = 'last' } }, "
                     "model = say({ tool_calls = { to('a') } }, 'second of b', 'third of b') } return a");
    assert_string_equal(r.error, "");
    assert_string_equal(r.text, "second of b");
}

static void test_lua_handoff__the_other_ones_rules_hold(void **state) {
    static const struct {
        const char *label, *fields, *text, *error;
    } rows[] = {
        {"output", "output = { n = 'integer' }, model = say('{\"n\":\"x\"}', '{\"n\": 3}')", "{\"n\":3}", ""},
        {"output, never", "output = { n = 'integer' }, model = say('1', '2', '3')", "3",
         "does not fit the output schema"},
        {"tools", "tools = {}, model = moon.model.script(function(r) return tostring(#r.tools) end)", "0", ""},
        {"plan",
         "plan = true, tools = { t }, model = moon.model.script(function(r) if r.step == 1 then return { "
         "tool_calls = { { name = 't' } } } end return r.messages[#r.messages].content end)",
         "write your plan first: call the tool plan with the steps you are going to take", ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char body[1024];
        snprintf(
            body, sizeof body,
            "local t = moon.tool { name = 't', description = 'd', call = function() return 'T' end } "
            "local b = moon.agent { name = 'b', %s } "
            "return moon.agent { name = 'a', tools = {}, output = { z = 'string' }, handoffs = { b }, model = say({ "
            "tool_calls = { to('b') } }) }",
            rows[i].fields);
        lua_result r = play(*state, body);
        if (strcmp(r.text, rows[i].text) != 0 || !strstr(r.error, rows[i].error))
            fail_msg("%s: \"%s\" \"%s\"", rows[i].label, r.text, r.error);
    }
    lua_result r =
        play(*state, "local t = moon.tool { name = 't', description = 'd', call = function() return 'T' end } "
                     "local b = moon.agent { name = 'b', tools = { t }, policy = { t = 'deny' }, model = "
                     "moon.model.script(function(r) if r.step == 1 then return { tool_calls = { { name = 't' } "
                     "} } end return r.messages[#r.messages].content end) } return moon.agent { name = 'a', "
                     "tools = {}, handoffs = { b }, model = say({ tool_calls = { to('b') } }) }");
    assert_contains(r.text, "t was refused by policy");
}

static void test_lua_handoff__run_tells_who_answered(void **state) {
    static const char agents[] = "local function triage(model) local b = moon.agent { name = 'b', tools = {}, output = "
                                 "{ n = 'integer' }, model = "
                                 "model } return moon.agent { name = 'a', tools = {}, handoffs = { b }, model = say({ "
                                 "tool_calls = { to('b') } }) } "
                                 "end return function() %s end";
    static const struct {
        const char *body, *text;
    } rows[] = {
        {"local answer, _, who = triage(say '{\"n\":4}'):run 'x' return type(answer) .. answer.n .. who", "table4b"},
        {"local answer, err = triage(moon.model.script(function() error 'x' end)):run 'x' return tostring(answer) .. "
         "err.agent .. err.stop",
         "nilbfailed"},
        {"return select('#', moon.agent { tools = {}, model = say 'x' }:run 'x')", "1"},
        {"local a = moon.agent { name = 'a', tools = {}, handoffs = { moon.agent { name = 'b' } }, model = say 'mine' "
         "} "
         "local answer, _, who = a:run 'x' return answer .. who",
         "minea"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char body[1024];
        snprintf(body, sizeof body, agents, rows[i].body);
        lua_result r = play(*state, body);
        if (strcmp(r.text, rows[i].text) != 0) fail_msg("%s: \"%s\" \"%s\"", rows[i].body, r.text, r.error);
    }
}

static void test_lua_handoff__mistakes_are_told_at_once(void **state) {
    static const struct {
        const char *field, *error;
    } rows[] = {
        {"'writer'", "handoffs must be a list"},
        {"{ 'writer' }", "handoffs[1]: a string is no agent"},
        {"{ b = b }", "handoffs must be a list"},
        {"{ { agent = b, filtre = 'all' } }", "did you mean \"filter\""},
        {"{ { agent = b, filter = 'some' } }", "filter must be a function, \"all\""},
        {"{ { filter = 'all' } }", "handoffs[1]: a nil is no agent"},
        {"{ { agent = b, name = 1 } }", "name must be a string"},
        {"{ { agent = b, name = 'a b' } }", "is no tool name"},
        {"{ b, b }", "two tools named transfer_to_b; give the handoff to b a name of its own"},
    };
    lua_host *host = *state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        moon_runnable *runnable = NULL;
        char text[512];
        snprintf(
            text, sizeof text,
            "local moon = require 'moonlet' local b = moon.agent { name = 'b' } return moon.agent { handoffs = %s }",
            rows[i].field);
        assert_int_not_equal(lua_load(host, text, &runnable), MOON_OK);
        if (!strstr(host->error.text, rows[i].error)) fail_msg("%s: \"%s\"", rows[i].field, host->error.text);
    }
}

static void test_lua_handoff__late_agents_are_looked_up_before_the_first_run(void **state) {
    static const struct {
        const char *label, *field, *error;
    } rows[] = {
        {"no agent", "function() return 1 end", "the function gave a number instead of an agent"},
        {"raises", "function() error 'where is it' end", "handoffs[1]: "},
        {"itself", "function() return a end", "agent a cannot hand over to itself"},
        {"waits", "function() moon.sleep(1) end", "moon.sleep"},
    };
    lua_host *host = *state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[512];
        moon_runnable *runnable = NULL;
        moon_run *run = NULL;
        moon_run_options options = {.size = sizeof options, .input = "go"};
        snprintf(text, sizeof text,
                 "local moon = require 'moonlet' local a a = moon.agent { name = 'a', tools = {}, handoffs = { %s } } "
                 "return a",
                 rows[i].field);
        assert_int_equal(lua_load(host, text, &runnable), MOON_OK);
        assert_int_not_equal(moon_run_start(&run, host->runtime, runnable, &options, &host->error), MOON_OK);
        if (!strstr(host->error.text, rows[i].error)) fail_msg("%s: \"%s\"", rows[i].label, host->error.text);
        moon_runnable_unref(runnable);
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
        TEST(test_lua_handoff__the_conversation_goes_on),
        TEST(test_lua_handoff__filters),
        TEST(test_lua_handoff__filters_that_fail_end_the_run),
        TEST(test_lua_handoff__every_call_has_one_answer),
        TEST(test_lua_handoff__circles_end),
        TEST(test_lua_handoff__answers_in_order_are_each_agents_own),
        TEST(test_lua_handoff__the_other_ones_rules_hold),
        TEST(test_lua_handoff__run_tells_who_answered),
        TEST(test_lua_handoff__mistakes_are_told_at_once),
        TEST(test_lua_handoff__late_agents_are_looked_up_before_the_first_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
