-- SPDX-License-Identifier: MIT
-- Gets the annotations as its input (tests/unit/test_lua_types.c gives them) and compares them with the module: members that have
-- no entry, entries of what is not there, fields that moon.agent does not take. "all N" if N things agree.
local moon = require 'moonlet'
local agent = moon.agent { tools = {}, model = moon.model.script { 'x' } }
local tool = moon.tool { name = 't', description = 't', call = print }
return function(types, ctx)
  local handles = { Runnable = { agent, moon.chain.seq { agent }, tool }, Prompt = { moon.prompt 'x' }, Ctx = { ctx },
    Stream = { agent:stream 'x' } }
  local documented, wrong, n = { moon = true }, {}, 0
  for name in types:gmatch '\nfunction ([%w_.:]+)%(' do documented[name] = true end
  for name in types:gmatch '\n(moon%.[%w_.]+) = ' do documented[name] = true end
  local function walk(value, name)
    if not documented[name] then wrong[#wrong + 1] = name .. ' has no entry' end
    n = n + 1
    if type(value) ~= 'table' then return end
    local head = types:match('%-%-%-@class moonlet%.' .. name:match '[%w_]+$' .. '\n(.-)\n' .. name:gsub('%.', '%%.') .. ' = ') or types
    for key, item in pairs(value) do
      if type(item) == 'function' or type(item) == 'table' then walk(item, name .. '.' .. key)
      elseif not head:find('---@field ' .. key .. ' ', 1, true) then wrong[#wrong + 1] = name .. '.' .. key .. ' is no field of its class' end
    end
  end
  walk(moon, 'moon')
  for name in pairs(documented) do
    local value, handle, method = moon, name:match '^(%u%w*):(.+)$'
    if handle then
      assert(handles[handle], handle .. ': this test has no such handle')
      for _, h in ipairs(handles[handle]) do value = value and h[method] end
    else
      for part in name:gmatch '[^.]+' do if part ~= 'moon' or value ~= moon then value = value and value[part] end end
    end
    n = n + 1
    if value == nil then wrong[#wrong + 1] = name .. ' is documented, and not there' end
  end
  -- A field that is documented is taken: null is of the wrong type for it, but not unknown.
  local chain, way, step = moon.chain, moon.way, function() end
  local tables = {
    AgentSpec = moon.agent, ToolSpec = moon.tool, CodeSpec = moon.code, PromptSpec = moon.prompt,
    PromptFileOptions = function(o) moon.prompt.file("prompts/rules.md", o) end, WaitOptions = function(o) moon.wait("x", o) end,
    ListOptions = function(o) moon.parse.list("x", o) end, EnumOptions = function(o) moon.parse.enum("x", { "x" }, o) end,
    TableOptions = function(o) moon.parse.table("x", o) end, BatchOptions = function(o) agent:batch({}, o) end,
    AsToolOptions = function(o) agent:as_tool(o) end, RetryOptions = function(o) chain.retry(step, o) end,
    VoteOptions = function(o) chain.vote(step, o) end, CacheOptions = function(o) chain.cache(step, o) end,
    ChainOptions = function(o) chain.tap(step, o) end, EachOptions = function(o) chain.each(step, o) end,
    ReduceOptions = function(o) chain.reduce(step, o) end, TimeoutOptions = function(o) chain.timeout(step, o) end,
    Limits = function(o) moon.agent { limits = o } end, Hooks = function(o) moon.agent { hooks = o } end,
    Handoff = function(o) moon.agent { handoffs = { o } } end,
    WayOptions = function(o) way.chain_of_thought(step, o) end, ZeroShotOptions = function(o) way.zero_shot(step, o) end,
    FewShotOptions = function(o) way.few_shot(step, o) end, SelfConsistencyOptions = function(o) way.self_consistency(step, o) end,
    StepBackOptions = function(o) way.step_back(step, o) end, LeastToMostOptions = function(o) way.least_to_most(step, o) end,
    SelfAskOptions = function(o) way.self_ask(step, o) end, PlanOptions = function(o) way.plan_and_execute(step, o) end,
    ReactOptions = function(o) way.react(step, o) end, ProgramOptions = function(o) way.program_of_thought(step, o) end,
    ReflexionOptions = function(o) way.reflexion(step, o) end, TreeOptions = function(o) way.tree_of_thoughts(step, o) end,
    SupervisorOptions = function(o) way.supervisor(agent, o) end, DebateOptions = function(o) way.debate({ step, step }, o) end,
  }
  for class, fields in types:gmatch '@class moonlet%.(%w+)[^\n]*\n(%-%-%-@field.-)\n\n' do
    for field in (tables[class] and fields or ''):gmatch '@field ([%w_]+)' do
      local ok, why = pcall(tables[class], { [field] = moon.json.null })
      why = ok and '' or tostring(why)
      if why:find('no field', 1, true) or why:find('unknown', 1, true) then wrong[#wrong + 1] = class .. '.' .. field .. ' is not taken: ' .. why end
      n = n + 1
    end
    tables[class] = nil
  end
  for class in pairs(tables) do wrong[#wrong + 1] = class .. ' is not documented' end
  assert(load(types, 'types'))
  return #wrong == 0 and 'all ' .. n or table.concat(wrong, '\n')
end
