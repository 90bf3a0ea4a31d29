/* SPDX-License-Identifier: MIT */
/* file.edit: one piece of a file replaced by another (edit.c does it); here are the file, and the words for the model.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "builtin.h"
#include "edit.h"
#include "file.h"

enum { SHOWN_LINES = 40, SHOWN_BYTES = 8 << 10, AROUND = 3 };

/* Lines first..last of the text with their numbers; of many, the first and the last ones. */
static void add_lines(moon__bytes *out, const char *text, size_t n, size_t first, size_t last) {
    const char *p = text, *end = text + n;
    for (size_t line = 1; p < end && line <= last; line++) {
        const char *nl = memchr(p, '\n', (size_t)(end - p));
        size_t length = (size_t)((nl ? nl : end) - p);
        bool middle = last - first >= SHOWN_LINES && line >= first + SHOWN_LINES / 2 && line + SHOWN_LINES / 2 <= last;
        if (line >= first && !middle && out->len < SHOWN_BYTES)
            moon__file_line(out, line, p, length, length);
        else if (middle && line == first + SHOWN_LINES / 2)
            moon__bytes_str(out, "     …\n");
        p = nl ? nl + 1 : end;
    }
}

static void fail_many(moon_call *call, const char *path, const moon__edit_result *r) {
    moon__bytes list;
    moon__bytes_init(&list, 1024);
    for (size_t i = 0; i < r->count && i < MOON__EDIT_SHOWN; i++)
        moon__bytes_printf(&list, "%s%zu", i ? ", " : "", r->lines[i]);
    moon_call_fail(
        call, "old is in %.300s %zu times%s, beginning in lines %.*s%s: add lines around it until it is in one place%s",
        path, r->count, r->tolerant ? " (whitespace apart)" : "", (int)list.len, list.p ? list.p : "",
        r->count > MOON__EDIT_SHOWN ? " …" : "", r->tolerant ? "" : ", or set all=true");
    moon__bytes_fini(&list);
}

static void fail_none(moon_call *call, const char *path, const char *text, size_t n, const moon__edit_result *r) {
    if (!r->first) {
        moon_call_fail(call, "old is not in %.300s, nor anything like it: read the file and copy the text from there",
                       path);
        return;
    }
    moon__bytes near;
    moon__bytes_init(&near, 2 * SHOWN_BYTES);
    add_lines(&near, text, n, r->first, r->last);
    moon_call_fail(
        call, "old is not in %.300s. The nearest is in lines %zu-%zu; copy old from there (without the numbers):\n%.*s",
        path, r->first, r->last, (int)near.len, near.p ? near.p : "");
    moon__bytes_fini(&near);
}

static void report(moon_call *call, const char *path, const moon__edit_result *r) {
    const char *how = r->tolerant ? "whitespace-tolerant" : "exact";
    if (r->count > 1)
        moon_call_printf(call, "edited %s: %zu places replaced (%s), the first in lines %zu-%zu\n", path, r->count, how,
                         r->first, r->last);
    else
        moon_call_printf(call, "edited %s: lines %zu-%zu replaced (%s)\n", path, r->first, r->last, how);
    moon__bytes shown;
    moon__bytes_init(&shown, 2 * SHOWN_BYTES);
    size_t first = r->first > AROUND ? r->first - AROUND : 1, last = r->first + r->fresh_lines + AROUND - 1;
    add_lines(&shown, r->text.p, r->text.len, first, last);
    moon_call_write(call, shown.p, shown.len);
    moon__bytes_fini(&shown);
    moon_call_done(call);
}

static void store(moon_call *call, const char *path, const moon__edit_result *r) {
    moon_error error = {0};
    if (moon_call_replace(call, path, r->text.len ? r->text.p : "", r->text.len, 0, &error)) {
        moon_call_fail_error(call, &error);
        return;
    }
    moon__file_remember(call, path, r->text.len ? r->text.p : "", r->text.len);
    report(call, path, r);
}

static void edit(moon_call *call, const char *path, const moon__edit *e) {
    moon__edit_result r;
    switch (moon__edit_apply(e, &r)) {
    case MOON__EDIT_DONE: store(call, path, &r); break;
    case MOON__EDIT_SAME: moon_call_fail(call, "%.300s would be the same after this edit", path); break;
    case MOON__EDIT_MANY: fail_many(call, path, &r); break;
    case MOON__EDIT_NONE: fail_none(call, path, e->text, e->text_length, &r); break;
    case MOON__EDIT_NO_MEMORY: moon_call_fail(call, "no memory to edit %.300s", path); break;
    }
    moon__bytes_fini(&r.text);
}

/* An empty file has no text to be found: its content is what is new. */
static void fill(moon_call *call, const char *path, const char *fresh, size_t n) {
    moon__edit_result r = {.count = 1, .first = 1, .last = 1, .fresh_lines = moon__text_count_lines(fresh, n)};
    moon__bytes_init(&r.text, n);
    moon__bytes_add(&r.text, fresh, n);
    if (r.text.failed)
        moon_call_fail(call, "no memory to edit %.300s", path);
    else
        store(call, path, &r);
    moon__bytes_fini(&r.text);
}

static void edit_text(moon_call *call, const char *path, const char *text, size_t n, const moon_json *args) {
    moon__edit e = {.text = text, .text_length = n, .all = moon__arg_bool(args, "all", false)};
    e.old = moon__arg_str(args, "old", &e.old_length);
    e.fresh = moon__arg_str(args, "new", &e.fresh_length);
    if (n > MOON__FILE_WHOLE_MAX)
        moon_call_fail(call, "%.300s is over %d MiB: too large to be edited", path, MOON__FILE_WHOLE_MAX >> 20);
    else if (moon__file_changed(call, path, text, n))
        moon_call_fail(call, "%.300s has changed since it was read: read it again, then edit", path);
    else if (moon__text_is_binary(text, n))
        moon_call_fail(call, "%.300s is a binary file of %zu bytes: it cannot be edited", path, n);
    else if (e.old_length == e.fresh_length && !memcmp(e.old, e.fresh, e.old_length))
        moon_call_fail(call, "old and new are the same: nothing to do");
    else if (e.old_length)
        edit(call, path, &e);
    else if (n)
        moon_call_fail(call, "old is empty, and %.300s is not: give the text to be replaced", path);
    else
        fill(call, path, e.fresh, e.fresh_length);
}

static void start(void *self, moon_call *call, const moon_json *args) {
    (void)self;
    const char *path = moon__arg_str(args, "path", NULL);
    struct stat st;
    int fd = moon__file_open(call, path, &st);
    if (fd < 0) return;
    char *text;
    size_t n;
    if (moon__file_slurp(call, path, fd, (size_t)st.st_size, &text, &n)) {
        edit_text(call, path, text, n, args);
        free(text);
    }
    close(fd);
}

const moon_tool moon__tool_file_edit = {
    .abi = MOON_TOOL_ABI,
    .effects = MOON_DESTRUCTIVE,
    .flags = MOON_TOOL_BLOCKING,
    .name = "file.edit",
    .description = "Replaces one piece of a text file. old must be in the file in exactly one place: quote whole lines "
                   "from file.read "
                   "(without the numbers), with as many lines around as make it unique. It is looked for exactly; only "
                   "if it is not "
                   "there, whole lines are compared without regard to indentation and spacing, and new is indented as "
                   "the file is. "
                   "Line endings and mode are kept, the file is replaced atomically. Returns the lines replaced and "
                   "the new text around them. "
                   "If old is in several places the error lists their lines; if it is nowhere it shows the nearest "
                   "text. Refused if "
                   "the file has changed since it was read. An empty new deletes; all=true replaces every exact match. "
                   "For a new file use "
                   "file.write.",
    .params =
        "{\"type\":\"object\",\"properties\":{"
        "\"path\":{\"type\":\"string\",\"minLength\":1,\"description\":\"The file, relative to the workspace.\"},"
        "\"old\":{\"type\":\"string\",\"description\":\"The text to be replaced; empty only if the file is empty.\"},"
        "\"new\":{\"type\":\"string\",\"description\":\"What stands there afterwards.\"},"
        "\"all\":{\"type\":\"boolean\",\"default\":false,\"description\":\"Replace every exact match.\"}},"
        "\"required\":[\"path\",\"old\",\"new\"],\"additionalProperties\":false}",
    .start = start,
};
