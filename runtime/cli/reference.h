/* SPDX-License-Identifier: MIT */
#ifndef MOON_CLI_REFERENCE_H
#define MOON_CLI_REFERENCE_H
/*
 * The reference of the Lua API, read from runtime/lua/types/moonlet.lua, which is built into the program: comments with
 * LuaCATS annotations and the declarations below them. Entries and slices point into that text, which lives as long as
 * the process.
 */
#include "term.h"

extern const unsigned char moon__cli_types[];
extern const size_t moon__cli_types_length;

typedef enum moon__ref_kind { MOON__REF_FUNCTION, MOON__REF_MODULE, MOON__REF_TYPE } moon__ref_kind;

enum { MOON__REF_MAX = 1000, MOON__REF_NAME = 80 };

typedef struct moon__ref_entry {
    moon__ref_kind kind;
    char name[MOON__REF_NAME]; /* "moon.agent", "Runnable:run", "moonlet.AgentSpec" */
    const char *doc;           /* its lines, each with its --- */
    size_t doc_length;
} moon__ref_entry;

typedef struct moon__reference {
    moon__ref_entry *entries; /* n of them, in the order of the file */
    size_t n;
} moon__reference;

MOON_MUST_USE moon_status moon__reference_read(moon__reference *out, const char *text, size_t length);
void moon__reference_free(moon__reference *reference);

/* By its name; "moon." and "moonlet." may be left out, and if there is none of just that name the case does not count.
 * NULL: there is none. */
const moon__ref_entry *moon__reference_find(const moon__reference *reference, const char *name);
/* The nearest name, or NULL. */
const char *moon__reference_nearest(const moon__reference *reference, const char *name);

/* Each appends: a line for each entry; all about one; all of it as Markdown. Lists are cut to the terminal. */
void moon__reference_list(moon__buf *out, const moon__cli_term *term, const moon__reference *reference);
void moon__reference_entry(moon__buf *out, const moon__cli_term *term, const moon__reference *reference,
                           const moon__ref_entry *entry);
void moon__reference_markdown(moon__buf *out, const moon__reference *reference);
#endif
