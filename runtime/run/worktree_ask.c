/* SPDX-License-Identifier: MIT */
/* Work trees of runs, for those who look at them and end them from outside of a run. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime.h"

static moon_status find_ops(const moon_runtime *rt, const moon_snapshot_ops **ops, moon_error *error) {
    *ops = rt->snapshots;
    if (*ops && (*ops)->worktree_list) return MOON_OK;
    return moon_error_set(error, MOON_EUNSUPPORTED, "this program has nothing that makes worktrees");
}

static bool never(void *ctx) {
    (void)ctx;
    return false;
}

moon_status moon_runtime_worktrees(moon_runtime *rt, const char *workspace,
                                   bool (*each)(void *ctx, const moon_worktree *tree, const moon_worktree_state *state),
                                   void *ctx, moon_error *error) {
    const moon_snapshot_ops *ops;
    moon_status status = find_ops(rt, &ops, error);
    return status ? status : ops->worktree_list(workspace, NULL, each, ctx, error);
}

moon_status moon_runtime_worktree_merge(moon_runtime *rt, const moon_worktree *tree,
                                        void (*path)(void *ctx, const char *path, const char *why), void *ctx,
                                        moon_worktree_merged *merged, moon_error *error) {
    const moon_snapshot_ops *ops;
    char message[1400], commit[72];
    int64_t files;
    moon_status status = find_ops(rt, &ops, error);
    if (status) return status;
    snprintf(message, sizeof message, "%.60s: work in progress\n\nBy run %s%s%.1000s.\n", tree->agent, tree->run,
             *tree->path ? ", path " : "", tree->path);
    moon_worktree_use use = {
        .tree = (moon_worktree *)(uintptr_t)tree, .message = message, .cancelled = never, .path = path, .ctx = ctx};
    *merged = (moon_worktree_merged){.files = 0};
    status = ops->worktree_commit(&use, commit, &files, error);
    if (!status) status = ops->worktree_merge(&use, commit, merged, error);
    return status ? status : ops->worktree_remove(&use, error);
}

moon_status moon_runtime_worktree_remove(moon_runtime *rt, const moon_worktree *tree, bool force, moon_error *error) {
    const moon_snapshot_ops *ops;
    moon_status status = find_ops(rt, &ops, error);
    if (status) return status;
    return ops->worktree_remove(
        &(moon_worktree_use){.tree = (moon_worktree *)(uintptr_t)tree, .force = force, .cancelled = never}, error);
}

typedef struct search {
    moon_worktree found;
    bool any;
} search;

static bool on_tree(void *ctx, const moon_worktree *tree, const moon_worktree_state *state) {
    search *s = ctx;
    s->any = !state->files && !state->ahead;
    if (s->any) s->found = *tree;
    return !s->any;
}

void moon__worktrees_drop(moon_runtime *rt, const char *workspace, const char *run) {
    const moon_snapshot_ops *ops;
    search *s = calloc(1, sizeof *s);
    if (s && !find_ops(rt, &ops, NULL)) {
        do s->any = false;
        while (!ops->worktree_list(workspace, run, on_tree, s, NULL) && s->any &&
               !moon_runtime_worktree_remove(rt, &s->found, false, NULL));
    }
    free(s);
}
