-- SPDX-License-Identifier: MIT
-- The shipped chain security: who says what to whom.
local t = require "moonlet.test"

local history = { { message = "begin", files = { ["a.c"] = "system(argv[1]);\n" }, tag = "v1" }, { message = "more", files = { ["a.c"] = "system(getenv(\"X\"));\n" } } }

local function told(request) return request.messages[#request.messages].content end

t.test("two rounds, then the judge", function()
  t.git(history)
  local run = t.run("../security.lua", { input = "a.c", models = {
    attacker = t.model {
      function(request) t.equal(told(request), "Review this part of the repository: a.c") return "`a.c:1` runs what it is given" end,
      function(request) t.contains(told(request), "[defender] only root can call it") return "it still holds" end,
    },
    defender = t.model { "only root can call it", function(request) t.contains(told(request), "[attacker] `a.c:1` runs what it is given") return "it holds" end },
    judge = t.model { function(request)
      t.contains(told(request), "[attacker] it still holds\n\n[defender] it holds")
      return "## Holds\n`a.c:1`"
    end },
  } })
  t.done(run)
  t.equal(run.text, "## Holds\n`a.c:1`")
end)

t.test("a change, the whole, and no difference", function()
  t.git(history)
  local function first(input)
    local seen
    local run = t.run("../security.lua", { input = input, models = { attacker = t.model(function(r) seen = seen or told(r) return "same" end),
      defender = t.model { "same" }, judge = t.model { "done" } } })
    t.done(run)
    return seen
  end
  t.contains(first "v1..", "Review what this change brings in:\n\n")
  t.contains(first "v1..HEAD", "+system(getenv(\"X\"));")
  t.equal(first "", "Review this repository, beginning where it takes input from outside.")
  t.contains(t.run("../security.lua", { input = "HEAD..HEAD" }).error, "there is no difference to review")
end)

t.test("nobody can change anything", function()
  t.git(history)
  local run = t.run("../security.lua", { model = t.model(function() return "same" end) })
  for _, request in ipairs(run.requests) do
    for _, name in ipairs(request.tools) do t.ok(not name:match "write" and not name:match "edit" and name ~= "shell" and name ~= "git.commit", name) end
  end
end)
