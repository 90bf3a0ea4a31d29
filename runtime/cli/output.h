/* SPDX-License-Identifier: MIT */
#ifndef MOON_CLI_OUTPUT_H
#define MOON_CLI_OUTPUT_H
/*
 * What goes to standard output: the result as text, as one JSON object, or every event as a line of JSON (stream-json),
 * each written as soon as it happens. The last line of a stream is always the root's run.finished, with stop_reason and
 * exit_code beside its body; it is written when the run has ended, so that nothing can come after it.
 *
 * A write that fails is remembered (broken: the errno) and nothing is written after it. EPIPE means that the reader has
 * gone: the run is cancelled and the process ends with 1, without a word. Anything else (a full disk) is reported.
 */
#include "buf.h"

#include <moonlet/moonlet.h>

typedef enum moon__cli_format { MOON__FORMAT_TEXT, MOON__FORMAT_JSON, MOON__FORMAT_STREAM } moon__cli_format;
bool moon__cli_format_parse(const char *word, moon__cli_format *format);

typedef struct moon__cli_output {
    moon__cli_format format;
    int broken;
    moon__buf line; /* scratch */
    /* The root's run.finished, kept back until the result is written. */
    int64_t finished_us;
    uint64_t finished_seq;
    moon__buf finished_body;
} moon__cli_output;

/* How a run ended, or why none began (result NULL). */
typedef struct moon__cli_outcome {
    const char *run, *model; /* NULL: there is none */
    const moon_result *result;
    const char *error; /* of the result, or of what came before it; NULL if it ended well */
    int exit_code;
    bool json; /* the text is meant to be JSON: it is given parsed, as "output" */
} moon__cli_outcome;

void moon__cli_output_init(moon__cli_output *output, moon__cli_format format);
void moon__cli_output_fini(moon__cli_output *output);
/* stream-json: writes the event; else nothing. */
void moon__cli_output_event(moon__cli_output *output, const moon_event *event);
/* Writes the event as a line, whatever the format. */
void moon__cli_output_line(moon__cli_output *output, const moon_event *event);
/* The result in the chosen format. */
void moon__cli_output_result(moon__cli_output *output, const moon__cli_outcome *outcome);
/* Gives up standard output, so that errors a file system reports late are seen; the exit code. */
int moon__cli_output_close(moon__cli_output *output, int exit_code);

/* For commands that only print: writes the text (an incomplete one is an error), frees it, reports; the exit code. */
int moon__cli_print(moon__buf *text);
#endif
