/* SPDX-License-Identifier: MIT */
/* git.blame: which commit and author each line of a file comes from, as of a commit. */
#include <stdlib.h>
#include <string.h>

#include "builtin.h"
#include "git_mail.h"

enum { AUTHORS_MAX = 200 };

typedef struct author {
    const char *name, *email;
    int64_t lines;
} author;

typedef struct blame_query {
    moon__git_job *job;
    git_blame *blame;
    moon__git_names names;
    author authors[AUTHORS_MAX];
    size_t n_authors;
    int64_t lines;
} blame_query;

static void count(blame_query *b, const git_blame_hunk *hunk) {
    const char *name, *email;
    if (!hunk->final_signature) return;
    moon__git_names_of(&b->names, b->job, hunk->final_signature, &name, &email);
    size_t i = 0;
    while (i < b->n_authors && (strcmp(b->authors[i].email, email) != 0 || strcmp(b->authors[i].name, name) != 0)) i++;
    if (i == AUTHORS_MAX) return;
    if (i == b->n_authors) b->authors[b->n_authors++] = (author){.name = name, .email = email};
    b->authors[i].lines += (int64_t)hunk->lines_in_hunk;
}

static int put_hunk(blame_query *b, const git_blame_hunk *hunk) {
    moon__git_job *job = b->job;
    git_commit *commit = NULL;
    if (job->git->commit_lookup(&commit, job->repo, &hunk->final_commit_id))
        return moon__git_trouble(job, "cannot read a commit");
    moon_put_object(job->call, NULL);
    moon_put_int(job->call, "line", (int64_t)hunk->final_start_line_number);
    moon_put_int(job->call, "lines", (int64_t)hunk->lines_in_hunk);
    moon__git_put_oid(job, "commit", &hunk->final_commit_id);
    moon__git_put_author(job, &b->names, job->git->commit_author(commit));
    moon__git_put_time(job, "time", &job->git->commit_author(commit)->when);
    moon__git_put_text(job, "summary", job->git->commit_summary(commit), 200);
    if (hunk->boundary) moon_put_bool(job->call, "boundary", true);
    moon_put_end(job->call);
    job->git->commit_free(commit);
    return 0;
}

static int by_lines(const void *a, const void *b) {
    const author *x = a, *y = b;
    if (x->lines != y->lines) return x->lines < y->lines ? 1 : -1;
    return strcmp(x->name, y->name);
}

static void put_authors(blame_query *b) {
    qsort(b->authors, b->n_authors, sizeof *b->authors, by_lines);
    moon_put_array(b->job->call, "authors");
    for (size_t i = 0; i < b->n_authors; i++) {
        moon_put_object(b->job->call, NULL);
        moon__git_put_text(b->job, "author", b->authors[i].name, 300);
        moon__git_put_text(b->job, "email", b->authors[i].email, 300);
        moon_put_int(b->job->call, "lines", b->authors[i].lines);
        moon_put_end(b->job->call);
    }
    moon_put_end(b->job->call);
}

static int put_blame(blame_query *b, const char *path, const git_oid *at) {
    moon__git_job *job = b->job;
    uint32_t hunks = job->git->blame_get_hunk_count(b->blame);
    moon_put_object(job->call, NULL);
    moon__git_put_path(job, "path", path);
    moon__git_put_oid(job, "ref", at);
    moon_put_array(job->call, "hunks");
    for (uint32_t i = 0; i < hunks; i++) {
        const git_blame_hunk *hunk = job->git->blame_get_hunk_byindex(b->blame, i);
        if (moon__git_pause(job) || put_hunk(b, hunk)) return -1;
        count(b, hunk);
        b->lines += (int64_t)hunk->lines_in_hunk;
    }
    moon_put_end(job->call);
    moon_put_int(job->call, "lines", b->lines);
    put_authors(b);
    moon_put_end(job->call);
    return 0;
}

/* Is the path a text file of the commit? libgit2's own words for that are hard to read. */
static int check_file(moon__git_job *job, git_commit *commit, const char *path, size_t *lines) {
    const moon__git *git = job->git;
    git_tree *tree = NULL;
    git_tree_entry *entry = NULL;
    git_blob *blob = NULL;
    int bad = 0;
    if (git->commit_tree(&tree, commit))
        bad = moon__git_trouble(job, "cannot read the commit");
    else if (!*path || git->tree_entry_bypath(&entry, tree, path))
        bad = moon__git_fail(job, "there is no file %.300s at that commit",
                             *path ? moon__git_shown_path(job, path) : ".");
    else if (git->tree_entry_type(entry) != GIT_OBJECT_BLOB ||
             git->blob_lookup(&blob, job->repo, git->tree_entry_id(entry)))
        bad = moon__git_fail(job, "%.300s is no file", path);
    else if (git->blob_is_binary(blob))
        bad = moon__git_fail(job, "%.300s is binary", path);
    else {
        const char *p = git->blob_rawcontent(blob), *end = p + git->blob_rawsize(blob);
        for (*lines = 0; p < end; ++*lines) {
            const char *newline = memchr(p, '\n', (size_t)(end - p));
            p = newline ? newline + 1 : end;
        }
    }
    git->blob_free(blob);
    git->tree_entry_free(entry);
    git->tree_free(tree);
    return bad;
}

static int run(blame_query *b, git_commit *commit, const char *path) {
    moon__git_job *job = b->job;
    git_blame_options options;
    size_t lines = 0;
    if (check_file(job, commit, path, &lines)) return -1;
    int64_t from = moon__git_int(job, "from", 1), to = moon__git_int(job, "to", (int64_t)lines);
    if (lines && (from > (int64_t)lines || to < from))
        return moon__git_fail(job, "%.300s has %zu line%s; from and to lie outside", path, lines,
                              lines == 1 ? "" : "s");
    if (to > (int64_t)lines) to = (int64_t)lines;
    job->git->blame_options_init(&options, GIT_BLAME_OPTIONS_VERSION);
    options.newest_commit = *job->git->commit_id(commit);
    options.min_line = lines ? (size_t)from : 0;
    options.max_line = lines ? (size_t)to : 0;
    if (job->git->blame_file(&b->blame, job->repo, path, &options))
        return moon__git_trouble(job, "cannot blame %.200s", path);
    return moon__git_names_init(&b->names, job) || put_blame(b, path, job->git->commit_id(commit)) ? -1 : 0;
}

static int work(moon__git_job *job) {
    const char *path = NULL;
    git_commit *commit = NULL;
    if (moon__git_path(job, moon__git_str(job, "path", ""), &path) ||
        moon__git_commit(job, moon__git_str(job, "ref", "HEAD"), &commit))
        return -1;
    blame_query *b = calloc(1, sizeof *b);
    int bad = b ? 0 : moon__git_nomem(job);
    if (b) {
        b->job = job;
        bad = run(b, commit, path);
        moon__git_names_fini(&b->names, job);
        job->git->blame_free(b->blame);
    }
    free(b);
    job->git->commit_free(commit);
    return bad;
}

static void start(void *self, moon_call *call, const moon_json *args) {
    (void)self;
    moon__git_run(call, args, work);
}

const moon_tool moon__tool_git_blame = {
    .abi = MOON_TOOL_ABI,
    .effects = MOON_READ_ONLY | MOON_IDEMPOTENT,
    .flags = MOON_TOOL_BLOCKING,
    .timeout_ms = 300000,
    .result_max = 200 << 10,
    .name = "git.blame",
    .description = "Says for each line of a committed file which commit it comes from: hunks of lines with commit, "
                   "author, time and summary, and the "
                   "lines per author. It is the file as of `ref` (default HEAD), not of the work tree. Slow on files "
                   "with a long history: "
                   "give `from` and `to` where a part will do.",
    .params = "{\"type\":\"object\",\"additionalProperties\":false,\"required\":[\"path\"],\"properties\":{"
              "\"path\":{\"type\":\"string\"},\"ref\":{\"type\":\"string\",\"description\":\"branch, tag or id "
              "(default HEAD)\"},"
              "\"from\":{\"type\":\"integer\",\"minimum\":1,\"description\":\"first line\"},"
              "\"to\":{\"type\":\"integer\",\"minimum\":1,\"description\":\"last line\"}}}",
    .start = start,
};
