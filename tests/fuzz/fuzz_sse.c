/* SPDX-License-Identifier: MIT */
/* Server-sent events: whatever the bytes, cutting them anywhere gives the same events. The first byte says where. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "sse.h"
#include "text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool take(void *ctx, const char *event, const char *text, size_t n) {
    moon__buf *seen = ctx;
    moon__buf_str(seen, event);
    moon__buf_char(seen, 1);
    moon__buf_add(seen, text, n);
    moon__buf_char(seen, 2);
    return true;
}

static moon_status feed(const char *p, size_t n, size_t piece, moon__buf *seen) {
    moon__sse sse;
    moon_status status = MOON_OK;
    moon__sse_init(&sse, 4096);
    while (n && !status) {
        size_t k = piece < n ? piece : n;
        status = moon__sse_feed(&sse, p, k, take, seen);
        p += k;
        n -= k;
    }
    moon__sse_fini(&sse);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!size) return 0;
    moon__buf whole, cut;
    moon__buf_init(&whole, 16 << 20);
    moon__buf_init(&cut, 16 << 20);
    moon_status a = feed((const char *)data + 1, size - 1, size, &whole);
    moon_status b = feed((const char *)data + 1, size - 1, data[0] % 32 + 1, &cut);
    if (a != b || (a == MOON_OK && (whole.len != cut.len || (whole.len && memcmp(whole.p, cut.p, whole.len) != 0))))
        abort();
    moon__buf_fini(&whole);
    moon__buf_fini(&cut);
    return 0;
}
