-- SPDX-License-Identifier: MIT
-- What a test shows: values, differences, and the transcript of a run. Returns { show, lines, diff, normal, transcript }.
local shared, moon = ...
local host = shared.test
local type, pairs, ipairs, tostring, tonumber = type, pairs, ipairs, tostring, tonumber
local format, rep, find, gsub, sub, match, gmatch = string.format, string.rep, string.find, string.gsub, string.sub, string.match, string.gmatch
local concat, sort, max, min = table.concat, table.sort, math.max, math.min
local text = {}

local DEPTH, DIFF_CELLS, DIFF_LINES, CONTEXT, RESULT_LINES = 12, 400000, 80, 3, 200

-- ---- values ----

local function key_text(key)
  if type(key) == "string" and match(key, "^[%a_][%w_]*$") then return key end
  return "[" .. text.show(key) .. "]"
end

local function quoted(value)
  return (gsub(format("%q", value), "\\\n", "\\n"))
end

-- As Lua would write it, keys in order; over several lines if one would be too long.
function text.show(value, indent, depth)
  indent, depth = indent or "", depth or 0
  if type(value) == "string" then return quoted(value) end
  if type(value) ~= "table" then return tostring(value) end
  if depth == DEPTH then return "{…}" end
  local parts, n, width = {}, #value, 0
  for key, item in pairs(value) do
    local shown = text.show(item, indent .. "  ", depth + 1)
    if not (type(key) == "number" and key >= 1 and key <= n) then shown = key_text(key) .. " = " .. shown end
    parts[#parts + 1] = shown
    width = width + #shown + 2
  end
  if #parts == 0 then return "{}" end
  if width + #indent <= 100 and not find(concat(parts), "\n", 1, true) then return "{ " .. concat(parts, ", ") .. " }" end
  return "{\n" .. indent .. "  " .. concat(parts, ",\n" .. indent .. "  ") .. "\n" .. indent .. "}"
end

function text.lines(value)
  local lines = {}
  for line in gmatch(value, "([^\n]*)\n?") do lines[#lines + 1] = line end
  if lines[#lines] == "" then lines[#lines] = nil end
  return lines
end

-- A traceback without what is ours.
function text.trace(trace)
  local lines = {}
  for _, line in ipairs(text.lines(trace)) do
    if not find(line, "^%s*%[") and not find(line, "tail calls", 1, true) then lines[#lines + 1] = line end
  end
  return concat(lines, "\n")
end

-- ---- differences ----

-- The lengths of the longest common subsequences of what follows each pair of lines.
local function common(a, b, from, a_to, b_to)
  local lengths = {}
  for i = a_to + 1, from, -1 do
    local row, below = {}, lengths[i + 1]
    for j = b_to + 1, from, -1 do
      if i > a_to or j > b_to then
        row[j] = 0
      elseif a[i] == b[j] then
        row[j] = below[j + 1] + 1
      else
        row[j] = max(below[j], row[j + 1])
      end
    end
    lengths[i] = row
  end
  return lengths
end

local function walk(a, b, from, a_to, b_to, put)
  local lengths, i, j = common(a, b, from, a_to, b_to), from, from
  while i <= a_to or j <= b_to do
    if i <= a_to and j <= b_to and a[i] == b[j] then
      put(" ", a[i])
      i, j = i + 1, j + 1
    elseif i <= a_to and (j > b_to or lengths[i + 1][j] >= lengths[i][j + 1]) then
      put("-", a[i])
      i = i + 1
    else
      put("+", b[j])
      j = j + 1
    end
  end
end

local function replaced(a, b, from, a_to, b_to, put)
  for i = from, min(a_to, from + DIFF_LINES // 2) do put("-", a[i]) end
  for j = from, min(b_to, from + DIFF_LINES // 2) do put("+", b[j]) end
end

-- "- expected", "+ actual", with a few lines of context around.
function text.diff(expected, actual)
  local a, b = text.lines(expected), text.lines(actual)
  local from, a_to, b_to = 1, #a, #b
  while from <= a_to and from <= b_to and a[from] == b[from] do from = from + 1 end
  while a_to >= from and b_to >= from and a[a_to] == b[b_to] do a_to, b_to = a_to - 1, b_to - 1 end
  local out = {}
  local function put(sign, line)
    if #out < DIFF_LINES then out[#out + 1] = sign .. " " .. line end
    if #out == DIFF_LINES then out[#out + 1] = "… and more" end
  end
  out[1] = format("@@ line %d (- expected, + actual)", max(1, from - CONTEXT))
  for i = max(1, from - CONTEXT), from - 1 do put(" ", a[i]) end
  local cells = (a_to - from + 2) * (b_to - from + 2);
  (cells <= DIFF_CELLS and walk or replaced)(a, b, from, a_to, b_to, put)
  for i = a_to + 1, min(#a, a_to + CONTEXT) do put(" ", a[i]) end
  if from > a_to and from > b_to then put(" ", "(they differ in the end of the last line only)") end
  return concat(out, "\n")
end

-- ---- what differs from run to run ----

local function escaped(value)
  return (gsub(value, "%p", "%%%0"))
end

-- Names for commits, in the order in which they come: an id has 10 or 40 digits, and is the same one if it begins the same.
local function commits()
  local names, n = {}, 0
  return function(word)
    if (#word ~= 10 and #word ~= 40) or not find(word, "%d") or not find(word, "%a") then return nil end
    local id = sub(word, 1, 10)
    if not names[id] then
      n = n + 1
      names[id] = "<commit " .. n .. ">"
    end
    return names[id]
  end
end

function text.normal(value, run_id)
  value = gsub(value, escaped(host.workspace), "<workspace>")
  if run_id then value = gsub(value, escaped(run_id), "<run>") end
  value = gsub(value, "%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d[%d.]*[Z+-]?[%d:]*", "<time>")
  value = gsub(value, '("wall_ms":)%d+', "%10")
  return (gsub(value, "%f[%w]%x+%f[%W]", commits()))
end

-- ---- the transcript of a run ----

local function indented(value, by)
  local lines = text.lines(value)
  local cut = #lines > RESULT_LINES and #lines - RESULT_LINES or 0
  for i = #lines, 1, -1 do lines[i] = i > RESULT_LINES and nil or (lines[i] == "" and "" or by .. lines[i]) end
  if cut > 0 then lines[#lines + 1] = by .. "… " .. cut .. " more lines" end
  return concat(lines, "\n")
end

local put_event = {
  ["run.created"] = function(put, body) if body.input ~= "" then put("input:\n" .. indented(body.input, "    ")) end end,
  ["model.response"] = function(put, body)
    put("\nstep " .. body.step)
    if body.text ~= "" then put("  says:\n" .. indented(body.text, "    ")) end
  end,
  ["tool.intent"] = function(put, body, results)
    put("  calls " .. body.tool .. " " .. moon.json.encode(body.arguments))
    local result = results[body.call]
    if not result then return put("    (no result)") end
    put("    " .. (result.denied and "denied" or result.ok and "ok" or "failed") .. ":\n" .. indented(result.text, "      "))
  end,
  ["tool.result"] = function(put, body, _, intents)
    if not intents[body.call] then put("  does not call " .. body.tool .. ":\n" .. indented(body.text, "      ")) end
  end,
  ["approval.asked"] = function(put, body) put("  asks for leave to call " .. body.tool .. " " .. moon.json.encode(body.arguments)) end,
  ["approval.given"] = function(put, body) put("  is told " .. (body.allow and "yes" or "no")) end,
  ["model.retry"] = function(put, body) put("  tries again: " .. body.error) end,
  ["log"] = function(put, body) put("  logs " .. body.level .. ": " .. body.text) end,
  ["plan.updated"] = function(put, body)
    for _, item in ipairs(body.items) do put("  plans [" .. item.state .. "] " .. item.text) end
  end,
  ["value.recorded"] = function(put, body)
    if body.kind == "clock" or match(body.kind, "^sleep") or match(body.kind, "^wait ") then return put("  " .. body.kind) end
    if body.kind ~= "time" then put("  " .. body.kind .. ": " .. moon.json.encode(body.value)) end
  end,
  ["run.finished"] = function(put, body)
    put("\nends: " .. body.stop_reason .. (body.error and ": " .. body.error or ""))
    if body.text ~= "" then put(indented(body.text, "    ")) end
  end,
}

-- "c3.1" before "c10", whatever finished first.
local function by_place(a, b)
  local function padded(path) return (gsub(path, "%d+", function(n) return format("%09d", tonumber(n)) end)) end
  return padded(a) < padded(b)
end

-- Each run of the tree by itself, in the order of the code that started them: what ran side by side reads the same each time.
function text.transcript(run)
  local paths, names, events, results, intents, out = {}, {}, {}, {}, {}, {}
  for _, event in ipairs(run.events) do
    if event.type == "tool.intent" then intents[event.body.call] = true end
    if event.type == "tool.result" then results[event.body.call] = event.body end
    if not events[event.path] then
      events[event.path] = {}
      paths[#paths + 1] = event.path
    end
    if event.type == "run.created" then names[event.path] = event.body.name end
    local list = events[event.path]
    list[#list + 1] = event
  end
  sort(paths, by_place)
  local function put(line) out[#out + 1] = line end
  for _, path in ipairs(paths) do
    put((path == "" and "run " or "\nrun " .. path .. " ") .. (names[path] or ""))
    for _, event in ipairs(events[path]) do
      local say = put_event[event.type]
      if say then say(put, event.body, results, intents) end
    end
  end
  return text.normal(concat(out, "\n") .. "\n", run.id)
end

return text
