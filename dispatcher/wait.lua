-- wait: note that the holder of some subjects waits for another, unless that could never end:
-- whoever has the other one waits, over any number of others, for one of these.
--
-- KEYS[1]   waits  hash  subject -> "<until, ms> <subject>"
-- ARGV[1]   now    ms, or '' for the server's clock
-- ARGV[2]   'wait' | 'leave'
-- ARGV[3]   ms until the note counts no more, unless it is made again
-- ARGV[4]   subject that is waited for
-- ARGV[5+]  subjects that are held
--
-- Returns   {'ok'} | {'deadlock'}

local call = redis.call
local now = tonumber(ARGV[1])
if not now then
  local t = call('TIME')
  now = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
end
local held = {}
for i = 5, #ARGV do
  held[ARGV[i]] = true
end

local function next_of(subject)
  local till, other = string.match(call('HGET', KEYS[1], subject) or '', '^(%d+) (.*)$')
  return till and tonumber(till) > now and other or nil
end

if ARGV[2] == 'leave' then
  for subject in pairs(held) do
    if next_of(subject) == ARGV[4] then
      call('HDEL', KEYS[1], subject)
    end
  end
  return { 'ok' }
end
local at = ARGV[4]
for _ = 1, 100 do -- longer chains are not followed
  if held[at] then
    return { 'deadlock' }
  end
  at = next_of(at)
  if not at then
    break
  end
end
call('HDEL', KEYS[1], '') -- HSET is refused when memory is full, unless another write came first (I10)
for subject in pairs(held) do
  call('HSET', KEYS[1], subject, string.format('%d', now + tonumber(ARGV[3])) .. ' ' .. ARGV[4])
end
call('PEXPIRE', KEYS[1], 3600000) -- what nobody renews any more
return { 'ok' }
