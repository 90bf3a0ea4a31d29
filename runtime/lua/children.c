/* SPDX-License-Identifier: MIT */
/*
 * A set of children. The task adds runnables with their inputs; they are started when it waits for the next one to end,
 * so that nothing of the host runs inside Lua.
 *
 *     added ──(the task waits)──► under way ──(its run is finished)──► ended ──(given to the task)──► freed
 *
 * The set belongs to the handle that Lua holds, to the wait, and to each child under way: whoever lets go last frees
 * it.
 */
#include "children.h"
#include "text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char NAME[] = "moon.children", ERROR[] = "moon.error";
enum { INPUT_MAX = 64 << 20 };

typedef struct children children;

typedef struct child {
    children *set;
    struct child *next, **link;
    lua_Integer index; /* from 1, in the order of adding */
    char place[64];
    moon_runnable *runnable;
    char *input;
    size_t length;
    bool json;
    moon_limits limits;
    moon_run *run;
    moon_error error; /* why it could not be started */
} child;

/* An event that the task has not taken yet. */
typedef struct heard {
    struct heard *next;
    moon_event event;
    char text[]; /* path, body */
} heard;

typedef struct list {
    child *first, **end;
} list;

struct children {
    moon__wait wait; /* first */
    unsigned refs;
    moon_run *parent;
    list added, ended;
    child *under_way;
    lua_Integer n;
    bool waiting, cancelling, one; /* one: it stands for a single run */
    /* Of a stream, a set of one whose events are given to the task: */
    char *path;
    moon__listener listener;
    bool hearing; /* the task waits for an event, or the end */
    heard *first, **last;
    size_t bytes;
};

/* ---- lists ---- */

static void append(list *l, child *c) {
    if (!l->first) l->end = &l->first;
    c->next = NULL;
    *l->end = c;
    l->end = &c->next;
}

static child *take_first(list *l) {
    child *c = l->first;
    if (c) l->first = c->next;
    return c;
}

static void link_child(child *c) {
    children *set = c->set;
    c->next = set->under_way;
    c->link = &set->under_way;
    if (c->next) c->next->link = &c->next;
    set->under_way = c;
}

static void unlink_child(child *c) {
    *c->link = c->next;
    if (c->next) c->next->link = c->link;
}

/* ---- lifetime ---- */

static void free_child(child *c) {
    if (!c) return;
    moon_runnable_unref(c->runnable);
    moon_run_unref(c->run);
    free(c->input);
    free(c);
}

static void unref(children *set) {
    if (--set->refs) return;
    for (child *c; (c = take_first(&set->added));) free_child(c);
    for (child *c; (c = take_first(&set->ended));) free_child(c);
    if (set->path) moon__run_unlisten(set->parent, &set->listener);
    for (heard *h = set->first, *next; h; h = next) {
        next = h->next;
        free(h);
    }
    free(set->path);
    moon_run_unref(set->parent);
    free(set);
}

static children *new_set(moon_run *parent) {
    children *set = calloc(1, sizeof *set);
    if (!set) return NULL;
    set->refs = 1;
    set->parent = moon_run_ref(parent);
    return set;
}

/* ---- under way ---- */

static void tell(children *set) {
    if (!set->waiting || !(set->ended.first || (set->hearing && set->first))) return;
    set->waiting = false;
    moon__wait_done(&set->wait);
}

static void on_done(void *ctx, moon_run *run) {
    child *c = ctx;
    children *set = c->set;
    (void)run;
    unlink_child(c);
    append(&set->ended, c);
    tell(set);
    unref(set);
}

static void start_child(child *c) {
    children *set = c->set;
    moon__child spec = {.place = c->place,
                        .runnable = c->runnable,
                        .input = c->input,
                        .length = c->length,
                        .json = c->json,
                        .limits = &c->limits,
                        .done = on_done,
                        .ctx = c};
    if (moon__run_child(&c->run, set->parent, &spec, &c->error) == MOON_OK) {
        free(c->input); /* the run has a copy */
        c->input = NULL;
        set->refs++;
        link_child(c);
        return;
    }
    c->run = NULL;
    append(&set->ended, c);
}

static void cancel_all(children *set) {
    for (child *c = set->under_way, *next; c; c = next) {
        next = c->next;
        moon_run_cancel(c->run);
    }
}

/* What was added before the set was cancelled is begun all the same: the journal has it, when the run is resumed. */
static void wait_start(moon__wait *wait) {
    children *set = (children *)wait;
    for (child *c; (c = take_first(&set->added));) start_child(c);
    if (set->cancelling) cancel_all(set);
    tell(set);
}

static void wait_cancel(moon__wait *wait) {
    children *set = (children *)wait;
    set->cancelling = true;
    cancel_all(set);
}

static void wait_free(moon__wait *wait) {
    unref((children *)wait);
}

/* ---- results ---- */

static void push_error(lua_State *L, const char *message, moon_stop stop) {
    lua_createtable(L, 0, 3);
    lua_pushstring(L, message);
    lua_setfield(L, -2, "message");
    lua_pushstring(L, moon_stop_text(stop));
    lua_setfield(L, -2, "stop");
    luaL_setmetatable(L, ERROR);
}

int moon__children_fail(lua_State *L, const char *message, moon_stop stop) {
    luaL_pushfail(L);
    push_error(L, message, stop);
    return 2;
}

static void push_value(lua_State *L, child *c, const moon_result *result) {
    if (result->json && !result->text_length)
        lua_pushnil(L);
    else if (!result->json || !moon__lua_parse(L, result->text, result->text_length, MOON__NULLS_ARE_NIL, &c->error))
        lua_pushlstring(L, result->text, result->text_length);
}

/* Its answer stands, and what stood in the way of its files: members of the error that is on top. */
static void push_unmerged(lua_State *L, child *c, const moon_result *result) {
    const char *conflicts = moon__run_conflicts(c->run);
    push_value(L, c, result);
    lua_setfield(L, -2, "value");
    if (!conflicts || !moon__lua_parse(L, conflicts, strlen(conflicts), MOON__NULLS_ARE_NIL, &c->error))
        lua_newtable(L);
    lua_setfield(L, -2, "conflicts");
}

/* Pushes the child's value, and its error or nil. */
static void push_result(lua_State *L, child *c) {
    if (!c->run) {
        moon__children_fail(L, c->error.text,
                            c->error.code == MOON_ECANCELLED ? MOON_STOP_INTERRUPTED : MOON_STOP_FAILED);
        return;
    }
    const moon_result *result = moon_run_result(c->run);
    if (result->stop != MOON_STOP_DONE) {
        moon__children_fail(L, result->error ? result->error : moon_stop_text(result->stop), result->stop);
        lua_pushstring(L, moon__run_path_of(c->run));
        lua_setfield(L, -2, "path");
        lua_pushstring(L, result->agent);
        lua_setfield(L, -2, "agent");
        if (result->stop == MOON_STOP_UNMERGED) push_unmerged(L, c, result);
        return;
    }
    push_value(L, c, result);
    lua_pushnil(L);
}

/* The next that has ended: its index, value, error, and what it wrote into the state. */
static int push_ended(lua_State *L, children *set) {
    child *c = set->ended.first; /* stays there until all is pushed, for pushing may raise */
    if (!set->one) lua_pushinteger(L, c->index);
    push_result(L, c);
    if (set->one) {
        int n = lua_isnil(L, -1) ? 1 : 2;
        if (c->run && moon__agent_hands_over(c->runnable)) {
            lua_pushstring(L, moon_run_result(c->run)->agent); /* who answered */
            n = 3;
        }
        free_child(take_first(&set->ended));
        if (n == 1) lua_pop(L, 1);
        return n;
    }
    const char *writes = c->run ? moon__run_writes(c->run) : NULL;
    moon_error error;
    if (!writes || !moon__lua_parse(L, writes, strlen(writes), MOON__NULLS_ARE_NIL, &error)) lua_pushnil(L);
    free_child(take_first(&set->ended));
    return 4;
}

static int push_event(lua_State *L, children *set);

static int wait_push(lua_State *L, moon__wait *wait) {
    children *set = (children *)wait;
    if (!set->hearing) return push_ended(L, set);
    return set->first ? push_event(L, set) : 0;
}

/* ---- adding ---- */

/* Pushes the input as text: a string as it is, other values as JSON (then *json). */
static const char *input_text(lua_State *L, int index, size_t *n, bool *json) {
    char why[256];
    if ((*json = lua_type(L, index) != LUA_TSTRING)) {
        moon__buf *out = moon__lua_scratch(L, INPUT_MAX);
        if (lua_isnoneornil(L, index)) luaL_error(L, "the input is nil; it has to be a text or a value");
        if (!moon__lua_write(L, index, out, why)) luaL_error(L, "the input cannot be written as JSON: %s", why);
        return lua_pushlstring(L, out->p, *n = out->len);
    }
    lua_pushvalue(L, index);
    return lua_tolstring(L, -1, n);
}

/* Takes the runnable over, also when it fails; only memory can be short. */
static child *new_child(moon__task *task, children *set, moon_runnable *runnable, const char *input, size_t n) {
    child *c = calloc(1, sizeof *c);
    if (!c) {
        moon_runnable_unref(runnable);
        return NULL;
    }
    moon__buf text;
    moon__buf_init(&text, INPUT_MAX);
    moon__lua_add_text(&text, input, n);
    *c = (child){.set = set, .index = ++set->n, .runnable = runnable, .limits = MOON_LIMITS_NONE};
    snprintf(c->place, sizeof c->place, "%s%s%u", task->place, *task->place ? "." : "", ++task->children);
    c->length = text.len;
    c->input = text.status ? NULL : text.p ? moon__buf_take(&text) : moon__strdup("");
    moon__buf_fini(&text);
    if (c->input) return c;
    free_child(c);
    return NULL;
}

static moon__task *waiting_task(lua_State *L, const char *what) {
    moon__task_check_wait(L, what);
    return moon__script_of(L)->task;
}

static int await_next(lua_State *L, children *set, bool hearing) {
    set->wait = (moon__wait){.start = wait_start, .cancel = wait_cancel, .push = wait_push, .free = wait_free};
    set->waiting = true;
    set->hearing = hearing;
    return moon__task_await(L, &set->wait);
}

int moon__children_run(lua_State *L) {
    size_t n = 0;
    bool json;
    char what[80];
    const char *kind = moon__lua_kind(L, 1);
    luaL_argexpected(L, kind != NULL, 1, "agent, chain or tool");
    snprintf(what, sizeof what, "%s:run", kind);
    if (!lua_isnoneornil(L, 3)) return luaL_error(L, "%s takes the input and nothing else", what);
    luaL_argexpected(L, !lua_isnoneornil(L, 2), 2, "string or table");
    const char *input = input_text(L, 2, &n, &json);
    moon__task *task = waiting_task(L, what);
    moon_runnable *runnable = moon__lua_runnable(L, 1);
    children *set = new_set(task->run);
    child *c = set ? new_child(task, set, runnable, input, n) : NULL;
    if (!c) {
        if (set)
            unref(set);
        else
            moon_runnable_unref(runnable);
        return luaL_error(L, "%s: out of memory, or the input is too long", what);
    }
    c->json = json;
    append(&set->added, c);
    set->one = true;
    return await_next(L, set, false); /* whose wait has the only reference */
}

/* ---- streams ---- */

enum { HEARD_MAX = 64 << 20 };

static void on_event(void *ctx, const moon_event *event) {
    children *set = ctx;
    size_t path = strlen(event->path), n = path + event->body_length + 2;
    if (set->bytes + n > HEARD_MAX && event->seq == 0) return; /* nobody takes them: what is shown only is left out */
    heard *h = malloc(sizeof *h + n);
    if (!h) return;
    *h = (heard){.event = *event};
    h->event.path = memcpy(h->text, event->path, path + 1);
    h->event.body = memcpy(h->text + path + 1, event->body, event->body_length);
    set->bytes += n;
    if (!set->first) set->last = &set->first;
    *set->last = h;
    set->last = &h->next;
    tell(set);
}

/* { type, path, seq, body } */
static int push_event(lua_State *L, children *set) {
    heard *h = set->first;
    moon_error error;
    lua_createtable(L, 0, 4);
    if (moon__lua_parse(L, h->event.body, h->event.body_length, MOON__NULLS_ARE_NIL, &error))
        lua_setfield(L, -2, "body");
    lua_pushstring(L, moon_event_type_text(h->event.type));
    lua_setfield(L, -2, "type");
    lua_pushstring(L, h->event.path);
    lua_setfield(L, -2, "path");
    if (h->event.seq) lua_pushinteger(L, (lua_Integer)h->event.seq);
    if (h->event.seq) lua_setfield(L, -2, "seq");
    set->first = h->next;
    set->bytes -= strlen(h->event.path) + h->event.body_length + 2;
    free(h);
    return 1;
}

/* ---- for the prelude ---- */

static children *set_at(lua_State *L) {
    return *(children **)luaL_checkudata(L, 1, NAME);
}

static int children_new(lua_State *L) {
    moon__task *task = waiting_task(L, luaL_checkstring(L, 1));
    children **handle = lua_newuserdatauv(L, sizeof *handle, 0);
    *handle = NULL;
    luaL_setmetatable(L, NAME);
    *handle = new_set(task->run);
    if (!*handle) return luaL_error(L, "out of memory");
    return 1;
}

/* add(set, handle, input, seconds or nil) → the path of the run to be */
static int children_add(lua_State *L) {
    children *set = set_at(L);
    size_t n = 0;
    bool json;
    double seconds = luaL_optnumber(L, 4, -1);
    const char *input = input_text(L, 3, &n, &json);
    child *c = new_child(moon__script_of(L)->task, set, moon__lua_runnable(L, 2), input, n);
    if (!c) return luaL_error(L, "out of memory, or the input is too long");
    c->json = json;
    if (seconds >= 0) c->limits.seconds = (int64_t)ceil(seconds);
    append(&set->added, c);
    const char *path = moon__run_path_of(set->parent);
    lua_pushfstring(L, "%s%s%s", path, *path ? "." : "", c->place);
    return 1;
}

/* next(set) → index, value, err, writes of the next one to end; nothing when there is none left */
static int children_next(lua_State *L) {
    children *set = set_at(L);
    if (set->ended.first) return push_ended(L, set);
    if (!set->added.first && !set->under_way) return 0;
    set->refs++;
    return await_next(L, set, false);
}

/* listen(set, path): the events of the run at path are given by event() */
static int children_listen(lua_State *L) {
    children *set = set_at(L);
    set->path = moon__strdup(luaL_checkstring(L, 2));
    if (!set->path) return luaL_error(L, "out of memory");
    set->listener = (moon__listener){.event = on_event, .ctx = set, .path = set->path};
    moon__run_listen(set->parent, &set->listener);
    return 0;
}

/* event(set) → the next event; nothing when the run has ended */
static int children_event(lua_State *L) {
    children *set = set_at(L);
    if (set->first) return push_event(L, set);
    if (!set->added.first && !set->under_way) return 0;
    set->refs++;
    return await_next(L, set, true);
}

static int children_cancel(lua_State *L) {
    set_at(L)->cancelling = true; /* when Lua has been left: see wait_start */
    return 0;
}

static int children_gc(lua_State *L) {
    children **handle = lua_touserdata(L, 1);
    if (*handle) unref(*handle);
    *handle = NULL;
    return 0;
}

static int error_tostring(lua_State *L) {
    if (!lua_istable(L, 1) || lua_getfield(L, 1, "message") != LUA_TSTRING) {
        lua_pushliteral(L, "the run failed");
        return 1;
    }
    if (lua_getfield(L, 1, "at") != LUA_TSTRING) {
        lua_pop(L, 1);
        return 1;
    }
    lua_pushfstring(L, "%s: %s", lua_tostring(L, -1), lua_tostring(L, -2));
    return 1;
}

/* fail(message, stop) → an error as runs give them */
static int make_error(lua_State *L) {
    push_error(L, luaL_checkstring(L, 1), moon__stop_named(luaL_optstring(L, 2, NULL)));
    return 1;
}

void moon__children_host(lua_State *L) {
    static const luaL_Reg meta[] = {{"__gc", children_gc}, {NULL, NULL}};
    static const luaL_Reg error[] = {{"__tostring", error_tostring}, {NULL, NULL}};
    static const luaL_Reg functions[] = {
        {"run", moon__children_run}, {"children", children_new},  {"add", children_add},
        {"next", children_next},     {"cancel", children_cancel}, {"error", make_error},
        {"listen", children_listen}, {"event", children_event},   {NULL, NULL}};
    moon__lua_handle(L, NAME, meta);
    moon__lua_handle(L, ERROR, error);
    luaL_setfuncs(L, functions, 0);
}
