-- SPDX-License-Identifier: MIT
-- The shipped chain fix-tests: tries, what is learned between them, and leave.
local t = require "moonlet.test"

local CHECK = "grep -q right a.txt || { echo a.txt is wrong; exit 1; }"
local function write(text) return t.call("file.write", { path = "a.txt", content = text .. "\n" }) end

t.test("the second try knows what the first one taught", function()
  local run = t.run("../fix-tests.lua", {
    input = CHECK,
    files = { ["a.txt"] = "broken\n" },
    policy = { shell = "allow", file = "allow" },
    models = {
      fixer = t.model {
        function(request)
          t.contains(request.messages[#request.messages].content, "a.txt is wrong\n[exit 1]")
          return write "better"
        end,
        "I wrote better.",
        function(request)
          t.contains(request.messages[#request.messages].content, "What you learned:\n- It has to say right.")
          return write "right"
        end,
        "The file lacked the word.",
      },
      ["fixer.reflect"] = t.model { function(request)
        t.contains(request.messages[#request.messages].content, "It was not right: a.txt is wrong\n[exit 1]")
        t.equal(#request.tools, 0)
        return "It has to say right."
      end },
    },
  })
  t.done(run)
  t.equal(run.text, "The file lacked the word.\n\nIt passes after 2 trials.")
  t.equal(t.read "a.txt", "right\n")
  t.called(run, "shell", { n = 3 })
end)

t.test("nothing to mend", function()
  local run = t.run("../fix-tests.lua", { input = "true", policy = { shell = "allow" } })
  t.equal(t.done(run).text, "`true` passes: there is nothing to mend.")
end)

t.test("three tries at most, and the last output in the error", function()
  local run = t.run("../fix-tests.lua", { input = "echo no; false", policy = { shell = "allow" }, model = t.model { "a", "r", "b", "r", "c" } })
  t.equal(run.stop, "failed")
  t.contains(run.error, "not right after 3 trials: no\n[exit 1]")
end)

t.test("commands are asked for", function()
  local run = t.run("../fix-tests.lua", { input = "make test" })
  t.equal(run.stop, "needs_approval")
  t.contains(t.run("../fix-tests.lua", { input = "" }).error, "say which command has to pass")
end)
