-- SPDX-License-Identifier: MIT
-- Three agents side by side, each in a worktree of its own, that write a file each and one that all of them change.
local moon = require "moonlet"

local function agent(n)
  return moon.agent {
    name = "a" .. n, workspace = "worktree", tools = { "file.write", "shell" },
    model = moon.model.script(function(request)
      local asked = 0
      for _, m in ipairs(request.messages) do if m.role == "assistant" then asked = asked + 1 end end
      if asked == 0 then return { tool_calls = { { name = "file.write", arguments = { path = "own" .. n, content = n .. "\n" } } } } end
      if asked == 1 then
        return { tool_calls = { { name = "file.write", arguments = { path = "lines/" .. n .. "/shared", content = "line " .. n .. "\n" } } } }
      end
      return n .. " ended"
    end) }
end

return function()
  local all = assert(moon.chain.all { agent(1), agent(2), agent(3) }:run("go"))
  return table.concat(all, ", ")
end
