/* SPDX-License-Identifier: MIT */
#ifndef MOON_JOURNAL_JOURNAL_H
#define MOON_JOURNAL_JOURNAL_H
/*
 * The journal of one root run: numbers its events, stamps them and hands them to their readers, in order. Everything
 * that is known of a run from outside is read from here.
 *
 * A journal that is kept also gathers each event as a record, for whoever brings records to the store (keeper.h):
 *
 *     append ──► pending ──(taken into a batch)──► in the store: `durable` ──► waits up to there are called
 *
 * An event is final when append returns, and durable when a wait for it has been called with MOON_OK. When the store
 * has refused (somebody else owns the run now, the disk is full), the journal is lost: nothing more is gathered, every
 * wait fails, and the owner is told once.
 *
 * model.delta and tool.progress are shown but not journaled: they have no number, and pass only where somebody asked
 * for them.
 */
#include "buf.h"
#include "clock.h"
#include "ids.h"
#include "record.h"
#include "slab.h"

typedef struct moon__entry {
    struct moon__entry *next;
    moon_record record; /* its text stands in storage; not sealed yet */
    char storage[];
} moon__entry;

/* Something to be done together with the records that are pending. */
typedef struct moon__side {
    struct moon__side *next;
    moon_side side;
    moon_run_info info;                 /* of CREATE and UPDATE */
    char key[64];                       /* of TIMER */
    unsigned char hash[MOON_HASH_SIZE]; /* of a blob whose bytes are the side's own */
    char bytes[];
} moon__side;

/* Called once, from the loop, when the events up to now are durable; or with why they will not be. */
typedef struct moon__durable {
    void (*fn)(void *ctx, moon_status status);
    void *ctx;
    uint64_t seq;
    struct moon__durable *next;
} moon__durable;

typedef struct moon__journal {
    char id[MOON__ID_SIZE];
    uint64_t seq; /* of the last event */
    const moon__clock *clock;
    bool live; /* deltas and progress are wanted */
    void (*sink)(void *ctx, const moon_event *event);
    void *ctx;

    /* Of one that is kept: */
    bool kept;
    void (*dirty)(void *keeper, struct moon__journal *journal); /* there is something pending */
    void *keeper;
    moon__slabs *slabs; /* the keeper's: of what is pending */
    void (*on_lost)(void *ctx, moon_status status);
    moon__entry *first, **end;
    moon__side *sides, **sides_end;
    uint64_t taken, durable;            /* seqs: of the last record taken, and kept */
    unsigned char hash[MOON_HASH_SIZE]; /* of the last record taken; belongs to the batch while one is on its way */
    moon_status lost;
    moon__durable *waits;
    struct moon__journal *next; /* the keeper's */
    bool listed;                /* the keeper's */
} moon__journal;

void moon__journal_init(moon__journal *journal, const moon__clock *clock, moon__random *random);
void moon__journal_fini(moon__journal *journal); /* what is pending is dropped */
/* From now on records are gathered, in pieces of these slabs. seq and hash: of the last one that the store has. */
void moon__journal_keep(moon__journal *journal, void (*dirty)(void *keeper, moon__journal *journal), void *keeper,
                        moon__slabs *slabs, void (*on_lost)(void *ctx, moon_status status));
/* Is anybody interested in events of this type? Where not, their bodies need not be made. */
bool moon__journal_wants(const moon__journal *journal, moon_event_type type);
/* body is one JSON object; path is the run's place in the tree of calls; key tells the event from others of its type
 * there. A body that could not be written loses a journal that is kept: a record without its details would be taken for
 * another one when the run is resumed. */
void moon__journal_append(moon__journal *journal, moon_event_type type, const char *path, const char *key,
                          const moon__buf *body);
/* Adds a side operation to what is pending; what it points to stays until it is durable, but for info and key. */
void moon__journal_side(moon__journal *journal, const moon_side *side);
/* The same for bytes to be kept under their hash, which are copied. */
void moon__journal_blob(moon__journal *journal, const unsigned char hash[MOON_HASH_SIZE], const char *bytes, size_t n);
/* True: all events up to now are durable, or the journal is not kept. Else the wait is called later; it stays its
 * owner's and must live until then. */
bool moon__journal_wait(moon__journal *journal, moon__durable *wait);
/* For the keeper: frees what it took. */
void moon__journal_free(moon__entry *entries, moon__side *sides);
/* For the keeper: records up to seq are in the store; or they are not, and never will be. Waits are called. */
void moon__journal_settled(moon__journal *journal, uint64_t seq, moon_status status);
#endif
