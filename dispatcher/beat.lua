-- beat: say that a worker is alive, and forget those that have long been silent.
--
-- KEYS[1]  workers  hash  holder -> what it said of itself
-- KEYS[2]  seen     zset  holder -> last sign of life, ms
-- ARGV[1]  now      ms, or '' for the server's clock
-- ARGV[2]  holder
-- ARGV[3]  what it says of itself, '' to leave
-- ARGV[4]  forget those silent for so long, ms
--
-- Returns  {'ok'}

local call = redis.call
local now = tonumber(ARGV[1])
if not now then
  local t = call('TIME')
  now = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
end
-- HSET is refused when memory is full, unless another write came first (I10).
call('HDEL', KEYS[1], '')
local gone = call('ZRANGEBYSCORE', KEYS[2], '-inf', now - tonumber(ARGV[4]), 'LIMIT', 0, 100)
if ARGV[3] == '' then
  gone[#gone + 1] = ARGV[2]
end
for _, holder in ipairs(gone) do
  call('HDEL', KEYS[1], holder)
  call('ZREM', KEYS[2], holder)
end
if ARGV[3] ~= '' then
  call('HSET', KEYS[1], ARGV[2], ARGV[3])
  call('ZADD', KEYS[2], now, ARGV[2])
end
return { 'ok' }
