/* SPDX-License-Identifier: MIT */
#include "remains.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"

void moon__remains_write(moon__jw *w, moon__journal *journal, const moon__call_result *result) {
    if (!journal->kept) return;
    if (*result->spill) {
        unsigned char hash[MOON_HASH_SIZE];
        char text[MOON__HASH_TEXT];
        moon__sha256(hash, &(moon__bytes){result->whole, result->whole_length}, 1);
        moon__hash_text(text, hash);
        moon__journal_blob(journal, hash, result->whole, result->whole_length);
        moon__jw_str(w, "spill", result->spill, SIZE_MAX);
        moon__jw_str(w, "spill_sha256", text, SIZE_MAX);
    }
    if (!result->seen) return;
    moon__jw_array(w, "seen");
    for (const moon__seen *s = result->seen; s; s = s->next) {
        char hash[24];
        snprintf(hash, sizeof hash, "%016" PRIx64, s->hash);
        moon__jw_object(w, NULL);
        moon__jw_str(w, "path", s->path, SIZE_MAX);
        moon__jw_str(w, "hash", hash, SIZE_MAX);
        moon__jw_end(w);
    }
    moon__jw_end(w);
}

/* ---- back ---- */

/* Results are large and few of them leave something, so that only those are parsed. A quote within a string has a
 * backslash before it, so that these bytes are a member's name and nothing else. */
static bool leaves(const moon_record *record) {
    static const char spill[] = "\"spill\":", seen[] = "\"seen\":";
    return record->type == MOON_EVENT_TOOL_RESULT &&
           (memmem(record->body, record->body_length, spill, sizeof spill - 1) ||
            memmem(record->body, record->body_length, seen, sizeof seen - 1));
}

static moon_status add_spill(moon__remains *r, const moon_json *body) {
    const char *name = moon_json_str(moon_json_get(body, "spill"), NULL);
    const char *hash = moon_json_str(moon_json_get(body, "spill_sha256"), NULL);
    moon__spilled spilled;
    if (!name || !hash || strlen(name) >= sizeof spilled.name || !moon__hash_read(spilled.hash, hash)) return MOON_OK;
    snprintf(spilled.name, sizeof spilled.name, "%s", name);
    if (r->n == r->room) {
        size_t room = r->room ? r->room * 2 : 16;
        moon__spilled *more = realloc(r->spills, room * sizeof *more);
        if (!more) return MOON_ENOMEM;
        r->spills = more;
        r->room = room;
    }
    r->spills[r->n++] = spilled;
    return MOON_OK;
}

/* ---- annexes ---- */

moon__scratch *moon__annex_take(moon__annex **annexes, const char *path) {
    for (; *annexes; annexes = &(*annexes)->next) {
        moon__annex *part = *annexes;
        if (strcmp(part->path, path) != 0) continue;
        moon__scratch *scratch = part->scratch;
        *annexes = part->next;
        free(part);
        return scratch;
    }
    return NULL;
}

void moon__annexes_free(moon__annex *annexes) {
    for (moon__annex *next; annexes; annexes = next) {
        next = annexes->next;
        moon__scratch_free(annexes->scratch);
        free(annexes);
    }
}

static moon_status add_part(moon__remains *r, const moon_record *record) {
    moon_json *body = NULL;
    moon_status status = moon__json_parse(&body, record->body, record->body_length, 0, NULL);
    if (status) return status == MOON_ENOMEM ? status : MOON_OK;
    const char *workspace = moon_json_str(moon_json_get(body, "workspace"), NULL);
    moon__scratch *before = moon__annex_take(&r->annexes, record->path);
    moon__annex *part = workspace || before ? calloc(1, sizeof *part + strlen(record->path) + 1) : NULL;
    if (part && before)
        part->scratch = before; /* a fork's; it has the same files */
    else if (part)
        status = moon__scratch_part(&part->scratch, r->scratch, workspace, NULL);
    moon__json_free(body);
    if (!part || status) {
        bool wanted = workspace || before;
        if (!part) moon__scratch_free(before);
        free(part);
        return wanted ? MOON_ENOMEM : MOON_OK;
    }
    memcpy(part->path, record->path, strlen(record->path) + 1);
    part->next = r->annexes;
    r->annexes = part;
    return MOON_OK;
}

/* Whose files a record of this path is about: those of the innermost part. */
static moon__scratch *scratch_of(const moon__remains *r, const char *path) {
    const moon__annex *best = NULL;
    size_t longest = 0;
    for (const moon__annex *p = r->annexes; p; p = p->next) {
        size_t n = strlen(p->path);
        bool within = !n || (!strncmp(path, p->path, n) && (!path[n] || path[n] == '.'));
        if (!within || (best && n < longest)) continue;
        best = p;
        longest = n;
    }
    return best ? best->scratch : r->scratch;
}

static void add_seen(moon__scratch *scratch, const moon_json *body) {
    for (const moon_json *s = moon_json_first(moon_json_get(body, "seen")); s; s = moon_json_next(s)) {
        const char *path = moon_json_str(moon_json_get(s, "path"), NULL);
        const char *hash = moon_json_str(moon_json_get(s, "hash"), NULL);
        if (path && hash) moon__scratch_remember(scratch, path, strtoull(hash, NULL, 16));
    }
}

moon_status moon__remains_add(moon__remains *r, const moon_record *record) {
    moon_json *body = NULL;
    if (!r->scratch) return MOON_OK;
    if (record->type == MOON_EVENT_WORKTREE_MADE) return add_part(r, record);
    if (!leaves(record)) return MOON_OK;
    moon_status status = moon__json_parse(&body, record->body, record->body_length, 0, NULL);
    if (status) return status == MOON_ENOMEM ? status : MOON_OK; /* what cannot be read is found where it is used */
    add_seen(scratch_of(r, record->path), body);
    status = add_spill(r, body);
    moon__json_free(body);
    return status;
}

typedef struct restoring {
    const moon__remains *remains;
    const char *name;
    moon_status status;
    moon_error *error;
} restoring;

static bool on_bytes(void *ctx, const void *bytes, size_t length) {
    restoring *r = ctx;
    r->status = moon__scratch_restore(r->remains->scratch, r->name, bytes, length, r->error);
    return false;
}

moon_status moon__remains_fetch(const moon__remains *r, const moon_store_ops *ops, moon_store *store,
                                moon_error *error) {
    for (size_t i = 0; i < r->n; i++) {
        restoring one = {.remains = r, .name = r->spills[i].name, .error = error};
        moon_error why = {0};
        moon_status status = ops->blob(store, r->spills[i].hash, on_bytes, &one, &why);
        if (status == MOON_ENOTFOUND) continue;
        if (status && error) *error = why;
        if (status || one.status) return status ? status : one.status;
    }
    return MOON_OK;
}

void moon__remains_fini(moon__remains *r) {
    moon__annexes_free(r->annexes);
    moon__scratch_free(r->scratch);
    free(r->spills);
    *r = (moon__remains){0};
}
