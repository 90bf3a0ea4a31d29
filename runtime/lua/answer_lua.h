/* SPDX-License-Identifier: MIT */
#ifndef MOON_LUA_ANSWER_LUA_H
#define MOON_LUA_ANSWER_LUA_H
/* What a model's script answered, in C. The texts stand one after the other in one buffer that is used again for the
 * next. */
#include "api.h"

enum { MOON__ANSWER_CALLS = 128 };

typedef struct moon__lua_answer {
    moon__answer answer; /* points into the rest */
    bool refused;        /* nil and why not: the answer's text says it */
    moon__buf bytes;
    moon_tool_use *calls;
    size_t room;
    uint64_t *ids; /* hashes of those of the conversation so far: each is given once */
    size_t n_ids, ids_room;
    unsigned made; /* counts the ids made here */
} moon__lua_answer;

void moon__lua_answer_init(moon__lua_answer *answer);
void moon__lua_answer_fini(moon__lua_answer *answer);
/* Reads the n results that begin at index; raises what is wrong with them. */
void moon__lua_answer_take(lua_State *L, int index, int n, moon__lua_answer *answer);
#endif
