/* SPDX-License-Identifier: MIT */
/*
 * The standard libraries as scripts get them: what reaches the host or the process is taken away, and functions that
 * could loop without executing instructions are charged for their work first. A wrapper calls Lua's own function
 * directly, in its own frame, so that its errors name the function and the place as ever.
 */
#include "task.h"

#include <string.h>

static int original(lua_State *L) {
    return lua_tocfunction(L, lua_upvalueindex(1))(L);
}

/* ---- base ---- */

const char *moon__lua_text(lua_State *L, int index) {
    index = lua_absindex(L, index);
    switch (lua_type(L, index)) {
    case LUA_TTABLE:
    case LUA_TUSERDATA:
        if (luaL_callmeta(L, index, "__tostring")) {
            if (!lua_isstring(L, -1)) luaL_error(L, "'__tostring' must return a string");
            return lua_tostring(L, -1);
        }
        if (luaL_getmetafield(L, index, "__name") == LUA_TSTRING) return lua_tostring(L, -1);
        break;
    case LUA_TFUNCTION:
    case LUA_TTHREAD: break;
    case LUA_TLIGHTUSERDATA: return lua_pushliteral(L, "null");
    default: return luaL_tolstring(L, index, NULL);
    }
    return lua_pushstring(L, luaL_typename(L, index)); /* never an address */
}

static int base_tostring(lua_State *L) {
    luaL_checkany(L, 1);
    moon__lua_text(L, 1);
    return 1;
}

static int base_setmetatable(lua_State *L) {
    if (lua_istable(L, 2)) {
        lua_pushliteral(L, "__gc");
        if (lua_rawget(L, 2) != LUA_TNIL)
            return luaL_error(L, "scripts cannot have finalizers (__gc); __close is there");
        lua_pop(L, 1);
    }
    return original(L);
}

/* load(chunk [, name [, mode [, env]]]): source only, whatever mode says. */
static int base_load(lua_State *L) {
    size_t n;
    const char *text = lua_tolstring(L, 1, &n);
    if (text) moon__guard_charge(L, (int64_t)n);
    if (text && n > MOON__SOURCE_MAX) {
        luaL_pushfail(L);
        lua_pushliteral(L, "a chunk may have at most 1 MiB");
        return 2;
    }
    if (lua_gettop(L) < 3) lua_settop(L, 3);
    if (text && lua_isnil(L, 2)) {
        lua_pushliteral(L, "=(load)");
        lua_replace(L, 2);
    }
    lua_pushliteral(L, "t");
    lua_replace(L, 3);
    return original(L);
}

/* ---- string ---- */

static int string_rep(lua_State *L) {
    size_t n, sep = 0;
    luaL_checklstring(L, 1, &n);
    lua_Integer times = luaL_checkinteger(L, 2);
    luaL_optlstring(L, 3, "", &sep);
    if (times <= 0 || n + sep == 0) {
        lua_pushliteral(L, "");
        return 1;
    }
    if ((size_t)times > MOON__STATE_MEMORY / (n + sep)) return luaL_error(L, "resulting string too large");
    return original(L);
}

/* Replaces what %s would show an address of; refuses %p. */
static int string_format(lua_State *L) {
    const char *format = luaL_checkstring(L, 1);
    int n = lua_gettop(L);
    for (const char *p = strchr(format, '%'); p; p = strchr(p, '%')) {
        p += 1 + strspn(p + 1, "-+#0 .123456789");
        if (*p == 'p') return luaL_error(L, "invalid conversion '%%p' to 'format'");
        if (*p) p++;
    }
    for (int i = 2; i <= n; i++) {
        int type = lua_type(L, i);
        if (type < LUA_TTABLE && type != LUA_TLIGHTUSERDATA) continue;
        moon__lua_text(L, i);
        lua_replace(L, i);
        lua_settop(L, n);
    }
    return original(L);
}

/* ---- table ---- */

/* The length of the table at 1. One that computes its length could give another each time it is asked. */
static lua_Integer length(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    if (luaL_getmetafield(L, 1, "__len") != LUA_TNIL) luaL_error(L, "a table with __len is not accepted here");
    return (lua_Integer)lua_rawlen(L, 1);
}

static int table_shift(lua_State *L) { /* insert, remove */
    lua_Integer n = length(L);
    if (lua_gettop(L) > 2 || (lua_gettop(L) == 2 && lua_tocfunction(L, lua_upvalueindex(2)))) moon__guard_charge(L, n);
    return original(L);
}

static int table_sort(lua_State *L) {
    moon__guard_charge(L, length(L) * 8);
    return original(L);
}

static void charge_span(lua_State *L, lua_Integer from, lua_Integer to) {
    if (to < from) return;
    lua_Unsigned span = (lua_Unsigned)to - (lua_Unsigned)from;
    moon__guard_charge(L, span > MOON__SLICE_BUDGET ? MOON__SLICE_BUDGET + 1 : (int64_t)span);
}

static int table_concat(lua_State *L) {
    lua_Integer n = length(L);
    charge_span(L, luaL_optinteger(L, 3, 1), luaL_optinteger(L, 4, n));
    return original(L);
}

static int table_move(lua_State *L) {
    charge_span(L, luaL_checkinteger(L, 2), luaL_checkinteger(L, 3));
    return original(L);
}

/* ---- math ---- */

static lua_Unsigned random_below(moon__random *random, lua_Unsigned range) { /* 0 … range, without bias */
    lua_Unsigned mask = range, value;
    for (unsigned shift = 1; shift < 64; shift *= 2) mask |= mask >> shift;
    do value = moon__random_u64(random) & mask;
    while (value > range);
    return value;
}

/* A run's numbers follow from its seed and its place in the tree of calls: the same when it is resumed, whatever else
 * goes on in this state. */
static moon__random *random_of(lua_State *L) {
    moon__script *script = moon__script_of(L);
    return script->task ? &script->task->random : &script->random;
}

static int math_random(lua_State *L) {
    moon__random *random = random_of(L);
    lua_Integer low = 1, up;
    switch (lua_gettop(L)) {
    case 0: lua_pushnumber(L, moon__random_unit(random)); return 1;
    case 1:
        up = luaL_checkinteger(L, 1);
        if (up == 0) {
            lua_pushinteger(L, (lua_Integer)moon__random_u64(random));
            return 1;
        }
        break;
    case 2:
        low = luaL_checkinteger(L, 1);
        up = luaL_checkinteger(L, 2);
        break;
    default: return luaL_error(L, "wrong number of arguments");
    }
    luaL_argcheck(L, low <= up, lua_gettop(L), "interval is empty");
    lua_pushinteger(L, (lua_Integer)((lua_Unsigned)low + random_below(random, (lua_Unsigned)up - (lua_Unsigned)low)));
    return 1;
}

static int math_randomseed(lua_State *L) {
    uint64_t seed;
    if (lua_isnoneornil(L, 1))
        seed = moon__random_u64(random_of(L));
    else if (lua_isinteger(L, 1))
        seed = (uint64_t)lua_tointeger(L, 1);
    else {
        lua_Number number = luaL_checknumber(L, 1);
        memcpy(&seed, &number, sizeof seed);
    }
    moon__random_init(random_of(L), seed ? seed : 1);
    return 0;
}

/* ---- putting them in place ---- */

/* Replaces the field of the table at the top by fn around what was there. */
static void wrap(lua_State *L, const char *name, lua_CFunction fn) {
    lua_getfield(L, -1, name);
    lua_pushcclosure(L, fn, 1);
    lua_setfield(L, -2, name);
}

static void forget(lua_State *L, const char *const *names) {
    for (; *names; names++) {
        lua_pushnil(L);
        lua_setfield(L, -2, *names);
    }
}

static void fix_base(lua_State *L) {
    static const char *const gone[] = {"dofile", "loadfile", "collectgarbage", "warn", NULL};
    lua_pushglobaltable(L);
    forget(L, gone);
    wrap(L, "setmetatable", base_setmetatable);
    wrap(L, "load", base_load);
    lua_pushcfunction(L, base_tostring);
    lua_setfield(L, -2, "tostring");
    lua_pop(L, 1);
}

static void fix_string(lua_State *L) {
    static const char *const gone[] = {"dump", NULL};
    lua_getglobal(L, "string");
    forget(L, gone);
    wrap(L, "rep", string_rep);
    wrap(L, "format", string_format);
    lua_pop(L, 1);
    lua_pushliteral(L, "");
    lua_getmetatable(L, -1);
    lua_pushliteral(L, "locked");
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 2);
}

static void fix_table(lua_State *L) {
    lua_getglobal(L, "table");
    wrap(L, "sort", table_sort);
    wrap(L, "concat", table_concat);
    wrap(L, "move", table_move);
    wrap(L, "insert", table_shift);
    lua_getfield(L, -1, "remove");
    lua_pushvalue(L, -1); /* the second upvalue: remove shifts with two arguments already */
    lua_pushcclosure(L, table_shift, 2);
    lua_setfield(L, -2, "remove");
    lua_pop(L, 1);
}

void moon__lib_base(lua_State *L) {
    fix_base(L);
    fix_string(L);
    fix_table(L);
    lua_getglobal(L, "math");
    lua_pushcfunction(L, math_random);
    lua_setfield(L, -2, "random");
    lua_pushcfunction(L, math_randomseed);
    lua_setfield(L, -2, "randomseed");
    lua_pop(L, 1);
}
