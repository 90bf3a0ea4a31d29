/* SPDX-License-Identifier: MIT */
#include "lockfile.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { FIRST_NAP_US = 100, LONGEST_NAP_US = 500 };

moon_status moon__lockfile_open(moon__lockfile *file, const char *path, moon_error *error) {
    file->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    file->probe = file->fd < 0 ? -1 : open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    struct stat st;
    if (file->probe >= 0 && fstat(file->fd, &st) == 0 && st.st_size == 0)
        moon__lockfile_mark(file, false); /* there has to be room for it later */
    if (file->probe >= 0) return MOON_OK;
    int failed = errno;
    moon__lockfile_close(file);
    moon_error_set(error, MOON_EIO, "cannot open %.300s: %s", path, strerror(failed));
    if (error) error->cause = failed;
    return MOON_EIO;
}

void moon__lockfile_close(moon__lockfile *file) {
    if (file->fd >= 0) close(file->fd);
    if (file->probe >= 0) close(file->probe);
    file->fd = file->probe = -1;
}

/* length 0: all that follow */
static struct flock of(short type, int64_t byte, int64_t length) {
    return (struct flock){.l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = length};
}

/* Naps instead of F_OFD_SETLKW: whoever holds the lock may have been stopped, and then we say so. */
moon_status moon__lockfile_lock(const moon__lockfile *file, int64_t byte, int wait_ms) {
    int64_t left_us = (int64_t)wait_ms * 1000, nap_us = FIRST_NAP_US;
    for (;;) {
        struct flock lock = of(F_WRLCK, byte, 1);
        if (fcntl(file->fd, F_OFD_SETLK, &lock) == 0) return MOON_OK;
        if (errno == EINTR) continue;
        if (errno != EAGAIN && errno != EACCES) return MOON_EIO;
        if (left_us <= 0) return MOON_EBUSY;
        if (nap_us > left_us) nap_us = left_us;
        struct timespec nap = {.tv_nsec = nap_us * 1000};
        nanosleep(&nap, NULL);
        left_us -= nap_us;
        nap_us = nap_us * 2 > LONGEST_NAP_US ? LONGEST_NAP_US : nap_us * 2;
    }
}

moon_status moon__lockfile_lock_from(const moon__lockfile *file, int64_t *byte) {
    for (;;) {
        struct flock lock = of(F_WRLCK, *byte, 0), in_the_way = lock;
        if (fcntl(file->fd, F_OFD_SETLK, &lock) == 0) return MOON_OK;
        if (errno == EINTR) continue;
        if (errno != EAGAIN && errno != EACCES) return MOON_EIO;
        if (fcntl(file->fd, F_OFD_GETLK, &in_the_way) != 0) return MOON_EIO;
        if (in_the_way.l_type == F_UNLCK) continue; /* gone meanwhile */
        *byte = in_the_way.l_start;
        return MOON_EBUSY;
    }
}

void moon__lockfile_unlock(const moon__lockfile *file, int64_t byte) {
    struct flock lock = of(F_UNLCK, byte, 1);
    (void)fcntl(file->fd, F_OFD_SETLK, &lock);
}

void moon__lockfile_unlock_from(const moon__lockfile *file, int64_t byte) {
    struct flock lock = of(F_UNLCK, byte, 0);
    (void)fcntl(file->fd, F_OFD_SETLK, &lock);
}

bool moon__lockfile_locked(const moon__lockfile *file, int64_t byte) {
    struct flock lock = of(F_WRLCK, byte, 1);
    return fcntl(file->probe, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

void moon__lockfile_mark(const moon__lockfile *file, bool marked) {
    ssize_t written = pwrite(file->fd, marked ? "1" : "0", 1, 0);
    (void)written; /* the disk has failed before; there is nothing more to be done */
}

bool moon__lockfile_marked(const moon__lockfile *file) {
    char mark = 0;
    return pread(file->fd, &mark, 1, 0) == 1 && mark == '1';
}
