/* SPDX-License-Identifier: MIT */
/* The words for what does not fit a schema. Names and values come from a model: each is cut, and none can break the
 * line. */
#include "schema_say.h"

#include <math.h>
#include <string.h>

#include "text.h"

enum { LINE_MAX = 1500, PLACE_MAX = 500, SEGMENT_MAX = 64, EXCERPT_MAX = 80, LIST_MAX = 400 };

const char *const moon__type_names[] = {"null", "boolean", "integer", "number", "string", "array", "object", NULL};

/* ---- pieces ---- */

/* A name as a segment of a JSON pointer. */
static void add_segment(moon__buf *buf, const char *name) {
    size_t n = strlen(name), shown = n > SEGMENT_MAX ? moon__utf8_floor(name, SEGMENT_MAX) : n;
    for (size_t i = 0; i < shown; i++) {
        unsigned char c = (unsigned char)name[i];
        if (c == '~')
            moon__buf_str(buf, "~0");
        else if (c == '/')
            moon__buf_str(buf, "~1");
        else if (c < 0x20 || c == 0x7F)
            moon__buf_printf(buf, "\\u%04x", c);
        else
            moon__buf_char(buf, (char)c);
    }
    if (shown < n) moon__buf_str(buf, "…");
}

static void add_segments(moon__buf *buf, const moon__place *place) {
    if (!place->up) return;
    add_segments(buf, place->up);
    moon__buf_char(buf, '/');
    if (place->name)
        add_segment(buf, place->name);
    else
        moon__buf_printf(buf, "%zu", place->index);
}

/* Puts what fits of `piece` (whose own ceiling cut it) into buf. */
static void add_cut(moon__buf *buf, moon__buf *piece) {
    moon__buf_add(buf, piece->p ? piece->p : "", piece->len);
    if (piece->status) moon__buf_str(buf, "…");
    moon__buf_fini(piece);
}

void moon__place_add(moon__buf *buf, const moon__place *place) {
    moon__buf path;
    moon__buf_init(&path, PLACE_MAX);
    add_segments(&path, place);
    if (!place->up) moon__buf_str(&path, "(root)");
    add_cut(buf, &path);
}

void moon__types_add(moon__buf *buf, unsigned types) {
    if (types & MOON__TYPE_NUMBER) types &= ~(unsigned)MOON__TYPE_INTEGER;
    for (unsigned i = 0; moon__type_names[i]; i++) {
        if (!(types & 1u << i)) continue;
        types &= ~(1u << i);
        moon__buf_printf(buf, "%s%s", moon__type_names[i], !types ? "" : types & (types - 1) ? ", " : " or ");
    }
}

static void add_text_excerpt(moon__buf *buf, const char *text, size_t n) {
    size_t shown = n > EXCERPT_MAX ? moon__utf8_floor(text, EXCERPT_MAX) : n;
    moon__buf_quoted(buf, text, shown);
    if (shown < n) moon__buf_printf(buf, "… (%zu bytes)", n);
}

/* A value in short: scalars as they are, what is larger by its beginning. */
static void add_excerpt(moon__buf *buf, const moon_json *value) {
    size_t n = 0;
    const char *text = moon_json_str(value, &n);
    moon__buf piece;
    if (text) {
        add_text_excerpt(buf, text, n);
        return;
    }
    moon__buf_init(&piece, EXCERPT_MAX);
    moon__json_print(&piece, value);
    if (!piece.status)
        moon__buf_add(buf, piece.p, piece.len);
    else
        moon__buf_str(buf, moon_json_type(value) == MOON_JSON_ARRAY ? "an array" : "an object");
    moon__buf_fini(&piece);
}

unsigned moon__value_types(const moon_json *value) {
    double number = 0;
    switch (moon_json_type(value)) {
    case MOON_JSON_BOOL: return MOON__TYPE_BOOLEAN;
    case MOON_JSON_STRING: return MOON__TYPE_STRING;
    case MOON_JSON_ARRAY: return MOON__TYPE_ARRAY;
    case MOON_JSON_OBJECT: return MOON__TYPE_OBJECT;
    case MOON_JSON_NUMBER:
        if (moon_json_num(value, &number) && number == trunc(number)) return MOON__TYPE_NUMBER | MOON__TYPE_INTEGER;
        return MOON__TYPE_NUMBER;
    default: return MOON__TYPE_NULL;
    }
}

/* References end, as the compiler made sure. */
unsigned moon__node_types(const moon__node *node) {
    unsigned types = node->types;
    for (; node; node = node->target) types &= node->types;
    return types;
}

/* ---- lines ---- */

static bool begin(moon__checker *c, const moon__place *at, moon__buf *line) {
    c->faults++;
    if (c->quiet || c->status || c->lines >= MOON__SCHEMA_LINES) return false;
    c->lines++;
    moon__buf_init(line, LINE_MAX);
    moon__place_add(line, at);
    moon__buf_str(line, ": ");
    return true;
}

static void end(moon__checker *c, moon__buf *line) {
    if (c->out) {
        if (c->out->len) moon__buf_char(c->out, '\n');
        moon__buf_add(c->out, line->p ? line->p : "", line->len);
    }
    moon__buf_fini(line);
}

void moon__say(moon__checker *c, const moon__place *at, const char *format, ...) {
    moon__buf line;
    if (!begin(c, at, &line)) return;
    va_list args;
    va_start(args, format);
    moon__buf_vprintf(&line, format, args);
    va_end(args);
    end(c, &line);
}

void moon__say_value(moon__checker *c, const moon__place *at, const moon_json *value, const char *format, ...) {
    moon__buf line;
    if (!begin(c, at, &line)) return;
    va_list args;
    va_start(args, format);
    moon__buf_vprintf(&line, format, args);
    va_end(args);
    moon__buf_str(&line, ", got ");
    add_excerpt(&line, value);
    end(c, &line);
}

void moon__say_type(moon__checker *c, const moon__place *at, unsigned types, const moon_json *value) {
    moon__buf line;
    if (!begin(c, at, &line)) return;
    unsigned got = moon__value_types(value);
    moon__buf_str(&line, "expected ");
    moon__types_add(&line, types);
    moon__buf_str(&line, ", got ");
    if (got == MOON__TYPE_NUMBER && types & MOON__TYPE_INTEGER)
        add_excerpt(&line, value); /* an integer was expected: the fraction is what is wrong */
    else
        moon__types_add(&line, got);
    end(c, &line);
}

void moon__say_bound(moon__checker *c, const moon__place *at, const char *relation, double bound, double value) {
    moon__buf line;
    if (!begin(c, at, &line)) return;
    moon__buf_printf(&line, "expected %s ", relation);
    moon__buf_num(&line, bound);
    moon__buf_str(&line, ", got ");
    moon__buf_num(&line, value);
    end(c, &line);
}

static void add_list(moon__buf *buf, const moon_json *choices) {
    moon__buf list;
    moon__buf_init(&list, LIST_MAX);
    for (const moon_json *choice = moon_json_first(choices); choice && !list.status; choice = moon_json_next(choice)) {
        if (choice != moon_json_first(choices)) moon__buf_str(&list, ", ");
        add_excerpt(&list, choice);
    }
    add_cut(buf, &list);
}

void moon__say_missing(moon__checker *c, const moon__place *at, const moon__node *node) {
    moon__buf line;
    if (!begin(c, at, &line)) return;
    moon__buf_str(&line, "required, but missing");
    while (node && node->target && node->types == MOON__TYPE_ANY) node = node->target;
    if (node && node->choices) {
        moon__buf_str(&line, "; expected one of ");
        add_list(&line, node->choices);
    } else if (node && moon__node_types(node) != MOON__TYPE_ANY) {
        moon__buf_str(&line, "; expected ");
        moon__types_add(&line, moon__node_types(node));
    }
    end(c, &line);
}

void moon__say_unknown(moon__checker *c, const moon__place *at, const char *const *names) {
    moon__buf line, list;
    if (!begin(c, at, &line)) return;
    moon__buf_str(&line, "unknown property");
    const char *near = moon__nearest(at->name, names);
    if (near) {
        moon__buf_str(&line, "; did you mean ");
        add_text_excerpt(&line, near, strlen(near));
        moon__buf_char(&line, '?');
    } else if (names[0]) {
        moon__buf_str(&line, "; expected ");
        moon__buf_init(&list, LIST_MAX);
        for (size_t i = 0; names[i] && !list.status; i++) {
            if (i) moon__buf_str(&list, names[i + 1] ? ", " : " or ");
            add_text_excerpt(&list, names[i], strlen(names[i]));
        }
        add_cut(&line, &list);
    } else {
        moon__buf_str(&line, "; none is expected");
    }
    end(c, &line);
}

void moon__say_constant(moon__checker *c, const moon__place *at, const moon_json *constant, const moon_json *value) {
    moon__buf line;
    if (!begin(c, at, &line)) return;
    moon__buf_str(&line, "expected ");
    add_excerpt(&line, constant);
    moon__buf_str(&line, ", got ");
    add_excerpt(&line, value);
    end(c, &line);
}

/* The nearest of the choices that are text. */
static const char *nearest_choice(const moon_json *choices, const char *text) {
    const char *best = NULL;
    for (const moon_json *choice = moon_json_first(choices); choice; choice = moon_json_next(choice)) {
        const char *pair[3] = {moon_json_str(choice, NULL), best, NULL};
        if (pair[0] && moon__nearest(text, pair)) best = moon__nearest(text, pair);
    }
    return best;
}

void moon__say_choices(moon__checker *c, const moon__place *at, const moon_json *choices, const moon_json *value) {
    moon__buf line;
    if (!begin(c, at, &line)) return;
    moon__buf_str(&line, "expected one of ");
    add_list(&line, choices);
    moon__buf_str(&line, ", got ");
    add_excerpt(&line, value);
    const char *text = moon_json_str(value, NULL), *near = text ? nearest_choice(choices, text) : NULL;
    if (near) {
        moon__buf_str(&line, "; did you mean ");
        add_text_excerpt(&line, near, strlen(near));
        moon__buf_char(&line, '?');
    }
    end(c, &line);
}

void moon__say_never(moon__checker *c, const moon__place *at, const moon_json *schema) {
    moon__buf line;
    if (!begin(c, at, &line)) return;
    moon__buf_str(&line, "must not fit ");
    add_excerpt(&line, schema);
    end(c, &line);
}
