/* SPDX-License-Identifier: MIT */
/*
 * What reaches a script from outside, each through the journal: moon.time(), moon.env(name), moon.sleep(seconds),
 * moon.wait(name, { timeout = seconds }). A run that is resumed gets what was recorded.
 */
#include "api.h"
#include "outside.h"
#include "proc.h"
#include "testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static moon__task *run_task(lua_State *L, const char *what) {
    moon__task *task = moon__script_of(L)->task;
    if (!task || !task->run || moon__script_of(L)->toplevel)
        luaL_error(L, "%s works within a run: in the function that a script returns, or in a tool", what);
    return task;
}

static int time_now(lua_State *L) {
    moon__task *task = run_task(L, "moon.time");
    char key[MOON__PAUSE_KEY], text[32];
    double value = 0;
    moon__task_key(task, 't', key);
    moon_json *was = moon__value_recorded(task->run, key, "clock");
    if (was) {
        moon_json_num(moon_json_get(was, "value"), &value);
        moon__json_free(was);
    } else {
        int64_t us = moon__loop_wall(moon__runtime_loop(task->script->runtime));
        int n = snprintf(text, sizeof text, "%lld.%06d", (long long)(us / 1000000), (int)(us % 1000000));
        value = (double)us / 1e6;
        moon__value_record(task->run, key, "clock", text, (size_t)n);
    }
    lua_pushnumber(L, value);
    return 1;
}

static int env(lua_State *L) {
    moon__task *task = run_task(L, "moon.env");
    const char *name = luaL_checkstring(L, 1);
    char key[MOON__PAUSE_KEY];
    if (moon__env_is_secret(name))
        return luaL_error(L, "moon.env: %s looks like a secret, and what a script reads stands in the journal", name);
    moon__task_key(task, 't', key);
    moon_json *was = moon__value_recorded(task->run, key, "env");
    const char *value = was ? moon_json_str(moon_json_get(was, "value"), NULL) : moon__standin_env(task->run, name);
    if (!was) {
        moon__buf *json = moon__lua_scratch(L, 1 << 20);
        if (value)
            moon__buf_quoted(json, value, SIZE_MAX);
        else
            moon__buf_str(json, "null");
        if (json->status) return luaL_error(L, "moon.env: %s is too long", name);
        moon__value_record(task->run, key, "env", json->p, json->len);
    }
    lua_pushstring(L, value); /* nil if there is none */
    moon__json_free(was);
    return 1;
}

/* ---- sleep and wait ---- */

typedef struct pause {
    moon__wait wait; /* first */
    moon__pause pause;
    double seconds;
} pause;

static void on_done(void *ctx) {
    moon__wait_done(&((pause *)ctx)->wait);
}

static void start(moon__wait *wait) {
    pause *p = (pause *)wait;
    moon__pause_start(&p->pause, p->seconds);
}

static void cancel(moon__wait *wait) {
    moon__pause_cancel(&((pause *)wait)->pause);
}

/* The signal's value; nil and "timeout". A sleep gives true. */
static int push(lua_State *L, moon__wait *wait) {
    const pause *p = (const pause *)wait;
    if (!*p->pause.name) {
        lua_pushboolean(L, true);
        return 1;
    }
    if (p->pause.value) {
        moon__lua_push(L, moon_json_get(p->pause.value, "value"), MOON__NULLS_ARE_NIL);
        return 1;
    }
    luaL_pushfail(L);
    lua_pushliteral(L, "timeout");
    return 2;
}

static void free_pause(moon__wait *wait) {
    pause *p = (pause *)wait;
    moon__pause_fini(&p->pause);
    moon_run_unref(p->pause.run);
    free(p);
}

static int await(lua_State *L, const char *what, const char *name, double seconds) {
    moon__task *task = run_task(L, what);
    moon__task_check_wait(L, what);
    pause *p = calloc(1, sizeof *p);
    if (!p) return luaL_error(L, "out of memory");
    p->wait = (moon__wait){.start = start, .cancel = cancel, .push = push, .free = free_pause};
    p->pause = (moon__pause){.run = moon_run_ref(task->run), .done = on_done, .ctx = p};
    snprintf(p->pause.name, sizeof p->pause.name, "%s", name);
    moon__task_key(task, 't', p->pause.key);
    p->seconds = seconds;
    return moon__task_await(L, &p->wait);
}

static double check_seconds(lua_State *L, int index, const char *what) {
    double seconds = luaL_checknumber(L, index);
    if (!(seconds >= 0)) luaL_error(L, "%s: seconds must be 0 or more", what);
    return seconds;
}

static int sleep_for(lua_State *L) {
    return await(L, "moon.sleep", "", check_seconds(L, 1, "moon.sleep"));
}

static int wait_for(lua_State *L) {
    static const char *const fields[] = {"timeout", NULL};
    size_t n;
    const char *name = luaL_checklstring(L, 1, &n);
    double seconds = -1;
    luaL_argcheck(L, n > 0 && n < MOON__SIGNAL_NAME && strlen(name) == n, 1, "a name of 1 to 63 bytes");
    if (!lua_isnoneornil(L, 2)) {
        luaL_checktype(L, 2, LUA_TTABLE);
        moon__lua_check_fields(L, 2, "moon.wait", fields);
        lua_settop(L, 2);
        if (lua_getfield(L, 2, "timeout") != LUA_TNIL) seconds = check_seconds(L, 3, "moon.wait: timeout");
        lua_settop(L, 2);
    }
    return await(L, "moon.wait", name, seconds);
}

void moon__api_time(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"time", time_now}, {"env", env}, {"sleep", sleep_for}, {"wait", wait_for}, {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
}
