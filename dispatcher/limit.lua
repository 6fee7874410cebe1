-- limit: write a limit to where it is enforced, unless a later declaration was there first.
--
-- KEYS[1]   limits  hash  name -> "<most at once> <ms between two starts> <version>"
-- ARGV[1]   name
-- ARGV[2]   most at once
-- ARGV[3]   ms between two starts
-- ARGV[4]   version of the declaration
--
-- Returns   {'ok'} | {'older'}

local record, new = redis.call('HGET', KEYS[1], ARGV[1]) or '', ARGV[2] .. ' ' .. ARGV[3] .. ' ' .. ARGV[4]
local version = string.match(record, '^%d+ %d+ (%d+)$')
if version and tonumber(version) > tonumber(ARGV[4]) then
  return { 'older' }
elseif record ~= new then
  redis.call('HDEL', KEYS[1], '') -- HSET is refused when memory is full, unless another write came first (I10)
  redis.call('HSET', KEYS[1], ARGV[1], new)
end
return { 'ok' }
