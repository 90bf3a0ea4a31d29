/* SPDX-License-Identifier: MIT */
#ifndef MOON_TOOLS_GIT_SCAN_H
#define MOON_TOOLS_GIT_SCAN_H
/* The work tree as git would commit it with `git add -A`: as a tree in the repository, by way of an index of our own.
 */
#include "git_repo.h"

/* `before` and `left_out` of the request are looked at elsewhere, and here. The index file at request->cache is used
 * and brought up to date; without it the user's index is read, and nothing but objects is written. */
int moon__git_scan(moon__git_job *job, const moon_snapshot_request *request, git_oid *tree);
/* Copies the user's index, as it is now, into a file; false: there is no such file then. */
bool moon__git_copy_index(const moon__git_job *job, const char *to_path);

#endif
