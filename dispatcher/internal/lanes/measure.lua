-- measure: add what was measured of one kind's attempts, once for each number of a session: a request may
-- come again after longer than requests are remembered.
--
-- KEYS[1]   durations  hash    "<ending> <bucket>" -> how many; 'max' -> longest, ms
-- KEYS[2]   recorded   string  last number of the session that was used, for an hour
-- ARGV[6]   number
-- ARGV[7]   longest    ms
-- ARGV[8+]  pairs: "<ending> <bucket>", how many
--
-- Returns   {'ok'}

local DURATIONS, RECORDED, number, longest = KEYS[1], KEYS[2], ARGV[FIRST], ARGV[FIRST + 1]
if tonumber(call('GET', RECORDED) or 0) >= tonumber(number) then
  return { 'ok' }
end
call('SET', RECORDED, number, 'PX', 3600000)
if tonumber(call('HGET', DURATIONS, 'max') or 0) < tonumber(longest) then
  call('HSET', DURATIONS, 'max', longest)
end
for at = FIRST + 2, #ARGV, 2 do
  call('HINCRBY', DURATIONS, ARGV[at], ARGV[at + 1])
end
return { 'ok' }
