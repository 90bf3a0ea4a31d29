/* SPDX-License-Identifier: MIT */
/* search: what it finds, in which order, and what it leaves out. */
#include "tool_files.h"

#include "../../tools/builtin.h"
#include "../../tools/finder.h"

#define SEARCH &moon__tool_search

static void test_search__groups_by_file_in_path_order(void **state) {
    files *f = *state;
    files_put(f, "b/x.c", "one\ntwo TODO\n");
    files_put(f, "b.c", "TODO\r\nthree\nTODO again");
    files_put(f, "a/.hidden", "TODO\n");
    files_put(f, ".git/config", "TODO\n");
    files_put(f, ".gitignore", "*.log\n");
    files_put(f, "x.log", "TODO\n");
    files_put_bytes(f, "bin", "TODO\0", 5);
    assert_int_equal(symlink("b.c", files_path(f, "link")), 0);
    files_expect(f, SEARCH, "{\"pattern\":\"TODO\"}",
                 "4 matches in 3 files\n\na/.hidden\n1: TODO\n\nb.c\n1: TODO\n3: TODO again\n\nb/x.c\n2: two TODO\n");
    files_expect(f, SEARCH, "{\"pattern\":\"TODO\",\"files_only\":true}", "3 files match\n\na/.hidden\nb.c\nb/x.c\n");
    files_expect(f, SEARCH, "{\"pattern\":\"TODO\",\"glob\":\"*.c\",\"path\":\"b\"}",
                 "1 match in 1 file\n\nb/x.c\n2: two TODO\n");
    files_expect(f, SEARCH, "{\"pattern\":\"^TODO$\",\"path\":\"./b.c\"}", "1 match in 1 file\n\nb.c\n1: TODO\n");
    files_expect(f, SEARCH, "{\"pattern\":\"nowhere\"}", "no matches in 4 files searched; 1 binary file left out\n");
}

static void test_search__context(void **state) {
    files *f = *state;
    files_put(f, "a", "1\n2\nx\n4\n5\n6\nx\nx\n9\n");
    files_expect(f, SEARCH, "{\"pattern\":\"x\",\"context\":1}",
                 "3 matches in 1 file\n\na\n2- 2\n3: x\n4- 4\n6- 6\n7: x\n8: x\n9- 9\n");
    files_expect(f, SEARCH, "{\"pattern\":\"x\",\"context\":20}",
                 "3 matches in 1 file\n\na\n1- 1\n2- 2\n3: x\n4- 4\n5- 5\n6- 6\n7: x\n8: x\n9- 9\n");
}

static void test_search__limit_gives_the_first_in_path_order(void **state) {
    files *f = *state;
    char name[32], want[4000];
    for (int i = 0; i < 500; i++) {
        snprintf(name, sizeof name, "d%02d/f%03d", i / 20, i);
        files_put(f, name, i % 2 ? "x\nhit\nhit\n" : "miss\n");
    }
    int n = snprintf(want, sizeof want, "21+ matches in 11 files: limit reached, narrow the search\n");
    for (int i = 0; i < 11; i++)
        n += snprintf(want + n, sizeof want - (size_t)n, "\nd%02d/f%03d\n2: hit\n%s", (2 * i + 1) / 20, 2 * i + 1,
                      i < 10 ? "3: hit\n" : "");
    for (int round = 0; round < 20; round++) files_expect(f, SEARCH, "{\"pattern\":\"hit\",\"limit\":21}", want);
    files_expect(f, SEARCH, "{\"pattern\":\"hit\",\"limit\":2,\"files_only\":true}",
                 "2+ files match: limit reached, narrow the search\n\nd00/f001\nd00/f003\n");
    host_result r = files_call(f, SEARCH, "{\"pattern\":\"hit\",\"limit\":500}");
    assert_non_null(strstr(r.text, "500 matches in 250 files\n"));
}

static void test_search__patterns(void **state) {
    files *f = *state;
    static const char text[] =
        "int foo(void);\nbar\n\nint\nfoo\nstatic  inline\tx\na.b\n\"quoted\nnot\"\n\tFOO_init();\n"
        "na\xC3\xAFve\nbad \xFF byte\nlast";
    static const struct {
        const char *pattern, *flags, *lines;
    } rows[] = {
        {"foo", "", "1 5"},
        {"int\\\\s+foo", "", "1"}, /* not over the end of a line */
        {"static\\\\s+inline", "", "6"},
        {"^$", "", "3"},
        {"^bar$", "", "2"},
        {"\\\"[^\\\"]*$", "", "8 9"},
        {"^[^a-z]*$", "", "3"},
        {"\\\\w+_init", "", "10"},
        {"foo_init", ",\"ignore_case\":true", "10"},
        {"(?i)foo_INIT", "", "10"},
        {"a.b", ",\"literal\":true", "7"},
        {"a.b", "", "7"},
        {"NA\xC3\x8FVE", ",\"ignore_case\":true", "11"},
        {"NA\xC3\x8FVE", ",\"ignore_case\":true,\"literal\":true", "11"},
        {"na.ve", "", "11"},
        {"bad . byte", "", ""},
        {"bad .*", "", "12"},
        {"last$", "", "13"},
        {"last\\\\z", "", "13"}, /* line by line */
        {"\\\\Aint", "", "1 4"},
        {"foo|bar", "", "1 2 5"},
        {"(foo|bar)$", "", "2 5"},
        {"\\\\Qa.b\\\\E", "", "7"},
        {"int(?!\\\\s*foo)", "", "4"},
        {"(?<=\\\\t)x$", "", "6"},
        {"o{2}\\\\(", "", "1"},
        {"fo*x?o\\\\(v", "", "1"},
        {"fo{0}\\\\w+\\\\(v", "", "1"},
        {"[\\\\t]F", "", "10"},
        {"[[:upper:]]{3}_", "", "10"},
        {"[[:space:]]inline", "", "6"},
        {"[]\\\"]q", "", "8"},
        {"\\\\D\\\\W\\\\S", "", "1 6 7 10 11"},
    };
    files_put_bytes(f, "t", text, sizeof text - 1);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char args[200], got[200] = "";
        snprintf(args, sizeof args, "{\"pattern\":\"%s\"%s}", rows[i].pattern, rows[i].flags);
        host_result r = files_call(f, SEARCH, args);
        if (!r.ok) fail_msg("%s: %s", args, r.text);
        for (const char *p = strstr(r.text, "\nt\n"); p && *p; p = strchr(p + 1, '\n')) {
            char *end;
            unsigned long line = strtoul(p + 1, &end, 10);
            if (*end == ':') sprintf(got + strlen(got), "%s%lu", *got ? " " : "", line);
        }
        if (strcmp(got, rows[i].lines)) fail_msg("%s: lines \"%s\", expected \"%s\"", args, got, rows[i].lines);
    }
}

static void test_search__bad_patterns_are_explained(void **state) {
    files *f = *state;
    files_expect_fail(f, SEARCH, "{\"pattern\":\"foo(\"}",
                      "not sound at byte 4: missing closing parenthesis. For the text as it is, set literal=true");
    files_expect_fail(f, SEARCH, "{\"pattern\":\"a\\nb\",\"literal\":true}", "line ending");
    files_expect_fail(f, SEARCH, "{\"pattern\":\"a\",\"path\":\"nowhere\"}", "does not exist");
    files_expect_fail(f, SEARCH, "{\"pattern\":\"a\",\"path\":\"..\"}", "outside");
    assert_int_equal(mkfifo(files_path(f, "pipe"), 0600), 0);
    files_expect_fail(f, SEARCH, "{\"pattern\":\"a\",\"path\":\"pipe\"}", "a named pipe");
}

static void test_search__runaway_pattern_ends(void **state) {
    files *f = *state;
    files_put(f, "a", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!\n");
    files_expect_fail(f, SEARCH, "{\"pattern\":\"^(a+)+$\"}", "too many steps (in a)");
}

static void test_search__long_lines_are_cut_around_the_match(void **state) {
    files *f = *state;
    char line[2001];
    memset(line, '.', 2000);
    line[2000] = 0;
    memcpy(line + 1500, "needle", 6);
    files_put(f, "a", line);
    host_result r = files_call(f, SEARCH, "{\"pattern\":\"needle\"}");
    assert_true(r.ok && r.length < 500);
    const char *shown = strstr(r.text, "1: …");
    assert_non_null(shown);
    assert_non_null(strstr(shown, ".needle."));
    assert_string_equal(r.text + r.length - 5, ".…\n");
}

/* Files larger than the window: lines, numbers and context go on over its ends. */
static void test_search__large_file_is_one_text(void **state) {
    files *f = *state;
    FILE *out = fopen(files_path(f, "big"), "w");
    assert_non_null(out);
    for (int i = 1; i <= 200000; i++) fprintf(out, "%s %06d\n", i % 49999 ? "line" : "mark", i);
    fclose(out);
    files_expect(
        f, SEARCH, "{\"pattern\":\"mark\",\"context\":1}",
        "4 matches in 1 file\n\nbig\n49998- line 049998\n49999: mark 049999\n50000- line 050000\n99997- line 099997\n"
        "99998: mark 099998\n99999- line 099999\n149996- line 149996\n149997: mark 149997\n149998- line 149998\n"
        "199995- line 199995\n199996: mark 199996\n199997- line 199997\n");
    host_result all = files_call(f, SEARCH, "{\"pattern\":\"0$\",\"limit\":2000,\"context\":2}");
    assert_non_null(strstr(all.text, "\n19998- line 019998\n19999- line 019999\n"));
    out = fopen(files_path(f, "wide"), "w"); /* one line of 3 MiB */
    assert_non_null(out);
    for (int i = 0; i < 300000; i++) fputs("0123456789", out);
    fputs("end\nnext end\n", out);
    fclose(out);
    host_result r = files_call(f, SEARCH, "{\"pattern\":\"end$\",\"path\":\"wide\",\"context\":20}");
    assert_non_null(strstr(r.text, "2 matches in 1 file\n"));
    assert_non_null(strstr(r.text, "\n2: next end\n"));
}

static void test_search__odd_names_are_quoted(void **state) {
    files *f = *state;
    files_put(f, "a\n\x1b[31mb", "x\n");
    files_put(f, "caf\xE9", "x\n");
    files_put(f, "caf\xC3\xA9", "x\n");
    files_expect(f, SEARCH, "{\"pattern\":\"x\",\"files_only\":true}",
                 "3 files match\n\n\"a\\n\\033[31mb\"\ncaf\xC3\xA9\n\"caf\\351\"\n");
}

static void test_search__many_directories_and_files(void **state) {
    files *f = *state;
    char name[64];
    for (int i = 0; i < 2000; i++) {
        snprintf(name, sizeof name, "%d/%d/%d.txt", i % 7, i % 61, i);
        files_put(f, name, i % 3 ? "no\n" : "yes 1\nyes 2\n");
    }
    for (int round = 0; round < 5; round++) {
        host_result r = files_call(f, SEARCH, "{\"pattern\":\"yes\",\"limit\":2000}");
        assert_true(r.ok);
        assert_memory_equal(r.text, "1334 matches in 667 files\n", 26);
    }
}

/* Both ways of searching find the same lines: over the text at once, and line by line (which \A( )… forces). */
static void test_finder__whole_text_and_single_lines_agree(void **state) {
    (void)state;
    static const char *const patterns[] = {"a+b",     "[^x]y",  "\\s\\S", "^\\W",     "a$",    "(a|b)\\s*$",
                                           "\\bz",    "a{2,}",  "[^-a]$", "[^]]b",    "x?y*$", "(?:ab)+",
                                           "(?<=a)b", "a(?!b)", ".b.",    "[a-c]\\t", "\\.|z"};
    static const char letters[] = "aabbxyz \t\n\n\r.]-";
    char text[400], forced[64];
    uint64_t seed = 7;
    for (int round = 0; round < 300; round++) {
        for (size_t i = 0; i < sizeof text; i++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            text[i] = letters[(seed >> 33) % (sizeof letters - 1)];
            if (text[i] == '\r' && i + 1 < sizeof text) text[++i] = '\n';
        }
        for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
            moon__finder *a, *b;
            moon_error error;
            snprintf(forced, sizeof forced, "(?|%s)", patterns[i]);
            assert_int_equal(moon__finder_new(&a, patterns[i], strlen(patterns[i]), false, false, &error), MOON_OK);
            assert_int_equal(moon__finder_new(&b, forced, strlen(forced), false, false, &error), MOON_OK);
            moon__finder_state *as = moon__finder_state_new(a), *bs = moon__finder_state_new(b);
            const char *p = text, *end = text + sizeof text;
            for (moon__hit x, y; p < end; p = x.next) {
                moon__find found = moon__finder_next(a, as, p, end, &x);
                if (found != moon__finder_next(b, bs, p, end, &y)) fail_msg("%s: only one finds a line", patterns[i]);
                if (found == MOON__FIND_NONE) break;
                if (x.line != y.line || x.length != y.length || x.next != y.next)
                    fail_msg("%s: \"%.*s\" and \"%.*s\"", patterns[i], (int)x.length, x.line, (int)y.length, y.line);
            }
            moon__finder_state_free(as);
            moon__finder_state_free(bs);
            moon__finder_free(a);
            moon__finder_free(b);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        FILES_TEST(test_search__groups_by_file_in_path_order),
        FILES_TEST(test_search__context),
        FILES_TEST(test_search__limit_gives_the_first_in_path_order),
        FILES_TEST(test_search__patterns),
        FILES_TEST(test_search__bad_patterns_are_explained),
        FILES_TEST(test_search__runaway_pattern_ends),
        FILES_TEST(test_search__long_lines_are_cut_around_the_match),
        FILES_TEST(test_search__large_file_is_one_text),
        FILES_TEST(test_search__odd_names_are_quoted),
        FILES_TEST(test_search__many_directories_and_files),
        cmocka_unit_test(test_finder__whole_text_and_single_lines_agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
