-- SPDX-License-Identifier: MIT
-- Branches side by side. A branch is a run of its own, a child of the one that started it: it has its path in the journal, its
-- result is kept, and it is cancelled with its parent.
--
-- Branches are begun in their order, so their places are the same whenever the run is resumed; they end in any order, so nothing
-- here follows from the order of ends but what is recorded: which branch decided (the first that failed, the winner of a race), and
-- how many had been begun then. A branch that failed for a limit may go on when the run is resumed: then nothing was decided.
local host, moon = ...
host.need "state"
local type, tostring, format, concat = type, tostring, string.format, table.concat

local views = {} -- run/path → the state that a branch begins with

function host.take_view(key)
  local state = views[key]
  views[key] = nil
  return state
end

-- Makes an error of anything that a function gave as one, and says where in the chain it came from.
function host.located(err, label)
  if type(err) ~= "table" then err = host.error(tostring(err), "failed") end
  if type(err.message) ~= "string" then err.message = type(err) == "table" and (moon.json.encode(err)) or tostring(err) end
  if label then err.at = err.at and label .. " > " .. err.at or label end
  return err
end

-- Runs n branches. job(i) → the step and its input. o: limit (how many at once), settle, race, seconds, label(i), ctx, state.
-- Returns the list of values, and what each wrote; with settle, of { ok, value or error }; with race, the value and its index.
-- Else nil and the error of the branch that decided.
function host.gather(what, n, job, o)
  local set, key = host.children(what), host.key "b"
  local decided = host.recall(key, "branches")
  local values, writes, errors, keys = {}, {}, {}, {}
  local run, state = o.ctx and o.ctx.run .. "/", o.state
  local limit, started, at = o.limit or n, 0, nil
  if decided and decided.started > limit then limit = decided.started end

  local function start()
    local i = started + 1
    started = i
    local step, input = job(i)
    local path = host.add(set, step.handle, input == nil and "" or input, o.seconds)
    if state and step.shares then
      keys[i] = run .. path
      views[keys[i]] = host.new_state(state)
    end
  end

  -- Does the end of branch i decide?
  local function decides(i, err) return not o.settle and (o.race and err == nil or not o.race and err ~= nil) end

  local function decide(i)
    at = i
    if not decided then host.record(key, "branches", { at = i, started = started }) end
    host.cancel(set)
  end

  while started < n and started < limit do start() end
  for i, value, err, wrote in host.next, set do
    if keys[i] then views[keys[i]] = nil end
    writes[i] = wrote
    if err then errors[i] = err end
    if o.settle then
      values[i] = err and { ok = false, error = host.located(err, o.label(i)) } or { ok = true, value = value }
    else
      values[i] = err == nil and value == nil and moon.json.null or value
    end
    if decided and i == decided.at and not decides(i, err) then -- it went on after a resume, and ended otherwise
      decided = nil
      for j = 1, started do
        if not at and errors[j] and decides(j, errors[j]) then decide(j) end
      end
    elseif not at and decides(i, err) and (not decided or i == decided.at) then
      decide(i)
    end
    if not at and not decided and started < n then start() end
  end

  if o.race then
    if at then return values[at], at, writes end
    local all = {}
    for i = 1, n do all[i] = format("%s: %s", o.label(i), tostring(errors[i])) end
    return nil, host.error(concat(all, "; "), errors[1] and errors[1].stop)
  end
  if at then return nil, host.located(errors[at], o.label(at)) end
  return values, writes
end

-- The same, and joins what the branches wrote.
function host.gather_all(what, n, job, o)
  local values, writes = host.gather(what, n, job, o)
  if not values then return nil, writes end
  if o.state then
    local ok, why = host.join(o.state, n, writes, o.label)
    if not ok then return nil, host.error(why, "failed") end
  end
  return values
end

-- One step as a branch: what it raises is an error like others, and it can be cancelled alone.
function host.alone(what, step, input, o)
  local values, writes = host.gather_all(what, 1, function() return step, input end, o)
  if not values then
    writes.at = writes.at ~= o.label(1) and writes.at or nil
    return nil, writes
  end
  if values[1] == moon.json.null then return nil end
  return values[1]
end
