-- SPDX-License-Identifier: MIT
-- The shipped agent brief: that it plans first, only reads, and hands over what the model wrote.
local t = require "moonlet.test"

local history = {
  { message = "a beginning", files = { ["README.md"] = "# Rings\n\nBuild with make.\n", ["src/ring.c"] = "/* TODO: check */\nint ring;\n" } },
  { message = "ring: two of them", files = { ["src/ring.c"] = "/* TODO: check */\nint ring, other;\n" }, author = "Ada <ada@example.org>" },
}

local function plan(...)
  local items = {}
  for i, state in ipairs { ... } do items[i] = { text = "section " .. i, state = state } end
  return items
end

t.test("plans, looks and writes", function()
  local ids = t.git(history)
  local brief = "# Brief of Rings\nA ring and another (`" .. ids[2]:sub(1, 10) .. "`, `src/ring.c:2`)."
  local run = t.run("../brief.lua", {
    input = "the rings",
    model = t.model {
      t.call("plan", { items = plan("doing", "todo") }),
      t.call("git.status", {}, "file.list", { summary = true }, "git.log", { stat = true, limit = 40 }),
      t.call("search", { pattern = "\\b(TODO|FIXME)\\b" }, "git.blame", { path = "src/ring.c" }),
      t.call("plan", { items = plan("done", "done") }),
      brief,
    },
  })
  t.done(run)
  t.equal(run.text, brief)
  t.called(run, "plan", { n = 2 })
  t.called(run, "git.log", { n = 1, arguments = { stat = true }, ok = true })
  t.contains(run.calls[5].text, "src/ring.c")
  t.snapshot(run)
end)

t.test("uses no tool before it has a plan", function()
  t.git(history)
  local run = t.run("../brief.lua", {
    model = t.model {
      t.call("git.log", {}),
      function(request)
        t.contains(request.messages[#request.messages].content, "write your plan first")
        return t.call("plan", { items = plan("done") })
      end,
      "# Brief",
    },
  })
  t.done(run)
end)

t.test("has no tool that changes anything", function()
  t.git(history)
  local run = t.run("../brief.lua", { model = t.model { "# Brief" } })
  for _, name in ipairs(run.requests[1].tools) do
    t.ok(not name:match "write" and not name:match "edit" and name ~= "shell" and name ~= "git.commit" and name ~= "git.branch", name)
  end
end)

t.test("offline, every commit that it names is one of the repository", function()
  local ids = t.git(history)
  local run = t.run("../brief.lua", { model = "offline" })
  t.done(run)
  t.contains(run.text, "# Brief of")
  local known, n = {}, 0
  for _, id in ipairs(ids) do known[id:sub(1, 10)] = true end
  for id in run.text:gmatch "`(%x%x%x%x%x%x%x%x%x%x)`" do
    n = n + 1
    t.ok(known[id], "commit " .. id)
  end
  t.ok(n > 0, "it names commits")
  t.contains(run.text, "src/ring.c:1")
end)
