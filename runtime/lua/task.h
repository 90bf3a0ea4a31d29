/* SPDX-License-Identifier: MIT */
#ifndef MOON_LUA_TASK_H
#define MOON_LUA_TASK_H
/*
 * A task is a coroutine that the host runs: a script's body, a function runnable's run, a tool's call, a model's
 * answer. It is turned only from a loop callback, ends once, and is then freed:
 *
 *     new → turn → (wait → turn)* → take (results into C) → end → freed
 *
 * A wait is what a task is parked on. The C function that a script called hands it over with moon__task_await(); it is
 * started after Lua has been left, so that nothing of the host runs inside Lua. When it is done the task turns again
 * and the wait pushes what the script gets. A cancelled task does not turn: it lets its wait come to its end, then
 * closes the coroutine.
 */
#include "outside.h"
#include "state.h"

enum { MOON__TASK_DEPTH = 16 }; /* a script's own coroutines that one wait may pass through */

typedef struct moon__wait {
    void (*start)(struct moon__wait *wait);             /* does not call back inline, or calls moon__wait_done */
    void (*cancel)(struct moon__wait *wait);            /* hurry; done still comes */
    int (*push)(lua_State *L, struct moon__wait *wait); /* what the script gets; may raise */
    void (*free)(struct moon__wait *wait);
    moon__task *task; /* NULL: nobody waits any more */
    bool done;
} moon__wait;
/* The wait is over: its task turns, or, if it has none, it is freed. */
void moon__wait_done(moon__wait *wait);

typedef enum moon__taken_kind { MOON__TEXT, MOON__JSON, MOON__REFUSED, MOON__NOTHING } moon__taken_kind;

/* What a task's function returned, taken into C. */
typedef struct moon__taken {
    moon__taken_kind kind;
    moon__buf text; /* the text, the JSON, or why not (nil, err); "" for nothing */
    char *stop;     /* the stop reason in an err that agent:run gave; NULL */
} moon__taken;

typedef struct moon__task_ops {
    const char *no_wait; /* why tasks of this kind cannot wait; NULL: they can */
    /* Takes the results, L's top `n` values, into C; may raise. */
    void (*take)(lua_State *L, moon__task *task, int n);
    /* Once. failure: NULL if it went well (results are taken) or was cancelled. Lua has been left. */
    void (*end)(moon__task *task, const moon__failure *failure, bool cancelled);
} moon__task_ops;

struct moon__task {
    const moon__task_ops *ops;
    void *owner;
    moon__script *script;
    moon_run *run;   /* whose children it starts and to whom it logs; NULL: none */
    moon_call *call; /* NULL: none */
    char place[40];  /* what tells its children and values from those of the run's other tasks: "c3"; "" */
    lua_State *co;
    int anchor, globals, trail; /* registry references; trail: the labels of the steps it is in, see chain.lua */
    uintptr_t id;
    moon__wait *wait;
    void *ctx; /* the script's handle on it, see api_ctx.c */
    moon__taken taken;
    bool started, running, cancelled;
    moon__defer defer;
    lua_State *through[MOON__TASK_DEPTH]; /* coroutines that the wait passes, innermost first */
    unsigned n_through;
    moon__random random;
    unsigned children, values, logs; /* runs it has started, values it has got, lines it has logged: their places */
    moon__task *next, *prev;
};

typedef struct moon__task_spec {
    const moon__task_ops *ops;
    void *owner;
    moon__script *script;
    moon_run *run;
    moon_call *call;
    const char *place; /* NULL: the call's, or none */
    /* Pushes the function and its arguments; may raise. */
    void (*prepare)(lua_State *L, moon__task *task, void *arg);
    void *arg;
} moon__task_spec;
MOON_MUST_USE moon_status moon__task_new(moon__task **out, const moon__task_spec *spec, moon_error *error);
void moon__task_start(moon__task *task); /* turns at the end of this turn of the loop */
void moon__task_run(moon__task *task);   /* turns now; for tasks that cannot wait. It may be gone then */
void moon__task_cancel(moon__task *task);
/* Drops it without end(); its wait goes on without it. */
void moon__task_free(moon__task *task);
/* What coroutines carry in their extra space: 0, or the task whose wait passes through them (or passed: it was
 * dropped). */
uintptr_t *moon__task_mark(lua_State *co);

/* The key of the task's next value: they come in the order of its code. kind: 't', or 'b' for a decision over branches
 * (replay.h). */
void moon__task_key(moon__task *task, char kind, char key[MOON__PAUSE_KEY]);
/* Raises if the running code cannot wait; what names the caller. */
void moon__task_check_wait(lua_State *L, const char *what);
/* return moon__task_await(L, wait); the wait is the task's from here on. */
int moon__task_await(lua_State *L, moon__wait *wait);

/* A ready `take`: a string is text, tables and other plain values JSON, nil and a message a refusal. */
void moon__task_take(lua_State *L, moon__task *task, int n);
/* Pushes the ctx handle. */
void moon__ctx_push(lua_State *L, moon__task *task);
/* Logs a line of the task's; it has a run. */
void moon__task_log(moon__task *task, moon__log_level level, const char *text, size_t length);
/* Logs what the script's top level said, in the first run that gets here. */
void moon__log_flush(moon__script *script, moon_run *run);
/* "script.lua:12: text\nstack traceback…"; NULL when out of memory. */
char *moon__failure_text(const moon__failure *failure, bool trace);
#endif
