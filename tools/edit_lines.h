/* SPDX-License-Identifier: MIT */
#ifndef MOON_TOOLS_EDIT_LINES_H
#define MOON_TOOLS_EDIT_LINES_H
/* A text as lines that can be compared without regard to whitespace. Lines borrow from the text. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct moon__line {
    const char *p;
    uint32_t length; /* without the line ending */
    uint32_t indent; /* spaces and tabs at the beginning */
    uint64_t hash;   /* of the words, with one space between */
} moon__line;

typedef struct moon__lines {
    moon__line *line;
    size_t count;
    bool ends_with_newline;
} moon__lines;

bool moon__lines_init(moon__lines *lines, const char *text, size_t n); /* false: out of memory */
void moon__lines_fini(moon__lines *lines);
bool moon__line_is_blank(const moon__line *line);
/* Where the lines `old` are in `text`, whitespace apart: the first `room` places (indexes), and how many there are. No
 * place if old is blank. False: out of memory. */
bool moon__lines_find(const moon__lines *text, const moon__lines *old, size_t *at, size_t room, size_t *count);
/* The window of text that is most like old, as line numbers from 1; 0, 0 if nothing is like it. False: out of memory.
 */
bool moon__lines_nearest(const moon__lines *text, const moon__lines *old, size_t *first, size_t *last);
#endif
