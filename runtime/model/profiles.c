/* SPDX-License-Identifier: MIT */
/* The providers that are known by name, and the forms in which base URLs are written. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "failure.h"
#include "models.h"
#include "text.h"

/* The variables are those that the providers' own tools read. A default model stands only where the provider has a name
 * for one that it keeps. */
const moon__profile moon__profiles[] = {
    {.name = "openai",
     .wire = "openai-chat-official",
     .base_url = "https://api.openai.com/v1",
     .base_env = "OPENAI_BASE_URL",
     .key_env = "OPENAI_API_KEY",
     .model = "gpt-5-mini"},
    {.name = "openrouter",
     .wire = "openai-chat",
     .base_url = "https://openrouter.ai/api/v1",
     .key_env = "OPENROUTER_API_KEY",
     .model = "openai/gpt-5-mini",
     .tells_cost = true},
    {.name = "mistral",
     .wire = "mistral-chat",
     .base_url = "https://api.mistral.ai/v1",
     .key_env = "MISTRAL_API_KEY",
     .model = "mistral-large-latest"},
    {.name = "deepseek",
     .wire = "openai-chat",
     .base_url = "https://api.deepseek.com/v1",
     .key_env = "DEEPSEEK_API_KEY",
     .model = "deepseek-chat",
     .send_reasoning = true}, /* its thinking models refuse a history without it */
    {.name = "groq", .wire = "openai-chat", .base_url = "https://api.groq.com/openai/v1", .key_env = "GROQ_API_KEY"},
    {.name = "xai", .wire = "openai-chat", .base_url = "https://api.x.ai/v1", .key_env = "XAI_API_KEY"},
    {.name = "together",
     .wire = "openai-chat",
     .base_url = "https://api.together.xyz/v1",
     .key_env = "TOGETHER_API_KEY"},
    {.name = "fireworks",
     .wire = "openai-chat",
     .base_url = "https://api.fireworks.ai/inference/v1",
     .key_env = "FIREWORKS_API_KEY"},
    {.name = "cerebras",
     .wire = "openai-chat",
     .base_url = "https://api.cerebras.ai/v1",
     .key_env = "CEREBRAS_API_KEY"},
    {.name = "ollama",
     .wire = "openai-chat",
     .base_url = "http://localhost:11434/v1",
     .base_env = "OLLAMA_HOST",
     .key_env = "OLLAMA_API_KEY",
     .base_is_host = true,
     .key_optional = true},
    {.name = "llamacpp",
     .wire = "openai-chat",
     .base_url = "http://127.0.0.1:8080/v1",
     .key_env = "LLAMA_API_KEY",
     .key_optional = true},
    {.name = "vllm",
     .wire = "openai-chat",
     .base_url = "http://localhost:8000/v1",
     .key_env = "VLLM_API_KEY",
     .key_optional = true},
    {.name = "lmstudio", .wire = "openai-chat", .base_url = "http://localhost:1234/v1", .key_optional = true},
    {.name = "custom",
     .wire = "openai-chat",
     .base_env = "MOONLET_BASE_URL",
     .key_env = "MOONLET_API_KEY",
     .key_optional = true},
    {.name = NULL},
};

/* The part after the scheme; NULL if it is neither http:// nor https://. */
static const char *after_scheme(const char *url) {
    if (strncasecmp(url, "http://", 7) == 0) return url + 7;
    if (strncasecmp(url, "https://", 8) == 0) return url + 8;
    return NULL;
}

static bool has_blank(const char *text) {
    for (; *text; text++)
        if ((unsigned char)*text <= ' ' || *text == 0x7f) return true;
    return false;
}

moon_status moon__base_url(char **out, const char *text, const char *named, moon_error *error) {
    const char *host = after_scheme(text);
    if (!host || !*host || strchr("/?#:", *host) || has_blank(text)) {
        char shown[120];
        moon__plain(shown, sizeof shown, text, strlen(text));
        return moon_error_set(error, MOON_EINVAL, "%s is no base URL: \"%s\" (like http://localhost:8000/v1)", named,
                              shown);
    }
    size_t n = strlen(text);
    while (n > 0 && text[n - 1] == '/') n--;
    *out = moon__strndup(text, n);
    return *out ? MOON_OK : moon_error_set(error, MOON_ENOMEM, "out of memory");
}

/* Ollama's own reading of the variable: https:// stands for port 443, http:// with nothing after it for 80, a bare host
 * for 11434; a server told to listen everywhere is asked on this machine. */
moon_status moon__base_host(char **out, const char *text, const char *named, moon_error *error) {
    const char *host = after_scheme(text);
    bool bare = host == NULL;
    if (bare) host = text;
    size_t length = strcspn(host, "/");
    const char *path = host + length;
    const char *bracket = memchr(host, ']', length);
    const char *port = memchr(bracket ? bracket : host, ':', bracket ? length - (size_t)(bracket - host) : length);
    size_t name = port ? (size_t)(port - host) : length;
    const char *add_port = bare && !port ? ":11434" : "";
    const char *instead = name == 0 || (name == 7 && memcmp(host, "0.0.0.0", 7) == 0) ? "127.0.0.1" : NULL;
    size_t path_length = strlen(path);
    while (path_length > 0 && path[path_length - 1] == '/') path_length--;

    moon__buf url;
    moon__buf_init(&url, 4096);
    moon__buf_add(&url, text, (size_t)(host - text));
    if (bare) moon__buf_str(&url, "http://");
    if (instead)
        moon__buf_str(&url, instead);
    else
        moon__buf_add(&url, host, name);
    if (port) moon__buf_add(&url, port, length - name);
    moon__buf_str(&url, add_port);
    moon__buf_add(&url, path, path_length);
    moon__buf_str(&url, "/v1");
    moon_status status = url.status;
    if (status)
        moon_error_set(error, status, "%s: %s", named, moon_status_text(status));
    else
        status = moon__base_url(out, url.p, named, error);
    moon__buf_fini(&url);
    return status;
}
