/* SPDX-License-Identifier: MIT */
#ifndef MOON_LOOP_CAPTURE_H
#define MOON_LOOP_CAPTURE_H
/* What a stream wrote, at most max bytes of it: once there is more, the first half is kept as it is and the second half
 * is a ring with the latest bytes. */
#include "buf.h"

typedef struct moon__capture {
    moon__buf kept;
    size_t oldest;    /* in the ring: where its oldest byte is, from its start */
    uint64_t dropped; /* bytes that are gone from between head and tail */
} moon__capture;

void moon__capture_init(moon__capture *capture, size_t max);
void moon__capture_fini(moon__capture *capture);
void moon__capture_add(moon__capture *capture, const char *bytes, size_t n);
/* Puts the text in order, with the line "[… N bytes left out …]" between head and tail if something is missing. Once.
 */
MOON_MUST_USE moon_status moon__capture_end(moon__capture *capture);
#endif
