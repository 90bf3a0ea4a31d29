-- SPDX-License-Identifier: MIT
-- The shipped chain review: four reviewers side by side, one that fails, ranges, and nothing to review.
local t = require "moonlet.test"

local history = {
  { message = "begin", files = { ["src/pay.c"] = "int pay(int n) { return n; }\n" }, tag = "v1" },
  { message = "pay twice", files = { ["src/pay.c"] = "int pay(int n) { return 2 * n; }\n" } },
}

local function reviewers(answers)
  local models = { editor = t.model { answers.editor } }
  for _, name in ipairs { "correctness", "security", "tests", "clarity" } do
    models[name] = t.model { answers[name] or "nothing" }
  end
  return models
end

t.test("what is not committed goes to four reviewers, and what they found to the editor", function()
  t.git(history)
  local run = t.run("../review.lua", {
    files = { ["src/pay.c"] = "int pay(int n) { return 3 * n; }\n" },
    models = reviewers {
      correctness = function(request)
        t.contains(request.messages[#request.messages].content, "+int pay(int n) { return 3 * n; }")
        return "- blocker `src/pay.c:1` pays three times"
      end,
      editor = function(request)
        local told = request.messages[#request.messages].content
        t.contains(told, "# correctness\n- blocker `src/pay.c:1` pays three times")
        t.contains(told, "# security\nnothing")
        return "One blocker: `src/pay.c:1`."
      end,
    },
  })
  t.done(run)
  t.equal(run.text, "One blocker: `src/pay.c:1`.")
  t.equal(#run.requests, 5)
end)

t.test("a range of commits", function()
  t.git(history)
  local seen
  local run = t.run("../review.lua", { input = "v1..HEAD", models = reviewers {
    tests = function(request) seen = request.messages[#request.messages].content return "nothing" end, editor = "Nothing.",
  } })
  t.done(run)
  t.contains(seen, "+int pay(int n) { return 2 * n; }")
end)

t.test("a reviewer that fails is named, the others count", function()
  t.git(history)
  local run = t.run("../review.lua", { input = "v1..HEAD", models = reviewers {
    clarity = { error = "overloaded" },
    editor = function(request)
      t.contains(request.messages[#request.messages].content, "Not looked at: clarity")
      return "Nothing; clarity was not looked at."
    end,
  } })
  t.done(run)
end)

t.test("nothing to review asks no model", function()
  t.git(history)
  local run = t.run("../review.lua", {})
  t.equal(run.stop, "failed")
  t.contains(run.error, "there is no change to review")
  t.equal(#run.requests, 0)
end)
