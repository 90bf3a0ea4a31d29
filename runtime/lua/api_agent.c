/* SPDX-License-Identifier: MIT */
/*
 * moon.agent { … }. The table becomes the JSON that run/ makes agents of; what is no JSON (a
 * script's own tools and model) goes beside it. Fields are checked there, so that a script and an embedder get the same
 * errors.
 */
#include "children.h"
#include "text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char NAME[] = "moon.agent";
enum { TOOLS_MAX = 512 };

moon_runnable *moon__lua_agent_at(lua_State *L, int index) {
    moon_runnable **handle = luaL_testudata(L, index, NAME);
    return handle ? *handle : NULL;
}

/* ---- making one ---- */

/* What an agent borrows from its script, kept until the agent is freed. */
typedef struct holdings {
    moon__script *script;
    const moon_tool **records;
    size_t n;
    moon__lua_handoffs *handoffs;
    moon__lua_hooks *hooks;
    char where[112];
    moon__lua_tool *tools[];
} holdings;

static void release(void *owner) {
    holdings *h = owner;
    for (size_t i = 0; i < h->n; i++) moon__lua_tool_unref(h->tools[i]);
    free(h->records);
    moon__lua_handoffs_unref(h->handoffs);
    moon__lua_hooks_unref(h->hooks);
    moon__script_unref(h->script);
    free(h);
}

/* Pushes the tool "lua", whose scripts may call the others of the list. */
static void push_code(lua_State *L, int tools) {
    lua_pushcfunction(L, moon__code_push);
    lua_createtable(L, 0, 1);
    lua_newtable(L);
    lua_Integer n = 0;
    for (lua_Integer i = 1; lua_rawgeti(L, tools, i) != LUA_TNIL; i++) {
        if (lua_type(L, -1) == LUA_TSTRING && strcmp(lua_tostring(L, -1), "lua") == 0)
            lua_pop(L, 1);
        else
            lua_rawseti(L, -2, ++n);
    }
    lua_pop(L, 1);
    lua_setfield(L, -2, "tools");
    lua_call(L, 1, 1);
}

/* Replaces spec.tools (the copy's) by the list of names in it. Leaves the list of the script's own tools on the stack,
 * and gives their number. */
static size_t split_tools(lua_State *L, int spec) {
    size_t own = 0, names = 0;
    const char *name, *kind;
    bool code = false;
    int type = lua_getfield(L, spec, "tools");
    int tools = lua_gettop(L);
    lua_newtable(L); /* names, tools + 1 */
    lua_newtable(L); /* own, tools + 2 */
    if (type != LUA_TTABLE) {
        lua_replace(L, tools);
        lua_settop(L, tools);
        return 0;
    }
    size_t n = lua_rawlen(L, tools);
    if (n > TOOLS_MAX) luaL_error(L, "moon.agent: tools: at most %d", TOOLS_MAX);
    lua_pushnil(L);
    while (lua_next(L, tools)) {
        lua_pop(L, 1);
        if (!lua_isinteger(L, -1)) luaL_error(L, "moon.agent: tools must be a list of names and tools");
    }
    for (size_t i = 1; i <= n; i++) {
        lua_rawgeti(L, tools, (lua_Integer)i);
        if (moon__lua_tool_at(L, -1))
            lua_rawseti(L, tools + 2, (lua_Integer)++own);
        else if (lua_type(L, -1) == LUA_TSTRING && strcmp(lua_tostring(L, -1), "lua") == 0) {
            code = true;
            lua_pop(L, 1);
        } else if ((name = moon__lua_tool_name(L, -1))) {
            lua_pushstring(L, name);
            lua_rawseti(L, tools + 1, (lua_Integer)++names);
            lua_pop(L, 1);
        } else if ((kind = moon__lua_kind(L, -1)))
            luaL_error(L, "moon.agent: tools[%d] is %s %s; what makes a tool of it is :as_tool { description = … }",
                       (int)i, kind[0] == 'a' ? "an" : "a", kind);
        else
            luaL_error(L, "moon.agent: tools[%d]: a %s is no tool (a name, or what moon.tool gives)", (int)i,
                       luaL_typename(L, -1));
    }
    if (code) {
        push_code(L, tools);
        lua_rawseti(L, tools + 2, (lua_Integer)++own);
    }
    lua_pushvalue(L, tools + 1);
    moon__lua_mark_array(L);
    lua_setfield(L, spec, "tools");
    lua_replace(L, tools);
    lua_settop(L, tools);
    return own;
}

/* Pushes a shallow copy of the table at 1. */
static void copy_table(lua_State *L) {
    lua_newtable(L);
    lua_pushnil(L);
    while (lua_next(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING) luaL_error(L, "moon.agent: a field without a name (a list item?)");
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        lua_rawset(L, -4);
    }
}

/* Instructions in the copy (at the top) that are a prompt: their text, and which version they are. */
static void take_prompt(lua_State *L) {
    int spec = lua_gettop(L);
    if (lua_getfield(L, spec, "instructions") != LUA_TUSERDATA) {
        lua_pop(L, 1);
        return;
    }
    lua_getfield(L, LUA_REGISTRYINDEX, "moon.host");
    if (lua_getfield(L, -1, "instructions") == LUA_TFUNCTION) { /* else no prompt was made, and it is something else */
        lua_pushvalue(L, spec + 1);
        lua_call(L, 1, 3);
        if (lua_isstring(L, -3)) {
            lua_createtable(L, 0, 2);
            lua_insert(L, -3);
            lua_setfield(L, -3, "hash");
            lua_setfield(L, -2, "name");
            lua_setfield(L, spec, "prompt");
            lua_setfield(L, spec, "instructions");
        }
    }
    lua_settop(L, spec);
}

/* A copy with `output` expanded. */
static void copy_spec(lua_State *L) {
    copy_table(L);
    if (lua_getfield(L, -1, "output") != LUA_TNIL) {
        moon__lua_expand(L, -1, "moon.agent: output", false);
        lua_setfield(L, -3, "output");
    }
    lua_pop(L, 1);
    take_prompt(L);
}

/* An inline model, taken out of the copy; NULL if there is none. The table at 1 keeps it alive. */
static moon__model *take_model(lua_State *L, int spec) {
    lua_getfield(L, spec, "model");
    moon__model *model = moon__lua_model_at(L, -1);
    lua_pop(L, 1);
    if (!model) return NULL;
    lua_pushnil(L);
    lua_setfield(L, spec, "model");
    return model;
}

static holdings *hold(lua_State *L, int own, size_t n) {
    holdings *h = calloc(1, sizeof *h + n * sizeof h->tools[0]);
    if (!h) return NULL;
    h->script = moon__script_ref(moon__script_of(L));
    h->records = calloc(n + 1, sizeof *h->records);
    for (size_t i = 0; h->records && i < n; i++) {
        lua_rawgeti(L, own, (lua_Integer)i + 1);
        h->tools[h->n++] = moon__lua_tool_ref(moon__lua_tool_at(L, -1));
        h->records[i] = &h->tools[i]->record;
        lua_pop(L, 1);
    }
    moon__script_where(L, h->where);
    if (h->records) return h;
    release(h);
    return NULL;
}

/* From the JSON text to the agent; raises nothing. */
static moon_status build(lua_State *L, moon_runnable **out, const moon__buf *json, moon__model *model,
                         moon__lua_handoffs *handoffs, moon__lua_hooks *hooks, int own, size_t n, moon_error *error) {
    moon_json *spec = NULL;
    holdings *h = hold(L, own, n);
    if (!h) return moon_error_set(error, MOON_ENOMEM, "out of memory");
    h->handoffs = moon__lua_handoffs_ref(handoffs);
    h->hooks = moon__lua_hooks_ref(hooks);
    moon__agent_extra extra = {
        .tools = h->records, .n_tools = n, .model = model, .release = release, .owner = h, .where = h->where};
    extra.hooks = moon__lua_hooks_record(hooks);
    extra.handoffs = moon__lua_handoffs_specs(handoffs, &extra.n_handoffs);
    moon_status status = moon__json_parse(&spec, json->p, json->len, MOON__JSON_REPAIR, error);
    if (status == MOON_OK) status = moon__agent_new(out, h->script->runtime, spec, &extra, error);
    moon__json_free(spec);
    if (status != MOON_OK) release(h);
    return status;
}

static int new_agent(lua_State *L) {
    char why[256];
    moon_error error = {0};
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    moon_runnable **handle = lua_newuserdatauv(L, sizeof *handle, 1);
    *handle = NULL;
    luaL_setmetatable(L, NAME);
    copy_table(L); /* what it is made of, for with() and describe() */
    lua_setiuservalue(L, 2, 1);
    copy_spec(L);
    size_t n = split_tools(L, 3);
    moon__model *model = take_model(L, 3);
    moon__lua_handoffs *handoffs = moon__lua_handoffs_take(L, 3);
    moon__lua_hooks *hooks = moon__lua_hooks_take(L, 3);
    moon__buf *json = moon__lua_scratch(L, MOON__JSON_MAX);
    if (!moon__lua_write(L, 3, json, why)) return luaL_error(L, "moon.agent: %s", why);
    if (build(L, handle, json, model, handoffs, hooks, 4, n, &error) != MOON_OK)
        return luaL_error(L, "moon.agent: %s", error.text);
    lua_settop(L, 2);
    return 1;
}

/* ---- the handle ---- */

static int agent_index(lua_State *L) {
    moon_runnable *agent = *(moon_runnable **)luaL_checkudata(L, 1, NAME);
    const char *name = luaL_checkstring(L, 2);
    if (strcmp(name, "run") == 0)
        lua_pushcfunction(L, moon__children_run);
    else if (strcmp(name, "name") == 0)
        lua_pushstring(L, moon_runnable_name(agent));
    else
        return moon__lua_method(L);
    return 1;
}

static int agent_tostring(lua_State *L) {
    moon_runnable *agent = moon__lua_agent_at(L, 1);
    lua_pushfstring(L, "agent %s", agent ? moon_runnable_name(agent) : "");
    return 1;
}

static int agent_gc(lua_State *L) {
    moon_runnable **handle = lua_touserdata(L, 1);
    moon_runnable *agent = *handle;
    *handle = NULL;
    moon_runnable_unref(agent);
    return 0;
}

void moon__api_agent(lua_State *L) {
    static const luaL_Reg meta[] = {
        {"__index", agent_index}, {"__tostring", agent_tostring}, {"__gc", agent_gc}, {NULL, NULL}};
    moon__lua_handle(L, NAME, meta);
    lua_pushcfunction(L, new_agent);
    lua_setfield(L, -2, "agent");
}
