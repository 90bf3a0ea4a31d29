-- SPDX-License-Identifier: MIT
-- The shipped agent changelog, with scripted models and with the offline one.
local t = require "moonlet.test"

local history = {
  { message = "parser: add a reader for long files", files = { ["src/parser.c"] = "int main(void) { return 0; }\n" }, tag = "v1.0.0" },
  { message = "fix: a crash on empty input", files = { ["src/parser.c"] = "int main(void) { return 1; }\n" } },
  { message = "drop the old form", files = { ["src/old.c"] = "\n" }, author = "Ada <ada@example.org>" },
}

-- What the model is to write, from the ids that it is told.
local function entry(text, id)
  return "- " .. text .. " (`" .. id:sub(1, 10) .. "`)"
end

t.test("writes one entry with the commit's id, and reads it again", function()
  local ids = t.git(history)
  local made = "# Changelog\n\n## [Unreleased]\n\n### Fixed\n\n" .. entry("No crash on empty input", ids[2]) .. "\n"
  local run = t.run("../changelog.lua", {
    input = "leave out what was dropped",
    policy = { ["file.write"] = "allow" },
    model = t.model {
      t.call("file.read", { path = "CHANGELOG.md", limit = 400 }, "git.log", { ref = "HEAD", limit = 20 }),
      function(request)
        local results = {}
        for _, message in ipairs(request.messages) do
          if message.role == "tool" then results[#results + 1] = message end
        end
        t.ok(results[1].is_error, "there is no CHANGELOG.md yet")
        t.contains(results[2].content, ids[2])
        return t.call("file.write", { path = "CHANGELOG.md", content = made })
      end,
      t.call("file.read", { path = "CHANGELOG.md" }),
      entry("No crash on empty input", ids[2]),
    },
  })
  t.done(run)
  t.equal(t.read "CHANGELOG.md", made)
  t.called(run, "file.write", { n = 1, ok = true })
  t.equal(run.requests[1].agent, "changelog")
  t.contains(run.messages[1][1].content, "You change that file and no other.")
  t.contains(run.messages[1][2].content, "leave out what was dropped")
  t.snapshot(run)
end)

t.test("without leave nothing is written", function()
  t.git(history)
  local run = t.run("../changelog.lua", { model = t.model { t.call("file.write", { path = "CHANGELOG.md", content = "x" }) } })
  t.equal(run.stop, "needs_approval")
  t.equal(t.read "CHANGELOG.md", nil)
end)

t.test("a refusal is told to the model", function()
  t.git(history)
  local run = t.run("../changelog.lua", {
    approve = function(call)
      t.equal(call.arguments.path, "CHANGELOG.md")
      return false, "not today"
    end,
    model = t.model {
      t.call("file.write", { path = "CHANGELOG.md", content = "x" }),
      function(request)
        t.contains(request.messages[#request.messages].content, "not today")
        return "the section as it should be"
      end,
    },
  })
  t.done(run)
  t.called(run, "file.write", { ok = false })
  t.equal(t.read "CHANGELOG.md", nil)
end)

t.test("it cannot reach other tools", function()
  t.git(history)
  local run = t.run("../changelog.lua", {
    yes = true,
    model = t.model {
      t.call("shell", { command = "git push" }),
      function(request)
        t.contains(request.messages[#request.messages].content, 'there is no tool named "shell"')
        return "done"
      end,
    },
  })
  t.done(run)
end)

t.test("offline, the entries since the last tag go into their sections", function()
  local ids = t.git(history)
  local run = t.run("../changelog.lua", { model = "offline", yes = true })
  t.done(run)
  local text = t.read "CHANGELOG.md"
  t.contains(text, "### Fixed\n\n" .. entry("fix: a crash on empty input", ids[2]))
  t.contains(text, "### Removed\n\n" .. entry("drop the old form", ids[3]))

  local again = t.run("../changelog.lua", { model = "offline", yes = true })
  t.contains(again.text, "up to date")
  t.equal(t.read "CHANGELOG.md", text)
end)
