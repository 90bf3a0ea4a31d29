/* SPDX-License-Identifier: MIT */
#ifndef MOON_TOOLS_GIT_WHO_H
#define MOON_TOOLS_GIT_WHO_H
/* Who commits: the environment, or the repository's and the user's configuration, as git has it. */
#include "git_repo.h"

int moon__git_who(moon__git_job *job, git_signature **out);
/* The same; where git would not know, "moonlet <moonlet@localhost>". */
int moon__git_who_else(moon__git_job *job, git_signature **out);

#endif
