-- SPDX-License-Identifier: MIT
-- Supervisor and workers, debate, and a blackboard.
local moon = require "moonlet"
local kit = require "kit"
local way, agent = moon.way, kit.agent

local cases = {
  { "supervisor: workers are its tools, beside those it has", function()
    local noop = moon.tool { name = "noop", description = "d", effects = { read_only = true }, call = function() end }
    local reader = agent({ "it says hello" }, { name = "reader", description = "Reads." })
    local seen
    local boss = moon.agent { name = "boss", tools = { noop }, model = moon.model.script(function(r)
      seen = r.tools
      local last = r.messages[#r.messages]
      if last.role == "user" then
        return { tool_calls = { { name = "reader", arguments = { input = "a.txt" } }, { name = "count", arguments = { input = "abc" } } } }
      end
      return r.messages[#r.messages - 1].content .. ", " .. last.content
    end) }
    local team = way.supervisor(boss, { workers = { reader = reader, count = { function(text) return #text end, "Counts letters." } } })
    kit.equal(kit.good(team:run "go"), "it says hello, 3")
    local names = {}
    for i, tool in ipairs(seen) do names[i] = tool.name .. ": " .. tool.description end
    table.sort(names)
    kit.equal(names, { "count: Counts letters.", "noop: d", "reader: Reads." })
    kit.equal(team:describe().kind, "agent")
  end },
  { "supervisor: a worker that fails is told", function()
    local boss = moon.agent { name = "boss", tools = {}, model = moon.model.script(function(r)
      local last = r.messages[#r.messages]
      if last.role == "user" then return { tool_calls = { { name = "w", arguments = { input = "x" } } } } end
      return (last.is_error and "failed: " or "") .. last.content
    end) }
    kit.has(kit.good(way.supervisor(boss, { workers = { w = (agent {}) } }):run "go"), "failed: ")
  end },
  { "supervisor: what is wrong with it", function()
    local a = agent {}
    kit.raises("the supervisor must be an agent", function() way.supervisor(function() end, { workers = { w = a } }) end)
    kit.raises("needs workers", function() way.supervisor(a, {}) end)
    kit.raises("workers have names", function() way.supervisor(a, { workers = { a } }) end)
    kit.raises("workers.w is a number", function() way.supervisor(a, { workers = { w = { 1 } } }) end)
  end },
  { "debate: rounds, what each reads, who decides", function()
    local pro, p = agent({ "yes", "yes, still" }, { name = "pro" })
    local con, c = agent({ "no", "no, never" }, { name = "con" })
    local judge, j = agent({ "yes it is" }, { name = "judge" })
    local out = kit.good(way.debate({ pro = pro, con = con }, { judge = judge, keep = true }):run "is it safe?")
    kit.equal(out, { answer = "yes it is", answers = { "no, never", "yes, still" } })
    kit.equal(p.asked[1], "is it safe?")
    kit.has(p.asked[2], "Your answer was:\nyes\n\nThe others say:\n[con] no\n\n")
    kit.has(c.asked[2], "[pro] yes")
    kit.has(j.asked[1], "is it safe?\n\nThese answers were given:\n[con] no, never\n\n[pro] yes, still")
    kit.equal({ #p.asked, #c.asked, #j.asked }, { 2, 2, 1 })
  end },
  { "debate: it ends when all agree", function()
    local a, m = agent { "4", "5", "4", "4." }
    kit.equal(kit.good(way.debate({ a, a }, { judge = function(p) return p:match "%[2%] (%d)" end, rounds = 9 }):run "2+2"), "4")
    kit.equal(#m.asked, 4)
  end },
  { "debate: what is wrong with it, and a debater that fails", function()
    local a = agent {}
    kit.raises("needs judge", function() way.debate({ a, a }) end)
    kit.raises("takes two or more", function() way.debate({ a }, { judge = a }) end)
    kit.raises("takes the debaters", function() way.debate(a, { judge = a }) end)
    kit.raises("debater.2 is a boolean", function() way.debate({ a, true }, { judge = a }) end)
    kit.bad("1[1]: ", way.debate({ a, (agent { "x" }) }, { judge = a }):run "x")
  end },
  { "a blackboard is ctx.state with reducers", function()
    local function note(name) return function(_, ctx) ctx.state.board = { name .. " saw " .. #(ctx.state.board or {}) } end end
    local chain = moon.chain.seq {
      state = { board = "append" },
      moon.chain.all { note "a", note "b" }, moon.chain.all { note "c", note "d" },
      function(_, ctx) return ctx.state.board end,
    }
    kit.equal(kit.good(chain:run "x"), { "a saw 0", "b saw 0", "c saw 2", "d saw 2" })
  end },
}

return kit.cases(cases)
