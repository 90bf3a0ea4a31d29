/* SPDX-License-Identifier: MIT */
/* Reading the command line: see args.h for what is understood. */
#include "args.h"

#include "text.h"

#include <stdio.h>
#include <string.h>

void moon__cli_args_init(moon__cli_args *args, const moon__cli_option *options, int argc, char **argv) {
    *args = (moon__cli_args){.options = options, .argc = argc, .argv = argv};
}

static int wrong_option(moon__cli_args *args, const char *name, size_t length) {
    enum { MAX_NAMES = 48 };
    const char *names[MAX_NAMES + 1];
    size_t n = 0;
    for (const moon__cli_option *o = args->options; o->name && n < MAX_NAMES; o++) names[n++] = o->name;
    names[n] = NULL;
    char word[64];
    snprintf(word, sizeof word, "%.*s", (int)length, name);
    const char *near = moon__nearest(word, names);
    if (near) {
        snprintf(args->error, sizeof args->error, "unknown option --%s; did you mean --%s?", word, near);
    } else {
        snprintf(args->error, sizeof args->error, "unknown option --%s", word);
    }
    return MOON__ARG_WRONG;
}

static int long_option(moon__cli_args *args, const char *name) {
    size_t length = strcspn(name, "=");
    const moon__cli_option *o = args->options;
    while (o->name && (strncmp(o->name, name, length) != 0 || o->name[length])) o++;
    if (!o->name) return wrong_option(args, name, length);
    bool has_value = name[length] == '=';
    if (!o->value) {
        if (!has_value) return o->id;
        snprintf(args->error, sizeof args->error, "--%s takes no value", o->name);
        return MOON__ARG_WRONG;
    }
    if (has_value) {
        args->value = name + length + 1;
    } else if (o->value[0] == '[') {
        args->value = NULL; /* the next word is no value of it: it could be anything */
    } else if (args->at < args->argc) {
        args->value = args->argv[args->at++];
    } else {
        snprintf(args->error, sizeof args->error, "--%s needs a value: %s", o->name, o->value);
        return MOON__ARG_WRONG;
    }
    return o->id;
}

static int short_option(moon__cli_args *args) {
    char letter = *args->bundle++;
    const moon__cli_option *o = args->options;
    while (o->name && o->letter != letter) o++;
    if (!o->name) {
        snprintf(args->error, sizeof args->error, "unknown option -%c", letter);
        return MOON__ARG_WRONG;
    }
    if (!o->value) return o->id;
    if (*args->bundle) {
        args->value = args->bundle;
        args->bundle = NULL;
    } else if (args->at < args->argc) {
        args->value = args->argv[args->at++];
    } else {
        snprintf(args->error, sizeof args->error, "-%c needs a value: %s", letter, o->value);
        return MOON__ARG_WRONG;
    }
    return o->id;
}

int moon__cli_args_next(moon__cli_args *args) {
    args->value = NULL;
    if (args->bundle && *args->bundle) return short_option(args);
    while (args->at < args->argc) {
        const char *word = args->argv[args->at++];
        if (args->only_operands || word[0] != '-' || !word[1]) { /* "-" alone is an operand: standard input */
            args->value = word;
            return MOON__ARG_OPERAND;
        }
        if (strcmp(word, "--") == 0) {
            args->only_operands = true;
            continue;
        }
        if (word[1] == '-') return long_option(args, word + 2);
        args->bundle = word + 1;
        return short_option(args);
    }
    return MOON__ARG_END;
}

bool moon__cli_pair(const char *text, size_t *key_length, const char **value) {
    const char *equals = strchr(text, '=');
    if (!equals || equals == text) return false;
    *key_length = (size_t)(equals - text);
    *value = equals + 1;
    return true;
}
