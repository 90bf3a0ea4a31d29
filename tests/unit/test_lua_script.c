/* SPDX-License-Identifier: MIT */
/* Loading scripts, functions as runnables, agent:run and its ends. */
#include "lua_host.h"

/* ---- loading ---- */

static void test_script__load_errors_say_where_and_what(void **state) {
    static const struct {
        const char *label, *text;
        moon_status status;
        const char *line, *part;
    } rows[] = {
        {"syntax", "local x = 1\nlocal = 2\n", MOON_ESCRIPT, ".lua:2", "<name> expected near '='"},
        {"unfinished", "return {", MOON_ESCRIPT, ".lua:1", "expected"},
        {"runtime error", "\n\nerror('broken')", MOON_ESCRIPT, ".lua:3", "broken"},
        {"traceback", "local function f() local x = nil; return x.y end\nlocal y = f()", MOON_ESCRIPT, ".lua:1",
         "stack traceback:\n\t"},
        {"error table", "error({ message = 'said so' })", MOON_ESCRIPT, ".lua:1", "said so"},
        {"error without text", "error(nil)", MOON_ESCRIPT, ".lua:1", "nil"},
        {"nothing", "local x = 1", MOON_ESCRIPT, "",
         "must return an agent, a chain, a tool, a function or a model; this one returns nothing"},
        {"a table", "return {}", MOON_ESCRIPT, "", "this one returns table"},
        {"a number", "return 1", MOON_ESCRIPT, "", "this one returns number"},
        {"loop", "while true do pcall(error) end", MOON_ELIMIT, ".lua:1", "instruction budget"},
        {"memory", "local s = 'x'\nwhile true do s = s .. s end", MOON_ELIMIT, ".lua:2", "not enough memory"},
        {"run at the top", "local a = require('moonlet').agent { tools = {} }\nreturn a:run('x')", MOON_ESCRIPT,
         ".lua:2", "agent:run cannot wait here"},
        {"misspelt field", "\nreturn require('moonlet').agent { instrutions = 'x' }", MOON_ESCRIPT, ".lua:2",
         "instructions"},
        {"unknown tool", "\n\nreturn require('moonlet').agent { tools = { 'file.raed' } }", MOON_ESCRIPT, ".lua:3",
         "file.raed"},
        {"a function as a field", "return require('moonlet').agent { instructions = print }", MOON_ESCRIPT, ".lua:1",
         "instructions: a function has no JSON form"},
        {"tools that are none", "return require('moonlet').agent { tools = { 1 } }", MOON_ESCRIPT, ".lua:1",
         "tools[1]: a number is no tool"},
        {"bad output", "return require('moonlet').agent { output = { x = 'strng' } }", MOON_ESCRIPT, ".lua:1",
         "output.x: unknown type \"strng\""},
    };
    lua_host *host = *state;
    moon__scripts_limit(host->runtime, 0, 5000000);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        moon_runnable *runnable = NULL;
        moon_status status = lua_load(host, rows[i].text, &runnable);
        if (status != rows[i].status || !strstr(host->error.text, rows[i].part) ||
            !strstr(host->error.where, rows[i].line))
            fail_msg("%s: %d at \"%s\": \"%s\"", rows[i].label, status, host->error.where, host->error.text);
        assert_null(runnable);
    }
}

static void test_script__files(void **state) {
    lua_host *host = *state;
    static const struct {
        const char *label, *bytes;
        size_t n;
        moon_status status;
        const char *part; /* of the result, or of the error */
    } rows[] = {
#define ROW(label, bytes, status, part) {label, bytes, sizeof(bytes) - 1, status, part}
        ROW("byte order mark", "\xEF\xBB\xBFreturn function() return 'bom' end", MOON_OK, "bom"),
        ROW("#! line", "#!/usr/bin/moonlet run\nreturn function() error('here') end", MOON_OK, "s.lua:2"),
        ROW("both", "\xEF\xBB\xBF#!x\nreturn function() return 'both' end", MOON_OK, "both"),
        ROW("bytecode", "\x1BLuaT\0", MOON_ESCRIPT, "compiled Lua"),
        ROW("bytecode after a #! line", "#!x\n\x1BLua", MOON_ESCRIPT, "near"),
        ROW("zero bytes", "return function() return 'a\0b' end", MOON_OK, "a"),
        ROW("empty", "", MOON_ESCRIPT, "returns nothing"),
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char path[160], name[16];
        moon_runnable *runnable;
        snprintf(name, sizeof name, "%zus.lua", i);
        lua_file_bytes(host, name, rows[i].bytes, rows[i].n);
        lua_path(host, name, path);
        moon_status status = moon_script_load(&runnable, host->runtime, path, &host->error);
        if (status != rows[i].status) fail_msg("%s: %d \"%s\"", rows[i].label, status, host->error.text);
        if (status) {
            assert_contains(host->error.text, rows[i].part);
            continue;
        }
        lua_start(host, runnable, "");
        lua_result r = lua_finish(host);
        if (!strstr(r.text, rows[i].part) && !strstr(r.error, rows[i].part))
            fail_msg("%s: \"%s\" \"%s\"", rows[i].label, r.text, r.error);
        moon_runnable_unref(runnable);
    }
}

static void test_script__files_that_are_none(void **state) {
    lua_host *host = *state;
    moon_runnable *runnable;
    char path[160];
    lua_path(host, "missing.lua", path);
    assert_int_equal(moon_script_load(&runnable, host->runtime, path, &host->error), MOON_ENOTFOUND);
    assert_contains(host->error.text, "missing.lua");
    lua_path(host, "folder.lua", path);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(moon_script_load(&runnable, host->runtime, path, &host->error), MOON_EINVAL);
    lua_path(host, "fifo.lua", path);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(moon_script_load(&runnable, host->runtime, path, &host->error), MOON_EINVAL);
    char *large = malloc((1 << 20) + 2);
    assert_non_null(large);
    memset(large, ' ', (1 << 20) + 1);
    lua_file_bytes(host, "large.lua", large, (1 << 20) + 1);
    free(large);
    lua_path(host, "large.lua", path);
    assert_int_equal(moon_script_load(&runnable, host->runtime, path, &host->error), MOON_ELIMIT);
    assert_int_equal(moon_script_load(&runnable, host->runtime, "", &host->error), MOON_EINVAL);
}

static void test_script__names_are_shipped_agents(void **state) {
    lua_host *host = *state;
    moon_runnable *runnable;
    assert_int_equal(moon_script_load(&runnable, host->runtime, "breif", &host->error), MOON_ENOTFOUND);
    assert_contains(host->error.text, "did you mean \"brief\"?");
    assert_contains(host->error.text, "shipped: ");
    assert_null(strstr(host->error.text, "offline,"));
    assert_int_equal(moon_script_load(&runnable, host->runtime, "offline", &host->error), MOON_EINVAL);
    assert_contains(host->error.text, "is a model");
}

static void test_script__a_folder_of_agents_comes_first(void **state) {
    (void)state;
    char dir[] = "/tmp/moonlet-agents-XXXXXX", path[64];
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/brief.lua", dir);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs("return function() return 'mine' end", file);
    fclose(file);
    moon_runtime_options options = {.size = sizeof options, .config = "", .agents = dir};
    lua_host host = {.error = {0}};
    moon__buf_init(&host.log, 1 << 16);
    assert_int_equal(moon__runtime_new_clock(&host.runtime, &options, &moon__clock_real, &host.error), MOON_OK);
    moon_runnable *runnable;
    if (moon_script_load(&runnable, host.runtime, "brief", &host.error)) fail_msg("%s", host.error.text);
    assert_string_equal(moon_runnable_name(runnable), "brief");
    lua_start(&host, runnable, "");
    assert_string_equal(lua_finish(&host).text, "mine");
    moon_run_unref(host.run);
    moon_runnable_unref(runnable);
    moon_runtime_free(host.runtime);
    moon__buf_fini(&host.log);
    unlink(path);
    rmdir(dir);
}

static void test_script__one_state_per_file(void **state) {
    lua_host *host = *state;
    char path[160];
    moon_runnable *first, *second, *third;
    lua_file(host, "a.lua", "n = 0 return function() n = n + 1 return tostring(n) end");
    lua_path(host, "a.lua", path);
    assert_int_equal(moon_script_load(&first, host->runtime, path, &host->error), MOON_OK);
    assert_int_equal(moon_script_load(&second, host->runtime, path, &host->error), MOON_OK);
    assert_ptr_equal(first, second);
    lua_file(host, "a.lua", "return function() return 'changed' end");
    assert_int_equal(moon_script_load(&third, host->runtime, path, &host->error), MOON_OK);
    lua_start(host, third, "");
    assert_string_equal(lua_finish(host).text, "changed");
    lua_start(host, first, "");
    assert_string_equal(lua_finish(host).text, "1"); /* the old one is still there for who holds it */
    moon_runnable_unref(first);
    moon_runnable_unref(second);
    moon_runnable_unref(third);
}

static void test_script__require(void **state) {
    lua_host *host = *state;
    char path[160];
    lua_path(host, "lib", path);
    assert_int_equal(mkdir(path, 0700), 0);
    lua_file(host, "lib/a.lua", "count = (count or 0) + 1 helper = 'global' return { n = count, name = ... }");
    lua_file(host, "lib/bad.lua", "\nlocal = 1");
    lua_file(host, "lib/fails.lua", "error('inside')");
    lua_file(host, "lib/self.lua", "return require 'lib.self'");
    lua_file(host, "lib/nothing.lua", "");
    lua_file(host, "lib/waits.lua", "return require('moonlet').agent{tools={}}:run('x')");
    lua_file(host, "lib/code.lua", "\x1BLua");
    lua_path(host, "lib/link.lua", path);
    assert_int_equal(symlink("/etc/hostname", path), 0);
    static const struct {
        const char *label, *body, *text, *error;
    } rows[] = {
        {"a file", "return require('lib.a').name", "lib.a", NULL},
        {"once", "require 'lib.a' return require('lib.a').n .. count .. helper", "11global", NULL},
        {"nothing returned", "return tostring(require 'lib.nothing')", "true", NULL},
        {"missing", "require 'lib.b'", NULL, "lib/b.lua"},
        {"a name that is a path", "require '/etc/passwd'", NULL, "no such name"},
        {"dots", "require '..a'", NULL, "no such name"},
        {"up", "require 'lib...a'", NULL, "no such name"},
        {"leads outside", "require 'lib.link'", NULL, "module \"lib.link\""},
        {"syntax error", "require 'lib.bad'", NULL, "lib/bad.lua:2: "},
        {"error", "require 'lib.fails'", NULL, "lib/fails.lua:1: inside"},
        {"error, again", "pcall(require, 'lib.fails') require 'lib.fails'", NULL, "lib/fails.lua:1: inside"},
        {"itself", "require 'lib.self'", NULL, "requires itself"},
        {"cannot wait", "require 'lib.waits'", NULL, "agent:run cannot wait here"},
        {"bytecode", "require 'lib.code'", NULL, "compiled Lua"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        lua_result r = lua_eval(host, rows[i].body);
        if (rows[i].error ? !strstr(r.error, rows[i].error) : strcmp(r.text, rows[i].text) != 0)
            fail_msg("%s: \"%s\" \"%s\"", rows[i].label, r.text, r.error);
    }
}

/* ---- functions ---- */

static void test_function__results(void **state) {
    static const struct {
        const char *label, *body, *text, *error;
    } rows[] = {
        {"string", "return 'text'", "text", NULL},
        {"input", "return input .. '!'", "!", NULL},
        {"nothing", "return", "", NULL},
        {"nil", "return nil", "", NULL},
        {"integer", "return 9007199254740993", "9007199254740993", NULL},
        {"float", "return 0.5", "0.5", NULL},
        {"boolean", "return false", "false", NULL},
        {"table", "return { b = { 1, 2 }, a = true, c = moon.json.array {}, d = {} }",
         "{\"a\":true,\"b\":[1,2],\"c\":[],\"d\":{}}", NULL},
        {"null", "return { x = moon.json.null }", "{\"x\":null}", NULL},
        {"nil and an error", "return nil, 'no luck'", NULL, "no luck"},
        {"nil and a table", "return nil, { message = 'so it is' }", NULL, "so it is"},
        {"error", "error('broken')", NULL, ".lua:1: broken\nstack traceback:\n\t[C]: in function 'error'\n"},
        {"error without a position", "error('broken', 0)", NULL, ".lua:1: broken\nstack traceback:"},
        {"error with a table", "error(setmetatable({}, { __tostring = function() return 'own words' end }))", NULL,
         ".lua:1: own words"},
        {"function in the result", "return { f = print }", NULL, "f: a function has no JSON form"},
        {"NaN", "return { { x = 0/0 } }", NULL, "[1].x: NaN is no JSON number"},
        {"cycle", "local t = { a = {} } t.a.b = t return t", NULL, "a.b: the table contains itself"},
        {"mixed", "return { 1, a = 2 }", NULL, "both a list and named fields"},
        {"holes", "return { 1, nil, 3, [7] = 1 }", NULL, "holes"},
        {"float key", "return { [1.5] = 1 }", NULL, "a key that is a number"},
        {"deep", "local t = {} for i = 1, 80 do t = { t } end return t", NULL, "nested more than 60 levels"},
        {"deep enough", "local t = {} for i = 1, 55 do t = { t } end return #moon.json.encode(t) .. ''", "112", NULL},
        {"ctx.run",
         "return tostring(#ctx.run > 10) .. tostring(ctx.cancelled()) .. tostring(ctx:cancelled()) .. "
         "tostring(ctx.other)",
         "truefalsefalsenil", NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        lua_result r = lua_eval(*state, rows[i].body);
        bool fits = rows[i].error ? r.stop == MOON_STOP_FAILED && strstr(r.error, rows[i].error)
                                  : strcmp(r.text, rows[i].text) == 0;
        if (!fits) fail_msg("%s: \"%s\" \"%s\"", rows[i].label, r.text, r.error);
    }
}

static void test_function__logs(void **state) {
    lua_host *host = *state;
    lua_result r = lua_run(host,
                           "local moon = require 'moonlet' moon.log.warn('at the top %d', 1) "
                           "return function() moon.log.debug('a', 1, true) moon.log.info('%s%%', 5) moon.log.error({}) "
                           "moon.log.warn('100%') print('p', nil, 2) return '' end",
                           "");
    assert_string_equal(r.log, "warn:at the top 1\ndebug:a 1 true\ninfo:5%\nerror:table\nwarn:100%\ninfo:p\tnil\t2\n");
}

static void test_json__round_trips(void **state) {
    static const struct {
        const char *body, *text;
    } rows[] = {
        {"return moon.json.encode(moon.json.decode('[]'))", "[]"},
        {"return moon.json.encode(moon.json.decode('{\"a\":[{},[],null,1.5,-3,\"\\\\u00e9\\\\n\"]}'))",
         "{\"a\":[{},[],null,1.5,-3,\"é\\n\"]}"},
        {"return math.type(moon.json.decode('9007199254740991')) .. math.type(moon.json.decode('1.5'))",
         "integerfloat"},
        {"return tostring(moon.json.decode('null') == moon.json.null) .. tostring(moon.json.null)", "truenull"},
        {"local v, e = moon.json.decode('{\"a\":}') return tostring(v) .. type(e)", "nilstring"},
        {"return select('#', moon.json.decode('[1] x')) .. ''", "2"},
        {"return tostring((moon.json.decode(('['):rep(5000))))", "nil"},
        {"return moon.json.encode(moon.json.array { 1 }) .. moon.json.encode(moon.json.array())", "[1][]"},
        {"return moon.version", MOON_VERSION},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        lua_result r = lua_eval(*state, rows[i].body);
        if (strcmp(r.text, rows[i].text) != 0) fail_msg("%s: \"%s\" \"%s\"", rows[i].body, r.text, r.error);
    }
    assert_contains(lua_eval(*state, "moon.json.encode(print)").error,
                    ".lua:1: moon.json.encode: a function has no JSON form");
}

/* ---- agent:run ---- */

#define ECHO                                                                                                           \
    "local echo = moon.agent { name = 'echo', tools = {}, model = moon.model.script(function(r) return 'echo ' .. "    \
    "r.messages[#r.messages].content end) } "

static void test_agent_run__where_it_can_wait(void **state) {
    static const struct {
        const char *label, *body, *text, *error;
    } rows[] = {
        {"plainly", "return echo:run('a')", "echo a", NULL},
        {"twice", "return echo:run('a') .. echo:run('b')", "echo aecho b", NULL},
        {"a table", "return echo:run { b = 1, a = { 2 } }", "echo {\"a\":[2],\"b\":1}", NULL},
        {"in pcall", "return select(2, pcall(function() return echo:run('p') end))", "echo p", NULL},
        {"in a generic for", "for x in function(_, last) if not last then return echo:run('f') end end do return x end",
         "echo f", NULL},
        {"in __index", "return setmetatable({}, { __index = function(_, k) return echo:run(k) end }).k", "echo k",
         NULL},
        {"in __close",
         "local s = '' do local x <close> = setmetatable({}, { __close = function() s = echo:run('c') end }) end "
         "return s",
         "echo c", NULL},
        {"in coroutine.wrap",
         "local f = coroutine.wrap(function(a) local r = echo:run(a) coroutine.yield(r) return echo:run('2') end) "
         "return f('1') .. f()",
         "echo 1echo 2", NULL},
        {"in nested coroutines",
         "return coroutine.wrap(function() return coroutine.wrap(function() local ok, r = "
         "coroutine.resume(coroutine.create(function() return echo:run('n') end)) return r .. echo:run('m') end)() "
         "end)()",
         "echo necho m", NULL},
        {"in a coroutine in pcall", "return select(2, pcall(coroutine.wrap(function() error(echo:run('e'), 0) end)))",
         "echo e", NULL},
        {"in a sort comparator", "table.sort({ 2, 1 }, function(a, b) echo:run('x') return a < b end)", NULL,
         "agent:run cannot wait here (in a sort"},
        {"in gsub", "local s = ('x'):gsub('x', function() return echo:run('x') end)", NULL, "cannot wait here"},
        {"in __tostring", "return tostring(setmetatable({}, { __tostring = function() return echo:run('x') end }))",
         NULL, "cannot wait here"},
        {"in a coroutine in a sort comparator",
         "table.sort({ 2, 1 }, function(a, b) coroutine.wrap(function() echo:run('x') end)() return a < b end)", NULL,
         "cannot wait here"},
        {"refused, and then elsewhere",
         "pcall(table.sort, { 2, 1 }, function(a, b) echo:run('x') return a < b end) return echo:run('y')", "echo y",
         NULL},
        {"with options", "echo:run('a', {})", NULL, "takes the input and nothing else"},
        {"without input", "echo:run()", NULL, "string or table expected"},
        {"of something else", "echo.run({}, 'a')", NULL, "agent, chain or tool expected"},
        {"other members", "return echo.name .. tostring(echo.other) .. tostring(echo)", "echonilagent echo", NULL},
    };
    char body[1024];
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        snprintf(body, sizeof body, ECHO "%s", rows[i].body);
        lua_result r = lua_eval(*state, body);
        if (rows[i].error ? !strstr(r.error, rows[i].error) : strcmp(r.text, rows[i].text) != 0)
            fail_msg("%s: \"%s\" \"%s\"", rows[i].label, r.text, r.error);
    }
}

static void test_agent_run__a_coroutine_that_waits_is_nobody_elses(void **state) {
    lua_host *host = *state;
    lua_result r =
        lua_run(host,
                "local moon = require 'moonlet' " ECHO
                "local co local tool = moon.tool { name = 'poke', description = 'd', call = function() "
                "  local ok, why = coroutine.resume(co) local closed = pcall(coroutine.close, co) "
                "  return coroutine.status(co) .. tostring(ok) .. why .. tostring(closed) end } "
                "local poker = moon.agent { tools = { tool }, model = moon.model.script(function(r) local m = "
                "r.messages[#r.messages] "
                "  if m.role == 'tool' then return m.content end return { tool_calls = { { name = 'poke' } } } end) } "
                "return function() co = coroutine.create(function() return poker:run('x') end) "
                "  local _, a = coroutine.resume(co) return a end",
                "");
    assert_string_equal(r.error, "");
    assert_string_equal(r.text, "normalfalsecannot resume non-suspended coroutinefalse");
}

static void test_agent_run__failures_are_values(void **state) {
    static const struct {
        const char *label, *body, *text, *error;
        moon_stop stop;
    } rows[] = {
        {"nil and why", "local r, e = bad:run('x') return tostring(r) .. e.message .. e.stop",
         "nilno luckprovider_unavailable", "", MOON_STOP_DONE},
        {"tostring", "local r, e = bad:run('x') return 'because ' .. tostring(e)", "because no luck", "",
         MOON_STOP_DONE},
        {"passed on", "return bad:run('x')", "", "no luck", MOON_STOP_PROVIDER},
        {"asserted", "return assert(bad:run('x'))", "", "no luck", MOON_STOP_PROVIDER},
        {"limit",
         "return moon.agent { tools = {}, limits = { steps = 0 }, model = moon.model.script { 'x' } }:run('x')", "", "",
         MOON_STOP_STEPS},
        {"script error in the model",
         "local _, e = moon.agent { tools = {}, model = moon.model.script(function() error('oh') end) }:run('x') "
         "return e.message:match('lua:1: oh') .. e.stop",
         "lua:1: ohfailed", "", MOON_STOP_DONE},
        {"structured",
         "return tostring(moon.agent { tools = {}, output = { n = 'integer' }, model = moon.model.script { '{\"n\":3}' "
         "} }:run('x').n)",
         "3", "", MOON_STOP_DONE},
    };
    char body[1024];
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        snprintf(
            body, sizeof body,
            "local bad = moon.agent { tools = {}, model = moon.model.script(function() return nil, 'no luck' end) } %s",
            rows[i].body);
        lua_result r = lua_eval(*state, body);
        if (r.stop != rows[i].stop || strcmp(r.text, rows[i].text) != 0 || !strstr(r.error, rows[i].error))
            fail_msg("%s: %s \"%s\" \"%s\"", rows[i].label, moon_stop_text(r.stop), r.text, r.error);
    }
}

/* ---- the end of a run that waits ---- */

static void cancel_at_log(lua_host *host, moon_run *run, const moon_event *event) {
    (void)host;
    if (event->type == MOON_EVENT_LOG && strstr(event->body, "cancel me")) moon_run_cancel(run);
}

/* A tool that waits until it is cancelled. */
static void hang_start(void *self, moon_call *call, const moon_json *args) {
    (void)call, (void)args;
    ++*(unsigned *)self;
}

static void hang_cancel(void *self, moon_call *call) {
    (void)self;
    moon_call_fail(call, "stopped");
}

#define HANG                                                                                                           \
    "local hang = moon.agent { tools = { 'hang' }, model = moon.model.script { { tool_calls = { { name = 'hang' } } "  \
    "}, "                                                                                                              \
    "'never' } } "
#define CLOSES "local x <close> = setmetatable({}, { __close = function() moon.log.info('closed') end }) "

/* Cancels the run as soon as the tool hangs. */
static lua_result cancel_hanging(lua_host *host, const char *body, const unsigned *hanging) {
    char text[1500];
    moon_runnable *runnable;
    snprintf(text, sizeof text, "local moon = require 'moonlet' " HANG "return function(input, ctx) %s end", body);
    if (lua_load(host, text, &runnable)) fail_msg("%s", host->error.text);
    lua_start(host, runnable, "");
    unsigned before = *hanging;
    while (*hanging == before) assert_int_equal(moon_runtime_step(host->runtime, 1000, NULL), MOON_OK);
    moon_run_cancel(host->run);
    lua_result r = lua_finish(host);
    moon_runnable_unref(runnable);
    return r;
}

static void test_cancel__closes_what_waits(void **state) {
    static const struct {
        const char *label, *body, *log;
    } rows[] = {
        {"in agent:run", CLOSES "hang:run('a') moon.log.info('not reached')", "info:closed\n"},
        {"in pcall", CLOSES "pcall(hang.run, hang, 'a') moon.log.info('not reached')", "info:closed\n"},
        {"in a coroutine", "coroutine.wrap(function() " CLOSES "hang:run('a') end)() moon.log.info('not reached')",
         "info:closed\n"},
        {"in coroutines",
         CLOSES "coroutine.wrap(function() " CLOSES "coroutine.wrap(function() " CLOSES "hang:run('a') end)() end)()",
         "info:closed\ninfo:closed\ninfo:closed\n"},
        {"__close cannot wait",
         "local x <close> = setmetatable({}, { __close = function() local ok, e = pcall(hang.run, hang, 'a') "
         "moon.log.info(e:match('cannot wait here')) end }) hang:run('a')",
         "info:cannot wait here\n"},
        {"__close that fails",
         "local x <close> = setmetatable({}, { __close = function() moon.log.info('closing') error('no') end }) "
         "hang:run('a')",
         "info:closing\n"},
        {"__close that loops",
         "local x <close> = setmetatable({}, { __close = function() moon.log.info('closing') while true do end end }) "
         "hang:run('a')",
         "info:closing\n"},
        {"in a tool that waits",
         "local t = moon.tool { name = 't', description = 'd', call = function() " CLOSES "return hang:run('x') end } "
         "moon.agent { tools = { t }, model = moon.model.script { { tool_calls = { { name = 't' } } }, 'never' } "
         "}:run('y') moon.log.info('not reached')",
         "info:closed\n"},
    };
    lua_host *host = *state;
    unsigned hanging = 0;
    const moon_tool tool = {.abi = MOON_TOOL_ABI,
                            .effects = MOON_READ_ONLY,
                            .name = "hang",
                            .description = "hangs",
                            .params = "{\"type\":\"object\"}",
                            .self = &hanging,
                            .start = hang_start,
                            .cancel = hang_cancel};
    assert_int_equal(moon_runtime_add_tool(host->runtime, &tool, &host->error), MOON_OK);
    moon__scripts_limit(host->runtime, 0, 2000000);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        lua_result r = cancel_hanging(host, rows[i].body, &hanging);
        if (r.stop != MOON_STOP_INTERRUPTED || strcmp(r.log, rows[i].log) != 0)
            fail_msg("%s: %s \"%s\" log \"%s\"", rows[i].label, moon_stop_text(r.stop), r.text, r.log);
    }
    moon_run_unref(host->run); /* the runtime's tools are gone after this test: so is the run that used them */
    host->run = NULL;
}

static void test_cancel__while_lua_runs(void **state) {
    static const struct {
        const char *label, *body;
    } rows[] = {
        {"it returns", CLOSES "moon.log.info('cancel me') return 'late'"},
        {"it waits", CLOSES "moon.log.info('cancel me') echo:run('a') moon.log.info('not reached')"},
        {"a coroutine waits", CLOSES "coroutine.wrap(function() moon.log.info('cancel me') echo:run('a') end)()"},
    };
    lua_host *host = *state;
    char body[1024];
    host->on_event = cancel_at_log;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        snprintf(body, sizeof body, ECHO "%s", rows[i].body);
        lua_result r = lua_eval(host, body);
        if (r.stop != MOON_STOP_INTERRUPTED || strcmp(r.log, "info:cancel me\ninfo:closed\n") != 0)
            fail_msg("%s: %s \"%s\" log \"%s\"", rows[i].label, moon_stop_text(r.stop), r.text, r.log);
        assert_int_equal(host->finished, 1);
    }
}

static void test_cancel__before_it_begins(void **state) {
    lua_host *host = *state;
    moon_runnable *runnable;
    assert_int_equal(lua_load(host, "return function() return 'ran' end", &runnable), MOON_OK);
    lua_start(host, runnable, "");
    moon_run_cancel(host->run);
    assert_int_equal(lua_finish(host).stop, MOON_STOP_INTERRUPTED);
    assert_int_equal(host->finished, 1);
    lua_start(host, runnable, "");
    moon_runnable_unref(runnable); /* the runtime is freed while it runs */
}

static void test_many__runs_of_one_script(void **state) {
    enum { RUNS = 500 };
    lua_host *host = *state;
    moon_runnable *runnable;
    moon_run **runs = calloc(RUNS, sizeof *runs);
    assert_non_null(runs);
    assert_int_equal(lua_load(host,
                              "local moon = require 'moonlet' " ECHO
                              "return function(input) return echo:run(input) .. echo:run('again') end",
                              &runnable),
                     MOON_OK);
    for (int i = 0; i < RUNS; i++) {
        char input[16];
        snprintf(input, sizeof input, "%d", i);
        moon_run_options options = {.size = sizeof options, .input = input};
        assert_int_equal(moon_run_start(&runs[i], host->runtime, runnable, &options, &host->error), MOON_OK);
    }
    for (int i = 0; i < RUNS; i++) {
        char expected[64];
        while (!moon_run_finished(runs[i])) assert_int_equal(moon_runtime_step(host->runtime, 1000, NULL), MOON_OK);
        snprintf(expected, sizeof expected, "echo %decho again", i);
        assert_string_equal(moon_run_result(runs[i])->text, expected);
        moon_run_unref(runs[i]);
    }
    free(runs);
    moon_runnable_unref(runnable);
}

static void test_two__runtimes(void **state) {
    lua_host *a = *state, *b = lua_new();
    static const char text[] =
        "local moon = require 'moonlet' " ECHO "n = 0 return function(input) n = n + 1 return echo:run(input) .. n end";
    moon_runnable *in_a, *in_b;
    assert_int_equal(lua_load(a, text, &in_a), MOON_OK);
    assert_int_equal(lua_load(b, text, &in_b), MOON_OK);
    lua_start(a, in_a, "a");
    lua_start(b, in_b, "b");
    assert_string_equal(lua_finish(b).text, "echo b1");
    assert_string_equal(lua_finish(a).text, "echo a1");
    moon_runnable_unref(in_b);
    lua_free(b);
    lua_start(a, in_a, "c");
    assert_string_equal(lua_finish(a).text, "echo c2");
    moon_runnable_unref(in_a);
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
        TEST(test_script__load_errors_say_where_and_what),
        TEST(test_script__files),
        TEST(test_script__files_that_are_none),
        TEST(test_script__names_are_shipped_agents),
        cmocka_unit_test(test_script__a_folder_of_agents_comes_first),
        TEST(test_script__one_state_per_file),
        TEST(test_script__require),
        TEST(test_function__results),
        TEST(test_function__logs),
        TEST(test_json__round_trips),
        TEST(test_agent_run__where_it_can_wait),
        TEST(test_agent_run__a_coroutine_that_waits_is_nobody_elses),
        TEST(test_agent_run__failures_are_values),
        TEST(test_cancel__closes_what_waits),
        TEST(test_cancel__while_lua_runs),
        TEST(test_cancel__before_it_begins),
        TEST(test_many__runs_of_one_script),
        TEST(test_two__runtimes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
