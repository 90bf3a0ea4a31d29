/* SPDX-License-Identifier: MIT */
#ifndef MOONLET_MOONLET_H
#define MOONLET_MOONLET_H
/*
 * moonlet/moonlet.h: embed the agent runtime.
 *
 *     moon_runtime *rt;
 *     moon_runnable *agent;
 *     moon_run *run;
 *     moon_runtime_new(&rt, &(moon_runtime_options){.size = sizeof(moon_runtime_options)}, &error);
 *     moon_script_load(&agent, rt, "agents/brief.lua", &error);           // or moon_agent_new() from JSON
 *     moon_run_start(&run, rt, agent, &(moon_run_options){.size = …, .input = "…", .on_event = print}, &error);
 *     while (!moon_run_finished(run)) moon_runtime_step(rt, -1, &error);
 *     puts(moon_run_result(run)->text);
 *     moon_run_unref(run); moon_runnable_unref(agent); moon_runtime_free(rt);
 *
 * The loop. A runtime has one loop, run by whoever calls moon_runtime_step(). To put it into a loop of your own, poll
 * moon_runtime_fd() for reading, at most moon_runtime_timeout() milliseconds, then call moon_runtime_step(rt, 0, …).
 *
 * Threads. A runtime and all that belongs to it is used by one thread at a time. It starts worker threads for blocking
 * tools; callbacks come only on the thread that calls moon_runtime_step(). Two runtimes are independent.
 *
 * What it does to its process: no signal handler, no chdir, no umask, no locale, nothing at exit. SIGPIPE is never
 * raised by it. Subprocesses are started with posix_spawn and watched by pidfd, so no SIGCHLD is needed or consumed.
 *
 * Lifetime. new/free, and ref/unref for what is shared. A run keeps its runnable alive. Text handed in is copied; text
 * handed out is borrowed from the object it was got from, or valid during the callback.
 *
 * A run is a journal: an append-only sequence of events (moon_event). Progress, JSON output and the result are
 * readers of the same events.
 */
#include <moonlet/tool.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MOON_VERSION "0.1.0"
/* The version of the library that runs, as opposed to MOON_VERSION of the header. */
MOON_API const char *moon_version(void);

typedef struct moon_runtime moon_runtime;
typedef struct moon_runnable moon_runnable;
typedef struct moon_run moon_run;

/* ---- policy: one function ---- */

typedef enum moon_verdict { MOON_ALLOW, MOON_ASK, MOON_DENY } moon_verdict;

/* May this call run? Called for each call after its arguments were checked; agent_verdict is what the built-in rule
 * says: read-only tools are allowed, others as the agent's policy says, else MOON_ASK. */
typedef moon_verdict (*moon_policy)(void *ctx, const moon_run *run, const moon_tool *tool, const moon_json *args,
                                    moon_verdict agent_verdict);

/* ---- runtime ---- */

typedef struct moon_runtime_options {
    size_t size;           /* sizeof(moon_runtime_options) */
    const char *workspace; /* the directory tools work in; NULL: the current one, as it is now */
    const char *model; /* "provider/model" or a Lua file; NULL: MOONLET_MODEL, else the key that is set, else offline */
    const char
        *config; /* the user's config file; NULL: the default place; "": none, and the repository's is not read */
    const char *agents; /* where shipped agents are looked up first; NULL: MOONLET_AGENTS, else those built in */
    /* Where runs are kept: a file. NULL: nowhere, they cannot be resumed. "": the default place: MOONLET_JOURNAL
     * ("off": nowhere), else .moonlet/journal.db if the workspace has a folder .moonlet, else moonlet/journal.db in
     * XDG_STATE_HOME or ~/.local/state; nowhere if that cannot be written. */
    const char *journal;
    const struct moon_store_ops *store; /* what keeps them (extend.h); NULL: SQLite */
    /* A folder of recorded answers (docs/cassettes.md); at most one of the two. With cassette, models are not asked:
     * each request gets the answer that was recorded for it, and a run whose request has none ends (cassette_miss).
     * With record, they are asked for what has no recording, and the answer is added. NULL or "": neither. */
    const char *cassette, *record;
    moon_policy policy; /* NULL: the built-in verdict */
    void *policy_ctx;
    /* Told, in a line of text, what takes the journal long, or was found damaged, while it is opened: one of an older
     * format is rewritten. Called on another thread, maybe after moon_runtime_new has returned. NULL: nobody is told.
     */
    void (*notice)(void *ctx, const char *text);
    void *notice_ctx;
    unsigned workers; /* threads for blocking tools; 0: 4 */
    unsigned
        requests;  /* to models, at once; others wait, and runs take turns. 0: as the configuration says, else all */
    unsigned seed; /* of jitter and ids; 0: from the kernel */
} moon_runtime_options;

MOON_API MOON_MUST_USE moon_status moon_runtime_new(moon_runtime **runtime, const moon_runtime_options *options,
                                                    moon_error *error);
/* Cancels what runs, waits for its threads and children, frees all. NULL is fine. A blocking tool that does not come
 * back within seconds of being cancelled is left to itself, with what it may touch: some memory then stays. */
MOON_API void moon_runtime_free(moon_runtime *runtime);
/* Where it keeps runs; NULL: nowhere. */
MOON_API const char *moon_runtime_journal(const moon_runtime *runtime);

/* A descriptor that is readable when there is something to do; owned by the runtime. */
MOON_API int moon_runtime_fd(const moon_runtime *runtime);
/* Milliseconds until step has something to do even if the descriptor is not readable; -1: never. */
MOON_API int moon_runtime_timeout(moon_runtime *runtime);
/* Does what is due, waiting for it at most timeout_ms (-1: without limit, 0: not at all). Returns early when a run
 * ends. Must not be called from a callback. */
MOON_API MOON_MUST_USE moon_status moon_runtime_step(moon_runtime *runtime, int timeout_ms, moon_error *error);

/* Adds a tool for all agents of the runtime. The record and what it points to must outlive the runtime. MOON_EEXIST if
 * the name is taken, MOON_EINVAL if the record is not sound. */
MOON_API MOON_MUST_USE moon_status moon_runtime_add_tool(moon_runtime *runtime, const moon_tool *tool,
                                                         moon_error *error);
/* Loads a plugin (see moon_plugin) into the process, with all its rights, and adds its tools. */
MOON_API MOON_MUST_USE moon_status moon_runtime_add_plugin(moon_runtime *runtime, const char *path, moon_error *error);
/* The registered tools in the order of their names: NULL past the last. */
MOON_API const moon_tool *moon_runtime_tool_at(const moon_runtime *runtime, size_t index);
MOON_API const moon_tool *moon_runtime_tool(const moon_runtime *runtime, const char *name);

/* ---- what can be run ---- */

/* Loads a Lua script (a path, or the name of a shipped agent) and gives the runnable that it returns. */
MOON_API MOON_MUST_USE moon_status moon_script_load(moon_runnable **runnable, moon_runtime *runtime, const char *path,
                                                    moon_error *error);
/* A drawing of what a script returns, from its definitions: format is "mermaid", "dot", "svg" or "json". *text is the
 * caller's, to be freed with free(). */
MOON_API MOON_MUST_USE moon_status moon_script_graph(char **text, moon_runtime *runtime, const char *path,
                                                     const char *format, moon_error *error);
/* An agent from a JSON object with the fields of moon.agent in docs/lua.md: name, instructions, model, tools, limits,
 * plan, policy, output … An unknown field is an error that names the nearest known one. */
MOON_API MOON_MUST_USE moon_status moon_agent_new(moon_runnable **runnable, moon_runtime *runtime, const char *json,
                                                  size_t length, moon_error *error);
MOON_API moon_runnable *moon_runnable_ref(moon_runnable *runnable);
MOON_API void moon_runnable_unref(moon_runnable *runnable);
MOON_API const char *moon_runnable_name(const moon_runnable *runnable);

/* ---- events ---- */

#define MOON_EVENTS(X)                                                                                                 \
    X(RUN_CREATED, "run.created")                                                                                      \
    X(MODEL_REQUEST, "model.request")                                                                                  \
    X(MODEL_DELTA, "model.delta")                                                                                      \
    X(MODEL_RETRY, "model.retry")                                                                                      \
    X(MODEL_RESPONSE, "model.response")                                                                                \
    X(TOOL_INTENT, "tool.intent")                                                                                      \
    X(TOOL_PROGRESS, "tool.progress")                                                                                  \
    X(TOOL_RESULT, "tool.result")                                                                                      \
    X(APPROVAL_ASKED, "approval.asked")                                                                                \
    X(APPROVAL_GIVEN, "approval.given")                                                                                \
    X(PLAN_UPDATED, "plan.updated")                                                                                    \
    X(LOG, "log")                                                                                                      \
    X(RUN_FINISHED, "run.finished")                                                                                    \
    X(RUN_CLAIMED, "run.claimed")                                                                                      \
    X(VALUE_RECORDED, "value.recorded")                                                                                \
    X(INPUT_RECEIVED, "input.received")                                                                                \
    X(SNAPSHOT_TAKEN, "snapshot.taken")                                                                                \
    X(PROMPT_RENDERED, "prompt.rendered")                                                                              \
    X(HANDOFF, "handoff")                                                                                              \
    X(HOOK_DECIDED, "hook.decided")                                                                                    \
    X(WORKTREE_MADE, "worktree.made")                                                                                  \
    X(WORKTREE_MERGING, "worktree.merging")                                                                            \
    X(WORKTREE_MERGED, "worktree.merged")                                                                              \
    X(WORKTREE_UNMERGED, "worktree.unmerged")

/* The values are part of the journal's format: new types go at the end. */
typedef enum moon_event_type {
#define X(name, text) MOON_EVENT_##name,
    MOON_EVENTS(X)
#undef X
} moon_event_type;

MOON_API const char *moon_event_type_text(moon_event_type type);

/* One event. docs/events.md says what the body of each type holds. model.delta and tool.progress are shown only: they
 * have seq 0 and are no part of the journal. */
typedef struct moon_event {
    moon_event_type type;
    uint64_t seq;     /* dense from 1 within a run, children included */
    int64_t time_us;  /* wall clock, since 1970 */
    const char *run;  /* the id of the root run */
    const char *path; /* "" for the root, "2" or "2.1" for children: the place in the tree of calls */
    const char *body; /* a JSON object, one line */
    size_t body_length;
} moon_event;

/* ---- runs ---- */

#define MOON_STOPS(X)                                                                                                  \
    X(DONE, "done", 0)                                                                                                 \
    X(FAILED, "failed", 1)                                                                                             \
    X(STEPS, "limit_steps", 3)                                                                                         \
    X(TOOL_CALLS, "limit_tool_calls", 3)                                                                               \
    X(TOKENS, "limit_tokens", 3)                                                                                       \
    X(USD, "limit_usd", 3)                                                                                             \
    X(REPEATED, "repeated_call", 3)                                                                                    \
    X(MALFORMED, "malformed_calls", 3)                                                                                 \
    X(APPROVAL, "needs_approval", 4)                                                                                   \
    X(REFUSED, "refused", 5)                                                                                           \
    X(PROVIDER, "provider_unavailable", 6)                                                                             \
    X(SCHEMA, "output_schema", 7)                                                                                      \
    X(SECONDS, "limit_seconds", 124)                                                                                   \
    X(INTERRUPTED, "interrupted", 130)                                                                                 \
    X(CHANGED, "script_changed", 2)                                                                                    \
    X(JOURNAL, "journal_lost", 1)                                                                                      \
    X(WAITING, "waiting", 4)                                                                                           \
    X(CONFIG, "configuration", 2)                                                                                      \
    X(CASSETTE, "cassette_miss", 2)                                                                                    \
    X(HANDOFFS, "limit_handoffs", 3)                                                                                   \
    X(UNMERGED, "unmerged", 1)

/* Why a run ended; moon_stop_exit_code() gives the exit code of the command line for it. */
typedef enum moon_stop {
#define X(name, text, code) MOON_STOP_##name,
    MOON_STOPS(X)
#undef X
} moon_stop;

MOON_API const char *moon_stop_text(moon_stop stop);
MOON_API int moon_stop_exit_code(moon_stop stop);
/* Can a run that ended for this reason be resumed? A limit may be raised, an approval given, a provider come back,
 * a key or an address be put right. */
MOON_API bool moon_stop_resumable(moon_stop stop);

typedef struct moon_usage {
    int64_t input_tokens;  /* cached ones included */
    int64_t cached_tokens; /* of the input */
    int64_t output_tokens; /* reasoning included */
    int64_t reasoning_tokens;
    double usd; /* as far as prices are known; below 0: none is */
    int64_t steps;
    int64_t tool_calls;
} moon_usage;

typedef struct moon_result {
    moon_stop stop;
    const char *text; /* the final answer; "" if there is none */
    size_t text_length;
    const char *error; /* why it did not end well; NULL if it did */
    moon_usage usage;
    int64_t wall_ms;
    uint64_t diverged_at; /* script_changed: the last event before script and journal part; a fork may go there */
    bool resumable;       /* it is kept, and moon_run_resume() can go on with it */
    bool json;            /* the text is one JSON value (of an output schema, a script, a tool), or "": no value */
    const char *agent;    /* who answered: the runnable's name, or of the agent that it handed over to */
} moon_result;

/* A limit of -1 is "not given" (the agent's or the default one holds); 0 means 0: the run stops before it begins. The
 * smallest of all that apply holds. */
typedef struct moon_limits {
    int64_t steps;
    int64_t tool_calls;
    int64_t seconds;
    int64_t tokens;
    double usd;
    int64_t handoffs; /* of this run alone, not of its children; not given: 10 */
} moon_limits;
#define MOON_LIMITS_NONE ((moon_limits){-1, -1, -1, -1, -1.0, -1})

/* What to do about a call that was begun before a crash and has no result, if it is neither read-only nor idempotent:
 * nobody knows whether it had its effect. */
typedef enum moon_unknown {
    MOON_UNKNOWN_ASK,   /* as for an approval: yes runs it again, no tells the model */
    MOON_UNKNOWN_FAIL,  /* the run stops (and can be resumed) */
    MOON_UNKNOWN_RETRY, /* run it again */
    MOON_UNKNOWN_TELL,  /* its result is a text that says so */
} moon_unknown;

typedef struct moon_run_options {
    size_t size;               /* sizeof(moon_run_options) */
    const char *input;         /* the task; bytes that are no text, NULs too, become U+FFFD */
    size_t input_length;       /* SIZE_MAX or 0 with a non-NULL input: NUL-terminated */
    const char *model;         /* overrides the agent's and the runtime's */
    const moon_limits *limits; /* NULL: none but the agent's */
    bool allow_all;            /* what the built-in policy would ask for is allowed (--yes) */
    bool can_ask;   /* somebody answers approval.asked with moon_run_decide(); else the run ends (needs_approval) */
    bool deltas;    /* model.delta and tool.progress events are wanted */
    bool park;      /* ends (waiting) when only time or a signal can lead it on; else it stays and waits */
    bool forget;    /* is not kept, though the runtime has a journal */
    bool snapshots; /* of the workspace, after each step that wrote: of all agents, whatever they say of it */
    moon_unknown unknown; /* of a run that is resumed */
    bool recorded_script; /* likewise: the script as it was recorded, not as it is now. Also so if its file is gone */
    void (*on_event)(void *ctx, moon_run *run, const moon_event *event);
    void *ctx;
} moon_run_options;

/* Starts a run; it goes on in moon_runtime_step(). The first event comes before this returns. */
MOON_API MOON_MUST_USE moon_status moon_run_start(moon_run **run, moon_runtime *runtime, moon_runnable *runnable,
                                                  const moon_run_options *options, moon_error *error);
/* A new run that shares the journal of `id` up to its event `at` (0: its end) and goes on from there, on a path of its
 * own; `id` itself is not touched. Of the options, input (may be NULL) is one more message of the user, for an agent;
 * the rest as for moon_run_resume(). What was used before the fork does not count against limits. */
MOON_API MOON_MUST_USE moon_status moon_run_fork(moon_run **run, moon_runtime *runtime, const char *id, uint64_t at,
                                                 const moon_run_options *options, moon_error *error);
/* Runs it again from its beginning, with the models' answers from its journal; nothing is kept. live_tools: tools are
 * really called (and allowed as ever), and the models are told what they said then, whatever comes of it; else their
 * results are from the journal too, and the run shows whether its script still goes the same way. */
MOON_API MOON_MUST_USE moon_status moon_run_replay(moon_run **run, moon_runtime *runtime, const char *id,
                                                   bool live_tools, const moon_run_options *options, moon_error *error);
/* Takes up a run that was kept: interrupted, parked, stopped by a limit, or whose process died. What is in its journal
 * is not done again. Of the options, input is ignored; model and limits, where given, replace those that it was started
 * with. MOON_ENOTFOUND; MOON_EBUSY: another process drives it; MOON_EEXIST: it is finished; MOON_ECORRUPT. Waits for
 * the disk. */
MOON_API MOON_MUST_USE moon_status moon_run_resume(moon_run **run, moon_runtime *runtime, const char *id,
                                                   const moon_run_options *options, moon_error *error);
MOON_API moon_run *moon_run_ref(moon_run *run);
/* Giving up the last reference does not cancel; the runtime holds a run that is not finished. */
MOON_API void moon_run_unref(moon_run *run);
/* Ends tools' children and the model's stream, then the run, with stop reason interrupted. Returns at once. */
MOON_API void moon_run_cancel(moon_run *run);
MOON_API bool moon_run_finished(const moon_run *run);
/* NULL until it is finished. */
MOON_API const moon_result *moon_run_result(const moon_run *run);
MOON_API const char *moon_run_id(const moon_run *run);
/* Answers approval.asked: call is its "call". why (may be NULL) is told to the model on a denial. MOON_ENOTFOUND if
 * nothing of that name waits. */
MOON_API MOON_MUST_USE moon_status moon_run_decide(moon_run *run, const char *call, bool allow, const char *why,
                                                   moon_error *error);

/* Runs one tool as a run of its own, without a model: `moonlet call`. The result's text is the tool's. */
MOON_API MOON_MUST_USE moon_status moon_run_tool(moon_run **run, moon_runtime *runtime, const char *tool,
                                                 const char *args, size_t length, const moon_run_options *options,
                                                 moon_error *error);

/* What the runtime would use: filled for `moonlet doctor`. Text is borrowed from the runtime. */
typedef struct moon_model_info {
    const char *name;     /* "openai/gpt-5-mini", "offline", "agents/mine.lua" */
    const char *source;   /* "--model", "MOONLET_MODEL", "OPENAI_API_KEY is set", "no model is configured" */
    const char *base_url; /* NULL for scripted models */
    const char *key_name; /* the environment variable that the key came from; NULL: no key */
    bool scripted;
} moon_model_info;
MOON_API MOON_MUST_USE moon_status moon_runtime_model(moon_runtime *runtime, const char *model, moon_model_info *info,
                                                      moon_error *error);

#ifdef __cplusplus
}
#endif
#endif
