-- SPDX-License-Identifier: MIT
-- Ways that search: tree of thoughts, and reflexion.
local host, moon = ...
local type, pairs, ipairs, tonumber, setmetatable, min = type, pairs, ipairs, tonumber, setmetatable, math.min
local sort, move, remove, format, concat = table.sort, table.move, table.remove, string.format, table.concat
local way, shared, raise = moon.way, host.way, host.raise
local text_of, fill = shared.text, shared.fill

-- ---- tree of thoughts ----
-- Several next thoughts for each of the best ways so far, judged, and the best kept; depth by depth: Yao et al., 2023, Tree of Thoughts: Deliberate
-- Problem Solving with Large Language Models, arXiv:2305.10601 (breadth first). At most (depth - 1) × beam × (1 + branch × samples)
-- + 1 + branch × samples + 1 calls, and never more than `calls`.

local tree = {
  propose = "{input}\n\n{thoughts}Write up to {branch} different next steps, one in each line as a numbered list. Each is one step, not the whole way.",
  score = "{input}\n\n{thoughts}Judge whether this can lead to the answer. End with one word in a line of its own: sure, likely or impossible.",
  answer = "{input}\n\n{thoughts}Give the answer that follows, alone.",
}

local worth = { sure = 20, likely = 1, maybe = 1, impossible = 0.001 } -- the paper's

-- The number that a judge gave, or that its last word stands for; nil if there is neither.
local function score_of(value)
  if type(value) == "table" then value = value.score end
  if type(value) == "number" then return value end
  local found
  for word in text_of(value):gsub("(%d) ?/ ?%d+", "%1"):gmatch("[%w.+-]+") do -- "7/10" is a seven
    word = word:gsub("%.$", "")
    found = worth[word:lower()] or tonumber(word) or found
  end
  return found
end

local function thoughts_text(thoughts)
  return #thoughts == 0 and "" or "Steps so far:\n" .. shared.numbered(thoughts) .. "\n\n"
end

-- A function gets { input, thoughts }; what is asked in words gets the prompt.
local function request(step, prompt, input, thoughts, values)
  if step.node.kind == "function" then return { input = input, thoughts = thoughts } end
  values.input, values.thoughts = text_of(input), thoughts_text(thoughts)
  return fill(prompt, values)
end

local Search = {}
Search.__index = Search

-- Many questions to one step, side by side; nil and nil when they would be more calls than are left.
function Search:ask_all(role, n, thoughts_of)
  if self.calls + n > self.o.calls then return nil, nil end
  self.calls = self.calls + n
  local step = self.steps[role]
  return host.gather_all(self.what, n, function(i)
    return step, request(step, self.prompts[role], self.input, thoughts_of(i), { branch = self.o.branch })
  end, { limit = self.o.limit, ctx = self.ctx, state = self.env.state, label = function(i) return format("%s[%d]", role, i) end })
end

-- The next thoughts of all the ways in the beam, each way once.
function Search:expand(beam)
  local lists, err = self:ask_all("propose", #beam, function(i) return beam[i].thoughts end)
  if not lists then return nil, err end
  local found, seen = {}, {}
  for i, from in ipairs(beam) do
    local items = lists[i] == moon.json.null and {} or shared.items(lists[i])
    for k = 1, min(#items, self.o.branch) do
      local thoughts = move(from.thoughts, 1, #from.thoughts, 1, {})
      thoughts[#thoughts + 1] = items[k]
      local key = concat(thoughts, "\n")
      if not seen[key] then
        seen[key] = true
        found[#found + 1] = { thoughts = thoughts, at = #found, score = 0 }
      end
    end
  end
  return found
end

-- Adds up what the judges say. What cannot be understood counts for nothing, and is logged.
function Search:judge(found)
  local samples = self.o.samples
  local values, err = self:ask_all("score", #found * samples, function(i) return found[(i - 1) // samples + 1].thoughts end)
  if not values then return nil, err end
  for i, value in ipairs(values) do
    local one, score = found[(i - 1) // samples + 1], score_of(value)
    if not score then moon.log.warn("%s: no score in: %s", self.what, shared.cut(text_of(value), 200)) end
    one.score = one.score + (score or 0)
  end
  sort(found, function(a, b)
    if a.score ~= b.score then return a.score > b.score end
    return a.at < b.at
  end)
  return found
end

-- The best way; or the best so far and that the calls have run out; or nil and an error.
function Search:run()
  local beam = { { thoughts = {}, score = 0 } }
  for depth = 1, self.o.depth do
    local found, err = self:expand(beam)
    if err then return nil, err end
    if found and #found > 0 then found, err = self:judge(found) end
    if err then return nil, err end
    if not found then return beam[1], true end
    if #found == 0 then
      if depth == 1 then return nil, host.error(self.what .. ": no thought was proposed", "failed") end
      return beam[1]
    end
    beam = move(found, 1, min(#found, self.o.beam), 1, {})
    if self.o.stop then
      for _, one in ipairs(beam) do
        if self.o.stop(one.thoughts, self.ctx) then return one end
      end
    end
  end
  return beam[1]
end

function way.tree_of_thoughts(x, options)
  local what = "way.tree_of_thoughts"
  options = shared.options(what, options, "propose score answer depth beam branch samples calls limit stop at_max")
  local prompts, last = shared.prompts(what, options, tree), shared.takes_last(what, options)
  if options.stop ~= nil and type(options.stop) ~= "function" then raise(what .. ": stop must be a function(thoughts, ctx)") end
  local o = { stop = options.stop, limit = shared.whole(what, options, "limit", 8) }
  for name, default in pairs { depth = 3, beam = 5, branch = 5, samples = 1, calls = 200 } do o[name] = shared.whole(what, options, name, default) end
  local roles = {
    propose = host.apart(shared.thinker(what, x, "propose", options.propose)),
    score = host.apart(shared.thinker(what, x, "score", options.score)),
  }
  if options.answer ~= false then roles.answer = shared.thinker(what, x, "answer", options.answer) end
  return shared.new("tree_of_thoughts", options, roles, function(s, input, ctx, env)
    local search = setmetatable({ what = what, steps = s, input = input, prompts = prompts, o = o, calls = s.answer and 1 or 0, ctx = ctx, env = env }, Search)
    local best, short = search:run()
    if not best then return nil, short end
    if short and (not last or #best.thoughts == 0) then
      return nil, host.error(format("%s: %d calls are not enough (calls)", what, o.calls), "limit_steps")
    end
    local answer, err = best.thoughts[#best.thoughts], nil
    if s.answer then
      answer, err = shared.ask(s.answer, request(s.answer, prompts.answer, input, best.thoughts, {}), ctx, env)
      if err ~= nil then return nil, err end
    end
    if not options.keep then return answer end
    return { answer = answer, thoughts = best.thoughts, score = best.score, calls = search.calls }
  end)
end

-- ---- reflexion ----
-- Try, check, say in words what went wrong, try again with that in mind: Shinn et al., 2023, Reflexion: Language Agents with Verbal
-- Reinforcement Learning, arXiv:2303.11366. `check` is a function(answer, ctx, trial) → true, or false and why (a test that is run, best of all);
-- or a judge. At most 2 trials - 1 calls, and one more for each judgement.

local reflexion = {
  again = "{input}\n\nYou have tried this before. What you learned:\n{reflections}",
  reflect = "{input}\n\nThis answer was given:\n{answer}\n\nIt was not right: {why}\n\nSay in a few sentences what went wrong, and what to do otherwise " ..
    "next time. Do not give another answer.",
  judge = "{input}\n\nThis answer was given:\n{answer}\n\nIs it right? Begin with yes or no, then say why.",
}

-- What a judge says: whether, and why not. nil if it says neither.
local function verdict_of(value)
  if type(value) == "table" then return value.ok == true, value.why and text_of(value.why) or "" end
  local text = text_of(value)
  local word = (text:match("%a+") or ""):lower()
  if word == "yes" then return true end
  if word == "no" then return false, shared.trim((text:gsub("^%A*%a+[%p%s]*", "", 1))) end
  return nil
end

function way.reflexion(x, options)
  local what = "way.reflexion"
  options = shared.options(what, options, "check reflect trials window at_max")
  local prompts, last = shared.prompts(what, options, reflexion), shared.takes_last(what, options)
  local trials, window = shared.whole(what, options, "trials", 3), shared.whole(what, options, "window", 3)
  if options.check == nil then raise(what .. " needs check: a function(answer, ctx, trial) → true, or false and why; or an agent that judges") end
  local roles = { agent = shared.step(what, x, "agent"), reflect = shared.thinker(what, x, "reflect", options.reflect) }
  local test = type(options.check) == "function" and options.check
  if not test then roles.check = shared.step(what, options.check, "check") end

  local function judge(s, values, answer, trial, ctx, env)
    if test then return test(answer, ctx, trial) end
    local value, err = shared.ask(s.check, fill(prompts.judge, values), ctx, env, format("check[%d]", trial))
    if err ~= nil then return nil, nil, err end
    local ok, why = verdict_of(value)
    if ok == nil then err = host.error(format("%s: the judge says neither yes nor no: %s", what, shared.cut(text_of(value), 200)), "failed") end
    return ok, why, err
  end

  return shared.new("reflexion", options, roles, function(s, input, ctx, env)
    local values, memory = { input = text_of(input) }, {}
    for trial = 1, trials do
      values.reflections = concat(memory, "\n")
      local answer, err = shared.ask(s.agent, trial == 1 and input or fill(prompts.again, values), ctx, env, format("trial[%d]", trial))
      if err ~= nil then return nil, err end
      values.answer = text_of(answer)
      local ok, why
      ok, why, err = judge(s, values, answer, trial, ctx, env)
      if err ~= nil then return nil, err end
      if ok or trial == trials and last then return options.keep and { answer = answer, trials = trial, ok = ok and true or false } or answer end
      values.why = why ~= nil and why ~= "" and text_of(type(why) == "table" and why.message or why) or "it did not pass."
      if trial == trials then
        return nil, host.error(format("%s: not right after %d trial%s: %s", what, trials, trials == 1 and "" or "s", values.why), "failed")
      end
      local reflection
      reflection, err = shared.say(s.reflect, fill(prompts.reflect, values), ctx, env, format("reflect[%d]", trial))
      if err ~= nil then return nil, err end
      memory[#memory + 1] = format("- %s", reflection)
      if #memory > window then remove(memory, 1) end
    end
  end)
end
