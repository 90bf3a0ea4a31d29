/* SPDX-License-Identifier: MIT */
/* moonlet resume, fork, replay: drive a run from its journal. */
#include "cli.h"
#include "kept.h"
#include "limit.h"
#include "session.h"
#include "term.h"

#include "buf.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    OPT_MODEL = MOON__OPT_OTHER,
    OPT_LIMIT,
    OPT_UNKNOWN,
    OPT_AT,
    OPT_INPUT,
    OPT_LIVE,
    OPT_RECORDED,
    OPT_ACCEPT,
    OPT_DUE,
    OPT_WORKTREE
};

#define DRIVING_OPTIONS                                                                                                \
    {"model", 'm', "MODEL", "go on with another model", OPT_MODEL},                                                    \
        {"limit", 0, "KEY=N", "another limit than it was started with; repeatable", OPT_LIMIT},                        \
        {"recorded-script", 0, NULL, "the script as it was recorded, not as it is now", OPT_RECORDED},                 \
        {"unknown", 0, "WORD", "calls whose outcome a crash hid: ask (default), tell, retry or fail", OPT_UNKNOWN},    \
        MOON__SNAPSHOT_OPTION

/* clang-format off: the tables end in macros */
static const moon__cli_option resume_options[] = {
    {"due", 0, NULL, "all runs whose time has come, one after the other; each is parked when it waits again", OPT_DUE},
    {"accept-script", 0, NULL, "if the script has changed in a way that matters, fork there and go on with it",
     OPT_ACCEPT},
    DRIVING_OPTIONS,
    {"output-file", 'o', "FILE", "also write the last message to FILE", MOON__SESSION_OUTPUT_FILE},
    MOON__CASSETTE_OPTIONS,
    MOON__JOURNAL_OPTION,
    MOON__SESSION_OPTIONS,
    MOON__OPTION_HELP,
    {NULL, 0, NULL, NULL, 0},
};
static const moon__cli_option fork_options[] = {
    {"at", 0, "N", "the last event that is shared, as `moonlet show` numbers them (default: the end)", OPT_AT},
    {"input", 'p', "TEXT", "one more message of yours to the agent; \"-\" reads it", OPT_INPUT},
    {"worktree", 0, "[DIR]", "work in a new git worktree with the files as they were then", OPT_WORKTREE},
    DRIVING_OPTIONS,
    {"output-file", 'o', "FILE", "also write the last message to FILE", MOON__SESSION_OUTPUT_FILE},
    MOON__CASSETTE_OPTIONS,
    MOON__JOURNAL_OPTION,
    MOON__SESSION_OPTIONS,
    MOON__OPTION_HELP,
    {NULL, 0, NULL, NULL, 0},
};
static const moon__cli_option replay_options[] = {
    {"recorded-script", 0, NULL, "the script as it was recorded, not as it is now", OPT_RECORDED},
    {"live-tools", 0, NULL, "really call the tools; only the models' answers are from the journal", OPT_LIVE},
    MOON__JOURNAL_OPTION,
    MOON__SESSION_OPTIONS,
    MOON__OPTION_HELP,
    {NULL, 0, NULL, NULL, 0},
};
/* clang-format on */

typedef struct request {
    const char *run;
    uint64_t at;
    bool live_tools, recorded_script, accept, due, worktree;
    const char *worktree_dir; /* NULL: beside the repository */
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

static const char *take_at(request *r, const char *text) {
    char *end;
    r->at = strtoull(text, &end, 10);
    return end == text || *end || *text == '-' || r->at == 0 ? "--at is the number of an event, from 1 up" : NULL;
}

/* -1: go on; else the exit code. */
static int read_arguments(const moon__cli_command *self, moon__cli_session *s, request *r, int argc, char **argv) {
    moon__cli_args args;
    moon__cli_args_init(&args, self->options, argc, argv);
    for (int id; (id = moon__cli_args_next(&args)) != MOON__ARG_END;) {
        const char *why = NULL;
        if (id == MOON__ARG_WRONG) return moon__cli_usage(self, "%s", args.error);
        if (id == MOON__OPT_HELP) return moon__cli_help(self);
        if (id == MOON__ARG_OPERAND && r->run)
            return moon__cli_usage(self, r->worktree ? "one run at a time (a directory: --worktree=DIR)"
                                                     : "one run at a time");
        switch (id) {
        case MOON__ARG_OPERAND: r->run = args.value; break;
        case OPT_MODEL: s->model = args.value; break;
        case OPT_UNKNOWN: why = take_unknown(r, args.value); break;
        case OPT_AT: why = take_at(r, args.value); break;
        case OPT_INPUT: s->input = args.value; break;
        case OPT_WORKTREE:
            r->worktree = true;
            r->worktree_dir = args.value;
            break;
        case OPT_LIVE: r->live_tools = true; break;
        case OPT_RECORDED: r->recorded_script = true; break;
        case OPT_ACCEPT: r->accept = true; break;
        case OPT_DUE: r->due = s->park = true; break;
        case OPT_LIMIT: {
            int code = moon__cli_limit(self, &s->limits, args.value);
            if (code != MOON__EXIT_OK) return code;
            break;
        }
        default: why = moon__cli_session_option(s, id, args.value); break;
        }
        if (why) return moon__cli_usage(self, "%s", why);
    }
    if (r->due && (r->run || s->workspace || s->output_file))
        return moon__cli_usage(self,
                               "--due takes all that are due, each in its own directory: it goes neither with a run "
                               "nor with --cwd or --output-file");
    const char *why = self == &moon__cli_cmd_replay ? NULL : moon__cli_session_cassette(s);
    if (why) return moon__cli_usage(self, "%s", why);
    if (!r->run && self != &moon__cli_cmd_resume)
        return moon__cli_usage(self, "a run's id is needed, or its beginning; `moonlet runs` lists them");
    return -1;
}

/* ---- the files, as they were ---- */

static int make_worktree(moon_runtime *runtime, const moon__cli_session *s, const request *r, moon__cli_found *found,
                         const moon_snapshot *snapshot) {
    moon_error error = {0};
    char *workspace;
    if (moon_runtime_snapshot_restore(runtime, found->id, snapshot, r->worktree_dir, &workspace, &error) != MOON_OK)
        return moon__cli_fail(&error);
    free(found->workspace);
    found->workspace = workspace;
    if (!s->quiet && snapshot->at > 0)
        moon__cli_error("the workspace as it was after event %llu: %s", (unsigned long long)snapshot->at, workspace);
    else if (!s->quiet)
        moon__cli_error("the workspace as it was before the run: %s", workspace);
    return MOON__EXIT_OK;
}

/* The fork works in the files as they are now. Whether they are those of the event is only a hint: when it cannot be
 * found out, nothing is said. */
static void hint_at_worktree(moon_runtime *runtime, const moon__cli_found *found, const moon_snapshot *snapshot) {
    int64_t files = 0;
    if (moon_runtime_snapshot_compare(runtime, found->id, snapshot, &files, NULL) != MOON_OK || files == 0) return;
    moon__cli_error("the workspace is not as it was %s %llu: %lld file%s; --worktree makes one that is",
                    snapshot->at > 0 ? "after event" : "before event",
                    (unsigned long long)(snapshot->at ? snapshot->at : 1), (long long)files,
                    files == 1 ? " differs" : "s differ");
}

static int place_fork(moon_runtime *runtime, moon__cli_session *s, const request *r, moon__cli_found *found) {
    moon_snapshot snapshot;
    moon_error error = {0};
    moon_status status = moon_runtime_snapshot(runtime, found->id, r->at, &snapshot, &error);
    if (r->worktree) {
        s->workspace = NULL; /* it only said whose journal is meant */
        return status == MOON_OK ? make_worktree(runtime, s, r, found, &snapshot) : moon__cli_fail(&error);
    }
    if (status == MOON_OK && !s->workspace && !s->quiet) hint_at_worktree(runtime, found, &snapshot);
    return MOON__EXIT_OK;
}

/* Which run, and where it works: that has to be known before the runtime is made that drives it. */
static int find(const moon__cli_command *self, moon__cli_session *s, const request *r, moon__cli_found *found,
                char journal[4096]) {
    moon_runtime *runtime;
    int code = moon__cli_kept_open(&runtime, s->journal, s->workspace);
    if (code != MOON__EXIT_OK) return code;
    code = moon__cli_kept_find(runtime, r->run, found);
    if (code == MOON__EXIT_OK && self == &moon__cli_cmd_fork) code = place_fork(runtime, s, r, found);
    snprintf(journal, 4096, "%s", moon_runtime_journal(runtime));
    moon_runtime_free(runtime);
    if (code == MOON__EXIT_OK && !s->workspace) s->workspace = found->workspace;
    s->journal = journal;
    return code;
}

/* Where the script as it is now leaves the journal; 0: nowhere. */
static moon_status part(moon_runtime *runtime, const char *id, uint64_t *at, moon_error *error) {
    moon_run *run;
    *at = 0;
    moon_status status = moon_run_replay(&run, runtime, id, false, NULL, error);
    if (status != MOON_OK) return status;
    while (status == MOON_OK && !moon_run_finished(run)) status = moon_runtime_step(runtime, -1, error);
    const moon_result *result = moon_run_result(run);
    if (result && result->stop == MOON_STOP_CHANGED) *at = result->diverged_at;
    moon_run_unref(run);
    return status;
}

static moon_status begin(const moon__cli_command *self, moon__cli_session *s, const request *r, const char *id,
                         moon_error *error) {
    moon_run_options run = moon__cli_session_run_options(s);
    uint64_t at = 0;
    run.unknown = r->unknown;
    run.recorded_script = r->recorded_script;
    if (self == &moon__cli_cmd_fork) return moon_run_fork(&s->run, s->runtime, id, r->at, &run, error);
    if (self == &moon__cli_cmd_replay) return moon_run_replay(&s->run, s->runtime, id, r->live_tools, &run, error);
    moon_status status = r->accept ? part(s->runtime, id, &at, error) : MOON_OK;
    if (status != MOON_OK) return status;
    if (at > 0)
        moon__cli_error("the script has changed: this is a fork of run %s at its event %llu", id,
                        (unsigned long long)at);
    return at > 0 ? moon_run_fork(&s->run, s->runtime, id, at, &run, error)
                  : moon_run_resume(&s->run, s->runtime, id, &run, error);
}

/* One of those that are due may have been taken up by somebody else just now. */
static int begun(moon__cli_session *s, const request *r, moon_status status, const moon_error *error) {
    if (status == MOON_OK) return moon__cli_session_drive(s);
    if (r->due && (status == MOON_EBUSY || status == MOON_EEXIST)) return MOON__EXIT_OK;
    return moon__cli_session_fail(s, error);
}

static int drive(const moon__cli_command *self, moon__cli_session *s, const request *r) {
    moon_error error = {0};
    moon__cli_found found = {.n = 0};
    char journal[4096];
    int code = find(self, s, r, &found, journal);
    if (code == MOON__EXIT_OK) code = moon__cli_session_open(s);
    if (code == MOON__EXIT_OK) code = begun(s, r, begin(self, s, r, found.id, &error), &error);
    code = moon__cli_session_close(s, code);
    moon__cli_found_fini(&found);
    return code;
}

/* ---- those that are due ---- */

static int find_due(const moon__cli_session *s, moon__cli_due *due) {
    moon_runtime *runtime;
    moon_error error = {0};
    int code = moon__cli_kept_open(&runtime, s->journal, NULL);
    if (code != MOON__EXIT_OK) return code;
    if (moon__cli_kept_due(runtime, due, &error) != MOON_OK) code = moon__cli_fail(&error);
    if (code == MOON__EXIT_OK && due->n == 0 && isatty(STDERR_FILENO) == 1)
        moon__cli_error("no run is due in %s", moon_runtime_journal(runtime));
    moon_runtime_free(runtime);
    return code;
}

/* To wait again is no failure, but not the end either. */
static int rank(int code) {
    if (code == MOON__EXIT_OK) return 0;
    return code == moon_stop_exit_code(MOON_STOP_WAITING) ? 1 : 1 + code;
}

/* Each has a session of its own, with the options of this command, and gives up standard output at its end. */
static int drive_due(const moon__cli_command *self, const moon__cli_session *first, int argc, char **argv) {
    moon__cli_due due = {0};
    int worst = find_due(first, &due), out = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0);
    for (size_t i = 0; i < due.n && worst != moon_stop_exit_code(MOON_STOP_INTERRUPTED); i++) {
        moon__cli_session s;
        request r = {.run = NULL};
        moon__cli_session_init(&s);
        s.journal = "";
        int code = read_arguments(self, &s, &r, argc, argv);
        if (code >= 0) break; /* they were read before: there is no memory */
        r.run = due.ids[i];
        if (out >= 0 && dup2(out, STDOUT_FILENO) < 0) break;
        if (!s.quiet && s.format == MOON__FORMAT_TEXT) moon__cli_error("run %s", r.run);
        code = drive(self, &s, &r);
        if (rank(code) > rank(worst)) worst = code;
    }
    free(due.ids);
    if (out >= 0) close(out);
    return worst;
}

static int drive_main(const moon__cli_command *self, int argc, char **argv) {
    moon__cli_session s;
    request r = {.run = NULL};
    moon__cli_session_init(&s);
    s.journal = "";
    int code = read_arguments(self, &s, &r, argc, argv);
    if (code >= 0) return code;
    if (r.due) return drive_due(self, &s, argc, argv);
    code = moon__cli_session_read(&s);
    return code == MOON__EXIT_OK ? drive(self, &s, &r) : moon__cli_session_close(&s, code);
}

const moon__cli_command moon__cli_cmd_resume = {
    .name = "resume",
    .operands = "[RUN | --due] [OPTIONS]",
    .summary = "go on with a run that was stopped, waits, or whose process died",
    .about =
        "Goes on where the run's journal ends; nothing that is in it is done again. RUN is the run's id or its\n"
        "beginning; without it the newest run that can go on is taken. It works in its own workspace.\n\n"
        "A call that was begun before a crash and has no result is run again if it only reads or is idempotent.\n"
        "Of others nobody knows whether they had their effect: --unknown says what to do. With \"ask\" you are\n"
        "asked on the terminal (yes: run it again; no: the model is told), elsewhere the run waits, exit code 4.\n"
        "Leave (--yes, --policy) is not kept: give it again.\n\n"
        "--due goes on with all runs that nobody drives and whose time has come (`moonlet runs --due`), the one that\n"
        "has waited longest first: have it called now and then, by cron or a loop. The exit code is the worst of\n"
        "theirs, 4 if all that did not end wait again; with --json there is one object for each run.",
    .examples = "moonlet resume\n"
                "moonlet resume --due --quiet\n"
                "moonlet resume 1k1a --limit steps=100\n"
                "moonlet resume 1k1a --unknown tell --policy file=allow",
    .options = resume_options,
    .main = drive_main,
};

const moon__cli_command moon__cli_cmd_fork = {
    .name = "fork",
    .operands = "RUN [--at N] [--worktree[=DIR]] [--input TEXT] [OPTIONS]",
    .summary = "go on from any point of a run, as a new one",
    .about =
        "Starts a new run that shares the journal of RUN up to event N and goes its own way from there. RUN is not\n"
        "touched, whether it is finished or not, and nothing of what is shared is done again. With --input the agent\n"
        "gets one more message of yours: so a conversation goes on after its end. What was used before the fork does\n"
        "not count against limits.\n\n"
        "The fork works where RUN worked, with the files as they are now. If RUN took snapshots (`moonlet run\n"
        "--snapshots`), --worktree makes a git worktree with the files as they were after event N, or the last\n"
        "snapshot before it, and the fork works there: in DIR, else beside the repository. `git worktree remove`\n"
        "removes it.",
    .examples = "moonlet fork 1k1a --input \"and now in French\"\n"
                "moonlet show 1k1a && moonlet fork 1k1a --at 17 --model openai/gpt-5\n"
                "moonlet fork 1k1a --at 17 --worktree --policy file=allow\n"
                "git diff refs/moonlet/RUN/17 refs/moonlet/RUN/23",
    .options = fork_options,
    .main = drive_main,
};

const moon__cli_command moon__cli_cmd_replay = {
    .name = "replay",
    .operands = "RUN [--live-tools] [OPTIONS]",
    .summary = "run it again with the models' answers from its journal",
    .about =
        "Runs RUN again from its beginning. Models are not asked: their answers are those of the journal, and so are\n"
        "the results of tools, so that it shows in no time what happened, or that the script would now go another\n"
        "way (exit code 2). With --live-tools the tools are really called, with leave as ever. Nothing is kept.",
    .examples = "moonlet replay 1k1a --output stream-json\nmoonlet replay 1k1a --live-tools --policy file=deny",
    .options = replay_options,
    .main = drive_main,
};
