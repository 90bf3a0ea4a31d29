---@meta moonlet
-- SPDX-License-Identifier: MIT
-- The Lua API of Moonlet: the one source of what `moonlet doc` prints, of docs/reference.md, and of what editors that know
-- LuaCATS annotations (lua-language-server, EmmyLua) complete and check. Nothing in it is run.
--
-- An entry is a comment of --- lines and the declaration below it; its first sentence is its line in lists. A class
-- without a declaration is the shape of a table. Descriptions are Markdown. After a change: scripts/gen-reference.

---The module: `local moon = require "moonlet"`. A script returns what can be run: an agent, or a function of the input and
---a [`ctx`](#moonletctx).
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

---Describes a tool that agents can be given. Its arguments are checked before `call` gets them.
---
---```lua
---local wc = moon.tool {
---  name = "word_count", description = "Counts the words of a text.",
---  params = { text = "string" }, effects = { read_only = true },
---  call = function(args) return { words = select(2, args.text:gsub("%S+", "")) } end,
---}
---```
---@param spec moonlet.ToolSpec|string A name gives the tool that is there, such as `moon.tool "file.read"`.
---@return moonlet.Tool
function moon.tool(spec) end

---A tool with which the model writes a Lua script that calls tools itself, so that what lies between the calls does not go through the model.
---Each call is a run of its own: checked, asked for, journaled and counted. `"lua"` among an agent's tools is this with the agent's other tools.
---@param spec moonlet.CodeSpec
---@return moonlet.Tool
function moon.code(spec) end

---What `moon.code` is made of.
---@class moonlet.CodeSpec
---@field tools (string|moonlet.Runnable)[] Those that a script may call.
---@field name? string Default: `"lua"`.

---Gives a function a name, under which errors and `describe` know it.
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
---@field description? string For people.
---@field instructions? string|moonlet.Prompt The system message: a text, or a prompt whose variables are bound.
---@field prompt? table `{ name =, hash = }`: which prompt the instructions are, for the journal; set by itself when they are one.
---@field model? string|moonlet.Model `"provider/model"`, a Lua file, or a scripted model. Default: MOONLET_MODEL, else what is configured, else offline.
---@field tools? (string|moonlet.Tool)[] Names, groups (`"file"` for `file.*`) and tools of the script. Default: all that only read; `{}` for none.
---@field limits? moonlet.Limits Each ends the run with a stop reason of its own. Default: 100 steps.
---@field plan? boolean The agent writes a plan before it uses other tools, and keeps it up to date.
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

---Limits of a run; nothing left means stop, and 0 never means unlimited.
---@class moonlet.Limits
---@field steps? integer Requests to the model.
---@field tool_calls? integer
---@field seconds? number
---@field tokens? integer Of input and output.
---@field usd? number

---What agents, chains and tools share: they can be run, returned by a script, and be steps of chains.
---@class moonlet.Runnable
---@field name string
local Runnable = {}

---Runs it within another run and waits for its answer. Its use counts against the limits of the run that started it.
---@param input string|table A table is given as JSON.
---@return any answer # a text, or a value if it gives JSON; nil if it failed
---@return moonlet.RunError? err
function Runnable:run(input) end

---Runs it and gives its events as they come, those of its children with their paths: `for event in agent:stream(input) do … end`.
---Events are for showing: a run that is resumed has the result, but not the events again.
---@param input string|table
---@return moonlet.Stream
function Runnable:stream(input) end

---A run for each input, side by side; the answers in the order of the inputs.
---@param list any[]
---@param options? moonlet.BatchOptions
---@return any[]? answers # with `settle` each is `{ ok =, value =, error = }`
---@return moonlet.RunError? err
function Runnable:batch(list, options) end

---A tool that runs it. Without `params` it takes `{ input = "string" }`.
---@param options? moonlet.AsToolOptions
---@return moonlet.Tool
function Runnable:as_tool(options) end

---The same with other fields; of a chain, in all its agents. `limits` are merged field by field.
---@param changes moonlet.AgentSpec|moonlet.ToolSpec
---@return moonlet.Runnable
function Runnable:with(changes) end

---Its name and kind, its input and output as JSON Schema, and of a chain its steps.
---@return table
function Runnable:describe() end

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
---@overload fun(): table?
local Stream = {}

---Waits for the end.
---@return any answer # nil if it failed
---@return moonlet.RunError? err
function Stream:result() end

---Ends the run.
function Stream:cancel() end

---An agent, as `moon.agent` gives it.
---@class moonlet.Agent: moonlet.Runnable

---Why a run failed. `tostring` gives the message.
---@class moonlet.RunError
---@field message string
---@field at? string Where in a chain: `"seq[2] > each[7]"`.
---@field stop string The stop reason: `"limit_steps"`, `"refused"`, …

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

---The second argument of a tool's `call` and of a function that a script returns.
---@class moonlet.Ctx
---@field run string The run's id.
---@field path string Its place in the tree of runs; `""` for the root.
---@field state table What the steps of a chain share; in a function. See [`chain.seq`](#moonchainseq).
---@field cancelled fun(): boolean Is the call or the run to end?
local Ctx = {}

---Tells how far it is: in a tool as progress, in a function as a log line.
---@param text string
function Ctx:progress(text) end

---A type in short, or a JSON Schema: `"string"`, `"integer?"`, `{ "string" }` (a list), `{ enum = { "ok", "redo" } }`, `{ name = "string" }`
---(an object whose fields are required). See [schema.md](schema.md).
---@alias moonlet.Schema string|table

---Combinators: each takes steps and gives a chain. A step is an agent, a chain, a tool, a function of (value, ctx), or the path of a script.
---
---```lua
---local chain = moon.chain
---return chain.seq { scout, chain.each(fixer, { over = "files", limit = 4 }), chain.all { review = reviewer, message = writer } }
---```
---
---All take `name`, and `state`: how names of `ctx.state` that several branches assign are joined, by `"append"`, `"merge"`, `"max"`, `"min"`, `"sum"`,
---`"first"`, `"last"` or a function(old, new). A branch begins with the state as it was then, and what it assigns joins when it has ended.
---@class moonlet.chain
moon.chain = {}

---A chain. It is returned by a script, run, or a step of another one.
---@class moonlet.Chain: moonlet.Runnable

---A step of a chain.
---@alias moonlet.Step moonlet.Runnable|string|fun(value: any, ctx: moonlet.Ctx): any

---One after the other: each gets what the one before gave.
---@param steps moonlet.Step[] And `name`, `state`.
---@return moonlet.Chain
function moon.chain.seq(steps) end

---Side by side, by name or as a list; gives the answers likewise. The first error cancels the others.
---@param steps table<any, moonlet.Step> And `limit` (how many at once), `settle` (collect errors as `{ ok =, value =, error = }`), `name`, `state`.
---@return moonlet.Chain
function moon.chain.all(steps) end

---The step for each item of a list, side by side; gives the answers in the order of the items.
---@param step moonlet.Step
---@param options? moonlet.EachOptions
---@return moonlet.Chain
function moon.chain.each(step, options) end

---What `chain.each` and `chain.reduce` may be told.
---@class moonlet.EachOptions
---@field over? string|fun(value: any, ctx: moonlet.Ctx): any[] The field of the input, or a function that gives the list. Default: the input itself.
---@field limit? integer How many at once (each). Default: 8.
---@field settle? boolean Collects errors (each).
---@field init? any What reduce begins with.
---@field name? string
---@field state? table

---The items of a list one after the other: a function gets (total, item, ctx), another step `{ total =, item = }`.
---@param step moonlet.Step|fun(total: any, item: any, ctx: moonlet.Ctx): any
---@param options? moonlet.EachOptions
---@return moonlet.Chain
function moon.chain.reduce(step, options) end

---One of several ways: `chain.route { by = "kind", bug = fixer, default = asker }`.
---@param ways table<any, moonlet.Step> With `by`: a function(value, ctx), the name of a field, or a step whose answer is the choice.
---@return moonlet.Chain
function moon.chain.route(ways) end

---The first case that holds: `chain.branch { { function(value) return value.ok end, step }, …, default = step }`.
---@param cases table Without a default the value goes on as it is.
---@return moonlet.Chain
function moon.chain.branch(cases) end

---The steps again and again until `stop(value, ctx, round)` holds.
---@param steps table Steps, `stop`, `max` (rounds; default 10), `at_max` (`"error"`, or `"last"` for the last value), `name`, `state`.
---@return moonlet.Chain
function moon.chain.loop(steps) end

---Steps that are tried in order until one succeeds.
---@param steps moonlet.Step[]
---@return moonlet.Chain
function moon.chain.fallback(steps) end

---The step again when it fails.
---@param step moonlet.Step
---@param options? moonlet.RetryOptions
---@return moonlet.Chain
function moon.chain.retry(step, options) end

---What `chain.retry` may be told.
---@class moonlet.RetryOptions
---@field times? integer Attempts. Default: 3.
---@field wait? number Seconds before the second. Default: 0.
---@field backoff? number By which each wait is longer. Default: 2.
---@field when? fun(err: moonlet.RunError, attempt: integer): boolean Is it worth another attempt?
---@field name? string
---@field state? table

---The step, cancelled when its time is over.
---@param step moonlet.Step
---@param options table `seconds`, `name`, `state`.
---@return moonlet.Chain
function moon.chain.timeout(step, options) end

---Side by side; the first that succeeds gives the answer, and the others are cancelled.
---@param steps moonlet.Step[]
---@return moonlet.Chain
function moon.chain.race(steps) end

---The step several times with the same input; the answer that most of them gave.
---@param step moonlet.Step
---@param options? moonlet.VoteOptions
---@return moonlet.Chain
function moon.chain.vote(step, options) end

---What `chain.vote` may be told.
---@class moonlet.VoteOptions
---@field n? integer Votes. Default: 3.
---@field min? integer Fewer equal ones are an error. Default: 1.
---@field key? fun(value: any): any The same for equal votes. Default: texts without case and spaces, values by their JSON.
---@field limit? integer How many at once.
---@field name? string
---@field state? table

---Runs the step and goes on with the value as it was.
---@param step moonlet.Step
---@param options? table `name`, `state`.
---@return moonlet.Chain
function moon.chain.tap(step, options) end

---Remembers answers by input, as long as the process lives.
---@param step moonlet.Step
---@param options? moonlet.CacheOptions
---@return moonlet.Chain
function moon.chain.cache(step, options) end

---What `chain.cache` may be told.
---@class moonlet.CacheOptions
---@field key? fun(value: any): any Default: the input as JSON.
---@field seconds? number How long an answer counts. Default: always.
---@field max? integer Answers that are kept. Default: 1,000.
---@field name? string
---@field state? table

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

---Takes apart what a model wrote. Each function gives a value, or nil and a text that says what was wrong, to be told to the model.
---@class moonlet.parse
moon.parse = {}

---The items of a list: bullets, numbers, or one line with commas. Prose around it is left aside.
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

---The first Markdown table of a text.
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
