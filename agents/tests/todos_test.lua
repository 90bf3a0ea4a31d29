-- SPDX-License-Identifier: MIT
-- The shipped chain todos: judged, judged by rule, none.
local t = require "moonlet.test"

local history = {
  { message = "begin", files = { ["a.c"] = "int a; /* TODO: more */\n\n/* FIXME | twice */\n" }, author = "Ann <ann@example.org>" },
  { message = "more", files = { ["src/b.py"] = "# XXX slow\n" }, author = "Bob <bob@example.org>" },
}

t.test("marks are judged by file, most urgent first, with author and date", function()
  t.git(history)
  local run = t.run("../todos.lua", { model = t.model(function(request)
    local told = request.messages[#request.messages].content
    if told:find("src/b.py", 1, true) then return '{"marks":[{"line":1,"priority":"later","why":"it is fast enough"}]}' end
    t.contains(told, '"who":"Ann"')
    return '{"marks":[{"line":1,"priority":"drop","why":"done"},{"line":3,"priority":"now","why":"pays twice"}]}'
  end) })
  t.done(run)
  local rows = {}
  for row in run.text:gmatch "| (%a+ | `[^`]*`)" do rows[#rows + 1] = row end
  t.equal(rows, { "now | `a.c:3`", "later | `src/b.py:1`", "drop | `a.c:1`" })
  t.contains(run.text, "/* FIXME \\| twice */ | pays twice | ")
  t.contains(run.text, "| Bob |")
  t.snapshot(run.text)
end)

t.test("a folder alone", function()
  t.git(history)
  local run = t.run("../todos.lua", { input = "src", model = t.model { '{"marks":[]}' } })
  t.done(run)
  t.contains(run.text, "| later | `src/b.py:1` | # XXX slow |  |")
  t.ok(not run.text:find "a%.c")
end)

t.test("offline, a rule judges, and says so", function()
  t.git(history)
  local run = t.run("../todos.lua", { model = "offline" })
  t.done(run)
  t.contains(run.text, "| soon | `a.c:3` | /* FIXME \\| twice */ | marked as broken |")
  t.contains(run.text, "3 of them by a rule, no model has judged them: No model is configured")
end)

t.test("without a repository, without marks", function()
  local run = t.run("../todos.lua", { files = { ["x.txt"] = "TODO: here\n" }, model = t.model { '{"marks":[]}' } })
  t.contains(run.text, "`x.txt:1`")
  t.write("x.txt", "done\n")
  run = t.run("../todos.lua", {})
  t.equal(run.text, "There are no TODO or FIXME marks.")
end)
