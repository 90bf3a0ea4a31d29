/* SPDX-License-Identifier: MIT */
/*
 * The life of a call (see call.h). Some things may still be going on when a tool says done: its worker (a blocking
 * tool is inside start()), the word of the end on its way to the loop, its subprocess. The result is
 * delivered, and the call freed, when all are over:
 *
 *   worker_busy   set at start of a blocking tool, cleared by the pool's done             (loop thread)
 *   arrived       set when the word of the end (a post, or put off on the loop) arrives   (loop thread)
 *   proc          not NULL while a subprocess runs; cleared by its done                   (loop thread)
 *   progressing   counts progress lines that are under way as posts                       (any thread)
 *
 * `left`: the result was given without them, since the worker did not come back in time. It still writes to the call's
 * buffer, so that nobody else looks at it; the call is freed when all are over.
 *
 * `ended` is the only thing that threads race for: the first done or fail wins, a second one is a bug of the tool and
 * asserts.
 */
#include "call.h"

#include <assert.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "json.h"
#include "text.h"

enum { RESULT_DEFAULT = 50 << 10, RESULT_CEILING = 64 << 20, FAIL_CEILING = 16 << 10, TIMEOUT_DEFAULT_MS = 120000 };

typedef struct block {
    struct block *next;
    _Alignas(16) char bytes[];
} block;

struct moon_call {
    moon__call_options o;
    moon__buf out, whole; /* whole: of a result that was cut */
    moon__seen *seen;
    moon__jw json;
    bool is_json, failed, timed_out;
    atomic_bool cancelled, ended;
    bool worker_busy, arrived, left;
    moon__job job;
    moon__post post;
    moon__defer defer;
    pthread_t loop_thread;
    atomic_uint progressing;
    moon__timer timer;
    moon__proc *proc;
    void (*exec_done)(void *ctx, const moon_exec_result *result);
    void *exec_ctx;
    block *blocks;
    int64_t started_us;
    moon__call_result result;
};

/* ---- delivering ---- */

static void free_call(moon_call *call) {
    for (block *b = call->blocks, *next; b; b = next) {
        next = b->next;
        free(b);
    }
    moon__buf_fini(&call->out);
    moon__buf_fini(&call->whole);
    moon__json_free(call->o.args);
    moon__scratch_unref(call->o.scratch);
    free(call);
}

static void fail_text(moon_call *call, const char *format, ...) MOON_PRINTF(2, 3);
static void fail_text(moon_call *call, const char *format, ...) {
    va_list args;
    moon__buf_fini(&call->out);
    moon__buf_init(&call->out, FAIL_CEILING);
    va_start(args, format);
    moon__buf_vprintf(&call->out, format, args);
    va_end(args);
    call->failed = true;
    call->is_json = false;
}

/* Keeps the whole in the scratch and leaves the model a head and a tail, cut between lines where there are any. */
static void cut(moon_call *call, size_t max) {
    const char *whole = call->out.p;
    size_t n = call->out.len, head = moon__utf8_floor(whole, max / 5 * 3), from = n - max / 5 * 2;
    const char *line = memrchr(whole, '\n', head);
    if (line && (size_t)(line - whole) > head / 2) head = (size_t)(line - whole) + 1;
    line = memchr(whole + from, '\n', n - from);
    if (line && (size_t)(line - whole) < from + (n - from) / 2)
        from = (size_t)(line - whole) + 1;
    else
        from = moon__utf8_floor(whole, from);
    moon__buf cut;
    moon__buf_init(&cut, max + 1024);
    moon_error error = {0};
    if (moon__scratch_spill(call->o.scratch, whole, n, call->result.spill, &error)) {
        call->result.spill[0] = 0;
        moon__buf_printf(&cut, "[result of %zu bytes cut; the rest is lost: %s]\n", n, error.text);
    } else
        moon__buf_printf(&cut, "[result of %zu bytes cut; the whole is in %s: read it with file.read]\n", n,
                         call->result.spill);
    moon__buf_add(&cut, whole, head);
    moon__buf_printf(&cut, "\n[… %zu bytes left out …]\n", from - head);
    moon__buf_add(&cut, whole + from, n - from);
    call->whole = call->out;
    call->out = cut;
    if (cut.status) fail_text(call, "no memory for the result of %s", call->o.entry->tool->name);
    call->result.truncated = true;
    call->is_json = false;
}

static void settle(moon_call *call) {
    const moon_tool *tool = call->o.entry->tool;
    if (call->timed_out)
        fail_text(call, "%s was stopped after %g s, its time limit", tool->name,
                  (tool->timeout_ms ? tool->timeout_ms : TIMEOUT_DEFAULT_MS) / 1000.0);
    else if (atomic_load(&call->cancelled))
        fail_text(call, "%s was cancelled", tool->name);
    else if (call->out.status == MOON_ELIMIT && !call->failed)
        fail_text(call, "the result of %s is over %d bytes", tool->name, RESULT_CEILING);
    else if (call->out.status == MOON_ENOMEM)
        fail_text(call, "no memory for the result of %s", tool->name);
    else if (!call->failed && call->is_json && call->json.depth)
        fail_text(call, "%s gave incomplete JSON: a defect of the tool", tool->name);
    size_t n = call->out.len;
    if (!moon__text_sound(call->out.p, n)) {
        moon__buf clean;
        moon__buf_init(&clean, (size_t)RESULT_CEILING * 3);
        moon__text_repair(&clean, call->out.p, n);
        moon__buf_fini(&call->out);
        call->out = clean;
        if (clean.status) fail_text(call, "no memory for the result of %s", tool->name);
    }
    size_t max = tool->result_max ? tool->result_max : RESULT_DEFAULT;
    if (call->out.len > max) cut(call, max);
}

static void deliver(moon_call *call) {
    if (!call->arrived || call->worker_busy || call->proc || atomic_load(&call->progressing)) return;
    if (call->left) {
        free_call(call);
        return;
    }
    moon__timer_stop(call->o.loop, &call->timer);
    settle(call);
    call->result.ok = !call->failed;
    call->result.json = call->is_json;
    call->result.text = call->out.p ? call->out.p : "";
    call->result.length = call->out.len;
    call->result.whole = call->whole.p;
    call->result.whole_length = call->whole.len;
    call->result.seen = call->seen;
    call->result.wall_ms = (moon__loop_now(call->o.loop) - call->started_us) / 1000;
    call->o.done(call->o.ctx, &call->result);
    free_call(call);
}

static void on_end(void *ctx) {
    moon_call *call = ctx;
    call->arrived = true;
    if (call->proc) moon__proc_stop(call->proc); /* the tool is done with it */
    deliver(call);
}

static void end(moon_call *call) {
    bool twice = atomic_exchange(&call->ended, true);
    assert(!twice && "a tool ended its call twice");
    if (twice) return;
    if (pthread_equal(pthread_self(), call->loop_thread))
        moon__defer_call(call->o.loop, &call->defer);
    else
        moon__loop_post(call->o.loop, &call->post); /* wakes the loop, which costs a system call */
}

/* ---- starting and stopping ---- */

static void work(void *ctx) {
    moon_call *call = ctx;
    const moon_tool *tool = call->o.entry->tool;
    if (atomic_load(&call->cancelled))
        moon_call_fail(call, "cancelled before it began");
    else
        tool->start(tool->self, call, call->o.args);
}

static void worked(void *ctx) {
    moon_call *call = ctx;
    call->worker_busy = false;
    deliver(call);
}

void moon__call_cancel(moon_call *call) {
    const moon_tool *tool = call->o.entry->tool;
    if (atomic_exchange(&call->cancelled, true)) return;
    if (call->worker_busy && moon__timer_start(call->o.loop, &call->timer, MOON__CALL_GRACE_MS * INT64_C(1000)))
        moon__timer_stop(call->o.loop, &call->timer); /* no memory: then it is waited for */
    if (atomic_load(&call->ended)) return;
    if (call->proc) moon__proc_stop(call->proc);
    if (tool->cancel) tool->cancel(tool->self, call);
}

/* The worker does not come back: the result is given without it. */
static void leave(moon_call *call) {
    const moon_tool *tool = call->o.entry->tool;
    moon__buf text;
    int job = moon__pool_leave(call->o.pool, &call->job);
    if (job == MOON__JOB_ENDED) return;
    if (job == MOON__JOB_WAITING) { /* behind others that do not come back */
        call->worker_busy = false;
        moon_call_fail(call, "it was not begun");
        return;
    }
    call->left = true;
    moon__buf_init(&text, FAIL_CEILING);
    moon__buf_printf(&text, "%s does not stop, %d s after %s: it is left to itself%s", tool->name,
                     MOON__CALL_GRACE_MS / 1000, call->timed_out ? "its time limit" : "it was cancelled",
                     tool->effects & MOON_READ_ONLY ? "" : ", and may still have an effect");
    call->result.text = text.p ? text.p : "";
    call->result.length = text.len;
    call->result.wall_ms = (moon__loop_now(call->o.loop) - call->started_us) / 1000;
    call->o.done(call->o.ctx, &call->result);
    moon__buf_fini(&text);
}

static void on_timer(void *ctx) {
    moon_call *call = ctx;
    if (atomic_load(&call->cancelled))
        leave(call);
    else if (!atomic_load(&call->ended)) {
        call->timed_out = true;
        moon__call_cancel(call);
    }
}

moon_status moon__call_start(moon_call **out, const moon__call_options *options, moon_error *error) {
    const moon_tool *tool = options->entry->tool;
    moon_call *call = calloc(1, sizeof *call);
    if (!call) {
        moon__json_free(options->args);
        return moon_error_set(error, MOON_ENOMEM, "no memory for a call of %s", tool->name);
    }
    call->o = *options;
    moon__scratch_ref(call->o.scratch);
    moon__buf_init(&call->out, RESULT_CEILING);
    call->post = (moon__post){.fn = on_end, .ctx = call};
    call->defer = (moon__defer){.fn = on_end, .ctx = call};
    call->loop_thread = pthread_self();
    call->timer = (moon__timer){.fn = on_timer, .ctx = call};
    call->job = (moon__job){.work = work, .done = worked, .ctx = call};
    call->started_us = moon__loop_now(call->o.loop);
    int64_t timeout_ms = tool->timeout_ms ? tool->timeout_ms : TIMEOUT_DEFAULT_MS;
    moon_status status = moon__timer_start(call->o.loop, &call->timer, timeout_ms * 1000);
    if (status) moon_error_set(error, status, "no memory for a call of %s", tool->name);
    if (!status && tool->flags & MOON_TOOL_BLOCKING) {
        call->worker_busy = true;
        status = moon__pool_submit(call->o.pool, &call->job, error);
    }
    if (status) {
        moon__timer_stop(call->o.loop, &call->timer);
        free_call(call);
        return status;
    }
    *out = call;
    if (!(tool->flags & MOON_TOOL_BLOCKING)) tool->start(tool->self, call, call->o.args);
    return MOON_OK;
}

const char *moon__call_id(const moon_call *call) {
    return call->o.id;
}

void *moon__call_owner(const moon_call *call) {
    return call->o.owner;
}

/* ---- what a tool writes ---- */

void moon_call_write(moon_call *call, const char *text, size_t length) {
    moon__buf_add(&call->out, text, length);
}

void moon_call_printf(moon_call *call, const char *format, ...) {
    va_list args;
    va_start(args, format);
    moon__buf_vprintf(&call->out, format, args);
    va_end(args);
}

static moon__jw *json(moon_call *call) {
    if (!call->is_json) moon__jw_init(&call->json, &call->out);
    call->is_json = true;
    return &call->json;
}

void moon_put_object(moon_call *call, const char *name) {
    moon__jw_object(json(call), name);
}
void moon_put_array(moon_call *call, const char *name) {
    moon__jw_array(json(call), name);
}
void moon_put_end(moon_call *call) {
    moon__jw_end(json(call));
}
void moon_put_str(moon_call *call, const char *name, const char *text, size_t length) {
    moon__jw_str(json(call), name, text, length);
}
void moon_put_int(moon_call *call, const char *name, int64_t value) {
    moon__jw_int(json(call), name, value);
}
void moon_put_num(moon_call *call, const char *name, double value) {
    moon__jw_num(json(call), name, value);
}
void moon_put_bool(moon_call *call, const char *name, bool value) {
    moon__jw_bool(json(call), name, value);
}
void moon_put_null(moon_call *call, const char *name) {
    moon__jw_null(json(call), name);
}
void moon__call_put_json(moon_call *call, const char *text, size_t n) {
    moon__jw_raw(json(call), NULL, text, n);
}

void moon_call_done(moon_call *call) {
    end(call);
}

void moon_call_fail(moon_call *call, const char *format, ...) {
    va_list args;
    moon__buf text;
    moon__buf_init(&text, FAIL_CEILING);
    va_start(args, format);
    moon__buf_vprintf(&text, format, args);
    va_end(args);
    if (text.status == MOON_ELIMIT) {
        moon__buf_reset(&text);
        moon__buf_str(&text, "it failed, and its error text is too long");
    }
    moon__buf_fini(&call->out);
    call->out = text;
    call->failed = true;
    call->is_json = false;
    end(call);
}

void moon_call_fail_error(moon_call *call, const moon_error *error) {
    moon_call_fail(call, "%s", error->text[0] ? error->text : moon_status_text(error->code));
}

bool moon_call_cancelled(const moon_call *call) {
    return atomic_load(&call->cancelled);
}

/* Progress may come from a worker: it travels as a post of its own. Posts keep their order, so the call still lives
 * when it arrives. */
typedef struct progress {
    moon__post post;
    moon_call *call;
    char text[200];
} progress;

static void on_progress(void *ctx) {
    progress *p = ctx;
    moon_call *call = p->call;
    if (!call->left) call->o.progress(call->o.ctx, p->text);
    free(p);
    atomic_fetch_sub(&call->progressing, 1);
    deliver(call);
}

void moon_call_progress(moon_call *call, const char *format, ...) {
    progress *p = call->o.progress && !atomic_load(&call->ended) ? malloc(sizeof *p) : NULL;
    if (!p) return;
    va_list args;
    va_start(args, format);
    int n = vsnprintf(p->text, sizeof p->text, format, args);
    va_end(args);
    if (n >= (int)sizeof p->text) p->text[moon__utf8_floor(p->text, sizeof p->text - 1)] = 0;
    p->call = call;
    atomic_fetch_add(&call->progressing, 1);
    p->post = (moon__post){.fn = on_progress, .ctx = p};
    moon__loop_post(call->o.loop, &p->post);
}

void *moon_call_alloc(moon_call *call, size_t size) {
    block *b = size < SIZE_MAX - sizeof *b ? malloc(sizeof *b + size) : NULL;
    if (!b) return NULL;
    b->next = call->blocks;
    call->blocks = b;
    return b->bytes;
}

/* ---- what a tool gets from the run ---- */

const char *moon_call_root(const moon_call *call) {
    return moon__space_path(moon__scratch_space(call->o.scratch));
}

moon_status moon_call_open(moon_call *call, const char *path, int flags, mode_t mode, int *fd, moon_error *error) {
    return moon__scratch_open(call->o.scratch, path, flags, mode, fd, error);
}

moon_status moon_call_replace(moon_call *call, const char *path, const void *data, size_t length, mode_t mode,
                              moon_error *error) {
    return moon__scratch_replace(call->o.scratch, path, data, length, mode, error);
}

/* The call keeps it too, for the journal; without memory it is not there after a resume, which only weakens a warning.
 */
void moon_call_remember(moon_call *call, const char *path, uint64_t hash) {
    moon__seen **at = &call->seen;
    size_t n = strlen(path) + 1;
    moon__scratch_remember(call->o.scratch, path, hash);
    while (*at && strcmp((*at)->path, path) != 0) at = &(*at)->next;
    if (!*at && (*at = moon_call_alloc(call, sizeof **at + n))) {
        (*at)->next = NULL;
        memcpy((*at)->path, path, n);
    }
    if (*at) (*at)->hash = hash;
}

bool moon_call_recall(moon_call *call, const char *path, uint64_t *hash) {
    return moon__scratch_recall(call->o.scratch, path, hash);
}

moon_status moon_call_note_set(moon_call *call, const char *name, const char *text) {
    return moon__scratch_note_set(call->o.scratch, name, text);
}

const char *moon_call_note_get(moon_call *call, const char *name) {
    return moon__scratch_note_get(call->o.scratch, name);
}

/* ---- subprocesses ---- */

static void on_exec(void *ctx, const moon_exec_result *result) {
    moon_call *call = ctx;
    call->proc = NULL;
    if (!atomic_load(&call->ended)) call->exec_done(call->exec_ctx, result);
    if (call->arrived) deliver(call);
}

static void on_output(void *ctx, const char *text, size_t n) {
    moon_call *call = ctx;
    const char *end_of = memrchr(text, '\n', n), *start;
    if (!end_of) return; /* whole lines only: the last one of this piece */
    start = memrchr(text, '\n', (size_t)(end_of - text));
    start = start ? start + 1 : text;
    int length = end_of - start > 160 ? 160 : (int)(end_of - start);
    if (length) moon_call_progress(call, "%.*s", length, start);
}

moon_status moon_call_exec(moon_call *call, const moon_exec *exec,
                           void (*done)(void *ctx, const moon_exec_result *result), void *ctx, moon_error *error) {
    if (call->proc) return moon_error_set(error, MOON_EINVAL, "the call runs a program already");
    if (atomic_load(&call->cancelled)) return moon_error_set(error, MOON_ECANCELLED, "cancelled");
    int dir;
    moon_status status = moon_call_open(call, exec->dir ? exec->dir : ".", O_PATH | O_DIRECTORY, 0, &dir, error);
    if (status) return status;
    const char **clean = exec->env ? NULL : moon__proc_clean_env();
    moon__proc_options options = {.argv = exec->argv,
                                  .env = exec->env ? exec->env : clean,
                                  .dir_fd = dir,
                                  .input = exec->input,
                                  .input_length = exec->input_length,
                                  .output_max = exec->output_max ? exec->output_max : 4u << 20,
                                  .timeout_ms = exec->timeout_ms,
                                  .merge = exec->merge,
                                  .progress = call->o.progress ? on_output : NULL,
                                  .done = on_exec,
                                  .ctx = call};
    call->exec_done = done;
    call->exec_ctx = ctx;
    if (!options.env)
        status = moon_error_set(error, MOON_ENOMEM, "no memory for the environment");
    else
        status = moon__proc_start(&call->proc, call->o.loop, &options, error);
    free(clean);
    close(dir);
    return status;
}
