/* SPDX-License-Identifier: MIT */
/* What hooks make of a model's answer, or give in its place: the body of model.response once more. */
#include "hooks.h"

#include <stdio.h>
#include <string.h>

#include "text.h"

enum { CALLS_MAX = 128 };

static moon_status wrong(moon_error *error, const char *what) {
    return moon_error_set(error, MOON_EINVAL, "%s", what);
}

static void put_arguments(moon__jw *w, const moon_json *arguments) {
    moon__buf text;
    size_t n = 0;
    const char *given = moon_json_str(arguments, &n);
    moon__buf_init(&text, 64 << 20);
    if (!given && arguments) moon__json_print(&text, arguments);
    if (text.status)
        w->buf->status = text.status;
    else if (given)
        moon__jw_str(w, "arguments", given, n);
    else
        moon__jw_str(w, "arguments", text.p ? text.p : "{}", text.p ? text.len : 2);
    moon__buf_fini(&text);
}

static bool id_before(const moon_json *calls, const moon_json *self, const char *id) {
    for (const moon_json *c = moon_json_first(calls); c && c != self; c = moon_json_next(c)) {
        const char *other = moon_json_str(moon_json_get(c, "id"), NULL);
        if (other && !strcmp(other, id)) return true;
    }
    return false;
}

static moon_status put_calls(moon__jw *w, const moon_json *calls, const char *key, moon_error *error) {
    if (calls && moon_json_type(calls) != MOON_JSON_ARRAY && moon_json_size(calls))
        return wrong(error, "tool_calls must be a list");
    if (moon_json_size(calls) > CALLS_MAX) return wrong(error, "there are more than 128 tool calls");
    moon__jw_array(w, "tool_calls");
    unsigned i = 0;
    for (const moon_json *c = moon_json_first(calls); c; c = moon_json_next(c)) {
        char own[64];
        const char *name = moon_json_str(moon_json_get(c, "name"), NULL),
                   *id = moon_json_str(moon_json_get(c, "id"), NULL);
        if (!name || !*name) return wrong(error, "a tool call is a table { name, arguments }");
        snprintf(own, sizeof own, "hook_%s_%u", key, ++i);
        moon__jw_object(w, NULL);
        moon__jw_str(w, "id", id && *id && !id_before(calls, c, id) ? id : own, SIZE_MAX);
        moon__jw_str(w, "name", name, SIZE_MAX);
        put_arguments(w, moon_json_get(c, "arguments"));
        moon__jw_end(w);
    }
    moon__jw_end(w);
    return MOON_OK;
}

/* All members of base but these two. */
static void put_rest(moon__jw *w, const moon_json *base) {
    moon__buf text;
    moon__buf_init(&text, 256 << 20);
    for (const moon_json *m = moon_json_first(base); m; m = moon_json_next(m)) {
        const char *name = moon_json_name(m);
        if (!strcmp(name, "text") || !strcmp(name, "tool_calls")) continue;
        moon__buf_reset(&text);
        moon__json_print(&text, m);
        if (text.status) w->buf->status = text.status;
        moon__jw_raw(w, name, text.p, text.len);
    }
    moon__buf_fini(&text);
}

static moon_status check_members(const moon_json *given, moon_error *error) {
    static const char *const fields[] = {"text", "tool_calls", NULL};
    if (moon_json_type(given) != MOON_JSON_OBJECT) return wrong(error, "an answer is a text or a table");
    for (const moon_json *m = moon_json_first(given); m; m = moon_json_next(m)) {
        const char *name = moon_json_name(m);
        if (strcmp(name, fields[0]) != 0 && strcmp(name, fields[1]) != 0)
            return moon_error_set(error, MOON_EINVAL, "an answer has no field \"%.60s\" (text and tool_calls)", name);
    }
    const moon_json *text = moon_json_get(given, "text");
    return !text || moon_json_str(text, NULL) ? MOON_OK : wrong(error, "text must be a string");
}

moon_status moon__hook_body(moon_json **out, const moon_json *given, const moon_json *base, const char *key,
                            moon_error *error) {
    moon__buf body;
    moon__jw w;
    size_t n = 0;
    const char *text = moon_json_str(given, &n);
    bool whole = text != NULL;
    moon_status status = whole ? MOON_OK : check_members(given, error);
    if (status) return status;
    const moon_json *calls = moon_json_get(given, "tool_calls");
    if (!whole) text = moon_json_str(moon_json_get(given, "text"), &n);
    if (!text) text = moon_json_str(moon_json_get(base, "text"), &n);
    if (!calls && !(whole && !base)) calls = moon_json_get(base, "tool_calls");
    moon__buf_init(&body, 256 << 20);
    moon__jw_init(&w, &body);
    moon__jw_object(&w, NULL);
    moon__jw_str(&w, "text", text ? text : "", text ? n : 0);
    status = put_calls(&w, calls, key, error);
    if (base)
        put_rest(&w, base);
    else {
        moon__jw_str(&w, "finish", moon_json_size(calls) ? "tool_calls" : "stop", SIZE_MAX);
        moon__jw_str(&w, "model", moon__hook_name(MOON__BEFORE_MODEL), SIZE_MAX);
        moon__jw_raw(&w, "usage", "{\"usd\":0}", 9);
    }
    moon__jw_end(&w);
    if (!status && body.status) status = moon_error_set(error, body.status, "the answer is too long");
    if (!status) status = moon__json_parse(out, body.p, body.len, 0, error);
    moon__buf_fini(&body);
    return status;
}
