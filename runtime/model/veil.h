/* SPDX-License-Identifier: MIT */
#ifndef MOON_MODEL_VEIL_H
#define MOON_MODEL_VEIL_H
/*
 * What must not, or need not, stand in a text that is kept: secrets become "***", the workspace's absolute path becomes
 * MOON__WORKSPACE_SIGN, so that a recording is the same wherever the workspace lies. Veiling a veiled text changes
 * nothing.
 *
 * Secrets are the values of environment variables whose names look like it (as for subprocesses), keys that were added,
 * and what has the form of a well-known kind of key: vendors' prefixes, JSON Web Tokens, what follows "Bearer", PEM
 * private keys.
 */
#include "buf.h"

#define MOON__WORKSPACE_SIGN "@{workspace}"

enum { MOON__VEIL_SECRETS = 64 };

typedef struct moon__veil {
    char *workspace; /* NULL: it stays */
    char *secrets[MOON__VEIL_SECRETS];
    size_t n_secrets;
    bool first[256]; /* bytes that something to be hidden may begin with */
} moon__veil;

/* Reads the environment. workspace may be NULL. */
MOON_MUST_USE moon_status moon__veil_init(moon__veil *veil, const char *workspace, moon_error *error);
void moon__veil_fini(moon__veil *veil);
/* One more secret; too short ones, which would be found in any text, are left out. */
MOON_MUST_USE moon_status moon__veil_add(moon__veil *veil, const char *secret);
/* Appends a text, veiled. */
void moon__veil_text(const moon__veil *veil, moon__buf *out, const char *text, size_t n);
/* Appends a text with the workspace's path in it again; it may be JSON, and still is then. */
void moon__veil_lift(const moon__veil *veil, moon__buf *out, const char *text, size_t n);
#endif
