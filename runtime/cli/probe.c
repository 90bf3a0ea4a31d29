/* SPDX-License-Identifier: MIT */
/* Trying what this machine can do: see probe.h. */
#include "probe.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <linux/openat2.h>
#include <linux/seccomp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef MOON_GIT2_SONAME
#define MOON_GIT2_SONAME "libgit2.so"
#endif

bool moon__cli_probe_openat2(char *detail, size_t size) {
    struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
    long fd = syscall(SYS_openat2, AT_FDCWD, ".", &how, sizeof how);
    snprintf(detail, size, "%s", fd >= 0 ? "paths are resolved beneath the workspace by the kernel" : strerror(errno));
    if (fd >= 0) close((int)fd);
    return fd >= 0;
}

bool moon__cli_probe_pidfd(char *detail, size_t size) {
    long fd = syscall(SYS_pidfd_open, getpid(), 0);
    snprintf(detail, size, "%s", fd >= 0 ? "subprocesses are watched by descriptor" : strerror(errno));
    if (fd >= 0) close((int)fd);
    return fd >= 0;
}

bool moon__cli_probe_landlock(char *detail, size_t size) {
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (abi > 0) {
        snprintf(detail, size, "ABI %ld", abi);
    } else {
        snprintf(detail, size, "%s", errno == EOPNOTSUPP ? "built in, but not enabled at boot" : "not in this kernel");
    }
    return abi > 0;
}

/* A number in a file of /proc/sys; -1 if there is none. */
static long read_number(const char *path) {
    char text[32];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return -1;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n <= 0) return -1;
    text[n] = 0;
    return strtol(text, NULL, 10);
}

bool moon__cli_probe_user_namespaces(char *detail, size_t size) {
    const char *why = NULL;
    if (access("/proc/self/ns/user", F_OK) != 0) {
        why = "not in this kernel";
    } else if (read_number("/proc/sys/user/max_user_namespaces") == 0) {
        why = "switched off (user.max_user_namespaces is 0)";
    } else if (geteuid() != 0 && read_number("/proc/sys/kernel/unprivileged_userns_clone") == 0) {
        why = "only for root (kernel.unprivileged_userns_clone is 0)";
    } else if (geteuid() != 0 && read_number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == 1) {
        why = "restricted by AppArmor";
    }
    snprintf(detail, size, "%s", why ? why : "available");
    return !why;
}

bool moon__cli_probe_seccomp(char *detail, size_t size) {
    uint32_t action = SECCOMP_RET_ERRNO;
    long result = syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action);
    snprintf(detail, size, "%s", result == 0 ? "filters" : strerror(errno));
    return result == 0;
}

bool moon__cli_probe_git(char *detail, size_t size) {
    void *library = dlopen(MOON_GIT2_SONAME, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        const char *why = dlerror();
        snprintf(detail, size, "%s", why ? why : MOON_GIT2_SONAME " cannot be opened");
        return false;
    }
    int (*version)(int *, int *, int *) = NULL;
    void *symbol = dlsym(library, "git_libgit2_version");
    memcpy(&version, &symbol, sizeof version); /* POSIX's way round ISO C, which knows no such cast */
    int major = 0, minor = 0, revision = 0;
    if (version && version(&major, &minor, &revision) == 0) {
        snprintf(detail, size, "libgit2 %d.%d.%d", major, minor, revision);
    } else {
        snprintf(detail, size, "%s has no version", MOON_GIT2_SONAME);
    }
    dlclose(library);
    return version != NULL;
}

bool moon__cli_probe_scratch(char *detail, size_t size) {
    const char *tmp = getenv("TMPDIR");
    if (!tmp || *tmp != '/') tmp = "/tmp";
    bool ok = access(tmp, W_OK | X_OK) == 0;
    snprintf(detail, size, "%s%s%s", tmp, ok ? "" : ": ", ok ? "" : strerror(errno));
    return ok;
}
