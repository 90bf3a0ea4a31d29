/* SPDX-License-Identifier: MIT */
#include "record.h"

#include <string.h>

/* In decimal, and a line feed. */
static char *put_line(char *at, uint64_t value) {
    char digits[20];
    size_t n = 0;
    do digits[n++] = (char)('0' + value % 10);
    while (value /= 10);
    while (n) *at++ = digits[--n];
    *at++ = '\n';
    return at;
}

static char *put_signed(char *at, int64_t value) {
    if (value < 0) *at++ = '-';
    return put_line(at, value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
}

/* SHA-256 of: the hash before, then seq, type and time in decimal, path and key, each ended by a line feed (which none
 * of them holds), then the body, or the hash of a large one. */
void moon__record_seal(moon_record *record, const unsigned char before[MOON_HASH_SIZE]) {
    char head[80];
    char *end = put_signed(put_signed(put_line(head, record->seq), record->type), record->time_us);
    moon__bytes body = {record->body, record->body_length};
    memset(record->body_hash, 0, MOON_HASH_SIZE);
    if (body.n > MOON__RECORD_INLINE) {
        moon__sha256(record->body_hash, &body, 1);
        body = (moon__bytes){record->body_hash, MOON_HASH_SIZE};
    }
    const moon__bytes parts[] = {{before, MOON_HASH_SIZE},
                                 {head, (size_t)(end - head)},
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
