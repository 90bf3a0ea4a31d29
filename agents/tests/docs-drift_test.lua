-- SPDX-License-Identifier: MIT
-- The shipped chain docs-drift: links by looking, claims by a model.
local t = require "moonlet.test"

local files = {
  ["README.md"] = "# X\n\nSee [guide](docs/guide.md), [gone](docs/gone.md#part) and [web](https://example.org/a.md).\n\n```\n[not](a/link)\n```\n`[nor](this/one)`\n",
  ["docs/guide.md"] = "[up](../README.md) [code](../src/) [missing](img/x.png) [out](../../elsewhere)\n\nThe default is 5.\n",
  ["src/a.c"] = "int limit = 7;\n",
  ["LICENSE.md"] = "[x](no/where)\n",
}

t.test("links that lead nowhere, and claims that do not hold", function()
  local run = t.run("../docs-drift.lua", { files = files, model = t.model(function(request)
    if not request.messages[#request.messages].content:find("docs/guide.md", 1, true) then return '{"drift":[]}' end
    return '{"drift":[{"line":3,"claim":"the default is 5","truth":"it is 7","evidence":"src/a.c:1"}]}'
  end) })
  t.done(run)
  t.equal(run.text, [[
Documents: 2.

- `README.md:3`: there is docs/gone.md#part. there is no docs/gone.md (file.list)
- `docs/guide.md:1`: there is img/x.png. there is no docs/img/x.png (file.list)
- `docs/guide.md:3`: the default is 5. it is 7 (src/a.c:1)]])
end)

t.test("offline, only the links", function()
  local run = t.run("../docs-drift.lua", { input = "docs", files = files, model = "offline" })
  t.done(run)
  t.contains(run.text, "Documents: 1.\n\n- `docs/guide.md:1`: there is img/x.png")
  t.contains(run.text, "Of 1 documents only the links were checked: No model is configured")
end)

t.test("no documents", function()
  t.equal(t.run("../docs-drift.lua", { files = { ["a.c"] = "" } }).text, "Documents: 0.\n\nNothing was found that does not hold.")
end)
