/* SPDX-License-Identifier: MIT */
#ifndef MOON_LOOP_LAUNCH_H
#define MOON_LOOP_LAUNCH_H
/* The system's side of starting a program; proc.c has the life after it. */
#include "buf.h"

/* Makes a pipe whose ends are close-on-exec and over 2, so that they survive being moved to 0-2 of a child. parent_end
 * (0: reading, 1: writing) does not block. */
MOON_MUST_USE moon_status moon__pipe_new(int fds[2], int parent_end, moon_error *error);

typedef struct moon__launch {
    const char *const *argv;
    const char *const *env; /* NULL: the host's */
    int dir_fd;             /* -1: as the host */
    int in;                 /* -1: /dev/null */
    int out, err;
} moon__launch;

/* Starts argv in a session of its own with default signals, and nothing open but 0-2. Both results are the caller's:
 * close pidfd, reap the child. MOON_ENOTFOUND: there is no such program. */
MOON_MUST_USE moon_status moon__launch_start(const moon__launch *launch, pid_t *pid, int *pidfd, moon_error *error);

/* write(2) that raises no SIGPIPE, whatever the host does with that signal. */
ssize_t moon__write_quietly(int fd, const void *bytes, size_t n);
#endif
