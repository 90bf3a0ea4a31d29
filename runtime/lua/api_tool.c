/* SPDX-License-Identifier: MIT */
/*
 * moon.tool { name, description, params, effects, timeout, call }: a tool whose call is a Lua function. Each call runs
 * in a task of its own, and may wait: a run that it starts is a child of the run that the call belongs to.
 *
 *     call(args, ctx) → a string (text for the model), another value (JSON), or nil and why not
 */
#include "children.h"
#include "text.h"
#include "tools.h"

#include <stdlib.h>
#include <string.h>

static const char NAME[] = "moon.tool";
enum { SECONDS_MAX = 24 * 60 * 60 };

/* ---- the life of a tool ---- */

moon__lua_tool *moon__lua_tool_ref(moon__lua_tool *tool) {
    tool->refs++;
    return tool;
}

void moon__lua_tool_unref(moon__lua_tool *tool) {
    if (!tool || --tool->refs > 0) return;
    if (!tool->borrowed) moon__script_drop(tool->script, tool->fn);
    moon__code_free(tool->code);
    moon__script_unref(tool->script);
    free(tool->name);
    free(tool->description);
    free(tool->params);
    free(tool);
}

void moon__lua_tool_release(void *tool) {
    moon__lua_tool_unref(tool);
}

moon__lua_tool *moon__lua_tool_at(lua_State *L, int index) {
    moon__lua_tool **handle = luaL_testudata(L, index, NAME);
    return handle ? *handle : NULL;
}

/* ---- a call ---- */

static void prepare(lua_State *L, moon__task *task, void *arg) {
    moon__lua_tool *tool = task->owner;
    lua_rawgeti(L, LUA_REGISTRYINDEX, tool->fn);
    moon__lua_push(L, arg, MOON__NULLS_ARE_NIL);
    moon__ctx_push(L, task);
}

static void fail_call(moon_call *call, moon__task *task, const moon__failure *failure) {
    char *text = moon__failure_text(failure, false);
    if (failure->trace && task->run) moon__task_log(task, MOON__WARN, failure->trace, strlen(failure->trace));
    moon_call_fail(call, "%s", text ? text : failure->error.text);
    free(text);
}

void moon__lua_call_end(moon__task *task, const moon__failure *failure, bool cancelled) {
    moon_call *call = task->call;
    const moon__buf *text = &task->taken.text;
    if (cancelled)
        moon_call_fail(call, "cancelled");
    else if (failure)
        fail_call(call, task, failure);
    else if (task->taken.kind == MOON__REFUSED)
        moon_call_fail(call, "%s", text->p ? text->p : "");
    else {
        if (task->taken.kind == MOON__JSON)
            moon__call_put_json(call, text->p, text->len);
        else
            moon_call_write(call, text->p ? text->p : "", text->len);
        moon_call_done(call);
    }
}

static void end(moon__task *task, const moon__failure *failure, bool cancelled) {
    moon__lua_tool *tool = task->owner;
    moon__lua_call_end(task, failure, cancelled);
    moon__lua_tool_unref(tool);
}

static const moon__task_ops ops = {.take = moon__task_take, .end = end};

static void start(void *self, moon_call *call, const moon_json *args) {
    moon__lua_tool *tool = self;
    moon_run *run = moon__call_owner(call);
    moon_error error = {0};
    moon__task *task;
    moon__task_spec spec = {.ops = &ops,
                            .owner = tool,
                            .script = tool->script,
                            .run = run,
                            .call = call,
                            .prepare = prepare,
                            .arg = (void *)(uintptr_t)args};
    if (moon__task_new(&task, &spec, &error) != MOON_OK) {
        moon_call_fail_error(call, &error);
        return;
    }
    moon__lua_tool_ref(tool);
    moon__task_start(task);
}

static void cancel(void *self, moon_call *call) {
    moon__lua_tool *tool = self;
    for (moon__task *task = tool->script->tasks; task; task = task->next) {
        if (task->call != call) continue;
        moon__task_cancel(task);
        return;
    }
}

/* ---- moon.tool ---- */

static uint32_t read_effects(lua_State *L) {
    static const char *const names[] = {"read_only", "destructive", "idempotent", "open_world", NULL};
    uint32_t effects = 0;
    int type = lua_getfield(L, 1, "effects");
    if (type == LUA_TNIL) return 0;
    if (type != LUA_TTABLE) luaL_error(L, "moon.tool: effects must be a table, as { read_only = true }");
    moon__lua_check_fields(L, lua_gettop(L), "moon.tool: effects", names);
    for (unsigned i = 0; names[i]; i++) {
        type = lua_getfield(L, -1, names[i]);
        if (type != LUA_TNIL && type != LUA_TBOOLEAN)
            luaL_error(L, "moon.tool: effects.%s must be true or false", names[i]);
        if (lua_toboolean(L, -1)) effects |= 1U << i; /* MOON_READ_ONLY … in this order */
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    return effects;
}

static uint32_t read_timeout(lua_State *L) {
    int type = lua_getfield(L, 1, "timeout");
    double seconds = lua_tonumber(L, -1);
    lua_pop(L, 1);
    if (type == LUA_TNIL) return 0;
    if (type != LUA_TNUMBER || !(seconds > 0 && seconds <= SECONDS_MAX))
        luaL_error(L, "moon.tool: timeout must be seconds, more than 0 and at most a day");
    return (uint32_t)(seconds * 1000) + (seconds < 0.001);
}

static const char *read_text(lua_State *L, const char *field) {
    if (lua_getfield(L, 1, field) != LUA_TSTRING) luaL_error(L, "moon.tool: %s must be a string", field);
    return lua_tostring(L, -1); /* stays on the stack */
}

/* Leaves the parameters' schema as JSON on the stack. */
static const char *read_params(lua_State *L) {
    char why[256];
    if (lua_getfield(L, 1, "params") == LUA_TNIL) {
        lua_pop(L, 1);
        lua_newtable(L);
    }
    moon__lua_expand(L, -1, "moon.tool: params", true);
    moon__buf *json = moon__lua_scratch(L, 1 << 20);
    if (!moon__lua_write(L, -1, json, why)) luaL_error(L, "moon.tool: params: %s", why);
    return lua_pushlstring(L, json->p, json->len);
}

moon__lua_tool *moon__lua_tool_push(lua_State *L, int definition) {
    moon__lua_tool **handle = lua_newuserdatauv(L, sizeof *handle, 1);
    *handle = NULL;
    luaL_setmetatable(L, NAME);
    lua_pushvalue(L, definition); /* for describe() */
    lua_setiuservalue(L, -2, 1);
    moon__lua_tool *tool = *handle = calloc(1, sizeof *tool);
    if (!tool) {
        luaL_error(L, "out of memory");
        return NULL;
    }
    tool->refs = 1;
    tool->fn = LUA_NOREF;
    tool->script = moon__script_ref(moon__script_of(L));
    return tool;
}

void moon__lua_tool_set(lua_State *L, moon__lua_tool *tool, const moon_tool *like, const char *what) {
    moon__tool_entry entry;
    moon_error error = {0};
    tool->name = moon__strdup(like->name);
    tool->description = moon__strdup(like->description);
    tool->params = moon__strdup(like->params);
    if (!tool->name || !tool->description || !tool->params) luaL_error(L, "out of memory");
    tool->record = *like;
    tool->record.abi = MOON_TOOL_ABI;
    tool->record.flags = MOON_TOOL_REPLAYED;
    tool->record.name = tool->name;
    tool->record.description = tool->description;
    tool->record.params = tool->params;
    tool->record.self = tool;
    if (moon__tool_entry_init(&entry, &tool->record, &error) != MOON_OK) luaL_error(L, "%s: %s", what, error.text);
    moon__tool_entry_fini(&entry);
}

static int new_tool(lua_State *L) {
    static const char *const fields[] = {"name", "description", "params", "effects", "timeout", "call", NULL};
    lua_settop(L, 1);
    if (lua_type(L, 1) == LUA_TSTRING) return moon__lua_tool_named(L); /* one that is there */
    luaL_checktype(L, 1, LUA_TTABLE);
    moon__lua_check_fields(L, 1, "moon.tool", fields);
    uint32_t effects = read_effects(L), timeout_ms = read_timeout(L);
    const char *name = read_text(L, "name"), *description = read_text(L, "description"), *params = read_params(L);
    if (lua_getfield(L, 1, "call") != LUA_TFUNCTION) return luaL_error(L, "moon.tool: call must be a function");
    int fn = lua_gettop(L);
    moon__lua_tool *tool = moon__lua_tool_push(L, 1);
    moon_tool like = {.effects = effects,
                      .timeout_ms = timeout_ms,
                      .name = name,
                      .description = description,
                      .params = params,
                      .start = start,
                      .cancel = cancel};
    moon__lua_tool_set(L, tool, &like, "moon.tool");
    lua_pushvalue(L, fn);
    tool->fn = luaL_ref(L, LUA_REGISTRYINDEX);
    return 1;
}

moon__lua_tool *moon__lua_tool_like(moon__script *script, int fn, const moon_tool *like) {
    moon__lua_tool *tool = calloc(1, sizeof *tool);
    if (!tool) return NULL;
    *tool =
        (moon__lua_tool){.script = moon__script_ref(script), .refs = 1, .fn = fn, .borrowed = true, .record = *like};
    tool->record.flags = MOON_TOOL_REPLAYED;
    tool->record.self = tool;
    tool->record.start = start;
    tool->record.cancel = cancel;
    return tool;
}

static int tool_index(lua_State *L) {
    moon__lua_tool *tool = moon__lua_tool_at(L, 1);
    const char *name = luaL_checkstring(L, 2);
    if (strcmp(name, "run") == 0)
        lua_pushcfunction(L, moon__children_run);
    else if (strcmp(name, "name") == 0)
        lua_pushstring(L, tool ? tool->name : "");
    else
        return moon__lua_method(L);
    return 1;
}

static int tool_tostring(lua_State *L) {
    moon__lua_tool *tool = moon__lua_tool_at(L, 1);
    lua_pushfstring(L, "tool %s", tool ? tool->name : "");
    return 1;
}

static int tool_gc(lua_State *L) {
    moon__lua_tool **handle = lua_touserdata(L, 1);
    moon__lua_tool_unref(*handle);
    *handle = NULL;
    return 0;
}

void moon__lua_handle(lua_State *L, const char *name, const luaL_Reg *meta) {
    luaL_newmetatable(L, name);
    luaL_setfuncs(L, meta, 0);
    lua_pushliteral(L, "locked");
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);
}

void moon__api_tool(lua_State *L) {
    static const luaL_Reg meta[] = {
        {"__index", tool_index}, {"__tostring", tool_tostring}, {"__gc", tool_gc}, {NULL, NULL}};
    moon__lua_handle(L, NAME, meta);
    lua_pushcfunction(L, new_tool);
    lua_setfield(L, -2, "tool");
}
