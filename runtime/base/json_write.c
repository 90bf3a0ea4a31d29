/* SPDX-License-Identifier: MIT */
/* JSON text: of a parsed value, and written piece by piece. */
#include <stdlib.h>
#include <string.h>

#include "json.h"

/* ---- printing ---- */

static int by_name(const void *a, const void *b) {
    return strcmp(moon_json_name(*(const moon_json *const *)a), moon_json_name(*(const moon_json *const *)b));
}

static void print(moon__buf *buf, const moon_json *value, bool sorted);

static void print_member(moon__buf *buf, const moon_json *member, bool first, bool sorted) {
    if (!first) moon__buf_char(buf, ',');
    moon__buf_quoted(buf, moon_json_name(member), SIZE_MAX);
    moon__buf_char(buf, ':');
    print(buf, member, sorted);
}

static void print_sorted(moon__buf *buf, const moon_json *object) {
    size_t n = moon_json_size(object), i = 0;
    const moon_json **members = malloc((n + 1) * sizeof(*members));
    if (!members) {
        buf->status = MOON_ENOMEM;
        return;
    }
    for (const moon_json *m = moon_json_first(object); m; m = moon_json_next(m)) members[i++] = m;
    qsort(members, n, sizeof(*members), by_name);
    for (i = 0; i < n; i++) print_member(buf, members[i], i == 0, true);
    free(members);
}

static void print_children(moon__buf *buf, const moon_json *value, bool sorted) {
    bool object = moon_json_type(value) == MOON_JSON_OBJECT;
    const moon_json *first = moon_json_first(value);
    moon__buf_char(buf, object ? '{' : '[');
    if (object && sorted) {
        print_sorted(buf, value);
    } else {
        for (const moon_json *child = first; child && !buf->status; child = moon_json_next(child)) {
            if (object) {
                print_member(buf, child, child == first, sorted);
                continue;
            }
            if (child != first) moon__buf_char(buf, ',');
            print(buf, child, sorted);
        }
    }
    moon__buf_char(buf, object ? '}' : ']');
}

/* Values come from the parser, so their depth is bounded. */
static void print(moon__buf *buf, const moon_json *value, bool sorted) {
    double number = 0;
    bool flag = false;
    size_t n;
    const char *text;
    switch (moon_json_type(value)) {
    case MOON_JSON_ABSENT:
    case MOON_JSON_NULL: moon__buf_str(buf, "null"); break;
    case MOON_JSON_BOOL: moon__buf_str(buf, moon_json_bool(value, &flag) && flag ? "true" : "false"); break;
    case MOON_JSON_NUMBER:
        if (moon_json_num(value, &number)) moon__buf_num(buf, number);
        break;
    case MOON_JSON_STRING:
        text = moon_json_str(value, &n);
        moon__buf_quoted(buf, text, n);
        break;
    case MOON_JSON_ARRAY:
    case MOON_JSON_OBJECT: print_children(buf, value, sorted); break;
    }
}

static void print_whole(moon__buf *buf, const moon_json *value, bool sorted) {
    size_t start = buf->len;
    print(buf, value, sorted);
    if (buf->status) moon__buf_cut(buf, start);
}

void moon__json_print(moon__buf *buf, const moon_json *value) {
    print_whole(buf, value, false);
}

void moon__json_print_canonical(moon__buf *buf, const moon_json *value) {
    print_whole(buf, value, true);
}

static void print_lines(moon__buf *buf, const moon_json *value, unsigned levels, unsigned indent) {
    const moon_json *first = moon_json_first(value);
    if (!levels || !first) {
        print(buf, value, false);
        return;
    }
    bool object = moon_json_type(value) == MOON_JSON_OBJECT;
    moon__buf_char(buf, object ? '{' : '[');
    for (const moon_json *child = first; child && !buf->status; child = moon_json_next(child)) {
        moon__buf_printf(buf, "%s\n%*s", child == first ? "" : ",", (int)indent + 2, "");
        if (object) {
            moon__buf_quoted(buf, moon_json_name(child), SIZE_MAX);
            moon__buf_str(buf, ": ");
        }
        print_lines(buf, child, levels - 1, indent + 2);
    }
    moon__buf_printf(buf, "\n%*s%c", (int)indent, "", object ? '}' : ']');
}

void moon__json_print_lines(moon__buf *buf, const moon_json *value, unsigned levels) {
    size_t start = buf->len;
    print_lines(buf, value, levels, 0);
    if (buf->status) moon__buf_cut(buf, start);
}

/* ---- writing ---- */

enum { DEPTH_MAX = 63 };

void moon__jw_init(moon__jw *w, moon__buf *buf) {
    *w = (moon__jw){.buf = buf};
}

/* The comma and the name of what comes next. Misuse (a name missing or too many, a second value at the top) must not
 * become text that is no JSON: it sticks in the buffer. */
static void begin(moon__jw *w, const char *name) {
    uint64_t bit = UINT64_C(1) << w->depth;
    bool in_object = w->depth && !(w->is_array & bit), again = w->has_member & bit;
    if (!w->buf->status && (in_object != (name != NULL) || (again && !w->depth))) w->buf->status = MOON_EINVAL;
    if (again) moon__buf_char(w->buf, ',');
    w->has_member |= bit;
    if (!name) return;
    moon__buf_quoted(w->buf, name, SIZE_MAX);
    moon__buf_char(w->buf, ':');
}

static void open(moon__jw *w, const char *name, bool array) {
    begin(w, name);
    if (w->depth == DEPTH_MAX && !w->buf->status) w->buf->status = MOON_ELIMIT;
    if (w->buf->status) return;
    moon__buf_char(w->buf, array ? '[' : '{');
    uint64_t bit = UINT64_C(1) << ++w->depth;
    w->has_member &= ~bit;
    w->is_array = array ? w->is_array | bit : w->is_array & ~bit;
}

void moon__jw_object(moon__jw *w, const char *name) {
    open(w, name, false);
}

void moon__jw_array(moon__jw *w, const char *name) {
    open(w, name, true);
}

void moon__jw_end(moon__jw *w) {
    if (!w->depth && !w->buf->status) w->buf->status = MOON_EINVAL;
    if (w->buf->status) return;
    moon__buf_char(w->buf, w->is_array >> w->depth & 1 ? ']' : '}');
    w->depth--;
}

void moon__jw_str(moon__jw *w, const char *name, const char *text, size_t n) {
    begin(w, name);
    moon__buf_quoted(w->buf, text, text ? n : 0);
}

void moon__jw_int(moon__jw *w, const char *name, int64_t value) {
    begin(w, name);
    moon__buf_int(w->buf, value);
}

void moon__jw_num(moon__jw *w, const char *name, double value) {
    begin(w, name);
    moon__buf_num(w->buf, value);
}

void moon__jw_bool(moon__jw *w, const char *name, bool value) {
    begin(w, name);
    moon__buf_str(w->buf, value ? "true" : "false");
}

void moon__jw_null(moon__jw *w, const char *name) {
    begin(w, name);
    moon__buf_str(w->buf, "null");
}

void moon__jw_raw(moon__jw *w, const char *name, const char *json, size_t n) {
    begin(w, name);
    moon__buf_add(w->buf, json, n == SIZE_MAX ? strlen(json) : n);
}
