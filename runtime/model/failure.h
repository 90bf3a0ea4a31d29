/* SPDX-License-Identifier: MIT */
#ifndef MOON_MODEL_FAILURE_H
#define MOON_MODEL_FAILURE_H
/*
 * What to tell when a server gives no answer, and whether asking again may help. Texts say what to do; what a server
 * wrote is quoted short and without control characters, and never with the key in it.
 */
#include "ids.h"

/* Copies text as one line: cut to fit, control characters dropped. out is NUL-terminated UTF-8. */
void moon__plain(char *out, size_t room, const char *text, size_t n);
/* Writes "***" over every occurrence of the key, also where the end of text cuts one. key may be NULL. */
void moon__hide_key(char *text, const char *key);

/* Who was asked; for the texts. url is without user and password. */
typedef struct moon__asked {
    const char *url, *model;
    const char *key;      /* NULL: none was sent */
    const char *key_name; /* the variable it comes from, or would; NULL: unknown */
} moon__asked;

/* Fills error for an HTTP status that is not 2xx: MOON_EPROVIDER with that cause. said is the server's own message, ""
 * if it gave none; known_form: the body was an error of this wire format. */
void moon__http_failure(moon_error *error, const moon__asked *asked, int http, const char *said, bool known_form);

/* ---- asking again ---- */

/* What response headers say about it. */
typedef struct moon__hints {
    int should;         /* x-should-retry: 1 true, 0 false, -1 not given */
    int64_t after_ms;   /* retry-after-ms; -1: not given */
    int64_t after_s_ms; /* retry-after, in milliseconds; -1: not given */
} moon__hints;
void moon__hints_init(moon__hints *hints);
void moon__hints_header(moon__hints *hints, const char *name, const char *value, int64_t wall_us);
/* How long the server asks to wait; -1 if it does not say. */
int64_t moon__hints_wait_ms(const moon__hints *hints);

enum { MOON__WAIT_MAX_MS = 60000 }; /* a server that asks for more is not waited for */

/* May the same request succeed later? */
bool moon__status_passes(int http);
/* The wait before attempt + 1 (attempt counts from 0): doubling from 0.5 s to 8 s, less up to a quarter at random. */
int64_t moon__backoff_ms(int attempt, moon__random *random);
#endif
