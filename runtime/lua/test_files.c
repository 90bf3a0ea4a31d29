/* SPDX-License-Identifier: MIT */
/*
 * Files of a test: those of its workspace, and its snapshots in the folder snapshots/NAME/ beside the test file. Paths
 * are resolved beneath the two by the kernel.
 */
#include "test.h"
#include "text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_MAX = 16 << 20, PATH_ROOM = 4096 };

/* Makes the folders that a path beneath dir needs. */
static bool make_folders(int dir, const char *path) {
    char part[PATH_ROOM];
    for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
        if (snprintf(part, sizeof part, "%.*s", (int)(slash - path), path) >= PATH_ROOM) return false;
        if (*part && mkdirat(dir, part, 0777) != 0 && errno != EEXIST) return false;
    }
    return true;
}

static bool put_bytes(int fd, const char *bytes, size_t n) {
    while (n > 0) {
        ssize_t written = write(fd, bytes, n);
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) return false;
        bytes += written;
        n -= (size_t)written;
    }
    return true;
}

/* Files get the time at which the test's clock began, so that listings are the same each time. */
static bool write_file(int dir, const char *path, const char *bytes, size_t n, const struct timespec *time) {
    if (!make_folders(dir, path)) return false;
    int fd = openat(dir, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (fd < 0) return false;
    bool ok = put_bytes(fd, bytes, n);
    if (ok && time) ok = futimens(fd, (const struct timespec[]){*time, *time}) == 0;
    int failed = errno;
    close(fd);
    errno = failed;
    return ok;
}

/* A relative path that stays where it begins. */
static bool stays(const char *path) {
    if (!*path || *path == '/') return false;
    for (const char *p = path; *p;) {
        size_t n = strcspn(p, "/");
        if (n == 2 && p[0] == '.' && p[1] == '.') return false;
        p += n + (p[n] == '/');
    }
    return true;
}

static const char *check_path(lua_State *L, int index, size_t *n) {
    const char *path = luaL_checklstring(L, index, n);
    if (strlen(path) != *n || !stays(path))
        luaL_error(L, "\"%s\": a path in the workspace is relative, without \"..\"", path);
    return path;
}

static int open_workspace(lua_State *L) {
    const char *root = moon__runtime_options(moon__script_of(L)->runtime)->workspace;
    int dir = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0) luaL_error(L, "cannot open the workspace %s: %s", root, strerror(errno));
    return dir;
}

static int failed(lua_State *L, const char *what, const char *path) {
    return luaL_error(L, "cannot %s %s: %s", what, path, strerror(errno));
}

/* write(path, text) */
static int write_in_workspace(lua_State *L) {
    size_t length, n;
    const char *path = check_path(L, 1, &length), *text = luaL_checklstring(L, 2, &n);
    struct timespec then = {.tv_sec = moon__test_host_of(L)->testing->now_us / 1000000};
    int dir = open_workspace(L);
    bool ok = write_file(dir, path, text, n, &then);
    close(dir);
    return ok ? 0 : failed(L, "write", path);
}

/* Pushes a file's bytes, or nil if there is none. */
static int push_file(lua_State *L, int dir, const char *path, const char *shown) {
    moon_error error = {0};
    moon__buf *text = moon__lua_scratch(L, FILE_MAX);
    moon_status status = moon__source_read(text, dir, path, &error);
    if (dir >= 0) close(dir);
    if (status == MOON_ENOTFOUND) return 0;
    if (status != MOON_OK) return luaL_error(L, "%s: %s", shown, error.text);
    lua_pushlstring(L, text->p ? text->p : "", text->len);
    return 1;
}

static int read_in_workspace(lua_State *L) {
    size_t n;
    const char *path = check_path(L, 1, &n);
    return push_file(L, open_workspace(L), path, path);
}

/* ---- snapshots ---- */

/* "tests/brief_test.lua", "reads" → "tests/snapshots/brief_test/reads.txt"; pushed. */
static const char *snapshot_path(lua_State *L) {
    const char *file = moon__test_host_of(L)->testing->file, *slash = strrchr(file, '/');
    const char *name = slash ? slash + 1 : file, *dot = strrchr(name, '.');
    int stem = (int)(dot && dot > name ? (size_t)(dot - name) : strlen(name));
    char path[PATH_ROOM];
    if (snprintf(path, sizeof path, "%.*ssnapshots/%.*s/%s.txt", (int)(name - file), file, stem, name,
                 luaL_checkstring(L, 1)) >= PATH_ROOM)
        luaL_error(L, "the path of the snapshot is too long");
    return lua_pushstring(L, path);
}

static int snapshot_read(lua_State *L) {
    const char *path = snapshot_path(L);
    return push_file(L, AT_FDCWD, path, path);
}

static int snapshot_write(lua_State *L) {
    size_t n;
    const char *text = luaL_checklstring(L, 2, &n), *path = snapshot_path(L);
    if (!write_file(AT_FDCWD, path, text, n, NULL)) return failed(L, "write", path);
    return 0;
}

static int snapshot_place(lua_State *L) {
    snapshot_path(L);
    return 1;
}

void moon__test_files(lua_State *L) {
    static const luaL_Reg functions[] = {{"write", write_in_workspace},     {"read", read_in_workspace},
                                         {"snapshot_read", snapshot_read},  {"snapshot_write", snapshot_write},
                                         {"snapshot_path", snapshot_place}, {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
    const moon__script *script = moon__script_of(L);
    lua_pushstring(L, moon__runtime_options(script->runtime)->workspace);
    lua_setfield(L, -2, "workspace");
    lua_pushstring(L, script->dir);
    lua_setfield(L, -2, "folder");
    lua_pushboolean(L, moon__runtime_testing(script->runtime)->update);
    lua_setfield(L, -2, "update");
}
