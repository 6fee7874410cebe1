-- reason: why a job is a dead letter: "<attempts> <reason>\n<error>".

local function reason_as(attempts, reason, failure)
  return whole(attempts) .. ' ' .. reason .. '\n' .. failure
end

-- reason_of returns the reason alone.
local function reason_of(record)
  return string.match(record, '^%d+ ([^\n]*)\n')
end
