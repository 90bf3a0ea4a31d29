/* SPDX-License-Identifier: MIT */
/* moonlet doc: the reference of the Lua API. */
#include "cli.h"
#include "output.h"
#include "reference.h"
#include "term.h"

#include <unistd.h>

enum { OPT_MARKDOWN = MOON__OPT_OTHER, OPT_TYPES, TEXT_MAX = 4 << 20 };

static const moon__cli_option options[] = {
    {"markdown", 0, NULL, "the whole reference as one page", OPT_MARKDOWN},
    {"types", 0, NULL, "the annotations that editors read (LuaCATS)", OPT_TYPES},
    MOON__OPTION_HELP,
    {NULL, 0, NULL, NULL, 0},
};

typedef struct request {
    const char *name;
    bool markdown, types;
} request;

static int unknown(const moon__cli_command *self, const moon__reference *reference, const char *name) {
    const char *near = moon__reference_nearest(reference, name);
    if (near) return moon__cli_usage(self, "there is no \"%.80s\"; did you mean %s?", name, near);
    return moon__cli_usage(self, "there is no \"%.80s\"; `moonlet doc` lists what there is", name);
}

static int print(const moon__cli_command *self, const request *r, const moon__reference *reference) {
    const moon__ref_entry *entry = r->name ? moon__reference_find(reference, r->name) : NULL;
    moon__buf out;
    moon__cli_term term;
    if (r->name && !entry) return unknown(self, reference, r->name);
    moon__buf_init(&out, TEXT_MAX);
    moon__cli_term_init(&term, STDOUT_FILENO, true);
    if (r->types)
        moon__buf_add(&out, moon__cli_types, moon__cli_types_length);
    else if (r->markdown)
        moon__reference_markdown(&out, reference);
    else if (entry)
        moon__reference_entry(&out, &term, reference, entry);
    else
        moon__reference_list(&out, &term, reference);
    return moon__cli_print(&out);
}

static int doc_main(const moon__cli_command *self, int argc, char **argv) {
    moon__cli_args args;
    request r = {.name = NULL};
    moon__reference reference;
    moon__cli_args_init(&args, options, argc, argv);
    for (int id; (id = moon__cli_args_next(&args)) != MOON__ARG_END;) {
        switch (id) {
        case MOON__ARG_WRONG: return moon__cli_usage(self, "%s", args.error);
        case MOON__OPT_HELP: return moon__cli_help(self);
        case OPT_MARKDOWN: r.markdown = true; break;
        case OPT_TYPES: r.types = true; break;
        default:
            if (r.name) return moon__cli_usage(self, "one name at a time");
            r.name = args.value;
        }
    }
    if ((r.name != NULL) + r.markdown + r.types > 1)
        return moon__cli_usage(self, "a name, --markdown or --types: one of them");
    if (moon__reference_read(&reference, (const char *)moon__cli_types, moon__cli_types_length) != MOON_OK) {
        moon__cli_error("out of memory");
        return MOON__EXIT_FAILED;
    }
    int code = print(self, &r, &reference);
    moon__reference_free(&reference);
    return code;
}

const moon__cli_command moon__cli_cmd_doc = {
    .name = "doc",
    .operands = "[NAME]",
    .summary = "print the reference of the Lua API, or of one name",
    .about = "NAME is a function, a module or a type: moon.agent, moon.parse, Runnable:run, moonlet.AgentSpec. "
             "\"moon.\" and\n"
             "\"moonlet.\" may be left out, and the case does not matter. Without a name all are listed.\n"
             "--types prints the file that editors with LuaCATS annotations read; cmake --install puts it into\n"
             "share/moonlet/types.",
    .examples = "moonlet doc\n"
                "moonlet doc moon.agent\n"
                "moonlet doc parse.list\n"
                "moonlet doc --types > moonlet.lua",
    .options = options,
    .main = doc_main,
};
