/* SPDX-License-Identifier: MIT */
/*
 * moonlet export, moonlet import: a run's journal as lines of JSON.
 *
 * The first line says what the run is, each of the others is a record with its hash. Import checks the chain of hashes
 * from the first record on, so that nothing of it was changed on the way.
 */
#include "cli.h"
#include "kept.h"
#include "output.h"
#include "term.h"

#include "json.h"
#include "record.h"
#include "text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OPT_JOURNAL = MOON__OPT_OTHER, OPT_CWD, LINE_MAX = 256 << 20, BATCH = 256, FORMAT = 1 };

static const moon__cli_option options[] = {
    {"cwd", 'C', "DIR", "the directory whose journal is meant (default: the current one)", OPT_CWD},
    {"journal", 0, "FILE", "where runs are kept", OPT_JOURNAL},
    MOON__OPTION_HELP,
    {NULL, 0, NULL, NULL, 0},
};

/* ---- export ---- */

typedef struct out {
    moon__buf line;
    int failed;
} out;

static void end_line(out *o, moon__jw *w) {
    moon__jw_end(w);
    moon__buf_char(&o->line, '\n');
    if (o->line.status != MOON_OK)
        o->failed = ENOMEM;
    else if (!o->failed)
        o->failed = moon__cli_write(1, o->line.p, o->line.len);
    moon__buf_reset(&o->line);
}

static bool put_info(void *ctx, const moon_run_info *info) {
    out *o = ctx;
    moon__jw w;
    moon__jw_init(&w, &o->line);
    moon__jw_object(&w, NULL);
    moon__jw_int(&w, "moonlet_journal", FORMAT);
    moon__jw_str(&w, "run", info->run, SIZE_MAX);
    moon__jw_str(&w, "name", info->name, SIZE_MAX);
    moon__jw_str(&w, "script", info->script, SIZE_MAX);
    moon__jw_str(&w, "workspace", info->workspace, SIZE_MAX);
    moon__jw_str(&w, "input", info->input, SIZE_MAX);
    moon__jw_str(&w, "stop", info->stop, SIZE_MAX);
    moon__jw_int(&w, "state", info->state);
    moon__jw_bool(&w, "resumable", info->resumable);
    moon__jw_int(&w, "created_us", info->created_us);
    moon__jw_int(&w, "updated_us", info->updated_us);
    moon__jw_int(&w, "steps", info->steps);
    moon__jw_int(&w, "tool_calls", info->tool_calls);
    moon__jw_int(&w, "tokens", info->tokens);
    moon__jw_num(&w, "usd", info->usd);
    end_line(o, &w);
    return false;
}

static bool put_record(void *ctx, const moon_record *record) {
    out *o = ctx;
    char hash[MOON__HASH_TEXT];
    moon__jw w;
    moon__hash_text(hash, record->hash);
    moon__jw_init(&w, &o->line);
    moon__jw_object(&w, NULL);
    moon__jw_int(&w, "seq", (int64_t)record->seq);
    moon__jw_int(&w, "type", record->type);
    moon__jw_str(&w, "event", moon_event_type_text(record->type), SIZE_MAX);
    moon__jw_int(&w, "time_us", record->time_us);
    moon__jw_str(&w, "path", record->path, SIZE_MAX);
    moon__jw_str(&w, "key", record->key, SIZE_MAX);
    moon__jw_str(&w, "hash", hash, SIZE_MAX);
    /* As text: the hash is over these very bytes. */
    moon__jw_str(&w, "body", record->body, record->body_length);
    end_line(o, &w);
    return !o->failed;
}

static int export_run(moon_runtime *runtime, const char *text) {
    moon__cli_found found = {.n = 0};
    moon_error error = {0};
    out o = {.failed = 0};
    int code = moon__cli_kept_find(runtime, text, &found);
    if (code != MOON__EXIT_OK) return code;
    moon__buf_init(&o.line, LINE_MAX);
    moon_query query = {.run = found.id, .state = -1, .limit = 1};
    moon_status status = moon_runtime_runs(runtime, &query, put_info, &o, &error);
    if (status == MOON_OK) status = moon_runtime_records(runtime, found.id, 1, 0, put_record, &o, &error);
    moon__buf_fini(&o.line);
    moon__cli_found_fini(&found);
    if (status != MOON_OK) return moon__cli_fail(&error);
    if (o.failed && o.failed != EPIPE) moon__cli_error("cannot write: %s", strerror(o.failed));
    return o.failed ? MOON__EXIT_FAILED : MOON__EXIT_OK;
}

/* ---- import ---- */

typedef struct in {
    FILE *file;
    const char *name;
    char *line;
    size_t room;
    unsigned long number;
    moon_json *head; /* the first line */
    moon_run_info info;
    moon_record records[BATCH];
    moon_json *bodies[BATCH]; /* which the records borrow from */
    size_t n;
    uint64_t seq; /* of the last record that was given to the store */
    unsigned char hash[MOON_HASH_SIZE];
} in;

static int bad(const in *i, const char *what) {
    moon__cli_error("%s:%lu: %s", i->name, i->number, what);
    return MOON__EXIT_USAGE;
}

/* The next line, parsed; -1: the file has ended. */
static int next(in *i, moon_json **json) {
    moon_error error = {0};
    ssize_t n = getline(&i->line, &i->room, i->file);
    if (n < 0) return ferror(i->file) ? bad(i, strerror(errno)) : -1;
    i->number++;
    if (n > LINE_MAX) return bad(i, "the line is too long");
    if (moon__json_parse(json, i->line, (size_t)n, 0, &error) != MOON_OK) return bad(i, error.text);
    return MOON__EXIT_OK;
}

static const char *str(const moon_json *object, const char *name) {
    return moon_json_str(moon_json_get(object, name), NULL);
}

static int64_t num(const moon_json *object, const char *name) {
    int64_t value = 0;
    moon_json_int(moon_json_get(object, name), &value);
    return value;
}

static int read_head(in *i) {
    int code = next(i, &i->head);
    if (code < 0 || (code == MOON__EXIT_OK && num(i->head, "moonlet_journal") == 0))
        return bad(i, "this is no exported run: its first line has no \"moonlet_journal\"");
    if (code != MOON__EXIT_OK) return code;
    if (num(i->head, "moonlet_journal") > FORMAT)
        return bad(i, "it was exported by a newer moonlet: use that to import it");
    const char *const texts[] = {str(i->head, "run"),       str(i->head, "name"),  str(i->head, "script"),
                                 str(i->head, "workspace"), str(i->head, "input"), str(i->head, "stop")};
    for (size_t t = 0; t < sizeof texts / sizeof *texts; t++)
        if (!texts[t]) return bad(i, "run, name, script, workspace, input and stop have to be texts");
    size_t n = strlen(texts[0]);
    if (n == 0 || n >= MOON__RUN_ID_MAX || strspn(texts[0], "0123456789abcdefghijklmnopqrstuvwxyz") != n)
        return bad(i, "that is no id of a run");
    i->info =
        (moon_run_info){.run = texts[0],
                        .name = texts[1],
                        .script = texts[2],
                        .workspace = texts[3],
                        .input = texts[4],
                        .stop = texts[5],
                        .state = num(i->head, "state") == MOON_RUN_FINISHED ? MOON_RUN_FINISHED : MOON_RUN_WAITING,
                        .created_us = num(i->head, "created_us"),
                        .updated_us = num(i->head, "updated_us"),
                        .steps = num(i->head, "steps"),
                        .tool_calls = num(i->head, "tool_calls"),
                        .tokens = num(i->head, "tokens"),
                        .fork_of = ""};
    moon_json_bool(moon_json_get(i->head, "resumable"), &i->info.resumable);
    moon_json_num(moon_json_get(i->head, "usd"), &i->info.usd);
    return MOON__EXIT_OK;
}

static int read_record(in *i, moon_json *json) {
    moon_record *record = &i->records[i->n];
    const char *path = str(json, "path"), *key = str(json, "key"), *hash = str(json, "hash");
    size_t length = 0;
    const char *body = moon_json_str(moon_json_get(json, "body"), &length);
    i->bodies[i->n] = json;
    *record = (moon_record){.seq = i->seq + i->n + 1,
                            .type = (moon_event_type)num(json, "type"),
                            .time_us = num(json, "time_us"),
                            .path = path ? path : "",
                            .key = key ? key : "",
                            .body = body ? body : "",
                            .body_length = length};
    i->n++;
    if (!path || !key || !hash || !body) return bad(i, "a record has path, key, hash and body, all of them texts");
    if (num(json, "seq") != (int64_t)record->seq) return bad(i, "records are missing before this one");
    unsigned char said[MOON_HASH_SIZE];
    moon__record_seal(record, i->hash);
    if (!moon__hash_read(said, hash) || memcmp(said, record->hash, MOON_HASH_SIZE) != 0)
        return bad(i, "the record does not fit its hash: it was changed, or is not the one that came after the last");
    memcpy(i->hash, record->hash, MOON_HASH_SIZE);
    return MOON__EXIT_OK;
}

static int give(in *i, moon_store *store) {
    moon_error error = {0};
    moon_side create = {.kind = MOON_SIDE_CREATE, .info = &i->info};
    moon_append append = {.run = i->info.run,
                          .expected = i->seq,
                          .records = i->records,
                          .n_records = i->n,
                          .sides = &create,
                          .n_sides = i->seq == 0};
    moon_status status = moon_store_sqlite.append(store, &append, 1, &error);
    if (status == MOON_OK) status = append.status;
    i->seq += i->n;
    for (; i->n > 0; i->n--) moon__json_free(i->bodies[i->n - 1]);
    if (status == MOON_OK) return MOON__EXIT_OK;
    if (status == MOON_ECONFLICT)
        moon__cli_error("run %s is in the journal already", i->info.run);
    else
        return moon__cli_fail(&error);
    return MOON__EXIT_USAGE;
}

static int import_lines(in *i, moon_store *store) {
    int code = read_head(i);
    moon_json *json;
    while (code == MOON__EXIT_OK && (code = next(i, &json)) == MOON__EXIT_OK) {
        code = read_record(i, json);
        if (code == MOON__EXIT_OK && i->n == BATCH) code = give(i, store);
    }
    if (code == -1) code = i->n ? give(i, store) : i->seq ? MOON__EXIT_OK : bad(i, "the run has no records");
    return code;
}

/* All or nothing: what was given to the store before a fault was found is taken back. */
static int import_run(const char *journal, const char *file) {
    moon_error error = {0};
    moon_store *store;
    in *i = calloc(1, sizeof *i);
    if (!i) {
        moon__cli_error("out of memory");
        return MOON__EXIT_FAILED;
    }
    i->name = strcmp(file, "-") == 0 ? "standard input" : file;
    i->file = strcmp(file, "-") == 0 ? stdin : fopen(file, "re");
    int code = MOON__EXIT_USAGE;
    if (!i->file)
        moon__cli_error("cannot read %s: %s", file, strerror(errno));
    else if (moon_store_sqlite.open_telling(&store, journal, moon__cli_notice, NULL, &error) != MOON_OK)
        code = moon__cli_fail(&error);
    else {
        code = import_lines(i, store);
        moon_store_sqlite.release(store, i->info.run ? i->info.run : "");
        if (code != MOON__EXIT_OK && i->seq) (void)moon_store_sqlite.purge(store, i->info.run, NULL);
        moon_store_sqlite.close(store);
    }
    if (code == MOON__EXIT_OK) {
        moon__buf text;
        moon__buf_init(&text, 1024);
        moon__buf_printf(&text, "run %s, %llu events\n", i->info.run, (unsigned long long)i->seq);
        code = moon__cli_print(&text);
    }
    for (; i->n > 0; i->n--) moon__json_free(i->bodies[i->n - 1]);
    if (i->file && i->file != stdin) fclose(i->file);
    moon__json_free(i->head);
    free(i->line);
    free(i);
    return code;
}

/* ---- both ---- */

static int both_main(const moon__cli_command *self, int argc, char **argv) {
    moon__cli_args args;
    const char *what = NULL, *journal = NULL, *cwd = NULL;
    moon_runtime *runtime;
    bool out_ = self == &moon__cli_cmd_export;
    moon__cli_args_init(&args, options, argc, argv);
    for (int id; (id = moon__cli_args_next(&args)) != MOON__ARG_END;) {
        if (id == MOON__ARG_WRONG) return moon__cli_usage(self, "%s", args.error);
        if (id == MOON__OPT_HELP) return moon__cli_help(self);
        if (id == MOON__ARG_OPERAND && what) return moon__cli_usage(self, "one %s at a time", out_ ? "run" : "file");
        *(id == MOON__ARG_OPERAND ? &what : id == OPT_JOURNAL ? &journal : &cwd) = args.value;
    }
    if (!what)
        return moon__cli_usage(self, out_ ? "a run's id is needed" : "a file is needed; \"-\" is standard input");
    int code = moon__cli_kept_open(&runtime, journal, cwd);
    if (code != MOON__EXIT_OK) return code;
    if (out_)
        code = export_run(runtime, what);
    else
        code = import_run(moon_runtime_journal(runtime), what);
    moon_runtime_free(runtime);
    return code;
}

const moon__cli_command moon__cli_cmd_export = {
    .name = "export",
    .operands = "RUN [OPTIONS]",
    .summary = "write a run's journal as lines of JSON",
    .about = "Writes a run to standard output, a line of JSON for each record: to be kept elsewhere, looked at, or "
             "taken to\n"
             "another machine with `moonlet import`. What a fork shares with another run is in it.",
    .examples = "moonlet export 1k1a > run.jsonl\nmoonlet export 1k1a | ssh host moonlet import -",
    .options = options,
    .main = both_main,
};

const moon__cli_command moon__cli_cmd_import = {
    .name = "import",
    .operands = "FILE|- [OPTIONS]",
    .summary = "take in a run that was exported",
    .about = "Reads what `moonlet export` wrote. The hashes of all records are checked; if one is wrong, nothing is "
             "taken in.",
    .examples = "moonlet import run.jsonl",
    .options = options,
    .main = both_main,
};
