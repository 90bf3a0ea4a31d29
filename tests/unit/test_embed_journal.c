/* SPDX-License-Identifier: MIT */
/* Where runs are kept by default: the folder is made, and is on the disk. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ftw.h>
#include <moonlet/moonlet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Instead of the C library's: it remembers what was synced. */
static char synced[16][128];
static size_t n_synced;

int fsync(int fd) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    if (n_synced < 16) {
        ssize_t n = readlink(link, synced[n_synced], sizeof synced[0] - 1);
        synced[n_synced++][n < 0 ? 0 : n] = 0;
    }
    return (int)syscall(SYS_fsync, fd);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw) {
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static void open_runtime(const char *dir) {
    moon_runtime *runtime;
    moon_error error = {0};
    moon_runtime_options options = {.size = sizeof options, .workspace = dir, .config = "", .journal = ""};
    if (moon_runtime_new(&runtime, &options, &error)) fail_msg("%s", error.text);
    assert_non_null(moon_runtime_journal(runtime));
    moon_runtime_free(runtime);
}

static bool was_synced(const char *path) {
    for (size_t i = 0; i < n_synced; i++)
        if (strcmp(synced[i], path) == 0) return true;
    return false;
}

static void test_embed_journal__a_folder_that_is_made_is_synced_above(void **state) {
    (void)state;
    char dir[] = "/tmp/moonlet-test-XXXXXX", path[4][100];
    assert_non_null(mkdtemp(dir));
    for (int i = 0; i < 4; i++) snprintf(path[i], sizeof path[i], "%s%.*s", dir, 2 * i, "/a/b/c");
    assert_int_equal(mkdir(path[1], 0700), 0);
    unsetenv("MOONLET_JOURNAL");
    setenv("XDG_STATE_HOME", path[3], 1);
    open_runtime(dir);
    assert_false(was_synced(path[0])); /* a was there */
    assert_true(was_synced(path[1]));
    assert_true(was_synced(path[2]));
    assert_true(was_synced(path[3])); /* moonlet was made in it */
    n_synced = 0;
    open_runtime(dir);
    for (int i = 0; i < 4; i++) assert_false(was_synced(path[i]));
    nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_embed_journal__a_folder_that_is_made_is_synced_above),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
