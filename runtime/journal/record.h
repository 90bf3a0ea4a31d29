/* SPDX-License-Identifier: MIT */
#ifndef MOON_JOURNAL_RECORD_H
#define MOON_JOURNAL_RECORD_H
/* The hash chain: each record's hash covers the one before it, so that no record can be changed, dropped or put in
 * without all after it being wrong. */
#include "hash.h"
#include <moonlet/extend.h>

/* Sets body_hash and hash from the other members; before: the hash of the record before it, zeroes for the first. */
void moon__record_seal(moon_record *record, const unsigned char before[MOON_HASH_SIZE]);
/* Are both hashes what they have to be? */
bool moon__record_sound(const moon_record *record, const unsigned char before[MOON_HASH_SIZE]);
#endif
