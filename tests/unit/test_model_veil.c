/* SPDX-License-Identifier: MIT */
/* What is hidden in a text that is kept: secrets, and where the workspace lies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "veil.h"

#define DIGITS "0123456789abcdefghij"

typedef struct row {
    const char *label, *text, *expected;
} row;

static char *veiled(const moon__veil *veil, const char *text) {
    moon__buf out;
    moon__buf_init(&out, 1 << 20);
    moon__veil_text(veil, &out, text, strlen(text));
    assert_int_equal(out.status, MOON_OK);
    char *result = moon__buf_take(&out);
    assert_non_null(result);
    return result;
}

static void check(const moon__veil *veil, const row *rows, size_t n) {
    for (size_t i = 0; i < n; i++) {
        char *once = veiled(veil, rows[i].text), *twice = veiled(veil, once);
        if (strcmp(once, rows[i].expected) != 0) fail_msg("%s: %s", rows[i].label, once);
        if (strcmp(once, twice) != 0) fail_msg("%s, again: %s", rows[i].label, twice);
        free(once);
        free(twice);
    }
}

static void test_model_veil__forms_of_keys(void **state) {
    static const row rows[] = {
        {"a key", "sk-" DIGITS, "***"},
        {"in a text", "use sk-proj-" DIGITS " here", "use *** here"},
        {"in JSON", "{\"key\":\"ghp_" DIGITS "\"}", "{\"key\":\"***\"}"},
        {"after an escape", "a\\nsk-" DIGITS "\\nb", "a\\n***\\nb"},
        {"twice", "sk-" DIGITS ",AKIA0123456789ABCDEF", "***,***"},
        {"a bearer token", "Authorization: Bearer abc/" DIGITS "==", "Authorization: Bearer ***"},
        {"a web token", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dGhlc2lnbmF0dXJl!", "***!"},
        {"a private key", "x -----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY----- y", "x *** y"},
        {"a certificate", "-----BEGIN CERTIFICATE-----\nabc\n-----END CERTIFICATE-----",
         "-----BEGIN CERTIFICATE-----\nabc\n-----END CERTIFICATE-----"},
        {"a private key without an end", "-----BEGIN PRIVATE KEY-----\nabc", "-----BEGIN PRIVATE KEY-----\nabc"},
        {"a word that ends like it", "task-" DIGITS, "task-" DIGITS},
        {"words", "sk-learn-has-many-models-in-it", "sk-learn-has-many-models-in-it"},
        {"too short", "sk-0123", "sk-0123"},
        {"nothing", "", ""},
        {"a bearer of news", "Bearer of very-good-news-indeed", "Bearer of very-good-news-indeed"},
    };
    moon__veil veil;
    (void)state;
    assert_int_equal(moon__veil_init(&veil, NULL, NULL), MOON_OK);
    check(&veil, rows, sizeof rows / sizeof *rows);
    moon__veil_fini(&veil);
}

static void test_model_veil__values_of_the_environment(void **state) {
    static const row rows[] = {
        {"a value", "it is correct horse battery!", "it is ***!"},
        {"a longer one that begins like it", "hunter2hunter2-and-more", "***"},
        {"the shorter", "hunter2hunter2", "***"},
        {"a path is none", "/run/user/1000/agent.sock", "/run/user/1000/agent.sock"},
        {"a short one is none", "us", "us"},
        {"a name that is no secret", "plain-value-123", "plain-value-123"},
        {"one that was added", "office-key!", "***!"},
    };
    moon__veil veil;
    (void)state;
    setenv("TAPE_PASSWORD", "correct horse battery", 1);
    setenv("TAPE_TOKEN", "hunter2hunter2", 1);
    setenv("TAPE_SECRET", "hunter2hunter2-and-more", 1);
    setenv("TAPE_AUTH_SOCK", "/run/user/1000/agent.sock", 1);
    setenv("TAPE_KEYMAP", "us", 1);
    setenv("TAPE_PLAIN", "plain-value-123", 1);
    assert_int_equal(moon__veil_init(&veil, NULL, NULL), MOON_OK);
    assert_int_equal(moon__veil_add(&veil, "office-key"), MOON_OK);
    assert_int_equal(moon__veil_add(&veil, "it"), MOON_OK); /* too short */
    assert_int_equal(moon__veil_add(&veil, NULL), MOON_OK);
    check(&veil, rows, sizeof rows / sizeof *rows);
    moon__veil_fini(&veil);
}

static void test_model_veil__the_workspace(void **state) {
    static const row rows[] = {
        {"itself", "/srv/site", "@{workspace}"},
        {"a file in it", "see /srv/site/a.c:12", "see @{workspace}/a.c:12"},
        {"the end of a sentence", "in /srv/site.", "in @{workspace}."},
        {"in JSON", "{\"cwd\":\"/srv/site\"}", "{\"cwd\":\"@{workspace}\"}"},
        {"after an escape", "a\\n/srv/site/b", "a\\n@{workspace}/b"},
        {"a longer name", "/srv/siteshop /srv/site-2 /srv/site.old", "/srv/siteshop /srv/site-2 /srv/site.old"},
        {"the end of a longer path", "/mnt/srv/site", "/mnt/srv/site"},
    };
    moon__veil veil, there;
    moon__buf out;
    (void)state;
    assert_int_equal(moon__veil_init(&veil, "/srv/site", NULL), MOON_OK);
    assert_int_equal(moon__veil_init(&there, "/builds/7", NULL), MOON_OK);
    check(&veil, rows, sizeof rows / sizeof *rows);
    moon__buf_init(&out, 1024);
    static const char text[] = "cd @{workspace}/src && ls @{workspace}";
    moon__veil_lift(&there, &out, text, sizeof text - 1);
    assert_string_equal(out.p, "cd /builds/7/src && ls /builds/7");
    moon__buf_fini(&out);
    moon__veil_fini(&veil);
    moon__veil_fini(&there);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model_veil__forms_of_keys),
        cmocka_unit_test(test_model_veil__values_of_the_environment),
        cmocka_unit_test(test_model_veil__the_workspace),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
