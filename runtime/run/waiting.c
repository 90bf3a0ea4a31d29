/* SPDX-License-Identifier: MIT */
/*
 * A tree of runs that can go on only when somebody says so, or when its time has come.
 *
 * As long as anything leads on by itself (an answer on its way, a tool that runs, another branch), nothing is decided
 * here. When nothing does, and calls wait for leave, the inbox is read: answers may lie there since before the run was
 * resumed. If none helps and nobody is at a terminal, the run is parked: it stops, and its journal holds the questions.
 * Where somebody can be asked, the inbox is looked at now and then, for the answer may as well come from there.
 *
 * A request that a cassette has no answer to waits likewise: it counts only when nothing else goes on.
 *
 * What is taken from the inbox goes into the journal in the same append that takes it: never twice, never lost.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime.h"
#include "text.h"

enum { LOOK_EVERY_US = 300000, ITEMS_MAX = 1024 };

static void idle(void *ctx);
static void look_again(moon_run *root);

static bool over(const moon_run *root) {
    return root->stopping || root->ended;
}

/* ---- the inbox ---- */

static bool on_item(void *ctx, int64_t item, const char *body, size_t length) {
    moon__waiting *w = ctx;
    moon_json *note = NULL;
    if (w->n_items == ITEMS_MAX) return false;
    if (moon__json_parse(&note, body, length, 0, NULL)) note = NULL; /* taken, and passed over */
    w->items[w->n_items] = item;
    w->notes[w->n_items++] = note;
    return true;
}

/* On the store's thread. */
static moon_status read_inbox(void *ctx, const moon_store_ops *ops, moon_store *store, moon_error *error) {
    moon_run *root = ctx;
    moon__waiting *w = &root->tree->waiting;
    w->items = calloc(ITEMS_MAX, sizeof *w->items);
    w->notes = calloc(ITEMS_MAX, sizeof *w->notes);
    if (!w->items || !w->notes) return moon_error_set(error, MOON_ENOMEM, "no memory for the inbox");
    return ops->inbox(store, root->tree->journal.id, on_item, w, error);
}

static void free_notes(moon__waiting *w) {
    for (size_t i = 0; i < w->n_items; i++) moon__json_free(w->notes[i]);
    free(w->items);
    free(w->notes);
    w->items = NULL;
    w->notes = NULL;
    w->n_items = 0;
}

static void decide(moon_run *root, const moon_json *note) {
    const char *call = moon_json_str(moon_json_get(note, "call"), NULL);
    const char *why = moon_json_str(moon_json_get(note, "why"), NULL);
    bool allow = false;
    moon_json_bool(moon_json_get(note, "allow"), &allow);
    /* An answer to what is not asked, or no longer, changes nothing. */
    moon_status status = call ? moon_run_decide(root, call, allow, why, NULL) : moon__run_decide_all(root, allow, why);
    (void)status;
}

static bool signal(moon_run *root, const moon_json *note) {
    const char *name = moon_json_str(moon_json_get(note, "name"), NULL);
    return name && moon__pause_signal(root, name, moon_json_get(note, "value"));
}

static void on_inbox(void *ctx, moon_status status, const moon_error *error) {
    moon_run *root = ctx;
    moon__tree *tree = root->tree;
    moon__waiting *w = &tree->waiting;
    w->reading = false;
    for (size_t i = 0; !status && i < w->n_items && !over(root); i++) {
        const char *kind = moon_json_str(moon_json_get(w->notes[i], "kind"), NULL);
        if (kind && !strcmp(kind, "signal") && !signal(root, w->notes[i])) continue; /* it stays for who waits later */
        moon__journal_side(&tree->journal, &(moon_side){.kind = MOON_SIDE_TAKE, .item = w->items[i]});
        if (kind && !strcmp(kind, "decision")) decide(root, w->notes[i]);
        if (kind && !strcmp(kind, "cancel"))
            moon__run_stop(root, MOON_STOP_INTERRUPTED, "cancelled by `moonlet cancel`");
    }
    free_notes(w);
    if (status && !over(root)) moon__run_stop(root, MOON_STOP_JOURNAL, error->text);
    w->fresh = true;
    if (!over(root)) {
        look_again(root);
        idle(root);
    }
    moon_run_unref(root);
}

static void on_durable(void *ctx, moon_status status) {
    moon_run *root = ctx;
    moon__waiting *w = &root->tree->waiting;
    moon_error error = {0};
    w->errand = (moon__errand){.work = read_inbox, .done = on_inbox, .ctx = root};
    if (!status && !over(root)) status = moon__keeper_start(root->runtime->keeper, &w->errand, &error);
    if (!status && !over(root)) return;
    w->reading = false;
    if (error.code) moon__run_stop(root, MOON_STOP_JOURNAL, error.text);
    moon_run_unref(root);
}

static void look(moon_run *root) {
    moon__waiting *w = &root->tree->waiting;
    if (w->reading) return;
    w->reading = true;
    moon_run_ref(root);
    w->durable = (moon__durable){.fn = on_durable, .ctx = root};
    if (moon__journal_wait(&root->tree->journal, &w->durable)) on_durable(root, MOON_OK);
}

static bool listens(const moon_run *root) {
    const moon__tree *tree = root->tree;
    if (tree->asked && tree->can_ask) return true;
    for (const moon__pause *p = tree->waiting.pauses; p; p = p->next)
        if (*p->name) return true;
    return false;
}

static void look_again(moon_run *root) {
    moon__waiting *w = &root->tree->waiting;
    if (!root->tree->kept || !listens(root)) return;
    if (moon__timer_start(root->runtime->loop, &w->again, LOOK_EVERY_US))
        moon__run_stop(root, MOON_STOP_FAILED, "no memory for a timer");
}

static void on_time(void *ctx) {
    moon_run *root = ctx;
    if (!over(root) && listens(root)) look(root);
}

/* ---- parking ---- */

static void park(moon_run *root) {
    moon__tree *tree = root->tree;
    char text[200];
    if (!tree->asked)
        snprintf(text, sizeof text, "it waits for time to pass or a signal");
    else if (tree->asked == 1)
        snprintf(text, sizeof text, "%.80s waits for approval", tree->asked_tool);
    else
        snprintf(text, sizeof text, "%u calls wait for approval, the last of %.80s", tree->asked, tree->asked_tool);
    moon__run_stop(root, tree->asked ? MOON_STOP_APPROVAL : MOON_STOP_WAITING, text);
}

/* Whose time was up when its answer did not come: the run or the nearest above it that has a limit of time. */
static moon_run *timed(moon_run *run) {
    while (run && (run->limits.seconds <= 0 || !run->parent)) run = run->parent;
    return run;
}

/* A request that was late ends its branch at once, as its time did then, and whatever follows from that. When there is
 * none, the whole ends. The list has the newest run first; the first one counts. */
static void stop_missed(moon_run *root) {
    const char *why = NULL;
    moon_run *branch = NULL;
    for (moon_run *r = root->runtime->runs; r; r = r->next) {
        bool late = false;
        const char *missed = r->tree == root->tree ? moon__react_missed(r, &late) : NULL;
        moon_run *over_time = missed && late ? timed(r) : NULL;
        if (over_time) branch = over_time;
        if (missed) why = missed;
    }
    if (branch)
        moon__run_stop(branch, MOON_STOP_SECONDS, "the time limit is reached, as it was when this was recorded");
    else
        moon__run_stop(root, MOON_STOP_CASSETTE, why);
}

static void idle(void *ctx) {
    moon_run *root = ctx;
    moon__tree *tree = root->tree;
    moon__waiting *w = &tree->waiting;
    if (!tree->busy && !over(root) && tree->missed) stop_missed(root);
    if (tree->busy || over(root) || (!tree->asked && !w->pauses)) return;
    if (tree->kept && !w->fresh)
        look(root);
    else if (tree->asked ? !tree->can_ask : tree->park)
        park(root);
}

void moon__waiting_changed(moon_run *run) {
    moon__tree *tree = run->tree;
    tree->waiting.fresh = false;
    look_again(tree->root);
    if (!tree->busy) moon__defer_call(run->runtime->loop, &tree->waiting.idle);
}

void moon__run_busy(moon_run *run, int change) {
    moon__tree *tree = run->tree;
    tree->busy += (unsigned)change;
    if (!tree->busy) moon__defer_call(run->runtime->loop, &tree->waiting.idle);
}

void moon__waiting_missed(moon_run *run, int change) {
    run->tree->missed += (unsigned)change;
    moon__run_busy(run, -change);
}

void moon__waiting_asked(moon_run *run, int change) {
    run->tree->asked += (unsigned)change;
    moon__waiting_changed(run);
}

void moon__waiting_look(moon_run *root) {
    if (!over(root)) look(root);
}

void moon__waiting_init(moon_run *root) {
    moon__waiting *w = &root->tree->waiting;
    w->idle = (moon__defer){.fn = idle, .ctx = root};
    w->again = (moon__timer){.fn = on_time, .ctx = root};
}

void moon__waiting_end(moon_run *root) {
    moon__waiting *w = &root->tree->waiting;
    moon__defer_cancel(root->runtime->loop, &w->idle);
    moon__timer_stop(root->runtime->loop, &w->again);
}
