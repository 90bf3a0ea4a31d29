/* SPDX-License-Identifier: MIT */
/* moonlet gc, moonlet cancel: runs that are not wanted any more. */
#include "cli.h"
#include "kept.h"
#include "output.h"
#include "term.h"

#include "buf.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { OPT_JOURNAL = MOON__OPT_OTHER, OPT_CWD, OPT_KEEP, OPT_WAITING, OPT_DRY };

static const moon__cli_option gc_options[] = {
    {"keep", 0, "TIME", "runs that were driven so lately stay: 30d, 12h, 90min (default 30d)", OPT_KEEP},
    {"waiting", 0, NULL, "remove those that wait for an approval or a signal too", OPT_WAITING},
    {"dry-run", 'n', NULL, "only say what would be removed", OPT_DRY},
    {"cwd", 'C', "DIR", "the directory whose journal is meant (default: the current one)", OPT_CWD},
    {"journal", 0, "FILE", "where runs are kept", OPT_JOURNAL},
    MOON__OPTION_HELP,
    {NULL, 0, NULL, NULL, 0},
};
static const moon__cli_option cancel_options[] = {
    {"cwd", 'C', "DIR", "the directory whose journal is meant (default: the current one)", OPT_CWD},
    {"journal", 0, "FILE", "where runs are kept", OPT_JOURNAL},
    MOON__OPTION_HELP,
    {NULL, 0, NULL, NULL, 0},
};

typedef struct request {
    const char *run, *journal, *cwd;
    int64_t keep_s;
    bool waiting, dry;
    int64_t before_us;
    char (*runs)[MOON__RUN_ID_MAX]; /* n of them, the newest first */
    size_t n;
    bool no_memory;
} request;

static const char *take_keep(request *r, const char *text) {
    static const struct {
        const char *unit;
        double seconds;
    } units[] = {{"s", 1}, {"min", 60}, {"h", 3600}, {"d", 86400}, {"w", 604800}};
    char *end;
    double number = strtod(text, &end);
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (end != text && strcmp(end, units[i].unit) == 0 && number >= 0 && number * units[i].seconds < 1e11) {
            r->keep_s = llround(number * units[i].seconds);
            return NULL;
        }
    return "--keep is a time such as 30d, 12h, 90min or 0s";
}

static bool on_info(void *ctx, const moon_run_info *info) {
    request *r = ctx;
    if (info->claimed || info->updated_us >= r->before_us) return true;
    if (info->state == MOON_RUN_WAITING && !r->waiting) return true;
    if (r->n % 256 == 0) {
        void *grown = realloc(r->runs, (r->n + 256) * sizeof *r->runs);
        if (!grown) {
            r->no_memory = true;
            return false;
        }
        r->runs = grown;
    }
    snprintf(r->runs[r->n++], sizeof *r->runs, "%s", info->run);
    return true;
}

/* The newest first, so that forks go before what they were forked from. */
static int sweep(request *r, moon_runtime *runtime) {
    moon_error error = {0};
    size_t removed = 0, kept = 0;
    moon_query query = {.state = -1};
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    r->before_us = ((int64_t)now.tv_sec - r->keep_s) * 1000000 + now.tv_nsec / 1000;
    moon_status status = moon_runtime_runs(runtime, &query, on_info, r, &error);
    if (status != MOON_OK) return moon__cli_fail(&error);
    if (r->no_memory) {
        moon__cli_error("out of memory");
        return MOON__EXIT_FAILED;
    }
    for (size_t i = 0; i < r->n && !r->dry; i++) {
        status = moon_runtime_purge(runtime, r->runs[i], &error);
        removed += status == MOON_OK;
        kept += status == MOON_EBUSY;
        if (status != MOON_OK && status != MOON_EBUSY) return moon__cli_fail(&error);
    }
    moon__buf text;
    moon__buf_init(&text, 4096);
    if (r->dry)
        moon__buf_printf(&text, "%zu runs would be removed from %s\n", r->n, moon_runtime_journal(runtime));
    else
        moon__buf_printf(&text, "%zu runs removed from %s\n", removed, moon_runtime_journal(runtime));
    if (kept) moon__buf_printf(&text, "%zu stay: they have forks that stay, or were taken up just now\n", kept);
    return moon__cli_print(&text);
}

static int cancel(const request *r, moon_runtime *runtime) {
    moon__cli_found found = {.n = 0};
    moon_error error = {0};
    int code = moon__cli_kept_find(runtime, r->run, &found);
    if (code == MOON__EXIT_OK && moon_runtime_cancel(runtime, found.id, &error) != MOON_OK)
        code = moon__cli_fail(&error);
    if (code == MOON__EXIT_OK) {
        moon__buf text;
        moon__buf_init(&text, 4096);
        moon__buf_printf(&text, found.claimed ? "run %s is told to end\n" : "run %s has ended\n", found.id);
        code = moon__cli_print(&text);
    }
    moon__cli_found_fini(&found);
    return code;
}

static int both_main(const moon__cli_command *self, int argc, char **argv) {
    moon__cli_args args;
    request r = {.keep_s = 30 * 86400};
    moon_runtime *runtime;
    bool gc = self == &moon__cli_cmd_gc;
    moon__cli_args_init(&args, self->options, argc, argv);
    for (int id; (id = moon__cli_args_next(&args)) != MOON__ARG_END;) {
        const char *why = NULL;
        if (id == MOON__ARG_WRONG) return moon__cli_usage(self, "%s", args.error);
        if (id == MOON__OPT_HELP) return moon__cli_help(self);
        if (id == MOON__ARG_OPERAND && (gc || r.run))
            return moon__cli_usage(self, gc ? "it takes no operand" : "one run at a time");
        switch (id) {
        case MOON__ARG_OPERAND: r.run = args.value; break;
        case OPT_JOURNAL: r.journal = args.value; break;
        case OPT_CWD: r.cwd = args.value; break;
        case OPT_KEEP: why = take_keep(&r, args.value); break;
        case OPT_WAITING: r.waiting = true; break;
        default: r.dry = true; break;
        }
        if (why) return moon__cli_usage(self, "%s", why);
    }
    if (!gc && !r.run) return moon__cli_usage(self, "a run's id is needed; `moonlet runs` lists them");
    int code = moon__cli_kept_open(&runtime, r.journal, r.cwd);
    if (code != MOON__EXIT_OK) return code;
    code = gc ? sweep(&r, runtime) : cancel(&r, runtime);
    free(r.runs);
    moon_runtime_free(runtime);
    return code;
}

const moon__cli_command moon__cli_cmd_gc = {
    .name = "gc",
    .operands = "[--keep TIME] [OPTIONS]",
    .summary = "remove old runs",
    .about =
        "Removes runs that were driven last before the time given, whether they can go on or not, and what only they\n"
        "used, snapshots of their workspaces too. Runs that are being driven stay, and so do those that wait (unless\n"
        "--waiting) and those that younger forks share.",
    .examples = "moonlet gc --keep 30d\nmoonlet gc --keep 7d --waiting --dry-run",
    .options = gc_options,
    .main = both_main,
};

const moon__cli_command moon__cli_cmd_cancel = {
    .name = "cancel",
    .operands = "RUN [OPTIONS]",
    .summary = "end a run, in whatever process it is driven",
    .about =
        "Ends a run as Ctrl-C does: tools are stopped, and the run can be resumed. A process that drives it is told,\n"
        "and stops within a second or so; one that nobody drives has ended at once.",
    .examples = "moonlet cancel 1k1a",
    .options = cancel_options,
    .main = both_main,
};
