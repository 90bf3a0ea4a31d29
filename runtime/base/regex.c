/* SPDX-License-Identifier: MIT */
/* Patterns on PCRE2. The only file here that knows it. */
#include "regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdlib.h>

/* Limits of one search. A step of PCRE2 takes about 20 ns; a longer text may take more of them. */
enum {
    PATTERN_MAX = 8192,
    PARENS_MAX = 100,
    STEPS_MIN = 10000,
    STEPS_MAX = 1000000,
    STEPS_PER_BYTE = 8,
    HEAP_KIB = 4096
};

struct moon__regex {
    pcre2_code *code;
};

static moon_status compile(moon__regex *regex, const char *pattern, size_t n, moon_error *error) {
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    if (!context) return moon_error_set(error, MOON_ENOMEM, "no memory for a pattern");
    pcre2_set_max_pattern_length(context, PATTERN_MAX);
    pcre2_set_parens_nest_limit(context, PARENS_MAX);
    int code = 0;
    PCRE2_SIZE at = 0;
    regex->code = pcre2_compile((PCRE2_SPTR)pattern, n,
                                PCRE2_UTF | PCRE2_DOLLAR_ENDONLY | PCRE2_ALT_BSUX | PCRE2_ALLOW_EMPTY_CLASS |
                                    PCRE2_MATCH_UNSET_BACKREF | PCRE2_NEVER_BACKSLASH_C,
                                &code, &at, context);
    pcre2_compile_context_free(context);
    if (regex->code) return MOON_OK;
    char why[128] = "";
    pcre2_get_error_message(code, (PCRE2_UCHAR *)why, sizeof why);
    return moon_error_set(error, MOON_EINVAL, "the pattern is not sound at byte %zu: %s", (size_t)at, why);
}

moon_status moon__regex_new(moon__regex **out, const char *pattern, size_t n, moon_error *error) {
    *out = NULL;
    moon__regex *regex = calloc(1, sizeof *regex);
    if (!regex) return moon_error_set(error, MOON_ENOMEM, "no memory for a pattern");
    moon_status status = compile(regex, pattern, n, error);
    if (status)
        free(regex);
    else
        *out = regex;
    return status;
}

void moon__regex_free(moon__regex *regex) {
    if (!regex) return;
    pcre2_code_free(regex->code);
    free(regex);
}

moon_status moon__regex_find(const moon__regex *regex, const char *text, size_t n) {
    moon_status status = MOON_ENOMEM;
    pcre2_match_context *context = pcre2_match_context_create(NULL);
    pcre2_match_data *data = pcre2_match_data_create(1, NULL);
    if (context && data) {
        size_t steps = n > STEPS_MAX / STEPS_PER_BYTE ? STEPS_MAX : STEPS_MIN + n * STEPS_PER_BYTE;
        pcre2_set_match_limit(context, (uint32_t)steps);
        pcre2_set_heap_limit(context, HEAP_KIB);
        int found = pcre2_match(regex->code, (PCRE2_SPTR)text, n, 0, 0, data, context);
        status = found >= 0                      ? MOON_OK
                 : found == PCRE2_ERROR_NOMATCH  ? MOON_ENOTFOUND
                 : found == PCRE2_ERROR_NOMEMORY ? MOON_ENOMEM
                                                 : MOON_ELIMIT;
    }
    pcre2_match_data_free(data);
    pcre2_match_context_free(context);
    return status;
}
