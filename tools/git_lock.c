/* SPDX-License-Identifier: MIT */
#include "git_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { OLD_S = 2 };

int moon__git_nap(moon__git_job *job) {
    nanosleep(&(struct timespec){.tv_nsec = MOON__GIT_PAUSE_MS * 1000000L}, NULL);
    return moon__git_pause(job);
}

bool moon__git_lock_any(void *ctx, const char *text) {
    (void)ctx, (void)text;
    return true;
}

static bool is_left(const char *path, const struct stat *st, bool (*ours)(void *ctx, const char *text), void *ctx) {
    char text[64];
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0) close(fd);
    if (n < 0 || time(NULL) - st->st_mtime < OLD_S) return false;
    text[n] = 0;
    return ours(ctx, text);
}

int moon__git_lock_wait(moon__git_job *job, const char *path, bool (*ours)(void *ctx, const char *text), void *ctx) {
    struct stat st;
    for (int waited = 0; !lstat(path, &st); waited += MOON__GIT_PAUSE_MS) {
        if (S_ISREG(st.st_mode) && is_left(path, &st, ours, ctx) && !unlink(path)) return 0;
        if (waited >= MOON__GIT_LOCK_MS) return 1;
        if (moon__git_nap(job)) return -1;
    }
    return 0;
}

int moon__git_lock_branch(moon__git_job *job, const char *branch, bool (*ours)(void *ctx, const char *text),
                          void *ctx) {
    char path[PATH_MAX];
    int n = snprintf(path, sizeof path, "%srefs/heads/%s.lock", job->git->repository_commondir(job->repo), branch);
    return n < (int)sizeof path ? moon__git_lock_wait(job, path, ours, ctx) : 0;
}

/* A file that has its text comes to its name as a whole. */
int moon__git_lock_make(moon__git_job *job, const char *path, const char *text) {
    char first[PATH_MAX];
    size_t n = strlen(text);
    if (snprintf(first, sizeof first, "%s.moonlet", path) >= (int)sizeof first)
        return moon__git_fail(job, "the repository's path is too long");
    (void)unlink(first);
    int fd = open(first, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
    bool bad = fd < 0 || write(fd, text, n) != (ssize_t)n;
    if (fd >= 0 && close(fd)) bad = true;
    if (!bad) bad = link(first, path) != 0;
    int cause = errno;
    (void)unlink(first);
    if (!bad) return 0;
    return cause == EEXIST ? 1 : moon__git_fail(job, "cannot write %.300s: %s", path, strerror(cause));
}
