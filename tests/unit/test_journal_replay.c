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

static void add_at(int64_t time_us, moon_event_type type, const char *path, const char *key, const char *body) {
    const moon_record record = {.seq = ++last_seq,
                                .type = type,
                                .time_us = time_us,
                                .path = path,
                                .key = key,
                                .body = body,
                                .body_length = strlen(body)};
    assert_int_equal(moon__replay_add(replay, &record), MOON_OK);
}

static void add(moon_event_type type, const char *path, const char *key, const char *body) {
    add_at(1001 + (int64_t)last_seq, type, path, key, body);
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

static void test_journal_replay__values_of_a_call_go_with_its_result(void **state) {
    (void)state;
    add(MOON_EVENT_VALUE_RECORDED, "", "c1.t1", "{}");
    add(MOON_EVENT_VALUE_RECORDED, "", "c1.b4", "{}");
    add(MOON_EVENT_TOOL_RESULT, "", "c1", "{}");
    add(MOON_EVENT_VALUE_RECORDED, "", "t1", "{}");
    assert_string_equal(moon__replay_left(replay, "")->key, "c1.t1");
    moon__replay_use(replay, find(MOON_EVENT_TOOL_RESULT, "", "c1"));
    assert_string_equal(moon__replay_left(replay, "")->key, "t1");
    moon__replay_use(replay, find(MOON_EVENT_VALUE_RECORDED, "", "t1"));
    assert_null(moon__replay_left(replay, ""));
}

static void drive(const char *path, int64_t us) {
    int64_t driven = moon__replay_driven(replay, path);
    if (driven != us) fail_msg("\"%s\" was driven for %d µs, not %d", path, (int)driven, (int)us);
}

static void test_journal_replay__time_counts_while_a_run_is_driven(void **state) {
    (void)state;
    add_at(100, MOON_EVENT_RUN_CREATED, "", "", "{}");
    add_at(110, MOON_EVENT_RUN_CREATED, "1", "", "{}");
    add_at(130, MOON_EVENT_RUN_CREATED, "2", "", "{}");
    add_at(140, MOON_EVENT_RUN_FINISHED, "1", "", "{}");
    add_at(120, MOON_EVENT_LOG, "", "1", "{}"); /* a clock that was set back takes nothing away */
    add_at(150, MOON_EVENT_LOG, "", "2", "{}");
    drive("", 70);
    drive("1", 30);
    drive("2", 40);
    drive("3", 0);
    add_at(9000, MOON_EVENT_RUN_CLAIMED, "", "", "{}"); /* the process had died */
    add_at(9005, MOON_EVENT_RUN_CREATED, "3", "", "{}");
    add_at(9010, MOON_EVENT_LOG, "", "3", "{}");
    drive("", 80);
    drive("1", 40);
    drive("2", 50);
    drive("3", 5);
    add_at(9012, MOON_EVENT_RUN_FINISHED, "2", "", "{}");
    add_at(9050, MOON_EVENT_RUN_FINISHED, "", "", "{}");
    drive("", 120);
    drive("2", 52);
}

static void test_journal_replay__what_is_shared_was_not_driven(void **state) {
    (void)state;
    moon__replay_share(replay, 3);
    add_at(100, MOON_EVENT_RUN_CREATED, "", "", "{}");
    add_at(110, MOON_EVENT_RUN_CREATED, "1", "", "{}");
    add_at(200, MOON_EVENT_LOG, "", "1", "{}");
    add_at(900, MOON_EVENT_RUN_CLAIMED, "", "", "{}");
    add_at(907, MOON_EVENT_LOG, "", "2", "{}");
    drive("", 7);
    drive("1", 7);
}

static void test_journal_replay__use_counts_for_all_above(void **state) {
    (void)state;
    static const struct {
        const char *path;
        int64_t tokens, steps;
        double usd;
    } rows[] = {{"", 111, 3, 0.75}, {"1", 110, 2, 0.75}, {"1.c1", 10, 1, -1}, {"1.c1.1", 10, 1, -1}, {"12", 0, 0, -1}};
    const moon_usage one = {.input_tokens = 1, .usd = -1, .steps = 1},
                     ten = {.input_tokens = 10, .usd = -1, .steps = 1},
                     hundred = {.input_tokens = 100, .usd = 0.75, .steps = 1};
    assert_int_equal(moon__replay_spend(replay, "", &one), MOON_OK);
    assert_int_equal(moon__replay_spend(replay, "1.c1.1", &ten), MOON_OK);
    assert_int_equal(moon__replay_spend(replay, "1", &hundred), MOON_OK);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        moon_usage u = moon__replay_spent(replay, rows[i].path);
        if (u.input_tokens != rows[i].tokens || u.steps != rows[i].steps || u.usd != rows[i].usd)
            fail_msg("\"%s\": %d tokens, %d steps, %g USD", rows[i].path, (int)u.input_tokens, (int)u.steps, u.usd);
    }
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
        T(values_of_a_call_go_with_its_result),
        T(time_counts_while_a_run_is_driven),
        T(what_is_shared_was_not_driven),
        T(use_counts_for_all_above),
        T(holds_many),
        T(an_empty_one_holds_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
