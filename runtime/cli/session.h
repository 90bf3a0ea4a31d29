/* SPDX-License-Identifier: MIT */
#ifndef MOON_CLI_SESSION_H
#define MOON_CLI_SESSION_H
/*
 * One run from the command line, from its options to the exit code: what `run` and `call` share. A session is in one of
 * three states: being set up (options are read into it), open (a runtime is there), and driving (the run goes on until
 * it is finished; events go to the output and the display, questions to the prompt).
 *
 * Signals. From open on INT, TERM and HUP are blocked and read from a signalfd in the loop (those that were ignored
 * when the process started stay ignored). The first one cancels the run, whose result is still written; the second ends
 * the process.
 */
#include "args.h"
#include "output.h"
#include "policy.h"
#include "progress.h"
#include "prompt.h"

#include <signal.h>

enum { MOON__PLUGINS_MAX = 32 };

typedef struct moon__cli_session {
    /* Read from the command line. */
    const char *workspace, *model, *config, *output_file;
    const char *journal;           /* NULL: runs are not kept; "": the default place */
    const char *cassette, *record; /* folders that models' answers come from, or go to; at most one */
    const char *input;             /* the task, or a tool's arguments; "-": they are read from standard input */
    moon_limits limits;
    moon__cli_rules rules;
    const char *plugins[MOON__PLUGINS_MAX];
    size_t n_plugins;
    moon__cli_format format;
    bool yes, quiet, verbose, no_colour, park, snapshots;
    bool result_is_json; /* the result's text is given parsed where it can be */
    bool tool_call;      /* one tool and no model: little progress, and its failure is its own text */
    bool stdin_taken;    /* it was read to its end: who is asked answers on the controlling terminal */
    moon__buf text;      /* what was read there */

    /* While it is open. */
    moon_runtime *runtime;
    moon__cli_term term; /* standard error */
    moon__cli_output output;
    moon__cli_progress *progress;
    moon__cli_prompt *prompt; /* NULL: nobody can be asked */
    moon_run *run;
    bool hint;      /* it was not said yet that no model is configured */
    char asked[64]; /* the tool that nobody could be asked about */
    int signal_fd, output_fd;
    bool output_made; /* the file was not there before */
    sigset_t old_mask;
    unsigned signals;
} moon__cli_session;

/* The options that set a session, for the tables of `run` and `call`; ids from MOON__SESSION_FIRST on. */
enum {
    MOON__SESSION_FIRST = 100,
    MOON__SESSION_CWD = MOON__SESSION_FIRST,
    MOON__SESSION_OUTPUT,
    MOON__SESSION_JSON,
    MOON__SESSION_OUTPUT_FILE,
    MOON__SESSION_YES,
    MOON__SESSION_POLICY,
    MOON__SESSION_PLUGIN,
    MOON__SESSION_CONFIG,
    MOON__SESSION_QUIET,
    MOON__SESSION_VERBOSE,
    MOON__SESSION_NO_COLOUR,
    MOON__SESSION_JOURNAL,
    MOON__SESSION_PARK,
    MOON__SESSION_SNAPSHOTS,
    MOON__SESSION_CASSETTE,
    MOON__SESSION_RECORD,
};
#define MOON__SNAPSHOT_OPTION                                                                                          \
    {                                                                                                                  \
        "snapshots", 0, NULL, "keep the workspace of each step that wrote in its git repository",                      \
            MOON__SESSION_SNAPSHOTS                                                                                    \
    }
#define MOON__JOURNAL_OPTION                                                                                           \
    {"park", 0, NULL, "end (exit 4) when only time or a signal can lead on; `resume` goes on", MOON__SESSION_PARK}, {  \
        "journal", 0, "FILE", "where runs are kept, or \"off\" (default: see `moonlet doctor`)", MOON__SESSION_JOURNAL \
    }
#define MOON__CASSETTE_OPTIONS                                                                                         \
    {"cassette", 0, "DIR", "take the models' answers from recordings: nothing is asked", MOON__SESSION_CASSETTE}, {    \
        "record", 0, "DIR", "record the models' answers; what is recorded is not asked again", MOON__SESSION_RECORD    \
    }
#define MOON__SESSION_OPTIONS                                                                                          \
    {"cwd", 'C', "DIR", "the directory that tools work in (default: the current one)", MOON__SESSION_CWD},             \
        {"cd", 0, "DIR", NULL, MOON__SESSION_CWD},                                                                     \
        {"output", 0, "FORMAT", "text, json (one object) or stream-json (an event per line)", MOON__SESSION_OUTPUT},   \
        {"output-format", 0, "FORMAT", NULL, MOON__SESSION_OUTPUT},                                                    \
        {"json", 0, NULL, "the same as --output json", MOON__SESSION_JSON},                                            \
        {"yes", 'y', NULL, "allow what would be asked for", MOON__SESSION_YES},                                        \
        {"policy", 0, "TOOL=WORD", "allow, ask or deny for a tool, a group or *; repeatable", MOON__SESSION_POLICY},   \
        {"plugin", 0, "FILE.so", "load a plugin's tools; repeatable", MOON__SESSION_PLUGIN},                           \
        {"config", 0, "FILE", "the user's configuration, or \"\" for none at all", MOON__SESSION_CONFIG},              \
        {"quiet", 'q', NULL, "no progress, errors only", MOON__SESSION_QUIET},                                         \
        {"verbose", 'v', NULL, "progress also without a terminal, and the text as it streams", MOON__SESSION_VERBOSE}, \
    {                                                                                                                  \
        "no-color", 0, NULL, "no colours (so does NO_COLOR)", MOON__SESSION_NO_COLOUR                                  \
    }

void moon__cli_session_init(moon__cli_session *session);
/* Takes one option of the above; NULL, or what is wrong with its value. */
const char *moon__cli_session_option(moon__cli_session *session, int id, const char *value);

/* Which cassette, for commands that ask models: MOONLET_CASSETTE where no option says it. NULL, or what is wrong. */
const char *moon__cli_session_cassette(moon__cli_session *session);
/* Where the input is "-": takes all of standard input for it, up to a ceiling. Errors are reported; 0 or the exit code.
 */
int moon__cli_session_read(moon__cli_session *session);
/* Opens the runtime and what shows its events. Errors are reported; 0 or the exit code. */
int moon__cli_session_open(moon__cli_session *session);
/* What to give moon_run_start or moon_run_tool: input, events, approval, limits. */
moon_run_options moon__cli_session_run_options(moon__cli_session *session);
/* Drives session->run to its end, writes the result; the exit code. */
int moon__cli_session_drive(moon__cli_session *session);
/* Reports an error before there was a run, in the chosen format too; the exit code. */
int moon__cli_session_fail(moon__cli_session *session, const moon_error *error);
/* The same for what is wrong with the request, in words of any length: MOON__EXIT_USAGE. */
int moon__cli_session_reject(moon__cli_session *session, const char *text);
/* Frees all; the exit code, which a failed write of the result changes. */
int moon__cli_session_close(moon__cli_session *session, int exit_code);

#endif
