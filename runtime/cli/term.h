/* SPDX-License-Identifier: MIT */
#ifndef MOON_CLI_TERM_H
#define MOON_CLI_TERM_H
/*
 * The terminal, as a place to write lines to. What comes from models, tools, files and scripts is never written to it
 * raw: it goes through moon__cli_fit (one line, cut to a width) or moon__term_safe (many lines).
 */
#include "buf.h"

typedef struct moon__cli_term {
    int fd;
    bool tty;
    bool live;   /* the cursor can be moved: a terminal that is not "dumb" */
    bool colour; /* live, and neither NO_COLOR nor --no-color */
    bool utf8;   /* the locale's characters; else signs of our own are ASCII */
} moon__cli_term;

void moon__cli_term_init(moon__cli_term *term, int fd, bool no_colour);
/* Columns, as the terminal is now; 80 if it does not say. */
unsigned moon__cli_columns(const moon__cli_term *term);

/* Appends text as part of one line: control characters shown, line ends as a space, cut to at most `columns` with an
 * ellipsis. Returns the columns it takes. */
unsigned moon__cli_fit(moon__buf *buf, const moon__cli_term *term, const char *text, size_t n, unsigned columns);
/* Appends SGR codes ("1", "31"), or nothing where there is no colour; "" resets. */
void moon__cli_sgr(moon__buf *buf, const moon__cli_term *term, const char *codes);

/* Writes all, however often the call is interrupted or cut short. 0, or an errno. */
int moon__cli_write(int fd, const char *bytes, size_t n);
/* "moonlet: …\n" on standard error, made safe. */
void moon__cli_error(const char *format, ...) MOON_PRINTF(1, 2);
void moon__cli_notice(void *ctx, const char *text); /* the same, as moon_runtime_options.notice */

/* "950", "12.4k", "3.1M" */
void moon__cli_put_count(moon__buf *buf, int64_t n);
/* "12 ms", "3.4 s", "2 min 05 s" */
void moon__cli_put_time(moon__buf *buf, int64_t ms);
#endif
