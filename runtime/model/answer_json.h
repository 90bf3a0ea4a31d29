/* SPDX-License-Identifier: MIT */
#ifndef MOON_MODEL_ANSWER_JSON_H
#define MOON_MODEL_ANSWER_JSON_H
/* A model's answer as the members of a JSON object, and back: the body of model.response, and what a cassette keeps. */
#include "model.h"

void moon__usage_write(moon__jw *w, const char *name, const moon_usage *usage);
void moon__usage_read(moon_usage *usage, const moon_json *json);
void moon__answer_write(moon__jw *w, const moon__answer *answer);
/* Text is borrowed from body, *uses is the caller's to free, also when it fails. */
MOON_MUST_USE moon_status moon__answer_read(moon__answer *answer, moon_tool_use **uses, const moon_json *body);
#endif
