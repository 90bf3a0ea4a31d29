/* SPDX-License-Identifier: MIT */
/*
 * What a branch follows: branch.NAME.remote and branch.NAME.merge of the configuration, and the reference that the
 * usual refspec (refs/heads/x to refs/remotes/REMOTE/x) keeps it in. libgit2's own git_branch_upstream knows other
 * refspecs too, but 1.5.1 leaks 20 KB at each call (its regular expressions, when they do not match).
 */
#include "git_upstream.h"

#include <stdio.h>
#include <string.h>

enum { NAME_MAX_BYTES = 1024 };

/* The reference's name; false if the branch follows nothing. */
static bool followed(moon__git_job *job, const char *branch, char out[NAME_MAX_BYTES]) {
    const moon__git *git = job->git;
    char key[NAME_MAX_BYTES];
    const char *remote = NULL, *merge = NULL;
    git_config *config = NULL;
    int n = -1;
    if (!git->repository_config_snapshot(&config, job->repo)) {
        bool fits = snprintf(key, sizeof key, "branch.%s.remote", branch) < (int)sizeof key;
        if (fits && !git->config_get_string(&remote, config, key)) {
            snprintf(key, sizeof key, "branch.%s.merge", branch); /* one byte shorter */
            if (git->config_get_string(&merge, config, key)) merge = NULL;
        }
        if (merge && !strcmp(remote, "."))
            n = snprintf(out, NAME_MAX_BYTES, "%s", merge);
        else if (merge && !strncmp(merge, "refs/heads/", 11))
            n = snprintf(out, NAME_MAX_BYTES, "refs/remotes/%s/%s", remote, merge + 11);
    }
    git->config_free(config);
    git->error_clear(); /* most branches follow none */
    return n > 0 && n < NAME_MAX_BYTES;
}

bool moon__git_put_upstream(moon__git_job *job, const char *branch, const git_oid *own) {
    const moon__git *git = job->git;
    char name[NAME_MAX_BYTES];
    git_reference *upstream = NULL;
    git_object *commit = NULL;
    size_t ahead = 0, behind = 0;
    if (!followed(job, branch, name) || git->reference_lookup(&upstream, job->repo, name)) {
        git->error_clear();
        return false;
    }
    moon__git_put_text(job, "upstream", git->reference_shorthand(upstream), 500);
    if (!git->reference_peel(&commit, upstream, GIT_OBJECT_COMMIT) &&
        !git->graph_ahead_behind(&ahead, &behind, job->repo, own, git->object_id(commit))) {
        moon_put_int(job->call, "ahead", (int64_t)ahead);
        moon_put_int(job->call, "behind", (int64_t)behind);
    }
    git->object_free(commit);
    git->reference_free(upstream);
    return true;
}
