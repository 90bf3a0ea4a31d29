/* SPDX-License-Identifier: MIT */
#ifndef MOON_RUN_OUTSIDE_H
#define MOON_RUN_OUTSIDE_H
/*
 * What reaches a run from outside besides models and tools: values (time, environment), time that passes, signals. All
 * of it goes through the journal, so that a run that is resumed sees the same. A key names each within its run, in the
 * order of one sequential piece of code: "t1", "c3.t2".
 */
#include "run.h"

/* The value that was recorded under this key, the caller's; NULL: get it now, and record it. If another kind of value
 * stands there, the script has changed, and the run is stopping. */
moon_json *moon__value_recorded(moon_run *run, const char *key, const char *kind);
/* value is JSON. */
void moon__value_record(moon_run *run, const char *key, const char *kind, const char *value, size_t length);

/* Something that ends by itself when its time has come or a signal is there; embedded in its owner. done comes once,
 * from the loop, unless it was cancelled. */
enum { MOON__SIGNAL_NAME = 64, MOON__PAUSE_KEY = 56 };
typedef struct moon__pause {
    moon_run *run;
    char key[MOON__PAUSE_KEY], name[MOON__SIGNAL_NAME]; /* name: of the signal; "" for none */
    int64_t due_us;                                     /* wall clock; 0: never */
    void (*done)(void *ctx);
    void *ctx;
    moon_json *value; /* the signal's; NULL: time ran out */
    moon__timer timer;
    struct moon__pause *next;
    bool waiting;
} moon__pause;
/* Waits for `seconds` (below 0: no end), or for a signal if name is set. After a resume the time that was set first
 * holds. The wall clock counts, so that a machine that slept is late at most by as long as it slept. */
void moon__pause_start(moon__pause *pause, double seconds);
void moon__pause_cancel(moon__pause *pause);
void moon__pause_fini(moon__pause *pause);
#endif
