/* SPDX-License-Identifier: MIT */
#ifndef MOON_BASE_JSON_PART_H
#define MOON_BASE_JSON_PART_H
/*
 * JSON that is not all of a text: a value whose end has not come yet, and a value with prose around it. Both take time
 * linear in the text, whatever it holds, and no memory but the output.
 */
#include "json.h"

/*
 * Completes the beginning of a value: what is open is closed, so that any prefix of a JSON text gives JSON, or needs
 * more. A string is given as far as it goes, up to the last whole character. A number at the end of the text is left
 * out, because its next digit would make it another one; so is a name without its value, and a word not yet whole.
 *
 * MOON_OK: *out (appended to) has the text so far, still to be parsed: what is within strings and numbers is not
 * checked here. *whole: the value has ended. MOON_ENOTFOUND: there is no value yet. MOON_EPARSE: no text that begins so
 * is JSON; the error says where.
 */
MOON_MUST_USE moon_status moon__json_complete(moon__buf *out, const char *text, size_t n, bool *whole,
                                              moon_error *error);

typedef struct moon__json_place {
    size_t at, n;
} moon__json_place;

enum { MOON__JSON_OBJECTS = 1, MOON__JSON_ARRAYS = 2 }; /* what to look for */

/*
 * Finds the first object or array in a text. Brackets that begin no JSON are passed over with all that they enclose, so
 * that a piece of a broken value is never taken for the whole. MOON_EPARSE: there is none; the error tells about the
 * attempt that came farthest.
 */
MOON_MUST_USE moon_status moon__json_find(moon__json_place *out, const char *text, size_t n, unsigned kinds,
                                          moon_error *error);
#endif
