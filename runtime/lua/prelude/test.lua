-- SPDX-License-Identifier: MIT
-- The module "moonlet.test": tests are registered while the file is loaded; host.main, a function as any script returns one, lists them or runs
-- one. docs/testing.md is the reference.
local shared, moon = ...
local host = shared.test
local type, pairs, ipairs, tostring, error, pcall, xpcall, select = type, pairs, ipairs, tostring, error, pcall, xpcall, select
local getmetatable, setmetatable = getmetatable, setmetatable
local format, find, gsub, lower, match, sub = string.format, string.find, string.gsub, string.lower, string.match, string.sub
local text, runs, json = shared.need "test_text", shared.need "test_run", moon.json
local t = { model = runs.model, workspace = host.workspace }

local tests, by_name, slugs = {}, {}, {}
local current -- the test that runs

-- ---- failures ----

local Failure = { __tostring = function(failure) return failure.message end }
local Skip = { __tostring = function(skip) return "skipped: " .. skip.why end }

local function is(value, class)
  return type(value) == "table" and getmetatable(value) == class
end

function host.fail(failure)
  failure.where = failure.where or host.where()
  error(setmetatable(failure, Failure), 0)
end

-- The test is written wrongly.
function host.misuse(message)
  host.fail { message = message }
end

-- What an error was, with its place taken out of its text.
local function failure_of(err)
  if is(err, Failure) then return err end
  local message = type(err) == "table" and err.message or err
  message = tostring(message)
  local where, rest = match(message, "^([^\n]-:%d+): (.*)$")
  return setmetatable({ message = rest or message, where = where }, Failure)
end

-- Keeps a failure that happened where it would be an agent's error. Returns its text.
function host.note(err, what)
  local failure = type(err) == "string" and not what and setmetatable({ message = err }, Failure) or failure_of(err)
  if what then failure.message = what .. ": " .. failure.message end
  current.noted[#current.noted + 1] = failure
  return failure.message
end

-- The first of what was noted, or refused, since it was last looked.
local function take_noted()
  for _, message in ipairs(host.refused()) do current.noted[#current.noted + 1] = setmetatable({ message = message }, Failure) end
  local first = current.noted[1]
  current.noted = {}
  return first
end

function host.raise_noted()
  local first = take_noted()
  if first then host.fail(first) end
end

-- ---- registering ----

local function slug(name)
  local plain = gsub(gsub(lower(sub(name, 1, 80)), "[^%w]+", "-"), "^%-*(.-)%-*$", "%1")
  if plain == "" then plain = "test" end
  local n = (slugs[plain] or 0) + 1
  slugs[plain] = n
  return n == 1 and plain or plain .. "-" .. n
end

-- test(name, [options,] function)
function t.test(name, options, call)
  if call == nil then options, call = {}, options end
  if current then host.misuse "t.test within a test: tests are registered while the file is loaded" end
  if type(name) ~= "string" or name == "" or find(name, "\n", 1, true) then host.misuse "t.test: a test has a name, a text of one line" end
  if type(call) ~= "function" then host.misuse(format('t.test: the test "%s" is a %s, not a function', name, type(call))) end
  if by_name[name] then host.misuse(format('t.test: there is a test "%s" already, at %s', name, by_name[name].where)) end
  for field in pairs(options) do
    if field ~= "skip" then host.misuse(format('t.test: unknown field "%s"; there is skip', tostring(field))) end
  end
  local test = { name = name, call = call, where = host.where(), skip = options.skip, slug = slug(name) }
  tests[#tests + 1], by_name[name] = test, test
end

function t.skip(why)
  error(setmetatable({ why = tostring(why or "") }, Skip), 0)
end

function t.fail(message)
  host.fail { message = tostring(message or "failed") }
end

-- ---- checks ----

local function with(note, message)
  return note and tostring(note) .. ": " .. message or message
end

local function equal(a, b, seen)
  if a == b then return true end
  if type(a) ~= "table" or type(b) ~= "table" then return false end
  if seen[a] == b then return true end
  seen[a] = b
  for key, value in pairs(a) do
    if not equal(value, b[key], seen) then return false end
  end
  for key in pairs(b) do
    if a[key] == nil then return false end
  end
  return true
end

-- Is all of part in whole?
local function within(whole, part)
  if type(part) ~= "table" then return whole == part end
  if type(whole) ~= "table" then return false end
  for key, value in pairs(part) do
    if not within(whole[key], value) then return false end
  end
  return true
end

local function differ(message, actual, expected)
  local failure = { message = message }
  local a, b = actual, expected
  if type(a) ~= "string" or type(b) ~= "string" or not (find(a, "\n", 1, true) or find(b, "\n", 1, true)) then
    a, b = text.show(actual), text.show(expected)
  end
  if find(a, "\n", 1, true) and find(b, "\n", 1, true) then
    failure.diff = text.diff(b, a)
  else
    failure.expected, failure.actual = b, a
  end
  host.fail(failure)
end

function t.equal(actual, expected, note)
  if not equal(actual, expected, {}) then differ(with(note, "they are not equal"), actual, expected) end
end

function t.not_equal(actual, other, note)
  if equal(actual, other, {}) then host.fail { message = with(note, "they are equal"), actual = text.show(actual) } end
end

function t.has(actual, part, note)
  if not within(actual, part) then differ(with(note, "it does not have all of this"), actual, part) end
end

function t.ok(value, note)
  if not value then host.fail { message = with(note, "it is not true"), actual = text.show(value) } end
  return value
end

function t.matches(actual, pattern, note)
  if type(actual) == "string" and find(actual, pattern) then return end
  host.fail { message = with(note, "it does not match"), expected = text.show(pattern), actual = text.show(actual) }
end

-- A text holds another, a list an element.
function t.contains(whole, part, note)
  if type(whole) == "string" and type(part) == "string" then
    if find(whole, part, 1, true) then return end
  elseif type(whole) == "table" then
    for _, item in ipairs(whole) do
      if equal(item, part, {}) then return end
    end
  end
  host.fail { message = with(note, "it does not hold this"), expected = text.show(part), actual = text.show(whole) }
end

-- The function raises an error, which is returned.
function t.fails(f, pattern)
  local ok, err = pcall(f)
  if ok then host.fail { message = "it raises no error" } end
  local message = tostring(type(err) == "table" and err.message or err)
  if pattern and not find(message, pattern) then
    host.fail { message = "it raises another error", expected = text.show(pattern), actual = text.show(message) }
  end
  return message
end

-- ---- checks of runs ----

local function check_run(run, what)
  if not is(run, runs.Run) then host.misuse(what .. " takes what t.run returned") end
end

local function list_calls(run)
  local lines = {}
  for i, call in ipairs(run.calls) do
    lines[i] = format("%d. %s %s%s", i, call.name, text.show(call.arguments, "  "), call.denied and " (denied)" or call.ok == false and " (failed)" or "")
  end
  return #lines > 0 and table.concat(lines, "\n") or "no calls"
end

local function count(run, name, want)
  local n = 0
  for _, call in ipairs(run.calls) do
    if call.name == name and (want.ok == nil or call.ok == want.ok) and
      (want.arguments == nil or within(call.arguments, want.arguments)) then n = n + 1 end
  end
  return n
end

-- called(run, tool, { n = times, arguments = part of them, ok = whether it went well })
function t.called(run, name, want)
  check_run(run, "t.called")
  want = want or {}
  for field in pairs(want) do
    if field ~= "n" and field ~= "arguments" and field ~= "ok" then
      host.misuse(format('t.called: unknown field "%s"; there are n, arguments, ok', tostring(field)))
    end
  end
  local n = count(run, name, want)
  if want.n == nil and n > 0 or n == want.n then return end
  local like = want.arguments and " with " .. text.show(want.arguments) or ""
  host.fail {
    message = format("%s was called %d times%s", name, n, like),
    expected = want.n and format("%d times", want.n) or "at least once",
    actual = list_calls(run),
  }
end

function t.not_called(run, name)
  check_run(run, "t.not_called")
  if count(run, name, {}) > 0 then host.fail { message = name .. " was called", actual = list_calls(run) } end
end

function t.done(run)
  check_run(run, "t.done")
  if run.stop ~= "done" then
    host.fail { message = "the run did not end well", expected = '"done"', actual = text.show(run.stop) .. ": " .. tostring(run.error) }
  end
  return run
end

-- ---- snapshots ----

local function snapshot_text(value)
  if is(value, runs.Run) then return text.transcript(value) end
  if type(value) == "string" then return sub(value, -1) == "\n" and value or value .. "\n" end
  return text.show(value) .. "\n"
end

-- snapshot(run or value, [name]): as it was when it was written with --update
function t.snapshot(value, name)
  local n = current.snapshots + 1
  current.snapshots = n
  local file = current.test.slug .. (name and "-" .. slug(tostring(name)) or n > 1 and "-" .. n or "")
  local now, before = snapshot_text(value), host.snapshot_read(file)
  current.files[#current.files + 1] = host.snapshot_path(file)
  if now == before then return end
  if host.update then
    host.snapshot_write(file, now)
    current.written = current.written + 1
  elseif before then
    host.fail { message = "it differs from the snapshot " .. host.snapshot_path(file) .. " (--update takes it as it is now)",
      diff = text.diff(before, now) }
  else
    host.fail { message = "there is no snapshot " .. host.snapshot_path(file) .. " yet (--update writes it)", actual = now }
  end
end

-- ---- runs and the workspace ----

function t.run(what, options)
  if not current then host.misuse "t.run works within a test" end
  return runs.run(what, options)
end

function t.tool(name, arguments)
  return runs.tool(name, arguments)
end

-- An answer that calls a tool; more of them: t.call(name, arguments, name, arguments …).
function t.call(...)
  local calls = {}
  for i = 1, select("#", ...), 2 do
    local name, arguments = select(i, ...)
    calls[#calls + 1] = { name = name, arguments = arguments or {} }
  end
  return { tool_calls = calls }
end

t.write, t.read, t.git = host.write, host.read, runs.git

-- ---- running ----

local function on_error(err)
  if is(err, Skip) then return err end
  local failure = failure_of(err)
  failure.where = failure.where or host.where()
  if not is(err, Failure) then failure.trace = text.trace(host.trace()) end
  return failure
end

local function outcome()
  local ok, err = xpcall(current.test.call, on_error)
  if not ok and is(err, Skip) then return { status = "skipped", why = err.why } end
  local failures = json.array {}
  if not ok then -- without memory, no handler was called
    failures[1] = type(err) == "table" and err or { message = tostring(err) .. " (a script may use 64 MiB)", where = current.test.where }
  end
  local noted = take_noted()
  if noted then failures[#failures + 1] = noted end
  if #failures == 0 then
    for _, left in ipairs(runs.left()) do failures[#failures + 1] = left end
  end
  return { status = #failures == 0 and "passed" or "failed", failures = failures }
end

local function list()
  local out = json.array {}
  for i, test in ipairs(tests) do out[i] = { name = test.name, where = test.where, skip = test.skip and tostring(test.skip) or nil } end
  return { tests = out }
end

function host.main(input)
  local test = tests[json.decode(input).test]
  if not test then return list() end
  current = { test = test, noted = {}, snapshots = 0, written = 0, files = json.array {} }
  local out = outcome()
  out.snapshots, out.written = current.files, current.written
  return out
end

return t
