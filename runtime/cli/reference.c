/* SPDX-License-Identifier: MIT */
/* Reading the reference: entries, their lines, and what can be said of them in one line. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "reference_read.h"
#include "text.h"

static const char MODULE[] = "moon", TYPES[] = "moonlet.";

/* ---- slices ---- */

static moon__slice slice(const char *p, const char *end) {
    return (moon__slice){p, (size_t)(end - p)};
}

bool moon__ref_is(moon__slice s, const char *text) {
    return s.n == strlen(text) && memcmp(s.p, text, s.n) == 0;
}

static bool begins(moon__slice s, const char *text) {
    size_t n = strlen(text);
    return s.n >= n && memcmp(s.p, text, n) == 0;
}

static moon__slice skip(moon__slice s, size_t n) {
    return n > s.n ? (moon__slice){s.p + s.n, 0} : (moon__slice){s.p + n, s.n - n};
}

static moon__slice take_line(moon__slice *text) {
    const char *stop = memchr(text->p, '\n', text->n);
    moon__slice line = slice(text->p, stop ? stop : text->p + text->n);
    *text = skip(*text, line.n + (stop != NULL));
    return line;
}

static moon__slice skip_space(moon__slice s) {
    while (s.n && *s.p == ' ') s = skip(s, 1);
    return s;
}

static moon__slice take_word(moon__slice *text) {
    *text = skip_space(*text);
    size_t n = 0;
    while (n < text->n && text->p[n] != ' ') n++;
    moon__slice word = {text->p, n};
    *text = skip(*text, n);
    return word;
}

/* A type ends at a space outside of brackets, if no ":" or "," stands before it. */
static moon__slice take_type(moon__slice *text) {
    size_t n = 0, depth = 0;
    *text = skip_space(*text);
    for (; n < text->n; n++) {
        char c = text->p[n];
        if (strchr("([{<", c)) depth++;
        if (strchr(")]}>", c) && depth) depth--;
        if (c == ' ' && !depth && n && text->p[n - 1] != ':' && text->p[n - 1] != ',') break;
    }
    moon__slice type = {text->p, n};
    *text = skip_space(skip(*text, n));
    return type;
}

/* ---- lines ---- */

static moon__ref_tag tag_of(moon__slice word) {
    static const struct {
        const char *word;
        moon__ref_tag tag;
    } tags[] = {{"@field", MOON__TAG_FIELD}, {"@param", MOON__TAG_PARAM},       {"@return", MOON__TAG_RETURN},
                {"@alias", MOON__TAG_ALIAS}, {"@overload", MOON__TAG_OVERLOAD}, {"@class", MOON__TAG_CLASS}};
    for (size_t i = 0; i < sizeof tags / sizeof *tags; i++)
        if (moon__ref_is(word, tags[i].word)) return tags[i].tag;
    return MOON__TAG_OTHER;
}

bool moon__ref_next(moon__slice *doc, moon__ref_line *line) {
    if (!doc->n) return false;
    moon__slice text = skip(take_line(doc), 3);
    *line = (moon__ref_line){.tag = MOON__TAG_TEXT, .text = text};
    if (!begins(text, "@")) return true;
    line->tag = tag_of(take_word(&text));
    if (line->tag == MOON__TAG_FIELD || line->tag == MOON__TAG_PARAM || line->tag == MOON__TAG_ALIAS ||
        line->tag == MOON__TAG_CLASS)
        line->name = take_word(&text);
    if (line->name.n && line->name.p[line->name.n - 1] == ':') line->name.n--; /* of a class, before its parent */
    line->type = take_type(&text);
    if (line->tag == MOON__TAG_RETURN) {
        if (!begins(text, "#")) line->name = take_word(&text);
        text = skip_space(text);
        if (begins(text, "#")) text = skip(text, 1);
    }
    line->text = skip_space(text);
    return true;
}

moon__slice moon__ref_doc(const moon__ref_entry *entry) {
    return (moon__slice){entry->doc, entry->doc_length};
}

/* ---- entries ---- */

static void set_name(moon__ref_entry *entry, moon__slice name) {
    size_t n = name.n < MOON__REF_NAME - 1 ? name.n : MOON__REF_NAME - 1;
    memcpy(entry->name, name.p, n);
    entry->name[n] = '\0';
}

/* The class or alias that a comment is about; empty: none. */
static moon__slice type_name(moon__slice doc) {
    moon__ref_line line;
    while (moon__ref_next(&doc, &line))
        if (line.tag == MOON__TAG_CLASS || line.tag == MOON__TAG_ALIAS) return line.name;
    return (moon__slice){doc.p, 0};
}

/* What a declaration declares: a function, or "moon.x = {}"; empty: another line. */
static moon__slice declared(moon__slice line, moon__ref_kind *kind) {
    if (begins(line, "function ")) {
        line = skip(line, strlen("function "));
        const char *open = memchr(line.p, '(', line.n);
        *kind = MOON__REF_FUNCTION;
        return slice(line.p, open ? open : line.p);
    }
    if (begins(line, "local moon ")) line = skip(line, strlen("local "));
    *kind = MOON__REF_MODULE;
    return begins(line, MODULE) ? take_word(&line) : (moon__slice){line.p, 0};
}

/* The entry of a comment and the line after it; false if it is none. */
static bool make_entry(moon__ref_entry *entry, moon__slice doc, moon__slice below) {
    moon__slice name = declared(below, &entry->kind);
    if (!name.n) {
        entry->kind = MOON__REF_TYPE;
        name = type_name(doc);
    }
    entry->doc = doc.p;
    entry->doc_length = doc.n;
    set_name(entry, name);
    return name.n > 0;
}

moon_status moon__reference_read(moon__reference *out, const char *text, size_t length) {
    moon__slice rest = {text, length}, doc = {text, 0};
    *out = (moon__reference){.entries = calloc(MOON__REF_MAX, sizeof *out->entries)};
    if (!out->entries) return MOON_ENOMEM;
    while (rest.n || doc.n) {
        moon__slice line = take_line(&rest);
        if (begins(line, "---") && line.n) {
            if (!doc.n) doc.p = line.p;
            doc.n = (size_t)(line.p + line.n - doc.p);
            continue;
        }
        if (doc.n && out->n < MOON__REF_MAX && make_entry(&out->entries[out->n], doc, line)) out->n++;
        doc.n = 0;
    }
    return MOON_OK;
}

void moon__reference_free(moon__reference *reference) {
    free(reference->entries);
    *reference = (moon__reference){0};
}

static bool named(const char *name, const char *prefix, const char *wanted, bool any_case) {
    size_t n = strlen(prefix);
    return strncmp(name, prefix, n) == 0 && (any_case ? strcasecmp : strcmp)(name + n, wanted) == 0;
}

const moon__ref_entry *moon__reference_find(const moon__reference *reference, const char *name) {
    static const char *const prefixes[] = {"", "moon.", "moonlet."};
    for (int any_case = 0; any_case < 2; any_case++)
        for (size_t p = 0; p < sizeof prefixes / sizeof *prefixes; p++)
            for (size_t i = 0; i < reference->n; i++)
                if (named(reference->entries[i].name, prefixes[p], name, any_case)) return &reference->entries[i];
    return NULL;
}

const char *moon__reference_nearest(const moon__reference *reference, const char *name) {
    const char *names[MOON__REF_MAX + 1];
    for (size_t i = 0; i < reference->n; i++) names[i] = reference->entries[i].name;
    names[reference->n] = NULL;
    const char *near = moon__nearest(name, names);
    for (size_t i = 0; i < reference->n; i++) {
        const char *dot = strchr(names[i], '.');
        names[i] = dot ? dot + 1 : names[i];
    }
    if (!near) near = moon__nearest(name, names);
    return near;
}

const moon__ref_entry *moon__ref_type(const moon__reference *reference, moon__slice type) {
    const char *at = memmem(type.p, type.n, TYPES, strlen(TYPES));
    if (!at) return NULL;
    moon__slice name = slice(at, type.p + type.n);
    size_t n = strlen(TYPES);
    while (n < name.n && (name.p[n] == '_' || ((name.p[n] | 0x20) >= 'a' && (name.p[n] | 0x20) <= 'z'))) n++;
    name.n = n;
    for (size_t i = 0; i < reference->n; i++)
        if (moon__ref_is(name, reference->entries[i].name)) return &reference->entries[i];
    return NULL;
}

bool moon__ref_member(const moon__ref_entry *entry, const moon__ref_entry *of) {
    const char *prefix = of->kind == MOON__REF_TYPE && strncmp(of->name, TYPES, strlen(TYPES)) == 0
                             ? of->name + strlen(TYPES)
                             : of->name;
    size_t n = strlen(prefix);
    bool beneath = strncmp(entry->name, prefix, n) == 0 && (entry->name[n] == '.' || entry->name[n] == ':');
    return beneath && of->kind != MOON__REF_FUNCTION && !strchr(entry->name + n + 1, '.');
}

/* ---- in one line ---- */

void moon__ref_summary(moon__buf *out, const moon__ref_entry *entry) {
    moon__slice doc = moon__ref_doc(entry);
    moon__ref_line line;
    size_t start = out->len;
    while (moon__ref_next(&doc, &line) && line.tag == MOON__TAG_TEXT && line.text.n) {
        const char *stop = memmem(line.text.p, line.text.n, ". ", 2);
        if (out->len > start) moon__buf_char(out, ' ');
        moon__buf_add(out, line.text.p, stop ? (size_t)(stop - line.text.p) + 1 : line.text.n);
        if (stop || line.text.p[line.text.n - 1] == '.') break;
    }
}

void moon__ref_signature(moon__buf *out, const moon__ref_entry *entry) {
    moon__slice doc = moon__ref_doc(entry);
    moon__ref_line line;
    size_t returns = 0, params = 0;
    moon__buf gives;
    moon__buf_init(&gives, 4096);
    moon__buf_str(out, entry->name);
    if (entry->kind != MOON__REF_FUNCTION) return;
    moon__buf_char(out, '(');
    while (moon__ref_next(&doc, &line)) {
        int name = (int)line.name.n, type = (int)line.type.n;
        if (line.tag == MOON__TAG_PARAM)
            moon__buf_printf(out, "%s%.*s: %.*s", params++ ? ", " : "", name, line.name.p, type, line.type.p);
        if (line.tag == MOON__TAG_RETURN) moon__buf_printf(&gives, "%s%.*s", returns++ ? ", " : "", type, line.type.p);
    }
    moon__buf_printf(out, ")%s%s", returns ? ": " : "", returns ? gives.p : "");
    moon__buf_fini(&gives);
}
