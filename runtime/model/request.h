/* SPDX-License-Identifier: MIT */
#ifndef MOON_MODEL_REQUEST_H
#define MOON_MODEL_REQUEST_H
/*
 * The normal form of a conversation: what makes two requests to a model the same one.
 *
 * Part 0 is what stays the same (model, sampling, tools, output schema), each further part a message; each is one JSON
 * object with its members sorted. What does not matter is not in it: key, address, streaming, ids of tool calls (a
 * result says which call it answers by number), what the model thought, secrets and where the workspace lies (veil.h).
 *
 * Each part has a key, the hash of the key before it and of its text. So the key of the last part is that of the whole
 * request, costs only what is new, and a request knows those that its conversation began with.
 */
#include "hash.h"
#include "model.h"
#include "veil.h"

typedef unsigned char moon__key[MOON__HASH_SIZE];

typedef struct moon__part {
    size_t end; /* of its text, which begins where the one before it ends */
    moon__key key;
} moon__part;

typedef struct moon__request {
    const moon__veil *veil;
    moon__buf text;
    moon__part *parts; /* n of them */
    size_t n, room;
    char **ids; /* n_ids: of the calls of the last answer */
    size_t n_ids;
    int64_t step; /* answers in it, and one */
} moon__request;

/* model: its name; only the last part of a script's path counts. A scripted model sees the agent's name, so it counts
 * there. A request that failed is to be freed like any other. */
MOON_MUST_USE moon_status moon__request_init(moon__request *request, const moon__veil *veil, const moon__model *model,
                                             const moon__chat_settings *settings, moon_error *error);
MOON_MUST_USE moon_status moon__request_add(moon__request *request, const moon_message *message, moon_error *error);
void moon__request_fini(moon__request *request);

const char *moon__request_part(const moon__request *request, size_t index, size_t *length);
const unsigned char *moon__request_key(const moon__request *request);

/* The key after a part's text; before is NULL for part 0. out may be before. */
void moon__key_next(moon__key out, const unsigned char *before, const char *text, size_t n);
#endif
