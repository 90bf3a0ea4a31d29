/* SPDX-License-Identifier: MIT */
#ifndef MOON_CLI_ARGS_H
#define MOON_CLI_ARGS_H
/*
 * Command line options, from a table: `--name value`, `--name=value`, `-n value`, `-nvalue`, flags in a bundle (`-qy`),
 * options and operands in any order, and `--` after which everything is an operand. Nothing is guessed: an abbreviation
 * is an unknown option, and the message names the nearest known one.
 */
#include <stdbool.h>
#include <stddef.h>

typedef struct moon__cli_option {
    const char *name;  /* long form without its dashes; NULL ends a table */
    char letter;       /* 0: none */
    const char *value; /* what its value is called in the help; NULL: it takes none; "[DIR]": only as --name=DIR */
    const char *help;  /* NULL: another name for an option of the table, not listed */
    int id;            /* above 0 */
} moon__cli_option;

typedef struct moon__cli_args {
    const moon__cli_option *options;
    int argc, at;
    char **argv;
    const char *bundle; /* rest of "-abc" */
    bool only_operands;
    const char *value; /* of the option or operand just returned; NULL: none */
    char error[320];
} moon__cli_args;

enum { MOON__ARG_OPERAND = 0, MOON__ARG_END = -1, MOON__ARG_WRONG = -2 };

void moon__cli_args_init(moon__cli_args *args, const moon__cli_option *options, int argc, char **argv);
/* The id of the next option, or one of the above. WRONG: args->error says what. */
int moon__cli_args_next(moon__cli_args *args);

/* "KEY=VALUE" taken apart: the length of KEY, and VALUE; false if there is no "=" or KEY is empty. */
bool moon__cli_pair(const char *text, size_t *key_length, const char **value);
#endif
