-- SPDX-License-Identifier: MIT
-- test-gaps: which code changes again and again without a test that changes with it, and what tests it needs first.
--     moonlet run test-gaps                  moonlet run test-gaps src
-- The figures come from the newest 300 commits; a model proposes the tests, and without one the figures stand alone.
local moon = require "moonlet"
local chain = moon.chain
local log = moon.tool "git.log"
local WINDOW, PAGE, MOST = 300, 20, 6

local tester = moon.agent {
  name = "tester",
  tools = { "file.read", "file.list", "search", "git.log", "git.show" },
  limits = { steps = 20, seconds = 400 },
  output = { cases = { { name = "string", what = "string", where = "string" } }, risk = "string" },
  instructions = [[
You get a file that changes often without tests. Read it, look for tests that cover it under another name, and at what its latest
fixes were about. Give the three to five test cases that would catch the most: a name, what each does and expects, and the file it
belongs into (where this repository keeps its tests); and in one sentence what will break first without them.
]],
}

local function is_test(path)
  local name = path:lower()
  for _, mark in ipairs { "^tests?/", "/tests?/", "/__tests__/", "[_.%-]test[_.]", "[_.]spec%.", "^test_", "/test_" } do
    if name:find(mark) then return true end
  end
  return false
end
local code = {}
for ext in ("c h cc cpp hpp rs go py rb js ts jsx tsx java kt swift lua php cs scala ex erl sh"):gmatch "%S+" do code[ext] = true end

-- One page of the log; of one that is too long for a result, half as much.
local function page(skip, limit)
  local found, err = log:run { limit = limit, skip = skip, stat = true }
  if err then return nil, err end
  if type(found) == "table" then return found.commits, nil, limit end
  if limit == 1 then return {}, nil, 1 end
  return page(skip, limit // 2)
end

local function count(path)
  local seen, at = {}, 0
  while at < WINDOW do
    local commits, err, limit = page(at, PAGE)
    if err then return nil, err end
    for _, commit in ipairs(commits) do
      local tested = false
      for _, file in ipairs(commit.files or {}) do tested = tested or is_test(file.path) end
      for _, file in ipairs(commit.files or {}) do
        if code[file.path:match "%.(%w+)$" or ""] and not is_test(file.path) and file.path:sub(1, #path) == path then
          local entry = seen[file.path] or { path = file.path, changes = 0, untested = 0 }
          seen[file.path], entry.changes = entry, entry.changes + 1
          if not tested then entry.untested = entry.untested + 1 end
        end
      end
    end
    at = at + limit
    if #commits < limit then break end
  end
  local list = moon.json.array {}
  for _, entry in pairs(seen) do if entry.untested > 1 then list[#list + 1] = entry end end
  table.sort(list, function(a, b) if a.untested ~= b.untested then return a.untested > b.untested end return a.path < b.path end)
  return moon.json.array(table.move(list, 1, math.min(#list, MOST), 1, {}))
end

local function one_file(gap)
  local advice, err = tester:run(gap)
  local out = { ("## `%s`\n%d of its %d changes came without a test. %s"):format(gap.path, gap.untested, gap.changes, advice and advice.risk or "") }
  for _, case in ipairs(advice and advice.cases or {}) do out[#out + 1] = ("- **%s** (`%s`): %s"):format(case.name, case.where, case.what) end
  return { text = table.concat(out, "\n"), failed = err and err.message }
end

local function report(parts)
  if #parts == 0 then return "No code file changed more than once without a test in the newest " .. WINDOW .. " commits." end
  local out, failed = { "# Where tests are missing" }, nil
  for _, part in ipairs(parts) do
    out[#out + 1] = part.text
    failed = failed or part.failed
  end
  if failed then out[#out + 1] = "Not every file has proposals: " .. failed end
  return table.concat(out, "\n\n")
end

return chain.seq { name = "test-gaps", count, chain.each(one_file, { limit = 3 }), report }
