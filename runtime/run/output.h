/* SPDX-License-Identifier: MIT */
#ifndef MOON_RUN_OUTPUT_H
#define MOON_RUN_OUTPUT_H
/* Is an answer one, and does it fit the schema that it has to? */
#include "json.h"
#include "model.h"
#include "schema.h"
#include <moonlet/moonlet.h>

/* On success *out holds the compact JSON, without the fence that models like to put around it; else *why says what is
 * wrong. */
MOON_MUST_USE moon_status moon__output_check(const moon__schema *schema, const char *text, size_t n, moon__buf *out,
                                             moon__buf *why);
/* Why it is no answer: cut, or empty; NULL: it is one. */
const char *moon__answer_cut(const moon__answer *answer);
moon_stop moon__answer_missing(moon_status status, const moon_error *error); /* how a run without an answer ends */
#endif
