/* SPDX-License-Identifier: MIT */
/*
 * Opens libgit2 once per process and never closes it.
 *
 * The state below is mutable and at file scope, against the house rule, because the library is: one copy of it lives in
 * the process, with one initialisation and one set of options, whatever the number of runtimes. It is written once,
 * under pthread_once, and only read after that.
 *
 * Of the library's own process-wide options only memory limits are lowered. Owner validation and the check of each
 * object's hash stay on (they are its defaults); the user's own configuration files stay in use, because they decide
 * what git does too: safe.directory, core.excludesFile, core.autocrlf, user.name. Whoever embeds us may be using the
 * same copy of the library.
 */
#include "git_api.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#ifndef MOON_GIT2_SONAME
#define MOON_GIT2_SONAME "libgit2.so.1.5"
#endif

static pthread_once_t once = PTHREAD_ONCE_INIT;
static moon__git library;
static char problem[300] = "";

static const struct function {
    const char *name;
    size_t offset;
} functions[] = {
#define X(name) {"git_" #name, offsetof(moon__git, name)},
    MOON__GIT_FUNCTIONS(X)
#undef X
};

/* Defaults are made for one big job in a process of its own: 256 MB of objects, 8 GB of mapped packs. */
static void lower_memory_limits(void) {
    library.libgit2_opts(GIT_OPT_SET_CACHE_MAX_SIZE, (ssize_t)(32 << 20));
    library.libgit2_opts(GIT_OPT_SET_MWINDOW_SIZE, (size_t)32 << 20);
    library.libgit2_opts(GIT_OPT_SET_MWINDOW_MAPPED_LIMIT, (size_t)512 << 20);
}

static void open_library(void) {
    void *handle = dlopen(MOON_GIT2_SONAME, RTLD_LAZY | RTLD_LOCAL);
    if (!handle) {
        const char *why = dlerror();
        snprintf(problem, sizeof problem, "libgit2 cannot be loaded (%s)", why ? why : MOON_GIT2_SONAME);
        return;
    }
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        void *symbol = dlsym(handle, functions[i].name);
        if (!symbol) {
            snprintf(problem, sizeof problem, "%s has no %s", MOON_GIT2_SONAME, functions[i].name);
            return;
        }
        memcpy((char *)&library + functions[i].offset, &symbol, sizeof symbol);
    }
    int major = 0, minor = 0, revision = 0;
    library.libgit2_version(&major, &minor, &revision);
    if (major != LIBGIT2_VER_MAJOR || minor != LIBGIT2_VER_MINOR)
        snprintf(problem, sizeof problem, "%s is version %d.%d, but %d.%d is needed", MOON_GIT2_SONAME, major, minor,
                 LIBGIT2_VER_MAJOR, LIBGIT2_VER_MINOR);
    else if (library.libgit2_init() < 0)
        snprintf(problem, sizeof problem, "libgit2 cannot be initialised");
    else
        lower_memory_limits();
}

const moon__git *moon__git_library(const char **why) {
    pthread_once(&once, open_library);
    *why = problem;
    return problem[0] ? NULL : &library;
}
