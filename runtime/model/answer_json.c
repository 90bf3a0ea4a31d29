/* SPDX-License-Identifier: MIT */
#include "answer_json.h"

#include <stdlib.h>

void moon__answer_write(moon__jw *w, const moon__answer *answer) {
    moon__jw_str(w, "text", answer->text, answer->text_length);
    if (answer->reasoning_length) moon__jw_str(w, "reasoning", answer->reasoning, answer->reasoning_length);
    moon__jw_array(w, "tool_calls");
    for (size_t i = 0; i < answer->n_calls; i++) {
        const moon_tool_use *use = &answer->calls[i];
        moon__jw_object(w, NULL);
        moon__jw_str(w, "id", use->id, SIZE_MAX);
        moon__jw_str(w, "name", use->name, SIZE_MAX);
        moon__jw_str(w, "arguments", use->arguments, use->arguments_length);
        moon__jw_end(w);
    }
    moon__jw_end(w);
    moon__jw_str(w, "finish", answer->finish, SIZE_MAX);
    moon__jw_str(w, "model", answer->model, SIZE_MAX);
    moon__usage_write(w, "usage", &answer->usage);
}

void moon__usage_write(moon__jw *w, const char *name, const moon_usage *usage) {
    moon__jw_object(w, name);
    moon__jw_int(w, "input_tokens", usage->input_tokens);
    moon__jw_int(w, "cached_tokens", usage->cached_tokens);
    moon__jw_int(w, "output_tokens", usage->output_tokens);
    moon__jw_int(w, "reasoning_tokens", usage->reasoning_tokens);
    if (usage->usd >= 0) moon__jw_num(w, "usd", usage->usd);
    if (usage->steps) moon__jw_int(w, "steps", usage->steps);
    if (usage->tool_calls) moon__jw_int(w, "tool_calls", usage->tool_calls);
    moon__jw_end(w);
}

void moon__usage_read(moon_usage *usage, const moon_json *json) {
    *usage = (moon_usage){.usd = -1};
    moon_json_int(moon_json_get(json, "input_tokens"), &usage->input_tokens);
    moon_json_int(moon_json_get(json, "cached_tokens"), &usage->cached_tokens);
    moon_json_int(moon_json_get(json, "output_tokens"), &usage->output_tokens);
    moon_json_int(moon_json_get(json, "reasoning_tokens"), &usage->reasoning_tokens);
    moon_json_num(moon_json_get(json, "usd"), &usage->usd);
    moon_json_int(moon_json_get(json, "steps"), &usage->steps);
    moon_json_int(moon_json_get(json, "tool_calls"), &usage->tool_calls);
}

static const char *text_of(const moon_json *body, const char *name, size_t *length) {
    size_t n = 0;
    const char *text = moon_json_str(moon_json_get(body, name), &n);
    if (length) *length = n;
    return text ? text : "";
}

moon_status moon__answer_read(moon__answer *answer, moon_tool_use **uses, const moon_json *body) {
    const moon_json *calls = moon_json_get(body, "tool_calls");
    size_t n = moon_json_size(calls), i = 0;
    if (moon_json_type(calls) != MOON_JSON_ARRAY) return MOON_EPARSE;
    *uses = calloc(n + 1, sizeof **uses);
    if (!*uses) return MOON_ENOMEM;
    for (const moon_json *c = moon_json_first(calls); c; c = moon_json_next(c), i++) {
        moon_tool_use *use = &(*uses)[i];
        use->id = text_of(c, "id", NULL);
        use->name = text_of(c, "name", NULL);
        use->arguments = text_of(c, "arguments", &use->arguments_length);
    }
    *answer = (moon__answer){.calls = *uses, .n_calls = n};
    answer->text = text_of(body, "text", &answer->text_length);
    answer->reasoning = text_of(body, "reasoning", &answer->reasoning_length);
    answer->finish = text_of(body, "finish", NULL);
    answer->model = text_of(body, "model", NULL);
    moon__usage_read(&answer->usage, moon_json_get(body, "usage"));
    return MOON_OK;
}
