/* SPDX-License-Identifier: MIT */
#include "replay.h"
#include "slab.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A path at which something was recorded, or which has children. */
typedef struct place {
    struct place *next; /* in its bucket */
    uint64_t hash;
    size_t open;   /* operations that were not used */
    uint64_t last; /* seq of its last one */
    moon_usage spent;
    bool run, driven; /* a run stands there; and is driven, since then */
    int64_t since_us, driven_us;
    char path[];
} place;

typedef struct item {
    moon__recorded recorded; /* first */
    uint64_t hash;
    struct item *next;  /* in its bucket */
    struct item *after; /* in the order they were added */
    place *place;       /* NULL: no operation */
    char *body;         /* owned; the rest stands in text */
    char text[];
} item;

struct moon__replay {
    item **buckets;
    size_t n_buckets, n;
    item *first, **end;
    place **places; /* n_place_buckets of lists */
    size_t n_place_buckets, n_places;
    moon__slabs slabs; /* of all that is below */
    uint64_t shared;
    int64_t last_us, driven_us; /* time of the last record; for how long the root was driven up to it */
    bool begun;
};

moon__replay *moon__replay_new(void) {
    moon__replay *r = calloc(1, sizeof *r);
    if (!r) return NULL;
    r->end = &r->first;
    r->n_buckets = 64;
    r->n_place_buckets = 64;
    r->buckets = calloc(r->n_buckets, sizeof(item *));
    r->places = calloc(r->n_place_buckets, sizeof(place *));
    if (r->buckets && r->places) return r;
    moon__replay_free(r);
    return NULL;
}

void moon__replay_free(moon__replay *r) {
    if (!r) return;
    for (item *i = r->first, *next; i; i = next) {
        next = i->after;
        moon__slabs_give(i->body);
        moon__slabs_give(i);
    }
    for (size_t b = 0; r->places && b < r->n_place_buckets; b++)
        for (place *p = r->places[b], *next; p; p = next) {
            next = p->next;
            moon__slabs_give(p);
        }
    moon__slabs_fini(&r->slabs);
    free(r->places);
    free(r->buckets);
    free(r);
}

static uint64_t hash_of(moon_event_type type, const char *path, const char *key) {
    return moon_hash(path, strlen(path)) * 31 + moon_hash(key, strlen(key)) * 7 + (uint64_t)type;
}

static bool is_operation(moon_event_type type) {
    return type == MOON_EVENT_RUN_CREATED || type == MOON_EVENT_MODEL_RESPONSE || type == MOON_EVENT_TOOL_RESULT ||
           type == MOON_EVENT_VALUE_RECORDED;
}

static place *look_up(const moon__replay *r, uint64_t hash, const char *path, size_t n) {
    for (place *p = r->places[hash & (r->n_place_buckets - 1)]; p; p = p->next)
        if (p->hash == hash && !strncmp(p->path, path, n) && !p->path[n]) return p;
    return NULL;
}

static place *find_place(const moon__replay *r, const char *path, size_t n) {
    return look_up(r, moon_hash(path, n), path, n);
}

static void put_place(place **buckets, size_t n, place *p) {
    place **bucket = &buckets[p->hash & (n - 1)];
    p->next = *bucket;
    *bucket = p;
}

static bool grow_places(moon__replay *r) {
    size_t n = r->n_place_buckets * 2;
    place **buckets = calloc(n, sizeof(place *));
    if (!buckets) return false;
    for (size_t b = 0; b < r->n_place_buckets; b++)
        for (place *p = r->places[b], *next; p; p = next) {
            next = p->next;
            put_place(buckets, n, p);
        }
    free(r->places);
    r->places = buckets;
    r->n_place_buckets = n;
    return true;
}

static place *make_place(moon__replay *r, const char *path, size_t n) {
    uint64_t hash = moon_hash(path, n);
    place *p = look_up(r, hash, path, n);
    if (p) return p;
    if (r->n_places >= r->n_place_buckets && !grow_places(r)) return NULL;
    p = moon__slabs_take(&r->slabs, sizeof *p + n + 1);
    if (!p) return NULL;
    *p = (place){.hash = hash, .spent = {.usd = -1}};
    memcpy(p->path, path, n);
    p->path[n] = 0;
    put_place(r->places, r->n_place_buckets, p);
    r->n_places++;
    return p;
}

/* ---- time and use ---- */

void moon__replay_share(moon__replay *r, uint64_t seq) {
    r->shared = seq;
}

static void drive(const moon__replay *r, place *p, bool on) {
    if (on && !p->driven) p->since_us = r->driven_us;
    if (!on && p->driven) p->driven_us += r->driven_us - p->since_us;
    p->driven = on;
}

/* A process that takes the run up drives all in it that had ended early, too: what had ended for good asks no more. */
static void drive_all(moon__replay *r) {
    for (size_t b = 0; b < r->n_place_buckets; b++)
        for (place *p = r->places[b]; p; p = p->next)
            if (p->run) drive(r, p, true);
}

static moon_status count_time(moon__replay *r, const moon_record *record) {
    bool counts = r->begun && record->seq > r->shared && record->type != MOON_EVENT_RUN_CLAIMED;
    if (counts && record->time_us > r->last_us) r->driven_us += record->time_us - r->last_us;
    r->last_us = record->time_us;
    r->begun = true;
    if (record->type == MOON_EVENT_RUN_CLAIMED) drive_all(r);
    if (!*record->path || (record->type != MOON_EVENT_RUN_CREATED && record->type != MOON_EVENT_RUN_FINISHED))
        return MOON_OK;
    place *p = make_place(r, record->path, strlen(record->path));
    if (!p) return MOON_ENOMEM;
    p->run = true;
    drive(r, p, record->type == MOON_EVENT_RUN_CREATED);
    return MOON_OK;
}

int64_t moon__replay_driven(const moon__replay *r, const char *path) {
    if (!*path) return r->driven_us;
    const place *p = find_place(r, path, strlen(path));
    if (!p) return 0;
    return p->driven_us + (p->driven ? r->driven_us - p->since_us : 0);
}

static void add_usage(moon_usage *to, const moon_usage *more) {
    to->input_tokens += more->input_tokens;
    to->cached_tokens += more->cached_tokens;
    to->output_tokens += more->output_tokens;
    to->reasoning_tokens += more->reasoning_tokens;
    to->steps += more->steps;
    to->tool_calls += more->tool_calls;
    if (more->usd >= 0) to->usd = fmax(to->usd, 0) + more->usd;
}

moon_status moon__replay_spend(moon__replay *r, const char *path, const moon_usage *usage) {
    for (size_t n = strlen(path);; n--) {
        if (n && path[n] && path[n] != '.') continue;
        place *p = make_place(r, path, n);
        if (!p) return MOON_ENOMEM;
        add_usage(&p->spent, usage);
        if (!n) return MOON_OK;
    }
}

moon_usage moon__replay_spent(const moon__replay *r, const char *path) {
    const place *p = find_place(r, path, strlen(path));
    return p ? p->spent : (moon_usage){.usd = -1};
}

/* ---- records ---- */

/* The path whose operation a record is: a run is one of the run that started it. The root is nobody's. */
static bool owner_of(const moon__recorded *recorded, size_t *n) {
    *n = strlen(recorded->path);
    if (!is_operation(recorded->type)) return false;
    if (recorded->type != MOON_EVENT_RUN_CREATED) return true;
    const char *dot = strrchr(recorded->path, '.');
    bool child = *n > 0;
    *n = dot ? (size_t)(dot - recorded->path) : 0;
    return child;
}

/* "b4", "c3.b4": which of several branches decided, written as soon as it has ended. */
static bool only_decides(const moon__recorded *recorded) {
    const char *dot = strrchr(recorded->key, '.'), *name = dot ? dot + 1 : recorded->key;
    return recorded->type == MOON_EVENT_VALUE_RECORDED && *name == 'b';
}

static bool grow(moon__replay *r) {
    size_t n = r->n_buckets * 2;
    item **buckets = calloc(n, sizeof(item *));
    if (!buckets) return false;
    for (item *i = r->first; i; i = i->after) {
        i->next = buckets[i->hash & (n - 1)];
        buckets[i->hash & (n - 1)] = i;
    }
    free(r->buckets);
    r->buckets = buckets;
    r->n_buckets = n;
    return true;
}

static item *find(const moon__replay *r, uint64_t hash, moon_event_type type, const char *path, const char *key) {
    for (item *i = r->buckets[hash & (r->n_buckets - 1)]; i; i = i->next)
        if (i->hash == hash && i->recorded.type == type && !strcmp(i->recorded.path, path) &&
            !strcmp(i->recorded.key, key))
            return i;
    return NULL;
}

static moon_status add_new(moon__replay *r, uint64_t hash, const moon_record *record, item **out) {
    size_t path = strlen(record->path) + 1, key = strlen(record->key) + 1, n;
    item *i = moon__slabs_take(&r->slabs, sizeof *i + path + key);
    if (!i) return MOON_ENOMEM;
    *i = (item){.hash = hash};
    memcpy(i->text, record->path, path);
    memcpy(i->text + path, record->key, key);
    i->recorded = (moon__recorded){.type = record->type, .path = i->text, .key = i->text + path};
    if (owner_of(&i->recorded, &n)) {
        i->place = make_place(r, i->text, n);
        if (!i->place) {
            moon__slabs_give(i);
            return MOON_ENOMEM;
        }
        i->place->open++;
    }
    *r->end = i;
    r->end = &i->after;
    i->next = r->buckets[hash & (r->n_buckets - 1)];
    r->buckets[hash & (r->n_buckets - 1)] = i;
    r->n++;
    *out = i;
    return MOON_OK;
}

moon_status moon__replay_add(moon__replay *r, const moon_record *record) {
    if ((r->n >= r->n_buckets && !grow(r)) || count_time(r, record)) return MOON_ENOMEM;
    uint64_t hash = hash_of(record->type, record->path, record->key);
    char *body = moon__slabs_take(&r->slabs, record->body_length + 1);
    if (!body) return MOON_ENOMEM;
    memcpy(body, record->body, record->body_length);
    body[record->body_length] = 0;
    item *i = find(r, hash, record->type, record->path, record->key);
    moon_status status = i ? MOON_OK : add_new(r, hash, record, &i);
    if (status) {
        moon__slabs_give(body);
        return status;
    }
    moon__slabs_give(i->body);
    i->body = body;
    i->recorded.body = body;
    i->recorded.body_length = record->body_length;
    i->recorded.seq = record->seq;
    if (i->place && i->place->last < record->seq && !only_decides(&i->recorded)) i->place->last = record->seq;
    i->recorded.time_us = record->time_us;
    return MOON_OK;
}

const moon__recorded *moon__replay_find(const moon__replay *r, moon_event_type type, const char *path,
                                        const char *key) {
    const item *i = find(r, hash_of(type, path, key), type, path, key);
    return i ? &i->recorded : NULL;
}

const moon__recorded *moon__replay_latest(const moon__replay *r, moon_event_type type, const char *path) {
    const moon__recorded *last = NULL;
    for (const item *i = r->first; i; i = i->after)
        if (i->recorded.type == type && !strcmp(i->recorded.path, path) && (!last || i->recorded.seq > last->seq))
            last = &i->recorded;
    return last;
}

void moon__replay_use(moon__replay *r, const moon__recorded *recorded) {
    (void)r;
    item *i = (item *)(uintptr_t)recorded;
    if (i->recorded.used) return;
    i->recorded.used = true;
    if (i->place) i->place->open--;
}

uint64_t moon__replay_last(const moon__replay *r, const char *path, size_t length) {
    const place *p = find_place(r, path, length);
    return p ? p->last : 0;
}

/* A value "c3.t1" is of the call c3, and so with a hook: once what came of it was taken, nothing of it is done again.
 */
static bool within_used(const moon__replay *r, const moon__recorded *value) {
    char of[64];
    size_t n = strcspn(value->key, ".");
    if (value->type != MOON_EVENT_VALUE_RECORDED || !value->key[n] || n >= sizeof of) return false;
    memcpy(of, value->key, n);
    of[n] = 0;
    const moon__recorded *result = moon__replay_find(r, MOON_EVENT_TOOL_RESULT, value->path, of);
    if (!result) result = moon__replay_find(r, MOON_EVENT_HOOK_DECIDED, value->path, of);
    return result && result->used;
}

const moon__recorded *moon__replay_left(const moon__replay *r, const char *path) {
    const place *p = find_place(r, path, strlen(path));
    if (!p || !p->open) return NULL;
    for (const item *i = r->first; i; i = i->after)
        if (i->place == p && !i->recorded.used && !within_used(r, &i->recorded)) return &i->recorded;
    return NULL;
}
