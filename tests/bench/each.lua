-- SPDX-License-Identifier: MIT
-- As many branches as the input says, each an agent with a scripted model; with "park" behind the number it waits for a signal then.
local moon = require "moonlet"
local chain = moon.chain
local agent = moon.agent { name = "worker", tools = {}, model = moon.model.script(function(r) return r.messages[1].content end) }
local park
return chain.seq {
  function(input)
    park = input:find("park", 1, true)
    local list = {}
    for i = 1, tonumber(input:match("%d+")) do list[i] = "item " .. i end
    return list
  end,
  chain.each(agent),
  function(list)
    if park then moon.wait "go" end
    return #list
  end,
}
