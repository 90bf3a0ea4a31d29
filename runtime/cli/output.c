/* SPDX-License-Identifier: MIT */
/* Writing results and events: see output.h. */
#include "output.h"

#include "cli.h"
#include "json.h"
#include "kept.h"
#include "term.h"
#include "text.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* A result may be 64 MiB, and escaping makes a byte six. */
static const size_t line_max = (size_t)512 << 20;

bool moon__cli_format_parse(const char *word, moon__cli_format *format) {
    static const struct {
        const char *word;
        moon__cli_format format;
    } known[] = {
        {"text", MOON__FORMAT_TEXT},
        {"json", MOON__FORMAT_JSON},
        {"stream-json", MOON__FORMAT_STREAM},
        {"jsonl", MOON__FORMAT_STREAM},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcmp(known[i].word, word) != 0) continue;
        *format = known[i].format;
        return true;
    }
    return false;
}

void moon__cli_output_init(moon__cli_output *output, moon__cli_format format) {
    *output = (moon__cli_output){.format = format};
    moon__buf_init(&output->line, line_max);
    moon__buf_init(&output->finished_body, line_max);
}

void moon__cli_output_fini(moon__cli_output *output) {
    moon__buf_fini(&output->line);
    moon__buf_fini(&output->finished_body);
}

/* Writes text to standard output; 0, or an errno. On a terminal JSON has what the terminal would obey escaped. */
static int write_out(const moon__buf *text) {
    moon__buf safe;
    if (text->status != MOON_OK) return ENOMEM;
    if (text->len == 0) return 0;
    if (isatty(STDOUT_FILENO) != 1) return moon__cli_write(STDOUT_FILENO, text->p, text->len);
    moon__buf_init(&safe, line_max);
    moon__term_safe_json(&safe, text->p, text->len);
    int failed = safe.status != MOON_OK ? ENOMEM : moon__cli_write(STDOUT_FILENO, safe.p, safe.len);
    moon__buf_fini(&safe);
    return failed;
}

static void flush(moon__cli_output *output) {
    if (output->broken) return;
    output->broken = write_out(&output->line);
    moon__buf_reset(&output->line);
}

static void put_event_head(moon__jw *w, const char *type, const char *run, uint64_t seq, const char *path,
                           int64_t time_us) {
    char time[25];
    moon__cli_format_time(time, time_us);
    moon__jw_object(w, NULL);
    moon__jw_str(w, "type", type, SIZE_MAX);
    if (run) {
        moon__jw_str(w, "run", run, SIZE_MAX);
    } else {
        moon__jw_null(w, "run");
    }
    moon__jw_int(w, "seq", (int64_t)seq);
    moon__jw_str(w, "path", path, SIZE_MAX);
    moon__jw_str(w, "time", time, SIZE_MAX);
}

void moon__cli_output_line(moon__cli_output *output, const moon_event *event) {
    moon__jw w;
    moon__jw_init(&w, &output->line);
    put_event_head(&w, moon_event_type_text(event->type), event->run, event->seq, event->path, event->time_us);
    moon__jw_raw(&w, "body", event->body, event->body_length);
    moon__jw_end(&w);
    moon__buf_char(&output->line, '\n');
    flush(output);
}

void moon__cli_output_event(moon__cli_output *output, const moon_event *event) {
    if (output->format != MOON__FORMAT_STREAM || output->broken) return;
    if (event->type == MOON_EVENT_RUN_FINISHED && !event->path[0]) {
        output->finished_us = event->time_us;
        output->finished_seq = event->seq;
        moon__buf_reset(&output->finished_body);
        moon__buf_add(&output->finished_body, event->body, event->body_length);
        return;
    }
    moon__cli_output_line(output, event);
}

static const char *stop_reason(const moon__cli_outcome *outcome) {
    return moon_stop_text(outcome->result ? outcome->result->stop : MOON_STOP_FAILED);
}

static void put_str_or_null(moon__jw *w, const char *name, const char *text) {
    if (text) {
        moon__jw_str(w, name, text, SIZE_MAX);
    } else {
        moon__jw_null(w, name);
    }
}

static void put_usage(moon__jw *w, const moon_usage *usage) {
    moon__jw_object(w, "usage");
    moon__jw_int(w, "input_tokens", usage->input_tokens);
    moon__jw_int(w, "cached_tokens", usage->cached_tokens);
    moon__jw_int(w, "output_tokens", usage->output_tokens);
    moon__jw_int(w, "reasoning_tokens", usage->reasoning_tokens);
    if (usage->usd >= 0) moon__jw_num(w, "usd", usage->usd);
    moon__jw_int(w, "steps", usage->steps);
    moon__jw_int(w, "tool_calls", usage->tool_calls);
    moon__jw_end(w);
}

static void put_text(moon__jw *w, const moon__cli_outcome *outcome) {
    const moon_result *result = outcome->result;
    moon__jw_str(w, "text", result->text, result->text_length);
    if (outcome->json && moon__json_check(result->text, result->text_length, NULL) == MOON_OK) {
        moon__jw_raw(w, "output", result->text, result->text_length);
    }
}

static void result_json(moon__cli_output *output, const moon__cli_outcome *outcome) {
    moon__jw w;
    moon__jw_init(&w, &output->line);
    moon__jw_object(&w, NULL);
    put_str_or_null(&w, "run", outcome->run);
    moon__jw_str(&w, "stop_reason", stop_reason(outcome), SIZE_MAX);
    moon__jw_int(&w, "exit_code", outcome->exit_code);
    if (outcome->result) put_text(&w, outcome);
    put_str_or_null(&w, "error", outcome->error);
    if (outcome->result) {
        put_usage(&w, &outcome->result->usage);
        moon__jw_int(&w, "wall_ms", outcome->result->wall_ms);
        put_str_or_null(&w, "agent", outcome->result->agent);
    }
    put_str_or_null(&w, "model", outcome->model);
    moon__jw_end(&w);
    moon__buf_char(&output->line, '\n');
}

static void result_stream(moon__cli_output *output, const moon__cli_outcome *outcome) {
    moon__jw w;
    moon__jw_init(&w, &output->line);
    if (!output->finished_us) {
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        output->finished_us = (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
    }
    put_event_head(&w, moon_event_type_text(MOON_EVENT_RUN_FINISHED), outcome->run, output->finished_seq, "",
                   output->finished_us);
    moon__jw_str(&w, "stop_reason", stop_reason(outcome), SIZE_MAX);
    moon__jw_int(&w, "exit_code", outcome->exit_code);
    put_str_or_null(&w, "error", outcome->error);
    if (output->finished_body.len > 0) {
        moon__jw_raw(&w, "body", output->finished_body.p, output->finished_body.len);
    } else {
        moon__jw_object(&w, "body");
        moon__jw_end(&w);
    }
    moon__jw_end(&w);
    moon__buf_char(&output->line, '\n');
}

/* What a program reads is given as it is; a person's terminal gets no control characters of others. */
static void result_text(moon__cli_output *output, const moon__cli_outcome *outcome) {
    const moon_result *result = outcome->result;
    if (!result || result->text_length == 0) return;
    if (isatty(STDOUT_FILENO) == 1) {
        moon__term_safe(&output->line, result->text, result->text_length);
    } else {
        moon__buf_add(&output->line, result->text, result->text_length);
    }
    if (result->text[result->text_length - 1] != '\n') moon__buf_char(&output->line, '\n');
}

void moon__cli_output_result(moon__cli_output *output, const moon__cli_outcome *outcome) {
    switch (output->format) {
    case MOON__FORMAT_TEXT: result_text(output, outcome); break;
    case MOON__FORMAT_JSON: result_json(output, outcome); break;
    case MOON__FORMAT_STREAM: result_stream(output, outcome); break;
    }
    flush(output);
}

int moon__cli_output_close(moon__cli_output *output, int exit_code) {
    if (!output->broken && close(STDOUT_FILENO) != 0 && errno != EBADF) output->broken = errno;
    if (!output->broken) return exit_code;
    if (output->broken != EPIPE) moon__cli_error("cannot write the result: %s", strerror(output->broken));
    return MOON__EXIT_FAILED;
}

int moon__cli_print(moon__buf *text) {
    moon__cli_output output;
    moon__cli_output_init(&output, MOON__FORMAT_TEXT);
    output.broken = write_out(text);
    moon__buf_fini(text);
    int code = moon__cli_output_close(&output, MOON__EXIT_OK);
    moon__cli_output_fini(&output);
    return code;
}
