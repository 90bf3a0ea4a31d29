/* SPDX-License-Identifier: MIT */
/* Responses of Chat Completions servers, sound and odd, to answers and verdicts. */
#include "model_kit.h"

#define D(json) "data: " json "\n\n"
#define DONE    D("[DONE]")
/* A chunk with a delta; with a finish reason. */
#define C(delta)         D("{\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":" delta ",\"finish_reason\":null}]}")
#define F(delta, reason) D("{\"choices\":[{\"index\":0,\"delta\":" delta ",\"finish_reason\":\"" reason "\"}]}")
#define STOP             F("{}", "stop")
#define WHOLE(message, reason)                                                                                         \
    "{\"object\":\"chat.completion\",\"choices\":[{\"index\":0,\"message\":" message ",\"finish_reason\":\"" reason    \
    "\"}]}"

static const moon_wire_tool tools[] = {{.name = "file.read"}, {.name = "a"}, {.name = "b"}};

static void check_row(const char *label, const kit_reply *reply, const char *expected) {
    moon__names names;
    moon_error error;
    assert_int_equal(moon__names_init(&names, tools, 3, &error), MOON_OK);
    kit_verdict v = kit_read(reply, &names);
    if (v.status || strcmp(v.answer.p, expected) != 0)
        fail_msg("%s: got %s %s, expected %s", label, v.answer.p ? v.answer.p : "nothing", v.error.text, expected);
    kit_drop(&v);
    moon__names_fini(&names);
}

static void test_reply__answers(void **state) {
    (void)state;
    static const struct {
        const char *label;
        kit_reply reply;
        const char *expected;
    } rows[] = {
        {"text",
         {.body = C("{\"role\":\"assistant\",\"content\":\"\"}") C("{\"content\":\"he\"}") C("{\"content\":\"llo\"}")
              STOP DONE},
         "hello|||stop|0/0/0/0"},
        {"finish reason without [DONE]", {.body = C("{\"content\":\"x\"}") STOP}, "x|||stop|0/0/0/0"},
        {"[DONE] without finish reason", {.body = C("{\"content\":\"x\"}") DONE}, "x||||0/0/0/0"},
        {"[DONE] with blanks, then a cut",
         {.body = C("{\"content\":\"x\"}") "data:[DONE]  \n\n", .partial = true},
         "x||||0/0/0/0"},
        {"finish_reason empty, then [DONE]", {.body = F("{\"content\":\"x\"}", "") DONE}, "x||||0/0/0/0"},
        {"nothing after [DONE] counts",
         {.body = C("{\"content\":\"x\"}") DONE C("{\"content\":\"y\"}") D("{oops")},
         "x||||0/0/0/0"},
        {"length is passed on", {.body = F("{\"content\":\"x\"}", "length") DONE}, "x|||length|0/0/0/0"},
        {"empty answer that says stop", {.body = STOP DONE}, "|||stop|0/0/0/0"},
        {"comments, event names, CRLF, byte order mark",
         {.body = "\xef\xbb\xbf: OPENROUTER PROCESSING\r\n\r\nevent: x\r\nid: 1\r\ndata: "
                  "{\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\r\n\r\n" STOP},
         "x|||stop|0/0/0/0"},
        {"empty and missing choices",
         {.body = D("{\"choices\":[],\"prompt_filter_results\":[]}") D("{\"choices\":null}") D("{\"type\":\"ping\"}")
              C("{\"content\":\"x\"}") STOP DONE},
         "x|||stop|0/0/0/0"},
        {"null members",
         {.body = D("{\"error\":null,\"usage\":null,\"choices\":[{\"delta\":null}]}")
              C("{\"content\":null,\"tool_calls\":null,\"reasoning\":null}") F("{\"content\":\"x\"}", "stop")},
         "x|||stop|0/0/0/0"},
        {"other choices are left out",
         {.body =
              D("{\"choices\":[{\"index\":1,\"delta\":{\"content\":\"no\"}},{\"index\":0,\"delta\":{\"content\":\"x\"},"
                "\"finish_reason\":\"stop\"}]}")},
         "x|||stop|0/0/0/0"},
        {"a refusal is text", {.body = C("{\"refusal\":\"I can not\"}") STOP}, "I can not|||stop|0/0/0/0"},
        {"content in parts",
         {.body =
              C("{\"content\":[{\"type\":\"thinking\",\"thinking\":[{\"type\":\"text\",\"text\":\"hm\"}]},{\"type\":"
                "\"text\",\"text\":\"x\"}]}") STOP},
         "x|hm||stop|0/0/0/0"},
        {"reasoning_content",
         {.body = C("{\"reasoning_content\":\"a\"}") C("{\"reasoning_content\":\"b\"}") STOP},
         "|ab||stop|0/0/0/0"},
        {"the first reasoning field that is there counts",
         {.body = C("{\"reasoning_content\":null,\"reasoning\":\"a\",\"reasoning_text\":\"b\"}") STOP},
         "|a||stop|0/0/0/0"},
        {"reasoning_text", {.body = C("{\"reasoning_text\":\"b\"}") STOP}, "|b||stop|0/0/0/0"},
        {"bytes that are not UTF-8",
         {.body = C("{\"content\":\"a\xff"
                    "b\"}") STOP},
         "a\xef\xbf\xbd"
         "b|||stop|0/0/0/0"},
        {"a NUL in the text",
         {.body = C("{\"content\":\"a\\u0000b\"}") STOP},
         "a\xef\xbf\xbd"
         "b|||stop|0/0/0/0"},
        {"usage in the last chunk",
         {.body = C("{\"content\":\"x\"}")
              STOP D("{\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":12,\"total_tokens\":21,"
                     "\"prompt_tokens_details\":{\"cached_tokens\":4},\"completion_tokens_details\":{\"reasoning_"
                     "tokens\":5}}}") DONE},
         "x|||stop|9/4/12/5"},
        {"usage in each chunk: the last counts",
         {.body = D("{\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1}}")
              D("{\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":2,\"completion_"
                "tokens\":3}}")},
         "|||stop|2/0/3/0"},
        {"usage: reasoning beside the completion, as the total shows",
         {.body = STOP D("{\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":5,\"total_tokens\":22,"
                         "\"completion_tokens_details\":{\"reasoning_tokens\":7}}}")},
         "|||stop|10/0/12/7"},
        {"usage: nonsense counts as nothing",
         {.body = STOP D("{\"usage\":{\"prompt_tokens\":-5,\"completion_tokens\":1e300,\"prompt_tokens_details\":{"
                         "\"cached_tokens\":9}}}")},
         "|||stop|0/0/0/0"},
        {"DeepSeek's cached tokens",
         {.body = STOP D("{\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":1,\"prompt_cache_hit_tokens\":3}}")},
         "|||stop|5/3/1/0"},
        /* one JSON body instead of a stream */
        {"whole body",
         {.type = "application/json", .body = WHOLE("{\"role\":\"assistant\",\"content\":\"hi\"}", "stop")},
         "hi|||stop|0/0/0/0"},
        {"whole body, labelled as a stream", {.body = "\n" WHOLE("{\"content\":\"hi\"}", "stop")}, "hi|||stop|0/0/0/0"},
        {"a stream, labelled as JSON",
         {.type = "application/json", .body = C("{\"content\":\"x\"}") STOP},
         "x|||stop|0/0/0/0"},
        {"a stream without a type", {.type = "", .body = C("{\"content\":\"x\"}") STOP}, "x|||stop|0/0/0/0"},
        {"whole body with calls",
         {.type = "application/json",
          .body = WHOLE(
              "{\"content\":null,\"tool_calls\":[{\"id\":\"x\",\"function\":{\"name\":\"a\",\"arguments\":\"{}\"}},{"
              "\"id\":\"y\",\"function\":{\"name\":\"b\",\"arguments\":{\"k\":[1,\"v\"]}}}]}",
              "tool_calls")},
         "||x a({});y b({\"k\":[1,\"v\"]})|tool_calls|0/0/0/0"},
        {"whole message in one event",
         {.body = D("{\"choices\":[{\"message\":{\"content\":\"hi\"},\"finish_reason\":\"stop\"}]}") DONE},
         "hi|||stop|0/0/0/0"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) check_row(rows[i].label, &rows[i].reply, rows[i].expected);
}

/* A delta with one call. */
#define CALL(members)          C("{\"tool_calls\":[{" members "}]}")
#define FN(name, arguments)    "\"function\":{\"name\":\"" name "\",\"arguments\":" arguments "}"
#define ARGS(index, arguments) CALL("\"index\":" #index ",\"function\":{\"arguments\":" arguments "}")
#define CALLS_END              F("{}", "tool_calls") DONE

static void test_reply__tool_calls(void **state) {
    (void)state;
    static const struct {
        const char *label, *body, *expected;
    } rows[] = {
        {"pieces",
         CALL("\"index\":0,\"id\":\"x\",\"type\":\"function\"," FN("a", "\"\"")) ARGS(0, "\"{\\\"k\\\"\"")
             ARGS(0, "\":1}\"") CALLS_END,
         "||x a({\"k\":1})|tool_calls"},
        {"two calls interleaved",
         CALL("\"index\":0,\"id\":\"x\"," FN("a", "\"{\"")) CALL("\"index\":1,\"id\":\"y\"," FN("b", "\"[\""))
             ARGS(0, "\"}\"") ARGS(1, "\"]\"") CALLS_END,
         "||x a({});y b([])|tool_calls"},
        {"the second index comes first",
         CALL("\"index\":1,\"id\":\"y\"," FN("b", "\"{}\"")) CALL("\"index\":0,\"id\":\"x\"," FN("a", "\"{}\""))
             CALLS_END,
         "||x a({});y b({})|tool_calls"},
        {"indexes with a gap",
         CALL("\"index\":1,\"id\":\"x\"," FN("a", "\"{}\"")) CALL("\"index\":5,\"id\":\"y\"," FN("b", "\"{}\""))
             CALLS_END,
         "||x a({});y b({})|tool_calls"},
        {"no index: a new id is a new call",
         CALL("\"id\":\"x\"," FN("a", "\"{\"")) CALL("\"function\":{\"arguments\":\"}\"}")
             CALL("\"id\":\"y\"," FN("b", "\"{}\"")) CALLS_END,
         "||x a({});y b({})|tool_calls"},
        {"no index: the id comes with each piece",
         CALL("\"id\":\"x\"," FN("a", "\"{\"")) CALL("\"id\":\"y\"," FN("b", "\"{\""))
             CALL("\"id\":\"x\",\"function\":{\"arguments\":\"}\"}")
                 CALL("\"id\":\"y\",\"function\":{\"arguments\":\"}\"}") CALLS_END,
         "||x a({});y b({})|tool_calls"},
        {"no index, no id, two in one chunk",
         C("{\"tool_calls\":[{" FN("a", "\"{}\"") "},{" FN("b", "{\"k\":2}") "}]}") CALLS_END,
         "||call_1 a({});call_2 b({\"k\":2})|tool_calls"},
        {"all numbered 0",
         CALL("\"index\":0,\"id\":\"x\"," FN("a", "\"{}\"")) CALL("\"index\":0,\"id\":\"y\"," FN("b", "\"{}\""))
             CALLS_END,
         "||x a({});y b({})|tool_calls"},
        {"index that is none",
         CALL("\"index\":-1,\"id\":\"x\"," FN("a", "\"{}\"")) CALL("\"index\":\"1\",\"id\":\"y\"," FN("b", "\"{}\""))
             CALLS_END,
         "||x a({});y b({})|tool_calls"},
        {"whole call in one chunk with the finish reason",
         F("{\"content\":\"\",\"tool_calls\":[{\"index\":0,\"id\":\"x\"," FN("a", "\"{}\"") "}]}", "tool_calls") DONE,
         "||x a({})|tool_calls"},
        {"arguments as an object", CALL("\"index\":0,\"id\":\"x\"," FN("a", "{\"k\": {\"l\":[1, null]}}")) CALLS_END,
         "||x a({\"k\":{\"l\":[1,null]}})|tool_calls"},
        {"arguments null or missing",
         CALL("\"index\":0,\"id\":\"x\"," FN("a", "null"))
             CALL("\"index\":1,\"id\":\"y\",\"function\":{\"name\":\"b\"}") CALLS_END,
         "||x a();y b()|tool_calls"},
        {"id empty",
         CALL("\"index\":0,\"id\":\"\"," FN("a", "\"{}\"")) CALL("\"index\":1,\"id\":null," FN("b", "\"{}\""))
             CALLS_END,
         "||call_1 a({});call_2 b({})|tool_calls"},
        {"id twice",
         CALL("\"index\":0,\"id\":\"x\"," FN("a", "\"{}\"")) CALL("\"index\":1,\"id\":\"x\"," FN("b", "\"{}\""))
             CALLS_END,
         "||x a({});call_1 b({})|tool_calls"},
        {"a made id does not meet the model's",
         CALL("\"index\":0,\"id\":\"\"," FN("a", "\"{}\"")) CALL("\"index\":1,\"id\":\"call_1\"," FN("b", "\"{}\""))
             CALLS_END,
         "||call_2 a({});call_1 b({})|tool_calls"},
        {"id and name repeated with each piece",
         CALL("\"index\":0,\"id\":\"x\"," FN("a", "\"{\"")) CALL("\"index\":0,\"id\":\"x\"," FN("a", "\"}\""))
             CALLS_END,
         "||x a({})|tool_calls"},
        {"another id with each piece, the name once",
         CALL("\"index\":0,\"id\":\"x\"," FN("a", "\"{\""))
             CALL("\"index\":0,\"id\":\"z\",\"function\":{\"arguments\":\"}\"}") CALLS_END,
         "||x a({})|tool_calls"},
        {"the id first, the name later",
         CALL("\"index\":0,\"id\":\"x\"") CALL("\"index\":0," FN("a", "\"{}\"")) CALLS_END, "||x a({})|tool_calls"},
        {"finish reason contradicts", CALL("\"index\":0,\"id\":\"x\"," FN("a", "\"{}\"")) STOP DONE, "||x a({})|stop"},
        {"dotted names come back", CALL("\"index\":0,\"id\":\"x\"," FN("file_read", "\"{}\"")) CALLS_END,
         "||x file.read({})|tool_calls"},
        {"unknown names stay",
         CALL("\"index\":0,\"id\":\"x\"," FN("file_reed", "\"{}\""))
             CALL("\"index\":1,\"id\":\"y\"," FN("file.read", "\"{}\"")) CALLS_END,
         "||x file_reed({});y file.read({})|tool_calls"},
        {"no name at all", CALL("\"index\":0,\"id\":\"x\",\"function\":{\"arguments\":\"{}\"}") CALLS_END,
         "||x ({})|tool_calls"},
        {"things that are no calls", C("{\"tool_calls\":{}}") C("{\"tool_calls\":\"a\"}") STOP, "|||stop"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char expected[256];
        snprintf(expected, sizeof expected, "%s|0/0/0/0", rows[i].expected);
        check_row(rows[i].label, &(kit_reply){.body = rows[i].body}, expected);
    }
}

static void test_reply__verdicts(void **state) {
    (void)state;
    static const struct {
        const char *label;
        kit_reply reply;
        moon_status status;
        bool again;
        int cause;
        const char *text; /* a part of the error */
    } rows[] = {
        {"cut: neither [DONE] nor finish reason",
         {.body = C("{\"content\":\"x\"}")},
         MOON_ENET,
         true,
         0,
         "stream ended before the answer"},
        {"cut: the connection ended",
         {.body = C("{\"content\":\"x\"}"), .partial = true},
         MOON_ENET,
         true,
         0,
         "middle of the answer"},
        {"cut after the finish reason",
         {.body = C("{\"content\":\"x\"}") STOP, .partial = true},
         MOON_ENET,
         true,
         0,
         "middle of the answer"},
        {"stalled", {.body = C("{\"content\":\"x\"}"), .broken = MOON_ETIMEOUT}, MOON_ENET, true, 0, "transfer failed"},
        {"not a URL", {.body = "", .broken = MOON_EINVAL}, MOON_ENET, false, 0, "transfer failed"},
        {"nothing at all", {.body = ""}, MOON_ENET, true, 0, "empty answer"},
        {"only [DONE]", {.body = DONE}, MOON_ENET, true, 0, "empty answer"},
        {"only comments", {.body = ": hi\n\n"}, MOON_ENET, true, 0, "stream ended before"},
        {"a broken event",
         {.body = C("{\"content\":\"x\"}") D("{\"choices\":[{\"delta\":{\"cont")},
         MOON_ENET,
         true,
         0,
         "broken JSON"},
        {"a nested event", {.body = D("[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[")}, MOON_ENET, true, 0, "broken JSON"},
        {"an error in the stream",
         {.body = C("{\"content\":\"x\"}") D("{\"error\":{\"message\":\"out\\u0007 of\\nluck\",\"code\":null}}") DONE},
         MOON_EPROVIDER,
         false,
         0,
         "http://host/v1: out of luck"},
        {"an error in the stream that may pass",
         {.body = D("{\"error\":{\"message\":\"busy\",\"code\":502}}")},
         MOON_EPROVIDER,
         true,
         502,
         "busy"},
        {"an error by its type",
         {.body = D("{\"error\":{\"message\":\"busy\",\"type\":\"overloaded_error\"}}")},
         MOON_EPROVIDER,
         true,
         503,
         "busy"},
        {"an error that is a text", {.body = D("{\"error\":\"no luck\"}")}, MOON_EPROVIDER, false, 0, "no luck"},
        {"an error without words", {.body = D("{\"error\":{\"why\":1}}")}, MOON_EPROVIDER, false, 0, "{\"why\":1}"},
        {"finish reason error", {.body = F("{}", "error") DONE}, MOON_EPROVIDER, true, 502, "in mid-answer"},
        {"HTML",
         {.type = "text/html", .body = "<!doctype html><html>"},
         MOON_EPROVIDER,
         false,
         200,
         "the server at http://host/v1 answered with HTML, not a model's answer: is the base URL right (it usually "
         "ends in /v1)?"},
        {"HTML, labelled as a stream", {.body = "\r\n <html>"}, MOON_EPROVIDER, false, 200, "HTML"},
        {"plain text",
         {.type = "text/plain", .body = "Ollama is running"},
         MOON_EPROVIDER,
         false,
         200,
         "answered with text/plain"},
        {"JSON of another kind",
         {.type = "application/json", .body = "{\"ok\":true}"},
         MOON_EPROVIDER,
         false,
         200,
         "/v1"},
        {"a JSON list",
         {.type = "application/json", .body = "[1]"},
         MOON_EPROVIDER,
         false,
         200,
         "not a model's answer"},
        {"a stream of other JSON", {.body = D("17") DONE}, MOON_EPROVIDER, false, 200, "not a model's answer"},
        {"broken whole body",
         {.type = "application/json", .body = "{\"choices\":[{"},
         MOON_ENET,
         true,
         0,
         "broken JSON"},
        {"cut whole body",
         {.type = "application/json", .body = "{\"choices\":[{", .partial = true},
         MOON_ENET,
         true,
         0,
         "middle"},
        {"whole body with an error",
         {.type = "application/json", .body = "{\"error\":{\"message\":\"no\",\"code\":429}}"},
         MOON_EPROVIDER,
         true,
         429,
         "no"},
        {"whole body without choices",
         {.type = "application/json", .body = "{\"choices\":[]}"},
         MOON_EPROVIDER,
         false,
         200,
         "holds no message"},
        {"whole body without a message",
         {.type = "application/json", .body = "{\"choices\":[{\"message\":null}]}"},
         MOON_EPROVIDER,
         false,
         200,
         "holds no message"},
        {"FastAPI's error",
         {.type = "application/json", .body = "{\"detail\":\"Not Found\"}"},
         MOON_EPROVIDER,
         false,
         0,
         "Not Found"},
        /* HTTP says no */
        {"401",
         {.http = 401, .body = "{\"error\":{\"message\":\"Incorrect API key\",\"code\":\"invalid_api_key\"}}"},
         MOON_EPROVIDER,
         false,
         401,
         "refused the key in TEST_KEY (HTTP 401): Incorrect API key"},
        {"404 of a model",
         {.http = 404, .body = "{\"error\":{\"message\":\"no m1\",\"code\":\"model_not_found\"}}"},
         MOON_EPROVIDER,
         false,
         404,
         "the model \"m1\" is not known at http://host/v1 (HTTP 404): no m1"},
        {"404 of a path",
         {.http = 404, .body = "<html>404</html>"},
         MOON_EPROVIDER,
         false,
         404,
         "is the base URL right"},
        {"404 without a body", {.http = 404, .body = ""}, MOON_EPROVIDER, false, 404, "is the base URL right"},
        {"400",
         {.http = 400, .body = "{\"error\":{\"message\":\"bad field\"}}"},
         MOON_EPROVIDER,
         false,
         400,
         "refused the request (HTTP 400): bad field"},
        {"a list of details",
         {.http = 422, .body = "{\"object\":\"error\",\"message\":{\"detail\":[{\"loc\":[\"body\"]}]}}"},
         MOON_EPROVIDER,
         false,
         422,
         "loc"},
        {"408", {.http = 408, .body = ""}, MOON_EPROVIDER, true, 408, "HTTP 408"},
        {"409", {.http = 409, .body = ""}, MOON_EPROVIDER, true, 409, "HTTP 409"},
        {"429",
         {.http = 429, .body = "{\"error\":{\"message\":\"slow down\",\"code\":\"rate_limit_exceeded\"}}"},
         MOON_EPROVIDER,
         true,
         429,
         "slow down"},
        {"429 that waiting does not cure",
         {.http = 429, .body = "{\"error\":{\"message\":\"pay\",\"code\":\"insufficient_quota\"}}"},
         MOON_EPROVIDER,
         false,
         429,
         "pay"},
        {"500", {.http = 500, .body = "oops"}, MOON_EPROVIDER, true, 500, "failed (HTTP 500): oops"},
        {"529",
         {.http = 529, .body = "{\"error\":{\"message\":\"overloaded\"}}"},
         MOON_EPROVIDER,
         true,
         529,
         "overloaded"},
        {"the server says: not again",
         {.http = 500, .body = "", .headers = {{"x-should-retry", "false"}}},
         MOON_EPROVIDER,
         false,
         500,
         ""},
        {"the server says: again",
         {.http = 400, .body = "", .headers = {{"x-should-retry", "true"}}},
         MOON_EPROVIDER,
         true,
         400,
         ""},
        {"a redirect", {.http = 301, .body = "<html>"}, MOON_EPROVIDER, false, 301, "answered with HTTP 301"},
        {"the key is not shown",
         {.http = 401, .body = "{\"error\":{\"message\":\"bad key sk-secret-0123456789!\"}}"},
         MOON_EPROVIDER,
         false,
         401,
         "bad key ***!"},
        {"nor behind control characters",
         {.http = 400, .body = "{\"error\":\"sk-sec\\u0001ret-0123456789\"}"},
         MOON_EPROVIDER,
         false,
         400,
         ": ***"},
        {"nor in a stream", {.body = D("{\"error\":\"sk-secret-0123456789\"}")}, MOON_EPROVIDER, false, 0, ": ***"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (size_t piece = 0; piece < 4; piece += 3) {
            kit_reply reply = rows[i].reply;
            reply.piece = piece;
            kit_verdict v = kit_read(&reply, NULL);
            if (v.status != rows[i].status || v.error.code != v.status || v.again != rows[i].again ||
                v.error.cause != rows[i].cause || !strstr(v.error.text, rows[i].text) ||
                strstr(v.error.text, "sk-secret"))
                fail_msg("%s: status %d, again %d, cause %d: %s", rows[i].label, v.status, v.again, v.error.cause,
                         v.error.text);
            kit_drop(&v);
        }
}

/* However the network cuts the bytes, the answer is the same. */
static void test_reply__cut_at_every_byte(void **state) {
    (void)state;
    static const char body[] = ": hello\r\n\r\n" C("{\"role\":\"assistant\",\"content\":\"gr\xc3\xbc\xc3\x9f\"}")
        CALL("\"index\":0,\"id\":\"x\"," FN("file_read", "\"{\\\"path\\\":\"")) ARGS(0, "\"\\\"\xe2\x82\xac\\\\u00e9\"")
            ARGS(0, "\"\\\"}\"") CALL("\"index\":1,\"id\":\"y\"," FN("b", "\"{}\"")) F("{}", "tool_calls")
                D("{\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}}") DONE;
    static const char expected[] =
        "gr\xc3\xbc\xc3\x9f||x file.read({\"path\":\"\xe2\x82\xac\\u00e9\"});y b({})|tool_calls|3/0/4/0";
    char first[sizeof body];
    moon__names names;
    moon_error error;
    assert_int_equal(moon__names_init(&names, tools, 3, &error), MOON_OK);
    for (size_t piece = 1; piece <= 9; piece++)
        check_row("pieces", &(kit_reply){.body = body, .piece = piece}, expected);
    for (size_t cut = 1; cut < sizeof body - 1; cut++) {
        moon__gather gather;
        moon__reply reply;
        moon__answer answer;
        moon__buf line;
        unsigned next_id = 0;
        bool again;
        moon__buf_init(&line, 4096);
        moon__gather_init(&gather, &names);
        moon__reply_init(&reply, &moon__openai_chat, &gather);
        memcpy(first, body, cut);
        assert_true(moon__reply_data(&reply, 200, first, cut));
        assert_true(moon__reply_data(&reply, 200, body + cut, sizeof body - 1 - cut));
        assert_int_equal(moon__reply_judge(&reply, &(moon__http_response){.http = 200}, &kit_asked, &error, &again),
                         MOON_OK);
        assert_int_equal(moon__gather_finish(&gather, NULL, &next_id, &answer, &error), MOON_OK);
        kit_print(&line, &answer);
        if (strcmp(line.p, expected) != 0) fail_msg("cut at %zu: %s", cut, line.p);
        moon__buf_fini(&line);
        moon__reply_fini(&reply);
        moon__gather_fini(&gather);
    }
    moon__names_fini(&names);
}

/* The tool arguments split at every byte of their text over two chunks. */
static void test_reply__arguments_split_anywhere(void **state) {
    (void)state;
    static const char arguments[] = "{\"pattern\":\"a.*b\",\"path\":\"src/x.c\",\"limit\":12}";
    for (size_t cut = 0; cut <= sizeof arguments - 1; cut++) {
        moon__buf body, part;
        moon__buf_init(&body, 8192);
        moon__buf_init(&part, 256);
        moon__buf_str(&body, CALL("\"index\":0,\"id\":\"x\"," FN("a", "\"\"")));
        for (int half = 0; half < 2; half++) {
            moon__buf_reset(&part);
            moon__buf_quoted(&part, half ? arguments + cut : arguments, half ? sizeof arguments - 1 - cut : cut);
            moon__buf_printf(
                &body,
                "data: "
                "{\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":%s}}]}}]}\n\n",
                part.p);
        }
        moon__buf_str(&body, F("{}", "tool_calls") DONE);
        char expected[128];
        snprintf(expected, sizeof expected, "||x a(%s)|tool_calls|0/0/0/0", arguments);
        check_row("split", &(kit_reply){.body = body.p}, expected);
        moon__buf_fini(&body);
        moon__buf_fini(&part);
    }
}

/* ---- ceilings ---- */

static char *repeated(const char *head, const char *piece, size_t times, const char *tail) {
    size_t h = strlen(head), p = strlen(piece), t = strlen(tail);
    char *text = malloc(h + p * times + t + 1);
    assert_non_null(text);
    memcpy(text, head, h);
    for (size_t i = 0; i < times; i++) memcpy(text + h + i * p, piece, p);
    memcpy(text + h + p * times, tail, t + 1);
    return text;
}

static void check_ceiling(char *body, const char *text) {
    kit_verdict v = kit_read(&(kit_reply){.body = body, .piece = 65536}, NULL);
    if (v.status != MOON_EPROVIDER || v.again || !strstr(v.error.text, text))
        fail_msg("expected \"%s\", got %d: %s", text, v.status, v.error.text);
    kit_drop(&v);
    free(body);
}

static void test_reply__ceilings_are_not_asked_again(void **state) {
    (void)state;
    char *mega = repeated("", "x", 1 << 20, "");
    char *chunk = malloc((1 << 20) + 256);
    assert_non_null(chunk);
    sprintf(chunk, C("{\"content\":\"%s\"}"), mega);
    check_ceiling(repeated("", chunk, 17, ""), "over 16 MiB of text");
    sprintf(chunk, C("{\"reasoning\":\"%s\"}"), mega);
    check_ceiling(repeated("", chunk, 17, ""), "over 16 MiB of reasoning");
    sprintf(chunk, CALL("\"index\":3,\"function\":{\"arguments\":\"%s\"}"), mega);
    check_ceiling(repeated("", chunk, 11, ""), "over 10 MiB of arguments");
    check_ceiling(repeated("", CALL(FN("a", "\"{}\"")), 65, ""), "over 64 tool calls");
    check_ceiling(repeated("data: ", mega, 100, "\n\n"), "over 32 MiB");
    check_ceiling(repeated("{\"choices\":\"", mega, 40, "\"}"), "over 32 MiB");
    free(chunk);
    free(mega);
}

static void test_reply__ten_megabytes_of_arguments(void **state) {
    (void)state;
    char *body = repeated(F("{}", "tool_calls") CALL("\"index\":0,\"id\":\"x\"," FN("a", "\"[\"")),
                          ARGS(0, "\"0123456789012345678901234567890123456789\""), 200000, DONE);
    kit_verdict v = kit_read(&(kit_reply){.body = body, .piece = 16384}, NULL);
    assert_int_equal(v.status, MOON_OK);
    assert_true(v.answer.len > 8000000);
    kit_drop(&v);
    free(body);
}

static void test_reply__long_error_bodies_are_cut(void **state) {
    (void)state;
    char *body = repeated("", "no ", 100000, "");
    kit_verdict v = kit_read(&(kit_reply){.http = 500, .body = body, .piece = 1000}, NULL);
    assert_int_equal(v.status, MOON_EPROVIDER);
    assert_true(v.again);
    assert_int_equal(v.error.cause, 500);
    assert_true(strlen(v.error.text) < 300);
    kit_drop(&v);
    free(body);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reply__answers),
        cmocka_unit_test(test_reply__tool_calls),
        cmocka_unit_test(test_reply__verdicts),
        cmocka_unit_test(test_reply__cut_at_every_byte),
        cmocka_unit_test(test_reply__arguments_split_anywhere),
        cmocka_unit_test(test_reply__ceilings_are_not_asked_again),
        cmocka_unit_test(test_reply__ten_megabytes_of_arguments),
        cmocka_unit_test(test_reply__long_error_bodies_are_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
