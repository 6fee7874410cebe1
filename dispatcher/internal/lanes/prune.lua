-- prune: take the turn to look for dead letters that their kinds keep no longer: one worker at a time does, now and
-- then. It is asked in the first partition.
--
-- ARGV[6]  ms until somebody may again
--
-- Returns  {'ok'} | {'later'}

local now = clock()
if now < tonumber(call('HGET', CLOCK, 'prune') or 0) then
  return { 'later' }
end
despite_full_memory()
call('HSET', CLOCK, 'prune', whole(now + tonumber(ARGV[FIRST])))
return { 'ok' }
