/* SPDX-License-Identifier: MIT */
#include "pack.h"

#include <string.h>

enum { NUMBER_MAX = 10 }; /* bytes of 64 bits */

size_t moon__pack_room(const moon_record *record) {
    size_t body = record->body_length > MOON__RECORD_INLINE ? MOON_HASH_SIZE : record->body_length;
    return 3 * NUMBER_MAX + MOON_HASH_SIZE + strlen(record->path) + strlen(record->key) + 2 + body;
}

static unsigned char *put_number(unsigned char *at, uint64_t value) {
    for (; value > 127; value >>= 7) *at++ = (unsigned char)(value | 128);
    *at++ = (unsigned char)value;
    return at;
}

static unsigned char *put_bytes(unsigned char *at, const void *bytes, size_t n) {
    if (n) memcpy(at, bytes, n);
    return at + n;
}

unsigned char *moon__pack(unsigned char *at, const moon_record *record) {
    at = put_number(at, (uint64_t)record->type);
    at = put_number(at, (uint64_t)record->time_us);
    at = put_number(at, record->body_length);
    at = put_bytes(at, record->hash, MOON_HASH_SIZE);
    at = put_bytes(at, record->path, strlen(record->path) + 1);
    at = put_bytes(at, record->key, strlen(record->key) + 1);
    if (record->body_length > MOON__RECORD_INLINE) return put_bytes(at, record->body_hash, MOON_HASH_SIZE);
    return put_bytes(at, record->body, record->body_length);
}

/* In its shortest form, so that a record can be written in one way only. */
static bool take_number(moon__packed *bytes, uint64_t *value) {
    *value = 0;
    for (int shift = 0; bytes->p < bytes->end && shift < 64; shift += 7) {
        unsigned char byte = *bytes->p++;
        if (shift == 63 && byte > 1) return false;
        *value |= (uint64_t)(byte & 127) << shift;
        if (byte < 128) return byte != 0 || shift == 0;
    }
    return false;
}

static const void *take_bytes(moon__packed *bytes, size_t n) {
    if (n > (size_t)(bytes->end - bytes->p)) return NULL;
    bytes->p += n;
    return bytes->p - n;
}

static const char *take_text(moon__packed *bytes) {
    const unsigned char *nul = bytes->p < bytes->end ? memchr(bytes->p, 0, (size_t)(bytes->end - bytes->p)) : NULL;
    return nul ? take_bytes(bytes, (size_t)(nul - bytes->p) + 1) : NULL;
}

bool moon__unpack(moon__packed *bytes, moon_record *record) {
    uint64_t type, time_us, length;
    if (!take_number(bytes, &type) || !take_number(bytes, &time_us) || !take_number(bytes, &length)) return false;
    if (type > INT32_MAX || length > INT32_MAX) return false;
    *record = (moon_record){.type = (moon_event_type)type, .time_us = (int64_t)time_us, .body_length = (size_t)length};
    const void *hash = take_bytes(bytes, MOON_HASH_SIZE);
    record->path = take_text(bytes);
    record->key = take_text(bytes);
    bool apart = length > MOON__RECORD_INLINE;
    const void *body = take_bytes(bytes, apart ? MOON_HASH_SIZE : (size_t)length);
    if (!hash || !record->path || !record->key || !body) return false;
    memcpy(record->hash, hash, MOON_HASH_SIZE);
    if (apart)
        memcpy(record->body_hash, body, MOON_HASH_SIZE);
    else
        record->body = body;
    return true;
}
