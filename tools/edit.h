/* SPDX-License-Identifier: MIT */
#ifndef MOON_TOOLS_EDIT_H
#define MOON_TOOLS_EDIT_H
/*
 * Replacing one piece of a text by another, as file.edit does it; pure, no I/O. First `old` is looked for byte by byte
 * (with the text's own line endings). Only if it is nowhere, whole lines are compared without regard to their
 * whitespace at the ends and to the length of whitespace between; there must be one such place, and `fresh` is indented
 * as that place is. Line endings of the text are kept. Time is linear in the lengths, but for the search of the nearest
 * region, which has a fixed budget.
 */
#include "bytes.h"

typedef struct moon__edit {
    const char *text;
    size_t text_length;
    const char *old; /* not empty */
    size_t old_length;
    const char *fresh;
    size_t fresh_length;
    bool all; /* every exact match */
} moon__edit;

typedef enum moon__edit_outcome {
    MOON__EDIT_DONE,
    MOON__EDIT_SAME, /* the result would be what is there */
    MOON__EDIT_MANY,
    MOON__EDIT_NONE,
    MOON__EDIT_NO_MEMORY, /* or the result is over 64 MiB */
} moon__edit_outcome;

enum { MOON__EDIT_SHOWN = 5 };

typedef struct moon__edit_result {
    moon__bytes text;               /* done: the new text; fini it in any case */
    bool tolerant;                  /* done, many: whitespace was disregarded */
    size_t count;                   /* places found */
    size_t lines[MOON__EDIT_SHOWN]; /* many: where the first of them begin */
    size_t first, last; /* lines of the old text. done: what was replaced (first place); none: the nearest region, 0:
                           there is none */
    size_t fresh_lines; /* done: so many lines stand there now */
} moon__edit_result;

moon__edit_outcome moon__edit_apply(const moon__edit *edit, moon__edit_result *result);
#endif
