/* SPDX-License-Identifier: MIT */
/*
 * The coroutine library of scripts. A script's own coroutine may wait for the host in the middle: the wait then passes
 * through each resume (or wrapped function) between it and the task, and is no value that the script sees:
 *
 *     task ── resume ── co1 ── resume ── co2 ── agent:run waits
 *
 * co2 yields with the task's wait set; the resume that runs it marks co2 with the task, yields in turn with a
 * continuation, and so does the one below. When the host resumes the task, each continuation resumes its coroutine
 * again, down to the one that waits. A coroutine with a mark cannot be resumed or closed by anybody else. One that
 * broke its budget keeps the mark POISONED: hooks are off in it.
 *
 * Every resume costs budget, so that short coroutines, in which the count hook never fires, do not escape it.
 */
#include "task.h"

#define POISONED UINTPTR_MAX

enum kind { RESUME, WRAP };

static lua_State *coroutine_at(lua_State *L, int index) {
    lua_State *co = lua_tothread(L, index);
    luaL_argexpected(L, co, index, "coroutine");
    return co;
}

/* Is it the coroutine that the host runs? To the script that is no coroutine. */
static bool outermost(lua_State *L) {
    moon__task *task = moon__script_of(L)->task;
    return task && task->co == L;
}

static const char *status_of(lua_State *L, lua_State *co) {
    lua_Debug ar;
    if (L == co) return "running";
    if (*moon__task_mark(co) == POISONED) return "dead";
    if (*moon__task_mark(co)) return "normal";
    switch (lua_status(co)) {
    case LUA_YIELD: return "suspended";
    case LUA_OK:
        if (lua_getstack(co, 0, &ar)) return "normal";
        return lua_gettop(co) == 0 ? "dead" : "suspended";
    default: return "dead";
    }
}

static int fail(lua_State *L, enum kind kind, const char *text) {
    if (kind == WRAP) return luaL_error(L, "%s", text);
    lua_pushboolean(L, false);
    lua_pushstring(L, text);
    return 2;
}

/* The coroutine ended with an error, which is at its top. */
static int failed(lua_State *L, lua_State *co, enum kind kind) {
    if (kind == WRAP && lua_status(co) != LUA_OK) lua_resetthread(co); /* runs __close; leaves the error at the top */
    lua_xmove(co, L, 1);
    if (kind == RESUME) {
        lua_pushboolean(L, false);
        lua_insert(L, -2);
        return 2;
    }
    return lua_error(L);
}

static int again(lua_State *L, int status, lua_KContext kind);

static int settle(lua_State *L, lua_State *co, int status, int n, enum kind kind) {
    moon__script *script = moon__script_of(L);
    moon__task *task = script->task;
    if (script->guard.spent) {
        *moon__task_mark(co) = POISONED;
        return moon__guard_stop(L);
    }
    if (status == LUA_YIELD && task && task->wait && !task->wait->done) {
        *moon__task_mark(co) = task->id;
        if (task->n_through < MOON__TASK_DEPTH) task->through[task->n_through++] = co;
        return lua_yieldk(L, 0, kind, again);
    }
    if (status != LUA_OK && status != LUA_YIELD) return failed(L, co, kind);
    if (!lua_checkstack(L, n + 1)) {
        lua_pop(co, n);
        return fail(L, kind, "too many results to resume");
    }
    if (kind == RESUME) lua_pushboolean(L, true);
    lua_xmove(co, L, n);
    return n + (kind == RESUME);
}

static int enter(lua_State *L, lua_State *co, int args, enum kind kind) {
    moon__script *script = moon__script_of(L);
    unsigned blocked = script->blocked;
    int n = 0;
    if (!lua_isyieldable(L)) script->blocked++;
    int status = moon__guard_nested(L, co, args, &n);
    script->blocked = blocked;
    return settle(L, co, status, n, kind);
}

static int again(lua_State *L, int status, lua_KContext context) {
    (void)status;
    enum kind kind = (enum kind)context;
    lua_State *co = lua_tothread(L, kind == WRAP ? lua_upvalueindex(1) : 1);
    lua_settop(L, kind == WRAP ? 0 : 1);
    *moon__task_mark(co) = 0;
    return enter(L, co, 0, kind);
}

static int begin(lua_State *L, lua_State *co, int args, enum kind kind) {
    const char *status = status_of(L, co);
    moon__guard_charge(L, 20);
    if (status[0] != 's')
        return fail(L, kind,
                    lua_pushfstring(L, "cannot resume %s coroutine", status[0] == 'd' ? "dead" : "non-suspended"));
    if (!lua_checkstack(co, args)) return fail(L, kind, "too many arguments to resume");
    lua_xmove(L, co, args);
    return enter(L, co, args, kind);
}

static int co_resume(lua_State *L) {
    return begin(L, coroutine_at(L, 1), lua_gettop(L) - 1, RESUME);
}

static int wrapped(lua_State *L) {
    return begin(L, lua_tothread(L, lua_upvalueindex(1)), lua_gettop(L), WRAP);
}

static int co_create(lua_State *L) {
    luaL_checktype(L, 1, LUA_TFUNCTION);
    moon__guard_charge(L, MOON__STRIDE); /* as much as may run in it uncounted */
    lua_State *co = lua_newthread(L);
    *moon__task_mark(co) = 0;
    lua_pushvalue(L, 1);
    lua_xmove(L, co, 1);
    return 1;
}

static int co_wrap(lua_State *L) {
    co_create(L);
    lua_pushcclosure(L, wrapped, 1);
    return 1;
}

static int co_yield (lua_State *L) {
    if (outermost(L)) return luaL_error(L, "attempt to yield from outside a coroutine");
    return lua_yield(L, lua_gettop(L));
}

static int co_status(lua_State *L) {
    lua_pushstring(L, status_of(L, coroutine_at(L, 1)));
    return 1;
}

static int co_isyieldable(lua_State *L) {
    lua_State *co = lua_isthread(L, 1) ? lua_tothread(L, 1) : L;
    lua_pushboolean(L, lua_isyieldable(co) && !outermost(co));
    return 1;
}

static int co_running(lua_State *L) {
    bool main = lua_pushthread(L) != 0;
    lua_pushboolean(L, main || outermost(L));
    return 2;
}

static int co_close(lua_State *L) {
    lua_State *co = coroutine_at(L, 1);
    const char *status = status_of(L, co);
    if (status[0] != 's' && status[0] != 'd') return luaL_error(L, "cannot close a %s coroutine", status);
    if (*moon__task_mark(co)) return luaL_error(L, "cannot close a coroutine that was stopped");
    moon__guard_of(L)->active = co;
    int result = lua_resetthread(co);
    moon__guard_of(L)->active = L;
    lua_pushboolean(L, result == LUA_OK);
    if (result == LUA_OK) return 1;
    lua_xmove(co, L, 1);
    return 2;
}

void moon__lib_coroutine(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"create", co_create}, {"wrap", co_wrap},       {"resume", co_resume},           {"yield", co_yield },
        {"status", co_status}, {"running", co_running}, {"isyieldable", co_isyieldable}, {"close", co_close},
        {NULL, NULL}};
    luaL_newlib(L, functions);
    lua_setglobal(L, "coroutine");
}
