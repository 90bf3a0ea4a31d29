/* SPDX-License-Identifier: MIT */
#include "recording.h"

#include <stdlib.h>
#include <string.h>

#include "answer.h"

enum { VERSION = 1, LINE_LEVELS = 3 };

/* ---- reading ---- */

static moon_status wrong(moon_error *error, const char *what) {
    return moon_error_set(error, MOON_EPARSE, "it is no recording: %s", what);
}

static bool is_text(const moon_json *object, const char *name) {
    return moon_json_type(moon_json_get(object, name)) == MOON_JSON_STRING;
}

/* A count that is not there is 0. */
static bool is_count(const moon_json *object, const char *name) {
    const moon_json *value = moon_json_get(object, name);
    int64_t count = 0;
    return !value || (moon_json_int(value, &count) && count >= 0);
}

static bool is_cost(const moon_json *value) {
    double usd = 0;
    return !value || (moon_json_num(value, &usd) && usd >= 0);
}

static moon_status check_usage(const moon_json *usage, moon_error *error) {
    static const char *const counts[] = {"input_tokens",     "cached_tokens", "output_tokens",
                                         "reasoning_tokens", "steps",         "tool_calls"};
    if (!usage) return MOON_OK;
    bool fits = moon_json_type(usage) == MOON_JSON_OBJECT && is_cost(moon_json_get(usage, "usd"));
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) fits = fits && is_count(usage, counts[i]);
    return fits ? MOON_OK : wrong(error, "answer.usage has counts from 0 up");
}

/* Results are matched to calls by id. */
static bool id_is_new(const moon_json *calls, const moon_json *call) {
    const char *id = moon_json_str(moon_json_get(call, "id"), NULL);
    if (!id || !*id) return false;
    for (const moon_json *c = moon_json_first(calls); c != call; c = moon_json_next(c))
        if (strcmp(moon_json_str(moon_json_get(c, "id"), NULL), id) == 0) return false;
    return true;
}

static moon_status check_calls(const moon_json *calls, moon_error *error) {
    if (moon_json_type(calls) != MOON_JSON_ARRAY) return wrong(error, "answer.tool_calls is a list");
    if (moon_json_size(calls) > MOON__ANSWER_CALLS) return wrong(error, "answer.tool_calls is too long");
    for (const moon_json *c = moon_json_first(calls); c; c = moon_json_next(c)) {
        if (!is_text(c, "name") || !is_text(c, "arguments"))
            return wrong(error, "a call has a name, and arguments as a text");
        if (!id_is_new(calls, c)) return wrong(error, "each call has an id of its own");
    }
    return MOON_OK;
}

static moon_status check_answer(const moon_json *answer, moon_error *error) {
    if (moon_json_type(answer) != MOON_JSON_OBJECT) return wrong(error, "it has no answer");
    if (!is_text(answer, "text") || !is_text(answer, "finish")) return wrong(error, "answer has a text and a finish");
    const char *const optional[] = {"reasoning", "model"};
    for (size_t i = 0; i < 2; i++)
        if (moon_json_get(answer, optional[i]) && !is_text(answer, optional[i]))
            return wrong(error, "answer.reasoning and answer.model are texts");
    moon_status status = check_calls(moon_json_get(answer, "tool_calls"), error);
    return status ? status : check_usage(moon_json_get(answer, "usage"), error);
}

static moon_status add_to_key(moon__recording *r, moon__buf *scratch, const moon_json *part, bool first,
                              moon_error *error) {
    moon__buf_reset(scratch);
    moon__json_print_canonical(scratch, part);
    if (scratch->status) return moon_error_set(error, scratch->status, "%s", moon_status_text(scratch->status));
    moon__key_next(r->key, first ? NULL : r->key, scratch->p, scratch->len);
    return MOON_OK;
}

static moon_status compute_key(moon__recording *r, moon_error *error) {
    moon__buf scratch;
    moon_status status = MOON_OK;
    moon__buf_init(&scratch, MOON__RECORDING_MAX * 2);
    if (r->follows)
        memcpy(r->key, r->after, sizeof r->key);
    else
        status = add_to_key(r, &scratch, r->request, true, error);
    for (const moon_json *m = moon_json_first(r->messages); !status && m; m = moon_json_next(m))
        status = is_text(m, "role") ? add_to_key(r, &scratch, m, false, error)
                                    : wrong(error, "messages are objects with a role");
    moon__buf_fini(&scratch);
    return status;
}

static moon_status take_members(moon__recording *r, moon_error *error) {
    int64_t version = 0;
    const moon_json *json = r->json, *after = moon_json_get(json, "after");
    if (!moon_json_int(moon_json_get(json, "cassette"), &version)) return wrong(error, "it has no member \"cassette\"");
    if (version != VERSION) return wrong(error, "its format is of another version");
    r->path = moon_json_str(moon_json_get(json, "path"), NULL);
    r->request = moon_json_get(json, "request");
    r->messages = moon_json_get(json, "messages");
    r->answer = moon_json_get(json, "answer");
    r->follows = after != NULL;
    if (!r->path) return wrong(error, "path is a text");
    if (!moon_json_int(moon_json_get(json, "step"), &r->step) || r->step < 1) return wrong(error, "step counts from 1");
    if (!after == !r->request) return wrong(error, "it has either request or after");
    if (r->request && moon_json_type(r->request) != MOON_JSON_OBJECT) return wrong(error, "request is an object");
    const char *hash = moon_json_str(after, NULL);
    if (after && (!hash || !moon__hash_read(r->after, hash))) return wrong(error, "after is a key of 64 hex digits");
    if (moon_json_type(r->messages) != MOON_JSON_ARRAY) return wrong(error, "messages is a list");
    if (moon_json_type(r->answer) != MOON_JSON_NULL) return check_answer(r->answer, error);
    r->answer = NULL;
    return MOON_OK;
}

moon_status moon__recording_read(moon__recording *r, const char *text, size_t n, moon_error *error) {
    *r = (moon__recording){0};
    if (n > MOON__RECORDING_MAX)
        return moon_error_set(error, MOON_ELIMIT, "a recording has at most %d MiB", MOON__RECORDING_MAX >> 20);
    moon_status status = moon__json_parse(&r->json, text, n, 0, error);
    if (status) return status;
    status = take_members(r, error);
    if (!status) status = compute_key(r, error);
    if (status) moon__recording_fini(r);
    return status;
}

void moon__recording_fini(moon__recording *r) {
    moon__json_free(r->json);
    *r = (moon__recording){0};
}

/* ---- writing ---- */

static void write_veiled(moon__jw *w, const moon__answer *answer, const moon__veil *veil) {
    moon__buf texts[MOON__ANSWER_CALLS + 2];
    moon_tool_use uses[MOON__ANSWER_CALLS];
    moon__answer veiled = *answer;
    size_t n = answer->n_calls < MOON__ANSWER_CALLS ? answer->n_calls : MOON__ANSWER_CALLS, total = n + 2;
    for (size_t i = 0; i < total; i++) {
        const char *text = i < n ? answer->calls[i].arguments : i == n ? answer->text : answer->reasoning;
        size_t length = i < n    ? answer->calls[i].arguments_length
                        : i == n ? answer->text_length
                                 : answer->reasoning_length;
        moon__buf_init(&texts[i], MOON__RECORDING_MAX);
        moon__veil_text(veil, &texts[i], text, length);
        if (texts[i].status && !w->buf->status) w->buf->status = texts[i].status;
    }
    for (size_t i = 0; i < n; i++) {
        uses[i] = answer->calls[i];
        uses[i].arguments = texts[i].len ? texts[i].p : "";
        uses[i].arguments_length = texts[i].len;
    }
    veiled.calls = uses;
    veiled.n_calls = n;
    veiled.text = texts[n].len ? texts[n].p : "";
    veiled.text_length = texts[n].len;
    veiled.reasoning = texts[n + 1].len ? texts[n + 1].p : "";
    veiled.reasoning_length = texts[n + 1].len;
    moon__answer_write(w, &veiled);
    for (size_t i = 0; i < total; i++) moon__buf_fini(&texts[i]);
}

static void write_all(moon__jw *w, const moon__recorded_ask *ask) {
    const moon__request *request = ask->request;
    size_t n;
    const char *part = moon__request_part(request, 0, &n);
    moon__jw_object(w, NULL);
    moon__jw_int(w, "cassette", VERSION);
    moon__jw_str(w, "path", ask->path, SIZE_MAX);
    if (ask->agent) moon__jw_str(w, "agent", ask->agent, SIZE_MAX);
    moon__jw_int(w, "step", request->step);
    if (ask->shared) {
        char after[MOON__HASH_TEXT];
        moon__hash_text(after, request->parts[ask->shared].key);
        moon__jw_str(w, "after", after, SIZE_MAX);
    } else {
        moon__jw_raw(w, "request", part, n);
    }
    moon__jw_array(w, "messages");
    for (size_t i = ask->shared + 1; i < request->n; i++) {
        part = moon__request_part(request, i, &n);
        moon__jw_raw(w, NULL, part, n);
    }
    moon__jw_end(w);
    if (ask->answer) {
        moon__jw_object(w, "answer");
        write_veiled(w, ask->answer, request->veil);
        moon__jw_end(w);
    } else {
        moon__jw_null(w, "answer");
    }
    moon__jw_end(w);
}

moon_status moon__recording_write(moon__buf *out, const moon__recorded_ask *ask, moon_error *error) {
    moon__buf raw;
    moon__jw w;
    moon_json *json = NULL;
    moon__buf_init(&raw, MOON__RECORDING_MAX);
    moon__jw_init(&w, &raw);
    write_all(&w, ask);
    moon_status status = raw.status ? moon_error_set(error, raw.status, "the recording is too long")
                                    : moon__json_parse(&json, raw.p, raw.len, 0, error);
    moon__buf_fini(&raw);
    if (status) return status;
    moon__json_print_lines(out, json, LINE_LEVELS);
    moon__buf_char(out, '\n');
    moon__json_free(json);
    return out->status ? moon_error_set(error, out->status, "the recording is too long") : MOON_OK;
}

/* ---- an answer that is given again ---- */

moon_status moon__played_init(moon__played *played, const moon__recording *recording, const moon__veil *veil,
                              moon_error *error) {
    moon__buf text, lifted;
    *played = (moon__played){0};
    moon__buf_init(&text, MOON__RECORDING_MAX * 2);
    moon__buf_init(&lifted, MOON__RECORDING_MAX * 4);
    moon__json_print(&text, recording->answer);
    if (!text.status) moon__veil_lift(veil, &lifted, text.p, text.len);
    moon_status status = text.status ? text.status : lifted.status;
    if (status)
        moon_error_set(error, status, "the recorded answer is too long");
    else
        status = moon__json_parse(&played->json, lifted.p, lifted.len, 0, error);
    moon__buf_fini(&text);
    moon__buf_fini(&lifted);
    if (!status) {
        status = moon__answer_read(&played->answer, &played->uses, played->json);
        if (status) moon_error_set(error, status, "the recorded answer cannot be read: %s", moon_status_text(status));
    }
    if (status) moon__played_fini(played);
    return status;
}

void moon__played_fini(moon__played *played) {
    moon__json_free(played->json);
    free(played->uses);
    *played = (moon__played){0};
}
