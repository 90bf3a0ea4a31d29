/* SPDX-License-Identifier: MIT */
/* The bytes of requests, and the table of tool names. */
#include "model_kit.h"

static const moon_wire_settings bare = {
    .model = "m", .stream = true, .temperature = -1, .top_p = -1, .max_output_tokens = -1, .seed = -1};

static void check_body(const moon_provider *provider, const moon_wire_settings *settings, const moon_message *messages,
                       size_t n, const char *expected) {
    moon__buf body;
    moon__buf_init(&body, 1 << 20);
    provider->begin(settings, &body);
    for (size_t i = 0; i < n; i++) provider->message(&messages[i], i == 0, &body);
    provider->end(settings, &body);
    assert_int_equal(body.status, MOON_OK);
    assert_string_equal(body.p, expected);
    moon_json *json;
    moon_error error;
    assert_int_equal(moon__json_parse(&json, body.p, body.len, MOON__JSON_REPAIR, &error), MOON_OK);
    moon__json_free(json);
    moon__buf_fini(&body);
}

static void test_openai_chat__settings(void **state) {
    (void)state;
    moon_wire_settings all = bare;
    static const moon_wire_tool tools[] = {
        {.name = "file_read", .description = "Reads \"a\" file.", .params = "{\"type\":\"object\"}"}, {.name = "now"}};
    check_body(&moon__openai_chat, &bare, NULL, 0,
               "{\"model\":\"m\",\"stream\":true,\"stream_options\":{\"include_usage\":true},\"messages\":[]}");
    all.stream = false;
    check_body(&moon__openai_chat, &all, NULL, 0, "{\"model\":\"m\",\"stream\":false,\"messages\":[]}");
    all.temperature = 0.5;
    all.top_p = 0;
    all.max_output_tokens = 100;
    all.seed = 7;
    all.reasoning_effort = "low";
    all.output_schema = "{\"type\":\"object\"}";
    all.extra = "\"user\":\"u\",\"n\":1";
    all.tools = tools;
    all.n_tools = 2;
    check_body(
        &moon__openai_chat, &all, NULL, 0,
        "{\"model\":\"m\",\"stream\":false,\"temperature\":0.5,\"top_p\":0,\"max_tokens\":100,\"seed\":7,"
        "\"reasoning_effort\":\"low\",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":"
        "\"answer\",\"strict\":false,\"schema\":{\"type\":\"object\"}}},\"user\":\"u\",\"n\":1,\"tools\":[{\"type\":"
        "\"function\",\"function\":{\"name\":\"file_read\",\"description\":\"Reads \\\"a\\\" file.\",\"parameters\":{"
        "\"type\":\"object\"}}},{\"type\":\"function\",\"function\":{\"name\":\"now\",\"parameters\":{\"type\":"
        "\"object\",\"properties\":{}}}}],\"messages\":[]}");
}

static void test_openai_chat__dialects(void **state) {
    (void)state;
    moon_wire_settings s = bare;
    s.max_output_tokens = 9;
    check_body(
        &moon__openai_chat_official, &s, NULL, 0,
        "{\"model\":\"m\",\"stream\":true,\"stream_options\":{\"include_usage\":true},\"max_completion_tokens\":9,"
        "\"messages\":[]}");
    check_body(&moon__mistral_chat, &s, NULL, 0, "{\"model\":\"m\",\"stream\":true,\"max_tokens\":9,\"messages\":[]}");
}

#define TEXT(s) .text = (s), .text_length = sizeof(s) - 1
#define ARGS(s) .arguments = (s), .arguments_length = sizeof(s) - 1
#define START   "{\"model\":\"m\",\"stream\":true,\"stream_options\":{\"include_usage\":true},\"messages\":["

static void test_openai_chat__messages(void **state) {
    (void)state;
    static const moon_tool_use calls[] = {{.id = "x", .name = "file_read", ARGS("{\"path\": \"a\"}")},
                                          {.id = "y", .name = "now", ARGS("")}};
    static const moon_message messages[] = {
        {.role = MOON_SYSTEM, TEXT("be brief")},
        {.role = MOON_USER, TEXT("a\n\"b\"\xff\0c")},
        {.role = MOON_ASSISTANT, .calls = calls, .n_calls = 2},
        {.role = MOON_TOOL_ROLE, .call_id = "x", TEXT("2C")},
        {.role = MOON_TOOL_ROLE, .call_id = "y", .is_error = true, TEXT("no")},
        {.role = MOON_ASSISTANT,
         TEXT("so"),
         .reasoning = "hm",
         .reasoning_length = 2,
         .calls = calls + 1,
         .n_calls = 1},
        {.role = MOON_ASSISTANT},
    };
    check_body(
        &moon__openai_chat, &bare, messages, 7,
        START "{\"role\":\"system\",\"content\":\"be brief\"},"
              "{\"role\":\"user\",\"content\":\"a\\n\\\"b\\\"\xef\xbf\xbd\xef\xbf\xbd"
              "c\"},"
              "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":["
              "{\"id\":\"x\",\"type\":\"function\",\"function\":{\"name\":\"file_read\",\"arguments\":\"{\\\"path\\\": "
              "\\\"a\\\"}\"}},"
              "{\"id\":\"y\",\"type\":\"function\",\"function\":{\"name\":\"now\",\"arguments\":\"{}\"}}]},"
              "{\"role\":\"tool\",\"tool_call_id\":\"x\",\"content\":\"2C\"},"
              "{\"role\":\"tool\",\"tool_call_id\":\"y\",\"content\":\"no\"},"
              "{\"role\":\"assistant\",\"content\":\"so\",\"reasoning_content\":\"hm\",\"tool_calls\":["
              "{\"id\":\"y\",\"type\":\"function\",\"function\":{\"name\":\"now\",\"arguments\":\"{}\"}}]},"
              "{\"role\":\"assistant\",\"content\":\"\"}]}");
}

/* What a chat template of the server could not parse goes wrapped, and not at any length. */
static void test_openai_chat__malformed_arguments_are_wrapped(void **state) {
    (void)state;
    static const char *const malformed[] = {"{\"a\":", "[1]", "\"x\"", "nope", "{}x", "{'a':1}"};
    for (size_t i = 0; i < sizeof malformed / sizeof *malformed; i++) {
        moon__buf once, twice, expected;
        moon_tool_use call = {
            .id = "x", .name = "a", .arguments = malformed[i], .arguments_length = strlen(malformed[i])};
        moon__buf_init(&once, 256);
        moon__buf_init(&twice, 256);
        moon__buf_init(&expected, 1024);
        moon__buf_str(&once, "{\"malformed_arguments\":");
        moon__buf_quoted(&once, malformed[i], SIZE_MAX);
        moon__buf_str(&once, "}");
        moon__buf_quoted(&twice, once.p, once.len);
        moon__buf_printf(&expected,
                         START
                         "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"x\",\"type\":\"function\","
                         "\"function\":{\"name\":\"a\",\"arguments\":%s}}]}]}",
                         twice.p);
        check_body(&moon__openai_chat, &bare, &(moon_message){.role = MOON_ASSISTANT, .calls = &call, .n_calls = 1}, 1,
                   expected.p);
        moon__buf_fini(&once);
        moon__buf_fini(&twice);
        moon__buf_fini(&expected);
    }
    char *deep = malloc(20001);
    assert_non_null(deep);
    memset(deep, '[', 20000);
    deep[20000] = '\0';
    memcpy(deep, "{\"a\":", 5);
    moon_tool_use call = {.id = "x", .name = "a", .arguments = deep, .arguments_length = 20000};
    moon__buf body;
    moon__buf_init(&body, 1 << 20);
    moon__openai_chat.message(&(moon_message){.role = MOON_ASSISTANT, .calls = &call, .n_calls = 1}, true, &body);
    assert_int_equal(body.status, MOON_OK);
    assert_non_null(strstr(body.p, "malformed_arguments"));
    assert_true(body.len < 2500);
    moon__buf_fini(&body);
    free(deep);
}

static void test_openai_chat__headers(void **state) {
    (void)state;
    char buffer[64];
    const char *lines[4];
    assert_int_equal(moon__openai_chat.headers(NULL, buffer, sizeof buffer, lines, 4), 2);
    assert_int_equal(moon__openai_chat.headers("k", buffer, sizeof buffer, lines, 4), 3);
    assert_string_equal(lines[2], "Authorization: Bearer k");
    assert_int_equal(moon__openai_chat.headers("k", buffer, 22, lines, 4), 0);
    assert_int_equal(moon__openai_chat.headers("k", buffer, sizeof buffer, lines, 2), 0);
}

static void test_names__wire_form(void **state) {
    (void)state;
    static const char *const rows[][2] = {
        {"file.read", "file_read"}, {"now", "now"}, {"a b\x1b\xc3\xbc", "a_b___"}, {"", "_"}, {"Aa-_9", "Aa-_9"}};
    char wire[MOON__WIRE_NAME], name[101];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        moon__wire_name(wire, rows[i][0]);
        assert_string_equal(wire, rows[i][1]);
    }
    memset(name, 'x', 100);
    name[100] = '\0';
    moon__wire_name(wire, name);
    assert_int_equal(strlen(wire), 64);
}

static void test_names__both_ways(void **state) {
    (void)state;
    static const moon_wire_tool tools[] = {
        {.name = "z.z"}, {.name = "file.read"}, {.name = "shell"}, {.name = "git.log"}};
    moon__names names;
    moon_error error;
    assert_int_equal(moon__names_init(&names, tools, 4, &error), MOON_OK);
    assert_string_equal(moon__names_dotted(&names, "file_read"), "file.read");
    assert_string_equal(moon__names_dotted(&names, "shell"), "shell");
    assert_string_equal(moon__names_wire(&names, "z.z"), "z_z");
    assert_null(moon__names_dotted(&names, "file.read"));
    assert_null(moon__names_dotted(&names, ""));
    assert_null(moon__names_dotted(NULL, "shell"));
    moon__names_fini(&names);
    assert_int_equal(moon__names_init(&names, NULL, 0, &error), MOON_OK);
    assert_null(moon__names_dotted(&names, "shell"));
    moon__names_fini(&names);
}

static void test_names__collision(void **state) {
    (void)state;
    static const moon_wire_tool tools[] = {{.name = "a.b"}, {.name = "c"}, {.name = "a_b"}};
    moon__names names;
    moon_error error;
    assert_int_equal(moon__names_init(&names, tools, 3, &error), MOON_EINVAL);
    assert_non_null(strstr(error.text, "\"a.b\""));
    assert_non_null(strstr(error.text, "\"a_b\""));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_openai_chat__settings),
        cmocka_unit_test(test_openai_chat__dialects),
        cmocka_unit_test(test_openai_chat__messages),
        cmocka_unit_test(test_openai_chat__malformed_arguments_are_wrapped),
        cmocka_unit_test(test_openai_chat__headers),
        cmocka_unit_test(test_names__wire_form),
        cmocka_unit_test(test_names__both_ways),
        cmocka_unit_test(test_names__collision),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
