/* SPDX-License-Identifier: MIT */
#ifndef MOON_TEST_MODEL_KIT_H
#define MOON_TEST_MODEL_KIT_H
/* What tests of runtime/model share: an answer as one line of text, and bytes through the reader of a response. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "reply.h"

/* "text|reasoning|id name(arguments);…|finish|input/cached/output/reasoning" */
static inline void kit_print(moon__buf *out, const moon__answer *answer) {
    moon__buf_add(out, answer->text, answer->text_length);
    moon__buf_char(out, '|');
    moon__buf_add(out, answer->reasoning, answer->reasoning_length);
    moon__buf_char(out, '|');
    for (size_t i = 0; i < answer->n_calls; i++) {
        const moon_tool_use *call = &answer->calls[i];
        assert_int_equal(strlen(call->arguments), call->arguments_length);
        moon__buf_printf(out, "%s%s %s(%s)", i ? ";" : "", call->id, call->name, call->arguments);
    }
    moon__buf_printf(out, "|%s|%lld/%lld/%lld/%lld", answer->finish, (long long)answer->usage.input_tokens,
                     (long long)answer->usage.cached_tokens, (long long)answer->usage.output_tokens,
                     (long long)answer->usage.reasoning_tokens);
}

typedef struct kit_reply {
    int http;         /* 0: 200 */
    const char *type; /* content type; NULL: text/event-stream */
    const char *headers[3][2];
    const char *body;
    size_t piece; /* bytes handed over at a time; 0: all */
    bool partial;
    moon_status broken; /* status of the transfer */
} kit_reply;

typedef struct kit_verdict {
    moon_status status;
    moon_error error;
    bool again;
    moon__buf answer; /* as kit_print; empty unless status is MOON_OK */
} kit_verdict;

static const moon__asked kit_asked = {
    .url = "http://host/v1", .model = "m1", .key = "sk-secret-0123456789", .key_name = "TEST_KEY"};

static inline kit_verdict kit_read(const kit_reply *r, const moon__names *names) {
    kit_verdict v = {0};
    moon__gather gather;
    moon__reply reply;
    moon__http_response response = {.status = r->broken, .http = r->http ? r->http : 200, .partial = r->partial};
    size_t n = strlen(r->body), piece = r->piece ? r->piece : n, at = 0;
    bool more = true;
    moon__buf_init(&v.answer, 32 << 20);
    moon__gather_init(&gather, names);
    moon__reply_init(&reply, &moon__openai_chat, &gather);
    moon__reply_header(&reply, "content-type", r->type ? r->type : "text/event-stream; charset=utf-8", 0);
    for (size_t i = 0; i < 3 && r->headers[i][0]; i++)
        moon__reply_header(&reply, r->headers[i][0], r->headers[i][1], 0);
    while (more && at < n) {
        size_t take = piece < n - at ? piece : n - at;
        char *copy = malloc(take); /* so that a read beyond it is seen */
        assert_non_null(copy);
        memcpy(copy, r->body + at, take);
        more = moon__reply_data(&reply, response.http, copy, take);
        free(copy);
        at += take;
    }
    if (!more && !response.status) response.status = MOON_ECANCELLED;
    if (response.status) snprintf(response.error.text, sizeof response.error.text, "transfer failed");
    v.status = moon__reply_judge(&reply, &response, &kit_asked, &v.error, &v.again);
    if (v.status == MOON_OK) {
        moon__answer answer;
        unsigned next_id = 0;
        moon__price none = {-1, -1, -1};
        v.status = moon__gather_finish(&gather, &none, &next_id, &answer, &v.error);
        if (v.status == MOON_OK) kit_print(&v.answer, &answer);
    }
    moon__reply_fini(&reply);
    moon__gather_fini(&gather);
    return v;
}

static inline void kit_drop(kit_verdict *v) {
    moon__buf_fini(&v->answer);
}
#endif
