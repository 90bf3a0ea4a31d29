/* SPDX-License-Identifier: MIT */
#ifndef MOON_MODEL_CHAT_HTTP_H
#define MOON_MODEL_CHAT_HTTP_H
/*
 * A conversation over HTTP, in two parts: chat_http.c has the model and the request's body, flight.c one ask from its
 * first attempt to its answer.
 */
#include "models.h"
#include "reply.h"

enum { MOON__BODY_MAX = 64 << 20 }; /* bytes of a conversation */

typedef struct moon__flight moon__flight;

typedef struct moon__remote {
    moon__model base; /* base_url and key_name point into the strings below */
    moon__models *models;
    const moon_provider *provider;
    char *url;   /* where requests go: base URL and path */
    char *shown; /* the base URL without user and password */
    char *wire_model, *key, *key_name, *extra, *effort;
    moon_wire_settings defaults;
    bool send_reasoning;
} moon__remote;

typedef struct moon__talk {
    moon__chat base;
    const moon__chat_settings *settings;
    moon_wire_settings wire; /* what the codec is given: settings and the model's defaults */
    moon_wire_tool *tools;   /* with wire names, which stand in names */
    moon__names names;
    moon__buf extra;
    moon__buf body;
    size_t tail; /* where end()'s bytes begin; 0: they are not there */
    bool has_messages;
    unsigned next_id;     /* for calls without an id */
    moon__flight *flight; /* the ask in progress */
} moon__talk;

/* The body as it is to be sent: closed. */
MOON_MUST_USE moon_status moon__talk_seal(moon__talk *talk, moon_error *error);

MOON_MUST_USE moon_status moon__flight_start(moon__talk *talk, const moon__ask *ask, moon_error *error);
/* No callback comes after it. */
void moon__flight_drop(moon__flight *flight);
/* The talk of a flight that could not end at once (see flight.c) goes away: the flight takes over its body. */
void moon__flight_orphan(moon__flight *flight);
#endif
