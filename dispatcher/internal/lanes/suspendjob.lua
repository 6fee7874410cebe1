-- suspendjob: keep one job from running until it is resumed, or let it run again.
--
-- KEYS[13]  tail:<subject>
-- ARGV[6]   subject
-- ARGV[7]   entry of the job
-- ARGV[8]   'suspend' | 'resume'
-- ARGV[9]   who acts (internal/record/act.lua)
--
-- Returns   {'ok'} | {'no'}: it is not suspended | {'running'} | {'claimed'}: it is in the hand of who runs the head | {'dead'} | {'missing'} | {'stale'}
--
-- A suspended head stops its lane, unless jobs of its kind are set aside when they fail:
-- then it steps aside, and takes a new place at the tail when it is resumed.

local before = answered()
if before then
  return before
end

local subject, entry, resume = ARGV[FIRST], ARGV[FIRST + 1], ARGV[FIRST + 2] == 'resume'
local id, now = id_of(entry), clock()
local record = call('HGET', LEASES, subject)
local at, where = locate(subject, entry, record)
local attempts, suspended, workers, failure = note_of(call('HGET', NOTES, id))
if not at then
  return { call('ZSCORE', DEAD, id) and 'dead' or 'missing' }
elseif resume ~= suspended then
  return { resume and 'no' or 'ok' }
end
if at == 'head' and use_of(record) == 'job' then
  return { 'running' }
elseif at == 'hand' then
  return { 'claimed' }
end

-- The note says that the job is suspended, wherever it stands; what follows is about a job whose turn it is, or
-- whose time.
despite_full_memory()
write_note(id, attempts, not resume, workers, failure)
if at == 'scheduled' and resume then
  if moment(call('ZSCORE', SCHEDULED, where)) == math.huge then
    call('ZADD', SCHEDULED, now, where) -- it had stepped aside, or its time has come meanwhile
  end
  call('ZADD', WAKE .. kind_of(entry), 0, 'due')
elseif at ~= 'scheduled' and not resume and flag(entry, 's') then
  withdraw(subject, entry, now, 'LPUSH', '', where)
  call('ZADD', SCHEDULED, 'inf', scheduled_as(subject, order_in_store(id), entry))
elseif at == 'head' and not record then
  local reasons = reasons_of(subject)
  if reasons == '' then
    unlist(subject, entry)
  end
  reasons = resume and without_value(reasons, 'job') or with_value(reasons, 'job', '-')
  if repark(subject, reasons, now) then
    list_ready({ subject, entry }, 'LPUSH', '')
  elseif stopped_by(reasons) == '' then
    call('ZADD', WAKE .. kind_of(entry), 0, 'due') -- nobody has heard of that time
  end
end
local awake = job_state(at)
log_job(ARGV[FIRST + 3], 'job ' .. ARGV[FIRST + 2], subject, id, resume and 'suspended' or awake, resume and awake or 'suspended', now)
remember('ok')
return { 'ok' }
