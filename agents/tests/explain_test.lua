-- SPDX-License-Identifier: MIT
-- The shipped chain explain: what it finds out before it asks.
local t = require "moonlet.test"

local history = {
  { message = "reader: begin", files = { ["src/r.c"] = "int skip;\nint read_all(void);\n" }, author = "Ann <ann@example.org>" },
  { message = "reader: read twice on slow disks", files = { ["src/r.c"] = "int skip;\nint read_all(void);\nint again;\n" } },
}

local function told(run, i)
  local messages = run.messages[i]
  return messages[#messages].content
end

t.test("a name: found, with its code, its blame and its history", function()
  local ids = t.git(history)
  local run = t.run("../explain.lua", { input = "read_all", models = {
    ["explainer.asker"] = t.model { "Why are disks read twice?" },
    historian = t.model { t.call("git.log", { path = "src/r.c" }), "Slow disks (" .. ids[2]:sub(1, 10) .. ")." },
    explainer = t.model { "It reads all." },
  } })
  t.done(run)
  t.equal(run.text, "It reads all.")
  local asked = told(run, 1)
  t.contains(asked, "Explain read_all (at `src/r.c:2`).")
  t.contains(asked, "     2\tint read_all(void);")
  t.contains(asked, ids[1]:sub(1, 10))
  t.contains(asked, "Ann: reader: begin")
  t.contains(asked, ids[2]:sub(1, 10) .. " reader: read twice on slow disks")
  t.equal(told(run, 2), "Why are disks read twice?")
  t.contains(told(run, 4), "Background question: Why are disks read twice?\nSlow disks")
end)

t.test("a file and a line; a file that is not committed", function()
  t.git(history)
  local function ask(input, files)
    local run = t.run("../explain.lua", { input = input, files = files, model = t.model { "q", "f", "a" } })
    t.done(run)
    return told(run, 1)
  end
  t.contains(ask "src/r.c:3", "(at `src/r.c:3`)")
  t.contains(ask("new.c", { ["new.c"] = "int n;\n" }), "(at `new.c:1`)")
end)

t.test("what is nowhere, and nothing", function()
  t.git(history)
  t.contains(t.run("../explain.lua", { input = "zeppelin" }).error, 'there is no file and no text "zeppelin" here')
  t.contains(t.run("../explain.lua", { input = "" }).error, "say what to explain")
end)
