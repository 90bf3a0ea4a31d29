-- SPDX-License-Identifier: MIT
-- The shipped chain commit-message: drafts, votes, and what it is told.
local t = require "moonlet.test"

local history = { { message = "core: begin", files = { ["a.c"] = "int a;\n" } }, { message = "core: go on", files = { ["a.c"] = "int a, b;\n" } } }

local function vote(choice) return '{"choice":"' .. choice .. '"}' end

t.test("the draft with most votes is printed", function()
  t.git(history)
  local function draft(text)
    return t.model { function(request)
      local told = request.messages[#request.messages].content
      t.contains(told, "- core: go on\n- core: begin")
      t.contains(told, "To be said: fixes #12")
      t.contains(told, "+int a, b, c;")
      return text
    end }
  end
  local run = t.run("../commit-message.lua", {
    input = "fixes #12",
    files = { ["a.c"] = "int a, b, c;\n" },
    models = {
      plain = draft "core: add c\n", why = draft "core: add c\n\nIt is needed.\n\n", short = draft "core: c",
      judge = t.model { vote "plain", vote "why", function(request)
        t.contains(request.messages[#request.messages].content, "# why\ncore: add c\n\nIt is needed.")
        return vote "why"
      end },
    },
  })
  t.done(run)
  t.equal(run.text, "core: add c\n\nIt is needed.")
  t.equal(#run.requests, 6)
end)

t.test("nothing is committed, and nothing to commit is said", function()
  t.git(history)
  local run = t.run("../commit-message.lua", {})
  t.contains(run.error, "there is no change: nothing is staged or modified")
  t.equal(#run.requests, 0)
end)
