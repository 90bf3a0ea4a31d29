/* SPDX-License-Identifier: MIT */
/*
 * The plan: a tool with which an agent says what it is going to do, and keeps that up to date. It changes nothing but
 * the run's notes, so it needs no leave. Until a plan is there, the agent's other tools are refused (calls.c).
 */
#include <stdio.h>
#include <string.h>

#include "runtime.h"

static const char params[] =
    "{\"type\":\"object\",\"properties\":{\"items\":{\"type\":\"array\",\"minItems\":1,\"maxItems\":50,"
    "\"description\":\"All steps of the plan in order, not only those that changed.\",\"items\":{\"type\":\"object\","
    "\"properties\":{\"text\":{\"type\":\"string\",\"minLength\":1,\"maxLength\":300,\"description\":\"What is done in "
    "this "
    "step.\"},\"state\":{\"enum\":[\"todo\",\"doing\",\"done\",\"dropped\"]}},\"required\":[\"text\",\"state\"],"
    "\"additionalProperties\":false}}},\"required\":[\"items\"],\"additionalProperties\":false}";

static void start(void *self, moon_call *call, const moon_json *args) {
    (void)self;
    moon_run *run = moon__call_owner(call);
    moon__buf body;
    char key[16];
    size_t items = 0, open = 0;
    for (const moon_json *i = moon_json_first(moon_json_get(args, "items")); i; i = moon_json_next(i)) {
        const char *state = moon_json_str(moon_json_get(i, "state"), NULL);
        items++;
        open += strcmp(state, "todo") == 0 || strcmp(state, "doing") == 0;
    }
    moon__buf_init(&body, 1 << 20);
    moon__json_print(&body, args);
    if (body.status)
        moon_call_fail(call, "no memory for the plan");
    else {
        run->planned = true;
        snprintf(key, sizeof key, "%u", ++run->n_plans);
        moon__run_event(run, MOON_EVENT_PLAN_UPDATED, key, &body);
        moon_call_printf(call, "plan of %zu steps noted, %zu open", items, open);
        moon_call_done(call);
    }
    moon__buf_fini(&body);
}

const moon_tool moon__plan_tool = {
    .abi = MOON_TOOL_ABI,
    .name = "plan",
    .description =
        "Writes or updates your plan. Call it before any other tool, with the steps you are going to take; call it "
        "again whenever a step is begun, finished or dropped, or the plan changes. Give the whole list each time.",
    .params = params,
    .effects = MOON_READ_ONLY | MOON_IDEMPOTENT,
    .start = start,
};
