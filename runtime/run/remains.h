/* SPDX-License-Identifier: MIT */
#ifndef MOON_RUN_REMAINS_H
#define MOON_RUN_REMAINS_H
/*
 * What tools leave beside their results: a text that was too long and was put aside (@spill/N.txt), and what they have
 * seen of files. It is written into the event of the result (the text as a blob of the store), and put back into the
 * scratch of a run that is resumed, in the order of the journal.
 */
#include "call.h"
#include "journal.h"

/* Adds the members of a tool.result: spill, spill_sha256, seen. The text goes to the store with it. */
void moon__remains_write(moon__jw *w, moon__journal *journal, const moon__call_result *result);

typedef struct moon__spilled {
    char name[32];
    unsigned char hash[MOON_HASH_SIZE];
} moon__spilled;

/* A part of the run that works in a work tree of its own (worktree.h). */
typedef struct moon__annex {
    struct moon__annex *next;
    moon__scratch *scratch;
    char path[]; /* of the run, in its tree */
} moon__annex;
/* What is kept of the part of this path, taken out of the list; NULL: nothing. The caller's. */
moon__scratch *moon__annex_take(moon__annex **parts, const char *path);
void moon__annexes_free(moon__annex *parts);

/* Gathered while a journal is read, on the store's thread. */
typedef struct moon__remains {
    moon__scratch *scratch; /* NULL: nothing is gathered */
    moon__spilled *spills;
    size_t n, room;
    moon__annex *annexes; /* the newest first */
} moon__remains;
MOON_MUST_USE moon_status moon__remains_add(moon__remains *remains, const moon_record *record);
/* Writes what was put aside. What the store does not have (of a journal that was imported) is left out. */
MOON_MUST_USE moon_status moon__remains_fetch(const moon__remains *remains, const moon_store_ops *ops,
                                              moon_store *store, moon_error *error);
void moon__remains_fini(moon__remains *remains); /* scratch and parts too, unless they were taken (set to NULL) */
#endif
