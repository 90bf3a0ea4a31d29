/* SPDX-License-Identifier: MIT */
#ifndef MOON_RUN_REACT_H
#define MOON_RUN_REACT_H
/* The agent's loop, shared by what drives it (react.c) and what asks hooks on its way (react_hooks.c). */
#include "dialog.h"
#include "hooks.h"

typedef struct moon__react {
    moon_run *run;
    moon__dialog dialog; /* its agent is the one that answers now */
    moon__calls *calls;
    bool asking, calling, entering;
    char *missed;          /* why a cassette gives no answer; NULL: it does */
    bool late;             /* because none came in time when it was recorded */
    bool recorded, shared; /* the answer at hand is from the journal; and there from before a fork */
    moon__asked *asked;    /* a hook, the last that was; NULL: none */
    moon_json *held;       /* the answer at hand as a body, where a hook sees or gives it */
    bool given;            /* by the hook */
    unsigned lane, repairs;
    moon__hold budget;   /* of the request that is made, or waits for room in the limits */
    moon__ticket ticket; /* of the same, among all of the runtime */
    char key[24];        /* of this step's events: its number in this run */
    int64_t steps, step_started_us;
    moon__defer next; /* the next step, or the end */
    char *last_text;  /* the last text the model wrote; kept for a run that a limit ends */
    size_t last_length;
} moon__react;

/* Ends the run; text NULL: the last that the model wrote. */
void moon__react_finish(moon__react *react, moon_stop stop, const char *text, size_t length, const char *error);
void moon__react_fail(moon__react *react, const moon_error *error);
/* Nothing stands between the step and its answer any more. */
void moon__react_get_answer(moon__react *react);
/* Takes an answer that stands in a body. */
void moon__react_take(moon__react *react, const moon_json *body,
                      void (*then)(moon__react *react, const moon__answer *answer));
void moon__react_act_on(moon__react *react, const moon__answer *answer);

/* Does the agent that answers now have this hook? */
static inline bool moon__react_hooked(const moon__react *react, moon__hook hook) {
    return moon__hook_set(react->dialog.agent, hook);
}
/* Asks before_model about the step; then get_answer, or the run ends. */
void moon__react_before(moon__react *react);
/* Asks after_model about the answer; then act_on with what it makes of it, or the run ends. */
void moon__react_after(moon__react *react, const moon__answer *answer);
#endif
