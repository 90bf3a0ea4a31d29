-- SPDX-License-Identifier: MIT
-- The language of prompts: compiling a template and rendering it; docs/prompts.md describes it. What is put into a slot is data:
-- it is never read as a template.
--
-- A template is { name, source, nodes, needs, uses } or, of a prompt with parts, { name, parts, needs }. needs holds the names of
-- its variables, uses the templates of its partials.
local host, moon = ...
local type, error, ipairs, pairs, tostring, tonumber, rawget, next, pcall, setmetatable =
  type, error, ipairs, pairs, tostring, tonumber, rawget, next, pcall, setmetatable
local find, sub, byte, gsub, gmatch, match, format, rep, concat =
  string.find, string.sub, string.byte, string.gsub, string.gmatch, string.match, string.format, string.rep, table.concat
local tointeger, encode, null = math.tointeger, moon.json.encode, moon.json.null

local NEST_MAX = 100
local inner = setmetatable({}, { __mode = "k" }) -- a prompt's handle → { template =, bound = }

-- Errors name the template and its line; the script's own line is found by whoever reports them.
local function fail(template, line, text, ...)
  error(format('prompt "%s", line %d: ', template.name, line) .. format(text, ...), 0)
end

local function trimmed(text)
  local from, to = find(text, "%S"), #text
  if not from then return "" end
  while find(text, "^%s", to) do to = to - 1 end
  return sub(text, from, to)
end

---- reading a template ----

-- "a.b.1" → { "a", "b", "1" }; nil if it is no name.
local function path_of(name)
  if not find(name, "^@?[%a_\x80-\xff]") or find(name, "%.%.") or find(name, "%.$") then return nil end
  local path = {}
  for part in gmatch(name, "[^.]+") do
    if not find(part, #path == 0 and "^@?[%w_\x80-\xff-]+$" or "^[%w_\x80-\xff-]+$") then return nil end
    path[#path + 1] = part
  end
  return path
end

local specials = { ["@index"] = true, ["@key"] = true, ["@first"] = true, ["@last"] = true }
local formats = { json = true, fence = true }

local reader = {}
reader.__index = reader

function reader:fail(text, ...) fail(self.template, self.line, text, ...) end

function reader:add(node) self.nodes[#self.nodes + 1] = node end

function reader:is_local(name)
  if specials[name] then return true end
  for frame = #self.frames, 1, -1 do
    if self.frames[frame].item == name then return true end
  end
  return false
end

-- A variable's name as part of a node; notes that the template needs it.
function reader:variable(name, node)
  local path = path_of(name)
  if not path then self:fail('"%s" is no name of a variable', name) end
  if byte(path[1]) == 64 and not specials[name] then self:fail('there is no "%s" (@index, @key, @first, @last)', name) end
  if not self:is_local(path[1]) then self.template.needs[path[1]] = true end
  node.path, node.name, node.line = path, name, self.line
  return node
end

function reader:push(tag, node, item)
  if #self.frames == NEST_MAX then self:fail("blocks are nested more than %d deep", NEST_MAX) end
  self:add(node)
  self.frames[#self.frames + 1] = { tag = tag, node = node, line = self.line, outer = self.nodes, item = item }
  self.nodes = node.yes
end

local blocks = {}

blocks["if"] = function(self, words)
  if #words ~= 2 then self:fail("{{#if}} takes the name of one variable") end
  self:push("if", self:variable(words[2], { op = "if", yes = {} }))
end

blocks["unless"] = function(self, words)
  if #words ~= 2 then self:fail("{{#unless}} takes the name of one variable") end
  self:push("unless", self:variable(words[2], { op = "if", negate = true, yes = {} }))
end

blocks["each"] = function(self, words)
  if not (#words == 2 or (#words == 4 and words[3] == "as")) then self:fail("{{#each}} is written {{#each LIST}} or {{#each LIST as NAME}}") end
  local item = words[4] or "this"
  if not find(item, "^[%a_\x80-\xff][%w_\x80-\xff-]*$") then self:fail('"%s" is no name of a variable', item) end
  self:push("each", self:variable(words[2], { op = "each", item = item, yes = {} }), item)
end

function reader:otherwise(words)
  local frame = self.frames[#self.frames]
  if not frame then self:fail("{{else}} is in no block") end
  if frame.last then self:fail("a second {{else}} of the {{#%s}} in line %d", frame.tag, frame.line) end
  local no = {}
  frame.node.no, self.nodes = no, no
  frame.item = nil -- there is no item in the else of an each
  if #words == 1 then
    frame.last = true
    return
  end
  if words[2] ~= "if" or #words ~= 3 or frame.tag == "each" then self:fail("after {{else}} may come: if NAME, in an {{#if}}") end
  local node = self:variable(words[3], { op = "if", yes = {} })
  self:add(node)
  frame.node, self.nodes = node, node.yes
end

function reader:close(tag)
  local frame = self.frames[#self.frames]
  if not frame then self:fail("{{/%s}} closes nothing", tag) end
  if frame.tag ~= tag then self:fail("{{/%s}} closes the {{#%s}} of line %d", tag, frame.tag, frame.line) end
  self.frames[#self.frames] = nil
  self.nodes = frame.outer
end

function reader:slot(words)
  if #words == 1 then
    self:add(self:variable(words[1], { op = "slot" }))
  elseif #words == 2 and formats[words[1]] then
    self:add(self:variable(words[2], { op = "slot", format = words[1] }))
  else
    self:fail("{{%s}} is no slot: {{NAME}}, {{json NAME}} or {{fence NAME}}", sub(concat(words, " "), 1, 60))
  end
end

local function words_of(text)
  local words = {}
  for word in gmatch(text, "%S+") do words[#words + 1] = word end
  return words
end

-- What stands between the braces, apart from comments and partials.
function reader:tag(text)
  local sigil, words = sub(text, 1, 1), nil
  if sigil == "#" then
    words = words_of(sub(text, 2))
    local block = blocks[words[1] or ""]
    if not block then self:fail("{{#%s}} is no block (if, unless, each)", words[1] or "") end
    return block(self, words)
  elseif sigil == "/" then
    words = words_of(sub(text, 2))
    if #words ~= 1 then self:fail("{{/…}} names the block that it closes") end
    return self:close(words[1])
  end
  words = words_of(text)
  if words[1] == "else" then return self:otherwise(words) end
  if not words[1] then self:fail("{{}} is empty") end
  return self:slot(words)
end

function reader:count_lines(to)
  local at = self.counted
  while true do
    local found = find(self.source, "\n", at, true)
    if not found or found >= to then break end
    self.line, at = self.line + 1, found + 1
  end
  self.counted = at
end

-- If a tag is alone on its line: the byte where its line begins, and the one after its line.
local function alone(source, from, after)
  local left, right = from - 1, after
  while left > 0 and (byte(source, left) == 32 or byte(source, left) == 9) do left = left - 1 end
  if left > 0 and byte(source, left) ~= 10 then return nil end
  while byte(source, right) == 32 or byte(source, right) == 9 do right = right + 1 end
  if byte(source, right) == 13 then right = right + 1 end
  if right <= #source and byte(source, right) ~= 10 then return nil end
  return left + 1, right + 1
end

local compile_partial

function reader:partial(text, line_start, from)
  local name = match(text, "^>%s*(%S+)$")
  if not name then self:fail("a partial is written {{> NAME}}") end
  local indent = line_start and sub(self.source, line_start, from - 1) or ""
  local partial = compile_partial(self, name, indent)
  for needed in pairs(partial.template.needs) do
    if not self:is_local(needed) and partial.bound[needed] == nil then self.template.needs[needed] = true end
  end
  self.template.uses[name] = partial.template
  self:add { op = "partial", partial = partial }
  return find(partial.template.source or "", "\n$") ~= nil
end

-- The text before a tag, whose braces begin at from: { is written \{{ (and \ before a tag \\{{). True if it is no tag.
function reader:escaped(from)
  local slashes = 0
  while from - 1 - slashes >= self.at and byte(self.source, from - 1 - slashes) == 92 do slashes = slashes + 1 end
  if slashes == 0 then return false end
  self:add(sub(self.source, self.at, from - 1 - slashes) .. rep("\\", slashes // 2))
  self.at = from
  if slashes % 2 == 0 then return false end
  self:add("{{")
  self.at = from + 2
  return true
end

-- One tag, with the text before it.
function reader:step(from)
  if self:escaped(from) then return end
  self:count_lines(from)
  local source, comment, closer = self.source, sub(self.source, from + 2, from + 2) == "!", "}}"
  if sub(source, from + 2, from + 2) == "{" then self:fail("{{{ is not used here: nothing is changed in what {{NAME}} puts in; a brace before a slot is written { {{NAME}}, or \\{{") end
  if sub(source, from + 2, from + 4) == "!--" then closer = "--}}" end
  local close = find(source, closer, from + 2, true)
  if not close then self:fail("%s is not closed with %s", comment and "a comment" or "{{", closer) end
  local text, after = trimmed(sub(source, from + 2, close - 1)), close + #closer
  local sigil = sub(text, 1, 1)
  local line_start, next_line
  if find(sigil, "[#/!>]") or find(text, "^else%f[%s\0]") then line_start, next_line = alone(source, from, after) end
  if self.at < from then
    local before = sub(source, self.at, (line_start or from) - 1)
    if before ~= "" then self:add(before) end
  end
  self.at = next_line or after
  if sigil == ">" then
    if not self:partial(text, line_start, from) and next_line and next_line <= #source + 1 then self:add("\n") end
  elseif not comment then
    self:tag(text)
  end
end

-- Compiles a template's source into its nodes.
local function compile(template, shared)
  local self = setmetatable({ template = template, shared = shared, source = template.source, at = 1, counted = 1, line = 1, frames = {} }, reader)
  template.nodes, template.needs, template.uses = {}, {}, {}
  self.nodes = template.nodes
  while true do
    local from = find(self.source, "{{", self.at, true)
    if not from then break end
    self:step(from)
  end
  if self.at <= #self.source then self:add(sub(self.source, self.at)) end
  local frame = self.frames[#self.frames]
  if frame then fail(template, frame.line, "{{#%s}} is not closed", frame.tag) end
  return template
end

---- partials ----

-- A file's text; nil, and why not, without this file's own place in front of it.
local function read(path)
  local ok, text = pcall(host.read, path)
  if ok then return text end
  return nil, (gsub(tostring(text), "^%[moonlet%]:%d+: ", ""))
end

-- The text of a partial beside a template that is a file.
local function beside(reader, name)
  local file = reader.shared.file
  if not file then
    local names = {}
    for known in pairs(reader.shared.partials) do names[#names + 1] = known end
    reader:fail('there is no partial "%s"%s', name, names[1] and " (" .. concat(names, ", ") .. ")" or "; partials are given as partials = { NAME = text }")
  end
  local folder, extension = match(file, "^(.*/)[^/]*$") or "", match(file, "%.[^./]*$") or ""
  local path = folder .. name .. (find(name, ".", 1, true) and "" or extension)
  local text, why = read(path)
  if not text then reader:fail('partial "%s": %s', name, why) end
  return text
end

-- shared: what a template has in common with its partials: { partials =, file =, made =, open = }.
function compile_partial(self, name, indent)
  local shared = self.shared
  local given = shared.partials[name]
  if inner[given] then return inner[given] end
  local key = name .. "\0" .. indent
  if shared.made[key] then return shared.made[key] end
  if shared.open[name] then self:fail('the partial "%s" includes itself', name) end
  local source = given or beside(self, name)
  if indent ~= "" then source = gsub(source, "[^\n]+", indent .. "%0") end
  shared.open[name] = true
  local made = { template = compile({ name = name, source = source }, shared), bound = {} }
  shared.open[name] = nil
  shared.made[key] = made
  return made
end

---- rendering ----

local render

local function is_object(value) return type(value) == "table" end

local function given(context)
  local names = {}
  for _, from in ipairs { context.vars, context.bound } do
    for name in pairs(from) do
      if type(name) == "string" and #names < 8 then names[#names + 1] = name end
    end
  end
  return names[1] and "given: " .. concat(names, ", ") or "nothing is given"
end

local function scope_of(context, name)
  local scope = context.scope
  while scope and scope.name ~= name do scope = scope.up end
  return scope
end

local function special(context, node)
  if not context.scope then fail(context.template, node.line, '"%s" is used outside of an {{#each}}', node.name) end
  return context.scope[node.name]
end

-- A variable's value; nil, and why, if it is not there.
local function look_up(context, node)
  local path = node.path
  if specials[node.name] then return special(context, node), "it is none of a map" end
  local scope, value = scope_of(context, path[1]), nil
  if scope then
    value = scope.value
  else
    value = rawget(context.vars, path[1])
    if value == nil then value = rawget(context.bound, path[1]) end
    if value == nil then
      local item = context.scope and context.scope.value
      if is_object(item) and rawget(item, path[1]) ~= nil then return nil, format('it is a field of the item: write {{%s.%s}}', context.scope.name, node.name) end
      return nil, given(context)
    end
  end
  for i = 2, #path do
    if not is_object(value) then return nil, format('"%s" is a %s, not a table', concat(path, ".", 1, i - 1), value == null and "null" or type(value)) end
    local field = rawget(value, path[i])
    if field == nil and find(path[i], "^%d+$") then field = rawget(value, tonumber(path[i])) end
    if field == nil then return nil, format('"%s" has no field "%s"', concat(path, ".", 1, i - 1), path[i]) end
    value = field
  end
  return value
end

local function need(context, node)
  local value, why = look_up(context, node)
  if value == nil then fail(context.template, node.line, 'variable "%s" is missing (%s)', node.name, why) end
  if value == null then fail(context.template, node.line, 'variable "%s" is null', node.name) end
  return value
end

local function as_json(context, node, value)
  local ok, text = pcall(encode, value)
  if not ok then fail(context.template, node.line, 'variable "%s" cannot be written: %s', node.name, gsub(tostring(text), "^moon.json.encode: ", "")) end
  return text
end

local function as_text(context, node, value)
  local kind = type(value)
  if kind == "string" then return value end
  if kind == "number" then return tostring(tointeger(value) or value) end
  if kind == "boolean" then return tostring(value) end
  if kind == "table" then return as_json(context, node, value) end
  if inner[value] then fail(context.template, node.line, 'variable "%s" is a prompt: give its text, prompt:render(…), or make it a partial', node.name) end
  fail(context.template, node.line, 'variable "%s" is a %s, not a text', node.name, kind)
end

-- Between fences that nothing in it closes.
local function fenced(text)
  local longest = 2
  for run in gmatch(text, "`+") do
    if #run > longest then longest = #run end
  end
  local fence = rep("`", longest + 1)
  return fence .. "\n" .. text .. (find(text, "\n$") and "" or "\n") .. fence
end

local ops = {}

function ops.slot(context, node, out)
  local value = need(context, node)
  local text
  if node.format == "json" then
    text = as_json(context, node, value)
  else
    text = as_text(context, node, value)
    if node.format == "fence" then text = fenced(text) end
  end
  out[#out + 1] = text
end

local function holds(value)
  if value == nil or value == false or value == null or value == "" then return false end
  return type(value) ~= "table" or next(value) ~= nil
end

ops["if"] = function(context, node, out)
  local yes = holds((look_up(context, node)))
  if node.negate then yes = not yes end
  if yes then
    render(context, node.yes, out)
  elseif node.no then
    render(context, node.no, out)
  end
end

-- The items of a list, or of a map in the order of its keys: { value, key }.
local function items_of(context, node, value)
  local items = {}
  if type(value) ~= "table" then fail(context.template, node.line, '"%s" is a %s; {{#each}} takes a list or a map', node.name, type(value)) end
  if #value > 0 or next(value) == nil then
    for i, item in ipairs(value) do items[i] = { item } end
  else
    for key, item in pairs(value) do items[#items + 1] = { item, key } end
  end
  return items
end

function ops.each(context, node, out)
  local items = items_of(context, node, need(context, node))
  local outer = context.scope
  for i, item in ipairs(items) do
    context.scope = { name = node.item, value = item[1], up = outer, ["@index"] = i, ["@key"] = item[2], ["@first"] = i == 1, ["@last"] = i == #items }
    render(context, node.yes, out)
  end
  context.scope = outer
  if #items == 0 and node.no then render(context, node.no, out) end
end

-- Variables with others over them.
local function over(below, above)
  if next(above) == nil then return below end
  local all = {}
  for name, value in pairs(below) do all[name] = value end
  for name, value in pairs(above) do all[name] = value end
  return all
end

local render_template

-- A template within another: it has what is bound to it, but what the rendering was given counts before that.
local function render_within(context, prompt)
  local template, bound = context.template, context.bound
  context.bound = over(bound, prompt.bound)
  local text = render_template(context, prompt.template)
  context.template, context.bound = template, bound
  return text
end

function ops.partial(context, node, out) out[#out + 1] = render_within(context, node.partial) end

function render(context, nodes, out)
  for i = 1, #nodes do
    local node = nodes[i]
    if type(node) == "string" then
      out[#out + 1] = node
    else
      ops[node.op](context, node, out)
    end
  end
end

-- Parts that are empty are left out, with their headings.
local function render_parts(context, template)
  local out = {}
  for _, part in ipairs(template.parts) do
    local text = part.text or trimmed(render_within(context, part))
    if text ~= "" then out[#out + 1] = (part.heading and part.heading .. "\n\n" or "") .. text end
  end
  return concat(out, "\n\n")
end

function render_template(context, template)
  context.template = template
  if template.parts then return render_parts(context, template) end
  local out = {}
  render(context, template.nodes, out)
  return concat(out)
end

return { compile = compile, render = render_template, over = over, read = read, prompts = inner }
