/* SPDX-License-Identifier: MIT */
/* The hooks before_model and after_model of an agent's step: asked, and what they decided done. */
#include "react.h"
#include "text.h"

/* Writes what the hook is asked. */
typedef void (*questioner)(moon__react *r, moon__jw *w);

/* Asks a hook about this step. then() comes with its decision: at once if it is recorded, else from the loop. */
static void consult(moon__react *r, moon__hook hook, questioner question, void (*then)(void *ctx)) {
    moon__jw w;
    if (moon__asked_begin(&r->asked, r->run, r->dialog.agent, hook, r->key, NULL)) {
        moon__react_finish(r, MOON_STOP_FAILED, NULL, 0, "no memory for a hook");
        return;
    }
    if (moon__asked_recorded(r->asked)) {
        then(r);
        return;
    }
    moon__jw_init(&w, &r->asked->question);
    question(r, &w);
    moon__asked_ask(r->asked, then, r);
}

/* False: the run has ended with what the hook decided, or did. */
static bool passed(moon__react *r) {
    if (r->run->stopping)
        moon__react_finish(r, r->run->stop_why, NULL, 0, NULL);
    else if (r->asked->failure)
        moon__react_finish(r, MOON_STOP_FAILED, NULL, 0, r->asked->failure);
    else if (moon__asked_refusal(r->asked)) {
        moon__buf text;
        moon__buf_init(&text, 8192);
        moon__buf_printf(&text, "%s of agent %s refused: %.4000s", moon__hook_name(r->asked->hook),
                         r->dialog.agent->base.name, moon__asked_refusal(r->asked));
        moon__react_finish(r, MOON_STOP_REFUSED, NULL, 0, text.p);
        moon__buf_fini(&text);
    } else
        return true;
    return false;
}

/* The run ends: what the hook has decided cannot be done. */
static void misguided(moon__react *r, const moon_error *error) {
    moon__asked_wrong(r->asked, error->text);
    moon__react_finish(r, MOON_STOP_FAILED, NULL, 0, r->asked->failure);
}

/* The answer that is held instead of the one at hand. */
static bool hold(moon__react *r, const moon_json *given, const moon_json *base) {
    moon_error error = {0};
    moon_json *body = NULL;
    if (moon__hook_body(&body, given, base, r->key, &error)) {
        misguided(r, &error);
        return false;
    }
    moon__json_free(r->held);
    r->held = body;
    return true;
}

static void on_before(void *ctx) {
    moon__react *r = ctx;
    moon_error error = {0};
    if (!passed(r)) return;
    const moon_json *change = moon__asked_change(r->asked), *messages = moon_json_get(change, "messages");
    if (moon__asked_answer(r->asked)) {
        if (!hold(r, moon__asked_answer(r->asked), NULL)) return;
        r->given = true;
    } else if (moon__dialog_vary(&r->dialog, change, &error) ||
               (messages && moon__dialog_extend(&r->dialog, messages, &error))) {
        misguided(r, &error);
        return;
    }
    const moon__variation *varied = r->given ? NULL : r->dialog.variation;
    if (varied && varied->tools)
        moon__calls_offer(r->calls, varied->tools, varied->settings.wire.n_tools);
    else
        moon__calls_offer(r->calls, NULL, 0);
    moon__react_get_answer(r);
}

static void put_request(moon__react *r, moon__jw *w) {
    const moon__dialog *d = &r->dialog;
    const moon_wire_settings *wire = &d->agent->settings.wire;
    moon__jw_object(w, NULL);
    moon__jw_str(w, "agent", d->agent->base.name, SIZE_MAX);
    moon__jw_int(w, "step", r->steps);
    moon__jw_str(w, "model", d->chat->model->name, SIZE_MAX);
    moon__jw_str(w, "instructions", d->agent->instructions ? d->agent->instructions : "", SIZE_MAX);
    moon__transcript_write(w, "messages", &d->transcript);
    moon__jw_array(w, "tools");
    for (size_t i = 0; i < wire->n_tools; i++) moon__jw_str(w, NULL, wire->tools[i].name, SIZE_MAX);
    moon__jw_end(w);
    moon__jw_end(w);
}

static void on_after(void *ctx) {
    moon__react *r = ctx;
    if (!passed(r)) return;
    const moon_json *change = moon__asked_change(r->asked);
    if (!change || hold(r, change, r->held)) moon__react_take(r, r->held, moon__react_act_on);
}

static void put_answer(moon__react *r, moon__jw *w) {
    moon__buf body;
    moon__buf_init(&body, 256 << 20);
    moon__json_print(&body, r->held);
    if (body.status)
        w->buf->status = body.status;
    else
        moon__jw_raw(w, NULL, body.p, body.len);
    moon__buf_fini(&body);
}

/* The answer is the chat's, and is gone before the hook has decided. */
void moon__react_after(moon__react *r, const moon__answer *answer) {
    moon__buf body;
    moon__jw w;
    moon_error error = {0};
    moon__buf_init(&body, 256 << 20);
    moon__jw_init(&w, &body);
    moon__jw_object(&w, NULL);
    moon__jw_str(&w, "agent", r->dialog.agent->base.name, SIZE_MAX);
    moon__jw_int(&w, "step", r->steps);
    moon__answer_write(&w, answer);
    moon__jw_end(&w);
    moon__json_free(r->held);
    r->held = NULL;
    moon_status status = body.status ? moon_error_set(&error, body.status, "the answer is too long for a hook")
                                     : moon__json_parse(&r->held, body.p, body.len, MOON__JSON_REPAIR, &error);
    moon__buf_fini(&body);
    if (status)
        moon__react_fail(r, &error);
    else
        consult(r, MOON__AFTER_MODEL, put_answer, on_after);
}

void moon__react_before(moon__react *r) {
    consult(r, MOON__BEFORE_MODEL, put_request, on_before);
}
