/* SPDX-License-Identifier: MIT */
#ifndef MOON_RUN_RUN_H
#define MOON_RUN_RUN_H
/*
 * Runs, runnables and the runtime, as lua/, serve/ and cli/ may see them beside the public headers.
 *
 * A runnable is something that turns an input into a result: an agent (agent.c), a function of a script (lua/).
 * Starting it makes a run. A run started from within another is its child: same id, events in the root's sequence with
 * a path ("2", "2.1"), its use counted against every ancestor's limits, cancelled with it.
 */
#include "call.h"
#include "model.h"
#include <moonlet/extend.h>

typedef struct moon__runnable_ops {
    /* Begins the run; sooner or later exactly one moon__run_finish(run, …), never from within start. */
    moon_status (*start)(moon_runnable *runnable, moon_run *run, moon_error *error);
    void (*cancel)(moon_runnable *runnable, moon_run *run); /* children are cancelled already; finish soon */
    void (*free)(moon_runnable *runnable);                  /* frees the struct too; not the base's name */
} moon__runnable_ops;

typedef struct moon__source {
    char *path, *text;
    size_t length;
    unsigned char hash[MOON_HASH_SIZE];
} moon__source;

/* Copies, and hashes the text; false when memory is out, and nothing is held then. */
bool moon__source_copy(moon__source *source, const char *path, const char *text, size_t n);
void moon__sources_free(moon__source *sources, size_t n); /* the array too */

/* Where a runnable came from, so that it can be made again for a run that is resumed. One of the two. */
typedef struct moon__origin {
    char *script;          /* what moon_script_load() was given */
    char *agent;           /* what moon_agent_new() was given */
    moon__source *sources; /* n_sources: the texts of the script and what it loaded */
    size_t n_sources;
} moon__origin;

struct moon_runnable {
    const moon__runnable_ops *ops;
    moon_runtime *runtime;
    char *name;
    unsigned refs;
    moon__origin origin;
    moon_runnable *inner;      /* of one that wraps another: that one, borrowed */
    const char *output_schema; /* and what its answer has to fit, borrowed */
};
/* Sets up the base part: one reference, the name copied. */
MOON_MUST_USE moon_status moon__runnable_init(moon_runnable *runnable, const moon__runnable_ops *ops,
                                              moon_runtime *runtime, const char *name);

/* What of a conversation the agent that it is handed over to is told. */
typedef enum moon__handoff_input {
    MOON__HAND_ALL,    /* everything but the instructions */
    MOON__HAND_TEXTS,  /* what was said, without tool calls and their results */
    MOON__HAND_LAST,   /* the last message of the user */
    MOON__HAND_NONE,   /* what the model wrote into the handoff */
    MOON__HAND_FILTER, /* what the filter makes of it */
} moon__handoff_input;

typedef struct moon__handoff_spec {
    /* The agent, which has to live as long as the one that lists it. NULL: `agent_of` is asked for it, once, when the
     * first run begins: so two agents can list each other. */
    moon_runnable *agent;
    moon_status (*agent_of)(void *self, moon_runnable **agent, moon_error *error);
    const char *name, *description; /* of the tool; NULL: made from the agent's. Copied */
    moon__handoff_input input;
    /* From a JSON list of messages (transcript.h) to another one. The same messages have to give the same result.
     * place tells it from what else happens in the run. */
    moon_status (*filter)(void *self, moon_run *run, const char *place, const char *messages, size_t length,
                          moon__buf *out, moon_error *error);
    void *self;
} moon__handoff_spec;

/*
 * Hooks: somebody looks at each operation of an agent before it is done and after it. A hook is asked with one JSON
 * object, and decides with another one:
 *
 *     {}                                   it goes on as it is
 *     {"refuse": "why"}                    model hooks: the run ends (refused); tool hooks: the model reads why
 *     {"answer": …}                        before_model: "text" or {text, tool_calls}; before_tool: "text" or {json:
 * value}
 *     {"change": {…}}                      before_model: instructions, messages, tools, settings; after_model: text,
 *                                          tool_calls; before_tool: arguments; after_tool: text
 *
 * What was decided is in the journal (hook.decided), and is taken from there when the run is resumed. A hook that
 * fails, or decides what makes no sense, ends the run.
 */
typedef enum moon__hook { MOON__BEFORE_MODEL, MOON__AFTER_MODEL, MOON__BEFORE_TOOL, MOON__AFTER_TOOL } moon__hook;
typedef struct moon__asked moon__asked; /* a question that waits for its decision */
typedef struct moon__hooks {
    unsigned has;         /* 1 << moon__hook, of those that there are */
    uint32_t timeout_ms;  /* of a decision; 0: 120 s */
    const char *where[4]; /* by moon__hook: "script.lua:12", for errors; NULL: not known */
    /* Leads to exactly one moon__asked_decide() or moon__asked_fail(), at once or later. */
    void (*ask)(void *self, moon__asked *asked);
    void (*cancel)(void *self, moon__asked *asked); /* hurry; one of them still comes */
    /* Sees what has just been written to the journal; NULL: nobody does. false: the run ends, for the reason in *error.
     */
    bool (*on_event)(void *self, moon_run *run, const moon_event *event, moon_error *error);
    void *self;
} moon__hooks;
const char *moon__hook_name(moon__hook hook); /* "before_model" */
moon__hook moon__asked_hook(const moon__asked *asked);
const char *moon__asked_question(const moon__asked *asked, size_t *length);
moon_run *moon__asked_run(const moon__asked *asked);
/* Tells what the hook does in the run (values, children) from what others do: "b3", "ac2". */
const char *moon__asked_place(const moon__asked *asked);
void moon__asked_decide(moon__asked *asked, const char *json, size_t length);
void moon__asked_fail(moon__asked *asked, const char *why);

/* What an agent is made of besides its JSON: things that cannot be written in it. */
typedef struct moon__agent_extra {
    const moon_tool *const
        *tools; /* n_tools of a script's own; the spec's tools list names them too or not: they are added */
    size_t n_tools;
    moon__model *model;                 /* a scripted model given inline; a reference is taken. NULL: the spec's */
    const moon__handoff_spec *handoffs; /* n_handoffs; copied */
    size_t n_handoffs;
    const moon__hooks *hooks;     /* copied; NULL: none */
    void (*release)(void *owner); /* called when the agent is freed; may be NULL */
    void *owner;
    const char *where; /* "script.lua:12", for errors */
} moon__agent_extra;
MOON_MUST_USE moon_status moon__agent_new(moon_runnable **out, moon_runtime *runtime, const moon_json *spec,
                                          const moon__agent_extra *extra, moon_error *error);
bool moon__agent_hands_over(const moon_runnable *runnable); /* does it list handoffs? */

/* A tool as a runnable: the run's input are its arguments; the policy of the agent that it runs for holds. */
typedef struct moon__tool_use {
    const char *name;             /* of a registered tool, or */
    const moon_tool *own;         /* one that is not; it must live until release */
    void (*release)(void *owner); /* called when the runnable is freed; not if it could not be made */
    void *owner;
    const char *policy; /* rules of this use, JSON; where the agent has one too, the stricter holds. NULL: none */
} moon__tool_use;
MOON_MUST_USE moon_status moon__tool_runnable(moon_runnable **out, moon_runtime *runtime, const moon__tool_use *use,
                                              moon_error *error);

/* ---- a run, from the inside of a runnable ---- */

const char *moon__run_input(const moon_run *run, size_t *length);
moon_runtime *moon__run_runtime(const moon_run *run);
void *moon__run_state(const moon_run *run); /* the runnable's own */
void moon__run_set_state(moon_run *run, void *state);
/* Ends the run. text and error may be NULL; both are copied. */
void moon__run_finish(moon_run *run, moon_stop stop, const char *text, size_t length, const char *error);
/* The result's text is one JSON value. Before the end. */
void moon__run_set_json(moon_run *run);
bool moon__run_input_json(const moon_run *run); /* was it started with a value that is no text? */
/* What the run wrote into a state that it shares with others, as JSON (taken over); kept with its end, so that whoever
 * started it gets the same when it is resumed. */
void moon__run_set_writes(moon_run *run, char *json);
const char *moon__run_writes(const moon_run *run); /* NULL: nothing */
/* Files in the way of merging its work tree, of one that ended MOON_STOP_UNMERGED: a JSON array of {path, why}, or
 * NULL. */
const char *moon__run_conflicts(const moon_run *run);
const char *moon__run_path_of(const moon_run *run);

typedef struct moon__child {
    /* Tells it from the other children of its parent, and must not depend on what else goes on at the same time: "1",
     * "2" … in the order of one sequential piece of code; "c3.1" for what the call c3 starts. */
    const char *place;
    moon_runnable *runnable;
    const char *input;
    size_t length;
    bool json;                 /* the input is a value, written as JSON */
    const moon_limits *limits; /* besides those that it has anyhow; NULL: none */
    /* Once, from the loop; child is alive during it. */
    void (*done)(void *ctx, moon_run *child);
    void *ctx;
} moon__child;
MOON_MUST_USE moon_status moon__run_child(moon_run **child, moon_run *parent, const moon__child *spec,
                                          moon_error *error);
/* Whoever listens to a run gets its events and those of its children, deltas too, as they come; a child that is taken
 * from the journal tells nothing. Embedded in its owner, who takes it out again. */
typedef struct moon__listener {
    void (*event)(void *ctx, const moon_event *event);
    void *ctx;
    const char *path; /* of the run, borrowed */
    struct moon__listener *next;
} moon__listener;
void moon__run_listen(moon_run *run, moon__listener *listener); /* run: any of the tree */
void moon__run_unlisten(moon_run *run, moon__listener *listener);
/* Something goes on in this run that leads on by itself (+1), or has ended or waits for a child (-1). When nothing does
 * in the whole tree, only people, time or signals can: see waiting.c. A run that has begun counts as one until it
 * waits. */
void moon__run_busy(moon_run *run, int change);
/* What random numbers at this place begin with, never 0: the same each time the run is driven. */
uint64_t moon__run_seed(const moon_run *run, const char *place);
/* The stop reason of a name; FAILED if there is none. */
moon_stop moon__stop_named(const char *name);
/* Something else than the journal tells (in its record seq) is about to happen: the whole run stops, and nothing is
 * done. */
void moon__run_diverged(moon_run *run, uint64_t seq, const char *recorded, const char *now);
typedef enum moon__log_level { MOON__DEBUG, MOON__INFO, MOON__WARN, MOON__ERROR } moon__log_level;
void moon__run_log(moon_run *run, moon__log_level level, const char *text, size_t length);
/* A version of a prompt is used in this run; told the first time. name is UTF-8 of at most 200 bytes. */
void moon__run_prompt(moon_run *run, const char *name, const char *hash);
/* The same of something whose lines are numbered for themselves: a call that is taken from the journal logs nothing. */
void moon__run_log_as(moon_run *run, const char *key, moon__log_level level, const char *text, size_t length);

/* ---- the runtime's parts ---- */

moon__loop *moon__runtime_loop(moon_runtime *runtime);
moon__models *moon__runtime_models(moon_runtime *runtime);
moon__tools *moon__runtime_tools(moon_runtime *runtime);
const moon_runtime_options *moon__runtime_options(const moon_runtime *runtime);
moon__random *moon__runtime_random(moon_runtime *runtime);
/* lua/ hangs its states here; free is called when the runtime ends, after all runs have. */
void moon__runtime_set_scripts(moon_runtime *runtime, void *scripts, void (*free)(void *scripts));
void *moon__runtime_scripts(const moon_runtime *runtime);
/* How lua/ loads a script for a run that is resumed: as it is now, or (recorded, n of them, the first the script's own)
 * as it was. */
typedef moon_status (*moon__loader)(moon_runnable **out, moon_runtime *runtime, const char *name,
                                    const moon__source *recorded, size_t n, moon_error *error);
void moon__runtime_set_loader(moon_runtime *runtime, moon__loader load);
/* Where runs are kept from now on; place is copied. Once, before the first run. */
MOON_MUST_USE moon_status moon__runtime_set_journal(moon_runtime *runtime, const moon_store_ops *store,
                                                    const char *place, moon_error *error);
/* At most so many requests to models at once; the smaller counts, 0: no matter. */
void moon__runtime_set_requests(moon_runtime *runtime, unsigned requests);
/* What the configuration says: limits that hold for every run; rules of policy (the stricter of two counts). */
void moon__runtime_set_limits(moon_runtime *runtime, const moon_limits *limits);
MOON_MUST_USE moon_status moon__runtime_add_policy(moon_runtime *runtime, const moon_json *policy, moon_error *error);
/* The configuration wants snapshots of every agent's steps, unless the agent says no. */
void moon__runtime_always_snapshots(moon_runtime *runtime);
/* A clock of a test instead of the real one. */
MOON_MUST_USE moon_status moon__runtime_new_clock(moon_runtime **out, const moon_runtime_options *options,
                                                  const moon__clock *clock, moon_error *error);
#endif
