-- SPDX-License-Identifier: MIT
-- A short run with one of each: a plan, a value from outside, an effect, a tool of the script that runs an agent with
-- an effect of its own.
local moon = require "moonlet"

-- The messages that a scripted model gives in order; the last one tells what the last tool said.
local function answers(name, calls)
  return moon.model.script(function(request)
    local messages, asked = request.messages, 0
    for _, m in ipairs(messages) do if m.role == "assistant" then asked = asked + 1 end end
    local call = calls[asked + 1]
    return call and { tool_calls = { call } } or name .. ": " .. messages[#messages].content
  end)
end

local inner = moon.agent { name = "inner", tools = { "effect" },
  model = answers("inner", { { name = "effect", arguments = { name = "e2" } } }) }
local dig = moon.tool { name = "dig", description = "runs an agent", params = { ["deep?"] = "boolean" },
  call = function() return inner:run("dig") end }
local outer = moon.agent { name = "outer", plan = true, tools = { "effect", dig }, model = answers("outer", {
  { name = "plan", arguments = { items = { { text = "dig", state = "doing" } } } },
  { name = "effect", arguments = { name = "e1" } },
  { name = "dig", arguments = { deep = true } },
}) }

return function(input)
  local began = moon.time()
  local text = assert(outer:run(input))
  moon.log.info("ended")
  return moon.time() >= began and text or "time went back"
end
