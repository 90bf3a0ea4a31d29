/* SPDX-License-Identifier: MIT */
#ifndef MOON_NET_SSE_H
#define MOON_NET_SSE_H
/* Server-sent events (WHATWG HTML, "Server-sent events", section 9.2.6): CR, LF and CRLF, BOM, comments, multi-line
 * data. Cuts anywhere give the same events. `retry:` and `id:` are read and dropped. */
#include "buf.h"

typedef struct moon__sse {
    moon__buf line; /* of an incomplete line */
    moon__buf data; /* of the event so far */
    char event[32];
    bool has_data, skip_lf, started;
} moon__sse;

/* max: the longest line and the longest event, in bytes. */
void moon__sse_init(moon__sse *sse, size_t max);
void moon__sse_fini(moon__sse *sse);
void moon__sse_reset(moon__sse *sse);
/* Feeds bytes; fn is called once per event with its type ("" if none is named) and data (NUL-terminated). fn returns
 * false to stop: feed returns MOON_ECANCELLED. MOON_ELIMIT: a line or event is over the ceiling. */
MOON_MUST_USE moon_status moon__sse_feed(moon__sse *sse, const char *bytes, size_t n,
                                         bool (*fn)(void *ctx, const char *event, const char *data, size_t n),
                                         void *ctx);
#endif
