/* SPDX-License-Identifier: MIT */
/*
 * What moon.prompt needs of the host: the text of a file beside the script, a hash of what a prompt says, a handle that
 * is no table, and a place to tell which version of a prompt was rendered.
 *
 * A file that is read while the script's top level runs is one of the script's sources, and kept with them. One that is
 * read later, within a run, is a value from outside: it stands in the journal as such.
 */
#include "api.h"
#include "hash.h"
#include "outside.h"

#include <stdio.h>
#include <string.h>

enum { PATH_MAX_LENGTH = 200 };

static int sha256(lua_State *L) {
    size_t n;
    const char *text = luaL_checklstring(L, 1, &n);
    unsigned char hash[MOON__HASH_SIZE];
    char out[MOON__HASH_TEXT];
    moon__guard_charge(L, (int64_t)n);
    moon__sha256(hash, &(moon__bytes){text, n}, 1);
    moon__hash_text(out, hash);
    lua_pushstring(L, out);
    return 1;
}

/* object(metatable) → a value that has it. */
static int object(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_newuserdatauv(L, 0, 0);
    lua_pushvalue(L, 1);
    lua_setmetatable(L, -2);
    return 1;
}

/* rendered(name, hash): tells it in the run that goes on, if there is one. */
static int rendered(lua_State *L) {
    const char *name = luaL_checkstring(L, 1), *hash = luaL_checkstring(L, 2);
    const moon__script *script = moon__script_of(L);
    if (script->task && script->task->run && !script->toplevel) moon__run_prompt(script->task->run, name, hash);
    return 0;
}

/* ---- files ---- */

static void check_path(lua_State *L, const char *path, size_t n) {
    bool up = strcmp(path, "..") == 0 || strncmp(path, "../", 3) == 0 || strstr(path, "/../") != NULL;
    if (n == 0 || strlen(path) != n || path[0] == '/' || up)
        luaL_error(L, "prompt file \"%s\": a path beneath the script's folder is needed", path);
    if (n > PATH_MAX_LENGTH) luaL_error(L, "prompt file: a path has at most %d bytes", PATH_MAX_LENGTH);
}

/* Replaces the text at the top by one without a byte order mark, as the rest of the library wants text. */
static void clean(lua_State *L) {
    size_t n;
    const char *text = lua_tolstring(L, -1, &n);
    size_t skip = n >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0;
    moon__buf *out = moon__lua_scratch(L, MOON__JSON_MAX);
    moon__lua_add_text(out, text + skip, n - skip);
    if (out->status != MOON_OK) luaL_error(L, "not enough memory");
    lua_pushlstring(L, out->p ? out->p : "", out->len);
    lua_remove(L, -2);
}

static void read_source(lua_State *L, const char *what, const char *path) {
    size_t n;
    moon__lua_push_file(L, what, path, true);
    clean(L);
    const char *text = lua_tolstring(L, -1, &n);
    if (!moon__script_add_source(moon__script_of(L), path, text, n)) luaL_error(L, "not enough memory");
}

static void read_value(lua_State *L, moon__task *task, const char *what, const char *path) {
    char key[MOON__PAUSE_KEY], kind[PATH_MAX_LENGTH + 8];
    size_t n = 0;
    moon__task_key(task, 't', key);
    snprintf(kind, sizeof kind, "file %s", path);
    moon_json *was = moon__value_recorded(task->run, key, kind);
    if (was) {
        moon__buf *text = moon__lua_scratch(L, MOON__JSON_MAX);
        const char *then = moon_json_str(moon_json_get(was, "value"), &n);
        moon__buf_add(text, then ? then : "", n);
        moon__json_free(was);
        lua_pushlstring(L, text->p ? text->p : "", text->len);
        return;
    }
    moon__lua_push_file(L, what, path, false);
    clean(L);
    const char *text = lua_tolstring(L, -1, &n);
    moon__buf *json = moon__lua_scratch(L, MOON__JSON_MAX);
    moon__buf_quoted(json, text, n);
    if (json->status != MOON_OK) luaL_error(L, "%s is too long", what);
    moon__value_record(task->run, key, kind, json->p, json->len);
}

/* read(path) → the text of a file beneath the script's folder. */
static int read_file(lua_State *L) {
    size_t n;
    const char *path = luaL_checklstring(L, 1, &n);
    moon__script *script = moon__script_of(L);
    check_path(L, path, n);
    const char *what = lua_pushfstring(L, "prompt file \"%s\"", path);
    if (script->task && script->task->run && !script->toplevel)
        read_value(L, script->task, what, path);
    else
        read_source(L, what, path);
    return 1;
}

void moon__api_prompt(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"sha256", sha256}, {"object", object}, {"rendered", rendered}, {"read", read_file}, {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
}
