-- beat: say that a worker is alive, and forget those that have long been silent.
--
-- KEYS[1]  workers  hash  holder -> what it said of itself
-- KEYS[2]  seen     zset  holder -> last sign of life, ms
-- ARGV[6]  holder
-- ARGV[7]  what it says of itself, '' to leave
-- ARGV[8]  forget those silent for so long, ms
--
-- Returns  {'ok', now, ms}

local WORKERS, SEEN = KEYS[1], KEYS[2]
local holder, said, now = ARGV[FIRST], ARGV[FIRST + 1], clock()
despite_full_memory()
local gone = call('ZRANGEBYSCORE', SEEN, '-inf', now - tonumber(ARGV[FIRST + 2]), 'LIMIT', 0, 100)
if said == '' then
  gone[#gone + 1] = holder
end
many('HDEL', WORKERS, gone)
many('ZREM', SEEN, gone)
if said ~= '' then
  call('HSET', WORKERS, holder, said)
  call('ZADD', SEEN, now, holder)
end
return { 'ok', whole(now) }
