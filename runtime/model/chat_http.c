/* SPDX-License-Identifier: MIT */
/*
 * The model behind an HTTP server, and the body of a conversation with it.
 *
 * One buffer holds the request: what the codec's begin() wrote, then message after message. For each ask end() closes
 * it, and the bytes go to the connection as they are, untouched while it is in flight; the next append cuts the end off
 * again. So a step costs its new messages, and the prefix stays the same to the byte.
 */
#include "chat_http.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"

enum { EXTRA_MAX = 1 << 20 };

/* ---- the model ---- */

static void model_free(moon__model *model) {
    moon__remote *m = (moon__remote *)model;
    if (m->key) explicit_bzero(m->key, strlen(m->key));
    char *owned[] = {m->base.name, m->base.source, m->url,   m->shown, m->wire_model,
                     m->key,       m->key_name,    m->extra, m->effort};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++) free(owned[i]);
    free(m);
}

/* The URL without user and password: it is shown in errors. */
static char *without_userinfo(const char *url) {
    const char *host = strstr(url, "://");
    host = host ? host + 3 : url;
    size_t authority = strcspn(host, "/?#");
    const char *at = memrchr(host, '@', authority);
    char *shown = moon__strdup(url);
    if (shown && at) memmove(shown + (host - url), at + 1, strlen(at + 1) + 1);
    if (shown) shown[strcspn(shown, "?#")] = '\0';
    return shown;
}

static char *join(const char *a, const char *b) {
    size_t size = strlen(a) + strlen(b) + 1;
    char *text = malloc(size);
    if (text) snprintf(text, size, "%s%s", a, b);
    return text;
}

/* A copy of an optional text; false when memory is out. */
static bool copy(char **to, const char *from) {
    *to = moon__strdup(from);
    return *to || !from;
}

static bool copy_texts(moon__remote *m, const moon__http_model *o) {
    bool ok = copy(&m->base.name, o->name) && copy(&m->base.source, o->source ? o->source : "given") &&
              copy(&m->wire_model, o->wire_model) && copy(&m->key, o->key) && copy(&m->key_name, o->key_name) &&
              copy(&m->extra, o->extra) && copy(&m->effort, o->defaults ? o->defaults->reasoning_effort : NULL);
    char *base = ok ? moon__strdup(o->base_url) : NULL;
    if (!base) return false;
    for (size_t n = strlen(base); n > 0 && base[n - 1] == '/'; n--) base[n - 1] = '\0';
    m->url = join(base, o->provider->path);
    m->shown = without_userinfo(base);
    free(base);
    return m->url && m->shown;
}

static const moon__model_ops http_ops;

moon_status moon__http_model_new(moon__model **out, moon__models *models, const moon__http_model *options,
                                 moon_error *error) {
    moon__remote *m = calloc(1, sizeof *m);
    if (!m) return moon_error_set(error, MOON_ENOMEM, "out of memory");
    m->base.ops = &http_ops;
    m->base.refs = 1;
    m->base.price = options->price;
    m->base.hides_cost = options->hides_cost && (options->price.input < 0 || options->price.output < 0);
    m->models = models;
    m->provider = options->provider;
    m->base.max_output_tokens = options->max_output_tokens;
    m->send_reasoning = options->send_reasoning;
    m->defaults = (moon_wire_settings){.temperature = -1, .top_p = -1, .seed = -1};
    if (options->defaults) m->defaults = *options->defaults;
    if (!copy_texts(m, options)) {
        model_free(&m->base);
        return moon_error_set(error, MOON_ENOMEM, "out of memory");
    }
    m->defaults.reasoning_effort = m->effort;
    m->base.base_url = m->shown;
    m->base.key_name = m->key ? m->key_name : NULL;
    *out = &m->base;
    return MOON_OK;
}

/* ---- opening: settings and what they lack ---- */

static bool is_reserved(const char *name) {
    static const char *const reserved[] = {"model", "stream", "messages", "tools"};
    for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++)
        if (strcmp(name, reserved[i]) == 0) return true;
    return false;
}

/* Adds the members of "a":1,"b":2 that `except` (an object, or NULL) has not. */
static moon_status add_members(moon__buf *out, const char *members, const moon_json *except, moon_json **parsed,
                               moon_error *error) {
    moon__buf text;
    moon__buf_init(&text, EXTRA_MAX);
    moon__buf_char(&text, '{');
    moon__buf_str(&text, members);
    moon__buf_char(&text, '}');
    moon_error why;
    moon_status status = text.status;
    if (!status) status = moon__json_parse(parsed, text.p, text.len, 0, &why);
    moon__buf_fini(&text);
    if (status == MOON_EPARSE)
        return moon_error_set(error, MOON_EINVAL, "extra members of the request are no JSON: %.200s", why.text);
    if (status) return moon_error_set(error, status, "extra members of the request: %s", moon_status_text(status));
    for (const moon_json *member = moon_json_first(*parsed); member; member = moon_json_next(member)) {
        const char *name = moon_json_name(member);
        if (moon_json_get(except, name)) continue;
        if (is_reserved(name))
            return moon_error_set(error, MOON_EINVAL, "extra members of the request: \"%s\" is not theirs to set",
                                  name);
        if (out->len) moon__buf_char(out, ',');
        moon__buf_quoted(out, name, SIZE_MAX);
        moon__buf_char(out, ':');
        moon__json_print(out, member);
    }
    if (out->status) return moon_error_set(error, out->status, "extra members of the request are too long");
    return MOON_OK;
}

/* The agent's extra members, then those of the model that the agent has not given. */
static moon_status merge_extra(moon__talk *talk, const moon__remote *m, moon_error *error) {
    const char *own = talk->settings->wire.extra;
    moon_json *mine = NULL, *theirs = NULL;
    moon_status status = MOON_OK;
    if (own && *own) status = add_members(&talk->extra, own, NULL, &mine, error);
    if (!status && m->extra && *m->extra) status = add_members(&talk->extra, m->extra, mine, &theirs, error);
    moon__json_free(mine);
    moon__json_free(theirs);
    if (!status && talk->extra.len) talk->wire.extra = talk->extra.p;
    return status;
}

static void merge_defaults(moon_wire_settings *wire, const moon__remote *m) {
    const moon_wire_settings *defaults = &m->defaults;
    if (wire->temperature < 0) wire->temperature = defaults->temperature;
    if (wire->top_p < 0) wire->top_p = defaults->top_p;
    if (wire->seed < 0) wire->seed = defaults->seed;
    if (!wire->reasoning_effort) wire->reasoning_effort = defaults->reasoning_effort;
    if (wire->max_output_tokens < 0 && m->base.max_output_tokens > 0)
        wire->max_output_tokens = m->base.max_output_tokens;
    wire->model = m->wire_model;
    wire->extra = NULL;
}

/* The codec's tools are the agent's, in their order, with wire names. */
static moon_status wire_tools(moon__talk *talk, moon_error *error) {
    const moon_wire_settings *given = &talk->settings->wire;
    moon_status status = moon__names_init(&talk->names, given->tools, given->n_tools, error);
    if (status || given->n_tools == 0) return status;
    talk->tools = malloc(given->n_tools * sizeof *talk->tools);
    if (!talk->tools) return moon_error_set(error, MOON_ENOMEM, "out of memory");
    for (size_t i = 0; i < given->n_tools; i++) {
        talk->tools[i] = given->tools[i];
        talk->tools[i].name = moon__names_wire(&talk->names, given->tools[i].name);
    }
    talk->wire.tools = talk->tools;
    return MOON_OK;
}

static void talk_free(moon__talk *talk) {
    moon__buf_fini(&talk->body);
    moon__buf_fini(&talk->extra);
    moon__names_fini(&talk->names);
    free(talk->tools);
    moon__model_unref(talk->base.model);
    free(talk);
}

static moon_status too_long(moon_status status, moon_error *error) {
    if (status == MOON_ELIMIT)
        return moon_error_set(error, MOON_ELIMIT, "the conversation is over %d MiB", MOON__BODY_MAX >> 20);
    return moon_error_set(error, status, "%s", moon_status_text(status));
}

static moon_status http_open(moon__model *model, const moon__chat_settings *settings, moon__chat **out,
                             moon_error *error) {
    moon__remote *m = (moon__remote *)model;
    moon__talk *talk = calloc(1, sizeof *talk);
    if (!talk) return moon_error_set(error, MOON_ENOMEM, "out of memory");
    talk->base.model = moon__model_ref(model);
    talk->settings = settings;
    talk->wire = settings->wire;
    moon__buf_init(&talk->body, MOON__BODY_MAX);
    moon__buf_init(&talk->extra, EXTRA_MAX);
    merge_defaults(&talk->wire, m);
    moon_status status = merge_extra(talk, m, error);
    if (!status) status = wire_tools(talk, error);
    if (!status) {
        m->provider->begin(&talk->wire, &talk->body);
        if (talk->body.status) status = too_long(talk->body.status, error);
    }
    if (status) {
        talk_free(talk);
        return status;
    }
    *out = &talk->base;
    return MOON_OK;
}

/* ---- messages ---- */

/* Back to what the buffer held before an addition that failed, or before end()'s bytes. */
static void cut_body(moon__talk *talk, size_t len) {
    moon__buf_cut(&talk->body, len);
    talk->body.status = MOON_OK;
}

static moon_status add_message(moon__talk *talk, const moon_message *message) {
    typedef struct wire_call {
        char name[MOON__WIRE_NAME];
    } wire_call;
    const moon__remote *m = (const moon__remote *)talk->base.model;
    moon_message wire = *message;
    if (!m->send_reasoning) wire.reasoning = NULL;
    if (message->n_calls == 0) {
        m->provider->message(&wire, !talk->has_messages, &talk->body);
        return talk->body.status;
    }
    moon_status status = MOON_ENOMEM;
    moon_tool_use *calls = calloc(message->n_calls, sizeof *calls);
    wire_call *names = calloc(message->n_calls, sizeof *names);
    if (!calls || !names) goto out;
    for (size_t i = 0; i < message->n_calls; i++) {
        calls[i] = message->calls[i];
        moon__wire_name(names[i].name, calls[i].name ? calls[i].name : "");
        calls[i].name = names[i].name;
    }
    wire.calls = calls;
    m->provider->message(&wire, !talk->has_messages, &talk->body);
    status = talk->body.status;
out:
    free(calls);
    free(names);
    return status;
}

static moon_status http_append(moon__chat *base, const moon_message *message, moon_error *error) {
    moon__talk *talk = (moon__talk *)base;
    if (talk->flight) return moon_error_set(error, MOON_EINVAL, "an answer is in progress");
    if (talk->tail) cut_body(talk, talk->tail);
    talk->tail = 0;
    size_t before = talk->body.len;
    moon_status status = add_message(talk, message);
    if (status) {
        cut_body(talk, before);
        return too_long(status, error);
    }
    talk->has_messages = true;
    return MOON_OK;
}

moon_status moon__talk_seal(moon__talk *talk, moon_error *error) {
    const moon__remote *m = (const moon__remote *)talk->base.model;
    if (talk->tail) return MOON_OK; /* asked again without a message in between */
    size_t tail = talk->body.len;
    m->provider->end(&talk->wire, &talk->body);
    moon_status status = talk->body.status;
    if (status) {
        cut_body(talk, tail);
        return too_long(status, error);
    }
    talk->tail = tail;
    return MOON_OK;
}

static moon_status http_ask(moon__chat *base, const moon__ask *ask, moon_error *error) {
    return moon__flight_start((moon__talk *)base, ask, error);
}

static void http_cancel(moon__chat *base) {
    moon__talk *talk = (moon__talk *)base;
    if (talk->flight) moon__flight_drop(talk->flight);
}

static void http_close(moon__chat *base) {
    moon__talk *talk = (moon__talk *)base;
    http_cancel(base);
    if (talk->flight) moon__flight_orphan(talk->flight);
    talk_free(talk);
}

static const moon__model_ops http_ops = {
    .open = http_open,
    .append = http_append,
    .ask = http_ask,
    .cancel = http_cancel,
    .close = http_close,
    .free = model_free,
};
