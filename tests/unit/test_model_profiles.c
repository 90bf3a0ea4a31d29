/* SPDX-License-Identifier: MIT */
/* Which model answers: specs, environment, configuration. */
#include "model_kit.h"
#include "models.h"

/* Every variable that resolution reads; cleared before each test. */
static const char *const variables[] = {"MOONLET_MODEL",    "MOONLET_BASE_URL", "MOONLET_API_KEY",
                                        "OPENAI_API_KEY",   "OPENAI_BASE_URL",  "OPENROUTER_API_KEY",
                                        "GROQ_API_KEY",     "MISTRAL_API_KEY",  "DEEPSEEK_API_KEY",
                                        "XAI_API_KEY",      "TOGETHER_API_KEY", "FIREWORKS_API_KEY",
                                        "CEREBRAS_API_KEY", "OLLAMA_HOST",      "OLLAMA_API_KEY",
                                        "LLAMA_API_KEY",    "VLLM_API_KEY",     "MY_KEY"};

static void fake_free(moon__model *model) {
    free(model->name);
    free(model->source);
    free(model);
}
static const moon__model_ops fake_ops = {.free = fake_free};

static moon_status load(void *ctx, const char *path, moon__model **out, moon_error *error) {
    (void)ctx;
    if (strcmp(path, "missing.lua") == 0) return moon_error_set(error, MOON_ENOTFOUND, "missing.lua is not there");
    moon__model *model = calloc(1, sizeof *model);
    assert_non_null(model);
    *model = (moon__model){.ops = &fake_ops, .refs = 1, .name = strdup(path), .source = strdup("?"), .scripted = true};
    *out = model;
    return MOON_OK;
}

static int setup(void **state) {
    moon__models *models;
    moon_error error;
    for (size_t i = 0; i < sizeof variables / sizeof *variables; i++) unsetenv(variables[i]);
    if (moon__models_new(&models, NULL, NULL, &error)) return -1;
    moon__models_set_loader(models, load, NULL);
    *state = models;
    return 0;
}

static int teardown(void **state) {
    moon__models_free(*state);
    return 0;
}

static void expect(moon__models *models, const char *spec, const char *name, const char *source, const char *url,
                   const char *key_name) {
    moon__model *model = NULL;
    moon_error error = {0};
    if (moon__models_get(models, spec, &model, &error)) fail_msg("%s: %s", spec ? spec : "default", error.text);
    assert_string_equal(model->name, name);
    if (source) assert_string_equal(model->source, source);
    if (url) assert_string_equal(model->base_url, url);
    if (key_name)
        assert_string_equal(model->key_name, key_name);
    else
        assert_null(model->key_name);
    moon__model_unref(model);
}

static void expect_error(moon__models *models, const char *spec, moon_status status, const char *text) {
    moon__model *model = NULL;
    moon_error error = {0};
    moon_status got = moon__models_get(models, spec, &model, &error);
    if (got != status || error.code != status || !strstr(error.text, text))
        fail_msg("%s: %d %s", spec ? spec : "default", got, error.text);
}

static moon_status configure(moon__models *models, const char *text, bool trusted, moon_error *error) {
    moon_json *json;
    moon_error parse_error;
    assert_int_equal(moon__json_parse(&json, text, strlen(text), 0, &parse_error), MOON_OK);
    moon_status status = moon__models_configure(models, json, trusted, error);
    moon__json_free(json);
    return status;
}

static void test_models__order_of_defaults(void **state) {
    moon__models *models = *state;
    expect(models, NULL, "offline", "no model is configured", NULL, NULL);
    setenv("GROQ_API_KEY", "k", 1); /* has no default model */
    expect(models, NULL, "offline", "no model is configured", NULL, NULL);
    setenv("MISTRAL_API_KEY", "k", 1);
    expect(models, NULL, "mistral/mistral-large-latest", "MISTRAL_API_KEY is set", "https://api.mistral.ai/v1",
           "MISTRAL_API_KEY");
    setenv("OPENROUTER_API_KEY", "k", 1);
    expect(models, NULL, "openrouter/openai/gpt-5-mini", "OPENROUTER_API_KEY is set", NULL, "OPENROUTER_API_KEY");
    setenv("OPENAI_API_KEY", "k", 1);
    expect(models, NULL, "openai/gpt-5-mini", "OPENAI_API_KEY is set", "https://api.openai.com/v1", "OPENAI_API_KEY");
    setenv("MOONLET_MODEL", "groq/llama", 1);
    expect(models, NULL, "groq/llama", "MOONLET_MODEL", "https://api.groq.com/openai/v1", "GROQ_API_KEY");
    setenv("MOONLET_MODEL", "offline", 1);
    expect(models, NULL, "offline", "MOONLET_MODEL", NULL, NULL);
    assert_int_equal(moon__models_set_default(models, "openrouter", "--model", NULL), MOON_OK);
    expect(models, NULL, "openrouter/openai/gpt-5-mini", "--model", NULL, "OPENROUTER_API_KEY");
    expect(models, "openai/x", "openai/x", "given", NULL, "OPENAI_API_KEY");
    setenv("MOONLET_MODEL", "", 1);
    assert_int_equal(moon__models_set_default(models, NULL, NULL, NULL), MOON_OK);
    setenv("OPENAI_API_KEY", "", 1); /* empty is not set */
    expect(models, NULL, "openrouter/openai/gpt-5-mini", "OPENROUTER_API_KEY is set", NULL, "OPENROUTER_API_KEY");
}

/* Only where it surely is so: a server put in the place of a known one may tell what its answers cost. */
static void test_models__who_tells_no_cost(void **state) {
    static const struct {
        const char *variable, *value, *settings, *spec;
        bool hidden;
    } rows[] = {
        {"OPENAI_API_KEY", "k", NULL, "openai/x", true},
        {"OPENAI_API_KEY", "k", "{\"openai\":{\"temperature\":0}}", "openai/x", true},
        {"OPENROUTER_API_KEY", "k", NULL, "openrouter/x", false},
        {"VLLM_API_KEY", "", NULL, "vllm/x", true},
        {"OPENAI_BASE_URL", "http://proxy/v1", NULL, "openai/x", false},
        {"MOONLET_BASE_URL", "http://proxy/v1", NULL, "custom/x", false},
        {"MISTRAL_API_KEY", "k", "{\"mistral\":{\"base_url\":\"http://proxy/v1\"}}", "mistral/x", false},
        {"MISTRAL_API_KEY", "k", "{\"office\":{\"base_url\":\"http://proxy/v1\"}}", "office/x", false},
        {"VLLM_API_KEY", "", "{\"vllm\":{\"price\":{\"input\":0,\"output\":0}}}", "vllm/x", false},
        {"OPENAI_API_KEY", "k", NULL, "offline", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        moon__model *model;
        moon_error error = {0};
        setenv(rows[i].variable, rows[i].value, 1);
        if (rows[i].settings) assert_int_equal(configure(*state, rows[i].settings, true, &error), MOON_OK);
        if (moon__models_get(*state, rows[i].spec, &model, &error)) fail_msg("%s: %s", rows[i].spec, error.text);
        if (model->hides_cost != rows[i].hidden) fail_msg("row %zu: %s", i, rows[i].spec);
        moon__model_unref(model);
        unsetenv(rows[i].variable);
    }
}

static void test_models__scripted(void **state) {
    expect(*state, "offline", "offline", "given", NULL, NULL);
    expect(*state, "agents/mine.lua", "agents/mine.lua", "given", NULL, NULL);
    expect_error(*state, "missing.lua", MOON_ENOTFOUND, "missing.lua is not there");
    moon__models_set_loader(*state, NULL, NULL);
    expect_error(*state, "offline", MOON_EUNSUPPORTED, "scripted");
}

static void test_models__specs(void **state) {
    setenv("OPENAI_API_KEY", " sk-abcdef\n", 1);
    expect(*state, "openai", "openai/gpt-5-mini", NULL, NULL, "OPENAI_API_KEY");
    expect(*state, "openai/", "openai/gpt-5-mini", NULL, NULL, "OPENAI_API_KEY");
    setenv("OPENROUTER_API_KEY", "k", 1);
    expect(*state, "openrouter/meta/llama:free", "openrouter/meta/llama:free", NULL, NULL, "OPENROUTER_API_KEY");
    expect(*state, "lmstudio/q", "lmstudio/q", NULL, "http://localhost:1234/v1", NULL);
    expect(*state, "vllm/q", "vllm/q", NULL, "http://localhost:8000/v1", NULL);
    expect(*state, "llamacpp/q", "llamacpp/q", NULL, "http://127.0.0.1:8080/v1", NULL);
    setenv("LLAMA_API_KEY", "k", 1);
    expect(*state, "llamacpp/q", "llamacpp/q", NULL, NULL, "LLAMA_API_KEY");
}

static void test_models__errors_say_what_to_do(void **state) {
    expect_error(*state, "openai/x", MOON_EINVAL, "openai needs a key: set OPENAI_API_KEY");
    expect_error(*state, "opnai/x", MOON_EINVAL, "no provider \"opnai\"; did you mean \"openai\"?");
    expect_error(*state, "gpt-5-mini", MOON_EINVAL, "providers: cerebras, custom, deepseek");
    expect_error(*state, "/x", MOON_EINVAL, "no provider \"\"");
    expect_error(*state, "\x1b[2J/x", MOON_EINVAL, "no provider \"[2J\"");
    expect_error(*state, "ollama", MOON_EINVAL, "ollama has no default model: write ollama/MODEL");
    expect_error(*state, "custom/m", MOON_EINVAL, "custom needs a base URL: set MOONLET_BASE_URL");
    expect_error(*state, "vllm/\x1b[2J", MOON_EINVAL, "control character");
    char spec[700] = "vllm/";
    memset(spec + 5, 'x', sizeof spec - 6);
    spec[sizeof spec - 1] = '\0';
    expect_error(*state, spec, MOON_EINVAL, "longer than 511 bytes");
    memset(spec, 'x', sizeof spec - 1);
    expect_error(*state, spec, MOON_EINVAL, "no provider");
    setenv("MOONLET_BASE_URL", "localhost:8000", 1);
    expect_error(*state, "custom/m", MOON_EINVAL, "MOONLET_BASE_URL is no base URL: \"localhost:8000\"");
    setenv("OPENAI_API_KEY", "sk-\x01secret", 1);
    expect_error(*state, "openai/x", MOON_EINVAL, "OPENAI_API_KEY holds a character that no key has");
    setenv("MOONLET_MODEL", "nowhere/x", 1);
    moon__model *model;
    moon_error error = {0};
    assert_int_equal(moon__models_get(*state, NULL, &model, &error), MOON_EINVAL);
    assert_string_equal(error.where, "MOONLET_MODEL");
}

static void test_models__base_urls(void **state) {
    static const struct {
        const char *variable, *value, *spec, *url; /* url NULL: an error */
    } rows[] = {
        {"OPENAI_BASE_URL", "http://localhost:9/v1/", "openai/x", "http://localhost:9/v1"}, /* needs no key then */
        {"OPENAI_BASE_URL", "http://me:pw@h/v1", "openai/x", "http://h/v1"},                /* shown without them */
        {"OPENAI_BASE_URL", "ftp://h", "openai/x", NULL},
        {"OPENAI_BASE_URL", "http://", "openai/x", NULL},
        {"OPENAI_BASE_URL", "http:///v1", "openai/x", NULL},
        {"OPENAI_BASE_URL", "http://a b/v1", "openai/x", NULL},
        {"MOONLET_BASE_URL", "HTTPS://h:1/v1//", "custom/x", "HTTPS://h:1/v1"},
        {"OLLAMA_HOST", "box", "ollama/x", "http://box:11434/v1"},
        {"OLLAMA_HOST", "box:99", "ollama/x", "http://box:99/v1"},
        {"OLLAMA_HOST", ":99", "ollama/x", "http://127.0.0.1:99/v1"},
        {"OLLAMA_HOST", "0.0.0.0", "ollama/x", "http://127.0.0.1:11434/v1"},
        {"OLLAMA_HOST", "0.0.0.0:99", "ollama/x", "http://127.0.0.1:99/v1"},
        {"OLLAMA_HOST", "http://box:99/", "ollama/x", "http://box:99/v1"},
        {"OLLAMA_HOST", "https://box/ollama", "ollama/x", "https://box/ollama/v1"},
        {"OLLAMA_HOST", "[::1]", "ollama/x", "http://[::1]:11434/v1"},
        {"OLLAMA_HOST", "[::1]:99", "ollama/x", "http://[::1]:99/v1"},
        {"OLLAMA_HOST", "a b", "ollama/x", NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        setenv(rows[i].variable, rows[i].value, 1);
        if (rows[i].url)
            expect(*state, rows[i].spec, rows[i].spec, NULL, rows[i].url, NULL);
        else
            expect_error(*state, rows[i].spec, MOON_EINVAL, "is no base URL");
        unsetenv(rows[i].variable);
    }
}

static void test_models__configured(void **state) {
    moon__models *models = *state;
    moon_error error;
    assert_int_equal(
        configure(models,
                  "{\"openai\":{\"base_url\":\"http://proxy/v1/\",\"model\":\"m1\",\"temperature\":0.25,\"price\":{"
                  "\"input\":1,\"output\":2}},"
                  "\"mine\":{\"base_url\":\"http://mine/v1\",\"key_env\":\"MY_KEY\",\"model\":\"best\",\"wire\":"
                  "\"mistral-chat\",\"extra\":{\"a\":1}}}",
                  true, &error),
        MOON_OK);
    expect(models, "openai", "openai/m1", NULL, "http://proxy/v1", NULL);
    setenv("OPENAI_BASE_URL", "http://env/v1", 1); /* the environment comes first */
    expect(models, "openai", "openai/m1", NULL, "http://env/v1", NULL);
    expect_error(models, "mine", MOON_EINVAL, "mine needs a key: set MY_KEY");
    setenv("MY_KEY", "k", 1);
    expect(models, NULL, "mine/best", "MY_KEY is set", "http://mine/v1", "MY_KEY");
    const char *const *names = moon__models_names(models);
    bool found = false;
    for (size_t i = 0; names[i]; i++) {
        if (i) assert_true(strcmp(names[i - 1], names[i]) < 0);
        found = found || strcmp(names[i], "mine") == 0;
    }
    assert_true(found);
    /* a repository's settings come on top and may choose, but not redirect */
    assert_int_equal(configure(models, "{\"mine\":{\"model\":\"other\",\"seed\":1}}", false, &error), MOON_OK);
    expect(models, "mine", "mine/other", NULL, "http://mine/v1", "MY_KEY");
}

static void test_models__untrusted_settings_redirect_nothing(void **state) {
    static const char *const rows[] = {
        "{\"openai\":{\"base_url\":\"http://evil/v1\"}}",
        "{\"openai\":{\"key_env\":\"HOME\"}}",
        "{\"openai\":{\"wire\":\"openai-chat\"}}",
        "{\"openai\":{\"price\":{\"input\":0,\"output\":0}}}",
        "{\"openai\":{\"extra\":{\"a\":1}}}",
        "{\"new\":{\"base_url\":\"http://evil/v1\"}}",
    };
    setenv("OPENAI_API_KEY", "k", 1);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        moon_error error;
        assert_int_equal(configure(*state, rows[i], false, &error), MOON_EDENIED);
        assert_non_null(strstr(error.text, "only your own configuration"));
    }
    expect(*state, "openai", "openai/gpt-5-mini", NULL, "https://api.openai.com/v1", "OPENAI_API_KEY");
}

static void test_models__bad_settings(void **state) {
    static const struct {
        const char *settings, *text;
    } rows[] = {
        {"[]", "table of providers"},
        {"{\"openai\":1}", "providers.openai: a table of settings"},
        {"{\"openai\":{\"modle\":\"x\"}}", "no setting \"modle\"; did you mean \"model\"?"},
        {"{\"openai\":{\"model\":5}}", "providers.openai.model: a text was expected"},
        {"{\"openai\":{\"temperature\":\"hot\"}}", "a number from 0 up"},
        {"{\"openai\":{\"temperature\":-1}}", "a number from 0 up"},
        {"{\"openai\":{\"seed\":1.5}}", "an integer"},
        {"{\"openai\":{\"send_reasoning\":1}}", "true or false"},
        {"{\"openai\":{\"extra\":[1]}}", "a table of names"},
        {"{\"openai\":{\"price\":{\"input\":1}}}", "USD per million"},
        {"{\"openai\":{\"price\":{\"input\":1,\"output\":-1}}}", "USD per million"},
        {"{\"openai\":{\"price\":[1,2]}}", "USD per million"},
        {"{\"openai\":{\"base_url\":\"nowhere\"}}", "providers.openai.base_url is no base URL"},
        {"{\"opnai\":{\"model\":\"x\"}}", "a new provider needs a base_url; did you mean \"openai\"?"},
        {"{\"a b\":{}}", "a name is made of"},
        {"{\"offline\":{\"base_url\":\"http://x\"}}", "a name is made of"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        moon_error error = {0};
        if (configure(*state, rows[i].settings, true, &error) != MOON_EINVAL || !strstr(error.text, rows[i].text))
            fail_msg("%s: %s", rows[i].settings, error.text);
    }
    moon_error error;
    assert_int_equal(configure(*state, "{\"openai\":{\"key_env\":\"sk-pasted-key\"}}", true, &error), MOON_EINVAL);
    assert_non_null(strstr(error.text, "not the key"));
    assert_null(strstr(error.text, "sk-pasted"));
    assert_int_equal(configure(*state, "{\"vllm\":{\"wire\":\"gopher\"}}", true, &error), MOON_OK);
    expect_error(*state, "vllm/x", MOON_EINVAL, "no wire format \"gopher\"");
}

static void test_models__wire_formats_are_added(void **state) {
    moon_provider wire = moon__openai_chat;
    moon_error error;
    assert_int_equal(moon__models_add_provider(*state, &wire, &error), MOON_EEXIST);
    wire.name = "mine";
    assert_int_equal(moon__models_add_provider(*state, &wire, &error), MOON_OK);
    assert_int_equal(configure(*state, "{\"vllm\":{\"wire\":\"mine\"}}", true, &error), MOON_OK);
    expect(*state, "vllm/x", "vllm/x", NULL, NULL, NULL);
    moon_provider other = wire;
    other.name = "other";
    other.decode = NULL;
    assert_int_equal(moon__models_add_provider(*state, &other, &error), MOON_EINVAL);
    other.abi = 99;
    assert_int_equal(moon__models_add_provider(*state, &other, &error), MOON_EINVAL);
    assert_int_equal(moon__models_add_provider(*state, NULL, &error), MOON_EINVAL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_models__order_of_defaults, setup, teardown),
        cmocka_unit_test_setup_teardown(test_models__who_tells_no_cost, setup, teardown),
        cmocka_unit_test_setup_teardown(test_models__scripted, setup, teardown),
        cmocka_unit_test_setup_teardown(test_models__specs, setup, teardown),
        cmocka_unit_test_setup_teardown(test_models__errors_say_what_to_do, setup, teardown),
        cmocka_unit_test_setup_teardown(test_models__base_urls, setup, teardown),
        cmocka_unit_test_setup_teardown(test_models__configured, setup, teardown),
        cmocka_unit_test_setup_teardown(test_models__untrusted_settings_redirect_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_models__bad_settings, setup, teardown),
        cmocka_unit_test_setup_teardown(test_models__wire_formats_are_added, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
