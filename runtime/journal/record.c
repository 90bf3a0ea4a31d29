/* SPDX-License-Identifier: MIT */
#include "record.h"

#include <stdio.h>
#include <string.h>

/* SHA-256 of: the hash before, then seq, type and time in decimal, path and key, each ended by a line feed (which none
 * of them holds), then the body, or the hash of a large one. */
void moon__record_seal(moon_record *record, const unsigned char before[MOON_HASH_SIZE]) {
    char head[80];
    int n = snprintf(head, sizeof head, "%llu\n%d\n%lld\n", (unsigned long long)record->seq, (int)record->type,
                     (long long)record->time_us);
    moon__bytes body = {record->body, record->body_length};
    memset(record->body_hash, 0, MOON_HASH_SIZE);
    if (body.n > MOON__RECORD_INLINE) {
        moon__sha256(record->body_hash, &body, 1);
        body = (moon__bytes){record->body_hash, MOON_HASH_SIZE};
    }
    const moon__bytes parts[] = {{before, MOON_HASH_SIZE},
                                 {head, (size_t)n},
                                 {record->path, strlen(record->path)},
                                 {"\n", 1},
                                 {record->key, strlen(record->key)},
                                 {"\n", 1},
                                 body};
    moon__sha256(record->hash, parts, sizeof parts / sizeof *parts);
}

bool moon__record_sound(const moon_record *record, const unsigned char before[MOON_HASH_SIZE]) {
    moon_record again = *record;
    moon__record_seal(&again, before);
    return memcmp(again.hash, record->hash, MOON_HASH_SIZE) == 0 &&
           memcmp(again.body_hash, record->body_hash, MOON_HASH_SIZE) == 0;
}
