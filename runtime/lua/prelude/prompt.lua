-- SPDX-License-Identifier: MIT
-- moon.prompt: templates of what a model is told, in parts or as one text, and which version of them. A template is compiled where
-- it is defined, so that mistakes in it are errors of the script's top level. Rendering gives one text, never a message.
local host, moon = ...
local type, error, ipairs, pairs, tostring, setmetatable = type, error, ipairs, pairs, tostring, setmetatable
local sub, gsub, format, concat, encode = string.sub, string.gsub, string.format, table.concat, moon.json.encode
local language = host.need "template"
local compile, render_template, over, inner = language.compile, language.render, language.over, language.prompts

---- versions ----

local function length_and(text) return #text .. ":" .. text end

-- Of what the template says and all that it includes, not of what is put into it.
local function hash_of(template)
  if template.hash then return template.hash end
  local pieces = {}
  if template.parts then
    for _, part in ipairs(template.parts) do
      pieces[#pieces + 1] = length_and(part.name) .. length_and(part.text or hash_of(part.template))
    end
  else
    pieces[1] = length_and(template.source)
    for name, used in pairs(template.uses) do pieces[#pieces + 1] = length_and(name) .. hash_of(used) end
  end
  template.hash = host.sha256((template.parts and "parts\n" or "text\n") .. concat(pieces))
  return template.hash
end

---- the handle ----

local meta = { __name = "prompt", __metatable = "locked" }

local function handle_of(template, bound)
  local handle = host.object(meta)
  inner[handle] = { template = template, bound = bound }
  return handle
end

local function check_prompt(self, what)
  local prompt = inner[self]
  if not prompt then error(format("prompt:%s is called with a colon, on a prompt", what), 0) end
  return prompt
end

local function check_vars(vars, what)
  if vars ~= nil and type(vars) ~= "table" then error(format("prompt:%s takes a table of variables, not a %s", what, type(vars)), 0) end
  return vars or {}
end

local methods = {}

function methods:render(vars)
  local prompt = check_prompt(self, "render")
  vars = check_vars(vars, "render")
  local text = render_template({ vars = vars, bound = prompt.bound }, prompt.template)
  host.rendered(prompt.template.name, hash_of(prompt.template))
  return text
end

methods["with"] = function(self, vars)
  local prompt = check_prompt(self, "with")
  return handle_of(prompt.template, over(prompt.bound, check_vars(vars, "with")))
end

function methods:hash() return hash_of(check_prompt(self, "hash").template) end

function methods:variables()
  local prompt, names = check_prompt(self, "variables"), {}
  for name in pairs(prompt.template.needs) do
    if prompt.bound[name] == nil then names[#names + 1] = name end
  end
  return moon.json.array(names)
end

function meta.__index(self, name)
  if name == "name" then return inner[self].template.name end
  return methods[name]
end

function meta.__tostring(self)
  local template = inner[self].template
  return format("prompt %s %s", template.name, sub(hash_of(template), 1, 12))
end

-- What moon.agent makes of instructions that are no string.
function host.instructions(value)
  local prompt = inner[value]
  if not prompt then return nil end
  local text = render_template({ vars = {}, bound = prompt.bound }, prompt.template)
  return text, prompt.template.name, hash_of(prompt.template)
end

---- making one ----

local order = { "role", "task", "context", "format", "examples" }
local headings = { task = "# Task", context = "# Context", format = "# Output format", examples = "# Examples" }
local fields = { name = true, text = true, partials = true, role = true, task = true, context = true, format = true, examples = true }

local function check_fields(spec, known)
  for key in pairs(spec) do
    if not known[key] then error(format('moon.prompt: unknown field "%s"', tostring(key)), 0) end
  end
  if spec.name ~= nil and (type(spec.name) ~= "string" or spec.name == "" or #spec.name > 200) then error("moon.prompt: name must be a text of 1 to 200 bytes", 0) end
  if spec.partials ~= nil and type(spec.partials) ~= "table" then error("moon.prompt: partials must be a table of texts and prompts", 0) end
  for name, partial in pairs(spec.partials or {}) do
    if type(name) ~= "string" or not (type(partial) == "string" or inner[partial]) then
      error(format('moon.prompt: the partial "%s" must be a text or a prompt', tostring(name)), 0)
    end
  end
end

local function shared_of(spec, file) return { partials = spec.partials or {}, file = file, made = {}, open = {} } end

local function example(i, item)
  local out = { format("## Example %d", i) }
  if type(item) == "string" then
    out[2] = item
  elseif type(item) == "table" and item.input ~= nil and item.output ~= nil then
    for key in pairs(item) do
      if key ~= "input" and key ~= "output" then error(format('moon.prompt: examples[%d]: unknown field "%s" (input, output)', i, tostring(key)), 0) end
    end
    for n, side in ipairs { "input", "output" } do
      local value = item[side]
      out[n + 1] = (n == 1 and "Input:\n" or "Output:\n") .. (type(value) == "string" and value or encode(value))
    end
  else
    error(format("moon.prompt: examples[%d] must be a text, or { input =, output = }", i), 0)
  end
  return concat(out, "\n\n")
end

-- Examples that are data stand as they are: nothing in them is a slot.
local function examples_of(list)
  local out = {}
  for i, item in ipairs(list) do out[i] = example(i, item) end
  return concat(out, "\n\n")
end

local function part_of(spec, name, shared, template)
  local value = spec[name]
  local part = { name = name, heading = headings[name], bound = {} }
  if name == "examples" and type(value) == "table" then
    part.text = examples_of(value)
  elseif inner[value] then
    part.template, part.bound = inner[value].template, inner[value].bound
  elseif type(value) == "string" then
    part.template = compile({ name = template.name .. "." .. name, source = value }, shared)
  else
    error(format("moon.prompt: %s must be a text or a prompt, not a %s", name, type(value)), 0)
  end
  for needed in pairs(part.template and part.template.needs or {}) do
    if part.bound[needed] == nil then template.needs[needed] = true end
  end
  return part
end

local function from_parts(spec)
  local shared, template = shared_of(spec), { name = spec.name or "prompt", parts = {}, needs = {} }
  for _, name in ipairs(order) do
    if spec[name] ~= nil then template.parts[#template.parts + 1] = part_of(spec, name, shared, template) end
  end
  if #template.parts == 0 then error("moon.prompt: nothing is said: give text, or one of " .. concat(order, ", "), 0) end
  return handle_of(template, {})
end

local function make(_, spec)
  if type(spec) == "string" then spec = { text = spec } end
  if type(spec) ~= "table" then error(format("moon.prompt takes a text or a table, not a %s", type(spec)), 0) end
  check_fields(spec, fields)
  if spec.text == nil then return from_parts(spec) end
  for _, name in ipairs(order) do
    if spec[name] ~= nil then error(format('moon.prompt: a prompt has either text or parts, not "text" and "%s"', name), 0) end
  end
  if type(spec.text) ~= "string" then error("moon.prompt: text must be a string", 0) end
  return handle_of(compile({ name = spec.name or "prompt", source = spec.text }, shared_of(spec)), {})
end

local function file(path, options)
  if type(path) ~= "string" then error(format("moon.prompt.file takes a path, not a %s", type(path)), 0) end
  if options ~= nil and type(options) ~= "table" then error("moon.prompt.file: options must be a table", 0) end
  options = options or {}
  check_fields(options, { name = true, partials = true })
  local text, why = language.read(path)
  if not text then error(why, 0) end
  text = gsub(text, "\r?\n$", "", 1) -- the end of a file's last line is not part of what it says
  return handle_of(compile({ name = options.name or path, source = text }, shared_of(options, path)), {})
end

moon.prompt = setmetatable({ file = file }, { __call = make })
