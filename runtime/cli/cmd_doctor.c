/* SPDX-License-Identifier: MIT */
/*
 * moonlet doctor: what is found on this machine, and what to do about what is not. A finding is ok, a warning (Moonlet
 * works, with less) or missing (it does not, and the exit code is 1). Keys are named, never shown.
 */
#include "cli.h"
#include "output.h"
#include "probe.h"
#include "shipped.h"
#include "term.h"

#include "json.h"
#include "run.h"
#include "text.h"

#include <moonlet/extend.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

enum { OPT_JSON = MOON__OPT_OTHER, OPT_MODEL, OPT_CWD, OPT_CONFIG, DETAIL_MAX = 600, REPORT_MAX = 1 << 20 };

static const moon__cli_option options[] = {
    {"json", 0, NULL, "an array of findings", OPT_JSON},
    {"model", 'm', "MODEL", "look at this model instead of the one that would be chosen", OPT_MODEL},
    {"cwd", 'C', "DIR", "look at this directory's configuration", OPT_CWD},
    {"config", 0, "FILE", "the user's configuration, or \"\" for none at all", OPT_CONFIG},
    MOON__OPTION_HELP,
    {NULL, 0, NULL, NULL, 0},
};

typedef enum finding { OK, WARN, MISSING } finding;
static const char *const state_words[] = {"ok", "warn", "missing"};

typedef struct report {
    moon__buf out;
    moon__jw json;
    bool as_json, broken;
    moon__cli_term term;
} report;

/* todo: what to do about it; NULL: nothing. */
static void tell(report *r, const char *name, finding state, const char *detail, const char *todo) {
    static const char *const colours[] = {"32", "33", "31"};
    if (state == MISSING) r->broken = true;
    if (r->as_json) {
        moon__jw_object(&r->json, NULL);
        moon__jw_str(&r->json, "name", name, SIZE_MAX);
        moon__jw_str(&r->json, "state", state_words[state], SIZE_MAX);
        moon__jw_str(&r->json, "detail", detail, SIZE_MAX);
        if (todo && state != OK) moon__jw_str(&r->json, "todo", todo, SIZE_MAX);
        moon__jw_end(&r->json);
        return;
    }
    moon__cli_sgr(&r->out, &r->term, colours[state]);
    moon__buf_printf(&r->out, "%-7s", state_words[state]);
    moon__cli_sgr(&r->out, &r->term, "");
    moon__buf_printf(&r->out, " %-16s ", name);
    moon__cli_fit(&r->out, &r->term, detail, strlen(detail), DETAIL_MAX);
    moon__buf_char(&r->out, '\n');
    if (todo && state != OK) moon__buf_printf(&r->out, "%24s -> %s\n", "", todo);
}

static void probe(report *r, const char *name, moon__cli_probe fn, finding otherwise, const char *todo) {
    char detail[DETAIL_MAX];
    bool ok = fn(detail, sizeof detail);
    tell(r, name, ok ? OK : otherwise, detail, todo);
}

/* ---- models and the network ---- */

static void check_key(report *r, const moon_model_info *info) {
    char detail[DETAIL_MAX];
    tell(r, "base URL", OK, info->base_url ? info->base_url : "none", NULL);
    snprintf(detail, sizeof detail, info->key_name ? "from the environment variable %s" : "none is set; none is sent%s",
             info->key_name ? info->key_name : "");
    tell(r, "key", OK, detail, NULL); /* a provider that insists on one is no model without */
}

static void check_model(report *r, moon_runtime *runtime, const char *spec) {
    char detail[DETAIL_MAX];
    moon_model_info info;
    moon_error error = {0};
    if (moon_runtime_model(runtime, spec, &info, &error) != MOON_OK) {
        snprintf(detail, sizeof detail, "%s%s%s", error.where, error.where[0] ? ": " : "", error.text);
        tell(r, "model", MISSING, detail, "or choose another: MOONLET_MODEL=provider/model or --model");
        return;
    }
    bool none = strcmp(info.source, "no model is configured") == 0;
    snprintf(detail, sizeof detail, "%s (%s)", info.name, spec ? "--model" : info.source);
    tell(r, "model", none ? WARN : OK, detail, "set OPENAI_API_KEY, or MOONLET_MODEL=provider/model, or give --model");
    if (!info.scripted) check_key(r, &info);
}

static void check_network(report *r, moon_runtime *runtime) {
    const char *text;
    moon_error error = {0};
    moon_status status = moon__http_version(moon__models_http(moon__runtime_models(runtime)), &text, &error);
    tell(r, "libcurl", status == MOON_OK ? OK : WARN, status == MOON_OK ? text : error.text,
         "models on the network need it: apt-get install libcurl4");
}

/* ---- files ---- */

static void check_agents(report *r, moon_runtime *runtime) {
    static const char *const names[] = {MOON_CLI_AGENT_NAMES};
    char detail[DETAIL_MAX] = "";
    const char *place = getenv("MOONLET_AGENTS");
    finding state = OK;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        moon_runnable *agent = NULL;
        moon_error error = {0};
        size_t n = strlen(detail);
        if (moon_script_load(&agent, runtime, names[i], &error) == MOON_OK) {
            snprintf(detail + n, sizeof detail - n, "%s%s", n > 0 ? ", " : "", names[i]);
        } else {
            snprintf(detail + n, sizeof detail - n, "%s%s: %s", n > 0 ? ", " : "", names[i], error.text);
            state = MISSING;
        }
        moon_runnable_unref(agent);
    }
    if (place && *place) {
        size_t n = strlen(detail);
        bool there = access(place, X_OK) == 0;
        if (!there && state == OK) state = WARN;
        snprintf(detail + n, sizeof detail - n, " (MOONLET_AGENTS=%.300s %s)", place,
                 there ? "comes first" : "cannot be looked into");
    }
    tell(r, "shipped agents", state, detail, "mend the files in MOONLET_AGENTS, or unset it");
}

/* One configuration file. failure: why no runtime could be made, with code MOON_OK if one could; it is told here, and
 * taken back, if it is about this file. */
static void check_file(report *r, const char *name, const char *path, moon_error *failure) {
    char detail[DETAIL_MAX];
    const char *at = failure->where[0] ? failure->where : failure->text;
    if (failure->code != MOON_OK && strstr(at, path)) {
        snprintf(detail, sizeof detail, "%s%s%s", failure->where, failure->where[0] ? ": " : "", failure->text);
        tell(r, name, MISSING, detail, "mend it, or leave all configuration out with --config \"\"");
        *failure = (moon_error){0};
        return;
    }
    bool there = access(path, F_OK) == 0;
    snprintf(detail, sizeof detail, "%s%s", path, there ? "" : ": none, which is fine");
    tell(r, name, OK, detail, NULL);
}

static void check_config(report *r, const char *workspace, const char *config, moon_error *failure) {
    char path[DETAIL_MAX - 100];
    const char *base = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    if (config && !*config) {
        tell(r, "user config", OK, "left out, and the project's too", NULL);
        return;
    }
    if (config) {
        check_file(r, "user config", config, failure);
    } else if (base && *base == '/') {
        snprintf(path, sizeof path, "%s/moonlet/config.lua", base);
        check_file(r, "user config", path, failure);
    } else if (home && *home == '/') {
        snprintf(path, sizeof path, "%s/.config/moonlet/config.lua", home);
        check_file(r, "user config", path, failure);
    } else {
        tell(r, "user config", OK, "none: neither XDG_CONFIG_HOME nor HOME is set", NULL);
    }
    snprintf(path, sizeof path, "%s/.moonlet/config.lua", workspace ? workspace : ".");
    check_file(r, "project config", path, failure);
}

/* ---- the machine ---- */

static bool on_run(void *ctx, const moon_run_info *info) {
    (void)ctx, (void)info;
    return false;
}

static void check_journal(report *r, moon_runtime *runtime) {
    moon_error error = {0};
    const char *place = moon_runtime_journal(runtime);
    const char *off = getenv("MOONLET_JOURNAL");
    if (place && moon_runtime_runs(runtime, &(moon_query){.state = -1, .limit = 1}, on_run, NULL, &error) != MOON_OK)
        tell(r, "journal", MISSING, error.text, "MOONLET_JOURNAL can name another file");
    else if (place)
        tell(r, "journal", OK, place, NULL);
    else if (off && strcmp(off, "off") == 0)
        tell(r, "journal", OK, "off (MOONLET_JOURNAL): runs are not kept, and cannot be resumed", NULL);
    else
        tell(r, "journal", WARN, "there is no folder to keep runs in: they cannot be resumed",
             "set MOONLET_JOURNAL to a file in a directory you can write");
}

static void check_limits(report *r) {
    struct rlimit limit = {0, 0};
    char detail[DETAIL_MAX];
    (void)getrlimit(RLIMIT_NOFILE, &limit);
    snprintf(detail, sizeof detail, "%llu", (unsigned long long)limit.rlim_cur);
    tell(r, "descriptors", limit.rlim_cur >= 1024 ? OK : WARN, detail, "many runs at once need more: ulimit -Hn");
}

static void check_terminal(report *r) {
    moon__cli_term term;
    char detail[DETAIL_MAX];
    moon__cli_term_init(&term, STDERR_FILENO, false);
    if (!term.tty) {
        tell(r, "terminal", OK, "standard error is no terminal: no progress, and nobody is asked", NULL);
        return;
    }
    snprintf(detail, sizeof detail, "%u columns, %s, %s", moon__cli_columns(&term),
             term.colour ? "colour" : "no colour", term.utf8 ? "UTF-8" : "ASCII (LANG names no UTF-8)");
    tell(r, "terminal", OK, detail, NULL);
}

static void check_machine(report *r) {
    struct utsname uts;
    char detail[DETAIL_MAX] = "unknown";
    if (uname(&uts) == 0) snprintf(detail, sizeof detail, "%s %s %s", uts.sysname, uts.release, uts.machine);
    tell(r, "kernel", OK, detail, NULL);
    probe(r, "openat2", moon__cli_probe_openat2, MISSING,
          "file tools need Linux 5.6 or newer, and a container that allows it");
    probe(r, "pidfd", moon__cli_probe_pidfd, MISSING,
          "subprocesses need Linux 5.4 or newer, and a container that allows it");
    probe(r, "git", moon__cli_probe_git, WARN, "the git tools need it: apt-get install libgit2-1.5");
    probe(r, "Landlock", moon__cli_probe_landlock, WARN,
          "this kernel cannot confine files of subprocesses; nothing depends on it now");
    probe(r, "user namespaces", moon__cli_probe_user_namespaces, WARN, "nothing depends on them now");
    probe(r, "seccomp", moon__cli_probe_seccomp, WARN, "nothing depends on it now");
    probe(r, "scratch", moon__cli_probe_scratch, MISSING,
          "set TMPDIR to a directory you can write: long results are kept there");
    check_limits(r);
    check_terminal(r);
}

/* ---- the command ---- */

typedef struct request {
    const char *model, *workspace, *config;
    bool json;
} request;

static int diagnose(const request *what) {
    report r = {.as_json = what->json};
    moon_runtime *runtime = NULL;
    moon_error error = {0};
    char detail[DETAIL_MAX];
    moon__buf_init(&r.out, REPORT_MAX);
    moon__jw_init(&r.json, &r.out);
    moon__cli_term_init(&r.term, STDOUT_FILENO, false);
    if (r.as_json) moon__jw_array(&r.json, NULL);
    snprintf(detail, sizeof detail, "%s", moon_version());
    tell(&r, "moonlet", OK, detail, NULL);
    moon_runtime_options o = {.size = sizeof o,
                              .workspace = what->workspace,
                              .config = what->config,
                              .model = what->model,
                              .journal = "",
                              .notice = moon__cli_notice};
    bool made = moon_runtime_new(&runtime, &o, &error) == MOON_OK;
    check_config(&r, what->workspace, what->config, &error);
    if (made) {
        check_model(&r, runtime, what->model);
        check_network(&r, runtime);
        check_agents(&r, runtime);
        check_journal(&r, runtime);
    } else if (error.code != MOON_OK) {
        snprintf(detail, sizeof detail, "%s%s%s", error.where, error.where[0] ? ": " : "", error.text);
        tell(&r, "workspace", MISSING, detail, "--cwd names the directory to work in");
    }
    check_machine(&r);
    moon_runtime_free(runtime);
    if (r.as_json) {
        moon__jw_end(&r.json);
        moon__buf_char(&r.out, '\n');
    }
    int code = moon__cli_print(&r.out);
    return code == MOON__EXIT_OK && r.broken ? MOON__EXIT_FAILED : code;
}

static int doctor_main(const moon__cli_command *self, int argc, char **argv) {
    request what = {.json = false};
    moon__cli_args args;
    moon__cli_args_init(&args, options, argc, argv);
    for (int id; (id = moon__cli_args_next(&args)) != MOON__ARG_END;) {
        switch (id) {
        case MOON__ARG_WRONG: return moon__cli_usage(self, "%s", args.error);
        case MOON__OPT_HELP: return moon__cli_help(self);
        case OPT_JSON: what.json = true; break;
        case OPT_MODEL: what.model = args.value; break;
        case OPT_CWD: what.workspace = args.value; break;
        case OPT_CONFIG: what.config = args.value; break;
        default: return moon__cli_usage(self, "\"%.80s\" is not understood: doctor takes no operand", args.value);
        }
    }
    return diagnose(&what);
}

const moon__cli_command moon__cli_cmd_doctor = {
    .name = "doctor",
    .operands = "[--json] [--model MODEL]",
    .summary = "what is found here: model, key, git, sandbox abilities",
    .about =
        "Looks at everything Moonlet leans on and says what is there, what is not and what to do about it. Keys are\n"
        "named, never shown; nothing is sent anywhere. The exit code is 1 if something is broken.",
    .examples = "moonlet doctor\n"
                "moonlet doctor --model ollama/llama3.2\n"
                "moonlet doctor --json | jq -r '.[] | select(.state != \"ok\") | .name'",
    .options = options,
    .main = doctor_main,
};
