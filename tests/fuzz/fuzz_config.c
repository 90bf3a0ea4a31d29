/* SPDX-License-Identifier: MIT */
/* Configuration files: any bytes end in a table or an error, soon, and a repository's file never gets what it may not
 * have. */
#include <stdint.h>
#include <stdlib.h>

#include "script.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    for (int trusted = 0; trusted < 2; trusted++) {
        moon__config config = {0};
        moon_error error = {0};
        if (moon__config_text(&config, (const char *)data, size, "config.lua", trusted, &error)) {
            if (!error.text[0]) abort();
            continue;
        }
        if (!trusted && (config.providers || config.plugins)) abort();
        moon__config_free(&config);
    }
    return 0;
}
