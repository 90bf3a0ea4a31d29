-- SPDX-License-Identifier: MIT
-- Least-to-most, self-ask, plan-and-execute.
local moon = require "moonlet"
local kit = require "kit"
local way, agent = moon.way, kit.agent

local function prompts_begin(m, wanted)
  for i, part in ipairs(wanted) do kit.has(m.asked[i], part, "prompt " .. i) end
  kit.equal(#m.asked, #wanted, "calls")
end

local cases = {
  { "lists that models write", function()
    local rows = {
      { "numbers", "1. one\n2. two", { "one", "two" } },
      { "bullets with an introduction", "Here it is:\n\n- one\n* two\n+ three\n", { "one", "two", "three" } },
      { "brackets", "(1) one\n2) two", { "one", "two" } },
      { "what is indented belongs to the item", "1. one\n   more\n   - and more\n2. two", { "one\nmore\n- and more", "two" } },
      { "no marks", "one\n\n  two\n", { "one", "two" } },
      { "a table", { "one", "two" }, { "one", "two" } },
      { "a table in a field", { steps = { "one", "two" } }, { "one", "two" } },
    }
    for _, row in ipairs(rows) do
      local a = agent { "r1", "r2", "r3", "r4" }
      local split = function() return row[2] end
      local out = kit.good(way.least_to_most(a, { split = split, keep = true }):run "all")
      local got = {}
      for i, step in ipairs(out.steps) do got[i] = step.question end
      row[3][#row[3] + 1] = "all"
      kit.equal(got, row[3], row[1])
    end
  end },
  { "least-to-most: each with the answers before it", function()
    local a, m = agent { "1. How long is one ride?\n2. How much time is there?", "5 minutes", "15 minutes", "3 rides" }
    local out = kit.good(way.least_to_most(a, { keep = true }):run "How many rides?")
    kit.equal(m.agents, { "a.split", "a", "a", "a" })
    prompts_begin(m, { "at most 8, the simplest first", "How many rides?\n\nQ: How long is one ride?\nA:", "Q: How long is one ride?\nA: 5 minutes\n\nQ: How much time is there?\nA:",
      "Q: How much time is there?\nA: 15 minutes\n\nQ: How many rides?\nA:" })
    kit.equal(out.answer, "3 rides")
    kit.equal(out.steps[2], { question = "How much time is there?", answer = "15 minutes" })
  end },
  { "least-to-most: nothing to split, the question itself as the last, and too much", function()
    local a, m = agent { "42" }
    kit.equal(kit.good(way.least_to_most(a, { split = function() return "" end }):run "x"), "42")
    kit.equal(#m.asked, 1)
    a, m = agent { "1. y\n2. x", "of y", "of x" }
    kit.equal(kit.good(way.least_to_most(a):run "x"), "of x")
    a, m = agent { "- 1\n- 2\n- 3" }
    kit.bad("there are 3 subproblems, and max is 2", way.least_to_most(a, { max = 2 }):run "x")
    kit.equal(#m.asked, 1)
  end },
  { "self-ask: the paper's form", function()
    local a, m = agent { "Yes.\nFollow up: How old was Turing when he died?", "Follow up: How old was Plato?", "So the final answer is: Plato" }
    local search = kit.model { "41", "about 80" }
    local out = kit.good(way.self_ask(a, { search = moon.agent { name = "s", tools = {}, model = search.model }, keep = true }):run "Who lived longer?")
    kit.equal(out.answer, "Plato")
    kit.equal(search.asked, { "How old was Turing when he died?", "How old was Plato?" })
    kit.has(m.asked[1], "Question: Who lived longer?")
    kit.has(m.asked[1], "\n\nAre follow-up questions needed here:")
    kit.has(m.asked[3], "Follow up: How old was Turing when he died?\nIntermediate answer: 41\nFollow up: How old was Plato?\nIntermediate answer: about 80")
  end },
  { "self-ask: what a model writes", function()
    local rows = {
      { "made-up answers are cut off", { "Follow up: q1\nIntermediate answer: 7\nSo the final answer is: 7", "So the final answer is: 8" }, "8", { "q1" } },
      { "only the first question", { "Follow up: q1\nFollow up: q2", "So the final answer is: 8" }, "8", { "q1" } },
      { "no question", { "No.\nSo the final answer is: 5" }, "5", {} },
      { "no form at all", { "Five, of course." }, "Five, of course.", {} },
      { "bold, with a hyphen", { "**Follow-up:** q1", "**So the final answer is:** 5" }, "5", { "q1" } },
    }
    for _, row in ipairs(rows) do
      local a, asked = agent(row[2]), {}
      local chain = way.self_ask(a, { search = function(q) asked[#asked + 1] = q return "9" end })
      kit.equal(kit.good(chain:run "x"), row[3], row[1])
      kit.equal(asked, row[4], row[1])
    end
  end },
  { "self-ask: the bound", function()
    local a, m = agent(function(prompt) return prompt:find "So the final answer is:$" and "forced" or "Follow up: more" end)
    kit.equal(kit.good(way.self_ask(a, { max = 2, search = function() return "." end }):run "x"), "forced")
    kit.equal(#m.asked, 3)
    local b = agent(function(prompt) return prompt:find "^Question" and "Follow up: more" or "self" end)
    kit.equal(kit.bad("there is no answer after 2 follow-up questions (max)", way.self_ask(b, { max = 2 }):run "x").stop, "limit_steps")
  end },
  { "plan-and-execute: the planner has no tools, the worker gets what was done", function()
    local a, m = agent({ "1. read\n2. write", "read it", "wrote it", "All is well." }, { tools = {}, output = nil })
    local out = kit.good(way.plan_and_execute(a, { keep = true }):run "tidy up")
    kit.equal(m.agents, { "a.planner", "a", "a", "a.planner" })
    prompts_begin(m, { "tidy up\n\nMake a plan for this: a numbered list of at most 10 steps", "The plan:\n1. read\n2. write\n\nCarry out step 1 now, and no other: read",
      "What was done:\n1. read\nResult: read it\n\nCarry out step 2 now, and no other: write", "2. write\nResult: wrote it\n\nAll steps are done." })
    kit.equal(out, { answer = "All is well.", steps = { { step = "read", result = "read it" }, { step = "write", result = "wrote it" } } })
  end },
  { "plan-and-execute: tools and output are the worker's alone", function()
    local seen = {}
    local model = moon.model.script(function(r)
      seen[#seen + 1] = { r.agent, #r.tools, r.output and "typed" or "text" }
      return r.agent == "w" and '{"done":true}' or seen[2] and "end" or "1. do it"
    end)
    local noop = moon.tool { name = "noop", description = "d", effects = { read_only = true }, call = function() end }
    local worker = moon.agent { name = "w", tools = { noop }, model = model, output = { done = "boolean" }, policy = { noop = "allow" } }
    kit.good(way.plan_and_execute(worker):run "x")
    kit.equal(seen, { { "w.planner", 0, "text" }, { "w", 1, "typed" }, { "w.planner", 0, "text" } })
  end },
  { "plan-and-execute: made anew after each step", function()
    local a, m = agent { "1. look\n2. old", "saw it", "1. new\n2. last", "did new", "DONE", "ok" }
    local out = kit.good(way.plan_and_execute(a, { replan = true, keep = true }):run "x")
    kit.equal(out.steps, { { step = "look", result = "saw it" }, { step = "new", result = "did new" } })
    kit.has(m.asked[3], "These steps were left:\n1. old")
    kit.has(m.asked[3], "at most 9 steps")
    kit.has(m.asked[4], "1. look\n2. new\n3. last")
  end },
  { "plan-and-execute: no plan, too long a plan, a step that fails, an answer of another's", function()
    local a, m = agent {}
    kit.bad("the plan has no steps", way.plan_and_execute(a, { planner = function() return {} end }):run "x")
    a, m = agent { "- 1\n- 2\n- 3" }
    kit.bad("there are 3 steps, and max is 2", way.plan_and_execute(a, { max = 2 }):run "x")
    kit.equal(#m.asked, 1)
    a, m = agent { "- 1\n- 2", "done", "- a\n- b" }
    kit.bad("there are 3 steps, and max is 2", way.plan_and_execute(a, { max = 2, replan = true }):run "x")
    kit.bad("step[2]: ", way.plan_and_execute((agent { "- 1\n- 2", "done" })):run "x")
    kit.equal(kit.good(way.plan_and_execute((agent { "- 1", "done" }), { answer = function(p) return #p > 10 and "short" end }):run "x"), "short")
  end },
}

return kit.cases(cases)
