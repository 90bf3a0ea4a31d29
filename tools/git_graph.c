/* SPDX-License-Identifier: MIT */
/* Reads git's commit-graph file: see git_graph.h. Layout: 8 bytes of header, a table of chunks (id, offset) that ends
 * with a zero id, the chunks, a checksum. Numbers are big-endian. */
#include "git_graph.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    ID = 20,
    COMMIT = ID + 16, /* tree, two parents, generation and time */
    FANOUT = 256 * 4,
    TABLE_ENTRY = 12,
    NO_PARENT = 0x70000000,
};
static const uint32_t more_parents = 0x80000000u; /* the rest is a list in EDGE; there, the end of the list */

static uint32_t be32(const unsigned char *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static uint64_t be64(const unsigned char *p) {
    return (uint64_t)be32(p) << 32 | be32(p + 4);
}

/* Notes where the chunks are that we need; false if anything is out of bounds. */
static bool find_chunks(moon__git_graph *g) {
    const unsigned char *table = g->map + 8;
    size_t chunks = g->map[6], commits_size = 0, ids_size = 0, fanout_size = 0, edges_size = 0;
    if (8 + (chunks + 1) * TABLE_ENTRY > g->size) return false;
    for (size_t i = 0; i < chunks; i++) {
        const unsigned char *entry = table + i * TABLE_ENTRY;
        uint64_t from = be64(entry + 4), to = be64(entry + TABLE_ENTRY + 4);
        if (from > to || to > g->size) return false;
        size_t size = (size_t)(to - from);
        const unsigned char *chunk = g->map + from;
        if (!memcmp(entry, "OIDF", 4)) g->fanout = chunk, fanout_size = size;
        if (!memcmp(entry, "OIDL", 4)) g->ids = chunk, ids_size = size;
        if (!memcmp(entry, "CDAT", 4)) g->commits = chunk, commits_size = size;
        if (!memcmp(entry, "EDGE", 4)) g->edges = chunk, edges_size = size;
    }
    if (fanout_size < FANOUT || !g->ids || !g->commits) return false;
    g->count = be32(g->fanout + FANOUT - 4);
    g->edge_count = (uint32_t)(edges_size / 4);
    return ids_size / ID >= g->count && commits_size / COMMIT >= g->count;
}

void moon__git_graph_open(moon__git_graph *g, const char *gitdir) {
    static const unsigned char header[6] = {'C', 'G', 'P', 'H', 1, 1};
    char path[4300];
    struct stat st;
    *g = (moon__git_graph){0};
    snprintf(path, sizeof path, "%sobjects/info/commit-graph", gitdir);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) return;
    /* git replaces the file by rename and never writes into it, so the mapping stays what it was. */
    if (!fstat(fd, &st) && S_ISREG(st.st_mode) && st.st_size > 8 && st.st_size < (off_t)1 << 32) {
        void *map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (map != MAP_FAILED) {
            g->map = map;
            g->size = (size_t)st.st_size;
            if (memcmp(map, header, sizeof header) || g->map[7] || !find_chunks(g)) moon__git_graph_close(g);
        }
    }
    close(fd);
}

void moon__git_graph_close(moon__git_graph *g) {
    if (g->map) munmap((void *)(uintptr_t)g->map, g->size);
    *g = (moon__git_graph){0};
}

static bool position(const moon__git_graph *g, const git_oid *id, uint32_t *out) {
    unsigned first = id->id[0];
    uint32_t low = first ? be32(g->fanout + (first - 1) * 4) : 0, high = be32(g->fanout + first * 4);
    if (high > g->count) return false;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = memcmp(g->ids + (size_t)middle * ID, id->id, ID);
        if (!order) {
            *out = middle;
            return true;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return false;
}

static bool add_parent(const moon__git_graph *g, uint32_t at, moon__git_graph_commit *out) {
    if (at >= g->count || out->parent_count == MOON__GIT_GRAPH_PARENTS) return false;
    memcpy(out->parents[out->parent_count++].id, g->ids + (size_t)at * ID, ID);
    return true;
}

bool moon__git_graph_find(const moon__git_graph *g, const git_oid *id, moon__git_graph_commit *out) {
    uint32_t at;
    if (!g->map || !position(g, id, &at)) return false;
    const unsigned char *commit = g->commits + (size_t)at * COMMIT;
    uint32_t first = be32(commit + ID), second = be32(commit + ID + 4);
    memcpy(out->tree.id, commit, ID);
    out->time = (int64_t)(be64(commit + ID + 8) & 0x3ffffffffu);
    out->parent_count = 0;
    if (first != NO_PARENT && !add_parent(g, first, out)) return false;
    if (second == NO_PARENT) return true;
    if (!(second & more_parents)) return add_parent(g, second, out);
    for (uint32_t i = second & ~more_parents; i < g->edge_count; i++) {
        uint32_t edge = be32(g->edges + (size_t)i * 4);
        if (!add_parent(g, edge & ~more_parents, out)) return false;
        if (edge & more_parents) return true;
    }
    return false;
}
