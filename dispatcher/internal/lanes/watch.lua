-- watch: have workers tell of all attempts of a subject until a time, or stop that.
--
-- KEYS[1]   watched  zset  subject -> until when, ms
-- ARGV[6]   subject
-- ARGV[7]   for so long, ms; 0 stops it
-- ARGV[8]   most subjects at once
--
-- Returns   {'ok', until}, or {'full', until}: when the first of the others ends

local WATCHED, subject, now = KEYS[1], ARGV[FIRST], clock()
local till = now + tonumber(ARGV[FIRST + 1])
if till == now then
  call('ZREM', WATCHED, subject)
  return { 'ok', whole(till) }
end
local live = call('ZRANGEBYSCORE', WATCHED, '(' .. whole(now), '+inf', 'WITHSCORES')
if #live / 2 >= tonumber(ARGV[FIRST + 2]) and not call('ZSCORE', WATCHED, subject) then
  return { 'full', whole(live[2]) }
end
call('ZADD', WATCHED, whole(till), subject)
call('ZREMRANGEBYSCORE', WATCHED, '-inf', whole(now))
return { 'ok', whole(till) }
