/* SPDX-License-Identifier: MIT */
/* The Lua API against its annotations, runtime/lua/types/moonlet.lua: what there is is documented, what is documented
 * is there. Whoever adds a function to the module is reminded here. */
#include "lua_host.h"

static char *read_file(const char *path) {
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    char *text = calloc(1, 1 << 20);
    assert_non_null(text);
    assert_true(fread(text, 1, (1 << 20) - 1, file) > 1000);
    fclose(file);
    return text;
}

static void test_types__are_those_of_the_module(void **state) {
    (void)state;
    lua_host *host = lua_new();
    char *types = read_file("runtime/lua/types/moonlet.lua");
    moon_runnable *runnable;
    if (moon_script_load(&runnable, host->runtime, "tests/lua/types.lua", &host->error))
        fail_msg("%s: %s", host->error.where, host->error.text);
    lua_start(host, runnable, types);
    lua_result r = lua_finish(host);
    moon_runnable_unref(runnable);
    if (r.stop != MOON_STOP_DONE || strncmp(r.text, "all ", 4) != 0) fail_msg("%s%s", r.text, r.error);
    assert_true(atoi(r.text + 4) > 80);
    free(types);
    lua_free(host);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_types__are_those_of_the_module)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
