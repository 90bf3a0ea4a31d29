/* SPDX-License-Identifier: MIT */
#ifndef MOON_CLI_CLI_H
#define MOON_CLI_CLI_H
/*
 * A subcommand is one const record; main.c holds the table of them, and help, completion of misspelt names and dispatch
 * all read it. A subcommand is an ordinary client of the public headers: it returns the process's exit code.
 */
#include "args.h"

#include <moonlet/tool.h>

enum { MOON__EXIT_OK = 0, MOON__EXIT_FAILED = 1, MOON__EXIT_USAGE = 2, MOON__EXIT_PROVIDER = 6 };

typedef struct moon__cli_command {
    const char *name;
    const char *operands; /* "AGENT|SCRIPT [INPUT|-]" */
    const char *summary;  /* its line in the list of commands */
    const char *about;    /* paragraphs for its help */
    const char *examples; /* one per line */
    const moon__cli_option *options;
    int (*main)(const struct moon__cli_command *self, int argc, char **argv); /* argv without the command's name */
} moon__cli_command;

extern const moon__cli_command moon__cli_cmd_run, moon__cli_cmd_tools, moon__cli_cmd_call, moon__cli_cmd_new,
    moon__cli_cmd_doctor, moon__cli_cmd_resume, moon__cli_cmd_runs, moon__cli_cmd_show, moon__cli_cmd_approve,
    moon__cli_cmd_deny, moon__cli_cmd_signal, moon__cli_cmd_fork, moon__cli_cmd_replay, moon__cli_cmd_gc,
    moon__cli_cmd_cancel, moon__cli_cmd_export, moon__cli_cmd_import, moon__cli_cmd_graph, moon__cli_cmd_doc,
    moon__cli_cmd_test, moon__cli_cmd_worktrees;

/* The option every table has. */
enum { MOON__OPT_HELP = 1, MOON__OPT_OTHER };
#define MOON__OPTION_HELP                                                                                              \
    { "help", 'h', NULL, "print this help", MOON__OPT_HELP }

/* Writes the command's help to standard output; the exit code. */
int moon__cli_help(const moon__cli_command *command);
/* "moonlet: NAME: what" and where to read on, to standard error; returns MOON__EXIT_USAGE. */
int moon__cli_usage(const moon__cli_command *command, const char *format, ...) MOON_PRINTF(2, 3);
/* The exit code for a failure before there is a run: a wrong script, name or setting is the user's to mend (2). */
int moon__cli_exit_code(moon_status status);
/* Reports an error of the library, with its place; returns the exit code for it. */
int moon__cli_fail(const moon_error *error);
#endif
