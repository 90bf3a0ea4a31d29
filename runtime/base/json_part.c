/* SPDX-License-Identifier: MIT */
#include "json_part.h"

#include <string.h>

#include "json_scan.h"
#include "scan.h"
#include "text.h"

/* ---- a value whose end has not come ---- */

/* What may come next, apart from space. */
typedef enum want { VALUE, VALUE_OR_END, NAME, NAME_OR_END, COLON, COMMA_OR_END, NOTHING } want;

/*
 * One pass. Whatever is read after `cut` cannot be part of a value yet: closing the text there, with the brackets that
 * are open, gives JSON. Brackets move the cut along, so the depth is the same at both.
 */
typedef struct beginning {
    const char *start, *p, *end;
    const char *cut; /* NULL: no value yet */
    const char *wrong;
    want want;
    bool in_string, ended; /* the cut is within a string; the text ends within something */
    unsigned depth;
    char closers[MOON__JSON_DEPTH];
} beginning;

static void fail(beginning *b, const char *wrong) {
    b->wrong = wrong;
}

static void value_ends(beginning *b) {
    b->cut = b->p;
    b->want = b->depth ? COMMA_OR_END : NOTHING;
}

static void open_bracket(beginning *b, char closer) {
    if (b->depth == MOON__JSON_DEPTH) {
        fail(b, "nested too deep");
        return;
    }
    b->closers[b->depth++] = closer;
    b->cut = ++b->p;
    b->want = closer == '}' ? NAME_OR_END : VALUE_OR_END;
}

static void close_bracket(beginning *b, char closer) {
    if (!b->depth || b->closers[b->depth - 1] != closer) {
        fail(b, "a bracket that closes another kind than was opened");
        return;
    }
    b->depth--;
    b->p++;
    value_ends(b);
}

static bool is_high_surrogate(const char *p) { /* of the escape \uXXXX, whole */
    return (p[2] | 0x20) == 'd' && (p[3] == '8' || p[3] == '9' || (p[3] | 0x20) == 'a' || (p[3] | 0x20) == 'b');
}

/* Bytes of the escape at p; 0: the text ends within it. */
static size_t escape_length(const char *p, const char *end) {
    size_t left = (size_t)(end - p);
    if (left < 2) return 0;
    if (p[1] != 'u') return 2;
    if (left < 6) return 0;
    if (!is_high_surrogate(p)) return 6;
    if (left < 12) return left == 6 || (p[6] == '\\' && (left == 7 || p[7] == 'u')) ? 0 : 6;
    return p[6] == '\\' && p[7] == 'u' ? 12 : 6;
}

/* Bytes of the character at p, which is no ASCII; 0: the text ends within it, -1: it is none. */
static int character_length(const char *p, const char *end) {
    unsigned char lead = (unsigned char)*p;
    size_t n = moon__utf8_length(p, (size_t)(end - p));
    if (n) return (int)n;
    int whole = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
    return lead >= 0xC2 && lead <= 0xF4 && end - p < whole ? 0 : -1;
}

/* Goes past the string at p; false if the text ends within it: p is then after its last whole character. */
static bool skip_string(beginning *b) {
    for (b->p++;;) {
        b->p += moon__plain_span(b->p, b->end);
        if (b->p == b->end) return false;
        unsigned char c = (unsigned char)*b->p;
        int n = 0;
        if (c == '"') {
            b->p++;
            return true;
        }
        if (c == '\\')
            n = (int)escape_length(b->p, b->end);
        else if (c >= 0x80)
            n = character_length(b->p, b->end);
        else
            fail(b, "a control character in a string must be escaped");
        if (n < 0) fail(b, "not UTF-8");
        if (n <= 0) return false;
        b->p += n;
    }
}

static void string_value(beginning *b) {
    if (skip_string(b)) {
        value_ends(b);
        return;
    }
    b->ended = b->in_string = true;
    b->cut = b->p;
}

static void name(beginning *b) {
    if (skip_string(b))
        b->want = COLON;
    else
        b->ended = true;
}

static void word(beginning *b, const char *text) {
    size_t n = strlen(text), left = (size_t)(b->end - b->p);
    if (memcmp(b->p, text, n < left ? n : left) != 0) {
        fail(b, "expected a value");
        return;
    }
    b->p += n < left ? n : left;
    if (n > left)
        b->ended = true;
    else
        value_ends(b);
}

static void number(beginning *b) {
    while (b->p < b->end && *b->p && strchr("0123456789+-.eE", *b->p)) b->p++;
    if (b->p == b->end)
        b->ended = true;
    else
        value_ends(b);
}

static void value(beginning *b, char c) {
    switch (c) {
    case '"': string_value(b); break;
    case '{': open_bracket(b, '}'); break;
    case '[': open_bracket(b, ']'); break;
    case 't': word(b, "true"); break;
    case 'f': word(b, "false"); break;
    case 'n': word(b, "null"); break;
    default:
        if (c == '-' || (c >= '0' && c <= '9'))
            number(b);
        else
            fail(b, "expected a value");
    }
}

static void comma(beginning *b) {
    b->p++;
    b->want = b->closers[b->depth - 1] == '}' ? NAME : VALUE;
}

/* One token, at a byte that is no space. */
static void token(beginning *b) {
    char c = *b->p;
    bool closes = c == ']' || c == '}';
    switch (b->want) {
    case VALUE_OR_END:
        if (closes) {
            close_bracket(b, c);
            break;
        }
        value(b, c);
        break;
    case VALUE: value(b, c); break;
    case NAME_OR_END:
    case NAME:
        if (c == '"')
            name(b);
        else if (closes && b->want == NAME_OR_END)
            close_bracket(b, c);
        else
            fail(b, "expected a name in quotes");
        break;
    case COLON:
        if (c != ':') {
            fail(b, "expected ':'");
            break;
        }
        b->p++;
        b->want = VALUE;
        break;
    case COMMA_OR_END:
        if (c == ',')
            comma(b);
        else if (closes)
            close_bracket(b, c);
        else
            fail(b, b->closers[b->depth - 1] == '}' ? "expected ',' or '}'" : "expected ',' or ']'");
        break;
    case NOTHING: fail(b, "unexpected text after the value"); break;
    }
}

static bool is_space(char c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

moon_status moon__json_complete(moon__buf *out, const char *text, size_t n, bool *whole, moon_error *error) {
    if (!text) text = "";
    beginning b = {.start = text, .p = text, .end = text + n, .want = VALUE};
    while (!b.wrong && !b.ended && b.p < b.end) {
        if (is_space(*b.p))
            b.p++;
        else
            token(&b);
    }
    *whole = !b.ended && b.want == NOTHING;
    if (b.wrong) return moon_error_set(error, MOON_EPARSE, "%s at byte %zu", b.wrong, (size_t)(b.p - text));
    if (!b.cut) return moon_error_set(error, MOON_ENOTFOUND, "there is no value yet");
    moon__buf_add(out, text, (size_t)(b.cut - text));
    if (b.in_string) moon__buf_char(out, '"');
    while (b.depth) moon__buf_char(out, b.closers[--b.depth]);
    return out->status ? moon_error_set(error, out->status, "the text is too long") : MOON_OK;
}

/* ---- a value with prose around it ---- */

typedef struct search {
    const char *text, *end;
    unsigned kinds;
    size_t work, budget;
    const char *best; /* the attempt that came farthest, the bytes that it read, and why it went no farther */
    size_t best_read;
    moon_error why;
} search;

static bool opens(const search *s, char c) {
    return (c == '{' && s->kinds & MOON__JSON_OBJECTS) || (c == '[' && s->kinds & MOON__JSON_ARRAYS);
}

/* The byte after the bracket that closes the one at p, strings left aside; NULL if none does. */
static const char *past_brackets(search *s, const char *p) {
    size_t depth = 0;
    bool quoted = false;
    const char *from = p, *found = NULL;
    for (; p < s->end && !found; p++) {
        if (quoted && *p == '\\' && p + 1 < s->end) {
            p++;
        } else if (*p == '"') {
            quoted = !quoted;
        } else if (!quoted && (*p == '{' || *p == '[')) {
            depth++;
        } else if (!quoted && (*p == '}' || *p == ']') && --depth == 0) {
            found = p + 1;
        }
    }
    s->work += (size_t)(p - from);
    return found;
}

/* Has anything but space come before the byte at which it failed? */
static bool began(const char *p, size_t read) {
    for (size_t i = 1; i < read; i++)
        if (!is_space(p[i])) return true;
    return false;
}

/* The value at p, or where to look next; NULL: nowhere. */
static const char *attempt(search *s, const char *p, moon__json_place *out) {
    moon_error why = {0};
    size_t read;
    moon_status status = moon__json_scan_value(&read, p, (size_t)(s->end - p), &why);
    s->work += read + 1;
    if (!status) {
        *out = (moon__json_place){(size_t)(p - s->text), read};
        return NULL;
    }
    if (!s->best || read > s->best_read) {
        s->best = p;
        s->best_read = read;
        s->why = why;
    }
    if (p + read == s->end) return NULL; /* it has begun and not ended */
    const char *next = past_brackets(s, p);
    if (next) return next;
    return began(p, read) ? NULL : p + 1;
}

static moon_status tell(const search *s, moon_error *error) {
    size_t line = 1, shown = (size_t)(s->end - s->best);
    for (const char *p = s->text; (p = memchr(p, '\n', (size_t)(s->best - p))); p++) line++;
    if (shown > 20) shown = moon__utf8_floor(s->best, 20);
    return moon_error_set(error, MOON_EPARSE, "the JSON that begins in line %zu with %.*s is broken: %s", line,
                          (int)shown, s->best, s->why.text);
}

moon_status moon__json_find(moon__json_place *out, const char *text, size_t n, unsigned kinds, moon_error *error) {
    search s = {.text = text, .end = text + n, .kinds = kinds, .budget = 64 * n + 65536};
    *out = (moon__json_place){0};
    const char *p = text;
    while (p && p < s.end && s.work < s.budget) {
        if (opens(&s, *p))
            p = attempt(&s, p, out);
        else
            p++;
    }
    if (out->n) return MOON_OK;
    if (p && p < s.end) return moon_error_set(error, MOON_EPARSE, "too many brackets that begin no JSON");
    if (s.best) return tell(&s, error);
    return moon_error_set(error, MOON_EPARSE, "there is no JSON %s in the text",
                          kinds == MOON__JSON_OBJECTS  ? "object"
                          : kinds == MOON__JSON_ARRAYS ? "array"
                                                       : "object or array");
}
