/* SPDX-License-Identifier: MIT */
#ifndef MOON_RUN_KEEPER_H
#define MOON_RUN_KEEPER_H
/*
 * The keeper brings journals to the store. It owns the store and the one thread that uses it.
 *
 * What is pending in all journals is taken into one batch, which the thread writes in one transaction: at the end of
 * the turn of the loop if somebody waits for it, else some milliseconds after the first of it came. While a batch is on
 * its way, the next one gathers. So a thousand runs share a commit, and who waits, waits for one.
 */
#include "journal.h"
#include "pool.h"

typedef struct moon__keeper moon__keeper;

/* Where a store is, and who is told (on the store's thread) what takes long while it is opened; tell may be NULL. */
typedef struct moon__store_place {
    const moon_store_ops *ops;
    const char *place;
    void (*tell)(void *ctx, const char *text);
    void *tell_ctx;
} moon__store_place;

/* Starts opening the store; whether that went well is told by ready(). */
MOON_MUST_USE moon_status moon__keeper_new(moon__keeper **out, moon__loop *loop, const moon__store_place *place,
                                           moon_error *error);
/* Waits until the store is open. */
MOON_MUST_USE moon_status moon__keeper_ready(moon__keeper *keeper, moon_error *error);
/* All journals must be settled. NULL is fine. */
void moon__keeper_free(moon__keeper *keeper);
/* The journal is about to go: nothing more of it is written. None of it may be on its way. */
void moon__keeper_forget(moon__keeper *keeper, moon__journal *journal);
void moon__keeper_keep(moon__keeper *keeper, moon__journal *journal, void (*on_lost)(void *ctx, moon_status status));

/* Calls work on the store's thread, after all that was given to it before, and waits for it: some milliseconds. For
 * what is done once per run, or by somebody who waits anyway. */
typedef moon_status (*moon__keeper_work)(void *ctx, const moon_store_ops *ops, moon_store *store, moon_error *error);
MOON_MUST_USE moon_status moon__keeper_do(moon__keeper *keeper, moon__keeper_work work, void *ctx, moon_error *error);
/* The same without waiting: done comes from the loop. The errand is embedded in its owner and stays until then. */
typedef struct moon__errand {
    moon__keeper_work work;
    void (*done)(void *ctx, moon_status status, const moon_error *error);
    void *ctx;
    /* the keeper's: */
    moon__job job;
    moon__keeper *keeper;
    moon_status status;
    moon_error error;
} moon__errand;
MOON_MUST_USE moon_status moon__keeper_start(moon__keeper *keeper, moon__errand *errand, moon_error *error);
/* changed is called now and then, from the loop, when somebody else has written to the store; as long as runs are kept:
 * users counts them. And once at first, for what was written before the store was opened: others is false if nothing
 * came since. */
void moon__keeper_watch(moon__keeper *keeper, void (*changed)(void *ctx, bool others), void *ctx);
void moon__keeper_users(moon__keeper *keeper, int change);
/* Gives up the claim on a run, after what is pending. */
void moon__keeper_release(moon__keeper *keeper, const char *run);
const char *moon__keeper_place(const moon__keeper *keeper);
const char *moon__keeper_error(const moon__keeper *keeper); /* what the store said last; "" if nothing */
#endif
