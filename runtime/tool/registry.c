/* SPDX-License-Identifier: MIT */
/* The registry: a sorted array of tool records with their compiled schemas, and the plugins that some came from. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"
#include "tools.h"

enum { NAME_MAX_BYTES = 60, ARGS_MAX = 1 << 20 };

struct moon__tools {
    moon__tool_entry **entries;
    size_t count, room;
    void **plugins;
    size_t plugin_count;
};

moon_status moon__tools_new(moon__tools **out, moon_error *error) {
    *out = calloc(1, sizeof **out);
    return *out ? MOON_OK : moon_error_set(error, MOON_ENOMEM, "no memory for the tool registry");
}

void moon__tools_free(moon__tools *tools) {
    if (!tools) return;
    for (size_t i = 0; i < tools->count; i++) {
        moon__tool_entry_fini(tools->entries[i]);
        free(tools->entries[i]);
    }
    free(tools->entries);
    for (size_t i = 0; i < tools->plugin_count; i++) dlclose(tools->plugins[i]);
    free(tools->plugins);
    free(tools);
}

static bool sound_name(const char *name) {
    size_t n = name ? strlen(name) : 0;
    if (n == 0 || n > NAME_MAX_BYTES || name[0] == '.' || name[n - 1] == '.') return false;
    return strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") == n;
}

moon_status moon__tool_entry_init(moon__tool_entry *entry, const moon_tool *tool, moon_error *error) {
    if (tool->abi != MOON_TOOL_ABI)
        return moon_error_set(error, MOON_EINVAL, "tool %s was built for tool interface %u, this is %u",
                              tool->name ? tool->name : "?", tool->abi, MOON_TOOL_ABI);
    if (!sound_name(tool->name))
        return moon_error_set(error, MOON_EINVAL,
                              "\"%s\" is no tool name: use letters, digits, _ - and dots, at most %d bytes",
                              tool->name ? tool->name : "", NAME_MAX_BYTES);
    if (!tool->description || !tool->params || !tool->start)
        return moon_error_set(error, MOON_EINVAL, "tool %s lacks a description, params or start", tool->name);
    entry->tool = tool;
    moon_error why = {0};
    moon_status status = moon__schema_new(&entry->schema, tool->params, strlen(tool->params), &why);
    if (status) return moon_error_set(error, status, "params of tool %s: %.300s", tool->name, why.text);
    return MOON_OK;
}

void moon__tool_entry_fini(moon__tool_entry *entry) {
    moon__schema_free(entry->schema);
    entry->schema = NULL;
}

/* The place of name, or where it would stand. */
static size_t place(const moon__tools *tools, const char *name, bool *found) {
    size_t low = 0, high = tools->count;
    *found = false;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(tools->entries[middle]->tool->name, name);
        if (order == 0) {
            *found = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

moon_status moon__tools_add(moon__tools *tools, const moon_tool *tool, moon_error *error) {
    bool found = false;
    size_t at = tool->name ? place(tools, tool->name, &found) : 0;
    if (found) return moon_error_set(error, MOON_EEXIST, "there is a tool named %s already", tool->name);
    if (tools->count == tools->room) {
        size_t room = tools->room ? tools->room * 2 : 32;
        moon__tool_entry **grown = realloc(tools->entries, room * sizeof *grown);
        if (!grown) return moon_error_set(error, MOON_ENOMEM, "no memory for tool %s", tool->name);
        tools->entries = grown;
        tools->room = room;
    }
    moon__tool_entry *entry = calloc(1, sizeof *entry);
    if (!entry) return moon_error_set(error, MOON_ENOMEM, "no memory for tool %s", tool->name);
    moon_status status = moon__tool_entry_init(entry, tool, error);
    if (status) {
        free(entry);
        return status;
    }
    memmove(tools->entries + at + 1, tools->entries + at, (tools->count - at) * sizeof(moon__tool_entry *));
    tools->entries[at] = entry;
    tools->count++;
    return MOON_OK;
}

const moon__tool_entry *moon__tools_find(const moon__tools *tools, const char *name) {
    bool found;
    size_t at = place(tools, name, &found);
    return found ? tools->entries[at] : NULL;
}

const moon__tool_entry *moon__tools_at(const moon__tools *tools, size_t index) {
    return index < tools->count ? tools->entries[index] : NULL;
}

const char *moon__tools_nearest(const moon__tools *tools, const char *name) {
    const char **names = calloc(tools->count + 1, sizeof *names);
    if (!names) return NULL;
    for (size_t i = 0; i < tools->count; i++) names[i] = tools->entries[i]->tool->name;
    const char *nearest = moon__nearest(name, names);
    free(names);
    return nearest;
}

moon_status moon__tool_check(const moon__tool_entry *entry, const char *args, size_t n, moon_json **out,
                             moon__buf *why) {
    const char *name = entry->tool->name;
    *out = NULL;
    if (n > ARGS_MAX) {
        moon__buf_printf(why, "the arguments of %s are %zu bytes long; at most %d are taken", name, n, ARGS_MAX);
        return MOON_EPARSE;
    }
    if (n == 0) args = "{}", n = 2;
    moon_error error = {0};
    moon_status status = moon__json_parse(out, args, n, 0, &error);
    if (status == MOON_ENOMEM) return status;
    if (status) {
        moon__buf_printf(why,
                         "the arguments of %s are not valid JSON: %s. Expected an object that fits this schema: %s",
                         name, error.text, moon__schema_text(entry->schema));
        return MOON_EPARSE;
    }
    moon__buf violations;
    moon__buf_init(&violations, 4096);
    status = moon__schema_check(entry->schema, *out, &violations);
    if (status == MOON_ESCHEMA || status == MOON_ELIMIT) {
        moon__buf_printf(why, "the arguments of %s do not fit its schema:\n%s\nThe schema: %s", name,
                         violations.p ? violations.p : "", moon__schema_text(entry->schema));
        status = MOON_ESCHEMA;
    }
    moon__buf_fini(&violations);
    if (status) {
        moon__json_free(*out);
        *out = NULL;
    }
    return status;
}

moon_status moon__tools_add_plugin(moon__tools *tools, const char *path, moon_error *error) {
    void **grown = realloc(tools->plugins, (tools->plugin_count + 1) * sizeof *grown);
    if (!grown) return moon_error_set(error, MOON_ENOMEM, "no memory for plugin %s", path);
    tools->plugins = grown;
    /* A name without a slash would be searched in the system's library folders: a plugin is always a file that was
     * named. */
    char *file = moon__strdup(path);
    if (file && !strchr(file, '/')) {
        free(file);
        if (asprintf(&file, "./%s", path) < 0) file = NULL;
    }
    if (!file) return moon_error_set(error, MOON_ENOMEM, "no memory for plugin %s", path);
    void *handle = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    free(file);
    if (!handle) return moon_error_set(error, MOON_ENOTFOUND, "cannot load plugin: %s", dlerror());
    const moon_plugin *plugin = dlsym(handle, "moon_plugin_v1");
    moon_status status = MOON_OK;
    if (!plugin)
        status = moon_error_set(error, MOON_EINVAL, "%s is no plugin: it does not export moon_plugin_v1", path);
    else if (plugin->abi != MOON_TOOL_ABI)
        status = moon_error_set(error, MOON_EINVAL, "plugin %s was built for tool interface %u, this is %u", path,
                                plugin->abi, MOON_TOOL_ABI);
    size_t before = tools->count;
    for (size_t i = 0; !status && plugin && plugin->tools[i]; i++)
        status = moon__tools_add(tools, plugin->tools[i], error);
    if (status && tools->count == before) {
        dlclose(handle);
        return status;
    }
    tools->plugins[tools->plugin_count++] = handle; /* kept as long as any of its tools is registered */
    return status;
}
