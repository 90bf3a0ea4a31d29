/* SPDX-License-Identifier: MIT */
/*
 * Shards: multi handles with an epoll descriptor each. libcurl says which sockets it waits for (on_socket) and when it
 * wants to be called at the latest (on_timeout); the loop watches the epoll descriptor and has one timer a shard. Both
 * callbacks come inside libcurl, so they only take note.
 *
 * Lanes go to shards in blocks, so that a few conversations share one and its connections, and thousands spread.
 */
#include "http_impl.h"

#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

enum {
    LANES = 256,      /* in a block */
    SHARD_MAX = 1500, /* requests in flight, as long as another shard has room */
    EVENTS_PER_TURN = 16,
    KICKS = 8, /* calls in a row without a turn of the loop between */
    CONNECTIONS_MIN = 16,
};

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *ctx, void *known) {
    moon__http_shard *shard = ctx;
    (void)easy;
    struct epoll_event event = {.data.fd = fd};
    if (what & CURL_POLL_IN) event.events |= EPOLLIN;
    if (what & CURL_POLL_OUT) event.events |= EPOLLOUT;
    if (what == CURL_POLL_REMOVE) {
        epoll_ctl(shard->epoll, EPOLL_CTL_DEL, fd, NULL);
        return 0;
    }
    if (epoll_ctl(shard->epoll, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event)) return -1;
    if (!known) shard->http->curl.multi_assign(shard->multi, fd, shard);
    return 0;
}

static int on_timeout(CURLM *multi, long ms, void *ctx) {
    moon__http_shard *shard = ctx;
    (void)multi;
    shard->kick = ms == 0;
    moon__timer_stop(shard->http->loop, &shard->timer);
    return ms > 0 && moon__timer_start(shard->http->loop, &shard->timer, (int64_t)ms * 1000) ? -1 : 0;
}

/* ---- what libcurl has done ---- */

static void take_ended(moon__http_shard *shard) {
    const moon__curl_api *curl = &shard->http->curl;
    CURLMsg *message;
    int left;
    while ((message = curl->multi_info_read(shard->multi, &left))) {
        moon__http_request *request = NULL;
        CURLcode code = message->data.result;
        if (message->msg != CURLMSG_DONE) continue;
        curl->easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &request);
        moon__http_finish(request, code);
    }
}

void moon__http_shard_settle(moon__http_shard *shard) {
    int running;
    for (int i = 0; i < KICKS && shard->kick; i++) {
        shard->kick = false;
        shard->http->curl.multi_socket_action(shard->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    }
    take_ended(shard);
    /* It wants to go on at once: after a turn, so that others get theirs. Without memory for the timer it goes on now.
     */
    while (shard->kick && moon__timer_start(shard->http->loop, &shard->timer, 0)) {
        shard->kick = false;
        shard->http->curl.multi_socket_action(shard->multi, CURL_SOCKET_TIMEOUT, 0, &running);
        take_ended(shard);
    }
}

static void on_timer(void *ctx) {
    moon__http_shard *shard = ctx;
    shard->kick = true;
    moon__http_shard_settle(shard);
}

static void on_ready(void *ctx, int events) {
    moon__http_shard *shard = ctx;
    struct epoll_event ready[EVENTS_PER_TURN];
    int n = epoll_wait(shard->epoll, ready, EVENTS_PER_TURN, 0), running;
    (void)events;
    for (int i = 0; i < n; i++) {
        int what = 0;
        if (ready[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) what |= CURL_CSELECT_IN;
        if (ready[i].events & EPOLLOUT) what |= CURL_CSELECT_OUT;
        if (ready[i].events & EPOLLERR) what |= CURL_CSELECT_ERR;
        shard->http->curl.multi_socket_action(shard->multi, ready[i].data.fd, what, &running);
    }
    moon__http_shard_settle(shard);
}

/* ---- requests in and out ---- */

/* Lets the shard keep as many connections as it needs at a time, as far as descriptors go. Libcurl closes idle ones
 * over it. It only grows: a burst comes again. */
static void keep_connections(moon__http_shard *shard) {
    moon__http *http = shard->http;
    if (shard->in_flight <= shard->kept) return;
    unsigned others = http->kept - shard->kept, most = http->limit > others ? http->limit - others : 0;
    unsigned keep = shard->kept * 2 < most ? shard->kept * 2 : most;
    if (keep < CONNECTIONS_MIN) keep = CONNECTIONS_MIN;
    if (keep <= shard->kept) return;
    http->kept = others + keep;
    shard->kept = keep;
    http->curl.multi_setopt(shard->multi, CURLMOPT_MAXCONNECTS, (long)keep);
}

CURLMcode moon__http_shard_add(moon__http_shard *shard, moon__http_request *request) {
    CURLMcode code = shard->http->curl.multi_add_handle(shard->multi, request->easy->curl);
    if (code) return code;
    request->shard = shard;
    shard->in_flight++;
    shard->http->in_flight++;
    keep_connections(shard);
    return code;
}

void moon__http_shard_remove(moon__http_request *request) {
    moon__http_shard *shard = request->shard;
    if (!shard) return;
    shard->http->curl.multi_remove_handle(shard->multi, request->easy->curl);
    request->shard = NULL;
    shard->in_flight--;
    shard->http->in_flight--;
}

/* ---- life ---- */

static moon__http_shard *make(moon__http *http) {
    moon__http_shard *shard = calloc(1, sizeof *shard);
    if (!shard) return NULL;
    *shard = (moon__http_shard){.http = http, .timer = {.fn = on_timer, .ctx = shard}};
    shard->epoll = epoll_create1(EPOLL_CLOEXEC);
    shard->multi = shard->epoll >= 0 ? http->curl.multi_init() : NULL;
    if (shard->multi && !moon__watch_new(&shard->watch, http->loop, shard->epoll, MOON__READ, on_ready, shard, NULL)) {
        http->curl.multi_setopt(shard->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
        http->curl.multi_setopt(shard->multi, CURLMOPT_SOCKETDATA, shard);
        http->curl.multi_setopt(shard->multi, CURLMOPT_TIMERFUNCTION, on_timeout);
        http->curl.multi_setopt(shard->multi, CURLMOPT_TIMERDATA, shard);
        return shard;
    }
    moon__http_shard_free(shard);
    return NULL;
}

void moon__http_shard_free(moon__http_shard *shard) {
    if (!shard) return;
    /* First, since it says goodbye to its sockets and may set the timer. */
    if (shard->multi) shard->http->curl.multi_cleanup(shard->multi);
    moon__timer_stop(shard->http->loop, &shard->timer);
    moon__watch_free(shard->watch);
    if (shard->epoll >= 0) close(shard->epoll);
    shard->http->kept -= shard->kept;
    free(shard);
}

void moon__http_shards_reclaim(moon__http *http) {
    for (size_t i = 0; i < MOON__HTTP_SHARDS; i++) {
        if (!http->shards[i] || http->shards[i]->in_flight) continue;
        moon__http_shard_free(http->shards[i]);
        http->shards[i] = NULL;
    }
}

moon__http_shard *moon__http_shard_for(moon__http *http, unsigned lane) {
    unsigned first = lane / LANES % MOON__HTTP_SHARDS, at = first;
    while (http->shards[at] && http->shards[at]->in_flight >= SHARD_MAX) {
        at = (at + 1) % MOON__HTTP_SHARDS;
        if (at == first) break; /* all are full */
    }
    if (!http->shards[at]) http->shards[at] = make(http);
    return http->shards[at];
}
