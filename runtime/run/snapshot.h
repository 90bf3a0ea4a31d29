/* SPDX-License-Identifier: MIT */
#ifndef MOON_RUN_SNAPSHOT_H
#define MOON_RUN_SNAPSHOT_H
/*
 * Snapshots of the workspace while a run goes on: one before the first call that may write, and one after each step in
 * which such a call has run. How they are made is told by a moon_snapshot_ops (git's, in tools/); this says when, and
 * journals them. They are made on a worker, one at a time in a tree of runs; the step waits for its own.
 *
 * A snapshot is no operation of the run: nothing is decided by it, a script need not find it again, and a run whose
 * journal lacks one goes on. It is named after the last event before it, so that a fork at that event finds it; its own
 * event comes when it is there. A run that dies in between takes it again when it is resumed.
 */
#include "run.h"

/* One that is wanted; embedded in its owner until done. */
typedef struct moon__snapshot_wait {
    moon_run *run;
    char key[40]; /* of its event */
    bool first;   /* what was before the run changed anything; not needed if there is one already */
    char label[200];
    void (*done)(void *ctx); /* once, from the loop */
    void *ctx;
    struct moon__snapshot_wait *next;
    moon__defer over;
} moon__snapshot_wait;

typedef struct moon__snapping moon__snapping;

/* Of a tree of runs. */
typedef struct moon__snapshots {
    moon_snapshot *last; /* NULL: there is none */
    uint64_t from;       /* the last event before this process took the run up: what the first one is named after */
    bool all;            /* of every agent's steps, not only of those that say so */
    bool off;            /* not any more */
    bool begun;          /* one was taken, or tried, in this process */
    uint64_t changes;    /* calls that may write which this process has begun */
    moon__snapping *at_work;
    moon__snapshot_wait *first, **end; /* the first is at work */
    moon__timer grace;
    uint64_t *told; /* n_told hashes of warnings */
    size_t n_told;
} moon__snapshots;

void moon__snapshots_init(moon__snapshots *snapshots, moon_run *root);
void moon__snapshots_fini(moon__snapshots *snapshots);
/* This is the last one (copied); false when memory is out. */
bool moon__snapshots_set_last(moon__snapshots *snapshots, const moon_snapshot *last);
/* Are they wanted of this run's calls, which are those of an agent that says so (1), says no (0) or nothing (-1)? */
bool moon__snapshots_wanted(moon_run *run, int agent);
/* None is taken any more in the run's tree, which is told why. */
void moon__snapshots_off(moon_run *run, const char *why);
/* Is one under this key in the journal? */
bool moon__snapshot_recorded(moon_run *run, const char *key);
/* False: it is not needed, or cannot be; done does not come. */
bool moon__snapshot_take(moon__snapshot_wait *wait);
/* Nobody needs it any more: done comes soon. */
void moon__snapshot_cancel(moon__snapshot_wait *wait);
/* The body of an event. False: it is none. */
bool moon__snapshot_read(moon_snapshot *snapshot, const moon_json *body);
#endif
