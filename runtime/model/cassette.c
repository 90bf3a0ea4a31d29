/* SPDX-License-Identifier: MIT */
/*
 * The folder: all of it is read once, for an index from lane and key to files; an answer is read again when its turn
 * comes, so that memory holds no conversation.
 *
 * A file is written under a name that begins with a dot, and then gets its own unless there is one of that name
 * (renameat2, or link where the file system has no such rename). What a crash leaves behind begins with a dot, and is
 * not read.
 */
#include "cassette.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "failure.h"
#include "text.h"

enum {
    FILES_MAX = 100000,
    TAKES_MAX = 10000, /* of one request in one lane */
    BUCKETS_FIRST = 64,
    LANE_LABEL = 60, /* bytes of a lane in a file's name */
    NAME_SIZE = 128, /* of a name without its number and ".json" */
    FILE_SIZE = NAME_SIZE + 32,
};
static const int64_t total_max = INT64_C(1) << 30; /* bytes of all files */

struct moon__cassette {
    moon__loop *loop;
    char *dir;
    int fd;
    bool record;
    moon__veil veil;
    moon__take **buckets; /* n_buckets, a power of two */
    size_t n_buckets;
    moon__take **takes; /* n, in the order of their files */
    size_t n, room;
    char *model;
    bool models_differ;
    unsigned written;
};

bool moon__cassette_records(const moon__cassette *c) {
    return c->record;
}

const char *moon__cassette_model(const moon__cassette *c) {
    return c->models_differ ? NULL : c->model;
}

const moon__veil *moon__cassette_veil(const moon__cassette *c) {
    return &c->veil;
}

moon__loop *moon__cassette_loop(const moon__cassette *c) {
    return c->loop;
}

const char *moon__cassette_dir(const moon__cassette *c) {
    return c->dir;
}

moon_status moon__cassette_hide(moon__cassette *c, const char *secret) {
    return moon__veil_add(&c->veil, secret);
}

/* ---- the index ---- */

static size_t bucket_of(const moon__cassette *c, const char *path, const unsigned char *key) {
    return (moon_hash(key, MOON__HASH_SIZE) ^ moon_hash(path, strlen(path))) & (c->n_buckets - 1);
}

moon__take *moon__cassette_find(const moon__cassette *c, const char *path, const unsigned char *key) {
    if (!c->n_buckets) return NULL;
    moon__take *t = c->buckets[bucket_of(c, path, key)];
    while (t && (memcmp(t->key, key, MOON__HASH_SIZE) != 0 || strcmp(t->path, path) != 0)) t = t->next;
    return t;
}

const moon__take *moon__cassette_at(const moon__cassette *c, size_t index) {
    return index < c->n ? c->takes[index] : NULL;
}

const char *moon__take_file(const moon__take *take) {
    return take->n ? take->names[0] : take->late;
}

const char *moon__cassette_turn(const moon__cassette *c, moon__take *take) {
    if (!take->n) return NULL;
    if (take->given < take->n) return take->names[take->given++];
    return c->record ? NULL : take->names[take->n - 1];
}

static bool grow(moon__cassette *c) {
    if (c->n == c->room) {
        size_t room = c->room ? c->room * 2 : BUCKETS_FIRST;
        moon__take **takes = realloc(c->takes, room * sizeof *takes);
        if (!takes) return false;
        c->takes = takes;
        c->room = room;
    }
    if (c->n < c->n_buckets) return true;
    size_t n = c->n_buckets ? c->n_buckets * 2 : BUCKETS_FIRST;
    moon__take **buckets = calloc(n, sizeof *buckets);
    if (!buckets) return false;
    free(c->buckets);
    c->buckets = buckets;
    c->n_buckets = n;
    for (size_t i = 0; i < c->n; i++) {
        moon__take **bucket = &buckets[bucket_of(c, c->takes[i]->path, c->takes[i]->key)];
        c->takes[i]->next = *bucket;
        *bucket = c->takes[i];
    }
    return true;
}

static moon__take *new_take(moon__cassette *c, const char *path, const unsigned char *key) {
    moon__take *take = grow(c) ? calloc(1, sizeof *take) : NULL;
    if (!take) return NULL;
    take->path = moon__strdup(path);
    if (!take->path) {
        free(take);
        return NULL;
    }
    memcpy(take->key, key, MOON__HASH_SIZE);
    moon__take **bucket = &c->buckets[bucket_of(c, path, key)];
    take->next = *bucket;
    *bucket = take;
    return c->takes[c->n++] = take;
}

static bool add_answer(moon__take *take, const char *name) {
    if (take->n == take->room) {
        size_t room = take->room ? take->room * 2 : 1;
        char **names = realloc(take->names, room * sizeof *names);
        if (!names) return false;
        take->names = names;
        take->room = room;
    }
    char *copy = moon__strdup(name);
    if (!copy) return false;
    take->names[take->n++] = copy;
    return true;
}

/* One more file of a request; late: without an answer. after is NULL for one that follows none. */
static moon_status index_file(moon__cassette *c, const char *name, bool late, const char *path,
                              const unsigned char *key, const unsigned char *after, moon_error *error) {
    moon__take *take = moon__cassette_find(c, path, key);
    if (!take) take = new_take(c, path, key);
    bool kept = take != NULL;
    if (kept && !late) kept = add_answer(take, name);
    if (kept && late && !take->late) kept = (take->late = moon__strdup(name)) != NULL;
    if (!kept) return moon_error_set(error, MOON_ENOMEM, "no memory for the cassette");
    take->follows = after != NULL;
    if (after) memcpy(take->after, after, MOON__HASH_SIZE);
    return MOON_OK;
}

/* ---- reading ---- */

static moon_status cannot(const moon__cassette *c, const char *what, const char *name, moon_error *error) {
    int cause = errno;
    bool denied = cause == EACCES || cause == EPERM || cause == EROFS;
    moon_status status = cause == ENOMEM ? MOON_ENOMEM : denied ? MOON_EDENIED : MOON_EIO;
    moon_error_set(error, status, "cannot %s %s%s%s: %s", what, c->dir, *name ? "/" : "", name, strerror(cause));
    if (error) error->cause = cause;
    return status;
}

/* A regular file alone is read: what else may stand there could block, or lead elsewhere. */
static moon_status read_bytes(const moon__cassette *c, const char *name, moon__buf *out, moon_error *error) {
    struct stat st;
    ssize_t n = -1;
    int fd = openat(c->fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) return cannot(c, "read", name, error);
    if (fstat(fd, &st) == 0 && !S_ISREG(st.st_mode)) {
        close(fd);
        return moon_error_set(error, MOON_EPARSE, "%s/%s is no file", c->dir, name);
    }
    while (moon__buf_reserve(out, 16 * 1024) == MOON_OK) {
        n = read(fd, out->p + out->len, 16 * 1024);
        if (n <= 0) break;
        out->len += (size_t)n;
        out->p[out->len] = '\0';
    }
    moon_status status = out->status ? moon_error_set(error, out->status, "%s/%s is too large", c->dir, name)
                         : n < 0     ? cannot(c, "read", name, error)
                                     : MOON_OK;
    close(fd);
    return status;
}

static moon_status read_file(const moon__cassette *c, const char *name, moon__recording *recording, size_t *size,
                             moon_error *error) {
    moon__buf text;
    moon_error why = {0};
    moon__buf_init(&text, MOON__RECORDING_MAX + 16 * 1024);
    moon_status status = read_bytes(c, name, &text, error);
    if (!status) {
        status = moon__recording_read(recording, text.p, text.len, &why);
        if (status) moon_error_set(error, status, "%.150s/%.100s: %.140s", c->dir, name, why.text);
    }
    *size = text.len;
    moon__buf_fini(&text);
    return status;
}

moon_status moon__cassette_read(const moon__cassette *c, const char *name, moon__recording *recording,
                                moon_error *error) {
    size_t size;
    return read_file(c, name, recording, &size, error);
}

static moon_status note_model(moon__cassette *c, const moon__recording *r, moon_error *error) {
    const char *model = moon_json_str(moon_json_get(r->request, "model"), NULL);
    bool can_be_asked_for = model && (strchr(model, '/') || strcmp(model, "offline") == 0); /* a script is a path */
    if (!can_be_asked_for || c->models_differ) return MOON_OK;
    if (c->model) {
        c->models_differ = strcmp(c->model, model) != 0;
        return MOON_OK;
    }
    c->model = moon__strdup(model);
    return c->model ? MOON_OK : moon_error_set(error, MOON_ENOMEM, "no memory for the cassette");
}

static moon_status load_file(moon__cassette *c, const char *name, int64_t *total, moon_error *error) {
    moon__recording r;
    size_t size;
    moon_status status = read_file(c, name, &r, &size, error);
    if (status) return status;
    *total += (int64_t)size;
    if (*total > total_max)
        status =
            moon_error_set(error, MOON_ELIMIT, "the recordings in %s are over %d MiB", c->dir, (int)(total_max >> 20));
    if (!status) status = index_file(c, name, !r.answer, r.path, r.key, r.follows ? r.after : NULL, error);
    if (!status) status = note_model(c, &r, error);
    moon__recording_fini(&r);
    return status;
}

static bool is_recording(const char *name) {
    size_t n = strlen(name);
    return *name != '.' && n > 5 && strcmp(name + n - 5, ".json") == 0;
}

/* "…-2.json" comes after "….json", and "…-10.json" after "…-9.json". */
static int by_name(const void *a, const void *b) {
    char left[NAME_MAX + 1], right[NAME_MAX + 1];
    snprintf(left, sizeof left, "%.*s", (int)strlen(*(char *const *)a) - 5, *(char *const *)a);
    snprintf(right, sizeof right, "%.*s", (int)strlen(*(char *const *)b) - 5, *(char *const *)b);
    return strverscmp(left, right);
}

static void free_names(char **names, size_t n) {
    for (size_t i = 0; i < n; i++) free(names[i]);
    free(names);
}

static moon_status add_name(char ***names, size_t *n, size_t *room, const char *name, moon_error *error) {
    if (*n == FILES_MAX) return moon_error_set(error, MOON_ELIMIT, "a cassette has at most %d recordings", FILES_MAX);
    if (*n == *room) {
        size_t more = *room ? *room * 2 : BUCKETS_FIRST;
        char **grown = realloc(*names, more * sizeof *grown);
        if (!grown) return moon_error_set(error, MOON_ENOMEM, "no memory for the cassette");
        *names = grown;
        *room = more;
    }
    char *copy = moon__strdup(name);
    if (!copy) return moon_error_set(error, MOON_ENOMEM, "no memory for the cassette");
    (*names)[(*n)++] = copy;
    return MOON_OK;
}

static moon_status list_files(const moon__cassette *c, char ***names, size_t *n, moon_error *error) {
    size_t room = 0;
    moon_status status = MOON_OK;
    int fd = openat(c->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir) {
        status = cannot(c, "read", "", error);
        if (fd >= 0) close(fd);
        return status;
    }
    errno = 0;
    for (struct dirent *entry; !status && (entry = readdir(dir));)
        if (is_recording(entry->d_name)) status = add_name(names, n, &room, entry->d_name, error);
    if (!status && errno) status = cannot(c, "read", "", error);
    closedir(dir);
    if (*n) qsort(*names, *n, sizeof **names, by_name);
    return status;
}

static moon_status load(moon__cassette *c, moon_error *error) {
    char **names = NULL;
    size_t n = 0;
    int64_t total = 0;
    moon_status status = list_files(c, &names, &n, error);
    for (size_t i = 0; !status && i < n; i++) status = load_file(c, names[i], &total, error);
    free_names(names, n);
    return status;
}

/* ---- opening ---- */

static void make_folders(char *path) {
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        (void)mkdir(path, 0777);
        *slash = '/';
    }
    (void)mkdir(path, 0777);
}

static moon_status open_folder(moon__cassette *c, moon_error *error) {
    if (c->record) make_folders(c->dir); /* whether it is there now is seen next */
    c->fd = open(c->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (c->fd >= 0) return MOON_OK;
    if (errno == ENOENT && !c->record)
        return moon_error_set(error, MOON_ENOTFOUND, "there is no cassette %s; --record %s makes one", c->dir, c->dir);
    return cannot(c, "open the cassette", "", error);
}

moon_status moon__cassette_open(moon__cassette **out, moon__loop *loop, const moon__cassette_options *options,
                                moon_error *error) {
    moon__cassette *c = calloc(1, sizeof *c);
    if (!c) return moon_error_set(error, MOON_ENOMEM, "no memory for the cassette");
    c->loop = loop;
    c->record = options->record;
    c->fd = -1;
    c->dir = moon__strdup(options->dir);
    moon_status status = c->dir ? MOON_OK : moon_error_set(error, MOON_ENOMEM, "no memory for the cassette");
    if (!status) status = moon__veil_init(&c->veil, options->workspace, error);
    if (!status) status = open_folder(c, error);
    if (!status) status = load(c, error);
    if (status)
        moon__cassette_free(c);
    else
        *out = c;
    return status;
}

void moon__cassette_free(moon__cassette *c) {
    if (!c) return;
    for (size_t i = 0; i < c->n; i++) {
        free_names(c->takes[i]->names, c->takes[i]->n);
        free(c->takes[i]->path);
        free(c->takes[i]->late);
        free(c->takes[i]);
    }
    free(c->takes);
    free(c->buckets);
    if (c->fd >= 0) close(c->fd);
    moon__veil_fini(&c->veil);
    free(c->model);
    free(c->dir);
    free(c);
}

/* ---- adding ---- */

static moon_status write_bytes(const moon__cassette *c, int fd, const char *name, const moon__buf *text,
                               moon_error *error) {
    for (size_t at = 0; at < text->len;) {
        ssize_t n = write(fd, text->p + at, text->len - at);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return cannot(c, "write", name, error);
        at += (size_t)n;
    }
    return MOON_OK;
}

/* A file of our own to write into; a name that is taken was left behind, or is another machine's. */
static int open_draft(moon__cassette *c, char name[NAME_SIZE]) {
    int fd = -1;
    for (int tries = 0; fd < 0 && tries < 1000; tries++) {
        snprintf(name, NAME_SIZE, ".moonlet-%ld-%u", (long)getpid(), ++c->written);
        fd = openat(c->fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
        if (fd < 0 && errno != EEXIST) break;
    }
    return fd;
}

/* Gives the draft a name that nothing has; false: something has (EEXIST), or it cannot be done. */
static bool rename_new(const moon__cassette *c, const char *draft, const char *name) {
    if (renameat2(c->fd, draft, c->fd, name, RENAME_NOREPLACE) == 0) return true;
    if (errno != EINVAL && errno != ENOSYS) return false;
    if (linkat(c->fd, draft, c->fd, name, 0) != 0) return false;
    (void)unlinkat(c->fd, draft, 0);
    return true;
}

/* "root-003-0123456789abcdef": lane, step and the key's beginning. What a lane's path may have and a name should not
 * is "_" in it; the file itself has the path. */
static void stem_of(char stem[NAME_SIZE], const char *path, const moon__request *request) {
    char hash[MOON__HASH_TEXT];
    int at = 0;
    for (; *path && at < LANE_LABEL; path++) {
        unsigned char c = (unsigned char)*path;
        bool plain = (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z') || (c && strchr("_-.", c) && at);
        stem[at++] = plain ? (char)c : '_';
    }
    stem[at] = '\0';
    moon__hash_text(hash, moon__request_key(request));
    snprintf(stem + at, (size_t)(NAME_SIZE - at), "%s-%03lld-%.16s", at ? "" : "root", (long long)request->step, hash);
}

static moon_status keep(moon__cassette *c, const char *stem, char name[FILE_SIZE], const moon__buf *text,
                        moon_error *error) {
    char draft[NAME_SIZE];
    int fd = open_draft(c, draft);
    if (fd < 0) return cannot(c, "write into", "", error);
    moon_status status = write_bytes(c, fd, draft, text, error);
    if (close(fd) != 0 && !status) status = cannot(c, "write", draft, error);
    bool kept = false;
    for (int take = 1; !status && !kept && take <= TAKES_MAX; take++) {
        if (take == 1)
            snprintf(name, FILE_SIZE, "%s.json", stem);
        else
            snprintf(name, FILE_SIZE, "%s-%d.json", stem, take);
        kept = rename_new(c, draft, name);
        if (!kept && errno != EEXIST) status = cannot(c, "write", name, error);
    }
    if (!status && !kept) status = moon_error_set(error, MOON_ELIMIT, "over %d recordings of %s", TAKES_MAX, stem);
    if (status) (void)unlinkat(c->fd, draft, 0);
    return status;
}

/* The last part at which a request of this conversation was recorded in this lane; 0: none. */
static size_t shared_parts(const moon__cassette *c, const char *path, const moon__request *request) {
    size_t i = request->n - 1;
    while (i > 1 && !moon__cassette_find(c, path, request->parts[i - 1].key)) i--;
    return i > 1 ? i - 1 : 0;
}

moon_status moon__cassette_add(moon__cassette *c, const char *path, const char *agent, const moon__request *request,
                               const moon__answer *answer, moon_error *error) {
    char stem[NAME_SIZE], name[FILE_SIZE];
    moon__buf text;
    size_t shared = shared_parts(c, path, request);
    moon__recorded_ask ask = {.path = path, .agent = agent, .request = request, .shared = shared, .answer = answer};
    const unsigned char *key = moon__request_key(request);
    moon__buf_init(&text, MOON__RECORDING_MAX);
    moon_status status = moon__recording_write(&text, &ask, error);
    stem_of(stem, path, request);
    if (!status) status = keep(c, stem, name, &text, error);
    moon__buf_fini(&text);
    if (!status) status = index_file(c, name, !answer, path, key, shared ? request->parts[shared].key : NULL, error);
    if (status) return status;
    moon__take *take = moon__cassette_find(c, path, key);
    take->given = take->n;
    return MOON_OK;
}
