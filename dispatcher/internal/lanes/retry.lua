-- retry: let a lane go on now whose head waits for its next attempt. Its attempts stay as they are.
--
-- ARGV[6]  subject
-- ARGV[7]  id of the head that the caller saw, '' of no job, '*' of any
-- ARGV[8]  who acts (internal/record/act.lua)
--
-- Returns  {'ok'} | {'no', state}: it does not wait for that, but is in that state, a word of state_of
--          {'asleep'}: its head is suspended by itself | {'moved', id}: that is the head now | {'stale'}

local before = answered()
if before then
  return before
end

local subject, now = ARGV[FIRST], clock()
local record, head, reasons = call('HGET', LEASES, subject), call('HGET', HEADS, subject), reasons_of(subject)
if moved(head, ARGV[FIRST + 1]) then
  return { 'moved', job_at(head) }
end
local state = state_of(head, record, reasons)
if state == 'suspended' and stopped_by(without_value(reasons, 'job')) == '' then
  return { 'asleep' }
elseif state ~= 'delayed' or not head then
  return { 'no', state }
end
-- To forget the wait takes something away, so a full memory lets it through with all that follows (I10).
unpark({ subject })
list_ready({ subject, head }, 'LPUSH', '') -- it has had its turn, and somebody waits for it
log_lane(ARGV[FIRST + 2], 'lane retry', subject, head, state, 'ready', now)
remember('ok')
return { 'ok' }
