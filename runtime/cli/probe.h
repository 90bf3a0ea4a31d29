/* SPDX-License-Identifier: MIT */
#ifndef MOON_CLI_PROBE_H
#define MOON_CLI_PROBE_H
/* What the kernel and the libraries of this machine can do, found by trying; for `moonlet doctor`. Each answers with a
 * short text in `detail` and returns whether the ability is there. None changes the process. */
#include <stdbool.h>
#include <stddef.h>

typedef bool (*moon__cli_probe)(char *detail, size_t size);

bool moon__cli_probe_openat2(char *detail, size_t size);
bool moon__cli_probe_pidfd(char *detail, size_t size);
bool moon__cli_probe_landlock(char *detail, size_t size);
bool moon__cli_probe_user_namespaces(char *detail, size_t size);
bool moon__cli_probe_seccomp(char *detail, size_t size);
/* libgit2 is opened and asked for its version. */
bool moon__cli_probe_git(char *detail, size_t size);
/* The directory that spilled results go to. */
bool moon__cli_probe_scratch(char *detail, size_t size);
#endif
