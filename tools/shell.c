/* SPDX-License-Identifier: MIT */
/* shell: a command line in /bin/sh, started by the host in a session of its own; this runs on the loop thread and does
 * not wait. */
#include <string.h>

#include "builtin.h"
#include "file.h"

enum { TIMEOUT_DEFAULT_S = 120, TIMEOUT_MAX_S = 3600, OUTPUT_MAX = 4 << 20 };

typedef struct job {
    moon_call *call;
    int64_t timeout_s;
} job;

static void ended(void *ctx, const moon_exec_result *result) {
    const job *j = ctx;
    moon_call *call = j->call;
    moon_call_write(call, result->out, result->out_length);
    if (result->out_length && result->out[result->out_length - 1] != '\n') moon_call_write(call, "\n", 1);
    if (result->truncated)
        moon_call_printf(call, "[the output was over %d MiB: its middle was dropped]\n", OUTPUT_MAX >> 20);
    if (result->timed_out)
        moon_call_printf(call, "[timed out after %lld s; the process group was ended]\n", (long long)j->timeout_s);
    else if (result->signal)
        moon_call_printf(call, "[killed by signal %d (%s)]\n", result->signal, strsignal(result->signal));
    else
        moon_call_printf(call, "[exit %d]\n", result->exit_code);
    moon_call_done(call);
}

static void start(void *self, moon_call *call, const moon_json *args) {
    (void)self;
    const char *command = moon__arg_str(args, "command", NULL), *dir = moon__arg_str(args, "dir", NULL);
    job *j = moon_call_alloc(call, sizeof *j);
    moon_error error = {0};
    if (!j) {
        moon_call_fail(call, "no memory to run the command");
        return;
    }
    *j = (job){.call = call, .timeout_s = moon__arg_int(args, "timeout", TIMEOUT_DEFAULT_S)};
    const char *const argv[] = {"/bin/sh", "-c", command, NULL};
    moon_exec exec = {.argv = argv,
                      .dir = *dir ? dir : NULL,
                      .output_max = OUTPUT_MAX,
                      .timeout_ms = (uint32_t)j->timeout_s * 1000u,
                      .merge = true};
    moon_call_progress(call, "running: %.*s", (int)moon__text_floor(command, strnlen(command, 200)), command);
    if (moon_call_exec(call, &exec, ended, j, &error)) moon_call_fail_error(call, &error);
}

const moon_tool moon__tool_shell = {
    .abi = MOON_TOOL_ABI,
    .effects = MOON_DESTRUCTIVE | MOON_OPEN_WORLD,
    .timeout_ms = (TIMEOUT_MAX_S + 30) * 1000u, /* the command's own limit comes first */
    .name = "shell",
    .description = "Runs a command line with /bin/sh -c in the workspace and returns its output (stdout and stderr in "
                   "one, at most 4 MiB) "
                   "and a last line: [exit N], [timed out after N s; the process group was ended] or [killed by signal "
                   "N]. An exit "
                   "code other than 0 is a result, not an error of this tool. There is no terminal and no input; "
                   "nothing stays running "
                   "in the background when the command ends. Variables that look like secrets are not in its "
                   "environment. To read, find or change files prefer "
                   "file.read, search and file.edit.",
    .params = "{\"type\":\"object\",\"properties\":{"
              "\"command\":{\"type\":\"string\",\"minLength\":1,\"description\":\"The command line.\"},"
              "\"timeout\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":3600,\"default\":120,\"description\":"
              "\"Seconds.\"},"
              "\"dir\":{\"type\":\"string\",\"description\":\"Where to run, relative to the workspace; default: its "
              "root.\"}},"
              "\"required\":[\"command\"],\"additionalProperties\":false}",
    .start = start,
};
