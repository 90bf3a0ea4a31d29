/* SPDX-License-Identifier: MIT */
/*
 * The field `hooks` of moon.agent: functions that look at each operation of the agent. Each question runs in a task of
 * its own, and may wait; on_event only observes, at once.
 *
 *     before_model(request, ctx)     after_model(answer, ctx)
 *     before_tool(call, ctx)         after_tool(call, result, ctx)         on_event(event, ctx)
 *
 * What they return is made a decision as run.h describes it: nothing; nil and why not; a text; a table.
 */
#include "api.h"
#include "text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char NAME[] = "moon.hooks";
enum { ON_EVENT = 4, N = 5, SECONDS_MAX = 31 * 24 * 60 * 60 };
static const char *const names[] = {"before_model", "after_model", "before_tool", "after_tool",
                                    "on_event",     "timeout",     NULL};

struct moon__lua_hooks {
    unsigned refs;
    moon__script *script;
    int fn[N]; /* registry references */
    char where[N][112];
    moon__hooks record;
};

moon__lua_hooks *moon__lua_hooks_ref(moon__lua_hooks *hooks) {
    if (hooks) hooks->refs++;
    return hooks;
}

void moon__lua_hooks_unref(moon__lua_hooks *hooks) {
    if (!hooks || --hooks->refs > 0) return;
    for (int i = 0; i < N; i++) moon__script_drop(hooks->script, hooks->fn[i]);
    moon__script_unref(hooks->script);
    free(hooks);
}

const moon__hooks *moon__lua_hooks_record(const moon__lua_hooks *hooks) {
    return hooks ? &hooks->record : NULL;
}

/* ---- a question ---- */

typedef struct question {
    moon__lua_hooks *hooks;
    moon__asked *asked;
    bool passed; /* nothing was returned */
} question;

static void push_member(lua_State *L, const char *name) {
    lua_getfield(L, -1, name);
    lua_insert(L, -2);
}

static void prepare(lua_State *L, moon__task *task, void *arg) {
    const question *q = arg;
    moon_error error;
    size_t n;
    const char *json = moon__asked_question(q->asked, &n);
    moon__hook hook = moon__asked_hook(q->asked);
    lua_rawgeti(L, LUA_REGISTRYINDEX, q->hooks->fn[hook]);
    if (!moon__lua_parse(L, json, n, MOON__NULLS_ARE_NIL, &error)) luaL_error(L, "%s", error.text);
    if (hook == MOON__AFTER_TOOL) {
        push_member(L, "call");
        push_member(L, "result");
        lua_pop(L, 1);
    }
    moon__ctx_push(L, task);
}

static void take(lua_State *L, moon__task *task, int n) {
    question *q = task->owner;
    int first = lua_gettop(L) - n + 1;
    q->passed = n == 0 || (lua_isnil(L, first) && (n == 1 || lua_isnil(L, first + 1)));
    if (!q->passed) moon__task_take(L, task, n);
}

/* ---- what is made of its results ---- */

static void put(moon__buf *out, const char *before, const moon_json *value, const char *after) {
    moon__buf_str(out, before);
    moon__json_print(out, value);
    moon__buf_str(out, after);
}

/* A table says by its fields what it is. False: it is none of them. */
static bool decide_table(moon__hook hook, const moon_json *table, moon__buf *out) {
    const moon_json *result = moon_json_get(table, "result");
    if (moon_json_type(table) != MOON_JSON_OBJECT) return false;
    if (!moon_json_size(table))
        moon__buf_str(out, "{}");
    else if (hook == MOON__BEFORE_MODEL && (moon_json_get(table, "text") || moon_json_get(table, "tool_calls")))
        put(out, "{\"answer\":", table, "}");
    else if (hook == MOON__BEFORE_TOOL && result && moon_json_size(table) == 1)
        put(out, moon_json_str(result, NULL) ? "{\"answer\":" : "{\"answer\":{\"json\":", result,
            moon_json_str(result, NULL) ? "}" : "}}");
    else
        put(out, "{\"change\":", table, "}");
    return true;
}

/* False: what was returned is no decision. */
static bool decide(const question *q, const moon__taken *taken, moon__buf *out) {
    moon__hook hook = moon__asked_hook(q->asked);
    const moon__buf *text = &taken->text;
    if (q->passed) {
        moon__buf_str(out, "{}");
        return true;
    }
    if (taken->kind == MOON__JSON) {
        moon_json *table = NULL;
        bool is = moon__json_parse(&table, text->p, text->len, 0, NULL) == MOON_OK && decide_table(hook, table, out);
        moon__json_free(table);
        return is;
    }
    bool answers = hook == MOON__BEFORE_MODEL || hook == MOON__BEFORE_TOOL, refuses = taken->kind == MOON__REFUSED;
    moon__buf_str(out, refuses ? "{\"refuse\":" : answers ? "{\"answer\":" : "{\"change\":{\"text\":");
    moon__buf_quoted(out, text->p, text->len);
    moon__buf_str(out, refuses || answers ? "}" : "}}");
    return true;
}

static void end(moon__task *task, const moon__failure *failure, bool cancelled) {
    question *q = task->owner;
    moon__asked *asked = q->asked;
    if (failure) {
        char *text = moon__failure_text(failure, true);
        moon__asked_fail(asked, text ? text : failure->error.text);
        free(text);
    } else if (cancelled)
        moon__asked_fail(asked, "it was cancelled");
    else {
        moon__buf json;
        moon__buf_init(&json, 128 << 20);
        bool is = decide(q, &task->taken, &json);
        if (json.status)
            moon__asked_fail(asked, "what it returned is too long");
        else if (!is)
            moon__asked_fail(asked, "it must return nothing, a text, a table, or nil and why not");
        else
            moon__asked_decide(asked, json.p, json.len);
        moon__buf_fini(&json);
    }
    moon__lua_hooks_unref(q->hooks);
    free(q);
}

static const moon__task_ops ops = {.take = take, .end = end};

static void ask(void *self, moon__asked *asked) {
    moon__lua_hooks *hooks = self;
    moon__task *task;
    moon_error error = {0};
    question *q = calloc(1, sizeof *q);
    moon__task_spec spec = {.ops = &ops,
                            .owner = q,
                            .script = hooks->script,
                            .run = moon__asked_run(asked),
                            .place = moon__asked_place(asked),
                            .prepare = prepare,
                            .arg = q};
    if (!q) {
        moon__asked_fail(asked, "out of memory");
        return;
    }
    *q = (question){.hooks = moon__lua_hooks_ref(hooks), .asked = asked};
    if (moon__task_new(&task, &spec, &error) == MOON_OK) {
        moon__task_start(task);
        return;
    }
    moon__lua_hooks_unref(hooks);
    free(q);
    moon__asked_fail(asked, error.text);
}

static void cancel(void *self, moon__asked *asked) {
    moon__lua_hooks *hooks = self;
    for (moon__task *task = hooks->script->tasks; task; task = task->next)
        if (task->ops == &ops && ((question *)task->owner)->asked == asked) {
            moon__task_cancel(task);
            return;
        }
}

/* ---- on_event ---- */

typedef struct sight {
    moon__lua_hooks *hooks;
    const moon_event *event;
    moon_error *error;
    bool failed;
} sight;

static void prepare_event(lua_State *L, moon__task *task, void *arg) {
    const sight *s = arg;
    const moon_event *event = s->event;
    moon_error error;
    lua_rawgeti(L, LUA_REGISTRYINDEX, s->hooks->fn[ON_EVENT]);
    lua_createtable(L, 0, 6);
    lua_pushstring(L, moon_event_type_text(event->type));
    lua_setfield(L, -2, "type");
    lua_pushinteger(L, (lua_Integer)event->seq);
    lua_setfield(L, -2, "seq");
    lua_pushnumber(L, (double)event->time_us / 1e6);
    lua_setfield(L, -2, "time");
    lua_pushstring(L, event->run);
    lua_setfield(L, -2, "run");
    lua_pushstring(L, event->path);
    lua_setfield(L, -2, "path");
    if (!moon__lua_parse(L, event->body, event->body_length, MOON__NULLS_ARE_NIL, &error)) lua_newtable(L);
    lua_setfield(L, -2, "body");
    moon__ctx_push(L, task);
}

static void take_nothing(lua_State *L, moon__task *task, int n) {
    (void)L, (void)task, (void)n;
}

static void end_event(moon__task *task, const moon__failure *failure, bool cancelled) {
    sight *s = task->owner;
    (void)cancelled;
    s->failed = failure != NULL;
    if (failure && s->error) *s->error = failure->error;
}

static const moon__task_ops event_ops = {
    .no_wait = "cannot wait here: on_event only observes", .take = take_nothing, .end = end_event};

static bool on_event(void *self, moon_run *run, const moon_event *event, moon_error *error) {
    moon__lua_hooks *hooks = self;
    char place[32];
    moon__task *task;
    sight s = {.hooks = hooks, .event = event, .error = error};
    snprintf(place, sizeof place, "e%llu", (unsigned long long)event->seq);
    moon__task_spec spec = {.ops = &event_ops,
                            .owner = &s,
                            .script = hooks->script,
                            .run = run,
                            .place = place,
                            .prepare = prepare_event,
                            .arg = &s};
    if (moon__task_new(&task, &spec, error) != MOON_OK) return false;
    moon__task_run(task);
    return !s.failed;
}

/* ---- the table ---- */

static void read_hook(lua_State *L, moon__lua_hooks *hooks, int i) {
    lua_Debug ar;
    int type = lua_getfield(L, -1, names[i]);
    if (type == LUA_TNIL) {
        lua_pop(L, 1);
        return;
    }
    if (type != LUA_TFUNCTION) luaL_error(L, "moon.agent: hooks: %s must be a function", names[i]);
    lua_pushvalue(L, -1);
    lua_getinfo(L, ">S", &ar);
    snprintf(hooks->where[i], sizeof hooks->where[i], "%s:%d", ar.short_src, ar.linedefined);
    hooks->fn[i] = luaL_ref(L, LUA_REGISTRYINDEX);
    if (i == ON_EVENT) {
        hooks->record.on_event = on_event;
        return;
    }
    hooks->record.has |= 1U << i; /* the names are in the order of moon__hook */
    hooks->record.where[i] = hooks->where[i];
}

static uint32_t read_timeout(lua_State *L) {
    int type = lua_getfield(L, -1, "timeout");
    double seconds = lua_tonumber(L, -1);
    lua_pop(L, 1);
    if (type == LUA_TNIL) return 0;
    if (type != LUA_TNUMBER || !(seconds > 0 && seconds <= SECONDS_MAX))
        luaL_error(L, "moon.agent: hooks: timeout must be seconds, more than 0 and at most 31 days");
    return (uint32_t)(seconds * 1000) + (seconds < 0.001);
}

moon__lua_hooks *moon__lua_hooks_take(lua_State *L, int index) {
    int type = lua_getfield(L, index, "hooks");
    if (type == LUA_TNIL) return NULL;
    if (type != LUA_TTABLE)
        luaL_error(L, "moon.agent: hooks must be a table, as { before_tool = function(call) … end }");
    moon__lua_check_fields(L, lua_gettop(L), "moon.agent: hooks", names);
    moon__lua_hooks **handle = lua_newuserdatauv(L, sizeof *handle, 0);
    *handle = NULL;
    luaL_setmetatable(L, NAME);
    moon__lua_hooks *hooks = *handle = calloc(1, sizeof *hooks);
    if (!hooks) {
        luaL_error(L, "out of memory");
        return NULL;
    }
    hooks->refs = 1;
    hooks->script = moon__script_ref(moon__script_of(L));
    for (int i = 0; i < N; i++) hooks->fn[i] = LUA_NOREF;
    lua_pushvalue(L, -2); /* the table, above the handle */
    hooks->record = (moon__hooks){.timeout_ms = read_timeout(L), .ask = ask, .cancel = cancel, .self = hooks};
    for (int i = 0; i < N; i++) read_hook(L, hooks, i);
    lua_pop(L, 1);
    lua_pushnil(L);
    lua_setfield(L, index, "hooks");
    return hooks;
}

static int hooks_gc(lua_State *L) {
    moon__lua_hooks **handle = lua_touserdata(L, 1);
    moon__lua_hooks_unref(*handle);
    *handle = NULL;
    return 0;
}

void moon__api_hooks(lua_State *L) {
    static const luaL_Reg meta[] = {{"__gc", hooks_gc}, {NULL, NULL}};
    moon__lua_handle(L, NAME, meta);
}
