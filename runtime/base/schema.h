/* SPDX-License-Identifier: MIT */
#ifndef MOON_BASE_SCHEMA_H
#define MOON_BASE_SCHEMA_H
/*
 * JSON Schema 2020-12, the part that tools use: type (also a list), enum, const, properties, required,
 * additionalProperties, patternProperties, propertyNames, minProperties, maxProperties, items, prefixItems, contains,
 * minItems, maxItems, uniqueItems, minLength, maxLength (code points), pattern (PCRE2), minimum, maximum,
 * exclusiveMinimum, exclusiveMaximum, multipleOf, anyOf, oneOf, allOf, not, if/then/else, $ref within the document,
 * $defs. Annotations (title, description, default, examples, format, $schema, $id, $comment, deprecated, readOnly,
 * writeOnly) are ignored; any other keyword is ignored as the specification says.
 */
#include "json.h"

typedef struct moon__schema moon__schema;

/* MOON_EINVAL: not a sound schema (the error says where). Patterns are compiled here. */
MOON_MUST_USE moon_status moon__schema_new(moon__schema **out, const char *text, size_t length, moon_error *error);
void moon__schema_free(moon__schema *schema);
/* The schema's text as given, compact. */
const char *moon__schema_text(const moon__schema *schema);
/* MOON_OK, or MOON_ESCHEMA with one line per violation added to *violations, at most 8: "/files/2: expected string, got
 * number". A misspelt property names the nearest known one. Work is bounded (steps and depth): beyond it MOON_ELIMIT.
 */
MOON_MUST_USE moon_status moon__schema_check(const moon__schema *schema, const moon_json *value, moon__buf *violations);
#endif
