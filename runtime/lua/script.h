/* SPDX-License-Identifier: MIT */
#ifndef MOON_LUA_SCRIPT_H
#define MOON_LUA_SCRIPT_H
/*
 * What the rest of the library sees of Lua: scripts attached to a runtime, and configuration files. (moon_script_load()
 * itself stands in <moonlet/moonlet.h>.)
 */
#include "run.h"

/* Makes the runtime able to load scripts, and models from Lua files; sets the runtime's scripts slot and its models'
 * loader. Once per runtime; again is fine. */
MOON_MUST_USE moon_status moon__scripts_attach(moon_runtime *runtime, moon_error *error);
/* What each script that is loaded from now on may use: bytes of its state, instructions between two waits; 0: 64 MiB,
 * 200,000,000. Once attached. */
void moon__scripts_limit(moon_runtime *runtime, size_t memory, int64_t instructions);

/*
 * A configuration file is Lua that returns a table, run in a bare state: no libraries, 1 MiB of memory, 1,000,000
 * instructions. Fields: model (string), limits (table), policy (tool = "allow", "ask" or "deny"), snapshots (boolean),
 * requests (number),
 * providers (table, see moon__models_configure), plugins (list of paths). A repository's file is not trusted: it may
 * only choose a model, lower limits, tighten the policy, ask for snapshots, and lower requests.
 */
typedef struct moon__config {
    moon_json *json;            /* the whole, owned; the rest borrows from it */
    const char *model;          /* NULL: not given, as all below */
    moon_limits limits;         /* -1: not given */
    bool snapshots;             /* of every agent's steps */
    int64_t requests;           /* to models, at once; 0: not given */
    const moon_json *policy;    /* an object of strings, checked */
    const moon_json *providers; /* an object; its members are moon__models_configure's to check */
    const moon_json *plugins;   /* an array of strings, checked */
} moon__config;

/* MOON_ENOTFOUND: there is no such file. Other errors say where in the file; *out is then empty. */
MOON_MUST_USE moon_status moon__config_load(moon__config *out, const char *path, bool trusted, moon_error *error);
/* The same for a text; name stands in errors. */
MOON_MUST_USE moon_status moon__config_text(moon__config *out, const char *text, size_t n, const char *name,
                                            bool trusted, moon_error *error);
void moon__config_free(moon__config *config); /* frees what it holds; it is empty then */
#endif
