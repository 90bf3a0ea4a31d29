/* SPDX-License-Identifier: MIT */
#ifndef MOON_TOOLS_GIT_TREE_H
#define MOON_TOOLS_GIT_TREE_H
/* Work trees of runs: the worktree_ functions of moon_snapshots_git. git_tree.c makes one and commits and merges its
 * work, git_tree_look.c says what it holds, lists and removes. */
#include "git_merge.h"
#include "git_worktree.h"

moon_status moon__git_tree_make(const moon_worktree_use *use, moon_error *error);
moon_status moon__git_tree_commit(const moon_worktree_use *use, char commit[72], int64_t *files, moon_error *error);
moon_status moon__git_tree_merge(const moon_worktree_use *use, const char *commit, moon_worktree_merged *merged,
                                 moon_error *error);
moon_status moon__git_tree_remove(const moon_worktree_use *use, moon_error *error);
moon_status moon__git_tree_list(const char *workspace, const char *run,
                                bool (*each)(void *ctx, const moon_worktree *tree, const moon_worktree_state *state),
                                void *ctx, moon_error *error);

/* ---- between the two ---- */

/* What a note says; false: it is none of ours. */
bool moon__git_tree_read(moon_worktree *tree, const moon__git_noted *noted);
/* The tree of all that is in the job's work tree; left: files that are not in it. */
int moon__git_tree_scan(moon__git_job *job, git_oid *tree, int64_t *left);
/* Finds what the repository keeps of the run's part; false: nothing. */
bool moon__git_tree_seek(moon__git_job *job, const moon_worktree *tree, moon__git_noted *noted);
/* Deletes its branch. */
int moon__git_tree_drop_branch(moon__git_job *job, const char *branch);

#endif
