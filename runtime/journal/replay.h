/* SPDX-License-Identifier: MIT */
#ifndef MOON_JOURNAL_REPLAY_H
#define MOON_JOURNAL_REPLAY_H
/*
 * What a journal holds, found by place: for a run that is resumed. Whoever is about to do something looks here first,
 * under the path of its run and the key of what it does, and takes what was recorded instead of doing it again. Places
 * do not depend on the order in which branches that run side by side got on.
 *
 * Operations are what cannot be left out: answers of models, results of tools, children, values. A run that ends while
 * operations of its path were not used has taken another way than the one that was recorded.
 */
#include "record.h"

typedef struct moon__replay moon__replay;
typedef struct moon__recorded {
    moon_event_type type;
    uint64_t seq;
    int64_t time_us;
    const char *path, *key;
    const char *body;
    size_t body_length;
    bool used;
} moon__recorded;

moon__replay *moon__replay_new(void); /* NULL: no memory */
void moon__replay_free(moon__replay *replay);
/* Copies a record. One of the same type, path and key replaces what was there. */
MOON_MUST_USE moon_status moon__replay_add(moon__replay *replay, const moon_record *record);
/* NULL if nothing of the kind was recorded. Good until the replay is freed. */
const moon__recorded *moon__replay_find(const moon__replay *replay, moon_event_type type, const char *path,
                                        const char *key);
/* The last of a type at this path, whatever its key; NULL: none. Looks at all that was recorded. */
const moon__recorded *moon__replay_latest(const moon__replay *replay, moon_event_type type, const char *path);
void moon__replay_use(moon__replay *replay, const moon__recorded *recorded);
/* Of a fork: records up to seq are another run's, and what was used and driven there does not count. Before they are
 * added. */
void moon__replay_share(moon__replay *replay, uint64_t seq);
/* For how long the run of this path was driven, µs; not between a process's end and the next one's claim. */
int64_t moon__replay_driven(const moon__replay *replay, const char *path);
/* Adds to what the run of this path, and each above it, has used; and what that is. */
MOON_MUST_USE moon_status moon__replay_spend(moon__replay *replay, const char *path, const moon_usage *usage);
moon_usage moon__replay_spent(const moon__replay *replay, const char *path);
/* The seq of the last operation of this very path; 0: there is none. That a branch decided over its siblings is none:
 * it follows from the branch's end. */
uint64_t moon__replay_last(const moon__replay *replay, const char *path, size_t length);
/* An operation of this very path that was not used; NULL: none. */
const moon__recorded *moon__replay_left(const moon__replay *replay, const char *path);
#endif
