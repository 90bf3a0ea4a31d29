/* SPDX-License-Identifier: MIT */
#ifndef MOON_BASE_BUF_H
#define MOON_BASE_BUF_H
/*
 * A growing byte buffer with a ceiling. Every buffer states its maximum when it is initialised; what would go over it
 * sets a sticky status (MOON_ELIMIT, or MOON_ENOMEM) and drops the addition whole, so that a chain of additions is
 * checked once, at its end. The bytes are always NUL-terminated (when p is not NULL). A zeroed struct is empty with no
 * room: init it. moon_out of extend.h is this type.
 */
#include <moonlet/extend.h>

typedef struct moon_out {
    char *p;
    size_t len, cap, max;
    moon_status status;
} moon__buf;

void moon__buf_init(moon__buf *buf, size_t max);
void moon__buf_fini(moon__buf *buf);            /* frees; the buffer is empty with the same ceiling */
void moon__buf_reset(moon__buf *buf);           /* empty and without error; keeps its memory */
void moon__buf_cut(moon__buf *buf, size_t len); /* shortens to len bytes */
/* Room for n more bytes; p + len may be written, then len advanced by hand. */
MOON_MUST_USE moon_status moon__buf_reserve(moon__buf *buf, size_t n);
void moon__buf_add(moon__buf *buf, const void *bytes, size_t n);
void moon__buf_str(moon__buf *buf, const char *text);
void moon__buf_char(moon__buf *buf, char c);
void moon__buf_printf(moon__buf *buf, const char *format, ...) MOON_PRINTF(2, 3);
void moon__buf_vprintf(moon__buf *buf, const char *format, va_list args);
void moon__buf_int(moon__buf *buf, int64_t value);
/* A JSON number: integers up to 2^53 as such, others with the fewest digits that read back as the same double, whatever
 * the locale; null if it is not finite. */
void moon__buf_num(moon__buf *buf, double value);
/* A JSON string with quotes; invalid UTF-8 and NUL become U+FFFD. n may be SIZE_MAX (NUL-terminated); NULL with 0 is
 * "". */
void moon__buf_quoted(moon__buf *buf, const char *text, size_t n);
/* The bytes as a malloc'd, NUL-terminated string that the caller owns ("" if empty). NULL if an addition had failed or
 * memory is out: status says which. The buffer holds no memory after it, in both cases. */
char *moon__buf_take(moon__buf *buf);
#endif
