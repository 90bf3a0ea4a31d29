/* SPDX-License-Identifier: MIT */
/*
 * What model calls may cost. A call is paid for out of the limits of its run and of every run above it, and what it
 * costs is known only when its answer is there. So an estimate is held from before the call to its end, and then what
 * it did use counts instead; runs that go on side by side cannot all spend the same rest.
 *
 * 1. A call begins if, in its run and in each above it, what is used, what is held and the estimate fit into the limit.
 *    Where nothing is under way, anything left is enough: a guess alone never ends a run.
 * 2. One that does not fit waits, for something is under way. Where what is used has reached the limit no waiting
 *    helps, and the run ends.
 * 3. Those who wait for room in the limits of one run get it in the order in which they came, and who comes later does
 *    not pass them, however little it asks for. Whom these limits do not concern they do not hold up.
 * 4. Whoever waits holds nothing, and what it waits for ends by itself (an answer, a failure, a cancel); each end has
 *    the line looked at. So nobody waits for ever.
 *
 * Steps and tool calls are known exactly before they are made; they are counted at once (limits.c).
 */
#include <math.h>

#include "runtime.h"

enum { BYTES_PER_TOKEN = 4, OUTPUT_GUESS = 1000 };

/* ---- what a call will use ---- */

/* The mean of what calls of the tree did cost so far; below 0: none has. */
static double mean_cost(const moon_run *root) {
    int64_t n = root->usage.steps - root->held.calls;
    return n > 0 && root->usage.usd >= 0 ? root->usage.usd / (double)n : -1;
}

/* Below 0: nobody knows. A scripted model has no price, but its answers may tell a cost. */
static double guess_cost(const moon_run *run, const moon__tally *tally, const moon__model *model, int64_t in,
                         int64_t out) {
    const moon__price *price = &model->price;
    if (!model->scripted && price->input >= 0 && price->output >= 0)
        return ((double)in * price->input + (double)out * price->output) / 1e6;
    return tally->usd >= 0 ? tally->usd : mean_cost(run->tree->root);
}

void moon__hold_guess(moon__hold *hold, const moon__tally *tally, const moon__model *model, int64_t max_output) {
    if (hold->state == MOON__HOLD_HELD) return; /* it was guessed when it joined the line, and counts */
    int64_t in = tally->input + (int64_t)(tally->bytes / BYTES_PER_TOKEN), out = max_output;
    if (out <= 0) out = model->max_output_tokens;
    if (out <= 0) out = tally->output > OUTPUT_GUESS ? tally->output : OUTPUT_GUESS;
    hold->tokens = in + out;
    hold->usd = guess_cost(hold->run, tally, model, in, out);
}

void moon__tally_answer(moon__tally *tally, const moon_usage *usage) {
    if (usage->input_tokens > 0) {
        tally->input = usage->input_tokens;
        tally->bytes = 0;
    }
    tally->output = usage->output_tokens;
    tally->usd = usage->usd;
}

/* ---- may it begin? ---- */

typedef struct ruling {
    moon__budget verdict;
    moon_run *holder; /* of the limit that is reached, or that has no room */
    moon_stop stop;
    const char *unit;
    double limit;
} ruling;

static ruling over(moon_run *holder, moon_stop stop, const char *unit, double limit) {
    return (ruling){.verdict = MOON__BUDGET_OVER, .holder = holder, .stop = stop, .unit = unit, .limit = limit};
}

/* Is there no room in these limits beside what is held? */
static bool is_full(const moon_run *r, const moon__hold *hold) {
    const moon_limits *l = &r->limits;
    const moon__held *h = &r->held;
    if (!h->calls) return false;
    if (l->tokens >= 0 && r->usage.input_tokens + r->usage.output_tokens + h->tokens + hold->tokens > l->tokens)
        return true;
    bool told = hold->usd >= 0 && !h->unpriced;
    return l->usd >= 0 && (!told || fmax(r->usage.usd, 0) + h->usd + hold->usd > l->usd);
}

/* turn: of the line that is looked at; 0: somebody new, who comes after all that wait. */
static ruling judge(const moon__hold *hold, uint64_t turn) {
    ruling told = {.verdict = MOON__BUDGET_HELD};
    for (moon_run *r = hold->run; r; r = r->parent) {
        const moon_limits *l = &r->limits;
        if (l->seconds == 0) return over(r, MOON_STOP_SECONDS, "second", 0);
        if (l->tool_calls == 0) return over(r, MOON_STOP_TOOL_CALLS, "tool call", 0);
        if (l->steps >= 0 && r->usage.steps >= l->steps) return over(r, MOON_STOP_STEPS, "step", (double)l->steps);
        if (l->tokens >= 0 && r->usage.input_tokens + r->usage.output_tokens >= l->tokens)
            return over(r, MOON_STOP_TOKENS, "token", (double)l->tokens);
        if (l->usd >= 0 && fmax(r->usage.usd, 0) >= l->usd) return over(r, MOON_STOP_USD, "USD", l->usd);
        bool behind = turn ? r->held.passed_over == turn : r->held.waiting > 0;
        if (!told.holder && (behind || is_full(r, hold))) {
            told.verdict = MOON__BUDGET_WAITS;
            told.holder = r;
        }
    }
    return told;
}

/* ---- holding ---- */

static void hold_it(moon__hold *hold) {
    hold->state = MOON__HOLD_HELD;
    for (moon_run *r = hold->run; r; r = r->parent) {
        r->held.calls++;
        r->held.tokens += hold->tokens;
        if (hold->usd >= 0)
            r->held.usd += hold->usd;
        else
            r->held.unpriced++;
    }
    moon__limits_count(hold->run, 1, 0);
}

static void let_go(const moon__hold *hold) {
    for (moon_run *r = hold->run; r; r = r->parent) {
        r->held.calls--;
        r->held.tokens -= hold->tokens;
        if (hold->usd < 0)
            r->held.unpriced--;
        else
            r->held.usd = r->held.calls ? r->held.usd - hold->usd : 0;
    }
}

/* ---- the line ---- */

static void look_later(moon__tree *tree) {
    if (tree->line.first) moon__defer_call(tree->root->runtime->loop, &tree->line.look);
}

static void join(moon__hold *hold, moon_run *holder) {
    moon__hold **end = &hold->run->tree->line.first;
    while (*end) end = &(*end)->next;
    *end = hold;
    hold->next = NULL;
    hold->state = MOON__HOLD_WAITING;
    hold->holder = holder;
    holder->held.waiting++;
    if (!holder->held.calls) look_later(hold->run->tree);
}

static void leave(moon__hold *hold) {
    moon__hold **at = &hold->run->tree->line.first;
    while (*at != hold) at = &(*at)->next;
    *at = hold->next;
    hold->holder->held.waiting--;
    hold->state = MOON__HOLD_NONE;
}

/* The first whose wait is over; NULL: none. The others are told what they wait for now. */
static moon__hold *next_of(moon__tree *tree) {
    uint64_t turn = ++tree->line.turn;
    for (moon__hold *hold = tree->line.first; hold; hold = hold->next) {
        if (hold->usd < 0) hold->usd = mean_cost(tree->root); /* by now somebody may know */
        ruling r = judge(hold, turn);
        if (r.verdict != MOON__BUDGET_WAITS) {
            leave(hold);
            if (r.verdict == MOON__BUDGET_HELD) hold_it(hold);
            return hold;
        }
        hold->holder->held.waiting--;
        hold->holder = r.holder;
        r.holder->held.waiting++;
        r.holder->held.passed_over = turn;
        if (!r.holder->parent) break; /* the root's limits concern all the others too */
    }
    return NULL;
}

static void look(void *ctx) {
    moon__tree *tree = ctx;
    moon__hold *hold;
    while ((hold = next_of(tree))) hold->ready(hold->ctx);
}

void moon__line_init(moon__tree *tree) {
    tree->line.look = (moon__defer){.fn = look, .ctx = tree};
}

void moon__line_end(moon__tree *tree) {
    moon__defer_cancel(tree->root->runtime->loop, &tree->line.look);
}

moon__budget moon__hold_begin(moon__hold *hold, moon_stop *why, moon__buf *text) {
    if (hold->state == MOON__HOLD_HELD) return MOON__BUDGET_HELD; /* its turn has come */
    ruling r = judge(hold, 0);
    switch (r.verdict) {
    case MOON__BUDGET_HELD: hold_it(hold); break;
    case MOON__BUDGET_WAITS: join(hold, r.holder); break;
    case MOON__BUDGET_OVER:
        *why = r.stop;
        moon__limits_refuse(hold->run, r.holder, r.stop, text, r.unit, r.limit);
        break;
    }
    return r.verdict;
}

void moon__hold_end(moon__hold *hold) {
    if (hold->state == MOON__HOLD_NONE) return;
    if (hold->state == MOON__HOLD_HELD)
        let_go(hold);
    else
        leave(hold);
    hold->state = MOON__HOLD_NONE;
    look_later(hold->run->tree);
}
