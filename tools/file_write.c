/* SPDX-License-Identifier: MIT */
/* file.write: a whole file at once, atomically. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "builtin.h"
#include "file.h"

/* Looks at what is at path now. False: the call has been ended, because that must not be replaced. What is there
 * already may be written again: so a call that a crash cut off after its effect is made again. */
static bool check_old(moon_call *call, const char *path, const char *content, size_t length, bool *exists) {
    moon_error error = {0};
    int fd;
    moon_status status = moon_call_open(call, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0, &fd, &error);
    *exists = status != MOON_ENOTFOUND;
    if (status == MOON_ENOTFOUND) return true;
    if (status) {
        if (error.cause == EACCES)
            moon_call_fail(call, "%.300s exists and cannot be read, so it is not replaced", path);
        else
            moon_call_fail_error(call, &error);
        return false;
    }
    struct stat st = {0};
    bool ok = false;
    char *data;
    size_t n;
    if (fstat(fd, &st) || !S_ISREG(st.st_mode))
        moon_call_fail(call, "%.300s is %s, not a regular file: it is not replaced", path, moon__file_kind(st.st_mode));
    else if (st.st_size > MOON__FILE_WHOLE_MAX)
        ok = true; /* too large to have been remembered */
    else if (moon__file_slurp(call, path, fd, (size_t)st.st_size, &data, &n)) {
        bool same = n == length && (!n || memcmp(data, content, n) == 0);
        ok = same || !moon__file_changed(call, path, data, n);
        if (!ok)
            moon_call_fail(call, "%.300s has changed since it was read: read it again, then decide what to write",
                           path);
        free(data);
    }
    close(fd);
    return ok;
}

static void start(void *self, moon_call *call, const moon_json *args) {
    (void)self;
    size_t n;
    const char *path = moon__arg_str(args, "path", NULL), *content = moon__arg_str(args, "content", &n);
    moon_error error = {0};
    bool exists;
    if (!check_old(call, path, content, n, &exists)) return;
    if (moon_call_replace(call, path, content, n, 0, &error)) {
        moon_call_fail_error(call, &error);
        return;
    }
    moon__file_remember(call, path, content, n);
    size_t lines = moon__text_count_lines(content, n);
    const char *s = n == 1 ? "" : "s", *lines_s = lines == 1 ? "" : "s";
    if (exists)
        moon_call_printf(call, "replaced %s with %zu byte%s (%zu line%s)", path, n, s, lines, lines_s);
    else
        moon_call_printf(call, "wrote %zu byte%s (%zu line%s) to %s", n, s, lines, lines_s, path);
    moon_call_done(call);
}

const moon_tool moon__tool_file_write = {
    .abi = MOON_TOOL_ABI,
    .effects = MOON_DESTRUCTIVE | MOON_IDEMPOTENT,
    .flags = MOON_TOOL_BLOCKING,
    .name = "file.write",
    .description =
        "Writes a whole file: creates it (with the directories above it) or replaces all of its content, atomically; "
        "the "
        "mode of a file that is replaced is kept. Returns how many bytes and lines were written. Refused if the file "
        "was read in this run and has "
        "changed since, and if the path is a directory or a symbolic link. To change a part of a file use file.edit.",
    .params = "{\"type\":\"object\",\"properties\":{"
              "\"path\":{\"type\":\"string\",\"minLength\":1,\"description\":\"The file, relative to the workspace.\"},"
              "\"content\":{\"type\":\"string\",\"description\":\"All of the new content, with its final newline.\"}},"
              "\"required\":[\"path\",\"content\"],\"additionalProperties\":false}",
    .start = start,
};
