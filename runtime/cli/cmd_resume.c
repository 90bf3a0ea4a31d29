/* SPDX-License-Identifier: MIT */
/* moonlet resume: go on with a run that is kept. */
#include "cli.h"
#include "kept.h"
#include "limit.h"
#include "session.h"
#include "term.h"

#include <stdio.h>
#include <string.h>

enum { OPT_MODEL = MOON__OPT_OTHER, OPT_LIMIT, OPT_UNKNOWN };

static const moon__cli_option options[] = {
    {"model", 'm', "MODEL", "go on with another model", OPT_MODEL},
    {"limit", 0, "KEY=N", "another limit than it was started with; repeatable", OPT_LIMIT},
    {"unknown", 0, "WORD", "calls whose outcome a crash hid: ask (default), tell, retry or fail", OPT_UNKNOWN},
    {"output-file", 'o', "FILE", "also write the last message to FILE", MOON__SESSION_OUTPUT_FILE},
    MOON__JOURNAL_OPTION,
    MOON__SESSION_OPTIONS,
    MOON__OPTION_HELP,
    {NULL, 0, NULL, NULL, 0},
};

typedef struct request {
    const char *run;
    moon_unknown unknown;
} request;

static const char *take_unknown(request *r, const char *word) {
    static const char *const words[] = {"ask", "fail", "retry", "tell"};
    for (int i = 0; i < 4; i++)
        if (strcmp(word, words[i]) == 0) {
            r->unknown = (moon_unknown)i;
            return NULL;
        }
    return "--unknown is ask, tell, retry or fail";
}

/* -1: go on; else the exit code. */
static int read_arguments(const moon__cli_command *self, moon__cli_session *s, request *r, int argc, char **argv) {
    moon__cli_args args;
    moon__cli_args_init(&args, options, argc, argv);
    for (int id; (id = moon__cli_args_next(&args)) != MOON__ARG_END;) {
        const char *why = NULL;
        if (id == MOON__ARG_WRONG) return moon__cli_usage(self, "%s", args.error);
        if (id == MOON__OPT_HELP) return moon__cli_help(self);
        if (id == MOON__ARG_OPERAND && r->run) return moon__cli_usage(self, "one run at a time");
        switch (id) {
        case MOON__ARG_OPERAND: r->run = args.value; break;
        case OPT_MODEL: s->model = args.value; break;
        case OPT_UNKNOWN: why = take_unknown(r, args.value); break;
        case OPT_LIMIT: {
            int code = moon__cli_limit(self, &s->limits, args.value);
            if (code != MOON__EXIT_OK) return code;
            break;
        }
        default: why = moon__cli_session_option(s, id, args.value); break;
        }
        if (why) return moon__cli_usage(self, "%s", why);
    }
    return -1;
}

/* Which run, and where it works: that has to be known before the runtime is made that drives it. */
static int find(moon__cli_session *s, const request *r, moon__cli_found *found, char journal[4096]) {
    moon_runtime *runtime;
    int code = moon__cli_kept_open(&runtime, s->journal, s->workspace);
    if (code != MOON__EXIT_OK) return code;
    code = moon__cli_kept_find(runtime, r->run, found);
    snprintf(journal, 4096, "%s", moon_runtime_journal(runtime));
    moon_runtime_free(runtime);
    if (code == MOON__EXIT_OK && !s->workspace) s->workspace = found->workspace;
    s->journal = journal;
    return code;
}

static int resume_main(const moon__cli_command *self, int argc, char **argv) {
    moon__cli_session s;
    request r = {.run = NULL};
    moon_error error = {0};
    moon__cli_found found = {.n = 0};
    char journal[4096];
    moon__cli_session_init(&s);
    s.journal = "";
    int code = read_arguments(self, &s, &r, argc, argv);
    if (code >= 0) return code;
    code = find(&s, &r, &found, journal);
    if (code == MOON__EXIT_OK) {
        code = moon__cli_session_open(&s);
        if (code == MOON__EXIT_OK) {
            moon_run_options run = moon__cli_session_run_options(&s);
            run.unknown = r.unknown;
            moon_status status = moon_run_resume(&s.run, s.runtime, found.id, &run, &error);
            code = status == MOON_OK ? moon__cli_session_drive(&s) : moon__cli_session_fail(&s, &error);
        }
        code = moon__cli_session_close(&s, code);
    }
    moon__cli_found_fini(&found);
    return code;
}

const moon__cli_command moon__cli_cmd_resume = {
    .name = "resume",
    .operands = "[RUN] [OPTIONS]",
    .summary = "go on with a run that was stopped, waits, or whose process died",
    .about = "Goes on where the run's journal ends; nothing that is in it is done again. RUN is the run's id or its\n"
             "beginning; without it the newest run that can go on is taken. It works in its own workspace.\n\n"
             "A call that was begun before a crash and has no result is run again if it only reads or is idempotent.\n"
             "Of others nobody knows whether they had their effect: --unknown says what to do. With \"ask\" you are\n"
             "asked on the terminal (yes: run it again; no: the model is told), elsewhere the run waits, exit code 4.\n"
             "Leave (--yes, --policy) is not kept: give it again.",
    .examples = "moonlet resume\n"
                "moonlet resume 1k1a --limit steps=100\n"
                "moonlet resume 1k1a --unknown tell --policy file=allow",
    .options = options,
    .main = resume_main,
};
