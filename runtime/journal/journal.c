/* SPDX-License-Identifier: MIT */
/* Numbering events and handing them on; the names of event types and stop reasons. */
#include "journal.h"

#include <stdio.h>
#include <string.h>

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

moon_stop moon__stop_named(const char *name) {
#define X(stop, text, code)                                                                                            \
    if (name && !strcmp(name, text)) return MOON_STOP_##stop;
    MOON_STOPS(X)
#undef X
    return MOON_STOP_FAILED;
}

bool moon_stop_resumable(moon_stop stop) {
    switch (stop) {
    case MOON_STOP_DONE:
    case MOON_STOP_REPEATED:
    case MOON_STOP_MALFORMED:
    case MOON_STOP_REFUSED:
    case MOON_STOP_SCHEMA: return false;
    default: return true;
    }
}

static bool live_only(moon_event_type type) {
    return type == MOON_EVENT_MODEL_DELTA || type == MOON_EVENT_TOOL_PROGRESS;
}

void moon__journal_init(moon__journal *journal, const moon__clock *clock, moon__random *random) {
    *journal = (moon__journal){.clock = clock};
    journal->end = &journal->first;
    journal->sides_end = &journal->sides;
    moon__id_new(journal->id, random, clock->wall_us(clock->ctx));
}

void moon__journal_free(moon__entry *entries, moon__side *sides) {
    for (moon__entry *e = entries, *next; e; e = next) {
        next = e->next;
        moon__slabs_give(e);
    }
    for (moon__side *s = sides, *next; s; s = next) {
        next = s->next;
        moon__slabs_give(s);
    }
}

static void drop_pending(moon__journal *journal) {
    moon__journal_free(journal->first, journal->sides);
    journal->first = NULL;
    journal->end = &journal->first;
    journal->sides = NULL;
    journal->sides_end = &journal->sides;
}

void moon__journal_fini(moon__journal *journal) {
    drop_pending(journal);
}

void moon__journal_keep(moon__journal *journal, void (*dirty)(void *keeper, moon__journal *journal), void *keeper,
                        moon__slabs *slabs, void (*on_lost)(void *ctx, moon_status status)) {
    journal->kept = true;
    journal->slabs = slabs;
    journal->dirty = dirty;
    journal->keeper = keeper;
    journal->on_lost = on_lost;
}

bool moon__journal_wants(const moon__journal *journal, moon_event_type type) {
    if (live_only(type)) return journal->sink && journal->live;
    return journal->sink || journal->kept;
}

/* ---- gathering ---- */

static void lose(moon__journal *journal, moon_status status) {
    if (journal->lost) return;
    journal->lost = status;
    drop_pending(journal); /* nothing was done because of it; an item of the inbox must not be taken without it */
    journal->on_lost(journal->ctx, status);
}

static char *put(char **storage, const char *text, size_t n) {
    char *at = *storage;
    memcpy(at, text, n);
    at[n] = 0;
    *storage += n + 1;
    return at;
}

static void gather(moon__journal *journal, const moon_event *event, const char *key) {
    if (journal->lost) return;
    size_t path = strlen(event->path), name = strlen(key);
    moon__entry *entry = moon__slabs_take(journal->slabs, sizeof *entry + path + name + event->body_length + 3);
    if (!entry) {
        lose(journal, MOON_ENOMEM);
        return;
    }
    char *storage = entry->storage;
    *entry = (moon__entry){.record = {.seq = event->seq, .type = event->type, .time_us = event->time_us}};
    entry->record.path = put(&storage, event->path, path);
    entry->record.key = put(&storage, key, name);
    entry->record.body = put(&storage, event->body, event->body_length);
    entry->record.body_length = event->body_length;
    *journal->end = entry;
    journal->end = &entry->next;
    journal->dirty(journal->keeper, journal);
}

void moon__journal_append(moon__journal *journal, moon_event_type type, const char *path, const char *key,
                          const moon__buf *body) {
    if (!live_only(type)) journal->seq++;
    if (!moon__journal_wants(journal, type)) return;
    bool whole = body && body->len && !body->status;
    moon_event event = {.type = type,
                        .seq = live_only(type) ? 0 : journal->seq,
                        .time_us = journal->clock->wall_us(journal->clock->ctx),
                        .run = journal->id,
                        .path = path,
                        .body = whole ? body->p : "{}",
                        .body_length = whole ? body->len : 2};
    if (journal->kept && !live_only(type)) {
        if (body && body->status)
            lose(journal, body->status);
        else
            gather(journal, &event, key);
    }
    if (journal->sink) journal->sink(journal->ctx, &event);
}

/* One that has room for n bytes; NULL: there is nobody to give it to. */
static moon__side *new_side(moon__journal *journal, size_t n) {
    if (!journal->kept || journal->lost) return NULL;
    moon__side *s = moon__slabs_take(journal->slabs, sizeof *s + n);
    if (!s)
        lose(journal, MOON_ENOMEM);
    else
        *s = (moon__side){.next = NULL};
    return s;
}

static void add_side(moon__journal *journal, moon__side *s) {
    *journal->sides_end = s;
    journal->sides_end = &s->next;
    journal->dirty(journal->keeper, journal);
}

void moon__journal_side(moon__journal *journal, const moon_side *side) {
    moon__side *s = new_side(journal, 0);
    if (!s) return;
    s->side = *side;
    if (side->info) {
        s->info = *side->info;
        s->side.info = &s->info;
    }
    if (side->key) {
        snprintf(s->key, sizeof s->key, "%s", side->key);
        s->side.key = s->key;
    }
    add_side(journal, s);
}

void moon__journal_blob(moon__journal *journal, const unsigned char hash[MOON_HASH_SIZE], const char *bytes, size_t n) {
    moon__side *s = new_side(journal, n);
    if (!s) return;
    memcpy(s->hash, hash, MOON_HASH_SIZE);
    if (n) memcpy(s->bytes, bytes, n);
    s->side = (moon_side){.kind = MOON_SIDE_BLOB, .hash = s->hash, .bytes = s->bytes, .length = n};
    add_side(journal, s);
}

/* ---- waiting ---- */

bool moon__journal_wait(moon__journal *journal, moon__durable *wait) {
    if (!journal->kept || (!journal->lost && journal->durable >= journal->seq && !journal->sides)) return true;
    wait->seq = journal->seq;
    moon__durable **end = &journal->waits;
    while (*end) end = &(*end)->next;
    wait->next = NULL;
    *end = wait;
    /* What is pending is awaited now; and a journal that is lost has nothing on its way that would call the wait. */
    if (journal->first || journal->sides || journal->lost) journal->dirty(journal->keeper, journal);
    return false;
}

void moon__journal_settled(moon__journal *journal, uint64_t seq, moon_status status) {
    if (status)
        lose(journal, status);
    else if (seq > journal->durable)
        journal->durable = seq;
    while (journal->waits && (journal->lost || journal->waits->seq <= journal->durable)) {
        moon__durable *wait = journal->waits;
        journal->waits = wait->next;
        wait->fn(wait->ctx, journal->lost);
    }
}
