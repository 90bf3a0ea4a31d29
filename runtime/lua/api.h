/* SPDX-License-Identifier: MIT */
#ifndef MOON_LUA_API_H
#define MOON_LUA_API_H
/* What the modules of the Lua surface share: the handles, and what is behind them. */
#include "task.h"

/* A tool of a script: the record that agents hold. It lives as long as anybody refers to it, the state may be closed
 * before. */
typedef struct moon__code moon__code;
typedef struct moon__lua_tool {
    moon_tool record;
    moon__script *script;
    unsigned refs;
    int fn;           /* registry reference */
    moon__code *code; /* instead of fn: what the model's scripts may call; NULL: none */
    bool borrowed;    /* fn is somebody else's */
    char *name, *description, *params;
} moon__lua_tool;
void moon__code_free(moon__code *code);
/* moon.code: pushes the tool that the table at index 1 describes. */
int moon__code_push(lua_State *L);
/* Pushes the handle of a new tool that knows its script alone; definition: what it is made of, at that index. */
moon__lua_tool *moon__lua_tool_push(lua_State *L, int definition);
/* Makes it the tool that `like` tells of (its texts are copied); raises if that is not sound. */
void moon__lua_tool_set(lua_State *L, moon__lua_tool *tool, const moon_tool *like, const char *what);
/* A task that was a tool's call has ended: tells the call. */
void moon__lua_call_end(moon__task *task, const moon__failure *failure, bool cancelled);
moon__lua_tool *moon__lua_tool_ref(moon__lua_tool *tool);
void moon__lua_tool_unref(moon__lua_tool *tool);
void moon__lua_tool_release(void *tool); /* the same, as a callback */
/* A function of the script, fn, as a tool with the name, parameters and effects of another; NULL: out of memory. fn
 * stays the caller's, and must outlive it. */
moon__lua_tool *moon__lua_tool_like(moon__script *script, int fn, const moon_tool *like);
/* The value at index as one of these, or NULL. Borrowed. */
moon__lua_tool *moon__lua_tool_at(lua_State *L, int index);
moon_runnable *moon__lua_agent_at(lua_State *L, int index);
moon_runnable *moon__lua_chain_at(lua_State *L, int index);
/* A registered tool's name: the string at index, or that of a handle from moon.tool(name). NULL: neither. */
const char *moon__lua_tool_name(lua_State *L, int index);
/* Pushes a handle of it; takes a reference. */
void moon__lua_chain_push(lua_State *L, moon_runnable *runnable);
/* A chain that was given no name is called after the script at path. */
void moon__lua_chain_named(lua_State *L, int index, const char *path);
/* "agent", "chain" or "tool" of a handle that can be run; NULL: it is none. */
const char *moon__lua_kind(lua_State *L, int index);
/* The value at index as a runnable, the caller's. Raises if it is none. */
moon_runnable *moon__lua_runnable(lua_State *L, int index);
/* A runnable of the script's own, beside its registry reference, which is taken over also on failure. name: NULL: the
 * script's. */
/* "agents/tidy.lua" → "tidy" */
void moon__script_base(const char *path, char name[64]);
MOON_MUST_USE moon_status moon__function_new(moon_runnable **out, moon__script *script, const char *name, int fn,
                                             moon_error *error);
/* What the script at path returns, for the script whose body runs: the path counts from its folder. */
MOON_MUST_USE moon_status moon__script_load_beside(moon_runnable **out, moon__script *script, const char *path,
                                                   moon_error *error);
/* registered(name): pushes a handle of a registered tool, or raises. */
int moon__lua_tool_named(lua_State *L);
/* Pushes the method of all handles with the name at index 2, or nil. */
int moon__lua_method(lua_State *L);
moon__model *moon__lua_model_at(lua_State *L, int index);

/* The handoffs that an agent lists, as long as anybody refers to them (api_handoff.c). */
typedef struct moon__lua_handoffs moon__lua_handoffs;
/* Takes the field out of an agent's table at index; what it gives stands on the stack. NULL: there is none. Raises. */
moon__lua_handoffs *moon__lua_handoffs_take(lua_State *L, int index);
moon__lua_handoffs *moon__lua_handoffs_ref(moon__lua_handoffs *handoffs);
void moon__lua_handoffs_unref(moon__lua_handoffs *handoffs); /* NULL is fine */
const moon__handoff_spec *moon__lua_handoffs_specs(const moon__lua_handoffs *handoffs, size_t *n);

/* The hooks of an agent, likewise (api_hooks.c). */
typedef struct moon__lua_hooks moon__lua_hooks;
moon__lua_hooks *moon__lua_hooks_take(lua_State *L, int index);
moon__lua_hooks *moon__lua_hooks_ref(moon__lua_hooks *hooks);
void moon__lua_hooks_unref(moon__lua_hooks *hooks); /* NULL is fine */
const moon__hooks *moon__lua_hooks_record(const moon__lua_hooks *hooks);

/* Makes the metatable of a handle: methods of meta, its own fields hidden. */
void moon__lua_handle(lua_State *L, const char *name, const luaL_Reg *meta);

/* Names a model after the file that gave it. */
MOON_MUST_USE moon_status moon__lua_model_name(moon__model *model, const char *name, const char *source);

/* What it means that a path cannot be opened: nothing is there, it is not allowed, or the path is no file's; MOON_EIO
 * is left for what is not the path's fault. */
moon_status moon__source_status(int cause);
/* Reads a regular file of at most MOON__SOURCE_MAX bytes beneath dir_fd (AT_FDCWD: anywhere); a BOM and a #! line are
 * skipped. */
MOON_MUST_USE moon_status moon__source_read(moon__buf *out, int dir_fd, const char *path, moon_error *error);
/* Pushes the text of the file `path` beneath the script's folder, or raises with `what` ("module \"x\"") first.
 * recorded: of a run that is resumed with its recorded script, the text that was recorded. */
void moon__lua_push_file(lua_State *L, const char *what, const char *path, bool recorded);
/* The text without BOM and #! line (its newline stays, for the line numbers). */
void moon__source_skip(const char **text, size_t *n);
#endif
