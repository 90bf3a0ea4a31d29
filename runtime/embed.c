/* SPDX-License-Identifier: MIT */
/*
 * The top of the library: moon_runtime_new puts a bare runtime, the built-in tools, Lua and the configuration together.
 * Settings: what the host gave > environment > the repository's .moonlet/config.lua > the user's config.lua.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "builtin.h"
#include "script.h"
#include "testing.h"

/* False when memory is out: what was not looked for must not pass for what is not there. */
static bool join(char **path, const char *folder, const char *rest) {
    if (asprintf(path, "%s%s", folder, rest) >= 0) return true;
    *path = NULL;
    return false;
}

/* $XDG_CONFIG_HOME/moonlet/config.lua, else ~/.config/moonlet/config.lua; NULL where there is no home. */
static bool user_config(char **path) {
    const char *base = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    *path = NULL;
    if (base && *base == '/') return join(path, base, "/moonlet/config.lua");
    return !home || *home != '/' || join(path, home, "/.config/moonlet/config.lua");
}

static moon_status apply(moon_runtime *rt, const moon__config *config, bool trusted, const char *path,
                         moon_error *error) {
    const moon_runtime_options *options = moon__runtime_options(rt);
    const char *env = getenv("MOONLET_MODEL");
    moon_status status = MOON_OK;
    if (config->model && !options->model && !(env && *env))
        status = moon__models_set_default(moon__runtime_models(rt), config->model, path, error);
    moon__runtime_set_limits(rt, &config->limits);
    if (config->snapshots) moon__runtime_always_snapshots(rt);
    moon__runtime_set_requests(rt, (unsigned)config->requests);
    if (!status && config->policy) status = moon__runtime_add_policy(rt, config->policy, error);
    if (!status && config->providers)
        status = moon__models_configure(moon__runtime_models(rt), config->providers, trusted, error);
    for (const moon_json *p = moon_json_first(config->plugins); !status && p; p = moon_json_next(p))
        status = moon_runtime_add_plugin(rt, moon_json_str(p, NULL), error);
    return status;
}

/* A file that is not there is fine unless it was asked for by name. */
static moon_status configure(moon_runtime *rt, const char *path, bool trusted, bool required, moon_error *error) {
    moon__config config;
    moon_status status = moon__config_load(&config, path, trusted, error);
    if (status == MOON_ENOTFOUND && !required) {
        if (error) *error = (moon_error){0};
        return MOON_OK;
    }
    if (status) return status;
    status = apply(rt, &config, trusted, path, error);
    moon__config_free(&config);
    if (status && error && !error->where[0]) snprintf(error->where, sizeof error->where, "%s", path);
    return status;
}

static moon_status configure_all(moon_runtime *rt, moon_error *error) {
    const moon_runtime_options *options = moon__runtime_options(rt);
    if (options->config && !*options->config) return MOON_OK;
    char *user, *repository;
    if (!(options->config ? join(&user, options->config, "") : user_config(&user)))
        return moon_error_set(error, MOON_ENOMEM, "no memory for the configuration");
    moon_status status = user ? configure(rt, user, true, options->config != NULL, error) : MOON_OK;
    free(user);
    if (status) return status;
    if (!join(&repository, options->workspace ? options->workspace : ".", "/.moonlet/config.lua"))
        return moon_error_set(error, MOON_ENOMEM, "no memory for the configuration");
    status = configure(rt, repository, false, false, error);
    free(repository);
    return status;
}

/* ---- the default journal ---- */

/* A folder that was made is in the one above it only when that is on the disk. */
static void sync_above(char *path, const char *slash) {
    char *above = memrchr(path, '/', (size_t)(slash - path));
    char first = above ? above[1] : 0;
    if (!above) return;
    above[1] = 0;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    above[1] = first;
    if (fd < 0) return;
    (void)fsync(fd); /* some file systems cannot */
    close(fd);
}

/* Makes the folders of a path; existing ones are fine. */
static void make_folders(char *path) {
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        if (mkdir(path, 0700) == 0) sync_above(path, slash);
        *slash = '/';
    }
}

/* NULL: nowhere. */
static bool default_journal(char **file, const char *workspace) {
    const char *set = getenv("MOONLET_JOURNAL"), *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    char *path;
    *file = NULL;
    if (set && *set) return strcmp(set, "off") == 0 || join(file, set, "");
    if (!join(&path, workspace ? workspace : ".", "/.moonlet/")) return false;
    if (access(path, W_OK | X_OK) != 0) {
        bool fine = true;
        free(path);
        path = NULL;
        if (state && *state == '/')
            fine = join(&path, state, "/moonlet/");
        else if (home && *home == '/')
            fine = join(&path, home, "/.local/state/moonlet/");
        if (!path) return fine;
        make_folders(path);
    }
    bool usable = access(path, W_OK | X_OK) == 0;
    *strrchr(path, '/') = 0;
    bool fine = !usable || join(file, path, "/journal.db");
    free(path);
    return fine;
}

static moon_status keep(moon_runtime *rt, moon_error *error) {
    const moon_runtime_options *options = moon__runtime_options(rt);
    if (!options->journal || *options->journal) return MOON_OK;
    char *place;
    if (!default_journal(&place, options->workspace))
        return moon_error_set(error, MOON_ENOMEM, "no memory for the journal");
    moon_status status = place ? moon__runtime_set_journal(rt, options->store, place, error) : MOON_OK;
    free(place);
    return status;
}

static moon_status fit_out(moon_runtime *rt, moon_error *error) {
    moon_status status = MOON_OK;
    for (size_t i = 0; !status && moon__builtin_tools[i]; i++)
        status = moon_runtime_add_tool(rt, moon__builtin_tools[i], error);
    if (!status) status = moon_runtime_set_snapshots(rt, &moon_snapshots_git, error);
    return status ? status : moon__scripts_attach(rt, error);
}

static moon_status give(moon_runtime **out, moon_runtime *rt, moon_status status) {
    if (status)
        moon_runtime_free(rt);
    else
        *out = rt;
    return status;
}

moon_status moon_runtime_new(moon_runtime **out, const moon_runtime_options *options, moon_error *error) {
    moon_runtime *rt;
    moon_status status = moon__runtime_new_clock(&rt, options, &moon__clock_real, error);
    if (status) return status;
    status = fit_out(rt, error);
    if (!status) status = configure_all(rt, error);
    if (!status) status = keep(rt, error);
    return give(out, rt, status);
}

moon_status moon__runtime_new_testing(moon_runtime **out, const moon_runtime_options *options, moon__testing *testing,
                                      moon_error *error) {
    moon_runtime *rt;
    moon_status status = moon__runtime_new_clock(&rt, options, &testing->clock, error);
    if (status) return status;
    moon__runtime_set_testing(rt, testing);
    status = fit_out(rt, error);
    if (!status) status = moon_runtime_add_tool(rt, &moon__tool_test_repository, error);
    return give(out, rt, status);
}
