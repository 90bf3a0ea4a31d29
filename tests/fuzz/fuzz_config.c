/* SPDX-License-Identifier: MIT */
/* Configuration files: any bytes end in a table or an error with a text and a place, soon, and a repository's file
 * never gets what it may not have. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "script.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const moon__config *config, bool trusted) {
    const moon_limits *limits = &config->limits;
    if (limits->steps < -1 || limits->tool_calls < -1 || limits->seconds < -1 || limits->tokens < -1) abort();
    if (trusted) return;
    if (config->providers || config->plugins) abort();
    for (const moon_json *m = moon_json_first(config->policy); m; m = moon_json_next(m))
        if (strcmp(moon_json_str(m, NULL), "allow") == 0) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    for (int trusted = 0; trusted < 2; trusted++) {
        moon__config config;
        moon_error error = {0};
        if (moon__config_text(&config, (const char *)data, size, "config.lua", trusted, &error)) {
            if (!error.text[0] || !error.where[0] || config.json) abort();
            continue;
        }
        check(&config, trusted);
        moon__config_free(&config);
    }
    return 0;
}
