/* SPDX-License-Identifier: MIT */
/* One tool call of a message: its events, its end, and the questions about it. See slot.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "remains.h"
#include "slot.h"
#include "text.h"

/* The text is the model's and the journal's, so that the run finds the same when it is resumed. */
void moon__slot_over(moon__slot *s, const char *text, size_t n, bool ok) {
    char *copy = moon__strndup(text, n);
    free(s->text);
    s->state = MOON__OVER;
    s->ok = ok && copy;
    s->text = copy;
    s->length = copy ? n : 0;
}

moon_status moon__slot_set_arguments(moon__slot *s, const char *json, size_t n) {
    char *copy = moon__strndup(json, n);
    if (!copy) return MOON_ENOMEM;
    free(s->args);
    s->args = copy;
    s->args_length = n;
    return MOON_OK;
}

const char *moon__slot_text(const moon__slot *s, size_t *n) {
    static const char none[] = "no memory for the result";
    *n = s->text ? s->length : sizeof none - 1;
    return s->text ? s->text : none;
}

moon__jw moon__slot_event(moon__buf *body, const moon__slot *s) {
    moon__jw w;
    moon__buf_init(body, 128 << 20);
    moon__jw_init(&w, body);
    moon__jw_object(&w, NULL);
    moon__jw_str(&w, "call", s->id, SIZE_MAX);
    moon__jw_str(&w, "tool", s->name, SIZE_MAX);
    return w;
}

/* Printed anew rather than copied: an event is one line, and the model may have written several. */
static void write_arguments(moon__jw *w, const moon__slot *s) {
    moon__buf json;
    moon__buf_init(&json, 64 << 20);
    if (s->json) moon__json_print(&json, s->json);
    if (json.len && !json.status)
        moon__jw_raw(w, "arguments", json.p, json.len);
    else
        moon__jw_str(w, "arguments", s->args, s->args_length);
    moon__buf_fini(&json);
}

void moon__slot_tell(moon__slot *s, moon_event_type type) {
    moon_run *run = s->set->o.run;
    moon__buf body;
    if (!moon__run_tells(run, type, s->key)) return;
    moon__jw w = moon__slot_event(&body, s);
    if (type == MOON_EVENT_TOOL_RESULT) {
        size_t n;
        const char *text = moon__slot_text(s, &n);
        moon__jw_bool(&w, "ok", s->ok);
        moon__jw_str(&w, "text", text, n);
        if (s->is_json) moon__jw_bool(&w, "json", true);
        if (s->denied) moon__jw_bool(&w, "denied", true);
        if (s->cancelled) moon__jw_bool(&w, "cancelled", true);
        if (s->unknown) moon__jw_bool(&w, "unknown", true);
        if (s->result) moon__remains_write(&w, &run->tree->journal, s->result);
    } else {
        moon__jw_str(&w, "model_call", s->model_id, SIZE_MAX);
        write_arguments(&w, s);
        if (s->unknown) moon__jw_bool(&w, "unknown", true);
    }
    moon__jw_end(&w);
    moon__run_event(run, type, s->key, &body);
    moon__buf_fini(&body);
}

void moon__slot_tell_decision(moon__slot *s, bool allow, const char *why) {
    moon__buf body;
    moon__jw w = moon__slot_event(&body, s);
    moon__jw_bool(&w, "allow", allow);
    if (why) moon__jw_str(&w, "why", why, SIZE_MAX);
    moon__jw_end(&w);
    moon__run_event(s->set->o.run, MOON_EVENT_APPROVAL_GIVEN, s->key, &body);
    moon__buf_fini(&body);
}

/* Keeps count of equal calls with equal results, and tells the model at the third. */
void moon__slot_compare(moon__slot *s) {
    moon__calls *calls = s->set;
    size_t n;
    const char *was = moon__slot_text(s, &n);
    uint64_t result = moon_hash(was, n);
    bool same = calls->same && s->signature == calls->last_signature && result == calls->last_result;
    calls->same = same ? calls->same + 1 : 1;
    calls->last_signature = s->signature;
    calls->last_result = result;
    if (calls->same != MOON__CALLS_SAME || s->recorded) return; /* a recorded text says so already */
    moon__buf text;
    moon__buf_init(&text, n + 400);
    moon__buf_add(&text, was, n);
    moon__buf_printf(
        &text,
        "\n[this is the third time in a row that %s was called with these arguments and gave this result; do "
        "something else: the same call once more ends the run]",
        s->name);
    if (!text.status) moon__slot_over(s, text.p, text.len, s->ok);
    moon__buf_fini(&text);
}

void moon__slot_settle(moon__slot *s) {
    moon__slot_compare(s);
    moon__slot_tell(s, MOON_EVENT_TOOL_RESULT);
}

void moon__slot_deny(moon__slot *s, const char *why) {
    moon__buf text;
    moon__buf_init(&text, 8192);
    moon__buf_printf(&text, "%s was refused%s%.4000s. Do not try it again; go on without it.", s->name,
                     why ? ": " : " by policy", why ? why : "");
    s->denied = true;
    moon__slot_over(s, text.p, text.len, false);
    moon__buf_fini(&text);
    moon__slot_settle(s);
}

void moon__calls_stop_with(moon__calls *calls, moon_stop why, const char *format, const char *name) {
    char text[300];
    snprintf(text, sizeof text, format, name);
    moon__run_stop(calls->o.run, why, text);
}

/* Somebody has to say whether this call may run. */
void moon__slot_ask(moon__slot *s) {
    moon_run *run = s->set->o.run;
    const moon__recorded *before = moon__run_recorded(run, MOON_EVENT_APPROVAL_ASKED, s->key);
    if (before && run->tree->can_ask) moon__run_show(run, before); /* it is in the journal; the question stands */
    moon__slot_tell(s, MOON_EVENT_APPROVAL_ASKED);
    s->state = MOON__ASKED;
    snprintf(run->tree->asked_tool, sizeof run->tree->asked_tool, "%s", s->name);
    moon__waiting_asked(run, 1);
}
