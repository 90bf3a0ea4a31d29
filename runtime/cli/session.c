/* SPDX-License-Identifier: MIT */
/* A run from the command line: see session.h. The loop is the caller's own, on the runtime's descriptor, as any
 * embedding program could write it. */
#include "session.h"

#include "cli.h"
#include "signals.h"
#include "term.h"

#include "json.h"
#include "run.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

enum { INPUT_MAX = 64 << 20 };

void moon__cli_session_init(moon__cli_session *s) {
    *s = (moon__cli_session){.limits = MOON_LIMITS_NONE, .signal_fd = -1, .output_fd = -1};
    moon__buf_init(&s->text, INPUT_MAX);
}

const char *moon__cli_session_option(moon__cli_session *s, int id, const char *value) {
    const char *why = NULL;
    switch (id) {
    case MOON__SESSION_CWD: s->workspace = value; break;
    case MOON__SESSION_OUTPUT:
        if (!moon__cli_format_parse(value, &s->format)) why = "the output format is text, json or stream-json";
        break;
    case MOON__SESSION_JSON: s->format = MOON__FORMAT_JSON; break;
    case MOON__SESSION_OUTPUT_FILE: s->output_file = value; break;
    case MOON__SESSION_YES: s->yes = true; break;
    case MOON__SESSION_POLICY: (void)moon__cli_rules_add(&s->rules, value, &why); break;
    case MOON__SESSION_PLUGIN:
        if (s->n_plugins == MOON__PLUGINS_MAX) return "there are too many plugins";
        s->plugins[s->n_plugins++] = value;
        break;
    case MOON__SESSION_CONFIG: s->config = value; break;
    case MOON__SESSION_QUIET: s->quiet = true; break;
    case MOON__SESSION_VERBOSE: s->verbose = true; break;
    case MOON__SESSION_PARK: s->park = true; break;
    case MOON__SESSION_SNAPSHOTS: s->snapshots = true; break;
    case MOON__SESSION_JOURNAL: s->journal = strcmp(value, "off") == 0 ? NULL : value; break;
    case MOON__SESSION_CASSETTE: s->cassette = value; break;
    case MOON__SESSION_RECORD: s->record = value; break;
    case MOON__SESSION_NO_COLOUR: s->no_colour = true; break;
    default: why = "unknown option"; break;
    }
    return why;
}

const char *moon__cli_session_cassette(moon__cli_session *s) {
    if (s->cassette && s->record) return "--cassette and --record exclude each other: --record plays what is there";
    if ((s->cassette && !*s->cassette) || (s->record && !*s->record)) return "a cassette is a folder: name it";
    if (!s->cassette && !s->record) s->cassette = getenv("MOONLET_CASSETTE");
    return NULL;
}

int moon__cli_session_read(moon__cli_session *s) {
    moon__buf *text = &s->text;
    if (!s->input || strcmp(s->input, "-") != 0) return MOON__EXIT_OK;
    s->stdin_taken = true;
    for (;;) {
        if (moon__buf_reserve(text, 64 * 1024) != MOON_OK) {
            moon__cli_error("standard input is over %zu MiB", text->max >> 20);
            return MOON__EXIT_FAILED;
        }
        ssize_t n = read(STDIN_FILENO, text->p + text->len, 64 * 1024);
        if (n == 0) break;
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) {
            moon__cli_error("cannot read standard input: %s", strerror(errno));
            return MOON__EXIT_FAILED;
        }
        text->len += (size_t)n;
    }
    text->p[text->len] = 0;
    s->input = text->p;
    return MOON__EXIT_OK;
}

/* ---- opening ---- */

/* The file for the last message is opened before the run, so that a wrong path does not cost one. Only a run that is
 * done writes it: after any other it is as it was, and one that was not there goes again. */
static bool open_output_file(moon__cli_session *s) {
    const int flags = O_WRONLY | O_CLOEXEC | O_NOCTTY;
    if (!s->output_file) return true;
    s->output_fd = open(s->output_file, flags);
    if (s->output_fd < 0 && errno == ENOENT) {
        s->output_fd = open(s->output_file, flags | O_CREAT, 0666);
        s->output_made = s->output_fd >= 0;
    }
    if (s->output_fd < 0) moon__cli_error("cannot write %s: %s", s->output_file, strerror(errno));
    return s->output_fd >= 0;
}

/* Of a run that did not write it. */
static void drop_output_file(moon__cli_session *s) {
    if (s->output_fd < 0) return;
    close(s->output_fd);
    if (s->output_made) unlink(s->output_file);
    s->output_fd = -1;
}

static moon__cli_show choose_show(const moon__cli_session *s) {
    if (s->quiet) return MOON__SHOW_QUIET;
    if (s->tool_call && !s->verbose) return MOON__SHOW_WARN;
    if (s->term.live) return MOON__SHOW_LIVE;
    return s->term.tty || s->verbose ? MOON__SHOW_LINES : MOON__SHOW_WARN;
}

/* The terminal that somebody answers on; -1: there is none. */
static int find_asked(const moon__cli_session *s) {
    if (!s->term.tty) return -1; /* nobody would see the question */
    if (isatty(STDIN_FILENO) == 1) return STDIN_FILENO;
    return s->stdin_taken ? open("/dev/tty", O_RDONLY | O_CLOEXEC | O_NOCTTY) : -1;
}

static moon_status open_display(moon__cli_session *s, moon_error *error) {
    s->hint = !s->quiet && !s->model && !s->tool_call;
    moon_status status = moon__cli_progress_new(&s->progress, &s->term, choose_show(s), s->verbose);
    int asked = status == MOON_OK ? find_asked(s) : -1;
    if (asked >= 0) status = moon__cli_prompt_new(&s->prompt, &s->term, asked);
    return status == MOON_OK ? MOON_OK : moon_error_set(error, status, "%s", moon_status_text(status));
}

/* Remembers the tool that somebody has to be asked about, for the message when nobody can be. */
static moon_verdict policy(void *ctx, const moon_run *run, const moon_tool *tool, const moon_json *args,
                           moon_verdict agent_verdict) {
    moon__cli_session *s = ctx;
    (void)run, (void)args;
    moon_verdict verdict = moon__cli_rules_verdict(&s->rules, tool->name, agent_verdict);
    if (verdict == MOON_ASK) {
        size_t n = strnlen(tool->name, sizeof s->asked - 1);
        memcpy(s->asked, tool->name, n);
        s->asked[n] = 0;
    }
    return verdict;
}

int moon__cli_session_open(moon__cli_session *s) {
    moon_error error = {0};
    moon__cli_output_init(&s->output, s->format);
    moon__cli_term_init(&s->term, STDERR_FILENO, s->no_colour);
    if (!open_output_file(s)) return MOON__EXIT_USAGE;
    s->signal_fd = moon__cli_signals_open(&s->old_mask);
    if (s->signal_fd < 0) {
        moon__cli_error("cannot watch signals: %s", strerror(errno));
        return MOON__EXIT_FAILED;
    }
    moon_runtime_options options = {.size = sizeof options,
                                    .workspace = s->workspace,
                                    .model = s->model,
                                    .config = s->config,
                                    .journal = s->journal,
                                    .cassette = s->cassette,
                                    .record = s->record,
                                    .policy = policy,
                                    .policy_ctx = s,
                                    .notice = s->quiet ? NULL : moon__cli_notice};
    moon_status status = moon_runtime_new(&s->runtime, &options, &error);
    for (size_t i = 0; status == MOON_OK && i < s->n_plugins; i++)
        status = moon_runtime_add_plugin(s->runtime, s->plugins[i], &error);
    if (status == MOON_OK) status = open_display(s, &error);
    if (status != MOON_OK) return moon__cli_session_fail(s, &error);
    if (!s->quiet) moon__cli_rules_check(&s->rules, s->runtime);
    return MOON__EXIT_OK;
}

/* The failure in the format that was asked for, so that a program finds one answer in one place. */
static void output_failure(moon__cli_session *s, const char *text, int code) {
    moon__cli_outcome outcome = {.exit_code = code, .error = text, .model = s->model};
    if (s->format != MOON__FORMAT_TEXT) moon__cli_output_result(&s->output, &outcome);
}

int moon__cli_session_fail(moon__cli_session *s, const moon_error *error) {
    if (s->progress) moon__cli_progress_hide(s->progress);
    int code = moon__cli_fail(error);
    const char *text = error->text[0] ? error->text : moon_status_text(error->code);
    char placed[sizeof error->where + sizeof error->text + 2];
    snprintf(placed, sizeof placed, "%s%s%s", error->where, error->where[0] ? ": " : "", text);
    output_failure(s, placed, code);
    return code;
}

int moon__cli_session_reject(moon__cli_session *s, const char *text) {
    moon__cli_error("%s", text);
    output_failure(s, text, MOON__EXIT_USAGE);
    return MOON__EXIT_USAGE;
}

/* ---- events ---- */

static void answered(moon__cli_session *s, const moon_event *event) {
    moon_json *body;
    bool active = moon__cli_prompt_active(s->prompt);
    if (moon__json_parse(&body, event->body, event->body_length, 0, NULL) != MOON_OK) return;
    const char *call = moon_json_str(moon_json_get(body, "call"), NULL);
    if (call) moon__cli_prompt_answered(s->prompt, call);
    moon__json_free(body);
    if (active && !moon__cli_prompt_active(s->prompt)) moon__cli_progress_share(s->progress, false);
}

static void on_event(void *ctx, moon_run *run, const moon_event *event) {
    moon__cli_session *s = ctx;
    moon__cli_output_event(&s->output, event);
    if (event->type == MOON_EVENT_APPROVAL_GIVEN && s->prompt) answered(s, event);
    if (event->type != MOON_EVENT_APPROVAL_ASKED) {
        moon__cli_progress_event(s->progress, event);
        return;
    }
    if (s->prompt && moon__cli_prompt_ask(s->prompt, event) != MOON_OK) {
        moon__cli_error("a question could not be asked: the run ends");
        moon_run_cancel(run);
    }
}

moon_run_options moon__cli_session_run_options(moon__cli_session *s) {
    return (moon_run_options){
        .size = sizeof(moon_run_options),
        .input = s->input,
        .input_length = s->text.p ? s->text.len : 0,
        .model = s->model,
        .limits = &s->limits,
        .allow_all = s->yes,
        .can_ask = s->prompt != NULL,
        .park = s->park,
        .snapshots = s->snapshots,
        .deltas = s->format == MOON__FORMAT_STREAM || (!s->quiet && s->verbose) || choose_show(s) == MOON__SHOW_LIVE,
        .on_event = on_event,
        .ctx = s,
    };
}

/* ---- driving ---- */

static void take_signals(moon__cli_session *s) {
    struct signalfd_siginfo info;
    while (read(s->signal_fd, &info, sizeof info) == (ssize_t)sizeof info) {
        if (s->signals++ > 0) {
            moon__cli_progress_hide(s->progress);
            drop_output_file(s);
            _exit(moon_stop_exit_code(MOON_STOP_INTERRUPTED));
        }
        moon_run_cancel(s->run);
    }
}

/* Once the offline model was asked: was it for want of another? Asked only then, so that nobody else pays for it. */
static void hint_at_models(moon__cli_session *s) {
    moon_model_info info;
    const char *model = moon__cli_progress_model(s->progress);
    if (!model) return;
    s->hint = false;
    if (strcmp(model, "offline") != 0 || moon_runtime_model(s->runtime, NULL, &info, NULL) != MOON_OK) return;
    if (strcmp(info.source, "no model is configured") != 0) return;
    moon__cli_progress_hide(s->progress);
    moon__cli_error(
        "no model is configured; using the offline model (set OPENAI_API_KEY or MOONLET_MODEL=provider/model; "
        "`moonlet doctor` shows what was looked for)");
}

/* The sooner of two waits, -1 being no end. */
static int sooner(int a, int b) {
    if (a < 0) return b;
    return b < 0 || a < b ? a : b;
}

static void show(moon__cli_session *s) {
    if (s->prompt && moon__cli_prompt_waits(s->prompt)) {
        if (!moon__cli_prompt_active(s->prompt)) {
            moon__cli_progress_hide(s->progress);
            moon__cli_prompt_show(s->prompt, s->run);
        } else if (!moon__cli_progress_shared(s->progress)) {
            moon__cli_prompt_again(s->prompt);
        }
        moon__cli_progress_share(s->progress, moon__cli_prompt_active(s->prompt));
    }
    moon__cli_progress_tick(s->progress);
}

static void read_answer(moon__cli_session *s) {
    moon__cli_progress_share(s->progress, false); /* the person's Enter has ended the line */
    moon__cli_prompt_read(s->prompt, s->run);
    moon__cli_progress_share(s->progress, moon__cli_prompt_active(s->prompt));
}

/* One turn: wait for the runtime, a signal, an answer or the next picture, whatever is first. */
static moon_status turn(moon__cli_session *s, moon_error *error) {
    if (s->hint) hint_at_models(s);
    show(s);
    bool asking = s->prompt && moon__cli_prompt_active(s->prompt);
    struct pollfd fds[3] = {
        {.fd = moon_runtime_fd(s->runtime), .events = POLLIN},
        {.fd = s->signal_fd, .events = POLLIN},
        {.fd = asking ? moon__cli_prompt_input(s->prompt) : -1, .events = POLLIN},
    };
    int timeout = sooner(moon_runtime_timeout(s->runtime), moon__cli_progress_due(s->progress));
    if (poll(fds, 3, timeout) < 0 && errno != EINTR)
        return moon_error_set(error, MOON_EIO, "cannot wait for events: %s", strerror(errno));
    if (fds[1].revents) take_signals(s);
    if (fds[2].revents) read_answer(s);
    moon_status status = moon_runtime_step(s->runtime, 0, error);
    if (s->output.broken) moon_run_cancel(s->run);
    return status;
}

/* ---- the end ---- */

static void explain(const moon__cli_session *s, const moon_result *result) {
    const char *id = moon_run_id(s->run);
    if (result->stop == MOON_STOP_WAITING && s->quiet) return; /* as it was asked to */
    if (result->stop == MOON_STOP_APPROVAL) {
        const char *tool = s->asked[0] ? s->asked : "TOOL";
        const char *error = result->error ? result->error : "a call waits for approval";
        if (result->resumable)
            moon__cli_error(
                "%s\nwaiting: run %s\nanswer with `moonlet approve %s` or `moonlet deny %s --why TEXT`, then "
                "`moonlet resume %s`",
                error, id, id, id, id);
        else
            moon__cli_error("%s\nallow it with --policy %s=allow, or all such calls with --yes", error, tool);
    } else if (s->tool_call && result->stop == MOON_STOP_FAILED) {
        moon__cli_error("%s", result->error ? result->error : "the tool failed");
    } else if (result->stop != MOON_STOP_DONE) {
        bool again = result->resumable;
        moon__cli_error("%s: %s%s%s", moon_stop_text(result->stop),
                        result->error ? result->error : "no reason was given",
                        again ? "\nit can go on: moonlet resume " : "", again ? id : "");
    }
}

/* The last message goes to the file as it is, whatever the format of standard output. */
static int write_output_file(moon__cli_session *s, const moon_result *result) {
    if (s->output_fd < 0 || result->stop != MOON_STOP_DONE) return 0;
    int fd = s->output_fd, failed = 0;
    s->output_fd = -1;
    if (ftruncate(fd, 0) != 0 && errno != EINVAL) failed = errno; /* EINVAL: a pipe or a device */
    if (!failed) failed = moon__cli_write(fd, result->text, result->text_length);
    if (!failed && result->text_length > 0 && result->text[result->text_length - 1] != '\n')
        failed = moon__cli_write(fd, "\n", 1);
    if (close(fd) != 0 && !failed) failed = errno;
    if (failed) moon__cli_error("cannot write %s: %s", s->output_file, strerror(failed));
    return failed;
}

/* Was the result streamed to the very terminal that it would go to? */
static bool is_on_screen(const moon__cli_session *s, const moon_result *result) {
    struct stat out, err;
    return s->format == MOON__FORMAT_TEXT && isatty(STDOUT_FILENO) == 1 && fstat(STDOUT_FILENO, &out) == 0 &&
           fstat(s->term.fd, &err) == 0 && out.st_rdev == err.st_rdev &&
           moon__cli_progress_streamed(s->progress, result->text, result->text_length);
}

int moon__cli_session_drive(moon__cli_session *s) {
    moon_error error = {0};
    moon_status status = MOON_OK;
    while (status == MOON_OK && !moon_run_finished(s->run)) status = turn(s, &error);
    moon__cli_prompt_free(s->prompt);
    s->prompt = NULL;
    if (status != MOON_OK) return moon__cli_session_fail(s, &error);
    const moon_result *result = moon_run_result(s->run);
    s->result_is_json = s->result_is_json || result->json;
    if (s->hint) hint_at_models(s);
    moon__cli_progress_end(s->progress, result);
    if (s->output.broken) return MOON__EXIT_FAILED;
    int code = moon_stop_exit_code(result->stop);
    explain(s, result);
    if (write_output_file(s, result) != 0 && code == MOON__EXIT_OK) code = MOON__EXIT_FAILED;
    moon__cli_outcome outcome = {
        .run = moon_run_id(s->run),
        .model = moon__cli_progress_model(s->progress),
        .result = result,
        .error = result->error,
        .exit_code = code,
        .json = s->result_is_json,
    };
    if (!is_on_screen(s, result)) moon__cli_output_result(&s->output, &outcome);
    return code;
}

int moon__cli_session_close(moon__cli_session *s, int exit_code) {
    moon__cli_prompt_free(s->prompt);
    s->prompt = NULL;
    moon_run_unref(s->run);
    moon_runtime_free(s->runtime); /* may still tell of the end of a run */
    moon__cli_progress_free(s->progress);
    drop_output_file(s);
    moon__buf_fini(&s->text);
    exit_code = moon__cli_output_close(&s->output, exit_code);
    moon__cli_output_fini(&s->output);
    if (s->signal_fd >= 0) {
        close(s->signal_fd);
        sigprocmask(SIG_SETMASK, &s->old_mask, NULL);
    }
    return exit_code;
}
