-- SPDX-License-Identifier: MIT
-- Tree of thoughts and reflexion.
local moon = require "moonlet"
local kit = require "kit"
local way, agent = moon.way, kit.agent

-- ---- the Game of 24, as in the paper: 4 9 10 13 → (13 - 9) * (10 - 4) ----

local function numbers_of(thoughts, input)
  local last = thoughts[#thoughts] or "(left: " .. input .. ")"
  local list = {}
  for n in last:match("left: ([^)]*)"):gmatch "%-?%d+" do list[#list + 1] = tonumber(n) end
  return list
end

-- All that can be done with two of the numbers, in a fixed order: bad ways among them.
local function propose(state)
  local list, out = numbers_of(state.thoughts, state.input), {}
  for i = 1, #list do
    for j = 1, #list do
      if i ~= j then
        local rest = {}
        for k = 1, #list do if k ~= i and k ~= j then rest[#rest + 1] = list[k] end end
        for _, op in ipairs { "-", "*", "+" } do
          local n = op == "-" and list[i] - list[j] or op == "*" and list[i] * list[j] or list[i] + list[j]
          if op == "-" and n > 0 or op ~= "-" and i < j then
            local left = table.move(rest, 1, #rest, 1, {})
            left[#left + 1] = n
            table.sort(left)
            out[#out + 1] = ("%d %s %d = %d (left: %s)"):format(list[i], op, list[j], n, table.concat(left, " "))
          end
        end
      end
    end
  end
  return out
end

local function reaches(list)
  if #list == 1 then return list[1] == 24 end
  for _, thought in ipairs(propose { thoughts = { "(left: " .. table.concat(list, " ") .. ")" }, input = "" }) do
    if reaches(numbers_of({ thought }, "")) then return true end
  end
  return false
end

local function judge(state)
  return reaches(numbers_of(state.thoughts, state.input)) and "It can.\nsure" or "It cannot.\nimpossible"
end

local cases = {
  { "tree of thoughts: the Game of 24", function()
    local a = agent(function(prompt) return prompt:match "3%. .-left: (%d+)%)" end)
    local chain = way.tree_of_thoughts(a, { propose = propose, score = judge, beam = 5, branch = 50, depth = 3, samples = 3, calls = 800, keep = true })
    local out = kit.good(chain:run "4 9 10 13")
    kit.equal(out.answer, "24")
    kit.equal(#out.thoughts, 3)
    kit.equal(out.score, 60)
    if out.calls > 800 or out.calls < 100 then error("calls: " .. out.calls) end
  end },
  { "tree of thoughts: prompts, calls and their order", function()
    local a, m = agent(function(prompt, request)
      if request.agent == "a.propose" then return prompt:find "Steps so far" and "1. c\n2. d\n3. e" or "1. a\n2. b\n3. b" end
      if request.agent == "a.score" then
        local last = prompt:match ".*%d%. ([^\n]+)"
        return ({ a = "likely", b = "sure", c = "impossible", d = "sure" })[last] or "Score: 3.5"
      end
      return "the end"
    end)
    local out = kit.good(way.tree_of_thoughts(a, { beam = 1, branch = 3, depth = 2, limit = 1, keep = true }):run "q")
    kit.equal(out, { answer = "the end", thoughts = { "b", "d" }, score = 20, calls = 8 })
    kit.equal(m.agents, { "a.propose", "a.score", "a.score", "a.propose", "a.score", "a.score", "a.score", "a.answer" })
    kit.has(m.asked[1], "q\n\nWrite up to 3 different next steps")
    kit.has(m.asked[2], "q\n\nSteps so far:\n1. a\n\nJudge whether")
    kit.has(m.asked[8], "Steps so far:\n1. b\n2. d\n\nGive the answer")
  end },
  { "tree of thoughts: what a judge says", function()
    local rows = {
      { "a word", "I am sure it is impossible", 0.001 }, { "the last word counts", "not impossible: sure.", 20 }, { "in capitals", "LIKELY", 1 },
      { "a number", "7", 7 }, { "a number in a sentence", "I give it 8.5.", 8.5 }, { "a table", { score = 3 }, 3 }, { "a value", 4, 4 }, { "nothing that counts", "who knows", 0 },
    }
    for _, row in ipairs(rows) do
      local chain = way.tree_of_thoughts(function() return "t" end, { depth = 1, score = function() return row[2] end, answer = false, keep = true })
      kit.equal(kit.good(chain:run "q").score, row[3], row[1])
    end
  end },
  { "tree of thoughts: equal scores keep their order, stop ends it", function()
    local asked = 0
    local chain = way.tree_of_thoughts(function() end, { depth = 9, beam = 2, answer = false, keep = true,
      propose = function(s) asked = asked + 1 return { #s.thoughts .. "x", #s.thoughts .. "y" } end, score = function() return 1 end,
      stop = function(thoughts) return #thoughts == 3 end })
    kit.equal(kit.good(chain:run "q").thoughts, { "0x", "1x", "2x" })
    kit.equal(asked, 5)
  end },
  { "tree of thoughts: dead ends", function()
    local function tree(f) return way.tree_of_thoughts(f, { score = function() return 1 end, answer = false }) end
    kit.bad("no thought was proposed", tree(function() return {} end):run "q")
    kit.equal(kit.good(tree(function(s) return #s.thoughts == 0 and { "a", "b" } or {} end):run "q"), "a")
  end },
  { "tree of thoughts: never more calls than allowed", function()
    local n = 0
    local function counted(f) return function(s) n = n + 1 return f(s) end end
    local o = { propose = counted(function() return { "a", "b" } end), score = counted(function() return 1 end), answer = false, calls = 8, depth = 5, beam = 2 }
    local err = kit.bad("8 calls are not enough (calls)", way.tree_of_thoughts(print, o):run "q")
    kit.equal({ n, err.stop }, { 5, "limit_steps" })
    n, o.at_max, o.keep = 0, "last", true
    kit.equal(kit.good(way.tree_of_thoughts(print, o):run "q").thoughts, { "a" })
    o.calls = 1
    kit.bad("1 calls are not enough", way.tree_of_thoughts(print, o):run "q")
  end },
  { "tree of thoughts: a judge that fails ends it, with its place", function()
    kit.bad("score[1]: broken", way.tree_of_thoughts(function() return "t" end, { score = function() return nil, "broken" end }):run "q")
    kit.raises("depth must be a number", function() way.tree_of_thoughts(print, { depth = 0 }) end)
    kit.raises("stop must be a function", function() way.tree_of_thoughts(print, { stop = 1 }) end)
    kit.raises('at_max must be "error" or "last"', function() way.tree_of_thoughts(print, { at_max = "first" }) end)
  end },
  { "reflexion: what was learned is in the next prompt, and it passes", function()
    local a, m = agent { "wrong", "I forgot the sign.", "right" }
    local trials = {}
    local out = kit.good(way.reflexion(a, { keep = true, check = function(answer, _, trial)
      trials[#trials + 1] = trial
      return answer == "right", "the sign is missing"
    end }):run "solve it")
    kit.equal(out, { answer = "right", ok = true, trials = 2 })
    kit.equal(trials, { 1, 2 })
    kit.equal(m.agents, { "a", "a.reflect", "a" })
    kit.equal(m.asked[1], "solve it")
    kit.has(m.asked[2], "This answer was given:\nwrong\n\nIt was not right: the sign is missing")
    kit.equal(m.asked[3], "solve it\n\nYou have tried this before. What you learned:\n- I forgot the sign.")
  end },
  { "reflexion: the window slides, the trials end", function()
    local a, m = agent(function(_, r) return r.agent == "a" and "t" or "lesson " .. (r.messages[#r.messages].content and "x") end)
    local n = 0
    local reflect = function() n = n + 1 return "lesson " .. n end
    local err = kit.bad("not right after 5 trials: it did not pass.", way.reflexion(a, { check = function() end, reflect = reflect, trials = 5, window = 2 }):run "q")
    kit.equal(err.stop, "failed")
    kit.has(m.asked[5], "- lesson 3\n- lesson 4")
    kit.lacks(m.asked[5], "lesson 2")
    kit.equal({ #m.asked, n }, { 5, 4 })
    kit.equal(kit.good(way.reflexion(a, { check = function() end, trials = 1, at_max = "last" }):run "q"), "t")
  end },
  { "reflexion: a judge", function()
    local rows = {
      { "yes", "Yes, it is.", true }, { "bold", "**YES**", true }, { "no and why", "No: it is too short.", false, "it is too short." },
      { "a table", { ok = true }, true }, { "a table with why", { ok = false, why = "short" }, false, "short" },
    }
    for _, row in ipairs(rows) do
      local a, m = agent { "t" }
      local chain = way.reflexion(a, { check = moon.fn("judge", function() return row[2] end), trials = 1 })
      if row[3] then
        kit.equal(kit.good(chain:run "q"), "t", row[1])
      else
        kit.bad(row[4], chain:run "q")
      end
    end
    kit.bad("the judge says neither yes nor no: perhaps", way.reflexion((agent { "t" }), { check = moon.fn("j", function() return "perhaps" end) }):run "q")
    kit.bad("check[1]: broken", way.reflexion((agent { "t" }), { check = moon.fn("j", function() return nil, "broken" end) }):run "q")
    kit.raises("needs check", function() way.reflexion((agent {})) end)
  end },
}

return kit.cases(cases)
