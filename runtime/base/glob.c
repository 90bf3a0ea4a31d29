/* SPDX-License-Identifier: MIT */
/*
 * Globs. Alternatives in braces are written out first, into patterns without them. Such a pattern is matched with two
 * points to return to, the last `*` and the last `**`: where a later star of a kind has been reached, an earlier one of
 * that kind can give nothing that the later one could not, so the work is at most the product of the lengths.
 * Alternatives multiply it: a budget of steps bounds the whole, and what it does not suffice for is no match.
 */
#include <string.h>

#include "text.h"

enum { PATTERN_MAX = 1024, STEPS_MAX = 1000000, CUTS_MAX = 64, GROUPS_MAX = 64 };

/* Bytes of one character; what is no UTF-8 counts byte by byte, as file names may be anything. */
static size_t step(const char *text) {
    size_t length = moon__utf8_length(text, strnlen(text, 4));
    return length ? length : 1;
}

/* -1, 0 or 1 as the characters at a and b compare; UTF-8 compares as its code points do. */
static int compare(const char *a, const char *b) {
    size_t n = step(a), m = step(b);
    int order = memcmp(a, b, n < m ? n : m);
    return order ? order : (n > m) - (n < m);
}

/* The byte after the `]` that closes the class which begins at p; NULL if none does. */
static const char *class_end(const char *p) {
    p++;
    if (*p == '!' || *p == '^') p++;
    if (*p == ']') p++; /* as the first it stands for itself */
    for (; *p && *p != ']'; p++)
        if (*p == '\\' && p[1]) p++;
    return *p ? p + 1 : NULL;
}

static bool class_has(const char *p, const char *end, const char *c) {
    bool negated = p[1] == '!' || p[1] == '^', found = false;
    p += negated ? 2 : 1;
    while (p < end - 1) {
        if (*p == '\\' && p + 1 < end - 1) p++;
        const char *low = p, *high = p;
        p += step(p);
        if (*p == '-' && p + 1 < end - 1) {
            high = p + 1;
            if (*high == '\\' && high + 1 < end - 1) high++;
            p = high + step(high);
        }
        if (compare(low, c) <= 0 && compare(c, high) <= 0) found = true;
    }
    return found != negated;
}

/* Matches the one character at s with what p begins with; gives the rest of p, or NULL. */
static const char *match_one(const char *p, const char *s) {
    if (*p == '?') return *s != '/' ? p + 1 : NULL;
    const char *end = *p == '[' ? class_end(p) : NULL;
    if (end) return *s != '/' && class_has(p, end, s) ? end : NULL;
    if (*p == '\\' && p[1]) p++;
    size_t length = step(p);
    return strncmp(p, s, length) == 0 ? p + length : NULL;
}

static bool match(const char *pattern, const char *path, unsigned *steps) {
    const char *p = pattern, *s = path;
    const char *star = NULL, *star_s = NULL; /* after the last `*`, and what it has not taken yet */
    const char *deep = NULL, *deep_s = NULL; /* the same for `**` */
    bool whole = false;                      /* that `**` takes whole segments */
    while (*steps && (*steps)--) {
        if (p[0] == '*' && p[1] == '*') {
            bool at_start = p == pattern || p[-1] == '/';
            while (*p == '*') p++;
            whole = at_start && *p == '/';
            deep = p += whole;
            deep_s = s;
            star = NULL;
            continue;
        }
        if (*p == '*') {
            star = ++p;
            star_s = s;
            continue;
        }
        if (!*s && !*p) return true;
        const char *next = *s && *p ? match_one(p, s) : NULL;
        if (next) {
            p = next;
            s += step(s);
        } else if (star && *star_s && *star_s != '/') {
            p = star;
            s = star_s += step(star_s);
        } else if (deep && *deep_s) {
            const char *slash = whole ? strchr(deep_s, '/') : deep_s + step(deep_s) - 1;
            if (!slash) return false;
            p = deep;
            s = deep_s = slash + 1;
            star = NULL;
        } else {
            return false;
        }
    }
    return false;
}

static bool match_plain(const char *pattern, const char *path, unsigned *steps) {
    if (*pattern == '/') return match(pattern + 1, path, steps);
    const char *last = strchr(pattern, '/') ? NULL : strrchr(path, '/');
    return match(pattern, last ? last + 1 : path, steps);
}

typedef struct braces {
    const char *open, *close;
    const char *cut[CUTS_MAX + 1]; /* the commas, then the closing brace */
    size_t n;
} braces;

/* The next byte that is not quoted and in no class. */
static const char *skip_quoted(const char *p) {
    if (*p == '\\' && p[1]) return p + 2;
    const char *end = *p == '[' ? class_end(p) : NULL;
    return end ? end : p + 1;
}

/* The group that opens at p: its commas and its end. False if it is never closed: its brace then stands for itself. */
static bool close_braces(const char *p, braces *found) {
    unsigned depth = 0;
    found->n = 0;
    for (const char *q = p; *q; q = skip_quoted(q)) {
        if (*q == '{') depth++;
        if (*q == ',' && depth == 1 && found->n < CUTS_MAX) found->cut[found->n++] = q;
        if (*q != '}' || --depth) continue;
        found->open = p;
        found->close = found->cut[found->n++] = q;
        return true;
    }
    return false;
}

static bool find_braces(const char *p, braces *found) {
    for (; *p; p = skip_quoted(p))
        if (*p == '{' && close_braces(p, found)) return true;
    return false;
}

/* depth: groups written out so far. */
static bool match_expanded(const char *pattern, const char *path, unsigned depth, unsigned *steps) {
    braces group;
    if (!find_braces(pattern, &group)) return match_plain(pattern, path, steps);
    char written[PATTERN_MAX];
    size_t head = (size_t)(group.open - pattern), tail = strlen(group.close + 1) + 1;
    memcpy(written, pattern, head);
    const char *from = group.open + 1;
    for (size_t i = 0; i < group.n && depth < GROUPS_MAX && *steps; i++) {
        size_t length = (size_t)(group.cut[i] - from);
        memcpy(written + head, from, length);
        memcpy(written + head + length, group.close + 1, tail);
        unsigned cost = (unsigned)(head + length + tail);
        *steps -= cost < *steps ? cost : *steps;
        if (match_expanded(written, path, depth + 1, steps)) return true;
        from = group.cut[i] + 1;
    }
    return false;
}

bool moon__glob_match(const char *glob, const char *path) {
    unsigned steps = STEPS_MAX;
    return strlen(glob) < PATTERN_MAX && match_expanded(glob, path, 0, &steps);
}
