/* SPDX-License-Identifier: MIT */
#ifndef MOON_TOOLS_GIT_MAIL_H
#define MOON_TOOLS_GIT_MAIL_H
/* Names of people as the repository's .mailmap wants them shown (that of HEAD; git log and git blame use it too). */
#include "git_repo.h"

typedef struct moon__git_names {
    git_mailmap *map; /* NULL: there is none */
} moon__git_names;

int moon__git_names_init(moon__git_names *names, moon__git_job *job);
void moon__git_names_fini(moon__git_names *names, moon__git_job *job);
/* Borrowed from the signature or the map. */
void moon__git_names_of(const moon__git_names *names, moon__git_job *job, const git_signature *who, const char **name,
                        const char **email);
/* "author" and "email" of an object. */
void moon__git_put_author(moon__git_job *job, const moon__git_names *names, const git_signature *who);

#endif
