/* SPDX-License-Identifier: MIT */
#ifndef MOON_TEST_LUA_HOST_H
#define MOON_TEST_LUA_HOST_H
/*
 * A runtime with Lua and nothing else (no built-in tools, no configuration), in a folder of the test, for scripts that
 * are given as text:
 *
 *     lua_host *host = lua_new();
 *     lua_result r = lua_run(host, "return function(input) return input end", "hello");
 *     assert_string_equal(r.text, "hello");
 *     lua_free(host);
 */
#include <dirent.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "script.h"

typedef struct lua_result {
    moon_stop stop;
    const char *text, *error; /* error: "" if there is none */
    const char *log;          /* "level:text\n" of each log event */
    const char *deltas;       /* "text\n" of each delta and progress */
    moon_usage usage;
} lua_result;

typedef struct lua_host {
    char dir[64];
    moon_runtime *runtime;
    moon_run *run; /* the last one */
    moon_error error;
    moon__buf log, deltas;
    unsigned scripts, finished; /* finished: run.finished events of the last run, children included */
    void (*on_event)(struct lua_host *host, moon_run *run, const moon_event *event);
} lua_host;

static inline void lua_path(const lua_host *host, const char *name, char path[160]) {
    snprintf(path, 160, "%s/%s", host->dir, name);
}

static inline void lua_file_bytes(const lua_host *host, const char *name, const char *bytes, size_t n) {
    char path[160];
    lua_path(host, name, path);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, n, file), n);
    assert_int_equal(fclose(file), 0);
}

static inline void lua_file(const lua_host *host, const char *name, const char *text) {
    lua_file_bytes(host, name, text, strlen(text));
}

static inline lua_host *lua_new(void) {
    lua_host *host = calloc(1, sizeof *host);
    assert_non_null(host);
    snprintf(host->dir, sizeof host->dir, "/tmp/moonlet-lua-XXXXXX");
    assert_non_null(mkdtemp(host->dir));
    moon__buf_init(&host->log, 1 << 20);
    moon__buf_init(&host->deltas, 1 << 20);
    moon_runtime_options options = {.size = sizeof options, .workspace = host->dir, .config = "", .seed = 7};
    if (moon__runtime_new_clock(&host->runtime, &options, &moon__clock_real, &host->error) ||
        moon__scripts_attach(host->runtime, &host->error))
        fail_msg("%s", host->error.text);
    return host;
}

static inline void lua_remove_dir(const char *path) {
    DIR *dir = opendir(path);
    struct dirent *item;
    while (dir && (item = readdir(dir))) {
        char inner[1024];
        if (!strcmp(item->d_name, ".") || !strcmp(item->d_name, "..")) continue;
        if (snprintf(inner, sizeof inner, "%s/%s", path, item->d_name) >= (int)sizeof inner) continue;
        if (unlink(inner) != 0) lua_remove_dir(inner);
    }
    if (dir) closedir(dir);
    rmdir(path);
}

static inline void lua_free(lua_host *host) {
    moon_run_unref(host->run);
    moon_runtime_free(host->runtime);
    moon__buf_fini(&host->log);
    moon__buf_fini(&host->deltas);
    lua_remove_dir(host->dir);
    free(host);
}

static inline void lua_on_event(void *ctx, moon_run *run, const moon_event *event) {
    lua_host *host = ctx;
    moon_json *body = NULL;
    if (event->type == MOON_EVENT_RUN_FINISHED) host->finished++;
    if (host->on_event) host->on_event(host, run, event);
    if (event->type != MOON_EVENT_LOG && event->type != MOON_EVENT_MODEL_DELTA &&
        event->type != MOON_EVENT_TOOL_PROGRESS)
        return;
    assert_int_equal(moon__json_parse(&body, event->body, event->body_length, 0, NULL), MOON_OK);
    const char *level = moon_json_str(moon_json_get(body, "level"), NULL),
               *text = moon_json_str(moon_json_get(body, "text"), NULL);
    if (level)
        moon__buf_printf(&host->log, "%s:%s\n", level, text);
    else if (text)
        moon__buf_printf(&host->deltas, "%s\n", text);
    moon__json_free(body);
}

/* Loads a script of the given text; fails the test if that does not succeed. */
static inline moon_status lua_load(lua_host *host, const char *text, moon_runnable **out) {
    char name[32], path[160];
    snprintf(name, sizeof name, "s%u.lua", host->scripts++);
    lua_file(host, name, text);
    lua_path(host, name, path);
    host->error = (moon_error){0};
    return moon_script_load(out, host->runtime, path, &host->error);
}

static inline void lua_start(lua_host *host, moon_runnable *runnable, const char *input) {
    moon_run_options options = {.size = sizeof options,
                                .input = input,
                                .allow_all = true,
                                .deltas = true,
                                .on_event = lua_on_event,
                                .ctx = host};
    moon_run_unref(host->run);
    host->run = NULL;
    host->finished = 0;
    moon__buf_reset(&host->log);
    moon__buf_reset(&host->deltas);
    if (moon_run_start(&host->run, host->runtime, runnable, &options, &host->error)) fail_msg("%s", host->error.text);
}

static inline lua_result lua_finish(lua_host *host) {
    for (int i = 0; i < 100000 && !moon_run_finished(host->run); i++)
        assert_int_equal(moon_runtime_step(host->runtime, 1000, NULL), MOON_OK);
    const moon_result *result = moon_run_result(host->run);
    assert_non_null(result);
    return (lua_result){.stop = result->stop,
                        .text = result->text,
                        .error = result->error ? result->error : "",
                        .log = host->log.p ? host->log.p : "",
                        .deltas = host->deltas.p ? host->deltas.p : "",
                        .usage = result->usage};
}

static inline lua_result lua_run(lua_host *host, const char *text, const char *input) {
    moon_runnable *runnable = NULL;
    if (lua_load(host, text, &runnable)) fail_msg("%s: %s", host->error.where, host->error.text);
    lua_start(host, runnable, input);
    lua_result result = lua_finish(host);
    moon_runnable_unref(runnable);
    return result;
}

/* The result of the body of a function(input, ctx); `moon` is there. */
static inline lua_result lua_eval(lua_host *host, const char *body) {
    size_t n = strlen(body) + 128;
    char *text = malloc(n);
    assert_non_null(text);
    snprintf(text, n, "local moon = require 'moonlet' return function(input, ctx) %s end", body);
    lua_result result = lua_run(host, text, "");
    free(text);
    return result;
}

#define assert_contains(text, part)                                                                                    \
    do {                                                                                                               \
        if (!strstr(text, part)) fail_msg("\"%s\" is not in \"%s\"", part, text);                                      \
    } while (0)
#endif
