/* SPDX-License-Identifier: MIT */
/*
 * The workspace and a run's scratch.
 *
 * The root is opened once, by whoever starts the runtime; no model or tool chooses it. Each path is resolved by the
 * kernel beneath it, in one openat2 call: checking a path first and opening it afterwards would lose the race against a
 * rename. A directory descriptor is never kept between calls, because a directory that is moved out of the workspace
 * stays reachable through it.
 */
#include "space.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "text.h"

enum { AGAIN_MAX = 16, SEEN_BUCKETS = 64, PATH_LIMIT = 4096 };
static const char spill_prefix[] = "@spill/", cache_name[] = "snapshot.index";

struct moon__space {
    int fd;
    char *path;
    size_t path_length;
};

/* What the run has seen of one file. */
typedef struct seen {
    struct seen *next;
    uint64_t hash;
    char path[];
} seen;

typedef struct note {
    struct note *next;
    char *text;
    char name[];
} note;

struct moon__scratch {
    moon__space *space;
    moon__scratch *outer; /* of a part, whose space is its own: what has results and notes; NULL: itself */
    unsigned refs;        /* loop thread only */
    pthread_mutex_t lock; /* workers share everything below */
    seen *seen[SEEN_BUCKETS];
    note *notes;
    char *spill_path;
    int spill_fd;
    unsigned spill_count;
    bool has_cache;
};

static moon_status space_status(int cause) {
    switch (cause) {
    case ENOENT: return MOON_ENOTFOUND;
    case ENOTDIR:
    case ELOOP:
    case ENAMETOOLONG: return MOON_EINVAL;
    case EACCES: return MOON_EDENIED;
    case ENOMEM: return MOON_ENOMEM;
    default: return MOON_EIO;
    }
}

/* Opens the directory; what was open stays if it cannot be. */
static moon_status open_space(moon__space *space, const char *path, moon_error *error) {
    char *real = realpath(path, NULL);
    int fd = real ? open(real, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
    if (fd < 0) {
        int cause = errno;
        free(real);
        moon_status status = space_status(cause);
        moon_error_set(error, status, "cannot work in %s: %s", path, strerror(cause));
        if (error) error->cause = cause;
        return status;
    }
    if (space->fd >= 0) close(space->fd);
    free(space->path);
    *space = (moon__space){.fd = fd, .path = real, .path_length = strlen(real)};
    return MOON_OK;
}

moon_status moon__space_new(moon__space **out, const char *path, moon_error *error) {
    moon__space *space = calloc(1, sizeof *space);
    if (!space) return moon_error_set(error, MOON_ENOMEM, "no memory for the workspace");
    space->fd = -1;
    moon_status status = open_space(space, path, error);
    if (status)
        moon__space_free(space);
    else
        *out = space;
    return status;
}

void moon__space_free(moon__space *space) {
    if (!space) return;
    if (space->fd >= 0) close(space->fd);
    free(space->path);
    free(space);
}

const char *moon__space_path(const moon__space *space) {
    return space->path;
}

/* The path relative to the workspace: "./" and doubled slashes fall away, the workspace's own prefix too. "." if
 * nothing is left. Purely textual: ".." stays for the kernel to judge. */
static moon_status relative(const moon__space *space, const char *path, char out[PATH_LIMIT], moon_error *error) {
    if (path[0] == '/' && space->path_length > 1 && !strncmp(path, space->path, space->path_length) &&
        (path[space->path_length] == '/' || !path[space->path_length]))
        path += space->path_length;
    else if (path[0] == '/' && space->path_length > 1)
        return moon_error_set(error, MOON_EDENIED, "%.200s is outside the workspace; paths are relative to %.150s",
                              path, space->path);
    size_t n = 0;
    while (*path) {
        size_t segment = strcspn(path, "/");
        if (segment && !(segment == 1 && path[0] == '.')) {
            if (n + segment + 2 > PATH_LIMIT) return moon_error_set(error, MOON_EINVAL, "the path is too long");
            if (n) out[n++] = '/';
            memcpy(out + n, path, segment);
            n += segment;
        }
        path += segment + (path[segment] == '/');
    }
    if (!n) out[n++] = '.';
    out[n] = 0;
    return MOON_OK;
}

static moon_status open_error(const char *path, int cause, moon_error *error) {
    moon_status status = MOON_EIO;
    const char *text = strerror(cause);
    if (cause == ENOENT || cause == ENOTDIR)
        status = MOON_ENOTFOUND;
    else if (cause == EXDEV || cause == ELOOP) {
        status = MOON_EDENIED;
        text = cause == EXDEV ? "it leads outside the workspace" : "it is a symbolic link, or passes too many of them";
    } else if (cause == EACCES || cause == EPERM)
        status = MOON_EDENIED;
    else if (cause == ENOSYS) {
        status = MOON_EUNSUPPORTED;
        text = "this kernel has no openat2 (Linux 5.6 or later is needed)";
    }
    moon_error_set(error, status, "cannot open %.250s: %s", path, text);
    if (error) error->cause = cause;
    return status;
}

static int beneath(int root, const char *path, int flags, mode_t mode) {
    struct open_how how = {.flags = (uint64_t)(unsigned)flags | O_CLOEXEC,
                           .mode = flags & (O_CREAT | O_TMPFILE) ? mode & 07777 : 0,
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
    long fd;
    int tries = 0;
    do fd = syscall(SYS_openat2, root, path, &how, sizeof how);
    while (fd < 0 && (errno == EAGAIN || errno == EINTR) && ++tries < AGAIN_MAX);
    return (int)fd;
}

moon_status moon__scratch_new(moon__scratch **out, moon__space *space, moon_error *error) {
    moon__scratch *scratch = calloc(1, sizeof *scratch);
    if (!scratch) return moon_error_set(error, MOON_ENOMEM, "no memory for a run");
    scratch->space = space;
    scratch->refs = 1;
    scratch->spill_fd = -1;
    pthread_mutex_init(&scratch->lock, NULL);
    *out = scratch;
    return MOON_OK;
}

moon_status moon__scratch_part(moon__scratch **out, moon__scratch *outer, const char *path, moon_error *error) {
    moon__space *space = calloc(1, sizeof *space);
    if (space) space->fd = -1;
    if (space) space->path = moon__strdup(path);
    if (!space || !space->path) {
        free(space);
        return moon_error_set(error, MOON_ENOMEM, "no memory for a workspace");
    }
    space->path_length = strlen(path);
    moon__scratch *part = NULL;
    moon_status status = moon__scratch_new(&part, space, error);
    if (status) {
        moon__space_free(space);
        return status;
    }
    assert(part);
    part->outer = outer->outer ? outer->outer : outer;
    moon__scratch_ref(part->outer);
    *out = part;
    return MOON_OK;
}

moon_status moon__scratch_enter(moon__scratch *part, const char *path, moon_error *error) {
    return open_space(part->space, path, error);
}

/* What has the results and notes. */
static moon__scratch *whole(moon__scratch *scratch) {
    return scratch->outer ? scratch->outer : scratch;
}

static void remove_spill(moon__scratch *scratch) {
    char name[32];
    for (unsigned i = 1; i <= scratch->spill_count; i++) {
        snprintf(name, sizeof name, "%u.txt", i);
        unlinkat(scratch->spill_fd, name, 0);
    }
    if (scratch->has_cache) unlinkat(scratch->spill_fd, cache_name, 0);
    close(scratch->spill_fd);
    scratch->spill_fd = -1;
    rmdir(scratch->spill_path);
}

void moon__scratch_free(moon__scratch *scratch) {
    if (!scratch) return;
    pthread_mutex_lock(&scratch->lock);
    if (scratch->spill_fd >= 0) remove_spill(scratch);
    pthread_mutex_unlock(&scratch->lock);
    moon__scratch_unref(scratch);
}

void moon__scratch_ref(moon__scratch *scratch) {
    if (scratch) scratch->refs++;
}

void moon__scratch_unref(moon__scratch *scratch) {
    if (!scratch || --scratch->refs) return;
    free(scratch->spill_path);
    for (size_t i = 0; i < SEEN_BUCKETS; i++)
        for (seen *s = scratch->seen[i], *next; s; s = next) {
            next = s->next;
            free(s);
        }
    for (note *n = scratch->notes, *next; n; n = next) {
        next = n->next;
        free(n->text);
        free(n);
    }
    pthread_mutex_destroy(&scratch->lock);
    if (scratch->outer) moon__space_free(scratch->space);
    moon__scratch_unref(scratch->outer);
    free(scratch);
}

moon__space *moon__scratch_space(moon__scratch *scratch) {
    return scratch->space;
}

/* Under the lock, since the directory may go meanwhile. */
static moon_status open_spilled(moon__scratch *scratch, const char *path, int flags, int *fd, moon_error *error) {
    scratch = whole(scratch);
    pthread_mutex_lock(&scratch->lock);
    bool any = scratch->spill_fd >= 0, reads = (flags & O_ACCMODE) == O_RDONLY && !(flags & O_CREAT);
    *fd = any && reads ? beneath(scratch->spill_fd, path + sizeof spill_prefix - 1, flags, 0) : -1;
    int cause = errno;
    pthread_mutex_unlock(&scratch->lock);
    if (!any) return moon_error_set(error, MOON_ENOTFOUND, "cannot open %.250s: no result was kept", path);
    if (!reads) return moon_error_set(error, MOON_EDENIED, "%.250s can only be read", path);
    return *fd < 0 ? open_error(path, cause, error) : MOON_OK;
}

moon_status moon__scratch_open(moon__scratch *scratch, const char *path, int flags, mode_t mode, int *fd,
                               moon_error *error) {
    char rel[PATH_LIMIT];
    if (!strncmp(path, spill_prefix, sizeof spill_prefix - 1)) return open_spilled(scratch, path, flags, fd, error);
    moon_status status = relative(scratch->space, path, rel, error);
    if (status) return status;
    *fd = beneath(scratch->space->fd, rel, flags, mode);
    return *fd < 0 ? open_error(path, errno, error) : MOON_OK;
}

/* Opens the directory rel for renames in it, making it and its parents where they do not exist. */
static int open_parents(int root, char *rel) {
    int fd = beneath(root, rel, O_RDONLY | O_DIRECTORY, 0);
    if (fd >= 0 || errno != ENOENT) return fd;
    char *slash = strrchr(rel, '/');
    int parent;
    if (slash) {
        *slash = 0;
        parent = open_parents(root, rel);
        *slash = '/';
    } else
        parent = beneath(root, ".", O_RDONLY | O_DIRECTORY, 0);
    if (parent < 0) return -1;
    int made = mkdirat(parent, slash ? slash + 1 : rel, 0777), cause = errno;
    close(parent);
    if (made && cause != EEXIST) {
        errno = cause;
        return -1;
    }
    return beneath(root, rel, O_RDONLY | O_DIRECTORY, 0);
}

static int write_all(int fd, const char *data, size_t n) {
    while (n) {
        ssize_t k = write(fd, data, n);
        if (k < 0 && errno == EINTR) continue;
        if (k < 0) return -1;
        data += k;
        n -= (size_t)k;
    }
    return 0;
}

/* Writes base in dir by way of a temporary file. mode 0 on a new file: what open gives with the umask. */
static int replace_in(int dir, const char *base, const void *data, size_t n, mode_t mode) {
    uint64_t random;
    char temp[40];
    if (getrandom(&random, sizeof random, 0) != sizeof random) return -1;
    snprintf(temp, sizeof temp, ".moonlet-%016llx", (unsigned long long)random);
    int fd = openat(dir, temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (fd < 0) return -1;
    int bad = write_all(fd, data, n) || (mode && fchmod(fd, mode)) || fsync(fd);
    int cause = errno;
    if (close(fd) && !bad) bad = 1, cause = errno;
    if (!bad && renameat(dir, temp, dir, base)) bad = 1, cause = errno;
    if (!bad)
        fsync(dir); /* best effort: some file systems cannot */
    else
        unlinkat(dir, temp, 0);
    errno = cause;
    return bad ? -1 : 0;
}

moon_status moon__scratch_replace(moon__scratch *scratch, const char *path, const void *data, size_t n, mode_t mode,
                                  moon_error *error) {
    char rel[PATH_LIMIT];
    if (!strncmp(path, spill_prefix, sizeof spill_prefix - 1))
        return moon_error_set(error, MOON_EDENIED, "%.250s can only be read", path);
    moon_status status = relative(scratch->space, path, rel, error);
    if (status) return status;
    char *slash = strrchr(rel, '/'), *base = slash ? slash + 1 : rel;
    if (!strcmp(base, ".") || !strcmp(base, "..") || path[strlen(path) - 1] == '/')
        return moon_error_set(error, MOON_EINVAL, "%.250s is a directory, not a file", path);
    int dir;
    if (slash) {
        *slash = 0;
        dir = open_parents(scratch->space->fd, rel);
    } else
        dir = beneath(scratch->space->fd, ".", O_RDONLY | O_DIRECTORY, 0);
    if (dir < 0) return open_error(path, errno, error);
    struct stat st;
    if (fstatat(dir, base, &st, AT_SYMLINK_NOFOLLOW) == 0) {
        if (!S_ISREG(st.st_mode)) {
            close(dir);
            return moon_error_set(error, MOON_EDENIED, "%.250s is %s, not a regular file: it is not replaced", path,
                                  S_ISLNK(st.st_mode)   ? "a symbolic link"
                                  : S_ISDIR(st.st_mode) ? "a directory"
                                                        : "a special file");
        }
        if (!mode) mode = st.st_mode & 0777;
    }
    int bad = replace_in(dir, base, data, n, mode), cause = errno;
    close(dir);
    if (!bad) return MOON_OK;
    moon_error_set(error, MOON_EIO, "cannot write %.250s: %s", path, strerror(cause));
    if (error) error->cause = cause;
    return MOON_EIO;
}

static seen **seen_slot(moon__scratch *scratch, const char *path) {
    seen **slot = &scratch->seen[moon_hash(path, strlen(path)) % SEEN_BUCKETS];
    while (*slot && strcmp((*slot)->path, path)) slot = &(*slot)->next;
    return slot;
}

void moon__scratch_remember(moon__scratch *scratch, const char *path, uint64_t hash) {
    char rel[PATH_LIMIT];
    if (relative(scratch->space, path, rel, NULL)) return;
    pthread_mutex_lock(&scratch->lock);
    seen **slot = seen_slot(scratch, rel);
    size_t n = strlen(rel) + 1;
    if (!*slot && (*slot = calloc(1, sizeof **slot + n))) memcpy((*slot)->path, rel, n);
    if (*slot) (*slot)->hash = hash; /* without memory the file counts as not seen, which only weakens a warning */
    pthread_mutex_unlock(&scratch->lock);
}

bool moon__scratch_recall(moon__scratch *scratch, const char *path, uint64_t *hash) {
    char rel[PATH_LIMIT];
    if (relative(scratch->space, path, rel, NULL)) return false;
    pthread_mutex_lock(&scratch->lock);
    const seen *found = *seen_slot(scratch, rel);
    if (found) *hash = found->hash;
    pthread_mutex_unlock(&scratch->lock);
    return found != NULL;
}

static note *find_note(moon__scratch *scratch, const char *name) {
    note *n = scratch->notes;
    while (n && strcmp(n->name, name)) n = n->next;
    return n;
}

moon_status moon__scratch_note_set(moon__scratch *scratch, const char *name, const char *text) {
    scratch = whole(scratch);
    char *copy = moon__strdup(text);
    note *n = find_note(scratch, name);
    size_t size = strlen(name) + 1;
    if (copy && !n && (n = calloc(1, sizeof *n + size))) {
        memcpy(n->name, name, size);
        n->next = scratch->notes;
        scratch->notes = n;
    }
    if (!copy || !n) {
        free(copy);
        return MOON_ENOMEM;
    }
    free(n->text);
    n->text = copy;
    return MOON_OK;
}

const char *moon__scratch_note_get(moon__scratch *scratch, const char *name) {
    scratch = whole(scratch);
    const note *n = find_note(scratch, name);
    return n ? n->text : NULL;
}

static moon_status make_spill(moon__scratch *scratch, moon_error *error) {
    const char *tmp = getenv("TMPDIR");
    if (asprintf(&scratch->spill_path, "%s/moonlet-XXXXXX", tmp && *tmp == '/' ? tmp : "/tmp") < 0) {
        scratch->spill_path = NULL;
        return moon_error_set(error, MOON_ENOMEM, "no memory to keep a result");
    }
    if (mkdtemp(scratch->spill_path))
        scratch->spill_fd = open(scratch->spill_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (scratch->spill_fd >= 0) return MOON_OK;
    moon_error_set(error, MOON_EIO, "cannot keep a result in %.200s: %s", scratch->spill_path, strerror(errno));
    free(scratch->spill_path);
    scratch->spill_path = NULL;
    return MOON_EIO;
}

static moon_status write_spill(const moon__scratch *scratch, const char *name, const char *text, size_t n,
                               moon_error *error) {
    int fd = openat(scratch->spill_fd, name + sizeof spill_prefix - 1, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    int bad = fd < 0 || write_all(fd, text, n), cause = errno;
    if (fd >= 0 && close(fd) && !bad) bad = 1, cause = errno;
    if (!bad) return MOON_OK;
    return moon_error_set(error, MOON_EIO, "cannot keep a result: %s", strerror(cause));
}

moon_status moon__scratch_spill(moon__scratch *scratch, const char *text, size_t n, char name[32], moon_error *error) {
    scratch = whole(scratch);
    pthread_mutex_lock(&scratch->lock);
    moon_status status = scratch->spill_fd < 0 ? make_spill(scratch, error) : MOON_OK;
    unsigned number = status ? 0 : ++scratch->spill_count;
    pthread_mutex_unlock(&scratch->lock);
    if (status) return status;
    snprintf(name, 32, "%s%u.txt", spill_prefix, number);
    return write_spill(scratch, name, text, n, error);
}

/* The number of a name that spill() may have given; 0: it is none. */
static unsigned spill_number(const char *name) {
    unsigned number = 0;
    char again[32];
    if (sscanf(name, "@spill/%6u", &number) != 1) return 0;
    snprintf(again, sizeof again, "%s%u.txt", spill_prefix, number);
    return strcmp(name, again) == 0 ? number : 0;
}

moon_status moon__scratch_restore(moon__scratch *scratch, const char *name, const char *text, size_t n,
                                  moon_error *error) {
    unsigned number = spill_number(name);
    scratch = whole(scratch);
    if (!number) return moon_error_set(error, MOON_ECORRUPT, "%.31s is no name of a result that was kept", name);
    pthread_mutex_lock(&scratch->lock);
    moon_status status = scratch->spill_fd < 0 ? make_spill(scratch, error) : MOON_OK;
    if (!status && number > scratch->spill_count) scratch->spill_count = number;
    pthread_mutex_unlock(&scratch->lock);
    return status ? status : write_spill(scratch, name, text, n, error);
}

moon_status moon__scratch_cache(moon__scratch *scratch, char **path, moon_error *error) {
    scratch = whole(scratch);
    pthread_mutex_lock(&scratch->lock);
    moon_status status = scratch->spill_fd < 0 ? make_spill(scratch, error) : MOON_OK;
    scratch->has_cache = scratch->has_cache || !status;
    pthread_mutex_unlock(&scratch->lock);
    if (status) return status;
    if (asprintf(path, "%s/%s", scratch->spill_path, cache_name) >= 0) return MOON_OK;
    *path = NULL;
    return moon_error_set(error, MOON_ENOMEM, "no memory for a snapshot");
}
