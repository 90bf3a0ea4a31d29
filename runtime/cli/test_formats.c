/* SPDX-License-Identifier: MIT */
/* Reports for programs: TAP version 13 with YAML blocks, JUnit's XML as CI services read it, and one JSON object. */
#include "test.h"

#include "json.h"
#include "text.h"

#include <string.h>

enum { TEXT_MAX = 64 << 20 };

/* ---- TAP ---- */

/* A YAML value: JSON's strings are YAML's, several lines read better as a block. */
static void put_yaml(moon__buf *out, const char *name, const char *text) {
    if (!text || !*text) return;
    if (!strchr(text, '\n')) {
        moon__buf_printf(out, "  %s: ", name);
        moon__buf_quoted(out, text, SIZE_MAX);
        moon__buf_char(out, '\n');
        return;
    }
    moon__buf_printf(out, "  %s: |2-\n", name); /* the indent is said: a text may begin with blanks */
    while (*text) {
        size_t n = strcspn(text, "\n");
        moon__buf_str(out, "    ");
        moon__buf_add(out, text, n);
        moon__buf_char(out, '\n');
        text += n + (text[n] == '\n');
    }
}

/* "#" begins a directive, and a line is a test. */
static void put_description(moon__buf *out, const char *text) {
    for (; *text; text++) {
        if (*text == '#' || *text == '\\') moon__buf_char(out, '\\');
        moon__buf_char(out, *text == '\n' ? ' ' : *text);
    }
}

void moon__test_put_tap(moon__buf *out, const moon__test_case *c, size_t number) {
    moon__test_failure f;
    moon__buf_printf(out, "%sok %zu - ", c->status == MOON__TEST_FAILED ? "not " : "", number);
    put_description(out, c->file);
    if (*c->name) moon__buf_str(out, ": ");
    put_description(out, c->name);
    if (c->status == MOON__TEST_SKIPPED) {
        moon__buf_str(out, " # SKIP ");
        put_description(out, c->why ? c->why : "");
    }
    moon__buf_char(out, '\n');
    for (size_t i = 0; c->status == MOON__TEST_FAILED && moon__test_case_failure(c, i, &f); i++) {
        moon__buf_str(out, "  ---\n");
        put_yaml(out, "message", f.message);
        put_yaml(out, "at", f.where);
        put_yaml(out, "expected", f.expected);
        put_yaml(out, "actual", f.actual);
        put_yaml(out, "diff", f.diff);
        put_yaml(out, "stack", f.trace);
        moon__buf_str(out, "  ...\n");
    }
}

/* ---- JUnit ---- */

/* What XML 1.0 cannot hold at all becomes U+FFFD. */
static void put_xml(moon__buf *out, const char *text, size_t n) {
    moon__buf clean;
    moon__buf_init(&clean, TEXT_MAX);
    moon__text_repair(&clean, text, n);
    for (const char *p = clean.p ? clean.p : ""; *p; p++) {
        switch (*p) {
        case '&': moon__buf_str(out, "&amp;"); break;
        case '<': moon__buf_str(out, "&lt;"); break;
        case '>': moon__buf_str(out, "&gt;"); break;
        case '"': moon__buf_str(out, "&quot;"); break;
        case '\n': moon__buf_str(out, "&#10;"); break;
        case '\t': moon__buf_str(out, "&#9;"); break;
        default:
            if ((unsigned char)*p < ' ')
                moon__buf_str(out, MOON__REPLACEMENT);
            else
                moon__buf_char(out, *p);
        }
    }
    if (clean.status) out->status = clean.status;
    moon__buf_fini(&clean);
}

static void put_attribute(moon__buf *out, const char *name, const char *text) {
    moon__buf_printf(out, " %s=\"", name);
    put_xml(out, text, strlen(text));
    moon__buf_char(out, '"');
}

static void put_part(moon__buf *out, const char *label, const char *text) {
    if (!text || !*text) return;
    put_xml(out, label, strlen(label));
    put_xml(out, text, strlen(text));
    put_xml(out, "\n", 1);
}

static void put_failures(moon__buf *out, const moon__test_case *c) {
    moon__test_failure f;
    for (size_t i = 0; moon__test_case_failure(c, i, &f); i++) {
        moon__buf_printf(out, "      <%s", c->outcome.json ? "failure" : "error");
        put_attribute(out, "message", f.message);
        moon__buf_char(out, '>');
        put_part(out, "", f.where);
        put_part(out, "expected: ", f.expected);
        put_part(out, "actual: ", f.actual);
        put_part(out, "", f.diff);
        put_part(out, "", f.trace);
        moon__buf_printf(out, "</%s>\n", c->outcome.json ? "failure" : "error");
        if (!c->outcome.json) return;
    }
}

static void put_testcase(moon__buf *out, const moon__test_case *c) {
    moon__buf_str(out, "    <testcase");
    put_attribute(out, "classname", c->file);
    put_attribute(out, "name", *c->name ? c->name : c->file);
    moon__buf_printf(out, " time=\"%.3f\">\n", (double)c->outcome.wall_us / 1e6);
    if (c->status == MOON__TEST_SKIPPED) {
        moon__buf_str(out, "      <skipped");
        put_attribute(out, "message", c->why ? c->why : "");
        moon__buf_str(out, "/>\n");
    }
    if (c->status == MOON__TEST_FAILED) put_failures(out, c);
    if (c->outcome.printed.len) {
        moon__buf_str(out, "      <system-out>");
        put_xml(out, c->outcome.printed.p, c->outcome.printed.len);
        moon__buf_str(out, "</system-out>\n");
    }
    moon__buf_str(out, "    </testcase>\n");
}

/* The cases of one file, from the first: how many there are, and what to say of them. */
static size_t put_suite(moon__buf *out, const moon__test_case *first, size_t left) {
    size_t n = 0, failed = 0, errors = 0, skipped = 0;
    int64_t wall_us = 0;
    for (; n < left && strcmp(first[n].file, first->file) == 0; n++) {
        bool bad = first[n].status == MOON__TEST_FAILED;
        failed += bad && first[n].outcome.json;
        errors += bad && !first[n].outcome.json;
        skipped += first[n].status == MOON__TEST_SKIPPED;
        wall_us += first[n].outcome.wall_us;
    }
    moon__buf_str(out, "  <testsuite");
    put_attribute(out, "name", first->file);
    moon__buf_printf(out, " tests=\"%zu\" failures=\"%zu\" errors=\"%zu\" skipped=\"%zu\" time=\"%.3f\">\n", n, failed,
                     errors, skipped, (double)wall_us / 1e6);
    for (size_t i = 0; i < n; i++) put_testcase(out, &first[i]);
    moon__buf_str(out, "  </testsuite>\n");
    return n;
}

void moon__test_put_junit(moon__buf *out, const moon__test_suite *suite) {
    moon__buf_printf(out,
                     "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites tests=\"%zu\" failures=\"%zu\" "
                     "skipped=\"%zu\" time=\"%.3f\">\n",
                     suite->n, suite->failed, suite->skipped, (double)suite->wall_us / 1e6);
    for (size_t i = 0; i < suite->n;) i += put_suite(out, &suite->cases[i], suite->n - i);
    moon__buf_str(out, "</testsuites>\n");
}

/* ---- JSON ---- */

static void put_member(moon__jw *w, const char *name, const char *text) {
    if (text) moon__jw_str(w, name, text, SIZE_MAX);
}

static void put_case(moon__jw *w, const moon__test_case *c) {
    static const char *const words[] = {"passed", "failed", "skipped"};
    moon__test_failure f;
    moon__jw_object(w, NULL);
    moon__jw_str(w, "file", c->file, SIZE_MAX);
    moon__jw_str(w, "name", c->name, SIZE_MAX);
    moon__jw_str(w, "status", words[c->status], SIZE_MAX);
    put_member(w, "why", c->why);
    moon__jw_num(w, "wall_ms", (double)c->outcome.wall_us / 1000);
    if (c->status == MOON__TEST_FAILED) {
        moon__jw_array(w, "failures");
        for (size_t i = 0; moon__test_case_failure(c, i, &f); i++) {
            moon__jw_object(w, NULL);
            put_member(w, "message", f.message);
            put_member(w, "where", f.where);
            put_member(w, "expected", f.expected);
            put_member(w, "actual", f.actual);
            put_member(w, "diff", f.diff);
            put_member(w, "trace", f.trace);
            moon__jw_end(w);
            if (!c->outcome.json) break;
        }
        moon__jw_end(w);
    }
    if (c->outcome.printed.len) moon__jw_str(w, "printed", c->outcome.printed.p, c->outcome.printed.len);
    moon__jw_end(w);
}

void moon__test_put_json(moon__buf *out, const moon__test_suite *suite) {
    moon__jw w;
    moon__jw_init(&w, out);
    moon__jw_object(&w, NULL);
    moon__jw_int(&w, "passed", (int64_t)suite->passed);
    moon__jw_int(&w, "failed", (int64_t)suite->failed);
    moon__jw_int(&w, "skipped", (int64_t)suite->skipped);
    moon__jw_int(&w, "snapshots_written", (int64_t)suite->written);
    moon__jw_int(&w, "wall_ms", suite->wall_us / 1000);
    moon__jw_array(&w, "tests");
    for (size_t i = 0; i < suite->n; i++) put_case(&w, &suite->cases[i]);
    moon__jw_end(&w);
    moon__jw_end(&w);
    moon__buf_char(out, '\n');
}
