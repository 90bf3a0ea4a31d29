/* SPDX-License-Identifier: MIT */
/*
 * The tree of a work tree.
 *
 * An index says of each file what its contents were when it was last looked at, and its times, so that only files whose
 * times differ are read. Ours begins as a copy of the user's and is kept in a file of the run; the user's is only read.
 * libgit2 compares it with the work tree and brings the times of unchanged files up to date; what has changed is put
 * into it here, and it is written as a tree. Directories that did not change cost nothing, as their trees are in it
 * too.
 *
 * What is in the tree is what `git add -A` would stage: ignored files are left out unless they are tracked, line ends
 * are as the attributes say, a submodule stays the commit that the index names. Filters are programs, and are not run:
 * such a file is kept as it is. Left out besides, and told: files over FILE_MAX, what cannot be read, and repositories
 * within this one.
 */
#include "git_scan.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const int64_t file_max = INT64_C(64) << 20; /* of one file, bytes */

typedef struct scan {
    moon__git_job *job;
    const moon_snapshot_request *request;
    git_index *index;
    const char *skip; /* relative to the work tree; NULL: none */
    struct timespec began;
} scan;

static void leave_out(const scan *s, const char *path, const char *why) {
    if (s->request->left_out) s->request->left_out(s->request->ctx, path, why);
}

/* ---- our index ---- */

static bool copy_bytes(int from, int to) {
    char bytes[64 << 10];
    for (;;) {
        ssize_t n = read(from, bytes, sizeof bytes);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return n == 0;
        for (ssize_t done = 0; done < n;) {
            ssize_t k = write(to, bytes + done, (size_t)(n - done));
            if (k < 0 && errno != EINTR) return false;
            if (k > 0) done += k;
        }
    }
}

/* git replaces the file as a whole, so that one that is open does not change. Its time comes along, because it says
 * which of the times in it can be relied on. */
bool moon__git_copy_index(const moon__git_job *job, const char *to_path) {
    char path[PATH_MAX];
    struct stat st;
    int n = snprintf(path, sizeof path, "%sindex", job->git->repository_path(job->repo));
    int from = n < (int)sizeof path ? open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK) : -1;
    if (from < 0) return false;
    int to = open(to_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    bool fine = to >= 0 && !fstat(from, &st) && S_ISREG(st.st_mode) && copy_bytes(from, to);
    if (fine) fine = !fchmod(to, st.st_mode & 0777) && !futimens(to, (struct timespec[]){st.st_atim, st.st_mtim});
    if (to >= 0) close(to);
    close(from);
    if (!fine) unlink(to_path);
    return fine;
}

/* A file that the user has told git not to look at is looked at. */
static int look_at_all(const scan *s) {
    const moon__git *git = s->job->git;
    for (size_t i = 0, n = git->index_entrycount(s->index); i < n; i++) {
        const git_index_entry *e = git->index_get_byindex(s->index, i);
        if (!(e->flags & GIT_INDEX_ENTRY_VALID)) continue;
        git_index_entry seen = *e;
        seen.flags = (uint16_t)(seen.flags & ~GIT_INDEX_ENTRY_VALID);
        if (git->index_add(s->index, &seen)) return -1;
    }
    return 0;
}

/* On failure there is none. */
static int open_index(scan *s) {
    const moon__git *git = s->job->git;
    const char *cache = s->request->cache;
    int bad = cache ? git->index_open(&s->index, cache) : git->repository_index(&s->index, s->job->repo);
    if (bad) s->index = NULL;
    /* From here on it is what libgit2 takes for the repository's, in this handle. */
    if (!bad && cache) bad = git->repository_set_index(s->job->repo, s->index);
    if (!bad) bad = git->index_conflict_cleanup(s->index) || look_at_all(s);
    return bad;
}

static void close_index(scan *s) {
    s->job->git->index_free(s->index);
    s->index = NULL;
}

/* ---- one file ---- */

/* Could it have been written to once more without its time showing it? Clocks of file systems go in steps: of some
 * milliseconds, or of a second or two where no fraction is ever seen. */
static bool is_fresh(const scan *s, const struct stat *st) {
    int64_t step_ms = st->st_mtim.tv_nsec ? 20 : 2000;
    int64_t age_ms =
        (int64_t)(s->began.tv_sec - st->st_mtim.tv_sec) * 1000 + (s->began.tv_nsec - st->st_mtim.tv_nsec) / 1000000;
    return age_ms < step_ms;
}

static git_index_entry entry_of(const scan *s, const char *path, uint16_t mode, const struct stat *st) {
    git_index_entry e = {.mode = mode,
                         .path = path,
                         .dev = (uint32_t)st->st_dev,
                         .ino = (uint32_t)st->st_ino,
                         .uid = st->st_uid,
                         .gid = st->st_gid,
                         .file_size = (uint32_t)st->st_size,
                         .ctime = {(int32_t)st->st_ctim.tv_sec, (uint32_t)st->st_ctim.tv_nsec},
                         .mtime = {(int32_t)st->st_mtim.tv_sec, (uint32_t)st->st_mtim.tv_nsec}};
    if (is_fresh(s, st)) e.mtime = (git_index_time){0, 0}; /* no file's: it is read again next time */
    return e;
}

static int look(const scan *s, const char *path, struct stat *st) {
    char full[PATH_MAX];
    int n = snprintf(full, sizeof full, "%s/%s", s->job->top, path);
    if (n < (int)sizeof full) return lstat(full, st) ? errno : 0;
    return ENAMETOOLONG;
}

static int forget(const scan *s, const char *path) {
    int bad = s->job->git->index_remove(s->index, path, 0);
    return bad && bad != GIT_ENOTFOUND ? moon__git_trouble(s->job, "cannot leave out %.200s", path) : 0;
}

static int keep_file(const scan *s, const git_diff_file *file) {
    const moon__git *git = s->job->git;
    const char *path = file->path;
    struct stat st;
    char why[300];
    git->error_clear();
    int cause = look(s, path, &st);
    if (cause == ENOENT || cause == ENOTDIR) return forget(s, path); /* it has gone meanwhile */
    bool kept_kind = !cause && (S_ISREG(st.st_mode) || S_ISLNK(st.st_mode));
    if (!cause && kept_kind && st.st_size > file_max)
        snprintf(why, sizeof why, "it is over %lld MiB", (long long)(file_max >> 20));
    else if (cause)
        snprintf(why, sizeof why, "%s", strerror(cause));
    else if (!kept_kind)
        return forget(s, path);
    else {
        uint16_t mode = S_ISLNK(st.st_mode) ? GIT_FILEMODE_LINK : file->mode;
        if (S_ISREG(st.st_mode) && mode != GIT_FILEMODE_BLOB_EXECUTABLE) mode = GIT_FILEMODE_BLOB;
        git_index_entry e = entry_of(s, path, mode, &st);
        if (!git->blob_create_from_workdir(&e.id, s->job->repo, path) && !git->index_add(s->index, &e)) return 0;
        const git_error *last = git->error_last();
        snprintf(why, sizeof why, "%s", last && last->message ? last->message : "it cannot be read");
    }
    leave_out(s, path, why);
    return 0;
}

/* One that is in the index and was not found. */
static int gone(const scan *s, const char *path) {
    struct stat st;
    if (look(s, path, &st) != EACCES) return forget(s, path);
    leave_out(s, path, strerror(EACCES));
    return 0;
}

static bool is_skipped(const scan *s, const char *path) {
    return s->skip && !strncmp(path, s->skip, strlen(s->skip));
}

/* What a process that was ended while it replaced a file (moon_call_replace) has left: no file of anybody. */
static bool is_temporary(const char *path) {
    static const char prefix[] = ".moonlet-";
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path, *rest = name + sizeof prefix - 1;
    return !strncmp(name, prefix, sizeof prefix - 1) && strlen(rest) == 16 && strspn(rest, "0123456789abcdef") == 16;
}

static int take_delta(const scan *s, const git_diff_delta *delta) {
    const char *path = delta->new_file.path;
    if (is_skipped(s, path) || (delta->status == GIT_DELTA_UNTRACKED && is_temporary(path))) return 0;
    switch (delta->status) {
    case GIT_DELTA_DELETED: return gone(s, path);
    case GIT_DELTA_UNTRACKED:
        if (path[strlen(path) - 1] != '/') return keep_file(s, &delta->new_file);
        leave_out(s, path, "it is a repository of its own");
        return 0;
    case GIT_DELTA_TYPECHANGE:
        if (delta->new_file.mode == GIT_FILEMODE_COMMIT || delta->new_file.mode == GIT_FILEMODE_TREE)
            return forget(s, path);
        return keep_file(s, &delta->new_file);
    case GIT_DELTA_MODIFIED:
    case GIT_DELTA_ADDED: return keep_file(s, &delta->new_file);
    case GIT_DELTA_UNREADABLE: leave_out(s, path, strerror(EACCES)); return 0;
    default: return 0;
    }
}

/* ---- all of them ---- */

static int on_progress(const git_diff *diff, const char *old_path, const char *new_path, void *payload) {
    (void)diff, (void)old_path, (void)new_path;
    return moon__git_pause(((const scan *)payload)->job);
}

static int compare(scan *s, git_diff **diff) {
    const moon__git *git = s->job->git;
    git_diff_options options;
    git->diff_options_init(&options, GIT_DIFF_OPTIONS_VERSION);
    options.flags = GIT_DIFF_INCLUDE_UNTRACKED | GIT_DIFF_RECURSE_UNTRACKED_DIRS | GIT_DIFF_INCLUDE_TYPECHANGE |
                    GIT_DIFF_INCLUDE_UNREADABLE | GIT_DIFF_IGNORE_SUBMODULES | GIT_DIFF_DISABLE_PATHSPEC_MATCH;
    if (s->request->cache) options.flags |= GIT_DIFF_UPDATE_INDEX;
    options.progress_cb = on_progress;
    options.payload = s;
    if (!git->diff_index_to_workdir(diff, s->job->repo, s->index, &options)) return 0;
    if (moon__git_pause(s->job)) return -1;
    return moon__git_trouble(s->job, "cannot compare the work tree");
}

static int one_scan(scan *s, git_oid *tree) {
    const moon__git *git = s->job->git;
    git_diff *diff = NULL;
    if (open_index(s)) {
        close_index(s);
        return moon__git_trouble(s->job, "the index cannot be read");
    }
    clock_gettime(CLOCK_REALTIME, &s->began);
    int bad = compare(s, &diff);
    for (size_t i = 0, n = bad ? 0 : git->diff_num_deltas(diff); !bad && i < n; i++)
        bad = moon__git_pause(s->job) || take_delta(s, git->diff_get_delta(diff, i)) ? -1 : 0;
    git->diff_free(diff);
    if (!bad && git->index_write_tree(tree, s->index)) bad = moon__git_trouble(s->job, "cannot write the tree");
    if (!bad && s->request->cache && git->index_write(s->index))
        unlink(s->request->cache); /* the next one costs more */
    close_index(s);
    return bad;
}

/* The journal's place within the work tree. */
static const char *within(const moon__git_job *job, const char *path) {
    size_t n = strlen(job->top);
    if (!path || strncmp(path, job->top, n) != 0) return NULL;
    return n == 1 ? path + 1 : path[n] == '/' ? path + n + 1 : NULL;
}

/* An index that is of no use (an extension that libgit2 does not know, objects that are no more) is begun anew, from
 * nothing: then everything is read. */
int moon__git_scan(moon__git_job *job, const moon_snapshot_request *request, git_oid *tree) {
    scan s = {.job = job, .request = request, .skip = within(job, request->skip)};
    struct stat st;
    const char *cache = request->cache;
    if (!cache) return one_scan(&s, tree);
    if (lstat(cache, &st)) (void)moon__git_copy_index(job, cache);
    int bad = one_scan(&s, tree);
    if (!bad || moon__git_pause(job)) return bad;
    unlink(cache);
    return one_scan(&s, tree);
}
