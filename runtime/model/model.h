/* SPDX-License-Identifier: MIT */
#ifndef MOON_MODEL_MODEL_H
#define MOON_MODEL_MODEL_H
/*
 * Models and conversations. A moon__model says where answers come from; a moon__chat is one conversation with it:
 * messages are appended (serialized once, into the provider's own bytes) and answers asked for. Both are records of
 * functions, so that an HTTP provider, a Lua script and, around them, a wrapper look alike. The run sees nothing else
 * of a model.
 *
 * Tool names are dotted here; only the HTTP chat knows the wire's form of them (wire name: dots become "_").
 */
#include "http.h"
#include "ids.h"
#include "json.h"

/* One answer, gathered from deltas. Owned by the chat, valid during done(). */
typedef struct moon__answer {
    const char *text; /* never NULL */
    size_t text_length;
    const char *reasoning; /* never NULL */
    size_t reasoning_length;
    const moon_tool_use *calls; /* dotted names; ids are unique and not empty (repaired if the model's were not) */
    size_t n_calls;
    const char *finish; /* the provider's word: "stop", "length" … ; "" if none came */
    moon_usage usage;   /* of this answer; usd from prices if the server told none; -1: unknown */
    const char *model;  /* which model answered */
} moon__answer;

typedef enum moon__delta { MOON__DELTA_TEXT, MOON__DELTA_REASONING, MOON__DELTA_CALL } moon__delta;

/* Exactly one done per ask, never from within ask itself. Other callbacks come before it. */
typedef struct moon__ask {
    unsigned lane;
    const char *path; /* of the run in its tree; for wrappers that record. NULL: the root's. Outlives the ask */
    bool deltas;
    /* A piece of the answer as it streams. For MOON__DELTA_CALL text is the tool's name, once per call. */
    void (*delta)(void *ctx, moon__delta kind, const char *text, size_t n);
    /* The attempt failed and is made again after wait_ms; deltas so far are void. */
    void (*retry)(void *ctx, int attempt, int64_t wait_ms, const moon_error *why);
    /* status MOON_OK with the answer; MOON_ENET (no whole answer came) or MOON_EPROVIDER (the server refused, or what
     * it sends is no model's answer; error->cause: HTTP status, 2xx or 3xx for the latter, 0: unknown) after the last
     * retry; MOON_ENOTFOUND: a cassette that plays has no recording of the request; MOON_ENOMEM. */
    void (*done)(void *ctx, moon_status status, const moon__answer *answer, const moon_error *error);
    void *ctx;
} moon__ask;

typedef struct moon__chat moon__chat;
typedef struct moon__model moon__model;

typedef struct moon__chat_settings {
    moon_wire_settings wire; /* model is set by the chat; tools have dotted names */
    const char *agent;       /* the agent's name, for scripted models */
    uint32_t first_ms, stall_ms;
    int max_retries; /* -1: 4 */
} moon__chat_settings;

typedef struct moon__model_ops {
    /* Opens a conversation. settings and what it points to outlive the chat. */
    moon_status (*open)(moon__model *model, const moon__chat_settings *settings, moon__chat **chat, moon_error *error);
    moon_status (*append)(moon__chat *chat, const moon_message *message, moon_error *error);
    moon_status (*ask)(moon__chat *chat, const moon__ask *ask, moon_error *error);
    void (*cancel)(moon__chat *chat); /* drops the answer in progress: no callback comes after it */
    void (*close)(moon__chat *chat);  /* cancels, frees */
    void (*free)(moon__model *model);
} moon__model_ops;

/* Prices in USD per million tokens; below zero: unknown. */
typedef struct moon__price {
    double input, cached, output;
} moon__price;

struct moon__model {
    const moon__model_ops *ops;
    unsigned refs;
    char *name;   /* "openai/gpt-5-mini" */
    char *source; /* why this one */
    moon__price price;
    int64_t max_output_tokens; /* of an answer, where the agent says nothing; 0 or less: not given */
    bool scripted;
    bool hides_cost;                 /* there is no price, and its answers will not say what they cost */
    const char *base_url, *key_name; /* borrowed from the implementation; NULL if there is none */
};
struct moon__chat {
    moon__model *model; /* a reference */
    int64_t others;     /* of the answers in it, those that were not given by its agent's model in this run */
};
moon__model *moon__model_ref(moon__model *model);
void moon__model_unref(moon__model *model);

/* ---- which model: profiles, keys, settings ---- */

typedef struct moon__models moon__models;
/* Loads a scripted model from a Lua file, or the built-in one called "offline". Given by lua/. */
typedef moon_status (*moon__model_loader)(void *ctx, const char *path, moon__model **out, moon_error *error);

MOON_MUST_USE moon_status moon__models_new(moon__models **out, moon__loop *loop, moon__random *random,
                                           moon_error *error);
void moon__models_free(moon__models *models);
void moon__models_set_loader(moon__models *models, moon__model_loader loader, void *ctx);
MOON_MUST_USE moon_status moon__models_add_provider(moon__models *models, const moon_provider *provider,
                                                    moon_error *error);
/* Settings of the user's configuration, an object { base_url=, wire=, key_env=, price={input,cached,output}, model=,
 * temperature= … } per provider name. trusted: of the user, not of a repository; without it anything that could send a
 * key elsewhere is an error. */
MOON_MUST_USE moon_status moon__models_configure(moon__models *models, const moon_json *providers, bool trusted,
                                                 moon_error *error);
/* The model for a spec "provider/model", "provider" (its default model), "x.lua", "offline", or NULL: the default spec
 * of the runtime if it is set, MOONLET_MODEL, the first key that is set, else "offline". Errors say what was looked
 * for. */
MOON_MUST_USE moon_status moon__models_get(moon__models *models, const char *spec, moon__model **out,
                                           moon_error *error);
/* Both are copied. MOON_ENOMEM: it is as before. */
MOON_MUST_USE moon_status moon__models_set_default(moon__models *models, const char *spec, const char *source,
                                                   moon_error *error);
/* From now on models of providers are names only: nobody is asked, so that no key, address or configuration is needed.
 * model (copied, may be NULL) is taken where nothing else is said, before keys that are set. */
MOON_MUST_USE moon_status moon__models_play(moon__models *models, const char *model, moon_error *error);
/* The names of profiles, sorted, NULL-terminated. */
const char *const *moon__models_names(const moon__models *models);
moon__http *moon__models_http(moon__models *models);

/* The chat on HTTP for a provider's codec; what profiles are made of, and tests use directly. Text is copied. */
typedef struct moon__http_model {
    const char *name, *source, *wire_model, *base_url, *key, *key_name;
    const moon_provider *provider;
    moon__price price;
    const char *extra;
    int64_t max_output_tokens;          /* 0 or less: not given */
    const moon_wire_settings *defaults; /* sampling where the agent says nothing; NULL: none. Only its numbers and
                                           reasoning_effort are read */
    bool send_reasoning;                /* what the model thought goes back with its messages */
    bool hides_cost;                    /* unless there is a price */
} moon__http_model;
MOON_MUST_USE moon_status moon__http_model_new(moon__model **out, moon__models *models, const moon__http_model *options,
                                               moon_error *error);

extern const moon_provider moon__openai_chat;          /* for compatible servers */
extern const moon_provider moon__openai_chat_official; /* for OpenAI's own */
extern const moon_provider moon__mistral_chat;
#endif
