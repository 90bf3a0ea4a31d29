/* SPDX-License-Identifier: MIT */
#ifndef MOON_LUA_TEST_H
#define MOON_LUA_TEST_H
/*
 * The module "moonlet.test", which a test file alone may require. Its Lua is prelude/test*.lua; here stands what that
 * cannot do itself: runs under test, what stands in for what they reach, and the files of the workspace and of
 * snapshots.
 *
 * A run under test is a root run of the same runtime as the test, which is a run too. All of them, and what was given
 * for them, belong to the host, which lives as long as the test file's state, and so longer than any run.
 */
#include "api.h"
#include "testing.h"

typedef struct moon__under moon__under;

typedef struct moon__test_host {
    moon__script *script; /* the test file's; it holds us */
    moon__testing *testing;
    moon__under *runs;     /* the newest first */
    moon__under *starting; /* whose root run is being made */
    lua_Integer last_id;
    moon__buf refused; /* texts of what was refused, each with its NUL */
} moon__test_host;
moon__test_host *moon__test_host_of(lua_State *L);

/* A function, or a tool's record, that stands in for a tool; made when the tool is first called. */
typedef struct moon__fake {
    struct moon__fake *next;
    char *name;
    int fn;
    const moon__tool_entry *real; /* what it stands in for; NULL: for nothing yet */
    moon__lua_tool *tool;
    moon__tool_entry entry;
} moon__fake;

typedef struct moon__fake_model {
    struct moon__fake_model *next;
    char *agent; /* "": of every agent that is not named */
    moon__model *model;
    char *spec; /* if there is no model */
} moon__fake_model;

struct moon__under {
    moon__test_host *host;
    moon__under *next;
    lua_Integer id;
    moon_runnable *runnable;
    char *script, *tool; /* what to load, or the tool to call */
    char *input;
    size_t input_length;
    moon_limits limits;
    bool yes, asks; /* asks: the test answers approval.asked */
    moon_run *run;
    moon_error error; /* why it could not be started */
    bool started, finished;
    moon__buf events, news; /* JSON objects, each with a comma after it; news: what the test has to look at */
    struct moon__test_wait *waiting;
    moon__defer wake;
    moon__fake *fakes;
    moon__fake_model *models;
    moon_json *policy, *env;
};
/* NULL: no run under test belongs to this root. */
moon__under *moon__under_of(const moon__test_host *host, const moon_run *root);
void moon__under_free(moon__under *under); /* its run has ended */

/* Pushes the module for require; raises where it is not to be had. */
void moon__test_open(lua_State *L);
/* A reference to the function that lists and runs the tests of a file; LUA_NOREF if the script is none. */
int moon__test_main(lua_State *L);

/* ---- functions for the prelude, added to the table at the top ---- */

void moon__test_runs(lua_State *L);  /* test_under.c */
void moon__test_files(lua_State *L); /* test_files.c */
extern const moon__standins moon__test_standins;
#endif
