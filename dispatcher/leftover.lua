-- leftover: look whether an entry of an index stands for nothing, and drop it if so.
--
-- KEYS[1]  jobs      hash  id -> encoded job
-- KEYS[2]  unique    hash  field -> id
-- KEYS[3]  names     hash  id -> "<merged> <rules> <field>"
-- KEYS[4]  expiring  zset  "o<id>" -> ms
-- KEYS[5]  outcomes  hash  id -> how it ended
-- KEYS[6]  failed    hash  id -> holders
-- KEYS[7]  dead      zset  id -> time of death, ms
-- KEYS[8]  windows   zset  field -> ms
-- KEYS[9]  ended     zset  id -> ms
-- ARGV[1]  'unique' | 'names' | 'outcomes' | 'failed': the index
-- ARGV[2]  'look' | 'drop'
-- ARGV[3]  field of the unique key
-- ARGV[4]  id
--
-- Returns  {'no'}: it stands for something, or is gone | {'gone'}: it does not, or was dropped

local index, drop, field, id = ARGV[1], ARGV[2] == 'drop', ARGV[3], ARGV[4]
local at = ({ unique = 2, names = 3, outcomes = 5, failed = 6 })[index]
local member = index == 'unique' and field or id
local value = redis.call('HGET', KEYS[at], member)
local job = redis.call('HEXISTS', KEYS[1], id) == 1
local name = redis.call('HGET', KEYS[3], id)
local named = name and string.match(name, '^%d+ %S+ (.*)$')
local stands
if index == 'unique' then
  stands = value ~= id or job and named == field or redis.call('ZSCORE', KEYS[8], field)
elseif index == 'names' then
  stands = job and named and (redis.call('HEXISTS', KEYS[2], named) == 1 or redis.call('ZSCORE', KEYS[7], id))
elseif index == 'outcomes' then
  stands = redis.call('ZSCORE', KEYS[4], 'o' .. id) and redis.call('ZSCORE', KEYS[9], id)
else
  stands = job
end
if not value or stands then
  return { 'no' }
end
if drop then
  redis.call('HDEL', KEYS[at], member)
  if index == 'outcomes' then
    redis.call('ZREM', KEYS[4], 'o' .. id)
    redis.call('ZREM', KEYS[9], id)
  end
end
return { 'gone' }
