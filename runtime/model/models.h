/* SPDX-License-Identifier: MIT */
#ifndef MOON_MODEL_MODELS_H
#define MOON_MODEL_MODELS_H
/* What the files of model/ see of each other beside model.h: built-in profiles, configured ones, and the parts of
 * moon__models that a conversation needs. */
#include "model.h"

/* A provider that is built in. */
typedef struct moon__profile {
    const char *name;
    const char *wire;     /* name of the codec */
    const char *base_url; /* NULL: only the variable says it */
    const char *base_env; /* a variable that overrides base_url; NULL: none */
    const char *key_env;  /* NULL: no key is sent */
    const char *model;    /* the default one; NULL: it must be said */
    bool base_is_host;    /* base_env holds host:port, as Ollama writes it */
    bool key_optional;    /* a server of one's own, which may ask for none */
    bool send_reasoning;
    bool tells_cost; /* its answers say what they cost */
} moon__profile;

/* Ends with an entry whose name is NULL. The order is that in which keys are looked for. */
extern const moon__profile moon__profiles[];

/* A base URL without slashes at its end, malloc'd. MOON_EINVAL if it is no http(s) URL; named says where it is from. */
MOON_MUST_USE moon_status moon__base_url(char **out, const char *text, const char *named, moon_error *error);
/* The same from the form of OLLAMA_HOST: [scheme://]host[:port][/path]; "/v1" is added. */
MOON_MUST_USE moon_status moon__base_host(char **out, const char *text, const char *named, moon_error *error);

/* What the configuration says about a provider, built-in or not. Texts are NULL, numbers below zero where it says
 * nothing. */
typedef struct moon__preset {
    struct moon__preset *next;
    char *name;
    char *base_url, *wire, *key_env, *model, *reasoning_effort;
    char *extra; /* members: "\"a\":1" */
    moon__price price;
    double temperature, top_p;
    int64_t max_output_tokens, seed;
    int send_reasoning; /* -1, 0, 1 */
} moon__preset;

moon__preset *moon__preset_new(const char *name); /* NULL: out of memory */
void moon__preset_free(moon__preset *preset);
/* Takes over what an object says; the rules are moon__models_configure's. A preset that failed is half done. */
MOON_MUST_USE moon_status moon__preset_read(moon__preset *preset, const moon_json *settings, bool trusted,
                                            moon_error *error);

enum { MOON__WIRES_MAX = 32 };

struct moon__models {
    moon__loop *loop;
    moon__random *random;
    moon__http *http; /* made at the first request */
    moon__model_loader loader;
    void *loader_ctx;
    char *default_spec, *default_source;
    bool playing;      /* see moon__models_play */
    char *taped_model; /* what it was given */
    const moon_provider *wires[MOON__WIRES_MAX];
    size_t n_wires;
    moon__preset *presets;
    const char **names; /* sorted, ends with NULL */
};

/* Look-ups by name; NULL if there is none. A provider's name has n bytes. */
const moon__profile *moon__models_profile(const char *name, size_t n);
moon__preset *moon__models_preset(const moon__models *models, const char *name, size_t n);
const moon_provider *moon__models_wire(const moon__models *models, const char *name);

/* A model that is a name: for a wrapper that never opens it. */
MOON_MUST_USE moon_status moon__named_model_new(moon__model **out, const char *name, const char *source,
                                                moon_error *error);

moon__loop *moon__models_loop(moon__models *models);
moon__random *moon__models_random(moon__models *models);
#endif
