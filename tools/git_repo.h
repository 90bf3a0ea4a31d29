/* SPDX-License-Identifier: MIT */
#ifndef MOON_TOOLS_GIT_REPO_H
#define MOON_TOOLS_GIT_REPO_H
/*
 * One git job: a call of a git tool, or the making of a snapshot, with a repository handle of its own, opened for it
 * and closed with it (opening costs less than a tenth of a millisecond, and libgit2's objects belong to one thread at a
 * time). What a job's functions return: 0, or -1 after moon__git_fail() has put into job->error what the model, or who
 * reads of the snapshot, will read.
 *
 * Paths. The workspace may be a directory within the repository. Tools take paths relative to the workspace and give
 * them so, "../x" where something lies outside; within the job paths are relative to the repository's top, as git
 * stores them.
 */
#include <moonlet/tool.h>

#include "git_api.h"

typedef struct moon__git_job {
    moon_call *call; /* NULL, as args: no tool's; then only what says so below may be used */
    const moon_json *args;
    const char *root;             /* the workspace's absolute path */
    bool (*cancelled)(void *ctx); /* without a call: does somebody want it to end? May be NULL */
    void *ctx;
    const moon__git *git;
    git_repository *repo;
    const char *top;    /* the work tree, without a slash at its end; NULL: bare */
    const char *prefix; /* the workspace within the work tree: "" or "sub/dir/" */
    char *place;        /* holds both */
    char error[700];
} moon__git_job;

/* Opens the repository, lets work do its part, closes it, ends the call. */
void moon__git_run(moon_call *call, const moon_json *args, int (*work)(moon__git_job *job));
/* The same in parts, and without a call: begin wants root (and cancelled); end in any case. */
int moon__git_begin(moon__git_job *job);
void moon__git_end(moon__git_job *job);

/* Both return -1. The second adds what libgit2 says. These three need no call. */
int moon__git_fail(moon__git_job *job, const char *format, ...) MOON_PRINTF(2, 3);
int moon__git_trouble(moon__git_job *job, const char *format, ...) MOON_PRINTF(2, 3);
int moon__git_nomem(moon__git_job *job);
/* -1 if somebody wants the call, or the job without one, to end. */
int moon__git_pause(moon__git_job *job);

/* Arguments; what is absent gives the default. */
const char *moon__git_str(const moon__git_job *job, const char *name, const char *fallback);
int64_t moon__git_int(const moon__git_job *job, const char *name, int64_t fallback);
bool moon__git_bool(const moon__git_job *job, const char *name);

/* An argument's path as the repository knows it, without a slash at its end; "" is the top. Memory of the call. */
int moon__git_path(moon__git_job *job, const char *arg, const char **out);
/* A path of the repository as the workspace sees it. */
void moon__git_put_path(moon__git_job *job, const char *name, const char *path);
/* The same for text; memory of the call, NULL when there is none. */
const char *moon__git_shown_path(moon__git_job *job, const char *path);

/* The commit that HEAD leads to: 0, -1, or 1 if there is none yet. Needs no call. */
int moon__git_head(moon__git_job *job, git_commit **out);
/* The commit that ref names. */
int moon__git_commit(moon__git_job *job, const char *ref, git_commit **out);
/* What ref names; it need not be a commit. */
int moon__git_object(moon__git_job *job, const char *ref, git_object **out);

/* How many files differ; a tree may be NULL, the empty one. 0 where that cannot be found out. */
int64_t moon__git_count_changed(const moon__git_job *job, git_tree *before, git_tree *after);
void moon__git_put_oid(moon__git_job *job, const char *name, const git_oid *oid);
void moon__git_put_time(moon__git_job *job, const char *name, const git_time *time);
/* "2026-01-02T03:04:05+07:00" */
void moon__git_time(char out[48], const git_time *time);
/* Bytes that are to be shown as they are; *length is cut to max at the start of a character. */
void moon__git_put_text(moon__git_job *job, const char *name, const char *text, size_t max);

#endif
