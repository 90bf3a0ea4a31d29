-- SPDX-License-Identifier: MIT
-- What the tests in Lua share: scripted models that remember what they were asked, and cases, each in a run of its own.
--
--     local kit = require "kit"
--     return kit.cases { { "it says what it was asked", function() … end } }
--
-- `moonlet run test_x.lua` gives { passed = n, failed = { "name: why" } }.
local moon = require "moonlet"
local kit = {}

-- answers: in their order, each a text, a table as models give it, or a function(prompt, request) that gives one; or one function for all.
-- asked and agents tell what was asked, and by whom.
function kit.model(answers)
  local m = { asked = {}, agents = {} }
  m.model = moon.model.script(function(request)
    local prompt = request.messages[#request.messages].content
    m.asked[#m.asked + 1], m.agents[#m.agents + 1] = prompt, request.agent
    local answer = answers
    if type(answers) == "table" then answer = answers[#m.asked] end
    if type(answer) == "function" then answer = answer(prompt, request) end
    if answer == nil then return nil, "the scripted model has no answer " .. #m.asked .. ", to: " .. prompt end
    return answer
  end)
  return m
end

-- An agent with such a model, and the model. fields: of the agent.
function kit.agent(answers, fields)
  local m, spec = kit.model(answers), { name = "a", tools = {}, retries = 0 }
  for key, value in pairs(fields or {}) do spec[key] = value end
  spec.model = m.model
  return moon.agent(spec), m
end

local function shown(value)
  return type(value) == "table" and moon.json.encode(value) or tostring(value)
end

function kit.equal(got, want, what)
  got, want = shown(got), shown(want)
  if got ~= want then error((what or "value") .. ": got\n" .. got .. "\nwanted\n" .. want, 2) end
end

function kit.has(text, part, what)
  if not shown(text):find(part, 1, true) then error((what or "text") .. ": \"" .. part .. "\" is not in\n" .. shown(text), 2) end
end

function kit.lacks(text, part, what)
  if shown(text):find(part, 1, true) then error((what or "text") .. ": \"" .. part .. "\" is in\n" .. shown(text), 2) end
end

-- The value of a run that has to succeed; the error of one that has to fail.
function kit.good(value, err)
  if err ~= nil then error("it failed: " .. tostring(err), 2) end
  return value
end

function kit.bad(part, value, err)
  if err == nil then error("it did not fail: " .. shown(value), 2) end
  if not tostring(err):find(part, 1, true) then error("\"" .. part .. "\" is not in the error: " .. tostring(err), 2) end
  return err
end

-- What f raises.
function kit.raises(part, f)
  local ok, err = pcall(f)
  if ok then error("it does not raise", 2) end
  if not tostring(err):find(part, 1, true) then error("\"" .. part .. "\" is not in: " .. tostring(err), 2) end
end

function kit.cases(list)
  local cases = {}
  for i, case in ipairs(list) do
    cases[i] = moon.fn(case[1], function(_, ctx)
      case[2](ctx)
      return "passed"
    end)
  end
  return function()
    local passed, failed = 0, moon.json.array {}
    for _, case in ipairs(cases) do
      local _, err = case:run ""
      if err == nil then passed = passed + 1 else failed[#failed + 1] = case.name .. ": " .. tostring(err) end
    end
    return { passed = passed, failed = failed }
  end
end

return kit
