/* SPDX-License-Identifier: MIT */
/*
 * Out of memory: the n-th allocation fails, for every n of a short run (oom.lua).
 *
 *   oom SCRIPT [--of start|resume] [--record yes] [--mode once|rest] [--failures K] [--from N] [--stride K] [--only N]
 *     --of resume: memory is out not while a run is begun, but while one is taken up that a limit has stopped half way
 *     --record yes: answers of models go into a cassette
 *     once: the n-th alone; rest: from the n-th on K of them (default 50), then there is memory again
 *     --only N: that one, in this process: for a debugger
 *
 * The linker turns the library's calls of malloc and its kin to here (--wrap), cJSON and SQLite are given allocators
 * (they are shared objects under the sanitizers, where --wrap does not reach), and Lua asks through the library. libuv
 * is left alone: it ends the process when memory is out.
 *
 * Each n is a process of its own with a journal of its own. Whatever fails, it fails with a text; the run, once begun,
 * ends with a reason; nothing leaks. Then, with memory, the journal has no damage, and the run can be taken up and
 * ends, and no effect is made twice.
 */
#include <cjson/cJSON.h>
#include <dirent.h>
#include <errno.h>
#include <moonlet/extend.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

enum { SECONDS_MAX = 60, STEPS_MAX = 5000, WRONG_MAX = 20 };
static const char TEXT[] = "outer: inner: made";

/* ---- the allocations that fail: a test of one process has no other place for what they are told ---- */

static atomic_bool armed;
static atomic_long asked, refused;
static long first_refused, last_refused;

static bool refuse(void) {
    if (!atomic_load(&armed)) return false;
    long n = atomic_fetch_add(&asked, 1) + 1;
    if (n < first_refused || n > last_refused) return false;
    atomic_fetch_add(&refused, 1);
    errno = ENOMEM;
    return true;
}

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
char *__real_strdup(const char *text);
char *__real_strndup(const char *text, size_t n);
char *__real_realpath(const char *path, char *out);
int __real_vasprintf(char **out, const char *format, va_list args);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t n);
char *__wrap_realpath(const char *path, char *out);
int __wrap_vasprintf(char **out, const char *format, va_list args) MOON_PRINTF(2, 0);
int __wrap_asprintf(char **out, const char *format, ...) MOON_PRINTF(2, 3);

void *__wrap_malloc(size_t n) {
    return refuse() ? NULL : __real_malloc(n);
}
void *__wrap_calloc(size_t n, size_t size) {
    return refuse() ? NULL : __real_calloc(n, size);
}
void *__wrap_realloc(void *p, size_t n) {
    return refuse() ? NULL : __real_realloc(p, n);
}
char *__wrap_strdup(const char *text) {
    return refuse() ? NULL : __real_strdup(text);
}
char *__wrap_strndup(const char *text, size_t n) {
    return refuse() ? NULL : __real_strndup(text, n);
}
char *__wrap_realpath(const char *path, char *out) {
    return !out && refuse() ? NULL : __real_realpath(path, out);
}
int __wrap_vasprintf(char **out, const char *format, va_list args) {
    return refuse() ? -1 : __real_vasprintf(out, format, args);
}
int __wrap_asprintf(char **out, const char *format, ...) {
    va_list args;
    va_start(args, format);
    int n = __wrap_vasprintf(out, format, args);
    va_end(args);
    return n;
}

static sqlite3_mem_methods sqlite_own;

static void *sqlite_malloc(int n) {
    return refuse() ? NULL : sqlite_own.xMalloc(n);
}
static void *sqlite_realloc(void *p, int n) {
    return refuse() ? NULL : sqlite_own.xRealloc(p, n);
}

static void reach_libraries(void) {
    uv_replace_allocator(__real_malloc, __real_realloc, __real_calloc,
                         free); /* libuv ends the process without memory */
    cJSON_InitHooks(&(cJSON_Hooks){.malloc_fn = __wrap_malloc, .free_fn = free});
    sqlite3_config(SQLITE_CONFIG_GETMALLOC, &sqlite_own);
    sqlite3_mem_methods methods = sqlite_own;
    methods.xMalloc = sqlite_malloc;
    methods.xRealloc = sqlite_realloc;
    if (sqlite3_config(SQLITE_CONFIG_MALLOC, &methods)) abort();
}

/* ---- the world ---- */

static const moon_limits half = {2, -1, -1, -1, -1, -1}, enough = {100, -1, -1, -1, -1, -1};
static bool of_resume, taped;

static const char *script;
static char dir[64], journal[96], tape[96];
static atomic_int effects[3]; /* of e1 and e2 */
static unsigned wrongs;

static void wrong(const char *format, ...) MOON_PRINTF(1, 2);
static void wrong(const char *format, ...) {
    va_list args;
    va_start(args, format);
    fputs("  WRONG: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    wrongs++;
}

static void make_world(void) {
    snprintf(dir, sizeof dir, "%s/moonlet-oom-XXXXXX", access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
    if (!mkdtemp(dir)) abort();
    snprintf(journal, sizeof journal, "%s/journal.db", dir);
    snprintf(tape, sizeof tape, "%s/tape", dir);
}

/* A file that was begun and not kept goes at once. */
static void remove_tape(void) {
    char path[400];
    DIR *files = opendir(tape);
    for (struct dirent *e; files && (e = readdir(files));) {
        if (e->d_name[0] == '.' && e->d_name[1] && strcmp(e->d_name, "..") != 0) wrong("%s is left", e->d_name);
        snprintf(path, sizeof path, "%s/%s", tape, e->d_name);
        (void)unlink(path);
    }
    if (files) closedir(files);
    (void)rmdir(tape);
}

static void remove_world(void) {
    static const char *const ends[] = {"", "-wal", "-shm", "-lock"};
    char path[128];
    for (int i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "%s%s", journal, ends[i]);
        (void)unlink(path);
    }
    if (taped) remove_tape();
    if (rmdir(dir)) wrong("something is left in %s", dir);
}

/* Nothing says how often it may be done. */
static void effect(void *self, moon_call *call, const moon_json *args) {
    (void)self;
    const char *name = moon_json_str(moon_json_get(args, "name"), NULL);
    atomic_fetch_add(&effects[name[1] == '2' ? 2 : 1], 1);
    moon_call_printf(call, "made");
    moon_call_done(call);
}

static const moon_tool effect_tool = {
    .abi = MOON_TOOL_ABI,
    .flags = MOON_TOOL_BLOCKING,
    .name = "effect",
    .description = "Has an effect.",
    .params = "{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"string\"}},\"required\":[\"name\"]}",
    .start = effect,
};

/* An error says what it is. */
static bool failed(const char *what, moon_status status, const moon_error *error) {
    if (!status) return false;
    if (status > 0 || !strcmp(moon_status_text(status), "unknown")) wrong("%s: status %d", what, (int)status);
    if (!error->text[0]) wrong("%s: %s, without a text", what, moon_status_text(status));
    if (error->code != status)
        wrong("%s: status %d, but the error is of %d: %s", what, (int)status, (int)error->code, error->text);
    if (!atomic_load(&armed)) wrong("%s: with memory: %s", what, error->text);
    return true;
}

static moon_status open_runtime(moon_runtime **runtime, moon_error *error) {
    moon_runtime_options options = {
        .size = sizeof options, .workspace = dir, .config = "", .journal = journal, .record = taped ? tape : NULL};
    moon_status status = moon_runtime_new(runtime, &options, error);
    if (failed("moon_runtime_new", status, error)) *runtime = NULL;
    if (!status) failed("moon_runtime_add_tool", status = moon_runtime_add_tool(*runtime, &effect_tool, error), error);
    return status;
}

/* Drives a run to its end; its stop reason, -1 if it came to none. */
static int drive(moon_runtime *runtime, moon_run *run) {
    moon_error error = {0};
    for (int i = 0; i < STEPS_MAX && !moon_run_finished(run); i++)
        if (failed("moon_runtime_step", moon_runtime_step(runtime, 1000, &error), &error)) return -1;
    const moon_result *result = moon_run_result(run);
    if (!result) {
        wrong("the run does not end");
        return -1;
    }
    if (!result->text) wrong("a result without a text");
    if (result->stop != MOON_STOP_DONE && !(result->error && *result->error))
        wrong("stopped (%s) without an error", moon_stop_text(result->stop));
    if (result->stop == MOON_STOP_DONE && strcmp(result->text, TEXT) != 0 && !atomic_load(&refused))
        wrong("ended with %s", result->text);
    return (int)result->stop;
}

/* Begins a run, or takes up the one of id, and drives it; its stop reason, -1 if there was none. Its id to made. */
static int attempt(const char *id, const moon_limits *limits, char made[32]) {
    moon_runtime *runtime = NULL;
    moon_runnable *runnable = NULL;
    moon_run *run = NULL;
    moon_error error = {0};
    int stop = -1;
    moon_run_options options = {
        .size = sizeof options, .input = "go", .limits = limits, .allow_all = true, .unknown = MOON_UNKNOWN_TELL};
    moon_status status = open_runtime(&runtime, &error);
    if (!status && id) {
        status = moon_run_resume(&run, runtime, id, &options, &error);
        failed("moon_run_resume", status, &error);
    } else if (!status) {
        status = moon_script_load(&runnable, runtime, script, &error);
        failed("moon_script_load", status, &error);
    }
    if (!status && !id) {
        status = moon_run_start(&run, runtime, runnable, &options, &error);
        failed("moon_run_start", status, &error);
    }
    if (!status) {
        snprintf(made, 32, "%s", moon_run_id(run));
        stop = drive(runtime, run);
    }
    moon_run_unref(run);
    moon_runnable_unref(runnable);
    moon_runtime_free(runtime);
    return stop;
}

/* ---- afterwards ---- */

typedef struct left {
    int runs;
    bool resumable;
    char id[32], stop[32];
} left;

static bool on_run(void *ctx, const moon_run_info *info) {
    left *l = ctx;
    l->runs++;
    l->resumable = info->state != MOON_RUN_FINISHED || info->resumable;
    snprintf(l->id, sizeof l->id, "%s", info->run);
    snprintf(l->stop, sizeof l->stop, "%s", info->stop);
    return true;
}

static void on_fault(void *ctx, const char *run, const char *text) {
    (void)ctx;
    wrong("damage: run %s: %s", run, text);
}

static void check(moon_runtime *runtime) {
    moon_error error = {0};
    failed("moon_runtime_check", moon_runtime_check(runtime, on_fault, NULL, &error), &error);
}

static void resume(moon_runtime *runtime, const char *id) {
    moon_run *run = NULL;
    moon_error error = {0};
    moon_run_options options = {
        .size = sizeof options, .limits = &enough, .allow_all = true, .unknown = MOON_UNKNOWN_TELL};
    if (failed("moon_run_resume", moon_run_resume(&run, runtime, id, &options, &error), &error)) return;
    int stop = drive(runtime, run);
    if (stop > 0) wrong("taken up again, it ended (%s): %s", moon_stop_text(stop), moon_run_result(run)->error);
    moon_run_unref(run);
}

static void look(int stop) {
    moon_runtime *runtime = NULL;
    moon_error error = {0};
    left l = {0};
    if (open_runtime(&runtime, &error) == MOON_OK) {
        check(runtime);
        failed("moon_runtime_runs", moon_runtime_runs(runtime, &(moon_query){.state = -1}, on_run, &l, &error), &error);
        if (l.runs > 1) wrong("%d runs", l.runs);
        if (!l.runs && (effects[1] || effects[2])) wrong("an effect of a run that is not kept");
        if (stop == MOON_STOP_DONE && strcmp(l.stop, "done") != 0) wrong("it was done, and is kept as \"%s\"", l.stop);
        if (l.runs && !l.resumable && strcmp(l.stop, "done") != 0) wrong("it ended (%s) for good", l.stop);
        if (l.runs && l.resumable) {
            resume(runtime, l.id);
            check(runtime);
        }
    }
    moon_runtime_free(runtime);
    for (int i = 1; i <= 2; i++)
        if (effects[i] > 1) wrong("e%d was made %d times", i, effects[i]);
}

static void on_alarm(int number) {
    static const char text[] = "  WRONG: it hangs\n";
    (void)number;
    (void)!write(2, text, sizeof text - 1);
    abort(); /* so that there is a core to look at */
}

/* One run with failures from..to; true: as it should be. */
static bool one(long from, long to) {
    signal(SIGALRM, on_alarm);
    alarm(SECONDS_MAX);
    first_refused = from;
    last_refused = to;
    char id[32] = "", made[32];
    if (of_resume && attempt(NULL, &half, id) != MOON_STOP_STEPS) wrong("it was not stopped half way");
    atomic_store(&armed, true);
    int stop = attempt(of_resume ? id : NULL, &enough, made);
    atomic_store(&armed, false);
    look(stop);
    alarm(0);
    return wrongs == 0;
}

static bool one_apart(long from, long to) {
    make_world();
    pid_t pid = fork();
    if (pid < 0) abort();
    if (pid == 0) exit(one(from, to) ? 0 : 1);
    int status;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) continue;
    remove_world();
    if (WIFSIGNALED(status)) fprintf(stderr, "  WRONG: ended by signal %d\n", WTERMSIG(status));
    return status == 0;
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static long count(void) {
    make_world();
    bool fine = one(0, 0);
    remove_world();
    if (!fine || effects[1] != 1 || effects[2] != 1) {
        fprintf(stderr, "with memory: not as it should be\n");
        exit(1);
    }
    long n = atomic_exchange(&asked, 0);
    effects[1] = effects[2] = 0;
    return n;
}

int main(int argc, char **argv) {
    long from = 1, stride = 1, only = 0, failures = 50;
    bool rest = false;
    for (int i = 2; i + 1 < argc; i += 2) {
        long value = strtol(argv[i + 1], NULL, 10);
        if (!strcmp(argv[i], "--of"))
            of_resume = !strcmp(argv[i + 1], "resume");
        else if (!strcmp(argv[i], "--record"))
            taped = !strcmp(argv[i + 1], "yes");
        else if (!strcmp(argv[i], "--mode"))
            rest = !strcmp(argv[i + 1], "rest");
        else if (!strcmp(argv[i], "--failures"))
            failures = value;
        else if (!strcmp(argv[i], "--from"))
            from = value;
        else if (!strcmp(argv[i], "--stride"))
            stride = value;
        else if (!strcmp(argv[i], "--only"))
            only = value;
    }
    if (argc < 2 || argc % 2 || stride < 1 || failures < 1) {
        fprintf(stderr, "usage: oom SCRIPT [--of start|resume] [--mode once|rest] [--failures K] [--from N] "
                        "[--stride K] [--only N]\n");
        return 2;
    }
    script = argv[1];
    setvbuf(stdout, NULL, _IOLBF, 0);
    reach_libraries();
    long n = count(), tried = 0, bad = 0, more = rest ? failures - 1 : 0;
    if (only) {
        make_world();
        bool fine = one(only, only + more);
        remove_world();
        return fine ? 0 : 1;
    }
    double began = now();
    for (long i = from; i <= n && bad < WRONG_MAX; i += stride, tried++) {
        if (one_apart(i, i + more)) continue;
        fprintf(stderr, "allocation %ld (%s)\n", i, rest ? "rest" : "once");
        bad++;
    }
    printf("%s, %s: %ld allocations, %ld tried, %ld wrong, %.1f s\n", of_resume ? "resume" : "start",
           rest ? "rest" : "once", n, tried, bad, now() - began);
    return bad != 0;
}
