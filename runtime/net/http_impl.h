/* SPDX-License-Identifier: MIT */
#ifndef MOON_NET_HTTP_IMPL_H
#define MOON_NET_HTTP_IMPL_H
/*
 * What the files of the HTTP client share.
 *
 *     http.c         the requests: from start() through the lines they wait in to on_done
 *     http_host.c    servers by name, and the gate that makes a burst of requests look a name up once
 *     http_shard.c   multi handles: sockets, timers, finished transfers
 *     http_easy.c    the options of a transfer, and its callbacks
 *     http_error.c   what went wrong, in words
 *
 * A request is always in exactly one list: http->queue (may start), host->waiting (its name is being looked up),
 * http->active (in a multi handle), http->ended (on_done is deferred).
 */
#include "curl_api.h"
#include "http.h"

enum {
    MOON__HTTP_SHARDS = 32,
    MOON__HTTP_MANY = 200, /* transfers: from here on memory counts more than system calls */
    MOON__HTTP_FEW = 32,
};

typedef struct moon__http_list {
    struct moon__http_request *head, *tail;
} moon__http_list;

typedef struct moon__http_host {
    struct moon__http_host *next;
    moon__http_list waiting;
    moon__http_request *asker; /* others wait until it has the address; NULL: nobody asks */
    int64_t known_until_us; /* the address is in libcurl's cache until then; INT64_MAX: there is nothing to look up */
    unsigned requests;
    char port[8];
    char *name;
    char key[]; /* "https://host:port" as it stands in URLs */
} moon__http_host;

/* A transfer handle with what it is set to; kept and used again. */
typedef struct moon__http_easy {
    struct moon__http_easy *next;
    CURL *curl;
    long receive_size, send_size;
    char text[CURL_ERROR_SIZE];
} moon__http_easy;

typedef struct moon__http_shard {
    moon__http *http;
    CURLM *multi;
    int epoll;
    moon__watch *watch;
    moon__timer timer;
    bool kick;                /* libcurl wants to be called now */
    unsigned in_flight, kept; /* kept: connections, idle ones included */
} moon__http_shard;

struct moon__http {
    moon__loop *loop;
    moon__curl_api curl;
    CURLSH *share;
    char *ca_file; /* from the environment; NULL: libcurl's own */
    moon__http_host *hosts;
    moon__http_list queue, active, ended;
    moon__http_shard *shards[MOON__HTTP_SHARDS]; /* NULL until it is needed */
    unsigned in_flight, limit;
    unsigned sockets, kept; /* open now; the sum of what the shards may keep */
    moon__defer pump;       /* starts what is in the queue */
    moon__timer pump_next, sweep;
    int64_t sweep_ms;
    moon__http_easy *idle;
    unsigned n_idle;
};

/* Why we ended a transfer ourselves. */
typedef enum moon__http_stop {
    MOON__HTTP_NOT_STOPPED,
    MOON__HTTP_BY_CALLER, /* on_data returned false */
    MOON__HTTP_TOO_LONG,
    MOON__HTTP_STALLED,
} moon__http_stop;

struct moon__http_request {
    moon__http *http;
    moon__http_list *list;
    moon__http_request *prev, *next;
    moon__http_host *host;
    moon__http_shard *shard; /* while active */
    moon__http_easy *easy;   /* from starting to on_done */
    moon__defer done;
    moon__http_options options; /* url and headers point into this block */
    struct curl_slist *headers;
    int64_t last_us; /* when it was started, or the last byte came */
    size_t received; /* of the body */
    int http_status;
    moon__http_stop stop;
    CURLcode code; /* how it ended */
    long cause;    /* errno */
};

/* http.c */
void moon__http_list_add(moon__http_list *list, moon__http_request *request);
void moon__http_list_drop(moon__http_request *request);
void moon__http_pump(moon__http *http);
/* The transfer is over: takes it from its shard and defers on_done. Not inside libcurl. */
void moon__http_finish(moon__http_request *request, CURLcode code);

/* http_host.c */
/* The host of a URL; the caller counts itself in host->requests. */
MOON_MUST_USE moon_status moon__http_host_find(moon__http_host **out, moon__http *http, const char *url,
                                               moon_error *error);
/* False: the request has been put in line behind a look-up. */
bool moon__http_host_admit(moon__http_request *request);
/* libcurl begins a look-up for this request / has the address, from wherever. Both come inside libcurl. */
void moon__http_host_looks_up(moon__http_request *request);
void moon__http_host_has_address(moon__http_request *request);
/* This request has ended; if it was the asker, another one asks, or all fail as it did. */
void moon__http_host_leave(moon__http_request *request, CURLcode code);
void moon__http_host_free_all(moon__http *http);

/* http_shard.c */
/* The shard for a lane; NULL when memory or descriptors are out. */
moon__http_shard *moon__http_shard_for(moon__http *http, unsigned lane);
CURLMcode moon__http_shard_add(moon__http_shard *shard, moon__http_request *request);
void moon__http_shard_remove(moon__http_request *request);
/* Lets libcurl do what it asked to be called for, and finishes what has ended. */
void moon__http_shard_settle(moon__http_shard *shard);
void moon__http_shard_free(moon__http_shard *shard);
/* Closes the connections of shards that have nothing in flight. */
void moon__http_shards_reclaim(moon__http *http);

/* http_easy.c */
/* Gives the request a handle, set up for it. */
MOON_MUST_USE CURLcode moon__http_easy_take(moon__http_request *request);
void moon__http_easy_return(moon__http_request *request);
void moon__http_easy_free_all(moon__http *http);

/* http_error.c */
void moon__http_describe(const moon__http_request *request, moon__http_response *response);
#endif
