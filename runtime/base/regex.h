/* SPDX-License-Identifier: MIT */
#ifndef MOON_BASE_REGEX_H
#define MOON_BASE_REGEX_H
/* Patterns of JSON Schema: PCRE2 with the ECMAScript spellings that it knows, and with bounded work. A compiled pattern
 * is constant, so several threads may match with it. */
#include "buf.h"

typedef struct moon__regex moon__regex;

/* pattern is UTF-8. MOON_EINVAL: not a pattern; the error says what and where. */
MOON_MUST_USE moon_status moon__regex_new(moon__regex **out, const char *pattern, size_t n, moon_error *error);
void moon__regex_free(moon__regex *regex);
/* Is there a match anywhere in text (UTF-8)? MOON_OK, MOON_ENOTFOUND, MOON_ELIMIT when it takes too long to tell. */
MOON_MUST_USE moon_status moon__regex_find(const moon__regex *regex, const char *text, size_t n);
#endif
