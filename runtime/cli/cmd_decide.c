/* SPDX-License-Identifier: MIT */
/* moonlet approve, deny, signal: leave something for a run that waits, from any process, at any time. */
#include "cli.h"
#include "kept.h"
#include "output.h"
#include "term.h"

#include <stdlib.h>
#include <string.h>

enum { OPT_JOURNAL = MOON__OPT_OTHER, OPT_CWD, OPT_WHY };

#define COMMON_OPTIONS                                                                                                 \
    {"cwd", 'C', "DIR", "the directory whose journal is meant (default: the current one)", OPT_CWD},                   \
        {"journal", 0, "FILE", "where runs are kept", OPT_JOURNAL}, MOON__OPTION_HELP, {                               \
        NULL, 0, NULL, NULL, 0                                                                                         \
    }
static const moon__cli_option approve_options[] = {COMMON_OPTIONS};
static const moon__cli_option deny_options[] = {{"why", 0, "TEXT", "a reason, for the model", OPT_WHY}, COMMON_OPTIONS};

typedef struct request {
    const char *run, *what, *value, *journal, *cwd, *why; /* what: a call, or a signal's name */
    bool allow, signal;
} request;

static moon_status leave(const request *r, moon_runtime *runtime, const char *run, moon_error *error) {
    if (!r->signal) return moon_runtime_decide(runtime, run, r->what, r->allow, r->why, error);
    return moon_runtime_signal(runtime, run, r->what, r->value ? r->value : "null", SIZE_MAX, error);
}

static int note(const request *r, moon_runtime *runtime) {
    moon__cli_found found = {.n = 0};
    moon_error error = {0};
    int code = moon__cli_kept_find(runtime, r->run, &found);
    if (code == MOON__EXIT_OK) {
        moon_status status = leave(r, runtime, found.id, &error);
        code = status == MOON_OK ? MOON__EXIT_OK : moon__cli_fail(&error);
    }
    if (code == MOON__EXIT_OK) {
        moon__buf text;
        moon__buf_init(&text, 1024);
        moon__buf_printf(
            &text, found.claimed ? "noted for run %s, which is running\n" : "noted; to go on: moonlet resume %s\n",
            found.id);
        code = moon__cli_print(&text);
    }
    moon__cli_found_fini(&found);
    return code;
}

static int main_of_all(const moon__cli_command *self, int argc, char **argv) {
    moon__cli_args args;
    request r = {.allow = self == &moon__cli_cmd_approve, .signal = self == &moon__cli_cmd_signal};
    moon_runtime *runtime;
    moon__cli_args_init(&args, self->options, argc, argv);
    for (int id; (id = moon__cli_args_next(&args)) != MOON__ARG_END;) {
        if (id == MOON__ARG_WRONG) return moon__cli_usage(self, "%s", args.error);
        if (id == MOON__OPT_HELP) return moon__cli_help(self);
        if (id == MOON__ARG_OPERAND && r.what && (r.value || !r.signal))
            return moon__cli_usage(self, "\"%s\" is one operand too many", args.value);
        switch (id) {
        case MOON__ARG_OPERAND: *(!r.run ? &r.run : !r.what ? &r.what : &r.value) = args.value; break;
        case OPT_JOURNAL: r.journal = args.value; break;
        case OPT_CWD: r.cwd = args.value; break;
        default: r.why = args.value; break;
        }
    }
    if (!r.run)
        return moon__cli_usage(self, "a run's id is needed; `moonlet runs --state waiting` lists those that wait");
    if (r.signal && !r.what) return moon__cli_usage(self, "the name of the signal is needed");
    int code = moon__cli_kept_open(&runtime, r.journal, r.cwd);
    if (code != MOON__EXIT_OK) return code;
    code = note(&r, runtime);
    moon_runtime_free(runtime);
    return code;
}

const moon__cli_command moon__cli_cmd_approve = {
    .name = "approve",
    .operands = "RUN [CALL] [OPTIONS]",
    .summary = "allow what a run waits for",
    .about =
        "Leaves a yes for the call CALL of a run (`moonlet show RUN` shows which calls were asked about), or for all\n"
        "that wait. A process that drives the run takes it up; else `moonlet resume RUN` goes on with it. A yes is\n"
        "for the call as it was shown, with those arguments, once.",
    .examples = "moonlet approve 1k1a && moonlet resume 1k1a\nmoonlet approve 1k1a 2.1.c3",
    .options = approve_options,
    .main = main_of_all,
};

const moon__cli_command moon__cli_cmd_deny = {
    .name = "deny",
    .operands = "RUN [CALL] [OPTIONS]",
    .summary = "refuse what a run waits for",
    .about = "Leaves a no for the call CALL of a run, or for all that wait. The model is told, with the reason.",
    .examples = "moonlet deny 1k1a --why \"not on a Friday\"\nmoonlet deny 1k1a c3",
    .options = deny_options,
    .main = main_of_all,
};

const moon__cli_command moon__cli_cmd_signal = {
    .name = "signal",
    .operands = "RUN NAME [JSON] [OPTIONS]",
    .summary = "give a run the signal that it waits for",
    .about =
        "Leaves a signal for a run: moon.wait(NAME) in its script gives the JSON value (null without one). A signal\n"
        "that nothing waits for yet stays until something does.",
    .examples = "moonlet signal 1k1a deployed '{\"version\":\"1.4.2\"}'\nmoonlet signal 1k1a go && moonlet resume 1k1a",
    .options = approve_options,
    .main = main_of_all,
};
