/* SPDX-License-Identifier: MIT */
/* What the terminal can do, and text that fits it: see term.h. */
#include "term.h"

#include "text.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { MESSAGE_MAX = 64 * 1024, FIT_MAX = 4096 };

/* The library never sets a locale, so ask the variables that would name one. */
static bool locale_is_utf8(void) {
    static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *value = getenv(names[i]);
        if (value && *value) return strcasestr(value, "utf-8") || strcasestr(value, "utf8");
    }
    return false;
}

void moon__cli_term_init(moon__cli_term *term, int fd, bool no_colour) {
    const char *kind = getenv("TERM"), *plain = getenv("NO_COLOR");
    *term = (moon__cli_term){.fd = fd, .tty = isatty(fd) == 1, .utf8 = locale_is_utf8()};
    term->live = term->tty && kind && *kind && strcmp(kind, "dumb") != 0;
    term->colour = term->live && !no_colour && !(plain && *plain);
}

unsigned moon__cli_columns(const moon__cli_term *term) {
    struct winsize size;
    if (ioctl(term->fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
    return 80;
}

/* Columns of a code point: combining marks take none, East Asian wide forms and emoji two. The ranges are those of
 * Unicode's EastAsianWidth W and F blocks, rounded to blocks: being wrong costs a column, not safety. */
static unsigned code_width(uint32_t c) {
    static const struct {
        uint32_t from, to;
    } none[] = {
        {0x300, 0x36f}, {0x483, 0x489}, {0x591, 0x5bd},   {0x610, 0x61a},   {0x64b, 0x65f},   {0xe31, 0xe31},
        {0xe34, 0xe3a}, {0xe47, 0xe4e}, {0x1ab0, 0x1aff}, {0x1dc0, 0x1dff}, {0x20d0, 0x20ff}, {0xfe20, 0xfe2f},
    };
    static const struct {
        uint32_t from, to;
    } wide[] = {
        {0x1100, 0x115f},   {0x2e80, 0x303e},   {0x3041, 0xa4cf},   {0xa960, 0xa97c}, {0xac00, 0xd7a3},
        {0xf900, 0xfaff},   {0xfe30, 0xfe6f},   {0xff00, 0xff60},   {0xffe0, 0xffe6}, {0x1f300, 0x1f64f},
        {0x1f680, 0x1f6ff}, {0x1f900, 0x1faff}, {0x20000, 0x3fffd},
    };
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        if (c >= none[i].from && c <= none[i].to) return 0;
    for (size_t i = 0; i < sizeof wide / sizeof *wide; i++)
        if (c >= wide[i].from && c <= wide[i].to) return 2;
    return 1;
}

/* Decodes one code point of valid UTF-8. */
static size_t decode(const char *text, uint32_t *code) {
    const unsigned char *s = (const unsigned char *)text;
    if (s[0] < 0x80) return *code = s[0], 1;
    size_t n = s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
    *code = s[0] & (0xffu >> (n + 1));
    for (size_t i = 1; i < n; i++) *code = *code << 6 | (s[i] & 0x3fu);
    return n;
}

static void put_cut(moon__buf *buf, const moon__cli_term *term, const char *text, size_t n, unsigned columns,
                    unsigned *used) {
    const char *dots = term->utf8 ? "\xe2\x80\xa6" : "...";
    unsigned room = term->utf8 ? 1 : 3, width = 0;
    size_t fits = 0; /* bytes that leave room for the dots */
    for (size_t i = 0; i < n;) {
        uint32_t code;
        size_t step = decode(text + i, &code);
        unsigned w = code_width(code);
        if (width + w > columns) {
            unsigned kept = 0;
            moon__buf_add(buf, text, fits);
            for (size_t j = 0; j < fits;) j += decode(text + j, &code), kept += code_width(code);
            if (kept + room <= columns) moon__buf_str(buf, dots), kept += room;
            *used = kept;
            return;
        }
        i += step;
        width += w;
        if (width + room <= columns) fits = i;
    }
    moon__buf_add(buf, text, n);
    *used = width;
}

unsigned moon__cli_fit(moon__buf *buf, const moon__cli_term *term, const char *text, size_t n, unsigned columns) {
    moon__buf safe;
    unsigned used = 0;
    moon__buf_init(&safe, (size_t)FIT_MAX * 12); /* one byte may be shown as eight */
    if (n > FIT_MAX) n = moon__utf8_floor(text, FIT_MAX);
    moon__term_safe(&safe, text, n);
    for (size_t i = 0; i < safe.len; i++)
        if (safe.p[i] == '\n' || safe.p[i] == '\t') safe.p[i] = ' ';
    if (safe.len > 0) put_cut(buf, term, safe.p, safe.len, columns, &used);
    moon__buf_fini(&safe);
    return used;
}

void moon__cli_sgr(moon__buf *buf, const moon__cli_term *term, const char *codes) {
    if (term->colour) moon__buf_printf(buf, "\033[%sm", codes);
}

int moon__cli_write(int fd, const char *bytes, size_t n) {
    while (n > 0) {
        ssize_t done = write(fd, bytes, n);
        if (done > 0) {
            bytes += done;
            n -= (size_t)done;
        } else if (done < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            /* somebody made the descriptor non-blocking for us */
            struct pollfd wait = {.fd = fd, .events = POLLOUT};
            if (poll(&wait, 1, -1) < 0 && errno != EINTR) return errno;
        } else if (done == 0 || errno != EINTR) {
            return done == 0 ? EIO : errno;
        }
    }
    return 0;
}

void moon__cli_error(const char *format, ...) {
    moon__buf text, safe;
    va_list args;
    moon__buf_init(&text, MESSAGE_MAX);
    moon__buf_init(&safe, (size_t)MESSAGE_MAX * 12);
    va_start(args, format);
    moon__buf_vprintf(&text, format, args);
    va_end(args);
    moon__buf_str(&safe, "moonlet: ");
    moon__term_safe(&safe, text.p ? text.p : "", text.len);
    if (safe.len > 0 && safe.p[safe.len - 1] != '\n') moon__buf_char(&safe, '\n');
    if (safe.len > 0) (void)moon__cli_write(STDERR_FILENO, safe.p, safe.len);
    moon__buf_fini(&text);
    moon__buf_fini(&safe);
}

void moon__cli_notice(void *ctx, const char *text) {
    (void)ctx;
    moon__cli_error("%s", text);
}

void moon__cli_put_count(moon__buf *buf, int64_t n) {
    if (n < 10000) {
        moon__buf_int(buf, n);
    } else if (n < 1000000) {
        moon__buf_printf(buf, "%.1fk", (double)n / 1e3);
    } else {
        moon__buf_printf(buf, "%.1fM", (double)n / 1e6);
    }
}

void moon__cli_put_time(moon__buf *buf, int64_t ms) {
    if (ms < 1000) {
        moon__buf_printf(buf, "%lld ms", (long long)ms);
    } else if (ms < 60000) {
        moon__buf_printf(buf, "%.1f s", (double)ms / 1e3);
    } else {
        moon__buf_printf(buf, "%lld min %02lld s", (long long)(ms / 60000), (long long)(ms / 1000 % 60));
    }
}
