/* SPDX-License-Identifier: MIT */
/* What a script can and cannot do in its state: libraries, limits, globals. */
#include "lua_host.h"

typedef struct row {
    const char *label, *body, *text, *error; /* text: the result; or part of the error */
} row;

static void check(lua_host *host, const row *rows, size_t n) {
    for (size_t i = 0; i < n; i++) {
        lua_result r = lua_eval(host, rows[i].body);
        if (rows[i].error ? !strstr(r.error, rows[i].error)
                          : r.stop != MOON_STOP_DONE || strcmp(r.text, rows[i].text) != 0)
            fail_msg("%s: got \"%s\", error \"%s\"", rows[i].label, r.text, r.error);
    }
}

#define CHECK(rows) check(*state, rows, sizeof(rows) / sizeof(rows)[0])

static void test_sandbox__libraries_by_allow_list(void **state) {
    static const row rows[] = {
        {"no io", "return tostring(io)", "nil", NULL},
        {"no os", "return tostring(os)", "nil", NULL},
        {"no debug", "return tostring(debug)", "nil", NULL},
        {"no package", "return tostring(package)", "nil", NULL},
        {"no dofile", "return tostring(dofile)", "nil", NULL},
        {"no loadfile", "return tostring(loadfile)", "nil", NULL},
        {"no collectgarbage", "return tostring(collectgarbage)", "nil", NULL},
        {"no warn", "return tostring(warn)", "nil", NULL},
        {"no string.dump", "return tostring(string.dump)", "nil", NULL},
        {"string", "return ('x'):rep(3, '-') .. string.format('%05.1f %s %q %%', 2.25, true, 'a')",
         "x-x-x002.2 true \"a\" %", NULL},
        {"table",
         "local t = { 3, 1, 2 } table.sort(t) table.insert(t, 1, 0) table.remove(t) return table.concat(t, ',')",
         "0,1,2", NULL},
        {"table.move", "return table.concat(table.move({ 1, 2, 3 }, 2, 3, 1), ',')", "2,3,3", NULL},
        {"table.unpack", "return select('#', table.unpack({ 1, 2, 3 })) .. ''", "3", NULL},
        {"utf8", "return utf8.char(233, 128512) .. utf8.len('é')", "é😀1", NULL},
        {"math", "return math.tointeger(3.0) .. math.type(1.5)", "3float", NULL},
        {"errors name the function", "table.concat(nil)", NULL, "bad argument #1 to 'concat'"},
        {"errors say where", "\nstring.format('%d', 'x')", NULL, ".lua:2: bad argument #2 to 'format'"},
    };
    CHECK(rows);
}

static void test_sandbox__locks(void **state) {
    static const row rows[] = {
        {"__gc", "setmetatable({}, { __gc = print })", NULL, "finalizers"},
        {"__gc with a hidden metatable", "setmetatable({}, setmetatable({ __gc = 1 }, { __index = {} }))", NULL,
         "finalizers"},
        {"setmetatable", "return getmetatable(setmetatable({}, { __index = { 7 } })).__index[1] .. ''", "7", NULL},
        {"string metatable", "return getmetatable('')", "locked", NULL},
        {"globals' metatable", "return getmetatable(_G)", "locked", NULL},
        {"globals' metatable stays", "setmetatable(_G, {})", NULL, "protected metatable"},
        {"arrays do not replace it", "moon.json.array(_G)", NULL, "metatable already"},
        {"agents' metatable", "return getmetatable(moon.agent { tools = {} })", "locked", NULL},
        {"no address of a table", "return tostring({}) .. tostring(print) .. tostring(coroutine.create(print))",
         "tablefunctionthread", NULL},
        {"no address by format", "return string.format('%s %s', {}, print)", "table function", NULL},
        {"no %p", "string.format('%p', {})", NULL, "'%p'"},
        {"no %p with a width", "string.format('%%p %-10p', {})", NULL, "'%p'"},
        {"%%p is no conversion", "return string.format('%%p%s', 1)", "%p1", NULL},
        {"__tostring", "return tostring(setmetatable({}, { __tostring = function() return 'me' end }))", "me", NULL},
        {"bytecode", "return load('\\27Lua')", NULL, "binary chunk"},
        {"bytecode whatever mode says", "return load('\\27Lua', 'x', 'b')", NULL, "binary chunk"},
        {"load", "return load('return ...')(4)", "4", NULL},
        {"load with pieces", "local n = 0 return load(function() n = n + 1 return ({ 'return ', '5' })[n] end)()", "5",
         NULL},
        {"load with an environment", "return load('return x', 'c', 't', { x = 'mine' })()", "mine", NULL},
        {"load without one", "return load('return type(string)')()", "table", NULL},
        {"load of too much", "return load((' '):rep(1048577))", NULL, "1 MiB"},
        {"load's errors have a name", "local _, e = load('x x', 'chunk') return e",
         "[string \"chunk\"]:1: syntax error near 'x'", NULL},
    };
    CHECK(rows);
}

static void test_sandbox__sizes(void **state) {
    static const row rows[] = {
        {"string.rep over the memory", "return ('x'):rep(1e10)", NULL, "resulting string too large"},
        {"string.rep of nothing", "return ('').rep('', 1e15) .. '.'", ".", NULL},
        {"memory", "local t = {} for i = 1, 1e9 do t[i] = { i } end", NULL,
         "not enough memory (a script may use 64 MiB)"},
        {"memory in one string", "local s = 'x' while true do s = s .. s end", NULL, "not enough memory"},
        {"memory error can be caught",
         "return tostring(pcall(function() local s = 'x' while true do s = s .. s end end))", "false", NULL},
        {"table.insert with __len", "table.insert(setmetatable({}, { __len = function() return 1 << 60 end }), 1, 1)",
         NULL, "__len"},
        {"table.concat with __len",
         "table.concat(setmetatable({}, { __len = function() return 1 << 60 end, __index = function() return '' end "
         "}))",
         NULL, "__len"},
        {"deep recursion", "local function f() return 1 + f() end f()", NULL, "not enough memory"},
        {"deep nesting of source", "load(('('):rep(100000))()", NULL, "nil"},
        {"deep coroutines", "local function f() return coroutine.wrap(f)() end f()", NULL, "C stack overflow"},
        {"too many results", "return table.unpack({}, 1, 1e8)", NULL, "too many results"},
    };
    CHECK(rows);
}

/* Each must end, and say why. */
static void test_sandbox__budget_cannot_be_swallowed(void **state) {
    static const row rows[] = {
        {"loop", "while true do end", NULL, "instruction budget"},
        {"pcall", "while true do pcall(function() while true do end end) end", NULL, "instruction budget"},
        {"where it was spent", "local f = function()\nwhile true do end end\nwhile true do pcall(f) end", NULL,
         ".lua:2: instruction budget"},
        {"nested pcall", "local function f() pcall(f) while true do end end while true do pcall(f) end", NULL,
         "instruction budget"},
        {"xpcall with a handler that loops",
         "while true do xpcall(function() while true do end end, function() while true do end end) end", NULL,
         "instruction budget"},
        {"coroutines", "while true do pcall(coroutine.wrap(function() while true do end end)) end", NULL,
         "instruction budget"},
        {"many short coroutines", "while true do coroutine.resume(coroutine.create(function() end)) end", NULL,
         "instruction budget"},
        {"coroutine that yields on",
         "local f = coroutine.wrap(function() while true do coroutine.yield() end end) while true do f() end", NULL,
         "instruction budget"},
        {"__close",
         "local x <close> = setmetatable({}, { __close = function() while true do end end }) while true do end", NULL,
         "instruction budget"},
        {"__close in a coroutine",
         "coroutine.wrap(function() local x <close> = setmetatable({}, { __close = function() while true do end end }) "
         "while true do end end)()",
         NULL, "instruction budget"},
        {"__index",
         "local t = setmetatable({}, { __index = function(t, k) return t[k + 1] end }) while true do pcall(function() "
         "return t[1] end) end",
         NULL, "instruction budget"},
        {"error values", "while true do pcall(error) end", NULL, "instruction budget"},
        {"__tostring of the result", "return nil, setmetatable({}, { __tostring = function() while true do end end })",
         NULL, "instruction budget"},
        {"table.move", "table.move({}, 1, 1e15, 2)", NULL, "instruction budget"},
        {"sparse table", "local t = {} for i = 0, 52 do t[1 << i] = true end while true do table.insert(t, 1, 0) end",
         NULL, "instruction budget"},
        {"long strings", "local s = ('x'):rep(1 << 23) while true do local t = s:upper() end", NULL,
         "instruction budget"},
        {"goto", "::a:: pcall(error) goto a", NULL, "instruction budget"},
    };
    lua_host *host = *state;
    moon__scripts_limit(host->runtime, 0, 3000000);
    CHECK(rows);
    moon__scripts_limit(host->runtime, 0, 0);
}

static void test_sandbox__budget_is_per_slice(void **state) {
    lua_host *host = *state;
    moon__scripts_limit(host->runtime, 0, 1000000);
    lua_result r =
        lua_eval(host, "local a = moon.agent { tools = {}, model = moon.model.script(function() return 'x' end) } "
                       "for i = 1, 5 do for j = 1, 200000 do local x = j end assert(a:run('go')) end return 'ok'");
    assert_string_equal(r.error, "");
    assert_string_equal(r.text, "ok");
    moon__scripts_limit(host->runtime, 0, 0);
}

static void test_sandbox__a_state_survives_its_limits(void **state) {
    lua_host *host = *state;
    moon_runnable *runnable;
    moon__scripts_limit(host->runtime, 0, 2000000);
    assert_int_equal(
        lua_load(host,
                 "return function(input) if input == 'loop' then while true do end end "
                 "if input == 'eat' then local t = {} for i = 1, 1e7 do t[i] = { i } end end return 'fine' end",
                 &runnable),
        MOON_OK);
    static const char *const inputs[] = {"loop", "ok", "eat", "ok", "loop", "loop", "ok"};
    for (size_t i = 0; i < sizeof inputs / sizeof inputs[0]; i++) {
        lua_start(host, runnable, inputs[i]);
        lua_result r = lua_finish(host);
        assert_int_equal(r.stop, strcmp(inputs[i], "ok") == 0 ? MOON_STOP_DONE : MOON_STOP_FAILED);
    }
    moon_runnable_unref(runnable);
    moon__scripts_limit(host->runtime, 0, 0);
}

static void test_sandbox__globals_of_a_run_are_its_own(void **state) {
    lua_host *host = *state;
    moon_runnable *runnable;
    assert_int_equal(
        lua_load(
            host,
            "shared = 0 return function(input) local before = leaked leaked = input "
            "shared = shared + 1 return tostring(before) .. leaked .. shared .. tostring(rawget(_G, 'leaked')) end",
            &runnable),
        MOON_OK);
    lua_start(host, runnable, "a");
    assert_string_equal(lua_finish(host).text, "nila1nil");
    lua_start(host, runnable, "b");
    assert_string_equal(lua_finish(host).text, "nilb2nil");
    moon_runnable_unref(runnable);
}

static void test_sandbox__random_comes_from_the_runtime(void **state) {
    (void)state;
    char first[64];
    static const char body[] =
        "return string.format('%d %d %.5f', math.random(1000), math.random(-5, 5), math.random())";
    for (int i = 0; i < 2; i++) {
        lua_host *host = lua_new();
        lua_result r = lua_eval(host, body);
        if (i == 0)
            snprintf(first, sizeof first, "%s", r.text);
        else
            assert_string_equal(r.text, first); /* the same seed, the same numbers */
        assert_string_equal(
            lua_eval(
                host,
                "math.randomseed(42) local a = math.random(0) math.randomseed(42) return tostring(a == math.random(0))")
                .text,
            "true");
        assert_contains(lua_eval(host, "return math.random(2, 1)").error, "interval is empty");
        lua_free(host);
    }
}

static void test_sandbox__coroutines(void **state) {
    static const row rows[] = {
        {"wrap",
         "local s = '' for x in coroutine.wrap(function() for i = 1, 3 do coroutine.yield(i) end end) do s = s .. x "
         "end return s",
         "123", NULL},
        {"resume gives results",
         "local c = coroutine.create(function(a) local b = coroutine.yield(a + 1) return b * 2 end) "
         "local _, x = coroutine.resume(c, 1) local _, y = coroutine.resume(c, 5) return x .. y .. coroutine.status(c)",
         "210dead", NULL},
        {"an error is a result",
         "local ok, e = coroutine.resume(coroutine.create(function() error('no', 0) end)) return tostring(ok) .. e",
         "falseno", NULL},
        {"dead", "local c = coroutine.create(function() end) coroutine.resume(c) return select(2, coroutine.resume(c))",
         "cannot resume dead coroutine", NULL},
        {"itself",
         "local c c = coroutine.create(function() return coroutine.resume(c) end) return select(3, "
         "coroutine.resume(c))",
         "cannot resume non-suspended coroutine", NULL},
        {"wrap raises", "coroutine.wrap(function() error('inside') end)()", NULL, "inside"},
        {"error tables pass wrap", "local ok, e = pcall(coroutine.wrap(function() error({ 7 }) end)) return e[1] .. ''",
         "7", NULL},
        {"the run is no coroutine",
         "return tostring(coroutine.isyieldable()) .. tostring(select(2, coroutine.running()))", "falsetrue", NULL},
        {"yield outside", "coroutine.yield(1)", NULL, "outside a coroutine"},
        {"close",
         "local log = '' local c = coroutine.create(function() local x <close> = setmetatable({}, { __close = "
         "function() log = 'closed' end }) coroutine.yield() end) "
         "coroutine.resume(c) return tostring(coroutine.close(c)) .. log .. coroutine.status(c)",
         "truecloseddead", NULL},
        {"status",
         "local c c = coroutine.create(function() return coroutine.status(c) end) return coroutine.status(c) .. "
         "select(2, coroutine.resume(c))",
         "suspendedrunning", NULL},
    };
    CHECK(rows);
}

static int setup(void **state) {
    *state = lua_new();
    return 0;
}

static int teardown(void **state) {
    lua_free(*state);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_sandbox__libraries_by_allow_list, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sandbox__locks, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sandbox__sizes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sandbox__budget_cannot_be_swallowed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sandbox__budget_is_per_slice, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sandbox__a_state_survives_its_limits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sandbox__globals_of_a_run_are_its_own, setup, teardown),
        cmocka_unit_test(test_sandbox__random_comes_from_the_runtime),
        cmocka_unit_test_setup_teardown(test_sandbox__coroutines, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
