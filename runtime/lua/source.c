/* SPDX-License-Identifier: MIT */
/* Reading Lua files: regular files only, with a ceiling, and beneath a folder where one is given. */
#include "api.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { RETRIES = 16 }; /* openat2 says EAGAIN while something is renamed */

static int open_beneath(int dir_fd, const char *path) {
    int flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
    if (dir_fd == AT_FDCWD) return open(path, flags);
    struct open_how how = {.flags = (uint64_t)flags, .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
    long fd = -1;
    for (int i = 0; i < RETRIES; i++) {
        fd = syscall(SYS_openat2, dir_fd, path, &how, sizeof how);
        if (fd >= 0 || errno != EAGAIN) break;
    }
    return (int)fd;
}

moon_status moon__source_status(int cause) {
    switch (cause) {
    case ENOENT:
    case ENOTDIR: return MOON_ENOTFOUND;
    case EXDEV:
    case EACCES:
    case EPERM: return MOON_EDENIED;
    case EISDIR:
    case ELOOP:
    case ENAMETOOLONG: return MOON_EINVAL;
    default: return MOON_EIO;
    }
}

static moon_status cannot(moon_error *error, const char *path, int cause) {
    moon_status status = moon__source_status(cause);
    moon_error_set(error, status, "cannot read %.300s: %s", path, strerror(cause));
    if (error) error->cause = cause;
    return status;
}

static moon_status read_all(moon__buf *out, int fd, const char *path, moon_error *error) {
    char piece[4096];
    for (;;) {
        ssize_t n = read(fd, piece, sizeof piece);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return cannot(error, path, errno);
        if (n == 0) return MOON_OK;
        moon__buf_add(out, piece, (size_t)n);
        if (out->status == MOON_ENOMEM) return moon_error_set(error, MOON_ENOMEM, "out of memory");
        if (out->status != MOON_OK)
            return moon_error_set(error, MOON_ELIMIT, "%.300s is over %zu bytes", path, out->max);
    }
}

moon_status moon__source_read(moon__buf *out, int dir_fd, const char *path, moon_error *error) {
    struct stat st;
    int fd = open_beneath(dir_fd, path);
    if (fd < 0) return cannot(error, path, errno);
    moon_status status = MOON_OK;
    if (fstat(fd, &st) != 0)
        status = cannot(error, path, errno);
    else if (!S_ISREG(st.st_mode))
        status = moon_error_set(error, MOON_EINVAL, "%.300s is %s, not a file", path,
                                S_ISDIR(st.st_mode) ? "a directory" : "a device or pipe");
    else
        status = read_all(out, fd, path, error);
    close(fd);
    return status;
}

void moon__source_skip(const char **text, size_t *n) {
    const char *p = *text, *end = p + *n;
    if (end - p >= 3 && memcmp(p, "\xEF\xBB\xBF", 3) == 0) p += 3;
    if (p < end && *p == '#')
        while (p < end && *p != '\n') p++;
    *n = (size_t)(end - p);
    *text = p;
}
