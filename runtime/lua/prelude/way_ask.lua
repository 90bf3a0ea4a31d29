-- SPDX-License-Identifier: MIT
-- Ways that ask: zero-shot, few-shot, chain of thought, self-consistency, step-back.
local host, moon = ...
local type, ipairs, sort, concat, format = type, ipairs, table.sort, table.concat, string.format
local min, huge = math.min, math.huge
local way, shared, raise = moon.way, host.way, host.raise
local trim, text_of, fill = shared.trim, shared.text, shared.fill

local function needs_text(what, options, ...)
  for _, name in ipairs { ... } do
    local text = options[name]
    if text ~= nil and type(text) ~= "string" then raise(format("%s: %s must be a text, not a %s", what, name, type(text))) end
  end
end

-- ---- zero-shot ----
-- The task in words, without examples. Wei et al., 2021, Finetuned Language Models Are Zero-Shot Learners, arXiv:2109.01652.
-- One call.
function way.zero_shot(x, options)
  local what = "way.zero_shot"
  options = shared.options(what, options, "task context format")
  needs_text(what, options, "task", "context", "format")
  if not options.task then raise(what .. " needs task: what is to be done with the input") end
  return shared.new("zero_shot", options, { agent = shared.step(what, x, "agent") }, function(s, input, ctx, env)
    local parts = { options.task }
    if options.context then parts[#parts + 1] = "Context:\n" .. options.context end
    parts[#parts + 1] = "Input:\n" .. text_of(input)
    parts[#parts + 1] = options.format
    return shared.ask(s.agent, concat(parts, "\n\n"), ctx, env)
  end)
end

-- ---- few-shot ----
-- Examples before the question. Brown et al., 2020, Language Models are Few-Shot Learners, arXiv:2005.14165. With `select`, those nearest
-- to the input, the nearest last: Liu et al., 2021, What Makes Good In-Context Examples for GPT-3?, arXiv:2101.06804 (there
-- with embeddings, here by way.similarity). With `why` in the examples it is the chain of thought of Wei et al., 2022, arXiv:2201.11903.
-- One call.

local function check_example(what, i, example)
  if type(example) ~= "table" or example.input == nil or example.output == nil then
    raise(format("%s: example %d must be { input = …, output = … }", what, i))
  end
  local body = { "Input: " .. text_of(example.input) }
  if example.why ~= nil then body[2] = "Reasoning: " .. text_of(example.why) end
  body[#body + 1] = "Output: " .. text_of(example.output)
  return { at = i, text = concat(body, "\n"), input = text_of(example.input), why = example.why ~= nil }
end

-- The examples in the order in which they are taken while there is room: the nearest first, equally near ones as they are listed.
local function ranked(examples, input, select)
  if not select then return examples end
  local list = {}
  for i, example in ipairs(examples) do list[i] = { example, host.similarity(example.input, input) } end
  sort(list, function(a, b)
    if a[2] ~= b[2] then return a[2] > b[2] end
    return a[1].at < b[1].at
  end)
  for i, pair in ipairs(list) do list[i] = pair[1] end
  return list
end

-- Those that fit; one that is too long for what is left is passed over.
local function chosen(list, most, bytes)
  local out = {}
  for _, example in ipairs(list) do
    if #out == most then break end
    local cost = #example.text + 2
    if cost <= bytes then
      bytes = bytes - cost
      out[#out + 1] = example
    end
  end
  return out
end

function way.few_shot(x, options)
  local what = "way.few_shot"
  options = shared.options(what, options, "task format examples select order bytes tokens")
  needs_text(what, options, "task", "format")
  if type(options.examples) ~= "table" or #options.examples == 0 then raise(what .. " needs examples, a list of { input = …, output = … }") end
  if options.order ~= nil and options.order ~= "list" and options.order ~= "similar" then raise(what .. ': order must be "similar" or "list"') end
  local examples, reasoned = {}, false
  for i, example in ipairs(options.examples) do
    examples[i] = check_example(what, i, example)
    reasoned = reasoned or examples[i].why
  end
  local select = options.select ~= nil and shared.whole(what, options, "select") or nil
  local bytes = host.positive(what, options, "bytes", huge)
  bytes = min(bytes, 4 * host.positive(what, options, "tokens", huge)) -- four bytes a token, as English text has
  local by_place = not select or options.order == "list"
  return shared.new("few_shot", options, { agent = shared.step(what, x, "agent") }, function(s, input, ctx, env)
    input = text_of(input)
    local few = chosen(ranked(examples, input, select), select or #examples, bytes)
    local parts, n = { options.task }, #few
    if by_place then sort(few, function(a, b) return a.at < b.at end) end
    for i = 1, n do parts[#parts + 1] = (by_place and few[i] or few[n + 1 - i]).text end
    parts[#parts + 1] = options.format
    parts[#parts + 1] = format("Input: %s\n%s", input, reasoned and "Reasoning:" or "Output:")
    local value, err = shared.ask(s.agent, concat(parts, "\n\n"), ctx, env)
    if err ~= nil or type(value) ~= "string" then return value, err end
    return shared.marked(value, "Output") or trim(value)
  end)
end

-- ---- chain of thought ----
-- Reasoning first, then the answer, which is taken out: Kojima et al., 2022, Large Language Models are Zero-Shot Reasoners,
-- arXiv:2205.11916. One call if the answer stands where it was asked for, else a second one that asks for it.

local thoughts = {
  think = "{input}\n\nLet's think step by step. Write down the reasoning first, then the answer alone, in a last line that begins with \"Answer:\".",
  extract = "{input}\n\n{reasoning}\n\nTherefore, the answer, alone and without its reasoning, is:",
}

function way.chain_of_thought(x, options)
  local what = "way.chain_of_thought"
  options = shared.options(what, options, "")
  local prompts = shared.prompts(what, options, thoughts)
  return shared.new("chain_of_thought", options, { agent = shared.step(what, x, "agent") }, function(s, input, ctx, env)
    input = text_of(input)
    local text, err = shared.say(s.agent, fill(prompts.think, { input = input }), ctx, env, "think")
    if err ~= nil then return nil, err end
    local answer, reasoning = shared.marked(text, "Answer")
    if not answer or answer == "" then
      reasoning = text
      answer, err = shared.say(s.agent, fill(prompts.extract, { input = input, reasoning = text }), ctx, env, "extract")
      if err ~= nil then return nil, err end
      answer = shared.marked(answer, "Answer") or answer
    end
    return options.keep and { answer = answer, reasoning = reasoning } or answer
  end)
end

-- ---- self-consistency ----
-- Several chains of thought side by side, and the answer that most of them come to: Wang et al., 2022, Self-Consistency Improves Chain of
-- Thought Reasoning in Language Models, arXiv:2203.11171. Equal counts: the answer that was first in the order of the chains.
-- n to 2n calls. The agent needs a temperature: at 0 all say the same.
function way.self_consistency(x, options)
  local what = "way.self_consistency"
  options = shared.options(what, options, "n key min limit")
  if options.keep then raise(what .. ": keep is for one chain of thought; of several only the answer is kept") end
  local one = way.chain_of_thought(x, { prompts = options.prompts })
  return moon.chain.vote(one, { n = options.n or 5, key = options.key, min = options.min, limit = options.limit, state = options.state,
    name = options.name or "self_consistency" })
end

-- ---- step-back ----
-- The question behind the question, and its answer, first: Zheng et al., 2023, Take a Step Back, arXiv:2310.06117. `facts` may look the
-- answer up (an agent with tools, a tool, a function of the question). Three calls.

local back = {
  question = "{input}\n\nTake a step back: what more general question, about the principle or the background of this, would help to answer it? " ..
    "Write that question alone.",
  answer = "{input}\n\nUse this background where it is relevant, and pass over it where it is not.\n\nBackground question: {question}\n{facts}",
}

function way.step_back(x, options)
  local what = "way.step_back"
  options = shared.options(what, options, "facts")
  local prompts = shared.prompts(what, options, back)
  local roles = { agent = shared.step(what, x, "agent"), asker = shared.thinker(what, x, "asker") }
  roles.facts = shared.step(what, options.facts == nil and x or options.facts, "facts")
  return shared.new("step_back", options, roles, function(s, input, ctx, env)
    input = text_of(input)
    local question, err = shared.say(s.asker, fill(prompts.question, { input = input }), ctx, env)
    if err ~= nil then return nil, err end
    local facts
    facts, err = shared.say(s.facts, question, ctx, env)
    if err ~= nil then return nil, err end
    local answer
    answer, err = shared.ask(s.agent, fill(prompts.answer, { input = input, question = question, facts = facts }), ctx, env)
    if err ~= nil then return nil, err end
    return options.keep and { answer = answer, question = question, facts = facts } or answer
  end)
end
