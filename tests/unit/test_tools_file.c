/* SPDX-License-Identifier: MIT */
/* file.read, file.write, file.edit and file.list, run as the runtime runs them; the rules of .gitignore against git. */
#include "tool_files.h"

#include <sys/socket.h>
#include <sys/un.h>

#include "../../tools/builtin.h"
#include "../../tools/edit.h"
#include "../../tools/glob.h"

#define READ  &moon__tool_file_read
#define WRITE &moon__tool_file_write
#define EDIT  &moon__tool_file_edit
#define LIST  &moon__tool_file_list

static void expect_part(const host_result *r, const char *part) {
    if (!strstr(r->text, part)) fail_msg("\"%s\" has no \"%s\"", r->text, part);
}

/* ---- file.read ---- */

static void test_file_read__lines_are_numbered(void **state) {
    files *f = *state;
    files_put(f, "a.txt", "one\ntwo\r\nthree");
    files_expect(f, READ, "{\"path\":\"a.txt\"}", "     1\tone\n     2\ttwo\n     3\tthree\n");
    files_expect(f, READ, "{\"path\":\"./a.txt\",\"offset\":3}", "     3\tthree\n");
    files_expect(f, READ, "{\"path\":\"a.txt\",\"limit\":1}",
                 "     1\tone\n[lines 1-1 of 3; continue with offset=2]\n");
    files_expect(f, READ, "{\"path\":\"a.txt\",\"offset\":2,\"limit\":1}",
                 "     2\ttwo\n[lines 2-2 of 3; continue with offset=3]\n");
    files_expect_fail(f, READ, "{\"path\":\"a.txt\",\"offset\":4}", "has 3 lines: there is no line 4");
}

static void test_file_read__empty_file_says_so(void **state) {
    files *f = *state;
    files_put(f, "e", "");
    files_expect(f, READ, "{\"path\":\"e\"}", "[e is empty]\n");
}

static void test_file_read__long_line_is_cut_between_characters(void **state) {
    files *f = *state;
    char line[3000], want[2200];
    memset(line, 'x', sizeof line);
    memcpy(line + 1999, "\xC3\xA9", 2);
    files_put_bytes(f, "l", line, sizeof line);
    int n = snprintf(want, sizeof want, "     1\t");
    memset(want + n, 'x', 1999);
    strcpy(want + n + 1999, " [… 1001 bytes more]\n");
    files_expect(f, READ, "{\"path\":\"l\"}", want);
}

static void test_file_read__invalid_utf8_is_replaced(void **state) {
    files *f = *state;
    files_put(f, "latin", "a long line of text with one \xE9 in it\n");
    files_expect(f, READ, "{\"path\":\"latin\"}", "     1\ta long line of text with one \xEF\xBF\xBD in it\n");
}

static void test_file_read__what_is_no_text_is_refused(void **state) {
    files *f = *state;
    files_put_bytes(f, "nul", "abc\0def", 7);
    files_put(f, "bytes", "\x80\x81\x82\x83\x84\x85 abc");
    files_mkdir(f, "dir");
    assert_int_equal(mkfifo(files_path(f, "fifo"), 0600), 0);
    assert_int_equal(symlink("/etc/passwd", files_path(f, "out")), 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcpy(address.sun_path, files_path(f, "sock"));
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    static const struct {
        const char *path, *part;
    } rows[] = {
        {"nul", "binary file of 7 bytes"},
        {"bytes", "much of it is not UTF-8"},
        {"dir", "is a directory"},
        {"fifo", "is a named pipe"},
        {"out", "outside"},
        {"../x", "outside"},
        {"/etc/passwd", "outside"},
        {"sock", "socket"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char args[100];
        snprintf(args, sizeof args, "{\"path\":\"%s\"}", rows[i].path);
        files_expect_fail(f, READ, args, rows[i].part);
    }
    close(fd);
}

static void test_file_read__missing_file_names_the_nearest(void **state) {
    files *f = *state;
    files_put(f, "src/main.c", "x");
    files_put(f, "src/README", "x");
    files_expect_fail(f, READ, "{\"path\":\"src/mian.c\"}", "did you mean src/main.c?");
    files_expect_fail(f, READ, "{\"path\":\"src/Readme\"}", "did you mean src/README?");
    files_expect_fail(f, READ, "{\"path\":\"scr/main.c\"}", "did you mean src/main.c?");
    files_expect_fail(f, READ, "{\"path\":\"src/something-else\"}", "nothing in src");
    files_expect_fail(f, READ, "{\"path\":\"src/main.c/x\"}", "does not exist");
}

static void test_file_read__large_file_streams(void **state) {
    files *f = *state;
    FILE *out = fopen(files_path(f, "big"), "w");
    assert_non_null(out);
    for (int i = 1; i <= 600000; i++) fprintf(out, "line number %08d\n", i);
    fclose(out);
    files_expect(f, READ, "{\"path\":\"big\",\"offset\":500000,\"limit\":1}",
                 "500000\tline number 00500000\n[lines 500000-500000 of 600000; continue with offset=500001]\n");
    assert_int_equal(truncate(files_path(f, "big"), 70ll << 20), 0);
    files_expect(f, READ, "{\"path\":\"big\",\"offset\":2,\"limit\":1}",
                 "     2\tline number 00000002\n[lines 2-2; more follow; continue with offset=3]\n");
}

static void test_file_read__result_stays_under_its_ceiling(void **state) {
    files *f = *state;
    FILE *out = fopen(files_path(f, "wide"), "w");
    assert_non_null(out);
    for (int i = 0; i < 2000; i++) fprintf(out, "%0200d\n", i);
    fclose(out);
    host_result r = files_call(f, READ, "{\"path\":\"wide\"}");
    assert_true(r.ok && !r.truncated);
    expect_part(&r, " of 2000; continue with offset=");
}

/* ---- file.write ---- */

static void test_file_write__creates_and_replaces(void **state) {
    files *f = *state;
    files_expect(f, WRITE, "{\"path\":\"a/b/c.txt\",\"content\":\"x\\ny\\n\"}", "wrote 4 bytes (2 lines) to a/b/c.txt");
    assert_string_equal(files_get(f, "a/b/c.txt"), "x\ny\n");
    chmod(files_path(f, "a/b/c.txt"), 0751);
    files_expect(f, WRITE, "{\"path\":\"a/b/c.txt\",\"content\":\"z\"}", "replaced a/b/c.txt with 1 byte (1 line)");
    assert_string_equal(files_get(f, "a/b/c.txt"), "z");
    struct stat st;
    assert_int_equal(stat(files_path(f, "a/b/c.txt"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0751);
}

static void test_file_write__may_write_again_what_is_there(void **state) {
    files *f = *state;
    files_put(f, "a", "one\n");
    assert_true(files_call(f, READ, "{\"path\":\"a\"}").ok);
    files_put(f, "a", "two\n"); /* as a call has left it whose process died before it could say so */
    files_expect(f, WRITE, "{\"path\":\"a\",\"content\":\"two\\n\"}", "replaced a with 4 bytes (1 line)");
    assert_true(files_call(f, EDIT, "{\"path\":\"a\",\"old\":\"two\",\"new\":\"three\"}").ok);
}

static void test_file_write__refuses_what_changed_since_it_was_read(void **state) {
    files *f = *state;
    files_put(f, "a", "one\n");
    assert_true(files_call(f, READ, "{\"path\":\"a\"}").ok);
    files_put(f, "a", "two\n");
    files_expect_fail(f, WRITE, "{\"path\":\"a\",\"content\":\"three\"}", "changed since it was read");
    files_expect_fail(f, EDIT, "{\"path\":\"./a\",\"old\":\"two\",\"new\":\"three\"}", "changed since it was read");
    assert_string_equal(files_get(f, "a"), "two\n");
    assert_true(files_call(f, READ, "{\"path\":\"a\"}").ok);
    assert_true(files_call(f, WRITE, "{\"path\":\"a\",\"content\":\"three\\n\"}").ok);
    assert_true(
        files_call(f, EDIT, "{\"path\":\"a\",\"old\":\"three\",\"new\":\"four\"}").ok); /* our own change is known */
}

static void test_file_write__refuses_links_and_directories(void **state) {
    files *f = *state;
    files_put(f, "target", "keep");
    files_mkdir(f, "dir");
    assert_int_equal(symlink("target", files_path(f, "link")), 0);
    assert_int_equal(symlink("/tmp", files_path(f, "tmp")), 0);
    files_expect_fail(f, WRITE, "{\"path\":\"link\",\"content\":\"x\"}", "link");
    files_expect_fail(f, WRITE, "{\"path\":\"dir\",\"content\":\"x\"}", "directory");
    files_expect_fail(f, WRITE, "{\"path\":\"tmp/moonlet-escape\",\"content\":\"x\"}", "outside");
    files_expect_fail(f, WRITE, "{\"path\":\"../moonlet-escape\",\"content\":\"x\"}", "outside");
    assert_string_equal(files_get(f, "target"), "keep");
}

/* ---- file.edit ---- */

static void test_edit__matches(void **state) {
    (void)state;
    static const struct {
        const char *label, *text, *old, *fresh, *want;
        size_t first, last;
        bool tolerant;
    } rows[] = {
        {"inside a line", "a b c\n", "b", "X", "a X c\n", 1, 1, false},
        {"several lines", "a\nb\nc\nd\n", "b\nc\n", "x\n", "a\nx\nd\n", 2, 3, false},
        {"deletes", "a\nb\nc\n", "b\n", "", "a\nc\n", 2, 2, false},
        {"at the end", "a\nb", "b", "c", "a\nc", 2, 2, false},
        {"crlf kept", "a\r\nb\r\nc\r\n", "a\nb\n", "x\ny\nz\n", "x\r\ny\r\nz\r\nc\r\n", 1, 2, false},
        {"crlf from a single line", "a\r\nb\r\n", "b", "x\ny", "a\r\nx\r\ny\r\n", 2, 2, false},
        {"crlf from its newline on", "a\r\nb\r\n", "\nb", "", "a\r\n", 1, 2, false},
        {"lf kept", "a\nb\n", "a\r\nb\r\n", "x\r\ny\r\n", "x\ny\n", 1, 2, false},
        {"deeper", "if:\n        a\n        b\n", "a\n  b\n", "c\n", "if:\n        c\n", 2, 3, true},
        {"indentation added", "{\n    if (x)\n        y();\n}\n", "if (x)\n    y( );\n", "",
         "{\n    if (x)\n        y();\n}\n", 0, 0, true},
        {"uniform shift", "{\n    f(a,  b);\n    g();\n}\n", "f(a, b);\ng();\n", "f(b);\n  h();\n",
         "{\n    f(b);\n      h();\n}\n", 2, 3, true},
        {"shift to the left", "f(a,  b);\n  g();\n", "    f(a, b);\n      g();\n", "    x\n        y\n", "x\n    y\n",
         1, 2, true},
        {"tabs in the file", "{\n\tif (x) {\n\t\ty();\n\t}\n}\n", "    if (x) {\n        y();\n    }\n",
         "    if (x) {\n        z();\n            w();\n    }\n", "{\n\tif (x) {\n\t\tz();\n\t\t\tw();\n\t}\n}\n", 2, 4,
         true},
        {"spaces in the file", "  a  b\n    c\n", "\ta b\n\t\tc\n", "\tx\n\t\t\ty\n", "  x\n      y\n", 1, 2, true},
        {"trailing blanks", "a  \nb\t\nc\n", "a\nb\nc\n", "x\n", "x\n", 1, 3, true},
        {"no newline at the end of old", "a  b\nc\n", "a b", "x", "x\nc\n", 1, 1, true},
        {"first line quoted from its middle", "  x\n    y  z;\n", "x\n    y z;\n", "x\n    w;\n", "  x\n    w;\n", 1, 2,
         true},
        {"crlf tolerant", "a  b\r\nc\r\n", "a b\n", "x\ny\n", "x\r\ny\r\nc\r\n", 1, 1, true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        moon__edit e = {.text = rows[i].text,
                        .text_length = strlen(rows[i].text),
                        .old = rows[i].old,
                        .old_length = strlen(rows[i].old),
                        .fresh = rows[i].fresh,
                        .fresh_length = strlen(rows[i].fresh)};
        moon__edit_result r;
        moon__edit_outcome outcome = moon__edit_apply(&e, &r);
        if (!rows[i].first) { /* not a match at all */
            assert_int_equal(outcome, MOON__EDIT_NONE);
        } else {
            if (outcome != MOON__EDIT_DONE) fail_msg("%s: outcome %d", rows[i].label, outcome);
            if (r.text.len != strlen(rows[i].want) || memcmp(r.text.p, rows[i].want, r.text.len))
                fail_msg("%s: got \"%.*s\"", rows[i].label, (int)r.text.len, r.text.p);
            if (r.first != rows[i].first || r.last != rows[i].last)
                fail_msg("%s: lines %zu-%zu", rows[i].label, r.first, r.last);
            if (r.tolerant != rows[i].tolerant) fail_msg("%s: tolerant %d", rows[i].label, r.tolerant);
        }
        moon__bytes_fini(&r.text);
    }
}

static void test_file_edit__reports_lines_and_surroundings(void **state) {
    files *f = *state;
    files_put(f, "a", "1\n2\n3\n4\n5\n6\n7\n8\n9\n");
    files_expect(
        f, EDIT, "{\"path\":\"a\",\"old\":\"5\\n\",\"new\":\"five\\nand\\n\"}",
        "edited a: lines 5-5 replaced (exact)\n     2\t2\n     3\t3\n     4\t4\n     5\tfive\n     6\tand\n     "
        "7\t6\n     8\t7\n     9\t8\n");
    assert_string_equal(files_get(f, "a"), "1\n2\n3\n4\nfive\nand\n6\n7\n8\n9\n");
}

static void test_file_edit__ambiguity_lists_lines(void **state) {
    files *f = *state;
    files_put(f, "a", "x\ny\nx\ny\nx\nx\nx\nx\n");
    files_expect_fail(f, EDIT, "{\"path\":\"a\",\"old\":\"x\",\"new\":\"z\"}",
                      "6 times, beginning in lines 1, 3, 5, 6, 7 …");
    files_put(f, "b", "\tf( a )\nq\n  f( a )\n");
    files_expect_fail(f, EDIT, "{\"path\":\"b\",\"old\":\" f( a ) \",\"new\":\"z\"}",
                      "(whitespace apart), beginning in lines 1, 3");
    files_put(f, "c", "aaa");
    files_expect_fail(f, EDIT, "{\"path\":\"c\",\"old\":\"aa\",\"new\":\"z\"}", "2 times");
    files_expect(
        f, EDIT, "{\"path\":\"a\",\"old\":\"x\",\"new\":\"zz\",\"all\":true}",
        "edited a: 6 places replaced (exact), the first in lines 1-1\n     1\tzz\n     2\ty\n     3\tzz\n     4\ty\n");
    assert_string_equal(files_get(f, "a"), "zz\ny\nzz\ny\nzz\nzz\nzz\nzz\n");
}

static void test_file_edit__no_match_shows_the_nearest(void **state) {
    files *f = *state;
    files_put(
        f, "a",
        "int main(void) {\n    printf(\"hello\\n\");\n    return 0;\n}\n\nint other(int x) {\n    return x + 1;\n}\n");
    files_expect_fail(
        f, EDIT, "{\"path\":\"a\",\"old\":\"int other(int y) {\\n    return y + 1;\\n\",\"new\":\"z\"}",
        "nearest is in lines 6-7; copy old from there (without the numbers):\n     6\tint other(int x) {\n     "
        "7\t    return x + 1;\n");
    files_expect_fail(f, EDIT, "{\"path\":\"a\",\"old\":\"@@@@ ####\",\"new\":\"z\"}", "nor anything like it");
}

static void test_file_edit__refusals(void **state) {
    files *f = *state;
    files_put(f, "a", "text\n");
    files_put(f, "empty", "");
    files_put_bytes(f, "bin", "a\0b", 3);
    files_expect_fail(f, EDIT, "{\"path\":\"a\",\"old\":\"x\",\"new\":\"x\"}", "the same");
    files_expect_fail(f, EDIT, "{\"path\":\"a\",\"old\":\"\",\"new\":\"x\"}", "old is empty");
    files_expect_fail(f, EDIT, "{\"path\":\"a\",\"old\":\" text \",\"new\":\"text\"}", "would be the same");
    files_expect_fail(f, EDIT, "{\"path\":\"bin\",\"old\":\"a\",\"new\":\"x\"}", "binary");
    files_expect_fail(f, EDIT, "{\"path\":\"b\",\"old\":\"a\",\"new\":\"x\"}", "does not exist");
    assert_true(files_call(f, EDIT, "{\"path\":\"empty\",\"old\":\"\",\"new\":\"x\\n\"}").ok);
    assert_string_equal(files_get(f, "empty"), "x\n");
}

static void test_file_edit__keeps_the_mode(void **state) {
    files *f = *state;
    struct stat st;
    files_put(f, "run.sh", "#!/bin/sh\necho a\n");
    chmod(files_path(f, "run.sh"), 0750);
    assert_true(files_call(f, EDIT, "{\"path\":\"run.sh\",\"old\":\"echo a\",\"new\":\"echo b\"}").ok);
    assert_int_equal(stat(files_path(f, "run.sh"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0750);
}

/* ---- globs ---- */

static void test_glob__covers(void **state) {
    (void)state;
    static const struct {
        const char *glob, *path;
        size_t base;
        bool want;
    } rows[] = {
        {"*.c", "a/b/x.c", 0, true},
        {"*.c", "a/b/x.cc", 0, false},
        {"a/*.c", "a/b/x.c", 0, false},
        {"a/**/*.c", "a/b/x.c", 0, true},
        {"a/**/*.c", "a/x.c", 0, true},
        {"**/b/**", "a/b/x.c", 0, true},
        {"b/*.c", "a/b/x.c", 2, true},
        {"a/b/*.c", "a/b/x.c", 2, true},
        {"./b/*.c", "b/x.c", 0, true},
        {"/x.c", "x.c", 0, true},
        {"/x.c", "b/x.c", 0, false},
        {"*.{c,h}", "x.h", 0, true},
        {"*.{c,h}", "x.l", 0, false},
        {"{a,b{1,2}}.c", "b2.c", 0, true},
        {"{a}.c", "{a}.c", 0, true},
        {"x{,y}", "x", 0, true},
        {"!*.c", "x.c", 0, false},
        {"!*.c", "x.h", 0, true},
        {"[a-c]?", "bx", 0, true},
        {"[!a-c]?", "bx", 0, false},
        {"[", "[", 0, false},
        {"\\*", "*", 0, true},
        {"\\*", "x", 0, false},
        {"a*a*a*a*a*a*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 0, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        moon__glob *glob = moon__glob_new(rows[i].glob, strlen(rows[i].glob));
        assert_non_null(glob);
        if (moon__glob_covers(glob, rows[i].path, strlen(rows[i].path), rows[i].base) != rows[i].want)
            fail_msg("%s and %s", rows[i].glob, rows[i].path);
        moon__glob_free(glob);
    }
    assert_null(moon__glob_new("{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}", 35));
}

/* ---- file.list ---- */

static void test_file_list__sorted_pages(void **state) {
    files *f = *state;
    files_put(f, "b/x", "12");
    files_put(f, "b.c", "1");
    files_put(f, "a", "");
    files_put(f, ".hidden", "");
    assert_int_equal(symlink("/etc", files_path(f, "link")), 0);
    assert_int_equal(mkfifo(files_path(f, "pipe"), 0600), 0);
    files_expect(f, LIST, "{}",
                 "{\"files\":[{\"path\":\"a\",\"size\":0},{\"path\":\"b.c\",\"size\":1},{\"path\":\"b/x\",\"size\":2},"
                 "{\"path\":\"link\",\"size\":4,\"link\":true}],\"total\":4,\"more\":false}");
    files_expect(f, LIST, "{\"limit\":1,\"offset\":1}",
                 "{\"files\":[{\"path\":\"b.c\",\"size\":1}],\"total\":4,\"more\":true}");
    files_expect(f, LIST, "{\"depth\":1,\"glob\":\"[ab]*\",\"hidden\":true}",
                 "{\"files\":[{\"path\":\"a\",\"size\":0},{\"path\":\"b.c\",\"size\":1}],\"total\":2,\"more\":false}");
    files_expect(f, LIST, "{\"path\":\"b\"}", "{\"files\":[{\"path\":\"b/x\",\"size\":2}],\"total\":1,\"more\":false}");
    files_expect_fail(f, LIST, "{\"path\":\"a\"}", "no directory");
    files_expect_fail(f, LIST, "{\"path\":\"bb\"}", "does not exist");
    files_expect_fail(f, LIST, "{\"path\":\"link\"}", "outside");
}

static void test_file_list__summary_counts_each_file_once(void **state) {
    files *f = *state;
    files_put(f, "top.C", "1");
    files_put(f, "a/x.c", "12");
    files_put(f, "a/b/y.c", "123");
    files_put(f, "a/b/c/Makefile", "1234");
    files_expect(
        f, LIST, "{\"summary\":true}",
        "{\"dirs\":[{\"path\":\".\",\"files\":1,\"bytes\":1},{\"path\":\"a\",\"files\":3,\"bytes\":9}],\"kinds\":["
        "{\"ext\":\"c\",\"files\":3,\"bytes\":6},{\"ext\":\"\",\"files\":1,\"bytes\":4}],\"total\":4,\"bytes\":10,"
        "\"more\":false}");
    files_expect(
        f, LIST, "{\"summary\":true,\"path\":\"a\",\"depth\":2,\"glob\":\"*.c\"}",
        "{\"dirs\":[{\"path\":\"a\",\"files\":1,\"bytes\":2},{\"path\":\"a/b\",\"files\":1,\"bytes\":3}],\"kinds\":["
        "{\"ext\":\"c\",\"files\":2,\"bytes\":5}],\"total\":2,\"bytes\":5,\"more\":false}");
}

static void test_file_list__odd_names(void **state) {
    files *f = *state;
    files_put(f, "caf\xE9", "");
    files_put(f, "line\nbreak\x1b[31m", "");
    files_expect(
        f, LIST, "{}",
        "{\"files\":[{\"path\":\"caf\xEF\xBF\xBD\",\"size\":0,\"raw_hex\":\"636166e9\"},{\"path\":\"line\\nbreak"
        "\\u001b[31m\",\"size\":0}],\"total\":2,\"more\":false}");
}

static void test_file_list__rules_of_directories_above_hold(void **state) {
    files *f = *state;
    files_put(f, ".gitignore", "*.o\n/a/gen\n");
    files_put(f, "a/.gitignore", "!keep.o\n");
    files_put(f, "a/b/x.o", "");
    files_put(f, "a/b/keep.o", "");
    files_put(f, "a/b/x.c", "");
    files_put(f, "a/gen/y.c", "");
    files_expect(f, LIST, "{\"path\":\"a/b\"}",
                 "{\"files\":[{\"path\":\"a/b/keep.o\",\"size\":0},{\"path\":\"a/b/"
                 "x.c\",\"size\":0}],\"total\":2,\"more\":false}");
    host_result r = files_call(f, LIST, "{}");
    assert_null(strstr(r.text, "gen"));
    files_put(f, "a/b/.git/HEAD", "ref"); /* a repository inside has rules of its own only */
    r = files_call(f, LIST, "{\"path\":\"a/b\"}");
    expect_part(&r, "a/b/x.o");
    assert_null(strstr(r.text, "HEAD"));
}

/* ---- .gitignore against git ---- */

static unsigned next_random(uint64_t *seed) {
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(*seed >> 33);
}

static void grow(files *f, uint64_t *seed, const char *dir, int depth) {
    static const char *const names[] = {"a",  "ab", "b",  "a.c", "foo", "foo.o", ".x", "\xC3\xA9", "a b",
                                        "[1", "!n", "#h", "d",   "e ",  "b-c",   "Z",  "a]",       "^q"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[200];
        int n = snprintf(path, sizeof path, "%s%s%s", dir, *dir ? "/" : "", names[i]);
        assert_in_range(n, 1, sizeof path - 1);
        if (depth < 2 && next_random(seed) % 4 == 0)
            grow(f, seed, path, depth + 1);
        else if (next_random(seed) % 5)
            files_put(f, path, "");
    }
}

static size_t random_rules(uint64_t *seed, char *out, size_t room) {
    static const char *const atoms[] = {"a",     "b",   "c",   "ab",   "foo",         "*",     "**",        "?",
                                        "/",     "/",   "/",   "[ab]", "[!a]",        "[a-c]", "[^]b]",     ".",
                                        ".o",    "\\*", "\\ ", " ",    "[[:alpha:]]", "[]a]",  "[1]",       "\xC3\xA9",
                                        "#",     "!",   "d",   "***",  "[a-",         "-",     "[[:foo:]]", "[a/b]",
                                        "[--a]", "\\",  "[",   "**/",  "/**",         "*.",    "[c-a]"};
    size_t n = 0;
    for (unsigned lines = 1 + next_random(seed) % 4; lines; lines--) {
        if (next_random(seed) % 4 == 0) out[n++] = '!';
        for (unsigned k = 1 + next_random(seed) % 4; k; k--) {
            const char *atom = atoms[next_random(seed) % (sizeof atoms / sizeof *atoms)];
            memcpy(out + n, atom, strlen(atom));
            n += strlen(atom);
        }
        if (next_random(seed) % 4 == 0) out[n++] = '/';
        if (next_random(seed) % 8 == 0) out[n++] = ' ';
        if (next_random(seed) % 8 == 0) out[n++] = '\r';
        if (lines > 1 || next_random(seed) % 4) out[n++] = '\n';
    }
    assert_true(n < room);
    return n;
}

static char *run_git(files *f, const char *args, size_t *n) {
    static char out[1 << 20];
    char command[400];
    snprintf(command, sizeof command,
             "GIT_CONFIG_NOSYSTEM=1 HOME=/nonexistent XDG_CONFIG_HOME=/nonexistent git -C %s %s", f->dir, args);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    *n = fread(out, 1, sizeof out - 1, pipe);
    out[*n] = 0;
    assert_int_equal(pclose(pipe), 0);
    return out;
}

/* The paths of a listing, each ended by NUL as git does. No name of the tree needs an escape in JSON. */
static size_t paths_of(const char *json, char *out) {
    size_t n = 0;
    for (const char *p = json; (p = strstr(p, "{\"path\":\""));) {
        p += 9;
        size_t length = strcspn(p, "\"");
        memcpy(out + n, p, length);
        n += length;
        out[n++] = 0;
    }
    return n;
}

static void test_ignore__same_files_as_git(void **state) {
    files *f = *state;
    static const char *const places[] = {".gitignore", "a/.gitignore", "ab/.gitignore", "foo/d/.gitignore",
                                         ".git/info/exclude"};
    static char ours[1 << 20];
    char rules[5][400];
    size_t n, m;
    uint64_t seed = 20240611;
    run_git(f, "init -q", &n);
    grow(f, &seed, "", 0);
    files_mkdir(f, "foo/d");
    for (int round = 0; round < 60; round++) {
        for (size_t i = 0; i < 5; i++) {
            size_t length = i && next_random(&seed) % 2 ? 0 : random_rules(&seed, rules[i], sizeof rules[i]);
            rules[i][length] = 0;
            const char *slash = strrchr(places[i], '/');
            struct stat st;
            char dir[64];
            snprintf(dir, sizeof dir, "%.*s", slash ? (int)(slash - places[i]) : 1, slash ? places[i] : ".");
            if (!stat(files_path(f, dir), &st) && S_ISDIR(st.st_mode)) files_put_bytes(f, places[i], rules[i], length);
        }
        host_result r = files_call(f, LIST, "{\"hidden\":true,\"limit\":20000}");
        assert_true(r.ok);
        m = paths_of(r.text, ours);
        const char *theirs = run_git(f, "ls-files -co --exclude-standard -z", &n);
        if (n == m && !memcmp(ours, theirs, n)) continue;
        size_t at = 0;
        for (size_t i = 0; i < n && i < m && ours[i] == theirs[i]; i++)
            if (!ours[i]) at = i + 1;
        fail_msg(
            "round %d: moonlet has \"%s\" where git has \"%s\"; rules \"%s\", \"%s\", \"%s\", \"%s\", exclude \"%s\"",
            round, ours + at, theirs + at, rules[0], rules[1], rules[2], rules[3], rules[4]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        FILES_TEST(test_file_read__lines_are_numbered),
        FILES_TEST(test_file_read__empty_file_says_so),
        FILES_TEST(test_file_read__long_line_is_cut_between_characters),
        FILES_TEST(test_file_read__invalid_utf8_is_replaced),
        FILES_TEST(test_file_read__what_is_no_text_is_refused),
        FILES_TEST(test_file_read__missing_file_names_the_nearest),
        FILES_TEST(test_file_read__large_file_streams),
        FILES_TEST(test_file_read__result_stays_under_its_ceiling),
        FILES_TEST(test_file_write__creates_and_replaces),
        FILES_TEST(test_file_write__may_write_again_what_is_there),
        FILES_TEST(test_file_write__refuses_what_changed_since_it_was_read),
        FILES_TEST(test_file_write__refuses_links_and_directories),
        cmocka_unit_test(test_edit__matches),
        FILES_TEST(test_file_edit__reports_lines_and_surroundings),
        FILES_TEST(test_file_edit__ambiguity_lists_lines),
        FILES_TEST(test_file_edit__no_match_shows_the_nearest),
        FILES_TEST(test_file_edit__refusals),
        FILES_TEST(test_file_edit__keeps_the_mode),
        cmocka_unit_test(test_glob__covers),
        FILES_TEST(test_file_list__sorted_pages),
        FILES_TEST(test_file_list__summary_counts_each_file_once),
        FILES_TEST(test_file_list__odd_names),
        FILES_TEST(test_file_list__rules_of_directories_above_hold),
        FILES_TEST(test_ignore__same_files_as_git),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
