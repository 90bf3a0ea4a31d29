/* SPDX-License-Identifier: MIT */
#ifndef MOON_RUN_SHAPE_H
#define MOON_RUN_SHAPE_H
/*
 * --output-schema: any runnable, made to answer with JSON of a schema. The wrapped runnable is told the schema below
 * its input; an answer that does not fit is given back with what is wrong, twice at most, then the run ends with stop
 * reason output_schema. Each attempt is a child run, so limits and cancelling hold for all of them together.
 */
#include <moonlet/moonlet.h>

/* Wraps *runnable (whose reference is taken over, on failure too). schema is JSON Schema text. */
MOON_MUST_USE moon_status moon__shape(moon_runnable **runnable, moon_runtime *runtime, const char *schema,
                                      size_t length, moon_error *error);
#endif
