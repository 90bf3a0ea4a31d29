/* SPDX-License-Identifier: MIT */
/*
 * Texts for failures, and the rules for asking again. The rules are those of OpenAI's own SDK (7.x): 408, 409, 429 and
 * from 500 up, overridden by x-should-retry; retry-after-ms before retry-after (seconds or an HTTP date), which counts
 * up to a minute.
 */
#include "failure.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "text.h"

enum { KEY_SHORTEST = 6 }; /* shorter ones are no secrets, and would be found in any text */

void moon__plain(char *out, size_t room, const char *text, size_t n) {
    size_t at = 0;
    for (size_t i = 0; i < n && at + 1 < room;) {
        unsigned char c = (unsigned char)text[i];
        size_t width = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
        if (width > n - i || moon__utf8_valid(text + i, width) != width) {
            i++;
            continue;
        }
        bool c1 = c == 0xc2 && (unsigned char)text[i + 1] < 0xa0;
        if (c == '\n' || c == '\r' || c == '\t' || c == ' ') {
            if (at > 0 && out[at - 1] != ' ') out[at++] = ' ';
        } else if (c >= 0x20 && c != 0x7f && !c1) {
            if (at + width >= room) break;
            memcpy(out + at, text + i, width);
            at += width;
        }
        i += width;
    }
    if (at > 0 && out[at - 1] == ' ') at--;
    if (room) out[at] = '\0';
}

void moon__hide_key(char *text, const char *key) {
    size_t key_length = key ? strlen(key) : 0;
    if (key_length < KEY_SHORTEST) return;
    for (char *p = text; *p; p++) {
        size_t left = strlen(p), n = left < key_length ? left : key_length;
        if (n < KEY_SHORTEST || memcmp(p, key, n) != 0) continue;
        memmove(p + 3, p + n, left - n + 1);
        memcpy(p, "***", 3);
    }
}

/* ---- texts ---- */

static void refused_key(moon_error *error, const moon__asked *asked, int http, const char *colon, const char *said) {
    const char *name = asked->key_name;
    if (asked->key)
        moon_error_set(error, MOON_EPROVIDER, "%s refused the key%s%s (HTTP %d)%s%s", asked->url, name ? " in " : "",
                       name ? name : "", http, colon, said);
    else
        moon_error_set(error, MOON_EPROVIDER, "%s wants a key (HTTP %d): set %s%s%s", asked->url, http,
                       name ? name : "key_env of the provider", colon, said);
}

static void not_found(moon_error *error, const moon__asked *asked, const char *colon, const char *said,
                      bool known_form) {
    if (known_form)
        moon_error_set(error, MOON_EPROVIDER, "the model \"%s\" is not known at %s (HTTP 404)%s%s", asked->model,
                       asked->url, colon, said);
    else
        moon_error_set(error, MOON_EPROVIDER,
                       "nothing answers at %s (HTTP 404): is the base URL right (it usually ends in /v1), and is the "
                       "model \"%s\" known there?%s%s",
                       asked->url, asked->model, *said ? " It says: " : "", said);
}

void moon__http_failure(moon_error *error, const moon__asked *asked, int http, const char *said, bool known_form) {
    const char *colon = *said ? ": " : "";
    const char *url = asked->url;
    if (http == 401)
        refused_key(error, asked, http, colon, said);
    else if (http == 404)
        not_found(error, asked, colon, said, known_form);
    else if (http == 429)
        moon_error_set(error, MOON_EPROVIDER, "%s takes no more requests for now (HTTP 429)%s%s", url, colon, said);
    else if (http >= 500)
        moon_error_set(error, MOON_EPROVIDER, "%s failed (HTTP %d)%s%s", url, http, colon, said);
    else if (http >= 400)
        moon_error_set(error, MOON_EPROVIDER, "%s refused the request (HTTP %d)%s%s", url, http, colon, said);
    else
        moon_error_set(error, MOON_EPROVIDER,
                       "%s answered with HTTP %d, not with a model's answer: is the base URL right (it usually ends in "
                       "/v1)?%s%s",
                       url, http, *said ? " It says: " : "", said);
    error->cause = http;
    moon__hide_key(error->text, asked->key);
}

/* ---- asking again ---- */

bool moon__status_passes(int http) {
    return http == 408 || http == 409 || http == 429 || (http >= 500 && http <= 599);
}

void moon__hints_init(moon__hints *hints) {
    *hints = (moon__hints){.should = -1, .after_ms = -1, .after_s_ms = -1};
}

/* A decimal number times scale, rounded down; -1 if the text is something else. Not strtod: that follows the locale. */
static int64_t parse_decimal(const char *text, int64_t scale) {
    int64_t value = 0;
    const char *p = text;
    if (*p < '0' || *p > '9') return -1;
    for (; *p >= '0' && *p <= '9'; p++) {
        value = value * 10 + (*p - '0');
        if (value > INT32_MAX) value = INT32_MAX; /* longer than anyone waits */
    }
    value *= scale;
    if (*p == '.')
        for (p++; *p >= '0' && *p <= '9'; p++) {
            scale /= 10;
            value += (*p - '0') * scale;
        }
    return *p ? -1 : value;
}

/* RFC 9110, section 5.6.7, the form that senders must use: "Sun, 06 Nov 1994 08:49:37 GMT". Seconds since 1970, -1: not
 * one. */
static int64_t parse_date(const char *text) {
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    char month[4] = "";
    struct tm tm = {0};
    if (sscanf(text, "%*3c, %2d %3c %4d %2d:%2d:%2d GMT", &tm.tm_mday, month, &tm.tm_year, &tm.tm_hour, &tm.tm_min,
               &tm.tm_sec) != 6)
        return -1;
    const char *at = strstr(months, month);
    if (!at || strlen(month) != 3 || (at - months) % 3 != 0) return -1;
    tm.tm_mon = (int)(at - months) / 3;
    tm.tm_year -= 1900;
    return (int64_t)timegm(&tm);
}

void moon__hints_header(moon__hints *hints, const char *name, const char *value, int64_t wall_us) {
    if (strcmp(name, "x-should-retry") == 0) {
        if (strcasecmp(value, "true") == 0) hints->should = 1;
        if (strcasecmp(value, "false") == 0) hints->should = 0;
    } else if (strcmp(name, "retry-after-ms") == 0) {
        hints->after_ms = parse_decimal(value, 1);
    } else if (strcmp(name, "retry-after") == 0) {
        hints->after_s_ms = parse_decimal(value, 1000);
        int64_t date = hints->after_s_ms < 0 ? parse_date(value) : -1;
        if (date >= 0 && date * 1000 > wall_us / 1000) hints->after_s_ms = date * 1000 - wall_us / 1000;
    }
}

int64_t moon__hints_wait_ms(const moon__hints *hints) {
    return hints->after_ms >= 0 ? hints->after_ms : hints->after_s_ms;
}

int64_t moon__backoff_ms(int attempt, moon__random *random) {
    double wait = attempt < 4 ? (double)(500 << (attempt < 0 ? 0 : attempt)) : 8000;
    return (int64_t)(wait * (1 - 0.25 * moon__random_unit(random)));
}
