/* SPDX-License-Identifier: MIT */
/*
 * What to tell when a cassette has no recording of a request: the nearest one, and where the two part.
 *
 * Both are chains of parts with keys, so the longest common beginning that was itself asked is found by key; only the
 * recordings that follow it (or, if there is none, those that begin a conversation) are read and compared. The lane of
 * the request is looked at first, then all others.
 */
#include "cassette.h"

#include <stdio.h>
#include <string.h>

#include "failure.h"

enum {
    READ_MAX = 64, /* recordings that are compared */
    BEFORE = 16,   /* bytes of a text that are shown before the difference, and from there on */
    AFTER = 44,
    TEXT_MAX = 256 << 20,
};

typedef struct nearest {
    const char *file;
    size_t common; /* parts */
    char difference[260];
} nearest;

/* ---- one difference ---- */

/* Where two texts part, with what stands around it. */
static void excerpt(char *out, size_t room, const char *text, size_t n, size_t at) {
    char plain[BEFORE + AFTER + 8];
    size_t begin = at > BEFORE ? at - BEFORE : 0, end = n - begin > BEFORE + AFTER ? begin + BEFORE + AFTER : n;
    while (begin < at && ((unsigned char)text[begin] & 0xc0) == 0x80) begin++;
    moon__plain(plain, sizeof plain, text + begin, end > begin ? end - begin : 0);
    snprintf(out, room, "\"%s%s%s\"", begin ? "…" : "", plain, end < n ? "…" : "");
}

static void say_texts(char *out, size_t room, const char *what, const char *then, size_t n_then, const char *now,
                      size_t n_now) {
    char left[BEFORE + AFTER + 16], right[BEFORE + AFTER + 16];
    size_t at = 0;
    while (at < n_then && at < n_now && then[at] == now[at]) at++;
    excerpt(left, sizeof left, then, n_then, at);
    excerpt(right, sizeof right, now, n_now, at);
    snprintf(out, room, "%s: recorded %s, now %s", what, left, right);
}

static const char *text_of(const moon_json *object, const char *name, size_t *n) {
    *n = 0;
    const char *text = moon_json_str(moon_json_get(object, name), n);
    return text ? text : "";
}

/* A text as it is, any other value as JSON, and nothing as nothing. */
static void print_value(moon__buf *out, const moon_json *value) {
    size_t n = 0;
    const char *text = moon_json_str(value, &n);
    if (text)
        moon__buf_add(out, text, n);
    else if (value)
        moon__json_print_canonical(out, value);
}

static void say_values(char *out, size_t room, const char *what, const moon_json *then, const moon_json *now) {
    moon__buf left, right;
    moon__buf_init(&left, TEXT_MAX);
    moon__buf_init(&right, TEXT_MAX);
    print_value(&left, then);
    print_value(&right, now);
    say_texts(out, room, what, left.len ? left.p : "", left.len, right.len ? right.p : "", right.len);
    moon__buf_fini(&left);
    moon__buf_fini(&right);
}

static bool same(const moon_json *a, const moon_json *b) {
    moon__buf left, right;
    if (!a || !b) return !a && !b;
    moon__buf_init(&left, TEXT_MAX);
    moon__buf_init(&right, TEXT_MAX);
    moon__json_print_canonical(&left, a);
    moon__json_print_canonical(&right, b);
    bool equal = left.len == right.len && !left.status && !right.status && !memcmp(left.p, right.p, left.len);
    moon__buf_fini(&left);
    moon__buf_fini(&right);
    return equal;
}

static const moon_json *named(const moon_json *list, const char *name) {
    for (const moon_json *one = moon_json_first(list); one; one = moon_json_next(one)) {
        const char *own = moon_json_str(moon_json_get(one, "name"), NULL);
        if (own && strcmp(own, name) == 0) return one;
    }
    return NULL;
}

/* Of two tools of one name. */
static void say_tool(char *out, size_t room, const char *name, const moon_json *then, const moon_json *now) {
    char what[100];
    bool words = !same(moon_json_get(then, "description"), moon_json_get(now, "description"));
    const char *member = words ? "description" : "params";
    snprintf(what, sizeof what, "%s of tool %.50s", words ? "description" : "parameters", name);
    say_values(out, room, what, moon_json_get(then, member), moon_json_get(now, member));
}

static void say_tools(char *out, size_t room, const moon_json *then, const moon_json *now) {
    for (const moon_json *tool = moon_json_first(now); tool; tool = moon_json_next(tool)) {
        const char *name = moon_json_str(moon_json_get(tool, "name"), NULL);
        const moon_json *other = name ? named(then, name) : NULL;
        if (other && same(tool, other)) continue;
        if (other)
            say_tool(out, room, name, other, tool);
        else
            snprintf(out, room, "tool %.60s was not there", name ? name : "?");
        return;
    }
    for (const moon_json *tool = moon_json_first(then); tool; tool = moon_json_next(tool)) {
        const char *name = moon_json_str(moon_json_get(tool, "name"), NULL);
        char plain[64];
        if (name && named(now, name)) continue;
        moon__plain(plain, sizeof plain, name ? name : "?", strlen(name ? name : "?"));
        snprintf(out, room, "tool %s is not there now", plain);
        return;
    }
    snprintf(out, room, "the tools are in another order");
}

static void say_settings(char *out, size_t room, const moon_json *then, const moon_json *now) {
    const moon_json *sides[2] = {now, then};
    for (int i = 0; i < 2; i++)
        for (const moon_json *m = moon_json_first(sides[i]); m; m = moon_json_next(m)) {
            const char *name = moon_json_name(m);
            char what[40];
            if (same(moon_json_get(then, name), moon_json_get(now, name))) continue;
            moon__plain(what, sizeof what, name, strlen(name));
            if (strcmp(name, "tools") == 0)
                say_tools(out, room, moon_json_get(then, name), moon_json_get(now, name));
            else
                say_values(out, room, what, moon_json_get(then, name), moon_json_get(now, name));
            return;
        }
}

/* index counts messages from 1. */
static void say_message(char *out, size_t room, size_t index, const moon_json *then, const moon_json *now) {
    size_t n_then, n_now;
    char what[60], plain[24];
    const char *role = text_of(now, "role", &n_now), *old = text_of(then, "role", &n_then);
    snprintf(what, sizeof what, "message %zu (%.20s)", index, role);
    const char *then_text = text_of(then, "text", &n_then), *now_text = text_of(now, "text", &n_now);
    bool same_text = n_then == n_now && memcmp(then_text, now_text, n_now) == 0;
    moon__plain(plain, sizeof plain, old, strlen(old));
    if (strcmp(role, old) != 0)
        snprintf(out, room, "message %zu: recorded one of role %.20s, now %.20s", index, plain, role);
    else if (!same_text)
        say_texts(out, room, what, then_text, n_then, now_text, n_now);
    else
        say_values(out, room, what, then, now);
}

/* ---- candidates ---- */

static moon_json *part_json(const moon__request *request, size_t index) {
    size_t n;
    moon_json *json = NULL;
    const char *text = moon__request_part(request, index, &n);
    return moon__json_parse(&json, text, n, 0, NULL) == MOON_OK ? json : NULL;
}

static bool is_part(const moon__request *request, size_t index, const moon_json *value) {
    moon__buf text;
    size_t n;
    const char *part = moon__request_part(request, index, &n);
    moon__buf_init(&text, TEXT_MAX);
    moon__json_print_canonical(&text, value);
    bool equal = text.len == n && memcmp(text.p, part, n) == 0;
    moon__buf_fini(&text);
    return equal;
}

/* Compares what a recording adds with the parts of the request from `at` on, and keeps it if it is nearer. */
static void compare(nearest *best, const char *file, const moon__recording *r, const moon__request *request,
                    size_t at) {
    const moon_json *then = r->follows ? moon_json_first(r->messages) : r->request;
    bool settings = !r->follows;
    while (then && at < request->n && is_part(request, at, then)) {
        then = settings ? moon_json_first(r->messages) : moon_json_next(then);
        settings = false;
        at++;
    }
    if (best->file && at <= best->common) return;
    best->file = file;
    best->common = at;
    moon_json *now = at < request->n ? part_json(request, at) : NULL;
    size_t room = sizeof best->difference;
    if (settings)
        say_settings(best->difference, room, then, now);
    else if (then && now)
        say_message(best->difference, room, at, then, now);
    else if (then)
        snprintf(best->difference, room, "it goes on with message %zu, this one asks before", at);
    else
        snprintf(best->difference, room, "it asks before message %zu (%s)", at, now ? "one more here" : "?");
    moon__json_free(now);
}

static void look(nearest *best, const moon__cassette *c, const char *path, const moon__request *request,
                 size_t shared) {
    size_t left = READ_MAX;
    const moon__take *take;
    for (size_t i = 0; left && (take = moon__cassette_at(c, i)); i++) {
        moon__recording r;
        if (path && strcmp(take->path, path) != 0) continue;
        if (shared ? !take->follows || memcmp(take->after, request->parts[shared].key, MOON__HASH_SIZE) != 0
                   : take->follows)
            continue;
        left--;
        if (moon__cassette_read(c, moon__take_file(take), &r, NULL)) continue;
        compare(best, moon__take_file(take), &r, request, shared ? shared + 1 : 0);
        moon__recording_fini(&r);
    }
}

/* The same request in another lane; NULL: nowhere. */
static const moon__take *elsewhere(const moon__cassette *c, const moon__request *request) {
    const moon__take *take;
    for (size_t i = 0; (take = moon__cassette_at(c, i)); i++)
        if (memcmp(take->key, moon__request_key(request), MOON__HASH_SIZE) == 0) return take;
    return NULL;
}

/* The longest beginning of the request that was asked in this lane: its last part; 0: none was. */
static size_t asked_before(const moon__cassette *c, const char *path, const moon__request *request, const char **file) {
    for (size_t i = request->n - 1; i > 0; i--) {
        const moon__take *take = moon__cassette_find(c, path, request->parts[i].key);
        if (!take) continue;
        *file = moon__take_file(take);
        return i;
    }
    return 0;
}

static void find_nearest(nearest *best, const moon__cassette *c, const char *path, const moon__request *request) {
    const moon__take *other = elsewhere(c, request);
    if (other) {
        char lane[40];
        moon__plain(lane, sizeof lane, other->path, strlen(other->path));
        best->file = moon__take_file(other);
        snprintf(best->difference, sizeof best->difference, "it is the same request, made on path \"%s\"", lane);
        return;
    }
    const char *last = NULL;
    size_t shared = asked_before(c, path, request, &last);
    look(best, c, path, request, shared);
    if (!best->file && shared) {
        best->file = last;
        snprintf(best->difference, sizeof best->difference, "its conversation ends there, this one goes on");
    }
    if (!best->file) look(best, c, NULL, request, 0);
}

void moon__cassette_miss(const moon__cassette *c, const char *path, const moon__request *request, moon_error *error) {
    nearest best = {0};
    char lane[40], where[60] = "";
    moon__plain(lane, sizeof lane, path, strlen(path));
    if (*lane) snprintf(where, sizeof where, " on path \"%s\"", lane);
    if (!moon__cassette_at(c, 0)) {
        moon_error_set(error, MOON_ENOTFOUND, "the cassette %.200s holds no recordings; record with --record",
                       moon__cassette_dir(c));
        return;
    }
    find_nearest(&best, c, path, request);
    moon_error_set(error, MOON_ENOTFOUND, "no recording of request %lld%s in %.80s%s%.100s%s%s",
                   (long long)request->step, where, moon__cassette_dir(c), best.file ? "; nearest is " : "",
                   best.file ? best.file : "", best.file ? ": " : "", best.difference);
}
