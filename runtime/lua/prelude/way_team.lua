-- SPDX-License-Identifier: MIT
-- Ways of several agents: a supervisor with workers, and a debate.
local host, moon = ...
local type, pairs, ipairs, tostring, format, concat, next = type, pairs, ipairs, tostring, string.format, table.concat, next
local way, shared, raise = moon.way, host.way, host.raise
local trim, text_of, fill = shared.trim, shared.text, shared.fill
host.need "runnable"

-- ---- supervisor and workers ----
-- An agent that gives work to others, which are its tools, and puts together what they bring: as in Wu et al., 2023, AutoGen: Enabling Next-Gen LLM
-- Applications via Multi-Agent Conversation, arXiv:2308.08155. Gives an agent: the copy of x with its tools and the workers.
-- workers: names to steps, or to { step, "what it is good for" }.
function way.supervisor(x, options)
  local what = "way.supervisor"
  host.check_fields(what, options or {}, { workers = true })
  local kind, _, definition = host.what(x)
  if kind ~= "agent" then raise(what .. ": the supervisor must be an agent, for it calls tools") end
  if not options or type(options.workers) ~= "table" or next(options.workers) == nil then raise(what .. " needs workers: names to agents") end
  local tools = {}
  for i, tool in ipairs(definition.tools or {}) do tools[i] = tool end
  for name, worker in pairs(options.workers) do
    if type(name) ~= "string" then raise(what .. ": workers have names: { reader = agent }") end
    local description
    if type(worker) == "table" then worker, description = worker[1], worker[2] end
    local step = host.apart(shared.step(what, worker, "workers." .. name))
    tools[#tools + 1] = step.handle:as_tool { name = name, description = description }
  end
  return x:with { tools = tools }
end

-- ---- debate ----
-- Several answer, read each other's answers, and answer again; a judge decides: Du et al., 2023, Improving Factuality and Reasoning in Language
-- Models through Multiagent Debate, arXiv:2305.14325; Liang et al., 2023, with a judge, arXiv:2305.19118. It ends early when all say the same.
-- At most n × rounds + 1 calls.

local debate = {
  again = "{input}\n\nYour answer was:\n{own}\n\nThe others say:\n{others}\n\nLook at what they say as at advice: take what is right, answer what is wrong. " ..
    "Then give your answer again, as it is now.",
  judge = "{input}\n\nThese answers were given:\n{answers}\n\nDecide. Give the answer that is right, and say in short why.",
}

local function attributed(names, answers, without)
  local parts = {}
  for i, name in ipairs(names) do
    if i ~= without then parts[#parts + 1] = format("[%s] %s", name, trim(text_of(answers[i]))) end
  end
  return concat(parts, "\n\n")
end

local function agreed(answers)
  for i = 2, #answers do
    if host.same_key(answers[i]) ~= host.same_key(answers[1]) then return false end
  end
  return true
end

function way.debate(debaters, options)
  local what = "way.debate"
  options = shared.options(what, options, "judge rounds")
  local prompts, rounds = shared.prompts(what, options, debate), shared.whole(what, options, "rounds", 2)
  if type(debaters) ~= "table" then raise(what .. " takes the debaters: a list of agents, or names to agents") end
  if options.judge == nil then raise(what .. " needs judge: who decides") end
  local names, roles = {}, { judge = shared.step(what, options.judge, "judge") }
  for name, x in pairs(debaters) do
    names[#names + 1] = tostring(name)
    roles["debater." .. tostring(name)] = host.apart(shared.step(what, x, "debater." .. tostring(name)))
  end
  if #names < 2 then raise(what .. ": a debate takes two or more") end
  return shared.new("debate", options, roles, function(s, input, ctx, env)
    local question, answers, err = text_of(input), nil, nil
    for round = 1, rounds do
      local before = answers
      answers, err = host.gather_all(what, #names, function(i)
        local step = s["debater." .. names[i]]
        if not before then return step, input end
        return step, fill(prompts.again, { input = question, own = trim(text_of(before[i])), others = attributed(names, before, i) })
      end, { ctx = ctx, state = env.state, label = function(i) return format("%s[%d]", names[i], round) end })
      if not answers then return nil, err end
      if agreed(answers) then break end
    end
    local verdict
    verdict, err = shared.ask(s.judge, fill(prompts.judge, { input = question, answers = attributed(names, answers) }), ctx, env)
    if err ~= nil then return nil, err end
    return options.keep and { answer = verdict, answers = moon.json.array(answers) } or verdict
  end)
end
