-- An agent that uses the plugin's tool, with a scripted model.
local moon = require "moonlet"

return moon.agent {
  name = "demo",
  tools = { "demo" },
  model = moon.model.script(function(request)
    local last = request.messages[#request.messages]
    if last.role == "tool" then return last.content end
    return { tool_calls = { { name = "demo.shout", arguments = { text = last.content } } } }
  end),
}
