-- SPDX-License-Identifier: MIT
-- What the tests in this folder share. Each is a script that returns a function; it raises if something is not as it should
-- be, and returns how many things it looked at. tests/unit/test_lua_cases.c runs them.
local moon = require "moonlet"
local check = { n = 0 }

local function text(value)
  if type(value) == "string" or value == nil then return tostring(value) end
  return moon.json.encode(value)
end

-- Equal as JSON, and of the same type.
function check.equal(label, got, expected)
  check.n = check.n + 1
  if type(got) == type(expected) and text(got) == text(expected) then return end
  error(("%s: got %s\n  expected %s"):format(label, text(got), text(expected)), 2)
end

function check.contains(label, got, part)
  check.n = check.n + 1
  if type(got) == "string" and got:find(part, 1, true) then return end
  error(("%s: %q is not in %s"):format(label, part, text(got)), 2)
end

-- f raises, and the message has the part.
function check.raises(label, part, f, ...)
  local ok, why = pcall(f, ...)
  if ok then error(label .. ": nothing was raised", 2) end
  check.contains(label, tostring(why), part)
end

return check
