/* SPDX-License-Identifier: MIT */
#ifndef MOON_CLI_WAITS_H
#define MOON_CLI_WAITS_H
/* What a run waits for, as its journal tells: time, signals, approvals that have been begun and not ended. */
#include <moonlet/extend.h>

typedef enum moon__cli_wait_kind { MOON__WAITS_TIME, MOON__WAITS_SIGNAL, MOON__WAITS_APPROVAL } moon__cli_wait_kind;

typedef struct moon__cli_wait {
    moon__cli_wait_kind kind;
    char *path, *key; /* its place in the journal */
    char *name;       /* of the signal, or the tool; "" for time */
    char *call;       /* of an approval; else "" */
    int64_t due_us;   /* 0: never */
} moon__cli_wait;

typedef struct moon__cli_waits {
    moon__cli_wait *items; /* in the order in which they were begun */
    size_t n, room;
    bool failed; /* memory is out */
} moon__cli_waits;

MOON_MUST_USE moon_status moon__cli_waits_read(moon__cli_waits *waits, moon_runtime *runtime, const char *run,
                                               moon_error *error);
void moon__cli_waits_fini(moon__cli_waits *waits);
/* The one that ends first by itself, else the first; NULL: there is none. */
const moon__cli_wait *moon__cli_waits_next(const moon__cli_waits *waits);
const char *moon__cli_wait_word(moon__cli_wait_kind kind); /* "time", "signal", "approval" */
#endif
