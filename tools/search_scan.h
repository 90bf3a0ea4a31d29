/* SPDX-License-Identifier: MIT */
#ifndef MOON_TOOLS_SEARCH_SCAN_H
#define MOON_TOOLS_SEARCH_SCAN_H
/* Searching one open file: what search shows of it. One moon__scan per thread, used for file after file. */
#include "bytes.h"
#include "finder.h"

typedef struct moon__scan_limits {
    int64_t matches; /* one more is looked for, so that it is known that there are more */
    size_t text;     /* bytes of text; a file stops behind it */
    unsigned context;
    bool first_only; /* whether the file matches at all; no text */
} moon__scan_limits;

typedef struct moon__scan moon__scan;

typedef enum moon__scanned {
    MOON__SCANNED,
    MOON__SCAN_BINARY,
    MOON__SCAN_UNREADABLE,
    MOON__SCAN_COSTLY,
    MOON__SCAN_NO_MEMORY,
} moon__scanned;

moon__scan *moon__scan_new(const moon_call *call, const moon__finder *finder,
                           const moon__scan_limits *limits); /* NULL: no memory */
void moon__scan_free(moon__scan *scan);
/* Adds "LINE: text" and "LINE- text" lines to out. A fd that is no regular file counts as unreadable. */
moon__scanned moon__scan_file(moon__scan *scan, int fd, moon__bytes *out, int64_t *matches);
/* The length of that text that shows the first `matches` of them. */
size_t moon__scan_cut(const char *text, size_t n, int64_t matches);
#endif
