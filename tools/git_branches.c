/* SPDX-License-Identifier: MIT */
/* git.branches: the branches, with what each ends in. Changes nothing; git.branch does. */
#include "builtin.h"
#include "git_upstream.h"

static void put_one(moon__git_job *job, git_reference *branch, git_branch_t kind) {
    const moon__git *git = job->git;
    git_object *commit = NULL;
    const char *name = NULL;
    if (git->branch_name(&name, branch) || git->reference_peel(&commit, branch, GIT_OBJECT_COMMIT)) {
        git->error_clear(); /* leads to nothing, as origin/HEAD may */
        return;
    }
    const git_signature *author = git->commit_author((git_commit *)commit);
    moon_put_object(job->call, NULL);
    moon__git_put_text(job, "name", name, 500);
    moon__git_put_oid(job, "id", git->object_id(commit));
    moon__git_put_time(job, "time", &author->when);
    moon__git_put_text(job, "summary", git->commit_summary((git_commit *)commit), 200);
    if (kind == GIT_BRANCH_LOCAL) moon__git_put_upstream(job, name, git->object_id(commit));
    moon_put_bool(job->call, "current", git->branch_is_head(branch) == 1);
    moon_put_end(job->call);
    git->object_free(commit);
}

static void put_current(moon__git_job *job) {
    git_reference *head = NULL;
    bool named = !job->git->repository_head_detached(job->repo) && !job->git->repository_head(&head, job->repo);
    if (named)
        moon__git_put_text(job, "current", job->git->reference_shorthand(head), 500);
    else
        moon_put_null(job->call, "current");
    job->git->error_clear();
    job->git->reference_free(head);
}

static int work(moon__git_job *job) {
    const moon__git *git = job->git;
    git_branch_iterator *iterator = NULL;
    git_reference *branch;
    git_branch_t kind;
    int64_t limit = moon__git_int(job, "limit", 200), n = 0;
    git_branch_t wanted = moon__git_bool(job, "remote") ? GIT_BRANCH_REMOTE : GIT_BRANCH_LOCAL;
    if (git->branch_iterator_new(&iterator, job->repo, wanted))
        return moon__git_trouble(job, "cannot list the branches");
    moon_put_object(job->call, NULL);
    put_current(job);
    moon_put_array(job->call, "branches");
    for (; !moon_call_cancelled(job->call) && !git->branch_next(&branch, &kind, iterator); n++) {
        if (n < limit) put_one(job, branch, kind);
        git->reference_free(branch);
    }
    moon_put_end(job->call);
    moon_put_bool(job->call, "more", n > limit);
    moon_put_end(job->call);
    git->branch_iterator_free(iterator);
    return moon__git_pause(job);
}

static void start(void *self, moon_call *call, const moon_json *args) {
    (void)self;
    moon__git_run(call, args, work);
}

const moon_tool moon__tool_git_branches = {
    .abi = MOON_TOOL_ABI,
    .effects = MOON_READ_ONLY | MOON_IDEMPOTENT,
    .flags = MOON_TOOL_BLOCKING,
    .name = "git.branches",
    .description = "Lists the branches (with `remote` those of remotes): name, the commit it ends in, its time and "
                   "summary, upstream, which is "
                   "checked out.",
    .params = "{\"type\":\"object\",\"additionalProperties\":false,\"properties\":{\"remote\":{\"type\":\"boolean\"},"
              "\"limit\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":5000,\"description\":\"default 200\"}}}",
    .start = start,
};
