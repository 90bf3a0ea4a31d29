/* SPDX-License-Identifier: MIT */
/* moonlet tools: what tools there are, for people and (--json) for programs. */
#include "cli.h"
#include "output.h"
#include "term.h"

#include "json.h"
#include "run.h"
#include "text.h"

#include <string.h>
#include <unistd.h>

enum { OPT_JSON = MOON__OPT_OTHER, OPT_PLUGIN, PLUGINS_MAX = 32, LIST_MAX = 16 << 20 };

static const moon__cli_option options[] = {
    {"json", 0, NULL, "an array of all tools with their schemas", OPT_JSON},
    {"plugin", 0, "FILE.so", "with the tools of a plugin; repeatable", OPT_PLUGIN},
    MOON__OPTION_HELP,
    {NULL, 0, NULL, NULL, 0},
};

typedef struct request {
    const char *name;
    const char *plugins[PLUGINS_MAX];
    size_t n_plugins;
    bool json;
} request;

static const struct {
    uint32_t flag;
    const char *name, *word;
} effects[] = {
    {MOON_READ_ONLY, "read_only", "reads"},
    {MOON_DESTRUCTIVE, "destructive", "destroys"},
    {MOON_IDEMPOTENT, "idempotent", "idempotent"},
    {MOON_OPEN_WORLD, "open_world", "open world"},
};
enum { EFFECTS = sizeof effects / sizeof *effects };

/* "file" stands for all of "file.*". */
static bool wanted(const request *r, const moon_tool *tool) {
    if (!r->name) return true;
    size_t n = strlen(r->name);
    return strncmp(tool->name, r->name, n) == 0 && (tool->name[n] == 0 || tool->name[n] == '.');
}

/* A tool that does not only read changes things, and says how. */
static void put_effects(moon__buf *out, const moon_tool *tool) {
    bool reads = (tool->effects & MOON_READ_ONLY) != 0;
    if (!reads) moon__buf_str(out, tool->effects & MOON_DESTRUCTIVE ? "changes, may overwrite" : "changes");
    for (size_t i = 0; i < EFFECTS; i++) {
        bool skip = effects[i].flag == MOON_DESTRUCTIVE || (effects[i].flag == MOON_IDEMPOTENT && reads);
        if (skip || !(tool->effects & effects[i].flag)) continue;
        moon__buf_printf(out, "%s%s", effects[i].flag == MOON_READ_ONLY ? "" : ", ", effects[i].word);
    }
}

/* The first sentence, as far as it fits. */
static void put_row(moon__buf *out, const moon__cli_term *term, unsigned columns, const moon_tool *tool) {
    moon__buf what;
    moon__buf_init(&what, 256);
    put_effects(&what, tool);
    moon__buf_printf(out, "%-14s %-36s ", tool->name, what.p ? what.p : "");
    moon__buf_fini(&what);
    const char *text = tool->description, *stop = strstr(text, ". "), *line = strchr(text, '\n');
    size_t n = strlen(text);
    if (stop && (size_t)(stop - text) + 1 < n) n = (size_t)(stop - text) + 1;
    if (line && (size_t)(line - text) < n) n = (size_t)(line - text);
    moon__cli_fit(out, term, text, n, term->tty ? (columns > 70 ? columns - 53 : 20) : 400);
    moon__buf_char(out, '\n');
}

static void put_json(moon__buf *out, const moon_tool *tool, bool first) {
    moon__jw w;
    if (!first) moon__buf_str(out, ",\n ");
    moon__jw_init(&w, out);
    moon__jw_object(&w, NULL);
    moon__jw_str(&w, "name", tool->name, SIZE_MAX);
    moon__jw_str(&w, "description", tool->description, SIZE_MAX);
    moon__jw_object(&w, "effects");
    for (size_t i = 0; i < EFFECTS; i++) moon__jw_bool(&w, effects[i].name, (tool->effects & effects[i].flag) != 0);
    moon__jw_end(&w);
    moon__jw_bool(&w, "blocking", (tool->flags & MOON_TOOL_BLOCKING) != 0);
    moon__jw_int(&w, "timeout_ms", tool->timeout_ms ? tool->timeout_ms : 120000);
    moon__jw_int(&w, "result_max", (int64_t)(tool->result_max ? tool->result_max : 50 << 10));
    moon__jw_raw(&w, "params", tool->params, strlen(tool->params));
    moon__jw_end(&w);
}

/* Everything about one tool, its schema indented by a level per brace. */
static void put_schema(moon__buf *out, const char *json) {
    unsigned depth = 1;
    bool quoted = false;
    moon__buf_str(out, "  ");
    for (const char *c = json; *c; c++) {
        if (quoted && *c == '\\' && c[1]) {
            moon__buf_add(out, c++, 2);
            continue;
        }
        if (*c == '"') quoted = !quoted;
        bool open = !quoted && *c == '{', close = !quoted && *c == '}', comma = !quoted && *c == ',';
        if (close && depth > 1) depth--;
        if (close && c[-1] != '{') moon__buf_printf(out, "\n%*s", (int)depth * 2, "");
        moon__buf_char(out, *c);
        if (!quoted && *c == ':') moon__buf_char(out, ' ');
        if (open) depth++;
        if ((open && c[1] != '}') || comma) moon__buf_printf(out, "\n%*s", (int)depth * 2, "");
    }
    moon__buf_char(out, '\n');
}

static void put_whole(moon__buf *out, const moon_tool *tool) {
    moon__buf_printf(out, "%s (", tool->name);
    put_effects(out, tool);
    moon__buf_printf(out, ")\n\n%s\n\narguments (JSON Schema):\n", tool->description);
    put_schema(out, tool->params);
}

static int unknown_tool(const moon__cli_command *self, moon_runtime *runtime, const char *name) {
    const char *near = moon__tools_nearest(moon__runtime_tools(runtime), name);
    if (near) return moon__cli_usage(self, "there is no tool \"%.80s\"; did you mean %s?", name, near);
    return moon__cli_usage(self, "there is no tool \"%.80s\"", name);
}

static int list(const moon__cli_command *self, const request *r, moon_runtime *runtime) {
    moon__buf out;
    moon__cli_term term;
    const moon_tool *tool, *one = r->name ? moon_runtime_tool(runtime, r->name) : NULL;
    size_t n = 0;
    moon__buf_init(&out, LIST_MAX);
    moon__cli_term_init(&term, STDOUT_FILENO, true);
    unsigned columns = moon__cli_columns(&term);
    if (r->json) moon__buf_char(&out, '[');
    for (size_t i = 0; (tool = moon_runtime_tool_at(runtime, i)); i++) {
        if (!wanted(r, tool) || (one && one != tool)) continue;
        if (r->json) {
            put_json(&out, tool, n == 0);
        } else if (one) {
            put_whole(&out, tool);
        } else {
            put_row(&out, &term, columns, tool);
        }
        n++;
    }
    if (r->json) moon__buf_str(&out, "]\n");
    if (n > 0) return moon__cli_print(&out);
    moon__buf_fini(&out);
    return unknown_tool(self, runtime, r->name);
}

/* -1: go on; else the exit code. */
static int read_arguments(const moon__cli_command *self, request *r, int argc, char **argv) {
    moon__cli_args args;
    moon__cli_args_init(&args, options, argc, argv);
    for (int id; (id = moon__cli_args_next(&args)) != MOON__ARG_END;) {
        switch (id) {
        case MOON__ARG_WRONG: return moon__cli_usage(self, "%s", args.error);
        case MOON__OPT_HELP: return moon__cli_help(self);
        case OPT_JSON: r->json = true; break;
        case OPT_PLUGIN:
            if (r->n_plugins == PLUGINS_MAX) return moon__cli_usage(self, "there are too many plugins");
            r->plugins[r->n_plugins++] = args.value;
            break;
        default:
            if (r->name) return moon__cli_usage(self, "one name at a time");
            r->name = args.value;
        }
    }
    return -1;
}

static int tools_main(const moon__cli_command *self, int argc, char **argv) {
    request r = {.name = NULL};
    moon_error error = {0};
    moon_runtime *runtime = NULL;
    int code = read_arguments(self, &r, argc, argv);
    if (code >= 0) return code;
    moon_status status =
        moon_runtime_new(&runtime, &(moon_runtime_options){.size = sizeof(moon_runtime_options), .config = ""}, &error);
    for (size_t i = 0; status == MOON_OK && i < r.n_plugins; i++)
        status = moon_runtime_add_plugin(runtime, r.plugins[i], &error);
    code = status == MOON_OK ? list(self, &r, runtime) : moon__cli_fail(&error);
    moon_runtime_free(runtime);
    return code;
}

const moon__cli_command moon__cli_cmd_tools = {
    .name = "tools",
    .operands = "[NAME] [--json] [--plugin FILE.so]",
    .summary = "list the tools, or show one with its arguments",
    .about = "Lists the built-in tools and those of plugins. NAME is a tool, which is shown whole, or a group such "
             "as git.\n"
             "A tool that only reads may be run by every agent; others need leave (see moonlet help run).",
    .examples = "moonlet tools\n"
                "moonlet tools file.edit\n"
                "moonlet tools git\n"
                "moonlet tools --json | jq -r '.[].name'",
    .options = options,
    .main = tools_main,
};
