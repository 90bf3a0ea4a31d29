/* SPDX-License-Identifier: MIT */
/* `moonlet new agent`: one Lua file. */
#include "scaffold.h"

#include <stddef.h>

/* Files, line by line. */
/* clang-format off */
static const char *const agent[] = {
    "-- %N: answers questions about the files and the history of a directory.",
    "--",
    "--     moonlet run ./%N.lua \"what changed lately, and why?\" --cwd ~/src/project",
    "--",
    "-- Without a model it runs on the offline one, which only shows the way of a run. For a real answer set OPENAI_API_KEY,",
    "-- or MOONLET_MODEL=provider/model, or give --model. `moonlet doc moon.agent` says what else an agent can be given.",
    "local moon = require \"moonlet\"",
    "",
    "-- A tool of your own. The model reads name, description and params; call gets the arguments after they were checked",
    "-- against params. What it returns is the result; nil and a text is an error that the model reads.",
    "local function day_number(date)",
    "  local y, m, d = date:match(\"^(%d%d%d%d)-(%d%d)-(%d%d)$\")",
    "  if not y then return nil end",
    "  y, m, d = tonumber(y), tonumber(m), tonumber(d)",
    "  if m < 1 or m > 12 or d < 1 or d > 31 then return nil end",
    "  if m <= 2 then y, m = y - 1, m + 12 end -- years begin in March here, so that a leap day is the last",
    "  return 365 * y + y // 4 - y // 100 + y // 400 + (153 * (m - 3) + 2) // 5 + d",
    "end",
    "",
    "local days_between = moon.tool {",
    "  name = \"days_between\",",
    "  description = \"Counts the days from one date to another, both written YYYY-MM-DD. Use it instead of counting yourself.\",",
    "  params = { from = \"string\", to = \"string\" },",
    "  effects = { read_only = true, idempotent = true },",
    "  call = function(args)",
    "    local from, to = day_number(args.from), day_number(args.to)",
    "    if not (from and to) then return nil, \"a date is written YYYY-MM-DD, such as 2024-02-29\" end",
    "    return { days = to - from }",
    "  end,",
    "}",
    "",
    "return moon.agent {",
    "  name = \"%N\",",
    "  instructions = [[",
    "You answer questions about the directory you work in. Look before you answer: list and search files, read what matters,",
    "and look at the git history where there is one. Cite file:line or commit ids for what you say. Say so when you do not know.]],",
    "  -- Tools that only read need no leave. To let it change files, add \"file\" here and run it with --policy file=allow,",
    "  -- or be asked each time.",
    "  tools = { \"file.list\", \"file.read\", \"search\", \"git.status\", \"git.log\", \"git.show\", days_between },",
    "  limits = { steps = 20, seconds = 300 },",
    "}",
    NULL,
};

/* clang-format on */
const moon__cli_template moon__cli_new_agent[] = {
    {"%N.lua", agent, 0644},
    {NULL, NULL, 0},
};
