/* SPDX-License-Identifier: MIT */
#ifndef MOON_LUA_EMBEDDED_H
#define MOON_LUA_EMBEDDED_H
/* Lua sources built into the binary; the build writes the tables. Each ends with an entry whose name is NULL. */
#include <stddef.h>

typedef struct moon__embedded {
    const char *name; /* "brief" */
    const char *text;
    size_t length;
} moon__embedded;
extern const moon__embedded moon__embedded_prelude[];
extern const moon__embedded moon__embedded_agents[];
#endif
