-- SPDX-License-Identifier: MIT
-- Zero-shot, few-shot, chain of thought, self-consistency, step-back.
local moon = require "moonlet"
local kit = require "kit"
local way, agent = moon.way, kit.agent

local mails = {
  { input = "the invoice of March is wrong", output = "billing" },
  { input = "I cannot log in any more", output = "access" },
  { input = "the invoice has no number", output = "billing" },
  { input = "please add dark mode", output = "wish" },
}

local function examples_in(prompt)
  local list = {}
  for text in prompt:gmatch "Input: ([^\n]*)\n" do list[#list + 1] = text end
  list[#list] = nil -- the question
  return list
end

-- Few-shot with these options, asked about an invoice: the examples in the prompt.
local function picked(options)
  options.examples = options.examples or mails
  local a, m = agent { "billing" }
  kit.equal(kit.good(way.few_shot(a, options):run "where is the invoice of May?"), "billing")
  return examples_in(m.asked[1])
end

local selections = {
  { "all, as they are listed", {}, { 1, 2, 3, 4 } },
  { "the nearest last", { select = 2 }, { 3, 1 } },
  { "the nearest, as they are listed", { select = 2, order = "list" }, { 1, 3 } },
  { "more than there are", { select = 9, order = "list" }, { 1, 2, 3, 4 } },
  { "no room for more than one", { select = 4, bytes = 70 }, { 1 } },
  { "the same in tokens", { select = 4, tokens = 18 }, { 1 } },
  { "room for some, in the list's order", { bytes = 110 }, { 1, 2 } },
  { "one that is too long is passed over", { bytes = 60, examples = { { input = ("long "):rep(20), output = "x" }, mails[2] } }, { 2 } },
  { "no room at all", { bytes = 3 }, {} },
  { "equally near ones in the list's order", { select = 2, examples = { mails[2], mails[1], mails[1] } }, { 3, 2 } },
}

local cases = {
  { "zero-shot: task, context, input, form", function()
    local a, m = agent { "yes" }
    local chain = way.zero_shot(a, { task = "Is it in the imperative?", context = "A commit subject.", format = "Answer yes or no." })
    kit.equal(kit.good(chain:run "add a test"), "yes")
    kit.equal(m.asked, { "Is it in the imperative?\n\nContext:\nA commit subject.\n\nInput:\nadd a test\n\nAnswer yes or no." })
    kit.equal(chain:describe().kind, "way.zero_shot")
  end },
  { "zero-shot: what is wrong with it", function()
    local a = agent {}
    kit.raises("way.zero_shot needs task", function() way.zero_shot(a) end)
    kit.raises('unknown field "taks" (did you mean "task"?)', function() way.zero_shot(a, { taks = "x" }) end)
    kit.raises("task must be a text, not a table", function() way.zero_shot(a, { task = {} }) end)
    kit.raises("agent is nil; a step is", function() way.zero_shot(nil, { task = "x" }) end)
  end },
  { "a slot's value is not filled in again", function()
    local a, m = agent { "no mark", "Q" }
    kit.good(way.chain_of_thought(a):run "what is {reasoning} and %1?")
    kit.has(m.asked[1], "what is {reasoning} and %1?\n\nLet's think step by step.")
    kit.has(m.asked[2], "what is {reasoning} and %1?\n\nno mark\n\nTherefore")
  end },
  { "few-shot: which examples, in which order", function()
    for _, row in ipairs(selections) do
      local from, want = row[2].examples or mails, {}
      for i, at in ipairs(row[3]) do want[i] = from[at].input end
      kit.equal(picked(row[2]), want, row[1])
    end
  end },
  { "few-shot: the whole prompt, with reasoning", function()
    local a, m = agent { "Two and two.\nOutput: 4" }
    local chain = way.few_shot(a, { task = "Add.", format = "A number.", examples = { { input = { 1, 1 }, why = "One more than one.", output = 2 } } })
    kit.equal(kit.good(chain:run { 2, 2 }), "4")
    kit.equal(m.asked[1], "Add.\n\nInput: [1,1]\nReasoning: One more than one.\nOutput: 2\n\nA number.\n\nInput: [2,2]\nReasoning:")
  end },
  { "few-shot: what is wrong with it", function()
    local a = agent {}
    kit.raises("needs examples", function() way.few_shot(a, {}) end)
    kit.raises("example 1 must be { input", function() way.few_shot(a, { examples = { "x" } }) end)
    kit.raises("select must be a number", function() way.few_shot(a, { examples = mails, select = 0 }) end)
    kit.raises('order must be "similar" or "list"', function() way.few_shot(a, { examples = mails, order = "best" }) end)
  end },
  { "similarity", function()
    kit.equal(way.similarity("the invoice", "the  INVOICE "), 1.0)
    kit.equal(way.similarity("abc", "xyz"), 0.0)
    kit.equal(way.similarity("", ""), 0.0)
    local near, far = way.similarity("ร้านอาหารไทย", "อาหารไทยอร่อย"), way.similarity("ร้านอาหารไทย", "รถไฟฟ้ามาแล้ว")
    if near <= far or near <= 0.3 then error("Thai: " .. near .. " " .. far) end
  end },
  { "chain of thought: where the answer stands", function()
    local rows = {
      { "plain", "Two and two make four.\nAnswer: 4", "4" },
      { "bold", "So it is four.\n\n**Answer:** 4", "4" },
      { "all of it bold", "So.\n**Answer: 4**", "4" },
      { "a heading", "So.\n### Answer: 4", "4" },
      { "other case", "So.\nanswer: 4", "4" },
      { "the last of two", "Answer: 3? No.\nAnswer: 4", "4" },
      { "several lines", "So.\nAnswer:\n4\nor four\n", "4\nor four" },
      { "carriage returns", "So.\r\nAnswer: 4\r\n", "4" },
      { "emphasis within", "So.\nAnswer: **four** it is", "**four** it is" },
    }
    for _, row in ipairs(rows) do
      local a, m = agent { row[2] }
      kit.equal(kit.good(way.chain_of_thought(a):run "2+2"), row[3], row[1])
      kit.equal(#m.asked, 1, row[1])
    end
  end },
  { "chain of thought: asked for when it does not stand there", function()
    for _, first in ipairs { "I think it is four.", "Answer:", "The answer: 4" } do
      local a, m = agent { first, "4" }
      kit.equal(kit.good(way.chain_of_thought(a, { keep = true }):run "2+2"), { answer = "4", reasoning = first })
      kit.has(m.asked[2], "2+2\n\n" .. first .. "\n\nTherefore, the answer")
    end
  end },
  { "chain of thought: prompts of one's own", function()
    local a, m = agent { "Antwort fehlt", "4" }
    kit.equal(kit.good(way.chain_of_thought(a, { prompts = { think = "Frage: {input}" } }):run "2+2"), "4")
    kit.equal(m.asked[1], "Frage: 2+2")
    kit.raises('there is no prompt "thnk" (did you mean "think"?)', function() way.chain_of_thought(a, { prompts = { thnk = "" } }) end)
    kit.raises("prompts.think must be a text", function() way.chain_of_thought(a, { prompts = { think = 1 } }) end)
  end },
  { "self-consistency: the most frequent answer of the seeds' fixture", function()
    local a, m = agent { "…\nAnswer: 67", "…\nAnswer: 35", "…\nAnswer: 67." }
    kit.equal(kit.good(way.self_consistency(a, { n = 3 }):run "how old is my sister?"), "67")
    kit.equal(#m.asked, 3)
  end },
  { "self-consistency: a tie goes to the first, min is held", function()
    local a = agent { "Answer: 1", "Answer: 2" }
    kit.equal(kit.good(way.self_consistency(a, { n = 2, limit = 1 }):run "x"), "1")
    local b = agent { "Answer: 1", "Answer: 2" }
    kit.bad("the best answer has 1 of 2 votes, and min is 2", way.self_consistency(b, { n = 2, min = 2, limit = 1 }):run "x")
  end },
  { "self-consistency: a chain that fails does not count, all that fail do", function()
    local a = agent { "Answer: 7" }
    kit.equal(kit.good(way.self_consistency(a, { n = 3, limit = 1 }):run "x"), "7")
    kit.bad("no answer", way.self_consistency((agent {}), { n = 2 }):run "x")
  end },
  { "step-back: three calls, by whom and with what", function()
    local a, m = agent { "What is the ideal gas law?", "PV = nRT", "It falls by half." }
    local out = kit.good(way.step_back(a, { keep = true }):run "what happens to the pressure?")
    kit.equal(out, { answer = "It falls by half.", question = "What is the ideal gas law?", facts = "PV = nRT" })
    kit.equal(m.agents, { "a.asker", "a", "a" })
    kit.equal(m.asked[2], "What is the ideal gas law?")
    kit.has(m.asked[3], "Background question: What is the ideal gas law?\nPV = nRT")
  end },
  { "step-back: facts from a function; an error says where", function()
    local a = agent { "why?", "so" }
    kit.equal(kit.good(way.step_back(a, { facts = function(q) return "asked: " .. q end }):run "x"), "so")
    local b = agent { "why?" }
    kit.bad("facts: not here", moon.chain.seq { way.step_back(b, { facts = function() return nil, "not here" end }) }:run "x")
  end },
  { "a way nests, and changes with `with`", function()
    local a, m = agent { "Answer: never" }
    local other = kit.model { "Answer: 5", "done" }
    local chain = moon.chain.seq { way.chain_of_thought(a), moon.agent { name = "b", tools = {}, model = m.model } }
    kit.equal(kit.good(chain:with { model = other.model }:run "x"), "done")
    kit.equal(other.agents, { "a", "b" })
    kit.equal(#m.asked, 0)
    kit.equal(chain:describe().steps[1].kind, "way.chain_of_thought")
  end },
}

return kit.cases(cases)
