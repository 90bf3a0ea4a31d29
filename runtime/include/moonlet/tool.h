/* SPDX-License-Identifier: MIT */
#ifndef MOONLET_TOOL_H
#define MOONLET_TOOL_H
/*
 * moonlet/tool.h: write a tool in C.
 *
 * A tool is one const record (moon_tool): what the model is told, what the runtime may assume (its effects), and
 * start(). The runtime checks the arguments against the JSON Schema and asks the policy first; start() then leads to
 * exactly one moon_call_done() or moon_call_fail(), at once or later. What a tool wants from the host (files of the
 * workspace, subprocesses, memory of the run) it gets from its moon_call.
 *
 * Threads. start() and cancel() run on the loop thread and must not block, unless the record says MOON_TOOL_BLOCKING:
 * then start() runs on a worker thread, one thread per call. Functions that take a moon_call may be called on the
 * thread that runs start(), or on any thread once it has returned, but never on two threads at a time for one call;
 * moon_call_cancelled(), moon_call_done() and moon_call_fail() are safe on every thread. A blocking tool that has not
 * come back five seconds after it was cancelled is left to itself, and the run goes on without it: look at
 * moon_call_cancelled() now and then. Its call stays valid for it until it ends.
 *
 * Lifetime. A moon_call and all that is got from it (arguments, paths) is valid until done or fail returns. Text is
 * UTF-8 throughout; sizes are in bytes; times in milliseconds unless the name says otherwise.
 *
 * A tool that cannot do what was asked calls moon_call_fail() with a text that the *model* reads: say what was
 * expected.
 */
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define MOON_API               __attribute__((visibility("default")))
#define MOON_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define MOON_MUST_USE          __attribute__((warn_unused_result))
#else
#define MOON_API
#define MOON_PRINTF(fmt, args)
#define MOON_MUST_USE
#endif

/* ---- status and error ---- */

#define MOON_STATUSES(X)                                                                                               \
    X(OK, 0, "success")                                                                                                \
    X(EINVAL, -1, "invalid argument")                                                                                  \
    X(ENOMEM, -2, "out of memory")                                                                                     \
    X(ELIMIT, -3, "a limit was reached")                                                                               \
    X(EIO, -4, "input/output error")                                                                                   \
    X(ENOTFOUND, -5, "not found")                                                                                      \
    X(EPARSE, -6, "malformed input")                                                                                   \
    X(ESCHEMA, -7, "does not fit the schema")                                                                          \
    X(ENET, -8, "network error")                                                                                       \
    X(EPROVIDER, -9, "the model provider refused")                                                                     \
    X(EDENIED, -10, "refused by policy")                                                                               \
    X(ECANCELLED, -11, "cancelled")                                                                                    \
    X(ETIMEOUT, -12, "timed out")                                                                                      \
    X(ESCRIPT, -13, "script error")                                                                                    \
    X(EEXIST, -14, "already exists")                                                                                   \
    X(EUNSUPPORTED, -15, "not supported here")                                                                         \
    X(ECONFLICT, -16, "somebody else has written meanwhile")                                                           \
    X(EBUSY, -17, "in use elsewhere")                                                                                  \
    X(ECORRUPT, -18, "damaged data")                                                                                   \
    X(EFULL, -19, "no space left")

typedef enum moon_status {
#define X(name, value, text) MOON_##name = (value),
    MOON_STATUSES(X)
#undef X
} moon_status;

/* A static English text for a status; never NULL. */
MOON_API const char *moon_status_text(moon_status status);

/* Detail of a failure, owned by the caller, written by the function that failed; may be NULL wherever it is taken.
 * text and where are NUL-terminated; long texts are cut. cause is an errno value or an HTTP status, 0 if none. */
typedef struct moon_error {
    moon_status code;
    int cause;
    char text[400];
    char where[112]; /* "script.lua:12", "config.lua", a path …; may be empty */
} moon_error;

/* Fills *error (unless NULL) and returns status, so that a function can end with it. */
MOON_API moon_status moon_error_set(moon_error *error, moon_status status, const char *format, ...) MOON_PRINTF(3, 4);

/* ---- JSON values, read only ---- */

/* A parsed JSON value. Every function takes NULL and treats it as an absent value, so that look-ups can be chained. */
typedef struct moon_json moon_json;

typedef enum moon_json_kind {
    MOON_JSON_ABSENT,
    MOON_JSON_NULL,
    MOON_JSON_BOOL,
    MOON_JSON_NUMBER,
    MOON_JSON_STRING,
    MOON_JSON_ARRAY,
    MOON_JSON_OBJECT,
} moon_json_kind;

MOON_API moon_json_kind moon_json_type(const moon_json *value);
/* The member of an object by exact (case-sensitive) name; NULL if there is none. */
MOON_API const moon_json *moon_json_get(const moon_json *object, const char *name);
/* A string's bytes, NUL-terminated and without inner NULs; NULL if the value is not a string. length may be NULL. */
MOON_API const char *moon_json_str(const moon_json *value, size_t *length);
/* False, and *out untouched, unless the value is an integral number of magnitude up to 2^53. */
MOON_API bool moon_json_int(const moon_json *value, int64_t *out);
MOON_API bool moon_json_num(const moon_json *value, double *out);
MOON_API bool moon_json_bool(const moon_json *value, bool *out);
/* Elements of an array or members of an object, else 0. O(n). */
MOON_API size_t moon_json_size(const moon_json *value);
/* Iteration: for (c = moon_json_first(v); c; c = moon_json_next(c)). */
MOON_API const moon_json *moon_json_first(const moon_json *value);
MOON_API const moon_json *moon_json_next(const moon_json *value);
/* The name of an object's member; NULL for others. */
MOON_API const char *moon_json_name(const moon_json *value);

/* ---- the tool record ---- */

#define MOON_TOOL_ABI 1

/* What a call does to the world, in MCP's words (ToolAnnotations, revision 2025-06-18). They decide policy defaults,
 * parallelism and what happens to a call that a crash interrupted. No flag at all means: changes things, unsafely. */
enum {
    MOON_READ_ONLY = 1 << 0,   /* changes nothing; calls run side by side */
    MOON_DESTRUCTIVE = 1 << 1, /* may delete or overwrite */
    MOON_IDEMPOTENT = 1 << 2,  /* the same call twice is as good as once */
    MOON_OPEN_WORLD = 1 << 3,  /* reaches beyond the workspace (network, other programs) */
};
enum {
    MOON_TOOL_BLOCKING = 1 << 0, /* start() runs on a worker thread and may block */
    /* Whatever it does to the world, it does through runs that it starts: after a crash it is begun again, and finds
     * what they did. So are tools of scripts. */
    MOON_TOOL_REPLAYED = 1 << 1,
};

typedef struct moon_call moon_call;

typedef struct moon_tool {
    uint32_t abi;        /* MOON_TOOL_ABI */
    uint32_t effects;    /* MOON_READ_ONLY … */
    uint32_t flags;      /* MOON_TOOL_BLOCKING … */
    uint32_t timeout_ms; /* 0: 120,000. After it the call is cancelled and fails with a text for the model */
    size_t result_max;   /* 0: 50 KiB. What the model gets; a longer result keeps head and tail, the whole is spilled */
    const char *name;    /* dotted: "group.verb"; [a-z0-9_.], at most 60 bytes */
    const char *description; /* for the model: what it does, what it returns, when to use it */
    const char *params;      /* JSON Schema (2020-12, the keywords of docs/tools.md) of the arguments; an object */
    void *self;              /* handed to start and cancel */
    void (*start)(void *self, moon_call *call, const moon_json *args);
    void (*cancel)(void *self,
                   moon_call *call); /* loop thread; may be NULL. The call must still end with done or fail */
} moon_tool;

/* A plugin is a shared object that exports one symbol: `const moon_plugin moon_plugin_v1`. */
typedef struct moon_plugin {
    uint32_t abi; /* MOON_TOOL_ABI */
    const char *name;
    const char *version;
    const moon_tool *const *tools; /* ends with NULL */
} moon_plugin;

/* ---- the result: written piece by piece, then done ---- */

/* What is written becomes the result when the call is done. Errors (memory, the 64 MiB ceiling) stick, and turn done
 * into fail. Write either text, or one JSON value with the moon_put_ functions. */
MOON_API void moon_call_write(moon_call *call, const char *text, size_t length);
MOON_API void moon_call_printf(moon_call *call, const char *format, ...) MOON_PRINTF(2, 3);

/* name is NULL inside an array and at the top. Strings are UTF-8; bytes that are not become U+FFFD. length may be
 * SIZE_MAX: NUL-terminated. */
MOON_API void moon_put_object(moon_call *call, const char *name);
MOON_API void moon_put_array(moon_call *call, const char *name);
MOON_API void moon_put_end(moon_call *call);
MOON_API void moon_put_str(moon_call *call, const char *name, const char *text, size_t length);
MOON_API void moon_put_int(moon_call *call, const char *name, int64_t value);
MOON_API void moon_put_num(moon_call *call, const char *name, double value);
MOON_API void moon_put_bool(moon_call *call, const char *name, bool value);
MOON_API void moon_put_null(moon_call *call, const char *name);

/* Ends the call. Exactly one of the two, exactly once; the call may be gone when they return. */
MOON_API void moon_call_done(moon_call *call);
/* The text is read by the model as an error result; what was written before is dropped. */
MOON_API void moon_call_fail(moon_call *call, const char *format, ...) MOON_PRINTF(2, 3);
/* Same, for an error that a function left in *error. */
MOON_API void moon_call_fail_error(moon_call *call, const moon_error *error);

/* True as soon as somebody wants the call to end (cancel, timeout): stop soon, then done or fail. */
MOON_API bool moon_call_cancelled(const moon_call *call);
/* A line for those who watch: "reading 4,000 files". Not part of the result; may be dropped. */
MOON_API void moon_call_progress(moon_call *call, const char *format, ...) MOON_PRINTF(2, 3);

/* ---- memory of a call ---- */

/* Freed when the call is; NULL when memory is out. */
MOON_API void *moon_call_alloc(moon_call *call, size_t size);

/* ---- the workspace ---- */

/* All paths of tools are relative to the workspace and resolved beneath it by the kernel (openat2 with RESOLVE_BENEATH
 * and RESOLVE_NO_MAGICLINKS): no "..", symlink or rename gets out. An absolute path that begins with the workspace's
 * own is taken as relative to it. A path that begins with "@spill/" names a result that was too long, read only. */

/* The workspace's absolute path, for programs and libraries that need one. */
MOON_API const char *moon_call_root(const moon_call *call);

/* As open(2) with O_CLOEXEC beneath the workspace; the caller closes *fd. Symlinks that stay inside are followed.
 * MOON_ENOTFOUND, MOON_EDENIED (leads outside), MOON_EIO (cause: errno). */
MOON_API MOON_MUST_USE moon_status moon_call_open(moon_call *call, const char *path, int flags, mode_t mode, int *fd,
                                                  moon_error *error);

/* Replaces or creates a file atomically (temporary file in the same directory, fsync, rename), making parent
 * directories. mode 0: that of the file it replaces, else 0666 less the umask. A symlink at path is refused. */
MOON_API MOON_MUST_USE moon_status moon_call_replace(moon_call *call, const char *path, const void *data, size_t length,
                                                     mode_t mode, moon_error *error);

/* What this run has seen of a file: remember() when it was read, recall() before it is changed. The hash is yours
 * (moon_hash() will do). recall is false if the run has not seen the path. */
MOON_API void moon_call_remember(moon_call *call, const char *path, uint64_t hash);
MOON_API bool moon_call_recall(moon_call *call, const char *path, uint64_t *hash);
MOON_API uint64_t moon_hash(const void *data, size_t length);

/* The run's own notes by name, for tools that keep something between calls (the plan does). Text is copied. get returns
 * a borrowed pointer that is good until the next set on this call's thread, NULL if there is none. Loop thread only. */
MOON_API MOON_MUST_USE moon_status moon_call_note_set(moon_call *call, const char *name, const char *text);
MOON_API const char *moon_call_note_get(moon_call *call, const char *name);

/* ---- subprocesses ---- */

typedef struct moon_exec {
    const char *const *argv; /* ends with NULL; argv[0] is looked up in PATH */
    const char *const *env;  /* ends with NULL; NULL: the host's environment without what looks like a secret */
    const char *dir;         /* beneath the workspace; NULL: its root */
    const char *input;       /* NULL: /dev/null */
    size_t input_length;
    size_t output_max;   /* 0: 4 MiB; per stream; what is over it is read and dropped, its head and tail are kept */
    uint32_t timeout_ms; /* 0: the call's */
    bool merge;          /* stderr goes where stdout goes, in order */
} moon_exec;

typedef struct moon_exec_result {
    int exit_code; /* -1 if a signal ended it or it could not be started */
    int signal;
    bool timed_out;
    bool truncated;
    const char *out;
    size_t out_length;
    const char *err;
    size_t err_length;
    int64_t wall_ms;
} moon_exec_result;

/* Starts a program in a session of its own and returns; done(ctx, …) is called once, on the loop thread, when it has
 * ended and its output is read. Its whole process group is ended on timeout, on cancel and when the leader ends. Loop
 * thread only. The result is valid during the callback. */
MOON_API MOON_MUST_USE moon_status moon_call_exec(moon_call *call, const moon_exec *exec,
                                                  void (*done)(void *ctx, const moon_exec_result *result), void *ctx,
                                                  moon_error *error);

/* ---- snapshots of the workspace ---- */

/* Not a tool: how a run's workspace is kept beside its journal, so that a fork can have it as it was. The built-in one
 * is git's; moon_runtime_set_snapshots() takes another. Its functions block and come from any thread, of one run one at
 * a time. What the user has (files, index, HEAD, branches) stays as it is. */
#define MOON_SNAPSHOT_ABI 2

typedef struct moon_snapshot {
    uint64_t at;     /* the workspace is as it was after this event; 0: before all of the run */
    char commit[72]; /* ids in hexadecimal: the snapshot's own ... */
    char tree[72];   /* ... and what is in it */
    char head[72];   /* the commit that was checked out; "" if there was none */
    char ref[136];   /* the name it is found by */
    int64_t files;   /* that differ from the snapshot before */
} moon_snapshot;

typedef struct moon_snapshot_request {
    const char *workspace;       /* absolute */
    const char *run;             /* its id */
    uint64_t at;                 /* what the snapshot's is to be */
    const moon_snapshot *before; /* the last one of the run; NULL: none */
    const char *label;           /* a line for people: what was done since */
    const char *cache;           /* a private file for what makes the next one cheap; NULL: there is no next */
    const char *skip;            /* files whose absolute path begins so are the journal's, and left out; NULL: none */
    bool (*cancelled)(void *ctx);
    void (*left_out)(void *ctx, const char *path, const char *why); /* a file that is not in it; on the same thread */
    void *ctx;
} moon_snapshot_request;

/* A work tree of its own for a part of a run (an agent with `workspace = "worktree"`): on a branch of its own, merged
 * back into the branch it began at. Texts are "" until they are known. */
typedef struct moon_worktree {
    char run[64];         /* its id */
    char path[1024];      /* the part's place in the run */
    char agent[128];      /* its name */
    char base[4096];      /* absolute: the workspace it is made of, and merged back into */
    char dir[4096];       /* absolute: itself */
    char workspace[4096]; /* the base's place in it */
    char branch[256];     /* its branch, */
    char into[256];       /* and the base's; without refs/heads/ */
    char commit[72];      /* where it began */
    int64_t dirty;        /* files of the base that were not as committed then; they are not in it */
} moon_worktree;

typedef struct moon_worktree_state {
    bool gone;         /* its directory is */
    int64_t files;     /* that are not committed in it */
    int64_t ahead;     /* commits of its branch that the base's does not have */
    int64_t conflicts; /* files in which these cannot be merged into what the base has committed */
} moon_worktree_state;

typedef struct moon_worktree_use {
    moon_worktree *tree;
    const char *message; /* of a commit */
    const char *from;    /* make: another one whose files it begins with; NULL: as the base's commit is */
    bool force;          /* remove: whatever it holds */
    bool (*cancelled)(void *ctx);
    void (*path)(void *ctx, const char *path, const char *why); /* of a file that stands in the way */
    void *ctx;
} moon_worktree_use;

typedef struct moon_worktree_merged {
    char head[72]; /* what the base's branch leads to now */
    int64_t files; /* of the base that have changed */
    bool refused;  /* on failure: the base is as it was, and it may be tried again */
} moon_worktree_merged;

typedef struct moon_snapshot_ops {
    uint32_t abi; /* MOON_SNAPSHOT_ABI */
    /* If nothing has changed since `before`, *out is *before and nothing was kept. MOON_EUNSUPPORTED: of this workspace
     * there can be none. MOON_ECANCELLED. */
    moon_status (*take)(const moon_snapshot_request *request, moon_snapshot *out, moon_error *error);
    /* How many files of the workspace differ from `before`. */
    moon_status (*compare)(const moon_snapshot_request *request, int64_t *files, moon_error *error);
    /* `before` as a directory of its own: `dir`, which is made, or (NULL) one beside what holds the workspace.
     * *workspace: the workspace's place in it; malloc'd. MOON_ENOTFOUND: the snapshot is no more. */
    moon_status (*restore)(const moon_snapshot_request *request, const char *dir, char **workspace, moon_error *error);
    /* Forgets all snapshots of a run. */
    moon_status (*drop)(const char *workspace, const char *run, moon_error *error);

    /* Work trees; all NULL where there can be none. Each may be called again after a crash. Given run, path, agent and
     * base, the rest is filled in; what an attempt that was cut off has left is removed, so it must hold nothing yet.
     * MOON_EUNSUPPORTED: of this workspace there can be none. */
    moon_status (*worktree_make)(const moon_worktree_use *use, moon_error *error);
    /* All that is in it, on its branch; *files: how many that were not committed. commit: what the branch leads to. */
    moon_status (*worktree_commit)(const moon_worktree_use *use, char commit[72], int64_t *files, moon_error *error);
    /* Merges a commit of the branch into the base: its branch, its index and its files. Nothing is done if that was
     * done. MOON_ECONFLICT: paths were told, and nothing was changed. */
    moon_status (*worktree_merge)(const moon_worktree_use *use, const char *commit, moon_worktree_merged *merged,
                                  moon_error *error);
    /* MOON_EBUSY: it holds what is not in the base. MOON_OK also if it is no more. */
    moon_status (*worktree_remove)(const moon_worktree_use *use, moon_error *error);
    /* All that the workspace's repository has, or those of one run, with their states; false from each ends it. */
    moon_status (*worktree_list)(const char *workspace, const char *run,
                                 bool (*each)(void *ctx, const moon_worktree *tree, const moon_worktree_state *state),
                                 void *ctx, moon_error *error);
} moon_snapshot_ops;

extern MOON_API const moon_snapshot_ops moon_snapshots_git; /* refs/moonlet/RUN/N of the workspace's repository */

#ifdef __cplusplus
}
#endif
#endif
