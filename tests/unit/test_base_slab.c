/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "slab.h"

enum { N = 3000 };

static size_t size_of(int i) {
    return i % 50 ? (size_t)(i * 37 % 900) : 40000;
}

static void *fill(moon__slabs *slabs, int i) {
    void *piece = moon__slabs_take(slabs, size_of(i));
    assert_non_null(piece);
    assert_int_equal((uintptr_t)piece % _Alignof(max_align_t), 0);
    memset(piece, i & 255, size_of(i));
    return piece;
}

static void give(void *piece, int i) {
    for (size_t at = 0; at < size_of(i); at++) assert_int_equal(((unsigned char *)piece)[at], i & 255);
    moon__slabs_give(piece);
}

/* What lies side by side does not overlap, in whatever order it goes. (Leaks are the sanitizer's to find.) */
static void test_base_slab__pieces_stay_as_they_are(void **state) {
    (void)state;
    static void *pieces[N];
    for (int order = 0; order < 3; order++) {
        moon__slabs slabs = {0};
        for (int i = 0; i < N; i++) pieces[i] = fill(&slabs, i);
        for (int i = 0; i < N; i++) {
            int at = order == 0 ? i : order == 1 ? N - 1 - i : i * 7 % N;
            give(pieces[at], at);
        }
        moon__slabs_fini(&slabs);
    }
}

static void test_base_slab__the_last_piece_may_outlive_the_slabs(void **state) {
    (void)state;
    moon__slabs slabs = {0};
    void *small = fill(&slabs, 7), *large = fill(&slabs, 50);
    moon__slabs_fini(&slabs);
    give(large, 50);
    give(small, 7);
    moon__slabs_give(NULL);
}

/* One piece at a time takes no more than one slab. */
static void test_base_slab__an_empty_slab_is_used_again(void **state) {
    (void)state;
    moon__slabs slabs = {0};
    void *first = fill(&slabs, 1);
    give(first, 1);
    for (int i = 0; i < N; i++) {
        void *piece = fill(&slabs, 1);
        assert_ptr_equal(piece, first);
        give(piece, 1);
    }
    moon__slabs_fini(&slabs);
}

static void test_base_slab__too_much_is_refused(void **state) {
    (void)state;
    moon__slabs slabs = {0};
    assert_null(moon__slabs_take(&slabs, SIZE_MAX));
    assert_null(moon__slabs_take(&slabs, SIZE_MAX - 8));
    moon__slabs_fini(&slabs);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_base_slab__pieces_stay_as_they_are),
        cmocka_unit_test(test_base_slab__the_last_piece_may_outlive_the_slabs),
        cmocka_unit_test(test_base_slab__an_empty_slab_is_used_again),
        cmocka_unit_test(test_base_slab__too_much_is_refused),
    };
    return cmocka_run_group_tests_name("slab", tests, NULL, NULL);
}
