-- SPDX-License-Identifier: MIT
-- What all that can be run shares, beside :run: the methods of agents, chains and tools.
local host, moon = ...
host.need "chain"
local type, tostring, pairs, ipairs, next, setmetatable, format =
  type, tostring, pairs, ipairs, next, setmetatable, string.format
local methods, what, raise = host.methods, host.what, host.raise

-- ---- many inputs ----

local batch_fields = { limit = true, settle = true }

-- handle:batch(list, { limit = 8, settle = false }): a run for each, in their order.
function methods.batch(self, list, options)
  options = options or {}
  host.check_fields("batch", options, batch_fields)
  if type(list) ~= "table" then raise("batch takes a list of inputs") end
  local step, limit = { handle = self }, host.positive("batch", options, "limit", 8)
  local values, err = host.gather("batch", #list, function(i) return step, list[i] end,
    { limit = limit, settle = options.settle, label = function(i) return format("batch[%d]", i) end })
  if not values then return nil, err end
  return moon.json.array(values)
end

-- ---- as it goes ----

local stream = {}
stream.__index = stream
stream.__metatable = "locked"

-- for event in stream do … end
function stream:__call() return host.event(self.set) end

-- Waits for the end: the result, or nil and an error.
function stream:result()
  if not self.ended then
    local _, value, err = host.next(self.set)
    self.ended, self.value, self.err = true, value, err
  end
  return self.value, self.err
end

function stream:cancel() host.cancel(self.set) end

-- handle:stream(input): the run's events as they come, deltas too, those of its children with their paths; then its result. Events
-- are for showing: a run that is resumed has the result, but not the events again.
function methods.stream(self, input)
  local set = host.children "stream"
  host.listen(set, host.add(set, self, input))
  return setmetatable({ set = set }, stream)
end

-- ---- as a tool ----

local tool_fields = { name = true, description = true, params = true, effects = true, timeout = true }

-- handle:as_tool { name, description, params, effects, timeout }: a tool that runs it. Without params it takes { input = "string" }.
-- The call itself only reads: what the run does is asked for where it is done.
function methods.as_tool(self, options)
  options = options or {}
  host.check_fields("as_tool", options, tool_fields)
  local _, name, definition = what(self)
  local params = options.params or { input = "string" }
  local tool = moon.tool {
    name = options.name or name,
    description = options.description or definition and definition.description or ("Runs " .. name .. ". Give it its task as input."),
    params = params,
    effects = options.effects or { read_only = true },
    timeout = options.timeout or 86400,
    call = function(args)
      if not options.params then args = args.input end
      return host.run(self, args)
    end,
  }
  local _, _, made = what(tool)
  made.runs = self -- for describe()
  return tool
end

-- ---- changed copies ----

local function merged(spec, changes)
  local all = {}
  for key, value in pairs(spec) do all[key] = value end
  for key, value in pairs(changes) do
    if key == "limits" and type(all.limits) == "table" and type(value) == "table" then value = merged(all.limits, value) end
    all[key] = value
  end
  return all
end

-- handle:with { model = …, limits = …, tools = … }: the same with other fields; of a chain, in all its agents.
function methods.with(self, changes)
  if type(changes) ~= "table" then raise("with takes a table such as { model = \"openai/gpt-5-mini\" }") end
  local kind, name, definition = what(self)
  if kind == "agent" then return moon.agent(merged(definition, changes)) end
  if kind == "tool" then return moon.tool(merged(definition, changes)) end
  local node = definition.node
  if not node or node.kind == "function" then
    raise(format("%s cannot be changed by with: it is %s", name, node and "a function" or "another script's"))
  end
  return host.changed(node, changes)
end

local function change_step(step, changes)
  local node = step.node
  local changed = step
  if node.kind == "agent" then changed = host.as_step(node.handle:with(changes), "with", step.label) end
  if node.steps then changed = host.as_step(host.changed(node, changes), "with", step.label) end
  return host.apart(changed)
end

-- A chain of the same kind over changed steps.
function host.changed(node, changes)
  local steps = {}
  for i, step in ipairs(node.steps) do steps[i] = change_step(step, changes) end
  return node.again(steps)
end

-- ---- what it is ----

local function schema(short, label, arguments)
  if short == nil then return nil end
  return (host.need "schema")(short, label, arguments)
end

local describe

local open, told = {}, {} -- agents that are being described: they may refer to each other; and those that have been

-- The names of an agent's tools, and what runs behind those that run something.
local function describe_tools(tools)
  local names, runs = {}, {}
  for i, tool in ipairs(tools) do
    if type(tool) == "string" then
      names[i] = tool
    else
      local _, name, definition = what(tool)
      names[i] = name
      if definition.runs and not open[definition.runs] then runs[#runs + 1] = describe(definition.runs) end
    end
  end
  return names, runs[1] and runs or nil
end

-- Those to whom an agent may hand over; one that is told of elsewhere in the tree only by its name. A list of all agents may stand in each
-- of them: described whole at every place, ten would be millions.
local function describe_handoffs(list)
  local out = {}
  for i, to in ipairs(list) do
    if type(to) == "table" then to = to.agent end
    if type(to) == "function" then to = to() end
    local kind, name = what(to)
    if kind ~= "agent" then raise(format("describe: handoffs[%d]: the function gave a %s instead of an agent", i, kind or type(to))) end
    out[i] = told[to] and { kind = "agent", name = name, again = true } or describe(to)
  end
  return out[1] and out or nil
end

local hook_names = { "before_model", "after_model", "before_tool", "after_tool", "on_event" }

local function describe_hooks(hooks)
  local names = {}
  for _, name in ipairs(hook_names) do
    if hooks[name] then names[#names + 1] = name end
  end
  return names[1] and names or nil
end

local function describe_agent(handle, name, spec)
  local model = spec.model
  if model ~= nil and type(model) ~= "string" then model = "a script's own" end
  open[handle], told[handle] = true, true
  local names, runs
  if spec.tools then names, runs = describe_tools(spec.tools) end
  local handoffs = spec.handoffs and describe_handoffs(spec.handoffs)
  open[handle] = nil
  return { kind = "agent", name = name, description = spec.description, model = model, tools = names, runs = runs, handoffs = handoffs,
    hooks = spec.hooks and describe_hooks(spec.hooks), input = { type = "string" }, output = schema(spec.output, "output") or { type = "string" } }
end

local function plain(options)
  local out = {}
  for key, value in pairs(options) do
    local kind = type(value)
    if type(key) == "string" and (kind == "string" or kind == "number" or kind == "boolean") then out[key] = value end
  end
  out.name = nil
  return next(out) and out or nil
end

local function describe_node(node)
  if node.handle then return describe(node.handle) end
  local out = { kind = node.kind, name = node.name, options = node.options and plain(node.options) }
  if node.steps then
    local steps = {}
    for i, step in ipairs(node.steps) do
      local inner = describe_node(step.node)
      inner.label = step.label
      steps[i] = inner
    end
    out.steps = moon.json.array(steps)
  end
  return out
end

function describe(handle)
  local kind, name, definition = what(handle)
  if kind == "agent" then return describe_agent(handle, name, definition) end
  if kind == "tool" or definition.kind == "tool" then
    return { kind = "tool", name = name, description = definition.description, input = schema(definition.params, "params", true) }
  end
  if definition.kind == "script" then return { kind = "script", name = name, path = definition.path } end
  local out = describe_node(definition.node)
  out.name = out.name or name
  return out
end

-- handle:describe(): its name, kind, input and output as JSON Schema, of a chain its steps, of an agent those that it may hand over to.
function methods.describe(self)
  open, told = {}, {}
  return describe(self)
end

for name, f in pairs(methods) do methods[name] = host.public(f) end
