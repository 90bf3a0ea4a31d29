/* SPDX-License-Identifier: MIT */
/*
 * A pattern and a text, with a NUL between; the first byte: literal, ignore case. Held to: the lines found over the
 * text at once are those found line by line (which a group that pattern.c does not read forces), as long as every CR of
 * the text ends a line, and it is ASCII (a pattern without need for code points is matched by bytes).
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../tools/finder.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_plain(const char *s, size_t n) {
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)s[i] >= 0x80 || (s[i] == '\r' && (i + 1 == n || s[i + 1] != '\n'))) return false;
    return true;
}

static void compare(const moon__finder *a, const moon__finder *b, const char *text, size_t n) {
    moon__finder_state *as = moon__finder_state_new(a), *bs = moon__finder_state_new(b);
    const char *p = text, *end = text + n;
    if (!as || !bs) abort();
    for (moon__hit x, y; p < end; p = x.next) {
        moon__find found = moon__finder_next(a, as, p, end, &x), also = moon__finder_next(b, bs, p, end, &y);
        if (found == MOON__FIND_COSTLY || also == MOON__FIND_COSTLY) break;
        if (found != also) abort();
        if (found == MOON__FIND_NONE) break;
        if (x.line != y.line || x.length != y.length || x.next != y.next || x.next <= p || x.at > x.length) abort();
    }
    moon__finder_state_free(as);
    moon__finder_state_free(bs);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 3 || size > 2048) return 0;
    const char *pattern = (const char *)data + 1, *nul = memchr(pattern, 0, size - 1);
    if (!nul) return 0;
    size_t n = (size_t)(nul - pattern), text_length = size - 2 - n;
    bool literal = data[0] & 1, ignore_case = data[0] & 2;
    char *forced = malloc(n + 5), *text = malloc(text_length + 1); /* of exact size, so that reading beyond is seen */
    if (!forced || !text) abort();
    memcpy(text, nul + 1, text_length);
    memcpy(forced, "(?|", 3);
    memcpy(forced + 3, pattern, n);
    forced[n + 3] = ')';
    moon__finder *a = NULL, *b = NULL;
    moon_error error;
    if (!moon__finder_new(&a, pattern, n, literal, ignore_case, &error)) {
        if (!literal && is_plain(text, text_length) && !moon__finder_new(&b, forced, n + 4, false, ignore_case, &error))
            compare(a, b, text, text_length);
        else
            compare(a, a, text, text_length);
    }
    moon__finder_free(a);
    moon__finder_free(b);
    free(forced);
    free(text);
    return 0;
}
