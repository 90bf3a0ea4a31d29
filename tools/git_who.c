/* SPDX-License-Identifier: MIT */
#include "git_who.h"

#include <stdlib.h>

static bool known(moon__git_job *job, git_signature **out) {
    const char *name = getenv("GIT_AUTHOR_NAME"), *email = getenv("GIT_AUTHOR_EMAIL");
    if (name && *name && email && *email && !job->git->signature_now(out, name, email)) return true;
    git_config *config = NULL;
    int bad = job->git->repository_config_snapshot(&config, job->repo);
    if (!bad) bad = job->git->config_get_string(&name, config, "user.name");
    if (!bad) bad = job->git->config_get_string(&email, config, "user.email");
    if (!bad) bad = job->git->signature_now(out, name, email);
    job->git->config_free(config);
    return !bad;
}

int moon__git_who(moon__git_job *job, git_signature **out) {
    if (known(job, out)) return 0;
    return moon__git_fail(
        job,
        "git does not know who you are: git config --global user.name \"Your Name\"; git config --global user.email "
        "you@example.com");
}

int moon__git_who_else(moon__git_job *job, git_signature **out) {
    if (known(job, out)) return 0;
    return job->git->signature_now(out, "moonlet", "moonlet@localhost") ? moon__git_nomem(job) : 0;
}
