/* SPDX-License-Identifier: MIT */
/* Who sees the events of a tree: its host, and those within that listen to a part of it. */
#include <string.h>

#include "runtime.h"

static bool concerns(const moon__listener *l, const char *path) {
    size_t n = strlen(l->path);
    return strncmp(path, l->path, n) == 0 && (!path[n] || path[n] == '.' || !n);
}

static bool shown_only(const moon_event *event) {
    return event->seq == 0;
}

static void dispatch(void *ctx, const moon_event *event) {
    moon_run *root = ctx;
    moon__tree *tree = root->tree;
    if (tree->on_event && (tree->deltas || !shown_only(event))) tree->on_event(tree->ctx, root, event);
    for (moon__listener *l = tree->listeners, *next; l; l = next) {
        next = l->next;
        if (concerns(l, event->path)) l->event(l->ctx, event);
    }
}

void moon__run_attend(moon__tree *tree) {
    tree->journal.live = tree->listeners || tree->deltas;
    tree->journal.sink = tree->listeners || tree->on_event ? dispatch : NULL;
    tree->journal.ctx = tree->root;
}

void moon__run_listen(moon_run *run, moon__listener *listener) {
    moon__tree *tree = run->tree;
    listener->next = tree->listeners;
    tree->listeners = listener;
    moon__run_attend(tree);
}

void moon__run_unlisten(moon_run *run, moon__listener *listener) {
    moon__tree *tree = run->tree;
    for (moon__listener **l = &tree->listeners; *l; l = &(*l)->next)
        if (*l == listener) {
            *l = listener->next;
            break;
        }
    moon__run_attend(tree);
}
