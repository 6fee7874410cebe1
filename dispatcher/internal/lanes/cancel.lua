-- cancel: take a job that waits out of its place for good, or ask the holder of one that
-- runs to end it.
--
-- ARGV[6]  subject
-- ARGV[7]  entry of the job
-- ARGV[8]  ms to keep its outcome for
-- ARGV[9]  who acts (internal/record/act.lua)
--
-- Returns  {'ok'} | {'asked', holder} | {'claimed'}: with the head of its lane, and may
--          have started | {'dead'} | {'missing'} | {'stale'}
--
-- The lease of a running job stays: its lane goes on when its handler has returned, or
-- when the lease is over.

local before = answered_text()
if before then
  return before
end

local subject, entry, ms = ARGV[FIRST], ARGV[FIRST + 1], tonumber(ARGV[FIRST + 2])
local now, actor = clock(), ARGV[FIRST + 3]
local id, record = id_of(entry), call('HGET', LEASES, subject)
local at, where = locate(subject, entry, record)
if not at then
  return { call('ZSCORE', DEAD, id) and 'dead' or 'missing' }
end
-- Its attempt is under way: only its holder can end that. A second request changes nothing, and tells the
-- holder again.
if at == 'head' and use_of(record) == 'job' then
  local asks, as_record = call('HGET', extra('asks'), subject) or '', as_asked(record, true)
  despite_full_memory()
  if not cancel_asked(asks) then
    call('HSET', LEASES, subject, as_record)
    call('HSET', extra('asks'), subject, with_value(asks, 'cancel', ARGV[FIRST + 2]))
    log_job(actor, 'job cancel', subject, id, 'leased', 'asked to end', now)
  end
  tell(holder_of(record), 'cancel')
  remember('asked ' .. holder_of(record))
  return { 'asked', holder_of(record) }
elseif at == 'hand' then
  return { 'claimed' }
elseif at == 'scheduled' then
  call('ZREM', SCHEDULED, where)
else
  withdraw(subject, entry, now, 'RPUSH', '', where)
end
local attempts = attempts_of(call('HGET', NOTES, id))
drop({ entry })
if ms > 0 then
  keep(subject, id, 'cancelled', attempts, '', ms, now)
end
log_job(actor, 'job cancel', subject, id, job_state(at), 'cancelled', now)
remember('ok')
return { 'ok' }
