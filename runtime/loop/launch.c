/* SPDX-License-Identifier: MIT */
/*
 * posix_spawn, with what has to be right around it. The program is looked up here and not by posix_spawnp, which would
 * do it in the child, after the change of directory: a relative entry of PATH would then name a directory of the
 * workspace.
 */
#include "launch.h"

#include "proc.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static int above_stdio(int fd) {
    if (fd > 2) return fd;
    int moved = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    int cause = errno;
    close(fd);
    errno = cause;
    return moved;
}

moon_status moon__pipe_new(int fds[2], int parent_end, moon_error *error) {
    int made[2];
    fds[0] = fds[1] = -1;
    if (pipe2(made, O_CLOEXEC) == 0) {
        fds[0] = above_stdio(made[0]);
        fds[1] = above_stdio(made[1]);
        if (fds[0] >= 0 && fds[1] >= 0 && fcntl(fds[parent_end], F_SETFL, O_NONBLOCK) == 0) return MOON_OK;
    }
    int cause = errno;
    for (int i = 0; i < 2; i++) {
        if (fds[i] >= 0) close(fds[i]);
        fds[i] = -1;
    }
    moon_error_set(error, MOON_EIO, "cannot make a pipe: %s", strerror(cause));
    if (error) error->cause = cause;
    return MOON_EIO;
}

ssize_t moon__write_quietly(int fd, const void *bytes, size_t n) {
    sigset_t pipe_only, before, pending;
    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    /* One that is pending already is not ours to take. */
    sigpending(&pending);
    pthread_sigmask(SIG_BLOCK, &pipe_only, &before);
    ssize_t written = write(fd, bytes, n);
    int cause = errno;
    if (written < 0 && cause == EPIPE && !sigismember(&pending, SIGPIPE))
        while (sigtimedwait(&pipe_only, NULL, &(struct timespec){0}) < 0 && errno == EINTR) continue;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = cause;
    return written;
}

/* ---- which program ---- */

static bool is_program(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

/* The first absolute entry of PATH that has it. */
static moon_status look_up(const char *name, char *path, size_t size, moon_error *error) {
    const char *entry = getenv("PATH");
    if (!entry) entry = "/usr/local/bin:/usr/bin:/bin";
    for (; *name && *entry;) {
        size_t n = strcspn(entry, ":");
        int length = snprintf(path, size, "%.*s/%s", (int)n, entry, name);
        if (*entry == '/' && length > 0 && (size_t)length < size && is_program(path)) return MOON_OK;
        entry += n + (entry[n] == ':');
    }
    return moon_error_set(error, MOON_ENOTFOUND, "there is no program \"%s\" in PATH", name);
}

/* ---- start ---- */

static int describe_files(posix_spawn_file_actions_t *files, const moon__launch *launch) {
    int rc = 0;
    if (launch->dir_fd >= 0) rc = posix_spawn_file_actions_addfchdir_np(files, launch->dir_fd);
    if (!rc && launch->in >= 0) rc = posix_spawn_file_actions_adddup2(files, launch->in, 0);
    if (!rc && launch->in < 0) rc = posix_spawn_file_actions_addopen(files, 0, "/dev/null", O_RDONLY, 0);
    if (!rc) rc = posix_spawn_file_actions_adddup2(files, launch->out, 1);
    if (!rc) rc = posix_spawn_file_actions_adddup2(files, launch->err, 2);
    if (!rc) rc = posix_spawn_file_actions_addclosefrom_np(files, 3);
    return rc;
}

static int describe_process(posix_spawnattr_t *attr) {
    sigset_t all, none;
    sigfillset(&all);
    sigemptyset(&none);
    int rc = posix_spawnattr_setflags(attr, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
    if (!rc) rc = posix_spawnattr_setsigdefault(attr, &all);
    if (!rc) rc = posix_spawnattr_setsigmask(attr, &none);
    return rc;
}

static int spawn_at(const moon__launch *launch, const char *path, pid_t *pid) {
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attr;
    int rc = posix_spawn_file_actions_init(&files);
    if (rc) return rc;
    if (!(rc = posix_spawnattr_init(&attr))) {
        rc = describe_files(&files, launch);
        if (!rc) rc = describe_process(&attr);
        /* posix_spawn's types are older than const. */
        char *const *argv = (char *const *)launch->argv;
        char *const *env = launch->env ? (char *const *)launch->env : environ;
        if (!rc) rc = posix_spawn(pid, path, &files, &attr, argv, env);
        posix_spawnattr_destroy(&attr);
    }
    posix_spawn_file_actions_destroy(&files);
    return rc;
}

moon_status moon__launch_start(const moon__launch *launch, pid_t *pid, int *pidfd, moon_error *error) {
    char found[4096];
    const char *name = launch->argv[0];
    if (!name) return moon_error_set(error, MOON_EINVAL, "no program is named");
    if (!strchr(name, '/')) {
        moon_status status = look_up(name, found, sizeof found, error);
        if (status) return status;
    }
    int rc = spawn_at(launch, strchr(name, '/') ? name : found, pid);
    if (rc) {
        moon_status status = rc == ENOENT ? MOON_ENOTFOUND : rc == ENOMEM ? MOON_ENOMEM : MOON_EIO;
        moon_error_set(error, status, "cannot start %s: %s", name, strerror(rc));
        if (error) error->cause = rc;
        return status;
    }
    *pidfd = pidfd_open(*pid, 0);
    if (*pidfd >= 0) return MOON_OK;
    int cause = errno;
    kill(-*pid, SIGKILL);
    waitpid(*pid, NULL, 0);
    moon_error_set(error, MOON_EIO, "cannot watch %s: %s", name, strerror(cause));
    if (error) error->cause = cause;
    return MOON_EIO;
}

/* ---- the environment ---- */

static bool contains(const char *name, size_t n, const char *word) {
    size_t length = strlen(word);
    for (size_t i = 0; i + length <= n; i++) {
        if (strncasecmp(name + i, word, length) != 0) continue;
        const char *rest = name + i + length;
        /* GIT_AUTHOR_NAME is no secret; AUTHORIZATION is. */
        bool author = !strcmp(word, "AUTH") && !strncasecmp(rest, "OR", 2) && strncasecmp(rest, "ORI", 3) != 0;
        if (!author) return true;
    }
    return false;
}

static bool passes(const char *variable) {
    static const char *const secret[] = {"KEY", "TOKEN", "SECRET", "PASSW", "CREDENTIAL", "AUTH", "COOKIE", "PRIVATE"};
    size_t n = strcspn(variable, "=");
    for (size_t i = 0; i < sizeof secret / sizeof *secret; i++)
        if (contains(variable, n, secret[i])) return false;
    /* What makes the dynamic loader or libc load code. */
    return strncmp(variable, "LD_", 3) != 0 && strncmp(variable, "GCONV_PATH=", 11) != 0;
}

bool moon__env_is_secret(const char *name) {
    return !passes(name);
}

const char **moon__proc_clean_env(void) {
    size_t n = 0, kept = 0;
    while (environ && environ[n]) n++;
    const char **env = malloc((n + 1) * sizeof *env);
    if (!env) return NULL;
    for (size_t i = 0; i < n; i++)
        if (passes(environ[i])) env[kept++] = environ[i];
    env[kept] = NULL;
    return env;
}
