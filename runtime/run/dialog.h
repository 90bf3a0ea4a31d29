/* SPDX-License-Identifier: MIT */
#ifndef MOON_RUN_DIALOG_H
#define MOON_RUN_DIALOG_H
/*
 * The conversation of a run with a model: the chat that holds it in the model's own bytes, a hash of all that was said
 * (the tools included), and, for agents that may need it told anew, a transcript.
 *
 * dialog_open ──► add … ──► (tell anew: another chat with the same messages, or with others) ──► close
 */
#include "runtime.h"
#include "transcript.h"

typedef struct moon__dialog {
    moon_run *run;
    const moon__agent *agent;
    moon__chat *chat;
    uint64_t context;
    moon__tally tally; /* how long it is */
    int64_t own;       /* answers that the agent's model has given in this run */
    bool keeps;        /* the transcript */
    moon__transcript transcript;
    struct moon__variation *variation; /* what is otherwise than the agent says (vary.c); NULL: nothing */
} moon__dialog;

/* Opens the conversation of an agent with the run's input. On failure nothing is held. */
MOON_MUST_USE moon_status moon__dialog_open(moon__dialog *dialog, moon_run *run, const moon__agent *agent,
                                            moon_error *error);
void moon__dialog_close(moon__dialog *dialog); /* not from within a callback of the chat's */
/* For the next step: other instructions, fewer tools, other settings, as far as `change` has them (NULL: as the agent
 * says). If that is not how it stands, the conversation is told anew. MOON_EINVAL: it cannot be changed so. */
MOON_MUST_USE moon_status moon__dialog_vary(moon__dialog *dialog, const moon_json *change, moon_error *error);
/* Adds messages of the user, from a list { { role = "user", content } }. */
MOON_MUST_USE moon_status moon__dialog_extend(moon__dialog *dialog, const moon_json *messages, moon_error *error);
/* What the model is told: the agent's or what stands instead. */
const char *moon__dialog_instructions(const moon__dialog *dialog);
const moon_wire_settings *moon__dialog_settings(const moon__dialog *dialog);
MOON_MUST_USE moon_status moon__dialog_add(moon__dialog *dialog, const moon_message *message, moon_error *error);
/* Goes on with another agent, to whom `messages` are told (taken over when all went well). own: how many answers its
 * model has given in this run before. On failure the conversation is as it was. */
MOON_MUST_USE moon_status moon__dialog_hand(moon__dialog *dialog, const moon__agent *agent, moon__transcript *messages,
                                            int64_t own, moon_error *error);

/* ---- variations (vary.c) ---- */

typedef struct moon__variation {
    moon_json *change;            /* owns the text below */
    char *as_text;                /* of what is varied, for comparison */
    const char *instructions;     /* NULL: the agent's */
    moon__chat_settings settings; /* the agent's, with what is varied */
    moon_wire_tool *tools;        /* NULL: the agent's */
} moon__variation;

/* *out is NULL if nothing is varied. */
MOON_MUST_USE moon_status moon__variation_new(moon__variation **out, const moon__agent *agent, const moon_json *change,
                                              moon_error *error);
void moon__variation_free(moon__variation *variation);
bool moon__variation_same(const moon__variation *a, const moon__variation *b); /* either may be NULL */
#endif
