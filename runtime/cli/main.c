/* SPDX-License-Identifier: MIT */
/*
 * The command line: one table of subcommands, help and version. Nothing here creates a runtime, so `--help` and
 * `--version` cost a start of the process and no more.
 */
#include "cli.h"
#include "output.h"
#include "term.h"

#include "text.h"

#include <moonlet/moonlet.h>

#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* Versions of the libraries that the build saw, "libuv 1.44.2, Lua 5.4.4"; see versions.cmake. */
#ifndef MOON_CLI_LIBRARIES
#define MOON_CLI_LIBRARIES "unknown"
#endif
#ifndef MOON_CLI_BUILD
#define MOON_CLI_BUILD "unknown"
#endif

static const moon__cli_command *const commands[] = {
    &moon__cli_cmd_run,     &moon__cli_cmd_resume,
    &moon__cli_cmd_runs,    &moon__cli_cmd_show,
    &moon__cli_cmd_approve, &moon__cli_cmd_deny,
    &moon__cli_cmd_signal,  &moon__cli_cmd_fork,
    &moon__cli_cmd_replay,  &moon__cli_cmd_cancel,
    &moon__cli_cmd_export,  &moon__cli_cmd_import,
    &moon__cli_cmd_gc,      &moon__cli_cmd_worktrees,
    &moon__cli_cmd_test,    &moon__cli_cmd_tools,
    &moon__cli_cmd_call,    &moon__cli_cmd_graph,
    &moon__cli_cmd_new,     &moon__cli_cmd_doc,
    &moon__cli_cmd_doctor,  NULL,
};

static const moon__cli_command *find_command(const char *name) {
    for (size_t i = 0; commands[i]; i++)
        if (strcmp(commands[i]->name, name) == 0) return commands[i];
    return NULL;
}

static int unknown_command(const char *name) {
    const char *names[sizeof commands / sizeof *commands + 1];
    size_t n = 0, length = strlen(name);
    for (; commands[n]; n++) names[n] = commands[n]->name;
    names[n++] = "help";
    names[n] = NULL;
    const char *near = moon__nearest(name, names);
    if (near) {
        moon__cli_error("unknown command \"%s\"; did you mean \"%s\"?", name, near);
    } else if (length > 4 && strcmp(name + length - 4, ".lua") == 0) {
        moon__cli_error("unknown command \"%s\"; to run a script: moonlet run %s", name, name);
    } else {
        moon__cli_error("unknown command \"%s\"; `moonlet --help` lists them", name);
    }
    return MOON__EXIT_USAGE;
}

static int print_overview(void) {
    moon__buf text;
    moon__buf_init(&text, 64 * 1024);
    moon__buf_str(&text, "Moonlet runs agents: a plan/act loop in C, tools in C, agents in Lua.\n\n"
                         "usage: moonlet COMMAND [ARGUMENTS]\n\ncommands:\n");
    for (size_t i = 0; commands[i]; i++)
        moon__buf_printf(&text, "  %-9s %s\n", commands[i]->name, commands[i]->summary);
    moon__buf_str(
        &text, "  help      the help of a command: moonlet help run\n\n"
               "options:\n"
               "  -h, --help     print this help\n"
               "  -V, --version  print the version, the build and the libraries\n\n"
               "examples:\n"
               "  moonlet run brief --cwd ~/src/project          a brief of a git repository\n"
               "  moonlet run ./agent.lua \"what to do\"           an agent of your own\n"
               "  moonlet call search '{\"pattern\":\"TODO\"}'       one tool, without a model\n"
               "  moonlet doctor                                 what is found on this machine\n\n"
               "Without a model, agents run on the offline one. To use another: set OPENAI_API_KEY, or\n"
               "MOONLET_MODEL=provider/model, or give --model.\n\n"
               "exit codes: 0 done, 1 failed, 2 usage or configuration, 3 a limit was reached, 4 waits for approval,\n"
               "5 refused by policy, 6 provider unavailable, 7 output schema not met, 124 out of time,\n"
               "130 interrupted\n");
    return moon__cli_print(&text);
}

static int print_version(void) {
    moon__buf text;
    moon__buf_init(&text, 4096);
    moon__buf_printf(&text, "moonlet %s\nbuild: %s\nlibraries: %s\n", moon_version(), MOON_CLI_BUILD,
                     MOON_CLI_LIBRARIES);
    return moon__cli_print(&text);
}

static void put_option(moon__buf *text, const moon__cli_option *option) {
    char left[48];
    moon__buf name;
    moon__buf_init(&name, sizeof left);
    if (option->letter) moon__buf_printf(&name, "-%c, ", option->letter);
    moon__buf_printf(&name, "--%s%s%s", option->name, option->value ? " " : "", option->value ? option->value : "");
    moon__buf_printf(text, "  %-27s %s\n", name.p ? name.p : "", option->help);
    moon__buf_fini(&name);
}

int moon__cli_help(const moon__cli_command *command) {
    moon__buf text;
    moon__buf_init(&text, 64 * 1024);
    moon__buf_printf(&text, "usage: moonlet %s %s\n\n%s\n\noptions:\n", command->name, command->operands,
                     command->about);
    for (const moon__cli_option *o = command->options; o->name; o++)
        if (o->help) put_option(&text, o);
    moon__buf_str(&text, "\nexamples:\n");
    for (const char *line = command->examples; *line;) {
        size_t length = strcspn(line, "\n");
        moon__buf_str(&text, "  ");
        moon__buf_add(&text, line, length);
        moon__buf_char(&text, '\n');
        line += length + (line[length] == '\n');
    }
    return moon__cli_print(&text);
}

int moon__cli_usage(const moon__cli_command *command, const char *format, ...) {
    moon__buf text;
    va_list args;
    moon__buf_init(&text, 64 * 1024);
    va_start(args, format);
    moon__buf_vprintf(&text, format, args);
    va_end(args);
    moon__cli_error("%s: %s\nusage: moonlet %s %s; see `moonlet help %s`", command->name, text.p ? text.p : "",
                    command->name, command->operands, command->name);
    moon__buf_fini(&text);
    return MOON__EXIT_USAGE;
}

int moon__cli_exit_code(moon_status status) {
    switch (status) {
    case MOON_OK: return MOON__EXIT_OK;
    case MOON_EINVAL:
    case MOON_ENOTFOUND:
    case MOON_EPARSE:
    case MOON_ESCHEMA:
    case MOON_ESCRIPT:
    case MOON_EEXIST:
    case MOON_ELIMIT:  /* of a script or a file that was given: the limits of a run end it, and are no status */
    case MOON_EDENIED: /* to a configuration, or to us by the file system; what policy refuses is a run's end */
    case MOON_EUNSUPPORTED: return MOON__EXIT_USAGE;
    case MOON_ENET:
    case MOON_EPROVIDER: return MOON__EXIT_PROVIDER;
    default: return MOON__EXIT_FAILED;
    }
}

int moon__cli_fail(const moon_error *error) {
    const char *text = error->text[0] ? error->text : moon_status_text(error->code);
    if (error->where[0]) {
        moon__cli_error("%s: %s", error->where, text);
    } else {
        moon__cli_error("%s", text);
    }
    return moon__cli_exit_code(error->code);
}

/* A run may hold many connections: take what the hard limit gives. Children get the runtime's own defaults. */
static void raise_descriptor_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= limit.rlim_max) return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}

/* A standard descriptor that is closed would be given to the next file that is opened. Opened the wrong way round, it
 * keeps its place, and using it is the error that it was. */
static void hold_standard_descriptors(void) {
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) != -1) continue;
        if (open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd) return;
    }
}

static int help_command(int argc, char **argv) {
    if (argc == 0) return print_overview();
    if (strcmp(argv[0], "help") == 0) return print_overview();
    const moon__cli_command *command = find_command(argv[0]);
    return command ? moon__cli_help(command) : unknown_command(argv[0]);
}

int main(int argc, char **argv) {
    hold_standard_descriptors();
    signal(SIGPIPE, SIG_IGN); /* a closed pipe is an error of write() */
    signal(SIGXFSZ, SIG_IGN); /* and so is a file that may not grow */
    if (argc < 2) {
        moon__cli_error("a command is needed; `moonlet --help` lists them");
        return MOON__EXIT_USAGE;
    }
    const char *word = argv[1];
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) return print_overview();
    if (strcmp(word, "--version") == 0 || strcmp(word, "-V") == 0) return print_version();
    if (strcmp(word, "help") == 0) return help_command(argc - 2, argv + 2);
    const moon__cli_command *command = find_command(word);
    if (!command) return unknown_command(word);
    raise_descriptor_limit();
    return command->main(command, argc - 2, argv + 2);
}
