/* SPDX-License-Identifier: MIT */
/*
 * Wildcards. One pass with two places to come back to: the last `*`, which may take one byte more as long as that is
 * no slash, and the last `**`, which may take one segment more. Earlier ones need no second try: what follows them
 * was matched as far to the left as it can be. So hostile patterns cost a product of lengths, not a power.
 */
#include "glob.h"

#include <stdlib.h>
#include <string.h>

enum { EXPANSIONS_MAX = 64, GLOB_MAX = 4096 };

/* 1: c is of the class, 0: it is not, -1: there is no such class. */
static int in_class(const char *name, size_t n, unsigned char c) {
    bool lower = c >= 'a' && c <= 'z', upper = c >= 'A' && c <= 'Z', digit = c >= '0' && c <= '9';
    bool graph = c > 0x20 && c < 0x7F, alpha = lower || upper;
    const struct {
        const char *name;
        bool holds;
    } classes[] = {
        {"alnum", alpha || digit},
        {"alpha", alpha},
        {"blank", c == ' ' || c == '\t'},
        {"cntrl", c < 0x20 || c == 0x7F},
        {"digit", digit},
        {"graph", graph},
        {"lower", lower},
        {"print", graph || c == ' '},
        {"punct", graph && !alpha && !digit},
        {"space", c == ' ' || (c >= '\t' && c <= '\r')},
        {"upper", upper},
        {"xdigit", digit || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F')},
    };
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++)
        if (strlen(classes[i].name) == n && !memcmp(classes[i].name, name, n)) return classes[i].holds;
    return -1;
}

/* One member of a bracket: a character, a range or a class. Moves *p behind it; false: it is not sound. */
static bool bracket_member(const char **p, const char *end, unsigned char c, bool *hit) {
    const char *s = *p;
    if (*s == '[' && end - s > 1 && s[1] == ':') {
        const char *close = memchr(s + 2, ']', (size_t)(end - s - 2));
        if (close && close[-1] == ':' && close - 1 >= s + 2) {
            int is = in_class(s + 2, (size_t)(close - 1 - (s + 2)), c);
            *hit |= is > 0;
            *p = close + 1;
            return is >= 0;
        }
    }
    if (*s == '\\' && ++s == end) return false;
    unsigned char low = (unsigned char)*s++, high = low;
    if (end - s > 1 && s[0] == '-' && s[1] != ']') {
        s++;
        if (*s == '\\' && ++s == end) return false;
        high = (unsigned char)*s++;
    }
    *hit |= c == low ||
            (c >= low && c <= high); /* as in git, the low end counts even if the range is the wrong way round */
    *p = s;
    return true;
}

/* Matches one byte (not a slash, unless the pattern has that slash) and moves *p. 1: yes, 0: no, -1: not sound. */
static int match_one(const char **p, const char *end, unsigned char c) {
    const char *s = *p;
    if (*s == '[') {
        bool hit = false, negated = ++s < end && (*s == '!' || *s == '^');
        s += negated;
        const char *first = s;
        while (s < end && (*s != ']' || s == first))
            if (!bracket_member(&s, end, c, &hit)) return -1;
        if (s >= end) return -1;
        *p = s + 1;
        return hit != negated && c != '/';
    }
    if (*s == '?') {
        *p = s + 1;
        return c != '/';
    }
    if (*s == '\\' && ++s == end) return -1;
    *p = s + 1;
    return (unsigned char)*s == c;
}

bool moon__wild_match(const char *pattern, size_t pattern_length, const char *text, size_t text_length) {
    const char *p = pattern, *end = p + pattern_length, *t = text, *stop = t + text_length;
    const char *star = NULL, *star_t = NULL, *deep = NULL, *deep_t = NULL;
    for (;;) {
        if (p < end && *p == '*') {
            const char *run = p;
            while (p < end && *p == '*') p++;
            bool alone = (run == pattern || run[-1] == '/') && (p == end || *p == '/');
            if (p - run < 2 || !alone) {
                star = p;
                star_t = t;
                continue;
            }
            if (p == end) return true;
            deep = ++p;
            deep_t = t;
            star = NULL;
            continue;
        }
        if (t == stop) return p == end;
        const char *next = p;
        int one = p < end ? match_one(&next, end, (unsigned char)*t) : 0;
        if (one < 0) return false;
        if (one) {
            if (*t == '/') star = NULL;
            p = next;
            t++;
        } else if (star && *star_t != '/') {
            p = star;
            t = ++star_t;
        } else {
            const char *slash = deep ? memchr(deep_t, '/', (size_t)(stop - deep_t)) : NULL;
            if (!slash) return false;
            p = deep;
            t = deep_t = slash + 1;
            star = NULL;
        }
    }
}

/* ---- the argument of a tool ---- */

typedef struct variant {
    char *text;
    size_t length;
    bool has_slash;
} variant;

struct moon__glob {
    bool inverted;
    size_t count;
    variant variants[EXPANSIONS_MAX];
};

/* The first brace pair with a comma at its top level. */
static bool find_braces(const char *s, size_t n, size_t *open, size_t *close) {
    for (size_t i = 0; i < n; i++) {
        if (s[i] == '\\') {
            i++;
            continue;
        }
        if (s[i] != '{') continue;
        bool comma = false;
        int depth = 0;
        for (size_t j = i; j < n; j++) {
            if (s[j] == '\\')
                j++;
            else if (s[j] == '{')
                depth++;
            else if (s[j] == ',')
                comma |= depth == 1;
            else if (s[j] == '}' && !--depth) {
                if (!comma) break;
                *open = i;
                *close = j;
                return true;
            }
        }
    }
    return false;
}

static bool add_variant(moon__glob *glob, const char *a, size_t an, const char *b, size_t bn, const char *c,
                        size_t cn) {
    if (glob->count == EXPANSIONS_MAX) return false;
    variant *v = &glob->variants[glob->count];
    v->length = an + bn + cn;
    v->text = malloc(v->length + 1);
    if (!v->text) return false;
    if (an) memcpy(v->text, a, an);
    if (bn) memcpy(v->text + an, b, bn);
    if (cn) memcpy(v->text + an + bn, c, cn);
    v->text[v->length] = 0;
    glob->count++;
    return true;
}

/* Replaces variant `at` by one variant for each alternative of its first braces; false: no memory or too many. */
static bool expand(moon__glob *glob, size_t at, size_t open, size_t close) {
    variant old = glob->variants[at];
    glob->variants[at] = glob->variants[--glob->count];
    const char *s = old.text;
    bool ok = true;
    int depth = 0;
    for (size_t i = open + 1, from = i; ok && i <= close; i++) {
        if (s[i] == '\\' && i < close)
            i++;
        else if (s[i] == '{')
            depth++;
        else if (s[i] == '}' && i < close)
            depth--;
        else if ((s[i] == ',' && !depth) || i == close) {
            ok = add_variant(glob, s, open, s + from, i - from, s + close + 1, old.length - close - 1);
            from = i + 1;
        }
    }
    free(old.text);
    return ok;
}

/* "./" in front and doubled slashes are how some people write paths; a slash in front means: from the top. */
static void tidy(variant *v) {
    v->has_slash = memchr(v->text, '/', v->length) != NULL;
    size_t skip = 0;
    while (v->length - skip > 1 && v->text[skip] == '.' && v->text[skip + 1] == '/') skip += 2;
    while (skip < v->length && v->text[skip] == '/') skip++;
    v->length -= skip;
    memmove(v->text, v->text + skip, v->length + 1);
}

moon__glob *moon__glob_new(const char *text, size_t n) {
    moon__glob *glob = n <= GLOB_MAX ? calloc(1, sizeof *glob) : NULL;
    if (!glob) return NULL;
    glob->inverted = n && text[0] == '!';
    bool ok = add_variant(glob, text + glob->inverted, n - glob->inverted, NULL, 0, NULL, 0);
    for (size_t i = 0, open, close; ok && i < glob->count;)
        if (find_braces(glob->variants[i].text, glob->variants[i].length, &open, &close))
            ok = expand(glob, i, open, close);
        else
            tidy(&glob->variants[i++]);
    if (ok) return glob;
    moon__glob_free(glob);
    return NULL;
}

void moon__glob_free(moon__glob *glob) {
    if (!glob) return;
    for (size_t i = 0; i < glob->count; i++) free(glob->variants[i].text);
    free(glob);
}

bool moon__glob_covers(const moon__glob *glob, const char *path, size_t n, size_t base) {
    const char *slash = memrchr(path, '/', n), *name = slash ? slash + 1 : path;
    bool hit = false;
    for (size_t i = 0; !hit && i < glob->count; i++) {
        const variant *v = &glob->variants[i];
        if (!v->has_slash)
            hit = moon__wild_match(v->text, v->length, name, n - (size_t)(name - path));
        else
            hit = moon__wild_match(v->text, v->length, path, n) ||
                  (base && moon__wild_match(v->text, v->length, path + base, n - base));
    }
    return hit != glob->inverted;
}
