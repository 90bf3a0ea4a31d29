/* SPDX-License-Identifier: MIT */
/* moonlet test: runs the tests of agents; see test.h for its parts. */
#include "cli.h"
#include "test.h"

#include "json.h"
#include "text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    OPT_OUTPUT = MOON__OPT_OTHER,
    OPT_OUTPUT_FILE,
    OPT_FILTER,
    OPT_UPDATE,
    OPT_WATCH,
    OPT_LIST,
    OPT_TIMEOUT,
    OPT_PLUGIN,
    OPT_VERBOSE,
    OPT_NO_COLOUR,
    SECONDS = 60,
    SECONDS_MAX = 24 * 60 * 60,
    WATCH_MS = 250,
    PLACES_MAX = 256,
    FILTERS_MAX = 32,
};

static const moon__cli_option options[] = {
    {"output", 0, "FORMAT", "pretty, tap, junit or json (default: pretty on a terminal, else tap)", OPT_OUTPUT},
    {"output-file", 'o', "FILE", "write that to a file, and pretty or tap to standard output", OPT_OUTPUT_FILE},
    {"filter", 'f', "TEXT", "only tests with this in \"FILE: NAME\"; * stands for anything; repeatable", OPT_FILTER},
    {"update", 'u', NULL, "write snapshots as they are now, and remove those that no test looks at", OPT_UPDATE},
    {"watch", 'w', NULL, "run them again whenever a Lua file beneath the folders changes", OPT_WATCH},
    {"list", 0, NULL, "print their names, and run none", OPT_LIST},
    {"timeout", 0, "SECONDS", "of real time that a test may take (default: 60)", OPT_TIMEOUT},
    {"plugin", 0, "FILE.so", "load a plugin's tools; repeatable", OPT_PLUGIN},
    {"verbose", 'v', NULL, "what tests print, and where in the Lua code they failed", OPT_VERBOSE},
    {"no-color", 0, NULL, "no colours (so does NO_COLOR)", OPT_NO_COLOUR},
    MOON__OPTION_HELP,
    {NULL, 0, NULL, NULL, 0},
};

typedef struct request {
    moon__test_format format, shown; /* shown: on standard output, if the report goes to a file */
    bool format_given, watch, list, verbose, no_colour;
    const char *output_file;
    const char *filters[FILTERS_MAX];
    size_t n_filters;
    const char *places[PLACES_MAX];
    size_t n_places;
    moon__test_driver driver;
    moon__test_report report, screen;
} request;

/* ---- one test, one file ---- */

/* Does the pattern, in which * is anything, stand somewhere in the text? */
static bool stands_in(const char *pattern, const char *text) {
    size_t n = strcspn(pattern, "*");
    if (!*pattern) return true;
    if (!n) return stands_in(pattern + 1, text);
    for (const char *at = text; *at; at++)
        if (strncmp(at, pattern, n) == 0) return stands_in(pattern + n, at + n); /* the first place leaves most */
    return false;
}

static bool wanted(const request *r, const char *file, const char *name) {
    moon__buf text;
    bool found = r->n_filters == 0;
    moon__buf_init(&text, 16 << 10);
    moon__buf_printf(&text, "%s: %s", file, name);
    for (size_t i = 0; !found && i < r->n_filters; i++) found = text.p && stands_in(r->filters[i], text.p);
    moon__buf_fini(&text);
    return found;
}

static bool add_case(request *r, moon__test_suite *suite, moon__test_case *c) {
    c->name = moon__strdup(c->name);
    const moon__test_case *added = c->name ? moon__test_suite_add(suite, c) : NULL;
    if (!added) {
        moon__cli_error("test: out of memory");
        return false;
    }
    moon__test_report_case(&r->report, suite, added);
    if (r->output_file) moon__test_report_case(&r->screen, suite, added);
    return true;
}

static moon__test_status status_of(const moon__test_outcome *outcome) {
    const char *word = moon_json_str(moon_json_get(outcome->json, "status"), NULL);
    if (word && strcmp(word, "passed") == 0) return MOON__TEST_PASSED;
    return word && strcmp(word, "skipped") == 0 ? MOON__TEST_SKIPPED : MOON__TEST_FAILED;
}

static bool run_one(request *r, moon__test_suite *suite, const char *file, const moon_json *test, size_t number) {
    const char *skip = moon_json_str(moon_json_get(test, "skip"), NULL);
    moon__test_case c = {.file = file, .name = (char *)(uintptr_t)moon_json_str(moon_json_get(test, "name"), NULL)};
    if (skip) {
        moon__buf_init(&c.outcome.printed, 1);
        c.status = MOON__TEST_SKIPPED;
        moon_json *kept = NULL;
        moon__buf text;
        moon__buf_init(&text, 64 << 10);
        moon__buf_quoted(&text, skip, SIZE_MAX);
        if (!text.status && !moon__json_parse(&kept, text.p, text.len, 0, NULL)) c.outcome.json = kept;
        moon__buf_fini(&text);
        c.why = moon_json_str(kept, NULL);
    } else {
        moon__test_drive(&r->driver, file, number, &c.outcome);
        c.status = status_of(&c.outcome);
        const char *where = moon_json_str(moon_json_get(test, "where"), NULL);
        if (where && !c.outcome.json && !c.outcome.error.where[0])
            snprintf(c.outcome.error.where, sizeof c.outcome.error.where, "%s", where);
        if (c.status == MOON__TEST_SKIPPED) c.why = moon_json_str(moon_json_get(c.outcome.json, "why"), NULL);
    }
    return add_case(r, suite, &c);
}

static bool print_name(const char *file, const char *name) {
    moon__buf line;
    moon__buf_init(&line, 16 << 10);
    moon__buf_printf(&line, "%s: %s\n", file, name);
    int failed = line.status ? ENOMEM : moon__cli_write(STDOUT_FILENO, line.p, line.len);
    moon__buf_fini(&line);
    return !failed;
}

static bool run_file(request *r, moon__test_suite *suite, const char *file) {
    moon__test_case whole = {.file = file, .name = (char *)(uintptr_t) "", .status = MOON__TEST_FAILED};
    moon__test_drive(&r->driver, file, 0, &whole.outcome);
    const moon_json *tests = moon_json_get(whole.outcome.json, "tests");
    if (!tests) return add_case(r, suite, &whole);
    bool on = true;
    size_t number = 0;
    for (const moon_json *t = moon_json_first(tests); on && t && !r->driver.interrupted; t = moon_json_next(t)) {
        const char *name = moon_json_str(moon_json_get(t, "name"), NULL);
        number++;
        if (!wanted(r, file, name)) continue;
        if (r->list) suite->passed++;
        on = r->list ? print_name(file, name) : run_one(r, suite, file, t, number);
    }
    moon__test_outcome_fini(&whole.outcome);
    return on;
}

/* ---- all ---- */

static int64_t now_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static int exit_code(const request *r, const moon__test_suite *suite, bool on) {
    if (r->driver.interrupted) return moon_stop_exit_code(MOON_STOP_INTERRUPTED);
    if (suite->failed || !on || r->report.broken || r->screen.broken) return MOON__EXIT_FAILED;
    if (suite->n || suite->passed) return MOON__EXIT_OK;
    moon__cli_error("test: no test %s", r->n_filters ? "has a name that --filter fits" : "is in these files");
    return MOON__EXIT_USAGE;
}

static int find_all(const request *r, moon__test_files *files) {
    int code = MOON__EXIT_OK;
    for (size_t i = 0; !code && i < r->n_places; i++) code = moon__test_find(files, r->places[i]);
    moon__test_files_sort(files);
    if (code || files->n) return code;
    moon__cli_error("test: no *_test.lua is found beneath %s", r->n_places == 1 ? r->places[0] : "these folders");
    return MOON__EXIT_USAGE;
}

static int run_all(request *r) {
    moon__test_files files = {0};
    moon__test_suite suite = {0};
    int64_t began = now_us();
    int code = find_all(r, &files);
    bool on = true;
    for (size_t i = 0; !code && on && i < files.n && !r->driver.interrupted; i++)
        on = run_file(r, &suite, files.paths[i]);
    suite.wall_us = now_us() - began;
    if (!code) moon__test_snapshots(&suite, &files, r->driver.update && !r->n_filters, r->n_filters > 0);
    if (!code && !r->list) {
        moon__test_report_end(&r->report, &suite);
        if (r->output_file) moon__test_report_end(&r->screen, &suite);
    }
    if (!code) code = exit_code(r, &suite, on);
    moon__test_suite_free(&suite);
    moon__test_files_free(&files);
    return code;
}

static int watch(request *r) {
    int code = MOON__EXIT_OK;
    while (!r->driver.interrupted) {
        uint64_t stamp = moon__test_stamp(r->places, r->n_places);
        code = run_all(r);
        if (r->report.broken || r->screen.broken) return code;
        if (!r->driver.interrupted) moon__cli_error("test: waiting for a change; Ctrl-C ends");
        while (stamp == moon__test_stamp(r->places, r->n_places) && !moon__test_driver_wait(&r->driver, WATCH_MS))
            continue;
    }
    return code == MOON__EXIT_FAILED ? code : moon_stop_exit_code(MOON_STOP_INTERRUPTED);
}

/* ---- the command line ---- */

static const char *take_option(request *r, int id, const char *value) {
    char *end;
    switch (id) {
    case OPT_OUTPUT:
        r->format_given = true;
        return moon__test_format_parse(value, &r->format) ? NULL : "the output format is pretty, tap, junit or json";
    case OPT_OUTPUT_FILE: r->output_file = value; return NULL;
    case OPT_FILTER:
        if (r->n_filters == FILTERS_MAX) return "there are too many filters";
        r->filters[r->n_filters++] = value;
        return NULL;
    case OPT_UPDATE: r->driver.update = true; return NULL;
    case OPT_WATCH: r->watch = true; return NULL;
    case OPT_LIST: r->list = true; return NULL;
    case OPT_TIMEOUT: {
        long seconds = strtol(value, &end, 10);
        if (*end || seconds < 1 || seconds > SECONDS_MAX) return "--timeout is a number of seconds, from 1 to a day";
        r->driver.seconds = (int)seconds;
        return NULL;
    }
    case OPT_PLUGIN:
        if (r->driver.n_plugins == MOON__TEST_PLUGINS) return "there are too many plugins";
        r->driver.plugins[r->driver.n_plugins++] = value;
        return NULL;
    case OPT_VERBOSE: r->verbose = true; return NULL;
    case OPT_NO_COLOUR: r->no_colour = true; return NULL;
    default:
        if (r->n_places == PLACES_MAX) return "there are too many files";
        r->places[r->n_places++] = value;
        return NULL;
    }
}

/* -1: go on; else the exit code. */
static int read_arguments(const moon__cli_command *self, request *r, int argc, char **argv) {
    moon__cli_args args;
    moon__cli_args_init(&args, options, argc, argv);
    for (int id; (id = moon__cli_args_next(&args)) != MOON__ARG_END;) {
        if (id == MOON__ARG_WRONG) return moon__cli_usage(self, "%s", args.error);
        if (id == MOON__OPT_HELP) return moon__cli_help(self);
        const char *why = take_option(r, id, args.value);
        if (why) return moon__cli_usage(self, "%s", why);
    }
    if (!r->n_places) r->places[r->n_places++] = ".";
    r->shown = isatty(STDOUT_FILENO) == 1 ? MOON__TEST_PRETTY : MOON__TEST_TAP;
    if (!r->format_given) r->format = r->shown;
    return -1;
}

static int run(request *r) {
    int fd = STDOUT_FILENO;
    if (r->output_file) {
        fd = open(r->output_file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY, 0666);
        if (fd < 0) {
            moon__cli_error("cannot write %s: %s", r->output_file, strerror(errno));
            return MOON__EXIT_USAGE;
        }
    }
    moon__test_report_init(&r->report, r->format, fd, r->no_colour, r->verbose);
    moon__test_report_init(&r->screen, r->shown, STDOUT_FILENO, r->no_colour, r->verbose);
    int code = r->watch ? watch(r) : run_all(r);
    int broken = r->report.broken ? r->report.broken : r->screen.broken;
    if (r->output_file && close(fd) != 0 && !broken) broken = errno;
    if (broken && broken != EPIPE) moon__cli_error("cannot write the report: %s", strerror(broken));
    moon__test_report_fini(&r->report);
    moon__test_report_fini(&r->screen);
    return broken && !code ? MOON__EXIT_FAILED : code;
}

static int test_main(const moon__cli_command *self, int argc, char **argv) {
    request r = {.driver = {.seconds = SECONDS, .signal_fd = -1}};
    int code = read_arguments(self, &r, argc, argv);
    if (code >= 0) return code;
    if (!moon__test_driver_open(&r.driver)) {
        moon__cli_error("cannot watch signals: %s", strerror(errno));
        return MOON__EXIT_FAILED;
    }
    code = run(&r);
    moon__test_driver_close(&r.driver);
    return code;
}

const moon__cli_command moon__cli_cmd_test = {
    .name = "test",
    .operands = "[FILE|FOLDER]... [OPTIONS]",
    .summary = "run the tests of agents: scripted models, a clock that jumps, snapshots",
    .about =
        "Runs the tests in Lua files, and in every *_test.lua beneath folders (default: the current one; hidden "
        "folders\n"
        "and node_modules are passed over). Each test has a runtime, a temporary workspace and a clock of its own; no\n"
        "test reaches a real model. What a test may use is in docs/testing.md.\n"
        "Exit codes: 0 all passed, 1 a test failed or a file could not be loaded, 2 usage, or there is no test, 130\n"
        "interrupted.",
    .examples = "moonlet test\n"
                "moonlet test agents/tests --filter changelog\n"
                "moonlet test --update review_test.lua             # take snapshots as they are now\n"
                "moonlet test --watch\n"
                "moonlet test --output junit -o report.xml",
    .options = options,
    .main = test_main,
};
