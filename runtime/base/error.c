/* SPDX-License-Identifier: MIT */
/* Status texts, filling a moon_error, and the version: what every other file leans on. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "text.h"

const char *moon_status_text(moon_status status) {
    switch (status) {
#define X(name, value, text)                                                                                           \
    case MOON_##name: return text;
        MOON_STATUSES(X)
#undef X
    }
    return "unknown status";
}

moon_status moon_error_set(moon_error *error, moon_status status, const char *format, ...) {
    if (!error) return status;
    int saved = errno; /* callers put errno into error->cause after this */
    char text[sizeof error->text];
    va_list args;
    /* Formatted aside first: the arguments may point into *error, when a caller adds to what it was told. */
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (n < 0) text[0] = '\0';
    if (n >= (int)sizeof text) text[moon__utf8_floor(text, sizeof text - 1)] = '\0';
    *error = (moon_error){.code = status};
    memcpy(error->text, text, strlen(text) + 1);
    errno = saved;
    return status;
}

const char *moon_version(void) {
    return MOON_VERSION;
}
