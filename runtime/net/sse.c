/* SPDX-License-Identifier: MIT */
/*
 * Server-sent events. Bytes become lines, lines become fields, an empty line sends the event off. A line that lies
 * whole in the bytes that are fed is used where it is; only one that is cut by a read is gathered in sse->line.
 *
 * The ceiling counts for every line and every event alike, however the bytes are cut, so that a stream fails at the
 * same place whatever the network does to it.
 */
#include "sse.h"

#include <string.h>

typedef struct sink {
    bool (*fn)(void *ctx, const char *event, const char *data, size_t n);
    void *ctx;
} sink;

void moon__sse_init(moon__sse *sse, size_t max) {
    *sse = (moon__sse){0};
    moon__buf_init(&sse->line, max);
    moon__buf_init(&sse->data, max);
}

void moon__sse_fini(moon__sse *sse) {
    moon__buf_fini(&sse->line);
    moon__buf_fini(&sse->data);
}

void moon__sse_reset(moon__sse *sse) {
    moon__buf_reset(&sse->line);
    moon__buf_reset(&sse->data);
    sse->event[0] = 0;
    sse->has_data = sse->skip_lf = sse->started = false;
}

static moon_status dispatch(moon__sse *sse, const sink *to) {
    bool go_on = true;
    if (sse->has_data) go_on = to->fn(to->ctx, sse->event, sse->data.p ? sse->data.p : "", sse->data.len);
    moon__buf_reset(&sse->data);
    sse->event[0] = 0;
    sse->has_data = false;
    return go_on ? MOON_OK : MOON_ECANCELLED;
}

static moon_status add_data(moon__sse *sse, const char *value, size_t n) {
    if (sse->has_data) moon__buf_char(&sse->data, '\n');
    moon__buf_add(&sse->data, value, n);
    sse->has_data = true;
    return sse->data.status;
}

/* One line without its end. */
static moon_status take_line(moon__sse *sse, const char *line, size_t n, const sink *to) {
    if (!sse->started) {
        sse->started = true;
        if (n >= 3 && !memcmp(line, "\xEF\xBB\xBF", 3)) line += 3, n -= 3;
    }
    if (!n) return dispatch(sse, to);
    const char *colon = memchr(line, ':', n);
    size_t name = colon ? (size_t)(colon - line) : n;
    const char *value = colon ? colon + 1 : line + n;
    size_t length = n - (size_t)(value - line);
    if (length && *value == ' ') value++, length--;
    if (name == 4 && !memcmp(line, "data", 4)) return add_data(sse, value, length);
    if (name == 5 && !memcmp(line, "event", 5)) {
        /* A type that does not fit is none that anybody here knows: cut it. */
        if (length >= sizeof sse->event) length = sizeof sse->event - 1;
        memcpy(sse->event, value, length);
        sse->event[length] = 0;
    }
    return MOON_OK;
}

/* The end of a line has come: the gathered beginning, if there is one, and n bytes. */
static moon_status end_line(moon__sse *sse, const char *bytes, size_t n, const sink *to) {
    if (n > sse->line.max) return MOON_ELIMIT;
    if (!sse->line.len) return take_line(sse, bytes, n, to);
    moon__buf_add(&sse->line, bytes, n);
    if (sse->line.status) return sse->line.status;
    moon_status status = take_line(sse, sse->line.p, sse->line.len, to);
    moon__buf_reset(&sse->line);
    return status;
}

moon_status moon__sse_feed(moon__sse *sse, const char *bytes, size_t n,
                           bool (*fn)(void *ctx, const char *event, const char *data, size_t n), void *ctx) {
    const sink to = {fn, ctx};
    const char *at = bytes, *end = bytes + n;
    /* The next of each, looked for again only when it has been passed: linear also for bytes that are all CR. */
    const char *lf = NULL, *cr = NULL;
    moon_status status = MOON_OK;
    while (at < end) {
        if (sse->skip_lf) {
            sse->skip_lf = false;
            if (*at == '\n' && ++at == end) break;
        }
        if (!lf || lf < at) lf = memchr(at, '\n', (size_t)(end - at));
        if (!lf) lf = end;
        if (!cr || cr < at) cr = memchr(at, '\r', (size_t)(end - at));
        if (!cr) cr = end;
        const char *stop = cr < lf ? cr : lf;
        size_t length = (size_t)(stop - at);
        if (stop == end) {
            moon__buf_add(&sse->line, at, length);
            return sse->line.status;
        }
        sse->skip_lf = *stop == '\r';
        if ((status = end_line(sse, at, length, &to))) return status;
        at = stop + 1;
    }
    return status;
}
