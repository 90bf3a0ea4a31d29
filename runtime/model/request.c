/* SPDX-License-Identifier: MIT */
#include "request.h"

#include <stdlib.h>
#include <string.h>

#include "text.h"

enum { TEXT_MAX = 256 << 20, PARTS_FIRST = 16 };

void moon__key_next(moon__key out, const unsigned char *before, const char *text, size_t n) {
    static const char origin[] = "moonlet cassette 1";
    moon__bytes bytes[2] = {{before ? (const void *)before : origin, before ? MOON__HASH_SIZE : sizeof origin - 1},
                            {text, n}};
    moon__sha256(out, bytes, 2);
}

const char *moon__request_part(const moon__request *request, size_t index, size_t *length) {
    size_t begin = index ? request->parts[index - 1].end : 0;
    *length = request->parts[index].end - begin;
    return request->text.p + begin;
}

const unsigned char *moon__request_key(const moon__request *request) {
    return request->parts[request->n - 1].key;
}

static moon_status failed(moon_status status, moon_error *error) {
    return moon_error_set(error, status, "the conversation cannot be compared with recordings: %s",
                          moon_status_text(status));
}

/* What was added to text since the last part is the next one. */
static moon_status close_part(moon__request *r, moon_error *error) {
    if (r->text.status) return failed(r->text.status, error);
    if (r->n == r->room) {
        size_t room = r->room ? r->room * 2 : PARTS_FIRST;
        moon__part *parts = realloc(r->parts, room * sizeof *parts);
        if (!parts) return failed(MOON_ENOMEM, error);
        r->parts = parts;
        r->room = room;
    }
    size_t begin = r->n ? r->parts[r->n - 1].end : 0;
    moon__part *part = &r->parts[r->n];
    part->end = r->text.len;
    moon__key_next(part->key, r->n ? r->parts[r->n - 1].key : NULL, r->text.p + begin, part->end - begin);
    r->n++;
    return MOON_OK;
}

/* ---- what stays the same ---- */

static const char *shown_name(const moon__model *model) {
    const char *slash = model->scripted ? strrchr(model->name, '/') : NULL;
    return slash ? slash + 1 : model->name;
}

static void write_tools(moon__jw *w, const moon_wire_settings *wire) {
    if (!wire->n_tools) return;
    moon__jw_array(w, "tools");
    for (size_t i = 0; i < wire->n_tools; i++) {
        const moon_wire_tool *tool = &wire->tools[i];
        moon__jw_object(w, NULL);
        moon__jw_str(w, "name", tool->name, SIZE_MAX);
        if (tool->description) moon__jw_str(w, "description", tool->description, SIZE_MAX);
        if (tool->params) moon__jw_raw(w, "params", tool->params, SIZE_MAX);
        moon__jw_end(w);
    }
    moon__jw_end(w);
}

static void write_settings(moon__buf *out, const moon__model *model, const moon__chat_settings *settings) {
    const moon_wire_settings *wire = &settings->wire;
    moon__jw w;
    moon__jw_init(&w, out);
    moon__jw_object(&w, NULL);
    moon__jw_str(&w, "model", shown_name(model), SIZE_MAX);
    if (model->scripted && settings->agent) moon__jw_str(&w, "agent", settings->agent, SIZE_MAX);
    if (wire->temperature >= 0) moon__jw_num(&w, "temperature", wire->temperature);
    if (wire->top_p >= 0) moon__jw_num(&w, "top_p", wire->top_p);
    if (wire->max_output_tokens >= 0) moon__jw_int(&w, "max_output_tokens", wire->max_output_tokens);
    if (wire->seed >= 0) moon__jw_int(&w, "seed", wire->seed);
    if (wire->reasoning_effort) moon__jw_str(&w, "reasoning_effort", wire->reasoning_effort, SIZE_MAX);
    if (wire->output_schema) moon__jw_raw(&w, "output", wire->output_schema, SIZE_MAX);
    if (wire->extra && *wire->extra) {
        moon__jw_object(&w, "extra");
        moon__buf_str(out, wire->extra);
        moon__jw_end(&w);
    }
    write_tools(&w, wire);
    moon__jw_end(&w);
}

moon_status moon__request_init(moon__request *r, const moon__veil *veil, const moon__model *model,
                               const moon__chat_settings *settings, moon_error *error) {
    moon__buf raw, veiled;
    moon_json *json = NULL;
    *r = (moon__request){.veil = veil, .step = 1};
    moon__buf_init(&r->text, TEXT_MAX);
    moon__buf_init(&raw, TEXT_MAX);
    moon__buf_init(&veiled, TEXT_MAX);
    write_settings(&raw, model, settings);
    if (!raw.status) moon__veil_text(veil, &veiled, raw.p, raw.len);
    moon_status status = raw.status ? raw.status : veiled.status;
    if (status)
        failed(status, error);
    else
        status = moon__json_parse(&json, veiled.p, veiled.len, 0, error);
    if (!status) moon__json_print_canonical(&r->text, json);
    if (!status) status = close_part(r, error);
    moon__json_free(json);
    moon__buf_fini(&raw);
    moon__buf_fini(&veiled);
    return status;
}

/* ---- messages: written with their members in order ---- */

static void free_ids(moon__request *r) {
    for (size_t i = 0; i < r->n_ids; i++) free(r->ids[i]);
    free(r->ids);
    r->ids = NULL;
    r->n_ids = 0;
}

static moon_status keep_ids(moon__request *r, const moon_message *message) {
    free_ids(r);
    if (!message->n_calls) return MOON_OK;
    r->ids = calloc(message->n_calls, sizeof *r->ids);
    if (!r->ids) return MOON_ENOMEM;
    r->n_ids = message->n_calls;
    for (size_t i = 0; i < r->n_ids; i++)
        if (!(r->ids[i] = moon__strdup(message->calls[i].id ? message->calls[i].id : ""))) return MOON_ENOMEM;
    return MOON_OK;
}

/* From 1; 0: it answers none of the last calls. */
static size_t call_number(const moon__request *r, const char *id) {
    for (size_t i = 0; i < r->n_ids; i++)
        if (strcmp(r->ids[i], id) == 0) return i + 1;
    return 0;
}

static void add_text(moon__request *r, moon__jw *w, moon__buf *scratch, const char *name, const char *text, size_t n) {
    moon__buf_reset(scratch);
    moon__veil_text(r->veil, scratch, text, text ? n : 0);
    if (scratch->status) r->text.status = scratch->status;
    moon__jw_str(w, name, scratch->len ? scratch->p : "", scratch->len);
}

static void write_message(moon__request *r, moon__buf *scratch, const moon_message *message) {
    static const char *const roles[] = {"system", "user", "assistant", "tool"};
    moon__jw w;
    moon__jw_init(&w, &r->text);
    moon__jw_object(&w, NULL);
    if (message->call_id) moon__jw_int(&w, "call", (int64_t)call_number(r, message->call_id));
    if (message->is_error) moon__jw_bool(&w, "error", true);
    moon__jw_str(&w, "role", roles[message->role], SIZE_MAX);
    add_text(r, &w, scratch, "text", message->text, message->text_length);
    if (message->n_calls) moon__jw_array(&w, "tool_calls");
    for (size_t i = 0; i < message->n_calls; i++) {
        const moon_tool_use *call = &message->calls[i];
        moon__jw_object(&w, NULL);
        add_text(r, &w, scratch, "arguments", call->arguments, call->arguments_length);
        moon__jw_str(&w, "name", call->name ? call->name : "", SIZE_MAX);
        moon__jw_end(&w);
    }
    if (message->n_calls) moon__jw_end(&w);
    moon__jw_end(&w);
}

moon_status moon__request_add(moon__request *r, const moon_message *message, moon_error *error) {
    moon__buf scratch;
    moon__buf_init(&scratch, TEXT_MAX);
    size_t before = r->text.len;
    write_message(r, &scratch, message);
    moon__buf_fini(&scratch);
    if (!r->text.status && message->role == MOON_ASSISTANT) {
        r->step++;
        r->text.status = keep_ids(r, message);
    }
    moon_status status = close_part(r, error);
    if (!status) return MOON_OK;
    r->text.status = MOON_OK;
    moon__buf_cut(&r->text, before);
    return status;
}

void moon__request_fini(moon__request *r) {
    free_ids(r);
    moon__buf_fini(&r->text);
    free(r->parts);
    *r = (moon__request){0};
}
