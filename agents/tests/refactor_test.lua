-- SPDX-License-Identifier: MIT
-- The shipped chain refactor: plan, steps, what is left, the check.
local t = require "moonlet.test"

local files = { ["a.c"] = "int old_name(void);\n", ["README.md"] = "Call old_name.\n" }

t.test("plans, changes file by file, looks at what is left, and checks", function()
  t.git { { message = "begin", files = files } }
  local run = t.run("../refactor.lua", {
    input = "rename old_name to new_name",
    policy = { file = "allow" },
    models = {
      planner = t.model {
        t.call("search", { pattern = "old_name" }),
        "1. a.c: rename the function\n2. docs: say so",
        function(request)
          t.contains(request.messages[#request.messages].content, "Result: a.c changed; README.md names it too")
          return "1. README.md: rename"
        end,
      },
      worker = t.model {
        t.call("file.edit", { path = "a.c", old = "old_name", new = "new_name" }),
        "a.c changed; README.md names it too",
        function(request)
          t.contains(request.messages[#request.messages].content, "Carry out step 2 now, and no other: README.md: rename")
          return t.call("file.edit", { path = "README.md", old = "old_name", new = "new_name" })
        end,
        "README.md changed",
      },
      checker = t.model { t.call("search", { pattern = "old_name" }), function(request)
        t.contains(request.messages[#request.messages].content, "no matches in 2 files searched")
        return "Renamed in two files; nothing is left."
      end },
    },
  })
  t.done(run)
  t.equal(run.text, "Renamed in two files; nothing is left.")
  t.equal(t.read "a.c", "int new_name(void);\n")
  t.equal(t.read "README.md", "Call new_name.\n")
  t.called(run, "file.edit", { n = 2, ok = true })
end)

t.test("the planner cannot change anything", function()
  t.git { { message = "begin", files = files } }
  local run = t.run("../refactor.lua", { input = "x", models = { planner = t.model { "1. do it" }, worker = t.model { t.call("file.write", { path = "a.c", content = "" }) } } })
  for _, name in ipairs(run.requests[1].tools) do t.ok(not name:match "write" and not name:match "edit" and name ~= "shell", name) end
  t.equal(run.stop, "needs_approval")
  t.equal(t.read "a.c", files["a.c"])
end)

t.test("a task is needed", function()
  t.contains(t.run("../refactor.lua", { input = " " }).error, "say what is to be done")
end)
