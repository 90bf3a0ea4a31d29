/* SPDX-License-Identifier: MIT */
/* A model that is a name and is never asked; what a provider's model is while a cassette plays. */
#include "models.h"

#include <stdlib.h>

#include "text.h"

static moon_status refuse(moon__model *model, const moon__chat_settings *settings, moon__chat **chat,
                          moon_error *error) {
    (void)settings, (void)chat;
    return moon_error_set(error, MOON_EUNSUPPORTED, "%.200s is not asked while a cassette plays", model->name);
}

static void free_named(moon__model *model) {
    free(model->name);
    free(model->source);
    free(model);
}

static const moon__model_ops named_ops = {.open = refuse, .free = free_named};

moon_status moon__named_model_new(moon__model **out, const char *name, const char *source, moon_error *error) {
    moon__model *model = calloc(1, sizeof *model);
    if (!model) return moon_error_set(error, MOON_ENOMEM, "out of memory");
    *model = (moon__model){.ops = &named_ops,
                           .refs = 1,
                           .name = moon__strdup(name),
                           .source = moon__strdup(source),
                           .price = {-1, -1, -1}};
    if (model->name && model->source) {
        *out = model;
        return MOON_OK;
    }
    free_named(model);
    return moon_error_set(error, MOON_ENOMEM, "out of memory");
}
