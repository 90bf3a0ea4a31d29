/* SPDX-License-Identifier: MIT */
/* Which versions of which prompts a run used: each is told once, so that a loop that renders one a thousand times costs
 * an event. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime.h"

enum { REMEMBERED = 1000 }; /* a run tells of at most so many */

struct moon__prompt_seen {
    struct moon__prompt_seen *next;
    char key[];
};

/* Was it told before? It then stands first in the list. */
static bool seen(moon_run *run, const char *key, size_t *n) {
    *n = 0;
    for (moon__prompt_seen **at = &run->prompts; *at; at = &(*at)->next, ++*n) {
        moon__prompt_seen *one = *at;
        if (strcmp(one->key, key) != 0) continue;
        *at = one->next;
        one->next = run->prompts;
        run->prompts = one;
        return true;
    }
    return false;
}

static bool remember(moon_run *run, const char *key) {
    size_t size = strlen(key) + 1;
    moon__prompt_seen *one = malloc(sizeof *one + size);
    if (!one) return false; /* told again next time */
    memcpy(one->key, key, size);
    one->next = run->prompts;
    run->prompts = one;
    return true;
}

void moon__run_prompt(moon_run *run, const char *name, const char *hash) {
    char key[256];
    size_t n;
    moon__buf body;
    moon__jw w;
    snprintf(key, sizeof key, "%.16s %.200s", hash, name);
    if (seen(run, key, &n) || n >= REMEMBERED) return;
    (void)remember(run, key);
    if (!moon__run_tells(run, MOON_EVENT_PROMPT_RENDERED, key)) return;
    moon__buf_init(&body, 4096);
    moon__jw_init(&w, &body);
    moon__jw_object(&w, NULL);
    moon__jw_str(&w, "name", name, SIZE_MAX);
    moon__jw_str(&w, "hash", hash, SIZE_MAX);
    moon__jw_end(&w);
    moon__run_event(run, MOON_EVENT_PROMPT_RENDERED, key, &body);
    moon__buf_fini(&body);
}

void moon__run_prompts_free(moon_run *run) {
    for (moon__prompt_seen *one = run->prompts, *next; one; one = next) {
        next = one->next;
        free(one);
    }
}
