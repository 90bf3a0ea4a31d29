/* SPDX-License-Identifier: MIT */
/* Subprocesses: output, input, and that nothing of them is left. */
#include "loop_clock.h"
#include "proc.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static moon__loop *loop;

static int set_up(void **state) {
    (void)state;
    return moon__loop_new(&loop, NULL, NULL);
}

static int tear_down(void **state) {
    (void)state;
    moon__loop_free(loop);
    return 0;
}

/* What is left of a finished proc. */
typedef struct outcome {
    moon_exec_result result;
    char *out, *err;
    size_t progress;
    moon__proc *proc;
    const char *stop_at; /* stop when the output so far ends with this */
    bool over;
} outcome;

static char *copy(const char *text, size_t n) {
    char *p = malloc(n + 1);
    assert_non_null(p);
    memcpy(p, text, n);
    p[n] = 0;
    return p;
}

static void on_done(void *ctx, const moon_exec_result *result) {
    outcome *o = ctx;
    assert_false(o->over);
    o->result = *result;
    o->out = copy(result->out, result->out_length);
    o->err = copy(result->err, result->err_length);
    o->over = true;
}

static void on_progress(void *ctx, const char *text, size_t n) {
    outcome *o = ctx;
    o->progress += n;
    if (o->stop_at && n >= strlen(o->stop_at) &&
        !strncmp(text + n - strlen(o->stop_at), o->stop_at, strlen(o->stop_at)))
        moon__proc_stop(o->proc);
}

static void start(outcome *o, moon__proc_options options) {
    moon_error error = {0};
    options.done = on_done;
    options.progress = on_progress;
    options.ctx = o;
    if (moon__proc_start(&o->proc, loop, &options, &error)) fail_msg("%s", error.text);
}

static void finish(outcome *o) {
    while (!o->over) moon__loop_step(loop, -1);
}

static void forget(outcome *o) {
    free(o->out);
    free(o->err);
}

static outcome run(moon__proc_options options) {
    outcome o = {0};
    start(&o, options);
    finish(&o);
    return o;
}

#define SH(script) .argv = (const char *const[]){"sh", "-c", (script), NULL}, .dir_fd = -1

static void expect_gone(pid_t pid) {
    /* Killed, and reaped by init or about to be: a zombie of another parent counts as gone. */
    for (int i = 0; i < 500; i++) {
        char path[64], stat[256] = "";
        snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
        FILE *f = fopen(path, "r");
        if (!f) return;
        size_t n = fread(stat, 1, sizeof stat - 1, f);
        fclose(f);
        char *state = n ? strrchr(stat, ')') : NULL;
        if (!state || state[2] == 'Z' || state[2] == 'X') return;
        poll(NULL, 0, 10);
    }
    fail_msg("process %d lives", (int)pid);
}

/* ---- output ---- */

static void test_proc__output_and_exit_code(void **state) {
    (void)state;
    outcome o = run((moon__proc_options){SH("echo hello; echo oops >&2; exit 7")});
    assert_string_equal(o.out, "hello\n");
    assert_string_equal(o.err, "oops\n");
    assert_int_equal(o.result.exit_code, 7);
    assert_int_equal(o.result.signal, 0);
    assert_false(o.result.truncated || o.result.timed_out);
    assert_int_equal(o.progress, 11);
    forget(&o);
}

static void test_proc__merged_output_is_in_order(void **state) {
    (void)state;
    outcome o = run((moon__proc_options){SH("echo 1; echo 2 >&2; echo 3"), .merge = true});
    assert_string_equal(o.out, "1\n2\n3\n");
    assert_string_equal(o.err, "");
    forget(&o);
}

static void test_proc__long_output_keeps_head_and_tail(void **state) {
    static const struct {
        size_t max;
        const char *out;
        bool truncated;
    } rows[] = {
        {10, "0123456789", false},
        {9, "0123\n[… 1 bytes left out …]\n56789", true},
        {4, "01\n[… 6 bytes left out …]\n89", true},
        {1000, "0123456789", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        outcome o = run(
            (moon__proc_options){SH("for i in 0 1 2 3 4 5 6 7 8 9; do printf $i; done"), .output_max = rows[i].max});
        assert_string_equal(o.out, rows[i].out);
        assert_int_equal(o.result.truncated, rows[i].truncated);
        forget(&o);
    }
}

static void test_proc__much_output(void **state) {
    (void)state;
    outcome o = run((moon__proc_options){
        SH("i=0; while [ $i -lt 20 ]; do head -c 1000000 /dev/zero | tr '\\0' x; i=$((i+1)); done; echo end"),
        .output_max = 100000});
    assert_true(o.result.truncated);
    assert_int_equal(o.progress, 20000004);
    assert_in_range(o.result.out_length, 100000, 100064);
    assert_string_equal(o.out + o.result.out_length - 5, "xend\n");
    assert_non_null(strstr(o.out, "[… 19900004 bytes left out …]"));
    forget(&o);
}

static void test_proc__a_fake_clock_stands_still_while_it_runs(void **state) {
    fake_clock fake;
    moon__loop *real = loop;
    (void)state;
    fake_clock_init(&fake);
    assert_int_equal(moon__loop_new(&loop, &fake.clock, NULL), MOON_OK);
    outcome o = run((moon__proc_options){SH("sleep 0.1; echo late"), .timeout_ms = 50});
    assert_string_equal(o.out, "late\n");
    assert_false(o.result.timed_out);
    forget(&o);
    moon__loop_free(loop);
    loop = real;
}

/* ---- input and surroundings ---- */

static void test_proc__a_megabyte_through_cat(void **state) {
    enum { N = 1 << 20 };
    char *input = malloc(N);
    (void)state;
    assert_non_null(input);
    for (int i = 0; i < N; i++) input[i] = (char)('a' + i % 26);
    outcome o = run((moon__proc_options){
        .argv = (const char *const[]){"cat", NULL}, .dir_fd = -1, .input = input, .input_length = N});
    assert_int_equal(o.result.out_length, N);
    assert_memory_equal(o.out, input, N);
    forget(&o);
    free(input);
}

static void test_proc__input_that_nobody_reads_is_no_error(void **state) {
    enum { N = 1 << 20 };
    char *input = calloc(1, N);
    (void)state;
    assert_non_null(input);
    outcome o = run((moon__proc_options){SH("exec <&-; echo ok"), .input = input, .input_length = N});
    assert_string_equal(o.out, "ok\n");
    assert_int_equal(o.result.exit_code, 0);
    forget(&o);
    free(input);
}

static void test_proc__stdin_is_empty_or_null(void **state) {
    (void)state;
    outcome a = run((moon__proc_options){SH("cat; readlink /proc/self/fd/0")});
    assert_string_equal(a.out, "/dev/null\n");
    outcome b = run((moon__proc_options){SH("cat; echo end"), .input = "", .input_length = 0});
    assert_string_equal(b.out, "end\n");
    forget(&a);
    forget(&b);
}

static void test_proc__nothing_is_inherited(void **state) {
    (void)state;
    int leak = open("/dev/null", O_RDONLY); /* without O_CLOEXEC */
    sigset_t pipe_only;
    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &pipe_only, NULL);
    void (*before)(int) = signal(SIGUSR2, SIG_IGN);
    /* The shell's own descriptor on the directory is the 3 that ls shows. */
    outcome o = run((moon__proc_options){
        SH("ls /proc/self/fd; grep -E 'Sig(Blk|Ign)' /proc/self/status; ps -o sid= -p $$ | tr -d ' '; echo $$")});
    char *lines = strtok(o.out, "\n");
    for (int i = 0; i < 4; i++, lines = strtok(NULL, "\n")) {
        assert_non_null(lines);
        assert_int_equal(atoi(lines), i);
    }
    assert_string_equal(lines, "SigBlk:\t0000000000000000");
    /* But for 32 and 33, which belong to libc. */
    assert_int_equal(strtoull(strtok(NULL, "\n") + strlen("SigIgn:"), NULL, 16) & 0x7fffffff, 0);
    const char *sid = strtok(NULL, "\n"), *pid = strtok(NULL, "\n");
    assert_string_equal(sid, pid);
    signal(SIGUSR2, before);
    pthread_sigmask(SIG_UNBLOCK, &pipe_only, NULL);
    close(leak);
    forget(&o);
}

static void test_proc__starts_in_a_directory_with_an_environment(void **state) {
    static const char *const env[] = {"GREETING=hi", NULL};
    int dir = open("/usr", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    (void)state;
    outcome o = run((moon__proc_options){
        .argv = (const char *const[]){"sh", "-c", "pwd; echo $GREETING; cd /; pwd", NULL}, .dir_fd = dir, .env = env});
    assert_string_equal(o.out, "/usr\nhi\n/\n");
    forget(&o);
    close(dir);
}

static void test_proc__a_missing_program_is_an_error(void **state) {
    static const struct {
        const char *name;
        moon_status status;
        const char *text;
    } rows[] = {
        {"no-such-program-anywhere", MOON_ENOTFOUND, "there is no program \"no-such-program-anywhere\" in PATH"},
        {"/no/such/program", MOON_ENOTFOUND, "cannot start /no/such/program: No such file or directory"},
        {"/etc/passwd", MOON_EIO, "cannot start /etc/passwd: Permission denied"},
        {"", MOON_ENOTFOUND, "there is no program \"\" in PATH"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        moon_error error = {0};
        moon__proc *proc;
        outcome o = {0};
        moon__proc_options options = {
            .argv = (const char *const[]){rows[i].name, NULL}, .dir_fd = -1, .done = on_done, .ctx = &o};
        assert_int_equal(moon__proc_start(&proc, loop, &options, &error), rows[i].status);
        assert_string_equal(error.text, rows[i].text);
        assert_null(proc);
        assert_false(o.over);
    }
}

static void test_proc__relative_entries_of_path_are_not_searched(void **state) {
    char dir[] = "/tmp/moon-proc-XXXXXX", program[64];
    (void)state;
    assert_non_null(mkdtemp(dir));
    snprintf(program, sizeof program, "%s/trap", dir);
    int fd = open(program, O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
    assert_int_equal(write(fd, "#!/bin/sh\n", 10), 10);
    close(fd);
    char *path = strdup(getenv("PATH"));
    setenv("PATH", ".::/usr/bin:/bin", 1);
    moon__proc *proc;
    int dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    moon__proc_options options = {.argv = (const char *const[]){"trap", NULL}, .dir_fd = dir_fd, .done = on_done};
    assert_int_equal(moon__proc_start(&proc, loop, &options, NULL), MOON_ENOTFOUND);
    setenv("PATH", path, 1);
    free(path);
    close(dir_fd);
    unlink(program);
    rmdir(dir);
}

/* ---- ending ---- */

static void test_proc__stop_ends_it_with_term(void **state) {
    outcome o = {.stop_at = "ready\n"};
    (void)state;
    start(&o, (moon__proc_options){SH("echo ready; exec sleep 1000")});
    finish(&o);
    assert_int_equal(o.result.signal, SIGTERM);
    assert_int_equal(o.result.exit_code, -1);
    assert_false(o.result.timed_out);
    forget(&o);
}

static void test_proc__timeout_kills_a_group_that_ignores_term(void **state) {
    (void)state;
    /* The leader and its child ignore TERM; both say who they are. */
    outcome o = run((moon__proc_options){SH("trap '' TERM; sleep 1000 & echo $$ $!; wait; wait"), .timeout_ms = 50});
    int leader, child;
    assert_int_equal(sscanf(o.out, "%d %d", &leader, &child), 2);
    assert_true(o.result.timed_out);
    assert_int_equal(o.result.signal, SIGKILL);
    assert_in_range(o.result.wall_ms, 2000, 60000); /* after the grace */
    expect_gone(leader);
    expect_gone(child);
    assert_int_equal(waitpid(leader, NULL, WNOHANG), -1); /* no zombie of ours */
    assert_int_equal(errno, ECHILD);
    forget(&o);
}

static void test_proc__children_end_with_the_leader(void **state) {
    (void)state;
    outcome o = run((moon__proc_options){SH("sleep 1000 & echo $!")});
    assert_int_equal(o.result.exit_code, 0);
    expect_gone(atoi(o.out));
    forget(&o);
}

static void test_proc__an_escaped_grandchild_is_not_waited_for(void **state) {
    (void)state;
    /* In a session of its own it survives the kill and keeps the pipe. The leader ends when it has got there. */
    outcome o = run((moon__proc_options){SH("setsid sleep 1000 & "
                                            "until [ \"$(ps -o sid= -p $!)\" -eq $! ]; do :; done; echo $!")});
    assert_int_equal(o.result.exit_code, 0);
    assert_in_range(o.result.wall_ms, 200, 60000);
    int escaped = atoi(o.out);
    assert_true(escaped > 1);
    assert_int_equal(kill(escaped, SIGKILL), 0);
    forget(&o);
}

static void test_proc__free_kills_without_a_callback(void **state) {
    outcome o = {0};
    (void)state;
    start(&o, (moon__proc_options){SH("trap '' TERM; echo ready; while :; do sleep 1; done")});
    while (!o.progress) moon__loop_step(loop, -1);
    moon__proc_free(o.proc);
    moon__loop_step(loop, 0);
    assert_false(o.over);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* reaped */
}

static void test_proc__many_at_once(void **state) {
    outcome all[40] = {0};
    (void)state;
    for (int i = 0; i < 40; i++) start(&all[i], (moon__proc_options){SH("cat"), .input = "same", .input_length = 4});
    for (int i = 0; i < 40; i++) {
        finish(&all[i]);
        assert_string_equal(all[i].out, "same");
        forget(&all[i]);
    }
}

/* ---- the environment ---- */

static bool in_env(const char *const *env, const char *name) {
    size_t n = strlen(name);
    for (; *env; env++)
        if (!strncmp(*env, name, n) && (*env)[n] == '=') return true;
    return false;
}

static void test_proc__the_clean_environment_has_no_secrets(void **state) {
    static const struct {
        const char *name;
        bool passes;
    } rows[] = {
        {"OPENAI_API_KEY", false}, {"my_secret_thing", false}, {"GITHUB_TOKEN", false},
        {"DB_PASSWORD", false},    {"AWS_CREDENTIALS", false}, {"SSH_AUTH_SOCK", false},
        {"HTTP_COOKIE", false},    {"PRIVATE_STUFF", false},   {"AUTHORIZATION", false},
        {"LD_PRELOAD", false},     {"LD_LIBRARY_PATH", false}, {"GCONV_PATH", false},
        {"GIT_AUTHOR_NAME", true}, {"MOON_PLAIN", true},       {"PATH", true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (strcmp(rows[i].name, "PATH")) setenv(rows[i].name, "/x", 1);
    const char **env = moon__proc_clean_env();
    assert_non_null(env);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (in_env(env, rows[i].name) != rows[i].passes) fail_msg("%s", rows[i].name);
    free(env);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (strcmp(rows[i].name, "PATH")) unsetenv(rows[i].name);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_proc__output_and_exit_code),
        TEST(test_proc__merged_output_is_in_order),
        TEST(test_proc__long_output_keeps_head_and_tail),
        TEST(test_proc__much_output),
        TEST(test_proc__a_fake_clock_stands_still_while_it_runs),
        TEST(test_proc__a_megabyte_through_cat),
        TEST(test_proc__input_that_nobody_reads_is_no_error),
        TEST(test_proc__stdin_is_empty_or_null),
        TEST(test_proc__nothing_is_inherited),
        TEST(test_proc__starts_in_a_directory_with_an_environment),
        TEST(test_proc__a_missing_program_is_an_error),
        TEST(test_proc__relative_entries_of_path_are_not_searched),
        TEST(test_proc__stop_ends_it_with_term),
        TEST(test_proc__timeout_kills_a_group_that_ignores_term),
        TEST(test_proc__children_end_with_the_leader),
        TEST(test_proc__an_escaped_grandchild_is_not_waited_for),
        TEST(test_proc__free_kills_without_a_callback),
        TEST(test_proc__many_at_once),
        TEST(test_proc__the_clean_environment_has_no_secrets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
