/* SPDX-License-Identifier: MIT */
#ifndef MOON_TOOLS_GIT_WORKTREE_H
#define MOON_TOOLS_GIT_WORKTREE_H
/* A work tree of its own, like one of `git worktree add`. */
#include <limits.h>

#include "git_repo.h"

enum { MOON__GIT_NOTE_MAX = 24 << 10 };

typedef struct moon__git_worktree {
    const char *dir;    /* is made, or is an empty directory; */
    bool another;       /* with a number after its name if it is taken */
    const char *head;   /* "ref: refs/heads/NAME", or a commit's id */
    const char *commit; /* what the index has; an id, as files */
    const char *files;  /* commit or tree: what the files are */
    const char *note;   /* kept in the repository beside it, from the first moment on; NULL: none */
    char top[PATH_MAX]; /* out: dir, absolute */
    char *workspace;    /* out: the job's workspace in it; malloc'd */
} moon__git_worktree;

/* On failure nothing is left of it. */
int moon__git_worktree_make(moon__git_job *job, moon__git_worktree *tree);

/* One that was made with a note, and maybe only in part. */
typedef struct moon__git_noted {
    char admin[PATH_MAX]; /* what the repository keeps of it */
    char top[PATH_MAX];   /* "": the repository does not know */
    bool there;           /* and it is there, and knows this repository */
    const char *note;
} moon__git_noted;
/* Each of the repository; false from each ends it, and gives 1. */
int moon__git_worktree_each(moon__git_job *job, bool (*each)(void *ctx, const moon__git_noted *noted), void *ctx);
/* Removes the work tree, if it is there, whatever it holds; and then what the repository keeps of it. */
int moon__git_worktree_remove(moon__git_job *job, const moon__git_noted *noted);
int moon__git_worktree_forget(moon__git_job *job, const moon__git_noted *noted);
/* It is to be removed, and was looked at before; false: it was not. */
bool moon__git_worktree_doomed(const moon__git_noted *noted);
int moon__git_worktree_doom(moon__git_job *job, const moon__git_noted *noted);

#endif
