/* SPDX-License-Identifier: MIT */
/*
 * One test: a temporary workspace, a runtime whose clock jumps, the test file loaded into it, and its main function run
 * with the number of the test. What the test starts are runs of the same runtime.
 *
 * Time. Whatever waits for time only is woken at once, at its time on the test's clock. What goes on outside (programs,
 * workers) takes real time, and meanwhile the test's clock stands still; of real time a test has a limit.
 */
#include "test.h"

#include "signals.h"

#include "json.h"
#include "testing.h"
#include "text.h"

#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

enum { PRINTED_MAX = 1 << 20, LOOK_MS = 200, TREE_DESCRIPTORS = 16 };

/* ---- signals ---- */

bool moon__test_driver_open(moon__test_driver *driver) {
    driver->signal_fd = moon__cli_signals_open(&driver->old_mask);
    return driver->signal_fd >= 0;
}

void moon__test_driver_close(moon__test_driver *driver) {
    if (driver->signal_fd < 0) return;
    close(driver->signal_fd);
    sigprocmask(SIG_SETMASK, &driver->old_mask, NULL);
}

/* Waits for a signal, and for fd unless it is below 0. */
static void wait_for(moon__test_driver *driver, int fd, int ms) {
    struct signalfd_siginfo info;
    struct pollfd fds[] = {{.fd = driver->signal_fd, .events = POLLIN}, {.fd = fd, .events = POLLIN}};
    (void)poll(fds, 2, ms);
    while (read(driver->signal_fd, &info, sizeof info) == (ssize_t)sizeof info) {
        if (driver->interrupted) _exit(moon_stop_exit_code(MOON_STOP_INTERRUPTED));
        driver->interrupted = true;
    }
}

bool moon__test_driver_wait(moon__test_driver *driver, int ms) {
    wait_for(driver, -1, ms);
    return driver->interrupted;
}

/* ---- the workspace ---- */

static bool make_workspace(char path[PATH_MAX], moon_error *error) {
    const char *tmp = getenv("TMPDIR");
    char made[PATH_MAX];
    int n = snprintf(made, sizeof made, "%s/moonlet-test-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (n < PATH_MAX && mkdtemp(made) && realpath(made, path)) return true;
    moon_error_set(error, MOON_EIO, "cannot make a workspace beneath %s: %s", tmp && *tmp ? tmp : "/tmp",
                   strerror(errno));
    return false;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at) {
    (void)st, (void)kind, (void)at;
    (void)remove(path);
    return 0;
}

/* ---- the run of a test ---- */

static void on_event(void *ctx, moon_run *run, const moon_event *event) {
    moon__buf *printed = ctx;
    moon_json *body;
    (void)run;
    if (event->type != MOON_EVENT_LOG || moon__json_parse(&body, event->body, event->body_length, 0, NULL)) return;
    size_t n;
    const char *text = moon_json_str(moon_json_get(body, "text"), &n);
    moon__buf_add(printed, text, n);
    moon__buf_char(printed, '\n');
    moon__json_free(body);
}

static int64_t real_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* Why a run has to be ended from here; NULL: it goes on. */
static const char *why_end(const moon__test_driver *driver, int64_t until_us, bool more) {
    if (driver->interrupted) return "interrupted";
    if (real_us() > until_us) return "the test has taken too much real time (see --timeout)";
    if (more) return NULL;
    return "the test waits for something that never comes: a signal (give t.run signals = { NAME = value }), or a tool "
           "that "
           "does not end";
}

/* Drives the run to its end. NULL, or why it was ended from here. */
static const char *drive(moon__test_driver *driver, moon_runtime *runtime, moon_run *run, int64_t until_us) {
    const char *why = NULL;
    while (!moon_run_finished(run)) {
        bool more = true;
        if (why)
            (void)!moon_runtime_step(runtime, LOOK_MS, NULL); /* time goes on again, for what does not stop */
        else
            more = moon__runtime_jump(runtime);
        bool outside = moon__runtime_outside(runtime);
        if (moon_run_finished(run)) break;
        bool idle = outside && !why && moon_runtime_timeout(runtime) != 0;
        wait_for(driver, idle ? moon_runtime_fd(runtime) : -1, idle ? LOOK_MS : 0);
        if (!why && (why = why_end(driver, until_us, more || outside))) moon_run_cancel(run);
    }
    return why;
}

/* "script.lua:12: text" is taken apart. */
static const char *take_place(moon_error *error, const char *text) {
    size_t line = strcspn(text, "\n");
    for (const char *p = memchr(text, ':', line); p; p = memchr(p + 1, ':', line - (size_t)(p + 1 - text))) {
        size_t digits = strspn(p + 1, "0123456789"), n = (size_t)(p - text) + 1 + digits;
        if (!digits || strncmp(p + 1 + digits, ": ", 2) != 0 || n >= sizeof error->where) continue;
        memcpy(error->where, text, n);
        error->where[n] = 0;
        return text + n + 2;
    }
    return text;
}

static void set_error(moon__test_outcome *out, const char *text) {
    if (!out->error.code) moon_error_set(&out->error, MOON_ESCRIPT, "%s", text);
    text = take_place(&out->error, text);
    free(out->error_text);
    out->error_text = moon__strdup(text);
    char *trace = out->error_text ? strstr(out->error_text, "\nstack traceback:") : NULL;
    if (!trace) return;
    *trace = 0;
    out->trace = trace + 1;
}

static void take_result(moon__test_outcome *out, const moon_run *run, const char *why) {
    const moon_result *result = moon_run_result(run);
    moon_status status = MOON_OK;
    if (why || !result)
        set_error(out, why ? why : "the test did not end");
    else if (result->stop != MOON_STOP_DONE)
        set_error(out, result->error);
    else
        status = moon__json_parse(&out->json, result->text, result->text_length, 0, &out->error);
    if (status) set_error(out, out->error.text);
}

static void run_test(moon__test_driver *driver, moon_runtime *runtime, const char *file, size_t number,
                     moon__test_outcome *out) {
    moon_runnable *runnable = NULL;
    moon_run *run = NULL;
    char input[40];
    snprintf(input, sizeof input, "{\"test\":%zu}", number);
    moon_run_options options = {.size = sizeof options, .input = input, .on_event = on_event, .ctx = &out->printed};
    moon_status status = moon_script_load(&runnable, runtime, file, &out->error);
    if (!status) status = moon_run_start(&run, runtime, runnable, &options, &out->error);
    if (!status) {
        const char *why = drive(driver, runtime, run, real_us() + driver->seconds * INT64_C(1000000));
        take_result(out, run, why);
    }
    moon_run_unref(run);
    moon_runnable_unref(runnable);
}

void moon__test_drive(moon__test_driver *driver, const char *file, size_t number, moon__test_outcome *out) {
    char workspace[PATH_MAX];
    moon__testing testing;
    moon_runtime *runtime = NULL;
    *out = (moon__test_outcome){0};
    moon__buf_init(&out->printed, PRINTED_MAX);
    if (!make_workspace(workspace, &out->error)) return;
    int64_t began = real_us();
    moon__testing_init(&testing, file, driver->update);
    moon_runtime_options options = {
        .size = sizeof options, .workspace = workspace, .config = "", .workers = 2, .seed = 1};
    moon_status status = moon__runtime_new_testing(&runtime, &options, &testing, &out->error);
    for (size_t i = 0; !status && i < driver->n_plugins; i++)
        status = moon_runtime_add_plugin(runtime, driver->plugins[i], &out->error);
    if (!status) run_test(driver, runtime, file, number, out);
    moon_runtime_free(runtime);
    out->wall_us = real_us() - began;
    if (nftw(workspace, remove_one, TREE_DESCRIPTORS, FTW_DEPTH | FTW_PHYS) != 0)
        moon__cli_error("test: cannot remove %s: %s", workspace, strerror(errno));
}

void moon__test_outcome_fini(moon__test_outcome *outcome) {
    moon__json_free(outcome->json);
    free(outcome->error_text);
    moon__buf_fini(&outcome->printed);
}
