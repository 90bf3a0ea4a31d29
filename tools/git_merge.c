/* SPDX-License-Identifier: MIT */
/*
 * A merge into the branch and the work tree that somebody works in.
 *
 * It is made in memory first. Then, for each path that it changes, index and work tree must be as HEAD has them, or
 * already as the merge would make them; all other paths are not looked at and not touched. What is in the way is told
 * by path, and then nothing is changed at all. No hook, no filter program and no merge driver of the repository runs.
 *
 *   1. One merge at a time in a repository: a lock of the kernel on the file moonlet.lock in its common directory,
 * which goes when the process does.
 *   2. index.lock, as git takes it, so that git does not write meanwhile. Ours says so within; one that stands there
 *      while we hold lock 1 was left by a process that has died, and goes.
 *   3. Files, then the index, then the branch. A process that is ended before the branch has moved leaves files that
 *      are as the merge makes them: the merge can be made again, and goes on where it was. When the branch has moved,
 *      the merge has happened, and is not made again: the commit is an ancestor of the branch.
 */
#include "git_merge.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "git_lock.h"
#include "git_put.h"
#include "git_scan.h"
#include "git_who.h"

enum { LOCK_MS = 60000 };

static const char mark[] = "moonlet merge\n";

/* What a merge is made of. Objects are NULL until they are needed. */
typedef struct work {
    moon__git_job *job;
    moon__git_merge *merge;
    git_oid old_head, new_head;
    git_commit *ours, *theirs;
    git_tree *old_tree, *new_tree;
    git_diff *diff;
    git_index *index;
    char lock[PATH_MAX], temporary[PATH_MAX], own[PATH_MAX]; /* of the index; "": not made */
    size_t in_way;
} work;

static int refuse(work *w, const char *format, ...) MOON_PRINTF(2, 3);

static int refuse(work *w, const char *format, ...) {
    char text[500];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    w->merge->refused = true;
    return moon__git_fail(w->job, "%s", text);
}

/* ---- locks ---- */

int moon__git_merge_lock(moon__git_job *job, int *fd) {
    char path[PATH_MAX];
    int n = snprintf(path, sizeof path, "%smoonlet.lock", job->git->repository_commondir(job->repo));
    *fd = n < (int)sizeof path ? open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0666) : -1;
    if (*fd < 0) return moon__git_fail(job, "cannot open %.300s: %s", path, strerror(errno));
    for (int waited = 0; flock(*fd, LOCK_EX | LOCK_NB); waited += MOON__GIT_PAUSE_MS) {
        if (waited < LOCK_MS && !moon__git_nap(job)) continue;
        close(*fd);
        *fd = -1;
        return moon__git_fail(job, "another merge into this repository goes on (%.300s)", path);
    }
    return 0;
}

/* Does the file say that it is ours? */
static bool is_marked(const char *path) {
    char text[sizeof mark + 1];
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text);
    if (fd >= 0) close(fd);
    return n == (ssize_t)sizeof mark - 1 && !memcmp(text, mark, sizeof mark - 1);
}

/* Index files of ours in the repository's directory are of the one that holds the lock. */
static int copy_index(work *w, const char *dir) {
    char lock[PATH_MAX + 8];
    snprintf(w->temporary, sizeof w->temporary, "%.*smoonlet.index", PATH_MAX - 32, dir);
    snprintf(lock, sizeof lock, "%s.lock", w->temporary);
    unlink(w->temporary);
    unlink(lock);
    if (!moon__git_copy_index(w->job, w->temporary) || w->job->git->index_open(&w->index, w->temporary))
        return moon__git_trouble(w->job, "the index cannot be read");
    return w->job->git->repository_set_index(w->job->repo, w->index) ? moon__git_nomem(w->job) : 0;
}

static int lock_index(work *w) {
    const char *dir = w->job->git->repository_path(w->job->repo);
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%sindex.lock", dir) >= (int)sizeof path - 32)
        return moon__git_fail(w->job, "the repository's path is too long");
    snprintf(w->own, sizeof w->own, "%.*sindex", PATH_MAX - 16, dir);
    for (int waited = 0, code; (code = moon__git_lock_make(w->job, path, mark)); waited += MOON__GIT_PAUSE_MS) {
        if (code < 0) return -1;
        if (is_marked(path))
            unlink(path);
        else if (waited >= MOON__GIT_LOCK_MS)
            return refuse(w, "the index is locked (%.300s): git is at work there, or was ended in its work", path);
        else if (moon__git_nap(w->job))
            return -1;
    }
    snprintf(w->lock, sizeof w->lock, "%s", path);
    return copy_index(w, dir);
}

static void release(work *w) {
    const moon__git *git = w->job->git;
    git->index_free(w->index);
    git->diff_free(w->diff);
    git->tree_free(w->old_tree);
    git->tree_free(w->new_tree);
    git->commit_free(w->ours);
    git->commit_free(w->theirs);
    if (*w->temporary) unlink(w->temporary);
    if (*w->lock) unlink(w->lock);
}

/* ---- in memory ---- */

bool moon__git_branch_tip(const moon__git_job *job, const char *name, git_oid *out) {
    char ref[600];
    int n = snprintf(ref, sizeof ref, "refs/heads/%s", name);
    return n < (int)sizeof ref && !job->git->reference_name_to_id(out, job->repo, ref);
}

bool moon__git_contains(const moon__git_job *job, const git_oid *head, const git_oid *commit) {
    return !job->git->oid_cmp(head, commit) || job->git->graph_descendant_of(job->repo, head, commit) == 1;
}

static int64_t tell_conflicts(moon__git_job *job, git_index *index,
                              void (*path)(void *ctx, const char *path, const char *why), void *ctx) {
    const moon__git *git = job->git;
    git_index_conflict_iterator *all = NULL;
    const git_index_entry *base, *ours, *theirs;
    int64_t n = 0;
    if (git->index_conflict_iterator_new(&all, index)) return moon__git_trouble(job, "cannot read the conflicts");
    while (!git->index_conflict_next(&base, &ours, &theirs, all)) {
        const git_index_entry *any = ours ? ours : theirs ? theirs : base;
        const char *why = !ours     ? "changed on the branch, and deleted in the base"
                          : !theirs ? "deleted on the branch, and changed in the base"
                          : !base   ? "added on both sides"
                                    : "changed on both sides";
        if (path) path(ctx, any->path, why);
        n++;
    }
    git->index_conflict_iterator_free(all);
    return n;
}

static int merge_two(moon__git_job *job, git_commit *ours, git_commit *theirs, git_index **index) {
    git_merge_options options;
    job->git->merge_options_init(&options, GIT_MERGE_OPTIONS_VERSION);
    return job->git->merge_commits(index, job->repo, ours, theirs, &options) ? moon__git_trouble(job, "cannot merge")
                                                                             : 0;
}

int64_t moon__git_conflicts(moon__git_job *job, const git_oid *ours, const git_oid *theirs,
                            void (*path)(void *ctx, const char *path, const char *why), void *ctx) {
    const moon__git *git = job->git;
    git_commit *a = NULL, *b = NULL;
    git_index *index = NULL;
    int64_t n = -1;
    if (git->commit_lookup(&a, job->repo, ours) || git->commit_lookup(&b, job->repo, theirs))
        moon__git_trouble(job, "cannot read a commit");
    else if (!merge_two(job, a, b, &index))
        n = git->index_has_conflicts(index) ? tell_conflicts(job, index, path, ctx) : 0;
    git->index_free(index);
    git->commit_free(a);
    git->commit_free(b);
    return n;
}

/* The commit that HEAD is to be, and its tree; nothing is changed by it. */
static int merged_tree(work *w, git_oid *tree) {
    const moon__git *git = w->job->git;
    git_index *index = NULL;
    int bad = merge_two(w->job, w->ours, w->theirs, &index);
    if (!bad && git->index_has_conflicts(index)) {
        int64_t n = tell_conflicts(w->job, index, w->merge->path, w->merge->ctx);
        bad = refuse(w, "%s conflicts with %s in %lld file%s", w->merge->branch, w->merge->into, (long long)n,
                     n == 1 ? "" : "s");
    }
    if (!bad && git->index_write_tree_to(tree, index, w->job->repo)) bad = moon__git_trouble(w->job, "cannot merge");
    git->index_free(index);
    return bad;
}

static int commit_merge(work *w, const git_oid *tree) {
    const moon__git *git = w->job->git;
    const git_commit *parents[] = {w->ours, w->theirs};
    git_signature *who = NULL;
    char message[700];
    snprintf(message, sizeof message, "Merge branch '%.300s' into %.300s\n", w->merge->branch, w->merge->into);
    if (git->tree_lookup(&w->new_tree, w->job->repo, tree)) return moon__git_trouble(w->job, "cannot read the tree");
    int bad = moon__git_who_else(w->job, &who);
    if (!bad && git->commit_create(&w->new_head, w->job->repo, NULL, who, who, NULL, message, w->new_tree, 2, parents))
        bad = moon__git_trouble(w->job, "cannot write the merge");
    git->signature_free(who);
    return bad;
}

static int in_memory(work *w) {
    const moon__git *git = w->job->git;
    git_oid tree;
    if (git->commit_lookup(&w->ours, w->job->repo, &w->old_head) ||
        git->commit_lookup(&w->theirs, w->job->repo, &w->merge->commit) || git->commit_tree(&w->old_tree, w->ours))
        return moon__git_trouble(w->job, "cannot read a commit");
    if (moon__git_contains(w->job, &w->merge->commit, &w->old_head)) {
        w->new_head = w->merge->commit;
        if (git->commit_tree(&w->new_tree, w->theirs)) return moon__git_trouble(w->job, "cannot read a commit");
    } else if (merged_tree(w, &tree) || commit_merge(w, &tree))
        return -1;
    git_diff_options options;
    git->diff_options_init(&options, GIT_DIFF_OPTIONS_VERSION);
    options.flags = GIT_DIFF_INCLUDE_TYPECHANGE;
    return git->diff_tree_to_tree(&w->diff, w->job->repo, w->old_tree, w->new_tree, &options)
               ? moon__git_trouble(w->job, "cannot compare with the merge")
               : 0;
}

/* ---- what is in the way ---- */

static void in_way(work *w, const char *path, const char *why) {
    if (w->merge->path) w->merge->path(w->merge->ctx, path, why);
    w->in_way++;
}

/* One side of a delta; mode 0: there is no such file. */
typedef struct side {
    uint16_t mode;
    git_oid id;
} side;

static side side_of(const git_diff_file *file, bool there) {
    return there ? (side){.mode = file->mode, .id = file->id} : (side){.mode = 0};
}

static bool same(const work *w, const side *a, const side *b) {
    return a->mode == b->mode && (!a->mode || !w->job->git->oid_cmp(&a->id, &b->id));
}

/* The work tree's file; false: it cannot be read, or is no file. */
static bool work_side(work *w, const char *path, side *out) {
    char full[PATH_MAX];
    struct stat st;
    *out = (side){.mode = 0};
    int n = snprintf(full, sizeof full, "%s/%s", w->job->top, path);
    if (n >= (int)sizeof full) return false;
    if (lstat(full, &st)) return errno == ENOENT || errno == ENOTDIR;
    if (!S_ISREG(st.st_mode) && !S_ISLNK(st.st_mode)) return false;
    out->mode = S_ISLNK(st.st_mode)    ? GIT_FILEMODE_LINK
                : st.st_mode & S_IXUSR ? GIT_FILEMODE_BLOB_EXECUTABLE
                                       : GIT_FILEMODE_BLOB;
    return !w->job->git->blob_create_from_workdir(&out->id, w->job->repo, path);
}

/* A directory on the way that is none: a file or a link that HEAD has there is one of the merge's own paths. */
static bool parents_fine(const work *w, const char *path, bool *missing) {
    char full[PATH_MAX];
    struct stat st;
    size_t top = strlen(w->job->top) + 1;
    int n = snprintf(full, sizeof full, "%s/%s", w->job->top, path);
    if (n >= (int)sizeof full) return false;
    for (char *slash = strchr(full + top, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        bool none = lstat(full, &st) != 0;
        *missing = none || !S_ISDIR(st.st_mode);
        if (*missing) return none || w->job->git->index_get_bypath(w->index, full + top, 0);
        *slash = '/';
    }
    return true;
}

static void look(work *w, const git_diff_delta *delta) {
    const char *path = delta->status == GIT_DELTA_ADDED ? delta->new_file.path : delta->old_file.path;
    side old = side_of(&delta->old_file, delta->status != GIT_DELTA_ADDED),
         new = side_of(&delta->new_file, delta->status != GIT_DELTA_DELETED), there = {.mode = 0};
    const git_index_entry *entry = w->job->git->index_get_bypath(w->index, path, 0);
    side staged = entry ? (side){.mode = (uint16_t)entry->mode, .id = entry->id} : (side){.mode = 0};
    bool missing = false;
    if (old.mode == GIT_FILEMODE_COMMIT || new.mode == GIT_FILEMODE_COMMIT)
        in_way(w, path, "it is a submodule");
    else if (!same(w, &staged, &old) && !same(w, &staged, &new))
        in_way(w, path, "it has staged changes in the base");
    else if (entry && entry->flags_extended & GIT_INDEX_ENTRY_SKIP_WORKTREE)
        in_way(w, path, "it is not checked out in the base");
    else if (!parents_fine(w, path, &missing))
        in_way(w, path, "a file of the base is in the way");
    else if (!missing && !work_side(w, path, &there))
        in_way(w, path, "it is no file in the base, or cannot be read");
    else if (!same(w, &there, &old) && !same(w, &there, &new))
        in_way(w, path,
               !old.mode ? "a file of the base that git does not know is in the way" : "it has changes in the base");
}

static int look_at_all(work *w) {
    const moon__git *git = w->job->git;
    if (git->index_has_conflicts(w->index)) return refuse(w, "the index of the base has unresolved conflicts");
    for (size_t i = 0, n = git->diff_num_deltas(w->diff); i < n; i++) {
        if (moon__git_pause(w->job)) return -1;
        look(w, git->diff_get_delta(w->diff, i));
    }
    if (!w->in_way) return 0;
    return refuse(w, "%zu file%s of %.300s in the way of %s", w->in_way, w->in_way == 1 ? "" : "s", w->job->top,
                  w->merge->branch);
}

/* ---- for good ---- */

static const char *path_of(const git_diff_delta *delta) {
    return delta->status == GIT_DELTA_DELETED ? delta->old_file.path : delta->new_file.path;
}

static int stage(work *w, const git_diff_delta *delta) {
    const moon__git *git = w->job->git;
    const char *path = path_of(delta);
    char full[PATH_MAX];
    struct stat st = {.st_size = 0};
    if (delta->status == GIT_DELTA_DELETED) {
        int bad = git->index_remove(w->index, path, 0);
        return bad && bad != GIT_ENOTFOUND ? -1 : 0;
    }
    snprintf(full, sizeof full, "%s/%s", w->job->top, path);
    (void)lstat(full, &st); /* else git looks at it again */
    git_index_entry entry = {.mode = delta->new_file.mode,
                             .path = path,
                             .id = delta->new_file.id,
                             .dev = (uint32_t)st.st_dev,
                             .ino = (uint32_t)st.st_ino,
                             .uid = st.st_uid,
                             .gid = st.st_gid,
                             .file_size = (uint32_t)st.st_size,
                             .ctime = {(int32_t)st.st_ctim.tv_sec, (uint32_t)st.st_ctim.tv_nsec},
                             .mtime = {(int32_t)st.st_mtim.tv_sec, (uint32_t)st.st_mtim.tv_nsec}};
    return git->index_add(w->index, &entry);
}

static int write_index(work *w) {
    const moon__git *git = w->job->git;
    int bad = 0;
    for (size_t i = 0, n = git->diff_num_deltas(w->diff); !bad && i < n; i++)
        bad = stage(w, git->diff_get_delta(w->diff, i));
    if (!bad) bad = git->index_write(w->index);
    if (bad) return moon__git_trouble(w->job, "cannot write the index");
    return rename(w->temporary, w->own) ? moon__git_fail(w->job, "cannot replace the index: %s", strerror(errno)) : 0;
}

/* Is what stands in the lock of the branch a merge of this commit, or nothing yet? */
static bool is_ours(void *ctx, const char *text) {
    const work *w = ctx;
    const moon__git *git = w->job->git;
    git_commit *commit = NULL;
    git_oid id;
    if (!*text) return true;
    if (git->oid_fromstrn(&id, text, strcspn(text, "\n"))) return false;
    bool ours = !git->oid_cmp(&id, &w->merge->commit);
    if (!ours && !git->commit_lookup(&commit, w->job->repo, &id))
        ours =
            git->commit_parentcount(commit) == 2 && !git->oid_cmp(git->commit_parent_id(commit, 1), &w->merge->commit);
    git->commit_free(commit);
    return ours;
}

static int unlock_branch(work *w) {
    int code = moon__git_lock_branch(w->job, w->merge->into, is_ours, w);
    return code == 1
               ? refuse(w, "branch %.300s is locked: git is at work there, or was ended in its work", w->merge->into)
               : code;
}

static int move_branch(work *w) {
    const moon__git *git = w->job->git;
    git_reference *ref = NULL;
    char name[600], log[700];
    snprintf(name, sizeof name, "refs/heads/%.500s", w->merge->into);
    snprintf(log, sizeof log, "moonlet: merge %.500s", w->merge->branch);
    int bad = git->reference_create_matching(&ref, w->job->repo, name, &w->new_head, 1, &w->old_head, log);
    git->reference_free(ref);
    return bad ? moon__git_trouble(w->job, "cannot move %.200s", name) : 0;
}

/* ---- the whole ---- */

static int check_head(work *w) {
    const moon__git *git = w->job->git;
    git_reference *head = NULL;
    if (git->repository_state(w->job->repo) != GIT_REPOSITORY_STATE_NONE)
        return refuse(w, "a merge or rebase is going on in %.300s", w->job->top);
    bool named = !git->repository_head_detached(w->job->repo) && !git->repository_head(&head, w->job->repo);
    bool fits = named && !strcmp(git->reference_shorthand(head), w->merge->into);
    char now[300] = "no branch";
    if (named) snprintf(now, sizeof now, "%s", git->reference_shorthand(head));
    git->reference_free(head);
    return fits ? 0 : refuse(w, "%.300s has %s checked out, not %s", w->job->top, now, w->merge->into);
}

static int merge_locked(work *w) {
    if (check_head(w)) return -1;
    if (!moon__git_branch_tip(w->job, w->merge->into, &w->old_head))
        return moon__git_trouble(w->job, "cannot read branch %s", w->merge->into);
    if (in_memory(w) || look_at_all(w) || unlock_branch(w) || moon__git_put(w->job, w->new_tree, w->diff) ||
        write_index(w) || move_branch(w))
        return -1;
    w->merge->head = w->new_head;
    w->merge->files = (int64_t)w->job->git->diff_num_deltas(w->diff);
    return 0;
}

static bool happened(const work *w) {
    git_oid tip;
    if (!moon__git_branch_tip(w->job, w->merge->into, &tip) || !moon__git_contains(w->job, &tip, &w->merge->commit))
        return false;
    w->merge->head = tip;
    return true;
}

/* A process that has died with the merge made, and the lock of the index held. */
static bool left_locked(const moon__git_job *job) {
    char path[PATH_MAX];
    int n = snprintf(path, sizeof path, "%sindex.lock", job->git->repository_path(job->repo));
    return n < (int)sizeof path && is_marked(path);
}

int moon__git_merge_commit(moon__git_job *job, moon__git_merge *merge) {
    work w = {.job = job, .merge = merge};
    int fd = -1, bad = 0;
    merge->refused = false;
    merge->files = 0;
    if (happened(&w) && !left_locked(job)) return 0;
    if (moon__git_merge_lock(job, &fd)) {
        merge->refused = !moon__git_pause(job);
        return -1;
    }
    if (!happened(&w) || left_locked(job)) bad = lock_index(&w);
    if (!bad && !happened(&w)) bad = merge_locked(&w);
    release(&w);
    close(fd);
    return bad;
}
