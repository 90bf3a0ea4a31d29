-- SPDX-License-Identifier: MIT
-- The shipped chain dependencies: manifests by rule, others by a model, the licence, notes.
local t = require "moonlet.test"

local files = {
  LICENSE = "Permission is hereby granted, free of charge, to any person\n",
  ["package.json"] = '{"dependencies":{"left-pad":"^1.3.0"},"devDependencies":{"jest":"29"}}',
  ["api/requirements.txt"] = "# all\nflask==3.0 # web\nrequests>=2\n",
  ["go.mod"] = "module x\n\nrequire (\n\tgithub.com/a/b v1.2.3\n)\n",
  ["rs/Cargo.toml"] = '[package]\nname = "x"\n\n[dependencies]\nserde = { version = "1.0", features = ["derive"] }\n\n[dev-dependencies]\nquickcheck = "1"\n',
  ["CMakeLists.txt"] = "find_package(Threads REQUIRED)\npkg_check_modules(DEPS REQUIRED libuv>=1.40 sqlite3)\n",
}

local expected = {
  "| left-pad | ^1.3.0 | run | `package.json` |", "| jest | 29 | build | `package.json` |", "| flask | ==3.0 | run | `api/requirements.txt` |",
  "| requests | >=2 | run | `api/requirements.txt` |", "| github.com/a/b | v1.2.3 | run | `go.mod` |", "| serde | 1.0 | run | `rs/Cargo.toml` |",
  "| quickcheck | 1 | test | `rs/Cargo.toml` |", "| Threads |  | run | `CMakeLists.txt` |", "| libuv | 1.40 | run | `CMakeLists.txt` |", "| sqlite3 |  | run | `CMakeLists.txt` |",
}

t.test("manifests by rule, notes by a model", function()
  local run = t.run("../dependencies.lua", { files = files, models = { adviser = t.model { function(request)
    t.contains(request.messages[#request.messages].content, "Licence: MIT (`LICENSE`)")
    return '{"notes":["left-pad is used nowhere (`package.json:1`)"]}'
  end } } })
  t.done(run)
  for _, row in ipairs(expected) do t.contains(run.text, row) end
  t.contains(run.text, "\n\n- left-pad is used nowhere (`package.json:1`)")
  t.snapshot(run.text)
end)

t.test("a manifest without a rule is read by a model, or named", function()
  local pom = { ["pom.xml"] = "<project/>\n" }
  local run = t.run("../dependencies.lua", { files = pom, models = {
    reader = t.model { '{"dependencies":[{"name":"junit","version":"5","kind":"test"}]}' }, adviser = t.model { '{"notes":[]}' },
  } })
  t.contains(t.done(run).text, "| junit | 5 | test | `pom.xml` |")
  t.contains(run.text, "Licence: no licence file")
  run = t.run("../dependencies.lua", { model = "offline" })
  t.contains(t.done(run).text, "| (not read) | | | `pom.xml` |")
  t.contains(run.text, "Nobody has looked for what deserves a look: No model is configured")
end)
