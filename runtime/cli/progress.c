/* SPDX-License-Identifier: MIT */
/* The progress display: see progress.h. Every text of others goes through moon__cli_fit or moon__term_safe. */
#include "progress.h"

#include "json.h"
#include "text.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { CALLS_SHOWN = 32, LABEL_MAX = 400, TICK_MS = 100, PLAN_SHOWN = 20, STREAMED_MAX = 4 << 20 };

/* A call that runs. */
typedef struct shown_call {
    char id[64];
    char label[LABEL_MAX]; /* the tool, a space, its main argument: made safe */
    size_t tool_length;
    int64_t started_ms;
} shown_call;

struct moon__cli_progress {
    moon__cli_term term;
    moon__cli_show show;
    bool verbose;
    bool drawn;    /* the status line is on the screen */
    bool mid_line; /* streamed text has not ended its line */
    bool foreign;  /* the cursor stands in a line of somebody else (a question) */
    unsigned spin;
    int64_t started_ms, drawn_ms;
    int64_t steps, input_tokens, output_tokens;
    double usd;
    char model[128];
    shown_call calls[CALLS_SHOWN];
    size_t n_calls;
    int64_t received;      /* bytes of the answer that is coming in */
    const char *receiving; /* what of it comes just now */
    moon__buf streamed;    /* its text, as far as it was shown */
    moon__buf out;         /* what is written next, in one piece */
};

static int64_t now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

moon_status moon__cli_progress_new(moon__cli_progress **out, const moon__cli_term *term, moon__cli_show show,
                                   bool verbose) {
    moon__cli_progress *p = calloc(1, sizeof *p);
    if (!p) return MOON_ENOMEM;
    p->term = *term;
    p->show = show;
    p->verbose = verbose;
    p->started_ms = now_ms();
    moon__buf_init(&p->streamed, STREAMED_MAX);
    moon__buf_init(&p->out, 1 << 20);
    *out = p;
    return MOON_OK;
}

void moon__cli_progress_free(moon__cli_progress *p) {
    if (!p) return;
    moon__cli_progress_hide(p);
    moon__buf_fini(&p->streamed);
    moon__buf_fini(&p->out);
    free(p);
}

/* A display that cannot be written is no reason to end a run. */
static void flush(moon__cli_progress *p) {
    if (p->out.len > 0) (void)moon__cli_write(p->term.fd, p->out.p, p->out.len);
    moon__buf_reset(&p->out);
}

static void erase(moon__cli_progress *p) {
    if (p->drawn) moon__buf_str(&p->out, "\r\033[K");
    p->drawn = false;
    if (p->mid_line || p->foreign) moon__buf_char(&p->out, '\n');
    p->mid_line = p->foreign = false;
}

void moon__cli_progress_hide(moon__cli_progress *p) {
    erase(p);
    flush(p);
}

void moon__cli_progress_share(moon__cli_progress *p, bool foreign) {
    p->foreign = foreign;
}

bool moon__cli_progress_shared(const moon__cli_progress *p) {
    return p->foreign;
}

const char *moon__cli_progress_model(const moon__cli_progress *p) {
    return p->model[0] ? p->model : NULL;
}

static const char *glyph(const moon__cli_progress *p, const char *utf8, const char *ascii) {
    return p->term.utf8 ? utf8 : ascii;
}

/* ---- pieces of lines ---- */

static const char *str(const moon_json *object, const char *name) {
    const char *text = moon_json_str(moon_json_get(object, name), NULL);
    return text ? text : "";
}

static void put_styled(moon__cli_progress *p, const char *codes, const char *text) {
    moon__cli_sgr(&p->out, &p->term, codes);
    moon__buf_str(&p->out, text);
    moon__cli_sgr(&p->out, &p->term, "");
}

/* The indent shows the place in the tree of runs. */
static unsigned put_indent(moon__cli_progress *p, const char *path) {
    unsigned depth = path[0] ? 1 : 0;
    for (; *path; path++) depth += *path == '.';
    if (depth > 8) depth = 8;
    for (unsigned i = 0; i < depth; i++) moon__buf_str(&p->out, "  ");
    return depth * 2;
}

static void put_tokens(const moon__cli_progress *p, moon__buf *buf, int64_t input, int64_t output, double usd) {
    if (input > 0 || output > 0) {
        moon__buf_str(buf, glyph(p, " \xc2\xb7 ", ", "));
        moon__cli_put_count(buf, input);
        moon__buf_str(buf, " in, ");
        moon__cli_put_count(buf, output);
        moon__buf_str(buf, " out");
    }
    if (usd > 0) moon__buf_printf(buf, "%s$%.4f", glyph(p, " \xc2\xb7 ", ", "), usd);
}

/* One line of text of others below the last one, in a colour. */
static void put_note(moon__cli_progress *p, const char *path, const char *codes, const char *head, const char *text) {
    erase(p);
    put_indent(p, path);
    moon__cli_sgr(&p->out, &p->term, codes);
    moon__buf_str(&p->out, head);
    moon__cli_sgr(&p->out, &p->term, "");
    moon__buf safe;
    moon__buf_init(&safe, 256 * 1024);
    moon__term_safe(&safe, text, strnlen(text, 16 * 1024));
    if (safe.p) moon__buf_str(&p->out, safe.p);
    moon__buf_fini(&safe);
    moon__buf_char(&p->out, '\n');
    flush(p);
}

/* ---- tool calls ---- */

/* The argument that says what a call is about; a number, a flag or the workspace itself would say nothing. */
static const char *main_argument(const moon_json *args, size_t *n) {
    static const char *const names[] = {"pattern", "command", "path", "ref", "glob", "query", "url", "name", NULL};
    if (moon_json_type(args) == MOON_JSON_STRING) return moon_json_str(args, n); /* no JSON: as the model wrote it */
    for (size_t i = 0; names[i]; i++) {
        const char *text = moon_json_str(moon_json_get(args, names[i]), n);
        if (text && *n > 0 && strcmp(text, ".") != 0) return text;
    }
    return NULL;
}

static void make_label(shown_call *call, const moon__cli_term *term, const char *tool, const moon_json *args) {
    moon__buf label;
    moon__buf_init(&label, 16 * 1024);
    moon__cli_fit(&label, term, tool, strlen(tool), 64);
    call->tool_length = label.len;
    size_t n;
    const char *text = main_argument(args, &n);
    if (text) {
        moon__buf_char(&label, ' ');
        moon__cli_fit(&label, term, text, n, 160);
    }
    n = label.len < sizeof call->label ? label.len : moon__utf8_floor(label.p, sizeof call->label - 1);
    memcpy(call->label, label.p ? label.p : "", n);
    call->label[n] = 0;
    if (call->tool_length > n) call->tool_length = n;
    moon__buf_fini(&label);
}

static shown_call *find_call(moon__cli_progress *p, const char *id) {
    for (size_t i = 0; i < p->n_calls; i++)
        if (strcmp(p->calls[i].id, id) == 0) return &p->calls[i];
    return NULL;
}

static void on_intent(moon__cli_progress *p, const moon_json *body) {
    shown_call *call = p->n_calls < CALLS_SHOWN ? &p->calls[p->n_calls++] : &p->calls[CALLS_SHOWN - 1];
    const char *id = str(body, "call");
    size_t n = strnlen(id, sizeof call->id - 1);
    memcpy(call->id, id, n);
    call->id[n] = 0;
    call->started_ms = now_ms();
    make_label(call, &p->term, str(body, "tool"), moon_json_get(body, "arguments"));
}

/* A call that was refused has no intent: its label is made now. */
static void on_result(moon__cli_progress *p, const moon_event *event, const moon_json *body) {
    shown_call spare = {.started_ms = 0}, *call = find_call(p, str(body, "call"));
    bool ok = true;
    moon_json_bool(moon_json_get(body, "ok"), &ok);
    if (ok && strcmp(str(body, "tool"), "plan") == 0) { /* plan.updated has shown it */
        if (call) *call = p->calls[--p->n_calls];
        return;
    }
    if (!call) {
        make_label(&spare, &p->term, str(body, "tool"), NULL);
        spare.started_ms = now_ms();
        call = &spare;
    }
    erase(p);
    unsigned columns = moon__cli_columns(&p->term), used = put_indent(p, event->path) + 4;
    moon__buf_str(&p->out, "  ");
    put_styled(p, ok ? "32" : "31", ok ? glyph(p, "\xe2\x9c\x93", "+") : glyph(p, "\xe2\x9c\x97", "!"));
    moon__buf_char(&p->out, ' ');
    unsigned room = columns > used + 14 ? columns - used - 14 : 20;
    moon__buf label;
    moon__buf_init(&label, 16 * 1024);
    unsigned width = moon__cli_fit(&label, &p->term, call->label, strlen(call->label), room);
    size_t tool = call->tool_length < label.len ? call->tool_length : label.len;
    moon__cli_sgr(&p->out, &p->term, "1");
    moon__buf_add(&p->out, label.p, tool);
    moon__cli_sgr(&p->out, &p->term, "");
    moon__buf_add(&p->out, label.p + tool, label.len - tool);
    moon__buf_fini(&label);
    moon__cli_sgr(&p->out, &p->term, "2");
    moon__buf_str(&p->out, "  ");
    moon__cli_put_time(&p->out, now_ms() - call->started_ms);
    moon__cli_sgr(&p->out, &p->term, "");
    if (!ok && room > width + 8) {
        const char *text = str(body, "text");
        moon__buf_str(&p->out, "  ");
        moon__cli_sgr(&p->out, &p->term, "31");
        moon__cli_fit(&p->out, &p->term, text, strcspn(text, "\n"), room - width);
        moon__cli_sgr(&p->out, &p->term, "");
    }
    moon__buf_char(&p->out, '\n');
    if (call != &spare) *call = p->calls[--p->n_calls];
}

/* ---- steps ---- */

static void on_created(moon__cli_progress *p, const moon_event *event, const moon_json *body) {
    erase(p);
    put_indent(p, event->path);
    moon__cli_sgr(&p->out, &p->term, "1");
    moon__cli_fit(&p->out, &p->term, str(body, "name"), strlen(str(body, "name")), 60);
    moon__cli_sgr(&p->out, &p->term, "");
    if (!event->path[0]) {
        moon__cli_sgr(&p->out, &p->term, "2");
        moon__buf_str(&p->out, "  ");
        moon__cli_fit(&p->out, &p->term, str(body, "workspace"), strlen(str(body, "workspace")), 100);
        moon__cli_sgr(&p->out, &p->term, "");
    }
    moon__buf_char(&p->out, '\n');
}

/* What came of an answer is of no account any more: it is whole, or it begins again. */
static void forget_answer(moon__cli_progress *p) {
    p->received = 0;
    p->receiving = NULL;
}

static void on_response(moon__cli_progress *p, const moon_event *event, const moon_json *body) {
    const moon_json *usage = moon_json_get(body, "usage");
    int64_t input = 0, output = 0, step = 0, ms = 0;
    double usd = 0;
    moon_json_int(moon_json_get(body, "step"), &step);
    moon_json_int(moon_json_get(body, "wall_ms"), &ms);
    moon_json_int(moon_json_get(usage, "input_tokens"), &input);
    moon_json_int(moon_json_get(usage, "output_tokens"), &output);
    moon_json_num(moon_json_get(usage, "usd"), &usd);
    forget_answer(p);
    p->input_tokens += input;
    p->output_tokens += output;
    if (usd > 0) p->usd += usd;
    erase(p);
    put_indent(p, event->path);
    moon__buf_printf(&p->out, "step %lld", (long long)step);
    moon__cli_sgr(&p->out, &p->term, "2");
    moon__buf_str(&p->out, glyph(p, " \xc2\xb7 ", ", "));
    moon__cli_put_time(&p->out, ms);
    put_tokens(p, &p->out, input, output, usd);
    moon__cli_sgr(&p->out, &p->term, "");
    moon__buf_char(&p->out, '\n');
}

static void on_handoff(moon__cli_progress *p, const moon_event *event, const moon_json *body) {
    erase(p);
    put_indent(p, event->path);
    put_styled(p, "35", glyph(p, "  \xe2\x86\x92 ", "  > "));
    moon__cli_sgr(&p->out, &p->term, "1");
    moon__cli_fit(&p->out, &p->term, str(body, "to"), strlen(str(body, "to")), 60);
    moon__cli_sgr(&p->out, &p->term, "2");
    moon__buf_str(&p->out, " goes on in place of ");
    moon__cli_fit(&p->out, &p->term, str(body, "from"), strlen(str(body, "from")), 60);
    moon__cli_sgr(&p->out, &p->term, "");
    moon__buf_char(&p->out, '\n');
}

static void on_decided(moon__cli_progress *p, const moon_event *event, const moon_json *body) {
    const char *outcome = str(body, "outcome"), *refusal = str(moon_json_get(body, "decision"), "refuse");
    moon__buf head;
    if (strcmp(outcome, "none") == 0) return;
    moon__buf_init(&head, 1024);
    moon__buf_printf(&head, "  hook %.20s: %.20s %.60s ", str(body, "hook"), outcome, str(body, "call"));
    put_note(p, event->path, "2", head.p ? head.p : "", refusal);
    moon__buf_fini(&head);
}

static void put_plan_item(moon__cli_progress *p, const char *path, const moon_json *item) {
    const char *state = str(item, "state"), *text = str(item, "text");
    bool done = strcmp(state, "done") == 0, doing = strcmp(state, "doing") == 0,
         dropped = strcmp(state, "dropped") == 0;
    const char *mark = done      ? glyph(p, "\xe2\x97\x8f", "[x]")
                       : doing   ? glyph(p, "\xe2\x97\x90", "[>]")
                       : dropped ? glyph(p, "\xe2\x8a\x98", "[-]")
                                 : glyph(p, "\xe2\x97\x8b", "[ ]");
    unsigned used = put_indent(p, path) + 10, columns = moon__cli_columns(&p->term);
    moon__buf_str(&p->out, "    ");
    put_styled(p, done ? "32" : doing ? "33" : "2", mark);
    moon__buf_char(&p->out, ' ');
    moon__cli_sgr(&p->out, &p->term, doing ? "1" : done || dropped ? "2" : "0");
    moon__cli_fit(&p->out, &p->term, text, strlen(text), columns > used + 10 ? columns - used : 20);
    moon__cli_sgr(&p->out, &p->term, "");
    moon__buf_char(&p->out, '\n');
}

static void on_plan(moon__cli_progress *p, const moon_event *event, const moon_json *body) {
    const moon_json *items = moon_json_get(body, "items");
    size_t shown = 0, total = moon_json_size(items);
    erase(p);
    put_indent(p, event->path);
    moon__buf_str(&p->out, "  plan\n");
    for (const moon_json *i = moon_json_first(items); i && shown < PLAN_SHOWN; i = moon_json_next(i), shown++)
        put_plan_item(p, event->path, i);
    if (total > shown) moon__buf_printf(&p->out, "    and %zu more\n", total - shown);
}

static void on_retry(moon__cli_progress *p, const moon_event *event, const moon_json *body) {
    int64_t wait = 0, attempt = 0;
    forget_answer(p);
    moon__buf_reset(&p->streamed);
    moon_json_int(moon_json_get(body, "wait_ms"), &wait);
    moon_json_int(moon_json_get(body, "attempt"), &attempt);
    moon__buf head;
    moon__buf_init(&head, 256);
    moon__buf_printf(&head, "model request failed (attempt %lld), again in ", (long long)attempt);
    moon__cli_put_time(&head, wait);
    moon__buf_str(&head, ": ");
    put_note(p, event->path, "33", head.p ? head.p : "", str(body, "error"));
    moon__buf_fini(&head);
}

static void on_log(moon__cli_progress *p, const moon_event *event, const moon_json *body) {
    const char *level = str(body, "level");
    bool error = strcmp(level, "error") == 0, warn = strcmp(level, "warn") == 0, debug = strcmp(level, "debug") == 0;
    if (p->show == MOON__SHOW_QUIET && !error) return;
    if (p->show == MOON__SHOW_WARN && !error && !warn) return;
    if (debug && !p->verbose) return;
    put_note(p, event->path,
             error  ? "31"
             : warn ? "33"
                    : "2",
             error  ? "error: "
             : warn ? "warning: "
                    : "",
             str(body, "text"));
}

static void on_request(moon__cli_progress *p, const moon_json *body) {
    const char *model = str(body, "model");
    size_t n = strnlen(model, sizeof p->model - 1);
    if (n > 0) {
        memcpy(p->model, model, n);
        p->model[n] = 0;
    }
    p->steps++;
    forget_answer(p);
    moon__buf_reset(&p->streamed);
}

/* Counted for the status line; the text itself only for those who asked to see it. */
static void on_delta(moon__cli_progress *p, const moon_json *body) {
    size_t n;
    const char *text = moon_json_str(moon_json_get(body, "text"), &n), *kind = str(body, "kind");
    bool call = strcmp(kind, "call") == 0, reasoning = strcmp(kind, "reasoning") == 0;
    if (!text || n == 0) return;
    p->received += (int64_t)n;
    p->receiving = call ? "receiving a tool call" : reasoning ? "receiving reasoning" : "receiving the answer";
    if (!p->verbose || call) return;
    if (!p->mid_line) erase(p);
    moon__cli_sgr(&p->out, &p->term, reasoning ? "2" : "");
    moon__term_safe(&p->out, text, n);
    moon__cli_sgr(&p->out, &p->term, "");
    if (!reasoning) moon__buf_add(&p->streamed, text, n);
    p->mid_line = text[n - 1] != '\n';
    flush(p);
}

bool moon__cli_progress_streamed(const moon__cli_progress *p, const char *text, size_t length) {
    const moon__buf *seen = &p->streamed;
    return length > 0 && seen->status == MOON_OK && seen->len == length && memcmp(seen->p, text, length) == 0;
}

static void show_event(moon__cli_progress *p, const moon_event *event, const moon_json *body) {
    switch (event->type) {
    case MOON_EVENT_RUN_CREATED: on_created(p, event, body); break;
    case MOON_EVENT_MODEL_DELTA: on_delta(p, body); break;
    case MOON_EVENT_MODEL_RESPONSE: on_response(p, event, body); break;
    case MOON_EVENT_TOOL_INTENT: on_intent(p, body); break;
    case MOON_EVENT_TOOL_RESULT: on_result(p, event, body); break;
    case MOON_EVENT_HOOK_DECIDED: on_decided(p, event, body); break;
    case MOON_EVENT_HANDOFF: on_handoff(p, event, body); break;
    case MOON_EVENT_PLAN_UPDATED: on_plan(p, event, body); break;
    default: break;
    }
    flush(p);
}

void moon__cli_progress_event(moon__cli_progress *p, const moon_event *event) {
    bool lines = p->show >= MOON__SHOW_LINES;
    bool always = event->type == MOON_EVENT_LOG || event->type == MOON_EVENT_MODEL_REQUEST ||
                  (event->type == MOON_EVENT_MODEL_RETRY && p->show >= MOON__SHOW_WARN);
    moon_json *body;
    if ((!lines && !always) || event->type == MOON_EVENT_TOOL_PROGRESS) return;
    if (moon__json_parse(&body, event->body, event->body_length, MOON__JSON_REPAIR, NULL) != MOON_OK) return;
    if (event->type == MOON_EVENT_LOG) {
        on_log(p, event, body);
    } else if (event->type == MOON_EVENT_MODEL_REQUEST) {
        on_request(p, body);
    } else if (event->type == MOON_EVENT_MODEL_RETRY) {
        on_retry(p, event, body);
    } else {
        show_event(p, event, body);
    }
    moon__json_free(body);
}

/* ---- the status line ---- */

int moon__cli_progress_due(const moon__cli_progress *p) {
    if (p->show != MOON__SHOW_LIVE || p->mid_line || p->foreign) return -1;
    int64_t wait = p->drawn_ms + TICK_MS - now_ms();
    return wait < 0 ? 0 : (int)wait;
}

static void put_doing(const moon__cli_progress *p, moon__buf *buf) {
    if (p->n_calls > 0) {
        moon__buf_str(buf, p->calls[0].label);
        if (p->n_calls > 1) moon__buf_printf(buf, " and %zu more", p->n_calls - 1);
    } else if (p->receiving) {
        moon__buf_printf(buf, "%s (", p->receiving);
        moon__cli_put_count(buf, p->received);
        moon__buf_str(buf, p->received == 1 ? " byte)" : " bytes)");
    } else {
        moon__buf_str(buf, p->steps > 0 ? "waiting for the model" : "starting");
    }
}

void moon__cli_progress_tick(moon__cli_progress *p) {
    static const char *const wheel[] = {"\xe2\xa0\x8b", "\xe2\xa0\x99", "\xe2\xa0\xb9", "\xe2\xa0\xb8", "\xe2\xa0\xbc",
                                        "\xe2\xa0\xb4", "\xe2\xa0\xa6", "\xe2\xa0\xa7", "\xe2\xa0\x87", "\xe2\xa0\x8f"};
    static const char *const plain[] = {"|", "/", "-", "\\"};
    int64_t now = now_ms();
    if (p->show != MOON__SHOW_LIVE || p->mid_line || p->foreign || now - p->drawn_ms < TICK_MS) return;
    p->drawn_ms = now;
    erase(p);
    moon__buf rest;
    moon__buf_init(&rest, 16 * 1024);
    int64_t seconds = (now - p->started_ms) / 1000;
    moon__buf_printf(&rest, "step %lld", (long long)p->steps);
    put_tokens(p, &rest, p->input_tokens, p->output_tokens, p->usd);
    moon__buf_printf(&rest, "%s%lld:%02lld", glyph(p, " \xc2\xb7 ", ", "), (long long)(seconds / 60),
                     (long long)(seconds % 60));
    moon__buf_str(&rest, glyph(p, " \xc2\xb7 ", ", "));
    put_doing(p, &rest);
    put_styled(p, "36", p->term.utf8 ? wheel[p->spin % 10] : plain[p->spin % 4]);
    moon__buf_char(&p->out, ' ');
    unsigned columns = moon__cli_columns(&p->term);
    moon__cli_fit(&p->out, &p->term, rest.p ? rest.p : "", rest.len, columns > 4 ? columns - 3 : 1);
    moon__buf_fini(&rest);
    p->spin++;
    p->drawn = true;
    flush(p);
}

void moon__cli_progress_end(moon__cli_progress *p, const moon_result *result) {
    moon__cli_progress_hide(p);
    if (p->show < MOON__SHOW_LINES) return;
    bool ok = result->stop == MOON_STOP_DONE;
    put_styled(p, ok ? "32" : "31", moon_stop_text(result->stop));
    moon__cli_sgr(&p->out, &p->term, "2");
    moon__buf_printf(&p->out, "%s%lld step%s, %lld tool call%s", glyph(p, " \xc2\xb7 ", ", "),
                     (long long)result->usage.steps, result->usage.steps == 1 ? "" : "s",
                     (long long)result->usage.tool_calls, result->usage.tool_calls == 1 ? "" : "s");
    put_tokens(p, &p->out, result->usage.input_tokens, result->usage.output_tokens, result->usage.usd);
    moon__buf_str(&p->out, glyph(p, " \xc2\xb7 ", ", "));
    moon__cli_put_time(&p->out, result->wall_ms);
    moon__cli_sgr(&p->out, &p->term, "");
    moon__buf_char(&p->out, '\n');
    flush(p);
}
