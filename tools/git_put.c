/* SPDX-License-Identifier: MIT */
#include "git_put.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct put {
    moon__git_job *job;
    git_tree *tree;
    const git_diff *diff;
    char from[PATH_MAX]; /* where they are written first */
} put;

static const git_diff_delta *delta_at(const put *p, size_t i) {
    return p->job->git->diff_get_delta(p->diff, i);
}

static const char *path_of(const git_diff_delta *delta) {
    return delta->status == GIT_DELTA_DELETED ? delta->old_file.path : delta->new_file.path;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at) {
    (void)st, (void)type, (void)at;
    (void)remove(path);
    return 0;
}

/* ---- written aside ---- */

static int write_aside(put *p) {
    const moon__git *git = p->job->git;
    size_t n = git->diff_num_deltas(p->diff), count = 0;
    char **paths = calloc(n + 1, sizeof *paths);
    git_checkout_options options;
    if (!paths) return moon__git_nomem(p->job);
    for (size_t i = 0; i < n; i++)
        if (delta_at(p, i)->status != GIT_DELTA_DELETED) paths[count++] = (char *)(uintptr_t)path_of(delta_at(p, i));
    git->checkout_options_init(&options, GIT_CHECKOUT_OPTIONS_VERSION);
    options.checkout_strategy = GIT_CHECKOUT_FORCE | GIT_CHECKOUT_RECREATE_MISSING | GIT_CHECKOUT_DONT_UPDATE_INDEX |
                                GIT_CHECKOUT_DISABLE_PATHSPEC_MATCH;
    options.target_directory = p->from;
    options.paths = (git_strarray){paths, count};
    int bad = mkdir(p->from, 0777) != 0;
    if (!bad && count) bad = git->checkout_tree(p->job->repo, (git_object *)p->tree, &options);
    free(paths);
    return bad ? moon__git_trouble(p->job, "cannot write the merged files to %.300s", p->from) : 0;
}

/* ---- brought in ---- */

static int full_path(const put *p, const char *top, const char *path, char out[PATH_MAX]) {
    return snprintf(out, PATH_MAX, "%s/%s", top, path) < PATH_MAX
               ? 0
               : moon__git_fail(p->job, "the path of %.300s is too long", path);
}

/* Directories that nothing is left in go too. */
static int take_away(const put *p, const char *path) {
    char full[PATH_MAX];
    size_t top = strlen(p->job->top);
    if (full_path(p, p->job->top, path, full)) return -1;
    if (unlink(full) && errno != ENOENT && errno != ENOTDIR)
        return moon__git_fail(p->job, "cannot remove %.300s: %s", full, strerror(errno));
    for (char *slash = strrchr(full, '/'); slash && slash > full + top; slash = strrchr(full, '/')) {
        *slash = 0;
        if (rmdir(full)) break;
    }
    return 0;
}

static void make_parents(char *full, size_t top) {
    for (char *slash = strchr(full + top + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        (void)mkdir(full, 0777);
        *slash = '/';
    }
}

static bool copy(const char *from, int to) {
    char bytes[64 << 10];
    int fd = open(from, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : 1;
    while (n > 0 && (n = read(fd, bytes, sizeof bytes)) > 0)
        for (ssize_t done = 0, k; done < n; done += k)
            if ((k = write(to, bytes + done, (size_t)(n - done))) < 0) {
                n = -1;
                break;
            }
    if (fd >= 0) close(fd);
    return n == 0;
}

/* The repository's directory is on another file system. */
static int move_over(const char *from, const char *to) {
    char beside[PATH_MAX], target[PATH_MAX];
    struct stat st;
    const char *slash = strrchr(to, '/');
    int n = snprintf(beside, sizeof beside, "%.*s/.moonlet-%016llx", (int)(slash - to), to,
                     (unsigned long long)moon_hash(to, strlen(to)));
    if (n >= (int)sizeof beside || lstat(from, &st)) return -1;
    (void)unlink(beside);
    if (S_ISLNK(st.st_mode)) {
        ssize_t length = readlink(from, target, sizeof target - 1);
        if (length < 0) return -1;
        target[length] = 0;
        return symlink(target, beside) || rename(beside, to) ? -1 : 0;
    }
    int fd = open(beside, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, st.st_mode & 0777);
    bool fine = fd >= 0 && copy(from, fd);
    if (fd >= 0 && close(fd)) fine = false;
    return fine && !rename(beside, to) ? 0 : -1;
}

static int bring_in(const put *p, const char *path) {
    char from[PATH_MAX], to[PATH_MAX];
    if (full_path(p, p->from, path, from) || full_path(p, p->job->top, path, to)) return -1;
    make_parents(to, strlen(p->job->top));
    if (!rename(from, to) || (errno == EXDEV && !move_over(from, to))) return 0;
    return moon__git_fail(p->job, "cannot write %.300s: %s", to, strerror(errno));
}

int moon__git_put(moon__git_job *job, git_tree *tree, const git_diff *diff) {
    put p = {.job = job, .tree = tree, .diff = diff};
    size_t n = job->git->diff_num_deltas(diff);
    if (snprintf(p.from, sizeof p.from, "%smoonlet.files", job->git->repository_path(job->repo)) >= (int)sizeof p.from)
        return moon__git_fail(job, "the repository's path is too long");
    (void)nftw(p.from, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
    int bad = write_aside(&p);
    for (size_t i = 0; i < n && !bad; i++)
        if (delta_at(&p, i)->status == GIT_DELTA_DELETED) bad = take_away(&p, path_of(delta_at(&p, i)));
    for (size_t i = 0; i < n && !bad; i++)
        if (delta_at(&p, i)->status != GIT_DELTA_DELETED) bad = bring_in(&p, path_of(delta_at(&p, i)));
    (void)nftw(p.from, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
    return bad;
}
