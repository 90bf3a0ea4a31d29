-- SPDX-License-Identifier: MIT
-- Ways that take a task apart: least-to-most, self-ask, plan-and-execute.
local host, moon = ...
local ipairs, concat, move, format = ipairs, table.concat, table.move, string.format
local way, shared = moon.way, host.way
local text_of, fill, trim = shared.text, shared.fill, shared.trim

local function too_many(what, name, n, max)
  return host.error(format("%s: there are %d %s, and max is %d", what, n, name, max), "failed")
end

-- ---- least-to-most ----
-- Simpler problems first, each with the answers of those before it: Zhou et al., 2022, Least-to-Most Prompting Enables Complex Reasoning in
-- Large Language Models, arXiv:2205.10625. n + 2 calls for n subproblems.

local least = {
  split = "{input}\n\nWhich simpler problems have to be solved before this one? Write them as a numbered list, at most {max}, the simplest first, " ..
    "so that each can be solved with the answers of those before it. Do not solve them.",
  solve = "{input}\n\n{solved}Q: {question}\nA:",
}

function way.least_to_most(x, options)
  local what = "way.least_to_most"
  options = shared.options(what, options, "split max")
  local prompts, max = shared.prompts(what, options, least), shared.whole(what, options, "max", 8)
  local roles = { agent = shared.step(what, x, "agent"), split = shared.thinker(what, x, "split", options.split) }
  return shared.new("least_to_most", options, roles, function(s, input, ctx, env)
    input = text_of(input)
    local list, err = shared.ask(s.split, fill(prompts.split, { input = input, max = max }), ctx, env)
    if err ~= nil then return nil, err end
    list = shared.items(list)
    if #list > max then return nil, too_many(what, "subproblems", #list, max) end
    if list[#list] ~= trim(input) then list[#list + 1] = input end
    local solved, steps, answer = {}, {}, nil
    for i, question in ipairs(list) do
      answer, err = shared.ask(s.agent, fill(prompts.solve, { input = input, question = question, solved = concat(solved) }), ctx, env,
        format("solve[%d]", i))
      if err ~= nil then return nil, err end
      solved[i] = format("Q: %s\nA: %s\n\n", question, trim(text_of(answer)))
      steps[i] = { question = question, answer = answer }
    end
    return options.keep and { answer = answer, steps = steps } or answer
  end)
end

-- ---- self-ask ----
-- Follow-up questions, one at a time, each answered before the next is asked: Press et al., 2022, Measuring and Narrowing the Compositionality
-- Gap in Language Models, arXiv:2210.03350. `search` answers them (default: the agent itself). At most 2 max + 2 calls.

local ask = {
  ask = "Question: {input}\n\nAnswer it by asking yourself follow-up questions, one at a time. If there is one left to ask, write one line \"Follow up: \" " ..
    "with the question and stop there; you are then given its answer as \"Intermediate answer:\". When none is left, write one line " ..
    "\"So the final answer is: \" with the answer.\n\n{log}",
  begin = "Are follow-up questions needed here:",
  final = "So the final answer is:",
}

-- What a text says next: "ask" and a question, or "answer" and the final one. Intermediate answers that it made up are cut off.
local function next_of(text)
  for line in shared.lines(text) do
    if shared.after(line, "Intermediate answer") then break end
    local question = shared.after(line, "Follow up") or shared.after(line, "Follow-up")
    if question and question ~= "" then return "ask", question end
    if shared.after(line, "So the final answer is") then break end
  end
  return "answer", shared.marked(text, "So the final answer is") or text
end

function way.self_ask(x, options)
  local what = "way.self_ask"
  options = shared.options(what, options, "search max")
  local prompts, max = shared.prompts(what, options, ask), shared.whole(what, options, "max", 5)
  local roles = { agent = shared.step(what, x, "agent"), search = shared.step(what, options.search == nil and x or options.search, "search") }
  return shared.new("self_ask", options, roles, function(s, input, ctx, env)
    local values, log, steps = { input = text_of(input) }, {}, {}
    for i = 1, max + 1 do
      values.log = concat(log) .. (i > max and prompts.final or i == 1 and prompts.begin or "")
      local text, err = shared.say(s.agent, fill(prompts.ask, values), ctx, env, format("ask[%d]", i))
      if err ~= nil then return nil, err end
      local kind, said = next_of(text)
      if kind == "answer" then return options.keep and { answer = said, steps = steps } or said end
      if i > max then return nil, host.error(format("%s: there is no answer after %d follow-up questions (max)", what, max), "limit_steps") end
      local answer
      answer, err = shared.say(s.search, said, ctx, env, format("search[%d]", i))
      if err ~= nil then return nil, err end
      log[#log + 1] = format("Follow up: %s\nIntermediate answer: %s\n", said, answer)
      steps[#steps + 1] = { question = said, answer = answer }
    end
  end)
end

-- ---- plan-and-execute ----
-- A plan first, then its steps one by one: Wang et al., 2023, Plan-and-Solve Prompting, arXiv:2305.04091. With `replan`, what is left of the
-- plan is made anew after each step. n + 2 calls for n steps, 2n + 2 with replan.

local plans = {
  plan = "{input}\n\nMake a plan for this: a numbered list of at most {max} steps, each of which can be carried out by itself once those before " ..
    "it are done. Write the list alone. Do not carry it out.",
  execute = "The task: {input}\n\nThe plan:\n{plan}\n\n{done}Carry out step {number} now, and no other: {step}",
  replan = "The task: {input}\n\n{done}These steps were left:\n{plan}\n\nWrite down what is left to do now, as a numbered list of at most {max} steps. " ..
    "If nothing is, write DONE alone.",
  answer = "The task: {input}\n\n{done}All steps are done. Give the result of the task.",
}

local function done_text(done)
  if #done == 0 then return "" end
  local parts = { "What was done:" }
  for i, step in ipairs(done) do parts[#parts + 1] = format("%d. %s\nResult: %s", i, step.step, trim(text_of(step.result))) end
  return concat(parts, "\n") .. "\n\n"
end

function way.plan_and_execute(x, options)
  local what = "way.plan_and_execute"
  options = shared.options(what, options, "planner answer replan max")
  local prompts, max = shared.prompts(what, options, plans), shared.whole(what, options, "max", 10)
  local roles = { agent = shared.step(what, x, "agent"), planner = shared.thinker(what, x, "planner", options.planner) }
  if options.answer ~= nil then roles.answer = shared.step(what, options.answer, "answer") end

  -- The list with what is left after step number made anew.
  local function plan_again(s, values, list, number, ctx, env)
    values.plan, values.max = shared.numbered(move(list, number + 1, #list, 1, {})), max - number
    local value, err = shared.ask(s.planner, fill(prompts.replan, values), ctx, env, format("replan[%d]", number))
    if err ~= nil then return nil, err end
    local left = trim(text_of(value)):find("^[*_`]*DONE%f[^%w]") and {} or shared.items(value)
    return move(left, 1, #left, number + 1, move(list, 1, number, 1, {}))
  end

  return shared.new("plan_and_execute", options, roles, function(s, input, ctx, env)
    local values, done = { input = text_of(input), max = max, done = "" }, {}
    local list, err = shared.ask(s.planner, fill(prompts.plan, values), ctx, env)
    if err ~= nil then return nil, err end
    list = shared.items(list)
    if #list == 0 then return nil, host.error(what .. ": the plan has no steps", "failed") end
    while #done < #list do
      local number = #done + 1
      if #list > max then return nil, too_many(what, "steps", #list, max) end
      values.plan, values.number, values.step = shared.numbered(list), number, list[number]
      local result
      result, err = shared.ask(s.agent, fill(prompts.execute, values), ctx, env, format("step[%d]", number))
      if err ~= nil then return nil, err end
      done[number] = { step = list[number], result = result }
      values.done = done_text(done)
      if options.replan and #list > number then
        list, err = plan_again(s, values, list, number, ctx, env)
        if err ~= nil then return nil, err end
      end
    end
    local answer
    answer, err = shared.ask(s.answer or s.planner, fill(prompts.answer, values), ctx, env, "answer")
    if err ~= nil then return nil, err end
    return options.keep and { answer = answer, steps = done } or answer
  end)
end
