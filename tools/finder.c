/* SPDX-License-Identifier: MIT */
/*
 * Lines that match, in one of three ways (pattern.c decides what is possible):
 *   whole      PCRE2 over the whole text; the line is found around the match
 *   candidate  a literal is looked for over the whole text, and the pattern tried on the lines that have it
 *   lines      the pattern tried on each line
 */
#include "finder.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

enum { MATCH_LIMIT = 5000000, JIT_STACK_MAX = 1 << 20, LITERAL_MIN = 3, PATTERN_MAX = 64 << 10 };

struct moon__finder {
    pcre2_compile_context *compile;
    pcre2_code *over;    /* whole: the rewritten pattern; candidate: the literal; NULL: lines */
    pcre2_code *on_line; /* the pattern itself; NULL if a match of `over` is one already */
};

struct moon__finder_state {
    pcre2_match_data *data;
    pcre2_match_context *context;
    pcre2_jit_stack *stack;
};

static pcre2_code *compile(const moon__finder *f, const char *pattern, size_t n, uint32_t options, moon_error *error) {
    int code;
    PCRE2_SIZE at;
    char text[160] = "";
    pcre2_code *re = pcre2_compile((PCRE2_SPTR)pattern, n, options | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, &code,
                                   &at, f->compile);
    if (!re) {
        pcre2_get_error_message(code, (PCRE2_UCHAR *)text, sizeof text);
        (void)moon_error_set(error, MOON_EINVAL, "the pattern is not sound at byte %zu: %s", (size_t)at, text);
        return NULL;
    }
    (void)pcre2_jit_compile(re, PCRE2_JIT_COMPLETE); /* without it matching is slower, and the same */
    return re;
}

/* Each byte that is no letter or digit gets a backslash: then nothing has a meaning of its own. */
static bool quote(moon__bytes *out, const char *s, size_t n) {
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];
        bool plain = c >= 0x80 || (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z');
        if (!plain) moon__bytes_str(out, "\\");
        moon__bytes_add(out, s + i, 1);
    }
    return !out->failed;
}

static uint32_t utf_options(bool utf) {
    return utf ? PCRE2_UTF | PCRE2_MATCH_INVALID_UTF : 0;
}

static moon_status compile_literal(moon__finder *f, const char *s, size_t n, uint32_t options, moon_error *error) {
    moon__bytes quoted;
    moon__bytes_init(&quoted, 2 * PATTERN_MAX);
    bool utf = options & PCRE2_CASELESS && moon__text_invalid(s, n) == 0;
    if (utf) { /* case matters beyond ASCII only where there is something beyond ASCII */
        utf = false;
        for (size_t i = 0; i < n; i++) utf |= (unsigned char)s[i] >= 0x80;
    }
    if (!quote(&quoted, s, n)) {
        moon__bytes_fini(&quoted);
        return moon_error_set(error, MOON_ENOMEM, "no memory for the pattern");
    }
    f->over = compile(f, quoted.p, quoted.len, options | utf_options(utf), error);
    moon__bytes_fini(&quoted);
    return f->over ? MOON_OK : MOON_EINVAL;
}

static moon_status compile_pattern(moon__finder *f, const char *s, size_t n, uint32_t options, moon_error *error) {
    moon__pattern p;
    if (!moon__pattern_read(&p, s, n)) {
        moon__pattern_fini(&p);
        return moon_error_set(error, MOON_ENOMEM, "no memory for the pattern");
    }
    options |= utf_options(p.utf);
    moon_status status = MOON_OK;
    f->on_line = compile(f, s, n, options, error); /* for what is wrong with it, even if it is replaced below */
    pcre2_code *bounded = f->on_line && p.bounded ? compile(f, p.rewritten.p, p.rewritten.len, options, NULL) : NULL;
    if (bounded) {
        pcre2_code_free(f->on_line);
        f->on_line = bounded;
    }
    if (!f->on_line)
        status = MOON_EINVAL;
    else if (bounded && !p.leading && p.literal.len >= LITERAL_MIN)
        status = compile_literal(f, p.literal.p, p.literal.len, options & PCRE2_CASELESS, error);
    else if (bounded) {
        f->over = bounded;
        f->on_line = NULL;
    }
    moon__pattern_fini(&p);
    return status;
}

moon_status moon__finder_new(moon__finder **out, const char *pattern, size_t n, bool literal, bool ignore_case,
                             moon_error *error) {
    if (!n || n > PATTERN_MAX) return moon_error_set(error, MOON_EINVAL, "the pattern is %s", n ? "too long" : "empty");
    if (literal && memchr(pattern, '\n', n))
        return moon_error_set(error, MOON_EINVAL, "the text has a line ending in it; lines are searched one by one");
    moon__finder *f = calloc(1, sizeof *f);
    if (!f || !(f->compile = pcre2_compile_context_create(NULL))) {
        free(f);
        return moon_error_set(error, MOON_ENOMEM, "no memory for the pattern");
    }
    pcre2_set_newline(f->compile, PCRE2_NEWLINE_LF);
    uint32_t options = ignore_case ? PCRE2_CASELESS : 0;
    moon_status status = (literal ? compile_literal : compile_pattern)(f, pattern, n, options, error);
    if (status)
        moon__finder_free(f);
    else
        *out = f;
    return status;
}

void moon__finder_free(moon__finder *f) {
    if (!f) return;
    pcre2_code_free(f->over);
    pcre2_code_free(f->on_line);
    pcre2_compile_context_free(f->compile);
    free(f);
}

moon__finder_state *moon__finder_state_new(const moon__finder *finder) {
    (void)finder;
    moon__finder_state *s = calloc(1, sizeof *s);
    if (!s) return NULL;
    s->data = pcre2_match_data_create(1, NULL);
    s->context = pcre2_match_context_create(NULL);
    s->stack = pcre2_jit_stack_create(32 << 10, JIT_STACK_MAX, NULL); /* NULL without JIT; then none is needed */
    if (!s->data || !s->context) {
        moon__finder_state_free(s);
        return NULL;
    }
    pcre2_set_match_limit(s->context, MATCH_LIMIT);
    if (s->stack) pcre2_jit_stack_assign(s->context, NULL, s->stack);
    return s;
}

void moon__finder_state_free(moon__finder_state *s) {
    if (!s) return;
    pcre2_jit_stack_free(s->stack);
    pcre2_match_context_free(s->context);
    pcre2_match_data_free(s->data);
    free(s);
}

static moon__find run(const pcre2_code *re, moon__finder_state *s, const char *text, size_t n, size_t *at) {
    int result = pcre2_match(re, (PCRE2_SPTR)text, n, 0, 0, s->data, s->context);
    if (result == PCRE2_ERROR_NOMATCH) return MOON__FIND_NONE;
    if (result < 0) return MOON__FIND_COSTLY;
    *at = pcre2_get_ovector_pointer(s->data)[0];
    return MOON__FIND_HIT;
}

/* Fills hit with the line around p. */
static void line_around(const char *text, const char *end, const char *p, moon__hit *hit) {
    const char *before = memrchr(text, '\n', (size_t)(p - text)),
               *nl = p < end ? memchr(p, '\n', (size_t)(end - p)) : NULL;
    const char *stop = nl ? nl : end;
    hit->line = before ? before + 1 : text;
    hit->next = nl ? nl + 1 : end;
    hit->length = (size_t)(stop - hit->line);
    if (hit->length && stop[-1] == '\r') hit->length--;
    hit->at = (size_t)(p - hit->line);
}

static moon__find on_line(const moon__finder *f, moon__finder_state *s, moon__hit *hit) {
    moon__find found = run(f->on_line, s, hit->line, hit->length, &hit->at);
    if (hit->at > hit->length) hit->at = hit->length;
    return found;
}

moon__find moon__finder_next(const moon__finder *f, moon__finder_state *s, const char *text, const char *end,
                             moon__hit *hit) {
    while (text < end) {
        size_t at = 0;
        if (f->over) {
            moon__find found = run(f->over, s, text, (size_t)(end - text), &at);
            if (found != MOON__FIND_HIT) return found;
            if (at == (size_t)(end - text) && end[-1] == '\n')
                return MOON__FIND_NONE; /* there is no line behind the last one */
        }
        line_around(text, end, text + at, hit);
        if (f->on_line) {
            moon__find found = on_line(f, s, hit);
            if (found != MOON__FIND_NONE) return found;
        } else if (hit->at <= hit->length) /* an empty match may lie between CR and LF, which is no place of a line */
            return MOON__FIND_HIT;
        text = hit->next;
    }
    return MOON__FIND_NONE;
}

moon__find moon__finder_piece(const moon__finder *f, moon__finder_state *s, const moon__piece *piece, size_t *at,
                              size_t *end) {
    const pcre2_code *re = f->on_line ? f->on_line : f->over;
    uint32_t options = (piece->first ? 0 : PCRE2_NOTBOL) | (piece->last ? 0 : PCRE2_NOTEOL);
    int result = pcre2_match(re, (PCRE2_SPTR)piece->text, piece->n, piece->begin, options, s->data, s->context);
    if (result == PCRE2_ERROR_NOMATCH) return MOON__FIND_NONE;
    if (result < 0) return MOON__FIND_COSTLY;
    const PCRE2_SIZE *ends = pcre2_get_ovector_pointer(s->data);
    *at = ends[0] < piece->n ? ends[0] : piece->n;
    *end = ends[1] > *at ? ends[1] : *at; /* \K may put the beginning behind the end */
    return MOON__FIND_HIT;
}
