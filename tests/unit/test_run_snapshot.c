/* SPDX-License-Identifier: MIT */
/* When snapshots of the workspace are taken, what they are named, and what a run makes of their failures. What takes
 * them is a fake; git's is in tests/scenario/test_snapshots.py. */
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <unistd.h>

#include "fake_model.h"
#include "run.h"

/* What the fake does the n-th time; the last one goes on. */
typedef enum what { CHANGED, SAME, FAILS, UNSUPPORTED, LEAVES_OUT, WAITS, DEAF } what;

/* Of the one test that runs: what takes snapshots has no place of its own. Between two takes only. */
static struct {
    const what *plan;
    size_t n_plan;
    char said[4096]; /* "at:label<commit before " of each */
    atomic_uint taken;
    atomic_bool inside, go; /* go: lets a deaf one end */
} fake;

static moon_status fake_take(const moon_snapshot_request *r, moon_snapshot *out, moon_error *error) {
    unsigned n = atomic_load(&fake.taken);
    size_t used = strlen(fake.said);
    what now = fake.plan[n < fake.n_plan ? n : fake.n_plan - 1];
    if (atomic_exchange(&fake.inside, true)) abort(); /* one at a time */
    snprintf(fake.said + used, sizeof fake.said - used, "%llu:%s%s%s ", (unsigned long long)r->at, r->label,
             r->before ? "<" : "", r->before ? r->before->commit : "");
    atomic_store(&fake.taken, n + 1);
    while (now == WAITS && !r->cancelled(r->ctx)) usleep(1000);
    while (now == DEAF && !atomic_load(&fake.go)) usleep(1000);
    if (now == LEAVES_OUT) {
        r->left_out(r->ctx, "big", "it is big");
        r->left_out(r->ctx, "big", "it is big");
    }
    if (now == SAME)
        *out = *r->before;
    else
        *out = (moon_snapshot){.at = r->at, .files = 1};
    if (now != SAME) snprintf(out->commit, sizeof out->commit, "c%u", n);
    atomic_store(&fake.inside, false);
    if (now == FAILS) return moon_error_set(error, MOON_EIO, "the disk is tired");
    if (now == UNSUPPORTED) return moon_error_set(error, MOON_EUNSUPPORTED, "not here");
    if (now == WAITS) return moon_error_set(error, MOON_ECANCELLED, "cancelled");
    return MOON_OK;
}

static const moon_snapshot_ops fake_snapshots = {.abi = MOON_SNAPSHOT_ABI, .take = fake_take};

typedef struct fixture {
    char dir[32];
    moon_runtime *rt;
    moon_runnable *agent;
    fake_model *model;
    moon_run *run;
    moon__buf events;
    moon_run_options options;
} fixture;

static void tool(void *self, moon_call *call, const moon_json *args) {
    (void)self, (void)args;
    moon_call_printf(call, "done");
    moon_call_done(call);
}

static const moon_tool tools[] = {
    {.abi = MOON_TOOL_ABI,
     .name = "look",
     .description = "l",
     .params = "{\"type\":\"object\"}",
     .effects = MOON_READ_ONLY,
     .start = tool},
    {.abi = MOON_TOOL_ABI, .name = "change", .description = "c", .params = "{\"type\":\"object\"}", .start = tool}};

static void on_event(void *ctx, moon_run *run, const moon_event *event) {
    fixture *f = ctx;
    (void)run;
    const char *text = strstr(event->body, "\"text\":\"");
    moon__buf_printf(&f->events, "%s", moon_event_type_text(event->type));
    if (event->type == MOON_EVENT_LOG && text)
        moon__buf_printf(&f->events, "(%.*s)", (int)strcspn(text + 8, "\""), text + 8);
    moon__buf_char(&f->events, ' ');
}

static void begin(fixture *f, const char *fields, const fake_answer *answers, size_t n, const what *plan,
                  size_t n_plan) {
    moon_error error = {0};
    char journal[64], spec[256];
    moon_runtime_options options = {.size = sizeof options, .seed = 1};
    *f = (fixture){.dir = "/tmp/moonlet-snap-XXXXXX"};
    assert_non_null(mkdtemp(f->dir));
    snprintf(journal, sizeof journal, "%s/journal.db", f->dir);
    options.journal = journal;
    assert_int_equal(moon__runtime_new_clock(&f->rt, &options, &moon__clock_real, &error), MOON_OK);
    for (size_t i = 0; i < 2; i++) assert_int_equal(moon_runtime_add_tool(f->rt, &tools[i], &error), MOON_OK);
    assert_int_equal(moon_runtime_set_snapshots(f->rt, &fake_snapshots, &error), MOON_OK);
    fake.plan = plan;
    fake.n_plan = n_plan;
    fake.said[0] = 0;
    atomic_store(&fake.taken, 0);
    atomic_store(&fake.go, false);
    snprintf(spec, sizeof spec, "{\"name\":\"t\",\"tools\":[\"look\",\"change\"]%s%s}", *fields ? "," : "", fields);
    moon_json *json;
    assert_int_equal(moon__json_parse(&json, spec, strlen(spec), 0, &error), MOON_OK);
    f->model = fake_new(moon__runtime_loop(f->rt), answers, n);
    moon__agent_extra extra = {.model = &f->model->base};
    if (moon__agent_new(&f->agent, f->rt, json, &extra, &error)) fail_msg("%s", error.text);
    moon__json_free(json);
    moon__buf_init(&f->events, 1 << 20);
    f->options =
        (moon_run_options){.size = sizeof f->options, .input = "go", .allow_all = true, .on_event = on_event, .ctx = f};
}

static void step(fixture *f) {
    moon_error error = {0};
    assert_int_equal(moon_runtime_step(f->rt, 20, &error), MOON_OK);
}

static void start(fixture *f) {
    moon_error error = {0};
    if (moon_run_start(&f->run, f->rt, f->agent, &f->options, &error)) fail_msg("%s", error.text);
}

static const moon_result *finish(fixture *f) {
    for (int i = 0; i < 10000 && !moon_run_finished(f->run); i++) step(f);
    assert_true(moon_run_finished(f->run));
    return moon_run_result(f->run);
}

static void end(fixture *f) {
    char command[64];
    moon_run_unref(f->run);
    moon_runnable_unref(f->agent);
    moon__model_unref(&f->model->base);
    moon_runtime_free(f->rt);
    moon__buf_fini(&f->events);
    snprintf(command, sizeof command, "rm -r %s", f->dir);
    assert_int_equal(system(command), 0);
}

#define CALL(id, name)                                                                                                 \
    { .calls = {FAKE_CALL(id, name, "{\"id\":\"" id "\"}")}, .n_calls = 1 }

static const fake_answer three_steps[] = {CALL("a", "look"), CALL("b", "change"), CALL("c", "change"), {.text = "end"}};

static void test_run_snapshot__before_the_first_change_and_after_each_step_that_wrote(void **state) {
    (void)state;
    fixture f;
    begin(&f, "\"snapshots\":true", three_steps, 4, (what[]){CHANGED}, 1);
    start(&f);
    assert_int_equal(finish(&f)->stop, MOON_STOP_DONE);
    assert_string_equal(f.events.p, "run.created model.request model.response tool.intent tool.result model.request "
                                    "model.response snapshot.taken tool.intent tool.result snapshot.taken "
                                    "model.request model.response tool.intent tool.result snapshot.taken "
                                    "model.request model.response run.finished ");
    assert_string_equal(fake.said, "0:t: before its first change 10:t: change<c0 15:t: change<c1 ");
    end(&f);
}

static void test_run_snapshot__only_where_they_are_wanted(void **state) {
    (void)state;
    static const struct {
        const char *fields;
        bool all, always;
        unsigned taken;
    } rows[] = {
        {"", false, false, 0},
        {"", true, false, 3},
        {"", false, true, 3},
        {"\"snapshots\":false", false, true, 0},
        {"\"snapshots\":false", true, false, 3},
        {"\"snapshots\":true", false, false, 3},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        fixture f;
        begin(&f, rows[i].fields, three_steps, 4, (what[]){CHANGED}, 1);
        f.options.snapshots = rows[i].all;
        if (rows[i].always) moon__runtime_always_snapshots(f.rt);
        start(&f);
        finish(&f);
        if (atomic_load(&fake.taken) != rows[i].taken) fail_msg("row %zu: %u", i, atomic_load(&fake.taken));
        end(&f);
    }
}

static void test_run_snapshot__what_is_unchanged_has_no_event(void **state) {
    (void)state;
    fixture f;
    begin(&f, "\"snapshots\":true", three_steps, 4, (what[]){CHANGED, SAME, CHANGED}, 3);
    start(&f);
    finish(&f);
    assert_int_equal(atomic_load(&fake.taken), 3);
    const char *first = strstr(f.events.p, "snapshot.taken");
    assert_non_null(first);
    assert_non_null(strstr(first + 1, "snapshot.taken"));
    assert_null(strstr(strstr(first + 1, "snapshot.taken") + 1, "snapshot.taken"));
    end(&f);
}

static void test_run_snapshot__a_failure_is_told_and_the_run_goes_on(void **state) {
    (void)state;
    static const struct {
        what plan[3];
        unsigned taken;
        const char *told;
    } rows[] = {
        {{FAILS, FAILS, FAILS}, 3, "log(no snapshot of the workspace was taken: the disk is tired) "},
        {{UNSUPPORTED}, 1, "log(no snapshots of the workspace are taken: not here) "},
        {{LEAVES_OUT, LEAVES_OUT, LEAVES_OUT}, 3, "log(big is left out of snapshots: it is big) "},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        fixture f;
        begin(&f, "\"snapshots\":true", three_steps, 4, rows[i].plan, 3);
        start(&f);
        assert_int_equal(finish(&f)->stop, MOON_STOP_DONE);
        assert_int_equal(atomic_load(&fake.taken), rows[i].taken);
        const char *told = strstr(f.events.p, rows[i].told);
        if (!told || strstr(told + 1, "log(")) fail_msg("row %zu: %s", i, f.events.p);
        end(&f);
    }
}

static void test_run_snapshot__a_run_that_is_not_kept_has_none(void **state) {
    (void)state;
    fixture f;
    begin(&f, "\"snapshots\":true", three_steps, 4, (what[]){CHANGED}, 1);
    f.options.forget = true;
    start(&f);
    assert_int_equal(finish(&f)->stop, MOON_STOP_DONE);
    assert_int_equal(atomic_load(&fake.taken), 0);
    assert_non_null(strstr(f.events.p, "log(no snapshots of the workspace are taken: the run is not kept"));
    end(&f);
}

static void test_run_snapshot__without_what_takes_them_the_run_says_so(void **state) {
    (void)state;
    fixture f;
    moon_error error = {0};
    begin(&f, "\"snapshots\":true", three_steps, 4, (what[]){CHANGED}, 1);
    const moon_snapshot_ops old = {.abi = MOON_SNAPSHOT_ABI + 1};
    assert_int_equal(moon_runtime_set_snapshots(f.rt, &old, &error), MOON_EINVAL);
    assert_int_equal(moon_runtime_set_snapshots(f.rt, NULL, &error), MOON_OK);
    start(&f);
    assert_int_equal(finish(&f)->stop, MOON_STOP_DONE);
    assert_non_null(strstr(f.events.p, "log(no snapshots of the workspace are taken: this program has nothing"));
    end(&f);
}

static void test_run_snapshot__cancelling_ends_one_that_is_taken(void **state) {
    (void)state;
    for (unsigned at = 1; at <= 2; at++) { /* before the first call, and after it */
        fixture f;
        begin(&f, "\"snapshots\":true", three_steps + 1, 3, (what[]){at == 1 ? WAITS : CHANGED, WAITS}, 2);
        start(&f);
        while (atomic_load(&fake.taken) < at) step(&f);
        moon_run_cancel(f.run);
        assert_int_equal(finish(&f)->stop, MOON_STOP_INTERRUPTED);
        assert_int_equal(strstr(f.events.p, "tool.intent") != NULL, at == 2);
        end(&f);
    }
}

static void test_run_snapshot__one_that_does_not_come_back_is_left(void **state) {
    (void)state;
    fixture f;
    begin(&f, "\"snapshots\":true", three_steps, 4, (what[]){CHANGED, DEAF}, 2);
    start(&f);
    while (atomic_load(&fake.taken) < 2) step(&f);
    moon_run_cancel(f.run);
    assert_int_equal(finish(&f)->stop, MOON_STOP_INTERRUPTED);
    atomic_store(&fake.go, true);
    while (atomic_load(&fake.inside)) usleep(1000);
    end(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_run_snapshot__before_the_first_change_and_after_each_step_that_wrote),
        cmocka_unit_test(test_run_snapshot__only_where_they_are_wanted),
        cmocka_unit_test(test_run_snapshot__what_is_unchanged_has_no_event),
        cmocka_unit_test(test_run_snapshot__a_failure_is_told_and_the_run_goes_on),
        cmocka_unit_test(test_run_snapshot__a_run_that_is_not_kept_has_none),
        cmocka_unit_test(test_run_snapshot__without_what_takes_them_the_run_says_so),
        cmocka_unit_test(test_run_snapshot__cancelling_ends_one_that_is_taken),
        cmocka_unit_test(test_run_snapshot__one_that_does_not_come_back_is_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
