/* SPDX-License-Identifier: MIT */
/* JSON that is not all of a text. Of a text that is JSON every prefix must give JSON or need more; of any other text
 * what comes out must be refused by the parser, or be sound; what is found in prose must be JSON as it stands. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "json_part.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Completes the first n bytes, from a block of just that size. */
static moon_status complete(const uint8_t *data, size_t n, bool *whole, bool *parses) {
    char *exact = malloc(n + (n == 0));
    moon__buf out;
    moon_error error = {0};
    moon__buf_init(&out, 1 << 20);
    if (n) memcpy(exact, data, n);
    moon_status status = moon__json_complete(&out, exact, n, whole, &error);
    if (status && !error.text[0]) abort();
    *parses = !status && moon__json_check(out.p, out.len, &error) == MOON_OK;
    moon__buf_fini(&out);
    free(exact);
    return status;
}

static void check_prefixes(const uint8_t *data, size_t size) {
    bool whole, parses;
    for (size_t n = size > 200 ? size - 200 : 0; n < size; n++) {
        moon_status status = complete(data, n, &whole, &parses);
        if (status != MOON_ENOTFOUND && (status != MOON_OK || !parses)) abort();
    }
}

static void check_found(const uint8_t *data, size_t size) {
    moon__json_place place;
    moon_error error = {0};
    char *exact = malloc(size + (size == 0));
    if (size) memcpy(exact, data, size);
    moon_status status =
        moon__json_find(&place, exact, size, MOON__JSON_OBJECTS | (size & 1 ? MOON__JSON_ARRAYS : 0), &error);
    if (status ? !error.text[0] : place.at + place.n > size || moon__json_check(exact + place.at, place.n, &error))
        abort();
    free(exact);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    bool whole, parses, is_json = moon__json_check((const char *)data, size, NULL) == MOON_OK;
    moon_status status = complete(data, size, &whole, &parses);
    if (whole && !status && parses != is_json) abort();
    if (is_json) check_prefixes(data, size);
    check_found(data, size);
    return 0;
}
