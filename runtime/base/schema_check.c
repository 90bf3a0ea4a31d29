/* SPDX-License-Identifier: MIT */
/*
 * Checks a value against a compiled schema. What does not fit is told to a language model, one line a violation: where,
 * what was expected, what was there.
 *
 * Alternatives are tried quietly (faults are counted, not told); when none fits, the one with the fewest faults is
 * checked once more aloud, as that is what was most likely meant. Steps count the work, so that neither a value nor a
 * schema made for it can hold the thread: a step is at most some tens of nanoseconds.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ids.h"
#include "schema_say.h"
#include "text.h"

enum {
    STEPS_MAX = 1000000,
    DEPTH_MAX = 600, /* subschemas within subschemas; the value's own depth is bounded by the parser */
    PATTERN_STEPS = 50,
};

static void check(moon__checker *c, const moon__node *node, const moon_json *value, const moon__place *at);

static bool stopped(const moon__checker *c) {
    return c->status || (!c->quiet && c->lines >= MOON__SCHEMA_LINES);
}

static void spend(moon__checker *c, size_t steps) {
    c->steps += steps;
    if (c->steps > STEPS_MAX && !c->status) c->status = MOON_ELIMIT;
}

/* How many faults value has against node, without telling them. */
static size_t faults_of(moon__checker *c, const moon__node *node, const moon_json *value, const moon__place *at) {
    size_t before = c->faults;
    c->quiet++;
    check(c, node, value, at);
    c->quiet--;
    size_t found = c->faults - before;
    c->faults = before;
    return found;
}

/* Equal values have equal canonical texts. */
static bool equal(moon__checker *c, const moon_json *a, const moon_json *b) {
    moon_json_kind kind = moon_json_type(a);
    double x = 0, y = 0;
    spend(c, 1);
    if (kind != moon_json_type(b)) return false;
    if (kind == MOON_JSON_STRING) return strcmp(moon_json_str(a, NULL), moon_json_str(b, NULL)) == 0;
    if (kind == MOON_JSON_NUMBER) return moon_json_num(a, &x) && moon_json_num(b, &y) && x == y;
    moon__buf texts[2];
    moon__buf_init(&texts[0], MOON__SCHEMA_TEXT);
    moon__buf_init(&texts[1], MOON__SCHEMA_TEXT);
    moon__json_print_canonical(&texts[0], a);
    moon__json_print_canonical(&texts[1], b);
    for (int i = 0; i < 2; i++) {
        if (texts[i].status && !c->status) c->status = texts[i].status;
        spend(c, texts[i].len / 16);
    }
    bool same = !c->status && texts[0].len == texts[1].len && memcmp(texts[0].p, texts[1].p, texts[0].len) == 0;
    moon__buf_fini(&texts[0]);
    moon__buf_fini(&texts[1]);
    return same;
}

static bool matches(moon__checker *c, const moon__regex *regex, const char *text) {
    size_t n = strlen(text);
    spend(c, PATTERN_STEPS + n / 8);
    if (c->status) return true;
    moon_status status = moon__regex_find(regex, text, n);
    if (status && status != MOON_ENOTFOUND) c->status = status;
    return status != MOON_ENOTFOUND;
}

/* ---- by type ---- */

static void check_string(moon__checker *c, const moon__string_part *part, const moon_json *value,
                         const moon__place *at) {
    size_t bytes = 0, points = 0;
    const char *text = moon_json_str(value, &bytes);
    spend(c, bytes / 64);
    for (size_t i = 0; i < bytes; i++) points += (text[i] & 0xC0) != 0x80;
    if (points < part->min) moon__say(c, at, "expected at least %zu characters, got %zu", part->min, points);
    if (points > part->max) moon__say(c, at, "expected at most %zu characters, got %zu", part->max, points);
    if (part->regex && !matches(c, part->regex, text))
        moon__say_value(c, at, value, "expected text that matches the pattern %.200s", part->pattern);
}

static bool is_multiple(double value, double of) {
    if (fmod(value, of) == 0) return true;
    if (value == trunc(value) && of == trunc(of)) return false;
    /* 0.3 is meant to be a multiple of 0.1, though no double is. */
    double quotient = value / of;
    return fabs(quotient - round(quotient)) <= 1e-9 * fmax(1, fabs(quotient));
}

static void check_number(moon__checker *c, const moon__number_part *part, const moon_json *value,
                         const moon__place *at) {
    double number = 0;
    if (!moon_json_num(value, &number)) return;
    if (number < part->min) moon__say_bound(c, at, "at least", part->min, number);
    if (number > part->max) moon__say_bound(c, at, "at most", part->max, number);
    if (number <= part->above) moon__say_bound(c, at, "a number over", part->above, number);
    if (number >= part->below) moon__say_bound(c, at, "a number under", part->below, number);
    if (part->multiple > 0 && !is_multiple(number, part->multiple))
        moon__say_bound(c, at, "a multiple of", part->multiple, number);
}

typedef struct item {
    uint64_t hash;
    size_t index;
    const moon_json *value;
} item;

static int by_hash_then_index(const void *a, const void *b) {
    const item *x = a, *y = b;
    if (x->hash != y->hash) return x->hash < y->hash ? -1 : 1;
    return (x->index > y->index) - (x->index < y->index);
}

static void hash_items(moon__checker *c, const moon_json *array, item *items) {
    size_t i = 0;
    moon__buf text;
    moon__buf_init(&text, MOON__SCHEMA_TEXT);
    for (const moon_json *v = moon_json_first(array); v && !c->status; v = moon_json_next(v), i++) {
        moon__buf_reset(&text);
        moon__json_print_canonical(&text, v);
        if (text.status) c->status = text.status;
        spend(c, 4 + text.len / 16);
        items[i] = (item){moon_hash(text.p, text.len), i, v};
    }
    moon__buf_fini(&text);
}

static void check_unique(moon__checker *c, const moon_json *array, size_t n, const moon__place *at) {
    spend(c, n);
    if (n < 2 || c->status) return;
    item *items = malloc(n * sizeof *items);
    if (!items) {
        c->status = MOON_ENOMEM;
        return;
    }
    hash_items(c, array, items);
    if (!c->status) qsort(items, n, sizeof *items, by_hash_then_index);
    for (size_t i = 1; i < n && !stopped(c); i++)
        if (items[i].hash == items[i - 1].hash && equal(c, items[i].value, items[i - 1].value))
            moon__say(c, &(moon__place){.up = at, .index = items[i].index}, "repeats item %zu; items must differ",
                      items[i - 1].index);
    free(items);
}

static void check_array(moon__checker *c, const moon__array_part *part, const moon_json *value, const moon__place *at) {
    size_t n = 0;
    bool contained = false;
    for (const moon_json *v = moon_json_first(value); v && !stopped(c); v = moon_json_next(v), n++) {
        moon__place here = {.up = at, .index = n};
        const moon__node *node = n < part->prefix.n ? part->prefix.at[n] : part->items;
        spend(c, 1);
        if (node && node->refuses && node == part->items)
            moon__say(c, &here, "too many items; expected at most %zu", part->prefix.n);
        else if (node)
            check(c, node, v, &here);
        if (part->contains && !contained) contained = faults_of(c, part->contains, v, &here) == 0;
    }
    if (stopped(c)) return;
    if (n < part->min) moon__say(c, at, "expected at least %zu items, got %zu", part->min, n);
    if (n > part->max) moon__say(c, at, "expected at most %zu items, got %zu", part->max, n);
    if (part->contains && !contained) moon__say(c, at, "expected an item that fits \"contains\"; none does");
    if (part->unique) check_unique(c, value, n, at);
}

/* ---- objects ---- */

static int compare_name(const void *name, const void *property) {
    return strcmp(name, ((const moon__property *)property)->name);
}

static const moon__property *find_property(const moon__object_part *part, const char *name) {
    if (!part->n_properties) return NULL;
    return bsearch(name, part->properties, part->n_properties, sizeof *part->properties, compare_name);
}

static void check_name(moon__checker *c, const moon__node *node, const char *name, const moon__place *at) {
    moon_json *text = moon__json_borrow_text(name);
    if (!text) {
        c->status = MOON_ENOMEM;
        return;
    }
    if (faults_of(c, node, text, at)) {
        moon__say(c, at, "the name of this property is not allowed:");
        check(c, node, text, at);
    }
    moon__json_free(text);
}

static void check_member(moon__checker *c, const moon__object_part *part, const moon_json *member,
                         const moon__property *property, const moon__place *at) {
    bool known = property && property->node;
    if (known) check(c, property->node, member, at);
    for (size_t i = 0; i < part->n_patterns && !stopped(c); i++) {
        if (!matches(c, part->patterns[i].regex, at->name)) continue;
        known = true;
        check(c, part->patterns[i].node, member, at);
    }
    if (part->property_names) check_name(c, part->property_names, at->name, at);
    if (known || !part->additional || stopped(c)) return;
    if (part->additional->refuses)
        moon__say_unknown(c, at, part->names);
    else
        check(c, part->additional, member, at);
}

static void tell_missing(moon__checker *c, const moon__object_part *part, const moon_json *value, size_t n,
                         const moon__place *at) {
    for (size_t i = 0; i < part->n_properties && !stopped(c); i++) {
        const moon__property *property = &part->properties[i];
        if (!property->required) continue;
        spend(c, n / 4 + 1); /* a look-up walks the members */
        if (c->status || moon_json_get(value, property->name)) continue;
        moon__say_missing(c, &(moon__place){.up = at, .name = property->name}, property->node);
    }
}

static void check_object(moon__checker *c, const moon__object_part *part, const moon_json *value,
                         const moon__place *at) {
    size_t n = 0, required = 0;
    for (const moon_json *m = moon_json_first(value); m && !stopped(c); m = moon_json_next(m), n++) {
        moon__place here = {.up = at, .name = moon_json_name(m)};
        const moon__property *property = find_property(part, here.name);
        spend(c, 2);
        required += property && property->required;
        check_member(c, part, m, property, &here);
    }
    if (stopped(c)) return;
    if (required < part->n_required) tell_missing(c, part, value, n, at);
    if (n < part->min) moon__say(c, at, "expected at least %zu properties, got %zu", part->min, n);
    if (n > part->max) moon__say(c, at, "expected at most %zu properties, got %zu", part->max, n);
}

/* ---- combinations ---- */

/* None of the alternatives fits: tells what was most likely meant. best is the one that takes values of this type and
 * has the fewest faults; nodes->n: none takes the type. */
static void tell_nearest(moon__checker *c, const moon__nodes *nodes, size_t best, const moon_json *value,
                         const moon__place *at) {
    unsigned types = 0, type = moon__value_types(value);
    size_t takers = 0;
    for (size_t i = 0; i < nodes->n; i++) {
        unsigned takes = moon__node_types(nodes->at[i]);
        types |= takes;
        takers += (takes & type) != 0;
    }
    if (!takers)
        moon__say_type(c, at, types, value);
    else if (takers > 1 || c->quiet)
        moon__say(c, at, "fits none of the %zu alternatives; alternative %zu is the nearest:", nodes->n, best + 1);
    if (takers && !c->quiet) check(c, nodes->at[best], value, at);
}

/* Gives the number of alternatives that fit, at most 2; their numbers in fits. */
static size_t try_all(moon__checker *c, const moon__nodes *nodes, const moon_json *value, const moon__place *at,
                      size_t enough, size_t fits[2], size_t *best) {
    size_t found = 0, fewest = SIZE_MAX;
    unsigned type = moon__value_types(value);
    *best = nodes->n;
    for (size_t i = 0; i < nodes->n && found < enough && !c->status; i++) {
        size_t faults = faults_of(c, nodes->at[i], value, at);
        if (!faults) fits[found++] = i + 1;
        if (faults >= fewest || !(moon__node_types(nodes->at[i]) & type)) continue;
        fewest = faults;
        *best = i;
    }
    return found;
}

static void check_logic(moon__checker *c, const moon__logic_part *part, const moon_json *value, const moon__place *at) {
    size_t fits[2], best;
    for (size_t i = 0; i < part->all.n && !stopped(c); i++) check(c, part->all.at[i], value, at);
    if (part->any.n && !try_all(c, &part->any, value, at, 1, fits, &best)) tell_nearest(c, &part->any, best, value, at);
    if (part->one.n) {
        size_t found = try_all(c, &part->one, value, at, 2, fits, &best);
        if (!found) tell_nearest(c, &part->one, best, value, at);
        if (found > 1) moon__say(c, at, "fits alternatives %zu and %zu; expected exactly one", fits[0], fits[1]);
    }
    if (part->never && !faults_of(c, part->never, value, at)) moon__say_never(c, at, part->never->source);
    if (!part->condition || stopped(c)) return;
    const moon__node *next = faults_of(c, part->condition, value, at) ? part->otherwise : part->then;
    if (next) check(c, next, value, at);
}

static bool check_choice(moon__checker *c, const moon__node *node, const moon_json *value, const moon__place *at) {
    if (node->constant && !equal(c, node->constant, value)) {
        moon__say_constant(c, at, node->constant, value);
        return false;
    }
    if (!node->choices) return true;
    for (const moon_json *choice = moon_json_first(node->choices); choice; choice = moon_json_next(choice))
        if (equal(c, choice, value)) return true;
    moon__say_choices(c, at, node->choices, value);
    return false;
}

static void check_here(moon__checker *c, const moon__node *node, const moon_json *value, const moon__place *at) {
    unsigned types = moon__value_types(value);
    if (node->refuses) {
        moon__say(c, at, "nothing is allowed here");
        return;
    }
    if (!(node->types & types)) {
        moon__say_type(c, at, node->types, value);
        return; /* what else may be wrong follows from that */
    }
    if (!check_choice(c, node, value, at)) return;
    if (node->string && types & MOON__TYPE_STRING) check_string(c, node->string, value, at);
    if (node->number && types & MOON__TYPE_NUMBER) check_number(c, node->number, value, at);
    if (node->array && types & MOON__TYPE_ARRAY) check_array(c, node->array, value, at);
    if (node->object && types & MOON__TYPE_OBJECT) check_object(c, node->object, value, at);
    if (node->target && !stopped(c)) check(c, node->target, value, at);
    if (node->logic && !stopped(c)) check_logic(c, node->logic, value, at);
}

static void check(moon__checker *c, const moon__node *node, const moon_json *value, const moon__place *at) {
    spend(c, 1);
    if (c->depth == DEPTH_MAX && !c->status) c->status = MOON_ELIMIT;
    if (stopped(c)) return;
    c->depth++;
    check_here(c, node, value, at);
    c->depth--;
}

moon_status moon__schema_check(const moon__schema *schema, const moon_json *value, moon__buf *violations) {
    moon__place root = {0};
    moon__checker c = {.out = violations};
    check(&c, schema->root, value, &root);
    if (c.status == MOON_ELIMIT) {
        c.status = MOON_OK;
        moon__say(&c, &root, "too large, too deep or too complex to be checked");
        c.status = MOON_ELIMIT;
    }
    if (c.status) return c.status;
    return c.faults ? MOON_ESCHEMA : MOON_OK;
}
