-- raise: bring one number of the clock up to what was given out, and never down.
--
-- KEYS[1]  clock  hash  'token', 'seq' -> last one given out
-- ARGV[1]  which
-- ARGV[2]  the least that it may be, decimal text
--
-- Returns  {'ok'}

if tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or 0) < tonumber(ARGV[2]) then
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
end
return { 'ok' }
