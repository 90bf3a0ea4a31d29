/* SPDX-License-Identifier: MIT */
/*
 * An agent: a description read once, checked whole, and then never changed. Its runs (react.c) read it.
 *
 * The specification is a JSON object; what cannot be JSON (a script's tools, a scripted model) comes beside it. Every
 * mistake in it is an error now, with the field's name, not a surprise in a run.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "handoff.h"
#include "text.h"

enum { STEPS_DEFAULT = 100, PARALLEL_DEFAULT = 8, PARALLEL_MAX = 64, TOOLS_MAX = 512 };

/* The words a spec may use. "name" and the rest are documented in docs/lua.md. */
static const char *const fields[] = {"name",
                                     "description",
                                     "model",
                                     "instructions",
                                     "prompt",
                                     "tools",
                                     "limits",
                                     "plan",
                                     "snapshots",
                                     "workspace",
                                     "policy",
                                     "output",
                                     "temperature",
                                     "top_p",
                                     "seed",
                                     "max_output_tokens",
                                     "reasoning_effort",
                                     "stream",
                                     "parallel",
                                     "first_byte_seconds",
                                     "stall_seconds",
                                     "retries",
                                     "extra",
                                     "handoffs",
                                     "hooks",
                                     NULL};

static moon_status wrong(moon_error *error, const char *field, const char *expected) {
    return moon_error_set(error, MOON_EINVAL, "agent field \"%s\" must be %s", field, expected);
}

static moon_status check_fields(const moon_json *spec, moon_error *error) {
    if (moon_json_type(spec) != MOON_JSON_OBJECT)
        return moon_error_set(error, MOON_EINVAL, "an agent is described by a table");
    for (const moon_json *m = moon_json_first(spec); m; m = moon_json_next(m)) {
        const char *name = moon_json_name(m);
        size_t i = 0;
        while (fields[i] && strcmp(fields[i], name)) i++;
        if (fields[i] && (!strcmp(name, "handoffs") || !strcmp(name, "hooks")))
            return moon_error_set(error, MOON_EUNSUPPORTED, "agent field \"%s\" is for scripts alone", name);
        if (fields[i]) continue;
        const char *near = moon__nearest(name, fields);
        return moon_error_set(error, MOON_EINVAL, "an agent has no field \"%.60s\"%s%s%s", name,
                              near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
    }
    return MOON_OK;
}

static moon_status text_field(const moon_json *spec, const char *name, const char **out, moon_error *error) {
    const moon_json *value = moon_json_get(spec, name);
    *out = moon_json_str(value, NULL);
    return value && !*out ? wrong(error, name, "a string") : MOON_OK;
}

static moon_status number_field(const moon_json *spec, const char *name, double *out, moon_error *error) {
    const moon_json *value = moon_json_get(spec, name);
    if (!value) return MOON_OK;
    if (moon_json_num(value, out) && *out >= 0) return MOON_OK;
    return wrong(error, name, "a number from 0 up");
}

static moon_status int_field(const moon_json *spec, const char *name, int64_t *out, moon_error *error) {
    const moon_json *value = moon_json_get(spec, name);
    if (!value) return MOON_OK;
    if (moon_json_int(value, out) && *out >= 0) return MOON_OK;
    return wrong(error, name, "a whole number from 0 up");
}

static moon_status bool_field(const moon_json *spec, const char *name, bool *out, moon_error *error) {
    const moon_json *value = moon_json_get(spec, name);
    return !value || moon_json_bool(value, out) ? MOON_OK : wrong(error, name, "true or false");
}

/* ---- tools ---- */

static bool has_tool(const moon__agent *agent, const moon_tool *tool) {
    for (size_t i = 0; i < agent->n_tools; i++)
        if (agent->tools[i]->tool == tool) return true;
    return false;
}

static moon_status take_tool(moon__agent *agent, const moon__tool_entry *entry, moon_error *error) {
    if (has_tool(agent, entry->tool)) return MOON_OK;
    if (agent->n_tools == TOOLS_MAX)
        return moon_error_set(error, MOON_ELIMIT, "an agent has at most %d tools", TOOLS_MAX);
    if (moon__agent_tool(agent, entry->tool->name))
        return moon_error_set(error, MOON_EEXIST, "two tools are named %s", entry->tool->name);
    agent->tools[agent->n_tools++] = entry;
    return MOON_OK;
}

/* A whole group, "file" for all of "file.*"; or, with group NULL, all that only read. */
static moon_status take_group(moon__agent *agent, const char *group, bool *any, moon_error *error) {
    const moon__tools *tools = agent->base.runtime->tools;
    const moon__tool_entry *entry;
    size_t n = group ? strlen(group) : 0;
    moon_status status = MOON_OK;
    for (size_t i = 0; !status && (entry = moon__tools_at(tools, i)); i++) {
        const char *name = entry->tool->name;
        bool fits = group ? !strncmp(name, group, n) && name[n] == '.' : (entry->tool->effects & MOON_READ_ONLY) != 0;
        if (!fits) continue;
        *any = true;
        status = take_tool(agent, entry, error);
    }
    return status;
}

static moon_status take_named(moon__agent *agent, const char *name, moon_error *error) {
    for (size_t i = 0; i < agent->n_own; i++) {
        const moon_tool *own = agent->own[i].tool;
        if (own && !strcmp(own->name, name)) return take_tool(agent, &agent->own[i], error);
    }
    const moon__tools *tools = agent->base.runtime->tools;
    const moon__tool_entry *entry = moon__tools_find(tools, name);
    if (entry) return take_tool(agent, entry, error);
    bool any = false;
    moon_status status = take_group(agent, name, &any, error);
    if (status || any) return status;
    const char *near = moon__tools_nearest(tools, name);
    return moon_error_set(error, MOON_ENOTFOUND,
                          "there is no tool or group \"%.60s\"%s%s%s; `moonlet tools` lists them", name,
                          near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
}

/* An empty table of Lua is an object or an array. */
static bool is_empty_table(const moon_json *value) {
    return moon_json_type(value) == MOON_JSON_OBJECT && !moon_json_first(value);
}

static moon_status take_tools(moon__agent *agent, moon_error *error) {
    const moon_json *list = moon_json_get(agent->spec, "tools");
    moon_status status = MOON_OK;
    bool any = false;
    agent->tools = calloc(TOOLS_MAX, sizeof *agent->tools);
    if (!agent->tools) return moon_error_set(error, MOON_ENOMEM, "no memory for an agent");
    if (!list)
        status = take_group(agent, NULL, &any, error);
    else if (moon_json_type(list) != MOON_JSON_ARRAY && !is_empty_table(list))
        status = wrong(error, "tools", "a list of tool names, groups and tools");
    for (const moon_json *t = moon_json_first(list); !status && t; t = moon_json_next(t)) {
        const char *name = moon_json_str(t, NULL);
        status =
            name ? take_named(agent, name, error) : wrong(error, "tools", "a list of tool names, groups and tools");
    }
    for (size_t i = 0; !status && i < agent->n_own; i++) status = take_tool(agent, &agent->own[i], error);
    return status;
}

static moon_status own_tools(moon__agent *agent, const moon__agent_extra *extra, moon_error *error) {
    size_t n = (extra ? extra->n_tools + extra->n_handoffs : 0) + (agent->plan ? 1 : 0);
    agent->own = calloc(n + 1, sizeof *agent->own);
    if (!agent->own) return moon_error_set(error, MOON_ENOMEM, "no memory for an agent");
    moon_status status = MOON_OK;
    if (agent->plan) status = moon__tool_entry_init(&agent->own[agent->n_own++], &moon__plan_tool, error);
    for (size_t i = 0; !status && extra && i < extra->n_tools; i++)
        status = moon__tool_entry_init(&agent->own[agent->n_own++], extra->tools[i], error);
    return status;
}

moon_status moon__agent_add_tool(moon__agent *agent, const moon_tool *tool, moon_error *error) {
    moon__tool_entry *entry = &agent->own[agent->n_own]; /* own_tools() has left room */
    moon_status status = moon__tool_entry_init(entry, tool, error);
    if (status) return status;
    status = take_tool(agent, entry, error);
    if (status)
        moon__tool_entry_fini(entry);
    else
        agent->n_own++;
    return status;
}

/* Is it a tool's name or group, as policy reads it? */
static bool rules(const char *rule, const char *tool) {
    size_t n = strlen(rule);
    return !strncmp(tool, rule, n) && (!tool[n] || (tool[n] == '.' && !memchr(rule, '.', n)));
}

/* A rule for nothing is a slip of the pen, and what it was meant for would go without. */
static moon_status check_rules(const moon__agent *agent, const moon_json *policy, moon_error *error) {
    const moon__tools *tools = agent->base.runtime->tools;
    size_t n = 0;
    while (moon__tools_at(tools, n)) n++;
    const char **names = calloc(n + agent->n_own + 1, sizeof *names), *wrong_rule = NULL;
    if (!names) return moon_error_set(error, MOON_ENOMEM, "no memory for an agent");
    for (size_t i = 0; i < n; i++) names[i] = moon__tools_at(tools, i)->tool->name;
    for (size_t i = 0; i < agent->n_own; i++) names[n++] = agent->own[i].tool->name;
    for (const moon_json *m = moon_json_first(policy); m && !wrong_rule; m = moon_json_next(m)) {
        const char *rule = moon_json_name(m);
        size_t i = 0;
        while (i < n && !rules(rule, names[i])) i++;
        if (i == n && strcmp(rule, "*") != 0) wrong_rule = rule;
    }
    const char *near = wrong_rule ? moon__nearest(wrong_rule, names) : NULL;
    free(names);
    if (!wrong_rule) return MOON_OK;
    return moon_error_set(error, MOON_EINVAL, "agent field \"policy\": there is no tool or group \"%.60s\"%s%s%s",
                          wrong_rule, near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
}

static moon_status tell_tools(moon__agent *agent, moon_error *error) {
    free(agent->wire_tools);
    agent->wire_tools = calloc(agent->n_tools + 1, sizeof *agent->wire_tools);
    if (!agent->wire_tools) return moon_error_set(error, MOON_ENOMEM, "no memory for an agent");
    for (size_t i = 0; i < agent->n_tools; i++) {
        assert(agent->tools[i]);
        const moon_tool *tool = agent->tools[i]->tool;
        agent->wire_tools[i] = (moon_wire_tool){
            .name = tool->name, .description = tool->description, .params = moon__schema_text(agent->tools[i]->schema)};
    }
    agent->settings.wire.tools = agent->wire_tools;
    agent->settings.wire.n_tools = agent->n_tools;
    return MOON_OK;
}

/* ---- the rest ---- */

static moon_status read_output(moon__agent *agent, moon_error *error) {
    const moon_json *output = moon_json_get(agent->spec, "output");
    if (!output) return MOON_OK;
    if (moon_json_type(output) != MOON_JSON_OBJECT) return wrong(error, "output", "a JSON Schema");
    moon__buf text;
    moon__buf_init(&text, 1 << 20);
    moon__json_print(&text, output);
    moon_status status =
        text.status ? moon_error_set(error, text.status, "agent field \"output\" is too large") : MOON_OK;
    if (!status) status = moon__schema_new(&agent->output, text.p, text.len, error);
    moon__buf_fini(&text);
    agent->settings.wire.output_schema = agent->output ? moon__schema_text(agent->output) : NULL;
    return status;
}

/* Members to be added to each request as they are: the object's text without its braces. */
static moon_status read_extra(moon__agent *agent, moon_error *error) {
    const moon_json *extra = moon_json_get(agent->spec, "extra");
    if (!extra || moon_json_size(extra) == 0) return MOON_OK;
    if (moon_json_type(extra) != MOON_JSON_OBJECT) return wrong(error, "extra", "a table of members for the request");
    moon__buf text;
    moon__buf_init(&text, 1 << 20);
    moon__json_print(&text, extra);
    if (!text.status) agent->extra = moon__strndup(text.p + 1, text.len - 2);
    moon__buf_fini(&text);
    agent->settings.wire.extra = agent->extra;
    return agent->extra ? MOON_OK : moon_error_set(error, MOON_ENOMEM, "no memory for agent field \"extra\"");
}

static moon_status read_wire(moon__agent *agent, moon_error *error) {
    const moon_json *spec = agent->spec;
    moon_wire_settings *wire = &agent->settings.wire;
    double first = 0, stall = 0;
    int64_t retries = -1, parallel = PARALLEL_DEFAULT;
    *wire = (moon_wire_settings){.stream = true, .temperature = -1, .top_p = -1, .max_output_tokens = -1, .seed = -1};
    moon_status status = number_field(spec, "temperature", &wire->temperature, error);
    if (!status) status = number_field(spec, "top_p", &wire->top_p, error);
    if (!status) status = int_field(spec, "max_output_tokens", &wire->max_output_tokens, error);
    if (!status) status = int_field(spec, "seed", &wire->seed, error);
    if (!status) status = text_field(spec, "reasoning_effort", &wire->reasoning_effort, error);
    if (!status) status = bool_field(spec, "stream", &wire->stream, error);
    if (!status) status = number_field(spec, "first_byte_seconds", &first, error);
    if (!status) status = number_field(spec, "stall_seconds", &stall, error);
    if (!status) status = int_field(spec, "retries", &retries, error);
    if (!status) status = int_field(spec, "parallel", &parallel, error);
    if (!status && (parallel < 1 || parallel > PARALLEL_MAX)) status = wrong(error, "parallel", "between 1 and 64");
    if (!status && (first > 86400 || stall > 86400)) status = wrong(error, "stall_seconds", "at most a day");
    if (status) return status;
    agent->settings.first_ms = (uint32_t)(first * 1000);
    agent->settings.stall_ms = (uint32_t)(stall * 1000);
    agent->settings.max_retries = retries > 100 ? 100 : (int)retries;
    agent->parallel = (unsigned)parallel;
    return MOON_OK;
}

static moon_status read_limits(moon__agent *agent, moon_error *error) {
    const moon_json *limits = moon_json_get(agent->spec, "limits");
    agent->limits = MOON_LIMITS_NONE;
    moon_status status = limits ? moon__limits_read(&agent->limits, limits, error) : MOON_OK;
    if (agent->limits.steps < 0) agent->limits.steps = STEPS_DEFAULT;
    return status;
}

/* Which version of which prompt the instructions are, for prompt.rendered. */
static moon_status read_prompt(moon__agent *agent, moon_error *error) {
    const moon_json *prompt = moon_json_get(agent->spec, "prompt");
    agent->prompt_name = moon_json_str(moon_json_get(prompt, "name"), NULL);
    agent->prompt_hash = moon_json_str(moon_json_get(prompt, "hash"), NULL);
    if (!prompt || (agent->prompt_name && agent->prompt_hash)) return MOON_OK;
    return wrong(error, "prompt", "the name and hash of a prompt; its text is \"instructions\"");
}

moon_status moon__agent_get_ready(moon__agent *agent, moon_error *error) {
    if (agent->ready) return MOON_OK;
    moon_status status = moon__handoffs_resolve(agent, error);
    if (!status && agent->policy) status = check_rules(agent, agent->policy, error);
    if (!status) status = tell_tools(agent, error);
    agent->ready = status == MOON_OK;
    return status;
}

static moon_status take_handoffs(moon__agent *agent, const moon__agent_extra *extra, bool *late, moon_error *error) {
    if (extra && extra->hooks) agent->hooks = *extra->hooks;
    agent->retells = (agent->hooks.has & (1U << MOON__BEFORE_MODEL)) != 0;
    if (!extra || !extra->n_handoffs) return MOON_OK;
    moon_status status = moon__handoffs_new(&agent->handoffs, extra->handoffs, extra->n_handoffs, error);
    if (status) return status;
    agent->n_handoffs = extra->n_handoffs;
    agent->retells = true;
    for (size_t i = 0; i < agent->n_handoffs; i++) *late = *late || !agent->handoffs[i].spec.agent;
    return MOON_OK;
}

static moon_status read_workspace(moon__agent *agent, moon_error *error) {
    const char *word;
    moon_status status = text_field(agent->spec, "workspace", &word, error);
    if (status || !word) return status;
    agent->worktree = !strcmp(word, "worktree");
    return agent->worktree || !strcmp(word, "shared") ? MOON_OK
                                                      : wrong(error, "workspace", "\"worktree\" or \"shared\"");
}

static moon_status read_spec(moon__agent *agent, const moon__agent_extra *extra, moon_error *error) {
    const moon_json *spec = agent->spec, *policy = moon_json_get(spec, "policy");
    bool late = false;
    const char *text;
    bool snapshots = false;
    moon_status status = read_workspace(agent, error);
    if (!status) status = text_field(spec, "description", &text, error);
    if (!status) status = text_field(spec, "model", &agent->model, error);
    if (!status) status = text_field(spec, "instructions", &agent->instructions, error);
    if (!status) status = read_prompt(agent, error);
    if (!status) status = bool_field(spec, "plan", &agent->plan, error);
    if (!status) status = bool_field(spec, "snapshots", &snapshots, error);
    if (!status && policy) status = moon__policy_check(policy, error);
    if (!status) status = read_limits(agent, error);
    if (!status) status = read_wire(agent, error);
    if (!status) status = read_output(agent, error);
    if (!status) status = read_extra(agent, error);
    if (!status) status = own_tools(agent, extra, error);
    if (!status) status = take_tools(agent, error);
    if (!status) status = take_handoffs(agent, extra, &late, error);
    agent->policy = policy;
    agent->snapshots = moon_json_get(spec, "snapshots") ? snapshots : -1;
    agent->settings.agent = agent->base.name;
    return status || late ? status : moon__agent_get_ready(agent, error);
}

/* A copy of the spec that the agent owns. */
static moon_status copy_spec(moon__agent *agent, const moon_json *spec, moon_error *error) {
    moon__buf text;
    moon__buf_init(&text, 16 << 20);
    moon__json_print(&text, spec);
    moon_status status = text.status ? moon_error_set(error, text.status, "the agent's description is too large")
                                     : moon__json_parse(&agent->spec, text.p, text.len, 0, error);
    moon__buf_fini(&text);
    return status;
}

moon_status moon__agent_new(moon_runnable **out, moon_runtime *runtime, const moon_json *spec,
                            const moon__agent_extra *extra, moon_error *error) {
    moon_status status = check_fields(spec, error);
    const char *name = NULL;
    if (!status) status = text_field(spec, "name", &name, error);
    if (status) return status;
    moon__agent *agent = calloc(1, sizeof *agent);
    if (!agent) return moon_error_set(error, MOON_ENOMEM, "no memory for an agent");
    status = moon__runnable_init(&agent->base, &moon__agent_ops, runtime, name && *name ? name : "agent");
    if (status) moon_error_set(error, status, "no memory for an agent");
    if (!status) status = copy_spec(agent, spec, error);
    if (!status) status = read_spec(agent, extra, error);
    if (status) {
        moon_runnable_unref(&agent->base);
        if (error && extra && extra->where && !error->where[0])
            memcpy(error->where, extra->where, strnlen(extra->where, sizeof error->where - 1));
        return status;
    }
    if (extra) { /* only now: on failure the caller keeps what it gave */
        agent->inline_model = extra->model ? moon__model_ref(extra->model) : NULL;
        agent->release = extra->release;
        agent->owner = extra->owner;
    }
    *out = &agent->base;
    return MOON_OK;
}

moon_status moon_agent_new(moon_runnable **out, moon_runtime *runtime, const char *json, size_t length,
                           moon_error *error) {
    moon_json *spec;
    moon_status status = moon__json_parse(&spec, json, length == SIZE_MAX ? strlen(json) : length, 0, error);
    if (status) return status;
    status = moon__agent_new(out, runtime, spec, NULL, error);
    moon__json_free(spec);
    if (status) return status;
    (*out)->origin.agent = moon__strndup(json, length == SIZE_MAX ? strlen(json) : length);
    if ((*out)->origin.agent) return MOON_OK;
    moon_runnable_unref(*out);
    return moon_error_set(error, MOON_ENOMEM, "no memory for an agent");
}

void moon__agent_free(moon_runnable *runnable) {
    moon__agent *agent = (moon__agent *)runnable;
    for (size_t i = 0; i < agent->n_own; i++) moon__tool_entry_fini(&agent->own[i]);
    moon__handoffs_free(agent->handoffs, agent->n_handoffs);
    free(agent->own);
    free(agent->tools);
    free(agent->wire_tools);
    free(agent->extra);
    moon__schema_free(agent->output);
    moon__model_unref(agent->inline_model);
    moon__json_free(agent->spec);
    if (agent->release) agent->release(agent->owner);
    free(agent);
}

const moon__tool_entry *moon__agent_tool(const moon__agent *agent, const char *name) {
    for (size_t i = 0; i < agent->n_tools; i++)
        if (!strcmp(agent->tools[i]->tool->name, name)) return agent->tools[i];
    return NULL;
}

bool moon__agent_hands_over(const moon_runnable *runnable) {
    return runnable->ops == &moon__agent_ops && ((const moon__agent *)runnable)->n_handoffs > 0;
}
