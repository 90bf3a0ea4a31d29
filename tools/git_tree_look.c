/* SPDX-License-Identifier: MIT */
/* What work trees of runs hold, the list of them, and the end of one. */
#include "git_tree.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "git_lock.h"
#include "git_scan.h"

static moon_status failed(const moon__git_job *job, moon_status status, moon_error *error) {
    return moon_error_set(error, status, "%s", job->error);
}

/* ---- notes ---- */

static bool take_line(const char **at, char *out, size_t size) {
    size_t n = strcspn(*at, "\n");
    bool fits = n < size;
    if (fits) {
        memcpy(out, *at, n);
        out[n] = 0;
    }
    *at += n + ((*at)[n] == '\n');
    return fits;
}

/* No path of a note may lead out of its work tree: only the directory's own name is trusted, which points back. */
bool moon__git_tree_read(moon_worktree *tree, const moon__git_noted *noted) {
    const char *at = noted->note;
    char prefix[PATH_MAX];
    *tree = (moon_worktree){.dirty = 0};
    if (!take_line(&at, tree->run, sizeof tree->run) || !take_line(&at, tree->path, sizeof tree->path) ||
        !take_line(&at, tree->agent, sizeof tree->agent) || !take_line(&at, tree->base, sizeof tree->base) ||
        !take_line(&at, tree->branch, sizeof tree->branch) || !take_line(&at, tree->into, sizeof tree->into) ||
        !take_line(&at, tree->commit, sizeof tree->commit) || !take_line(&at, prefix, sizeof prefix))
        return false;
    snprintf(tree->dir, sizeof tree->dir, "%s", noted->top);
    int n = snprintf(tree->workspace, sizeof tree->workspace, "%s/%s", noted->top, prefix);
    while (n > 1 && n < (int)sizeof tree->workspace && tree->workspace[n - 1] == '/') tree->workspace[--n] = 0;
    return *tree->run && tree->base[0] == '/' && !strncmp(tree->branch, "moonlet/", 8) && *tree->into;
}

typedef struct search {
    const moon_worktree *tree;
    moon__git_noted *noted;
    moon_worktree *read;
    bool found;
} search;

static bool on_noted(void *ctx, const moon__git_noted *noted) {
    search *s = ctx;
    if (!moon__git_tree_read(s->read, noted) || strcmp(s->read->run, s->tree->run) != 0 ||
        strcmp(s->read->path, s->tree->path) != 0)
        return true;
    *s->noted = *noted;
    s->noted->note = NULL;
    s->found = true;
    return false;
}

bool moon__git_tree_seek(moon__git_job *job, const moon_worktree *tree, moon__git_noted *noted) {
    search s = {.tree = tree, .noted = noted, .read = malloc(sizeof *s.read)};
    if (s.read) (void)moon__git_worktree_each(job, on_noted, &s);
    free(s.read);
    return s.found;
}

/* ---- what it holds ---- */

static void count_left(void *ctx, const char *path, const char *why) {
    int64_t *left = ctx;
    (void)path, (void)why;
    ++*left;
}

int moon__git_tree_scan(moon__git_job *job, git_oid *tree, int64_t *left) {
    moon_snapshot_request request = {.workspace = job->root, .left_out = count_left, .ctx = left};
    *left = 0;
    if (!job->top) return moon__git_fail(job, "%.300s is no work tree", job->root);
    return moon__git_scan(job, &request, tree);
}

/* Files that differ from what its branch has committed, and such as cannot be committed. */
static int64_t count_files(moon__git_job *job, const moon_worktree *tree) {
    moon__git_job own = {.root = tree->dir, .cancelled = job->cancelled, .ctx = job->ctx};
    git_oid id;
    git_commit *head = NULL;
    git_tree *before = NULL, *now = NULL;
    git_diff *diff = NULL;
    int64_t n = 0;
    int bad = moon__git_begin(&own);
    if (!bad) bad = moon__git_tree_scan(&own, &id, &n);
    if (!bad) bad = moon__git_head(&own, &head);
    if (!bad && own.git->oid_cmp(&id, own.git->commit_tree_id(head)) != 0) {
        bad = own.git->commit_tree(&before, head) || own.git->tree_lookup(&now, own.repo, &id) ||
              own.git->diff_tree_to_tree(&diff, own.repo, before, now, NULL);
        n += bad ? 0 : (int64_t)own.git->diff_num_deltas(diff);
        if (bad) moon__git_trouble(&own, "cannot compare %.300s", tree->dir);
    }
    if (own.git) {
        own.git->diff_free(diff);
        own.git->tree_free(before);
        own.git->tree_free(now);
        own.git->commit_free(head);
    }
    moon__git_end(&own);
    return bad ? moon__git_fail(job, "%s", own.error) : n;
}

static int look(moon__git_job *job, const moon_worktree *tree, const moon__git_noted *noted,
                moon_worktree_state *state) {
    git_oid tip, into;
    size_t ahead = 0, behind = 0;
    *state = (moon_worktree_state){.gone = !noted->there};
    if (noted->there && !moon__git_worktree_doomed(noted) && (state->files = count_files(job, tree)) < 0) return -1;
    if (!moon__git_branch_tip(job, tree->branch, &tip)) return 0; /* nothing is left of it */
    if (!moon__git_branch_tip(job, tree->into, &into))
        return moon__git_fail(job, "there is no branch %s any more to merge %s into", tree->into, tree->branch);
    if (job->git->graph_ahead_behind(&ahead, &behind, job->repo, &tip, &into))
        return moon__git_trouble(job, "cannot compare %s with %s", tree->branch, tree->into);
    state->ahead = (int64_t)ahead;
    state->conflicts = ahead ? moon__git_conflicts(job, &into, &tip, NULL, NULL) : 0;
    return state->conflicts < 0 ? -1 : 0;
}

/* ---- the list ---- */

typedef struct listing {
    moon__git_job *job;
    const char *run; /* NULL: any */
    moon_worktree *tree;
    bool (*each)(void *ctx, const moon_worktree *tree, const moon_worktree_state *state);
    void *ctx;
} listing;

/* One that cannot be looked at holds what nobody knows. */
static bool on_each(void *ctx, const moon__git_noted *noted) {
    listing *l = ctx;
    moon_worktree_state state;
    if (!moon__git_tree_read(l->tree, noted) || (l->run && strcmp(l->run, l->tree->run) != 0)) return true;
    if (look(l->job, l->tree, noted, &state)) state.files = state.files > 0 ? state.files : 1;
    return l->each(l->ctx, l->tree, &state);
}

moon_status moon__git_tree_list(const char *workspace, const char *run,
                                bool (*each)(void *ctx, const moon_worktree *tree, const moon_worktree_state *state),
                                void *ctx, moon_error *error) {
    moon__git_job job = {.root = workspace};
    listing l = {.job = &job, .run = run, .tree = malloc(sizeof *l.tree), .each = each, .ctx = ctx};
    moon_status status = MOON_OK;
    if (!l.tree) return moon_error_set(error, MOON_ENOMEM, "out of memory");
    if (moon__git_begin(&job))
        status = failed(&job, MOON_EUNSUPPORTED, error);
    else if (moon__git_worktree_each(&job, on_each, &l) < 0)
        status = failed(&job, MOON_EIO, error);
    moon__git_end(&job);
    free(l.tree);
    return status;
}

/* ---- the end of one ---- */

int moon__git_tree_drop_branch(moon__git_job *job, const char *branch) {
    char name[300];
    git_reference *ref = NULL;
    snprintf(name, sizeof name, "refs/heads/%.255s", branch);
    if (job->git->reference_lookup(&ref, job->repo, name)) return 0;
    (void)moon__git_lock_branch(job, branch, moon__git_lock_any, NULL);
    int bad = job->git->reference_delete(ref);
    job->git->reference_free(ref);
    return bad ? moon__git_trouble(job, "cannot remove branch %s", branch) : 0;
}

/* 1: it holds what is not in the base. */
static int check(moon__git_job *job, const moon_worktree *tree, const moon__git_noted *noted) {
    moon_worktree_state state;
    if (look(job, tree, noted, &state)) return -1;
    if (state.files)
        return moon__git_fail(job, "%.300s holds %lld file%s that %s not committed", tree->dir, (long long)state.files,
                              state.files == 1 ? "" : "s", state.files == 1 ? "is" : "are"),
               1;
    if (state.ahead)
        return moon__git_fail(job, "%.250s has %lld commit%s that %s not in %.250s", tree->branch,
                              (long long)state.ahead, state.ahead == 1 ? "" : "s", state.ahead == 1 ? "is" : "are",
                              tree->into),
               1;
    return 0;
}

static int remove_one(moon__git_job *job, const moon_worktree_use *use, bool *holds) {
    moon__git_noted noted;
    bool there = moon__git_tree_seek(job, use->tree, &noted);
    int code = 0;
    if (!there) noted = (moon__git_noted){.there = false};
    if (!use->force) code = check(job, use->tree, &noted);
    *holds = code == 1;
    if (code) return -1;
    if (there && (moon__git_worktree_doom(job, &noted) || moon__git_worktree_remove(job, &noted))) return -1;
    if (moon__git_tree_drop_branch(job, use->tree->branch)) return -1;
    return there ? moon__git_worktree_forget(job, &noted) : 0;
}

moon_status moon__git_tree_remove(const moon_worktree_use *use, moon_error *error) {
    moon__git_job job = {.root = use->tree->base, .cancelled = use->cancelled, .ctx = use->ctx};
    bool holds = false;
    int bad = moon__git_begin(&job);
    if (!bad) bad = remove_one(&job, use, &holds);
    moon_status status = bad ? failed(&job, holds ? MOON_EBUSY : MOON_EIO, error) : MOON_OK;
    moon__git_end(&job);
    return status;
}
