/* SPDX-License-Identifier: MIT */
/* Exact, then whitespace-tolerant replacement (see edit.h); edit_near.c finds the nearest region when there is no
 * match. */
#include "edit.h"

#include <stdlib.h>
#include <string.h>

#include "edit_lines.h"

enum { TEXT_ROOM = 64 << 20 };

typedef enum eol { EOL_AS_IS, EOL_LF, EOL_CRLF } eol;

/* ---- line endings ---- */

static eol first_eol(const char *s, size_t n) {
    const char *nl = memchr(s, '\n', n);
    return !nl ? EOL_AS_IS : nl > s && nl[-1] == '\r' ? EOL_CRLF : EOL_LF;
}

/* Adds s with its line endings made those of `ends`. */
static void add_with_eol(moon__bytes *out, const char *s, size_t n, eol ends) {
    if (ends == EOL_AS_IS) {
        moon__bytes_add(out, s, n);
        return;
    }
    for (const char *end = s + n, *nl; s < end; s = nl + 1) {
        nl = memchr(s, '\n', (size_t)(end - s));
        if (!nl) {
            moon__bytes_add(out, s, (size_t)(end - s));
            return;
        }
        moon__bytes_add(out, s, (size_t)(nl - s) - (nl > s && nl[-1] == '\r'));
        moon__bytes_str(out, ends == EOL_CRLF ? "\r\n" : "\n");
    }
}

static size_t line_at(const char *s, size_t offset) {
    size_t line = 1;
    for (const char *end = s + offset, *nl; s < end && (nl = memchr(s, '\n', (size_t)(end - s))); s = nl + 1) line++;
    return line;
}

static moon__edit_outcome finish(const moon__edit *e, moon__edit_result *r) {
    if (r->text.failed) return MOON__EDIT_NO_MEMORY;
    bool same = r->text.len == e->text_length && (!r->text.len || !memcmp(r->text.p, e->text, r->text.len));
    return same ? MOON__EDIT_SAME : MOON__EDIT_DONE;
}

/* What stands in place of the `length` bytes at `at`: lines and, in the result, the replacement with fitting line
 * endings. */
static void note_region(const moon__edit *e, moon__edit_result *r, size_t at, size_t length) {
    r->first = line_at(e->text, at);
    r->last = r->first - 1 + moon__text_count_lines(e->text + at, length);
}

static eol region_eol(const moon__edit *e, size_t at, size_t length) {
    eol ends = first_eol(e->text + at, length);
    if (ends == EOL_AS_IS) ends = first_eol(e->text + at + length, e->text_length - at - length);
    return ends == EOL_AS_IS ? first_eol(e->text, e->text_length) : ends;
}

/* ---- exact ---- */

/* The next place of old from p on. One that begins between the two characters of a CRLF is none: replacing it would
 * leave half of a line ending. */
static const char *find_exact(const moon__edit *e, const char *p, const char *old, size_t n) {
    const char *end = e->text + e->text_length, *hit;
    while ((hit = memmem(p, (size_t)(end - p), old, n)) && *hit == '\n' && hit > e->text && hit[-1] == '\r')
        p = hit + 1;
    return hit;
}

/* Counts the places; two that overlap are two. */
static void count_exact(const moon__edit *e, const char *old, size_t n, moon__edit_result *r) {
    const char *p = e->text, *hit, *from = p;
    size_t line = 1;
    while ((hit = find_exact(e, p, old, n))) {
        if (r->count < MOON__EDIT_SHOWN) {
            line += line_at(from, (size_t)(hit - from)) - 1;
            r->lines[r->count] = line;
            from = hit;
        }
        r->count++;
        p = hit + n;
    }
    if (r->count != 1) return;
    hit = find_exact(e, from + 1, old, n);
    if (!hit) return;
    r->lines[r->count++] = line + line_at(from, (size_t)(hit - from)) - 1;
}

static moon__edit_outcome replace_exact(const moon__edit *e, const char *old, size_t n, moon__edit_result *r) {
    const char *p = e->text, *end = p + e->text_length, *hit;
    bool first = true;
    while ((hit = find_exact(e, p, old, n)) && (first || e->all)) {
        moon__bytes_add(&r->text, p, (size_t)(hit - p));
        size_t before = r->text.len;
        add_with_eol(&r->text, e->fresh, e->fresh_length, region_eol(e, (size_t)(hit - e->text), n));
        if (first) {
            note_region(e, r, (size_t)(hit - e->text), n);
            r->fresh_lines = r->text.p ? moon__text_count_lines(r->text.p + before, r->text.len - before) : 0;
        }
        first = false;
        p = hit + n;
    }
    moon__bytes_add(&r->text, p, (size_t)(end - p));
    return finish(e, r);
}

/* Tries `old` with the line endings given. MOON__EDIT_NONE: it is nowhere. */
static moon__edit_outcome try_exact(const moon__edit *e, eol ends, moon__edit_result *r) {
    moon__bytes old;
    moon__bytes_init(&old, TEXT_ROOM);
    add_with_eol(&old, e->old, e->old_length, ends);
    moon__edit_outcome outcome = MOON__EDIT_NO_MEMORY;
    if (!old.failed) {
        count_exact(e, old.p, old.len, r);
        outcome = !r->count                 ? MOON__EDIT_NONE
                  : r->count > 1 && !e->all ? MOON__EDIT_MANY
                                            : replace_exact(e, old.p, old.len, r);
    }
    moon__bytes_fini(&old);
    return outcome;
}

/* ---- tolerant ---- */

/* How the indentation of the place differs from that of `old`, where that is the same for all lines. */
typedef struct shift {
    enum { SHIFT_NONE, SHIFT_ADD, SHIFT_REMOVE, SHIFT_TO_TABS, SHIFT_TO_SPACES } kind;
    const char *prefix; /* add, remove */
    size_t length;      /* of the prefix; else spaces for a tab */
} shift;

static bool all_are(const char *s, size_t n, char c) {
    for (size_t i = 0; i < n; i++)
        if (s[i] != c) return false;
    return true;
}

/* The shift that makes indentation a (of old) to b (of the text); false if there is none. */
static bool shift_between(const char *a, size_t an, const char *b, size_t bn, shift *s) {
    *s = (shift){.kind = SHIFT_NONE};
    if (bn >= an && !memcmp(b + bn - an, a, an))
        *s = (shift){SHIFT_ADD, b, bn - an};
    else if (an > bn && !memcmp(a + an - bn, b, bn))
        *s = (shift){SHIFT_REMOVE, a, an - bn};
    else if (bn && an % bn == 0 && all_are(b, bn, '\t') && all_are(a, an, ' '))
        *s = (shift){SHIFT_TO_TABS, NULL, an / bn};
    else if (an && bn % an == 0 && all_are(a, an, '\t') && all_are(b, bn, ' '))
        *s = (shift){SHIFT_TO_SPACES, NULL, bn / an};
    else
        return false;
    return true;
}

static bool same_shift(const shift *a, const shift *b) {
    return a->kind == b->kind && a->length == b->length && (!a->prefix || !memcmp(a->prefix, b->prefix, a->length));
}

/* Lines that are not indented on either side fit every change of tabs to spaces. */
static bool is_neutral(const moon__line *a, const moon__line *b) {
    return !a->indent && !b->indent;
}

/* The shift of lines [from, count), if it is one for all. */
static bool uniform_shift(const moon__line *old, const moon__line *text, size_t from, size_t count, shift *out) {
    bool any = false, neutral = false;
    *out = (shift){.kind = SHIFT_NONE};
    for (size_t i = from; i < count; i++) {
        shift s;
        if (moon__line_is_blank(&old[i])) continue;
        if (is_neutral(&old[i], &text[i])) {
            neutral = true;
            continue;
        }
        if (!shift_between(old[i].p, old[i].indent, text[i].p, text[i].indent, &s)) return false;
        if (any && !same_shift(&s, out)) return false;
        *out = s;
        any = true;
    }
    return !neutral || !any || out->kind >= SHIFT_TO_TABS || !out->length;
}

static void add_spaces(moon__bytes *out, size_t n, char c) {
    for (size_t i = 0; i < n; i++) moon__bytes_add(out, &c, 1);
}

/* The line's indentation, shifted. */
static void add_indent(moon__bytes *out, const moon__line *line, const shift *s) {
    const char *p = line->p;
    size_t n = line->indent;
    if (s->kind == SHIFT_ADD) {
        moon__bytes_add(out, s->prefix, s->length);
    } else if (s->kind == SHIFT_REMOVE) {
        size_t drop = 0;
        while (drop < n && drop < s->length && p[drop] == s->prefix[drop]) drop++;
        p += drop;
        n -= drop;
    } else if (s->kind == SHIFT_TO_TABS && all_are(p, n, ' ')) {
        add_spaces(out, n / s->length, '\t');
        p += n - n % s->length;
        n %= s->length;
    } else if (s->kind == SHIFT_TO_SPACES && all_are(p, n, '\t')) {
        add_spaces(out, n * s->length, ' ');
        n = 0;
    }
    moon__bytes_add(out, p, n);
}

/* Adds `fresh`, indented as the place is: `text` points to its first line, `old` to the first of the lines that were
 * looked for. */
static void add_indented(moon__bytes *out, const moon__edit *e, const moon__lines *old, const moon__line *text,
                         eol ends) {
    shift s;
    bool odd_first = false;
    if (!uniform_shift(old->line, text, 0, old->count, &s)) {
        odd_first = uniform_shift(old->line, text, 1, old->count, &s); /* the first line was quoted from its middle */
        if (!odd_first) s = (shift){.kind = SHIFT_NONE};
    }
    moon__lines fresh;
    if (!moon__lines_init(&fresh, e->fresh, e->fresh_length)) {
        out->failed = true;
        return;
    }
    for (size_t i = 0; i < fresh.count; i++) {
        const moon__line *line = &fresh.line[i];
        if (!moon__line_is_blank(line)) {
            shift here = s;
            if (!i && odd_first &&
                !shift_between(old->line[0].p, old->line[0].indent, text[0].p, text[0].indent, &here))
                here = (shift){.kind = SHIFT_NONE};
            add_indent(out, line, &here);
            moon__bytes_add(out, line->p + line->indent, line->length - line->indent);
        }
        if (i + 1 < fresh.count || fresh.ends_with_newline) moon__bytes_str(out, ends == EOL_CRLF ? "\r\n" : "\n");
    }
    moon__lines_fini(&fresh);
}

static moon__edit_outcome replace_lines(const moon__edit *e, const moon__lines *text, const moon__lines *old, size_t at,
                                        moon__edit_result *r) {
    const moon__line *first = &text->line[at], *last = first + old->count - 1;
    size_t from = (size_t)(first->p - e->text), to = (size_t)(last->p - e->text) + last->length;
    if (old->ends_with_newline) {
        const char *nl = memchr(e->text + to, '\n', e->text_length - to);
        to = nl ? (size_t)(nl - e->text) + 1 : e->text_length;
    }
    moon__bytes_add(&r->text, e->text, from);
    add_indented(&r->text, e, old, first, region_eol(e, from, to - from));
    r->fresh_lines = r->text.len > from ? moon__text_count_lines(r->text.p + from, r->text.len - from) : 0;
    moon__bytes_add(&r->text, e->text + to, e->text_length - to);
    r->first = at + 1;
    r->last = at + old->count;
    r->tolerant = true;
    return finish(e, r);
}

static moon__edit_outcome try_tolerant(const moon__edit *e, moon__edit_result *r) {
    moon__lines text, old;
    if (!moon__lines_init(&text, e->text, e->text_length)) return MOON__EDIT_NO_MEMORY;
    if (!moon__lines_init(&old, e->old, e->old_length)) {
        moon__lines_fini(&text);
        return MOON__EDIT_NO_MEMORY;
    }
    moon__edit_outcome outcome = MOON__EDIT_NONE;
    size_t at[MOON__EDIT_SHOWN];
    if (!moon__lines_find(&text, &old, at, MOON__EDIT_SHOWN, &r->count))
        outcome = MOON__EDIT_NO_MEMORY;
    else if (r->count > 1) {
        outcome = MOON__EDIT_MANY;
        r->tolerant = true;
        for (size_t i = 0; i < MOON__EDIT_SHOWN && i < r->count; i++) r->lines[i] = at[i] + 1;
    } else if (r->count)
        outcome = replace_lines(e, &text, &old, at[0], r);
    else if (!moon__lines_nearest(&text, &old, &r->first, &r->last))
        outcome = MOON__EDIT_NO_MEMORY;
    moon__lines_fini(&old);
    moon__lines_fini(&text);
    return outcome;
}

moon__edit_outcome moon__edit_apply(const moon__edit *e, moon__edit_result *r) {
    memset(r, 0, sizeof *r);
    moon__bytes_init(&r->text, TEXT_ROOM);
    /* CRLF first where there is any: "\nx" as it is would be found behind a CR and tear the two apart. */
    static const eol order[] = {EOL_CRLF, EOL_AS_IS, EOL_LF};
    bool has_crlf = memmem(e->text, e->text_length, "\r\n", 2) != NULL;
    for (size_t i = !has_crlf; i < sizeof order / sizeof *order; i++) {
        moon__edit_outcome outcome = try_exact(e, order[i], r);
        if (outcome != MOON__EDIT_NONE) return outcome;
    }
    return try_tolerant(e, r);
}
