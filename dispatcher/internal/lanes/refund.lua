-- refund: give the last attempt of a job that failed back, as if it had not been made: the
-- worker is to blame, and not the job (L8).
--
-- ARGV[6]  holder that has failed it
-- ARGV[7]  subject
-- ARGV[8]  id
--
-- Returns  {'ok'} | {'missing'} | {'stale'}
--          {'dead'}: it was the last attempt, and the job is a dead letter

local before = answered()
if before then
  return before
end

local holder, subject, id = ARGV[FIRST], ARGV[FIRST + 1], ARGV[FIRST + 2]
local body = call('HGET', JOBS, id)
if not body or not is_of(body, subject) then -- it has ended, and another one may have its id
  return { 'missing' }
end
local attempts, suspended, workers, failure = note_of(call('HGET', NOTES, id))
if attempts == 0 then
  local reason = call('HGET', REASONS, id)
  return { reason and reason_of(reason) == reason_for('exhausted') and 'dead' or 'missing' }
end
-- Whoever has the job by now, the attempt that is under way is no matter of the note, which counts those that
-- have ended.
despite_full_memory()
write_note(id, attempts - 1, suspended, without_line(workers, holder), attempts > 1 and failure or '')
remember('ok')
return { 'ok' }
