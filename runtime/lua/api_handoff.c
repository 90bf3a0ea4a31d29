/* SPDX-License-Identifier: MIT */
/*
 * The field `handoffs` of moon.agent: a list of agents, of tables { agent, filter, name, description }, and of
 * functions that give an agent. Such a function is called once, before the first run: so two agents can list each
 * other.
 *
 *     filter(messages) → the messages that the other agent is told
 */
#include "api.h"
#include "text.h"

#include <stdlib.h>
#include <string.h>

static const char NAME[] = "moon.handoffs";
enum { HANDOFFS_MAX = 64 };

typedef struct handoff {
    moon__lua_handoffs *set;
    int agent, filter; /* registry references: an agent's handle or a function; a function, or none */
    size_t place;      /* in the list, from 1 */
    char *name, *description;
    moon_runnable *found; /* what the function gave */
    moon__buf *out;       /* of a filter that runs */
    const char *messages;
    size_t length;
    moon_error *error;
    moon_status status;
} handoff;

struct moon__lua_handoffs {
    unsigned refs;
    moon__script *script;
    size_t n;
    moon__handoff_spec *specs;
    handoff items[];
};

moon__lua_handoffs *moon__lua_handoffs_ref(moon__lua_handoffs *set) {
    if (set) set->refs++;
    return set;
}

void moon__lua_handoffs_unref(moon__lua_handoffs *set) {
    if (!set || --set->refs > 0) return;
    for (size_t i = 0; i < set->n; i++) {
        handoff *h = &set->items[i];
        moon__script_drop(set->script, h->agent);
        moon__script_drop(set->script, h->filter);
        free(h->name);
        free(h->description);
    }
    moon__script_unref(set->script);
    free(set->specs);
    free(set);
}

const moon__handoff_spec *moon__lua_handoffs_specs(const moon__lua_handoffs *set, size_t *n) {
    *n = set ? set->n : 0;
    return set ? set->specs : NULL;
}

/* ---- an agent that comes late ---- */

static int call_for_agent(lua_State *L) {
    handoff *h = lua_touserdata(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, h->agent);
    lua_call(L, 0, 1);
    h->found = moon__lua_agent_at(L, -1);
    if (!h->found) return luaL_error(L, "the function gave a %s instead of an agent", luaL_typename(L, -1));
    int ref = luaL_ref(L, LUA_REGISTRYINDEX); /* the handle instead of the function: it keeps the agent */
    moon__script_drop(h->set->script, h->agent);
    h->agent = ref;
    return 0;
}

static moon_status agent_of(void *self, moon_runnable **agent, moon_error *error) {
    handoff *h = self;
    moon_error why = {0};
    moon_status status = moon__script_open(h->set->script)
                             ? moon__guard_call(&h->set->script->guard, call_for_agent, h, &why)
                             : moon_error_set(&why, MOON_ECANCELLED, "the runtime has ended");
    if (status != MOON_OK)
        return moon_error_set(error, status, "handoffs[%zu]: %s%s%s", h->place, why.where, *why.where ? ": " : "",
                              why.text);
    *agent = h->found;
    return MOON_OK;
}

/* ---- filters ---- */

static void prepare(lua_State *L, moon__task *task, void *arg) {
    handoff *h = arg;
    moon_error error;
    (void)task;
    lua_rawgeti(L, LUA_REGISTRYINDEX, h->filter);
    if (!moon__lua_parse(L, h->messages, h->length, 0, &error)) luaL_error(L, "%s", error.text);
}

static void take(lua_State *L, moon__task *task, int n) {
    handoff *h = task->owner;
    char why[256];
    int first = lua_gettop(L) - n + 1;
    if (n == 0 || !lua_istable(L, first))
        luaL_error(L, "it must return a list of messages, not %s", n ? luaL_typename(L, first) : "nothing");
    if (!moon__lua_write(L, first, h->out, why)) luaL_error(L, "%s", why);
}

static void end(moon__task *task, const moon__failure *failure, bool cancelled) {
    handoff *h = task->owner;
    (void)cancelled;
    h->status = failure ? failure->error.code : MOON_OK;
    if (failure && h->error) *h->error = failure->error;
}

static const moon__task_ops ops = {.no_wait = "cannot wait here: a filter answers at once", .take = take, .end = end};

static moon_status filter(void *self, moon_run *run, const char *place, const char *messages, size_t length,
                          moon__buf *out, moon_error *error) {
    handoff *h = self;
    moon__task *task;
    moon__task_spec spec = {
        .ops = &ops, .owner = h, .script = h->set->script, .run = run, .place = place, .prepare = prepare, .arg = h};
    h->out = out;
    h->messages = messages;
    h->length = length;
    h->error = error;
    moon_status status = moon__task_new(&task, &spec, error);
    if (status != MOON_OK) return status;
    moon__task_run(task);
    return h->status;
}

/* ---- the list ---- */

/* The text of a field of the table at the top; NULL if there is none. */
static char *read_text(lua_State *L, size_t place, const char *field) {
    int type = lua_getfield(L, -1, field);
    if (type != LUA_TNIL && type != LUA_TSTRING)
        luaL_error(L, "moon.agent: handoffs[%d]: %s must be a string", (int)place, field);
    const char *text = lua_tostring(L, -1);
    char *copy = moon__strdup(text);
    if (text && !copy) luaL_error(L, "out of memory");
    lua_pop(L, 1);
    return copy;
}

static void read_filter(lua_State *L, handoff *h, moon__handoff_spec *spec) {
    static const char *const words[] = {"all", "texts", "last", "none", NULL};
    int type = lua_getfield(L, -1, "filter");
    if (type == LUA_TFUNCTION) {
        spec->input = MOON__HAND_FILTER;
        spec->filter = filter;
        h->filter = luaL_ref(L, LUA_REGISTRYINDEX);
        return;
    }
    unsigned i = 0;
    const char *word = type == LUA_TSTRING ? lua_tostring(L, -1) : type == LUA_TNIL ? "all" : "";
    while (words[i] && strcmp(words[i], word) != 0) i++;
    if (!words[i])
        luaL_error(L, "moon.agent: handoffs[%d]: filter must be a function, \"all\", \"texts\", \"last\" or \"none\"",
                   (int)h->place);
    spec->input = (moon__handoff_input)i; /* in this order */
    lua_pop(L, 1);
}

/* The agent, or the function that will give it, at the top; taken off. */
static void read_agent(lua_State *L, handoff *h, moon__handoff_spec *spec) {
    spec->agent = moon__lua_agent_at(L, -1);
    if (!spec->agent && !lua_isfunction(L, -1))
        luaL_error(L, "moon.agent: handoffs[%d]: a %s is no agent (one, or a function that gives one)", (int)h->place,
                   luaL_typename(L, -1));
    if (!spec->agent) spec->agent_of = agent_of;
    h->agent = luaL_ref(L, LUA_REGISTRYINDEX);
}

static void read_item(lua_State *L, handoff *h, moon__handoff_spec *spec) {
    static const char *const fields[] = {"agent", "filter", "name", "description", NULL};
    spec->self = h;
    if (lua_type(L, -1) != LUA_TTABLE) {
        read_agent(L, h, spec);
        return;
    }
    moon__lua_check_fields(L, lua_gettop(L), "moon.agent: handoffs", fields);
    read_filter(L, h, spec);
    spec->name = h->name = read_text(L, h->place, "name");
    spec->description = h->description = read_text(L, h->place, "description");
    lua_getfield(L, -1, "agent");
    read_agent(L, h, spec);
    lua_pop(L, 1);
}

moon__lua_handoffs *moon__lua_handoffs_take(lua_State *L, int index) {
    int type = lua_getfield(L, index, "handoffs");
    int list = lua_gettop(L);
    if (type == LUA_TNIL) return NULL;
    if (type != LUA_TTABLE) luaL_error(L, "moon.agent: handoffs must be a list of agents");
    size_t n = lua_rawlen(L, list);
    if (n > HANDOFFS_MAX) luaL_error(L, "moon.agent: handoffs: at most %d", HANDOFFS_MAX);
    lua_pushnil(L);
    while (lua_next(L, list)) {
        lua_pop(L, 1);
        if (!lua_isinteger(L, -1)) luaL_error(L, "moon.agent: handoffs must be a list of agents");
    }
    moon__lua_handoffs **handle = lua_newuserdatauv(L, sizeof *handle, 0);
    *handle = NULL;
    luaL_setmetatable(L, NAME);
    moon__lua_handoffs *set = *handle = calloc(1, sizeof *set + n * sizeof set->items[0]);
    if (!set) {
        luaL_error(L, "out of memory");
        return NULL;
    }
    set->refs = 1;
    set->script = moon__script_ref(moon__script_of(L));
    set->specs = calloc(n + 1, sizeof *set->specs);
    if (!set->specs) {
        luaL_error(L, "out of memory");
        return NULL;
    }
    for (size_t i = 0; i < n; i++) {
        set->items[i] = (handoff){.set = set, .agent = LUA_NOREF, .filter = LUA_NOREF, .place = i + 1};
        set->n = i + 1;
        lua_rawgeti(L, list, (lua_Integer)i + 1);
        read_item(L, &set->items[i], &set->specs[i]);
    }
    lua_pushnil(L);
    lua_setfield(L, index, "handoffs");
    return set;
}

static int handoffs_gc(lua_State *L) {
    moon__lua_handoffs **handle = lua_touserdata(L, 1);
    moon__lua_handoffs_unref(*handle);
    *handle = NULL;
    return 0;
}

void moon__api_handoff(lua_State *L) {
    static const luaL_Reg meta[] = {{"__gc", handoffs_gc}, {NULL, NULL}};
    moon__lua_handle(L, NAME, meta);
}
