/* SPDX-License-Identifier: MIT */
#include "veil.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proc.h"
#include "text.h"

enum { KEY_SHORTEST = 6, VALUE_SHORTEST = 8, NAME_MAX_BYTES = 256 };

static bool is_token(char c) {
    return isalnum((unsigned char)c) || c == '_' || c == '-';
}

static size_t token(const char *text, size_t n) {
    size_t at = 0;
    while (at < n && is_token(text[at])) at++;
    return at;
}

/* ---- what is hidden ---- */

/* A path is named by such variables too (SSH_AUTH_SOCK) and is none; quotes and the like would not be found in JSON. */
static bool may_be_key(const char *value) {
    size_t n = strlen(value);
    if (n < VALUE_SHORTEST || !moon__text_sound(value, n)) return false;
    if (*value == '/' && strchr(value + 1, '/')) return false;
    for (; *value; value++)
        if ((unsigned char)*value < ' ' || *value == '"' || *value == '\\') return false;
    return true;
}

static moon_status add(moon__veil *veil, const char *secret) {
    for (size_t i = 0; i < veil->n_secrets; i++)
        if (strcmp(veil->secrets[i], secret) == 0) return MOON_OK;
    if (veil->n_secrets == MOON__VEIL_SECRETS) return MOON_ELIMIT;
    char *copy = moon__strdup(secret);
    if (!copy) return MOON_ENOMEM;
    veil->secrets[veil->n_secrets++] = copy;
    veil->first[(unsigned char)*copy] = true;
    return MOON_OK;
}

moon_status moon__veil_add(moon__veil *veil, const char *secret) {
    return secret && strlen(secret) >= KEY_SHORTEST ? add(veil, secret) : MOON_OK;
}

static moon_status add_environment(moon__veil *veil) {
    for (char **e = environ; e && *e; e++) {
        char name[NAME_MAX_BYTES];
        size_t n = strcspn(*e, "=");
        if (n >= sizeof name || !(*e)[n] || !may_be_key(*e + n + 1)) continue;
        memcpy(name, *e, n);
        name[n] = '\0';
        moon_status status = moon__env_is_secret(name) ? add(veil, *e + n + 1) : MOON_OK;
        if (status) return status;
    }
    return MOON_OK;
}

/* One that is whole in JSON too, and not a part of every other path. */
static bool can_be_signed(const char *workspace) {
    size_t n = strlen(workspace);
    if (n < 2 || *workspace != '/' || !moon__text_sound(workspace, n)) return false;
    for (; *workspace; workspace++)
        if ((unsigned char)*workspace < ' ' || *workspace == '"' || *workspace == '\\') return false;
    return true;
}

moon_status moon__veil_init(moon__veil *veil, const char *workspace, moon_error *error) {
    static const char heads[] = "sgrxAeBhnp-"; /* of the forms below */
    *veil = (moon__veil){0};
    for (const char *p = heads; *p; p++) veil->first[(unsigned char)*p] = true;
    if (workspace && can_be_signed(workspace)) {
        veil->workspace = moon__strdup(workspace);
        if (!veil->workspace) return moon_error_set(error, MOON_ENOMEM, "out of memory");
        veil->first['/'] = true;
    }
    moon_status status = add_environment(veil);
    if (!status) return MOON_OK;
    moon__veil_fini(veil);
    if (status == MOON_ELIMIT)
        return moon_error_set(error, status, "over %d variables of the environment look like secrets",
                              MOON__VEIL_SECRETS);
    return moon_error_set(error, status, "out of memory");
}

void moon__veil_fini(moon__veil *veil) {
    for (size_t i = 0; i < veil->n_secrets; i++) {
        explicit_bzero(veil->secrets[i], strlen(veil->secrets[i]));
        free(veil->secrets[i]);
    }
    free(veil->workspace);
    *veil = (moon__veil){0};
}

/* ---- forms of keys; each gives how many bytes of text are one, 0: none ---- */

static bool has_digit(const char *text, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (isdigit((unsigned char)text[i])) return true;
    return false;
}

static size_t prefixed(const char *text, size_t n) {
    static const struct {
        const char *prefix;
        size_t rest; /* at least so many bytes after it, a digit among them */
    } kinds[] = {
        {"sk-", 20},   {"sk_live_", 16}, {"sk_test_", 16}, {"rk_live_", 16}, {"gsk_", 20},        {"ghp_", 20},
        {"gho_", 20},  {"ghu_", 20},     {"ghs_", 20},     {"ghr_", 20},     {"github_pat_", 20}, {"glpat-", 16},
        {"xoxb-", 12}, {"xoxp-", 12},    {"xoxa-", 12},    {"xoxr-", 12},    {"xoxs-", 12},       {"xai-", 20},
        {"hf_", 20},   {"npm_", 20},     {"pypi-", 20},    {"AKIA", 16},     {"ASIA", 16},        {"AIza", 30},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        size_t head = strlen(kinds[i].prefix);
        if (head > n || memcmp(text, kinds[i].prefix, head) != 0) continue;
        size_t rest = token(text + head, n - head);
        if (rest >= kinds[i].rest && has_digit(text + head, rest)) return head + rest;
    }
    return 0;
}

static size_t web_token(const char *text, size_t n) {
    size_t at = 0;
    if (n < 3 || memcmp(text, "eyJ", 3) != 0) return 0;
    for (int part = 0; part < 3; part++) {
        if (part && (at == n || text[at++] != '.')) return 0;
        size_t length = token(text + at, n - at);
        if (length < 10) return 0;
        at += length;
    }
    return at;
}

static bool is_bearer(char c) {
    return is_token(c) || (c && strchr("._~+/=", c));
}

/* The bytes of "Bearer " that come before its token; the token itself is hidden. */
static size_t bearer(const char *text, size_t n, size_t *head) {
    static const char word[] = "Bearer ";
    size_t at = sizeof word - 1, rest = 0;
    if (n < at || memcmp(text, word, at) != 0) return 0;
    while (at + rest < n && is_bearer(text[at + rest])) rest++;
    if (rest < 16 || !has_digit(text + at, rest)) return 0;
    *head = at;
    return at + rest;
}

static size_t private_key(const char *text, size_t n) {
    static const char begin[] = "-----BEGIN ", kind[] = "PRIVATE KEY-----", end[] = "-----END ";
    enum { LABEL = 64 };
    if (n < sizeof begin - 1 || memcmp(text, begin, sizeof begin - 1) != 0) return 0;
    const char *label = memmem(text, n < LABEL ? n : LABEL, kind, sizeof kind - 1);
    const char *last = label ? memmem(label, n - (size_t)(label - text), end, sizeof end - 1) : NULL;
    size_t left = last ? n - (size_t)(last - text) : 0;
    const char *tail = last ? memmem(last, left < LABEL ? left : LABEL, kind, sizeof kind - 1) : NULL;
    return tail ? (size_t)(tail - text) + sizeof kind - 1 : 0;
}

/* ---- a text ---- */

static size_t secret_at(const moon__veil *veil, const char *text, size_t n) {
    size_t longest = 0;
    for (size_t i = 0; i < veil->n_secrets; i++) {
        size_t length = strlen(veil->secrets[i]);
        if (length > longest && length <= n && memcmp(text, veil->secrets[i], length) == 0) longest = length;
    }
    return longest;
}

/* Does a word begin at `at`? The letter of an escape ("\n") is none. */
static bool begins_word(const char *text, size_t at) {
    if (at == 0 || !is_token(text[at - 1])) return true;
    return at > 1 && text[at - 2] == '\\';
}

/* The workspace as a path, not as a part of a longer one: "/work" in "/home/work" or "/workshop" is none. */
static bool workspace_at(const moon__veil *veil, const char *text, size_t n, size_t at) {
    size_t length = veil->workspace ? strlen(veil->workspace) : 0;
    if (!length || length > n - at || memcmp(text + at, veil->workspace, length) != 0) return false;
    size_t next = at + length;
    if (next < n && (is_token(text[next]) || (text[next] == '.' && next + 1 < n && is_token(text[next + 1]))))
        return false;
    return begins_word(text, at) && (at == 0 || (text[at - 1] != '/' && text[at - 1] != '.'));
}

/* How many bytes at `at` are hidden; *kept of them come before and stay. */
static size_t hidden_at(const moon__veil *veil, const char *text, size_t n, size_t at, size_t *kept) {
    *kept = 0;
    size_t length = secret_at(veil, text + at, n - at);
    if (length) return length;
    length = private_key(text + at, n - at);
    if (length || !begins_word(text, at)) return length;
    length = prefixed(text + at, n - at);
    if (!length) length = web_token(text + at, n - at);
    if (length) return length;
    return bearer(text + at, n - at, kept);
}

void moon__veil_text(const moon__veil *veil, moon__buf *out, const char *text, size_t n) {
    size_t start = out->len, from = 0;
    if (!n) return;
    for (size_t at = 0; at < n;) {
        size_t length = 0, kept = 0;
        if (veil->first[(unsigned char)text[at]]) length = hidden_at(veil, text, n, at, &kept);
        bool place = !length && text[at] == '/' && workspace_at(veil, text, n, at);
        if (!length && !place) {
            at++;
            continue;
        }
        if (place) length = strlen(veil->workspace);
        moon__buf_add(out, text + from, at + kept - from);
        moon__buf_str(out, place ? MOON__WORKSPACE_SIGN : "***");
        from = at += length;
    }
    moon__buf_add(out, text + from, n - from);
    if (out->status) moon__buf_cut(out, start);
}

void moon__veil_lift(const moon__veil *veil, moon__buf *out, const char *text, size_t n) {
    static const char mark[] = MOON__WORKSPACE_SIGN;
    size_t start = out->len;
    if (!n) return;
    const char *end = text + n, *at;
    while (veil->workspace && (at = memmem(text, (size_t)(end - text), mark, sizeof mark - 1))) {
        moon__buf_add(out, text, (size_t)(at - text));
        moon__buf_str(out, veil->workspace);
        text = at + sizeof mark - 1;
    }
    moon__buf_add(out, text, (size_t)(end - text));
    if (out->status) moon__buf_cut(out, start);
}
