/* SPDX-License-Identifier: MIT */
/* The reference as text for a terminal, and as Markdown. */
#include <ctype.h>
#include <string.h>

#include "reference_read.h"

enum { COLUMN = 26 };

static void put(moon__buf *out, moon__slice s) {
    moon__buf_add(out, s.p, s.n);
}

/* The free text of a comment, with the empty lines between its paragraphs. */
static void put_text(moon__buf *out, const moon__ref_entry *entry) {
    moon__slice doc = moon__ref_doc(entry);
    moon__ref_line line;
    while (moon__ref_next(&doc, &line)) {
        if (line.tag != MOON__TAG_TEXT) continue;
        put(out, line.text);
        moon__buf_char(out, '\n');
    }
}

/* ---- for a terminal ---- */

static void put_row(moon__buf *out, const moon__cli_term *term, const moon__ref_entry *entry) {
    moon__buf summary;
    unsigned columns = moon__cli_columns(term), room = columns > COLUMN + 24 ? columns - COLUMN - 4 : 20;
    moon__buf_init(&summary, 4096);
    moon__ref_summary(&summary, entry);
    moon__buf_printf(out, "  %-*s ", COLUMN, entry->name);
    moon__cli_fit(out, term, summary.p ? summary.p : "", summary.len, term->tty ? room : 400);
    moon__buf_char(out, '\n');
    moon__buf_fini(&summary);
}

void moon__reference_list(moon__buf *out, const moon__cli_term *term, const moon__reference *reference) {
    static const char *const titles[] = {"functions", "modules", "types"};
    for (int kind = MOON__REF_FUNCTION; kind <= MOON__REF_TYPE; kind++) {
        moon__buf_printf(out, "%s%s:\n", kind ? "\n" : "", titles[kind]);
        for (size_t i = 0; i < reference->n; i++)
            if ((int)reference->entries[i].kind == kind) put_row(out, term, &reference->entries[i]);
    }
}

/* The lines of one kind, each with its text under it; title before the first. False: there are none. */
static bool put_lines(moon__buf *out, const moon__ref_entry *entry, moon__ref_tag tag, const char *title) {
    moon__slice doc = moon__ref_doc(entry);
    moon__ref_line line;
    bool any = false;
    while (moon__ref_next(&doc, &line)) {
        if (line.tag != tag) continue;
        if (!any) moon__buf_printf(out, "\n%s:\n", title);
        any = true;
        moon__buf_str(out, "  ");
        put(out, line.name);
        if (line.name.n) moon__buf_str(out, ": ");
        put(out, line.type);
        moon__buf_char(out, '\n');
        if (!line.text.n) continue;
        moon__buf_str(out, "      ");
        put(out, line.text);
        moon__buf_char(out, '\n');
    }
    return any;
}

/* The class that a class is made from. */
static const moon__ref_entry *parent_of(const moon__reference *reference, const moon__ref_entry *entry) {
    moon__slice doc = moon__ref_doc(entry);
    moon__ref_line line;
    while (moon__ref_next(&doc, &line))
        if (line.tag == MOON__TAG_CLASS) return moon__ref_type(reference, line.type);
    return NULL;
}

/* The tables that a function takes, so that one need not look them up. */
static void put_taken(moon__buf *out, const moon__reference *reference, const moon__ref_entry *entry) {
    moon__slice doc = moon__ref_doc(entry);
    moon__ref_line line;
    while (moon__ref_next(&doc, &line)) {
        bool takes = line.tag == MOON__TAG_PARAM || line.tag == MOON__TAG_OVERLOAD;
        const moon__ref_entry *type = takes ? moon__ref_type(reference, line.type) : NULL;
        while (type && put_lines(out, type, MOON__TAG_FIELD, type->name)) type = parent_of(reference, type);
    }
}

static void put_members(moon__buf *out, const moon__cli_term *term, const moon__reference *reference,
                        const moon__ref_entry *entry) {
    const moon__ref_entry *parent = parent_of(reference, entry);
    bool any = false;
    for (size_t i = 0; i < reference->n; i++) {
        const moon__ref_entry *one = &reference->entries[i];
        if (!moon__ref_member(one, entry) && (!parent || !moon__ref_member(one, parent))) continue;
        if (!any) moon__buf_str(out, "\nmembers:\n");
        any = true;
        put_row(out, term, one);
    }
}

void moon__reference_entry(moon__buf *out, const moon__cli_term *term, const moon__reference *reference,
                           const moon__ref_entry *entry) {
    const moon__ref_entry *parent = parent_of(reference, entry);
    moon__ref_signature(out, entry);
    moon__buf_str(out, "\n\n");
    put_text(out, entry);
    if (parent) moon__buf_printf(out, "\nis a %s\n", parent->name);
    put_lines(out, entry, MOON__TAG_OVERLOAD, "called as");
    put_lines(out, entry, MOON__TAG_PARAM, "takes");
    put_lines(out, entry, MOON__TAG_RETURN, "gives");
    put_lines(out, entry, MOON__TAG_ALIAS, "is");
    put_lines(out, entry, MOON__TAG_FIELD, "fields");
    put_taken(out, reference, entry);
    put_members(out, term, reference, entry);
}

/* ---- Markdown ---- */

/* As code within a table's cell, where | would end it. */
static void put_code(moon__buf *out, moon__slice s) {
    moon__buf_char(out, '`');
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '|') moon__buf_char(out, '\\');
        moon__buf_char(out, s.p[i]);
    }
    moon__buf_char(out, '`');
}

/* With a link to the type's own heading, if it has one. */
static void put_type(moon__buf *out, const moon__reference *reference, moon__slice type) {
    const moon__ref_entry *known = moon__ref_type(reference, type);
    if (known) moon__buf_char(out, '[');
    put_code(out, type);
    if (!known) return;
    moon__buf_str(out, "](#");
    for (const char *p = known->name; *p; p++)
        if (isalnum((unsigned char)*p)) moon__buf_char(out, (char)tolower((unsigned char)*p));
    moon__buf_char(out, ')');
}

static void put_table(moon__buf *out, const moon__reference *reference, const moon__ref_entry *entry, moon__ref_tag tag,
                      const char *title) {
    moon__slice doc = moon__ref_doc(entry);
    moon__ref_line line;
    bool any = false;
    while (moon__ref_next(&doc, &line)) {
        if (line.tag != tag) continue;
        if (!any) moon__buf_printf(out, "\n| %s | type | |\n| --- | --- | --- |\n", title);
        any = true;
        moon__buf_str(out, "| ");
        if (line.name.n) put_code(out, line.name);
        moon__buf_str(out, " | ");
        put_type(out, reference, line.type);
        moon__buf_str(out, " | ");
        put(out, line.text);
        moon__buf_str(out, " |\n");
    }
}

static void put_markdown(moon__buf *out, const moon__reference *reference, const moon__ref_entry *entry) {
    moon__buf_printf(out, "\n%s %s\n\n", entry->kind == MOON__REF_MODULE ? "##" : "###", entry->name);
    if (entry->kind == MOON__REF_FUNCTION) {
        moon__buf_str(out, "```lua\n");
        moon__ref_signature(out, entry);
        moon__buf_str(out, "\n```\n\n");
    }
    put_text(out, entry);
    const moon__ref_entry *parent = parent_of(reference, entry);
    if (parent) {
        moon__buf_str(out, "\nIs a ");
        put_type(out, reference, (moon__slice){parent->name, strlen(parent->name)});
        moon__buf_str(out, ".\n");
    }
    put_table(out, reference, entry, MOON__TAG_OVERLOAD, "call");
    put_table(out, reference, entry, MOON__TAG_PARAM, "takes");
    put_table(out, reference, entry, MOON__TAG_RETURN, "gives");
    put_table(out, reference, entry, MOON__TAG_ALIAS, "is");
    put_table(out, reference, entry, MOON__TAG_FIELD, "field");
}

void moon__reference_markdown(moon__buf *out, const moon__reference *reference) {
    moon__buf_str(out, "<!-- Made by scripts/gen-reference from runtime/lua/types/moonlet.lua. -->\n"
                       "# Reference of the Lua API\n\n"
                       "`moonlet doc NAME` prints an entry of this page. [lua.md](lua.md) leads through it, and says "
                       "how editors get it.\n");
    for (size_t i = 0; i < reference->n; i++) put_markdown(out, reference, &reference->entries[i]);
}
