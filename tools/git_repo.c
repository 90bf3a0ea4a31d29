/* SPDX-License-Identifier: MIT */
/* The frame of a git job, its arguments, errors, paths and texts. Finding and judging the repository is git_open.c. */
#include "git_repo.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bytes.h"
#include "git_open.h"

int moon__git_begin(moon__git_job *job) {
    const char *why;
    job->prefix = "";
    job->git = moon__git_library(&why);
    if (!job->git)
        return moon__git_fail(job, "%.300s: git tools do not work without it (Debian: apt install libgit2-1.5)", why);
    return moon__git_open(job);
}

void moon__git_end(moon__git_job *job) {
    if (job->git) job->git->repository_free(job->repo);
    free(job->place);
    job->repo = NULL;
    job->place = NULL;
}

void moon__git_run(moon_call *call, const moon_json *args, int (*work)(moon__git_job *job)) {
    moon__git_job job = {.call = call, .args = args, .root = moon_call_root(call)};
    int failed = moon__git_begin(&job);
    if (!failed) failed = work(&job);
    moon__git_end(&job);
    if (failed)
        moon_call_fail(call, "%s", job.error);
    else
        moon_call_done(call);
}

/* ---- errors ---- */

static bool unwanted(const moon__git_job *job) {
    if (job->call) return moon_call_cancelled(job->call);
    return job->cancelled && job->cancelled(job->ctx);
}

int moon__git_fail(moon__git_job *job, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(job->error, sizeof job->error, format, args);
    va_end(args);
    return -1;
}

int moon__git_trouble(moon__git_job *job, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(job->error, sizeof job->error, format, args);
    va_end(args);
    const git_error *last = job->git->error_last();
    if (last && last->message && !unwanted(job)) {
        size_t n = strlen(job->error);
        snprintf(job->error + n, sizeof job->error - n, ": %s", last->message);
    }
    return -1;
}

int moon__git_nomem(moon__git_job *job) {
    return moon__git_fail(job, "out of memory");
}

int moon__git_pause(moon__git_job *job) {
    return unwanted(job) ? moon__git_fail(job, "cancelled") : 0;
}

/* ---- arguments ---- */

const char *moon__git_str(const moon__git_job *job, const char *name, const char *fallback) {
    const char *text = moon_json_str(moon_json_get(job->args, name), NULL);
    return text ? text : fallback;
}

int64_t moon__git_int(const moon__git_job *job, const char *name, int64_t fallback) {
    moon_json_int(moon_json_get(job->args, name), &fallback);
    return fallback;
}

bool moon__git_bool(const moon__git_job *job, const char *name) {
    bool value = false;
    moon_json_bool(moon_json_get(job->args, name), &value);
    return value;
}

/* ---- paths ---- */

/* An absolute path is good if it begins with the workspace's own. */
static const char *beneath_root(moon__git_job *job, const char *path) {
    const char *root = moon_call_root(job->call);
    size_t n = strlen(root);
    if (path[0] != '/') return path;
    if (n == 1) return path + 1;
    if (!strncmp(path, root, n) && (path[n] == '/' || !path[n])) return path + n;
    return NULL;
}

int moon__git_path(moon__git_job *job, const char *arg, const char **out) {
    const char *rest = beneath_root(job, arg);
    if (!rest) return moon__git_fail(job, "%.300s is outside the workspace; paths are relative to it", arg);
    size_t n = strlen(job->prefix);
    char *path = moon_call_alloc(job->call, n + strlen(rest) + 2);
    if (!path) return moon__git_nomem(job);
    memcpy(path, job->prefix, n);
    while (*rest) {
        size_t part = strcspn(rest, "/");
        if (part == 2 && !memcmp(rest, "..", 2))
            return moon__git_fail(job, "%.300s: \"..\" is not allowed in a path", arg);
        if (part && !(part == 1 && *rest == '.')) {
            memcpy(path + n, rest, part);
            n += part;
            path[n++] = '/';
        }
        rest += part + (rest[part] == '/');
    }
    path[n ? n - 1 : 0] = 0;
    *out = path;
    return 0;
}

const char *moon__git_shown_path(moon__git_job *job, const char *path) {
    const char *prefix = job->prefix;
    size_t same = strlen(prefix), up = 0;
    if (!same) return path;
    if (!strncmp(path, prefix, same)) return path[same] ? path + same : ".";
    for (same = 0; prefix[same] && prefix[same] == path[same]; same++) {
    }
    while (same && prefix[same - 1] != '/') same--;
    for (const char *p = prefix + same; *p; p++) up += *p == '/';
    size_t rest = strlen(path + same) + 1;
    char *shown = moon_call_alloc(job->call, up * 3 + rest);
    if (!shown) return NULL;
    for (size_t i = 0; i < up * 3; i++) shown[i] = "../"[i % 3];
    memcpy(shown + up * 3, path + same, rest);
    return shown;
}

/* A name that is no UTF-8 is given twice: readable, and in hexadecimal for those who need the very bytes. */
void moon__git_put_path(moon__git_job *job, const char *name, const char *path) {
    path = moon__git_shown_path(job, path);
    if (!path) path = "";
    size_t n = strlen(path);
    moon_put_str(job->call, name, path, n);
    if (!moon__text_invalid(path, n)) return;
    char key[32];
    char *hex = moon_call_alloc(job->call, n * 2 + 1);
    if (!hex) return;
    for (size_t i = 0; i < n; i++) snprintf(hex + i * 2, 3, "%02x", (unsigned char)path[i]);
    snprintf(key, sizeof key, "%s_hex", name);
    moon_put_str(job->call, key, hex, n * 2);
}

/* ---- revisions ---- */

int moon__git_head(moon__git_job *job, git_commit **out) {
    const moon__git *git = job->git;
    git_reference *head = NULL;
    int code = git->repository_head(&head, job->repo);
    if (code == GIT_EUNBORNBRANCH || code == GIT_ENOTFOUND) return 1;
    if (!code) code = git->reference_peel((git_object **)out, head, GIT_OBJECT_COMMIT);
    git->reference_free(head);
    return code ? moon__git_trouble(job, "HEAD leads to no commit") : 0;
}

/* ":/text" and "^{/text}" search all of history with a regular expression: nothing that a name should cost. */
static bool is_search(const char *ref) {
    return ref[0] == ':' || strstr(ref, "^{/");
}

int moon__git_object(moon__git_job *job, const char *ref, git_object **out) {
    if (!*ref || strlen(ref) > 1000 || is_search(ref))
        return moon__git_fail(job, "\"%.200s\" is no name of a commit: give a branch, a tag, an id, or HEAD~2", ref);
    int code = job->git->revparse_single(out, job->repo, ref);
    if (!code) return 0;
    git_commit *head = NULL;
    int unborn = moon__git_head(job, &head);
    job->git->commit_free(head);
    if (unborn == 1) return moon__git_fail(job, "the repository has no commits yet, so there is no \"%.200s\"", ref);
    if (code == GIT_EAMBIGUOUS) return moon__git_fail(job, "\"%.200s\" is ambiguous: give more of the id", ref);
    if (code == GIT_ENOTFOUND)
        return moon__git_fail(job, "there is no commit, branch or tag named \"%.200s\"; git.branches lists branches",
                              ref);
    return moon__git_trouble(job, "cannot resolve \"%.200s\"", ref);
}

int moon__git_commit(moon__git_job *job, const char *ref, git_commit **out) {
    git_object *object = NULL;
    if (moon__git_object(job, ref, &object)) return -1;
    int code = job->git->object_peel((git_object **)out, object, GIT_OBJECT_COMMIT);
    job->git->object_free(object);
    return code ? moon__git_fail(job, "\"%.200s\" names something else than a commit", ref) : 0;
}

/* ---- what is written ---- */

void moon__git_put_oid(moon__git_job *job, const char *name, const git_oid *oid) {
    char hex[GIT_OID_HEXSZ + 1];
    moon_put_str(job->call, name, job->git->oid_tostr(hex, sizeof hex, oid), GIT_OID_HEXSZ);
}

/* A commit may hold any number for its time. One that is no date is shown as the epoch, as git does. */
void moon__git_time(char out[48], const git_time *when) {
    int offset = when->offset;
    if (offset < -24 * 60 || offset > 24 * 60) offset = 0;
    time_t local = 0;
    struct tm tm;
    if (__builtin_add_overflow(when->time, (int64_t)offset * 60, &local) || !gmtime_r(&local, &tm) ||
        tm.tm_year > 9999 - 1900 || tm.tm_year < -1900) {
        local = 0;
        offset = 0;
        gmtime_r(&local, &tm);
    }
    int minutes = abs(offset);
    snprintf(out, 48, "%04d-%02d-%02dT%02d:%02d:%02d%c%02d:%02d", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday,
             tm.tm_hour, tm.tm_min, tm.tm_sec, offset < 0 ? '-' : '+', minutes / 60, minutes % 60);
}

void moon__git_put_time(moon__git_job *job, const char *name, const git_time *when) {
    char text[48];
    moon__git_time(text, when);
    moon_put_str(job->call, name, text, SIZE_MAX);
}

void moon__git_put_text(moon__git_job *job, const char *name, const char *text, size_t max) {
    if (!text) text = "";
    size_t n = strnlen(text, max + 1);
    moon_put_str(job->call, name, text, n > max ? moon__text_floor(text, max) : n);
}

int64_t moon__git_count_changed(const moon__git_job *job, git_tree *before, git_tree *after) {
    git_diff *diff = NULL;
    int64_t n = 0;
    if (!job->git->diff_tree_to_tree(&diff, job->repo, before, after, NULL))
        n = (int64_t)job->git->diff_num_deltas(diff);
    job->git->diff_free(diff);
    return n;
}
