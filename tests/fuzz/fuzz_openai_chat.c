/* SPDX-License-Identifier: MIT */
/*
 * What a server sends, from bytes to an answer, and the answer back into a request. The first byte chooses the HTTP
 * status and how the bytes are cut. Held to: ids are there and differ, arguments and text have their ceilings, a
 * failure has a text without control characters, and what is written for the next request is JSON whatever the model
 * wrote.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "reply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void hold(bool condition, const char *what) {
    if (condition) return;
    fprintf(stderr, "does not hold: %s\n", what);
    abort();
}

static void check_written(const moon__answer *answer) {
    moon_message message = {.role = MOON_ASSISTANT,
                            .text = answer->text,
                            .text_length = answer->text_length,
                            .calls = answer->calls,
                            .n_calls = answer->n_calls,
                            .reasoning = answer->reasoning,
                            .reasoning_length = answer->reasoning_length};
    moon__buf body;
    moon__buf_init(&body, (size_t)64 << 20);
    moon__openai_chat.message(&message, true, &body);
    hold(body.status == MOON_OK, "a message that was read can be written");
    hold(moon__json_check(body.p, body.len, NULL) == MOON_OK, "a written message is JSON");
    moon__buf_fini(&body);
}

static void check_answer(const moon__answer *answer) {
    hold(answer->n_calls <= MOON__ANSWER_CALLS, "calls have a ceiling");
    for (size_t i = 0; i < answer->n_calls; i++) {
        hold(answer->calls[i].id[0] != '\0', "a call has an id");
        for (size_t k = 0; k < i; k++) hold(strcmp(answer->calls[i].id, answer->calls[k].id) != 0, "ids differ");
    }
    check_written(answer);
}

static void check_error(const moon_error *error) {
    hold(error->text[0] != '\0', "a failure has a text");
    for (const char *p = error->text; *p; p++) hold((unsigned char)*p >= ' ' && *p != 0x7f, "errors are printable");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const moon_wire_tool tools[] = {{.name = "file.read"}, {.name = "a"}};
    static const moon__asked asked = {.url = "http://host/v1", .model = "m", .key = "sk-secret", .key_name = "KEY"};
    static const moon__price price = {1, -1, 1};
    if (size == 0) return 0;
    int http = data[0] & 1 ? 400 : 200;
    size_t piece = data[0] & 2 ? (size_t)(data[0] >> 2) + 1 : size;
    moon__names names;
    moon__gather gather;
    moon__reply reply;
    moon_error error = {0};
    moon__answer answer;
    unsigned next_id = 0;
    bool again, more = true;
    if (moon__names_init(&names, tools, 2, &error)) return 0;
    moon__gather_init(&gather, &names);
    moon__reply_init(&reply, &moon__openai_chat, &gather);
    for (size_t at = 1; more && at < size; at += piece)
        more = moon__reply_data(&reply, http, (const char *)data + at, piece < size - at ? piece : size - at);
    moon__http_response response = {.status = more ? MOON_OK : MOON_ECANCELLED, .http = http};
    moon_status status = moon__reply_judge(&reply, &response, &asked, &error, &again);
    if (!status) status = moon__gather_finish(&gather, &price, &next_id, &answer, &error);
    if (status)
        check_error(&error);
    else
        check_answer(&answer);
    moon__reply_fini(&reply);
    moon__gather_fini(&gather);
    moon__names_fini(&names);
    return 0;
}
