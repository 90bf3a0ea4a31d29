/* SPDX-License-Identifier: MIT */
/* "moonlet.test": who may require it, and the host behind it. */
#include "test.h"

#include <string.h>

static const char HOST[] = "moon.test.host", MAIN[] = "moon.test.main";

moon__test_host *moon__test_host_of(lua_State *L) {
    lua_getfield(L, LUA_REGISTRYINDEX, HOST);
    moon__test_host *host = lua_touserdata(L, -1);
    lua_pop(L, 1);
    return host;
}

static int free_host(lua_State *L) {
    moon__test_host *host = lua_touserdata(L, 1);
    while (host->runs) {
        moon__under *under = host->runs;
        host->runs = under->next;
        moon__under_free(under);
    }
    moon__buf_fini(&host->refused);
    if (host->testing) host->testing->standins = (moon__standins){0};
    return 0;
}

static void make_host(lua_State *L, moon__script *script) {
    static const luaL_Reg meta[] = {{"__gc", free_host}, {NULL, NULL}};
    moon__lua_handle(L, HOST, meta);
    moon__test_host *host = lua_newuserdatauv(L, sizeof *host, 0);
    *host = (moon__test_host){.script = script};
    moon__buf_init(&host->refused, 64 << 10);
    luaL_setmetatable(L, HOST);
    lua_setfield(L, LUA_REGISTRYINDEX, HOST);
    host->testing = moon__runtime_testing(script->runtime);
    host->testing->standins = moon__test_standins;
    host->testing->standins.ctx = host;
}

/* ---- small functions of the prelude ---- */

static int where(lua_State *L) {
    char place[112];
    moon__script_where(L, place);
    lua_pushstring(L, place);
    return 1;
}

static int trace(lua_State *L) {
    luaL_traceback(L, L, NULL, 1);
    return 1;
}

/* The texts of what was refused since it was last asked. */
static int refused(lua_State *L) {
    moon__test_host *host = moon__test_host_of(L);
    lua_newtable(L);
    lua_Integer n = 0;
    for (size_t at = 0; at < host->refused.len; at += strlen(host->refused.p + at) + 1) {
        lua_pushstring(L, host->refused.p + at);
        lua_rawseti(L, -2, ++n);
    }
    moon__buf_reset(&host->refused);
    return 1;
}

/* What the prelude's test files get, as host.test. */
static void open_host(lua_State *L) {
    static const luaL_Reg functions[] = {{"where", where}, {"trace", trace}, {"refused", refused}, {NULL, NULL}};
    lua_getfield(L, LUA_REGISTRYINDEX, "moon.host");
    luaL_newlib(L, functions);
    moon__test_runs(L);
    moon__test_files(L);
    lua_pushvalue(L, -1);
    lua_setfield(L, -3, "test");
}

static bool is_test_file(const moon__script *script) {
    const moon__testing *testing = script->runtime ? moon__runtime_testing(script->runtime) : NULL;
    return testing && testing->file && strcmp(script->name, testing->file) == 0;
}

void moon__test_open(lua_State *L) {
    moon__script *script = moon__script_of(L);
    if (!is_test_file(script))
        luaL_error(L, "\"moonlet.test\" is for test files, and is there under `moonlet test` only");
    make_host(L, script);
    open_host(L); /* shared, host */
    moon__prelude(L, "test");
    lua_getfield(L, -2, "main");
    lua_setfield(L, LUA_REGISTRYINDEX, MAIN);
    lua_replace(L, -3);
    lua_pop(L, 1);
}

int moon__test_main(lua_State *L) {
    if (!is_test_file(moon__script_of(L))) return LUA_NOREF;
    if (lua_getfield(L, LUA_REGISTRYINDEX, MAIN) != LUA_TFUNCTION)
        luaL_error(L, "this file holds no tests: local t = require \"moonlet.test\"; t.test(\"…\", function() … end)");
    return luaL_ref(L, LUA_REGISTRYINDEX);
}
