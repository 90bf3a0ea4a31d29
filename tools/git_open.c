/* SPDX-License-Identifier: MIT */
/*
 * Finding the repository of the workspace, and judging it.
 *
 * A repository is data that somebody else may have made. libgit2 runs no program of it (hooks, filters, textconv,
 * fsmonitor), but its files say where things are, and could say "elsewhere". So:
 *   1. The repository is the workspace's own, or that of the nearest directory above it on the same file system that
 *      has one. The environment (GIT_DIR and its like) is not asked.
 *   2. Its owner must be the user who runs us. libgit2 checks that, and honours safe.directory of the user's own
 *      configuration as git does; we only make the message say what to do.
 *   3. The work tree must be the directory in which .git was found: core.worktree cannot move it.
 *   4. A .git directory holds all of the repository. A .git file (git worktree, submodules) may lead elsewhere only if
 *      that place points back here, which a stranger's archive cannot arrange: through its `gitdir` file or its
 *      core.worktree. The common directory must contain the git directory and be of the same owner.
 *   5. No part of it that is read or written through a fixed name is a symbolic link, and objects/info/alternates
 *      borrows from nowhere but the repository's own directory.
 */
#include "git_open.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_MAX = 16 << 10 };

static bool is_kind(const char *dir, const char *name, mode_t kind) {
    char path[PATH_MAX];
    struct stat st;
    int n = snprintf(path, sizeof path, "%s/%s", dir, name);
    return n > 0 && n < (int)sizeof path && !lstat(path, &st) && (st.st_mode & S_IFMT) == kind;
}

static bool looks_bare(const char *dir) {
    return is_kind(dir, "HEAD", S_IFREG) && is_kind(dir, "objects", S_IFDIR) && is_kind(dir, "refs", S_IFDIR);
}

static bool has_repository(const char *dir) {
    return is_kind(dir, ".git", S_IFREG) || is_kind(dir, ".git/HEAD", S_IFREG) || is_kind(dir, ".git/HEAD", S_IFLNK);
}

/* The directory that has the repository: dir is the workspace, and is shortened to it. */
static int find(moon__git_job *job, char *dir, bool *bare) {
    struct stat here, above;
    *bare = !has_repository(dir) && looks_bare(dir);
    if (*bare || stat(dir, &here)) return *bare ? 0 : moon__git_fail(job, "the workspace cannot be read");
    for (;;) {
        if (is_kind(dir, ".git", S_IFLNK))
            return moon__git_fail(job, "%.400s/.git is a symbolic link: such a repository is not opened", dir);
        if (has_repository(dir)) return 0;
        char *slash = strrchr(dir, '/');
        if (!slash || !dir[1]) break;
        slash[slash == dir] = 0;
        if (stat(dir, &above) || above.st_dev != here.st_dev) break;
    }
    return moon__git_fail(job, "not a git repository: neither %.400s nor a directory above it has one", job->root);
}

/* ---- judging ---- */

static bool contains(const char *dir, const char *path) {
    size_t n = strlen(dir);
    return !strncmp(dir, path, n) && (!path[n] || path[n] == '/' || (n && dir[n - 1] == '/'));
}

static bool resolve(const char *path, char out[PATH_MAX]) {
    return path && realpath(path, out);
}

/* Rule 4 for a .git file: the place must point back. For a worktree libgit2 takes the work tree from the `gitdir` file
 * over there, and rule 3 compares it; a submodule, and a separate git directory, name it in core.worktree. */
static int check_gitlink(moon__git_job *job, const char *gitdir) {
    const moon__git *git = job->git;
    if (git->repository_is_worktree(job->repo)) return 0;
    git_config *config = NULL, *local = NULL;
    const char *worktree = NULL;
    git_config *snapshot = NULL;
    if (!git->repository_config(&config, job->repo) &&
        !git->config_open_level(&local, config, GIT_CONFIG_LEVEL_LOCAL) && !git->config_snapshot(&snapshot, local))
        git->config_get_string(&worktree, snapshot, "core.worktree");
    bool points_back = worktree != NULL;
    git->config_free(snapshot);
    git->config_free(local);
    git->config_free(config);
    if (points_back) return 0;
    return moon__git_fail(job, "the .git file here leads to %.300s, which does not point back: refused", gitdir);
}

static int check_symlinks(moon__git_job *job, const char *dir) {
    static const char *const names[] = {"HEAD",         "config",       "index",     "objects", "objects/pack",
                                        "objects/info", "packed-refs",  "refs",      "logs",    "refs/heads",
                                        "shallow",      "info/exclude", "commondir", "info",    "COMMIT_EDITMSG"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (is_kind(dir, names[i], S_IFLNK))
            return moon__git_fail(job, "%.300s/%s is a symbolic link: such a repository is not opened", dir, names[i]);
    return 0;
}

static int check_alternate(moon__git_job *job, const char *common, char *line) {
    char path[PATH_MAX], real[PATH_MAX];
    if (!*line || *line == '#') return 0;
    int n = *line == '/' ? snprintf(path, sizeof path, "%s", line)
                         : snprintf(path, sizeof path, "%s/objects/%s", common, line);
    if (n < (int)sizeof path && resolve(path, real) && contains(job->top ? job->top : common, real)) return 0;
    return moon__git_fail(
        job,
        "the repository borrows objects from %.300s (objects/info/alternates), outside of it: refused. "
        "`git repack -a` there and removing that file makes it whole",
        line);
}

static int check_alternates(moon__git_job *job, const char *common) {
    char path[PATH_MAX], text[FILE_MAX];
    snprintf(path, sizeof path, "%.*s/objects/info/alternates", PATH_MAX - 32, common);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 && errno == ENOENT) return 0;
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0) close(fd);
    if (n < 0 || n == sizeof text - 1) return moon__git_fail(job, "objects/info/alternates cannot be read: refused");
    text[n] = 0;
    for (char *line = text, *next; line; line = next) {
        next = strchr(line, '\n');
        if (next) *next++ = 0;
        if (check_alternate(job, common, line)) return -1;
    }
    return 0;
}

/* Rules 3 to 5 on an open repository that was found in dir. */
static int judge(moon__git_job *job, const char *dir) {
    const moon__git *git = job->git;
    char gitdir[PATH_MAX], common[PATH_MAX], work[PATH_MAX], expected[PATH_MAX];
    struct stat own, shared;
    if (!resolve(git->repository_path(job->repo), gitdir) || !resolve(git->repository_commondir(job->repo), common))
        return moon__git_fail(job, "the repository's directory cannot be read");
    if (job->top) {
        if (!resolve(git->repository_workdir(job->repo), work) || strcmp(work, dir))
            return moon__git_fail(
                job, "the repository's work tree (core.worktree) is said to be %.300s, not %.200s: refused",
                git->repository_workdir(job->repo), dir);
    }
    if (is_kind(dir, ".git", S_IFREG)) {
        if (check_gitlink(job, gitdir)) return -1;
        if (!contains(common, gitdir) || stat(gitdir, &own) || stat(common, &shared) || own.st_uid != shared.st_uid)
            return moon__git_fail(job, "the .git file here leads to a part of %.300s that is not of it: refused",
                                  common);
    } else {
        bool inside = is_kind(dir, ".git", S_IFDIR);
        snprintf(expected, sizeof expected, "%.*s%s", PATH_MAX - 8, dir[1] ? dir : "", inside ? "/.git" : "");
        if (strcmp(gitdir, expected) || strcmp(common, gitdir))
            return moon__git_fail(job, "the repository in %.200s has its parts elsewhere (%.200s): refused", dir,
                                  common);
    }
    if (check_symlinks(job, gitdir) || (strcmp(gitdir, common) && check_symlinks(job, common))) return -1;
    return check_alternates(job, common);
}

/* ---- opening ---- */

static int open_failed(moon__git_job *job, const char *dir) {
    struct stat st, git_st;
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%.*s/.git", PATH_MAX - 8, dir);
    if (stat(path, &git_st)) git_st.st_uid = geteuid();
    if (!stat(dir, &st) && (st.st_uid != geteuid() || git_st.st_uid != geteuid()))
        return moon__git_fail(
            job,
            "the repository %.200s belongs to user id %u, and this process runs as %u: like git, this "
            "tool does not open it. If you trust it: git config --global --add safe.directory %.200s",
            dir, (unsigned)(st.st_uid != geteuid() ? st.st_uid : git_st.st_uid), (unsigned)geteuid(), dir);
    return moon__git_trouble(job, "the git repository in %.200s cannot be opened", dir);
}

/* The work tree's path without its last slash, and the workspace below it. */
static int place(moon__git_job *job, const char *dir, const char *root) {
    size_t n = strlen(dir) > 1 ? strlen(dir) : 0;
    const char *below = root[n] == '/' ? root + n + 1 : "";
    size_t top_size = strlen(dir) + 1, prefix_size = strlen(below) + 2;
    job->place = malloc(top_size + prefix_size);
    if (!job->place) return moon__git_nomem(job);
    memcpy(job->place, dir, top_size);
    snprintf(job->place + top_size, prefix_size, "%s%s", below, *below ? "/" : "");
    job->top = job->place;
    job->prefix = job->place + top_size;
    return 0;
}

int moon__git_open(moon__git_job *job) {
    const char *root = job->root;
    char dir[PATH_MAX];
    bool bare;
    if (strlen(root) >= sizeof dir) return moon__git_fail(job, "the workspace's path is too long");
    snprintf(dir, sizeof dir, "%s", root);
    if (find(job, dir, &bare)) return -1;
    unsigned flags = GIT_REPOSITORY_OPEN_NO_SEARCH;
    if (bare) flags |= GIT_REPOSITORY_OPEN_NO_DOTGIT | GIT_REPOSITORY_OPEN_BARE;
    job->git->error_clear();
    if (job->git->repository_open_ext(&job->repo, dir, flags, NULL)) return open_failed(job, dir);
    if (job->git->repository_workdir(job->repo) && place(job, dir, root)) return -1;
    return judge(job, dir);
}
