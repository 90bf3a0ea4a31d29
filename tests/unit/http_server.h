/* SPDX-License-Identifier: MIT */
#ifndef MOON_TEST_HTTP_SERVER_H
#define MOON_TEST_HTTP_SERVER_H
/*
 * A small HTTP server on loopback, a thread per connection. It reads a request whole and hands it to a function that
 * writes raw bytes: tests want answers that no proper server gives. server_stop() waits until every connection is gone,
 * so clients must have closed theirs.
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

typedef struct server server;
typedef struct exchange {
    server *on;
    int fd;
    char *head; /* request line and headers */
    char *body;
    size_t body_length;
} exchange;

struct server {
    bool (*answer)(exchange *x); /* false: close the connection */
    int fd, port;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int live, live_max, connections, requests, busy, busy_max; /* under lock */
    int waiting;                                               /* for a meeting, under lock */
};

static inline void send_bytes(exchange *x, const char *bytes, size_t n) {
    while (n > 0) {
        ssize_t k = send(x->fd, bytes, n, MSG_NOSIGNAL);
        if (k <= 0) return;
        bytes += k;
        n -= (size_t)k;
    }
}

static inline void send_text(exchange *x, const char *text) {
    send_bytes(x, text, strlen(text));
}

static inline void send_answer(exchange *x, const char *status, const char *body, size_t n) {
    char head[200];
    snprintf(head, sizeof head, "HTTP/1.1 %s\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n\r\n", status, n);
    send_text(x, head);
    send_bytes(x, body, n);
}

/* Until the client has gone. */
static inline void await_close(exchange *x) {
    char c;
    while (recv(x->fd, &c, 1, 0) > 0) continue;
}

/* Until n exchanges are here at the same time. */
static inline void meet(exchange *x, int n) {
    server *s = x->on;
    pthread_mutex_lock(&s->lock);
    s->waiting++;
    pthread_cond_broadcast(&s->changed);
    while (s->waiting < n) pthread_cond_wait(&s->changed, &s->lock);
    pthread_mutex_unlock(&s->lock);
}

static inline void count_busy(server *s, int by) {
    pthread_mutex_lock(&s->lock);
    s->busy += by;
    if (by > 0) s->requests++;
    if (s->busy > s->busy_max) s->busy_max = s->busy;
    pthread_mutex_unlock(&s->lock);
}

/* One request. Clients here do not pipeline, so nothing comes after it. */
static inline bool read_request(exchange *x) {
    size_t n = 0, cap = 1 << 16, head = 0;
    x->body_length = 0;
    x->head = malloc(cap + 1);
    while (x->head && (!head || n < head + x->body_length)) {
        if (n == cap) x->head = realloc(x->head, (cap *= 2) + 1);
        ssize_t k = x->head ? recv(x->fd, x->head + n, cap - n, 0) : 0;
        if (k > 0 && x->head[0] == 22) send_text(x, "HTTP/1.1 400 Bad Request\r\n\r\n"); /* TLS: as real ones do */
        if (k <= 0 || x->head[0] == 22) {
            free(x->head);
            return false;
        }
        x->head[n += (size_t)k] = 0;
        const char *end = head ? NULL : strstr(x->head, "\r\n\r\n");
        if (!end) continue;
        head = (size_t)(end + 4 - x->head);
        const char *length = strcasestr(x->head, "\r\nContent-Length:");
        if (length && length < end) x->body_length = strtoul(length + 17, NULL, 10);
    }
    if (!x->head) return false;
    x->head[head - 2] = 0;
    x->body = x->head + head;
    return true;
}

static inline void *serve_connection(void *arg) {
    exchange x = *(exchange *)arg;
    free(arg);
    for (bool more = true; more && read_request(&x);) {
        count_busy(x.on, 1);
        more = x.on->answer(&x);
        count_busy(x.on, -1);
        free(x.head);
    }
    close(x.fd);
    pthread_mutex_lock(&x.on->lock);
    x.on->live--;
    pthread_cond_broadcast(&x.on->changed);
    pthread_mutex_unlock(&x.on->lock);
    return NULL;
}

static inline void *serve(void *arg) {
    server *s = arg;
    for (int fd; (fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC)) >= 0;) {
        exchange *x = calloc(1, sizeof *x);
        pthread_attr_t attr;
        pthread_t thread;
        if (!x) abort();
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        *x = (exchange){.on = s, .fd = fd};
        pthread_mutex_lock(&s->lock);
        if (++s->live > s->live_max) s->live_max = s->live;
        s->connections++;
        pthread_mutex_unlock(&s->lock);
        pthread_attr_init(&attr);
        pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
        if (pthread_create(&thread, &attr, serve_connection, x)) abort();
        pthread_attr_destroy(&attr);
    }
    return NULL;
}

static inline void server_start(server *s, bool (*answer)(exchange *x)) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    *s = (server){.answer = answer, .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(s->fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(s->fd, 1024), 0);
    assert_int_equal(getsockname(s->fd, (struct sockaddr *)&address, &size), 0);
    s->port = ntohs(address.sin_port);
    assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
}

static inline void server_stop(server *s) {
    shutdown(s->fd, SHUT_RDWR);
    pthread_join(s->thread, NULL);
    close(s->fd);
    pthread_mutex_lock(&s->lock);
    while (s->live) pthread_cond_wait(&s->changed, &s->lock);
    pthread_mutex_unlock(&s->lock);
}
#endif
