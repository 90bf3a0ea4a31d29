/* SPDX-License-Identifier: MIT */
/*
 * Conversations over HTTP, without HTTP: this program has its own moon__http_… functions, so that the linker leaves out
 * the library's. Requests are recorded and answered from a script, from the loop, under a clock that jumps.
 */
#include "loop_clock.h"
#include "model_kit.h"
#include "models.h"

#define D(json) "data: " json "\n\n"
#define SAY(text)                                                                                                      \
    D("{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"" text "\"},\"finish_reason\":null}]}")                     \
    D("{\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}") D("[DONE]")

/* ---- the server ---- */

typedef struct turn {
    int http; /* 0: 200 */
    const char *headers[3][2];
    const char *body;
    moon_status status; /* of the transfer */
    bool partial;
    bool open; /* the response does not end */
} turn;

struct moon__http_request {
    moon__http_options options;
    char url[128], headers[512];
    moon__defer defer;
    const turn *turn;
    bool in_data;
};

typedef struct test {
    fake_clock clock;
    moon__loop *loop;
    moon__random random;
    moon__models *models;
    moon__model *model;
    moon__chat *chat;
    moon__chat_settings settings;
    const turn *turns;
    size_t n_turns, asked;
    size_t live;        /* requests */
    moon_status refuse; /* moon__http_start fails with this */
    char *bodies[8];
    const char *body_at[8];
    char url[128], headers[512];
    /* what the asker saw */
    moon__buf log; /* "<delta> !retry wait; …" */
    int64_t waits[8];
    size_t n_waits, done;
    moon_status status;
    moon_error error;
    moon__buf answer;
    char model_name[64];
    double usd;
    void (*on_delta)(struct test *t); /* what a callback does besides */
    void (*on_retry)(struct test *t);
    void (*on_done)(struct test *t);
} test;

struct moon__http {
    moon__loop *loop;
};
static test *server; /* the http functions below have no other way to it */

moon_status moon__http_new(moon__http **out, moon__loop *loop, moon_error *error) {
    (void)error;
    *out = malloc(sizeof **out);
    assert_non_null(*out);
    (*out)->loop = loop;
    return MOON_OK;
}

void moon__http_free(moon__http *http) {
    free(http);
}

moon_status moon__http_version(moon__http *http, const char **text, moon_error *error) {
    (void)http, (void)error;
    *text = "none";
    return MOON_OK;
}

static void end_request(moon__http_request *r, moon_status status, bool partial) {
    moon__http_response response = {.status = status, .http = r->turn->http ? r->turn->http : 200, .partial = partial};
    if (status) moon_error_set(&response.error, status, "connection refused");
    if (status == MOON_ENET) response.http = 0;
    r->options.on_done(r->options.ctx, &response);
    server->live--;
    free(r);
}

static void answer_request(void *ctx) {
    moon__http_request *r = ctx;
    const turn *now = r->turn;
    size_t n = now->body ? strlen(now->body) : 0;
    for (size_t i = 0; i < 3 && now->headers[i][0]; i++)
        r->options.on_header(r->options.ctx, now->headers[i][0], now->headers[i][1]);
    for (size_t at = 0; at < n; at += 7) {
        r->in_data = true;
        bool more =
            r->options.on_data(r->options.ctx, now->http ? now->http : 200, now->body + at, n - at < 7 ? n - at : 7);
        r->in_data = false;
        if (!more) {
            end_request(r, MOON_ECANCELLED, false);
            return;
        }
    }
    if (!now->open) end_request(r, now->status, now->partial);
}

moon_status moon__http_start(moon__http_request **out, moon__http *http, const moon__http_options *options,
                             moon_error *error) {
    if (server->refuse) return moon_error_set(error, server->refuse, "refused");
    moon__http_request *r = calloc(1, sizeof *r);
    assert_non_null(r);
    assert_true(server->asked < server->n_turns);
    r->options = *options;
    snprintf(server->url, sizeof server->url, "%s", options->url);
    server->headers[0] = '\0';
    for (size_t i = 0; i < options->n_headers; i++)
        snprintf(server->headers + strlen(server->headers), sizeof server->headers - strlen(server->headers), "%s\n",
                 options->headers[i]);
    server->bodies[server->asked] = strndup(options->body, options->body_length);
    server->body_at[server->asked] = options->body;
    r->turn = &server->turns[server->asked++];
    r->defer = (moon__defer){.fn = answer_request, .ctx = r};
    moon__defer_call(http->loop, &r->defer);
    server->live++;
    *out = r;
    return MOON_OK;
}

void moon__http_cancel(moon__http_request *request) {
    assert_false(request->in_data);
    moon__defer_cancel(server->loop, &request->defer);
    server->live--;
    free(request);
}

/* ---- the asker ---- */

static const moon_wire_tool tools[] = {{.name = "file.read", .params = "{\"type\":\"object\"}"}};

static void on_delta(void *ctx, moon__delta kind, const char *text, size_t n) {
    test *t = ctx;
    assert_true(t->done == 0);
    moon__buf_printf(&t->log, "<%s%.*s>", kind == MOON__DELTA_CALL ? "call " : "", (int)n, text);
    if (t->on_delta) t->on_delta(t);
}

static void on_retry(void *ctx, int attempt, int64_t wait_ms, const moon_error *why) {
    test *t = ctx;
    assert_int_equal(attempt, t->n_waits + 1);
    assert_true(why->code == MOON_ENET || why->code == MOON_EPROVIDER);
    t->waits[t->n_waits++] = wait_ms;
    moon__buf_str(&t->log, "!");
    if (t->on_retry) t->on_retry(t);
}

static void on_done(void *ctx, moon_status status, const moon__answer *answer, const moon_error *error) {
    test *t = ctx;
    t->done++;
    t->status = status;
    if (t->on_done) t->on_done(t); /* may ask again or close: the answer must stay */
    if (status) {
        t->error = *error;
        assert_int_equal(error->code, status);
        assert_null(answer);
        return;
    }
    kit_print(&t->answer, answer);
    t->usd = answer->usage.usd;
    snprintf(t->model_name, sizeof t->model_name, "%s", answer->model);
}

static moon_status ask(test *t, bool deltas) {
    moon__ask record = {.lane = 3, .deltas = deltas, .delta = on_delta, .retry = on_retry, .done = on_done, .ctx = t};
    moon_error error;
    moon__buf_reset(&t->answer);
    return t->chat->model->ops->ask(t->chat, &record, &error);
}

static void append(test *t, moon_role role, const char *text) {
    moon_error error;
    moon_message message = {.role = role, .text = text, .text_length = strlen(text)};
    assert_int_equal(t->model->ops->append(t->chat, &message, &error), MOON_OK);
}

static void run_until_done(test *t, size_t times) {
    for (int i = 0; i < 1000 && t->done < times; i++) moon__loop_step(t->loop, 0);
    for (int i = 0; i < 1000 && t->done < times; i++) moon__loop_step(t->loop, -1);
    assert_int_equal(t->done, times);
}

static void use_model(test *t, const moon__http_model *given) {
    moon_error error;
    moon__http_model options = {.name = "p/m1",
                                .wire_model = "m1",
                                .base_url = "http://u:pw@host:1/v1/",
                                .key = "sk-secret-0123456789",
                                .key_name = "TEST_KEY",
                                .provider = &moon__openai_chat,
                                .price = {1, 0.1, 10}};
    assert_int_equal(moon__http_model_new(&t->model, t->models, given ? given : &options, &error), MOON_OK);
}

static void open_chat(test *t) {
    moon_error error;
    if (!t->model) use_model(t, NULL);
    assert_int_equal(t->model->ops->open(t->model, &t->settings, &t->chat, &error), MOON_OK);
}

static void close_chat(test *t) {
    if (t->chat) t->model->ops->close(t->chat);
    t->chat = NULL;
}

static int setup(void **state) {
    test *t = calloc(1, sizeof *t);
    moon_error error;
    if (!t) return -1;
    fake_clock_init(&t->clock);
    if (moon__loop_new(&t->loop, &t->clock.clock, &error)) return -1;
    moon__random_init(&t->random, 1);
    if (moon__models_new(&t->models, t->loop, &t->random, &error)) return -1;
    t->settings = (moon__chat_settings){.wire = {.stream = true,
                                                 .temperature = -1,
                                                 .top_p = -1,
                                                 .max_output_tokens = -1,
                                                 .seed = -1,
                                                 .tools = tools,
                                                 .n_tools = 1},
                                        .max_retries = -1};
    moon__buf_init(&t->log, 65536);
    moon__buf_init(&t->answer, 65536);
    server = t;
    *state = t;
    return 0;
}

static int teardown(void **state) {
    test *t = *state;
    close_chat(t);
    for (int i = 0; i < 5; i++) moon__loop_step(t->loop, 0);
    assert_int_equal(t->live, 0);
    moon__model_unref(t->model);
    moon__models_free(t->models);
    moon__loop_free(t->loop);
    moon__buf_fini(&t->log);
    moon__buf_fini(&t->answer);
    for (size_t i = 0; i < t->asked; i++) free(t->bodies[i]);
    free(t);
    return 0;
}

static void script(test *t, const turn *turns, size_t n) {
    t->turns = turns;
    t->n_turns = n;
}
#define SCRIPT(t, ...)                                                                                                 \
    static const turn turns_[] = {__VA_ARGS__};                                                                        \
    script(t, turns_, sizeof turns_ / sizeof *turns_)

static void expect_end(const char *text, const char *end) {
    size_t n = strlen(text), m = strlen(end);
    assert_true(n >= m);
    assert_string_equal(text + n - m, end);
}

/* ---- requests ---- */

#define HEAD                                                                                                           \
    "{\"model\":\"m1\",\"stream\":true,\"stream_options\":{\"include_usage\":true},\"tools\":[{\"type\":\"function\"," \
    "\"function\":{\"name\":\"file_read\",\"parameters\":{\"type\":\"object\"}}}],\"messages\":["
#define FIRST "{\"role\":\"system\",\"content\":\"be brief\"},{\"role\":\"user\",\"content\":\"hi\"}"
#define SECOND                                                                                                         \
    ",{\"role\":\"assistant\",\"content\":\"one\",\"tool_calls\":[{\"id\":\"x\",\"type\":\"function\",\"function\":{"  \
    "\"name\":\"file_read\",\"arguments\":\"{}\"}}]},{\"role\":\"tool\",\"tool_call_id\":\"x\",\"content\":\"data\"}"

static void test_chat_http__requests_grow_at_the_end(void **state) {
    test *t = *state;
    moon_error error;
    SCRIPT(t, {.body = SAY("one")}, {.body = SAY("two")}, {.body = SAY("three")});
    open_chat(t);
    append(t, MOON_SYSTEM, "be brief");
    append(t, MOON_USER, "hi");
    assert_int_equal(ask(t, false), MOON_OK);
    assert_int_equal(t->done, 0);
    run_until_done(t, 1);
    assert_string_equal(t->answer.p, "one|||stop|0/0/0/0");
    assert_string_equal(t->model_name, "p/m1");
    assert_string_equal(t->bodies[0], HEAD FIRST "]}");
    assert_string_equal(t->url, "http://u:pw@host:1/v1/chat/completions");
    assert_string_equal(t->headers, "Content-Type: application/json\nAccept: application/json\nAuthorization: Bearer "
                                    "sk-secret-0123456789\nUser-Agent: moonlet/" MOON_VERSION "\n");
    assert_string_equal(t->model->base_url, "http://host:1/v1");
    moon_tool_use call = {.id = "x", .name = "file.read", .arguments = "{}", .arguments_length = 2};
    moon_message message = {.role = MOON_ASSISTANT,
                            .text = "one",
                            .text_length = 3,
                            .calls = &call,
                            .n_calls = 1,
                            .reasoning = "not sent back",
                            .reasoning_length = 13};
    assert_int_equal(t->model->ops->append(t->chat, &message, &error), MOON_OK);
    message = (moon_message){.role = MOON_TOOL_ROLE, .call_id = "x", .text = "data", .text_length = 4};
    assert_int_equal(t->model->ops->append(t->chat, &message, &error), MOON_OK);
    assert_int_equal(ask(t, false), MOON_OK);
    run_until_done(t, 2);
    assert_string_equal(t->bodies[1], HEAD FIRST SECOND "]}");
    assert_int_equal(ask(t, false), MOON_OK); /* again, with nothing new */
    run_until_done(t, 3);
    assert_string_equal(t->bodies[2], t->bodies[1]);
    assert_ptr_equal(t->body_at[2], t->body_at[1]); /* the same bytes, not a copy */
}

static void test_chat_http__defaults_and_extra_members(void **state) {
    test *t = *state;
    SCRIPT(t, {.body = SAY("x")});
    moon_wire_settings defaults = {.temperature = 0.5, .top_p = 0.25, .seed = -1, .reasoning_effort = "low"};
    moon__http_model options = {.name = "p/m1",
                                .wire_model = "m1",
                                .base_url = "http://h/v1",
                                .provider = &moon__openai_chat_official,
                                .extra = "\"user\":\"profile\",\"n\":1",
                                .max_output_tokens = 50,
                                .defaults = &defaults,
                                .send_reasoning = true};
    use_model(t, &options);
    t->settings.wire.temperature = 0;
    t->settings.wire.extra = "\"user\" : \"agent\"";
    t->settings.wire.n_tools = 0;
    open_chat(t);
    moon_error error;
    moon_message message = {.role = MOON_ASSISTANT, .text = "", .reasoning = "hm", .reasoning_length = 2};
    assert_int_equal(t->model->ops->append(t->chat, &message, &error), MOON_OK);
    assert_int_equal(ask(t, false), MOON_OK);
    run_until_done(t, 1);
    assert_string_equal(
        t->bodies[0],
        "{\"model\":\"m1\",\"stream\":true,\"stream_options\":{\"include_usage\":true},\"temperature\":0,"
        "\"top_p\":0.25,\"max_completion_tokens\":50,\"reasoning_effort\":\"low\",\"user\":\"agent\",\"n\":1,"
        "\"messages\":[{\"role\":\"assistant\",\"content\":\"\",\"reasoning_content\":\"hm\"}]}");
    assert_null(strstr(t->headers, "Authorization"));
    assert_null(t->model->key_name);
}

static void expect_open_fails(test *t, const char *text) {
    moon_error error;
    moon__chat *chat;
    if (!t->model) use_model(t, NULL);
    assert_int_equal(t->model->ops->open(t->model, &t->settings, &chat, &error), MOON_EINVAL);
    if (!strstr(error.text, text)) fail_msg("%s", error.text);
}

static void test_chat_http__bad_settings_are_refused_at_open(void **state) {
    test *t = *state;
    static const moon_wire_tool colliding[] = {{.name = "a.b"}, {.name = "a_b"}};
    t->settings.wire.extra = "\"a\":";
    expect_open_fails(t, "no JSON");
    t->settings.wire.extra = "\"a\":1},{\"b\":1";
    expect_open_fails(t, "no JSON");
    t->settings.wire.extra = "\"messages\":[]";
    expect_open_fails(t, "\"messages\" is not theirs");
    t->settings.wire.extra = NULL;
    t->settings.wire.tools = colliding;
    t->settings.wire.n_tools = 2;
    expect_open_fails(t, "both");
}

static void test_chat_http__conversation_over_its_ceiling(void **state) {
    test *t = *state;
    moon_error error;
    size_t n = (size_t)40 << 20;
    char *big = malloc(n);
    assert_non_null(big);
    memset(big, 'x', n);
    SCRIPT(t, {.body = SAY("x")});
    open_chat(t);
    append(t, MOON_USER, "hi");
    moon_message message = {.role = MOON_USER, .text = big, .text_length = n};
    assert_int_equal(t->model->ops->append(t->chat, &message, &error), MOON_OK);
    assert_int_equal(t->model->ops->append(t->chat, &message, &error), MOON_ELIMIT);
    assert_string_equal(error.text, "the conversation is over 64 MiB");
    free(big);
    append(t, MOON_USER, "still sound"); /* what did not fit is not in it */
    assert_int_equal(ask(t, false), MOON_OK);
    run_until_done(t, 1);
    expect_end(t->bodies[0], "{\"role\":\"user\",\"content\":\"still sound\"}]}");
}

static void test_chat_http__cost(void **state) {
    test *t = *state;
    SCRIPT(t,
           {.body = D("{\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":1000000,"
                      "\"completion_tokens\":100000,\"prompt_tokens_details\":{\"cached_tokens\":500000}}}")},
           {.body = D("{\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":1,"
                      "\"cost\":0.25}}")},
           {.body = SAY("no usage")});
    open_chat(t);
    append(t, MOON_USER, "hi");
    static const double usd[] = {0.5 * 1 + 0.5 * 0.1 + 0.1 * 10, 0.25, -1};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(ask(t, false), MOON_OK);
        run_until_done(t, i + 1);
        assert_true(t->usd > usd[i] - 1e-9 && t->usd < usd[i] + 1e-9);
    }
}

/* ---- deltas and names ---- */

#define CALLS                                                                                                          \
    D("{\"choices\":[{\"delta\":{\"content\":\"a\",\"reasoning\":\"r\",\"tool_calls\":[{\"index\":0,\"id\":\"\","      \
      "\"function\":{"                                                                                                 \
      "\"name\":\"file_read\",\"arguments\":\"{\"}}]}}]}")                                                             \
    D("{\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"}\"}}]},\"finish_"         \
      "reason\":\"stop\"}]}")

static void test_chat_http__deltas_where_wanted(void **state) {
    test *t = *state;
    SCRIPT(t, {.body = CALLS}, {.body = CALLS});
    open_chat(t);
    append(t, MOON_USER, "hi");
    assert_int_equal(ask(t, false), MOON_OK);
    run_until_done(t, 1);
    assert_int_equal(t->log.len, 0);
    assert_string_equal(t->answer.p, "a|r|call_1 file.read({})|stop|0/0/0/0");
    t->done = 0;
    assert_int_equal(ask(t, true), MOON_OK);
    run_until_done(t, 1);
    assert_string_equal(t->log.p, "<r><a><call file.read>");
    assert_string_equal(t->answer.p,
                        "a|r|call_2 file.read({})|stop|0/0/0/0"); /* made ids differ within a conversation */
}

/* ---- asking again ---- */

static void test_chat_http__waits_and_asks_again(void **state) {
    test *t = *state;
    SCRIPT(t, {.http = 500, .body = "oops"}, {.http = 429, .headers = {{"retry-after", "2"}}, .body = ""},
           {.http = 503, .headers = {{"retry-after-ms", "1500"}, {"retry-after", "9"}}},
           {.body = D("{\"choices\":[{\"delta\":{\"content\":\"lost\"}}]}"), .partial = true},
           {.headers = {{"content-type", "text/event-stream"}}, .body = SAY("found")});
    open_chat(t);
    append(t, MOON_USER, "hi");
    int64_t began = moon__loop_now(t->loop), expected = 0;
    assert_int_equal(ask(t, true), MOON_OK);
    run_until_done(t, 1);
    assert_string_equal(t->answer.p, "found|||stop|0/0/0/0");
    assert_string_equal(t->log.p, "!!!<lost>!<found>");
    assert_int_equal(t->n_waits, 4);
    assert_in_range(t->waits[0], 375, 500);
    assert_int_equal(t->waits[1], 2000);
    assert_int_equal(t->waits[2], 1500);
    assert_in_range(t->waits[3], 3000, 4000);
    for (size_t i = 0; i < 4; i++) expected += t->waits[i] * 1000;
    assert_int_equal(moon__loop_now(t->loop) - began, expected);
    for (size_t i = 1; i < 5; i++) assert_string_equal(t->bodies[i], t->bodies[0]);
}

static void test_chat_http__gives_up_after_four_retries(void **state) {
    test *t = *state;
    SCRIPT(t, {.status = MOON_ENET}, {.status = MOON_ETIMEOUT, .body = D("{}")}, {.status = MOON_ENET},
           {.status = MOON_ENET}, {.status = MOON_ENET});
    open_chat(t);
    append(t, MOON_USER, "hi");
    assert_int_equal(ask(t, false), MOON_OK);
    run_until_done(t, 1);
    assert_int_equal(t->asked, 5);
    assert_int_equal(t->n_waits, 4);
    assert_int_equal(t->status, MOON_ENET);
    assert_string_equal(t->error.text, "connection refused (tried 5 times)");
    for (size_t i = 0; i < 4; i++) assert_in_range(t->waits[i], 375 << i, 500 << i);
}

static void test_chat_http__number_of_retries_is_a_setting(void **state) {
    test *t = *state;
    SCRIPT(t, {.http = 500, .body = ""}, {.http = 500, .body = ""});
    t->settings.max_retries = 1;
    open_chat(t);
    append(t, MOON_USER, "hi");
    assert_int_equal(ask(t, false), MOON_OK);
    run_until_done(t, 1);
    assert_int_equal(t->asked, 2);
    assert_int_equal(t->error.cause, 500);
}

static void test_chat_http__what_does_not_pass_is_not_asked_again(void **state) {
    test *t = *state;
    SCRIPT(t, {.http = 401, .body = "{\"error\":{\"message\":\"bad key sk-secret-0123456789\"}}"},
           {.http = 400, .body = "x"},
           {.http = 429, .body = "{\"error\":{\"message\":\"pay\",\"code\":\"insufficient_quota\"}}"},
           {.http = 500, .headers = {{"x-should-retry", "false"}}, .body = ""}, {.body = "<html>"},
           {.body = D("{\"error\":{\"message\":\"no\"}}")}, {.status = MOON_EUNSUPPORTED});
    open_chat(t);
    append(t, MOON_USER, "hi");
    for (size_t i = 0; i < 7; i++) {
        assert_int_equal(ask(t, false), MOON_OK);
        run_until_done(t, i + 1);
        assert_int_equal(t->asked, i + 1);
        assert_int_equal(t->status, i < 6 ? MOON_EPROVIDER : MOON_ENET);
        assert_null(strstr(t->error.text, "secret"));
        assert_null(strstr(t->error.text, "pw"));
    }
}

static void test_chat_http__a_long_wait_is_not_waited(void **state) {
    test *t = *state;
    SCRIPT(t, {.http = 429, .headers = {{"retry-after", "3600"}}, .body = "{\"error\":{\"message\":\"daily limit\"}}"});
    open_chat(t);
    append(t, MOON_USER, "hi");
    assert_int_equal(ask(t, false), MOON_OK);
    run_until_done(t, 1);
    assert_int_equal(t->status, MOON_EPROVIDER);
    assert_int_equal(t->error.cause, 429);
    assert_non_null(strstr(t->error.text, "daily limit (the server asks to wait 3600 s)"));
}

static void refuse_next(test *t) {
    t->refuse = MOON_EUNSUPPORTED;
}

static void test_chat_http__failure_to_start(void **state) {
    test *t = *state;
    SCRIPT(t, {.http = 500, .body = ""});
    open_chat(t);
    append(t, MOON_USER, "hi");
    t->refuse = MOON_EUNSUPPORTED;
    assert_int_equal(ask(t, false), MOON_EUNSUPPORTED); /* at once: no done */
    t->refuse = MOON_OK;
    t->on_retry = refuse_next;
    assert_int_equal(ask(t, false), MOON_OK);
    run_until_done(t, 1); /* later: done */
    assert_int_equal(t->status, MOON_EUNSUPPORTED);
    t->refuse = MOON_OK;
}

/* ---- ends ---- */

static void test_chat_http__a_server_that_does_not_hang_up(void **state) {
    test *t = *state;
    SCRIPT(t, {.body = SAY("x"), .open = true}, {.body = SAY("y")});
    open_chat(t);
    append(t, MOON_USER, "hi");
    int64_t began = moon__loop_now(t->loop);
    assert_int_equal(ask(t, false), MOON_OK);
    run_until_done(t, 1);
    assert_string_equal(t->answer.p, "x|||stop|0/0/0/0");
    assert_int_equal(moon__loop_now(t->loop) - began, 1000000);
    assert_int_equal(t->live, 0);
}

static void cancel_now(test *t) {
    t->model->ops->cancel(t->chat);
}

/* No callback after cancel, and the chat can be asked anew. */
static void expect_silence(test *t, size_t log) {
    for (int i = 0; i < 20; i++) moon__loop_step(t->loop, 0);
    t->clock.now_us += 60 * 1000000;
    for (int i = 0; i < 20; i++) moon__loop_step(t->loop, 0);
    assert_int_equal(t->done, 0);
    assert_int_equal(t->log.len, log);
    assert_int_equal(t->live, 0);
}

static void test_chat_http__cancel(void **state) {
    test *t = *state;
    SCRIPT(t, {.body = SAY("x")}, {.body = SAY("x"), .open = true}, {.body = SAY("y")});
    open_chat(t);
    append(t, MOON_USER, "hi");
    cancel_now(t); /* nothing to cancel */
    assert_int_equal(ask(t, true), MOON_OK);
    assert_int_equal(ask(t, true), MOON_EINVAL); /* one at a time */
    cancel_now(t);
    expect_silence(t, 0);
    assert_int_equal(ask(t, true), MOON_OK);
    moon__loop_step(t->loop, 0);
    cancel_now(t); /* while the server lingers */
    expect_silence(t, 3);
    append(t, MOON_USER, "ho");
    assert_int_equal(ask(t, false), MOON_OK);
    run_until_done(t, 1);
    assert_string_equal(t->answer.p, "y|||stop|0/0/0/0");
}

static void test_chat_http__cancel_while_waiting(void **state) {
    test *t = *state;
    SCRIPT(t, {.http = 500, .body = ""}, {.http = 500, .body = ""}, {.body = SAY("y")});
    open_chat(t);
    append(t, MOON_USER, "hi");
    t->on_retry = cancel_now;
    assert_int_equal(ask(t, true), MOON_OK);
    expect_silence(t, 1);
    t->on_retry = close_chat;
    t->n_waits = 0;
    assert_int_equal(ask(t, true), MOON_OK);
    expect_silence(t, 2);
}

static void test_chat_http__cancel_from_a_delta(void **state) {
    test *t = *state;
    SCRIPT(t, {.body = SAY("x") SAY("more")}, {.body = SAY("y")});
    open_chat(t);
    append(t, MOON_USER, "hi");
    t->on_delta = cancel_now;
    assert_int_equal(ask(t, true), MOON_OK);
    expect_silence(t, 3);
    assert_int_equal(ask(t, false), MOON_OK);
    run_until_done(t, 1);
}

static void test_chat_http__close_from_a_delta(void **state) {
    test *t = *state;
    SCRIPT(t, {.body = CALLS CALLS});
    open_chat(t);
    append(t, MOON_USER, "hi");
    t->on_delta = close_chat;
    assert_int_equal(ask(t, true), MOON_OK);
    expect_silence(t, 3);
    assert_null(t->chat);
}

/* An answer in one piece is decoded when all has come: its deltas stand elsewhere on the stack. */
static void test_chat_http__close_from_a_delta_of_a_whole_body(void **state) {
    test *t = *state;
    SCRIPT(t, {.body =
                   "{\"choices\":[{\"message\":{\"content\":\"x\",\"reasoning\":\"r\"},\"finish_reason\":\"stop\"}]}"});
    open_chat(t);
    append(t, MOON_USER, "hi");
    t->on_delta = close_chat;
    assert_int_equal(ask(t, true), MOON_OK);
    expect_silence(t, 3);
}

static void ask_on(test *t) {
    if (t->done > 1) return;
    append(t, MOON_USER, "and?");
    assert_int_equal(ask(t, false), MOON_OK);
}

static void test_chat_http__ask_from_done(void **state) {
    test *t = *state;
    SCRIPT(t, {.body = SAY("one")}, {.body = SAY("two")});
    open_chat(t);
    append(t, MOON_USER, "hi");
    t->on_done = ask_on;
    assert_int_equal(ask(t, false), MOON_OK);
    run_until_done(t, 2);
    assert_string_equal(t->answer.p, "one|||stop|0/0/0/0"
                                     "two|||stop|0/0/0/0");
}

static void test_chat_http__close_from_done(void **state) {
    test *t = *state;
    SCRIPT(t, {.body = SAY("one")}, {.http = 400, .body = "no"});
    for (size_t i = 1; i <= 2; i++) {
        open_chat(t);
        append(t, MOON_USER, "hi");
        t->on_done = close_chat;
        assert_int_equal(ask(t, false), MOON_OK);
        run_until_done(t, i);
    }
    assert_non_null(strstr(t->error.text, "http://host:1/v1 refused the request (HTTP 400): no"));
}

static void test_chat_http__append_in_flight_is_refused(void **state) {
    test *t = *state;
    moon_error error;
    SCRIPT(t, {.body = SAY("one")});
    open_chat(t);
    append(t, MOON_USER, "hi");
    assert_int_equal(ask(t, false), MOON_OK);
    assert_int_equal(
        t->model->ops->append(t->chat, &(moon_message){.role = MOON_USER, .text = "x", .text_length = 1}, &error),
        MOON_EINVAL);
    run_until_done(t, 1);
    expect_end(t->bodies[0], ",\"content\":\"hi\"}]}");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_chat_http__requests_grow_at_the_end),
        TEST(test_chat_http__defaults_and_extra_members),
        TEST(test_chat_http__bad_settings_are_refused_at_open),
        TEST(test_chat_http__conversation_over_its_ceiling),
        TEST(test_chat_http__cost),
        TEST(test_chat_http__deltas_where_wanted),
        TEST(test_chat_http__waits_and_asks_again),
        TEST(test_chat_http__gives_up_after_four_retries),
        TEST(test_chat_http__number_of_retries_is_a_setting),
        TEST(test_chat_http__what_does_not_pass_is_not_asked_again),
        TEST(test_chat_http__a_long_wait_is_not_waited),
        TEST(test_chat_http__failure_to_start),
        TEST(test_chat_http__a_server_that_does_not_hang_up),
        TEST(test_chat_http__cancel),
        TEST(test_chat_http__cancel_while_waiting),
        TEST(test_chat_http__cancel_from_a_delta),
        TEST(test_chat_http__close_from_a_delta),
        TEST(test_chat_http__close_from_a_delta_of_a_whole_body),
        TEST(test_chat_http__ask_from_done),
        TEST(test_chat_http__close_from_done),
        TEST(test_chat_http__append_in_flight_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
