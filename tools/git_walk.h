/* SPDX-License-Identifier: MIT */
#ifndef MOON_TOOLS_GIT_WALK_H
#define MOON_TOOLS_GIT_WALK_H
/*
 * Walking history, newest commit first, reading no more of it than is asked for. libgit2's own walk sorts by reading
 * the whole of history first, and parses all of each commit; twenty commits of ten thousand are wanted much more often.
 *
 * A node is a commit that was met. Its id is known; load() finds tree, time and parents, from git's commit-graph file
 * where there is one. Commits at which a shallow clone was cut have no parents. Nodes live as long as the walk.
 */
#include "git_graph.h"
#include "git_repo.h"

typedef struct moon__git_node {
    git_oid id, tree;
    int64_t time; /* the committer's */
    struct moon__git_node **parents;
    uint32_t parent_count;
    bool loaded, shallow;
    bool seen;  /* of whoever walks, as data is */
    void *data; /* of whoever walks */
} moon__git_node;

/* A queue of nodes: the newest comes out first, of equals the one that went in first. */
typedef struct moon__git_queue {
    struct moon__git_queued {
        int64_t time;
        uint64_t order;
        moon__git_node *node;
    } * heap;
    size_t count, cap;
    uint64_t order;
} moon__git_queue;

typedef struct moon__git_walk {
    moon__git_job *job;
    git_odb *odb;
    moon__git_graph graph;
    moon__git_node **table; /* open addressing by id; capacity is a power of two */
    size_t table_cap, node_count;
    struct moon__git_block *blocks; /* memory of nodes and whatever alloc() gave */
    moon__git_queue queue;
} moon__git_walk;

/* fini is due after init, even if that failed. */
int moon__git_walk_init(moon__git_walk *walk, moon__git_job *job);
void moon__git_walk_fini(moon__git_walk *walk);
void *moon__git_walk_alloc(moon__git_walk *walk, size_t size); /* NULL: out of memory */

moon__git_node *moon__git_walk_node(moon__git_walk *walk, const git_oid *id); /* NULL: job->error is set */
int moon__git_walk_load(moon__git_walk *walk, moon__git_node *node);
/* Loads and queues it. */
int moon__git_walk_push(moon__git_walk *walk, moon__git_node *node);
moon__git_node *moon__git_walk_pop(moon__git_walk *walk); /* NULL: none is left */

/* The bytes of an object of that type; the caller frees it with git->odb_object_free. */
int moon__git_walk_read(moon__git_walk *walk, const git_oid *id, git_object_t type, git_odb_object **out);

#endif
