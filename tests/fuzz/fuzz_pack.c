/* SPDX-License-Identifier: MIT */
/* A row of records: whatever the bytes, what is read of them lies within, and packs into the same bytes again. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "pack.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    moon__packed left = {data, data + size};
    moon_record record;
    for (const unsigned char *begin = left.p; moon__unpack(&left, &record); begin = left.p) {
        unsigned char *again = malloc(moon__pack_room(&record));
        if (!again) return 0;
        size_t n = (size_t)(moon__pack(again, &record) - again);
        if (n != (size_t)(left.p - begin) || memcmp(again, begin, n) != 0) abort();
        free(again);
    }
    return 0;
}
