/* SPDX-License-Identifier: MIT */
/* Requests: from start() through the lines they wait in to on_done. http_impl.h says which file does what. */
#include "http_impl.h"
#include "text.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum {
    STARTS_PER_TURN = 16,
    RESERVED_DESCRIPTORS = 256, /* for all but connections: files, children, shards */
    FIRST_MS = 300000,
    STALL_MS = 120000,
    SWEEP_MS = 1000,
};
static const size_t body_max_default = (size_t)256 << 20;

/* ---- lists ---- */

void moon__http_list_add(moon__http_list *list, moon__http_request *request) {
    request->list = list;
    request->next = NULL;
    request->prev = list->tail;
    *(list->tail ? &list->tail->next : &list->head) = request;
    list->tail = request;
}

void moon__http_list_drop(moon__http_request *request) {
    moon__http_list *list = request->list;
    if (!list) return;
    *(request->prev ? &request->prev->next : &list->head) = request->next;
    *(request->next ? &request->next->prev : &list->tail) = request->prev;
    request->list = NULL;
}

/* ---- silence ---- */

static int64_t limit_ms(const moon__http_request *request) {
    return request->http_status ? request->options.stall_ms : request->options.first_ms;
}

/* Looks often enough for the shortest limit, at most once a second otherwise. */
static int64_t sweep_step(const moon__http_request *request, int64_t step_ms) {
    int64_t first = request->options.first_ms / 4, stall = request->options.stall_ms / 4;
    int64_t least = first < stall ? first : stall;
    if (least < 10) least = 10;
    return least < step_ms ? least : step_ms;
}

static void sweep(void *ctx) {
    moon__http *http = ctx;
    int64_t now = moon__loop_now(http->loop), step = SWEEP_MS;
    for (moon__http_request *request = http->active.head, *next; request; request = next) {
        next = request->next;
        step = sweep_step(request, step);
        if (now - request->last_us < limit_ms(request) * 1000) continue;
        request->stop = MOON__HTTP_STALLED;
        moon__http_finish(request, CURLE_OPERATION_TIMEDOUT);
    }
    http->sweep_ms = step;
    /* Cannot fail: the timer that has just fired left its place in the heap. */
    if (http->active.head && moon__timer_start(http->loop, &http->sweep, step * 1000)) return;
}

static moon_status watch_silence(moon__http_request *request) {
    moon__http *http = request->http;
    int64_t step = sweep_step(request, http->sweep.at ? http->sweep_ms : SWEEP_MS);
    if (http->sweep.at && step == http->sweep_ms) return MOON_OK;
    http->sweep_ms = step;
    return moon__timer_start(http->loop, &http->sweep, step * 1000);
}

/* ---- starting ---- */

static CURLcode launch(moon__http_request *request) {
    moon__http_shard *shard = moon__http_shard_for(request->http, request->options.lane);
    if (!shard) return CURLE_FAILED_INIT;
    if (watch_silence(request)) return CURLE_OUT_OF_MEMORY;
    request->last_us = moon__loop_now(request->http->loop);
    CURLcode code = moon__http_easy_take(request);
    if (!code && moon__http_shard_add(shard, request)) code = CURLE_OUT_OF_MEMORY;
    if (!code) moon__http_list_add(&request->http->active, request);
    return code;
}

static void settle_all(moon__http *http) {
    for (size_t i = 0; i < MOON__HTTP_SHARDS; i++)
        if (http->shards[i] && http->shards[i]->kick) moon__http_shard_settle(http->shards[i]);
}

static void pump(void *ctx) {
    moon__http *http = ctx;
    moon__http_request *request;
    int started = 0;
    if (http->queue.head && http->sockets >= http->limit) moon__http_shards_reclaim(http);
    while (started < STARTS_PER_TURN && http->in_flight < http->limit && (request = http->queue.head)) {
        moon__http_list_drop(request);
        if (!moon__http_host_admit(request)) continue;
        CURLcode code = launch(request);
        if (code) moon__http_finish(request, code);
        started++;
    }
    settle_all(http);
    if (!http->queue.head || http->in_flight >= http->limit) return;
    /* The rest in the next turn; without memory for the timer, in this one. */
    if (moon__timer_start(http->loop, &http->pump_next, 0)) moon__http_pump(http);
}

void moon__http_pump(moon__http *http) {
    if (!http->pump_next.at) moon__defer_call(http->loop, &http->pump);
}

/* ---- ending ---- */

static void dispose(moon__http_request *request) {
    moon__http *http = request->http;
    moon__http_shard_remove(request);
    moon__http_easy_return(request);
    moon__http_list_drop(request);
    moon__defer_cancel(http->loop, &request->done);
    request->host->requests--;
    moon__loop_release(http->loop);
    free(request);
}

static void deliver(void *ctx) {
    moon__http_request *request = ctx;
    moon__http_response response;
    moon__http_describe(request, &response);
    void (*on_done)(void *, const moon__http_response *) = request->options.on_done;
    ctx = request->options.ctx;
    dispose(request);
    on_done(ctx, &response);
}

void moon__http_finish(moon__http_request *request, CURLcode code) {
    moon__http *http = request->http;
    request->code = code;
    if (code && request->easy) http->curl.easy_getinfo(request->easy->curl, CURLINFO_OS_ERRNO, &request->cause);
    moon__http_shard_remove(request);
    moon__http_list_drop(request);
    moon__http_list_add(&http->ended, request);
    moon__defer_call(http->loop, &request->done);
    moon__http_host_leave(request, code);
    if (http->queue.head) moon__http_pump(http);
}

void moon__http_cancel(moon__http_request *request) {
    moon__http *http = request->http;
    moon__http_shard_remove(request);
    moon__http_list_drop(request);
    moon__http_host_leave(request, CURLE_ABORTED_BY_CALLBACK);
    dispose(request);
    if (http->queue.head) moon__http_pump(http);
}

/* ---- requests ---- */

/* One block: the request, libcurl's list of headers, and the texts of both. */
static moon__http_request *copy_request(const moon__http_options *options) {
    static const char expect[] = "Expect:"; /* libcurl would wait for 100 Continue before a large body */
    size_t n = options->n_headers, size = sizeof(moon__http_request) + (n + 1) * sizeof(struct curl_slist);
    size_t texts = strlen(options->url) + 1 + sizeof expect;
    for (size_t i = 0; i < n; i++) texts += strlen(options->headers[i]) + 1;
    moon__http_request *request = malloc(size + texts);
    if (!request) return NULL;
    *request = (moon__http_request){.options = *options, .headers = (struct curl_slist *)(request + 1)};
    char *text = (char *)request + size;
    for (size_t i = 0; i <= n; i++) {
        const char *line = i < n ? options->headers[i] : expect;
        request->headers[i].data = text;
        request->headers[i].next = i < n ? &request->headers[i + 1] : NULL;
        text = stpcpy(text, line) + 1;
    }
    memcpy(text, options->url, strlen(options->url) + 1);
    request->options.url = text;
    request->options.headers = NULL;
    if (!options->first_ms) request->options.first_ms = FIRST_MS;
    if (!options->stall_ms) request->options.stall_ms = STALL_MS;
    if (!options->body_max) request->options.body_max = body_max_default;
    return request;
}

static moon_status check_headers(const moon__http_options *options, moon_error *error) {
    for (size_t i = 0; i < options->n_headers; i++)
        if (strpbrk(options->headers[i], "\r\n"))
            return moon_error_set(error, MOON_EINVAL, "header %zu of the request is more than one line", i + 1);
    return MOON_OK;
}

static moon_status open_curl(moon__http *http, moon_error *error) {
    if (http->curl.library) return MOON_OK;
    moon_status status = moon__curl_open(&http->curl, error);
    if (status) return status;
    if ((http->share = http->curl.share_init())) {
        http->curl.share_setopt(http->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_DNS);
        http->curl.share_setopt(http->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
        return MOON_OK;
    }
    moon__curl_close(&http->curl);
    return moon_error_set(error, MOON_ENOMEM, "out of memory");
}

moon_status moon__http_start(moon__http_request **out, moon__http *http, const moon__http_options *options,
                             moon_error *error) {
    moon__http_host *host;
    *out = NULL;
    moon_status status = open_curl(http, error);
    if (!status) status = check_headers(options, error);
    if (!status) status = moon__http_host_find(&host, http, options->url, error);
    if (status) return status;
    moon__http_request *request = copy_request(options);
    if (!request) return moon_error_set(error, MOON_ENOMEM, "out of memory");
    request->http = http;
    request->host = host;
    request->done = (moon__defer){.fn = deliver, .ctx = request};
    host->requests++;
    moon__loop_hold(http->loop);
    moon__http_list_add(&http->queue, request);
    moon__http_pump(http);
    *out = request;
    return MOON_OK;
}

/* ---- life ---- */

/* Transfers at a time: what the process may open, less what others need. */
static unsigned transfer_limit(void) {
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files)) return 16;
    rlim_t n = files.rlim_cur == RLIM_INFINITY || files.rlim_cur > 1 << 20 ? 1 << 20 : files.rlim_cur;
    return n < RESERVED_DESCRIPTORS + 16 ? 16 : (unsigned)(n - RESERVED_DESCRIPTORS);
}

moon_status moon__http_new(moon__http **out, moon__loop *loop, moon_error *error) {
    moon__http *http = calloc(1, sizeof *http);
    *out = http;
    if (!http) return moon_error_set(error, MOON_ENOMEM, "out of memory");
    http->loop = loop;
    http->limit = transfer_limit();
    http->pump = (moon__defer){.fn = pump, .ctx = http};
    http->pump_next = (moon__timer){.fn = pump, .ctx = http};
    http->sweep = (moon__timer){.fn = sweep, .ctx = http};
    const char *ca_file = getenv("SSL_CERT_FILE");
    if (!ca_file || !*ca_file) ca_file = getenv("CURL_CA_BUNDLE");
    if (!ca_file || !*ca_file || (http->ca_file = moon__strdup(ca_file))) return MOON_OK;
    free(http);
    *out = NULL;
    return moon_error_set(error, MOON_ENOMEM, "out of memory");
}

static void dispose_all(moon__http_list *list) {
    for (moon__http_request *request = list->head, *next; request; request = next) {
        next = request->next;
        dispose(request);
    }
}

void moon__http_free(moon__http *http) {
    if (!http) return;
    dispose_all(&http->queue);
    dispose_all(&http->active);
    dispose_all(&http->ended);
    for (moon__http_host *host = http->hosts; host; host = host->next) dispose_all(&host->waiting);
    for (size_t i = 0; i < MOON__HTTP_SHARDS; i++) moon__http_shard_free(http->shards[i]);
    moon__http_easy_free_all(http);
    moon__http_host_free_all(http);
    if (http->share) http->curl.share_cleanup(http->share);
    moon__curl_close(&http->curl);
    moon__defer_cancel(http->loop, &http->pump);
    moon__timer_stop(http->loop, &http->pump_next);
    moon__timer_stop(http->loop, &http->sweep);
    free(http->ca_file);
    free(http);
}

moon_status moon__http_version(moon__http *http, const char **text, moon_error *error) {
    moon_status status = open_curl(http, error);
    *text = status ? NULL : http->curl.version();
    return status;
}
