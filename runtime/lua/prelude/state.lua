-- SPDX-License-Identifier: MIT
-- ctx.state: what the steps of a chain share.
--
-- Branches that run side by side do not see each other. Each has a view of the state as it was when the branch began; what it
-- assigns is a contribution, which joins the state when the branch has ended, in the order of the branches, not of their ends. So a
-- run that is resumed comes to the same state. Two branches may assign the same name only if a reducer says what becomes of it.
--
--   state = { notes = "append", draft = "local", scores = "merge", best = "max", seen = function(old, new) return … end }
local host = ...
local type, pairs, ipairs, next, error, tostring, setmetatable, format =
  type, pairs, ipairs, next, error, tostring, setmetatable, string.format

local function is_list(v) return type(v) == "table" and (#v > 0 or next(v) == nil) end

local reducers = {}

function reducers.append(old, new)
  local list = {}
  for i, v in ipairs(old or {}) do list[i] = v end
  if is_list(new) then
    for _, v in ipairs(new) do list[#list + 1] = v end
  else
    list[#list + 1] = new
  end
  return list
end

function reducers.merge(old, new)
  if type(new) ~= "table" then error("merge takes tables, not a " .. type(new), 0) end
  local all = {}
  for k, v in pairs(old or {}) do all[k] = v end
  for k, v in pairs(new) do all[k] = v end
  return all
end

function reducers.max(old, new) return (old == nil or new > old) and new or old end
function reducers.min(old, new) return (old == nil or new < old) and new or old end
function reducers.sum(old, new) return (old or 0) + new end
function reducers.first(old, new) if old == nil then return new end return old end
function reducers.last(_, new) return new end

-- What stays in the branch that assigned it: working space of a chain that runs in several branches.
local function stays(_, new) return new end
reducers["local"] = stays

local function copy(v, depth)
  if type(v) ~= "table" then return v end
  if depth > 100 then error("ctx.state: a value is nested too deeply", 0) end
  local out = {}
  for k, field in next, v do out[k] = copy(field, depth + 1) end
  return out
end

local NOTHING = {} -- a name that was assigned nil

local function read(s, name)
  local v = s.values[name]
  if v == NOTHING then return nil end
  if v == nil and s.parent then
    v = copy(read(s.parent, name), 0)
    s.values[name] = v -- the branch's own from now on, but not yet a contribution
  end
  return v
end

local function assign(s, name, value)
  if type(name) ~= "string" then error("ctx.state: names are strings, not a " .. type(name), 0) end
  local reduce, now = s.reducers[name], value
  if reduce and value ~= nil then now = reduce(read(s, name), value) end
  s.values[name] = now == nil and NOTHING or now
  if s.writes and reduce ~= stays then s.writes[#s.writes + 1] = { name, value } end
end

-- A new state; within a branch, a view of parent.
function host.new_state(parent)
  local s = { values = {}, parent = parent, writes = parent and {} or nil, reducers = parent and parent.reducers or {} }
  s.proxy = setmetatable({}, {
    __index = function(_, name) return read(s, name) end,
    __newindex = function(_, name, value) assign(s, name, value) end,
    __pairs = function()
      local all, from = {}, s
      while from do
        for name, v in next, from.values do
          if all[name] == nil then all[name] = v end
        end
        from = from.parent
      end
      for name, v in next, all do
        if v == NOTHING then all[name] = nil end
      end
      return pairs(all)
    end,
    __metatable = "locked",
  })
  return s
end

-- Checks the field `state` of a chain: names to reducers.
function host.check_reducers(what, list)
  local out = {}
  if list == nil then return out end
  if type(list) ~= "table" then host.raise(what .. ": state must be a table such as { notes = \"append\" }") end
  for name, reduce in pairs(list) do
    local f = type(reduce) == "function" and reduce or reducers[reduce]
    if type(name) ~= "string" or not f then
      host.raise(format('%s: state.%s: a reducer is a function, "append", "merge", "max", "min", "sum", "first", "last" or "local"', what,
        tostring(name)))
    end
    out[name] = f
  end
  return out
end

function host.declare(s, list)
  for name, reduce in next, list do s.reducers[name] = reduce end
end

-- Joins what branches wrote. writes: list of them, by index; label(i) names a branch.
function host.join(s, n, writes, label)
  local by = {}
  for i = 1, n do
    for _, write in ipairs(writes[i] or {}) do
      local name = write[1]
      if by[name] and by[name] ~= i and not s.reducers[name] then
        return nil, format('ctx.state.%s was assigned by %s and by %s; say what becomes of both: state = { %s = "append" }', name,
          label(by[name]), label(i), name)
      end
      by[name] = i
      assign(s, name, write[2])
    end
  end
  return true
end

return function() return host.new_state().proxy end
