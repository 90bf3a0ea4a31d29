/* SPDX-License-Identifier: MIT */
#ifndef MOON_TOOLS_GIT_MERGE_H
#define MOON_TOOLS_GIT_MERGE_H
/* Merging a commit into the branch that is checked out, where that loses nothing: see git_merge.c. */
#include "git_repo.h"

typedef struct moon__git_merge {
    git_oid commit;
    const char *branch; /* its name, for messages */
    const char *into;   /* the branch that has to be checked out; both without refs/heads/ */
    /* A path that stands in the way, and why. */
    void (*path)(void *ctx, const char *path, const char *why);
    void *ctx;
    git_oid head;  /* out: what `into` leads to now */
    int64_t files; /* out: that have changed in the work tree */
    bool refused;  /* out, on failure: nothing was changed, and it may be tried again when that is mended */
} moon__git_merge;

/* The job is open on a work tree. 0 also if the commit was merged before. */
int moon__git_merge_commit(moon__git_job *job, moon__git_merge *merge);
/* The same for the one that merges, of others that do: waits for them. *fd is to be closed. */
int moon__git_merge_lock(moon__git_job *job, int *fd);
/* What refs/heads/NAME leads to; false: there is none. */
bool moon__git_branch_tip(const moon__git_job *job, const char *name, git_oid *out);
/* Is the commit an ancestor of the other, or the same? */
bool moon__git_contains(const moon__git_job *job, const git_oid *head, const git_oid *commit);
/* Paths in which two commits cannot be merged, each given to path; -1 or how many. */
int64_t moon__git_conflicts(moon__git_job *job, const git_oid *ours, const git_oid *theirs,
                            void (*path)(void *ctx, const char *path, const char *why), void *ctx);

#endif
