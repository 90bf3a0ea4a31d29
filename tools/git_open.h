/* SPDX-License-Identifier: MIT */
#ifndef MOON_TOOLS_GIT_OPEN_H
#define MOON_TOOLS_GIT_OPEN_H
/* Finds the repository of the workspace, opens it and judges whether it may be used: see git_open.c. Fills repo, top
 * and prefix of the job. -1 as the functions of git_repo.h; the handle is freed by the caller in any case. */
#include "git_repo.h"

int moon__git_open(moon__git_job *job);

#endif
