-- raise: bring one number of a hash, the clock or the versions of kinds, up to what was given out, and never down.
--
-- KEYS[1]  numbers  hash  'token', 'seq' -> last one given out; 'largest' -> bytes of a job
-- ARGV[1]  which
-- ARGV[2]  the least that it may be, decimal text
--
-- Returns  {'ok'}

if tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or 0) < tonumber(ARGV[2]) then
  redis.call('HDEL', KEYS[1], '') -- so that HSET goes when memory is full (I10)
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
end
return { 'ok' }
