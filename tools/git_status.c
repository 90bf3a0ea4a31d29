/* SPDX-License-Identifier: MIT */
/* git.status: the branch, where it stands against its upstream, and what is changed, as `git status` has it. */
#include <string.h>

#include "builtin.h"
#include "git_stat.h"
#include "git_upstream.h"

enum { PREFIX_MAX = 4096 };

static const char *state_name(int state) {
    switch (state) {
    case GIT_REPOSITORY_STATE_NONE: return "clean";
    case GIT_REPOSITORY_STATE_MERGE: return "merge";
    case GIT_REPOSITORY_STATE_REVERT:
    case GIT_REPOSITORY_STATE_REVERT_SEQUENCE: return "revert";
    case GIT_REPOSITORY_STATE_CHERRYPICK:
    case GIT_REPOSITORY_STATE_CHERRYPICK_SEQUENCE: return "cherry-pick";
    case GIT_REPOSITORY_STATE_BISECT: return "bisect";
    case GIT_REPOSITORY_STATE_APPLY_MAILBOX: return "am";
    default: return "rebase";
    }
}

/* Is the index what the commit holds? It keeps the ids of the trees that it was last written as, and gives them where
 * it still stands for them; else it would write them anew, which fails in a repository that has no store. So this is
 * sure when true, and cheap either way: comparing a large tree with the index is not. */
static bool nothing_staged(moon__git_job *job, const git_commit *head) {
    const moon__git *git = job->git;
    git_odb *nowhere = NULL;
    git_repository *empty = NULL;
    git_index *index = NULL;
    git_oid tree;
    bool same = job->top && !git->odb_new(&nowhere) && !git->repository_wrap_odb(&empty, nowhere) &&
                !git->repository_index(&index, job->repo) && !git->index_write_tree_to(&tree, index, empty) &&
                !git->oid_cmp(&tree, git->commit_tree_id(head));
    git->index_free(index);
    git->repository_free(empty);
    git->odb_free(nowhere);
    return same;
}

/* *clean: nothing is staged for sure. */
static int put_branch(moon__git_job *job, bool *clean) {
    static const char heads[] = "refs/heads/";
    const moon__git *git = job->git;
    git_reference *symbolic = NULL;
    git_commit *commit = NULL;
    int found = moon__git_head(job, &commit);
    if (found < 0) return -1;
    bool detached = git->repository_head_detached(job->repo) == 1;
    const char *target = NULL;
    if (!detached && !git->reference_lookup(&symbolic, job->repo, "HEAD"))
        target = git->reference_symbolic_target(symbolic);
    if (target && !strncmp(target, heads, sizeof heads - 1))
        moon__git_put_text(job, "branch", target + sizeof heads - 1, 500);
    else
        moon_put_null(job->call, "branch");
    if (commit)
        moon__git_put_oid(job, "head", git->commit_id(commit));
    else
        moon_put_null(job->call, "head");
    moon_put_bool(job->call, "detached", detached);
    moon_put_bool(job->call, "bare", job->top == NULL);
    moon__git_put_text(job, "prefix", job->prefix, PREFIX_MAX);
    moon_put_bool(job->call, "unborn", found == 1);
    moon_put_str(job->call, "state", state_name(git->repository_state(job->repo)), SIZE_MAX);
    bool follows = commit && target && !strncmp(target, heads, sizeof heads - 1) &&
                   moon__git_put_upstream(job, target + sizeof heads - 1, git->commit_id(commit));
    if (!follows) moon_put_null(job->call, "upstream");
    *clean = commit && nothing_staged(job, commit);
    git->reference_free(symbolic);
    git->commit_free(commit);
    return 0;
}

static const char *in_work_tree(const git_status_entry *entry) {
    if (entry->status & GIT_STATUS_CONFLICTED) return "conflicted";
    if (!entry->index_to_workdir) return NULL;
    if (entry->index_to_workdir->status == GIT_DELTA_UNTRACKED) return "untracked";
    return moon__git_delta_status(entry->index_to_workdir->status);
}

static void put_entry(moon__git_job *job, const git_status_entry *entry) {
    const git_diff_delta *staged = entry->head_to_index, *work = entry->index_to_workdir;
    const git_diff_delta *last = work ? work : staged;
    const char *path = last->new_file.path ? last->new_file.path : last->old_file.path, *in_work = in_work_tree(entry);
    moon_put_object(job->call, NULL);
    moon__git_put_path(job, "path", path);
    if (staged) moon_put_str(job->call, "index", moon__git_delta_status(staged->status), SIZE_MAX);
    if (in_work) moon_put_str(job->call, "worktree", in_work, SIZE_MAX);
    const git_diff_delta *renamed = staged && staged->status == GIT_DELTA_RENAMED ? staged
                                    : work && work->status == GIT_DELTA_RENAMED   ? work
                                                                                  : NULL;
    if (renamed) moon__git_put_path(job, "from", renamed->old_file.path);
    moon_put_end(job->call);
}

static int put_entries(moon__git_job *job, bool clean) {
    const moon__git *git = job->git;
    git_status_options options;
    git_status_list *list = NULL;
    size_t limit = (size_t)moon__git_int(job, "limit", 500), count = 0;
    git->status_options_init(&options, GIT_STATUS_OPTIONS_VERSION);
    options.flags =
        GIT_STATUS_OPT_INCLUDE_UNTRACKED | GIT_STATUS_OPT_RENAMES_HEAD_TO_INDEX | GIT_STATUS_OPT_DISABLE_PATHSPEC_MATCH;
    if (clean) options.show = GIT_STATUS_SHOW_WORKDIR_ONLY;
    if (job->top && git->status_list_new(&list, job->repo, &options))
        return moon__git_trouble(job, "cannot compare the work tree");
    if (list) count = git->status_list_entrycount(list);
    moon_put_array(job->call, "entries");
    for (size_t i = 0; i < count && i < limit; i++) put_entry(job, git->status_byindex(list, i));
    moon_put_end(job->call);
    moon_put_int(job->call, "total", (int64_t)count);
    moon_put_bool(job->call, "more", count > limit);
    git->status_list_free(list);
    return 0;
}

static int work(moon__git_job *job) {
    bool clean;
    moon_put_object(job->call, NULL);
    if (put_branch(job, &clean) || moon__git_pause(job) || put_entries(job, clean)) return -1;
    moon_put_end(job->call);
    return 0;
}

static void start(void *self, moon_call *call, const moon_json *args) {
    (void)self;
    moon__git_run(call, args, work);
}

const moon_tool moon__tool_git_status = {
    .abi = MOON_TOOL_ABI,
    .effects = MOON_READ_ONLY | MOON_IDEMPOTENT,
    .flags = MOON_TOOL_BLOCKING,
    .name = "git.status",
    .description =
        "Says which branch is checked out, how far it is ahead of and behind its upstream, whether a merge "
        "or rebase is going "
        "on, and which files differ: `index` is what is staged, `worktree` what is not (untracked "
        "directories as one entry). `prefix` is where the workspace lies within the repository, \"\" for its "
        "top: paths are relative to the workspace, \"../x\" being outside of it.",
    .params =
        "{\"type\":\"object\",\"additionalProperties\":false,\"properties\":{"
        "\"limit\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":20000,\"description\":\"entries, default 500\"}}}",
    .start = start,
};
