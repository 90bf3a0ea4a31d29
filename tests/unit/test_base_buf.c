/* SPDX-License-Identifier: MIT */
/* Buffers: the ceiling, the sticky status, quoting and numbers. */
#include <float.h>
#include <locale.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "buf.h"

static void test_buf__grows_and_stays_terminated(void **state) {
    (void)state;
    moon__buf buf;
    moon__buf_init(&buf, 100000);
    for (int i = 0; i < 10000; i++) {
        moon__buf_int(&buf, i % 10);
        assert_int_equal(buf.p[buf.len], 0);
    }
    assert_int_equal(buf.len, 10000);
    assert_int_equal(strlen(buf.p), 10000);
    moon__buf_cut(&buf, 3);
    moon__buf_cut(&buf, 50); /* longer than it is: nothing */
    assert_string_equal(buf.p, "012");
    moon__buf_reset(&buf);
    assert_string_equal(buf.p, "");
    moon__buf_fini(&buf);
    assert_null(buf.p);
}

static void test_buf__zeroed_has_no_room(void **state) {
    (void)state;
    moon__buf buf = {0};
    moon__buf_str(&buf, "");
    assert_int_equal(buf.status, MOON_OK);
    moon__buf_char(&buf, 'x');
    assert_int_equal(buf.status, MOON_ELIMIT);
    moon__buf_fini(&buf);
}

static void test_buf__over_the_ceiling_is_dropped_whole_and_sticks(void **state) {
    (void)state;
    moon__buf buf;
    moon__buf_init(&buf, 8);
    moon__buf_str(&buf, "12345678"); /* the ceiling itself fits */
    assert_int_equal(buf.status, MOON_OK);
    moon__buf_cut(&buf, 5);
    moon__buf_str(&buf, "wxyz");
    assert_int_equal(buf.status, MOON_ELIMIT);
    moon__buf_char(&buf, '6'); /* would fit, but comes after a failure */
    assert_string_equal(buf.p, "12345");
    assert_int_equal(moon__buf_reserve(&buf, 0), MOON_ELIMIT);
    moon__buf_reset(&buf);
    moon__buf_str(&buf, "again");
    assert_int_equal(buf.status, MOON_OK);
    assert_int_equal(moon__buf_reserve(&buf, SIZE_MAX), MOON_ELIMIT);
    moon__buf_fini(&buf);
}

static void test_buf__printf_and_quoted_are_whole_or_nothing(void **state) {
    (void)state;
    moon__buf buf;
    moon__buf_init(&buf, 10);
    moon__buf_str(&buf, "ab");
    moon__buf_printf(&buf, "%s-%d", "long text", 5);
    assert_int_equal(buf.status, MOON_ELIMIT);
    assert_string_equal(buf.p, "ab");
    moon__buf_reset(&buf);
    moon__buf_str(&buf, "ab");
    moon__buf_quoted(&buf, "1234567", 7); /* 9 with its quotes */
    assert_int_equal(buf.status, MOON_ELIMIT);
    assert_string_equal(buf.p, "ab");
    moon__buf_fini(&buf);

    moon__buf_init(&buf, 1 << 20);
    char text[5000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    moon__buf_printf(&buf, "<%s|%d>", text, 42); /* more than there is room for at first */
    assert_int_equal(buf.len, sizeof text - 1 + 5);
    assert_string_equal(buf.p + sizeof text, "|42>");
    moon__buf_fini(&buf);
}

static void test_buf__take(void **state) {
    (void)state;
    moon__buf buf;
    moon__buf_init(&buf, 16);
    char *empty = moon__buf_take(&buf);
    assert_string_equal(empty, "");
    free(empty);
    moon__buf_str(&buf, "mine");
    char *text = moon__buf_take(&buf);
    assert_string_equal(text, "mine");
    free(text);
    assert_null(buf.p);
    moon__buf_str(&buf, "12345678901234567"); /* one too many: a cut text is never handed out */
    assert_null(moon__buf_take(&buf));
    assert_int_equal(buf.status, MOON_ELIMIT);
    moon__buf_reset(&buf);
    moon__buf_str(&buf, "x");
    assert_int_equal(buf.status, MOON_OK);
    moon__buf_fini(&buf);
}

static void test_buf__quoted(void **state) {
    (void)state;
    static const struct {
        const char *label, *text, *expected;
        size_t n;
    } rows[] = {
        {"empty", "", "\"\"", 0},
        {"nothing", NULL, "\"\"", 0},
        {"plain, over a word", "hello, world: 123", "\"hello, world: 123\"", SIZE_MAX},
        {"escapes", "a\"b\\c/\b\f\n\r\t", "\"a\\\"b\\\\c/\\b\\f\\n\\r\\t\"", SIZE_MAX},
        {"controls", "\x01\x1f\x7f", "\"\\u0001\\u001f\x7f\"", SIZE_MAX},
        {"a NUL inside", "a\0b",
         "\"a\xEF\xBF\xBD"
         "b\"",
         3},
        {"UTF-8", "héllo wörld \xF0\x9F\x98\x80", "\"héllo wörld \xF0\x9F\x98\x80\"", SIZE_MAX},
        {"Latin-1", "h\xE9llo", "\"h\xEF\xBF\xBDllo\"", SIZE_MAX},
        {"cut in a code point", "ab\xE2\x82\xAC", "\"ab\xEF\xBF\xBD\xEF\xBF\xBD\"", 4},
        {"a surrogate in UTF-8", "\xED\xA0\x80", "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\"", SIZE_MAX},
        {"special in the eighth byte", "1234567\"9", "\"1234567\\\"9\"", SIZE_MAX},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        moon__buf buf;
        moon__buf_init(&buf, 1000);
        moon__buf_quoted(&buf, rows[i].text, rows[i].n);
        if (strcmp(buf.p, rows[i].expected) != 0) fail_msg("%s: %s", rows[i].label, buf.p);
        moon__buf_fini(&buf);
    }
}

static void assert_number(double value, const char *expected) {
    moon__buf buf;
    moon__buf_init(&buf, 100);
    moon__buf_num(&buf, value);
    assert_string_equal(buf.p, expected);
    moon__buf_fini(&buf);
}

static void test_buf__numbers(void **state) {
    (void)state;
    static const struct {
        double value;
        const char *expected;
    } rows[] = {
        {0, "0"},
        {-0.0, "0"},
        {-17, "-17"},
        {9007199254740992.0, "9007199254740992"},
        {-9007199254740991.0, "-9007199254740991"},
        {1e15, "1000000000000000"},
        {0.1, "0.1"},
        {1.0 / 3, "0.3333333333333333"},
        {5e-324, "4.94065645841247e-324"},
        {DBL_MAX, "1.7976931348623157e+308"},
        {INFINITY, "null"},
        {-INFINITY, "null"},
        {NAN, "null"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) assert_number(rows[i].value, rows[i].expected);
    moon__buf buf;
    moon__buf_init(&buf, 100);
    moon__buf_int(&buf, INT64_MIN);
    moon__buf_char(&buf, ' ');
    moon__buf_int(&buf, INT64_MAX);
    assert_string_equal(buf.p, "-9223372036854775808 9223372036854775807");
    moon__buf_fini(&buf);
}

static void test_buf__numbers_do_not_follow_the_locale(void **state) {
    (void)state;
    if (!setlocale(LC_NUMERIC, "de_DE.UTF-8") && !setlocale(LC_NUMERIC, "fr_FR.UTF-8")) skip();
    assert_number(0.5, "0.5");
    assert_number(-1.25e-30, "-1.25e-30");
    setlocale(LC_NUMERIC, "C");
}

static void test_buf__out_is_the_same(void **state) {
    (void)state;
    moon_out out;
    moon__buf_init(&out, 100);
    moon_out_add(&out, "abc", 2);
    moon_out_text(&out, ":");
    moon_out_quoted(&out, "x\n", SIZE_MAX);
    assert_string_equal(out.p, "ab:\"x\\n\"");
    moon__buf_fini(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_buf__grows_and_stays_terminated),
        cmocka_unit_test(test_buf__zeroed_has_no_room),
        cmocka_unit_test(test_buf__over_the_ceiling_is_dropped_whole_and_sticks),
        cmocka_unit_test(test_buf__printf_and_quoted_are_whole_or_nothing),
        cmocka_unit_test(test_buf__take),
        cmocka_unit_test(test_buf__quoted),
        cmocka_unit_test(test_buf__numbers),
        cmocka_unit_test(test_buf__numbers_do_not_follow_the_locale),
        cmocka_unit_test(test_buf__out_is_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
