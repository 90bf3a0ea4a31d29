/* SPDX-License-Identifier: MIT */
/*
 * What a server sends, judged. An answer is whole if the wire said so ([DONE]), or if a finish reason came and the
 * response ended properly; anything less is a cut, however much text it holds. Cuts, broken JSON and failing
 * connections may pass; a page of HTML, something that is no model's answer, and what is over a ceiling will not.
 */
#include "reply.h"

#include <stdio.h>
#include <string.h>

void moon__reply_init(moon__reply *reply, const moon_provider *provider, moon__gather *gather) {
    *reply = (moon__reply){.provider = provider, .gather = gather, .sink = moon__gather_sink(gather)};
    moon__hints_init(&reply->hints);
    moon__sse_init(&reply->sse, MOON__REPLY_EVENT);
    moon__buf_init(&reply->body, MOON__REPLY_EVENT);
}

void moon__reply_fini(moon__reply *reply) {
    moon__sse_fini(&reply->sse);
    moon__buf_fini(&reply->body);
}

void moon__reply_header(moon__reply *reply, const char *name, const char *value, int64_t wall_us) {
    if (strcmp(name, "content-type") == 0)
        moon__plain(reply->type, sizeof reply->type, value, strcspn(value, ";"));
    else
        moon__hints_header(&reply->hints, name, value, wall_us);
}

static bool fail(moon__reply *reply, moon_status status, bool again, const char *text) {
    moon_error_set(&reply->error, status, "%s", text);
    reply->again = again;
    return false;
}

/* ---- what is sent ---- */

/* Hands one JSON value to the codec and turns what goes wrong into a failure. */
static bool decode(moon__reply *reply, const char *text, size_t n, bool whole_body) {
    moon_json *json;
    moon_error error = {0};
    moon_status status = moon__json_parse(&json, text, n, MOON__JSON_REPAIR, &error);
    if (status == MOON_ENOMEM) return fail(reply, MOON_ENOMEM, false, error.text);
    if (status) {
        char said[200];
        snprintf(said, sizeof said, "it sends broken JSON: %.150s", error.text);
        return fail(reply, MOON_ENET, true, said);
    }
    status = reply->provider->decode(json, whole_body, &reply->sink, &error);
    moon__json_free(json);
    if (!status && reply->gather->status) {
        error = reply->gather->error;
        status = reply->gather->status;
    }
    if (status == MOON_OK) return true;
    if (status == MOON_EPARSE) {
        char said[300];
        snprintf(said, sizeof said,
                 "it sends JSON that is not a model's answer (%.100s): is the base URL right (it usually ends in /v1)?",
                 error.text);
        fail(reply, MOON_EPROVIDER, false, said);
        reply->error.cause = reply->http;
        return false;
    }
    fail(reply, status == MOON_ENOMEM ? MOON_ENOMEM : MOON_EPROVIDER, moon__status_passes(error.cause), error.text);
    reply->error.cause = error.cause;
    return false;
}

static bool is_done_marker(const moon_provider *provider, const char *data, size_t n) {
    if (!provider->done_marker) return false;
    while (n > 0 && data[n - 1] == ' ') n--;
    return n == strlen(provider->done_marker) && memcmp(data, provider->done_marker, n) == 0;
}

static bool on_event(void *ctx, const char *event, const char *data, size_t n) {
    moon__reply *reply = ctx;
    (void)event; /* errors come as data too */
    if (n == 0 || reply->gather->ended) return true;
    reply->events = true;
    if (is_done_marker(reply->provider, data, n)) {
        reply->gather->ended = true;
        return true;
    }
    return decode(reply, data, n, false);
}

static bool take_events(moon__reply *reply, const char *bytes, size_t n) {
    moon_status status = moon__sse_feed(&reply->sse, bytes, n, on_event, reply);
    if (reply->error.code) return false;
    if (status == MOON_OK) return true;
    if (status == MOON_ENOMEM) return fail(reply, MOON_ENOMEM, false, "out of memory");
    return fail(reply, MOON_EPROVIDER, false, "it sends a line or an event that is too long: over 32 MiB");
}

static bool take_body(moon__reply *reply, const char *bytes, size_t n) {
    moon__buf_add(&reply->body, bytes, n);
    if (reply->body.status == MOON_OK) return true;
    if (reply->body.status == MOON_ENOMEM) return fail(reply, MOON_ENOMEM, false, "out of memory");
    return fail(reply, MOON_EPROVIDER, false, "it sends an answer that is too long: over 32 MiB");
}

static bool take_refusal(moon__reply *reply, const char *bytes, size_t n) {
    size_t room = MOON__REPLY_FAULT - reply->body.len;
    moon__buf_add(&reply->body, bytes, n < room ? n : room);
    return n < room && reply->body.status == MOON_OK;
}

/* Blanks, and a byte order mark in whatever pieces it comes, may stand before everything. */
static bool is_leading(char c) {
    return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\xef' || c == '\xbb' || c == '\xbf';
}

bool moon__reply_data(moon__reply *reply, int http, const char *bytes, size_t n) {
    if (reply->error.code) return false;
    reply->http = http;
    if (http < 200 || http > 299) reply->kind = MOON__REPLY_REFUSAL;
    while (reply->kind == MOON__REPLY_NONE && n > 0 && is_leading(*bytes)) bytes++, n--;
    if (n == 0) return true;
    if (reply->kind == MOON__REPLY_NONE)
        reply->kind = *bytes == '<'                    ? MOON__REPLY_PAGE
                      : *bytes == '{' || *bytes == '[' ? MOON__REPLY_JSON
                                                       : MOON__REPLY_EVENTS;
    switch (reply->kind) {
    case MOON__REPLY_EVENTS: return take_events(reply, bytes, n);
    case MOON__REPLY_JSON: return take_body(reply, bytes, n);
    case MOON__REPLY_REFUSAL: return take_refusal(reply, bytes, n);
    default: return false;
    }
}

/* ---- the verdict ---- */

static moon_status judge_refusal(moon__reply *reply, int http, const moon__asked *asked, moon_error *error,
                                 bool *again) {
    const moon__buf *body = &reply->body;
    moon_json *json = NULL;
    moon_error told = {0};
    bool known = false;
    char said[200] = "";
    if (body->len && moon__json_parse(&json, body->p, body->len, MOON__JSON_REPAIR, NULL) == MOON_OK) {
        moon__gather unused;
        moon__gather_init(&unused, NULL);
        moon_sink sink = moon__gather_sink(&unused);
        known = reply->provider->decode(json, true, &sink, &told) == MOON_EPROVIDER;
        moon__gather_fini(&unused);
        moon__json_free(json);
    }
    if (known) {
        moon__plain(said, sizeof said, told.text, strlen(told.text));
    } else if (body->len && body->p[strspn(body->p, " \t\r\n")] != '<') {
        moon__plain(said, sizeof said, body->p, body->len);
    }
    moon__http_failure(error, asked, http, said, known);
    *again = moon__status_passes(http) && !(known && told.cause == 402);
    if (reply->hints.should >= 0) *again = reply->hints.should == 1;
    return MOON_EPROVIDER;
}

/* A failure of the connection; its text is http's. */
static moon_status judge_broken(const moon__http_response *response, const moon__asked *asked, moon_error *error,
                                bool *again) {
    moon_status status = response->status;
    if (status == MOON_ENOMEM) return moon_error_set(error, MOON_ENOMEM, "out of memory");
    *again = status == MOON_OK || status == MOON_ENET || status == MOON_ETIMEOUT || status == MOON_EIO;
    if (status == MOON_OK)
        return moon_error_set(error, MOON_ENET, "%s: the connection ended in the middle of the answer", asked->url);
    const char *text = response->error.text[0] ? response->error.text : moon_status_text(status);
    moon_error_set(error, status == MOON_ELIMIT ? MOON_EPROVIDER : MOON_ENET, "%s", text);
    error->cause = response->error.cause;
    return error->code;
}

static moon_status not_an_answer(const moon__reply *reply, const moon__asked *asked, moon_error *error) {
    const char *type = reply->kind == MOON__REPLY_PAGE ? "HTML" : reply->type[0] ? reply->type : "text";
    moon_error_set(error, MOON_EPROVIDER,
                   "the server at %s answered with %s, not a model's answer: is the base URL right (it usually ends in "
                   "/v1)?",
                   asked->url, type);
    error->cause = reply->http;
    return MOON_EPROVIDER;
}

/* The response came whole and nothing in it was wrong so far: is the answer whole? */
static moon_status judge_end(moon__reply *reply, const moon__asked *asked, moon_error *error, bool *again) {
    const moon__gather *gather = reply->gather;
    if (reply->kind == MOON__REPLY_EVENTS && !reply->events && strcmp(reply->type, "text/event-stream") != 0)
        return not_an_answer(reply, asked, error);
    if (gather->finish[0] || (gather->ended && (gather->begun || reply->kind == MOON__REPLY_JSON))) return MOON_OK;
    *again = true;
    if (gather->ended || reply->kind == MOON__REPLY_NONE)
        return moon_error_set(error, MOON_ENET, "%s sent an empty answer", asked->url);
    return moon_error_set(error, MOON_ENET, "%s: the stream ended before the answer did", asked->url);
}

static moon_status judge(moon__reply *reply, const moon__http_response *response, const moon__asked *asked,
                         moon_error *error, bool *again) {
    if (reply->kind == MOON__REPLY_REFUSAL) return judge_refusal(reply, reply->http, asked, error, again);
    if (reply->kind == MOON__REPLY_PAGE) return not_an_answer(reply, asked, error);
    bool broken = response->status != MOON_OK || response->partial;
    bool whole = reply->gather->ended && reply->gather->begun;
    if (!reply->error.code && broken) return whole ? MOON_OK : judge_broken(response, asked, error, again);
    if (!reply->error.code && response->http && (response->http < 200 || response->http > 299))
        return judge_refusal(reply, response->http, asked, error, again);
    if (!reply->error.code && reply->kind == MOON__REPLY_JSON) decode(reply, reply->body.p, reply->body.len, true);
    if (!reply->error.code) return judge_end(reply, asked, error, again);
    *again = reply->again;
    moon_error_set(error, reply->error.code, "%s: %.300s", asked->url, reply->error.text);
    error->cause = reply->error.cause;
    return error->code;
}

moon_status moon__reply_judge(moon__reply *reply, const moon__http_response *response, const moon__asked *asked,
                              moon_error *error, bool *again) {
    *again = false;
    moon_status status = judge(reply, response, asked, error, again);
    if (status) moon__hide_key(error->text, asked->key);
    return status;
}
