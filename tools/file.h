/* SPDX-License-Identifier: MIT */
#ifndef MOON_TOOLS_FILE_H
#define MOON_TOOLS_FILE_H
/* What the file tools share: opening, reading whole, and saying well why it cannot be done. */
#include <moonlet/tool.h>
#include <sys/stat.h>

#include "bytes.h"

/* Files up to here are read whole, hashed, and can be edited. */
enum { MOON__FILE_WHOLE_MAX = 8 << 20 };

/* Opens a regular file for reading. Anything else (missing, a directory, a FIFO …) ends the call with a text that says
 * what is there, and gives -1. */
int moon__file_open(moon_call *call, const char *path, struct stat *st);
/* Opens a directory, likewise. */
int moon__file_open_dir(moon_call *call, const char *path);
/* Reads to the end of the file, at most MOON__FILE_WHOLE_MAX bytes; *n is over that if there is more. *data is
 * malloc'd, never NULL on success. False: the call has been ended. */
bool moon__file_slurp(moon_call *call, const char *path, int fd, size_t hint, char **data, size_t *n);
/* Has the run seen another content of this file than this? */
bool moon__file_changed(moon_call *call, const char *path, const char *data, size_t n);
void moon__file_remember(moon_call *call, const char *path, const char *data, size_t n);
/* The text of a string argument; "" if it is absent. */
const char *moon__arg_str(const moon_json *args, const char *name, size_t *n);
int64_t moon__arg_int(const moon_json *args, const char *name, int64_t absent);
bool moon__arg_bool(const moon_json *args, const char *name, bool absent);
/* What a file is if it is no regular file: "a directory". */
const char *moon__file_kind(mode_t mode);
/* Ends the call because path does not exist; names the nearest name that does. */
void moon__file_missing(moon_call *call, const char *path);
/* One numbered line, as file.read shows them: "%6zu\t%s\n", cut to 2,000 bytes. */
void moon__file_line(moon__bytes *out, size_t number, const char *line, size_t n, size_t whole);
enum { MOON__LINE_MAX = 2000 };
#endif
