/* SPDX-License-Identifier: MIT */
#ifndef MOON_TOOLS_GIT_PUT_H
#define MOON_TOOLS_GIT_PUT_H
/* Bringing a tree's files into a work tree that somebody works in, each whole or not at all. */
#include "git_repo.h"

/* The paths of diff become as the tree has them: written in the repository's directory first, and renamed from there.
 * That nothing is lost by it was looked at before. One at a time in a work tree. */
int moon__git_put(moon__git_job *job, git_tree *tree, const git_diff *diff);

#endif
