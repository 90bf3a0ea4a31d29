/* SPDX-License-Identifier: MIT */
/*
 * The life of a subprocess.
 *
 *     RUNNING --time is up, or moon__proc_stop--> STOPPING (TERM sent to the group) --2 s--> KILL sent
 *     either  --the leader ends (pidfd)--> LINGERING (KILL sent to the group, leader reaped) --output at its end, or
 *             200 ms--> done() is called and the proc is gone
 *
 * One timer serves the three waits. The group is killed before the leader is reaped: while the zombie is there, the
 * kernel gives its number to nobody else.
 */
#include "proc.h"

#include "capture.h"
#include "launch.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    GRACE_MS = 2000,
    LINGER_MS = 200,
    OUTPUT_MAX = 4 << 20, /* if none is given */
    READ_SIZE = 32 << 10, /* bytes per read */
    READS_PER_TURN = 8,   /* so that one loud child does not hold up the loop */
};

typedef struct output {
    moon__proc *proc;
    int fd; /* -1: closed */
    moon__watch *watch;
    moon__capture capture;
} output;

struct moon__proc {
    moon__loop *loop;
    pid_t pid;
    int pidfd;
    moon__watch *watch; /* of pidfd */
    enum { RUNNING, STOPPING, LINGERING } phase;
    moon__timer timer;
    int64_t started_us;
    int in; /* -1: closed */
    moon__watch *in_watch;
    char *input;
    size_t input_length, written;
    output outputs[2];
    moon_exec_result result;
    void (*progress)(void *ctx, const char *text, size_t n);
    void (*done)(void *ctx, const moon_exec_result *result);
    void *ctx;
};

static void close_fd(int *fd, moon__watch **watch) {
    moon__watch_free(*watch);
    *watch = NULL;
    if (*fd >= 0) close(*fd);
    *fd = -1;
}

static void dispose(moon__proc *proc) {
    moon__timer_stop(proc->loop, &proc->timer);
    close_fd(&proc->in, &proc->in_watch);
    close_fd(&proc->pidfd, &proc->watch);
    for (int i = 0; i < 2; i++) {
        close_fd(&proc->outputs[i].fd, &proc->outputs[i].watch);
        moon__capture_fini(&proc->outputs[i].capture);
    }
    free(proc->input);
    free(proc);
}

static void complete(moon__proc *proc) {
    moon_exec_result *result = &proc->result;
    const moon__buf *kept[2];
    for (int i = 0; i < 2; i++) {
        moon__capture *capture = &proc->outputs[i].capture;
        kept[i] = &capture->kept;
        /* Out of memory loses output, and says so in the one way there is. */
        if (moon__capture_end(capture) || capture->dropped) result->truncated = true;
    }
    result->out = kept[0]->p ? kept[0]->p : "";
    result->out_length = kept[0]->len;
    result->err = kept[1]->p ? kept[1]->p : "";
    result->err_length = kept[1]->len;
    result->wall_ms = (moon__loop_now(proc->loop) - proc->started_us) / 1000;
    moon__loop_release(proc->loop);
    proc->done(proc->ctx, result);
    dispose(proc);
}

static void complete_if_ended(moon__proc *proc) {
    if (proc->phase == LINGERING && proc->outputs[0].fd < 0 && proc->outputs[1].fd < 0) complete(proc);
}

/* ---- streams ---- */

/* False: the stream is at its end. */
static bool read_some(output *out) {
    char bytes[READ_SIZE];
    for (int i = 0; i < READS_PER_TURN; i++) {
        ssize_t n = read(out->fd, bytes, sizeof bytes);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && errno == EAGAIN) return true;
        if (n <= 0) return false;
        moon__capture_add(&out->capture, bytes, (size_t)n);
        if (out->proc->progress) out->proc->progress(out->proc->ctx, bytes, (size_t)n);
        if ((size_t)n < sizeof bytes) return true;
    }
    return true;
}

static void on_output(void *ctx, int events) {
    output *out = ctx;
    (void)events;
    if (read_some(out)) return;
    close_fd(&out->fd, &out->watch);
    complete_if_ended(out->proc);
}

static void on_input(void *ctx, int events) {
    moon__proc *proc = ctx;
    (void)events;
    while (proc->written < proc->input_length) {
        ssize_t n = moon__write_quietly(proc->in, proc->input + proc->written, proc->input_length - proc->written);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && errno == EAGAIN) return;
        if (n < 0) break; /* nobody reads it: not our error */
        proc->written += (size_t)n;
    }
    close_fd(&proc->in, &proc->in_watch);
}

/* ---- ending ---- */

static void on_timer(void *ctx);

/* False: there was no memory for the timer. */
static bool wait_for(moon__proc *proc, int64_t ms) {
    proc->timer.fn = on_timer;
    proc->timer.ctx = proc;
    return moon__timer_start(proc->loop, &proc->timer, ms * 1000) == MOON_OK;
}

void moon__proc_stop(moon__proc *proc) {
    if (proc->phase != RUNNING) return;
    proc->phase = STOPPING;
    bool graceful = wait_for(proc, GRACE_MS);
    kill(-proc->pid, graceful ? SIGTERM : SIGKILL);
}

static void on_timer(void *ctx) {
    moon__proc *proc = ctx;
    switch (proc->phase) {
    case RUNNING:
        proc->result.timed_out = true;
        moon__proc_stop(proc);
        break;
    case STOPPING: kill(-proc->pid, SIGKILL); break;
    case LINGERING:
        for (int i = 0; i < 2; i++)
            if (proc->outputs[i].fd >= 0) read_some(&proc->outputs[i]);
        complete(proc);
        break;
    }
}

/* Kills the group, waits for its leader and takes its status. */
static void reap(moon__proc *proc) {
    siginfo_t info = {0};
    kill(-proc->pid, SIGKILL);
    /* A watched descriptor does not block, so waitid alone would not wait. */
    while (waitid(P_PIDFD, (id_t)proc->pidfd, &info, WEXITED) < 0 && (errno == EINTR || errno == EAGAIN))
        poll(&(struct pollfd){.fd = proc->pidfd, .events = POLLIN}, 1, -1);
    /* A host that waits for any child, or ignores SIGCHLD, has the status: then it stays unknown. */
    proc->result.exit_code = info.si_pid && info.si_code == CLD_EXITED ? info.si_status : -1;
    if (info.si_pid && info.si_code != CLD_EXITED) proc->result.signal = info.si_status;
}

static void on_exit_event(void *ctx, int events) {
    moon__proc *proc = ctx;
    (void)events;
    reap(proc);
    close_fd(&proc->pidfd, &proc->watch);
    close_fd(&proc->in, &proc->in_watch);
    proc->phase = LINGERING;
    bool open = proc->outputs[0].fd >= 0 || proc->outputs[1].fd >= 0;
    if (!open || !wait_for(proc, LINGER_MS)) complete(proc);
}

void moon__proc_free(moon__proc *proc) {
    if (!proc) return;
    if (proc->phase != LINGERING) reap(proc);
    moon__loop_release(proc->loop);
    dispose(proc);
}

/* ---- starting ---- */

static moon_status copy_input(moon__proc *proc, const moon__proc_options *options) {
    proc->input_length = options->input ? options->input_length : 0;
    if (!proc->input_length) return MOON_OK;
    if (!(proc->input = malloc(proc->input_length))) return MOON_ENOMEM;
    memcpy(proc->input, options->input, proc->input_length);
    return MOON_OK;
}

/* The child's ends are left in ends[], to be closed when it has been started. */
static moon_status open_streams(moon__proc *proc, const moon__proc_options *options, int ends[3], moon_error *error) {
    int pair[2];
    moon_status status = MOON_OK;
    if (options->input) {
        if ((status = moon__pipe_new(pair, 1, error))) return status;
        ends[0] = pair[0];
        proc->in = pair[1];
    }
    for (int i = 0; i < (options->merge ? 1 : 2); i++) {
        if ((status = moon__pipe_new(pair, 0, error))) return status;
        proc->outputs[i].fd = pair[0];
        ends[1 + i] = pair[1];
    }
    return MOON_OK;
}

static moon_status watch_all(moon__proc *proc, uint32_t timeout_ms, moon_error *error) {
    moon_status status = moon__watch_new(&proc->watch, proc->loop, proc->pidfd, MOON__READ, on_exit_event, proc, error);
    for (int i = 0; i < 2 && !status; i++) {
        output *out = &proc->outputs[i];
        if (out->fd >= 0) status = moon__watch_new(&out->watch, proc->loop, out->fd, MOON__READ, on_output, out, error);
    }
    if (!status && proc->in >= 0)
        status = moon__watch_new(&proc->in_watch, proc->loop, proc->in, MOON__WRITE, on_input, proc, error);
    if (!status && timeout_ms && !wait_for(proc, timeout_ms))
        status = moon_error_set(error, MOON_ENOMEM, "out of memory");
    return status;
}

static moon_status start(moon__proc *proc, const moon__proc_options *options, moon_error *error) {
    int ends[3] = {-1, -1, -1};
    moon_status status = open_streams(proc, options, ends, error);
    if (!status) {
        moon__launch launch = {options->argv, options->env, options->dir_fd, ends[0], ends[1], ends[2]};
        if (options->merge) launch.err = launch.out;
        status = moon__launch_start(&launch, &proc->pid, &proc->pidfd, error);
    }
    for (int i = 0; i < 3; i++)
        if (ends[i] >= 0) close(ends[i]);
    if (status) return status;
    status = watch_all(proc, options->timeout_ms, error);
    if (status) reap(proc);
    return status;
}

moon_status moon__proc_start(moon__proc **out, moon__loop *loop, const moon__proc_options *options, moon_error *error) {
    moon__proc *proc = calloc(1, sizeof *proc);
    *out = NULL;
    if (!proc) return moon_error_set(error, MOON_ENOMEM, "out of memory");
    *proc = (moon__proc){.loop = loop, .pidfd = -1, .in = -1, .started_us = moon__loop_now(loop)};
    proc->progress = options->progress;
    proc->done = options->done;
    proc->ctx = options->ctx;
    for (int i = 0; i < 2; i++) {
        proc->outputs[i] = (output){.proc = proc, .fd = -1};
        moon__capture_init(&proc->outputs[i].capture, options->output_max ? options->output_max : OUTPUT_MAX);
    }
    moon_status status = copy_input(proc, options);
    if (status)
        moon_error_set(error, status, "out of memory");
    else
        status = start(proc, options, error);
    if (status) {
        dispose(proc);
        return status;
    }
    moon__loop_hold(loop);
    *out = proc;
    return MOON_OK;
}
