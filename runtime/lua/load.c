/* SPDX-License-Identifier: MIT */
/*
 * Scripts of a runtime: found, loaded once, kept until the runtime ends.
 *
 * A file that has not changed gives the same state again: a scripted model that ten thousand runs name costs one state.
 * What the script returned stays with its entry (a reference), beside the state that it lives in.
 *
 * A script may load others beside it (chains do); their texts are recorded with its own, under "PATH!" and, for what
 * they require, "PATH!MODULE.lua".
 *
 * Names. A path (with a "/", or ending in ".lua") is a file. Any other name is a shipped agent: in the folder that the
 * options or MOONLET_AGENTS name, else built in. A repository's files are never looked up by name: they are run by path
 * only.
 */
#include "api.h"
#include "embedded.h"
#include "script.h"
#include "test.h"
#include "text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char OFFLINE[] = "offline";

/* What tells one source from another. */
typedef struct identity {
    const moon__embedded *embedded; /* or a file: */
    dev_t dev;
    ino_t ino;
    off_t size;
    struct timespec changed;
} identity;

typedef struct entry {
    struct entry *next;
    identity id;
    moon__script *script;
    moon_runnable *runnable; /* one of the two */
    moon__model *model;
    int value; /* registry reference: what the script returned */
} entry;

/* A script whose body runs: one that it loads may not load it. */
typedef struct loading {
    const identity *id;
    const char *path;
    struct loading *outer;
} loading;

typedef struct scripts {
    moon_runtime *runtime;
    entry *entries;
    loading *loading; /* the innermost */
    size_t memory;    /* of each script loaded from now on */
    int64_t budget;
} scripts;

/* ---- finding ---- */

typedef struct found {
    identity id;
    char *path; /* of the file, and in errors; owned */
    moon__buf file;
    const char *text;
    size_t n;
} found;

static void found_fini(found *f) {
    free(f->path);
    moon__buf_fini(&f->file);
}

static bool is_path(const char *name) {
    size_t n = strlen(name);
    return strchr(name, '/') || (n > 4 && strcmp(name + n - 4, ".lua") == 0);
}

static bool same(const identity *a, const identity *b) {
    return a->embedded == b->embedded && a->dev == b->dev && a->ino == b->ino && a->size == b->size &&
           a->changed.tv_sec == b->changed.tv_sec && a->changed.tv_nsec == b->changed.tv_nsec;
}

/* Identifies a file; MOON_ENOTFOUND if there is none. */
static moon_status find_file(found *out, const char *path, moon_error *error) {
    struct stat st;
    if (stat(path, &st) != 0) {
        int cause = errno;
        return moon_error_set(error, moon__source_status(cause), "no script %.300s: %s", path, strerror(cause));
    }
    out->id = (identity){.dev = st.st_dev, .ino = st.st_ino, .size = st.st_size, .changed = st.st_mtim};
    out->path = moon__strdup(path);
    return out->path ? MOON_OK : moon_error_set(error, MOON_ENOMEM, "out of memory");
}

static moon_status find_in(found *out, const char *dir, const char *name, moon_error *error) {
    moon__buf path;
    moon__buf_init(&path, 4096);
    moon__buf_printf(&path, "%s/%s.lua", dir, name);
    moon_status status = path.status == MOON_OK       ? find_file(out, path.p, error)
                         : path.status == MOON_ENOMEM ? moon_error_set(error, MOON_ENOMEM, "out of memory")
                                                      : MOON_ENOTFOUND;
    moon__buf_fini(&path);
    return status;
}

static moon_status unknown(const char *name, moon_error *error) {
    const char *names[64];
    size_t n = 0;
    moon__buf list;
    moon__buf_init(&list, 2048);
    for (const moon__embedded *e = moon__embedded_agents; e->name && n < 63; e++) {
        if (strcmp(e->name, OFFLINE) == 0) continue;
        names[n++] = e->name;
        moon__buf_printf(&list, "%s%s", n > 1 ? ", " : "", e->name);
    }
    names[n] = NULL;
    const char *near = moon__nearest(name, names);
    moon_status status = moon_error_set(
        error, MOON_ENOTFOUND,
        "no agent is called \"%.60s\"%s%s%s (shipped: %s; a script of your own is named by its path)", name,
        near ? ", did you mean \"" : "", near ? near : "", near ? "\"?" : "", list.p ? list.p : "none");
    moon__buf_fini(&list);
    return status;
}

static moon_status find_shipped(found *out, const scripts *s, const char *name, moon_error *error) {
    const char *dir = moon__runtime_options(s->runtime)->agents;
    if (!dir) dir = getenv("MOONLET_AGENTS");
    moon_status status = dir && *dir && *name ? find_in(out, dir, name, error) : MOON_ENOTFOUND;
    if (status == MOON_OK || status == MOON_ENOMEM) return status; /* never another one for want of memory */
    for (const moon__embedded *e = moon__embedded_agents; e->name; e++) {
        if (strcmp(e->name, name) != 0) continue;
        moon__buf path;
        moon__buf_init(&path, 256);
        moon__buf_printf(&path, "%s.lua", name);
        out->path = moon__buf_take(&path);
        moon__buf_fini(&path);
        out->id.embedded = e;
        return out->path ? MOON_OK : moon_error_set(error, MOON_ENOMEM, "out of memory");
    }
    return unknown(name, error);
}

static moon_status read_found(found *f, moon_error *error) {
    if (f->id.embedded) {
        f->text = f->id.embedded->text;
        f->n = f->id.embedded->length;
    } else {
        moon_status status = moon__source_read(&f->file, AT_FDCWD, f->path, error);
        if (status != MOON_OK) return status;
        f->text = f->file.p ? f->file.p : "";
        f->n = f->file.len;
    }
    moon__source_skip(&f->text, &f->n);
    return MOON_OK;
}

/* ---- running a script's body ---- */

typedef struct body {
    entry *entry;
    const found *found;
    moon_status status;
    moon_error error;
    int fn; /* a function that it returned */
} body;

static void prepare(lua_State *L, moon__task *task, void *arg) {
    body *b = arg;
    (void)task;
    moon__guard_load(L, b->found->text, b->found->n, b->found->path);
}

static void take(lua_State *L, moon__task *task, int n) {
    body *b = task->owner;
    int first = lua_gettop(L) - n + 1;
    b->fn = moon__test_main(L);
    if (b->fn != LUA_NOREF) return; /* a test file: its tests are what is run, whatever it returns */
    if (n > 0) {
        lua_pushvalue(L, first);
        b->entry->value = luaL_ref(L, LUA_REGISTRYINDEX);
    }
    const char *kind = n > 0 ? moon__lua_kind(L, first) : NULL;
    moon__model *model = n > 0 ? moon__lua_model_at(L, first) : NULL;
    if (kind) {
        b->entry->runnable = moon__lua_runnable(L, first);
        moon__lua_chain_named(L, first, moon__script_of(L)->name);
    } else if (model)
        b->entry->model = moon__model_ref(model);
    else if (n > 0 && lua_isfunction(L, first)) {
        lua_pushvalue(L, first);
        b->fn = luaL_ref(L, LUA_REGISTRYINDEX);
    } else
        luaL_error(L, "a script must return an agent, a chain, a tool, a function or a model; this one returns %s",
                   n == 0 ? "nothing" : luaL_typename(L, first));
}

static void end(moon__task *task, const moon__failure *failure, bool cancelled) {
    body *b = task->owner;
    (void)cancelled;
    if (!failure) return;
    b->status = failure->error.code;
    b->error = failure->error;
    if (failure->trace) moon_error_set(&b->error, b->status, "%s\n%s", failure->error.text, failure->trace);
    memcpy(b->error.where, failure->error.where, sizeof b->error.where);
}

static const moon__task_ops ops = {
    .no_wait =
        "cannot wait here: a script's top level only describes; wait in the function that it returns, or in a tool",
    .take = take,
    .end = end};

static moon_status run_body(body *b, moon_error *error) {
    moon__script *script = b->entry->script;
    moon__task_spec spec = {.ops = &ops, .owner = b, .script = script, .prepare = prepare, .arg = b};
    moon__task *task;
    moon_status status = moon__task_new(&task, &spec, error);
    if (status != MOON_OK) return status;
    script->toplevel++;
    moon__task_run(task);
    script->toplevel--;
    if (b->status != MOON_OK && error) *error = b->error;
    if (b->status == MOON_OK && b->fn != LUA_NOREF)
        return moon__function_new(&b->entry->runnable, script, NULL, b->fn, error);
    return b->status;
}

/* ---- entries ---- */

static void entry_free(entry *e) {
    moon_runnable_unref(e->runnable);
    moon__model_unref(e->model);
    if (e->script) {
        moon__script_close(e->script);
        moon__script_unref(e->script);
    }
    free(e);
}

static char *folder_of(const char *path) {
    const char *slash = strrchr(path, '/');
    if (!slash) return moon__strdup(".");
    return moon__strndup(path, slash == path ? 1 : (size_t)(slash - path));
}

/* So that a run of it can be resumed from anywhere. */
static moon_status set_origin(entry *e, const found *f, moon_error *error) {
    moon__origin *o = &e->runnable->origin;
    const moon__script *script = e->script;
    if (f->id.embedded || script->recorded)
        o->script = moon__strdup(f->id.embedded ? f->id.embedded->name : f->path);
    else
        o->script = realpath(f->path, NULL);
    o->sources = calloc(script->n_sources, sizeof *o->sources);
    bool ok = o->script && o->sources;
    for (size_t i = 0; ok && i < script->n_sources; i++) {
        const moon__source *s = &script->sources[i];
        ok = moon__source_copy(&o->sources[i], s->path, s->text, s->length);
        o->n_sources += ok;
    }
    return ok ? MOON_OK : moon_error_set(error, MOON_ENOMEM, "out of memory");
}

static bool copy_recorded(moon__script *script, const moon__source *recorded, size_t n) {
    script->recorded = calloc(n, sizeof *script->recorded);
    for (size_t i = 0; script->recorded && i < n; i++) {
        if (!moon__source_copy(&script->recorded[i], recorded[i].path, recorded[i].text, recorded[i].length))
            return false;
        script->n_recorded++;
    }
    return script->recorded != NULL;
}

/* recorded (n of them; NULL: none) stand for the files. */
static moon_status load_new(entry **out, scripts *s, found *f, const moon__source *recorded, size_t n,
                            moon_error *error) {
    moon_status status = recorded ? MOON_OK : read_found(f, error);
    if (status != MOON_OK) return status;
    entry *e = calloc(1, sizeof *e);
    char *dir = f->id.embedded ? NULL : folder_of(f->path);
    if (!e || (!dir && !f->id.embedded)) {
        free(e);
        free(dir);
        return moon_error_set(error, MOON_ENOMEM, "out of memory");
    }
    e->id = f->id;
    status = moon__script_new(
        &e->script,
        &(moon__script_spec){
            .runtime = s->runtime, .name = f->path, .dir = dir, .memory = s->memory, .budget = s->budget},
        error);
    free(dir);
    body b = {.entry = e, .found = f, .fn = LUA_NOREF};
    if (status == MOON_OK && recorded && !copy_recorded(e->script, recorded, n))
        status = moon_error_set(error, MOON_ENOMEM, "out of memory");
    if (status == MOON_OK && !moon__script_add_source(e->script, f->path, f->text, f->n))
        status = moon_error_set(error, MOON_ENOMEM, "out of memory");
    loading here = {.id = &e->id, .path = f->path, .outer = s->loading};
    s->loading = &here;
    if (status == MOON_OK) status = run_body(&b, error);
    s->loading = here.outer;
    if (status == MOON_OK && e->runnable && !e->runnable->origin.script) status = set_origin(e, f, error);
    if (status == MOON_OK && e->model)
        status = moon__lua_model_name(e->model, f->id.embedded ? f->id.embedded->name : f->path,
                                      f->id.embedded ? "built in" : "a script");
    if (status != MOON_OK) {
        entry_free(e);
        return status;
    }
    e->next = s->entries;
    s->entries = e;
    *out = e;
    return MOON_OK;
}

static moon_status check_circle(const scripts *s, const found *f, moon_error *error) {
    moon__buf way;
    const loading *l = s->loading;
    while (l && !same(l->id, &f->id)) l = l->outer;
    if (!l) return MOON_OK;
    moon__buf_init(&way, 300);
    for (const loading *w = s->loading; w != l; w = w->outer) moon__buf_printf(&way, " loaded by %s,", w->path);
    moon_status status = moon_error_set(error, MOON_EINVAL, "scripts load each other in a circle: %s,%s loaded by %s",
                                        f->path, way.p ? way.p : "", l->path);
    moon__buf_fini(&way);
    return status;
}

static moon_status load(entry **out, scripts *s, const char *name, moon_error *error) {
    found f = {0};
    moon__buf_init(&f.file, MOON__SOURCE_MAX);
    moon_status status = is_path(name) ? find_file(&f, name, error) : find_shipped(&f, s, name, error);
    entry *e = NULL;
    if (status == MOON_OK) status = check_circle(s, &f, error);
    if (status == MOON_OK)
        for (e = s->entries; e && !same(&e->id, &f.id);) e = e->next;
    if (status == MOON_OK && !e) status = load_new(&e, s, &f, NULL, 0, error);
    found_fini(&f);
    *out = e;
    return status;
}

/* ---- scripts that load others ---- */

/* The texts of the script at path among those that were recorded with another one: n of them, borrowed but for the
 * array and the paths. */
static moon_status recorded_beside(moon__source **out, size_t *n, const moon__script *script, const char *path) {
    size_t length = strlen(path);
    *n = 0;
    *out = calloc(script->n_recorded + 1, sizeof **out);
    if (!*out) return MOON_ENOMEM;
    for (size_t i = 0; i < script->n_recorded; i++) {
        const moon__source *s = &script->recorded[i];
        if (strncmp(s->path, path, length) != 0 || s->path[length] != '!') continue;
        (*out)[*n] = *s;
        (*out)[(*n)++].path = s->path[length + 1] ? s->path + length + 1 : s->path;
    }
    return *n ? MOON_OK : MOON_ENOTFOUND;
}

static moon_status load_recorded(entry **out, scripts *s, const moon__script *script, const char *path,
                                 moon_error *error) {
    moon__source *sources = NULL;
    size_t n;
    moon_status status = recorded_beside(&sources, &n, script, path);
    found f = {.path = moon__strdup(path)};
    moon__buf_init(&f.file, MOON__SOURCE_MAX);
    if (status == MOON_ENOTFOUND)
        moon_error_set(error, status, "the run's journal holds no %s", path);
    else if (status || !f.path)
        status = moon_error_set(error, MOON_ENOMEM, "out of memory");
    else {
        f.text = sources[0].text;
        f.n = sources[0].length;
        status = load_new(out, s, &f, sources, n, error);
    }
    found_fini(&f);
    free(sources);
    return status;
}

/* Remembers the texts of e with those of the script that loaded it. */
static bool add_sources(moon__script *script, const char *path, const moon__origin *origin) {
    bool ok = true;
    for (size_t i = 0; ok && i < origin->n_sources; i++) {
        const moon__source *source = &origin->sources[i];
        moon__buf name;
        moon__buf_init(&name, 8192);
        moon__buf_printf(&name, "%s!%s", path, i ? source->path : "");
        ok = name.status == MOON_OK && moon__script_add_source(script, name.p, source->text, source->length);
        moon__buf_fini(&name);
    }
    return ok;
}

static moon_status load_beside(entry **out, scripts *s, const moon__script *script, const char *path,
                               moon_error *error) {
    if (script->recorded) return load_recorded(out, s, script, path, error);
    if (!is_path(path) || *path == '/') return load(out, s, path, error);
    if (!script->dir) return moon_error_set(error, MOON_ENOTFOUND, "a built-in script has no files beside it");
    moon__buf full;
    moon__buf_init(&full, 4096);
    if (strcmp(script->dir, ".") != 0) moon__buf_printf(&full, "%s/", script->dir);
    moon__buf_printf(&full, "%s", path);
    moon_status status =
        full.status ? moon_error_set(error, full.status, "the path is too long") : load(out, s, full.p, error);
    moon__buf_fini(&full);
    return status;
}

moon_status moon__script_load_beside(moon_runnable **out, moon__script *script, const char *path, moon_error *error) {
    entry *e = NULL;
    if (!script->toplevel || !*path)
        return moon_error_set(error, MOON_EINVAL, "scripts are loaded where they are named, at the top of a file");
    moon_status status = load_beside(&e, moon__runtime_scripts(script->runtime), script, path, error);
    if (status != MOON_OK || !e) return status;
    if (!e->runnable) return moon_error_set(error, MOON_EINVAL, "%s is a model, nothing that can be run", path);
    if (!add_sources(script, path, &e->runnable->origin)) return moon_error_set(error, MOON_ENOMEM, "out of memory");
    *out = moon_runnable_ref(e->runnable);
    return MOON_OK;
}

/* ---- drawing ---- */

typedef struct drawing {
    const entry *entry;
    const char *format;
    moon__buf out;
    bool drawn;
} drawing;

static int draw(lua_State *L) {
    drawing *d = lua_touserdata(L, 1);
    char name[64];
    size_t n;
    moon__script_base(d->entry->script->name, name);
    moon__prelude(L, "graph");
    lua_rawgeti(L, LUA_REGISTRYINDEX, d->entry->value);
    lua_pushstring(L, d->format);
    lua_pushstring(L, name);
    lua_call(L, 3, 2);
    d->drawn = lua_type(L, -2) == LUA_TSTRING;
    const char *text = lua_tolstring(L, d->drawn ? -2 : -1, &n);
    moon__buf_add(&d->out, text ? text : "", n);
    return 0;
}

moon_status moon_script_graph(char **out, moon_runtime *runtime, const char *path, const char *format,
                              moon_error *error) {
    entry *e;
    moon_status status = moon__scripts_attach(runtime, error);
    if (status == MOON_OK) status = load(&e, moon__runtime_scripts(runtime), path, error);
    if (status != MOON_OK) return status;
    if (!e->runnable) return moon_error_set(error, MOON_EINVAL, "%s is a model, and has no graph", path);
    drawing d = {.entry = e, .format = format};
    moon__buf_init(&d.out, 64 << 20);
    status = moon__guard_call(&e->script->guard, draw, &d, error);
    if (status == MOON_OK && !d.drawn) status = moon_error_set(error, MOON_EINVAL, "%s", d.out.p ? d.out.p : "");
    if (status == MOON_OK && !(*out = moon__buf_take(&d.out)))
        status = moon_error_set(error, MOON_ENOMEM, "out of memory");
    moon__buf_fini(&d.out);
    return status;
}

/* ---- the runtime's side ---- */

static void scripts_free(void *ctx) {
    scripts *s = ctx;
    while (s->entries) {
        entry *e = s->entries;
        s->entries = e->next;
        entry_free(e);
    }
    free(s);
}

static moon_status load_model(void *ctx, const char *path, moon__model **out, moon_error *error) {
    entry *e;
    moon_status status = load(&e, ctx, path, error);
    if (status != MOON_OK) return status;
    if (!e->model)
        return moon_error_set(error, MOON_EINVAL,
                              "%s is no model: it returns an agent or a function, not moon.model.script(…)", path);
    *out = moon__model_ref(e->model);
    return MOON_OK;
}

/* For a run that is resumed: the script as it is now, or as it was recorded. */
static moon_status load_again(moon_runnable **out, moon_runtime *runtime, const char *name,
                              const moon__source *recorded, size_t n, moon_error *error) {
    if (!recorded) return moon_script_load(out, runtime, name, error);
    found f = {.path = moon__strdup(recorded[0].path), .text = recorded[0].text, .n = recorded[0].length};
    entry *e = NULL;
    moon__buf_init(&f.file, MOON__SOURCE_MAX);
    moon_status status = f.path ? load_new(&e, moon__runtime_scripts(runtime), &f, recorded, n, error)
                                : moon_error_set(error, MOON_ENOMEM, "out of memory");
    found_fini(&f);
    if (status != MOON_OK) return status;
    if (!e || !e->runnable) return moon_error_set(error, MOON_EINVAL, "%s is a model, not an agent", name);
    free(e->runnable->origin.script); /* the file that it is, wherever its text came from */
    e->runnable->origin.script = moon__strdup(name);
    if (!e->runnable->origin.script) return moon_error_set(error, MOON_ENOMEM, "out of memory");
    *out = moon_runnable_ref(e->runnable);
    return MOON_OK;
}

moon_status moon__scripts_attach(moon_runtime *runtime, moon_error *error) {
    if (moon__runtime_scripts(runtime)) return MOON_OK;
    scripts *s = calloc(1, sizeof *s);
    if (!s) return moon_error_set(error, MOON_ENOMEM, "out of memory");
    s->runtime = runtime;
    s->memory = MOON__STATE_MEMORY;
    s->budget = MOON__SLICE_BUDGET;
    moon__runtime_set_scripts(runtime, s, scripts_free);
    moon__runtime_set_loader(runtime, load_again);
    moon__models_set_loader(moon__runtime_models(runtime), load_model, s);
    return MOON_OK;
}

void moon__scripts_limit(moon_runtime *runtime, size_t memory, int64_t instructions) {
    scripts *s = moon__runtime_scripts(runtime);
    s->memory = memory ? memory : MOON__STATE_MEMORY;
    s->budget = instructions ? instructions : MOON__SLICE_BUDGET;
}

moon_status moon_script_load(moon_runnable **out, moon_runtime *runtime, const char *path, moon_error *error) {
    if (!out || !runtime || !path || !*path) return moon_error_set(error, MOON_EINVAL, "no script is named");
    entry *e;
    moon_status status = moon__scripts_attach(runtime, error);
    if (status == MOON_OK) status = load(&e, moon__runtime_scripts(runtime), path, error);
    if (status != MOON_OK) return status;
    if (!e->runnable)
        return moon_error_set(error, MOON_EINVAL, "%s is a model, not an agent: give it with --model", path);
    *out = moon_runnable_ref(e->runnable);
    return MOON_OK;
}
