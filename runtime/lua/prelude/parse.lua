-- SPDX-License-Identifier: MIT
-- moon.parse: takes apart what a model wrote. Each function gives a value, or nil and a text that says what was wrong,
-- written so that it can be told to the model. The text is hostile: all of them take time linear in it, so patterns that
-- would go back and forth over a long line are kept out.
local host, moon = ...
local type, error, ipairs, tostring = type, error, ipairs, tostring
local find, sub, byte, lower, format, rep, concat = string.find, string.sub, string.byte, string.lower, string.format, string.rep, table.concat
local gsub, match = string.gsub, string.match

local function is_space(c) return c == 32 or (c and c >= 9 and c <= 13) end

local function trim(text, from, to)
  from, to = from or 1, to or #text
  while from <= to and is_space(byte(text, from)) do from = from + 1 end
  while to >= from and is_space(byte(text, to)) do to = to - 1 end
  return sub(text, from, to)
end

local function shown(text)
  text = trim(text)
  local cut = #text > 60
  if cut then
    local to = 57
    while to > 1 and (byte(text, to + 1) & 0xC0) == 0x80 do to = to - 1 end -- not within a character
    text = sub(text, 1, to)
  end
  return '"' .. gsub(text, "%c", " ") .. (cut and '…"' or '"')
end

local function check_text(text, name)
  if type(text) ~= "string" then error(format("moon.parse.%s: the text must be a string, not a %s", name, type(text)), 3) end
end

local function check_options(options, known, name)
  if options == nil then return {} end
  if type(options) ~= "table" then error(format("moon.parse.%s: options must be a table, not a %s", name, type(options)), 3) end
  for key in pairs(options) do
    if not known[key] then error(format('moon.parse.%s: unknown option "%s"', name, tostring(key)), 3) end
  end
  return options
end

-- The lines of a text, with their numbers.
local function lines(text)
  local at, n = 1, 0
  return function()
    if at > #text + 1 then return nil end
    local stop = find(text, "\n", at, true) or #text + 1
    local line = sub(text, at, byte(text, stop - 1) == 13 and stop > at and stop - 2 or stop - 1)
    at, n = stop + 1, n + 1
    if at > #text + 1 and line == "" and n > 1 then return nil end -- what follows the last newline is no line
    return n, line
  end
end

---- lists ----

-- The kind of item that a line begins, the column of its mark, and where its text begins.
local function item_of(line)
  local indent, at = find(line, "^[ \t]*")
  at = at + 1
  local c = byte(line, at)
  if c == 45 or c == 42 or c == 43 then -- - * +
    if is_space(byte(line, at + 1)) then return "bullets", at, at + 2 end
  elseif c == 0xE2 and sub(line, at, at + 2) == "•" then
    return "bullets", at, at + 3
  elseif c then
    local _, stop = find(line, "^%(?%d%d?%d?%d?%d?%d?[.)][ \t]", at)
    if stop then return "numbers", at, stop + 1 end
  end
  return nil
end

-- Items of the wanted kind ("bullets", "numbers" or nil for both) at the first item's indentation. What is indented
-- further belongs to the item above it, as does a line that follows without a blank one.
local function marked(text, kind)
  local items, column, gap = {}, nil, true
  for _, line in lines(text) do
    local is, at, from = item_of(line)
    local blank = not find(line, "%S")
    if is and (not kind or is == kind) and (not column or at <= column + 1) then
      column = column or at
      items[#items + 1] = { trim(line, from) }
      gap = false
    elseif blank then
      gap = true
    elseif items[1] and (not gap or (find(line, "^[ \t]") and column)) then
      local item = items[#items]
      item[#item + 1] = trim(line)
    end
  end
  for i, item in ipairs(items) do items[i] = concat(item, "\n") end
  return items
end

-- Parts between commas; quotes keep those within them.
local function commas(text)
  local items, at, n = {}, 1, #text
  while at <= n + 1 do
    while is_space(byte(text, at)) do at = at + 1 end
    if byte(text, at) == 34 then
      local close = find(text, '"', at + 1, true)
      if not close then return nil, format("a quote is not closed, at byte %d", at) end
      items[#items + 1] = sub(text, at + 1, close - 1)
      at = close + 1
      while is_space(byte(text, at)) do at = at + 1 end
      if at <= n and byte(text, at) ~= 44 then return nil, format('expected a comma after a quoted item, at byte %d, got "%s"', at, match(text, "^[%w%p]", at) or "?") end
      at = at + 1
    else
      local stop = find(text, ",", at, true) or n + 1
      items[#items + 1] = trim(text, at, stop - 1)
      at = stop + 1
    end
  end
  return items
end

local function unmarked(text, kind)
  if kind == "comma" then return commas(text) end
  local items = {}
  for _, line in lines(text) do
    if find(line, "%S") then items[#items + 1] = trim(line) end
  end
  return items
end

local function check_items(items, options)
  for i, item in ipairs(items) do
    if item == "" then return nil, format("item %d of the list is empty", i) end
  end
  local n, min, max = #items, options.min, options.max
  if min and n < min then return nil, format("the list has %d item%s, at least %d are needed", n, n == 1 and "" or "s", min) end
  if max and n > max then return nil, format("the list has %d items, at most %d are allowed", n, max) end
  return items
end

local kinds = { bullets = 'lines that begin with "- "', numbers = 'lines that begin with "1. "', comma = "items with commas between them", lines = "one item in each line" }

local function list(text, options)
  check_text(text, "list")
  options = check_options(options, { kind = true, min = true, max = true }, "list")
  local kind = options.kind
  if kind ~= nil and not kinds[kind] then error('moon.parse.list: kind must be "bullets", "numbers", "comma" or "lines"', 2) end
  local body = trim(text)
  if body == "" then return nil, "the text is empty; a list is needed" end
  local items, why
  if kind ~= "comma" and kind ~= "lines" then items = marked(text, kind) end
  if not items or not items[1] then
    if not kind and find(body, "\n", 1, true) then
      return nil, 'there is no list: no line begins with "- " or "1. ", and there is more than one line'
    end
    if kind == "bullets" or kind == "numbers" then return nil, "there is no list: " .. kinds[kind] .. " are needed" end
    items, why = unmarked(body, kind or "comma")
    if not items then return nil, why end
  end
  return check_items(items, options)
end

---- enum ----

-- Without what models put around a word: space, quotes, emphasis, a full stop.
local function bare(text)
  local from, to = 1, #text
  local function skip(c) return is_space(c) or c == 34 or c == 39 or c == 96 or c == 42 or c == 95 or c == 46 end
  while from <= to and skip(byte(text, from)) do from = from + 1 end
  while to >= from and skip(byte(text, to)) do to = to - 1 end
  return sub(text, from, to)
end

local function pick(word, choices)
  for _, choice in ipairs(choices) do
    if word == choice then return choice end
  end
  local found
  for _, choice in ipairs(choices) do
    if lower(bare(choice)) == lower(bare(word)) then
      if found then return nil end
      found = choice
    end
  end
  return found
end

-- Does the word stand in the text, not as a piece of a longer one?
local function stands_in(text, word)
  local at = 1
  while word ~= "" do
    local from, to = find(text, word, at, true)
    if not from then return false end
    local before, after = byte(text, from - 1), byte(text, to + 1)
    local function part(c) return c and (c >= 128 or c == 95 or (c >= 48 and c <= 57) or (c >= 65 and c <= 90) or (c >= 97 and c <= 122)) end
    if not (from > 1 and part(before)) and not part(after) then return true end
    at = from + 1
  end
  return false
end

local function named(text, choices)
  local found, all = nil, {}
  text = lower(text)
  for _, choice in ipairs(choices) do
    if stands_in(text, lower(choice)) then
      found = choice
      all[#all + 1] = '"' .. choice .. '"'
    end
  end
  if #all == 1 then return found end
  return nil, all
end

local function quoted(choices)
  local out = {}
  for i, choice in ipairs(choices) do out[i] = '"' .. choice .. '"' end
  return concat(out, ", ")
end

local function check_choices(choices)
  if type(choices) ~= "table" or #choices == 0 then error("moon.parse.enum: a list of choices is needed", 3) end
  for _, choice in ipairs(choices) do
    if type(choice) ~= "string" or choice == "" then error("moon.parse.enum: choices are texts that are not empty", 3) end
  end
end

local function enum(text, choices, options)
  check_text(text, "enum")
  check_choices(choices)
  options = check_options(options, { within = true }, "enum")
  local found = pick(trim(text), choices)
  if found then return found end
  local last, first = nil, nil
  for _, line in lines(text) do
    if find(line, "%S") then
      first = first or line
      last = line
    end
  end
  if not last then return nil, "the text is empty; one of " .. quoted(choices) .. " is needed" end
  local from_first, from_last = pick(trim(first), choices), pick(trim(last), choices)
  if from_first and from_last and from_first ~= from_last then
    return nil, format('the first line says "%s" and the last "%s"; answer with one of %s alone', from_first, from_last, quoted(choices))
  end
  found = from_last or from_first
  if found then return found end
  local all
  if options.within then
    found, all = named(text, choices)
    if found then return found end
    if all[1] then return nil, format("the text names more than one of the choices: %s; answer with one alone", concat(all, ", ")) end
  end
  return nil, format("expected one of %s, got %s", quoted(choices), shown(text))
end

---- Markdown tables ----

-- The cells of a row: pipes part them, \| is a pipe. nil if there is no pipe.
local function cells(line)
  if not find(line, "|", 1, true) then return nil end
  local body, out = trim(line), {}
  local at, from = 1, 1
  if byte(body, 1) == 124 then at, from = 2, 2 end
  while true do
    local stop = find(body, "[|\\]", at)
    if not stop then break end
    if byte(body, stop) == 92 then
      at = stop + 2
    else
      out[#out + 1] = trim(body, from, stop - 1)
      at, from = stop + 1, stop + 1
    end
  end
  if from <= #body then out[#out + 1] = trim(body, from) end
  for i, cell in ipairs(out) do out[i] = gsub(cell, "\\|", "|") end
  return out
end

local function is_rule(row)
  for _, cell in ipairs(row) do
    if not find(cell, "^:?%-+:?$") then return false end
  end
  return #row > 0
end

-- The first header with a rule under it: its cells, and the lines after it.
local function find_header(text)
  local above
  local next_line = lines(text)
  for n, line in next_line do
    local row = cells(line)
    if row and above and is_rule(row) then
      if #row ~= #above then return nil, format("the rule in line %d has %d cells, the header above it %d", n, #row, #above) end
      return above, next_line
    end
    above = row
  end
  return nil, "there is no Markdown table: a header with | between its cells and a rule such as |---|---| under it are needed"
end

local function check_header(header, columns)
  local seen = {}
  for i, name in ipairs(header) do
    if seen[name] then return format('two columns are named "%s"', name) end
    seen[name] = i
  end
  for _, name in ipairs(columns or {}) do
    if not seen[name] then return format('the table has no column "%s"; it has %s', name, quoted(header)) end
  end
end

local function table_of(text, options)
  check_text(text, "table")
  options = check_options(options, { columns = true }, "table")
  local header, rest = find_header(text)
  if not header then return nil, rest end
  local why = check_header(header, options.columns)
  if why then return nil, why end
  local rows = {}
  for n, line in rest do
    local row = cells(line)
    if not row then break end
    if #row ~= #header then
      return nil, format("row %d of the table (line %d) has %d cell%s, the header %d", #rows + 1, n, #row, #row == 1 and "" or "s", #header)
    end
    local record = {}
    for i, name in ipairs(header) do record[name] = row[i] end
    rows[#rows + 1] = record
  end
  return { columns = header, rows = moon.json.array(rows) }
end

---- code blocks ----

local aliases = {
  bash = "sh", shell = "sh", zsh = "sh", js = "javascript", ts = "typescript", py = "python", rb = "ruby", yml = "yaml",
  md = "markdown", ["c++"] = "cpp", rs = "rust", jsonc = "json", golang = "go",
}

local function language(name)
  name = lower(name)
  return aliases[name] or name
end

-- An opening fence: its character, its length, and the block's language.
local function fence_of(line)
  local _, _, indent, mark = find(line, "^( ? ? ?)([`~])")
  if not mark then return nil end
  local from = #indent + 1
  local to = from
  while byte(line, to + 1) == byte(mark) do to = to + 1 end
  if to - from < 2 then return nil end
  local info = trim(line, to + 1)
  if mark == "`" and find(info, "`", 1, true) then return nil end -- code within a line
  return mark, to - from + 1, match(info, "^[^%s{,]+") or "", #indent
end

local function closes(line, mark, length)
  local from, to = find(line, "^ ? ? ?")
  from = to + 1
  to = to
  while byte(line, to + 1) == byte(mark) do to = to + 1 end
  return to - from + 1 >= length and not find(line, "%S", to + 1)
end

-- All blocks; nil and why if the last is not closed.
local function blocks(text)
  local all, open = {}, nil
  for n, line in lines(text) do
    if not open then
      local mark, length, name, indent = fence_of(line)
      if mark then open = { mark = mark, length = length, language = name, indent = indent, line = n, rows = {} } end
    elseif closes(line, open.mark, open.length) then
      all[#all + 1] = { language = open.language, text = concat(open.rows, "\n"), line = open.line }
      open = nil
    else
      local skip = 0
      while skip < open.indent and byte(line, skip + 1) == 32 do skip = skip + 1 end
      open.rows[#open.rows + 1] = sub(line, skip + 1)
    end
  end
  if open then return nil, format("the code block that begins in line %d is not closed with %s", open.line, rep(open.mark, open.length)), all end
  return all
end

local function wanted(block, name) return not name or language(block.language) == language(name) end

local function missing(all, name)
  if not all[1] then return "there is no code block; put the code between lines of ```" .. (name or "") .. " and ```" end
  local seen = {}
  for i, block in ipairs(all) do seen[i] = block.language == "" and "none given" or block.language end
  return format("there is no code block of language %s; those there are: %s", name, concat(seen, ", ", 1, #seen < 8 and #seen or 8))
end

local function check_language(name, what)
  if name ~= nil and type(name) ~= "string" then error(format("moon.parse.%s: the language must be a string", what), 3) end
end

local function code(text, name)
  check_text(text, "code")
  check_language(name, "code")
  local all, why, before = blocks(text)
  for _, block in ipairs(all or before) do
    if wanted(block, name) then return block.text end
  end
  return nil, why or missing(all, name)
end

local function codes(text, name)
  check_text(text, "codes")
  check_language(name, "codes")
  local all, why = blocks(text)
  if not all then return nil, why end
  local out = {}
  for _, block in ipairs(all) do
    if wanted(block, name) then out[#out + 1] = block end
  end
  if not out[1] then return nil, missing(all, name) end
  return out
end

---- JSON ----

local function json(text, schema)
  check_text(text, "json")
  return host.find_json(text, schema)
end

local function partial(text)
  check_text(text, "partial")
  return host.partial_json(text)
end

moon.parse = { list = list, enum = enum, table = table_of, code = code, codes = codes, json = json, partial = partial }
