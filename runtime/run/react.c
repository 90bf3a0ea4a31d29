/* SPDX-License-Identifier: MIT */
/*
 * The agent's loop: ask the model → run the tool calls of its answer → give it the results → ask again, until an answer
 * has none. Each round is a step.
 *
 * - start ──► (entering a work tree) ──► step ──► (waiting for budget) ──► asking ──► answer has calls ──► calling ──►
 * step …
 * - answer has none ──► checked against the output schema, if there is one ──► finished, or step: asked again
 * - step, and a limit is reached ──► finished, without a request
 * - asking, and the provider gave up ──► finished
 * - calling, and one of the calls was a handoff ──► step, of another agent
 * - step, and before_model is asked; asking, and after_model is: each may end it, or say what goes on
 *
 * A stop (cancel, deadline, limit of a parent, refusal) may come in any state: what is under way is ended, then the run
 * finishes with the stop's reason. What the answer contains decides, never its finish reason: tool calls are run even
 * if the reason says "stop". Only an answer that was cut ("length", "content_filter") is not taken for one.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "handoff.h"
#include "output.h"
#include "react.h"
#include "text.h"

enum { REPAIRS_MAX = 2 };

/* ---- the end ---- */

/* Runs from the loop, because an end may come from within a callback of the chat or the calls that are freed here. */
static void clean_up(void *ctx) {
    moon__react *r = ctx;
    moon_run *run = r->run;
    moon__dialog_close(&r->dialog);
    moon__calls_free(r->calls);
    moon__asked_free(r->asked);
    moon__json_free(r->held);
    free(r->last_text);
    free(r);
    moon_run_unref(run);
}

/* The request has ended, or is not to be made any more. */
static void leave_line(moon__react *r) {
    moon__hold_end(&r->budget);
    moon__gate_leave(&r->run->runtime->gate, &r->ticket);
}

void moon__react_finish(moon__react *r, moon_stop stop, const char *text, size_t length, const char *error) {
    moon_run *run = r->run;
    leave_line(r);
    run->state = NULL;
    if (text)
        moon__run_finish(run, stop, text, length, error);
    else
        moon__run_finish(run, stop, r->last_text, r->last_length, error);
    r->next.fn = clean_up;
    moon__defer_call(run->runtime->loop, &r->next);
}

static void keep_text(moon__react *r, const char *text, size_t length) {
    if (!length) return;
    free(r->last_text);
    r->last_text = moon__strndup(text, length);
    r->last_length = r->last_text ? length : 0;
}

/* ---- events ---- */

static void tell_step(moon__react *r) {
    moon__step_request(r->run, r->key, r->steps, r->dialog.chat->model->name, r->dialog.context);
}

static void on_delta(void *ctx, moon__delta kind, const char *text, size_t n) {
    moon__step_delta(((moon__react *)ctx)->run, kind, text, n);
}

static void on_retry(void *ctx, int attempt, int64_t wait_ms, const moon_error *why) {
    moon__react *r = ctx;
    moon__step_retry(r->run, r->key, attempt, wait_ms, why);
}

/* ---- a step ---- */

void moon__react_fail(moon__react *r, const moon_error *error) {
    moon__react_finish(r, MOON_STOP_FAILED, NULL, 0, error->text);
}

static void on_answer(void *ctx, moon_status status, const moon__answer *answer, const moon_error *error);
static void step(void *ctx);

/* ---- a step that was recorded ---- */

/* Was the conversation the same when this step was made? */
static bool same_context(moon__react *r) {
    const moon__recorded *request = moon__run_recorded(r->run, MOON_EVENT_MODEL_REQUEST, r->key);
    if (!request || r->run->tree->rehearsal == MOON__REHEARSE_TOOLS) return true;
    char now[24];
    snprintf(now, sizeof now, "%016" PRIx64, r->dialog.context);
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

/* An answer that stands in a body. */
void moon__react_take(moon__react *r, const moon_json *body, void (*then)(moon__react *r, const moon__answer *answer)) {
    moon__answer answer;
    moon_tool_use *uses = NULL;
    if (body && moon__answer_read(&answer, &uses, body) == MOON_OK)
        then(r, &answer);
    else
        moon__react_finish(r, MOON_STOP_JOURNAL, NULL, 0, "a recorded answer cannot be read");
    free(uses);
}

static void answered(moon__react *r, const moon__answer *answer) {
    on_answer(r, MOON_OK, answer, NULL);
}

/* From the journal, or from a hook. */
static void on_recorded(void *ctx) {
    moon__react *r = ctx;
    moon_run *run = r->run;
    r->next.fn = step;
    if (run->stopping) {
        moon__react_finish(r, run->stop_why, NULL, 0, NULL);
        return;
    }
    moon_json *body =
        r->recorded ? moon__run_recorded_body(run, moon__run_recorded(run, MOON_EVENT_MODEL_RESPONSE, r->key)) : NULL;
    moon__react_take(r, r->recorded ? body : r->held, answered);
    moon__json_free(body);
}

/* One more message of the user, given to a fork; it comes before the step of its key. NULL: none. */
static const moon__recorded *input_before(const moon__react *r, int64_t step) {
    char key[24];
    snprintf(key, sizeof key, "%lld", (long long)step);
    return moon__run_recorded(r->run, MOON_EVENT_INPUT_RECEIVED, key);
}

static bool take_input(moon__react *r, moon_error *error) {
    const moon__recorded *input = input_before(r, r->steps);
    moon_json *body = input ? moon__run_recorded_body(r->run, input) : NULL;
    size_t n = 0;
    const char *text = moon_json_str(moon_json_get(body, "text"), &n);
    moon_message message = {.role = MOON_USER, .text = text, .text_length = n};
    bool failed = text && moon__dialog_add(&r->dialog, &message, error);
    moon__json_free(body);
    return !failed;
}

static void request(void *ctx) {
    moon__react *r = ctx;
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
    if (r->asking && r->dialog.chat->model->ops->ask(r->dialog.chat, &ask, &error)) {
        r->asking = false;
        moon__react_fail(r, &error);
    }
}

static void take_later(moon__react *r) {
    r->next.fn = on_recorded;
    moon__defer_call(r->run->runtime->loop, &r->next);
}

/* Also when the wait for budget is over. An answer that a hook gives counts as a step. */
static void ask(void *ctx) {
    moon__react *r = ctx;
    moon_stop why = MOON_STOP_FAILED;
    moon__buf text;
    moon__buf_init(&text, 1024);
    moon__hold_guess(&r->budget, &r->dialog.tally, r->dialog.chat->model,
                     moon__dialog_settings(&r->dialog)->max_output_tokens);
    switch (moon__hold_begin(&r->budget, &why, &text)) {
    case MOON__BUDGET_HELD:
        if (r->given)
            take_later(r);
        else if (moon__gate_enter(&r->run->runtime->gate, &r->ticket))
            request(r);
        break;
    case MOON__BUDGET_WAITS: break;
    case MOON__BUDGET_OVER: moon__react_finish(r, why, NULL, 0, text.p); break;
    }
    moon__buf_fini(&text);
}

void moon__react_get_answer(moon__react *r) {
    if (!r->given && moon__react_hooked(r, MOON__BEFORE_MODEL) && !same_context(r)) { /* else begin_step has looked */
        moon__react_finish(r, r->run->stop_why, NULL, 0, NULL);
        return;
    }
    if (!r->recorded) {
        ask(r);
        return;
    }
    if (r->run->tree->rehearsal && !r->given) tell_step(r);
    take_later(r);
}

/* Finds the step's answer in the journal if it is there. False: the run has ended. */
static bool begin_step(moon__react *r) {
    moon_run *run = r->run;
    moon_error error = {0};
    snprintf(r->key, sizeof r->key, "%lld", (long long)++r->steps);
    r->recorded = r->shared = r->given = false;
    r->step_started_us = moon__loop_now(run->runtime->loop);
    if (!run->tree->replay) return true;
    if (!take_input(r, &error)) {
        moon__react_fail(r, &error);
        return false;
    }
    if (!moon__react_hooked(r, MOON__BEFORE_MODEL) && !same_context(r)) {
        moon__react_finish(r, run->stop_why, NULL, 0, NULL);
        return false;
    }
    const moon__recorded *response = moon__run_recorded(run, MOON_EVENT_MODEL_RESPONSE, r->key);
    r->recorded = response != NULL;
    r->shared = response && response->seq <= run->tree->shared;
    if (!response && run->tree->rehearsal)
        moon__react_finish(r, MOON_STOP_FAILED, NULL, 0, "the journal has no answer of the model for this step");
    return response || !run->tree->rehearsal;
}

static void step(void *ctx) {
    moon__react *r = ctx;
    if (r->run->stopping)
        moon__react_finish(r, r->run->stop_why, NULL, 0, NULL);
    else if (begin_step(r)) {
        if (moon__react_hooked(r, MOON__BEFORE_MODEL))
            moon__react_before(r);
        else
            moon__react_get_answer(r);
    }
}

/* Which version of which prompt the agent that answers now was told. */
static void tell_prompt(moon__react *r) {
    const moon__agent *agent = r->dialog.agent;
    if (agent->prompt_name && !r->run->stopping) moon__run_prompt(r->run, agent->prompt_name, agent->prompt_hash);
}

/* The first step. */
static void begin(void *ctx) {
    moon__react *r = ctx;
    r->next.fn = step;
    tell_prompt(r);
    step(r);
}

static void go_on(moon__react *r) {
    moon__defer_call(r->run->runtime->loop, &r->next);
}

/* ---- the final answer ---- */

static void finish_with(moon__react *r, const moon__answer *answer) {
    if (input_before(r, r->steps + 1)) { /* the fork goes on after this answer */
        moon_error error = {0};
        moon_message said = {.role = MOON_ASSISTANT, .text = answer->text, .text_length = answer->text_length};
        if (moon__dialog_add(&r->dialog, &said, &error))
            moon__react_fail(r, &error);
        else
            go_on(r);
        return;
    }
    if (!r->dialog.agent->output) {
        moon__react_finish(r, MOON_STOP_DONE, answer->text, answer->text_length, NULL);
        return;
    }
    moon__buf out, why, message;
    moon_error error = {0};
    moon__buf_init(&out, 64 << 20);
    moon__buf_init(&why, 8192);
    moon__buf_init(&message, 16384);
    if (!moon__output_check(r->dialog.agent->output, answer->text, answer->text_length, &out, &why)) {
        moon__run_set_json(r->run);
        moon__react_finish(r, MOON_STOP_DONE, out.p, out.len, NULL);
    } else if (r->repairs == REPAIRS_MAX) {
        moon__buf_printf(&message, "the answer does not fit the output schema: %s", why.p ? why.p : "");
        moon__react_finish(r, MOON_STOP_SCHEMA, answer->text, answer->text_length, message.p);
    } else {
        moon_message said = {.role = MOON_ASSISTANT, .text = answer->text, .text_length = answer->text_length};
        moon__buf_printf(
            &message, "Your answer does not fit the required JSON Schema:\n%s\nAnswer again with the JSON value alone.",
            why.p ? why.p : "");
        moon_message again = {.role = MOON_USER, .text = message.p, .text_length = message.len};
        r->repairs++;
        if (moon__dialog_add(&r->dialog, &said, &error) || moon__dialog_add(&r->dialog, &again, &error))
            moon__react_fail(r, &error);
        else
            go_on(r);
    }
    moon__buf_fini(&out);
    moon__buf_fini(&why);
    moon__buf_fini(&message);
}

/* ---- an answer ---- */

/* Calls of a recorded answer that were begun are not asked about again. */
static bool allow_calls(const moon__react *r, const moon__answer *answer, moon_stop *why, moon__buf *text) {
    int64_t n = (int64_t)answer->n_calls;
    if (r->recorded && moon__calls_begun(r->run)) return true;
    if (r->recorded && !r->shared) moon__limits_count(r->run, 0, -n); /* they counted as made */
    return moon__limits_calls(r->run, n, why, text);
}

static void call_tools(moon__react *r, const moon__answer *answer) {
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
        moon__react_finish(r, why, NULL, 0, text.p);
    else if (moon__dialog_add(&r->dialog, &message, &error))
        moon__react_fail(r, &error);
    else {
        r->calling = true;
        moon_run *run = r->run;
        if (moon__calls_begin(r->calls, answer->calls, answer->n_calls, &error) && !run->stopping) {
            r->calling = false;
            moon__react_fail(r, &error);
        }
    }
    moon__buf_fini(&text);
}

void moon__react_act_on(moon__react *r, const moon__answer *answer) {
    const char *cut = moon__answer_cut(answer);
    if (answer->usage.usd < 0 && moon__limits_usd(r->run))
        moon__react_finish(
            r, MOON_STOP_USD, answer->text, answer->text_length,
            "the cost of the answer is not known, so limit usd cannot be kept: give the model a price in the "
            "configuration");
    else if (cut)
        moon__react_finish(r, MOON_STOP_FAILED, answer->text, answer->text_length, cut);
    else if (answer->n_calls) {
        keep_text(r, answer->text, answer->text_length);
        call_tools(r, answer);
    } else
        finish_with(r, answer);
}

static void on_answer(void *ctx, moon_status status, const moon__answer *answer, const moon_error *error) {
    moon__react *r = ctx;
    r->asking = false;
    leave_line(r);
    if (status == MOON_ENOTFOUND && r->run->runtime->cassette && (r->missed = moon__strdup(error->text))) {
        r->late = error->cause == MOON__CASSETTE_LATE;
        moon__waiting_missed(r->run, 1);
        return;
    }
    if (status) {
        moon__react_finish(r, moon__answer_missing(status, error), NULL, 0, error->text);
        return;
    }
    moon__tally_answer(&r->dialog.tally, &answer->usage);
    if (!r->recorded) moon__limits_use(r->run, &answer->usage); /* else it counts since the run was resumed */
    if (r->given)
        r->dialog.chat->others++;
    else
        r->dialog.own++;
    moon__step_answer(r->run, r->key, r->steps, answer, r->step_started_us);
    if (r->run->stopping) return; /* cancel() has arranged the end */
    if (moon__react_hooked(r, MOON__AFTER_MODEL) && !r->given)
        moon__react_after(r, answer);
    else
        moon__react_act_on(r, answer);
}

/* The dialog's agent answers from now on. */
static void serve(moon__react *r) {
    const moon__agent *agent = r->dialog.agent;
    moon__calls_serve(r->calls, agent);
    r->run->observer = agent->hooks.on_event ? agent : NULL;
}

/* Where a call has asked for it: the run goes on with another agent. False: it has ended. */
static bool hand_over(moon__react *r) {
    const moon__handoff *handoff = NULL;
    moon__outcome o = {0};
    for (size_t i = 0; i < moon__calls_count(r->calls) && !handoff; i++) {
        o = moon__calls_outcome(r->calls, i);
        handoff = o.ok ? moon__handoff_of(o.tool) : NULL;
    }
    if (!handoff) return true;
    moon_error error = {0};
    moon_stop stop;
    if (moon__handoff_take(handoff, &r->dialog, o.key, o.args, o.args_length, &stop, &error)) {
        moon__react_finish(r, stop, NULL, 0, error.text);
        return false;
    }
    serve(r);
    tell_prompt(r);
    r->repairs = 0;
    return true;
}

static void on_results(void *ctx) {
    moon__react *r = ctx;
    moon_error error = {0};
    r->calling = false;
    if (r->run->stopping) {
        moon__react_finish(r, r->run->stop_why, NULL, 0, NULL);
        return;
    }
    for (size_t i = 0; i < moon__calls_count(r->calls); i++) {
        moon__outcome o = moon__calls_outcome(r->calls, i);
        moon_message message = {
            .role = MOON_TOOL_ROLE, .text = o.text, .text_length = o.length, .call_id = o.id, .is_error = !o.ok};
        if (moon__dialog_add(&r->dialog, &message, &error)) {
            moon__react_fail(r, &error);
            return;
        }
    }
    if (hand_over(r)) step(r);
}

/* ---- the runnable ---- */

static void on_entered(void *ctx) {
    moon__react *r = ctx;
    r->entering = false;
    begin(r);
}

static moon_status start(moon_runnable *runnable, moon_run *run, moon_error *error) {
    moon__agent *agent = (moon__agent *)runnable;
    moon_status status = moon__agent_get_ready(agent, error);
    if (status) return status;
    moon__react *r = calloc(1, sizeof *r);
    if (!r) return moon_error_set(error, MOON_ENOMEM, "no memory for a run");
    *r = (moon__react){.run = run,
                       .lane = run->runtime->next_lane++,
                       .next = {.fn = begin, .ctx = r},
                       .budget = {.run = run, .ready = ask, .ctx = r},
                       .ticket = {.run = run, .ready = request, .ctx = r}};
    moon__limits_tighten(&run->limits, &agent->limits);
    status = moon__calls_new(&r->calls, &(moon__calls_options){.run = run, .done = on_results, .ctx = r}, error);
    if (!status) status = moon__dialog_open(&r->dialog, run, agent, error);
    r->entering = !status && agent->worktree;
    if (r->entering && (status = moon__worktree_enter(run, on_entered, r, error))) moon__dialog_close(&r->dialog);
    if (status) {
        moon__calls_free(r->calls);
        free(r);
        return status;
    }
    serve(r);
    moon_run_ref(run); /* until clean_up */
    run->state = r;
    if (!r->entering) go_on(r);
    return MOON_OK;
}

/* A branch whose time is up, while the whole goes on: that belongs to what is recorded. Where it cannot be written it
 * is missing when it is played, which is told then. */
static void note_late(const moon__react *r) {
    const moon_run *run = r->run;
    moon_error error;
    if (!run->runtime->cassette || run->stop_why != MOON_STOP_SECONDS || run->tree->root->stopping) return;
    moon_status status = moon__cassette_late(r->dialog.chat, &error);
    (void)status;
}

static void cancel(moon_runnable *runnable, moon_run *run) {
    (void)runnable;
    moon__react *r = run->state;
    if (r->asking) {
        note_late(r);
        r->dialog.chat->model->ops->cancel(r->dialog.chat);
        r->asking = false;
        go_on(r);
    } else if (r->missed) {
        moon__waiting_missed(run, -1);
        free(r->missed);
        r->missed = NULL;
        go_on(r);
    } else if (r->calling)
        moon__calls_cancel(r->calls); /* on_results finishes */
    else if (r->asked && r->asked->waiting)
        moon__asked_cancel(r->asked); /* on_before or on_after finishes */
    else if (r->entering)
        moon__worktree_cancel(run); /* on_entered does */
    else
        go_on(r);
    leave_line(r);
}

const moon__runnable_ops moon__agent_ops = {.start = start, .cancel = cancel, .free = moon__agent_free};

const char *moon__react_missed(const moon_run *run, bool *late) {
    const moon__react *r = run->runnable->ops == &moon__agent_ops ? run->state : NULL;
    *late = r && r->late;
    return r ? r->missed : NULL;
}

moon__calls *moon__react_calls(const moon_run *run) {
    return run->runnable->ops == &moon__agent_ops && run->state ? ((moon__react *)run->state)->calls : NULL;
}
