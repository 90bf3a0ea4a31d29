/* SPDX-License-Identifier: MIT */
#ifndef MOON_CLI_TEST_H
#define MOON_CLI_TEST_H
/*
 * `moonlet test`: test files are found (test_find.c), each test is run in a runtime of its own (test_drive.c), and what
 * came of it is told (test_report.c, test_formats.c). cmd_test.c puts them together, once or whenever a file changes.
 */
#include "term.h"

#include <moonlet/moonlet.h>

#include <signal.h>

/* ---- finding ---- */

typedef struct moon__test_files {
    char **paths; /* n; sorted, each once */
    size_t n;
} moon__test_files;
/* A file is taken as it is; of a folder, every *_test.lua beneath it, without hidden folders and node_modules. Errors
 * are reported; 0 or the exit code. */
int moon__test_find(moon__test_files *files, const char *place);
void moon__test_files_sort(moon__test_files *files);
void moon__test_files_free(moon__test_files *files);
/* A number that is another one when a Lua file or a snapshot beneath these places is changed, made or removed. */
uint64_t moon__test_stamp(const char *const *places, size_t n);

/* ---- driving ---- */

enum { MOON__TEST_PLUGINS = 32 };

typedef struct moon__test_driver {
    bool update;
    int seconds; /* of real time that a test may take */
    const char *plugins[MOON__TEST_PLUGINS];
    size_t n_plugins;
    int signal_fd;
    sigset_t old_mask;
    bool interrupted;
} moon__test_driver;
/* Ctrl-C and the like are read from a descriptor from here on. */
bool moon__test_driver_open(moon__test_driver *driver);
void moon__test_driver_close(moon__test_driver *driver);
/* Waits up to ms; true if somebody wants all to end. */
bool moon__test_driver_wait(moon__test_driver *driver, int ms);

/* What a file's main function gave; of a failure, error says why. Freed with fini. */
typedef struct moon__test_outcome {
    moon_json *json; /* NULL: error */
    moon_error error;
    char *error_text; /* all of it, where error may have cut it; NULL: error has it */
    char *trace;      /* within it; NULL: none */
    moon__buf printed;
    int64_t wall_us; /* real time */
} moon__test_outcome;
/* Runs the test of that number (from 1), or with 0 lists the tests. */
void moon__test_drive(moon__test_driver *driver, const char *file, size_t number, moon__test_outcome *out);
void moon__test_outcome_fini(moon__test_outcome *outcome);

/* ---- telling ---- */

typedef enum moon__test_format {
    MOON__TEST_PRETTY,
    MOON__TEST_TAP,
    MOON__TEST_JUNIT,
    MOON__TEST_JSON
} moon__test_format;
bool moon__test_format_parse(const char *word, moon__test_format *format);

typedef enum moon__test_status { MOON__TEST_PASSED, MOON__TEST_FAILED, MOON__TEST_SKIPPED } moon__test_status;

/* One failure, its texts borrowed; each but message may be NULL. */
typedef struct moon__test_failure {
    const char *message, *where, *expected, *actual, *diff, *trace;
} moon__test_failure;

typedef struct moon__test_case {
    const char *file; /* borrowed */
    char *name;       /* "" for the file itself, which could not be loaded */
    moon__test_status status;
    const char *why; /* it was skipped; borrowed from what the rest holds */
    moon__test_outcome outcome;
} moon__test_case;
/* Of a case that failed: the failure of that index; false past the last. */
bool moon__test_case_failure(const moon__test_case *c, size_t index, moon__test_failure *out);

typedef struct moon__test_suite {
    moon__test_case *cases;
    size_t n, passed, failed, skipped, written; /* written: snapshots */
    size_t unused;                              /* snapshots that no test looks at */
    int64_t wall_us;
} moon__test_suite;
/* The case is taken over, and counted. NULL: out of memory. */
const moon__test_case *moon__test_suite_add(moon__test_suite *suite, moon__test_case *c);
void moon__test_suite_free(moon__test_suite *suite);
/* Counts the snapshots that no test looks at, or removes them. Where tests were left out by a filter, or have failed,
 * that is not known. */
void moon__test_snapshots(moon__test_suite *suite, const moon__test_files *files, bool remove_them, bool filtered);

/* Where a report goes, and how: PRETTY and TAP are told as they come, the others at the end. */
typedef struct moon__test_report {
    moon__test_format format;
    moon__cli_term term;
    int fd;
    int broken; /* an errno: nothing more is written */
    bool verbose;
    const char *file; /* the one told of last */
    moon__buf text;
} moon__test_report;
void moon__test_report_init(moon__test_report *report, moon__test_format format, int fd, bool no_colour, bool verbose);
void moon__test_report_case(moon__test_report *report, const moon__test_suite *suite, const moon__test_case *c);
void moon__test_report_end(moon__test_report *report, const moon__test_suite *suite);
void moon__test_report_fini(moon__test_report *report);
/* test_formats.c: the whole suite as text. */
void moon__test_put_junit(moon__buf *out, const moon__test_suite *suite);
void moon__test_put_json(moon__buf *out, const moon__test_suite *suite);
void moon__test_put_tap(moon__buf *out, const moon__test_case *c, size_t number);
#endif
