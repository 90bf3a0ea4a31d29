/* SPDX-License-Identifier: MIT */
/*
 * The reference: the same work with next to nothing around it. libcurl and cJSON, every message serialized once into
 * one growing body, the tool answered in place. What it takes is what the libraries and the kernel take.
 *
 *   BENCH_URL BENCH_MODEL BENCH_RUNS BENCH_STREAM as for bench_runs
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <cjson/cJSON.h>
#include <curl/curl.h>

typedef struct text {
    char *p;
    size_t len, cap;
} text;

typedef struct run {
    CURL *easy;
    text body, in;
    struct curl_slist *headers;
    bool ok;
} run;

typedef struct bench {
    CURLM *multi;
    int epoll, timer;
    bool stream;
    char url[256];
} bench;

static void add(text *t, const char *p, size_t n) {
    if (t->cap - t->len <= n) {
        t->cap = (t->cap + n + 256) * 2;
        t->p = realloc(t->p, t->cap);
        if (!t->p) abort();
    }
    memcpy(t->p + t->len, p, n);
    t->len += n;
    t->p[t->len] = 0;
}

static void add_json(text *t, const cJSON *json) {
    char *printed = cJSON_PrintUnformatted(json);
    add(t, ",", 1);
    add(t, printed, strlen(printed));
    free(printed);
}

static cJSON *get(const cJSON *o, const char *name) {
    return cJSON_GetObjectItemCaseSensitive(o, name);
}

/* Streamed events that are whole: text only. */
static void read_events(run *r) {
    char *at = r->in.p, *end;
    while (at && (end = strstr(at, "\n\n"))) {
        *end = 0;
        cJSON *event = strncmp(at, "data: {", 7) ? NULL : cJSON_Parse(at + 6);
        const cJSON *content = get(get(cJSON_GetArrayItem(get(event, "choices"), 0), "delta"), "content");
        if (cJSON_IsString(content) && *content->valuestring) r->ok = true;
        cJSON_Delete(event);
        at = end + 2;
    }
    if (!at) return;
    r->in.len -= (size_t)(at - r->in.p);
    memmove(r->in.p, at, r->in.len + 1);
}

/* True: a tool was called and answered, so another request is to be made. */
static bool act(run *r) {
    cJSON *answer = cJSON_Parse(r->in.p ? r->in.p : "");
    const cJSON *message = get(cJSON_GetArrayItem(get(answer, "choices"), 0), "message"),
                *calls = get(message, "tool_calls"), *call;
    bool again = cJSON_GetArraySize(calls) > 0;
    if (again) {
        add_json(&r->body, message);
        cJSON_ArrayForEach(call, calls) {
            cJSON *args = cJSON_Parse(cJSON_GetStringValue(get(get(call, "function"), "arguments")));
            cJSON *result = cJSON_CreateObject();
            cJSON_AddStringToObject(result, "role", "tool");
            cJSON_AddStringToObject(result, "tool_call_id", cJSON_GetStringValue(get(call, "id")));
            cJSON_AddStringToObject(result, "content", cJSON_GetStringValue(get(args, "text")));
            add_json(&r->body, result);
            cJSON_Delete(result);
            cJSON_Delete(args);
        }
    } else
        r->ok = cJSON_IsString(get(message, "content"));
    cJSON_Delete(answer);
    return again;
}

static bool stream_wanted;

static size_t on_data(char *p, size_t size, size_t n, void *ctx) {
    run *r = ctx;
    add(&r->in, p, size * n);
    if (stream_wanted) read_events(r);
    return size * n;
}

static void make(const bench *b, run *r, const char *model) {
    char head[512];
    snprintf(head, sizeof head,
             "{\"model\":\"%s\"%s,\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"echo\",\"description\":"
             "\"Echo the text back.\","
             "\"parameters\":{\"type\":\"object\",\"properties\":{\"text\":{\"type\":\"string\"}},\"required\":["
             "\"text\"]}}}],\"messages\":["
             "{\"role\":\"system\",\"content\":\"You are a benchmark.\"},{\"role\":\"user\",\"content\":\"go\"}",
             model, b->stream ? ",\"stream\":true" : "");
    add(&r->body, head, strlen(head));
    r->easy = curl_easy_init();
    r->headers = curl_slist_append(curl_slist_append(NULL, "Content-Type: application/json"), "Expect:");
    curl_easy_setopt(r->easy, CURLOPT_URL, b->url);
    curl_easy_setopt(r->easy, CURLOPT_HTTPHEADER, r->headers);
    curl_easy_setopt(r->easy, CURLOPT_WRITEFUNCTION, on_data);
    curl_easy_setopt(r->easy, CURLOPT_WRITEDATA, r);
    curl_easy_setopt(r->easy, CURLOPT_PRIVATE, r);
    curl_easy_setopt(r->easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(r->easy, CURLOPT_POST, 1L);
}

static void prepare(run *r) {
    r->in.len = 0;
    add(&r->body, "]}", 2);
    curl_easy_setopt(r->easy, CURLOPT_POSTFIELDSIZE, (long)r->body.len);
    curl_easy_setopt(r->easy, CURLOPT_POSTFIELDS, r->body.p);
}

static bool received(const bench *b, run *r) {
    r->body.len -= 2;
    return !b->stream && act(r);
}

static int on_socket(CURL *easy, curl_socket_t s, int what, void *ctx, void *socket_ctx) {
    bench *b = ctx;
    (void)easy;
    struct epoll_event e = {.events = (what & CURL_POLL_IN ? EPOLLIN : 0u) | (what & CURL_POLL_OUT ? EPOLLOUT : 0u),
                            .data.fd = s};
    if (what == CURL_POLL_REMOVE)
        epoll_ctl(b->epoll, EPOLL_CTL_DEL, s, NULL);
    else {
        epoll_ctl(b->epoll, socket_ctx ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, s, &e);
        curl_multi_assign(b->multi, s, b);
    }
    return 0;
}

static int on_timer(CURLM *multi, long ms, void *ctx) {
    bench *b = ctx;
    (void)multi;
    struct itimerspec t = {.it_value = {.tv_sec = ms / 1000, .tv_nsec = ms > 0 ? ms % 1000 * 1000000 : ms == 0}};
    if (ms < 0) t = (struct itimerspec){0};
    timerfd_settime(b->timer, 0, &t, NULL);
    return 0;
}

static long finish_some(bench *b) {
    long ended = 0;
    int left;
    for (CURLMsg *m; (m = curl_multi_info_read(b->multi, &left));) {
        run *r;
        CURLcode code = m->data.result;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&r);
        curl_multi_remove_handle(b->multi, r->easy);
        if (code == CURLE_OK && received(b, r)) {
            prepare(r);
            curl_multi_add_handle(b->multi, r->easy);
        } else
            ended++;
    }
    return ended;
}

static void many(bench *b, run *runs, long n) {
    struct epoll_event events[256], e = {.events = EPOLLIN};
    int running;
    b->epoll = epoll_create1(0);
    e.data.fd = b->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    epoll_ctl(b->epoll, EPOLL_CTL_ADD, b->timer, &e);
    b->multi = curl_multi_init();
    curl_multi_setopt(b->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(b->multi, CURLMOPT_SOCKETDATA, b);
    curl_multi_setopt(b->multi, CURLMOPT_TIMERFUNCTION, on_timer);
    curl_multi_setopt(b->multi, CURLMOPT_TIMERDATA, b);
    curl_multi_setopt(b->multi, CURLMOPT_MAXCONNECTS, n + 10);
    for (long i = 0; i < n; i++) {
        prepare(&runs[i]);
        curl_multi_add_handle(b->multi, runs[i].easy);
    }
    for (long left = n; left > 0; left -= finish_some(b)) {
        int k = epoll_wait(b->epoll, events, 256, 1000);
        for (int i = 0; i < k; i++) {
            uint64_t fired;
            bool timer = events[i].data.fd == b->timer;
            if (timer && read(b->timer, &fired, sizeof fired) < 0) continue;
            int flags = (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR) ? CURL_CSELECT_IN : 0) |
                        (events[i].events & EPOLLOUT ? CURL_CSELECT_OUT : 0);
            curl_multi_socket_action(b->multi, timer ? CURL_SOCKET_TIMEOUT : events[i].data.fd, timer ? 0 : flags,
                                     &running);
        }
    }
}

int main(void) {
    const char *url = getenv("BENCH_URL"), *model = getenv("BENCH_MODEL"), *n_text = getenv("BENCH_RUNS"),
               *stream = getenv("BENCH_STREAM");
    if (!url || !model) return 2;
    long n = n_text ? atol(n_text) : 1, ok = 0;
    bench b = {.stream = stream && *stream == '1'};
    stream_wanted = b.stream;
    snprintf(b.url, sizeof b.url, "%s/chat/completions", url);
    struct rlimit files;
    if (!getrlimit(RLIMIT_NOFILE, &files)) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    run *runs = calloc((size_t)n, sizeof *runs);
    if (!runs) return 1;
    curl_global_init(CURL_GLOBAL_NOTHING);
    for (long i = 0; i < n; i++) make(&b, &runs[i], model);
    if (n == 1) {
        do prepare(runs);
        while (curl_easy_perform(runs->easy) == CURLE_OK && received(&b, runs));
    } else
        many(&b, runs, n);
    for (long i = 0; i < n; i++) ok += runs[i].ok;
    printf("BENCH ok=%ld\n", ok);
    return ok == n ? 0 : 1;
}
