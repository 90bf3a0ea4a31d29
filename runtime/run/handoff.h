/* SPDX-License-Identifier: MIT */
#ifndef MOON_RUN_HANDOFF_H
#define MOON_RUN_HANDOFF_H
/*
 * Handing a conversation over to another agent.
 *
 * An agent gets one tool per handoff. The call itself does nothing; when all calls of its message have their results,
 * the run goes on with the other agent. So the recorded result of the call decides when the run is resumed, as with any
 * other tool. The first handoff of a message counts, and further ones are refused.
 */
#include "dialog.h"

typedef struct moon__handoff {
    moon__handoff_spec spec;
    moon_tool tool; /* what the model calls */
    char *name, *description;
    moon_runnable *agent; /* NULL: not looked up yet */
} moon__handoff;

/* One stretch of a run: who answers in it. */
typedef struct moon__leg {
    moon_runnable *agent; /* a reference */
    int64_t own;          /* answers its model had given when it handed over */
} moon__leg;

/* Of a run that was handed over. */
typedef struct moon__relay {
    moon__leg *legs; /* n of them; the first is the run's own agent */
    size_t n;
    int64_t counted;    /* handoffs; those before a fork do not count */
    moon_limits before; /* what held before the first */
} moon__relay;

/* Takes the specs of handoffs; agents that come late are looked up by moon__handoffs_resolve. */
MOON_MUST_USE moon_status moon__handoffs_new(moon__handoff **out, const moon__handoff_spec *specs, size_t n,
                                             moon_error *error);
void moon__handoffs_free(moon__handoff *handoffs, size_t n);
/* Makes the tools. Can be called again after it has failed. */
MOON_MUST_USE moon_status moon__handoffs_resolve(moon__agent *agent, moon_error *error);

/* The handoff that a tool stands for; NULL: it is another tool. */
const moon__handoff *moon__handoff_of(const moon_tool *tool);
/* Goes on with the agent of this handoff, which call (c3) has asked for with these arguments. Else *stop says how the
 * run ends. */
MOON_MUST_USE moon_status moon__handoff_take(const moon__handoff *handoff, moon__dialog *dialog, const char *call,
                                             const char *arguments, size_t length, moon_stop *stop, moon_error *error);
/* May the run hand over once more? Else *why says which circle it goes in. */
bool moon__handoff_allowed(const moon_run *run, const moon__handoff *handoff, moon__buf *why);
#endif
