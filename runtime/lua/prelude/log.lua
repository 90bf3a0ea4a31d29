-- SPDX-License-Identifier: MIT
-- moon.log.debug/info/warn/error and print. The first argument is a format if it holds a "%" and more follow; else all are
-- written one after the other.
local host, moon = ...
local say, tostring, select, type = host.log, tostring, select, type
local find, format, concat = string.find, string.format, table.concat

local function join(separator, ...)
  local parts = {}
  for i = 1, select("#", ...) do parts[i] = tostring((select(i, ...))) end
  return concat(parts, separator)
end

local function text(first, ...)
  if select("#", ...) > 0 and type(first) == "string" and find(first, "%", 1, true) then return format(first, ...) end
  return join(" ", first, ...)
end

moon.log = {}
for level, name in ipairs { "debug", "info", "warn", "error" } do
  moon.log[name] = function(...) say(level - 1, text(...)) end
end

function _G.print(...) say(1, join("\t", ...)) end
