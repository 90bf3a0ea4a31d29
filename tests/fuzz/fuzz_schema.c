/* SPDX-License-Identifier: MIT */
/* A schema and a value, separated by a NUL: neither may crash, loop, or pass what breaks a plain rule. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "schema.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const uint8_t *nul = memchr(data, 0, size);
    size_t n = nul ? (size_t)(nul - data) : size;
    moon__schema *schema;
    moon_json *value = NULL;
    moon_error error = {0};
    moon__buf why;
    if (moon__schema_new(&schema, (const char *)data, n, &error)) {
        if (!error.text[0]) abort(); /* a refusal says why */
        return 0;
    }
    moon__buf_init(&why, 64 << 10);
    if (nul && !moon__json_parse(&value, (const char *)nul + 1, size - n - 1, 0, &error)) {
        moon_status status = moon__schema_check(schema, value, &why);
        if (status == MOON_ESCHEMA && !why.len) abort();
    }
    moon__json_free(value);
    moon__buf_fini(&why);
    moon__schema_free(schema);
    return 0;
}
