/* SPDX-License-Identifier: MIT */
/*
 * A file is read through a window of 1 MiB, which for most holds all of it. Offsets below are into the window:
 *
 *   shown    before it, lines have been shown or are behind us: no context is taken from there again
 *   position where the next search begins (the beginning of a line, at or behind shown)
 *   counted  a beginning of a line, at or before shown; its number is `number`
 *
 * When the window is searched up to its last line ending, the unfinished line and as many lines before it as may be
 * context move to the front. Lines are counted only where one is shown, and when the window moves.
 *
 * A line that the window does not hold is searched in pieces. Each but the first has the end of the one before it
 * (OVERLAP bytes) in front, so that a match across the two is found if it is no longer than that; the first bytes of
 * these (BEHIND) are only looked back at. A match near the end of a piece (AHEAD) may be another one when more is
 * known, and is left to the next piece. The line counts once, whatever the number of its pieces; lines before it are
 * given as context only if the first piece matches.
 */
#include "search_scan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WINDOW = 1 << 20, FIRST_READ = 64 << 10, LINE_SHOWN = 400, LINE_BEFORE = 100 };
enum { OVERLAP = 256 << 10, BEHIND = 4 << 10, AHEAD = 4 << 10 };

struct moon__scan {
    const moon_call *call;
    const moon__finder *finder;
    moon__finder_state *state;
    moon__scan_limits limits;
    /* of the file */
    moon__bytes *out;
    size_t out_begin;
    int64_t matches;
    bool full; /* enough of this file */
    size_t length, position, shown, counted;
    size_t number;
    unsigned after; /* lines of context still to be shown behind a match */
    bool inside;    /* the window begins within a line, which is searched in pieces */
    bool found;     /* that line has matched */
    size_t head_length;
    char head[LINE_SHOWN]; /* how it begins */
    char window[WINDOW];
};

moon__scan *moon__scan_new(const moon_call *call, const moon__finder *finder, const moon__scan_limits *limits) {
    moon__scan *s = malloc(sizeof *s);
    if (!s) return NULL;
    memset(s, 0, offsetof(moon__scan, window));
    s->call = call;
    s->finder = finder;
    s->limits = *limits;
    s->state = moon__finder_state_new(finder);
    if (s->state) return s;
    free(s);
    return NULL;
}

void moon__scan_free(moon__scan *s) {
    if (!s) return;
    moon__finder_state_free(s->state);
    free(s);
}

/* ---- lines ---- */

/* Eight bytes at a time: the high bit of each byte of `none` tells that it is no newline. */
static size_t count_newlines(const char *p, size_t n) {
    const uint64_t low = 0x7f7f7f7f7f7f7f7fu;
    size_t count = 0;
    for (; n >= 8; p += 8, n -= 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        word ^= 0x0a0a0a0a0a0a0a0au;
        uint64_t none = (((word & low) + low) | word) & ~low;
        count += 8 - (size_t)__builtin_popcountll(none);
    }
    for (; n; p++, n--) count += *p == '\n';
    return count;
}

static size_t number_at(moon__scan *s, size_t offset) {
    s->number += count_newlines(s->window + s->counted, offset - s->counted);
    s->counted = offset;
    return s->number;
}

static size_t next_line(const moon__scan *s, size_t offset) {
    const char *nl = memchr(s->window + offset, '\n', s->length - offset);
    return nl ? (size_t)(nl - s->window) + 1 : s->length;
}

/* The beginning of the line before the one that begins at offset > 0. */
static size_t previous_line(const moon__scan *s, size_t offset) {
    const char *nl = memrchr(s->window, '\n', offset - 1);
    return nl ? (size_t)(nl - s->window) + 1 : 0;
}

/* What of a line is not there to be shown. */
typedef enum missing { NOTHING = 0, BEFORE = 1, BEHIND_IT = 2 } missing;

/* Shows a line, or of a long one what is around `at`. */
static void add_line(moon__scan *s, size_t number, char mark, const char *line, size_t n, size_t at, unsigned lacks) {
    moon__bytes_printf(s->out, "%zu%c ", number, mark);
    size_t from = 0, to = n;
    if (n > LINE_SHOWN) {
        from = at > LINE_BEFORE ? at - LINE_BEFORE : 0;
        if (from + LINE_SHOWN > n) from = n - LINE_SHOWN;
        from = moon__text_floor(line, from);
        to = moon__text_floor(line, from + LINE_SHOWN);
    }
    if (from || lacks & BEFORE) moon__bytes_str(s->out, "…");
    moon__bytes_text(s->out, line + from, to - from);
    moon__bytes_str(s->out, to < n || lacks & BEHIND_IT ? "…\n" : "\n");
}

/* Shows the line that begins at `shown` as context and goes on behind it. */
static void show_context(moon__scan *s) {
    size_t begin = s->shown, next = next_line(s, begin), end = next;
    if (end > begin && s->window[end - 1] == '\n') end--;
    if (end > begin && s->window[end - 1] == '\r') end--;
    add_line(s, number_at(s, begin), '-', s->window + begin, end - begin, 0, NOTHING);
    s->shown = next;
}

static void show_after(moon__scan *s, size_t limit) {
    while (s->after && s->shown < limit) {
        show_context(s);
        s->after--;
    }
}

static void show_match(moon__scan *s, const moon__hit *hit, unsigned lacks) {
    size_t begin = (size_t)(hit->line - s->window), from = begin;
    for (unsigned i = 0; i < s->limits.context && from > s->shown; i++) from = previous_line(s, from);
    s->shown = from;
    while (s->shown < begin) show_context(s);
    add_line(s, number_at(s, begin), ':', hit->line, hit->length, hit->at, lacks);
    s->shown = (size_t)(hit->next - s->window);
    s->after = s->limits.context;
}

static void take_match(moon__scan *s, const moon__hit *hit, unsigned lacks) {
    s->matches++;
    if (s->limits.first_only)
        s->full = true;
    else
        show_match(s, hit, lacks);
    s->full |= s->matches > s->limits.matches || s->out->len - s->out_begin > s->limits.text;
}

/* ---- lines that the window does not hold ---- */

/* Searches the piece [position, end) of a line. */
static moon__scanned search_piece(moon__scan *s, size_t end, bool last) {
    const char *text = s->window + s->position;
    size_t n = end - s->position, at, until;
    moon__piece piece = {.text = text, .n = n, .first = !s->inside, .last = last};
    if (s->found) return MOON__SCANNED;
    if (s->inside) piece.begin = BEHIND;
    while (piece.begin && (text[piece.begin] & 0xc0) == 0x80) piece.begin--; /* PCRE2 begins at no other byte */
    moon__find found = moon__finder_piece(s->finder, s->state, &piece, &at, &until);
    if (found == MOON__FIND_COSTLY) return MOON__SCAN_COSTLY;
    if (found == MOON__FIND_NONE) return MOON__SCANNED;
    if (!last && until + AHEAD > n && at + OVERLAP >= n + BEHIND) return MOON__SCANNED; /* the next piece has it too */
    moon__hit hit = {.line = text, .length = n, .at = at, .next = text + n};
    s->found = true;
    take_match(s, &hit, (s->inside ? BEFORE : NOTHING) | (last ? NOTHING : BEHIND_IT));
    return s->out->failed ? MOON__SCAN_NO_MEMORY : MOON__SCANNED;
}

/* The whole window, from position on, is part of one line that goes on. */
static moon__scanned search_part(moon__scan *s) {
    if (!s->inside) {
        show_after(s, s->position);
        s->head_length = moon__text_floor(s->window + s->position, LINE_SHOWN);
        memcpy(s->head, s->window + s->position, s->head_length);
    }
    moon__scanned result = search_piece(s, s->length, false);
    if (!s->inside) number_at(s, s->position);
    size_t keep = s->found ? s->length : moon__text_floor(s->window, s->length - OVERLAP);
    memmove(s->window, s->window + keep, s->length - keep);
    s->length -= keep;
    s->position = s->shown = s->counted = 0;
    s->inside = true;
    return result;
}

/* The rest of such a line: to its ending, or to the file's. */
static moon__scanned search_rest(moon__scan *s) {
    size_t next = next_line(s, 0), end = next;
    if (end && s->window[end - 1] == '\n') end--;
    if (end && s->window[end - 1] == '\r') end--;
    moon__scanned result = search_piece(s, end, true);
    if (!s->found && s->after) {
        add_line(s, s->number, '-', s->head, s->head_length, 0, BEHIND_IT);
        s->after--;
    }
    s->position = s->shown = next;
    s->inside = s->found = false;
    return result;
}

/* ---- the window ---- */

/* Searches from position to `limit`, the end of the last whole line. */
static moon__scanned search_window(moon__scan *s, size_t limit) {
    moon__hit hit = {0};
    if (s->inside) {
        moon__scanned result = search_rest(s);
        if (result != MOON__SCANNED) return result;
    }
    while (!s->full) {
        moon__find found = moon__finder_next(s->finder, s->state, s->window + s->position, s->window + limit, &hit);
        if (found == MOON__FIND_COSTLY) return MOON__SCAN_COSTLY;
        show_after(s, found == MOON__FIND_HIT ? (size_t)(hit.line - s->window) : limit);
        if (found == MOON__FIND_NONE) break;
        s->position = (size_t)(hit.next - s->window);
        take_match(s, &hit, NOTHING);
        if (s->out->failed) return MOON__SCAN_NO_MEMORY;
    }
    s->position = limit;
    return MOON__SCANNED;
}

/* Moves what is still needed to the front of the window. */
static void move_window(moon__scan *s, size_t limit) {
    size_t keep = limit, floor = s->shown < limit ? s->shown : limit;
    for (unsigned i = 0; i < s->limits.context && keep > floor; i++) keep = previous_line(s, keep);
    if (s->length - keep > WINDOW / 2) keep = limit; /* enormous lines go without context */
    number_at(s, keep);
    memmove(s->window, s->window + keep, s->length - keep);
    s->length -= keep;
    s->position = limit - keep;
    s->shown = s->shown > keep ? s->shown - keep : 0;
    s->counted = 0;
}

/* Reads more; false at the end of the file, or on an error (*bad). */
static bool fill(moon__scan *s, int fd, size_t room, bool *bad) {
    ssize_t k;
    while ((k = read(fd, s->window + s->length, room)) < 0 && errno == EINTR) {
    }
    *bad = k < 0;
    if (k > 0) s->length += (size_t)k;
    return k > 0;
}

static moon__scanned scan(moon__scan *s, int fd, size_t size) {
    size_t room = size < FIRST_READ ? size : FIRST_READ, total = 0;
    bool bad = false, more = true;
    while (more && !s->full && !moon_call_cancelled(s->call)) {
        size_t before = s->length;
        more = fill(s, fd, room, &bad);
        if (bad) return MOON__SCAN_UNREADABLE;
        if (!total && moon__text_is_binary(s->window, s->length)) return MOON__SCAN_BINARY;
        total += s->length - before;
        more = more && total < size;
        room = WINDOW - s->length;
        if (more && room) continue;
        const char *nl = more ? memrchr(s->window + s->position, '\n', s->length - s->position) : NULL;
        size_t limit = nl ? (size_t)(nl - s->window) + 1 : s->length; /* only whole lines */
        moon__scanned result = more && !nl ? search_part(s) : search_window(s, limit);
        if (result != MOON__SCANNED) return result;
        if (nl) move_window(s, limit);
        room = WINDOW - s->length;
    }
    return MOON__SCANNED;
}

moon__scanned moon__scan_file(moon__scan *s, int fd, moon__bytes *out, int64_t *matches) {
    struct stat st;
    if (fstat(fd, &st) || !S_ISREG(st.st_mode)) return MOON__SCAN_UNREADABLE;
    s->out = out;
    s->out_begin = out->len;
    s->matches = 0;
    s->full = false;
    s->length = s->position = s->shown = s->counted = 0;
    s->number = 1;
    s->after = 0;
    s->inside = s->found = false;
    moon__scanned result = st.st_size > 0 ? scan(s, fd, (size_t)st.st_size) : MOON__SCANNED;
    *matches = s->matches;
    return result;
}

size_t moon__scan_cut(const char *text, size_t n, int64_t matches) {
    const char *p = text, *end = text + n;
    while (p < end && matches > 0) {
        const char *mark = p, *nl = memchr(p, '\n', (size_t)(end - p));
        while (mark < end && *mark >= '0' && *mark <= '9') mark++;
        if (mark < end && *mark == ':') matches--;
        p = nl ? nl + 1 : end;
    }
    return (size_t)(p - text);
}
