/* SPDX-License-Identifier: MIT */
/* git.diff: what differs between two commits, a commit and the work tree, or HEAD and the index, as git's own text. */
#include "git_text.h"

#include "builtin.h"

static int tree_of(moon__git_job *job, const char *ref, git_tree **out) {
    git_object *object = NULL, *tree = NULL;
    if (moon__git_object(job, ref, &object)) return -1;
    int bad = job->git->object_peel(&tree, object, GIT_OBJECT_TREE);
    job->git->object_free(object);
    *out = (git_tree *)tree;
    return bad ? moon__git_fail(job, "%.100s names no commit or tree", ref) : 0;
}

/* HEAD's tree; NULL where there is no commit yet: then all is added. */
static int head_tree(moon__git_job *job, git_tree **out) {
    git_commit *commit = NULL;
    int found = moon__git_head(job, &commit), bad = found < 0;
    if (!found && job->git->commit_tree(out, commit)) bad = moon__git_trouble(job, "cannot read HEAD");
    job->git->commit_free(commit);
    return bad ? -1 : 0;
}

static int compare(moon__git_job *job, const git_diff_options *options, git_diff **out) {
    const moon__git *git = job->git;
    const char *from = moon__git_str(job, "from", NULL), *to = moon__git_str(job, "to", NULL);
    git_tree *before = NULL, *after = NULL;
    int bad = from ? tree_of(job, from, &before) : head_tree(job, &before);
    if (!bad && to) bad = tree_of(job, to, &after);
    if (!bad && !to && !job->top) bad = moon__git_fail(job, "the repository is bare: give `from` and `to`");
    if (!bad) {
        int failed = to ? git->diff_tree_to_tree(out, job->repo, before, after, options)
                     : moon__git_bool(job, "staged")
                         ? git->diff_tree_to_index(out, job->repo, before, NULL, options)
                         : git->diff_tree_to_workdir_with_index(out, job->repo, before, options);
        if (failed) bad = moon__git_trouble(job, "cannot compare");
    }
    git->tree_free(before);
    git->tree_free(after);
    return bad ? -1 : moon__git_renames(job, *out);
}

static int put_stat(moon__git_job *job, git_diff *diff) {
    moon__git_sum sum = {0};
    moon_put_object(job->call, NULL);
    moon_put_array(job->call, "files");
    if (moon__git_put_files(job, diff, true, 2000, &sum)) return -1;
    moon_put_end(job->call);
    moon_put_int(job->call, "total", sum.files);
    moon_put_int(job->call, "added", sum.added);
    moon_put_int(job->call, "deleted", sum.deleted);
    moon_put_end(job->call);
    return 0;
}

static int work(moon__git_job *job) {
    git_diff_options options;
    git_diff *diff = NULL;
    const char *path = moon__git_str(job, "path", NULL);
    if (path && moon__git_path(job, path, &path)) return -1;
    char *literal = (char *)(uintptr_t)path;
    moon__git_diff_options(job, &options);
    options.context_lines = (uint32_t)moon__git_int(job, "context", 3);
    if (path && *path) options.pathspec = (git_strarray){&literal, 1};
    int bad = compare(job, &options, &diff);
    if (!bad) bad = moon__git_bool(job, "stat") ? put_stat(job, diff) : moon__git_put_patches(job, diff);
    if (!bad && !moon__git_bool(job, "stat") && !job->git->diff_num_deltas(diff))
        moon_call_printf(job->call, "no differences\n");
    job->git->diff_free(diff);
    return bad ? -1 : 0;
}

static void start(void *self, moon_call *call, const moon_json *args) {
    (void)self;
    moon__git_run(call, args, work);
}

const moon_tool moon__tool_git_diff = {
    .abi = MOON_TOOL_ABI,
    .effects = MOON_READ_ONLY | MOON_IDEMPOTENT,
    .flags = MOON_TOOL_BLOCKING,
    .name = "git.diff",
    .description = "Shows differences as a unified diff. Without arguments: tracked files of the work tree, staged or "
                   "not, against HEAD. With "
                   "`staged`: the index against HEAD. With `from` and `to`: two commits; with `from` alone: that "
                   "commit against the work tree. "
                   "`stat` gives the files and counts of lines as JSON instead.",
    .params = "{\"type\":\"object\",\"additionalProperties\":false,\"properties\":{"
              "\"from\":{\"type\":\"string\",\"description\":\"branch, tag, id (default HEAD)\"},"
              "\"to\":{\"type\":\"string\",\"description\":\"branch, tag, id (default the work tree)\"},"
              "\"staged\":{\"type\":\"boolean\"},\"path\":{\"type\":\"string\",\"description\":\"only this file or "
              "directory\"},"
              "\"context\":{\"type\":\"integer\",\"minimum\":0,\"maximum\":100,\"description\":\"lines around a "
              "change, default 3\"},"
              "\"stat\":{\"type\":\"boolean\"}}}",
    .start = start,
};
