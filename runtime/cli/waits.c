/* SPDX-License-Identifier: MIT */
#include "waits.h"

#include "json.h"
#include "text.h"

#include <stdlib.h>
#include <string.h>

const char *moon__cli_wait_word(moon__cli_wait_kind kind) {
    static const char *const words[] = {"time", "signal", "approval"};
    return words[kind];
}

static void free_wait(moon__cli_wait *wait) {
    free(wait->path);
    free(wait->key);
    free(wait->name);
    free(wait->call);
}

void moon__cli_waits_fini(moon__cli_waits *w) {
    for (size_t i = 0; i < w->n; i++) free_wait(&w->items[i]);
    free(w->items);
    *w = (moon__cli_waits){0};
}

static const char *str(const moon_json *body, const char *name) {
    const char *text = moon_json_str(moon_json_get(body, name), NULL);
    return text ? text : "";
}

static void begin(moon__cli_waits *w, const moon_record *record, moon__cli_wait_kind kind, const char *name,
                  const char *call, int64_t due_us) {
    if (w->n == w->room) {
        size_t room = w->room ? w->room * 2 : 8;
        moon__cli_wait *more = realloc(w->items, room * sizeof *more);
        if (!more) {
            w->failed = true;
            return;
        }
        w->items = more;
        w->room = room;
    }
    moon__cli_wait *wait = &w->items[w->n++];
    *wait = (moon__cli_wait){.kind = kind,
                             .path = moon__strdup(record->path),
                             .key = moon__strdup(record->key),
                             .name = moon__strdup(name),
                             .call = moon__strdup(call),
                             .due_us = due_us};
    if (!wait->path || !wait->key || !wait->name || !wait->call) w->failed = true;
}

/* Does text begin with the first n bytes of head, and then end, or go on with a dot? */
static bool below(const char *text, const char *head, size_t n) {
    return strncmp(text, head, n) == 0 && (!text[n] || text[n] == '.');
}

/* Drops what is at this path and under this key, "c3" and all of "c3.…"; key NULL: all at this path, and below it. */
static void end(moon__cli_waits *w, const char *path, const char *key, size_t n) {
    size_t left = 0;
    for (size_t i = 0; i < w->n; i++) {
        moon__cli_wait *wait = &w->items[i];
        bool ended =
            key ? strcmp(wait->path, path) == 0 && below(wait->key, key, n) : below(wait->path, path, strlen(path));
        if (ended)
            free_wait(wait);
        else
            w->items[left++] = *wait;
    }
    w->n = left;
}

static void on_value(moon__cli_waits *w, const moon_record *record, const moon_json *body) {
    static const char ending[] = ".end", wait[] = "wait ";
    const char *kind = str(body, "kind");
    size_t n = strlen(record->key), tail = sizeof ending - 1;
    int64_t due_us = 0;
    if (n > tail && strcmp(record->key + n - tail, ending) == 0) {
        end(w, record->path, record->key, n - tail);
        return;
    }
    moon_json_int(moon_json_get(body, "value"), &due_us);
    if (strcmp(kind, "sleep") == 0) begin(w, record, MOON__WAITS_TIME, "", "", due_us);
    if (strncmp(kind, wait, sizeof wait - 1) == 0)
        begin(w, record, MOON__WAITS_SIGNAL, kind + sizeof wait - 1, "", due_us);
}

/* A run below the root that ended otherwise than by being parked waits no longer, whatever it had begun. */
static bool is_over(const moon_record *record, const moon_json *body) {
    const char *stop = str(body, "stop_reason");
    return *record->path && strcmp(stop, moon_stop_text(MOON_STOP_WAITING)) != 0 &&
           strcmp(stop, moon_stop_text(MOON_STOP_APPROVAL)) != 0;
}

static bool matters(moon_event_type type) {
    return type == MOON_EVENT_VALUE_RECORDED || type == MOON_EVENT_APPROVAL_ASKED || type == MOON_EVENT_RUN_FINISHED;
}

static bool on_record(void *ctx, const moon_record *record) {
    moon__cli_waits *w = ctx;
    moon_json *body = NULL;
    if (record->type == MOON_EVENT_APPROVAL_GIVEN || record->type == MOON_EVENT_TOOL_RESULT)
        end(w, record->path, record->key, strlen(record->key));
    if (!matters(record->type)) return true;
    if (moon__json_parse(&body, record->body, record->body_length, 0, NULL)) return true;
    if (record->type == MOON_EVENT_VALUE_RECORDED)
        on_value(w, record, body);
    else if (record->type == MOON_EVENT_APPROVAL_ASKED)
        begin(w, record, MOON__WAITS_APPROVAL, str(body, "tool"), str(body, "call"), 0);
    else if (is_over(record, body))
        end(w, record->path, NULL, 0);
    moon__json_free(body);
    return !w->failed;
}

moon_status moon__cli_waits_read(moon__cli_waits *w, moon_runtime *runtime, const char *run, moon_error *error) {
    *w = (moon__cli_waits){0};
    moon_status status = moon_runtime_records(runtime, run, 1, 0, on_record, w, error);
    if (!status && w->failed) status = moon_error_set(error, MOON_ENOMEM, "out of memory");
    if (status) moon__cli_waits_fini(w);
    return status;
}

const moon__cli_wait *moon__cli_waits_next(const moon__cli_waits *w) {
    const moon__cli_wait *next = w->n ? &w->items[0] : NULL;
    for (size_t i = 1; i < w->n; i++)
        if (w->items[i].due_us && (!next->due_us || w->items[i].due_us < next->due_us)) next = &w->items[i];
    return next;
}
