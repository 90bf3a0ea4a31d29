/* SPDX-License-Identifier: MIT */
/*
 * Runs under test: prepare(spec) → id; await(id) starts the run, outside of Lua, and waits until there is something to
 * look at (a question, a wait for a signal, the end); events(id), decide(id, …), signal(id, …).
 *
 * Events are kept as text, and become tables when the test asks for them.
 */
#include "test.h"
#include "text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EVENTS_MAX = 16 << 20, INPUT_MAX = 4 << 20 };

typedef struct moon__test_wait {
    moon__wait wait; /* first */
    moon__under *under;
} moon__test_wait;

moon__under *moon__under_of(const moon__test_host *host, const moon_run *root) {
    for (moon__under *u = host->runs; u; u = u->next)
        if (u->run == root) return u;
    return host->starting;
}

static void free_fakes(moon__under *under) {
    for (moon__fake *f = under->fakes, *next; f; f = next) {
        next = f->next;
        moon__lua_tool_unref(f->tool);
        free(f->name);
        free(f);
    }
    for (moon__fake_model *m = under->models, *next; m; m = next) {
        next = m->next;
        moon__model_unref(m->model);
        free(m->agent);
        free(m->spec);
        free(m);
    }
}

void moon__under_free(moon__under *under) {
    moon__defer_cancel(moon__runtime_loop(under->host->script->runtime), &under->wake);
    moon_run_unref(under->run);
    moon_runnable_unref(under->runnable);
    free_fakes(under);
    moon__json_free(under->policy);
    moon__json_free(under->env);
    moon__buf_fini(&under->events);
    moon__buf_fini(&under->news);
    free(under->script);
    free(under->tool);
    free(under->input);
    free(under);
}

/* ---- preparing: the table at 1 is read ---- */

static char *text_field(lua_State *L, const char *name, size_t *n) {
    lua_getfield(L, 1, name);
    const char *text = lua_tolstring(L, -1, n);
    char *copy = text ? moon__strndup(text, *n) : NULL;
    if (text && !copy) luaL_error(L, "out of memory");
    lua_pop(L, 1);
    return copy;
}

static moon_json *json_field(lua_State *L, const char *name) {
    char why[256];
    moon_json *json = NULL;
    if (lua_getfield(L, 1, name) != LUA_TNIL) {
        moon__buf *text = moon__lua_scratch(L, INPUT_MAX);
        if (!moon__lua_write(L, -1, text, why)) luaL_error(L, "%s: %s", name, why);
        if (moon__json_parse(&json, text->p, text->len, 0, NULL)) luaL_error(L, "%s: out of memory", name);
    }
    lua_pop(L, 1);
    return json;
}

static bool flag(lua_State *L, const char *name) {
    lua_getfield(L, 1, name);
    bool set = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return set;
}

static double number(lua_State *L, const char *name) {
    lua_getfield(L, -1, name);
    double value = luaL_optnumber(L, -1, -1);
    lua_pop(L, 1);
    return value;
}

static void read_limits(lua_State *L, moon_limits *limits) {
    *limits = MOON_LIMITS_NONE;
    if (lua_getfield(L, 1, "limits") == LUA_TTABLE) {
        limits->steps = (int64_t)number(L, "steps");
        limits->tool_calls = (int64_t)number(L, "tool_calls");
        limits->seconds = (int64_t)number(L, "seconds");
        limits->tokens = (int64_t)number(L, "tokens");
        limits->usd = number(L, "usd");
    }
    lua_pop(L, 1);
}

/* For each member of the table in field: add(L, under, name), its value at the top. */
static void each(lua_State *L, moon__under *under, const char *field,
                 void (*add)(lua_State *L, moon__under *under, const char *name)) {
    if (lua_getfield(L, 1, field) == LUA_TTABLE) {
        for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1))
            if (lua_type(L, -2) == LUA_TSTRING) add(L, under, lua_tostring(L, -2));
    }
    lua_pop(L, 1);
}

static void add_tool(lua_State *L, moon__under *under, const char *name) {
    moon__fake *fake = calloc(1, sizeof *fake);
    if (!fake) {
        luaL_error(L, "out of memory");
        return;
    }
    fake->next = under->fakes;
    fake->fn = LUA_NOREF;
    under->fakes = fake;
    if (!(fake->name = moon__strdup(name))) luaL_error(L, "out of memory");
    lua_pushvalue(L, -1);
    fake->fn = luaL_ref(L, LUA_REGISTRYINDEX);
}

static void add_model(lua_State *L, moon__under *under, const char *agent) {
    moon__fake_model *m = calloc(1, sizeof *m);
    if (!m) {
        luaL_error(L, "out of memory");
        return;
    }
    m->next = under->models;
    under->models = m;
    moon__model *model = moon__lua_model_at(L, -1);
    m->agent = moon__strdup(agent);
    if (model)
        m->model = moon__model_ref(model);
    else
        m->spec = moon__strdup(lua_tostring(L, -1));
    if (!m->agent || (!m->model && !m->spec)) luaL_error(L, "out of memory");
}

/* An agent, a chain, a tool, a function, or the name of a script; a path is relative to the test file. */
static void read_runnable(lua_State *L, moon__under *under) {
    moon_error error = {0};
    int type = lua_getfield(L, 1, "what");
    if (moon__lua_kind(L, -1))
        under->runnable = moon__lua_runnable(L, -1);
    else if (type == LUA_TFUNCTION) {
        lua_pushvalue(L, -1);
        if (moon__function_new(&under->runnable, under->host->script, NULL, luaL_ref(L, LUA_REGISTRYINDEX), &error))
            luaL_error(L, "%s", error.text);
    } else if (type == LUA_TSTRING) {
        const char *name = lua_tostring(L, -1);
        size_t n = strlen(name);
        bool path = strchr(name, '/') || (n > 4 && strcmp(name + n - 4, ".lua") == 0);
        if (path && *name != '/') name = lua_pushfstring(L, "%s/%s", under->host->script->dir, name);
        if (!(under->script = moon__strdup(name))) luaL_error(L, "out of memory");
    }
    lua_settop(L, 1);
}

/* prepare { what | tool, input, models, tools, policy, env, limits, yes, asks } → id */
static int prepare(lua_State *L) {
    moon__test_host *host = moon__test_host_of(L);
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    moon__under *under = calloc(1, sizeof *under);
    if (!under) return luaL_error(L, "out of memory");
    under->host = host;
    under->next = host->runs;
    under->id = ++host->last_id;
    moon__buf_init(&under->events, EVENTS_MAX);
    moon__buf_init(&under->news, EVENTS_MAX);
    host->runs = under; /* the host's from here on, so that an error leaks nothing */
    size_t n;
    under->tool = text_field(L, "tool", &n);
    under->input = text_field(L, "input", &under->input_length);
    under->yes = flag(L, "yes");
    under->asks = flag(L, "asks");
    under->policy = json_field(L, "policy");
    under->env = json_field(L, "env");
    read_limits(L, &under->limits);
    each(L, under, "tools", add_tool);
    each(L, under, "models", add_model);
    if (!under->tool) read_runnable(L, under);
    lua_pushinteger(L, under->id);
    return 1;
}

static moon__under *check_under(lua_State *L) {
    lua_Integer id = luaL_checkinteger(L, 1);
    moon__under *u = moon__test_host_of(L)->runs;
    while (u && u->id != id) u = u->next;
    if (!u) luaL_error(L, "no run %d is under test", (int)id);
    return u;
}

/* ---- events ---- */

static void wake(void *ctx) {
    moon__under *under = ctx;
    moon__test_wait *wait = under->waiting;
    under->waiting = NULL;
    if (wait) moon__wait_done(&wait->wait);
}

static void add_event(moon__buf *out, const moon_event *event) {
    moon__jw w;
    moon__jw_init(&w, out);
    moon__jw_object(&w, NULL);
    moon__jw_str(&w, "type", moon_event_type_text(event->type), SIZE_MAX);
    moon__jw_int(&w, "seq", (int64_t)event->seq);
    moon__jw_str(&w, "path", event->path, SIZE_MAX);
    moon__jw_num(&w, "time", (double)event->time_us / 1e6);
    moon__jw_raw(&w, "body", event->body, event->body_length);
    moon__jw_end(&w);
    moon__buf_char(out, ',');
}

/* Is it for the test to do something about it? */
static bool is_news(const moon__under *under, const moon_event *event) {
    if (event->type == MOON_EVENT_APPROVAL_ASKED) return under->asks;
    return event->type == MOON_EVENT_VALUE_RECORDED && strstr(event->body, "\"kind\":\"wait ") != NULL;
}

static void on_event(void *ctx, moon_run *run, const moon_event *event) {
    moon__under *under = ctx;
    bool end = event->type == MOON_EVENT_RUN_FINISHED && !*event->path, news = is_news(under, event);
    (void)run;
    add_event(&under->events, event);
    if (news) add_event(&under->news, event);
    under->finished = under->finished || end;
    if (news || end) moon__defer_call(moon__runtime_loop(under->host->script->runtime), &under->wake);
}

/* ---- waiting ---- */

static moon_status start_run(moon__under *under) {
    moon_runtime *runtime = under->host->script->runtime;
    moon_run_options options = {.size = sizeof options,
                                .input = under->input,
                                .input_length = under->input_length,
                                .limits = &under->limits,
                                .allow_all = under->yes,
                                .can_ask = under->asks,
                                .on_event = on_event,
                                .ctx = under};
    if (under->tool)
        return moon_run_tool(&under->run, runtime, under->tool, under->input, under->input_length, &options,
                             &under->error);
    moon_status status =
        under->script ? moon_script_load(&under->runnable, runtime, under->script, &under->error) : MOON_OK;
    return status ? status : moon_run_start(&under->run, runtime, under->runnable, &options, &under->error);
}

static void start(moon__wait *wait) {
    moon__under *under = ((moon__test_wait *)wait)->under;
    under->wake = under->wake.queued ? under->wake : (moon__defer){.fn = wake, .ctx = under};
    if (!under->started) {
        under->started = true;
        under->host->starting = under;
        moon_status status = start_run(under);
        under->host->starting = NULL;
        if (status) {
            under->run = NULL;
            under->finished = true;
        }
    }
    under->waiting = (moon__test_wait *)wait;
    if (under->finished || under->news.len)
        moon__defer_call(moon__runtime_loop(under->host->script->runtime), &under->wake);
}

static void cancel(moon__wait *wait) {
    moon__under *under = ((moon__test_wait *)wait)->under;
    if (under->run && !under->finished)
        moon_run_cancel(under->run);
    else
        moon__defer_call(moon__runtime_loop(under->host->script->runtime), &under->wake);
}

/* Pushes the objects of a buffer as a list, and empties it. */
static void push_events(lua_State *L, moon__buf *events) {
    moon_error error = {0};
    moon__buf *text = moon__lua_scratch(L, EVENTS_MAX + 16);
    if (events->status == MOON_ELIMIT) luaL_error(L, "the run has over %d MiB of events", EVENTS_MAX >> 20);
    moon__buf_char(text, '[');
    if (events->len) moon__buf_add(text, events->p, events->len - 1);
    moon__buf_char(text, ']');
    if (events->status || text->status || !moon__lua_parse(L, text->p, text->len, 0, &error))
        luaL_error(L, "the events cannot be read: %s", error.text[0] ? error.text : "out of memory");
}

static void set_text(lua_State *L, const char *name, const char *text, size_t n) {
    lua_pushlstring(L, text, n);
    lua_setfield(L, -2, name);
}

static void push_end(lua_State *L, const moon__under *under) {
    const moon_result *result = under->run ? moon_run_result(under->run) : NULL;
    lua_newtable(L);
    if (!result) {
        set_text(L, "unloaded", under->error.text, strlen(under->error.text));
        set_text(L, "where", under->error.where, strlen(under->error.where));
        return;
    }
    const char *stop = moon_stop_text(result->stop), *id = moon_run_id(under->run);
    set_text(L, "id", id, strlen(id));
    set_text(L, "stop", stop, strlen(stop));
    set_text(L, "text", result->text, result->text_length);
    if (result->error) set_text(L, "error", result->error, strlen(result->error));
    lua_pushnumber(L, (double)result->wall_ms / 1000);
    lua_setfield(L, -2, "seconds");
    lua_pushboolean(L, result->json);
    lua_setfield(L, -2, "json");
}

/* → the news, and the end if it has come */
static int push(lua_State *L, moon__wait *wait) {
    moon__under *under = ((moon__test_wait *)wait)->under;
    push_events(L, &under->news);
    moon__buf_reset(&under->news);
    if (!under->finished) return 1;
    push_end(L, under);
    return 2;
}

static void free_wait(moon__wait *wait) {
    moon__test_wait *w = (moon__test_wait *)wait;
    if (w->under->waiting == w) w->under->waiting = NULL;
    free(w);
}

static int await(lua_State *L) {
    moon__under *under = check_under(L);
    moon__task_check_wait(L, "t.run");
    moon__test_wait *w = calloc(1, sizeof *w);
    if (!w) return luaL_error(L, "out of memory");
    w->wait = (moon__wait){.start = start, .cancel = cancel, .push = push, .free = free_wait};
    w->under = under;
    return moon__task_await(L, &w->wait);
}

/* ---- what a test does to a run ---- */

static int events(lua_State *L) {
    push_events(L, &check_under(L)->events);
    return 1;
}

/* decide(id, call, allow, why) */
static int decide(lua_State *L) {
    moon_error error = {0};
    const moon__under *under = check_under(L);
    const char *call = luaL_checkstring(L, 2), *why = luaL_optstring(L, 4, NULL);
    bool done = !under->finished && moon_run_decide(under->run, call, lua_toboolean(L, 3), why, &error) == MOON_OK;
    lua_pushboolean(L, done);
    return 1;
}

/* signal(id, name, value as JSON) → whether the run waits for it */
static int signal(lua_State *L) {
    moon__under *under = check_under(L);
    size_t n;
    const char *name = luaL_checkstring(L, 2), *text = luaL_checklstring(L, 3, &n);
    moon_json *value = NULL;
    if (moon__json_parse(&value, text, n, 0, NULL)) return luaL_error(L, "out of memory");
    bool taken = under->run && !under->finished && moon__run_signal(under->run, name, value);
    moon__json_free(value);
    lua_pushboolean(L, taken);
    return 1;
}

void moon__test_runs(lua_State *L) {
    static const luaL_Reg functions[] = {{"prepare", prepare}, {"await", await},   {"events", events},
                                         {"decide", decide},   {"signal", signal}, {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
}
