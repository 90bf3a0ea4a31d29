/* SPDX-License-Identifier: MIT */
/*
 * From deltas to an answer. The delicate part is which call a piece belongs to, because servers number calls as they
 * like:
 *   1. With an index: the call of that index, unless both a name and another id come with it; then some server numbers
 * all its calls 0, and it is a new one.
 *   2. Without an index: the call with that id, else a new one; without an id, a name begins a new call and anything
 * else goes on with the last. Calls are handed out in the order of their indexes; those without follow what came before
 * them.
 */
#include "answer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"

enum { ID_MAX = 1024, NAME_MAX_BYTES = 256 };

static void fail(moon__gather *g, moon_status status, const char *what) {
    if (g->status) return;
    if (status == MOON_ENOMEM)
        g->status = moon_error_set(&g->error, MOON_ENOMEM, "out of memory");
    else
        g->status = moon_error_set(&g->error, MOON_ELIMIT, "the model's answer is too long: %s", what);
}

static void add(moon__gather *g, moon__buf *buf, const char *bytes, size_t n, const char *what) {
    moon__buf_add(buf, bytes, n);
    if (buf->status) fail(g, buf->status, what);
}

static void on_text(void *ctx, const char *text, size_t n) {
    moon__gather *g = ctx;
    if (g->status || n == 0) return;
    g->begun = true;
    add(g, &g->text, text, n, "over 16 MiB of text");
    if (g->delta && !g->status) g->delta(g->ctx, MOON__DELTA_TEXT, text, n);
}

static void on_reasoning(void *ctx, const char *text, size_t n) {
    moon__gather *g = ctx;
    if (g->status || n == 0) return;
    g->begun = true;
    add(g, &g->reasoning, text, n, "over 16 MiB of reasoning");
    if (g->delta && !g->status) g->delta(g->ctx, MOON__DELTA_REASONING, text, n);
}

static moon__gathered_call *new_call(moon__gather *g, int index) {
    if (g->n_calls == MOON__ANSWER_CALLS) {
        fail(g, MOON_ELIMIT, "over 64 tool calls");
        return NULL;
    }
    if (g->n_calls == g->room) {
        size_t room = g->room ? 4 * g->room : 4;
        moon__gathered_call *calls = realloc(g->calls, room * sizeof *calls);
        if (!calls) {
            fail(g, MOON_ENOMEM, "");
            return NULL;
        }
        g->calls = calls;
        g->room = room;
    }
    int last = 0;
    bool taken = index < 0;
    for (size_t i = 0; i < g->n_calls; i++) {
        if (g->calls[i].order > last) last = g->calls[i].order;
        if (g->calls[i].index == index) taken = true;
    }
    moon__gathered_call *call = &g->calls[g->n_calls++];
    *call = (moon__gathered_call){.index = index, .order = taken ? last : index};
    moon__buf_init(&call->id, ID_MAX);
    moon__buf_init(&call->name, NAME_MAX_BYTES);
    moon__buf_init(&call->arguments, MOON__ANSWER_ARGUMENTS);
    return call;
}

static bool same_id(const moon__gathered_call *call, const char *id) {
    return call->id.len > 0 && strcmp(call->id.p, id) == 0;
}

static moon__gathered_call *find_call(moon__gather *g, int index, const char *id, const char *name) {
    bool has_id = id && *id, has_name = name && *name;
    if (index < 0) {
        if (!has_id && !has_name && g->n_calls) return &g->calls[g->n_calls - 1];
        for (size_t i = g->n_calls; has_id && i-- > 0;)
            if (same_id(&g->calls[i], id)) return &g->calls[i];
        return new_call(g, -1);
    }
    for (size_t i = g->n_calls; i-- > 0;) {
        moon__gathered_call *call = &g->calls[i];
        if (call->index != index) continue;
        if (has_id && has_name && call->id.len && !same_id(call, id)) break;
        return call;
    }
    return new_call(g, index);
}

static void on_call(void *ctx, int index, const char *id, const char *name, const char *arguments, size_t n) {
    moon__gather *g = ctx;
    g->begun = true;
    if (g->status) return;
    moon__gathered_call *call = find_call(g, index, id, name);
    if (!call) return;
    if (id && *id && call->id.len == 0) add(g, &call->id, id, strlen(id), "an id of a tool call over 1 KiB");
    if (n) add(g, &call->arguments, arguments, n, "over 10 MiB of arguments of one tool call");
    if (!name || !*name || call->name.len) return;
    add(g, &call->name, name, strlen(name), "a name of a tool over 256 bytes");
    if (!g->delta || g->status) return;
    const char *dotted = moon__names_dotted(g->names, call->name.p);
    if (!dotted) dotted = call->name.p;
    g->delta(g->ctx, MOON__DELTA_CALL, dotted, strlen(dotted));
}

static void on_finish(void *ctx, const char *reason) {
    moon__gather *g = ctx;
    if (!reason || !*reason) return;
    g->begun = true;
    size_t n = strlen(reason);
    if (n >= sizeof g->finish) n = moon__utf8_floor(reason, sizeof g->finish - 1);
    memcpy(g->finish, reason, n);
    g->finish[n] = '\0';
}

static void on_usage(void *ctx, const moon_usage *usage) {
    moon__gather *g = ctx;
    g->usage = *usage;
    g->has_usage = true;
}

static void on_end(void *ctx) {
    moon__gather *g = ctx;
    g->ended = true;
}

moon_sink moon__gather_sink(moon__gather *gather) {
    return (moon_sink){.ctx = gather,
                       .text = on_text,
                       .reasoning = on_reasoning,
                       .call = on_call,
                       .finish = on_finish,
                       .usage = on_usage,
                       .end = on_end};
}

void moon__gather_init(moon__gather *gather, const moon__names *names) {
    *gather = (moon__gather){.names = names, .usage.usd = -1};
    moon__buf_init(&gather->text, MOON__ANSWER_TEXT);
    moon__buf_init(&gather->reasoning, MOON__ANSWER_TEXT);
}

void moon__gather_fini(moon__gather *gather) {
    moon__buf_fini(&gather->text);
    moon__buf_fini(&gather->reasoning);
    for (size_t i = 0; i < gather->n_calls; i++) {
        moon__buf_fini(&gather->calls[i].id);
        moon__buf_fini(&gather->calls[i].name);
        moon__buf_fini(&gather->calls[i].arguments);
    }
    free(gather->calls);
    free(gather->uses);
    gather->calls = NULL;
    gather->uses = NULL;
    gather->n_calls = gather->room = 0;
}

void moon__gather_reset(moon__gather *gather) {
    const moon__names *names = gather->names;
    void (*delta)(void *, moon__delta, const char *, size_t) = gather->delta;
    void *ctx = gather->ctx;
    moon__gather_fini(gather);
    moon__gather_init(gather, names);
    gather->delta = delta;
    gather->ctx = ctx;
}

/* ---- the finished answer ---- */

static bool id_taken(const moon__gather *g, size_t self, const char *id, bool before_only) {
    for (size_t i = 0; i < (before_only ? self : g->n_calls); i++)
        if (i != self && same_id(&g->calls[i], id)) return true;
    return false;
}

/* Results are matched to calls by id, so that each call needs one of its own. */
static void repair_id(moon__gather *g, size_t i, unsigned *next_id) {
    moon__gathered_call *call = &g->calls[i];
    if (call->id.len && !id_taken(g, i, call->id.p, true)) return;
    char id[32];
    do snprintf(id, sizeof id, "call_%u", ++*next_id);
    while (id_taken(g, i, id, false));
    moon__buf_reset(&call->id);
    add(g, &call->id, id, strlen(id), "");
}

static void sort_calls(moon__gather *g) {
    for (size_t i = 1; i < g->n_calls; i++) {
        moon__gathered_call call = g->calls[i];
        size_t at = i;
        for (; at > 0 && g->calls[at - 1].order > call.order; at--) g->calls[at] = g->calls[at - 1];
        g->calls[at] = call;
    }
}

static void make_uses(moon__gather *g, unsigned *next_id) {
    free(g->uses);
    g->uses = calloc(g->n_calls, sizeof *g->uses);
    if (!g->uses) {
        fail(g, MOON_ENOMEM, "");
        return;
    }
    sort_calls(g);
    for (size_t i = 0; i < g->n_calls; i++) {
        moon__gathered_call *call = &g->calls[i];
        repair_id(g, i, next_id);
        const char *name = call->name.len ? call->name.p : "";
        const char *dotted = moon__names_dotted(g->names, name);
        g->uses[i] = (moon_tool_use){.id = call->id.p ? call->id.p : "",
                                     .name = dotted ? dotted : name,
                                     .arguments = call->arguments.len ? call->arguments.p : "",
                                     .arguments_length = call->arguments.len};
    }
}

/* What the server told; else what the prices make of its token counts; else -1. Without counts nothing is guessed. */
static double cost(const moon__gather *g, const moon__price *price) {
    const moon_usage *u = &g->usage;
    if (!g->has_usage) return -1;
    if (u->usd >= 0) return u->usd;
    if (!price || price->input < 0 || price->output < 0) return -1;
    double cached = price->cached < 0 ? price->input : price->cached;
    return ((double)(u->input_tokens - u->cached_tokens) * price->input + (double)u->cached_tokens * cached +
            (double)u->output_tokens * price->output) /
           1e6;
}

moon_status moon__gather_finish(moon__gather *gather, const moon__price *price, unsigned *next_id, moon__answer *answer,
                                moon_error *error) {
    if (gather->n_calls && !gather->status) make_uses(gather, next_id);
    if (gather->status) {
        if (error) *error = gather->error;
        return gather->status;
    }
    *answer = (moon__answer){.text = gather->text.len ? gather->text.p : "",
                             .text_length = gather->text.len,
                             .reasoning = gather->reasoning.len ? gather->reasoning.p : "",
                             .reasoning_length = gather->reasoning.len,
                             .calls = gather->uses,
                             .n_calls = gather->n_calls,
                             .finish = gather->finish,
                             .usage = gather->usage,
                             .model = ""};
    answer->usage.usd = cost(gather, price);
    return MOON_OK;
}
