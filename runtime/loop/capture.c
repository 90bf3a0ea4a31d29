/* SPDX-License-Identifier: MIT */
/* Head and tail of a stream. */
#include "capture.h"

#include <inttypes.h>
#include <string.h>

void moon__capture_init(moon__capture *capture, size_t max) {
    *capture = (moon__capture){0};
    moon__buf_init(&capture->kept, max > 2 ? max : 2);
}

void moon__capture_fini(moon__capture *capture) {
    moon__buf_fini(&capture->kept);
}

static void add_to_ring(moon__capture *capture, const char *bytes, size_t n) {
    size_t size = capture->kept.max - capture->kept.max / 2;
    char *ring = capture->kept.p + capture->kept.max / 2;
    capture->dropped += n;
    if (n > size) bytes += n - size, n = size;
    size_t first = size - capture->oldest < n ? size - capture->oldest : n;
    memcpy(ring + capture->oldest, bytes, first);
    memcpy(ring, bytes + first, n - first);
    capture->oldest = (capture->oldest + n) % size;
}

void moon__capture_add(moon__capture *capture, const char *bytes, size_t n) {
    size_t room = capture->kept.max - capture->kept.len;
    if (room > n) room = n;
    moon__buf_add(&capture->kept, bytes, room);
    if (!capture->kept.status && n > room) add_to_ring(capture, bytes + room, n - room);
}

moon_status moon__capture_end(moon__capture *capture) {
    moon__buf *kept = &capture->kept;
    if (kept->status || !capture->dropped) return kept->status;
    size_t half = kept->max / 2;
    moon__buf whole;
    moon__buf_init(&whole, kept->max + 64);
    moon__buf_add(&whole, kept->p, half);
    moon__buf_printf(&whole, "\n[… %" PRIu64 " bytes left out …]\n", capture->dropped);
    moon__buf_add(&whole, kept->p + half + capture->oldest, kept->len - half - capture->oldest);
    moon__buf_add(&whole, kept->p + half, capture->oldest);
    moon__buf_fini(kept);
    *kept = whole;
    return kept->status;
}
