/* SPDX-License-Identifier: MIT */
/*
 * A program that embeds Moonlet, built from the installed headers alone: two runtimes, each with a tool of the program
 * and the same Lua script, run side by side in one epoll loop that the program owns. Ends with 0 if all is as it should
 * be.
 */
#include <errno.h>
#include <moonlet/moonlet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

enum { HOSTS = 2, TURNS_MAX = 100000 };

typedef struct host {
    moon_runtime *runtime;
    moon_runnable *agent;
    moon_run *run;
    moon_tool tool;
    int calls;
    uint64_t last_seq;
    bool created, finished;
} host;

static void check(bool ok, const char *what) {
    if (ok) return;
    fprintf(stderr, "embed: %s\n", what);
    exit(1);
}

static void check_status(moon_status status, const char *what, const moon_error *error) {
    if (status == MOON_OK) return;
    fprintf(stderr, "embed: %s: %s: %s\n", what, error->where, error->text);
    exit(1);
}

static void double_it(void *self, moon_call *call, const moon_json *args) {
    host *h = self;
    int64_t n;
    h->calls++;
    if (!moon_json_int(moon_json_get(args, "n"), &n)) {
        moon_call_fail(call, "n is not an integer");
        return;
    }
    moon_call_printf(call, "%lld", (long long)(2 * n));
    moon_call_done(call);
}

/* The journal's promises: dense numbers, run.created first, run.finished last. */
static void on_event(void *ctx, moon_run *run, const moon_event *event) {
    host *h = ctx;
    (void)run;
    check(!h->finished, "an event came after run.finished");
    if (event->seq == 0) return;
    check(event->seq == h->last_seq + 1, "the numbers of events are not dense");
    h->last_seq = event->seq;
    if (event->seq == 1) {
        check(event->type == MOON_EVENT_RUN_CREATED, "the first event is not run.created");
        h->created = true;
    }
    h->finished = event->type == MOON_EVENT_RUN_FINISHED;
    check(event->body_length == strlen(event->body) && !memchr(event->body, '\n', event->body_length),
          "a body is not one line");
}

static void open_host(host *h, const char *script) {
    moon_error error = {0};
    *h = (host){
        .tool = {.abi = MOON_TOOL_ABI,
                 .name = "host.double",
                 .description = "Doubles a number.",
                 .params = "{\"type\":\"object\",\"properties\":{\"n\":{\"type\":\"integer\"}},\"required\":[\"n\"]}",
                 .effects = MOON_READ_ONLY,
                 .self = h,
                 .start = double_it}};
    moon_runtime_options options = {.size = sizeof options, .config = "", .seed = 7};
    check_status(moon_runtime_new(&h->runtime, &options, &error), "runtime", &error);
    check_status(moon_runtime_add_tool(h->runtime, &h->tool, &error), "tool", &error);
    check(moon_runtime_add_tool(h->runtime, &h->tool, &error) == MOON_EEXIST, "a second tool of the name was taken");
    check_status(moon_script_load(&h->agent, h->runtime, script, &error), "script", &error);
}

static void start(host *h, const char *input) {
    moon_error error = {0};
    moon_run_options options = {.size = sizeof options, .input = input, .on_event = on_event, .ctx = h};
    h->last_seq = 0;
    h->created = h->finished = false;
    check_status(moon_run_start(&h->run, h->runtime, h->agent, &options, &error), "start", &error);
}

static void close_host(host *h) {
    moon_run_unref(h->run);
    moon_runnable_unref(h->agent);
    moon_runtime_free(h->runtime);
}

static int sooner(int a, int b) {
    if (a < 0) return b;
    return b < 0 || a < b ? a : b;
}

/* The program's own loop: it waits for both runtimes at once. */
static void loop(host hosts[HOSTS]) {
    moon_error error = {0};
    int epoll = epoll_create1(EPOLL_CLOEXEC), turns = 0;
    check(epoll >= 0, "no epoll");
    for (uint32_t i = 0; i < HOSTS; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = i};
        check(epoll_ctl(epoll, EPOLL_CTL_ADD, moon_runtime_fd(hosts[i].runtime), &event) == 0, "epoll_ctl");
    }
    while (!moon_run_finished(hosts[0].run) || !moon_run_finished(hosts[1].run)) {
        struct epoll_event events[HOSTS];
        int timeout = sooner(moon_runtime_timeout(hosts[0].runtime), moon_runtime_timeout(hosts[1].runtime));
        check(turns++ < TURNS_MAX, "the loop does not come to an end");
        check(epoll_wait(epoll, events, HOSTS, timeout) >= 0 || errno == EINTR, "epoll_wait");
        for (int i = 0; i < HOSTS; i++) check_status(moon_runtime_step(hosts[i].runtime, 0, &error), "step", &error);
    }
}

static void check_answer(const host *h, const char *wanted) {
    const moon_result *result = moon_run_result(h->run);
    check(result != NULL, "no result");
    if (result->stop != MOON_STOP_DONE || strcmp(result->text, wanted) != 0) {
        fprintf(stderr, "embed: %s: \"%s\", %s\n", moon_stop_text(result->stop), result->text,
                result->error ? result->error : "no error");
        exit(1);
    }
    check(h->calls == 1, "the tool was not called once");
    check(h->created && h->finished, "events are missing");
    check(result->usage.steps == 2 && result->usage.tool_calls == 1, "the usage is wrong");
}

/* Cancelled before it can do anything, a run ends as interrupted, in the simple loop. */
static void cancel(host *h) {
    moon_error error = {0};
    moon_run_unref(h->run);
    start(h, "1");
    moon_run_cancel(h->run);
    while (!moon_run_finished(h->run)) check_status(moon_runtime_step(h->runtime, -1, &error), "step", &error);
    check(moon_run_result(h->run)->stop == MOON_STOP_INTERRUPTED, "a cancelled run did not end as interrupted");
    check(moon_stop_exit_code(MOON_STOP_INTERRUPTED) == 130, "the exit code is wrong");
}

int main(int argc, char **argv) {
    struct sigaction before, after;
    host hosts[HOSTS];
    check(argc == 2, "usage: embed SCRIPT");
    sigaction(SIGPIPE, NULL, &before);
    check(strcmp(moon_version(), MOON_VERSION) == 0, "header and library differ");
    for (int i = 0; i < HOSTS; i++) open_host(&hosts[i], argv[1]);
    start(&hosts[0], "21");
    start(&hosts[1], "-4");
    loop(hosts);
    check_answer(&hosts[0], "the host says 42");
    check_answer(&hosts[1], "the host says -8");
    close_host(&hosts[0]); /* one ends, the other goes on */
    cancel(&hosts[1]);
    close_host(&hosts[1]);
    sigaction(SIGPIPE, NULL, &after);
    check(before.sa_handler == after.sa_handler, "the library changed a signal handler of its host");
    puts("embed: ok");
    return 0;
}
