/* SPDX-License-Identifier: MIT */
#ifndef MOON_MODEL_RECORDING_H
#define MOON_MODEL_RECORDING_H
/*
 * One recording: a request and the answer to it, as one JSON file of a cassette. docs/cassettes.md has the format.
 *
 * The first of a conversation holds the whole request; one that follows another holds what was added since, and the key
 * of the other. Its own key is computed from what it holds, so that a file says what it is.
 */
#include "answer_json.h"
#include "request.h"

enum { MOON__RECORDING_MAX = 64 << 20 }; /* bytes of a file */

typedef struct moon__recording {
    moon_json *json; /* owned; what is below points into it */
    const char *path;
    int64_t step;
    bool follows; /* another recording, whose key is `after`; else it has `request` */
    moon__key after, key;
    const moon_json *request, *messages, *answer; /* answer NULL: none came in time */
} moon__recording;

/* From the bytes of a file. MOON_EPARSE: they are no recording; the error says why. */
MOON_MUST_USE moon_status moon__recording_read(moon__recording *recording, const char *text, size_t n,
                                               moon_error *error);
void moon__recording_fini(moon__recording *recording);

/* The bytes of a file. Parts up to `shared` are those of the recording that it follows; 0: it follows none. */
typedef struct moon__recorded_ask {
    const char *path, *agent;
    const moon__request *request;
    size_t shared;
    const moon__answer *answer; /* NULL: none came in time */
} moon__recorded_ask;
MOON_MUST_USE moon_status moon__recording_write(moon__buf *out, const moon__recorded_ask *ask, moon_error *error);

/* A recorded answer that is given again, in the workspace of today; there has to be one. */
typedef struct moon__played {
    moon_json *json;
    moon_tool_use *uses;
    moon__answer answer;
} moon__played;
MOON_MUST_USE moon_status moon__played_init(moon__played *played, const moon__recording *recording,
                                            const moon__veil *veil, moon_error *error);
void moon__played_fini(moon__played *played);
#endif
