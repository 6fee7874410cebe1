-- suspend: stop a lane until it is resumed: at once, or when its holder is done.
--
-- ARGV[6]  subject
-- ARGV[7]  why
--
-- Returns  {'ok'} | {'later', holder}: when the lease of that holder ends | {'stale'}

local before = answered_text()
if before then
  return before
end

local subject, why, now = ARGV[FIRST], ARGV[FIRST + 1], clock()
local record, head = call('HGET', LEASES, subject), call('HGET', HEADS, subject)
despite_full_memory()
-- Its holder is asked, by one byte on the lease, and whatever ends the lease parks the lane then (free).
if record then
  local asks, as = call('HGET', extra('asks'), subject) or '', as_asked(record, true)
  if why ~= '' or not suspend_asked(asks) then
    call('HSET', extra('asks'), subject, with_value(asks, 'suspend', since(now, why)))
  end
  call('HSET', LEASES, subject, as)
  remember('later ' .. holder_of(record))
  return { 'later', holder_of(record) }
end
-- Nobody has the lane: it is parked at once (I4), whether it has jobs or not. Reasons that it has already stay.
local reasons = reasons_of(subject)
if head and reasons == '' then
  unlist(subject, head)
end
if why ~= '' or not value_in(reasons, 'suspended') then
  park({ [subject] = with_value(reasons, 'suspended', since(now, why)) })
end
remember('ok')
return { 'ok' }
