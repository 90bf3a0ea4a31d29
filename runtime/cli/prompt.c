/* SPDX-License-Identifier: MIT */
/* The approval dialogue: see prompt.h. */
#include "prompt.h"

#include "json.h"
#include "text.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <termios.h>
#include <unistd.h>

enum {
    WAITING_MAX = 256,
    ALWAYS_MAX = 64,
    NAME_MAX_BYTES = 64,
    VALUE_LINES = 40,
    VALUE_BYTES = 6000,
    LINE_MAX_BYTES = 4000,
    QUESTION_MAX = 32 << 20 /* arguments have up to 1 MiB, and a byte may be shown as eight */
};

typedef struct question {
    struct question *next;
    const char *call; /* of the body */
    char tool[NAME_MAX_BYTES];
    moon_json *body;
} question;

typedef enum prompt_state { IDLE, ASKING, REASON } prompt_state;

struct moon__cli_prompt {
    moon__cli_term term;
    int input;
    prompt_state state;
    bool ended; /* the input has: nobody can answer */
    bool cut;   /* the question that is shown is not whole */
    question *first, **last;
    size_t n;
    char always[ALWAYS_MAX][NAME_MAX_BYTES];
    size_t n_always;
    moon__buf line; /* typed so far */
};

moon_status moon__cli_prompt_new(moon__cli_prompt **out, const moon__cli_term *term, int input) {
    moon__cli_prompt *p = calloc(1, sizeof *p);
    if (!p) {
        if (input != STDIN_FILENO) close(input);
        return MOON_ENOMEM;
    }
    p->term = *term;
    p->input = input;
    p->last = &p->first;
    moon__buf_init(&p->line, LINE_MAX_BYTES);
    *out = p;
    return MOON_OK;
}

static question *take(moon__cli_prompt *p, question **at) {
    question *q = *at;
    assert(q);
    *at = q->next;
    if (!*at) p->last = at;
    p->n--;
    return q;
}

static void drop(question *q) {
    moon__json_free(q->body);
    free(q);
}

void moon__cli_prompt_free(moon__cli_prompt *p) {
    if (!p) return;
    if (p->state != IDLE) (void)moon__cli_write(p->term.fd, "\n", 1);
    while (p->first) drop(take(p, &p->first));
    if (p->input != STDIN_FILENO) close(p->input);
    moon__buf_fini(&p->line);
    free(p);
}

static void copy_name(char to[NAME_MAX_BYTES], const char *from) {
    size_t n = from ? strnlen(from, NAME_MAX_BYTES - 1) : 0;
    if (n > 0) memcpy(to, from, n);
    to[n] = 0;
}

moon_status moon__cli_prompt_ask(moon__cli_prompt *p, const moon_event *event) {
    if (p->n == WAITING_MAX) return MOON_ELIMIT;
    question *q = calloc(1, sizeof *q);
    if (!q) return MOON_ENOMEM;
    moon_status status = moon__json_parse(&q->body, event->body, event->body_length, MOON__JSON_REPAIR, NULL);
    if (status != MOON_OK) {
        free(q);
        return status;
    }
    q->call = moon_json_str(moon_json_get(q->body, "call"), NULL);
    if (!q->call) q->call = "";
    copy_name(q->tool, moon_json_str(moon_json_get(q->body, "tool"), NULL));
    *p->last = q;
    p->last = &q->next;
    p->n++;
    return MOON_OK;
}

int moon__cli_prompt_input(const moon__cli_prompt *p) {
    return p->input;
}

bool moon__cli_prompt_active(const moon__cli_prompt *p) {
    return p->state != IDLE;
}

bool moon__cli_prompt_waits(const moon__cli_prompt *p) {
    return p->first != NULL;
}

/* ---- what is asked ---- */

/* A text of several lines, each behind the mark ("+" for what is written, "-" for what goes), cut with a note unless
 * all of it is wanted. True: it was cut. */
static bool put_block(moon__buf *out, const char *mark, const char *text, size_t n, bool all) {
    size_t cut = all || n < VALUE_BYTES ? n : moon__utf8_floor(text, VALUE_BYTES), lines = 0, at = 0;
    moon__buf_char(out, '\n');
    while (at < cut && (all || lines < VALUE_LINES)) {
        const char *end = memchr(text + at, '\n', cut - at);
        size_t length = end ? (size_t)(end - text) - at : cut - at;
        moon__buf_printf(out, "    %s ", mark);
        moon__term_safe(out, text + at, length);
        moon__buf_char(out, '\n');
        at += length + (end != NULL);
        lines++;
    }
    if (at < n) moon__buf_printf(out, "    (%zu more byte%s not shown)\n", n - at, n - at == 1 ? " is" : "s are");
    return at < n;
}

/* Where an argument stands: first what is changed, then how, then the change itself, what goes before what comes. */
typedef enum argument_place { TARGET, PLAIN, GOES, COMES, PLACES } argument_place;

static argument_place place_of(const moon_json *value) {
    const char *name = moon_json_name(value);
    if (strcmp(name, "path") == 0) return TARGET;
    if (moon_json_type(value) != MOON_JSON_STRING) return PLAIN;
    if (strcmp(name, "old") == 0) return GOES;
    return strcmp(name, "new") == 0 || strcmp(name, "content") == 0 ? COMES : PLAIN;
}

/* True: it was cut. */
static bool put_argument(moon__buf *out, const moon_json *value, bool all) {
    argument_place place = place_of(value);
    const char *name = moon_json_name(value);
    size_t n = 0;
    const char *text = moon_json_str(value, &n);
    moon__buf printed;
    moon__buf_init(&printed, 4 << 20);
    if (!text) {
        moon__json_print(&printed, value);
        text = printed.p ? printed.p : "";
        n = printed.len;
    }
    moon__buf_str(out, "  ");
    moon__term_safe(out, name, strnlen(name, 200));
    moon__buf_char(out, ':');
    bool cut = false;
    if (place >= GOES || n > 200 || memchr(text, '\n', n)) {
        cut = put_block(out, place == COMES ? "+" : place == GOES ? "-" : "|", text, n, all);
    } else {
        moon__buf_char(out, ' ');
        moon__term_safe(out, text, n);
        moon__buf_char(out, '\n');
    }
    moon__buf_fini(&printed);
    return cut;
}

static void put_choices(moon__cli_prompt *p, moon__buf *out, const question *q) {
    moon__cli_sgr(out, &p->term, "1");
    moon__buf_str(out, "Allow it? [y] once, [a] always ");
    moon__term_safe(out, q->tool, strlen(q->tool));
    moon__buf_printf(out, " in this run, [n] no%s: ", p->cut ? ", [v] view all" : "");
    moon__cli_sgr(out, &p->term, "");
}

static void put_question(moon__cli_prompt *p, moon__buf *out, const question *q, bool all) {
    const moon_json *args = moon_json_get(q->body, "arguments");
    moon__cli_sgr(out, &p->term, "1;33");
    moon__term_safe(out, q->tool, strlen(q->tool));
    moon__cli_sgr(out, &p->term, "");
    moon__buf_str(out, " wants to run with\n");
    p->cut = false;
    if (moon_json_type(args) == MOON_JSON_OBJECT) {
        for (argument_place place = TARGET; place < PLACES; place++)
            for (const moon_json *a = moon_json_first(args); a; a = moon_json_next(a))
                if (place_of(a) == place && put_argument(out, a, all)) p->cut = true;
        if (moon_json_size(args) == 0) moon__buf_str(out, "  no arguments\n");
    }
    put_choices(p, out, q);
}

static void say(const moon__cli_prompt *p, moon__buf *out) {
    if (out->len > 0) (void)moon__cli_write(p->term.fd, out->p, out->len);
    moon__buf_fini(out);
}

static void say_text(const moon__cli_prompt *p, const char *text) {
    (void)moon__cli_write(p->term.fd, text, strlen(text));
}

static void say_reason(const moon__cli_prompt *p) {
    say_text(p, "Why not? (told to the model; empty: no reason): ");
}

void moon__cli_prompt_again(moon__cli_prompt *p) {
    moon__buf out;
    if (p->state == REASON) {
        say_reason(p);
    } else if (p->state == ASKING) {
        moon__buf_init(&out, 4096);
        put_choices(p, &out, p->first);
        say(p, &out);
    }
}

/* ---- answers ---- */

/* The call may have gone (cancelled, timed out): then there is nothing to decide. */
static void decide(moon__cli_prompt *p, moon_run *run, bool allow, const char *why) {
    question *q = take(p, &p->first); /* so that the event of its answer is no news */
    p->state = IDLE;
    (void)!moon_run_decide(run, q->call, allow, why, NULL);
    drop(q);
}

/* Where it was on the screen, its line has no end yet. */
void moon__cli_prompt_answered(moon__cli_prompt *p, const char *call) {
    for (question **at = &p->first; *at; at = &(*at)->next) {
        if (strcmp((*at)->call, call) != 0) continue;
        if (at == &p->first && p->state != IDLE) {
            p->state = IDLE;
            say_text(p, "\nThat was answered elsewhere.\n");
        }
        drop(take(p, at));
        return;
    }
}

static bool always_allowed(const moon__cli_prompt *p, const char *tool) {
    for (size_t i = 0; i < p->n_always; i++)
        if (strcmp(p->always[i], tool) == 0) return true;
    return false;
}

static void ask(moon__cli_prompt *p, bool all) {
    moon__buf out;
    moon__buf_init(&out, QUESTION_MAX);
    put_question(p, &out, p->first, all);
    (void)tcflush(p->input, TCIFLUSH);
    moon__buf_reset(&p->line);
    say(p, &out);
    p->state = ASKING;
}

void moon__cli_prompt_show(moon__cli_prompt *p, moon_run *run) {
    while (p->first && p->state == IDLE) {
        if (p->ended) {
            decide(p, run, false, "the user ended the input instead of allowing it");
        } else if (always_allowed(p, p->first->tool)) {
            decide(p, run, true, NULL);
        } else {
            ask(p, false);
        }
    }
}

static void take_answer(moon__cli_prompt *p, moon_run *run, const char *word) {
    if (strcasecmp(word, "y") == 0 || strcasecmp(word, "yes") == 0) {
        decide(p, run, true, NULL);
    } else if (strcasecmp(word, "a") == 0 || strcasecmp(word, "always") == 0) {
        if (p->n_always < ALWAYS_MAX) copy_name(p->always[p->n_always++], p->first->tool);
        decide(p, run, true, NULL);
    } else if (strcasecmp(word, "n") == 0 || strcasecmp(word, "no") == 0) {
        p->state = REASON;
        say_reason(p);
    } else if (p->cut && (strcasecmp(word, "v") == 0 || strcasecmp(word, "view") == 0)) {
        ask(p, true);
    } else {
        say_text(p, p->cut ? "Please answer y, a, n or v.\n" : "Please answer y, a or n.\n");
        moon__cli_prompt_again(p);
    }
}

/* A line without its end and the spaces around it. */
static char *trim(char *line) {
    while (*line == ' ' || *line == '\t') line++;
    size_t n = strlen(line);
    while (n > 0 && strchr(" \t\r\n", line[n - 1])) line[--n] = 0;
    return line;
}

static void take_line(moon__cli_prompt *p, moon_run *run) {
    char *line = trim(p->line.p);
    if (p->state == REASON) {
        decide(p, run, false, *line ? line : NULL);
    } else {
        take_answer(p, run, line);
    }
    moon__buf_reset(&p->line);
}

void moon__cli_prompt_read(moon__cli_prompt *p, moon_run *run) {
    char bytes[512];
    ssize_t n = read(p->input, bytes, sizeof bytes);
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) return;
    if (n <= 0) {
        p->ended = true;
        p->state = IDLE;
        say_text(p, "\nThe input has ended: that is a no, to this call and to all that are still to be asked for.\n");
        moon__cli_prompt_show(p, run);
        return;
    }
    /* A terminal gives a line at a time; what stands behind its end was typed before the next question. */
    const char *end = memchr(bytes, '\n', (size_t)n);
    moon__buf_add(&p->line, bytes, end ? (size_t)(end - bytes) : (size_t)n);
    if (!end) return;
    if (!p->line.p) moon__buf_add(&p->line, "", 0);
    if (p->line.status != MOON_OK || !p->line.p) {
        moon__buf_reset(&p->line);
        say_text(p, "That line is too long; please answer again: ");
        return;
    }
    take_line(p, run);
    moon__cli_prompt_show(p, run);
}
