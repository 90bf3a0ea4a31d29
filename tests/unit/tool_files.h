/* SPDX-License-Identifier: MIT */
#ifndef MOON_TEST_TOOL_FILES_H
#define MOON_TEST_TOOL_FILES_H
/* A directory of a test with a tool host in it: files are put there, and all is removed at the end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tool_host.h"

typedef struct files {
    char dir[64];
    tool_host *host;
} files;

static inline files *files_new(void) {
    files *f = calloc(1, sizeof *f);
    assert_non_null(f);
    strcpy(f->dir, "/tmp/moonlet-test-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    f->host = host_new(f->dir);
    return f;
}

static inline int files_remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw) {
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static inline void files_free(files *f) {
    host_free(f->host);
    nftw(f->dir, files_remove_one, 32, FTW_DEPTH | FTW_PHYS);
    free(f);
}

/* The path of a name in the directory; good until the fourth call from here. */
static inline const char *files_path(const files *f, const char *name) {
    static _Thread_local char paths[4][1024];
    static _Thread_local unsigned at;
    char *path = paths[at++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", f->dir, name);
    return path;
}

static inline void files_mkdir(const files *f, const char *name) {
    char path[1024];
    strcpy(path, files_path(f, name));
    for (char *p = path + strlen(f->dir) + 1; *p; p++)
        if (*p == '/') {
            *p = 0;
            mkdir(path, 0777);
            *p = '/';
        }
    mkdir(path, 0777);
}

static inline void files_put_bytes(const files *f, const char *name, const void *bytes, size_t n) {
    const char *slash = strrchr(name, '/');
    if (slash) {
        char dir[512];
        snprintf(dir, sizeof dir, "%.*s", (int)(slash - name), name);
        files_mkdir(f, dir);
    }
    FILE *out = fopen(files_path(f, name), "wb");
    assert_non_null(out);
    assert_int_equal(fwrite(bytes, 1, n, out), n);
    assert_int_equal(fclose(out), 0);
}

static inline void files_put(const files *f, const char *name, const char *text) {
    files_put_bytes(f, name, text, strlen(text));
}

/* The content; freed with the host. */
static inline const char *files_get(const files *f, const char *name) {
    static char text[1 << 16];
    FILE *in = fopen(files_path(f, name), "rb");
    assert_non_null(in);
    size_t n = fread(text, 1, sizeof text - 1, in);
    fclose(in);
    return host_keep(f->host, text, n);
}

static inline host_result files_call(files *f, const moon_tool *tool, const char *args) {
    host_result r = host_call(f->host, tool, args);
    if (!r.checked) fail_msg("%s: %s does not fit: %s", tool->name, args, r.text);
    return r;
}

/* The call works and gives exactly this text. */
static inline void files_expect(files *f, const moon_tool *tool, const char *args, const char *text) {
    host_result r = files_call(f, tool, args);
    if (!r.ok) fail_msg("%s %s failed: %s", tool->name, args, r.text);
    assert_string_equal(r.text, text);
}

/* The call fails with a text that has `part` in it. */
static inline void files_expect_fail(files *f, const moon_tool *tool, const char *args, const char *part) {
    host_result r = files_call(f, tool, args);
    if (r.ok) fail_msg("%s %s worked: %s", tool->name, args, r.text);
    if (!strstr(r.text, part)) fail_msg("%s %s: \"%s\" has no \"%s\"", tool->name, args, r.text, part);
}

static inline int files_setup(void **state) {
    *state = files_new();
    return 0;
}

static inline int files_teardown(void **state) {
    files_free(*state);
    return 0;
}

#define FILES_TEST(name) cmocka_unit_test_setup_teardown(name, files_setup, files_teardown)
#endif
