/* SPDX-License-Identifier: MIT */
#ifndef MOON_CLI_SIGNALS_H
#define MOON_CLI_SIGNALS_H
#include <signal.h>

/* Blocks SIGINT, SIGTERM and SIGHUP, except those that are ignored, and gives them on a descriptor that does not block
 * (signalfd(2)). The caller closes it, then sets *old_mask again. Below 0, with errno: none, and the mask is as before.
 */
int moon__cli_signals_open(sigset_t *old_mask);
#endif
