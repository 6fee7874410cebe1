-- fence: let one run that moves the whole namespace write where a hash says so, and none before it; or note that this run has come to
-- its end.
--
-- KEYS[1]   hash  that says it: the clock of a partition
-- ARGV[6]   the run (internal/record/mover.lua)
--
-- Returns   {'ok'} | {'taken'}: a later run has it, or this one has come to its end before

local run = ARGV[FIRST]
if not may_follow(run, call('HGET', KEYS[1], 'mover') or '') then
  return { 'taken' }
end
despite_full_memory()
call('HSET', KEYS[1], 'mover', run)
return { 'ok' }
