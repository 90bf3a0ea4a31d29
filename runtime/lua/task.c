/* SPDX-License-Identifier: MIT */
/* Tasks; see task.h for their life. */
#include "task.h"
#include "text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void turn(void *ctx);

/* ---- making ---- */

typedef struct making {
    moon__task *task;
    const moon__task_spec *spec;
} making;

static int make(lua_State *L) {
    making *m = lua_touserdata(L, 1);
    moon__task *task = m->task;
    task->co = lua_newthread(L);
    task->anchor = luaL_ref(L, LUA_REGISTRYINDEX);
    int base = lua_gettop(L);
    m->spec->prepare(L, task, m->spec->arg);
    int n = lua_gettop(L) - base;
    if (!lua_checkstack(task->co, n + 1)) return luaL_error(L, "stack overflow");
    lua_xmove(L, task->co, n);
    return 0;
}

static void link_task(moon__task *task) {
    moon__script *script = task->script;
    task->next = script->tasks;
    if (task->next) task->next->prev = task;
    script->tasks = task;
}

static void unlink_task(moon__task *task) {
    if (task->next) task->next->prev = task->prev;
    if (task->prev)
        task->prev->next = task->next;
    else
        task->script->tasks = task->next;
}

moon_status moon__task_new(moon__task **out, const moon__task_spec *spec, moon_error *error) {
    if (!moon__script_open(spec->script)) return moon_error_set(error, MOON_ECANCELLED, "the runtime has ended");
    moon__task *task = calloc(1, sizeof *task);
    if (!task) return moon_error_set(error, MOON_ENOMEM, "out of memory");
    *task = (moon__task){.ops = spec->ops,
                         .owner = spec->owner,
                         .script = moon__script_ref(spec->script),
                         .run = spec->run,
                         .call = spec->call,
                         .anchor = LUA_NOREF,
                         .globals = LUA_NOREF,
                         .trail = LUA_NOREF,
                         .id = ++spec->script->last_task,
                         .defer = {.fn = turn, .ctx = task}};
    snprintf(task->place, sizeof task->place, "%s",
             spec->place  ? spec->place
             : spec->call ? moon__call_id(spec->call)
                          : "");
    moon__buf_init(&task->taken.text, 64 << 20);
    if (spec->run)
        moon__random_init(&task->random, moon__run_seed(spec->run, task->place));
    else
        task->random = spec->script->random;
    link_task(task);
    moon_status status = moon__guard_call(&spec->script->guard, make, &(making){task, spec}, error);
    if (status != MOON_OK) {
        moon__task_free(task);
        return status;
    }
    *out = task;
    return MOON_OK;
}

/* Lets go of all that Lua holds for it. */
static void leave_lua(moon__task *task) {
    moon__script *script = task->script;
    if (task->ctx) *(moon__task **)task->ctx = NULL;
    task->ctx = NULL;
    moon__script_drop(script, task->anchor);
    moon__script_drop(script, task->globals);
    moon__script_drop(script, task->trail);
    task->anchor = task->globals = task->trail = LUA_NOREF;
    task->co = NULL;
}

static void drop_wait(moon__task *task) {
    moon__wait *wait = task->wait;
    task->wait = NULL;
    if (!wait) return;
    wait->task = NULL;
    if (wait->done) wait->free(wait);
}

void moon__task_free(moon__task *task) {
    moon__script *script = task->script;
    if (script->runtime) moon__defer_cancel(moon__runtime_loop(script->runtime), &task->defer);
    leave_lua(task);
    drop_wait(task);
    unlink_task(task);
    moon__buf_fini(&task->taken.text);
    free(task->taken.stop);
    free(task);
    moon__script_unref(script);
}

/* ---- turning ---- */

void moon__task_start(moon__task *task) {
    moon__defer_call(moon__runtime_loop(task->script->runtime), &task->defer);
}

void moon__task_run(moon__task *task) {
    turn(task);
}

static int take(lua_State *L) {
    moon__task *task = lua_touserdata(L, 1);
    int n = lua_gettop(task->co);
    luaL_checkstack(L, n, NULL);
    lua_xmove(task->co, L, n);
    task->ops->take(L, task, n);
    return 0;
}

/* The coroutine has ended: closes what it left open, tells, frees. */
static void end(moon__task *task, moon__failure *failure) {
    moon__script *script = task->script;
    moon__guard *guard = &script->guard;
    if (!failure || !guard->spent) { /* one that overran its budget is dropped as it is */
        moon__task *before = script->task;
        script->task = task;
        for (unsigned i = 0; i < task->n_through; i++) moon__guard_reset(guard, task->through[i]);
        moon__guard_reset(guard, task->co);
        script->task = before;
    }
    leave_lua(task);
    task->ops->end(task, failure, failure == NULL && task->cancelled);
    if (failure) moon__failure_fini(failure);
    moon__task_free(task);
}

typedef struct locating {
    const moon__task *task;
    moon__failure *failure;
} locating;

/* Puts the labels of the steps that it was in before the failure's text. */
static int locate(lua_State *L) {
    const locating *l = lua_touserdata(L, 1);
    moon_error *error = &l->failure->error;
    lua_rawgeti(L, LUA_REGISTRYINDEX, l->task->trail);
    lua_Integer n = lua_getfield(L, -1, "n") == LUA_TNUMBER ? lua_tointeger(L, -1) : 0;
    lua_pop(L, 1);
    lua_pushliteral(L, "");
    for (lua_Integer i = 1; i <= n; i++) {
        lua_rawgeti(L, 2, i);
        lua_pushstring(L, i < n ? " > " : ": ");
        lua_concat(L, 3);
    }
    lua_pushstring(L, error->text);
    lua_concat(L, 2);
    moon_error_set(error, error->code, "%s", lua_tostring(L, -1));
    return 0;
}

static void turn(void *ctx) {
    moon__task *task = ctx, *before = task->script->task;
    moon__script *script = task->script;
    moon__failure failure = {0};
    int n = 0, args = task->started ? 0 : lua_gettop(task->co) - 1;
    if (!task->started) moon__log_flush(script, task->run);
    if (task->cancelled) {
        end(task, NULL);
        return;
    }
    unsigned blocked = script->blocked;
    script->task = task;
    script->blocked = 0;
    task->started = task->running = true;
    task->n_through = 0;
    int status = moon__guard_resume(&script->guard, task->co, args, &n);
    bool failed = status != LUA_OK && status != LUA_YIELD;
    if (failed) moon__guard_describe(&script->guard, task->co, status, &failure);
    if (failed && task->trail != LUA_NOREF) {
        moon_error none; /* without memory for it the failure stands as it is */
        moon_status located = moon__guard_call(&script->guard, locate, &(locating){task, &failure}, &none);
        (void)located;
    }
    if (status == LUA_OK && !task->cancelled && moon__guard_call(&script->guard, take, task, &failure.error) != MOON_OK)
        failed = true;
    task->running = false;
    script->task = before;
    script->blocked = blocked;
    if (status == LUA_YIELD && !task->cancelled) {
        if (task->run) moon__run_busy(task->run, -1);
        task->wait->start(task->wait); /* only a wait yields to the host; see coroutine.c */
        return;
    }
    if (status == LUA_YIELD) task->wait->done = true; /* cancelled before it began */
    end(task, failed ? &failure : NULL);
}

void moon__task_cancel(moon__task *task) {
    if (task->cancelled) return;
    task->cancelled = true;
    if (task->running) return; /* Lua called the host back: seen when it has been left */
    if (task->wait && !task->wait->done)
        task->wait->cancel(task->wait);
    else
        moon__task_start(task);
}

/* ---- waiting ---- */

void moon__task_key(moon__task *task, char kind, char key[MOON__PAUSE_KEY]) {
    snprintf(key, MOON__PAUSE_KEY, "%s%s%c%u", task->place, *task->place ? "." : "", kind, ++task->values);
}

uintptr_t *moon__task_mark(lua_State *co) {
    return (uintptr_t *)lua_getextraspace(co);
}

void moon__wait_done(moon__wait *wait) {
    wait->done = true;
    if (wait->task) {
        if (wait->task->run) moon__run_busy(wait->task->run, 1);
        moon__task_start(wait->task);
    } else
        wait->free(wait);
}

void moon__task_check_wait(lua_State *L, const char *what) {
    moon__script *script = moon__script_of(L);
    moon__task *task = script->task;
    if (!task || script->toplevel || task->ops->no_wait)
        luaL_error(L, "%s %s", what,
                   task && !script->toplevel ? task->ops->no_wait
                                             : "cannot wait here: a file's body only describes; wait in a run");
    if (script->blocked || !lua_isyieldable(L))
        luaL_error(
            L,
            "%s cannot wait here (in a sort comparator, gsub function, metamethod, or a __close of a run that ended)",
            what);
}

static int awaited(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    moon__task *task = moon__script_of(L)->task;
    moon__wait *wait = task->wait;
    int n = wait->push(L, wait); /* if it raises, the wait goes with the task */
    drop_wait(task);
    return n;
}

int moon__task_await(lua_State *L, moon__wait *wait) {
    moon__task *task = moon__script_of(L)->task;
    drop_wait(task); /* one whose push raised, and was caught */
    task->wait = wait;
    task->n_through = 0;
    wait->task = task;
    return lua_yieldk(L, 0, 0, awaited);
}

void moon__task_log(moon__task *task, moon__log_level level, const char *text, size_t length) {
    char key[sizeof task->place + 16];
    snprintf(key, sizeof key, "%s.%u", task->place, ++task->logs);
    if (*task->place)
        moon__run_log_as(task->run, key, level, text, length);
    else
        moon__run_log(task->run, level, text, length);
}

/* ---- results ---- */

static char *copy_stop(lua_State *L, int index) {
    if (!lua_istable(L, index)) return NULL;
    lua_pushliteral(L, "stop");
    char *stop = lua_rawget(L, index) == LUA_TSTRING ? moon__strdup(lua_tostring(L, -1)) : NULL;
    lua_pop(L, 1);
    return stop;
}

/* The text of an error value: the message of a table that has one, else what tostring() makes of it. Pushes. */
static const char *reason(lua_State *L, int index) {
    if (lua_istable(L, index)) {
        lua_pushliteral(L, "message");
        int type = lua_rawget(L, index);
        lua_pushliteral(L, "at"); /* where in a chain */
        if (type == LUA_TSTRING && lua_rawget(L, index) == LUA_TSTRING)
            return lua_pushfstring(L, "%s: %s", lua_tostring(L, -1), lua_tostring(L, -2));
        if (type == LUA_TSTRING) return lua_tostring(L, -2);
        lua_pop(L, 2);
    }
    return moon__lua_text(L, index);
}

void moon__task_take(lua_State *L, moon__task *task, int n) {
    moon__taken *taken = &task->taken;
    int first = lua_gettop(L) - n + 1;
    size_t length;
    const char *text;
    if (n >= 2 && (lua_isnil(L, first) || (lua_isboolean(L, first) && !lua_toboolean(L, first))) &&
        !lua_isnil(L, first + 1)) {
        taken->kind = MOON__REFUSED;
        taken->stop = copy_stop(L, first + 1);
        text = reason(L, first + 1);
        moon__lua_add_text(&taken->text, text, strlen(text));
    } else if (n == 0 || lua_isnil(L, first)) {
        taken->kind = MOON__NOTHING;
    } else if (lua_type(L, first) == LUA_TSTRING) {
        taken->kind = MOON__TEXT;
        text = lua_tolstring(L, first, &length);
        moon__lua_add_text(&taken->text, text, length);
    } else {
        char why[256];
        taken->kind = MOON__JSON;
        moon__buf *json = moon__lua_scratch(L, MOON__JSON_MAX);
        if (!moon__lua_write(L, first, json, why)) luaL_error(L, "the result cannot be written as JSON: %s", why);
        moon__buf_add(&taken->text, json->p, json->len);
    }
    if (taken->text.status != MOON_OK) luaL_error(L, "the result is too long");
}

char *moon__failure_text(const moon__failure *failure, bool trace) {
    moon__buf buf;
    moon__buf_init(&buf, 8192);
    if (failure->error.where[0]) moon__buf_printf(&buf, "%s: ", failure->error.where);
    moon__buf_str(&buf, failure->error.text);
    if (trace && failure->trace) moon__buf_printf(&buf, "\n%s", failure->trace);
    char *text = moon__buf_take(&buf);
    moon__buf_fini(&buf);
    return text;
}
