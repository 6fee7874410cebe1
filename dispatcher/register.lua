-- register: write declarations of kinds, all or none.
--
-- KEYS[1]   registry  hash  kind -> "<version> <owner> <JSON>"
-- KEYS[2]   versions  hash  kind -> the last version that it had, whether it is declared or not
-- ARGV[1+]  three a kind: name, owner, JSON
--
-- Returns   {'ok', version of each kind...} | {'owner', kind, whose it is, who wants it} | {'garbled', kind}
--
-- Versions go on when a kind was taken out of the registry and comes again: what is told of an
-- older one elsewhere must not stay for it.

local records, reply = {}, { 'ok' }
for at = 1, #ARGV, 3 do
  local old = redis.call('HGET', KEYS[1], ARGV[at]) or '0 ' .. ARGV[at + 1] .. ' '
  local version, owner, text = string.match(old, '^(%d+) (%S+) (.*)$')
  local last = tonumber(redis.call('HGET', KEYS[2], ARGV[at]) or 0)
  if not version then
    return { 'garbled', ARGV[at] }
  elseif owner ~= ARGV[at + 1] then
    return { 'owner', ARGV[at], owner, ARGV[at + 1] }
  elseif text ~= ARGV[at + 2] or tonumber(version) < last then
    version = string.format('%d', math.max(version, last) + 1)
    records[#records + 1] = ARGV[at]
    records[#records + 1] = version .. ' ' .. owner .. ' ' .. ARGV[at + 2]
  end
  reply[#reply + 1] = version
end
if #records > 0 then
  redis.call('HSET', KEYS[1], unpack(records))
  for i = 1, #records, 2 do
    redis.call('HSET', KEYS[2], records[i], string.match(records[i + 1], '^%d+'))
  end
end
return reply
