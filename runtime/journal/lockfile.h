/* SPDX-License-Identifier: MIT */
#ifndef MOON_JOURNAL_LOCKFILE_H
#define MOON_JOURNAL_LOCKFILE_H
/*
 * Locks between processes: bytes of a file, locked as open file descriptions (fcntl F_OFD_SETLK). The kernel lets go of
 * them when the process ends, however it ends, so nothing is ever left locked by the dead; two runtimes in one process
 * exclude each other as two processes do.
 */
#include <moonlet/tool.h>

typedef struct moon__lockfile {
    int fd, probe; /* probe: another description, so that our own locks are seen too */
} moon__lockfile;

MOON_MUST_USE moon_status moon__lockfile_open(moon__lockfile *file, const char *path, moon_error *error);
void moon__lockfile_close(moon__lockfile *file); /* gives up all its locks */
/* MOON_EBUSY: somebody else has it, and still had it after wait_ms. */
MOON_MUST_USE moon_status moon__lockfile_lock(const moon__lockfile *file, int64_t byte, int wait_ms);
/* This byte and all after it, at once, and without waiting. MOON_EBUSY: *byte is one that somebody has. */
MOON_MUST_USE moon_status moon__lockfile_lock_from(const moon__lockfile *file, int64_t *byte);
void moon__lockfile_unlock(const moon__lockfile *file, int64_t byte);
void moon__lockfile_unlock_from(const moon__lockfile *file, int64_t byte); /* this one, and all after it */
bool moon__lockfile_locked(const moon__lockfile *file, int64_t byte);      /* by anybody, us included */
/* A note for whoever opens the file, until the machine stops: it is never synced. */
void moon__lockfile_mark(const moon__lockfile *file, bool marked);
bool moon__lockfile_marked(const moon__lockfile *file);
#endif
