/* SPDX-License-Identifier: MIT */
/*
 * Drives one run on a store that ends the process at a chosen moment, as a crash would. Only the public headers.
 *
 *   driver start|resume JOURNAL SCRIPT [OPTION...]     in the workspace; the final text goes to standard output
 *     --kill-append N:before|after   SIGKILL before or after the N-th append to the store
 *     --kill-effect N:before|after   SIGKILL before or after the N-th effect
 *     --snapshots                    the workspace, a git repository, has snapshots taken of it
 *     --kill-snapshot N:before|after SIGKILL before or after the N-th snapshot is in the repository
 *     --kill-tree N:before|after     SIGKILL before or after the N-th time that a worktree is made, committed, merged
 * or removed
 *     --unknown tell|retry           what to do about calls of unknown outcome (default: tell)
 *     --hold N                       the N-th effect waits, after it was made, until there is a file "go"
 *     --steal                        resume although another process drives the run
 *     --no-sequence                  a store that does not check the sequence: what must fail
 *     --count                        tell how many appends and effects there were, on standard error
 *
 * The tool "effect" appends a line to the file "log" and says nothing about how often it may be done.
 */
#include <fcntl.h>
#include <moonlet/extend.h>
#include <moonlet/moonlet.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

typedef struct moment {
    long n;
    bool after;
} moment;

/* One driver a process: its tool and its store have no other place for what they are told. */
static moment kill_append, kill_effect, kill_snapshot, kill_tree;
static long hold;
static bool steal, no_sequence, snapshots;
static atomic_long appends, effects, takes, trees;

static void die_at(const moment *m, long n, bool after) {
    if (m->n == n && m->after == after) raise(SIGKILL);
}

static moon_status append(moon_store *store, moon_append *batch, size_t n, moon_error *error) {
    long count = atomic_fetch_add(&appends, 1) + 1;
    die_at(&kill_append, count, false);
    moon_status status = moon_store_sqlite.append(store, batch, n, error);
    die_at(&kill_append, count, true);
    for (size_t i = 0; no_sequence && !status && i < n; i++) batch[i].status = MOON_OK;
    return status;
}

static moon_status claim(moon_store *store, const char *run, moon_error *error) {
    return steal ? MOON_OK : moon_store_sqlite.claim(store, run, error);
}

static moon_status take(const moon_snapshot_request *request, moon_snapshot *out, moon_error *error) {
    long count = atomic_fetch_add(&takes, 1) + 1;
    die_at(&kill_snapshot, count, false);
    moon_status status = moon_snapshots_git.take(request, out, error);
    die_at(&kill_snapshot, count, true);
    return status;
}

static moon_status around(long *count, moon_status status) {
    if (!*count)
        die_at(&kill_tree, *count = atomic_fetch_add(&trees, 1) + 1, false);
    else
        die_at(&kill_tree, *count, true);
    return status;
}

static moon_status make(const moon_worktree_use *use, moon_error *error) {
    long n = 0;
    around(&n, MOON_OK);
    return around(&n, moon_snapshots_git.worktree_make(use, error));
}

static moon_status commit(const moon_worktree_use *use, char id[72], int64_t *files, moon_error *error) {
    long n = 0;
    around(&n, MOON_OK);
    return around(&n, moon_snapshots_git.worktree_commit(use, id, files, error));
}

static moon_status merge(const moon_worktree_use *use, const char *id, moon_worktree_merged *merged,
                         moon_error *error) {
    long n = 0;
    around(&n, MOON_OK);
    return around(&n, moon_snapshots_git.worktree_merge(use, id, merged, error));
}

static moon_status drop_tree(const moon_worktree_use *use, moon_error *error) {
    long n = 0;
    around(&n, MOON_OK);
    return around(&n, moon_snapshots_git.worktree_remove(use, error));
}

static void effect(void *self, moon_call *call, const moon_json *args) {
    (void)self;
    long count = atomic_fetch_add(&effects, 1) + 1;
    die_at(&kill_effect, count, false);
    char line[64];
    int n = snprintf(line, sizeof line, "%s\n", moon_json_str(moon_json_get(args, "name"), NULL));
    int fd = open("log", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (fd < 0 || write(fd, line, (size_t)n) != n || fsync(fd)) abort();
    close(fd);
    die_at(&kill_effect, count, true);
    for (int i = 0; hold == count && access("go", F_OK) && i < 6000; i++)
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
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

static moment read_moment(const char *text) {
    char *end;
    moment m = {.n = strtol(text, &end, 10)};
    m.after = !strcmp(end, ":after");
    if (m.n < 1 || (!m.after && strcmp(end, ":before") != 0)) {
        fprintf(stderr, "driver: not a moment: %s\n", text);
        exit(2);
    }
    return m;
}

static bool newest(void *ctx, const moon_run_info *info) {
    snprintf(ctx, 32, "%s", info->run);
    return false;
}

static int fail(const char *what, const moon_error *error) {
    fprintf(stderr, "driver: %s: %s %s\n", what, error->where, error->text);
    return 1;
}

static int drive(moon_runtime *runtime, moon_run *run, bool count) {
    moon_error error = {0};
    while (!moon_run_finished(run))
        if (moon_runtime_step(runtime, -1, &error)) return fail("step", &error);
    const moon_result *result = moon_run_result(run);
    puts(result->text);
    if (result->error) fprintf(stderr, "driver: %s: %s\n", moon_stop_text(result->stop), result->error);
    if (count)
        fprintf(stderr, "appends %ld effects %ld snapshots %ld trees %ld\n", atomic_load(&appends),
                atomic_load(&effects), atomic_load(&takes), atomic_load(&trees));
    return moon_stop_exit_code(result->stop);
}

static int work(bool start, const char *journal, const char *script, moon_unknown unknown, bool count) {
    moon_store_ops store = moon_store_sqlite;
    moon_snapshot_ops git = moon_snapshots_git;
    moon_runtime *runtime;
    moon_runnable *runnable = NULL;
    moon_run *run = NULL;
    moon_error error = {0};
    char id[32] = "";
    store.append = append;
    store.claim = claim;
    git.take = take;
    git.worktree_make = make;
    git.worktree_commit = commit;
    git.worktree_merge = merge;
    git.worktree_remove = drop_tree;
    moon_runtime_options options = {.size = sizeof options, .config = "", .journal = journal, .store = &store};
    if (moon_runtime_new(&runtime, &options, &error)) return fail("runtime", &error);
    moon_run_options how = {
        .size = sizeof how, .input = "go", .allow_all = true, .unknown = unknown, .snapshots = snapshots};
    moon_status status = moon_runtime_add_tool(runtime, &effect_tool, &error);
    if (!status) status = moon_runtime_set_snapshots(runtime, &git, &error);
    if (!status && start) status = moon_script_load(&runnable, runtime, script, &error);
    if (!status && start) status = moon_run_start(&run, runtime, runnable, &how, &error);
    if (!status && !start)
        status = moon_runtime_runs(runtime, &(moon_query){.state = -1, .limit = 1}, newest, id, &error);
    if (!status && !start) status = moon_run_resume(&run, runtime, id, &how, &error);
    int code = status ? fail(start ? "start" : "resume", &error) : drive(runtime, run, count);
    moon_run_unref(run);
    moon_runnable_unref(runnable);
    moon_runtime_free(runtime);
    return code;
}

int main(int argc, char **argv) {
    moon_unknown unknown = MOON_UNKNOWN_TELL;
    bool count = false;
    if (argc < 4) {
        fprintf(stderr, "usage: driver start|resume JOURNAL SCRIPT [OPTION...]\n");
        return 2;
    }
    for (int i = 4; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (!strcmp(argv[i], "--kill-append"))
            kill_append = read_moment(value), i++;
        else if (!strcmp(argv[i], "--kill-effect"))
            kill_effect = read_moment(value), i++;
        else if (!strcmp(argv[i], "--kill-snapshot"))
            kill_snapshot = read_moment(value), i++;
        else if (!strcmp(argv[i], "--kill-tree"))
            kill_tree = read_moment(value), i++;
        else if (!strcmp(argv[i], "--snapshots"))
            snapshots = true;
        else if (!strcmp(argv[i], "--hold"))
            hold = strtol(value, NULL, 10), i++;
        else if (!strcmp(argv[i], "--unknown"))
            unknown = strcmp(value, "retry") ? MOON_UNKNOWN_TELL : MOON_UNKNOWN_RETRY, i++;
        else if (!strcmp(argv[i], "--steal"))
            steal = true;
        else if (!strcmp(argv[i], "--no-sequence"))
            no_sequence = true;
        else if (!strcmp(argv[i], "--count"))
            count = true;
        else {
            fprintf(stderr, "driver: unknown option %s\n", argv[i]);
            return 2;
        }
    }
    return work(!strcmp(argv[1], "start"), argv[2], argv[3], unknown, count);
}
