/* SPDX-License-Identifier: MIT */
#ifndef MOON_CLI_POLICY_H
#define MOON_CLI_POLICY_H
/*
 * Rules given on the command line, --policy TOOL=allow|ask|deny. TOOL is a tool, a group ("file") or "*"; the most
 * exact name counts, and of two rules for one name the later. A rule decides what agents and configuration leave open
 * or allow; what they deny stays denied.
 */
#include <moonlet/moonlet.h>

enum { MOON__RULES_MAX = 64 };

typedef struct moon__cli_rules {
    struct {
        const char *name; /* of the command line; n bytes */
        size_t n;
        moon_verdict verdict;
    } rules[MOON__RULES_MAX];
    size_t n;
} moon__cli_rules;

/* Adds "TOOL=WORD"; false with *why (NULL if it was added). */
bool moon__cli_rules_add(moon__cli_rules *rules, const char *text, const char **why);
/* What the rules make of the verdict of the agent and the configuration. */
moon_verdict moon__cli_rules_verdict(const moon__cli_rules *rules, const char *tool, moon_verdict verdict);
/* Warns of rules for names that no registered tool has: a misspelt "deny" should not go unnoticed. */
void moon__cli_rules_check(const moon__cli_rules *rules, moon_runtime *runtime);
#endif
