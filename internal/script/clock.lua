-- clock: the one clock, and commands of many arguments.

-- clock reads the time once, in ms; every number a script stores comes from here
-- (I8). The second result is the same in microseconds, as text.
local clock_ms, clock_us

local function clock()
  if not clock_ms and ARGV[1] ~= '' then
    clock_ms, clock_us = tonumber(ARGV[1]), ARGV[1] .. '000'
  elseif not clock_ms then
    local t = call('TIME')
    -- No digits are cut out to reckon with: what begins with a 0 is octal to miniredis's Lua.
    clock_ms, clock_us = t[1] * 1000 + math.floor(t[2] / 1000), t[1] .. sub('00000' .. t[2], -6)
  end
  return clock_ms, clock_us
end

-- moment reads a score as ms: nil when there is none, math.huge for 'inf', which miniredis
-- writes in a way that its Lua does not read.
local function moment(score)
  return score and (tonumber(score) or math.huge) or nil
end

-- many makes one command of many arguments, or none of none. Callers keep
-- batches below what unpack allows (7,999 on Redis, 5,113 on miniredis).
local function many(command, key, args)
  if #args > 0 then
    return call(command, key, unpack(args))
  end
  return {}
end
