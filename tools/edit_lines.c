/* SPDX-License-Identifier: MIT */
/* Lines compared without regard to whitespace: equal runs by Knuth-Morris-Pratt over hashes of lines, similar ones by
 * the pairs of letters that they share. */
#include "edit_lines.h"

#include <stdlib.h>
#include <string.h>

enum { NEAR_LINES_MAX = 400000, NEAR_OLD_MAX = 100, NEAR_STEPS_MAX = 20000000 };

static bool is_space(char c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* The next byte of the line with whitespace made one space, none at the ends; -1 at the end. */
static int next_word_byte(const moon__line *line, uint32_t *at) {
    const char *s = line->p;
    if (*at < line->length && !is_space(s[*at])) return (unsigned char)s[(*at)++];
    bool inside = *at > line->indent;
    while (*at < line->length && is_space(s[*at])) ++*at;
    if (*at == line->length) return -1;
    return inside ? ' ' : (unsigned char)s[(*at)++];
}

static uint64_t hash_line(const moon__line *line) {
    uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a */
    uint32_t at = 0;
    for (int c; (c = next_word_byte(line, &at)) >= 0;) hash = (hash ^ (uint64_t)c) * 0x100000001b3u;
    return hash;
}

static bool same_words(const moon__line *a, const moon__line *b) {
    uint32_t i = 0, j = 0;
    for (int c = 0; c >= 0;) {
        c = next_word_byte(a, &i);
        if (c != next_word_byte(b, &j)) return false;
    }
    return true;
}

bool moon__line_is_blank(const moon__line *line) {
    uint32_t at = 0;
    return next_word_byte(line, &at) < 0;
}

bool moon__lines_init(moon__lines *lines, const char *text, size_t n) {
    size_t count = 0;
    for (const char *p = text, *end = text + n, *nl; p < end; p = nl ? nl + 1 : end, count++)
        nl = memchr(p, '\n', (size_t)(end - p));
    *lines = (moon__lines){.line = calloc(count + 1, sizeof *lines->line), .count = count};
    if (!lines->line) return false;
    const char *p = text, *end = text + n;
    for (size_t i = 0; i < count; i++) {
        const char *nl = memchr(p, '\n', (size_t)(end - p));
        moon__line *line = &lines->line[i];
        line->p = p;
        line->length = (uint32_t)((nl ? nl : end) - p);
        if (line->length && p[line->length - 1] == '\r') line->length--;
        while (line->indent < line->length && (p[line->indent] == ' ' || p[line->indent] == '\t')) line->indent++;
        line->hash = hash_line(line);
        p = nl ? nl + 1 : end;
    }
    lines->ends_with_newline = n && text[n - 1] == '\n';
    return true;
}

void moon__lines_fini(moon__lines *lines) {
    free(lines->line);
}

/* ---- equal ---- */

static bool is_blank_text(const moon__lines *lines) {
    for (size_t i = 0; i < lines->count; i++)
        if (!moon__line_is_blank(&lines->line[i])) return false;
    return true;
}

static bool same_run(const moon__line *text, const moon__lines *old) {
    for (size_t i = 0; i < old->count; i++)
        if (!same_words(&text[i], &old->line[i])) return false;
    return true;
}

/* border[i]: how many lines at the beginning of old equal those that end with line i. */
static size_t *borders(const moon__lines *old) {
    size_t *border = calloc(old->count, sizeof *border), k = 0;
    for (size_t i = 1; border && i < old->count; i++) {
        while (k && old->line[i].hash != old->line[k].hash) k = border[k - 1];
        if (old->line[i].hash == old->line[k].hash) k++;
        border[i] = k;
    }
    return border;
}

bool moon__lines_find(const moon__lines *text, const moon__lines *old, size_t *at, size_t room, size_t *count) {
    *count = 0;
    if (old->count > text->count || is_blank_text(old)) return true;
    size_t *border = borders(old), k = 0;
    if (!border) return false;
    for (size_t i = 0; i < text->count; i++) {
        while (k && text->line[i].hash != old->line[k].hash) k = border[k - 1];
        if (text->line[i].hash == old->line[k].hash) k++;
        if (k < old->count) continue;
        size_t begin = i + 1 - k;
        k = border[k - 1];
        /* Beyond the places that are reported a hash is good enough to count. */
        if (*count < room && !same_run(&text->line[begin], old)) continue;
        if (*count < room) at[*count] = begin;
        ++*count;
    }
    free(border);
    return true;
}

/* ---- similar ---- */

/* The set of pairs of neighbouring letters, hashed to 256 bits. */
typedef struct pairs {
    uint64_t bits[4];
} pairs;

static pairs pairs_of(const moon__line *line) {
    pairs set = {{0}};
    uint32_t at = 0;
    unsigned before = 0;
    for (int c; (c = next_word_byte(line, &at)) >= 0;) {
        if (c == ' ') continue;
        unsigned bit = ((before * 31u + (unsigned)c) * 2654435761u) >> 24;
        set.bits[bit / 64] |= 1ull << bit % 64;
        before = (unsigned)c;
    }
    return set;
}

/* 0 to 100. */
static unsigned likeness(const pairs *a, const pairs *b) {
    int both = 0, any = 0;
    for (int i = 0; i < 4; i++) {
        both += __builtin_popcountll(a->bits[i] & b->bits[i]);
        any += __builtin_popcountll(a->bits[i] | b->bits[i]);
    }
    return any ? (unsigned)(both * 100 / any) : 0; /* blank lines are like nothing, so that they win nothing */
}

/* Scores each window of `window` lines; the first best one. */
static size_t best_window(const pairs *text, size_t count, const pairs *old, size_t window, unsigned *score) {
    size_t best = 0;
    *score = 0;
    for (size_t i = 0; i + window <= count; i++) {
        unsigned sum = 0;
        for (size_t j = 0; j < window; j++) sum += likeness(&text[i + j], &old[j]);
        if (sum > *score) {
            *score = sum;
            best = i;
        }
    }
    return best;
}

bool moon__lines_nearest(const moon__lines *text, const moon__lines *old, size_t *first, size_t *last) {
    *first = *last = 0;
    size_t count = text->count < NEAR_LINES_MAX ? text->count : NEAR_LINES_MAX;
    if (!count || !old->count) return true;
    size_t window = old->count < NEAR_OLD_MAX ? old->count : NEAR_OLD_MAX;
    if (window > count) window = count;
    if (window > NEAR_STEPS_MAX / count) window = NEAR_STEPS_MAX / count;
    pairs *sets = calloc(count + window, sizeof *sets);
    if (!sets) return false;
    unsigned solid = 0, score;
    for (size_t i = 0; i < count; i++) sets[i] = pairs_of(&text->line[i]);
    for (size_t i = 0; i < window; i++) {
        sets[count + i] = pairs_of(&old->line[i]);
        solid += !moon__line_is_blank(&old->line[i]);
    }
    size_t best = best_window(sets, count, sets + count, window, &score);
    free(sets);
    if (!solid || score < solid * 25) return true;
    *first = best + 1;
    *last = best + old->count < text->count ? best + old->count : text->count;
    return true;
}
