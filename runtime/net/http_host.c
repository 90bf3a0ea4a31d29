/* SPDX-License-Identifier: MIT */
/*
 * Servers, and the gate before the look-up of their names. libcurl makes a thread per look-up, so a burst of a thousand
 * requests to one new name would make a thousand. Here the first request asks, and the others wait until it has the
 * address (it opens a socket, or finds an open connection); the address is then in the cache that all shards use.
 *
 * A name counts as known for a little less than libcurl keeps it. Where the asker had the address without a look-up,
 * only the next one in line is let through: it may be the one that has to make it.
 */
#include "http_impl.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
    HOSTS_KEPT = 64,
    KNOWN_S = 55, /* libcurl's cache holds 60 */
};

/* Does the name need no look-up? libcurl knows localhost by itself. */
static bool is_literal(const char *name) {
    struct in_addr address;
    size_t n = strlen(name);
    return *name == '[' || inet_pton(AF_INET, name, &address) == 1 || !strcasecmp(name, "localhost") ||
           (n > 10 && !strcasecmp(name + n - 10, ".localhost"));
}

static moon_status parse(moon__http *http, const char *url, char **name, char **port) {
    moon_status status = MOON_EINVAL;
    char *scheme = NULL;
    CURLU *parsed = http->curl.url();
    if (!parsed) return MOON_ENOMEM;
    if (!http->curl.url_set(parsed, CURLUPART_URL, url, 0) &&
        !http->curl.url_get(parsed, CURLUPART_SCHEME, &scheme, 0) &&
        (!strcmp(scheme, "http") || !strcmp(scheme, "https")) && !http->curl.url_get(parsed, CURLUPART_HOST, name, 0) &&
        !http->curl.url_get(parsed, CURLUPART_PORT, port, CURLU_DEFAULT_PORT))
        status = MOON_OK;
    http->curl.free(scheme);
    http->curl.url_cleanup(parsed);
    return status;
}

static moon_status add_host(moon__http_host **out, moon__http *http, const char *key, size_t n, const char *name,
                            const char *port) {
    size_t length = strlen(name) + 1;
    moon__http_host *host = calloc(1, sizeof *host + n + 1 + length);
    if (!host) return MOON_ENOMEM;
    memcpy(host->key, key, n);
    host->name = host->key + n + 1;
    memcpy(host->name, name, length);
    strncpy(host->port, port, sizeof host->port - 1);
    if (is_literal(name)) host->known_until_us = INT64_MAX;
    host->next = http->hosts;
    http->hosts = *out = host;
    return MOON_OK;
}

static void forget_unused(moon__http *http) {
    size_t n = 0;
    for (const moon__http_host *host = http->hosts; host; host = host->next) n++;
    if (n < HOSTS_KEPT) return;
    for (moon__http_host **at = &http->hosts, *host; (host = *at);) {
        if (host->requests) {
            at = &host->next;
            continue;
        }
        *at = host->next;
        free(host);
    }
}

moon_status moon__http_host_find(moon__http_host **out, moon__http *http, const char *url, moon_error *error) {
    const char *colon = strstr(url, "://");
    size_t n = colon ? strcspn(colon + 3, "/?#") : 0;
    if (n) n += (size_t)(colon + 3 - url);
    for (moon__http_host *host = http->hosts; n && host; host = host->next) {
        if (strncmp(host->key, url, n) != 0 || host->key[n]) continue;
        *out = host;
        return MOON_OK;
    }
    char *name = NULL, *port = NULL;
    moon_status status = n ? parse(http, url, &name, &port) : MOON_EINVAL;
    if (!status) {
        forget_unused(http);
        status = add_host(out, http, url, n, name, port);
    }
    http->curl.free(name);
    http->curl.free(port);
    if (status == MOON_ENOMEM) return moon_error_set(error, status, "out of memory");
    if (status) return moon_error_set(error, status, "not a URL of the form http://host or https://host/path");
    return status;
}

/* ---- the gate ---- */

/* Puts the first in line, or all, back into the queue. */
static void release(moon__http_host *host, bool all) {
    moon__http_request *request;
    while ((request = host->waiting.head)) {
        moon__http_list_drop(request);
        moon__http_list_add(&request->http->queue, request);
        moon__http_pump(request->http);
        if (!all) break;
    }
}

bool moon__http_host_admit(moon__http_request *request) {
    moon__http_host *host = request->host;
    if (host->asker) {
        moon__http_list_add(&host->waiting, request);
        return false;
    }
    if (host->known_until_us <= moon__loop_now(request->http->loop)) host->asker = request;
    return true;
}

void moon__http_host_looks_up(moon__http_request *request) {
    moon__http_host *host = request->host;
    if (host->known_until_us < INT64_MAX)
        host->known_until_us = moon__loop_now(request->http->loop) + (int64_t)KNOWN_S * 1000000;
}

static void stop_asking(moon__http_request *request) {
    moon__http_host *host = request->host;
    if (host->asker != request) return;
    host->asker = NULL;
    release(host, host->known_until_us > moon__loop_now(request->http->loop));
}

void moon__http_host_has_address(moon__http_request *request) {
    stop_asking(request);
}

void moon__http_host_leave(moon__http_request *request, CURLcode code) {
    moon__http_host *host = request->host;
    if (code == CURLE_COULDNT_RESOLVE_HOST && host->asker == request) {
        host->known_until_us = 0;
        while (host->waiting.head) moon__http_finish(host->waiting.head, code);
    } else if (host->asker == request && host->known_until_us < INT64_MAX) {
        /* It never came to an address: the look-up that it may have begun is no news for the others. */
        host->known_until_us = 0;
    }
    stop_asking(request);
}

void moon__http_host_free_all(moon__http *http) {
    while (http->hosts) {
        moon__http_host *host = http->hosts;
        http->hosts = host->next;
        free(host);
    }
}
