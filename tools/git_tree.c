/* SPDX-License-Identifier: MIT */
/*
 * Making a run's work tree, committing what is in it, and merging that back.
 *
 * The branch is moonlet/RUN/PATH ("root" for the run itself), the directory stands beside the repository's, NAME-RUN or
 * NAME-RUN-PATH, as paths to neighbours then lead there, and a folder within would be in the way of `git status`. A
 * long path is a hash of it.
 *
 * Of the base only what is committed is in it. What is not could not be merged back: it would be in the way of the
 * merge, or be committed by it.
 */
#include "git_tree.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "git_lock.h"
#include "git_scan.h"
#include "git_who.h"

enum { NAME_SHOWN = 60 };

static moon_status failed(const moon__git_job *job, moon_status status, moon_error *error) {
    return moon_error_set(error, status, "%s", job->error);
}

static moon__git_job job_of(const moon_worktree_use *use, const char *root) {
    return (moon__git_job){.root = root, .cancelled = use->cancelled, .ctx = use->ctx};
}

static moon_status why(moon__git_job *job, moon_status status) {
    return moon__git_pause(job) ? MOON_ECANCELLED : status;
}

/* ---- names ---- */

/* A path in names of branches and directories. */
static void name_of(const moon_worktree *tree, char name[NAME_SHOWN + 1]) {
    size_t n = strlen(tree->path);
    if (!n)
        snprintf(name, NAME_SHOWN + 1, "root");
    else if (n <= NAME_SHOWN && strspn(tree->path, "0123456789abcdefghijklmnopqrstuvwxyz.") == n)
        snprintf(name, NAME_SHOWN + 1, "%.60s", tree->path);
    else
        snprintf(name, NAME_SHOWN + 1, "%.20s-%016llx", tree->path, (unsigned long long)moon_hash(tree->path, n));
}

/* Of one within another only its own name is added. */
static int directory_of(moon__git_job *job, const moon_worktree *tree, const char *name, char dir[PATH_MAX]) {
    char suffix[80];
    const char *within = strstr(job->top, tree->run);
    size_t n = within && within[-1] == '-' ? (size_t)(within - job->top - 1) : strlen(job->top);
    snprintf(suffix, sizeof suffix, "-%.60s", tree->run);
    if (n < 2) return moon__git_fail(job, "there is no place beside %s", job->top);
    if (memchr(job->top + n, '/', strlen(job->top + n))) n = strlen(job->top); /* the run's name stands further up */
    int length = snprintf(dir, PATH_MAX, "%.*s%s%s%s", (int)n, job->top, suffix, *tree->path ? "-" : "",
                          *tree->path ? name : "");
    return length >= PATH_MAX - 16 ? moon__git_fail(job, "the path of the repository is too long") : 0;
}

/* ---- may there be one? ---- */

static bool has_submodules(moon__git_job *job, char path[300]) {
    const moon__git *git = job->git;
    git_index *index = NULL;
    bool any = false;
    if (git->repository_index(&index, job->repo)) return false;
    for (size_t i = 0, n = git->index_entrycount(index); !any && i < n; i++) {
        const git_index_entry *entry = git->index_get_byindex(index, i);
        any = entry->mode == GIT_FILEMODE_COMMIT;
        if (any) snprintf(path, 300, "%s", entry->path);
    }
    git->index_free(index);
    return any;
}

static bool is_submodule(const moon__git_job *job) {
    char path[PATH_MAX + 8];
    struct stat st;
    snprintf(path, sizeof path, "%s/.git", job->top);
    return !lstat(path, &st) && S_ISREG(st.st_mode) && !job->git->repository_is_worktree(job->repo);
}

static int check_base(moon__git_job *job, moon_worktree *tree, git_oid *head) {
    const moon__git *git = job->git;
    git_reference *ref = NULL;
    char path[300];
    const char *common = git->repository_commondir(job->repo);
    if (!job->top) return moon__git_fail(job, "the repository %.300s is bare: it has no work tree", job->root);
    int code = git->repository_head(&ref, job->repo);
    bool unborn = code == GIT_EUNBORNBRANCH || code == GIT_ENOTFOUND;
    bool named = !code && !git->repository_head_detached(job->repo);
    if (named) snprintf(tree->into, sizeof tree->into, "%s", git->reference_shorthand(ref));
    git->reference_free(ref);
    if (unborn) return moon__git_fail(job, "the repository %.300s has no commit yet", job->top);
    if (code) return moon__git_trouble(job, "HEAD cannot be read");
    if (!named)
        return moon__git_fail(
            job, "%.300s has no branch checked out (HEAD is detached), so there is none to merge into", job->top);
    if (!moon__git_branch_tip(job, tree->into, head)) return moon__git_fail(job, "branch %s has no commit", tree->into);
    if (git->repository_state(job->repo) != GIT_REPOSITORY_STATE_NONE)
        return moon__git_fail(job, "a merge or rebase is going on in %.300s; finish it with git", job->top);
    if (is_submodule(job)) return moon__git_fail(job, "%.300s is a submodule of another repository", job->top);
    if (has_submodules(job, path))
        return moon__git_fail(job, "the repository has a submodule (%s), whose files would be missing", path);
    if (access(common, W_OK) || access(job->top, W_OK))
        return moon__git_fail(job, "%.300s cannot be written: %s", access(common, W_OK) ? common : job->top,
                              strerror(errno));
    return 0;
}

static int64_t count_dirty(moon__git_job *job) {
    const moon__git *git = job->git;
    git_status_options options;
    git_status_list *list = NULL;
    int64_t n = 0;
    git->status_options_init(&options, GIT_STATUS_OPTIONS_VERSION);
    options.flags = GIT_STATUS_OPT_INCLUDE_UNTRACKED | GIT_STATUS_OPT_RECURSE_UNTRACKED_DIRS;
    if (!git->status_list_new(&list, job->repo, &options)) n = (int64_t)git->status_list_entrycount(list);
    git->status_list_free(list);
    return n;
}

/* ---- making one ---- */

static int make_branch(moon__git_job *job, const moon_worktree *tree, const git_oid *commit, const git_oid *head) {
    char name[300];
    git_oid tip;
    git_reference *ref = NULL;
    bool taken = moon__git_branch_tip(job, tree->branch, &tip);
    if (taken && !moon__git_contains(job, head, &tip))
        return moon__git_fail(job, "branch %s is there already, and has commits that are not in %s", tree->branch,
                              tree->into);
    snprintf(name, sizeof name, "refs/heads/%.255s", tree->branch);
    if (moon__git_lock_branch(job, tree->branch, moon__git_lock_any, NULL))
        return moon__git_fail(job, "branch %s is locked", tree->branch);
    int bad = job->git->reference_create(&ref, job->repo, name, commit, 1, "moonlet: a worktree of a run");
    job->git->reference_free(ref);
    return bad ? moon__git_trouble(job, "cannot make branch %s", tree->branch) : 0;
}

/* Of an attempt that was cut off before anything was done in it. */
static int clear_away(moon__git_job *job, const moon_worktree *tree) {
    moon__git_noted noted;
    if (!moon__git_tree_seek(job, tree, &noted)) return 0;
    return moon__git_worktree_remove(job, &noted) || moon__git_worktree_forget(job, &noted) ? -1 : 0;
}

/* What it begins with: the base's commit, or what stands in another one now. */
static int begin_with(moon__git_job *job, const moon_worktree_use *use, git_oid *commit, git_oid *files) {
    moon__git_job other = job_of(use, use->from);
    git_commit *head = NULL;
    int64_t left = 0;
    int bad = moon__git_begin(&other);
    if (!bad) bad = moon__git_tree_scan(&other, files, &left);
    if (!bad) bad = moon__git_head(&other, &head);
    if (!bad) *commit = *other.git->commit_id(head);
    if (other.git) other.git->commit_free(head);
    moon__git_end(&other);
    return bad ? moon__git_fail(job, "%s", other.error) : 0;
}

static int fill_in(moon__git_job *job, const moon_worktree_use *use, moon__git_worktree *made) {
    moon_worktree *tree = use->tree;
    snprintf(tree->dir, sizeof tree->dir, "%s", made->top);
    int n = snprintf(tree->workspace, sizeof tree->workspace, "%s", made->workspace);
    free(made->workspace);
    while (n > 1 && n < (int)sizeof tree->workspace && tree->workspace[n - 1] == '/') tree->workspace[--n] = 0;
    return n < (int)sizeof tree->workspace ? 0 : moon__git_fail(job, "the path of the worktree is too long");
}

static int make(moon__git_job *job, const moon_worktree_use *use, bool *unsupported) {
    moon_worktree *tree = use->tree;
    git_oid head, commit, files;
    char name[NAME_SHOWN + 1], dir[PATH_MAX], ref[300], ids[2][GIT_OID_HEXSZ + 1], note[MOON__GIT_NOTE_MAX];
    *unsupported = true;
    if (check_base(job, tree, &head)) return -1;
    *unsupported = false;
    commit = files = head;
    name_of(tree, name);
    snprintf(tree->branch, sizeof tree->branch, "moonlet/%.63s/%s", tree->run, name);
    if (clear_away(job, tree) || (use->from && begin_with(job, use, &commit, &files)) ||
        make_branch(job, tree, &commit, &head) || directory_of(job, tree, name, dir))
        return -1;
    (void)rmdir(dir); /* what was cut off before it had a name here */
    tree->dirty = count_dirty(job);
    job->git->oid_tostr(ids[0], sizeof ids[0], &commit);
    job->git->oid_tostr(ids[1], sizeof ids[1], &files);
    snprintf(tree->commit, sizeof tree->commit, "%s", ids[0]);
    snprintf(ref, sizeof ref, "ref: refs/heads/%.255s", tree->branch);
    int n = snprintf(note, sizeof note, "%s\n%s\n%s\n%s\n%s\n%s\n%s\n%s", tree->run, tree->path, tree->agent,
                     tree->base, tree->branch, tree->into, tree->commit, job->prefix);
    if (n >= (int)sizeof note) return moon__git_fail(job, "the path of the workspace is too long");
    moon__git_worktree made = {
        .dir = dir, .another = true, .head = ref, .commit = ids[0], .files = ids[1], .note = note};
    if (moon__git_worktree_make(job, &made)) {
        (void)moon__git_tree_drop_branch(job, tree->branch);
        return -1;
    }
    return fill_in(job, use, &made);
}

/* Texts of a note are lines. */
static void one_line(char *text) {
    for (; *text; text++)
        if ((unsigned char)*text < ' ') *text = ' ';
}

moon_status moon__git_tree_make(const moon_worktree_use *use, moon_error *error) {
    moon_worktree *tree = use->tree;
    moon__git_job job = job_of(use, tree->base);
    bool unsupported = true;
    one_line(tree->agent);
    if (strchr(tree->base, '\n')) return moon_error_set(error, MOON_EUNSUPPORTED, "the workspace has an odd path");
    int bad = moon__git_begin(&job);
    if (!bad) bad = make(&job, use, &unsupported);
    moon_status status = bad ? failed(&job, why(&job, unsupported ? MOON_EUNSUPPORTED : MOON_EIO), error) : MOON_OK;
    moon__git_end(&job);
    return status;
}

/* ---- committing what is in it ---- */

/* Its branch must be what is checked out in it: else nobody knows what is to be merged. */
static int check_own(moon__git_job *job, const moon_worktree *tree) {
    const moon__git *git = job->git;
    git_reference *head = NULL;
    if (git->repository_state(job->repo) != GIT_REPOSITORY_STATE_NONE)
        return moon__git_fail(job, "a merge or rebase is going on in %.300s; finish it with git", tree->dir);
    bool named = !git->repository_head_detached(job->repo) && !git->repository_head(&head, job->repo);
    bool own = named && !strcmp(git->reference_shorthand(head), tree->branch);
    git->reference_free(head);
    return own ? 0 : moon__git_fail(job, "%.300s does not have %s checked out any more", tree->dir, tree->branch);
}

/* Locks that a process of the run has left. */
static int unlock(moon__git_job *job, const char *branch) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%.*sindex.lock", PATH_MAX - 16, job->git->repository_path(job->repo));
    int code = moon__git_lock_wait(job, path, moon__git_lock_any, NULL);
    if (!code) code = moon__git_lock_branch(job, branch, moon__git_lock_any, NULL);
    return code ? moon__git_fail(job, "%.250s is locked", branch) : 0;
}

/* The branch moves last, and the index follows: the scan has it as the tree is. */
static int commit_all(moon__git_job *job, const moon_worktree_use *use, git_commit *head, git_tree *tree, git_oid *id) {
    const moon__git *git = job->git;
    const git_commit *parents[] = {head};
    git_signature *who = NULL;
    git_reference *ref = NULL;
    git_index *index = NULL;
    char name[300];
    snprintf(name, sizeof name, "refs/heads/%.255s", use->tree->branch);
    int bad = unlock(job, use->tree->branch) || moon__git_who_else(job, &who);
    if (!bad && (git->commit_create(id, job->repo, NULL, who, who, "UTF-8", use->message, tree, 1, parents) ||
                 git->reference_create_matching(&ref, job->repo, name, id, 1, git->commit_id(head), "moonlet: commit")))
        bad = moon__git_trouble(job, "cannot commit to %.250s", use->tree->branch);
    if (!bad && (git->repository_index(&index, job->repo) || git->index_write(index)))
        bad = moon__git_trouble(job, "cannot write the index of %.300s", use->tree->dir);
    git->index_free(index);
    git->reference_free(ref);
    git->signature_free(who);
    return bad;
}

/* One whose removal was begun is merged, and what is missing in it is not to be committed. */
static bool is_doomed(moon__git_job *job, const moon_worktree *tree, git_oid *tip) {
    moon__git_noted noted;
    return moon__git_tree_seek(job, tree, &noted) && moon__git_worktree_doomed(&noted) &&
           moon__git_branch_tip(job, tree->branch, tip);
}

static int commit_work(moon__git_job *job, const moon_worktree_use *use, char commit[72], int64_t *files) {
    git_oid tree_id, id;
    git_commit *head = NULL;
    git_tree *tree = NULL, *before = NULL;
    int64_t left = 0;
    *files = 0;
    int bad = moon__git_begin(job);
    const moon__git *git = job->git;
    if (!bad && is_doomed(job, use->tree, &id)) {
        git->oid_tostr(commit, GIT_OID_HEXSZ + 1, &id);
        return 0;
    }
    if (!bad) bad = moon__git_tree_scan(job, &tree_id, &left);
    if (!bad) bad = check_own(job, use->tree) || moon__git_head(job, &head);
    if (!bad && (git->tree_lookup(&tree, job->repo, &tree_id) || git->commit_tree(&before, head)))
        bad = moon__git_trouble(job, "cannot read a tree");
    if (!bad) id = *git->commit_id(head);
    if (!bad && git->oid_cmp(&tree_id, git->commit_tree_id(head)) != 0) {
        *files = moon__git_count_changed(job, before, tree);
        bad = commit_all(job, use, head, tree, &id);
    }
    if (!bad) git->oid_tostr(commit, GIT_OID_HEXSZ + 1, &id);
    if (git) {
        git->tree_free(tree);
        git->tree_free(before);
        git->commit_free(head);
    }
    return bad;
}

moon_status moon__git_tree_commit(const moon_worktree_use *use, char commit[72], int64_t *files, moon_error *error) {
    moon__git_job job = job_of(use, use->tree->dir);
    int bad = commit_work(&job, use, commit, files);
    moon_status status = bad ? failed(&job, why(&job, MOON_EIO), error) : MOON_OK;
    moon__git_end(&job);
    return status;
}

/* ---- merging ---- */

moon_status moon__git_tree_merge(const moon_worktree_use *use, const char *commit, moon_worktree_merged *merged,
                                 moon_error *error) {
    moon__git_job job = job_of(use, use->tree->base);
    moon__git_merge merge = {.branch = use->tree->branch, .into = use->tree->into, .path = use->path, .ctx = use->ctx};
    *merged = (moon_worktree_merged){.files = 0};
    int bad = moon__git_begin(&job);
    if (!bad && !job.top) bad = moon__git_fail(&job, "%.300s is bare", use->tree->base);
    if (!bad && job.git->oid_fromstrn(&merge.commit, commit, strlen(commit)))
        bad = moon__git_fail(&job, "\"%.80s\" is no commit", commit);
    if (!bad) bad = moon__git_merge_commit(&job, &merge);
    merged->refused = merge.refused;
    merged->files = merge.files;
    if (!bad) job.git->oid_tostr(merged->head, GIT_OID_HEXSZ + 1, &merge.head);
    moon_status status = bad ? failed(&job, why(&job, merge.refused ? MOON_ECONFLICT : MOON_EIO), error) : MOON_OK;
    moon__git_end(&job);
    return status;
}
