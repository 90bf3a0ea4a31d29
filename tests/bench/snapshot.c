/* SPDX-License-Identifier: MIT */
/*
 * The time of a snapshot of a workspace in which one file has changed since the one before.
 *
 *   bench_snapshot DIR FILE TIMES
 *
 * FILE is written anew before each. Prints a line that begins with "BENCH": the median, and the first one's time, which
 * begins with the user's index.
 */
#include <moonlet/tool.h>

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static double now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static bool never(void *ctx) {
    (void)ctx;
    return false;
}

static int by_time(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void change(const char *path, int n) {
    FILE *file = fopen(path, "w");
    if (!file || fprintf(file, "change %d of process %d\n", n, (int)getpid()) < 0 || fclose(file)) {
        perror(path);
        exit(1);
    }
}

static double once(const char *dir, const char *file, const char *cache, int n, moon_snapshot *last) {
    moon_error error = {0};
    moon_snapshot_request request = {.workspace = dir,
                                     .run = "bench",
                                     .at = (uint64_t)n,
                                     .before = n ? last : NULL,
                                     .label = "bench",
                                     .cache = cache,
                                     .cancelled = never};
    change(file, n);
    double began = now_ms();
    if (moon_snapshots_git.take(&request, last, &error)) {
        fprintf(stderr, "bench_snapshot: %s\n", error.text);
        exit(1);
    }
    return now_ms() - began;
}

int main(int argc, char **argv) {
    char dir[PATH_MAX], file[PATH_MAX * 2], cache[] = "/tmp/moonlet-bench-XXXXXX";
    int times = argc == 4 ? atoi(argv[3]) : 0, fd = times > 0 ? mkstemp(cache) : -1;
    double *took = calloc((size_t)times + 1, sizeof *took);
    moon_snapshot last = {.at = 0};
    if (fd < 0 || !took || !realpath(argv[1], dir)) {
        fprintf(stderr, "usage: bench_snapshot DIR FILE TIMES\n");
        return 2;
    }
    close(fd);
    unlink(cache);
    snprintf(file, sizeof file, "%s/%s", dir, argv[2]);
    double first = once(dir, file, cache, 0, &last);
    for (int i = 0; i < times; i++) took[i] = once(dir, file, cache, i + 1, &last);
    qsort(took, (size_t)times, sizeof *took, by_time);
    printf("BENCH ms=%.2f first_ms=%.2f\n", took[times / 2], first);
    unlink(cache);
    free(took);
    return 0;
}
