/* SPDX-License-Identifier: MIT */
/* moonlet runs: what is kept. */
#include "cli.h"
#include "kept.h"
#include "output.h"
#include "term.h"
#include "waits.h"

#include "json.h"
#include "text.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    OPT_JOURNAL = MOON__OPT_OTHER,
    OPT_CWD,
    OPT_STATE,
    OPT_LIMIT,
    OPT_OUTPUT,
    OPT_JSON,
    OPT_CHECK,
    OPT_HERE,
    OPT_DUE
};
enum { LIMIT = 20, LIST_MAX = 256 << 20, WAITS_COLUMNS = 24 };

static const moon__cli_option options[] = {
    {"state", 's', "WORD", "only: running, died, waiting, or a stop reason such as done", OPT_STATE},
    {"here", 0, NULL, "only runs of this directory (or of -C DIR)", OPT_HERE},
    {"due", 0, NULL, "only those whose time has come: `moonlet resume --due` goes on with them", OPT_DUE},
    {"limit", 'n', "N", "at most so many, the newest (default 20; 0: all)", OPT_LIMIT},
    {"output", 0, "FORMAT", "text or json (an array)", OPT_OUTPUT},
    {"json", 0, NULL, "the same as --output json", OPT_JSON},
    {"check", 0, NULL, "look at every record of every run for damage", OPT_CHECK},
    {"cwd", 'C', "DIR", "the directory whose journal is meant (default: the current one)", OPT_CWD},
    {"journal", 0, "FILE", "where runs are kept", OPT_JOURNAL},
    MOON__OPTION_HELP,
    {NULL, 0, NULL, NULL, 0},
};

/* One run of the list; info's text stands behind it. */
typedef struct row {
    struct row *next;
    moon_run_info info;
    moon__cli_waits waits;
    char text[];
} row;

typedef struct request {
    const char *journal, *cwd, *state;
    unsigned long limit;
    bool json, check, here, due;
    row *first, **end;
    size_t n;
    bool failed; /* memory is out */
    bool waits;  /* some of them wait */
    moon__buf out;
    moon__cli_term term;
    unsigned columns;
    int64_t now_us;
} request;

static const char *state_of(const moon_run_info *info) {
    return moon__cli_state_word(info->state, info->claimed, info->stop);
}

/* ---- gathering ---- */

static row *copy(const moon_run_info *info) {
    static const size_t fields[] = {offsetof(moon_run_info, run),    offsetof(moon_run_info, name),
                                    offsetof(moon_run_info, script), offsetof(moon_run_info, workspace),
                                    offsetof(moon_run_info, input),  offsetof(moon_run_info, stop),
                                    offsetof(moon_run_info, fork_of)};
    enum { N = sizeof fields / sizeof *fields };
    const char *texts[N];
    size_t sizes[N], all = 0;
    for (size_t i = 0; i < N; i++) {
        memcpy(&texts[i], (const char *)info + fields[i], sizeof texts[i]);
        all += sizes[i] = strlen(texts[i]) + 1;
    }
    row *made = calloc(1, sizeof *made + all);
    if (!made) return NULL;
    made->info = *info;
    char *at = made->text;
    for (size_t i = 0; i < N; at += sizes[i++]) {
        const char *text = memcpy(at, texts[i], sizes[i]);
        memcpy((char *)&made->info + fields[i], &text, sizeof text);
    }
    return made;
}

static bool on_info(void *ctx, const moon_run_info *info) {
    request *r = ctx;
    if (r->state && strcmp(r->state, state_of(info)) != 0) return true;
    row *made = copy(info);
    r->failed = r->failed || !made;
    if (!made) return false;
    *r->end = made;
    r->end = &made->next;
    return ++r->n < r->limit || r->limit == 0;
}

static void free_rows(request *r) {
    for (row *at = r->first, *next; at; at = next) {
        next = at->next;
        moon__cli_waits_fini(&at->waits);
        free(at);
    }
}

static moon_status gather_due(request *r, moon_runtime *runtime, moon_query query, moon_error *error) {
    moon__cli_due due = {0};
    moon_status status = moon__cli_kept_due(runtime, &due, error);
    for (size_t i = 0; !status && i < due.n && (r->n < r->limit || r->limit == 0); i++) {
        query.run = due.ids[i];
        status = moon_runtime_runs(runtime, &query, on_info, r, error);
    }
    free(due.ids);
    return status;
}

static moon_status gather(request *r, moon_runtime *runtime, const moon_query *query, moon_error *error) {
    r->end = &r->first;
    moon_status status =
        r->due ? gather_due(r, runtime, *query, error) : moon_runtime_runs(runtime, query, on_info, r, error);
    for (row *at = r->first; !status && at; at = at->next) {
        if (!r->due && (at->info.state != MOON_RUN_WAITING || at->info.claimed)) continue;
        status = moon__cli_waits_read(&at->waits, runtime, at->info.run, error);
        r->waits = r->waits || at->waits.n > 0;
    }
    return !status && r->failed ? moon_error_set(error, MOON_ENOMEM, "out of memory") : status;
}

/* ---- as text ---- */

static void format_span(char text[32], int64_t seconds) {
    if (seconds < 60)
        snprintf(text, 32, "%lld s", (long long)(seconds < 0 ? 0 : seconds));
    else if (seconds < 3600)
        snprintf(text, 32, "%lld min", (long long)(seconds / 60));
    else if (seconds < 48 * 3600)
        snprintf(text, 32, "%lld h", (long long)(seconds / 3600));
    else
        snprintf(text, 32, "%lld d", (long long)(seconds / 86400));
}

static void put_cell(request *r, const char *text, unsigned width) {
    unsigned took = moon__cli_fit(&r->out, &r->term, text, strlen(text), width);
    for (; took < width + 2; took++) moon__buf_char(&r->out, ' ');
}

/* "signal healthy, in 3 h +1": what comes first, and how much else. */
static void put_waits(request *r, const moon__cli_waits *waits) {
    const moon__cli_wait *next = moon__cli_waits_next(waits);
    char text[160] = "", span[32];
    int n = 0;
    if (next)
        n = snprintf(text, sizeof text, "%s%s%.80s", moon__cli_wait_word(next->kind), *next->name ? " " : "",
                     next->name);
    if (next && next->due_us > r->now_us) {
        format_span(span, (next->due_us - r->now_us) / 1000000);
        n += snprintf(text + n, sizeof text - (size_t)n, ", in %s", span);
    } else if (next && next->due_us)
        n += snprintf(text + n, sizeof text - (size_t)n, ", due");
    if (waits->n > 1) snprintf(text + n, sizeof text - (size_t)n, " +%zu", waits->n - 1);
    put_cell(r, text, WAITS_COLUMNS);
}

static void put_head(request *r) {
    moon__cli_sgr(&r->out, &r->term, "1");
    moon__buf_printf(&r->out, "%-20s  %-14s  %-14s  %7s  %5s  %6s  ", "run", "state", "agent", "age", "steps",
                     "tokens");
    if (r->waits) moon__buf_printf(&r->out, "%-*s  ", WAITS_COLUMNS, "waits for");
    moon__buf_str(&r->out, "input");
    moon__cli_sgr(&r->out, &r->term, "");
    moon__buf_char(&r->out, '\n');
}

static void put_row(request *r, const row *at) {
    const moon_run_info *info = &at->info;
    unsigned taken = r->waits ? 82 + WAITS_COLUMNS + 2 : 82;
    char age[32];
    put_cell(r, info->run, 20);
    put_cell(r, state_of(info), 14);
    put_cell(r, info->name, 14);
    format_span(age, (r->now_us - info->updated_us) / 1000000);
    moon__buf_printf(&r->out, "%7s  %5lld  ", age, (long long)info->steps);
    size_t from = r->out.len;
    moon__cli_put_count(&r->out, info->tokens);
    for (size_t took = r->out.len - from; took < 8; took++) moon__buf_char(&r->out, ' ');
    if (r->waits) put_waits(r, &at->waits);
    unsigned left = r->columns > taken + 8 ? r->columns - taken : 20;
    moon__cli_fit(&r->out, &r->term, info->input, strlen(info->input), left);
    moon__buf_char(&r->out, '\n');
}

/* ---- as JSON ---- */

static void put_time(moon__jw *w, const char *name, int64_t time_us) {
    char text[25];
    moon__cli_format_time(text, time_us);
    moon__jw_str(w, name, text, SIZE_MAX);
}

static void put_waits_json(moon__jw *w, const moon__cli_waits *waits) {
    moon__jw_array(w, "waits");
    for (size_t i = 0; i < waits->n; i++) {
        const moon__cli_wait *wait = &waits->items[i];
        moon__jw_object(w, NULL);
        moon__jw_str(w, "kind", moon__cli_wait_word(wait->kind), SIZE_MAX);
        if (*wait->name) moon__jw_str(w, "name", wait->name, SIZE_MAX);
        if (*wait->call) moon__jw_str(w, "call", wait->call, SIZE_MAX);
        if (wait->due_us) put_time(w, "due", wait->due_us);
        moon__jw_end(w);
    }
    moon__jw_end(w);
}

static void put_json(moon__jw *w, const row *at) {
    const moon_run_info *info = &at->info;
    moon__jw_object(w, NULL);
    moon__jw_str(w, "run", info->run, SIZE_MAX);
    moon__jw_str(w, "state", state_of(info), SIZE_MAX);
    moon__jw_bool(w, "resumable", info->resumable && !info->claimed);
    moon__jw_str(w, "agent", info->name, SIZE_MAX);
    moon__jw_str(w, "script", info->script, SIZE_MAX);
    moon__jw_str(w, "workspace", info->workspace, SIZE_MAX);
    moon__jw_str(w, "input", info->input, SIZE_MAX);
    put_time(w, "created", info->created_us);
    put_time(w, "updated", info->updated_us);
    moon__jw_int(w, "steps", info->steps);
    moon__jw_int(w, "tool_calls", info->tool_calls);
    moon__jw_int(w, "tokens", info->tokens);
    moon__jw_num(w, "usd", info->usd);
    if (*info->fork_of) {
        moon__jw_str(w, "fork_of", info->fork_of, SIZE_MAX);
        moon__jw_int(w, "fork_at", (int64_t)info->fork_at);
    }
    put_waits_json(w, &at->waits);
    moon__jw_end(w);
}

static void put_all_json(request *r) {
    moon__jw w;
    moon__jw_init(&w, &r->out);
    moon__jw_array(&w, NULL);
    for (const row *at = r->first; at; at = at->next) put_json(&w, at);
    moon__jw_end(&w);
    moon__buf_char(&r->out, '\n');
}

/* ---- the command ---- */

static void on_fault(void *ctx, const char *run, const char *text) {
    size_t *faults = ctx;
    ++*faults;
    moon__cli_error("%s%s%s", *run ? "run " : "", run, *run ? ": " : "");
    moon__cli_error("  %s", text);
}

static int check(moon_runtime *runtime) {
    moon_error error = {0};
    size_t faults = 0;
    moon_status status = moon_runtime_check(runtime, on_fault, &faults, &error);
    if (status != MOON_OK && faults == 0) return moon__cli_fail(&error);
    if (faults > 0) {
        moon__cli_error("%zu faults in %s", faults, moon_runtime_journal(runtime));
        return MOON__EXIT_FAILED;
    }
    moon__buf text;
    moon__buf_init(&text, 4096);
    moon__buf_printf(&text, "no damage in %s\n", moon_runtime_journal(runtime));
    return moon__cli_print(&text);
}

static int list(request *r, moon_runtime *runtime) {
    moon_error error = {0};
    char here[4096];
    moon_query query = {.state = -1, .limit = r->state || r->due ? 0 : r->limit};
    if (r->here && (query.workspace = realpath(r->cwd ? r->cwd : ".", here)) == NULL) {
        moon__cli_error("no directory %s", r->cwd);
        return MOON__EXIT_USAGE;
    }
    moon__cli_term_init(&r->term, STDOUT_FILENO, false);
    r->columns = moon__cli_columns(&r->term);
    r->now_us = moon__cli_now_us();
    moon_status status = gather(r, runtime, &query, &error);
    if (status == MOON_OK) {
        moon__buf_init(&r->out, LIST_MAX);
        if (r->json)
            put_all_json(r);
        else if (r->first)
            put_head(r);
        for (const row *at = r->json ? NULL : r->first; at; at = at->next) put_row(r, at);
    }
    free_rows(r);
    if (status != MOON_OK) return moon__cli_fail(&error);
    if (!r->json && r->n == 0)
        moon__cli_error("no runs%s in %s",
                        r->due     ? " that are due"
                        : r->state ? " of that state"
                                   : "",
                        moon_runtime_journal(runtime));
    return moon__cli_print(&r->out);
}

/* NULL, or what is wrong. */
static const char *take(request *r, int id, const char *value) {
    char *end;
    switch (id) {
    case OPT_JOURNAL: r->journal = value; break;
    case OPT_CWD: r->cwd = value; break;
    case OPT_STATE: r->state = value; break;
    case OPT_HERE: r->here = true; break;
    case OPT_DUE: r->due = true; break;
    case OPT_JSON: r->json = true; break;
    case OPT_CHECK: r->check = true; break;
    case OPT_LIMIT:
        r->limit = strtoul(value, &end, 10);
        if (end == value || *end || *value == '-') return "--limit is a number from 0 up";
        break;
    case OPT_OUTPUT:
        if (strcmp(value, "json") != 0 && strcmp(value, "text") != 0) return "the output format is text or json";
        r->json = *value == 'j';
        break;
    default: return "it takes no operand; `moonlet show RUN` shows one run";
    }
    return NULL;
}

static int runs_main(const moon__cli_command *self, int argc, char **argv) {
    moon__cli_args args;
    request r = {.limit = LIMIT};
    moon_runtime *runtime;
    moon__cli_args_init(&args, options, argc, argv);
    for (int id; (id = moon__cli_args_next(&args)) != MOON__ARG_END;) {
        if (id == MOON__ARG_WRONG) return moon__cli_usage(self, "%s", args.error);
        if (id == MOON__OPT_HELP) return moon__cli_help(self);
        const char *why = take(&r, id, args.value);
        if (why) return moon__cli_usage(self, "%s", why);
    }
    int code = moon__cli_kept_open(&runtime, r.journal, r.cwd);
    if (code != MOON__EXIT_OK) return code;
    code = r.check ? check(runtime) : list(&r, runtime);
    moon_runtime_free(runtime);
    return code;
}

const moon__cli_command moon__cli_cmd_runs = {
    .name = "runs",
    .operands = "[OPTIONS]",
    .summary = "list the runs that are kept",
    .about =
        "Lists runs, the newest first. \"running\": a process drives it now; \"died\": its process was ended in the\n"
        "middle; \"waiting\": for time, a signal or an approval, as a column tells and \"waits\" in JSON (kind: time, "
        "signal\n"
        "or approval; name: of the signal or the tool; due: when it ends by itself); else the reason why it stopped.\n"
        "All but \"done\" and the like can go on with `moonlet resume`.",
    .examples = "moonlet runs\n"
                "moonlet runs --here --state waiting\n"
                "moonlet runs --due --json\n"
                "moonlet runs --json --limit 0 | jq -r '.[] | select(.resumable) | .run'\n"
                "moonlet runs --check",
    .options = options,
    .main = runs_main,
};
