/* SPDX-License-Identifier: MIT */
#ifndef MOON_TOOLS_GIT_TEXT_H
#define MOON_TOOLS_GIT_TEXT_H
/* Diffs as the text that git prints. */
#include "git_stat.h"

/* All patches of a diff, written to the call. */
int moon__git_put_patches(moon__git_job *job, git_diff *diff);
#endif
