/* SPDX-License-Identifier: MIT */
/* Runs the tests that are written in Lua: each tests/lua/cases/test_*.lua is a script whose function raises if
 * something is not as it should be, and gives the number of things it looked at. */
#include "lua_host.h"

#include <glob.h>

static void run_file(const char *path) {
    lua_host *host = lua_new();
    moon_runnable *runnable = NULL;
    if (moon_script_load(&runnable, host->runtime, path, &host->error))
        fail_msg("%s: %s: %s", path, host->error.where, host->error.text);
    lua_start(host, runnable, "");
    lua_result r = lua_finish(host);
    if (r.stop != MOON_STOP_DONE) fail_msg("%s: %s", path, r.error);
    if (atoi(r.text) <= 0) fail_msg("%s looked at nothing: \"%s\"", path, r.text);
    print_message("%s: %s\n", path, r.text);
    moon_runnable_unref(runnable);
    lua_free(host);
}

static void test_cases__pass(void **state) {
    (void)state;
    glob_t found;
    assert_int_equal(glob("tests/lua/cases/test_*.lua", 0, NULL, &found), 0);
    for (size_t i = 0; i < found.gl_pathc; i++) run_file(found.gl_pathv[i]);
    globfree(&found);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_cases__pass)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
