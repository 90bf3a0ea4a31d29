/* SPDX-License-Identifier: MIT */
#ifndef MOON_TOOL_CALL_H
#define MOON_TOOL_CALL_H
/*
 * The life of one call, after its arguments were checked and policy allowed it:
 *   start → (worker or loop) → done | fail → [result cut to size, whole spilled] → done callback on the loop thread →
 * freed. Timeout and cancel set the cancelled flag, end the call's subprocess and call the tool's cancel; the call then
 * ends as the tool does. Whatever thread ends it, the callback comes from the loop, never inline.
 *
 * A blocking tool that has not come back MOON__CALL_GRACE_MS after that is left to itself: the callback comes with an
 * error, and what the tool may still touch (the call, its scratch, the workspace) stays until it comes back, if it
 * does.
 */
#include "pool.h"
#include "proc.h"
#include "space.h"
#include "tools.h"

enum { MOON__CALL_GRACE_MS = 5000 };

/* What a call has seen of a file (moon_call_remember). */
typedef struct moon__seen {
    struct moon__seen *next;
    uint64_t hash;
    char path[];
} moon__seen;

typedef struct moon__call_result {
    bool ok;
    bool json;      /* the text is one JSON value */
    bool truncated; /* head and tail; the whole is in `spill` */
    const char *text;
    size_t length;
    char spill[32];
    const char *whole; /* the text of spill */
    size_t whole_length;
    const moon__seen *seen;
    int64_t wall_ms;
} moon__call_result;

typedef struct moon__call_options {
    const moon__tool_entry *entry; /* outlives the call */
    const char *id;                /* of the call within its run, "c3"; outlives it */
    moon_json *args;               /* taken over */
    moon__loop *loop;
    moon__pool *pool;
    moon__scratch *scratch;
    void *owner; /* what moon__call_owner gives back: the run, for tools of lua/ and run/ */
    void (*progress)(void *ctx, const char *text); /* may be NULL */
    void (*done)(void *ctx, const moon__call_result *result);
    void *ctx;
} moon__call_options;

MOON_MUST_USE moon_status moon__call_start(moon_call **out, const moon__call_options *options, moon_error *error);
void moon__call_cancel(moon_call *call);
void *moon__call_owner(const moon_call *call);
const char *moon__call_id(const moon_call *call);
/* One JSON text as the whole result (of a Lua tool). */
void moon__call_put_json(moon_call *call, const char *json, size_t n);
#endif
