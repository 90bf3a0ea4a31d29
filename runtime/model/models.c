/* SPDX-License-Identifier: MIT */
/*
 * Which model answers: specs, the environment, configured and built-in providers. Keys are read from the environment
 * when a model is made, go into its requests, and are shown nowhere.
 */
#include "models.h"

#include <stdlib.h>
#include <string.h>

#include "failure.h"
#include "text.h"

moon__model *moon__model_ref(moon__model *model) {
    if (model) model->refs++;
    return model;
}

void moon__model_unref(moon__model *model) {
    if (model && --model->refs == 0) model->ops->free(model);
}

/* ---- the registry ---- */

const moon__profile *moon__models_profile(const char *name, size_t n) {
    for (const moon__profile *p = moon__profiles; p->name; p++)
        if (strlen(p->name) == n && memcmp(p->name, name, n) == 0) return p;
    return NULL;
}

moon__preset *moon__models_preset(const moon__models *models, const char *name, size_t n) {
    for (moon__preset *p = models->presets; p; p = p->next)
        if (strlen(p->name) == n && memcmp(p->name, name, n) == 0) return p;
    return NULL;
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static moon_status list_names(moon__models *models, moon_error *error) {
    size_t n = 0;
    for (const moon__profile *p = moon__profiles; p->name; p++) n++;
    for (const moon__preset *p = models->presets; p; p = p->next) n++;
    const char **names = calloc(n + 1, sizeof *names);
    if (!names) return moon_error_set(error, MOON_ENOMEM, "out of memory");
    n = 0;
    for (const moon__profile *p = moon__profiles; p->name; p++) names[n++] = p->name;
    for (const moon__preset *p = models->presets; p; p = p->next)
        if (!moon__models_profile(p->name, strlen(p->name))) names[n++] = p->name;
    qsort(names, n, sizeof *names, by_name);
    free(models->names);
    models->names = names;
    return MOON_OK;
}

moon_status moon__models_new(moon__models **out, moon__loop *loop, moon__random *random, moon_error *error) {
    moon__models *models = calloc(1, sizeof *models);
    if (!models) return moon_error_set(error, MOON_ENOMEM, "out of memory");
    models->loop = loop;
    models->random = random;
    models->wires[models->n_wires++] = &moon__openai_chat;
    models->wires[models->n_wires++] = &moon__openai_chat_official;
    models->wires[models->n_wires++] = &moon__mistral_chat;
    moon_status status = list_names(models, error);
    if (status) {
        moon__models_free(models);
        return status;
    }
    *out = models;
    return MOON_OK;
}

void moon__models_free(moon__models *models) {
    if (!models) return;
    if (models->http) moon__http_free(models->http);
    for (moon__preset *p = models->presets, *next; p; p = next) {
        next = p->next;
        moon__preset_free(p);
    }
    free(models->names);
    free(models->default_spec);
    free(models->default_source);
    free(models->taped_model);
    free(models);
}

void moon__models_set_loader(moon__models *models, moon__model_loader loader, void *ctx) {
    models->loader = loader;
    models->loader_ctx = ctx;
}

moon_status moon__models_set_default(moon__models *models, const char *spec, const char *source, moon_error *error) {
    char *spec_copy = moon__strdup(spec), *source_copy = moon__strdup(source);
    if ((spec && !spec_copy) || (source && !source_copy)) { /* never another model in silence */
        free(spec_copy);
        free(source_copy);
        return moon_error_set(error, MOON_ENOMEM, "no memory for model %.200s", spec);
    }
    free(models->default_spec);
    free(models->default_source);
    models->default_spec = spec_copy;
    models->default_source = source_copy;
    return MOON_OK;
}

moon_status moon__models_play(moon__models *models, const char *model, moon_error *error) {
    char *copy = moon__strdup(model);
    if (model && !copy) return moon_error_set(error, MOON_ENOMEM, "out of memory");
    free(models->taped_model);
    models->taped_model = copy;
    models->playing = true;
    return MOON_OK;
}

const char *const *moon__models_names(const moon__models *models) {
    return models->names;
}

moon__http *moon__models_http(moon__models *models) {
    if (!models->http && moon__http_new(&models->http, models->loop, NULL)) models->http = NULL;
    return models->http;
}

moon__loop *moon__models_loop(moon__models *models) {
    return models->loop;
}

moon__random *moon__models_random(moon__models *models) {
    return models->random;
}

const moon_provider *moon__models_wire(const moon__models *models, const char *name) {
    for (size_t i = 0; i < models->n_wires; i++)
        if (strcmp(models->wires[i]->name, name) == 0) return models->wires[i];
    return NULL;
}

moon_status moon__models_add_provider(moon__models *models, const moon_provider *wire, moon_error *error) {
    if (!wire || wire->abi != MOON_TOOL_ABI)
        return moon_error_set(error, MOON_EINVAL, "a wire format of another version of Moonlet");
    if (!wire->name || !wire->path || !wire->headers || !wire->begin || !wire->message || !wire->end || !wire->decode)
        return moon_error_set(error, MOON_EINVAL, "the wire format \"%s\" is not complete",
                              wire->name ? wire->name : "");
    if (moon__models_wire(models, wire->name))
        return moon_error_set(error, MOON_EEXIST, "there is a wire format \"%s\" already", wire->name);
    if (models->n_wires == MOON__WIRES_MAX)
        return moon_error_set(error, MOON_ELIMIT, "over %d wire formats", MOON__WIRES_MAX);
    models->wires[models->n_wires++] = wire;
    return MOON_OK;
}

/* ---- configuration ---- */

static bool sound_name(const char *name) {
    size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-.");
    return n > 0 && n <= 40 && name[n] == '\0' && strcmp(name, "offline") != 0;
}

static moon_status configure_one(moon__models *models, const char *name, const moon_json *settings, bool trusted,
                                 moon_error *error) {
    if (!sound_name(name))
        return moon_error_set(error, MOON_EINVAL, "providers: a name is made of a-z, 0-9, \"_\", \"-\" and \".\"");
    moon__preset *preset = moon__models_preset(models, name, strlen(name));
    if (preset) return moon__preset_read(preset, settings, trusted, error);
    preset = moon__preset_new(name);
    if (!preset) return moon_error_set(error, MOON_ENOMEM, "out of memory");
    moon_status status = moon__preset_read(preset, settings, trusted, error);
    if (!status && !moon__models_profile(name, strlen(name)) && !preset->base_url) {
        const char *near = moon__nearest(name, models->names);
        status = moon_error_set(error, MOON_EINVAL, "providers.%s: a new provider needs a base_url%s%s%s", name,
                                near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
    }
    if (status) {
        moon__preset_free(preset);
        return status;
    }
    moon__preset **end = &models->presets;
    while (*end) end = &(*end)->next;
    *end = preset;
    return MOON_OK;
}

moon_status moon__models_configure(moon__models *models, const moon_json *providers, bool trusted, moon_error *error) {
    if (!providers) return MOON_OK;
    if (moon_json_type(providers) != MOON_JSON_OBJECT)
        return moon_error_set(error, MOON_EINVAL, "providers: a table of providers was expected");
    for (const moon_json *one = moon_json_first(providers); one; one = moon_json_next(one)) {
        moon_status status = configure_one(models, moon_json_name(one), one, trusted, error);
        if (status) return status;
    }
    return list_names(models, error);
}
