/* SPDX-License-Identifier: MIT */
/* moonlet graph: a drawing of a script's agents, tools and flow, from its definitions; nothing is run. */
#include "cli.h"
#include "output.h"
#include "term.h"

#include "buf.h"

#include <moonlet/moonlet.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OPT_FORMAT = MOON__OPT_OTHER, OPT_FILE, OPT_PLUGIN, PLUGINS_MAX = 32 };

static const moon__cli_option options[] = {
    {"format", 'f', "NAME", "mermaid (default), dot, svg or json", OPT_FORMAT},
    {"output-file", 'o', "FILE", "write there; the format follows from .svg, .dot, .mmd or .json", OPT_FILE},
    {"plugin", 0, "FILE.so", "with the tools of a plugin; repeatable", OPT_PLUGIN},
    MOON__OPTION_HELP,
    {NULL, 0, NULL, NULL, 0},
};

typedef struct request {
    const char *script, *format, *file;
    const char *plugins[PLUGINS_MAX];
    size_t n_plugins;
} request;

static const char *format_of(const char *file) {
    static const char *const known[][2] = {{".svg", "svg"},   {".dot", "dot"},     {".gv", "dot"},
                                           {".json", "json"}, {".mmd", "mermaid"}, {".md", "mermaid"}};
    const char *dot = file ? strrchr(file, '.') : NULL;
    for (size_t i = 0; dot && i < sizeof known / sizeof *known; i++)
        if (strcmp(dot, known[i][0]) == 0) return known[i][1];
    return "mermaid";
}

static int write_file(const char *path, const char *text) {
    FILE *file = fopen(path, "we");
    bool ok = file && fputs(text, file) >= 0;
    if (file && fclose(file) != 0) ok = false;
    if (ok) return MOON__EXIT_OK;
    moon__cli_error("cannot write %s: %s", path, strerror(errno));
    return MOON__EXIT_FAILED;
}

static int put(const request *r, const char *text) {
    if (r->file) return write_file(r->file, text);
    moon__buf out;
    moon__buf_init(&out, 64 << 20);
    moon__buf_str(&out, text);
    return moon__cli_print(&out);
}

/* -1: go on; else the exit code. */
static int read_arguments(const moon__cli_command *self, request *r, int argc, char **argv) {
    moon__cli_args args;
    moon__cli_args_init(&args, options, argc, argv);
    for (int id; (id = moon__cli_args_next(&args)) != MOON__ARG_END;) {
        switch (id) {
        case MOON__ARG_WRONG: return moon__cli_usage(self, "%s", args.error);
        case MOON__OPT_HELP: return moon__cli_help(self);
        case OPT_FORMAT: r->format = args.value; break;
        case OPT_FILE: r->file = args.value; break;
        case OPT_PLUGIN:
            if (r->n_plugins == PLUGINS_MAX) return moon__cli_usage(self, "there are too many plugins");
            r->plugins[r->n_plugins++] = args.value;
            break;
        default:
            if (r->script) return moon__cli_usage(self, "one script at a time");
            r->script = args.value;
        }
    }
    if (!r->script) return moon__cli_usage(self, "which script? a path, or the name of a shipped agent");
    if (!r->format) r->format = format_of(r->file);
    return -1;
}

static int graph_main(const moon__cli_command *self, int argc, char **argv) {
    request r = {.script = NULL};
    moon_error error = {0};
    moon_runtime *runtime = NULL;
    char *text = NULL;
    int code = read_arguments(self, &r, argc, argv);
    if (code >= 0) return code;
    moon_status status =
        moon_runtime_new(&runtime, &(moon_runtime_options){.size = sizeof(moon_runtime_options), .config = ""}, &error);
    for (size_t i = 0; status == MOON_OK && i < r.n_plugins; i++)
        status = moon_runtime_add_plugin(runtime, r.plugins[i], &error);
    if (status == MOON_OK) status = moon_script_graph(&text, runtime, r.script, r.format, &error);
    code = status == MOON_OK ? put(&r, text) : moon__cli_fail(&error);
    free(text);
    moon_runtime_free(runtime);
    return code;
}

const moon__cli_command moon__cli_cmd_graph = {
    .name = "graph",
    .operands = "AGENT|SCRIPT [--format mermaid|dot|svg|json] [-o FILE]",
    .summary = "draw a script's agents, tools and flow",
    .about = "Draws what a script returns, from its definitions alone: nothing is run, and no model is asked. Mermaid "
             "is shown by GitHub and many editors; dot is Graphviz's; svg needs nothing else; json is what "
             "handle:describe() gives.",
    .examples = "moonlet graph ./team.lua\n"
                "moonlet graph ./team.lua -o team.svg\n"
                "moonlet graph ./team.lua --format dot | dot -Tpng > team.png",
    .options = options,
    .main = graph_main,
};
