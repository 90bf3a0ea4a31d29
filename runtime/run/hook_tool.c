/* SPDX-License-Identifier: MIT */
/*
 * Hooks about tool calls. before_tool is asked before policy, so that policy decides about what will be done;
 * after_tool when the result stands in the journal, so that a call which was made is never made again for a hook's
 * sake. While a hook is waited for, its call counts as one that runs.
 */
#include <stdlib.h>
#include <string.h>

#include "slot.h"
#include "text.h"

static void hold(moon__slot *s, bool alone) {
    s->set->running++;
    s->set->alone = s->set->alone || alone;
    moon__run_busy(s->set->o.run, 1);
}

/* The run ends for what the hook has done. */
static void fail(moon__slot *s) {
    moon__run_stop(s->set->o.run, MOON_STOP_FAILED, s->asked->failure);
}

static void wrong(moon__slot *s, const char *what) {
    moon__asked_wrong(s->asked, what);
    fail(s);
}

static bool is_hooked(const moon__slot *s, moon__hook hook) {
    const moon__agent *agent = s->set->o.hooks;
    return agent && moon__hook_set(agent, hook);
}

static bool begin(moon__slot *s, moon__hook hook) {
    moon__calls *calls = s->set;
    if (moon__asked_begin(&s->asked, calls->o.run, calls->o.hooks, hook, s->key, s->id) == MOON_OK) return true;
    moon__run_stop(calls->o.run, MOON_STOP_FAILED, "no memory for a hook");
    return false;
}

static void put_call(moon__jw *w, const char *name, const moon__slot *s) {
    moon__jw_object(w, name);
    moon__jw_str(w, "id", s->id, SIZE_MAX);
    moon__jw_str(w, "tool", s->name, SIZE_MAX);
    if (moon__json_check(s->args, s->args_length, NULL) == MOON_OK)
        moon__jw_raw(w, "arguments", s->args, s->args_length);
    else /* nothing: it was taken for an empty object */
        moon__jw_raw(w, "arguments", "{}", 2);
    moon__jw_str(w, "agent", s->set->o.hooks->base.name, SIZE_MAX);
    moon__jw_end(w);
}

/* ---- before ---- */

/* Text, or { json = value }: the result, and the call is not made. */
static void answer(moon__slot *s, const moon_json *given) {
    size_t n = 0;
    const char *text = moon_json_str(given, &n);
    const moon_json *json = moon_json_get(given, "json");
    moon__buf printed;
    if (!text && !json) {
        wrong(s, "its result is neither a text nor a value");
        return;
    }
    moon__buf_init(&printed, 64 << 20);
    if (!text) moon__json_print(&printed, json);
    s->is_json = !text;
    moon__slot_tell(s, MOON_EVENT_TOOL_INTENT);
    if (printed.status)
        wrong(s, "its result is too long");
    else {
        moon__slot_over(s, text ? text : printed.p, text ? n : printed.len, true);
        moon__slot_settle(s);
    }
    moon__buf_fini(&printed);
}

/* Other arguments are checked like the model's; that they do not fit is the hook's mistake. */
static void change(moon__slot *s, const moon_json *changed) {
    const moon_json *given = moon_json_get(changed, "arguments");
    moon__buf text, why;
    moon_json *json = NULL;
    moon__buf_init(&text, 4 << 20);
    moon__buf_init(&why, 64 << 10);
    if (given) moon__json_print(&text, given);
    if (!given || moon_json_size(changed) != 1)
        wrong(s, "it can change the arguments and nothing else");
    else if (text.status || moon__tool_check(s->entry, text.p, text.len, &json, &why))
        wrong(s, why.p ? why.p : "the arguments are too long");
    else if (moon__slot_set_arguments(s, text.p, text.len))
        moon__run_stop(s->set->o.run, MOON_STOP_FAILED, "no memory for the arguments of a call");
    else {
        moon__json_free(s->json);
        s->json = json;
        json = NULL;
        s->signature = moon__slot_sign(s);
    }
    moon__json_free(json);
    moon__buf_fini(&text);
    moon__buf_fini(&why);
}

static void decided_before(moon__slot *s) {
    const moon__asked *q = s->asked;
    s->hooked = true;
    s->state = MOON__READY;
    if (s->set->o.run->stopping) return;
    if (q->failure)
        fail(s);
    else if (moon__asked_refusal(q))
        moon__slot_deny(s, moon__asked_refusal(q));
    else if (moon__asked_answer(q))
        answer(s, moon__asked_answer(q));
    else if (moon__asked_change(q))
        change(s, moon__asked_change(q));
}

static void on_before(void *ctx) {
    moon__slot *s = ctx;
    decided_before(s);
    moon__calls_go_on(s->set);
}

bool moon__slot_before(moon__slot *s) {
    moon__jw w;
    if (!is_hooked(s, MOON__BEFORE_TOOL)) return s->hooked = true;
    if (!begin(s, MOON__BEFORE_TOOL)) return false;
    if (moon__asked_recorded(s->asked)) {
        decided_before(s);
        return s->state == MOON__READY && !s->set->o.run->stopping;
    }
    moon__jw_init(&w, &s->asked->question);
    put_call(&w, NULL, s);
    s->state = MOON__HOOKED;
    hold(s, false);
    moon__asked_ask(s->asked, on_before, s);
    return false;
}

/* ---- after ---- */

static void decided_after(moon__slot *s) {
    const moon__asked *q = s->asked;
    const moon_json *changed = moon__asked_change(q);
    size_t n = 0;
    const char *text = moon_json_str(moon_json_get(changed, "text"), &n);
    bool ok = s->ok;
    if (s->set->o.run->stopping) return;
    if (q->failure)
        fail(s);
    else if (moon__asked_refusal(q)) {
        moon__buf why;
        moon__buf_init(&why, 8192);
        moon__buf_printf(&why, "the result was withheld: %.4000s", moon__asked_refusal(q));
        s->is_json = false;
        moon__slot_over(s, why.p, why.len, false);
        moon__buf_fini(&why);
    } else if (changed && (!text || moon_json_size(changed) != 1 + (moon_json_get(changed, "ok") != NULL) ||
                           (moon_json_get(changed, "ok") && !moon_json_bool(moon_json_get(changed, "ok"), &ok))))
        wrong(s, "it can change the text, and whether it is ok, and nothing else");
    else if (changed) {
        s->is_json = false;
        moon__slot_over(s, text, n, ok);
    }
}

static void on_after(void *ctx) {
    moon__slot *s = ctx;
    decided_after(s);
    moon__calls_go_on(s->set);
}

bool moon__slot_after(moon__slot *s) {
    moon__jw w;
    size_t n;
    if (!is_hooked(s, MOON__AFTER_TOOL) || s->set->o.run->stopping || !begin(s, MOON__AFTER_TOOL)) return false;
    if (moon__asked_recorded(s->asked)) {
        decided_after(s);
        return false;
    }
    const char *text = moon__slot_text(s, &n);
    moon__jw_init(&w, &s->asked->question);
    moon__jw_object(&w, NULL);
    put_call(&w, "call", s);
    moon__jw_object(&w, "result");
    moon__jw_bool(&w, "ok", s->ok);
    moon__jw_str(&w, "text", text, n);
    if (s->is_json) moon__jw_bool(&w, "json", true);
    moon__jw_end(&w);
    moon__jw_end(&w);
    hold(s, !(s->entry->tool->effects & MOON_READ_ONLY));
    moon__asked_ask(s->asked, on_after, s);
    return true;
}
