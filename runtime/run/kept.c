/* SPDX-License-Identifier: MIT */
/*
 * Runs that are kept: what the store is told of a run beside its events.
 *
 * Its row in the store says what it is and how it stands, so that runs can be listed without reading journals; it is
 * written with the first event and the last one of each time that the run is driven.
 */
#include <stdlib.h>
#include <string.h>

#include "runtime.h"
#include "text.h"

enum { PREVIEW = 200 };

/* What was posted before this process opened the store was posted to runs that were there: to those it resumes. */
static void on_changed(void *ctx, bool others) {
    moon_runtime *rt = ctx;
    for (moon_run *r = rt->runs, *next; r; r = next) {
        next = r->next;
        if (!r->parent && r->tree->kept && (others || r->tree->replay)) moon__waiting_look(r);
    }
}

moon_status moon__runtime_set_journal(moon_runtime *rt, const moon_store_ops *store, const char *place,
                                      moon_error *error) {
    if (rt->keeper) return moon_error_set(error, MOON_EINVAL, "the runtime has a journal already");
    if (!store) store = &moon_store_sqlite;
    if (store->abi != MOON_STORE_ABI)
        return moon_error_set(error, MOON_EINVAL, "store %s was built for store interface %u, this is %u", store->name,
                              store->abi, MOON_STORE_ABI);
    const moon__store_place where = {
        .ops = store, .place = place, .tell = rt->options.notice, .tell_ctx = rt->options.notice_ctx};
    moon_status status = moon__keeper_new(&rt->keeper, rt->loop, &where, error);
    if (!status) moon__keeper_watch(rt->keeper, on_changed, rt);
    return status;
}

const char *moon_runtime_journal(const moon_runtime *rt) {
    return rt->keeper ? moon__keeper_place(rt->keeper) : NULL;
}

static void on_lost(void *ctx, moon_status status) {
    moon_run *root = ctx;
    const char *why = moon__keeper_error(root->runtime->keeper);
    if (status == MOON_ECONFLICT) why = "another process has taken this run over";
    moon__run_stop(root, MOON_STOP_JOURNAL, *why ? why : moon_status_text(status));
}

/* Of what is wrapped, however often. */
static const moon__origin *origin_of(const moon_run *root) {
    const moon_runnable *r = root->runnable;
    while (r->inner) r = r->inner;
    return &r->origin;
}

static void tell(moon_run *root, moon_side_kind kind, moon_run_state state, const char *stop) {
    moon__tree *tree = root->tree;
    const moon__origin *origin = origin_of(root);
    const moon_usage *u = &root->usage;
    moon_run_info info = {.run = tree->journal.id,
                          .name = root->runnable->name,
                          .script = origin->script ? origin->script : "",
                          .workspace = moon__space_path(root->runtime->space),
                          .input = tree->preview ? tree->preview : "",
                          .stop = stop,
                          .state = state,
                          .resumable = moon_stop_resumable(root->result.stop) || state != MOON_RUN_FINISHED,
                          .created_us = tree->created_us,
                          .updated_us = tree->journal.clock->wall_us(tree->journal.clock->ctx),
                          .steps = u->steps,
                          .tool_calls = u->tool_calls,
                          .tokens = u->input_tokens + u->output_tokens,
                          .usd = u->usd > 0 ? u->usd : 0};
    moon__journal_side(&tree->journal, &(moon_side){.kind = kind, .info = &info});
}

void moon__kept_created(moon_run *root) {
    moon__tree *tree = root->tree;
    if (!tree->kept) return;
    tree->preview = moon__strndup(
        root->input, moon__utf8_floor(root->input, root->input_length < PREVIEW ? root->input_length : PREVIEW));
    moon__keeper_keep(root->runtime->keeper, &tree->journal, on_lost);
    moon__keeper_users(root->runtime->keeper, 1);
    tell(root, tree->replay ? MOON_SIDE_UPDATE : MOON_SIDE_CREATE, MOON_RUN_RUNNING, "");
    const moon__origin *origin = origin_of(root);
    for (size_t i = 0; !tree->replay && i < origin->n_sources; i++) {
        const moon__source *source = &origin->sources[i];
        moon__journal_side(&tree->journal, &(moon_side){.kind = MOON_SIDE_BLOB,
                                                        .hash = source->hash,
                                                        .bytes = source->text,
                                                        .length = source->length});
    }
}

void moon__kept_finished(moon_run *root) {
    moon_stop stop = root->result.stop;
    moon_run_state state =
        stop == MOON_STOP_APPROVAL || stop == MOON_STOP_WAITING ? MOON_RUN_WAITING : MOON_RUN_FINISHED;
    tell(root, MOON_SIDE_UPDATE, state, moon_stop_text(stop));
}

void moon__kept_release(moon_run *root) {
    moon__keeper_users(root->runtime->keeper, -1);
    moon__keeper_forget(root->runtime->keeper, &root->tree->journal); /* a journal that is lost may still be listed */
    moon__keeper_release(root->runtime->keeper, root->tree->journal.id);
}

void moon__kept_write(moon__jw *w, const moon_run *root) {
    const moon__origin *origin = origin_of(root);
    char hash[MOON__HASH_TEXT];
    if (!root->tree->kept) return;
    if (origin->script) moon__jw_str(w, "script", origin->script, SIZE_MAX);
    if (origin->agent) moon__jw_raw(w, "agent", origin->agent, strlen(origin->agent));
    moon__jw_array(w, "sources");
    for (size_t i = 0; i < origin->n_sources; i++) {
        moon__hash_text(hash, origin->sources[i].hash);
        moon__jw_object(w, NULL);
        moon__jw_str(w, "path", origin->sources[i].path, SIZE_MAX);
        moon__jw_str(w, "sha256", hash, SIZE_MAX);
        moon__jw_end(w);
    }
    moon__jw_end(w);
    if (root->model) moon__jw_str(w, "model", root->model, SIZE_MAX);
    if (root->runnable->output_schema) moon__jw_str(w, "output_schema", root->runnable->output_schema, SIZE_MAX);
    moon__limits_write(w, "limits", &root->given);
    if (root->tree->snapshots.all) moon__jw_bool(w, "snapshots", true);
    moon__jw_int(w, "seed", (int64_t)root->tree->seed);
}
