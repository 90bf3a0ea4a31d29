/* SPDX-License-Identifier: MIT */
/*
 * Tool calls of a run that is resumed: what the journal holds of them is taken instead of made. A call that was begun
 * and has no result is made again if that is safe; else nobody knows whether it had its effect, and that is decided
 * (moon_unknown), never guessed.
 */
#include <stdio.h>
#include <string.h>

#include "slot.h"
#include "text.h"

bool moon__calls_begun(const moon_run *run) {
    char key[24];
    snprintf(key, sizeof key, "c%u", run->next_call + 1);
    return moon__run_recorded(run, MOON_EVENT_TOOL_INTENT, key) ||
           moon__run_recorded(run, MOON_EVENT_TOOL_RESULT, key) ||
           moon__run_recorded(run, MOON_EVENT_APPROVAL_ASKED, key);
}

/* Is it the call that was recorded here? */
static bool same_call(moon__slot *s, uint64_t seq, const moon_json *body) {
    char then[200], now[200];
    const char *tool = moon_json_str(moon_json_get(body, "tool"), NULL);
    const moon_json *args = moon_json_get(body, "arguments");
    bool same = tool && !strcmp(tool, s->name);
    if (same && s->json) {
        moon__buf a, b;
        moon__buf_init(&a, 64 << 20);
        moon__buf_init(&b, 64 << 20);
        moon__json_print_canonical(&a, args);
        moon__json_print_canonical(&b, s->json);
        same = a.len == b.len && !a.status && !b.status && (!a.len || !memcmp(a.p, b.p, a.len));
        moon__buf_fini(&a);
        moon__buf_fini(&b);
    }
    if (same) return true;
    snprintf(then, sizeof then, "call %s of %.60s", s->key, tool ? tool : "?");
    snprintf(now, sizeof now, "%.60s%s", s->name, tool && !strcmp(tool, s->name) ? " with other arguments" : "");
    moon__run_diverged(s->set->o.run, seq, then, now);
    return false;
}

static bool flag(const moon_json *body, const char *name) {
    bool value = false;
    return moon_json_bool(moon_json_get(body, name), &value) && value;
}

/* May the call be made again without asking, though it was begun before? */
static bool may_again(const moon__slot *s) {
    if (!s->entry) return false;
    const moon_tool *tool = s->entry->tool;
    return tool->effects & (MOON_READ_ONLY | MOON_IDEMPOTENT) || tool->flags & MOON_TOOL_REPLAYED;
}

/* A call that had its end: false if it has to be made again. */
static bool take_result(moon__slot *s, const moon__recorded *result, bool begun) {
    moon_run *run = s->set->o.run;
    moon_json *body = moon__run_recorded_body(run, result);
    size_t length = 0;
    const char *text = moon_json_str(moon_json_get(body, "text"), &length);
    bool take = text && !(flag(body, "cancelled") && may_again(s));
    if (take) {
        s->recorded = true;
        s->ran = begun && !flag(body, "unknown") && !flag(body, "cancelled");
        s->is_json = flag(body, "json");
        s->denied = flag(body, "denied");
        moon__slot_over(s, text, length, flag(body, "ok"));
        if (run->tree->rehearsal) {
            moon__slot_tell(s, MOON_EVENT_TOOL_INTENT);
            moon__slot_tell(s, MOON_EVENT_TOOL_RESULT);
        }
        if (s->ok && s->entry && s->entry->tool == &moon__plan_tool) {
            run->planned = true;
            run->n_plans++;
        }
        moon__slot_compare(s);
    }
    moon__json_free(body);
    return take;
}

void moon__slot_tell_unknown(moon__slot *s) {
    static const char text[] =
        "the outcome is unknown: the call was begun, and then the program was ended before it heard of its end. It may "
        "have had its effect, in part or whole. Look before you try it again.";
    s->unknown = true;
    moon__slot_over(s, text, sizeof text - 1, false);
    moon__slot_settle(s);
}

/* It was begun, and nobody knows how it ended. False: it waits, or the run stops. */
static bool resolve(moon__slot *s, bool *decided) {
    moon__calls *calls = s->set;
    moon_run *run = calls->o.run;
    s->unknown = true;
    switch (*decided ? MOON_UNKNOWN_RETRY : run->tree->unknown) {
    case MOON_UNKNOWN_RETRY: s->unknown = false; return true;
    case MOON_UNKNOWN_TELL: moon__slot_tell_unknown(s); return false;
    case MOON_UNKNOWN_FAIL:
        moon__calls_stop_with(calls, MOON_STOP_APPROVAL, "nobody knows whether %s had its effect before the crash",
                              s->name);
        return false;
    case MOON_UNKNOWN_ASK: break;
    }
    moon__slot_ask(s);
    return false;
}

moon__recall moon__slot_recall(moon__slot *s) {
    moon_run *run = s->set->o.run;
    const moon__recorded *intent = moon__run_recorded(run, MOON_EVENT_TOOL_INTENT, s->key),
                         *result = moon__run_recorded(run, MOON_EVENT_TOOL_RESULT, s->key),
                         *asked = moon__run_recorded(run, MOON_EVENT_APPROVAL_ASKED, s->key),
                         *given = moon__run_recorded(run, MOON_EVENT_APPROVAL_GIVEN, s->key);
    if (intent || asked) {
        moon_json *body = moon__run_recorded_body(run, intent ? intent : asked);
        bool same = body && same_call(s, intent ? intent->seq : asked->seq, body);
        moon__json_free(body);
        if (!same) return MOON__RECALL_WAITS;
    }
    if (result && take_result(s, result, intent != NULL)) return MOON__RECALL_TAKEN;
    bool allowed = false;
    if (given) {
        moon_json *body = moon__run_recorded_body(run, given);
        const char *why = moon_json_str(moon_json_get(body, "why"), NULL);
        bool after = !intent || given->seq > intent->seq; /* about this attempt, not the one before */
        allowed = after && flag(body, "allow");
        bool denied = after && body && !allowed;
        if (denied && intent)
            moon__slot_tell_unknown(s);
        else if (denied)
            moon__slot_deny(s, why && *why ? why : "the user said no");
        moon__json_free(body);
        if (denied) return MOON__RECALL_TAKEN;
    }
    if (intent && !may_again(s)) {
        if (!resolve(s, &allowed)) return s->state == MOON__OVER ? MOON__RECALL_TAKEN : MOON__RECALL_WAITS;
        s->state = MOON__ALLOWED;
    } else if (intent || allowed)
        s->state = MOON__ALLOWED;
    return MOON__RECALL_NOTHING;
}
