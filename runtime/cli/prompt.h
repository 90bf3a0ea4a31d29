/* SPDX-License-Identifier: MIT */
#ifndef MOON_CLI_PROMPT_H
#define MOON_CLI_PROMPT_H
/*
 * Asking a person on the terminal whether a tool call may run. Calls that wait stand in a queue; the first one is
 * shown, with all of its arguments (made safe, long ones cut with a note), and its answer is read line by line from the
 * terminal when the loop says that there is something to read: nothing here blocks, so the run, Ctrl-C and the clock go
 * on.
 *
 * y: this once. a: this tool, for the rest of the run. n: no, with a reason for the model if one is typed. v: the
 * arguments without cuts, and the question again. The end of the input is a no to everything. What was typed before the
 * question stood there is thrown away: it was no answer to it.
 */
#include "term.h"

#include <moonlet/moonlet.h>

typedef struct moon__cli_prompt moon__cli_prompt;

/* input: the terminal to read from. It is taken over, also on failure, unless it is standard input. */
MOON_MUST_USE moon_status moon__cli_prompt_new(moon__cli_prompt **out, const moon__cli_term *term, int input);
void moon__cli_prompt_free(moon__cli_prompt *prompt);
/* An approval.asked event. */
MOON_MUST_USE moon_status moon__cli_prompt_ask(moon__cli_prompt *prompt, const moon_event *event);
/* The question about this call was answered, maybe from another process: it is not asked any more. */
void moon__cli_prompt_answered(moon__cli_prompt *prompt, const char *call);
/* Is there a question that was not answered? */
bool moon__cli_prompt_waits(const moon__cli_prompt *prompt);
/* Is it on the screen, so that the input is to be watched? */
bool moon__cli_prompt_active(const moon__cli_prompt *prompt);
int moon__cli_prompt_input(const moon__cli_prompt *prompt);
/* Puts the question's last line there again, after others wrote below it. */
void moon__cli_prompt_again(moon__cli_prompt *prompt);
/* Shows the first question that waits, or answers it for a tool that was allowed for good. Not from a callback. */
void moon__cli_prompt_show(moon__cli_prompt *prompt, moon_run *run);
/* The input has something: reads and takes it. Not from a callback. */
void moon__cli_prompt_read(moon__cli_prompt *prompt, moon_run *run);
#endif
