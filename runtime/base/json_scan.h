/* SPDX-License-Identifier: MIT */
#ifndef MOON_BASE_JSON_SCAN_H
#define MOON_BASE_JSON_SCAN_H
/* The grammar check that comes before cJSON; of json.c and json_part.c alone. */
#include "json.h"

/* What the check saw that the text's reader has to care for. */
typedef struct moon__json_scan {
    bool broken_text; /* only with MOON__JSON_REPAIR: bytes that are not UTF-8, lone surrogates, \u0000 */
    bool twins;       /* an object may have two members of the same name; false: none has */
} moon__json_scan;

MOON_MUST_USE moon_status moon__json_scan_text(moon__json_scan *scan, const char *text, size_t length, unsigned flags,
                                               moon_error *error);
/* The value that a text begins with: *length is its bytes, or on failure those before the one that is wrong. What the
 * error says about bytes counts from the start of the text. */
MOON_MUST_USE moon_status moon__json_scan_value(size_t *length, const char *text, size_t n, moon_error *error);
/* Appends a text that was scanned, with U+FFFD for what was broken. */
void moon__json_repair(moon__buf *buf, const char *text, size_t length);
#endif
