/* SPDX-License-Identifier: MIT */
/* The events of a step: what is asked, what comes of it, and what it ends with. */
#include "runtime.h"

#include <inttypes.h>

void moon__step_request(moon_run *run, const char *key, int64_t step, const char *model, uint64_t context) {
    moon__buf body;
    if (!moon__run_tells(run, MOON_EVENT_MODEL_REQUEST, key)) return;
    moon__buf_init(&body, 4096);
    moon__buf_printf(&body, "{\"step\":%lld,\"model\":", (long long)step);
    moon__buf_quoted(&body, model, SIZE_MAX);
    moon__buf_printf(&body, ",\"context\":\"%016" PRIx64 "\"}", context);
    moon__run_event(run, MOON_EVENT_MODEL_REQUEST, key, &body);
    moon__buf_fini(&body);
}

void moon__step_delta(moon_run *run, moon__delta kind, const char *text, size_t n) {
    static const char *const kinds[] = {"text", "reasoning", "call"};
    moon__buf body;
    moon__buf_init(&body, 32 << 20);
    moon__buf_printf(&body, "{\"kind\":\"%s\",\"text\":", kinds[kind]);
    moon__buf_quoted(&body, text, n);
    moon__buf_char(&body, '}');
    moon__run_event(run, MOON_EVENT_MODEL_DELTA, "", &body);
    moon__buf_fini(&body);
}

void moon__step_retry(moon_run *run, const char *key, int attempt, int64_t wait_ms, const moon_error *why) {
    moon__buf body;
    moon__jw w;
    moon__buf_init(&body, 8192);
    moon__jw_init(&w, &body);
    moon__jw_object(&w, NULL);
    moon__jw_int(&w, "attempt", attempt);
    moon__jw_int(&w, "wait_ms", wait_ms);
    moon__jw_str(&w, "error", why->text, SIZE_MAX);
    moon__jw_end(&w);
    moon__run_event(run, MOON_EVENT_MODEL_RETRY, key, &body);
    moon__buf_fini(&body);
}

void moon__step_answer(moon_run *run, const char *key, int64_t step, const moon__answer *answer, int64_t started_us) {
    if (!moon__run_tells(run, MOON_EVENT_MODEL_RESPONSE, key)) return;
    moon__buf body;
    moon__jw w;
    moon__buf_init(&body, 256 << 20);
    moon__jw_init(&w, &body);
    moon__jw_object(&w, NULL);
    moon__jw_int(&w, "step", step);
    moon__answer_write(&w, answer);
    moon__jw_int(&w, "wall_ms", (moon__loop_now(run->runtime->loop) - started_us) / 1000);
    moon__jw_end(&w);
    moon__run_event(run, MOON_EVENT_MODEL_RESPONSE, key, &body);
    moon__buf_fini(&body);
}
