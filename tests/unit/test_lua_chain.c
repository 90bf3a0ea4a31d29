/* SPDX-License-Identifier: MIT */
/* moon.chain: what each combinator gives, what it refuses, where errors say they came from. */
#include "lua_host.h"

/* say(name): an agent that answers with its name and what it was asked. fail(name): one whose model fails. calls: how
 * many requests were made. */
#define AGENTS                                                                                                         \
    "local moon = require 'moonlet' local chain = moon.chain\n"                                                        \
    "local calls = 0\n"                                                                                                \
    "local m = moon.model.script(function(r) calls = calls + 1 return r.agent .. '<' .. "                              \
    "r.messages[#r.messages].content .. '>' end)\n"                                                                    \
    "local bad = moon.model.script(function() return nil, 'no luck' end)\n"                                            \
    "local function say(name) return moon.agent { name = name, model = m, tools = {} } end\n"                          \
    "local function fail(name) return moon.agent { name = name, model = bad, tools = {}, retries = 0 } end\n"          \
    "local a, b = say 'a', say 'b'\n"

typedef struct row {
    const char *label, *chain; /* an expression */
    const char *text;          /* of the result, or */
    const char *error;         /* part of the error */
} row;

static void check(lua_host *host, const row *rows, size_t n, const char *input) {
    for (size_t i = 0; i < n; i++) {
        char script[4096];
        snprintf(script, sizeof script, AGENTS "return %s", rows[i].chain);
        moon_runnable *runnable = NULL;
        if (lua_load(host, script, &runnable)) {
            if (!rows[i].error || !strstr(host->error.text, rows[i].error))
                fail_msg("%s: %s: %s", rows[i].label, host->error.where, host->error.text);
            continue;
        }
        lua_start(host, runnable, input);
        lua_result r = lua_finish(host);
        moon_runnable_unref(runnable);
        if (rows[i].error ? !strstr(r.error, rows[i].error) : strcmp(r.text, rows[i].text) != 0)
            fail_msg("%s: \"%s\" \"%s\"", rows[i].label, r.text, r.error);
    }
}

#define CHECK(rows, input) check(*state, rows, sizeof(rows) / sizeof(rows)[0], input)

static void test_chain__one_after_the_other(void **state) {
    static const row rows[] = {
        {"seq", "chain.seq { a, b }", "b<a<x>>", NULL},
        {"a function", "chain.seq { a, function(v) return { v } end, function(v) return v[1] .. '!' end }", "a<x>!",
         NULL},
        {"seq in seq", "chain.seq { chain.seq { a }, chain.seq { chain.seq { b } } }", "b<a<x>>", NULL},
        {"a table for an agent", "chain.seq { function(v) return { k = v } end, a }", "a<{\"k\":\"x\"}>", NULL},
        {"nothing", "chain.seq { function() end, function(v) return tostring(v) end }", "nil", NULL},
        {"refusal", "chain.seq { a, function() return nil, 'not this' end, b }", NULL, "seq[2]: not this"},
        {"false and why", "chain.seq { function() return false, 'no' end }", NULL, "seq[1]: no"},
        {"false", "chain.seq { function() return false end, tostring }", "false", NULL},
        {"raise", "chain.seq { a, chain.seq { function() error 'boom' end } }", NULL, "seq[2] > seq[1]: "},
        {"an agent fails", "chain.seq { a, fail 'f' }", NULL, "seq[2]: "},
        {"no steps", "chain.seq {}", NULL, "there are no steps"},
        {"a hole", "chain.seq { a, nil, b }", NULL, "step 2 is nil"},
        {"no step", "chain.seq { a, 12 }", NULL, "seq[2] is a number; a step is"},
        {"no chain", "chain.seq { a, { b } }", NULL, "seq[2] is a table; a step is"},
        {"misspelt", "chain.seq { a, nmae = 'x' }", NULL, "unknown field \"nmae\" (did you mean \"name\"?)"},
        {"no such script", "chain.seq { './none.lua' }", NULL, "no script"},
        {"no such agent", "chain.seq { 'brif' }", NULL, "did you mean \"brief\""},
        {"tap", "chain.seq { chain.tap(function(v) return 'lost' end), b }", "b<x>", NULL},
        {"loop", "chain.loop { function(v) return v .. '.' end, stop = function(v, _, n) return n == 3 end }", "x...",
         NULL},
        {"loop, too long", "chain.loop { a, stop = function() end, max = 2 }", NULL,
         "is not done after 2 rounds (max)"},
        {"loop, the last", "chain.loop { a, stop = function() end, max = 2, at_max = 'last' }", "a<a<x>>", NULL},
        {"loop, error", "chain.loop { function() error 'e' end, stop = function() end }", NULL, "loop[1] > loop[1]: "},
        {"loop without stop", "chain.loop { a }", NULL, "stop must be a function"},
        {"reduce",
         "chain.seq { function() return { 'p', 'q' } end, chain.reduce(function(t, i) return (t or '') .. i end) }",
         "pq", NULL},
        {"reduce by agent",
         "chain.seq { function() return { l = { 'p' } } end, chain.reduce(a, { over = 'l', init = 0 }) }",
         "a<{\"item\":\"p\",\"total\":0}>", NULL},
        {"reduce fails",
         "chain.seq { function() return { 1, 2 } end, chain.reduce(function(_, i) error('at ' .. i) end) }", NULL,
         "reduce[1]: "},
    };
    CHECK(rows, "x");
}

static void test_chain__one_of_several(void **state) {
    static const row rows[] = {
        {"route by function", "chain.route { by = function(v) return v end, x = a, y = b }", "a<x>", NULL},
        {"route by field", "chain.seq { function() return { k = 'y' } end, chain.route { by = 'k', x = a, y = b } }",
         "b<{\"k\":\"y\"}>", NULL},
        {"route by agent",
         "chain.route { by = moon.agent { tools = {}, model = moon.model.script(function() return ' x\\n' end) }, x = "
         "b }",
         "b<x>", NULL},
        {"default", "chain.route { by = function() return 'z' end, y = a, default = b }", "b<x>", NULL},
        {"no way", "chain.route { by = function() return 'z' end, y = a, w = b }", NULL,
         "there is no way for \"z\" (there are: w, y)"},
        {"no ways", "chain.route { by = 'k' }", NULL, "there are no ways"},
        {"no by", "chain.route { x = a }", NULL, "needs `by`"},
        {"branch", "chain.branch { { function(v) return v == 'y' end, a }, { function(v) return v == 'x' end, b } }",
         "b<x>", NULL},
        {"branch, none", "chain.branch { { function() end, a } }", "x", NULL},
        {"branch, default", "chain.branch { { function() end, a }, default = b }", "b<x>", NULL},
        {"branch, no case", "chain.branch { a }", NULL, "case 1 must be"},
    };
    CHECK(rows, "x");
}

static void test_chain__side_by_side(void **state) {
    static const row rows[] = {
        {"all by name", "chain.all { p = a, q = chain.seq { b, a } }", "{\"p\":\"a<x>\",\"q\":\"a<b<x>>\"}", NULL},
        {"all in a list", "chain.all { a, b, limit = 1 }", "[\"a<x>\",\"b<x>\"]", NULL},
        {"all fails", "chain.all { p = a, q = fail 'f' }", NULL, "all.q: "},
        {"all raises", "chain.all { p = a, q = function() error 'boom' end }", NULL, "all.q: "},
        {"all settles",
         "chain.seq { chain.all { p = a, q = function() return nil, 'no' end, settle = true }, function(v) "
         "return { v.p.ok, v.p.value, v.q.ok, v.q.error.message } end }",
         "[true,\"a<x>\",false,\"no\"]", NULL},
        {"each",
         "chain.seq { function() return { l = { 1, 2, 3 } } end, chain.each(function(v) return v * 2 end, { over = "
         "'l', limit = 2 }) }",
         "[2,4,6]", NULL},
        {"each of none", "chain.seq { function() return moon.json.array {} end, chain.each(a) }", "[]", NULL},
        {"each by agent", "chain.seq { function() return { 'p', 'q' } end, chain.each(a) }", "[\"a<p>\",\"a<q>\"]",
         NULL},
        {"each over a function", "chain.each(a, { over = function(v) return { v .. 1 } end })", "[\"a<x1>\"]", NULL},
        {"each over no list", "chain.each(a)", NULL, "each goes over a list, and its input is a string"},
        {"each over no field", "chain.each(a, { over = 'files' })", NULL, "the field \"files\" of its input is nil"},
        {"each fails",
         "chain.seq { function() return { 1, 2, 3 } end, chain.each(function(v) if v == 2 then error 'e' end "
         "return v end) }",
         NULL, "seq[2] > each[2]: "},
        {"each gives nil", "chain.seq { function() return { 1, 2 } end, chain.each(function() end) }", "[null,null]",
         NULL},
        {"limit", "chain.each(a, { limit = 0 })", NULL, "limit must be a number from 1 up"},
        {"race", "chain.race { fail 'f', chain.seq { a, b, a }, a }", "a<x>", NULL},
        {"race lost by all", "chain.race { fail 'f', function() return nil, 'no' end }", NULL, "race[2]: no"},
        {"vote", "chain.vote(a)", "a<x>", NULL},
        {"majority",
         "(function() local n = 0 return chain.vote(function() n = n + 1 return ({ 'p', 'Q', 'q.' })[n] end) end)()",
         "Q", NULL},
        {"tie: the first",
         "(function() local n = 0 return chain.vote(function() n = n + 1 return ({ 'z', 'a' })[n] end, { n = 2 }) "
         "end)()",
         "z", NULL},
        {"vote, some fail",
         "(function() local n = 0 return chain.vote(function() n = n + 1 if n < 3 then error 'e' end return 'k' end) "
         "end)()",
         "k", NULL},
        {"vote, all fail", "chain.vote(fail 'f')", NULL, "vote[1]: "},
        {"quorum", "(function() local n = 0 return chain.vote(function() n = n + 1 return n end, { min = 2 }) end)()",
         NULL, "the best answer has 1 of 3 votes"},
    };
    CHECK(rows, "x");
}

static void test_chain__again_instead_in_time(void **state) {
    static const row rows[] = {
        {"retry",
         "(function() local n = 0 return chain.retry(function(v) n = n + 1 if n < 3 then error 'e' end return n end) "
         "end)()",
         "3", NULL},
        {"retry, in vain", "chain.retry(function() return nil, 'no' end, { times = 2 })", NULL, "retry[2]: no"},
        {"retry when",
         "(function() local n = 0 return chain.retry(function() n = n + 1 return nil, 'e' .. n end, { when = "
         "function(err) return err.message ~= 'e2' end }) end)()",
         NULL, "retry[2]: e2"},
        {"fallback", "chain.fallback { fail 'f', function() error 'e' end, a }", "a<x>", NULL},
        {"fallback, in vain", "chain.fallback { fail 'f', function() return nil, 'no' end }", NULL, "fallback[2]: no"},
        {"timeout", "chain.timeout(a, { seconds = 30 })", "a<x>", NULL},
        {"timeout, over", "chain.timeout(function() moon.sleep(600) end, { seconds = 1 })", NULL, "timeout: "},
        {"timeout, no time", "chain.timeout(a, {})", NULL, "needs seconds"},
        {"cache",
         "(function() local c = chain.cache(a) return chain.seq { c, function() return 'x' end, c, function(v) return "
         "v "
         ".. calls end } end)()",
         "a<x>1", NULL},
        {"cache by key",
         "(function() local c = chain.cache(a, { key = function() return 1 end }) return chain.seq { c, function() "
         "return 'y' end, c } end)()",
         "a<x>", NULL},
    };
    CHECK(rows, "x");
}

static void test_chain__state(void **state) {
    static const row rows[] = {
        {"set and read", "chain.seq { function(v, ctx) ctx.state.k = v end, function(_, ctx) return ctx.state.k end }",
         "x", NULL},
        {"a branch sees it",
         "chain.seq { function(v, ctx) ctx.state.k = { v } end, chain.all { function(_, ctx) return "
         "ctx.state.k[1] end } }",
         "[\"x\"]", NULL},
        {"a branch writes",
         "chain.seq { chain.all { function(v, ctx) ctx.state.k = v end }, function(_, ctx) return ctx.state.k "
         "end }",
         "x", NULL},
        {"what is read is a copy",
         "chain.seq { function(v, ctx) ctx.state.k = { v } end, chain.all { function(_, ctx) "
         "ctx.state.k[1] = 'y' end }, function(_, ctx) return ctx.state.k[1] end }",
         "x", NULL},
        {"two branches", "chain.all { function(_, ctx) ctx.state.k = 1 end, function(_, ctx) ctx.state.k = 2 end }",
         NULL, "ctx.state.k was assigned by all[1] and by all[2]"},
        {"a reducer",
         "chain.seq { state = { k = 'append' }, chain.all { function(_, ctx) ctx.state.k = 1 end, function(_, ctx) "
         "ctx.state.k = { 2, 3 } end }, function(_, ctx) return ctx.state.k end }",
         "[1,2,3]", NULL},
        {"in the order of branches",
         "chain.seq { state = { k = 'append' }, chain.all { chain.seq { a, b, function(_, ctx) "
         "ctx.state.k = 'slow' end }, function(_, ctx) ctx.state.k = 'fast' end }, function(_, "
         "ctx) return ctx.state.k end }",
         "[\"slow\",\"fast\"]", NULL},
        {"a function",
         "chain.seq { state = { k = function(old, new) return (old or '') .. new end }, chain.all { function(_, ctx) "
         "ctx.state.k = 'p' end, function(_, ctx) ctx.state.k = 'q' end }, function(_, ctx) return ctx.state.k "
         "end }",
         "pq", NULL},
        {"max, merge, sum",
         "chain.seq { state = { m = 'max', t = 'merge', s = 'sum' }, function(_, ctx) ctx.state.m = 3 ctx.state.m "
         "= 1 ctx.state.t = { p = 1 } ctx.state.t = { q = 2 } ctx.state.s = 1 ctx.state.s = 2 return { "
         "ctx.state.m, ctx.state.t.p, ctx.state.t.q, ctx.state.s } end }",
         "[3,1,2,3]", NULL},
        {"what stays in its branch",
         "chain.seq { state = { k = 'local' }, function() return { 'p', 'q' } end, chain.each(chain.seq { function(v, "
         "ctx) "
         "ctx.state.k = v .. '!' end, function(_, ctx) return ctx.state.k end }), function(v, ctx) return { v[1], "
         "v[2], "
         "tostring(ctx.state.k) } end }",
         "[\"p!\",\"q!\",\"nil\"]", NULL},
        {"a reducer that throws",
         "chain.seq { state = { k = function() error 'bad' end }, chain.all { function(_, ctx) "
         "ctx.state.k = 1 end, function(_, ctx) ctx.state.k = 2 end } }",
         NULL, "bad"},
        {"no reducer", "chain.seq { a, state = { k = 'apend' } }", NULL, "state.k: a reducer is"},
        {"a failed attempt leaves nothing",
         "(function() local n = 0 return chain.seq { chain.retry(function(_, ctx) n = n + 1 "
         "ctx.state['k' .. n] = 1 if n < 2 then error 'e' end end), function(_, ctx) return "
         "{ tostring(ctx.state.k1), ctx.state.k2 } end } end)()",
         "[\"nil\",1]", NULL},
        {"what is no JSON", "chain.all { function(_, ctx) ctx.state.k = print end }", NULL,
         "ctx.state cannot be written"},
        {"pairs",
         "chain.seq { function(_, ctx) ctx.state.p, ctx.state.q = 1, 2 end, chain.all { function(_, ctx) ctx.state.r = "
         "3 "
         "ctx.state.p = nil local s = '' for k, v in pairs(ctx.state) do s = s .. k .. v end return s end } }",
         "[\"q2r3\"]", NULL},
    };
    CHECK(rows, "x");
}

static void test_chain__handles(void **state) {
    static const row rows[] = {
        {"run in a function", "function(x) return chain.seq { a, b }:run(x) end", "b<a<x>>", NULL},
        {"run with a table", "function(x) return chain.seq { function(v) return v.k end }:run { k = x } end", "x",
         NULL},
        {"run a function", "function(x) return moon.fn('f', function(v) return v .. '!' end):run(x) end", "x!", NULL},
        {"batch", "function() return a:batch({ 'p', 'q' }, { limit = 1 }) end", "[\"a<p>\",\"a<q>\"]", NULL},
        {"batch fails", "function() return fail('f'):batch({ 'p' }) end", NULL, "batch[1]: "},
        {"as a tool",
         "function() local t = chain.seq { a, b }:as_tool { name = 'both', description = 'd' } return t:run { input = "
         "'p' } end",
         "b<a<p>>", NULL},
        {"a tool",
         "function() local t = moon.tool { name = 't', description = 'd', params = { n = 'integer' }, effects = { "
         "read_only = "
         "true }, call = function(p) return { twice = p.n * 2 } end } return t:run { n = 4 }.twice end",
         "8", NULL},
        {"a tool's arguments",
         "function() local t = moon.tool { name = 't', description = 'd', params = { n = 'integer' }, call = "
         "print } return t:run { m = 4 } end",
         NULL, "n"},
        {"a chain among an agent's tools", "function() moon.agent { tools = { chain.seq { a } } } end", NULL,
         "tools[1] is a chain; what makes a tool of it is :as_tool"},
        {"no such tool", "function() return moon.tool 'git.lgo' end", NULL, "there is no tool \"git.lgo\""},
        {"with", "chain.seq { fail 'f', chain.all { fail 'g' } }:with { model = m }", "[\"g<f<x>>\"]", NULL},
        {"describe",
         "function() local d = chain.seq { a, chain.all { p = b, q = function() end } }:describe() return d.kind .. "
         "d.steps[1].name .. d.steps[2].kind .. d.steps[2].steps[1].label end",
         "seqaallall.p", NULL},
        {"stream",
         "function(x) local s, seen = chain.seq { a, b }:stream(x), {} for e in s do if e.type == 'model.delta' or "
         "e.type == "
         "'run.finished' then seen[#seen + 1] = e.path .. e.body.text end end return { seen, s:result() } end",
         "[[\"1.1a<x>\",\"1.1a<x>\",\"1.2b<a<x>>\",\"1.2b<a<x>>\",\"1b<a<x>>\"],\"b<a<x>>\"]", NULL},
        {"a stream that is not heard to its end",
         "function(x) local s = a:stream(x) s() local v = s:result() return v .. b:run(x) end", "a<x>b<x>", NULL},
        {"a stream that fails", "function(x) local s = fail('f'):stream(x) for _ in s do end return s:result() end",
         NULL, "no luck"},
        {"name", "function() return chain.seq { a, name = 'n' }.name .. a.name end", "na", NULL},
        {"the path", "function(_, ctx) return ctx.path .. '|' end", "|", NULL},
    };
    CHECK(rows, "x");
}

static void test_chain__deep_and_wide(void **state) {
    static const row rows[] = {
        {"1,000 deep in place", "(function() local c = a for i = 1, 1000 do c = chain.seq { c } end return c end)()",
         "a<x>", NULL},
        {"1,000 deep in branches", "(function() local c = a for i = 1, 1000 do c = chain.retry(c) end return c end)()",
         "a<x>", NULL},
        {"20,000 wide",
         "chain.seq { function() local l = {} for i = 1, 20000 do l[i] = i end return l end, chain.each(function(v) "
         "return v end), "
         "function(v) return #v end }",
         "20000", NULL},
    };
    CHECK(rows, "x");
}

static void test_chain__what_runs_wild(void **state) {
    static const row rows[] = {
        {"a loop in pcall", "chain.seq { a, function() while true do pcall(error) end end }", NULL, "seq[2]: "},
        {"which is told", "chain.seq { a, function() while true do pcall(error) end end }", NULL, "instruction budget"},
        {"in a coroutine",
         "chain.seq { a, chain.seq { function() coroutine.wrap(function() while true do end end)() end } }", NULL,
         "seq[2] > seq[1]: "},
        {"in a branch", "chain.all { p = a, q = function() while true do end end }", NULL, "all.q: "},
        {"memory", "chain.seq { a, function() local s = 'x' while true do s = s .. s end end }", NULL, "seq[2]: "},
        {"memory in a branch",
         "chain.all { function() local t = {} while true do t[#t + 1] = ('x'):rep(1e6) .. #t end end }", NULL,
         "all[1]: "},
        {"in a reducer",
         "chain.seq { state = { k = function() while true do end end }, function(_, ctx) ctx.state.k = 1 end }", NULL,
         "seq[1]: "},
        {"a value that is its own part", "chain.seq { a, function() local t = {} t[1] = t return t end, a }", NULL,
         "seq[3]: "},
        {"a value that is too deep",
         "chain.seq { function() local t = {} for i = 1, 100 do t = { t } end return t end, chain.all { a } }", NULL,
         "seq[2]: "},
        {"a loop in stop", "chain.loop { a, stop = function() while true do end end }", NULL, "loop[1]: "},
    };
    lua_host *host = *state;
    moon__scripts_limit(host->runtime, 0, 5000000);
    CHECK(rows, "x");
}

static void test_chain__the_siblings_of_a_failure_are_cancelled(void **state) {
    static const row rows[] = {
        {"all", "chain.all { function() moon.sleep(1000) end, function() error 'e' end }", NULL, "all[2]: "},
        {"race", "chain.race { function() moon.sleep(1000) end, a }", "a<x>", NULL},
    };
    CHECK(rows, "x");
}

static void test_chain__scripts_as_steps(void **state) {
    lua_host *host = *state;
    static const row rows[] = {
        {"beside it", "chain.seq { './inner.lua', a }", "a<inner x>", NULL},
        {"a branch", "chain.all { './inner.lua', './inner.lua' }", "[\"inner x\",\"inner x\"]", NULL},
        {"a circle", "chain.seq { './p.lua' }", NULL, "scripts load each other in a circle"},
        {"a broken one", "chain.seq { './broken.lua' }", NULL, "broken.lua"},
    };
    lua_file(host, "inner.lua", "return function(v) return 'inner ' .. v end");
    lua_file(host, "p.lua", "return require('moonlet').chain.seq { './q.lua' }");
    lua_file(host, "q.lua", "return require('moonlet').chain.seq { './p.lua' }");
    lua_file(host, "broken.lua", "return {");
    CHECK(rows, "x");
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
        TEST(test_chain__one_after_the_other),
        TEST(test_chain__one_of_several),
        TEST(test_chain__side_by_side),
        TEST(test_chain__again_instead_in_time),
        TEST(test_chain__state),
        TEST(test_chain__handles),
        TEST(test_chain__deep_and_wide),
        TEST(test_chain__what_runs_wild),
        TEST(test_chain__the_siblings_of_a_failure_are_cancelled),
        TEST(test_chain__scripts_as_steps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
