-- SPDX-License-Identifier: MIT
-- Scripted models and runs under test. Returns { model, run, tool, files, git, left }; failures go to host.fail (which raises) and
-- host.note (which only records: what happens in a model or a tool must not be swallowed by the agent).
local shared, moon = ...
local host, text = shared.test, shared.need "test_text"
local type, pairs, ipairs, tostring, pcall, setmetatable = type, pairs, ipairs, tostring, pcall, setmetatable
local format, sub, match = string.format, string.sub, string.match
local concat, pack, unpack = table.concat, table.pack, table.unpack
local json = moon.json
local runs = {}

local models, requests = {}, {} -- of the test: its scripted models; and what they were asked, in order

-- ---- scripted models ----

-- Runs a function of the test on behalf of an agent. What goes wrong in it is the test's failure, and the agent's error.
local function guarded(what, f, ...)
  local got = pack(pcall(f, ...))
  if got[1] then return unpack(got, 2, got.n) end
  return nil, host.note(got[2], what)
end

local function check_answers(answers)
  if type(answers) == "function" then return end
  if type(answers) ~= "table" then host.misuse("t.model takes a list of answers, or a function, not a " .. type(answers)) end
  for i, answer in ipairs(answers) do
    local kind = type(answer)
    if kind ~= "string" and kind ~= "table" and kind ~= "function" then
      host.misuse(format("t.model: answer %d is a %s; it is a text, a table such as t.call(\"file.read\", { path = \"x\" }), or a function", i, kind))
    end
  end
  if #answers == 0 then host.misuse("t.model: a list of at least one answer") end
end

local function log(request)
  local seen = { agent = request.agent, step = request.step, output = request.output, messages = {}, tools = {} }
  for i, message in ipairs(request.messages) do seen.messages[i] = message end
  for i, tool in ipairs(request.tools) do seen.tools[i] = tool.name end
  requests[#requests + 1] = seen
end

local function next_answer(model, request)
  if type(model.answers) == "function" then return model.answers end
  model.used = model.used + 1
  local answer = model.answers[model.used]
  if answer ~= nil then return answer end
  return nil, host.note(format('the model at %s has %d answer%s, and agent "%s" asks for one more (in its step %d)', model.where,
    #model.answers, #model.answers == 1 and "" or "s", request.agent, request.step))
end

function runs.model(answers)
  check_answers(answers)
  local model = { answers = answers, used = 0, where = host.where() }
  models[#models + 1] = model
  return moon.model.script(function(request)
    log(request)
    local answer, why = next_answer(model, request)
    if type(answer) == "function" then answer, why = guarded("the model at " .. model.where, answer, request) end
    if type(answer) == "table" and answer.error then return nil, tostring(answer.error) end
    return answer, why
  end)
end

-- The scripted answers that nobody asked for.
function runs.left()
  local left = {}
  for _, model in ipairs(models) do
    if type(model.answers) == "table" and model.used < #model.answers then
      local n = #model.answers - model.used
      left[#left + 1] = { where = model.where, message = format("%d of the model's %d answers %s not asked for; the first is %s", n, #model.answers,
        n == 1 and "was" or "were", text.show(model.answers[model.used + 1], "  ")) }
    end
  end
  return left
end

-- ---- the workspace ----

function runs.files(files)
  for path, content in pairs(files) do
    if type(content) ~= "string" then host.misuse(format('files: the content of "%s" is a %s, not a string', tostring(path), type(content))) end
    host.write(path, content)
  end
end

local function wait_for(id, attend)
  while true do
    local news, ended = host.await(id)
    if ended then return ended end
    for _, event in ipairs(news) do attend(event) end
  end
end

-- Calls a tool itself: what it returns, or nil and why not.
function runs.tool(name, arguments)
  local ended = wait_for(host.prepare { tool = name, input = json.encode(arguments or {}), yes = true }, function() end)
  if ended.unloaded then host.misuse("t.tool: " .. ended.unloaded) end
  if ended.stop ~= "done" then return nil, ended.error end
  local value = json.decode(ended.text)
  if type(value) == "table" then return value end
  return ended.text
end

function runs.git(commits)
  for i, commit in ipairs(commits) do
    if type(commit) ~= "table" or type(commit.message) ~= "string" then host.misuse(format("git: commit %d has no message", i)) end
  end
  local ids, why = runs.tool("test.repository", { commits = json.array(commits) })
  if not ids then host.misuse("git: " .. tostring(why)) end
  return ids
end

local function set_up(o)
  if o.git == true then
    runs.git { { message = "the beginning", files = o.files } }
    return
  end
  if o.git then runs.git(o.git) end
  if o.files then runs.files(o.files) end
end

-- ---- runs ----

local fields = { "input", "model", "models", "tools", "files", "git", "policy", "yes", "approve", "signals", "env", "limits" }
for _, name in ipairs(fields) do fields[name] = true end

local limits = { steps = true, tool_calls = true, seconds = true, tokens = true, usd = true }
local verdicts = { allow = true, ask = true, deny = true }

local function check_values(o)
  for _, name in ipairs { "models", "tools", "policy", "signals", "env", "limits" } do
    if o[name] ~= nil and type(o[name]) ~= "table" then host.misuse(format("t.run: %s is a %s, not a table", name, type(o[name]))) end
  end
  for name, value in pairs(o.limits or {}) do
    if not limits[name] or type(value) ~= "number" then
      host.misuse(format('t.run: limits.%s: a number for steps, tool_calls, seconds, tokens or usd', tostring(name)))
    end
  end
  for name, word in pairs(o.policy or {}) do
    if not verdicts[word] then host.misuse(format('t.run: policy["%s"] must be "allow", "ask" or "deny"', tostring(name))) end
  end
end

local function check_fields(o)
  for name in pairs(o) do
    if not fields[name] then host.misuse(format('t.run: unknown field "%s"; there are %s', tostring(name), concat(fields, ", "))) end
  end
end

local function stand_ins(tools)
  local out = {}
  for name, f in pairs(tools or {}) do
    if type(f) ~= "function" then host.misuse(format('t.run: tools["%s"] is a %s, not a function', name, type(f))) end
    out[name] = function(...) return guarded("the stand-in for " .. name, f, ...) end
  end
  return out
end

local function model_of(value)
  local file = type(value) == "string" and match(value, "%.lua$")
  return file and sub(value, 1, 1) ~= "/" and host.folder .. "/" .. value or value
end

local function specification(what, o)
  local of = {}
  for agent, model in pairs(o.models or {}) do of[agent] = model_of(model) end
  if o.model ~= nil then of[""] = model_of(o.model) end
  for agent, model in pairs(of) do
    if type(model) ~= "string" and type(model) ~= "userdata" then
      host.misuse(format("t.run: the model%s is a %s; make one with t.model { … }", agent == "" and "" or " of " .. agent, type(model)))
    end
  end
  local input = o.input
  if type(input) == "table" then input = json.encode(input) end
  return { what = what, input = input == nil and "" or tostring(input), models = of, tools = stand_ins(o.tools), policy = o.policy, env = o.env,
    limits = o.limits, yes = o.yes, asks = o.approve ~= nil }
end

local function decision(approve, call)
  if type(approve) == "function" then return guarded("approve", approve, call) end
  if type(approve) ~= "table" then return approve end
  if approve[call.name] ~= nil then return approve[call.name] end
  return approve["*"]
end

local function attend(id, o, event)
  local body = event.body
  if event.type == "approval.asked" then
    local allow, why = decision(o.approve, { name = body.tool, arguments = body.arguments, call = body.call, path = event.path })
    host.decide(id, body.call, allow and true or false, why)
    return
  end
  local name = match(body.kind, "^wait (.*)$")
  local value = o.signals and o.signals[name]
  if type(value) == "function" then value = guarded("signal " .. name, value) end
  if value ~= nil then host.signal(id, name, json.encode(value)) end
end

-- A call that is refused has a result and no intent; what it was stands in the question, if there was one.
local function calls_of(events)
  local calls, by_id = {}, {}
  local kinds = { ["tool.intent"] = true, ["tool.result"] = true, ["approval.asked"] = true }
  for _, event in ipairs(events) do
    local body = event.body
    local call = kinds[event.type] and by_id[body.call]
    if kinds[event.type] and not call then
      call = { name = body.tool, arguments = body.arguments or {}, call = body.call, path = event.path }
      calls[#calls + 1], by_id[body.call] = call, call
    end
    if event.type == "tool.result" then
      call.ok, call.text, call.denied = body.ok, body.text, body.denied
      call.result = body.json and json.decode(body.text) or body.text
    end
  end
  return calls
end

local Run = { __tostring = function(run) return "run of " .. run.name .. ": " .. run.stop end }
runs.Run = Run

local function finish(id, ended, first)
  local run = { id = ended.id, stop = ended.stop, text = ended.text, error = ended.error, seconds = ended.seconds, requests = {}, messages = {} }
  run.events = host.events(id)
  run.name = run.events[1] and run.events[1].body.name or ""
  run.usage = run.events[#run.events].body.usage
  run.calls = calls_of(run.events)
  if ended.json or match(run.text, "^%s*[{%[]") then run.output = json.decode(run.text) end
  for i = first, #requests do
    run.requests[#run.requests + 1] = requests[i]
    run.messages[#run.messages + 1] = requests[i].messages
  end
  return setmetatable(run, Run)
end

function runs.run(what, o)
  o = o or {}
  if type(what) == "nil" then host.misuse "t.run needs a script's path, an agent or a function" end
  if type(o) ~= "table" then host.misuse("t.run: the options are a table, not a " .. type(o)) end
  check_fields(o)
  check_values(o)
  set_up(o)
  local first = #requests + 1
  local id = host.prepare(specification(what, o))
  local ended = wait_for(id, function(event) attend(id, o, event) end)
  host.raise_noted()
  if ended.unloaded then
    host.fail { message = format("%s cannot be run: %s%s", tostring(what), ended.where == "" and "" or ended.where .. ": ", ended.unloaded) }
  end
  return finish(id, ended, first)
end

return runs
