/* SPDX-License-Identifier: MIT */
#ifndef MOONLET_EXTEND_H
#define MOONLET_EXTEND_H
/*
 * moonlet/extend.h: teach the runtime another wire format.
 *
 * A provider is a pure codec: it turns a conversation into the bytes of an HTTP request, and the server-sent events (or
 * the one JSON body) of the answer into a message. It does no I/O and keeps no state of its own, so it can be tested
 * with recorded bytes. Retries, time limits and the connection are the runtime's.
 *
 * The request body is append-only. begin() writes everything up to where messages go, message() appends one message,
 * and end() writes what closes the body. The runtime keeps the bytes: for the next step it cuts off what end() wrote,
 * appends the new messages and calls end() again. So a step costs its new messages, and the prefix stays byte-stable
 * for the servers' prompt caches.
 *
 * Strings in these records are borrowed for the duration of the call. All callbacks run on the loop thread.
 */
#include <moonlet/moonlet.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Bytes that grow; written only through these. Errors stick. */
typedef struct moon_out moon_out;
MOON_API void moon_out_add(moon_out *out, const char *bytes, size_t length);
MOON_API void moon_out_text(moon_out *out, const char *text); /* raw, NUL-terminated */
/* A JSON string with its quotes; bytes that are not UTF-8 become U+FFFD. length may be SIZE_MAX. */
MOON_API void moon_out_quoted(moon_out *out, const char *text, size_t length);

typedef enum moon_role { MOON_SYSTEM, MOON_USER, MOON_ASSISTANT, MOON_TOOL_ROLE } moon_role;

typedef struct moon_tool_use {
    const char *id;        /* as the model gave it */
    const char *name;      /* on the wire: dots are "_" */
    const char *arguments; /* JSON text exactly as the model wrote it */
    size_t arguments_length;
} moon_tool_use;

typedef struct moon_message {
    moon_role role;
    const char *text; /* may be NULL */
    size_t text_length;
    const moon_tool_use *calls; /* of an assistant message */
    size_t n_calls;
    const char *call_id;   /* of a tool message: what it answers */
    bool is_error;         /* of a tool message */
    const char *reasoning; /* of an assistant message; NULL: none, or not to be sent back */
    size_t reasoning_length;
} moon_message;

typedef struct moon_wire_tool {
    const char *name; /* on the wire */
    const char *description;
    const char *params; /* JSON Schema text */
} moon_wire_tool;

/* What stays the same during a conversation. Numbers below zero are "not given". */
typedef struct moon_wire_settings {
    const char *model; /* the server's name for it */
    bool stream;
    double temperature;
    double top_p;
    int64_t max_output_tokens;
    int64_t seed;
    const char *reasoning_effort; /* NULL: not given */
    const char *output_schema;    /* JSON Schema text the answer must fit; NULL: none */
    const char *extra;            /* members of a JSON object to be added as they are, "\"a\":1"; NULL: none */
    const moon_wire_tool *tools;
    size_t n_tools;
} moon_wire_settings;

/* What decode() reports. Text is borrowed. */
typedef struct moon_sink {
    void *ctx;
    void (*text)(void *ctx, const char *text, size_t length);
    void (*reasoning)(void *ctx, const char *text, size_t length);
    /* A piece of call `index` (0-63). id and name may be NULL when they were given before; arguments concatenate. */
    void (*call)(void *ctx, int index, const char *id, const char *name, const char *arguments, size_t length);
    void (*finish)(void *ctx, const char *reason);
    void (*usage)(void *ctx, const moon_usage *usage); /* totals of this answer; the last one counts */
    void (*end)(void *ctx);                            /* the wire says: complete */
} moon_sink;

typedef struct moon_provider {
    uint32_t abi;     /* MOON_TOOL_ABI */
    const char *name; /* of the wire format: "openai-chat" */
    const char *path; /* appended to the base URL: "/chat/completions" */
    /* Header lines of the request, each "Name: value"; at most `room`, returns how many. key may be NULL. buffer is
     * scratch of buffer_size bytes for the lines. */
    size_t (*headers)(const char *key, char *buffer, size_t buffer_size, const char **lines, size_t room);
    void (*begin)(const moon_wire_settings *settings, moon_out *out);
    void (*message)(const moon_message *message, bool first, moon_out *out);
    void (*end)(const moon_wire_settings *settings, moon_out *out);
    /* One event's data (streaming), or the whole body. MOON_EPARSE: not of this format; MOON_EPROVIDER: it is an error
     * that the server reports, error->cause its HTTP-like status (0: unknown). */
    moon_status (*decode)(const moon_json *json, bool whole_body, const moon_sink *sink, moon_error *error);
    const char *done_marker; /* data that ends a stream and is not JSON: "[DONE]"; NULL: none */
} moon_provider;

/* Makes the wire format available to model profiles (`wire = "name"` in the configuration). The record must outlive the
 * runtime. */
MOON_API MOON_MUST_USE moon_status moon_runtime_add_provider(moon_runtime *runtime, const moon_provider *provider,
                                                             moon_error *error);

#ifdef __cplusplus
}
#endif
#endif
