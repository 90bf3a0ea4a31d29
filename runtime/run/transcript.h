/* SPDX-License-Identifier: MIT */
#ifndef MOON_RUN_TRANSCRIPT_H
#define MOON_RUN_TRANSCRIPT_H
/*
 * The messages of a conversation in no model's format, without the instructions: kept where a conversation may have to
 * be told anew, to another agent or with other instructions. Each message is one piece of memory, and never changed.
 */
#include "json.h"

typedef struct moon__said {
    moon_message message; /* its text stands in storage */
    struct moon__said *next;
    char *storage;
} moon__said;

typedef struct moon__transcript {
    moon__said *first, *last;
    size_t n, bytes;
} moon__transcript;

enum { MOON__TRANSCRIPT_MAX = 256 << 20 }; /* bytes of text in all */

/* One that is all zero is empty. */
void moon__transcript_fini(moon__transcript *transcript); /* empty again, and good for use */
/* Copies a message; MOON_ENOMEM, or MOON_ELIMIT. */
MOON_MUST_USE moon_status moon__transcript_add(moon__transcript *transcript, const moon_message *message);
/* As a list of { role, content, tool_calls = { { id, name, arguments } }, tool_call_id, is_error, reasoning };
 * arguments are a JSON value, or a string where the model wrote none. */
void moon__transcript_write(moon__jw *w, const char *name, const moon__transcript *transcript);
/* Adds the messages of such a list. MOON_EINVAL: one of them is no message (the error says which and why), or some call
 * has not exactly one answer, right after the message that made it. */
MOON_MUST_USE moon_status moon__transcript_read(moon__transcript *transcript, const moon_json *list, moon_error *error);
#endif
