-- recount: correct how many bytes of outcomes are kept, unless that has changed meanwhile.
--
-- KEYS[1]  clock  hash
-- ARGV[1]  what it said when they were counted, or ''
-- ARGV[2]  bytes that were counted
--
-- Returns  {'ok'} | {'moved'}

if (redis.call('HGET', KEYS[1], 'kept') or '') ~= ARGV[1] then
  return { 'moved' }
end
redis.call('HDEL', KEYS[1], '') -- so that HSET goes when memory is full (I10)
redis.call('HSET', KEYS[1], 'kept', ARGV[2])
return { 'ok' }
