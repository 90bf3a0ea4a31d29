/* SPDX-License-Identifier: MIT */
/* moonlet call: one tool, as an agent would call it (argument check, policy, events), without a model. */
#include "cli.h"
#include "session.h"

#include "run.h"

#include <string.h>

static const moon__cli_option options[] = {
    MOON__SESSION_OPTIONS,
    MOON__OPTION_HELP,
    {NULL, 0, NULL, NULL, 0},
};

/* -1: go on; else the exit code. */
static int read_arguments(const moon__cli_command *self, moon__cli_session *s, const char **tool, int argc,
                          char **argv) {
    moon__cli_args args;
    moon__cli_args_init(&args, options, argc, argv);
    for (int id; (id = moon__cli_args_next(&args)) != MOON__ARG_END;) {
        const char *why = NULL;
        if (id == MOON__ARG_WRONG) return moon__cli_usage(self, "%s", args.error);
        if (id == MOON__OPT_HELP) return moon__cli_help(self);
        if (id != MOON__ARG_OPERAND) {
            why = moon__cli_session_option(s, id, args.value);
        } else if (!*tool) {
            *tool = args.value;
        } else if (!s->input) {
            s->input = args.value;
        } else {
            why = "the arguments are one JSON object; put it into quotes";
        }
        if (why) return moon__cli_usage(self, "%s", why);
    }
    if (!*tool) return moon__cli_usage(self, "a tool's name is needed; `moonlet tools` lists them");
    return -1;
}

/* moon_run_tool checks too, but its error has room for a line only; a person gets all of it. */
static int check(moon__cli_session *s, const char *tool, const char *json, size_t n) {
    const moon__tool_entry *entry = moon__tools_find(moon__runtime_tools(s->runtime), tool);
    moon_json *args = NULL;
    moon__buf why;
    if (!entry) return MOON__EXIT_OK;
    moon__buf_init(&why, 64 << 10);
    moon_status status = moon__tool_check(entry, json, n, &args, &why);
    int code =
        status == MOON_OK ? MOON__EXIT_OK : moon__cli_session_reject(s, why.len ? why.p : moon_status_text(status));
    if (status == MOON_OK) moon__json_free(args);
    moon__buf_fini(&why);
    return code;
}

static int call(moon__cli_session *s, const char *tool) {
    const char *json = s->input ? s->input : "";
    size_t n = s->text.p ? s->text.len : strlen(json);
    moon_run_options run = moon__cli_session_run_options(s);
    moon_error error = {0};
    int code = check(s, tool, json, n);
    if (code != MOON__EXIT_OK) return code;
    moon_status status = moon_run_tool(&s->run, s->runtime, tool, json, n, &run, &error);
    return status == MOON_OK ? moon__cli_session_drive(s) : moon__cli_session_fail(s, &error);
}

static int call_main(const moon__cli_command *self, int argc, char **argv) {
    moon__cli_session s;
    const char *tool = NULL;
    moon__cli_session_init(&s);
    s.result_is_json = s.tool_call = true;
    int code = read_arguments(self, &s, &tool, argc, argv);
    if (code >= 0) return code;
    code = moon__cli_session_read(&s);
    if (code == MOON__EXIT_OK) code = moon__cli_session_open(&s);
    if (code == MOON__EXIT_OK) code = call(&s, tool);
    return moon__cli_session_close(&s, code);
}

const moon__cli_command moon__cli_cmd_call = {
    .name = "call",
    .operands = "TOOL [JSON|-] [OPTIONS]",
    .summary = "call one tool with JSON arguments, without a model",
    .about =
        "Calls a tool as an agent would: its arguments are checked, policy is asked, and what the model would read\n"
        "is written to standard output. A tool that fails says why on standard error, exit code 1; arguments\n"
        "that do not fit are exit code 2. Without JSON the arguments are {}; \"-\" reads them.",
    .examples = "moonlet call file.read '{\"path\":\"README.md\",\"limit\":20}'\n"
                "moonlet call search '{\"pattern\":\"TODO\"}' -C ~/src/project\n"
                "moonlet call git.log '{\"limit\":5}' --output json | jq .output\n"
                "moonlet call shell '{\"command\":\"make\"}' --yes\n"
                "moonlet call hello.hello '{\"name\":\"x\"}' --plugin ./hello.so",
    .options = options,
    .main = call_main,
};
