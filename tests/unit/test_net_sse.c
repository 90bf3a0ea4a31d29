/* SPDX-License-Identifier: MIT */
/* The SSE parser: what WHATWG says about the bytes, whatever way they are cut. */
#include "sse.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Events written as "type|data;" one after the other, newlines of data as "~". */
static bool note(void *ctx, const char *event, const char *data, size_t n) {
    moon__buf *seen = ctx;
    assert_int_equal(strlen(data), n);
    moon__buf_printf(seen, "%s|", event);
    for (size_t i = 0; i < n; i++) moon__buf_char(seen, data[i] == '\n' ? '~' : data[i]);
    moon__buf_char(seen, ';');
    return true;
}

static const struct {
    const char *label, *bytes, *events;
} streams[] = {
    {"one event", "data: a\n\n", "|a;"},
    {"two events", "data: a\n\ndata: b\n\n", "|a;|b;"},
    {"CR ends lines", "data: a\r\rdata: b\r\r", "|a;|b;"},
    {"CRLF ends lines", "data: a\r\n\r\ndata: b\r\n\r\n", "|a;|b;"},
    {"ends of lines mixed", "data: a\r\ndata: b\rdata: c\n\r\ndata: d\n\n", "|a~b~c;|d;"},
    {"byte order mark",
     "\xEF\xBB\xBF"
     "data: a\n\n",
     "|a;"},
    {"only the first byte order mark",
     "data: a\n\n\xEF\xBB\xBF"
     "data: b\n\n",
     "|a;"},
    {"comments", ": hello\n:\ndata: a\n: again\n\n", "|a;"},
    {"several lines of data", "data: a\ndata\ndata: b\n\n", "|a~~b;"},
    {"empty data is an event", "data\n\n", "|;"},
    {"two empty lines of data", "data\ndata\n\n", "|~;"},
    {"no data is no event", "event: x\n\ndata: a\n\n", "|a;"},
    {"one space is taken off", "data:a\n\ndata:  b\n\n", "|a;| b;"},
    {"a type, for one event", "event: ping\ndata: a\n\ndata: b\n\n", "ping|a;|b;"},
    {"the last type counts", "event: x\nevent: y\ndata: a\n\n", "y|a;"},
    {"other fields are dropped", "id: 7\nretry: 10\nfoo: bar\ndata: a\n\n", "|a;"},
    {"names are exact", "Data: a\ndata : b\ndat: c\n\n", ""},
    {"an event that is cut off is none", "data: a\n\ndata: b\n", "|a;"},
    {"colons in data", "data: {\"a\": \"b:c\"}\n\n", "|{\"a\": \"b:c\"};"},
    {"type too long is cut", "event: 0123456789012345678901234567890123456789\ndata: a\n\n",
     "0123456789012345678901234567890|a;"},
    {"UTF-8", "data: \xE0\xB8\x84\xF0\x9F\x98\x80\n\n", "|\xE0\xB8\x84\xF0\x9F\x98\x80;"},
};

static void expect_events(moon__sse *sse, moon__buf *seen, const char *label, const char *bytes, size_t a, size_t b,
                          const char *events) {
    size_t n = strlen(bytes);
    const size_t cuts[] = {0, a, b, n};
    moon__sse_reset(sse);
    moon__buf_reset(seen);
    for (int i = 0; i < 3; i++)
        assert_int_equal(moon__sse_feed(sse, bytes + cuts[i], cuts[i + 1] - cuts[i], note, seen), MOON_OK);
    if (strcmp(seen->p ? seen->p : "", events))
        fail_msg("%s, cut at %zu and %zu: \"%s\", not \"%s\"", label, a, b, seen->p ? seen->p : "", events);
}

static void test_sse__all_two_cut_splits_give_the_same_events(void **state) {
    moon__sse sse;
    moon__buf seen;
    (void)state;
    moon__sse_init(&sse, 1000);
    moon__buf_init(&seen, 1000);
    for (size_t i = 0; i < sizeof streams / sizeof *streams; i++) {
        size_t n = strlen(streams[i].bytes);
        for (size_t a = 0; a <= n; a++)
            for (size_t b = a; b <= n; b++)
                expect_events(&sse, &seen, streams[i].label, streams[i].bytes, a, b, streams[i].events);
    }
    moon__sse_fini(&sse);
    moon__buf_fini(&seen);
}

static void test_sse__crlf_split_between_reads(void **state) {
    moon__sse sse;
    moon__buf seen;
    (void)state;
    moon__sse_init(&sse, 100);
    moon__buf_init(&seen, 100);
    assert_int_equal(moon__sse_feed(&sse, "data: a\r", 8, note, &seen), MOON_OK);
    assert_int_equal(moon__sse_feed(&sse, "\n", 1, note, &seen), MOON_OK);
    assert_int_equal(seen.len, 0);
    assert_int_equal(moon__sse_feed(&sse, "\r", 1, note, &seen), MOON_OK);
    assert_string_equal(seen.p, "|a;");
    assert_int_equal(moon__sse_feed(&sse, "\ndata: b\n\n", 10, note, &seen), MOON_OK);
    assert_string_equal(seen.p, "|a;|b;");
    moon__sse_fini(&sse);
    moon__buf_fini(&seen);
}

/* Fed in pieces of `piece` bytes: the same verdict for all. */
static moon_status feed_pieces(const char *bytes, size_t n, size_t max, size_t piece) {
    moon__sse sse;
    moon__buf seen;
    moon_status status = MOON_OK;
    moon__sse_init(&sse, max);
    moon__buf_init(&seen, 1000);
    for (size_t at = 0; at < n && !status; at += piece)
        status = moon__sse_feed(&sse, bytes + at, n - at < piece ? n - at : piece, note, &seen);
    moon__sse_fini(&sse);
    moon__buf_fini(&seen);
    return status;
}

static void test_sse__ceiling_holds_for_lines_and_events(void **state) {
    static const struct {
        const char *bytes;
        moon_status status;
    } rows[] = {
        {"data: 0123456789\n\n", MOON_OK}, /* a line of 16 */
        {"data: 0123456789a\n\n", MOON_ELIMIT},
        {":0123456789abcde\n", MOON_OK},
        {":0123456789abcdef\n", MOON_ELIMIT},
        {"data: 0123456\ndata: 01234567\n\n", MOON_OK}, /* an event of 16 */
        {"data: 0123456\ndata: 012345678\n\n", MOON_ELIMIT},
        {"0123456789abcdefg", MOON_ELIMIT}, /* a line that never ends */
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (size_t piece = 1; piece <= strlen(rows[i].bytes); piece++)
            assert_int_equal(feed_pieces(rows[i].bytes, strlen(rows[i].bytes), 16, piece), rows[i].status);
}

static bool refuse(void *ctx, const char *event, const char *data, size_t n) {
    (void)event, (void)data, (void)n;
    ++*(int *)ctx;
    return false;
}

static void test_sse__callback_can_stop_it(void **state) {
    moon__sse sse;
    int calls = 0;
    (void)state;
    moon__sse_init(&sse, 100);
    assert_int_equal(moon__sse_feed(&sse, "data: a\n\ndata: b\n\n", 18, refuse, &calls), MOON_ECANCELLED);
    assert_int_equal(calls, 1);
    moon__sse_fini(&sse);
}

static bool expect_nul(void *ctx, const char *event, const char *data, size_t n) {
    (void)event;
    assert_int_equal(n, 3);
    assert_memory_equal(data, "a\0b", 4);
    *(bool *)ctx = true;
    return true;
}

static void test_sse__nul_bytes_are_data(void **state) {
    moon__sse sse;
    bool came = false;
    (void)state;
    moon__sse_init(&sse, 100);
    assert_int_equal(moon__sse_feed(&sse, "data: a\0b\n\n", 11, expect_nul, &came), MOON_OK);
    assert_true(came);
    moon__sse_fini(&sse);
}

/* A megabyte of CRs: quadratic work would take minutes. */
static void test_sse__is_linear_in_ends_of_lines(void **state) {
    enum { N = 1 << 20 };
    char *bytes = malloc(N);
    moon__sse sse;
    moon__buf seen;
    (void)state;
    assert_non_null(bytes);
    memset(bytes, '\r', N);
    moon__sse_init(&sse, 100);
    moon__buf_init(&seen, 100);
    assert_int_equal(moon__sse_feed(&sse, bytes, N, note, &seen), MOON_OK);
    assert_int_equal(seen.len, 0);
    moon__sse_fini(&sse);
    moon__buf_fini(&seen);
    free(bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sse__all_two_cut_splits_give_the_same_events),
        cmocka_unit_test(test_sse__crlf_split_between_reads),
        cmocka_unit_test(test_sse__ceiling_holds_for_lines_and_events),
        cmocka_unit_test(test_sse__callback_can_stop_it),
        cmocka_unit_test(test_sse__nul_bytes_are_data),
        cmocka_unit_test(test_sse__is_linear_in_ends_of_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
