/* SPDX-License-Identifier: MIT */
#ifndef MOON_CLI_LIMIT_H
#define MOON_CLI_LIMIT_H
/* --limit KEY=N, for the commands that drive runs. */
#include "cli.h"

#include <moonlet/moonlet.h>

/* Sets one limit from "steps=20"; 0, or the exit code of what was reported. */
int moon__cli_limit(const moon__cli_command *self, moon_limits *limits, const char *text);
#endif
