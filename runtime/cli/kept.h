/* SPDX-License-Identifier: MIT */
#ifndef MOON_CLI_KEPT_H
#define MOON_CLI_KEPT_H
/*
 * The runs that are kept, for the commands that look at them or take them up: runs, show, resume, approve, deny. None
 * of them needs the workspace of a run before it is known which run is meant.
 */
#include <moonlet/extend.h>

enum { MOON__RUN_ID_MAX = 24 };

/* A runtime that has the journal and nothing else to do. Errors are reported; 0 or the exit code. */
int moon__cli_kept_open(moon_runtime **runtime, const char *journal, const char *workspace);
typedef struct moon__cli_found {
    char id[MOON__RUN_ID_MAX];
    char *workspace; /* malloc'd, as are the next */
    char *name, *stop;
    moon_run_state state;
    bool resumable, claimed;
    unsigned n; /* how many fit */
} moon__cli_found;
/* The run whose id begins with text; text NULL: the newest that can be resumed. Errors are reported. */
int moon__cli_kept_find(moon_runtime *runtime, const char *text, moon__cli_found *found);
/* The newest run of a directory (NULL: the current one). Errors are reported. */
int moon__cli_kept_newest(moon_runtime *runtime, const char *workspace, moon__cli_found *found);
/* Runs that nobody drives and whose time has come: parked, or their process died while they slept. The one that has
 * waited longest first. */
typedef struct moon__cli_due {
    char (*ids)[MOON__RUN_ID_MAX]; /* malloc'd */
    size_t n, room;
} moon__cli_due;
MOON_MUST_USE moon_status moon__cli_kept_due(moon_runtime *runtime, moon__cli_due *due, moon_error *error);
void moon__cli_found_fini(moon__cli_found *found);
/* How a run stands, in a word. */
const char *moon__cli_state_word(moon_run_state state, bool claimed, const char *stop);
int64_t moon__cli_now_us(void); /* since 1970 */
/* RFC 3339 in UTC, to the millisecond. */
void moon__cli_format_time(char text[24 + 1], int64_t time_us);
#endif
