/* SPDX-License-Identifier: MIT */
/* What came of the tests: the cases, counted, and what is known of each failure. */
#include "test.h"

#include "json.h"

#include <stdlib.h>
#include <string.h>

const moon__test_case *moon__test_suite_add(moon__test_suite *suite, moon__test_case *c) {
    moon__test_case *grown = realloc(suite->cases, (suite->n + 1) * sizeof *grown);
    if (!grown) {
        moon__test_outcome_fini(&c->outcome);
        free(c->name);
        return NULL;
    }
    int64_t written = 0;
    moon_json_int(moon_json_get(c->outcome.json, "written"), &written);
    suite->cases = grown;
    grown[suite->n] = *c;
    suite->passed += c->status == MOON__TEST_PASSED;
    suite->failed += c->status == MOON__TEST_FAILED;
    suite->skipped += c->status == MOON__TEST_SKIPPED;
    suite->written += (size_t)written;
    return &grown[suite->n++];
}

void moon__test_suite_free(moon__test_suite *suite) {
    for (size_t i = 0; i < suite->n; i++) {
        moon__test_outcome_fini(&suite->cases[i].outcome);
        free(suite->cases[i].name);
    }
    free(suite->cases);
    *suite = (moon__test_suite){0};
}

static const char *text_of(const moon_json *failure, const char *name) {
    return moon_json_str(moon_json_get(failure, name), NULL);
}

bool moon__test_case_failure(const moon__test_case *c, size_t index, moon__test_failure *out) {
    const moon_json *failure = moon_json_first(moon_json_get(c->outcome.json, "failures"));
    *out = (moon__test_failure){0};
    if (!c->outcome.json) {
        const moon_error *error = &c->outcome.error;
        out->message = c->outcome.error_text ? c->outcome.error_text : error->text;
        out->trace = c->outcome.trace;
        out->where = error->where[0] ? error->where : NULL;
        return index == 0;
    }
    while (index-- && failure) failure = moon_json_next(failure);
    out->message = text_of(failure, "message");
    out->where = text_of(failure, "where");
    out->expected = text_of(failure, "expected");
    out->actual = text_of(failure, "actual");
    out->diff = text_of(failure, "diff");
    out->trace = text_of(failure, "trace");
    if (failure && !out->message) out->message = "failed";
    return failure != NULL;
}
