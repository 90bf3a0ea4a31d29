/* SPDX-License-Identifier: MIT */
#ifndef MOON_JOURNAL_PACK_H
#define MOON_JOURNAL_PACK_H
/*
 * Records as bytes, one after the other, as they stand in a row of the store: of one run, with seqs that follow on each
 * other, of which only the first stands beside the bytes. A record is
 *
 *     type, time_us and length of the body, as LEB128 · hash, 32 bytes · path · NUL · key · NUL · body
 *
 * where a body of over MOON__RECORD_INLINE bytes is kept elsewhere, and its hash stands in its place.
 */
#include "record.h"

/* No packed record is longer. */
size_t moon__pack_room(const moon_record *record);
/* Writes a record that is sealed; returns the end. */
unsigned char *moon__pack(unsigned char *at, const moon_record *record);

/* Bytes that are left to be read. */
typedef struct moon__packed {
    const unsigned char *p, *end;
} moon__packed;

/* Takes the next record off; its seq is the caller's to set. What it points to lies in the bytes; a body that is kept
 * elsewhere is NULL, and its body_hash is set. False: there is no record, or what is there is none. */
bool moon__unpack(moon__packed *bytes, moon_record *record);
#endif
