/* SPDX-License-Identifier: MIT */
#include "handoff.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"

enum { NAME_ROOM = 60, CIRCLE_SHOWN = 12 };

static const char params[] =
    "{\"type\":\"object\",\"properties\":{\"message\":{\"type\":\"string\",\"description\":\"What the other one should "
    "know or do, beyond what stands in the conversation.\"}},\"additionalProperties\":false}";

/* ---- the tools ---- */

static void start(void *self, moon_call *call, const moon_json *args) {
    const moon__handoff *h = self;
    (void)args;
    moon_call_printf(call, "The conversation goes on with %s.", moon_runnable_name(h->agent));
    moon_call_done(call);
}

const moon__handoff *moon__handoff_of(const moon_tool *tool) {
    return tool && tool->start == start ? tool->self : NULL;
}

moon_status moon__handoffs_new(moon__handoff **out, const moon__handoff_spec *specs, size_t n, moon_error *error) {
    moon__handoff *handoffs = calloc(n + 1, sizeof *handoffs);
    if (!handoffs) return moon_error_set(error, MOON_ENOMEM, "no memory for an agent");
    for (size_t i = 0; i < n; i++) {
        handoffs[i].spec = specs[i];
        handoffs[i].name = moon__strdup(specs[i].name);
        handoffs[i].description = moon__strdup(specs[i].description);
        if ((handoffs[i].name || !specs[i].name) && (handoffs[i].description || !specs[i].description)) continue;
        moon__handoffs_free(handoffs, i + 1);
        return moon_error_set(error, MOON_ENOMEM, "no memory for an agent");
    }
    *out = handoffs;
    return MOON_OK;
}

void moon__handoffs_free(moon__handoff *handoffs, size_t n) {
    for (size_t i = 0; i < n; i++) {
        free(handoffs[i].name);
        free(handoffs[i].description);
    }
    free(handoffs);
}

/* "transfer_to_" and the agent's name, as far as tools may be called so. */
static char *default_name(const moon_runnable *agent) {
    char name[NAME_ROOM + 1];
    snprintf(name, sizeof name, "transfer_to_%s", agent->name);
    for (char *p = name; *p; p++)
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-", *p)) *p = '_';
    return moon__strdup(name);
}

static char *default_description(const moon_runnable *agent) {
    const char *what = moon_json_str(moon_json_get(((const moon__agent *)agent)->spec, "description"), NULL);
    moon__buf text;
    moon__buf_init(&text, 64 << 10);
    moon__buf_printf(&text, "Hands this conversation over to %s, who goes on with it in your place.", agent->name);
    if (what && *what) moon__buf_printf(&text, " %s: %s", agent->name, what);
    char *description = moon__buf_take(&text);
    moon__buf_fini(&text);
    return description;
}

static moon_status look_up(moon__handoff *h, const moon__agent *of, size_t place, moon_error *error) {
    moon_runnable *agent = h->spec.agent;
    moon_status status = agent ? MOON_OK : h->spec.agent_of(h->spec.self, &agent, error);
    if (status || !agent) return status;
    if (agent->ops != &moon__agent_ops || agent->runtime != of->base.runtime)
        return moon_error_set(error, MOON_EINVAL, "handoffs[%zu] of agent %s: %s is no agent", place, of->base.name,
                              agent->name);
    if (agent == &of->base)
        return moon_error_set(error, MOON_EINVAL, "handoffs[%zu]: agent %s cannot hand over to itself", place,
                              of->base.name);
    h->agent = agent;
    return MOON_OK;
}

static moon_status make_tool(moon__agent *agent, moon__handoff *h, moon_error *error) {
    if (!h->agent) return moon_error_set(error, MOON_EINVAL, "a handoff of agent %s leads nowhere", agent->base.name);
    if (!h->name) h->name = default_name(h->agent);
    if (!h->description) h->description = default_description(h->agent);
    if (!h->name || !h->description) return moon_error_set(error, MOON_ENOMEM, "no memory for an agent");
    if (moon__agent_tool(agent, h->name))
        return moon_error_set(error, MOON_EEXIST,
                              "agent %s has two tools named %s; give the handoff to %s a name of its own",
                              agent->base.name, h->name, h->agent->name);
    h->tool = (moon_tool){.abi = MOON_TOOL_ABI,
                          .effects = MOON_READ_ONLY | MOON_IDEMPOTENT,
                          .name = h->name,
                          .description = h->description,
                          .params = params,
                          .self = h,
                          .start = start};
    return moon__agent_add_tool(agent, &h->tool, error);
}

moon_status moon__handoffs_resolve(moon__agent *agent, moon_error *error) {
    moon_status status = MOON_OK;
    for (size_t i = 0; i < agent->n_handoffs && !status; i++) {
        moon__handoff *h = &agent->handoffs[i];
        if (!h->agent) status = look_up(h, agent, i + 1, error);
        if (!status && !h->tool.name) status = make_tool(agent, h, error);
        if (status) h->tool.name = NULL; /* tried again with the next run */
    }
    return status;
}

/* ---- circles ---- */

/* The agents from the last time that this one answered, as a list with arrows. */
static void put_circle(moon__buf *out, const moon_run *run, const moon_runnable *to) {
    const moon__relay *relay = run->relay;
    size_t n = relay ? relay->n : 0, from = n;
    while (from > 0 && relay->legs[from - 1].agent != to) from--;
    if (from == 0) from = n > CIRCLE_SHOWN ? n - CIRCLE_SHOWN + 1 : 1; /* no circle: the last of the chain */
    for (size_t i = from; i <= n; i++) moon__buf_printf(out, "%s \xe2\x86\x92 ", relay->legs[i - 1].agent->name);
    if (!n) moon__buf_printf(out, "%s \xe2\x86\x92 ", run->runnable->name);
    moon__buf_str(out, to->name);
}

bool moon__handoff_allowed(const moon_run *run, const moon__handoff *h, moon__buf *why) {
    int64_t limit = run->limits.handoffs < 0 ? MOON__HANDOFFS : run->limits.handoffs;
    if ((run->relay ? run->relay->counted : 0) < limit) return true;
    moon__buf_printf(why, "the limit of %lld handoff%s is reached: ", (long long)limit, limit == 1 ? "" : "s");
    put_circle(why, run, h->agent);
    return false;
}

/* ---- what the other agent is told ---- */

static moon_status keep(moon__transcript *out, const moon_message *m, moon_error *error) {
    moon_status status = moon__transcript_add(out, m);
    return status ? moon_error_set(error, status, "no memory for the conversation") : MOON_OK;
}

static bool is_wanted(const moon__said *s, moon__handoff_input input) {
    const moon_message *m = &s->message;
    if (input == MOON__HAND_ALL) return true;
    if (input == MOON__HAND_TEXTS) return m->role == MOON_USER || (m->role == MOON_ASSISTANT && m->text_length);
    if (input != MOON__HAND_LAST || m->role != MOON_USER) return false;
    for (const moon__said *later = s->next; later; later = later->next)
        if (later->message.role == MOON_USER) return false;
    return true;
}

/* Says that the conversation was handed over, and what the model wrote to that, in one message with the last of the
 * user if that stands right before. */
static moon_status note(moon__transcript *out, const moon_message *last, const moon_runnable *from,
                        const char *arguments, size_t length, moon_error *error) {
    moon_json *json = NULL;
    moon__buf text;
    moon__buf_init(&text, MOON__TRANSCRIPT_MAX);
    moon_status status = moon__json_parse(&json, arguments, length, MOON__JSON_REPAIR, NULL);
    const char *message = status ? NULL : moon_json_str(moon_json_get(json, "message"), NULL);
    if (last) moon__buf_add(&text, last->text, last->text_length);
    moon__buf_printf(&text, "%s[%s has handed this conversation over to you%s%s]", last ? "\n\n" : "", from->name,
                     message && *message ? ": " : "", message ? message : "");
    moon_message m = {.role = MOON_USER, .text = text.p, .text_length = text.len};
    status = text.status ? moon_error_set(error, text.status, "no memory for the conversation") : keep(out, &m, error);
    moon__buf_fini(&text);
    moon__json_free(json);
    return status;
}

static moon_status choose(const moon__handoff *h, const moon__dialog *d, const char *arguments, size_t length,
                          moon__transcript *out, moon_error *error) {
    const moon__transcript *all = &d->transcript;
    moon__handoff_input input = h->spec.input;
    const moon_message *held = NULL; /* the last message of the user, which the note may go with */
    moon_status status = MOON_OK;
    for (const moon__said *s = all->first; s && !status; s = s->next) {
        if (!is_wanted(s, input)) continue;
        moon_message m = s->message;
        if (input != MOON__HAND_ALL) m.calls = NULL, m.n_calls = 0;
        if (held) status = keep(out, held, error);
        held = input != MOON__HAND_ALL && m.role == MOON_USER ? &s->message : NULL;
        if (!status && !held) status = keep(out, &m, error);
    }
    if (!status && input != MOON__HAND_ALL) status = note(out, held, &d->agent->base, arguments, length, error);
    return status;
}

static moon_status run_filter(const moon__handoff *h, const moon__dialog *d, const char *place, moon__transcript *out,
                              moon_error *error) {
    moon__buf before, after;
    moon__jw w;
    moon_json *list = NULL;
    moon_error why = {0};
    moon__buf_init(&before, 2 * MOON__TRANSCRIPT_MAX);
    moon__buf_init(&after, 2 * MOON__TRANSCRIPT_MAX);
    moon__jw_init(&w, &before);
    moon__transcript_write(&w, NULL, &d->transcript);
    moon_status status = before.status ? moon_error_set(&why, before.status, "the conversation is too long") : MOON_OK;
    if (!status) status = h->spec.filter(h->spec.self, d->run, place, before.p, before.len, &after, &why);
    if (!status && after.status) status = moon_error_set(&why, after.status, "its messages are too long");
    if (!status) status = moon__json_parse(&list, after.p ? after.p : "", after.len, 0, &why);
    if (!status) status = moon__transcript_read(out, list, &why);
    if (!status && !out->n) status = moon_error_set(&why, MOON_EINVAL, "it leaves no message");
    if (status)
        moon_error_set(error, status, "the filter of the handoff to %s%s%s: %s", h->agent->name, *why.where ? ", " : "",
                       why.where, why.text);
    moon__json_free(list);
    moon__buf_fini(&before);
    moon__buf_fini(&after);
    return status;
}

/* ---- handing over ---- */

static moon_status add_leg(moon__relay *relay, moon_runnable *agent) {
    moon__leg *legs = realloc(relay->legs, (relay->n + 1) * sizeof *legs);
    if (!legs) return MOON_ENOMEM;
    relay->legs = legs;
    legs[relay->n++] = (moon__leg){.agent = moon_runnable_ref(agent)};
    return MOON_OK;
}

static moon_status begin_relay(moon_run *run, moon_error *error) {
    if (run->relay) return MOON_OK;
    run->relay = calloc(1, sizeof *run->relay);
    if (!run->relay || add_leg(run->relay, run->runnable)) return moon_error_set(error, MOON_ENOMEM, "no memory");
    run->relay->before = run->limits;
    return MOON_OK;
}

void moon__relay_free(moon__relay *relay) {
    if (!relay) return;
    for (size_t i = 0; i < relay->n; i++) moon_runnable_unref(relay->legs[i].agent);
    free(relay->legs);
    free(relay);
}

const moon__agent *moon__run_agent(const moon_run *run) {
    const moon_runnable *agent = run->relay ? run->relay->legs[run->relay->n - 1].agent : run->runnable;
    return agent->ops == &moon__agent_ops ? (const moon__agent *)agent : NULL;
}

/* What the agent's model has answered in this run already. */
static int64_t own_answers(const moon__relay *relay, const moon_runnable *agent) {
    for (size_t i = relay->n; i > 0; i--)
        if (relay->legs[i - 1].agent == agent) return relay->legs[i - 1].own;
    return 0;
}

static void tell(moon_run *run, const char *key, const moon_runnable *from, const moon_runnable *to, int64_t wall_ms) {
    if (!moon__run_tells(run, MOON_EVENT_HANDOFF, key)) return;
    moon__buf body;
    moon__jw w;
    moon__buf_init(&body, 64 << 10);
    moon__jw_init(&w, &body);
    moon__jw_object(&w, NULL);
    moon__jw_str(&w, "from", from->name, SIZE_MAX);
    moon__jw_str(&w, "to", to->name, SIZE_MAX);
    moon__jw_int(&w, "wall_ms", wall_ms);
    moon__jw_end(&w);
    moon__run_event(run, MOON_EVENT_HANDOFF, key, &body);
    moon__buf_fini(&body);
}

/* How long the run had gone on; a handoff before a fork took no time of the fork's. */
static int64_t when(moon_run *run, const char *key, bool *shared) {
    int64_t wall_ms = (moon__loop_now(run->runtime->loop) - run->started_us) / 1000;
    const moon__recorded *was = moon__run_recorded(run, MOON_EVENT_HANDOFF, key);
    moon_json *body = was ? moon__run_recorded_body(run, was) : NULL;
    *shared = was && was->seq <= run->tree->shared;
    if (body) moon_json_int(moon_json_get(body, "wall_ms"), &wall_ms);
    moon__json_free(body);
    return *shared ? 0 : wall_ms;
}

/* The run's side of it: who answers, what limits hold. */
static moon_status note_leg(moon_run *run, const moon__dialog *d, moon_runnable *to, const char *key,
                            moon_error *error) {
    moon__relay *relay = run->relay;
    assert(relay && relay->n && "begin_relay came before");
    const moon_runnable *from = relay->legs[relay->n - 1].agent;
    char *answerer = moon__strdup(to->name);
    int64_t own = own_answers(relay, to);
    relay->legs[relay->n - 1].own = d->own;
    if (!answerer || add_leg(relay, to)) {
        free(answerer);
        return moon_error_set(error, MOON_ENOMEM, "no memory");
    }
    free(run->answerer);
    run->answerer = answerer;
    relay->legs[relay->n - 1].own = own;
    bool shared;
    int64_t wall_ms = when(run, key, &shared);
    relay->counted += !shared;
    moon__limits_hand(run, &relay->before, &((const moon__agent *)to)->limits, wall_ms / 1000, relay->counted);
    tell(run, key, from, to, wall_ms);
    return moon__run_deadline(run) ? moon_error_set(error, MOON_ENOMEM, "no memory for the time limit") : MOON_OK;
}

moon_status moon__handoff_take(const moon__handoff *h, moon__dialog *d, const char *call, const char *arguments,
                               size_t length, moon_stop *stop, moon_error *error) {
    moon__transcript messages = {0};
    moon_run *run = d->run;
    moon_runnable *to = h->agent;
    *stop = MOON_STOP_FAILED;
    moon_status status = begin_relay(run, error);
    if (!status && h->spec.input == MOON__HAND_FILTER)
        status = run_filter(h, d, call, &messages, error);
    else if (!status)
        status = choose(h, d, arguments, length, &messages, error);
    if (!status) status = note_leg(run, d, to, call, error);
    if (!status) {
        *stop = MOON_STOP_CONFIG; /* its model cannot be had */
        status = moon__agent_get_ready((moon__agent *)to, error);
    }
    if (!status)
        status =
            moon__dialog_hand(d, (const moon__agent *)to, &messages, run->relay->legs[run->relay->n - 1].own, error);
    if (!status && d->agent->plan) run->planned = false;
    moon__transcript_fini(&messages);
    return status;
}
