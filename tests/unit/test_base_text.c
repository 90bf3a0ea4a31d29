/* SPDX-License-Identifier: MIT */
/* UTF-8, text for terminals, "did you mean" and globs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "text.h"

static void test_utf8__valid_prefix(void **state) {
    (void)state;
    static const struct {
        const char *label, *text;
        size_t valid;
    } rows[] = {
        {"ASCII", "hello, long enough for two words", 32},
        {"two bytes", "\xC2\x80", 2},
        {"three bytes", "\xE0\xA0\x80", 3},
        {"the last before the surrogates", "\xED\x9F\xBF", 3},
        {"four bytes", "\xF4\x8F\xBF\xBF", 4},
        {"past U+10FFFF", "\xF4\x90\x80\x80", 0},
        {"a surrogate", "ab\xED\xA0\x80", 2},
        {"overlong /", "\xC0\xAF", 0},
        {"overlong in three", "\xE0\x9F\xBF", 0},
        {"overlong in four", "\xF0\x8F\xBF\xBF", 0},
        {"a lone continuation", "abcdefgh\x80", 8},
        {"cut", "abc\xE2\x82", 3},
        {"continuation missing", "\xE2\x82x", 0},
        {"0xFF", "\xFF", 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        size_t n = strlen(rows[i].text);
        if (moon__utf8_valid(rows[i].text, n) != rows[i].valid) fail_msg("%s", rows[i].label);
    }
    assert_int_equal(moon__utf8_valid("a\0b", 3), 3);
}

static void test_utf8__repair_replaces_each_byte(void **state) {
    (void)state;
    moon__buf buf;
    moon__buf_init(&buf, 100);
    moon__utf8_repair(&buf, "a\xFF\xE2\x82z\xC3\xA9\xC3", 8);
    assert_string_equal(buf.p, "a\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBDzé\xEF\xBF\xBD");
    moon__buf_fini(&buf);
}

static void test_text__repair_replaces_nul_too(void **state) {
    (void)state;
    static const struct {
        const char *label, *text, *expected;
        size_t n;
    } rows[] = {
        {"sound", "grüße\x01", "grüße\x01", 8},
        {"empty", "", "", 0},
        {"NULs", "\0a\0\0b\0",
         "\xEF\xBF\xBD"
         "a\xEF\xBF\xBD\xEF\xBF\xBD"
         "b\xEF\xBF\xBD",
         6},
        {"a NUL within a code point", "\xC3\0\xBC", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD", 3},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        moon__buf buf;
        moon__buf_init(&buf, 100);
        moon__text_repair(&buf, rows[i].text, rows[i].n);
        if (strcmp(buf.p ? buf.p : "", rows[i].expected) != 0) fail_msg("%s: %s", rows[i].label, buf.p);
        assert_int_equal(moon__text_sound(rows[i].text, rows[i].n), i < 2);
        moon__buf_fini(&buf);
    }
}

static void test_utf8__floor_splits_no_code_point(void **state) {
    (void)state;
    const char *text = "aé€\xF0\x9F\x98\x80z"; /* 1 + 2 + 3 + 4 + 1 bytes */
    static const size_t expected[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 11};
    for (size_t n = 0; n < sizeof expected / sizeof *expected; n++)
        assert_int_equal(moon__utf8_floor(text, n), expected[n]);
    assert_int_equal(moon__utf8_floor("\x80\x80\x80\x80\x80\x80", 6), 6); /* none to split */
}

static void test_term__only_harmless_text_gets_through(void **state) {
    (void)state;
    static const struct {
        const char *label, *text, *expected;
    } rows[] = {
        {"plain", "grüße, 世界\n\tok", "grüße, 世界\n\tok"},
        {"escape sequence", "\x1b[31mred", "<U+001B>[31mred"},
        {"bell, backspace, DEL", "\a\b\x7f", "<U+0007><U+0008><U+007F>"},
        {"C1 as UTF-8", "\xC2\x9B", "<U+009B>"},
        {"C1 as a byte", "\x9B", "<0x9B>"},
        {"Latin-1", "caf\xE9", "caf<0xE9>"},
        {"CR", "a\rb\r\nc\r", "a\nb\nc\n"},
        {"bidi override", "\xE2\x80\xAE", "<U+202E>"},
        {"zero width", "\xE2\x80\x8B\xEF\xBB\xBF", "<U+200B><U+FEFF>"},
        {"tag characters", "\xF3\xA0\x81\x81", "<U+E0041>"},
        {"line separator", "\xE2\x80\xA8", "<U+2028>"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        moon__buf buf;
        moon__buf_init(&buf, 100);
        moon__term_safe(&buf, rows[i].text, strlen(rows[i].text));
        if (strcmp(buf.p, rows[i].expected) != 0) fail_msg("%s: %s", rows[i].label, buf.p);
        moon__buf_fini(&buf);
    }
}

static void test_term_safe__json_means_the_same(void **state) {
    (void)state;
    static const struct {
        const char *label, *text, *expected;
    } rows[] = {
        {"nothing to do", "{\"a\":[1,\"caf\xC3\xA9\\n\"]}\n", "{\"a\":[1,\"caf\xC3\xA9\\n\"]}\n"},
        {"DEL, C1 and bidi", "\"\x7F\xC2\x9B\xE2\x80\xAE\"", "\"\\u007f\\u009b\\u202e\""},
        {"a pair of surrogates", "\"\xF3\xA0\x80\x81\"", "\"\\udb40\\udc01\""},
        {"no UTF-8", "\"\x9B\"", "\"\\ufffd\""},
        {"empty", "", ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        moon__buf buf;
        moon__buf_init(&buf, 100);
        moon__term_safe_json(&buf, rows[i].text, strlen(rows[i].text));
        if (strcmp(buf.p ? buf.p : "", rows[i].expected) != 0) fail_msg("%s: %s", rows[i].label, buf.p);
        moon__buf_fini(&buf);
    }
}

static void test_nearest__distance(void **state) {
    (void)state;
    assert_int_equal(moon__edit_distance("", ""), 0);
    assert_int_equal(moon__edit_distance("", "abc"), 3);
    assert_int_equal(moon__edit_distance("kitten", "sitting"), 3);
    assert_int_equal(moon__edit_distance("paht", "path"), 1);
    assert_int_equal(moon__edit_distance("ab", "ba"), 1);
    assert_int_equal(moon__edit_distance("same", "same"), 0);
    char a[100], b[100];
    memset(a, 'a', 99);
    memset(b, 'b', 99);
    a[99] = b[99] = '\0';
    assert_int_equal(moon__edit_distance(a, b), 32);
}

static void test_nearest__name(void **state) {
    (void)state;
    const char *names[] = {"path", "pattern", "limit", "instructions", NULL}, *none[] = {NULL};
    assert_string_equal(moon__nearest("pth", names), "path");
    assert_string_equal(moon__nearest("lmit", names), "limit");
    assert_string_equal(moon__nearest("instuctoins", names), "instructions");
    assert_null(moon__nearest("output", names));
    assert_null(moon__nearest("x", names));
    assert_null(moon__nearest("path", none));
}

static void test_text__copies(void **state) {
    (void)state;
    assert_null(moon__strdup(NULL));
    assert_null(moon__strndup(NULL, 3));
    char *copy = moon__strndup("abcdef", 3);
    assert_string_equal(copy, "abc");
    free(copy);
    copy = moon__strndup("a\0b\0cd", 5); /* as long as it says, whatever is in it */
    assert_memory_equal(copy, "a\0b\0c", 6);
    free(copy);
    copy = moon__strndup("", 0);
    assert_string_equal(copy, "");
    free(copy);
}

static void test_glob__table(void **state) {
    (void)state;
    static const struct {
        const char *glob, *path;
        bool matches;
    } rows[] = {
        {"*.c", "main.c", true},
        {"*.c", "src/deep/main.c", true}, /* no slash: the last segment */
        {"*.c", "main.cc", false},
        {"src/*.c", "src/a.c", true},
        {"src/*.c", "src/x/a.c", false},
        {"src/**/*.c", "src/a.c", true},
        {"src/**/*.c", "src/x/y/a.c", true},
        {"src/**/*.c", "lib/x/a.c", false},
        {"src/**", "src/a/b", true},
        {"src/**", "src", false},
        {"**/test/*", "test/a", true},
        {"**/test/*", "x/y/test/a", true},
        {"**/test/*", "x/ytest/a", false},
        {"**/a/**/b", "a/b", true},
        {"**/a/**/b", "x/a/c/a/d/b", true},
        {"**/a*/b*c", "x/ay/bzz/ab/bxc", true},
        {"a/**b/c", "a/x/yb/c", true},
        {"/top.txt", "top.txt", true},
        {"/top.txt", "x/top.txt", false},
        {"?.c", "a.c", true},
        {"?.c", "é.c", true}, /* a character, not a byte */
        {"a?b",
         "a\xE9"
         "b",
         true}, /* Latin-1 */
        {"x/?", "x/", false},
        {"a/?b", "a//b", false},
        {"[a-c].h", "b.h", true},
        {"[!a-c].h", "b.h", false},
        {"[!a-c].h", "z.h", true},
        {"[]x].h", "].h", true},
        {"[à-é]", "ç", true},
        {"[a-", "[a-", true}, /* never closed: itself */
        {"[\\]]", "]", true},
        {"x[/]y", "x/y", false},
        {"*.{c,h}", "a.h", true},
        {"*.{c,h}", "a.o", false},
        {"{src,lib/{x,y}}/*.c", "lib/y/a.c", true},
        {"{src,lib/{x,y}}/*.c", "lib/z/a.c", false},
        {"a{,b}", "a", true},
        {"a{b", "a{b", true},
        {"a{b{c,d}", "a{bd", true},
        {"\\*.c", "*.c", true},
        {"\\*.c", "a.c", false},
        {"\\{a,b\\}", "{a,b}", true},
        {"", "", true},
        {"", "a", false},
        {"*", "", true},
        {"**", "a/b/c", true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (moon__glob_match(rows[i].glob, rows[i].path) != rows[i].matches)
            fail_msg("%s on %s", rows[i].glob, rows[i].path);
}

/* Each would take ages by plain backtracking; the limit is generous, for a machine under load and sanitizers. */
static void test_glob__hostile_patterns_end_soon(void **state) {
    (void)state;
    char path[2001], glob[2001];
    memset(path, 'a', 2000);
    path[2000] = '\0';
    struct timespec before, after;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &before);
    glob[0] = '\0';
    for (int i = 0; i < 300; i++) strcat(glob, "*a");
    assert_false(moon__glob_match(strcat(glob, "b"), path));
    glob[0] = '\0';
    for (int i = 0; i < 150; i++) strcat(glob, "**/*a");
    assert_false(moon__glob_match(strcat(glob, "b"), path));
    glob[0] = '\0';
    for (int i = 0; i < 100; i++) strcat(glob, "{a,b}*");
    assert_false(moon__glob_match(strcat(glob, "c"), path));
    memset(glob, '{', 1000);
    glob[1000] = '\0';
    assert_false(moon__glob_match(glob, path));
    memset(glob, '*', 2000);
    glob[2000] = '\0';
    assert_false(moon__glob_match(glob, path)); /* over the longest pattern */
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &after);
    assert_in_range(after.tv_sec - before.tv_sec, 0, 5);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_utf8__valid_prefix),
        cmocka_unit_test(test_utf8__repair_replaces_each_byte),
        cmocka_unit_test(test_text__repair_replaces_nul_too),
        cmocka_unit_test(test_utf8__floor_splits_no_code_point),
        cmocka_unit_test(test_term__only_harmless_text_gets_through),
        cmocka_unit_test(test_term_safe__json_means_the_same),
        cmocka_unit_test(test_nearest__distance),
        cmocka_unit_test(test_nearest__name),
        cmocka_unit_test(test_text__copies),
        cmocka_unit_test(test_glob__table),
        cmocka_unit_test(test_glob__hostile_patterns_end_soon),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
