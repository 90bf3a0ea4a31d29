/* SPDX-License-Identifier: MIT */
#ifndef MOON_LUA_STATE_H
#define MOON_LUA_STATE_H
/*
 * One script: a Lua state with the sandboxed libraries and the module "moonlet". The state lives until its runtime
 * ends; the struct until the last of those who refer to it (agents, tools and models that were made in it) is gone. So
 * whoever holds a reference checks moon__script_open() before going into Lua.
 */
#include "guard.h"
#include "ids.h"
#include "run.h"

typedef struct moon__task moon__task;

typedef struct moon__script {
    moon__guard guard; /* first: moon__script_of() finds the script by it */
    moon_runtime *runtime;
    unsigned refs;
    char *name; /* in errors: "agents/x.lua" */
    char *dir;  /* where require looks; NULL: built in */
    moon__random random;
    moon__task *task;  /* which runs now; NULL: none */
    moon__task *tasks; /* all that have begun and not ended */
    uintptr_t last_task;
    unsigned blocked;       /* C calls between the task and what runs that no wait can cross */
    unsigned toplevel;      /* a script's or module's body runs: globals are for all */
    moon__buf scratch;      /* for one conversion at a time; owned here so that an error does not leak it */
    moon__source *recorded; /* n_recorded: texts to load instead of files, the first its own; NULL: files */
    size_t n_recorded;
    moon__source *sources; /* n_sources: the texts that were loaded into it */
    size_t n_sources;
    moon__buf log; /* lines logged outside of a run: level, text, NUL */
} moon__script;

typedef struct moon__script_spec {
    moon_runtime *runtime;
    const char *name, *dir; /* copied */
    size_t memory;
    int64_t budget;
} moon__script_spec;
MOON_MUST_USE moon_status moon__script_new(moon__script **out, const moon__script_spec *spec, moon_error *error);
moon__script *moon__script_ref(moon__script *script);
void moon__script_unref(moon__script *script);
void moon__script_close(moon__script *script); /* ends its tasks and the state */
static inline bool moon__script_open(const moon__script *script) {
    return script->guard.L != NULL;
}
static inline moon__script *moon__script_of(lua_State *L) {
    return (moon__script *)moon__guard_of(L);
}
/* Remembers a text that was loaded; false when memory is out. */
bool moon__script_add_source(moon__script *script, const char *path, const char *text, size_t n);
/* Lets go of a registry reference (LUA_NOREF is fine), from anywhere. */
void moon__script_drop(moon__script *script, int ref);
/* The script's own file and line that called the running C function: "x.lua:12"; "" if there is none. */
void moon__script_where(lua_State *L, char where[112]);

/* ---- values (convert.c) ---- */

enum {
    MOON__JSON_MAX = 16 << 20, /* bytes of one value */
    MOON__NULLS_ARE_NIL = 1,   /* members that are null are left out */
};
/* Appends the JSON of a value; false with *why if it has none. No metamethod is called. May raise, only for memory. */
bool moon__lua_write(lua_State *L, int index, moon__buf *out, char why[256]);
void moon__lua_push(lua_State *L, const moon_json *value, unsigned flags);
/* Parses and pushes; false with *error, and nothing pushed. */
bool moon__lua_parse(lua_State *L, const char *text, size_t n, unsigned flags, moon_error *error);
/* Appends a text of Lua's for the rest of the library: UTF-8 without zero bytes; what is not becomes U+FFFD. */
void moon__lua_add_text(moon__buf *out, const char *text, size_t n);
/* Marks the table at the top as an array, so that an empty one is written as []. */
void moon__lua_mark_array(lua_State *L);
/* The script's scratch buffer, emptied. */
moon__buf *moon__lua_scratch(lua_State *L, size_t max);

/* ---- the libraries, opened when a state is made; each adds to the globals, or to the module at the top ---- */

void moon__lib_base(lua_State *L);
void moon__lib_coroutine(lua_State *L);
void moon__lib_require(lua_State *L);
void moon__api_json(lua_State *L);
void moon__api_parse(lua_State *L); /* this and api_prompt add to what the prelude gets of the host, as api_log does */
void moon__api_prompt(lua_State *L);
void moon__api_log(lua_State *L);
void moon__api_tool(lua_State *L);
void moon__api_agent(lua_State *L);
void moon__api_handoff(lua_State *L);
void moon__api_hooks(lua_State *L);
void moon__api_model(lua_State *L);
void moon__api_ctx(lua_State *L);
void moon__api_time(lua_State *L);
void moon__api_code(lua_State *L);
void moon__chain_host(lua_State *L);
void moon__ctx_host(lua_State *L);
void moon__way_host(lua_State *L);

/* Opens prelude/NAME.lua if it was not yet; pushes what it returned. */
void moon__prelude(lua_State *L, const char *name);
/* As tostring() of a script: without addresses. Pushes. */
const char *moon__lua_text(lua_State *L, int index);
/* Raises unless every string key of the table at index is one of names (NULL-terminated); names the nearest. */
void moon__lua_check_fields(lua_State *L, int index, const char *what, const char *const *names);
/* Pushes the expansion of the short form at index (schema.lua), or raises with the caller's position. */
void moon__lua_expand(lua_State *L, int index, const char *what, bool arguments);
#endif
