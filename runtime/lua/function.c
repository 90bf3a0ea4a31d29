/* SPDX-License-Identifier: MIT */
/*
 * A function of a script as a runnable: f(input, ctx). Each run is a task.
 *
 *     return "text"        done, with that text; a table, number or boolean is written as JSON
 *     return nil, err      failed; an err that agent:run gave keeps its stop reason, and so does one that is raised
 */
#include "api.h"

#include <stdlib.h>
#include <string.h>

typedef struct function {
    moon_runnable base; /* first */
    moon__script *script;
    int fn;
} function;

static void prepare(lua_State *L, moon__task *task, void *arg) {
    function *f = arg;
    size_t n;
    moon_error error;
    const char *input = moon__run_input(task->run, &n);
    lua_rawgeti(L, LUA_REGISTRYINDEX, f->fn);
    if (!moon__run_input_json(task->run) || !moon__lua_parse(L, input, n, MOON__NULLS_ARE_NIL, &error))
        lua_pushlstring(L, input, n);
    moon__ctx_push(L, task);
}

/* The stop reason of a name; FAILED also for "done", which no error is. */
static moon_stop stop_of(const char *name) {
    moon_stop stop = moon__stop_named(name);
    return stop == MOON_STOP_DONE ? MOON_STOP_FAILED : stop;
}

static void end(moon__task *task, const moon__failure *failure, bool cancelled) {
    const moon__taken *taken = &task->taken;
    const char *text = taken->text.p ? taken->text.p : "";
    moon__run_set_state(task->run, NULL);
    if (cancelled)
        moon__run_finish(task->run, MOON_STOP_INTERRUPTED, NULL, 0, NULL);
    else if (failure) {
        char *why = moon__failure_text(failure, true);
        moon__run_finish(task->run, stop_of(failure->stop), NULL, 0, why ? why : failure->error.text);
        free(why);
    } else if (taken->kind == MOON__REFUSED)
        moon__run_finish(task->run, stop_of(taken->stop), NULL, 0, text);
    else {
        if (taken->kind != MOON__TEXT) moon__run_set_json(task->run); /* nothing: the empty text, which is no JSON */
        moon__run_finish(task->run, MOON_STOP_DONE, text, taken->text.len, NULL);
    }
}

static const moon__task_ops task_ops = {.take = moon__task_take, .end = end};

static moon_status start(moon_runnable *runnable, moon_run *run, moon_error *error) {
    function *f = (function *)runnable;
    moon__task_spec spec = {.ops = &task_ops, .script = f->script, .run = run, .prepare = prepare, .arg = f};
    moon__task *task;
    moon_status status = moon__task_new(&task, &spec, error);
    if (status != MOON_OK) return status;
    moon__run_set_state(run, task);
    moon__task_start(task);
    return MOON_OK;
}

static void cancel(moon_runnable *runnable, moon_run *run) {
    (void)runnable;
    moon__task *task = moon__run_state(run);
    if (task) moon__task_cancel(task);
}

static void free_function(moon_runnable *runnable) {
    function *f = (function *)runnable;
    moon__script_drop(f->script, f->fn);
    moon__script_unref(f->script);
    free(f);
}

static const moon__runnable_ops ops = {.start = start, .cancel = cancel, .free = free_function};

void moon__script_base(const char *path, char name[64]) {
    const char *slash = strrchr(path, '/');
    snprintf(name, 64, "%s", slash ? slash + 1 : path);
    char *dot = strrchr(name, '.');
    if (dot && dot != name && strcmp(dot, ".lua") == 0) *dot = 0;
}

moon_status moon__function_new(moon_runnable **out, moon__script *script, const char *name, int fn, moon_error *error) {
    char own[64];
    function *f = calloc(1, sizeof *f);
    if (!f) {
        moon__script_drop(script, fn);
        return moon_error_set(error, MOON_ENOMEM, "out of memory");
    }
    f->script = moon__script_ref(script);
    f->fn = fn;
    if (!name) moon__script_base(script->name, own);
    if (moon__runnable_init(&f->base, &ops, script->runtime, name ? name : own) != MOON_OK) {
        free_function(&f->base);
        return moon_error_set(error, MOON_ENOMEM, "out of memory");
    }
    *out = &f->base;
    return MOON_OK;
}
