/* SPDX-License-Identifier: MIT */
#ifndef MOON_MODEL_REPLY_H
#define MOON_MODEL_REPLY_H
/*
 * One HTTP response, from its bytes to a verdict: a whole answer (gathered in answer.h's moon__gather), a failure that
 * may pass, or one that will not. No I/O.
 */
#include "answer.h"
#include "failure.h"
#include "http.h"
#include "sse.h"

enum {
    MOON__REPLY_EVENT = 32 << 20, /* bytes of one event, or of a whole JSON body */
    MOON__REPLY_FAULT = 64 << 10, /* bytes kept of the body of an error */
};

/* What the body is. Its first byte tells, not its content type: servers mislabel. */
typedef enum moon__reply_kind {
    MOON__REPLY_NONE, /* nothing has come yet */
    MOON__REPLY_EVENTS,
    MOON__REPLY_JSON,
    MOON__REPLY_PAGE,
    MOON__REPLY_REFUSAL, /* the HTTP status is not 2xx */
} moon__reply_kind;

typedef struct moon__reply {
    const moon_provider *provider;
    moon__gather *gather;
    moon_sink sink;
    moon__hints hints;
    moon__reply_kind kind;
    int http; /* status that came with the body */
    moon__sse sse;
    moon__buf body; /* of a JSON body or a refusal */
    char type[64];  /* content type */
    bool events;    /* an event has come */
    bool again;     /* the failure in error may pass */
    moon_error error;
} moon__reply;

void moon__reply_init(moon__reply *reply, const moon_provider *provider, moon__gather *gather);
void moon__reply_fini(moon__reply *reply);
void moon__reply_header(moon__reply *reply, const char *name, const char *value, int64_t wall_us);
/* False: no more is wanted, it has failed (or enough of an error is there). */
bool moon__reply_data(moon__reply *reply, int http, const char *bytes, size_t n);
/* After the last byte. MOON_OK: a whole answer is gathered. Else MOON_ENET, MOON_EPROVIDER or MOON_ENOMEM with a text,
 * and whether asking again may help. */
MOON_MUST_USE moon_status moon__reply_judge(moon__reply *reply, const moon__http_response *response,
                                            const moon__asked *asked, moon_error *error, bool *again);
#endif
