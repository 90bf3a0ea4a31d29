-- SPDX-License-Identifier: MIT
-- offline: the model that is used when none is configured. It is no language model: for the shipped agents it holds a policy that
-- looks at the repository through the same tools, calls and loop as a model would, and writes down what the results say. Nothing
-- but tool results gets into a text; the same repository gives the same text.
--
-- How it works. The runtime asks for one answer at a time and hands over the whole conversation. The policies below are written as
-- plain sequential code all the same: at every step a policy runs again from its top, in a coroutine, and every `ask` that the
-- conversation holds results for returns at once. The first one that it does not hold results for becomes this step's tool
-- calls. So there is no state besides the conversation.
local moon = require "moonlet"

---------------------------------------------------------------------------------------------------------------------------
-- The conversation as recorded rounds of calls and results

local MOST_CALLS = 60 -- of one message; the runtime takes 128

local Session = {}
Session.__index = Session

local function decode(text)
  local ok, value = pcall(moon.json.decode, text)
  return ok and type(value) == "table" and value or nil
end

-- A result's text, and its JSON value unless it is an error, plain text or cut.
local function result_of(message)
  local text = message.content or ""
  local size = text:match("^%[result of (%d+) bytes cut;")
  local spill = size and text:match("^[^\n]- (@spill/[%w._-]+)")
  local value = not (size or message.is_error) and text:find("^%s*[{%[]") and decode(text) or nil
  return { text = text, failed = message.is_error, cut = size and tonumber(size), spill = spill, value = value }
end

-- Each assistant message with tool calls opens a round; the tool messages after it are its results, in call order.
local function rounds_of(messages)
  local rounds, round = {}, nil
  for _, message in ipairs(messages) do
    if message.role == "assistant" and message.tool_calls and #message.tool_calls > 0 then
      round = {}
      rounds[#rounds + 1] = round
    elseif message.role == "tool" and round then
      round[#round + 1] = message
    end
  end
  return rounds
end

local function new_session(request)
  local has, task = {}, ""
  for _, tool in ipairs(request.tools or {}) do has[tool.name] = tool end
  for _, message in ipairs(request.messages) do
    if message.role == "user" then task = message.content or "" break end
  end
  return setmetatable({ has = has, task = task, rounds = rounds_of(request.messages), at = 0 }, Session)
end

-- Makes calls { key, tool, arguments } side by side and gives their results by key; very many of them go in several messages.
function Session:ask(wanted)
  local results = {}
  for at = 1, math.max(1, #wanted), MOST_CALLS do
    self:ask_once(table.move(wanted, at, math.min(at + MOST_CALLS - 1, #wanted), 1, {}), results)
  end
  return results
end

-- One message's calls. A tool that the agent does not have gives an empty result. With a plan, the items' states go first.
function Session:ask_once(wanted, results)
  local calls, keys = {}, {}
  if self.plan and self.plan_changed then
    self.plan_changed = false
    calls[1], keys[1] = { name = "plan", arguments = { items = self.plan } }, false
  end
  for _, call in ipairs(wanted) do
    results[call[1]] = { text = "" }
    if self.has[call[2]] then
      calls[#calls + 1], keys[#keys + 1] = { name = call[2], arguments = call[3] }, call[1]
    end
  end
  if #calls == 0 then return end
  self.at = self.at + 1
  local round = self.rounds[self.at]
  if not round then coroutine.yield({ tool_calls = calls }) end
  for i, key in ipairs(keys) do
    if key then results[key] = result_of(round[i] or {}) end
  end
end

-- Starts a plan of the given texts, the first one being done; a no-op if the agent has no plan.
function Session:start_plan(texts)
  if not self.has.plan then return end
  self.plan, self.plan_changed = {}, true
  for i, text in ipairs(texts) do self.plan[i] = { text = text, state = i == 1 and "doing" or "todo" } end
  self:ask {}
end

function Session:next_item()
  if not self.plan then return end
  local items, moved = {}, false
  for i, item in ipairs(self.plan) do
    local state = item.state
    if state == "doing" then state, moved = "done", true
    elseif state == "todo" and moved then state, moved = "doing", false end
    items[i] = { text = item.text, state = state }
  end
  self.plan, self.plan_changed = items, true
end

---------------------------------------------------------------------------------------------------------------------------
-- Text: dates, names, quoting

-- Days since 1970-01-01 to year, month, day (and back), in the proleptic Gregorian calendar: years begin in March here.
local function civil(days)
  local z = days + 719468
  local era = z // 146097
  local doe = z - era * 146097
  local yoe = (doe - doe // 1460 + doe // 36524 - doe // 146096) // 365
  local doy = doe - (365 * yoe + yoe // 4 - yoe // 100)
  local mp = (5 * doy + 2) // 153
  local month = mp < 10 and mp + 3 or mp - 9
  return yoe + era * 400 + (month <= 2 and 1 or 0), month, doy - (153 * mp + 2) // 5 + 1
end

local function days_of(year, month, day)
  if month <= 2 then year = year - 1 end
  local era = year // 400
  local yoe = year - era * 400
  local doy = (153 * (month > 2 and month - 3 or month + 9) + 2) // 5 + day - 1
  return era * 146097 + yoe * 365 + yoe // 4 - yoe // 100 + doy - 719468
end

-- Seconds since 1970 from a number or from ISO 8601 text; 0 if it is neither.
local function seconds_of(time)
  if type(time) == "number" then return time // 1 | 0 end
  local y, mo, d, h, mi, s, zone = tostring(time):match("^(%d+)-(%d%d)-(%d%d)[T ](%d%d):(%d%d):(%d%d)%.?%d*%s*(.*)$")
  if not y then return 0 end
  local sign, zh, zm = zone:match("^([+-])(%d%d):?(%d%d)$")
  local offset = sign and (tonumber(zh) * 3600 + tonumber(zm) * 60) * (sign == "-" and -1 or 1) or 0
  return days_of(tonumber(y), tonumber(mo), tonumber(d)) * 86400 + tonumber(h) * 3600 + tonumber(mi) * 60 + tonumber(s) - offset
end

local function date(seconds)
  return string.format("%04d-%02d-%02d", civil(seconds // 86400))
end

-- Code points that a terminal or a browser would obey or hide: controls, bidirectional marks, zero-width and tag characters.
local function is_odd(code)
  return code < 0x20 or (code >= 0x7f and code < 0xa0) or code == 0xad or (code >= 0x200b and code <= 0x200f)
    or (code >= 0x2028 and code <= 0x202e) or (code >= 0x2060 and code <= 0x206f) or code == 0xfeff
    or (code >= 0xfff9 and code <= 0xfffb) or code >= 0xe0000
end

local escapes = { [7] = "\\a", [8] = "\\b", [9] = "\\t", [10] = "\\n", [11] = "\\v", [12] = "\\f", [13] = "\\r" }

local function octal(bytes)
  return (bytes:gsub(".", function(c) return escapes[c:byte()] or string.format("\\%03o", c:byte()) end))
end

-- Runs fn over each code point's bytes; bytes that are no UTF-8 come one by one with code 0.
local function each_code(text, fn)
  local at = 1
  while at <= #text do
    local valid, bad = utf8.len(text, at)
    local stop = valid and #text + 1 or bad
    while at < stop do
      local code = utf8.codepoint(text, at)
      local following = utf8.offset(text, 2, at)
      fn(text:sub(at, following - 1), code)
      at = following
    end
    if at <= #text then
      fn(text:sub(at, at), 0)
      at = at + 1
    end
  end
end

-- A file name as git shows one: as it is, or in C-style quotes if it holds what has to be escaped.
local function c_quoted(name)
  local parts, plain = {}, true
  each_code(name, function(bytes, code)
    if is_odd(code) then
      parts[#parts + 1], plain = octal(bytes), false
    elseif bytes == '"' or bytes == "\\" then
      parts[#parts + 1], plain = "\\" .. bytes, false
    else
      parts[#parts + 1] = bytes
    end
  end)
  return plain and name or '"' .. table.concat(parts) .. '"'
end

-- Text as a Markdown code span, whatever backticks it holds.
local function code(text)
  local longest = 0
  for run in text:gmatch("`+") do longest = math.max(longest, #run) end
  if longest == 0 then return "`" .. text .. "`" end
  local fence = ("`"):rep(longest + 1)
  return fence .. " " .. text .. " " .. fence
end

-- The bytes of a name that a tool showed in C-style quotes.
local function unquoted(name)
  local inner = name:match('^"(.*)"$')
  if not inner then return name end
  local plain = { a = "\a", b = "\b", t = "\t", n = "\n", v = "\v", f = "\f", r = "\r" }
  return (inner:gsub("\\(%d?%d?%d?)(.?)", function(digits, letter)
    if digits ~= "" then return string.char(tonumber(digits, 8) & 255) .. letter end
    return plain[letter] or letter
  end))
end

-- The bytes of a name in a tool's JSON: where it is no UTF-8, they stand beside it. nil if there is no such name.
local function name_of(entry, field)
  local hex = entry[(field or "path") .. "_hex"] or not field and entry.raw_hex
  local name = entry[field or "path"]
  if type(hex) ~= "string" then return type(name) == "string" and name or nil end
  return (hex:gsub("%x%x", function(pair) return string.char(tonumber(pair, 16)) end))
end

local function can_be_asked(path) return utf8.len(path) ~= nil end

local function file_code(path, line) return code(c_quoted(path) .. (line and ":" .. line or "")) end
local function id_code(id) return code(id:sub(1, 10)) end

-- Foreign text on one line: what a terminal would obey is escaped, what Markdown or HTML would is quoted, and it is cut.
local function prose(text, most)
  local parts, count = {}, 0
  each_code(text, function(bytes, cp)
    count = count + 1
    if count > most then return end
    if bytes == "\n" or bytes == "\t" then parts[#parts + 1] = " "
    elseif is_odd(cp) then parts[#parts + 1] = "\\" .. octal(bytes)
    elseif bytes:find("[\\`*<%[]") then parts[#parts + 1] = "\\" .. bytes
    else parts[#parts + 1] = bytes end
  end)
  return table.concat(parts) .. (count > most and "…" or "")
end

-- Foreign text as an indented code block, where Markdown obeys nothing: what a terminal would obey is escaped, and it is cut.
local function block(text, most)
  local parts, count = { "    " }, 0
  each_code(text:gsub("%s+$", ""), function(bytes, cp)
    count = count + 1
    if count > most then return end
    if bytes == "\n" then parts[#parts + 1] = "\n    "
    elseif is_odd(cp) and bytes ~= "\t" then parts[#parts + 1] = octal(bytes)
    else parts[#parts + 1] = bytes end
  end)
  return table.concat(parts) .. (count > most and "…" or "")
end

local function quoted(text, most) return "“" .. prose(text, most or 90) .. "”" end

local function plural(n, one, many) return n .. " " .. (n == 1 and one or many or one .. "s") end

local function map(list, fn, most)
  local made = {}
  for i = 1, math.min(#list, most or #list) do made[i] = fn(list[i], i) end
  return made
end

local function join(list, fn, most) return table.concat(fn and map(list, fn, most) or list, ", ") end

local function ids(commits, most)
  return join(commits, function(c) return id_code(c.id) end, most)
end

-- The keys of a table of numbers, largest first, equal ones by name.
local function ranked(counts)
  local keys = {}
  for key in pairs(counts) do keys[#keys + 1] = key end
  table.sort(keys, function(a, b)
    if counts[a] ~= counts[b] then return counts[a] > counts[b] end
    return a < b
  end)
  return keys
end

---------------------------------------------------------------------------------------------------------------------------
-- What paths say

local languages = {
  c = "C", h = "C", cc = "C++", cpp = "C++", cxx = "C++", hpp = "C++", hh = "C++", py = "Python", rb = "Ruby", rs = "Rust",
  go = "Go", java = "Java", kt = "Kotlin", scala = "Scala", cs = "C#", js = "JavaScript", mjs = "JavaScript", cjs = "JavaScript", jsx = "JavaScript", ts = "TypeScript",
  tsx = "TypeScript", vue = "Vue", php = "PHP", pl = "Perl", pm = "Perl", lua = "Lua", sh = "Shell", bash = "Shell", zig = "Zig",
  swift = "Swift", m = "Objective-C", hs = "Haskell", ml = "OCaml", ex = "Elixir", exs = "Elixir", erl = "Erlang", clj = "Clojure",
  r = "R", jl = "Julia", sql = "SQL", s = "Assembly", asm = "Assembly", el = "Emacs Lisp", dart = "Dart", f90 = "Fortran",
}
local documents = {
  md = "Markdown", rst = "reStructuredText", txt = "text", json = "JSON", yml = "YAML", yaml = "YAML", toml = "TOML", xml = "XML", html = "HTML",
  css = "CSS", cmake = "CMake", csv = "CSV", svg = "SVG", png = "PNG", jpg = "JPEG", pdf = "PDF",
}
local build_files = {
  ["CMakeLists.txt"] = true, Makefile = true, GNUmakefile = true, makefile = true, ["meson.build"] = true, ["configure.ac"] = true, ["Cargo.toml"] = true,
  ["go.mod"] = true, ["package.json"] = true, ["pyproject.toml"] = true, ["setup.py"] = true, ["requirements.txt"] = true, ["pom.xml"] = true,
  ["build.gradle"] = true, ["build.gradle.kts"] = true, Gemfile = true, ["composer.json"] = true, ["mix.exs"] = true, ["build.zig"] = true,
  Dockerfile = true, ["BUILD.bazel"] = true, ["WORKSPACE"] = true, ["tox.ini"] = true, ["dune-project"] = true,
}

local ROOT = "" -- the area of files at the top
local function area_of(path) return path:match("^([^/]+)/") or ROOT end
local function area_text(area) return area == ROOT and "files at the root" or file_code(area .. "/") end
local function extension(path) return (path:match("[^/]%.([%w_+-]+)$") or ""):lower() end
local function is_code(path) return languages[extension(path)] ~= nil end
local function is_test(path)
  local lower = path:lower()
  return lower:find("test", 1, true) ~= nil or lower:find("spec", 1, true) ~= nil
end

-- Words of the reader's wish that can be looked for; short and common ones say nothing.
local common = {}
for word in ([[the and for that this with from who what how why when where which about into over does have has are was were not but
  its it's care careful please show tell give want need know knows look looks most mostly especially interested files file code project
  repository repo everything anything all any me my our us they them their there here can could should would will may might begin start go brief write]]):gmatch("%S+") do
  common[word] = true
end

local function focus_of(task)
  local words, seen = {}, {}
  for word in task:gmatch("[^%s,;:!?\"'()<>`]+") do
    word = word:gsub("^%.+/", ""):gsub("[./]+$", "")
    local lower = word:lower()
    if #word >= 3 and #words < 6 and not common[lower] and not seen[lower] then
      seen[lower] = true
      words[#words + 1] = lower
    end
  end
  return words
end

local function matches(words, text)
  local lower = text:lower()
  for _, word in ipairs(words) do
    if lower:find(word, 1, true) then return true end
  end
  return false
end

-- Puts what matches the focus first and keeps the order otherwise.
local function focus_first(words, list, text_of)
  if #words == 0 then return list end
  local first, rest = {}, {}
  for _, item in ipairs(list) do
    local side = matches(words, text_of(item)) and first or rest
    side[#side + 1] = item
  end
  return table.move(rest, 1, #rest, #first + 1, first)
end

---------------------------------------------------------------------------------------------------------------------------
-- brief: the looks

local WINDOW, PAGE, LOG_LOOKS = 400, 40, 200 -- commits; commits of a page; calls for pages
local LISTED = 5000 -- files whose sizes are asked for at once; in larger trees, those of CANDIDATES
local HOT, CANDIDATES = 8, 60
local BLAME_RANGES = 12
local MARKS, MARKED_FILES = 2000, 40

local function keep_commits(into, result, skip)
  for i, c in ipairs(result.value.commits or {}) do
    local files = {}
    for _, f in ipairs(type(c.files) == "table" and c.files or {}) do
      files[#files + 1] = { path = name_of(f), from = name_of(f, "from") }
    end
    into[skip + i] = {
      id = c.id, author = type(c.author) == "string" and c.author or "", email = type(c.email) == "string" and c.email or "",
      time = seconds_of(c.time), summary = type(c.summary) == "string" and c.summary or "",
      body = type(c.body) == "string" and c.body or "", merge = type(c.parents) == "table" and #c.parents > 1, files = files,
      bulk = c.files_total ~= nil, -- more files than are listed
    }
  end
end

-- A page that was too long is asked for again in parts; a single commit that is too long, without its files.
local function smaller(page)
  if page.limit == 1 then return { { skip = page.skip, limit = 1, stat = false } } end
  local pages, size = {}, page.limit > 10 and page.limit // 4 or 1
  for skip = page.skip, page.skip + page.limit - 1, size do
    pages[#pages + 1] = { skip = skip, limit = math.min(size, page.skip + page.limit - skip), stat = true }
  end
  return pages
end

-- The path: in a directory of a larger repository, the commits that changed something in it.
local function log_call(page)
  return { page, "git.log", { path = ".", skip = page.skip, limit = page.limit, stat = page.stat } }
end

-- The newest commits with the files they changed, up to WINDOW of them, from the first page's result on; and whether that is
-- all of history. Commits of very many files make pages small: the number of looks is bounded, and the window is then shorter.
local function read_log(session, first)
  local found, pages, reached, looks = {}, { { skip = 0, limit = PAGE, stat = true } }, 0, 1
  local results, size, last = { [pages[1]] = first }, PAGE, nil
  while #pages > 0 do
    local again, more = {}, false
    for _, page in ipairs(pages) do
      local result, stop = results[page], page.skip + page.limit
      if result.value then
        keep_commits(found, result, page.skip)
        if not page.stat and found[page.skip + 1] then found[page.skip + 1].bulk = true end
        if result.value.more == false then last = math.min(last or math.huge, page.skip + #result.value.commits) end
      elseif result.cut then
        table.move(smaller(page), 1, 40, #again + 1, again)
        size = math.max(1, math.min(size, page.limit // 4))
      end
      if stop > reached then reached, more = stop, result.cut ~= nil or result.value ~= nil end
    end
    if more and not last then
      local stop = math.min(WINDOW, reached == PAGE and 4 * PAGE or WINDOW)
      for skip = reached, stop - 1, size do again[#again + 1] = { skip = skip, limit = math.min(size, stop - skip), stat = true } end
    end
    pages = table.move(again, 1, math.min(#again, LOG_LOOKS - looks), 1, {})
    looks = looks + #pages
    results = session:ask(map(pages, log_call))
  end
  local commits = {}
  for i = 1, WINDOW do
    if not found[i] then break end
    commits[i] = found[i]
  end
  return commits, last == #commits
end

local function count_area(log, c, name)
  if c.areas[name] then return end
  c.areas[name] = true
  local area = log.areas[name] or { name = name, commits = {} }
  log.areas[name] = area
  area.commits[#area.commits + 1] = c
end

-- Per file and per area: which commits touched it. A file that was renamed within the window keeps its history: the log is read
-- from the newest commit on, so a former name is known before its commits come.
local function count_log(commits)
  local log = { files = {}, areas = {}, merges = {}, bulk = {}, plain = {}, newest = 0, authors = {} }
  local current = {}
  for _, c in ipairs(commits) do
    log.newest = math.max(log.newest, c.time)
    if c.merge then
      log.merges[#log.merges + 1] = c
    elseif c.bulk then
      log.bulk[#log.bulk + 1] = c
    else
      log.plain[#log.plain + 1] = c
      c.paths, c.areas = {}, {}
      local here = {}
      for _, f in ipairs(c.files) do
        local path = current[f.path] or f.path
        if not here[path] then
          here[path] = true
          c.paths[#c.paths + 1] = path
          local file = log.files[path] or { path = path, commits = {} }
          log.files[path] = file
          file.commits[#file.commits + 1] = c
        end
        count_area(log, c, area_of(f.path))
        if f.from then count_area(log, c, area_of(f.from)) end
      end
      for _, f in ipairs(c.files) do
        if f.from then current[f.from] = current[f.path] or f.path end
      end
    end
  end
  return log
end

local function sorted_files(log)
  local list = {}
  for _, file in pairs(log.files) do list[#list + 1] = file end
  table.sort(list, function(a, b)
    if #a.commits ~= #b.commits then return #a.commits > #b.commits end
    return a.path < b.path
  end)
  return list
end

-- Sizes of the files that the log names: all of them in a tree that can be listed, else those of the most changed ones, by asking
-- for groups of them (globs that match just their paths). A file that is not in the tree any more gets none.
local function read_sizes(session, seen)
  local files, sizes = seen.files, {}
  if seen.total <= LISTED then
    local list = session:ask({ { "all", "file.list", { hidden = true, limit = LISTED } } }).all.value
    for _, f in ipairs(list and list.files or {}) do sizes[name_of(f)] = f.size end
    seen.ranked = #files
    return sizes
  end
  local calls, group, length = {}, {}, 0
  local function flush()
    if #group > 0 then
      calls[#calls + 1] = { #calls + 1, "file.list", { glob = "{" .. table.concat(group, ",") .. "}", hidden = true, limit = 200 } }
    end
    group, length = {}, 0
  end
  for i = 1, math.min(#files, CANDIDATES) do
    local quoted_path = files[i].path:gsub("[%*%?%[%]{},\\!]", "\\%0")
    if #group == 12 or length + #quoted_path > 3000 then flush() end
    if #quoted_path <= 3000 and can_be_asked(quoted_path) then
      group[#group + 1] = quoted_path
      length = length + #quoted_path + 1
    end
  end
  flush()
  seen.ranked = math.min(#files, CANDIDATES)
  for _, result in pairs(session:ask(calls)) do
    for _, f in ipairs(result.value and result.value.files or {}) do sizes[name_of(f)] = f.size end
  end
  return sizes
end

local function hot_files(files, sizes, bare)
  local hot = {}
  for _, f in ipairs(files) do
    f.size = sizes[f.path]
    f.score = #f.commits * (f.size or 1)
    if f.size or bare then hot[#hot + 1] = f end
  end
  table.sort(hot, function(a, b)
    if a.score ~= b.score then return a.score > b.score end
    return a.path < b.path
  end)
  return hot
end

-- Lines "   12<TAB>text" of file.read as { number, text }.
local function numbered(text)
  local lines = {}
  for number, line in text:gmatch("[ ]*(%d+)\t([^\n]*)") do lines[#lines + 1] = { tonumber(number), line } end
  return lines
end

-- The text form of search: groups of a path line and "LINE: text" lines, with an empty line between groups.
local function parse_search(text)
  local hits, path, fresh = {}, nil, true
  local head, rest = text:match("^([^\n]*)\n(.*)$")
  for line in ((rest or "") .. "\n"):gmatch("([^\n]*)\n") do
    local number, found = line:match("^(%d+): ?(.*)$")
    if line == "" then fresh = true
    elseif fresh then path, fresh = unquoted(line), false
    elseif number and path then hits[#hits + 1] = { path = path, line = tonumber(number), text = found } end
  end
  local total, more = (head or text):match("^(%d+)(%+?) match")
  return hits, tonumber(total or 0), more == "+"
end

-- Where a search result was too long, its whole text is read from the spill.
local function search_text(session, result)
  if not result.spill then return result.text end
  local lines = {}
  for page = 0, 9 do
    local part = session:ask({ { "part", "file.read", { path = result.spill, offset = page * 250 + 1, limit = 250 } } }).part
    if part.cut then break end
    local got = numbered(part.text)
    for _, line in ipairs(got) do lines[#lines + 1] = line[2] end
    if #got < 250 then break end
  end
  return table.concat(lines, "\n")
end

-- Adds a blame result to a file: who wrote how many lines, and each author's newest hunk.
local function keep_blame(file, value)
  file.lines, file.owners = file.lines or 0, file.owners or {}
  for _, hunk in ipairs(value.hunks or {}) do
    file.lines = file.lines + hunk.lines
    local who = hunk.email
    local owner = file.owners[who] or { name = hunk.author, email = who, lines = 0, time = -math.huge }
    file.owners[who] = owner
    owner.lines = owner.lines + hunk.lines
    local time = seconds_of(hunk.time)
    if time > owner.time then owner.time, owner.id, owner.line, owner.name = time, hunk.commit, hunk.line, hunk.author end
  end
end

-- Blames whole files; where one is too long for a result, in a few ranges of lines (its end tells how many there are).
local function blame_files(session, files)
  local askable = {}
  for _, f in ipairs(files) do
    if can_be_asked(f.path) then askable[#askable + 1] = f end
  end
  local results = session:ask(map(askable, function(f) return { f, "git.blame", { path = f.path } } end))
  local ranges = {}
  for _, f in ipairs(askable) do
    local result = results[f]
    local lines = result.cut and tonumber(result.text:match('%],"lines":(%d+),"authors"'))
    if result.value then
      keep_blame(f, result.value)
    elseif lines then
      local step = math.max(1, lines // math.min(result.cut // 20000 + 1, BLAME_RANGES))
      for from = 1, lines, step do
        ranges[#ranges + 1] = { { file = f }, "git.blame", { path = f.path, from = from, to = math.min(lines, from + step - 1) } }
      end
    end
  end
  local parts = session:ask(ranges)
  for _, call in ipairs(ranges) do
    local f, part = call[1].file, parts[call[1]]
    if part.value then keep_blame(f, part.value) else f.partly = true end
  end
end

-- When the lines with marks were written. Blame is of HEAD: a file that is changed in the work tree is not asked about.
local function date_marks(session, marks, changed)
  local groups, order = {}, {}
  for _, mark in ipairs(marks) do
    local group = groups[mark.path]
    if not group and not changed[mark.path] and can_be_asked(mark.path) and #order < MARKED_FILES then
      group = { path = mark.path, from = mark.line, to = mark.line }
      groups[mark.path] = group
      order[#order + 1] = group
    end
    if group then group.from, group.to = math.min(group.from, mark.line), math.max(group.to, mark.line) end
  end
  local results = session:ask(map(order, function(g) return { g, "git.blame", { path = g.path, from = g.from, to = g.to } } end))
  local single = {}
  for _, mark in ipairs(marks) do
    local result = groups[mark.path] and results[groups[mark.path]]
    if result and result.value then mark.blame = result.value
    elseif result and result.cut and #single < 40 then
      single[#single + 1] = { mark, "git.blame", { path = mark.path, from = mark.line, to = mark.line } }
    end
  end
  local lone = session:ask(single)
  for _, call in ipairs(single) do call[1].blame = lone[call[1]].value end
  for _, mark in ipairs(marks) do
    for _, hunk in ipairs(mark.blame and mark.blame.hunks or {}) do
      if mark.line >= hunk.line and mark.line < hunk.line + hunk.lines then
        mark.id, mark.author, mark.time = hunk.commit, hunk.author, seconds_of(hunk.time)
      end
    end
    mark.blame = nil
  end
end

-- The reader's words, as they stand in files.
local function look_for(session, words)
  local results = session:ask(map(words, function(word)
    return { word, "search", { pattern = word, literal = true, ignore_case = true, limit = 40 } }
  end))
  local found = {}
  for i, word in ipairs(words) do
    local hits, total = parse_search(search_text(session, results[word]))
    found[i] = { word = word, hits = hits, total = total }
  end
  return found
end

local function read_readme(session, listed)
  local names = {}
  for _, f in ipairs(listed.value and listed.value.files or {}) do
    if not f.path:find("/") and f.path:lower():find("^readme") then names[#names + 1] = f.path end
  end
  table.sort(names, function(a, b)
    local ma, mb = extension(a) == "md", extension(b) == "md"
    if ma ~= mb then return ma end
    return a < b
  end)
  local readme = { name = names[1] }
  if readme.name then
    readme.lines = numbered(session:ask({ { "text", "file.read", { path = readme.name, limit = 80 } } }).text.text)
  end
  return readme
end

-- The first heading and the first paragraph, each with its line. Badges, HTML, rules and code are passed over.
local function readme_words(readme)
  local title, text, from, fenced
  for _, line in ipairs(readme.lines or {}) do
    local number, s = line[1], line[2]:gsub("\r$", "")
    local heading = s:match("^#+%s*(.-)%s*#*$")
    local skip = s:find("^%s*[!%[<|>]") or s:find("^%s*[-=*_~]+%s*$") or s:find("^%s*%.%.") or s:find("^    ") or s:find("^\t")
    if s:find("^%s*```") then
      if text then break end
      fenced = not fenced
    elseif fenced or skip then
      if text then break end
    elseif heading then
      if text then break end
      title = title or { heading, number }
    elseif s:find("%S") then
      text, from = text and text .. " " .. s or s, from or number
    elseif text then
      break
    end
  end
  return title, text and { text, from }
end

local function working_tree(status)
  local tree = { known = status.value ~= nil or status.cut ~= nil, changed = {}, kinds = {}, entries = {} }
  local v = status.value or {}
  tree.failed = status.failed and status.text or nil
  tree.branch = type(v.branch) == "string" and v.branch or nil
  tree.head = type(v.head) == "string" and v.head or nil
  tree.total = v.total
  tree.prefix = type(v.prefix) == "string" and v.prefix or ""
  tree.detached, tree.bare, tree.unborn = v.detached == true, v.bare == true, v.unborn == true
  for _, entry in ipairs(type(v.entries) == "table" and v.entries or {}) do
    local path = name_of(entry)
    tree.entries[#tree.entries + 1] = path
    tree.changed[path] = true
    tree.dirty = tree.dirty or path:sub(1, 3) ~= "../" -- those lie outside of the workspace
    for _, side in ipairs { "index", "worktree" } do
      if type(entry[side]) == "string" then
        local kind = (side == "index" and "staged: " or "not staged: ") .. entry[side]
        tree.kinds[kind] = (tree.kinds[kind] or 0) + 1
      end
    end
  end
  tree.unlisted = (v.total or 0) > #tree.entries
  return tree
end

-- Why nothing is known of a repository. That there is none is one reason of many for which git.status fails.
local function no_repository(failed)
  if not failed or failed:find("not a git repository", 1, true) then return "This folder is no git repository" end
  return "The git repository cannot be read (" .. prose(failed, 300) .. ")"
end

-- Is a file what it is in HEAD, as far as is known? Blame tells of HEAD, sizes and marks are of the work tree.
local function is_clean(tree, path) return not (tree.unlisted or tree.changed[path]) end

---------------------------------------------------------------------------------------------------------------------------
-- brief: the sections. Each takes what was seen and adds lines.

local function cited(c, most) return id_code(c.id) .. " " .. date(c.time) .. " " .. quoted(c.summary, most) end

local function share(owner, lines) return math.floor(owner.lines * 100 / math.max(1, lines) + 0.5) .. " %" end

local function authors_of(commits)
  local counts, names, newest = {}, {}, {}
  for _, c in ipairs(commits) do
    counts[c.email] = (counts[c.email] or 0) + 1
    names[c.email] = names[c.email] or c.author
    newest[c.email] = newest[c.email] or c
  end
  return map(ranked(counts), function(email)
    return { name = names[email], email = email, commits = counts[email], newest = newest[email] }
  end)
end

local function by_author(commits, most)
  return join(authors_of(commits), function(a) return prose(a.name, 40) .. " " .. a.commits .. " (" .. id_code(a.newest.id) .. ")" end, most)
end

local function what_it_is(seen, add)
  local title, text = readme_words(seen.readme)
  local name = seen.readme.name
  if title then add("- Its README calls it " .. quoted(title[1]) .. " (" .. file_code(name, title[2]) .. ").") end
  if text then add("- " .. quoted(text[1], 400) .. " (" .. file_code(name, text[2]) .. ")") end
  if not name and not seen.tree.bare then add("- There is no README at the root" .. seen.at_tree .. ".") end
  local kinds = seen.kinds
  if #kinds > 0 then
    add(("- %s, %s%s. By size: %s."):format(plural(seen.total, "file"), plural(seen.bytes, "byte"), seen.at_tree, join(kinds, function(k)
      return k.name .. " " .. plural(k.files, "file") .. ", " .. plural(k.bytes, "byte")
    end, 10)))
  end
  local builds = {}
  for _, f in ipairs(seen.top) do
    if build_files[f.path] then builds[#builds + 1] = f.path end
  end
  if #builds > 0 then add("- It is built with what stands in " .. join(builds, function(p) return file_code(p, 1) end) .. ".") end
  if seen.tree.bare then add("- This is a bare repository: there is no work tree, so files, sizes and marks in them are not looked at" .. seen.at_head .. ".") end
end

local function how_laid_out(seen, add)
  local dirs = focus_first(seen.words, seen.dirs, function(d) return d.path end)
  local no_commit = "; no commit in the window" .. (#seen.log.bulk > 0 and " but those with very many files" or "")
  for i = 1, math.min(#dirs, 16) do
    local d = dirs[i]
    local area = seen.log.areas[d.path]
    local last = area and "; newest commit " .. cited(area.commits[1]) or #seen.commits > 0 and no_commit .. seen.at_head or ""
    add(("- %s: %s, %s%s."):format(area_text(d.path), plural(d.files, "file"), plural(d.bytes, "byte"), last))
  end
  if #dirs > 16 then add("- And " .. plural(#dirs - 16, "more directory", "more directories") .. seen.at_tree .. ".") end
  if #dirs > 0 then return end
  if seen.tree.bare then
    add("- Not to be seen without a work tree; the areas below are those that the commits changed" .. seen.at_head .. ".")
  elseif seen.not_listed then
    add("- The files could not be listed: " .. prose(seen.not_listed, 300))
  else
    add("- There are no files here (but what a .gitignore names, if there is one)" .. seen.at_tree .. ".")
  end
end

local function what_moved(seen, add)
  if #seen.commits == 0 then return add("- " .. seen.no_history) end
  add(seen.window)
  add("")
  local areas = focus_first(seen.words, seen.areas, function(a) return a.name end)
  for i = 1, math.min(#areas, 12) do
    local a = areas[i]
    add(("- %s: %s by %s. Newest: %s."):format(area_text(a.name), plural(#a.commits, "commit"), by_author(a.commits, 4),
      join(a.commits, function(c) return cited(c, 70) end, 3)))
  end
  if #areas > 12 then add("- And " .. plural(#areas - 12, "more area") .. seen.at_head .. ".") end
  if #seen.log.merges > 0 then
    add("- " .. plural(#seen.log.merges, "merge commit") .. ", the newest " .. cited(seen.log.merges[1]) .. ".")
  end
  if #seen.log.bulk > 0 then
    add("- " .. plural(#seen.log.bulk, "commit") .. " with very many files, not counted by area or file: "
      .. join(seen.log.bulk, function(c) return cited(c) end, 5) .. ".")
  end
end

local function hot_section(seen, add)
  if #seen.commits == 0 then return add("- " .. seen.no_history) end
  if seen.tree.bare then
    add("Score: commits of the window that changed the file (sizes are not known in a bare repository).")
  else
    add("Score: commits of the window that changed the file × its size in bytes now, among the " .. plural(seen.ranked, "file")
      .. " with the most commits; a renamed file keeps its commits.")
  end
  add("")
  for i = 1, math.min(#seen.hot, 12) do
    local f = seen.hot[i]
    local size = f.size and " × " .. plural(f.size, "byte") .. " = " .. f.score or ""
    local lines = f.lines and is_clean(seen.tree, f.path) and ", " .. plural(f.lines, "line") or ""
    add(("- %s: %s%s%s. Newest: %s."):format(file_code(f.path, f.size and f.size > 0 and 1 or nil), plural(#f.commits, "commit"), size, lines,
      ids(f.commits, 3)))
  end
  if #seen.hot == 0 then add("- None of the files that the window's commits changed is there now" .. seen.at_tree .. ".") end
end

local function who_knows(seen, add)
  if #seen.commits == 0 then return add("- " .. seen.no_history) end
  for _, f in ipairs(seen.blamed) do
    if f.owners then
      local counts = {}
      for email, owner in pairs(f.owners) do counts[email] = owner.lines end
      local clean = is_clean(seen.tree, f.path)
      local partly = (clean and "" or ", in HEAD: the file has changed since") .. (f.partly and ", as far as blame could be read" or "")
      add(("- %s (%s%s): %s."):format(file_code(f.path), plural(f.lines, "line"), partly, join(ranked(counts), function(email)
        local o = f.owners[email]
        return ("%s %s (%s), newest %s%s"):format(prose(o.name, 40), plural(o.lines, "line"), share(o, f.lines),
          id_code(o.id), clean and " at " .. file_code(f.path, o.line) or "")
      end, 4)))
    end
  end
  if #seen.areas == 0 then add("- No file was changed by a commit that was counted" .. seen.at_head .. ".") end
  for i = 1, math.min(#seen.areas, 8) do
    local a = seen.areas[i]
    add("- By commits in the window, " .. area_text(a.name) .. ": " .. by_author(a.commits, 5) .. ".")
  end
end

local function open_marks(seen, add)
  if seen.tree.bare then return add("- Not looked at: a bare repository has no files to search" .. seen.at_head .. ".") end
  if #seen.marks == 0 then return add("- The search for TODO and FIXME found none" .. seen.at_tree .. ".") end
  local dated = 0
  for _, m in ipairs(seen.marks) do dated = dated + (m.id and 1 or 0) end
  add(("%s%s with TODO or FIXME, %d of them dated by blame; oldest first. Ages are counted to the newest commit%s."):format(
    seen.marks_more and "at least " or "", plural(seen.marks_total, "line"), dated, #seen.commits > 0 and ", " .. date(seen.log.newest) or ""))
  add("")
  for i = 1, math.min(#seen.marks, 25) do
    local m = seen.marks[i]
    local age = "not dated: not committed, or changed in the work tree"
    if m.id then
      age = ("%s %s by %s, %s old"):format(id_code(m.id), date(m.time), prose(m.author, 40), plural((seen.log.newest - m.time) // 86400, "day"))
    elseif #seen.commits == 0 then
      age = "no history"
    elseif not seen.tree.changed[m.path] then
      age = "not dated"
    end
    add(("- %s %s (%s)"):format(file_code(m.path, m.line), quoted(m.text:gsub("^%s+", ""), 100), age))
  end
  if #seen.marks > 25 then add("- And " .. plural(#seen.marks - 25, "line") .. " more" .. seen.at_tree .. ".") end
end

-- Is the file still there, as far as is known?
local function is_there(seen, path) return seen.tree.bare or seen.log.files[path].size ~= nil end

-- Pairs of files of two areas that commits change together; that a test changes with its code is as it should be.
local function co_changes(seen)
  local pairs_of, counts = {}, {}
  for _, c in ipairs(seen.log.plain) do
    if #c.paths <= 25 then
      for i = 1, #c.paths do
        for j = i + 1, #c.paths do
          local a, b = c.paths[i], c.paths[j]
          if area_of(a) ~= area_of(b) and not is_test(a) and not is_test(b) then
            if b < a then a, b = b, a end
            local key = a .. "\0" .. b
            local pair = pairs_of[key] or { a = a, b = b, commits = {} }
            pairs_of[key] = pair
            pair.commits[#pair.commits + 1] = c
            counts[key] = #pair.commits
          end
        end
      end
    end
  end
  local found = {}
  for _, key in ipairs(ranked(counts)) do
    local p = pairs_of[key]
    local least = math.min(#seen.log.files[p.a].commits, #seen.log.files[p.b].commits)
    if #p.commits >= 3 and #p.commits * 2 >= least and is_there(seen, p.a) and is_there(seen, p.b) then found[#found + 1] = p end
  end
  return focus_first(seen.words, found, function(p) return p.a .. " " .. p.b end)
end

local function says_fix(c)
  local words = " " .. c.summary:lower():gsub("[^%w]+", " ") .. " "
  for _, word in ipairs { "fix", "fixes", "fixed", "bugfix", "hotfix", "bug", "regression", "crash", "revert" } do
    if words:find(" " .. word .. " ", 1, true) then return true end
  end
  return false
end

local function seams_together(seen, add)
  for i, p in ipairs(co_changes(seen)) do
    if i > 5 then break end
    add(("- Files of two areas change together: %s and %s in %s (%s); the first has %s, the second %s in the window."):format(file_code(p.a),
      file_code(p.b), plural(#p.commits, "commit"), ids(p.commits, 4), #seen.log.files[p.a].commits, #seen.log.files[p.b].commits))
  end
end

local function seams_fixes(seen, add)
  for _, c in ipairs(seen.log.plain) do
    if c.summary:find("^Revert ") then
      local back = c.body:match("[Tt]his reverts commit (%x%x%x%x%x%x%x%x%x%x%x*)")
      add("- Something was taken back: " .. cited(c) .. (back and ", which reverts " .. id_code(back) or "") .. ".")
    end
  end
  local fixes, counts = {}, {}
  for _, c in ipairs(seen.log.plain) do
    for _, path in ipairs(says_fix(c) and c.paths or {}) do
      fixes[path] = fixes[path] or {}
      table.insert(fixes[path], c)
      counts[path] = #fixes[path]
    end
  end
  local shown = 0
  for _, path in ipairs(focus_first(seen.words, ranked(counts), function(p) return p end)) do
    local all = #seen.log.files[path].commits
    if counts[path] >= 3 and counts[path] * 5 >= all * 2 and is_there(seen, path) and shown < 5 then
      shown = shown + 1
      add(("- Mended again and again: %s of the %s to %s speak of a fix (%s)."):format(counts[path], plural(all, "commit"), file_code(path),
        ids(fixes[path], 4)))
    end
  end
end

local function seams_large(seen, add)
  for i = 1, math.min(#seen.hot, 5) do
    local f = seen.hot[i]
    local lines = is_clean(seen.tree, f.path) and f.lines or nil
    if (f.size or 0) > 40000 or (lines or 0) > 1000 then
      add(("- Large and hot: %s has %s%s and %s in the window (%s)."):format(file_code(f.path, 1), plural(f.size, "byte"),
        lines and ", " .. plural(lines, "line") or "", plural(#f.commits, "commit"), ids(f.commits, 3)))
    end
  end
end

local function seams_people(seen, add)
  for _, a in ipairs(seen.areas) do
    local authors = authors_of(a.commits)
    if #a.commits >= 5 and #authors == 1 then
      add(("- One person alone changed %s: %s, %s in the window (%s to %s)."):format(area_text(a.name), prose(authors[1].name, 40),
        plural(#a.commits, "commit"), id_code(a.commits[#a.commits].id), id_code(a.commits[1].id)))
    end
  end
end

local function seams_untested(seen, add)
  for _, a in ipairs(seen.areas) do
    local changes, tested = {}, 0
    for _, c in ipairs(is_test(a.name) and {} or a.commits) do
      local code_here, test_anywhere = false, false
      for _, f in ipairs(c.files) do
        code_here = code_here or (area_of(f.path) == a.name and is_code(f.path) and not is_test(f.path))
        test_anywhere = test_anywhere or is_test(f.path)
      end
      if code_here then changes[#changes + 1] = c end
      if code_here and test_anywhere then tested = tested + 1 end
    end
    if #changes >= 3 and tested == 0 then
      add(("- No test moves with it: %s changed code in %s, none of them a file with “test” or “spec” in its path (%s)."):format(
        plural(#changes, "commit"), area_text(a.name), ids(changes, 4)))
    end
  end
end

local function failing_seams(seen, add)
  if #seen.commits == 0 then return add("- " .. seen.no_history) end
  local count = 0
  local function counted(line) count = count + 1 add(line) end
  for _, look in ipairs { seams_together, seams_fixes, seams_large, seams_people, seams_untested } do look(seen, counted) end
  if count == 0 then
    add("- None by these rules: files of two areas in 3 commits together, reverts, 3 fixes to a file, large hot files, one author "
      .. "alone in 5 commits, 3 code changes without a test" .. seen.at_head .. ".")
  end
end

local function tree_state(seen, add)
  local t = seen.tree
  if not t.known then return add("- " .. seen.no_history) end
  local head = t.head and id_code(t.head)
  local branch = t.branch and code(c_quoted(t.branch))
  if t.unborn or not head then
    add("- No commit yet" .. (branch and "; the branch will be " .. branch or "") .. ".")
  elseif t.detached then
    add("- HEAD is detached at " .. head .. ": commits made now are on no branch.")
  else
    add("- On branch " .. (branch or "?") .. " at " .. head .. ".")
  end
  if t.bare then return end
  if #t.entries == 0 then return add("- Nothing is uncommitted" .. seen.at_head .. ".") end
  add(("- %s with uncommitted changes%s (%s%s): %s."):format(plural(t.total or #t.entries, "path"), seen.at_head,
    (t.total or 0) > #t.entries and "of the first " .. #t.entries .. ", " or "", join(ranked(t.kinds), function(k)
    return prose(k, 40) .. " " .. t.kinds[k]
  end), join(t.entries, function(path) return file_code(path) end, 10)))
end

local function asked_about(seen, add)
  for _, found in ipairs(seen.found) do
    local named, said = {}, {}
    for _, f in ipairs(seen.files) do
      if matches({ found.word }, f.path) then named[#named + 1] = f end
    end
    for _, c in ipairs(seen.commits) do
      if matches({ found.word }, c.summary) then said[#said + 1] = c end
    end
    local word = quoted(found.word)
    if #found.hits > 0 then
      add(("- %s stands in files: %s."):format(word, join(found.hits, function(h)
        return file_code(h.path, h.line) .. " " .. quoted(h.text:gsub("^%s+", ""), 60)
      end, 6)))
    end
    if #named > 0 then
      add(("- Changed files with %s in their path: %s."):format(word, join(named, function(f)
        return ("%s %s (%s)"):format(file_code(f.path), plural(#f.commits, "commit"), ids(f.commits, 2))
      end, 8)))
    end
    if #said > 0 then add(("- Commits that speak of %s: %s."):format(word, join(said, function(c) return cited(c, 70) end, 6))) end
    if #found.hits + #named + #said == 0 then
      add(("- %s was found in no file, no path of the window and no commit subject%s."):format(word, seen.at_tree))
    end
  end
end

local function write_brief(seen)
  local lines = {}
  local function add(line) lines[#lines + 1] = line end
  local title = readme_words(seen.readme)
  add("# Brief" .. (title and " of " .. prose(title[1], 80) or ""))
  add("")
  add(seen.opening)
  local function section(name, fn)
    add("")
    add("## " .. name)
    add("")
    fn(seen, add)
  end
  if #seen.words > 0 then section("What you asked about", asked_about) end
  section("What it is", what_it_is)
  section("How it is laid out", how_laid_out)
  section("What moved lately", what_moved)
  section("Hot files", hot_section)
  section("Who knows what", who_knows)
  section("Open TODO and FIXME", open_marks)
  section("Failing seams", failing_seams)
  section("State of the work tree", tree_state)
  return table.concat(lines, "\n") .. "\n"
end

---------------------------------------------------------------------------------------------------------------------------
-- brief: look, then write

-- Directories, kinds of files and totals from file.list's summary.
local function keep_summary(seen, result)
  local v = result.value or {}
  seen.total, seen.bytes, seen.dirs, seen.kinds = v.total or 0, v.bytes or 0, {}, {}
  seen.not_listed = result.failed and result.text or nil
  for _, d in ipairs(v.dirs or {}) do
    local path = name_of(d):gsub("/+$", "")
    seen.dirs[#seen.dirs + 1] = { path = path == "." and ROOT or path, files = d.files, bytes = d.bytes }
  end
  table.sort(seen.dirs, function(a, b)
    if a.files ~= b.files then return a.files > b.files end
    return a.path < b.path
  end)
  local files, bytes = {}, {}
  for _, k in ipairs(v.kinds or {}) do
    local ext = k.ext:gsub("^%.", ""):lower()
    local name = languages[ext] or documents[ext] or (ext == "" and "without extension" or code(c_quoted("." .. ext)))
    files[name], bytes[name] = (files[name] or 0) + k.files, (bytes[name] or 0) + k.bytes
  end
  seen.kinds = map(ranked(bytes), function(name) return { name = name, files = files[name], bytes = bytes[name] } end)
end

local function sorted_areas(log)
  local counts = {}
  for name, area in pairs(log.areas) do counts[name] = #area.commits end
  return map(ranked(counts), function(name) return log.areas[name] end)
end

-- The sentences that other sections lean on.
local function introduce(seen)
  local t, n = seen.tree, #seen.commits
  local dirty = t.head and t.dirty
  seen.at_head = t.head and " (at " .. id_code(t.head) .. ")" or ""
  seen.at_tree = dirty and " (in the work tree on " .. id_code(t.head) .. ")" or seen.at_head
  if not t.known then
    seen.no_history = no_repository(t.failed) .. ", so there is no history to look at."
  elseif t.head then
    seen.no_history = "No commit has changed this directory of the repository, so there is no history to look at."
  else
    seen.no_history = "There are no commits yet, so there is no history to look at."
  end
  if n == 0 then
    seen.opening = seen.no_history .. " All below is counted from the files as they are now."
    return
  end
  local first, last = seen.commits[n], seen.commits[1]
  local days = (seen.log.newest - first.time) // 86400
  seen.window = ("Window: %s (%s, %s, to %s, %s), %s %s; %s are not counted by area or file."):format(
    seen.whole and plural(n, "commit") .. " in all" or "the newest " .. plural(n, "commit"), id_code(first.id), date(first.time), id_code(last.id), date(last.time),
    plural(#authors_of(seen.commits), "author"), days > 0 and "in " .. plural(days, "day") or "within a day", "merges")
  seen.opening = ("State of %s, written from tool results by fixed rules, without a language model. Dates are author dates in UTC; authors are "
    .. "told apart by e-mail address."):format(id_code(t.head or last.id))
  if t.prefix ~= "" then
    seen.opening = seen.opening .. (" This is %s of a larger repository: only what lies in it is looked at, and paths are relative to it.")
      :format(file_code(t.prefix))
  end
  if dirty then
    seen.opening = seen.opening .. " There are uncommitted changes: files, their sizes and marks in them are those of the work tree, history and "
      .. "blame those of the commit."
  end
end

local function brief(session)
  session:start_plan { "look at the tree, its README and the state of the work tree", "read the log", "rank the hot files and blame them",
    "find open TODO and FIXME and date them", "look for what the reader cares about and for failing seams", "write the brief" }
  local looks = session:ask {
    { "status", "git.status", { limit = 200 } },
    { "log", "git.log", { path = ".", skip = 0, limit = PAGE, stat = true } },
    { "summary", "file.list", { summary = true, depth = 1, hidden = true } },
    { "top", "file.list", { depth = 1, limit = 300, hidden = true } },
    { "readmes", "file.list", { depth = 1, glob = "{README,readme,Readme,ReadMe}*" } },
  }
  if looks.status.cut then looks.status = session:ask({ { "status", "git.status", { limit = 1 } } }).status end
  local seen = { tree = working_tree(looks.status), words = focus_of(session.task), marks = {}, marks_total = 0, found = {}, blamed = {} }
  local bare = seen.tree.bare
  keep_summary(seen, bare and {} or looks.summary)
  seen.top = not bare and looks.top.value and looks.top.value.files or {}
  seen.readme = bare and {} or read_readme(session, looks.readmes)
  session:next_item()
  seen.commits, seen.whole = read_log(session, looks.log)
  seen.log = count_log(seen.commits)
  session:next_item()
  seen.files, seen.areas = sorted_files(seen.log), sorted_areas(seen.log)
  seen.hot = hot_files(seen.files, bare and {} or read_sizes(session, seen), bare)
  local by_focus = focus_first(seen.words, seen.hot, function(f) return f.path end)
  seen.blamed = table.move(by_focus, 1, math.min(#by_focus, HOT), 1, {})
  blame_files(session, seen.blamed)
  seen.hot = by_focus
  session:next_item()
  if not bare then
    local result = session:ask({ { "marks", "search", { pattern = "\\b(TODO|FIXME)\\b", limit = MARKS } } }).marks
    seen.marks, seen.marks_total, seen.marks_more = parse_search(search_text(session, result))
    if #seen.commits > 0 then date_marks(session, seen.marks, seen.tree.changed) end
    table.sort(seen.marks, function(a, b)
      local ta, tb = a.time or math.huge, b.time or math.huge
      if ta ~= tb then return ta < tb end
      if a.path ~= b.path then return a.path < b.path end
      return a.line < b.line
    end)
    seen.marks = focus_first(seen.words, seen.marks, function(m) return m.path .. " " .. m.text end)
  end
  session:next_item()
  if not bare then seen.found = look_for(session, seen.words) end
  introduce(seen)
  session:next_item()
  local text = write_brief(seen)
  session:next_item()
  session:ask {}
  return text
end

---------------------------------------------------------------------------------------------------------------------------
-- changelog

local NEW_FILE = "# Changelog\n\nAll notable changes are listed here, in the form of https://keepachangelog.com; each entry names its commits.\n"
local HEADINGS = { "Added", "Changed", "Fixed", "Removed", "Security" }

local function heading_for(summary)
  local words = " " .. summary:lower():gsub("[^%w]+", " ") .. " "
  local function has(list)
    for word in list:gmatch("%S+") do
      if words:find(" " .. word .. " ", 1, true) then return true end
    end
    return false
  end
  if has "security cve vulnerability" then return "Security" end
  if has "fix fixes fixed fixing bug bugfix crash regression repair repairs" then return "Fixed" end
  if has "remove removes removed drop drops dropped delete deletes deleted revert" then return "Removed" end
  if has "add adds added new introduce introduces support supports begin first create creates" then return "Added" end
  return "Changed"
end

-- The lines of the file, split at the Unreleased section: where it begins and ends, and the heading of the last release.
local function parse_changelog(lines)
  local log = { lines = lines }
  for i, line in ipairs(lines) do
    if line:find("^##%s") then
      if line:lower():find("unreleased", 1, true) then
        log.first = log.first or i
      else
        log.release = log.release or i
      end
    end
  end
  if log.first then
    log.last = #lines
    for i = log.first + 1, #lines do
      if lines[i]:find("^##%s") or lines[i]:find("^%[.-%]:%s") then log.last = i - 1 break end
    end
  end
  return log
end

-- All commits reachable from id among those given, as a set.
local function reachable(commits, id)
  local parents, set, todo = {}, {}, { id }
  for _, c in ipairs(commits) do parents[c.id] = c.parents or {} end
  while #todo > 0 do
    local at = table.remove(todo)
    if not set[at] and parents[at] then
      set[at] = true
      for _, parent in ipairs(parents[at]) do todo[#todo + 1] = parent end
    end
  end
  return set
end

local function all_commits(session)
  local commits = {}
  for page = 0, 9 do
    local result = session:ask({ { "log", "git.log", { skip = page * 50, limit = 50 } } }).log
    if not result.value then return page > 0 and commits or nil end
    for _, c in ipairs(result.value.commits or {}) do commits[#commits + 1] = c end
    if result.value.more ~= true then break end
  end
  return commits
end

-- The commit of the last release (its tag, as its heading names it), else the last commit that changed the file.
local function last_release(session, log, touched)
  local version = log.release and log.lines[log.release]:match("^##%s+%[?v?(%d[%w.+-]*)")
  if version then
    local found = session:ask { { 1, "git.log", { ref = "v" .. version, limit = 1 } }, { 2, "git.log", { ref = version, limit = 1 } } }
    for i = 1, 2 do
      local commits = found[i].value and found[i].value.commits or {}
      if commits[1] then return commits[1].id end
    end
  end
  return touched[1] and touched[1].id
end

local function open_commits(session, commits, log, text)
  local changed = session:ask({ { "log", "git.log", { path = "CHANGELOG.md", limit = 50 } } }).log
  local touched = changed.value and changed.value.commits or {}
  local own = {}
  for _, c in ipairs(touched) do own[c.id] = true end
  local base = last_release(session, log, touched)
  local released = base and reachable(commits, base) or {}
  local open = {}
  for _, c in ipairs(commits) do
    local merge = type(c.parents) == "table" and #c.parents > 1
    if not (merge or own[c.id] or released[c.id] or text:find(c.id:sub(1, 10), 1, true)) then open[#open + 1] = c end
  end
  return open
end

-- The Unreleased section with the new entries first under their headings, and all that stood there kept.
local function new_section(log, entries)
  local old, made = {}, { log.first and log.lines[log.first] or "## [Unreleased]" }
  for i = (log.first or 0) + 1, log.last or 0 do old[#old + 1] = log.lines[i] end
  while #old > 0 and not old[#old]:find("%S") do old[#old] = nil end
  local present = {}
  for _, line in ipairs(old) do
    made[#made + 1] = line
    local heading = line:match("^###%s+(.-)%s*$")
    if heading and entries[heading] and not present[heading] then
      present[heading] = true
      made[#made + 1] = ""
      for _, entry in ipairs(entries[heading]) do made[#made + 1] = entry end
    end
  end
  for _, heading in ipairs(HEADINGS) do
    if entries[heading] and not present[heading] then
      table.move({ "", "### " .. heading, "" }, 1, 3, #made + 1, made)
      table.move(entries[heading], 1, #entries[heading], #made + 1, made)
    end
  end
  -- An entry list that was there follows its heading after an empty line; ours went before it.
  local tidy = {}
  for i, line in ipairs(made) do
    if not (line == "" and made[i - 1] and made[i - 1]:find("^%- ") and made[i + 1] and made[i + 1]:find("^%- ")) then tidy[#tidy + 1] = line end
  end
  return table.concat(tidy, "\n")
end

-- How the section gets into the file: one edit whose old text stands there once, or a new file.
local function changelog_call(log, section, exists)
  if not exists or #log.lines == 0 then
    return { "done", "file.write", { path = "CHANGELOG.md", content = NEW_FILE .. "\n" .. section .. "\n" } }
  end
  local old
  if log.first then
    local last = log.last
    while last > log.first and not log.lines[last]:find("%S") do last = last - 1 end
    old = table.concat(log.lines, "\n", log.first, last)
  elseif log.release then
    old, section = log.lines[log.release], section .. "\n\n" .. log.lines[log.release]
  else
    local last = #log.lines
    while last > 1 and not log.lines[last]:find("%S") do last = last - 1 end
    old, section = log.lines[last], log.lines[last] .. "\n\n" .. section
  end
  return { "done", "file.edit", { path = "CHANGELOG.md", old = old, new = section } }
end

local function changelog(session)
  local looks = session:ask { { "status", "git.status" }, { "files", "file.list", { glob = "CHANGELOG.md", depth = 1 } } }
  if not looks.status.value then return no_repository(looks.status.failed and looks.status.text) .. ": there are no commits to write a changelog from.\n" end
  local commits = all_commits(session)
  if not commits or #commits == 0 then return "There are no commits yet, so there is nothing to write.\n" end
  if looks.status.value.bare == true then
    return "This is a bare repository: there is no work tree, so there is no CHANGELOG.md to bring up to date. Nothing was written.\n"
  end
  local exists = false
  for _, f in ipairs(looks.files.value and looks.files.value.files or {}) do exists = exists or f.path == "CHANGELOG.md" end
  local lines, text = {}, ""
  if exists then
    local read = session:ask({ { "text", "file.read", { path = "CHANGELOG.md", limit = 800 } } }).text
    if read.cut then return "CHANGELOG.md is too long for me to change it safely.\n" end
    lines = map(numbered(read.text), function(line) return line[2] end)
    text = table.concat(lines, "\n")
  end
  local log = parse_changelog(lines)
  local open = open_commits(session, commits, log, text)
  if #open == 0 then return "CHANGELOG.md is up to date with " .. code(commits[1].id:sub(1, 10)) .. ": nothing to add.\n" end
  local entries = {}
  for _, c in ipairs(open) do
    local heading = heading_for(c.summary)
    entries[heading] = entries[heading] or {}
    table.insert(entries[heading], "- " .. prose(c.summary, 200) .. " (" .. id_code(c.id) .. ")")
  end
  local section = new_section(log, entries)
  local done = session:ask({ changelog_call(log, section, exists) }).done
  local check = session:ask({ { "text", "file.read", { path = "CHANGELOG.md", limit = 800 } } }).text
  if not check.text:find(open[1].id:sub(1, 10), 1, true) then
    return "CHANGELOG.md could not be written: " .. prose(done.text, 300) .. "\n\nThe section should be:\n\n" .. section .. "\n"
  end
  return "Added " .. plural(#open, "entry", "entries") .. " to CHANGELOG.md:\n\n" .. section .. "\n"
end

---------------------------------------------------------------------------------------------------------------------------
-- any other agent: look a little, and say what this is

local function needs_nothing(tool)
  local params = type(tool.params) == "string" and decode(tool.params) or tool.params
  local required = type(params) == "table" and params.required
  return type(required) ~= "table" or #required == 0
end

local NO_MODEL = "No model is configured, so this is what a few looks show, not an answer. Set MOONLET_MODEL (or --model provider/model) and the provider's key."

local function look_around(session)
  session:start_plan { "look around", "answer" }
  local wanted = {}
  for _, look in ipairs { { "file.list", { summary = true } }, { "git.status" }, { "git.log", { limit = 5 } } } do
    if session.has[look[1]] and needs_nothing(session.has[look[1]]) then wanted[#wanted + 1] = { look[1], look[1], look[2] } end
  end
  local results = session:ask(wanted)
  local lines = { NO_MODEL }
  for _, call in ipairs(wanted) do
    lines[#lines + 1] = ""
    lines[#lines + 1] = code(call[1]) .. " says:"
    lines[#lines + 1] = ""
    lines[#lines + 1] = block(results[call[1]].text, 600)
  end
  return table.concat(lines, "\n") .. "\n"
end

local function no_structure()
  return nil, "No model is configured, and this agent has to answer with structured data, which the offline model cannot make up. "
    .. "Set MOONLET_MODEL (or --model provider/model) and the provider's key."
end

local policies = { brief = brief, changelog = changelog }

return moon.model.script(function(request)
  local policy = policies[request.agent] or (request.output and no_structure) or look_around
  local thread = coroutine.create(policy)
  local ok, answer, why = coroutine.resume(thread, new_session(request))
  if not ok then error(answer, 0) end
  return answer, why
end)
