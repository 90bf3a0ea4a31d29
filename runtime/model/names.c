/* SPDX-License-Identifier: MIT */
/* The table that maps tool names to the wire's and back. */
#include "names.h"

#include <stdlib.h>
#include <string.h>

static bool allowed(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
}

void moon__wire_name(char wire[MOON__WIRE_NAME], const char *name) {
    size_t n = 0;
    for (; name[n] && n < MOON__WIRE_NAME - 1; n++) wire[n] = allowed(name[n]) ? name[n] : '_';
    if (n == 0) wire[n++] = '_'; /* an empty name in the history would have every later request refused */
    wire[n] = '\0';
}

static int by_wire(const void *a, const void *b) {
    return strcmp(((const moon__name_pair *)a)->wire, ((const moon__name_pair *)b)->wire);
}

moon_status moon__names_init(moon__names *names, const moon_wire_tool *tools, size_t n, moon_error *error) {
    *names = (moon__names){0};
    if (n == 0) return MOON_OK;
    names->pairs = calloc(n, sizeof *names->pairs);
    if (!names->pairs) return moon_error_set(error, MOON_ENOMEM, "out of memory");
    names->n = n;
    for (size_t i = 0; i < n; i++) {
        moon__wire_name(names->pairs[i].wire, tools[i].name);
        names->pairs[i].dotted = tools[i].name;
    }
    qsort(names->pairs, n, sizeof *names->pairs, by_wire);
    for (size_t i = 1; i < n; i++) {
        const moon__name_pair *a = &names->pairs[i - 1], *b = &names->pairs[i];
        if (strcmp(a->wire, b->wire) != 0) continue;
        moon_status status =
            moon_error_set(error, MOON_EINVAL, "the tools \"%s\" and \"%s\" are both \"%s\" to the model", a->dotted,
                           b->dotted, a->wire);
        moon__names_fini(names);
        return status;
    }
    return MOON_OK;
}

void moon__names_fini(moon__names *names) {
    free(names->pairs);
    *names = (moon__names){0};
}

static const moon__name_pair *find(const moon__names *names, const char *wire) {
    for (size_t low = 0, high = names ? names->n : 0; low < high;) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(wire, names->pairs[middle].wire);
        if (order == 0) return &names->pairs[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

const char *moon__names_dotted(const moon__names *names, const char *wire) {
    const moon__name_pair *pair = find(names, wire);
    return pair ? pair->dotted : NULL;
}

const char *moon__names_wire(const moon__names *names, const char *dotted) {
    char wire[MOON__WIRE_NAME];
    moon__wire_name(wire, dotted);
    const moon__name_pair *pair = find(names, wire);
    return pair ? pair->wire : NULL;
}
