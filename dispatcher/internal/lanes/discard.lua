-- discard: delete dead letters for good.
--
-- ARGV[6]   who acts (internal/record/act.lua)
-- ARGV[7+]  two a letter: subject of the job, '' of one that can't be read; id
--
-- Returns   {'ok' | 'missing', ...}, a word per id | {'stale'}

local before = answered()
if before then
  return before
end

local actor, ids, subjects, reply, now = ARGV[FIRST], {}, {}, {}, clock()
for i = FIRST + 1, #ARGV, 2 do
  local dead = call('ZSCORE', DEAD, ARGV[i + 1])
  reply[#reply + 1] = dead and 'ok' or 'missing'
  if dead then
    ids[#ids + 1], subjects[#subjects + 1] = ARGV[i + 1], ARGV[i]
  end
end
if #ids > 0 then
  many('ZREM', DEAD, ids)
  many('HDEL', REASONS, ids)
  many('HDEL', JOBS, ids)
  many('HDEL', extra('names'), ids)
  for i, id in ipairs(ids) do
    log_job(actor, 'dead discard', subjects[i], id, 'dead', 'gone', now)
  end
  remember(words(reply))
end
return reply
