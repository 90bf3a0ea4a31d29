/* SPDX-License-Identifier: MIT */
/*
 * file.read: lines of a file, with their numbers. What is up to MOON__FILE_WHOLE_MAX is read whole, because its hash is
 * remembered: file.write and file.edit then notice when somebody else changed it. A larger file streams through, and no
 * further than to the last line asked for if it is very large.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "builtin.h"
#include "file.h"

enum { LINES_DEFAULT = 2000, OUT_ROOM = 120 << 10, COUNT_ALL_MAX = 64 << 20, CHUNK = 256 << 10, PROBE = 8192 };

/* Cuts the stream of bytes into lines and keeps those asked for. */
typedef struct reader {
    size_t first, last; /* lines wanted, from 1 */
    size_t line;        /* the line that the next byte belongs to */
    size_t shown;       /* the last line that is in out; 0: none */
    size_t line_bytes;  /* of the line so far */
    char head[MOON__LINE_MAX + 4];
    size_t head_length; /* of the line, as far as it is kept */
    bool full;          /* out holds as much as a result may */
    moon__bytes out;
} reader;

static void end_line(reader *r) {
    if (r->line >= r->first && r->line <= r->last && !r->full) {
        moon__file_line(&r->out, r->line, r->head, r->head_length, r->line_bytes);
        r->shown = r->line;
        r->full = r->out.len >= OUT_ROOM;
    }
    r->line++;
    r->line_bytes = r->head_length = 0;
}

static void feed(reader *r, const char *p, size_t n) {
    while (n) {
        const char *nl = memchr(p, '\n', n);
        size_t piece = nl ? (size_t)(nl - p) : n, room = sizeof r->head - r->head_length;
        if (r->line >= r->first && r->line <= r->last) {
            size_t keep = piece < room ? piece : room;
            memcpy(r->head + r->head_length, p, keep);
            r->head_length += keep;
        }
        r->line_bytes += piece;
        if (nl) end_line(r);
        p += piece + (nl != NULL);
        n -= piece + (nl != NULL);
    }
}

/* Text may hold a few bytes that are not UTF-8 (Latin-1 comments); more than one in ten is no text to work with. */
static bool refuse_binary(moon_call *call, const char *path, int64_t size, const char *data, size_t n) {
    size_t probe = n < PROBE ? n : PROBE;
    bool nul = moon__text_is_binary(data, probe);
    if (!nul && moon__text_invalid(data, probe) * 10 <= probe) return false;
    moon_call_fail(call, "%.300s is a binary file of %lld bytes (%s); it cannot be shown as text", path,
                   (long long)size, nul ? "it holds NUL bytes" : "much of it is not UTF-8");
    return true;
}

static bool read_whole(moon_call *call, const char *path, int fd, const struct stat *st, reader *r) {
    char *data;
    size_t n;
    if (!moon__file_slurp(call, path, fd, (size_t)st->st_size, &data, &n)) return false;
    bool ok = !refuse_binary(call, path, (int64_t)n, data, n);
    if (ok) {
        if (n <= MOON__FILE_WHOLE_MAX) moon__file_remember(call, path, data, n);
        feed(r, data, n);
        if (r->line_bytes) end_line(r);
    }
    free(data);
    return ok;
}

/* *whole: did it get to the end? */
static bool read_stream(moon_call *call, const char *path, int fd, const struct stat *st, reader *r, bool *whole) {
    char *chunk = moon_call_alloc(call, CHUNK);
    bool count_all = st->st_size <= COUNT_ALL_MAX;
    ssize_t k = 0;
    if (!chunk) {
        moon_call_fail(call, "no memory to read %.300s", path);
        return false;
    }
    for (size_t done = 0; count_all || (r->line <= r->last && !r->full); done += (size_t)k) {
        while ((k = read(fd, chunk, CHUNK)) < 0 && errno == EINTR) {
        }
        if (k < 0 || moon_call_cancelled(call)) {
            moon_call_fail(call, "reading %.300s ended early: %s", path, k < 0 ? strerror(errno) : "cancelled");
            return false;
        }
        if (!done && refuse_binary(call, path, st->st_size, chunk, (size_t)k)) return false;
        if (!k) {
            if (r->line_bytes) end_line(r);
            *whole = true;
            break;
        }
        feed(r, chunk, (size_t)k);
    }
    return true;
}

static void report(moon_call *call, const char *path, reader *r, bool whole) {
    size_t lines = r->line - 1;
    if (whole && !lines)
        moon_call_printf(call, "[%s is empty]\n", path);
    else if (!r->shown) {
        moon_call_fail(call, "%.300s has %zu line%s: there is no line %zu", path, lines, lines == 1 ? "" : "s",
                       r->first);
        return;
    }
    moon_call_write(call, r->out.p, r->out.len);
    if (!whole)
        moon_call_printf(call, "[lines %zu-%zu; more follow; continue with offset=%zu]\n", r->first, r->shown,
                         r->shown + 1);
    else if (r->shown < lines)
        moon_call_printf(call, "[lines %zu-%zu of %zu; continue with offset=%zu]\n", r->first, r->shown, lines,
                         r->shown + 1);
    moon_call_done(call);
}

static void start(void *self, moon_call *call, const moon_json *args) {
    (void)self;
    const char *path = moon__arg_str(args, "path", NULL);
    size_t offset = (size_t)moon__arg_int(args, "offset", 1),
           limit = (size_t)moon__arg_int(args, "limit", LINES_DEFAULT);
    struct stat st;
    int fd = moon__file_open(call, path, &st);
    if (fd < 0) return;
    reader r = {.first = offset, .last = offset + limit - 1, .line = 1};
    moon__bytes_init(&r.out, OUT_ROOM + 16384);
    bool whole = st.st_size <= MOON__FILE_WHOLE_MAX;
    bool ok = whole ? read_whole(call, path, fd, &st, &r) : read_stream(call, path, fd, &st, &r, &whole);
    if (ok && r.out.failed)
        moon_call_fail(call, "no memory to show %.300s", path);
    else if (ok)
        report(call, path, &r, whole);
    moon__bytes_fini(&r.out);
    close(fd);
}

const moon_tool moon__tool_file_read = {
    .abi = MOON_TOOL_ABI,
    .effects = MOON_READ_ONLY | MOON_IDEMPOTENT,
    .flags = MOON_TOOL_BLOCKING,
    .result_max = 160 << 10,
    .name = "file.read",
    .description =
        "Reads lines of a text file. Each line comes as its number (six columns), a tab and its text; take the text "
        "after "
        "the tab for file.edit. If the file goes on, a last line in brackets says how many lines there are and the "
        "offset "
        "to continue with; about 120 KB of text come at a time, and a line is cut at 2,000 bytes. Bytes that are not "
        "UTF-8 "
        "show as U+FFFD; binary files and directories are refused. To find something in files use search; to see what "
        "files there are use file.list. Read a file before you change it.",
    .params =
        "{\"type\":\"object\",\"properties\":{"
        "\"path\":{\"type\":\"string\",\"minLength\":1,\"description\":\"The file, relative to the workspace; or the "
        "name of a kept result (@spill/…).\"},"
        "\"offset\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":1000000000,\"default\":1,\"description\":\"The "
        "first "
        "line, counted from 1.\"},"
        "\"limit\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":1000000,\"default\":2000,\"description\":\"How many "
        "lines at most.\"}},"
        "\"required\":[\"path\"],\"additionalProperties\":false}",
    .start = start,
};
