-- SPDX-License-Identifier: MIT
-- The short form of a JSON Schema. Returns expand(short, what, arguments) → schema, or nil and why not.
--
--   "string" "integer" "number" "boolean" "object" "array" "null" "any"      a value of that type
--   "string?"                             the same, as a field that may be left out; for tables the name says it: ["files?"] = { "string" }
--   { "string" }                          a list; the one element says of what
--   { enum = { "a", "b" } }               one of these
--   { name = "string", size = "integer" } an object: fields are required unless optional, others are refused
--
-- A table is taken as it is, as a JSON Schema, if
--   its `type` is a JSON type's name (or a list of them) and all its other fields are words of JSON Schema, unless those are all
--     short types themselves ({ type = "string", title = "string" } is an object with two fields), or
--   it has anyOf, oneOf, allOf or $ref.
-- The arguments of a tool are always an object, so there `type` counts only if it is "object".
local type, pairs, ipairs, next, tostring = type, pairs, ipairs, next, tostring
local match, sub, format, sort, concat = string.match, string.sub, string.format, table.sort, table.concat

local function set(words)
  local s = {}
  for word in words:gmatch("%S+") do s[word] = true end
  return s
end

local types = set "string integer number boolean object array null"
local short = set "string integer number boolean object array null any"
local words = set [[$schema $id $ref $defs $comment title description default examples format deprecated readOnly writeOnly type enum const
  properties required additionalProperties patternProperties propertyNames minProperties maxProperties items prefixItems
  contains minItems maxItems uniqueItems minLength maxLength pattern minimum maximum exclusiveMinimum exclusiveMaximum
  multipleOf anyOf oneOf allOf not if then else]]

local function is_short(value)
  local name = type(value) == "string" and match(value, "^(%a+)%??$")
  return name ~= nil and name ~= false and short[name] == true
end

local function names_types(value)
  if type(value) == "table" then
    for _, name in ipairs(value) do
      if not types[name] then return false end
    end
    return #value > 0
  end
  return types[value] == true
end

local function is_schema(value, arguments)
  if arguments then
    if value.type ~= "object" then return false end
  elseif value.anyOf or value.oneOf or value.allOf or value["$ref"] then
    return true
  elseif value.type == nil or not names_types(value.type) then
    return false
  end
  if type(value.properties) == "table" or type(value.items) == "table" then return true end
  local others, shorts = 0, 0
  for key, field in pairs(value) do
    if not words[key] then return false end
    if key ~= "type" then
      others = others + 1
      if is_short(field) then shorts = shorts + 1 end
    end
  end
  return others == 0 or shorts < others
end

local expand

local function fail(what, text, ...)
  return nil, what .. ": " .. format(text, ...)
end

local function expand_name(value, what)
  local name = match(value, "^(%a+)%??$")
  if name == "any" then return {} end
  if not name or not types[name] then
    return fail(what, 'unknown type "%s" (string, integer, number, boolean, object, array, null, any)', sub(value, 1, 60))
  end
  return { type = name }
end

local function expand_enum(value, what)
  if type(value.enum) ~= "table" or #value.enum == 0 then return fail(what, "enum must be a list of values") end
  local out, strings = {}, true
  for key, field in pairs(value) do out[key] = field end
  for _, item in ipairs(value.enum) do strings = strings and type(item) == "string" end
  if strings and out.type == nil then out.type = "string" end
  return out
end

local function expand_list(value, what)
  if #value ~= 1 or next(value, next(value)) ~= nil then
    return fail(what, "a list type has exactly one element, the type of its items")
  end
  local items, why = expand(value[1], what .. "[]")
  if not items then return nil, why end
  return { type = "array", items = items }
end

local function expand_object(value, what)
  local properties, required = {}, {}
  for key, field in pairs(value) do
    if type(key) ~= "string" then return fail(what, "a field without a name") end
    local name = match(key, "^(.-)%?$")
    local optional = name ~= nil or (type(field) == "string" and sub(field, -1) == "?")
    name = name or key
    local schema, why = expand(field, what .. "." .. name)
    if not schema then return nil, why end
    properties[name] = schema
    if not optional then required[#required + 1] = name end
  end
  sort(required)
  return { type = "object", properties = properties, required = required[1] and required or nil, additionalProperties = false }
end

local function is_enum(value)
  if type(value.enum) ~= "table" then return false end
  for key in pairs(value) do
    if not words[key] then return false end
  end
  return true
end

function expand(value, what, arguments)
  if type(value) == "string" then return expand_name(value, what) end
  if type(value) ~= "table" then return fail(what, "a type is a name or a table, not a %s", type(value)) end
  if is_schema(value, arguments) then return value end
  if not arguments then
    if is_enum(value) then return expand_enum(value, what) end
    if value[1] ~= nil then return expand_list(value, what) end
  end
  return expand_object(value, what)
end

return function(value, what, arguments)
  if arguments and type(value) ~= "table" then return fail(what, "must be a table of the arguments' types") end
  return expand(value, what, arguments)
end
