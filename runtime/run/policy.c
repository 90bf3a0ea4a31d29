/* SPDX-License-Identifier: MIT */
/*
 * Policy: may this call run? One function decides, for every call of every run.
 *
 * Rules name a tool ("file.write"), a group ("file") or all ("*"); the most exact name counts. The agent's own rules
 * and those of the configuration are both asked, and the stricter answer holds; a tool that neither names is allowed if
 * it only reads, and asked for otherwise. --yes answers what would be asked; a "deny" stands whatever else was said.
 * The host's function sees the verdict and has the last word.
 */
#include <stdio.h>
#include <string.h>

#include "runtime.h"
#include "testing.h"

static bool read_verdict(const moon_json *rule, moon_verdict *verdict) {
    static const char *const words[] = {"allow", "ask", "deny"};
    const char *word = moon_json_str(rule, NULL);
    for (int i = 0; word && i < 3; i++)
        if (!strcmp(word, words[i])) {
            *verdict = (moon_verdict)i;
            return true;
        }
    return false;
}

moon_status moon__policy_check(const moon_json *policy, moon_error *error) {
    moon_verdict verdict;
    if (moon_json_type(policy) != MOON_JSON_OBJECT)
        return moon_error_set(error, MOON_EINVAL,
                              "policy must be a table such as { [\"file.write\"] = \"allow\", shell = \"deny\" }");
    for (const moon_json *m = moon_json_first(policy); m; m = moon_json_next(m))
        if (!read_verdict(m, &verdict))
            return moon_error_set(error, MOON_EINVAL, "policy of \"%s\" must be \"allow\", \"ask\" or \"deny\"",
                                  moon_json_name(m));
    return MOON_OK;
}

bool moon__policy_rule(const moon_json *policy, const char *tool, moon_verdict *verdict) {
    if (read_verdict(moon_json_get(policy, tool), verdict)) return true;
    char group[64];
    const char *dot = strchr(tool, '.');
    snprintf(group, sizeof group, "%.*s", dot ? (int)(dot - tool) : 0, tool);
    return (dot && read_verdict(moon_json_get(policy, group), verdict)) ||
           read_verdict(moon_json_get(policy, "*"), verdict);
}

const moon_json *moon__policy_stricter(const moon_json *a, const moon_json *b, const char *tool) {
    moon_verdict of_a, of_b;
    if (!moon__policy_rule(a, tool, &of_a)) return b;
    return moon__policy_rule(b, tool, &of_b) && of_b > of_a ? b : a;
}

moon_verdict moon__policy(const moon_run *run, const moon_json *agent_policy, const moon_tool *tool,
                          const moon_json *args) {
    moon_verdict verdict = tool->effects & MOON_READ_ONLY ? MOON_ALLOW : MOON_ASK, agent, config;
    bool by_agent = moon__policy_rule(agent_policy, tool->name, &agent);
    bool by_config = moon__policy_rule(run->runtime->policy, tool->name, &config);
    if (by_agent && by_config)
        verdict = agent > config ? agent : config;
    else if (by_agent)
        verdict = agent;
    else if (by_config)
        verdict = config;
    verdict = moon__standin_policy(run, tool, verdict);
    if (verdict == MOON_ASK && run->tree->allow_all) verdict = MOON_ALLOW;
    const moon_runtime_options *options = &run->runtime->options;
    return options->policy ? options->policy(options->policy_ctx, run, tool, args, verdict) : verdict;
}
