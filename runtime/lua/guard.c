/* SPDX-License-Identifier: MIT */
/*
 * The guarded call; see guard.h. The allocator's user data is the moon__guard itself, so that any function finds it
 * from any thread of the state without a look-up.
 *
 * The host enters through moon__guard_call or moon__guard_resume. Both go through lua_pcall on the main thread (or the
 * one that runs, when the host is called back from Lua): an error that Lua raises on a thread that is not protected
 * itself, as lua_resume does when memory is out, then still finds a handler instead of ending the process.
 *
 * A coroutine that fails keeps its stack, so that the traceback is taken from the dead thread and costs nothing while
 * all is well. One that overran its budget is dropped as it is: hooks are off in it, and its __close could not be
 * bounded.
 */
#include "guard.h"
#include "text.h"

#include <stdlib.h>
#include <string.h>

enum { PLACE_DEPTH = 64 }; /* calls that are looked at for one of the script's: each costs as much as it is deep */

static const char SPENT[] =
    "instruction budget exceeded (a loop without end? a script may run a few seconds between two waits)";

moon__guard *moon__guard_of(lua_State *L) {
    void *ud;
    lua_getallocf(L, &ud);
    return ud;
}

void moon__failure_fini(moon__failure *failure) {
    free(failure->trace);
    free(failure->stop);
    *failure = (moon__failure){0};
}

/* ---- memory ---- */

static void spend(moon__guard *guard) {
    guard->spent = true;
    guard->ceiling = guard->used + MOON__GUARD_SLACK; /* for the message; nothing else grows any more */
}

static void *allocate(void *ud, void *p, size_t old, size_t size) {
    moon__guard *guard = ud;
    size_t had = p ? old : 0;
    if (size == 0) {
        free(p);
        guard->used -= had;
        return NULL;
    }
    if (size > had) {
        size_t more = size - had;
        guard->budget -= (int64_t)(more / 16);
        if (more > guard->ceiling || guard->used > guard->ceiling - more) return NULL;
        if (guard->budget < 0 && more > MOON__GUARD_SLACK) {
            if (!guard->spent) spend(guard);
            return NULL;
        }
    }
    void *q = realloc(p, size);
    if (!q && size > had) return NULL;
    guard->used = guard->used - had + size;
    return q ? q : p; /* Lua does not expect a shrinking block to fail */
}

/* ---- the budget ---- */

/* The place of the innermost Lua function that is the script's. */
static void place(lua_State *L, char where[112]) {
    lua_Debug ar;
    for (int level = 0; level < PLACE_DEPTH && lua_getstack(L, level, &ar); level++) {
        lua_getinfo(L, "Sl", &ar);
        if (ar.currentline <= 0 || ar.short_src[0] == '[') continue;
        snprintf(where, 112, "%s:%d", ar.short_src, ar.currentline);
        return;
    }
}

static void spend_here(moon__guard *guard, lua_State *L) {
    if (!guard->spent) spend(guard);
    if (guard->placed) return; /* looked for once: this is called at every instruction from now on */
    guard->placed = true;
    place(L, guard->spent_at);
}

static void on_count(lua_State *L, lua_Debug *ar) {
    (void)ar;
    moon__guard *guard = moon__guard_of(L);
    if (!guard->spent) {
        guard->budget -= MOON__STRIDE;
        if (guard->budget > 0) {
            if (lua_gethookcount(L) != MOON__STRIDE) lua_sethook(L, on_count, LUA_MASKCOUNT, MOON__STRIDE);
            return;
        }
    }
    spend_here(guard, L);
    lua_sethook(L, on_count, LUA_MASKCOUNT | LUA_MASKLINE, 1);
    luaL_where(L, 0);
    lua_pushstring(L, SPENT);
    lua_concat(L, 2);
    lua_error(L);
}

int moon__guard_stop(lua_State *L) {
    moon__guard *guard = moon__guard_of(L);
    spend_here(guard, L);
    lua_sethook(L, on_count, LUA_MASKCOUNT | LUA_MASKLINE, 1);
    return luaL_error(L, "%s", SPENT);
}

void moon__guard_charge(lua_State *L, int64_t n) {
    moon__guard *guard = moon__guard_of(L);
    if (n > guard->budget) {
        guard->budget = 0;
        moon__guard_stop(L);
    }
    guard->budget -= n;
    if (guard->spent) moon__guard_stop(L);
}

void moon__guard_leave(lua_State *L, int64_t n) {
    moon__guard *guard = moon__guard_of(L);
    if (guard->budget > n) guard->budget = n;
}

static void slice_begin(moon__guard *guard) {
    if (guard->depth++ > 0) return;
    guard->budget = guard->budget_max;
    guard->ceiling = guard->max;
    guard->spent = false;
    guard->placed = false;
    guard->spent_at[0] = 0;
}

static void slice_end(moon__guard *guard) {
    guard->depth--;
}

/* ---- a state ---- */

moon_status moon__guard_open(moon__guard *guard, size_t memory, int64_t budget, moon_error *error) {
    *guard = (moon__guard){.max = memory, .ceiling = memory, .budget = budget, .budget_max = budget};
    guard->L = lua_newstate(allocate, guard);
    if (!guard->L) return moon_error_set(error, MOON_ENOMEM, "out of memory for a Lua state");
    *(void **)lua_getextraspace(guard->L) = NULL;
    lua_sethook(guard->L, on_count, LUA_MASKCOUNT, MOON__STRIDE); /* new threads inherit it */
    return MOON_OK;
}

void moon__guard_close(moon__guard *guard) {
    if (!guard->L) return;
    lua_State *L = guard->L;
    slice_begin(guard);
    lua_close(L); /* runs our userdata's __gc, which may still ask for guard->L */
    guard->L = NULL;
}

/* ---- calls ---- */

void moon__guard_message(moon_error *error, moon_status status, const char *message) {
    char where[sizeof error->where] = "";
    for (const char *p = strchr(message, ':'); p && p - message < (ptrdiff_t)sizeof where - 12;
         p = strchr(p + 1, ':')) {
        size_t digits = strspn(p + 1, "0123456789");
        if (digits == 0 || digits > 9 || strncmp(p + 1 + digits, ": ", 2) != 0) continue;
        snprintf(where, sizeof where, "%.*s", (int)(p + 1 + (ptrdiff_t)digits - message), message);
        message = p + digits + 3;
        break;
    }
    moon_error_set(error, status, "%s", message);
    memcpy(error->where, where, sizeof where);
}

/* Memory was refused: because of the cap, or because the budget was spent on it. */
static void no_memory(const moon__guard *guard, moon_error *error) {
    if (guard->spent)
        moon_error_set(error, MOON_ELIMIT, "%s", SPENT);
    else
        moon_error_set(error, MOON_ELIMIT, "not enough memory (a script may use %zu MiB)", guard->max >> 20);
}

static moon_status failed(moon__guard *guard, lua_State *L, int status, moon_error *error) {
    moon_error found = {0};
    const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "an error without a text";
    if (status == LUA_ERRMEM)
        no_memory(guard, &found);
    else
        moon__guard_message(&found, guard->spent ? MOON_ELIMIT : MOON_ESCRIPT, text);
    if (error) *error = found;
    lua_pop(L, 1);
    return found.code;
}

moon_status moon__guard_call(moon__guard *guard, lua_CFunction fn, void *ctx, moon_error *error) {
    lua_State *L = guard->active ? guard->active : guard->L;
    if (!L || !lua_checkstack(L, LUA_MINSTACK)) return moon_error_set(error, MOON_ENOMEM, "out of memory");
    slice_begin(guard);
    lua_pushcfunction(L, fn);
    lua_pushlightuserdata(L, ctx);
    int status = lua_pcall(L, 1, 0, 0);
    moon_status result = status == LUA_OK ? MOON_OK : failed(guard, L, status, error);
    slice_end(guard);
    return result;
}

void moon__guard_load(lua_State *L, const char *text, size_t n, const char *name) {
    if (n > MOON__SOURCE_MAX) luaL_error(L, "%s: a Lua file may have at most 1 MiB", name);
    if (n > 0 && text[0] == LUA_SIGNATURE[0]) luaL_error(L, "%s: this is compiled Lua; only source is accepted", name);
    lua_pushfstring(L, "@%s", name);
    if (luaL_loadbufferx(L, text, n, lua_tostring(L, -1), "t") != LUA_OK) lua_error(L);
    lua_remove(L, -2);
}

int moon__guard_protected(lua_State *L, int args, int results) {
    return lua_pcall(L, args, results, 0);
}

typedef struct resumption {
    lua_State *co;
    int args, results, status;
} resumption;

static int resume(lua_State *L) {
    resumption *r = lua_touserdata(L, 1);
    r->status = lua_resume(r->co, L, r->args, &r->results);
    return 0;
}

int moon__guard_resume(moon__guard *guard, lua_State *co, int args, int *results) {
    lua_State *L = guard->active ? guard->active : guard->L, *before = guard->active;
    resumption r = {.co = co, .args = args, .status = LUA_ERRMEM};
    if (!lua_checkstack(L, LUA_MINSTACK)) return LUA_ERRMEM;
    slice_begin(guard);
    lua_pushcfunction(L, resume);
    lua_pushlightuserdata(L, &r);
    guard->active = co;
    if (lua_pcall(L, 1, 0, 0) != LUA_OK) { /* raised outside of the coroutine's own protection */
        lua_pop(L, 1);
        r.status = LUA_ERRMEM;
    }
    guard->active = before;
    slice_end(guard);
    *results = r.results;
    return r.status;
}

int moon__guard_nested(lua_State *L, lua_State *co, int args, int *results) {
    moon__guard *guard = moon__guard_of(L);
    guard->active = co;
    int status = lua_resume(co, L, args, results);
    guard->active = L;
    return status;
}

void moon__guard_reset(moon__guard *guard, lua_State *co) {
    lua_State *before = guard->active;
    if (lua_status(co) == LUA_OK) return; /* never began, or broken off outside of its protection */
    slice_begin(guard);
    guard->active = co;
    lua_resetthread(co);
    lua_settop(co, 0);
    guard->active = before;
    slice_end(guard);
}

/* ---- what went wrong ---- */

typedef struct description {
    lua_State *co;
    int status;
    moon__failure *out;
} description;

static char *copy_field(lua_State *L, const char *name) {
    lua_pushstring(L, name);
    char *copy = lua_rawget(L, -2) == LUA_TSTRING ? moon__strdup(lua_tostring(L, -1)) : NULL;
    lua_pop(L, 1);
    return copy;
}

/* Pushes the text of the error value at the top. */
static const char *error_text(lua_State *L) {
    if (lua_istable(L, -1)) {
        lua_pushliteral(L, "message");
        if (lua_rawget(L, -2) == LUA_TSTRING) return lua_tostring(L, -1);
        lua_pop(L, 1);
    }
    if (luaL_callmeta(L, -1, "__tostring") && lua_isstring(L, -1)) return lua_tostring(L, -1);
    if (lua_isstring(L, -1)) return lua_tostring(L, -1);
    return lua_pushfstring(L, "(an error value that is a %s)", luaL_typename(L, -1));
}

static int describe(lua_State *L) {
    description *d = lua_touserdata(L, 1);
    moon__failure *out = d->out;
    if (d->status != LUA_ERRMEM) {
        luaL_checkstack(d->co, 2, NULL);
        lua_pushvalue(d->co, -1);
        lua_xmove(d->co, L, 1);
        if (lua_istable(L, -1)) out->stop = copy_field(L, "stop");
        moon__guard_message(&out->error, out->error.code, error_text(L));
    }
    if (!out->error.where[0]) place(d->co, out->error.where);
    luaL_traceback(L, d->co, NULL, 0);
    const char *trace = lua_tostring(L, -1);
    if (strchr(trace, '\n')) out->trace = moon__strndup(trace, strnlen(trace, 4096));
    return 0;
}

void moon__guard_describe(moon__guard *guard, lua_State *co, int status, moon__failure *out) {
    *out = (moon__failure){0};
    bool spent = guard->spent;
    char spent_at[sizeof guard->spent_at];
    memcpy(spent_at, guard->spent_at, sizeof spent_at); /* both are of the slice that failed; describing is one too */
    if (status == LUA_ERRMEM)
        no_memory(guard, &out->error);
    else
        moon_error_set(&out->error, spent ? MOON_ELIMIT : MOON_ESCRIPT, "the script failed");
    moon_error ignored; /* what could be found out stands */
    guard->max += MOON__GUARD_SLACK;
    if (moon__guard_call(guard, describe, &(description){co, status, out}, &ignored) != MOON_OK && !out->error.where[0])
        place(co, out->error.where);
    if (spent && spent_at[0]) {
        moon_error_set(&out->error, MOON_ELIMIT, "%s", SPENT);
        memcpy(out->error.where, spent_at, sizeof spent_at);
    }
    guard->max -= MOON__GUARD_SLACK;
    guard->spent = spent;
}
