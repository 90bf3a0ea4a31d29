/* SPDX-License-Identifier: MIT */
/* JSON: what is refused, what is repaired, what the getters give, and what is written. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "json.h"
#include "text.h"

/* Parses from a block of exactly the text's size, so that reading past its end is seen by a sanitizer. */
static moon_status parse(moon_json **out, const char *text, size_t n, unsigned flags, moon_error *error) {
    char *exact = malloc(n + (n == 0));
    memcpy(exact, text, n);
    moon_status status = moon__json_parse(out, exact, n, flags, error);
    if (!flags) assert_int_equal(moon__json_check(exact, n, NULL), status);
    free(exact);
    return status;
}

static moon_json *must_parse(const char *text) {
    moon_error error = {0};
    moon_json *json = NULL;
    if (parse(&json, text, strlen(text), 0, &error)) fail_msg("%s: %s", text, error.text);
    return json;
}

static void assert_prints(const moon_json *json, const char *expected) {
    moon__buf buf;
    moon__buf_init(&buf, 10000);
    moon__json_print(&buf, json);
    assert_string_equal(buf.p, expected);
    moon__buf_fini(&buf);
}

static void test_json__takes_and_prints(void **state) {
    (void)state;
    static const struct {
        const char *text, *printed;
    } rows[] = {
        {"null", "null"},
        {" true\t\r\n", "true"},
        {"false", "false"},
        {"0", "0"},
        {"-0", "0"},
        {"-12.50e-1", "-1.25"},
        {"1E+2", "100"},
        {"1.7976931348623157e308", "1.7976931348623157e+308"},
        {"0.00000179769313486231570e+314", "1.7976931348623157e+308"},
        {"1e-400", "0"},
        {"0e999999999999", "0"},
        {"9007199254740992", "9007199254740992"},
        {"\"\"", "\"\""},
        {"\"a\\u0041\\n\\/\\u00e9\"", "\"aA\\n/é\""},
        {"\"\\ud83d\\ude00\"", "\"\xF0\x9F\x98\x80\""},
        {"\"\x7F\"", "\"\x7F\""},
        {"[]", "[]"},
        {"[ 1 , [ ] , { } ]", "[1,[],{}]"},
        {"{ \"a\" : 1 , \"\" : [ 2 ] }", "{\"a\":1,\"\":[2]}"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        moon_json *json = must_parse(rows[i].text);
        assert_prints(json, rows[i].printed);
        moon__json_free(json);
    }
}

static void test_json__refuses(void **state) {
    (void)state;
    static const struct {
        const char *text, *error; /* the error contains this */
    } rows[] = {
        {"", "expected a value at byte 0, where the text ends"},
        {"  ", "at byte 2"},
        {"{} x", "unexpected text after the value at byte 3, got 'x'"},
        {"1 2", "unexpected text after the value"},
        {"\xEF\xBB\xBF{}", "expected a value at byte 0, got 0xEF"},
        {"nul", "expected a value"},
        {"True", "expected a value"},
        {"NaN", "expected a value"},
        {"-", "expected a digit at byte 1"},
        {"+1", "expected a value"},
        {"01", "must not begin with 0"},
        {"-01", "must not begin with 0"},
        {"1.", "expected a digit at byte 2"},
        {".5", "expected a value"},
        {"1e", "expected a digit"},
        {"1e+", "expected a digit"},
        {"0x10", "unexpected text"},
        {"1e400", "a number over 1.79"},
        {"-1e309", "a number over 1.79"},
        {"1.7976931348623159e308", "a number over 1.79"},
        {"17976931348623159e292", "a number over 1.79"},
        {"1e99999999999999999999", "a number over 1.79"},
        {"1000000000000000000000000000000000000000000000000000000000000000", "over 63 characters"},
        {"[1,]", "expected a value at byte 3, got ']'"},
        {"[1 2]", "expected ',' or ']' at byte 3, got '2'"},
        {"[1", "expected ',' or ']' at byte 2, where the text ends"},
        {"[", "expected a value at byte 1"},
        {"{\"a\":1,}", "expected a name in quotes"},
        {"{a:1}", "expected a name in quotes"},
        {"{\"a\" 1}", "expected ':'"},
        {"{\"a\":}", "expected a value"},
        {"{\"a\":1", "expected ',' or '}'"},
        {"{\"a\":1 \"b\":2}", "expected ',' or '}'"},
        {"\"abc", "the text ends within a string"},
        {"\"abc\\", "the text ends within a string"},
        {"\"a\nb\"", "must be escaped at byte 2, got 0x0A"},
        {"\"\\x41\"", "unknown escape"},
        {"\"\\u12g4\"", "without four hexadecimal digits"},
        {"\"\\u12", "without four hexadecimal digits"},
        {"\"\\u0000\"", "\\u0000"},
        {"\"\\ud800\"", "half of a surrogate pair"},
        {"\"\\ud800\\u0041\"", "half of a surrogate pair"},
        {"\"\\udc00\\ud800\"", "half of a surrogate pair"},
        {"\"caf\xE9\"", "not UTF-8 at byte 4, got 0xE9"},
        {"\"\xED\xA0\x80\"", "not UTF-8"},
        {"\"\xC0\x80\"", "not UTF-8"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        moon_error error = {0};
        moon_json *json = (moon_json *)&error;
        assert_int_equal(parse(&json, rows[i].text, strlen(rows[i].text), 0, &error), MOON_EPARSE);
        assert_null(json);
        if (!strstr(error.text, rows[i].error)) fail_msg("%s: %s", rows[i].text, error.text);
    }
    moon_json *json;
    assert_int_equal(parse(&json, "\"a\0b\"", 5, 0, NULL), MOON_EPARSE);
    assert_int_equal(parse(&json, "1\0", 2, 0, NULL), MOON_EPARSE);
}

static void test_json__every_prefix_is_refused(void **state) {
    (void)state;
    const char *text = "{\"a\":[1.5e3,true,null,\"x\\u00e9\\ud83d\\ude00\xE2\x82\xAC\"],\"b\":{\"c\":-0}}";
    moon_json *json;
    for (size_t n = 0; n < strlen(text); n++) assert_int_equal(parse(&json, text, n, 0, NULL), MOON_EPARSE);
    moon__json_free(must_parse(text));
}

static void test_json__repairs_only_when_asked(void **state) {
    (void)state;
    static const struct {
        const char *text, *printed; /* NULL: still refused */
    } rows[] = {
        {"\"caf\xE9\"", "\"caf\xEF\xBF\xBD\""},
        {"\"\\u0000x\"", "\"\xEF\xBF\xBDx\""},
        {"\"\\ud800\\n\\udc00\"", "\"\xEF\xBF\xBD\\n\xEF\xBF\xBD\""},
        {"\"\\ud83d\\ude00\\\\u0000\"", "\"\xF0\x9F\x98\x80\\\\u0000\""},
        {"{\"a\xFF\":1,\"a\xFE\":2}", "{\"a\xEF\xBF\xBD\":1}"}, /* one name now, so the first */
        {"[1,2]", "[1,2]"},
        {"[\xE9]", NULL},
        {"\"\x01\"", NULL},
        {"\"\xE9", NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        moon_json *json;
        moon_status status = parse(&json, rows[i].text, strlen(rows[i].text), MOON__JSON_REPAIR, NULL);
        assert_int_equal(status, rows[i].printed ? MOON_OK : MOON_EPARSE);
        if (!rows[i].printed) continue;
        assert_prints(json, rows[i].printed);
        moon__json_free(json);
    }
}

static char *nested(size_t depth, char open, char close) {
    char *text = malloc(2 * depth + 1);
    memset(text, open, depth);
    memset(text + depth, close, depth);
    text[2 * depth] = '\0';
    return text;
}

static void test_json__depth_is_bounded(void **state) {
    (void)state;
    moon_error error;
    moon_json *json;
    char *text = nested(MOON__JSON_DEPTH, '[', ']');
    moon__json_free(must_parse(text));
    free(text);
    text = nested(MOON__JSON_DEPTH + 1, '[', ']');
    assert_int_equal(parse(&json, text, strlen(text), 0, &error), MOON_EPARSE);
    assert_non_null(strstr(error.text, "nested too deep"));
    free(text);
    text = nested(1000000, '[', ']'); /* nor is the stack */
    assert_int_equal(parse(&json, text, strlen(text), 0, &error), MOON_EPARSE);
    free(text);
}

static void test_json__first_of_a_name_counts_for_every_reader(void **state) {
    (void)state;
    static const struct {
        const char *text, *printed;
    } rows[] = {
        {"{\"a\":1,\"b\":2,\"a\":3}", "{\"a\":1,\"b\":2}"},
        {"{\"a\":1,\"\\u0061\":3}", "{\"a\":1}"},
        {"[{\"x\":{\"a\":1,\"a\":{\"a\":1}}}]", "[{\"x\":{\"a\":1}}]"},
        {"{\"a\":1,\"A\":2}", "{\"a\":1,\"A\":2}"},
        {"{\"same_start_1\":1,\"same_start_2\":2,\"same_start_1\":3}", "{\"same_start_1\":1,\"same_start_2\":2}"},
        {"{\"\":1,\"\":2}", "{\"\":1}"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        moon_json *json = must_parse(rows[i].text);
        assert_prints(json, rows[i].printed);
        moon__json_free(json);
    }
}

static void test_json__many_members_of_few_names(void **state) {
    (void)state;
    enum { MEMBERS = 50000, NAMES = 40 };
    moon__buf text;
    moon__buf_init(&text, 1 << 20);
    for (int i = 0; i < MEMBERS; i++) moon__buf_printf(&text, "%c\"n%d\":%d", i ? ',' : '{', i % NAMES, i);
    moon__buf_char(&text, '}');
    moon_json *json = must_parse(text.p);
    assert_int_equal(moon_json_size(json), NAMES);
    int64_t expected = 0, value = -1;
    for (const moon_json *m = moon_json_first(json); m; m = moon_json_next(m), expected++) {
        assert_true(moon_json_int(m, &value));
        assert_int_equal(value, expected);
    }
    moon__json_free(json);
    moon__buf_fini(&text);
}

static void test_json__getters(void **state) {
    (void)state;
    moon_json *json = must_parse("{\"Name\":\"moon\",\"name\":null,\"list\":[1,true],\"in\":{\"x\":2.5}}");
    size_t n = 0;
    double number = 0;
    bool flag = false;
    assert_string_equal(moon_json_str(moon_json_get(json, "Name"), &n), "moon");
    assert_int_equal(n, 4);
    assert_int_equal(moon_json_type(moon_json_get(json, "name")), MOON_JSON_NULL);
    assert_null(moon_json_get(json, "NAME"));
    assert_null(moon_json_get(json, NULL));
    assert_true(moon_json_num(moon_json_get(moon_json_get(json, "in"), "x"), &number));
    assert_true(number == 2.5);
    const moon_json *list = moon_json_get(json, "list");
    assert_int_equal(moon_json_size(list), 2);
    assert_null(moon_json_get(list, "0"));
    assert_null(moon_json_name(moon_json_first(list)));
    assert_string_equal(moon_json_name(list), "list");
    assert_true(moon_json_bool(moon_json_next(moon_json_first(list)), &flag) && flag);
    assert_null(moon_json_next(moon_json_next(moon_json_first(list))));
    assert_int_equal(moon_json_size(json), 4);
    moon__json_free(json);
}

static void test_json__absent_values_chain(void **state) {
    (void)state;
    int64_t integer = 7;
    double number = 7;
    bool flag = true;
    assert_int_equal(moon_json_type(NULL), MOON_JSON_ABSENT);
    assert_null(moon_json_get(moon_json_get(NULL, "a"), "b"));
    assert_null(moon_json_str(NULL, NULL));
    assert_null(moon_json_first(NULL));
    assert_null(moon_json_next(NULL));
    assert_null(moon_json_name(NULL));
    assert_int_equal(moon_json_size(NULL), 0);
    assert_false(moon_json_int(NULL, &integer) || moon_json_num(NULL, &number) || moon_json_bool(NULL, &flag));
    assert_true(integer == 7 && number == 7 && flag);
    moon__json_free(NULL);
}

static void test_json__integers_are_exact_or_refused(void **state) {
    (void)state;
    static const struct {
        const char *text;
        bool is_int;
        int64_t value;
    } rows[] = {
        {"0", true, 0},
        {"-5", true, -5},
        {"2.0", true, 2},
        {"1e3", true, 1000},
        {"9007199254740992", true, INT64_C(9007199254740992)},
        {"-9007199254740992", true, -INT64_C(9007199254740992)},
        {"9007199254740994", false, 0},
        {"1e300", false, 0},
        {"1.5", false, 0},
        {"-0.0001", false, 0},
        {"\"5\"", false, 0},
        {"true", false, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int64_t value = 77;
        moon_json *json = must_parse(rows[i].text);
        assert_int_equal(moon_json_int(json, &value), rows[i].is_int);
        assert_int_equal(value, rows[i].is_int ? rows[i].value : 77);
        moon__json_free(json);
    }
}

static void test_json__canonical_text_sorts_names(void **state) {
    (void)state;
    moon_json *json = must_parse("{\"b\":[{\"z\":1,\"a\":2}],\"B\":1.0,\"a\":\"x\"}");
    moon__buf buf;
    moon__buf_init(&buf, 1000);
    moon__json_print_canonical(&buf, json);
    assert_string_equal(buf.p, "{\"B\":1,\"a\":\"x\",\"b\":[{\"a\":2,\"z\":1}]}");
    moon__buf_fini(&buf);
    moon__buf_init(&buf, 10);
    moon__buf_str(&buf, "x");
    moon__json_print_canonical(&buf, json); /* does not fit: nothing of it stays */
    assert_int_equal(buf.status, MOON_ELIMIT);
    assert_string_equal(buf.p, "x");
    moon__buf_fini(&buf);
    moon__json_free(json);
}

static void test_json__lines_down_to_a_level(void **state) {
    (void)state;
    moon_json *json = must_parse("{\"b\":[1,{\"z\":[],\"y\":[2,3]}],\"a\":{},\"c\":\"x\"}");
    static const char *const expected[] = {
        "{\"b\":[1,{\"z\":[],\"y\":[2,3]}],\"a\":{},\"c\":\"x\"}",
        "{\n  \"b\": [1,{\"z\":[],\"y\":[2,3]}],\n  \"a\": {},\n  \"c\": \"x\"\n}",
        "{\n  \"b\": [\n    1,\n    {\"z\":[],\"y\":[2,3]}\n  ],\n  \"a\": {},\n  \"c\": \"x\"\n}",
    };
    moon__buf buf;
    for (unsigned levels = 0; levels < 3; levels++) {
        moon__buf_init(&buf, 1000);
        moon__json_print_lines(&buf, json, levels);
        assert_string_equal(buf.p, expected[levels]);
        moon__buf_fini(&buf);
    }
    moon__buf_init(&buf, 10);
    moon__buf_str(&buf, "x");
    moon__json_print_lines(&buf, json, 2); /* does not fit: nothing of it stays */
    assert_int_equal(buf.status, MOON_ELIMIT);
    assert_string_equal(buf.p, "x");
    moon__buf_fini(&buf);
    moon__json_free(json);
}

static void test_json__numbers_survive_a_round_trip(void **state) {
    (void)state;
    uint64_t bits = UINT64_C(0x123456789ABCDEF);
    for (int i = 0; i < 20000; i++) {
        bits = bits * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        double value, back = 0;
        memcpy(&value, &bits, sizeof value);
        if (!isfinite(value)) continue;
        moon__buf text;
        moon__buf_init(&text, 100);
        moon__buf_num(&text, value);
        moon_json *json = must_parse(text.p);
        assert_true(moon_json_num(json, &back));
        assert_true(back == value);
        moon__json_free(json);
        moon__buf_fini(&text);
    }
}

static void test_jw__commas_and_nesting(void **state) {
    (void)state;
    moon__buf buf;
    moon__jw w;
    moon__buf_init(&buf, 1000);
    moon__jw_init(&w, &buf);
    moon__jw_object(&w, NULL);
    moon__jw_str(&w, "s", "a\"b", SIZE_MAX);
    moon__jw_array(&w, "l");
    moon__jw_int(&w, NULL, -1);
    moon__jw_num(&w, NULL, 0.5);
    moon__jw_array(&w, NULL);
    moon__jw_end(&w);
    moon__jw_object(&w, NULL);
    moon__jw_bool(&w, "b", true);
    moon__jw_null(&w, "n");
    moon__jw_end(&w);
    moon__jw_raw(&w, NULL, "{\"r\":1}", SIZE_MAX);
    moon__jw_end(&w);
    moon__jw_str(&w, "null", NULL, SIZE_MAX);
    moon__jw_end(&w);
    assert_string_equal(buf.p, "{\"s\":\"a\\\"b\",\"l\":[-1,0.5,[],{\"b\":true,\"n\":null},{\"r\":1}],\"null\":\"\"}");
    assert_int_equal(buf.status, MOON_OK);
    moon__json_free(must_parse(buf.p));
    moon__buf_fini(&buf);
}

static void misuse_name_in_array(moon__jw *w) {
    moon__jw_array(w, NULL);
    moon__jw_int(w, "x", 1);
}

static void misuse_no_name(moon__jw *w) {
    moon__jw_object(w, NULL);
    moon__jw_int(w, NULL, 1);
}

static void misuse_two_values(moon__jw *w) {
    moon__jw_int(w, NULL, 1);
    moon__jw_int(w, NULL, 2);
}

static void misuse_end(moon__jw *w) {
    moon__jw_end(w);
}

static void misuse_depth(moon__jw *w) {
    for (int i = 0; i < 100; i++) moon__jw_array(w, NULL);
    for (int i = 0; i < 100; i++) moon__jw_end(w);
}

static void test_jw__misuse_sticks(void **state) {
    (void)state;
    static const struct {
        void (*fn)(moon__jw *w);
        moon_status status;
    } rows[] = {
        {misuse_name_in_array, MOON_EINVAL}, {misuse_no_name, MOON_EINVAL}, {misuse_two_values, MOON_EINVAL},
        {misuse_end, MOON_EINVAL},           {misuse_depth, MOON_ELIMIT},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        moon__buf buf;
        moon__jw w;
        moon__buf_init(&buf, 1000);
        moon__jw_init(&w, &buf);
        rows[i].fn(&w);
        assert_int_equal(buf.status, rows[i].status);
        moon__buf_fini(&buf);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json__takes_and_prints),
        cmocka_unit_test(test_json__refuses),
        cmocka_unit_test(test_json__every_prefix_is_refused),
        cmocka_unit_test(test_json__repairs_only_when_asked),
        cmocka_unit_test(test_json__depth_is_bounded),
        cmocka_unit_test(test_json__first_of_a_name_counts_for_every_reader),
        cmocka_unit_test(test_json__many_members_of_few_names),
        cmocka_unit_test(test_json__getters),
        cmocka_unit_test(test_json__absent_values_chain),
        cmocka_unit_test(test_json__integers_are_exact_or_refused),
        cmocka_unit_test(test_json__canonical_text_sorts_names),
        cmocka_unit_test(test_json__lines_down_to_a_level),
        cmocka_unit_test(test_json__numbers_survive_a_round_trip),
        cmocka_unit_test(test_jw__commas_and_nesting),
        cmocka_unit_test(test_jw__misuse_sticks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
