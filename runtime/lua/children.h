/* SPDX-License-Identifier: MIT */
#ifndef MOON_LUA_CHILDREN_H
#define MOON_LUA_CHILDREN_H
/*
 * Runs that a task starts: one (handle:run), or some side by side, which the task gets back in the order of their ends.
 * They are its run's children: cancelled with it, counted against its limits, and found in the journal by their place,
 * which follows from the order in which they were added.
 */
#include "api.h"

/* handle:run(input) of agents, chains and tools: waits; the result, or nil and an error. */
int moon__children_run(lua_State *L);
/* Pushes nil and an error { message, stop }. */
int moon__children_fail(lua_State *L, const char *message, moon_stop stop);
/* Adds what the prelude builds on to the table at the top. */
void moon__children_host(lua_State *L);
#endif
