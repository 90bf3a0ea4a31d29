-- SPDX-License-Identifier: MIT
-- The shipped chain ask: a model that knows no function calling finds something out.
local t = require "moonlet.test"

local files = { ["src/net.c"] = "int retries = 4;\n", ["README.md"] = "# X\n" }

t.test("thought, action, observation, answer", function()
  local run = t.run("../ask.lua", { input = "how often are requests retried?", files = files, model = t.model {
    function(request)
      t.equal(#request.tools, 0)
      local told = request.messages[#request.messages].content
      t.contains(told, "Question: how often are requests retried?\n(The repository has: ")
      t.contains(told, "src (1 files)")
      t.contains(told, "- search: ")
      t.contains(told, "    pattern (string): ")
      return "I look for retries.\nAction 1: search[retries]"
    end,
    function(request)
      t.contains(request.messages[#request.messages].content, "Observation 1: 1 match in 1 file\n\nsrc/net.c\n1: int retries = 4;")
      return 'To be sure.\nAction 2: file.read[{"path": "src/net.c"}]'
    end,
    "Four.\nAction 3: finish[4 times (`src/net.c:1`)]",
  } })
  t.done(run)
  t.equal(run.text, "4 times (`src/net.c:1`)")
  t.called(run, "search", { n = 1, arguments = { pattern = "retries" }, ok = true })
  t.called(run, "file.read", { n = 1, ok = true })
end)

t.test("it has no tool that changes anything, and says so to the model", function()
  local run = t.run("../ask.lua", { input = "x", files = files, model = t.model {
    "Action: shell[ls]",
    function(request)
      t.contains(request.messages[#request.messages].content, 'error: there is no tool "shell"')
      return "Action: finish[cannot]"
    end,
  } })
  t.equal(t.done(run).text, "cannot")
end)

t.test("a question is needed", function()
  t.contains(t.run("../ask.lua", { input = "" }).error, "ask something")
end)
