/* SPDX-License-Identifier: MIT */
/*
 * JSON values: cJSON's parser and tree behind a strict check. The only file that knows cJSON.
 *
 * cJSON keeps both of two members of the same name; which one counts would then depend on the reader, and a policy
 * could look at one while the tool acts on the other. So the later ones are taken out of the tree: the first counts,
 * for all.
 */
#include "json.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "json_scan.h"

#define MAX_EXACT 9007199254740992.0 /* 2^53: up to here a double holds every integer */

/* ---- parsing ---- */

typedef struct member {
    cJSON *item;
    size_t place;
} member;

static int by_name_then_place(const void *a, const void *b) {
    const member *x = a, *y = b;
    int order = strcmp(x->item->string, y->item->string);
    return order ? order : (x->place > y->place) - (x->place < y->place);
}

static void drop(cJSON *object, cJSON *item) {
    cJSON_Delete(cJSON_DetachItemViaPointer(object, item));
}

static bool is_twin(const cJSON *object, const cJSON *item) {
    for (const cJSON *other = object->child; other != item; other = other->next)
        if (strcmp(other->string, item->string) == 0) return true;
    return false;
}

/* Later members of a name are dropped; sorted when there are many, as the text may be built to make this slow. */
static moon_status drop_twins(cJSON *object) {
    enum { FEW = 16 };
    size_t n = moon_json_size((const moon_json *)object), i = 0;
    if (n <= FEW) {
        for (cJSON *item = object->child, *next; item; item = next) {
            next = item->next;
            if (is_twin(object, item)) drop(object, item);
        }
        return MOON_OK;
    }
    member *members = malloc(n * sizeof *members);
    if (!members) return MOON_ENOMEM;
    for (cJSON *item = object->child; item; item = item->next, i++) members[i] = (member){item, i};
    qsort(members, n, sizeof *members, by_name_then_place);
    const char *name = members[0].item->string;
    for (i = 1; i < n; i++) {
        if (strcmp(members[i].item->string, name) == 0)
            drop(object, members[i].item);
        else
            name = members[i].item->string;
    }
    free(members);
    return MOON_OK;
}

/* The depth was bounded by the check of the text. */
static moon_status drop_all_twins(cJSON *value) {
    if (cJSON_IsObject(value)) {
        moon_status status = drop_twins(value);
        if (status) return status;
    }
    for (cJSON *child = value->child; child; child = child->next) {
        moon_status status = drop_all_twins(child);
        if (status) return status;
    }
    return MOON_OK;
}

static moon_status parse_scanned(cJSON **out, const char *text, size_t length, bool twins) {
    *out = cJSON_ParseWithLengthOpts(text, length, NULL, false);
    if (!*out) return MOON_ENOMEM; /* the grammar was checked; nothing else is left */
    if (!twins || drop_all_twins(*out) == MOON_OK) return MOON_OK;
    cJSON_Delete(*out);
    *out = NULL;
    return MOON_ENOMEM;
}

moon_status moon__json_parse(moon_json **out, const char *text, size_t length, unsigned flags, moon_error *error) {
    *out = NULL;
    cJSON *tree = NULL;
    moon__json_scan scan;
    moon_status status = moon__json_scan_text(&scan, text, length, flags, error);
    if (status) return status;
    if (scan.broken_text) {
        moon__buf repaired;
        moon__buf_init(&repaired, length > SIZE_MAX / 3 ? SIZE_MAX : length * 3); /* a byte becomes three at most */
        moon__json_repair(&repaired, text, length);
        status = repaired.status;
        if (!status) status = parse_scanned(&tree, repaired.p, repaired.len, scan.twins);
        moon__buf_fini(&repaired);
    } else {
        status = parse_scanned(&tree, text, length, scan.twins);
    }
    if (status) return moon_error_set(error, status, "no memory for a JSON text of %zu bytes", length);
    *out = (moon_json *)tree;
    return MOON_OK;
}

moon_status moon__json_check(const char *text, size_t length, moon_error *error) {
    moon__json_scan scan;
    return moon__json_scan_text(&scan, text, length, 0, error);
}

moon_json *moon__json_borrow_text(const char *text) {
    return (moon_json *)cJSON_CreateStringReference(text);
}

void moon__json_free(moon_json *json) {
    cJSON_Delete((cJSON *)json);
}

/* ---- reading ---- */

static const cJSON *node(const moon_json *value) {
    return (const cJSON *)value;
}

moon_json_kind moon_json_type(const moon_json *value) {
    if (!value) return MOON_JSON_ABSENT;
    switch (node(value)->type & 0xFF) {
    case cJSON_NULL: return MOON_JSON_NULL;
    case cJSON_False:
    case cJSON_True: return MOON_JSON_BOOL;
    case cJSON_Number: return MOON_JSON_NUMBER;
    case cJSON_String: return MOON_JSON_STRING;
    case cJSON_Array: return MOON_JSON_ARRAY;
    case cJSON_Object: return MOON_JSON_OBJECT;
    default: return MOON_JSON_ABSENT;
    }
}

const moon_json *moon_json_get(const moon_json *object, const char *name) {
    if (!name || !object || (node(object)->type & 0xFF) != cJSON_Object) return NULL;
    const cJSON *item = node(object)->child;
    while (item && (*item->string != *name || strcmp(item->string, name) != 0)) item = item->next; /* mostly misses */
    return (const moon_json *)item;
}

const char *moon_json_str(const moon_json *value, size_t *length) {
    if (moon_json_type(value) != MOON_JSON_STRING) return NULL;
    const char *text = node(value)->valuestring;
    if (length) *length = strlen(text);
    return text;
}

bool moon_json_int(const moon_json *value, int64_t *out) {
    double number;
    if (!moon_json_num(value, &number) || fabs(number) > MAX_EXACT || number != trunc(number)) return false;
    *out = (int64_t)number;
    return true;
}

bool moon_json_num(const moon_json *value, double *out) {
    if (moon_json_type(value) != MOON_JSON_NUMBER) return false;
    *out = node(value)->valuedouble;
    return true;
}

bool moon_json_bool(const moon_json *value, bool *out) {
    if (moon_json_type(value) != MOON_JSON_BOOL) return false;
    *out = cJSON_IsTrue(node(value));
    return true;
}

size_t moon_json_size(const moon_json *value) {
    size_t n = 0;
    for (const moon_json *child = moon_json_first(value); child; child = moon_json_next(child)) n++;
    return n;
}

const moon_json *moon_json_first(const moon_json *value) {
    return value ? (const moon_json *)node(value)->child : NULL;
}

const moon_json *moon_json_next(const moon_json *value) {
    return value ? (const moon_json *)node(value)->next : NULL;
}

const char *moon_json_name(const moon_json *value) {
    return value ? node(value)->string : NULL;
}
