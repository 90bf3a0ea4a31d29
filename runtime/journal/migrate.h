/* SPDX-License-Identifier: MIT */
#ifndef MOON_JOURNAL_MIGRATE_H
#define MOON_JOURNAL_MIGRATE_H
/* What becomes of a file that an older program wrote. */
#include "sqlite.h"

/* Brings a file that was just opened to the present format, in one transaction: it has the one or the other, whenever
 * the power fails. MOON_EBUSY: a run of it is being driven, by a program that knows the old one. */
MOON_MUST_USE moon_status moon__sqlite_migrate(moon_store *store, moon_error *error);
#endif
