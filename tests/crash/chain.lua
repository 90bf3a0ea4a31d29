-- SPDX-License-Identifier: MIT
-- Twelve effects in a chain: tools and agents as steps, in lists, branches, races, second attempts and loops, with a state that
-- branches share.
local moon = require "moonlet"
local chain = moon.chain

-- An agent that makes one call for each effect, in messages of their own.
local function agent(name, ...)
  local effects = { ... }
  return moon.agent { name = name, tools = { "effect" }, model = moon.model.script(function(request)
    local asked = 0
    for _, m in ipairs(request.messages) do if m.role == "assistant" then asked = asked + 1 end end
    local effect = effects[asked + 1]
    if not effect then return name .. " ended" end
    return { tool_calls = { { name = "effect", arguments = { name = effect } } } }
  end) }
end

local effect = chain.fallback { moon.tool "effect", function() return "nobody knows" end }
local broken = moon.agent { name = "broken", tools = {}, retries = 0, model = moon.model.script(function() return nil, "broken" end) }
local function note(text) return function(v, ctx) ctx.state.notes = text; return v end end

return chain.seq {
  state = { notes = "append" },
  agent("first", "e1", "e2", "e3", "e4"),
  note "first",
  function() return { "e5", "e6" } end,
  chain.each(chain.seq { function(name) return { name = name } end, effect, note "each" }, { limit = 2 }),
  chain.all {
    left = chain.seq { agent("left", "e7"), note "left" },
    right = chain.timeout(chain.seq { agent("right", "e8"), note "right" }, { seconds = 600 }),
  },
  chain.race { chain.seq { function() moon.sleep(3600) end, note "never" }, chain.seq { agent("winner", "e9"), note "won" } },
  chain.fallback { chain.seq { broken, note "never" }, chain.retry(agent("other", "e10")) },
  function() return 10 end,
  chain.loop {
    function(n) return n + 1 end,
    chain.tap(chain.seq { function(n) return { name = "e" .. n } end, effect }),
    stop = function(n) return n == 12 end,
  },
  function(n, ctx) return n .. ": " .. table.concat(ctx.state.notes, ", ") end,
}
