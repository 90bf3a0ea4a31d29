/* SPDX-License-Identifier: MIT */
/* The command line's policy rules: see policy.h. */
#include "policy.h"

#include "args.h"
#include "run.h"
#include "term.h"

#include <stdio.h>
#include <string.h>

bool moon__cli_rules_add(moon__cli_rules *rules, const char *text, const char **why) {
    static const char *const words[] = {"allow", "ask", "deny"};
    size_t n;
    const char *word;
    *why = "it is TOOL=allow, TOOL=ask or TOOL=deny, such as file.write=allow";
    if (!moon__cli_pair(text, &n, &word)) return false;
    if (rules->n == MOON__RULES_MAX) {
        *why = "there are too many rules";
        return false;
    }
    for (int i = 0; i < 3; i++) {
        if (strcmp(word, words[i]) != 0) continue;
        rules->rules[rules->n].name = text;
        rules->rules[rules->n].n = n;
        rules->rules[rules->n++].verdict = (moon_verdict)i;
        *why = NULL;
        return true;
    }
    return false;
}

static bool find(const moon__cli_rules *rules, const char *name, size_t n, moon_verdict *verdict) {
    bool found = false;
    for (size_t i = 0; i < rules->n; i++) {
        if (rules->rules[i].n != n || memcmp(rules->rules[i].name, name, n) != 0) continue;
        *verdict = rules->rules[i].verdict;
        found = true;
    }
    return found;
}

moon_verdict moon__cli_rules_verdict(const moon__cli_rules *rules, const char *tool, moon_verdict verdict) {
    if (verdict == MOON_DENY || find(rules, tool, strlen(tool), &verdict)) return verdict;
    const char *dot = strchr(tool, '.');
    if (!dot || !find(rules, tool, (size_t)(dot - tool), &verdict)) (void)find(rules, "*", 1, &verdict);
    return verdict;
}

static bool names_a_tool(moon_runtime *runtime, const char *name, size_t n) {
    if (n == 1 && name[0] == '*') return true;
    const moon_tool *tool;
    for (size_t i = 0; (tool = moon_runtime_tool_at(runtime, i)); i++)
        if (strncmp(tool->name, name, n) == 0 && (tool->name[n] == 0 || tool->name[n] == '.')) return true;
    return false;
}

void moon__cli_rules_check(const moon__cli_rules *rules, moon_runtime *runtime) {
    for (size_t i = 0; i < rules->n; i++) {
        char name[64];
        if (names_a_tool(runtime, rules->rules[i].name, rules->rules[i].n)) continue;
        snprintf(name, sizeof name, "%.*s", (int)rules->rules[i].n, rules->rules[i].name);
        const char *near = moon__tools_nearest(moon__runtime_tools(runtime), name);
        moon__cli_error("warning: --policy %s: no built-in tool has that name%s%s%s (the rule holds for a script's own "
                        "tool of that "
                        "name)",
                        name, near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
    }
}
