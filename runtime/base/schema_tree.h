/* SPDX-License-Identifier: MIT */
#ifndef MOON_BASE_SCHEMA_TREE_H
#define MOON_BASE_SCHEMA_TREE_H
/*
 * A compiled schema, shared by schema.c (which builds it) and schema_check.c (which only reads it). Each part of a node
 * is there only if one of its keywords is. Names and values are borrowed from the schema's own document.
 */
#include "regex.h"
#include "schema.h"

typedef struct moon__node moon__node;

/* A place in a schema or in a value: a chain of stack frames up to the root, whose `up` is NULL. */
typedef struct moon__place {
    const struct moon__place *up;
    const char *name; /* NULL: of an array, then index counts */
    size_t index;
} moon__place;

typedef struct moon__nodes {
    moon__node **at;
    size_t n;
} moon__nodes;

/* Types as bits. A number without a fraction is both NUMBER and INTEGER. */
enum {
    MOON__TYPE_NULL = 1 << 0,
    MOON__TYPE_BOOLEAN = 1 << 1,
    MOON__TYPE_INTEGER = 1 << 2,
    MOON__TYPE_NUMBER = 1 << 3,
    MOON__TYPE_STRING = 1 << 4,
    MOON__TYPE_ARRAY = 1 << 5,
    MOON__TYPE_OBJECT = 1 << 6,
    MOON__TYPE_ANY = (1 << 7) - 1,
};

typedef struct moon__property {
    const char *name;
    moon__node *node; /* NULL: named by "required" only */
    bool required;
} moon__property;

typedef struct moon__pattern {
    moon__regex *regex;
    moon__node *node;
} moon__pattern;

typedef struct moon__object_part {
    moon__property *properties; /* sorted by name */
    size_t n_properties, n_required;
    const char **names; /* of the properties, ends with NULL */
    moon__pattern *patterns;
    size_t n_patterns;
    moon__node *additional, *property_names;
    size_t min, max;
} moon__object_part;

typedef struct moon__array_part {
    moon__nodes prefix;
    moon__node *items, *contains;
    size_t min, max;
    bool unique;
} moon__array_part;

typedef struct moon__string_part {
    size_t min, max; /* code points */
    moon__regex *regex;
    const char *pattern;
} moon__string_part;

/* Infinities and 0 where a keyword is absent. */
typedef struct moon__number_part {
    double min, max, above, below, multiple;
} moon__number_part;

typedef struct moon__logic_part {
    moon__nodes all, any, one;
    moon__node *never, *condition, *then, *otherwise;
} moon__logic_part;

struct moon__node {
    moon__node *next;        /* of all nodes, in the order they were made */
    const moon_json *source; /* where in the document */
    bool refuses;            /* the schema `false` */
    uint8_t walk;            /* of the search for loops */
    unsigned types;
    const moon_json *constant, *choices;
    const moon__object_part *object;
    const moon__array_part *array;
    const moon__string_part *string;
    const moon__number_part *number;
    const moon__logic_part *logic;
    const char *ref; /* as written */
    moon__node *target;
};

/* One allocation; all are freed with the schema. */
typedef struct moon__block moon__block;

struct moon__schema {
    char *text;
    moon_json *document;
    moon__node *root, **tail;
    size_t n_nodes;
    moon__block *blocks;
};

/* Appends a place as a JSON pointer, "(root)" for the root, long ones cut; no control character gets through. */
void moon__place_add(moon__buf *buf, const moon__place *place);
/* "string or null". */
void moon__types_add(moon__buf *buf, unsigned types);
/* The types as a list of names that ends with NULL. */
extern const char *const moon__type_names[];
#endif
