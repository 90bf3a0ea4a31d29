/* SPDX-License-Identifier: MIT */
/* .gitignore rules: parsed once per file into classes that are cheap to test, because a tree of 50,000 files asks every
 * rule 50,000 times. */
#include "ignore.h"

#include <stdlib.h>
#include <string.h>

#include "glob.h"

typedef struct rule {
    const char *text; /* in the owner's copy of the file; without "!", leading and trailing slash */
    size_t length;
    size_t plain;   /* so many bytes at the beginning hold no wildcard */
    bool negated;   /* "!": not ignored after all */
    bool directory; /* a slash at the end */
    bool base_name; /* no slash inside: matches the last segment at any depth */
    bool suffix;    /* base_name, "*" and then no wildcard */
} rule;

struct moon__ignore {
    const moon__ignore *parent;
    size_t base;
    size_t count;
    rule *rules;
    char text[];
};

static size_t plain_length(const char *s, size_t n) {
    size_t i = 0;
    while (i < n && !strchr("*?[\\", s[i])) i++;
    return i;
}

/* The line without trailing spaces, unless a backslash quotes them. */
static size_t trimmed(const char *s, size_t n) {
    size_t keep = 0;
    for (size_t i = 0; i < n; i++) {
        if (s[i] == '\\') {
            if (++i == n) return n;
            keep = i + 1;
        } else if (s[i] != ' ')
            keep = i + 1;
    }
    return keep;
}

static bool parse_rule(rule *r, const char *s, size_t n) {
    *r = (rule){0};
    n = trimmed(s, n);
    if (n && *s == '!') {
        r->negated = true;
        s++;
        n--;
    }
    if (n && s[n - 1] == '/') {
        r->directory = true;
        n--;
    }
    r->base_name = !memchr(s, '/', n);
    if (n && *s == '/') {
        s++;
        n--;
    }
    r->text = s;
    r->length = n;
    r->plain = plain_length(s, n);
    r->suffix = r->base_name && n && *s == '*' && plain_length(s + 1, n - 1) == n - 1;
    return n > 0;
}

static size_t line_length(const char *s, size_t n) {
    const char *nl = memchr(s, '\n', n);
    return nl ? (size_t)(nl - s) : n;
}

/* Parses into rules, or only counts if that is NULL. */
static size_t parse(rule *rules, const char *s, size_t n) {
    size_t count = 0;
    if (n >= 3 && !memcmp(s, "\xEF\xBB\xBF", 3)) s += 3, n -= 3;
    while (n) {
        size_t line = line_length(s, n), used = line < n ? line + 1 : line;
        size_t text = strnlen(s, line);
        if (text == line && text && s[text - 1] == '\r') text--;
        rule r;
        if (text && *s != '#' && parse_rule(&r, s, text)) {
            if (rules) rules[count] = r;
            count++;
        }
        s += used;
        n -= used;
    }
    return count;
}

moon__ignore *moon__ignore_new(const char *text, size_t n, const moon__ignore *parent, size_t base) {
    moon__ignore *ignore = calloc(1, sizeof *ignore + n + 1);
    if (!ignore) return NULL;
    if (n) memcpy(ignore->text, text, n);
    ignore->parent = parent;
    ignore->base = base;
    ignore->count = parse(NULL, ignore->text, n);
    ignore->rules = calloc(ignore->count + 1, sizeof *ignore->rules);
    if (!ignore->rules) {
        free(ignore);
        return NULL;
    }
    parse(ignore->rules, ignore->text, n);
    return ignore;
}

void moon__ignore_free(moon__ignore *ignore) {
    if (!ignore) return;
    free(ignore->rules);
    free(ignore);
}

static bool same(const char *a, size_t an, const char *b, size_t bn) {
    return an == bn && !memcmp(a, b, an);
}

static bool rule_matches(const rule *r, const char *path, size_t n, const char *name, size_t name_length) {
    if (r->suffix)
        return name_length >= r->length - 1 &&
               !memcmp(name + name_length - (r->length - 1), r->text + 1, r->length - 1);
    if (r->base_name) {
        path = name;
        n = name_length;
    }
    if (r->plain == r->length) return same(path, n, r->text, r->length);
    /* git takes the plain beginning off first, so that in "ab**" the stars stand at the beginning of a pattern. */
    if (r->base_name) return moon__wild_match(r->text, r->length, path, n);
    return n >= r->plain && !memcmp(path, r->text, r->plain) &&
           moon__wild_match(r->text + r->plain, r->length - r->plain, path + r->plain, n - r->plain);
}

bool moon__ignore_matches(const moon__ignore *ignore, const char *path, size_t n, bool is_directory) {
    const char *slash = memrchr(path, '/', n), *name = slash ? slash + 1 : path;
    size_t name_length = n - (size_t)(name - path);
    for (; ignore; ignore = ignore->parent) {
        if (n < ignore->base) continue;
        for (size_t i = ignore->count; i-- > 0;) {
            const rule *r = &ignore->rules[i];
            if (r->directory && !is_directory) continue;
            if (rule_matches(r, path + ignore->base, n - ignore->base, name, name_length)) return !r->negated;
        }
    }
    return false;
}
