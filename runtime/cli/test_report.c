/* SPDX-License-Identifier: MIT */
/* Telling what came of the tests: for people as it comes; see test_formats.c for programs. */
#include "test.h"

#include "text.h"

#include <stdio.h>
#include <string.h>

enum { REPORT_MAX = 256 << 20 };

bool moon__test_format_parse(const char *word, moon__test_format *format) {
    static const char *const words[] = {"pretty", "tap", "junit", "json"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(word, words[i]) == 0) {
            *format = (moon__test_format)i;
            return true;
        }
    return false;
}

void moon__test_report_init(moon__test_report *report, moon__test_format format, int fd, bool no_colour, bool verbose) {
    *report = (moon__test_report){.format = format, .fd = fd, .verbose = verbose};
    moon__cli_term_init(&report->term, fd, no_colour);
    moon__buf_init(&report->text, REPORT_MAX);
}

static void flush(moon__test_report *report) {
    if (report->broken) return;
    if (report->text.status)
        report->broken = -1;
    else if (report->text.len)
        report->broken = moon__cli_write(report->fd, report->text.p, report->text.len);
    moon__buf_reset(&report->text);
}

/* ---- for people ---- */

/* Safe lines, each after an indent; diff: coloured by their first character. */
static void put_lines(moon__test_report *r, const char *text, const char *indent, bool diff) {
    moon__buf safe;
    moon__buf_init(&safe, REPORT_MAX);
    if (r->term.tty)
        moon__term_safe(&safe, text, strlen(text));
    else
        moon__buf_str(&safe, text);
    for (const char *line = safe.p ? safe.p : ""; *line;) {
        size_t n = strcspn(line, "\n");
        const char *colour = !diff ? NULL : *line == '-' ? "31" : *line == '+' ? "32" : *line == '@' ? "36" : NULL;
        if (n) moon__buf_str(&r->text, indent);
        if (colour) moon__cli_sgr(&r->text, &r->term, colour);
        moon__buf_add(&r->text, line, n);
        if (colour) moon__cli_sgr(&r->text, &r->term, "");
        moon__buf_char(&r->text, '\n');
        line += n + (line[n] == '\n');
    }
    moon__buf_fini(&safe);
}

static void put_value(moon__test_report *r, const char *label, const char *text, const char *colour) {
    if (!text) return;
    bool lines = strchr(text, '\n') != NULL;
    moon__buf_str(&r->text, "      ");
    moon__cli_sgr(&r->text, &r->term, colour);
    moon__buf_str(&r->text, label);
    moon__cli_sgr(&r->text, &r->term, "");
    moon__buf_str(&r->text, lines ? "\n" : " ");
    put_lines(r, text, lines ? "        " : "", false);
}

static void put_failure(moon__test_report *r, const moon__test_failure *f) {
    moon__buf text;
    moon__buf_init(&text, REPORT_MAX);
    moon__buf_printf(&text, "%s%s%s", f->where ? f->where : "", f->where && *f->where ? ": " : "", f->message);
    put_lines(r, text.p ? text.p : f->message, "      ", false);
    moon__buf_fini(&text);
    put_value(r, "expected:", f->expected, "32");
    put_value(r, "actual:  ", f->actual, "31");
    if (f->diff) put_lines(r, f->diff, "      ", true);
    if (f->trace && r->verbose) put_lines(r, f->trace, "      ", false);
}

static void put_printed(moon__test_report *r, const moon__test_case *c) {
    if (!c->outcome.printed.len || (c->status != MOON__TEST_FAILED && !r->verbose)) return;
    moon__buf_str(&r->text, "      it printed:\n");
    put_lines(r, c->outcome.printed.p, "        ", false);
}

static void put_case(moon__test_report *r, const moon__test_case *c) {
    static const struct {
        const char *sign, *plain, *colour;
    } marks[] = {{"✓", "ok  ", "32"}, {"✗", "FAIL", "31"}, {"-", "skip", "33"}};
    if (!r->file || strcmp(r->file, c->file) != 0) {
        put_lines(r, c->file, "", false);
        r->file = c->file;
    }
    moon__buf_str(&r->text, "  ");
    moon__cli_sgr(&r->text, &r->term, marks[c->status].colour);
    moon__buf_str(&r->text, r->term.tty && r->term.utf8 ? marks[c->status].sign : marks[c->status].plain);
    moon__cli_sgr(&r->text, &r->term, "");
    moon__buf_char(&r->text, ' ');
    moon__cli_fit(&r->text, &r->term, *c->name ? c->name : "(the file)", strlen(*c->name ? c->name : "(the file)"),
                  400);
    moon__buf_str(&r->text, " (");
    moon__cli_put_time(&r->text, c->outcome.wall_us / 1000);
    moon__buf_str(&r->text, ")\n");
    if (c->why && *c->why) put_lines(r, c->why, "      ", false);
    moon__test_failure f;
    for (size_t i = 0; c->status == MOON__TEST_FAILED && moon__test_case_failure(c, i, &f); i++) put_failure(r, &f);
    put_printed(r, c);
}

static void put_end(moon__test_report *r, const moon__test_suite *s) {
    moon__buf_char(&r->text, '\n');
    moon__cli_sgr(&r->text, &r->term, s->failed ? "31" : "32");
    moon__buf_printf(&r->text, "%zu passed, %zu failed", s->passed, s->failed);
    moon__cli_sgr(&r->text, &r->term, "");
    if (s->skipped) moon__buf_printf(&r->text, ", %zu skipped", s->skipped);
    if (s->written) moon__buf_printf(&r->text, ", %zu snapshots written", s->written);
    moon__buf_str(&r->text, " (");
    moon__cli_put_time(&r->text, s->wall_us / 1000);
    moon__buf_str(&r->text, ")\n");
    if (s->unused)
        moon__buf_printf(&r->text, "%zu snapshots are looked at by no test (--update removes them)\n", s->unused);
}

/* ---- all formats ---- */

void moon__test_report_case(moon__test_report *report, const moon__test_suite *suite, const moon__test_case *c) {
    if (report->format == MOON__TEST_TAP) {
        if (suite->n == 1) moon__buf_str(&report->text, "TAP version 13\n");
        moon__test_put_tap(&report->text, c, suite->n);
    } else if (report->format == MOON__TEST_PRETTY) {
        put_case(report, c);
    }
    flush(report);
}

void moon__test_report_end(moon__test_report *report, const moon__test_suite *suite) {
    switch (report->format) {
    case MOON__TEST_PRETTY: put_end(report, suite); break;
    case MOON__TEST_TAP: moon__buf_printf(&report->text, "1..%zu\n", suite->n); break;
    case MOON__TEST_JUNIT: moon__test_put_junit(&report->text, suite); break;
    case MOON__TEST_JSON: moon__test_put_json(&report->text, suite); break;
    }
    report->file = NULL;
    flush(report);
}

void moon__test_report_fini(moon__test_report *report) {
    moon__buf_fini(&report->text);
}
