/* SPDX-License-Identifier: MIT */
/*
 * The benchmark's contestant: N concurrent runs of one Lua agent with one Lua tool, in one process, against a model
 * server.
 *
 *   BENCH_URL=http://127.0.0.1:PORT/v1 BENCH_MODEL=tools-5-d200 BENCH_RUNS=1000 bench_runs SCRIPT
 *
 * BENCH_PARK=1 parks runs that only wait. BENCH_EVENTS=1 has the events read. BENCH_JOURNAL=FILE keeps the runs.
 * BENCH_STEPS=N ends them after N steps; with BENCH_RESUME=1 the newest run of the journal is resumed instead, which
 * replays its steps and then stops again. BENCH_STREAM=1 asks for a streamed answer. Exits 0 if every run ended with a
 * text. Prints a line that begins with "BENCH": runs that ended well, steps, wall ms, and the event loop's lag as a 5
 * ms timer of the host would see it (µs).
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include <moonlet/extend.h>
#include <moonlet/moonlet.h>

enum { LAG_SLOTS = 100000 };

static int64_t now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static int by_value(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static int fail(const char *what, const moon_error *error) {
    fprintf(stderr, "bench_runs: %s: %s %s\n", what, error->where, error->text);
    return 1;
}

/* How long a step kept the loop to itself: what any other event had to wait at most. */
static int64_t p99(int64_t *lag, size_t n) {
    qsort(lag, n, sizeof *lag, by_value);
    return n ? lag[n - 1 - n / 100] : 0;
}

/* Somebody reads the events, as a display or a stream does. */
static void read_event(void *ctx, moon_run *run, const moon_event *event) {
    (void)run;
    *(size_t *)ctx += event->body_length;
}

static bool newest(void *ctx, const moon_run_info *info) {
    snprintf(ctx, 32, "%s", info->run);
    return false;
}

static int resume(moon_runtime *rt, moon_runnable *agent, moon_run **runs, int64_t *lag, const moon_run_options *how) {
    moon_error error = {0};
    moon_run *run;
    char id[32] = "";
    if (moon_runtime_runs(rt, &(moon_query){.state = -1, .limit = 1}, newest, id, &error)) return fail("runs", &error);
    int64_t start = now_us();
    if (moon_run_resume(&run, rt, id, how, &error)) return fail("resume", &error);
    while (!moon_run_finished(run))
        if (moon_runtime_step(rt, -1, &error)) return fail("step", &error);
    const moon_result *result = moon_run_result(run);
    printf("BENCH ok=1 steps=%lld ms=%.2f stop=%s\n", (long long)result->usage.steps, (double)(now_us() - start) / 1e3,
           moon_stop_text(result->stop));
    moon_run_unref(run);
    moon_runnable_unref(agent);
    moon_runtime_free(rt);
    free(runs);
    free(lag);
    return 0;
}

int main(int argc, char **argv) {
    const char *url = getenv("BENCH_URL"), *model = getenv("BENCH_MODEL"), *runs_text = getenv("BENCH_RUNS");
    if (argc < 2 || !url || !model) {
        fprintf(stderr, "usage: BENCH_URL=… BENCH_MODEL=… bench_runs SCRIPT\n");
        return 2;
    }
    size_t n = runs_text ? strtoul(runs_text, NULL, 10) : 1;
    char spec[256];
    snprintf(spec, sizeof spec, "custom/%s", model);
    setenv("MOONLET_BASE_URL", url, 1);
    struct rlimit files;
    if (!getrlimit(RLIMIT_NOFILE, &files)) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    moon_error error = {0};
    moon_runtime *rt;
    moon_runnable *agent;
    moon_runtime_options options = {
        .size = sizeof options, .model = spec, .config = "", .journal = getenv("BENCH_JOURNAL")};
    if (moon_runtime_new(&rt, &options, &error)) return fail("runtime", &error);
    if (moon_script_load(&agent, rt, argv[1], &error)) return fail(argv[1], &error);
    moon_run **runs = calloc(n, sizeof *runs);
    int64_t *lag = calloc(LAG_SLOTS, sizeof *lag), start = now_us();
    size_t steps = 0, ok = 0, next = 0, calls = 0;
    if (!runs || !lag) return 1;
    moon_limits limits = MOON_LIMITS_NONE;
    if (getenv("BENCH_STEPS")) limits.steps = strtol(getenv("BENCH_STEPS"), NULL, 10);
    moon_run_options run = {.size = sizeof run, .input = "go", .allow_all = true, .limits = &limits};
    run.park = getenv("BENCH_PARK") != NULL;
    size_t bytes = 0;
    if (getenv("BENCH_EVENTS")) {
        run.on_event = read_event;
        run.ctx = &bytes;
    }
    if (getenv("BENCH_RESUME")) return resume(rt, agent, runs, lag, &run);
    for (size_t done = 0; done < n;) {
        int64_t begun = now_us();
        for (size_t i = 0; i < 64 && next < n; i++, next++)
            if (moon_run_start(&runs[next], rt, agent, &run, &error)) return fail("run", &error);
        int64_t worked = now_us() - begun;
        int timeout = next < n ? 0 : moon_runtime_timeout(rt);
        if (timeout) {
            struct pollfd p = {.fd = moon_runtime_fd(rt), .events = POLLIN};
            poll(&p, 1, timeout);
        }
        begun = now_us();
        if (moon_runtime_step(rt, 0, &error)) return fail("step", &error);
        lag[calls++ % LAG_SLOTS] = worked + now_us() - begun;
        while (done < next && moon_run_finished(runs[done])) {
            const moon_result *result = moon_run_result(runs[done]);
            if ((result->stop == MOON_STOP_DONE && result->text_length) || result->stop == MOON_STOP_STEPS ||
                result->stop == MOON_STOP_WAITING)
                ok++;
            else
                fprintf(stderr, "run %zu: %s\n", done, result->error ? result->error : "no text");
            steps += (size_t)result->usage.steps;
            moon_run_unref(runs[done++]);
        }
    }
    int64_t wall = now_us() - start;
    size_t kept = calls < LAG_SLOTS ? calls : LAG_SLOTS;
    int64_t tail = p99(lag, kept);
    printf("BENCH ok=%zu steps=%zu ms=%.1f lag_p99_us=%lld lag_max_us=%lld\n", ok, steps, (double)wall / 1e3,
           (long long)tail, (long long)(kept ? lag[kept - 1] : 0));
    moon_runnable_unref(agent);
    moon_runtime_free(rt);
    free(runs);
    free(lag);
    return ok == n ? 0 : 1;
}
