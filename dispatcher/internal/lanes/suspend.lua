-- suspend: stop a lane until it is resumed: at once, or when its holder is done.
--
-- ARGV[6]  subject
-- ARGV[7]  why
-- ARGV[8]  id of the head that the caller saw, '' of no job, '*' of any
-- ARGV[9]  who acts (internal/record/act.lua)
--
-- Returns  {'ok'} | {'later', holder}: when the lease of that holder ends | {'moved', id}: that is the head now | {'stale'}

local before = answered_text()
if before then
  return before
end

local subject, why, now = ARGV[FIRST], ARGV[FIRST + 1], clock()
local actor = ARGV[FIRST + 3]
local record, head = call('HGET', LEASES, subject), call('HGET', HEADS, subject)
if moved(head, ARGV[FIRST + 2]) then
  return { 'moved', job_at(head) }
end
local stop = stopped_as(now, value_in(actor, 'who') or '', why)
despite_full_memory()
-- Its holder is asked, by one byte on the lease, and whatever ends the lease parks the lane then (free).
if record then
  local asks, as = call('HGET', extra('asks'), subject) or '', as_asked(record, true)
  local was = suspend_asked(asks) and 'to be suspended' or 'leased'
  call('HSET', LEASES, subject, as)
  if why ~= '' or was == 'leased' then
    call('HSET', extra('asks'), subject, with_value(asks, 'suspend', stop))
    log_lane(actor, 'lane suspend', subject, head, was, 'to be suspended', now)
  end
  remember('later ' .. holder_of(record))
  return { 'later', holder_of(record) }
end
-- Nobody has the lane: it is parked at once (I4), whether it has jobs or not. Reasons that it has already stay.
local reasons = reasons_of(subject)
if head and reasons == '' then
  unlist(subject, head)
end
if why ~= '' or not value_in(reasons, 'suspended') then
  park({ [subject] = with_value(reasons, 'suspended', stop) })
  log_lane(actor, 'lane suspend', subject, head, state_of(head, record, reasons), 'suspended', now)
end
remember('ok')
return { 'ok' }
