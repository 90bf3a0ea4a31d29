/* SPDX-License-Identifier: MIT */
/* See answer_lua.h. While the bytes grow, texts are kept as offsets; the pointers are set at the end. */
#include "answer_lua.h"

#include <stdlib.h>
#include <string.h>

void moon__lua_answer_init(moon__lua_answer *answer) {
    *answer = (moon__lua_answer){0};
    moon__buf_init(&answer->bytes, 64 << 20);
}

void moon__lua_answer_fini(moon__lua_answer *answer) {
    moon__buf_fini(&answer->bytes);
    free(answer->calls);
    free(answer->ids);
    *answer = (moon__lua_answer){0};
}

/* ---- texts by offset ---- */

/* Keeps a text; its length may have changed (see moon__lua_add_text). */
static size_t keep(lua_State *L, moon__lua_answer *a, const char *text, size_t n, size_t *kept) {
    size_t at = a->bytes.len;
    moon__lua_add_text(&a->bytes, text, n);
    if (kept) *kept = a->bytes.len - at;
    moon__buf_char(&a->bytes, 0);
    if (a->bytes.status != MOON_OK) luaL_error(L, "the model's answer is too long");
    return at;
}

static const char *as_pointer(size_t offset) {
    return (const char *)(uintptr_t)offset;
}
static void settle(const moon__lua_answer *a, const char **text) {
    *text = a->bytes.p + (uintptr_t)*text;
}

static void settle_all(moon__lua_answer *a) {
    settle(a, &a->answer.text);
    settle(a, &a->answer.reasoning);
    settle(a, &a->answer.finish);
    for (size_t i = 0; i < a->answer.n_calls; i++) {
        settle(a, &a->calls[i].id);
        settle(a, &a->calls[i].name);
        settle(a, &a->calls[i].arguments);
    }
    a->answer.calls = a->calls;
}

/* A string field of the table at index, "" if there is none. */
static const char *text_field(lua_State *L, moon__lua_answer *a, int index, const char *name, const char *otherwise,
                              size_t *n) {
    size_t length = strlen(otherwise);
    const char *text = otherwise;
    int type = lua_getfield(L, index, name);
    if (type == LUA_TSTRING || type == LUA_TNUMBER)
        text = lua_tolstring(L, -1, &length);
    else if (type != LUA_TNIL)
        luaL_error(L, "the model's answer: %s must be a string, not a %s", name, luaL_typename(L, -1));
    size_t at = keep(L, a, text, length, n);
    lua_pop(L, 1);
    return as_pointer(at);
}

/* ---- tool calls ---- */

static void grow(lua_State *L, void **array, size_t *room, size_t need, size_t each) {
    if (need <= *room) return;
    size_t more = need + need / 2 + 4;
    void *bigger = realloc(*array, more * each);
    if (!bigger) luaL_error(L, "out of memory");
    *array = bigger;
    *room = more;
}

static bool is_new_id(lua_State *L, moon__lua_answer *a, const char *id, size_t n) {
    uint64_t hash = moon_hash(id, n);
    for (size_t i = 0; i < a->n_ids; i++)
        if (a->ids[i] == hash) return false;
    void *ids = a->ids;
    grow(L, &ids, &a->ids_room, a->n_ids + 1, sizeof *a->ids);
    a->ids = ids;
    a->ids[a->n_ids++] = hash;
    return true;
}

/* The id as given, or one of ours if there is none or it was used before. */
static const char *call_id(lua_State *L, moon__lua_answer *a, int index) {
    size_t n = 0, at;
    const char *id = lua_getfield(L, index, "id") == LUA_TSTRING ? lua_tolstring(L, -1, &n) : "";
    char own[24];
    if (n == 0 || strlen(id) != n || !is_new_id(L, a, id, n)) {
        do n = (size_t)snprintf(own, sizeof own, "call_%u", ++a->made);
        while (!is_new_id(L, a, own, n));
        id = own;
    }
    at = keep(L, a, id, n, NULL);
    lua_pop(L, 1);
    return as_pointer(at);
}

static const char *call_arguments(lua_State *L, moon__lua_answer *a, int index, size_t *n) {
    char why[256];
    size_t at;
    switch (lua_getfield(L, index, "arguments")) {
    case LUA_TNIL: at = keep(L, a, "{}", 2, n); break;
    case LUA_TSTRING: {
        const char *text = lua_tolstring(L, -1, n);
        at = keep(L, a, text, *n, n);
        break;
    }
    default: {
        moon__buf *json = moon__lua_scratch(L, MOON__JSON_MAX);
        if (!moon__lua_write(L, -1, json, why)) luaL_error(L, "the model's answer: arguments: %s", why);
        at = keep(L, a, json->p, json->len, n);
    }
    }
    lua_pop(L, 1);
    return as_pointer(at);
}

static void take_calls(lua_State *L, moon__lua_answer *a, int index) {
    static const char *const fields[] = {"name", "arguments", "id", NULL};
    int type = lua_getfield(L, index, "tool_calls");
    size_t n = type == LUA_TTABLE ? lua_rawlen(L, -1) : 0;
    if (type != LUA_TNIL && type != LUA_TTABLE) luaL_error(L, "the model's answer: tool_calls must be a list");
    if (n > MOON__ANSWER_CALLS) luaL_error(L, "the model's answer: more than %d tool calls", MOON__ANSWER_CALLS);
    void *calls = a->calls;
    grow(L, &calls, &a->room, n, sizeof *a->calls);
    a->calls = calls;
    int list = lua_gettop(L);
    for (size_t i = 0; i < n; i++) {
        moon_tool_use *call = &a->calls[i];
        if (lua_rawgeti(L, list, (lua_Integer)i + 1) != LUA_TTABLE)
            luaL_error(L, "the model's answer: tool_calls[%d] must be a table { name, arguments }", (int)i + 1);
        int at = lua_gettop(L);
        moon__lua_check_fields(L, at, "the model's answer: a tool call", fields);
        call->name = text_field(L, a, at, "name", "", NULL);
        call->id = call_id(L, a, at);
        call->arguments = call_arguments(L, a, at, &call->arguments_length);
        lua_pop(L, 1);
    }
    a->answer.n_calls = n;
    lua_pop(L, 1);
}

/* ---- usage ---- */

static double number(lua_State *L, int index, const char *name) {
    double value = 0;
    int type = lua_getfield(L, index, name);
    if (type == LUA_TNUMBER)
        value = lua_tonumber(L, -1);
    else if (type != LUA_TNIL)
        luaL_error(L, "the model's answer: usage.%s must be a number", name);
    if (!(value >= 0 && value <= 9e15)) luaL_error(L, "the model's answer: usage.%s is out of range", name);
    lua_pop(L, 1);
    return value;
}

static void take_usage(lua_State *L, moon__lua_answer *a, int index) {
    static const char *const fields[] = {"input_tokens",     "cached_tokens", "output_tokens",
                                         "reasoning_tokens", "usd",           NULL};
    int type = lua_getfield(L, index, "usage");
    if (type != LUA_TNIL && type != LUA_TTABLE) luaL_error(L, "the model's answer: usage must be a table");
    if (type == LUA_TTABLE) {
        int at = lua_gettop(L);
        moon__lua_check_fields(L, at, "the model's answer: usage", fields);
        a->answer.usage = (moon_usage){.input_tokens = (int64_t)number(L, at, "input_tokens"),
                                       .cached_tokens = (int64_t)number(L, at, "cached_tokens"),
                                       .output_tokens = (int64_t)number(L, at, "output_tokens"),
                                       .reasoning_tokens = (int64_t)number(L, at, "reasoning_tokens"),
                                       .usd = number(L, at, "usd")};
    }
    lua_pop(L, 1);
}

/* ---- the whole ---- */

static void take_table(lua_State *L, moon__lua_answer *a, int index) {
    static const char *const fields[] = {"text", "reasoning", "tool_calls", "finish", "usage", NULL};
    moon__lua_check_fields(L, index, "the model's answer", fields);
    take_calls(L, a, index);
    a->answer.text = text_field(L, a, index, "text", "", &a->answer.text_length);
    a->answer.reasoning = text_field(L, a, index, "reasoning", "", &a->answer.reasoning_length);
    a->answer.finish = text_field(L, a, index, "finish", a->answer.n_calls ? "tool_calls" : "stop", NULL);
    take_usage(L, a, index);
}

static void take_text(lua_State *L, moon__lua_answer *a, const char *text, size_t n) {
    a->answer.text = as_pointer(keep(L, a, text, n, &a->answer.text_length));
    a->answer.reasoning = as_pointer(keep(L, a, "", 0, NULL));
    a->answer.finish = as_pointer(keep(L, a, "stop", 4, NULL));
}

void moon__lua_answer_take(lua_State *L, int index, int n, moon__lua_answer *a) {
    a->answer = (moon__answer){0};
    a->refused = false;
    moon__buf_reset(&a->bytes);
    int type = n > 0 ? lua_type(L, index) : LUA_TNIL;
    if (type == LUA_TSTRING) {
        size_t length;
        const char *text = lua_tolstring(L, index, &length);
        take_text(L, a, text, length);
    } else if (type == LUA_TTABLE) {
        take_table(L, a, index);
    } else if (type == LUA_TNIL && n > 1 && !lua_isnil(L, index + 1)) {
        const char *why = moon__lua_text(L, index + 1);
        a->refused = true;
        take_text(L, a, why, strlen(why));
    } else {
        luaL_error(L, "a model's function must return a string, a table or nil and an error, not %s",
                   n > 0 ? luaL_typename(L, index) : "nothing");
    }
    settle_all(a);
}
