/* SPDX-License-Identifier: MIT */
/* moonlet worktrees: those of agents that work in one of their own; what they hold, merged or removed by hand. */
#include "cli.h"
#include "kept.h"
#include "output.h"
#include "term.h"

#include "json.h"
#include "text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OPT_JOURNAL = MOON__OPT_OTHER, OPT_CWD, OPT_HERE, OPT_JSON, OPT_FORCE };
enum { LIST_MAX = 64 << 20 };

static const moon__cli_option options[] = {
    {"here", 0, NULL, "only those of this directory's repository (or of -C DIR)", OPT_HERE},
    {"json", 0, NULL, "as an array", OPT_JSON},
    {"force", 'f', NULL, "remove: whatever it holds is lost", OPT_FORCE},
    {"cwd", 'C', "DIR", "the directory whose journal is meant (default: the current one)", OPT_CWD},
    {"journal", 0, "FILE", "where runs are kept", OPT_JOURNAL},
    MOON__OPTION_HELP,
    {NULL, 0, NULL, NULL, 0},
};

typedef struct row {
    struct row *next;
    moon_worktree tree;
    moon_worktree_state state;
    bool claimed; /* a process drives its run */
} row;

typedef struct place {
    struct place *next;
    char path[];
} place;

typedef struct request {
    const char *journal, *cwd, *action, *target;
    bool here, json, force;
    place *places; /* workspaces of runs */
    row *first, **end;
    bool no_memory;
} request;

/* ---- gathering ---- */

static bool add_place(request *r, const char *path) {
    for (place *p = r->places; p; p = p->next)
        if (strcmp(p->path, path) == 0) return true;
    place *p = malloc(sizeof *p + strlen(path) + 1);
    if (!p) {
        r->no_memory = true;
        return false;
    }
    memcpy(p->path, path, strlen(path) + 1);
    p->next = r->places;
    r->places = p;
    return true;
}

static bool on_info(void *ctx, const moon_run_info *info) {
    return add_place(ctx, info->workspace);
}

static bool on_tree(void *ctx, const moon_worktree *tree, const moon_worktree_state *state) {
    request *r = ctx;
    for (row *at = r->first; at; at = at->next)
        if (!strcmp(at->tree.run, tree->run) && !strcmp(at->tree.path, tree->path)) return true;
    row *made = calloc(1, sizeof *made);
    if (!made) {
        r->no_memory = true;
        return false;
    }
    made->tree = *tree;
    made->state = *state;
    *r->end = made;
    r->end = &made->next;
    return true;
}

static bool on_run(void *ctx, const moon_run_info *info) {
    row *at = ctx;
    at->claimed = info->claimed;
    return false;
}

static moon_status ask_store(request *r, moon_runtime *runtime, moon_error *error) {
    moon_status status = MOON_OK;
    for (row *at = r->first; at && !status; at = at->next) {
        moon_query query = {.run = at->tree.run, .state = -1, .limit = 1};
        status = moon_runtime_runs(runtime, &query, on_run, at, error);
    }
    return status;
}

/* A workspace that is gone, or has no repository any more, has no worktrees. */
static moon_status gather(request *r, moon_runtime *runtime, moon_error *error) {
    char here[4096];
    moon_query query = {.state = -1};
    moon_error ignored;
    moon_status status = MOON_OK;
    r->end = &r->first;
    if (!realpath(r->cwd ? r->cwd : ".", here))
        return moon_error_set(error, MOON_ENOTFOUND, "no directory %.300s", r->cwd ? r->cwd : ".");
    if (!r->here) status = moon_runtime_runs(runtime, &query, on_info, r, error);
    if (!status) (void)add_place(r, here);
    for (place *p = r->places; p && !status; p = p->next)
        if (moon_runtime_worktrees(runtime, p->path, on_tree, r, &ignored) && r->here)
            status = moon_error_set(error, ignored.code, "%s", ignored.text);
    if (!status) status = ask_store(r, runtime, error);
    return !status && r->no_memory ? moon_error_set(error, MOON_ENOMEM, "out of memory") : status;
}

static void free_all(request *r) {
    for (place *p = r->places, *next; p; p = next) {
        next = p->next;
        free(p);
    }
    for (row *at = r->first, *next; at; at = next) {
        next = at->next;
        free(at);
    }
}

/* ---- the list ---- */

static const char *state_of(const row *at) {
    if (at->claimed) return "in use";
    if (at->state.gone) return "gone";
    if (at->state.conflicts) return "conflicts";
    return at->state.files || at->state.ahead ? "unmerged" : "merged";
}

static const char *path_of(const row *at) {
    return *at->tree.path ? at->tree.path : "root";
}

static void put_json(moon__jw *w, const row *at) {
    moon__jw_object(w, NULL);
    moon__jw_str(w, "run", at->tree.run, SIZE_MAX);
    moon__jw_str(w, "path", at->tree.path, SIZE_MAX);
    moon__jw_str(w, "agent", at->tree.agent, SIZE_MAX);
    moon__jw_str(w, "state", state_of(at), SIZE_MAX);
    moon__jw_int(w, "files", at->state.files);
    moon__jw_int(w, "ahead", at->state.ahead);
    moon__jw_int(w, "conflicts", at->state.conflicts);
    moon__jw_str(w, "dir", at->tree.dir, SIZE_MAX);
    moon__jw_str(w, "branch", at->tree.branch, SIZE_MAX);
    moon__jw_str(w, "into", at->tree.into, SIZE_MAX);
    moon__jw_str(w, "base", at->tree.base, SIZE_MAX);
    moon__jw_end(w);
}

static void put_count(moon__buf *text, int64_t n, const char *what, bool *any) {
    if (!n) return;
    moon__buf_printf(text, "%s%lld %s%s", *any ? ", " : ": ", (long long)n, what, n == 1 ? "" : "s");
    *any = true;
}

static void put_row(moon__buf *text, const row *at) {
    bool any = false;
    moon__buf_printf(text, "%s:%s  %s  %s", at->tree.run, path_of(at), at->tree.agent, state_of(at));
    put_count(text, at->state.conflicts, "conflicting file", &any);
    put_count(text, at->state.files, "uncommitted file", &any);
    put_count(text, at->state.ahead, "unmerged commit", &any);
    moon__buf_printf(text, "\n  %s\n  %s into %s\n", at->tree.dir, at->tree.branch, at->tree.into);
}

static int list(const request *r) {
    moon__buf text;
    moon__jw w;
    moon__buf_init(&text, LIST_MAX);
    moon__jw_init(&w, &text);
    if (r->json) moon__jw_array(&w, NULL);
    for (const row *at = r->first; at; at = at->next)
        if (r->json)
            put_json(&w, at);
        else
            put_row(&text, at);
    if (r->json) {
        moon__jw_end(&w);
        moon__buf_char(&text, '\n');
    } else if (!r->first)
        moon__cli_error("no worktrees of agents%s", r->here ? " in this repository" : "");
    return moon__cli_print(&text);
}

/* ---- one of them ---- */

/* "RUN", or "RUN:PATH". */
static bool fits(const row *at, const char *target) {
    size_t n = strcspn(target, ":");
    const char *path = target[n] ? target + n + 1 : NULL;
    if (!n || strncmp(at->tree.run, target, n) != 0) return false;
    return !path || !strcmp(path, at->tree.path) || (!*at->tree.path && !strcmp(path, "root"));
}

static row *find(const request *r) {
    row *found = NULL;
    unsigned n = 0;
    for (row *at = r->first; at; at = at->next)
        if (fits(at, r->target)) {
            found = at;
            n++;
        }
    if (n == 1) return found;
    if (!n) {
        moon__cli_error("there is no worktree of %s; `moonlet worktrees` lists them", r->target);
        return NULL;
    }
    moon__cli_error("%u worktrees are meant by %s; give one of:", n, r->target);
    for (row *at = r->first; at; at = at->next)
        if (fits(at, r->target)) moon__cli_error("  %s:%s", at->tree.run, path_of(at));
    return NULL;
}

static int say(const char *format, const char *a, const char *b) {
    moon__buf text;
    moon__buf_init(&text, 16 << 10);
    moon__buf_printf(&text, format, a, b);
    return moon__cli_print(&text);
}

static void on_path(void *ctx, const char *path, const char *why) {
    (void)ctx;
    moon__cli_error("  %s: %s", path, why);
}

static int merge(moon_runtime *runtime, const row *at) {
    moon_worktree_merged merged;
    moon_error error = {0};
    if (at->state.gone) {
        moon__cli_error("its directory %s is gone; what was committed is on branch %s", at->tree.dir, at->tree.branch);
        return MOON__EXIT_FAILED;
    }
    moon_status status = moon_runtime_worktree_merge(runtime, &at->tree, on_path, NULL, &merged, &error);
    if (!status) return say("%s is merged into %s, and its worktree removed\n", at->tree.branch, at->tree.into);
    moon__cli_error("%s%s", *merged.head ? "it is merged, and stays: " : "not merged: ", error.text);
    return MOON__EXIT_FAILED;
}

static int remove_one(moon_runtime *runtime, const row *at, bool force) {
    moon_error error = {0};
    moon_status status = moon_runtime_worktree_remove(runtime, &at->tree, force, &error);
    if (!status) return say("%s and branch %s are removed\n", at->tree.dir, at->tree.branch);
    moon__cli_error("not removed: %s%s", error.text,
                    status == MOON_EBUSY ? "; merge it, or give --force, and that is lost" : "");
    return MOON__EXIT_FAILED;
}

static int act(const request *r, moon_runtime *runtime) {
    const row *at = find(r);
    if (!at) return MOON__EXIT_USAGE;
    if (at->claimed) {
        moon__cli_error("run %s is being driven: its worktree is in use", at->tree.run);
        return MOON__EXIT_FAILED;
    }
    return *r->action == 'm' ? merge(runtime, at) : remove_one(runtime, at, r->force);
}

/* ---- the command ---- */

/* NULL, or what is wrong. */
static const char *take(request *r, int id, const char *value) {
    switch (id) {
    case OPT_JOURNAL: r->journal = value; break;
    case OPT_CWD: r->cwd = value; break;
    case OPT_HERE: r->here = true; break;
    case OPT_JSON: r->json = true; break;
    case OPT_FORCE: r->force = true; break;
    default:
        if (r->action && r->target) return "one worktree at a time";
        if (r->action)
            r->target = value;
        else if (!strcmp(value, "merge") || !strcmp(value, "remove"))
            r->action = value;
        else
            return "what it can do is merge and remove; without either it lists";
    }
    return NULL;
}

static const char *check(const request *r) {
    if (r->action && !r->target) return "RUN or RUN:PATH is needed; `moonlet worktrees` lists them";
    if (r->force && (!r->action || *r->action != 'r')) return "--force goes with remove";
    if (r->json && r->action) return "--json goes with the list";
    return NULL;
}

static int worktrees_main(const moon__cli_command *self, int argc, char **argv) {
    moon__cli_args args;
    request r = {.journal = NULL};
    moon_runtime *runtime;
    moon_error error = {0};
    moon__cli_args_init(&args, options, argc, argv);
    for (int id; (id = moon__cli_args_next(&args)) != MOON__ARG_END;) {
        if (id == MOON__ARG_WRONG) return moon__cli_usage(self, "%s", args.error);
        if (id == MOON__OPT_HELP) return moon__cli_help(self);
        const char *wrong = take(&r, id, args.value);
        if (wrong) return moon__cli_usage(self, "%s", wrong);
    }
    const char *wrong = check(&r);
    if (wrong) return moon__cli_usage(self, "%s", wrong);
    int code = moon__cli_kept_open(&runtime, r.journal, r.cwd);
    if (code != MOON__EXIT_OK) return code;
    if (gather(&r, runtime, &error) != MOON_OK)
        code = moon__cli_fail(&error);
    else
        code = r.action ? act(&r, runtime) : list(&r);
    free_all(&r);
    moon_runtime_free(runtime);
    return code;
}

const moon__cli_command moon__cli_cmd_worktrees = {
    .name = "worktrees",
    .operands = "[merge|remove RUN[:PATH]] [OPTIONS]",
    .summary = "list, merge or remove the worktrees of agents",
    .about =
        "An agent with `workspace = \"worktree\"` works in a git worktree of its own, which is merged back and "
        "removed\n"
        "when it ends well. Those that are left are listed: of runs that go on (in use), or that were ended, and of\n"
        "such as could not be merged. \"unmerged\": they hold files or commits that the branch they are made from "
        "does\n"
        "not have; \"conflicts\": these cannot be merged as they are; \"merged\": nothing would be lost with them;\n"
        "\"gone\": the directory is.\n\n"
        "merge commits what is in one, merges it, and removes it. What stands in the way is told by path, and then\n"
        "nothing is changed (exit code 1). remove takes only what holds nothing unmerged, unless --force is given.\n"
        "PATH is the agent's place in its run, \"root\" the run itself; where a run has one worktree, RUN will do.",
    .examples = "moonlet worktrees --here\n"
                "moonlet worktrees merge 1k1a:2.1\n"
                "moonlet worktrees remove 1k1a --force\n"
                "moonlet worktrees --json | jq -r '.[] | select(.state == \"unmerged\") | .dir'",
    .options = options,
    .main = worktrees_main,
};
