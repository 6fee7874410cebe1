-- reason: why a job is a dead letter: "<attempts> <reason>\n<error>".

local function reason_as(attempts, reason, failure)
  return whole(attempts) .. ' ' .. reason .. '\n' .. failure
end

-- reason_of returns the reason alone.
local function reason_of(record)
  return string.match(record, '^%d+ ([^\n]*)\n')
end

-- reason_for is the reason that the code of an end stands for; of a fatal one the caller gives the reason.
local function reason_for(code)
  return ({ exhausted = 'attempts exhausted', workers = 'failed on different workers', lost = 'worker lost' })[code]
end
