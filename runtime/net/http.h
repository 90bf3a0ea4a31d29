/* SPDX-License-Identifier: MIT */
#ifndef MOON_NET_HTTP_H
#define MOON_NET_HTTP_H
/*
 * HTTP requests on libcurl's multi interface. libcurl is opened (dlopen) at the first request: loading its libraries
 * costs more than all the rest of a short run.
 *
 * Shards. One multi handle walks all its connections of a host for each request, so many small ones are used: at most
 * 1,500 requests in flight each, chosen by `lane`, so that a conversation stays where its connection is. Each shard has
 * an epoll descriptor of its own with its sockets, watched by the loop; a turn handles at most a few events of a shard,
 * so that ten thousand streams do not hold up timers.
 *
 * Admission. New transfers are started a few per turn; over the limit of descriptors they wait in line. While a host
 * name is being looked up for the first time, other requests to it wait, so that a burst makes one look-up.
 *
 * Callbacks come from within the loop. on_data comes inside libcurl: it must not start or cancel requests; it ends its
 * own by returning false. on_done comes outside and may do anything; the request is freed after it.
 */
#include "loop.h"

typedef struct moon__http moon__http;
typedef struct moon__http_request moon__http_request;

typedef struct moon__http_response {
    moon_status status; /* MOON_OK: a whole response came, whatever its HTTP status */
    int http;           /* HTTP status, 0 if there was none */
    bool partial;       /* the connection ended in the middle of the body */
    moon_error error;
} moon__http_response;

typedef struct moon__http_options {
    const char *url;            /* copied */
    const char *const *headers; /* n_headers lines "Name: value"; copied */
    size_t n_headers;
    const char *body; /* POST if not NULL, else GET. NOT copied: untouched and alive until on_done */
    size_t body_length;
    unsigned lane;     /* requests of one conversation share it */
    uint32_t first_ms; /* longest wait for the response's first byte; 0: 300,000 */
    uint32_t stall_ms; /* longest silence after that; 0: 120,000 */
    size_t body_max;   /* bytes of response body; 0: 256 MiB */
    /* A response header, name lower-case, value trimmed; may be NULL. */
    void (*on_header)(void *ctx, const char *name, const char *value);
    bool (*on_data)(void *ctx, int http_status, const char *bytes, size_t n);
    void (*on_done)(void *ctx, const moon__http_response *response);
    void *ctx;
} moon__http_options;

MOON_MUST_USE moon_status moon__http_new(moon__http **out, moon__loop *loop, moon_error *error);
void moon__http_free(moon__http *http); /* cancels what is in flight, without callbacks */
MOON_MUST_USE moon_status moon__http_start(moon__http_request **out, moon__http *http,
                                           const moon__http_options *options, moon_error *error);
/* Drops it: no callback comes after this. Not from on_data or on_header. */
void moon__http_cancel(moon__http_request *request);
/* Opens libcurl, for `doctor`: its version text, or an error. */
MOON_MUST_USE moon_status moon__http_version(moon__http *http, const char **text, moon_error *error);
#endif
