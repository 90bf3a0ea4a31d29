/* SPDX-License-Identifier: MIT */
/* git.branch: creates, switches to or deletes a branch. Refuses what would lose work, as git does without --force. */
#include <stdio.h>
#include <string.h>

#include "builtin.h"
#include "git_stat.h"

static int check_name(moon__git_job *job, const char *name) {
    int valid = 0;
    if (job->git->branch_name_is_valid(&valid, name) || !valid)
        return moon__git_fail(job, "\"%.100s\" is no branch name", name);
    return 0;
}

static int create(moon__git_job *job, const char *name) {
    git_commit *from = NULL;
    git_reference *branch = NULL;
    const char *ref = moon__git_str(job, "from", "HEAD");
    if (check_name(job, name) || moon__git_commit(job, ref, &from)) return -1;
    int bad = job->git->branch_create(&branch, job->repo, name, from, 0);
    if (bad == GIT_EEXISTS)
        bad = moon__git_fail(job, "there is a branch %.100s already", name);
    else if (bad)
        bad = moon__git_trouble(job, "cannot create %.100s", name);
    else {
        char id[GIT_OID_HEXSZ + 1];
        job->git->oid_tostr(id, sizeof id, job->git->commit_id(from));
        moon_call_printf(job->call, "created %s at %s; action \"switch\" checks it out\n", name, id);
    }
    job->git->reference_free(branch);
    job->git->commit_free(from);
    return bad;
}

static int look_up(moon__git_job *job, const char *name, git_reference **out) {
    if (!job->git->branch_lookup(out, job->repo, name, GIT_BRANCH_LOCAL)) return 0;
    return moon__git_fail(job, "there is no branch %.100s", name);
}

static int switch_to(moon__git_job *job, const char *name) {
    const moon__git *git = job->git;
    git_reference *branch = NULL;
    git_object *commit = NULL;
    git_checkout_options options;
    if (!job->top) return moon__git_fail(job, "the repository is bare: there is nothing to check out");
    if (git->repository_state(job->repo) != GIT_REPOSITORY_STATE_NONE)
        return moon__git_fail(job, "a merge or rebase is going on; finish it first");
    if (look_up(job, name, &branch)) return -1;
    git->checkout_options_init(&options, GIT_CHECKOUT_OPTIONS_VERSION);
    options.checkout_strategy = GIT_CHECKOUT_SAFE;
    int bad = git->reference_peel(&commit, branch, GIT_OBJECT_COMMIT);
    if (!bad) bad = git->checkout_tree(job->repo, commit, &options);
    if (bad == GIT_ECONFLICT)
        bad = moon__git_fail(job, "switching to %.100s would overwrite local changes; commit them first", name);
    else if (bad || git->repository_set_head(job->repo, git->reference_name(branch)))
        bad = moon__git_trouble(job, "cannot switch to %.100s", name);
    else
        moon_call_printf(job->call, "switched to %s\n", name);
    git->object_free(commit);
    git->reference_free(branch);
    return bad;
}

static int delete_it(moon__git_job *job, const char *name) {
    const moon__git *git = job->git;
    git_reference *branch = NULL;
    git_object *commit = NULL;
    git_commit *head = NULL;
    char id[GIT_OID_HEXSZ + 1];
    if (look_up(job, name, &branch)) return -1;
    int bad = git->reference_peel(&commit, branch, GIT_OBJECT_COMMIT)
                  ? moon__git_trouble(job, "cannot read %.100s", name)
                  : 0;
    if (!bad && git->branch_is_checked_out(branch)) bad = moon__git_fail(job, "%.100s is checked out", name);
    if (!bad && moon__git_head(job, &head))
        bad = moon__git_fail(job, "HEAD has no commit to compare %.100s with", name);
    if (!bad && git->oid_cmp(git->commit_id(head), git->object_id(commit)) != 0 &&
        git->graph_descendant_of(job->repo, git->commit_id(head), git->object_id(commit)) != 1)
        bad = moon__git_fail(job, "%.100s holds commits that HEAD does not have: merge it first", name);
    if (!bad && git->branch_delete(branch)) bad = moon__git_trouble(job, "cannot delete %.100s", name);
    if (!bad)
        moon_call_printf(job->call, "deleted %s (was %s)\n", name,
                         git->oid_tostr(id, sizeof id, git->object_id(commit)));
    git->commit_free(head);
    git->object_free(commit);
    git->reference_free(branch);
    return bad;
}

static int work(moon__git_job *job) {
    const char *name = moon__git_str(job, "name", ""), *action = moon__git_str(job, "action", "create");
    if (!strcmp(action, "switch")) return switch_to(job, name);
    return !strcmp(action, "delete") ? delete_it(job, name) : create(job, name);
}

static void start(void *self, moon_call *call, const moon_json *args) {
    (void)self;
    moon__git_run(call, args, work);
}

const moon_tool moon__tool_git_branch = {
    .abi = MOON_TOOL_ABI,
    .effects = MOON_DESTRUCTIVE,
    .flags = MOON_TOOL_BLOCKING,
    .name = "git.branch",
    .description = "Creates a branch, switches to one, or deletes one. Never overwrites local changes; deletes only "
                   "what HEAD holds already. No "
                   "hooks run. git.branches lists them.",
    .params = "{\"type\":\"object\",\"additionalProperties\":false,\"required\":[\"name\"],\"properties\":{"
              "\"name\":{\"type\":\"string\",\"minLength\":1},\"action\":{\"enum\":[\"create\",\"switch\",\"delete\"]},"
              "\"from\":{\"type\":\"string\",\"description\":\"where a new branch begins (default HEAD)\"}}}",
    .start = start,
};
