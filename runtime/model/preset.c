/* SPDX-License-Identifier: MIT */
/*
 * What the configuration says about one provider. The fields are one table. `guarded` ones decide where a key goes,
 * what is sent along with a conversation, or how its cost is counted: only the user's own configuration may set them,
 * not one that came with a repository.
 */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "failure.h"
#include "models.h"
#include "text.h"

typedef enum field_kind { TEXT, URL, VARIABLE, NUMBER, COUNT, FLAG, PRICE, MEMBERS } field_kind;

static const struct field {
    const char *name;
    field_kind kind;
    bool guarded;
    size_t at; /* in moon__preset */
} fields[] = {
    {"base_url", URL, true, offsetof(moon__preset, base_url)},
    {"wire", TEXT, true, offsetof(moon__preset, wire)},
    {"key_env", VARIABLE, true, offsetof(moon__preset, key_env)},
    {"price", PRICE, true, offsetof(moon__preset, price)},
    {"extra", MEMBERS, true, offsetof(moon__preset, extra)},
    {"send_reasoning", FLAG, false, offsetof(moon__preset, send_reasoning)},
    {"model", TEXT, false, offsetof(moon__preset, model)},
    {"reasoning_effort", TEXT, false, offsetof(moon__preset, reasoning_effort)},
    {"temperature", NUMBER, false, offsetof(moon__preset, temperature)},
    {"top_p", NUMBER, false, offsetof(moon__preset, top_p)},
    {"max_output_tokens", COUNT, false, offsetof(moon__preset, max_output_tokens)},
    {"seed", COUNT, false, offsetof(moon__preset, seed)},
};
enum { N_FIELDS = sizeof fields / sizeof *fields };

moon__preset *moon__preset_new(const char *name) {
    moon__preset *preset = calloc(1, sizeof *preset);
    if (!preset) return NULL;
    preset->name = moon__strdup(name);
    preset->price = (moon__price){-1, -1, -1};
    preset->temperature = preset->top_p = -1;
    preset->max_output_tokens = preset->seed = -1;
    preset->send_reasoning = -1;
    if (preset->name) return preset;
    free(preset);
    return NULL;
}

void moon__preset_free(moon__preset *preset) {
    if (!preset) return;
    for (size_t i = 0; i < N_FIELDS; i++)
        if (fields[i].kind <= VARIABLE || fields[i].kind == MEMBERS) free(*(char **)((char *)preset + fields[i].at));
    free(preset->name);
    free(preset);
}

static moon_status wrong(const moon__preset *preset, const struct field *field, const char *expected,
                         moon_error *error) {
    return moon_error_set(error, MOON_EINVAL, "providers.%s.%s: %s was expected", preset->name, field->name, expected);
}

static moon_status take_text(char **slot, char *text, moon_error *error) {
    if (!text) return moon_error_set(error, MOON_ENOMEM, "out of memory");
    free(*slot);
    *slot = text;
    return MOON_OK;
}

static bool is_variable_name(const char *text) {
    if (*text >= '0' && *text <= '9') return false;
    for (const char *p = text; *p; p++)
        if (!((*p >= 'A' && *p <= 'Z') || (*p >= 'a' && *p <= 'z') || (*p >= '0' && *p <= '9') || *p == '_'))
            return false;
    return *text != '\0';
}

static moon_status read_text(moon__preset *preset, const struct field *field, const moon_json *value, char **slot,
                             moon_error *error) {
    const char *text = moon_json_str(value, NULL);
    if (!text || !*text) return wrong(preset, field, "a text", error);
    if (field->kind == TEXT) return take_text(slot, moon__strdup(text), error);
    if (field->kind == VARIABLE) { /* the value is not quoted: it may be the key itself, by mistake */
        if (!is_variable_name(text))
            return wrong(preset, field, "the name of an environment variable that holds the key, not the key,", error);
        return take_text(slot, moon__strdup(text), error);
    }
    char named[160], *url = NULL;
    snprintf(named, sizeof named, "providers.%.100s.%s", preset->name, field->name);
    moon_status status = moon__base_url(&url, text, named, error);
    return status ? status : take_text(slot, url, error);
}

/* An object's members as text, without its braces. */
static moon_status read_members(moon__preset *preset, const struct field *field, const moon_json *value, char **slot,
                                moon_error *error) {
    if (moon_json_type(value) != MOON_JSON_OBJECT) return wrong(preset, field, "a table of names and values", error);
    moon__buf text;
    moon__buf_init(&text, 256 << 10);
    moon__json_print(&text, value);
    moon_status status = text.status;
    if (status)
        moon_error_set(error, status, "providers.%s.extra: %s", preset->name, moon_status_text(status));
    else
        status = take_text(slot, moon__strndup(text.p + 1, text.len - 2), error);
    moon__buf_fini(&text);
    return status;
}

static moon_status read_price(moon__preset *preset, const struct field *field, const moon_json *value,
                              moon_error *error) {
    moon__price price = {-1, -1, -1};
    const char *expected = "{ input =, output =, cached = } in USD per million tokens";
    for (const moon_json *member = moon_json_first(value); member; member = moon_json_next(member)) {
        const char *name = moon_json_name(member);
        double *slot = !name                         ? NULL
                       : strcmp(name, "input") == 0  ? &price.input
                       : strcmp(name, "output") == 0 ? &price.output
                       : strcmp(name, "cached") == 0 ? &price.cached
                                                     : NULL;
        if (!slot || !moon_json_num(member, slot) || *slot < 0) return wrong(preset, field, expected, error);
    }
    if (price.input < 0 || price.output < 0) return wrong(preset, field, expected, error);
    preset->price = price;
    return MOON_OK;
}

static moon_status read_field(moon__preset *preset, const struct field *field, const moon_json *value,
                              moon_error *error) {
    void *slot = (char *)preset + field->at;
    double number;
    int64_t count;
    bool flag;
    switch (field->kind) {
    case NUMBER:
        if (!moon_json_num(value, &number) || number < 0) return wrong(preset, field, "a number from 0 up", error);
        *(double *)slot = number;
        return MOON_OK;
    case COUNT:
        if (!moon_json_int(value, &count) || count < 0) return wrong(preset, field, "an integer from 0 up", error);
        *(int64_t *)slot = count;
        return MOON_OK;
    case FLAG:
        if (!moon_json_bool(value, &flag)) return wrong(preset, field, "true or false", error);
        *(int *)slot = flag;
        return MOON_OK;
    case PRICE: return read_price(preset, field, value, error);
    case MEMBERS: return read_members(preset, field, value, slot, error);
    default: return read_text(preset, field, value, slot, error);
    }
}

static moon_status unknown_field(const moon__preset *preset, const char *name, moon_error *error) {
    const char *names[N_FIELDS + 1] = {NULL};
    char shown[64];
    for (size_t i = 0; i < N_FIELDS; i++) names[i] = fields[i].name;
    const char *near = moon__nearest(name, names);
    moon__plain(shown, sizeof shown, name, strlen(name));
    return moon_error_set(error, MOON_EINVAL, "providers.%s: there is no setting \"%s\"%s%s%s", preset->name, shown,
                          near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
}

static const struct field *find_field(const char *name) {
    for (size_t i = 0; name && i < N_FIELDS; i++)
        if (strcmp(fields[i].name, name) == 0) return &fields[i];
    return NULL;
}

moon_status moon__preset_read(moon__preset *preset, const moon_json *settings, bool trusted, moon_error *error) {
    if (moon_json_type(settings) != MOON_JSON_OBJECT)
        return moon_error_set(error, MOON_EINVAL, "providers.%s: a table of settings was expected", preset->name);
    for (const moon_json *value = moon_json_first(settings); value; value = moon_json_next(value)) {
        const char *name = moon_json_name(value);
        const struct field *field = find_field(name);
        if (!field) return unknown_field(preset, name ? name : "", error);
        if (field->guarded && !trusted)
            return moon_error_set(error, MOON_EDENIED,
                                  "providers.%s.%s: only your own configuration may set it, not a repository's",
                                  preset->name, field->name);
        moon_status status = read_field(preset, field, value, error);
        if (status) return status;
    }
    return MOON_OK;
}
