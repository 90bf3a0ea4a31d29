/* SPDX-License-Identifier: MIT */
#ifndef MOON_RUN_HOOKS_H
#define MOON_RUN_HOOKS_H
/*
 * A question to a hook (see run.h), and its way:
 *
 *     begin ──► recorded? ──► the decision is there
 *           └─► ask ──► (decide | fail, also by timeout) ──► done, from the loop
 */
#include "runtime.h"

struct moon__asked {
    moon_run *run;
    const moon__agent *agent;
    moon__hook hook;
    char place[24];
    const char *call;    /* the id of the call that it is about; NULL: none */
    moon__buf question;  /* filled by the asker */
    moon_json *decision; /* NULL: none yet, or it failed */
    char *failure;       /* "hook before_model of agent x: why"; NULL: it did not fail */
    bool waiting, deciding, late;
    moon__timer timer;
    moon__defer defer;
    void (*done)(void *ctx);
    void *ctx;
};

static inline bool moon__hook_set(const moon__agent *agent, moon__hook hook) {
    return agent->hooks.has & (1U << hook);
}
/* Gets *asked ready for a question about `key` ("3", a step; "c3", a call); what stood in it is freed. NULL at first.
 * MOON_ENOMEM. */
MOON_MUST_USE moon_status moon__asked_begin(moon__asked **asked, moon_run *run, const moon__agent *agent,
                                            moon__hook hook, const char *key, const char *call);
/* Is there nothing to be asked: was it decided before, or is this a rehearsal of a run that did not? */
bool moon__asked_recorded(moon__asked *asked);
void moon__asked_ask(moon__asked *asked, void (*done)(void *ctx), void *ctx);
void moon__asked_cancel(moon__asked *asked);
void moon__asked_free(moon__asked *asked); /* not one that waits; NULL is fine */
/* A decision that makes no sense: sets the failure. */
void moon__asked_wrong(moon__asked *asked, const char *what);

/* What was decided. NULL: not that. */
const char *moon__asked_refusal(const moon__asked *asked);
const moon_json *moon__asked_answer(const moon__asked *asked);
const moon_json *moon__asked_change(const moon__asked *asked);

/* ---- about models (hook_model.c) ---- */

/* The body of model.response with the text and tool_calls that `given` has, and the rest of `base` (NULL: a hook's own
 * answer, made up whole). MOON_EINVAL: given is no answer. */
MOON_MUST_USE moon_status moon__hook_body(moon_json **out, const moon_json *given, const moon_json *base,
                                          const char *key, moon_error *error);

/* ---- events ---- */

/* Shows an event to the hook on_event of whoever answers in the run; it may stop the run. */
void moon__hook_observe(moon_run *run, moon_event_type type, const moon__buf *body);
bool moon__hook_observes(const moon_run *run, moon_event_type type);
#endif
