/* SPDX-License-Identifier: MIT */
#ifndef MOON_RUN_TESTING_H
#define MOON_RUN_TESTING_H
/*
 * What a runtime is beyond others when an agent is under test (`moonlet test`): time jumps instead of passing, and
 * something stands in for what agents reach (models, tools, leave, the environment). A runtime without a moon__testing
 * does not know of any of it.
 *
 * The record is the host's, outlives the runtime, and is used by one runtime. The host fills in `file`; whoever runs
 * the test file (lua/) sets the stand-ins.
 */
#include "run.h"

/* Each may be NULL: as ever. */
typedef struct moon__standins {
    void *ctx;
    /* The model of an agent in this run (NULL: of a root that is being started), as a reference. own: the agent's own
     * scripted model, or NULL; spec: what it asks for, or NULL. Not OK: the run fails with this error. */
    moon_status (*model)(void *ctx, const moon_run *root, const char *agent, moon__model *own, const char *spec,
                         moon__model **out, moon_error *error);
    /* What is called instead of a tool, or the entry itself. It lives as long as the runtime. */
    const moon__tool_entry *(*tool)(void *ctx, const moon_run *root, const moon__tool_entry *entry);
    moon_verdict (*policy)(void *ctx, const moon_run *root, const moon_tool *tool, moon_verdict verdict);
    /* What the run is to see of a variable; NULL: it is not set. */
    const char *(*env)(void *ctx, const moon_run *root, const char *name);
} moon__standins;

typedef struct moon__testing {
    const char *file; /* the test file: it alone may require "moonlet.test" */
    bool update;      /* snapshots are written, not compared */
    moon__standins standins;
    moon__clock clock; /* set by moon__testing_init */
    int64_t now_us;
} moon__testing;

/* The clock stands at 2025-06-01T12:00:00Z. */
void moon__testing_init(moon__testing *testing, const char *file, bool update);
/* A runtime as moon_runtime_new() makes it, without anybody's configuration, and with test.repository (embed.c). */
MOON_MUST_USE moon_status moon__runtime_new_testing(moon_runtime **out, const moon_runtime_options *options,
                                                    moon__testing *testing, moon_error *error);
void moon__runtime_set_testing(moon_runtime *runtime, moon__testing *testing);
moon__testing *moon__runtime_testing(const moon_runtime *runtime); /* NULL: it is none of a test */

/* Does something go on outside (a program, a worker) whose end takes real time? */
bool moon__runtime_outside(const moon_runtime *runtime);
/* One turn that does not wait: what is there is done; if nothing is and nothing goes on outside, time jumps to the next
 * timer. False: there is none, so that nothing will ever happen. */
bool moon__runtime_jump(moon_runtime *runtime);

/* ---- for run/ and lua/: what holds in a run, stand-ins or not ---- */

MOON_MUST_USE moon_status moon__standin_model(const moon_run *run, const char *agent, moon__model *own,
                                              const char *spec, moon__model **out, moon_error *error);
const moon__tool_entry *moon__standin_tool(const moon_run *run, const moon__tool_entry *entry);
moon_verdict moon__standin_policy(const moon_run *run, const moon_tool *tool, moon_verdict verdict);
const char *moon__standin_env(const moon_run *run, const char *name);

/* The rule of a policy ({ tool or group = "allow" … }) for a tool; false: there is none. */
bool moon__policy_rule(const moon_json *policy, const char *tool, moon_verdict *verdict);
/* Gives a signal to what waits for it in the tree of a root; false: nothing does. */
bool moon__run_signal(moon_run *root, const char *name, const moon_json *value);
#endif
