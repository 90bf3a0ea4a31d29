/* SPDX-License-Identifier: MIT */
#include "transcript.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CALLS_MAX = 128 };

void moon__transcript_fini(moon__transcript *t) {
    for (moon__said *s = t->first, *next; s; s = next) {
        next = s->next;
        free(s->storage);
        free(s);
    }
    *t = (moon__transcript){0};
}

/* ---- a copy ---- */

static size_t size_of(const moon_message *m) {
    size_t size = m->n_calls * sizeof *m->calls + m->text_length + m->reasoning_length + 3;
    if (m->call_id) size += strlen(m->call_id);
    for (size_t i = 0; i < m->n_calls; i++)
        size += strlen(m->calls[i].id) + strlen(m->calls[i].name) + m->calls[i].arguments_length + 3;
    return size;
}

static const char *put(char **at, const char *text, size_t n) {
    char *to = *at;
    if (n) memcpy(to, text, n);
    to[n] = 0;
    *at += n + 1;
    return to;
}

/* storage has room for what size_of says; the calls stand first, for their alignment. */
static void copy(moon__said *s, const moon_message *m) {
    moon_tool_use *calls = (moon_tool_use *)(void *)s->storage;
    char *at = s->storage + m->n_calls * sizeof *calls;
    s->message = *m;
    if (m->text) s->message.text = put(&at, m->text, m->text_length);
    if (m->reasoning) s->message.reasoning = put(&at, m->reasoning, m->reasoning_length);
    if (m->call_id) s->message.call_id = put(&at, m->call_id, strlen(m->call_id));
    for (size_t i = 0; i < m->n_calls; i++) {
        const moon_tool_use *use = &m->calls[i];
        calls[i] = (moon_tool_use){.id = put(&at, use->id, strlen(use->id)),
                                   .name = put(&at, use->name, strlen(use->name)),
                                   .arguments = put(&at, use->arguments, use->arguments_length),
                                   .arguments_length = use->arguments_length};
    }
    s->message.calls = m->n_calls ? calls : NULL;
}

moon_status moon__transcript_add(moon__transcript *t, const moon_message *message) {
    size_t size = size_of(message);
    if (size > MOON__TRANSCRIPT_MAX - t->bytes) return MOON_ELIMIT;
    moon__said *s = calloc(1, sizeof *s);
    if (!s) return MOON_ENOMEM;
    s->storage = malloc(size);
    if (!s->storage) {
        free(s);
        return MOON_ENOMEM;
    }
    copy(s, message);
    if (t->last)
        t->last->next = s;
    else
        t->first = s;
    t->last = s;
    t->n++;
    t->bytes += size;
    return MOON_OK;
}

/* ---- as JSON ---- */

static const char *const roles[] = {"system", "user", "assistant", "tool"};

static void write_calls(moon__jw *w, const moon_message *m) {
    moon__jw_array(w, "tool_calls");
    for (size_t i = 0; i < m->n_calls; i++) {
        const moon_tool_use *use = &m->calls[i];
        moon__jw_object(w, NULL);
        moon__jw_str(w, "id", use->id, SIZE_MAX);
        moon__jw_str(w, "name", use->name, SIZE_MAX);
        if (moon__json_check(use->arguments, use->arguments_length, NULL) == MOON_OK)
            moon__jw_raw(w, "arguments", use->arguments, use->arguments_length);
        else
            moon__jw_str(w, "arguments", use->arguments, use->arguments_length);
        moon__jw_end(w);
    }
    moon__jw_end(w);
}

void moon__transcript_write(moon__jw *w, const char *name, const moon__transcript *t) {
    moon__jw_array(w, name);
    for (const moon__said *s = t->first; s; s = s->next) {
        const moon_message *m = &s->message;
        moon__jw_object(w, NULL);
        moon__jw_str(w, "role", roles[m->role], SIZE_MAX);
        moon__jw_str(w, "content", m->text ? m->text : "", m->text ? m->text_length : 0);
        if (m->n_calls) write_calls(w, m);
        if (m->call_id) moon__jw_str(w, "tool_call_id", m->call_id, SIZE_MAX);
        if (m->is_error) moon__jw_bool(w, "is_error", true);
        if (m->reasoning) moon__jw_str(w, "reasoning", m->reasoning, m->reasoning_length);
        moon__jw_end(w);
    }
    moon__jw_end(w);
}

/* ---- from JSON ---- */

/* Reads messages one by one, and keeps account of calls that wait for their answers. */
typedef struct reader {
    moon__transcript *to;
    const moon_json *open[CALLS_MAX]; /* the ids of calls without an answer; NULL: it has one */
    size_t n_open, left;
    size_t at; /* the message at hand, from 1 */
    moon_error *error;
} reader;

static moon_status wrong(const reader *r, const char *what) {
    return moon_error_set(r->error, MOON_EINVAL, "messages[%zu]: %s", r->at, what);
}

/* A text that may be left out; false if it is something else. */
static bool text_of(const moon_json *object, const char *name, const char **text, size_t *n) {
    const moon_json *value = moon_json_get(object, name);
    size_t length = 0;
    *text = moon_json_str(value, &length);
    if (n) *n = length;
    return *text || !value || moon_json_type(value) == MOON_JSON_NULL;
}

static moon_status read_calls(reader *r, const moon_json *list, moon_tool_use *uses, moon__buf *args, size_t *n) {
    *n = moon_json_size(list);
    if (list && moon_json_type(list) != MOON_JSON_ARRAY && *n) return wrong(r, "tool_calls must be a list");
    if (*n > CALLS_MAX) return wrong(r, "too many tool calls");
    size_t i = 0;
    for (const moon_json *c = moon_json_first(list); c; c = moon_json_next(c), i++) {
        const moon_json *arguments = moon_json_get(c, "arguments");
        uses[i].id = moon_json_str(moon_json_get(c, "id"), NULL);
        uses[i].name = moon_json_str(moon_json_get(c, "name"), NULL);
        if (!uses[i].id || !uses[i].name) return wrong(r, "a tool call has an id and a name");
        moon__buf_init(&args[i], 64 << 20);
        uses[i].arguments = moon_json_str(arguments, &uses[i].arguments_length);
        if (uses[i].arguments) continue;
        if (arguments)
            moon__json_print(&args[i], arguments);
        else
            moon__buf_str(&args[i], "{}");
        if (args[i].status) return moon_error_set(r->error, args[i].status, "no memory for messages");
        uses[i].arguments = args[i].p;
        uses[i].arguments_length = args[i].len;
    }
    return MOON_OK;
}

static void open_calls(reader *r, const moon_json *list) {
    r->n_open = r->left = 0;
    for (const moon_json *c = moon_json_first(list); c && r->n_open < CALLS_MAX; c = moon_json_next(c)) {
        r->open[r->n_open++] = moon_json_get(c, "id");
        r->left++;
    }
}

static bool answers(reader *r, const char *id) {
    for (size_t i = 0; i < r->n_open; i++) {
        if (!r->open[i] || strcmp(moon_json_str(r->open[i], NULL), id) != 0) continue;
        r->open[i] = NULL;
        r->left--;
        return true;
    }
    return false;
}

static moon_status check_role(reader *r, const moon_json *json, moon_message *m) {
    const char *role = moon_json_str(moon_json_get(json, "role"), NULL);
    size_t i = MOON_USER;
    while (role && i <= MOON_TOOL_ROLE && strcmp(role, roles[i]) != 0) i++;
    if (!role || i > MOON_TOOL_ROLE) return wrong(r, "role must be \"user\", \"assistant\" or \"tool\"");
    m->role = (moon_role)i;
    bool texts = text_of(json, "content", &m->text, &m->text_length) &&
                 text_of(json, "tool_call_id", &m->call_id, NULL) &&
                 text_of(json, "reasoning", &m->reasoning, &m->reasoning_length);
    if (!texts) return wrong(r, "content, tool_call_id and reasoning are strings");
    if (!m->text) m->text = "";
    if (m->role == MOON_TOOL_ROLE)
        return m->call_id && answers(r, m->call_id) ? MOON_OK : wrong(r, "it answers no tool call right before it");
    m->call_id = NULL;
    return r->left ? wrong(r, "the tool calls before it have not all been answered") : MOON_OK;
}

static moon_status read_one(reader *r, const moon_json *json) {
    moon_tool_use uses[CALLS_MAX];
    moon__buf args[CALLS_MAX];
    moon_message m = {.role = MOON_USER};
    const moon_json *calls = moon_json_get(json, "tool_calls");
    memset(args, 0, sizeof args);
    memset(uses, 0, sizeof uses);
    if (moon_json_type(json) != MOON_JSON_OBJECT) return wrong(r, "a message is a table { role, content }");
    moon_status status = check_role(r, json, &m);
    if (!status && moon_json_size(calls) && m.role != MOON_ASSISTANT)
        status = wrong(r, "only an assistant's message has tool calls");
    if (!status) status = read_calls(r, calls, uses, args, &m.n_calls);
    if (!status && m.role == MOON_ASSISTANT) open_calls(r, calls);
    m.calls = uses;
    moon_json_bool(moon_json_get(json, "is_error"), &m.is_error);
    if (!status) {
        status = moon__transcript_add(r->to, &m);
        if (status) moon_error_set(r->error, status, "the messages are too long");
    }
    for (size_t i = 0; i < CALLS_MAX; i++) moon__buf_fini(&args[i]);
    return status;
}

moon_status moon__transcript_read(moon__transcript *t, const moon_json *list, moon_error *error) {
    reader *r = calloc(1, sizeof *r);
    if (!r) return moon_error_set(error, MOON_ENOMEM, "no memory for messages");
    *r = (reader){.to = t, .error = error};
    moon_status status = MOON_OK;
    if (moon_json_type(list) != MOON_JSON_ARRAY && moon_json_size(list))
        status = moon_error_set(error, MOON_EINVAL, "messages must be a list");
    for (const moon_json *m = moon_json_first(list); m && !status; m = moon_json_next(m)) {
        r->at++;
        status = read_one(r, m);
    }
    if (!status && r->left)
        status = moon_error_set(error, MOON_EINVAL,
                                "messages: the tool calls of the last message have not all been answered");
    free(r);
    return status;
}
