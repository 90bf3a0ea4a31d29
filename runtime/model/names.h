/* SPDX-License-Identifier: MIT */
#ifndef MOON_MODEL_NAMES_H
#define MOON_MODEL_NAMES_H
/*
 * Tool names on the wire. Servers take [A-Za-z0-9_-]{1,64}, ours are dotted ("file.read"), so a dot becomes "_" on the
 * way out and a look-up among the conversation's own tools brings it back.
 */
#include "buf.h"

enum { MOON__WIRE_NAME = 65 }; /* with the NUL */

/* The wire's form of any name, also of one that a model made up: what may not stand there becomes "_". */
void moon__wire_name(char wire[MOON__WIRE_NAME], const char *name);

typedef struct moon__name_pair {
    char wire[MOON__WIRE_NAME];
    const char *dotted; /* borrowed from the tools */
} moon__name_pair;

typedef struct moon__names {
    moon__name_pair *pairs; /* sorted by wire */
    size_t n;
} moon__names;

/* MOON_EINVAL if two tools would have one name on the wire. The tools' names must outlive the table. */
MOON_MUST_USE moon_status moon__names_init(moon__names *names, const moon_wire_tool *tools, size_t n,
                                           moon_error *error);
void moon__names_fini(moon__names *names);
/* The dotted name of a tool by its exact wire name; NULL if there is none. names may be NULL. */
const char *moon__names_dotted(const moon__names *names, const char *wire);
/* The other way; the text stands in the table. */
const char *moon__names_wire(const moon__names *names, const char *dotted);
#endif
