/* SPDX-License-Identifier: MIT */
#ifndef MOON_BASE_JSON_H
#define MOON_BASE_JSON_H
/*
 * Strict JSON (RFC 8259) on cJSON, whose own parser takes more than JSON and loses some of it: the text is checked
 * first (UTF-8, number and string grammar, nothing after the value, depth), then parsed. moon_json is a cJSON node;
 * only json.c knows. Reading functions stand in <moonlet/tool.h>.
 */
#include "buf.h"

enum {
    MOON__JSON_DEPTH = 200, /* deeper nesting is refused */
    MOON__JSON_REPAIR =
        1 << 0, /* bytes that are not UTF-8, lone surrogates and \u0000 become U+FFFD instead of an error */
};

/* On MOON_EPARSE the error says what and at which byte. The tree is the caller's: moon__json_free. Of members with the
 * same name the first is kept, for every reader. Integers over 2^53 lose digits, so 2^53 + 1 reads as 2^53. */
MOON_MUST_USE moon_status moon__json_parse(moon_json **out, const char *text, size_t length, unsigned flags,
                                           moon_error *error);
void moon__json_free(moon_json *json);
/* A string value that borrows its text; NULL when out of memory. */
moon_json *moon__json_borrow_text(const char *text);
/* Compact text of a value, members in their order. */
void moon__json_print(moon__buf *buf, const moon_json *value);
/* The same with members sorted by name: equal values give equal text. */
void moon__json_print_canonical(moon__buf *buf, const moon_json *value);
/* For people and for diffs: containers down to that many levels with a member or element a line, what is deeper
 * compact. Members in their order. */
void moon__json_print_lines(moon__buf *buf, const moon_json *value, unsigned levels);
/* Checks text without parsing it, as moon__json_parse without flags does. MOON_OK or MOON_EPARSE. */
MOON_MUST_USE moon_status moon__json_check(const char *text, size_t length, moon_error *error);

/* A writer that keeps commas and nesting right. Names are NULL inside arrays and at the top. What would not be JSON (a
 * name that is missing or too many, a second value at the top, an end too many) sets MOON_EINVAL in the buffer, a depth
 * over 63 MOON_ELIMIT. Numbers that are not finite become null. */
typedef struct moon__jw {
    moon__buf *buf;
    unsigned depth;
    uint64_t has_member; /* bit per depth, for the comma; depth is at most 63 */
    uint64_t is_array;
} moon__jw;
void moon__jw_init(moon__jw *w, moon__buf *buf);
void moon__jw_object(moon__jw *w, const char *name);
void moon__jw_array(moon__jw *w, const char *name);
void moon__jw_end(moon__jw *w);
void moon__jw_str(moon__jw *w, const char *name, const char *text, size_t n);
void moon__jw_int(moon__jw *w, const char *name, int64_t value);
void moon__jw_num(moon__jw *w, const char *name, double value);
void moon__jw_bool(moon__jw *w, const char *name, bool value);
void moon__jw_null(moon__jw *w, const char *name);
void moon__jw_raw(moon__jw *w, const char *name, const char *json, size_t n); /* text that is JSON already */
#endif
