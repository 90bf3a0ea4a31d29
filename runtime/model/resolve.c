/* SPDX-License-Identifier: MIT */
/*
 * Which model answers: from a spec, the environment and what is configured to a model. Keys are read from the
 * environment when a model is made, go into its requests, and are shown nowhere.
 */
#include "models.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "failure.h"
#include "text.h"

enum { KEY_MAX = 4096 };

/* A provider as a spec names it; at least one of the two is there. */
typedef struct provider {
    const moon__profile *profile;
    const moon__preset *preset;
} provider;

/* ---- the environment ---- */

static const char *variable(const char *name) {
    const char *value = name ? getenv(name) : NULL;
    return value && *value ? value : NULL;
}

static const char *key_variable(const provider *p) {
    return p->preset && p->preset->key_env ? p->preset->key_env : p->profile ? p->profile->key_env : NULL;
}

static const char *default_model(const provider *p) {
    return p->preset && p->preset->model ? p->preset->model : p->profile ? p->profile->model : NULL;
}

/* The key of a provider, without the blanks that a file's last line leaves behind; *key is NULL if there is none. */
static moon_status read_key(const provider *p, char **key, moon_error *error) {
    const char *name = key_variable(p), *value = variable(name);
    *key = NULL;
    if (!value) return MOON_OK;
    while (*value == ' ' || *value == '\t' || *value == '\r' || *value == '\n') value++;
    size_t n = strlen(value);
    while (n > 0 && strchr(" \t\r\n", value[n - 1])) n--;
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)value[i] <= ' ' || (unsigned char)value[i] >= 0x7f)
            return moon_error_set(error, MOON_EINVAL, "%s holds a character that no key has", name);
    if (n > KEY_MAX) return moon_error_set(error, MOON_EINVAL, "%s is too long for a key", name);
    if (n == 0) return MOON_OK;
    *key = moon__strndup(value, n);
    return *key ? MOON_OK : moon_error_set(error, MOON_ENOMEM, "out of memory");
}

/* The environment's base URL, the configuration's, the profile's own. *own: it is the last. */
static moon_status read_url(const provider *p, char **url, bool *own, moon_error *error) {
    const char *env = p->profile ? p->profile->base_env : NULL, *value = variable(env);
    *own = false;
    if (value) return (p->profile->base_is_host ? moon__base_host : moon__base_url)(url, value, env, error);
    if (p->preset && p->preset->base_url) return moon__base_url(url, p->preset->base_url, "base_url", error);
    *own = true;
    const char *base = p->profile ? p->profile->base_url : NULL;
    if (!base)
        return moon_error_set(error, MOON_EINVAL, "%s needs a base URL: set %s (like http://localhost:8000/v1)",
                              p->profile ? p->profile->name : p->preset->name, env ? env : "base_url");
    return moon__base_url(url, base, "base_url", error);
}

/* ---- making a model ---- */

static moon_status no_provider(const moon__models *models, const char *name, moon_error *error) {
    char shown[64];
    moon__buf known;
    moon__buf_init(&known, 240);
    for (const char *const *n = models->names; *n; n++) {
        if (n != models->names) moon__buf_str(&known, ", ");
        moon__buf_str(&known, *n);
    }
    moon__plain(shown, sizeof shown, name, strlen(name));
    const char *near = moon__nearest(name, models->names);
    moon_status status = moon_error_set(
        error, MOON_EINVAL, "no provider \"%s\"%s%s%s. A model is provider/model or a .lua file; providers: %s", shown,
        near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "", known.len ? known.p : "");
    moon__buf_fini(&known);
    return status;
}

static moon_status build(moon__models *models, const provider *p, const moon__http_model *base, moon__model **out,
                         moon_error *error) {
    const moon__preset *preset = p->preset;
    moon__http_model options = *base;
    moon_wire_settings defaults = {.temperature = -1, .top_p = -1, .seed = -1, .max_output_tokens = -1};
    options.price = (moon__price){-1, -1, -1};
    options.send_reasoning = p->profile && p->profile->send_reasoning;
    options.defaults = &defaults;
    if (preset) {
        defaults.temperature = preset->temperature;
        defaults.top_p = preset->top_p;
        defaults.seed = preset->seed;
        defaults.reasoning_effort = preset->reasoning_effort;
        options.max_output_tokens = preset->max_output_tokens;
        options.price = preset->price;
        options.extra = preset->extra;
        if (preset->send_reasoning >= 0) options.send_reasoning = preset->send_reasoning == 1;
    }
    return moon__http_model_new(out, models, &options, error);
}

/* A key is needed at a provider's own address; a server elsewhere, put in its place, says itself whether it wants one.
 */
static bool needs_key(const provider *p, bool own_url) {
    if (!key_variable(p)) return false;
    if (p->preset && p->preset->key_env) return true;
    return own_url && !(p->profile && p->profile->key_optional);
}

static moon_status make_remote(moon__models *models, const provider *p, const char *name, const char *wire_model,
                               const char *source, moon__model **out, moon_error *error) {
    const char *provider_name = p->profile ? p->profile->name : p->preset->name;
    const char *wire = p->preset && p->preset->wire ? p->preset->wire : p->profile ? p->profile->wire : "openai-chat";
    moon__http_model options = {.name = name,
                                .source = source,
                                .wire_model = wire_model,
                                .key_name = key_variable(p),
                                .provider = moon__models_wire(models, wire)};
    char *url = NULL, *key = NULL;
    bool own = false;
    moon_status status = options.provider ? MOON_OK
                                          : moon_error_set(error, MOON_EINVAL, "providers.%s: no wire format \"%s\"",
                                                           provider_name, wire);
    if (!status) status = read_url(p, &url, &own, error);
    if (!status) status = read_key(p, &key, error);
    if (!status && !key && needs_key(p, own))
        status = moon_error_set(error, MOON_EINVAL, "%s needs a key: set %s", provider_name, key_variable(p));
    options.base_url = url;
    options.key = key;
    options.hides_cost = own && p->profile && !p->profile->tells_cost; /* nobody knows a server put in its place */
    if (!status) status = build(models, p, &options, out, error);
    if (key) explicit_bzero(key, strlen(key));
    free(key);
    free(url);
    return status;
}

static bool has_control(const char *text) {
    for (; *text; text++)
        if ((unsigned char)*text < ' ' || *text == 0x7f) return true;
    return false;
}

static moon_status get_remote(moon__models *models, const char *spec, const char *source, moon__model **out,
                              moon_error *error) {
    char name[512];
    size_t n = strcspn(spec, "/");
    provider p = {moon__models_profile(spec, n), moon__models_preset(models, spec, n)};
    const char *known = p.profile ? p.profile->name : p.preset ? p.preset->name : NULL;
    if (!known && models->playing && spec[n] && spec[n + 1] && !has_control(spec))
        return moon__named_model_new(out, spec, source, error);
    if (!known) {
        snprintf(name, sizeof name, "%.*s", n < sizeof name ? (int)n : 0, spec);
        return no_provider(models, name, error);
    }
    const char *model = spec[n] && spec[n + 1] ? spec + n + 1 : default_model(&p);
    if (!model) return moon_error_set(error, MOON_EINVAL, "%s has no default model: write %s/MODEL", known, known);
    if (has_control(model)) return moon_error_set(error, MOON_EINVAL, "the model's name holds a control character");
    if ((size_t)snprintf(name, sizeof name, "%s/%s", known, model) >= sizeof name)
        return moon_error_set(error, MOON_EINVAL, "the model's name is longer than %zu bytes", sizeof name - 1);
    if (models->playing) return moon__named_model_new(out, name, source, error);
    return make_remote(models, &p, name, model, source, out, error);
}

static moon_status get_scripted(moon__models *models, const char *spec, const char *source, moon__model **out,
                                moon_error *error) {
    if (!models->loader) return moon_error_set(error, MOON_EUNSUPPORTED, "scripted models are not available here");
    moon_status status = models->loader(models->loader_ctx, spec, out, error);
    if (status) return status;
    char *text = moon__strdup(source);
    if (!text) {
        moon__model_unref(*out);
        *out = NULL;
        return moon_error_set(error, MOON_ENOMEM, "out of memory");
    }
    free((*out)->source);
    (*out)->source = text;
    return MOON_OK;
}

/* The first provider that has a key and a default model: built-in ones in the order of their table, then configured
 * ones. */
static bool with_key(const moon__models *models, provider *found) {
    for (const moon__profile *profile = moon__profiles; profile->name; profile++) {
        *found = (provider){profile, moon__models_preset(models, profile->name, strlen(profile->name))};
        if (default_model(found) && variable(key_variable(found))) return true;
    }
    for (const moon__preset *preset = models->presets; preset; preset = preset->next) {
        *found = (provider){NULL, preset};
        if (moon__models_profile(preset->name, strlen(preset->name))) continue;
        if (default_model(found) && variable(key_variable(found))) return true;
    }
    return false;
}

/* What is used when nothing is asked for. buffer is room for the source. */
static const char *choose(const moon__models *models, const char **source, char *buffer, size_t size) {
    provider found;
    if (models->default_spec) {
        *source = models->default_source ? models->default_source : "given";
        return models->default_spec;
    }
    *source = "MOONLET_MODEL";
    if (variable("MOONLET_MODEL")) return variable("MOONLET_MODEL");
    *source = "the cassette";
    if (models->playing && models->taped_model) return models->taped_model;
    *source = "no model is configured";
    if (!with_key(models, &found)) return "offline";
    const char *key = key_variable(&found);
    snprintf(buffer, size, "%s is set", key ? key : "a key");
    *source = buffer;
    return found.profile ? found.profile->name : found.preset->name;
}

static bool is_script(const char *spec) {
    size_t n = strlen(spec);
    return strcmp(spec, "offline") == 0 || (n > 4 && strcmp(spec + n - 4, ".lua") == 0);
}

moon_status moon__models_get(moon__models *models, const char *spec, moon__model **out, moon_error *error) {
    char buffer[sizeof error->where];
    const char *source = "given";
    bool chosen = !spec || !*spec;
    if (chosen) spec = choose(models, &source, buffer, sizeof buffer);
    moon_status status = (is_script(spec) ? get_scripted : get_remote)(models, spec, source, out, error);
    if (status && chosen && error && !error->where[0])
        snprintf(error->where, sizeof error->where, "%.*s", (int)sizeof error->where - 1, source);
    return status;
}
