/* SPDX-License-Identifier: MIT */
#include "keeper.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH_JOURNALS = 1024, BATCH_BYTES = 8 << 20, LATER_US = 50000, WATCH_US = 1000000, SPARE_RECORDS = 4096 };

/* One journal's part of a batch. */
typedef struct part {
    moon__journal *journal;
    moon__entry *entries;
    moon__side *sides;
    size_t n_records, n_sides;
} part;

/* One is on its way at a time, and its memory is used again. */
typedef struct batch {
    moon__job job;
    moon__keeper *keeper;
    part *parts;
    moon_append *appends;
    moon_record *records;
    moon_side *sides;
    size_t n, n_records, n_sides;
    size_t parts_room, appends_room, records_room, sides_room;
    moon_status status;
    moon_error error;
} batch;

struct moon__keeper {
    moon__loop *loop;
    moon__pool *pool;
    const moon_store_ops *ops;
    void (*tell)(void *ctx, const char *text);
    void *tell_ctx;
    char *place;
    moon_store *store; /* the thread's */
    moon__defer flush; /* at the end of this turn */
    moon__timer later;
    moon__journal *dirty, **dirty_end;
    moon__slabs slabs; /* of what is pending in all journals */
    batch *spare;      /* NULL: none, or it is on its way */
    bool writing;      /* a batch is on its way */
    bool awaited;      /* somebody waits for what is pending */
    moon_error last;

    void (*changed)(void *ctx, bool others); /* watching for what others write */
    void *changed_ctx;
    unsigned users;
    moon__timer watch;
    moon__errand asking;
    bool asked;
    uint64_t version, seen, first; /* first: when it was opened */

    moon__job opening, closing;
    pthread_mutex_t lock;
    pthread_cond_t told;
    bool opened, drained; /* under lock, as is open_error */
    moon_error open_error;
};

/* ---- opening ---- */

static void free_batch(batch *b) {
    if (!b) return;
    free(b->parts);
    free(b->appends);
    free(b->records);
    free(b->sides);
    free(b);
}

static void open_store(void *ctx) {
    moon__keeper *k = ctx;
    moon_error error = {0};
    moon_store *store = NULL;
    moon_status status = k->ops->open_telling ? k->ops->open_telling(&store, k->place, k->tell, k->tell_ctx, &error)
                                              : k->ops->open(&store, k->place, &error);
    pthread_mutex_lock(&k->lock);
    k->store = status ? NULL : store;
    k->first = status ? 0 : k->ops->version(store);
    k->open_error = error;
    k->open_error.code = status;
    k->opened = true;
    pthread_cond_broadcast(&k->told);
    pthread_mutex_unlock(&k->lock);
}

static void nothing(void *ctx) {
    (void)ctx;
}

moon_status moon__keeper_ready(moon__keeper *k, moon_error *error) {
    pthread_mutex_lock(&k->lock);
    while (!k->opened) pthread_cond_wait(&k->told, &k->lock);
    moon_status status = k->open_error.code;
    if (status && error) *error = k->open_error;
    pthread_mutex_unlock(&k->lock);
    return status;
}

static void flush(void *ctx);

moon_status moon__keeper_new(moon__keeper **out, moon__loop *loop, const moon__store_place *place, moon_error *error) {
    moon__keeper *k = calloc(1, sizeof *k);
    if (!k) return moon_error_set(error, MOON_ENOMEM, "no memory for the journal");
    k->loop = loop;
    k->ops = place->ops;
    k->tell = place->tell;
    k->tell_ctx = place->tell_ctx;
    k->place = strdup(place->place);
    k->flush = (moon__defer){.fn = flush, .ctx = k};
    k->later = (moon__timer){.fn = flush, .ctx = k};
    k->dirty_end = &k->dirty;
    k->opening = (moon__job){.work = open_store, .done = nothing, .ctx = k};
    pthread_mutex_init(&k->lock, NULL);
    pthread_cond_init(&k->told, NULL);
    moon_status status = k->place ? moon__pool_new(&k->pool, loop, 1, error)
                                  : moon_error_set(error, MOON_ENOMEM, "no memory for the journal");
    if (!status) status = moon__pool_submit(k->pool, &k->opening, error);
    if (status)
        moon__keeper_free(k);
    else
        *out = k;
    return status;
}

static void tell_drained(void *ctx) {
    moon__keeper *k = ctx;
    pthread_mutex_lock(&k->lock);
    k->drained = true;
    pthread_cond_broadcast(&k->told);
    pthread_mutex_unlock(&k->lock);
}

/* Waits until all that was given to the thread is done: the pool drops what it has not begun. */
static void drain(moon__keeper *k) {
    k->closing = (moon__job){.work = tell_drained, .done = nothing, .ctx = k};
    if (!k->pool || moon__pool_submit(k->pool, &k->closing, NULL)) return; /* there is no thread */
    pthread_mutex_lock(&k->lock);
    while (!k->drained) pthread_cond_wait(&k->told, &k->lock);
    pthread_mutex_unlock(&k->lock);
}

void moon__keeper_free(moon__keeper *k) {
    if (!k) return;
    moon__defer_cancel(k->loop, &k->flush);
    moon__timer_stop(k->loop, &k->later);
    moon__timer_stop(k->loop, &k->watch);
    drain(k);
    moon__pool_free(k->pool);
    if (k->store) k->ops->close(k->store);
    pthread_cond_destroy(&k->told);
    pthread_mutex_destroy(&k->lock);
    free_batch(k->spare);
    moon__slabs_fini(&k->slabs);
    free(k->place);
    free(k);
}

/* ---- writing ---- */

/* Has the next batch written when its time has come: at once if somebody waits. */
static void schedule(moon__keeper *k) {
    if (k->writing || !k->dirty) return;
    if (k->awaited || (!k->later.at && moon__timer_start(k->loop, &k->later, LATER_US)))
        moon__defer_call(k->loop, &k->flush);
}

static void on_dirty(void *ctx, moon__journal *journal) {
    moon__keeper *k = ctx;
    if (!journal->listed) {
        journal->listed = true;
        journal->next = NULL;
        *k->dirty_end = journal;
        k->dirty_end = &journal->next;
    }
    k->awaited = k->awaited || journal->waits || journal->lost;
    schedule(k);
}

void moon__keeper_forget(moon__keeper *k, moon__journal *journal) {
    if (!journal->listed) return;
    moon__journal **at = &k->dirty;
    while (*at != journal) at = &(*at)->next;
    *at = journal->next;
    if (!*at) k->dirty_end = at;
    journal->listed = false;
}

void moon__keeper_keep(moon__keeper *k, moon__journal *journal, void (*on_lost)(void *ctx, moon_status status)) {
    moon__journal_keep(journal, on_dirty, k, &k->slabs, on_lost);
}

/* A large one is rare, and not kept. */
static void done_with(moon__keeper *k, batch *b) {
    if (!b) return;
    for (size_t i = 0; i < b->n; i++) moon__journal_free(b->parts[i].entries, b->parts[i].sides);
    b->n = b->n_records = b->n_sides = 0;
    b->error = (moon_error){0};
    if (b->records_room > SPARE_RECORDS || b->sides_room > SPARE_RECORDS)
        free_batch(b);
    else
        k->spare = b;
}

static batch *take_batch(moon__keeper *k) {
    batch *b = k->spare;
    k->spare = NULL;
    return b ? b : calloc(1, sizeof *b);
}

/* The array, with room for n of them, whatever they are; NULL: no memory. What was in it is lost. */
static void *room_for(void *array, size_t *room, size_t n, size_t size) {
    if (array && n <= *room) return array;
    size_t more = n + n / 2 + 1;
    free(array);
    array = malloc(more * size);
    *room = array ? more : 0;
    return array;
}

/* On the store's thread: chains the records, then writes all. */
static void write_batch(void *ctx) {
    batch *b = ctx;
    moon__keeper *k = b->keeper;
    size_t r = 0, s = 0;
    for (size_t i = 0; i < b->n; i++) {
        part *p = &b->parts[i];
        moon__journal *j = p->journal;
        moon_append *a = &b->appends[i];
        *a = (moon_append){.run = j->id,
                           .expected = j->taken - p->n_records,
                           .records = &b->records[r],
                           .n_records = p->n_records,
                           .sides = &b->sides[s],
                           .n_sides = p->n_sides};
        for (moon__entry *e = p->entries; e; e = e->next) {
            moon__record_seal(&e->record, j->hash);
            memcpy(j->hash, e->record.hash, MOON_HASH_SIZE);
            b->records[r++] = e->record;
        }
        for (moon__side *side = p->sides; side; side = side->next) b->sides[s++] = side->side;
    }
    b->status = k->store ? k->ops->append(k->store, b->appends, b->n, &b->error)
                         : moon_error_set(&b->error, MOON_EIO, "the journal is not open");
}

static void on_written(void *ctx) {
    batch *b = ctx;
    moon__keeper *k = b->keeper;
    k->writing = false;
    if (b->status || b->error.code) k->last = b->error;
    for (size_t i = 0; i < b->n; i++) {
        moon__journal *j = b->parts[i].journal;
        moon_status status = b->status ? b->status : b->appends[i].status;
        moon__journal_settled(j, b->appends[i].expected + b->appends[i].n_records, status);
    }
    done_with(k, b);
    schedule(k);
}

/* Takes journals off the list until a batch is full; false when memory is out. */
static bool gather(moon__keeper *k, batch *b) {
    size_t bytes = 0, count = 0;
    for (moon__journal *j = k->dirty; j && count < BATCH_JOURNALS; j = j->next) count++;
    b->parts = room_for(b->parts, &b->parts_room, count, sizeof *b->parts);
    b->appends = room_for(b->appends, &b->appends_room, count, sizeof *b->appends);
    if (!b->parts || !b->appends) return false;
    while (k->dirty && b->n < count && bytes < BATCH_BYTES) {
        moon__journal *j = k->dirty;
        part *p = &b->parts[b->n++];
        if (!(k->dirty = j->next)) k->dirty_end = &k->dirty;
        j->listed = false;
        *p = (part){.journal = j, .entries = j->first, .sides = j->sides};
        for (moon__entry *e = j->first; e; e = e->next, p->n_records++) bytes += e->record.body_length + 200;
        for (moon__side *s = j->sides; s; s = s->next) p->n_sides++;
        j->first = NULL;
        j->end = &j->first;
        j->sides = NULL;
        j->sides_end = &j->sides;
        j->taken += p->n_records;
        b->n_records += p->n_records;
        b->n_sides += p->n_sides;
    }
    b->records = room_for(b->records, &b->records_room, b->n_records, sizeof *b->records);
    b->sides = room_for(b->sides, &b->sides_room, b->n_sides, sizeof *b->sides);
    return b->records && b->sides;
}

/* What cannot be brought to the store is lost, and so is the run; never is it dropped in silence. */
static void give_up(moon__keeper *k, batch *b, moon_status status) {
    for (size_t i = 0; b && i < b->n; i++) moon__journal_settled(b->parts[i].journal, 0, status);
    while (k->dirty) {
        moon__journal *j = k->dirty;
        if (!(k->dirty = j->next)) k->dirty_end = &k->dirty;
        j->listed = false;
        moon__journal_settled(j, 0, status);
    }
}

/* A journal that is lost has nothing to write any more: its waits only have to be told. */
static void flush(void *ctx) {
    moon__keeper *k = ctx;
    if (k->writing || !k->dirty) return;
    batch *b = take_batch(k);
    moon_error error = {0};
    if (!b || !gather(k, b)) {
        give_up(k, b, MOON_ENOMEM);
        done_with(k, b);
        return;
    }
    moon__timer_stop(k->loop, &k->later);
    k->awaited = k->dirty != NULL; /* what did not fit into this batch goes with the next */
    b->keeper = k;
    b->job = (moon__job){.work = write_batch, .done = on_written, .ctx = b};
    k->writing = true;
    if (moon__pool_submit(k->pool, &b->job, &error) == MOON_OK) return;
    k->writing = false;
    give_up(k, b, error.code);
    done_with(k, b);
}

const char *moon__keeper_place(const moon__keeper *k) {
    return k->place;
}

const char *moon__keeper_error(const moon__keeper *k) {
    return k->last.text;
}

/* ---- other work ---- */

static void run_errand(void *ctx) {
    moon__errand *e = ctx;
    moon__keeper *k = e->keeper;
    e->status = k->store ? e->work(e->ctx, k->ops, k->store, &e->error)
                         : moon_error_set(&e->error, MOON_EIO, "the journal is not open");
}

static void errand_done(void *ctx) {
    moon__errand *e = ctx;
    e->done(e->ctx, e->status, &e->error);
}

moon_status moon__keeper_start(moon__keeper *k, moon__errand *e, moon_error *error) {
    e->keeper = k;
    e->status = MOON_OK;
    e->error = (moon_error){0};
    e->job = (moon__job){.work = run_errand, .done = errand_done, .ctx = e};
    return moon__pool_submit(k->pool, &e->job, error);
}

/* An errand that somebody waits for. The pool tells its end to the loop later: it is freed by whoever is last. */
typedef struct awaited {
    moon__errand errand;
    bool over; /* under the keeper's lock */
    unsigned refs;
} awaited;

static void tell_awaited(void *ctx) {
    awaited *a = ctx;
    moon__keeper *k = a->errand.keeper;
    run_errand(&a->errand);
    pthread_mutex_lock(&k->lock);
    a->over = true;
    pthread_cond_broadcast(&k->told);
    pthread_mutex_unlock(&k->lock);
}

static void drop_awaited(void *ctx) {
    awaited *a = ctx;
    if (--a->refs == 0) free(a);
}

moon_status moon__keeper_do(moon__keeper *k, moon__keeper_work work, void *ctx, moon_error *error) {
    moon_status status = moon__keeper_ready(k, error);
    if (status) return status;
    awaited *a = calloc(1, sizeof *a);
    if (!a) return moon_error_set(error, MOON_ENOMEM, "no memory for the journal");
    *a = (awaited){.errand = {.work = work, .ctx = ctx, .keeper = k}, .refs = 2};
    a->errand.job = (moon__job){.work = tell_awaited, .done = drop_awaited, .ctx = a};
    status = moon__pool_submit(k->pool, &a->errand.job, error);
    if (status) {
        free(a);
        return status;
    }
    pthread_mutex_lock(&k->lock);
    while (!a->over) pthread_cond_wait(&k->told, &k->lock);
    pthread_mutex_unlock(&k->lock);
    status = a->errand.status;
    if (status && error) *error = a->errand.error;
    drop_awaited(a);
    return status;
}

/* ---- watching ---- */

static void on_watch(void *ctx);

static void watch_again(moon__keeper *k) {
    k->watch = (moon__timer){.fn = on_watch, .ctx = k, .at = k->watch.at};
    if (k->users && !k->watch.at && moon__timer_start(k->loop, &k->watch, WATCH_US))
        k->users = 0; /* no memory: blind */
}

static moon_status ask_version(void *ctx, const moon_store_ops *ops, moon_store *store, moon_error *error) {
    moon__keeper *k = ctx;
    (void)error;
    k->version = ops->version(store);
    return MOON_OK;
}

static void on_version(void *ctx, moon_status status, const moon_error *error) {
    moon__keeper *k = ctx;
    (void)error;
    k->asked = false;
    if (!status && k->version != k->seen && k->users) k->changed(k->changed_ctx, k->version != k->first);
    k->seen = k->version;
    watch_again(k);
}

static void on_watch(void *ctx) {
    moon__keeper *k = ctx;
    if (!k->users || k->asked) return;
    k->asking = (moon__errand){.work = ask_version, .done = on_version, .ctx = k};
    k->asked = moon__keeper_start(k, &k->asking, NULL) == MOON_OK;
}

void moon__keeper_watch(moon__keeper *k, void (*changed)(void *ctx, bool others), void *ctx) {
    k->changed = changed;
    k->changed_ctx = ctx;
}

void moon__keeper_users(moon__keeper *k, int change) {
    k->users += (unsigned)change;
    if (!k->users)
        moon__timer_stop(k->loop, &k->watch);
    else if (!k->asked)
        watch_again(k);
}

typedef struct leaving {
    moon__job job;
    moon__keeper *keeper;
    char run[MOON__ID_SIZE];
} leaving;

static void leave(void *ctx) {
    leaving *l = ctx;
    if (l->keeper->store) l->keeper->ops->release(l->keeper->store, l->run);
}

void moon__keeper_release(moon__keeper *k, const char *run) {
    leaving *l = calloc(1, sizeof *l);
    if (!l) return; /* the claim then lasts as long as the process */
    l->keeper = k;
    l->job = (moon__job){.work = leave, .done = free, .ctx = l};
    memcpy(l->run, run, strnlen(run, sizeof l->run - 1));
    if (moon__pool_submit(k->pool, &l->job, NULL)) free(l);
}
