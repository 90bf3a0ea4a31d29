/* SPDX-License-Identifier: MIT */
/*
 * A script's state: opened with libraries by allow-list, then the prelude, then the globals' metatable that keeps runs
 * apart.
 *
 * Globals. Functions of a script share one table of globals. What the top level defined is for all; a global that is
 * created while a task runs (a run, a tool call, a model's answer) goes to a table of that task alone, so that a
 * forgotten `local` does not leak from one run into another.
 *
 * The seed of Lua's string hashes is compiled into the library, so the order of pairs() differs between processes.
 */
#include "state.h"
#include "children.h"
#include "embedded.h"
#include "task.h"
#include "text.h"

#include <stdlib.h>
#include <string.h>

enum { SCRATCH_KEEP = 64 * 1024 };

/* ---- globals of a task ---- */

/* Pushes the running task's own globals; false (nothing pushed) if there are none and none are to be made. */
static bool push_private(lua_State *L, bool make) {
    moon__script *script = moon__script_of(L);
    moon__task *task = script->task;
    if (!task || script->toplevel) return false;
    if (task->globals != LUA_NOREF) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, task->globals);
        return true;
    }
    if (!make) return false;
    lua_newtable(L);
    lua_pushvalue(L, -1);
    task->globals = luaL_ref(L, LUA_REGISTRYINDEX);
    return true;
}

static int globals_get(lua_State *L) {
    lua_settop(L, 2);
    if (!push_private(L, false)) return 0;
    lua_pushvalue(L, 2);
    lua_rawget(L, 3);
    return 1;
}

static int globals_set(lua_State *L) {
    lua_settop(L, 3);
    if (!push_private(L, true)) lua_pushvalue(L, 1);
    lua_insert(L, 2);
    lua_rawset(L, 2);
    return 0;
}

static void guard_globals(lua_State *L) {
    static const luaL_Reg meta[] = {{"__index", globals_get}, {"__newindex", globals_set}, {NULL, NULL}};
    lua_pushglobaltable(L);
    luaL_newlib(L, meta);
    lua_pushliteral(L, "locked");
    lua_setfield(L, -2, "__metatable");
    lua_setmetatable(L, -2);
    lua_pop(L, 1);
}

/* ---- opening ---- */

static void open_libraries(lua_State *L) {
    static const luaL_Reg allowed[] = {{LUA_GNAME, luaopen_base},       {LUA_STRLIBNAME, luaopen_string},
                                       {LUA_TABLIBNAME, luaopen_table}, {LUA_MATHLIBNAME, luaopen_math},
                                       {LUA_UTF8LIBNAME, luaopen_utf8}, {NULL, NULL}};
    for (const luaL_Reg *lib = allowed; lib->func; lib++) {
        luaL_requiref(L, lib->name, lib->func, 1);
        lua_pop(L, 1);
    }
    moon__lib_base(L);
    moon__lib_coroutine(L);
}

/* ---- the prelude: Lua that is built in, each file opened when it is needed first ---- */

/* Runs prelude/NAME.lua with the host's functions and the module; leaves what it returns. */
static void run_prelude(lua_State *L, const char *name) {
    const moon__embedded *file = moon__embedded_prelude;
    while (file->name && strcmp(file->name, name) != 0) file++;
    if (!file->name) luaL_error(L, "the prelude lacks %s", name);
    if (luaL_loadbufferx(L, file->text, file->length, "=[moonlet]", "t") != LUA_OK) lua_error(L);
    lua_getfield(L, LUA_REGISTRYINDEX, "moon.host");
    lua_getfield(L, LUA_REGISTRYINDEX, "moon.module");
    lua_call(L, 2, 1);
}

void moon__prelude(lua_State *L, const char *name) {
    luaL_checkstack(L, 8, NULL);
    lua_getfield(L, LUA_REGISTRYINDEX, "moon.opened");
    if (lua_getfield(L, -1, name) == LUA_TNIL) {
        lua_pop(L, 1);
        run_prelude(L, name);
        if (lua_isnil(L, -1)) {
            lua_pop(L, 1);
            lua_pushboolean(L, true);
        }
        lua_pushvalue(L, -1);
        lua_setfield(L, -3, name);
    }
    lua_remove(L, -2);
}

/* need(name): opens a file of the prelude that another one builds on. */
static int need(lua_State *L) {
    moon__prelude(L, luaL_checkstring(L, 1));
    return 1;
}

/* Members of the module that files of the prelude add. */
static const struct {
    const char *member, *file;
} members[] = {{"chain", "chain"}, {"fn", "chain"}, {"parse", "parse"}, {"prompt", "prompt"}, {"way", "way"}};

static int module_index(lua_State *L) {
    const char *name = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        if (strcmp(members[i].member, name) != 0) continue;
        moon__prelude(L, members[i].file);
        lua_settop(L, 2);
        lua_rawget(L, 1);
        return 1;
    }
    return 0;
}

/* pairs(module): of a copy with all members, by the script's pairs (the upvalue). */
static int module_pairs(lua_State *L) {
    lua_settop(L, 1);
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        moon__prelude(L, members[i].file);
        lua_settop(L, 1);
    }
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_newtable(L);
    lua_pushnil(L);
    while (lua_next(L, 1)) {
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        lua_rawset(L, 3);
    }
    lua_call(L, 1, 3);
    return 3;
}

static void open_lazily(lua_State *L) { /* the module is at the top */
    lua_createtable(L, 0, 3);
    lua_pushcfunction(L, module_index);
    lua_setfield(L, -2, "__index");
    lua_getglobal(L, "pairs");
    lua_pushcclosure(L, module_pairs, 1);
    lua_setfield(L, -2, "__pairs");
    lua_pushliteral(L, "locked");
    lua_setfield(L, -2, "__metatable");
    lua_setmetatable(L, -2);
}

static int spent(lua_State *L) {
    lua_pushboolean(L, moon__guard_of(L)->spent);
    return 1;
}

/* Has the value a __pairs? */
static int own_pairs(lua_State *L) {
    lua_pushboolean(L, luaL_getmetafield(L, 1, "__pairs") != LUA_TNIL);
    return 1;
}

static int open_state(lua_State *L) {
    static const char *const first[] = {"sandbox", "log"};
    open_libraries(L);
    lua_newtable(L);
    lua_setfield(L, LUA_REGISTRYINDEX, "moon.opened");
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_setfield(L, LUA_REGISTRYINDEX, "moon.host");
    lua_pushcfunction(L, spent);
    lua_setfield(L, -2, "spent");
    lua_pushcfunction(L, own_pairs);
    lua_setfield(L, -2, "own_pairs");
    lua_pushcfunction(L, need);
    lua_setfield(L, -2, "need");
    moon__api_log(L); /* adds to the table at the top */
    moon__api_parse(L);
    moon__api_prompt(L);
    moon__children_host(L);
    moon__chain_host(L);
    moon__ctx_host(L);
    moon__way_host(L);
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_setfield(L, LUA_REGISTRYINDEX, "moon.module");
    lua_pushliteral(L, MOON_VERSION);
    lua_setfield(L, -2, "version");
    moon__api_json(L);
    moon__api_ctx(L);
    moon__api_tool(L);
    moon__api_code(L);
    moon__api_agent(L);
    moon__api_handoff(L);
    moon__api_hooks(L);
    moon__api_model(L);
    moon__api_time(L);
    for (size_t i = 0; i < sizeof first / sizeof first[0]; i++) {
        run_prelude(L, first[i]);
        lua_pop(L, 1);
    }
    open_lazily(L);
    moon__lib_require(L);
    guard_globals(L);
    return 0;
}

moon_status moon__script_new(moon__script **out, const moon__script_spec *spec, moon_error *error) {
    moon__script *script = calloc(1, sizeof *script);
    if (!script) return moon_error_set(error, MOON_ENOMEM, "out of memory");
    script->refs = 1;
    script->runtime = spec->runtime;
    moon__buf_init(&script->scratch, MOON__JSON_MAX);
    moon__buf_init(&script->log, 16 * 1024);
    moon__random_init(&script->random, 1); /* of its body, which runs again when a run is resumed */
    script->name = moon__strdup(spec->name);
    script->dir = moon__strdup(spec->dir);
    moon_status status = script->name && (script->dir || !spec->dir)
                             ? moon__guard_open(&script->guard, spec->memory, spec->budget, error)
                             : moon_error_set(error, MOON_ENOMEM, "out of memory");
    if (status == MOON_OK) status = moon__guard_call(&script->guard, open_state, NULL, error);
    if (status != MOON_OK) {
        moon__script_close(script);
        moon__script_unref(script);
        return status;
    }
    *out = script;
    return MOON_OK;
}

bool moon__script_add_source(moon__script *script, const char *path, const char *text, size_t n) {
    moon__source *grown = realloc(script->sources, (script->n_sources + 1) * sizeof *grown);
    if (!grown) return false;
    script->sources = grown;
    return moon__source_copy(&grown[script->n_sources], path, text, n) && ++script->n_sources;
}

/* ---- lifetime ---- */

moon__script *moon__script_ref(moon__script *script) {
    script->refs++;
    return script;
}

void moon__script_unref(moon__script *script) {
    if (--script->refs > 0) return;
    moon__buf_fini(&script->scratch);
    moon__buf_fini(&script->log);
    moon__sources_free(script->sources, script->n_sources);
    moon__sources_free(script->recorded, script->n_recorded);
    free(script->name);
    free(script->dir);
    free(script);
}

void moon__script_close(moon__script *script) {
    while (script->tasks) moon__task_free(script->tasks);
    moon__guard_close(&script->guard);
}

void moon__script_drop(moon__script *script, int ref) {
    if (!moon__script_open(script) || ref == LUA_NOREF) return;
    luaL_unref(script->guard.L, LUA_REGISTRYINDEX, ref); /* writes to places that exist: cannot fail */
}

void moon__script_where(lua_State *L, char where[112]) {
    lua_Debug ar;
    where[0] = 0;
    for (int level = 1; lua_getstack(L, level, &ar); level++) {
        lua_getinfo(L, "Sl", &ar);
        if (ar.currentline <= 0 || ar.short_src[0] == '[') continue;
        snprintf(where, 112, "%s:%d", ar.short_src, ar.currentline);
        return;
    }
}

/* ---- small things that several modules share ---- */

moon__buf *moon__lua_scratch(lua_State *L, size_t max) {
    moon__buf *buf = &moon__script_of(L)->scratch;
    if (buf->cap > SCRATCH_KEEP) moon__buf_fini(buf);
    moon__buf_reset(buf);
    buf->max = max;
    return buf;
}

void moon__lua_check_fields(lua_State *L, int index, const char *what, const char *const *names) {
    lua_pushnil(L);
    while (lua_next(L, index)) {
        lua_pop(L, 1);
        if (lua_type(L, -1) != LUA_TSTRING) luaL_error(L, "%s: a field without a name (a list item?)", what);
        const char *key = lua_tostring(L, -1), *const *name = names;
        while (*name && strcmp(*name, key) != 0) name++;
        if (*name) continue;
        const char *near = moon__nearest(key, names);
        if (near) luaL_error(L, "%s: unknown field \"%s\" (did you mean \"%s\"?)", what, key, near);
        luaL_error(L, "%s: unknown field \"%s\"", what, key);
    }
}

void moon__lua_expand(lua_State *L, int index, const char *what, bool arguments) {
    index = lua_absindex(L, index);
    moon__prelude(L, "schema");
    lua_pushvalue(L, index);
    lua_pushstring(L, what);
    lua_pushboolean(L, arguments);
    lua_call(L, 3, 2); /* the schema, or nil and why */
    if (lua_isnil(L, -2)) luaL_error(L, "%s", lua_tostring(L, -1));
    lua_pop(L, 1);
}
