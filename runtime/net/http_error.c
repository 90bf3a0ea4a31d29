/* SPDX-License-Identifier: MIT */
/* What went wrong with a request, for those who have to do something about it. Names the server, never a header. */
#include "http_impl.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

enum {
    HEADER_LINE = 100 << 10, /* libcurl takes no longer one */
    TOO_LARGE = 100,         /* CURLE_TOO_LARGE, of 8.6 */
};

/* host:port of the request, for printf. */
#define AT(request) (request)->host->name, (request)->host->port
#define AT_FORMAT   "%s:%s"

static moon_status stopped(const moon__http_request *request, moon_error *error) {
    bool answered = request->http_status != 0;
    uint32_t ms = answered ? request->options.stall_ms : request->options.first_ms;
    switch (request->stop) {
    case MOON__HTTP_BY_CALLER:
        return moon_error_set(error, MOON_ECANCELLED, "the answer of " AT_FORMAT " was not read to its end",
                              AT(request));
    case MOON__HTTP_TOO_LONG:
        return moon_error_set(error, MOON_ELIMIT, "the answer of " AT_FORMAT " is longer than %zu bytes", AT(request),
                              request->options.body_max);
    case MOON__HTTP_STALLED:
        return moon_error_set(error, MOON_ETIMEOUT,
                              answered ? AT_FORMAT " sent nothing for %g s in the middle of its answer"
                                       : AT_FORMAT " sent nothing within %g s",
                              AT(request), ms / 1000.0);
    case MOON__HTTP_NOT_STOPPED: break;
    }
    return MOON_OK;
}

static moon_status not_connected(const moon__http_request *request, moon_error *error) {
    if (request->cause == ECONNREFUSED)
        return moon_error_set(error, MOON_ENET, "connection to " AT_FORMAT " refused: is the server running?",
                              AT(request));
    if (request->cause == EMFILE || request->cause == ENFILE)
        return moon_error_set(error, MOON_ENET,
                              "cannot connect to " AT_FORMAT ": too many open files (raise the limit: ulimit -n)",
                              AT(request));
    const char *why = request->cause ? strerror((int)request->cause) : "no address of it answers";
    return moon_error_set(error, MOON_ENET, "cannot connect to " AT_FORMAT ": %s", AT(request), why);
}

/* Were we heard? Then what is wrong is wrong with the answer. */
static bool was_sent(const moon__http_request *request) {
    long size = 0;
    if (request->easy) request->http->curl.easy_getinfo(request->easy->curl, CURLINFO_REQUEST_SIZE, &size);
    return size > 0;
}

/* libcurl's own words, which name certificates and protocols but nothing that we sent. */
static const char *words(const moon__http_request *request) {
    if (request->easy && request->easy->text[0]) return request->easy->text;
    return request->http->curl.easy_strerror(request->code);
}

/* Before 8.6 a header line that is too long is "out of memory". It is, if there is none for such a line. */
static bool header_too_long(const moon__http_request *request) {
    bool may_be = request->code == CURLE_OUT_OF_MEMORY || (int)request->code == TOO_LARGE;
    if (!may_be || request->received || !was_sent(request)) return false;
    moon__buf line;
    moon__buf_init(&line, HEADER_LINE);
    bool room = moon__buf_reserve(&line, HEADER_LINE) == MOON_OK;
    moon__buf_fini(&line);
    return room;
}

static moon_status failed(const moon__http_request *request, moon_error *error) {
    if (header_too_long(request))
        return moon_error_set(error, MOON_ELIMIT, "the answer of " AT_FORMAT " has a header line that is too long",
                              AT(request));
    switch (request->code) {
    case CURLE_OUT_OF_MEMORY: return moon_error_set(error, MOON_ENOMEM, "out of memory");
    case CURLE_FAILED_INIT:
        return moon_error_set(error, MOON_EIO, "no connection can be prepared: out of descriptors or memory");
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
        if (was_sent(request)) break; /* the answer is no HTTP */
        return moon_error_set(error, MOON_EINVAL, "not a URL: %s", words(request));
    case CURLE_COULDNT_RESOLVE_HOST:
        return moon_error_set(error, MOON_ENET, "there is no host named %s, or the network is down",
                              request->host->name);
    case CURLE_COULDNT_RESOLVE_PROXY:
        return moon_error_set(error, MOON_ENET, "the proxy's name cannot be resolved: see http_proxy, https_proxy");
    case CURLE_COULDNT_CONNECT: return not_connected(request, error);
    case CURLE_OPERATION_TIMEDOUT:
        return moon_error_set(error, MOON_ETIMEOUT, "no connection to " AT_FORMAT " in time", AT(request));
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
        return moon_error_set(error, MOON_ENET,
                              "TLS: the certificate of " AT_FORMAT " cannot be trusted: %s (SSL_CERT_FILE names "
                              "another list of authorities)",
                              AT(request), words(request));
    case CURLE_SSL_CONNECT_ERROR:
        return moon_error_set(error, MOON_ENET, "TLS with " AT_FORMAT " failed: %s", AT(request), words(request));
    case CURLE_GOT_NOTHING:
        return moon_error_set(error, MOON_ENET, AT_FORMAT " closed the connection without an answer", AT(request));
    case CURLE_PARTIAL_FILE:
    case CURLE_RECV_ERROR:
        if (request->http_status)
            return moon_error_set(error, MOON_ENET, "the connection to " AT_FORMAT " ended in the middle of the answer",
                                  AT(request));
        break;
    default: break;
    }
    return moon_error_set(error, MOON_ENET, AT_FORMAT ": %s", AT(request), words(request));
}

void moon__http_describe(const moon__http_request *request, moon__http_response *response) {
    memset(response, 0, sizeof *response);
    response->http = request->http_status;
    if (request->code == CURLE_OK) return;
    response->status = request->stop ? stopped(request, &response->error) : failed(request, &response->error);
    response->error.cause = (int)request->cause;
    bool by_us = request->stop == MOON__HTTP_BY_CALLER || request->stop == MOON__HTTP_TOO_LONG;
    response->partial = request->http_status && !by_us;
}
