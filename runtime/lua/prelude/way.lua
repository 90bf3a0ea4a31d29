-- SPDX-License-Identifier: MIT
-- moon.way.*: ways of prompting, each from a paper (named where it is). A way takes a step (an agent, most often) and gives a
-- chain, which runs, nests, is journaled and is resumed like any other: way.react(agent, { tools = … }). Every model call is a run of the
-- step, every tool call a run of the tool; there is nothing else to it.
--
-- Here stands what they share; each family is a file of its own, opened when one of its ways is used first.
local host, moon = ...
host.need "chain"
local type, tostring, pairs, ipairs, next, rawget, setmetatable = type, tostring, pairs, ipairs, next, rawget, setmetatable
local format, find, sub, byte, match, lower, concat = string.format, string.find, string.sub, string.byte, string.match, string.lower, table.concat
local raise, as_step, enter, check = host.raise, host.as_step, host.enter, host.check_fields
local encode = moon.json.encode

local way, shared = {}, {}
moon.way, host.way = way, shared

-- way.similarity(a, b) → 0 … 1: how many pieces of three letters two texts have in common.
way.similarity = host.similarity

-- ---- text ----
-- What a model wrote is hostile: everything here takes time linear in it.

local function is_space(c) return c == 32 or c and c >= 9 and c <= 13 end

local function trim(text)
  local from, to = 1, #text
  while is_space(byte(text, from)) do from = from + 1 end
  while to >= from and is_space(byte(text, to)) do to = to - 1 end
  return sub(text, from, to)
end

-- What is put into a prompt: texts as they are, other values as JSON.
local function text_of(value)
  if type(value) == "string" then return value end
  return value == nil and "" or encode(value)
end

-- At most n bytes, not cut within a character.
function shared.cut(text, n)
  if #text <= n then return text end
  local to = n
  while to > 0 and byte(text, to + 1) & 0xC0 == 0x80 do to = to - 1 end
  return format("%s [cut here; it has %d bytes]", sub(text, 1, to), #text)
end

-- A prompt with its {names} filled in, once: what is filled in is not looked at again.
function shared.fill(prompt, values)
  return (prompt:gsub("{([%a_]+)}", values))
end

-- Over the lines of a text.
local function lines(text)
  return (text:gsub("\r\n?", "\n") .. "\n"):gmatch("(.-)\n")
end
shared.lines = lines

-- What follows the mark that begins a line ("Answer 2:", in either case, bold or quoted or not); nil if the line has no such mark.
function shared.after(line, mark)
  local at = find(line, "[^%s*_#>`]") or 1
  local stop = at + #mark
  if lower(sub(line, at, stop - 1)) ~= lower(mark) then return nil end
  local colon = match(line, "^ ?%d?%d?%d?[*_]?[*_]?:()", stop)
  if not colon then return nil end
  if at > 1 then colon = match(line, "^[*_]*()", colon) end
  local out = trim(sub(line, colon))
  local _, bold = out:gsub("%*%*", "")
  if at > 1 and bold % 2 == 1 and sub(out, -2) == "**" then out = sub(out, 1, -3) end
  return trim(out)
end

-- What stands below the last such mark, to the end of the text; and what stands before it.
function shared.marked(text, mark)
  local answer, before, seen = nil, {}, {}
  for line in lines(text) do
    local rest = shared.after(line, mark)
    if rest then
      answer, before = { rest }, { concat(seen, "\n") }
    elseif answer then
      answer[#answer + 1] = line
    end
    seen[#seen + 1] = line
  end
  if not answer then return nil end
  return trim(concat(answer, "\n")), trim(before[1])
end

local function item_of(line)
  local indent, mark, rest = match(line, "^([ \t]*)([-*+])[ \t]+(.*)$")
  if not mark then indent, mark, rest = match(line, "^([ \t]*)(%(?%d%d?%d?[.):])[ \t]+(.*)$") end
  return mark and #indent, rest
end

-- The items of a list that a model gave: of a table, or of lines that begin with "- " or "1. "; without such, every line is one.
function shared.items(value)
  if type(value) == "table" then
    local _, only = next(value)
    local list = value[1] == nil and type(only) == "table" and only or value
    local items = {}
    for i, item in ipairs(list) do items[i] = text_of(item) end
    return items
  end
  local items, plain, column = {}, {}, nil
  for line in lines(text_of(value)) do
    local indent, rest = item_of(line)
    if indent and (not column or indent <= column) then
      column = column or indent
      items[#items + 1] = trim(rest)
    elseif find(line, "%S") then
      if items[1] and find(line, "^[ \t]") then items[#items] = items[#items] .. "\n" .. trim(line) end
      plain[#plain + 1] = trim(line)
    end
  end
  return items[1] and items or plain
end

function shared.numbered(items)
  local out = {}
  for i, item in ipairs(items) do out[i] = format("%d. %s", i, item) end
  return concat(out, "\n")
end

shared.trim, shared.text = trim, text_of

-- ---- what all ways take ----

local common = " name state prompts keep"

-- Checks the options of a way; known: the names of its own.
function shared.options(what, options, known)
  options = options or {}
  check(what, options, host.fields(known .. common))
  return options
end

-- Its prompts, of which options.prompts may replace some.
function shared.prompts(what, options, defaults)
  if options.prompts == nil then return defaults end
  if type(options.prompts) ~= "table" then raise(what .. ": prompts must be a table of texts") end
  local out, names = {}, {}
  for name, prompt in pairs(defaults) do
    out[name] = prompt
    names[#names + 1] = name
  end
  for name, prompt in pairs(options.prompts) do
    if not defaults[name] then raise(format('%s: there is no prompt "%s"%s', what, tostring(name), host.nearest(tostring(name), names))) end
    if type(prompt) ~= "string" then raise(format("%s: prompts.%s must be a text", what, name)) end
    out[name] = prompt
  end
  return out
end

function shared.whole(what, options, name, default)
  return host.positive(what, options, name, default, 1) // 1 | 0
end

-- What becomes of it when the bound is reached: an error, or the last there is.
function shared.takes_last(what, options)
  local at_max = options.at_max
  if at_max ~= nil and at_max ~= "error" and at_max ~= "last" then raise(what .. ': at_max must be "error" or "last"') end
  return at_max == "last"
end

function shared.step(what, x, role) return as_step(x, what, role) end

-- The step for a role that thinks and does not act: what was given for it, else x; an agent without its tools and its output type,
-- so that a plan is a text and nothing is done while it is made.
function shared.thinker(what, x, role, given)
  if given ~= nil then return as_step(given, what, role) end
  local kind, name, definition = host.what(x)
  if kind ~= "agent" then return as_step(x, what, role) end
  local copy = {}
  for key, value in pairs(definition) do copy[key] = value end
  copy.name = role == "agent" and name or name .. "." .. role
  copy.tools, copy.output, copy.plan, copy.policy = {}, nil, nil, nil
  return as_step(moon.agent(copy), what, role)
end

-- Asks a step in place. Gives its value, or nil and an error.
function shared.ask(step, prompt, ctx, env, label)
  return enter(step, label or step.label, prompt, ctx, env)
end

-- The same, as a text without space around it.
function shared.say(step, prompt, ctx, env, label)
  local value, err = enter(step, label or step.label, prompt, ctx, env)
  if err ~= nil then return nil, err end
  return trim(text_of(value))
end

-- The chain: roles are its steps by name; body(roles, input, ctx, env) → value, or nil and an error.
function shared.new(kind, options, roles, body)
  local names, steps = {}, {}
  for role, step in pairs(roles) do
    names[#names + 1] = role
    steps[#steps + 1] = step
  end
  return host.new_chain("way." .. kind, options, steps, function(now)
    local by = {}
    for i, role in ipairs(names) do by[role] = now[i] end
    return function(value, ctx, env) return body(by, value, ctx, env) end
  end)
end

-- ---- the families ----

local files = {
  way_ask = "zero_shot few_shot chain_of_thought self_consistency step_back",
  way_split = "least_to_most self_ask plan_and_execute",
  way_act = "react program_of_thought",
  way_search = "tree_of_thoughts reflexion",
  way_team = "supervisor debate",
}
local file_of = {}
for file, names in pairs(files) do
  for name in names:gmatch("%S+") do file_of[name] = file end
end

setmetatable(way, {
  __index = function(_, name)
    local file = file_of[name]
    if not file then return nil end
    host.need(file)
    for other in files[file]:gmatch("%S+") do way[other] = host.public(rawget(way, other)) end
    return rawget(way, name)
  end,
  __pairs = function()
    local all = {}
    for name in pairs(file_of) do all[name] = way[name] end
    for name, f in next, way do all[name] = f end
    return pairs(all)
  end,
})
