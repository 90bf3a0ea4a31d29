/* SPDX-License-Identifier: MIT */
/*
 * ctx, the second argument of a tool's call and of a function runnable: ctx.run (the run's id), ctx.path (its place in
 * the tree), ctx.state (of a chain), ctx:progress(text), ctx.cancelled(). The handle points at the task until that has
 * ended; the task clears it then, so that one which a script kept says so instead of reaching into freed memory.
 */
#include "task.h"

#include <string.h>

static const char NAME[] = "moon.ctx";

static moon__task *task_of(lua_State *L, int index) {
    moon__task **handle = luaL_checkudata(L, index, NAME);
    if (!*handle) luaL_error(L, "ctx is used after its call has ended");
    return *handle;
}

static int progress(lua_State *L) {
    moon__task *task = task_of(L, 1);
    const char *text = luaL_checkstring(L, 2);
    if (task->call)
        moon_call_progress(task->call, "%s", text);
    else if (task->run)
        moon__task_log(task, MOON__INFO, text, lua_rawlen(L, 2));
    return 0;
}

static int cancelled(lua_State *L) {
    moon__task **handle = luaL_checkudata(L, lua_upvalueindex(1), NAME);
    moon__task *task = *handle;
    lua_pushboolean(L, !task || task->cancelled || (task->call && moon_call_cancelled(task->call)));
    return 1;
}

/* The state of a chain, or a new one. */
static int push_state(lua_State *L, const moon__task *task) {
    if (task->call) return luaL_error(L, "ctx.state belongs to chains; a tool returns what it found");
    if (lua_getiuservalue(L, 1, 1) != LUA_TNIL) return 1;
    moon__prelude(L, "state");
    lua_call(L, 0, 1);
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, 1, 1);
    return 1;
}

/* set_state(ctx, state) */
static int set_state(lua_State *L) {
    luaL_checkudata(L, 1, NAME);
    lua_settop(L, 2);
    lua_setiuservalue(L, 1, 1);
    return 0;
}

static int ctx_index(lua_State *L) {
    moon__task *task = task_of(L, 1);
    const char *name = luaL_checkstring(L, 2);
    switch (name[0]) {
    case 'r':
        if (strcmp(name, "run") != 0) return 0;
        lua_pushstring(L, task->run ? moon_run_id(task->run) : "");
        return 1;
    case 'p':
        if (strcmp(name, "path") == 0) {
            lua_pushstring(L, task->run ? moon__run_path_of(task->run) : "");
            return 1;
        }
        if (strcmp(name, "progress") != 0) return 0;
        lua_pushcfunction(L, progress);
        return 1;
    case 's':
        if (strcmp(name, "state") != 0) return 0;
        return push_state(L, task);
    case 'c':
        if (strcmp(name, "cancelled") != 0) return 0;
        lua_pushvalue(L, 1);
        lua_pushcclosure(L, cancelled, 1);
        return 1;
    default: return 0;
    }
}

static int ctx_gc(lua_State *L) {
    moon__task **handle = lua_touserdata(L, 1);
    if (*handle) (*handle)->ctx = NULL;
    return 0;
}

void moon__ctx_push(lua_State *L, moon__task *task) {
    moon__task **handle = lua_newuserdatauv(L, sizeof *handle, 1);
    *handle = NULL;
    luaL_setmetatable(L, NAME);
    *handle = task;
    task->ctx = handle;
}

void moon__ctx_host(lua_State *L) {
    lua_pushcfunction(L, set_state);
    lua_setfield(L, -2, "set_state");
}

void moon__api_ctx(lua_State *L) {
    static const luaL_Reg meta[] = {{"__index", ctx_index}, {"__gc", ctx_gc}, {NULL, NULL}};
    luaL_newmetatable(L, NAME);
    luaL_setfuncs(L, meta, 0);
    lua_pushliteral(L, "locked");
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);
}
