/* SPDX-License-Identifier: MIT */
#ifndef MOON_TOOL_TOOLS_H
#define MOON_TOOL_TOOLS_H
/*
 * The registry of tools. Each entry is the tool's record with its compiled schema. Checking the arguments of a call is
 * apart from running it, because policy stands between.
 */
#include "schema.h"

typedef struct moon__tool_entry {
    const moon_tool *tool;
    moon__schema *schema;
} moon__tool_entry;

typedef struct moon__tools moon__tools;
MOON_MUST_USE moon_status moon__tools_new(moon__tools **out, moon_error *error);
void moon__tools_free(moon__tools *tools);
MOON_MUST_USE moon_status moon__tools_add(moon__tools *tools, const moon_tool *tool, moon_error *error);
const moon__tool_entry *moon__tools_find(const moon__tools *tools, const char *name);
const moon__tool_entry *moon__tools_at(const moon__tools *tools, size_t index); /* by name; NULL past the last */
/* The nearest registered name or group to a misspelt one; NULL if none is near. */
const char *moon__tools_nearest(const moon__tools *tools, const char *name);

/* One entry outside a registry (a script's own tool). */
MOON_MUST_USE moon_status moon__tool_entry_init(moon__tool_entry *entry, const moon_tool *tool, moon_error *error);
void moon__tool_entry_fini(moon__tool_entry *entry);

/* Parses and checks arguments; "" is {}. MOON_EPARSE, MOON_ESCHEMA with an explanation for the model in *why. At most 1
 * MiB. */
MOON_MUST_USE moon_status moon__tool_check(const moon__tool_entry *entry, const char *args, size_t n, moon_json **out,
                                           moon__buf *why);

/* A shared object's tools. The handle is kept open until the registry is freed. */
MOON_MUST_USE moon_status moon__tools_add_plugin(moon__tools *tools, const char *path, moon_error *error);
#endif
