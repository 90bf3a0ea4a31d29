/* SPDX-License-Identifier: MIT */
/*
 * Reads a regular expression as far as that is easy, for two things.
 *
 * Speed: PCRE2's JIT runs over a whole text many times faster than over one line after the other, but there `\s` or
 * `[^x]` would match line endings. So the pattern is rewritten such that no part of it can: `\s` becomes `[^\S\r\n]`,
 * `[^x]` becomes `[^\r\nx]`, `.` becomes `[^\r\n]`, and `$` also stands before a CR. With that the two ways find the
 * same.
 *
 * A literal: a run of plain characters outside of groups and alternatives that every match must contain, so that only
 * lines that have it need be looked at.
 *
 * What is not understood here (\Q, \x, \p, (?s), verbs …) is no error: the pattern is then run line by line.
 */
#include <string.h>

#include "finder.h"

enum { PATTERN_ROOM = 1 << 20 };

typedef struct reader {
    const char *s, *end;
    moon__pattern *out;
    moon__bytes run; /* the literal run at this place */
    int depth;
    bool no_literal;
    bool first_run; /* nothing but this run has been read */
} reader;

static void end_run(reader *r) {
    if (!r->depth && r->run.len > r->out->literal.len) {
        r->out->literal.len = 0;
        moon__bytes_add(&r->out->literal, r->run.p, r->run.len);
    }
    if (r->first_run && r->run.len >= 2) r->out->leading = true;
    r->first_run = false;
    r->run.len = 0;
}

static void copy(reader *r, size_t n) {
    moon__bytes_add(&r->out->rewritten, r->s, n);
    r->s += n;
}

/* An element that is no literal: `written` instead of the next n bytes. */
static void element(reader *r, size_t n, const char *written) {
    end_run(r);
    if (!written) {
        copy(r, n);
        return;
    }
    moon__bytes_str(&r->out->rewritten, written);
    r->s += n;
}

static void literal(reader *r, size_t skip) {
    unsigned char c = (unsigned char)r->s[skip];
    if (c >= 0x80) r->out->utf = true;
    moon__bytes_add(&r->run, r->s + skip, 1);
    copy(r, skip + 1);
}

static bool is_punct(char c) {
    return c > 0x20 && c < 0x7F && !((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'));
}

static bool escape(reader *r) {
    if (r->end - r->s < 2) return false;
    char c = r->s[1];
    if (is_punct(c))
        literal(r, 1);
    else if (c && strchr("wdhbBt", c))
        element(r, 2, NULL);
    else if (c && strchr("SNWDs", c)) {
        r->out->utf |= c != 's';
        element(r, 2,
                c == 's'   ? "[^\\S\\r\\n]"
                : c == 'W' ? "[^\\w\\r\\n]"
                : c == 'D' ? "[^\\d\\r\\n]"
                : c == 'N' ? "[^\\r\\n]"
                           : NULL);
    } else
        return false;
    return true;
}

/* [:name:] inside a class; one that holds a line ending is fine in a negated class only. */
static bool posix_class(reader *r, bool negated) {
    const char *close = memmem(r->s + 2, (size_t)(r->end - r->s - 2), ":]", 2);
    if (!close || close < r->s + 4) return false;
    size_t n = (size_t)(close + 2 - r->s);
    if (!negated && (r->s[2] == '^' || !memcmp(r->s + 2, "sp", 2) || !memcmp(r->s + 2, "cn", 2))) return false;
    copy(r, n);
    return true;
}

static bool class_member(reader *r, bool negated) {
    char c = *r->s;
    size_t left = (size_t)(r->end - r->s);
    if (c == '[' && left > 1 && r->s[1] == ':') return posix_class(r, negated);
    if ((unsigned char)c < 0x20 && c != '\t') return false;
    if ((unsigned char)c >= 0x80) r->out->utf = true;
    if (c != '\\') {
        if (c == '\t' && left > 1 && r->s[1] == '-') return false; /* a range from here has \n in it */
        copy(r, 1);
        return true;
    }
    if (left < 2) return false;
    char e = r->s[1];
    bool known = is_punct(e) || (e && strchr("wdhtS", e)) || (negated && e && strchr("sWD", e));
    if (!known || (e == 't' && left > 2 && r->s[2] == '-')) return false;
    if (e == 'S' || e == 'W' || e == 'D') r->out->utf = true;
    copy(r, 2);
    return true;
}

static bool bracket(reader *r) {
    end_run(r);
    copy(r, 1);
    bool negated = r->s < r->end && *r->s == '^';
    if (negated) {
        copy(r, 1);
        r->out->utf = true;
    }
    if (r->end - r->s > 1 && (*r->s == ']' || *r->s == '-')) { /* first in a class these two are plain */
        if (r->s[1] == '-') return false;
        moon__bytes_str(&r->out->rewritten, "\\");
        copy(r, 1);
    }
    if (negated) moon__bytes_str(&r->out->rewritten, "\\r\\n");
    while (r->s < r->end && *r->s != ']')
        if (!class_member(r, negated)) return false;
    if (r->s == r->end) return false;
    copy(r, 1);
    return true;
}

static bool starts(const reader *r, const char *text) {
    size_t n = strlen(text);
    return (size_t)(r->end - r->s) >= n && !memcmp(r->s, text, n);
}

static bool group(reader *r) {
    static const char *const known[] = {"(?:", "(?=", "(?!", "(?<=", "(?<!", "(?>", "(?i:"};
    end_run(r);
    if (starts(r, "(*")) return false;
    if (starts(r, "(?i)")) {
        r->no_literal = true;
        copy(r, 4);
        return true;
    }
    size_t n = starts(r, "(?") ? 0 : 1;
    for (size_t i = 0; !n && i < sizeof known / sizeof *known; i++)
        if (starts(r, known[i])) n = strlen(known[i]);
    if (!n && (starts(r, "(?<") || starts(r, "(?P<"))) {
        const char *close = memchr(r->s, '>', (size_t)(r->end - r->s));
        n = close ? (size_t)(close + 1 - r->s) : 0;
    }
    if (!n) return false;
    r->depth++;
    copy(r, n);
    return true;
}

/* The length of {n}, {n,} or {n,m} here; 0: it is a plain brace. */
static size_t repeat_length(const reader *r) {
    const char *p = r->s + 1, *digits = p;
    while (p < r->end && *p >= '0' && *p <= '9') p++;
    if (p == digits) return 0;
    if (p < r->end && *p == ',') p++;
    while (p < r->end && *p >= '0' && *p <= '9') p++;
    return p < r->end && *p == '}' ? (size_t)(p + 1 - r->s) : 0;
}

/* What may be repeated zero times is in no literal: takes the last character off the run. */
static void quantifier(reader *r, size_t n) {
    size_t last = r->run.len;
    while (last && ((unsigned char)r->run.p[last - 1] & 0xC0) == 0x80) last--;
    r->run.len = last ? last - 1 : 0;
    element(r, n, NULL);
}

/* One element; false: it is not understood. */
static bool read_element(reader *r) {
    switch (*r->s) {
    case '\\': return escape(r);
    case '[': return bracket(r);
    case '(': return group(r);
    case '\n':
    case '\r': return false;
    case ')':
        end_run(r);
        r->depth--;
        copy(r, 1);
        return r->depth >= 0;
    case '|':
        if (!r->depth) r->no_literal = true;
        element(r, 1, NULL);
        return true;
    case '.':
        r->out->utf = true;
        element(r, 1, "[^\\r\\n]");
        return true;
    case '^': element(r, 1, NULL); return true;
    case '$': element(r, 1, "(?=\\r?$)"); return true;
    case '+': element(r, 1, NULL); return true;
    case '*':
    case '?': quantifier(r, 1); return true;
    case '{': {
        size_t n = repeat_length(r);
        if (n)
            quantifier(r, n);
        else
            literal(r, 0);
        return true;
    }
    default: literal(r, 0); return true;
    }
}

bool moon__pattern_read(moon__pattern *out, const char *pattern, size_t n) {
    *out = (moon__pattern){.bounded = true};
    reader r = {.s = pattern, .end = pattern + n, .out = out, .first_run = true};
    moon__bytes_init(&out->rewritten, PATTERN_ROOM * 8);
    moon__bytes_init(&out->literal, PATTERN_ROOM);
    moon__bytes_init(&r.run, PATTERN_ROOM);
    while (out->bounded && r.s < r.end) out->bounded = read_element(&r);
    end_run(&r);
    bool failed = r.run.failed || out->rewritten.failed || out->literal.failed;
    moon__bytes_fini(&r.run);
    if (!out->bounded) out->utf = true;
    if (!out->bounded || r.no_literal) {
        out->literal.len = 0;
        out->leading = false;
    }
    return !failed;
}

void moon__pattern_fini(moon__pattern *pattern) {
    moon__bytes_fini(&pattern->rewritten);
    moon__bytes_fini(&pattern->literal);
}
