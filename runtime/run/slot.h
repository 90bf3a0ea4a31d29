/* SPDX-License-Identifier: MIT */
#ifndef MOON_RUN_SLOT_H
#define MOON_RUN_SLOT_H
/*
 * What calls.c, slot.c and recall.c share: the calls of one message, each in a slot of its own. calls.c says when a
 * slot goes on, slot.c how it is told and how it ends, recall.c what the journal holds of it.
 */
#include "hooks.h"

enum { MOON__CALLS_SAME = 3 }; /* equal calls with equal results in a row; the next one ends the run */

/* MOON__HOOKED: before_tool is asked. MOON__INTENDED: the intent is on its way to the disk. */
typedef enum moon__slot_state {
    MOON__READY,
    MOON__HOOKED,
    MOON__ASKED,
    MOON__ALLOWED,
    MOON__INTENDED,
    MOON__RUNNING,
    MOON__OVER
} moon__slot_state;

typedef struct moon__slot {
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
    moon__slot_state state;
    moon_call *call;
    const moon__call_result *result; /* while it is taken */
    char *text;
    size_t length;
    bool ok, ran, is_json, denied, cancelled, unknown;
    bool recorded;      /* its result is from the journal */
    bool hooked;        /* before_tool has decided, or there is none */
    moon__asked *asked; /* a hook; NULL: none was */
} moon__slot;

struct moon__calls {
    moon__calls_options o;
    moon__slot *slots;
    size_t n, next; /* next: the first that was not started */
    unsigned running;
    bool alone; /* what runs must not have company */
    bool in_charge;
    unsigned malformed;
    uint64_t last_signature, last_result;
    unsigned same;                 /* how many times in a row the last call gave the last result */
    uint64_t changes;              /* of the tree, when this message came */
    moon__snapshot_wait *snapshot; /* NULL until there was one */
    bool snapping, snapped; /* a snapshot is under way, like a call that runs alone; the one at the end was looked to */
    moon__defer finish;
};

/* Ends the slot with this text; nothing is told. */
void moon__slot_over(moon__slot *slot, const char *text, size_t n, bool ok);
const char *moon__slot_text(const moon__slot *slot, size_t *n);     /* never NULL */
moon__jw moon__slot_event(moon__buf *body, const moon__slot *slot); /* begins the body of an event */
void moon__slot_tell(moon__slot *slot, moon_event_type type);
void moon__slot_tell_decision(moon__slot *slot, bool allow, const char *why);
/* Keeps count of equal calls with equal results, and tells the model at the third. */
void moon__slot_compare(moon__slot *slot);
/* It is over: counted, and told. */
void moon__slot_settle(moon__slot *slot);
void moon__slot_deny(moon__slot *slot, const char *why); /* NULL: by policy */
/* Somebody has to say whether this call may run. */
void moon__slot_ask(moon__slot *slot);
/* Its result is that nobody knows how it ended. */
void moon__slot_tell_unknown(moon__slot *slot);
void moon__calls_stop_with(moon__calls *calls, moon_stop why, const char *format, const char *name);

/* The arguments as they are made, instead of as the model wrote them. */
MOON_MUST_USE moon_status moon__slot_set_arguments(moon__slot *slot, const char *json, size_t n);
uint64_t moon__slot_sign(const moon__slot *slot); /* of tool and arguments */

/* ---- hooks (hook_tool.c) ---- */

/* Asks before_tool, once. False: it has decided that the call is not made, or it is waited for (MOON__HOOKED; go_on
 * comes), or the run stops. */
bool moon__slot_before(moon__slot *slot);
/* Asks after_tool about a result that is told. True: it is waited for; go_on comes. */
bool moon__slot_after(moon__slot *slot);
void moon__calls_go_on(moon__calls *calls); /* calls.c: something that was waited for has ended */

/* What the journal holds of the slot. NOTHING: it is made now (its state may have become ALLOWED). */
typedef enum moon__recall { MOON__RECALL_NOTHING, MOON__RECALL_TAKEN, MOON__RECALL_WAITS } moon__recall;
moon__recall moon__slot_recall(moon__slot *slot);
#endif
