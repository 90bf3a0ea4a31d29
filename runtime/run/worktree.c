/* SPDX-License-Identifier: MIT */
#include "worktree.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "runtime.h"
#include "text.h"

enum { CONFLICTS_MAX = 1000, PATHS_TOLD = 8, TASK_SHOWN = 60 };

typedef enum work { MAKE, COMMIT, MERGE, REMOVE } work;

struct moon__worktree {
    moon_run *run;
    moon_worktree tree;
    moon__scratch *scratch;
    void (*done)(void *ctx);
    void *ctx;
    moon__defer begin;
    bool gone; /* its directory is, after its work was committed */
    char commit[72];
    int64_t files;
    moon__durable durable;
    moon__worktree *next; /* waits to be merged */

    /* What is done on a worker. */
    moon__job job;
    work what;
    const moon_snapshot_ops *ops;
    char *from, *message;
    moon_worktree_merged merged;
    atomic_bool cancelled;
    moon__buf conflicts, told; /* a JSON array; and the first of them for people */
    unsigned n_conflicts;
    moon_status status;
    moon_error error;
};

/* ---- for others ---- */

moon__scratch *moon__worktree_scratch(const moon__worktree *w) {
    return w->scratch;
}

const moon__worktree *moon__worktree_of(const moon_run *run) {
    for (; run; run = run->parent)
        if (run->worktree) return run->worktree;
    return NULL;
}

void moon__worktree_free(moon__worktree *w) {
    if (!w) return;
    moon__scratch_free(w->scratch);
    moon__buf_fini(&w->conflicts);
    moon__buf_fini(&w->told);
    free(w->from);
    free(w->message);
    free(w);
}

/* ---- events ---- */

static const char *id_of(const moon__worktree *w) {
    return w->run->tree->journal.id;
}

/* Begins the body of an event. */
static moon__jw event(moon__buf *body, const moon__worktree *w) {
    moon__jw jw;
    moon__buf_init(body, 16 << 20);
    moon__jw_init(&jw, body);
    moon__jw_object(&jw, NULL);
    moon__jw_str(&jw, "branch", w->tree.branch, SIZE_MAX);
    return jw;
}

static void tell(moon__worktree *w, moon__jw *jw, moon__buf *body, moon_event_type type, const char *key) {
    moon__jw_end(jw);
    moon__run_event(w->run, type, key, body);
    moon__buf_fini(body);
}

static void tell_made(moon__worktree *w) {
    const moon_worktree *tree = &w->tree;
    moon__buf body;
    moon__jw jw = event(&body, w);
    moon__jw_str(&jw, "into", tree->into, SIZE_MAX);
    moon__jw_str(&jw, "commit", tree->commit, SIZE_MAX);
    moon__jw_str(&jw, "dir", tree->dir, SIZE_MAX);
    moon__jw_str(&jw, "workspace", tree->workspace, SIZE_MAX);
    moon__jw_str(&jw, "base", tree->base, SIZE_MAX);
    if (tree->dirty) moon__jw_int(&jw, "dirty", tree->dirty);
    tell(w, &jw, &body, MOON_EVENT_WORKTREE_MADE, id_of(w));
}

static void tell_merging(moon__worktree *w) {
    moon__buf body;
    moon__jw jw = event(&body, w);
    moon__jw_str(&jw, "into", w->tree.into, SIZE_MAX);
    moon__jw_str(&jw, "commit", w->commit, SIZE_MAX);
    tell(w, &jw, &body, MOON_EVENT_WORKTREE_MERGING, w->commit);
}

static void tell_merged(moon__worktree *w) {
    moon__buf body;
    moon__jw jw = event(&body, w);
    moon__jw_str(&jw, "into", w->tree.into, SIZE_MAX);
    moon__jw_str(&jw, "commit", w->commit, SIZE_MAX);
    moon__jw_str(&jw, "head", w->merged.head, SIZE_MAX);
    moon__jw_int(&jw, "files", w->merged.files);
    tell(w, &jw, &body, MOON_EVENT_WORKTREE_MERGED, w->commit);
}

/* Each time that it is tried. */
static void tell_unmerged(moon__worktree *w, const char *why) {
    moon__buf body;
    char key[120];
    moon__jw jw = event(&body, w);
    moon__jw_str(&jw, "into", w->tree.into, SIZE_MAX);
    moon__jw_str(&jw, "dir", w->tree.dir, SIZE_MAX);
    moon__jw_str(&jw, "why", why, SIZE_MAX);
    if (w->run->conflicts) moon__jw_raw(&jw, "conflicts", w->run->conflicts, SIZE_MAX);
    snprintf(key, sizeof key, "%s %llu", id_of(w), (unsigned long long)w->run->tree->journal.seq);
    tell(w, &jw, &body, MOON_EVENT_WORKTREE_UNMERGED, key);
}

/* Under a key of its own: scripts' lines are counted. */
static void warn(moon__worktree *w, const char *key, const char *text) {
    moon__buf body;
    if (!moon__run_tells(w->run, MOON_EVENT_LOG, key)) return;
    moon__buf_init(&body, 64 << 10);
    moon__buf_str(&body, "{\"level\":\"warn\",\"text\":");
    moon__buf_quoted(&body, text, strlen(text));
    moon__buf_char(&body, '}');
    moon__run_event(w->run, MOON_EVENT_LOG, key, &body);
    moon__buf_fini(&body);
}

/* ---- on a worker ---- */

static bool cancelled(void *ctx) {
    moon__worktree *w = ctx;
    return atomic_load(&w->cancelled);
}

static void on_path(void *ctx, const char *path, const char *why) {
    moon__worktree *w = ctx;
    if (w->n_conflicts++ >= CONFLICTS_MAX) return;
    moon__buf_str(&w->conflicts, w->conflicts.len ? ",{\"path\":" : "[{\"path\":");
    moon__buf_quoted(&w->conflicts, path, strlen(path));
    moon__buf_str(&w->conflicts, ",\"why\":");
    moon__buf_quoted(&w->conflicts, why, strlen(why));
    moon__buf_char(&w->conflicts, '}');
    if (w->n_conflicts <= PATHS_TOLD) moon__buf_printf(&w->told, "%s%.300s (%s)", w->told.len ? ", " : "", path, why);
}

static void do_work(void *ctx) {
    moon__worktree *w = ctx;
    moon_worktree_use use = {
        .tree = &w->tree, .message = w->message, .from = w->from, .cancelled = cancelled, .path = on_path, .ctx = w};
    switch (w->what) {
    case MAKE: w->status = w->ops->worktree_make(&use, &w->error); break;
    case COMMIT: w->status = w->ops->worktree_commit(&use, w->commit, &w->files, &w->error); break;
    case MERGE: w->status = w->ops->worktree_merge(&use, w->commit, &w->merged, &w->error); break;
    case REMOVE: w->status = w->ops->worktree_remove(&use, &w->error); break;
    }
}

static void on_work(void *ctx);

/* The run is held until it is done. */
static void start_work(moon__worktree *w, work what) {
    w->what = what;
    w->error = (moon_error){.code = MOON_OK};
    w->ops = w->run->runtime->snapshots;
    w->job = (moon__job){.work = do_work, .done = on_work, .ctx = w};
    moon_run_ref(w->run);
    moon_error error;
    moon_status status = moon__pool_submit(w->run->runtime->pool, &w->job, &error); /* from here on w is the worker's */
    if (!status) return;
    w->status = status;
    w->error = error;
    w->begin = (moon__defer){.fn = on_work, .ctx = w};
    moon__defer_call(w->run->runtime->loop, &w->begin);
}

/* ---- entering ---- */

/* One that cannot go on is stopped: it need not have used what was recorded. */
static void entered(moon__worktree *w, moon_stop stop, const char *why) {
    if (stop != MOON_STOP_DONE) moon__run_stop(w->run, stop, why);
    w->done(w->ctx);
}

static void failed(moon__worktree *w, moon_stop stop, const char *format, const char *text) {
    char why[600];
    snprintf(why, sizeof why, format, text);
    entered(w, stop, why);
}

/* Its files are what tools see from now on. */
static void go_in(moon__worktree *w) {
    moon_run *run = w->run;
    moon_error error = {.code = MOON_OK};
    moon__scratch *part = moon__annex_take(&run->tree->annexes, run->path);
    moon_status status = part ? MOON_OK : moon__scratch_part(&part, run->tree->scratch, w->tree.workspace, &error);
    if (!status) status = moon__scratch_enter(part, w->tree.workspace, &error);
    if (status) {
        moon__scratch_free(part);
        failed(w, MOON_STOP_FAILED, "the worktree cannot be used: %.500s", error.text);
        return;
    }
    w->scratch = part;
    entered(w, MOON_STOP_DONE, NULL);
}

static void warn_dirty(moon__worktree *w) {
    char text[300];
    snprintf(text, sizeof text,
             "%lld file%s of the workspace %s not committed: the worktree of %.60s is made without them",
             (long long)w->tree.dirty, w->tree.dirty == 1 ? "" : "s", w->tree.dirty == 1 ? "is" : "are",
             w->run->runnable->name);
    warn(w, "worktree dirty", text);
}

static void on_made(moon__worktree *w) {
    if (w->status == MOON_EUNSUPPORTED) {
        failed(w, MOON_STOP_CONFIG, "no worktree can be made of the workspace: %.500s", w->error.text);
    } else if (w->status) {
        failed(w, MOON_STOP_FAILED, "no worktree was made: %.500s", w->error.text);
    } else {
        tell_made(w);
        if (w->tree.dirty) warn_dirty(w);
        go_in(w);
    }
}

static bool is_there(const char *dir) {
    struct stat st;
    return dir && !stat(dir, &st) && S_ISDIR(st.st_mode);
}

static bool take_text(char *out, size_t size, const moon_json *body, const char *name) {
    const char *text = moon_json_str(moon_json_get(body, name), NULL);
    int n = snprintf(out, size, "%s", text ? text : "");
    return text && n >= 0 && n < (int)size;
}

/* From its event. */
static bool read_made(moon_worktree *tree, const moon_json *body) {
    return take_text(tree->branch, sizeof tree->branch, body, "branch") &&
           take_text(tree->into, sizeof tree->into, body, "into") &&
           take_text(tree->commit, sizeof tree->commit, body, "commit") &&
           take_text(tree->dir, sizeof tree->dir, body, "dir") &&
           take_text(tree->workspace, sizeof tree->workspace, body, "workspace") &&
           take_text(tree->base, sizeof tree->base, body, "base");
}

/* What was to be merged last, in this run and not in one it was forked from. */
static bool was_merging(moon__worktree *w) {
    const moon__tree *tree = w->run->tree;
    const moon__recorded *last = moon__replay_latest(tree->replay, MOON_EVENT_WORKTREE_MERGING, w->run->path);
    if (!last || last->seq <= tree->shared) return false;
    moon_json *body = moon__run_recorded_body(w->run, last);
    bool fine = take_text(w->commit, sizeof w->commit, body, "commit");
    moon__json_free(body);
    return fine;
}

static void find_again(moon__worktree *w, const moon__recorded *made) {
    moon_json *body = moon__run_recorded_body(w->run, made);
    bool fine = body && read_made(&w->tree, body);
    moon__json_free(body);
    if (!fine)
        entered(w, MOON_STOP_JOURNAL, "the journal does not say where the worktree is");
    else if (is_there(w->tree.workspace))
        go_in(w);
    else if ((w->gone = was_merging(w)))
        entered(w, MOON_STOP_DONE, NULL); /* maybe it was merged, and all that is left is to say so */
    else
        failed(w, MOON_STOP_FAILED,
               "the worktree of this run is gone: %.400s; without it the run cannot go on, but a fork can begin anew",
               w->tree.dir);
}

/* A fork begins with the files as they are in the worktree of the run it was forked from, if that is still there. */
static void make(moon__worktree *w) {
    const moon__tree *tree = w->run->tree;
    const moon__recorded *made =
        tree->replay ? moon__replay_latest(tree->replay, MOON_EVENT_WORKTREE_MADE, w->run->path) : NULL;
    moon_json *body = made ? moon__run_recorded_body(w->run, made) : NULL;
    const char *dir = moon_json_str(moon_json_get(body, "dir"), NULL);
    if (is_there(dir)) w->from = moon__strdup(dir);
    moon__json_free(body);
    start_work(w, MAKE);
}

/* A replay that only shows touches no files. */
static void rehearse(moon__worktree *w) {
    moon_run *run = w->run;
    if (run->tree->rehearsal == MOON__REHEARSE_TOOLS) {
        entered(w, MOON_STOP_FAILED, "tools of an agent with a worktree cannot be called again in a replay");
        return;
    }
    const moon__recorded *made = moon__replay_latest(run->tree->replay, MOON_EVENT_WORKTREE_MADE, run->path);
    if (made) moon__run_show(run, made);
    entered(w, MOON_STOP_DONE, NULL);
}

static void begin(void *ctx) {
    moon__worktree *w = ctx;
    moon_run *run = w->run;
    const moon_snapshot_ops *ops = run->runtime->snapshots;
    const moon__recorded *made = moon__run_recorded(run, MOON_EVENT_WORKTREE_MADE, id_of(w));
    if (run->stopping)
        entered(w, run->stop_why, NULL);
    else if (run->tree->rehearsal)
        rehearse(w);
    else if (!ops || !ops->worktree_make)
        entered(w, MOON_STOP_CONFIG, "this program has nothing that makes worktrees");
    else if (made)
        find_again(w, made);
    else
        make(w);
}

static bool set_texts(moon__worktree *w) {
    const moon_run *run = w->run;
    const char *base = moon__space_path(moon__scratch_space(moon__run_scratch(run)));
    int path = snprintf(w->tree.path, sizeof w->tree.path, "%s", run->path),
        length = snprintf(w->tree.base, sizeof w->tree.base, "%s", base);
    snprintf(w->tree.run, sizeof w->tree.run, "%s", id_of(w));
    snprintf(w->tree.agent, sizeof w->tree.agent, "%.120s", run->runnable->name);
    return path < (int)sizeof w->tree.path && length < (int)sizeof w->tree.base;
}

moon_status moon__worktree_enter(moon_run *run, void (*done)(void *ctx), void *ctx, moon_error *error) {
    moon__worktree *w = calloc(1, sizeof *w);
    if (!w) return moon_error_set(error, MOON_ENOMEM, "no memory for a worktree");
    w->run = run;
    w->done = done;
    w->ctx = ctx;
    w->begin = (moon__defer){.fn = begin, .ctx = w};
    atomic_init(&w->cancelled, false);
    moon__buf_init(&w->conflicts, 4 << 20);
    moon__buf_init(&w->told, 64 << 10);
    if (!set_texts(w)) {
        moon__worktree_free(w);
        return moon_error_set(error, MOON_ELIMIT, "the run is nested too deeply for a worktree of its own");
    }
    run->worktree = w;
    moon__defer_call(run->runtime->loop, &w->begin);
    return MOON_OK;
}

void moon__worktree_cancel(moon_run *run) {
    atomic_store(&run->worktree->cancelled, true);
}

/* ---- leaving ---- */

static void left(moon__worktree *w) {
    moon__run_left(w->run);
}

/* The agent's answer stands; its files stay where they are. */
static void unmerged(moon__worktree *w) {
    moon__buf text;
    moon__buf_init(&text, 16 << 10);
    if (w->conflicts.len && !w->conflicts.status) {
        moon__buf_char(&w->conflicts, ']');
        w->run->conflicts = moon__buf_take(&w->conflicts);
    }
    moon__buf_printf(&text, "the work was not merged: %.400s", w->error.text);
    if (w->told.len) moon__buf_printf(&text, ": %s", w->told.p);
    if (w->n_conflicts > PATHS_TOLD) moon__buf_printf(&text, " and %u more", w->n_conflicts - PATHS_TOLD);
    moon__buf_printf(&text, "; it is on branch %.255s, in %.500s", w->tree.branch, w->tree.dir);
    const char *why = text.p && !text.status ? text.p : w->error.text;
    tell_unmerged(w, why);
    moon__run_unmerged(w->run, why);
    moon__buf_fini(&text);
    left(w);
}

static void next_merge(moon_runtime *rt) {
    if (rt->merges.first) start_work(rt->merges.first, MERGE);
}

static void queue(moon__worktree *w) {
    moon__worktree **end = &w->run->runtime->merges.first;
    bool first = !*end;
    while (*end) end = &(*end)->next;
    *end = w;
    w->next = NULL;
    if (first) next_merge(w->run->runtime);
}

static void on_durable(void *ctx, moon_status status) {
    moon__worktree *w = ctx;
    if (!status) {
        queue(w);
        return;
    }
    moon_error_set(&w->error, status, "the journal is lost");
    unmerged(w);
}

/* The intent is on the disk before anything of the base is changed. */
static void merge(moon__worktree *w) {
    moon__journal *journal = &w->run->tree->journal;
    tell_merging(w);
    w->durable = (moon__durable){.fn = on_durable, .ctx = w};
    if (moon__journal_wait(journal, &w->durable)) queue(w);
}

static void on_committed(moon__worktree *w) {
    const moon__recorded *was = w->status ? NULL : moon__run_recorded(w->run, MOON_EVENT_WORKTREE_MERGED, w->commit);
    if (w->status)
        unmerged(w);
    else if (was && was->seq > w->run->tree->shared)
        start_work(w, REMOVE);
    else
        merge(w);
}

static void on_merged(moon__worktree *w) {
    moon_runtime *rt = w->run->runtime;
    rt->merges.first = w->next;
    next_merge(rt);
    if (w->status) {
        unmerged(w);
        return;
    }
    tell_merged(w);
    start_work(w, REMOVE);
}

static void on_removed(moon__worktree *w) {
    char text[600];
    if (w->status) {
        snprintf(text, sizeof text, "the worktree is merged, and stays: %.500s", w->error.text);
        warn(w, "worktree stays", text);
    }
    left(w);
}

static void on_work(void *ctx) {
    moon__worktree *w = ctx;
    moon_run *run = w->run;
    switch (w->what) {
    case MAKE: on_made(w); break;
    case COMMIT: on_committed(w); break;
    case MERGE: on_merged(w); break;
    case REMOVE: on_removed(w); break;
    }
    moon_run_unref(run);
}

/* As it ended then. */
static void leave_rehearsal(moon__worktree *w) {
    moon_run *run = w->run;
    const moon__replay *replay = run->tree->replay;
    const moon__recorded *merged = moon__replay_latest(replay, MOON_EVENT_WORKTREE_MERGED, run->path),
                         *not = moon__replay_latest(replay, MOON_EVENT_WORKTREE_UNMERGED, run->path);
    if (merged) moon__run_show(run, merged);
    if (not &&(!merged || not ->seq > merged->seq)) {
        moon_json *body = moon__run_recorded_body(run, not );
        const char *why = moon_json_str(moon_json_get(body, "why"), NULL);
        moon__run_show(run, not );
        moon__run_unmerged(run, why ? why : "the work was not merged");
        moon__json_free(body);
    }
    left(w);
}

/* "fixer: make it compile" */
static char *message_of(const moon_run *run) {
    moon__buf text;
    size_t n = strcspn(run->input, "\r\n");
    if (n > TASK_SHOWN) n = moon__utf8_floor(run->input, TASK_SHOWN);
    moon__buf_init(&text, 4096);
    moon__buf_printf(&text, "%.60s%s%.*s\n\nBy run %s%s%.1000s.\n", run->runnable->name, n ? ": " : "", (int)n,
                     run->input, run->tree->journal.id, *run->path ? ", path " : "", run->path);
    char *message = moon__buf_take(&text);
    moon__buf_fini(&text);
    return message;
}

static void begin_leave(void *ctx) {
    moon__worktree *w = ctx;
    if (w->run->tree->rehearsal) {
        leave_rehearsal(w);
    } else if (w->gone) {
        merge(w);
    } else if ((w->message = message_of(w->run))) {
        start_work(w, COMMIT);
    } else {
        moon_error_set(&w->error, MOON_ENOMEM, "out of memory");
        unmerged(w);
    }
}

void moon__worktree_leave(moon_run *run) {
    moon__worktree *w = run->worktree;
    w->begin = (moon__defer){.fn = begin_leave, .ctx = w};
    moon__defer_call(run->runtime->loop, &w->begin);
}
