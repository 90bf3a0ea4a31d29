/* SPDX-License-Identifier: MIT */
/*
 * What the prelude's chains stand on: handles of things that can be run, made from Lua functions; what they are made
 * of; their state. A handle's definition, a table, is what the prelude knows of it; scripts do not get it.
 */
#include "api.h"
#include "children.h"
#include "outside.h"
#include "text.h"
#include "tools.h"

#include <stdlib.h>
#include <string.h>

static const char NAME[] = "moon.chain", METHODS[] = "moon.methods";

/* ---- handles ---- */

moon_runnable *moon__lua_chain_at(lua_State *L, int index) {
    moon_runnable **handle = luaL_testudata(L, index, NAME);
    return handle ? *handle : NULL;
}

const char *moon__lua_kind(lua_State *L, int index) {
    if (moon__lua_agent_at(L, index)) return "agent";
    if (moon__lua_chain_at(L, index)) return "chain";
    return moon__lua_tool_at(L, index) ? "tool" : NULL;
}

moon_runnable *moon__lua_runnable(lua_State *L, int index) {
    moon_runnable *runnable = moon__lua_agent_at(L, index);
    if (!runnable) runnable = moon__lua_chain_at(L, index);
    if (runnable) return moon_runnable_ref(runnable);
    moon__lua_tool *tool = moon__lua_tool_at(L, index);
    if (!tool) {
        luaL_typeerror(L, index, "agent, chain or tool");
        return NULL;
    }
    moon_error error = {0};
    moon__tool_use use = {.own = &tool->record, .release = moon__lua_tool_release, .owner = moon__lua_tool_ref(tool)};
    if (moon__tool_runnable(&runnable, tool->script->runtime, &use, &error) != MOON_OK) {
        moon__lua_tool_unref(tool);
        luaL_error(L, "%s", error.text);
    }
    return runnable;
}

int moon__lua_method(lua_State *L) {
    moon__prelude(L, "runnable");
    lua_getfield(L, LUA_REGISTRYINDEX, METHODS);
    lua_pushvalue(L, 2);
    lua_rawget(L, -2);
    return 1;
}

static int chain_index(lua_State *L) {
    moon_runnable *runnable = *(moon_runnable **)luaL_checkudata(L, 1, NAME);
    const char *name = luaL_checkstring(L, 2);
    if (strcmp(name, "run") == 0)
        lua_pushcfunction(L, moon__children_run);
    else if (strcmp(name, "name") == 0)
        lua_pushstring(L, runnable ? moon_runnable_name(runnable) : "");
    else
        return moon__lua_method(L);
    return 1;
}

void moon__lua_chain_named(lua_State *L, int index, const char *path) {
    moon_runnable *chain = moon__lua_chain_at(L, index);
    if (!chain || lua_getiuservalue(L, index, 1) != LUA_TTABLE) return;
    bool named = lua_getfield(L, -1, "node") != LUA_TTABLE || lua_getfield(L, -1, "name") != LUA_TNIL;
    char base[64];
    moon__script_base(path, base);
    char *name = named ? NULL : moon__strdup(base);
    if (!name) return;
    free(chain->name);
    chain->name = name;
}

static int chain_tostring(lua_State *L) {
    moon_runnable *runnable = moon__lua_chain_at(L, 1);
    lua_pushfstring(L, "chain %s", runnable ? moon_runnable_name(runnable) : "");
    return 1;
}

static int chain_gc(lua_State *L) {
    moon_runnable **handle = lua_touserdata(L, 1);
    moon_runnable *runnable = *handle;
    *handle = NULL;
    moon_runnable_unref(runnable);
    return 0;
}

/* Pushes an empty handle whose definition is at index. */
static moon_runnable **push_handle(lua_State *L, int definition) {
    moon_runnable **handle = lua_newuserdatauv(L, sizeof *handle, 1);
    *handle = NULL;
    luaL_setmetatable(L, NAME);
    lua_pushvalue(L, definition);
    lua_setiuservalue(L, -2, 1);
    return handle;
}

const char *moon__lua_tool_name(lua_State *L, int index) {
    if (lua_type(L, index) == LUA_TSTRING) return lua_tostring(L, index);
    moon_runnable *runnable = moon__lua_chain_at(L, index);
    int top = lua_gettop(L);
    bool tool = runnable && lua_getiuservalue(L, index, 1) == LUA_TTABLE &&
                lua_getfield(L, -1, "kind") == LUA_TSTRING && strcmp(lua_tostring(L, -1), "tool") == 0;
    lua_settop(L, top);
    return tool ? moon_runnable_name(runnable) : NULL;
}

void moon__lua_chain_push(lua_State *L, moon_runnable *runnable) {
    moon_runnable **handle = lua_newuserdatauv(L, sizeof *handle, 1);
    *handle = moon_runnable_ref(runnable);
    luaL_setmetatable(L, NAME);
}

/* chain(name, f, definition) → a handle; running it calls f(input, ctx) */
static int chain_new(lua_State *L) {
    moon__script *script = moon__script_of(L);
    moon_error error = {0};
    const char *name = luaL_checkstring(L, 1);
    moon_runnable **handle = push_handle(L, 3);
    lua_pushvalue(L, 2);
    int fn = luaL_ref(L, LUA_REGISTRYINDEX);
    if (moon__function_new(handle, script, name, fn, &error) != MOON_OK) return luaL_error(L, "%s", error.text);
    return 1;
}

/* What there is to tell of a registered tool: pushes its definition. */
static void push_tool(lua_State *L, const moon_tool *tool) {
    moon_error error;
    lua_createtable(L, 0, 3);
    lua_pushliteral(L, "tool");
    lua_setfield(L, -2, "kind");
    lua_pushstring(L, tool->description);
    lua_setfield(L, -2, "description");
    if (!moon__lua_parse(L, tool->params, strlen(tool->params), 0, &error)) return;
    lua_setfield(L, -2, "params");
}

int moon__lua_tool_named(lua_State *L) {
    moon_runtime *runtime = moon__script_of(L)->runtime;
    moon_error error = {0};
    moon__tool_use use = {.name = luaL_checkstring(L, 1)};
    const moon__tool_entry *entry = moon__tools_find(moon__runtime_tools(runtime), use.name);
    if (entry)
        push_tool(L, entry->tool);
    else
        lua_newtable(L);
    moon_runnable **handle = push_handle(L, lua_gettop(L));
    if (moon__tool_runnable(handle, runtime, &use, &error) == MOON_OK) return 1;
    return luaL_error(L, "moon.tool: %s", error.text);
}

/* under(tool, policy as JSON, definition) → a handle of the same tool under these rules too, or nil and why not */
static int under(lua_State *L) {
    moon_error error = {0};
    moon__lua_tool *tool = moon__lua_tool_at(L, 1);
    moon_runnable *named = moon__lua_chain_at(L, 1);
    moon__tool_use use = {.name = named ? moon_runnable_name(named) : "", .policy = luaL_checkstring(L, 2)};
    moon_runnable **handle = push_handle(L, 3);
    if (tool) {
        use.own = &tool->record;
        use.release = moon__lua_tool_release;
        use.owner = moon__lua_tool_ref(tool);
    }
    if (moon__tool_runnable(handle, moon__script_of(L)->runtime, &use, &error) == MOON_OK) return 1;
    if (tool) moon__lua_tool_unref(tool);
    lua_pushnil(L);
    lua_pushstring(L, error.text);
    return 2;
}

/* load(path, definition) → a handle of what another script returns, or nil and why not */
static int foreign(lua_State *L) {
    moon_error error = {0};
    moon_runnable **handle = push_handle(L, 2);
    if (moon__script_load_beside(handle, moon__script_of(L), luaL_checkstring(L, 1), &error) == MOON_OK) return 1;
    lua_pushnil(L);
    lua_pushfstring(L, "%s%s%s", error.where, error.where[0] ? ": " : "", error.text);
    return 2;
}

/* what(handle) → "agent" | "chain" | "tool", its name, its definition; nothing for other values */
static int what(lua_State *L) {
    const char *kind = moon__lua_kind(L, 1);
    if (!kind) return 0;
    moon__lua_tool *tool = moon__lua_tool_at(L, 1);
    moon_runnable *runnable = moon__lua_agent_at(L, 1);
    if (!runnable) runnable = moon__lua_chain_at(L, 1);
    lua_pushstring(L, kind);
    lua_pushstring(L, tool ? tool->name : moon_runnable_name(runnable));
    lua_getiuservalue(L, 1, 1);
    return 3;
}

/* ---- decisions of the journal ---- */

/* key(kind) → the place of a decision that this task may have to record */
static int key(lua_State *L) {
    char text[MOON__PAUSE_KEY];
    moon__task_key(moon__script_of(L)->task, *luaL_optstring(L, 1, "t"), text);
    lua_pushstring(L, text);
    return 1;
}

/* recall(key, kind) → what was recorded there, or nil */
static int recall(lua_State *L) {
    moon_error error;
    moon__buf *json = moon__lua_scratch(L, MOON__JSON_MAX);
    moon_json *was =
        moon__value_recorded(moon__script_of(L)->task->run, luaL_checkstring(L, 1), luaL_checkstring(L, 2));
    if (!was) return 0;
    moon__json_print(json, moon_json_get(was, "value"));
    moon__json_free(was);
    if (json->status) return luaL_error(L, "out of memory");
    return moon__lua_parse(L, json->p, json->len, MOON__NULLS_ARE_NIL, &error) ? 1 : 0;
}

/* record(key, kind, value) */
static int record(lua_State *L) {
    char why[256];
    moon__buf *json = moon__lua_scratch(L, MOON__JSON_MAX);
    if (!moon__lua_write(L, 3, json, why)) return luaL_error(L, "%s", why);
    moon__value_record(moon__script_of(L)->task->run, luaL_checkstring(L, 1), luaL_checkstring(L, 2), json->p,
                       json->len);
    return 0;
}

/* writes(list): what the running branch wrote into the state that it shares */
static int writes(lua_State *L) {
    char why[256];
    moon__buf *json = moon__lua_scratch(L, MOON__JSON_MAX);
    if (!moon__lua_write(L, 1, json, why)) return luaL_error(L, "ctx.state cannot be written as JSON: %s", why);
    char *copy = moon__strndup(json->p, json->len);
    if (!copy) return luaL_error(L, "out of memory");
    moon__run_set_writes(moon__script_of(L)->task->run, copy);
    return 0;
}

static int give_all(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    return lua_gettop(L);
}

static int call_public(lua_State *L) {
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_callk(L, lua_gettop(L) - 1, LUA_MULTRET, 0, give_all);
    return give_all(L, LUA_OK, 0);
}

/* public(f) → f as a C function: called from a script's `return f(…)`, it leaves the script's frame in place, so that
 * errors can name the line. */
static int public(lua_State *L) {
    lua_settop(L, 1);
    lua_pushcclosure(L, call_public, 1);
    return 1;
}

/* raise(message): an error at the script's own line */
static int raise(lua_State *L) {
    char where[112];
    moon__script_where(L, where);
    lua_pushfstring(L, "%s%s%s", where, *where ? ": " : "", luaL_checkstring(L, 1));
    return lua_error(L);
}

/* nearest(word, names) → ' (did you mean "name"?)' or "" */
static int nearest(lua_State *L) {
    const char *names[65];
    size_t n = lua_rawlen(L, 2);
    if (n > 64) n = 64;
    luaL_checkstack(L, (int)n + 4, NULL);
    for (size_t i = 0; i < n; i++) {
        lua_rawgeti(L, 2, (lua_Integer)i + 1);
        names[i] = lua_tostring(L, -1);
    }
    names[n] = NULL;
    const char *near = moon__nearest(luaL_checkstring(L, 1), names);
    if (near)
        lua_pushfstring(L, " (did you mean \"%s\"?)", near);
    else
        lua_pushliteral(L, "");
    return 1;
}

/* track(env): if the task fails in a way that nothing catches, its failure says in which steps it was */
static int track(lua_State *L) {
    moon__task *task = moon__script_of(L)->task;
    lua_settop(L, 1);
    moon__script_drop(task->script, task->trail);
    task->trail = LUA_NOREF;
    task->trail = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

/* traceback(message) → the message with a traceback */
static int traceback(lua_State *L) {
    luaL_traceback(L, L, luaL_checkstring(L, 1), 1);
    return 1;
}

void moon__chain_host(lua_State *L) {
    static const luaL_Reg meta[] = {
        {"__index", chain_index}, {"__tostring", chain_tostring}, {"__gc", chain_gc}, {NULL, NULL}};
    static const luaL_Reg functions[] = {{"chain", chain_new}, {"registered", moon__lua_tool_named},
                                         {"load", foreign},    {"what", what},
                                         {"key", key},         {"recall", recall},
                                         {"record", record},   {"writes", writes},
                                         {"public", public},   {"raise", raise},
                                         {"nearest", nearest}, {"traceback", traceback},
                                         {"track", track},     {"under", under},
                                         {NULL, NULL}};
    moon__lua_handle(L, NAME, meta);
    luaL_setfuncs(L, functions, 0);
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_setfield(L, LUA_REGISTRYINDEX, METHODS);
    lua_setfield(L, -2, "methods");
}
