/* SPDX-License-Identifier: MIT */
#ifndef MOON_LOOP_PROC_H
#define MOON_LOOP_PROC_H
/*
 * Subprocesses. posix_spawn in a session of its own (never fork: it stalls with the size of the process), no inherited
 * descriptor but 0-2, default signals; watched by pidfd, reaped by waitid(P_PIDFD), so that no SIGCHLD handling of the
 * host is disturbed. When the leader ends, the rest of its process group is killed, and output that is still held open
 * by an escaped grandchild is not waited for longer than 200 ms. Stopping is TERM, then KILL to the group after 2 s.
 */
#include "loop.h"

typedef struct moon__proc moon__proc;

typedef struct moon__proc_options {
    const char *const *argv; /* argv[0] without a slash: looked up in the absolute entries of the host's PATH */
    const char *const *env;  /* NULL: the host's environment as it is */
    int dir_fd;              /* an open directory to start in; -1: as the host */
    const char *input;       /* copied; NULL: /dev/null */
    size_t input_length;
    size_t output_max;   /* per stream, 0: 4 MiB; of more, the halves at both ends are kept, with a line that says so
                            between */
    uint32_t timeout_ms; /* 0: none */
    bool merge;
    void (*progress)(void *ctx, const char *text, size_t n); /* NULL, or each piece of output as it comes */
    void (*done)(void *ctx, const moon_exec_result *result); /* once; the proc is freed after it */
    void *ctx;
} moon__proc_options;

MOON_MUST_USE moon_status moon__proc_start(moon__proc **out, moon__loop *loop, const moon__proc_options *options,
                                           moon_error *error);
/* Ends the group; done() comes later (exit by signal). Safe to call twice. */
void moon__proc_stop(moon__proc *proc);
/* Kills the group at once and waits for its leader; no done(). For the end of the host's own life. NULL is fine. */
void moon__proc_free(moon__proc *proc);
/* Does the name of a variable look like that of a secret? */
bool moon__env_is_secret(const char *name);
/* The host's environment without variables that look like secrets; malloc'd array of borrowed strings, free() it. */
const char **moon__proc_clean_env(void);
#endif
