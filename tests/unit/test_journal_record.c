/* SPDX-License-Identifier: MIT */
/* The chain of hashes over a run's records. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "record.h"

static const unsigned char none[MOON_HASH_SIZE];

static moon_record record_of(uint64_t seq, const char *path, const char *key, const char *body) {
    return (moon_record){.seq = seq,
                         .type = (moon_event_type)8,
                         .time_us = INT64_C(1700000000000001),
                         .path = path,
                         .key = key,
                         .body = body,
                         .body_length = strlen(body)};
}

static void expect_hash(const unsigned char hash[MOON_HASH_SIZE], const char *want) {
    char text[MOON__HASH_TEXT];
    moon__hash_text(text, hash);
    assert_string_equal(text, want);
}

/* Reckoned by another program from what the comment in record.c says: journals that were written have to be read. */
static void test_journal_record__hashes_are_those_of_the_format(void **state) {
    (void)state;
    char large[4098];
    memset(large, 'x', 4097);
    large[4097] = 0;
    moon_record r[] = {record_of(1, "", "", "{}"), record_of(2, "2.1", "c3", "{\"text\":\"\xC3\xA9\"}"),
                       record_of(3, "", "c4", large), record_of(4, "", "c4", large)};
    r[0].type = (moon_event_type)0;
    r[0].time_us--;
    r[2].body_length--;
    static const struct {
        const char *body_hash, *hash;
    } rows[] = {
        {"0000000000000000000000000000000000000000000000000000000000000000",
         "cf63a95a15b3495448fe5015d7df5389bb8a0dc4ab80d43cca6847beb62a4d5f"},
        {"0000000000000000000000000000000000000000000000000000000000000000",
         "638611c9d70f6bc364e503c99dbbc4a815579be37d7e594ab8683bd9b68b67c9"},
        {"0000000000000000000000000000000000000000000000000000000000000000",
         "4787ef377dad8e828f5dcbf0573642bec6376178d04026f0ef7efaa3c9ef0cad"},
        {"3e97197f4b8d46a893067c94ab15e195e3d97fb5f24eede5ef047b571240d92b",
         "1c5374a2fd1ca71fc73294f9650add3e290986c758c3cb267cf13d6349729b73"},
    };
    const unsigned char *before = none;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        moon__record_seal(&r[i], before);
        before = r[i].hash;
        expect_hash(r[i].body_hash, rows[i].body_hash);
        expect_hash(r[i].hash, rows[i].hash);
    }
}

static void test_journal_record__what_was_sealed_is_sound(void **state) {
    (void)state;
    moon_record r = record_of(7, "1", "c1", "{\"ok\":true}");
    moon__record_seal(&r, none);
    assert_true(moon__record_sound(&r, none));
    unsigned char before[MOON_HASH_SIZE] = {1};
    moon__record_seal(&r, before);
    assert_true(moon__record_sound(&r, before));
    assert_false(moon__record_sound(&r, none));
}

static void test_journal_record__every_part_counts(void **state) {
    (void)state;
    moon_record r = record_of(7, "1", "c1", "{\"ok\":true}");
    moon__record_seal(&r, none);
    moon_record others[] = {r, r, r, r, r, r, r, r, r, r};
    others[0].seq = 8;
    others[1].type = (moon_event_type)7;
    others[2].time_us++;
    others[3].path = "2";
    others[4].key = "c2";
    others[5].body = "{\"ok\":fals}";
    others[6].body_length--;
    others[7].hash[31] ^= 1;
    others[8].body_hash[0] ^= 128;
    others[9].time_us = -others[9].time_us;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (moon__record_sound(&others[i], none)) fail_msg("change %zu is not noticed", i);
    for (size_t bit = 0; bit < MOON_HASH_SIZE * 8; bit++) {
        unsigned char before[MOON_HASH_SIZE] = {0};
        before[bit / 8] = (unsigned char)(1 << bit % 8);
        assert_false(moon__record_sound(&r, before));
    }
}

/* Two parts that stand beside each other are not one. */
static void test_journal_record__parts_do_not_run_together(void **state) {
    (void)state;
    static const struct {
        uint64_t seq;
        int type;
        int64_t time_us;
        const char *path, *key;
    } rows[] = {{1, 12, 3, "", ""},    {11, 2, 3, "", ""},   {1, 1, 23, "", ""},   {112, 3, 0, "", ""},
                {1, 12, 3, "1", "2"},  {1, 12, 3, "12", ""}, {1, 12, 3, "", "12"}, {1, 12, 31, "", "2"},
                {1, 12, 3, "1.2", ""}, {1, 12, 3, "1", ".2"}};
    enum { N = sizeof rows / sizeof *rows };
    moon_record r[N];
    for (size_t i = 0; i < N; i++) {
        r[i] = record_of(rows[i].seq, rows[i].path, rows[i].key, "{}");
        r[i].type = (moon_event_type)rows[i].type;
        r[i].time_us = rows[i].time_us;
        moon__record_seal(&r[i], none);
        for (size_t j = 0; j < i; j++) assert_memory_not_equal(r[i].hash, r[j].hash, MOON_HASH_SIZE);
    }
}

static void test_journal_record__a_record_that_was_dropped_breaks_the_chain(void **state) {
    (void)state;
    enum { N = 6 };
    moon_record r[N];
    char keys[N][4];
    const unsigned char *before = none;
    for (size_t i = 0; i < N; i++) {
        snprintf(keys[i], sizeof keys[i], "k%zu", i);
        r[i] = record_of(i + 1, "", keys[i], "{}");
        moon__record_seal(&r[i], before);
        before = r[i].hash;
    }
    for (size_t i = 0; i < N; i++)
        for (size_t j = 0; j < N; j++) /* may j stand after i? */
            assert_int_equal(moon__record_sound(&r[j], r[i].hash), j == i + 1);
}

static void test_journal_record__the_greatest_numbers_fit(void **state) {
    (void)state;
    moon_record r = record_of(UINT64_MAX, "", "", "");
    r.type = (moon_event_type)INT32_MIN;
    r.time_us = INT64_MIN;
    moon__record_seal(&r, none);
    assert_true(moon__record_sound(&r, none));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_journal_record__hashes_are_those_of_the_format),
        cmocka_unit_test(test_journal_record__what_was_sealed_is_sound),
        cmocka_unit_test(test_journal_record__every_part_counts),
        cmocka_unit_test(test_journal_record__parts_do_not_run_together),
        cmocka_unit_test(test_journal_record__a_record_that_was_dropped_breaks_the_chain),
        cmocka_unit_test(test_journal_record__the_greatest_numbers_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
