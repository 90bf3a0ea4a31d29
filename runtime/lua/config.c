/* SPDX-License-Identifier: MIT */
/* Configuration files: Lua that returns a table, evaluated in a bare state and checked field by field. See script.h. */
#include "api.h"
#include "script.h"
#include "text.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

enum { CONFIG_MEMORY = 1 << 20, CONFIG_BUDGET = 1000000 };

/* ---- from text to JSON ---- */

typedef struct evaluation {
    const char *text, *name;
    size_t n;
    moon__buf *json;
} evaluation;

static int evaluate(lua_State *L) {
    evaluation *e = lua_touserdata(L, 1);
    char why[256];
    moon__guard_load(L, e->text, e->n, e->name);
    lua_call(L, 0, 1);
    if (!lua_istable(L, -1))
        return luaL_error(L, "%s:1: a configuration file returns a table: return { model = … }", e->name);
    if (!moon__lua_write(L, -1, e->json, why)) return luaL_error(L, "%s:1: %s", e->name, why);
    return 0;
}

static moon_status to_json(moon_json **out, evaluation *e, moon_error *error) {
    moon__guard guard;
    moon__buf json;
    moon_status status = moon__guard_open(&guard, CONFIG_MEMORY, CONFIG_BUDGET, error);
    if (status != MOON_OK) return status;
    moon__buf_init(&json, CONFIG_MEMORY);
    e->json = &json;
    status = moon__guard_call(&guard, evaluate, e, error);
    moon__guard_close(&guard);
    if (status == MOON_OK) status = moon__json_parse(out, json.p, json.len, MOON__JSON_REPAIR, error);
    moon__buf_fini(&json);
    return status;
}

/* ---- the fields ---- */

static moon_status wrong(moon_error *error, const char *field, const char *expected) {
    return moon_error_set(error, MOON_EINVAL, "%s must be %s", field, expected);
}

/* An empty table of Lua is an object; as a list it is empty as well. */
static bool is_list(const moon_json *value) {
    return moon_json_type(value) == MOON_JSON_ARRAY ||
           (moon_json_type(value) == MOON_JSON_OBJECT && !moon_json_first(value));
}

static moon_status unknown(moon_error *error, const char *what, const char *name, const char *const *known) {
    const char *near = moon__nearest(name, known);
    return moon_error_set(error, MOON_EINVAL, "unknown %s \"%.60s\"%s%s%s", what, name, near ? " (did you mean \"" : "",
                          near ? near : "", near ? "\"?)" : "");
}

static bool among(const char *name, const char *const *names) {
    while (*names && strcmp(*names, name) != 0) names++;
    return *names != NULL;
}

static moon_status read_limits(moon_limits *out, const moon_json *json, moon_error *error) {
    static const char *const names[] = {"steps", "tool_calls", "seconds", "tokens", "handoffs", "usd", NULL};
    int64_t *const integers[] = {&out->steps, &out->tool_calls, &out->seconds, &out->tokens, &out->handoffs};
    if (moon_json_type(json) != MOON_JSON_OBJECT) return wrong(error, "limits", "a table { steps = …, seconds = … }");
    for (const moon_json *m = moon_json_first(json); m; m = moon_json_next(m)) {
        const char *name = moon_json_name(m);
        double usd;
        int64_t value = -1;
        if (!among(name, names)) return unknown(error, "limit", name, names);
        if (strcmp(name, "usd") == 0) {
            if (!moon_json_num(m, &usd) || !(usd >= 0))
                return wrong(error, "limits.usd", "a number that is not negative");
            out->usd = usd;
            continue;
        }
        if (!moon_json_int(m, &value) || value < 0) {
            char field[64];
            snprintf(field, sizeof field, "limits.%.40s", name);
            return wrong(error, field, "a whole number that is not negative");
        }
        for (unsigned i = 0; i < 5; i++)
            if (strcmp(name, names[i]) == 0) *integers[i] = value;
    }
    return MOON_OK;
}

static moon_status check_policy(const moon_json *json, bool trusted, moon_error *error) {
    static const char *const verdicts[] = {"allow", "ask", "deny", NULL};
    if (moon_json_type(json) != MOON_JSON_OBJECT)
        return wrong(error, "policy", "a table { [\"file.write\"] = \"ask\" }");
    for (const moon_json *m = moon_json_first(json); m; m = moon_json_next(m)) {
        const char *verdict = moon_json_str(m, NULL);
        if (!verdict) return wrong(error, "policy", "a table of tools with \"allow\", \"ask\" or \"deny\"");
        if (!among(verdict, verdicts)) return unknown(error, "verdict of policy", verdict, verdicts);
        if (!trusted && strcmp(verdict, "allow") == 0)
            return moon_error_set(error, MOON_EDENIED,
                                  "policy: a repository's configuration cannot allow %.60s; that belongs in your own "
                                  "(it may only \"ask\" or \"deny\")",
                                  moon_json_name(m));
    }
    return MOON_OK;
}

static moon_status check_plugins(const moon_json *json, moon_error *error) {
    if (!is_list(json)) return wrong(error, "plugins", "a list of paths");
    for (const moon_json *m = moon_json_first(json); m; m = moon_json_next(m))
        if (!moon_json_str(m, NULL)) return wrong(error, "plugins", "a list of paths");
    return MOON_OK;
}

static moon_status check_providers(const moon_json *json, moon_error *error) {
    if (moon_json_type(json) == MOON_JSON_OBJECT) return MOON_OK;
    return wrong(error, "providers", "a table { name = { base_url = … } }");
}

static moon_status read_model(moon__config *out, const moon_json *json, moon_error *error) {
    out->model = moon_json_str(json, NULL);
    return out->model && *out->model ? MOON_OK : wrong(error, "model", "a string \"provider/model\"");
}

/* A field's value is in *out before it is checked; on an error the caller drops all. */
static moon_status read_field(moon__config *out, const moon_json *m, bool trusted, moon_error *error) {
    static const char *const all[] = {"model",    "limits",    "policy",  "snapshots",
                                      "requests", "providers", "plugins", NULL};
    const char *name = moon_json_name(m);
    if (strcmp(name, "model") == 0) return read_model(out, m, error);
    if (strcmp(name, "limits") == 0) return read_limits(&out->limits, m, error);
    if (strcmp(name, "policy") == 0) return check_policy(out->policy = m, trusted, error);
    if (strcmp(name, "snapshots") == 0)
        return moon_json_bool(m, &out->snapshots) ? MOON_OK : wrong(error, name, "true or false");
    if (strcmp(name, "requests") == 0)
        return moon_json_int(m, &out->requests) && out->requests > 0 && out->requests <= 1000000
                   ? MOON_OK
                   : wrong(error, name, "a whole number from 1 up");
    if (!among(name, all)) return unknown(error, "field", name, all);
    if (!trusted)
        return moon_error_set(error, MOON_EDENIED,
                              "%s is not accepted from a repository: it could run code or send a key elsewhere. Put it "
                              "into your own configuration",
                              name);
    if (strcmp(name, "providers") == 0) return check_providers(out->providers = m, error);
    return check_plugins(out->plugins = m, error);
}

void moon__config_free(moon__config *config) {
    moon__json_free(config->json);
    *config = (moon__config){.limits = MOON_LIMITS_NONE};
}

moon_status moon__config_text(moon__config *out, const char *text, size_t n, const char *name, bool trusted,
                              moon_error *error) {
    moon_error found = {0};
    *out = (moon__config){.limits = MOON_LIMITS_NONE};
    moon__source_skip(&text, &n);
    moon_status status = to_json(&out->json, &(evaluation){.text = text, .n = n, .name = name}, &found);
    /* an empty table has no fields, whatever it is */
    for (const moon_json *m = moon_json_first(out->json); m && status == MOON_OK; m = moon_json_next(m))
        status = moon_json_name(m)
                     ? read_field(out, m, trusted, &found)
                     : moon_error_set(&found, MOON_EINVAL, "a configuration has named fields, not a list");
    if (status == MOON_OK) return MOON_OK;
    if (!found.where[0]) snprintf(found.where, sizeof found.where, "%s", name);
    if (error) *error = found;
    moon__config_free(out);
    return status;
}

moon_status moon__config_load(moon__config *out, const char *path, bool trusted, moon_error *error) {
    moon__buf source;
    *out = (moon__config){.limits = MOON_LIMITS_NONE};
    moon__buf_init(&source, MOON__SOURCE_MAX);
    moon_status status = moon__source_read(&source, AT_FDCWD, path, error);
    if (status == MOON_OK) status = moon__config_text(out, source.p ? source.p : "", source.len, path, trusted, error);
    moon__buf_fini(&source);
    return status;
}
