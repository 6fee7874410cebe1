-- discard: delete dead letters for good.
--
-- ARGV[6+]  ids
--
-- Returns   {'ok' | 'missing', ...}, a word per id | {'stale'}

local before = answered()
if before then
  return before
end

local ids, reply = {}, {}
for i = FIRST, #ARGV do
  local dead = call('ZSCORE', DEAD, ARGV[i])
  reply[#reply + 1] = dead and 'ok' or 'missing'
  if dead then
    ids[#ids + 1] = ARGV[i]
  end
end
if #ids > 0 then
  many('ZREM', DEAD, ids)
  many('HDEL', REASONS, ids)
  many('HDEL', JOBS, ids)
  many('HDEL', extra('names'), ids)
  remember(words(reply))
end
return reply
