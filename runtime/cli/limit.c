/* SPDX-License-Identifier: MIT */
#include "limit.h"

#include "text.h"

#include <string.h>

/* A number as people write it in full: digits, for usd with a point. 0 is 0. */
static bool read_number(const char *text, bool whole, double *out) {
    size_t digits = strspn(text, "0123456789"), n = digits;
    if (digits == 0 || digits > 15) return false;
    if (!whole && text[n] == '.') {
        size_t more = strspn(text + n + 1, "0123456789");
        if (more == 0 || more > 15) return false;
        n += 1 + more;
    }
    if (text[n]) return false;
    *out = 0;
    for (size_t i = 0; i < digits; i++) *out = *out * 10 + (text[i] - '0');
    double place = 1;
    for (size_t i = digits + 1; i < n; i++) *out += (text[i] - '0') * (place /= 10);
    return true;
}

int moon__cli_limit(const moon__cli_command *self, moon_limits *limits, const char *text) {
    enum { USD = 5 };
    static const char *const names[] = {"steps", "tool_calls", "seconds", "tokens", "handoffs", "usd", NULL};
    int64_t *const whole[] = {&limits->steps, &limits->tool_calls, &limits->seconds, &limits->tokens,
                              &limits->handoffs};
    char key[24] = "";
    size_t n, i = 0;
    const char *value;
    double number;
    if (!moon__cli_pair(text, &n, &value))
        return moon__cli_usage(self, "--limit is KEY=N, such as steps=20, not \"%s\"", text);
    memcpy(key, text, n < sizeof key ? n : sizeof key - 1);
    while (names[i] && strcmp(names[i], key) != 0) i++;
    if (!names[i]) {
        const char *near = moon__nearest(key, names);
        return moon__cli_usage(self,
                               "there is no limit \"%s\"%s%s; the limits are steps, tool_calls, seconds, tokens, usd, "
                               "handoffs",
                               key, near ? "; did you mean " : "", near ? near : "");
    }
    if (!read_number(value, i < USD, &number))
        return moon__cli_usage(self, "--limit %s: \"%s\" is not a %snumber from 0 up", key, value,
                               i < USD ? "whole " : "");
    if (i < USD) {
        *whole[i] = (int64_t)number;
    } else {
        limits->usd = number;
    }
    return MOON__EXIT_OK;
}
