/* SPDX-License-Identifier: MIT */
/* Records as the bytes of a row. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "pack.h"

enum { LARGE = MOON__RECORD_INLINE + 1 };

static moon_record record_of(int type, int64_t time_us, const char *path, const char *key, const char *body) {
    moon_record r = {.type = (moon_event_type)type,
                     .time_us = time_us,
                     .path = path,
                     .key = key,
                     .body = body,
                     .body_length = strlen(body)};
    memset(r.hash, 0xAB, sizeof r.hash);
    return r;
}

static void expect_equal(const moon_record *a, const moon_record *b) {
    assert_int_equal(a->type, b->type);
    assert_int_equal(a->time_us, b->time_us);
    assert_string_equal(a->path, b->path);
    assert_string_equal(a->key, b->key);
    assert_memory_equal(a->hash, b->hash, MOON_HASH_SIZE);
    assert_memory_equal(a->body_hash, b->body_hash, MOON_HASH_SIZE);
    assert_int_equal(a->body_length, b->body_length);
    if (a->body_length > MOON__RECORD_INLINE)
        assert_null(a->body);
    else
        assert_memory_equal(a->body, b->body, b->body_length);
}

/* Made by another program (journal_rows.py): files that were written have to be read. */
static void test_journal_pack__the_bytes_are_those_of_the_format(void **state) {
    (void)state;
    unsigned char got[200],
        want[] = {7, 0x81, 0x80, 0xF9, 0xC0, 0xC1, 0xC4, 0x82, 3, 2, [42] = '1', '.', '2', 0, 'c', '3', 0, '{', '}'};
    memset(want + 10, 0xAB, 32);
    moon_record r = record_of(7, INT64_C(1700000000000001), "1.2", "c3", "{}");
    unsigned char *end = moon__pack(got, &r);
    assert_int_equal(end - got, sizeof want);
    assert_memory_equal(got, want, sizeof want);
    assert_true((size_t)(end - got) <= moon__pack_room(&r));
}

static void test_journal_pack__records_come_back_as_they_were(void **state) {
    (void)state;
    static char large[LARGE + 1], inlined[LARGE];
    memset(large, 'x', LARGE);
    memset(inlined, 'y', LARGE - 1);
    moon_record records[] = {
        record_of(0, 0, "", "", "{}"),        record_of(300, INT64_MAX, "1.2.3", "c1.t5", "{\"n\":1}"),
        record_of(1, -1, "", "7", ""),        record_of(127, 128, "p", "", inlined),
        record_of(1, INT64_MIN, "", "", "{"), record_of(3, 1, "", "large", large),
        record_of(12, 5, "", "last", "{}"),
    };
    enum { N = sizeof records / sizeof *records };
    memset(records[5].body_hash, 0xCD, MOON_HASH_SIZE);
    size_t room = 0;
    for (size_t i = 0; i < N; i++) room += moon__pack_room(&records[i]);
    unsigned char *row = malloc(room), *end = row;
    assert_non_null(row);
    for (size_t i = 0; i < N; i++) end = moon__pack(end, &records[i]);
    assert_true((size_t)(end - row) <= room);
    moon__packed left = {row, end};
    moon_record got;
    for (size_t i = 0; i < N; i++) {
        assert_true(moon__unpack(&left, &got));
        expect_equal(&got, &records[i]);
    }
    assert_ptr_equal(left.p, left.end);
    assert_false(moon__unpack(&left, &got));
    free(row);
}

static void test_journal_pack__what_is_cut_is_no_record(void **state) {
    (void)state;
    moon_record r = record_of(200, 1000, "1", "key", "{\"n\":1}"), got;
    unsigned char row[200];
    size_t n = (size_t)(moon__pack(row, &r) - row);
    for (size_t cut = 0; cut < n; cut++) {
        unsigned char *exact = malloc(cut ? cut : 1); /* so that reading past the end is seen */
        assert_non_null(exact);
        memcpy(exact, row, cut);
        moon__packed left = {exact, exact + cut};
        assert_false(moon__unpack(&left, &got));
        free(exact);
    }
    moon__packed none = {NULL, NULL};
    assert_false(moon__unpack(&none, &got));
}

static void test_journal_pack__numbers_have_one_form(void **state) {
    (void)state;
    moon_record r = record_of(5, 6, "", "", "");
    unsigned char row[200], longer[200];
    size_t n = (size_t)(moon__pack(row, &r) - row);
    static const struct {
        const char *label;
        unsigned char type[12];
        size_t length;
        bool good;
    } rows[] = {
        {"shortest", {5}, 1, true},
        {"with a zero more", {0x85, 0}, 2, false},
        {"the largest type", {0xFF, 0xFF, 0xFF, 0xFF, 7}, 5, true},
        {"a larger one", {0x80, 0x80, 0x80, 0x80, 8}, 5, false},
        {"over 64 bits", {0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 2}, 10, false},
        {"without an end", {0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}, 11, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        moon_record got;
        memcpy(longer, rows[i].type, rows[i].length);
        memcpy(longer + rows[i].length, row + 1, n - 1);
        moon__packed left = {longer, longer + rows[i].length + n - 1};
        if (moon__unpack(&left, &got) != rows[i].good) fail_msg("%s", rows[i].label);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_journal_pack__the_bytes_are_those_of_the_format),
        cmocka_unit_test(test_journal_pack__records_come_back_as_they_were),
        cmocka_unit_test(test_journal_pack__what_is_cut_is_no_record),
        cmocka_unit_test(test_journal_pack__numbers_have_one_form),
    };
    return cmocka_run_group_tests_name("pack", tests, NULL, NULL);
}
