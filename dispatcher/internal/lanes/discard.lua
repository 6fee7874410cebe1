-- discard: delete dead letters for good.
--
-- ARGV[6]   who acts (internal/record/act.lua)
-- ARGV[7]   subject of the jobs, '' of one that can't be read
-- ARGV[8+]  ids
--
-- Returns   {'ok' | 'missing', ...}, a word per id | {'stale'}

local before = answered()
if before then
  return before
end

local ids, reply, now = {}, {}, clock()
for i = FIRST + 2, #ARGV do
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
  for _, id in ipairs(ids) do
    log_job(ARGV[FIRST], 'dead discard', ARGV[FIRST + 1], id, 'dead', 'gone', now)
  end
  remember(words(reply))
end
return reply
