/* SPDX-License-Identifier: MIT */
/*
 * moon.model.script(f) and moon.model.script { answer, … }: a model written in Lua.
 *
 * A conversation is one small table, the request: messages (one list that grows by what is new), tools (shared by all
 * conversations that have the same), agent, step, output. f(request) runs in a task of its own that cannot wait, and
 * gives a string, or { text, reasoning, tool_calls = { { name, arguments, id } }, finish, usage }, or nil and why not.
 */
#include "answer_lua.h"
#include "text.h"

#include <stdlib.h>
#include <string.h>

static const char NAME[] = "moon.model";

typedef struct script_model {
    moon__model base; /* first */
    moon__script *script;
    int answers;  /* registry reference: a function, or a list */
    size_t count; /* of the list; 0: a function */
    int tools;    /* the tools that a request told of last, and what identifies them */
    uint64_t tools_hash;
    int system; /* the last system message: agents send the same one again and again */
} script_model;

typedef struct chat {
    moon__chat base; /* first */
    const moon__chat_settings *settings;
    int request;                    /* registry reference */
    lua_Integer messages, answered; /* answered: the answers among them, also those of a run that is resumed */
    moon__ask ask;
    bool asking;
    bool *gone; /* set when the chat is closed from within one of its callbacks */
    moon__task *task;
    moon__lua_answer answer;
} chat;

static script_model *model_of(const chat *c) {
    return (script_model *)c->base.model;
}

/* ---- the request ---- */

static uint64_t hash_tools(const moon_wire_settings *wire) {
    uint64_t hash = wire->n_tools;
    for (size_t i = 0; i < wire->n_tools; i++) {
        const char *const texts[] = {wire->tools[i].name, wire->tools[i].description, wire->tools[i].params};
        for (unsigned k = 0; k < 3; k++) hash = hash * 0x9E3779B97F4A7C15U + moon_hash(texts[k], strlen(texts[k]));
    }
    return hash;
}

static void push_schema(lua_State *L, const char *text) {
    moon_error error;
    if (!moon__lua_parse(L, text, strlen(text), 0, &error)) lua_pushstring(L, text);
}

static void push_tools(lua_State *L, script_model *model, const moon_wire_settings *wire) {
    uint64_t hash = hash_tools(wire);
    if (model->tools != LUA_NOREF && model->tools_hash == hash) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, model->tools);
        return;
    }
    lua_createtable(L, (int)wire->n_tools, 0);
    for (size_t i = 0; i < wire->n_tools; i++) {
        lua_createtable(L, 0, 3);
        lua_pushstring(L, wire->tools[i].name);
        lua_setfield(L, -2, "name");
        lua_pushstring(L, wire->tools[i].description);
        lua_setfield(L, -2, "description");
        push_schema(L, wire->tools[i].params);
        lua_setfield(L, -2, "params");
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    moon__script_drop(model->script, model->tools);
    model->tools = LUA_NOREF;
    lua_pushvalue(L, -1);
    model->tools = luaL_ref(L, LUA_REGISTRYINDEX);
    model->tools_hash = hash;
}

static int make_request(lua_State *L) {
    chat *c = lua_touserdata(L, 1);
    const moon_wire_settings *wire = &c->settings->wire;
    lua_createtable(L, 0, 5);
    lua_newtable(L);
    lua_setfield(L, -2, "messages");
    push_tools(L, model_of(c), wire);
    lua_setfield(L, -2, "tools");
    lua_pushstring(L, c->settings->agent ? c->settings->agent : "");
    lua_setfield(L, -2, "agent");
    if (wire->output_schema) {
        push_schema(L, wire->output_schema);
        lua_setfield(L, -2, "output");
    }
    c->request = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

static moon_status chat_open(moon__model *base, const moon__chat_settings *settings, moon__chat **out,
                             moon_error *error) {
    script_model *model = (script_model *)base;
    if (!moon__script_open(model->script)) return moon_error_set(error, MOON_ECANCELLED, "the runtime has ended");
    chat *c = calloc(1, sizeof *c);
    if (!c) return moon_error_set(error, MOON_ENOMEM, "out of memory");
    c->base.model = moon__model_ref(base);
    c->settings = settings;
    c->request = LUA_NOREF;
    moon__lua_answer_init(&c->answer);
    moon_status status = moon__guard_call(&model->script->guard, make_request, c, error);
    if (status != MOON_OK)
        base->ops->close(&c->base);
    else
        *out = &c->base;
    return status;
}

/* ---- messages ---- */

static void push_calls(lua_State *L, const moon_message *message) {
    moon_error error;
    lua_createtable(L, (int)message->n_calls, 0);
    for (size_t i = 0; i < message->n_calls; i++) {
        const moon_tool_use *call = &message->calls[i];
        lua_createtable(L, 0, 3);
        lua_pushstring(L, call->id);
        lua_setfield(L, -2, "id");
        lua_pushstring(L, call->name);
        lua_setfield(L, -2, "name");
        if (!moon__lua_parse(L, call->arguments, call->arguments_length, 0, &error))
            lua_pushlstring(L, call->arguments, call->arguments_length);
        lua_setfield(L, -2, "arguments");
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
}

static void push_content(lua_State *L, script_model *model, const moon_message *message) {
    size_t n;
    if (message->role == MOON_SYSTEM && model->system != LUA_NOREF) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, model->system);
        const char *last = lua_tolstring(L, -1, &n);
        if (n == message->text_length && memcmp(last, message->text, n) == 0) return;
        lua_pop(L, 1);
    }
    lua_pushlstring(L, message->text ? message->text : "", message->text ? message->text_length : 0);
    if (message->role != MOON_SYSTEM) return;
    moon__script_drop(model->script, model->system);
    model->system = LUA_NOREF;
    lua_pushvalue(L, -1);
    model->system = luaL_ref(L, LUA_REGISTRYINDEX);
}

typedef struct appending {
    chat *chat;
    const moon_message *message;
} appending;

static int append(lua_State *L) {
    static const char *const roles[] = {"system", "user", "assistant", "tool"};
    appending *a = lua_touserdata(L, 1);
    const moon_message *message = a->message;
    lua_rawgeti(L, LUA_REGISTRYINDEX, a->chat->request);
    if (lua_getfield(L, -1, "messages") != LUA_TTABLE)
        return luaL_error(L, "the model's script took request.messages away");
    lua_createtable(L, 0, 4);
    lua_pushstring(L, roles[message->role]);
    lua_setfield(L, -2, "role");
    push_content(L, model_of(a->chat), message);
    lua_setfield(L, -2, "content");
    if (message->n_calls) {
        push_calls(L, message);
        lua_setfield(L, -2, "tool_calls");
    }
    if (message->call_id) {
        lua_pushstring(L, message->call_id);
        lua_setfield(L, -2, "tool_call_id");
    }
    if (message->is_error) {
        lua_pushboolean(L, true);
        lua_setfield(L, -2, "is_error");
    }
    lua_rawseti(L, -2, ++a->chat->messages);
    return 0;
}

static moon_status chat_append(moon__chat *base, const moon_message *message, moon_error *error) {
    chat *c = (chat *)base;
    c->answered += message->role == MOON_ASSISTANT;
    return moon__guard_call(&model_of(c)->script->guard, append, &(appending){c, message}, error);
}

/* ---- asking ---- */

/* The answers that this model has given in the conversation. */
static lua_Integer answered(const chat *c) {
    return c->answered - c->base.others;
}

static int give(lua_State *L) {
    return lua_gettop(L);
}

static void prepare(lua_State *L, moon__task *task, void *arg) {
    chat *c = arg;
    script_model *model = model_of(c);
    (void)task;
    lua_rawgeti(L, LUA_REGISTRYINDEX, model->answers);
    if (model->count == 0) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, c->request);
        lua_pushinteger(L, answered(c) + 1);
        lua_setfield(L, -2, "step");
        return;
    }
    lua_Integer n = answered(c);
    if (n < 0 || (size_t)n >= model->count)
        luaL_error(L, "the scripted model has %d answers, and this is request %d of the conversation",
                   (int)model->count, (int)n + 1);
    lua_pushcfunction(L, give);
    lua_rawgeti(L, -2, n + 1);
    lua_remove(L, -3);
}

static void take_answer(lua_State *L, moon__task *task, int n) {
    chat *c = task->owner;
    moon__lua_answer_take(L, lua_gettop(L) - n + 1, n, &c->answer);
}

static bool tell_deltas(chat *c, const moon__answer *answer) {
    bool gone = false;
    const moon__ask *ask = &c->ask;
    c->gone = &gone;
    if (answer->reasoning_length)
        ask->delta(ask->ctx, MOON__DELTA_REASONING, answer->reasoning, answer->reasoning_length);
    if (!gone && c->asking && answer->text_length)
        ask->delta(ask->ctx, MOON__DELTA_TEXT, answer->text, answer->text_length);
    for (size_t i = 0; !gone && c->asking && i < answer->n_calls; i++)
        ask->delta(ask->ctx, MOON__DELTA_CALL, answer->calls[i].name, strlen(answer->calls[i].name));
    if (gone) return false;
    c->gone = NULL;
    return c->asking;
}

/* The callbacks may close the chat: nothing of it is touched after the last one. */
static void end(moon__task *task, const moon__failure *failure, bool cancelled) {
    chat *c = task->owner;
    moon_error error = {0};
    moon_status status = MOON_OK;
    (void)cancelled;
    c->task = NULL;
    if (failure) {
        char *text = moon__failure_text(failure, true);
        status = moon_error_set(&error, failure->error.code, "%s", text ? text : failure->error.text);
        free(text);
    } else if (c->answer.refused) {
        status = moon_error_set(&error, MOON_EPROVIDER, "%s", c->answer.answer.text);
    }
    c->answer.answer.model = c->base.model->name;
    if (status == MOON_OK && c->ask.deltas && !tell_deltas(c, &c->answer.answer)) return;
    c->asking = false;
    c->ask.done(c->ask.ctx, status, status == MOON_OK ? &c->answer.answer : NULL, status == MOON_OK ? NULL : &error);
}

static const moon__task_ops ops = {
    .no_wait = "cannot wait here: a model's function answers at once", .take = take_answer, .end = end};

static moon_status chat_ask(moon__chat *base, const moon__ask *ask, moon_error *error) {
    chat *c = (chat *)base;
    script_model *model = model_of(c);
    moon__task_spec spec = {.ops = &ops, .owner = c, .script = model->script, .prepare = prepare, .arg = c};
    c->ask = *ask;
    moon_status status = moon__task_new(&c->task, &spec, error);
    if (status != MOON_OK) {
        c->task = NULL;
        return status;
    }
    c->asking = true;
    moon__task_start(c->task);
    return MOON_OK;
}

static void chat_cancel(moon__chat *base) {
    chat *c = (chat *)base;
    c->asking = false;
    if (c->task) moon__task_free(c->task);
    c->task = NULL;
}

static void chat_close(moon__chat *base) {
    chat *c = (chat *)base;
    chat_cancel(base);
    if (c->gone) *c->gone = true;
    moon__script_drop(model_of(c)->script, c->request);
    moon__lua_answer_fini(&c->answer);
    moon__model_unref(base->model);
    free(c);
}

/* ---- the model ---- */

static void model_free(moon__model *base) {
    script_model *model = (script_model *)base;
    moon__script_drop(model->script, model->answers);
    moon__script_drop(model->script, model->tools);
    moon__script_drop(model->script, model->system);
    moon__script_unref(model->script);
    free(base->name);
    free(base->source);
    free(model);
}

static const moon__model_ops model_ops = {.open = chat_open,
                                          .append = chat_append,
                                          .ask = chat_ask,
                                          .cancel = chat_cancel,
                                          .close = chat_close,
                                          .free = model_free};

moon_status moon__lua_model_name(moon__model *model, const char *name, const char *source) {
    char *new_name = moon__strdup(name), *new_source = moon__strdup(source);
    if (!new_name || !new_source) {
        free(new_name);
        free(new_source);
        return MOON_ENOMEM;
    }
    free(model->name);
    free(model->source);
    model->name = new_name;
    model->source = new_source;
    return MOON_OK;
}

moon__model *moon__lua_model_at(lua_State *L, int index) {
    moon__model **handle = luaL_testudata(L, index, NAME);
    return handle ? *handle : NULL;
}

static size_t check_list(lua_State *L) {
    size_t n = lua_rawlen(L, 1);
    if (n == 0) luaL_argerror(L, 1, "a function, or a list of at least one answer");
    for (size_t i = 1; i <= n; i++) {
        int type = lua_rawgeti(L, 1, (lua_Integer)i);
        if (type != LUA_TSTRING && type != LUA_TTABLE)
            luaL_error(L, "moon.model.script: answer %d is a %s", (int)i, luaL_typename(L, -1));
        lua_pop(L, 1);
    }
    return n;
}

static int new_model(lua_State *L) {
    luaL_argexpected(L, lua_isfunction(L, 1) || lua_istable(L, 1), 1, "function or list of answers");
    lua_settop(L, 1);
    size_t count = lua_istable(L, 1) ? check_list(L) : 0;
    moon__model **handle = lua_newuserdatauv(L, sizeof *handle, 0);
    *handle = NULL;
    luaL_setmetatable(L, NAME);
    script_model *model = calloc(1, sizeof *model);
    if (!model) return luaL_error(L, "out of memory");
    model->base = (moon__model){.ops = &model_ops, .refs = 1, .scripted = true, .price = {0, 0, 0}};
    model->script = moon__script_ref(moon__script_of(L));
    model->answers = model->tools = model->system = LUA_NOREF;
    model->count = count;
    *handle = &model->base;
    if (moon__lua_model_name(&model->base, "scripted", "given in the script") != MOON_OK)
        return luaL_error(L, "out of memory");
    lua_pushvalue(L, 1);
    model->answers = luaL_ref(L, LUA_REGISTRYINDEX);
    return 1;
}

static int model_gc(lua_State *L) {
    moon__model **handle = lua_touserdata(L, 1);
    moon__model *model = *handle;
    *handle = NULL;
    if (model) moon__model_unref(model);
    return 0;
}

void moon__api_model(lua_State *L) {
    static const luaL_Reg meta[] = {{"__gc", model_gc}, {NULL, NULL}};
    moon__lua_handle(L, NAME, meta);
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, new_model);
    lua_setfield(L, -2, "script");
    lua_setfield(L, -2, "model");
}
