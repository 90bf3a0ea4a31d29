/* SPDX-License-Identifier: MIT */
/*
 * git.commit: stages and commits. libgit2 runs no hooks; the description says so. Staging goes by the contents of files
 * as they are, through the index, so that an interrupted commit leaves a staged change and nothing worse.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "builtin.h"
#include "git_stat.h"
#include "git_who.h"

/* One path of the status list: what the work tree has goes to the index. */
static int stage_entry(moon__git_job *job, git_index *index, const git_status_entry *entry) {
    const git_diff_delta *work = entry->index_to_workdir;
    if (!work) return 0;
    if (entry->status & GIT_STATUS_CONFLICTED) return moon__git_fail(job, "%.300s has conflicts", work->new_file.path);
    if (work->status == GIT_DELTA_RENAMED && job->git->index_remove_bypath(index, work->old_file.path))
        return moon__git_trouble(job, "cannot stage %.200s", work->old_file.path);
    bool gone = work->status == GIT_DELTA_DELETED;
    int bad = gone ? job->git->index_remove_bypath(index, work->old_file.path)
                   : job->git->index_add_bypath(index, work->new_file.path);
    return bad ? moon__git_trouble(job, "cannot stage %.200s", work->new_file.path) : 0;
}

/* The changes below one path, or all tracked ones with path NULL. */
static int stage(moon__git_job *job, git_index *index, const char *path) {
    const moon__git *git = job->git;
    git_status_options options;
    git_status_list *list = NULL;
    char *literal = (char *)(uintptr_t)path;
    git->status_options_init(&options, GIT_STATUS_OPTIONS_VERSION);
    options.show = GIT_STATUS_SHOW_WORKDIR_ONLY;
    options.flags = GIT_STATUS_OPT_DISABLE_PATHSPEC_MATCH;
    if (path) options.flags |= GIT_STATUS_OPT_INCLUDE_UNTRACKED | GIT_STATUS_OPT_RECURSE_UNTRACKED_DIRS;
    if (path && *path) options.pathspec = (git_strarray){&literal, 1};
    if (git->status_list_new(&list, job->repo, &options)) return moon__git_trouble(job, "cannot compare the work tree");
    int bad = 0;
    for (size_t i = 0, n = git->status_list_entrycount(list); !bad && i < n; i++)
        bad = moon__git_pause(job) || stage_entry(job, index, git->status_byindex(list, i)) ? -1 : 0;
    git->status_list_free(list);
    return bad;
}

static int stage_all(moon__git_job *job, git_index *index) {
    const moon_json *paths = moon_json_get(job->args, "paths");
    if (moon__git_bool(job, "all") && stage(job, index, NULL)) return -1;
    for (const moon_json *p = moon_json_first(paths); p; p = moon_json_next(p)) {
        const char *path;
        if (moon__git_path(job, moon_json_str(p, NULL), &path) || stage(job, index, path)) return -1;
    }
    if (job->git->index_has_conflicts(index)) return moon__git_fail(job, "the index has unresolved conflicts");
    return job->git->index_write(index) ? moon__git_trouble(job, "cannot write the index") : 0;
}

static void put_result(moon__git_job *job, const git_oid *id, const char *summary, int64_t files) {
    git_reference *head = NULL;
    moon_put_object(job->call, NULL);
    moon__git_put_oid(job, "id", id);
    bool named = !job->git->repository_head_detached(job->repo) && !job->git->repository_head(&head, job->repo);
    if (named)
        moon__git_put_text(job, "branch", job->git->reference_shorthand(head), 500);
    else
        moon_put_null(job->call, "branch");
    moon_put_str(job->call, "summary", summary, strcspn(summary, "\n"));
    moon_put_int(job->call, "files", files);
    moon_put_end(job->call);
    job->git->reference_free(head);
}

static int commit_tree(moon__git_job *job, git_index *index, git_commit *parent, const git_signature *who) {
    const moon__git *git = job->git;
    const char *message = moon__git_str(job, "message", "");
    git_oid tree_id, id;
    git_tree *tree = NULL, *before = NULL;
    const git_commit *parents[] = {parent};
    int bad = 0;
    if (git->index_write_tree(&tree_id, index) || git->tree_lookup(&tree, job->repo, &tree_id) ||
        (parent && git->commit_tree(&before, parent)))
        bad = moon__git_trouble(job, "cannot write the tree");
    else if (parent ? git->oid_cmp(&tree_id, git->commit_tree_id(parent)) == 0 : git->tree_entrycount(tree) == 0)
        bad = moon__git_fail(job,
                             "there is nothing to commit: nothing staged differs from HEAD (give `paths`, or `all`)");
    else if (git->commit_create(&id, job->repo, "HEAD", who, who, NULL, message, tree, parent ? 1 : 0, parents))
        bad = moon__git_trouble(job, "cannot commit");
    else
        put_result(job, &id, message, moon__git_count_changed(job, before, tree));
    git->tree_free(tree);
    git->tree_free(before);
    return bad;
}

static int work(moon__git_job *job) {
    const moon__git *git = job->git;
    git_index *index = NULL;
    git_signature *who = NULL;
    git_commit *parent = NULL;
    if (!job->top) return moon__git_fail(job, "the repository is bare: there is no work tree to commit");
    if (git->repository_state(job->repo) != GIT_REPOSITORY_STATE_NONE)
        return moon__git_fail(job, "a merge or rebase is going on; finish it with git");
    int bad = moon__git_head(job, &parent) < 0 || moon__git_who(job, &who);
    if (!bad && git->repository_index(&index, job->repo)) bad = moon__git_trouble(job, "cannot read the index");
    if (!bad) bad = stage_all(job, index) || commit_tree(job, index, parent, who);
    git->index_free(index);
    git->signature_free(who);
    git->commit_free(parent);
    return bad ? -1 : 0;
}

static void start(void *self, moon_call *call, const moon_json *args) {
    (void)self;
    moon__git_run(call, args, work);
}

const moon_tool moon__tool_git_commit = {
    .abi = MOON_TOOL_ABI,
    .effects = 0,
    .flags = MOON_TOOL_BLOCKING,
    .name = "git.commit",
    .description = "Commits: stages `paths` (files or directories, new, changed and deleted ones), or with `all` every "
                   "tracked change, then commits; "
                   "without both it commits what is staged. No hooks run. Refuses an empty commit and conflicts.",
    .params = "{\"type\":\"object\",\"additionalProperties\":false,\"required\":[\"message\"],\"properties\":{"
              "\"message\":{\"type\":\"string\",\"minLength\":1},"
              "\"paths\":{\"type\":\"array\",\"items\":{\"type\":\"string\"},\"maxItems\":1000},\"all\":{\"type\":"
              "\"boolean\"}}}",
    .start = start,
};
