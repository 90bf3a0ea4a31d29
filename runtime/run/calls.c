/* SPDX-License-Identifier: MIT */
/*
 * The tool calls of one message: check → policy → run → result, for each, in call order.
 *
 * Snapshots of the workspace, where they are wanted, are taken before the first call that may write and after all have
 * ended (snapshot.h); meanwhile no call begins.
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

#include "handoff.h"
#include "slot.h"
#include "testing.h"
#include "text.h"

enum { MALFORMED_MAX = 8, NAME_SHOWN = 80, CALLS_MAX = 128 };

static void free_slots(moon__calls *calls) {
    for (size_t i = 0; i < calls->n; i++) {
        moon__slot *s = &calls->slots[i];
        free(s->id);
        free(s->model_id);
        free(s->name);
        free(s->args);
        free(s->text);
        moon__json_free(s->json);
        moon__asked_free(s->asked);
    }
    free(calls->slots);
    calls->slots = NULL;
    calls->n = calls->next = 0;
}

/* ---- checking ---- */

static bool is_offered(const moon__calls *calls, const char *name) {
    if (!calls->o.offered) return true;
    for (size_t i = 0; i < calls->o.n_offered; i++)
        if (!strcmp(calls->o.offered[i].name, name)) return true;
    return false;
}

static const moon__tool_entry *look_up(const moon__calls *calls, const char *name) {
    if (calls->o.only) return calls->o.only;
    if (!is_offered(calls, name)) return NULL;
    if (calls->o.agent) return moon__agent_tool(calls->o.agent, name);
    return moon__tools_find(calls->o.run->runtime->tools, name);
}

static void explain_unknown(const moon__calls *calls, const char *name, moon__buf *why) {
    const char *near = moon__tools_nearest(calls->o.run->runtime->tools, name);
    moon__buf_printf(why, "there is no tool named \"%.*s\".", NAME_SHOWN, name);
    if (near && look_up(calls, near)) moon__buf_printf(why, " Did you mean %s?", near);
    if (!calls->o.agent) return;
    moon__buf_str(why, " The tools are:");
    size_t shown = 0;
    for (size_t i = 0; i < calls->o.agent->n_tools && shown < 60; i++) {
        const char *tool = calls->o.agent->tools[i]->tool->name;
        if (is_offered(calls, tool)) moon__buf_printf(why, "%s %s", shown++ ? "," : "", tool);
    }
}

uint64_t moon__slot_sign(const moon__slot *s) {
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
static void check(moon__slot *s) {
    moon__calls *calls = s->set;
    moon__buf why;
    moon__buf_init(&why, 64 << 10);
    s->entry = look_up(calls, s->name);
    bool fits = s->entry && !moon__tool_check(s->entry, s->args, s->args_length, &s->json, &why);
    if (!s->entry) explain_unknown(calls, s->name, &why);
    s->signature = moon__slot_sign(s);
    if (!fits) moon__slot_over(s, why.p, why.len, false);
    calls->malformed = fits ? 0 : calls->malformed + 1;
    moon__buf_fini(&why);
}

/* ---- running ---- */

static void pump(moon__calls *calls);

/* One that ran has ended. */
static void ran(moon__calls *calls) {
    calls->running--;
    calls->alone = false;
    moon__run_busy(calls->o.run, -1);
}

static void on_call_done(void *ctx, const moon__call_result *result) {
    moon__slot *s = ctx;
    moon__calls *calls = s->set;
    s->call = NULL;
    s->ran = true;
    s->is_json = result->json;
    s->cancelled = calls->o.run->stopping;
    moon__slot_over(s, result->text, result->length, result->ok);
    s->result = result;
    moon__slot_settle(s);
    s->result = NULL;
    ran(calls);
    moon__slot_after(s);
    pump(calls);
}

static void on_progress(void *ctx, const char *text) {
    moon__slot *s = ctx;
    moon_run *run = s->set->o.run;
    if (!moon__run_tells(run, MOON_EVENT_TOOL_PROGRESS, "")) return;
    moon__buf body;
    moon__jw w = moon__slot_event(&body, s);
    moon__jw_str(&w, "text", text, SIZE_MAX);
    moon__jw_end(&w);
    moon__run_event(run, MOON_EVENT_TOOL_PROGRESS, "", &body);
    moon__buf_fini(&body);
}

static void execute(moon__slot *s) {
    moon__calls *calls = s->set;
    moon_run *run = calls->o.run;
    moon__call_options options = {.entry = moon__standin_tool(run, s->entry),
                                  .id = s->key,
                                  .args = s->json,
                                  .loop = run->runtime->loop,
                                  .pool = run->runtime->pool,
                                  .scratch = moon__run_scratch(run),
                                  .owner = run,
                                  .progress = run->tree->journal.live ? on_progress : NULL,
                                  .done = on_call_done,
                                  .ctx = s};
    moon_error error = {0};
    s->json = NULL; /* the call owns them now */
    s->state = MOON__RUNNING;
    if (moon__call_start(&s->call, &options, &error)) {
        ran(calls);
        moon__slot_over(s, error.text, strlen(error.text), false);
        moon__slot_settle(s);
    }
}

static void drop(moon__slot *s) {
    static const char text[] = "the call was not begun: the run was stopped";
    ran(s->set);
    s->cancelled = true;
    moon__slot_over(s, text, sizeof text - 1, false);
    moon__slot_settle(s);
}

/* The intent is on the disk: from now on the call may have its effect. */
static void on_durable(void *ctx, moon_status status) {
    moon__slot *s = ctx;
    moon__calls *calls = s->set;
    if (!status && !calls->o.run->stopping)
        execute(s);
    else
        drop(s);
    pump(calls);
}

/* A call that only reads may begin before its intent is on the disk, and again after a crash. */
static void launch(moon__slot *s) {
    moon__calls *calls = s->set;
    bool reads = (s->entry->tool->effects & MOON_READ_ONLY) != 0;
    calls->running++;
    moon__run_busy(calls->o.run, 1);
    calls->alone = !reads;
    calls->o.run->tree->snapshots.changes += !reads;
    s->state = MOON__INTENDED;
    s->durable = (moon__durable){.fn = on_durable, .ctx = s};
    moon__slot_tell(s, MOON_EVENT_TOOL_INTENT);
    if (calls->o.run->stopping)
        drop(s);
    else if (reads || moon__journal_wait(&calls->o.run->tree->journal, &s->durable))
        execute(s);
}

/* Asks policy; false when the call has to wait or is not to be run. */
static bool permitted(moon__slot *s) {
    moon__calls *calls = s->set;
    switch (moon__policy(calls->o.run, calls->o.policy, s->entry->tool, s->json)) {
    case MOON_ALLOW: return true;
    case MOON_DENY: moon__slot_deny(s, NULL); return false;
    case MOON_ASK: break;
    }
    moon__slot_ask(s);
    return false;
}

/* Would it be one too many if the equal calls right before it, which still run, all gave the same result? */
static bool hangs_on_equals(const moon__calls *calls, const moon__slot *s) {
    unsigned under_way = 0;
    for (const moon__slot *p = s; p-- > calls->slots && p->signature == s->signature;)
        under_way += p->state == MOON__INTENDED || p->state == MOON__RUNNING;
    unsigned before = s->signature == calls->last_signature ? calls->same : 0;
    return under_way && before + under_way >= MOON__CALLS_SAME;
}

/* The conversation can go to one agent only, and not without end. False: the slot is over, or the run stops. */
static bool may_hand_over(moon__slot *s, const moon__handoff *handoff) {
    moon__calls *calls = s->set;
    moon__buf text;
    bool may = false;
    moon__buf_init(&text, 8192);
    const moon__slot *first = calls->slots;
    while (first < s &&
           !(first->entry && (first->ok || first->state == MOON__RUNNING) && moon__handoff_of(first->entry->tool)))
        first++;
    if (first < s) {
        moon__buf_printf(&text, "the conversation was handed over by %s already", first->name);
        moon__slot_over(s, text.p, text.len, false);
        moon__slot_settle(s);
    } else {
        may = moon__handoff_allowed(calls->o.run, handoff, &text);
        if (!may) moon__run_stop(calls->o.run, MOON_STOP_HANDOFFS, text.p);
    }
    moon__buf_fini(&text);
    return may;
}

/* One attempt to start the slot that is next. False: nothing more can be started now. */
static bool advance(moon__calls *calls) {
    moon__slot *s = &calls->slots[calls->next];
    if (s->state == MOON__OVER) {
        calls->next++;
        return true;
    }
    if (s->state == MOON__ASKED || s->state == MOON__HOOKED) return false;
    if (!s->hooked && !moon__slot_before(s)) return s->state == MOON__OVER;
    if (calls->o.run->tree->replay && calls->o.run->tree->rehearsal != MOON__REHEARSE_TOOLS &&
        s->state == MOON__READY) {
        moon__recall seen = moon__slot_recall(s);
        if (seen == MOON__RECALL_TAKEN) {
            calls->next++;
            if (s->ran) moon__slot_after(s);
        }
        if (seen != MOON__RECALL_NOTHING) return seen == MOON__RECALL_TAKEN;
        if (calls->o.run->tree->rehearsal) {
            moon__calls_stop_with(calls, MOON_STOP_FAILED, "the journal has no result of this call of %s", s->name);
            return false;
        }
    }
    bool reads = (s->entry->tool->effects & MOON_READ_ONLY) != 0;
    if (calls->running && (!reads || calls->alone || calls->running >= calls->o.parallel)) return false;
    if (hangs_on_equals(calls, s)) return false;
    if (calls->same >= MOON__CALLS_SAME && s->signature == calls->last_signature) {
        moon__calls_stop_with(calls, MOON_STOP_REPEATED,
                              "%s was called again with the same arguments after it gave the same result three times",
                              s->name);
        return false;
    }
    const moon__handoff *handoff = moon__handoff_of(s->entry->tool);
    if (handoff && !may_hand_over(s, handoff)) return s->state == MOON__OVER;
    if (calls->o.plan && s->entry->tool != &moon__plan_tool && !handoff && !calls->o.run->planned) {
        static const char text[] = "write your plan first: call the tool plan with the steps you are going to take";
        moon__slot_over(s, text, sizeof text - 1, false);
        moon__slot_settle(s);
        return true;
    }
    if (s->state == MOON__READY && !permitted(s)) return s->state == MOON__OVER;
    launch(s);
    calls->next++;
    return true;
}

/* Where nobody is there to answer at once, all that will have to be asked is asked together. */
static void ask_ahead(moon__calls *calls) {
    moon_run *run = calls->o.run;
    if (run->tree->can_ask || calls->slots[calls->next].state != MOON__ASKED) return;
    if (calls->o.hooks && moon__hook_set(calls->o.hooks, MOON__BEFORE_TOOL)) return; /* it may change what is asked */
    for (size_t i = calls->next + 1; i < calls->n; i++) {
        moon__slot *s = &calls->slots[i];
        bool known = moon__run_recorded(run, MOON_EVENT_TOOL_INTENT, s->key) ||
                     moon__run_recorded(run, MOON_EVENT_APPROVAL_GIVEN, s->key);
        if (s->state == MOON__READY && !known &&
            moon__policy(run, calls->o.policy, s->entry->tool, s->json) == MOON_ASK)
            moon__slot_ask(s);
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
        if (calls->slots[i].state == MOON__ASKED) { /* the run stops */
            calls->slots[i].state = MOON__OVER;
            moon__waiting_asked(calls->o.run, -1);
        }
}

/* ---- snapshots ---- */

static bool writes(const moon__slot *s) {
    return s->entry && !(s->entry->tool->effects & MOON_READ_ONLY);
}

/* Has the call run, and may have written, itself or through runs that it started? One of unknown outcome may have. */
static bool wrote(const moon__slot *s) {
    return (s->ran || s->unknown) && s->entry && (writes(s) || s->entry->tool->flags & MOON_TOOL_REPLAYED);
}

/* The agent whose calls these are, or in whose step a script makes them; NULL: there is none. */
static const moon__agent *agent_of(const moon_run *run) {
    while (run && run->runnable->ops != &moon__agent_ops) run = run->parent;
    return run ? (const moon__agent *)run->runnable : NULL;
}

/* A call that is a run by itself (`moonlet call`) has none unless that is said. */
static bool wanted(const moon__calls *calls) {
    if (moon__worktree_of(calls->o.run)) return false; /* its branch has them */
    const moon__agent *agent = agent_of(calls->o.run);
    return moon__snapshots_wanted(calls->o.run, agent ? agent->snapshots : calls->o.run->parent ? -1 : 0);
}

static void on_snapshot(void *ctx) {
    moon__calls *calls = ctx;
    calls->snapping = false;
    ran(calls);
    pump(calls);
}

/* "fixer: file.edit, shell" */
static void label(moon__calls *calls, char *text, size_t size) {
    size_t n = (size_t)snprintf(text, size, "%.60s", calls->o.run->runnable->name);
    for (size_t i = 0, count = 0; calls->o.agent && i < calls->n && n < size; i++)
        if (wrote(&calls->slots[i]))
            n += (size_t)snprintf(text + n, size - n, "%s %.60s", count++ ? "," : ":", calls->slots[i].name);
}

/* True: it is under way, and pump() is called when it is there. */
static bool take_snapshot(moon__calls *calls, const char *key, bool first) {
    if (!calls->snapshot) calls->snapshot = malloc(sizeof *calls->snapshot);
    moon__snapshot_wait *wait = calls->snapshot;
    if (!wait) {
        moon__snapshots_off(calls->o.run, "there is no memory for them");
        return false;
    }
    *wait = (moon__snapshot_wait){.run = calls->o.run, .first = first, .done = on_snapshot, .ctx = calls};
    snprintf(wait->key, sizeof wait->key, "%s", key);
    if (first)
        snprintf(wait->label, sizeof wait->label, "%.60s: before its first change", calls->o.run->runnable->name);
    else
        label(calls, wait->label, sizeof wait->label);
    if (!moon__snapshot_take(wait)) return false;
    calls->snapping = calls->alone = true;
    calls->running++;
    moon__run_busy(calls->o.run, 1);
    return true;
}

/* Before anything is changed: what may is about to be called. A fork has its own. */
static void snapshot_before(moon__calls *calls) {
    const moon_run *run = calls->o.run;
    char key[sizeof calls->snapshot->key];
    bool any = false;
    calls->changes = run->tree->snapshots.changes;
    for (size_t i = 0; i < calls->n; i++) {
        const moon__slot *s = &calls->slots[i];
        any = any || (writes(s) && s->state != MOON__OVER && !moon__run_recorded(run, MOON_EVENT_TOOL_RESULT, s->key));
    }
    snprintf(key, sizeof key, "first %s", run->tree->journal.id);
    if (!moon__snapshot_recorded(calls->o.run, key) && any && wanted(calls)) take_snapshot(calls, key, true);
}

/* Has the step written? One that is all from the journal is due if the run was ended before its snapshot was there. */
static bool has_written(const moon__calls *calls) {
    const moon_run *run = calls->o.run;
    bool any = false, now = false, changed = calls->changes != run->tree->snapshots.changes;
    uint64_t last = 0;
    for (size_t i = 0; i < calls->n; i++) {
        const moon__slot *s = &calls->slots[i];
        const moon__recorded *was = moon__run_recorded(run, MOON_EVENT_TOOL_RESULT, s->key);
        if (was && was->seq > last) last = was->seq;
        any = any || wrote(s);
        now = now || (wrote(s) && !s->recorded && (changed || s->unknown));
    }
    return now || (any && last > run->tree->shared &&
                   moon__replay_last(run->tree->replay, run->path, strlen(run->path)) <= last);
}

/* A call that a script makes within an agent's step is part of that. */
static bool snapshot_after(moon__calls *calls) {
    const char *key = calls->n ? calls->slots[calls->n - 1].key : "";
    calls->snapped = true;
    if (!calls->o.agent && agent_of(calls->o.run)) return false;
    return !moon__snapshot_recorded(calls->o.run, key) && has_written(calls) && wanted(calls) &&
           take_snapshot(calls, key, false);
}

static void pump(moon__calls *calls) {
    while (!calls->o.run->stopping && calls->next < calls->n && advance(calls)) {
    }
    bool all = calls->next == calls->n || calls->o.run->stopping;
    if (!all) ask_ahead(calls);
    if (all && !calls->running && !calls->snapped && !calls->o.run->stopping && snapshot_after(calls)) return;
    if (all && !calls->running) moon__defer_call(calls->o.run->runtime->loop, &calls->finish);
}

void moon__calls_go_on(moon__calls *calls) {
    ran(calls);
    pump(calls);
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
    free(calls->snapshot);
    free(calls);
}

void moon__calls_serve(moon__calls *calls, const moon__agent *agent) {
    calls->o.agent = calls->o.hooks = agent;
    calls->o.policy = agent->policy;
    calls->o.parallel = agent->parallel;
    calls->o.plan = agent->plan;
    calls->o.offered = NULL;
}

void moon__calls_offer(moon__calls *calls, const moon_wire_tool *tools, size_t n) {
    calls->o.offered = tools;
    calls->o.n_offered = n;
}

static bool copy_use(moon__calls *calls, moon__slot *s, const moon_tool_use *use) {
    s->set = calls;
    snprintf(s->key, sizeof s->key, "c%u", ++calls->o.run->next_call);
    s->id = moon__run_path(calls->o.run, s->key);
    s->model_id = moon__strdup(use->id);
    s->name = moon__strdup(use->name);
    s->args = moon__strndup(use->arguments, use->arguments_length);
    s->args_length = use->arguments_length;
    return s->id && s->model_id && s->name && s->args;
}

moon_status moon__calls_begin(moon__calls *calls, const moon_tool_use *uses, size_t n, moon_error *error) {
    free_slots(calls);
    calls->snapped = false;
    if (n > CALLS_MAX)
        return moon_error_set(error, MOON_ELIMIT, "the model made %zu tool calls at once; at most %d", n, CALLS_MAX);
    calls->slots = calloc(n + 1, sizeof *calls->slots);
    if (!calls->slots) return moon_error_set(error, MOON_ENOMEM, "no memory for tool calls");
    calls->n = n;
    for (size_t i = 0; i < n; i++)
        if (!copy_use(calls, &calls->slots[i], &uses[i]))
            return moon_error_set(error, MOON_ENOMEM, "no memory for tool calls");
    for (size_t i = 0; i < n; i++) {
        moon__slot *s = &calls->slots[i];
        check(s);
        if (s->state == MOON__OVER) {
            moon__slot_tell(s, MOON_EVENT_TOOL_INTENT);
            moon__slot_tell(s, MOON_EVENT_TOOL_RESULT);
        }
    }
    if (calls->o.agent && calls->malformed >= MALFORMED_MAX)
        moon__calls_stop_with(calls, MOON_STOP_MALFORMED,
                              "the model made too many malformed calls in a row, the last one of \"%.80s\"",
                              calls->slots[n - 1].name);
    else {
        enter(calls);
        snapshot_before(calls);
        pump(calls);
    }
    return MOON_OK;
}

void moon__calls_cancel(moon__calls *calls) {
    for (size_t i = 0; i < calls->n; i++) {
        moon__slot *s = &calls->slots[i];
        if (s->state == MOON__RUNNING && s->call) moon__call_cancel(s->call);
        if (s->asked) moon__asked_cancel(s->asked);
    }
    if (calls->snapping) moon__snapshot_cancel(calls->snapshot);
    if (!calls->running) moon__defer_call(calls->o.run->runtime->loop, &calls->finish);
}

size_t moon__calls_count(const moon__calls *calls) {
    return calls->n;
}

moon__outcome moon__calls_outcome(const moon__calls *calls, size_t index) {
    const moon__slot *s = &calls->slots[index];
    size_t n;
    const char *text = moon__slot_text(s, &n);
    return (moon__outcome){.id = s->model_id,
                           .key = s->key,
                           .tool = s->entry ? s->entry->tool : NULL,
                           .args = s->args,
                           .args_length = s->args_length,
                           .text = text,
                           .length = n,
                           .ok = s->ok,
                           .ran = s->ran,
                           .json = s->is_json,
                           .denied = s->denied};
}

moon_status moon__calls_decide(moon__calls *calls, const char *call, bool allow, const char *why, moon_error *error) {
    for (size_t i = 0; i < calls->n; i++) {
        moon__slot *s = &calls->slots[i];
        if (s->state != MOON__ASKED || (call && strcmp(s->id, call) != 0)) continue;
        moon__slot_tell_decision(s, allow, why);
        moon__waiting_asked(calls->o.run, -1);
        if (allow)
            s->state = MOON__ALLOWED;
        else if (s->unknown)
            moon__slot_tell_unknown(s);
        else
            moon__slot_deny(s, why && *why ? why : "the user said no");
        s->unknown = s->unknown && !allow;
        pump(calls);
        return MOON_OK;
    }
    return moon_error_set(error, MOON_ENOTFOUND, "no call %s waits for an answer", call ? call : "");
}
