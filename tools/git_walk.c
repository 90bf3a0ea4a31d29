/* SPDX-License-Identifier: MIT */
/* Nodes of history, found by id and loaded on demand, and the queue that orders them: see git_walk.h. */
#include "git_walk.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { NODES_MAX = 4 << 20, BLOCK_SIZE = 64 << 10, SHALLOW_MAX = 4 << 20, PARENTS_MAX = 1024 };

typedef struct moon__git_block {
    struct moon__git_block *next;
    size_t used, size;
    _Alignas(16) char bytes[];
} block;

/* ---- memory ---- */

void *moon__git_walk_alloc(moon__git_walk *walk, size_t size) {
    block *b = walk->blocks;
    size = (size + 15) & ~(size_t)15;
    if (!b || b->size - b->used < size) {
        size_t room = size > BLOCK_SIZE ? size : BLOCK_SIZE;
        b = malloc(sizeof *b + room);
        if (!b) return NULL;
        *b = (block){.next = walk->blocks, .size = room};
        walk->blocks = b;
    }
    void *p = b->bytes + b->used;
    b->used += size;
    return memset(p, 0, size);
}

/* ---- nodes ---- */

static size_t slot_of(const moon__git_walk *walk, const git_oid *id) {
    uint64_t hash;
    memcpy(&hash, id->id, sizeof hash);
    size_t slot = hash & (walk->table_cap - 1);
    while (walk->table[slot] && memcmp(walk->table[slot]->id.id, id->id, GIT_OID_RAWSZ))
        slot = (slot + 1) & (walk->table_cap - 1);
    return slot;
}

static bool grow_table(moon__git_walk *walk) {
    moon__git_node **old = walk->table;
    size_t old_cap = walk->table_cap, cap = old_cap ? old_cap * 2 : 256;
    moon__git_node **table = calloc(cap, sizeof *table);
    if (!table) return false;
    walk->table = table;
    walk->table_cap = cap;
    for (size_t i = 0; i < old_cap; i++)
        if (old[i]) table[slot_of(walk, &old[i]->id)] = old[i];
    free(old);
    return true;
}

moon__git_node *moon__git_walk_node(moon__git_walk *walk, const git_oid *id) {
    moon__git_node *node = NULL;
    if (walk->node_count * 2 >= walk->table_cap && !grow_table(walk)) {
        moon__git_nomem(walk->job);
        return NULL;
    }
    size_t slot = slot_of(walk, id);
    if (walk->table[slot]) return walk->table[slot];
    if (walk->node_count == NODES_MAX)
        moon__git_fail(walk->job, "the history is longer than %d commits", NODES_MAX);
    else if ((node = moon__git_walk_alloc(walk, sizeof *node))) {
        node->id = *id;
        walk->table[slot] = node;
        walk->node_count++;
    } else
        moon__git_nomem(walk->job);
    return node;
}

static int set_parents(moon__git_walk *walk, moon__git_node *node, const git_oid *ids, size_t count) {
    if (node->shallow || !count) return 0;
    node->parents = moon__git_walk_alloc(walk, count * sizeof(moon__git_node *));
    if (!node->parents) return moon__git_nomem(walk->job);
    for (size_t i = 0; i < count; i++)
        if (!(node->parents[i] = moon__git_walk_node(walk, &ids[i]))) return -1;
    node->parent_count = (uint32_t)count;
    return 0;
}

/* ---- loading ---- */

/* "tree <id>\n", "parent <id>\n" … at p, if it is there whole. */
static const char *id_line(const moon__git *git, const char *p, const char *end, const char *word, git_oid *out) {
    size_t n = strlen(word);
    if ((size_t)(end - p) < n + GIT_OID_HEXSZ + 1 || memcmp(p, word, n) || p[n + GIT_OID_HEXSZ] != '\n' ||
        git->oid_fromstrn(out, p + n, GIT_OID_HEXSZ))
        return NULL;
    return p + n + GIT_OID_HEXSZ + 1;
}

/* The seconds after the last '>' of the line that starts with "committer "; 0 if they are not there. */
static int64_t committer_time(const char *p, const char *end) {
    static const char word[] = "committer ";
    while (p < end && *p != '\n') {
        const char *eol = memchr(p, '\n', (size_t)(end - p));
        if (!eol) return 0;
        if ((size_t)(eol - p) > sizeof word && !memcmp(p, word, sizeof word - 1)) {
            const char *angle = memrchr(p, '>', (size_t)(eol - p));
            int64_t seconds = 0;
            for (angle = angle ? angle + 1 : eol; angle < eol && *angle == ' '; angle++) {
            }
            for (; angle < eol && *angle >= '0' && *angle <= '9' && seconds < INT64_MAX / 16; angle++)
                seconds = seconds * 10 + (*angle - '0');
            return seconds;
        }
        p = eol + 1;
    }
    return 0;
}

static int parse(moon__git_walk *walk, moon__git_node *node, const char *p, const char *end) {
    const moon__git *git = walk->job->git;
    git_oid parents[16], *ids = parents, *more = NULL;
    size_t count = 0;
    p = id_line(git, p, end, "tree ", &node->tree);
    if (!p) return moon__git_fail(walk->job, "a commit of this repository is malformed");
    for (const char *next; count < PARENTS_MAX && (next = id_line(git, p, end, "parent ", &ids[count])); p = next)
        if (++count == sizeof parents / sizeof *parents) {
            more = malloc((PARENTS_MAX + 1) * sizeof *more); /* an octopus: rare, and all of it at once */
            if (!more) return moon__git_nomem(walk->job);
            memcpy(more, parents, sizeof parents);
            ids = more;
        }
    node->time = committer_time(p, end);
    int failed = set_parents(walk, node, ids, count);
    free(more);
    return failed;
}

int moon__git_walk_read(moon__git_walk *walk, const git_oid *id, git_object_t type, git_odb_object **out) {
    const moon__git *git = walk->job->git;
    char hex[GIT_OID_HEXSZ + 1];
    if (git->odb_read(out, walk->odb, id))
        return moon__git_trouble(walk->job, "object %s cannot be read (a partial clone, or damaged?)",
                                 git->oid_tostr(hex, sizeof hex, id));
    if (git->odb_object_type(*out) == type) return 0;
    git->odb_object_free(*out);
    *out = NULL;
    return moon__git_fail(walk->job, "object %s is not of the kind it should be", git->oid_tostr(hex, sizeof hex, id));
}

int moon__git_walk_load(moon__git_walk *walk, moon__git_node *node) {
    const moon__git *git = walk->job->git;
    if (node->loaded) return 0;
    node->loaded = true;
    moon__git_graph_commit found;
    if (!node->shallow && moon__git_graph_find(&walk->graph, &node->id, &found)) {
        node->tree = found.tree;
        node->time = found.time;
        return set_parents(walk, node, found.parents, found.parent_count);
    }
    git_odb_object *object;
    if (moon__git_walk_read(walk, &node->id, GIT_OBJECT_COMMIT, &object)) return -1;
    const char *data = git->odb_object_data(object);
    int failed = parse(walk, node, data, data + git->odb_object_size(object));
    git->odb_object_free(object);
    return failed;
}

/* ---- the queue ---- */

static bool before(const struct moon__git_queued *a, const struct moon__git_queued *b) {
    return a->time != b->time ? a->time > b->time : a->order < b->order;
}

int moon__git_walk_push(moon__git_walk *walk, moon__git_node *node) {
    moon__git_queue *q = &walk->queue;
    if (moon__git_walk_load(walk, node)) return -1;
    if (q->count == q->cap) {
        size_t cap = q->cap ? q->cap * 2 : 64;
        void *heap = realloc(q->heap, cap * sizeof *q->heap);
        if (!heap) return moon__git_nomem(walk->job);
        q->heap = heap;
        q->cap = cap;
    }
    struct moon__git_queued item = {node->time, q->order++, node};
    size_t i = q->count++;
    for (; i && before(&item, &q->heap[(i - 1) / 2]); i = (i - 1) / 2) q->heap[i] = q->heap[(i - 1) / 2];
    q->heap[i] = item;
    return 0;
}

moon__git_node *moon__git_walk_pop(moon__git_walk *walk) {
    moon__git_queue *q = &walk->queue;
    if (!q->count) return NULL;
    moon__git_node *top = q->heap[0].node;
    struct moon__git_queued last = q->heap[--q->count];
    size_t i = 0;
    for (size_t child; (child = i * 2 + 1) < q->count; i = child) {
        if (child + 1 < q->count && before(&q->heap[child + 1], &q->heap[child])) child++;
        if (!before(&q->heap[child], &last)) break;
        q->heap[i] = q->heap[child];
    }
    q->heap[i] = last;
    return top;
}

/* ---- begin and end ---- */

/* The `shallow` file lists the commits whose parents were not fetched, an id per line. */
static int read_shallow(moon__git_walk *walk, int fd) {
    char line[GIT_OID_HEXSZ + 1];
    git_oid id;
    FILE *file = fdopen(fd, "r");
    if (!file) {
        close(fd);
        return moon__git_nomem(walk->job);
    }
    int failed = 0;
    for (size_t n = 0; !failed && n < SHALLOW_MAX / sizeof line && fread(line, sizeof line, 1, file) == 1; n++) {
        moon__git_node *node = NULL;
        if (line[GIT_OID_HEXSZ] != '\n' || walk->job->git->oid_fromstrn(&id, line, GIT_OID_HEXSZ))
            failed = moon__git_fail(walk->job, "the repository's `shallow` file is malformed");
        else if (!(node = moon__git_walk_node(walk, &id)))
            failed = -1;
        else
            node->shallow = true;
    }
    fclose(file);
    return failed;
}

int moon__git_walk_init(moon__git_walk *walk, moon__git_job *job) {
    *walk = (moon__git_walk){.job = job};
    const char *common = job->git->repository_commondir(job->repo);
    char path[4200];
    if (job->git->repository_odb(&walk->odb, job->repo)) return moon__git_trouble(job, "no objects can be read");
    moon__git_graph_open(&walk->graph, common);
    snprintf(path, sizeof path, "%sshallow", common);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    return fd < 0 ? 0 : read_shallow(walk, fd);
}

void moon__git_walk_fini(moon__git_walk *walk) {
    for (block *b = walk->blocks, *next; b; b = next) {
        next = b->next;
        free(b);
    }
    free(walk->table);
    free(walk->queue.heap);
    moon__git_graph_close(&walk->graph);
    walk->job->git->odb_free(walk->odb);
}
