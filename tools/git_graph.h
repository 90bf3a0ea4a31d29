/* SPDX-License-Identifier: MIT */
#ifndef MOON_TOOLS_GIT_GRAPH_H
#define MOON_TOOLS_GIT_GRAPH_H
/*
 * git's commit-graph file (objects/info/commit-graph, gitformat-commit-graph(5), version 1 with SHA-1): parents, tree
 * and time of most commits without inflating them. A repository without it, with a chain of such files, or with one
 * that is not sound, is walked without: nothing is found here then. The file's bytes are not trusted: each offset is
 * checked.
 */
#include "git_api.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MOON__GIT_GRAPH_PARENTS = 32 }; /* a commit with more of them is not found here */

typedef struct moon__git_graph {
    const unsigned char *map; /* NULL: there is none */
    size_t size;
    const unsigned char *fanout, *ids, *commits, *edges;
    uint32_t count, edge_count;
} moon__git_graph;

typedef struct moon__git_graph_commit {
    git_oid tree;
    int64_t time;
    uint32_t parent_count;
    git_oid parents[MOON__GIT_GRAPH_PARENTS];
} moon__git_graph_commit;

/* gitdir ends with a slash. */
void moon__git_graph_open(moon__git_graph *graph, const char *gitdir);
void moon__git_graph_close(moon__git_graph *graph);
bool moon__git_graph_find(const moon__git_graph *graph, const git_oid *id, moon__git_graph_commit *out);

#endif
