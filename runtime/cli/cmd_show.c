/* SPDX-License-Identifier: MIT */
/* moonlet show: one run, as people read it or (--events) as it stands in the journal. */
#include "cli.h"
#include "kept.h"
#include "output.h"
#include "term.h"

#include "json.h"
#include "text.h"

#include <string.h>
#include <unistd.h>

enum { OPT_JOURNAL = MOON__OPT_OTHER, OPT_CWD, OPT_EVENTS, OPT_FULL };
enum { LINES_SHOWN = 12, BYTES_SHOWN = 1500, SHOW_MAX = 256 << 20 };

static const moon__cli_option options[] = {
    {"events", 0, NULL, "every event as a line of JSON, as in stream-json", OPT_EVENTS},
    {"full", 0, NULL, "texts and results uncut", OPT_FULL},
    {"cwd", 'C', "DIR", "the directory whose journal is meant (default: the current one)", OPT_CWD},
    {"journal", 0, "FILE", "where runs are kept", OPT_JOURNAL},
    MOON__OPTION_HELP,
    {NULL, 0, NULL, NULL, 0},
};

typedef struct request {
    const char *run, *journal, *cwd;
    bool events, full;
    moon__cli_found found;
    moon__cli_term term;
    moon__buf out;
    moon__cli_output stream;
} request;

static const char *str(const moon_json *object, const char *name, size_t *length) {
    size_t n = 0;
    const char *text = moon_json_str(moon_json_get(object, name), &n);
    if (length) *length = n;
    return text ? text : "";
}

/* Text as a block, indented and cut unless all is wanted. */
static void put_block(request *r, const char *text, size_t n, unsigned indent) {
    moon__buf safe;
    size_t lines = 0, at = 0, end = r->full || n <= BYTES_SHOWN ? n : moon__utf8_floor(text, BYTES_SHOWN);
    moon__buf_init(&safe, SHOW_MAX);
    moon__term_safe(&safe, text, end);
    while (at < safe.len && (r->full || lines < LINES_SHOWN)) {
        const char *line = safe.p + at, *stop = memchr(line, '\n', safe.len - at);
        size_t length = stop ? (size_t)(stop - line) : safe.len - at;
        moon__buf_printf(&r->out, "%*s", (int)indent, "");
        moon__buf_add(&r->out, line, length);
        moon__buf_char(&r->out, '\n');
        at += length + (stop != NULL);
        lines++;
    }
    if (at < safe.len || end < n) moon__buf_printf(&r->out, "%*s… (%zu bytes; --full shows all)\n", (int)indent, "", n);
    moon__buf_fini(&safe);
}

static void put_line(request *r, const moon_record *record, const char *codes, const char *format, ...)
    MOON_PRINTF(4, 5);
static void put_line(request *r, const moon_record *record, const char *codes, const char *format, ...) {
    moon__buf line;
    va_list args;
    moon__buf_init(&line, 64 << 10);
    va_start(args, format);
    moon__buf_vprintf(&line, format, args);
    va_end(args);
    moon__buf_printf(&r->out, "%5llu  ", (unsigned long long)record->seq);
    if (*record->path) moon__buf_printf(&r->out, "[%s] ", record->path);
    moon__cli_sgr(&r->out, &r->term, codes);
    moon__cli_fit(&r->out, &r->term, line.p ? line.p : "", line.len, 200);
    moon__cli_sgr(&r->out, &r->term, "");
    moon__buf_char(&r->out, '\n');
    moon__buf_fini(&line);
}

static void put_arguments(request *r, const moon_record *record, const moon_json *body, const char *what) {
    moon__buf args;
    moon__buf_init(&args, 1 << 20);
    moon__json_print(&args, moon_json_get(body, "arguments"));
    put_line(r, record, "1", "%s %s %s", what, str(body, "tool", NULL), args.len < 60000 && args.p ? args.p : "…");
    moon__buf_fini(&args);
}

static void put_result(request *r, const moon_record *record, const moon_json *body) {
    bool ok = false;
    size_t n;
    const char *text = str(body, "text", &n);
    moon_json_bool(moon_json_get(body, "ok"), &ok);
    put_line(r, record, ok ? "32" : "31", "%s %s", ok ? "result of" : "error of", str(body, "tool", NULL));
    put_block(r, text, n, 9);
}

static void put_snapshot(request *r, const moon_record *record, const moon_json *body) {
    int64_t files = 0, at = 0;
    moon_json_int(moon_json_get(body, "files"), &files);
    moon_json_int(moon_json_get(body, "at"), &at);
    put_line(r, record, "35", "snapshot %s: %s, %lld file%s changed", str(body, "ref", NULL),
             at > 0 ? "the workspace after what stands above" : "the workspace before the run", (long long)files,
             files == 1 ? "" : "s");
}

/* What a hook let pass is not worth a line. */
static void put_decision(request *r, const moon_record *record, const moon_json *body) {
    const char *outcome = str(body, "outcome", NULL);
    moon__buf decision;
    if (strcmp(outcome, "none") == 0) return;
    moon__buf_init(&decision, 128 << 20);
    moon__json_print(&decision, moon_json_get(moon_json_get(body, "decision"), outcome));
    put_line(r, record, "35", "hook %s: %s %s %.60000s", str(body, "hook", NULL), outcome, str(body, "call", NULL),
             decision.p && !decision.status ? decision.p : "");
    moon__buf_fini(&decision);
}

static void put_worktree(request *r, const moon_record *record, const moon_json *body) {
    const char *branch = str(body, "branch", NULL);
    int64_t files = 0;
    moon_json_int(moon_json_get(body, "files"), &files);
    if (record->type == MOON_EVENT_WORKTREE_MADE)
        put_line(r, record, "35", "worktree %s, on branch %s", str(body, "dir", NULL), branch);
    else if (record->type == MOON_EVENT_WORKTREE_MERGED)
        put_line(r, record, "35", "branch %s merged into %s, %lld file%s changed", branch, str(body, "into", NULL),
                 (long long)files, files == 1 ? "" : "s");
    else
        put_line(r, record, "31", "branch %s: %s", branch, str(body, "why", NULL));
}

static void put_record(request *r, const moon_record *record, const moon_json *body) {
    size_t n;
    const char *text;
    switch (record->type) {
    case MOON_EVENT_RUN_CREATED:
        put_line(r, record, "1", "run of %s", str(body, "name", NULL));
        text = str(body, "input", &n);
        put_block(r, text, n, 9);
        break;
    case MOON_EVENT_MODEL_REQUEST: put_line(r, record, "2", "step, asking %s", str(body, "model", NULL)); break;
    case MOON_EVENT_MODEL_RESPONSE:
        text = str(body, "text", &n);
        put_line(r, record, "36", "answer of %s", str(body, "model", NULL));
        put_block(r, text, n, 9);
        break;
    case MOON_EVENT_TOOL_INTENT: put_arguments(r, record, body, "call"); break;
    case MOON_EVENT_TOOL_RESULT: put_result(r, record, body); break;
    case MOON_EVENT_APPROVAL_ASKED:
        put_arguments(r, record, body, "asked:");
        moon__buf_printf(&r->out, "         call %s\n", str(body, "call", NULL));
        break;
    case MOON_EVENT_APPROVAL_GIVEN: {
        bool allow = false;
        moon_json_bool(moon_json_get(body, "allow"), &allow);
        put_line(r, record, allow ? "32" : "31", "%s %s %s", allow ? "allowed:" : "denied:", str(body, "call", NULL),
                 str(body, "why", NULL));
        break;
    }
    case MOON_EVENT_LOG: put_line(r, record, "2", "%s: %s", str(body, "level", NULL), str(body, "text", NULL)); break;
    case MOON_EVENT_SNAPSHOT_TAKEN: put_snapshot(r, record, body); break;
    case MOON_EVENT_PROMPT_RENDERED:
        put_line(r, record, "2", "prompt %s, version %.12s", str(body, "name", NULL), str(body, "hash", NULL));
        break;
    case MOON_EVENT_HANDOFF:
        put_line(r, record, "35", "handed over: %s to %s", str(body, "from", NULL), str(body, "to", NULL));
        break;
    case MOON_EVENT_HOOK_DECIDED: put_decision(r, record, body); break;
    case MOON_EVENT_WORKTREE_MADE:
    case MOON_EVENT_WORKTREE_MERGED:
    case MOON_EVENT_WORKTREE_UNMERGED: put_worktree(r, record, body); break;
    case MOON_EVENT_RUN_CLAIMED: put_line(r, record, "33", "resumed"); break;
    case MOON_EVENT_RUN_FINISHED:
        put_line(r, record, "1", "ended: %s %s", str(body, "stop_reason", NULL), str(body, "error", NULL));
        text = str(body, "text", &n);
        put_block(r, text, n, 9);
        break;
    default: break;
    }
}

static bool on_record(void *ctx, const moon_record *record) {
    request *r = ctx;
    if (r->events) {
        moon_event event = {.type = record->type,
                            .seq = record->seq,
                            .time_us = record->time_us,
                            .run = r->found.id,
                            .path = record->path,
                            .body = record->body,
                            .body_length = record->body_length};
        moon__cli_output_line(&r->stream, &event);
        return !r->stream.broken;
    }
    moon_json *body = NULL;
    if (moon__json_parse(&body, record->body, record->body_length, 0, NULL) == MOON_OK) put_record(r, record, body);
    moon__json_free(body);
    return r->out.status == MOON_OK;
}

static int show(request *r, moon_runtime *runtime) {
    moon_error error = {0};
    int code = moon__cli_kept_find(runtime, r->run, &r->found);
    if (code != MOON__EXIT_OK) return code;
    moon__cli_term_init(&r->term, STDOUT_FILENO, false);
    moon__buf_init(&r->out, SHOW_MAX);
    moon__cli_output_init(&r->stream, MOON__FORMAT_STREAM);
    if (!r->events) {
        moon__buf_printf(&r->out, "run %s of %s: %s\nin %s\n\n", r->found.id, r->found.name,
                         moon__cli_state_word(r->found.state, r->found.claimed, r->found.stop), r->found.workspace);
    }
    moon_status status = moon_runtime_records(runtime, r->found.id, 1, 0, on_record, r, &error);
    if (r->events)
        code = moon__cli_output_close(&r->stream, MOON__EXIT_OK);
    else
        code = moon__cli_print(&r->out);
    moon__cli_output_fini(&r->stream);
    return status != MOON_OK ? moon__cli_fail(&error) : code;
}

static int show_main(const moon__cli_command *self, int argc, char **argv) {
    moon__cli_args args;
    request r = {.run = NULL};
    moon_runtime *runtime;
    moon__cli_args_init(&args, options, argc, argv);
    for (int id; (id = moon__cli_args_next(&args)) != MOON__ARG_END;) {
        if (id == MOON__ARG_WRONG) return moon__cli_usage(self, "%s", args.error);
        if (id == MOON__OPT_HELP) return moon__cli_help(self);
        if (id == MOON__ARG_OPERAND && r.run) return moon__cli_usage(self, "one run at a time");
        switch (id) {
        case MOON__ARG_OPERAND: r.run = args.value; break;
        case OPT_JOURNAL: r.journal = args.value; break;
        case OPT_CWD: r.cwd = args.value; break;
        case OPT_EVENTS: r.events = true; break;
        default: r.full = true; break;
        }
    }
    if (!r.run) return moon__cli_usage(self, "a run's id is needed, or its beginning; `moonlet runs` lists them");
    int code = moon__cli_kept_open(&runtime, r.journal, r.cwd);
    if (code != MOON__EXIT_OK) return code;
    code = show(&r, runtime);
    moon__cli_found_fini(&r.found);
    moon_runtime_free(runtime);
    return code;
}

const moon__cli_command moon__cli_cmd_show = {
    .name = "show",
    .operands = "RUN [OPTIONS]",
    .summary = "show what happened in a run",
    .about = "Shows a run from its journal: what the model said, what was called and what came of it, who allowed "
             "what.\n"
             "RUN is the run's id or its beginning. The number before each line is the event's seq. A journal that is\n"
             "damaged is an error; what stands before the damage is shown.",
    .examples = "moonlet show 1k1a\n"
                "moonlet show 1k1a --full | less\n"
                "moonlet show 1k1a --events | jq -r 'select(.type==\"tool.intent\") | .body.tool'",
    .options = options,
    .main = show_main,
};
