/* SPDX-License-Identifier: MIT */
/* Growing buffers with a ceiling. Every addition is whole or not at all, and none is made after the first that failed.
 */
#include "buf.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scan.h"
#include "text.h"

enum { FIRST_SIZE = 64 };

void moon__buf_init(moon__buf *buf, size_t max) {
    /* One byte is kept for the NUL, so that cap never wraps. */
    *buf = (moon__buf){.max = max < SIZE_MAX ? max : SIZE_MAX - 1};
}

void moon__buf_fini(moon__buf *buf) {
    free(buf->p);
    *buf = (moon__buf){.max = buf->max};
}

void moon__buf_reset(moon__buf *buf) {
    buf->len = 0;
    buf->status = MOON_OK;
    if (buf->p) buf->p[0] = '\0';
}

void moon__buf_cut(moon__buf *buf, size_t len) {
    if (len >= buf->len) return;
    buf->len = len;
    buf->p[len] = '\0';
}

moon_status moon__buf_reserve(moon__buf *buf, size_t n) {
    if (buf->status) return buf->status;
    if (n > buf->max - buf->len) return buf->status = MOON_ELIMIT;
    size_t need = buf->len + n + 1;
    if (need <= buf->cap) return MOON_OK;
    size_t cap = buf->cap < FIRST_SIZE ? FIRST_SIZE : buf->cap;
    if (cap < need) cap = cap <= SIZE_MAX / 2 && cap * 2 > need ? cap * 2 : need;
    if (cap > buf->max + 1) cap = buf->max + 1;
    char *p = realloc(buf->p, cap);
    if (!p) return buf->status = MOON_ENOMEM;
    p[buf->len] = '\0';
    buf->p = p;
    buf->cap = cap;
    return MOON_OK;
}

void moon__buf_add(moon__buf *buf, const void *bytes, size_t n) {
    if (moon__buf_reserve(buf, n) || !n) return;
    memcpy(buf->p + buf->len, bytes, n);
    buf->len += n;
    buf->p[buf->len] = '\0';
}

void moon__buf_str(moon__buf *buf, const char *text) {
    moon__buf_add(buf, text, strlen(text));
}

void moon__buf_char(moon__buf *buf, char c) {
    moon__buf_add(buf, &c, 1);
}

void moon__buf_vprintf(moon__buf *buf, const char *format, va_list args) {
    if (moon__buf_reserve(buf, 0)) return;
    va_list again;
    va_copy(again, args);
    size_t room = buf->cap - buf->len;
    int n = vsnprintf(buf->p + buf->len, room, format, args);
    if (n < 0) {
        buf->status = MOON_EINVAL; /* an encoding error, or text of over 2 GiB */
    } else if ((size_t)n < room) {
        buf->len += (size_t)n;
    } else if (moon__buf_reserve(buf, (size_t)n) == MOON_OK) {
        vsnprintf(buf->p + buf->len, (size_t)n + 1, format, again);
        buf->len += (size_t)n;
    }
    buf->p[buf->len] = '\0';
    va_end(again);
}

void moon__buf_printf(moon__buf *buf, const char *format, ...) {
    va_list args;
    va_start(args, format);
    moon__buf_vprintf(buf, format, args);
    va_end(args);
}

void moon__buf_int(moon__buf *buf, int64_t value) {
    char digits[20]; /* "-9223372036854775808" */
    size_t at = sizeof digits;
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    do digits[--at] = (char)('0' + rest % 10);
    while (rest /= 10);
    if (value < 0) digits[--at] = '-';
    moon__buf_add(buf, digits + at, sizeof digits - at);
}

void moon__buf_num(moon__buf *buf, double value) {
    if (!isfinite(value)) {
        moon__buf_str(buf, "null");
        return;
    }
    if (fabs(value) <= 0x1p53 && value == trunc(value)) {
        moon__buf_int(buf, (int64_t)value);
        return;
    }
    char text[48];
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value) break;
    }
    /* A host may have set a locale that writes the point otherwise, in more than one byte too. */
    size_t head = strspn(text, "-0123456789"), gap = strcspn(text + head, "0123456789e");
    if (gap) {
        memmove(text + head + 1, text + head + gap, strlen(text + head + gap) + 1);
        text[head] = '.';
    }
    moon__buf_str(buf, text);
}

static void add_escape(moon__buf *buf, unsigned char c) {
    static const char shorts[32] = {['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r'};
    char text[8] = {'\\', (char)c};
    if (c < 0x20 && shorts[c]) text[1] = shorts[c];
    if (c < 0x20 && !shorts[c]) snprintf(text, sizeof text, "\\u%04x", c);
    moon__buf_str(buf, text);
}

void moon__buf_quoted(moon__buf *buf, const char *text, size_t n) {
    if (!text) text = "", n = 0;
    size_t start = buf->len;
    const char *end = text + (n == SIZE_MAX ? strlen(text) : n);
    moon__buf_char(buf, '"');
    while (text < end && !buf->status) {
        size_t plain = moon__plain_span(text, end);
        moon__buf_add(buf, text, plain);
        text += plain;
        if (text == end) break;
        size_t step = 1;
        if ((signed char)*text > 0) {
            add_escape(buf, (unsigned char)*text);
        } else if (*text && (step = moon__utf8_length(text, (size_t)(end - text)))) {
            moon__buf_add(buf, text, step);
        } else {
            moon__buf_str(buf, MOON__REPLACEMENT);
            step = 1;
        }
        text += step;
    }
    moon__buf_char(buf, '"');
    if (buf->status) moon__buf_cut(buf, start);
}

char *moon__buf_take(moon__buf *buf) {
    char *text = NULL;
    moon_status status = buf->status;
    if (!status) status = moon__buf_reserve(buf, 0);
    if (!status) {
        text = realloc(buf->p, buf->len + 1); /* gives back what was reserved ahead */
        if (!text) text = buf->p;
        buf->p = NULL;
    }
    moon__buf_fini(buf);
    buf->status = status;
    return text;
}

void moon_out_add(moon_out *out, const char *bytes, size_t length) {
    moon__buf_add(out, bytes, length);
}

void moon_out_text(moon_out *out, const char *text) {
    moon__buf_str(out, text);
}

void moon_out_quoted(moon_out *out, const char *text, size_t length) {
    moon__buf_quoted(out, text, length);
}
