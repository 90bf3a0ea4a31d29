/* SPDX-License-Identifier: MIT */
#ifndef MOON_RUN_RUNTIME_H
#define MOON_RUN_RUNTIME_H
/* What the files of run/ share: the insides of a runtime and of a run. */
#include "answer_json.h"
#include "cassette.h"
#include "journal.h"
#include "json.h"
#include "keeper.h"
#include "outside.h"
#include "remains.h"
#include "replay.h"
#include "run.h"
#include "snapshot.h"
#include "worktree.h"

/* ---- how many requests at once (gate.c) ---- */

typedef struct moon__ticket {
    moon_run *run;
    void (*ready)(void *ctx); /* it may begin now; from the loop */
    void *ctx;
    enum { MOON__TICKET_NONE, MOON__TICKET_WAITS, MOON__TICKET_IN } state;
    struct moon__ticket *next;
} moon__ticket;
/* Those of one root run that wait. */
typedef struct moon__turns {
    moon__ticket *first, **end;
    struct moon__turns *next;
} moon__turns;
typedef struct moon__gate {
    unsigned room, under_way; /* room: 0: for all */
    moon__turns *first, **end;
    moon__loop *loop;
    moon__defer open;
} moon__gate;
void moon__gate_init(moon__gate *gate, moon__loop *loop, unsigned room);
void moon__gate_fini(moon__gate *gate);
/* False: ready comes later, unless it leaves before. */
bool moon__gate_enter(moon__gate *gate, moon__ticket *ticket);
/* It has ended, or is not to begin any more. Harmless when it is not there. */
void moon__gate_leave(moon__gate *gate, moon__ticket *ticket);

struct moon_runtime {
    moon_runtime_options options; /* its text is owned here */
    moon__clock clock;
    moon__random random;
    moon__loop *loop;
    moon__pool *pool;
    moon__models *models;
    moon__cassette *cassette; /* NULL: models answer by themselves */
    moon__tools *tools;
    moon__space *space;
    moon_limits limits; /* of the configuration */
    moon_json *policy;  /* of the configuration: tool or group → "allow" | "ask" | "deny"; NULL: none */
    moon_run *runs;     /* all that are not finished, roots and children */
    unsigned next_lane;
    moon__gate gate; /* of requests to models */
    void *scripts;
    void (*free_scripts)(void *scripts);
    moon__loader load;
    moon__keeper *keeper;               /* NULL: runs are not kept */
    const moon_snapshot_ops *snapshots; /* NULL: none can be taken */
    bool snapshots_always;              /* unless an agent says no; from the configuration */
    moon__merges merges;                /* into the bases of work trees */
    moon__model *info_model;            /* what moon_runtime_model told of last */
    struct moon__testing *testing;      /* NULL: agents are not under test in it */
    bool stepping;
};

/* Of a tree that waits for people (waiting.c). */
typedef struct moon__waiting {
    moon__defer idle;
    moon__timer again;
    moon__durable durable; /* what is asked stands in the store first */
    moon__errand errand;   /* then the inbox is read */
    moon__pause *pauses;   /* sleeps and waits for signals */
    bool reading, fresh;   /* fresh: the inbox was read since the last change */
    int64_t *items;        /* n_items, and what they say */
    moon_json **notes;
    size_t n_items;
} moon__waiting;

/* Model calls that are under way in a run and below it, and what they will use up as far as it could be told
 * (budget.c). */
typedef struct moon__held {
    unsigned calls, unpriced; /* unpriced: of them, those whose cost nobody could tell */
    unsigned waiting;         /* calls that wait for room in this run's limits */
    int64_t tokens;
    double usd;
    uint64_t passed_over; /* the turn of the line in which somebody went on waiting for it */
} moon__held;

/* A model call's part of the budget; embedded in its owner. */
typedef struct moon__hold {
    moon_run *run;
    int64_t tokens; /* what it is likely to use */
    double usd;     /* below 0: nobody knows, and it has no company where a limit of usd holds */
    /* The wait is over: moon__hold_begin again. From the loop. */
    void (*ready)(void *ctx);
    void *ctx;
    enum { MOON__HOLD_NONE, MOON__HOLD_WAITING, MOON__HOLD_HELD } state;
    moon_run *holder; /* of the limits that it waits for */
    struct moon__hold *next;
} moon__hold;

/* Of a tree: calls that wait, in the order in which they came. */
typedef struct moon__line {
    moon__hold *first;
    moon__defer look;
    uint64_t turn;
} moon__line;

/* What one root run owns for its whole tree. */
typedef struct moon__tree {
    moon_run *root;
    moon__journal journal;
    moon__replay *replay; /* what was recorded, of a run that is resumed; NULL: nothing */
    uint64_t shared;      /* of a fork: records up to this seq are not its own */
    enum { MOON__GO_ON, MOON__REHEARSE, MOON__REHEARSE_TOOLS } rehearsal; /* of a replay: nothing new may be asked */
    moon__scratch *scratch;
    moon__annex *annexes; /* of a run that is resumed: what its parts with work trees of their own have seen */
    bool kept;            /* the runtime's keeper brings its journal to the store */
    moon__durable told;   /* the end waits for its event to be kept */
    char *preview;        /* the beginning of the input */
    moon_unknown unknown;
    uint64_t seed;       /* of the scripts' random numbers */
    int64_t created_us;  /* wall clock */
    unsigned busy;       /* what goes on in it and leads on by itself */
    unsigned asked;      /* calls that wait for leave */
    unsigned missed;     /* requests that a cassette has no answer to */
    char asked_tool[64]; /* the last of them */
    moon__waiting waiting;
    moon__line line;
    moon__turns turns;
    moon__snapshots snapshots;
    bool allow_all, can_ask, park;
    bool deltas; /* the host wants what is shown only */
    void (*on_event)(void *ctx, moon_run *run, const moon_event *event);
    void *ctx;
    moon__listener *listeners;
} moon__tree;

typedef struct moon__prompt_seen moon__prompt_seen;

struct moon_run {
    unsigned refs;
    moon_runtime *runtime;
    moon_runnable *runnable;
    moon__tree *tree;       /* the root's */
    moon_run *parent;       /* NULL for the root */
    moon_run *next, **link; /* in runtime->runs */
    char *path;
    unsigned children;  /* those that are not finished */
    unsigned next_call; /* ids of its calls: "c1", "c2" … */
    unsigned n_logs, n_plans;
    moon__prompt_seen *prompts;         /* told of; prompts.c */
    bool planned;                       /* it has written a plan */
    struct moon__relay *relay;          /* the agents that it was handed over to (handoff.h); NULL: none */
    char *answerer;                     /* the name of the last of them */
    const struct moon__agent *observer; /* who answers, if its hook on_event sees the events; NULL: nobody does */
    bool observing;
    char *input;
    size_t input_length;
    bool input_json;          /* the input was no text but a value, written as JSON */
    moon__worktree *worktree; /* it works in one of its own; NULL: where its parent does */
    char *conflicts;          /* why that was not merged: JSON; NULL: it was */
    char *writes;             /* what it wrote into the state that it shares with other branches: JSON; NULL: nothing */
    char *model;              /* override; NULL: none */
    void *state;              /* the runnable's */
    moon_limits limits;
    moon_limits given; /* with the root, by who started it */
    moon_usage usage;  /* children's included */
    moon__held held;   /* likewise */
    int64_t started_us;
    moon__timer deadline;
    moon__defer after;              /* brings the end to the loop */
    bool leaving;                   /* it has ended, and its work is merged */
    bool stopping, ended, finished; /* ended: finish was called; finished: so have all children, and it is kept */
    moon_stop stop_why;             /* while stopping */
    char *stop_text;
    moon_result result;
    void (*on_done)(void *ctx, moon_run *child);
    void *on_done_ctx;
};

/* Asks a run to end with this reason: cancels its children and its runnable's work. Harmless if it is ending already.
 * text (copied, may be NULL) says more for the result's error. */
void moon__run_stop(moon_run *run, moon_stop why, const char *text);
/* Events of this run. key tells the event from others of its type in this run, and is the same when the run is resumed.
 * tells: make the body, then give it to event (body may be NULL); false: nobody wants it, or it is in the journal
 * already, and this was all. Either may stop the run: a reader cancels it, or memory is out. */
bool moon__run_tells(moon_run *run, moon_event_type type, const char *key);
void moon__run_event(moon_run *run, moon_event_type type, const char *key, const moon__buf *body);
/* What the journal holds of this kind; NULL: nothing, the run does it now. use: it is taken instead. */
const moon__recorded *moon__run_recorded(const moon_run *run, moon_event_type type, const char *key);
/* The body of a record, parsed; NULL (and the run is stopped) if it cannot be. The caller's. */
moon_json *moon__run_recorded_body(moon_run *run, const moon__recorded *recorded);
/* The path of what is at this place in the run; the caller's, NULL when memory is out. */
char *moon__run_path(const moon_run *run, const char *place);
void moon__run_attend(moon__tree *tree); /* who reads the events has changed (listen.c) */
/* Gives a record to the readers once more. */
void moon__run_show(moon_run *run, const moon__recorded *recorded);
void moon__run_prompts_free(moon_run *run);
/* Into the runtime's list; and out of it, when it has ended and so have its children: done comes from the loop. */
void moon__run_link(moon_run *run);
void moon__run_over(moon_run *run);
/* What it has ended with is known now: its children may still be there. */
void moon__run_left(moon_run *run);
/* Its result, before that. */
void moon__run_unmerged(moon_run *run, const char *error);
/* Where its tools work. */
moon__scratch *moon__run_scratch(const moon_run *run);
/* Begins a run whose tree is in place; it gives the run back if it fails. */
MOON_MUST_USE moon_status moon__run_begin(moon_run *run, moon_error *error);
moon_run *moon__run_alloc(moon_runtime *runtime, moon_runnable *runnable, const char *input, size_t length);
moon_status moon__run_discard(moon_run *run, moon_status status); /* one that did not begin; returns status */
/* The part of a tree that comes from options. */
MOON_MUST_USE moon_status moon__run_tree(moon_run *run, const moon_run_options *options, moon_error *error);
/* Sets the timer for limit seconds anew. */
MOON_MUST_USE moon_status moon__run_deadline(moon_run *run);
/* The events of a step (step_events.c); key: its number in the run. */
void moon__step_request(moon_run *run, const char *key, int64_t step, const char *model, uint64_t context);
void moon__step_delta(moon_run *run, moon__delta kind, const char *text, size_t n);
void moon__step_retry(moon_run *run, const char *key, int attempt, int64_t wait_ms, const moon_error *why);
void moon__step_answer(moon_run *run, const char *key, int64_t step, const moon__answer *answer, int64_t started_us);

/* ---- limits (limits.c) ---- */

enum { MOON__HANDOFFS = 10 }; /* where no limit is given */
void moon__limits_tighten(moon_limits *limits, const moon_limits *other);
/* What other gives stands instead. */
void moon__limits_replace(moon_limits *limits, const moon_limits *other);
/* Reads the limits of a JSON object {steps, tool_calls, seconds, tokens, usd}; numbers from 0 up. */
MOON_MUST_USE moon_status moon__limits_read(moon_limits *limits, const moon_json *json, moon_error *error);
void moon__limits_write(moon__jw *w, const char *name, const moon_limits *limits);
/* The words for a limit of holder that ends run; they say whose it is, where that is not the run's own. */
void moon__limits_refuse(const moon_run *run, const moon_run *holder, moon_stop stop, moon__buf *text, const char *unit,
                         double limit);
/* Does one for usd hold for the run? */
bool moon__limits_usd(const moon_run *run);
/* An agent takes over: its limits hold from here on beside those that the run had before; seconds: how long the run has
 * gone on. */
void moon__limits_hand(moon_run *run, const moon_limits *before, const moon_limits *agent, int64_t seconds,
                       int64_t handoffs);
/* Counts steps and tool calls. */
void moon__limits_count(moon_run *run, int64_t steps, int64_t calls);
/* May it make n more tool calls? Counts them when it may. */
bool moon__limits_calls(moon_run *run, int64_t n, moon_stop *why, moon__buf *text);
/* Adds an answer's usage to the run and all above it. */
void moon__limits_use(moon_run *run, const moon_usage *usage);

/* ---- budget (budget.c) ---- */

/* What is known of a conversation's size. */
typedef struct moon__tally {
    int64_t input, output; /* tokens of the last answer; 0: not known */
    size_t bytes;          /* that came to it since */
    double usd;            /* of the last answer; below 0: not known */
} moon__tally;
void moon__tally_answer(moon__tally *tally, const moon_usage *usage);

typedef enum moon__budget { MOON__BUDGET_HELD, MOON__BUDGET_WAITS, MOON__BUDGET_OVER } moon__budget;
/* Sets what the next call is likely to use. max_output: what it is told as its limit; 0 or less: nothing. */
void moon__hold_guess(moon__hold *hold, const moon__tally *tally, const moon__model *model, int64_t max_output);
/* May the run make one more request? HELD: it may, and it is counted. WAITS: ready comes, unless moon__hold_end comes
 * before. OVER: *why, and a text. */
moon__budget moon__hold_begin(moon__hold *hold, moon_stop *why, moon__buf *text);
/* The call has ended, however, or is not to be made any more. Harmless when there is nothing to end. */
void moon__hold_end(moon__hold *hold);
void moon__line_init(moon__tree *tree);
void moon__line_end(moon__tree *tree);

/* ---- policy (policy.c): the one function ---- */

moon_verdict moon__policy(const moon_run *run, const moon_json *agent_policy, const moon_tool *tool,
                          const moon_json *args);
/* Is the object a sound policy: names to "allow", "ask" or "deny"? */
/* That of two policies which allows less for the tool; one that does not name it counts for nothing. */
const moon_json *moon__policy_stricter(const moon_json *a, const moon_json *b, const char *tool);
MOON_MUST_USE moon_status moon__policy_check(const moon_json *policy, moon_error *error);

/* ---- agents (agent.c) ---- */

typedef struct moon__agent {
    moon_runnable base;
    moon_json *spec; /* owns most of the text below */
    const char *instructions, *model;
    const char *prompt_name, *prompt_hash; /* which prompt the instructions are; NULL: none */
    moon__model *inline_model;
    const moon__tool_entry **tools; /* n_tools, in the order they were listed */
    moon_wire_tool *wire_tools;     /* the same for the model */
    size_t n_tools;
    moon__tool_entry *own; /* n_own entries of the script's tools */
    size_t n_own;
    struct moon__handoff *handoffs; /* n_handoffs: see handoff.h */
    size_t n_handoffs;
    moon__hooks hooks;    /* see hooks.h */
    bool ready;           /* all its tools are known */
    bool retells;         /* its conversations may have to be told anew: they keep a transcript */
    moon__schema *output; /* NULL: plain text */
    char *extra;
    moon__chat_settings settings;
    moon_limits limits;
    const moon_json *policy;
    bool plan;
    bool worktree;     /* it works in a work tree of its own */
    int snapshots;     /* 1: taken of its steps, 0: not, -1: as the runtime has it */
    unsigned parallel; /* read-only calls side by side */
    void (*release)(void *owner);
    void *owner;
} moon__agent;

extern const moon__runnable_ops moon__agent_ops; /* react.c */
void moon__agent_free(moon_runnable *runnable);
const moon__tool_entry *moon__agent_tool(const moon__agent *agent, const char *name);
/* Adds one of its own, which outlives it. */
MOON_MUST_USE moon_status moon__agent_add_tool(moon__agent *agent, const moon_tool *tool, moon_error *error);
/* Before its first run: what could not be known when it was made. */
MOON_MUST_USE moon_status moon__agent_get_ready(moon__agent *agent, moon_error *error);

void moon__relay_free(struct moon__relay *relay);        /* handoff.c */
const moon__agent *moon__run_agent(const moon_run *run); /* who answers in it now; NULL: it is no agent's run */

/* ---- one message's tool calls (calls.c) ---- */

typedef struct moon__calls moon__calls;
typedef struct moon__calls_options {
    moon_run *run;
    const moon__agent *agent;     /* NULL: any registered tool may be called, */
    const moon__tool_entry *only; /* or this one alone */
    const moon_json *policy;
    const moon_wire_tool *offered; /* n_offered; NULL: all of the agent's tools */
    size_t n_offered;
    const moon__agent *hooks; /* whose hooks are asked; NULL: nobody's */
    unsigned parallel;
    bool plan; /* a plan must be written before other tools are called */
    /* All calls have a result (or were stopped); once per begin, from the loop. */
    void (*done)(void *ctx);
    void *ctx;
} moon__calls_options;

/* One call's outcome, for the model. */
typedef struct moon__outcome {
    const char *id, *text, *key; /* key: "c3" */
    const moon_tool *tool;       /* NULL: there is none of that name */
    const char *args;            /* as the model wrote them */
    size_t args_length;
    size_t length;
    bool ok, ran, json, denied;
} moon__outcome;

MOON_MUST_USE moon_status moon__calls_new(moon__calls **out, const moon__calls_options *options, moon_error *error);
void moon__calls_free(moon__calls *calls);                            /* none may be running */
void moon__calls_serve(moon__calls *calls, const moon__agent *agent); /* the calls from now on are another agent's */
/* The tools that the model was told of, where these are not all of the agent's (outlive the calls); NULL: they are. */
void moon__calls_offer(moon__calls *calls, const moon_wire_tool *tools, size_t n);
/* Takes a message's calls (copied). Sooner or later done(), also when the run is stopped meanwhile. */
MOON_MUST_USE moon_status moon__calls_begin(moon__calls *calls, const moon_tool_use *uses, size_t n, moon_error *error);
/* Ends what runs; done() comes when it has ended, even if nothing ran. */
void moon__calls_cancel(moon__calls *calls);
/* Was the next call of the run begun before it was resumed? (recall.c) */
bool moon__calls_begun(const moon_run *run);
size_t moon__calls_count(const moon__calls *calls);
moon__outcome moon__calls_outcome(const moon__calls *calls, size_t index);
/* MOON_ENOTFOUND if no call of that id (NULL: none at all) waits for an answer. */
moon_status moon__calls_decide(moon__calls *calls, const char *call, bool allow, const char *why, moon_error *error);

/* The calls of a run that wait for decisions belong to its runnable: react.c and single.c answer with theirs. */
moon__calls *moon__react_calls(const moon_run *run);
/* Why a run of an agent has no answer from the cassette; NULL: it waits for none. *late: none came in time when it was
 * recorded. */
const char *moon__react_missed(const moon_run *run, bool *late);
moon__calls *moon__single_calls(const moon_run *run);

extern const moon_tool moon__plan_tool; /* plan.c */

/* ---- waiting for people (waiting.c) ---- */

void moon__waiting_init(moon_run *root);
void moon__waiting_end(moon_run *root);
void moon__waiting_look(moon_run *root); /* at the inbox: something may have come */
/* There is something else to wait for. */
void moon__waiting_changed(moon_run *run);
/* Gives a signal to the pause that has waited longest for it; false: none does. */
bool moon__pause_signal(moon_run *root, const char *name, const moon_json *value);
/* Answers all calls of the tree that wait. */
moon_status moon__run_decide_all(moon_run *root, bool allow, const char *why);
/* A request has no recording, or its run is stopped. The branch may not be needed (a race is won, a sibling has
 * failed), as when it was recorded; but when nothing else goes on, the whole tree stops: as when a script has changed,
 * also where a failure would be made good. */
void moon__waiting_missed(moon_run *run, int change);
/* A call waits for leave, or does no longer. */
void moon__waiting_asked(moon_run *run, int change);

/* ---- keeping runs (kept.c) ---- */

void moon__kept_created(moon_run *root);  /* with its first event */
void moon__kept_finished(moon_run *root); /* with its last */
/* Adds what is needed to begin the run again. */
void moon__kept_write(moon__jw *w, const moon_run *root);
void moon__kept_release(moon_run *root);
/* Removes the worktrees of a run that hold nothing which is not merged (worktree_ask.c). */
void moon__worktrees_drop(moon_runtime *runtime, const char *workspace, const char *run);
/* moon_runtime_purge() without the snapshots (ask.c). */
MOON_MUST_USE moon_status moon__store_purge(moon_runtime *runtime, const char *run, moon_error *error);
#endif
