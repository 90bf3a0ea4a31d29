/* SPDX-License-Identifier: MIT */
/* When to ask again, and what is shown of what a server said. */
#include "model_kit.h"

static void test_failure__plain_text(void **state) {
    (void)state;
    static const struct {
        const char *text, *expected;
    } rows[] = {
        {"plain", "plain"},
        {"  a\n\n b\t", "a b"},
        {"a\x1b[31mb\x07", "a[31mb"},
        {"\xc3\xbc\xff\xc2\x9b"
         "x\xe2\x82",
         "\xc3\xbcx"},
        {"", ""},
        {"0123456789abcdef", "0123456789a"},  /* cut to the room of 12 */
        {"0123456789\xc3\xbc", "0123456789"}, /* not within a character */
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char out[12];
        moon__plain(out, sizeof out, rows[i].text, strlen(rows[i].text));
        assert_string_equal(out, rows[i].expected);
    }
}

static void test_failure__key_is_hidden(void **state) {
    (void)state;
    static const struct {
        const char *text, *key, *expected;
    } rows[] = {
        {"bad sk-123456, sk-123456!", "sk-123456", "bad ***, ***!"},
        {"cut sk-1234", "sk-123456", "cut ***"},
        {"cut sk-1", "sk-123456", "cut sk-1"},
        {"short abc", "abc", "short abc"},
        {"none", NULL, "none"},
        {"sk-123456", "sk-123456", "***"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[64];
        strcpy(text, rows[i].text);
        moon__hide_key(text, rows[i].key);
        assert_string_equal(text, rows[i].expected);
    }
}

static void test_failure__retry_headers(void **state) {
    (void)state;
    static const int64_t now = 784111777LL * 1000000; /* Sun, 06 Nov 1994 08:49:37 GMT */
    static const struct {
        const char *name, *value;
        int64_t wait_ms;
    } rows[] = {
        {"retry-after", "2", 2000},
        {"retry-after", "0", 0},
        {"retry-after", "1.25", 1250},
        {"retry-after", "3600", 3600000},
        {"retry-after", "99999999999999999999", (int64_t)INT32_MAX * 1000},
        {"retry-after", "-1", -1},
        {"retry-after", "soon", -1},
        {"retry-after", "", -1},
        {"retry-after", "2s", -1},
        {"retry-after", "Sun, 06 Nov 1994 08:49:47 GMT", 10000},
        {"retry-after", "Sun, 06 Nov 1994 08:49:27 GMT", -1}, /* it is past */
        {"retry-after", "Sun, 06 Xov 1994 08:49:47 GMT", -1},
        {"retry-after", "Sun, 06 anF 1994 08:49:47 GMT", -1},
        {"retry-after-ms", "1500", 1500},
        {"retry-after-ms", "1500.7", 1500},
        {"retry-after-ms", "x", -1},
        {"content-type", "5", -1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        moon__hints hints;
        moon__hints_init(&hints);
        moon__hints_header(&hints, rows[i].name, rows[i].value, now);
        if (moon__hints_wait_ms(&hints) != rows[i].wait_ms)
            fail_msg("%s: %s gave %lld", rows[i].name, rows[i].value, (long long)moon__hints_wait_ms(&hints));
    }
}

static void test_failure__milliseconds_before_seconds(void **state) {
    (void)state;
    for (int order = 0; order < 2; order++) {
        moon__hints hints;
        moon__hints_init(&hints);
        moon__hints_header(&hints, order ? "retry-after" : "retry-after-ms", order ? "9" : "700", 0);
        moon__hints_header(&hints, order ? "retry-after-ms" : "retry-after", order ? "700" : "9", 0);
        assert_int_equal(moon__hints_wait_ms(&hints), 700);
    }
}

static void test_failure__should_retry(void **state) {
    (void)state;
    moon__hints hints;
    moon__hints_init(&hints);
    assert_int_equal(hints.should, -1);
    moon__hints_header(&hints, "x-should-retry", "TRUE", 0);
    assert_int_equal(hints.should, 1);
    moon__hints_header(&hints, "x-should-retry", "false", 0);
    assert_int_equal(hints.should, 0);
    moon__hints_header(&hints, "x-should-retry", "maybe", 0);
    assert_int_equal(hints.should, 0);
}

static void test_failure__statuses_that_pass(void **state) {
    (void)state;
    static const int pass[] = {408, 409, 429, 500, 502, 503, 504, 529},
                     stay[] = {0, 200, 301, 400, 401, 402, 403, 404, 413, 422, 600};
    for (size_t i = 0; i < sizeof pass / sizeof *pass; i++) assert_true(moon__status_passes(pass[i]));
    for (size_t i = 0; i < sizeof stay / sizeof *stay; i++) assert_false(moon__status_passes(stay[i]));
}

static void test_failure__backoff_doubles_to_eight_seconds(void **state) {
    (void)state;
    static const int64_t full[] = {500, 1000, 2000, 4000, 8000, 8000, 8000};
    moon__random random;
    moon__random_init(&random, 42);
    for (int attempt = 0; attempt < 7; attempt++) {
        int64_t least = INT64_MAX, most = 0;
        for (int i = 0; i < 500; i++) {
            int64_t wait = moon__backoff_ms(attempt, &random);
            if (wait < least) least = wait;
            if (wait > most) most = wait;
        }
        assert_in_range(most, full[attempt] * 99 / 100, full[attempt]);
        assert_in_range(least, full[attempt] * 3 / 4, full[attempt] * 76 / 100);
    }
}

static void test_failure__missing_key_is_named(void **state) {
    (void)state;
    moon__asked asked = {.url = "http://h/v1", .model = "m", .key_name = "SOME_KEY"};
    moon_error error;
    moon__http_failure(&error, &asked, 401, "", false);
    assert_string_equal(error.text, "http://h/v1 wants a key (HTTP 401): set SOME_KEY");
    asked.key_name = NULL;
    moon__http_failure(&error, &asked, 401, "who?", true);
    assert_non_null(strstr(error.text, "key_env"));
    asked.key = "abcdefgh";
    moon__http_failure(&error, &asked, 401, "", true);
    assert_string_equal(error.text, "http://h/v1 refused the key (HTTP 401)");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_failure__plain_text),
        cmocka_unit_test(test_failure__key_is_hidden),
        cmocka_unit_test(test_failure__retry_headers),
        cmocka_unit_test(test_failure__milliseconds_before_seconds),
        cmocka_unit_test(test_failure__should_retry),
        cmocka_unit_test(test_failure__statuses_that_pass),
        cmocka_unit_test(test_failure__backoff_doubles_to_eight_seconds),
        cmocka_unit_test(test_failure__missing_key_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
