-- SPDX-License-Identifier: MIT
-- A short run with hooks of every kind, and a conversation that is handed over. It ends with the text of oom.lua.
local moon = require "moonlet"
local function answers(name, calls)
  return moon.model.script(function(request)
    local messages = request.messages
    local call = calls[request.step]
    return call and { tool_calls = { call } } or name .. ": " .. messages[#messages].content
  end)
end
local judge = moon.agent { name = "judge", tools = {}, model = moon.model.script(function() return "fine" end) }
local hooks = {
  before_model = function(r) if r.step == 2 then return { instructions = "other", messages = { { role = "user", content = judge:run "x" } }, tools = { "effect" } } end end,
  after_model = function(a) if #a.text > 0 then return a.text .. "!" end end,
  before_tool = function(c) if c.tool == "effect" then moon.sleep(0) return { arguments = c.arguments } end end,
  after_tool = function(c, r) return r.text .. "." end,
  on_event = function(e) local _ = e.type end,
}
local writer
local first = moon.agent { name = "first", tools = { "effect" }, hooks = hooks, handoffs = { { agent = function() return writer end, filter = function(m) return m end } },
  model = answers("first", { { name = "effect", arguments = { name = "e1" } }, { name = "effect", arguments = { name = "e2" } }, { name = "transfer_to_writer", arguments = { message = "m" } } }) }
writer = moon.agent { name = "writer", tools = {}, handoffs = { { agent = first, filter = "texts" } }, model = answers("writer", {}) }
return function(input)
  local text, err, who = first:run(input)
  if not text then return nil, err end
  return text == "writer: The conversation goes on with writer.." and who == "writer" and "outer: inner: made" or text
end
