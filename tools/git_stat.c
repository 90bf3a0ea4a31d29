/* SPDX-License-Identifier: MIT */
/* Counting what a diff changed: see git_stat.h. */
#include "git_stat.h"

/* Stops a diff that nobody waits for any more. */
static int on_progress(const git_diff *diff, const char *old_path, const char *new_path, void *job) {
    (void)diff, (void)old_path, (void)new_path;
    return moon_call_cancelled(((moon__git_job *)job)->call) ? GIT_EUSER : 0;
}

void moon__git_diff_options(moon__git_job *job, git_diff_options *options) {
    job->git->diff_options_init(options, GIT_DIFF_OPTIONS_VERSION);
    options->flags = GIT_DIFF_INDENT_HEURISTIC | GIT_DIFF_DISABLE_PATHSPEC_MATCH;
    options->progress_cb = on_progress;
    options->payload = job;
}

int moon__git_renames(moon__git_job *job, git_diff *diff) {
    git_diff_find_options find;
    job->git->diff_find_options_init(&find, GIT_DIFF_FIND_OPTIONS_VERSION);
    find.flags = GIT_DIFF_FIND_RENAMES;
    find.rename_threshold = 50;
    if (moon__git_pause(job)) return -1;
    return job->git->diff_find_similar(diff, &find) ? moon__git_trouble(job, "cannot look for renames") : 0;
}

const char *moon__git_delta_status(git_delta_t status) {
    switch (status) {
    case GIT_DELTA_ADDED:
    case GIT_DELTA_UNTRACKED: return "added";
    case GIT_DELTA_DELETED: return "deleted";
    case GIT_DELTA_RENAMED: return "renamed";
    case GIT_DELTA_COPIED: return "copied";
    case GIT_DELTA_TYPECHANGE: return "typechange";
    case GIT_DELTA_CONFLICTED: return "conflicted";
    default: return "modified";
    }
}

static int put_file(moon__git_job *job, git_diff *diff, size_t index, bool with_status, bool show, moon__git_sum *sum) {
    const moon__git *git = job->git;
    git_patch *patch = NULL;
    size_t added = 0, deleted = 0;
    if (git->patch_from_diff(&patch, diff, index)) return moon__git_trouble(job, "cannot compare a file");
    /* No patch: binary or unchanged in content. */
    const git_diff_delta *delta = patch ? git->patch_get_delta(patch) : git->diff_get_delta(diff, index);
    bool binary = delta->flags & GIT_DIFF_FLAG_BINARY;
    if (patch && !binary) git->patch_line_stats(NULL, &added, &deleted, patch);
    sum->files++;
    sum->added += (int64_t)added;
    sum->deleted += (int64_t)deleted;
    if (show) {
        bool gone = delta->status == GIT_DELTA_DELETED;
        moon_put_object(job->call, NULL);
        moon__git_put_path(job, "path", gone ? delta->old_file.path : delta->new_file.path);
        moon_put_int(job->call, "added", (int64_t)added);
        moon_put_int(job->call, "deleted", (int64_t)deleted);
        if (delta->status == GIT_DELTA_RENAMED) moon__git_put_path(job, "from", delta->old_file.path);
        if (with_status) moon_put_str(job->call, "status", moon__git_delta_status(delta->status), SIZE_MAX);
        if (binary) moon_put_bool(job->call, "binary", true);
        moon_put_end(job->call);
    }
    git->patch_free(patch);
    return 0;
}

int moon__git_put_files(moon__git_job *job, git_diff *diff, bool with_status, size_t max, moon__git_sum *sum) {
    size_t count = job->git->diff_num_deltas(diff);
    for (size_t i = 0; i < count; i++)
        if (moon__git_pause(job) || put_file(job, diff, i, with_status, i < max, sum)) return -1;
    return 0;
}

int moon__git_commit_diff(moon__git_job *job, git_commit *commit, const git_diff_options *options, git_diff **out) {
    const moon__git *git = job->git;
    git_commit *parent = NULL;
    git_tree *before = NULL, *after = NULL;
    int failed = 0;
    /* The parent of a shallow clone's last commit is not there: everything counts as added, as in git. */
    if (git->commit_parentcount(commit) && git->commit_parent(&parent, commit, 0) == GIT_ENOTFOUND) parent = NULL;
    if (git->commit_tree(&after, commit) || (parent && git->commit_tree(&before, parent)) ||
        git->diff_tree_to_tree(out, job->repo, before, after, options))
        failed = moon__git_trouble(job, "cannot compare a commit with its parent");
    if (!failed) failed = moon__git_renames(job, *out);
    git->tree_free(before);
    git->tree_free(after);
    git->commit_free(parent);
    return failed;
}
