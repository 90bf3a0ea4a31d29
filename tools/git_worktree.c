/* SPDX-License-Identifier: MIT */
/*
 * Work trees beside the one that somebody works in.
 *
 * libgit2 makes worktrees on branches only, and a fork should leave no branch in somebody's repository; so the few
 * files of one are written here, as gitrepository-layout(5) has them: worktrees/NAME/{HEAD,commondir,gitdir} in the
 * common directory, and a .git file that points there. Then it is opened and judged like any other repository
 * (git_open.c).
 *
 * The index is that of a commit, and the files may be others: so what was not committed then is not committed now.
 *
 * One that is ours to remove has a file `moonlet` among those that the repository keeps of it. It is written first and
 * removed last, so that whatever a process that died has left of a worktree is found. The directory is removed only if
 * its .git file leads back.
 */
#include "git_worktree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "git_open.h"

enum { TRIES = 100, NAME_LENGTH = 100 };

static const char note_name[] = "moonlet", doom_name[] = "moonlet-remove";

typedef struct place {
    char dir[PATH_MAX];   /* the work tree; real */
    char admin[PATH_MAX]; /* what the repository keeps of it */
    bool made_dir, made_admin;
} place;

/* ---- making directories ---- */

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at) {
    (void)st, (void)type, (void)at;
    return remove(path), 0;
}

/* What was made here goes again. */
static void undo(const place *p) {
    if (p->made_admin) (void)nftw(p->admin, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
    if (p->made_dir) (void)nftw(p->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

static int make_dir(moon__git_job *job, place *p, const char *dir, bool another) {
    char name[PATH_MAX];
    int n = snprintf(name, sizeof name, "%s", dir), bad = -1;
    if (n >= (int)sizeof name - 8 || strchr(dir, '\n')) return moon__git_fail(job, "%.200s cannot be a work tree", dir);
    for (int i = 2; (bad = mkdir(name, 0777)) && errno == EEXIST && another && i < TRIES; i++)
        snprintf(name + n, sizeof name - (size_t)n, "-%d", i);
    if (bad && errno == EEXIST && !another && !rmdir(name)) bad = mkdir(name, 0777); /* it was empty */
    if (bad)
        return moon__git_fail(job, "cannot make %.300s: %s", name,
                              errno == ENOTEMPTY || errno == ENOTDIR || errno == EEXIST ? "it is there already"
                                                                                        : strerror(errno));
    p->made_dir = realpath(name, p->dir) != NULL;
    if (p->made_dir) return 0;
    rmdir(name);
    return moon__git_fail(job, "cannot make %.300s: its path is too long", name);
}

/* The directory's own name, as far as it can be one in the repository. */
static void name_of(const char *dir, char name[NAME_LENGTH + 1]) {
    const char *base = strrchr(dir, '/') + 1;
    size_t n = 0;
    for (; base[n] && n < NAME_LENGTH; n++) {
        bool plain = (base[n] >= '0' && base[n] <= '9') || (base[n] >= 'a' && base[n] <= 'z') ||
                     (base[n] >= 'A' && base[n] <= 'Z') || base[n] == '_' || (n && base[n] == '.');
        name[n] = plain ? base[n] : '-';
    }
    name[n] = 0;
}

static int make_admin(moon__git_job *job, place *p) {
    char common[PATH_MAX], name[NAME_LENGTH + 1], path[PATH_MAX];
    int bad = -1;
    if (!realpath(job->git->repository_commondir(job->repo), common) || strlen(common) > PATH_MAX - 200)
        return moon__git_fail(job, "the repository's directory cannot be read");
    name_of(p->dir, name);
    snprintf(path, sizeof path, "%.*s/worktrees", PATH_MAX - 200, common);
    (void)mkdir(path, 0777);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC); /* never by way of somebody's link */
    if (fd >= 0) close(fd);
    snprintf(p->admin, sizeof p->admin, "%.*s/%s", PATH_MAX - 120, path, name);
    size_t n = strlen(p->admin);
    for (int i = 2; fd >= 0 && (bad = mkdir(p->admin, 0777)) && errno == EEXIST && i < TRIES; i++)
        snprintf(p->admin + n, sizeof p->admin - n, "%d", i);
    p->made_admin = !bad;
    return bad ? moon__git_fail(job, "cannot make a worktree in %.300s: %s", path, strerror(errno)) : 0;
}

/* ---- its files ---- */

static int write_line(moon__git_job *job, const char *dir, const char *name, const char *before, const char *text) {
    char path[PATH_MAX + 16];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
    int bad = fd < 0 || dprintf(fd, "%s%s\n", before, text) < 0;
    if (fd >= 0 && close(fd)) bad = 1;
    return bad ? moon__git_fail(job, "cannot write %.300s: %s", path, strerror(errno)) : 0;
}

static int write_files(moon__git_job *job, const place *p, const char *head, const char *note) {
    char dot_git[PATH_MAX + 8];
    snprintf(dot_git, sizeof dot_git, "%s/.git", p->dir);
    return (note && write_line(job, p->admin, note_name, "", note)) ||
                   write_line(job, p->admin, "commondir", "", "../..") || write_line(job, p->admin, "HEAD", "", head) ||
                   write_line(job, p->admin, "gitdir", "", dot_git) ||
                   write_line(job, p->dir, ".git", "gitdir: ", p->admin)
               ? -1
               : 0;
}

/* ---- its contents ---- */

static int check_out(moon__git_job *job, const char *what, unsigned more) {
    const moon__git *git = job->git;
    git_checkout_options options;
    git_object *object = NULL;
    git_oid id;
    git->checkout_options_init(&options, GIT_CHECKOUT_OPTIONS_VERSION);
    options.checkout_strategy = GIT_CHECKOUT_FORCE | GIT_CHECKOUT_RECREATE_MISSING | more;
    int bad = git->oid_fromstrn(&id, what, strlen(what)) ||
              git->object_lookup(&object, job->repo, &id, GIT_OBJECT_ANY) ||
              git->checkout_tree(job->repo, object, &options);
    git->object_free(object);
    return bad ? moon__git_trouble(job, "cannot check out %.40s", what) : 0;
}

static int fill(moon__git_job *job, const place *p, const moon__git_worktree *tree) {
    moon__git_job made = {.root = p->dir, .cancelled = job->cancelled, .ctx = job->ctx};
    int bad = moon__git_begin(&made);
    if (!bad) bad = check_out(&made, tree->commit, 0);
    if (!bad && strcmp(tree->commit, tree->files) != 0)
        bad = check_out(&made, tree->files, GIT_CHECKOUT_DONT_UPDATE_INDEX);
    moon__git_end(&made);
    return bad ? moon__git_fail(job, "%s", made.error) : 0;
}

/* Makes the directory at path unless it is one; a link is none. */
static bool is_directory(const char *path) {
    struct stat st;
    (void)mkdir(path, 0777);
    return !lstat(path, &st) && S_ISDIR(st.st_mode);
}

/* The workspace may be a directory of the work tree that holds no file, and must not lead out of it. */
static int find_workspace(moon__git_job *job, const place *p, char **workspace) {
    size_t size = strlen(p->dir) + strlen(job->prefix) + 2;
    char *path = malloc(size);
    if (!path) return moon__git_nomem(job);
    snprintf(path, size, "%s/%s", p->dir, job->prefix);
    bool fine = true;
    for (char *slash = path + strlen(p->dir); slash && fine; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        fine = is_directory(path);
        if (slash[1]) *slash = '/';
    }
    if (fine) {
        *workspace = path;
        return 0;
    }
    free(path);
    return moon__git_fail(job, "there is no directory %.300s in it", job->prefix);
}

int moon__git_worktree_make(moon__git_job *job, moon__git_worktree *tree) {
    place p = {.made_dir = false};
    int bad = make_dir(job, &p, tree->dir, tree->another) || make_admin(job, &p) ||
              write_files(job, &p, tree->head, tree->note) || fill(job, &p, tree) ||
              find_workspace(job, &p, &tree->workspace);
    if (bad) undo(&p);
    memcpy(tree->top, p.dir, sizeof tree->top);
    return bad ? -1 : 0;
}

/* ---- those that are there ---- */

static bool read_text(const char *dir, const char *name, char *text, size_t size) {
    char path[PATH_MAX + 300];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    ssize_t n = fd < 0 ? -1 : read(fd, text, size - 1);
    if (fd >= 0) close(fd);
    if (n < 0 || n == (ssize_t)size - 1) return false;
    text[n] = 0;
    return true;
}

/* From the file `gitdir`, which names the work tree's .git file, and that file itself. */
static void find_top(moon__git_noted *noted) {
    static const char tail[] = "/.git\n", head[] = "gitdir: ";
    char text[PATH_MAX + 16];
    noted->top[0] = 0;
    noted->there = false;
    if (!read_text(noted->admin, "gitdir", text, sizeof text)) return;
    size_t n = strlen(text);
    if (text[0] != '/' || n <= sizeof tail || n >= PATH_MAX || strcmp(text + n - (sizeof tail - 1), tail) != 0) return;
    snprintf(noted->top, sizeof noted->top, "%.*s", (int)(n - (sizeof tail - 1)), text);
    if (!read_text(noted->top, ".git", text, sizeof text)) return;
    text[strcspn(text, "\n")] = 0;
    noted->there = !strncmp(text, head, sizeof head - 1) && !strcmp(text + sizeof head - 1, noted->admin);
}

int moon__git_worktree_each(moon__git_job *job, bool (*each)(void *ctx, const moon__git_noted *noted), void *ctx) {
    char common[PATH_MAX], path[PATH_MAX + 16], note[MOON__GIT_NOTE_MAX];
    moon__git_noted noted = {.note = note};
    struct dirent *entry;
    bool more = true;
    if (!realpath(job->git->repository_commondir(job->repo), common))
        return moon__git_fail(job, "the repository's directory cannot be read");
    snprintf(path, sizeof path, "%s/worktrees", common);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (!dir && fd >= 0) close(fd);
    while (dir && more && (entry = readdir(dir))) {
        int n = snprintf(noted.admin, sizeof noted.admin, "%.3800s/%.255s", path, entry->d_name);
        if (entry->d_name[0] == '.' || n >= (int)sizeof noted.admin ||
            !read_text(noted.admin, note_name, note, sizeof note))
            continue;
        find_top(&noted);
        more = each(ctx, &noted);
    }
    if (dir) closedir(dir);
    return more ? 0 : 1;
}

bool moon__git_worktree_doomed(const moon__git_noted *noted) {
    char text[8];
    return read_text(noted->admin, doom_name, text, sizeof text);
}

int moon__git_worktree_doom(moon__git_job *job, const moon__git_noted *noted) {
    return moon__git_worktree_doomed(noted) ? 0 : write_line(job, noted->admin, doom_name, "", "");
}

/* The .git file is what shows that the directory is ours, and the note that there is anything: they go last. */
static int remove_rest(const char *path, const struct stat *st, int type, struct FTW *at) {
    (void)st, (void)type;
    const char *name = path + at->base;
    bool last = (at->level == 1 && (!strcmp(name, ".git") || !strcmp(name, note_name))) || !at->level;
    if (!last) (void)remove(path);
    return 0;
}

static int remove_dir(moon__git_job *job, const char *dir, const char *last) {
    char path[PATH_MAX + 16];
    (void)nftw(dir, remove_rest, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
    snprintf(path, sizeof path, "%s/%s", dir, last);
    (void)unlink(path);
    return rmdir(dir) && errno != ENOENT ? moon__git_fail(job, "cannot remove %.300s: %s", dir, strerror(errno)) : 0;
}

/* Nothing came into it but an empty .git file, or there is something else by now. */
static void remove_begun(const char *dir) {
    char path[PATH_MAX + 8];
    struct stat st;
    snprintf(path, sizeof path, "%s/.git", dir);
    if (!lstat(path, &st) && S_ISREG(st.st_mode) && !st.st_size) (void)unlink(path);
    (void)rmdir(dir);
}

int moon__git_worktree_remove(moon__git_job *job, const moon__git_noted *noted) {
    if (noted->there && remove_dir(job, noted->top, ".git")) return -1;
    if (!noted->there && *noted->top) remove_begun(noted->top);
    return 0;
}

int moon__git_worktree_forget(moon__git_job *job, const moon__git_noted *noted) {
    return remove_dir(job, noted->admin, note_name);
}
