-- SPDX-License-Identifier: MIT
-- Twelve effects: one after the other, several in a message, in nested runs, and in branches that run side by side.
-- What it ends with does not depend on how the calls went.
local moon = require "moonlet"

-- An agent that makes the calls of each list in a message of its own.
local function agent(name, messages)
  return moon.agent { name = name, tools = { "effect" }, model = moon.model.script(function(request)
    local asked = 0
    for _, m in ipairs(request.messages) do if m.role == "assistant" then asked = asked + 1 end end
    local calls = {}
    for i, effect in ipairs(messages[asked + 1] or {}) do calls[i] = { name = "effect", arguments = { name = effect } } end
    if #calls == 0 then return name .. " ended" end
    return { tool_calls = calls }
  end) }
end

local function as_tool(name, runnable, effects)
  return moon.tool { name = name, description = "runs an agent", params = {}, effects = effects,
    call = function() return runnable:run(name) end }
end

local first = agent("first", { { "e1" }, { "e2", "e3" }, { "e4" } })
local left, right = agent("left", { { "e5" }, { "e6" } }), agent("right", { { "e7", "e8" } })
local deep = agent("deep", { { "e9" } })
local nested = moon.agent { name = "nested", tools = { as_tool("dig", deep) }, model = moon.model.script(function(request)
  if request.messages[#request.messages].role == "tool" then return "nested: " .. request.messages[#request.messages].content end
  return { tool_calls = { { name = "dig", arguments = {} } } }
end) }
local reads = { read_only = true }
local both = moon.agent {
  name = "both", tools = { as_tool("go_left", left, reads), as_tool("go_right", right, reads), as_tool("go_down", nested, reads) },
  model = moon.model.script(function(request)
    local out = {}
    for _, m in ipairs(request.messages) do if m.role == "tool" then out[#out + 1] = m.content end end
    if #out > 0 then return table.concat(out, ", ") end
    local calls = {}
    for i, name in ipairs { "go_left", "go_right", "go_down" } do calls[i] = { name = name, arguments = {} } end
    return { tool_calls = calls }
  end) }
local last = agent("last", { { "e10" }, { "e11", "e12" } })

return function(input)
  local out = {}
  for i, step in ipairs { first, both, last } do out[i] = assert(step:run(input)) end
  moon.log.info("all ended")
  return table.concat(out, "; ")
end
