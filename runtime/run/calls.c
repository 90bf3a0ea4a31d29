/* SPDX-License-Identifier: MIT */
/*
 * The tool calls of one message: check → policy → run → result, for each, in call order.
 *
 * Order. Calls are started in the order the model wrote them. Neighbours that only read run side by side, up to a cap;
 * any other call waits until all before it have ended and runs alone, and so does the fourth of equal ones. Results are
 * kept by place, so that the model gets them in call order whatever finished first.
 *
 * What can be wrong with a call (no such tool, arguments that do not fit, refused by policy) is a result that the model
 * reads. Two things end the run instead: too many malformed calls in a row, and the same call made again after it gave
 * the same result three times.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime.h"
#include "text.h"

enum { MALFORMED_MAX = 8, SAME_MAX = 3, NAME_SHOWN = 80, CALLS_MAX = 128 };

/* INTENDED: the intent is on its way to the disk. */
typedef enum slot_state { READY, ASKED, ALLOWED, INTENDED, RUNNING, OVER } slot_state;

typedef struct slot {
    moon__calls *set;
    char key[16]; /* "c3": the third call of this run */
    char *id;     /* ours: unique in the whole tree, "2.1.c3" */
    moon__durable durable;
    char *model_id; /* the model's */
    char *name, *args;
    size_t args_length;
    const moon__tool_entry *entry;
    moon_json *json;
    uint64_t signature; /* of tool and arguments */
    slot_state state;
    moon_call *call;
    char *text;
    size_t length;
    bool ok, ran, is_json, denied, cancelled, unknown;
    bool recorded; /* its result is from the journal */
} slot;

struct moon__calls {
    moon__calls_options o;
    slot *slots;
    size_t n, next; /* next: the first that was not started */
    unsigned running;
    bool alone; /* what runs must not have company */
    bool in_charge;
    unsigned malformed;
    uint64_t last_signature, last_result;
    unsigned same; /* how many times in a row the last call gave the last result */
    moon__defer finish;
};

/* ---- slots ---- */

static void free_slots(moon__calls *calls) {
    for (size_t i = 0; i < calls->n; i++) {
        slot *s = &calls->slots[i];
        free(s->id);
        free(s->model_id);
        free(s->name);
        free(s->args);
        free(s->text);
        moon__json_free(s->json);
    }
    free(calls->slots);
    calls->slots = NULL;
    calls->n = calls->next = 0;
}

/* The text is the model's and the journal's, so that the run finds the same when it is resumed. */
static void over(slot *s, const char *text, size_t n, bool ok) {
    char *copy = moon__strndup(text, n);
    free(s->text);
    s->state = OVER;
    s->ok = ok && copy;
    s->text = copy;
    s->length = copy ? n : 0;
}

static const char *text_of(const slot *s, size_t *n) {
    static const char none[] = "no memory for the result";
    *n = s->text ? s->length : sizeof none - 1;
    return s->text ? s->text : none;
}

static moon__jw begin_event(moon__buf *body, const slot *s) {
    moon__jw w;
    moon__buf_init(body, 128 << 20);
    moon__jw_init(&w, body);
    moon__jw_object(&w, NULL);
    moon__jw_str(&w, "call", s->id, SIZE_MAX);
    moon__jw_str(&w, "tool", s->name, SIZE_MAX);
    return w;
}

/* Printed anew rather than copied: an event is one line, and the model may have written several. */
static void write_arguments(moon__jw *w, const slot *s) {
    moon__buf json;
    moon__buf_init(&json, 64 << 20);
    if (s->json) moon__json_print(&json, s->json);
    if (json.len && !json.status)
        moon__jw_raw(w, "arguments", json.p, json.len);
    else
        moon__jw_str(w, "arguments", s->args, s->args_length);
    moon__buf_fini(&json);
}

static void tell(slot *s, moon_event_type type) {
    moon_run *run = s->set->o.run;
    moon__buf body;
    if (!moon__run_tells(run, type, s->key)) return;
    moon__jw w = begin_event(&body, s);
    if (type == MOON_EVENT_TOOL_RESULT) {
        size_t n;
        const char *text = text_of(s, &n);
        moon__jw_bool(&w, "ok", s->ok);
        moon__jw_str(&w, "text", text, n);
        if (s->is_json) moon__jw_bool(&w, "json", true);
        if (s->denied) moon__jw_bool(&w, "denied", true);
        if (s->cancelled) moon__jw_bool(&w, "cancelled", true);
        if (s->unknown) moon__jw_bool(&w, "unknown", true);
    } else {
        moon__jw_str(&w, "model_call", s->model_id, SIZE_MAX);
        write_arguments(&w, s);
        if (s->unknown) moon__jw_bool(&w, "unknown", true);
    }
    moon__jw_end(&w);
    moon__run_event(run, type, s->key, &body);
    moon__buf_fini(&body);
}

static void tell_decision(slot *s, bool allow, const char *why) {
    moon__buf body;
    moon__jw w = begin_event(&body, s);
    moon__jw_bool(&w, "allow", allow);
    if (why) moon__jw_str(&w, "why", why, SIZE_MAX);
    moon__jw_end(&w);
    moon__run_event(s->set->o.run, MOON_EVENT_APPROVAL_GIVEN, s->key, &body);
    moon__buf_fini(&body);
}

/* ---- checking ---- */

static const moon__tool_entry *look_up(const moon__calls *calls, const char *name) {
    if (calls->o.agent) return moon__agent_tool(calls->o.agent, name);
    return moon__tools_find(calls->o.run->runtime->tools, name);
}

static void explain_unknown(const moon__calls *calls, const char *name, moon__buf *why) {
    const char *near = moon__tools_nearest(calls->o.run->runtime->tools, name);
    moon__buf_printf(why, "there is no tool named \"%.*s\".", NAME_SHOWN, name);
    if (near && look_up(calls, near)) moon__buf_printf(why, " Did you mean %s?", near);
    if (!calls->o.agent) return;
    moon__buf_str(why, " The tools are:");
    for (size_t i = 0; i < calls->o.agent->n_tools && i < 60; i++)
        moon__buf_printf(why, "%s %s", i ? "," : "", calls->o.agent->tools[i]->tool->name);
}

static uint64_t sign(const slot *s) {
    moon__buf text;
    moon__buf_init(&text, 4 << 20);
    moon__buf_str(&text, s->name);
    moon__buf_char(&text, 0);
    if (s->json)
        moon__json_print_canonical(&text, s->json);
    else
        moon__buf_add(&text, s->args, s->args_length);
    uint64_t hash = moon_hash(text.p, text.len);
    moon__buf_fini(&text);
    return hash;
}

/* Finds the tool and checks the arguments; a slot with a mistake is over. */
static void check(slot *s) {
    moon__calls *calls = s->set;
    moon__buf why;
    moon__buf_init(&why, 64 << 10);
    s->entry = look_up(calls, s->name);
    bool fits = s->entry && !moon__tool_check(s->entry, s->args, s->args_length, &s->json, &why);
    if (!s->entry) explain_unknown(calls, s->name, &why);
    s->signature = sign(s);
    if (!fits) over(s, why.p, why.len, false);
    calls->malformed = fits ? 0 : calls->malformed + 1;
    moon__buf_fini(&why);
}

/* Keeps count of equal calls with equal results, and tells the model at the third. */
static void compare(slot *s) {
    moon__calls *calls = s->set;
    size_t n;
    const char *was = text_of(s, &n);
    uint64_t result = moon_hash(was, n);
    bool same = calls->same && s->signature == calls->last_signature && result == calls->last_result;
    calls->same = same ? calls->same + 1 : 1;
    calls->last_signature = s->signature;
    calls->last_result = result;
    if (calls->same != SAME_MAX || s->recorded) return; /* a recorded text says so already */
    moon__buf text;
    moon__buf_init(&text, n + 400);
    moon__buf_add(&text, was, n);
    moon__buf_printf(
        &text,
        "\n[this is the third time in a row that %s was called with these arguments and gave this result; do "
        "something else: the same call once more ends the run]",
        s->name);
    if (!text.status) over(s, text.p, text.len, s->ok);
    moon__buf_fini(&text);
}

/* ---- running ---- */

static void pump(moon__calls *calls);

static void settle(slot *s) {
    compare(s);
    tell(s, MOON_EVENT_TOOL_RESULT);
}

/* One that ran has ended. */
static void ran(moon__calls *calls) {
    calls->running--;
    calls->alone = false;
    moon__run_busy(calls->o.run, -1);
}

static void on_call_done(void *ctx, const moon__call_result *result) {
    slot *s = ctx;
    moon__calls *calls = s->set;
    s->call = NULL;
    s->ran = true;
    s->is_json = result->json;
    s->cancelled = calls->o.run->stopping;
    over(s, result->text, result->length, result->ok);
    settle(s);
    ran(calls);
    pump(calls);
}

static void on_progress(void *ctx, const char *text) {
    slot *s = ctx;
    moon_run *run = s->set->o.run;
    if (!moon__run_tells(run, MOON_EVENT_TOOL_PROGRESS, "")) return;
    moon__buf body;
    moon__jw w = begin_event(&body, s);
    moon__jw_str(&w, "text", text, SIZE_MAX);
    moon__jw_end(&w);
    moon__run_event(run, MOON_EVENT_TOOL_PROGRESS, "", &body);
    moon__buf_fini(&body);
}

static void execute(slot *s) {
    moon__calls *calls = s->set;
    moon_run *run = calls->o.run;
    moon__call_options options = {.entry = s->entry,
                                  .id = s->key,
                                  .args = s->json,
                                  .loop = run->runtime->loop,
                                  .pool = run->runtime->pool,
                                  .scratch = run->tree->scratch,
                                  .owner = run,
                                  .progress = run->tree->journal.live ? on_progress : NULL,
                                  .done = on_call_done,
                                  .ctx = s};
    moon_error error = {0};
    s->json = NULL; /* the call owns them now */
    s->state = RUNNING;
    if (moon__call_start(&s->call, &options, &error)) {
        ran(calls);
        over(s, error.text, strlen(error.text), false);
        settle(s);
    }
}

static void drop(slot *s) {
    static const char text[] = "the call was not begun: the run was stopped";
    ran(s->set);
    s->cancelled = true;
    over(s, text, sizeof text - 1, false);
    settle(s);
}

/* The intent is on the disk: from now on the call may have its effect. */
static void on_durable(void *ctx, moon_status status) {
    slot *s = ctx;
    moon__calls *calls = s->set;
    if (!status && !calls->o.run->stopping)
        execute(s);
    else
        drop(s);
    pump(calls);
}

/* A call that only reads may begin before its intent is on the disk, and again after a crash. */
static void launch(slot *s) {
    moon__calls *calls = s->set;
    bool reads = (s->entry->tool->effects & MOON_READ_ONLY) != 0;
    calls->running++;
    moon__run_busy(calls->o.run, 1);
    calls->alone = !reads;
    s->state = INTENDED;
    s->durable = (moon__durable){.fn = on_durable, .ctx = s};
    tell(s, MOON_EVENT_TOOL_INTENT);
    if (calls->o.run->stopping)
        drop(s);
    else if (reads || moon__journal_wait(&calls->o.run->tree->journal, &s->durable))
        execute(s);
}

static void deny(slot *s, const char *why) {
    moon__buf text;
    moon__buf_init(&text, 8192);
    moon__buf_printf(&text, "%s was refused%s%.4000s. Do not try it again; go on without it.", s->name,
                     why ? ": " : " by policy", why ? why : "");
    s->denied = true;
    over(s, text.p, text.len, false);
    moon__buf_fini(&text);
    settle(s);
}

static void stop_with(moon__calls *calls, moon_stop why, const char *format, const char *name) {
    char text[300];
    snprintf(text, sizeof text, format, name);
    moon__run_stop(calls->o.run, why, text);
}

/* Somebody has to say whether this call may run. */
static void ask(slot *s) {
    moon_run *run = s->set->o.run;
    const moon__recorded *before = moon__run_recorded(run, MOON_EVENT_APPROVAL_ASKED, s->key);
    if (before && run->tree->can_ask) moon__run_show(run, before); /* it is in the journal; the question stands */
    tell(s, MOON_EVENT_APPROVAL_ASKED);
    s->state = ASKED;
    snprintf(run->tree->asked_tool, sizeof run->tree->asked_tool, "%s", s->name);
    moon__waiting_asked(run, 1);
}

/* Asks policy; false when the call has to wait or is not to be run. */
static bool permitted(slot *s) {
    moon__calls *calls = s->set;
    switch (moon__policy(calls->o.run, calls->o.policy, s->entry->tool, s->json)) {
    case MOON_ALLOW: return true;
    case MOON_DENY: deny(s, NULL); return false;
    case MOON_ASK: break;
    }
    ask(s);
    return false;
}

/* ---- calls that were recorded ---- */

/* Is it the call that was recorded here? */
static bool same_call(slot *s, uint64_t seq, const moon_json *body) {
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
static bool may_again(const slot *s) {
    if (!s->entry) return false;
    const moon_tool *tool = s->entry->tool;
    return tool->effects & (MOON_READ_ONLY | MOON_IDEMPOTENT) || tool->flags & MOON_TOOL_REPLAYED;
}

/* A call that had its end: false if it has to be made again. */
static bool take_result(slot *s, const moon__recorded *result) {
    moon_run *run = s->set->o.run;
    moon_json *body = moon__run_recorded_body(run, result);
    size_t length = 0;
    const char *text = moon_json_str(moon_json_get(body, "text"), &length);
    bool take = text && !(flag(body, "cancelled") && may_again(s));
    if (take) {
        s->recorded = s->ran = true;
        s->is_json = flag(body, "json");
        s->denied = flag(body, "denied");
        over(s, text, length, flag(body, "ok"));
        if (run->tree->rehearsal) {
            tell(s, MOON_EVENT_TOOL_INTENT);
            tell(s, MOON_EVENT_TOOL_RESULT);
        }
        if (s->ok && s->entry && s->entry->tool == &moon__plan_tool) {
            run->planned = true;
            run->n_plans++;
        }
        compare(s);
    }
    moon__json_free(body);
    return take;
}

static void tell_unknown(slot *s) {
    static const char text[] =
        "the outcome is unknown: the call was begun, and then the program was ended before it heard of its end. It may "
        "have had its effect, in part or whole. Look before you try it again.";
    s->unknown = true;
    over(s, text, sizeof text - 1, false);
    settle(s);
}

/* It was begun, and nobody knows how it ended. False: it waits, or the run stops. */
static bool resolve(slot *s, bool *decided) {
    moon__calls *calls = s->set;
    moon_run *run = calls->o.run;
    s->unknown = true;
    switch (*decided ? MOON_UNKNOWN_RETRY : run->tree->unknown) {
    case MOON_UNKNOWN_RETRY: s->unknown = false; return true;
    case MOON_UNKNOWN_TELL: tell_unknown(s); return false;
    case MOON_UNKNOWN_FAIL:
        stop_with(calls, MOON_STOP_APPROVAL, "nobody knows whether %s had its effect before the crash", s->name);
        return false;
    case MOON_UNKNOWN_ASK: break;
    }
    ask(s);
    return false;
}

/* What the journal holds of the slot that is next. RECORDED_NOTHING: it is made now. */
typedef enum recall { RECALL_NOTHING, RECALL_TAKEN, RECALL_WAITS } recall;

static recall look_back(slot *s) {
    moon_run *run = s->set->o.run;
    const moon__recorded *intent = moon__run_recorded(run, MOON_EVENT_TOOL_INTENT, s->key),
                         *result = moon__run_recorded(run, MOON_EVENT_TOOL_RESULT, s->key),
                         *asked = moon__run_recorded(run, MOON_EVENT_APPROVAL_ASKED, s->key),
                         *given = moon__run_recorded(run, MOON_EVENT_APPROVAL_GIVEN, s->key);
    if (intent || asked) {
        moon_json *body = moon__run_recorded_body(run, intent ? intent : asked);
        bool same = body && same_call(s, intent ? intent->seq : asked->seq, body);
        moon__json_free(body);
        if (!same) return RECALL_WAITS;
    }
    if (result && take_result(s, result)) return RECALL_TAKEN;
    bool allowed = false;
    if (given) {
        moon_json *body = moon__run_recorded_body(run, given);
        const char *why = moon_json_str(moon_json_get(body, "why"), NULL);
        bool after = !intent || given->seq > intent->seq; /* about this attempt, not the one before */
        allowed = after && flag(body, "allow");
        bool denied = after && body && !allowed;
        if (denied && intent)
            tell_unknown(s);
        else if (denied)
            deny(s, why && *why ? why : "the user said no");
        moon__json_free(body);
        if (denied) return RECALL_TAKEN;
    }
    if (intent && !may_again(s)) {
        if (!resolve(s, &allowed)) return s->state == OVER ? RECALL_TAKEN : RECALL_WAITS;
        s->state = ALLOWED;
    } else if (intent || allowed)
        s->state = ALLOWED;
    return RECALL_NOTHING;
}

/* Would it be one too many if the equal calls right before it, which still run, all gave the same result? */
static bool hangs_on_equals(const moon__calls *calls, const slot *s) {
    unsigned under_way = 0;
    for (const slot *p = s; p-- > calls->slots && p->signature == s->signature;)
        under_way += p->state == INTENDED || p->state == RUNNING;
    unsigned before = s->signature == calls->last_signature ? calls->same : 0;
    return under_way && before + under_way >= SAME_MAX;
}

/* One attempt to start the slot that is next. False: nothing more can be started now. */
static bool advance(moon__calls *calls) {
    slot *s = &calls->slots[calls->next];
    if (s->state == OVER) {
        calls->next++;
        return true;
    }
    if (s->state == ASKED) return false;
    if (calls->o.run->tree->replay && calls->o.run->tree->rehearsal != MOON__REHEARSE_TOOLS && s->state == READY) {
        recall seen = look_back(s);
        if (seen == RECALL_TAKEN) calls->next++;
        if (seen != RECALL_NOTHING) return seen == RECALL_TAKEN;
        if (calls->o.run->tree->rehearsal) {
            stop_with(calls, MOON_STOP_FAILED, "the journal has no result of this call of %s", s->name);
            return false;
        }
    }
    bool reads = (s->entry->tool->effects & MOON_READ_ONLY) != 0;
    if (calls->running && (!reads || calls->alone || calls->running >= calls->o.parallel)) return false;
    if (hangs_on_equals(calls, s)) return false;
    if (calls->same >= SAME_MAX && s->signature == calls->last_signature) {
        stop_with(calls, MOON_STOP_REPEATED,
                  "%s was called again with the same arguments after it gave the same result three times", s->name);
        return false;
    }
    if (calls->o.plan && s->entry->tool != &moon__plan_tool && !calls->o.run->planned) {
        static const char text[] = "write your plan first: call the tool plan with the steps you are going to take";
        over(s, text, sizeof text - 1, false);
        settle(s);
        return true;
    }
    if (s->state == READY && !permitted(s)) return s->state == OVER;
    launch(s);
    calls->next++;
    return true;
}

/* Where nobody is there to answer at once, all that will have to be asked is asked together. */
static void ask_ahead(moon__calls *calls) {
    moon_run *run = calls->o.run;
    if (run->tree->can_ask || calls->slots[calls->next].state != ASKED) return;
    for (size_t i = calls->next + 1; i < calls->n; i++) {
        slot *s = &calls->slots[i];
        bool known = moon__run_recorded(run, MOON_EVENT_TOOL_INTENT, s->key) ||
                     moon__run_recorded(run, MOON_EVENT_APPROVAL_GIVEN, s->key);
        if (s->state == READY && !known && moon__policy(run, calls->o.policy, s->entry->tool, s->json) == MOON_ASK)
            ask(s);
    }
}

/* While calls are in charge, the run itself is not busy: they are, one by one. */
static void enter(moon__calls *calls) {
    if (!calls->in_charge) moon__run_busy(calls->o.run, -1);
    calls->in_charge = true;
}

static void leave(moon__calls *calls) {
    if (calls->in_charge) moon__run_busy(calls->o.run, 1);
    calls->in_charge = false;
    for (size_t i = 0; i < calls->n; i++)
        if (calls->slots[i].state == ASKED) { /* the run stops */
            calls->slots[i].state = OVER;
            moon__waiting_asked(calls->o.run, -1);
        }
}

static void pump(moon__calls *calls) {
    while (!calls->o.run->stopping && calls->next < calls->n && advance(calls)) {
    }
    bool all = calls->next == calls->n || calls->o.run->stopping;
    if (!all) ask_ahead(calls);
    if (all && !calls->running) moon__defer_call(calls->o.run->runtime->loop, &calls->finish);
}

static void finish(void *ctx) {
    moon__calls *calls = ctx;
    leave(calls);
    calls->o.done(calls->o.ctx);
}

/* ---- for react.c and single.c ---- */

moon_status moon__calls_new(moon__calls **out, const moon__calls_options *options, moon_error *error) {
    moon__calls *calls = calloc(1, sizeof *calls);
    if (!calls) return moon_error_set(error, MOON_ENOMEM, "no memory for tool calls");
    calls->o = *options;
    calls->finish = (moon__defer){.fn = finish, .ctx = calls};
    *out = calls;
    return MOON_OK;
}

void moon__calls_free(moon__calls *calls) {
    if (!calls) return;
    moon__defer_cancel(calls->o.run->runtime->loop, &calls->finish);
    free_slots(calls);
    free(calls);
}

static bool copy_use(moon__calls *calls, slot *s, const moon_tool_use *use) {
    s->set = calls;
    snprintf(s->key, sizeof s->key, "c%u", ++calls->o.run->next_call);
    if (asprintf(&s->id, "%s%s%s", calls->o.run->path, *calls->o.run->path ? "." : "", s->key) < 0) s->id = NULL;
    s->model_id = moon__strdup(use->id);
    s->name = moon__strdup(use->name);
    s->args = moon__strndup(use->arguments, use->arguments_length);
    s->args_length = use->arguments_length;
    return s->id && s->model_id && s->name && s->args;
}

moon_status moon__calls_begin(moon__calls *calls, const moon_tool_use *uses, size_t n, moon_error *error) {
    free_slots(calls);
    if (n > CALLS_MAX)
        return moon_error_set(error, MOON_ELIMIT, "the model made %zu tool calls at once; at most %d", n, CALLS_MAX);
    calls->slots = calloc(n + 1, sizeof *calls->slots);
    if (!calls->slots) return moon_error_set(error, MOON_ENOMEM, "no memory for tool calls");
    calls->n = n;
    for (size_t i = 0; i < n; i++)
        if (!copy_use(calls, &calls->slots[i], &uses[i]))
            return moon_error_set(error, MOON_ENOMEM, "no memory for tool calls");
    for (size_t i = 0; i < n; i++) {
        slot *s = &calls->slots[i];
        check(s);
        if (s->state == OVER) {
            tell(s, MOON_EVENT_TOOL_INTENT);
            tell(s, MOON_EVENT_TOOL_RESULT);
        }
    }
    if (calls->o.agent && calls->malformed >= MALFORMED_MAX)
        stop_with(calls, MOON_STOP_MALFORMED,
                  "the model made too many malformed calls in a row, the last one of \"%.80s\"",
                  calls->slots[n - 1].name);
    else {
        enter(calls);
        pump(calls);
    }
    return MOON_OK;
}

void moon__calls_cancel(moon__calls *calls) {
    for (size_t i = 0; i < calls->n; i++) {
        slot *s = &calls->slots[i];
        if (s->state == RUNNING && s->call) moon__call_cancel(s->call);
    }
    if (!calls->running) moon__defer_call(calls->o.run->runtime->loop, &calls->finish);
}

size_t moon__calls_count(const moon__calls *calls) {
    return calls->n;
}

moon__outcome moon__calls_outcome(const moon__calls *calls, size_t index) {
    const slot *s = &calls->slots[index];
    size_t n;
    const char *text = text_of(s, &n);
    return (moon__outcome){.id = s->model_id,
                           .text = text,
                           .length = n,
                           .ok = s->ok,
                           .ran = s->ran,
                           .json = s->is_json,
                           .denied = s->denied};
}

moon_status moon__calls_decide(moon__calls *calls, const char *call, bool allow, const char *why, moon_error *error) {
    for (size_t i = 0; i < calls->n; i++) {
        slot *s = &calls->slots[i];
        if (s->state != ASKED || (call && strcmp(s->id, call) != 0)) continue;
        tell_decision(s, allow, why);
        moon__waiting_asked(calls->o.run, -1);
        if (allow)
            s->state = ALLOWED;
        else if (s->unknown)
            tell_unknown(s);
        else
            deny(s, why && *why ? why : "the user said no");
        s->unknown = s->unknown && !allow;
        pump(calls);
        return MOON_OK;
    }
    return moon_error_set(error, MOON_ENOTFOUND, "no call %s waits for an answer", call ? call : "");
}
