-- wait: note that the holder of some subjects waits for another, unless that could never end:
-- whoever has the other one waits, over any number of others, for one of these.
--
-- KEYS[1]   waits  hash  subject -> "<until, ms> <token> <subject>"
-- ARGV[1]   now    ms, or '' for the server's clock
-- ARGV[2]   'wait' | 'leave' | 'drop', of notes of others whose leases are over
-- ARGV[3]   ms until the note counts no more, unless it is made again
-- ARGV[4]   subject that is waited for
-- ARGV[5+]  pairs: subject that is held, token of its lease
--
-- Returns   {'ok'} | {'deadlock', (subject, token) of each note that leads to it}
--
-- A note says of a lease, by its token, that its holder waits. Leases are in partitions, which this
-- script can't look into: the caller does, and drops the notes of those that are over.

local call = redis.call
local now = tonumber(ARGV[1])
if not now then
  local t = call('TIME')
  now = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
end
local held = {}
for i = 5, #ARGV, 2 do
  held[ARGV[i]] = ARGV[i + 1]
end

local function next_of(subject)
  local till, token, other = string.match(call('HGET', KEYS[1], subject) or '', '^(%d+) (%d+) (.*)$')
  if till and tonumber(till) > now then
    return other, token
  end
end

if ARGV[2] ~= 'wait' then
  for subject, token in pairs(held) do
    local other, noted = next_of(subject)
    if noted == token and (ARGV[2] == 'drop' or other == ARGV[4]) then
      call('HDEL', KEYS[1], subject)
    end
  end
  return { 'ok' }
end
local at, reply = ARGV[4], { 'deadlock' }
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
call('HDEL', KEYS[1], '') -- HSET is refused when memory is full, unless another write came first (I10)
for _, other in ipairs(call('HRANDFIELD', KEYS[1], 2)) do -- what the dead have left goes bit by bit
  if not next_of(other) then
    call('HDEL', KEYS[1], other)
  end
end
for subject, token in pairs(held) do
  call('HSET', KEYS[1], subject, string.format('%d', now + tonumber(ARGV[3])) .. ' ' .. token .. ' ' .. ARGV[4])
end
call('PEXPIRE', KEYS[1], 3600000) -- what nobody renews any more
return { 'ok' }
