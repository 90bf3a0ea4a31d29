-- SPDX-License-Identifier: MIT
-- What is easier to take away or to wrap in Lua than in C.
local host = ...
local xpcall, spent = xpcall, host.spent

-- A handler runs inside the hook that found the budget spent, where no hook can stop it: then it does not run.
function _G.xpcall(f, handler, ...)
  return xpcall(f, function(message)
    if spent() then return message end
    return handler(message)
  end, ...)
end

-- In the order of the keys: numbers, strings, false, true, then what has no order. Lua's own order differs from process
-- to process, and a run that is resumed would go another way.
local next, type, sort, get, own_pairs, raw = next, type, table.sort, rawget, host.own_pairs, pairs
local rank = { number = 1, string = 2, boolean = 3 }
local function before(a, b)
  local kind = type(a)
  if kind ~= type(b) then return rank[kind] < rank[type(b)] end
  if kind == "boolean" then return not a and b end
  return a < b
end

function _G.pairs(t)
  if type(t) ~= "table" or own_pairs(t) then return raw(t) end
  local keys, rest, n, m = {}, {}, 0, 0
  for key in next, t do
    if rank[type(key)] then
      n = n + 1
      keys[n] = key
    else
      m = m + 1
      rest[m] = key
    end
  end
  sort(keys, before)
  for i = 1, m do keys[n + i] = rest[i] end
  local i = 0
  return function()
    local key, value
    repeat
      i = i + 1
      key = keys[i]
      if key == nil then return nil end
      value = get(t, key)
    until value ~= nil
    return key, value
  end, t, nil
end
