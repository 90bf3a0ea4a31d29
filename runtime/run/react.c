/* SPDX-License-Identifier: MIT */
/*
 * The agent's loop: ask the model → run the tool calls of its answer → give it the results → ask again, until an answer
 * has none. Each round is a step.
 *
 * - start ──► step ──► (waiting for budget) ──► asking ──► answer has calls ──► calling ──► step …
 * - answer has none ──► checked against the output schema, if there is one ──► finished, or step: asked again
 * - step, and a limit is reached ──► finished, without a request
 * - asking, and the provider gave up ──► finished
 * - asking, and a cassette has no answer ──► waits: for a stop (the branch is not needed), or until nothing else goes
 * on
 *
 * A stop (cancel, deadline, limit of a parent, refusal) may come in any state: what is under way is ended, then the run
 * finishes with the stop's reason. What the answer contains decides, never its finish reason: tool calls are run even
 * if the reason says "stop". Only an answer that was cut ("length", "content_filter") is not taken for one.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime.h"
#include "testing.h"
#include "text.h"

enum { REPAIRS_MAX = 2 };

typedef struct react {
    moon_run *run;
    const moon__agent *agent;
    moon__chat *chat;
    moon__calls *calls;
    bool asking, calling;
    char *missed;          /* why a cassette gives no answer; NULL: it does */
    bool late;             /* because none came in time when it was recorded */
    bool recorded, shared; /* the answer at hand is from the journal; and there from before a fork */
    unsigned lane, repairs;
    uint64_t context; /* a hash of the conversation so far, the tools included */
    moon__tally tally;
    moon__hold hold; /* of the request that is made, or waits for budget */
    char key[24];    /* of this step's events: its number in this run */
    int64_t steps, step_started_us;
    moon__defer next; /* the next step, or the end */
    char *last_text;  /* the last text the model wrote; kept for a run that a limit ends */
    size_t last_length;
} react;

/* ---- the end ---- */

/* Runs from the loop, because an end may come from within a callback of the chat or the calls that are freed here. */
static void clean_up(void *ctx) {
    react *r = ctx;
    moon_run *run = r->run;
    moon__model *model = moon__model_ref(r->chat->model);
    model->ops->close(r->chat);
    moon__model_unref(model);
    moon__calls_free(r->calls);
    free(r->last_text);
    free(r);
    moon_run_unref(run);
}

static void finish(react *r, moon_stop stop, const char *text, size_t length, const char *error) {
    moon_run *run = r->run;
    moon__hold_end(&r->hold);
    run->state = NULL;
    if (text)
        moon__run_finish(run, stop, text, length, error);
    else
        moon__run_finish(run, stop, r->last_text, r->last_length, error);
    r->next.fn = clean_up;
    moon__defer_call(run->runtime->loop, &r->next);
}

static void keep_text(react *r, const char *text, size_t length) {
    if (!length) return;
    free(r->last_text);
    r->last_text = moon__strndup(text, length);
    r->last_length = r->last_text ? length : 0;
}

/* ---- events ---- */

static void tell_step(react *r) {
    moon__buf body;
    if (!moon__run_tells(r->run, MOON_EVENT_MODEL_REQUEST, r->key)) return;
    moon__buf_init(&body, 4096);
    moon__buf_printf(&body, "{\"step\":%lld,\"model\":", (long long)r->steps);
    moon__buf_quoted(&body, r->chat->model->name, SIZE_MAX);
    moon__buf_printf(&body, ",\"context\":\"%016" PRIx64 "\"}", r->context);
    moon__run_event(r->run, MOON_EVENT_MODEL_REQUEST, r->key, &body);
    moon__buf_fini(&body);
}

static void on_delta(void *ctx, moon__delta kind, const char *text, size_t n) {
    static const char *const kinds[] = {"text", "reasoning", "call"};
    react *r = ctx;
    moon__buf body;
    moon__buf_init(&body, 32 << 20);
    moon__buf_printf(&body, "{\"kind\":\"%s\",\"text\":", kinds[kind]);
    moon__buf_quoted(&body, text, n);
    moon__buf_char(&body, '}');
    moon__run_event(r->run, MOON_EVENT_MODEL_DELTA, "", &body);
    moon__buf_fini(&body);
}

static void on_retry(void *ctx, int attempt, int64_t wait_ms, const moon_error *why) {
    react *r = ctx;
    moon__buf body;
    moon__jw w;
    moon__buf_init(&body, 8192);
    moon__jw_init(&w, &body);
    moon__jw_object(&w, NULL);
    moon__jw_int(&w, "attempt", attempt);
    moon__jw_int(&w, "wait_ms", wait_ms);
    moon__jw_str(&w, "error", why->text, SIZE_MAX);
    moon__jw_end(&w);
    moon__run_event(r->run, MOON_EVENT_MODEL_RETRY, r->key, &body);
    moon__buf_fini(&body);
}

static void tell_answer(react *r, const moon__answer *answer) {
    if (!moon__run_tells(r->run, MOON_EVENT_MODEL_RESPONSE, r->key)) return;
    moon__buf body;
    moon__jw w;
    moon__buf_init(&body, 256 << 20);
    moon__jw_init(&w, &body);
    moon__jw_object(&w, NULL);
    moon__jw_int(&w, "step", r->steps);
    moon__answer_write(&w, answer);
    moon__jw_int(&w, "wall_ms", (moon__loop_now(r->run->runtime->loop) - r->step_started_us) / 1000);
    moon__jw_end(&w);
    moon__run_event(r->run, MOON_EVENT_MODEL_RESPONSE, r->key, &body);
    moon__buf_fini(&body);
}

/* ---- a step ---- */

static void mix(react *r, const char *text, size_t n) {
    r->tally.bytes += n;
    r->context = (r->context ^ moon_hash(text, n)) * UINT64_C(0x9e3779b97f4a7c15) + n;
}

static moon_status append(react *r, const moon_message *message, moon_error *error) {
    r->context += message->role;
    mix(r, message->text ? message->text : "", message->text_length);
    for (size_t i = 0; i < message->n_calls; i++) {
        mix(r, message->calls[i].name, strlen(message->calls[i].name));
        mix(r, message->calls[i].arguments, message->calls[i].arguments_length);
    }
    return r->chat->model->ops->append(r->chat, message, error);
}

static void fail(react *r, const moon_error *error) {
    finish(r, MOON_STOP_FAILED, NULL, 0, error->text);
}

static void on_answer(void *ctx, moon_status status, const moon__answer *answer, const moon_error *error);
static void step(void *ctx);

/* ---- a step that was recorded ---- */

/* Was the conversation the same when this step was made? */
static bool same_context(react *r) {
    const moon__recorded *request = moon__run_recorded(r->run, MOON_EVENT_MODEL_REQUEST, r->key);
    if (!request || r->run->tree->rehearsal == MOON__REHEARSE_TOOLS) return true;
    char now[24];
    snprintf(now, sizeof now, "%016" PRIx64, r->context);
    moon_json *body = moon__run_recorded_body(r->run, request);
    const char *then = moon_json_str(moon_json_get(body, "context"), NULL);
    bool same = body && (!then || !strcmp(then, now)); /* without a body the run is stopping */
    moon__json_free(body);
    if (!same && !r->run->stopping) {
        char was[80];
        snprintf(was, sizeof was, "step %s of another conversation", r->key);
        moon__run_diverged(r->run, request->seq, was, "one whose instructions, tools or messages differ");
    }
    return same;
}

static void on_recorded(void *ctx) {
    react *r = ctx;
    moon_run *run = r->run;
    r->next.fn = step;
    if (run->stopping) {
        finish(r, run->stop_why, NULL, 0, NULL);
        return;
    }
    moon_json *body = moon__run_recorded_body(run, moon__run_recorded(run, MOON_EVENT_MODEL_RESPONSE, r->key));
    moon__answer answer;
    moon_tool_use *uses = NULL;
    if (body && moon__answer_read(&answer, &uses, body) == MOON_OK)
        on_answer(r, MOON_OK, &answer, NULL);
    else
        finish(r, MOON_STOP_JOURNAL, NULL, 0, "a recorded answer cannot be read");
    free(uses);
    moon__json_free(body);
}

/* One more message of the user, given to a fork; it comes before the step of its key. NULL: none. */
static const moon__recorded *input_before(const react *r, int64_t step) {
    char key[24];
    snprintf(key, sizeof key, "%lld", (long long)step);
    return moon__run_recorded(r->run, MOON_EVENT_INPUT_RECEIVED, key);
}

static bool take_input(react *r, moon_error *error) {
    const moon__recorded *input = input_before(r, r->steps);
    moon_json *body = input ? moon__run_recorded_body(r->run, input) : NULL;
    size_t n = 0;
    const char *text = moon_json_str(moon_json_get(body, "text"), &n);
    moon_message message = {.role = MOON_USER, .text = text, .text_length = n};
    bool failed = text && append(r, &message, error);
    moon__json_free(body);
    return !failed;
}

/* Takes the step from the journal if it is there. */
static bool recorded_step(react *r) {
    moon_run *run = r->run;
    moon_error error = {0};
    snprintf(r->key, sizeof r->key, "%lld", (long long)++r->steps);
    r->recorded = r->shared = false;
    if (!run->tree->replay) return false;
    if (!take_input(r, &error)) {
        fail(r, &error);
        return true;
    }
    if (!same_context(r)) {
        finish(r, run->stop_why, NULL, 0, NULL);
        return true;
    }
    const moon__recorded *response = moon__run_recorded(run, MOON_EVENT_MODEL_RESPONSE, r->key);
    if (!response && run->tree->rehearsal) {
        finish(r, MOON_STOP_FAILED, NULL, 0, "the journal has no answer of the model for this step");
        return true;
    }
    if (!response) return false;
    r->recorded = true;
    r->shared = response->seq <= run->tree->shared;
    if (run->tree->rehearsal) tell_step(r);
    r->next.fn = on_recorded;
    moon__defer_call(run->runtime->loop, &r->next);
    return true;
}

static void request(react *r) {
    moon_run *run = r->run;
    moon_error error = {0};
    moon__ask ask = {.lane = r->lane,
                     .path = run->path,
                     .deltas = run->tree->journal.live,
                     .delta = on_delta,
                     .retry = on_retry,
                     .done = on_answer,
                     .ctx = r};
    r->step_started_us = moon__loop_now(run->runtime->loop);
    tell_step(r);
    r->asking = !run->stopping; /* else cancel() has arranged the end */
    if (r->asking && r->chat->model->ops->ask(r->chat, &ask, &error)) {
        r->asking = false;
        fail(r, &error);
    }
}

/* Also when the wait for budget is over. */
static void ask(void *ctx) {
    react *r = ctx;
    moon_stop why = MOON_STOP_FAILED;
    moon__buf text;
    moon__buf_init(&text, 1024);
    moon__hold_guess(&r->hold, &r->tally, r->chat->model, r->agent->settings.wire.max_output_tokens);
    switch (moon__hold_begin(&r->hold, &why, &text)) {
    case MOON__BUDGET_HELD: request(r); break;
    case MOON__BUDGET_WAITS: break;
    case MOON__BUDGET_OVER: finish(r, why, NULL, 0, text.p); break;
    }
    moon__buf_fini(&text);
}

static void step(void *ctx) {
    react *r = ctx;
    if (r->run->stopping)
        finish(r, r->run->stop_why, NULL, 0, NULL);
    else if (!recorded_step(r))
        ask(r);
}

/* The first step. */
static void begin(void *ctx) {
    react *r = ctx;
    const moon__agent *agent = r->agent;
    r->next.fn = step;
    if (agent->prompt_name && !r->run->stopping) moon__run_prompt(r->run, agent->prompt_name, agent->prompt_hash);
    step(r);
}

static void go_on(react *r) {
    moon__defer_call(r->run->runtime->loop, &r->next);
}

/* ---- the final answer ---- */

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

/* Says in *why what is wrong; on success *out holds the compact JSON. */
static moon_status check_output(const moon__agent *agent, const char *text, size_t n, moon__buf *out, moon__buf *why) {
    moon_json *value = NULL;
    moon_error error = {0};
    unfence(&text, &n);
    moon_status status = moon__json_parse(&value, text, n, 0, &error);
    if (status)
        moon__buf_printf(why, "it is not JSON: %s", error.text);
    else
        status = moon__schema_check(agent->output, value, why);
    if (!status) moon__json_print(out, value);
    moon__json_free(value);
    return status ? status : out->status;
}

static void finish_with(react *r, const moon__answer *answer) {
    if (input_before(r, r->steps + 1)) { /* the fork goes on after this answer */
        moon_error error = {0};
        moon_message said = {.role = MOON_ASSISTANT, .text = answer->text, .text_length = answer->text_length};
        if (append(r, &said, &error))
            fail(r, &error);
        else
            go_on(r);
        return;
    }
    if (!r->agent->output) {
        finish(r, MOON_STOP_DONE, answer->text, answer->text_length, NULL);
        return;
    }
    moon__buf out, why, message;
    moon_error error = {0};
    moon__buf_init(&out, 64 << 20);
    moon__buf_init(&why, 8192);
    moon__buf_init(&message, 16384);
    if (!check_output(r->agent, answer->text, answer->text_length, &out, &why)) {
        moon__run_set_json(r->run);
        finish(r, MOON_STOP_DONE, out.p, out.len, NULL);
    } else if (r->repairs == REPAIRS_MAX) {
        moon__buf_printf(&message, "the answer does not fit the output schema: %s", why.p ? why.p : "");
        finish(r, MOON_STOP_SCHEMA, answer->text, answer->text_length, message.p);
    } else {
        moon_message said = {.role = MOON_ASSISTANT, .text = answer->text, .text_length = answer->text_length};
        moon__buf_printf(
            &message, "Your answer does not fit the required JSON Schema:\n%s\nAnswer again with the JSON value alone.",
            why.p ? why.p : "");
        moon_message again = {.role = MOON_USER, .text = message.p, .text_length = message.len};
        r->repairs++;
        if (append(r, &said, &error) || append(r, &again, &error))
            fail(r, &error);
        else
            go_on(r);
    }
    moon__buf_fini(&out);
    moon__buf_fini(&why);
    moon__buf_fini(&message);
}

/* ---- an answer ---- */

/* Calls of a recorded answer that were begun are not asked about again. */
static bool allow_calls(const react *r, const moon__answer *answer, moon_stop *why, moon__buf *text) {
    int64_t n = (int64_t)answer->n_calls;
    if (r->recorded && moon__calls_begun(r->run)) return true;
    if (r->recorded && !r->shared) moon__limits_count(r->run, 0, -n); /* they counted as made */
    return moon__limits_calls(r->run, n, why, text);
}

static void call_tools(react *r, const moon__answer *answer) {
    moon_message message = {.role = MOON_ASSISTANT,
                            .text = answer->text,
                            .text_length = answer->text_length,
                            .calls = answer->calls,
                            .n_calls = answer->n_calls,
                            .reasoning = answer->reasoning_length ? answer->reasoning : NULL,
                            .reasoning_length = answer->reasoning_length};
    moon_error error = {0};
    moon_stop why = MOON_STOP_FAILED;
    moon__buf text;
    moon__buf_init(&text, 1024);
    if (!allow_calls(r, answer, &why, &text))
        finish(r, why, NULL, 0, text.p);
    else if (append(r, &message, &error))
        fail(r, &error);
    else {
        r->calling = true;
        moon_run *run = r->run;
        if (moon__calls_begin(r->calls, answer->calls, answer->n_calls, &error) && !run->stopping) {
            r->calling = false;
            fail(r, &error);
        }
    }
    moon__buf_fini(&text);
}

static const char *cut_short(const moon__answer *answer) {
    if (answer->n_calls) return NULL;
    if (!strcmp(answer->finish, "length"))
        return "the answer was cut at the model's output limit (raise max_output_tokens)";
    if (!strcmp(answer->finish, "content_filter")) return "the provider's content filter cut the answer";
    if (!answer->text_length) return "the model gave an empty answer";
    return NULL;
}

/* A wrong key, model or address is the user's to mend, and waiting does not help; the rest is the provider's. */
static moon_stop why_no_answer(moon_status status, const moon_error *error) {
    if (status == MOON_ENET) return MOON_STOP_PROVIDER;
    if (status != MOON_EPROVIDER) return MOON_STOP_FAILED;
    int http = error->cause;
    bool refused = http == 401 || http == 403 || http == 404, no_answer = http >= 200 && http <= 399;
    return refused || no_answer ? MOON_STOP_CONFIG : MOON_STOP_PROVIDER;
}

static void on_answer(void *ctx, moon_status status, const moon__answer *answer, const moon_error *error) {
    react *r = ctx;
    r->asking = false;
    moon__hold_end(&r->hold);
    if (status == MOON_ENOTFOUND && r->run->runtime->cassette && (r->missed = moon__strdup(error->text))) {
        r->late = error->cause == MOON__CASSETTE_LATE;
        moon__waiting_missed(r->run, 1);
        return;
    }
    if (status) {
        finish(r, why_no_answer(status, error), NULL, 0, error->text);
        return;
    }
    moon__tally_answer(&r->tally, &answer->usage);
    if (!r->recorded) moon__limits_use(r->run, &answer->usage); /* else it counts since the run was resumed */
    tell_answer(r, answer);
    if (r->run->stopping) return; /* cancel() has arranged the end */
    const char *cut = cut_short(answer);
    if (answer->usage.usd < 0 && moon__limits_usd(r->run))
        finish(r, MOON_STOP_USD, answer->text, answer->text_length,
               "the cost of the answer is not known, so limit usd cannot be kept: give the model a price in the "
               "configuration");
    else if (cut)
        finish(r, MOON_STOP_FAILED, answer->text, answer->text_length, cut);
    else if (answer->n_calls) {
        keep_text(r, answer->text, answer->text_length);
        call_tools(r, answer);
    } else
        finish_with(r, answer);
}

static void on_results(void *ctx) {
    react *r = ctx;
    moon_error error = {0};
    r->calling = false;
    if (r->run->stopping) {
        finish(r, r->run->stop_why, NULL, 0, NULL);
        return;
    }
    for (size_t i = 0; i < moon__calls_count(r->calls); i++) {
        moon__outcome o = moon__calls_outcome(r->calls, i);
        moon_message message = {
            .role = MOON_TOOL_ROLE, .text = o.text, .text_length = o.length, .call_id = o.id, .is_error = !o.ok};
        if (append(r, &message, &error)) {
            fail(r, &error);
            return;
        }
    }
    step(r);
}

/* ---- the runnable ---- */

static moon_status choose_model(const moon_run *run, const moon__agent *agent, moon__model **model, moon_error *error) {
    moon__cassette *cassette = run->runtime->cassette;
    moon_status status = moon__standin_model(run, agent->base.name, agent->inline_model, agent->model, model, error);
    return status || !cassette ? status : moon__cassette_wrap(cassette, model, error);
}

/* A limit that cannot be kept is not set. */
static moon_status check_price(const moon_run *run, const moon__model *model, moon_error *error) {
    if (!model->hides_cost || run->tree->rehearsal || !moon__limits_usd(run)) return MOON_OK;
    return moon_error_set(error, MOON_EINVAL,
                          "limit usd cannot be kept: what %s costs is not known; give it a price in the configuration, "
                          "or set limit tokens",
                          model->name);
}

static moon_status greet(react *r, moon_error *error) {
    static const char plan_text[] =
        "Begin by calling the tool plan with the steps you are going to take, and keep it up to date.";
    moon__buf text;
    moon__buf_init(&text, 4 << 20);
    if (r->agent->instructions) moon__buf_str(&text, r->agent->instructions);
    if (r->agent->plan) moon__buf_printf(&text, "%s%s", text.len ? "\n\n" : "", plan_text);
    moon_status status = text.status ? moon_error_set(error, text.status, "the instructions are too long") : MOON_OK;
    moon_message system = {.role = MOON_SYSTEM, .text = text.p, .text_length = text.len};
    if (!status && text.len) status = append(r, &system, error);
    moon_message user = {.role = MOON_USER, .text = r->run->input, .text_length = r->run->input_length};
    if (!status) status = append(r, &user, error);
    moon__buf_fini(&text);
    return status;
}

static moon_status start(moon_runnable *runnable, moon_run *run, moon_error *error) {
    const moon__agent *agent = (const moon__agent *)runnable;
    react *r = calloc(1, sizeof *r);
    if (!r) return moon_error_set(error, MOON_ENOMEM, "no memory for a run");
    *r = (react){.run = run,
                 .agent = agent,
                 .lane = run->runtime->next_lane++,
                 .next = {.fn = begin, .ctx = r},
                 .tally = {.usd = -1},
                 .hold = {.run = run, .ready = ask, .ctx = r}};
    moon__limits_tighten(&run->limits, &agent->limits);
    moon__calls_options options = {.run = run,
                                   .agent = agent,
                                   .policy = agent->policy,
                                   .parallel = agent->parallel,
                                   .plan = agent->plan,
                                   .done = on_results,
                                   .ctx = r};
    moon__model *model = NULL;
    moon_status status = moon__calls_new(&r->calls, &options, error);
    if (!status) status = choose_model(run, agent, &model, error);
    if (!status) status = check_price(run, model, error);
    if (!status) status = model->ops->open(model, &agent->settings, &r->chat, error);
    for (size_t i = 0; i < agent->n_tools; i++) {
        const moon_wire_tool *tool = &agent->wire_tools[i];
        mix(r, tool->name, strlen(tool->name));
        mix(r, tool->params, strlen(tool->params));
    }
    if (!status) status = greet(r, error);
    if (status) {
        if (model && r->chat) model->ops->close(r->chat);
        moon__calls_free(r->calls);
        free(r);
    } else {
        moon_run_ref(run); /* until clean_up */
        run->state = r;
        go_on(r);
    }
    moon__model_unref(model);
    return status;
}

/* A branch whose time is up, while the whole goes on: that belongs to what is recorded. Where it cannot be written it
 * is missing when it is played, which is told then. */
static void note_late(const react *r) {
    const moon_run *run = r->run;
    moon_error error;
    if (!run->runtime->cassette || run->stop_why != MOON_STOP_SECONDS || run->tree->root->stopping) return;
    moon_status status = moon__cassette_late(r->chat, &error);
    (void)status;
}

static void cancel(moon_runnable *runnable, moon_run *run) {
    (void)runnable;
    react *r = run->state;
    if (r->asking) {
        note_late(r);
        r->chat->model->ops->cancel(r->chat);
        r->asking = false;
        go_on(r);
    } else if (r->missed) {
        moon__waiting_missed(run, -1);
        free(r->missed);
        r->missed = NULL;
        go_on(r);
    } else if (r->calling)
        moon__calls_cancel(r->calls); /* on_results finishes */
    else
        go_on(r);
    moon__hold_end(&r->hold);
}

const moon__runnable_ops moon__agent_ops = {.start = start, .cancel = cancel, .free = moon__agent_free};

const char *moon__react_missed(const moon_run *run, bool *late) {
    const react *r = run->runnable->ops == &moon__agent_ops ? run->state : NULL;
    *late = r && r->late;
    return r ? r->missed : NULL;
}

moon__calls *moon__react_calls(const moon_run *run) {
    return run->runnable->ops == &moon__agent_ops && run->state ? ((react *)run->state)->calls : NULL;
}
