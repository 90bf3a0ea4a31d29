---@meta moonlet
-- SPDX-License-Identifier: MIT
-- The Lua API of Moonlet: the one source of what `moonlet doc` prints, of docs/reference.md, and of what editors that know
-- LuaCATS annotations (lua-language-server, EmmyLua) complete and check. Nothing in it is run.
--
-- An entry is a comment of --- lines and the declaration below it; its first sentence is its line in lists. A class
-- without a declaration is the shape of a table. Descriptions are Markdown. After a change: scripts/gen-reference.

---The module: `local moon = require "moonlet"`. A script returns what can be run: an agent, a [chain](#moonchain), or a
---function of the input and a [`ctx`](#moonletctx).
---
---```lua
---local moon = require "moonlet"
---return moon.agent { name = "hello", instructions = "Greet the user in one line." }
---```
---@class moonlet
---@field version string The version of Moonlet, such as `"0.1.0"`.
local moon = {}

---Describes an agent. A field that is not known is an error that names the nearest.
---
---```lua
---local scout = moon.agent {
---  name = "scout", instructions = "Find where a change is needed.",
---  tools = { "search", "file.read" }, output = { files = { "string" }, why = "string" },
---}
---```
---@param spec moonlet.AgentSpec
---@return moonlet.Agent
function moon.agent(spec) end

---Describes a tool that agents can be given. Its arguments are checked before `call` gets them. `tool:run { … }` calls it from a script.
---
---```lua
---local wc = moon.tool {
---  name = "word_count", description = "Counts the words of a text.",
---  params = { text = "string" }, effects = { read_only = true },
---  call = function(args) return { words = select(2, args.text:gsub("%S+", "")) } end,
---}
---```
---@param spec moonlet.ToolSpec|string A name gives the tool of that name, to be run: `moon.tool "file.read":run { path = "a.txt" }`.
---@return moonlet.Tool
function moon.tool(spec) end

---A tool with which the model writes a Lua script that calls tools itself, so that what lies between the calls does not go through the model.
---Each call is a run of its own: checked, asked for, journaled and counted. `"lua"` among an agent's tools is this with the other tools that it lists.
---
---```lua
---return moon.agent { name = "counter", tools = { moon.code { tools = { "file.read", "search" } } }, instructions = "Count." }
---```
---@param spec moonlet.CodeSpec
---@return moonlet.Tool
function moon.code(spec) end

---What `moon.code` is made of.
---@class moonlet.CodeSpec
---@field tools (string|moonlet.Tool)[] Those that a script may call, as `local text, err = file.read { path = "a.txt" }`: names, groups, tools of the script.
---@field name? string Default: `"lua"`.

---Gives a function a name, under which errors and `describe` know it, and the methods of what can be run.
---@param name string
---@param f fun(input: any, ctx: moonlet.Ctx): any
---@return moonlet.Chain
function moon.fn(name, f) end

---The time, in seconds since 1970. Recorded: a run that is resumed gets the same. Works within a run.
---@return number seconds
function moon.time() end

---An environment variable. What it reads stands in the journal; names that look like secrets are refused. Works within a run.
---@param name string
---@return string? value # nil if it is not set
function moon.env(name) end

---Waits, also beyond the end of the process if the run is kept.
---@param seconds number
---@return true
function moon.sleep(seconds) end

---Waits for a signal that `moonlet signal RUN NAME JSON` gives.
---@param name string Of 1 to 63 bytes.
---@param options? moonlet.WaitOptions
---@return any value # the signal's; nil and `"timeout"` when time ran out
---@return string? why
function moon.wait(name, options) end

---What `moon.wait` may be told.
---@class moonlet.WaitOptions
---@field timeout? number Seconds; without it the wait has no end.

---What an agent is made of.
---@class moonlet.AgentSpec
---@field name? string Shown in events; scripted models see it as `request.agent`. Default: `"agent"`.
---@field description? string What it is for: for people, and for models that may hand over to it.
---@field instructions? string|moonlet.Prompt The system message: a text, or a prompt whose variables are bound.
---@field prompt? table `{ name =, hash = }`: which prompt the instructions are, for the journal; set by itself when they are one.
---@field model? string|moonlet.Model `"provider/model"`, a Lua file, or a scripted model. Default: MOONLET_MODEL, else what is configured, else offline.
---@field tools? (string|moonlet.Tool)[] Names, groups (`"file"` for `file.*`) and tools of the script. Default: all that only read; `{}` for none.
---@field limits? moonlet.Limits Each ends the run with a stop reason of its own. Default: 100 steps, 10 handoffs.
---@field plan? boolean The agent writes a plan before it uses other tools, and keeps it up to date.
---@field snapshots? boolean The files of the git work tree are kept before the first change and after each step that wrote. Default: as configured.
---@field workspace? "shared"|"worktree" `"worktree"`: it works in a git worktree of its own, which is merged back when it ends well. Default: shared.
---@field policy? table<string, "allow"|"ask"|"deny"> By tool, group or `"*"`.
---@field output? moonlet.Schema The type of the answer; it is checked, and asked for again twice if it does not fit. Default: text.
---@field parallel? integer How many calls that only read run side by side, 1 to 64. Default: 8.
---@field temperature? number Sent to the model as it is, as the next four are. Default: the server's.
---@field top_p? number
---@field seed? integer
---@field max_output_tokens? integer
---@field reasoning_effort? string
---@field stream? boolean `false` asks for the answer in one piece.
---@field first_byte_seconds? number How long the model may be silent before its answer begins. Default: 300.
---@field stall_seconds? number How long it may be silent within its answer. Default: 120.
---@field retries? integer Attempts after the first, with growing pauses. Default: 4.
---@field extra? table Members added to each request: `{ top_k = 40 }`.
---@field handoffs? (moonlet.Agent|moonlet.Handoff|fun(): moonlet.Agent)[] To whom the conversation may be handed over.
---@field hooks? moonlet.Hooks Functions that look at each of its operations.

---An agent to whom the conversation may be handed over; the model gets a tool for it. See [lua.md](lua.md#handing-a-conversation-over).
---@class moonlet.Handoff
---@field agent moonlet.Agent|fun(): moonlet.Agent A function is called once, before the first run: so agents can list each other.
---@field filter? "all"|"texts"|"last"|"none"|fun(messages: moonlet.Message[]): moonlet.Message[] What the other one is told of the conversation. Default: `"all"`.
---@field name? string Of the tool. Default: `transfer_to_NAME`.
---@field description? string Of the tool. Default: the agent's.

---Functions that are asked before and after each operation of an agent; nothing returned means: as it is, nil and a text: no. What they may return
---is in [lua.md](lua.md#hooks). They may wait, but for `on_event`, and fail closed.
---@class moonlet.Hooks
---@field before_model? fun(request: table, ctx: moonlet.Ctx): any, string? `request`: `agent`, `step`, `model`, `instructions`, `messages`, `tools`.
---@field after_model? fun(answer: table, ctx: moonlet.Ctx): any, string? `answer`: `agent`, `step`, `text`, `tool_calls`, `reasoning`, `finish`, `model`, `usage`.
---@field before_tool? fun(call: table, ctx: moonlet.Ctx): any, string? `call`: `id`, `tool`, `arguments`, `agent`.
---@field after_tool? fun(call: table, result: table, ctx: moonlet.Ctx): any, string? `result`: `ok`, `text`, `json`.
---@field on_event? fun(event: table, ctx: moonlet.Ctx) `event`: `type`, `seq`, `time`, `run`, `path`, `body`.
---@field timeout? number Seconds that each has. Default: 120.

---Limits of a run; nothing left means stop, and 0 never means unlimited.
---@class moonlet.Limits
---@field steps? integer Requests to the model.
---@field tool_calls? integer
---@field seconds? number
---@field tokens? integer Of input and output.
---@field usd? number
---@field handoffs? integer Default: 10.

---What agents, chains and tools share: they can be run, returned by a script, and be steps of chains.
---@class moonlet.Runnable
---@field name string
local Runnable = {}

---Runs it within another run and waits for its answer. Its use counts against the limits of the run that started it.
---@param input string|table A table is given as JSON; to a tool it is its arguments.
---@return any answer # a text, or a value if it gives JSON; nil if it failed
---@return moonlet.RunError? err
---@return string? who # of an agent that has `handoffs`: who answered
function Runnable:run(input) end

---Runs it and gives its events as they come, those of its children with their paths. Events are for showing: a run that is resumed has the result,
---but not the events again.
---
---```lua
---local stream = writer:stream(input)
---for event in stream do
---  if event.type == "tool.intent" then moon.log.info("%s calls %s", event.path, event.body.tool) end
---end
---local answer, err = stream:result()
---```
---@param input string|table
---@return moonlet.Stream
function Runnable:stream(input) end

---A run for each input, side by side; the answers in the order of the inputs. The first that fails cancels the others, unless `settle` is set.
---@param list any[]
---@param options? moonlet.BatchOptions
---@return any[]? answers # with `settle` each is `{ ok =, value =, error = }`
---@return moonlet.RunError? err
function Runnable:batch(list, options) end

---A tool that runs it, for an agent's `tools`. Without `params` it takes `{ input = "string" }`; with them the run's input is the arguments.
---@param options? moonlet.AsToolOptions
---@return moonlet.Tool
function Runnable:as_tool(options) end

---The same with other fields; of a chain, in all its agents. `limits` are merged field by field.
---@param changes moonlet.AgentSpec|moonlet.ToolSpec
---@return moonlet.Runnable
function Runnable:with(changes) end

---What it is, as data; `moonlet graph` draws it.
---@return moonlet.Description
function Runnable:describe() end

---What `:describe` gives. `input` and `output` are JSON Schema.
---@class moonlet.Description
---@field kind string `"agent"`, `"tool"`, `"function"`, `"script"`, or of a chain its combinator: `"seq"`, `"way.react"`.
---@field name? string
---@field description? string
---@field model? string
---@field tools? string[] Names of those that are listed.
---@field runs? moonlet.Description[] The agents and chains behind an agent's tools.
---@field handoffs? moonlet.Description[] To whom an agent may hand over; of one that is described elsewhere in the tree only kind and name.
---@field again? true It is described elsewhere.
---@field hooks? string[] The names of an agent's hooks.
---@field input? table
---@field output? table
---@field steps? moonlet.Description[] Of a chain; each has its `label` beside.
---@field options? table Of a chain: those that are texts, numbers and booleans.
---@field label? string A step's place: `"seq[2]"`, `"route.redo"`.
---@field path? string Of a script.

---What `:batch` may be told.
---@class moonlet.BatchOptions
---@field limit? integer How many at once. Default: 8.
---@field settle? boolean Errors are collected; else the first cancels the others.

---What `:as_tool` may be told.
---@class moonlet.AsToolOptions
---@field name? string Default: its own.
---@field description? string Default: its own.
---@field params? moonlet.Schema
---@field effects? moonlet.Effects Default: `read_only`; what the run does is asked for where it is done.
---@field timeout? number Seconds. Default: a day.

---A run whose events are read: call it for the next one, nil at the end.
---@class moonlet.Stream
---@overload fun(): moonlet.StreamEvent?
local Stream = {}

---An event of a stream.
---@class moonlet.StreamEvent
---@field type string
---@field path string Whose it is.
---@field seq? integer Absent from those that are only shown, such as `model.delta`.
---@field body table Its members stand in [events.md](events.md).

---Waits for the end.
---@return any answer # nil if it failed
---@return moonlet.RunError? err
function Stream:result() end

---Ends the run.
function Stream:cancel() end

---An agent, as `moon.agent` gives it.
---@class moonlet.Agent: moonlet.Runnable

---Why a run failed. `tostring` gives `at` and the message.
---@class moonlet.RunError
---@field message string
---@field stop string The stop reason: `"limit_steps"`, `"refused"`, …
---@field at? string Where in a chain: `"seq[2] > each[7]"`.
---@field path? string The path of the run that failed: `"1.3"`; `moonlet show` prints it.
---@field agent? string Who it was.
---@field conflicts? { path: string, why: string }[] Of work in a worktree that could not be merged.
---@field value? any What the agent answered all the same, then.

---What a tool is made of.
---@class moonlet.ToolSpec
---@field name string Letters, digits, `_`; dots part groups.
---@field description string What the model reads.
---@field params? moonlet.Schema The arguments: a table of types, or a JSON Schema of type object.
---@field effects? moonlet.Effects Without `read_only` a call needs leave.
---@field timeout? number Seconds. Default: 120.
---@field call fun(args: table, ctx: moonlet.Ctx): any Gives a text, a value that becomes JSON, or nil and why not.

---What a tool does to the world, in MCP's words.
---@class moonlet.Effects
---@field read_only? boolean
---@field destructive? boolean
---@field idempotent? boolean
---@field open_world? boolean

---A tool, as `moon.tool` gives it.
---@class moonlet.Tool: moonlet.Runnable

---The last argument of a tool's `call`, of functions that are run or are steps, and of hooks.
---@class moonlet.Ctx
---@field run string The run's id.
---@field path string Its place in the tree of runs: `"1.3"`, `""` for the root.
---@field state table What the steps of a chain share; not in a tool's `call`. See [lua.md](lua.md#what-steps-share).
---@field cancelled fun(): boolean Is the call or the run to end?
local Ctx = {}

---Tells how far it is: in a tool as progress, in a function as a log line.
---@param text string
function Ctx:progress(text) end

---A type in short, or a JSON Schema: `"string"`, `"integer?"`, `{ "string" }` (a list), `{ enum = { "ok", "redo" } }`, `{ name = "string" }`
---(an object whose fields are required). See [schema.md](schema.md).
---@alias moonlet.Schema string|table

---Combinators: each takes steps and gives a chain. [lua.md](lua.md#chains) has how they fail, wait and share; [`moon.way`](#moonway) builds on them.
---
---```lua
---local chain = moon.chain
---return chain.seq { scout, chain.each(fixer, { over = "files", limit = 4 }), chain.all { review = reviewer, message = writer } }
---```
---
---All take `name`, for errors and drawings, and `state`: how names of `ctx.state` that several branches assign are joined, by `"append"`, `"merge"`,
---`"max"`, `"min"`, `"sum"`, `"first"`, `"last"`, `"local"` (it stays in its branch) or a function(old, new).
---@class moonlet.chain
moon.chain = {}

---A chain, as `moon.chain.*` and `moon.way.*` give it. It is returned by a script, run, or a step of another one.
---@class moonlet.Chain: moonlet.Runnable

---A step of a chain: an agent, a chain, a tool, a function of (value, ctx), or the path of a script.
---@alias moonlet.Step moonlet.Runnable|string|fun(value: any, ctx: moonlet.Ctx): any

---What every combinator may be told.
---@class moonlet.ChainOptions
---@field name? string
---@field state? table<string, string|fun(old: any, new: any): any> Names of `ctx.state` and their reducers.

---One after the other: each gets what the one before gave.
---@param steps moonlet.Step[] And `name`, `state`.
---@return moonlet.Chain
function moon.chain.seq(steps) end

---Side by side on the same input, by name or as a list; gives the answers likewise. The first that fails cancels the others.
---@param steps table<any, moonlet.Step> And `limit` (how many at once; default: all), `settle` (each answer is `{ ok =, value =, error = }`), `name`, `state`.
---@return moonlet.Chain
function moon.chain.all(steps) end

---The step for each item of a list, side by side; gives the answers in the order of the items. The first that fails cancels the others.
---@param step moonlet.Step
---@param options? moonlet.EachOptions
---@return moonlet.Chain
function moon.chain.each(step, options) end

---What `chain.each` may be told.
---@class moonlet.EachOptions: moonlet.ChainOptions
---@field over? string|fun(value: any, ctx: moonlet.Ctx): any[] The field of the input, or a function that gives the list. Default: the input itself.
---@field limit? integer How many at once. Default: 8.
---@field settle? boolean Nothing is cancelled; each answer is `{ ok =, value =, error = }`.

---The items of a list one after the other: a function gets (total, item, ctx), another step `{ total =, item = }`.
---@param step moonlet.Step|fun(total: any, item: any, ctx: moonlet.Ctx): any
---@param options? moonlet.ReduceOptions
---@return moonlet.Chain
function moon.chain.reduce(step, options) end

---What `chain.reduce` may be told.
---@class moonlet.ReduceOptions: moonlet.ChainOptions
---@field over? string|fun(value: any, ctx: moonlet.Ctx): any[] As of `chain.each`.
---@field init? any What it begins with.

---One of several ways: `chain.route { by = "kind", bug = fixer, default = asker }`.
---@param ways table<any, moonlet.Step> With `by`: a function(value, ctx), the name of a field, or a step whose answer is the choice. A choice without a way goes to `default`, and fails if there is none.
---@return moonlet.Chain
function moon.chain.route(ways) end

---The first case that holds: `chain.branch { { function(value) return value.ok end, step }, …, default = step }`.
---@param cases table And `default` (without it the value goes on as it is), `name`, `state`.
---@return moonlet.Chain
function moon.chain.branch(cases) end

---The steps again and again, each round with what the one before gave, until `stop(value, ctx, round)` holds.
---@param steps moonlet.Step[] And `stop`, `max` (rounds; default: 10), `at_max` (`"error"`, or `"last"` for the last value), `name`, `state`.
---@return moonlet.Chain
function moon.chain.loop(steps) end

---Steps that are tried in order until one succeeds. If none does, the error names all of theirs.
---@param steps moonlet.Step[] And `name`, `state`.
---@return moonlet.Chain
function moon.chain.fallback(steps) end

---The step again when it fails. What nobody could mend is not tried again: an interrupt, an approval that is awaited, a refusal, a changed script,
---wrong configuration.
---@param step moonlet.Step
---@param options? moonlet.RetryOptions
---@return moonlet.Chain
function moon.chain.retry(step, options) end

---What `chain.retry` may be told.
---@class moonlet.RetryOptions: moonlet.ChainOptions
---@field times? integer Attempts. Default: 3.
---@field wait? number Seconds before the second. Default: 0.
---@field backoff? number By which each wait is longer. Default: 2.
---@field when? fun(err: moonlet.RunError, attempt: integer): boolean Is it worth another attempt?

---The step, cancelled when its time is over.
---@param step moonlet.Step
---@param options moonlet.TimeoutOptions
---@return moonlet.Chain
function moon.chain.timeout(step, options) end

---What `chain.timeout` is told.
---@class moonlet.TimeoutOptions: moonlet.ChainOptions
---@field seconds number

---Side by side; the first that succeeds gives the answer, and the others are cancelled.
---@param steps moonlet.Step[] And `name`, `state`.
---@return moonlet.Chain
function moon.chain.race(steps) end

---The step several times with the same input, side by side; the answer that most of them gave, of equally frequent ones the first. Votes that fail do not count.
---@param step moonlet.Step
---@param options? moonlet.VoteOptions
---@return moonlet.Chain
function moon.chain.vote(step, options) end

---What `chain.vote` may be told.
---@class moonlet.VoteOptions: moonlet.ChainOptions
---@field n? integer Votes. Default: 3.
---@field min? integer Fewer equal ones are an error. Default: 1.
---@field key? fun(value: any): any The same for equal votes. Default: texts without case, more than one space and a full stop at the end; values by their JSON.
---@field limit? integer How many at once. Default: all.

---Runs the step and goes on with the value as it was.
---@param step moonlet.Step
---@param options? moonlet.ChainOptions
---@return moonlet.Chain
function moon.chain.tap(step, options) end

---Remembers answers by input, as long as the process lives. A run that is resumed gets what it got.
---@param step moonlet.Step
---@param options? moonlet.CacheOptions
---@return moonlet.Chain
function moon.chain.cache(step, options) end

---What `chain.cache` may be told.
---@class moonlet.CacheOptions: moonlet.ChainOptions
---@field key? fun(value: any): any Default: the input as JSON.
---@field seconds? number How long an answer counts. Default: always.
---@field max? integer Answers that are kept. Default: 1,000.

---Ways of prompting, each from a paper: a way takes a step (most often an agent) and gives a chain. [ways.md](ways.md) says which is for what, what it costs,
---and where it is from.
---
---```lua
---local solver = moon.agent { name = "solver", tools = {}, temperature = 0.7 }
---return moon.way.self_consistency(solver, { n = 5 })
---```
---@class moonlet.way
moon.way = {}

---What every way may be told.
---@class moonlet.WayOptions: moonlet.ChainOptions
---@field prompts? table<string, string> Words of your own for its prompts, with their `{slots}`.
---@field keep? boolean The answer is a table: `answer` and what led to it.

---How alike two texts are, from 0 to 1, by the pieces of three bytes that they share.
---@param a string
---@param b string
---@return number
function moon.way.similarity(a, b) end

---The task in words, without examples. One call.
---@param step moonlet.Step
---@param options moonlet.ZeroShotOptions
---@return moonlet.Chain
function moon.way.zero_shot(step, options) end

---What `way.zero_shot` is told.
---@class moonlet.ZeroShotOptions: moonlet.WayOptions
---@field task string What is to be done with the input.
---@field context? string
---@field format? string How the answer is to look.

---Examples before the question. One call.
---@param step moonlet.Step
---@param options moonlet.FewShotOptions
---@return moonlet.Chain
function moon.way.few_shot(step, options) end

---What `way.few_shot` is told.
---@class moonlet.FewShotOptions: moonlet.WayOptions
---@field examples moonlet.Example[]
---@field task? string
---@field format? string
---@field select? integer Only so many: those most like the input.
---@field order? "similar"|"list" Of those selected: the most alike last, or as they are listed. Default: `"similar"`.
---@field bytes? integer Room for examples; one that does not fit is passed over.
---@field tokens? integer The same, at four bytes a token.

---An example of `way.few_shot`.
---@class moonlet.Example
---@field input any
---@field output any
---@field why? any The reasoning between them; the model is then asked for its own.

---Reasoning first, then the answer, which is taken out. One call, or two.
---@param step moonlet.Step
---@param options? moonlet.WayOptions `prompts`: `think`, `extract`.
---@return moonlet.Chain
function moon.way.chain_of_thought(step, options) end

---Several chains of thought side by side; the answer that most of them come to. The agent needs a temperature.
---@param step moonlet.Step
---@param options? moonlet.SelfConsistencyOptions
---@return moonlet.Chain
function moon.way.self_consistency(step, options) end

---What `way.self_consistency` may be told.
---@class moonlet.SelfConsistencyOptions: moonlet.ChainOptions
---@field n? integer How many. Default: 5.
---@field key? fun(answer: any): any The same for equal answers, as of `chain.vote`.
---@field min? integer Fewer equal ones are an error. Default: 1.
---@field limit? integer How many at once. Default: all.
---@field prompts? table<string, string> `think`, `extract`.

---The general question behind the question, and its answer, first. Three calls.
---@param step moonlet.Step
---@param options? moonlet.StepBackOptions
---@return moonlet.Chain
function moon.way.step_back(step, options) end

---What `way.step_back` may be told.
---@class moonlet.StepBackOptions: moonlet.WayOptions
---@field facts? moonlet.Step Answers the general question. Default: the step itself.

---Simpler problems first, each with the answers of those before it.
---@param step moonlet.Step
---@param options? moonlet.LeastToMostOptions
---@return moonlet.Chain
function moon.way.least_to_most(step, options) end

---What `way.least_to_most` may be told.
---@class moonlet.LeastToMostOptions: moonlet.WayOptions
---@field split? moonlet.Step Makes the list. Default: the step, as one that only thinks.
---@field max? integer More problems are an error. Default: 8.

---Follow-up questions, one at a time, each answered before the next is asked.
---@param step moonlet.Step
---@param options? moonlet.SelfAskOptions
---@return moonlet.Chain
function moon.way.self_ask(step, options) end

---What `way.self_ask` may be told.
---@class moonlet.SelfAskOptions: moonlet.WayOptions
---@field search? moonlet.Step Answers the questions. Default: the step itself.
---@field max? integer Questions. Default: 5.

---A plan first, then its steps one by one, then the answer.
---@param step moonlet.Step
---@param options? moonlet.PlanOptions
---@return moonlet.Chain
function moon.way.plan_and_execute(step, options) end

---What `way.plan_and_execute` may be told.
---@class moonlet.PlanOptions: moonlet.WayOptions
---@field planner? moonlet.Step Default: the step, as one that only thinks.
---@field answer? moonlet.Step Writes the end. Default: the planner.
---@field replan? boolean What is left is planned anew after each step.
---@field max? integer Steps; more are an error. Default: 10.

---Thought, Action and Observation as text, for models without function calling. An action is a run of the tool: checked, asked for, journaled.
---@param step moonlet.Step
---@param options moonlet.ReactOptions
---@return moonlet.Chain
function moon.way.react(step, options) end

---What `way.react` is told.
---@class moonlet.ReactOptions: moonlet.WayOptions
---@field tools (string|moonlet.Runnable)[] Names, groups, tools, agents and chains.
---@field policy? table<string, "allow"|"ask"|"deny"> Default: the agent's.
---@field task? string
---@field max? integer Calls of the model. Default: 10.
---@field malformed? integer So many malformed actions in a row end it. Default: 3.
---@field observation? integer Bytes of a result that the model is told. Default: 4,000.
---@field at_max? "error"|"last" Default: `"error"`.

---The model writes a Lua program, and what that returns is the answer. It reads and writes nothing.
---@param step moonlet.Step
---@param options? moonlet.ProgramOptions
---@return moonlet.Chain
function moon.way.program_of_thought(step, options) end

---What `way.program_of_thought` may be told.
---@class moonlet.ProgramOptions: moonlet.WayOptions
---@field times? integer Programs; one that fails goes back to the model. Default: 3.

---Tries, checks, says what went wrong, and tries again with that in mind.
---@param step moonlet.Step
---@param options moonlet.ReflexionOptions
---@return moonlet.Chain
function moon.way.reflexion(step, options) end

---What `way.reflexion` is told.
---@class moonlet.ReflexionOptions: moonlet.WayOptions
---@field check moonlet.Step|fun(answer: any, ctx: moonlet.Ctx, trial: integer): boolean, any A function gives true, or false and why; another step judges: yes or no, or `{ ok =, why = }`.
---@field reflect? moonlet.Step Default: the step, as one that only thinks.
---@field trials? integer Default: 3.
---@field window? integer How many reflections are told. Default: 3.
---@field at_max? "error"|"last" Default: `"error"`.

---Several next thoughts for each of the best so far, judged, and the best kept, depth by depth.
---@param step moonlet.Step
---@param options? moonlet.TreeOptions
---@return moonlet.Chain
function moon.way.tree_of_thoughts(step, options) end

---What `way.tree_of_thoughts` may be told.
---@class moonlet.TreeOptions: moonlet.WayOptions
---@field propose? moonlet.Step|fun(s: { input: any, thoughts: string[] }): string[] Default: the step, as one that only thinks; so the next two.
---@field score? moonlet.Step|fun(s: { input: any, thoughts: string[] }): number
---@field answer? moonlet.Step|false `false` takes the last thought.
---@field depth? integer Default: 3.
---@field beam? integer How many are kept. Default: 5.
---@field branch? integer Next thoughts of each. Default: 5.
---@field samples? integer Judgements of each. Default: 1.
---@field calls? integer All calls together. Default: 200.
---@field limit? integer How many at once. Default: 8.
---@field stop? fun(thoughts: string[], ctx: moonlet.Ctx): boolean Ends it early.
---@field at_max? "error"|"last" When the calls run out. Default: `"error"`.

---An agent whose tools are workers, beside those that it lists.
---@param agent moonlet.Agent
---@param options moonlet.SupervisorOptions
---@return moonlet.Agent
function moon.way.supervisor(agent, options) end

---What `way.supervisor` is told.
---@class moonlet.SupervisorOptions
---@field workers table<string, any> Names to steps, or to `{ step, "what it is good for" }`.

---Several answer, read each other's answers and answer again; a judge decides.
---@param debaters table<any, moonlet.Step> A list, or by name.
---@param options moonlet.DebateOptions
---@return moonlet.Chain
function moon.way.debate(debaters, options) end

---What `way.debate` is told.
---@class moonlet.DebateOptions: moonlet.WayOptions
---@field judge moonlet.Step
---@field rounds? integer Fewer if all say the same. Default: 2.

---Models in Lua, for tests, rehearsals and work without a network.
---@class moonlet.model
moon.model = {}

---A model that is a function of the request, or a list of answers that are given in order; it fails when they run out.
---@param answers (fun(request: moonlet.Request): string|moonlet.Answer?)|(string|moonlet.Answer)[]
---@return moonlet.Model
function moon.model.script(answers) end

---A scripted model: for an agent's `model`, or returned by a file that is given as `--model FILE.lua`.
---@class moonlet.Model

---What a scripted model is asked.
---@class moonlet.Request
---@field messages moonlet.Message[]
---@field tools table[] Each `name`, `description`, `params`.
---@field agent string The agent's name.
---@field step integer From 1.

---A message of a conversation.
---@class moonlet.Message
---@field role "system"|"user"|"assistant"|"tool"
---@field content string
---@field tool_calls? table[] Each `id`, `name`, `arguments`.
---@field tool_call_id? string

---What a scripted model says.
---@class moonlet.Answer
---@field text? string
---@field reasoning? string
---@field tool_calls? table[] Each `{ name =, arguments = {…}, id = }`.
---@field finish? string Default: `"stop"`, or `"tool_calls"` if there are any.
---@field usage? table `input_tokens`, `cached_tokens`, `output_tokens`, `reasoning_tokens`, `usd`.

---JSON.
---@class moonlet.json
---@field null userdata The value `null`: in tables that become JSON, and in what `decode` gives.
moon.json = {}

---A value as JSON, members in the order of their names. A value without a JSON form (a function, a list with holes) is an error that says where.
---@param value any
---@return string
function moon.json.encode(value) end

---The value of a JSON text, read strictly.
---@param text string
---@return any value # nil if it is no JSON
---@return string? why
function moon.json.decode(text) end

---Marks a table as an array, so that an empty one is written as `[]`.
---@param list? any[]
---@return any[]
function moon.json.array(list) end

---Log lines of a run. The first argument is a format if it has a `%` and more follow; else all are written one after the other. `print` is `info`.
---@class moonlet.log
moon.log = {}

---Writes a log event of level `debug`.
---@param ... any
function moon.log.debug(...) end

---Writes a log event of level `info`.
---@param ... any
function moon.log.info(...) end

---Writes a log event of level `warn`.
---@param ... any
function moon.log.warn(...) end

---Writes a log event of level `error`.
---@param ... any
function moon.log.error(...) end

---Templates of what a model is told. `moon.prompt "text"` or `moon.prompt { … }` makes one; [prompts.md](prompts.md) describes the language.
---
---```lua
---local p = moon.prompt "Review {{path}}.{{#if focus}} Look at {{focus}} first.{{/if}}"
---print(p:render { path = "src/x.c" })
---```
---@class moonlet.prompt
---@overload fun(spec: string|moonlet.PromptSpec): moonlet.Prompt
moon.prompt = {}

---A prompt whose text is a file beneath the script's folder; its name is its path. The text is kept with the run.
---@param path string
---@param options? moonlet.PromptFileOptions
---@return moonlet.Prompt
function moon.prompt.file(path, options) end

---What `moon.prompt` may be told: `text`, or parts. Parts come in this order: role, task, context, format, examples.
---@class moonlet.PromptSpec
---@field name? string In errors and in the journal. Default: `"prompt"`.
---@field text? string
---@field role? string|moonlet.Prompt Without a heading.
---@field task? string|moonlet.Prompt
---@field context? string|moonlet.Prompt
---@field format? string|moonlet.Prompt How the answer is to look.
---@field examples? string|moonlet.Prompt|(string|table)[] A list of texts and of `{ input =, output = }` is data: nothing in it is a slot.
---@field partials? table<string, string|moonlet.Prompt> What `{{> name}}` stands for.

---What `moon.prompt.file` may be told.
---@class moonlet.PromptFileOptions
---@field name? string
---@field partials? table<string, string|moonlet.Prompt> Others are looked for beside the file.

---A prompt.
---@class moonlet.Prompt
---@field name string
local Prompt = {}

---The text, with these variables. One that is missing is an error that names it, the prompt and the line.
---@param vars? table<string, any>
---@return string
function Prompt:render(vars) end

---A prompt with these variables bound; those that are given later count.
---@param vars table<string, any>
---@return moonlet.Prompt
function Prompt:with(vars) end

---The version: a hash of what the template says, its partials and examples included, and not of what is put in.
---@return string hash # SHA-256 in 64 digits
function Prompt:hash() end

---The names of the variables that it uses and that are not bound.
---@return string[]
function Prompt:variables() end

---Takes apart what a model wrote. Each function gives a value, or nil and a text that says what was wrong, to be told to the model. All take time linear
---in the text.
---@class moonlet.parse
moon.parse = {}

---The items of a list: bullets, numbers, or one line with commas. Prose around it is left aside; items within an item stay in its text.
---@param text string
---@param options? moonlet.ListOptions
---@return string[]? items
---@return string? why
function moon.parse.list(text, options) end

---What `moon.parse.list` may be told.
---@class moonlet.ListOptions
---@field kind? "bullets"|"numbers"|"comma"|"lines" Only this form.
---@field min? integer Fewer items are an error.
---@field max? integer

---One of the choices: the whole text, or its last or first line, whatever the case, quotes, emphasis and full stop.
---@param text string
---@param choices string[]
---@param options? moonlet.EnumOptions
---@return string? choice # as it stands in choices
---@return string? why
function moon.parse.enum(text, choices, options) end

---What `moon.parse.enum` may be told.
---@class moonlet.EnumOptions
---@field within? boolean Looks for one alone anywhere in the text too; "not ok" then counts as "ok".

---The first Markdown table of a text. A row with more or fewer cells than the header is an error.
---@param text string
---@param options? moonlet.TableOptions
---@return moonlet.Table? table
---@return string? why
function moon.parse.table(text, options) end

---What `moon.parse.table` may be told.
---@class moonlet.TableOptions
---@field columns? string[] Those that must be there.

---A Markdown table.
---@class moonlet.Table
---@field columns string[] The cells of the header.
---@field rows table<string, string>[] The cells of each row, by column.

---The first code block of a text.
---@param text string
---@param language? string Only of this language; `sh` is `bash` too.
---@return string? code
---@return string? why
function moon.parse.code(text, language) end

---All code blocks of a text.
---@param text string
---@param language? string
---@return moonlet.CodeBlock[]? blocks
---@return string? why
function moon.parse.codes(text, language) end

---A code block.
---@class moonlet.CodeBlock
---@field language string As written; `""` if there is none.
---@field text string
---@field line integer Where it begins in the text.

---The text as JSON, or the first object or array in its prose, checked against a schema. A broken value is an error; a piece of one is never taken for the whole.
---A schema for objects passes over arrays such as `[1]`.
---@param text string
---@param schema? moonlet.Schema
---@return any value
---@return string? why
function moon.parse.json(text, schema) end

---The value so far of JSON that is still being written. Strings are given as far as they go; a number at the end waits for its end.
---@param text string
---@return any value # nil if there is none yet, or if no JSON begins so
---@return boolean|string whole # is it all? Without a value: `"more"`, or what is wrong
function moon.parse.partial(text) end

return moon
