-- SPDX-License-Identifier: MIT
-- todos: a table of the open TODO and FIXME of a repository, most urgent first, with who wrote each and when.
--     moonlet run todos                      moonlet run todos src
-- A model judges each file's marks; where none can be asked, a rule does, so that the table is there in any case.
local moon = require "moonlet"
local chain = moon.chain
local search, blame = moon.tool "search", moon.tool "git.blame"
local rank = { now = 1, soon = 2, later = 3, drop = 4 }

local judge = moon.agent {
  name = "judge",
  tools = { "file.read", "search", "git.log" },
  limits = { steps = 15, seconds = 300 },
  output = { marks = { { line = "integer", priority = { enum = { "now", "soon", "later", "drop" } }, why = "string" } } },
  instructions = [[
You get the TODO and FIXME marks of one file. Read the code around each, and give for each its line, its priority (now: it is a bug or a risk; soon: it
hinders work; later: a wish; drop: it is done already, or nobody will) and why, in at most twelve words.]],
}

-- The text of search, as a list of files with their marks.
local function files_of(path)
  local text, err = search:run { pattern = "\\b(TODO|FIXME|XXX|HACK)\\b", path = path ~= "" and path or ".", limit = 300 }
  if err then return nil, err end
  local files = moon.json.array {}
  for block in (text .. "\n\n"):gmatch "(.-)\n\n" do
    local name, rest = block:match "^([^\n]+)\n(%d+:.*)$"
    if name then
      local marks = {}
      for line, mark in (rest .. "\n"):gmatch "(%d+): ([^\n]*)\n" do
        marks[#marks + 1] = { line = tonumber(line), text = mark:match "^%s*(.-)%s*$":sub(1, 160) }
      end
      files[#files + 1] = { path = name, marks = marks }
    end
  end
  return files
end

local function by_rule(file)
  local out = {}
  for i, mark in ipairs(file.marks) do
    local urgent = mark.text:find "FIXME" or mark.text:find "XXX"
    out[i] = { line = mark.line, priority = urgent and "soon" or "later", why = urgent and "marked as broken" or "marked as open" }
  end
  return { marks = out }
end

local function dated(file)
  for _, mark in ipairs(file.marks) do
    local found = blame:run { path = file.path, from = mark.line, to = mark.line } -- not committed yet, or no repository: no date
    local hunk = found and found.hunks and found.hunks[1]
    if hunk then mark.who, mark.when = hunk.author, hunk.time:sub(1, 10) end
  end
  return file
end

local function one_file(file)
  local judged, err = judge:run(dated(file))
  local by_line, rows = {}, moon.json.array {}
  if not judged then judged = by_rule(file) end
  for _, mark in ipairs(judged.marks) do by_line[mark.line] = mark end
  for i, mark in ipairs(file.marks) do
    local said = by_line[mark.line] or { priority = "later", why = "" }
    rows[i] = { path = file.path, line = mark.line, text = mark.text, who = mark.who, when = mark.when, priority = said.priority,
      why = said.why, unjudged = err and err.message }
  end
  return rows
end

local function cell(text) return (tostring(text or ""):gsub("|", "\\|"):gsub("%c", " ")) end

local function as_table(lists)
  local rows, unjudged, why, out = {}, 0, nil, { "| priority | where | what | why | since | by |", "| --- | --- | --- | --- | --- | --- |" }
  for _, list in ipairs(lists) do for _, row in ipairs(list) do rows[#rows + 1] = row end end
  if #rows == 0 then return "There are no TODO or FIXME marks." end
  for i, row in ipairs(rows) do row.at = i end
  table.sort(rows, function(a, b)
    if rank[a.priority] ~= rank[b.priority] then return rank[a.priority] < rank[b.priority] end
    return (a.when or "9") .. ("%06d"):format(a.at) < (b.when or "9") .. ("%06d"):format(b.at)
  end)
  for _, row in ipairs(rows) do
    out[#out + 1] = ("| %s | `%s:%d` | %s | %s | %s | %s |"):format(row.priority, cell(row.path), row.line, cell(row.text), cell(row.why), cell(row.when), cell(row.who))
    if row.unjudged then unjudged, why = unjudged + 1, why or row.unjudged end
  end
  if unjudged > 0 then out[#out + 1] = ("\n%d of them by a rule, no model has judged them: %s"):format(unjudged, why) end
  return table.concat(out, "\n")
end

return chain.seq { name = "todos", files_of, chain.each(one_file, { limit = 6 }), as_table }
