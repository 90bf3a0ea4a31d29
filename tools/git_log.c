/* SPDX-License-Identifier: MIT */
/*
 * git.log: commits, newest first, as plain `git log` gives them.
 *
 * With a path, history is simplified as `git log -- path` does by default: a commit that has the path as one of its
 * parents has it (a parent "treesame" to it) is not shown, and only that parent is followed, the first such; where all
 * parents differ, the commit is shown and all are followed. The path is compared by its entry in the trees.
 */
#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "builtin.h"
#include "git_mail.h"
#include "git_stat.h"
#include "git_way.h"

enum { BODY_MAX = 2048, SUMMARY_MAX = 1000, FILES_MAX = 2000, PAUSE_EVERY = 64 };

/* Where the path leads in one node's tree: the node's data. */
typedef struct steps {
    struct steps *next;
    moon__git_step at[];
} steps;

typedef struct log_query {
    moon__git_job *job;
    moon__git_walk walk;
    moon__git_way way;
    bool by_path, stat;
    const char *author;
    int64_t since, until; /* seconds; INT64_MIN, INT64_MAX: not given */
    int64_t skip, limit;
    moon__git_names names;
    steps *spare; /* of nodes that are done with, to be used again */
} log_query;

/* ---- arguments ---- */

/* "2026-01-02", "2026-01-02T03:04:05", either with a zone ("Z", "+07:00"), UTC without one. */
static bool parse_date(const char *text, int64_t *out) {
    struct tm tm = {0};
    int used = 0, hours = 0, minutes = 0;
    char sign = 0;
    if (sscanf(text, "%4d-%2d-%2d%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &used) != 3) return false;
    text += used;
    if ((*text == 'T' || *text == ' ') && isdigit((unsigned char)text[1])) {
        if (sscanf(text + 1, "%2d:%2d%n", &tm.tm_hour, &tm.tm_min, &used) != 2) return false;
        text += 1 + used;
        if (*text == ':') {
            if (sscanf(text + 1, "%2d%n", &tm.tm_sec, &used) != 1) return false;
            text += 1 + used;
        }
    }
    if (*text == 'Z' && !text[1])
        text++;
    else if (*text) {
        if (sscanf(text, "%c%2d:%2d%n", &sign, &hours, &minutes, &used) != 3 || (sign != '+' && sign != '-'))
            return false;
        text += used;
    }
    if (*text || tm.tm_mon < 1 || tm.tm_mon > 12 || tm.tm_mday < 1 || tm.tm_mday > 31 || tm.tm_hour > 24) return false;
    tm.tm_year -= 1900;
    tm.tm_mon--;
    int64_t zone = (hours * 60 + minutes) * 60;
    *out = (int64_t)timegm(&tm) - (sign == '-' ? -zone : zone);
    return true;
}

/* Also "36h", "30d", "12w", "2y": that long ago. */
static int time_argument(moon__git_job *job, const char *name, int64_t *out) {
    const char *text = moon__git_str(job, name, NULL);
    if (!text) return 0;
    char *end;
    long n = strtol(text, &end, 10);
    int64_t unit = 0;
    if (end > text && end[0] && !end[1])
        unit = *end == 'h' ? 3600 : *end == 'd' ? 86400 : *end == 'w' ? 604800 : *end == 'y' ? 31557600 : 0;
    if (unit && n >= 0 && n < 100000) {
        *out = (int64_t)time(NULL) - n * unit;
        return 0;
    }
    if (parse_date(text, out)) return 0;
    return moon__git_fail(
        job, "%s: \"%.60s\" is no time; give \"2026-01-31\", \"2026-01-31T12:00:00+07:00\", \"30d\" or \"12w\"", name,
        text);
}

static int read_arguments(log_query *l) {
    moon__git_job *job = l->job;
    const char *path = moon__git_str(job, "path", NULL);
    if (path) {
        if (moon__git_path(job, path, &path)) return -1;
        l->by_path = *path;
        if (l->by_path && moon__git_way_init(&l->way, job, path)) return -1;
    }
    l->author = moon__git_str(job, "author", NULL);
    l->stat = moon__git_bool(job, "stat");
    l->skip = moon__git_int(job, "skip", 0);
    l->limit = moon__git_int(job, "limit", 20);
    l->since = INT64_MIN;
    l->until = INT64_MAX;
    return time_argument(job, "since", &l->since) || time_argument(job, "until", &l->until) ? -1 : 0;
}

/* ---- the walk ---- */

static steps *new_steps(log_query *l) {
    steps *s = l->spare;
    if (s)
        l->spare = s->next;
    else if (!(s = moon__git_walk_alloc(&l->walk, sizeof *s + l->way.depth * sizeof *s->at)))
        moon__git_nomem(l->job);
    return s;
}

static void drop_steps(log_query *l, moon__git_node *node) {
    steps *s = node->data;
    if (!s) return;
    s->next = l->spare;
    l->spare = s;
    node->data = NULL;
}

/* The node's steps, found with its child's as a hint. */
static const moon__git_step *steps_of(log_query *l, moon__git_node *node, const moon__git_node *child) {
    steps *s = node->data, *hint = child ? child->data : NULL;
    if (s) return s->at;
    if (moon__git_walk_load(&l->walk, node) || !(s = new_steps(l))) return NULL;
    node->data = s;
    bool failed =
        moon__git_way_steps(&l->way, &l->walk, &node->tree, s->at, hint ? &child->tree : NULL, hint ? hint->at : NULL);
    return failed ? NULL : s->at;
}

/* Whether the commit is to be shown; *only, if set, is the one parent to follow. */
static int simplify(log_query *l, moon__git_node *node, bool *show, moon__git_node **only) {
    const moon__git_step *own = steps_of(l, node, NULL);
    size_t last = l->way.depth - 1;
    *show = true;
    *only = NULL;
    if (!own) return -1;
    if (!node->parent_count) *show = own[last].mode != 0;
    for (uint32_t i = 0; i < node->parent_count; i++) {
        const moon__git_step *theirs = steps_of(l, node->parents[i], node);
        if (!theirs) return -1;
        if (moon__git_step_same(&own[last], &theirs[last])) {
            *show = false;
            *only = node->parents[i];
            return 0;
        }
    }
    return 0;
}

/* Each commit goes through the queue once. */
static int follow(log_query *l, moon__git_node *parent) {
    assert(parent);
    if (parent->seen) return 0;
    parent->seen = true;
    return moon__git_walk_push(&l->walk, parent);
}

/* The next commit that path and time let through; NULL at the end, or with *failed. */
static moon__git_node *next(log_query *l, int *failed) {
    moon__git_node *node, *only;
    for (unsigned n = 0; (node = moon__git_walk_pop(&l->walk)); n++) {
        bool show = true;
        only = NULL;
        *failed = n % PAUSE_EVERY ? 0 : moon__git_pause(l->job);
        if (*failed) return NULL;
        if (node->time < l->since) continue; /* nor are its parents looked at: git does the same */
        if (l->by_path && (*failed = simplify(l, node, &show, &only))) return NULL;
        if (only)
            *failed = follow(l, only);
        else
            for (uint32_t i = 0; i < node->parent_count && !*failed; i++) *failed = follow(l, node->parents[i]);
        if (*failed) return NULL;
        if (l->by_path) drop_steps(l, node);
        if (show && node->time <= l->until) return node;
    }
    return NULL;
}

/* ---- what is shown ---- */

static bool by_author(const log_query *l, const git_signature *who) {
    return !l->author || strcasestr(who->name, l->author) || strcasestr(who->email, l->author);
}

static int put_files(log_query *l, git_commit *commit) {
    git_diff_options options;
    git_diff *diff = NULL;
    moon__git_sum sum = {0};
    char *path = (char *)(uintptr_t)l->way.path;
    moon__git_diff_options(l->job, &options);
    options.context_lines = 0;
    if (l->by_path) {
        options.pathspec = (git_strarray){&path, 1};
    }
    if (moon__git_commit_diff(l->job, commit, &options, &diff)) {
        l->job->git->diff_free(diff);
        return -1;
    }
    moon_put_array(l->job->call, "files");
    int failed = moon__git_put_files(l->job, diff, false, FILES_MAX, &sum);
    moon_put_end(l->job->call);
    if (sum.files > FILES_MAX) moon_put_int(l->job->call, "files_total", sum.files);
    l->job->git->diff_free(diff);
    return failed;
}

static int put_commit(log_query *l, const moon__git_node *node, git_commit *commit, const git_signature *author) {
    const moon__git *git = l->job->git;
    moon_call *call = l->job->call;
    const char *body = git->commit_body(commit);
    moon_put_object(call, NULL);
    moon__git_put_oid(l->job, "id", &node->id);
    moon_put_array(call, "parents");
    for (uint32_t i = 0; i < node->parent_count; i++) moon__git_put_oid(l->job, NULL, &node->parents[i]->id);
    moon_put_end(call);
    moon__git_put_author(l->job, &l->names, author);
    moon__git_put_time(l->job, "time", &author->when);
    moon__git_put_text(l->job, "summary", git->commit_summary(commit), SUMMARY_MAX);
    if (body && *body) moon__git_put_text(l->job, "body", body, BODY_MAX);
    int failed = l->stat && node->parent_count < 2 ? put_files(l, commit) : 0;
    moon_put_end(call);
    return failed;
}

/* 1: shown, 0: not by that author or skipped, -1. */
static int consider(log_query *l, const moon__git_node *node) {
    const moon__git *git = l->job->git;
    git_commit *commit = NULL;
    if (!l->author && l->skip > 0) return l->skip--, 0;
    if (git->commit_lookup(&commit, l->job->repo, &node->id)) return moon__git_trouble(l->job, "cannot read a commit");
    const git_signature *author = git->commit_author(commit);
    int shown = 0;
    if (by_author(l, author) && l->skip-- <= 0) shown = put_commit(l, node, commit, author) ? -1 : 1;
    git->commit_free(commit);
    return shown;
}

/* Whether there is one more after the last that was shown. */
static int any_more(log_query *l, bool *more) {
    int failed = 0;
    moon__git_node *node;
    *more = false;
    while (!*more && (node = next(l, &failed))) {
        if (!l->author) {
            *more = true;
            break;
        }
        git_commit *commit = NULL;
        if (l->job->git->commit_lookup(&commit, l->job->repo, &node->id))
            return moon__git_trouble(l->job, "cannot read a commit");
        *more = by_author(l, l->job->git->commit_author(commit));
        l->job->git->commit_free(commit);
    }
    return failed;
}

static int list(log_query *l, const git_oid *from) {
    moon__git_node *node = moon__git_walk_node(&l->walk, from);
    int failed = node ? follow(l, node) : -1;
    bool more = false;
    moon_put_object(l->job->call, NULL);
    moon_put_array(l->job->call, "commits");
    for (int64_t shown = 0; !failed && shown < l->limit && (node = next(l, &failed));) {
        int found = consider(l, node);
        if (found < 0) failed = -1;
        shown += found > 0;
    }
    moon_put_end(l->job->call);
    if (!failed) failed = any_more(l, &more);
    moon_put_bool(l->job->call, "more", more);
    moon_put_end(l->job->call);
    return failed;
}

static void put_unborn(moon__git_job *job) {
    moon_put_object(job->call, NULL);
    moon_put_array(job->call, "commits");
    moon_put_end(job->call);
    moon_put_bool(job->call, "more", false);
    moon_put_str(job->call, "note", "the repository has no commits yet", SIZE_MAX);
    moon_put_end(job->call);
}

static int work(moon__git_job *job) {
    const char *ref = moon__git_str(job, "ref", "HEAD");
    git_commit *start = NULL;
    int found = strcmp(ref, "HEAD") ? 0 : moon__git_head(job, &start);
    if (found == 1) return put_unborn(job), 0;
    if (found < 0 || (!start && moon__git_commit(job, ref, &start))) return -1;
    log_query *l = calloc(1, sizeof *l);
    int failed;
    if (!l) {
        failed = moon__git_nomem(job);
    } else {
        l->job = l->walk.job = job;
        failed = read_arguments(l) || moon__git_walk_init(&l->walk, job) || moon__git_names_init(&l->names, job);
        if (!failed) failed = list(l, job->git->commit_id(start));
        moon__git_names_fini(&l->names, job);
        moon__git_walk_fini(&l->walk);
    }
    free(l);
    job->git->commit_free(start);
    return failed ? -1 : 0;
}

static void start(void *self, moon_call *call, const moon_json *args) {
    (void)self;
    moon__git_run(call, args, work);
}

const moon_tool moon__tool_git_log = {
    .abi = MOON_TOOL_ABI,
    .effects = MOON_READ_ONLY | MOON_IDEMPOTENT,
    .flags = MOON_TOOL_BLOCKING,
    .name = "git.log",
    .description =
        "Lists commits, newest first: id, parents, author, email, time (the author's, with its zone), summary, body. "
        "With "
        "`path` only commits that changed that file or directory; with `stat` the files of each commit and the lines "
        "added and deleted (none for merges). `more` says that there are older ones: go on with `skip`.",
    .params =
        "{\"type\":\"object\",\"additionalProperties\":false,\"properties\":{"
        "\"ref\":{\"type\":\"string\",\"description\":\"branch, tag, id or HEAD~2 to start from (default HEAD)\"},"
        "\"path\":{\"type\":\"string\",\"description\":\"only what changed this file or directory\"},"
        "\"limit\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":5000,\"description\":\"default 20\"},"
        "\"skip\":{\"type\":\"integer\",\"minimum\":0},"
        "\"since\":{\"type\":\"string\",\"description\":\"not older than 2026-01-31, 30d or 12w (committer time)\"},"
        "\"until\":{\"type\":\"string\",\"description\":\"not newer than that\"},"
        "\"author\":{\"type\":\"string\",\"description\":\"part of the author's name or email, in any case\"},"
        "\"stat\":{\"type\":\"boolean\"}}}",
    .start = start,
};
