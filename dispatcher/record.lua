-- record: add what was measured of one kind's attempts.
--
-- KEYS[1]   durations  hash  "<ending> <bucket>" -> how many; 'max' -> longest, ms
-- ARGV[1]   longest    ms
-- ARGV[2+]  pairs: "<ending> <bucket>", how many
--
-- Returns   {'ok'}

if tonumber(redis.call('HGET', KEYS[1], 'max') or 0) < tonumber(ARGV[1]) then
  redis.call('HSET', KEYS[1], 'max', ARGV[1])
end
for at = 2, #ARGV, 2 do
  redis.call('HINCRBY', KEYS[1], ARGV[at], ARGV[at + 1])
end
return { 'ok' }
