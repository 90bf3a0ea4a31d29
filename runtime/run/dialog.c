/* SPDX-License-Identifier: MIT */
#include "dialog.h"
#include "testing.h"

#include <string.h>

const char *moon__dialog_instructions(const moon__dialog *d) {
    return d->variation && d->variation->instructions ? d->variation->instructions : d->agent->instructions;
}

static const moon__chat_settings *settings_of(const moon__dialog *d) {
    return d->variation ? &d->variation->settings : &d->agent->settings;
}

const moon_wire_settings *moon__dialog_settings(const moon__dialog *d) {
    return &settings_of(d)->wire;
}

/* ---- the hash ---- */

static void mix(moon__dialog *d, const char *text, size_t n) {
    d->tally.bytes += n;
    d->context = (d->context ^ moon_hash(text, n)) * UINT64_C(0x9e3779b97f4a7c15) + n;
}

static void mix_tools(moon__dialog *d) {
    const moon_wire_settings *wire = moon__dialog_settings(d);
    for (size_t i = 0; i < wire->n_tools; i++) {
        const moon_wire_tool *tool = &wire->tools[i];
        mix(d, tool->name, strlen(tool->name));
        mix(d, tool->params, strlen(tool->params));
    }
}

/* ---- messages ---- */

/* To the model, not to the transcript. */
static moon_status tell(moon__dialog *d, const moon_message *message, moon_error *error) {
    d->context += message->role;
    mix(d, message->text ? message->text : "", message->text_length);
    for (size_t i = 0; i < message->n_calls; i++) {
        mix(d, message->calls[i].name, strlen(message->calls[i].name));
        mix(d, message->calls[i].arguments, message->calls[i].arguments_length);
    }
    return d->chat->model->ops->append(d->chat, message, error);
}

moon_status moon__dialog_add(moon__dialog *d, const moon_message *message, moon_error *error) {
    moon_status status = tell(d, message, error);
    if (status || !d->keeps) return status;
    status = moon__transcript_add(&d->transcript, message);
    return status ? moon_error_set(error, status, "the conversation is too long") : MOON_OK;
}

static moon_status instruct(moon__dialog *d, moon_error *error) {
    static const char plan_text[] =
        "Begin by calling the tool plan with the steps you are going to take, and keep it up to date.";
    const char *own = moon__dialog_instructions(d);
    moon__buf text;
    moon__buf_init(&text, 4 << 20);
    if (own) moon__buf_str(&text, own);
    if (d->agent->plan) moon__buf_printf(&text, "%s%s", text.len ? "\n\n" : "", plan_text);
    moon_status status = text.status ? moon_error_set(error, text.status, "the instructions are too long") : MOON_OK;
    moon_message system = {.role = MOON_SYSTEM, .text = text.p, .text_length = text.len};
    if (!status && text.len) status = tell(d, &system, error);
    moon__buf_fini(&text);
    return status;
}

/* ---- the model ---- */

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

/* A chat with the agent's model, without a message yet. */
static moon_status open_chat(moon__dialog *d, moon_error *error) {
    moon__model *model = NULL;
    d->chat = NULL;
    d->context = 0;
    d->tally = (moon__tally){.usd = -1};
    moon_status status = choose_model(d->run, d->agent, &model, error);
    if (!status) status = check_price(d->run, model, error);
    if (!status) status = model->ops->open(model, settings_of(d), &d->chat, error);
    moon__model_unref(model);
    if (!status) mix_tools(d);
    return status;
}

static void close_chat(moon__chat *chat) {
    if (!chat) return;
    moon__model *model = moon__model_ref(chat->model);
    model->ops->close(chat);
    moon__model_unref(model);
}

/* ---- the whole ---- */

moon_status moon__dialog_open(moon__dialog *d, moon_run *run, const moon__agent *agent, moon_error *error) {
    *d = (moon__dialog){.run = run, .agent = agent, .keeps = agent->retells};
    moon_message user = {.role = MOON_USER, .text = run->input, .text_length = run->input_length};
    moon_status status = open_chat(d, error);
    if (!status) status = instruct(d, error);
    if (!status) status = moon__dialog_add(d, &user, error);
    if (status) moon__dialog_close(d);
    return status;
}

void moon__dialog_close(moon__dialog *d) {
    close_chat(d->chat);
    moon__transcript_fini(&d->transcript);
    moon__variation_free(d->variation);
    d->chat = NULL;
    d->variation = NULL;
}

/* ---- told anew ---- */

/* What a model thought is for itself alone. */
static void drop_reasoning(moon__transcript *messages) {
    for (moon__said *s = messages->first; s; s = s->next) s->message.reasoning = NULL, s->message.reasoning_length = 0;
}

/* `next` has all but its chat; it becomes *d, or is freed. */
static moon_status retell(moon__dialog *d, moon__dialog *next, moon__transcript *messages, moon_error *error) {
    moon_status status = open_chat(next, error);
    if (!status && strcmp(next->chat->model->name, d->chat->model->name) != 0) drop_reasoning(messages);
    if (!status) status = instruct(next, error);
    int64_t answers = 0;
    for (const moon__said *s = messages->first; s && !status; s = s->next) {
        answers += s->message.role == MOON_ASSISTANT;
        status = tell(next, &s->message, error);
    }
    if (status) {
        moon__dialog_close(next);
        return status;
    }
    next->chat->others = answers - next->own;
    if (next->keeps) {
        next->transcript = *messages;
        *messages = (moon__transcript){0}; /* maybe d's own */
    }
    moon__dialog_close(d);
    *d = *next;
    return MOON_OK;
}

moon_status moon__dialog_hand(moon__dialog *d, const moon__agent *agent, moon__transcript *messages, int64_t own,
                              moon_error *error) {
    moon__dialog next = {.run = d->run, .agent = agent, .own = own, .keeps = agent->retells};
    return retell(d, &next, messages, error);
}

moon_status moon__dialog_vary(moon__dialog *d, const moon_json *change, moon_error *error) {
    moon__dialog next = {.run = d->run, .agent = d->agent, .own = d->own, .keeps = d->keeps};
    moon_status status = moon__variation_new(&next.variation, d->agent, change, error);
    if (status) return status;
    if (!moon__variation_same(next.variation, d->variation)) return retell(d, &next, &d->transcript, error);
    moon__variation_free(next.variation);
    return MOON_OK;
}

moon_status moon__dialog_extend(moon__dialog *d, const moon_json *messages, moon_error *error) {
    moon__transcript more = {0};
    moon_status status = moon__transcript_read(&more, messages, error);
    for (const moon__said *s = more.first; s && !status; s = s->next)
        status = s->message.role == MOON_USER
                     ? moon__dialog_add(d, &s->message, error)
                     : moon_error_set(error, MOON_EINVAL, "only messages of role \"user\" can be added");
    moon__transcript_fini(&more);
    return status;
}
