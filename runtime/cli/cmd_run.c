/* SPDX-License-Identifier: MIT */
/* moonlet run: a script's agent, or a shipped one, on an input. */
#include "cli.h"
#include "kept.h"
#include "limit.h"
#include "session.h"
#include "shape.h"
#include "shipped.h"

#include "run.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OPT_CONTINUE = 300, OPT_MODEL = MOON__OPT_OTHER, OPT_PROMPT, OPT_LIMIT, OPT_SCHEMA, OPT_BASE_URL };

static const moon__cli_option options[] = {
    {"model", 'm', "MODEL", "provider/model, \"offline\" or a Lua file", OPT_MODEL},
    {"continue", 0, NULL, "go on with the newest run of this directory: INPUT is your next message", OPT_CONTINUE},
    {"base-url", 0, "URL", "of an OpenAI-compatible server, for --model custom/NAME", OPT_BASE_URL},
    {"prompt", 'p', "TEXT", "the input, as an option", OPT_PROMPT},
    {"print", 0, "TEXT", NULL, OPT_PROMPT},
    {"limit", 0, "KEY=N", "steps, tool_calls, seconds, tokens, usd or handoffs; repeatable", OPT_LIMIT},
    {"output-file", 'o', "FILE", "also write the last message to FILE, if the run is done", MOON__SESSION_OUTPUT_FILE},
    {"output-last-message", 0, "FILE", NULL, MOON__SESSION_OUTPUT_FILE},
    {"output-schema", 0, "FILE", "the answer has to be JSON of this JSON Schema", OPT_SCHEMA},
    MOON__SNAPSHOT_OPTION,
    MOON__CASSETTE_OPTIONS,
    MOON__JOURNAL_OPTION,
    MOON__SESSION_OPTIONS,
    MOON__OPTION_HELP,
    {NULL, 0, NULL, NULL, 0},
};

typedef struct request {
    const char *agent, *schema_file, *base_url;
    bool go_on; /* with the newest run */
    moon__cli_found found;
} request;

static int take_operand(const moon__cli_command *self, moon__cli_session *s, request *r, const char *value) {
    if (!r->agent) {
        r->agent = value;
    } else if (!s->input) {
        s->input = value;
    } else {
        return moon__cli_usage(self, "\"%.80s\" is one operand too many; put an input of several words into quotes",
                               value);
    }
    return MOON__EXIT_OK;
}

static int take_option(const moon__cli_command *self, moon__cli_session *s, request *r, int id, const char *value) {
    const char *why = NULL;
    switch (id) {
    case OPT_MODEL: s->model = value; break;
    case OPT_PROMPT:
        if (s->input) return moon__cli_usage(self, "the input was given twice");
        s->input = value;
        break;
    case OPT_CONTINUE: r->go_on = true; break;
    case OPT_LIMIT: return moon__cli_limit(self, &s->limits, value);
    case OPT_SCHEMA: r->schema_file = value; break;
    case OPT_BASE_URL: r->base_url = value; break;
    default: why = moon__cli_session_option(s, id, value); break;
    }
    return why ? moon__cli_usage(self, "%s", why) : MOON__EXIT_OK;
}

/* -1: go on; else the exit code. */
static int read_arguments(const moon__cli_command *self, moon__cli_session *s, request *r, int argc, char **argv) {
    moon__cli_args args;
    moon__cli_args_init(&args, options, argc, argv);
    for (int id; (id = moon__cli_args_next(&args)) != MOON__ARG_END;) {
        if (id == MOON__ARG_WRONG) return moon__cli_usage(self, "%s", args.error);
        if (id == MOON__OPT_HELP) return moon__cli_help(self);
        int code =
            id == MOON__ARG_OPERAND ? take_operand(self, s, r, args.value) : take_option(self, s, r, id, args.value);
        if (code != MOON__EXIT_OK) return code;
    }
    if (r->go_on && r->agent) { /* there is no agent to be named: the first operand is the input */
        if (s->input || r->schema_file)
            return moon__cli_usage(self, "--continue goes with INPUT alone: the agent is that of the run");
        s->input = r->agent;
        r->agent = NULL;
    }
    if (!r->agent && !r->go_on) return moon__cli_usage(self, "an agent's name or a script is needed");
    const char *why = moon__cli_session_cassette(s);
    if (why) return moon__cli_usage(self, "%s", why);
    /* The one provider without a base URL of its own takes it from the environment. */
    if (r->base_url && (!s->model || strncmp(s->model, "custom/", 7) != 0))
        return moon__cli_usage(self, "--base-url goes with --model custom/NAME");
    if (r->base_url && setenv("MOONLET_BASE_URL", r->base_url, 1) != 0) {
        moon__cli_error("no memory for the environment");
        return MOON__EXIT_FAILED;
    }
    return -1;
}

static moon_status read_file(moon__buf *text, const char *path, moon_error *error) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    ssize_t n = fd < 0 ? -1 : 1;
    while (n > 0 && moon__buf_reserve(text, 16 * 1024) == MOON_OK) {
        n = read(fd, text->p + text->len, 16 * 1024);
        if (n > 0) text->len += (size_t)n;
    }
    int failed = errno;
    if (fd >= 0) close(fd);
    if (n < 0) return moon_error_set(error, MOON_ENOTFOUND, "cannot read %s: %s", path, strerror(failed));
    if (text->status != MOON_OK) return moon_error_set(error, text->status, "%s is too large", path);
    return MOON_OK;
}

static moon_status add_schema(moon__cli_session *s, const char *path, moon_runnable **runnable, moon_error *error) {
    moon__buf text;
    moon__buf_init(&text, 1 << 20);
    moon_status status = read_file(&text, path, error);
    if (status == MOON_OK) {
        status = moon__shape(runnable, s->runtime, text.p, text.len, error);
        if (status != MOON_OK && !error->where[0]) snprintf(error->where, sizeof error->where, "%s", path);
    } else {
        moon_runnable_unref(*runnable);
        *runnable = NULL;
    }
    moon__buf_fini(&text);
    return status;
}

/* With a message more it is a fork; without one the run itself goes on, if it can. */
static moon_status go_on(moon__cli_session *s, const request *r, moon_error *error) {
    moon_run_options run = moon__cli_session_run_options(s);
    if (run.input) return moon_run_fork(&s->run, s->runtime, r->found.id, 0, &run, error);
    return moon_run_resume(&s->run, s->runtime, r->found.id, &run, error);
}

static int find_newest(const moon__cli_session *s, request *r) {
    moon_runtime *runtime;
    int code = moon__cli_kept_open(&runtime, s->journal, s->workspace);
    if (code != MOON__EXIT_OK) return code;
    code = moon__cli_kept_newest(runtime, s->workspace, &r->found);
    moon_runtime_free(runtime);
    return code;
}

static moon_status start(moon__cli_session *s, const request *r, moon_error *error) {
    if (r->go_on) return go_on(s, r, error);
    moon_runnable *runnable = NULL;
    moon_status status = moon_script_load(&runnable, s->runtime, r->agent, error);
    if (status == MOON_OK && r->schema_file) status = add_schema(s, r->schema_file, &runnable, error);
    if (status == MOON_OK) {
        moon_run_options run = moon__cli_session_run_options(s);
        status = moon_run_start(&s->run, s->runtime, runnable, &run, error);
    }
    moon_runnable_unref(runnable);
    return status;
}

static int run_main(const moon__cli_command *self, int argc, char **argv) {
    moon__cli_session s;
    request r = {.agent = NULL};
    moon_error error = {0};
    moon__cli_session_init(&s);
    s.journal = "";
    int code = read_arguments(self, &s, &r, argc, argv);
    if (code >= 0) return code;
    code = moon__cli_session_read(&s);
    if (code == MOON__EXIT_OK && r.go_on) code = find_newest(&s, &r);
    if (code == MOON__EXIT_OK) code = moon__cli_session_open(&s);
    if (code == MOON__EXIT_OK)
        code = start(&s, &r, &error) == MOON_OK ? moon__cli_session_drive(&s) : moon__cli_session_fail(&s, &error);
    code = moon__cli_session_close(&s, code);
    moon__cli_found_fini(&r.found);
    return code;
}

const moon__cli_command moon__cli_cmd_run = {
    .name = "run",
    .operands = "AGENT|SCRIPT.lua [INPUT|-] [OPTIONS]",
    .summary = "run an agent: a shipped one by its name, or a Lua script",
    .about =
        "Runs an agent to its end. The result goes to standard output, everything else to standard error.\n"
        "INPUT is the task. With \"-\" it is read from standard input; without it the agent gets an empty one,\n"
        "and standard input is not touched.\n\n"
        "Shipped agents:\n" MOON_CLI_AGENTS "\n"
        "Tools that only read are run. For others the agent's policy, the configuration, --policy or --yes must\n"
        "say so; else you are asked on the terminal, and where there is none the run ends with exit code 4.\n"
        "With --snapshots the workspace of each step that wrote is kept in its git repository, under\n"
        "refs/moonlet/RUN/N: nothing of yours is touched, and `moonlet fork --worktree` brings it back.\n"
        "--record DIR keeps each answer of a model as a file in DIR; with --cassette DIR the same run takes them\n"
        "from there, without a model, a key or a network, and ends with exit code 2 where it asks something else.\n"
        "--continue goes on with the newest run of the directory, as `moonlet fork RUN --input INPUT` does.\n"
        "Ctrl-C ends the run and still writes what it has; a second one ends the program.",
    .examples = "moonlet run brief --cwd ~/src/project\n"
                "moonlet run brief --cwd . \"error handling\" -o brief.md\n"
                "moonlet run ./agent.lua \"add a test for parse()\" --policy file=allow --policy shell=ask\n"
                "git diff | moonlet run ./review.lua - --model openai/gpt-5-mini --limit tokens=200000\n"
                "moonlet run ./agent.lua \"which files?\" --output-schema files.json --output json | jq .output\n"
                "moonlet run ./agent.lua \"go\" --record tests/cassette && moonlet run ./agent.lua \"go\" --cassette "
                "tests/cassette\n"
                "moonlet run --continue \"and what about the tests?\"\n"
                "moonlet run brief --output stream-json | jq -r .type",
    .options = options,
    .main = run_main,
};
