/* SPDX-License-Identifier: MIT */
#ifndef MOON_BASE_SCHEMA_SAY_H
#define MOON_BASE_SCHEMA_SAY_H
/* The words for what does not fit a schema. Each function is one violation: counted always, one line of text if it is
 * not quiet and fewer than MOON__SCHEMA_LINES were told. */
#include "schema_tree.h"

enum {
    MOON__SCHEMA_LINES = 8,
    MOON__SCHEMA_TEXT = 1 << 24, /* values of more canonical text are not compared */
};

typedef struct moon__checker {
    moon__buf *out; /* may be NULL */
    moon_status status;
    unsigned lines, quiet, depth;
    size_t faults, steps;
} moon__checker;

void moon__say(moon__checker *c, const moon__place *at, const char *format, ...) MOON_PRINTF(3, 4);
/* The same, and what was there instead. */
void moon__say_value(moon__checker *c, const moon__place *at, const moon_json *value, const char *format, ...)
    MOON_PRINTF(4, 5);
void moon__say_type(moon__checker *c, const moon__place *at, unsigned types, const moon_json *value);
void moon__say_bound(moon__checker *c, const moon__place *at, const char *relation, double bound, double value);
/* at is the property that should be there; node (may be NULL) what it should be. */
void moon__say_missing(moon__checker *c, const moon__place *at, const moon__node *node);
/* at is the property that should not be there; names are those that could be. */
void moon__say_unknown(moon__checker *c, const moon__place *at, const char *const *names);
void moon__say_constant(moon__checker *c, const moon__place *at, const moon_json *constant, const moon_json *value);
void moon__say_choices(moon__checker *c, const moon__place *at, const moon_json *choices, const moon_json *value);
void moon__say_never(moon__checker *c, const moon__place *at, const moon_json *schema);

/* The types of a value, as bits: two for an integer. */
unsigned moon__value_types(const moon_json *value);
/* The types that node takes, those of references included. */
unsigned moon__node_types(const moon__node *node);
#endif
