/* SPDX-License-Identifier: MIT */
/* shell: its result text for each way in which a command ends. */
#include "tool_files.h"

#include <errno.h>
#include <poll.h>
#include <sys/syscall.h>

#include "../../tools/builtin.h"

#define SHELL &moon__tool_shell

static void test_shell__output_and_exit_code(void **state) {
    files *f = *state;
    static const struct {
        const char *args, *text;
    } rows[] = {
        {"{\"command\":\"echo a; echo b >&2; echo c\"}", "a\nb\nc\n[exit 0]\n"},
        {"{\"command\":\"printf x; exit 3\"}", "x\n[exit 3]\n"},
        {"{\"command\":\"true\"}", "[exit 0]\n"},
        {"{\"command\":\"cat\"}", "[exit 0]\n"}, /* no input, and it does not wait for any */
        {"{\"command\":\"kill -KILL $$\"}", "[killed by signal 9 (Killed)]\n"},
        {"{\"command\":\"cat x\",\"dir\":\"sub\"}", "inside\n[exit 0]\n"},
        {"{\"command\":\"printf '\\\\377'\"}", "\xEF\xBF\xBD\n[exit 0]\n"},
    };
    files_put(f, "sub/x", "inside\n");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) files_expect(f, SHELL, rows[i].args, rows[i].text);
    files_expect_fail(f, SHELL, "{\"command\":\"true\",\"dir\":\"..\"}", "outside");
    files_expect_fail(f, SHELL, "{\"command\":\"true\",\"dir\":\"nowhere\"}", "nowhere");
}

static void test_shell__runs_in_the_workspace(void **state) {
    files *f = *state;
    char want[100];
    snprintf(want, sizeof want, "%s\n[exit 0]\n", f->dir);
    files_expect(f, SHELL, "{\"command\":\"pwd -P\"}", want);
}

/* Waits until the process has ended: a pidfd becomes readable then. */
static bool is_over(pid_t pid) {
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (fd < 0) return errno == ESRCH;
    int n = poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, 10000);
    close(fd);
    return n == 1;
}

static void test_shell__timeout_ends_the_group(void **state) {
    files *f = *state;
    files_expect(f, SHELL, "{\"command\":\"sleep 1000 & echo $! > pid; echo started; wait\",\"timeout\":1}",
                 "started\n[timed out after 1 s; the process group was ended]\n");
    assert_true(is_over((pid_t)atoi(files_get(f, "pid"))));
}

static void test_shell__background_jobs_do_not_outlive_it(void **state) {
    files *f = *state;
    files_expect(f, SHELL, "{\"command\":\"sleep 1000 & echo $! > pid\"}", "[exit 0]\n");
    assert_true(is_over((pid_t)atoi(files_get(f, "pid"))));
}

static void test_shell__long_output_keeps_head_and_tail(void **state) {
    files *f = *state;
    host_result r = files_call(f, SHELL, "{\"command\":\"echo head; yes x | head -c 6000000; echo tail\"}");
    assert_true(r.ok && r.truncated && r.length < 60000);
    assert_non_null(strstr(r.text, "head\n"));
    assert_non_null(strstr(r.text, "tail\n[the output was over 4 MiB: its middle was dropped]\n[exit 0]\n"));
}

static void test_shell__cancel_ends_it(void **state) {
    files *f = *state;
    moon__tool_entry entry;
    moon_error error;
    assert_int_equal(moon__tool_entry_init(&entry, SHELL, &error), MOON_OK);
    moon_call *call = host_start(f->host, &entry, "{\"command\":\"exec sleep 1000\"}");
    assert_non_null(call);
    moon__call_cancel(call);
    while (!f->host->over) moon__loop_step(f->host->loop, 10000);
    assert_false(f->host->last.ok);
    assert_non_null(strstr(f->host->last.text, "cancelled"));
    moon__tool_entry_fini(&entry);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        FILES_TEST(test_shell__output_and_exit_code),
        FILES_TEST(test_shell__runs_in_the_workspace),
        FILES_TEST(test_shell__timeout_ends_the_group),
        FILES_TEST(test_shell__background_jobs_do_not_outlive_it),
        FILES_TEST(test_shell__long_output_keeps_head_and_tail),
        FILES_TEST(test_shell__cancel_ends_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
