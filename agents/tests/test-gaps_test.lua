-- SPDX-License-Identifier: MIT
-- The shipped chain test-gaps: the figures, and what is proposed.
local t = require "moonlet.test"

local function history()
  local list = { { message = "begin", files = { ["src/a.c"] = "0\n", ["src/b.c"] = "0\n", ["README.md"] = "0\n", ["tests/test_b.c"] = "0\n" } } }
  for i = 1, 4 do
    list[#list + 1] = { message = "a " .. i, files = { ["src/a.c"] = i .. "\n", ["README.md"] = i .. "\n" } }
    list[#list + 1] = { message = "b " .. i, files = { ["src/b.c"] = i .. "\n", ["tests/test_b.c"] = i .. "\n" } }
  end
  for i = 5, 6 do list[#list + 1] = { message = "both " .. i, files = { ["src/a.c"] = i .. "\n", ["src/b.c"] = i .. "\n" } } end
  return list
end

t.test("what changes without tests, and which tests first", function()
  t.git(history())
  local seen = {}
  local run = t.run("../test-gaps.lua", { model = t.model(function(request)
    seen[#seen + 1] = request.messages[#request.messages].content:match '"path":"([^"]*)"'
    return '{"risk":"It will break.","cases":[{"name":"empty","what":"gives 0","where":"tests/test_a.c"}]}'
  end) })
  t.done(run)
  table.sort(seen)
  t.equal(seen, { "src/a.c", "src/b.c" })
  t.contains(run.text, "## `src/a.c`\n6 of its 7 changes came without a test. It will break.\n- **empty** (`tests/test_a.c`): gives 0")
  t.contains(run.text, "## `src/b.c`\n2 of its 7 changes")
  t.ok(run.text:find "src/a.c" < run.text:find "src/b.c")
  t.ok(not run.text:find "README")
end)

t.test("offline, the figures stand alone", function()
  t.git(history())
  local run = t.run("../test-gaps.lua", { input = "src/a", model = "offline" })
  t.done(run)
  t.contains(run.text, "6 of its 7 changes came without a test.")
  t.contains(run.text, "Not every file has proposals: No model is configured")
  t.ok(not run.text:find "src/b.c")
end)

t.test("no gap, and no repository", function()
  t.git { { message = "begin", files = { ["src/a.c"] = "1\n" } } }
  t.contains(t.run("../test-gaps.lua", {}).text, "No code file changed more than once without a test")
end)

t.test("no repository", function()
  t.equal(t.run("../test-gaps.lua", {}).stop, "failed")
end)
