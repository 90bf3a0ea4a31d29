/* SPDX-License-Identifier: MIT */
/* Configuration files: what they may say, and what a repository's may not. */
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "script.h"

static moon_status load(moon__config *config, const char *text, bool trusted, moon_error *error) {
    *error = (moon_error){0};
    return moon__config_text(config, text, strlen(text), "config.lua", trusted, error);
}

static void test_config__all_fields(void **state) {
    (void)state;
    moon__config config;
    moon_error error;
    static const char text[] = "\xEF\xBB\xBF#!x\n-- mine\nlocal m = 'openai/gpt'\nreturn { model = m .. '-5', limits = "
                               "{ steps = 5, tool_calls = 0, seconds = 60, tokens = 1000, usd = 0.5 }, "
                               "policy = { shell = 'deny', ['file.write'] = 'allow', git = 'ask' }, providers = { mine "
                               "= { base_url = 'http://x' } }, plugins = { '/a.so', '/b.so' } }";
    if (load(&config, text, true, &error)) fail_msg("%s", error.text);
    assert_string_equal(config.model, "openai/gpt-5");
    assert_int_equal(config.limits.steps, 5);
    assert_int_equal(config.limits.tool_calls, 0);
    assert_int_equal(config.limits.seconds, 60);
    assert_int_equal(config.limits.tokens, 1000);
    assert_true(config.limits.usd == 0.5);
    assert_string_equal(moon_json_str(moon_json_get(config.policy, "file.write"), NULL), "allow");
    assert_string_equal(moon_json_str(moon_json_get(moon_json_get(config.providers, "mine"), "base_url"), NULL),
                        "http://x");
    assert_int_equal(moon_json_size(config.plugins), 2);
    moon__config_free(&config);
    assert_null(config.model);
}

static void test_config__nothing_given(void **state) {
    (void)state;
    moon__config config;
    moon_error error;
    static const char *const texts[] = {"return {}",
                                        "return { plugins = {}, policy = {}, limits = {}, providers = {} }"};
    for (size_t i = 0; i < 2; i++) {
        if (load(&config, texts[i], true, &error)) fail_msg("%s", error.text);
        assert_null(config.model);
        assert_int_equal(config.limits.steps, -1);
        assert_true(config.limits.usd < 0);
        assert_int_equal(moon_json_size(config.plugins), 0);
        moon__config_free(&config);
    }
}

static void test_config__errors(void **state) {
    (void)state;
    static const struct {
        const char *label, *text;
        moon_status status;
        const char *where, *part;
    } rows[] = {
        {"syntax", "return {\n  model = = 1 }", MOON_ESCRIPT, "config.lua:2", "unexpected symbol near '='"},
        {"no table", "model = 'x'", MOON_ESCRIPT, "config.lua", "a configuration file returns a table"},
        {"a list", "return { 'x' }", MOON_EINVAL, "config.lua", "named fields"},
        {"unknown field", "return { modle = 'x' }", MOON_EINVAL, "config.lua",
         "unknown field \"modle\" (did you mean \"model\"?)"},
        {"model", "return { model = 5 }", MOON_EINVAL, "config.lua", "model must be a string"},
        {"empty model", "return { model = '' }", MOON_EINVAL, "config.lua", "model must be a string"},
        {"limits", "return { limits = 5 }", MOON_EINVAL, "config.lua", "limits must be a table"},
        {"unknown limit", "return { limits = { step = 5 } }", MOON_EINVAL, "config.lua",
         "unknown limit \"step\" (did you mean \"steps\"?)"},
        {"negative limit", "return { limits = { steps = -1 } }", MOON_EINVAL, "config.lua",
         "limits.steps must be a whole number"},
        {"broken limit", "return { limits = { steps = 1.5 } }", MOON_EINVAL, "config.lua",
         "limits.steps must be a whole number"},
        {"negative usd", "return { limits = { usd = -0.1 } }", MOON_EINVAL, "config.lua", "limits.usd"},
        {"NaN", "return { limits = { usd = 0/0 } }", MOON_ESCRIPT, "config.lua", "limits.usd: NaN"},
        {"verdict", "return { policy = { shell = 'alow' } }", MOON_EINVAL, "config.lua",
         "unknown verdict of policy \"alow\" (did you mean \"allow\"?)"},
        {"verdict of another type", "return { policy = { shell = true } }", MOON_EINVAL, "config.lua",
         "\"allow\", \"ask\" or \"deny\""},
        {"plugins", "return { plugins = 'x' }", MOON_EINVAL, "config.lua", "plugins must be a list"},
        {"plugins of another type", "return { plugins = { 5 } }", MOON_EINVAL, "config.lua", "plugins must be a list"},
        {"providers", "return { providers = 'x' }", MOON_EINVAL, "config.lua", "providers must be a table"},
        {"no libraries", "\nreturn { model = os.getenv('HOME') }", MOON_ESCRIPT, "config.lua:2", "os"},
        {"no require", "return require 'x'", MOON_ESCRIPT, "config.lua:1", "require"},
        {"no print", "print 'x' return {}", MOON_ESCRIPT, "config.lua:1", "print"},
        {"loop", "while true do end", MOON_ELIMIT, "config.lua:1", "instruction budget"},
        {"memory", "local s = 'xxxxxxxxxxxxxxxx'\nwhile true do s = s .. s end", MOON_ELIMIT, "config.lua",
         "not enough memory (a script may use 1 MiB)"},
        {"function", "return { model = function() end }", MOON_ESCRIPT, "config.lua",
         "model: a function has no JSON form"},
        {"cycle", "local t = {} t.policy = t return t", MOON_ESCRIPT, "config.lua", "contains itself"},
        {"bytecode", "\x1BLua", MOON_ESCRIPT, "config.lua", "compiled Lua"},
        {"error", "return nil + 1", MOON_ESCRIPT, "config.lua:1", "arithmetic on a nil value"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        moon__config config;
        moon_error error;
        moon_status status = load(&config, rows[i].text, true, &error);
        if (status != rows[i].status || !strstr(error.text, rows[i].part) || !strstr(error.where, rows[i].where))
            fail_msg("%s: %d at \"%s\": \"%s\"", rows[i].label, status, error.where, error.text);
        assert_null(config.json);
    }
}

static void test_config__a_repository_may_only_tighten(void **state) {
    (void)state;
    static const struct {
        const char *text;
        moon_status status;
        const char *part;
    } rows[] = {
        {"return { model = 'x', limits = { steps = 3 }, policy = { shell = 'deny', file = 'ask' } }", MOON_OK, ""},
        {"return { policy = { shell = 'allow' } }", MOON_EDENIED, "cannot allow shell"},
        {"return { providers = { openai = { base_url = 'http://evil' } } }", MOON_EDENIED,
         "providers is not accepted from a repository"},
        {"return { plugins = { './x.so' } }", MOON_EDENIED, "plugins is not accepted from a repository"},
        {"return { plugins = {} }", MOON_EDENIED, "plugins is not accepted"},
        {"return { providrs = {} }", MOON_EINVAL, "did you mean \"providers\"?"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        moon__config config;
        moon_error error;
        moon_status status = load(&config, rows[i].text, false, &error);
        if (status != rows[i].status || !strstr(error.text, rows[i].part))
            fail_msg("%s: %d \"%s\"", rows[i].text, status, error.text);
        moon__config_free(&config);
    }
}

static void test_config__files(void **state) {
    (void)state;
    char dir[] = "/tmp/moonlet-config-XXXXXX", path[64];
    moon__config config;
    moon_error error = {0};
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/config.lua", dir);
    assert_int_equal(moon__config_load(&config, path, true, &error), MOON_ENOTFOUND);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs("return { model = 'a/b' }", file);
    fclose(file);
    assert_int_equal(moon__config_load(&config, path, true, &error), MOON_OK);
    assert_string_equal(config.model, "a/b");
    moon__config_free(&config);
    assert_int_equal(moon__config_load(&config, dir, true, &error), MOON_EINVAL);
    assert_int_equal(moon__config_load(&config, "/dev/zero", true, &error), MOON_EINVAL);
    unlink(path);
    rmdir(dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_config__all_fields), cmocka_unit_test(test_config__nothing_given),
        cmocka_unit_test(test_config__errors),     cmocka_unit_test(test_config__a_repository_may_only_tighten),
        cmocka_unit_test(test_config__files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
