/* SPDX-License-Identifier: MIT */
#ifndef MOON_CLI_PROGRESS_H
#define MOON_CLI_PROGRESS_H
/*
 * What a person sees of a run while it goes on, on standard error: a reader of events, like any other. Finished things
 * are lines (a step, a tool call with its outcome, the plan, a retry, a log line); what is going on is one status line
 * below them, drawn again a few times a second. Whoever else writes to the terminal calls moon__cli_progress_hide
 * first.
 *
 * QUIET shows errors only; WARN (no terminal) adds warnings; LINES leaves the status line out (a dumb terminal, or
 * --verbose where there is no terminal); LIVE shows all.
 */
#include "term.h"

#include <moonlet/moonlet.h>

typedef enum moon__cli_show { MOON__SHOW_QUIET, MOON__SHOW_WARN, MOON__SHOW_LINES, MOON__SHOW_LIVE } moon__cli_show;

typedef struct moon__cli_progress moon__cli_progress;

MOON_MUST_USE moon_status moon__cli_progress_new(moon__cli_progress **out, const moon__cli_term *term,
                                                 moon__cli_show show, bool verbose);
void moon__cli_progress_free(moon__cli_progress *progress);
void moon__cli_progress_event(moon__cli_progress *progress, const moon_event *event);
/* Milliseconds after which tick wants to be called; -1: never. */
int moon__cli_progress_due(const moon__cli_progress *progress);
void moon__cli_progress_tick(moon__cli_progress *progress);
/* Takes the status line away until the next tick. */
void moon__cli_progress_hide(moon__cli_progress *progress);
/* Somebody else's line (a question) stands on the screen, unfinished, or does no longer: while it does, no status line
 * is drawn. A line that is written all the same ends that line first and takes the mark away: then it is to be shown
 * again. */
void moon__cli_progress_share(moon__cli_progress *progress, bool foreign);
bool moon__cli_progress_shared(const moon__cli_progress *progress);
/* Was this text the last that was streamed onto the screen, and all of it? Then it is there to be read already. */
bool moon__cli_progress_streamed(const moon__cli_progress *progress, const char *text, size_t length);
/* The last line: how the run ended and what it took. */
void moon__cli_progress_end(moon__cli_progress *progress, const moon_result *result);
/* The model that answered last; NULL: none was asked. */
const char *moon__cli_progress_model(const moon__cli_progress *progress);
#endif
