/* SPDX-License-Identifier: MIT */
/* Does an answer fit the schema that it has to? */
#include "output.h"

#include <string.h>

/* JSON as models write it: maybe inside a Markdown fence. */
static void unfence(const char **text, size_t *n) {
    const char *p = *text, *end = p + *n;
    while (p < end && strchr(" \t\r\n", *p)) p++;
    while (end > p && strchr(" \t\r\n", end[-1])) end--;
    if (end - p > 6 && !memcmp(p, "```", 3) && !memcmp(end - 3, "```", 3)) {
        const char *line = memchr(p, '\n', (size_t)(end - p));
        if (line && line < end - 3) p = line + 1, end -= 3;
    }
    *text = p;
    *n = (size_t)(end - p);
}

moon_status moon__output_check(const moon__schema *schema, const char *text, size_t n, moon__buf *out, moon__buf *why) {
    moon_json *value = NULL;
    moon_error error = {0};
    unfence(&text, &n);
    moon_status status = moon__json_parse(&value, text, n, 0, &error);
    if (status)
        moon__buf_printf(why, "it is not JSON: %s", error.text);
    else
        status = moon__schema_check(schema, value, why);
    if (!status) moon__json_print(out, value);
    moon__json_free(value);
    return status ? status : out->status;
}

const char *moon__answer_cut(const moon__answer *answer) {
    if (answer->n_calls) return NULL;
    if (!strcmp(answer->finish, "length"))
        return "the answer was cut at the model's output limit (raise max_output_tokens)";
    if (!strcmp(answer->finish, "content_filter")) return "the provider's content filter cut the answer";
    if (!answer->text_length) return "the model gave an empty answer";
    return NULL;
}

/* A wrong key, model or address is the user's to mend, and waiting does not help; the rest is the provider's. */
moon_stop moon__answer_missing(moon_status status, const moon_error *error) {
    if (status == MOON_ENET) return MOON_STOP_PROVIDER;
    if (status != MOON_EPROVIDER) return MOON_STOP_FAILED;
    int http = error->cause;
    bool refused = http == 401 || http == 403 || http == 404, no_answer = http >= 200 && http <= 399;
    return refused || no_answer ? MOON_STOP_CONFIG : MOON_STOP_PROVIDER;
}
