/* SPDX-License-Identifier: MIT */
#ifndef MOON_TOOLS_GIT_LOCK_H
#define MOON_TOOLS_GIT_LOCK_H
/* Git's lock files (X.lock), which stay when the process that made them is killed. */
#include "git_repo.h"

enum { MOON__GIT_PAUSE_MS = 20, MOON__GIT_LOCK_MS = 3000 };

/* Waits a moment; -1 if somebody wants the job to end. */
int moon__git_nap(moon__git_job *job);
/* Waits until there is no such file: 0; 1: there still is one after a while; -1. One that has been there for a while,
 * and that ours says of what stands in it (at most 63 bytes) was left by us, goes. */
int moon__git_lock_wait(moon__git_job *job, const char *path, bool (*ours)(void *ctx, const char *text), void *ctx);
/* The same for REF.lock of a branch (without refs/heads/). */
int moon__git_lock_branch(moon__git_job *job, const char *branch, bool (*ours)(void *ctx, const char *text), void *ctx);
/* For what nobody else writes. */
bool moon__git_lock_any(void *ctx, const char *text);
/* Makes one with this text in it at once: 0; 1: it is there already; -1. */
int moon__git_lock_make(moon__git_job *job, const char *path, const char *text);

#endif
