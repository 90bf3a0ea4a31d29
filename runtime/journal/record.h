/* SPDX-License-Identifier: MIT */
#ifndef MOON_JOURNAL_RECORD_H
#define MOON_JOURNAL_RECORD_H
/* The hash chain: each record's hash covers the one before it, so that no record can be changed, dropped or put in
 * without all after it being wrong. */
#include "hash.h"
#include <moonlet/extend.h>

/* A body of more bytes than this is hashed by itself, so that it can be kept under its hash; of others body_hash is
 * zero. */
enum { MOON__RECORD_INLINE = 4096 };

/* Sets body_hash and hash from the other members; before: the hash of the record before it, zeroes for the first. */
void moon__record_seal(moon_record *record, const unsigned char before[MOON_HASH_SIZE]);
/* Are both hashes what they have to be? */
bool moon__record_sound(const moon_record *record, const unsigned char before[MOON_HASH_SIZE]);
#endif
