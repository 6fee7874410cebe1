-- suspend: stop a lane until it is resumed: at once, or when its holder is done.
--
-- ARGV[6]  subject
-- ARGV[7]  why
--
-- Returns  {'ok'} | {'later', holder}: when the lease of that holder ends | {'stale'}
--
-- A lane that is suspended is one whose lease nobody has and that never ends; so no claim
-- and no enqueue has to look for anything new.

local before = answered()
if before then
  return before
end

local subject, why = ARGV[FIRST], ARGV[FIRST + 1]
local now = clock()
local record, head = call('HGET', LEASES, subject), call('HGET', HEADS, subject)
despite_full_memory()
local before_it = call('HGET', extra('suspended'), subject)
if why ~= '' or not before_it then
  -- A lane that its head has halted stays that: the head has no attempts left until it is resumed.
  call('HSET', extra('suspended'), subject, suspension_as(now, is_halted(before_it) and 'halted' or 'operator', why))
end
if record and use_of(record) ~= 'suspended' then
  call('HSET', LEASES, subject, mark(record, 's'))
  return { 'later', holder_of(record) }
elseif not record then
  if head then
    unlist(subject, head)
  end
  stop(subject)
end
remember('ok')
return { 'ok' }
