-- SPDX-License-Identifier: MIT
-- moon.parse: what it takes from a model's answer, what it says when it cannot, and that nothing makes it slow or break.
local moon = require "moonlet"
local check = require "check"
local parse = moon.parse

-- Rows are { label, text, argument…, value }, or { label, text, argument…, nil, part of why }.
local function rows(f, all)
  for _, row in ipairs(all) do
    local value, why = f(row[2], row[3], row[4])
    if row.why then
      check.equal(row[1] .. ": no value", value, nil)
      check.contains(row[1], why, row.why)
    else
      if value == nil then error(row[1] .. ": " .. tostring(why)) end
      check.equal(row[1], value, row.is)
    end
  end
end

local function lists()
  rows(parse.list, {
    { "dashes", "- a\n- b", is = { "a", "b" } },
    { "stars and pluses", "* a\n+ b\n• c", is = { "a", "b", "c" } },
    { "numbers", "1. a\n2) b\n(3) c\n10. d", is = { "a", "b", "c", "d" } },
    { "prose around", "Here you are:\n\n- a\n- b\n\nAnything else?", is = { "a", "b" } },
    { "lines that go on", "- a\n  more\nand more\n- b", is = { "a\nmore\nand more", "b" } },
    { "items inside of items", "- a\n    - a1\n    - a2\n- b", is = { "a\n- a1\n- a2", "b" } },
    { "blank lines between", "1. a\n\n2. b\n", is = { "a", "b" } },
    { "paragraphs of an item", "- a\n\n  and\n\n- b", is = { "a\nand", "b" } },
    { "indented as a whole", "   - a\n   - b", is = { "a", "b" } },
    { "CRLF", "- a\r\n- b\r\n", is = { "a", "b" } },
    { "commas", " a, b c ,d ", is = { "a", "b c", "d" } },
    { "quotes keep commas", '"a, b", c', is = { "a, b", "c" } },
    { "one", "apple", is = { "apple" } },
    { "commas within bullets stay", "- a, b\n- c", is = { "a, b", "c" } },
    { "only numbers", "- a\n1. b\n2. c", { kind = "numbers" }, is = { "b", "c" } },
    { "lines", "a\n\nb, c\n", { kind = "lines" }, is = { "a", "b, c" } },
    { "commas over lines", "a,\nb", { kind = "comma" }, is = { "a", "b" } },
    { "a negative number is no bullet", "-1, -2", is = { "-1", "-2" } },
    { "a decimal is no number mark", "1.5, 2.5", is = { "1.5", "2.5" } },
    { "empty", " \n\t", why = "the text is empty" },
    { "prose", "I found nothing.\nSorry.", why = 'no line begins with "- "' },
    { "bullets wanted", "a, b", { kind = "bullets" }, why = 'lines that begin with "- " are needed' },
    { "too few", "- a", { min = 2 }, why = "the list has 1 item, at least 2 are needed" },
    { "too many", "a, b, c", { max = 2 }, why = "the list has 3 items, at most 2" },
    { "empty item", "a,, b", why = "item 2 of the list is empty" },
    { "empty bullet", "- a\n- \n- c", why = "item 2 of the list is empty" },
    { "open quote", '"a, b', why = "a quote is not closed, at byte 1" },
    { "text after a quote", '"a" b', why = 'expected a comma after a quoted item, at byte 5, got "b"' },
  })
  check.raises("no text", "the text must be a string, not a nil", parse.list)
  check.raises("unknown option", 'unknown option "mni"', parse.list, "a", { mni = 1 })
  check.raises("unknown kind", "kind must be", parse.list, "a", { kind = "x" })
end

local function enums()
  local verdicts = { "ok", "redo", "not sure" }
  rows(parse.enum, {
    { "as it is", "ok", verdicts, is = "ok" },
    { "other case, a full stop", " Redo.\n", verdicts, is = "redo" },
    { "emphasis and quotes", '**"OK"**', verdicts, is = "ok" },
    { "more words", "Not sure", verdicts, is = "not sure" },
    { "the last line", "The tests pass, but the name is wrong.\n\nredo", verdicts, is = "redo" },
    { "the first line", "ok\n\nBecause all tests pass.", verdicts, is = "ok" },
    { "exact before case", "A", { "a", "A" }, is = "A" },
    { "within", "I would say: redo it.", verdicts, { within = true }, is = "redo" },
    { "a piece of a word is none", "token", { "ok", "no" }, { within = true }, why = "expected one of" },
    { "not by default within", "It is not ok", verdicts, why = 'expected one of "ok", "redo", "not sure", got "It is not ok"' },
    { "two within", "ok or redo", verdicts, { within = true }, why = 'more than one of the choices: "ok", "redo"' },
    { "first against last", "ok\nbut\nredo", verdicts, why = 'the first line says "ok" and the last "redo"' },
    { "empty", "\n", verdicts, why = "the text is empty" },
    { "case that tells nothing", "Aa", { "aa", "AA" }, why = "expected one of" },
    { "long", ("é"):rep(100), verdicts, why = "…" },
  })
  check.raises("no choices", "a list of choices is needed", parse.enum, "x")
  check.raises("empty choice", "texts that are not empty", parse.enum, "x", { "" })
end

local function tables()
  local function table_of(...)
    local value, why = parse.table(...)
    return value and { value.columns, value.rows }, why
  end
  rows(table_of, {
    { "plain", "| a | b |\n|---|---|\n| 1 | 2 |\n| 3 | 4 |", is = { { "a", "b" }, { { a = "1", b = "2" }, { a = "3", b = "4" } } } },
    { "no outer pipes", "a | b\n--- | :-:\n1 | 2", is = { { "a", "b" }, { { a = "1", b = "2" } } } },
    { "prose around", "See:\n\n| a |\n|:--|\n| x |\n\nand | this", is = { { "a" }, { { a = "x" } } } },
    { "escaped pipes", "|a|\n|-|\n|x\\|y|", is = { { "a" }, { { a = "x|y" } } } },
    { "empty cells", "| |b|\n|-|-|\n|1||", is = { { "", "b" }, { { [""] = "1", b = "" } } } },
    { "no rows", "|a|\n|-|", is = { { "a" }, moon.json.array {} } },
    { "CRLF", "|a|\r\n|-|\r\n|1|\r\n", is = { { "a" }, { { a = "1" } } } },
    { "columns that are there", "|a|b|\n|-|-|\n|1|2|", { columns = { "b" } }, is = { { "a", "b" }, { { a = "1", b = "2" } } } },
    { "none", "no table, a|b", why = "there is no Markdown table" },
    { "rule of another width", "|a|b|\n|-|", why = "the rule in line 2 has 1 cells, the header above it 2" },
    { "short row", "|a|b|\n|-|-|\n|1|2|\n|3|", why = "row 2 of the table (line 4) has 1 cell, the header 2" },
    { "long row", "|a|\n|-|\n|1|2|", why = "row 1 of the table (line 3) has 2 cells, the header 1" },
    { "twins", "|a|a|\n|-|-|", why = 'two columns are named "a"' },
    { "a column that is not there", "|a|\n|-|\n|1|", { columns = { "b" } }, why = 'no column "b"; it has "a"' },
  })
end

local function code()
  rows(parse.code, {
    { "any", "Do:\n```lua\nreturn 1\n```\nDone.", is = "return 1" },
    { "by language", "```sh\nls\n```\n```python\nx = 1\ny = 2\n```", "python", is = "x = 1\ny = 2" },
    { "another name of it", "```bash\nls\n```", "sh", is = "ls" },
    { "case", "```JSON\n{}\n```", "json", is = "{}" },
    { "tildes", "~~~\na\n```\nb\n~~~", is = "a\n```\nb" },
    { "longer fence", "````md\n```lua\nx\n```\n````", is = "```lua\nx\n```" },
    { "indented", "  ```lua\n  a\n    b\n  ```", is = "a\n  b" },
    { "info after the language", "```lua {1,2} title=x\na\n```", "lua", is = "a" },
    { "empty", "```\n```", is = "" },
    { "blank lines stay", "```\n\na\n\n```", is = "\na\n" },
    { "CRLF", "```\r\na\r\n```\r\n", is = "a" },
    { "found before one that is open", "```lua\na\n```\n```sh\nls", "lua", is = "a" },
    { "none", "nothing", why = "there is no code block; put the code between lines of ``` and ```" },
    { "none, of a language", "nothing", "lua", why = "lines of ```lua and ```" },
    { "others", "```py\n1\n```\n```\n2\n```", "lua", why = "no code block of language lua; those there are: py, none given" },
    { "not closed", "a\n```lua\nreturn", why = "the code block that begins in line 2 is not closed with ```" },
    { "not closed by a shorter one", "````\na\n```", why = "not closed with ````" },
    { "inline is none", "```a``` b", why = "there is no code block" },
  })
  check.equal("all", parse.codes("```sh\na\n```\n\n```lua\nb\n```"), { { language = "sh", text = "a", line = 1 }, { language = "lua", text = "b", line = 5 } })
  check.equal("all of a language", #parse.codes("```sh\na\n```\n```lua\nb\n```\n```bash\nc\n```", "sh"), 2)
  local none, why = parse.codes("```sh\na", "sh")
  check.equal("all, one open", none, nil)
  check.contains("all, one open", why, "line 1 is not closed")
end

local function jsons()
  local shape = { a = "integer", ["b?"] = "string" }
  rows(parse.json, {
    { "alone", ' {"a":1} ', is = { a = 1 } },
    { "a scalar alone", "42", is = 42 },
    { "in prose", 'Here it is: {"a":[1,2]}. Good?', is = { a = { 1, 2 } } },
    { "in a fence", '```json\n{"a":1}\n```', is = { a = 1 } },
    { "the first of two", '{"a":1} {"a":2}', is = { a = 1 } },
    { "brackets in strings", 'x {"a":"}]{[\\""} y', is = { a = '}]{["' } },
    { "after brackets that are prose", "Use [brackets] or {braces}, as in [1].", is = { 1 } },
    { "after one that opens nothing", 'Open with { then write {"a":1}', is = { a = 1 } },
    { "objects alone, with a shape", 'As in [1], {"a":2} is it', shape, is = { a = 2 } },
    { "a list, with a shape", '{x} ["p","q"]', { "string" }, is = { "p", "q" } },
    { "none", "nothing", why = "there is no JSON object or array in the text" },
    { "none of the shape", "[1]", shape, why = "expected object, got array" },
    { "none of the shape in prose", "see [1]", shape, why = "there is no JSON object in the text" },
    { "trailing comma", 'So:\n{"a":1,}', why = "the JSON that begins in line 2 with {\"a\":1,} is broken: expected a name in quotes at byte 7, got '}'" },
    { "single quotes, and no piece of it", "{'a': [1,2]}", why = "expected a name in quotes at byte 1" },
    { "cut off, and no piece of it", '{"a":[1,2],"b":', why = "expected a value at byte 15, where the text ends" },
    { "broken, and no piece of it", '{"a":[1,2],"b":x', why = "expected a value at byte 15, got 'x'" },
    { "does not fit", '{"a":"x"}', shape, why = "/a: expected integer, got string" },
    { "misspelt", '{"a":1,"c":2}', shape, why = "c" },
  })
  check.raises("bad shape", 'unknown type "strng"', parse.json, "{}", { a = "strng" })
end

local function partials()
  local all = {
    { "", nil }, { " ", nil }, { "{", {} }, { '{"a', {} }, { '{"a"', {} }, { '{"a":', {} }, { '{"a":t', {} }, { '{"a":true', { a = true } },
    { '{"a":1', {} }, { '{"a":1,', { a = 1 } }, { '{"a":1,"b', { a = 1 } }, { '{"a":"x', { a = "x" } }, { '{"a":"x\\', { a = "x" } },
    { '{"a":"x\\u00', { a = "x" } }, { '{"a":"x\\ud83d', { a = "x" } }, { '{"a":"x\\ud83d\\ude', { a = "x" } }, { '{"a":"x\\ud83d\\ude00', { a = "x😀" } },
    { '{"a":"x\xF0\x9F\x98', { a = "x" } }, { '{"a":"é', { a = "é" } }, { '{"a":[1,2', { a = { 1 } } }, { '{"a":[[],{"b":[fal', { a = { moon.json.array {}, { b = moon.json.array {} } } } },
    { '"he', "he" }, { "12", nil }, { "tru", nil }, { '[-', moon.json.array {} }, { '[1e', moon.json.array {} }, { '[1 ', { 1 } },
  }
  for _, row in ipairs(all) do
    local value, whole = parse.partial(row[1])
    check.equal("partial " .. row[1], value, row[2])
    check.equal("partial " .. row[1] .. ", whole", whole, row[2] == nil and "more" or false)
  end
  for _, text in ipairs { "{}", " [1, {\"a\":null}] ", '"x"', "true", "12 " } do
    local value, whole = parse.partial(text)
    check.equal("whole " .. text, value, moon.json.decode(text))
    check.equal("whole " .. text, whole, true)
  end
  for text, part in pairs { ["x"] = "expected a value at byte 0", ["{x"] = "expected a name", ["[1]]"] = "unexpected text", ["[}"] = "closes another kind",
    ['{"a" 1'] = "expected ':'", ['{"a":1 "b"'] = "expected ',' or '}'", ["nul!"] = "expected a value", ["[1,]"] = "expected a value", ['{"a":1,}'] = "expected a name",
    ['["\1'] = "control character", ['["\xFF'] = "not UTF-8", ['["\\x"]'] = "unknown escape", ["[01,"] = "must not begin with 0", ["[1.2.3,"] = "",
    [("["):rep(201)] = "nested too deep" } do
    local value, why = parse.partial(text)
    check.equal("broken " .. text, value, nil)
    check.contains("broken " .. text, why, part)
    check.equal("broken " .. text .. " is not: more", why == "more", false)
  end
  check.equal("200 levels", (parse.partial(("["):rep(200))) ~= nil, true)
end

---- at random ----

local function value_at_random(depth)
  local kind = math.random(depth > 4 and 5 or 8)
  if kind == 1 then return math.random(-1000, 1000) end
  if kind == 2 then return math.random() * 10 ^ math.random(-5, 20) end
  if kind == 3 then return math.random(2) == 1 end
  if kind == 4 then return moon.json.null end
  if kind == 5 then
    local out = {}
    for i = 1, math.random(0, 12) do out[i] = utf8.char(({ math.random(1, 127), math.random(128, 2047), math.random(2048, 55295), math.random(65536, 1114111), 34, 92 })[math.random(6)]) end
    return table.concat(out)
  end
  local out = {}
  if kind < 8 then
    for i = 1, math.random(0, 5) do out[i] = value_at_random(depth + 1) end
    return moon.json.array(out)
  end
  for _ = 1, math.random(0, 5) do out[value_at_random(9) == true and "t" or "k" .. math.random(99)] = value_at_random(depth + 1) end
  return out
end

-- Is what was there before still there, apart from what was growing at the end?
local function grows(before, after)
  if type(before) ~= type(after) then return false end
  if type(before) == "string" then return after:sub(1, #before) == before end
  if type(before) ~= "table" then return before == after end
  for key, value in pairs(before) do
    if not grows(value, after[key]) then return false end
  end
  return true
end

local function escaped(c)
  local code = utf8.codepoint(c)
  if code < 128 then return nil end
  if code < 65536 then return ("\\u%04x"):format(code) end
  return ("\\u%04X\\u%04x"):format(0xD800 + ((code - 65536) >> 10), 0xDC00 + ((code - 65536) & 0x3FF))
end

-- Each prefix gives a value that the next one only adds to, or needs more; the whole gives what decode gives.
local function prefixes()
  for _ = 1, 150 do
    local text = moon.json.encode(value_at_random(1))
    if math.random(2) == 1 then text = text:gsub(utf8.charpattern, escaped) end
    local last
    for cut = 1, #text - 1 do
      local value, whole = parse.partial(text:sub(1, cut))
      if value == nil and whole ~= "more" then error(("prefix %d of %s: %s"):format(cut, text, whole)) end
      if last ~= nil and not grows(last, value) then error(("prefix %d of %s takes something back"):format(cut, text)) end
      last = value
      check.n = check.n + 1
    end
    local value = parse.partial(text .. " ")
    check.equal(text, value, moon.json.decode(text))
    check.equal(text .. " in prose", type(value) == "table" and parse.json("So (" .. text .. ").") or value, value)
  end
end

-- Whatever comes, a value or a reason; and never slow.
local function garbage()
  local pieces = { "- ", "1. ", "|", "---", "\n", "```", "~~~", "{", "}", "[", "]", '"', "\\", ",", ":", "a", "1", " ", "\t", "\r\n", "é", "\xFF", "\0", "true", "|-|\n", '{"a":' }
  local functions = {
    parse.list, function(t) return parse.enum(t, { "a", "1" }, { within = true }) end, parse.table, parse.code, parse.codes, parse.json, parse.partial,
    function(t) return parse.list(t, { kind = "comma" }) end, function(t) return parse.json(t, { a = "any" }) end,
  }
  for round = 1, 2000 do
    if round % 200 == 0 then moon.sleep(0) end -- a new slice
    local out = {}
    for i = 1, math.random(1, 40) do out[i] = pieces[math.random(#pieces)] end
    local text = table.concat(out)
    for i, f in ipairs(functions) do
      local value, why = f(text)
      if value == nil and type(why) ~= "string" then error(("function %d says nothing about %q"):format(i, text)) end
      check.n = check.n + 1
    end
  end
  -- Long texts that would be slow if anything went back and forth: a slice's budget has to do for each.
  for _, piece in ipairs { " ", "- ", "|", "[", "{", "[1,", '{"a":', '["', '"', "`", "```\n", "\\", ",", "\t\n", "1. x\n", "[x]", '["[","', "(1" } do
    moon.sleep(0)
    local text = piece:rep(200000 // #piece)
    for _, f in ipairs(functions) do f(text) end
    check.n = check.n + 1
  end
end

return function()
  lists()
  enums()
  tables()
  code()
  jsons()
  partials()
  moon.sleep(0)
  prefixes()
  garbage()
  return check.n
end
