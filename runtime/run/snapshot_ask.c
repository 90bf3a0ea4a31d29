/* SPDX-License-Identifier: MIT */
/* Snapshots of runs that are kept: found in their journals, compared, restored, and forgotten with their runs. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "runtime.h"
#include "text.h"

moon_status moon_runtime_set_snapshots(moon_runtime *rt, const moon_snapshot_ops *ops, moon_error *error) {
    if (ops && ops->abi != MOON_SNAPSHOT_ABI)
        return moon_error_set(error, MOON_EINVAL, "the snapshots were built for interface %u, this is %u", ops->abi,
                              MOON_SNAPSHOT_ABI);
    rt->snapshots = ops;
    return MOON_OK;
}

void moon__runtime_always_snapshots(moon_runtime *rt) {
    rt->snapshots_always = true;
}

static moon_status none(moon_error *error) {
    return moon_error_set(error, MOON_EUNSUPPORTED, "this program has nothing that takes snapshots");
}

/* ---- finding ---- */

typedef struct search {
    uint64_t at; /* the last event that counts */
    moon_snapshot *best;
    bool found;
} search;

/* Its own event comes after the one it is named for: all of the journal is looked at. Of two for the same event the
 * later one stands. */
static bool on_record(void *ctx, const moon_record *record) {
    search *s = ctx;
    moon_json *body = NULL;
    moon_snapshot snapshot;
    if (record->type != MOON_EVENT_SNAPSHOT_TAKEN) return true;
    if (!moon__json_parse(&body, record->body, record->body_length, 0, NULL) && moon__snapshot_read(&snapshot, body) &&
        snapshot.at <= s->at && (!s->found || snapshot.at >= s->best->at)) {
        *s->best = snapshot;
        s->found = true;
    }
    moon__json_free(body);
    return true;
}

moon_status moon_runtime_snapshot(moon_runtime *rt, const char *run, uint64_t at, moon_snapshot *out,
                                  moon_error *error) {
    search s = {.at = at ? at : UINT64_MAX, .best = out};
    *out = (moon_snapshot){.files = 0};
    moon_status status = moon_runtime_records(rt, run, 1, 0, on_record, &s, error);
    if (status || s.found) return status;
    if (at)
        return moon_error_set(error, MOON_ENOTFOUND,
                              "run %.40s has no snapshot of its workspace at or before event %llu", run,
                              (unsigned long long)at);
    return moon_error_set(error, MOON_ENOTFOUND, "run %.40s has no snapshot of its workspace", run);
}

/* ---- where it worked ---- */

/* A run's workspace, and that of the run it was forked from, or began as: malloc'd; NULL where there is none. */
typedef struct places {
    char *own, *first;
    bool failed;
} places;

static bool on_info(void *ctx, const moon_run_info *info) {
    places *p = ctx;
    p->own = moon__strdup(info->workspace);
    p->failed = !p->own;
    return false;
}

static bool on_created(void *ctx, const moon_record *record) {
    places *p = ctx;
    moon_json *body = NULL;
    if (!moon__json_parse(&body, record->body, record->body_length, 0, NULL))
        p->first = moon__strdup(moon_json_str(moon_json_get(body, "workspace"), NULL));
    moon__json_free(body);
    return false;
}

static void free_places(places *p) {
    free(p->own);
    free(p->first);
}

static moon_status find_places(moon_runtime *rt, const char *run, places *p, moon_error *error) {
    moon_query query = {.run = run, .state = -1, .limit = 1};
    *p = (places){.own = NULL};
    moon_status status = moon_runtime_runs(rt, &query, on_info, p, error);
    if (!status) status = moon_runtime_records(rt, run, 1, 1, on_created, p, error);
    if (!status && p->failed) status = moon_error_set(error, MOON_ENOMEM, "no memory for the journal");
    return status;
}

static bool is_there(const char *dir) {
    struct stat st;
    return dir && !stat(dir, &st) && S_ISDIR(st.st_mode);
}

/* ---- using ---- */

static bool never(void *ctx) {
    (void)ctx;
    return false;
}

typedef struct use {
    places places;
    char *skip;
    moon_snapshot_request request;
} use;

static moon_status begin_use(moon_runtime *rt, const char *run, const moon_snapshot *snapshot, use *u,
                             moon_error *error) {
    *u = (use){.skip = NULL};
    if (!rt->snapshots) return none(error);
    moon_status status = find_places(rt, run, &u->places, error);
    if (status) return status;
    const char *workspace = is_there(u->places.own) ? u->places.own : u->places.first;
    if (!is_there(workspace))
        return moon_error_set(error, MOON_ENOTFOUND, "the workspace of run %.40s is no more: %.300s", run,
                              u->places.own ? u->places.own : "");
    u->skip = realpath(moon_runtime_journal(rt), NULL);
    u->request = (moon_snapshot_request){
        .workspace = workspace, .run = run, .before = snapshot, .skip = u->skip, .cancelled = never};
    return MOON_OK;
}

static void end_use(use *u) {
    free_places(&u->places);
    free(u->skip);
}

moon_status moon_runtime_snapshot_compare(moon_runtime *rt, const char *run, const moon_snapshot *snapshot,
                                          int64_t *files, moon_error *error) {
    use u;
    moon_status status = begin_use(rt, run, snapshot, &u, error);
    if (!status) status = rt->snapshots->compare(&u.request, files, error);
    end_use(&u);
    return status;
}

moon_status moon_runtime_snapshot_restore(moon_runtime *rt, const char *run, const moon_snapshot *snapshot,
                                          const char *dir, char **workspace, moon_error *error) {
    use u;
    moon_status status = begin_use(rt, run, snapshot, &u, error);
    if (!status) status = rt->snapshots->restore(&u.request, dir, workspace, error);
    end_use(&u);
    return status;
}

/* ---- forgetting ---- */

/* A workspace that is gone, or has no repository any more, has nothing to be removed; what could not be is no reason to
 * keep the run. */
static void drop(moon_runtime *rt, const char *workspace, const char *run) {
    moon_error error = {0};
    if (!is_there(workspace)) return;
    (void)!rt->snapshots->drop(workspace, run, &error);
    moon__worktrees_drop(rt, workspace, run);
}

moon_status moon_runtime_purge(moon_runtime *rt, const char *run, moon_error *error) {
    places p = {.own = NULL};
    if (rt->snapshots) (void)!find_places(rt, run, &p, NULL); /* a damaged journal can be removed too */
    moon_status status = moon__store_purge(rt, run, error);
    if (!status && rt->snapshots) {
        drop(rt, p.own, run);
        if (p.first && (!p.own || strcmp(p.first, p.own) != 0)) drop(rt, p.first, run);
    }
    free_places(&p);
    return status;
}
