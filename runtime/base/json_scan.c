/* SPDX-License-Identifier: MIT */
/*
 * The strict check of JSON text (RFC 8259), one pass without allocation. It refuses all that cJSON would take, change
 * or lose without a word:
 *   - text after the value, control characters in strings, `01`, `1.`, `+1`;
 *   - bytes that are not UTF-8, surrogates without their other half, \u0000 (it would cut the string);
 *   - nesting over MOON__JSON_DEPTH, which bounds the recursion here as well as in every later walk of the tree;
 *   - numbers that no double can hold, or of more than 63 characters, where cJSON stops to read.
 * What it lets through, cJSON 1.7.15 reads without coming near the ends of its buffer.
 */
#include "json_scan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scan.h"
#include "text.h"

enum { NUMBER_MAX = 63 };

typedef struct scanner {
    const char *start, *p, *end;
    bool repair;
    moon__json_scan seen;
    const char *wrong; /* why it failed, at p */
    bool escaped;      /* the last string had a backslash */
} scanner;

enum { SPACE = 1, DIGIT = 2, HEX = 4 };

/* clang-format off */
static const unsigned char class_of[256] = {
    [' '] = SPACE, ['\t'] = SPACE, ['\n'] = SPACE, ['\r'] = SPACE,
    ['0'] = DIGIT | HEX, ['1'] = DIGIT | HEX, ['2'] = DIGIT | HEX, ['3'] = DIGIT | HEX, ['4'] = DIGIT | HEX,
    ['5'] = DIGIT | HEX, ['6'] = DIGIT | HEX, ['7'] = DIGIT | HEX, ['8'] = DIGIT | HEX, ['9'] = DIGIT | HEX,
    ['a'] = HEX, ['b'] = HEX, ['c'] = HEX, ['d'] = HEX, ['e'] = HEX, ['f'] = HEX,
    ['A'] = HEX, ['B'] = HEX, ['C'] = HEX, ['D'] = HEX, ['E'] = HEX, ['F'] = HEX,
};
/* clang-format on */

static bool is(const scanner *s, const char *p, unsigned class) {
    return p < s->end && class_of[(unsigned char)*p] & class;
}

static bool fail(scanner *s, const char *wrong) {
    s->wrong = wrong;
    return false;
}

static void skip_space(scanner *s) {
    if (s->p != s->end && ' ' < *s->p) return; /* as it is nearly always */
    while (is(s, s->p, SPACE)) s->p++;
}

/* The four digits after "\u"; -1 if they are not there. */
static int32_t hex4(const char *p, const char *end) {
    if (end - p < 4) return -1;
    int32_t unit = 0;
    for (int i = 0; i < 4; i++) {
        unsigned char c = (unsigned char)p[i];
        if (!(class_of[c] & HEX)) return -1;
        unit = unit << 4 | (class_of[c] & DIGIT ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    return unit;
}

/* Length of the \u escape at p: 6, 12 for a pair of surrogates. Negative: it stands for no character, skip that many.
 * 0: it is none. */
static int unicode_escape(const char *p, const char *end) {
    int32_t unit = hex4(p + 2, end);
    if (unit < 0) return 0;
    if (unit == 0 || (unit >= 0xDC00 && unit <= 0xDFFF)) return -6;
    if (unit < 0xD800 || unit > 0xDFFF) return 6;
    bool paired = end - p >= 12 && p[6] == '\\' && p[7] == 'u';
    int32_t low = paired ? hex4(p + 8, end) : 0;
    return low >= 0xDC00 && low <= 0xDFFF ? 12 : -6;
}

static bool scan_escape(scanner *s) {
    if (s->end - s->p < 2) return fail(s, "the text ends within a string");
    if (s->p[1] != 'u') {
        if (!s->p[1] || !strchr("\"\\/bfnrt", s->p[1])) return fail(s, "unknown escape in a string");
        s->p += 2;
        return true;
    }
    int length = unicode_escape(s->p, s->end);
    if (!length) return fail(s, "\\u without four hexadecimal digits");
    if (length < 0 && !s->repair) return fail(s, "\\u0000 or half of a surrogate pair");
    if (length < 0) s->seen.broken_text = true;
    s->p += abs(length);
    return true;
}

/* At the opening quote. */
static bool scan_string(scanner *s) {
    s->p++;
    s->escaped = false;
    for (;;) {
        s->p += moon__plain_span(s->p, s->end);
        if (s->p == s->end) return fail(s, "the text ends within a string");
        unsigned char c = (unsigned char)*s->p;
        if (c == '"') {
            s->p++;
            return true;
        }
        if (c == '\\') {
            s->escaped = true;
            if (!scan_escape(s)) return false;
        } else if (c < 0x20) {
            return fail(s, "a control character in a string must be escaped");
        } else {
            size_t length = moon__utf8_length(s->p, (size_t)(s->end - s->p));
            if (!length && !s->repair) return fail(s, "not UTF-8");
            if (!length) s->seen.broken_text = true;
            s->p += length ? length : 1;
        }
    }
}

/* Does a number with an exponent (after its sign) round to infinity? Decided on the text, as strtod would ask the
 * locale. */
static bool is_infinite(const char *p, const char *end) {
    char digits[NUMBER_MAX + 1];
    size_t n = 0;
    int magnitude = 0, exponent = 0; /* the value is 0.DIGITS times ten to the power of their sum */
    bool point = false;
    for (; p < end && (*p | 0x20) != 'e'; p++) {
        if (*p == '.') {
            point = true;
            continue;
        }
        if (n || *p != '0') digits[n++] = *p;
        if (!point && n) magnitude++;
        if (point && !n) magnitude--;
    }
    digits[n] = '\0';
    bool negative = end - p > 1 && p[1] == '-';
    for (p++; p < end; p++)
        if (*p >= '0' && exponent < 100000) exponent = exponent * 10 + (*p - '0');
    magnitude += negative ? -exponent : exponent;
    /* The largest double is 1.7976931348623157e308; what rounds down to it is let through up to 16 digits more. */
    return n && (magnitude > 309 || (magnitude == 309 && strcmp(digits, "17976931348623158") >= 0));
}

static bool scan_digits(scanner *s) {
    if (!is(s, s->p, DIGIT)) return fail(s, "expected a digit");
    while (is(s, s->p, DIGIT)) s->p++;
    return true;
}

static bool scan_number(scanner *s) {
    const char *start = s->p;
    if (*s->p == '-') s->p++;
    const char *digits = s->p;
    if (!scan_digits(s)) return false;
    if (*digits == '0' && s->p - digits > 1) return fail(s, "a number must not begin with 0");
    if (s->p < s->end && *s->p == '.') {
        s->p++;
        if (!scan_digits(s)) return false;
    }
    bool exponent = s->p < s->end && (*s->p == 'e' || *s->p == 'E');
    if (exponent) {
        s->p++;
        if (s->p < s->end && (*s->p == '+' || *s->p == '-')) s->p++;
        if (!scan_digits(s)) return false;
    }
    if (s->p - start > NUMBER_MAX) return fail(s, "a number of over 63 characters");
    if (exponent && is_infinite(digits, s->p)) return fail(s, "a number over 1.7976931348623157e308");
    return true;
}

static bool scan_word(scanner *s, const char *word, size_t n) {
    if ((size_t)(s->end - s->p) < n || memcmp(s->p, word, n) != 0) return fail(s, "expected a value");
    s->p += n;
    return true;
}

static bool scan_value(scanner *s, unsigned depth);

static bool scan_array(scanner *s, unsigned depth) {
    s->p++;
    skip_space(s);
    if (s->p < s->end && *s->p == ']') {
        s->p++;
        return true;
    }
    for (;;) {
        if (!scan_value(s, depth)) return false;
        skip_space(s);
        if (s->p == s->end || (*s->p != ',' && *s->p != ']')) return fail(s, "expected ',' or ']'");
        if (*s->p++ == ']') return true;
        skip_space(s);
    }
}

/* A name as one bit of a set: two members of the same name give the same bit. So do a few others, and those written
 * with escapes might, which costs them a look at the tree. n bytes at name, and a quote after them. */
static void note_name(scanner *s, uint64_t *set, const char *name, size_t n) {
    char first[8] = {0};
    memcpy(first, name, s->end - name >= 8 ? 8 : (size_t)(s->end - name));
    uint64_t word = n ? moon__load64(first) << (n < 8 ? 64 - 8 * n : 0) : 0; /* without what follows a short name */
    uint64_t bit = UINT64_C(1) << ((word + n) * UINT64_C(0x9E3779B97F4A7C15) >> 58);
    if (*set & bit || s->escaped) s->seen.twins = true;
    *set |= bit;
}

static bool scan_object(scanner *s, unsigned depth) {
    uint64_t names = 0;
    s->p++;
    skip_space(s);
    if (s->p < s->end && *s->p == '}') {
        s->p++;
        return true;
    }
    for (;;) {
        if (s->p == s->end || *s->p != '"') return fail(s, "expected a name in quotes");
        const char *name = s->p + 1;
        if (!scan_string(s)) return false;
        if (!s->seen.twins) note_name(s, &names, name, (size_t)(s->p - 1 - name));
        skip_space(s);
        if (s->p == s->end || *s->p != ':') return fail(s, "expected ':'");
        s->p++;
        skip_space(s);
        if (!scan_value(s, depth)) return false;
        skip_space(s);
        if (s->p == s->end || (*s->p != ',' && *s->p != '}')) return fail(s, "expected ',' or '}'");
        if (*s->p++ == '}') return true;
        skip_space(s);
    }
}

static bool scan_value(scanner *s, unsigned depth) {
    if (s->p == s->end) return fail(s, "expected a value");
    switch (*s->p) {
    case '"': return scan_string(s);
    case '{':
    case '[':
        if (depth == MOON__JSON_DEPTH) return fail(s, "nested too deep");
        return *s->p == '{' ? scan_object(s, depth + 1) : scan_array(s, depth + 1);
    case 't': return scan_word(s, "true", 4);
    case 'f': return scan_word(s, "false", 5);
    case 'n': return scan_word(s, "null", 4);
    default:
        if (*s->p != '-' && !is(s, s->p, DIGIT)) return fail(s, "expected a value");
        return scan_number(s);
    }
}

static moon_status tell(const scanner *s, moon_error *error) {
    size_t at = (size_t)(s->p - s->start);
    if (s->p == s->end) return moon_error_set(error, MOON_EPARSE, "%s at byte %zu, where the text ends", s->wrong, at);
    unsigned char c = (unsigned char)*s->p;
    if (c > 0x20 && c < 0x7F) return moon_error_set(error, MOON_EPARSE, "%s at byte %zu, got '%c'", s->wrong, at, c);
    return moon_error_set(error, MOON_EPARSE, "%s at byte %zu, got 0x%02X", s->wrong, at, c);
}

moon_status moon__json_scan_text(moon__json_scan *scan, const char *text, size_t length, unsigned flags,
                                 moon_error *error) {
    if (!text) text = "";
    scanner s = {.start = text, .p = text, .end = text + length, .repair = flags & MOON__JSON_REPAIR};
    skip_space(&s);
    bool good = scan_value(&s, 0);
    if (good) skip_space(&s);
    if (good && s.p < s.end) good = fail(&s, "unexpected text after the value");
    *scan = s.seen;
    if (scan->broken_text) scan->twins = true; /* different bytes become the same U+FFFD */
    return good ? MOON_OK : tell(&s, error);
}

moon_status moon__json_scan_value(size_t *length, const char *text, size_t n, moon_error *error) {
    scanner s = {.start = text, .p = text, .end = text + n};
    bool good = scan_value(&s, 0);
    *length = (size_t)(s.p - text);
    return good ? MOON_OK : tell(&s, error);
}

void moon__json_repair(moon__buf *buf, const char *text, size_t length) {
    const char *end = text + length;
    while (text < end && !buf->status) {
        const char *backslash = memchr(text, '\\', (size_t)(end - text));
        size_t plain = (size_t)((backslash ? backslash : end) - text);
        moon__utf8_repair(buf, text, plain);
        text += plain;
        if (!backslash) break;
        int escape = text[1] == 'u' ? unicode_escape(text, end) : 2;
        if (escape < 0)
            moon__buf_str(buf, MOON__REPLACEMENT);
        else
            moon__buf_add(buf, text, (size_t)escape);
        text += abs(escape);
    }
}
