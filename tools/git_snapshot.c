/* SPDX-License-Identifier: MIT */
/*
 * Snapshots of the workspace in its git repository: refs/moonlet/RUN/N, each a commit whose tree is the whole work tree
 * and whose parent is the run's snapshot before it, so that `git log` and `git diff` read a run as they read a branch.
 * The first one's parent is what was checked out; where that has changed since the last one, it is a second parent.
 *
 * Objects are written first, then the ref; whoever is ended in between leaves objects that git's own garbage collection
 * removes. A snapshot that is taken again has the name and takes the place of the one before.
 */
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "git_scan.h"
#include "git_tree.h"
#include "git_worktree.h"

static const char folder[] = "refs/moonlet/";

static moon_status failed(const moon__git_job *job, moon_status status, moon_error *error) {
    return moon_error_set(error, status, "%s", job->error);
}

/* A run's id stands in names of refs and files. */
static bool is_id(const char *run) {
    size_t n = strspn(run, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_");
    return n && n < 64 && !run[n];
}

/* On success job->git is there. */
static moon_status begin(moon__git_job *job, const char *workspace, const char *run, moon_error *error) {
    job->root = workspace;
    moon_status status = MOON_OK;
    if (!is_id(run))
        status = moon_error_set(error, MOON_EINVAL, "\"%.60s\" is no id of a run", run);
    else if (moon__git_begin(job))
        status = failed(job, MOON_EUNSUPPORTED, error);
    else if (!job->top) {
        moon__git_fail(job, "the repository %.300s is bare: it has no work tree", workspace);
        status = failed(job, MOON_EUNSUPPORTED, error);
    }
    return status || job->git ? status : MOON_EUNSUPPORTED;
}

static moon__git_job job_of(const moon_snapshot_request *request) {
    return (moon__git_job){.cancelled = request->cancelled, .ctx = request->ctx};
}

static moon_status why(const moon__git_job *job) {
    return job->cancelled && job->cancelled(job->ctx) ? MOON_ECANCELLED : MOON_EIO;
}

/* ---- taking one ---- */

/* What the snapshot hangs from. Objects of the last two are NULL where there is none. */
typedef struct roots {
    git_commit *before, *head;
    git_tree *old_tree; /* what the number of changed files counts from */
} roots;

static bool read_id(const moon__git *git, git_oid *id, const char *hex) {
    return *hex && !git->oid_fromstrn(id, hex, strlen(hex));
}

static void free_roots(const moon__git_job *job, roots *r) {
    job->git->commit_free(r->before);
    job->git->commit_free(r->head);
    job->git->tree_free(r->old_tree);
}

static int find_roots(moon__git_job *job, const moon_snapshot *before, roots *r) {
    const moon__git *git = job->git;
    git_oid id;
    *r = (roots){.before = NULL};
    if (moon__git_head(job, &r->head) < 0) return -1;
    if (before && read_id(git, &id, before->commit) && git->commit_lookup(&r->before, job->repo, &id)) r->before = NULL;
    const git_commit *old = r->before ? r->before : r->head;
    return old && git->commit_tree(&r->old_tree, old) ? moon__git_trouble(job, "cannot read the last snapshot") : 0;
}

static int write_commit(moon__git_job *job, const moon_snapshot_request *request, const roots *r, git_tree *tree,
                        git_oid *id) {
    const moon__git *git = job->git;
    const git_commit *parents[2];
    size_t n = 0;
    char message[700], head[GIT_OID_HEXSZ + 1] = "";
    git_signature *who = NULL;
    git_reference *ref = NULL;
    char name[sizeof((moon_snapshot *)0)->ref];
    if (r->head) git->oid_tostr(head, sizeof head, git->commit_id(r->head));
    if (r->before) parents[n++] = r->before;
    if (r->head && (!r->before || !request->before || strcmp(head, request->before->head) != 0)) parents[n++] = r->head;
    const char *label = request->label ? request->label : "snapshot";
    snprintf(message, sizeof message, "%.500s\n\nThe workspace of run %s after its event %" PRIu64 ".\n", label,
             request->run, request->at);
    snprintf(name, sizeof name, "%s%s/%" PRIu64, folder, request->run, request->at);
    int bad = git->signature_now(&who, "moonlet", "moonlet@localhost") ||
              git->commit_create(id, job->repo, NULL, who, who, "UTF-8", message, tree, n, parents) ||
              git->reference_create(&ref, job->repo, name, id, 1, NULL);
    git->reference_free(ref);
    git->signature_free(who);
    return bad ? moon__git_trouble(job, "cannot keep the snapshot as %.120s", name) : 0;
}

static int keep(moon__git_job *job, const moon_snapshot_request *request, const git_oid *tree_id, moon_snapshot *out) {
    const moon__git *git = job->git;
    roots r;
    git_tree *tree = NULL;
    git_oid id;
    int bad = find_roots(job, request->before, &r);
    if (!bad && git->tree_lookup(&tree, job->repo, tree_id)) bad = moon__git_trouble(job, "cannot read the tree");
    if (!bad) bad = write_commit(job, request, &r, tree, &id);
    if (!bad) {
        *out = (moon_snapshot){.at = request->at, .files = moon__git_count_changed(job, r.old_tree, tree)};
        git->oid_tostr(out->commit, sizeof out->commit, &id);
        git->oid_tostr(out->tree, sizeof out->tree, tree_id);
        if (r.head) git->oid_tostr(out->head, sizeof out->head, git->commit_id(r.head));
        snprintf(out->ref, sizeof out->ref, "%s%s/%" PRIu64, folder, request->run, request->at);
    }
    git->tree_free(tree);
    free_roots(job, &r);
    return bad;
}

static moon_status take(const moon_snapshot_request *request, moon_snapshot *out, moon_error *error) {
    moon__git_job job = job_of(request);
    git_oid tree;
    char hex[GIT_OID_HEXSZ + 1];
    moon_status status = begin(&job, request->workspace, request->run, error);
    if (!status) {
        int bad = moon__git_scan(&job, request, &tree);
        if (!bad && request->before && !strcmp(job.git->oid_tostr(hex, sizeof hex, &tree), request->before->tree))
            *out = *request->before;
        else if (!bad)
            bad = keep(&job, request, &tree, out);
        if (bad) status = failed(&job, why(&job), error);
    }
    moon__git_end(&job);
    return status;
}

/* ---- looking at one ---- */

static int look_up(moon__git_job *job, const moon_snapshot *snapshot, git_commit **commit, git_tree **tree) {
    git_oid id;
    if (read_id(job->git, &id, snapshot->commit) && !job->git->commit_lookup(commit, job->repo, &id) &&
        !job->git->commit_tree(tree, *commit))
        return 0;
    return moon__git_fail(job, "the repository of %.250s has no snapshot %.120s (%.40s) any more", job->root,
                          snapshot->ref, snapshot->commit);
}

static moon_status compare(const moon_snapshot_request *request, int64_t *files, moon_error *error) {
    moon__git_job job = job_of(request);
    git_oid id;
    git_commit *commit = NULL;
    git_tree *tree = NULL, *now = NULL;
    moon_status status = begin(&job, request->workspace, request->run, error);
    if (!status && look_up(&job, request->before, &commit, &tree)) status = failed(&job, MOON_ENOTFOUND, error);
    if (!status && moon__git_scan(&job, request, &id)) status = failed(&job, why(&job), error);
    if (!status && job.git->tree_lookup(&now, job.repo, &id)) {
        moon__git_trouble(&job, "cannot read the tree");
        status = failed(&job, MOON_EIO, error);
    }
    if (!status) *files = moon__git_count_changed(&job, tree, now);
    if (job.git) {
        job.git->commit_free(commit);
        job.git->tree_free(tree);
        job.git->tree_free(now);
    }
    moon__git_end(&job);
    return status;
}

static moon_status restore(const moon_snapshot_request *request, const char *dir, char **workspace, moon_error *error) {
    moon__git_job job = job_of(request);
    git_commit *commit = NULL;
    git_tree *tree = NULL;
    char beside[PATH_MAX];
    moon_status status = begin(&job, request->workspace, request->run, error);
    if (!status && look_up(&job, request->before, &commit, &tree)) status = failed(&job, MOON_ENOTFOUND, error);
    if (!status && !dir) {
        snprintf(beside, sizeof beside, "%.3900s-%s-%" PRIu64, job.top, request->run, request->before->at);
        dir = beside;
    }
    const moon_snapshot *snapshot = request->before;
    const char *head = *snapshot->head ? snapshot->head : snapshot->commit; /* where there was no commit, itself */
    moon__git_worktree made = {
        .dir = dir, .another = dir == beside, .head = head, .commit = head, .files = snapshot->commit};
    if (!status && moon__git_worktree_make(&job, &made)) status = failed(&job, MOON_EIO, error);
    if (!status) *workspace = made.workspace;
    if (job.git) {
        job.git->commit_free(commit);
        job.git->tree_free(tree);
    }
    moon__git_end(&job);
    return status;
}

/* ---- forgetting ---- */

static moon_status drop(const char *workspace, const char *run, moon_error *error) {
    moon__git_job job = {.call = NULL};
    char glob[128];
    git_reference_iterator *refs = NULL;
    git_reference *ref;
    moon_status status = begin(&job, workspace, run, error);
    const moon__git *git = job.git;
    int bad = 0;
    snprintf(glob, sizeof glob, "%s%.64s/*", folder, run);
    if (!status) bad = git->reference_iterator_glob_new(&refs, job.repo, glob);
    while (!status && !bad && !git->reference_next(&ref, refs)) {
        bad = git->reference_delete(ref);
        git->reference_free(ref);
    }
    if (bad) {
        moon__git_trouble(&job, "cannot remove %.100s", glob);
        status = failed(&job, MOON_EIO, error);
    }
    if (git) git->reference_iterator_free(refs);
    moon__git_end(&job);
    return status;
}

MOON_API const moon_snapshot_ops moon_snapshots_git = {.abi = MOON_SNAPSHOT_ABI,
                                                       .take = take,
                                                       .compare = compare,
                                                       .restore = restore,
                                                       .drop = drop,
                                                       .worktree_make = moon__git_tree_make,
                                                       .worktree_commit = moon__git_tree_commit,
                                                       .worktree_merge = moon__git_tree_merge,
                                                       .worktree_remove = moon__git_tree_remove,
                                                       .worktree_list = moon__git_tree_list};
