/* SPDX-License-Identifier: MIT */
/* Growing buffers and UTF-8 for the built-in tools. */
#include "bytes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BINARY_PROBE = 8192 };

void moon__bytes_init(moon__bytes *b, size_t max) {
    *b = (moon__bytes){.max = max};
}

void moon__bytes_fini(moon__bytes *b) {
    free(b->p);
    moon__bytes_init(b, b->max);
}

bool moon__bytes_reserve(moon__bytes *b, size_t n) {
    if (b->failed) return false;
    if (n <= b->cap - b->len) return true;
    if (n > b->max - b->len) {
        b->failed = true;
        return false;
    }
    size_t cap = b->cap ? b->cap : 256;
    while (cap < b->len + n) cap *= 2;
    if (cap > b->max) cap = b->max;
    char *p = realloc(b->p, cap);
    if (!p) {
        b->failed = true;
        return false;
    }
    b->p = p;
    b->cap = cap;
    return true;
}

void moon__bytes_add(moon__bytes *b, const void *bytes, size_t n) {
    if (!n || !moon__bytes_reserve(b, n)) return;
    memcpy(b->p + b->len, bytes, n);
    b->len += n;
}

void moon__bytes_str(moon__bytes *b, const char *text) {
    moon__bytes_add(b, text, strlen(text));
}

void moon__bytes_printf(moon__bytes *b, const char *format, ...) {
    char text[501];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (n > 0) moon__bytes_add(b, text, n < (int)sizeof text ? (size_t)n : sizeof text - 1);
}

size_t moon__text_step(const char *text, size_t n) {
    const unsigned char *s = (const unsigned char *)text;
    if (s[0] < 0x80) return 1;
    if (s[0] < 0xC2 || s[0] > 0xF4) return 0;
    size_t want = s[0] < 0xE0 ? 2 : s[0] < 0xF0 ? 3 : 4;
    if (n < want) return 0;
    for (size_t i = 1; i < want; i++)
        if ((s[i] & 0xC0) != 0x80) return 0;
    bool overlong = (s[0] == 0xE0 && s[1] < 0xA0) || (s[0] == 0xF0 && s[1] < 0x90);
    bool surrogate = s[0] == 0xED && s[1] >= 0xA0;
    bool too_high = s[0] == 0xF4 && s[1] >= 0x90;
    return overlong || surrogate || too_high ? 0 : want;
}

size_t moon__text_floor(const char *text, size_t n) {
    /* Back over at most three continuation bytes to a lead byte; if its sequence would end beyond n, cut before it. */
    for (size_t back = 1; back <= 3 && back <= n; back++) {
        unsigned char c = (unsigned char)text[n - back];
        if (c < 0x80) return n;
        if (c < 0xC0) continue;
        size_t want = c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;
        return want > back ? n - back : n;
    }
    return n;
}

size_t moon__text_invalid(const char *text, size_t n) {
    size_t bad = 0;
    for (size_t i = 0; i < n;) {
        size_t step = moon__text_step(text + i, n - i);
        bad += !step;
        i += step ? step : 1;
    }
    return bad;
}

bool moon__text_is_binary(const char *data, size_t n) {
    return n && memchr(data, 0, n < BINARY_PROBE ? n : BINARY_PROBE);
}

size_t moon__text_count_lines(const char *data, size_t n) {
    const char *p = data, *end = data + n;
    size_t lines = 0;
    for (const char *nl; p < end && (nl = memchr(p, '\n', (size_t)(end - p))); p = nl + 1) lines++;
    return lines + (p < end);
}

void moon__bytes_text(moon__bytes *b, const char *text, size_t n) {
    size_t good = 0;
    for (size_t i = 0; i < n;) {
        size_t step = moon__text_step(text + i, n - i);
        i += step ? step : 1;
        if (step) continue;
        moon__bytes_add(b, text + good, i - 1 - good);
        moon__bytes_str(b, "\xEF\xBF\xBD");
        good = i;
    }
    moon__bytes_add(b, text + good, n - good);
}

static bool is_control(const char *s, size_t step) {
    unsigned char c = (unsigned char)s[0];
    return c < 0x20 || c == 0x7F || (step == 2 && c == 0xC2 && (unsigned char)s[1] < 0xA0);
}

static bool wants_quotes(const char *path, size_t n) {
    for (size_t i = 0, step; i < n; i += step) {
        step = moon__text_step(path + i, n - i);
        if (!step || is_control(path + i, step) || path[i] == '"') return true;
    }
    return false;
}

static void add_quoted(moon__bytes *b, const char *s, size_t n) {
    static const char from[] = "\a\b\t\n\v\f\r\"\\", to[] = "abtnvfr\"\\";
    const char *hit = n == 1 ? memchr(from, s[0], sizeof from - 1) : NULL;
    if (hit)
        moon__bytes_add(b, (char[]){'\\', to[hit - from]}, 2);
    else
        for (size_t i = 0; i < n; i++) moon__bytes_printf(b, "\\%03o", (unsigned)(unsigned char)s[i]);
}

void moon__bytes_path(moon__bytes *b, const char *path, size_t n) {
    if (!wants_quotes(path, n)) {
        moon__bytes_add(b, path, n);
        return;
    }
    moon__bytes_str(b, "\"");
    for (size_t i = 0; i < n;) {
        size_t step = moon__text_step(path + i, n - i), take = step ? step : 1;
        if (!step || is_control(path + i, step) || path[i] == '"' || path[i] == '\\')
            add_quoted(b, path + i, take);
        else
            moon__bytes_add(b, path + i, take);
        i += take;
    }
    moon__bytes_str(b, "\"");
}
