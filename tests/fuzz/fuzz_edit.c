/* SPDX-License-Identifier: MIT */
/*
 * file.edit's core: a flag byte, then the text, old and new, with 0xFF between. Held to: what is before and behind the
 * replaced lines stays as it was; a text whose line endings are all CRLF still is one; without `all` one place changes.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../tools/edit.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t count(const char *s, size_t n, const char *what) {
    size_t hits = 0, length = strlen(what);
    if (!n) return 0; /* an empty text may be NULL */
    for (const char *end = s + n; (s = memmem(s, (size_t)(end - s), what, length)); s += length) hits++;
    return hits;
}

/* The offset at which line `line` (from 1) begins, or the end. */
static size_t line_offset(const char *s, size_t n, size_t line) {
    size_t at = 0;
    while (--line) {
        const char *nl = at < n ? memchr(s + at, '\n', n - at) : NULL;
        if (!nl) return n;
        at = (size_t)(nl - s) + 1;
    }
    return at;
}

static void check_surroundings(const moon__edit *e, const moon__edit_result *r) {
    size_t before = line_offset(e->text, e->text_length, r->first),
           after = line_offset(e->text, e->text_length, r->last + 1);
    size_t behind = e->text_length - after;
    if (!r->first || r->last < r->first || before + behind > r->text.len) abort();
    if (before && memcmp(e->text, r->text.p, before)) abort();
    if (behind && memcmp(e->text + after, r->text.p + r->text.len - behind, behind)) abort();
}

static void check_line_endings(const moon__edit *e, const moon__edit_result *r) {
    size_t crlf = count(e->text, e->text_length, "\r\n");
    if (!crlf || crlf != count(e->text, e->text_length, "\n") || crlf != count(e->text, e->text_length, "\r")) return;
    if (count(e->old, e->old_length, "\r") || count(e->fresh, e->fresh_length, "\r")) return;
    crlf = count(r->text.p, r->text.len, "\r\n");
    if (crlf != count(r->text.p, r->text.len, "\n") || crlf != count(r->text.p, r->text.len, "\r")) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2 || size > 8192) return 0;
    const char *p = (const char *)data + 1, *end = (const char *)data + size;
    const char *a = memchr(p, 0xFF, (size_t)(end - p)), *b = a ? memchr(a + 1, 0xFF, (size_t)(end - a - 1)) : NULL;
    if (!b || b == a + 1) return 0;
    moon__edit e = {.text = p,
                    .text_length = (size_t)(a - p),
                    .old = a + 1,
                    .old_length = (size_t)(b - a - 1),
                    .fresh = b + 1,
                    .fresh_length = (size_t)(end - b - 1),
                    .all = data[0] & 1};
    moon__edit_result r;
    switch (moon__edit_apply(&e, &r)) {
    case MOON__EDIT_DONE:
        if (r.count != 1 && !e.all) abort();
        if (r.count == 1) check_surroundings(&e, &r);
        check_line_endings(&e, &r);
        break;
    case MOON__EDIT_MANY:
        if (r.count < 2 || !r.lines[0] || r.lines[1] < r.lines[0]) abort();
        break;
    case MOON__EDIT_NONE:
        if (r.count || r.last < r.first) abort();
        break;
    case MOON__EDIT_SAME: break;
    case MOON__EDIT_NO_MEMORY: abort();
    }
    moon__bytes_fini(&r.text);
    return 0;
}
