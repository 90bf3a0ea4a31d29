/* SPDX-License-Identifier: MIT */
/* Walks over pages whose pointers lead to the same rows again and again: they end, and say that there is damage. */
#include <fcntl.h>
#include <sqlite3.h>

#include "store_kit.h"

enum { PAGE = 8192, ROWS = 3000, INTERIOR_INDEX = 2 };

static int set_up(void **state) {
    *state = kit_new(&moon_store_sqlite);
    return 0;
}

static int tear_down(void **state) {
    kit_free(*state);
    return 0;
}

static int64_t sql(const store_kit *k, const char *text) {
    sqlite3 *db;
    sqlite3_stmt *s = NULL;
    int64_t number = -1;
    assert_int_equal(sqlite3_open(k->place, &db), SQLITE_OK);
    if (sqlite3_prepare_v2(db, text, -1, &s, NULL) != SQLITE_OK) fail_msg("%s: %s", text, sqlite3_errmsg(db));
    if (sqlite3_step(s) == SQLITE_ROW) number = sqlite3_column_int64(s, 0);
    if (sqlite3_finalize(s) != SQLITE_OK) fail_msg("%s: %s", text, sqlite3_errmsg(db));
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    return number;
}

static unsigned get(const unsigned char *p, int n) {
    unsigned value = 0;
    for (int i = 0; i < n; i++) value = value << 8 | p[i];
    return value;
}

/* All pointers of the index's root lead to its first page. The store is closed meanwhile. */
static void damage(store_kit *k, const char *index) {
    char text[120];
    unsigned char page[PAGE];
    snprintf(text, sizeof text, "SELECT rootpage FROM sqlite_master WHERE name = '%s'", index);
    off_t at = (off_t)(sql(k, text) - 1) * PAGE;
    sql(k, "PRAGMA wal_checkpoint(TRUNCATE)");
    int fd = open(k->place, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, page, PAGE, at), PAGE);
    assert_int_equal(page[0], INTERIOR_INDEX);
    unsigned cells = get(page + 3, 2);
    assert_true(cells > 4);
    const unsigned char *first = page + get(page + 12, 2);
    for (unsigned i = 1; i < cells; i++) memcpy(page + get(page + 12 + 2 * i, 2), first, 4);
    memcpy(page + 8, first, 4);
    assert_int_equal(pwrite(fd, page, PAGE, at), PAGE);
    assert_int_equal(close(fd), 0);
}

static bool count_item(void *ctx, int64_t item, const char *body, size_t length) {
    (void)item, (void)body, (void)length;
    ++*(size_t *)ctx;
    return true;
}

static bool count_due(void *ctx, const char *run, const char *key, int64_t due_us) {
    (void)run, (void)key, (void)due_us;
    ++*(size_t *)ctx;
    return true;
}

#define MANY "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000) "

static void test_journal_sqlite_walks__an_inbox_ends(void **state) {
    store_kit *k = *state;
    size_t n = 0;
    kit_create(k->a, "r1");
    kit_close(k);
    sql(k, "INSERT INTO inbox(run, once, body) " MANY "SELECT 1, printf('%050d', (i * 7919) % 3001), i FROM n");
    k->a = kit_open(k);
    assert_int_equal(k->ops->inbox(k->a, "r1", count_item, &n, &k->error), MOON_OK);
    assert_int_equal(n, ROWS);
    kit_close(k);
    damage(k, "sqlite_autoindex_inbox_1");
    k->a = kit_open(k);
    n = 0;
    assert_int_equal(k->ops->inbox(k->a, "r1", count_item, &n, &k->error), MOON_ECORRUPT);
    assert_int_equal(n, 0); /* in no order that means anything */
}

static void test_journal_sqlite_walks__items_come_in_their_order(void **state) {
    store_kit *k = *state;
    kit_create(k->a, "r1");
    static const char *const once[] = {"m", "z", "a", "k"};
    static const char *const bodies[] = {"1", "2", "3", "4"};
    for (int i = 0; i < 4; i++) assert_int_equal(k->ops->post(k->a, "r1", once[i], bodies[i], 1, NULL), MOON_OK);
    assert_string_equal(kit_inbox(k->a, "r1").text, "1 2 3 4 ");
}

static void test_journal_sqlite_walks__timers_end(void **state) {
    store_kit *k = *state;
    size_t n = 0;
    kit_create(k->a, "r1");
    kit_close(k);
    sql(k, "INSERT INTO timers(run, key, due_us) " MANY "SELECT 1, printf('%050d', i), i / 10 FROM n");
    k->a = kit_open(k);
    assert_int_equal(k->ops->due(k->a, INT64_MAX, 0, count_due, &n, &k->error), MOON_OK);
    assert_int_equal(n, ROWS);
    kit_close(k);
    damage(k, "timers_due");
    k->a = kit_open(k);
    n = 0;
    assert_int_equal(k->ops->due(k->a, INT64_MAX, 0, count_due, &n, &k->error), MOON_ECORRUPT);
    assert_true(n < ROWS);
    n = 0;
    assert_int_equal(k->ops->due(k->a, INT64_MAX, 5, count_due, &n, &k->error), MOON_OK);
    assert_int_equal(n, 5);
}

/* What passes over rows must not do so for ever either. */
static void test_journal_sqlite_walks__rows_that_are_passed_over_count(void **state) {
    store_kit *k = *state;
    size_t n = 0;
    kit_create(k->a, "r1");
    kit_close(k);
    sql(k, "INSERT INTO timers(run, key, due_us) " MANY "SELECT 77, printf('%050d', i), i / 10 FROM n");
    sql(k, "INSERT INTO inbox(run, once, body, taken) " MANY "SELECT 1, printf('%050d', i), i, 1 FROM n");
    k->a = kit_open(k);
    assert_int_equal(k->ops->due(k->a, INT64_MAX, 0, count_due, &n, &k->error), MOON_OK);
    assert_int_equal(k->ops->inbox(k->a, "r1", count_item, &n, &k->error), MOON_OK);
    assert_int_equal(n, 0);
    kit_close(k);
    damage(k, "timers_due");
    damage(k, "sqlite_autoindex_inbox_1");
    k->a = kit_open(k);
    assert_int_equal(k->ops->due(k->a, INT64_MAX, 0, count_due, &n, &k->error), MOON_ECORRUPT);
    assert_int_equal(k->ops->inbox(k->a, "r1", count_item, &n, &k->error), MOON_ECORRUPT);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(test_journal_sqlite_walks__##name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(an_inbox_ends),
        T(items_come_in_their_order),
        T(timers_end),
        T(rows_that_are_passed_over_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
