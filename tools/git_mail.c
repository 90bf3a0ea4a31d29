/* SPDX-License-Identifier: MIT */
/* Applies .mailmap: see git_mail.h. It is taken from HEAD's tree, not found through mailmap.file, which a repository's
 * own configuration could point anywhere. */
#include "git_mail.h"

enum { MAILMAP_MAX = 4 << 20, NAME_MAX_BYTES = 300 };

int moon__git_names_init(moon__git_names *names, moon__git_job *job) {
    const moon__git *git = job->git;
    git_object *object = NULL;
    names->map = NULL;
    if (!git->revparse_single(&object, job->repo, "HEAD:.mailmap") && git->object_type(object) == GIT_OBJECT_BLOB) {
        const git_blob *blob = (const git_blob *)object;
        git_object_size_t size = git->blob_rawsize(blob);
        if (size <= MAILMAP_MAX && git->mailmap_from_buffer(&names->map, git->blob_rawcontent(blob), (size_t)size))
            names->map = NULL; /* a malformed one maps nothing */
    }
    git->object_free(object);
    return 0;
}

void moon__git_names_fini(moon__git_names *names, moon__git_job *job) {
    job->git->mailmap_free(names->map);
    names->map = NULL;
}

void moon__git_names_of(const moon__git_names *names, moon__git_job *job, const git_signature *who, const char **name,
                        const char **email) {
    *name = who->name;
    *email = who->email;
    if (names->map && job->git->mailmap_resolve(name, email, names->map, who->name, who->email)) {
        *name = who->name;
        *email = who->email;
    }
}

void moon__git_put_author(moon__git_job *job, const moon__git_names *names, const git_signature *who) {
    const char *name, *email;
    moon__git_names_of(names, job, who, &name, &email);
    moon__git_put_text(job, "author", name, NAME_MAX_BYTES);
    moon__git_put_text(job, "email", email, NAME_MAX_BYTES);
}
