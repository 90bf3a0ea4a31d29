/* SPDX-License-Identifier: MIT */
#ifndef MOON_LUA_GUARD_H
#define MOON_LUA_GUARD_H
/*
 * A Lua state that cannot hurt its host by accident: capped memory, an instruction budget per slice, and one guarded
 * way in. guard.c alone calls lua_pcall and lua_resume; nothing else may touch a state from outside.
 *
 * A slice is what runs from the host's entry until Lua returns or waits. Its budget is counted by a hook every
 * MOON__STRIDE instructions, on every coroutine, and memory that is asked for is charged too, so that C functions that
 * build long strings pay. Once it is spent the hook fires at every instruction and raises each time: no pcall loop
 * outlives it.
 *
 * What it does not see: C functions that loop without memory (a pattern that backtracks). The hard limit is a process.
 */
#include "buf.h"

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

enum {
    MOON__STRIDE = 1000,            /* instructions between two looks at the budget */
    MOON__SOURCE_MAX = 1 << 20,     /* bytes of a script, module or configuration file */
    MOON__GUARD_SLACK = 256 * 1024, /* memory beyond the cap for the error message itself */
    MOON__STATE_MEMORY = 64 << 20,  /* of a script's state */
    MOON__SLICE_BUDGET = 200000000, /* instructions */
};

typedef struct moon__guard {
    lua_State *L;      /* the main thread; NULL once closed */
    lua_State *active; /* the thread that runs now; NULL: none */
    size_t used, max, ceiling;
    int64_t budget, budget_max;
    unsigned depth;     /* of entries: the slice begins with the first */
    bool spent, placed; /* placed: spent_at was looked for */
    char spent_at[112]; /* where the script was then, "script.lua:12"; later errors come from wherever it is unwound */
} moon__guard;

/* How a piece of Lua failed. */
typedef struct moon__failure {
    moon_error error; /* MOON_ESCRIPT, or MOON_ELIMIT for memory and instructions; where: "script.lua:12" */
    char *trace;      /* "stack traceback:\n…"; NULL if there is none */
    char *stop;       /* the field `stop` of an error that is a table, as agent:run gives it; NULL */
} moon__failure;
void moon__failure_fini(moon__failure *failure);

MOON_MUST_USE moon_status moon__guard_open(moon__guard *guard, size_t memory, int64_t budget, moon_error *error);
void moon__guard_close(moon__guard *guard);
moon__guard *moon__guard_of(lua_State *L);

/* Calls fn with ctx as light userdata (its only argument), protected; what it returns is dropped. */
MOON_MUST_USE moon_status moon__guard_call(moon__guard *guard, lua_CFunction fn, void *ctx, moon_error *error);
/* Compiles text (never bytecode) and pushes the function. Raises. */
void moon__guard_load(lua_State *L, const char *text, size_t n, const char *name);
/* From within a C function: calls what is on the stack, protected; a Lua status. */
int moon__guard_protected(lua_State *L, int args, int results);

/* Runs a coroutine from the host, in a slice. LUA_OK, LUA_YIELD or an error, as lua_resume. */
int moon__guard_resume(moon__guard *guard, lua_State *co, int args, int *results);
/* Runs one from within another. */
int moon__guard_nested(lua_State *L, lua_State *co, int args, int *results);
/* Ends a coroutine that is suspended or failed; its pending __close run, in a slice. */
void moon__guard_reset(moon__guard *guard, lua_State *co);
/* Describes the error that moon__guard_resume returned. */
void moon__guard_describe(moon__guard *guard, lua_State *co, int status, moon__failure *out);

/* Takes n instructions off the budget; raises when it is spent. */
void moon__guard_charge(lua_State *L, int64_t n);
/* Leaves at most n instructions of the slice's budget. */
void moon__guard_leave(lua_State *L, int64_t n);
int moon__guard_stop(lua_State *L); /* raises: the budget is spent */
/* Sets *error from a message of Lua's: "script.lua:12: text" is split into where and text. */
void moon__guard_message(moon_error *error, moon_status status, const char *message);
#endif
