-- SPDX-License-Identifier: MIT
-- moon.chain.*: combinators. Each takes steps (agents, tools, chains, functions, paths of scripts) and gives a chain.
--
-- Within, a step is { exec, handle, shares, node, label }: exec(value, ctx, env) → value, or nil and an error, called in place;
-- handle, for a branch of its own; node, what describe() and `moonlet graph` show. env belongs to the run: its state, and the labels
-- of the steps that it is in, the innermost at env.n, so that an error can say where it came from.
local host, moon = ...
host.need "gather"
local type, tostring, next, pairs, ipairs, select = type, tostring, next, pairs, ipairs, select
local math, format, concat = math, string.format, table.concat
local located, raise, xpcall, run = host.located, host.raise, xpcall, host.run

local chain = {}
moon.chain = chain

-- ---- steps ----

-- The error for whoever asked; the traceback, which is for people, into the run's log.
local function handler(err)
  if type(err) == "table" then return err end
  moon.log.debug(host.traceback(tostring(err)))
  return host.error(tostring(err), "failed")
end

-- What a run of a node does, as a whole run or as a branch.
local function entry(node)
  return function(input, ctx)
    local state = host.take_view(ctx.run .. "/" .. ctx.path) or host.new_state()
    local env = { n = 0, state = state }
    host.set_state(ctx, state.proxy)
    host.track(env)
    local ok, value, err = xpcall(node.exec, handler, input, ctx, env)
    if not ok then
      err = located(value)
      if env.n > 0 then err.at = concat(env, " > ", 1, env.n) end
    end
    if not ok or err ~= nil then return nil, err end
    if state.writes and state.writes[1] then host.writes(state.writes) end
    return value
  end
end

local function of_function(f)
  return function(value, ctx)
    local out, err = f(value, ctx)
    if err ~= nil and (out == nil or out == false) then return nil, err end
    return out
  end
end

local function of_handle(handle)
  return function(value)
    if value == nil then value = "" end
    return run(handle, value)
  end
end

local function as_step(x, what, label)
  local kind = type(x)
  if kind == "function" then
    local node = { kind = "function", exec = of_function(x) }
    return { exec = node.exec, node = node, label = label, shares = true }
  end
  if kind == "string" then
    local handle, why = host.load(x, { kind = "script", path = x })
    if not handle then raise(format("%s: %s: %s", what, label, why)) end
    x = handle
  end
  local of, name, definition = host.what(x)
  if not of then
    raise(format("%s: %s is %s; a step is an agent, a chain, a tool, a function or the path of a script", what, label,
      x == nil and "nil" or "a " .. kind))
  end
  local node = definition and definition.node
  if node then return { exec = node.exec, node = node, handle = x, label = label, shares = true } end
  return { exec = of_handle(x), node = { kind = definition and definition.kind or of, name = name, handle = x }, handle = x, label = label }
end

-- So that it can run as a branch.
local function apart(step)
  if not step.handle then step.handle = host.chain(step.label, entry(step.node), { node = step.node }) end
  return step
end

-- ---- what all combinators take ----

local function check(what, t, known)
  if type(t) ~= "table" then raise(format("%s takes a table, not a %s", what, type(t))) end
  local n = 0
  for key in pairs(t) do
    if math.type(key) == "integer" then
      if key > n then n = key end
    elseif known and not known[key] then
      local names = {}
      for name in pairs(known) do names[#names + 1] = name end
      raise(format('%s: unknown field "%s"%s', what, tostring(key), host.nearest(tostring(key), names)))
    end
  end
  return n
end

local function positive(what, t, name, default, least)
  local n = t[name]
  if n == nil then return default end
  if type(n) ~= "number" or n < (least or 1) or n ~= n then raise(format("%s: %s must be a number from %d up", what, name, least or 1)) end
  return n
end

local function list_of(what, t, n)
  if n == 0 then raise(what .. ": there are no steps") end
  local steps, kind = {}, what:match("[^.]+$")
  for i = 1, n do
    if t[i] == nil then raise(format("%s: step %d is nil (a name that does not exist?)", what, i)) end
    steps[i] = as_step(t[i], what, format("%s[%d]", kind, i))
  end
  return steps
end

-- The chain itself, of one kind of chain.* or of another module ("way.react"). make(steps) → exec; steps with other agents
-- (handle:with) make another one.
local new
function new(kind, options, steps, make)
  local what = kind:find(".", 1, true) and kind or "chain." .. kind
  local name = options.name
  if name ~= nil and type(name) ~= "string" then raise(what .. ": name must be a string") end
  local declared = host.check_reducers(what, options.state)
  local exec = make(steps)
  local body = exec
  if next(declared) ~= nil then
    function body(value, ctx, env)
      host.declare(env.state, declared)
      return exec(value, ctx, env)
    end
  end
  local node = { kind = kind, name = name, steps = steps, options = options, exec = body }
  function node.again(others) return new(kind, options, others, make) end
  return host.chain(name or kind, entry(node), { kind = "chain", node = node })
end

-- Calls a step in place, with its label on the way.
local function enter(step, label, value, ctx, env)
  local depth = env.n + 1
  env.n, env[depth] = depth, label
  local out, err = step.exec(value, ctx, env)
  env.n = depth - 1
  if err ~= nil then return nil, located(err, label) end
  return out
end

local function fields(text)
  local set = {}
  for word in text:gmatch("%S+") do set[word] = true end
  return set
end

-- ---- one after the other ----

local known_seq = fields "name state"

local function in_order(steps, value, ctx, env)
  local err
  for i = 1, #steps do
    value, err = enter(steps[i], steps[i].label, value, ctx, env)
    if err ~= nil then return nil, err end
  end
  return value
end

function chain.seq(t)
  local steps = list_of("chain.seq", t, check("chain.seq", t, known_seq))
  return new("seq", t, steps, function(steps) return function(value, ctx, env) return in_order(steps, value, ctx, env) end end)
end

function chain.tap(f, options)
  options = options or {}
  check("chain.tap", options, known_seq)
  local step = as_step(f, "chain.tap", "tap")
  return new("tap", options, { step }, function(steps)
    local step = steps[1]
    return function(value, ctx, env)
    local _, err = enter(step, "tap", value, ctx, env)
    if err ~= nil then return nil, err end
    return value
  end end)
end

local known_loop = fields "name state stop max at_max"

function chain.loop(t)
  local what = "chain.loop"
  local steps, stop = list_of(what, t, check(what, t, known_loop)), t.stop
  if type(stop) ~= "function" then raise(what .. ": stop must be a function(value, ctx, round) that says when it is done") end
  local max = positive(what, t, "max", 10)
  if t.at_max ~= nil and t.at_max ~= "error" and t.at_max ~= "last" then raise(what .. ': at_max must be "error" or "last"') end
  return new("loop", t, steps, function(steps) return function(value, ctx, env)
    local depth = env.n + 1
    for round = 1, max do
      local label, err = format("loop[%d]", round), nil
      env.n, env[depth] = depth, label
      value, err = in_order(steps, value, ctx, env)
      if err ~= nil then
        env.n = depth - 1
        return nil, located(err, label)
      end
      local done = stop(value, ctx, round)
      env.n = depth - 1
      if done then return value end
    end
    if t.at_max == "last" then return value end
    return nil, host.error(format("%s is not done after %d round%s (max)", t.name or "the loop", max, max == 1 and "" or "s"), "failed")
  end end)
end

-- ---- one of several ----

-- What a route is chosen by: a function, the name of a field, or a step whose answer is the choice.
local function chooser(by)
  if type(by) == "string" then return function(value) return type(value) == "table" and value[by] or nil end end
  if type(by) == "function" then return function(value, ctx) return by(value, ctx) end end
  local step = as_step(by, "chain.route", "by")
  return function(value, ctx, env)
    local out, err = enter(step, "by", value, ctx, env)
    if err ~= nil then return nil, err end
    if type(out) == "table" then out = out.route or out.choice or (next(out) and select(2, next(out))) end
    if type(out) == "string" then out = out:match("^%s*(.-)%s*$") end
    return out
  end, step
end

function chain.route(t)
  local what = "chain.route"
  if type(t) ~= "table" or t.by == nil then raise(what .. " needs `by`: a function, the name of a field, or an agent") end
  local choose, by = chooser(t.by)
  local ways, names, steps = {}, {}, { by } -- ways: the index of each in steps
  for name, x in pairs(t) do
    if name ~= "by" and name ~= "name" and name ~= "state" then
      steps[#steps + 1] = as_step(x, what, "route." .. tostring(name))
      ways[name] = #steps
      if name ~= "default" then names[#names + 1] = tostring(name) end
    end
  end
  if not next(ways) then raise(what .. ": there are no ways to go") end
  return new("route", t, steps, function(steps) return function(value, ctx, env)
    local choice, err = choose(value, ctx, env)
    if err ~= nil then return nil, err end
    local step = steps[choice ~= nil and ways[choice] or ways.default]
    if not step then
      return nil, host.error(format("route: there is no way for %s (there are: %s)", choice == nil and "nil" or format("%q", tostring(choice)),
        concat(names, ", ")), "failed")
    end
    return enter(step, step.label, value, ctx, env)
  end end)
end

local known_branch = fields "name state default"

function chain.branch(t)
  local what = "chain.branch"
  local n, cases, steps = check(what, t, known_branch), {}, {}
  for i = 1, n do
    local case = t[i]
    if type(case) ~= "table" or type(case[1]) ~= "function" or case[2] == nil then
      raise(format("%s: case %d must be { function(value, ctx) … end, step }", what, i))
    end
    cases[i], steps[i] = case[1], as_step(case[2], what, format("branch[%d]", i))
  end
  if t.default ~= nil then steps[n + 1] = as_step(t.default, what, "branch.default") end
  return new("branch", t, steps, function(steps) return function(value, ctx, env)
    for i = 1, n do
      if cases[i](value, ctx) then return enter(steps[i], steps[i].label, value, ctx, env) end
    end
    if steps[n + 1] then return enter(steps[n + 1], "branch.default", value, ctx, env) end
    return value
  end end)
end

-- ---- side by side ----

local known_all = fields "name state limit settle"

function chain.all(t)
  local what = "chain.all"
  local names, steps, list = {}, {}, true
  if type(t) ~= "table" then raise(what .. " takes a table of steps") end
  for name in pairs(t) do
    if not known_all[name] then
      names[#names + 1] = name
      list = list and math.type(name) == "integer"
    end
  end
  for i, name in ipairs(names) do
    steps[i] = apart(as_step(t[name], what, list and format("all[%d]", name) or "all." .. tostring(name)))
  end
  if #steps == 0 then raise(what .. ": there are no steps") end
  local limit = positive(what, t, "limit", #steps)
  return new("all", t, steps, function(steps) return function(value, ctx, env)
    local values, err = host.gather_all(what, #steps, function(i) return steps[i], value end,
      { limit = limit, settle = t.settle, ctx = ctx, state = env.state, label = function(i) return steps[i].label end })
    if not values then return nil, err end
    if list then return moon.json.array(values) end
    local named = {}
    for i, name in ipairs(names) do
      local v = values[i]
      if v ~= moon.json.null then named[name] = v end
    end
    return named
  end end)
end

-- The list that a step goes over.
local function items_of(what, over, value, ctx)
  local items = value
  if type(over) == "function" then
    items = over(value, ctx)
  elseif over ~= nil then
    items = type(value) == "table" and value[over] or nil
  end
  if type(items) ~= "table" then
    return nil, host.error(format("%s goes over a list, and %s is %s", what, over == nil and "its input" or
      type(over) == "function" and "what `over` gave" or format("the field %q of its input", tostring(over)),
      items == nil and "nil" or "a " .. type(items)), "failed")
  end
  return items
end

local known_each = fields "name state over limit settle"

function chain.each(x, options)
  local what = "chain.each"
  options = options or {}
  check(what, options, known_each)
  local step, limit = apart(as_step(x, what, "each")), positive(what, options, "limit", 8)
  local function label(i) return format("each[%d]", i) end
  return new("each", options, { step }, function(steps)
    local step = steps[1]
    return function(value, ctx, env)
    local items, err = items_of(what, options.over, value, ctx)
    if not items then return nil, err end
    local values
    values, err = host.gather_all(what, #items, function(i) return step, items[i] end,
      { limit = limit, settle = options.settle, ctx = ctx, state = env.state, label = label })
    if not values then return nil, err end
    return moon.json.array(values)
  end end)
end

local known_reduce = fields "name state over init"

function chain.reduce(x, options)
  local what = "chain.reduce"
  options = options or {}
  check(what, options, known_reduce)
  local step = as_step(x, what, "reduce")
  local two = type(x) == "function" -- f(total, item, ctx)
  return new("reduce", options, { step }, function(steps)
    local step = steps[1]
    return function(value, ctx, env)
    local items, err = items_of(what, options.over, value, ctx)
    if not items then return nil, err end
    local total, depth = options.init, env.n + 1
    for i = 1, #items do
      if two then
        env.n, env[depth] = depth, format("reduce[%d]", i)
        total, err = x(total, items[i], ctx)
        env.n = depth - 1
        if total == nil and err ~= nil then return nil, located(err, format("reduce[%d]", i)) end
      else
        total, err = enter(step, format("reduce[%d]", i), { total = total, item = items[i] }, ctx, env)
        if err ~= nil then return nil, err end
      end
    end
    return total
  end end)
end

local known_race = fields "name state"

function chain.race(t)
  local what = "chain.race"
  local steps = list_of(what, t, check(what, t, known_race))
  for i = 1, #steps do apart(steps[i]) end
  local function label(i) return steps[i].label end
  return new("race", t, steps, function(steps) return function(value, ctx, env)
    local out, at, writes = host.gather(what, #steps, function(i) return steps[i], value end,
      { race = true, ctx = ctx, state = env.state, label = label })
    if not writes then return nil, at end
    host.join(env.state, at, { [at] = writes[at] }, label)
    if out == moon.json.null then return nil end
    return out
  end end)
end

local known_vote = fields "name state n key min limit"

-- Answers that say the same: texts by their words' letters alone, values by their JSON.
local function same_key(value)
  if type(value) == "string" then return (value:lower():gsub("%s+", " "):gsub("^ ", ""):gsub("[ .]+$", "")) end
  return moon.json.encode(value)
end

function chain.vote(x, options)
  local what = "chain.vote"
  options = options or {}
  check(what, options, known_vote)
  local step, n = apart(as_step(x, what, "vote")), positive(what, options, "n", 3)
  local key, min = options.key or same_key, positive(what, options, "min", 1)
  if type(key) ~= "function" then raise(what .. ": key must be a function(value) that is the same for equal votes") end
  local function label(i) return format("vote[%d]", i) end
  return new("vote", options, { step }, function(steps)
    local step = steps[1]
    return function(value, ctx, env)
    local votes, writes = host.gather(what, n, function() return step, value end,
      { settle = true, limit = options.limit, ctx = ctx, state = env.state, label = label })
    local count, first, best, failure = {}, {}, nil, nil
    for i = 1, n do
      if votes[i].ok then
        local k = key(votes[i].value)
        if k == nil then k = "" end
        count[k], first[k] = (count[k] or 0) + 1, first[k] or i
      else
        failure = failure or votes[i].error
      end
    end
    for k, c in pairs(count) do -- equal counts: whose first vote came first
      if not best or c > count[best] or c == count[best] and first[k] < first[best] then best = k end
    end
    if not best then return nil, failure end
    if count[best] < min then
      return nil, host.error(format("vote: the best answer has %d of %d votes, and min is %d", count[best], n, min), "failed")
    end
    local at = first[best]
    host.join(env.state, at, { [at] = writes[at] }, label)
    return votes[at].value
  end end)
end

-- ---- again, instead, in time ----

local known_retry = fields "name state times wait backoff when"
local final = fields "interrupted needs_approval waiting script_changed configuration refused usage journal"

function chain.retry(x, options)
  local what = "chain.retry"
  options = options or {}
  check(what, options, known_retry)
  local step, times = apart(as_step(x, what, "retry")), positive(what, options, "times", 3)
  local pause, backoff = positive(what, options, "wait", 0, 0), positive(what, options, "backoff", 2)
  local when = options.when or function(err) return not final[err.stop] end
  return new("retry", options, { step }, function(steps)
    local step = steps[1]
    return function(value, ctx, env)
    local wait = pause
    for i = 1, times do
      local label = format("retry[%d]", i)
      local out, err = host.alone(what, step, value, { ctx = ctx, state = env.state, label = function() return label end })
      if err == nil then return out end
      if i == times or not when(err, i) then return nil, located(err, label) end
      if wait > 0 then moon.sleep(wait) end
      wait = wait * backoff
    end
  end end)
end

function chain.fallback(t)
  local what = "chain.fallback"
  local steps = list_of(what, t, check(what, t, known_seq))
  for i = 1, #steps do apart(steps[i]) end
  return new("fallback", t, steps, function(steps) return function(value, ctx, env)
    local errors = {}
    for i = 1, #steps do
      local label = steps[i].label
      local out, err = host.alone(what, steps[i], value, { ctx = ctx, state = env.state, label = function() return label end })
      if err == nil then return out end
      errors[i] = format("%s: %s", label, tostring(err))
      if i == #steps then return nil, host.error(concat(errors, "; "), err.stop) end
    end
  end end)
end

local known_timeout = fields "name state seconds"

function chain.timeout(x, options)
  local what = "chain.timeout"
  check(what, options, known_timeout)
  local step, seconds = apart(as_step(x, what, "timeout")), positive(what, options, "seconds", nil, 0)
  if not seconds then raise(what .. " needs seconds") end
  return new("timeout", options, { step }, function(steps)
    local step = steps[1]
    return function(value, ctx, env)
    local out, err = host.alone(what, step, value,
      { seconds = seconds, ctx = ctx, state = env.state, label = function() return "timeout" end })
    if err ~= nil then return nil, located(err, "timeout") end
    return out
  end end)
end

-- ---- not again ----

local known_cache = fields "name state key seconds max"

function chain.cache(x, options)
  local what = "chain.cache"
  options = options or {}
  check(what, options, known_cache)
  local step, key = as_step(x, what, "cache"), options.key or moon.json.encode
  local seconds, max = positive(what, options, "seconds", math.huge, 0), positive(what, options, "max", 1000)
  local kept, order, oldest = {}, {}, 1 -- key → { JSON of the value, when }; keys in the order they came
  return new("cache", options, { step }, function(steps)
    local step = steps[1]
    return function(value, ctx, env)
    local k, place, now = key(value), host.key(), moon.time()
    local was = host.recall(place, "cache")
    if was then
      if was.hit then return was.value end
      return enter(step, "cache", value, ctx, env)
    end
    local found = kept[k]
    if found and now - found[2] < seconds then
      local out = moon.json.decode(found[1])
      host.record(place, "cache", { hit = true, value = out })
      return out
    end
    host.record(place, "cache", { hit = false })
    local out, err = enter(step, "cache", value, ctx, env)
    if err ~= nil then return nil, err end
    if not found then
      order[#order + 1] = k
      if #order - oldest >= max then
        kept[order[oldest]], order[oldest] = nil, nil
        oldest = oldest + 1
      end
    end
    kept[k] = { moon.json.encode(out), now }
    return out
  end end)
end

-- ---- a function with a name ----

function moon.fn(name, f)
  if type(name) ~= "string" or type(f) ~= "function" then raise("moon.fn takes a name and a function(input, ctx)") end
  local node = { kind = "function", name = name, exec = of_function(f) }
  return host.chain(name, entry(node), { kind = "function", node = node })
end

for name, f in pairs(chain) do chain[name] = host.public(f) end
moon.fn = host.public(moon.fn)

host.as_step, host.apart, host.entry, host.enter, host.new_chain = as_step, apart, entry, enter, new
host.check_fields, host.positive, host.fields, host.same_key = check, positive, fields, same_key
