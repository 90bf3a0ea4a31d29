/* SPDX-License-Identifier: MIT */
/*
 * How many requests to models may be under way at once in a runtime. Those that come when there is no room wait: each
 * root run has a line of its own, and the lines take turns, so that a run of ten thousand branches does not keep
 * another one from its single request. A request that is under way waits for nobody, so no line stands for ever.
 */
#include "runtime.h"

static void join(moon__gate *gate, moon__ticket *ticket) {
    moon__turns *turns = &ticket->run->tree->turns;
    if (!turns->first) { /* behind the other runs that wait */
        turns->end = &turns->first;
        turns->next = NULL;
        *gate->end = turns;
        gate->end = &turns->next;
    }
    ticket->next = NULL;
    *turns->end = ticket;
    turns->end = &ticket->next;
    ticket->state = MOON__TICKET_WAITS;
}

/* Takes a line out that has nobody in it any more. */
static void drop_line(moon__gate *gate, const moon__turns *turns) {
    for (moon__turns **t = &gate->first; *t; t = &(*t)->next) {
        if (*t != turns) continue;
        *t = turns->next;
        break;
    }
    gate->end = &gate->first;
    while (*gate->end) gate->end = &(*gate->end)->next;
}

/* The first of the first line; the line goes behind the others. */
static moon__ticket *next_of(moon__gate *gate) {
    moon__turns *turns = gate->first;
    if (!turns) return NULL;
    moon__ticket *ticket = turns->first;
    turns->first = ticket->next;
    gate->first = turns->next;
    if (!gate->first) gate->end = &gate->first;
    if (turns->first) {
        turns->next = NULL;
        *gate->end = turns;
        gate->end = &turns->next;
    }
    return ticket;
}

static void open_gate(void *ctx) {
    moon__gate *gate = ctx;
    while (gate->under_way < gate->room) {
        moon__ticket *ticket = next_of(gate);
        if (!ticket) return;
        ticket->state = MOON__TICKET_IN;
        gate->under_way++;
        ticket->ready(ticket->ctx);
    }
}

void moon__gate_init(moon__gate *gate, moon__loop *loop, unsigned room) {
    *gate = (moon__gate){.room = room, .end = &gate->first, .loop = loop, .open = {.fn = open_gate, .ctx = gate}};
}

void moon__gate_fini(moon__gate *gate) {
    if (gate->loop) moon__defer_cancel(gate->loop, &gate->open);
}

bool moon__gate_enter(moon__gate *gate, moon__ticket *ticket) {
    if (!gate->room) return true;
    if (gate->under_way >= gate->room || gate->first) {
        join(gate, ticket);
        return false;
    }
    gate->under_way++;
    ticket->state = MOON__TICKET_IN;
    return true;
}

void moon__gate_leave(moon__gate *gate, moon__ticket *ticket) {
    moon__turns *turns = &ticket->run->tree->turns;
    if (ticket->state == MOON__TICKET_IN) {
        gate->under_way--;
        if (gate->first) moon__defer_call(gate->loop, &gate->open);
    } else if (ticket->state == MOON__TICKET_WAITS) {
        moon__ticket **t = &turns->first;
        while (*t != ticket) t = &(*t)->next;
        *t = ticket->next;
        turns->end = &turns->first;
        while (*turns->end) turns->end = &(*turns->end)->next;
        if (!turns->first) drop_line(gate, turns);
    }
    ticket->state = MOON__TICKET_NONE;
}
