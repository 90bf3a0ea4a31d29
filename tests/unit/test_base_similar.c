/* SPDX-License-Identifier: MIT */
/* How alike texts are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "similar.h"

static double of(const char *a, const char *b) {
    return moon__similar(a, strlen(a), b, strlen(b));
}

static void test_similar__bounds(void **state) {
    static const struct {
        const char *label, *a, *b;
        double low, high;
    } rows[] = {
        {"equal", "the invoice", "the invoice", 1, 1},
        {"but for case and space", "The  Invoice\n", " the\tinvoice", 1, 1},
        {"nothing in common", "abc", "xyz", 0, 0.05},
        {"empty", "", "", 0, 0},
        {"empty and not", "", "abc", 0, 0},
        {"only space", " \n", "abc", 0, 0},
        {"one letter", "a", "a", 1, 1},
        {"a part", "invoice", "the invoice of March", 0.4, 0.9},
        {"Thai", "อาหารไทย", "ร้านอาหารไทย", 0.6, 0.95},
        {"invalid bytes", "\xFF\xFE\xFD", "\xFF\xFE\xFD", 1, 1},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        double there = of(rows[i].a, rows[i].b), back = of(rows[i].b, rows[i].a);
        if (there < rows[i].low || there > rows[i].high || there != back)
            fail_msg("%s: %f and %f", rows[i].label, there, back);
    }
}

static void test_similar__the_nearer_is_larger(void **state) {
    const char *question = "how do I list branches that are merged?";
    (void)state;
    assert_true(of(question, "how are merged branches listed?") > of(question, "how do I write a commit message?"));
    assert_true(of(question, "how do I write a commit message?") > of(question, "zlib 1.3"));
}

/* The value itself is part of what holds: prompts that were chosen by it are the same on every machine. */
static void test_similar__is_the_same_everywhere(void **state) {
    (void)state;
    assert_int_equal((int)(of("the quick brown fox", "the quick red fox") * 1e6), 667697);
}

/* Zero bytes are bytes, and much text takes linear time. */
static void test_similar__any_bytes(void **state) {
    size_t n = 8 << 20;
    char *a = malloc(n);
    (void)state;
    assert_non_null(a);
    for (size_t i = 0; i < n; i++) a[i] = (char)(i * 2654435761U >> 13);
    assert_true(moon__similar(a, n, a, n) == 1);
    assert_true(moon__similar("a\0b", 3, "a\0b", 3) == 1);
    free(a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_similar__bounds),
        cmocka_unit_test(test_similar__the_nearer_is_larger),
        cmocka_unit_test(test_similar__is_the_same_everywhere),
        cmocka_unit_test(test_similar__any_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
