/* SPDX-License-Identifier: MIT */
/* The life of a call: ends from any thread, timeouts, cancelling, results too long or not text, subprocesses. */
#include <stdarg.h>
#include <stddef.h>

#include "tool_host.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#define TOOL(...)                                                                                                      \
    ((moon_tool){                                                                                                      \
        .abi = MOON_TOOL_ABI, .name = "t.x", .description = "d", .params = "{\"type\":\"object\"}", __VA_ARGS__})

static void say_hello(void *self, moon_call *call, const moon_json *args) {
    (void)args;
    moon_call_printf(call, "hello %s", (const char *)self);
    moon_call_done(call);
}

static void test_tool_call__ends_inline_or_on_a_worker(void **state) {
    (void)state;
    tool_host *host = host_new("/tmp");
    for (uint32_t flags = 0; flags <= MOON_TOOL_BLOCKING; flags++) {
        moon_tool tool = TOOL(.flags = flags, .self = "you", .start = say_hello);
        host_result r = host_call(host, &tool, "{}");
        assert_true(r.ok);
        assert_string_equal(r.text, "hello you");
    }
    host_free(host);
}

static void *end_later(void *ctx) {
    moon_call *call = ctx;
    moon_call_progress(call, "almost");
    moon_call_write(call, "late", 4);
    moon_call_done(call);
    return NULL;
}

static pthread_t ender; /* of one test at a time */
static void start_thread(void *self, moon_call *call, const moon_json *args) {
    (void)self, (void)args;
    assert_int_equal(pthread_create(&ender, NULL, end_later, call), 0);
}

static void test_tool_call__ends_from_a_thread_of_its_own(void **state) {
    (void)state;
    tool_host *host = host_new("/tmp");
    for (uint32_t flags = 0; flags <= MOON_TOOL_BLOCKING; flags++) {
        moon_tool tool = TOOL(.flags = flags, .start = start_thread);
        assert_string_equal(host_call(host, &tool, "{}").text, "late");
        pthread_join(ender, NULL);
    }
    host_free(host);
}

static void fail_it(void *self, moon_call *call, const moon_json *args) {
    (void)self, (void)args;
    moon_call_printf(call, "dropped");
    moon_call_fail(call, "expected %s", "more");
}

static void test_tool_call__fail_gives_its_text_alone(void **state) {
    (void)state;
    tool_host *host = host_new("/tmp");
    moon_tool tool = TOOL(.start = fail_it);
    host_result r = host_call(host, &tool, "{}");
    assert_false(r.ok);
    assert_string_equal(r.text, "expected more");
    host_free(host);
}

static void give_json(void *self, moon_call *call, const moon_json *args) {
    (void)args;
    moon_put_object(call, NULL);
    moon_put_str(call, "name", "a\"b\n", SIZE_MAX);
    moon_put_array(call, "list");
    moon_put_int(call, NULL, -5);
    moon_put_num(call, NULL, 1.5);
    moon_put_bool(call, NULL, true);
    moon_put_null(call, NULL);
    moon_put_end(call);
    if (!self) moon_put_end(call);
    moon_call_done(call);
}

static void test_tool_call__json_is_whole_or_a_defect(void **state) {
    (void)state;
    tool_host *host = host_new("/tmp");
    moon_tool tool = TOOL(.start = give_json), open = TOOL(.start = give_json, .self = "leave it open");
    host_result r = host_call(host, &tool, "{}");
    assert_true(r.ok && r.json);
    assert_string_equal(r.text, "{\"name\":\"a\\\"b\\n\",\"list\":[-5,1.5,true,null]}");
    r = host_call(host, &open, "{}");
    assert_false(r.ok);
    assert_non_null(strstr(r.text, "incomplete JSON"));
    host_free(host);
}

static void give_lines(void *self, moon_call *call, const moon_json *args) {
    int n = *(int *)self;
    (void)args;
    for (int i = 0; i < n; i++) moon_call_printf(call, "line %d\n", i);
    moon_call_done(call);
}

static void test_tool_call__a_long_result_keeps_head_and_tail_and_is_kept_whole(void **state) {
    (void)state;
    int n = 20000, fd;
    char text[16] = "";
    moon_error error = {0};
    tool_host *host = host_new("/tmp");
    moon_tool tool = TOOL(.start = give_lines, .self = &n);
    host_result r = host_call(host, &tool, "{}");
    assert_true(r.ok && r.truncated);
    assert_true(r.length < (50 << 10) + 1024);
    assert_non_null(strstr(r.text, "the whole is in @spill/1.txt"));
    assert_non_null(strstr(r.text, "\nline 0\n"));
    assert_non_null(strstr(r.text, "line 19999\n"));
    assert_int_equal(moon__scratch_open(host->scratch, r.spill, O_RDONLY, 0, &fd, &error), MOON_OK);
    assert_int_equal(read(fd, text, 7), 7);
    assert_string_equal(text, "line 0\n");
    close(fd);
    host_free(host);
}

static void give_bytes(void *self, moon_call *call, const moon_json *args) {
    (void)self, (void)args;
    moon_call_write(call, "a\xff\xfe z\0\0b", 8);
    moon_call_done(call);
}

#define FFFD "\xef\xbf\xbd"
static void test_tool_call__results_are_utf8_without_nul(void **state) {
    (void)state;
    tool_host *host = host_new("/tmp");
    moon_tool tool = TOOL(.start = give_bytes);
    host_result r = host_call(host, &tool, "{}");
    assert_string_equal(r.text, "a" FFFD FFFD " z" FFFD FFFD "b");
    assert_int_equal(r.length, strlen(r.text));
    host_free(host);
}

/* Waits until it is cancelled. */
static void linger(void *self, moon_call *call, const moon_json *args) {
    (void)self, (void)args;
    while (!moon_call_cancelled(call)) usleep(1000);
    moon_call_printf(call, "half");
    moon_call_done(call);
}

/* Deaf: goes on until the test lets it go, whatever has become of the call. */
static atomic_bool let_go;
static atomic_int deaf_ones;
static void be_deaf(void *self, moon_call *call, const moon_json *args) {
    (void)self, (void)args;
    atomic_fetch_add(&deaf_ones, 1);
    while (!atomic_load(&let_go)) {
        moon_call_printf(call, "x");
        moon_call_progress(call, "still here");
        moon_call_remember(call, "a.txt", 1);
        usleep(1000);
    }
    moon_call_done(call);
}

typedef struct left_call {
    moon_call *call;
    bool over;
    int progressed;
    char text[200];
} left_call;

static void left_done(void *ctx, const moon__call_result *result) {
    left_call *l = ctx;
    assert_false(l->over || result->ok);
    l->over = true;
    snprintf(l->text, sizeof l->text, "%s", result->text);
}

static void left_progress(void *ctx, const char *text) {
    left_call *l = ctx;
    (void)text;
    assert_false(l->over);
    l->progressed++;
}

static void test_tool_call__what_does_not_stop_is_left(void **state) {
    (void)state;
    tool_host *host = host_new("/tmp");
    moon_tool tool = TOOL(.flags = MOON_TOOL_BLOCKING, .timeout_ms = 20, .start = be_deaf);
    moon__tool_entry entry;
    moon_error error = {0};
    left_call calls[3] = {0}; /* the last one finds no worker */
    assert_int_equal(moon__tool_entry_init(&entry, &tool, &error), MOON_OK);
    for (int i = 0; i < 3; i++) {
        moon_json *args;
        assert_int_equal(moon__json_parse(&args, "{}", 2, 0, &error), MOON_OK);
        moon__call_options options = {.entry = &entry,
                                      .args = args,
                                      .loop = host->loop,
                                      .pool = host->pool,
                                      .scratch = host->scratch,
                                      .progress = left_progress,
                                      .done = left_done,
                                      .ctx = &calls[i]};
        assert_int_equal(moon__call_start(&calls[i].call, &options, &error), MOON_OK);
    }
    while (atomic_load(&deaf_ones) < 2) usleep(1000);
    moon__call_cancel(calls[0].call);
    while (!calls[0].over || !calls[1].over || !calls[2].over) moon__loop_step(host->loop, -1);
    assert_int_equal(atomic_load(&deaf_ones), 2);
    assert_non_null(strstr(calls[0].text, "t.x does not stop, 5 s after it was cancelled"));
    assert_non_null(strstr(calls[1].text, "t.x does not stop, 5 s after its time limit"));
    assert_non_null(strstr(calls[2].text, "t.x was stopped after 0.02 s, its time limit"));
    assert_true(calls[0].progressed && calls[1].progressed);

    moon_tool other = TOOL(.flags = MOON_TOOL_BLOCKING, .self = "you", .start = say_hello);
    assert_string_equal(host_call(host, &other, "{}").text, "hello you");
    moon__scratch_free(host->scratch); /* the run is over */
    host->scratch = NULL;
    assert_false(moon__pool_free(host->pool));
    atomic_store(&let_go, true);
    while (!moon__pool_free(host->pool)) moon__loop_step(host->loop, 1);
    host->pool = NULL;
    moon__loop_step(host->loop, 0);
    moon__tool_entry_fini(&entry);
    host_free(host);
}

static void test_tool_call__timeout_and_cancel_end_it_with_an_error(void **state) {
    (void)state;
    tool_host *host = host_new("/tmp");
    moon_tool slow = TOOL(.flags = MOON_TOOL_BLOCKING, .timeout_ms = 20, .start = linger);
    host_result r = host_call(host, &slow, "{}");
    assert_false(r.ok);
    assert_non_null(strstr(r.text, "time limit"));
    moon_tool tool = TOOL(.flags = MOON_TOOL_BLOCKING, .start = linger);
    moon__tool_entry entry;
    moon_error error = {0};
    assert_int_equal(moon__tool_entry_init(&entry, &tool, &error), MOON_OK);
    moon_call *call = host_start(host, &entry, "{}");
    moon__call_cancel(call);
    moon__call_cancel(call);
    while (!host->over) moon__loop_step(host->loop, 1000);
    assert_false(host->last.ok);
    assert_non_null(strstr(host->last.text, "cancelled"));
    moon__tool_entry_fini(&entry);
    host_free(host);
}

typedef struct program {
    const char *const *argv;
    moon_call *call;
    const char *dir;
} program;

static void on_exit_of(void *ctx, const moon_exec_result *result) {
    program *p = ctx;
    moon_call_printf(p->call, "%d:%.*s", result->exit_code, (int)result->out_length, result->out);
    moon_call_done(p->call);
}

static void run_program(void *self, moon_call *call, const moon_json *args) {
    program *p = self;
    moon_error error = {0};
    moon_exec exec = {.argv = p->argv, .merge = true, .dir = p->dir};
    (void)args;
    p->call = call;
    if (moon_call_exec(call, &exec, on_exit_of, p, &error)) moon_call_fail_error(call, &error);
}

static void test_tool_call__runs_programs_without_secrets(void **state) {
    (void)state;
    tool_host *host = host_new("/tmp");
    setenv("SOME_API_KEY", "canary", 1);
    const char *const argv[] = {"sh", "-c", "pwd; echo key=$SOME_API_KEY; echo err >&2; exit 3", NULL};
    program p = {.argv = argv};
    moon_tool tool = TOOL(.self = &p, .start = run_program);
    host_result r = host_call(host, &tool, "{}");
    assert_string_equal(r.text, "3:/tmp\nkey=\nerr\n");
    p.dir = "../etc";
    assert_false(host_call(host, &tool, "{}").ok);
    const char *const none[] = {"no-such-program-here", NULL};
    p = (program){.argv = none};
    r = host_call(host, &tool, "{}");
    assert_false(r.ok);
    assert_non_null(strstr(r.text, "no-such-program-here"));
    host_free(host);
}

static void test_tool_call__a_program_ends_with_its_call(void **state) {
    (void)state;
    tool_host *host = host_new("/tmp");
    const char *const argv[] = {"sh", "-c", "sleep 1000 & sleep 1000", NULL};
    program p = {.argv = argv};
    moon_tool tool = TOOL(.self = &p, .timeout_ms = 50, .start = run_program);
    host_result r = host_call(host, &tool, "{}");
    assert_false(r.ok);
    assert_non_null(strstr(r.text, "time limit"));
    host_free(host);
}

static void test_tool_call__unsound_records_are_refused(void **state) {
    (void)state;
    const moon_tool bad[] = {
        TOOL(.start = NULL),
        {.abi = 99, .name = "a", .description = "d", .params = "{}", .start = say_hello},
        {.abi = MOON_TOOL_ABI, .name = "no spaces", .description = "d", .params = "{}", .start = say_hello},
        {.abi = MOON_TOOL_ABI, .name = "a", .description = "d", .params = "{\"type\":", .start = say_hello},
        {.abi = MOON_TOOL_ABI, .description = "d", .params = "{}", .start = say_hello}};
    moon__tools *tools;
    moon_error error = {0};
    assert_int_equal(moon__tools_new(&tools, &error), MOON_OK);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_not_equal(moon__tools_add(tools, &bad[i], &error), MOON_OK);
    moon_tool good = TOOL(.start = say_hello);
    assert_int_equal(moon__tools_add(tools, &good, &error), MOON_OK);
    assert_int_equal(moon__tools_add(tools, &good, &error), MOON_EEXIST);
    assert_int_not_equal(moon__tools_add_plugin(tools, "/nonexistent.so", &error), MOON_OK);
    moon__tools_free(tools);
}

static void test_tool_call__arguments_have_ceilings(void **state) {
    (void)state;
    tool_host *host = host_new("/tmp");
    moon_tool tool = TOOL(.self = "x", .start = say_hello);
    size_t n = 10 << 20;
    char *big = malloc(n + 1);
    assert_non_null(big);
    memset(big, ' ', n);
    big[n] = 0;
    big[0] = '{', big[n - 1] = '}';
    host_result r = host_call(host, &tool, big);
    assert_false(r.checked);
    assert_non_null(strstr(r.text, "at most"));
    memset(big, '[', 10000);
    memset(big + 10000, ']', 10000);
    big[20000] = 0;
    assert_false(host_call(host, &tool, big).checked);
    free(big);
    host_free(host);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tool_call__ends_inline_or_on_a_worker),
        cmocka_unit_test(test_tool_call__ends_from_a_thread_of_its_own),
        cmocka_unit_test(test_tool_call__fail_gives_its_text_alone),
        cmocka_unit_test(test_tool_call__json_is_whole_or_a_defect),
        cmocka_unit_test(test_tool_call__a_long_result_keeps_head_and_tail_and_is_kept_whole),
        cmocka_unit_test(test_tool_call__results_are_utf8_without_nul),
        cmocka_unit_test(test_tool_call__timeout_and_cancel_end_it_with_an_error),
        cmocka_unit_test(test_tool_call__what_does_not_stop_is_left),
        cmocka_unit_test(test_tool_call__runs_programs_without_secrets),
        cmocka_unit_test(test_tool_call__a_program_ends_with_its_call),
        cmocka_unit_test(test_tool_call__unsound_records_are_refused),
        cmocka_unit_test(test_tool_call__arguments_have_ceilings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
