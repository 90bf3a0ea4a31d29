-- SPDX-License-Identifier: MIT
-- The sample of a team: agents, a tool, and a chain of nearly everything. Nothing in it is for the test.
local moon = require "moonlet"

local wc = moon.tool {
  name = "word_count", description = "Counts the words of a text.",
  params = { text = "string" },                       -- short form of a JSON Schema; the long form works too
  effects = { read_only = true },
  call = function(args) local n = 0; for _ in args.text:gmatch("%S+") do n = n + 1 end; return { words = n } end,
}

local scout = moon.agent {
  name = "scout", model = "openai/gpt-5-mini",        -- default: MOONLET_MODEL, else the key that is set, else offline
  instructions = "Find where a change is needed.",
  tools = { "search", "file.read", "git.log", wc },
  output = { files = { "string" }, why = "string" },  -- structured: checked, repaired by asking again
  limits = { steps = 20, seconds = 300, tokens = 200000, usd = 0.50 },
}
local fixer    = moon.agent { name = "fixer", plan = true, tools = { "file", "shell", "git" }, instructions = "Make the change in the file you are given." }
local reviewer = moon.agent { name = "reviewer", tools = { "git.diff", "file.read" }, instructions = "Review the change.",
                              output = { verdict = { enum = { "ok", "redo" } }, why = "string" } }
local writer   = moon.agent { name = "writer", instructions = "Write a commit message." }

local chain = moon.chain
return chain.seq {
  scout,
  chain.each(fixer, { over = "files", limit = 4 }),                        -- map, four at a time
  chain.all { review = reviewer, message = chain.retry(writer, { times = 3 }) },   -- parallel, by name
  chain.route { by = function(r) return r.review.verdict end,
                redo = chain.loop { fixer, reviewer, stop = function(r) return r.verdict == "ok" end, max = 5 },
                default = chain.fallback { chain.vote(writer, { n = 5 }), writer } },
  function(message, ctx) ctx.state.message = message; return { summary = message } end,
}
