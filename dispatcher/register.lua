-- register: write declarations of kinds, all or none.
--
-- KEYS[1]   registry  hash  kind -> "<version> <owner> <JSON>"
-- ARGV[1+]  three a kind: name, owner, JSON
--
-- Returns   {'ok'} | {'owner', kind, whose it is, who wants it}

local records = {}
for at = 1, #ARGV, 3 do
  local old = redis.call('HGET', KEYS[1], ARGV[at]) or '0 ' .. ARGV[at + 1] .. ' '
  local version, owner, text = string.match(old, '^(%d+) (%S+) (.*)$')
  if owner ~= ARGV[at + 1] then
    return { 'owner', ARGV[at], owner, ARGV[at + 1] }
  elseif text ~= ARGV[at + 2] then
    records[#records + 1] = ARGV[at]
    records[#records + 1] = string.format('%d', version + 1) .. ' ' .. owner .. ' ' .. ARGV[at + 2]
  end
end
if #records > 0 then
  redis.call('HSET', KEYS[1], unpack(records))
end
return { 'ok' }
