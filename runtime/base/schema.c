/* SPDX-License-Identifier: MIT */
/*
 * Compiles a JSON Schema. The document is walked once, each subschema becomes a node; then references are bound to
 * nodes (places that the walk did not reach are compiled when a reference names them), and last a search makes sure
 * that no schema applies itself to the same value without end.
 */
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schema_tree.h"
#include "text.h"

/* Chains of schemas for one value may not be longer than IN_PLACE_MAX. */
enum { NODES_MAX = 10000, IN_PLACE_MAX = 100 };

struct moon__block {
    moon__block *next;
    moon__regex *regex; /* freed with it; may be NULL */
    max_align_t data[];
};

typedef struct compiler {
    moon__schema *schema;
    moon_error *error;
    moon_status status; /* the first failure; nothing more is done after it */
} compiler;

static moon__node *compile(compiler *c, const moon_json *json, const moon__place *at);

/* ---- memory and failures ---- */

static moon__block *block(compiler *c, size_t size) {
    moon__block *made = calloc(1, sizeof *made + size);
    if (!made) {
        if (!c->status) c->status = moon_error_set(c->error, MOON_ENOMEM, "no memory for a schema");
        return NULL;
    }
    made->next = c->schema->blocks;
    c->schema->blocks = made;
    return made;
}

static void *alloc(compiler *c, size_t n, size_t size) {
    moon__block *made = block(c, n * size); /* n counts parts of a text that is in memory: no overflow */
    return made ? made->data : NULL;
}

static void refuse(compiler *c, const moon__place *at, const char *what) {
    if (c->status) return;
    moon__buf place;
    moon__buf_init(&place, 4096);
    moon__place_add(&place, at);
    c->status = moon_error_set(c->error, MOON_EINVAL, "schema %s: %s", place.p ? place.p : "", what);
    moon__buf_fini(&place);
}

/* ---- reading keywords ---- */

/* The keyword if it is there and of that kind. */
static const moon_json *keyword(compiler *c, const moon_json *json, const char *name, moon_json_kind kind,
                                const moon__place *at) {
    static const char *const expected[] = {
        [MOON_JSON_BOOL] = "expected true or false", [MOON_JSON_NUMBER] = "expected a number",
        [MOON_JSON_STRING] = "expected a string",    [MOON_JSON_ARRAY] = "expected an array",
        [MOON_JSON_OBJECT] = "expected an object",
    };
    const moon_json *value = moon_json_get(json, name);
    if (!value || moon_json_type(value) == kind) return value;
    refuse(c, &(moon__place){.up = at, .name = name}, expected[kind]);
    return NULL;
}

static double number(compiler *c, const moon_json *json, const char *name, double absent, const moon__place *at) {
    double value = absent;
    const moon_json *given = keyword(c, json, name, MOON_JSON_NUMBER, at);
    return moon_json_num(given, &value) ? value : absent;
}

static size_t count(compiler *c, const moon_json *json, const char *name, size_t absent, const moon__place *at) {
    const moon_json *given = moon_json_get(json, name);
    int64_t value = 0;
    if (!given) return absent;
    if (moon_json_int(given, &value) && value >= 0) return (size_t)value;
    refuse(c, &(moon__place){.up = at, .name = name}, "expected a whole number of at least 0");
    return absent;
}

static moon__node *subschema(compiler *c, const moon_json *json, const char *name, const moon__place *at) {
    const moon_json *given = moon_json_get(json, name);
    return given ? compile(c, given, &(moon__place){.up = at, .name = name}) : NULL;
}

static moon__nodes subschemas(compiler *c, const moon_json *json, const char *name, const moon__place *at) {
    moon__nodes nodes = {0};
    moon__place here = {.up = at, .name = name};
    const moon_json *list = keyword(c, json, name, MOON_JSON_ARRAY, at);
    if (!list) return nodes;
    if (!moon_json_first(list)) refuse(c, &here, "expected at least one schema");
    nodes.at = alloc(c, moon_json_size(list) + 1, sizeof(*nodes.at));
    for (const moon_json *item = moon_json_first(list); item && !c->status; item = moon_json_next(item), nodes.n++)
        nodes.at[nodes.n] = compile(c, item, &(moon__place){.up = &here, .index = nodes.n});
    return nodes;
}

static moon__regex *pattern(compiler *c, const char *text, const moon__place *at) {
    moon_error why;
    moon__block *owner = block(c, 0);
    if (!owner) return NULL;
    moon_status status = moon__regex_new(&owner->regex, text, strlen(text), &why);
    if (status == MOON_EINVAL) refuse(c, at, why.text);
    if (status && !c->status) c->status = moon_error_set(c->error, status, "%s", why.text);
    return owner->regex;
}

static bool has_any(const moon_json *json, const char *const *names) {
    for (; *names; names++)
        if (moon_json_get(json, *names)) return true;
    return false;
}

/* ---- the parts of a node ---- */

static unsigned type_named(compiler *c, const moon_json *json, const moon__place *at) {
    const char *name = moon_json_str(json, NULL);
    for (unsigned i = 0; name && moon__type_names[i]; i++)
        if (strcmp(name, moon__type_names[i]) == 0) return 1u << i;
    const char *near = name ? moon__nearest(name, moon__type_names) : NULL;
    char what[160] = "expected the name of a type: null, boolean, integer, number, string, array or object";
    if (near) snprintf(what, sizeof what, "unknown type \"%.32s\"; did you mean \"%s\"?", name, near);
    refuse(c, at, what);
    return 0;
}

static unsigned compile_types(compiler *c, const moon_json *json, const moon__place *at) {
    moon__place here = {.up = at, .name = "type"};
    const moon_json *given = moon_json_get(json, "type");
    if (!given) return MOON__TYPE_ANY;
    if (moon_json_type(given) != MOON_JSON_ARRAY) return type_named(c, given, &here);
    unsigned types = 0;
    size_t i = 0;
    for (const moon_json *item = moon_json_first(given); item && !c->status; item = moon_json_next(item), i++)
        types |= type_named(c, item, &(moon__place){.up = &here, .index = i});
    if (!types) refuse(c, &here, "expected at least one type");
    return types;
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const moon__property *)a)->name, ((const moon__property *)b)->name);
}

/* Sorts, joins entries of the same name (one of "properties", others of "required") and lists the names. */
static void settle_properties(compiler *c, moon__object_part *part) {
    size_t n = 0;
    if (part->n_properties) qsort(part->properties, part->n_properties, sizeof *part->properties, by_name);
    for (size_t i = 0; i < part->n_properties; i++) {
        moon__property *from = &part->properties[i], *last = n ? &part->properties[n - 1] : NULL;
        if (last && strcmp(last->name, from->name) == 0) {
            last->required |= from->required;
            if (from->node) last->node = from->node;
        } else {
            part->properties[n++] = *from;
        }
    }
    part->n_properties = n;
    part->names = alloc(c, n + 1, sizeof(*part->names));
    for (size_t i = 0; i < n && part->names; i++) {
        part->names[i] = part->properties[i].name;
        part->n_required += part->properties[i].required;
    }
}

static void compile_properties(compiler *c, moon__object_part *part, const moon_json *json, const moon__place *at) {
    moon__place here = {.up = at, .name = "properties"}, must = {.up = at, .name = "required"};
    const moon_json *properties = keyword(c, json, "properties", MOON_JSON_OBJECT, at);
    const moon_json *required = keyword(c, json, "required", MOON_JSON_ARRAY, at);
    size_t n = 0;
    part->properties = alloc(c, moon_json_size(properties) + moon_json_size(required) + 1, sizeof(*part->properties));
    for (const moon_json *m = moon_json_first(properties); m && !c->status; m = moon_json_next(m)) {
        const char *name = moon_json_name(m);
        moon__node *node = compile(c, m, &(moon__place){.up = &here, .name = name});
        part->properties[n++] = (moon__property){.name = name, .node = node};
    }
    for (const moon_json *item = moon_json_first(required); item && !c->status; item = moon_json_next(item)) {
        const char *name = moon_json_str(item, NULL);
        if (!name) refuse(c, &must, "expected names of properties");
        if (name) part->properties[n++] = (moon__property){.name = name, .required = true};
    }
    part->n_properties = n;
    if (!c->status) settle_properties(c, part);
}

static void compile_patterns(compiler *c, moon__object_part *part, const moon_json *json, const moon__place *at) {
    moon__place here = {.up = at, .name = "patternProperties"};
    const moon_json *given = keyword(c, json, here.name, MOON_JSON_OBJECT, at);
    if (!given) return;
    part->patterns = alloc(c, moon_json_size(given) + 1, sizeof(*part->patterns));
    for (const moon_json *m = moon_json_first(given); m && !c->status; m = moon_json_next(m)) {
        moon__place member = {.up = &here, .name = moon_json_name(m)};
        moon__pattern *made = &part->patterns[part->n_patterns++];
        made->regex = pattern(c, member.name, &member);
        if (!c->status) made->node = compile(c, m, &member);
    }
}

static const moon__object_part *compile_object(compiler *c, const moon_json *json, const moon__place *at) {
    static const char *const keywords[] = {
        "properties",    "required",      "additionalProperties", "patternProperties",
        "propertyNames", "minProperties", "maxProperties",        NULL};
    moon__object_part *part = has_any(json, keywords) ? alloc(c, 1, sizeof *part) : NULL;
    if (!part) return NULL;
    compile_properties(c, part, json, at);
    compile_patterns(c, part, json, at);
    part->additional = subschema(c, json, "additionalProperties", at);
    part->property_names = subschema(c, json, "propertyNames", at);
    part->min = count(c, json, "minProperties", 0, at);
    part->max = count(c, json, "maxProperties", SIZE_MAX, at);
    return part;
}

static const moon__array_part *compile_array(compiler *c, const moon_json *json, const moon__place *at) {
    static const char *const keywords[] = {"items",    "prefixItems", "contains", "minItems",
                                           "maxItems", "uniqueItems", NULL};
    moon__array_part *part = has_any(json, keywords) ? alloc(c, 1, sizeof *part) : NULL;
    if (!part) return NULL;
    part->prefix = subschemas(c, json, "prefixItems", at);
    part->items = subschema(c, json, "items", at);
    part->contains = subschema(c, json, "contains", at);
    part->min = count(c, json, "minItems", 0, at);
    part->max = count(c, json, "maxItems", SIZE_MAX, at);
    if (!moon_json_bool(keyword(c, json, "uniqueItems", MOON_JSON_BOOL, at), &part->unique)) part->unique = false;
    return part;
}

static const moon__string_part *compile_string(compiler *c, const moon_json *json, const moon__place *at) {
    static const char *const keywords[] = {"minLength", "maxLength", "pattern", NULL};
    moon__string_part *part = has_any(json, keywords) ? alloc(c, 1, sizeof *part) : NULL;
    if (!part) return NULL;
    part->min = count(c, json, "minLength", 0, at);
    part->max = count(c, json, "maxLength", SIZE_MAX, at);
    part->pattern = moon_json_str(keyword(c, json, "pattern", MOON_JSON_STRING, at), NULL);
    if (part->pattern) part->regex = pattern(c, part->pattern, &(moon__place){.up = at, .name = "pattern"});
    return part;
}

static const moon__number_part *compile_number(compiler *c, const moon_json *json, const moon__place *at) {
    static const char *const keywords[] = {"minimum",          "maximum",    "exclusiveMinimum",
                                           "exclusiveMaximum", "multipleOf", NULL};
    moon__number_part *part = has_any(json, keywords) ? alloc(c, 1, sizeof *part) : NULL;
    if (!part) return NULL;
    part->min = number(c, json, "minimum", -INFINITY, at);
    part->max = number(c, json, "maximum", INFINITY, at);
    part->above = number(c, json, "exclusiveMinimum", -INFINITY, at);
    part->below = number(c, json, "exclusiveMaximum", INFINITY, at);
    part->multiple = number(c, json, "multipleOf", 0, at);
    if (moon_json_get(json, "multipleOf") && part->multiple <= 0)
        refuse(c, &(moon__place){.up = at, .name = "multipleOf"}, "expected a number over 0");
    return part;
}

static const moon__logic_part *compile_logic(compiler *c, const moon_json *json, const moon__place *at) {
    static const char *const keywords[] = {"allOf", "anyOf", "oneOf", "not", "if", NULL};
    moon__logic_part *part = has_any(json, keywords) ? alloc(c, 1, sizeof *part) : NULL;
    if (!part) return NULL;
    part->all = subschemas(c, json, "allOf", at);
    part->any = subschemas(c, json, "anyOf", at);
    part->one = subschemas(c, json, "oneOf", at);
    part->never = subschema(c, json, "not", at);
    part->condition = subschema(c, json, "if", at);
    part->then = part->condition ? subschema(c, json, "then", at) : NULL;
    part->otherwise = part->condition ? subschema(c, json, "else", at) : NULL;
    return part;
}

/* Definitions are compiled whether they are used or not, so that a mistake in them is found. */
static void compile_definitions(compiler *c, const moon_json *json, const char *name, const moon__place *at) {
    moon__place here = {.up = at, .name = name};
    const moon_json *given = keyword(c, json, name, MOON_JSON_OBJECT, at);
    for (const moon_json *m = moon_json_first(given); m && !c->status; m = moon_json_next(m))
        compile(c, m, &(moon__place){.up = &here, .name = moon_json_name(m)});
}

static void compile_keywords(compiler *c, moon__node *node, const moon_json *json, const moon__place *at) {
    node->types = compile_types(c, json, at);
    node->constant = moon_json_get(json, "const");
    node->choices = keyword(c, json, "enum", MOON_JSON_ARRAY, at);
    node->ref = moon_json_str(keyword(c, json, "$ref", MOON_JSON_STRING, at), NULL);
    node->object = compile_object(c, json, at);
    node->array = compile_array(c, json, at);
    node->string = compile_string(c, json, at);
    node->number = compile_number(c, json, at);
    node->logic = compile_logic(c, json, at);
    compile_definitions(c, json, "$defs", at);
    compile_definitions(c, json, "definitions", at); /* their name before 2019 */
}

/* The depth is bounded by that of the document. */
static moon__node *compile(compiler *c, const moon_json *json, const moon__place *at) {
    bool flag = true;
    if (c->status) return NULL;
    if (++c->schema->n_nodes > NODES_MAX) {
        refuse(c, at, "too many schemas in one");
        return NULL;
    }
    moon__node *node = alloc(c, 1, sizeof *node);
    if (!node) return NULL;
    *c->schema->tail = node;
    c->schema->tail = &node->next;
    node->source = json;
    node->types = MOON__TYPE_ANY;
    if (moon_json_type(json) == MOON_JSON_OBJECT)
        compile_keywords(c, node, json, at);
    else if (moon_json_bool(json, &flag))
        node->refuses = !flag;
    else
        refuse(c, at, "expected a schema: an object, true or false");
    return node;
}

/* ---- references ---- */

static int hex(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One segment of a JSON pointer in a URI fragment: %41 and then ~0 ~1. Gives the byte after it, NULL if it is too long.
 */
static const char *read_segment(const char *p, char *segment, size_t size) {
    size_t n = 0;
    for (; *p && *p != '/'; p++) {
        if (n + 1 == size) return NULL;
        int high = *p == '%' ? hex(p[1]) : -1, low = high >= 0 ? hex(p[2]) : -1;
        char c = low >= 0 ? (char)(high << 4 | low) : *p;
        if (low >= 0) p += 2;
        if (n && segment[n - 1] == '~' && (c == '0' || c == '1'))
            segment[n - 1] = c == '0' ? '\x01' : '/'; /* \x01: a '~' that is done with */
        else
            segment[n++] = c;
    }
    segment[n] = '\0';
    for (char *q = segment; (q = strchr(q, '\x01'));) *q = '~';
    return p;
}

static const moon_json *resolve(const moon_json *document, const char *pointer) {
    char segment[256];
    while (*pointer == '/' && document) {
        pointer = read_segment(pointer + 1, segment, sizeof segment);
        if (!pointer) return NULL;
        if (moon_json_type(document) == MOON_JSON_ARRAY) {
            char *end;
            unsigned long index = strtoul(segment, &end, 10);
            if (*end || end == segment) return NULL;
            document = moon_json_first(document);
            while (index-- && document) document = moon_json_next(document);
        } else {
            document = moon_json_get(document, segment);
        }
    }
    return *pointer ? NULL : document;
}

static void bind(compiler *c, moon__node *node) {
    moon__place at = {.up = &(moon__place){0}, .name = "$ref"};
    char what[200];
    const moon_json *target = *node->ref == '#' ? resolve(c->schema->document, node->ref + 1) : NULL;
    if (!target) {
        snprintf(what, sizeof what, "\"%.100s\" names no place in this document (\"#/$defs/NAME\")", node->ref);
        refuse(c, &at, what);
        return;
    }
    for (moon__node *known = c->schema->root; known && !node->target; known = known->next)
        if (known->source == target) node->target = known;
    if (!node->target) node->target = compile(c, target, &(moon__place){.up = &at, .name = node->ref});
}

/* ---- loops ---- */

enum { UNSEEN, OPEN, CLOSED };

static bool loops(moon__node *node, unsigned depth);

static bool any_loops(moon__nodes nodes, unsigned depth) {
    for (size_t i = 0; i < nodes.n; i++)
        if (loops(nodes.at[i], depth)) return true;
    return false;
}

/* Does checking a value against node lead to node again, with the same value? */
static bool loops(moon__node *node, unsigned depth) {
    if (!node || node->walk == CLOSED) return false;
    if (node->walk == OPEN || depth == IN_PLACE_MAX) return true;
    node->walk = OPEN;
    const moon__logic_part *l = node->logic;
    if (loops(node->target, depth + 1)) return true;
    if (l && (any_loops(l->all, depth + 1) || any_loops(l->any, depth + 1) || any_loops(l->one, depth + 1) ||
              loops(l->never, depth + 1) || loops(l->condition, depth + 1) || loops(l->then, depth + 1) ||
              loops(l->otherwise, depth + 1)))
        return true;
    node->walk = CLOSED;
    return false;
}

/* ---- the schema ---- */

static void compile_document(compiler *c) {
    moon__schema *schema = c->schema;
    moon__place root = {0};
    compile(c, schema->document, &root);
    for (moon__node *node = schema->root; node && !c->status; node = node->next)
        if (node->ref) bind(c, node);
    for (moon__node *node = schema->root; node && !c->status; node = node->next)
        if (loops(node, 0)) refuse(c, &root, "a $ref leads back to itself, or through too many others");
}

moon_status moon__schema_new(moon__schema **out, const char *text, size_t length, moon_error *error) {
    *out = NULL;
    moon_error why;
    moon__schema *schema = calloc(1, sizeof *schema);
    if (!schema) return moon_error_set(error, MOON_ENOMEM, "no memory for a schema");
    schema->tail = &schema->root;
    compiler c = {.schema = schema, .error = error};
    c.status = moon__json_parse(&schema->document, text, length, 0, &why);
    if (c.status == MOON_EPARSE) c.status = MOON_EINVAL;
    if (c.status) moon_error_set(error, c.status, "schema: %s", why.text);
    if (!c.status) compile_document(&c);
    if (!c.status) {
        moon__buf compact;
        moon__buf_init(&compact, length * 8 + 64); /* 1e15 is written with 16 digits */
        moon__json_print(&compact, schema->document);
        schema->text = moon__buf_take(&compact);
        if (!schema->text) c.status = moon_error_set(error, MOON_ENOMEM, "no memory for a schema");
    }
    if (c.status)
        moon__schema_free(schema);
    else
        *out = schema;
    return c.status;
}

void moon__schema_free(moon__schema *schema) {
    if (!schema) return;
    for (moon__block *block = schema->blocks, *next; block; block = next) {
        next = block->next;
        moon__regex_free(block->regex);
        free(block);
    }
    moon__json_free(schema->document);
    free(schema->text);
    free(schema);
}

const char *moon__schema_text(const moon__schema *schema) {
    return schema->text;
}
