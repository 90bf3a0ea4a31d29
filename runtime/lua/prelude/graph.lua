-- SPDX-License-Identifier: MIT
-- A drawing of what a script returns, from its definitions alone: returns draw(value, format, name) → text, or nil and why not.
--
-- describe() gives a tree. Mermaid and DOT get it as nodes, edges and groups; the SVG is laid out here: steps that follow one
-- another from top to bottom, those of which one or all run side by side, an agent with its tools in one box.
local host, moon = ...
host.need "runnable"
local type, tostring, ipairs, max, format, rep, concat = type, tostring, ipairs, math.max, string.format, string.rep, table.concat

local sideways = { all = true, race = true, route = true, branch = true, fallback = true }

local function title(node)
  if node.kind == "agent" or node.kind == "tool" or node.kind == "script" then return node.kind .. " " .. (node.name or "") end
  local notes = {}
  for _, key in ipairs { "over", "n", "times", "seconds", "max", "limit" } do
    local value = node.options and node.options[key]
    if value ~= nil then notes[#notes + 1] = key .. " " .. tostring(value) end
  end
  local text = node.kind
  if node.name and node.name ~= node.kind then text = text .. " " .. node.name end
  return #notes > 0 and text .. " (" .. concat(notes, ", ") .. ")" or text
end

-- What stands in a leaf's box: lines.
local function lines_of(node)
  local lines = { title(node) }
  if node.model then lines[#lines + 1] = node.model end
  if node.path then lines[1] = "script " .. node.path end
  local row = ""
  for _, tool in ipairs(node.tools or {}) do
    if row ~= "" and #row + #tool > 30 then
      lines[#lines + 1] = row
      row = ""
    end
    row = row == "" and tool or row .. ", " .. tool
  end
  if row ~= "" then lines[#lines + 1] = row end
  return lines
end

-- The way's name that leads to a step: "route.redo" → "redo".
local function way(label)
  return label and label:match("^%a+%.(.+)$")
end

-- ---- nodes, edges, groups ----

-- Walks the tree; w has node(id, node), group(id, title), close(), edge(from, to, text, dashed).
local function walk(root, w)
  local n, agents = 0, {} -- agents: the ids by name, for those that are told of a second time
  local visit

  local function link(from, to, text)
    for _, id in ipairs(from) do w.edge(id, to, text) end
  end

  -- from: ids that lead here. Returns the ids that lead on.
  function visit(node, from, text)
    n = n + 1
    local id = "n" .. n
    if not node.steps then
      w.node(id, node)
      if node.kind == "agent" then agents[node.name] = id end
      link(from, id, text)
      for _, inner in ipairs(node.runs or {}) do
        local first = "n" .. (n + 1)
        visit(inner, {}, nil)
        w.edge(id, first, "calls", true)
      end
      for _, inner in ipairs(node.handoffs or {}) do
        local to = inner.again and agents[inner.name]
        if not to then
          to = "n" .. (n + 1)
          visit(inner, {}, nil)
        end
        w.edge(id, to, "hands off", true)
      end
      return { id }
    end
    w.group(id, title(node))
    local out = {}
    if sideways[node.kind] then
      for _, step in ipairs(node.steps) do
        for _, last in ipairs(visit(step, from, way(step.label) or text)) do out[#out + 1] = last end
      end
    else
      out = from
      for i, step in ipairs(node.steps) do out = visit(step, out, i == 1 and text or nil) end
    end
    w.close()
    return out
  end

  visit(root, {}, nil)
end

local function mermaid(root)
  local out, edges, depth = { "flowchart TD" }, {}, 1
  local function quoted(text) return '"' .. text:gsub('"', "#quot;"):gsub("\n", "<br/>") .. '"' end
  local function put(text) out[#out + 1] = rep("  ", depth) .. text end
  walk(root, {
    node = function(id, node)
      local text = quoted(concat(lines_of(node), "\n"))
      put(id .. (node.kind == "agent" and "(" .. text .. ")" or node.kind == "function" and "[/" .. text .. "/]" or "[" .. text .. "]"))
    end,
    group = function(id, text)
      put("subgraph " .. id .. " [" .. quoted(text) .. "]")
      depth = depth + 1
    end,
    close = function()
      depth = depth - 1
      put "end"
    end,
    edge = function(from, to, text, dashed)
      local arrow = dashed and "-.->" or "-->"
      edges[#edges + 1] = "  " .. from .. " " .. arrow .. (text and "|" .. quoted(text) .. "|" or "") .. " " .. to
    end,
  })
  for _, edge in ipairs(edges) do out[#out + 1] = edge end
  return concat(out, "\n") .. "\n"
end

local function dot(root, name)
  local function quoted(text) return '"' .. text:gsub("\\", "\\\\"):gsub('"', '\\"'):gsub("\n", "\\n") .. '"' end
  local out, edges, depth =
    { "digraph " .. quoted(name) .. " {", "  node [shape=box, style=rounded, fontname=Helvetica, fontsize=11];",
      "  graph [style=dashed, fontname=Helvetica, fontsize=10];", "  edge [fontname=Helvetica, fontsize=9];" }, {}, 1
  local function put(text) out[#out + 1] = rep("  ", depth) .. text end
  walk(root, {
    node = function(id, node)
      put(id .. " [label=" .. quoted(concat(lines_of(node), "\n")) .. (node.kind == "function" and ", style=solid" or "") .. "];")
    end,
    group = function(id, text)
      put("subgraph cluster_" .. id .. " {")
      depth = depth + 1
      put("label=" .. quoted(text) .. ";")
    end,
    close = function()
      depth = depth - 1
      put "}"
    end,
    edge = function(from, to, text, dashed)
      local more = (text and "label=" .. quoted(text) or "") .. (text and dashed and ", " or "") .. (dashed and "style=dotted" or "")
      edges[#edges + 1] = "  " .. from .. " -> " .. to .. (more ~= "" and " [" .. more .. "]" or "") .. ";"
    end,
  })
  for _, edge in ipairs(edges) do out[#out + 1] = edge end
  return concat(out, "\n") .. "\n}\n"
end

-- ---- SVG ----

local CHAR, LINE, PAD, GAP, HEAD = 6.6, 16, 10, 26, 22

local function width_of(lines)
  local w = 60
  for _, line in ipairs(lines) do w = max(w, (utf8.len(line) or #line) * CHAR + 2 * PAD) end
  return w
end

-- Gives each box of the tree its size, from the leaves up.
local function measure(node)
  local box = { node = node, inner = {}, sideways = sideways[node.kind] }
  box.lines = node.steps and { title(node) } or lines_of(node)
  local steps = node.steps or {}
  if not node.steps then
    for _, list in ipairs { node.runs or {}, node.handoffs or {} } do
      for _, inner in ipairs(list) do steps[#steps + 1] = inner end
    end
    box.sideways, box.hangs = true, #steps > 0
  end
  for i, step in ipairs(steps) do box.inner[i] = measure(step) end
  local w, h = 0, 0
  for i, inner in ipairs(box.inner) do
    local gap = i > 1 and GAP or 0
    if box.sideways then
      w, h = w + inner.w + gap, max(h, inner.h)
    else
      w, h = max(w, inner.w), h + inner.h + gap
    end
  end
  box.head = #box.lines * LINE + (#box.inner > 0 and PAD or 2 * PAD)
  if node.steps then box.head = HEAD end
  box.w = max(width_of(box.lines), #box.inner > 0 and w + 2 * PAD or 0)
  box.h = box.head + (#box.inner > 0 and h + PAD or 0) + (box.sideways and #box.inner > 0 and node.steps and HEAD or 0)
  return box
end

local function svg(root)
  local out = {}
  local function put(...) out[#out + 1] = format(...) end
  local function text(x, y, line, class)
    put('<text x="%.1f" y="%.1f" class="%s">%s</text>', x, y, class, (line:gsub("[&<>]", { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;" })))
  end
  local function arrow(x1, y1, x2, y2) put('<path d="M%.1f %.1fL%.1f %.1f" marker-end="url(#a)"/>', x1, y1, x2, y2) end
  local function draw(box, x, y)
    local group = box.node.steps ~= nil
    put('<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" rx="%d" class="%s"/>', x, y, box.w, box.h, group and 4 or 8,
      group and "group" or box.node.kind == "agent" and "agent" or "leaf")
    for i, line in ipairs(box.lines) do text(x + PAD, y + LINE * i, line, i == 1 and "title" or "small") end
    local at = box.sideways and x + PAD or y + box.head
    local top = box.sideways and group and y + box.head + HEAD or y + box.head
    for i, inner in ipairs(box.inner) do
      if box.sideways then
        draw(inner, at, top)
        if group then
          local name = way(inner.node.label)
          if name then text(at, top - 5, name, "small") end
        end
        at = at + inner.w + GAP
      else
        local left = x + (box.w - inner.w) / 2
        draw(inner, left, at)
        if i < #box.inner then arrow(x + box.w / 2, at + inner.h, x + box.w / 2, at + inner.h + GAP - 2) end
        at = at + inner.h + GAP
      end
    end
  end
  local box = measure(root)
  put('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" width="%.0f" height="%.0f">', box.w + 2 * PAD, box.h + 2 * PAD,
    box.w + 2 * PAD, box.h + 2 * PAD)
  put "<style>text{font:11px Helvetica,Arial,sans-serif;fill:#222}.title{font-weight:bold}.small{fill:#555}rect{fill:#fff;stroke:#555}"
  put ".group{fill:none;stroke:#999;stroke-dasharray:4 3}.agent{fill:#eef4ff;stroke:#46c}path{stroke:#555;fill:none}</style>"
  put '<defs><marker id="a" markerWidth="8" markerHeight="8" refX="7" refY="3" orient="auto"><path d="M0 0L7 3L0 6z" style="fill:#555"/></marker></defs>'
  put '<rect width="100%%" height="100%%" style="fill:#fff;stroke:none"/>'
  draw(box, PAD, PAD)
  out[#out + 1] = "</svg>\n"
  return concat(out, "\n")
end

local formats = { mermaid = mermaid, dot = dot, svg = svg, json = function(root) return moon.json.encode(root) .. "\n" end }

return function(value, kind, name)
  local draw = formats[kind]
  if not draw then return nil, format('no format "%s" (mermaid, dot, svg, json)', kind) end
  local root = type(value) == "function" and { kind = "function", name = name } or value:describe()
  return draw(root, name)
end
