/* SPDX-License-Identifier: MIT */
/* Numbering events and handing them on; the names of event types and stop reasons. */
#include "journal.h"

const char *moon_event_type_text(moon_event_type type) {
    switch (type) {
#define X(name, text)                                                                                                  \
    case MOON_EVENT_##name: return text;
        MOON_EVENTS(X)
#undef X
    }
    return "unknown";
}

const char *moon_stop_text(moon_stop stop) {
    switch (stop) {
#define X(name, text, code)                                                                                            \
    case MOON_STOP_##name: return text;
        MOON_STOPS(X)
#undef X
    }
    return "unknown";
}

int moon_stop_exit_code(moon_stop stop) {
    switch (stop) {
#define X(name, text, code)                                                                                            \
    case MOON_STOP_##name: return code;
        MOON_STOPS(X)
#undef X
    }
    return 1;
}

static bool live_only(moon_event_type type) {
    return type == MOON_EVENT_MODEL_DELTA || type == MOON_EVENT_TOOL_PROGRESS;
}

void moon__journal_init(moon__journal *journal, const moon__clock *clock, moon__random *random) {
    *journal = (moon__journal){.clock = clock};
    moon__id_new(journal->id, random, clock->wall_us(clock->ctx));
}

bool moon__journal_wants(const moon__journal *journal, moon_event_type type) {
    return journal->sink && (journal->live || !live_only(type));
}

void moon__journal_append(moon__journal *journal, moon_event_type type, const char *path, const moon__buf *body) {
    if (!live_only(type)) journal->seq++;
    if (!moon__journal_wants(journal, type)) return;
    moon_event event = {.type = type,
                        .seq = live_only(type) ? 0 : journal->seq,
                        .time_us = journal->clock->wall_us(journal->clock->ctx),
                        .run = journal->id,
                        .path = path,
                        .body = body && body->len ? body->p : "{}",
                        .body_length = body && body->len ? body->len : 2};
    journal->sink(journal->ctx, &event);
}
