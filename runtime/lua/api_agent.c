/* SPDX-License-Identifier: MIT */
/*
 * moon.agent { … } and agent:run(input). The table becomes the JSON that run/ makes agents of; what is no JSON (a
 * script's own tools and model) goes beside it. Fields are checked there, so that a script and an embedder get the same
 * errors.
 */
#include "api.h"
#include "text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char NAME[] = "moon.agent", ERROR[] = "moon.error";
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
    char where[112];
    moon__lua_tool *tools[];
} holdings;

static void release(void *owner) {
    holdings *h = owner;
    for (size_t i = 0; i < h->n; i++) moon__lua_tool_unref(h->tools[i]);
    free(h->records);
    moon__script_unref(h->script);
    free(h);
}

/* Replaces spec.tools (the copy's) by the list of names in it. Leaves the list of the script's own tools on the stack,
 * and gives their number. */
static size_t split_tools(lua_State *L, int spec) {
    size_t own = 0, names = 0;
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
        else if (lua_type(L, -1) == LUA_TSTRING)
            lua_rawseti(L, tools + 1, (lua_Integer)++names);
        else
            luaL_error(L, "moon.agent: tools[%d]: a %s is no tool (a name, or what moon.tool gives)", (int)i,
                       luaL_typename(L, -1));
    }
    lua_pushvalue(L, tools + 1);
    moon__lua_mark_array(L);
    lua_setfield(L, spec, "tools");
    lua_replace(L, tools);
    lua_settop(L, tools);
    return own;
}

/* A shallow copy of the table at 1, with `output` expanded. */
static void copy_spec(lua_State *L) {
    lua_newtable(L);
    lua_pushnil(L);
    while (lua_next(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING) luaL_error(L, "moon.agent: a field without a name (a list item?)");
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        lua_rawset(L, -4);
    }
    if (lua_getfield(L, -1, "output") != LUA_TNIL) {
        moon__lua_expand(L, -1, "moon.agent: output", false);
        lua_setfield(L, -3, "output");
    }
    lua_pop(L, 1);
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
static moon_status build(lua_State *L, moon_runnable **out, const moon__buf *json, moon__model *model, int own,
                         size_t n, moon_error *error) {
    moon_json *spec = NULL;
    holdings *h = hold(L, own, n);
    if (!h) return moon_error_set(error, MOON_ENOMEM, "out of memory");
    moon__agent_extra extra = {
        .tools = h->records, .n_tools = n, .model = model, .release = release, .owner = h, .where = h->where};
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
    moon_runnable **handle = lua_newuserdatauv(L, sizeof *handle, 0);
    *handle = NULL;
    luaL_setmetatable(L, NAME);
    copy_spec(L);
    size_t n = split_tools(L, 3);
    moon__model *model = take_model(L, 3);
    moon__buf *json = moon__lua_scratch(L, MOON__JSON_MAX);
    if (!moon__lua_write(L, 3, json, why)) return luaL_error(L, "moon.agent: %s", why);
    if (build(L, handle, json, model, 4, n, &error) != MOON_OK) return luaL_error(L, "moon.agent: %s", error.text);
    lua_settop(L, 2);
    return 1;
}

/* ---- agent:run ---- */

typedef struct child {
    moon__wait wait; /* first */
    moon_runnable *agent;
    moon_run *parent, *run;
    moon_error error; /* why it could not be started */
    moon__buf input;
} child;

static void child_done(void *ctx, moon_run *run) {
    child *c = ctx;
    (void)run;
    moon__wait_done(&c->wait);
}

static void child_start(moon__wait *wait) {
    child *c = (child *)wait;
    moon__buf input = c->input;
    moon__buf_init(&c->input, input.max);
    char place[40];
    moon__task *task = wait->task;
    const char *call = task->call ? moon__call_id(task->call) : NULL;
    snprintf(place, sizeof place, "%s%s%u", call ? call : "", call ? "." : "", ++task->children);
    bool started = moon__run_child(&c->run, c->parent, place, c->agent, input.p ? input.p : "", input.len, child_done,
                                   c, &c->error) == MOON_OK;
    moon__buf_fini(&input);
    if (started) return;
    c->run = NULL;
    moon__wait_done(wait);
}

static void child_cancel(moon__wait *wait) {
    child *c = (child *)wait;
    if (c->run) moon_run_cancel(c->run);
}

static void child_free(moon__wait *wait) {
    child *c = (child *)wait;
    moon__buf_fini(&c->input);
    moon_runnable_unref(c->agent);
    moon_run_unref(c->run);
    moon_run_unref(c->parent);
    free(c);
}

static int push_error(lua_State *L, const char *message, moon_stop stop) {
    luaL_pushfail(L);
    lua_createtable(L, 0, 2);
    lua_pushstring(L, message);
    lua_setfield(L, -2, "message");
    lua_pushstring(L, moon_stop_text(stop));
    lua_setfield(L, -2, "stop");
    luaL_setmetatable(L, ERROR);
    return 2;
}

static int child_push(lua_State *L, moon__wait *wait) {
    child *c = (child *)wait;
    if (!c->run) return push_error(L, c->error.text, MOON_STOP_FAILED);
    const moon_result *result = moon_run_result(c->run);
    if (result->stop != MOON_STOP_DONE)
        return push_error(L, result->error ? result->error : moon_stop_text(result->stop), result->stop);
    if (moon__agent_gives_json(c->agent) &&
        moon__lua_parse(L, result->text, result->text_length, MOON__NULLS_ARE_NIL, &c->error))
        return 1;
    lua_pushlstring(L, result->text, result->text_length);
    return 1;
}

/* The input as text: a string as it is, a table as JSON. Leaves it on the stack. */
static const char *input_text(lua_State *L, int index, size_t *n) {
    char why[256];
    if (lua_isstring(L, index)) return lua_tolstring(L, index, n);
    luaL_argexpected(L, lua_istable(L, index), index, "string or table");
    moon__buf *json = moon__lua_scratch(L, MOON__JSON_MAX);
    if (!moon__lua_write(L, index, json, why)) luaL_error(L, "agent:run: the input cannot be written as JSON: %s", why);
    return lua_pushlstring(L, json->p, *n = json->len);
}

static int agent_run(lua_State *L) {
    moon_runnable *agent = *(moon_runnable **)luaL_checkudata(L, 1, NAME);
    size_t n = 0;
    luaL_argcheck(L, agent != NULL, 1, "no agent");
    if (!lua_isnoneornil(L, 3)) return luaL_error(L, "agent:run takes the input and nothing else");
    const char *input = input_text(L, 2, &n);
    moon__task_check_wait(L, "agent:run");
    child *c = calloc(1, sizeof *c);
    if (!c) return luaL_error(L, "out of memory");
    c->wait = (moon__wait){.start = child_start, .cancel = child_cancel, .push = child_push, .free = child_free};
    moon__buf_init(&c->input, MOON__JSON_MAX);
    moon__lua_add_text(&c->input, input, n);
    c->parent = moon_run_ref(moon__script_of(L)->task->run);
    c->agent = moon_runnable_ref(agent);
    if (c->input.status != MOON_OK) {
        child_free(&c->wait);
        return luaL_error(L, "agent:run: the input is too long");
    }
    return moon__task_await(L, &c->wait);
}

/* ---- the handle ---- */

static int agent_index(lua_State *L) {
    moon_runnable *agent = *(moon_runnable **)luaL_checkudata(L, 1, NAME);
    const char *name = luaL_checkstring(L, 2);
    if (strcmp(name, "run") == 0)
        lua_pushcfunction(L, agent_run);
    else if (strcmp(name, "name") == 0)
        lua_pushstring(L, moon_runnable_name(agent));
    else
        return 0;
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

static int error_tostring(lua_State *L) {
    if (!lua_istable(L, 1) || lua_getfield(L, 1, "message") != LUA_TSTRING) lua_pushliteral(L, "the run failed");
    return 1;
}

void moon__api_agent(lua_State *L) {
    static const luaL_Reg meta[] = {
        {"__index", agent_index}, {"__tostring", agent_tostring}, {"__gc", agent_gc}, {NULL, NULL}};
    static const luaL_Reg error[] = {{"__tostring", error_tostring}, {NULL, NULL}};
    moon__lua_handle(L, NAME, meta);
    moon__lua_handle(L, ERROR, error);
    lua_pushcfunction(L, new_agent);
    lua_setfield(L, -2, "agent");
}
