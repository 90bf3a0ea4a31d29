/* SPDX-License-Identifier: MIT */
/*
 * Transfer handles. What is the same for every transfer is set once, when a handle is made; what differs is set for
 * each request. Handles are used again: a new one costs as much as a small request.
 *
 * Memory. By default a handle holds 16 KB for reading and, for a body over 64 KB, 64 KB for sending. With hundreds of
 * transfers both are made small; with few and a large body the sending one holds all of it in one or two writes.
 */
#include "http_impl.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    IDLE_HANDLES = 256,
    HEADER_MAX = 8192, /* longer header lines are not shown */
    CONNECT_MS = 30000,
};

/* ---- callbacks, inside libcurl ---- */

static size_t on_body(char *bytes, size_t size, size_t n, void *ctx) {
    moon__http_request *request = ctx;
    n *= size;
    request->last_us = moon__loop_now(request->http->loop);
    if (n > request->options.body_max - request->received) {
        request->stop = MOON__HTTP_TOO_LONG;
        return 0;
    }
    request->received += n;
    if (!request->options.on_data || request->options.on_data(request->options.ctx, request->http_status, bytes, n))
        return n;
    request->stop = MOON__HTTP_BY_CALLER;
    return 0;
}

static bool is_space(char c) {
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static void show_header(moon__http_request *request, const char *bytes, size_t n) {
    char line[HEADER_MAX];
    const char *colon = memchr(bytes, ':', n);
    if (!colon || n >= sizeof line || memchr(bytes, 0, n)) return;
    memcpy(line, bytes, n);
    line[n] = 0;
    char *value = line + (colon - bytes);
    *value++ = 0;
    for (char *c = line; *c; c++) *c = (char)tolower((unsigned char)*c);
    while (is_space(*value)) value++;
    for (char *end = value + strlen(value); end > value && is_space(end[-1]);) *--end = 0;
    request->options.on_header(request->options.ctx, line, value);
}

static size_t on_header(char *bytes, size_t size, size_t n, void *ctx) {
    moon__http_request *request = ctx;
    n *= size;
    request->last_us = moon__loop_now(request->http->loop);
    if (n > 5 && !memcmp(bytes, "HTTP/", 5)) {
        long status = 0;
        request->http->curl.easy_getinfo(request->easy->curl, CURLINFO_RESPONSE_CODE, &status);
        request->http_status = (int)status;
    } else if (request->options.on_header && request->http_status >= 200)
        show_header(request, bytes, n);
    return n;
}

static int on_look_up(void *resolver, void *reserved, void *ctx) {
    (void)resolver, (void)reserved;
    moon__http_host_looks_up(ctx);
    return 0;
}

static curl_socket_t on_open(void *ctx, curlsocktype purpose, struct curl_sockaddr *address) {
    moon__http_request *request = ctx;
    (void)purpose;
    moon__http_host_has_address(request);
    int fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
    if (fd >= 0) request->http->sockets++;
    return fd;
}

/* The connection may have outlived the request that opened it. */
static int on_close(void *ctx, curl_socket_t fd) {
    moon__http *http = ctx;
    http->sockets--;
    return close(fd);
}

/* A connection is there, a new or an old one. */
static int on_connection(void *ctx, char *ip, char *local_ip, int port, int local_port) {
    (void)ip, (void)local_ip, (void)port, (void)local_port;
    moon__http_host_has_address(ctx);
    return CURL_PREREQFUNC_OK;
}

/* ---- options ---- */

/* What an older libcurl lacks (QUICK_EXIT, PROTOCOLS_STR) may fail; what must not is checked. */
static bool set_constants(moon__http *http, moon__http_easy *easy) {
    const moon__curl_api *curl = &http->curl;
    CURL *h = easy->curl;
    curl->easy_setopt(h, CURLOPT_NOSIGNAL, 1L);
    curl->easy_setopt(h, CURLOPT_QUICK_EXIT, 1L); /* a cancelled look-up is not waited for */
    curl->easy_setopt(h, CURLOPT_PROTOCOLS_STR, "http,https");
    curl->easy_setopt(h, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl->easy_setopt(h, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
    curl->easy_setopt(h, CURLOPT_TCP_KEEPALIVE, 1L);
    /* With a CAPATH libcurl reads all certificates again for each connection: 50 ms and 1 MB. The CA file stays. */
    curl->easy_setopt(h, CURLOPT_CAPATH, NULL);
    if (http->ca_file) curl->easy_setopt(h, CURLOPT_CAINFO, http->ca_file);
    curl->easy_setopt(h, CURLOPT_USERAGENT, "moonlet/" MOON_VERSION);
    curl->easy_setopt(h, CURLOPT_RESOLVER_START_FUNCTION, on_look_up);
    curl->easy_setopt(h, CURLOPT_PREREQFUNCTION, on_connection);
    return !curl->easy_setopt(h, CURLOPT_SHARE, http->share) &&
           !curl->easy_setopt(h, CURLOPT_ERRORBUFFER, easy->text) &&
           !curl->easy_setopt(h, CURLOPT_OPENSOCKETFUNCTION, on_open) &&
           !curl->easy_setopt(h, CURLOPT_CLOSESOCKETFUNCTION, on_close) &&
           !curl->easy_setopt(h, CURLOPT_CLOSESOCKETDATA, http) &&
           !curl->easy_setopt(h, CURLOPT_WRITEFUNCTION, on_body) &&
           !curl->easy_setopt(h, CURLOPT_HEADERFUNCTION, on_header);
}

static void set_sizes(const moon__http_request *request, moon__http_easy *easy) {
    const moon__http *http = request->http;
    long receive = http->in_flight >= MOON__HTTP_MANY ? 2048 : 16384;
    long send = http->in_flight >= MOON__HTTP_MANY ? 16384 : http->in_flight < MOON__HTTP_FEW ? 524288 : 65536;
    if (receive != easy->receive_size) http->curl.easy_setopt(easy->curl, CURLOPT_BUFFERSIZE, receive);
    easy->receive_size = receive;
    /* Libcurl drops its buffer when this is set, so only when it changes; a body up to 64 KB does not use it. */
    if (request->options.body_length <= 65536 || send == easy->send_size) return;
    http->curl.easy_setopt(easy->curl, CURLOPT_UPLOAD_BUFFERSIZE, send);
    easy->send_size = send;
}

static CURLcode set_request(moon__http_request *request, moon__http_easy *easy) {
    const moon__curl_api *curl = &request->http->curl;
    const moon__http_options *options = &request->options;
    CURL *h = easy->curl;
    easy->text[0] = 0;
    curl->easy_setopt(h, CURLOPT_PRIVATE, request);
    curl->easy_setopt(h, CURLOPT_WRITEDATA, request);
    curl->easy_setopt(h, CURLOPT_HEADERDATA, request);
    curl->easy_setopt(h, CURLOPT_OPENSOCKETDATA, request);
    curl->easy_setopt(h, CURLOPT_PREREQDATA, request);
    curl->easy_setopt(h, CURLOPT_RESOLVER_START_DATA, request);
    curl->easy_setopt(h, CURLOPT_HTTPHEADER, request->headers);
    if (options->body) {
        curl->easy_setopt(h, CURLOPT_POST, 1L);
        curl->easy_setopt(h, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)options->body_length);
        curl->easy_setopt(h, CURLOPT_POSTFIELDS, options->body);
    } else
        curl->easy_setopt(h, CURLOPT_HTTPGET, 1L);
    return curl->easy_setopt(h, CURLOPT_URL, options->url);
}

/* ---- handles ---- */

static moon__http_easy *make(moon__http *http) {
    moon__http_easy *easy = calloc(1, sizeof *easy);
    if (!easy) return NULL;
    easy->curl = http->curl.easy_init();
    if (easy->curl && set_constants(http, easy)) return easy;
    if (easy->curl) http->curl.easy_cleanup(easy->curl);
    free(easy);
    return NULL;
}

CURLcode moon__http_easy_take(moon__http_request *request) {
    moon__http *http = request->http;
    moon__http_easy *easy = http->idle;
    if (easy) {
        http->idle = easy->next;
        http->n_idle--;
    } else if (!(easy = make(http)))
        return CURLE_OUT_OF_MEMORY;
    request->easy = easy;
    set_sizes(request, easy);
    return set_request(request, easy);
}

void moon__http_easy_return(moon__http_request *request) {
    moon__http *http = request->http;
    moon__http_easy *easy = request->easy;
    if (!easy) return;
    request->easy = NULL;
    if (http->n_idle < IDLE_HANDLES) {
        easy->next = http->idle;
        http->idle = easy;
        http->n_idle++;
        return;
    }
    http->curl.easy_cleanup(easy->curl);
    free(easy);
}

void moon__http_easy_free_all(moon__http *http) {
    while (http->idle) {
        moon__http_easy *easy = http->idle;
        http->idle = easy->next;
        http->curl.easy_cleanup(easy->curl);
        free(easy);
    }
    http->n_idle = 0;
}
