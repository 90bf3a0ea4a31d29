/* SPDX-License-Identifier: MIT */
/* git.show: a commit with its diff, or a file or directory as it was at a commit. */
#include <string.h>

#include "builtin.h"
#include "git_text.h"

enum { FILE_BYTES_MAX = 8 << 20 };

static void put_header(moon__git_job *job, git_commit *commit) {
    const moon__git *git = job->git;
    const git_signature *author = git->commit_author(commit);
    char id[GIT_OID_HEXSZ + 1], time[48];
    git->oid_tostr(id, sizeof id, git->commit_id(commit));
    moon__git_time(time, &author->when);
    moon_call_printf(job->call, "commit %s\n", id);
    if (git->commit_parentcount(commit) > 1) {
        moon_call_printf(job->call, "Merge:");
        for (unsigned i = 0; i < git->commit_parentcount(commit); i++) {
            git->oid_tostr(id, sizeof id, git->commit_parent_id(commit, i));
            moon_call_printf(job->call, " %.7s", id);
        }
        moon_call_printf(job->call, "\n");
    }
    moon_call_printf(job->call, "Author: %s <%s>\nDate:   %s\n\n", author->name, author->email, time);
    for (const char *line = git->commit_message(commit); line && *line;) {
        size_t n = strcspn(line, "\n");
        moon_call_printf(job->call, "    %.*s\n", (int)n, line);
        line += n + (line[n] == '\n');
    }
    moon_call_printf(job->call, "\n");
}

static int show_commit(moon__git_job *job, const char *ref) {
    git_commit *commit = NULL;
    git_diff_options options;
    git_diff *diff = NULL;
    if (moon__git_commit(job, ref, &commit)) return -1;
    put_header(job, commit);
    moon__git_diff_options(job, &options);
    int bad = moon__git_commit_diff(job, commit, &options, &diff);
    if (!bad) bad = moon__git_put_patches(job, diff);
    job->git->diff_free(diff);
    job->git->commit_free(commit);
    return bad;
}

static int show_blob(moon__git_job *job, const git_oid *id, const char *path) {
    const moon__git *git = job->git;
    git_blob *blob = NULL;
    int bad = 0;
    if (git->blob_lookup(&blob, job->repo, id)) return moon__git_trouble(job, "cannot read %.200s", path);
    size_t size = (size_t)git->blob_rawsize(blob);
    if (git->blob_is_binary(blob))
        bad = moon__git_fail(job, "%.300s is binary (%zu bytes)", path, size);
    else if (size > FILE_BYTES_MAX)
        bad = moon__git_fail(job, "%.300s has %zu bytes; at most %d are shown", path, size, FILE_BYTES_MAX);
    else
        moon_call_write(job->call, git->blob_rawcontent(blob), size);
    git->blob_free(blob);
    return bad;
}

static int show_tree(moon__git_job *job, const git_oid *id, const char *path) {
    const moon__git *git = job->git;
    git_tree *tree = NULL;
    if (git->tree_lookup(&tree, job->repo, id)) return moon__git_trouble(job, "cannot read %.200s", path);
    for (size_t i = 0; i < git->tree_entrycount(tree); i++) {
        const git_tree_entry *entry = git->tree_entry_byindex(tree, i);
        bool dir = git->tree_entry_type(entry) == GIT_OBJECT_TREE;
        moon_call_printf(job->call, "%s%s\n", git->tree_entry_name(entry), dir ? "/" : "");
    }
    git->tree_free(tree);
    return 0;
}

static int show_path(moon__git_job *job, const char *ref, const char *path) {
    const moon__git *git = job->git;
    git_commit *commit = NULL;
    git_tree *tree = NULL;
    git_tree_entry *entry = NULL;
    int bad = moon__git_commit(job, ref, &commit);
    if (!bad && git->commit_tree(&tree, commit)) bad = moon__git_trouble(job, "cannot read %.100s", ref);
    if (!bad && !*path)
        bad = show_tree(job, git->commit_tree_id(commit), "the top");
    else if (!bad && git->tree_entry_bypath(&entry, tree, path))
        bad = moon__git_fail(job, "there is no %.300s at %.100s", moon__git_shown_path(job, path), ref);
    else if (!bad && git->tree_entry_type(entry) == GIT_OBJECT_TREE)
        bad = show_tree(job, git->tree_entry_id(entry), path);
    else if (!bad && git->tree_entry_type(entry) == GIT_OBJECT_BLOB)
        bad = show_blob(job, git->tree_entry_id(entry), path);
    else if (!bad)
        bad = moon__git_fail(job, "%.300s is a submodule", path);
    git->tree_entry_free(entry);
    git->tree_free(tree);
    git->commit_free(commit);
    return bad;
}

static int work(moon__git_job *job) {
    const char *ref = moon__git_str(job, "ref", "HEAD"), *path = moon__git_str(job, "path", NULL);
    if (!path) return show_commit(job, ref);
    return moon__git_path(job, path, &path) || show_path(job, ref, path) ? -1 : 0;
}

static void start(void *self, moon_call *call, const moon_json *args) {
    (void)self;
    moon__git_run(call, args, work);
}

const moon_tool moon__tool_git_show = {
    .abi = MOON_TOOL_ABI,
    .effects = MOON_READ_ONLY | MOON_IDEMPOTENT,
    .flags = MOON_TOOL_BLOCKING,
    .name = "git.show",
    .description = "Shows a commit: author, date, message and its diff against the first parent. With `path`: that "
                   "file's text at the commit, or "
                   "the names in that directory.",
    .params = "{\"type\":\"object\",\"additionalProperties\":false,\"properties\":{"
              "\"ref\":{\"type\":\"string\",\"description\":\"branch, tag, id or HEAD~2 (default HEAD)\"},"
              "\"path\":{\"type\":\"string\",\"description\":\"a file or directory as it was then\"}}}",
    .start = start,
};
