/* SPDX-License-Identifier: MIT */
/* What a journal holds, found by place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "replay.h"

static moon__replay *replay;
static uint64_t last_seq;

static int set_up(void **state) {
    (void)state;
    replay = moon__replay_new();
    last_seq = 0;
    return replay == NULL;
}

static int tear_down(void **state) {
    (void)state;
    moon__replay_free(replay);
    return 0;
}

static void add(moon_event_type type, const char *path, const char *key, const char *body) {
    last_seq++;
    const moon_record record = {.seq = last_seq,
                                .type = type,
                                .time_us = 1000 + (int64_t)last_seq,
                                .path = path,
                                .key = key,
                                .body = body,
                                .body_length = strlen(body)};
    assert_int_equal(moon__replay_add(replay, &record), MOON_OK);
}

static const moon__recorded *find(moon_event_type type, const char *path, const char *key) {
    return moon__replay_find(replay, type, path, key);
}

static void test_journal_replay__finds_by_type_path_and_key(void **state) {
    (void)state;
    static const struct {
        moon_event_type type;
        const char *path, *key, *body;
    } rows[] = {
        {MOON_EVENT_MODEL_RESPONSE, "", "1", "{\"n\":1}"},   {MOON_EVENT_MODEL_RESPONSE, "", "2", "{\"n\":2}"},
        {MOON_EVENT_MODEL_RESPONSE, "1", "1", "{\"n\":3}"},  {MOON_EVENT_TOOL_RESULT, "", "1", "{\"n\":4}"},
        {MOON_EVENT_TOOL_RESULT, "1.2", "1", "{\"n\":5}"},   {MOON_EVENT_TOOL_RESULT, "1", "2.1", "{\"n\":6}"},
        {MOON_EVENT_VALUE_RECORDED, "", "", "{\"n\":7}"},    {MOON_EVENT_VALUE_RECORDED, "1", "", "{\"n\":8}"},
        {MOON_EVENT_VALUE_RECORDED, "", "now", "{\"n\":9}"}, {MOON_EVENT_LOG, "", "1", "{\"n\":10}"},
    };
    enum { N = sizeof rows / sizeof *rows };
    for (size_t i = 0; i < N; i++) add(rows[i].type, rows[i].path, rows[i].key, rows[i].body);
    for (size_t i = 0; i < N; i++) {
        const moon__recorded *r = find(rows[i].type, rows[i].path, rows[i].key);
        assert_non_null(r);
        assert_int_equal(r->seq, i + 1);
        assert_int_equal(r->time_us, 1001 + (int64_t)i);
        assert_int_equal(r->type, rows[i].type);
        assert_string_equal(r->path, rows[i].path);
        assert_string_equal(r->key, rows[i].key);
        assert_string_equal(r->body, rows[i].body);
        assert_int_equal(r->body_length, strlen(rows[i].body));
        assert_false(r->used);
    }
    assert_null(find(MOON_EVENT_MODEL_RESPONSE, "", "3"));
    assert_null(find(MOON_EVENT_MODEL_RESPONSE, "2", "1"));
    assert_null(find(MOON_EVENT_MODEL_RESPONSE, "1.", "1"));
    assert_null(find(MOON_EVENT_TOOL_INTENT, "", "1"));
}

static void test_journal_replay__nothing_is_borrowed(void **state) {
    (void)state;
    char path[] = "1.2", key[] = "c1", body[] = "{\"a\":1}";
    add(MOON_EVENT_TOOL_RESULT, path, key, body);
    memset(path, 'x', 3);
    memset(key, 'x', 2);
    memset(body, 'x', 7);
    const moon__recorded *r = find(MOON_EVENT_TOOL_RESULT, "1.2", "c1");
    assert_non_null(r);
    assert_string_equal(r->body, "{\"a\":1}");
}

static void test_journal_replay__the_later_of_two_counts(void **state) {
    (void)state;
    add(MOON_EVENT_APPROVAL_GIVEN, "", "c1", "{\"allow\":false}");
    const moon__recorded *first = find(MOON_EVENT_APPROVAL_GIVEN, "", "c1");
    add(MOON_EVENT_APPROVAL_GIVEN, "", "c1", "{\"allow\":true,\"why\":\"after all\"}");
    const moon__recorded *r = find(MOON_EVENT_APPROVAL_GIVEN, "", "c1");
    assert_ptr_equal(r, first); /* and who has found it already sees that */
    assert_int_equal(r->seq, 2);
    assert_int_equal(r->time_us, 1002);
    assert_string_equal(r->body, "{\"allow\":true,\"why\":\"after all\"}");
    assert_int_equal(r->body_length, strlen(r->body));
}

static void use(moon_event_type type, const char *path, const char *key) {
    const moon__recorded *r = find(type, path, key);
    assert_non_null(r);
    moon__replay_use(replay, r);
    assert_true(r->used);
}

static void test_journal_replay__operations_that_were_not_used_are_left(void **state) {
    (void)state;
    add(MOON_EVENT_RUN_CREATED, "", "", "{}");
    add(MOON_EVENT_MODEL_REQUEST, "", "1", "{}");
    add(MOON_EVENT_MODEL_RESPONSE, "", "1", "{}");
    add(MOON_EVENT_TOOL_INTENT, "", "c1", "{}");
    add(MOON_EVENT_TOOL_RESULT, "", "c1", "{}");
    add(MOON_EVENT_VALUE_RECORDED, "", "v1", "{}");
    add(MOON_EVENT_LOG, "", "", "{}");
    add(MOON_EVENT_APPROVAL_ASKED, "", "c1", "{}");
    static const struct {
        moon_event_type type;
        const char *key;
    } rows[] = {{MOON_EVENT_MODEL_RESPONSE, "1"}, {MOON_EVENT_TOOL_RESULT, "c1"}, {MOON_EVENT_VALUE_RECORDED, "v1"}};
    for (size_t i = 0; i < 3; i++) { /* in the order in which they were recorded; the rest need not be used */
        const moon__recorded *left = moon__replay_left(replay, "");
        assert_non_null(left);
        assert_int_equal(left->type, rows[i].type);
        assert_string_equal(left->key, rows[i].key);
        use(rows[i].type, "", rows[i].key);
        use(rows[i].type, "", rows[i].key); /* twice is once */
    }
    assert_null(moon__replay_left(replay, ""));
}

static void test_journal_replay__an_operation_recorded_twice_is_one(void **state) {
    (void)state;
    add(MOON_EVENT_TOOL_RESULT, "", "c1", "{\"n\":1}");
    add(MOON_EVENT_TOOL_RESULT, "", "c1", "{\"n\":2}");
    assert_non_null(moon__replay_left(replay, ""));
    use(MOON_EVENT_TOOL_RESULT, "", "c1");
    assert_null(moon__replay_left(replay, ""));
}

static void test_journal_replay__a_child_is_an_operation_of_its_parent(void **state) {
    (void)state;
    add(MOON_EVENT_RUN_CREATED, "", "", "{}"); /* the root is nobody's */
    add(MOON_EVENT_RUN_CREATED, "1", "", "{}");
    add(MOON_EVENT_RUN_CREATED, "1.12", "", "{}");
    add(MOON_EVENT_RUN_CREATED, "1.12.3", "", "{}");
    static const struct {
        const char *path, *left; /* left: the path of what is left at path */
    } rows[] = {{"", "1"}, {"1", "1.12"}, {"1.12", "1.12.3"}, {"1.12.3", NULL}, {"1.1", NULL}, {"2", NULL}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const moon__recorded *left = moon__replay_left(replay, rows[i].path);
        if (!rows[i].left)
            assert_null(left);
        else
            assert_string_equal(left->path, rows[i].left);
    }
    use(MOON_EVENT_RUN_CREATED, "1", "");
    use(MOON_EVENT_RUN_CREATED, "", "");
    assert_null(moon__replay_left(replay, ""));
    assert_non_null(moon__replay_left(replay, "1"));
}

static void test_journal_replay__paths_are_left_alone_by_others(void **state) {
    (void)state;
    add(MOON_EVENT_TOOL_RESULT, "1", "c1", "{}");
    add(MOON_EVENT_TOOL_RESULT, "12", "c1", "{}");
    add(MOON_EVENT_TOOL_RESULT, "1.2", "c1", "{}");
    assert_null(moon__replay_left(replay, ""));
    use(MOON_EVENT_TOOL_RESULT, "1", "c1");
    assert_null(moon__replay_left(replay, "1"));
    assert_non_null(moon__replay_left(replay, "12"));
    assert_non_null(moon__replay_left(replay, "1.2"));
}

static void test_journal_replay__tells_the_last_operation_of_a_path(void **state) {
    (void)state;
    add(MOON_EVENT_RUN_CREATED, "", "", "{}");     /* 1: nobody's */
    add(MOON_EVENT_MODEL_RESPONSE, "", "1", "{}"); /* 2 */
    add(MOON_EVENT_RUN_CREATED, "1", "", "{}");    /* 3: the root's */
    add(MOON_EVENT_TOOL_RESULT, "1", "c1", "{}");  /* 4 */
    add(MOON_EVENT_RUN_FINISHED, "1", "", "{}");   /* 5: no operation */
    add(MOON_EVENT_LOG, "", "", "{}");             /* 6 */
    static const struct {
        const char *path;
        size_t length;
        uint64_t last;
    } rows[] = {{"", 0, 3}, {"1", 1, 4}, {"1.2", 1, 4}, {"1.2", 0, 3}, {"1.2", 3, 0}, {"2", 1, 0}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(moon__replay_last(replay, rows[i].path, rows[i].length), rows[i].last);
    add(MOON_EVENT_MODEL_RESPONSE, "", "1", "{}"); /* again */
    assert_int_equal(moon__replay_last(replay, "", 0), 7);
}

static void test_journal_replay__holds_many(void **state) {
    (void)state;
    enum { N = 20000 };
    char path[24], key[24];
    for (int i = 0; i < N; i++) {
        snprintf(path, sizeof path, "%d.%d", i % 300, i % 7);
        snprintf(key, sizeof key, "c%d", i);
        add(MOON_EVENT_TOOL_RESULT, path, key, "{}");
    }
    for (int i = 0; i < N; i++) {
        snprintf(path, sizeof path, "%d.%d", i % 300, i % 7);
        snprintf(key, sizeof key, "c%d", i);
        const moon__recorded *r = find(MOON_EVENT_TOOL_RESULT, path, key);
        assert_non_null(r);
        assert_int_equal(r->seq, i + 1);
        moon__replay_use(replay, r);
    }
    for (int i = 0; i < 300 * 7; i++) {
        snprintf(path, sizeof path, "%d.%d", i % 300, i % 7);
        assert_null(moon__replay_left(replay, path));
    }
}

static void test_journal_replay__an_empty_one_holds_nothing(void **state) {
    (void)state;
    assert_null(find(MOON_EVENT_RUN_CREATED, "", ""));
    assert_null(moon__replay_left(replay, ""));
    assert_int_equal(moon__replay_last(replay, "", 0), 0);
    moon__replay_free(NULL);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(test_journal_replay__##name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(finds_by_type_path_and_key),
        T(nothing_is_borrowed),
        T(the_later_of_two_counts),
        T(operations_that_were_not_used_are_left),
        T(an_operation_recorded_twice_is_one),
        T(a_child_is_an_operation_of_its_parent),
        T(paths_are_left_alone_by_others),
        T(tells_the_last_operation_of_a_path),
        T(holds_many),
        T(an_empty_one_holds_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
