/* SPDX-License-Identifier: MIT */
#ifndef MOON_TEST_TOOL_HOST_H
#define MOON_TEST_TOOL_HOST_H
/*
 * Runs a tool by itself, as the runtime would: arguments checked against the schema, on a real loop with workers, in a
 * directory of the test. Results stay valid until host_free.
 *
 *     tool_host *host = host_new("/tmp/x");
 *     host_result r = host_call(host, &moon__tool_file_read, "{\"path\":\"a.txt\"}");
 *     assert_true(r.ok); assert_string_equal(r.text, "…");
 */
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "call.h"

typedef struct host_result {
    bool ok, json, truncated, checked; /* checked: the arguments fitted the schema and the tool ran */
    const char *text;
    size_t length;
    char spill[32];
} host_result;

typedef struct tool_host {
    moon__loop *loop;
    moon__pool *pool;
    moon__space *space;
    moon__scratch *scratch;
    char **kept;
    size_t kept_count;
    bool over;
    host_result last;
} tool_host;

static inline tool_host *host_new(const char *dir) {
    moon_error error = {0};
    tool_host *host = calloc(1, sizeof *host);
    assert_non_null(host);
    assert_int_equal(moon__loop_new(&host->loop, &moon__clock_real, &error), MOON_OK);
    assert_int_equal(moon__pool_new(&host->pool, host->loop, 2, &error), MOON_OK);
    if (moon__space_new(&host->space, dir, &error)) fail_msg("%s", error.text);
    assert_int_equal(moon__scratch_new(&host->scratch, host->space, &error), MOON_OK);
    return host;
}

static inline void host_free(tool_host *host) {
    moon__pool_free(host->pool);
    moon__scratch_free(host->scratch);
    moon__space_free(host->space);
    moon__loop_free(host->loop);
    for (size_t i = 0; i < host->kept_count; i++) free(host->kept[i]);
    free(host->kept);
    free(host);
}

static inline char *host_keep(tool_host *host, const char *text, size_t n) {
    char *copy = malloc(n + 1);
    host->kept = realloc(host->kept, (host->kept_count + 1) * sizeof *host->kept);
    assert_true(copy && host->kept);
    memcpy(copy, text, n);
    copy[n] = 0;
    return host->kept[host->kept_count++] = copy;
}

static inline void host_done(void *ctx, const moon__call_result *result) {
    tool_host *host = ctx;
    host->last = (host_result){.ok = result->ok,
                               .json = result->json,
                               .truncated = result->truncated,
                               .checked = true,
                               .text = host_keep(host, result->text, result->length),
                               .length = result->length};
    memcpy(host->last.spill, result->spill, sizeof host->last.spill);
    host->over = true;
}

/* Starts a call without waiting; NULL if the arguments do not fit (host->last says why). */
static inline moon_call *host_start(tool_host *host, const moon__tool_entry *entry, const char *args) {
    moon__buf why;
    moon_json *parsed;
    moon_call *call = NULL;
    moon_error error = {0};
    moon__buf_init(&why, 64 << 10);
    host->over = false;
    if (moon__tool_check(entry, args, strlen(args), &parsed, &why)) {
        host->last = (host_result){.text = host_keep(host, why.p ? why.p : "", why.len), .length = why.len};
        host->over = true;
    } else {
        moon__call_options options = {.entry = entry,
                                      .args = parsed,
                                      .loop = host->loop,
                                      .pool = host->pool,
                                      .scratch = host->scratch,
                                      .done = host_done,
                                      .ctx = host};
        assert_int_equal(moon__call_start(&call, &options, &error), MOON_OK);
    }
    moon__buf_fini(&why);
    return call;
}

static inline host_result host_call(tool_host *host, const moon_tool *tool, const char *args) {
    moon__tool_entry entry;
    moon_error error = {0};
    if (moon__tool_entry_init(&entry, tool, &error)) fail_msg("%s", error.text);
    host_start(host, &entry, args);
    while (!host->over) moon__loop_step(host->loop, 10000);
    moon__tool_entry_fini(&entry);
    return host->last;
}
#endif
