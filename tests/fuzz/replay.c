/* SPDX-License-Identifier: MIT */
/* Runs a fuzz target over the files of a directory, each once; fails if there are none. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { INPUT_MAX = 1 << 20 };

static int replay(const char *dir, const char *name) {
    char path[1024];
    if (snprintf(path, sizeof path, "%s/%s", dir, name) >= (int)sizeof path) return 0;
    FILE *file = fopen(path, "rb");
    uint8_t *data = malloc(INPUT_MAX);
    size_t n = file && data ? fread(data, 1, INPUT_MAX, file) : 0;
    uint8_t *exact = malloc(n + 1); /* so that reading past the end is seen */
    if (file) fclose(file);
    if (exact && data) {
        memcpy(exact, data, n);
        exact = realloc(exact, n ? n : 1);
        if (exact) LLVMFuzzerTestOneInput(exact, n);
    }
    free(exact);
    free(data);
    return file != NULL;
}

int main(int argc, char **argv) {
    int count = 0;
    for (int i = 1; i < argc; i++) {
        DIR *dir = opendir(argv[i]);
        struct dirent *entry;
        while (dir && (entry = readdir(dir)))
            if (entry->d_name[0] != '.') count += replay(argv[i], entry->d_name);
        if (dir) closedir(dir);
    }
    printf("%d inputs\n", count);
    return count ? 0 : 1;
}
