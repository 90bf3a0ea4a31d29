/* SPDX-License-Identifier: MIT */
/* Looking a path up in trees: see git_way.h. Trees are read as git stores them, "mode name\0" and 20 bytes of id for
 * each entry, since one name of a tree is wanted and parsing it whole would take most of the time. */
#include "git_way.h"

#include <string.h>

int moon__git_way_init(moon__git_way *way, moon__git_job *job, const char *path) {
    way->path = path;
    way->depth = 0;
    for (;;) {
        size_t n = strcspn(path, "/");
        if (way->depth == MOON__GIT_DEPTH || !n) return moon__git_fail(job, "the path is empty or too deep");
        way->name[way->depth].p = path;
        way->name[way->depth++].n = n;
        if (!path[n]) return 0;
        path += n + 1;
    }
}

bool moon__git_step_same(const moon__git_step *a, const moon__git_step *b) {
    return a->mode == b->mode && !memcmp(a->id.id, b->id.id, GIT_OID_RAWSZ);
}

bool moon__git_tree_find(const char *data, size_t size, const char *name, size_t n, moon__git_step *out) {
    const char *p = data, *end = data + size;
    *out = (moon__git_step){0};
    while (p < end) {
        uint32_t mode = 0;
        for (; p < end && *p >= '0' && *p <= '7' && mode < 1 << 24; p++) mode = mode << 3 | (uint32_t)(*p - '0');
        if (p == end || *p++ != ' ') return false;
        const char *nul = memchr(p, 0, (size_t)(end - p));
        if (!nul || end - nul <= GIT_OID_RAWSZ) return false;
        size_t length = (size_t)(nul - p);
        int order = memcmp(p, name, length < n ? length : n);
        if (!order && length == n) {
            memcpy(out->id.id, nul + 1, GIT_OID_RAWSZ);
            /* Old trees hold odd permissions: like git, only the executable bit counts. */
            bool file = (mode & 0170000) == 0100000;
            out->mode = !file ? mode : mode & 0100 ? 0100755 : 0100644;
            return true;
        }
        if (order > 0) return true; /* sorted, whatever stands behind the shorter of two names */
        p = nul + 1 + GIT_OID_RAWSZ;
    }
    return true;
}

static int step(moon__git_walk *walk, const git_oid *tree, const char *name, size_t n, moon__git_step *out) {
    const moon__git *git = walk->job->git;
    git_odb_object *object;
    if (moon__git_walk_read(walk, tree, GIT_OBJECT_TREE, &object)) return -1;
    bool sound = moon__git_tree_find(git->odb_object_data(object), git->odb_object_size(object), name, n, out);
    git->odb_object_free(object);
    return sound ? 0 : moon__git_fail(walk->job, "a tree of this repository is malformed");
}

int moon__git_way_steps(const moon__git_way *way, moon__git_walk *walk, const git_oid *tree, moon__git_step *out,
                        const git_oid *known_tree, const moon__git_step *known) {
    if (known && !memcmp(tree->id, known_tree->id, GIT_OID_RAWSZ)) {
        memcpy(out, known, way->depth * sizeof *out);
        return 0;
    }
    memset(out, 0, way->depth * sizeof *out);
    for (size_t i = 0; i < way->depth; i++) {
        if (step(walk, tree, way->name[i].p, way->name[i].n, &out[i])) return -1;
        if (!out[i].mode) return 0;
        if (known && moon__git_step_same(&out[i], &known[i])) {
            memcpy(out + i, known + i, (way->depth - i) * sizeof *out);
            return 0;
        }
        if (i + 1 < way->depth && (out[i].mode & 0170000) != 0040000) return 0; /* a file where a directory should be */
        tree = &out[i].id;
    }
    return 0;
}
