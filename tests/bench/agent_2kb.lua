-- The benchmark's agent: one tool, written in Lua, that gives back what it is given and 2 KB more; answers come whole.
local moon = require "moonlet"

local echo = moon.tool {
  name = "echo",
  description = "Echo the text back.",
  params = { text = "string" },
  effects = { read_only = true },
  call = function(args) return args.text .. (" and so on"):rep(200) end,
}

return moon.agent {
  name = "bench",
  instructions = "You are a benchmark.",
  tools = { echo },
  limits = { steps = 100000 },
  stream = false,
}
