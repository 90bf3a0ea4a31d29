/* SPDX-License-Identifier: MIT */
#ifndef MOON_TOOLS_GIT_WORKTREE_H
#define MOON_TOOLS_GIT_WORKTREE_H
/* A snapshot as a work tree of its own, like one of `git worktree add --detach`. */
#include "git_repo.h"

/* dir is made, or is an empty directory; another: with a number after its name if it is taken. *workspace, malloc'd, is
 * the job's workspace in it. On failure nothing is left of it. */
int moon__git_worktree_make(moon__git_job *job, const moon_snapshot *snapshot, const char *dir, bool another,
                            char **workspace);

#endif
