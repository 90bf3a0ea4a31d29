/* SPDX-License-Identifier: MIT */
/*
 * Lua values to JSON and back.
 *
 * A table is an array if it is marked as one (moon.json.array, and all that came from a JSON array), or if its keys are
 * 1 … n; else an object, and its keys must be strings. The empty table is an object. Members are written in the order
 * of their names, because the order of pairs() differs from process to process and requests should not. No metamethod
 * runs. What has no JSON (functions, NaN, mixed keys, a table inside itself) is an error that says where:
 * "files[2].name".
 */
#include "state.h"
#include "text.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { DEPTH = 60 };

static const char ARRAY = 0; /* its address is the array metatable's key in the registry */

typedef struct level {
    const void *table;
    const char *key; /* NULL: an index */
    lua_Integer index;
} level;

typedef struct writer {
    lua_State *L;
    moon__jw w;
    level levels[DEPTH];
    unsigned depth;
    char *why;
} writer;

/* Writes "files[2].name: " and the message into why. */
static bool fail(writer *wr, const char *format, ...) MOON_PRINTF(2, 3);
static bool fail(writer *wr, const char *format, ...) {
    char *p = wr->why, *end = p + 256;
    for (unsigned i = 0; i < wr->depth && end - p > 120; i++) {
        const level *l = &wr->levels[i];
        if (l->key)
            p += snprintf(p, 64, "%s%.40s", i ? "." : "", l->key);
        else if (l->index)
            p += snprintf(p, 64, "[%lld]", (long long)l->index);
    }
    if (p != wr->why) p += snprintf(p, (size_t)(end - p), ": ");
    va_list args;
    va_start(args, format);
    vsnprintf(p, (size_t)(end - p), format, args);
    va_end(args);
    return false;
}

static bool write_value(writer *wr, const char *name, int index);

typedef struct shape {
    size_t strings, integers;
    bool array;
} shape;

static bool is_marked(lua_State *L, int index) {
    if (!lua_getmetatable(L, index)) return false;
    lua_rawgetp(L, LUA_REGISTRYINDEX, &ARRAY);
    bool marked = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return marked;
}

/* What kind of table it is, from its keys. */
static bool measure(writer *wr, int index, shape *out) {
    lua_State *L = wr->L;
    size_t n = lua_rawlen(L, index);
    *out = (shape){.array = is_marked(L, index)};
    lua_pushnil(L);
    while (lua_next(L, index)) {
        lua_pop(L, 1);
        if (lua_type(L, -1) == LUA_TSTRING)
            out->strings++;
        else if (lua_isinteger(L, -1) && lua_tointeger(L, -1) >= 1 && (size_t)lua_tointeger(L, -1) <= n)
            out->integers++;
        else if (lua_isinteger(L, -1))
            return fail(wr, "a list with holes (index %lld, but %zu before it)", (long long)lua_tointeger(L, -1), n);
        else
            return fail(wr, "a key that is a %s", luaL_typename(L, -1));
    }
    if (out->strings && (out->integers || out->array)) return fail(wr, "a table with both a list and named fields");
    if (out->integers != n) return fail(wr, "a list with holes");
    out->array = out->array || out->integers > 0;
    return true;
}

static bool write_array(writer *wr, int index) {
    lua_State *L = wr->L;
    size_t n = lua_rawlen(L, index);
    level *here = &wr->levels[wr->depth - 1];
    for (size_t i = 1; i <= n; i++) {
        here->index = (lua_Integer)i;
        lua_rawgeti(L, index, (lua_Integer)i);
        if (!write_value(wr, NULL, lua_gettop(L))) return false;
        lua_pop(L, 1);
    }
    return true;
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static bool write_object(writer *wr, int index, size_t n) {
    lua_State *L = wr->L;
    level *here = &wr->levels[wr->depth - 1];
    const char **names = lua_newuserdatauv(L, (n + 1) * sizeof *names, 0); /* Lua's memory: an error does not leak it */
    size_t i = 0;
    lua_pushnil(L);
    while (lua_next(L, index)) {
        size_t length;
        lua_pop(L, 1);
        names[i] = lua_tolstring(L, -1, &length); /* the table keeps it alive */
        if (strlen(names[i]) != length) return fail(wr, "a field name with a zero byte");
        i++;
    }
    qsort(names, n, sizeof *names, by_name);
    for (i = 0; i < n; i++) {
        here->key = names[i];
        lua_pushstring(L, names[i]);
        lua_rawget(L, index);
        if (!write_value(wr, names[i], lua_gettop(L))) return false;
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    return true;
}

static bool write_table(writer *wr, const char *name, int index) {
    const void *table = lua_topointer(wr->L, index);
    shape found;
    for (unsigned i = 0; i < wr->depth; i++)
        if (wr->levels[i].table == table) return fail(wr, "the table contains itself");
    if (wr->depth == DEPTH || !lua_checkstack(wr->L, 8)) return fail(wr, "nested more than %d levels deep", DEPTH);
    if (!measure(wr, index, &found)) return false;
    wr->levels[wr->depth++] = (level){.table = table};
    if (found.array)
        moon__jw_array(&wr->w, name);
    else
        moon__jw_object(&wr->w, name);
    if (!(found.array ? write_array(wr, index) : write_object(wr, index, found.strings))) return false;
    moon__jw_end(&wr->w);
    wr->depth--;
    return true;
}

static bool write_number(writer *wr, const char *name, int index) {
    if (lua_isinteger(wr->L, index)) {
        moon__jw_int(&wr->w, name, lua_tointeger(wr->L, index));
        return true;
    }
    double number = lua_tonumber(wr->L, index);
    if (!isfinite(number)) return fail(wr, "%s is no JSON number", isnan(number) ? "NaN" : "an infinite number");
    moon__jw_num(&wr->w, name, number);
    return true;
}

static bool write_value(writer *wr, const char *name, int index) {
    lua_State *L = wr->L;
    size_t n;
    const char *text;
    if (wr->w.buf->status != MOON_OK) return fail(wr, "too large");
    switch (lua_type(L, index)) {
    case LUA_TNIL: moon__jw_null(&wr->w, name); return true;
    case LUA_TBOOLEAN: moon__jw_bool(&wr->w, name, lua_toboolean(L, index)); return true;
    case LUA_TNUMBER: return write_number(wr, name, index);
    case LUA_TSTRING:
        text = lua_tolstring(L, index, &n);
        moon__jw_str(&wr->w, name, text, n);
        return true;
    case LUA_TTABLE: return write_table(wr, name, index);
    case LUA_TLIGHTUSERDATA: moon__jw_null(&wr->w, name); return true;
    default: return fail(wr, "a %s has no JSON form", luaL_typename(L, index));
    }
}

bool moon__lua_write(lua_State *L, int index, moon__buf *out, char why[256]) {
    writer wr = {.L = L, .why = why};
    int top = lua_gettop(L);
    luaL_checkstack(L, 8, NULL);
    moon__jw_init(&wr.w, out);
    why[0] = 0;
    bool ok = write_value(&wr, NULL, lua_absindex(L, index));
    lua_settop(L, top);
    if (ok && out->status != MOON_OK) return fail(&wr, "too large");
    return ok;
}

void moon__lua_add_text(moon__buf *out, const char *text, size_t n) {
    moon__text_repair(out, text, n);
}

/* ---- JSON to Lua ---- */

void moon__lua_mark_array(lua_State *L) {
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &ARRAY) == LUA_TNIL) {
        lua_pop(L, 1);
        lua_createtable(L, 0, 2);
        lua_pushliteral(L, "array");
        lua_setfield(L, -2, "__name");
        lua_pushliteral(L, "locked");
        lua_setfield(L, -2, "__metatable");
        lua_pushvalue(L, -1);
        lua_rawsetp(L, LUA_REGISTRYINDEX, &ARRAY);
    }
    lua_setmetatable(L, -2);
}

static void push_array(lua_State *L, const moon_json *value, unsigned flags) {
    lua_Integer i = 0;
    lua_newtable(L);
    for (const moon_json *item = moon_json_first(value); item; item = moon_json_next(item)) {
        moon__lua_push(L, item, flags & ~(unsigned)MOON__NULLS_ARE_NIL); /* a list must have no holes */
        lua_rawseti(L, -2, ++i);
    }
    moon__lua_mark_array(L);
}

static void push_object(lua_State *L, const moon_json *value, unsigned flags) {
    lua_newtable(L);
    for (const moon_json *item = moon_json_first(value); item; item = moon_json_next(item)) {
        if ((flags & MOON__NULLS_ARE_NIL) && moon_json_type(item) == MOON_JSON_NULL) continue;
        lua_pushstring(L, moon_json_name(item));
        moon__lua_push(L, item, flags);
        lua_rawset(L, -3);
    }
}

static void push_number(lua_State *L, const moon_json *value) {
    int64_t integer;
    double number = 0;
    if (moon_json_int(value, &integer)) {
        lua_pushinteger(L, integer);
        return;
    }
    moon_json_num(value, &number);
    lua_pushnumber(L, number);
}

void moon__lua_push(lua_State *L, const moon_json *value, unsigned flags) {
    size_t n = 0;
    bool truth = false;
    const char *text;
    luaL_checkstack(L, 8, "JSON is nested too deeply");
    switch (moon_json_type(value)) {
    case MOON_JSON_ABSENT: lua_pushnil(L); break;
    case MOON_JSON_NULL: lua_pushlightuserdata(L, NULL); break;
    case MOON_JSON_BOOL:
        moon_json_bool(value, &truth);
        lua_pushboolean(L, truth);
        break;
    case MOON_JSON_NUMBER: push_number(L, value); break;
    case MOON_JSON_STRING:
        text = moon_json_str(value, &n);
        lua_pushlstring(L, text, n);
        break;
    case MOON_JSON_ARRAY: push_array(L, value, flags); break;
    case MOON_JSON_OBJECT: push_object(L, value, flags); break;
    }
}

/* A parsed tree in Lua's keeping, so that an error while it is pushed does not leak it. */
static int tree_gc(lua_State *L) {
    moon_json **tree = lua_touserdata(L, 1);
    moon__json_free(*tree);
    *tree = NULL;
    return 0;
}

bool moon__lua_parse(lua_State *L, const char *text, size_t n, unsigned flags, moon_error *error) {
    moon_json **tree = lua_newuserdatauv(L, sizeof *tree, 0);
    *tree = NULL;
    if (luaL_newmetatable(L, "moon.tree")) {
        lua_pushcfunction(L, tree_gc);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    if (n > MOON__JSON_MAX)
        moon_error_set(error, MOON_ELIMIT, "the text is over 16 MiB");
    else if (moon__json_parse(tree, text, n, 0, error) == MOON_OK) {
        moon__lua_push(L, *tree, flags);
        moon__json_free(*tree);
        *tree = NULL;
        lua_remove(L, -2);
        return true;
    }
    lua_pop(L, 1);
    return false;
}
