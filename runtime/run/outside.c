/* SPDX-License-Identifier: MIT */
#include "outside.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime.h"

/* A sleep is looked at again that often: the clock on the wall may be set. */
static const int64_t nap_us = 60 * INT64_C(1000000);
static const double longest = 100 * 365.25 * 86400; /* seconds; what is longer has no end */

/* ---- values ---- */

moon_json *moon__value_recorded(moon_run *run, const char *key, const char *kind) {
    const moon__recorded *was = moon__run_recorded(run, MOON_EVENT_VALUE_RECORDED, key);
    if (!was) return NULL;
    moon_json *body = moon__run_recorded_body(run, was);
    const char *then = moon_json_str(moon_json_get(body, "kind"), NULL);
    if (body && (!then || strcmp(then, kind) != 0)) moon__run_diverged(run, was->seq, then ? then : "a value", kind);
    return body;
}

void moon__value_record(moon_run *run, const char *key, const char *kind, const char *value, size_t length) {
    moon__buf body;
    moon__jw w;
    if (!moon__run_tells(run, MOON_EVENT_VALUE_RECORDED, key)) return;
    moon__buf_init(&body, 64 << 20);
    moon__jw_init(&w, &body);
    moon__jw_object(&w, NULL);
    moon__jw_str(&w, "kind", kind, SIZE_MAX);
    moon__jw_raw(&w, "value", value, length);
    moon__jw_end(&w);
    moon__run_event(run, MOON_EVENT_VALUE_RECORDED, key, &body);
    moon__buf_fini(&body);
}

/* ---- pauses ---- */

static int64_t wall(const moon_run *run) {
    return run->runtime->clock.wall_us(run->runtime->clock.ctx);
}

/* The key of a pause's end. */
static void end_key(const moon__pause *p, char key[MOON__PAUSE_KEY + 8]) {
    snprintf(key, MOON__PAUSE_KEY + 8, "%s.end", p->key);
}

static void unlink_pause(moon__pause *p) {
    for (moon__pause **at = &p->run->tree->waiting.pauses; *at; at = &(*at)->next)
        if (*at == p) {
            *at = p->next;
            break;
        }
}

static void stop_waiting(moon__pause *p) {
    if (!p->waiting) return;
    p->waiting = false;
    moon__timer_stop(p->run->runtime->loop, &p->timer);
    unlink_pause(p);
}

static void end(moon__pause *p) {
    stop_waiting(p);
    p->done(p->ctx);
}

/* Its time has come, or a signal, and the journal says so. */
static void end_recorded(moon__pause *p, const char *kind, const char *value, size_t length) {
    char key[MOON__PAUSE_KEY + 8];
    end_key(p, key);
    moon__value_record(p->run, key, kind, value, length);
    if (p->due_us) moon__journal_side(&p->run->tree->journal, &(moon_side){.kind = MOON_SIDE_TIMER, .key = p->key});
    end(p);
}

static void set_timer(moon__pause *p);

static void on_time(void *ctx) {
    moon__pause *p = ctx;
    if (p->due_us > wall(p->run))
        set_timer(p);
    else
        end_recorded(p, "time", "true", 4);
}

static void set_timer(moon__pause *p) {
    int64_t left = p->due_us - wall(p->run);
    if (p->due_us && moon__timer_start(p->run->runtime->loop, &p->timer, left > nap_us ? nap_us : left))
        moon__run_stop(p->run, MOON_STOP_FAILED, "no memory for a timer");
}

/* When it is to end: as recorded, or from now on. */
static bool set_due(moon__pause *p, double seconds) {
    char text[32], kind[72];
    snprintf(kind, sizeof kind, *p->name ? "wait %s" : "sleep", p->name);
    moon_json *body = moon__value_recorded(p->run, p->key, kind);
    bool recorded = body != NULL;
    if (recorded)
        moon_json_int(moon_json_get(body, "value"), &p->due_us);
    else if (seconds >= 0 && seconds < longest)
        p->due_us = wall(p->run) + (int64_t)llround(seconds * 1e6);
    moon__json_free(body);
    if (recorded) return true;
    int n = snprintf(text, sizeof text, "%lld", (long long)p->due_us);
    moon__value_record(p->run, p->key, kind, text, (size_t)n);
    if (p->due_us)
        moon__journal_side(&p->run->tree->journal,
                           &(moon_side){.kind = MOON_SIDE_TIMER, .key = p->key, .due_us = p->due_us});
    return false;
}

void moon__pause_start(moon__pause *p, double seconds) {
    char key[MOON__PAUSE_KEY + 8];
    p->timer = (moon__timer){.fn = on_time, .ctx = p};
    bool before = set_due(p, seconds);
    end_key(p, key);
    const moon__recorded *was = before ? moon__run_recorded(p->run, MOON_EVENT_VALUE_RECORDED, key) : NULL;
    if (was) {
        moon_json *ended = moon__run_recorded_body(p->run, was);
        const char *kind = moon_json_str(moon_json_get(ended, "kind"), NULL);
        if (kind && !strcmp(kind, "signal"))
            p->value = ended;
        else
            moon__json_free(ended);
        p->done(p->ctx);
        return;
    }
    p->waiting = true;
    p->next = p->run->tree->waiting.pauses;
    p->run->tree->waiting.pauses = p;
    set_timer(p);
    moon__waiting_changed(p->run);
}

void moon__pause_cancel(moon__pause *p) {
    if (p->waiting) end(p);
}

void moon__pause_fini(moon__pause *p) {
    stop_waiting(p);
    moon__json_free(p->value);
    p->value = NULL;
}

bool moon__pause_signal(moon_run *root, const char *name, const moon_json *value) {
    moon__pause *first = NULL; /* the list has the newest first */
    for (moon__pause *p = root->tree->waiting.pauses; p; p = p->next)
        if (*p->name && !strcmp(p->name, name)) first = p;
    if (!first) return false;
    moon__buf text, body;
    moon__buf_init(&text, 64 << 20);
    moon__buf_init(&body, 64 << 20);
    if (value)
        moon__json_print(&text, value);
    else
        moon__buf_str(&text, "null");
    moon__buf_printf(&body, "{\"value\":%s}", text.p ? text.p : "null");
    moon_status status = text.status ? text.status : body.status;
    if (!status) status = moon__json_parse(&first->value, body.p, body.len, 0, NULL);
    if (!status) end_recorded(first, "signal", text.p, text.len);
    moon__buf_fini(&text);
    moon__buf_fini(&body);
    return status == MOON_OK;
}
