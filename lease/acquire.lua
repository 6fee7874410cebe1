-- acquire: give the lease of a subject whose lane is empty.
--
-- ARGV[6]  subject
-- ARGV[7]  holder
-- ARGV[8]  ttl      ms
--
-- Returns  {'ok', token} | {'held', holder, deadline} | {'barred', id of the hold, until, ms} | {'stale'}
--          'held' with holder '' : no lease, but jobs wait in the lane and go first;
--          with holder 'operator' and deadline 0: the lane is suspended

local before = answered()
if before then
  return before
end

local subject, holder, ttl = ARGV[FIRST], ARGV[FIRST + 1], tonumber(ARGV[FIRST + 2])
local now, now_us = clock()
local record = call('HGET', LEASES, subject)
local deadline = moment(call('ZSCORE', DEADLINES, subject)) or 0
local waiting = call('HEXISTS', HEADS, subject) == 1

-- An expired lease over an empty lane may be taken at once. Over a lane with jobs it
-- is for reap to end: it may stand for a crashed attempt; and so it is when something is asked of its
-- holder, as that the lane be suspended then.
local held, reasons = nil, record and '' or reasons_of(subject)
if record and (deadline > now or waiting or asked(record)) then
  held = { 'held', holder_of(record), whole(deadline) }
elseif stopped_by(reasons) ~= '' then -- for ever, and not for a time
  held = { 'held', 'operator', '0' }
elseif waiting then
  held = { 'held', '', '0' }
end
if held then -- a copy that comes late must not get what is free by then; names may have spaces
  despite_full_memory()
  remember('held somebody 0')
  return held
end

local hold = bars_section(subject, holder)
if hold then
  despite_full_memory()
elseif reasons ~= '' then -- of a hold that is over
  unpark({ subject })
end
local reply = hold and { 'barred', hold.id, whole(hold.till) } or { 'ok', grant({ subject }, 'section', holder, now + ttl, now_us) }
remember(words(reply))
return reply
