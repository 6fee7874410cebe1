-- undeclare: take a kind out of the registry, in two steps: the first one gives what is said of it
-- elsewhere its version, the second one ends it, unless it was declared anew in between.
--
-- KEYS[1]   registry  hash  kind -> "<version> <owner> <JSON>"
-- KEYS[2]   versions  hash  kind -> the last version that it had
-- ARGV[1]   kind
-- ARGV[2]   version from the first step, or ''
--
-- Returns   {'ok', version} | {'missing'} | {'again'}: it was declared anew

local record = redis.call('HGET', KEYS[1], ARGV[1])
if not record then
  return { ARGV[2] == '' and 'missing' or 'ok', ARGV[2] }
end
local version = tonumber(string.match(record, '^%d+') or 0) -- also of one that can't be read
local last = tonumber(redis.call('HGET', KEYS[2], ARGV[1]) or 0)
if ARGV[2] == '' then
  last = string.format('%d', math.max(version, last) + 1)
  redis.call('HSET', KEYS[2], ARGV[1], last)
  return { 'ok', last }
elseif version >= tonumber(ARGV[2]) then
  return { 'again' }
end
redis.call('HDEL', KEYS[1], ARGV[1])
return { 'ok', ARGV[2] }
