/* SPDX-License-Identifier: MIT */
#ifndef MOON_LUA_API_H
#define MOON_LUA_API_H
/* What the modules of the Lua surface share: the handles, and what is behind them. */
#include "task.h"

/* A tool of a script: the record that agents hold. It lives as long as anybody refers to it, the state may be closed
 * before. */
typedef struct moon__lua_tool {
    moon_tool record;
    moon__script *script;
    unsigned refs;
    int fn; /* registry reference */
    char *name, *description, *params;
} moon__lua_tool;
moon__lua_tool *moon__lua_tool_ref(moon__lua_tool *tool);
void moon__lua_tool_unref(moon__lua_tool *tool);
/* The value at index as one of these, or NULL. Borrowed. */
moon__lua_tool *moon__lua_tool_at(lua_State *L, int index);
moon_runnable *moon__lua_agent_at(lua_State *L, int index);
moon__model *moon__lua_model_at(lua_State *L, int index);

/* Makes the metatable of a handle: methods of meta, its own fields hidden. */
void moon__lua_handle(lua_State *L, const char *name, const luaL_Reg *meta);

/* A function that a script returned, as a runnable: fn is a registry reference, taken over also on failure. */
MOON_MUST_USE moon_status moon__function_new(moon_runnable **out, moon__script *script, int fn, moon_error *error);
/* Names a model after the file that gave it. */
MOON_MUST_USE moon_status moon__lua_model_name(moon__model *model, const char *name, const char *source);

/* What it means that a path cannot be opened: nothing is there, it is not allowed, or the path is no file's; MOON_EIO
 * is left for what is not the path's fault. */
moon_status moon__source_status(int cause);
/* Reads a regular file of at most MOON__SOURCE_MAX bytes beneath dir_fd (AT_FDCWD: anywhere); a BOM and a #! line are
 * skipped. */
MOON_MUST_USE moon_status moon__source_read(moon__buf *out, int dir_fd, const char *path, moon_error *error);
/* The text without BOM and #! line (its newline stays, for the line numbers). */
void moon__source_skip(const char **text, size_t *n);
#endif
