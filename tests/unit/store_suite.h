/* SPDX-License-Identifier: MIT */
#ifndef MOON_TEST_STORE_SUITE_H
#define MOON_TEST_STORE_SUITE_H
/*
 * What every store has to hold, whatever it is made of: only moon_store_ops is used. A test program gives a set-up that
 * makes a kit of its store, and runs STORE_SUITE(set_up, tear_down).
 */
#include "store_kit.h"

/* ---- appending and reading ---- */

static bool store_on_record(void *ctx, const moon_record *r) {
    moon_record *want = ctx;
    assert_int_equal(r->seq, want->seq);
    assert_int_equal(r->type, want->type);
    assert_int_equal(r->time_us, want->time_us);
    assert_string_equal(r->path, want->path);
    assert_string_equal(r->key, want->key);
    assert_memory_equal(r->hash, want->hash, MOON_HASH_SIZE);
    assert_memory_equal(r->body_hash, want->body_hash, MOON_HASH_SIZE);
    assert_int_equal(r->body_length, want->body_length);
    assert_memory_equal(r->body, want->body, want->body_length);
    return true;
}

static void test_journal_store__a_record_comes_back_as_it_was(void **state) {
    store_kit *k = *state;
    writer w = kit_create(k->a, "r1");
    draft d = draft_of(&w);
    draft_add(&d, "c3", "{\"text\":\"\xC3\xA9\\n\"}");
    d.records[0].type = MOON_EVENT_TOOL_RESULT;
    d.records[0].time_us = INT64_C(1700000000123456);
    d.records[0].path = "2.1";
    assert_int_equal(kit_send_one(k->a, &d), MOON_OK);
    assert_int_equal(k->ops->read(k->a, "r1", 2, 2, store_on_record, &d.records[0], NULL), MOON_OK);
    assert_int_equal(k->ops->read(kit_b(k), "r1", 2, 2, store_on_record, &d.records[0], NULL), MOON_OK);
}

static void test_journal_store__reads_what_is_asked_for(void **state) {
    store_kit *k = *state;
    writer w = kit_create(k->a, "r1");
    for (int i = 2; i <= 5; i++) assert_int_equal(kit_write(k->a, &w, "k", "{}"), MOON_OK);
    static const struct {
        uint64_t from, to;
        const char *want;
    } rows[] = {
        {0, 0, "1::{} 2:k:{} 3:k:{} 4:k:{} 5:k:{} "},
        {1, 0, "1::{} 2:k:{} 3:k:{} 4:k:{} 5:k:{} "},
        {3, 0, "3:k:{} 4:k:{} 5:k:{} "},
        {1, 2, "1::{} 2:k:{} "},
        {2, 3, "2:k:{} 3:k:{} "},
        {5, 5, "5:k:{} "},
        {5, 99, "5:k:{} "},
        {6, 0, ""},
        {7, 0, ""},
        {99, 0, ""},
        {99, 100, ""},
        {4, 3, ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        kit_expect(k->a, "r1", rows[i].from, rows[i].to, rows[i].want);
}

static bool store_stop_at_two(void *ctx, const moon_record *r) {
    *(uint64_t *)ctx = r->seq;
    return r->seq < 2;
}

static void test_journal_store__a_reader_may_have_enough(void **state) {
    store_kit *k = *state;
    writer w = kit_create(k->a, "r1");
    uint64_t last = 0;
    for (int i = 0; i < 3; i++) assert_int_equal(kit_write(k->a, &w, "k", "{}"), MOON_OK);
    assert_int_equal(k->ops->read(k->a, "r1", 1, 0, store_stop_at_two, &last, NULL), MOON_OK);
    assert_int_equal(last, 2);
    assert_int_equal(kit_write(k->a, &w, "k", "{}"), MOON_OK);
}

static void test_journal_store__what_was_kept_is_there_after_opening_again(void **state) {
    store_kit *k = *state;
    writer w = kit_create(k->a, "r1");
    assert_int_equal(kit_write(k->a, &w, "k", "{\"n\":1}"), MOON_OK);
    kit_close(k);
    k->a = kit_open(k);
    kit_expect(k->a, "r1", 1, 0, "1::{} 2:k:{\"n\":1} ");
    assert_int_equal(kit_write(k->a, &w, "k", "{\"n\":2}"), MOON_OK);
    kit_expect(k->a, "r1", 3, 0, "3:k:{\"n\":2} ");
    kit_expect_sound(k->a);
}

static void test_journal_store__bodies_of_all_sizes(void **state) {
    store_kit *k = *state;
    static const size_t sizes[] = {2, 100, 4095, 4096, 4097, 8192, 100000, 3000000};
    enum { N = sizeof sizes / sizeof *sizes };
    char *body = malloc(3000000);
    assert_non_null(body);
    memset(body, 'x', 3000000);
    writer w = kit_create(k->a, "r1");
    for (int round = 0; round < 2; round++) { /* the second time each body is there already */
        for (size_t i = 0; i < N; i++) {
            draft d = draft_of(&w);
            draft_add_bytes(&d, "k", body, sizes[i]);
            assert_int_equal(kit_send_one(k->a, &d), MOON_OK);
            assert_int_equal(k->ops->read(k->a, "r1", w.seq, w.seq, store_on_record, &d.records[0], NULL), MOON_OK);
        }
    }
    kit_expect(
        k->a, "r1", 10, 0,
        "10:k:xx "
        "11:k:xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx "
        "12:k:4095 13:k:4096 14:k:4097 15:k:8192 16:k:100000 17:k:3000000 ");
    kit_expect_sound(k->a);
    free(body);
}

/* ---- conflicts ---- */

static void test_journal_store__a_conflict_changes_nothing_and_leaves_the_others(void **state) {
    store_kit *k = *state;
    static const struct {
        const char *label;
        int off; /* what the writer believes, against the truth */
    } rows[] = {{"too low", -1}, {"much too low", -3}, {"too high", 1}, {"much too high", 40}};
    writer good = kit_create(k->a, "good"), other = kit_create(k->a, "other"), bad = kit_create(k->a, "bad");
    for (int i = 0; i < 3; i++) assert_int_equal(kit_write(k->a, &bad, "k", "{}"), MOON_OK);
    assert_int_equal(k->ops->post(k->a, "bad", "o", "\"item\"", 6, NULL), MOON_OK);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        writer wrong = bad;
        wrong.seq = (uint64_t)((int64_t)bad.seq + rows[i].off);
        draft d[3] = {draft_of(&good), draft_of(&wrong), draft_of(&other)};
        draft_add(&d[0], "g", "{}");
        draft_add(&d[1], "b", "{}");
        draft_add(&d[1], "b", "{}");
        d[1].info = kit_info("bad");
        d[1].info.stop = "changed";
        draft_side(&d[1], MOON_SIDE_TAKE)->item = kit_inbox(k->a, "bad").ids[0];
        draft_side(&d[1], MOON_SIDE_UPDATE);
        draft_timer(&d[1], "t", 5);
        draft_blob(&d[1], "never", 5);
        draft_add(&d[2], "o", "{}");
        assert_int_equal(kit_send(k->a, d, 3), MOON_OK);
        if (d[1].append.status != MOON_ECONFLICT) fail_msg("%s: %d", rows[i].label, d[1].append.status);
        assert_int_equal(d[0].append.status, MOON_OK);
        assert_int_equal(d[2].append.status, MOON_OK);
        kit_expect(k->a, "bad", 1, 0, "1::{} 2:k:{} 3:k:{} 4:k:{} ");
        assert_string_equal(kit_inbox(k->a, "bad").text, "\"item\" ");
        kit_expect_due(k->a, INT64_MAX, 0, "");
        assert_int_equal(kit_blob(k->a, "never", 5), MOON_ENOTFOUND);
    }
    kit_expect(k->a, "good", 2, 0, "2:g:{} 3:g:{} 4:g:{} 5:g:{} ");
    kit_expect(k->a, "other", 2, 0, "2:o:{} 3:o:{} 4:o:{} 5:o:{} ");
    assert_int_equal(kit_write(k->a, &bad, "k", "{}"), MOON_OK);
    kit_expect_sound(k->a);
}

static void test_journal_store__of_two_owners_one_is_refused(void **state) {
    store_kit *k = *state;
    moon_store *stores[2] = {k->a, kit_b(k)};
    writer first = kit_create(k->a, "r1");
    for (int i = 0; i < 20; i++) { /* each handle has written last, and has not, by turns */
        writer second = first;
        assert_int_equal(kit_write(stores[i % 2], &first, "first", "{}"), MOON_OK);
        assert_int_equal(kit_write(stores[i / 2 % 2], &second, "second", "{}"), MOON_ECONFLICT);
    }
    kit_expect(k->a, "r1", 19, 0, "19:first:{} 20:first:{} 21:first:{} ");
    kit_expect_sound(k->b);
}

static void test_journal_store__an_append_without_records_has_to_know_the_last_one_too(void **state) {
    store_kit *k = *state;
    writer w = kit_create(k->a, "r1"), wrong = w;
    draft d = draft_of(&w);
    draft_timer(&d, "t", 5);
    assert_int_equal(kit_send_one(k->a, &d), MOON_OK);
    wrong.seq = 7;
    d = draft_of(&wrong);
    draft_timer(&d, "u", 6);
    assert_int_equal(kit_send_one(k->a, &d), MOON_ECONFLICT);
    kit_expect_due(k->a, 10, 0, "r1:t:5 ");
}

static void test_journal_store__records_that_are_not_the_next_are_misuse(void **state) {
    store_kit *k = *state;
    writer w = kit_create(k->a, "r1");
    for (uint64_t off = 1; off < 3; off++) {
        draft d = draft_of(&w);
        draft_add(&d, "k", "{}");
        draft_add(&d, "k", "{}");
        d.records[off - 1].seq += off;
        assert_int_equal(kit_send_one(k->a, &d), MOON_EINVAL);
    }
    kit_expect(k->a, "r1", 1, 0, "1::{} ");
}

static void test_journal_store__unknown_runs(void **state) {
    store_kit *k = *state;
    writer known = kit_create(k->a, "known"), nobody = {.run = "nobody"}, later = {.run = "nobody", .seq = 3};
    draft d[3] = {draft_of(&nobody), draft_of(&known), draft_of(&later)};
    for (int i = 0; i < 3; i++) draft_add(&d[i], "k", "{}");
    assert_int_equal(kit_send(k->a, d, 3), MOON_OK);
    assert_int_equal(d[0].append.status, MOON_ENOTFOUND);
    assert_int_equal(d[1].append.status, MOON_OK);
    assert_int_equal(d[2].append.status, MOON_ENOTFOUND);
    assert_int_equal(kit_read(k->a, "nobody"), MOON_ENOTFOUND);
    assert_int_equal(k->ops->claim(k->a, "nobody", NULL), MOON_ENOTFOUND);
    assert_int_equal(k->ops->post(k->a, "nobody", "o", "1", 1, NULL), MOON_ENOTFOUND);
    assert_int_equal(k->ops->inbox(k->a, "nobody", kit_on_item, NULL, NULL), MOON_ENOTFOUND);
    assert_int_equal(k->ops->purge(k->a, "nobody", NULL), MOON_ENOTFOUND);
    k->ops->release(k->a, "nobody");
    kit_expect_list(k->a, (moon_query){.run = "nobody", .state = -1}, "");
    kit_expect_sound(k->a);
}

static void test_journal_store__a_creation_that_is_refused_leaves_nothing(void **state) {
    store_kit *k = *state;
    writer first = kit_create(k->a, "r1"), again = {.run = "r1"}, wrong = {.run = "wrong", .seq = 4};
    draft d = draft_of(&again);
    draft_create(&d);
    d.info.name = "another";
    assert_int_equal(kit_send_one(kit_b(k), &d), MOON_ECONFLICT);
    d = draft_of(&wrong); /* expects records before the first */
    draft_create(&d);
    assert_int_equal(kit_send_one(k->a, &d), MOON_ECONFLICT);
    kit_expect_list(k->a, (moon_query){.state = -1}, "r1 ");
    /* Nor is anything claimed for it. */
    writer other = kit_create(k->b, "r2");
    assert_int_equal(kit_write(k->b, &other, "k", "{}"), MOON_OK);
    assert_int_equal(kit_write(k->a, &first, "k", "{}"), MOON_OK);
    k->ops->release(k->b, "r2");
    assert_int_equal(k->ops->claim(k->a, "r2", NULL), MOON_OK);
    kit_expect_sound(k->a);
}

/* ---- bytes ---- */

static void test_journal_store__bytes_are_kept_under_their_hash(void **state) {
    store_kit *k = *state;
    static const char text[] = "return agent\0of bytes";
    writer w = kit_create(k->a, "r1");
    for (int i = 0; i < 2; i++) {
        draft d = draft_of(&w);
        draft_add(&d, "k", "{}");
        draft_blob(&d, text, sizeof text);
        assert_int_equal(kit_send_one(k->a, &d), MOON_OK);
    }
    draft d = draft_of(&w);
    draft_blob(&d, "", 0);
    assert_int_equal(kit_send_one(k->a, &d), MOON_OK);
    assert_int_equal(kit_blob(k->a, text, sizeof text), MOON_OK);
    assert_int_equal(kit_blob(kit_b(k), "", 0), MOON_OK);
    assert_int_equal(kit_blob(k->a, "not kept", 8), MOON_ENOTFOUND);
}

/* ---- forks ---- */

static void test_journal_store__a_fork_reads_what_was_before_it(void **state) {
    store_kit *k = *state;
    writer base = kit_create(k->a, "base"), at_first = {.run = "early"}, at_last = {.run = "late"},
           deep = {.run = "deep"};
    unsigned char hashes[6][MOON_HASH_SIZE];
    memcpy(hashes[1], base.hash, MOON_HASH_SIZE);
    for (uint64_t seq = 2; seq <= 5; seq++) {
        assert_int_equal(kit_write(k->a, &base, "b", "{}"), MOON_OK);
        memcpy(hashes[seq], base.hash, MOON_HASH_SIZE);
    }
    memcpy(at_first.hash, hashes[1], MOON_HASH_SIZE);
    memcpy(at_last.hash, hashes[5], MOON_HASH_SIZE);
    draft d = draft_of(&at_first);
    draft_fork(&d, &base, 1);
    assert_int_equal(kit_send_one(k->a, &d), MOON_OK);
    d = draft_of(&at_last);
    draft_fork(&d, &base, 5);
    assert_int_equal(kit_send_one(k->a, &d), MOON_OK);
    assert_int_equal(kit_write(k->a, &at_last, "l", "{}"), MOON_OK);
    assert_int_equal(kit_write(k->a, &base, "b", "{\"own\":1}"), MOON_OK); /* each goes on by itself */
    assert_int_equal(kit_write(k->a, &at_first, "e", "{}"), MOON_OK);
    memcpy(deep.hash, at_last.hash, MOON_HASH_SIZE);
    d = draft_of(&deep);
    draft_fork(&d, &at_last, 7);
    assert_int_equal(kit_send_one(k->a, &d), MOON_OK);
    kit_expect(k->a, "base", 4, 0, "4:b:{} 5:b:{} 6:b:{\"own\":1} ");
    kit_expect(k->a, "early", 1, 0, "1::{} 2::{} 3:e:{} ");
    kit_expect(k->a, "late", 1, 0, "1::{} 2:b:{} 3:b:{} 4:b:{} 5:b:{} 6::{} 7:l:{} ");
    kit_expect(k->a, "deep", 1, 0, "1::{} 2:b:{} 3:b:{} 4:b:{} 5:b:{} 6::{} 7:l:{} 8::{} ");
    static const struct {
        uint64_t from, to;
        const char *want;
    } rows[] = {
        {1, 2, "1::{} 2:b:{} "}, {4, 6, "4:b:{} 5:b:{} 6::{} "}, {6, 7, "6::{} 7:l:{} "}, {8, 0, "8::{} "}, {9, 0, ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        kit_expect(k->a, "deep", rows[i].from, rows[i].to, rows[i].want);
    kit_expect_sound(k->a);
}

static bool store_on_fork(void *ctx, const moon_run_info *info) {
    (void)ctx;
    assert_string_equal(info->fork_of, "base");
    assert_int_equal(info->fork_at, 1);
    return true;
}

static void test_journal_store__a_fork_tells_where_it_comes_from(void **state) {
    store_kit *k = *state;
    writer base = kit_create(k->a, "base"), fork = base;
    strcpy(fork.run, "fork");
    draft d = draft_of(&fork);
    draft_fork(&d, &base, 1);
    assert_int_equal(kit_send_one(k->a, &d), MOON_OK);
    assert_int_equal(k->ops->list(k->a, &(moon_query){.run = "fork", .state = -1}, store_on_fork, NULL, NULL), MOON_OK);
}

static void test_journal_store__a_fork_at_what_is_not_there_is_refused(void **state) {
    store_kit *k = *state;
    writer base = kit_create(k->a, "base"), nobody = {.run = "nobody"}, fork = {.run = "fork"};
    draft d = draft_of(&fork);
    draft_fork(&d, &base, 2);
    assert_int_equal(kit_send_one(k->a, &d), MOON_ENOTFOUND);
    fork.seq = 0;
    d = draft_of(&fork);
    draft_fork(&d, &nobody, 1);
    assert_int_equal(kit_send_one(k->a, &d), MOON_ENOTFOUND);
    fork.seq = 0;
    d = draft_of(&fork);
    draft_fork(&d, &base, 1);
    d.append.expected = 0; /* not after the record that it forks at */
    d.records[0].seq = 1;
    assert_int_equal(kit_send_one(k->a, &d), MOON_ECONFLICT);
    kit_expect_list(k->a, (moon_query){.state = -1}, "base ");
}

/* ---- claims ---- */

static void test_journal_store__a_run_is_driven_by_one(void **state) {
    store_kit *k = *state;
    moon_store *a = k->a, *b = kit_b(k);
    moon_error error = {0};
    kit_create(a, "r1");
    kit_create(a, "r2");
    assert_true(kit_claimed(a, "r1") && kit_claimed(b, "r1")); /* by whoever made it */
    assert_int_equal(k->ops->claim(b, "r1", &error), MOON_EBUSY);
    assert_non_null(strstr(error.text, "r1"));
    assert_int_equal(k->ops->claim(a, "r1", NULL), MOON_EBUSY);
    k->ops->release(b, "r1"); /* is not its to give up */
    assert_int_equal(k->ops->claim(b, "r1", NULL), MOON_EBUSY);
    k->ops->release(a, "r1");
    assert_false(kit_claimed(a, "r1") || kit_claimed(b, "r1"));
    assert_int_equal(k->ops->claim(b, "r1", NULL), MOON_OK);
    assert_int_equal(k->ops->claim(a, "r1", NULL), MOON_EBUSY);
    assert_true(kit_claimed(a, "r2"));
    k->ops->close(a); /* gives up all that it has, and nothing of others */
    k->a = NULL;
    assert_false(kit_claimed(b, "r2"));
    assert_true(kit_claimed(b, "r1"));
    assert_int_equal(k->ops->claim(b, "r2", NULL), MOON_OK);
}

/* ---- inbox ---- */

static void test_journal_store__what_is_posted_is_taken_once(void **state) {
    store_kit *k = *state;
    moon_store *a = k->a, *b = kit_b(k);
    writer w = kit_create(a, "r1"), other = kit_create(b, "r2");
    assert_int_equal(k->ops->post(b, "r1", "x", "\"1\"", 3, NULL), MOON_OK);
    assert_int_equal(k->ops->post(a, "r1", "y", "\"2\"", 3, NULL), MOON_OK);
    assert_int_equal(k->ops->post(b, "r1", "x", "\"3\"", 3, NULL), MOON_OK); /* the same: the first stays */
    assert_int_equal(k->ops->post(a, "r2", "x", "\"4\"", 3, NULL), MOON_OK); /* another run's */
    kit_items items = kit_inbox(a, "r1"), others = kit_inbox(b, "r2");
    assert_string_equal(items.text, "\"1\" \"2\" ");
    assert_string_equal(others.text, "\"4\" ");
    static const char *const labels[] = {"another run's", "its own", "taken already", "unknown"};
    const struct {
        int64_t item;
        moon_status want;
    } rows[] = {{others.ids[0], MOON_ECONFLICT},
                {items.ids[0], MOON_OK},
                {items.ids[0], MOON_ECONFLICT},
                {9999, MOON_ECONFLICT}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        draft d = draft_of(&w);
        draft_add(&d, "k", "{}");
        draft_side(&d, MOON_SIDE_TAKE)->item = rows[i].item;
        draft_timer(&d, labels[i], 1);
        if (kit_send_one(a, &d) != rows[i].want) fail_msg("%s: %d", labels[i], d.append.status);
    }
    assert_int_equal(w.seq, 2);
    kit_expect(b, "r1", 1, 0, "1::{} 2:k:{} ");
    kit_expect_due(b, 1, 0, "r1:its own:1 ");
    assert_string_equal(kit_inbox(b, "r1").text, "\"2\" ");
    assert_int_equal(k->ops->post(b, "r1", "x", "\"5\"", 3, NULL), MOON_OK); /* once, and taken */
    assert_string_equal(kit_inbox(b, "r1").text, "\"2\" ");
    assert_string_equal(kit_inbox(a, "r2").text, "\"4\" ");
    assert_int_equal(kit_write(b, &other, "k", "{}"), MOON_OK);
    kit_expect_sound(a);
}

static void test_journal_store__several_items_are_taken_together_or_not(void **state) {
    store_kit *k = *state;
    writer w = kit_create(k->a, "r1");
    assert_int_equal(k->ops->post(k->a, "r1", "x", "\"1\"", 3, NULL), MOON_OK);
    assert_int_equal(k->ops->post(k->a, "r1", "y", "\"2\"", 3, NULL), MOON_OK);
    kit_items items = kit_inbox(k->a, "r1");
    draft d = draft_of(&w);
    draft_add(&d, "k", "{}");
    draft_side(&d, MOON_SIDE_TAKE)->item = items.ids[0];
    draft_side(&d, MOON_SIDE_TAKE)->item = 9999;
    assert_int_equal(kit_send_one(k->a, &d), MOON_ECONFLICT);
    assert_string_equal(kit_inbox(k->a, "r1").text, "\"1\" \"2\" ");
    d.append.n_sides = 1;
    draft_side(&d, MOON_SIDE_TAKE)->item = items.ids[1];
    assert_int_equal(kit_send_one(k->a, &d), MOON_OK);
    assert_string_equal(kit_inbox(k->a, "r1").text, "");
}

static void test_journal_store__an_owner_who_was_overtaken_takes_nothing(void **state) {
    store_kit *k = *state;
    moon_store *b = kit_b(k);
    writer first = kit_create(k->a, "r1"), second = first;
    assert_int_equal(k->ops->post(k->a, "r1", "x", "\"1\"", 3, NULL), MOON_OK);
    assert_int_equal(kit_write(k->a, &second, "k", "{}"), MOON_OK);
    first = second;
    assert_int_equal(kit_write(b, &first, "b", "{}"), MOON_OK);
    draft d = draft_of(&second); /* knows what its handle wrote last */
    draft_add(&d, "k", "{}");
    draft_side(&d, MOON_SIDE_TAKE)->item = kit_inbox(k->a, "r1").ids[0];
    assert_int_equal(kit_send_one(k->a, &d), MOON_ECONFLICT);
    assert_string_equal(kit_inbox(b, "r1").text, "\"1\" ");
}

/* ---- timers ---- */

static void test_journal_store__timers_come_due_in_order(void **state) {
    store_kit *k = *state;
    writer one = kit_create(k->a, "r1"), two = kit_create(k->a, "r2");
    draft d[2] = {draft_of(&one), draft_of(&two)};
    draft_timer(&d[0], "late", 300);
    draft_timer(&d[0], "early", 100);
    draft_timer(&d[1], "early", 200);
    draft_timer(&d[1], "never", 900);
    assert_int_equal(kit_send(k->a, d, 2), MOON_OK);
    static const struct {
        int64_t now_us;
        size_t limit;
        const char *want;
    } rows[] = {
        {99, 0, ""},
        {100, 0, "r1:early:100 "},
        {300, 0, "r1:early:100 r2:early:200 r1:late:300 "},
        {300, 2, "r1:early:100 r2:early:200 "},
        {INT64_MAX, 0, "r1:early:100 r2:early:200 r1:late:300 r2:never:900 "},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        kit_expect_due(i % 2 ? kit_b(k) : k->a, rows[i].now_us, rows[i].limit, rows[i].want);
    d[0] = draft_of(&one);
    draft_timer(&d[0], "early", 250); /* another time */
    draft_timer(&d[0], "late", 0);    /* no longer */
    draft_timer(&d[0], "unknown", 0);
    assert_int_equal(kit_send_one(k->a, &d[0]), MOON_OK);
    kit_expect_due(k->a, 300, 0, "r2:early:200 r1:early:250 ");
}

/* ---- runs ---- */

static writer store_run(moon_store *store, const char *run, const char *workspace, moon_run_state state, int64_t us) {
    writer w = {0};
    strcpy(w.run, run);
    draft d = draft_of(&w);
    draft_create(&d);
    d.info.workspace = workspace;
    d.info.state = state;
    d.info.updated_us = us;
    assert_int_equal(kit_send_one(store, &d), MOON_OK);
    return w;
}

static void test_journal_store__runs_are_listed_newest_first(void **state) {
    store_kit *k = *state;
    store_run(k->a, "r1", "/one", MOON_RUN_FINISHED, 100);
    store_run(k->a, "r2", "/two", MOON_RUN_RUNNING, 400);
    store_run(k->a, "r3", "/one", MOON_RUN_WAITING, 300);
    store_run(k->a, "r4", "/one", MOON_RUN_FINISHED, 200);
    const struct {
        moon_query query;
        const char *want;
    } rows[] = {
        {{.state = -1}, "r2 r3 r4 r1 "},
        {{.state = -1, .limit = 2}, "r2 r3 "},
        {{.state = -1, .workspace = "/one"}, "r3 r4 r1 "},
        {{.state = -1, .workspace = "/on"}, ""},
        {{.state = MOON_RUN_FINISHED}, "r4 r1 "},
        {{.state = MOON_RUN_RUNNING}, "r2 "},
        {{.state = MOON_RUN_WAITING, .workspace = "/two"}, ""},
        {{.state = -1, .since_us = 300}, "r2 r3 "},
        {{.state = -1, .since_us = 401}, ""},
        {{.state = -1, .run = "r4"}, "r4 "},
        {{.state = MOON_RUN_FINISHED, .workspace = "/one", .since_us = 150, .limit = 5}, "r4 "},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        kit_expect_list(i % 2 ? kit_b(k) : k->a, rows[i].query, rows[i].want);
}

static bool store_on_info(void *ctx, const moon_run_info *info) {
    const moon_run_info *want = ctx;
    assert_string_equal(info->run, want->run);
    assert_string_equal(info->name, want->name);
    assert_string_equal(info->script, want->script);
    assert_string_equal(info->workspace, want->workspace);
    assert_string_equal(info->input, want->input);
    assert_string_equal(info->stop, want->stop);
    assert_int_equal(info->state, want->state);
    assert_int_equal(info->resumable, want->resumable);
    assert_int_equal(info->created_us, want->created_us);
    assert_int_equal(info->updated_us, want->updated_us);
    assert_int_equal(info->steps, want->steps);
    assert_int_equal(info->tool_calls, want->tool_calls);
    assert_int_equal(info->tokens, want->tokens);
    assert_true(info->usd == want->usd);
    assert_string_equal(info->fork_of, "");
    assert_int_equal(info->fork_at, 0);
    return true;
}

static void test_journal_store__what_is_known_of_a_run_is_updated(void **state) {
    store_kit *k = *state;
    writer w = kit_create(k->a, "r1");
    draft d = draft_of(&w);
    draft_side(&d, MOON_SIDE_UPDATE);
    d.info = (moon_run_info){.stop = "done", /* other texts stay */
                             .state = MOON_RUN_FINISHED,
                             .resumable = true,
                             .created_us = 77, /* stays */
                             .updated_us = 5000,
                             .steps = 3,
                             .tool_calls = 4,
                             .tokens = INT64_C(5000000000),
                             .usd = 0.25};
    assert_int_equal(kit_send_one(k->a, &d), MOON_OK);
    moon_run_info want = kit_info("r1");
    want.stop = "done";
    want.state = MOON_RUN_FINISHED;
    want.resumable = true;
    want.updated_us = 5000;
    want.steps = 3;
    want.tool_calls = 4;
    want.tokens = INT64_C(5000000000);
    want.usd = 0.25;
    assert_int_equal(k->ops->list(kit_b(k), &(moon_query){.state = -1}, store_on_info, &want, NULL), MOON_OK);
}

static void test_journal_store__the_version_is_another_one_when_others_have_written(void **state) {
    store_kit *k = *state;
    moon_store *b = kit_b(k);
    writer w = kit_create(k->a, "r1");
    uint64_t before = k->ops->version(b);
    assert_int_equal(k->ops->version(b), before);
    assert_int_equal(k->ops->post(k->a, "r1", "x", "1", 1, NULL), MOON_OK);
    uint64_t after = k->ops->version(b);
    assert_int_not_equal(after, before);
    assert_int_equal(kit_write(k->a, &w, "k", "{}"), MOON_OK);
    assert_int_not_equal(k->ops->version(b), after);
}

/* ---- purging ---- */

static void test_journal_store__a_purged_run_is_gone(void **state) {
    store_kit *k = *state;
    writer gone = kit_create(k->a, "gone"), stays = kit_create(k->a, "stays");
    draft d[2] = {draft_of(&gone), draft_of(&stays)};
    draft_add(&d[0], "k", "{}");
    draft_timer(&d[0], "t", 5);
    draft_blob(&d[0], "only its own", 12);
    draft_add(&d[1], "k", "{}");
    draft_timer(&d[1], "t", 6);
    draft_blob(&d[1], "of both", 7);
    assert_int_equal(kit_send(k->a, d, 2), MOON_OK);
    d[0] = draft_of(&gone);
    draft_blob(&d[0], "of both", 7);
    assert_int_equal(kit_send_one(k->a, &d[0]), MOON_OK);
    assert_int_equal(kit_write(k->a, &gone, "k", "{}"), MOON_OK);
    assert_int_equal(k->ops->post(k->a, "gone", "o", "1", 1, NULL), MOON_OK);
    assert_int_equal(k->ops->purge(k->a, "gone", NULL), MOON_EBUSY); /* it is being driven: by ourselves */
    assert_int_equal(k->ops->purge(kit_b(k), "gone", NULL), MOON_EBUSY);
    k->ops->release(k->a, "gone");
    assert_int_equal(k->ops->purge(k->b, "gone", NULL), MOON_OK);
    assert_int_equal(kit_read(k->a, "gone"), MOON_ENOTFOUND);
    kit_expect_list(k->a, (moon_query){.state = -1}, "stays ");
    kit_expect_due(k->a, 10, 0, "stays:t:6 ");
    assert_int_equal(kit_blob(k->a, "only its own", 12), MOON_ENOTFOUND);
    assert_int_equal(kit_blob(k->a, "of both", 7), MOON_OK);
    /* Who wrote to it finds out, and does not write to another one. */
    writer next = kit_create(k->b, "next");
    assert_int_equal(kit_write(k->a, &gone, "k", "{}"), MOON_ENOTFOUND);
    assert_int_equal(k->ops->post(k->a, "gone", "p", "1", 1, NULL), MOON_ENOTFOUND);
    assert_int_equal(kit_write(k->b, &next, "k", "{}"), MOON_OK);
    assert_int_equal(kit_write(k->a, &stays, "k", "{}"), MOON_OK);
    kit_expect(k->a, "next", 1, 0, "1::{} 2:k:{} ");
    /* And the name is free. */
    kit_create(k->a, "gone");
    kit_expect(k->b, "gone", 1, 0, "1::{} ");
    assert_string_equal(kit_inbox(k->b, "gone").text, "");
    kit_expect_sound(k->a);
}

/* Its name may have been given again by others, since this handle saw it last. */
static void test_journal_store__a_claim_is_one_on_the_run_that_is_there_now(void **state) {
    store_kit *k = *state;
    moon_store *a = k->a, *b = kit_b(k);
    kit_create(a, "r1");
    k->ops->release(a, "r1");
    assert_int_equal(k->ops->purge(b, "r1", NULL), MOON_OK);
    kit_create(b, "r1");
    k->ops->release(b, "r1");
    assert_int_equal(k->ops->claim(a, "r1", NULL), MOON_OK);
    assert_int_equal(k->ops->claim(b, "r1", NULL), MOON_EBUSY);
    k->ops->release(a, "r1");
    assert_int_equal(k->ops->claim(b, "r1", NULL), MOON_OK);
}

static void test_journal_store__a_side_operation_that_is_not_whole_is_misuse(void **state) {
    store_kit *k = *state;
    writer w = kit_create(k->a, "r1"), made = {.run = "r2"};
    for (int i = 0; i < 2; i++) {
        draft d = draft_of(i ? &made : &w);
        if (i)
            draft_create(&d);
        else
            draft_add(&d, "k", "{}");
        draft_timer(&d, NULL, 5);
        assert_int_equal(kit_send_one(k->a, &d), MOON_EINVAL);
    }
    kit_expect(k->a, "r1", 1, 0, "1::{} ");
    kit_expect_list(k->a, (moon_query){.state = -1}, "r1 ");
}

static void test_journal_store__what_a_fork_needs_is_not_purged(void **state) {
    store_kit *k = *state;
    writer base = kit_create(k->a, "base"), fork = base;
    strcpy(fork.run, "fork");
    draft d = draft_of(&fork);
    draft_fork(&d, &base, 1);
    assert_int_equal(kit_send_one(k->a, &d), MOON_OK);
    k->ops->release(k->a, "base");
    k->ops->release(k->a, "fork");
    moon_error error = {0};
    assert_int_equal(k->ops->purge(k->a, "base", &error), MOON_EBUSY);
    assert_non_null(strstr(error.text, "fork"));
    kit_expect(k->a, "fork", 1, 0, "1::{} 2::{} ");
    assert_false(kit_claimed(k->a, "base"));
    assert_int_equal(k->ops->purge(k->a, "fork", NULL), MOON_OK);
    assert_int_equal(k->ops->purge(k->a, "base", NULL), MOON_OK);
    kit_expect_list(k->a, (moon_query){.state = -1}, "");
    kit_expect_sound(k->a);
}

#define STORE_SUITE(up, down)                                                                                          \
    cmocka_unit_test_setup_teardown(test_journal_store__a_record_comes_back_as_it_was, up, down),                      \
        cmocka_unit_test_setup_teardown(test_journal_store__reads_what_is_asked_for, up, down),                        \
        cmocka_unit_test_setup_teardown(test_journal_store__a_reader_may_have_enough, up, down),                       \
        cmocka_unit_test_setup_teardown(test_journal_store__what_was_kept_is_there_after_opening_again, up, down),     \
        cmocka_unit_test_setup_teardown(test_journal_store__bodies_of_all_sizes, up, down),                            \
        cmocka_unit_test_setup_teardown(test_journal_store__a_conflict_changes_nothing_and_leaves_the_others, up,      \
                                        down),                                                                         \
        cmocka_unit_test_setup_teardown(test_journal_store__of_two_owners_one_is_refused, up, down),                   \
        cmocka_unit_test_setup_teardown(test_journal_store__an_append_without_records_has_to_know_the_last_one_too,    \
                                        up, down),                                                                     \
        cmocka_unit_test_setup_teardown(test_journal_store__records_that_are_not_the_next_are_misuse, up, down),       \
        cmocka_unit_test_setup_teardown(test_journal_store__unknown_runs, up, down),                                   \
        cmocka_unit_test_setup_teardown(test_journal_store__a_creation_that_is_refused_leaves_nothing, up, down),      \
        cmocka_unit_test_setup_teardown(test_journal_store__bytes_are_kept_under_their_hash, up, down),                \
        cmocka_unit_test_setup_teardown(test_journal_store__a_fork_reads_what_was_before_it, up, down),                \
        cmocka_unit_test_setup_teardown(test_journal_store__a_fork_tells_where_it_comes_from, up, down),               \
        cmocka_unit_test_setup_teardown(test_journal_store__a_fork_at_what_is_not_there_is_refused, up, down),         \
        cmocka_unit_test_setup_teardown(test_journal_store__a_run_is_driven_by_one, up, down),                         \
        cmocka_unit_test_setup_teardown(test_journal_store__what_is_posted_is_taken_once, up, down),                   \
        cmocka_unit_test_setup_teardown(test_journal_store__several_items_are_taken_together_or_not, up, down),        \
        cmocka_unit_test_setup_teardown(test_journal_store__an_owner_who_was_overtaken_takes_nothing, up, down),       \
        cmocka_unit_test_setup_teardown(test_journal_store__timers_come_due_in_order, up, down),                       \
        cmocka_unit_test_setup_teardown(test_journal_store__runs_are_listed_newest_first, up, down),                   \
        cmocka_unit_test_setup_teardown(test_journal_store__what_is_known_of_a_run_is_updated, up, down),              \
        cmocka_unit_test_setup_teardown(test_journal_store__the_version_is_another_one_when_others_have_written, up,   \
                                        down),                                                                         \
        cmocka_unit_test_setup_teardown(test_journal_store__a_purged_run_is_gone, up, down),                           \
        cmocka_unit_test_setup_teardown(test_journal_store__a_claim_is_one_on_the_run_that_is_there_now, up, down),    \
        cmocka_unit_test_setup_teardown(test_journal_store__a_side_operation_that_is_not_whole_is_misuse, up, down),   \
        cmocka_unit_test_setup_teardown(test_journal_store__what_a_fork_needs_is_not_purged, up, down)
#endif
