-- The benchmark's run that waits: parked, it costs disk and no memory.
local moon = require "moonlet"
return function(input) return input .. moon.wait("go") end
