/* SPDX-License-Identifier: MIT */
/* Recorded answers: what is recorded, when it is given again, and what is told when there is none. */
#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "cassette.h"
#include "fake_model.h"
#include "loop_clock.h"

typedef struct kit {
    fake_clock clock;
    moon__loop *loop;
    char dir[64];
    moon__cassette *cassette;
    moon__model *model; /* wrapped */
    fake_model *fake;   /* what is inside */
    moon__chat_settings settings;
    moon_wire_tool tools[2];
} kit;

/* ---- a cassette of a test ---- */

static int set_up(void **state) {
    kit *k = calloc(1, sizeof *k);
    assert_non_null(k);
    fake_clock_init(&k->clock);
    assert_int_equal(moon__loop_new(&k->loop, &k->clock.clock, NULL), MOON_OK);
    snprintf(k->dir, sizeof k->dir, "/tmp/moonlet-tape-XXXXXX");
    assert_non_null(mkdtemp(k->dir));
    k->tools[0] = (moon_wire_tool){.name = "file.read",
                                   .description = "Reads.",
                                   .params = "{\"type\":\"object\",\"properties\":{\"path\":{\"type\":\"string\"}}}"};
    k->tools[1] = (moon_wire_tool){.name = "search", .description = "Searches.", .params = "{}"};
    k->settings = (moon__chat_settings){.agent = "probe", .max_retries = -1};
    k->settings.wire = (moon_wire_settings){
        .temperature = -1, .top_p = -1, .seed = -1, .max_output_tokens = -1, .tools = k->tools, .n_tools = 2};
    *state = k;
    return 0;
}

static void close_cassette(kit *k) {
    moon__model_unref(k->model);
    moon__cassette_free(k->cassette);
    k->model = NULL;
    k->cassette = NULL;
}

static int tear_down(void **state) {
    kit *k = *state;
    char path[512];
    close_cassette(k);
    moon__loop_free(k->loop);
    DIR *dir = opendir(k->dir);
    for (struct dirent *e; dir && (e = readdir(dir));) {
        snprintf(path, sizeof path, "%s/%s", k->dir, e->d_name);
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) unlink(path);
    }
    if (dir) closedir(dir);
    rmdir(k->dir);
    free(k);
    return 0;
}

static void open_in(kit *k, bool record, const char *workspace, const fake_answer *answers, size_t n) {
    moon__cassette_options options = {.dir = k->dir, .record = record, .workspace = workspace};
    moon_error error = {0};
    close_cassette(k);
    if (moon__cassette_open(&k->cassette, k->loop, &options, &error)) fail_msg("%s", error.text);
    k->fake = fake_new(k->loop, answers, n);
    k->model = &k->fake->base;
    assert_int_equal(moon__cassette_wrap(k->cassette, &k->model, &error), MOON_OK);
}

static void record(kit *k, const fake_answer *answers, size_t n) {
    open_in(k, true, NULL, answers, n);
}

static void play(kit *k) {
    open_in(k, false, NULL, NULL, 0); /* a question to the model would fail the test */
}

static moon__chat *talk(kit *k) {
    moon__chat *chat = NULL;
    moon_error error = {0};
    if (k->model->ops->open(k->model, &k->settings, &chat, &error)) fail_msg("%s", error.text);
    return chat;
}

static void hang_up(moon__chat *chat) {
    moon__model *model = moon__model_ref(chat->model);
    model->ops->close(chat);
    moon__model_unref(model);
}

static void append(moon__chat *chat, const moon_message *message) {
    moon_error error = {0};
    if (chat->model->ops->append(chat, message, &error)) fail_msg("%s", error.text);
}

static void say(moon__chat *chat, moon_role role, const char *text) {
    append(chat, &(moon_message){.role = role, .text = text, .text_length = strlen(text)});
}

typedef struct heard {
    moon_status status;
    char text[512], error[512];
    char deltas[256];
    moon_usage usage;
    size_t n_calls;
    moon_tool_use call; /* copies of its id and arguments: */
    char id[64], arguments[256];
    int done;
    moon__chat *close_on_delta, *close_when_done;
} heard;

static void on_delta(void *ctx, moon__delta kind, const char *text, size_t n) {
    heard *h = ctx;
    size_t at = strlen(h->deltas);
    snprintf(h->deltas + at, sizeof h->deltas - at, "%d:%.*s;", kind, (int)n, text);
    moon__chat *chat = h->close_on_delta;
    h->close_on_delta = NULL;
    if (chat) hang_up(chat);
}

static void on_done(void *ctx, moon_status status, const moon__answer *answer, const moon_error *error) {
    heard *h = ctx;
    h->done++;
    h->status = status;
    if (error) snprintf(h->error, sizeof h->error, "%s", error->text);
    moon__chat *chat = h->close_when_done;
    if (chat) hang_up(chat); /* the answer stays until this returns */
    if (!answer) return;
    snprintf(h->text, sizeof h->text, "%.*s", (int)answer->text_length, answer->text);
    h->usage = answer->usage;
    h->n_calls = answer->n_calls;
    if (!answer->n_calls) return;
    snprintf(h->id, sizeof h->id, "%s", answer->calls[0].id);
    snprintf(h->arguments, sizeof h->arguments, "%s", answer->calls[0].arguments);
}

static void ask_into(moon__chat *chat, const char *path, bool deltas, heard *h) {
    moon__ask ask = {.path = path, .deltas = deltas, .delta = on_delta, .done = on_done, .ctx = h};
    moon_error error = {0};
    if (chat->model->ops->ask(chat, &ask, &error)) fail_msg("%s", error.text);
    assert_int_equal(h->done, 0); /* never from within ask */
}

static void turn(kit *k) {
    for (int i = 0; i < 4; i++) moon__loop_step(k->loop, 0);
}

static heard ask(kit *k, moon__chat *chat, const char *path) {
    heard h = {0};
    ask_into(chat, path, false, &h);
    turn(k);
    assert_int_equal(h.done, 1);
    return h;
}

/* One question on a path, in a conversation of its own. */
static heard question(kit *k, const char *path, const char *text) {
    moon__chat *chat = talk(k);
    say(chat, MOON_SYSTEM, "Be brief.");
    say(chat, MOON_USER, text);
    heard h = ask(k, chat, path);
    hang_up(chat);
    return h;
}

static void expect(const heard *h, const char *text) {
    if (h->status) fail_msg("%s", h->error);
    assert_string_equal(h->text, text);
}

static void expect_miss(const heard *h, const char *part) {
    assert_int_equal(h->status, MOON_ENOTFOUND);
    if (!strstr(h->error, part)) fail_msg("not \"%s\" in: %s", part, h->error);
}

static size_t count_files(kit *k, const char *end) {
    size_t n = 0;
    DIR *dir = opendir(k->dir);
    assert_non_null(dir);
    for (struct dirent *e; (e = readdir(dir));) {
        size_t length = strlen(e->d_name), tail = strlen(end);
        n += e->d_name[0] != '.' && length >= tail && strcmp(e->d_name + length - tail, end) == 0;
    }
    closedir(dir);
    return n;
}

static bool folder_holds(kit *k, const char *text) {
    char path[512];
    bool found = false;
    DIR *dir = opendir(k->dir);
    assert_non_null(dir);
    for (struct dirent *e; (e = readdir(dir));) {
        if (e->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "%s/%s", k->dir, e->d_name);
        static char bytes[1 << 16];
        int fd = open(path, O_RDONLY);
        ssize_t n = read(fd, bytes, sizeof bytes - 1);
        close(fd);
        assert_true(n > 0);
        bytes[n] = '\0';
        found = found || strstr(bytes, text);
    }
    closedir(dir);
    return found;
}

/* ---- what is recorded is given again ---- */

static const fake_answer a_call = {.calls = {FAKE_CALL("call_9", "file.read", "{\"path\":\"a\"}")},
                                   .n_calls = 1,
                                   .finish = "tool_calls",
                                   .usage = {.input_tokens = 7, .output_tokens = 3, .usd = 0.25}};

/* Asks, gives the call's result under `id`, asks again. */
static void two_steps(kit *k, const char *id, const char *result, heard *first, heard *second) {
    moon__chat *chat = talk(k);
    say(chat, MOON_USER, "go");
    *first = ask(k, chat, "");
    moon_tool_use use = {.id = id, .name = "file.read", .arguments = "{\"path\":\"a\"}", .arguments_length = 12};
    append(chat, &(moon_message){.role = MOON_ASSISTANT, .text = "", .calls = &use, .n_calls = 1});
    append(chat, &(moon_message){.role = MOON_TOOL_ROLE, .text = result, .text_length = strlen(result), .call_id = id});
    *second = ask(k, chat, "");
    hang_up(chat);
}

static void test_model_cassette__a_conversation(void **state) {
    kit *k = *state;
    const fake_answer answers[] = {a_call, {.text = "done"}};
    heard first, second;
    record(k, answers, 2);
    two_steps(k, "call_9", "content", &first, &second);
    expect(&second, "done");
    assert_int_equal(count_files(k, ".json"), 2);
    play(k);
    two_steps(k, first.id, "content", &first, &second);
    assert_string_equal(first.id, "call_9");
    assert_string_equal(first.arguments, "{\"path\":\"a\"}");
    assert_int_equal(first.usage.input_tokens, 7);
    assert_int_equal(first.usage.output_tokens, 3);
    assert_true(first.usage.usd == 0.25);
    expect(&second, "done");
    two_steps(k, "another", "content", &first, &second); /* ids are the provider's, and matter to nobody */
    expect(&second, "done");
    assert_int_equal(k->fake->asked, 0);
}

static void test_model_cassette__a_recording_holds_what_is_new(void **state) {
    kit *k = *state;
    const fake_answer answers[] = {a_call, {.text = "done"}};
    heard first, second;
    record(k, answers, 2);
    k->settings.wire.n_tools = 1;
    two_steps(k, "call_9", "content", &first, &second);
    moon__recording r;
    const moon__take *take = moon__cassette_at(k->cassette, 1);
    assert_non_null(take);
    assert_true(take->follows);
    assert_int_equal(moon__cassette_read(k->cassette, take->names[0], &r, NULL), MOON_OK);
    assert_int_equal(moon_json_size(r.messages), 2);
    assert_null(r.request);
    assert_int_equal(r.step, 2);
    assert_memory_equal(r.after, moon__cassette_at(k->cassette, 0)->key, MOON__HASH_SIZE);
    assert_memory_equal(r.key, take->key, MOON__HASH_SIZE); /* what a file holds gives the key it was found by */
    moon__recording_fini(&r);
}

static void test_model_cassette__deltas_of_a_recorded_answer(void **state) {
    kit *k = *state;
    heard h = {0};
    const fake_answer answers[] = {
        {.text = "text", .calls = {FAKE_CALL("c", "search", "{}")}, .n_calls = 1},
    };
    record(k, answers, 1);
    question(k, "", "go");
    play(k);
    moon__chat *chat = talk(k);
    say(chat, MOON_SYSTEM, "Be brief.");
    say(chat, MOON_USER, "go");
    ask_into(chat, "", true, &h);
    turn(k);
    assert_string_equal(h.deltas, "0:text;2:search;");
    hang_up(chat);
}

static void test_model_cassette__closing_from_a_callback(void **state) {
    kit *k = *state;
    const fake_answer answers[] = {{.text = "text"}, {.text = "more"}};
    record(k, answers, 2);
    question(k, "", "go");
    for (int recording = 0; recording < 2; recording++)
        for (int on_delta_too = 0; on_delta_too < 2; on_delta_too++) {
            heard h = {0};
            if (recording && on_delta_too) continue; /* the fake has no deltas */
            open_in(k, recording, NULL, answers, 2);
            moon__chat *chat = talk(k);
            say(chat, MOON_SYSTEM, "Be brief.");
            say(chat, MOON_USER, recording ? "new" : "go");
            *(on_delta_too ? &h.close_on_delta : &h.close_when_done) = chat;
            ask_into(chat, "", true, &h);
            turn(k);
            assert_int_equal(h.done, !on_delta_too);
            assert_string_equal(h.text, on_delta_too ? "" : "text");
        }
}

static void test_model_cassette__cancelling(void **state) {
    kit *k = *state;
    const fake_answer answers[] = {{.text = "text"}, {.never = true}, {.text = "late"}};
    record(k, answers, 1);
    question(k, "", "go");
    for (int recording = 0; recording < 2; recording++) {
        heard h = {0};
        open_in(k, recording, NULL, answers + 1, 2);
        moon__chat *chat = talk(k);
        say(chat, MOON_SYSTEM, "Be brief.");
        say(chat, MOON_USER, recording ? "new" : "go");
        ask_into(chat, "", false, &h);
        chat->model->ops->cancel(chat);
        turn(k);
        assert_int_equal(h.done, 0);
        h = ask(k, chat, ""); /* it can be asked again */
        expect(&h, recording ? "late" : "text");
        hang_up(chat);
    }
}

/* ---- lanes and turns ---- */

static void test_model_cassette__branches_have_lanes(void **state) {
    kit *k = *state;
    const fake_answer answers[] = {{.text = "of one"}, {.text = "of two"}, {.text = "of root"}};
    record(k, answers, 3);
    question(k, "1", "go");
    question(k, "2.1", "go");
    question(k, "", "go");
    play(k);
    heard h = question(k, "", "go"); /* in another order than they were made */
    expect(&h, "of root");
    h = question(k, "2.1", "go");
    expect(&h, "of two");
    h = question(k, "1", "go");
    expect(&h, "of one");
    h = question(k, "3", "go");
    expect_miss(&h, "it is the same request, made on path \"1\"");
}

static void test_model_cassette__equal_requests_take_turns(void **state) {
    kit *k = *state;
    const fake_answer answers[12] = {{.text = "t1"}, {.text = "t2"},  {.text = "t3"},  {.text = "t4"},
                                     {.text = "t5"}, {.text = "t6"},  {.text = "t7"},  {.text = "t8"},
                                     {.text = "t9"}, {.text = "t10"}, {.text = "t11"}, {.text = "t12"}};
    heard h;
    record(k, answers, 11);
    for (int i = 0; i < 11; i++) question(k, "", "go");
    assert_int_equal(count_files(k, ".json"), 11);
    play(k);
    for (int i = 0; i < 11; i++) {
        h = question(k, "", "go");
        expect(&h, answers[i].text);
    }
    h = question(k, "", "go"); /* the last one again and again */
    expect(&h, "t11");
    record(k, &answers[11], 1); /* what is there is played, what is missing is asked */
    for (int i = 0; i < 12; i++) {
        h = question(k, "", "go");
        expect(&h, answers[i].text);
    }
    assert_int_equal(k->fake->asked, 1);
    assert_int_equal(count_files(k, ".json"), 12);
}

static void test_model_cassette__asked_at_once(void **state) {
    kit *k = *state;
    const fake_answer answers[] = {{.text = "a"}, {.text = "b"}};
    heard h[2] = {{0}, {0}};
    moon__chat *chats[2];
    record(k, answers, 2);
    for (int i = 0; i < 2; i++) {
        chats[i] = talk(k);
        say(chats[i], MOON_USER, "go");
        ask_into(chats[i], i ? "2" : "1", false, &h[i]);
    }
    turn(k);
    for (int i = 0; i < 2; i++) hang_up(chats[i]);
    assert_int_equal(count_files(k, ".json"), 2);
    play(k);
    for (int i = 1; i >= 0; i--) {
        moon__chat *chat = talk(k);
        say(chat, MOON_USER, "go");
        heard again = ask(k, chat, i ? "2" : "1");
        expect(&again, h[i].text);
        hang_up(chat);
    }
}

static void test_model_cassette__recording_never_writes_over(void **state) {
    kit *k = *state;
    const fake_answer mine[] = {{.text = "mine"}}, theirs[] = {{.text = "theirs"}};
    record(k, mine, 1);
    moon__cassette *other_cassette = NULL; /* as of another process, which has not seen the first one's file */
    moon__cassette_options options = {.dir = k->dir, .record = true};
    assert_int_equal(moon__cassette_open(&other_cassette, k->loop, &options, NULL), MOON_OK);
    question(k, "", "go");
    fake_model *fake = fake_new(k->loop, theirs, 1);
    moon__model *other = &fake->base;
    assert_int_equal(moon__cassette_wrap(other_cassette, &other, NULL), MOON_OK);
    moon__model *own = k->model;
    k->model = other;
    heard h = question(k, "", "go");
    k->model = own;
    moon__model_unref(other);
    moon__cassette_free(other_cassette);
    expect(&h, "theirs");
    assert_int_equal(count_files(k, ".json"), 2);
    play(k);
    h = question(k, "", "go");
    expect(&h, "mine");
    h = question(k, "", "go");
    expect(&h, "theirs");
}

static void test_model_cassette__failures_are_not_recorded(void **state) {
    kit *k = *state;
    const fake_answer answers[] = {{.text = "no", .status = MOON_EPROVIDER}, {.text = "yes"}};
    record(k, answers, 2);
    heard h = question(k, "", "go");
    assert_int_equal(h.status, MOON_EPROVIDER);
    assert_int_equal(count_files(k, ""), 0);
    h = question(k, "", "go");
    expect(&h, "yes");
}

static void test_model_cassette__a_folder_that_cannot_be_written(void **state) {
    kit *k = *state;
    const fake_answer answers[] = {{.text = "lost"}};
    record(k, answers, 1);
    assert_int_equal(rmdir(k->dir), 0);
    heard h = question(k, "", "go");
    assert_int_equal(h.status, MOON_EIO);
    assert_non_null(strstr(h.error, k->dir));
    assert_int_equal(mkdir(k->dir, 0700), 0);
}

/* ---- what a request is ---- */

static void test_model_cassette__what_does_not_matter(void **state) {
    kit *k = *state;
    const fake_answer answers[] = {{.text = "yes"}};
    record(k, answers, 1);
    question(k, "", "go");
    play(k);
    k->settings.wire.stream = true;
    k->settings.max_retries = 9;
    k->settings.first_ms = 17;
    k->tools[0].params = " { \"properties\" : { \"path\" : { \"type\" : \"string\" } },\n \"type\": \"object\" } ";
    heard h = question(k, "", "go");
    expect(&h, "yes");
}

static void test_model_cassette__secrets_are_not_recorded(void **state) {
    kit *k = *state;
    const fake_answer answers[] = {{.text = "it is hunter-two-hunter",
                                    .calls = {FAKE_CALL("c", "file.read", "{\"path\":\"sk-0123456789abcdefghijkl\"}")},
                                    .n_calls = 1},
                                   {.text = "fine"}};
    setenv("TAPE_PASSWORD", "hunter-two-hunter", 1);
    record(k, answers, 2);
    for (int playing = 0; playing < 2; playing++) {
        if (playing) play(k);
        moon__chat *chat = talk(k);
        say(chat, MOON_USER, "the password is hunter-two-hunter, the key sk-0123456789abcdefghijkl");
        heard h = ask(k, chat, "");
        assert_string_equal(h.text, playing ? "it is ***" : "it is hunter-two-hunter");
        moon_tool_use use = {
            .id = h.id, .name = "file.read", .arguments = h.arguments, .arguments_length = strlen(h.arguments)};
        append(chat,
               &(moon_message){
                   .role = MOON_ASSISTANT, .text = h.text, .text_length = strlen(h.text), .calls = &use, .n_calls = 1});
        append(chat, &(moon_message){.role = MOON_TOOL_ROLE, .text = "r", .text_length = 1, .call_id = h.id});
        h = ask(k, chat, ""); /* what was hidden in the answer is hidden in what follows: the same request */
        expect(&h, "fine");
        hang_up(chat);
    }
    unsetenv("TAPE_PASSWORD");
    assert_false(folder_holds(k, "hunter"));
    assert_false(folder_holds(k, "0123456789abcdefghijkl"));
}

static void test_model_cassette__in_another_workspace(void **state) {
    kit *k = *state;
    const fake_answer answers[] = {{.text = "cd /home/ada/project/src"}};
    open_in(k, true, "/home/ada/project", answers, 1);
    question(k, "", "look at /home/ada/project/a.c");
    assert_false(folder_holds(k, "/home/ada"));
    open_in(k, false, "/builds/7", NULL, 0);
    heard h = question(k, "", "look at /builds/7/a.c");
    expect(&h, "cd /builds/7/src");
}

/* ---- misses ---- */

static void test_model_cassette__a_miss_names_the_difference(void **state) {
    kit *k = *state;
    const fake_answer answers[] = {{.text = "yes"}};
    record(k, answers, 1);
    question(k, "4", "What is in the long text that stands here, and why?");
    play(k);
    heard h = question(k, "4", "What is in the long text that stands there, and why?");
    expect_miss(&h, "no recording of request 1 on path \"4\" in /tmp/moonlet-tape-");
    expect_miss(&h, "nearest is 4-001-");
    expect_miss(
        &h, "message 2 (user): recorded \"…ext that stands here, and why?\", now \"…ext that stands there, and why?\"");
    moon_wire_settings was = k->settings.wire;
    static const char text[] = "What is in the long text that stands here, and why?";
    k->settings.wire.temperature = 0.5;
    h = question(k, "4", text);
    expect_miss(&h, "temperature: recorded \"\", now \"0.5\"");
    k->settings.wire = was;
    k->settings.wire.n_tools = 1;
    h = question(k, "4", text);
    expect_miss(&h, "tool search is not there now");
    k->settings.wire = was;
    k->tools[0].params = "{\"type\":\"object\",\"properties\":{\"file\":{\"type\":\"string\"}}}";
    h = question(k, "4", text);
    expect_miss(&h, "parameters of tool file.read: recorded \"{\"properties\":{\"path\"");
    k->tools[0].name = "file.list";
    h = question(k, "4", text);
    expect_miss(&h, "tool file.list was not there");
    h = question(k, "5", text);
    expect_miss(&h, "nearest is 4-001-");
}

static void test_model_cassette__a_miss_in_the_middle(void **state) {
    kit *k = *state;
    const fake_answer answers[] = {a_call, {.text = "done"}, {.text = "other"}};
    heard first, second;
    record(k, answers, 3);
    two_steps(k, "call_9", "content", &first, &second);
    question(k, "", "something else");
    play(k);
    two_steps(k, "call_9", "changed content", &first, &second);
    assert_int_equal(first.status, MOON_OK);
    expect_miss(&second, "request 2 in");
    expect_miss(&second, "nearest is root-002-");
    expect_miss(&second, "message 3 (tool): recorded \"content\", now \"changed content\"");
    moon__chat *chat = talk(k);
    say(chat, MOON_USER, "go");
    say(chat, MOON_USER, "and more");
    second = ask(k, chat, "");
    expect_miss(&second, "message 2: recorded one of role assistant, now user");
    hang_up(chat);
}

static void test_model_cassette__a_conversation_that_goes_on(void **state) {
    kit *k = *state;
    const fake_answer answers[] = {{.text = "yes"}};
    record(k, answers, 1);
    question(k, "", "go");
    play(k);
    moon__chat *chat = talk(k);
    say(chat, MOON_SYSTEM, "Be brief.");
    say(chat, MOON_USER, "go");
    say(chat, MOON_ASSISTANT, "yes");
    say(chat, MOON_USER, "and then?");
    heard h = ask(k, chat, "");
    expect_miss(&h, "its conversation ends there, this one goes on");
    hang_up(chat);
}

static void test_model_cassette__an_empty_folder(void **state) {
    kit *k = *state;
    play(k);
    heard h = question(k, "", "go");
    expect_miss(&h, "holds no recordings");
}

/* ---- folders and files ---- */

static void write_file(kit *k, const char *name, const char *text) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", k->dir, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

#define ANSWER "\"answer\":{\"text\":\"t\",\"tool_calls\":[],\"finish\":\"stop\"}"
#define HEAD   "{\"cassette\":1,\"path\":\"\",\"step\":1,"

static void test_model_cassette__files_that_are_no_recordings(void **state) {
    static const struct {
        const char *label, *text, *part;
    } rows[] = {
        {"empty", "", "byte"},
        {"cut", HEAD "\"request\":{},\"mess", "byte"},
        {"other JSON", "{\"a\":1}", "no member \"cassette\""},
        {"a list", "[1]", "no member \"cassette\""},
        {"a later version", "{\"cassette\":2}", "another version"},
        {"no path", "{\"cassette\":1}", "path is a text"},
        {"no step", "{\"cassette\":1,\"path\":\"\"}", "step counts"},
        {"step 0", "{\"cassette\":1,\"path\":\"\",\"step\":0}", "step counts"},
        {"neither", HEAD "\"messages\":[]," ANSWER "}", "either request or after"},
        {"both", HEAD "\"request\":{},\"after\":\"x\",\"messages\":[]," ANSWER "}", "either request or after"},
        {"no key", HEAD "\"after\":\"abc\",\"messages\":[]," ANSWER "}", "64 hex digits"},
        {"messages", HEAD "\"request\":{},\"messages\":{}," ANSWER "}", "messages is a list"},
        {"a message", HEAD "\"request\":{},\"messages\":[7]," ANSWER "}", "objects with a role"},
        {"no answer", HEAD "\"request\":{},\"messages\":[]}", "no answer"},
        {"answer without text", HEAD "\"request\":{},\"messages\":[],\"answer\":{}}", "text and a finish"},
        {"calls", HEAD "\"request\":{},\"messages\":[],\"answer\":{\"text\":\"\",\"finish\":\"\"}}", "is a list"},
        {"a call",
         HEAD "\"request\":{},\"messages\":[],\"answer\":{\"text\":\"\",\"finish\":\"\",\"tool_calls\":[{}]}}",
         "a call has a name"},
        {"two calls of one id",
         HEAD "\"request\":{},\"messages\":[],\"answer\":{\"text\":\"\",\"finish\":\"\",\"tool_calls\":"
              "[{\"id\":\"a\",\"name\":\"n\",\"arguments\":\"\"},{\"id\":\"a\",\"name\":\"n\",\"arguments\":\"\"}]}}",
         "an id of its own"},
        {"usage",
         HEAD "\"request\":{},\"messages\":[],\"answer\":{\"text\":\"\",\"finish\":\"\",\"tool_calls\":[],"
              "\"usage\":{\"input_tokens\":-1}}}",
         "counts from 0 up"},
    };
    kit *k = *state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        moon__cassette *cassette = NULL;
        moon_error error = {0};
        write_file(k, "bad.json", rows[i].text);
        moon_status status = moon__cassette_open(&cassette, k->loop, &(moon__cassette_options){.dir = k->dir}, &error);
        if (status != MOON_EPARSE || !strstr(error.text, rows[i].part) || !strstr(error.text, "bad.json"))
            fail_msg("%s: %d %s", rows[i].label, status, error.text);
        assert_null(cassette);
    }
    write_file(k, "bad.json", HEAD "\"request\":{},\"messages\":[]," ANSWER ",\"comment\":\"ours\"}");
    play(k);
}

static void test_model_cassette__what_stands_beside_recordings(void **state) {
    kit *k = *state;
    char path[256];
    moon_error error = {0};
    moon__cassette *cassette = NULL;
    write_file(k, "README.md", "what these are");
    write_file(k, ".moonlet-1-1", "left behind");
    write_file(k, ".hidden.json", "no JSON");
    play(k);
    snprintf(path, sizeof path, "%s/pipe.json", k->dir);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(moon__cassette_open(&cassette, k->loop, &(moon__cassette_options){.dir = k->dir}, &error),
                     MOON_EPARSE);
    assert_non_null(strstr(error.text, "pipe.json is no file"));
    unlink(path);
    assert_int_equal(symlink("/etc/passwd", path), 0);
    assert_int_equal(moon__cassette_open(&cassette, k->loop, &(moon__cassette_options){.dir = k->dir}, &error),
                     MOON_EIO);
    unlink(path);
    assert_int_equal(
        moon__cassette_open(&cassette, k->loop, &(moon__cassette_options){.dir = "/tmp/moonlet-no-such"}, &error),
        MOON_ENOTFOUND);
    assert_non_null(strstr(error.text, "--record"));
}

static void test_model_cassette__a_file_that_was_changed_by_hand(void **state) {
    kit *k = *state;
    char path[512], name[300];
    const fake_answer answers[] = {{.text = "recorded"}};
    record(k, answers, 1);
    question(k, "", "go");
    snprintf(name, sizeof name, "%s", moon__cassette_at(k->cassette, 0)->names[0]);
    snprintf(path, sizeof path, "%s/%s", k->dir, name);
    static char text[1 << 16];
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    char *at = strstr(text, "recorded");
    assert_non_null(at);
    memcpy(at, "by hand!", 8);
    play(k);
    write_file(k, name, text); /* after the folder was read: the answer is read when its turn comes */
    heard h = question(k, "", "go");
    expect(&h, "by hand!");
    write_file(k, name, "{");
    h = question(k, "", "go");
    assert_int_equal(h.status, MOON_EPARSE);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(test_model_cassette__##name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_conversation),
        TEST(a_recording_holds_what_is_new),
        TEST(deltas_of_a_recorded_answer),
        TEST(closing_from_a_callback),
        TEST(cancelling),
        TEST(branches_have_lanes),
        TEST(equal_requests_take_turns),
        TEST(asked_at_once),
        TEST(recording_never_writes_over),
        TEST(failures_are_not_recorded),
        TEST(a_folder_that_cannot_be_written),
        TEST(what_does_not_matter),
        TEST(secrets_are_not_recorded),
        TEST(in_another_workspace),
        TEST(a_miss_names_the_difference),
        TEST(a_miss_in_the_middle),
        TEST(a_conversation_that_goes_on),
        TEST(an_empty_folder),
        TEST(files_that_are_no_recordings),
        TEST(what_stands_beside_recordings),
        TEST(a_file_that_was_changed_by_hand),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
