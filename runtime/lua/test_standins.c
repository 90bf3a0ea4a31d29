/* SPDX-License-Identifier: MIT */
/* What stands in for models, tools, leave and the environment in a run under test, and the guard that no real model is
 * asked. */
#include "test.h"
#include "text.h"

#include <stdlib.h>
#include <string.h>

static moon__under *under_of(void *ctx, const moon_run *root) {
    return moon__under_of(ctx, root);
}

/* ---- models ---- */

static const moon__fake_model *find_model(const moon__under *under, const char *agent) {
    const moon__fake_model *any = NULL;
    for (const moon__fake_model *m = under ? under->models : NULL; m; m = m->next) {
        if (strcmp(m->agent, agent) == 0) return m;
        if (!*m->agent) any = m;
    }
    return any;
}

static moon_status refuse(moon__test_host *host, const char *agent, const char *model, moon_error *error) {
    moon_error text;
    moon_error_set(
        &text, MOON_EDENIED,
        "agent \"%.60s\" %s%.80s, and a test asks no real model: give t.run model = t.model { … }, or models = "
        "{ [\"%.60s\"] = … }",
        agent, model ? "would ask " : "has no model", model ? model : "", agent);
    moon__buf_add(&host->refused, text.text, strlen(text.text) + 1);
    if (error) *error = text;
    return MOON_EDENIED;
}

static bool is_file(const char *spec) {
    size_t n = strlen(spec);
    return strcmp(spec, "offline") == 0 || (n > 4 && strcmp(spec + n - 4, ".lua") == 0);
}

static moon_status model(void *ctx, const moon_run *root, const char *agent, moon__model *own, const char *spec,
                         moon__model **out, moon_error *error) {
    moon__test_host *host = ctx;
    const moon__fake_model *fake = find_model(under_of(ctx, root), agent);
    if (fake) own = fake->model, spec = fake->spec;
    if (own) {
        *out = moon__model_ref(own);
        return MOON_OK;
    }
    if (!spec || !is_file(spec)) return refuse(host, agent, spec, error);
    return moon__models_get(moon__runtime_models(host->script->runtime), spec, out, error);
}

/* ---- tools ---- */

/* The same name may be of different tools, where agents have their own: each gets a stand-in with its own schema. */
static moon__fake *fake_for(moon__fake *named, const moon__tool_entry *real) {
    if (!named->real) {
        named->real = real;
        return named;
    }
    moon__fake *more = calloc(1, sizeof *more);
    if (!more) return NULL;
    *more = (moon__fake){.next = named->next, .name = moon__strdup(named->name), .fn = named->fn, .real = real};
    named->next = more;
    return more->name ? more : NULL;
}

static const moon__tool_entry *tool(void *ctx, const moon_run *root, const moon__tool_entry *real) {
    moon__under *under = under_of(ctx, root);
    moon__fake *named = NULL, *f;
    for (f = under ? under->fakes : NULL; f; f = f->next) {
        if (strcmp(f->name, real->tool->name) != 0) continue;
        if (f->real == real) break;
        named = f;
    }
    if (!f && !named) return real;
    if (!f) f = fake_for(named, real);
    if (f && !f->tool) f->tool = moon__lua_tool_like(under->host->script, f->fn, real->tool);
    if (!f || !f->tool) { /* out of memory: the real tool must not be called instead */
        moon_run_cancel((moon_run *)(uintptr_t)root);
        return real;
    }
    f->entry = (moon__tool_entry){.tool = &f->tool->record, .schema = real->schema};
    return &f->entry;
}

/* ---- the rest ---- */

static moon_verdict policy(void *ctx, const moon_run *root, const moon_tool *tool, moon_verdict verdict) {
    const moon__under *under = under_of(ctx, root);
    moon_verdict rule;
    if (verdict == MOON_DENY || !under || !moon__policy_rule(under->policy, tool->name, &rule)) return verdict;
    return rule;
}

static const char *env(void *ctx, const moon_run *root, const char *name) {
    const moon__under *under = under_of(ctx, root);
    return under ? moon_json_str(moon_json_get(under->env, name), NULL) : NULL;
}

const moon__standins moon__test_standins = {.model = model, .tool = tool, .policy = policy, .env = env};
