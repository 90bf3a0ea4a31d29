/* SPDX-License-Identifier: MIT */
#ifndef MOON_TEST_SHIM_H
#define MOON_TEST_SHIM_H
/*
 * A VFS around SQLite's own, through which a test sees what is done to files, and spoils it. It becomes the default, so
 * that a store which is opened goes through it. The hook is asked before each operation, on the thread that does it.
 *
 *     shim_install();
 *     shim_hook(on_operation, ctx);
 */
#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef enum shim_kind { SHIM_OPEN, SHIM_WRITE, SHIM_TRUNCATE, SHIM_SYNC, SHIM_REMOVE } shim_kind;

typedef struct shim_op {
    shim_kind kind;
    const char *path;
    const void *bytes; /* of a write */
    size_t n;
    int64_t at; /* of a write; of a truncation: the size */
} shim_op;

enum { SHIM_SKIP = -1 }; /* not done, and SQLite is told that it was */

/* SQLITE_OK: it is done. SHIM_SKIP. Else it is not done, and fails with this code. */
typedef int (*shim_fn)(void *ctx, const shim_op *op);

static struct {
    sqlite3_vfs vfs;
    sqlite3_vfs *real;
    shim_fn hook;
    void *ctx;
} shim;

typedef struct shim_file {
    sqlite3_file base;
    const char *path; /* SQLite's; NULL: a temporary file, nobody is asked */
} shim_file;

static inline sqlite3_file *shim_real(sqlite3_file *file) {
    return (sqlite3_file *)((shim_file *)file + 1);
}

static inline bool shim_is(const shim_op *op, const char *ending) {
    size_t n = strlen(op->path), k = strlen(ending);
    return n >= k && !strcmp(op->path + n - k, ending);
}

static inline void shim_hook(shim_fn hook, void *ctx) {
    shim.hook = hook;
    shim.ctx = ctx;
}

static inline int shim_ask(const shim_op *op) {
    return shim.hook && op->path ? shim.hook(shim.ctx, op) : SQLITE_OK;
}

/* Asks; on SQLITE_OK does what stands in `call`. */
#define SHIM_DO(op, call)                                                                                              \
    do {                                                                                                               \
        int asked = shim_ask(op);                                                                                      \
        return asked == SHIM_SKIP ? SQLITE_OK : asked != SQLITE_OK ? asked : (call);                                   \
    } while (0)

static inline int shim_write(sqlite3_file *file, const void *bytes, int n, sqlite3_int64 at) {
    const shim_op op = {SHIM_WRITE, ((shim_file *)file)->path, bytes, (size_t)n, at};
    SHIM_DO(&op, shim_real(file)->pMethods->xWrite(shim_real(file), bytes, n, at));
}

static inline int shim_truncate(sqlite3_file *file, sqlite3_int64 size) {
    const shim_op op = {.kind = SHIM_TRUNCATE, .path = ((shim_file *)file)->path, .at = size};
    SHIM_DO(&op, shim_real(file)->pMethods->xTruncate(shim_real(file), size));
}

static inline int shim_sync(sqlite3_file *file, int flags) {
    const shim_op op = {.kind = SHIM_SYNC, .path = ((shim_file *)file)->path};
    SHIM_DO(&op, shim_real(file)->pMethods->xSync(shim_real(file), flags));
}

static inline int shim_remove(sqlite3_vfs *vfs, const char *path, int sync_folder) {
    const shim_op op = {.kind = SHIM_REMOVE, .path = path};
    (void)vfs;
    SHIM_DO(&op, shim.real->xDelete(shim.real, path, sync_folder));
}

/* ---- handed on as it is ---- */

static inline int shim_close(sqlite3_file *file) {
    return shim_real(file)->pMethods->xClose(shim_real(file));
}
static inline int shim_read(sqlite3_file *file, void *bytes, int n, sqlite3_int64 at) {
    return shim_real(file)->pMethods->xRead(shim_real(file), bytes, n, at);
}
static inline int shim_size(sqlite3_file *file, sqlite3_int64 *size) {
    return shim_real(file)->pMethods->xFileSize(shim_real(file), size);
}
static inline int shim_lock(sqlite3_file *file, int level) {
    return shim_real(file)->pMethods->xLock(shim_real(file), level);
}
static inline int shim_unlock(sqlite3_file *file, int level) {
    return shim_real(file)->pMethods->xUnlock(shim_real(file), level);
}
static inline int shim_reserved(sqlite3_file *file, int *out) {
    return shim_real(file)->pMethods->xCheckReservedLock(shim_real(file), out);
}
static inline int shim_control(sqlite3_file *file, int op, void *arg) {
    return shim_real(file)->pMethods->xFileControl(shim_real(file), op, arg);
}
static inline int shim_sector(sqlite3_file *file) {
    return shim_real(file)->pMethods->xSectorSize(shim_real(file));
}
static inline int shim_traits(sqlite3_file *file) {
    return shim_real(file)->pMethods->xDeviceCharacteristics(shim_real(file));
}
static inline int shim_shm_map(sqlite3_file *file, int page, int size, int extend, void volatile **out) {
    return shim_real(file)->pMethods->xShmMap(shim_real(file), page, size, extend, out);
}
static inline int shim_shm_lock(sqlite3_file *file, int offset, int n, int flags) {
    return shim_real(file)->pMethods->xShmLock(shim_real(file), offset, n, flags);
}
static inline void shim_shm_barrier(sqlite3_file *file) {
    shim_real(file)->pMethods->xShmBarrier(shim_real(file));
}
static inline int shim_shm_unmap(sqlite3_file *file, int remove) {
    return shim_real(file)->pMethods->xShmUnmap(shim_real(file), remove);
}

static inline int shim_open(sqlite3_vfs *vfs, const char *path, sqlite3_file *file, int flags, int *out) {
    static const sqlite3_io_methods methods = {
        2,           shim_close,   shim_read,     shim_write,       shim_truncate,  shim_sync,
        shim_size,   shim_lock,    shim_unlock,   shim_reserved,    shim_control,   shim_sector,
        shim_traits, shim_shm_map, shim_shm_lock, shim_shm_barrier, shim_shm_unmap, NULL,
        NULL,
    };
    const shim_op op = {.kind = SHIM_OPEN, .path = path};
    (void)vfs;
    file->pMethods = NULL;
    ((shim_file *)file)->path = path;
    int code = shim_ask(&op);
    if (code == SQLITE_OK) code = shim.real->xOpen(shim.real, path, shim_real(file), flags, out);
    if (code == SQLITE_OK) file->pMethods = &methods;
    return code;
}

static inline void shim_install(void) {
    if (shim.real) return;
    shim.real = sqlite3_vfs_find(NULL);
    shim.vfs = *shim.real;
    shim.vfs.zName = "shim";
    shim.vfs.szOsFile = (int)sizeof(shim_file) + shim.real->szOsFile;
    shim.vfs.xOpen = shim_open;
    shim.vfs.xDelete = shim_remove;
    sqlite3_vfs_register(&shim.vfs, 1);
}
#endif
