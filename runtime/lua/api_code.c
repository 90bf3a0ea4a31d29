/* SPDX-License-Identifier: MIT */
/*
 * moon.code { tools = { … } }: a tool with which the model writes a Lua script that calls tools itself, so that what
 * lies between the calls does not go through the model. Each call of the script is a run of the tool, a child of the
 * agent's run: checked, asked for, journaled and counted like a call that the model makes.
 *
 * The script was written by nobody who is trusted. It runs in a state of its own, which ends with the call: small
 * memory, the budget of a slice, no modules, nothing of the script that the agent is from.
 */
#include "children.h"
#include "text.h"
#include "tools.h"

#include <stdlib.h>
#include <string.h>

enum { MEMORY = 16 << 20, BUDGET = 50000000, CALLABLE_MAX = 256, DAY_MS = 24 * 60 * 60 * 1000 };

typedef struct callable {
    char *name; /* "git.log" */
    moon_runnable *runnable;
} callable;

struct moon__code {
    callable *callable; /* n */
    size_t n;
    struct code_call *calls; /* under way */
};

/* One call: its state goes after the task has. */
typedef struct code_call {
    moon__lua_tool *tool;
    moon__script *script;
    moon__task *task;
    struct code_call *next, **link;
    moon__defer close;
    const char *text;
    size_t length;
} code_call;

void moon__code_free(moon__code *code) {
    if (!code) return;
    for (size_t i = 0; i < code->n; i++) {
        free(code->callable[i].name);
        moon_runnable_unref(code->callable[i].runnable);
    }
    free(code->callable);
    free(code);
}

/* ---- a call ---- */

static int call_tool(lua_State *L) {
    lua_settop(L, 1);
    if (lua_isnil(L, 1)) {
        lua_newtable(L);
        lua_replace(L, 1);
    }
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    return moon__children_run(L);
}

/* Sets a.b.c of the globals to the function at the top, which goes. */
static void set_function(lua_State *L, const char *name) {
    lua_pushglobaltable(L);
    for (const char *dot; (dot = strchr(name, '.')); name = dot + 1) {
        lua_pushlstring(L, name, (size_t)(dot - name));
        if (lua_rawget(L, -2) != LUA_TTABLE) {
            lua_pop(L, 1);
            lua_newtable(L);
            lua_pushlstring(L, name, (size_t)(dot - name));
            lua_pushvalue(L, -2);
            lua_rawset(L, -4);
        }
        lua_remove(L, -2);
    }
    lua_pushstring(L, name);
    lua_pushvalue(L, -3);
    lua_rawset(L, -3);
    lua_pop(L, 2);
}

static int set_up(lua_State *L) {
    const moon__code *code = lua_touserdata(L, 1);
    lua_getfield(L, LUA_REGISTRYINDEX, "moon.module");
    lua_getfield(L, -1, "json");
    lua_setglobal(L, "json");
    lua_pushnil(L);
    lua_setglobal(L, "require");
    for (size_t i = 0; i < code->n; i++) {
        moon__lua_chain_push(L, code->callable[i].runnable);
        lua_pushcclosure(L, call_tool, 1);
        set_function(L, code->callable[i].name);
    }
    return 0;
}

static void prepare(lua_State *L, moon__task *task, void *arg) {
    const code_call *c = arg;
    (void)task;
    moon__guard_load(L, c->text, c->length, "script");
}

static void close_state(void *ctx) {
    code_call *c = ctx;
    moon__lua_tool *tool = c->tool;
    moon__script_close(c->script);
    moon__script_unref(c->script);
    free(c);
    moon__lua_tool_unref(tool);
}

static void end(moon__task *task, const moon__failure *failure, bool cancelled) {
    code_call *c = task->owner;
    *c->link = c->next;
    if (c->next) c->next->link = c->link;
    c->close = (moon__defer){.fn = close_state, .ctx = c};
    moon__defer_call(moon__runtime_loop(c->script->runtime), &c->close);
    moon__lua_call_end(task, failure, cancelled);
}

static const moon__task_ops ops = {.take = moon__task_take, .end = end};

static moon_status open_state(code_call *c, moon_error *error) {
    moon__script_spec spec = {
        .runtime = c->tool->script->runtime, .name = "script", .memory = MEMORY, .budget = BUDGET};
    moon_status status = moon__script_new(&c->script, &spec, error);
    return status ? status : moon__guard_call(&c->script->guard, set_up, c->tool->code, error);
}

static void start(void *self, moon_call *call, const moon_json *args) {
    moon__lua_tool *tool = self;
    moon_error error = {0};
    code_call *c = calloc(1, sizeof *c);
    if (!c) {
        moon_call_fail(call, "out of memory");
        return;
    }
    c->tool = moon__lua_tool_ref(tool);
    c->text = moon_json_str(moon_json_get(args, "script"), &c->length);
    moon_status status = open_state(c, &error);
    moon__task_spec spec = {.ops = &ops,
                            .owner = c,
                            .script = c->script,
                            .run = moon__call_owner(call),
                            .call = call,
                            .prepare = prepare,
                            .arg = c};
    if (!status) status = moon__task_new(&c->task, &spec, &error);
    if (status) {
        if (c->script) moon__script_close(c->script);
        if (c->script) moon__script_unref(c->script);
        free(c);
        moon__lua_tool_unref(tool);
        moon_call_fail(call, "%s%s%s", error.where, *error.where ? ": " : "", error.text);
        return;
    }
    c->next = tool->code->calls;
    c->link = &tool->code->calls;
    if (c->next) c->next->link = &c->next;
    tool->code->calls = c;
    moon__task_start(c->task);
}

static void cancel(void *self, moon_call *call) {
    moon__lua_tool *tool = self;
    code_call *c = tool->code->calls;
    while (c && c->task->call != call) c = c->next;
    if (c) moon__task_cancel(c->task);
}

/* ---- moon.code ---- */

static void add_callable(lua_State *L, moon__code *code, const char *name, const moon__tool_use *use) {
    moon_error error = {0};
    for (size_t i = 0; i < code->n; i++)
        if (strcmp(code->callable[i].name, name) == 0) luaL_error(L, "moon.code: two tools are named %s", name);
    if (code->n == CALLABLE_MAX) luaL_error(L, "moon.code: at most %d tools", CALLABLE_MAX);
    callable *c = &code->callable[code->n];
    *c = (callable){.name = moon__strdup(name)};
    code->n++; /* its parts are freed with it from here on */
    if (!c->name) luaL_error(L, "out of memory");
    if (moon__tool_runnable(&c->runnable, moon__script_of(L)->runtime, use, &error) != MOON_OK) {
        if (use->release) use->release(use->owner);
        luaL_error(L, "moon.code: %s", error.text);
    }
}

/* A name or a group of registered tools. */
static void add_named(lua_State *L, moon__code *code, const char *name) {
    const moon__tools *tools = moon__runtime_tools(moon__script_of(L)->runtime);
    const moon__tool_entry *entry;
    size_t n = strlen(name), before = code->n;
    for (size_t i = 0; (entry = moon__tools_at(tools, i)); i++) {
        const char *is = entry->tool->name;
        if (strcmp(is, name) != 0 && (strncmp(is, name, n) != 0 || is[n] != '.')) continue;
        add_callable(L, code, is, &(moon__tool_use){.name = is});
    }
    if (code->n > before) return;
    const char *near = moon__tools_nearest(tools, name);
    luaL_error(L, "moon.code: there is no tool or group \"%s\"%s%s%s", name, near ? "; did you mean \"" : "",
               near ? near : "", near ? "\"?" : "");
}

/* The tools that the table at index lists. */
static void read_tools(lua_State *L, moon__code *code, int index) {
    if (lua_getfield(L, index, "tools") != LUA_TTABLE || !lua_rawlen(L, -1))
        luaL_error(L, "moon.code needs tools: a list of those that a script may call");
    int list = lua_gettop(L);
    code->callable = calloc(CALLABLE_MAX, sizeof *code->callable);
    if (!code->callable) {
        luaL_error(L, "out of memory");
        return;
    }
    for (lua_Integer i = 1; lua_rawgeti(L, list, i) != LUA_TNIL; i++) {
        moon__lua_tool *own = moon__lua_tool_at(L, -1);
        if (own)
            add_callable(L, code, own->name,
                         &(moon__tool_use){
                             .own = &own->record, .release = moon__lua_tool_release, .owner = moon__lua_tool_ref(own)});
        else if (moon__lua_tool_name(L, -1))
            add_named(L, code, moon__lua_tool_name(L, -1));
        else
            luaL_error(L, "moon.code: tools[%d]: a %s is no tool", (int)i, luaL_typename(L, -1));
        lua_pop(L, 1);
    }
    lua_settop(L, list - 1);
}

static void describe(moon__buf *out, const moon__code *code) {
    moon__buf_str(out,
                  "Runs a Lua 5.4 script that you write, and gives what it returns. Use it to make many calls, or to "
                  "filter and combine results without reading them all. The script calls tools as functions with one "
                  "table: `local text, err = file.read { path = \"a.txt\" }`; a call that fails gives nil and why. "
                  "json.encode and json.decode are there; io, os and require are not. Functions:");
    for (size_t i = 0; i < code->n; i++) moon__buf_printf(out, "%s %s", i ? "," : "", code->callable[i].name);
}

int moon__code_push(lua_State *L) {
    static const char *const fields[] = {"tools", "name", NULL};
    static const char params[] = "{\"type\":\"object\",\"properties\":{\"script\":{\"type\":\"string\",\"description\":"
                                 "\"Lua 5.4; `return` the result\"}},\"required\":[\"script\"],"
                                 "\"additionalProperties\":false}";
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    moon__lua_check_fields(L, 1, "moon.code", fields);
    const char *name = lua_getfield(L, 1, "name") == LUA_TSTRING ? lua_tostring(L, -1) : "lua";
    moon__lua_tool *tool = moon__lua_tool_push(L, 1);
    tool->code = calloc(1, sizeof *tool->code);
    if (!tool->code) return luaL_error(L, "out of memory");
    read_tools(L, tool->code, 1);
    moon__buf *text = moon__lua_scratch(L, 64 << 10);
    describe(text, tool->code);
    if (text->status) return luaL_error(L, "out of memory");
    /* What it does, it does through tools that are asked for themselves. */
    moon_tool like = {.effects = MOON_READ_ONLY,
                      .timeout_ms = DAY_MS,
                      .name = name,
                      .description = text->p,
                      .params = params,
                      .start = start,
                      .cancel = cancel};
    moon__lua_tool_set(L, tool, &like, "moon.code");
    return 1;
}

void moon__api_code(lua_State *L) {
    lua_pushcfunction(L, moon__code_push);
    lua_setfield(L, -2, "code");
}
