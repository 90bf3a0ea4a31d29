/* SPDX-License-Identifier: MIT */
#ifndef MOON_MODEL_CASSETTE_H
#define MOON_MODEL_CASSETTE_H
/*
 * A folder of recorded answers, and the wrapper around a model that takes its answers from there.
 *
 * Playing, no model is asked: a request without a recording fails. Recording, a request that has one gets it, and any
 * other is asked and kept. Each path of the tree of runs is a lane of its own: equal requests of branches that run side
 * by side have an answer each, whatever comes first. Within a lane the same request gets its recordings in order
 * (playing, the last of them again and again).
 *
 * Files are only added, each whole or not at all and never over another one, so several processes may record into one
 * folder. Loop thread; files are read and written there.
 */
#include "recording.h"

typedef struct moon__cassette moon__cassette;

typedef struct moon__cassette_options {
    const char *dir;
    bool record;           /* the folder is made if it is not there */
    const char *workspace; /* its path is no part of a request; NULL: it is */
} moon__cassette_options;

/* Reads the folder. MOON_ENOTFOUND: there is none. MOON_EPARSE: a file in it is no recording. */
MOON_MUST_USE moon_status moon__cassette_open(moon__cassette **out, moon__loop *loop,
                                              const moon__cassette_options *options, moon_error *error);
void moon__cassette_free(moon__cassette *cassette); /* after all chats */
bool moon__cassette_records(const moon__cassette *cassette);
/* The one model of a provider that all recordings are of; NULL: there are none, or of several. */
const char *moon__cassette_model(const moon__cassette *cassette);

/* Puts the wrapper around *model, whose reference it takes (also when it fails; then *model is NULL). Playing, the
 * model inside is not opened. A request without a recording ends with MOON_ENOTFOUND, and an error that names the
 * nearest one. */
MOON_MUST_USE moon_status moon__cassette_wrap(moon__cassette *cassette, moon__model **model, moon_error *error);

/* To be called before the request in progress is cancelled because its time is up: playing, it gets no answer either
 * (MOON_ENOTFOUND, error->cause MOON__CASSETTE_LATE). Nothing happens if the chat does not record. */
enum { MOON__CASSETTE_LATE = 1 };
MOON_MUST_USE moon_status moon__cassette_late(moon__chat *chat, moon_error *error);

/* ---- between the files of the cassette ---- */

/* The recordings of one request in one lane. */
typedef struct moon__take {
    struct moon__take *next; /* of its bucket */
    char *path;
    moon__key key, after;
    bool follows;
    char **names; /* n files with answers, in order */
    size_t n, room, given;
    char *late; /* the file that says that none came in time; NULL: there is none */
} moon__take;

const moon__veil *moon__cassette_veil(const moon__cassette *cassette);
moon__loop *moon__cassette_loop(const moon__cassette *cassette);
const char *moon__cassette_dir(const moon__cassette *cassette);
/* The key of a model joins the secrets. */
MOON_MUST_USE moon_status moon__cassette_hide(moon__cassette *cassette, const char *secret);
/* A file of it. */
const char *moon__take_file(const moon__take *take);
/* NULL: nothing is recorded of it there. */
moon__take *moon__cassette_find(const moon__cassette *cassette, const char *path, const unsigned char *key);
/* In the order of their files: NULL past the last. */
const moon__take *moon__cassette_at(const moon__cassette *cassette, size_t index);
/* The file whose turn it is; NULL: none. */
const char *moon__cassette_turn(const moon__cassette *cassette, moon__take *take);
MOON_MUST_USE moon_status moon__cassette_read(const moon__cassette *cassette, const char *name,
                                              moon__recording *recording, moon_error *error);
/* answer NULL: none came in time. */
MOON_MUST_USE moon_status moon__cassette_add(moon__cassette *cassette, const char *path, const char *agent,
                                             const moon__request *request, const moon__answer *answer,
                                             moon_error *error);
/* Says in error (MOON_ENOTFOUND) that there is no recording, which is the nearest, and where the two part. */
void moon__cassette_miss(const moon__cassette *cassette, const char *path, const moon__request *request,
                         moon_error *error);
#endif
