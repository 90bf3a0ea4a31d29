/* SPDX-License-Identifier: MIT */
/* moon.json: encode, decode, array, null. */
#include "state.h"

static int encode(lua_State *L) {
    char why[256];
    luaL_checkany(L, 1);
    moon__buf *out = moon__lua_scratch(L, MOON__JSON_MAX);
    if (!moon__lua_write(L, 1, out, why)) return luaL_error(L, "moon.json.encode: %s", why);
    lua_pushlstring(L, out->p, out->len);
    return 1;
}

static int decode(lua_State *L) {
    size_t n;
    const char *text = luaL_checklstring(L, 1, &n);
    moon_error error = {0};
    if (moon__lua_parse(L, text, n, 0, &error)) return 1;
    luaL_pushfail(L);
    lua_pushstring(L, error.text);
    return 2;
}

/* array(t): marks t, which may be left out. */
static int array(lua_State *L) {
    if (lua_isnoneornil(L, 1))
        lua_newtable(L);
    else
        luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    if (lua_getmetatable(L, 1)) return luaL_argerror(L, 1, "the table has a metatable already");
    moon__lua_mark_array(L);
    return 1;
}

void moon__api_json(lua_State *L) {
    static const luaL_Reg functions[] = {{"encode", encode}, {"decode", decode}, {"array", array}, {NULL, NULL}};
    luaL_newlib(L, functions);
    lua_pushlightuserdata(L, NULL);
    lua_setfield(L, -2, "null");
    lua_setfield(L, -2, "json");
}
