/* SPDX-License-Identifier: MIT */
#ifndef MOON_JOURNAL_JOURNAL_H
#define MOON_JOURNAL_JOURNAL_H
/*
 * The journal of one root run: numbers its events, stamps them and hands them to their readers, in order. Everything
 * that is known of a run from outside is read from here. An event is final when append returns.
 *
 * model.delta and tool.progress are shown but not journaled: they have no number, and pass only where somebody asked
 * for them.
 */
#include "buf.h"
#include "clock.h"
#include "ids.h"

typedef struct moon__journal {
    char id[MOON__ID_SIZE];
    uint64_t seq; /* of the last event */
    const moon__clock *clock;
    bool live; /* deltas and progress are wanted */
    void (*sink)(void *ctx, const moon_event *event);
    void *ctx;
} moon__journal;

void moon__journal_init(moon__journal *journal, const moon__clock *clock, moon__random *random);
/* Is anybody interested in events of this type? Where not, their bodies need not be made. */
bool moon__journal_wants(const moon__journal *journal, moon_event_type type);
/* body is one JSON object; path is the run's place in the tree of calls. */
void moon__journal_append(moon__journal *journal, moon_event_type type, const char *path, const moon__buf *body);
#endif
