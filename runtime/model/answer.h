/* SPDX-License-Identifier: MIT */
#ifndef MOON_MODEL_ANSWER_H
#define MOON_MODEL_ANSWER_H
/*
 * Gathers what a codec's decode() reports into one answer. Every buffer has a ceiling; the first failure (a ceiling,
 * memory) sticks and later pieces are dropped.
 */
#include "model.h"
#include "names.h"

enum {
    MOON__ANSWER_TEXT = 16 << 20,      /* bytes of text; as many of reasoning */
    MOON__ANSWER_ARGUMENTS = 10 << 20, /* bytes of arguments of one call */
    MOON__ANSWER_CALLS = 64,
};

typedef struct moon__gathered_call {
    int index; /* as the wire said; -1: it did not */
    int order; /* where it stands in the answer; calls of equal order stay as they came */
    moon__buf id, name, arguments;
} moon__gathered_call;

typedef struct moon__gather {
    const moon__names *names;                                               /* may be NULL */
    void (*delta)(void *ctx, moon__delta kind, const char *text, size_t n); /* NULL: nobody listens */
    void *ctx;
    moon__buf text, reasoning;
    moon__gathered_call *calls;
    size_t n_calls, room;
    moon_tool_use *uses; /* made by moon__gather_finish */
    char finish[32];
    moon_usage usage;
    bool has_usage;
    bool begun; /* something of an answer has come */
    bool ended; /* the wire has said: complete */
    moon_status status;
    moon_error error;
} moon__gather;

void moon__gather_init(moon__gather *gather, const moon__names *names);
void moon__gather_fini(moon__gather *gather);
void moon__gather_reset(moon__gather *gather); /* as after init, with the same names and listener */
moon_sink moon__gather_sink(moon__gather *gather);
/* The gathered answer; its text is borrowed from gather. Ids that are missing or come twice are replaced: next_id is
 * the conversation's counter for them. */
MOON_MUST_USE moon_status moon__gather_finish(moon__gather *gather, const moon__price *price, unsigned *next_id,
                                              moon__answer *answer, moon_error *error);
#endif
