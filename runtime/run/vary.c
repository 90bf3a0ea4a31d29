/* SPDX-License-Identifier: MIT */
/* What a step is asked with instead of what its agent says: instructions, a part of the tools, settings of the model.
 */
#include "dialog.h"

#include <stdlib.h>
#include <string.h>

#include "text.h"

/* "messages" is not varied: what is added stays. */
static const char *const fields[] = {
    "instructions", "tools", "temperature", "top_p", "seed", "max_output_tokens", "reasoning_effort", "messages", NULL};

static moon_status wrong(moon_error *error, const char *field, const char *expected) {
    return moon_error_set(error, MOON_EINVAL, "%s must be %s", field, expected);
}

static moon_status check_fields(const moon_json *change, moon_error *error) {
    for (const moon_json *m = moon_json_first(change); m; m = moon_json_next(m)) {
        const char *name = moon_json_name(m);
        size_t i = 0;
        while (fields[i] && strcmp(fields[i], name) != 0) i++;
        if (fields[i]) continue;
        const char *near = moon__nearest(name, fields);
        return moon_error_set(error, MOON_EINVAL, "\"%.60s\" cannot be changed%s%s%s", name,
                              near ? " (did you mean \"" : "", near ? near : "", near ? "\"?)" : "");
    }
    return MOON_OK;
}

static moon_status take_text(const moon_json *change, const char *name, const char **out, moon_error *error) {
    const moon_json *value = moon_json_get(change, name);
    if (!value) return MOON_OK;
    *out = moon_json_str(value, NULL);
    return *out ? MOON_OK : wrong(error, name, "a string");
}

static moon_status take_number(const moon_json *change, const char *name, double *out, moon_error *error) {
    const moon_json *value = moon_json_get(change, name);
    if (!value || (moon_json_num(value, out) && *out >= 0)) return MOON_OK;
    return wrong(error, name, "a number from 0 up");
}

static moon_status take_int(const moon_json *change, const char *name, int64_t *out, moon_error *error) {
    const moon_json *value = moon_json_get(change, name);
    if (!value || (moon_json_int(value, out) && *out >= 0)) return MOON_OK;
    return wrong(error, name, "a whole number from 0 up");
}

/* In the agent's order, so that the same tools are the same bytes. */
static moon_status take_tools(moon__variation *v, const moon__agent *agent, moon_error *error) {
    const moon_json *list = moon_json_get(v->change, "tools");
    size_t n = 0;
    if (!list) return MOON_OK;
    if (moon_json_type(list) != MOON_JSON_ARRAY && moon_json_size(list))
        return wrong(error, "tools", "a list of names");
    for (const moon_json *t = moon_json_first(list); t; t = moon_json_next(t)) {
        const char *name = moon_json_str(t, NULL);
        if (!name) return wrong(error, "tools", "a list of names");
        if (!moon__agent_tool(agent, name))
            return moon_error_set(error, MOON_EINVAL, "tools: the agent has no tool \"%.60s\"", name);
    }
    v->tools = calloc(agent->n_tools + 1, sizeof *v->tools);
    if (!v->tools) return moon_error_set(error, MOON_ENOMEM, "no memory for tools");
    for (size_t i = 0; i < agent->n_tools; i++)
        for (const moon_json *t = moon_json_first(list); t; t = moon_json_next(t))
            if (!strcmp(moon_json_str(t, NULL), agent->wire_tools[i].name)) {
                v->tools[n++] = agent->wire_tools[i];
                break;
            }
    v->settings.wire.tools = v->tools;
    v->settings.wire.n_tools = n;
    return MOON_OK;
}

static moon_status take(moon__variation *v, const moon__agent *agent, moon_error *error) {
    moon_wire_settings *wire = &v->settings.wire;
    v->settings = agent->settings;
    moon_status status = take_text(v->change, "instructions", &v->instructions, error);
    if (!status) status = take_tools(v, agent, error);
    if (!status) status = take_number(v->change, "temperature", &wire->temperature, error);
    if (!status) status = take_number(v->change, "top_p", &wire->top_p, error);
    if (!status) status = take_int(v->change, "seed", &wire->seed, error);
    if (!status) status = take_int(v->change, "max_output_tokens", &wire->max_output_tokens, error);
    if (!status) status = take_text(v->change, "reasoning_effort", &wire->reasoning_effort, error);
    return status;
}

/* The object without "messages"; *n: how many members that leaves. */
static void print(moon__buf *out, const moon_json *change, size_t *n) {
    moon__buf value;
    moon__jw w;
    moon__buf_init(&value, 16 << 20);
    moon__jw_init(&w, out);
    moon__jw_object(&w, NULL);
    *n = 0;
    for (size_t i = 0; strcmp(fields[i], "messages") != 0; i++) {
        const moon_json *m = moon_json_get(change, fields[i]);
        if (!m) continue;
        moon__buf_reset(&value);
        moon__json_print(&value, m);
        if (value.status) out->status = value.status;
        moon__jw_raw(&w, fields[i], value.p, value.len);
        ++*n;
    }
    moon__jw_end(&w);
    moon__buf_fini(&value);
}

moon_status moon__variation_new(moon__variation **out, const moon__agent *agent, const moon_json *change,
                                moon_error *error) {
    *out = NULL;
    if (!change) return MOON_OK;
    moon_status status = check_fields(change, error);
    if (status) return status;
    moon__buf text;
    size_t n;
    moon__buf_init(&text, 16 << 20);
    print(&text, change, &n);
    moon__variation *v = n ? calloc(1, sizeof *v) : NULL;
    if (text.status || (n && !v)) status = moon_error_set(error, MOON_ENOMEM, "no memory for what is changed");
    if (v && !status) status = moon__json_parse(&v->change, text.p, text.len, 0, error);
    if (v && !status) status = take(v, agent, error);
    if (v && !status && !(v->as_text = moon__buf_take(&text)))
        status = moon_error_set(error, MOON_ENOMEM, "no memory for what is changed");
    moon__buf_fini(&text);
    if (status)
        moon__variation_free(v);
    else
        *out = v;
    return status;
}

void moon__variation_free(moon__variation *v) {
    if (!v) return;
    moon__json_free(v->change);
    free(v->as_text);
    free(v->tools);
    free(v);
}

bool moon__variation_same(const moon__variation *a, const moon__variation *b) {
    return a && b ? !strcmp(a->as_text, b->as_text) : a == b;
}
