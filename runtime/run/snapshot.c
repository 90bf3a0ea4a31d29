/* SPDX-License-Identifier: MIT */
#include "snapshot.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "runtime.h"
#include "text.h"

enum { SECONDS_MAX = 60, GRACE_US = 5000000, LEFT_OUT_MAX = 20, TOLD_MAX = 1000 };

/* One that is made. It has copies of all it needs, as it may outlast its run. */
struct moon__snapping {
    moon__job job;
    moon_run *root; /* NULL: nobody waits for it any more */
    const moon_snapshot_ops *ops;
    moon_snapshot_request request;
    moon_snapshot before, result;
    char run[MOON__ID_SIZE], label[200];
    char *workspace, *cache, *skip;
    atomic_bool cancelled;
    int64_t until_ms; /* the worker's */
    bool late;
    moon__buf left_out; /* lines that each end with a NUL */
    unsigned n_left_out;
    moon_status status;
    moon_error error;
};

void moon__snapshots_init(moon__snapshots *s, moon_run *root) {
    s->end = &s->first;
    s->grace.ctx = root;
}

void moon__snapshots_fini(moon__snapshots *s) {
    free(s->told);
    free(s->last);
}

bool moon__snapshots_set_last(moon__snapshots *s, const moon_snapshot *last) {
    if (!s->last) s->last = malloc(sizeof *s->last);
    if (s->last) *s->last = *last;
    return s->last != NULL;
}

/* ---- events ---- */

static void write_id(moon__jw *w, const char *name, const char *id) {
    if (*id) moon__jw_str(w, name, id, SIZE_MAX);
}

static void tell_snapshot(const moon__snapshot_wait *wait, const moon_snapshot *snapshot) {
    moon__buf body;
    moon__jw w;
    if (!moon__run_tells(wait->run, MOON_EVENT_SNAPSHOT_TAKEN, wait->key)) return;
    moon__buf_init(&body, 4096);
    moon__jw_init(&w, &body);
    moon__jw_object(&w, NULL);
    moon__jw_int(&w, "at", (int64_t)snapshot->at);
    write_id(&w, "ref", snapshot->ref);
    write_id(&w, "commit", snapshot->commit);
    write_id(&w, "tree", snapshot->tree);
    write_id(&w, "head", snapshot->head);
    moon__jw_int(&w, "files", snapshot->files);
    moon__jw_end(&w);
    moon__run_event(wait->run, MOON_EVENT_SNAPSHOT_TAKEN, wait->key, &body);
    moon__buf_fini(&body);
}

static bool read_text(char *out, size_t size, const moon_json *body, const char *name) {
    const char *text = moon_json_str(moon_json_get(body, name), NULL);
    int n = snprintf(out, size, "%s", text ? text : "");
    return n >= 0 && n < (int)size;
}

bool moon__snapshot_read(moon_snapshot *s, const moon_json *body) {
    int64_t at = -1;
    *s = (moon_snapshot){.files = 0};
    moon_json_int(moon_json_get(body, "files"), &s->files);
    bool fine = moon_json_int(moon_json_get(body, "at"), &at) && at >= 0;
    s->at = (uint64_t)at;
    return read_text(s->commit, sizeof s->commit, body, "commit") && read_text(s->tree, sizeof s->tree, body, "tree") &&
           read_text(s->head, sizeof s->head, body, "head") && read_text(s->ref, sizeof s->ref, body, "ref") && fine &&
           *s->commit;
}

/* Once for each text, also if the run is resumed. */
static void warn(moon_run *root, const char *text) {
    moon__snapshots *s = &root->tree->snapshots;
    uint64_t hash = moon_hash(text, strlen(text));
    char key[40];
    moon__buf body;
    for (size_t i = 0; i < s->n_told; i++)
        if (s->told[i] == hash) return;
    if (s->n_told == TOLD_MAX) return;
    uint64_t *told = realloc(s->told, (s->n_told + 1) * sizeof *told);
    if (told) {
        s->told = told;
        s->told[s->n_told++] = hash;
    }
    snprintf(key, sizeof key, "snapshot %016" PRIx64, hash);
    if (!moon__run_tells(root, MOON_EVENT_LOG, key)) return;
    moon__buf_init(&body, 64 << 10);
    moon__buf_str(&body, "{\"level\":\"warn\",\"text\":");
    moon__buf_quoted(&body, text, strlen(text));
    moon__buf_char(&body, '}');
    moon__run_event(root, MOON_EVENT_LOG, key, &body);
    moon__buf_fini(&body);
}

void moon__snapshots_off(moon_run *run, const char *why) {
    char text[600];
    run->tree->snapshots.off = true;
    snprintf(text, sizeof text, "no snapshots of the workspace are taken: %.500s", why);
    warn(run->tree->root, text);
}

/* ---- the worker's part ---- */

static int64_t now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static bool cancelled(void *ctx) {
    moon__snapping *job = ctx;
    job->late = job->late || now_ms() > job->until_ms;
    return job->late || atomic_load(&job->cancelled);
}

static void left_out(void *ctx, const char *path, const char *why) {
    moon__snapping *job = ctx;
    if (job->n_left_out++ >= LEFT_OUT_MAX) return;
    moon__buf_printf(&job->left_out, "%.2000s is left out of snapshots: %.300s", path, why);
    moon__buf_char(&job->left_out, 0);
}

static void work(void *ctx) {
    moon__snapping *job = ctx;
    job->until_ms = now_ms() + SECONDS_MAX * INT64_C(1000);
    job->status = job->ops->take(&job->request, &job->result, &job->error);
}

/* ---- one after the other ---- */

static void free_job(moon__snapping *job) {
    moon__buf_fini(&job->left_out);
    free(job->workspace);
    free(job->cache);
    free(job->skip);
    free(job);
}

static void start_next(moon_run *root);

/* The first of those that wait is over. */
static void leave(moon_run *root) {
    moon__snapshots *s = &root->tree->snapshots;
    moon__snapshot_wait *wait = s->first;
    if (!(s->first = wait->next)) s->end = &s->first;
    moon_run_ref(root);
    wait->done(wait->ctx);
    start_next(root);
    moon_run_unref(root);
}

static void tell_left_out(moon_run *root, const moon__snapping *job) {
    const moon__buf *lines = &job->left_out;
    char text[100];
    for (size_t at = 0; !lines->status && at < lines->len; at += strlen(lines->p + at) + 1) warn(root, lines->p + at);
    if (job->n_left_out <= LEFT_OUT_MAX) return;
    snprintf(text, sizeof text, "%u more files are left out of snapshots", job->n_left_out - LEFT_OUT_MAX);
    warn(root, text);
}

static void take_result(moon_run *root, const moon__snapping *job) {
    moon__snapshots *s = &root->tree->snapshots;
    char text[600];
    tell_left_out(root, job);
    if (!job->status) {
        if (s->last && strcmp(job->result.commit, s->last->commit) == 0) return; /* nothing has changed */
        tell_snapshot(s->first, &job->result);
        if (!moon__snapshots_set_last(s, &job->result)) moon__snapshots_off(root, "there is no memory for them");
    } else if (job->late) {
        snprintf(text, sizeof text, "one took longer than %d seconds", SECONDS_MAX);
        moon__snapshots_off(root, text);
    } else if (job->status == MOON_EUNSUPPORTED) {
        moon__snapshots_off(root, job->error.text);
    } else if (!atomic_load(&job->cancelled)) {
        snprintf(text, sizeof text, "no snapshot of the workspace was taken: %.500s", job->error.text);
        warn(root, text);
    }
}

static void on_taken(void *ctx) {
    moon__snapping *job = ctx;
    moon_run *root = job->root;
    if (root) {
        moon__snapshots *s = &root->tree->snapshots;
        s->at_work = NULL;
        moon__timer_stop(root->runtime->loop, &s->grace);
        take_result(root, job);
    }
    free_job(job);
    if (root) leave(root);
}

/* It does not come back though it was told to: the run goes on without it. */
static void on_grace(void *ctx) {
    moon_run *root = ctx;
    moon__snapshots *s = &root->tree->snapshots;
    moon__snapping *job = s->at_work;
    int state = moon__pool_leave(root->runtime->pool, &job->job);
    if (state == MOON__JOB_ENDED) return; /* on_taken is about to come */
    job->root = NULL;
    s->at_work = NULL;
    if (state == MOON__JOB_WAITING) free_job(job);
    moon__snapshots_off(root, "one does not come to its end");
    leave(root);
}

static void label_of(moon__snapping *job, const moon__snapshot_wait *wait) {
    size_t n = moon__utf8_floor(wait->label, strnlen(wait->label, sizeof job->label - 1));
    memcpy(job->label, wait->label, n);
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)job->label[i] < ' ') job->label[i] = ' ';
}

static moon__snapping *make_job(moon_run *root, const moon__snapshot_wait *wait, moon_error *error) {
    moon_runtime *rt = root->runtime;
    moon__snapshots *s = &root->tree->snapshots;
    moon__snapping *job = calloc(1, sizeof *job);
    if (!job) {
        moon_error_set(error, MOON_ENOMEM, "no memory for a snapshot");
        return NULL;
    }
    *job = (moon__snapping){.root = root, .ops = rt->snapshots};
    if (s->last) job->before = *s->last;
    job->job = (moon__job){.work = work, .done = on_taken, .ctx = job};
    moon__buf_init(&job->left_out, 64 << 10);
    memcpy(job->run, root->tree->journal.id, sizeof job->run);
    label_of(job, wait);
    job->workspace = moon__strdup(moon__space_path(rt->space));
    errno = 0;
    job->skip = rt->keeper ? realpath(moon__keeper_place(rt->keeper), NULL) : NULL;
    bool fine = job->workspace && (job->skip || errno != ENOMEM);
    /* Without the file it costs more, no more than that. */
    if (moon__scratch_cache(root->tree->scratch, &job->cache, NULL)) job->cache = NULL;
    job->request = (moon_snapshot_request){.workspace = job->workspace,
                                           .run = job->run,
                                           .at = wait->first && !s->changes ? s->from : root->tree->journal.seq,
                                           .before = s->last ? &job->before : NULL,
                                           .label = job->label,
                                           .cache = job->cache,
                                           .skip = job->skip,
                                           .cancelled = cancelled,
                                           .left_out = left_out,
                                           .ctx = job};
    if (fine) return job;
    free_job(job);
    moon_error_set(error, MOON_ENOMEM, "no memory for a snapshot");
    return NULL;
}

/* What was before the first change is kept before the first change, or not at all. */
static bool is_needed(const moon__snapshots *s, const moon__snapshot_wait *wait) {
    return !s->off && !wait->run->stopping && !(wait->first && (s->begun || s->last));
}

static void start_next(moon_run *root) {
    moon__snapshots *s = &root->tree->snapshots;
    moon__snapshot_wait *wait = s->first;
    moon_error error = {0};
    if (!wait || s->at_work) return;
    moon__snapping *job = NULL;
    if (is_needed(s, wait)) job = make_job(root, wait, &error);
    if (job && moon__pool_submit(root->runtime->pool, &job->job, &error)) {
        free_job(job);
        job = NULL;
    }
    s->at_work = job;
    s->begun = s->begun || job;
    if (job) return;
    if (error.code) moon__snapshots_off(root, error.text);
    moon__defer_call(root->runtime->loop, &wait->over);
}

static void on_over(void *ctx) {
    moon__snapshot_wait *wait = ctx;
    leave(wait->run->tree->root);
}

/* ---- for calls.c ---- */

bool moon__snapshots_wanted(moon_run *run, int agent) {
    moon__tree *tree = run->tree;
    moon__snapshots *s = &tree->snapshots;
    bool wanted = s->all || agent > 0 || (agent < 0 && run->runtime->snapshots_always);
    if (!wanted || s->off || tree->rehearsal) return false;
    if (!tree->kept)
        moon__snapshots_off(run, "the run is not kept, so there is no journal for them to stand in");
    else if (!run->runtime->snapshots)
        moon__snapshots_off(run, "this program has nothing that takes them");
    return !s->off;
}

bool moon__snapshot_recorded(moon_run *run, const char *key) {
    const moon__recorded *was = moon__run_recorded(run, MOON_EVENT_SNAPSHOT_TAKEN, key);
    if (was && run->tree->rehearsal && !was->used) {
        moon__buf body;
        moon__buf_init(&body, 1 << 20);
        moon__buf_add(&body, was->body, was->body_length);
        moon__run_event(run, MOON_EVENT_SNAPSHOT_TAKEN, key, &body);
        moon__buf_fini(&body);
    }
    return was != NULL;
}

bool moon__snapshot_take(moon__snapshot_wait *wait) {
    moon_run *root = wait->run->tree->root;
    moon__snapshots *s = &root->tree->snapshots;
    if (!s->at_work && !s->first && !is_needed(s, wait)) return false;
    wait->over = (moon__defer){.fn = on_over, .ctx = wait};
    wait->next = NULL;
    *s->end = wait;
    s->end = &wait->next;
    start_next(root);
    return true;
}

void moon__snapshot_cancel(moon__snapshot_wait *wait) {
    moon_run *root = wait->run->tree->root;
    moon__snapshots *s = &root->tree->snapshots;
    if (s->first != wait || !s->at_work) return; /* its turn is short: the run is stopping */
    atomic_store(&s->at_work->cancelled, true);
    s->grace.fn = on_grace;
    if (moon__timer_start(root->runtime->loop, &s->grace, GRACE_US)) on_grace(root);
}
