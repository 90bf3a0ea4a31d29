/* SPDX-License-Identifier: MIT */
/* moonlet runs: what is kept. */
#include "cli.h"
#include "kept.h"
#include "output.h"
#include "term.h"

#include "json.h"
#include "text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { OPT_JOURNAL = MOON__OPT_OTHER, OPT_CWD, OPT_STATE, OPT_LIMIT, OPT_OUTPUT, OPT_JSON, OPT_CHECK, OPT_HERE };
enum { LIMIT = 20, LIST_MAX = 256 << 20 };

static const moon__cli_option options[] = {
    {"state", 's', "WORD", "only: running, died, waiting, or a stop reason such as done", OPT_STATE},
    {"here", 0, NULL, "only runs of this directory (or of -C DIR)", OPT_HERE},
    {"limit", 'n', "N", "at most so many, the newest (default 20; 0: all)", OPT_LIMIT},
    {"output", 0, "FORMAT", "text or json (an array)", OPT_OUTPUT},
    {"json", 0, NULL, "the same as --output json", OPT_JSON},
    {"check", 0, NULL, "look at every record of every run for damage", OPT_CHECK},
    {"cwd", 'C', "DIR", "the directory whose journal is meant (default: the current one)", OPT_CWD},
    {"journal", 0, "FILE", "where runs are kept", OPT_JOURNAL},
    MOON__OPTION_HELP,
    {NULL, 0, NULL, NULL, 0},
};

typedef struct request {
    const char *journal, *cwd, *state;
    unsigned long limit;
    bool json, check, here;
    moon__buf out;
    moon__jw w;
    moon__cli_term term;
    unsigned columns;
    int64_t now_us;
    size_t n;
} request;

static void put_age(moon__buf *out, int64_t seconds) {
    char text[32];
    if (seconds < 60)
        snprintf(text, sizeof text, "%lld s", (long long)(seconds < 0 ? 0 : seconds));
    else if (seconds < 3600)
        snprintf(text, sizeof text, "%lld min", (long long)(seconds / 60));
    else if (seconds < 48 * 3600)
        snprintf(text, sizeof text, "%lld h", (long long)(seconds / 3600));
    else
        snprintf(text, sizeof text, "%lld d", (long long)(seconds / 86400));
    moon__buf_printf(out, "%7s", text);
}

static void put_cell(request *r, const char *text, unsigned width) {
    unsigned took = moon__cli_fit(&r->out, &r->term, text, strlen(text), width);
    for (; took < width + 2; took++) moon__buf_char(&r->out, ' ');
}

static void put_row(request *r, const moon_run_info *info, const char *state) {
    if (r->n == 0) {
        moon__cli_sgr(&r->out, &r->term, "1");
        moon__buf_printf(&r->out, "%-20s  %-14s  %-14s  %7s  %5s  %6s  %s", "run", "state", "agent", "age", "steps",
                         "tokens", "input");
        moon__cli_sgr(&r->out, &r->term, "");
        moon__buf_char(&r->out, '\n');
    }
    put_cell(r, info->run, 20);
    put_cell(r, state, 14);
    put_cell(r, info->name, 14);
    put_age(&r->out, (r->now_us - info->updated_us) / 1000000);
    moon__buf_printf(&r->out, "  %5lld  ", (long long)info->steps);
    size_t at = r->out.len;
    moon__cli_put_count(&r->out, info->tokens);
    for (size_t took = r->out.len - at; took < 8; took++) moon__buf_char(&r->out, ' ');
    unsigned left = r->columns > 90 ? r->columns - 82 : 20;
    moon__cli_fit(&r->out, &r->term, info->input, strlen(info->input), left);
    moon__buf_char(&r->out, '\n');
}

static void put_time(moon__jw *w, const char *name, int64_t time_us) {
    char text[25];
    moon__cli_format_time(text, time_us);
    moon__jw_str(w, name, text, SIZE_MAX);
}

static void put_json(request *r, const moon_run_info *info, const char *state) {
    moon__jw *w = &r->w;
    moon__jw_object(w, NULL);
    moon__jw_str(w, "run", info->run, SIZE_MAX);
    moon__jw_str(w, "state", state, SIZE_MAX);
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
    moon__jw_end(w);
}

static bool on_info(void *ctx, const moon_run_info *info) {
    request *r = ctx;
    const char *state = moon__cli_state_word(info->state, info->claimed, info->stop);
    if (r->state && strcmp(r->state, state) != 0) return true;
    if (r->json)
        put_json(r, info, state);
    else
        put_row(r, info, state);
    return ++r->n < r->limit || r->limit == 0;
}

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
    moon_query query = {.state = -1, .limit = r->state ? 0 : r->limit};
    if (r->here && (query.workspace = realpath(r->cwd ? r->cwd : ".", here)) == NULL) {
        moon__cli_error("no directory %s", r->cwd);
        return MOON__EXIT_USAGE;
    }
    moon__cli_term_init(&r->term, STDOUT_FILENO, false);
    r->columns = moon__cli_columns(&r->term);
    r->now_us = (int64_t)time(NULL) * 1000000;
    moon__buf_init(&r->out, LIST_MAX);
    moon__jw_init(&r->w, &r->out);
    if (r->json) moon__jw_array(&r->w, NULL);
    moon_status status = moon_runtime_runs(runtime, &query, on_info, r, &error);
    if (status != MOON_OK) {
        moon__buf_fini(&r->out);
        return moon__cli_fail(&error);
    }
    if (r->json) {
        moon__jw_end(&r->w);
        moon__buf_char(&r->out, '\n');
    } else if (r->n == 0) {
        moon__cli_error("no runs%s in %s", r->state ? " of that state" : "", moon_runtime_journal(runtime));
    }
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
        "middle; \"waiting\": for an approval; else the reason why it stopped. All but \"done\" and the like can\n"
        "go on with `moonlet resume`.",
    .examples = "moonlet runs\n"
                "moonlet runs --here --state waiting\n"
                "moonlet runs --json --limit 0 | jq -r '.[] | select(.resumable) | .run'\n"
                "moonlet runs --check",
    .options = options,
    .main = runs_main,
};
