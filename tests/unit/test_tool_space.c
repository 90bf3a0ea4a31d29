/* SPDX-License-Identifier: MIT */
/* The workspace: nothing gets out of it, writes are atomic, what was seen is remembered, long results are kept. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "space.h"

typedef struct fixture {
    char top[64], root[80], outside[80];
    moon__space *space;
    moon__scratch *scratch;
} fixture;

static void put(const char *dir, const char *name, const char *text) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void begin(fixture *f) {
    moon_error error = {0};
    snprintf(f->top, sizeof f->top, "/tmp/moonlet-test-XXXXXX");
    assert_non_null(mkdtemp(f->top));
    snprintf(f->root, sizeof f->root, "%s/root", f->top);
    snprintf(f->outside, sizeof f->outside, "%s/outside", f->top);
    assert_int_equal(mkdir(f->root, 0755), 0);
    assert_int_equal(mkdir(f->outside, 0755), 0);
    put(f->root, "a.txt", "inside");
    put(f->outside, "secret", "outside");
    if (moon__space_new(&f->space, f->root, &error)) fail_msg("%s", error.text);
    assert_int_equal(moon__scratch_new(&f->scratch, f->space, &error), MOON_OK);
}

static void end(fixture *f) {
    char command[128];
    moon__scratch_free(f->scratch);
    moon__space_free(f->space);
    snprintf(command, sizeof command, "rm -rf '%s'", f->top);
    assert_int_equal(system(command), 0);
}

static moon_status try_open(fixture *f, const char *path, char text[64]) {
    int fd;
    moon_error error = {0};
    moon_status status = moon__scratch_open(f->scratch, path, O_RDONLY, 0, &fd, &error);
    if (status) {
        assert_true(error.text[0] != 0);
        return status;
    }
    ssize_t n = read(fd, text, 63);
    text[n < 0 ? 0 : n] = 0;
    close(fd);
    return MOON_OK;
}

static void test_tool_space__opens_what_lies_beneath(void **state) {
    (void)state;
    fixture f;
    char text[64], path[256];
    begin(&f);
    const char *good[] = {"a.txt", "./a.txt", ".//a.txt", "link"};
    snprintf(path, sizeof path, "%s/link", f.root);
    assert_int_equal(symlink("a.txt", path), 0);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(try_open(&f, good[i], text), MOON_OK);
        assert_string_equal(text, "inside");
    }
    snprintf(path, sizeof path, "%s/a.txt", f.root);
    assert_int_equal(try_open(&f, path, text), MOON_OK);
    assert_int_equal(try_open(&f, "none", text), MOON_ENOTFOUND);
    end(&f);
}

static void test_tool_space__nothing_leads_out(void **state) {
    (void)state;
    fixture f;
    char text[64], path[256], absolute[256];
    begin(&f);
    snprintf(path, sizeof path, "%s/abs", f.root);
    assert_int_equal(symlink(f.outside, path), 0);
    snprintf(path, sizeof path, "%s/rel", f.root);
    assert_int_equal(symlink("../outside", path), 0);
    snprintf(path, sizeof path, "%s/proc", f.root);
    assert_int_equal(symlink("/proc/self/root", path), 0);
    snprintf(absolute, sizeof absolute, "%s/secret", f.outside);
    snprintf(path, sizeof path, "%s/../outside/secret", f.root);
    const char *bad[] = {
        "../outside/secret",      "abs/secret", "rel/secret", "proc/etc/passwd", "/etc/passwd", absolute, path,
        "a/../../outside/secret", "..",         "/"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (try_open(&f, bad[i], text) == MOON_OK) fail_msg("%s was opened", bad[i]);
    moon_error error = {0};
    const char *bad_writes[] = {"../outside/new", "abs/new", "rel/new", "rel/secret", absolute, "..", ".", "x/.."};
    for (size_t i = 0; i < sizeof bad_writes / sizeof *bad_writes; i++)
        if (moon__scratch_replace(f.scratch, bad_writes[i], "x", 1, 0, &error) == MOON_OK)
            fail_msg("%s was written", bad_writes[i]);
    snprintf(path, sizeof path, "%s/new", f.outside);
    assert_int_not_equal(access(path, F_OK), 0);
    end(&f);
}

typedef struct swapper {
    const fixture *f;
    atomic_bool stop;
} swapper;

/* Swaps a directory and a symlink that leads outside, as fast as it can. */
static void *swap(void *ctx) {
    swapper *s = ctx;
    char dir[128], link[128], spare[128];
    snprintf(dir, sizeof dir, "%s/d", s->f->root);
    snprintf(link, sizeof link, "%s/l", s->f->root);
    snprintf(spare, sizeof spare, "%s/s", s->f->root);
    while (!atomic_load(&s->stop)) {
        rename(dir, spare);
        rename(link, dir);
        rename(dir, link);
        rename(spare, dir);
    }
    return NULL;
}

static void test_tool_space__a_rename_race_does_not_lead_out(void **state) {
    (void)state;
    fixture f;
    char path[128], text[64];
    pthread_t thread;
    begin(&f);
    snprintf(path, sizeof path, "%s/d", f.root);
    assert_int_equal(mkdir(path, 0755), 0);
    put(path, "secret", "inside");
    snprintf(path, sizeof path, "%s/l", f.root);
    assert_int_equal(symlink("../outside", path), 0);
    swapper s = {.f = &f};
    assert_int_equal(pthread_create(&thread, NULL, swap, &s), 0);
    int inside = 0;
    for (int i = 0; i < 20000; i++)
        if (try_open(&f, "d/secret", text) == MOON_OK) {
            assert_string_equal(text, "inside");
            inside++;
        }
    atomic_store(&s.stop, true);
    pthread_join(thread, NULL);
    assert_true(inside > 0);
    end(&f);
}

static void test_tool_space__replace_is_atomic_and_keeps_the_mode(void **state) {
    (void)state;
    fixture f;
    struct stat st;
    char path[128], text[64];
    moon_error error = {0};
    begin(&f);
    snprintf(path, sizeof path, "%s/a.txt", f.root);
    assert_int_equal(chmod(path, 0750), 0);
    assert_int_equal(moon__scratch_replace(f.scratch, "a.txt", "new", 3, 0, &error), MOON_OK);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0750);
    assert_int_equal(try_open(&f, "a.txt", text), MOON_OK);
    assert_string_equal(text, "new");
    assert_int_equal(moon__scratch_replace(f.scratch, "deep/er/file", "x", 1, 0, &error), MOON_OK);
    assert_int_equal(try_open(&f, "deep/er/file", text), MOON_OK);
    snprintf(path, sizeof path, "%s/link", f.root);
    assert_int_equal(symlink("a.txt", path), 0);
    assert_int_equal(moon__scratch_replace(f.scratch, "link", "x", 1, 0, &error), MOON_EDENIED);
    assert_int_equal(moon__scratch_replace(f.scratch, "deep", "x", 1, 0, &error), MOON_EDENIED);
    assert_int_not_equal(moon__scratch_replace(f.scratch, "a.txt/below", "x", 1, 0, &error), MOON_OK);
    snprintf(path, sizeof path, "ls -A '%s' | grep -q '^.moonlet-'", f.root);
    assert_int_not_equal(system(path), 0); /* no temporary file is left */
    end(&f);
}

static void test_tool_space__remembers_files_by_any_spelling(void **state) {
    (void)state;
    fixture f;
    uint64_t hash = 0;
    char path[128];
    begin(&f);
    assert_false(moon__scratch_recall(f.scratch, "a.txt", &hash));
    moon__scratch_remember(f.scratch, "./a.txt", 7);
    snprintf(path, sizeof path, "%s/a.txt", f.root);
    assert_true(moon__scratch_recall(f.scratch, path, &hash));
    assert_int_equal(hash, 7);
    moon__scratch_remember(f.scratch, "a.txt", 8);
    assert_true(moon__scratch_recall(f.scratch, "a.txt", &hash));
    assert_int_equal(hash, 8);
    end(&f);
}

static void test_tool_space__spilled_results_are_readable_and_go(void **state) {
    (void)state;
    fixture f;
    char name[32], text[64];
    moon_error error = {0};
    begin(&f);
    assert_int_equal(try_open(&f, "@spill/1.txt", text), MOON_ENOTFOUND);
    assert_int_equal(moon__scratch_spill(f.scratch, "whole", 5, name, &error), MOON_OK);
    assert_string_equal(name, "@spill/1.txt");
    assert_int_equal(try_open(&f, name, text), MOON_OK);
    assert_string_equal(text, "whole");
    assert_int_not_equal(moon__scratch_replace(f.scratch, name, "x", 1, 0, &error), MOON_OK);
    int fd;
    assert_int_not_equal(moon__scratch_open(f.scratch, name, O_WRONLY, 0, &fd, &error), MOON_OK);
    assert_int_not_equal(try_open(&f, "@spill/../../etc/passwd", text), MOON_OK);
    end(&f);
}

static void test_tool_space__a_spilled_result_can_be_put_back(void **state) {
    (void)state;
    static const char *const wrong[] = {"@spill/0.txt",   "@spill/01.txt",     "@spill/1.txt.", "@spill/1",
                                        "1.txt",          "@spill/../x.txt",   "@spill/-1.txt", "@spill/.txt",
                                        "@spill/1/2.txt", "@spill/9999999.txt"};
    fixture f;
    moon_error error = {0};
    char name[32], text[64];
    begin(&f);
    assert_int_equal(moon__scratch_restore(f.scratch, "@spill/3.txt", "third", 5, &error), MOON_OK);
    assert_int_equal(moon__scratch_restore(f.scratch, "@spill/1.txt", "first", 5, &error), MOON_OK);
    assert_int_not_equal(moon__scratch_restore(f.scratch, "@spill/1.txt", "again", 5, &error), MOON_OK);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        if (moon__scratch_restore(f.scratch, wrong[i], "x", 1, &error) != MOON_ECORRUPT) fail_msg("%s", wrong[i]);
    assert_int_equal(moon__scratch_spill(f.scratch, "next", 4, name, &error), MOON_OK);
    assert_string_equal(name, "@spill/4.txt");
    assert_int_equal(try_open(&f, "@spill/1.txt", text), MOON_OK);
    assert_string_equal(text, "first");
    assert_int_equal(try_open(&f, "@spill/3.txt", text), MOON_OK);
    assert_string_equal(text, "third");
    assert_int_equal(try_open(&f, "@spill/2.txt", text), MOON_ENOTFOUND);
    end(&f);
}

static void test_tool_space__missing_directory_is_an_error(void **state) {
    (void)state;
    moon__space *space;
    moon_error error = {0};
    assert_int_equal(moon__space_new(&space, "/nonexistent/x", &error), MOON_ENOTFOUND);
    assert_non_null(strstr(error.text, "/nonexistent/x"));
    assert_int_equal(moon__space_new(&space, "/dev/null", &error), MOON_EINVAL);
}

static void test_tool_space__a_part_has_files_of_its_own_and_results_in_common(void **state) {
    (void)state;
    fixture f;
    begin(&f);
    moon__scratch *part, *inner;
    moon_error error = {0};
    uint64_t hash = 0;
    int fd;
    char name[32], text[64], deep[600];
    assert_int_equal(moon__scratch_replace(f.scratch, "deep/a.txt", "inner", 5, 0, &error), MOON_OK);
    snprintf(deep, sizeof deep, "%s/deep", f.root);
    assert_int_equal(moon__scratch_part(&part, f.scratch, "/nonexistent/x", &error), MOON_OK);
    moon__scratch_remember(part, "/nonexistent/x/a.txt", 7); /* known before it is there */
    assert_int_equal(moon__scratch_enter(part, "/nonexistent/x", &error), MOON_ENOTFOUND);
    assert_int_equal(moon__scratch_open(part, "a.txt", O_RDONLY, 0, &fd, &error), MOON_EIO);
    assert_int_equal(moon__scratch_enter(part, deep, &error), MOON_OK);
    assert_string_equal(moon__space_path(moon__scratch_space(part)), deep);
    assert_int_equal(moon__scratch_open(part, "a.txt", O_RDONLY, 0, &fd, &error), MOON_OK);
    close(fd);
    assert_int_equal(moon__scratch_open(part, "../a.txt", O_RDONLY, 0, &fd, &error), MOON_EDENIED);
    assert_true(moon__scratch_recall(part, "a.txt", &hash));
    assert_int_equal(hash, 7);
    assert_false(moon__scratch_recall(f.scratch, "a.txt", &hash));
    assert_int_equal(moon__scratch_part(&inner, part, f.root, &error), MOON_OK);
    assert_int_equal(moon__scratch_spill(inner, "whole", 5, name, &error), MOON_OK);
    assert_int_equal(moon__scratch_note_set(part, "plan", "one"), MOON_OK);
    assert_string_equal(moon__scratch_note_get(f.scratch, "plan"), "one");
    moon__scratch_free(inner);
    assert_int_equal(try_open(&f, name, text), MOON_OK);
    assert_string_equal(text, "whole");
    moon__scratch_free(part);
    end(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tool_space__opens_what_lies_beneath),
        cmocka_unit_test(test_tool_space__nothing_leads_out),
        cmocka_unit_test(test_tool_space__a_rename_race_does_not_lead_out),
        cmocka_unit_test(test_tool_space__replace_is_atomic_and_keeps_the_mode),
        cmocka_unit_test(test_tool_space__remembers_files_by_any_spelling),
        cmocka_unit_test(test_tool_space__spilled_results_are_readable_and_go),
        cmocka_unit_test(test_tool_space__a_spilled_result_can_be_put_back),
        cmocka_unit_test(test_tool_space__missing_directory_is_an_error),
        cmocka_unit_test(test_tool_space__a_part_has_files_of_its_own_and_results_in_common),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
