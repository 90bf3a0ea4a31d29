/* SPDX-License-Identifier: MIT */
#ifndef MOON_TOOLS_FINDER_H
#define MOON_TOOLS_FINDER_H
/*
 * Finds the lines of a text that a regular expression (or literal) matches. A match never spans lines: ^ and $ are the
 * ends of a line, and no part of a pattern matches a line ending. moon__finder is compiled once and shared by threads;
 * each thread has a moon__finder_state.
 */
#include <moonlet/tool.h>

typedef struct moon__finder moon__finder;
typedef struct moon__finder_state moon__finder_state;

/* MOON_EINVAL: the pattern is not sound; the error says where and what. */
MOON_MUST_USE moon_status moon__finder_new(moon__finder **out, const char *pattern, size_t n, bool literal,
                                           bool ignore_case, moon_error *error);
void moon__finder_free(moon__finder *finder);
moon__finder_state *moon__finder_state_new(const moon__finder *finder); /* NULL: out of memory */
void moon__finder_state_free(moon__finder_state *state);

typedef struct moon__hit {
    const char *line;
    size_t length;    /* without the line ending */
    size_t at;        /* where in the line the match begins */
    const char *next; /* the following line */
} moon__hit;

typedef enum moon__find { MOON__FIND_NONE, MOON__FIND_HIT, MOON__FIND_COSTLY } moon__find;

/* The first matching line of [text, end); text is the beginning of a line. */
moon__find moon__finder_next(const moon__finder *finder, moon__finder_state *state, const char *text, const char *end,
                             moon__hit *hit);

/* A part of a line that is too long to be had in one piece. */
typedef struct moon__piece {
    const char *text;
    size_t n;     /* without the line ending */
    size_t begin; /* matches begin here or later; what is before is looked back at only */
    bool first, last;
} moon__piece;

/* The first match in it: [*at, *end). ^ and $ are the ends of the line, not those of the piece. */
moon__find moon__finder_piece(const moon__finder *finder, moon__finder_state *state, const moon__piece *piece,
                              size_t *at, size_t *end);

/* ---- pattern.c: what can be known of a pattern without running it ---- */

#include "bytes.h"

typedef struct moon__pattern {
    bool bounded; /* `rewritten` means the same on a whole text as the pattern means line by line */
    moon__bytes rewritten;
    moon__bytes literal; /* bytes that each match has in it; may be empty */
    bool leading;        /* each match begins with at least two known bytes */
    bool utf;            /* code points matter: it has more than ASCII in it, or "." or the like */
} moon__pattern;

bool moon__pattern_read(moon__pattern *out, const char *pattern, size_t n); /* false: out of memory */
void moon__pattern_fini(moon__pattern *pattern);
#endif
