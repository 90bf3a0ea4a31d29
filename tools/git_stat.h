/* SPDX-License-Identifier: MIT */
#ifndef MOON_TOOLS_GIT_STAT_H
#define MOON_TOOLS_GIT_STAT_H
/* What a diff changed, file by file, as JSON: [{"path","added","deleted","from"?,"binary"?,"status"?}]. */
#include "git_repo.h"

typedef struct moon__git_sum {
    int64_t files, added, deleted;
} moon__git_sum;

/* Options as git has them by default; paths are taken literally; stops when the call is cancelled. */
void moon__git_diff_options(moon__git_job *job, git_diff_options *options);
/* Finds renames as git does by default (half of the text is the same). */
int moon__git_renames(moon__git_job *job, git_diff *diff);
/* The members of an array that the caller has opened, at most max of them; sum counts them all. */
int moon__git_put_files(moon__git_job *job, git_diff *diff, bool with_status, size_t max, moon__git_sum *sum);
const char *moon__git_delta_status(git_delta_t status);
/* Against the first parent, renames found; the caller frees it. The parent may be NULL. */
int moon__git_commit_diff(moon__git_job *job, git_commit *commit, const git_diff_options *options, git_diff **out);

#endif
