-- wait: note that the holder of some subjects waits for another, unless that could never end:
-- whoever has the other one waits, over any number of others, for one of these.
--
-- KEYS[1]   waits  hash  subject -> until when whose lease waits for which subject (internal/record/wait.lua)
-- ARGV[6]   'wait' | 'leave' | 'drop', of notes of others whose leases are over
-- ARGV[7]   ms until the note counts no more, unless it is made again
-- ARGV[8]   subject that is waited for
-- ARGV[9+]  pairs: subject that is leased to the work that waits, token of its lease
--
-- Returns   {'ok'} | {'deadlock', (subject, token) of each note that leads to it}
--
-- A note says of a lease, by its token, that its holder waits. Leases are in partitions, which this
-- script can't look into: the caller does, and drops the notes of those that are over.

local WAITS = KEYS[1]
local how, lasts, wanted, now = ARGV[FIRST], tonumber(ARGV[FIRST + 1]), ARGV[FIRST + 2], clock()
local held = {}
for i = FIRST + 3, #ARGV, 2 do
  held[ARGV[i]] = ARGV[i + 1]
end

local function next_of(subject)
  local till, token, other = wait_of(call('HGET', WAITS, subject))
  if till and till > now then
    return other, token
  end
end

if how ~= 'wait' then
  for subject, token in pairs(held) do
    local other, noted = next_of(subject)
    if noted == token and (how == 'drop' or other == wanted) then
      call('HDEL', WAITS, subject)
    end
  end
  return { 'ok' }
end
local at, reply = wanted, { 'deadlock' }
for _ = 1, 100 do -- longer chains are not followed
  if held[at] then
    return reply
  end
  local other, token = next_of(at)
  if not other then
    break
  end
  reply[#reply + 1], reply[#reply + 2] = at, token
  at = other
end
despite_full_memory()
for _, other in ipairs(call('HRANDFIELD', WAITS, 2)) do -- what the dead have left goes bit by bit
  if not next_of(other) then
    call('HDEL', WAITS, other)
  end
end
for subject, token in pairs(held) do
  call('HSET', WAITS, subject, wait_as(now + lasts, token, wanted))
end
call('PEXPIRE', WAITS, 3600000) -- what nobody renews any more
return { 'ok' }
