-- The benchmark's agent for a git tool: 100 calls of one tool in one run, by a scripted model. The task is the tool's name.
-- Arguments differ from call to call, as equal calls in a row end a run.
local moon = require "moonlet"

local function script(request)
  if #request.messages > 100 then return "done" end
  local calls = {}
  for i = 1, 50 do calls[i] = { name = request.messages[1].content, arguments = { limit = 20 + i % 2 } } end
  return { tool_calls = calls }
end

return moon.agent { name = "bench-git", model = moon.model.script(script), tools = { "git.log", "git.status" }, parallel = 1 }
