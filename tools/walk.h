/* SPDX-License-Identifier: MIT */
#ifndef MOON_TOOLS_WALK_H
#define MOON_TOOLS_WALK_H
/*
 * A walk over a directory of the workspace, depth first, in the order of the bytes of the paths (that of git's index).
 * It honours .gitignore (at every level, and in the directories above the start) and .git/info/exclude, never enters
 * .git, and starts with fresh rules in a repository inside another. It goes by descriptors, one component at a time
 * with O_NOFOLLOW beneath the directory that the host opened, so no link or rename leads it out. FIFOs, sockets and
 * devices are passed over. Names may be any bytes.
 */
#include <moonlet/tool.h>

typedef enum moon__walk_kind { MOON__WALK_FILE, MOON__WALK_DIR, MOON__WALK_LINK } moon__walk_kind;

typedef struct moon__walk_entry {
    moon__walk_kind kind;
    int dir;          /* descriptor of the directory that it is in */
    const char *path; /* relative to the workspace, as are all paths of tools */
    size_t length;
    size_t name;    /* where in path the last component begins */
    size_t base;    /* where in path the part below the start directory begins */
    unsigned depth; /* 1: directly in the start directory */
} moon__walk_entry;

typedef struct moon__walk {
    moon_call *call; /* asked now and then whether to stop */
    bool hidden;     /* names that begin with a dot, too */
    unsigned depth;  /* do not go deeper; 0: MOON__WALK_DEPTH_MAX */
    /* Called for each entry, a directory before what is in it; all of it is borrowed. false ends the walk. */
    bool (*visit)(void *ctx, const moon__walk_entry *entry);
    void *ctx;
    /* results */
    size_t entries;
    size_t unreadable; /* directories that could not be read */
    bool cut;          /* the ceiling of entries or of depth was reached */
    bool cancelled;
    bool no_memory;
} moon__walk;

enum { MOON__WALK_DEPTH_MAX = 256, MOON__WALK_ENTRIES_MAX = 2000000 };

/* Walks the directory fd (which it does not close), whose path is `path` as the model gave it. False: what was visited
 * is not all, because of visit, of memory or of cancellation. */
bool moon__walk_run(moon__walk *walk, const char *path, int fd);

/* The path as tools show it: relative to the workspace, without "./", doubled and trailing slashes; "" for the
 * workspace itself. In memory of the call; NULL if that is out. */
char *moon__walk_path(moon_call *call, const char *path);
#endif
