/* SPDX-License-Identifier: MIT */
#ifndef MOONLET_EXTEND_H
#define MOONLET_EXTEND_H
/*
 * moonlet/extend.h: teach the runtime another wire format, keep its journals elsewhere, or snapshots otherwise.
 *
 * A provider is a pure codec: it turns a conversation into the bytes of an HTTP request, and the server-sent events (or
 * the one JSON body) of the answer into a message. It does no I/O and keeps no state of its own, so it can be tested
 * with recorded bytes. Retries, time limits and the connection are the runtime's.
 *
 * The request body is append-only. begin() writes everything up to where messages go, message() appends one message,
 * and end() writes what closes the body. The runtime keeps the bytes: for the next step it cuts off what end() wrote,
 * appends the new messages and calls end() again. So a step costs its new messages, and the prefix stays byte-stable
 * for the servers' prompt caches.
 *
 * Strings in these records are borrowed for the duration of the call. All callbacks run on the loop thread.
 */
#include <moonlet/moonlet.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Bytes that grow; written only through these. Errors stick. */
typedef struct moon_out moon_out;
MOON_API void moon_out_add(moon_out *out, const char *bytes, size_t length);
MOON_API void moon_out_text(moon_out *out, const char *text); /* raw, NUL-terminated */
/* A JSON string with its quotes; bytes that are not UTF-8 become U+FFFD. length may be SIZE_MAX. */
MOON_API void moon_out_quoted(moon_out *out, const char *text, size_t length);

typedef enum moon_role { MOON_SYSTEM, MOON_USER, MOON_ASSISTANT, MOON_TOOL_ROLE } moon_role;

typedef struct moon_tool_use {
    const char *id;        /* as the model gave it */
    const char *name;      /* on the wire: dots are "_" */
    const char *arguments; /* JSON text exactly as the model wrote it */
    size_t arguments_length;
} moon_tool_use;

typedef struct moon_message {
    moon_role role;
    const char *text; /* may be NULL */
    size_t text_length;
    const moon_tool_use *calls; /* of an assistant message */
    size_t n_calls;
    const char *call_id;   /* of a tool message: what it answers */
    bool is_error;         /* of a tool message */
    const char *reasoning; /* of an assistant message; NULL: none, or not to be sent back */
    size_t reasoning_length;
} moon_message;

typedef struct moon_wire_tool {
    const char *name; /* on the wire */
    const char *description;
    const char *params; /* JSON Schema text */
} moon_wire_tool;

/* What stays the same during a conversation. Numbers below zero are "not given". */
typedef struct moon_wire_settings {
    const char *model; /* the server's name for it */
    bool stream;
    double temperature;
    double top_p;
    int64_t max_output_tokens;
    int64_t seed;
    const char *reasoning_effort; /* NULL: not given */
    const char *output_schema;    /* JSON Schema text the answer must fit; NULL: none */
    const char *extra;            /* members of a JSON object to be added as they are, "\"a\":1"; NULL: none */
    const moon_wire_tool *tools;
    size_t n_tools;
} moon_wire_settings;

/* What decode() reports. Text is borrowed. */
typedef struct moon_sink {
    void *ctx;
    void (*text)(void *ctx, const char *text, size_t length);
    void (*reasoning)(void *ctx, const char *text, size_t length);
    /* A piece of call `index` (0-63). id and name may be NULL when they were given before; arguments concatenate. */
    void (*call)(void *ctx, int index, const char *id, const char *name, const char *arguments, size_t length);
    void (*finish)(void *ctx, const char *reason);
    void (*usage)(void *ctx, const moon_usage *usage); /* totals of this answer; the last one counts */
    void (*end)(void *ctx);                            /* the wire says: complete */
} moon_sink;

typedef struct moon_provider {
    uint32_t abi;     /* MOON_TOOL_ABI */
    const char *name; /* of the wire format: "openai-chat" */
    const char *path; /* appended to the base URL: "/chat/completions" */
    /* Header lines of the request, each "Name: value"; at most `room`, returns how many. key may be NULL. buffer is
     * scratch of buffer_size bytes for the lines. */
    size_t (*headers)(const char *key, char *buffer, size_t buffer_size, const char **lines, size_t room);
    void (*begin)(const moon_wire_settings *settings, moon_out *out);
    void (*message)(const moon_message *message, bool first, moon_out *out);
    void (*end)(const moon_wire_settings *settings, moon_out *out);
    /* One event's data (streaming), or the whole body. MOON_EPARSE: not of this format; MOON_EPROVIDER: it is an error
     * that the server reports, error->cause its HTTP-like status (0: unknown). */
    moon_status (*decode)(const moon_json *json, bool whole_body, const moon_sink *sink, moon_error *error);
    const char *done_marker; /* data that ends a stream and is not JSON: "[DONE]"; NULL: none */
} moon_provider;

/* Makes the wire format available to model profiles (`wire = "name"` in the configuration). The record must outlive the
 * runtime. */
MOON_API MOON_MUST_USE moon_status moon_runtime_add_provider(moon_runtime *runtime, const moon_provider *provider,
                                                             moon_error *error);

/* ---- stores: where journals are kept ---- */

/*
 * A store keeps the journals of runs: per run a sequence of records, dense from 1, to which only the run's owner
 * appends. All functions block, and are called on one thread of the runtime, never two at a time; so a store needs no
 * locks of its own within the process. Several processes may use one store.
 *
 * The promises that a store makes, and the runtime builds on:
 * - append() takes a batch of appends of different runs. Each is kept whole or not at all, with its side operations;
 *   when append() has returned MOON_OK, what it kept survives kill -9 and a power cut.
 * - An append whose `expected` is not the run's last seq is refused (MOON_ECONFLICT) and changes nothing. This alone
 *   keeps two processes from both believing that they own a run; claims only keep them from trying.
 * - What was posted to a run's inbox stays there until an append takes it (MOON_SIDE_TAKE), exactly once.
 *
 * Errors besides: MOON_ENOTFOUND (no such run or blob), MOON_ECORRUPT, MOON_EFULL, MOON_EIO, MOON_EBUSY, MOON_ENOMEM.
 * Times are µs since 1970. Text and bytes that a callback gets are borrowed for its duration; a callback that returns
 * false ends the walk.
 */
#define MOON_STORE_ABI 2
enum { MOON_HASH_SIZE = 32 }; /* SHA-256 */

typedef struct moon_record {
    uint64_t seq;
    moon_event_type type; /* the values are part of the format: new types go at the end */
    int64_t time_us;
    const char *path;                        /* the place in the tree of calls, "" for the root */
    const char *key;                         /* what tells it from others of its type at this path: "c3", "7", "" */
    unsigned char hash[MOON_HASH_SIZE];      /* over the hash of the record before, and all of this one */
    unsigned char body_hash[MOON_HASH_SIZE]; /* of a body over 4096 bytes, which a store may keep under it; else zero */
    const char *body;                        /* a JSON object */
    size_t body_length;
} moon_record;

typedef enum moon_run_state { MOON_RUN_RUNNING, MOON_RUN_WAITING, MOON_RUN_FINISHED } moon_run_state;

/* What is known of a run without reading its journal. */
typedef struct moon_run_info {
    const char *run;  /* its id */
    const char *name; /* of the agent */
    const char *script, *workspace;
    const char *input; /* its beginning */
    const char *stop;  /* why it stopped last; "" while it has not */
    moon_run_state state;
    bool resumable; /* a stop after which it can go on */
    bool claimed;   /* somebody drives it now; given by list() and info() */
    int64_t created_us, updated_us;
    int64_t steps, tool_calls, tokens;
    double usd;
    const char *fork_of; /* the run it was forked from, else "" */
    uint64_t fork_at;
} moon_run_info;

typedef enum moon_side_kind {
    MOON_SIDE_CREATE, /* the run: `info`; it is claimed for whoever appends. With it, expected is 0 (or fork_at) */
    MOON_SIDE_UPDATE, /* of `info`: name to usd, as far as not NULL */
    MOON_SIDE_BLOB,   /* keeps bytes under their SHA-256 in `hash` */
    MOON_SIDE_TIMER,  /* the run has something to do at due_us, named `key`; 0: no longer */
    MOON_SIDE_TAKE,   /* the inbox item `item` is taken */
} moon_side_kind;

typedef struct moon_side {
    moon_side_kind kind;
    const moon_run_info *info;
    const unsigned char *hash;
    const void *bytes;
    size_t length;
    const char *key;
    int64_t due_us;
    int64_t item;
} moon_side;

typedef struct moon_append {
    const char *run;
    uint64_t expected; /* seq of the last record that the writer knows; the first of `records` has the next */
    const moon_record *records;
    size_t n_records;
    const moon_side *sides;
    size_t n_sides;
    moon_status status; /* set by append() */
} moon_append;

typedef struct moon_query {
    const char *run;       /* this one only; NULL: all */
    const char *workspace; /* those of this directory; NULL: all */
    int state;             /* a moon_run_state, or -1 */
    int64_t since_us;      /* updated since */
    size_t limit;          /* the newest; 0: no limit */
} moon_query;

typedef struct moon_store moon_store; /* a store that is open: the implementation's */
typedef struct moon_store_ops {
    uint32_t abi; /* MOON_STORE_ABI */
    const char *name;
    /* place is the implementation's own: a file, an address. MOON_EUNSUPPORTED: its format is newer. */
    moon_status (*open)(moon_store **store, const char *place, moon_error *error);
    void (*close)(moon_store *store);
    /* MOON_OK: each has its status. Else what was kept is not known, and none of these runs goes on. */
    moon_status (*append)(moon_store *store, moon_append *appends, size_t n, moon_error *error);
    /* Records from..to (0: the last) in order, those before a fork from where it came. */
    moon_status (*read)(moon_store *store, const char *run, uint64_t from, uint64_t to,
                        bool (*row)(void *ctx, const moon_record *record), void *ctx, moon_error *error);
    /* The newest first. */
    moon_status (*list)(moon_store *store, const moon_query *query, bool (*row)(void *ctx, const moon_run_info *info),
                        void *ctx, moon_error *error);
    /* The run is ours to drive until release() or the end of this process; MOON_EBUSY: somebody else drives it. */
    moon_status (*claim)(moon_store *store, const char *run, moon_error *error);
    void (*release)(moon_store *store, const char *run);
    /* Leaves something for whoever drives the run, now or later. The same `once` twice is kept once. */
    moon_status (*post)(moon_store *store, const char *run, const char *once, const char *body, size_t length,
                        moon_error *error);
    moon_status (*inbox)(moon_store *store, const char *run,
                         bool (*row)(void *ctx, int64_t item, const char *body, size_t length), void *ctx,
                         moon_error *error);
    /* Timers up to now_us, the oldest first. */
    moon_status (*due)(moon_store *store, int64_t now_us, size_t limit,
                       bool (*row)(void *ctx, const char *run, const char *key, int64_t due_us), void *ctx,
                       moon_error *error);
    moon_status (*blob)(moon_store *store, const unsigned char *hash,
                        bool (*bytes)(void *ctx, const void *bytes, size_t length), void *ctx, moon_error *error);
    /* A number that is another one when others have written; a hint. */
    uint64_t (*version)(moon_store *store);
    /* Removes a run that nobody drives and no fork needs, and what only it used. */
    moon_status (*purge)(moon_store *store, const char *run, moon_error *error);
    /* Looks at everything; each fault is told. MOON_ECORRUPT if there was one. */
    moon_status (*check)(moon_store *store, void (*fault)(void *ctx, const char *run, const char *text), void *ctx,
                         moon_error *error);
    /* May be NULL. As open, and tells what takes long meanwhile, in a line of text: a store of an older format is
     * rewritten. */
    moon_status (*open_telling)(moon_store **store, const char *place, void (*tell)(void *ctx, const char *text),
                                void *tell_ctx, moon_error *error);
} moon_store_ops;

extern MOON_API const moon_store_ops moon_store_sqlite; /* place: a file */

/* ---- reading a runtime's journal; each waits for the disk. MOON_EUNSUPPORTED: the runtime has none ---- */

MOON_API MOON_MUST_USE moon_status moon_runtime_runs(moon_runtime *runtime, const moon_query *query,
                                                     bool (*row)(void *ctx, const moon_run_info *info), void *ctx,
                                                     moon_error *error);
/* row is called on the store's thread, while this waits. */
MOON_API MOON_MUST_USE moon_status moon_runtime_records(moon_runtime *runtime, const char *run, uint64_t from,
                                                        uint64_t to, bool (*row)(void *ctx, const moon_record *record),
                                                        void *ctx, moon_error *error);
/* Runs that have something to do at a time up to now_us (a sleep that has ended, a wait that is over), the oldest
 * first; one of several such comes several times. Whether one can be resumed, moon_runtime_runs tells. */
MOON_API MOON_MUST_USE moon_status moon_runtime_due(moon_runtime *runtime, int64_t now_us,
                                                    bool (*row)(void *ctx, const char *run, int64_t due_us), void *ctx,
                                                    moon_error *error);
/* Leaves a decision about a call that waits for approval, for whoever drives the run, now or later. call NULL: all that
 * wait. */
MOON_API MOON_MUST_USE moon_status moon_runtime_decide(moon_runtime *runtime, const char *run, const char *call,
                                                       bool allow, const char *why, moon_error *error);
/* Leaves a signal for a script that waits for it (moon.wait), now or later. json is any value; length may be SIZE_MAX.
 */
MOON_API MOON_MUST_USE moon_status moon_runtime_signal(moon_runtime *runtime, const char *run, const char *name,
                                                       const char *json, size_t length, moon_error *error);
/* Ends a run, also one that another process drives (within a second or so). It can be resumed. MOON_EEXIST: it has
 * ended. */
MOON_API MOON_MUST_USE moon_status moon_runtime_cancel(moon_runtime *runtime, const char *run, moon_error *error);
/* With the run go the snapshots of its workspace. */
MOON_API MOON_MUST_USE moon_status moon_runtime_purge(moon_runtime *runtime, const char *run, moon_error *error);
MOON_API MOON_MUST_USE moon_status moon_runtime_check(moon_runtime *runtime,
                                                      void (*fault)(void *ctx, const char *run, const char *text),
                                                      void *ctx, moon_error *error);

/* ---- snapshots of workspaces (moon_snapshot_ops, tool.h) ---- */

/* What takes them from now on, for runs that want it; NULL: nothing. A new runtime has git's. The record must outlive
 * the runtime. */
MOON_API MOON_MUST_USE moon_status moon_runtime_set_snapshots(moon_runtime *runtime, const moon_snapshot_ops *ops,
                                                              moon_error *error);
/* The last one of a kept run at or before its event `at` (0: the last of all). MOON_ENOTFOUND: there is none. This and
 * the next two wait for the disk. */
MOON_API MOON_MUST_USE moon_status moon_runtime_snapshot(moon_runtime *runtime, const char *run, uint64_t at,
                                                         moon_snapshot *snapshot, moon_error *error);
/* How many files of the run's workspace are not now as they were then. */
MOON_API MOON_MUST_USE moon_status moon_runtime_snapshot_compare(moon_runtime *runtime, const char *run,
                                                                 const moon_snapshot *snapshot, int64_t *files,
                                                                 moon_error *error);
/* Makes a directory that holds it: dir, or (NULL) one beside the repository. *workspace, the caller's to free: where
 * the run's workspace is in it. A fork that works there gets a runtime with that workspace. */
MOON_API MOON_MUST_USE moon_status moon_runtime_snapshot_restore(moon_runtime *runtime, const char *run,
                                                                 const moon_snapshot *snapshot, const char *dir,
                                                                 char **workspace, moon_error *error);

/* ---- work trees of runs (moon_worktree, tool.h) ---- */

/* Those of the workspace's repository; false from each ends it. All of these wait for the disk. */
MOON_API MOON_MUST_USE moon_status moon_runtime_worktrees(moon_runtime *runtime, const char *workspace,
                                                          bool (*each)(void *ctx, const moon_worktree *tree,
                                                                       const moon_worktree_state *state),
                                                          void *ctx, moon_error *error);
/* Commits what is in it, merges it into its base and removes it. MOON_ECONFLICT: paths were told, and the base is as it
 * was. Not while its run is driven. */
MOON_API MOON_MUST_USE moon_status moon_runtime_worktree_merge(
    moon_runtime *runtime, const moon_worktree *tree, void (*path)(void *ctx, const char *path, const char *why),
    void *ctx, moon_worktree_merged *merged, moon_error *error);
/* MOON_EBUSY: it holds what is not in its base; force removes it all the same. */
MOON_API MOON_MUST_USE moon_status moon_runtime_worktree_remove(moon_runtime *runtime, const moon_worktree *tree,
                                                                bool force, moon_error *error);

#ifdef __cplusplus
}
#endif
#endif
