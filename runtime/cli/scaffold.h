/* SPDX-License-Identifier: MIT */
#ifndef MOON_CLI_SCAFFOLD_H
#define MOON_CLI_SCAFFOLD_H
/* The files that `moonlet new` writes: line by line, "%N" standing for the name that was given. */
#include <sys/types.h>

typedef struct moon__cli_template {
    const char *name;         /* of the file, "%N" as in the text */
    const char *const *lines; /* ends with NULL */
    mode_t mode;
} moon__cli_template;

/* Each ends with an entry whose name is NULL. */
extern const moon__cli_template moon__cli_new_agent[];
extern const moon__cli_template moon__cli_new_tool[];
#endif
