/* SPDX-License-Identifier: MIT */
/* What the prelude's moon.way stands on, besides what chains do: a measure of likeness, the names of tools, and a
 * smaller budget for what a model wrote. */
#include "api.h"
#include "similar.h"
#include "tools.h"

#include <string.h>

/* similarity(a, b) → 0 … 1 */
static int similarity(lua_State *L) {
    size_t n, m;
    const char *a = luaL_checklstring(L, 1, &n), *b = luaL_checklstring(L, 2, &m);
    moon__guard_charge(L, (int64_t)(n + m));
    lua_pushnumber(L, moon__similar(a, n, b, m));
    return 1;
}

/* tools_of(name) → the names that it stands for, a group's or its own; or nil and why not */
static int tools_of(lua_State *L) {
    size_t n;
    const char *name = luaL_checklstring(L, 1, &n);
    const moon__tools *tools = moon__runtime_tools(moon__script_of(L)->runtime);
    lua_Integer found = 0;
    lua_newtable(L);
    for (size_t i = 0; moon__tools_at(tools, i); i++) {
        const char *has = moon__tools_at(tools, i)->tool->name;
        if (strncmp(has, name, n) != 0 || (has[n] && has[n] != '.')) continue;
        lua_pushstring(L, has);
        lua_rawseti(L, -2, ++found);
    }
    if (found) return 1;
    const char *near = moon__tools_nearest(tools, name);
    lua_pushnil(L);
    lua_pushfstring(L, "there is no tool or group \"%s\"%s%s%s", name, near ? " (did you mean \"" : "",
                    near ? near : "", near ? "\"?)" : "");
    return 2;
}

/* leave(n): what runs from here to the next wait has n instructions at most */
static int leave(lua_State *L) {
    moon__guard_leave(L, luaL_checkinteger(L, 1));
    return 0;
}

void moon__way_host(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"similarity", similarity}, {"tools_of", tools_of}, {"leave", leave}, {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
}
