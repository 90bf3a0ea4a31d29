/* SPDX-License-Identifier: MIT */
#include "kept.h"

#include "cli.h"
#include "term.h"
#include "text.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

int moon__cli_kept_open(moon_runtime **runtime, const char *journal, const char *workspace) {
    moon_error error = {0};
    moon_runtime_options options = {.size = sizeof options,
                                    .workspace = workspace,
                                    .config = "",
                                    .journal = journal ? journal : "",
                                    .notice = moon__cli_notice};
    moon_status status = moon_runtime_new(runtime, &options, &error);
    if (status != MOON_OK) return moon__cli_fail(&error);
    if (moon_runtime_journal(*runtime)) return MOON__EXIT_OK;
    moon_runtime_free(*runtime);
    *runtime = NULL;
    moon__cli_error("no runs are kept here: MOONLET_JOURNAL is \"off\", or there is no folder to keep them in");
    return MOON__EXIT_USAGE;
}

static bool keep(moon__cli_found *found, const moon_run_info *info) {
    moon__cli_found_fini(found);
    snprintf(found->id, sizeof found->id, "%s", info->run);
    found->workspace = moon__strdup(info->workspace);
    found->name = moon__strdup(info->name);
    found->stop = moon__strdup(info->stop);
    found->state = info->state;
    found->resumable = info->resumable;
    found->claimed = info->claimed;
    return found->workspace && found->name && found->stop;
}

typedef struct search {
    const char *text;
    moon__cli_found *found;
    bool failed;
} search;

static bool on_info(void *ctx, const moon_run_info *info) {
    search *s = ctx;
    bool fits = s->text ? strncmp(info->run, s->text, strlen(s->text)) == 0 : info->resumable && !info->claimed;
    if (!fits) return true;
    if (s->found->n++ == 0) s->failed = !keep(s->found, info);
    return !s->failed && s->text;
}

int moon__cli_kept_find(moon_runtime *runtime, const char *text, moon__cli_found *found) {
    moon_error error = {0};
    search s = {.text = text, .found = found};
    moon_query query = {.run = text, .state = -1}; /* a whole id is found at once */
    moon_status status = moon_runtime_runs(runtime, &query, on_info, &s, &error);
    query.run = NULL;
    if (status == MOON_OK && text && found->n == 0) status = moon_runtime_runs(runtime, &query, on_info, &s, &error);
    if (status != MOON_OK) return moon__cli_fail(&error);
    const char *journal = moon_runtime_journal(runtime);
    if (s.failed)
        moon__cli_error("out of memory");
    else if (found->n == 0 && text)
        moon__cli_error("no run's id begins with \"%s\" in %s; `moonlet runs` lists them", text, journal);
    else if (found->n == 0)
        moon__cli_error("no run in %s can be resumed; `moonlet runs` lists them", journal);
    else if (found->n > 1 && text && strlen(text) < strlen(found->id))
        moon__cli_error("the ids of %u runs begin with \"%s\"; give more of it", found->n, text);
    else
        return MOON__EXIT_OK;
    return s.failed ? MOON__EXIT_FAILED : MOON__EXIT_USAGE;
}

static bool on_newest(void *ctx, const moon_run_info *info) {
    search *s = ctx;
    s->failed = !keep(s->found, info);
    s->found->n = 1;
    return false;
}

int moon__cli_kept_newest(moon_runtime *runtime, const char *workspace, moon__cli_found *found) {
    moon_error error = {0};
    char here[PATH_MAX];
    search s = {.found = found};
    if (!realpath(workspace ? workspace : ".", here)) {
        moon__cli_error("no directory %s", workspace ? workspace : ".");
        return MOON__EXIT_USAGE;
    }
    moon_query query = {.workspace = here, .state = -1, .limit = 1};
    moon_status status = moon_runtime_runs(runtime, &query, on_newest, &s, &error);
    if (status != MOON_OK) return moon__cli_fail(&error);
    if (s.failed) moon__cli_error("out of memory");
    if (found->n == 0) moon__cli_error("no run of %s is kept; `moonlet runs` lists all", here);
    return s.failed ? MOON__EXIT_FAILED : found->n == 0 ? MOON__EXIT_USAGE : MOON__EXIT_OK;
}

int64_t moon__cli_now_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static bool add_due(void *ctx, const char *run, int64_t due_us) {
    moon__cli_due *due = ctx;
    (void)due_us;
    for (size_t i = 0; i < due->n; i++)
        if (strcmp(due->ids[i], run) == 0) return true;
    if (due->n == due->room) {
        size_t room = due->room ? due->room * 2 : 64;
        void *more = realloc(due->ids, room * sizeof *due->ids);
        if (!more) return false; /* the others are due next time, too */
        due->ids = more;
        due->room = room;
    }
    snprintf(due->ids[due->n++], sizeof *due->ids, "%s", run);
    return true;
}

static bool can_go_on(void *ctx, const moon_run_info *info) {
    *(bool *)ctx = !info->claimed && info->resumable && info->state != MOON_RUN_FINISHED;
    return false;
}

moon_status moon__cli_kept_due(moon_runtime *runtime, moon__cli_due *due, moon_error *error) {
    size_t left = 0;
    moon_status status = moon_runtime_due(runtime, moon__cli_now_us(), add_due, due, error);
    for (size_t i = 0; status == MOON_OK && i < due->n; i++) {
        bool fits = false;
        moon_query query = {.run = due->ids[i], .state = -1, .limit = 1};
        status = moon_runtime_runs(runtime, &query, can_go_on, &fits, error);
        if (fits) memmove(due->ids[left++], due->ids[i], sizeof *due->ids);
    }
    due->n = left;
    return status;
}

void moon__cli_found_fini(moon__cli_found *found) {
    free(found->workspace);
    free(found->name);
    free(found->stop);
    found->workspace = found->name = found->stop = NULL;
}

const char *moon__cli_state_word(moon_run_state state, bool claimed, const char *stop) {
    if (claimed) return "running";
    switch (state) {
    case MOON_RUN_RUNNING: return "died"; /* nobody drives it, and it has not said why */
    case MOON_RUN_WAITING: return "waiting";
    case MOON_RUN_FINISHED: break;
    }
    return stop;
}

void moon__cli_format_time(char text[24 + 1], int64_t time_us) {
    time_t seconds = (time_t)(time_us / 1000000);
    struct tm tm;
    if (!gmtime_r(&seconds, &tm)) tm = (struct tm){.tm_year = 70, .tm_mday = 1};
    size_t n = strftime(text, 21, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(text + n, 25 - n, ".%03dZ", (int)(time_us / 1000 % 1000));
}
