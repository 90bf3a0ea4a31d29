/* SPDX-License-Identifier: MIT */
#ifndef MOON_TOOLS_GIT_WAY_H
#define MOON_TOOLS_GIT_WAY_H
/*
 * Looking one path up in tree after tree. A way is the path cut into its names; the steps are what each name led to in
 * one tree. Since most commits change something else, the look-up in a commit's parent takes the commit's steps as a
 * hint: as soon as a step is the same object, so is all below it.
 */
#include "git_walk.h"

enum { MOON__GIT_DEPTH = 128 }; /* names in a path */

typedef struct moon__git_way {
    const char *path; /* borrowed; not "" */
    size_t depth;
    struct {
        const char *p;
        size_t n;
    } name[MOON__GIT_DEPTH];
} moon__git_way;

typedef struct moon__git_step {
    git_oid id;
    uint32_t mode; /* as git stores it: 0100644, 040000 …; 0: there is nothing of that name */
} moon__git_step;

int moon__git_way_init(moon__git_way *way, moon__git_job *job, const char *path);
/* Fills out[depth] for the tree of a loaded node. known, the steps in known_tree, may be NULL. */
int moon__git_way_steps(const moon__git_way *way, moon__git_walk *walk, const git_oid *tree, moon__git_step *out,
                        const git_oid *known_tree, const moon__git_step *known);
bool moon__git_step_same(const moon__git_step *a, const moon__git_step *b);
/* The entry of a tree's raw bytes with that name; mode 0 if there is none. False: the bytes are no tree. */
bool moon__git_tree_find(const char *data, size_t size, const char *name, size_t n, moon__git_step *out);

#endif
