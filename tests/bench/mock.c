/* SPDX-License-Identifier: MIT */
/*
 * A model server for benchmarks: loopback only, one thread, HTTP/1.1 keep-alive, OpenAI chat completions.
 * The model's name is the script:
 *
 *   text-K      an answer of K tokens
 *   tools-N     one tool call an answer until the request holds N tool results, then 8 tokens of text
 *   …-dMS       each answer after MS milliseconds
 *
 * Prints its base URL, then serves until it is killed. GET /stats gives {"requests":…,"first_ms":…} since the last GET
 * /reset; first_ms is the monotonic clock at the first request. Answers stream as server-sent events where the request
 * says "stream":true.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

typedef struct text {
    char *p;
    size_t len, cap;
} text;

typedef struct client {
    int fd;
    bool waiting, writing; /* waiting: the answer is due later */
    text in, out;
    size_t sent, head, body;
    int64_t due_us;
    struct client *next; /* in the line of those that wait */
} client;

typedef struct server {
    int epoll, listener;
    uint64_t requests;
    int64_t first_us;
    client *line, **line_end; /* by due time: every script uses one delay */
    unsigned long ids;
} server;

static int64_t now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void room(text *t, size_t n) {
    if (t->cap - t->len > n) return;
    while (t->cap - t->len <= n) t->cap = t->cap ? t->cap * 2 : 1024;
    t->p = realloc(t->p, t->cap);
    if (!t->p) abort();
}

static void say(text *t, const char *format, ...) {
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    room(t, (size_t)vsnprintf(NULL, 0, format, args) + 1);
    t->len += (size_t)vsnprintf(t->p + t->len, t->cap - t->len, format, again);
    va_end(again);
    va_end(args);
}

static long number_after(const char *model, const char *word, long otherwise) {
    const char *at = strstr(model, word);
    return at ? strtol(at + strlen(word), NULL, 10) : otherwise;
}

static long count(const char *p, size_t n, const char *what) {
    size_t k = strlen(what);
    long found = 0;
    for (const char *end = p + n; (p = memmem(p, (size_t)(end - p), what, k)); p += k) found++;
    return found;
}

#define CHUNK                                                                                                          \
    "data: "                                                                                                           \
    "{\"id\":\"c%lu\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"%s\",\"choices\":[{"     \
    "\"index\":0,\"delta\":"
#define CHUNK_END ",\"finish_reason\":null}]}\n\n"

/* One HTTP chunk around the events that were written since `from`. */
static void stream_answer(client *c, const char *model, unsigned long id, long call, long tokens) {
    text e = {0};
    say(&c->out, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
    say(&e, CHUNK "{\"role\":\"assistant\",\"content\":%s}" CHUNK_END, id, model, call ? "null" : "\"\"");
    if (call)
        say(&e,
            CHUNK "{\"tool_calls\":[{\"index\":0,\"id\":\"call_%lu\",\"type\":\"function\",\"function\":{\"name\":"
                  "\"echo\",\"arguments\":"
                  "\"{\\\"text\\\":\\\"step %ld\\\"}\"}}]}" CHUNK_END,
            id, model, id, call);
    for (long i = 0; !call && i < tokens; i++) {
        say(&e, CHUNK "{\"content\":\"tok \"}" CHUNK_END, id, model);
        if (e.len < 32768 && i + 1 < tokens) continue;
        say(&c->out, "%zx\r\n", e.len);
        room(&c->out, e.len);
        memcpy(c->out.p + c->out.len, e.p, e.len);
        c->out.len += e.len;
        say(&c->out, "\r\n");
        e.len = 0;
    }
    say(&e, CHUNK "{},\"finish_reason\":\"%s\"}]}\n\n", id, model, call ? "tool_calls" : "stop");
    say(&e, "data: {\"id\":\"c%lu\",\"choices\":[],\"usage\":{\"prompt_tokens\":%zu,\"completion_tokens\":%ld}}\n\n",
        id, c->body / 4, call ? 8 : tokens);
    say(&e, "data: [DONE]\n\n");
    say(&c->out, "%zx\r\n%.*s\r\n0\r\n\r\n", e.len, (int)e.len, e.p);
    free(e.p);
}

static void whole_answer(client *c, const char *model, unsigned long id, long call, long tokens) {
    text b = {0};
    say(&b,
        "{\"id\":\"c%lu\",\"object\":\"chat.completion\",\"model\":\"%s\",\"choices\":[{\"index\":0,\"message\":{"
        "\"role\":\"assistant\",\"content\":",
        id, model);
    if (call)
        say(&b,
            "null,\"tool_calls\":[{\"id\":\"call_%lu\",\"type\":\"function\",\"function\":{\"name\":\"echo\","
            "\"arguments\":\"{\\\"text\\\":"
            "\\\"step %ld\\\"}\"}}]},\"finish_reason\":\"tool_calls\"}]",
            id, call);
    else {
        say(&b, "\"");
        for (long i = 0; i < tokens; i++) say(&b, "tok ");
        say(&b, "\"},\"finish_reason\":\"stop\"}]");
    }
    say(&b, ",\"usage\":{\"prompt_tokens\":%zu,\"completion_tokens\":%ld}}", c->body / 4, call ? 8 : tokens);
    say(&c->out, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n", b.len);
    room(&c->out, b.len);
    memcpy(c->out.p + c->out.len, b.p, b.len);
    c->out.len += b.len;
    free(b.p);
}

static void model_name(const client *c, char name[128]) {
    const char *at = memmem(c->in.p + c->head, c->body, "\"model\":\"", 9);
    size_t n = at ? strcspn(at + 9, "\"") : 0;
    snprintf(name, 128, "%.*s", (int)(n < 127 ? n : 127), at ? at + 9 : "");
}

static void answer(server *s, client *c) {
    char model[128];
    const char *body = c->in.p + c->head;
    model_name(c, model);
    long wanted = number_after(model, "tools-", 0), results = wanted ? count(body, c->body, "\"role\":\"tool\"") : 0;
    long call = results < wanted ? results + 1 : 0, tokens = number_after(model, "text-", 8);
    unsigned long id = ++s->ids;
    if (memmem(body, c->body, "\"stream\":true", 13))
        stream_answer(c, model, id, call, tokens);
    else
        whole_answer(c, model, id, call, tokens);
}

static void stats(server *s, client *c) {
    char body[128];
    if (!strncmp(c->in.p, "GET /reset", 10)) s->requests = 0, s->first_us = 0;
    snprintf(body, sizeof body, "{\"requests\":%llu,\"first_us\":%lld}", (unsigned long long)s->requests,
             (long long)s->first_us);
    say(&c->out, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n%s", strlen(body), body);
}

static void drop(server *s, client *c) {
    for (client **p = &s->line; c->waiting && *p; p = &(*p)->next)
        if (*p == c) {
            *p = c->next;
            if (!*p) s->line_end = p;
            break;
        }
    close(c->fd);
    free(c->in.p);
    free(c->out.p);
    free(c);
}

/* False: the client is gone. */
static bool flush(server *s, client *c) {
    while (c->sent < c->out.len) {
        ssize_t k = send(c->fd, c->out.p + c->sent, c->out.len - c->sent, MSG_NOSIGNAL);
        if (k < 0 && errno != EAGAIN) {
            drop(s, c);
            return false;
        }
        if (k < 0) break;
        c->sent += (size_t)k;
    }
    bool more = c->sent < c->out.len;
    if (!more) c->out.len = c->sent = 0;
    if (more != c->writing) {
        struct epoll_event e = {.events = EPOLLIN | (more ? EPOLLOUT : 0), .data.ptr = c};
        epoll_ctl(s->epoll, EPOLL_CTL_MOD, c->fd, &e);
        c->writing = more;
    }
    return true;
}

static void consume(client *c) {
    size_t used = c->head + c->body;
    memmove(c->in.p, c->in.p + used, c->in.len - used);
    c->in.len -= used;
    c->head = c->body = 0;
}

/* Is a whole request there? Finds its head once. */
static bool complete(client *c) {
    if (!c->head) {
        const char *end = memmem(c->in.p, c->in.len, "\r\n\r\n", 4);
        if (!end) return false;
        c->head = (size_t)(end - c->in.p) + 4;
        c->in.p[c->head - 1] = 0;
        const char *length = strcasestr(c->in.p, "content-length:");
        c->body = length ? strtoul(length + 15, NULL, 10) : 0;
    }
    return c->in.len >= c->head + c->body;
}

static void on_input(server *s, client *c) {
    for (;;) {
        room(&c->in, 65536);
        ssize_t k = recv(c->fd, c->in.p + c->in.len, c->in.cap - c->in.len - 1, 0);
        if (k == 0 || (k < 0 && errno != EAGAIN)) {
            drop(s, c);
            return;
        }
        if (k < 0) break;
        c->in.len += (size_t)k;
    }
    while (!c->waiting && c->in.len && complete(c)) {
        char model[128];
        if (!strncmp(c->in.p, "GET ", 4)) {
            stats(s, c);
            consume(c);
        } else {
            if (!s->requests++) s->first_us = now_us();
            model_name(c, model);
            long delay = number_after(model, "-d", 0);
            if (delay) {
                c->due_us = now_us() + delay * 1000;
                c->waiting = true;
                c->next = NULL;
                *s->line_end = c;
                s->line_end = &c->next;
                return;
            }
            answer(s, c);
            consume(c);
        }
        if (!flush(s, c)) return;
    }
}

static void serve_due(server *s) {
    while (s->line && s->line->due_us <= now_us()) {
        client *c = s->line;
        s->line = c->next;
        if (!s->line) s->line_end = &s->line;
        c->waiting = false;
        answer(s, c);
        consume(c);
        flush(s, c);
    }
}

static void on_connection(server *s) {
    int one = 1, fd;
    while ((fd = accept4(s->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        client *c = calloc(1, sizeof *c);
        if (!c) abort();
        c->fd = fd;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
        epoll_ctl(s->epoll, EPOLL_CTL_ADD, fd, &e);
    }
}

int main(void) {
    server s = {.epoll = epoll_create1(EPOLL_CLOEXEC), .line_end = &s.line};
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof a;
    struct rlimit files;
    if (!getrlimit(RLIMIT_NOFILE, &files)) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    s.listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (bind(s.listener, (void *)&a, sizeof a) || listen(s.listener, 4096) ||
        getsockname(s.listener, (void *)&a, &size)) {
        perror("bench_mock");
        return 1;
    }
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL}, events[256];
    epoll_ctl(s.epoll, EPOLL_CTL_ADD, s.listener, &e);
    printf("http://127.0.0.1:%u/v1\n", ntohs(a.sin_port));
    fflush(stdout);
    for (;;) {
        int64_t left = s.line ? (s.line->due_us - now_us() + 999) / 1000 : -1;
        int n = epoll_wait(s.epoll, events, 256, s.line ? left < 0 ? 0 : (int)left : -1);
        for (int i = 0; i < n; i++) {
            if (!events[i].data.ptr)
                on_connection(&s);
            else if (events[i].events & EPOLLIN)
                on_input(&s, events[i].data.ptr);
            else if (events[i].events & EPOLLOUT)
                flush(&s, events[i].data.ptr);
            else
                drop(&s, events[i].data.ptr);
        }
        serve_due(&s);
    }
}
