/* SPDX-License-Identifier: MIT */
/*
 * The wire format of OpenAI Chat Completions (POST {base}/chat/completions), as OpenAI's reference and SDK 7.x describe
 * it and as llama.cpp, Ollama, vLLM, OpenRouter and others speak it.
 *
 * A request is {"model":…,"stream":true,…,"tools":[…],"messages":[ … ]}: the messages stand last, so that a new step
 * only adds to them. Three records differ in what stands before: openai-chat           max_tokens, which every
 * compatible server knows openai-chat-official  max_completion_tokens, which OpenAI's newer models insist on
 *   mistral-chat          no stream_options: Mistral refuses members that it does not know, and tells usage unasked
 *
 * Reading is lenient about what servers get wrong (see answer.c for the numbering of tool calls): arguments as an
 * object instead of a string, a whole message in one chunk, content in parts, empty or missing choices, finish_reason
 * "".
 */
#include <stdio.h>
#include <string.h>

#include "failure.h"
#include "model.h"

/* ---- requests ---- */

static size_t headers(const char *key, char *buffer, size_t size, const char **lines, size_t room) {
    if (room < 3) return 0;
    lines[0] = "Content-Type: application/json";
    lines[1] = "Accept: application/json"; /* what the SDK sends, also for streams */
    if (!key) return 2;
    int n = snprintf(buffer, size, "Authorization: Bearer %s", key);
    if (n < 0 || (size_t)n >= size) return 0;
    lines[2] = buffer;
    return 3;
}

static void write_tools(moon__jw *w, const moon_wire_settings *settings) {
    if (settings->n_tools == 0) return;
    moon__jw_array(w, "tools");
    for (size_t i = 0; i < settings->n_tools; i++) {
        const moon_wire_tool *tool = &settings->tools[i];
        const char *params = tool->params ? tool->params : "{\"type\":\"object\",\"properties\":{}}";
        moon__jw_object(w, NULL);
        moon__jw_str(w, "type", "function", SIZE_MAX);
        moon__jw_object(w, "function");
        moon__jw_str(w, "name", tool->name, SIZE_MAX);
        if (tool->description) moon__jw_str(w, "description", tool->description, SIZE_MAX);
        moon__jw_raw(w, "parameters", params, strlen(params));
        moon__jw_end(w);
        moon__jw_end(w);
    }
    moon__jw_end(w);
}

/* Not "strict": that takes only a part of JSON Schema, and the answer is checked here anyway. */
static void write_output_schema(moon__jw *w, const char *schema) {
    moon__jw_object(w, "response_format");
    moon__jw_str(w, "type", "json_schema", SIZE_MAX);
    moon__jw_object(w, "json_schema");
    moon__jw_str(w, "name", "answer", SIZE_MAX);
    moon__jw_bool(w, "strict", false);
    moon__jw_raw(w, "schema", schema, strlen(schema));
    moon__jw_end(w);
    moon__jw_end(w);
}

static void begin_as(const moon_wire_settings *settings, moon_out *out, const char *max_tokens, bool ask_usage) {
    moon__jw writer, *w = &writer;
    moon__jw_init(w, out);
    moon__jw_object(w, NULL);
    moon__jw_str(w, "model", settings->model, SIZE_MAX);
    moon__jw_bool(w, "stream", settings->stream);
    if (settings->stream && ask_usage) moon__jw_raw(w, "stream_options", "{\"include_usage\":true}", 22);
    if (settings->temperature >= 0) moon__jw_num(w, "temperature", settings->temperature);
    if (settings->top_p >= 0) moon__jw_num(w, "top_p", settings->top_p);
    if (settings->max_output_tokens >= 0) moon__jw_int(w, max_tokens, settings->max_output_tokens);
    if (settings->seed >= 0) moon__jw_int(w, "seed", settings->seed);
    if (settings->reasoning_effort) moon__jw_str(w, "reasoning_effort", settings->reasoning_effort, SIZE_MAX);
    if (settings->output_schema) write_output_schema(w, settings->output_schema);
    if (settings->extra && *settings->extra) {
        moon_out_text(out, ",");
        moon_out_text(out, settings->extra);
    }
    write_tools(w, settings);
    moon__jw_array(w, "messages"); /* left open, and the object too: end() closes both */
}

static void begin(const moon_wire_settings *settings, moon_out *out) {
    begin_as(settings, out, "max_tokens", true);
}

static void begin_official(const moon_wire_settings *settings, moon_out *out) {
    begin_as(settings, out, "max_completion_tokens", true);
}

static void begin_mistral(const moon_wire_settings *settings, moon_out *out) {
    begin_as(settings, out, "max_tokens", false);
}

static bool is_json_object(const char *text, size_t n) {
    size_t i = 0;
    while (i < n && strchr(" \t\r\n", text[i]) && text[i]) i++;
    return i < n && text[i] == '{' && moon__json_check(text, n, NULL) == MOON_OK;
}

/* The arguments as the model wrote them. Those that are no JSON object go wrapped into one, cut: servers whose chat
 * templates parse them (vLLM, llama.cpp) would refuse this and every later request of the conversation. */
static void write_arguments(const moon_tool_use *call, moon_out *out) {
    enum { KEPT = 2000 };
    if (call->arguments_length == 0) {
        moon_out_text(out, "\"{}\"");
        return;
    }
    if (is_json_object(call->arguments, call->arguments_length)) {
        moon_out_quoted(out, call->arguments, call->arguments_length);
        return;
    }
    moon__buf wrapped;
    moon__buf_init(&wrapped, 64 + 6 * KEPT); /* a byte becomes at most \u00XX */
    moon__buf_str(&wrapped, "{\"malformed_arguments\":");
    moon__buf_quoted(&wrapped, call->arguments, call->arguments_length < KEPT ? call->arguments_length : KEPT);
    moon__buf_char(&wrapped, '}');
    if (wrapped.status)
        moon_out_text(out, "\"{}\"");
    else
        moon_out_quoted(out, wrapped.p, wrapped.len);
    moon__buf_fini(&wrapped);
}

static void write_calls(const moon_message *message, moon_out *out) {
    moon_out_text(out, ",\"tool_calls\":[");
    for (size_t i = 0; i < message->n_calls; i++) {
        const moon_tool_use *call = &message->calls[i];
        moon_out_text(out, i ? ",{\"id\":" : "{\"id\":");
        moon_out_quoted(out, call->id, SIZE_MAX);
        moon_out_text(out, ",\"type\":\"function\",\"function\":{\"name\":");
        moon_out_quoted(out, call->name, SIZE_MAX);
        moon_out_text(out, ",\"arguments\":");
        write_arguments(call, out);
        moon_out_text(out, "}}");
    }
    moon_out_text(out, "]");
}

static void message(const moon_message *message, bool first, moon_out *out) {
    static const char *const roles[] = {
        [MOON_SYSTEM] = "system", [MOON_USER] = "user", [MOON_ASSISTANT] = "assistant", [MOON_TOOL_ROLE] = "tool"};
    if (!first) moon_out_text(out, ",");
    moon_out_text(out, "{\"role\":\"");
    moon_out_text(out, roles[message->role]);
    moon_out_text(out, "\"");
    if (message->role == MOON_TOOL_ROLE) {
        moon_out_text(out, ",\"tool_call_id\":");
        moon_out_quoted(out, message->call_id ? message->call_id : "", SIZE_MAX);
    }
    moon_out_text(out, ",\"content\":");
    if (message->n_calls && message->text_length == 0)
        moon_out_text(out, "null");
    else
        moon_out_quoted(out, message->text ? message->text : "", message->text ? message->text_length : 0);
    if (message->reasoning && message->reasoning_length) {
        moon_out_text(out, ",\"reasoning_content\":");
        moon_out_quoted(out, message->reasoning, message->reasoning_length);
    }
    if (message->n_calls) write_calls(message, out);
    moon_out_text(out, "}");
}

static void end(const moon_wire_settings *settings, moon_out *out) {
    (void)settings;
    moon_out_text(out, "]}");
}

/* ---- errors that the server reports ---- */

/* The HTTP status that an error inside a 200 stands for, 0 if it does not say. A quota that is used up comes as 429,
 * but waiting does not cure it: 402, which is not asked again. */
static int error_status(const moon_json *fault) {
    static const struct {
        const char *word;
        int status;
    } words[] = {
        {"insufficient_quota", 402},  {"rate_limit_exceeded", 429},
        {"rate_limit_error", 429},    {"server_error", 500},
        {"internal_error", 500},      {"api_error", 500},
        {"overloaded_error", 503},    {"overloaded", 503},
        {"service_unavailable", 503}, {"timeout", 504},
    };
    int64_t number;
    const moon_json *code = moon_json_get(fault, "code");
    if (moon_json_int(code, &number) && number >= 400 && number <= 599) return (int)number;
    const char *said[] = {moon_json_str(code, NULL), moon_json_str(moon_json_get(fault, "type"), NULL)};
    for (size_t s = 0; s < 2; s++)
        for (size_t i = 0; said[s] && i < sizeof words / sizeof *words; i++)
            if (strcmp(said[s], words[i].word) == 0) return words[i].status;
    return 0;
}

static moon_status server_error(const moon_json *fault, moon_error *error) {
    char said[300];
    size_t n;
    const char *text = moon_json_str(fault, &n);
    if (!text) text = moon_json_str(moon_json_get(fault, "message"), &n);
    if (!text) text = moon_json_str(moon_json_get(fault, "detail"), &n);
    if (text) {
        moon__plain(said, sizeof said, text, n);
    } else {
        moon__buf printed;
        moon__buf_init(&printed, 64 << 10);
        moon__json_print(&printed, fault);
        moon__plain(said, sizeof said, printed.len ? printed.p : "", printed.len);
        moon__buf_fini(&printed);
    }
    moon_status status = moon_error_set(error, MOON_EPROVIDER, "%s", said);
    if (error) error->cause = error_status(fault);
    return status;
}

/* ---- answers ---- */

static moon_status decode_call(const moon_json *call, int position, const moon_sink *sink, moon_error *error) {
    int64_t number;
    int index = position;
    if (moon_json_int(moon_json_get(call, "index"), &number) && number >= 0 && number < 64) index = (int)number;
    const moon_json *function = moon_json_get(call, "function");
    const char *id = moon_json_str(moon_json_get(call, "id"), NULL);
    const char *name = moon_json_str(moon_json_get(function, "name"), NULL);
    const moon_json *arguments = moon_json_get(function, "arguments");
    size_t n = 0;
    const char *text = moon_json_str(arguments, &n);
    moon__buf printed;
    moon__buf_init(&printed, (size_t)64 << 20); /* well over what answer.c takes */
    if (!text && (moon_json_type(arguments) == MOON_JSON_OBJECT || moon_json_type(arguments) == MOON_JSON_ARRAY)) {
        moon__json_print(&printed, arguments);
        text = printed.p;
        n = printed.len;
    }
    moon_status status = printed.status;
    if (status)
        moon_error_set(error, status, "%s", moon_status_text(status));
    else
        sink->call(sink->ctx, index, id, name, text ? text : "", n);
    moon__buf_fini(&printed);
    return status;
}

/* Content is a string; Mistral's reasoning models send parts: {"type":"text","text"} and
 * {"type":"thinking","thinking":[…]}. */
static void decode_content(const moon_json *content, const moon_sink *sink,
                           void (*report)(void *ctx, const char *text, size_t length)) {
    size_t n;
    const char *text = moon_json_str(content, &n);
    if (text && n) report(sink->ctx, text, n);
    if (text || moon_json_type(content) != MOON_JSON_ARRAY) return;
    for (const moon_json *part = moon_json_first(content); part; part = moon_json_next(part)) {
        const moon_json *thinking = moon_json_get(part, "thinking");
        text = moon_json_str(moon_json_get(part, "text"), &n);
        if (text && n) report(sink->ctx, text, n);
        for (const moon_json *t = moon_json_first(thinking); t; t = moon_json_next(t))
            if ((text = moon_json_str(moon_json_get(t, "text"), &n)) && n) sink->reasoning(sink->ctx, text, n);
    }
}

static void decode_reasoning(const moon_json *delta, const moon_sink *sink) {
    static const char *const names[] = {"reasoning_content", "reasoning", "reasoning_text"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        size_t n;
        const char *text = moon_json_str(moon_json_get(delta, names[i]), &n);
        if (!text || n == 0) continue;
        sink->reasoning(sink->ctx, text, n);
        return;
    }
}

static moon_status decode_choice(const moon_json *choice, bool whole_body, const moon_sink *sink, moon_error *error) {
    const moon_json *delta = moon_json_get(choice, whole_body ? "message" : "delta");
    if (!delta && !whole_body) {
        delta = moon_json_get(choice, "message"); /* a stream of one event that holds everything */
        whole_body = delta != NULL;
    }
    decode_reasoning(delta, sink);
    decode_content(moon_json_get(delta, "content"), sink, sink->text);
    decode_content(moon_json_get(delta, "refusal"), sink, sink->text);
    int position = 0;
    for (const moon_json *c = moon_json_first(moon_json_get(delta, "tool_calls")); c; c = moon_json_next(c)) {
        moon_status status = decode_call(c, whole_body ? position++ : -1, sink, error);
        if (status) return status;
    }
    const char *reason = moon_json_str(moon_json_get(choice, "finish_reason"), NULL);
    if (!reason || !*reason) return MOON_OK;
    if (strcmp(reason, "error") == 0) { /* OpenRouter: what is behind it failed in mid-answer */
        moon_status status = moon_error_set(error, MOON_EPROVIDER, "the model's provider failed in mid-answer");
        if (error) error->cause = 502;
        return status;
    }
    sink->finish(sink->ctx, reason);
    return MOON_OK;
}

static int64_t count(const moon_json *object, const char *name) {
    int64_t value;
    return moon_json_int(moon_json_get(object, name), &value) && value > 0 ? value : 0;
}

static void decode_usage(const moon_json *usage, const moon_sink *sink) {
    if (moon_json_type(usage) != MOON_JSON_OBJECT) return;
    moon_usage told = {.input_tokens = count(usage, "prompt_tokens"),
                       .cached_tokens = count(moon_json_get(usage, "prompt_tokens_details"), "cached_tokens"),
                       .output_tokens = count(usage, "completion_tokens"),
                       .reasoning_tokens = count(moon_json_get(usage, "completion_tokens_details"), "reasoning_tokens"),
                       .usd = -1};
    if (told.cached_tokens == 0) told.cached_tokens = count(usage, "prompt_cache_hit_tokens"); /* DeepSeek */
    if (told.cached_tokens > told.input_tokens) told.cached_tokens = told.input_tokens;
    /* xAI does not count reasoning among the completion's tokens; its total gives it away. */
    int64_t all = told.input_tokens + told.output_tokens + told.reasoning_tokens;
    if (told.reasoning_tokens && count(usage, "total_tokens") == all) told.output_tokens += told.reasoning_tokens;
    double usd;
    if (moon_json_num(moon_json_get(usage, "cost"), &usd) && usd >= 0) told.usd = usd; /* OpenRouter */
    sink->usage(sink->ctx, &told);
}

static moon_status decode(const moon_json *json, bool whole_body, const moon_sink *sink, moon_error *error) {
    if (moon_json_type(json) != MOON_JSON_OBJECT)
        return moon_error_set(error, MOON_EPARSE, "a JSON object was expected");
    const moon_json *fault = moon_json_get(json, "error");
    if (fault && moon_json_type(fault) != MOON_JSON_NULL) return server_error(fault, error);
    const moon_json *choices = moon_json_get(json, "choices");
    bool answered = false; /* the whole body holds a message */
    for (const moon_json *choice = moon_json_first(choices); choice; choice = moon_json_next(choice)) {
        int64_t index = 0;
        if (moon_json_int(moon_json_get(choice, "index"), &index) && index != 0) continue; /* only one was asked for */
        moon_status status = decode_choice(choice, whole_body, sink, error);
        if (status) return status;
        answered = answered || moon_json_type(moon_json_get(choice, "message")) == MOON_JSON_OBJECT;
    }
    decode_usage(moon_json_get(json, "usage"), sink);
    if (!whole_body) return MOON_OK;
    if (answered) {
        sink->end(sink->ctx);
        return MOON_OK;
    }
    if (moon_json_get(json, "message") || moon_json_get(json, "detail")) return server_error(json, error);
    return moon_error_set(error, MOON_EPARSE, "it holds no message");
}

#define WIRE(wire_name, begin_function)                                                                                \
    {                                                                                                                  \
        .abi = MOON_TOOL_ABI, .name = wire_name, .path = "/chat/completions", .headers = headers,                      \
        .begin = begin_function, .message = message, .end = end, .decode = decode, .done_marker = "[DONE]"             \
    }

const moon_provider moon__openai_chat = WIRE("openai-chat", begin);
const moon_provider moon__openai_chat_official = WIRE("openai-chat-official", begin_official);
const moon_provider moon__mistral_chat = WIRE("mistral-chat", begin_mistral);
