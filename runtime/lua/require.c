/* SPDX-License-Identifier: MIT */
/*
 * require: "moonlet" is the module of the host; any other name is a Lua file beneath the script's own folder,
 * "lib.text" → lib/text.lua. The kernel keeps the path beneath it. A file runs once per state; its globals are the
 * script's.
 */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { NAME_MAX_LENGTH = 200 };

/* "lib.text" → "lib/text.lua"; false if the name has other characters or empty parts. */
static bool file_name(const char *module, char path[NAME_MAX_LENGTH + 8]) {
    size_t n = strlen(module);
    if (n == 0 || n > NAME_MAX_LENGTH || module[0] == '.' || module[n - 1] == '.' || strstr(module, "..")) return false;
    if (strspn(module, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.") != n) return false;
    for (size_t i = 0; i < n; i++) path[i] = module[i] == '.' ? '/' : module[i];
    memcpy(path + n, ".lua", 5);
    return true;
}

static void push_recorded(lua_State *L, const char *what, const char *path) {
    const moon__script *script = moon__script_of(L);
    for (size_t i = 1; i < script->n_recorded; i++)
        if (strcmp(script->recorded[i].path, path) == 0) {
            lua_pushlstring(L, script->recorded[i].text, script->recorded[i].length);
            return;
        }
    luaL_error(L, "%s is not found: the run's journal holds no %s", what, path);
}

void moon__lua_push_file(lua_State *L, const char *what, const char *path, bool recorded) {
    moon__script *script = moon__script_of(L);
    moon_error error = {0};
    if (recorded && script->recorded) {
        push_recorded(L, what, path);
        return;
    }
    if (!script->dir) {
        luaL_error(L, "%s is not found: a built-in script has no files beside it", what);
        return;
    }
    int dir = open(script->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0) luaL_error(L, "%s is not found: %s: %s", what, script->dir, strerror(errno));
    moon__buf *source = moon__lua_scratch(L, MOON__SOURCE_MAX);
    moon_status status = moon__source_read(source, dir, path, &error);
    close(dir);
    if (status == MOON_ENOTFOUND) luaL_error(L, "%s is not found: no file %s/%s", what, script->dir, path);
    if (status != MOON_OK) luaL_error(L, "%s: %s", what, error.text);
    lua_pushlstring(L, source->p ? source->p : "", source->len);
}

/* Runs the function at the top as a file's body: its globals are for all, and nothing in it can wait. Meanwhile the
 * module is marked in the table of the loaded ones, at index 2. */
static void run_body(lua_State *L, const char *module) {
    moon__script *script = moon__script_of(L);
    lua_pushlightuserdata(L, script);
    lua_setfield(L, 2, module);
    lua_pushstring(L, module);
    script->toplevel++;
    int status = moon__guard_protected(L, 1, 1);
    script->toplevel--;
    if (status == LUA_OK) return;
    lua_pushnil(L);
    lua_setfield(L, 2, module);
    lua_error(L);
}

static int require(lua_State *L) {
    const char *module = luaL_checkstring(L, 1);
    char path[NAME_MAX_LENGTH + 8];
    size_t n;
    lua_settop(L, 1);
    lua_getfield(L, LUA_REGISTRYINDEX, "moon.loaded"); /* 2 */
    if (lua_getfield(L, 2, module) != LUA_TNIL) {
        if (lua_touserdata(L, 3) == moon__script_of(L)) return luaL_error(L, "module \"%s\" requires itself", module);
        return 1;
    }
    if (strcmp(module, "moonlet.test") == 0) {
        lua_settop(L, 2);
        moon__test_open(L); /* 3 */
        lua_pushvalue(L, 3);
        lua_setfield(L, 2, module);
        return 1;
    }
    if (!file_name(module, path))
        return luaL_error(
            L, "module \"%s\" is not found: no such name (lib.text is the file lib/text.lua beside the script)",
            module);
    lua_settop(L, 2);
    const char *what = lua_pushfstring(L, "module \"%s\"", module); /* 3 */
    moon__lua_push_file(L, what, path, true);                       /* 4 */
    const char *text = lua_tolstring(L, 4, &n);
    moon__script *script = moon__script_of(L);
    moon__source_skip(&text, &n);
    const char *name = lua_pushfstring(L, "%s/%s", script->dir, path); /* 5 */
    if (strcmp(script->dir, ".") == 0 && strchr(script->name, '/') == NULL) name = path;
    if (!moon__script_add_source(script, path, text, n)) return luaL_error(L, "not enough memory");
    moon__guard_load(L, text, n, name); /* 6 */
    run_body(L, module);
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        lua_pushboolean(L, true);
    }
    lua_pushvalue(L, -1);
    lua_setfield(L, 2, module);
    return 1;
}

void moon__lib_require(lua_State *L) {
    lua_newtable(L);
    lua_getfield(L, LUA_REGISTRYINDEX, "moon.module");
    lua_setfield(L, -2, "moonlet");
    lua_setfield(L, LUA_REGISTRYINDEX, "moon.loaded");
    lua_pushcfunction(L, require);
    lua_setglobal(L, "require");
}
