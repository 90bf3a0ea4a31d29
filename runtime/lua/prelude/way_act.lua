-- SPDX-License-Identifier: MIT
-- Ways that act: ReAct as text, and program of thought.
local host, moon = ...
local _G, type, pairs, ipairs, tostring, pcall, load, next = _G, type, pairs, ipairs, tostring, pcall, load, next
local math, pack, sort = math, table.pack, table.sort
local match, find, sub, lower, gsub, format, concat = string.match, string.find, string.sub, string.lower, string.gsub, string.format, table.concat
local way, shared, raise = moon.way, host.way, host.raise
local trim, text_of, fill = shared.trim, shared.text, shared.fill
host.need "runnable"

-- ---- ReAct ----
-- Thought, Action, Observation, as text, for models without function calling: Yao et al., 2022, ReAct: Synergizing Reasoning and Acting in
-- Language Models, arXiv:2210.03629. An action is a run of the tool, so it is checked, asked for and journaled as any call of it. At most `max` calls
-- of the model.

local react = {
  react = [[
{task}

Go through Thought, Action and Observation again and again. A Thought says what is known and what is to be found out next. An Action is one line,
name[arguments], with one of these tools; the arguments are a JSON object, or for a tool with one argument just its text:

{tools}
- finish[answer]: ends with the answer

After an Action stop: its Observation is given to you. Never write one yourself.

Question: {input}
{log}Thought {number}:]],
}

-- One line for an argument of a tool.
local function argument_line(name, schema, required)
  local kind = type(schema.type) == "string" and schema.type or "any"
  if type(schema.enum) == "table" then kind = concat(schema.enum, "|") end
  if kind == "array" or kind == "object" then kind = moon.json.encode(schema) end
  local about = type(schema.description) == "string" and ": " .. schema.description or ""
  return format("    %s (%s%s)%s", name, kind, required and "" or ", optional", about)
end

-- The tool as the loop needs it: how it is called, and what the model is told of it.
local function use_of(handle)
  local about = handle:describe()
  local input = about.input or {}
  local properties, required = input.properties or {}, {}
  for _, name in ipairs(input.required or {}) do required[name] = true end
  local tool, lines, names = { handle = handle, name = about.name }, { format("- %s: %s", about.name, about.description or "") }, {}
  for name in pairs(properties) do names[#names + 1] = name end
  sort(names, function(a, b)
    if required[a] ~= required[b] then return required[a] == true end
    return a < b
  end)
  for i, name in ipairs(names) do lines[i + 1] = argument_line(name, properties[name], required[name]) end
  if #names > 0 and (#names == 1 or required[names[1]] and not required[names[2]]) then
    tool.only, tool.kind = names[1], properties[names[1]].type
  end
  tool.text = concat(lines, "\n")
  return tool
end

local function add_tool(what, tools, handle)
  local tool = use_of(handle)
  if lower(tool.name) == "finish" then raise(what .. ': a tool cannot be called "finish"') end
  if tools[tool.name] then raise(format("%s: two tools are called %s", what, tool.name)) end
  tools[tool.name] = tool
  tools[#tools + 1] = tool
end

-- Puts the tools under a policy, as an agent's are.
local function restrict(what, tools, policy)
  if policy == nil then return tools end
  if type(policy) ~= "table" then raise(what .. ": policy must be a table such as { shell = \"deny\" }") end
  for name in pairs(policy) do
    local known, why = name == "*" or tools[name] ~= nil, nil
    if not known then known, why = host.tools_of(tostring(name)) end
    if not known then raise(format("%s: policy: %s", what, why)) end
  end
  local rules = moon.json.encode(policy)
  for _, tool in ipairs(tools) do
    local handle, why = host.under(tool.handle, rules, { kind = "tool" })
    if not handle then raise(format("%s: %s", what, why)) end
    tool.handle = handle
  end
  return tools
end

local function tools_of(what, list)
  if type(list) ~= "table" or #list == 0 then raise(what .. " needs tools, a list of names, tools, agents and chains") end
  local tools = {}
  for i, x in ipairs(list) do
    if type(x) == "string" then
      local names, why = host.tools_of(x)
      if not names then raise(format("%s: %s", what, why)) end
      for _, name in ipairs(names) do add_tool(what, tools, host.registered(name)) end
    else
      local kind, _, definition = host.what(x)
      if not kind then raise(format("%s: tools[%d]: a %s is no tool", what, i, type(x))) end
      if kind ~= "tool" and not (definition and definition.kind == "tool") then x = x:as_tool() end
      add_tool(what, tools, x)
    end
  end
  return tools
end

-- Takes apart what the model wrote: its thought, and the text of its first action. What it went on to write after that (an
-- Observation of its own making above all) does not count.
local function parts_of(text)
  local thought, action, input = {}, nil, nil
  for line in shared.lines(text) do
    if shared.after(line, "Observation") then break end
    local act, more = shared.after(line, "Action"), shared.after(line, "Action Input")
    local again = shared.after(line, "Thought")
    if action then
      if act or again then break end
      if more then
        input = { more }
      else
        local to = input or action
        to[#to + 1] = line
      end
    elseif act then
      action = { act }
    else
      thought[#thought + 1] = #thought == 0 and again or line
    end
  end
  return trim(concat(thought, "\n")), action and trim(concat(action, "\n")), input and trim(concat(input, "\n"))
end

-- name[arguments] → both; "name" with its input on a line of its own as well.
local function call_of(action, input)
  local name, at = match(action, "^[`*]*([%w_.%-]+)[`*]*%s*()")
  if not name then return nil end
  if input then return name, input end
  if sub(action, at, at) ~= "[" then return nil end
  local close = #action
  while close > at and sub(action, close, close) ~= "]" do close = close - 1 end
  if close == at then return nil end
  return name, trim(sub(action, at + 1, close - 1))
end

local function find_tool(tools, name)
  if tools[name] then return tools[name] end
  local plain = gsub(lower(name), "_", ".")
  for _, tool in ipairs(tools) do
    if gsub(lower(tool.name), "_", ".") == plain then return tool end
  end
end

local function unfenced(text)
  local from = match(text, "^```%w*()")
  if not from or #text < from + 2 or sub(text, -3) ~= "```" then return text end
  return trim(sub(text, from, -4))
end

-- The arguments as a table, or nil and why not.
local function arguments_of(tool, text)
  text = unfenced(text)
  if text == "" then return {} end
  if sub(text, 1, 1) == "{" then
    local value, why = moon.json.decode(text)
    if type(value) == "table" then return value end
    return nil, "the arguments are no JSON: " .. tostring(why)
  end
  if not tool.only then return nil, format('the arguments of %s have to be a JSON object: %s[{"name": value}]', tool.name, tool.name) end
  local value = text
  if tool.kind ~= "string" or match(text, '^".*"$') then
    local decoded = moon.json.decode(text)
    if decoded ~= nil then value = decoded end
  end
  return { [tool.only] = value }
end

-- What the model is told of a failure; anything else (a limit, an approval that is awaited) ends the loop.
local told = { failed = true, refused = true, output_schema = true }

-- One action → its observation, and whether it was well formed; or nil, nil and an error that ends the loop.
local function act(tools, action, input, most)
  local name, text = call_of(action, input)
  if not name then return "error: an action is one line: name[arguments]", false end
  local tool = find_tool(tools, name)
  if not tool then
    local names = {}
    for i, other in ipairs(tools) do names[i] = other.name end
    return format('error: there is no tool "%s"%s; there are: %s, finish', name, host.nearest(name, names), concat(names, ", ")), false
  end
  local arguments, why = arguments_of(tool, text)
  if not arguments then return "error: " .. why, false end
  local value, err = tool.handle:run(arguments)
  if err ~= nil then
    if not told[err.stop] then return nil, nil, err end
    return shared.cut("error: " .. tostring(err.message), most), true
  end
  value = text_of(value)
  return value == "" and "(nothing)" or shared.cut(value, most), true
end

-- The answer, if the action says that this is the end.
local function finish_of(action, input)
  if not action then return nil end
  local name, text = call_of(action, input)
  if name and lower(name) == "finish" then return text end
  return nil
end

function way.react(x, options)
  local what = "way.react"
  options = shared.options(what, options, "tools policy task max malformed observation at_max")
  local prompts, last = shared.prompts(what, options, react), shared.takes_last(what, options)
  local max, most = shared.whole(what, options, "max", 10), shared.whole(what, options, "observation", 4000)
  local malformed_max = shared.whole(what, options, "malformed", 3)
  local kind, _, definition = host.what(x)
  local policy = options.policy or kind == "agent" and definition.policy or nil
  local tools, about = restrict(what, tools_of(what, options.tools), policy), {}
  for i, tool in ipairs(tools) do about[i] = tool.text end
  local fixed = { task = options.task or "Answer the question with the tools that are there.", tools = concat(about, "\n") }

  return shared.new("react", options, { agent = shared.thinker(what, x, "agent") }, function(s, input, ctx, env)
    local values, log, steps, malformed = { input = text_of(input), task = fixed.task, tools = fixed.tools }, {}, {}, 0
    local thought
    for number = 1, max do
      values.log, values.number = concat(log), number
      local text, err = shared.say(s.agent, fill(prompts.react, values), ctx, env, format("step[%d]", number))
      if err ~= nil then return nil, err end
      local action, own, observation, well
      thought, action, own = parts_of(text)
      local answer = finish_of(action, own) or shared.marked(text, "Final Answer")
      if answer then return options.keep and { answer = answer, steps = steps } or answer end
      if action then
        observation, well, err = act(tools, action, own, most)
        if err then return nil, host.located(err, format("action[%d]", number)) end
      else
        observation, well = "error: there is no Action; write one, or finish[answer]", false
      end
      malformed = well and 0 or malformed + 1
      if malformed == malformed_max then
        return nil, host.error(format("%s: %d actions in a row are malformed; the last: %s", what, malformed, observation), "malformed_calls")
      end
      if own then action = format("%s[%s]", action, own) end
      log[number] = format("Thought %d: %s\nAction %d: %s\nObservation %d: %s\n", number, thought, number, action or "", number, observation)
      steps[number] = { thought = thought, action = action, observation = observation }
    end
    if last then return options.keep and { answer = thought, steps = steps } or thought end
    return nil, host.error(format("%s: there is no answer after %d steps (max)", what, max), "limit_steps")
  end)
end

-- ---- program of thought ----
-- The model writes a program, and the program finds the answer: Chen et al., 2022, Program of Thoughts Prompting, arXiv:2211.12588; Gao
-- et al., 2022, PAL: Program-aided Language Models, arXiv:2211.10435. One call, and one more for each program that failed, at most `times`.

local program = {
  write = "{input}\n\nWrite a Lua 5.4 program that computes the answer and returns it (return …). It has the standard functions and string, table, math " ..
    "and utf8; it can read and write nothing. Give it in one block that begins with ```lua.",
  mend = "{input}\n\nThis Lua program was to compute the answer:\n```lua\n{program}\n```\nIt failed: {error}\n\nWrite it again, whole and without that mistake, in one " ..
    "block that begins with ```lua.",
}

-- The program: the first block that is marked as Lua, else the first block, else all of the text.
local function block_of(text)
  local first, found, into
  for line in shared.lines(text) do
    local mark = match(line, "^ ? ? ?```(.*)$")
    if mark and into then
      if found then break end
      into = nil
    elseif mark then
      into = {}
      first = first or into
      if lower(trim(mark)) == "lua" then found = into end
    elseif into then
      into[#into + 1] = line
    end
  end
  return first and concat(found or first, "\n") or text
end

local plain = host.fields "assert error ipairs next pairs pcall rawequal rawget rawlen rawset select setmetatable tonumber tostring type xpcall _VERSION"

-- Globals for a program: nothing that waits, reads, writes, or is shared with anybody.
local function globals(out)
  local env = {}
  for name in pairs(plain) do env[name] = _G[name] end
  for _, name in ipairs { "string", "table", "math", "utf8" } do
    env[name] = {}
    for key, value in next, _G[name] do env[name][key] = value end
  end
  env._G = env
  function env.print(...)
    local parts = pack(...)
    for i = 1, parts.n do parts[i] = tostring(parts[i]) end
    out[#out + 1] = concat(parts, "\t")
  end
  return env
end

local function shown(value)
  if type(value) == "number" and math.type(value) == "float" then return format(value == value // 1 and "%.0f" or "%.14g", value) end
  if type(value) == "table" then return moon.json.encode(value) end
  return tostring(value)
end

local BUDGET = 20000000 -- instructions of a program

-- In a run of its own, so that a program that goes round for ever, or takes all memory, ends that run and nothing else.
local function evaluate(code)
  local out = {}
  local chunk, why = load(code, "=program", "t", globals(out))
  if not chunk then return nil, why end
  host.leave(BUDGET)
  local ok, value = pcall(chunk)
  if not ok then return nil, tostring(value) end
  if value ~= nil then
    ok, value = pcall(shown, value)
    if not ok then return nil, "what it returned cannot be written down: " .. tostring(value) end
    return value
  end
  if out[1] then return concat(out, "\n") end
  return nil, "it returned nothing"
end

-- How a program failed, for the model: without the places in here.
local function failure_of(err)
  local message = tostring(err.message)
  if find(message, "instruction budget", 1, true) then return "it ran for too long (a loop without end?)" end
  return (gsub(match(message, "^[^\n]*"), "^%[moonlet%]:%d+: ", ""))
end

function way.program_of_thought(x, options)
  local what = "way.program_of_thought"
  options = shared.options(what, options, "times")
  local prompts, times = shared.prompts(what, options, program), shared.whole(what, options, "times", 3)
  local run = host.apart(shared.step(what, moon.fn("program", evaluate), "program"))
  return shared.new("program_of_thought", options, { agent = shared.thinker(what, x, "agent") }, function(s, input, ctx, env)
    local values = { input = text_of(input) }
    for i = 1, times do
      local text, err = shared.say(s.agent, fill(i == 1 and prompts.write or prompts.mend, values), ctx, env, format("write[%d]", i))
      if err ~= nil then return nil, err end
      local code, answer = block_of(text), nil
      answer, err = host.alone(what, run, code, { ctx = ctx, label = function() return format("program[%d]", i) end })
      if err == nil then return options.keep and { answer = answer, program = code } or answer end
      if not told[err.stop] then return nil, err end
      values.program, values.error = code, failure_of(err)
      if i == times then
        return nil, host.error(format("%s: %d program%s failed; the last: %s", what, i, i == 1 and "" or "s", values.error), "failed")
      end
    end
  end)
end
