/* SPDX-License-Identifier: MIT */
/* UTF-8, text for terminals, and "did you mean". */
#include "text.h"

#include <stdlib.h>
#include <string.h>

#include "scan.h"

size_t moon__utf8_length(const char *text, size_t n) {
    const unsigned char *s = (const unsigned char *)text;
    if (!n) return 0;
    if (s[0] < 0x80) return 1;
    /* The first byte gives the length; the second alone shows overlong forms, surrogates and what is past U+10FFFF. */
    size_t length = s[0] < 0xC2 ? 0 : s[0] < 0xE0 ? 2 : s[0] < 0xF0 ? 3 : s[0] < 0xF5 ? 4 : 0;
    if (!length || n < length) return 0;
    unsigned low = s[0] == 0xE0 ? 0xA0 : s[0] == 0xF0 ? 0x90 : 0x80;
    unsigned high = s[0] == 0xED ? 0x9F : s[0] == 0xF4 ? 0x8F : 0xBF;
    if (s[1] < low || s[1] > high) return 0;
    for (size_t i = 2; i < length; i++)
        if ((s[i] & 0xC0) != 0x80) return 0;
    return length;
}

size_t moon__utf8_valid(const char *text, size_t n) {
    size_t at = 0;
    while (at < n) {
        at += moon__ascii_span(text + at, text + n);
        if (at == n) break;
        size_t length = moon__utf8_length(text + at, n - at);
        if (!length) break;
        at += length;
    }
    return at;
}

void moon__utf8_repair(moon__buf *buf, const char *text, size_t n) {
    size_t start = buf->len;
    while (n) {
        size_t good = moon__utf8_valid(text, n);
        moon__buf_add(buf, text, good);
        if (good == n) break;
        moon__buf_str(buf, MOON__REPLACEMENT);
        text += good + 1;
        n -= good + 1;
    }
    if (buf->status) moon__buf_cut(buf, start);
}

bool moon__text_sound(const char *text, size_t n) {
    return !n || (!memchr(text, 0, n) && moon__utf8_valid(text, n) == n);
}

void moon__text_repair(moon__buf *buf, const char *text, size_t n) {
    size_t start = buf->len;
    for (const char *zero; n && (zero = memchr(text, 0, n)); text = zero + 1) {
        moon__utf8_repair(buf, text, (size_t)(zero - text));
        moon__buf_str(buf, MOON__REPLACEMENT);
        n -= (size_t)(zero - text) + 1;
    }
    moon__utf8_repair(buf, text, n);
    if (buf->status) moon__buf_cut(buf, start);
}

size_t moon__utf8_floor(const char *text, size_t n) {
    /* Back to the byte that starts the last code point; if that is whole, or there is none in reach, n is a good cut.
     */
    for (size_t back = 1; back <= 4 && back <= n; back++) {
        unsigned char c = (unsigned char)text[n - back];
        if ((c & 0xC0) == 0x80) continue;
        size_t length = c < 0xC2 ? 1 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : c < 0xF5 ? 4 : 1;
        return length > back ? n - back : n;
    }
    return n;
}

static uint32_t decode(const char *text, size_t length) {
    const unsigned char *s = (const unsigned char *)text;
    static const unsigned char first[] = {0, 0x7F, 0x1F, 0x0F, 0x07};
    uint32_t point = s[0] & first[length];
    for (size_t i = 1; i < length; i++) point = point << 6 | (s[i] & 0x3F);
    return point;
}

/* What a terminal would obey, or show as nothing or in another order than it stands. */
static bool is_harmful(uint32_t point) {
    static const struct {
        uint32_t first, last;
    } ranges[] = {
        {0x00, 0x1F},     {0x7F, 0x9F},     {0xAD, 0xAD},     {0x61C, 0x61C},   {0x180E, 0x180E},   {0x200B, 0x200F},
        {0x2028, 0x202E}, {0x2060, 0x206F}, {0xFEFF, 0xFEFF}, {0xFFF9, 0xFFFB}, {0x1D173, 0x1D17A}, {0xE0000, 0xE0FFF},
    };
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        if (point >= ranges[i].first && point <= ranges[i].last) return true;
    return false;
}

static size_t add_safe(moon__buf *buf, const char *text, size_t n) {
    size_t length = moon__utf8_length(text, n);
    uint32_t point = length ? decode(text, length) : 0;
    if (!length)
        moon__buf_printf(buf, "<0x%02X>", (unsigned char)*text);
    else if (*text == '\r')
        moon__buf_str(buf, n > 1 && text[1] == '\n' ? "" : "\n");
    else if (*text != '\n' && *text != '\t' && is_harmful(point))
        moon__buf_printf(buf, "<U+%04X>", point);
    else
        moon__buf_add(buf, text, length);
    return length ? length : 1;
}

void moon__term_safe(moon__buf *buf, const char *text, size_t n) {
    size_t start = buf->len, at = 0;
    while (at < n && !buf->status) {
        size_t plain = at;
        while (plain < n && text[plain] >= 0x20 && text[plain] < 0x7F) plain++;
        moon__buf_add(buf, text + at, plain - at);
        at = plain;
        if (at < n) at += add_safe(buf, text + at, n - at);
    }
    if (buf->status) moon__buf_cut(buf, start);
}

static void add_escaped(moon__buf *buf, uint32_t point) {
    if (point > 0xFFFF) {
        moon__buf_printf(buf, "\\u%04x", 0xD7C0 + (point >> 10));
        point = 0xDC00 | (point & 0x3FF);
    }
    moon__buf_printf(buf, "\\u%04x", point);
}

void moon__term_safe_json(moon__buf *buf, const char *json, size_t n) {
    size_t start = buf->len, at = 0;
    while (at < n && !buf->status) {
        size_t plain = at, length = 1;
        while (plain < n && (unsigned char)json[plain] < 0x7F) plain++;
        moon__buf_add(buf, json + at, plain - at);
        at = plain;
        if (at == n) break;
        length = moon__utf8_length(json + at, n - at);
        uint32_t point = length ? decode(json + at, length) : 0xFFFD;
        if (!length || is_harmful(point))
            add_escaped(buf, point);
        else
            moon__buf_add(buf, json + at, length);
        at += length ? length : 1;
    }
    if (buf->status) moon__buf_cut(buf, start);
}

unsigned moon__edit_distance(const char *a, const char *b) {
    enum { MAX = 32 };
    unsigned rows[3][MAX + 1]; /* the row two above (for transpositions), the one above, this one */
    size_t n = strnlen(a, MAX), m = strnlen(b, MAX);
    for (unsigned j = 0; j <= m; j++) rows[0][j] = j;
    for (unsigned i = 1; i <= n; i++) {
        unsigned *row = rows[i % 3], *up = rows[(i + 2) % 3], *up2 = rows[(i + 1) % 3];
        row[0] = i;
        for (unsigned j = 1; j <= m; j++) {
            unsigned best = up[j - 1] + (a[i - 1] != b[j - 1]);
            if (up[j] + 1 < best) best = up[j] + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && up2[j - 2] + 1 < best)
                best = up2[j - 2] + 1;
            row[j] = best;
        }
    }
    return rows[n % 3][m];
}

const char *moon__nearest(const char *word, const char *const *names) {
    const char *nearest = NULL;
    size_t length = strlen(word);
    unsigned best = length < 6 ? 2 : (unsigned)(length / 3) + 1; /* one more than is near enough */
    for (; *names; names++) {
        unsigned distance = moon__edit_distance(word, *names);
        if (distance >= best) continue;
        best = distance;
        nearest = *names;
    }
    return nearest;
}

char *moon__strdup(const char *text) {
    return text ? moon__strndup(text, strlen(text)) : NULL;
}

char *moon__strndup(const char *text, size_t n) {
    char *copy = text ? malloc(n + 1) : NULL;
    if (!copy) return NULL;
    memcpy(copy, text, n);
    copy[n] = '\0';
    return copy;
}
