/* SPDX-License-Identifier: MIT */
#ifndef MOON_TOOLS_GIT_UPSTREAM_H
#define MOON_TOOLS_GIT_UPSTREAM_H
/* What a branch follows. */
#include "git_repo.h"

/* "upstream", "ahead" and "behind" of a local branch ("main") that ends in own; nothing if it follows none. Returns
 * whether it follows one. */
bool moon__git_put_upstream(moon__git_job *job, const char *branch, const git_oid *own);
#endif
