-- The agent of embed.c: one call of the host's tool, then an answer that quotes it.
local moon = require "moonlet"

return moon.agent {
  name = "embed",
  tools = { "host.double" },
  model = moon.model.script(function(request)
    local last = request.messages[#request.messages]
    if last.role == "tool" then return "the host says " .. last.content end
    return { tool_calls = { { name = "host.double", arguments = { n = tonumber(last.content) } } } }
  end),
}
