/* SPDX-License-Identifier: MIT */
#include "testing.h"

#include <stdlib.h>

#include "runtime.h"

static const int64_t epoch_us = INT64_C(1748779200) * 1000000; /* 2025-06-01T12:00:00Z */

static int64_t now(void *ctx) {
    return ((const moon__testing *)ctx)->now_us;
}

static void advance(void *ctx, int64_t us) {
    ((moon__testing *)ctx)->now_us += us;
}

void moon__testing_init(moon__testing *testing, const char *file, bool update) {
    *testing = (moon__testing){.file = file, .update = update, .now_us = epoch_us};
    testing->clock = (moon__clock){.monotonic_us = now, .wall_us = now, .advance = advance, .ctx = testing};
}

void moon__runtime_set_testing(moon_runtime *rt, moon__testing *testing) {
    rt->testing = testing;
}

moon__testing *moon__runtime_testing(const moon_runtime *rt) {
    return rt->testing;
}

bool moon__runtime_outside(const moon_runtime *rt) {
    return moon__loop_held(rt->loop);
}

bool moon__runtime_jump(moon_runtime *rt) {
    moon__loop_step(rt->loop, 0);
    int timeout_ms = moon__loop_timeout(rt->loop);
    if (timeout_ms == 0 || moon__loop_held(rt->loop)) return true;
    if (timeout_ms < 0) return false;
    moon__loop_step(rt->loop, timeout_ms);
    return true;
}

/* ---- stand-ins ---- */

/* NULL: nothing stands in for anything. */
static const moon__standins *standins(const moon_run *run) {
    const moon__testing *testing = run->runtime->testing;
    return testing ? &testing->standins : NULL;
}

moon_status moon__standin_model(const moon_run *run, const char *agent, moon__model *own, const char *spec,
                                moon__model **out, moon_error *error) {
    const moon__standins *s = standins(run);
    if (run->model) own = NULL, spec = run->model;
    if (s && s->model) return s->model(s->ctx, run->tree->root, agent, own, spec, out, error);
    if (!own) return moon__models_get(run->runtime->models, spec, out, error);
    *out = moon__model_ref(own);
    return MOON_OK;
}

const moon__tool_entry *moon__standin_tool(const moon_run *run, const moon__tool_entry *entry) {
    const moon__standins *s = standins(run);
    return s && s->tool ? s->tool(s->ctx, run->tree->root, entry) : entry;
}

moon_verdict moon__standin_policy(const moon_run *run, const moon_tool *tool, moon_verdict verdict) {
    const moon__standins *s = standins(run);
    return s && s->policy ? s->policy(s->ctx, run->tree->root, tool, verdict) : verdict;
}

const char *moon__standin_env(const moon_run *run, const char *name) {
    const moon__standins *s = standins(run);
    return s && s->env ? s->env(s->ctx, run->tree->root, name) : getenv(name);
}

bool moon__run_signal(moon_run *root, const char *name, const moon_json *value) {
    return !root->stopping && !root->ended && moon__pause_signal(root, name, value);
}
