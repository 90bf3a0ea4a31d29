/* SPDX-License-Identifier: MIT */
/*
 * A plugin that uses installed headers only, with one tool of each kind: demo.shout works on a worker thread with
 * memory of its call, demo.child starts a program and ends the call when the program has ended.
 */
#include <ctype.h>
#include <moonlet/tool.h>

#ifndef DEMO_ABI
#define DEMO_ABI MOON_TOOL_ABI
#endif

static void shout(void *self, moon_call *call, const moon_json *args) {
    const char *prefix = self, *text;
    size_t n;
    text = moon_json_str(moon_json_get(args, "text"), &n);
    char *loud = moon_call_alloc(call, n + 1);
    if (!loud) {
        moon_call_fail(call, "out of memory");
        return;
    }
    for (size_t i = 0; i <= n; i++) loud[i] = (char)toupper((unsigned char)text[i]);
    moon_call_progress(call, "shouting %zu bytes", n);
    moon_call_printf(call, "%s: ", prefix);
    moon_call_write(call, loud, n);
    moon_call_done(call);
}

static char shout_prefix[] = "shout";
static const moon_tool shout_tool = {
    .abi = DEMO_ABI,
    .name = "demo.shout",
    .description = "Writes a text in capital letters. ASCII only.",
    .params = "{\"type\":\"object\",\"properties\":{\"text\":{\"type\":\"string\"}},\"required\":[\"text\"]}",
    .effects = MOON_READ_ONLY,
    .flags = MOON_TOOL_BLOCKING,
    .self = shout_prefix,
    .start = shout,
};

static void child_ended(void *ctx, const moon_exec_result *result) {
    moon_call *call = ctx;
    moon_put_object(call, NULL);
    moon_put_int(call, "exit_code", result->exit_code);
    moon_put_str(call, "output", result->out, result->out_length);
    moon_put_end(call);
    moon_call_done(call);
}

static void child(void *self, moon_call *call, const moon_json *args) {
    (void)self, (void)args;
    static const char *const argv[] = {"echo", "from a child", NULL};
    moon_exec exec = {.argv = argv};
    moon_error error = {0};
    if (moon_call_exec(call, &exec, child_ended, call, &error) != MOON_OK) moon_call_fail_error(call, &error);
}

static const moon_tool child_tool = {
    .abi = DEMO_ABI,
    .name = "demo.child",
    .description = "Runs a program. It is not marked as reading only, so it needs leave.",
    .params = "{\"type\":\"object\",\"additionalProperties\":false}",
    .start = child,
};

static const moon_tool *const tools[] = {&shout_tool, &child_tool, NULL};

MOON_API extern const moon_plugin moon_plugin_v1;
const moon_plugin moon_plugin_v1 = {.abi = DEMO_ABI, .name = "demo", .version = "1.0", .tools = tools};
