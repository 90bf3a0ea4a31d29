/* SPDX-License-Identifier: MIT */
#ifndef MOON_RUN_WORKTREE_H
#define MOON_RUN_WORKTREE_H
/*
 * A run that works in a work tree of its own, on a branch of its own: an agent's with `workspace = "worktree"`, and all
 * that it starts. How that is done is told by a moon_snapshot_ops (git's, in tools/); this says when, and journals it.
 *
 *     enter: found in the journal and on the disk, or made ──► worktree.made ──► the run goes on in it
 *     the run ends well ──► leave: committed ──► worktree.merging (kept first) ──► merged ──► worktree.merged ──►
 * removed └──► worktree.unmerged: it stays the run ends otherwise ──► it stays
 *
 * Each step may be made again: a process that dies in between finds what was done (a commit that is an ancestor of the
 * base's branch is merged), and what is not in the base is never removed.
 */
#include "run.h"

typedef struct moon__worktree moon__worktree;

/* Of a runtime: one merge at a time. */
typedef struct moon__merges {
    moon__worktree *first; /* at work */
} moon__merges;

/* done comes once, from the loop; if the run cannot go on, it is stopping then. */
MOON_MUST_USE moon_status moon__worktree_enter(moon_run *run, void (*done)(void *ctx), void *ctx, moon_error *error);
void moon__worktree_cancel(moon_run *run); /* done comes soon */
/* The run has ended well; moon__run_left comes, from the loop. */
void moon__worktree_leave(moon_run *run);
void moon__worktree_free(moon__worktree *worktree);
moon__scratch *moon__worktree_scratch(const moon__worktree *worktree); /* NULL: it works where its parent does */
/* The one that a run works in; NULL: none. */
const moon__worktree *moon__worktree_of(const moon_run *run);
#endif
