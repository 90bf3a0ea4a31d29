/* SPDX-License-Identifier: MIT */
#ifndef MOON_TOOL_SPACE_H
#define MOON_TOOL_SPACE_H
/* The workspace: one directory, opened once; every path of a tool is resolved beneath it with openat2. A moon__scratch
 * is what one root run keeps beside it: spilled results, hashes of files it has read, notes. It is shared with worker
 * threads. */
#include "buf.h"

typedef struct moon__space moon__space;
MOON_MUST_USE moon_status moon__space_new(moon__space **out, const char *path, moon_error *error);
void moon__space_free(moon__space *space);
const char *moon__space_path(const moon__space *space); /* absolute */

typedef struct moon__scratch moon__scratch;
MOON_MUST_USE moon_status moon__scratch_new(moon__scratch **out, moon__space *space, moon_error *error);
/* One for a part of the run that works elsewhere: it has seen other files, and shares the rest with outer. The
 * directory need not be there before enter, which may be called again for another one. */
MOON_MUST_USE moon_status moon__scratch_part(moon__scratch **out, moon__scratch *outer, const char *path,
                                             moon_error *error);
MOON_MUST_USE moon_status moon__scratch_enter(moon__scratch *part, const char *path, moon_error *error);
void moon__scratch_free(moon__scratch *scratch); /* the run's: removes its directory, and gives up its reference */
/* A call's reference, for a worker that may outlast the run. Loop thread; NULL is fine. */
void moon__scratch_ref(moon__scratch *scratch);
void moon__scratch_unref(moon__scratch *scratch);
MOON_MUST_USE moon_status moon__scratch_open(moon__scratch *scratch, const char *path, int flags, mode_t mode, int *fd,
                                             moon_error *error);
MOON_MUST_USE moon_status moon__scratch_replace(moon__scratch *scratch, const char *path, const void *data, size_t n,
                                                mode_t mode, moon_error *error);
void moon__scratch_remember(moon__scratch *scratch, const char *path, uint64_t hash);
bool moon__scratch_recall(moon__scratch *scratch, const char *path, uint64_t *hash);
MOON_MUST_USE moon_status moon__scratch_note_set(moon__scratch *scratch, const char *name, const char *text);
const char *moon__scratch_note_get(moon__scratch *scratch, const char *name);
/* Keeps a long result; gives its name ("@spill/3.txt", at most 31 bytes). */
MOON_MUST_USE moon_status moon__scratch_spill(moon__scratch *scratch, const char *text, size_t n, char name[32],
                                              moon_error *error);
/* Puts one back under the name that it had, in a new process; later ones get other names. */
MOON_MUST_USE moon_status moon__scratch_restore(moon__scratch *scratch, const char *name, const char *text, size_t n,
                                                moon_error *error);
/* The absolute path of a private file for what the run keeps from one snapshot of its workspace to the next; malloc'd.
 * It goes with the scratch. */
MOON_MUST_USE moon_status moon__scratch_cache(moon__scratch *scratch, char **path, moon_error *error);
moon__space *moon__scratch_space(moon__scratch *scratch);
#endif
