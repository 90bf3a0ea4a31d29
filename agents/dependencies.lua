-- SPDX-License-Identifier: MIT
-- dependencies: what a repository depends on, by manifest, under which licence it stands itself, and what deserves a look.
--     moonlet run dependencies
-- Manifests are read by rule (package.json, requirements*.txt, go.mod, Cargo.toml, CMakeLists.txt); a model reads the other kinds and comments on the
-- whole. Without a model the table stands alone. Nothing is asked of the network.
local moon = require "moonlet"
local chain = moon.chain
local list, read = moon.tool "file.list", moon.tool "file.read"

local reader = moon.agent {
  name = "reader", tools = { "file.read", "search" }, limits = { steps = 10, seconds = 200 },
  output = { dependencies = { { name = "string", version = "string", kind = { enum = { "run", "build", "test" } } } } },
  instructions = "You read one manifest of a project and list the dependencies that it declares: name, version (as written, or " ..
    "\"\"), kind. Nothing else, nothing from memory.",
}
local adviser = moon.agent {
  name = "adviser", tools = { "file.read", "search", "git.log" }, limits = { steps = 25, seconds = 400 }, output = { notes = { "string" } },
  instructions = [[
You get a table of the dependencies of a repository and its licence. Note, at most eight points, each with its evidence
(`file:line`): dependencies that no code uses (search), the same one in several versions, versions that are not pinned where the
others are, copied code with a licence of its own, and licences that you know to conflict with the repository's (say that you know
it from memory).
]],
}

local function rows(text, pattern, kind)
  local out = {}
  for name, version in text:gmatch(pattern) do out[#out + 1] = { name = name, version = version, kind = kind or "run" } end
  return out
end
local function npm(text)
  local out, value = {}, moon.json.decode(text)
  for field, kind in pairs { dependencies = "run", devDependencies = "build", peerDependencies = "run" } do
    for name, version in pairs(type(value) == "table" and value[field] or {}) do out[#out + 1] = { name = name, version = version, kind = kind } end
  end
  return out
end
local function cargo(text)
  local out, kind = {}, nil
  for line in text:gmatch "[^\n]+" do
    local section = line:match "^%[(.-)%]%s*$"
    local name, rest = line:match "^([%w_-]+)%s*=%s*(.+)$"
    if section then
      kind = section:find "dependencies$" and (section:find "dev%-" and "test" or section:find "build%-" and "build" or "run")
    elseif kind and name then
      out[#out + 1] = { name = name, version = rest:match '^"([^"]*)"' or rest:match 'version%s*=%s*"([^"]*)"' or "", kind = kind }
    end
  end
  return out
end
local rules = {
  ["package%.json$"] = npm, ["Cargo%.toml$"] = cargo,
  ["requirements[^/]*%.txt$"] = function(text) return rows("\n" .. text, "\n([%w][%w._-]*) *([^%s;#]*)") end,
  ["go%.mod$"] = function(text) return rows(text, "\n%s*r?e?q?u?i?r?e?%s*([%w.-]+%.[%w.-]+/[^%s]+) (v[^%s]+)") end,
  ["CMakeLists%.txt$"] = function(text)
    local out = rows(text, "find_package%((%w+)%s*([%d.]*)")
    for list in text:gmatch "pkg_%w+_modules?%(%S+%s+([^)]*)%)" do
      for name, version in list:gmatch "([%l][%w.+_-]*)[<>=]*([%d.]*)" do out[#out + 1] = { name = name, version = version, kind = "run" } end
    end
    return out
  end,
}

local function manifests()
  local names = "package.json,requirements*.txt,go.mod,Cargo.toml,CMakeLists.txt,pyproject.toml,pom.xml,build.gradle,Gemfile,composer.json,meson.build"
  local found, err = list:run { glob = "{" .. names .. "}", limit = 200 }
  return found and found.files, err
end

local function by_rule(file)
  for pattern, rule in pairs(rules) do
    if file.path:find(pattern) then
      local text, err = read:run { path = file.path }
      if err then return nil, err end
      return { dependencies = rule((text:gsub("%s*%d+\t([^\n]*)", "%1\n"))) }
    end
  end
  return nil, "no rule for " .. file.path
end

-- By rule, else by a model; else it is named as not read.
local function one(file)
  local found = by_rule(file) or reader:run("The manifest: " .. file.path)
  return { path = file.path, read = found ~= nil, list = found and found.dependencies or {} }
end

local licences = {
  { "MIT", "Permission is hereby granted, free of charge" }, { "Apache-2.0", "Apache License" }, { "LGPL", "GNU LESSER" },
  { "GPL-3.0", "GNU GENERAL PUBLIC LICENSE%s+Version 3" }, { "GPL-2.0", "GNU GENERAL PUBLIC LICENSE%s+Version 2" },
  { "MPL-2.0", "Mozilla Public License" }, { "BSD", "Redistribution and use in source" },
}
local function licence()
  local found = list:run { glob = "{LICENSE,LICENCE,COPYING}*", limit = 20 }
  local out = {}
  for _, file in ipairs(found and found.files or {}) do
    local text, name = (read:run { path = file.path, limit = 60 } or ""):gsub("%s*%d+\t", " "), "unknown"
    for _, known in ipairs(licences) do if name == "unknown" and text:find(known[2]) then name = known[1] end end
    out[#out + 1] = ("%s (`%s`)"):format(name, file.path)
  end
  return #out > 0 and table.concat(out, ", ") or "no licence file"
end

local function as_table(files, ctx)
  local out = { "Licence: " .. licence(), "", "| dependency | version | kind | manifest |", "| --- | --- | --- | --- |" }
  for _, file in ipairs(files) do
    for _, d in ipairs(file.list) do out[#out + 1] = ("| %s | %s | %s | `%s` |"):format(d.name, d.version, d.kind, file.path) end
    if not file.read then out[#out + 1] = ("| (not read) | | | `%s` |"):format(file.path) end
  end
  ctx.state.table = table.concat(out, "\n")
  return ctx.state.table
end

return chain.seq { name = "dependencies", manifests, chain.each(one, { limit = 6 }), as_table,
  function(text)
    local advice, err = adviser:run(text)
    return advice or { notes = { "Nobody has looked for what deserves a look: " .. err.message } }
  end,
  function(advice, ctx)
    local out = { ctx.state.table }
    for i, note in ipairs(advice.notes) do out[#out + 1] = (i == 1 and "\n" or "") .. "- " .. note end
    return table.concat(out, "\n")
  end }
