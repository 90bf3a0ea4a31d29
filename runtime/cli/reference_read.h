/* SPDX-License-Identifier: MIT */
#ifndef MOON_CLI_REFERENCE_READ_H
#define MOON_CLI_REFERENCE_READ_H
/* How an entry's comment is taken apart; of reference*.c alone. */
#include "reference.h"

typedef struct moon__slice {
    const char *p;
    size_t n;
} moon__slice;

typedef enum moon__ref_tag {
    MOON__TAG_TEXT,
    MOON__TAG_FIELD,
    MOON__TAG_PARAM,
    MOON__TAG_RETURN,
    MOON__TAG_ALIAS,
    MOON__TAG_OVERLOAD,
    MOON__TAG_CLASS,
    MOON__TAG_OTHER
} moon__ref_tag;

/* One line of a comment: text, or an annotation with what it has of name, type and text. */
typedef struct moon__ref_line {
    moon__ref_tag tag;
    moon__slice name, type, text;
} moon__ref_line;

/* The next line of doc, which is shortened by it; false: there is none. */
bool moon__ref_next(moon__slice *doc, moon__ref_line *line);
moon__slice moon__ref_doc(const moon__ref_entry *entry);
bool moon__ref_is(moon__slice slice, const char *text);
/* The first sentence of the comment. */
void moon__ref_summary(moon__buf *out, const moon__ref_entry *entry);
/* "moon.agent(spec: moonlet.AgentSpec): moonlet.Agent"; of others than functions the name. */
void moon__ref_signature(moon__buf *out, const moon__ref_entry *entry);
/* The first type of this reference that a type speaks of; NULL: none. */
const moon__ref_entry *moon__ref_type(const moon__reference *reference, moon__slice type);
/* Does it belong to the other, as moon.json.encode to moon.json and Runnable:run to moonlet.Runnable? */
bool moon__ref_member(const moon__ref_entry *entry, const moon__ref_entry *of);
#endif
