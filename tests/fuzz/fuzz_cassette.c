/* SPDX-License-Identifier: MIT */
/*
 * A file of a cassette, which may come with a repository. Held to: what is read has one key, however its JSON is laid
 * out; its answer can be given, and its calls have ids of their own; a miss beside it is told in printable text.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cassette.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void hold(bool condition, const char *what) {
    if (condition) return;
    fprintf(stderr, "does not hold: %s\n", what);
    abort();
}

static void check_key(const moon__recording *recording) {
    moon__recording again;
    moon__buf text;
    moon__buf_init(&text, (size_t)64 << 20);
    moon__json_print_lines(&text, recording->json, 3);
    hold(text.status == MOON_OK, "a recording can be printed");
    hold(moon__recording_read(&again, text.p, text.len, NULL) == MOON_OK, "and read again");
    hold(memcmp(again.key, recording->key, sizeof again.key) == 0, "its key is the same");
    moon__recording_fini(&again);
    moon__buf_fini(&text);
}

static void check_answer(const moon__recording *recording, const moon__veil *veil) {
    moon__played played;
    hold(moon__played_init(&played, recording, veil, NULL) == MOON_OK, "a recorded answer can be given");
    for (size_t i = 0; i < played.answer.n_calls; i++) {
        hold(played.answer.calls[i].id[0] != '\0', "a call has an id");
        for (size_t k = 0; k < i; k++)
            hold(strcmp(played.answer.calls[i].id, played.answer.calls[k].id) != 0, "ids differ");
    }
    moon__played_fini(&played);
}

static void check_error(const moon_error *error) {
    hold(error->text[0] != '\0', "a failure has a text");
    for (const char *p = error->text; *p; p++) hold((unsigned char)*p >= ' ' && *p != 0x7f, "errors are printable");
}

static char dir[] = "/tmp/moonlet-fuzz-XXXXXX";

static void remove_folder(void) {
    rmdir(dir);
}

static const char *folder(void) {
    static bool made;
    if (made) return dir;
    hold(mkdtemp(dir) != NULL, "a folder");
    atexit(remove_folder);
    made = true;
    return dir;
}

static void check_miss(const uint8_t *data, size_t size, moon__loop *loop) {
    char file[128];
    moon__cassette *cassette = NULL;
    moon_error error = {0};
    moon__request request;
    moon__model model = {.name = (char[]){"a/b"}};
    static const moon__chat_settings settings = {
        .wire = {.temperature = 1, .top_p = -1, .seed = -1, .max_output_tokens = -1}};
    snprintf(file, sizeof file, "%s/one.json", folder());
    int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    hold(fd >= 0 && write(fd, data, size) == (ssize_t)size && close(fd) == 0, "a file");
    hold(moon__cassette_open(&cassette, loop, &(moon__cassette_options){.dir = folder()}, &error) == MOON_OK,
         "a cassette of it can be opened");
    hold(moon__request_init(&request, moon__cassette_veil(cassette), &model, &settings, &error) == MOON_OK, "request");
    hold(moon__request_add(&request, &(moon_message){.role = MOON_USER, .text = "go", .text_length = 2}, &error) ==
             MOON_OK,
         "message");
    moon__cassette_miss(cassette, "1", &request, &error);
    check_error(&error);
    moon__request_fini(&request);
    moon__cassette_free(cassette);
    unlink(file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static moon__loop *loop;
    moon__recording recording;
    moon__veil veil;
    moon_error error = {0};
    if (moon__recording_read(&recording, (const char *)data, size, &error) != MOON_OK) {
        check_error(&error);
        return 0;
    }
    hold(moon__veil_init(&veil, "/work", NULL) == MOON_OK, "a veil");
    check_key(&recording);
    if (recording.answer) check_answer(&recording, &veil);
    moon__veil_fini(&veil);
    moon__recording_fini(&recording);
    if (!loop) hold(moon__loop_new(&loop, &moon__clock_real, NULL) == MOON_OK, "a loop");
    check_miss(data, size, loop);
    return 0;
}
