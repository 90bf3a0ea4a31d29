/* SPDX-License-Identifier: MIT */
/*
 * test.repository: makes a git repository with commits in the workspace of a test. Names and times are fixed unless
 * they are given, so that the same commits have the same ids on every machine. Only runtimes of tests have it.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "builtin.h"
#include "git_repo.h"

enum { DAY = 86400 };
static const int64_t first_time = 1735722000; /* 2025-01-01T09:00:00Z */
static const char NAME[] = "A Tester", MAIL[] = "tester@example.org";

static int init(moon__git_job *job) {
    git_repository_init_options options;
    job->git->repository_init_options_init(&options, GIT_REPOSITORY_INIT_OPTIONS_VERSION);
    options.flags = GIT_REPOSITORY_INIT_MKPATH;
    options.initial_head = "main";
    if (!job->git->repository_init_ext(&job->repo, moon_call_root(job->call), &options)) return 0;
    return moon__git_trouble(job, "cannot make the repository");
}

static int write_files(moon__git_job *job, git_index *index, const moon_json *files) {
    moon_error error = {0};
    for (const moon_json *f = moon_json_first(files); f; f = moon_json_next(f)) {
        size_t n;
        const char *path = moon_json_name(f), *text = moon_json_str(f, &n);
        if (moon_call_replace(job->call, path, text, n, 0644, &error))
            return moon__git_fail(job, "cannot write %.200s: %.300s", path, error.text);
        if (job->git->index_add_bypath(index, path)) return moon__git_trouble(job, "cannot add %.200s", path);
    }
    return 0;
}

static int remove_files(moon__git_job *job, git_index *index, const moon_json *paths) {
    moon_error error = {0};
    for (const moon_json *p = moon_json_first(paths); p; p = moon_json_next(p)) {
        const char *path = moon_json_str(p, NULL);
        int dir;
        if (job->git->index_remove_bypath(index, path)) return moon__git_trouble(job, "cannot remove %.200s", path);
        if (moon_call_open(job->call, ".", O_PATH | O_DIRECTORY, 0, &dir, &error))
            return moon__git_fail(job, "cannot open the workspace: %.300s", error.text);
        int failed = unlinkat(dir, path, 0);
        close(dir);
        if (failed) return moon__git_fail(job, "cannot remove %.200s", path);
    }
    return 0;
}

/* "Name <mail>" taken apart; the defaults where there is none. */
static int sign(moon__git_job *job, const moon_json *commit, int64_t time, git_signature **out) {
    char name[128], mail[128];
    const char *author = moon_json_str(moon_json_get(commit, "author"), NULL);
    snprintf(name, sizeof name, "%s", NAME);
    snprintf(mail, sizeof mail, "%s", MAIL);
    if (author && sscanf(author, "%127[^<]<%127[^>]>", name, mail) != 2)
        return moon__git_fail(job, "an author is \"Name <mail>\", not \"%.100s\"", author);
    for (size_t n = strlen(name); n && name[n - 1] == ' ';) name[--n] = 0;
    moon_json_int(moon_json_get(commit, "time"), &time);
    return job->git->signature_new(out, name, mail, time, 0) ? moon__git_trouble(job, "cannot name the author") : 0;
}

static int tag(moon__git_job *job, const char *name, const git_oid *id) {
    char ref[256];
    git_reference *made = NULL;
    if (!name) return 0;
    snprintf(ref, sizeof ref, "refs/tags/%s", name);
    int bad = job->git->reference_create(&made, job->repo, ref, id, 0, NULL);
    job->git->reference_free(made);
    return bad ? moon__git_trouble(job, "cannot make the tag %.100s", name) : 0;
}

static int commit_index(moon__git_job *job, git_index *index, const moon_json *commit) {
    const moon__git *git = job->git;
    const char *message = moon_json_str(moon_json_get(commit, "message"), NULL);
    git_commit *parent = NULL;
    git_tree *tree = NULL;
    git_signature *who = NULL;
    git_oid tree_id, id;
    int none = moon__git_head(job, &parent);
    int bad = none < 0 ? -1 : 0;
    int64_t time = parent ? git->commit_time(parent) + DAY : first_time;
    const git_commit *parents[] = {parent};
    if (!bad) bad = sign(job, commit, time, &who);
    if (!bad && (git->index_write(index) || git->index_write_tree(&tree_id, index) ||
                 git->tree_lookup(&tree, job->repo, &tree_id) ||
                 git->commit_create(&id, job->repo, "HEAD", who, who, NULL, message, tree, parent ? 1 : 0, parents)))
        bad = moon__git_trouble(job, "cannot commit");
    if (!bad) bad = tag(job, moon_json_str(moon_json_get(commit, "tag"), NULL), &id);
    if (!bad) moon__git_put_oid(job, NULL, &id);
    git->tree_free(tree);
    git->commit_free(parent);
    git->signature_free(who);
    return bad;
}

static int make_commits(moon__git_job *job) {
    git_index *index = NULL;
    if (job->git->repository_index(&index, job->repo)) return moon__git_trouble(job, "cannot open the index");
    int bad = 0;
    moon_put_array(job->call, NULL);
    for (const moon_json *c = moon_json_first(moon_json_get(job->args, "commits")); !bad && c; c = moon_json_next(c)) {
        bad = moon__git_pause(job) || write_files(job, index, moon_json_get(c, "files")) ||
                      remove_files(job, index, moon_json_get(c, "remove")) || commit_index(job, index, c)
                  ? -1
                  : 0;
    }
    moon_put_end(job->call);
    job->git->index_free(index);
    return bad;
}

static void start(void *self, moon_call *call, const moon_json *args) {
    (void)self;
    const char *why;
    moon__git_job job = {.call = call, .args = args, .prefix = "", .git = moon__git_library(&why)};
    if (!job.git) {
        moon_call_fail(call, "%s: a test with git needs it (Debian: apt install libgit2-1.5)", why);
        return;
    }
    int failed = init(&job);
    if (!failed) failed = make_commits(&job);
    job.git->repository_free(job.repo);
    if (failed)
        moon_call_fail(call, "%s", job.error);
    else
        moon_call_done(call);
}

const moon_tool moon__tool_test_repository = {
    .abi = MOON_TOOL_ABI,
    .effects = MOON_DESTRUCTIVE,
    .flags = MOON_TOOL_BLOCKING,
    .name = "test.repository",
    .description =
        "Makes a git repository with these commits in the workspace of a test, or adds them to it. Returns their ids.",
    .params = "{\"type\":\"object\",\"additionalProperties\":false,\"required\":[\"commits\"],\"properties\":{"
              "\"commits\":{\"type\":\"array\",\"items\":{\"type\":\"object\",\"additionalProperties\":false,"
              "\"required\":[\"message\"],\"properties\":{"
              "\"message\":{\"type\":\"string\"},"
              "\"files\":{\"type\":\"object\",\"additionalProperties\":{\"type\":\"string\"},"
              "\"description\":\"path to content\"},"
              "\"remove\":{\"type\":\"array\",\"items\":{\"type\":\"string\"}},"
              "\"author\":{\"type\":\"string\",\"description\":\"Name <mail>\"},"
              "\"time\":{\"type\":\"integer\",\"description\":\"seconds since 1970; each a day after the one before\"},"
              "\"tag\":{\"type\":\"string\"}}}}}}",
    .start = start,
};
