/* SPDX-License-Identifier: MIT */
/* The HTTP client against a server that misbehaves on demand. The path of a request says what the answer is to be. */
#include "http.h"
#include "http_server.h"
#include "loop_clock.h"

#include <sys/resource.h>

static moon__loop *loop;
static moon__http *http;
static server peer;

static bool path_is(const exchange *x, const char *path) {
    const char *at = strchr(x->head, ' ');
    size_t n = strlen(path);
    return at && !strncmp(at + 1, path, n) && at[1 + n] == ' ';
}

static bool answer_big(exchange *x) {
    enum { PIECE = 1 << 20, PIECES = 100 };
    char *zeros = calloc(1, PIECE);
    if (!zeros) abort();
    send_text(x, "HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\n");
    for (int i = 0; i < PIECES; i++) send_bytes(x, zeros, PIECE);
    free(zeros);
    return true;
}

static bool answer(exchange *x) {
    static const char chunked[] = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    if (path_is(x, "/whole"))
        send_answer(x, "200 OK", "hello", 5);
    else if (path_is(x, "/missing"))
        send_answer(x, "404 Not Found", "no", 2);
    else if (path_is(x, "/echo"))
        send_answer(x, "200 OK", x->body, x->body_length);
    else if (path_is(x, "/request"))
        send_answer(x, "200 OK", x->head, strlen(x->head));
    else if (path_is(x, "/big"))
        return answer_big(x);
    else if (path_is(x, "/headers"))
        send_text(x, "HTTP/1.1 103 Early Hints\r\nEarly: 1\r\n\r\n"
                     "HTTP/1.1 429 Too Many\r\nRetry-After:  7 \r\nX-Empty:\r\nContent-Length: 0\r\n\r\n");
    else if (path_is(x, "/chunked")) {
        send_text(x, chunked);
        send_text(x, "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
    } else if (path_is(x, "/cut-chunk")) {
        send_text(x, chunked);
        send_text(x, "3\r\nabc\r\n5\r\nde");
        return false;
    } else if (path_is(x, "/cut-length")) {
        send_text(x, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc");
        return false;
    } else if (path_is(x, "/nothing"))
        return false;
    else if (path_is(x, "/silent"))
        await_close(x);
    else if (path_is(x, "/stall")) {
        send_text(x, chunked);
        send_text(x, "3\r\nabc\r\n");
        await_close(x);
    } else if (path_is(x, "/meet")) {
        meet(x, 200);
        send_answer(x, "200 OK", "met", 3);
    }
    return true;
}

static int set_up_on(const moon__clock *clock) {
    server_start(&peer, answer);
    return moon__loop_new(&loop, clock, NULL) || moon__http_new(&http, loop, NULL);
}

static int set_up(void **state) {
    (void)state;
    return set_up_on(NULL);
}

static int tear_down(void **state) {
    (void)state;
    moon__http_free(http);
    moon__loop_free(loop);
    server_stop(&peer);
    return 0;
}

/* One request and what came of it. */
typedef struct visit {
    moon__http_request *request;
    moon__http_response response;
    moon__buf body, headers;
    int http_seen, over;
    bool refuse;
    struct visit *cancels; /* when it is done */
} visit;

static void on_header(void *ctx, const char *name, const char *value) {
    moon__buf_printf(&((visit *)ctx)->headers, "%s=%s;", name, value);
}

static bool on_data(void *ctx, int http_status, const char *bytes, size_t n) {
    visit *v = ctx;
    v->http_seen = http_status;
    moon__buf_add(&v->body, bytes, n);
    return !v->refuse;
}

static void on_done(void *ctx, const moon__http_response *response) {
    visit *v = ctx;
    v->response = *response;
    v->over++;
    if (v->cancels) moon__http_cancel(v->cancels->request);
}

static void go(visit *v, const char *path, moon__http_options options) {
    char url[100];
    moon_error error = {0};
    if (*path == '/')
        snprintf(url, sizeof url, "http://127.0.0.1:%d%s", peer.port, path);
    else
        snprintf(url, sizeof url, "%s", path);
    moon__buf_init(&v->body, 8 << 20);
    moon__buf_init(&v->headers, 4096);
    options.url = url;
    options.on_header = on_header;
    options.on_data = on_data;
    options.on_done = on_done;
    options.ctx = v;
    if (moon__http_start(&v->request, http, &options, &error)) fail_msg("%s", error.text);
}

static void finish(visit *v) {
    while (!v->over) moon__loop_step(loop, -1);
    assert_int_equal(v->over, 1);
}

static const char *body(const visit *v) {
    return v->body.p ? v->body.p : "";
}

static void forget(visit *v) {
    moon__buf_fini(&v->body);
    moon__buf_fini(&v->headers);
    *v = (visit){0};
}

static void fetch(visit *v, const char *path, moon__http_options options) {
    go(v, path, options);
    finish(v);
}

/* ---- answers ---- */

static void test_http__answers(void **state) {
    static const struct {
        const char *path;
        moon_status status;
        int http;
        bool partial;
        const char *body, *text; /* text: the end of the error's */
    } rows[] = {
        {"/whole", MOON_OK, 200, false, "hello", ""},
        {"/chunked", MOON_OK, 200, false, "abcde", ""},
        {"/missing", MOON_OK, 404, false, "no", ""},
        {"/headers", MOON_OK, 429, false, "", ""},
        {"/cut-chunk", MOON_ENET, 200, true, "abcde", " ended in the middle of the answer"},
        {"/cut-length", MOON_ENET, 200, true, "abc", " ended in the middle of the answer"},
        {"/nothing", MOON_ENET, 0, false, "", " closed the connection without an answer"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        visit v = {0};
        fetch(&v, rows[i].path, (moon__http_options){0});
        size_t n = strlen(v.response.error.text), m = strlen(rows[i].text);
        if (v.response.status != rows[i].status || v.response.http != rows[i].http || n < m ||
            strcmp(v.response.error.text + n - m, rows[i].text) || v.response.partial != rows[i].partial ||
            strcmp(body(&v), rows[i].body))
            fail_msg("%s: %d %d %s %s", rows[i].path, v.response.status, v.response.http, body(&v),
                     v.response.error.text);
        if (v.body.len) assert_int_equal(v.http_seen, rows[i].http);
        forget(&v);
    }
}

static void test_http__headers_are_lower_case_and_trimmed(void **state) {
    visit v = {0};
    (void)state;
    fetch(&v, "/headers", (moon__http_options){0});
    assert_string_equal(v.headers.p, "retry-after=7;x-empty=;content-length=0;");
    forget(&v);
}

static void test_http__what_is_sent(void **state) {
    static const char *const headers[] = {"Content-Type: application/json", "Authorization: Bearer x"};
    visit v = {0};
    (void)state;
    fetch(&v, "/request", (moon__http_options){.headers = headers, .n_headers = 2, .body = "{}", .body_length = 2});
    assert_memory_equal(body(&v), "POST /request HTTP/1.1\r\n", 24);
    assert_non_null(strstr(body(&v), "\r\nContent-Type: application/json\r\n"));
    assert_non_null(strstr(body(&v), "\r\nAuthorization: Bearer x\r\n"));
    assert_non_null(strstr(body(&v), "\r\nUser-Agent: moonlet/"));
    assert_null(strcasestr(body(&v), "Expect"));
    assert_null(strcasestr(body(&v), "Accept-Encoding"));
    forget(&v);
    fetch(&v, "/request", (moon__http_options){0}); /* the same handle, without a body */
    assert_memory_equal(body(&v), "GET /request HTTP/1.1\r\n", 23);
    assert_null(strstr(body(&v), "Authorization"));
    assert_null(strstr(body(&v), "Content-Length"));
    forget(&v);
}

static void test_http__bodies_of_all_sizes_arrive(void **state) {
    static const size_t sizes[] = {0, 1, 65535, 65536, 65537, 250000, 3000000};
    char *bytes = malloc(3000000);
    (void)state;
    assert_non_null(bytes);
    for (size_t i = 0; i < 3000000; i++) bytes[i] = (char)(i * 7 + i / 251);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        visit v = {0};
        fetch(&v, "/echo", (moon__http_options){.body = bytes, .body_length = sizes[i]});
        assert_int_equal(v.response.status, MOON_OK);
        assert_int_equal(v.body.len, sizes[i]);
        if (sizes[i]) assert_memory_equal(v.body.p, bytes, sizes[i]);
        forget(&v);
    }
    free(bytes);
}

static void test_http__a_conversation_keeps_its_connection(void **state) {
    visit v = {0};
    (void)state;
    for (int i = 0; i < 20; i++) {
        fetch(&v, "/whole", (moon__http_options){.body = "{}", .body_length = 2, .lane = 1000});
        forget(&v);
    }
    assert_int_equal(peer.connections, 1);
    assert_int_equal(peer.requests, 20);
}

/* ---- failures ---- */

static int free_port(void) {
    server none;
    server_start(&none, answer);
    server_stop(&none);
    return none.port;
}

static void test_http__a_refused_connection_says_so(void **state) {
    char url[64], text[100];
    int port = free_port();
    visit v = {0};
    (void)state;
    snprintf(url, sizeof url, "http://127.0.0.1:%d/v1", port);
    snprintf(text, sizeof text, "connection to 127.0.0.1:%d refused: is the server running?", port);
    fetch(&v, url, (moon__http_options){.body = "secret", .body_length = 6});
    assert_int_equal(v.response.status, MOON_ENET);
    assert_string_equal(v.response.error.text, text);
    assert_false(v.response.partial);
    forget(&v);
}

static void test_http__tls_with_a_server_that_has_none(void **state) {
    char url[64], text[100];
    visit v = {0};
    (void)state;
    snprintf(url, sizeof url, "https://127.0.0.1:%d/", peer.port);
    snprintf(text, sizeof text, "TLS with 127.0.0.1:%d failed: ", peer.port);
    fetch(&v, url, (moon__http_options){0});
    assert_int_equal(v.response.status, MOON_ENET);
    assert_memory_equal(v.response.error.text, text, strlen(text));
    forget(&v);
}

static void test_http__silence_before_and_within_the_answer(void **state) {
    visit v = {0};
    char text[100];
    (void)state;
    fetch(&v, "/silent", (moon__http_options){.first_ms = 100, .stall_ms = 60000});
    assert_int_equal(v.response.status, MOON_ETIMEOUT);
    assert_false(v.response.partial);
    snprintf(text, sizeof text, "127.0.0.1:%d sent nothing within 0.1 s", peer.port);
    assert_string_equal(v.response.error.text, text);
    forget(&v);
    fetch(&v, "/stall", (moon__http_options){.first_ms = 60000, .stall_ms = 100});
    assert_int_equal(v.response.status, MOON_ETIMEOUT);
    assert_true(v.response.partial);
    assert_string_equal(body(&v), "abc");
    snprintf(text, sizeof text, "127.0.0.1:%d sent nothing for 0.1 s in the middle of its answer", peer.port);
    assert_string_equal(v.response.error.text, text);
    forget(&v);
}

static void test_http__on_data_can_end_it(void **state) {
    visit v = {.refuse = true};
    (void)state;
    fetch(&v, "/stall", (moon__http_options){0});
    assert_int_equal(v.response.status, MOON_ECANCELLED);
    assert_false(v.response.partial);
    forget(&v);
}

static void test_http__a_long_answer_hits_the_ceiling(void **state) {
    visit v = {0};
    (void)state;
    fetch(&v, "/big", (moon__http_options){.body_max = 1000000});
    assert_int_equal(v.response.status, MOON_ELIMIT);
    assert_true(v.body.len <= 1000000);
    assert_non_null(strstr(v.response.error.text, "is longer than 1000000 bytes"));
    forget(&v);
}

static void test_http__what_cannot_be_a_request_is_refused_at_once(void **state) {
    static const char *const split[] = {"X: 1\r\nY: 2"};
    static const moon__http_options rows[] = {
        {.url = ""},
        {.url = "example.com"},
        {.url = "ftp://127.0.0.1/"},
        {.url = "file:///etc/passwd"},
        {.url = "http:///x"},
        {.url = "http://bad host/"},
        {.url = "http://h:99999/"},
        {.url = "http://127.0.0.1/", .headers = split, .n_headers = 1},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        moon__http_request *request;
        moon_error error = {0};
        if (moon__http_start(&request, http, &rows[i], &error) != MOON_EINVAL) fail_msg("%s", rows[i].url);
        assert_null(request);
        assert_true(*error.text != 0);
    }
}

/* ---- cancelling ---- */

static void test_http__cancel_before_and_during(void **state) {
    visit waiting = {0}, streaming = {0}, other = {0};
    (void)state;
    go(&waiting, "/whole", (moon__http_options){0});
    moon__http_cancel(waiting.request);
    go(&streaming, "/stall", (moon__http_options){0});
    while (!streaming.body.len) moon__loop_step(loop, -1);
    moon__http_cancel(streaming.request);
    fetch(&other, "/whole", (moon__http_options){0});
    assert_int_equal(waiting.over + streaming.over, 0);
    forget(&waiting);
    forget(&streaming);
    forget(&other);
}

static void test_http__on_done_can_cancel_others(void **state) {
    /* One that streams, and one whose own on_done is due in the same turn or later. */
    visit streaming = {0}, done = {.cancels = &streaming};
    (void)state;
    go(&streaming, "/stall", (moon__http_options){0});
    while (!streaming.body.len) moon__loop_step(loop, -1);
    fetch(&done, "/whole", (moon__http_options){0});
    forget(&done);
    forget(&streaming);

    visit pair[2] = {{.cancels = &pair[1]}, {.cancels = &pair[0]}};
    int port = free_port();
    char url[64];
    snprintf(url, sizeof url, "http://127.0.0.1:%d/", port);
    for (int i = 0; i < 2; i++) go(&pair[i], url, (moon__http_options){0});
    while (!pair[0].over && !pair[1].over) moon__loop_step(loop, -1);
    for (int i = 0; i < 5; i++) moon__loop_step(loop, 0);
    assert_int_equal(pair[0].over + pair[1].over, 1);
    forget(&pair[0]);
    forget(&pair[1]);
}

static void test_http__free_drops_what_is_in_flight(void **state) {
    visit visits[60] = {0};
    (void)state;
    for (int i = 0; i < 60; i++)
        go(&visits[i], i % 2 ? "/stall" : "/whole", (moon__http_options){.lane = (unsigned)i * 100});
    for (int i = 0; i < 3; i++) moon__loop_step(loop, 0);
    moon__http_free(http);
    int over = 0;
    for (int i = 0; i < 60; i++) over += visits[i].over;
    moon__loop_step(loop, 0);
    for (int i = 0; i < 60; i++) {
        over -= visits[i].over;
        forget(&visits[i]);
    }
    assert_int_equal(over, 0);
    assert_int_equal(moon__http_new(&http, loop, NULL), MOON_OK);
}

/* ---- many ---- */

static void run_many(const char *path, int n, moon__http_options options, const char *expected) {
    visit *visits = calloc((size_t)n, sizeof *visits);
    assert_non_null(visits);
    for (int i = 0; i < n; i++) {
        options.lane = (unsigned)i * 16;
        go(&visits[i], path, options);
    }
    for (int i = 0; i < n; i++) {
        finish(&visits[i]);
        if (visits[i].response.status) fail_msg("%s", visits[i].response.error.text);
        assert_string_equal(body(&visits[i]), expected);
        forget(&visits[i]);
    }
    free(visits);
}

static void test_http__two_hundred_at_the_same_time(void **state) {
    (void)state;
    run_many("/meet", 200, (moon__http_options){.body = "x", .body_length = 1}, "met");
    assert_int_equal(peer.busy_max, 200);
}

static void test_http__no_more_at_a_time_than_descriptors_allow(void **state) {
    struct rlimit before, few;
    (void)state;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    few = before;
    few.rlim_cur = 256 + 20;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    moon__http_free(http);
    assert_int_equal(moon__http_new(&http, loop, NULL), MOON_OK);
    setrlimit(RLIMIT_NOFILE, &before);
    run_many("/echo", 300, (moon__http_options){.body = "abc", .body_length = 3}, "abc");
    assert_in_range(peer.busy_max, 1, 20);
    assert_in_range(peer.live_max, 1, 60); /* idle connections of shards at rest are closed */
    assert_int_equal(peer.requests, 300);
}

static void test_http__two_clients_in_one_process(void **state) {
    moon__http *second;
    visit a = {0}, b = {0};
    (void)state;
    fetch(&a, "/whole", (moon__http_options){0});
    assert_int_equal(moon__http_new(&second, loop, NULL), MOON_OK);
    moon__http *mine = http;
    http = second;
    fetch(&b, "/whole", (moon__http_options){0});
    http = mine;
    moon__http_free(second);
    forget(&a);
    fetch(&a, "/whole", (moon__http_options){0});
    assert_string_equal(body(&a), "hello");
    forget(&a);
    forget(&b);
}

static void test_http__the_version_of_libcurl(void **state) {
    const char *text;
    (void)state;
    assert_int_equal(moon__http_version(http, &text, NULL), MOON_OK);
    assert_memory_equal(text, "libcurl/", 8);
}

/* Five minutes of silence, on a clock that does not wait for them; the server's answer is still waited for. */
static void test_http__a_fake_clock_reaches_the_limits(void **state) {
    fake_clock fake;
    visit v = {0};
    (void)state;
    fake_clock_init(&fake);
    assert_int_equal(set_up_on(&fake.clock), 0);
    fetch(&v, "/whole", (moon__http_options){0});
    assert_int_equal(v.response.status, MOON_OK);
    assert_int_equal(fake.now_us, 1000000);
    forget(&v);
    fetch(&v, "/silent", (moon__http_options){0});
    assert_int_equal(v.response.status, MOON_ETIMEOUT);
    assert_in_range(fake.now_us, 301000000, 303000000);
    forget(&v);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_http__answers),
        TEST(test_http__headers_are_lower_case_and_trimmed),
        TEST(test_http__what_is_sent),
        TEST(test_http__bodies_of_all_sizes_arrive),
        TEST(test_http__a_conversation_keeps_its_connection),
        TEST(test_http__a_refused_connection_says_so),
        TEST(test_http__tls_with_a_server_that_has_none),
        TEST(test_http__silence_before_and_within_the_answer),
        TEST(test_http__on_data_can_end_it),
        TEST(test_http__a_long_answer_hits_the_ceiling),
        TEST(test_http__what_cannot_be_a_request_is_refused_at_once),
        TEST(test_http__cancel_before_and_during),
        TEST(test_http__on_done_can_cancel_others),
        TEST(test_http__free_drops_what_is_in_flight),
        TEST(test_http__two_hundred_at_the_same_time),
        TEST(test_http__no_more_at_a_time_than_descriptors_allow),
        TEST(test_http__two_clients_in_one_process),
        TEST(test_http__the_version_of_libcurl),
        cmocka_unit_test_teardown(test_http__a_fake_clock_reaches_the_limits, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
